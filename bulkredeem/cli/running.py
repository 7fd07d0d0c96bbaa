"""The command `run`: one run per file, signals, and what a person sees of it."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson
from rich.console import Console

from bulkredeem.application import Run, run_file
from bulkredeem.cli.ending import show_ending
from bulkredeem.cli.progress import observer_for
from bulkredeem.cli.terminal import make_console, say
from bulkredeem.errors import ExitCode, InputFileError, SignalledError, Stopping
from bulkredeem.processor import Stop
from bulkredeem.settings import Settings

_GOES_ON_AFTER = frozenset({ExitCode.DONE, ExitCode.NOT_ALL_DONE, ExitCode.COULD_NOT_START})


async def run_files(files: Sequence[Path], settings: Settings, *, flags: str) -> ExitCode:
    """Run the files one after another, and return the highest exit code; some codes stop the rest.

    `flags` are the options as typed, for the command that goes on.
    """
    settings.require_for_sending()
    console = make_console(on_stderr=settings.json_summary)
    worst = ExitCode.DONE
    for position, path in enumerate(files):
        code = await _run_one(path, settings, console, flags)
        worst = max(worst, code)
        if code not in _GOES_ON_AFTER:
            left = files[position + 1 :]
            if left:
                say(console, f"Not begun: {', '.join(map(str, left))}.")
            break
    return worst


async def _run_one(path: Path, settings: Settings, console: Console, flags: str) -> ExitCode:
    """Run one file, show how it ended, and return its exit code."""
    stop = Stop()
    observer = observer_for(console, quiet=settings.quiet)
    try:
        with _signals(stop, console), observer:
            run = await run_file(path, settings, stop=stop, observer=observer)
    except InputFileError as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code
    except Stopping:
        say(console, f"Stopped before anything of {path} was sent.")
        return ExitCode.STOPPED_EARLY
    except asyncio.CancelledError:
        say(console, "Stopped at once. What was recorded is in the run's journal; the rest is pending.")
        return ExitCode.INTERRUPTED_AT_ONCE
    show_ending(console, run, quiet=settings.quiet, flags=flags)
    _print_summary(run, settings)
    return run.exit_code


def _print_summary(run: Run, settings: Settings) -> None:
    if settings.json_summary:
        sys.stdout.write(orjson.dumps(run.summary.as_json_object()).decode() + "\n")
        sys.stdout.flush()


@contextmanager
def _signals(stop: Stop, console: Console) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM drain the run, and a Ctrl-C after that end it at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def drain(name: str) -> None:
        if stop.requested and name == "Ctrl-C" and task is not None:
            task.cancel()
        elif not stop.requested:
            stop.request(SignalledError(name))
            say(console, f"{name}: finishing what is under way, starting nothing new. Ctrl-C again stops at once.")

    for number, name in ((signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")):
        loop.add_signal_handler(number, drain, name)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
