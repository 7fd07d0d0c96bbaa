"""The pace: evenly spaced slots on a clock of the tests' own, so that nothing here sleeps.

What is promised, with `gap` for `gap_of` the ceiling and `late` for LATENESS_MADE_GOOD: a slot lies in the `late`
seconds from a moment of its own, and these moments are at least `gap` apart. So the k-th slot after any slot comes at
least `k * gap - late` later. N gaps of N requests per P are at least `P + late`: no half-open stretch of P seconds
holds an N+1st, whatever the rate.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkredeem.errors import Stopping
from bulkredeem.model import Ceiling, Rate
from bulkredeem.pace import HEADROOM, LATENESS_MADE_GOOD, KeyState, Memory, Pace, gap_of
from bulkredeem.pace.knee import ANSWERS, SECONDS
from bulkredeem.pace.limit import Teaches
from bulkredeem.pace.pacing import LOOKED_AT
from bulkredeem.pace.state import Slots, give_back, is_last, pause, postpone, reserve

ROUNDING = 1e-7
"""Seconds that adding floats may cost."""
ONE_A_SECOND = 1.0 + LATENESS_MADE_GOOD
"""Seconds from one slot to the next at 1/s."""


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


class Shared(Memory):
    """A state that others change, too: another process may be at it, and a disk may be slow."""

    def __init__(self, clock: Clock) -> None:
        """Begin with nothing known, and nobody at it."""
        super().__init__()
        self._clock = clock
        self.busy = 0
        """How many of the next changes find another process at it."""
        self.takes: Callable[[], float] = lambda: 0.0
        """Says how many seconds a change takes."""

    def change(self, change: Callable[[KeyState], KeyState]) -> KeyState:
        """Change the state, unless another process is at it."""
        if self.busy:
            self.busy -= 1
            return None  # type: ignore[return-value]  # a `Store` may
        state = super().change(change)
        self._clock.now += self.takes()
        return state


def pace_of(rate: str, clock: Clock, store: Memory | None = None) -> Pace:
    """Build a pace on a clock of ours."""
    return Pace(Ceiling.parse(rate), store=store, clock=clock, sleep=clock.sleep)


def gap_at(rate: str) -> float:
    """Return the seconds between two slots."""
    return gap_of(Ceiling.parse(rate))


async def take(pace: Pace, clock: Clock, count: int) -> list[float]:
    """Take so many slots one after another, and return when."""
    times = []
    for _ in range(count):
        times.append(await pace.slot())
        assert times[-1] == clock.now
    return times


def gaps(times: list[float]) -> list[float]:
    """Return the time between each two neighbours."""
    return [after - before for before, after in itertools.pairwise(times)]


def are_even(times: list[float], gap: float, rounding: float = ROUNDING) -> bool:
    """Whether slots are evenly spaced; the first, free since long, may count as used a little before it was."""
    offset = times[-1] - times[0] - (len(times) - 1) * gap
    due = [max(times[0], times[0] + offset + each * gap) for each in range(len(times))]
    return -LATENESS_MADE_GOOD - rounding <= offset <= rounding and times == pytest.approx(due, rel=0, abs=rounding)


def shortest(times: Sequence[float], count: int) -> float:
    """Return the seconds of the shortest stretch from a slot to the `count`-th after it."""
    return min((after - before for before, after in zip(times, times[count:], strict=False)), default=float("inf"))


async def test_the_first_slot_is_there_at_once() -> None:
    """Nobody waits for nothing."""
    clock = Clock()
    assert await pace_of("1/hour", clock).slot() == 1000.0
    assert clock.slept == []


@pytest.mark.parametrize("rate", ["100/min", "20/s", "5000/hour", "1/s", "1000/s", "5000/s", "1/hour"])
async def test_slots_are_evenly_spaced_from_the_first_on(rate: str) -> None:
    """There is no burst, not even at the start, but for what may be made good."""
    clock = Clock()
    times = await take(pace_of(rate, clock), clock, 300)
    assert are_even(times, gap_at(rate))


@pytest.mark.parametrize(
    ("rate", "gap"),
    [
        ("100/min", 0.6 * (1 + HEADROOM)),
        ("1/hour", 3600 * (1 + HEADROOM)),
        ("20/s", 0.05 + LATENESS_MADE_GOOD / 20),
        ("5000/s", 0.0002 + LATENESS_MADE_GOOD / 5000),
        ("20/s,1000/min", 0.06 * (1 + HEADROOM)),
        ("1000/min,20/s,5000/hour", 0.72 * (1 + HEADROOM)),
        ("none", 0.0),
        ("auto", 0.0),
    ],
)
def test_the_tightest_rate_spaces_the_slots(rate: str, gap: float) -> None:
    """A period and its headroom, divided among the requests; of several rates the slowest."""
    assert gap_at(rate) == pytest.approx(gap)


async def test_the_documented_minute_never_holds_more_than_the_documented_hundred() -> None:
    """100/min is the platform's limit, and the first minute is where leaky buckets burst."""
    clock = Clock()
    times = await take(pace_of("100/min", clock), clock, 500)
    assert shortest(times, 100) > 60.1


