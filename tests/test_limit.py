"""What the platform allows is learnt from what it throttles: the rules, and how they do on simulated platforms.

The platforms are in `scenarios`, a file for each shape: what the platform does, what runs are told, and what they must
reach. Their time is virtual.
"""

from __future__ import annotations

import asyncio
import math
import random
import tomllib
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.model import Ceiling, Rate
from bulkredeem.pace import LATENESS_MADE_GOOD, PAUSE_LEAST, PAUSE_MOST, KeyState, Memory, Pace, Teaches, gap_of
from bulkredeem.pace.limit import (
    AUTO_FIRST,
    DEPTH,
    LEAST_SHARE,
    MARGIN,
    MOST,
    ROWS_TO_PEAK,
    accept,
    allowed,
    rate_of,
    strain,
    throttle,
)

Virtually = Callable[[Coroutine[Any, Any, Any]], Any]
SCENARIOS = Path(__file__).with_name("scenarios")
LATENCIES = [0.001, 0.1]
"""Seconds from a try to its answer when nothing is amiss, give or take half of it."""
WORKERS = 800
"""More than are ever needed: the pace alone decides."""


def now() -> float:
    """Return the virtual time."""
    return asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class Throttled:
    """What a platform says to a request that comes too soon."""

    asked: float = 0.0
    """The seconds after which to come again, as Retry-After says; 0.0 for nothing said."""


class Platform(Protocol):
    """A simulated platform."""

    def ask(self) -> float | Throttled:
        """Take a request that has arrived; return the seconds until it is answered, or that it is throttled."""


Steps = list[tuple[float, float]]
"""From which moment on how many requests a second are let in."""


def in_force(steps: Steps) -> float:
    """Return how many requests a second are let in now."""
    return next(per_second for since, per_second in reversed(steps) if since <= now())


@dataclass
class Bucket:
    """Lets so many in at once, and then evenly so many a second: nginx's `limit_req` with `nodelay`."""

    per_second: Steps
    at_once: int
    _excess: float = 0.0
    _last: float = 0.0

    def ask(self) -> float | Throttled:
        """Let in what leaves the bucket less than full."""
        excess = max(0.0, self._excess - (now() - self._last) * in_force(self.per_second))
        is_full = excess > self.at_once
        self._excess, self._last = excess + (not is_full), now()
        return Throttled() if is_full else 0.0


@dataclass
class Queue:
    """Lets requests wait until they are so many a second, and throttles when too many wait: `limit_req` with delay."""

    per_second: Steps
    longest: int
    _free: float = 0.0

    def ask(self) -> float | Throttled:
        """Let it wait behind those before it."""
        if (self._free - now()) * in_force(self.per_second) > self.longest:
            return Throttled()
        self._free = max(self._free, now()) + 1 / in_force(self.per_second)
        return self._free - now()


@dataclass
class Hands:
    """Works on so many at a time, and lets all others wait: it never throttles."""

    hands: int
    seconds_each: float
    per_second: Steps
    _free: deque[float] = field(default_factory=deque)

    def ask(self) -> float | Throttled:
        """Give it to the hand that is free first."""
        begins = max(now(), self._free.popleft()) if len(self._free) == self.hands else now()
        self._free.append(begins + self.seconds_each)
        return begins + self.seconds_each - now()


