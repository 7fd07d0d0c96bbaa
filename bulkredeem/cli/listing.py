"""The commands `runs`, `report` and `abandon`: what the reports folder holds, without sending anything."""

from __future__ import annotations

import time
from typing import Any

import orjson
from rich.console import Console
from rich.text import Text

from bulkredeem.application import (
    Presentation,
    Run,
    Shelved,
    abandon_run,
    find_run,
    report_run,
    require_libraries,
    runs_in,
)
from bulkredeem.cli.progress import in_words
from bulkredeem.cli.running import show_run
from bulkredeem.cli.streams import as_text, write_json_line
from bulkredeem.cli.terminal import make_console, say, say_whole
from bulkredeem.errors import ConfigurationError, ExitCode
from bulkredeem.settings import Settings
from bulkredeem.summary import RunState, Typed, counted, iso_utc

_COLOURS = {
    RunState.RUNNING: "cyan",
    RunState.FINISHED: "green",
    RunState.STOPPED: "yellow",
    RunState.CRASHED: "red",
    RunState.ABANDONED: "dim",
    RunState.NOT_BEGUN: "yellow",
    RunState.UNREADABLE: "red",
}


def list_runs(settings: Settings) -> ExitCode:
    """Show every run of the reports folder, the oldest first."""
    console = make_console(on_stderr=settings.json_summary)
    runs = runs_in(settings.reports)
    for run in runs:
        if settings.json_summary:
            write_json_line(orjson.dumps(_as_json_object(run)))
        else:
            _show(console, run)
    if not runs:
        say(console, f"There are no runs in {settings.reports}.")
    return ExitCode.DONE


def rebuild(name: str, settings: Settings, typed: Typed) -> ExitCode:
    """Write the reports of a run anew, and show how it ended."""
    require_libraries(settings)
    return _tell(
        report_run(find_run(settings.reports, name), time.time(), wanted=Presentation.of(settings, typed)),
        settings,
        typed,
    )


def abandon(name: str, reason: str, settings: Settings, typed: Typed) -> ExitCode:
    """Close a run for good, and show how far it had come."""
    if not reason.strip():
        raise ConfigurationError("--reason is empty: say why, since it is kept with the run.")
    return _tell(
        abandon_run(find_run(settings.reports, name), reason, time.time(), Presentation.of(settings, typed)),
        settings,
        typed,
    )


def _tell(run: Run, settings: Settings, typed: Typed) -> ExitCode:
    show_run(make_console(on_stderr=settings.json_summary), run, settings, typed)
    return run.exit_code


def _show(console: Console, run: Shelved) -> None:
    line = Text(run.folder.name, style="bold")
    line.append(f"  {run.state}", style=_COLOURS[run.state])
    console.print(line, soft_wrap=True)
    if run.info and run.counts:
        retried = f", again from {run.info.retry_of}" if run.info.retry_of else ""
        say_whole(console, f"   {run.info.path}{retried}: {counted(run.info.rows, 'row')}: {in_words(run.counts)}")
    for remark in _remarks(run):
        say(console, remark, indent=3)


def _remarks(run: Shelved) -> list[str]:
    remarks = [run.problem] if run.problem else []
    if run.owner:
        remarks.append(f"by {run.owner.in_words()}")
    if run.ending and run.ending.stop_reason:
        remarks.append(run.ending.stop_reason)
    if run.doubtful:
        remarks.append(f"up to {counted(run.doubtful, 'pending row')} may have been applied")
    return remarks


def _as_json_object(run: Shelved) -> dict[str, Any]:
    info = run.info
    return {
        "run_id": run.folder.name,
        "folder": as_text(run.folder),
        "state": run.state,
        "input": info.path if info else None,
        "retry_of": (info.retry_of or None) if info else None,
        "started_at": iso_utc(info.started_at) if info else None,
        "rows": info.rows if info else None,
        "counts": {str(status): count for status, count in run.counts.items()} if run.counts else None,
        "may_be_applied": run.doubtful,
        "pid": run.owner.pid if run.owner else None,
        "host": run.owner.host if run.owner else None,
        "stop_reason": (run.ending.stop_reason or None) if run.ending else None,
        "exit_code": run.ending.exit_code if run.ending else None,
        "problem": run.problem or None,
    }
