"""Carrying out a prepared run: deliver until the rows or the wish to go on are used up, then report.

Whatever ends the delivery, the reports are written from what the journal holds.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bulkredeem import __version__
from bulkredeem.application.arrival import await_file, move_away
from bulkredeem.application.intake import SNAPSHOT, fit_before, seconds_for
from bulkredeem.application.looking import Looker
from bulkredeem.application.preparing import Prepared, StillGrowing, prepare_file
from bulkredeem.application.record import notes_of
from bulkredeem.application.recorder import Recorder
from bulkredeem.application.sending import Sending
from bulkredeem.application.terms import Live, Start, Terms, Turn, stop_at
from bulkredeem.application.turn import turn_of
from bulkredeem.application.wiring import client_for, delivery_for, gate_for, line_of, pace_for, stride_of
from bulkredeem.client import Client
from bulkredeem.delivery import Delivery, Hooks, Reader
from bulkredeem.errors import (
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
from bulkredeem.model import Answer, Correction, Job, Outcome, Rate, Status
from bulkredeem.outage import ROWS
from bulkredeem.pace import Pace
from bulkredeem.processor import Pool
from bulkredeem.report import write_results, write_summary
from bulkredeem.settings import Settings
from bulkredeem.summary import Ending, RunInfo, RunState, Summary, Tally, exit_code_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that has ended, and where it lies."""

    folder: Path
    summary: Summary
    exit_code: ExitCode


async def run_file(path: Path, settings: Settings, terms: Terms) -> Run:
    """Run one file to its end, or to a stop, and return what happened.

    Before anything was sent it raises ConfigurationError, InputFileError or ReportsFolderError, JournalError or
    ReportError for a disk that takes no more, and `Stopping` when a stop was asked for by then; no folder is left
    behind. When it is the deadline that has come, the file is taken in all the same, so that `resume` can send it.
    Later, whatever happens ends in a `Run`; only being cancelled is passed on, after the summary was written.
    """
    client = client_for(settings)
    await until_arrived(path, settings, terms)
    async with turn_of(settings.reports, settings, terms) as turn:
        prepared = await _prepared(path, settings, terms, turn)
        return await carry_out(prepared, client, terms)


async def until_arrived(path: Path, settings: Settings, terms: Terms) -> None:
    """Return when a file is there, as far as the settings have patience for it, and does not change any more.

    Raises InputFileError when it does not come, and Stopping when a stop is asked for meanwhile.
    """
    await await_file(
        path,
        wait_for=settings.patience_for_file,
        settled_for=settings.settled_for,
        say=terms.observer.remark,
        sleep=terms.stop.sleep,
        wall_clock=terms.wall_clock,
    )


async def _prepared(path: Path, settings: Settings, terms: Terms, turn: Turn) -> Prepared:
    """Prepare a run over a file, again and again as long as it is changed meanwhile."""
    while True:
        try:
            return await asyncio.to_thread(prepare_file, path, settings, turn, terms.check, terms.wall_clock())
        except StillGrowing:
            terms.observer.remark(f"{path} was changed while it was read; reading it once more.")
            await until_arrived(path, settings, terms)


async def carry_out(prepared: Prepared, client: Client, terms: Terms) -> Run:
    """Carry out a prepared run, close what it holds, and return what happened."""
    with prepared.resources as resources:
        pace, remarks = resources.enter_context(pace_for(prepared.settings, terms))
        prepared = replace(prepared, remarks=(*prepared.remarks, *prepared.turn.remarks, *remarks))
        run = await _Runner(prepared, client, terms, pace).run()
    return move_input(run, prepared.settings, terms)


def move_input(run: Run, settings: Settings, terms: Terms) -> Run:
    """Move the input of a run that has finished to where the settings want it; say so when that cannot be done."""
    ending, info = run.summary.ending, run.summary.info
    if settings.move_done is None or ending is None or ending.state is not RunState.FINISHED or _has_no_file(info):
        return run
    moved = move_away(Path(info.path), settings.move_done, sha256=info.sha256, run_id=info.run_id)
    terms.observer.remark(moved.remark or f"{info.path} was moved to {moved.path}.")
    return run


