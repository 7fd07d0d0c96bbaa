"""A new run over the rows that an older one left: chosen, copied with their numbers, linked to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bulkredeem.application.concluding import Run
from bulkredeem.application.intake import SNAPSHOT
from bulkredeem.application.opening import Opened, open_run, require_ended
from bulkredeem.application.preparing import Content, Prepared, prepare_new
from bulkredeem.application.resuming import at_its_system, settings_for
from bulkredeem.application.rows import RowNumbers, outcomes_of
from bulkredeem.application.running import carry_out
from bulkredeem.application.shelf import Shelved, require_free, runs_in
from bulkredeem.application.terms import Terms, Turn
from bulkredeem.application.turn import turn_of
from bulkredeem.application.wiring import client_for
from bulkredeem.client import Client
from bulkredeem.errors import JournalUnreadableError, ReportsFolderError
from bulkredeem.journal import Journal
from bulkredeem.model import DONE, Status
from bulkredeem.overlaps import CONFLICTING_ROWS
from bulkredeem.settings import Settings
from bulkredeem.snapshot import Record, copy_records, read_records
from bulkredeem.summary import counted
from bulkredeem.verdict import SENT_BEFORE

USUAL: Final = frozenset({Status.FAILED, Status.IN_DOUBT, Status.PENDING})
"""What is tried again unless somebody chooses: the others would only be refused, or be invalid, again."""
NOT_DONE: Final = frozenset(Status) - DONE
"""What can be chosen."""
_NOBODY_KNOWS: Final = (
    "{folder} cannot be read, so that nobody can tell which rows that run has sent: put it back first."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which rows are wanted of those that are not done."""

    statuses: frozenset[Status] = frozenset()
    """Those with one of these; empty for the usual, or for all that are not done when codes are chosen."""
    codes: frozenset[str] = frozenset()
    """Those with one of these error codes; empty for any."""

    def wants(self, status: Status, error_code: str) -> bool:
        """Say whether a row with this verdict is wanted."""
        statuses = self.statuses or (NOT_DONE if self.codes else USUAL)
        if error_code == CONFLICTING_ROWS:
            return False  # alone, without those it fights with, it would win
        return status in statuses & NOT_DONE and (not self.codes or not self.codes.isdisjoint(error_code.split("; ")))


async def retry_run(folder: Path, now: Settings, flags: Mapping[str, Any], choice: Choice, terms: Terms) -> Run | None:
    """Run the chosen rows of an older run again, in a new run; None when none of them is left.

    Raises what `resume_run` raises, and RunNotFoundError also for a run that is not at its end.
    """
    require_free(folder)
    async with turn_of(now.reports, at_its_system(folder, now), terms) as turn:
        prepared = await asyncio.to_thread(_prepare, folder, now, flags, choice, terms, turn)
        if prepared is None:
            return None
        run, client = prepared
        return await carry_out(run, client, terms)


def _prepare(
    folder: Path, now: Settings, flags: Mapping[str, Any], choice: Choice, terms: Terms, turn: Turn
) -> tuple[Prepared, Client] | None:
    opened = open_run(folder, terms.wall_clock())
    with opened.resources:
        require_ended(opened)
        settings, remarks = settings_for(opened, now, flags)
        client = client_for(settings, wall_clock=terms.wall_clock)
        selection = _select(opened, choice)
        if not len(selection.rows):
            return None
        prepared = prepare_new(settings, turn, selection.write_snapshot, terms.stop.check, terms.wall_clock())
        return replace(prepared, remarks=(*prepared.remarks, *remarks, *selection.remarks)), client


@dataclass(frozen=True, slots=True, kw_only=True)
class _Selection:
    """The rows of an older run that a new one takes over."""

    opened: Opened
    rows: RowNumbers
    doubted: RowNumbers
    """Those of all its rows that may have been applied."""
    remarks: tuple[str, ...]

    def write_snapshot(self, folder: Path) -> Content:
        """Copy the rows into the new run's folder."""
        info = self.opened.info
        try:
            rows = copy_records(self.opened.snapshot, folder / SNAPSHOT, self.rows.__contains__)
        except OSError as exc:
            raise ReportsFolderError(f"{folder / SNAPSHOT} cannot be written: {exc.strerror or exc}.") from exc
        return Content(
            path=info.path,
            sha256=info.sha256,
            as_of=info.as_of,
            rows=rows,
            columns=self.opened.columns,
            retry_of=info.run_id,
            knew_at=info.knew_at or info.started_at,
            undo_of=info.undo_of,
            doubted=(number for number in self.rows if number in self.doubted),
            doubted_at=self.opened.ending.finished_at,
        )


def _select(opened: Opened, choice: Choice) -> _Selection:
    """Choose the rows that are wanted and that no other retry has taken over."""
    taken, doubted = RowNumbers(_taken_over(opened)), RowNumbers(_doubted(opened.journal))
    wanted = RowNumbers(
        record.row_number
        for record, (status, code) in _verdicts(opened.journal, opened.snapshot, doubted)
        if choice.wants(status, code)
    )
    rows = RowNumbers(number for number in wanted if number not in taken)
    return _Selection(opened=opened, rows=rows, doubted=doubted, remarks=_remarks(len(wanted) - len(rows)))


def _remarks(left_to_others: int) -> tuple[str, ...]:
    if not left_to_others:
        return ()
    return (f"{counted(left_to_others, 'row')} left out: a retry has taken them over already.",)


def _taken_over(opened: Opened) -> Iterator[int]:
    """Yield the rows that other runs have taken over from this one."""
    for run in _runs_of_the_file(opened):
        if run.info and run.info.retry_of == opened.info.run_id:
            with _readable(run.folder):
                yield from (record.row_number for record in read_records(run.folder / SNAPSHOT))


def _runs_of_the_file(opened: Opened) -> Iterator[Shelved]:
    """Yield the other runs over the same content: row numbers mean the same rows in all of them."""
    for run in runs_in(opened.folder.parent):
        if run.info and run.info.sha256 == opened.info.sha256 and run.info.run_id != opened.info.run_id:
            yield run


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Say which run it is that cannot be read."""
    try:
        yield
    except (OSError, KeyError, ValueError) as exc:
        raise JournalUnreadableError(_NOBODY_KNOWS.format(folder=folder)) from exc


def _doubted(journal: Journal) -> Iterator[int]:
    """Yield the rows that may have been applied without an outcome that says whether they were."""
    settled = RowNumbers(journal.settled())
    yield from (number for number in journal.doubted() if number not in settled)
    yield from (outcome.row_number for outcome in journal.outcomes() if outcome.status is Status.IN_DOUBT)


def _verdicts(journal: Journal, snapshot: Path, doubted: RowNumbers) -> Iterator[tuple[Record, tuple[Status, str]]]:
    """Yield every row with its status and error code, in the file's order, as the reports tell them."""
    outcomes = outcomes_of(journal)
    for record in read_records(snapshot):
        outcome = outcomes(record.row_number)
        if outcome is not None:
            yield record, (outcome.status, outcome.error_code)
        else:
            yield record, (Status.PENDING, SENT_BEFORE.code if record.row_number in doubted else "")