@dataclass
class Window:
    """Lets so many in per stretch of time: of any stretch, or of those between two full minutes."""

    requests: int
    seconds: float
    is_fixed: bool
    says_when: bool
    _let_in: deque[float] = field(default_factory=deque)

    def ask(self) -> float | Throttled:
        """Let in what is not too much, and tell when there is room again, if it is told at all."""
        while self._let_in and self._ends(self._let_in[0]) <= now():
            self._let_in.popleft()
        if len(self._let_in) < self.requests:
            self._let_in.append(now())
            return 0.0
        return Throttled(math.ceil(self._ends(self._let_in[0]) - now()) if self.says_when else 0.0)

    def _ends(self, begun: float) -> float:
        return (begun // self.seconds + 1) * self.seconds if self.is_fixed else begun + self.seconds


KINDS: dict[str, Callable[..., Platform]] = {"bucket": Bucket, "queue": Queue, "hands": Hands}


@dataclass(frozen=True, slots=True)
class Answered:
    """How one try ended."""

    at: float
    is_accepted: bool
    took: float


async def run(
    platform: Platform,
    rate: str,
    *,
    seconds: float,
    latency: float = 0.05,
    store: Memory | None = None,
    seed: int = 1,
    workers: int = WORKERS,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> tuple[list[Answered], Pace]:
    """Send rows for so many seconds, each again until it is accepted; return what became of all tries, and the pace."""
    chance = random.Random(seed)  # noqa: S311
    pace = Pace(Ceiling.parse(rate), store=store, clock=now, sleep=sleep)
    tries: list[Answered] = []
    end = now() + seconds

    async def send() -> float | Throttled:
        way = latency * chance.uniform(0.25, 0.75)
        await asyncio.sleep(way)
        answer = platform.ask()
        await asyncio.sleep(way + (0.0 if isinstance(answer, Throttled) else answer))
        return answer

    async def deliver_rows() -> None:
        throttled = 0
        while now() < end:
            sent_at = await pace.slot()
            answer = await send()
            tries.append(Answered(now(), not isinstance(answer, Throttled), now() - sent_at))
            if isinstance(answer, Throttled):
                throttled += 1
                pace.throttled(sent_at, answer.asked, Teaches.LIMIT if throttled == 1 else Teaches.NOTHING)
            else:
                throttled = 0
                pace.answered(sent_at)

    await asyncio.gather(*(deliver_rows() for _ in range(workers)))
    return tries, pace


SHAPES = {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(SCENARIOS.glob("*.toml"))}
CASES = [
    pytest.param(name, told, latency, id=f"{name}, {told['rate']}, {latency:g} s")
    for name, shape in SHAPES.items()
    for told in shape["run"]
    for latency in LATENCIES
]


def test_the_four_shapes_are_there() -> None:
    """A scenario that is not found would be one that always passes."""
    assert set(SHAPES) == {"limit", "drop", "knee", "defer"}


@pytest.mark.parametrize(("name", "told", "latency"), CASES)
def test_a_platform_is_used_as_far_as_it_allows(
    name: str, told: dict[str, Any], latency: float, virtually: Virtually
) -> None:
    """Limit, drop, knee and defer: nearly all that the platform allows is used, and hardly anything is throttled."""
    made_of, reached = dict(SHAPES[name]["platform"]), SHAPES[name]["reached"]
    platform = KINDS[made_of.pop("kind")](**made_of)
    seed = zlib.crc32(f"{name} {told} {latency}".encode())
    tries, pace = virtually(run(platform, told["rate"], seconds=told["seconds"], latency=latency, seed=seed))
    looked_at = [each for each in tries if told["measured_from"] <= each.at < told["seconds"]]
    accepted = sum(each.is_accepted for each in looked_at)
    allows = made_of["per_second"][-1][1]
    assert accepted >= reached["share_used"] * allows * (told["seconds"] - told["measured_from"])
    assert len(looked_at) - accepted <= reached["throttled_per_thousand"] * len(looked_at) / 1000
    least, most = reached["allowed"]
    assert least <= pace.allowed <= most
    assert Rate.about(pace.allowed).text.endswith("/s")
    assert sum(each.took for each in looked_at) / len(looked_at) <= told.get("waits_at_most", 0.01) + latency


@pytest.mark.parametrize("says_when", [True, False], ids=["with Retry-After", "without"])
@pytest.mark.parametrize("is_fixed", [True, False], ids=["fixed", "sliding"])
def test_a_window_is_learnt_to_within_a_few_percent(is_fixed: bool, says_when: bool, virtually: Virtually) -> None:  # noqa: FBT001
    """Told 100/min where 60 are let in each minute, a run ends up near 60/min, and says so."""
    platform = Window(60, 60.0, is_fixed=is_fixed, says_when=says_when)
    tries, pace = virtually(run(platform, "100/min", seconds=2_400))
    last = [each for each in tries if 600 <= each.at < 2_400]
    accepted = sum(each.is_accepted for each in last)
    assert accepted >= 0.95 * 1_800
    assert len(last) - accepted <= 0.005 * len(last)
    assert pace.allowed == pytest.approx(1.0, rel=0.05)
    said = Rate.about(pace.allowed)
    assert said.text == f"{said.requests:.0f}/min"
    assert 57 <= said.requests <= 63


def test_a_limit_that_is_raised_again_is_found_out(virtually: Virtually) -> None:
    """From 50/s the pace creeps back to its ceiling, and then nothing is left to be said about the platform."""
    platform = Bucket([(0, 200), (15, 50), (45, 200)], at_once=20)
    tries, pace = virtually(run(platform, "200/s", seconds=110, latency=0.01))
    assert pace.gap == gap_of(Ceiling.parse("200/s"))
    assert pace.allowed == math.inf
    assert sum(105 <= each.at < 110 for each in tries) == pytest.approx(5 / pace.gap, abs=2)


def test_what_was_learnt_is_there_for_the_next_run(virtually: Virtually) -> None:
    """A second run on the same state begins at the rate the first one ended with, hours later, and is not throttled."""
    store, platform = Memory(), Bucket([(0, 200)], at_once=20)

    async def two_nights() -> tuple[float, list[Answered], Pace]:
        await run(platform, "300/s", seconds=10, store=store, workers=100)
        await asyncio.sleep(80_000)
        began = now()
        return began, *await run(platform, "300/s", seconds=2, store=store, workers=100)

    began, tries, pace = virtually(two_nights())
    assert 180 <= 1 / pace.gap <= 215
    assert 2 * 180 <= sum(each.at < began + 2 for each in tries) <= 2 * 215
    assert sum(not each.is_accepted for each in tries) <= 2


@pytest.mark.parametrize("rate", ["300/s", "auto"])
def test_a_slow_night_teaches_nothing_about_faster_ones(rate: str, virtually: Virtually) -> None:
    """2,500 rows at 100/min are no proof that the platform would have let in more: what was learnt before stands."""
    store = Memory()

    async def nights() -> float:
        await run(Bucket([(0, 50)], at_once=10), "300/s", seconds=20, store=store)
        await run(Bucket([(0, 50)], at_once=10), "100/min", seconds=1_500, store=store, workers=3)
        pace = Pace(Ceiling.parse(rate), store=store, clock=now)
        await pace.slot()
        return 1 / pace.gap

    assert 40 <= virtually(nights()) <= 60


def test_auto_begins_slowly_also_after_slow_nights(virtually: Virtually) -> None:
    """A key that was never throttled, at a rate that could not be, is one of which nothing is known."""
    store = Memory()

    async def nights() -> float:
        await run(Bucket([(0, 50)], at_once=10), "100/min", seconds=1_500, store=store, workers=3)
        pace = Pace(Ceiling.parse("auto"), store=store, clock=now)
        await pace.slot()
        return 1 / pace.gap

    assert virtually(nights()) <= 2 * AUTO_FIRST


@pytest.mark.parametrize("late", [0.0, 0.004, 0.006, 0.02])
def test_timers_that_are_late_do_not_keep_the_rate_down(late: float, virtually: Virtually) -> None:
    """On a machine whose timers always wake late, beyond what is made good, too, `auto` rises and creeps back."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds + late)

    platform = Bucket([(0, 40)], at_once=10)
    tries, _ = virtually(run(platform, "auto", seconds=60, sleep=sleep))
    expected = 1 / (1 / 40 + max(0.0, late - LATENESS_MADE_GOOD))
    assert sum(20 <= each.at < 60 for each in tries) >= 0.9 * 40 * expected


FLOWING = KeyState(peak=100.0, taken=5_000, refused_at=50.0, refused_since=50.0, refused_rate=100.0)
"""A key that was throttled at 100/s once, long ago."""


def test_the_first_throttled_try_lowers_the_rate_a_little() -> None:
    """It falls by `DEPTH` below what went, not to a half: beyond that lies what the platform still lets in."""
    state = throttle(FLOWING, now=60.0, sent_at=59.9, rate=120.0, asked=0.0)
    assert rate_of(state, auto=False) == pytest.approx(120 * (1 - DEPTH))
    assert allowed(state) == pytest.approx(120 / MARGIN)


def test_what_was_sent_before_the_last_refusal_teaches_nothing() -> None:
    """A hundred tries that were under way when the first was throttled are one piece of news, not a hundred."""
    once = throttle(FLOWING, now=60.0, sent_at=59.9, rate=120.0, asked=0.0)
    often = reduce(lambda state, _: throttle(state, now=60.05, sent_at=59.99, rate=120.0, asked=0.0), range(100), once)
    assert often == replace(once, taken=often.taken)
    assert accept(once, sent_at=59.99) == once


def test_how_long_to_wait_is_heard_also_from_stale_news() -> None:
    """What Retry-After asks for holds, whenever the try was sent that it answers."""
    once = throttle(FLOWING, now=60.0, sent_at=59.9, rate=120.0, asked=0.0)
    assert throttle(once, now=60.0, sent_at=59.9, rate=120.0, asked=7.0).paused_until == 67.0


def test_a_row_that_is_throttled_again_does_not_slow_the_others_down() -> None:
    """If others are accepted in between it may be the row: everybody pauses a moment, at the same rate as before."""
    state = FLOWING
    for moment in range(60, 80):
        rate = rate_of(state, auto=False)
        state = throttle(state, now=moment, sent_at=moment - 0.1, rate=rate, asked=0.0, teaches=Teaches.NOTHING)
        assert state.paused_until > moment
        state = accept(state, sent_at=moment + 0.1)
        assert state.peak == FLOWING.peak


def test_what_a_row_began_is_not_what_the_others_are_judged_by() -> None:
    """The first throttled try that is not just a row's is the first that says at which rate, and since when."""
    before = KeyState(refused_rate=100.0)
    of_the_row = throttle(before, now=60.0, sent_at=59.0, rate=2.0, asked=0.0, teaches=Teaches.NOTHING)
    assert (of_the_row.refusals, of_the_row.refused_at) == (1, 60.0)
    assert (of_the_row.peak, of_the_row.refused_rate) == (math.inf, math.inf)
    later = throttle(replace(of_the_row, taken=41), now=160.0, sent_at=159.0, rate=20.0, asked=2.0)
    assert (later.refusals, later.refused_since, later.refused_rate) == (2, 160.0, 20.0)
    assert later.peak == pytest.approx(MARGIN * 40 / (40 / 20 + 2))
    again = throttle(later, now=161.0, sent_at=160.5, rate=5.0, asked=0.0, teaches=Teaches.NOTHING)
    assert (again.refusals, again.refused_since, again.refused_rate, again.peak) == (3, 160.0, 20.0, later.peak)
    once_more = throttle(of_the_row, now=61.0, sent_at=60.5, rate=2.0, asked=0.0, teaches=Teaches.NOTHING)
    assert (once_more.refusals, once_more.peak) == (2, math.inf)


def test_overload_is_not_counted() -> None:
    """A 503 that asks to wait an hour does not say that so little is allowed an hour."""
    state = throttle(FLOWING, now=60.0, sent_at=59.9, rate=100.0, asked=3_600.0, teaches=Teaches.OVERLOAD)
    assert rate_of(state, auto=False) == pytest.approx(100 * (1 - DEPTH))
    assert state.paused_until == 3_660.0


def test_what_was_let_in_until_the_pause_is_over_is_counted() -> None:
    """60 tries at 100/min, and then a pause until the minute is over: that is about 60/min."""
    state = KeyState(taken=61)
    state = throttle(state, now=100.0, sent_at=99.9, rate=100 / 60, asked=24.0)
    assert allowed(state) == pytest.approx(1.0, rel=0.01)


def test_one_refusal_leaves_at_least_a_twentieth() -> None:
    """Also when the platform asks for a day."""
    state = throttle(replace(FLOWING, taken=100), now=60.0, sent_at=59.9, rate=100.0, asked=86_400.0)
    assert state.peak == pytest.approx(LEAST_SHARE * 100)


def test_pauses_double_while_nothing_is_accepted_up_to_a_minute() -> None:
    """Who asks in vain asks less and less often; one that is accepted makes the next pause short again."""
    state, moment, pauses = KeyState(), 100.0, []
    for _ in range(3_000):
        state = throttle(state, now=moment, sent_at=moment - 0.01, rate=1_000.0, asked=0.0, teaches=Teaches.OVERLOAD)
        pauses.append(state.paused_until - moment)
        moment = state.paused_until + 1.0
    assert pauses[:11] == pytest.approx([PAUSE_LEAST * 2**times for times in range(11)])
    assert pauses[11:] == pytest.approx([PAUSE_MOST] * len(pauses[11:]))
    state = accept(state, sent_at=moment)
    state = throttle(state, now=moment + 5, sent_at=moment + 4, rate=1_000.0, asked=0.0, teaches=Teaches.OVERLOAD)
    assert state.paused_until == pytest.approx(moment + 5 + PAUSE_LEAST)


@given(peak=st.floats(1e-3, 5_000), taken=st.lists(st.integers(0, 100_000), min_size=2, max_size=2).map(sorted))
def test_the_rate_only_rises_between_two_refusals(peak: float, taken: list[int]) -> None:
    """From `DEPTH` below the peak it rises with each request, and is at the peak after `ROWS_TO_PEAK` at most."""
    before, after = (rate_of(KeyState(peak=peak, grown=each), auto=False) for each in taken)
    assert (1 - DEPTH) * peak * (1 - 1e-9) <= before <= after
    assert rate_of(KeyState(peak=peak, grown=ROWS_TO_PEAK), auto=False) >= peak * (1 - 1e-9)


NOTES = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([1e-3, 0.1, 1.0, 60.0, 3_600.0, 200_000.0])),
    st.tuples(
        st.just("throttled"),
        st.floats(1e-6, 100.0),
        st.one_of(st.just(0.0), st.floats(0.0, 86_400.0)),
        st.sampled_from(Teaches),
    ),
    st.tuples(st.just("answered"), st.floats(1e-6, 100.0)),
    st.tuples(st.just("strained"), st.floats(1e-6, 100.0), st.floats(0.05, 1.0)),
    st.tuples(st.just("slots"), st.sampled_from([1, 5, 30])),
)


