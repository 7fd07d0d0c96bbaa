"""A new run over the rows that an older one left: chosen, copied with their numbers, linked to it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bulkredeem.application.intake import SNAPSHOT, judged_rows
from bulkredeem.application.opening import Opened, open_run
from bulkredeem.application.preparing import Content, Prepared, prepare_new
from bulkredeem.application.record import JOURNAL, columns_of
from bulkredeem.application.resuming import settings_for
from bulkredeem.application.rows import RowNumbers
from bulkredeem.application.running import Run, carry_out, client_for
from bulkredeem.application.shelf import Shelved, runs_in
from bulkredeem.application.terms import Terms
from bulkredeem.client import Client
from bulkredeem.errors import JournalUnreadableError, ReportsFolderError, RunNotFoundError
from bulkredeem.journal import Journal
from bulkredeem.model import DONE, Correction, Invalid, Status
from bulkredeem.settings import Settings
from bulkredeem.snapshot import copy_records, read_headers, read_records
from bulkredeem.summary import UNFINISHED, RunState, counted
from bulkredeem.verdict import SENT_BEFORE

USUAL: Final = frozenset({Status.FAILED, Status.IN_DOUBT, Status.PENDING})
"""What is tried again unless somebody chooses: the others would only be refused, or be invalid, again."""
NOT_DONE: Final = frozenset(Status) - DONE
"""What can be chosen."""
_NOT_AT_ITS_END: Final = UNFINISHED | {RunState.RUNNING}
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
        return status in statuses & NOT_DONE and (not self.codes or not self.codes.isdisjoint(error_code.split("; ")))


async def retry_run(folder: Path, now: Settings, flags: Mapping[str, Any], choice: Choice, terms: Terms) -> Run | None:
    """Run the chosen rows of an older run again, in a new run; None when none of them is left.

    Raises what `resume_run` raises, and RunNotFoundError also for a run that is not at its end.
    """
    prepared = await asyncio.to_thread(_prepare, folder, now, flags, choice, terms)
    if prepared is None:
        return None
    run, client = prepared
    return await carry_out(run, client, terms)


def _prepare(
    folder: Path, now: Settings, flags: Mapping[str, Any], choice: Choice, terms: Terms
) -> tuple[Prepared, Client] | None:
    opened = open_run(folder, terms.wall_clock())
    with opened.resources:
        if opened.ending.state in UNFINISHED:
            raise RunNotFoundError(f"{folder} is {opened.ending.state}: go on with it first (resume), or abandon it.")
        settings, remarks = settings_for(opened, now, flags)
        client = client_for(settings)
        selection = _select(opened, settings, choice)
        if not len(selection.rows):
            return None
        prepared = prepare_new(settings, selection.write_snapshot, terms.stop.check, terms.wall_clock())
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
            doubted=(number for number in self.rows if number in self.doubted),
        )


def _select(opened: Opened, settings: Settings, choice: Choice) -> _Selection:
    """Choose the rows that are wanted, that no other retry has taken over, and that are not overtaken."""
    taken = RowNumbers(_taken_over(opened))
    doubted = RowNumbers(_doubted(opened.journal))
    overtaken, wanted, left_to_others = _Overtaken(), [], 0
    jobs = judged_rows(opened.folder, opened.columns, settings)
    for job, (status, code) in zip(jobs, _verdicts(opened.journal, opened.snapshot, doubted), strict=True):
        number = job.row_number
        is_wanted = choice.wants(status, code)
        left_to_others += is_wanted and number in taken
        if is_wanted and number not in taken:
            wanted.append(number)
            overtaken.await_later_rows(job)
        elif status is Status.SUCCESS or number in doubted or number in taken:
            overtaken.note_applied(job)
    for job in _applied_by_others(opened, settings):
        overtaken.note_applied(job)
    return _Selection(
        opened=opened,
        rows=RowNumbers(number for number in wanted if number not in overtaken.rows),
        doubted=doubted,
        remarks=_remarks(left_to_others, len(overtaken.rows)),
    )


class _Overtaken:
    """Finds the rows behind which another row of the file has set the same field of the same redemption.

    To send such a row again would put an older value back.
    """

    def __init__(self) -> None:
        self.rows: set[int] = set()
        self._waiting: dict[tuple[tuple[str, ...], str], set[int]] = {}

    def await_later_rows(self, job: Correction | Invalid) -> None:
        """Take note of a row that is to be sent again."""
        for field in _fields_of(job):
            self._waiting.setdefault(field, set()).add(job.row_number)

    def note_applied(self, job: Correction | Invalid) -> None:
        """Take note of a row that was applied, or may be, in whichever run over the file."""
        for field in _fields_of(job):
            self.rows |= {number for number in self._waiting.get(field, ()) if number < job.row_number}


def _fields_of(job: Correction | Invalid) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(job, Correction):
        for name in job.fields_set:
            yield job.redemption_key, name


def _remarks(left_to_others: int, overtaken: int) -> tuple[str, ...]:
    remarks = []
    if left_to_others:
        remarks.append(f"{counted(left_to_others, 'row')} left out: a retry has taken them over already.")
    if overtaken:
        remarks.append(
            f"{counted(overtaken, 'row')} left out: later rows of the file have set the same field of the same"
            " redemption since, and the older value must not come back."
        )
    return tuple(remarks)


def _taken_over(opened: Opened) -> Iterator[int]:
    """Yield the rows that other runs have taken over from this one."""
    for run in _runs_of_the_file(opened):
        if run.info and run.info.retry_of == opened.info.run_id:
            with _readable(run.folder):
                yield from (record.row_number for record in read_records(run.folder / SNAPSHOT))


def _applied_by_others(opened: Opened, settings: Settings) -> Iterator[Correction | Invalid]:
    """Yield the rows of the file that other runs over it have had applied, or may have, or may still have."""
    for run in _runs_of_the_file(opened):
        with _readable(run.folder), closing(Journal.open_to_read(run.folder / JOURNAL)) as journal:
            snapshot, doubted = run.folder / SNAPSHOT, RowNumbers(_doubted(journal))
            columns = columns_of(journal.head(), read_headers(snapshot))
            jobs = judged_rows(run.folder, columns, settings)
            for job, (status, _) in zip(jobs, _verdicts(journal, snapshot, doubted), strict=True):
                may_come = status is Status.PENDING and run.state in _NOT_AT_ITS_END
                if status is Status.SUCCESS or job.row_number in doubted or may_come:
                    yield job


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
    """Yield the rows that may have been applied without a success that says so."""
    yield from journal.doubted()
    yield from (outcome.row_number for outcome in journal.outcomes() if outcome.status is Status.IN_DOUBT)


def _verdicts(journal: Journal, snapshot: Path, doubted: RowNumbers) -> Iterator[tuple[Status, str]]:
    """Yield status and error code of every row, in the file's order, as the reports tell them."""
    coming = journal.outcomes()
    outcome = next(coming, None)
    for record in read_records(snapshot):
        if outcome is not None and outcome.row_number == record.row_number:
            yield outcome.status, outcome.error_code
            outcome = next(coming, None)
        else:
            yield Status.PENDING, SENT_BEFORE.code if record.row_number in doubted else ""