@pytest.mark.parametrize("rate", ["20/s,1000/min", "1000/min,20/s", "100/s,300/min,10000/hour"])
async def test_several_rates_are_all_kept(rate: str) -> None:
    """What is quick for a second may be too much for an hour."""
    clock = Clock()
    times = await take(pace_of(rate, clock), clock, 4_000)
    for each in Ceiling.parse(rate).rates:
        assert shortest(times, int(each.requests)) >= each.per_seconds


async def test_unused_time_is_gone() -> None:
    """After an hour without requests the next ones are as far apart as ever."""
    clock = Clock()
    pace = pace_of("100/min", clock)
    await take(pace, clock, 3)
    clock.now += 3600
    slept = len(clock.slept)
    times = await take(pace, clock, 50)
    assert len(clock.slept) - slept == 49
    assert min(gaps(times)) > gap_at("100/min") - LATENESS_MADE_GOOD - ROUNDING
    assert sum(gaps(times)) > 49 * gap_at("100/min") - LATENESS_MADE_GOOD - ROUNDING


@pytest.mark.parametrize(
    ("rate", "slots"), [("1/hour", 1_000), ("100/min", 18_000), ("20/s", 5_000), ("700/s", 5_000), ("5000/s", 10_000)]
)
async def test_no_slot_is_lost(rate: str, slots: int) -> None:
    """Timers wake a little late each time; over thousands of requests, three hours at 100/min, that costs no slot."""
    chance = random.Random(rate)  # noqa: S311
    clock = Clock(late=lambda: chance.uniform(0, LATENESS_MADE_GOOD * 0.999))
    times = await take(pace_of(rate, clock), clock, slots)
    assert times[-1] - times[0] == pytest.approx((slots - 1) * gap_at(rate), abs=LATENESS_MADE_GOOD, rel=0)


async def test_what_was_late_beyond_the_tolerance_is_not_made_good() -> None:
    """A loop that hung for a second does not send that second's requests in one go."""
    late = iter([0.0, 0.0, 1.0])
    clock = Clock(late=lambda: next(late, 0.0))
    times = await take(pace_of("20/s", clock), clock, 20)
    gap = gap_at("20/s")
    assert are_even(times[:3], gap)
    assert times[3] - times[2] == pytest.approx(gap + 1.0)
    assert are_even(times[3:], gap)


async def test_a_slot_that_was_missed_is_used_late_when_nobody_else_wants_one() -> None:
    """Who wakes a fifth of a second late at one request a second goes then, not a second later."""
    late = iter([0.2])
    clock = Clock(late=lambda: next(late, 0.0))
    times = await take(pace_of("1/s", clock), clock, 5)
    assert times[1] - times[0] == pytest.approx(ONE_A_SECOND + 0.2, abs=LATENESS_MADE_GOOD)
    assert are_even(times[1:], ONE_A_SECOND)