@given(
    rate=st.sampled_from(["1/hour", "100/min", "200/s", "5000/s", "none", "auto"]), notes=st.lists(NOTES, max_size=60)
)
def test_no_story_makes_the_rate_senseless(rate: str, notes: list[tuple[Any, ...]]) -> None:
    """Whatever is heard in whatever order, the rate stays above zero and at most the ceiling, and pauses end."""
    moments = [1_000.0]

    async def sleep(seconds: float) -> None:
        moments[0] += seconds

    pace = Pace(Ceiling.parse(rate), clock=lambda: moments[0], sleep=sleep)
    ceiling = gap_of(Ceiling.parse(rate))

    async def tell() -> None:
        asked_until = 0.0
        for kind, *facts in notes:
            before = pace.gap
            if kind == "pass":
                moments[0] += facts[0]
            elif kind == "slots":
                for _ in range(facts[0]):
                    await pace.slot()
            elif kind == "throttled":
                pace.throttled(moments[0] - facts[0], facts[1], facts[2])
                asked_until = max(asked_until, moments[0] + facts[1])
                assert not before or 1 / pace.gap >= (1 - DEPTH) * LEAST_SHARE * min(1 / before, MOST) * (1 - 1e-9)
            elif kind == "answered":
                pace.answered(moments[0] - facts[0])
            else:
                pace.strained(moments[0] - facts[0], facts[1])
            assert ceiling <= pace.gap < math.inf
            assert pace.allowed > 0
            assert 0 <= pace.paused_for <= max(asked_until - moments[0], PAUSE_MOST) + 1e-6

    asyncio.run(tell())


