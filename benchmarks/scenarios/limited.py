"""Whether a target's limit is used to the full and never overdrawn: known, shared, overestimated, searched, lowered."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Final

from benchmarks.figures import Figure
from benchmarks.lab import Lab, RefusedError
from benchmarks.programs import Running, ours, pyrate
from benchmarks.target import Nginx, Target
from benchmarks.traffic import Traffic

LIMIT: Final = 200
"""Requests a second that the target lets through."""
LOWERED: Final = 50
"""Requests a second that are left of it after the drop."""
MOST_THROTTLED: Final = 5.0
"""429s for each 1,000 good rows that a run that has found the limit may see."""
RECOVERED_SHARE: Final = 0.9
"""Share of the lowered limit that a run which has recovered uses."""
WINDOW: Final = 5
"""Seconds that are looked at to say that it has."""
LOOKED_AT: Final = 0.1
"""Seconds between two looks at how far a run has come."""


def limit(lab: Lab) -> Iterator[Figure]:
    """Send at exactly the limit."""
    traffic = lab.send("limit", Target(limit=LIMIT), (ours("--rate", f"{LIMIT}/s"), lab.file(10_000))).traffic
    yield _use("--rate 200/s", traffic.rows_per_second, at_least=0.99)
    yield Figure(what="--rate 200/s: 429s", value=len(traffic.throttled), at_most=0)


def pyrate_limiter(lab: Lab) -> Iterator[Figure]:
    """Send at the limit by the paces of a library, alone and two at once; without targets: they are not ours."""
    for kind, senders in (("gcra", 1), ("sqlite", 1), ("sqlite", 2)):
        files = [lab.file(4_000 // senders, seed=4 + number) for number in range(senders)]
        what = f"pyrate-limiter, {kind}, {senders} at once"
        traffic = lab.send(what, Target(limit=LIMIT), *((pyrate(kind), file) for file in files)).traffic
        yield Figure(what=f"{what}: good rows/s ÷ {LIMIT}", value=traffic.rows_per_second / LIMIT)
        yield Figure(what=f"{what}: 429s", value=len(traffic.throttled))


def sharing(lab: Lab) -> Iterator[Figure]:
    """Send two files at once with one key, into two reports folders."""
    sender = ours("--rate", f"{LIMIT}/s")
    files = lab.file(5_000, seed=2), lab.file(5_000, seed=3)
    traffic = lab.send("sharing", Target(limit=LIMIT), *((sender, file) for file in files)).traffic
    yield _use("two runs of one key", traffic.rows_per_second, at_least=0.98)
    yield Figure(what="two runs of one key: 429s", value=len(traffic.throttled), at_most=0)


def ceiling(lab: Lab) -> Iterator[Figure]:
    """Send at a rate that the limit does not allow."""
    traffic = lab.send("ceiling", Target(limit=LIMIT), (ours("--rate", "300/s"), lab.file(10_000))).traffic
    yield from _found("--rate 300/s", traffic, traffic.first)


def auto(lab: Lab) -> Iterator[Figure]:
    """Let the limit be searched; the first minute is the search's own."""
    what = "--rate auto, after its first minute"
    try:
        traffic = lab.send("auto", Target(limit=LIMIT), (ours("--rate", "auto"), lab.file(20_000))).traffic
    except RefusedError:
        yield Figure(what=what, value=None, at_least=0.95, note="skipped: this version refuses --rate auto")
        return
    yield from _found(what, traffic, traffic.first + lab.scaled(60))


def drop(lab: Lab) -> Iterator[Figure]:
    """Lower the limit midway through a run at its former rate."""
    yield _recovery(lab, "--rate 200/s", f"{LIMIT}/s")


def drop_auto(lab: Lab) -> Iterator[Figure]:
    """Lower the limit midway through a run that searches."""
    yield _recovery(lab, "--rate auto", "auto")


def _use(what: str, rate: float, *, at_least: float) -> Figure:
    return Figure(what=f"{what}: good rows/s ÷ {LIMIT}", value=rate / LIMIT, at_least=at_least)


def _found(what: str, traffic: Traffic, begin: float) -> Iterator[Figure]:
    yield _use(what, traffic.good_rate(begin, traffic.last), at_least=0.95)
    share = traffic.throttled_share(begin, traffic.last)
    yield Figure(what=f"{what}: 429s for each 1,000 rows", value=share, at_most=MOST_THROTTLED)


def _recovery(lab: Lab, what: str, rate: str) -> Figure:
    rows = 8_000
    target = Target(limit=LIMIT, lowered=LOWERED)
    lowered_at: list[float] = []

    def lower_midway(nginx: Nginx, senders: Sequence[Running]) -> None:
        _wait_for_answers(nginx, senders, lab.scaled(rows // 2))
        lowered_at.append(nginx.lower_limit())

    what = f"{what}, limit drops to {LOWERED}/s: seconds until recovered"
    try:
        work = ours("--rate", rate), lab.file(rows)
        traffic = lab.send(f"drop, {rate}", target, work, during=lower_midway).traffic
    except RefusedError:
        return Figure(what=what, value=None, at_most=30, note="skipped: this version refuses --rate auto")
    return Figure(what=what, value=seconds_to_recover(traffic, lowered_at[0]), at_most=30)


def seconds_to_recover(traffic: Traffic, lowered_at: float) -> float:
    """Return how long after the drop it was over; infinite if it never was, as far as the run went.

    It is over at the first whole second from which both the next `WINDOW` seconds and all the rest of the run (at least
    twice that) use `RECOVERED_SHARE` of the lowered limit and see `MOST_THROTTLED` 429s at most for 1,000 good rows: in
    a window of some 250 rows, one.
    """
    second = 0
    while (begin := lowered_at + second) + 2 * WINDOW <= traffic.last:
        if all(_is_calm(traffic, begin, end) for end in (begin + WINDOW, traffic.last)):
            return float(second)
        second += 1
    return math.inf


def _is_calm(traffic: Traffic, begin: float, end: float) -> bool:
    enough = traffic.good_rate(begin, end) >= RECOVERED_SHARE * LOWERED
    return enough and traffic.throttled_share(begin, end) <= MOST_THROTTLED


def _wait_for_answers(nginx: Nginx, senders: Sequence[Running], answers: int) -> None:
    """Return when nginx has given so many, or the senders have ended before."""
    seen = 0
    with nginx.log.open("rb") as log:
        while seen < answers and not all(sender.has_ended() for sender in senders):
            time.sleep(LOOKED_AT)
            seen += log.read().count(b"\n")
