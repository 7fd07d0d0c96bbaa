"""One key, several runs: they share its slots and pauses, fairly, whatever becomes of each.

First on virtual time, with several paces on one state, in memory or in a file; then real processes on a real file.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkredeem.errors import Stopping
from bulkredeem.model import Ceiling
from bulkredeem.pace import LATENESS_MADE_GOOD, Memory, Pace, Store, gap_of
from bulkredeem.pace.pacing import BUSY_FOR, LOOKED_AT
from bulkredeem.pace.state import RESERVED
from bulkredeem.statefile import StateFile

Virtually = Callable[[Coroutine[Any, Any, Any]], Any]
ROUNDING = 1e-6
"""Seconds that adding floats may cost."""
TOLERATED = 0.99 * LATENESS_MADE_GOOD
"""Seconds by which a timer may be late without a slot being lost."""


def now() -> float:
    """Return the virtual time."""
    return asyncio.get_running_loop().time()


def shortest(times: Sequence[float], count: int) -> float:
    """Return the seconds of the shortest stretch from a slot to the `count`-th after it."""
    return min((after - before for before, after in zip(times, times[count:], strict=False)), default=math.inf)


def assert_spaced(times: Sequence[float], gap: float, counts: Iterable[int]) -> None:
    """Check that so many slots take as many gaps at least, but for the lateness that is made good."""
    for count in counts:
        assert shortest(times, count) >= count * gap - LATENESS_MADE_GOOD - ROUNDING


def keeps(times: Sequence[float], rates: str, rounding: float = ROUNDING) -> bool:
    """Whether no half-open period of any of the rates holds more slots than it may."""
    moments = sorted(times)
    return all(
        shortest(moments, int(rate.requests)) >= rate.per_seconds - rounding for rate in Ceiling.parse(rates).rates
    )


@dataclass
class Party:
    """Paces that share one state, each with timers of its own, and the slots they were given."""

    rate: str
    late: list[Callable[[], float]]
    """For each pace what says how late its timer is this time."""
    store: Callable[[], Store] | None = None
    """Opens the state for one of them; None for one in memory."""
    taken: list[tuple[float, int]] = field(default_factory=list)
    """When who was given a slot."""
    sent_home: set[int] = field(default_factory=set)
    """Whose next waiter is sent home when it wakes up."""

    def __post_init__(self) -> None:
        """Make the paces; only on a running loop."""
        memory = Memory()
        self.paces = [
            Pace(
                Ceiling.parse(self.rate),
                store=self.store() if self.store else memory,
                clock=now,
                sleep=self._sleep_of(who, late),
            )
            for who, late in enumerate(self.late)
        ]

    def _sleep_of(self, who: int, late: Callable[[], float]) -> Callable[[float], Coroutine[Any, Any, None]]:
        async def sleep(seconds: float) -> None:
            await asyncio.sleep(seconds + late())
            if who in self.sent_home:
                self.sent_home.discard(who)
                raise Stopping

        return sleep

    async def take(self, who: int) -> float:
        """Take one slot."""
        moment = await self.paces[who].slot()
        self.taken.append((moment, who))
        return moment

    async def take_until(self, who: int, end: float) -> None:
        """Take one slot after the other."""
        while now() < end:
            await self.take(who)

    @property
    def times(self) -> list[float]:
        """When slots were given, whoever got them."""
        return sorted(moment for moment, _ in self.taken)


@pytest.fixture(params=["memory", "file"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Give what opens the state for one more pace: the same memory for all, or the same file, opened anew."""
    memory = Memory()
    with ExitStack() as files:
        yield (
            (lambda: memory)
            if request.param == "memory"
            else (lambda: files.enter_context(StateFile(tmp_path / "state", clock=now, wall_clock=now)))
        )


def late_at_random(seed: int) -> Callable[[], float]:
    """Return what says how late a timer is, within what is tolerated."""
    chance = random.Random(seed)  # noqa: S311
    return lambda: chance.uniform(0, TOLERATED)


