"""The pace: evenly spaced slots on a clock of the tests' own, so that nothing here sleeps.

What is promised, with `gap` for the rate's interval times HEADROOM and `late` for LATENESS_MADE_GOOD: the k-th slot
after any slot comes at least `k * gap - late` later. So in any stretch of T seconds lie at most
`floor((T + late) / gap) + 1` slots. For N requests in a period P that is exactly N in every half-open period as long as
`late <= 0.002 * P`, as for 100/min, and N + 1 at most as long as the gap is not shorter than `late`, as for 20/s. From
100/s on the tolerance is worth more than one slot: `1 + late / gap` more.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkredeem.errors import Stopping
from bulkredeem.model import Rate
from bulkredeem.pace import HEADROOM, LATENESS_MADE_GOOD, Pace

ROUNDING = 1e-6
"""Seconds that adding many floats may cost."""


class Clock:
    """A clock that only sleeping moves; `late` seconds are added to each sleep, as timers do."""

    def __init__(self, now: float = 1000.0, late: Callable[[], float] = lambda: 0.0) -> None:
        """Start at some moment; `late` is asked anew for each sleep."""
        self.now = now
        self.slept: list[float] = []
        self._late = late

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Move the time, and let others run as a real sleep does."""
        assert seconds > 0
        self.slept.append(seconds)
        self.now += seconds + self._late()
        await asyncio.sleep(0)


def pace_of(rate: str, clock: Clock) -> Pace:
    """Build a pace on a clock of ours."""
    return Pace(Rate.parse(rate), clock=clock, sleep=clock.sleep)


async def take(pace: Pace, clock: Clock, count: int) -> list[float]:
    """Take so many slots one after another, and return when."""
    times = []
    for _ in range(count):
        await pace.slot()
        times.append(clock.now)
    return times


def gaps(times: list[float]) -> list[float]:
    """Return the time between each two neighbours."""
    return [after - before for before, after in itertools.pairwise(times)]


def most_within(times: list[float], seconds: float) -> int:
    """Return how many moments lie at most in any stretch of so many seconds, its end not included."""
    return max(sum(start <= time < start + seconds for time in times) for start in times)


async def test_the_first_slot_is_there_at_once() -> None:
    """Nobody waits for nothing."""
    clock = Clock()
    await pace_of("1/hour", clock).slot()
    assert clock.slept == []


@pytest.mark.parametrize("rate", ["100/min", "20/s", "5000/hour", "1/s", "1000/s"])
async def test_slots_are_evenly_spaced_from_the_first_on(rate: str) -> None:
    """There is no burst, not even at the start."""
    clock = Clock()
    times = await take(pace_of(rate, clock), clock, 300)
    assert gaps(times) == pytest.approx([Rate.parse(rate).interval * HEADROOM] * 299)


async def test_the_documented_minute_never_holds_more_than_the_documented_hundred() -> None:
    """100/min is the platform's limit, and the first minute is where leaky buckets burst."""
    clock = Clock()
    times = await take(pace_of("100/min", clock), clock, 500)
    assert most_within(times, 60.0) == 100
    assert most_within(times, 60.1) == 100


async def test_unused_time_is_gone() -> None:
    """After an hour without requests the next ones are as far apart as ever."""
    clock = Clock()
    pace = pace_of("100/min", clock)
    await take(pace, clock, 3)
    clock.now += 3600
    slept = len(clock.slept)
    times = await take(pace, clock, 50)
    assert len(clock.slept) - slept == 49
    assert min(gaps(times)) > 0.6 * HEADROOM - LATENESS_MADE_GOOD - ROUNDING
    assert sum(gaps(times)) > 49 * 0.6 * HEADROOM - LATENESS_MADE_GOOD - ROUNDING


async def test_small_lateness_does_not_slow_the_rate_down() -> None:
    """Timers wake a little late each time; over 1000 requests that costs no more than once."""
    clock = Clock(late=lambda: LATENESS_MADE_GOOD * 0.9)
    times = await take(pace_of("20/s", clock), clock, 1001)
    assert times[-1] - times[0] == pytest.approx(1000 * 0.05 * HEADROOM, abs=LATENESS_MADE_GOOD)