async def test_a_loop_that_hung_at_a_high_rate_makes_no_burst() -> None:
    """Also slots that were reserved together are given back when they were missed."""
    late = iter([0.0] * 50 + [1.0])
    clock = Clock(late=lambda: next(late, 0.0))
    times = await take(pace_of("5000/s", clock), clock, 6_000)
    after = next(index for index, gap in enumerate(gaps(times)) if gap > 0.5)
    assert times[after + 1000] - times[after + 1] >= 999 * gap_at("5000/s") - LATENESS_MADE_GOOD - ROUNDING


async def test_no_limit_means_no_waiting() -> None:
    """`none` hands out slots as fast as they are asked for."""
    clock = Clock()
    await take(pace_of("none", clock), clock, 1000)
    assert clock.slept == []


async def test_a_pause_holds_even_without_a_limit() -> None:
    """What the platform asks for beats what we were told to aim for, also when requests are flowing."""
    clock = Clock()
    pace = pace_of("none", clock)
    await take(pace, clock, 3)
    pace.pause(30)
    assert await take(pace, clock, 2) == [1030.0, 1030.0]


async def test_those_who_wait_are_served_in_the_order_they_came() -> None:
    """No request is overtaken for ever."""
    clock = Clock()
    pace = pace_of("1/s", clock)
    served = []

    async def wait_for_slot(name: int) -> None:
        served.append((name, await pace.slot()))

    await asyncio.gather(*map(wait_for_slot, range(5)))
    assert [name for name, _ in served] == [0, 1, 2, 3, 4]
    assert are_even([time for _, time in served], ONE_A_SECOND)


async def test_a_pause_moves_everybody_who_waits() -> None:
    """One throttled reply holds back the whole key: the one asleep, those behind, and those who come later."""
    clock = Clock()
    pace = pace_of("1/s", clock)
    times = []

    async def wait_for_slot() -> None:
        times.append(await pace.slot())
        if len(times) == 2:
            pace.pause(60)

    await asyncio.gather(*(wait_for_slot() for _ in range(5)))
    assert are_even(times[:2], ONE_A_SECOND)
    assert times[2] - times[1] == pytest.approx(60)
    assert gaps(times[2:]) == pytest.approx([ONE_A_SECOND] * 2)


async def test_a_pause_asked_for_during_a_sleep_is_kept() -> None:
    """Who wakes up looks again before going."""
    clock = Clock()
    pace: Pace

    async def sleep(seconds: float) -> None:
        if len(clock.slept) == 0:
            pace.pause(10)
        await clock.sleep(seconds)

    pace = Pace(Ceiling.parse("1/s"), clock=clock, sleep=sleep)
    assert await take(pace, clock, 2) == [1000.0, 1010.0]
    assert len(clock.slept) == 2


async def test_a_pause_that_could_not_be_written_down_at_once_is_kept() -> None:
    """Another process is at the state when the platform asks to wait: the slot held already is not used meanwhile."""
    clock = Clock()
    store = Shared(clock)
    pace: Pace

    async def sleep(seconds: float) -> None:
        if len(clock.slept) == 0:
            store.busy = 1
            pace.throttled(clock.now, 10.0)
        await clock.sleep(seconds)

    pace = Pace(Ceiling.parse("1/s"), store=store, clock=clock, sleep=sleep)
    assert await take(pace, clock, 2) == [1000.0, 1010.0]


async def test_another_process_that_is_at_the_state_is_waited_for() -> None:
    """However long it takes: others of this process may run meanwhile, and the slot comes then."""
    clock = Clock()
    store = Shared(clock)
    store.busy = 500
    assert await pace_of("1/s", clock, store).slot() == pytest.approx(1000.5)
    assert len(clock.slept) == 500


