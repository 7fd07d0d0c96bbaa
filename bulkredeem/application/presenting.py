"""What people look at: the run's page, its workbooks, and the page that lists all runs. Made from the other reports.

None of them decides anything, so none that cannot be written changes how a run ends: that is told instead, and an
older one that would now say something else is taken away.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

import orjson

from bulkredeem.application.shelf import look_at, run_folders
from bulkredeem.columns import RESULT_HEAD, RESULT_TAIL, ColumnMap
from bulkredeem.counters import Counters
from bulkredeem.errors import BulkRedeemError, Stopping
from bulkredeem.formulas import unescape
from bulkredeem.model import Status
from bulkredeem.page import INDEX, PAGE, IndexEntry, NotDoneRow, write_index, write_run_page
from bulkredeem.report import RESULTS, SUMMARY
from bulkredeem.settings import Settings
from bulkredeem.summary import NOT_DONE, RunState, Summary, Typed, closing_sentence, next_steps, unmasking
from bulkredeem.wholefile import bytes_of, opened_to_read
from bulkredeem.workbook import NOT_DONE_XLSX, RESULTS_XLSX, require, workbooks_from

_NOT_WRITTEN: Final = "Not written, {names}: {why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """How a run is shown to people."""

    xlsx: bool = False
    """Whether workbooks are wanted; those that are there are written anew in any case."""
    show_pii: bool = False
    """Whether the page shows identifiers."""
    typed: Typed = Typed()
    """What a command to paste needs."""

    @classmethod
    def of(cls, settings: Settings, typed: Typed) -> Self:
        """Return what the settings want."""
        return cls(xlsx=settings.xlsx, show_pii=settings.show_pii, typed=typed)


def require_libraries(settings: Settings) -> None:
    """Raise ConfigurationError when a library is missing that these settings need: before anything is sent."""
    if settings.xlsx:
        require()


def present(
    folder: Path,
    summary: Summary,
    columns: ColumnMap,
    wanted: Presentation,
    *,
    counters: Iterable[Counters] = (),
    proceed: Callable[[], None] = lambda: None,
) -> tuple[str, ...]:
    """Write page and workbooks of a run whose other reports are there, and the page of all runs.

    Return why something could not be written, as sentences. Raises only what `proceed`, which is asked before every
    row of the page, raises to end it.
    """
    closing = closing_sentence(summary, str(folder), wanted.typed)
    steps = next_steps(summary, str(folder), wanted.typed)

    def write_page() -> None:
        write_run_page(
            folder,
            summary,
            headers=columns.headers,
            used=columns.used,
            rows=_not_done(folder, proceed),
            counters=tuple(counters),
            steps=steps,
            closing=closing,
            unmask=unmasking(str(folder), wanted.typed),
            show_pii=wanted.show_pii,
        )

    def write_books() -> tuple[str, ...]:
        return workbooks_from(folder / RESULTS, folder, summary, closing, steps=steps, proceed=proceed)

    wants_books = wanted.xlsx or (folder / RESULTS_XLSX).exists()
    return (
        *(_tried(write_books, folder / RESULTS_XLSX, folder / NOT_DONE_XLSX) if wants_books else ()),
        *_tried(write_page, folder / PAGE),
        *list_runs_on_a_page(folder.parent, summary),
    )


def list_runs_on_a_page(reports: Path, newest: Summary | None = None) -> tuple[str, ...]:
    """Write the page of all runs of a reports folder; return why it could not be written, as a sentence, or nothing.

    `newest` is of a run whose own folder may not say yet how it ended, or None.
    """
    known = {newest.info.run_id: newest.as_json_object()} if newest else {}
    entries = (_entry(folder, known.get(folder.name) or _summary_of(folder)) for folder in run_folders(reports))
    return _tried(lambda: write_index(reports, tuple(entries)), reports / INDEX)


def forget_presentation(folder: Path) -> None:
    """Take away what was made for people of an earlier stretch of a run: it would say what is not so any more."""
    for name in (PAGE, RESULTS_XLSX, NOT_DONE_XLSX):
        with suppress(OSError):
            (folder / name).unlink(missing_ok=True)


def _tried(write: Callable[[], tuple[str, ...] | None], *paths: Path) -> tuple[str, ...]:
    """Write some files, or take away what is there of them; return what a person should know of it."""
    try:
        return write() or ()
    except Stopping:
        raise
    except Exception as exc:  # noqa: BLE001  a page that cannot be made must not change how a run ends; it is told
        for path in paths:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        why = str(exc) if isinstance(exc, BulkRedeemError) else f"an error of ours ({type(exc).__name__})."
        return (_NOT_WRITTEN.format(names=" and ".join(path.name for path in paths), why=why),)


def _not_done(folder: Path, proceed: Callable[[], None]) -> Iterator[NotDoneRow]:
    """Yield the rows of `not_done.csv`, as they were before they went through a report."""
    with opened_to_read(folder / NOT_DONE, "utf-8-sig") as file:
        reader = csv.reader(file)
        names = next(reader)
        place = {name: index for index, name in enumerate(names) if name in RESULT_HEAD or name in RESULT_TAIL}
        own = slice(len(RESULT_HEAD), len(names) - len(RESULT_TAIL))
        for cells in reader:
            proceed()
            said = {name: unescape(cells[index]) for name, index in place.items()}
            yield _row(said, tuple(map(unescape, cells[own])))


def _row(said: Mapping[str, str], cells: tuple[str, ...]) -> NotDoneRow:
    return NotDoneRow(
        row_number=int(said["row_number"]),
        status=said["status"],
        error_code=said["error_code"],
        error_message=said["error_message"],
        reason=said["reason"],
        mend_by=said["mend_by"],
        warnings=(said["warnings"],) if said["warnings"] else (),
        http_status=int(said["http_status"]) if said["http_status"] else None,
        attempts=int(said["attempts"]),
        request_id=said["request_id"],
        finished_at=_moment(said["finished_at"]) or 0.0,
        cells=cells,
    )


def _entry(folder: Path, told: Mapping[str, Any] | None) -> IndexEntry:
    """Return what the page of all runs says of one: what its summary says, or its journal if it never came to an end.

    The summary is quick to read, and there may be thousands of runs.
    """
    if told is None or told.get("state") == RunState.RUNNING:
        return _entry_from_journal(folder)
    try:
        return _entry_from_summary(folder, told)
    except (KeyError, TypeError, ValueError):
        return _entry_from_journal(folder)


def _summary_of(folder: Path) -> Mapping[str, Any] | None:
    try:
        told = orjson.loads(bytes_of(folder / SUMMARY))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def _entry_from_summary(folder: Path, told: Mapping[str, Any]) -> IndexEntry:
    return IndexEntry(
        name=folder.name,
        state=RunState(told["state"]),
        environment=told["environment"] or "",
        path=told["input"]["path"],
        retry_of=told["retry_of"] or "",
        problem=told["stop_reason"] or "",
        counts={status: int(told["counts"][status]) for status in Status},
        started_at=_moment(told["started_at"]),
        finished_at=_moment(told["finished_at"]),
        exit_code=told["exit_code"],
        has_page=(folder / PAGE).is_file(),
        has_not_done=(folder / NOT_DONE).is_file(),
    )


def _entry_from_journal(folder: Path) -> IndexEntry:
    run = look_at(folder)
    info, ending = run.info, run.ending
    return IndexEntry(
        name=folder.name,
        state=run.state,
        environment=info.environment if info else "",
        path=info.path if info else "",
        retry_of=info.retry_of if info else "",
        problem=run.problem or (ending.stop_reason if ending else ""),
        counts=run.counts,
        started_at=info.started_at if info else None,
        finished_at=ending.finished_at if ending else None,
        exit_code=ending.exit_code if ending else None,
        has_page=(folder / PAGE).is_file(),
        has_not_done=(folder / NOT_DONE).is_file(),
    )


def _moment(text: str | None) -> float | None:
    """Read a moment as the reports write it; None for none."""
    return datetime.fromisoformat(text).timestamp() if text else None
