"""Did it stay flat, and are the books balanced? Rules over what was seen; nothing is measured here."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from bulkredeem.model import Status

WARM_UP: Final = 20.0
"""Seconds of each process that say nothing: it reads its file, and its first connections are made."""
_THIRDS: Final = 3
_NOT_SENT: Final = frozenset({Status.SKIPPED, Status.INVALID, Status.FAILED, Status.REFUSED})
"""Verdicts that say that the row surely was not applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was seen of the process at one moment."""

    at: float
    """Seconds since the soak began."""
    stretch: int
    """Which process it was, from 0."""
    age: float
    """Seconds since that process was started."""
    memory: int
    """Bytes that are resident."""
    open_files: int
    threads: int
    tasks: int | None
    """Of the event loop; None when it had not been looked at yet."""
    requests: int
    """That the platform had received by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatness:
    """A quantity in the first and in the last third of the samples that count."""

    first: float
    """Median of the first third."""
    last: float
    """Median of the last third."""

    @property
    def ratio(self) -> float:
        """The last third's median by the first's."""
        return self.last / self.first


def warm(samples: Iterable[Sample], *, warm_up: float = WARM_UP) -> list[Sample]:
    """Return the samples of processes that were at work for long enough."""
    return [each for each in samples if each.age >= warm_up]


def longest_stretch(samples: Iterable[Sample]) -> list[Sample]:
    """Return those of the process that has most of them; none for none."""
    by_stretch: dict[int, list[Sample]] = {}
    for each in samples:
        by_stretch.setdefault(each.stretch, []).append(each)
    return max(by_stretch.values(), key=len, default=[])


def flatness(samples: Sequence[Sample], quantity: Callable[[Sample], float | None]) -> Flatness | None:
    """Compare the last third with the first; None when there are too few samples for that."""
    values = [value for each in samples if (value := quantity(each)) is not None]
    third = len(values) // _THIRDS
    if not third:
        return None
    return Flatness(first=statistics.median(values[:third]), last=statistics.median(values[-third:]))


def rate_of(samples: Sequence[Sample]) -> float | None:
    """Return the median of the requests a second between two samples of one process; None for too few."""
    rates = [
        (later.requests - earlier.requests) / (later.at - earlier.at)
        for earlier, later in pairwise(samples)
        if later.stretch == earlier.stretch
    ]
    return statistics.median(rates) if rates else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the file."""

    redemption_id: str
    bill_number: str
    bill_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """What the platform has of one redemption."""

    times: int
    """How often it was updated."""
    bill_number: str
    bill_id: str


def imbalances(
    lines: Mapping[int, Line],
    verdicts: Sequence[tuple[int, Status]],
    counts: Mapping[str, int],
    books: Mapping[str, Booked],
) -> Iterator[tuple[str, int]]:
    """Yield what must be nought, in words, and how many there are of it.

    `lines` are by row number, `verdicts` are the run's results in their order, `counts` those of its summary, `books`
    are by redemption.
    """
    told = Counter(number for number, _ in verdicts)
    yield "rows without a line in the results", sum(number not in told for number in lines)
    yield "lines too many in the results", sum(told.values()) - sum(number in lines for number in told)
    yield "rows that are pending at the end", sum(status is Status.PENDING for _, status in verdicts)
    found = Counter(str(status) for _, status in verdicts)
    yield "counts of the summary that are not those of the results", sum(counts.get(s, 0) != found[s] for s in Status)
    yield "difference of the seven counts and the rows of the file", abs(sum(counts.values()) - len(lines))
    known = [(lines[number], status) for number, status in verdicts if number in lines]
    succeeded = [line for line, status in known if status is Status.SUCCESS]
    yield "rows told as success that the platform does not have so", sum(not _has(books, line) for line in succeeded)
    denied = [line for line, status in known if status in _NOT_SENT]
    yield "rows told as not applied that the platform has", sum(line.redemption_id in books for line in denied)
    of_the_file = {line.redemption_id for line in lines.values()}
    yield "redemptions at the platform that are not in the file", sum(name not in of_the_file for name in books)


def _has(books: Mapping[str, Booked], line: Line) -> bool:
    booked = books.get(line.redemption_id)
    return booked is not None and (booked.bill_number, booked.bill_id) == (line.bill_number, line.bill_id)