LATENESS: dict[str, list[Callable[[], float]]] = {
    "both on time": [lambda: 0.0, lambda: 0.0],
    "one always late": [lambda: 0.0, lambda: TOLERATED],
    "both late at random": [late_at_random(1), late_at_random(2)],
}


@pytest.mark.parametrize("late", LATENESS.values(), ids=LATENESS.keys())
@pytest.mark.parametrize("rate", ["100/min", "20/s", "200/s"])
def test_two_take_turns_and_lose_no_slot(
    rate: str, late: list[Callable[[], float]], shared: Callable[[], Store], virtually: Virtually
) -> None:
    """Two runs that always want a slot get half of them each, within one, and between them all there are."""
    gap = gap_of(Ceiling.parse(rate))
    parties: list[Party] = []

    async def both() -> None:
        party = Party(rate, late, shared)
        parties.append(party)
        await asyncio.gather(*(party.take_until(who, 1_000 * gap) for who in (0, 1)))

    virtually(both())
    taken = parties[0].taken[2:1_000]  # the first one to come finds nobody else there
    shares = Counter(who for _, who in taken)
    assert abs(shares[0] - shares[1]) <= 1
    assert taken[-1][0] - taken[0][0] == pytest.approx(997 * gap, rel=0, abs=LATENESS_MADE_GOOD + ROUNDING)
    assert keeps(parties[0].times, rate)


@pytest.mark.parametrize("rates", [("200/s", "20/s"), ("5000/s", "100/s"), ("100/min", "1000/min")])
def test_who_may_less_does_not_starve(rates: tuple[str, str], virtually: Virtually) -> None:
    """Runs that were told different rates take turns all the same, and each keeps its own."""
    slots: list[list[float]] = [[], []]
    gaps = [gap_of(Ceiling.parse(rate)) for rate in rates]

    async def both() -> None:
        store = Memory()
        end = 300 * max(gaps)

        async def take(who: int) -> None:
            pace = Pace(Ceiling.parse(rates[who]), store=store, clock=now)
            while now() < end:
                slots[who].append(await pace.slot())

        await asyncio.gather(take(0), take(1))

    virtually(both())
    fewest = 300 * max(gaps) / (sum(gaps) + RESERVED)
    assert min(map(len, slots)) >= 0.9 * fewest
    assert keeps([*slots[0], *slots[1]], rates[gaps.index(min(gaps))])
    assert all(keeps(slots[who], rates[who]) for who in (0, 1))


@pytest.mark.parametrize("late", [(0.0, 0.006), (0.006, 0.006), (0.02, 0.02, 0.02), (0.0, 0.0, 0.05)])
@pytest.mark.parametrize("rate", ["100/min", "20/s", "200/s"])
def test_timers_that_are_always_late_starve_nobody(rate: str, late: tuple[float, ...], virtually: Virtually) -> None:
    """On a machine so busy that every timer misses its slot, runs of one key get fewer slots, but all get some."""
    gap = gap_of(Ceiling.parse(rate))

    async def all_of_them() -> Party:
        party = Party(rate, [lambda each=each: each for each in late])  # type: ignore[misc]  # it cannot infer the lambda
        with suppress(TimeoutError):
            await asyncio.wait_for(
                asyncio.gather(*(party.take_until(who, 200 * gap) for who in range(len(late)))), 300 * gap
            )
        return party

    party = virtually(all_of_them())
    shares = Counter(who for _, who in party.taken)
    even = 200 * gap / (gap + max(late)) / len(late)
    assert min(shares[who] for who in range(len(late))) >= even / 4
    assert keeps(party.times, rate)


STORIES = st.lists(
    st.tuples(
        st.integers(0, 2),  # whose turn
        st.sampled_from(["take", "take", "take", "take", "pause", "cancel", "idle", "send home"]),
        st.sampled_from([0.0, 0.0, 0.001, 0.0049, 0.02, 0.3, 2.0]),
    ),
    max_size=60,
)