def _has_no_file(info: RunInfo) -> bool:
    """Whether a run's rows are another run's, and no file's."""
    return bool(info.retry_of or info.undo_of)


class _Runner:
    """Delivers one prepared run, and ends it."""

    def __init__(self, prepared: Prepared, client: Client, terms: Terms, pace: Pace) -> None:
        settings = prepared.settings
        self._prepared = prepared
        self._terms = terms
        self._client = client
        self._stop = terms.stop
        self._observer = terms.observer
        self._log = prepared.log
        self._wall_clock = terms.wall_clock
        self._deadline = terms.deadline_for(settings)
        self._pace = pace
        self._recorder = Recorder(
            prepared.journal,
            prepared.log,
            watch=self._watch,
            wall_clock=terms.wall_clock,
            tally=prepared.earlier.tally,
            stride=stride_of(settings),
            doubted_at=prepared.earlier.doubted_at,
        )
        self._gate = gate_for(
            settings,
            terms,
            remaining=lambda: prepared.info.rows - self._recorder.tally.recorded,
            on_outage=self._outage,
        )
        self._left_in_doubt: set[int] = set()
        self._sending = Sending(prepared, self._recorder, terms, self._run_pool)
        self._hooks = Hooks(attempted=self._log.attempt, paused=self._paused)
        hooks = replace(self._hooks, left_in_doubt=self._left_in_doubt.add)
        if settings.canary or settings.expect_program_id is not None:
            hooks = replace(hooks, echoed=self._echoed)
        self._delivery = self._make_delivery(client.update, hooks)
        self._reader = Reader(client.read_back, partial(self._make_delivery, hooks=self._hooks))
        self._looker = Looker(
            self._reader,
            prepared.journal,
            self._recorder.commit,
            existing_keep=settings.existing == "keep",
            record_previous=settings.record_previous,
            doubted_at=prepared.earlier.doubted_at,
            wall_clock=terms.wall_clock,
        )
        self._at_once = False

    def _make_delivery(self, attempt: Callable[[Correction], Awaitable[Answer]], hooks: Hooks) -> Delivery:
        return delivery_for(attempt, self._pace, self._gate, self._prepared.settings, self._terms, hooks)

    async def run(self) -> Run:
        """Deliver, then report; on being cancelled, write only the summary and pass the cancellation on."""
        try:
            await self._deliver()
            tally, failure = await asyncio.to_thread(self._write_results)
            return self._end(tally, failure or self._stop.cause)
        except asyncio.CancelledError:
            self._at_once = True
            self._end(self._recorded(), self._stop.cause or SignalledError("cancelled"))
            raise

    async def _deliver(self) -> None:
        """Send until the rows or the wish to go on are used up; what goes wrong becomes the stop's cause."""
        committer = asyncio.create_task(self._recorder.keep_committing(self._stop.request))
        timer = asyncio.create_task(stop_at(self._deadline, self._stop, wall_clock=self._wall_clock))
        try:
            self._log_start()
            async with self._client:
                self._observer.started(self._start())
                await self._sending.run()
        except Exception as exc:  # noqa: BLE001  whatever it is, what was recorded is reported
            self._stop.request(exc)
        finally:
            timer.cancel()
            self._recorder.close()
            await committer
            await self._last_commit()
            self._tell_delivered()

    async def _run_pool(self, jobs: Iterator[Job]) -> None:
        # Three rows at least, so that a row in trouble is never the only one that can ask for the platform; the gate
        # holds how many requests are under way.
        workers = max(ROWS, self._prepared.settings.max_workers)
        line = line_of(self._prepared.settings)
        pool = Pool(self._deliver_row, self._recorder.record, stop=self._stop, max_workers=workers, line=line)
        await pool.run(jobs)

    async def _deliver_row(self, correction: Correction, sent: Callable[[], None]) -> Outcome:
        """Deliver a row after it is on record that it may be sent; call `sent` when it is.

        Where its redemption is to be read back first, it is sent as far as that allows.
        """
        if correction.expected or self._prepared.settings.reads_first:
            # Others may come to read meanwhile; each waits for a slot of its own before it is sent.
            sent()
            looked = await self._looker.look(correction)
            if isinstance(looked, Outcome):
                return looked
            correction = looked
        await self._sending.cover(correction.row_number)
        return await self._delivery.deliver(correction, sent)

    def _watch(self, outcome: Outcome) -> None:
        self._observer.recorded(outcome)
        self._sending.note(outcome)

    def _echoed(self, correction: Correction, echo: Mapping[str, Any]) -> None:
        """Take note of what the platform says a redemption is now; stop when it is in a program that was not meant."""
        self._sending.echoed(correction, echo)
        expected, found = self._prepared.settings.expect_program_id, echo.get("programId")
        if expected is not None and found is not None and str(found) != str(expected):
            self._sending.alarm(
                WrongProgramError(
                    f"row {correction.row_number} is in the program {found}, and expect_program_id is {expected}:"
                    " is this the right system? What was sent so far was applied there"
                )
            )

    def _start(self) -> Start:
        prepared, settings = self._prepared, self._prepared.settings
        recorded = prepared.earlier.tally.recorded
        left = prepared.info.rows - recorded
        fit = fit_before(self._deadline, self._wall_clock(), settings)
        return Start(
            info=prepared.info,
            columns=prepared.columns,
            folder=prepared.folder,
            base_url=settings.base_url,
            username=settings.username,
            rate=settings.rate,
            is_pace_shared=self._pace.is_shared,
            recorded=recorded,
            seconds=seconds_for(left, settings),
            fit=None if fit is None else min(fit, left),
            deadline=self._deadline,
            patience=settings.outage_seconds,
            remarks=prepared.remarks,
            live=Live(
                requests=self._requests,
                paused_for=lambda: self._pace.paused_for,
                is_outage=lambda: self._gate.is_outage,
            ),
        )

    def _requests(self) -> int:
        return self._prepared.earlier.requests + self._delivery.requests + self._reader.requests

    def _log_start(self) -> None:
        info = self._prepared.info
        name = "started" if info.resumed_at is None else "resumed"
        self._log.event(name, path=info.path, sha256=info.sha256, rows=info.rows, version=__version__)

    def _outage(self, begins: bool) -> None:  # noqa: FBT001  one event, with its beginning and its end
        self._log.event("outage_began" if begins else "outage_ended")
        self._observer.outage(begins)

    def _paused(self, seconds: float) -> None:
        self._log.event("paused", seconds=round(seconds, 1))
        self._observer.paused(seconds)

    async def _last_commit(self) -> None:
        try:
            await self._recorder.commit()
        except Exception as exc:  # noqa: BLE001  what is durable by now is reported all the same
            self._stop.request(exc)

    def _tell_delivered(self) -> None:
        try:
            self._observer.delivered()
        except Exception as exc:  # noqa: BLE001  whoever watches is a stranger
            self._stop.request(exc)

    def _write_results(self) -> tuple[Tally, Exception | None]:
        """Write the results from the journal; when that fails, return what is known to be recorded and the failure."""
        folder, journal = self._prepared.folder, self._prepared.journal
        # What the disk did not take may have been applied all the same.
        left, before = self._left_in_doubt | journal.sent_and_waiting, self._prepared.earlier.doubted
        try:
            tally = write_results(
                folder,
                folder / SNAPSHOT,
                journal.plain_outcomes(),
                is_doubted=lambda row_number: row_number in left or row_number in before,
                proceed=self._check_at_once,
            )
        except Exception as exc:  # noqa: BLE001  a damaged snapshot must not keep the ending from being told
            return self._recorded(), exc
        return tally, None

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
        summary = tally.summary(self._prepared.info)
        ending = self._ending(summary, cause)
        return Run(
            folder=self._prepared.folder,
            summary=replace(summary, ending=ending),
            exit_code=self._exit_code(summary, cause),
        )

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
        before, left = self._prepared.earlier.doubted, self._left_in_doubt
        if cleared := [number for number in self._recorder.marked if number not in before and number not in left]:
            self._prepared.journal.clear_doubt(cleared)

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
            finished_at=self._wall_clock(),
            requests=self._requests(),
            exit_code=self._exit_code(summary, cause),
            allowed=self._allowed(),
            is_guarded=stopped and self._sending.is_alarmed,
        )

    def _allowed(self) -> str:
        """Return the rate that the platform allowed if it was less than ours; empty otherwise."""
        allowed = self._pace.allowed
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
