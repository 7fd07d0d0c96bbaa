"""Opening a run that is there already: its lock, its journal, and what they say. Whoever opens it owns it meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bulkredeem.application.fingerprinting import of_run, of_shown_files
from bulkredeem.application.intake import SNAPSHOT
from bulkredeem.application.presenting import Presentation, present
from bulkredeem.application.record import GUARDED, JOURNAL, SNAPSHOT_SHA256, columns_of, ending_of, info_of, notes_of
from bulkredeem.application.rows import RowNumbers
from bulkredeem.application.shelf import check_snapshot, doubtful_rows
from bulkredeem.columns import ColumnMap
from bulkredeem.errors import JournalUnreadableError, RunNotFoundError
from bulkredeem.journal import Journal, RunLock, network_type_of
from bulkredeem.report import write_results, write_summary
from bulkredeem.snapshot import read_headers
from bulkredeem.summary import UNFINISHED, Ending, RunInfo, RunState, Summary, mender_of_pending

_NO_SENSE: Final = "{path} is no journal of a run ({error}); it was left as it is."


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A run that nobody else works on, as its journal knows it."""

    folder: Path
    journal: Journal
    head: Mapping[str, str]
    info: RunInfo
    columns: ColumnMap
    ending: Ending
    """How its last stretch ended; `crashed` if it never said so."""
    network: str
    """The kind of network folder it lies on, or empty."""
    resources: ExitStack
    """Closes the journal, and lets go of the lock."""

    @property
    def snapshot(self) -> Path:
        """Where its rows are."""
        return self.folder / SNAPSHOT


def open_run(folder: Path, now: float) -> Opened:
    """Open a run and take its lock; for one that died, write down first which rows may have been applied.

    Raises BusyError when a process works on it, and JournalUnreadableError when journal or snapshot cannot be trusted.
    """
    with ExitStack() as resources:
        resources.enter_context(RunLock.acquire(folder, now=now))
        network = network_type_of(folder)
        journal = Journal.open_existing(folder / JOURNAL, network=bool(network))
        resources.callback(journal.close)
        opened = _understood(folder, journal, network, resources)
        return replace(opened, resources=resources.pop_all())


def require_ended(opened: Opened) -> None:
    """Raise RunNotFoundError for a run that is not at its end: what it has left may still be sent."""
    if opened.ending.state in UNFINISHED:
        raise RunNotFoundError(
            f"{opened.folder} is {opened.ending.state}: go on with it first (resume), or abandon it."
        )


def rewrite_reports(
    opened: Opened,
    wanted: Presentation = Presentation(),
    *,
    doubted: RowNumbers | None = None,
    proceed: Callable[[], None] = lambda: None,
) -> tuple[Summary, tuple[str, ...]]:
    """Write every report of a run anew; return its summary, and what could not be written.

    Raises ReportError and JournalError.
    """
    marks = RowNumbers(opened.journal.doubted()) if doubted is None else doubted
    tally = write_results(
        opened.folder,
        opened.snapshot,
        opened.journal.plain_outcomes(),
        is_doubted=marks.__contains__,
        of_pending=mender_of_pending(opened.ending),
        proceed=proceed,
    )
    sha256 = of_run(opened.folder, opened.journal, proceed=proceed)
    summary = replace(tally.summary(opened.info, opened.ending), sha256=sha256)
    write_summary(opened.folder, summary)
    counters = opened.journal.counters()
    remarks = present(opened.folder, summary, opened.columns, wanted, counters=counters, proceed=proceed)
    # Once more, with the hashes of what people look at: that takes long, and may be cut off.
    summary = replace(summary, sha256=sha256 | of_shown_files(opened.folder, proceed))
    write_summary(opened.folder, summary)
    return summary, remarks


def _understood(folder: Path, journal: Journal, network: str, resources: ExitStack) -> Opened:
    head = journal.head()
    try:
        check_snapshot(folder / SNAPSHOT, head)
        return Opened(
            folder=folder,
            journal=journal,
            head=head,
            info=info_of(head),
            columns=columns_of(head, read_headers(folder / SNAPSHOT)),
            ending=_ended(journal, folder / SNAPSHOT, head),
            network=network,
            resources=resources,
        )
    except (KeyError, ValueError) as exc:
        error = type(exc).__name__
        raise JournalUnreadableError(_NO_SENSE.format(path=folder / JOURNAL, error=error)) from exc


def _ended(journal: Journal, snapshot: Path, head: Mapping[str, str]) -> Ending:
    """Return how the run ended; write down first which rows may have been applied, if nobody has."""
    ending = ending_of(head)
    if ending is None:
        return _record_death(journal, snapshot, info_of(head))
    if ending.state in UNFINISHED and SNAPSHOT_SHA256 not in head:
        # Version 1 did not write down which rows it left in doubt: none of them may be called failed later.
        journal.doubt(doubtful_rows(journal, snapshot, died=False))
    return ending


def _record_death(journal: Journal, snapshot: Path, info: RunInfo) -> Ending:
    """Write down that the run died, and around which rows: from now on they count as in doubt."""
    journal.doubt(doubtful_rows(journal, snapshot, died=True))
    totals = journal.totals()
    ending = Ending(
        state=RunState.CRASHED,
        finished_at=max(totals.last_finished_at or 0.0, info.resumed_at or info.started_at),
        requests=max(totals.attempts, int(journal.head().get("requests", "0"))),
        exit_code=None,
        is_guarded=bool(journal.head().get(GUARDED)),
    )
    journal.note(notes_of(ending))
    return ending
