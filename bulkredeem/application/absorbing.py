"""What the journals of a reports folder say, brought into its ledger: whatever is new there since the last time.

The ledger is never written while a run goes on: a journal holds all that it needs, and two files never commit together.
Who needs the ledger brings it up to date first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from bulkredeem.application.intake import NOT_SELECTED, SNAPSHOT, judged_rows
from bulkredeem.application.record import JOURNAL, PROFILE, columns_of, ending_of, info_of, settings_of
from bulkredeem.application.rows import RowNumbers, outcomes_of
from bulkredeem.application.shelf import (
    check_snapshot,
    doubtful_rows,
    owners_of,
    run_folders,
    stranger_of,
    strangers_in_words,
)
from bulkredeem.errors import JournalError, ReportsFolderError
from bulkredeem.journal import Journal, network_type_of, owner_of
from bulkredeem.ledger import Entry, Event, Ledger, System, key_of, other_key
from bulkredeem.model import DONE, Correction, Outcome, Status
from bulkredeem.settings import rules_of
from bulkredeem.snapshot import read_headers
from bulkredeem.summary import RunInfo, RunState
from bulkredeem.verdict import SENT_BEFORE
from bulkredeem.wholefile import make_folder, require_folder

LEDGER_FOLDER: Final = "ledger"
"""The folder, in that of the reports, of the ledger and of the locks that go with it."""
LEDGER: Final = "ledger.sqlite"
"""Its name in that folder."""
ALREADY_APPLIED: Final = "ALREADY_APPLIED"
_NOT_READ: Final = "What {folder} has applied is not known to the ledger, since it cannot be read: {why}"
_NOT_BELIEVED: Final = "What these have applied is not known to the ledger, for others own the folders: {folders}."


@contextmanager
def opened_ledger(
    reports: Path, proceed: Callable[[], None] = lambda: None, *, owners: Callable[[Path], Collection[int]] = owners_of
) -> Iterator[tuple[Ledger, tuple[str, ...]]]:
    """Give the ledger of a reports folder, brought up to date, and what a person should know of that.

    Raises LedgerError, ReportsFolderError when there can be none, and what `proceed` raises to end it.
    """
    folder = ledger_folder(reports)
    with Ledger.open(folder / LEDGER, network=bool(network_type_of(folder))) as ledger:
        yield ledger, absorb_new(reports, ledger, proceed, owners=owners)


def ledger_folder(reports: Path) -> Path:
    """Return the folder of the ledger, which is there then. Raises ReportsFolderError."""
    folder = reports / LEDGER_FOLDER
    try:
        with suppress(FileExistsError):
            make_folder(reports)
        require_folder(folder)
    except OSError as exc:
        raise ReportsFolderError(f"No folder for reports can be made at {folder}: {exc.strerror}.") from exc
    return folder


def absorb_new(
    reports: Path,
    ledger: Ledger,
    proceed: Callable[[], None] = lambda: None,
    *,
    owners: Callable[[Path], Collection[int]] = owners_of,
) -> tuple[str, ...]:
    """Absorb every run that nobody works on and whose journal has changed; return what a person should know of it.

    `proceed` is asked before every row and raises what is to end it; a run is absorbed whole or not at all. Only
    folders that are no stranger's are believed; `owners` tells whose those are.
    """
    marks = ledger.marks()
    remarks, strange = [], []
    for folder in run_folders(reports):
        mark = mark_of(folder)
        if marks.get(folder.name) == mark:
            continue
        if stranger := stranger_of(folder, owners):
            strange.append((folder, stranger))
        elif mark and not owner_of(folder):
            try:
                _absorb(folder, ledger, mark, proceed)
            except (JournalError, KeyError, ValueError, OSError) as exc:
                why = str(exc) if isinstance(exc, JournalError) else type(exc).__name__
                remarks.append(_NOT_READ.format(folder=folder, why=why))
    if strange:
        remarks.append(_NOT_BELIEVED.format(folders=strangers_in_words(strange)))
    return tuple(remarks)


def mark_of(folder: Path) -> str:
    """Return what changes whenever a run's journal does; empty when it has none."""
    stats = []
    for name in (JOURNAL, f"{JOURNAL}-wal"):
        try:
            found = (folder / name).stat()
        except OSError:
            continue
        stats.append(f"{name} {found.st_size} {found.st_mtime_ns}")
    return "; ".join(stats)


