"""Beyond its knee a platform only becomes slower: that is noticed, and nothing else is taken for it."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.pace.knee import ANSWERS, KEPT_UP, SECONDS, TIMES, Knee, Passed


def seen(rate: float, seconds: float, latency: Callable[[float], float]) -> list[tuple[float, Passed]]:
    """Send evenly for so many seconds to a platform that needs `latency(moment)`; return what was seen, and when."""
    moment = 0.0
    knee = Knee(clock=lambda: moment)
    found: list[tuple[float, Passed]] = []
    under_way: list[tuple[float, float]] = []
    for number in range(int(rate * seconds)):
        sent_at = number / rate
        while under_way and under_way[0][0] <= sent_at:
            moment, was_sent_at = heapq.heappop(under_way)
            if passed := knee.answered(was_sent_at):
                found.append((moment, passed))
        moment = sent_at
        knee.sent()
        heapq.heappush(under_way, (sent_at + latency(sent_at), sent_at))
    return found


def queue(capacity: float, latency: float = 0.05, since: float = 0.0) -> Callable[[float], float]:
    """Return the latency at a platform that answers at most so many requests a second from a moment on, in turn."""
    free = since

    def of(sent_at: float) -> float:
        nonlocal free
        if sent_at < since:
            return latency
        free = max(free, sent_at) + 1 / capacity
        return free - sent_at + latency

    return of


@pytest.mark.parametrize("rate", [60.0, 240.0, 400.0])
@pytest.mark.parametrize("latency", [0.001, 0.05, 0.3])
def test_a_platform_that_does_not_keep_up_is_noticed(rate: float, latency: float) -> None:
    """A few seconds after more is sent than answered it is known how much it keeps up with, and what waits inside."""
    capacity = rate / 1.2
    found = seen(rate, 30, queue(capacity, latency, since=10))
    first, passed = found[0]
    assert 10 < first < 10 + 4 * max(SECONDS, ANSWERS / capacity) + 2 * latency
    assert passed.share == pytest.approx(1 / 1.2, rel=0.1)
    assert passed.queued == pytest.approx((first - 10) * (1 - 1 / 1.2), abs=SECONDS)


@given(
    rate=st.sampled_from([5.0, 50.0, 300.0]),
    steps=st.lists(st.floats(0.001, 3.0), min_size=1, max_size=5),
)
def test_latency_alone_is_no_knee(rate: float, steps: list[float]) -> None:
    """It may jump from milliseconds to seconds: as long as as many answers come as requests go, nothing queues."""
    assert seen(rate, 12 * len(steps), lambda sent_at: steps[int(sent_at // 12)]) == []


@pytest.mark.parametrize("seed", range(5))
def test_latency_that_varies_is_no_knee(seed: int) -> None:
    """Answers that take now 20 ms and now half a second overtake each other, and that is all."""
    chance = random.Random(seed)  # noqa: S311
    assert seen(200.0, 60, lambda _: chance.choice([0.02, 0.05, 0.1, 0.5])) == []


def test_a_platform_just_below_its_knee_is_left_alone() -> None:
    """What it can do may be asked of it for as long as one likes."""
    assert seen(198.0, 60, queue(200.0)) == []


def test_a_single_bad_moment_is_no_knee() -> None:
    """A platform that hangs for a second and then works off what has queued keeps up."""
    free = 0.0

    def hangs_once(sent_at: float) -> float:
        nonlocal free
        free = max(free, sent_at, 11.0 if 10 <= sent_at < 11 else 0.0) + 1 / 400
        return free - sent_at + 0.02

    assert seen(100.0, 40, hangs_once) == []


def test_few_answers_are_not_enough_to_tell() -> None:
    """At two requests a second it takes longer than a second: so many answers, and as many times as are needed."""
    rate = 2.0
    found = seen(rate, 100, queue(1.0))
    assert found[0][0] >= (TIMES + 1) * ANSWERS / 1.0 * KEPT_UP


class Stretches:
    """Lets a knee see stretches, each with as many answers as are needed at its end."""

    def __init__(self) -> None:
        """Begin at a moment of its own."""
        self.moment = 100.0
        self.knee = Knee(clock=lambda: self.moment)

    def see(self, share: float, latency: float, seconds: float = SECONDS, answers: int = ANSWERS) -> Passed | None:
        """Send so many that this share is answered, all at the end and after such a latency; return what was seen."""
        for _ in range(round(answers / share)):
            self.knee.sent()
        self.moment += seconds
        seen = [self.knee.answered(self.moment - latency) for _ in range(answers)]
        assert not any(seen[:-1])
        return seen[-1]


def test_what_is_seen_when_the_knee_is_passed() -> None:
    """Twice slower and slower, with a tenth unanswered: the share of the second stretch, and what waits beyond."""
    stretches = Stretches()
    assert stretches.see(1.0, 0.1) is None
    assert stretches.see(0.9, 0.2) is None
    passed = stretches.see(0.8, 0.3)
    assert passed is not None
    assert passed.share == 0.8
    assert passed.queued == pytest.approx(0.3 - 1.002 * 1.002 * 0.1)
    assert stretches.see(0.8, 0.4) is None, "once told, it is looked at anew"
    assert stretches.see(0.8, 0.5) is not None


@pytest.mark.parametrize(
    "last",
    [(1.0, 0.3), (0.98, 0.3), (0.8, 0.2), (0.8, 0.19)],
    ids=["all answered", "nearly all", "no slower than before", "quicker again"],
)
def test_one_stretch_that_does_not_look_so_begins_the_count_anew(last: tuple[float, float]) -> None:
    """As many answers as requests, or no further delay: nothing queues for now."""
    stretches = Stretches()
    for share, latency in ((1.0, 0.1), (0.9, 0.2), last, (0.9, 0.4)):
        assert stretches.see(share, latency) is None
    assert stretches.see(0.9, 0.5) is not None


def test_hardly_slower_than_the_quickest_is_not_slow() -> None:
    """Half as long again is what it takes."""
    stretches = Stretches()
    for latency in (0.1, 0.12, 0.14, 0.149):
        assert stretches.see(0.8, latency) is None
    assert stretches.see(0.8, 0.16) is None
    assert stretches.see(0.8, 0.17) is not None


@pytest.mark.parametrize(("seconds", "answers"), [(SECONDS - 0.01, ANSWERS), (SECONDS, ANSWERS - 1)])
def test_a_stretch_goes_on_until_it_is_long_enough_and_holds_enough(seconds: float, answers: int) -> None:
    """After too little time, or with an answer too few, nobody can tell; with the next one it is told."""
    stretches = Stretches()
    stretches.see(1.0, 0.1)
    stretches.see(0.9, 0.2)
    assert stretches.see(0.9, 0.3, seconds, answers) is None
    stretches.moment += 0.02
    assert stretches.knee.answered(stretches.moment - 0.3) is not None


def test_a_new_normal_becomes_normal() -> None:
    """With each stretch the quickest is forgotten a little: what was slow once is not slow for ever."""
    stretches = Stretches()
    stretches.see(1.0, 0.1)
    for _ in range(250):
        assert stretches.see(1.0, 0.16) is None
    assert stretches.see(0.9, 0.161) is None
    assert stretches.see(0.9, 0.162) is None