async def play(begin: Callable[[], Party], story: list[tuple[int, str, float]], *, patience: float) -> Party:
    """Let the paces of a party live through a story, and wait so many seconds for those who wait then."""
    party = begin()
    waiting: list[asyncio.Task[float]] = []
    for who, what, seconds in story:
        await asyncio.sleep(seconds)
        if what == "take":
            waiting.append(asyncio.create_task(party.take(who)))
        elif what == "pause":
            party.paces[who].pause(seconds)
        elif what == "send home":
            party.sent_home.add(who)
        elif what == "cancel" and waiting:
            waiting[who * len(waiting) // 3].cancel()
    with suppress(TimeoutError):  # whether everybody has a turn is another test's question
        await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), patience)
    return party


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    rate=st.builds("{}/{}".format, st.integers(1, 30), st.sampled_from(["s", "min"])),
    story=STORIES,
    late=st.lists(st.sampled_from([0.0, 0.001, 0.0049, 0.0051, 0.05, 1.0]), min_size=1, max_size=7),
)
def test_no_stretch_holds_too_many_slots_whatever_the_runs_do(
    rate: str, story: list[tuple[int, str, float]], late: list[float], shared: Callable[[], Store], virtually: Virtually
) -> None:
    """Three runs come, wait, are late, are cancelled, sent home and paused: together they never pass the rate."""
    gap = gap_of(Ceiling.parse(rate))
    lateness = itertools.cycle(late)
    party = virtually(play(lambda: Party(rate, [lateness.__next__] * 3, shared), story, patience=100 * gap))
    assert keeps(party.times, rate)
    assert_spaced(party.times, gap, range(1, len(party.times)))


@pytest.mark.parametrize("rate", ["300/s,9000/min", "1000/s", "5000/s"])
def test_several_at_high_rates_keep_them_together(rate: str, shared: Callable[[], Store], virtually: Virtually) -> None:
    """Slots that are reserved in bundles are nobody else's, and a run that hangs for a while makes no burst."""
    chance = random.Random(rate)  # noqa: S311

    def late() -> float:
        return 0.05 if chance.random() < 0.01 else chance.uniform(0, TOLERATED)

    async def all_three() -> Party:
        party = Party(rate, [late] * 3, shared)
        await asyncio.gather(*(party.take_until(who, 5.0) for who in range(3)))
        return party

    party = virtually(all_three())
    gap = gap_of(Ceiling.parse(rate))
    assert len(party.times) > 1 / gap
    assert keeps(party.times, rate)
    assert_spaced(party.times, gap, (1, 3, 10, 30, 100))


def test_a_waiter_that_goes_home_leaves_its_slot(shared: Callable[[], Store], virtually: Virtually) -> None:
    """Cancelled again and again: while nobody reserved after it, the next one gets the slot at its time."""
    gap = gap_of(Ceiling.parse("20/s"))

    async def many_give_up() -> list[float]:
        pace = Pace(Ceiling.parse("20/s"), store=shared(), clock=now)
        times = [await pace.slot()]
        for _ in range(200):
            for _ in range(3):
                with suppress(TimeoutError):
                    await asyncio.wait_for(pace.slot(), gap / 10)
            times.append(await pace.slot())
        return times

    times = virtually(many_give_up())
    assert times[-1] - times[0] == pytest.approx(200 * gap, rel=0, abs=LATENESS_MADE_GOOD + ROUNDING)


