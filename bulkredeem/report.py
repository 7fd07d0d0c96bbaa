"""Outcomes → the files people read: `results.csv`, `not_done.csv`, `summary.json`, and the link `latest`.

All are projections of journal and snapshot and can be written again at any time. Each appears whole or not at all: it
is written under another name, synced, and renamed.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TextIO

import orjson

from bulkredeem.columns import RESULT_HEAD, RESULT_TAIL, carried_name
from bulkredeem.errors import ReportError, ReportsFolderError
from bulkredeem.formulas import escape
from bulkredeem.model import DONE, Outcome, Status
from bulkredeem.snapshot import Record, has_byte_order_mark, read_headers, read_records, sync_folder
from bulkredeem.summary import NOT_DONE, Summary, Tally, iso_utc
from bulkredeem.verdict import SENT_BEFORE

RESULTS: Final = "results.csv"
SUMMARY: Final = "summary.json"
LATEST: Final = "latest"


def write_results(
    folder: Path,
    snapshot: Path,
    outcomes: Iterable[Outcome],
    *,
    is_doubted: Callable[[int], bool] = lambda _row_number: False,
    proceed: Callable[[], None] = lambda: None,
) -> Tally:
    """Write `results.csv` and `not_done.csv` into the run's folder, and return the count of what they hold.

    `outcomes` come by row number, as the journal yields them; a row of the snapshot without one is `pending`, and says
    so if it `is_doubted`: sent perhaps. Each file starts with a byte order mark if the input did: whoever needs one for
    Excel needs it again. `proceed` is asked before every row and raises what is to end the writing. Raises ReportError
    when the disk does not take them.
    """
    tally = Tally()
    try:
        encoding = "utf-8-sig" if has_byte_order_mark(snapshot) else "utf-8"
    except OSError as exc:
        raise ReportError(f"{snapshot} could not be read: {exc.strerror or exc}.") from exc
    with _whole_file(folder / RESULTS, encoding) as results, _whole_file(folder / NOT_DONE, encoding) as not_done:
        all_rows, open_rows = (csv.writer(file, lineterminator="\r\n") for file in (results, not_done))
        header = _header(read_headers(snapshot))
        all_rows.writerow(header)
        open_rows.writerow(header)
        for record, found in _joined(read_records(snapshot), outcomes):
            proceed()
            outcome = found or _pending(record.row_number, is_doubted=is_doubted(record.row_number))
            line = _line(record, outcome)
            all_rows.writerow(line)
            if outcome.status not in DONE:
                open_rows.writerow(line)
            if outcome.status is not Status.PENDING:
                tally.add(outcome)
    return tally


def write_summary(folder: Path, summary: Summary) -> None:
    """Write `summary.json` into the run's folder."""
    text = orjson.dumps(summary.as_json_object(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    with _whole_file(folder / SUMMARY) as file:
        file.write(text.decode())


def point_latest_to(folder: Path) -> None:
    """Let `latest` in the reports folder name this run; on a file system without links there is none."""
    link = folder.parent / LATEST
    aside = folder.parent / f".{LATEST}.{folder.name}"
    with suppress(OSError):
        aside.symlink_to(folder.name)
        try:
            aside.replace(link)
        finally:
            aside.unlink(missing_ok=True)


def make_run_folder(reports: Path, run_id: str) -> Path:
    """Make the folder of a new run; raise ReportsFolderError with the reason when it cannot be made."""
    folder = reports / run_id
    try:
        folder.mkdir(parents=True)
    except OSError as exc:
        raise ReportsFolderError(f"No folder for reports can be made at {folder}: {exc.strerror}.") from exc
    return folder


def _header(own: Sequence[str]) -> list[str]:
    return [*RESULT_HEAD, *(escape(carried_name(header)) for header in own), *RESULT_TAIL]


def _line(record: Record, outcome: Outcome) -> list[Any]:
    return [
        outcome.row_number,
        str(outcome.status),
        escape(outcome.error_code),
        escape(outcome.error_message),
        *map(escape, record.cells),
        escape("; ".join(outcome.warnings)),
        "" if outcome.http_status is None else outcome.http_status,
        outcome.attempts,
        escape(outcome.request_id),
        iso_utc(outcome.finished_at) if outcome.finished_at else "",
    ]


def _pending(row_number: int, *, is_doubted: bool) -> Outcome:
    """Return what is said of a row without an outcome."""
    if not is_doubted:
        return Outcome(row_number=row_number, status=Status.PENDING)
    code, words = SENT_BEFORE.code, SENT_BEFORE.message
    return Outcome(row_number=row_number, status=Status.PENDING, error_code=code, error_message=words)


def _joined(records: Iterable[Record], outcomes: Iterable[Outcome]) -> Iterator[tuple[Record, Outcome | None]]:
    """Put each row of the snapshot together with its outcome, or None; both come by row number."""
    coming = iter(outcomes)
    next_outcome = next(coming, None)
    for record in records:
        if next_outcome is not None and next_outcome.row_number == record.row_number:
            yield record, next_outcome
            next_outcome = next(coming, None)
        else:
            yield record, None


@contextmanager
def _whole_file(path: Path, encoding: str = "utf-8") -> Iterator[TextIO]:
    """Open a file that appears under its name only when everything was written and synced."""
    aside = path.with_name(f".{path.name}.part")
    try:
        with aside.open("w", encoding=encoding, newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as exc:
        raise ReportError(f"{path} could not be written: {exc.strerror or exc}.") from exc
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
