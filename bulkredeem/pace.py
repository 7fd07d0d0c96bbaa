"""When the next request may go: evenly spaced slots, no bursts, and pauses that the platform asks for.

The schedule is absolute: the n-th slot of an unbroken stretch is n intervals after its first, so a late wake-up does
not push all later requests back. Time that nobody used is gone; it never becomes a burst.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bulkredeem.model import Rate

HEADROOM: Final = 1.002
"""Slots are this much further apart than the rate says. 100 requests then take 60.12 s, so that the platform's minute
holds no 101st when a request arrives up to a tenth of a second early or late."""
LATENESS_MADE_GOOD: Final = 0.01
"""Seconds by which a slot may be taken late without moving those after it: what timers and a busy loop cost."""


class Pace:
    """Hands out slots; every attempt takes one, first tries and retries alike.

    One pace serves one key (host and user name) on one event loop. Waiting ends as `sleep` says: a sleep that raises
    sends the waiter home without a slot.
    """

    def __init__(
        self,
        rate: Rate,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Start with a slot that is free now."""
        self._interval = rate.interval * HEADROOM
        self._clock = clock
        self._sleep = sleep
        self._due = clock()
        self._turn = asyncio.Lock()

    async def slot(self) -> None:
        """Return when the next request may go; those who wait are served in the order they came."""
        async with self._turn:
            # Looked at again after every sleep: a pause may have been asked for in the meantime.
            while (wait := self._due - self._clock()) > 0:
                await self._sleep(wait)
            self._due = max(self._due, self._clock() - LATENESS_MADE_GOOD) + self._interval

    def pause(self, seconds: float) -> None:
        """Let nobody start for so many seconds from now, whoever asked and whoever waits."""
        self._due = max(self._due, self._clock() + seconds)

    @property
    def paused_for(self) -> float:
        """Seconds until the next slot beyond the usual interval; 0.0 when requests are flowing."""
        return max(0.0, self._due - self._clock() - self._interval)
