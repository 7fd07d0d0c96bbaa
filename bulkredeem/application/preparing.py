"""A run before its first request: its folder, lock, snapshot, journal and log. Nothing is sent here."""

from __future__ import annotations

import math
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from bulkredeem import __version__
from bulkredeem.application.arrival import has_changed, stamp_of
from bulkredeem.application.intake import SNAPSHOT, ending_at, judged_rows, take_in
from bulkredeem.application.planning import plan_of, remarks_on_selection, selected_by
from bulkredeem.application.record import JOURNAL, head_of, info_of, plan_notes
from bulkredeem.application.rows import RowNumbers
from bulkredeem.application.rulings import Rulings
from bulkredeem.application.splitting import run_folder_of
from bulkredeem.application.terms import Turn
from bulkredeem.columns import ColumnMap
from bulkredeem.errors import InputFileError, ReportsFolderError
from bulkredeem.journal import Journal, RunLock, network_type_of, user_name
from bulkredeem.ledger import Ledger, System
from bulkredeem.loader import Intake, is_standard_input, name_of
from bulkredeem.model import Job
from bulkredeem.moments import parse_moment
from bulkredeem.profile import Profile
from bulkredeem.report import make_run_folder, point_latest_to, write_summary
from bulkredeem.runlog import RunLog
from bulkredeem.settings import Settings
from bulkredeem.snapshot import digest_of
from bulkredeem.summary import UNFINISHED, RunInfo, Tally, counted

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
    """How old its knowledge is, in seconds since the epoch."""
    rows: int
    columns: ColumnMap
    ignored: int = 0
    """Lines of the file that are no rows, since the settings say so."""
    retry_of: str = ""
    """The run that had these rows before, or empty."""
    knew_at: float | None = None
    """When the run began that brought this knowledge, or None when that is the new one."""
    undo_of: str = ""
    """The run whose values these rows take back, or empty."""
    doubted: Iterable[int] = ()
    """Rows that the run before may have had applied."""
    doubted_at: float = 0.0
    """When it may have, at the latest; in seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """What earlier stretches of a run have done; nothing for a new one."""

    tally: Tally
    """The outcomes that are recorded."""
    settled: RowNumbers
    """The rows that have one: they are never sent again."""
    doubted: RowNumbers
    """The rows that have none and may have been applied all the same."""
    doubted_at: float
    """When they may have been, at the latest; in seconds since the epoch."""
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
    turn: Turn
    remarks: tuple[str, ...]
    """Sentences that a person should read before it begins."""
    resources: ExitStack
    """Closes log and journal, and lets go of the lock."""
    sample: tuple[int, ...] = ()
    """Some sendable rows, spread over the file, of which each has its redemption to itself."""
    selected: RowNumbers | None = None
    """The rows that `--only` selects; None for all."""
    profile: Profile | None = None
    """What its values look like; None for a run that is gone on with."""
    earlier_profiles: Sequence[Profile] = ()
    """What those of earlier runs looked like."""

    def jobs(self, wanted: Callable[[int], bool] | None = None) -> Iterator[Job]:
        """Yield what is left to be done of the rows that are wanted, or of all, in the file's order."""
        settled = self.earlier.settled
        # Where all rows are wanted none is asked about: there may be millions.
        is_open = wanted
        if len(settled):
            is_open = partial(_is_open, settled, wanted)
        return self._rulings().over(judged_rows(self.folder, self.columns, self.settings.rules, is_open))

    def first(self) -> RowNumbers:
        """Return the rows that go before the others; a redemption's rows never change their order."""
        selected = selected_by(self.settings.first, self.folder, self.columns) or RowNumbers(())
        sharing = RowNumbers(planned.row_number for planned in self.journal.planned()) if len(selected) else ()
        return RowNumbers(number for number in selected if number not in sharing)

    def _rulings(self) -> Rulings:
        return Rulings(
            planned=self.journal.planned(),
            selected=self.selected,
            doubted=self.earlier.doubted,
            lookup=self.turn.ledger.lookup(self.turn.system),
            age=(self.info.as_of or 0.0, self.info.knew_at or self.info.started_at),
            # What the platform itself is asked about needs no ledger.
            resend=self.settings.resend or self.settings.existing == "keep",
            allow_older=self.settings.allow_older,
        )


def _is_open(settled: RowNumbers, wanted: Callable[[int], bool] | None, row_number: int) -> bool:
    """Say whether a row is wanted and has no outcome yet."""
    return row_number not in settled and (wanted is None or wanted(row_number))


def prepare_file(path: Path, settings: Settings, turn: Turn, proceed: Callable[[], None], now: float) -> Prepared:
    """Prepare a run over a file; leave no folder behind when that does not work out.

    Raises InputFileError, ReportsFolderError, JournalError, ReportError, `StillGrowing` when the file was changed while
    it was read, and what `proceed` raises.
    """
    remarks: list[str] = []

    def write_snapshot(folder: Path) -> Content:
        stamp = stamp_of(path)
        intake = take_in(path, folder, settings, proceed)
        if has_changed(path, stamp):
            raise StillGrowing
        check_rows(path, intake.rows, settings)
        remarks.extend(intake.remarks)
        remarks.extend(same_content(path, intake.sha256, settings, turn.ledger, turn.system))
        as_of, knew_at = age_of(path, intake, settings, turn.ledger, now)
        return Content(
            path=as_text(path),
            sha256=intake.sha256,
            as_of=as_of,
            knew_at=knew_at,
            rows=intake.rows,
            ignored=intake.ignored,
            columns=intake.columns,
        )

    prepared = prepare_new(settings, turn, write_snapshot, proceed, now)
    return replace(prepared, remarks=(*remarks, *prepared.remarks))