@pytest.mark.parametrize(
    ("rate", "heard_after"),
    [
        ("1/s", 0.0),
        ("200/s", 0.0),
        ("499/s", 0.0),
        ("1000/s", 2 * RESERVED + LATENESS_MADE_GOOD),
        ("5000/s", 2 * RESERVED + LATENESS_MADE_GOOD),
        ("none", LOOKED_AT),
    ],
)
def test_a_pause_holds_for_all_runs_of_the_key(
    rate: str, heard_after: float, shared: Callable[[], Store], virtually: Virtually
) -> None:
    """What one run is asked to wait the other waits, too, also with the slot that it had reserved before."""
    begins, ends = 2.0, 4.0

    async def both() -> Party:
        party = Party(rate, [lambda: 0.0, lambda: 0.0], shared)

        async def take(who: int) -> None:
            while now() < ends + 3.0:
                await party.take(who)
                await asyncio.sleep(0.001)

        async def be_told() -> None:
            await asyncio.sleep(begins)
            party.paces[0].pause(ends - begins)

        await asyncio.gather(take(0), take(1), be_told())
        return party

    party = virtually(both())
    assert not [moment for moment, who in party.taken if begins < moment < ends - ROUNDING and who == 0]
    assert not [moment for moment, who in party.taken if begins + heard_after < moment < ends - ROUNDING]
    assert {who for moment, who in party.taken if moment > ends - ROUNDING} == {0, 1}


def test_what_one_run_learns_the_others_know(shared: Callable[[], Store], virtually: Virtually) -> None:
    """A second run slows down with the first, and one that begins tomorrow begins there."""

    async def nights() -> list[float]:
        party = Party("300/s", [lambda: 0.0, lambda: 0.0], shared)
        await asyncio.gather(*(party.take_until(who, 1.0) for who in (0, 1)))
        for who in (0, 1):
            party.paces[who].throttled(now() - 0.01, 0.0)
        await party.take(1)
        await asyncio.sleep(50_000)
        tomorrow = Pace(Ceiling.parse("1000/s"), store=shared(), clock=now)
        await tomorrow.slot()
        return [party.paces[1].gap, tomorrow.gap]

    one, tomorrow = virtually(nights())
    assert one == pytest.approx(tomorrow)
    assert 0.8 * 300 < 1 / one < 0.95 * 300


@pytest.mark.parametrize("seed", range(5))
async def test_who_is_held_up_between_two_readings_of_the_clock_uses_no_slot_too_late(seed: int) -> None:
    """A machine may take a core from a process at any moment, also while it decides whether its slot has passed."""
    chance = random.Random(seed)  # noqa: S311
    time_now = 0.0

    def clock() -> float:
        nonlocal time_now
        time_now += chance.choice([0.0, 0.0, 0.0, 0.001, 0.02])
        return time_now

    async def sleep(seconds: float) -> None:
        nonlocal time_now
        time_now += seconds

    memory = Memory()
    paces = [Pace(Ceiling.parse("200/s"), store=memory, clock=clock, sleep=sleep) for _ in range(2)]
    times = [await chance.choice(paces).slot() for _ in range(500)]
    gap = gap_of(Ceiling.parse("200/s"))
    assert_spaced(times, gap, range(1, len(times)))


# Real processes, a real file, and the clock that all processes of a machine share.

TAKER = """
import asyncio, sys
from pathlib import Path
from bulkredeem.model import Ceiling
from bulkredeem.pace import Pace
from bulkredeem.statefile import StateFile

async def main() -> None:
    with StateFile(Path(sys.argv[1])) as store:
        pace = Pace(Ceiling.parse(sys.argv[2]), store=store)
        print("there", flush=True)
        sys.stdin.readline()
        while True:
            print(await pace.slot(), flush=True)

asyncio.run(main())
"""
"""Says that it is there, waits for a line, takes one slot after another, and says of each when it was."""
HOLDER = """
import fcntl, os, sys
from pathlib import Path
from bulkredeem.statefile import StateFile

with StateFile(Path(sys.argv[1])) as store:
    def never(state):
        print("there", flush=True)
        sys.stdin.readline()
        return state
    store.change(never)
    print("let go", flush=True)
    sys.stdin.readline()
"""
"""Begins to change the state, and is in the middle of that until it reads a line."""
RESERVER = """
import asyncio, sys
from pathlib import Path
from bulkredeem.model import Ceiling
from bulkredeem.pace import Pace
from bulkredeem.statefile import StateFile

async def hang(seconds):
    print("there", flush=True)
    sys.stdin.readline()

async def main() -> None:
    with StateFile(Path(sys.argv[1])) as store:
        pace = Pace(Ceiling.parse(sys.argv[2]), store=store, sleep=hang)
        while True:
            await pace.slot()

asyncio.run(main())
"""
"""Takes a slot, reserves a second one, and hangs before using it."""


