"""The command `check`: what a file's rows would come to."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import orjson
from rich.console import Console

from bulkredeem.application import CheckReport, check_file
from bulkredeem.cli.ending import show_groups
from bulkredeem.cli.progress import duration_in_words
from bulkredeem.cli.streams import complain, write_json_line
from bulkredeem.cli.terminal import make_console, say
from bulkredeem.errors import ExitCode, InputFileError
from bulkredeem.moments import time_in_words
from bulkredeem.settings import Settings
from bulkredeem.summary import counted


def check_files(files: Sequence[Path], settings: Settings) -> ExitCode:
    """Check the files one after another, show what was found, and return the highest exit code."""
    console = make_console(on_stderr=settings.json_summary)
    worst = ExitCode.DONE
    for path in files:
        try:
            report = check_file(path, settings)
        except InputFileError as exc:
            complain(exc)
            worst = max(worst, exc.exit_code)
            continue
        _show(path, report, settings, console)
        worst = max(worst, report.exit_code)
    return worst


def _show(path: Path, report: CheckReport, settings: Settings, console: Console) -> None:
    if not settings.quiet:
        say(console, f"{path}: {report.columns.in_words()}.")
        show_groups(console, "Rows that cannot be sent:", report.problems)
        show_groups(console, "Rows that need no sending:", report.skipped)
        show_groups(console, "Worth knowing:", report.warnings)
    say(console, _verdict(path, report, settings.rate), style="bold")
    if report.deadline is not None:
        say(console, _until(report, report.deadline))
    if settings.json_summary:
        name = str(path).encode(errors="replace").decode()
        write_json_line(orjson.dumps({"path": name, **_as_json_object(report)}))


def _verdict(path: Path, report: CheckReport, rate: str) -> str:
    if not report.rows:
        return f"{path} has a header and no rows: nothing would be sent."
    duration = (
        f"about {duration_in_words(report.seconds)} at {rate}"
        if report.seconds is not None
        else "no limit to their rate"
    )
    requests = f"{counted(report.sendable, 'request')}, {duration}"
    if report.sendable == report.rows:
        return f"{'The one row' if report.rows == 1 else f'All {report.rows:,} rows'} could be sent: {requests}."
    advice = " Mend the others first, or run the file and mend its not_done.csv." if report.unsendable else ""
    return f"{report.sendable:,} of {report.rows:,} rows could be sent: {requests}.{advice}"


def _until(report: CheckReport, deadline: float) -> str:
    until = time_in_words(deadline, time.time())
    if report.fit is None:
        return f"How many would fit before {until} depends on the platform alone: there is no limit to their rate."
    return f"Before {until}, about {report.fit:,} of {counted(report.sendable, 'row')} would fit, begun now."


def _as_json_object(report: CheckReport) -> dict[str, object]:
    return {
        "columns": dict(report.columns.pairs()),
        "rows": report.rows,
        "sendable": report.sendable,
        "problems": [asdict(group) for group in report.problems],
        "skipped": [asdict(group) for group in report.skipped],
        "warnings": [asdict(group) for group in report.warnings],
        "seconds": report.seconds,
        "fit_before_deadline": report.fit,
        "exit_code": report.exit_code,
    }
