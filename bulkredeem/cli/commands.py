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
    from collections.abc import Mapping

    from bulkredeem.settings import Settings
    from bulkredeem.summary import Typed

_NO_SETTINGS = frozenset(
    {"files", "run", "if_any", "status", "code", "kills", "seed", "redemption", "keep", "every", "at_once"}
    | {"dry_run", "by_what", "file"}
)
"""Arguments and options that say what a command is to do, and not how runs are carried out."""
_OF_ONE_COMMAND = frozenset(
    {
        *("resume_unfinished", "no_guard", "resend", "backlog", "yes", "reason", "canary", "same_file", "min_rows"),
        *("wait_for_file", "move_done", "as_of", "only", "first", "on_conflict"),
        *("encoding", "delimiter", "sheet", "header_row", "ignore_rows"),
    }
)
"""Settings that the next command does not need, or that would mean something else there."""
_LOOKS = frozenset({"json", "quiet"})
"""Options that say how a command looks; the next one decides that for itself."""
_WHICH = frozenset({"config", "profile"})
"""Options that a command needs again which sends nothing."""
_WHERE = _WHICH | {"state_dir", "auth", "ca_bundle"}
"""Options that a command which goes on with a run needs again: the others are in the run's journal."""

app = typer.Typer(
    name="bulkredeem",
    no_args_is_help=True,
    add_completion=True,
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
    dry_run: options.DryRun = False,
    base_url: options.BaseUrl = None,
    auth: options.Auth = None,
    ca_bundle: options.CaBundle = None,
    reports: options.Reports = None,
    state_dir: options.StateDir = None,
    rate: options.RateOption = None,
    max_workers: options.MaxWorkers = None,
    max_attempts: options.MaxAttempts = None,
    timeout: options.Timeout = None,
    outage_timeout: options.OutageTimeout = None,
    deadline: options.Deadline = None,
    resume_unfinished: options.ResumeUnfinished = None,
    backlog: options.Backlog = None,
    unattended: options.Unattended = None,
    yes: options.Yes = None,
    when_busy: options.WhenBusy = None,
    wait_for_file: options.WaitForFile = None,
    min_rows: options.MinRows = None,
    same_file: options.SameFile = None,
    move_done: options.MoveDone = None,
    as_of: options.AsOf = None,
    allow_older: options.AllowOlder = None,
    resend: options.Resend = None,
    on_conflict: options.OnConflictOption = None,
    existing: options.Existing = None,
    record_previous: options.RecordPrevious = None,
    only: options.Only = None,
    first: options.First = None,
    canary: options.Canary = None,
    max_refused: options.MaxRefused = None,
    no_guard: options.NoGuard = None,
    by: options.By = None,
    reason: options.Why = None,
    identifier: options.Identifier = None,
    map: options.Map = None,  # noqa: A002  the option's name
    encoding: options.Encoding = None,
    delimiter: options.Delimiter = None,
    sheet: options.Sheet = None,
    header_row: options.HeaderRow = None,
    ignore_rows: options.IgnoreRows = None,
    allow_unterminated: options.AllowUnterminated = None,
    trust_ids: options.TrustIds = None,
    xlsx: options.Xlsx = None,
    show_pii: options.ShowPii = None,
    notify: options.Notify = None,
    metrics_file: options.MetricsFile = None,
    json: options.Json = None,
    quiet: options.Quiet = None,
    log_level: options.LogLevel = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Send every row that can be sent, and write down what became of each.

    One run per file, in the order given. The exit code is the highest; 3 or 4 stops the rest.
    """
    settings = _settings(context)
    if dry_run:
        from bulkredeem.cli.checking import dry_run_files

        raise typer.Exit(dry_run_files(files, settings, _typed(context, settings)))
    from bulkredeem.cli.loop import run_to_its_end
    from bulkredeem.cli.running import run_files

    raise typer.Exit(run_to_its_end(run_files(files, settings, _given(context), _typed(context, settings))))


@app.command()
def resume(
    context: typer.Context,
    run: options.OptionalRun = None,
    *,
    if_any: options.IfAny = False,
    auth: options.Auth = None,
    ca_bundle: options.CaBundle = None,
    reports: options.Reports = None,
    state_dir: options.StateDir = None,
    rate: options.RateOption = None,
    max_workers: options.MaxWorkers = None,
    max_attempts: options.MaxAttempts = None,
    timeout: options.Timeout = None,
    outage_timeout: options.OutageTimeout = None,
    deadline: options.Deadline = None,
    unattended: options.Unattended = None,
    yes: options.Yes = None,
    when_busy: options.WhenBusy = None,
    allow_older: options.AllowOlder = None,
    resend: options.Resend = None,
    canary: options.Canary = None,
    max_refused: options.MaxRefused = None,
    no_guard: options.NoGuard = None,
    by: options.By = None,
    reason: options.Why = None,
    xlsx: options.Xlsx = None,
    show_pii: options.ShowPii = None,
    notify: options.Notify = None,
    metrics_file: options.MetricsFile = None,
    json: options.Json = None,
    quiet: options.Quiet = None,
    log_level: options.LogLevel = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Go on with a run that stopped early or died, from its own copy of the rows and with its own settings.

    Without RUN: the oldest unfinished one. Rows that have an outcome are never sent again.
    """
    from bulkredeem.cli.loop import run_to_its_end
    from bulkredeem.cli.running import go_on

    settings, flags = _settings(context), _given(context)
    raise typer.Exit(run_to_its_end(go_on(run, settings, flags, _typed(context, settings), if_any=if_any)))


@app.command()
def retry(
    context: typer.Context,
    run: options.OptionalRun = None,
    *,
    status: options.Statuses = None,
    code: options.Codes = None,
    auth: options.Auth = None,
    ca_bundle: options.CaBundle = None,
    reports: options.Reports = None,
    state_dir: options.StateDir = None,
    rate: options.RateOption = None,
    max_workers: options.MaxWorkers = None,
    max_attempts: options.MaxAttempts = None,
    timeout: options.Timeout = None,
    outage_timeout: options.OutageTimeout = None,
    deadline: options.Deadline = None,
    unattended: options.Unattended = None,
    yes: options.Yes = None,
    when_busy: options.WhenBusy = None,
    allow_older: options.AllowOlder = None,
    resend: options.Resend = None,
    canary: options.Canary = None,
    max_refused: options.MaxRefused = None,
    no_guard: options.NoGuard = None,
    by: options.By = None,
    reason: options.Why = None,
    xlsx: options.Xlsx = None,
    show_pii: options.ShowPii = None,
    notify: options.Notify = None,
    metrics_file: options.MetricsFile = None,
    json: options.Json = None,
    quiet: options.Quiet = None,
    log_level: options.LogLevel = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Start a new run over the rows that a finished one left: by default those that may succeed now.

    Without RUN: the newest one. Refused and invalid rows would only fail again; choose them with --status or --code.
    """
    from bulkredeem.application import Choice
    from bulkredeem.cli.loop import run_to_its_end
    from bulkredeem.cli.running import try_again

    choice = Choice(statuses=frozenset(status or ()), codes=frozenset(code or ()))
    settings, flags = _settings(context), _given(context)
    raise typer.Exit(run_to_its_end(try_again(run, settings, flags, choice, _typed(context, settings))))


@app.command()
def runs(
    context: typer.Context,
    *,
    reports: options.Reports = None,
    json: options.Json = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """List the runs of the reports folder, the oldest first: state, counts, and what is in doubt."""
    from bulkredeem.cli.listing import list_runs

    raise typer.Exit(list_runs(_settings(context)))


@app.command()
def report(
    context: typer.Context,
    run: options.RunName,
    *,
    reports: options.Reports = None,
    xlsx: options.Xlsx = None,
    show_pii: options.ShowPii = None,
    json: options.Json = None,
    quiet: options.Quiet = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Write every report of a run anew, from its journal and its copy of the rows."""
    from bulkredeem.cli.listing import rebuild

    settings = _settings(context)
    raise typer.Exit(rebuild(run, settings, _typed(context, settings)))


@app.command()
def audit(
    context: typer.Context,
    run: options.RunName,
    *,
    reports: options.Reports = None,
    json: options.Json = None,
    quiet: options.Quiet = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Derive every count and hash of a run once more, and say what was changed since by accident.

    Nothing is written. Exits 0 when all is as it was, 1 when something differs.
    """
    from bulkredeem.cli.auditing import audit as look_for_changes

    settings = _settings(context)
    raise typer.Exit(look_for_changes(run, settings, _typed(context, settings)))


@app.command()
def abandon(
    context: typer.Context,
    run: options.RunName,
    *,
    reason: options.ReasonOfEnd,
    reports: options.Reports = None,
    json: options.Json = None,
    quiet: options.Quiet = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Close an unfinished run for good, so that nothing goes on with it."""
    from bulkredeem.cli.listing import abandon as close_for_good

    settings = _settings(context)
    raise typer.Exit(close_for_good(run, reason, settings, _typed(context, settings)))


@app.command()
def history(
    context: typer.Context,
    redemption: options.RedemptionName,
    *,
    reports: options.Reports = None,
    json: options.Json = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Tell what was done to a redemption, by whom and when, in whichever run, also in those that were pruned."""
    from bulkredeem.cli.telling import tell_history

    raise typer.Exit(tell_history(redemption, _settings(context)))


@app.command()
def prune(
    context: typer.Context,
    *,
    keep: options.Keep,
    reports: options.Reports = None,
    json: options.Json = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Remove the folders of old runs that are at their end; the ledger goes on knowing what they have done."""
    from bulkredeem.cli.telling import prune_runs

    raise typer.Exit(prune_runs(keep, _settings(context)))


@app.command()
def undo(
    context: typer.Context,
    run: options.RunName,
    *,
    auth: options.Auth = None,
    ca_bundle: options.CaBundle = None,
    reports: options.Reports = None,
    state_dir: options.StateDir = None,
    rate: options.RateOption = None,
    max_workers: options.MaxWorkers = None,
    max_attempts: options.MaxAttempts = None,
    timeout: options.Timeout = None,
    outage_timeout: options.OutageTimeout = None,
    deadline: options.Deadline = None,
    unattended: options.Unattended = None,
    yes: options.Yes = None,
    when_busy: options.WhenBusy = None,
    canary: options.Canary = None,
    max_refused: options.MaxRefused = None,
    no_guard: options.NoGuard = None,
    by: options.By = None,
    reason: options.Why = None,
    xlsx: options.Xlsx = None,
    show_pii: options.ShowPii = None,
    notify: options.Notify = None,
    metrics_file: options.MetricsFile = None,
    json: options.Json = None,
    quiet: options.Quiet = None,
    log_level: options.LogLevel = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Set back what a run with --record-previous has set, wherever its value still stands.

    A new run over the rows that were, or may have been, applied. What somebody has changed since stays as it is.
    """
    from bulkredeem.cli.loop import run_to_its_end
    from bulkredeem.cli.running import take_back

    settings, flags = _settings(context), _given(context)
    raise typer.Exit(run_to_its_end(take_back(run, settings, flags, _typed(context, settings))))


@app.command()
def verify(
    context: typer.Context,
    run: options.OptionalRun = None,
    *,
    every: options.Every = False,
    at_once: options.AtOnce = False,
    auth: options.Auth = None,
    ca_bundle: options.CaBundle = None,
    reports: options.Reports = None,
    state_dir: options.StateDir = None,
    rate: options.RateOption = None,
    max_workers: options.MaxWorkers = None,
    max_attempts: options.MaxAttempts = None,
    timeout: options.Timeout = None,
    outage_timeout: options.OutageTimeout = None,
    unattended: options.Unattended = None,
    when_busy: options.WhenBusy = None,
    json: options.Json = None,
    quiet: options.Quiet = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Read back the rows of a run that are in doubt, and settle them: applied, or not.

    Without RUN: the newest one. What the platform does not tell stays in doubt.
    """
    from bulkredeem.cli.loop import run_to_its_end
    from bulkredeem.cli.reading_back import verify_run

    settings = _settings(context)
    work = verify_run(run, settings, _given(context), _typed(context, settings), every=every, at_once=at_once)
    raise typer.Exit(run_to_its_end(work))


@app.command()
def compare(
    context: typer.Context,
    files: options.Comparables,
    *,
    base_url: options.BaseUrl = None,
    auth: options.Auth = None,
    ca_bundle: options.CaBundle = None,
    reports: options.Reports = None,
    state_dir: options.StateDir = None,
    rate: options.RateOption = None,
    max_workers: options.MaxWorkers = None,
    max_attempts: options.MaxAttempts = None,
    timeout: options.Timeout = None,
    outage_timeout: options.OutageTimeout = None,
    identifier: options.Identifier = None,
    map: options.Map = None,  # noqa: A002  the option's name
    encoding: options.Encoding = None,
    delimiter: options.Delimiter = None,
    sheet: options.Sheet = None,
    header_row: options.HeaderRow = None,
    ignore_rows: options.IgnoreRows = None,
    allow_unterminated: options.AllowUnterminated = None,
    trust_ids: options.TrustIds = None,
    json: options.Json = None,
    quiet: options.Quiet = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Say of each row whether the platform has its values already; nothing is written to the platform.

    Exits 0 when all are the same, else 1.
    """
    from bulkredeem.cli.loop import run_to_its_end
    from bulkredeem.cli.reading_back import compare_files

    raise typer.Exit(run_to_its_end(compare_files(files, _settings(context))))


@app.command()
def check(
    context: typer.Context,
    files: options.Files,
    *,
    base_url: options.BaseUrl = None,
    reports: options.Reports = None,
    rate: options.RateOption = None,
    deadline: options.Deadline = None,
    on_conflict: options.OnConflictOption = None,
    only: options.Only = None,
    identifier: options.Identifier = None,
    map: options.Map = None,  # noqa: A002  the option's name
    encoding: options.Encoding = None,
    delimiter: options.Delimiter = None,
    sheet: options.Sheet = None,
    header_row: options.HeaderRow = None,
    ignore_rows: options.IgnoreRows = None,
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


@app.command()
def split(
    context: typer.Context,
    run: options.RunName,
    *,
    by_what: options.GroupBy,
    reports: options.Reports = None,
    json: options.Json = None,
    quiet: options.Quiet = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Write a file, ready to be mended and run, for each group of rows that are not done."""
    from bulkredeem.cli.splitting import split_run

    settings = _settings(context)
    raise typer.Exit(split_run(run, by_what, settings, _typed(context, settings)))


@app.command()
def init(file: options.SampleFile = None) -> None:
    """Ask what is needed, and write bulkredeem.toml and .env.example here; no secret goes into either."""
    from bulkredeem.cli.initialising import initialise

    raise typer.Exit(initialise(file))


@app.command()
def doctor(
    context: typer.Context,
    *,
    base_url: options.BaseUrl = None,
    auth: options.Auth = None,
    ca_bundle: options.CaBundle = None,
    reports: options.Reports = None,
    state_dir: options.StateDir = None,
    rate: options.RateOption = None,
    json: options.Json = None,
    quiet: options.Quiet = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Say whether everything is there that a run needs, and what to do about what is not; one question is sent."""
    from bulkredeem.cli.doctoring import examine
    from bulkredeem.cli.loop import run_to_its_end
    from bulkredeem.settings import load_settings_with_origins

    raise typer.Exit(run_to_its_end(examine(*load_settings_with_origins(_given(context)))))


@app.command()
def selftest(
    context: typer.Context,
    *,
    kills: Annotated[
        int, typer.Option("--kills", metavar="N", min=0, help="Moments to try, chosen at random; 0 for all there are.")
    ] = 20,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Which ones: the same for a seed.")] = 1,
    reports: options.Reports = None,
    config: options.Config = None,
    profile: options.Profile = None,
) -> None:
    """Kill runs at awkward moments, go on with them, and say whether every row had one true verdict.

    On this machine and on the disk of the reports folder; only the built-in sandbox is contacted.
    """
    from bulkredeem.cli.selftesting import try_the_promise

    raise typer.Exit(try_the_promise(_settings(context), kills=kills, seed=seed))


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
    """Return the options that were given and are settings, by name with `_` for `-`."""
    return {
        name: value for name, value in context.params.items() if value not in (None, ()) and name not in _NO_SETTINGS
    }


def _settings(context: typer.Context) -> Settings:
    """Return the settings for the options that were given; the others come from environment, file and defaults."""
    from bulkredeem.settings import load_settings

    return load_settings(_given(context))


def _typed(context: typer.Context, settings: Settings) -> Typed:
    """Return the options that were given, for a command line that goes on; how it looks is left to the next one."""
    from bulkredeem.summary import NOT_DONE, Typed
    from bulkredeem.workbook import NOT_DONE_XLSX

    given = {name: value for name, value in _given(context).items() if name not in _LOOKS}
    return Typed(
        whole=_as_words(given),
        all=_as_words({name: value for name, value in given.items() if name not in _OF_ONE_COMMAND}),
        where=_as_words({name: value for name, value in given.items() if name in _WHERE}),
        which=_as_words({name: value for name, value in given.items() if name in _WHICH}),
        not_done=NOT_DONE_XLSX if settings.xlsx else NOT_DONE,
    )


def _as_words(given: Mapping[str, Any]) -> str:
    words = []
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        for each in value if isinstance(value, list | tuple) else [value]:
            words += [flag] if each is True else [flag, shlex.quote(str(each))]
    return " ".join(words)
