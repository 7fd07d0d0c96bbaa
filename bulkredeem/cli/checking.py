"""The command `check`: what a file's rows would come to."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import orjson
from rich.console import Console

from bulkredeem.application import CheckReport, check_file
from bulkredeem.cli.ending import groups_table
from bulkredeem.errors import ExitCode, InputFileError
from bulkredeem.settings import Settings


def check_files(files: Sequence[Path], settings: Settings) -> ExitCode:
    """Check the files one after another, show what was found, and return the highest exit code."""
    console = Console(stderr=settings.json_summary, highlight=False, soft_wrap=True)
    worst = ExitCode.DONE
    for path in files:
        try:
            report = check_file(path, settings)
        except InputFileError as exc:
            print(exc, file=sys.stderr)
            worst = max(worst, exc.exit_code)
            continue
        _show(path, report, settings, console)
        worst = max(worst, report.exit_code)
    return worst


def _show(path: Path, report: CheckReport, settings: Settings, console: Console) -> None:
    if not settings.quiet:
        used = "; ".join(f"{header} → {name}" for header, name in report.columns.describe())
        console.print(f"{path}: columns {used}", markup=False)
        if report.problems:
            console.print(groups_table("Rows that cannot be sent", report.problems))
        if report.warnings:
            console.print(groups_table("Worth knowing", report.warnings))
    console.print(_verdict(path, report, settings.rate), markup=False, style="bold")
    if settings.json_summary:
        sys.stdout.write(orjson.dumps({"path": str(path), **_as_json_object(report)}).decode() + "\n")
        sys.stdout.flush()


def _verdict(path: Path, report: CheckReport, rate: str) -> str:
    if not report.rows:
        return f"{path} has a header and no rows: nothing would be sent."
    duration = (
        f"about {_in_words(report.seconds)} at {rate}" if report.seconds is not None else "no limit to their rate"
    )
    requests = f"{report.sendable:,} request{'s' * (report.sendable != 1)}, {duration}"
    if report.sendable == report.rows:
        return f"All {report.rows:,} rows could be sent: {requests}."
    advice = "Mend the others first, or run the file and mend its not_done.csv."
    return f"{report.sendable:,} of {report.rows:,} rows could be sent: {requests}. {advice}"


def _in_words(seconds: float) -> str:
    return str(timedelta(seconds=max(1, round(seconds))))


def _as_json_object(report: CheckReport) -> dict[str, object]:
    return {
        "columns": dict(report.columns.describe()),
        "rows": report.rows,
        "sendable": report.sendable,
        "problems": [asdict(group) for group in report.problems],
        "warnings": [asdict(group) for group in report.warnings],
        "seconds": report.seconds,
        "exit_code": report.exit_code,
    }
