"""At most a fifth of the tries are retries while there are first tries; and nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkredeem.delivery.budget import LEAST_WAIT, SHARE, TRIES, RetryBudget

Virtually = Callable[[Coroutine[Any, Any, Any]], Any]
MOST = int(SHARE * TRIES)
"""Retries among so many tries."""


def now() -> float:
    """Return the virtual time."""
    return asyncio.get_running_loop().time()


def most_retries(tries: list[bool]) -> int:
    """Return how many retries there are at most in any stretch of as many tries as are looked at."""
    return max(sum(tries[first : first + TRIES]) for first in range(max(1, len(tries) - TRIES + 1)))


class Diary:
    """What goes when."""

    def __init__(self, gap: float) -> None:
        """Begin with nothing; `gap` is the pace's."""
        self.budget = RetryBudget(lambda: gap)
        self.tries: list[bool] = []
        self.retried: list[tuple[float, int]] = []

    def first(self) -> None:
        """Make a first try."""
        self.budget.first()
        self.tries.append(False)

    async def retry(self, name: int = 0) -> None:
        """Make a retry when it may be made."""
        await self.budget.retry()
        self.tries.append(True)
        self.retried.append((now(), name))


def test_a_few_retries_go_at_once(virtually: Virtually) -> None:
    """A fifth of what is looked at is free, from the start on."""

    async def tell() -> list[tuple[float, int]]:
        diary = Diary(0.6)
        for _ in range(MOST):
            await diary.retry()
        return diary.retried

    assert virtually(tell()) == [(0.0, 0)] * MOST


def test_a_retry_takes_the_place_of_one_that_is_looked_at_no_more(virtually: Virtually) -> None:
    """After a fifth of retries and four fifths of first tries the next retry goes at once, and so does each further."""

    async def tell() -> list[tuple[float, int]]:
        diary = Diary(0.6)
        for _ in range(MOST):
            await diary.retry()
        for _ in range(TRIES - MOST):
            diary.first()
        for _ in range(MOST):
            await diary.retry()
        return diary.retried

    assert virtually(tell()) == [(0.0, 0)] * 2 * MOST


@pytest.mark.parametrize("first_every", [0.0125, 0.01, 0.049])
@pytest.mark.parametrize("gap", [0.0, 0.01])
def test_in_a_hundred_tries_at_most_a_fifth_are_retries(gap: float, first_every: float, virtually: Virtually) -> None:
    """However many rows want to be tried again: as long as first tries come, so many of them go in between."""

    async def tell() -> Diary:
        diary = Diary(gap)

        async def retry_for_ever() -> None:
            while True:
                await diary.retry()

        async def go_on() -> None:
            while now() < 60:
                diary.first()
                await asyncio.sleep(first_every)

        retrying = [asyncio.create_task(retry_for_ever()) for _ in range(30)]
        await go_on()
        for each in retrying:
            each.cancel()
        await asyncio.gather(*retrying, return_exceptions=True)
        return diary

    tries = virtually(tell()).tries
    assert most_retries(tries) <= MOST
    assert sum(tries) >= 0.5 * SHARE * len(tries)


@pytest.mark.parametrize(("gap", "wait"), [(0.0, LEAST_WAIT), (0.005, LEAST_WAIT), (0.6, 3.0), (1.0, 5.0)])
def test_when_only_retries_are_left_they_go_slowly(gap: float, wait: float, virtually: Virtually) -> None:
    """One goes in the time of five slots, or each twentieth of a second at a pace that has none: it comes to an end."""

    async def tell() -> list[tuple[float, int]]:
        diary = Diary(gap)
        await asyncio.gather(*(diary.retry() for _ in range(MOST + 50)))
        return diary.retried

    moments = [moment for moment, _ in virtually(tell())]
    assert moments[MOST:] == pytest.approx([wait * each for each in range(1, 51)])


def test_who_comes_first_is_served_first(virtually: Virtually) -> None:
    """Nobody is overtaken, whatever goes in between."""

    async def tell() -> list[tuple[float, int]]:
        diary = Diary(0.1)
        waiting = [asyncio.create_task(diary.retry(name)) for name in range(100)]
        for _ in range(1_000):
            diary.first()
            await asyncio.sleep(0.01)
        await asyncio.gather(*waiting)
        return diary.retried

    assert [name for _, name in virtually(tell())] == list(range(100))


def test_who_gives_up_leaves_the_way_free(virtually: Virtually) -> None:
    """A waiter that is cancelled takes no retry, and the next one waits no longer for it."""

    async def tell() -> list[tuple[float, int]]:
        diary = Diary(1.0)
        for _ in range(MOST):
            await diary.retry()
        waiting = [asyncio.create_task(diary.retry(name)) for name in range(4)]
        await asyncio.sleep(2.0)
        waiting[0].cancel()
        waiting[2].cancel()
        with suppress(asyncio.CancelledError):
            await waiting[0]
        await asyncio.gather(waiting[1], waiting[3])
        return diary.retried[MOST:]

    assert virtually(tell()) == [(pytest.approx(7.0), 1), (pytest.approx(12.0), 3)]


@settings(max_examples=50)
@given(
    story=st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.001, 0.01, 0.3, 2.0])), max_size=250),
    gap=st.sampled_from([0.0, 0.001, 0.6]),
)
def test_everybody_goes_in_the_end(story: list[tuple[bool, float]], gap: float, virtually: Virtually) -> None:
    """Whoever comes whenever, no retry waits longer than all those before it need one after the other."""
    longest = max(LEAST_WAIT, gap / SHARE)

    async def tell() -> tuple[float, list[tuple[float, int]]]:
        diary = Diary(gap)
        waiting: list[asyncio.Task[None]] = []
        for is_retry, seconds in story:
            if is_retry:
                waiting.append(asyncio.create_task(diary.retry(len(waiting))))
            else:
                diary.first()
            await asyncio.sleep(seconds)
        told = now()
        await asyncio.gather(*waiting)
        return told, diary.retried

    told, retried = virtually(tell())
    assert [name for _, name in retried] == list(range(len(retried)))
    assert all(moment <= told + (name + 1) * longest + 1e-6 for moment, name in retried)
    assert len(retried) == sum(is_retry for is_retry, _ in story)
