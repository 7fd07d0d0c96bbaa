"""A run before its first request: its folder, lock, snapshot, journal and log. Nothing is sent here."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bulkredeem.application.intake import SNAPSHOT, judged_rows, take_in
from bulkredeem.application.record import JOURNAL, head_of
from bulkredeem.application.rows import RowNumbers
from bulkredeem.columns import ColumnMap
from bulkredeem.errors import ReportsFolderError
from bulkredeem.journal import Journal, RunLock, network_type_of
from bulkredeem.model import Correction, Invalid
from bulkredeem.report import make_run_folder, point_latest_to, write_summary
from bulkredeem.runlog import RunLog
from bulkredeem.settings import Settings
from bulkredeem.snapshot import digest_of
from bulkredeem.summary import RunInfo, Tally

_NETWORK_REMARK: Final = (
    "{reports} lies on a network folder ({kind}): the journal is kept in a slower form there, and what the server calls"
    " written may not be. A local --reports folder is safer."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a new run is about: where its rows came from, and what is known of them."""

    path: str
    """The input file, as it was named."""
    sha256: str
    """Of the input file's bytes."""
    as_of: float | None
    """When the input file was changed last."""
    rows: int
    columns: ColumnMap
    retry_of: str = ""
    """The run that had these rows before, or empty."""
    doubted: Iterable[int] = ()
    """Rows that the run before may have had applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What earlier stretches of a run have done; nothing for a new one."""

    tally: Tally
    """The outcomes that are recorded."""
    settled: RowNumbers
    """The rows that have one: they are never sent again."""
    doubted: RowNumbers
    """The rows that have none and may have been applied all the same."""
    requests: int = 0
    """Tries on the wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A run before its first request, or before the first of another stretch."""

    folder: Path
    info: RunInfo
    columns: ColumnMap
    settings: Settings
    journal: Journal
    log: RunLog
    earlier: Earlier
    remarks: tuple[str, ...]
    """Sentences that a person should read before it begins."""
    resources: ExitStack
    """Closes log and journal, and lets go of the lock."""

    def jobs(self) -> Iterator[Correction | Invalid]:
        """Yield what is left to be done, in the file's order."""
        for job in judged_rows(self.folder, self.columns, self.settings):
            if job.row_number in self.earlier.settled:
                continue
            if isinstance(job, Correction) and job.row_number in self.earlier.doubted:
                yield replace(job, may_be_applied=True)
            else:
                yield job


def prepare_file(path: Path, settings: Settings, proceed: Callable[[], None], now: float) -> Prepared:
    """Prepare a run over a file; leave no folder behind when that does not work out.

    Raises InputFileError, ReportsFolderError, JournalError, ReportError, and what `proceed` raises.
    """

    def write_snapshot(folder: Path) -> Content:
        intake = take_in(path, folder, settings, proceed)
        return Content(
            path=_as_text(path),
            sha256=intake.sha256,
            as_of=intake.modified_at,
            rows=intake.rows,
            columns=intake.columns,
        )

    return prepare_new(settings, write_snapshot, proceed, now)


def prepare_new(
    settings: Settings, write_snapshot: Callable[[Path], Content], proceed: Callable[[], None], now: float
) -> Prepared:
    """Prepare a run over what `write_snapshot` writes into its folder; the journal comes last, whole or not at all."""
    run_id = f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    folder = make_run_folder(settings.reports, run_id)
    with ExitStack() as resources:
        undoing = resources.enter_context(ExitStack())
        undoing.callback(shutil.rmtree, folder, ignore_errors=True)
        resources.enter_context(RunLock.acquire(folder, now=now))
        content = write_snapshot(folder)
        info = _info(run_id, content, now)
        head = head_of(info, content.columns, settings.public(), _digest(folder))
        kind = network_type_of(folder)
        journal = Journal.create(folder / JOURNAL, head, doubted=content.doubted, network=bool(kind))
        resources.callback(journal.close)
        log = resources.enter_context(RunLog(folder, run_id=run_id, level=settings.log_level))
        write_summary(folder, Tally().summary(info))
        proceed()
        prepared = Prepared(
            folder=folder,
            info=info,
            columns=content.columns,
            settings=settings,
            journal=journal,
            log=log,
            earlier=Earlier(tally=Tally(), settled=RowNumbers(()), doubted=RowNumbers(journal.doubted())),
            remarks=network_remarks(settings.reports, kind),
            resources=resources.pop_all(),
        )
        undoing.pop_all()
    point_latest_to(folder)
    return prepared


def network_remarks(reports: Path, kind: str) -> tuple[str, ...]:
    """Return what a person should know when the reports lie on a network folder of this kind; empty for none."""
    return (_NETWORK_REMARK.format(reports=reports, kind=kind),) if kind else ()


def _info(run_id: str, content: Content, now: float) -> RunInfo:
    return RunInfo(
        run_id=run_id,
        path=content.path,
        sha256=content.sha256,
        rows=content.rows,
        started_at=now,
        as_of=content.as_of,
        retry_of=content.retry_of,
    )


def _digest(folder: Path) -> str:
    try:
        return digest_of(folder / SNAPSHOT)
    except OSError as exc:
        raise ReportsFolderError(f"{folder / SNAPSHOT} cannot be read: {exc.strerror or exc}.") from exc


def _as_text(path: Path) -> str:
    """Write a path as text that every report can hold: a file name may be any bytes."""
    return os.fsencode(path).decode(errors="replace")
