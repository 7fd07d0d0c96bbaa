"""Metering: every answer of a run is in one stretch of its journal, and nobody waits for that."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.application.metering import Meter
from bulkredeem.counters import STRETCH, Counters
from bulkredeem.errors import JournalError
from bulkredeem.journal import Journal
from bulkredeem.model import Answer, Correction, Reply, Trouble
from bulkredeem.sandbox import Fault, script
from tests.hurry import Hurried

if TYPE_CHECKING:
    from tests.conftest import Rehearsal


OK = Reply(http_status=200)
LOST = Trouble(code="CONNECTION_LOST", message="the connection was lost", may_be_applied=True)


@dataclass(kw_only=True)
class Watched:
    """A clock that goes when it is told to, and sleepers that are woken by it."""

    now: float = 1000.0
    naps: list[float] = field(default_factory=list)
    """How long somebody wanted to sleep, each time."""
    turns: asyncio.Queue[None] = field(default_factory=asyncio.Queue)

    def read(self) -> float:
        """Say what it shows."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Sleep until the next turn, then have slept so long."""
        self.naps.append(seconds)
        await self.turns.get()
        self.now += seconds

    async def turn(self) -> None:
        """Wake who sleeps, and let them do what they have to."""
        self.turns.put_nowait(None)
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
def watched() -> Watched:
    """Give a clock."""
    return Watched()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Give a new journal."""
    with closing(Journal.create(tmp_path / "journal.sqlite", {})) as journal:
        yield journal


@pytest.fixture
def meter(journal: Journal, watched: Watched) -> Meter:
    """Give a meter that begins at 1000, of a pace that allows 2.5 requests a second."""
    return Meter(journal, allowed=lambda: 2.5, clock=watched.read, wall_clock=watched.read, sleep=watched.sleep)


@asynccontextmanager
async def counting(meter: Meter) -> AsyncIterator[None]:
    """Keep counting meanwhile."""
    task = asyncio.create_task(meter.keep_counting())
    await asyncio.sleep(0)
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def answering(watched: Watched, *answers: tuple[Answer, float]) -> Callable[[Correction], Awaitable[Answer]]:
    """Return an attempt that gives these answers, each after so many seconds."""
    left = list(answers)

    async def attempt(_: Correction) -> Answer:
        answer, seconds = left.pop(0)
        watched.now += seconds
        return answer

    return attempt


def told(journal: Journal) -> list[Counters]:
    """Return what became durable."""
    journal.commit()
    return list(journal.counters())


async def test_a_stretch_is_written_down_every_ten_seconds_and_at_the_end(
    meter: Meter, journal: Journal, watched: Watched, correction: Callable[..., Correction]
) -> None:
    """The last one is as long as it was."""
    attempt = meter.timed(answering(watched, *[(OK, 0.0)] * 3))
    async with counting(meter):
        await attempt(correction())
        await watched.turn()
        await attempt(correction())
        await attempt(correction())
        await watched.turn()
    watched.now += 3.5
    meter.note()
    stretches = told(journal)
    assert [(each.ended_at, each.seconds, each.requests) for each in stretches] == [
        (1010.0, 10.0, 1),
        (1020.0, 10.0, 2),
        (1023.5, 3.5, 0),
    ]
    assert set(watched.naps) == {STRETCH} == {10.0}
    assert {each.allowed for each in stretches} == {2.5}


async def test_nothing_is_written_down_for_no_time(meter: Meter, journal: Journal, watched: Watched) -> None:
    """A run that ends as a stretch ends has no further one."""
    async with counting(meter):
        await watched.turn()
    meter.note()
    assert len(told(journal)) == 1


async def test_counting_is_not_committing(meter: Meter, journal: Journal, watched: Watched) -> None:
    """No sync of its own: a stretch is durable with the next group of outcomes."""
    async with counting(meter):
        await watched.turn()
        assert list(journal.counters()) == []
    assert len(told(journal)) == 1


async def test_the_answer_is_passed_on_as_it_is(
    meter: Meter, journal: Journal, watched: Watched, correction: Callable[..., Correction]
) -> None:
    """Each is counted in its class, with the time it took."""
    attempt = meter.timed(answering(watched, (OK, 0.3), (Reply(http_status=503), 1.5), (LOST, 30.0)))
    assert [await attempt(correction()) for _ in range(3)] == [OK, Reply(http_status=503), LOST]
    meter.note()
    (stretch,) = told(journal)
    assert stretch.replies == {"2xx": 1, "5xx": 1, "none": 1}
    assert (stretch.percentile(0.5), stretch.percentile(1.0)) == (0.5, 2.0)


async def test_it_counts_how_often_patience_was_asked_for(
    meter: Meter, watched: Watched, correction: Callable[..., Correction]
) -> None:
    """Over all stretches; every other refusal is something else."""
    answers = [Reply(http_status=status) for status in (429, 200, 400, 429)]
    attempt = meter.timed(answering(watched, *[(answer, 0.0) for answer in answers]))
    for _ in answers:
        await attempt(correction())
        watched.now += 1
        meter.note()
    assert meter.throttled == 2


async def test_a_try_that_is_cancelled_is_no_answer(
    meter: Meter, journal: Journal, watched: Watched, correction: Callable[..., Correction]
) -> None:
    """Whoever gives up on it hears of that; it is in no class."""

    async def never(_: Correction) -> Answer:
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(anext_of(meter.timed(never), correction()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    watched.now += 5
    meter.note()
    assert told(journal)[0].requests == 0


async def anext_of(attempt: Callable[[Correction], Awaitable[Answer]], correction: Correction) -> Answer:
    """Await an attempt in a coroutine of its own."""
    return await attempt(correction)


def kept(folder: Path) -> list[Counters]:
    """Read a run's counters as another process would find them."""
    with closing(Journal.open_to_read(folder / "journal.sqlite")) as journal:
        return list(journal.counters())


