"""What happened on the wire in a stretch of a few seconds, as counts: the charts of a run are drawn from these."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from bulkredeem.model import Answer, Reply

STRETCH: Final = 10.0
"""Seconds that a stretch lasts; the last of a run is shorter."""
LATENCIES: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds: an answer counts in the first class whose bound it does not pass; a last class is for all above."""
UNANSWERED: Final = "none"
THROTTLED: Final = "429"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """One stretch of a run."""

    ended_at: float
    """Seconds since the epoch."""
    seconds: float
    """How long it was."""
    replies: Mapping[str, int]
    """Class of answer → how many: `2xx`, `3xx`, `4xx`, `5xx`, `429` (in no other class), `none` for no answer."""
    latency: tuple[int, ...]
    """How many answers took how long: one more number than `LATENCIES` has."""
    allowed: float | None
    """Requests a second that the pace allowed, at its beginning or its end, whichever is more; None: no limit."""
    sent: int
    """Tries that began in it."""

    @property
    def requests(self) -> int:
        """Tries on the wire that ended in it."""
        return sum(self.replies.values())

    def percentile(self, share: float) -> float | None:
        """Return the bound of the class, in seconds, below which this share of the answers came; None for no answers.

        For the class above all bounds, the last bound.
        """
        return percentile(self.latency, share)

    def as_json_object(self) -> dict[str, Any]:
        """Return it as the journal keeps it."""
        return {
            "ended_at": self.ended_at,
            "seconds": self.seconds,
            "replies": dict(self.replies),
            "latency": list(self.latency),
            "allowed": self.allowed,
            "sent": self.sent,
        }

    @classmethod
    def from_json_object(cls, kept: Mapping[str, Any]) -> Self:
        """Return what the journal has kept. Raises KeyError, TypeError and ValueError when it makes no sense."""
        latency = tuple(map(int, kept["latency"]))
        if len(latency) != len(LATENCIES) + 1:
            raise ValueError(f"{len(latency)} classes of latency are not those there are")
        return cls(
            ended_at=float(kept["ended_at"]),
            seconds=float(kept["seconds"]),
            replies={str(kind): int(count) for kind, count in dict(kept["replies"]).items()},
            latency=latency,
            allowed=None if kept["allowed"] is None else float(kept["allowed"]),
            sent=int(kept["sent"]),
        )


def percentile(latency: Sequence[int], share: float) -> float | None:
    """Return what `Counters.percentile` says, of counts that may be sums of several stretches."""
    wanted = share * sum(latency)
    if not wanted:
        return None
    reached = 0
    for bound, count in zip((*LATENCIES, LATENCIES[-1]), latency, strict=True):
        reached += count
        if reached >= wanted:
            return bound
    return LATENCIES[-1]


class Counting:
    """Counts what happens until the stretch ends."""

    def __init__(self, began_at: float, allowed: float | None) -> None:
        """Begin a first stretch: when, in seconds since the epoch, and what the pace allows then."""
        self._begin(began_at, allowed)

    def _begin(self, began_at: float, allowed: float | None) -> None:
        self._began_at = began_at
        self._allowed = allowed
        self._sent = 0
        self._replies: Counter[str] = Counter()
        self._latency = [0] * (len(LATENCIES) + 1)

    def send(self) -> None:
        """Count a try that begins."""
        self._sent += 1

    def add(self, answer: Answer, seconds: float) -> None:
        """Count an answer that took so long; how long no answer took says nothing."""
        self._replies[class_of(answer)] += 1
        if isinstance(answer, Reply):
            self._latency[bisect_left(LATENCIES, seconds)] += 1

    def end(self, now: float, allowed: float | None) -> Counters | None:
        """Return the stretch until now and begin the next; None for one that took no time."""
        ended = Counters(
            ended_at=now,
            seconds=max(0.0, now - self._began_at),
            replies=dict(self._replies),
            latency=tuple(self._latency),
            allowed=None if allowed is None or self._allowed is None else max(allowed, self._allowed),
            sent=self._sent,
        )
        self._begin(now, allowed)
        return ended if ended.seconds else None


def class_of(answer: Answer) -> str:
    """Return the class of an answer, as `Counters.replies` names it."""
    if not isinstance(answer, Reply):
        return UNANSWERED
    return THROTTLED if str(answer.http_status) == THROTTLED else f"{answer.http_status // 100}xx"
