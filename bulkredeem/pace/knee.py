"""Does the platform still keep up? Beyond its knee, more requests make it slower and get no more answers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

SECONDS: Final = 1.0
"""A stretch that is looked at lasts at least so long."""
ANSWERS: Final = 20
"""And holds so many answers."""
SLOWER: Final = 1.5
"""Times the latency of the quickest stretch from which on requests seem to queue inside the platform."""
KEPT_UP: Final = 0.97
"""Share of the requests sent that must have been answered, or they do queue."""
TIMES: Final = 2
"""Stretches in a row that must look so: in a first one the latency may just have changed."""
_FORGETTING: Final = 1.002
"""Times by which the quickest stretch seems slower with each further one, so that a new normal becomes normal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """What is seen when the knee is passed."""

    share: float
    """Part of the requests sent that the platform keeps up with."""
    queued: float
    """Seconds that a request waits inside the platform."""


class Knee:
    """Watches the tries of one run."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing seen; `clock` counts seconds."""
        self._clock = clock
        self._quickest = math.inf
        self._before = math.inf
        self._times = 0
        self._begin()

    def sent(self) -> None:
        """Take note of a try that goes out."""
        self._sent += 1

    def answered(self, sent_at: float) -> Passed | None:
        """Take note of an answer; return what is seen if the knee is passed, else None.

        Never for latency alone: as long as as many answers come as requests go, none of them queues.
        """
        now = self._clock()
        self._answers += 1
        self._latency += now - sent_at
        if now - self._began < SECONDS or self._answers < ANSWERS:
            return None
        return self._look(self._answers / max(self._sent, 1), self._latency / self._answers)

    def _look(self, share: float, latency: float) -> Passed | None:
        """Look at the stretch that ends now, and begin the next one."""
        is_queueing = share < KEPT_UP and latency > max(SLOWER * self._quickest, self._before)
        self._times = self._times + 1 if is_queueing else 0
        self._quickest = min(_FORGETTING * self._quickest, latency)
        self._before = latency
        self._begin()
        if self._times < TIMES:
            return None
        self._times = 0
        return Passed(share=share, queued=latency - self._quickest)

    def _begin(self) -> None:
        self._began = self._clock()
        self._sent = 0
        self._answers = 0
        self._latency = 0.0