def added_up(stretches: list[Counters]) -> Counter[str]:
    """Add up classes of answers."""
    return sum((Counter(each.replies) for each in stretches), Counter[str]())


async def test_the_counters_of_a_run_add_up_to_its_requests(rehearsal: Rehearsal) -> None:
    """After a real run they are in its journal, retries and all; no answer is missing, and none is there twice."""
    plan = {
        "AB0003": [Fault.error(status=503, code=500)],
        "AB0004": [Fault.error(status=429, code=429)],
        "AB0005": [Fault.error(status=400, code=750)],
    }
    rehearsal.faults = script(plan)
    run = await rehearsal.run(rehearsal.file(30), rehearsal.terms(stop=Hurried()))
    assert run.summary.ending is not None
    stretches = kept(run.folder)
    assert sum(each.requests for each in stretches) == run.summary.ending.requests == len(rehearsal.arrived) == 32
    assert added_up(stretches) == {"2xx": 29, "4xx": 1, "429": 1, "5xx": 1}
    assert sum(sum(each.latency) for each in stretches) == 32
    assert run.throttled == 1


async def test_both_stretches_of_a_run_that_was_gone_on_with_are_counted(rehearsal: Rehearsal) -> None:
    """What `resume` sends comes after what was sent before, in the same journal."""
    folder = await rehearsal.stopped(rehearsal.file(60), rows=5)
    before = sum(each.requests for each in kept(folder))
    run = await rehearsal.resume(folder)
    stretches = kept(folder)
    assert run.summary.ending is not None
    assert 0 < before < 60
    assert sum(each.requests for each in stretches) == run.summary.ending.requests == 60
    assert [each.ended_at for each in stretches] == sorted(each.ended_at for each in stretches)


async def test_a_run_ends_the_same_when_its_journal_takes_no_counters(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk at the last commit is told as ever: the outcomes that were in its group are not called durable."""

    def refuse(*_: Any, **__: Any) -> bool:
        raise JournalError("the disk is full")

    whole = Journal.count

    def count(self: Journal, counters: Counters) -> None:
        whole(self, counters)
        monkeypatch.setattr(Journal, "write", refuse)

    monkeypatch.setattr(Journal, "count", count)
    run = await rehearsal.run(rehearsal.file(5))
    assert run.summary.ending is not None
    assert run.summary.ending.state == "stopped"
    assert run.exit_code == 3
