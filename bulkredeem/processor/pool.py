"""The pool: workers that take rows, deliver them and record what became of them.

An exception in one worker asks all to stop and drain; it never cancels a request under way, which would put its row in
doubt. Only a few workers hold a row that has not been sent yet, however many there are: as many requests are under way
as the rate and the platform's latency make necessary, and a crash puts no more rows in doubt than that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from bulkredeem.errors import Stopping
from bulkredeem.model import Correction, Invalid, Job, Outcome, Skipped
from bulkredeem.processor.lanes import Lanes
from bulkredeem.processor.stop import Stop

LOOK_AHEAD: Final = 1_000
"""Corrections that may wait for another of the same customer or redemption before reading pauses."""
LINE: Final = 2
"""Rows that are taken and not sent yet: one whose turn is next, and one behind it, so that no slot waits for a row. At
high rates it takes more of them, since a place in the line passes from one to the next once a turn of the loop."""


class Pool:
    """Runs jobs to their end, or until a stop."""

    def __init__(
        self,
        deliver: Callable[[Correction, Callable[[], None]], Awaitable[Outcome]],
        record: Callable[[Outcome | Invalid | Skipped], Awaitable[None]],
        *,
        stop: Stop,
        max_workers: int,
        line: int = LINE,
        look_ahead: int = LOOK_AHEAD,
    ) -> None:
        """Take what to do with a correction (`deliver`, which may raise `Stopping`) and with a result (`record`).

        `deliver` also gets what it calls when the correction is sent for the first time: then the next may be taken.
        `line` rows may be taken and not sent yet.
        """
        self._deliver = deliver
        self._record = record
        self._stop = stop
        self._max_workers = max_workers
        self._look_ahead = look_ahead
        self._released = asyncio.Event()
        self._line = asyncio.Semaphore(line)

    async def run(self, jobs: Iterator[Job]) -> None:
        """Return when every job was recorded, or when a stop was asked for and nothing is under way any more.

        Raises nothing that happens in a worker: it becomes the stop's cause.
        """
        lanes = Lanes(jobs, look_ahead=self._look_ahead)
        workers = [asyncio.create_task(self._work(lanes)) for _ in range(self._max_workers)]
        await asyncio.gather(*workers)

    async def _work(self, lanes: Lanes) -> None:
        """Take and do jobs until there are none, or a stop was asked for."""
        try:
            while not self._stop.requested and not lanes.finished:
                await self._line.acquire()
                await self._next(lanes, _Place(self._line))
        except Stopping:
            pass  # the row stays pending; the cause is known to whoever asked for the stop
        except Exception as exc:  # noqa: BLE001  whatever it is, the others must end in good order
            self._stop.request(exc)

    async def _next(self, lanes: Lanes, place: _Place) -> None:
        """Do a job, or wait until there may be one; the place in the line is given up whatever happens."""
        try:
            if self._stop.requested or lanes.finished:
                return
            job = lanes.take()
            if isinstance(job, Correction):
                await self._serve(job, lanes, place)
            elif job is not None:
                await self._record(job)
            elif not lanes.finished:
                await self._release()
        finally:
            place.leave()

    async def _serve(self, correction: Correction, lanes: Lanes, place: _Place) -> None:
        """Deliver and record; the lanes are freed whatever happens, after the outcome is recorded."""
        try:
            await self._record(await self._deliver(correction, place.leave))
        finally:
            lanes.release(correction)
            self._released.set()

    async def _release(self) -> None:
        """Wait until some worker is done with its correction; only called while one is under way."""
        self._released.clear()
        await self._released.wait()


class _Place:
    """A place in the line, given up once."""

    __slots__ = ("_line",)

    def __init__(self, line: asyncio.Semaphore) -> None:
        self._line: asyncio.Semaphore | None = line

    def leave(self) -> None:
        """Let the next one come."""
        if self._line is not None:
            self._line.release()
            self._line = None
