"""The command `check`, and `run --dry-run`: what a file's rows would come to."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bulkredeem.application import CheckReport, DryRun, check_file, dry_run
from bulkredeem.cli.ending import show_closing, show_groups
from bulkredeem.cli.progress import duration_in_words
from bulkredeem.cli.streams import as_text, complain, harmless, write_json_line
from bulkredeem.cli.terminal import make_console, say, say_whole
from bulkredeem.columns import shown_header
from bulkredeem.errors import BulkRedeemError, ExitCode
from bulkredeem.loader import name_of
from bulkredeem.masking import mask
from bulkredeem.model import Column
from bulkredeem.moments import time_in_words
from bulkredeem.page import PAGE
from bulkredeem.settings import Settings
from bulkredeem.summary import Typed, counted

_WIDE: Final = 200
"""Columns of a table where no terminal folds it."""
_Look = Callable[[Path], ExitCode]
"""Looks at one file, shows what was found, and returns what it means for the process."""


def check_files(files: Sequence[Path], settings: Settings) -> ExitCode:
    """Check the files one after another, show what was found, and return the highest exit code."""
    console = make_console(on_stderr=settings.json_summary)
    return _each(files, partial(_check, settings=settings, console=console))


def dry_run_files(files: Sequence[Path], settings: Settings, typed: Typed) -> ExitCode:
    """Do the same, and leave a folder for each file that says what would become of each row."""
    console = make_console(on_stderr=settings.json_summary)
    return _each(files, partial(_dry_run, settings=settings, typed=typed, console=console))


def _each(files: Sequence[Path], look: _Look) -> ExitCode:
    worst = ExitCode.DONE
    for path in files:
        try:
            code = look(path)
        except BulkRedeemError as exc:
            complain(exc)
            code = exc.exit_code
        worst = max(worst, code)
    return worst


def _check(path: Path, settings: Settings, console: Console) -> ExitCode:
    report = check_file(path, settings)
    _show(path, report, settings, console)
    if settings.json_summary:
        write_json_line(orjson.dumps(_as_json_object(path, report)))
    return report.exit_code


def _dry_run(path: Path, settings: Settings, typed: Typed, console: Console) -> ExitCode:
    found = dry_run(path, settings, typed=typed)
    _show(path, found.report, settings, console)
    if not settings.quiet:
        for remark in found.remarks:
            say(console, remark, style="yellow")
        say_whole(console, f"The page: {found.folder / PAGE}")
    show_closing(console, found.summary, found.folder, typed)
    if settings.json_summary:
        write_json_line(orjson.dumps(_as_json_object(path, found.report) | _where(found)))
    return found.report.exit_code


def _where(found: DryRun) -> dict[str, Any]:
    return {"folder": as_text(found.folder), "summary": found.summary.as_json_object()}


def _show(path: Path, report: CheckReport, settings: Settings, console: Console) -> None:
    if not settings.quiet:
        _show_reading(path, report, settings, console)
        _show_samples(report, console)
        for finding in report.findings:
            say(console, f"Unusual: {finding}.", style="yellow")
        show_groups(console, "Rows that cannot be sent:", report.problems)
        show_groups(console, "Rows that need no sending:", report.skipped)
        show_groups(console, "Worth knowing:", report.warnings)
        if report.not_asked:
            say(console, report.not_asked)
    say(console, _verdict(path, report, settings.rate), style="bold")
    if report.deadline is not None:
        say(console, _until(report, report.deadline))


def _show_reading(path: Path, report: CheckReport, settings: Settings, console: Console) -> None:
    """Show how the file was read: which column is used as what, and what its values look like."""
    say(console, f"{name_of(path)}: {counted(report.rows, 'row')}. {' '.join(report.read_as)}".rstrip())
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("column", "is used as", "filled", "distinct", "looks like"):
        table.add_column(title, justify="right" if title in ("filled", "distinct") else "left", overflow="fold")
    for header, name in report.columns.pairs():
        table.add_row(Text(harmless(shown_header(header.strip()))), Text(shown_header(name)), *_looks(report, name))
    # In a pipe there is no width to keep to.
    wide = console if console.is_terminal else Console(file=console.file, width=_WIDE, highlight=False, emoji=False)
    wide.print(table)
    for name, assumed in _assumed(report, settings).items():
        say(console, f"There is no column {name}: {assumed} is taken for every row.")
    used = set(report.columns.used.values())
    carried = [shown_header(header.strip()) for index, header in enumerate(report.columns.headers) if index not in used]
    if carried:
        say(console, f"Carried along: {', '.join(name or '(no name)' for name in carried)}.")


def _assumed(report: CheckReport, settings: Settings) -> dict[str, str]:
    """Return what every row is taken to be, by the names of the columns that would say otherwise."""
    defaults = {
        str(Column.IDENTIFIER_TYPE): settings.default_identifier_type,
        str(Column.ENTITY_TYPE): settings.default_entity_type,
    }
    return {name: assumed for name, assumed in defaults.items() if name not in report.columns.used}


def _looks(report: CheckReport, name: str) -> tuple[Text, ...]:
    """Return what is known of the values of a field that rows set; nothing for the others."""
    field = report.profile.fields.get(name)
    if field is None:
        return (Text("-"), Text("-"), Text(""))
    shapes = ", ".join(shape for shape, _ in field.shapes[:2])
    example = f" ({_shown(name, field.example[0])})" if field.example else ""
    return Text(f"{field.filled:,}"), Text(f"{field.distinct:,}"), Text(harmless(f"{shapes}{example}"))


def _shown(name: str, value: str) -> str:
    """Return what may be shown of a value: bills are numbers, but what else people write may name a customer."""
    return value if name in (Column.BILL_NUMBER, Column.BILL_ID) else mask(value, {})


def _show_samples(report: CheckReport, console: Console) -> None:
    if report.samples:
        say(console, "What would be sent, for example (identifiers shortened):")
    for sample in report.samples:
        say(console, f"row {sample.row_number}: {sample.body}", indent=3)


def _verdict(path: Path, report: CheckReport, rate: str) -> str:
    if not report.rows:
        return f"{name_of(path)} has a header and no rows: nothing would be sent."
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


def _as_json_object(path: Path, report: CheckReport) -> dict[str, Any]:
    return {
        "path": as_text(path),
        "read_as": list(report.read_as),
        "columns": dict(report.columns.pairs()),
        "rows": report.rows,
        "ignored": report.ignored,
        "sendable": report.sendable,
        "samples": [asdict(sample) for sample in report.samples],
        "profile": report.profile.as_json_object(),
        "findings": list(report.findings),
        "not_asked": report.not_asked or None,
        "problems": [asdict(group) for group in report.problems],
        "skipped": [asdict(group) for group in report.skipped],
        "warnings": [asdict(group) for group in report.warnings],
        "seconds": report.seconds,
        "fit_before_deadline": report.fit,
        "exit_code": report.exit_code,
    }
