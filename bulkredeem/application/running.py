"""Carrying out a prepared run: deliver until the rows or the wish to go on are used up, then report.

Whatever ends the delivery, the reports are written from what the journal holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bulkredeem import __version__
from bulkredeem.application.arrival import await_file, move_away
from bulkredeem.application.concluding import Conclusion, Run, Wire
from bulkredeem.application.intake import fit_before, seconds_for
from bulkredeem.application.looking import Looker
from bulkredeem.application.metering import Meter
from bulkredeem.application.preparing import Prepared, StillGrowing, prepare_file
from bulkredeem.application.recorder import Recorder
from bulkredeem.application.sending import Sending
from bulkredeem.application.terms import Live, Start, Terms, Turn, stop_at
from bulkredeem.application.turn import turn_of
from bulkredeem.application.wiring import client_for, delivery_for, gate_for, line_of, pace_for, stride_of
from bulkredeem.client import Client
from bulkredeem.delivery import Delivery, Hooks, Limit, Reader
from bulkredeem.errors import (
    BulkRedeemError,
    WrongProgramError,
)
from bulkredeem.model import Answer, Correction, Job, Outcome
from bulkredeem.outage import ROWS
from bulkredeem.pace import Pace
from bulkredeem.processor import Pool
from bulkredeem.settings import Settings
from bulkredeem.summary import RunInfo, RunState, counted


async def run_file(path: Path, settings: Settings, terms: Terms) -> Run:
    """Run one file to its end, or to a stop, and return what happened.

    Before anything was sent it raises ConfigurationError, InputFileError or ReportsFolderError, JournalError or
    ReportError for a disk that takes no more, and `Stopping` when a stop was asked for by then; no folder is left
    behind. When it is the deadline that has come, the file is taken in all the same, so that `resume` can send it.
    Later, whatever happens ends in a `Run`; only being cancelled is passed on, after the summary was written.
    """
    client = client_for(settings, wall_clock=terms.wall_clock)
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
        self._meter = Meter(prepared.journal, allowed=self._allowed_now, wall_clock=terms.wall_clock)
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
        self._conclusion = Conclusion(
            prepared,
            terms,
            self._recorder,
            self._left_in_doubt,
            Wire(
                requests=self._requests,
                throttled=lambda: self._meter.throttled,
                allowed=lambda: self._pace.allowed,
                is_alarmed=lambda: self._sending.is_alarmed,
            ),
        )

    def _make_delivery(self, attempt: Callable[[Correction], Awaitable[Answer]], hooks: Hooks) -> Delivery:
        timed = self._meter.timed(attempt)
        heed = Limit(self._pace, self._gate, hooks.paused).heed_aside
        slot = self._client.authenticated(self._pace.slot, proceed=self._stop.check, heed=heed)
        return delivery_for(timed, self._pace, self._gate, self._prepared.settings, self._terms, hooks, slot=slot)

    async def run(self) -> Run:
        """Deliver, then report; on being cancelled, write only the summary and pass the cancellation on."""
        try:
            await self._deliver()
            return await self._conclusion.write()
        except asyncio.CancelledError:
            self._conclusion.write_at_once()
            raise

    async def _deliver(self) -> None:
        """Send until the rows or the wish to go on are used up; what goes wrong becomes the stop's cause."""
        committer = asyncio.create_task(self._recorder.keep_committing(self._stop.request))
        counter = asyncio.create_task(self._meter.keep_counting())
        timer = asyncio.create_task(stop_at(self._deadline, self._stop, wall_clock=self._wall_clock))
        try:
            self._log_start()
            async with self._client:
                self._observer.started(self._start())
                await self._sending.run()
                self._require_verdicts()
        except Exception as exc:  # noqa: BLE001  whatever it is, what was recorded is reported
            self._stop.request(exc)
        finally:
            timer.cancel()
            counter.cancel()
            self._meter.note()
            self._recorder.close()
            await committer
            await self._last_commit()
            self._tell_delivered()

    def _require_verdicts(self) -> None:
        """Raise when rows were left although nothing has stopped the run: it must not count as finished."""
        left = self._prepared.info.rows - self._recorder.tally.recorded
        if left and not self._stop.requested:
            raise BulkRedeemError(f"an error of ours has left {counted(left, 'row')} without a verdict")

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
                allowed=self._allowed_now,
            ),
        )

    def _allowed_now(self) -> float | None:
        return 1 / gap if (gap := self._pace.gap) else None

    def _requests(self) -> int:
        beside = self._client.asked_aside
        return self._prepared.earlier.requests + self._delivery.requests + self._reader.requests + beside

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
