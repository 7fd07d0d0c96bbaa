"""A run that does not wait long for anything, and whose clock shows only the time that it has waited."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from bulkredeem.application import Observer, Terms
from bulkredeem.model import Ceiling
from bulkredeem.pace import Pace
from bulkredeem.processor import Stop

HASTE: Final = 1000
"""How many times as fast as usual waiting passes here."""


class Hurried(Stop):
    """The wish to stop, for a run that does not wait long for anything.

    Its clock does not go by itself: a machine that stands still for a moment takes nothing from a pause.
    """

    def __init__(self, haste: float = HASTE) -> None:
        """Let waiting pass so many times as fast; the clock begins at 0.0."""
        super().__init__()
        self._haste = haste
        self._now = 0.0

    def clock(self) -> float:
        """Return how many seconds somebody has waited for."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Sleep, but not for so long."""
        awake_at = self._now + seconds
        await super().sleep(seconds / self._haste)
        # Of several who sleep side by side, the shorter sleep may be told of later.
        self._now = max(self._now, awake_at)


def hurried(observer: Observer, *, haste: float = HASTE, wall_clock: Callable[[], float] = time.time) -> Terms:
    """Return terms on which back-off, pauses and probes pass so many times as fast; nothing limits the rate."""
    stop = Hurried(haste)
    pace = Pace(Ceiling.parse("none"), clock=stop.clock, sleep=stop.sleep)
    return Terms(stop=stop, observer=observer, pace=pace, wall_clock=wall_clock)
