"""What a run's answers were, and how long they took, every ten seconds: counters in the journal, for the charts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from bulkredeem.counters import STRETCH, THROTTLED, Counting, class_of
from bulkredeem.journal import Journal
from bulkredeem.model import Answer, Correction


class Meter:
    """Counts the answers of one run. No verdict depends on it."""

    def __init__(
        self,
        journal: Journal,
        *,
        allowed: Callable[[], float | None],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Begin to count. `allowed` gives the requests a second that the pace allows now; None without a limit."""
        self._journal = journal
        self._allowed = allowed
        self._clock = clock
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._counting = Counting(wall_clock(), allowed())
        self.throttled = 0
        """Tries that the platform has answered with 429."""

    def timed(self, attempt: Callable[[Correction], Awaitable[Answer]]) -> Callable[[Correction], Awaitable[Answer]]:
        """Return an attempt that does the same, and whose answers are counted."""

        async def timed_attempt(correction: Correction) -> Answer:
            self._counting.send()
            began_at = self._clock()
            answer = await attempt(correction)
            self.throttled += class_of(answer) == THROTTLED
            self._counting.add(answer, self._clock() - began_at)
            return answer

        return timed_attempt

    async def keep_counting(self) -> None:
        """Write down a stretch every ten seconds, until cancelled; it becomes durable with the next commit group."""
        while True:
            await self._sleep(STRETCH)
            self.note()

    def note(self) -> None:
        """Write down the stretch until now: for the end of the run, too."""
        ended = self._counting.end(self._wall_clock(), self._allowed())
        if ended is not None:
            self._journal.count(ended)