@contextmanager
def process(code: str, *arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process and wait until it says that it is there; it does not outlive the test."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        close_fds=False,
    ) as started:
        try:
            assert said_by(started) == "there"
            yield started
        finally:
            started.kill()


def said_by(process: subprocess.Popen[str]) -> str:
    """Return the next line that a process says."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def rest_of(process: subprocess.Popen[str]) -> list[float]:
    """Return what slots a process says that it was given, up to its end."""
    assert process.stdout is not None
    return [float(line) for line in process.stdout if line.endswith("\n")]


def go_on(process: subprocess.Popen[str]) -> None:
    """Let a process go on that waits for a line."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_two_processes_share_the_slots(tmp_path: Path) -> None:
    """Two real runs at once keep the rate between them, however often either is held up, and none starves."""
    with (
        process(TAKER, tmp_path / "state", "200/s") as one,
        process(TAKER, tmp_path / "state", "200/s") as two,
    ):
        go_on(one)
        go_on(two)
        given = [float(said_by(each)) for _ in range(80) for each in (one, two)]
        one.send_signal(signal.SIGTERM)
        two.send_signal(signal.SIGTERM)
        times = sorted([*given, *rest_of(one), *rest_of(two)])
    gap = gap_of(Ceiling.parse("200/s"))
    assert_spaced(times, gap, range(1, len(times)))


@pytest.mark.parametrize("holder", [HOLDER, RESERVER], ids=["in the middle of a change", "with a slot reserved"])
async def test_a_process_that_is_killed_holds_up_nobody(holder: str, tmp_path: Path) -> None:
    """SIGKILL takes the lock from it; the one slot that it had reserved passes by."""
    with process(holder, tmp_path / "state", "20/s") as killed, StateFile(tmp_path / "state") as store:
        pace = Pace(Ceiling.parse("20/s"), store=store)
        waiting = asyncio.create_task(pace.slot())
        killed.send_signal(signal.SIGKILL)
        await asyncio.to_thread(killed.wait)
        gone = time.monotonic()
        await waiting
        assert store.look().due <= max(gone, time.monotonic()) + 3 * gap_of(Ceiling.parse("20/s"))


async def test_a_process_that_is_stopped_in_a_change_blocks_no_event_loop(tmp_path: Path) -> None:
    """Others wait for their slot without standing still, and get it when the stopped process goes on."""
    with process(HOLDER, tmp_path / "state") as stopped:
        stopped.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(os.waitid, os.P_PID, stopped.pid, os.WSTOPPED | os.WNOWAIT)
        with StateFile(tmp_path / "state") as store:
            pace = Pace(Ceiling.parse("20/s"), store=store)
            waiting = asyncio.create_task(pace.slot())
            for _ in range(50):
                await asyncio.sleep(BUSY_FOR)
            assert not waiting.done()
            pace.pause(0.01)
            pace.throttled(time.monotonic(), 0.0)
            assert store.change(lambda state: state) is None
            stopped.send_signal(signal.SIGCONT)
            go_on(stopped)
            assert await waiting == pytest.approx(time.monotonic(), abs=60)
            assert store.look().refusals == 1
            assert await asyncio.to_thread(said_by, stopped) == "let go"