def _absorb(folder: Path, ledger: Ledger, mark: str, proceed: Callable[[], None]) -> None:
    with closing(Journal.open_to_read(folder / JOURNAL)) as journal:
        head = journal.head()
        check_snapshot(folder / SNAPSHOT, head)
        entry = _entry(head, journal, mark)
        ledger.absorb(entry, _events(folder, journal, head, proceed))


def _entry(head: Mapping[str, str], journal: Journal, mark: str) -> Entry:
    info, settings, ending = info_of(head), settings_of(head), ending_of(head)
    system = System.of(settings["base_url"], settings["username"])
    counts = journal.totals().counts
    return Entry(
        run_id=info.run_id,
        base_url=system.base_url,
        username=system.username,
        environment=info.environment,
        path=info.path,
        sha256=info.sha256,
        as_of=info.as_of or 0.0,
        started_at=info.started_at,
        knew_at=info.knew_at or info.started_at,
        user=info.user,
        by=info.by,
        reason=info.reason,
        kind=kind_of(info),
        state=ending.state if ending else RunState.CRASHED,
        rows=info.rows,
        left_over=info.rows - sum(counts[status] for status in DONE) + journal.number_with(NOT_SELECTED),
        profile=head.get(PROFILE, ""),
        mark=mark,
    )


def kind_of(info: RunInfo) -> str:
    """Return what kind of run it is, in one word."""
    return "undo" if info.undo_of else "retry" if info.retry_of else "run"


def _events(folder: Path, journal: Journal, head: Mapping[str, str], proceed: Callable[[], None]) -> Iterator[Event]:
    """Yield what the run did to each field, also what it may have done."""
    snapshot = folder / SNAPSHOT
    columns, rules = columns_of(head, read_headers(snapshot)), rules_of(settings_of(head))
    doubtful = RowNumbers(doubtful_rows(journal, snapshot, died=ending_of(head) is None))
    doubted = RowNumbers(journal.doubted())
    last = _last_moment(head, journal)
    outcomes = outcomes_of(journal)
    for job in judged_rows(folder, columns, rules):
        proceed()
        told = outcomes(job.row_number)
        if told is None and job.row_number in doubtful:
            told = Outcome(
                row_number=job.row_number, status=Status.IN_DOUBT, error_code=SENT_BEFORE.code, finished_at=last
            )
        if told is not None and isinstance(job, Correction):
            yield from _events_of(job, told, is_doubted=job.row_number in doubted)


def _last_moment(head: Mapping[str, str], journal: Journal) -> float:
    """Return when the run's last try was made, as far as that is known, and rather too late than too early.

    What others have applied before that must not seem to settle what it has left in doubt.
    """
    info, ending = info_of(head), ending_of(head)
    if ending is not None:
        return ending.finished_at
    return max(journal.totals().last_finished_at or 0.0, info.resumed_at or info.started_at)


def _events_of(correction: Correction, outcome: Outcome, *, is_doubted: bool) -> Iterator[Event]:
    """Yield an event for each field that was sent, or that was found to be as it should be.

    A refusal settles a row, and yet an earlier try, in this stretch or (`is_doubted`) before it, may have been applied.
    """
    was_sent = outcome.attempts or outcome.status is Status.IN_DOUBT
    if not was_sent and outcome.error_code != ALREADY_APPLIED:
        return
    redemption = key_of(correction)
    alias = other_key(correction, outcome.alias) if outcome.alias else ""
    for field, value in correction.values.items():
        if field not in outcome.kept:
            yield Event(
                redemption=redemption,
                field=field,
                row_number=correction.row_number,
                value=value,
                status=outcome.status,
                code=outcome.error_code,
                at=outcome.finished_at,
                is_doubted=outcome.status is Status.REFUSED and (is_doubted or outcome.attempts > 1),
                alias=alias,
            )