# The rules to the digit, as the constants stand


@pytest.mark.parametrize(
    ("state", "rate"),
    [
        (KeyState(peak=100.0, refusals=1, grown=500), 88.0),
        (KeyState(peak=100.0), 88.0),
        (KeyState(peak=100.0, grown=500), 98.5),
        (KeyState(peak=100.0, grown=1_000), 100.0),
        (KeyState(peak=100.0, grown=2_000), 112.0),
        (KeyState(peak=0.1, grown=30), 0.0985),
        (KeyState(peak=0.01, grown=10), 0.00985),
    ],
    ids=["throttled", "at first", "half way", "at the peak", "beyond", "ten minutes at most", "20 requests at least"],
)
@pytest.mark.parametrize("auto", [True, False])
def test_the_rate_creeps_back_along_a_cubic(state: KeyState, rate: float, auto: bool) -> None:  # noqa: FBT001  a table
    """Fast at first, slowly around the peak, faster beyond; half way back it lacks an eighth of what was lost."""
    assert rate_of(state, auto=auto) == pytest.approx(rate)


def test_a_key_that_was_never_throttled_has_no_limit_but_with_auto() -> None:
    """`auto` begins with the documented 100 a minute, and rises by 0.7 a second with each request."""
    assert rate_of(KeyState(grown=10), auto=False) == math.inf
    assert rate_of(KeyState(grown=10), auto=True) == pytest.approx(100 / 60 + 7)


