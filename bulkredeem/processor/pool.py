"""The pool: workers that take rows, deliver them and record what became of them.

An exception in one worker asks all to stop and drain; it never cancels a request under way, which would put its row in
doubt. How many requests may be under way is the delivery's business: a worker may also hold a row that waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from bulkredeem.errors import Stopping
from bulkredeem.model import Correction, Invalid, Outcome
from bulkredeem.processor.lanes import Lanes
from bulkredeem.processor.stop import Stop

LOOK_AHEAD: Final = 1_000
"""Corrections that may wait for another of the same customer or redemption before reading pauses."""


class Pool:
    """Runs jobs to their end, or until a stop."""

    def __init__(
        self,
        deliver: Callable[[Correction], Awaitable[Outcome]],
        record: Callable[[Outcome | Invalid], Awaitable[None]],
        *,
        stop: Stop,
        max_workers: int,
        look_ahead: int = LOOK_AHEAD,
    ) -> None:
        """Take what to do with a correction (`deliver`, which may raise `Stopping`) and with a result (`record`)."""
        self._deliver = deliver
        self._record = record
        self._stop = stop
        self._max_workers = max_workers
        self._look_ahead = look_ahead
        self._released = asyncio.Event()

    async def run(self, jobs: Iterator[Correction | Invalid]) -> None:
        """Return when every job was recorded, or when a stop was asked for and nothing is under way any more.

        Raises nothing that happens in a worker: it becomes the stop's cause.
        """
        lanes = Lanes(jobs, look_ahead=self._look_ahead)
        workers = [asyncio.create_task(self._work(lanes)) for _ in range(self._max_workers)]
        await asyncio.gather(*workers)

    async def _work(self, lanes: Lanes) -> None:
        """Take and do jobs until there are none, or a stop was asked for."""
        try:
            while not self._stop.requested:
                job = lanes.take()
                if job is None and lanes.finished:
                    return
                if job is None:
                    await self._release()
                elif isinstance(job, Invalid):
                    await self._record(job)
                else:
                    await self._serve(job, lanes)
        except Stopping:
            pass  # the row stays pending; the cause is known to whoever asked for the stop
        except Exception as exc:  # noqa: BLE001  whatever it is, the others must end in good order
            self._stop.request(exc)

    async def _serve(self, correction: Correction, lanes: Lanes) -> None:
        """Deliver and record; the lanes are freed whatever happens, after the outcome is recorded."""
        try:
            await self._record(await self._deliver(correction))
        finally:
            lanes.release(correction)
            self._released.set()

    async def _release(self) -> None:
        """Wait until some worker is done with its correction; only called while one is under way."""
        self._released.clear()
        await self._released.wait()
