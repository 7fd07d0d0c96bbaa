"""Comparing a file with what the platform holds now, row by row; nothing is sent."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from bulkredeem.application.asking import ask_all
from bulkredeem.application.intake import SNAPSHOT, judged_rows, take_in
from bulkredeem.application.terms import Terms
from bulkredeem.application.wiring import client_for
from bulkredeem.columns import ColumnMap
from bulkredeem.delivery import NotRead
from bulkredeem.delivery.reading import NOT_FOUND
from bulkredeem.errors import BulkRedeemError, ExitCode
from bulkredeem.model import Correction, Invalid
from bulkredeem.readback import Current
from bulkredeem.report import make_run_folder, write_comparison
from bulkredeem.settings import Settings
from bulkredeem.summary import ErrorGroup, Groups

_NOT_ASKED: Final = "it was not read back: {why}"


class Result(StrEnum):
    """What a row has in common with its redemption: the column `result`."""

    SAME = "same"
    """The platform holds every value of the row."""
    EMPTY = "empty"
    """A field that the row sets is empty, and none holds another value."""
    DIFFERENT = "different"
    """A field that the row sets holds another value."""
    NOT_FOUND = "not_found"
    """The platform shows no such redemption, or knows no such customer."""
    NOT_READ = "not_read"
    """Nobody knows: it cannot be read back, or that failed, or it was stopped before."""
    INVALID = "invalid"
    """The row could not be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a file and the platform have in common."""

    path: Path
    """The file that was compared, as it was named."""
    report: Path
    """Where it says so of each row."""
    columns: ColumnMap
    counts: Mapping[Result, int]
    """Rows with each result; they add up to the file's."""
    groups: tuple[ErrorGroup, ...]
    """Rows that are not the same, by result and by what is different."""
    requests: int
    """Tries on the wire."""
    stopped_by: BulkRedeemError | None
    """What ended it before the last row, or None."""

    @property
    def rows(self) -> int:
        """Rows of the file."""
        return sum(self.counts.values())

    @property
    def exit_code(self) -> ExitCode:
        """What it means for the process."""
        if self.stopped_by is not None:
            return self.stopped_by.exit_code
        return ExitCode.DONE if self.counts[Result.SAME] == self.rows else ExitCode.NOT_ALL_DONE


async def compare_file(path: Path, settings: Settings, terms: Terms) -> Comparison:
    """Read back what each row of a file names, and write beside the row what is different; nothing is sent.

    Raises ConfigurationError, InputFileError, ReportsFolderError, ReportError, and what ends it before any row was read
    back: `AccessRefusedError`, `TlsError`, `ProxyRefusedError`, `OutageError`, `Stopping`.
    """
    client = client_for(settings, wall_clock=terms.wall_clock)
    with tempfile.TemporaryDirectory(prefix="bulkredeem-") as name:
        folder = Path(name)
        intake = await asyncio.to_thread(take_in, path, folder, settings, terms.stop.check, durable=False)
        comparing = _Comparing(folder, intake.columns, settings)
        rows = await asyncio.to_thread(comparing.count)
        requests = await ask_all(comparing.corrections(), rows, comparing.note, client, settings, terms)
        stopped_by = _stopped_by(terms.stop.cause, asked=comparing.asked, rows=rows)
        write = partial(comparing.write, settings.reports, terms.wall_clock(), stopped_by)
        report = await asyncio.to_thread(write)
    return Comparison(
        path=path,
        report=report,
        columns=intake.columns,
        counts=comparing.counts,
        groups=comparing.groups.largest(),
        requests=requests,
        stopped_by=stopped_by,
    )


def _stopped_by(cause: BaseException | None, *, asked: int, rows: int) -> BulkRedeemError | None:
    """Return what ended it early, or None; raise it when there is nothing to tell for it, or it is an error of ours."""
    if asked == rows or cause is None:
        return None
    if asked and isinstance(cause, BulkRedeemError):
        return cause
    raise cause


class _Comparing:
    """Compares the rows of one file."""

    def __init__(self, folder: Path, columns: ColumnMap, settings: Settings) -> None:
        self.counts = dict.fromkeys(Result, 0)
        self.groups = Groups()
        self.asked = 0
        self._folder = folder
        self._columns = columns
        self._settings = settings
        self._findings: dict[int, tuple[str, str]] = {}
        """Row number → result and changes; of all rows but those that were not asked about."""

    def count(self) -> int:
        """Return how many rows can be asked about, and take note of those that cannot be sent."""
        rows = 0
        for job in judged_rows(self._folder, self._columns, self._settings.rules):
            if isinstance(job, Invalid):
                self._note_invalid(job)
            else:
                rows += 1
        return rows

    def corrections(self) -> Iterator[Correction]:
        """Yield the rows that can be asked about, in the file's order."""
        jobs = judged_rows(self._folder, self._columns, self._settings.rules)
        return (job for job in jobs if isinstance(job, Correction))

    def note(self, correction: Correction, current: Current | NotRead) -> None:
        """Take note of what was read back of a row."""
        self.asked += 1
        number = correction.row_number
        if isinstance(current, NotRead):
            result = Result.NOT_FOUND if current.code == NOT_FOUND else Result.NOT_READ
            self._add(number, result, current.message, current.message)
            return
        changes = {
            field: (found, value)
            for field, value in correction.values.items()
            if (found := current.value_of(field)) != value
        }
        result, words = _result_of(changes)
        in_full = "; ".join(f'{field}: "{found}" → "{value}"' for field, (found, value) in changes.items())
        self._add(number, result, in_full, words)

    def write(self, reports: Path, now: float, stopped_by: BulkRedeemError | None) -> Path:
        """Write the report into a folder of its own, and return its path. Raises ReportsFolderError, ReportError."""
        words = _NOT_ASKED.format(why=stopped_by)

        def finding(row_number: int) -> tuple[str, str]:
            if row_number not in self._findings:
                self._add(row_number, Result.NOT_READ, words, words)
            return self._findings[row_number]

        name = f"compare-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
        return write_comparison(make_run_folder(reports, name), self._folder / SNAPSHOT, finding)

    def _note_invalid(self, invalid: Invalid) -> None:
        problems = [f"{problem.code}: {problem.message}" for problem in invalid.problems]
        details = [f" ({problem.detail})" if problem.detail else "" for problem in invalid.problems]
        in_full = "; ".join(words + detail for words, detail in zip(problems, details, strict=True))
        self._add(invalid.row_number, Result.INVALID, in_full, "; ".join(problems))

    def _add(self, row_number: int, result: Result, changes: str, words: str) -> None:
        """Take note of a row: `changes` for its own line, `words` without its values for counting like rows."""
        self.counts[result] += 1
        self._findings[row_number] = (result, changes)
        if result is not Result.SAME:
            self.groups.add(result, words, row_number)


def _result_of(changes: Mapping[str, tuple[str, str]]) -> tuple[Result, str]:
    """Return what the changes (field → value there, value of the row) come to, and which fields say so."""
    if not changes:
        return Result.SAME, ""
    others = [field for field, (found, _) in changes.items() if found]
    if others:
        return Result.DIFFERENT, f"the platform has another value of {', '.join(others)}"
    return Result.EMPTY, f"the platform has no value of {', '.join(changes)}"
