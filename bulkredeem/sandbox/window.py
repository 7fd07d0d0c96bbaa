"""The platform's limit: at most so many requests in any stretch of time as long as the rate's period."""

from __future__ import annotations

import math
from collections import deque

from bulkredeem.model import Rate


class Window:
    """Remembers when requests were let in; those turned away cost nothing."""

    def __init__(self) -> None:
        """Start with every place free."""
        self._admitted: deque[float] = deque()

    def wait(self, limit: Rate, now: float) -> float:
        """Take a place and return 0.0, or return the seconds (more than 0.0) until one is free.

        A rate below one request in its period means one request in a period so much longer.
        """
        if math.isinf(limit.requests):
            return 0.0
        places = max(1, math.floor(limit.requests))
        period = limit.per_seconds * max(1.0, 1 / limit.requests)
        while self._admitted and self._admitted[0] + period <= now:
            self._admitted.popleft()
        if len(self._admitted) >= places:
            return self._admitted[-places] + period - now
        self._admitted.append(now)
        return 0.0