async def test_what_was_late_beyond_the_tolerance_is_not_made_good() -> None:
    """A loop that hung for a second does not send that second's requests in one go."""
    late = iter([0.0, 0.0, 1.0])
    clock = Clock(late=lambda: next(late, 0.0))
    times = await take(pace_of("20/s", clock), clock, 20)
    gap = 0.05 * HEADROOM
    assert gaps(times) == pytest.approx([gap, gap, gap + 1.0, gap - LATENESS_MADE_GOOD, *[gap] * 15])


async def test_no_limit_means_no_waiting() -> None:
    """`none` hands out slots as fast as they are asked for."""
    clock = Clock()
    await take(pace_of("none", clock), clock, 1000)
    assert clock.slept == []


async def test_a_pause_holds_even_without_a_limit() -> None:
    """What the platform asks for beats what we were told to aim for."""
    clock = Clock()
    pace = pace_of("none", clock)
    pace.pause(30)
    assert await take(pace, clock, 2) == [1030.0, 1030.0]


async def test_those_who_wait_are_served_in_the_order_they_came() -> None:
    """No request is overtaken for ever."""
    clock = Clock()
    pace = pace_of("1/s", clock)
    served = []

    async def wait_for_slot(name: int) -> None:
        await pace.slot()
        served.append((name, clock.now))

    await asyncio.gather(*map(wait_for_slot, range(5)))
    assert [name for name, _ in served] == [0, 1, 2, 3, 4]
    assert gaps([time for _, time in served]) == pytest.approx([HEADROOM] * 4)


async def test_a_pause_moves_everybody_who_waits() -> None:
    """One throttled reply holds back the whole key: the one asleep, those behind, and those who come later."""
    clock = Clock()
    pace = pace_of("1/s", clock)
    times = []

    async def wait_for_slot() -> None:
        await pace.slot()
        times.append(clock.now)
        if len(times) == 2:
            pace.pause(60)

    await asyncio.gather(*(wait_for_slot() for _ in range(5)))
    assert gaps(times) == pytest.approx([HEADROOM, 60, HEADROOM, HEADROOM])


async def test_a_pause_asked_for_during_a_sleep_is_kept() -> None:
    """Who wakes up looks again before going."""
    clock = Clock()
    pace: Pace

    async def sleep(seconds: float) -> None:
        if len(clock.slept) == 0:
            pace.pause(10)
        await clock.sleep(seconds)

    pace = Pace(Rate.parse("1/s"), clock=clock, sleep=sleep)
    assert await take(pace, clock, 2) == [1000.0, 1010.0]
    assert len(clock.slept) == 2


async def test_a_shorter_pause_does_not_shorten_a_longer_one() -> None:
    """The longest of all that were asked for counts, and one of no length changes nothing."""
    clock = Clock()
    pace = pace_of("1/s", clock)
    for seconds in (20.0, 5.0, 0.0, -3.0):
        pace.pause(seconds)
    assert pace.paused_for == pytest.approx(20 - HEADROOM)
    assert await take(pace, clock, 1) == [1020.0]


async def test_requests_that_flow_are_not_paused() -> None:
    """The usual wait for the next slot is no pause."""
    clock = Clock()
    pace = pace_of("100/min", clock)
    assert pace.paused_for == 0.0
    await pace.slot()
    assert pace.paused_for == 0.0
    clock.now += 3600
    assert pace.paused_for == 0.0


async def test_who_is_sent_home_takes_no_slot() -> None:
    """A sleep that raises ends the waiting, and the next waiter gets the slot at its time."""
    clock = Clock()
    stopping = [True]

    async def sleep(seconds: float) -> None:
        if stopping:
            stopping.clear()
            raise Stopping
        await clock.sleep(seconds)

    pace = Pace(Rate.parse("1/s"), clock=clock, sleep=sleep)
    await pace.slot()
    results = await asyncio.gather(pace.slot(), pace.slot(), return_exceptions=True)
    assert [type(result) for result in results] == [Stopping, type(None)]
    assert clock.now == pytest.approx(1000 + HEADROOM)


