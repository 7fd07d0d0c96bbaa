"""The command `run`: one run per file, signals, and what a person sees of it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import orjson
from rich.console import Console

from bulkredeem.application import Run, run_file
from bulkredeem.cli.ending import show_ending
from bulkredeem.cli.progress import observer_for
from bulkredeem.cli.streams import complain, write_json_line
from bulkredeem.cli.terminal import make_console, say
from bulkredeem.errors import ExitCode, InputFileError, JournalError, ReportError, SignalledError, Stopping
from bulkredeem.model import Rate
from bulkredeem.pace import Pace
from bulkredeem.processor import Stop
from bulkredeem.settings import Settings

_SIGNALS: Final = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
"""What drains a run, if whoever started it (nohup, say) does not have it ignored; and how a person calls it."""
_GOES_ON_AFTER = frozenset({ExitCode.DONE, ExitCode.NOT_ALL_DONE, ExitCode.COULD_NOT_START})


async def run_files(files: Sequence[Path], settings: Settings, *, flags: str) -> ExitCode:
    """Run the files one after another, and return the highest exit code; some codes stop the rest.

    `flags` are the options as typed, for the command that goes on.
    """
    settings.require_for_sending()
    command = _Command(settings, make_console(on_stderr=settings.json_summary), flags)
    worst = ExitCode.DONE
    with _signals(command.stop, command.console):
        for position, path in enumerate(files):
            code = await command.run_one(path)
            worst = max(worst, code)
            if code not in _GOES_ON_AFTER:
                left = files[position + 1 :]
                if left:
                    say(command.console, f"Not begun: {', '.join(map(str, left))}.")
                break
    return worst


class _Command:
    """What the runs of one command share: the wish to stop, and the pace, which belongs to the key."""

    def __init__(self, settings: Settings, console: Console, flags: str) -> None:
        self.stop = Stop()
        self.console = console
        self._pace = Pace(Rate.parse(settings.rate), sleep=self.stop.sleep)
        self._settings = settings
        self._flags = flags

    async def run_one(self, path: Path) -> ExitCode:
        """Run one file, show how it ended, and return its exit code."""
        settings, console = self._settings, self.console
        observer = observer_for(console, quiet=settings.quiet)
        try:
            with observer:
                run = await run_file(path, settings, stop=self.stop, observer=observer, pace=self._pace)
        except (InputFileError, JournalError, ReportError) as exc:
            complain(exc)
            return exc.exit_code
        except Stopping:
            say(console, f"Stopped before anything of {path} was sent.")
            return ExitCode.STOPPED_EARLY
        except asyncio.CancelledError:
            say(console, "Stopped at once. What was recorded is in the run's journal; the rest is pending.")
            return ExitCode.INTERRUPTED_AT_ONCE
        show_ending(console, run, quiet=settings.quiet, flags=self._flags)
        _print_summary(run, settings)
        return run.exit_code


def _print_summary(run: Run, settings: Settings) -> None:
    if settings.json_summary:
        write_json_line(orjson.dumps(run.summary.as_json_object()))


@contextmanager
def _signals(stop: Stop, console: Console) -> Iterator[None]:
    """Let the first signal drain the run, and a Ctrl-C after that end it at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    told = False

    def drain(name: str) -> None:
        nonlocal told
        if told and name == "Ctrl-C" and task is not None:
            task.cancel()
        elif not told:
            # Told even if the run drains already for a reason of its own: who presses once has not asked to cut it off.
            told = True
            stop.request(SignalledError(name))
            say(console, f"{name}: finishing what is under way, starting nothing new. Ctrl-C again stops at once.")

    handled = {number: name for number, name in _SIGNALS.items() if signal.getsignal(number) != signal.SIG_IGN}
    for number, name in handled.items():
        loop.add_signal_handler(number, drain, name)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
