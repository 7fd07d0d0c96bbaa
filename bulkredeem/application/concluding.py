"""The end of a stretch: the reports, what people look at, and how it ended, each from what the journal holds."""

from __future__ import annotations

import asyncio
import heapq
import math
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from bulkredeem.application.fingerprinting import SHOWN_FILES, of_run, of_shown_files
from bulkredeem.application.intake import SNAPSHOT
from bulkredeem.application.preparing import Prepared
from bulkredeem.application.presenting import Presentation, forget_presentation, list_runs_on_a_page, present
from bulkredeem.application.record import notes_of
from bulkredeem.application.recorder import Recorder
from bulkredeem.application.terms import Terms
from bulkredeem.codes import MendBy
from bulkredeem.errors import (
    AccessRefusedError,
    BulkRedeemError,
    DeadlineError,
    ExitCode,
    GuardError,
    JournalError,
    ReportError,
    SignalledError,
    Stopping,
    WrongProgramError,
)
from bulkredeem.model import Rate, Status
from bulkredeem.report import write_results, write_summary
from bulkredeem.summary import Ending, RunState, Summary, Tally, exit_code_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that has ended, and where it lies."""

    folder: Path
    summary: Summary
    exit_code: ExitCode
    remarks: tuple[str, ...] = ()
    """What people look at and could not be written, as sentences; usually nothing."""
    throttled: int = 0
    """Tries that the platform answered with 429, as far as that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What is known at the end of how it went with the platform."""

    requests: Callable[[], int]
    """Tries so far, those of earlier stretches too."""
    throttled: Callable[[], int]
    """Tries of this stretch that the platform answered with 429."""
    allowed: Callable[[], float]
    """Requests a second that the platform allows, as far as it was seen to throttle; infinite if it was not."""
    is_alarmed: Callable[[], bool]
    """Whether a guard has spoken, and no person has said that the run may go on."""


class Conclusion:
    """Writes down what became of one stretch of a run, whatever ended it."""

    def __init__(
        self, prepared: Prepared, terms: Terms, recorder: Recorder, left_in_doubt: Collection[int], wire: Wire
    ) -> None:
        """`left_in_doubt` are, by then, the rows without an outcome that may have been applied."""
        self._prepared = prepared
        self._terms = terms
        self._stop = terms.stop
        self._wall_clock = terms.wall_clock
        self._log = prepared.log
        self._recorder = recorder
        self._left_in_doubt = left_in_doubt
        self._wire = wire
        self._at_once = False
        self._ended_at = 0.0
        """When it ended, if that is settled; in seconds since the epoch."""
        self._presented: Summary | None = None
        """What people look at says so; None when there is nothing to look at."""
        self._sha256: dict[str, str] = {}
        """Hashes of what is recorded and written; empty as long as that is not settled, and when it cannot be."""
        self._showing = threading.Lock()
        """Held by whoever writes what people look at: a thread goes on with it when its run is cut off."""

    async def write(self) -> Run:
        """Write everything, and return the run as it is known then. Being cancelled ends it, for `write_at_once`."""
        tally, failure = await asyncio.to_thread(self._write_results)
        remarks = () if failure else await asyncio.to_thread(self._show, tally)
        failure = failure or await asyncio.to_thread(self._take_fingerprints)
        run = self._end(tally, failure or self._stop.cause)
        return replace(run, remarks=(*remarks, *self._correct(run)), throttled=self._wire.throttled())

    def write_at_once(self) -> None:
        """Write only how it ended, and take away what people look at: it tells of another end, if it is there."""
        self._at_once = True
        run = self._end(self._recorded(), self._stop.cause or SignalledError("cancelled"))
        with self._showing:
            forget_presentation(run.folder)
            list_runs_on_a_page(run.folder.parent, run.summary)

    def _write_results(self) -> tuple[Tally, Exception | None]:
        """Write the results from the journal; when that fails, return what is known to be recorded and the failure."""
        folder, journal = self._prepared.folder, self._prepared.journal
        # What the disk did not take may have been applied all the same.
        left, before = frozenset(self._left_in_doubt) | journal.sent_and_waiting, self._prepared.earlier.doubted
        try:
            tally = write_results(
                folder,
                folder / SNAPSHOT,
                journal.plain_outcomes(),
                is_doubted=lambda row_number: row_number in left or row_number in before,
                of_pending=self._mender_of_pending(),
                proceed=self._check_at_once,
            )
        except Exception as exc:  # noqa: BLE001  a damaged snapshot must not keep the ending from being told
            return self._recorded(), exc
        return tally, None

    def _mender_of_pending(self) -> MendBy:
        return MendBy.CREDENTIALS if isinstance(self._stop.cause, AccessRefusedError) else MendBy.NOBODY

    def _show(self, tally: Tally) -> tuple[str, ...]:
        with self._showing:
            self._check_at_once()
            return self._present(tally)

    def _present(self, tally: Tally) -> tuple[str, ...]:
        """Write what people look at; return what could not be written. The moment of the run's end is settled by it."""
        prepared = self._prepared
        self._ended_at = self._wall_clock()
        self._presented = self._run_as_it_is(tally, self._stop.cause).summary
        remarks = present(
            prepared.folder,
            self._presented,
            prepared.columns,
            Presentation.of(prepared.settings, self._terms.typed),
            counters=prepared.journal.counters(),
            proceed=self._check_at_once,
        )
        for remark in remarks:
            self._log.event("not_presented", what=remark)
        return remarks

    def _take_fingerprints(self) -> Exception | None:
        """Hash what is recorded and written; return why that cannot be, or None.

        Not when outcomes still wait, which the disk did not take: then the run is not at its end.
        """
        folder, journal = self._prepared.folder, self._prepared.journal
        if journal.waiting:
            return None
        try:
            self._sha256 = of_run(folder, journal, doubted=self._doubted_then(), proceed=self._check_at_once)
            self._sha256 |= of_shown_files(folder, self._check_at_once)
        except Exception as exc:  # noqa: BLE001  what cannot be read back was not written well; the ending is still told
            return exc
        return None

    def _doubted_then(self) -> Iterator[int]:
        """Yield the rows that the journal will say to be in doubt once it has heard of the ending, in order."""
        cleared = frozenset(self._marks_to_clear())
        both = heapq.merge(self._prepared.journal.doubted(), sorted(self._left_in_doubt))
        return (number for number, _ in groupby(both) if number not in cleared)

    def _correct(self, run: Run) -> tuple[str, ...]:
        """Take away what people look at when the disk has not taken the ending that it tells of."""
        if self._presented is None or self._presented == run.summary:
            return ()
        forget_presentation(run.folder)
        return list_runs_on_a_page(run.folder.parent, run.summary)

    def _recorded(self) -> Tally:
        """Return the count of what is durable; the recorder's own holds what still waits, too."""
        journal = self._prepared.journal
        if not journal.waiting:
            return self._recorder.tally
        tally = Tally()
        with suppress(JournalError):
            for outcome in journal.outcomes():
                tally.add(outcome)
        return tally

    def _check_at_once(self) -> None:
        if self._at_once:
            raise Stopping

    def _end(self, tally: Tally, cause: BaseException | None) -> Run:
        """Write the ending down, and return the run as it is known then.

        The journal hears of it last: if the process dies before that, the run counts as unfinished, and whoever goes
        on with it writes every report anew. When the journal does not take it, the summary must not say otherwise.
        """
        run = self._run_as_it_is(tally, cause)
        for write_down in (self._log_ending, self._write_summary, self._note_ending):
            try:
                write_down(run, cause)
            except Exception as exc:  # noqa: BLE001  the others are still told, and the process at least says so
                cause = cause if self._is_stopped(run.summary, cause) else exc
                run = self._run_as_it_is(tally, cause)
                with suppress(ReportError):
                    self._write_summary(run, cause)
        return run

    def _run_as_it_is(self, tally: Tally, cause: BaseException | None) -> Run:
        info = self._prepared.info
        so_far = tally.summary(info)
        # Who mends the pending rows depends on how it ended.
        summary = tally.summary(info, self._ending(so_far, cause))
        return Run(
            folder=self._prepared.folder,
            summary=replace(summary, sha256=self._sha256_beside(summary)),
            exit_code=self._exit_code(so_far, cause),
        )

    def _sha256_beside(self, summary: Summary) -> dict[str, str]:
        """Return the hashes that stand in a summary: without those of what people look at, if it will be taken away."""
        stays = self._presented is None or self._presented == summary
        return {name: digest for name, digest in self._sha256.items() if stays or name not in SHOWN_FILES}

    def _log_ending(self, run: Run, cause: BaseException | None) -> None:
        if isinstance(cause, Exception) and not isinstance(cause, BulkRedeemError):
            self._log.failure("internal_error", cause)
        ending = _ending_of(run)
        self._log.event("ended", state=ending.state, stop_reason=ending.stop_reason, exit_code=ending.exit_code)

    def _note_ending(self, run: Run, _cause: BaseException | None) -> None:
        """Write down how it ended and which rows are in doubt.

        Not when outcomes still wait, which the disk did not take: such a run must look like one that died, so that
        whoever goes on with it looks upon every row within its reach as sent.
        """
        journal = self._prepared.journal
        if not journal.waiting:
            journal.doubt(self._left_in_doubt)
            self._clear_marks()
            journal.note(notes_of(_ending_of(run)))

    def _clear_marks(self) -> None:
        """Take back what was said of rows that were to go ahead of others: it is known now what became of them."""
        if cleared := self._marks_to_clear():
            self._prepared.journal.clear_doubt(cleared)

    def _marks_to_clear(self) -> list[int]:
        before, left = self._prepared.earlier.doubted, self._left_in_doubt
        return [number for number in self._recorder.marked if number not in before and number not in left]

    def _write_summary(self, run: Run, _cause: BaseException | None) -> None:
        write_summary(run.folder, run.summary)

    def _is_stopped(self, summary: Summary, cause: BaseException | None) -> bool:
        """Whether something was left undone; a stop that was asked for after the last row stopped nothing."""
        asked_for = isinstance(cause, SignalledError | DeadlineError | GuardError) and not self._at_once
        asked_for = asked_for and not isinstance(cause, WrongProgramError)
        return cause is not None and not (asked_for and not summary.counts[Status.PENDING])

    def _ending(self, summary: Summary, cause: BaseException | None) -> Ending:
        stopped = self._is_stopped(summary, cause)
        return Ending(
            state=RunState.STOPPED if stopped else RunState.FINISHED,
            stop_reason=_words_for(cause) if stopped else "",
            finished_at=self._ended_at or self._wall_clock(),
            requests=self._wire.requests(),
            exit_code=self._exit_code(summary, cause),
            allowed=self._allowed(),
            is_guarded=stopped and self._wire.is_alarmed(),
        )

    def _allowed(self) -> str:
        """Return the rate that the platform allowed if it was less than ours; empty otherwise."""
        allowed = self._wire.allowed()
        return "" if math.isinf(allowed) else Rate.about(allowed).text

    def _exit_code(self, summary: Summary, cause: BaseException | None) -> ExitCode:
        if self._at_once:
            return ExitCode.INTERRUPTED_AT_ONCE
        if self._is_stopped(summary, cause):
            return _exit_code_for(cause)
        is_empty_night = not summary.info.rows and self._prepared.settings.unattended
        return ExitCode.NOT_ALL_DONE if is_empty_night else exit_code_of(summary.counts)


def _ending_of(run: Run) -> Ending:
    assert run.summary.ending is not None  # noqa: S101  `_run_as_it_is` put it there
    return run.summary.ending


def _words_for(cause: BaseException | None) -> str:
    if isinstance(cause, BulkRedeemError):
        return str(cause)
    return f"an error of ours ({type(cause).__name__}); run.log says where"


def _exit_code_for(cause: BaseException | None) -> ExitCode:
    return cause.exit_code if isinstance(cause, BulkRedeemError) else ExitCode.INTERNAL_ERROR