async def test_who_is_cancelled_takes_no_slot() -> None:
    """A cancelled waiter does not block those behind it, whether it slept or stood in the queue."""
    clock = Clock()
    woken = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await woken.wait()
        await clock.sleep(seconds)

    pace = Pace(Rate.parse("1/s"), clock=clock, sleep=sleep)
    await pace.slot()
    waiting = [asyncio.create_task(pace.slot()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[1].cancel()
    woken.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, asyncio.CancelledError, type(None)]
    assert clock.now == pytest.approx(1000 + HEADROOM)


@given(
    requests=st.integers(1, 2000),
    unit=st.sampled_from(["s", "min", "hour"]),
    idle=st.lists(st.sampled_from([0.0, 0.0, 0.0, 1e-4, 0.005, 0.01, 0.05, 0.7, 3.0, 100.0]), min_size=2, max_size=60),
    late=st.lists(st.sampled_from([0.0, 1e-4, 0.009, 0.01, 0.011, 0.2, 5.0]), min_size=1, max_size=10),
)
@example(requests=20, unit="s", idle=[0.0] * 60, late=[0.0, 0.0, 0.01, 0.0])
@example(requests=100, unit="min", idle=[0.0] * 60, late=[0.01, 0.0])
def test_no_stretch_of_time_holds_more_slots_than_promised(
    requests: int, unit: str, idle: list[float], late: list[float]
) -> None:
    """Whatever the rate, the arrivals and the lateness of timers, the promise at the top of this file holds."""
    rate = Rate.parse(f"{requests}/{unit}")
    lateness = itertools.cycle(late)
    clock = Clock(late=lambda: next(lateness))
    pace = pace_of(rate.text, clock)

    async def arrive() -> list[float]:
        times = []
        for seconds in idle:
            clock.now += seconds
            await pace.slot()
            times.append(clock.now)
        return times

    times = asyncio.run(arrive())
    gap = rate.interval * HEADROOM
    for first, start in enumerate(times):
        for count, time in enumerate(times[first + 1 :], start=1):
            assert time - start >= count * gap - LATENESS_MADE_GOOD - ROUNDING
    period = rate.per_seconds
    assert most_within(times, period) <= math.floor((period + LATENESS_MADE_GOOD + ROUNDING) / gap) + 1
    if 0.002 * period >= LATENESS_MADE_GOOD:
        assert most_within(times, period) <= requests
    elif gap >= LATENESS_MADE_GOOD:
        assert most_within(times, period) <= requests + 1


@given(
    pauses=st.lists(st.tuples(st.integers(0, 19), st.sampled_from([0.0, 0.5, 2.0, 30.0])), max_size=5),
    late=st.sampled_from([0.0, 0.004, 0.5]),
)
def test_nobody_goes_during_a_pause(pauses: list[tuple[int, float]], late: float) -> None:
    """Whenever pauses are asked for, no slot lies inside one, and the rate holds around them."""
    clock = Clock(late=lambda: late)
    pace = pace_of("20/s", clock)
    asked: list[tuple[float, float]] = []
    times: list[float] = []

    async def wait_for_slot() -> None:
        await pace.slot()
        times.append(clock.now)
        for after, seconds in pauses:
            if len(times) == after:
                pace.pause(seconds)
                asked.append((clock.now, clock.now + seconds))

    async def all_of_them() -> None:
        await asyncio.gather(*(wait_for_slot() for _ in range(20)))

    asyncio.run(all_of_them())
    assert len(times) == 20
    assert not any(start < time < end - ROUNDING for start, end in asked for time in times)
    assert min(gaps(times)) >= 0.05 * HEADROOM - LATENESS_MADE_GOOD - ROUNDING
