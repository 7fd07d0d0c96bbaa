"""How fast a run goes: requests and rows a second, over the last ten seconds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

WINDOW: Final = 10.0
"""Seconds that are looked back."""
WINDOW_GAPS: Final = 10.0
"""Requests that are looked back at least: of fewer, chance would make the rate."""
WINDOW_MOST: Final = 600.0
"""Seconds that are looked back at most."""
LEAST: Final = 2.0
"""Seconds after which there is something to say; after a quarter of them if there were many requests."""
MANY: Final = 100
"""Requests that are many."""
_LOOKS: Final = 50
"""Looks that are remembered of a window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """What was to be seen at a moment."""

    at: float
    """Seconds, of any clock."""
    requests: int
    rows: int


class Speed:
    """Learns from looks at the numbers of requests and rows so far."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._looks: deque[_Look] = deque()
        self.requests: float | None = None
        """Requests a second; None while it cannot be told."""
        self._last: tuple[float, float] | None = None

    def look(self, at: float, *, requests: int, rows: int, allowed: float | None) -> None:
        """Take note of what is to be seen; `allowed` is requests a second, or None: few of them need a longer look."""
        window = min(WINDOW_MOST, max(WINDOW, WINDOW_GAPS / allowed)) if allowed else WINDOW
        now = _Look(at=at, requests=requests, rows=rows)
        while len(self._looks) > 1 and at - self._looks[1].at >= window:
            self._looks.popleft()
        if not self._looks or at - self._looks[-1].at >= window / _LOOKS:
            self._looks.append(now)
        first = self._looks[0]
        seconds = at - first.at
        sent = now.requests - first.requests
        if seconds >= (LEAST / 4 if sent >= MANY else LEAST):
            self.requests = sent / seconds
            self._last = self.requests, (now.rows - first.rows) / seconds

    def rows(self, allowed: float | None) -> float | None:
        """Return how many rows a second go, or went last, where so many requests a second are allowed.

        None while it cannot be told; without anything seen it is as many rows as requests.
        """
        if self._last is None:
            return allowed
        requests, rows = self._last
        # What was seen before a pause may be more than what is allowed after it.
        return rows * min(1.0, allowed / requests) if allowed and requests else rows

    def stand_still(self) -> None:
        """Forget what was seen: a pause is no speed. How fast rows went before it is still the best guess."""
        self._looks.clear()
        self.requests = None
