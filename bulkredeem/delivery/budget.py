"""How many of the tries may be retries: a fifth of the last hundred; more would hammer a platform in trouble.

A retry beyond that waits until first tries have made room for it. When there are none, because only rows that failed
are left or all places are taken by them, one retry goes in the time of five slots: the pool slows down, and comes to an
end.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

SHARE: Final = 0.2
"""Share of the tries that may be retries."""
TRIES: Final = 100
"""Tries that are looked at, the last ones."""
LEAST_WAIT: Final = 0.05
"""Seconds that a retry beyond the budget waits at least, also when the pace has no limit."""
LOOKED_AT: Final = 0.002
"""Seconds between two looks whether there is room again, at least; at low rates the time of a slot."""


class RetryBudget:
    """Counts the tries of one run; shared by all its rows."""

    def __init__(
        self,
        gap: Callable[[], float],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Begin with nothing tried; `gap` says how many seconds one slot comes after the other."""
        self._gap = gap
        self._sleep = sleep
        self._last: deque[bool] = deque(maxlen=TRIES)
        self._retries = 0
        self._firsts = 0
        self._turn = asyncio.Lock()

    def first(self) -> None:
        """Take note of a row's first try."""
        self._firsts += 1
        self._note(is_retry=False)

    async def retry(self) -> None:
        """Return when a retry may go, first come, first served, and take note of it."""
        async with self._turn:
            left, firsts = 0.0, -1
            while self._is_used_up():
                if firsts != self._firsts:
                    # There was a first try: more of them may come, and make room.
                    left, firsts = max(LEAST_WAIT, self._gap() / SHARE), self._firsts
                elif left <= 0:
                    break
                wait = min(left, max(LOOKED_AT, self._gap()))
                await self._sleep(wait)
                left -= wait
            self._note(is_retry=True)

    def _is_used_up(self) -> bool:
        # The oldest try makes way for the next one.
        leaving = len(self._last) == TRIES and self._last[0]
        return self._retries - leaving >= SHARE * TRIES

    def _note(self, *, is_retry: bool) -> None:
        if len(self._last) == TRIES:
            self._retries -= self._last[0]
        self._last.append(is_retry)
        self._retries += is_retry