class StillGrowing(Exception):  # noqa: N818  it is no error, it is why a file is read once more
    """The file was changed while it was read."""


def check_rows(path: Path, rows: int, settings: Settings) -> None:
    """Raise InputFileError for a file with fewer rows than it must have."""
    if rows < settings.min_rows:
        raise InputFileError(
            f"{name_of(path)} has {counted(rows, 'row')}, and --min-rows is {settings.min_rows:,}: is it whole?"
            " Nothing of it was sent."
        )


def same_content(path: Path, sha256: str, settings: Settings, ledger: Ledger, system: System) -> tuple[str, ...]:
    """Return what is to be said of a file whose content was run before; raise InputFileError when that must not be."""
    runs = ledger.runs_of(sha256, system)
    if not runs:
        return ()
    last = runs[-1]
    is_open = last.state in UNFINISHED
    rest = f"{last.left_over:,} of {counted(last.rows, 'row')} are not done" if last.left_over else "all of it is done"
    words = f"The content of {name_of(path)} was run before, by {last.run_id} ({last.state}): {rest}"
    if not settings.refuses_same_file:
        return (f"{words}.",)
    left = "mend or retry what that run has left" if last.left_over else "send the file that was meant"
    advice = f"go on with that run (bulkredeem resume {last.run_id})" if is_open else left
    raise InputFileError(f"{words}; {advice}, or run it all the same with --same-file ok.")


def age_of(
    path: Path, intake: Intake, settings: Settings, ledger: Ledger, now: float
) -> tuple[float | None, float | None]:
    """Return the file's as-of, and when the run began that brought its knowledge if that was an earlier one.

    A report that is run where it lies knows no more than its run, and a little less than what that run has applied:
    rows stand in it that must not replace what others of their file have set.
    """
    if settings.as_of:
        return parse_moment(settings.as_of, now), None
    if not is_standard_input(path) and (run := run_folder_of(path)):
        with closing(Journal.open_to_read(run / JOURNAL)) as journal:
            info = info_of(journal.head())
        return info.as_of, math.nextafter(info.knew_at or info.started_at, 0.0)
    return _as_of(intake, ledger, now), None


def _as_of(intake: Intake, ledger: Ledger, now: float) -> float:
    seen = ledger.as_of(intake.sha256)
    # A server's clock may run ahead; knowledge of tomorrow would be in the way of all that is mended today.
    return min(intake.modified_at, now) if seen is None else seen


def prepare_new(
    settings: Settings, turn: Turn, write_snapshot: Callable[[Path], Content], proceed: Callable[[], None], now: float
) -> Prepared:
    """Prepare a run over what `write_snapshot` writes into its folder; the journal comes last, whole or not at all."""
    run_id = new_run_id(now)
    folder = make_run_folder(settings.reports, run_id)
    with ExitStack() as resources:
        undoing = resources.enter_context(ExitStack())
        undoing.callback(shutil.rmtree, folder, ignore_errors=True)
        resources.enter_context(RunLock.acquire(folder, now=now))
        content = write_snapshot(folder)
        info = _info(run_id, content, settings, now)
        kind = network_type_of(folder)
        with plan_of(folder, content.columns, settings, source=content.path, proceed=proceed) as plan:
            head = head_of(info, content.columns, settings.public(), _digest(folder)) | plan_notes(plan)
            journal = Journal.create(
                folder / JOURNAL, head, doubted=content.doubted, planned=plan.planned(), network=bool(kind)
            )
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
            earlier=Earlier(
                tally=Tally(),
                settled=RowNumbers(()),
                doubted=RowNumbers(journal.doubted()),
                doubted_at=content.doubted_at,
            ),
            turn=turn,
            remarks=(
                *network_remarks(settings.reports, kind),
                *remarks_on_selection(settings.only, plan.selected),
            ),
            resources=resources.pop_all(),
            sample=plan.sample,
            selected=plan.selected,
            profile=plan.profile,
            earlier_profiles=() if content.undo_of else tuple(turn.ledger.profiles(turn.system)),
        )
        undoing.pop_all()
    point_latest_to(folder)
    turn.tell(run_id, ending_at(now, content.rows, settings))
    return prepared


def new_run_id(now: float) -> str:
    """Return a name for a run that begins now, in seconds since the epoch."""
    return f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def network_remarks(reports: Path, kind: str) -> tuple[str, ...]:
    """Return what a person should know when the reports lie on a network folder of this kind; empty for none."""
    return (_NETWORK_REMARK.format(reports=reports, kind=kind),) if kind else ()


def _info(run_id: str, content: Content, settings: Settings, now: float) -> RunInfo:
    return RunInfo(
        run_id=run_id,
        path=content.path,
        sha256=content.sha256,
        rows=content.rows,
        ignored=content.ignored,
        started_at=now,
        as_of=content.as_of,
        knew_at=content.knew_at,
        retry_of=content.retry_of,
        undo_of=content.undo_of,
        environment=settings.environment,
        version=__version__,
        host=socket.gethostname(),
        user=user_name(),
        by=settings.by,
        reason=settings.reason,
    )


def _digest(folder: Path) -> str:
    try:
        return digest_of(folder / SNAPSHOT)
    except OSError as exc:
        raise ReportsFolderError(f"{folder / SNAPSHOT} cannot be read: {exc.strerror or exc}.") from exc


def as_text(path: Path) -> str:
    """Write a path as text that every report can hold: a file name may be any bytes, and `-` is standard input."""
    return os.fsencode(name_of(path)).decode(errors="replace")