def test_what_is_allowed_lies_a_little_below_the_peak_or_is_what_went() -> None:
    """The peak lies 3 % above what is let in; what went without being throttled beyond it is allowed, too."""
    assert allowed(KeyState(peak=103.0)) == pytest.approx(100.0)
    assert allowed(KeyState(peak=103.0, grown=2_000)) == pytest.approx(112.0)
    assert allowed(KeyState()) == math.inf


REFUSED: dict[str, Any] = {"refusals": 1, "refused_since": 60.0, "refused_at": 60.0}


@pytest.mark.parametrize(
    ("rate", "asked", "expected"),
    [
        (120.0, 0.0, {"refused_rate": 120.0, "peak": 120.0, "paused_until": 60.05}),
        (1.0, 0.0, {"refused_rate": 1.0, "peak": 1.0, "paused_until": 62.0}),
        (120.0, 7.0, {"refused_rate": 120.0, "peak": 1.03 * 4_999 / (4_999 / 120 + 7), "paused_until": 67.0}),
        (math.inf, 0.0, {"refused_rate": 20_000.0, "peak": 20_000.0, "paused_until": 60.05}),
        (1e-6, 0.0, {"refused_rate": 1e-6, "peak": 1 / 3_600, "paused_until": 120.0}),
    ],
    ids=["as usual", "slow", "for as long as it asks", "without a limit", "one an hour at least"],
)
def test_all_that_a_throttled_try_changes(rate: float, asked: float, expected: dict[str, Any]) -> None:
    """It was no slot taken; the key pauses, remembers when and at what rate, and has a new peak; nothing else."""
    state = throttle(FLOWING, now=60.0, sent_at=59.9, rate=rate, asked=asked)
    wanted = replace(FLOWING, taken=4_999, **{**REFUSED, **expected})
    assert asdict(state) == pytest.approx(asdict(wanted))