async def test_a_slow_disk_makes_no_slot_late_unseen() -> None:
    """The file's page is being written back for 30 ms when a slot is taken: that is a slot missed, not used late."""
    clock = Clock()
    store = Shared(clock)
    slow = itertools.cycle([0.03, *[0.0] * 9])
    store.takes = lambda: next(slow)
    times = await take(pace_of("100/s", clock, store), clock, 500)
    for count in (1, 2, 5, 50, 100):
        assert shortest(times, count) >= count * gap_at("100/s") - LATENESS_MADE_GOOD - ROUNDING
    assert shortest(times, 100) >= 1.0


async def test_a_disk_that_is_always_slow_is_allowed_for_from_the_second_miss_on() -> None:
    """One miss may be chance; after two in a row a slot may be used later by half as much again as it was missed by."""
    clock = Clock()
    store = Shared(clock)
    slow = iter([0.03] * 3)
    store.takes = lambda: next(slow)
    assert await pace_of("1/s", clock, store).slot() == pytest.approx(1000.09)


@pytest.mark.parametrize("rate", [1, 20, 300])
async def test_time_that_passes_while_a_slot_is_taken_is_no_exception(rate: int) -> None:
    """A real clock goes on between two looks at it: a second after any moment of the N-th slot none is too early."""
    clock = Clock()
    chance = random.Random(rate)  # noqa: S311

    def ticking() -> float:
        clock.now += chance.choice([1e-6, 1e-5, 1e-4])
        return clock.now

    pace = Pace(Ceiling.parse(f"{rate}/s"), clock=ticking, sleep=clock.sleep)
    times = []
    for _ in range(10):
        clock.now += 100.0
        times += [await pace.slot() for _ in range(rate + 1)]
    assert shortest(times, rate) >= 1.0


async def test_a_shorter_pause_does_not_shorten_a_longer_one() -> None:
    """The longest of all that were asked for counts, and one of no length changes nothing."""
    clock = Clock()
    pace = pace_of("1/s", clock)
    for seconds in (20.0, 5.0, 0.0, -3.0):
        pace.pause(seconds)
    assert pace.paused_for == 20.0
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


def pace_that_sends_one_home(clock: Clock) -> Pace:
    """Build a pace of one a second whose first sleep ends as that of a draining run does."""
    stopping = [True]

    async def sleep(seconds: float) -> None:
        if stopping:
            stopping.clear()
            raise Stopping
        await clock.sleep(seconds)

    return Pace(Ceiling.parse("1/s"), clock=clock, sleep=sleep)


async def test_who_is_sent_home_takes_no_slot() -> None:
    """A sleep that raises ends the waiting, and the next waiter gets the slot at its time."""
    clock = Clock()
    pace = pace_that_sends_one_home(clock)
    await pace.slot()
    first, second = await asyncio.gather(pace.slot(), pace.slot(), return_exceptions=True)
    assert isinstance(first, Stopping)
    assert isinstance(second, float)
    assert are_even([1000.0, second], ONE_A_SECOND)


async def test_a_slot_that_nobody_came_for_is_reserved_anew() -> None:
    """Who is sent home leaves a slot behind; an hour later it is not followed by a second one at once."""
    clock = Clock()
    pace = pace_that_sends_one_home(clock)
    await pace.slot()
    with pytest.raises(Stopping):
        await pace.slot()
    clock.now = 4600.0
    times = await take(pace, clock, 3)
    assert times[0] == 4600.0
    assert are_even(times, ONE_A_SECOND)


