"""What nginx wrote down about a run: every figure about requests comes from here, none from the sender."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOG_FORMAT: Final = "$msec $request_time $status"
"""End of the request (seconds since the epoch), seconds since its first byte came, and the status that was answered."""
_GOOD: Final = "200"
_THROTTLED: Final = "429"


class NoTrafficError(Exception):
    """Not one request reached nginx."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The requests of one or several runs against one target, in the order of their ends."""

    first: float
    """When the first byte of the first request came; so is every moment here: seconds since the epoch."""
    last: float
    """When the last answer had gone out."""
    good: array[float]
    """When each answer of status 200 had gone out."""
    throttled: array[float]
    """When each answer of status 429 had gone out."""
    others: int
    """Answers of any other status."""

    @property
    def requests(self) -> int:
        """All requests."""
        return len(self.good) + len(self.throttled) + self.others

    @property
    def rows_per_second(self) -> float:
        """Good answers a second, from the first request to the last answer."""
        return self.good_rate(self.first, self.last)

    def good_rate(self, begin: float, end: float) -> float:
        """Return the good answers a second between two moments."""
        return _between(self.good, begin, end) / (end - begin) if end > begin else 0.0

    def throttled_share(self, begin: float, end: float) -> float:
        """Return how many requests were throttled for each 1,000 good answers between two moments."""
        return 1000 * _between(self.throttled, begin, end) / max(1, _between(self.good, begin, end))


def _between(moments: array[float], begin: float, end: float) -> int:
    return bisect_left(moments, end + 0.0005) - bisect_left(moments, begin)  # nginx counts in whole milliseconds


def read_traffic(log: Path) -> Traffic:
    """Read a log of LOG_FORMAT; raises NoTrafficError when it is empty.

    Memory stays small, a few bytes a request: the peak of a process that we start includes our own.
    """
    moments: dict[str, array[float]] = {_GOOD: array("d"), _THROTTLED: array("d")}
    others, first, last = 0, float("inf"), 0.0
    with log.open(encoding="ascii") as lines:
        for line in lines:
            ended, took, status = line.split()
            last = float(ended)
            first = min(first, last - float(took))
            if status in moments:
                moments[status].append(last)
            else:
                others += 1
    if not last:
        raise NoTrafficError("not one request reached nginx")
    return Traffic(first=first, last=last, good=moments[_GOOD], throttled=moments[_THROTTLED], others=others)