@pytest.mark.parametrize(
    ("taken", "teaches", "peak"),
    [
        (20, Teaches.OVERLOAD, 8.0),
        (21, Teaches.OVERLOAD, 10.0),
        (20, Teaches.LIMIT, 8.0),
        (21, Teaches.LIMIT, 1.03 * 20 / (20 / 10 + 8)),
        (0, Teaches.LIMIT, 8.0),
    ],
)
def test_after_few_requests_the_rate_is_still_far_too_high(taken: int, teaches: Teaches, peak: float) -> None:
    """Throttled within 20 of them it falls by a fifth more, and so few are not enough to count what is let in."""
    state = throttle(replace(FLOWING, taken=taken), now=60.0, sent_at=59.9, rate=10.0, asked=8.0, teaches=teaches)
    assert state.peak == pytest.approx(peak)
    assert state.taken == max(0, taken - 1)


def test_a_second_refusal_says_only_that_it_lasts() -> None:
    """Since when and at what rate stays; counted is what was let in until the longer pause is over."""
    before = KeyState(
        peak=10.0, taken=40, refusals=1, refused_since=60.0, refused_at=60.0, refused_rate=10.0, paused_until=60.5
    )
    counted = 1.03 * 39 / (39 / 10 + 66 - 60)
    expected = replace(before, taken=39, refusals=2, refused_at=64.0, peak=counted, paused_until=66.0)
    assert asdict(throttle(before, now=64.0, sent_at=63.0, rate=3.0, asked=2.0)) == pytest.approx(asdict(expected))
    unasked = throttle(before, now=64.0, sent_at=63.0, rate=3.0, asked=0.0, teaches=Teaches.OVERLOAD)
    assert asdict(unasked) == pytest.approx(
        asdict(replace(before, taken=39, refusals=2, refused_at=64.0, paused_until=64.4))
    )
    few = throttle(replace(before, taken=10), now=64.0, sent_at=63.0, rate=3.0, asked=0.0, teaches=Teaches.OVERLOAD)
    assert few.peak == 10.0