async def test_who_is_cancelled_takes_no_slot() -> None:
    """A cancelled waiter does not block those behind it, whether it slept or stood in the queue."""
    clock = Clock()
    woken = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await woken.wait()
        await clock.sleep(seconds)

    pace = Pace(Ceiling.parse("1/s"), clock=clock, sleep=sleep)
    await pace.slot()
    waiting = [asyncio.create_task(pace.slot()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[1].cancel()
    woken.set()
    first, second, third = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(first, asyncio.CancelledError)
    assert isinstance(second, asyncio.CancelledError)
    assert isinstance(third, float)
    assert are_even([1000.0, third], ONE_A_SECOND)


RATES = st.lists(
    st.builds("{}/{}".format, st.integers(1, 60) | st.integers(1, 5_000), st.sampled_from(["s", "min", "hour"])),
    min_size=1,
    max_size=3,
)
WAITS = [0.0, 0.0, 0.0, 1e-4, 0.0049, 0.005, 0.01, 0.05, 0.7, 3.0, 100.0, 5_000.0]
LATE = [0.0, 0.0, 1e-4, 0.0049, 0.005, 0.0051, 0.2, 5.0]


@given(
    rates=RATES,
    idle=st.lists(st.sampled_from(WAITS), min_size=2, max_size=130),
    late=st.lists(st.sampled_from(LATE), min_size=1, max_size=10),
)
@example(rates=["20/s"], idle=[0.0] * 60, late=[0.005, *[0.0] * 19])
@example(rates=["100/min"], idle=[0.0] * 130, late=[0.005, *[0.0] * 99])
@example(rates=["30/s", "60/min"], idle=[0.0] * 130, late=[0.005, 0.0])
def test_no_stretch_of_time_holds_more_slots_than_promised(
    rates: list[str], idle: list[float], late: list[float]
) -> None:
    """Whatever the rates, the arrivals and the lateness of timers, the promise at the top of this file holds."""
    lateness = itertools.cycle(late)
    clock = Clock(late=lambda: next(lateness))
    pace = pace_of(",".join(rates), clock)

    async def arrive() -> list[float]:
        times = []
        for seconds in idle:
            clock.now += seconds
            times.append(await pace.slot())
        return times

    times = asyncio.run(arrive())
    gap = gap_at(",".join(rates))
    for count in range(1, len(times)):
        assert shortest(times, count) >= count * gap - LATENESS_MADE_GOOD - ROUNDING
    for rate in map(Rate.parse, rates):
        assert shortest(times, int(rate.requests)) >= rate.per_seconds - ROUNDING


@pytest.mark.parametrize("late", [[0.005, *[0.0] * 998], [0.0049, 0.0, 0.0012, 0.2, 0.0], [0.0051, 0.0]])
async def test_no_second_holds_more_than_its_thousands(late: list[float]) -> None:
    """The same at 1,000/s and 5,000/s, where slots are reserved in bundles and lateness is worth several of them."""
    for requests in (1_000, 5_000):
        lateness = itertools.cycle(late)
        clock = Clock(late=lateness.__next__)
        times = await take(pace_of(f"{requests}/s", clock), clock, 3 * requests)
        assert shortest(times, requests) >= 1.0 - ROUNDING


@given(
    pauses=st.lists(st.tuples(st.integers(0, 19), st.sampled_from([0.0, 0.5, 2.0, 30.0])), max_size=5),
    late=st.sampled_from([0.0, 0.004, 0.5]),
    rate=st.sampled_from(["20/s", "5000/s", "none"]),
)
def test_nobody_goes_during_a_pause(pauses: list[tuple[int, float]], late: float, rate: str) -> None:
    """Whenever pauses are asked for, no slot lies inside one, and the rate holds around them."""
    clock = Clock(late=lambda: late)
    pace = pace_of(rate, clock)
    asked: list[tuple[float, float]] = []
    times: list[float] = []

    async def wait_for_slot() -> None:
        times.append(await pace.slot())
        for after, seconds in pauses:
            if len(times) == after:
                pace.pause(seconds)
                asked.append((clock.now, clock.now + seconds))

    async def all_of_them() -> None:
        await asyncio.gather(*(wait_for_slot() for _ in range(20)))

    asyncio.run(all_of_them())
    assert len(times) == 20
    assert not any(start < time < end - ROUNDING for start, end in asked for time in times)
    for count in range(1, 20):
        assert shortest(times, count) >= count * gap_at(rate) - LATENESS_MADE_GOOD - ROUNDING


# The rules of a key's state


KEY = KeyState(due=10.0, taken=5, grown=2)


@pytest.mark.parametrize(
    ("changes", "now", "at"),
    [
        ({}, 9.0, 10.0),
        ({}, 10.004, 10.0),
        ({"due": 9.5, "paused_until": 0.0}, 10.0, 10.0),
        ({"paused_until": 12.0}, 9.0, 12.0),
        ({"paused_until": 9.5}, 9.0, 10.0),
    ],
    ids=["when it is due", "hardly late", "unused time is gone", "after a pause", "a pause that is over"],
)
def test_the_next_slot_is_when_it_is_due(changes: dict[str, Any], now: float, at: float) -> None:
    """A slot that lies a little in the past is used all the same; none lies in a pause."""
    state, slots = reserve(replace(KEY, **changes), now, 0.05)
    assert slots == Slots(at=at, gap=0.05, left=1, slack=0.0, next_due=at + 0.05)
    assert state == replace(KEY, **changes | {"due": at + 0.05}, taken=6)


def test_a_slot_exactly_as_late_as_is_made_good_is_used() -> None:
    """A moment later it is gone."""
    due = 1.0 - LATENESS_MADE_GOOD
    assert reserve(KeyState(due=due), 1.0, 0.05)[1].at == due
    assert reserve(KeyState(due=due - 1e-9), 1.0, 0.05)[1].at == 1.0


@pytest.mark.parametrize(("gap", "left"), [(0.0, 1), (0.05, 1), (0.002, 1), (0.001, 2), (0.0005, 4)])
def test_at_high_rates_slots_are_reserved_together(gap: float, left: int) -> None:
    """As many as two milliseconds hold; those that only the learnt rate holds back are counted as grown."""
    state, slots = reserve(KEY, 9.0, gap, slack=0.01, grows=True)
    assert slots == Slots(at=10.0, gap=gap, left=left, slack=0.01, next_due=10.0 + left * gap + 0.01)
    assert state == replace(KEY, due=slots.next_due, taken=5 + left, grown=2 + left)


def test_slots_that_were_reserved_together_are_used_one_after_the_other() -> None:
    """Each a gap after the one before, and after the last there is none."""
    slots = Slots(at=10.0, gap=0.5, left=2, slack=0.25, next_due=11.0)
    rest = slots.rest()
    assert rest == Slots(at=10.5, gap=0.5, left=1, slack=0.25, next_due=11.0)
    assert rest.rest() is None
    assert slots.until == 10.0 + LATENESS_MADE_GOOD + 0.25


def test_slots_that_nobody_used_are_given_back() -> None:
    """They are free again, and count neither as taken nor as grown; lost are those behind which others stand."""
    slots = Slots(at=10.0, gap=0.5, left=2, slack=0.0, next_due=11.0)
    state = KeyState(due=11.0, taken=7, grown=6)
    assert is_last(state, slots)
    assert give_back(state, slots) == KeyState(due=10.0, taken=5, grown=6)
    assert give_back(state, slots, grew=True) == KeyState(due=10.0, taken=5, grown=4)
    assert give_back(KeyState(due=11.0, taken=1, grown=1), slots, grew=True) == KeyState(due=10.0)
    behind = replace(state, due=11.5)
    assert not is_last(behind, slots)
    assert give_back(behind, slots, grew=True) == behind


def test_the_longest_of_all_pauses_and_the_latest_of_all_delays_count() -> None:
    """A shorter one changes nothing."""
    assert pause(KEY, 12.0) == replace(KEY, paused_until=12.0)
    assert pause(replace(KEY, paused_until=13.0), 12.0).paused_until == 13.0
    assert postpone(KEY, 12.0) == replace(KEY, due=12.0)
    assert postpone(KEY, 9.0) == KEY


async def test_only_auto_heeds_what_is_too_much() -> None:
    """What goes is as far too much as the platform keeps up with it; said without a share, it is all too much."""
    for rate, gap in (("auto", 0.6 / 0.88 / 0.8), ("100/min", gap_at("100/min")), ("none", 0.0)):
        clock = Clock()
        pace = pace_of(rate, clock)
        await take(pace, clock, 1)
        before = pace.gap
        pace.strained(clock.now)
        assert pace.gap == pytest.approx(before / 0.88 / 0.8 if rate == "auto" else gap), rate


async def test_a_try_that_is_throttled_holds_up_also_who_has_no_limit() -> None:
    """Between two looks at the state slots cost nothing; after a throttled try it is looked at, at once."""
    clock = Clock()
    pace = pace_of("none", clock)
    await take(pace, clock, 1)
    pace.throttled(clock.now, 5.0)
    assert await pace.slot() == pytest.approx(1005.0)


async def test_a_row_that_is_throttled_again_teaches_the_pace_nothing() -> None:
    """What a throttled try teaches is handed on: it may be the row, and all others may go as before."""
    clock = Clock()
    pace = pace_of("100/min", clock)
    await take(pace, clock, 1)
    pace.throttled(clock.now, 5.0, Teaches.NOTHING)
    assert pace.gap == gap_at("100/min")
    assert pace.paused_for == pytest.approx(5.0)


async def test_auto_falls_to_what_is_kept_up_with_and_lets_the_queue_be_worked_off() -> None:
    """Half is answered, and ever later: half the rate, no refusal, and no slot before what waits inside is answered."""
    clock, store = Clock(), Memory()
    pace = pace_of("auto", clock, store)
    before = 0.0
    for share, latency in ((1.0, 0.1), (0.8, 0.2), (0.5, 0.3)):
        await take(pace, clock, round(ANSWERS / share))
        before = 1 / pace.gap
        clock.now += SECONDS
        for _ in range(ANSWERS):
            pace.answered(clock.now - latency)
    state = store.look()
    assert (state.refusals, state.taken, state.grown, state.refused_at) == (0, 0, 0, clock.now)
    assert state.peak == pytest.approx(before / 2)
    assert state.due == pytest.approx(clock.now + 0.3 - 1.002 * 1.002 * 0.1)


async def test_auto_begins_at_the_documented_rate_and_grows_with_what_it_held_back() -> None:
    """100 a minute; the first slot was free since long and says nothing, nor does one that is asked for too late."""
    clock, store = Clock(), Memory()
    pace = pace_of("auto", clock, store)
    assert await take(pace, clock, 4) == pytest.approx([1000.0, 1000.6, 1001.2, 1001.2 + 1 / (100 / 60 + 0.7)])
    for late, grown in ((0.003, 4), (0.007, 4)):
        clock.now = store.look().due + late
        await take(pace, clock, 1)
        assert store.look().grown == grown


async def test_slots_between_two_looks_are_counted_at_the_next_one() -> None:
    """Without a limit the state is asked a hundred times a second at most, and yet knows how many slots were taken."""
    clock, store = Clock(), Memory()
    pace = pace_of("none", clock, store)
    await take(pace, clock, 5)
    assert store.look().taken == 1
    clock.now += LOOKED_AT
    await take(pace, clock, 1)
    assert store.look().taken == 6


async def test_what_is_noted_before_a_slot_costs_no_time_when_nobody_else_is_at_the_state() -> None:
    """Only another process is waited for."""
    clock = Clock()
    store = Shared(clock)
    pace = pace_of("1/s", clock, store)
    store.busy = 1
    pace.pause(0.0)
    assert await pace.slot() == 1000.0
    assert clock.slept == []
