"""The commands. What they need beyond arguments is imported when they run, so that `--help` is quick."""

from __future__ import annotations

import asyncio
import shlex
import sys
import traceback
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from bulkredeem import __version__
from bulkredeem.cli import options
from bulkredeem.cli.streams import complain
from bulkredeem.errors import BulkRedeemError, ExitCode

if TYPE_CHECKING:
    from bulkredeem.settings import Settings

app = typer.Typer(
    name="bulkredeem",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> NoReturn:
    """Run the command line and end the process with one of the documented exit codes."""
    try:
        app(prog_name="bulkredeem")
    except BulkRedeemError as exc:
        complain(exc)
        sys.exit(exc.exit_code)
    except Exception as exc:  # noqa: BLE001  Python's own exit code for it is 1, which says something else here
        # Where it came from and no more: the error's text may quote a row or a secret.
        complain("".join(traceback.format_tb(exc.__traceback__)).rstrip())
        complain(f"An error of ours ({type(exc).__name__}); please report it with the lines above.")
        sys.exit(ExitCode.INTERNAL_ERROR)
    sys.exit(ExitCode.DONE)


def _say_version(wanted: bool) -> None:  # noqa: FBT001  typer calls it so
    if wanted:
        print(f"bulkredeem {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Send a file of loyalty-redemption corrections, one update per row, and say what became of each row."""


@app.command()
def run(
    context: typer.Context,
    files: options.Files,
    *,
    base_url: options.BaseUrl = None,
    reports: options.Reports = None,
    rate: options.RateOption = None,
    max_workers: options.MaxWorkers = None,
    max_attempts: options.MaxAttempts = None,
    timeout: options.Timeout = None,
    identifier: options.Identifier = None,
    map: options.Map = None,  # noqa: A002  the option's name
    allow_unterminated: options.AllowUnterminated = None,
    trust_ids: options.TrustIds = None,
    json: options.Json = None,
    quiet: options.Quiet = None,
    log_level: options.LogLevel = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Send every row that can be sent, and write down what became of each.

    One run per file, in the order given. The exit code is the highest; 3 or 4 stops the rest.
    """
    from bulkredeem.cli.running import run_files

    raise typer.Exit(asyncio.run(run_files(files, _settings(context), flags=_as_typed(context))))


@app.command()
def check(
    context: typer.Context,
    files: options.Files,
    *,
    rate: options.RateOption = None,
    identifier: options.Identifier = None,
    map: options.Map = None,  # noqa: A002  the option's name
    allow_unterminated: options.AllowUnterminated = None,
    trust_ids: options.TrustIds = None,
    json: options.Json = None,
    quiet: options.Quiet = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Say, without any network, what the files' rows would come to: problems, requests, duration.

    Exits 0 when every row could be sent, else 1.
    """
    from bulkredeem.cli.checking import check_files

    raise typer.Exit(check_files(files, _settings(context)))


@app.command(context_settings={"allow_interspersed_args": False})
def sandbox(
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="[-- COMMAND...]", help="Run this against the sandbox, and end with it."),
    ] = None,
    *,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="Port on loopback; 0 takes a free one.")
    ] = 0,
    limit: Annotated[
        str, typer.Option("--limit", metavar="RATE", help="Most requests: 100/min, 20/s, or none.")
    ] = "none",
    latency: Annotated[float, typer.Option("--latency", metavar="SECONDS", min=0, help="Time an answer takes.")] = 0.0,
    fail_ratio: Annotated[
        float, typer.Option("--fail-ratio", metavar="SHARE", min=0, max=1, help="Share of updates that go wrong.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Which updates go wrong: the same for a seed.")] = 1,
) -> None:
    """Start a server on this machine that behaves like the platform, to rehearse with.

    With a COMMAND after `--`, that command runs with the sandbox's address and credentials in its environment, and the
    sandbox ends with it. Without one it runs until Ctrl-C.
    """
    from bulkredeem.cli.rehearsing import serve

    raise typer.Exit(
        asyncio.run(serve(command or [], port=port, limit=limit, latency=latency, fail_ratio=fail_ratio, seed=seed))
    )


def _given(context: typer.Context) -> dict[str, Any]:
    """Return the options that were given, by name with `_` for `-`."""
    return {name: value for name, value in context.params.items() if value not in (None, ()) and name != "files"}


def _settings(context: typer.Context) -> Settings:
    """Return the settings for the options that were given; the others come from environment, file and defaults."""
    from bulkredeem.settings import load_settings

    return load_settings(_given(context))


def _as_typed(context: typer.Context) -> str:
    """Return the options that were given, for a command line that goes on; how it looks is left to the next one."""
    words = []
    for name, value in _given(context).items():
        if name in {"json", "quiet"}:
            continue
        flag = f"--{name.replace('_', '-')}"
        for each in value if isinstance(value, list | tuple) else [value]:
            words += [flag] if each is True else [flag, shlex.quote(str(each))]
    return " ".join(words)