def test_what_was_sent_at_the_very_moment_of_the_last_refusal_is_news() -> None:
    """Only what went before it was under way already."""
    state = throttle(FLOWING, now=60.0, sent_at=50.0, rate=120.0, asked=0.0)
    assert state.refusals == 1
    assert strain(FLOWING, now=60.0, sent_at=50.0, rate=90.0).refusals == 1
    assert accept(state, sent_at=60.0).refusals == 0


def test_all_that_an_overload_said_in_other_words_changes() -> None:
    """The rate falls as if it had been throttled; nobody pauses, and every slot counts."""
    state = strain(FLOWING, now=60.0, sent_at=59.0, rate=90.0)
    assert state == replace(FLOWING, peak=90.0, refused_rate=90.0, **REFUSED)
    assert strain(FLOWING, now=60.0, sent_at=49.9, rate=90.0) == FLOWING


def test_all_that_an_accepted_try_changes() -> None:
    """Requests flow again, and slots are counted anew; while they flow it changes nothing."""
    held = replace(FLOWING, refusals=2, grown=7)
    assert accept(held, sent_at=50.0) == replace(held, refusals=0, taken=0, grown=0)
    assert accept(held, sent_at=49.9) == held
    assert accept(replace(FLOWING, grown=7), sent_at=60.0) == replace(FLOWING, grown=7)


def test_a_pause_that_is_asked_for_is_kept_when_ours_would_be_shorter() -> None:
    """And ours when it is the longer one."""
    asked, ours = (
        throttle(FLOWING, now=60.0, sent_at=59.9, rate=1.0, asked=seconds).paused_until for seconds in (5.0, 1.0)
    )
    assert (asked, ours) == (65.0, 62.0)
