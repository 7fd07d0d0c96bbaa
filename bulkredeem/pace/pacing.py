"""Who hands out slots to the tries of one run, from the state of its key that other runs may change, too."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial, reduce
from typing import Final, Protocol

from bulkredeem.model import Ceiling
from bulkredeem.pace.knee import Knee
from bulkredeem.pace.limit import Teaches, accept, allowed, rate_of, strain, throttle
from bulkredeem.pace.state import (
    LATENESS_MADE_GOOD,
    RESERVED,
    KeyState,
    Slots,
    gap_of,
    give_back,
    is_last,
    pause,
    postpone,
    reserve,
)

BUSY_FOR: Final = 0.001
"""Seconds until the state is asked for again when another process is changing it: that takes microseconds."""
LOOKED_AT: Final = 0.01
"""Seconds between two looks at the state when nothing is limited: so late may a pause be heard of."""
SLACK_OF_LATENESS: Final = 1.5
"""Times the seconds by which a slot was missed, by which the next one may be used later."""
SLACK_KEPT: Final = 0.9
"""Share of that which is left after each slot that was not missed."""
LEAST_SLACK: Final = 0.0005
"""Seconds of it that are not worth keeping."""

Change = Callable[[KeyState], KeyState]


class Store(Protocol):
    """Keeps the state of one key."""

    def change(self, change: Change) -> KeyState | None:
        """Change the state for one at a time and return what it is now; None when another process is at it."""

    def look(self) -> KeyState:
        """Return the state as it is now."""


class Memory:
    """Keeps the state for this process alone."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._state = KeyState()

    def change(self, change: Change) -> KeyState:
        """Change the state and return it."""
        self._state = change(self._state)
        return self._state

    def look(self) -> KeyState:
        """Return the state."""
        return self._state


class Pace:
    """Hands out slots; every try takes one, first tries, retries and probes alike.

    One pace serves one key (host and user name) on one event loop. Waiting ends as `sleep` says: a sleep that raises
    sends the waiter home, and the slot waits for the next one.
    """

    def __init__(
        self,
        ceiling: Ceiling,
        *,
        store: Store | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take the rates that must never be passed; `store` is None for a key that nobody shares."""
        self._least_gap = gap_of(ceiling)
        self._is_auto = ceiling.is_auto
        self._store = store or Memory()
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._state = KeyState()
        self._held: Slots | None = None
        self._grew = False
        self._misses = 0
        self._slack = 0.0
        self._pending: list[Change] = []
        self._knee = Knee(clock=clock)
        self._free_until = -math.inf
        self._uncounted = 0

    @property
    def is_shared(self) -> bool:
        """Whether other processes take slots of it, too."""
        return not isinstance(self._store, Memory)

    async def slot(self) -> float:
        """Return when the next request may go, and that moment; who waits is served in the order of coming."""
        now = self._clock()
        if now < self._free_until and not self._turn.locked():
            self._uncounted += 1
            return now
        async with self._turn:
            while True:
                now, wait = self._wait()
                if wait <= 0:
                    return self._taken(now)
                await self._sleep(wait)

    def throttled(self, sent_at: float, asked: float, teaches: Teaches = Teaches.LIMIT) -> None:
        """Take note of a try that the platform throttled, asking for so many seconds of pause, 0.0 for none."""
        now = self._clock()

        def change(state: KeyState) -> KeyState:
            rate = self._rate(state)
            return throttle(state, now=now, sent_at=sent_at, rate=rate, asked=asked, teaches=teaches)

        self._note(change)
        self._free_until = -math.inf

    def strained(self, sent_at: float, share: float = 1.0) -> None:
        """Take note that it was too much for the platform, which says so by other means than throttling.

        Only `auto` heeds it. `share` is the part of the requests that the platform keeps up with.
        """
        now = self._clock()
        if self._is_auto:
            self._note(lambda state: strain(state, now=now, sent_at=sent_at, rate=share * self._rate(state)))

    def answered(self, sent_at: float) -> None:
        """Take note of a try that the platform did not throttle."""
        if self._state.refusals:
            self._note(partial(accept, sent_at=sent_at))
        if self._is_auto and (passed := self._knee.answered(sent_at)):
            now = self._clock()
            self.strained(now, passed.share)
            self._note(partial(accept, sent_at=now))
            self._note(partial(postpone, until=now + passed.queued))

    def pause(self, seconds: float) -> None:
        """Let nobody of the key start for so many seconds from now, whoever asked and whoever waits."""
        self._note(partial(pause, until=self._clock() + seconds))
        self._free_until = -math.inf

    @property
    def paused_for(self) -> float:
        """Seconds until the pause that the platform asked for is over; 0.0 when requests are flowing."""
        return max(0.0, self._state.paused_until - self._clock())

    @property
    def gap(self) -> float:
        """Seconds from one slot to the next, as far as the state is known; 0.0 when nothing is limited."""
        return self._gap(self._state)

    @property
    def allowed(self) -> float:
        """Requests a second that the platform lets in, if that is less than the ceiling; infinite otherwise."""
        is_held_back = self._least_gap * rate_of(self._state, auto=self._is_auto) < 1
        return allowed(self._state) if is_held_back else math.inf

    def _wait(self) -> tuple[float, float]:
        """Hold a slot; return this moment, and the seconds from it until the slot may be used: 0.0 or less for now.

        One reading of the clock says both that the slot has come and that it has not passed: a process that is held up
        between two readings would use it later than those who share the key expect.
        """
        if self._pending and not self._change(_as_it_is):
            return self._clock(), BUSY_FOR
        now = self._clock()
        while self._held is None or self._is_missed(self._held, now):
            if not self._change(self._hold):
                return now, BUSY_FOR
            now = self._clock()
        return now, self._held.at - now

    def _is_missed(self, held: Slots, now: float) -> bool:
        """Whether a slot that was held has passed, or lies in a pause that began after it was reserved."""
        if now > held.until or self._state.paused_until > held.at:
            return True
        return now >= held.at and held.gap >= RESERVED and self._store.look().paused_until > held.at

    def _hold(self, state: KeyState) -> KeyState:
        """Reserve a slot; one that was missed is given back first."""
        now = self._clock()
        if self._held is not None:
            self._slack = self._slack_after(self._held, now, is_lost=not is_last(state, self._held))
            state = give_back(state, self._held, grew=self._grew)
        learnt = 1 / rate_of(state, auto=self._is_auto)
        # Requests that have waited for a slot, or found one in an unbroken row of them, are held back by the gap.
        is_held_back = self._held is not None or state.due >= now - LATENESS_MADE_GOOD
        self._grew = is_held_back and learnt > self._least_gap
        state = replace(state, taken=state.taken + self._uncounted)
        self._uncounted = 0
        gap = max(self._least_gap, learnt)
        state, self._held = reserve(state, now, gap, slack=self._slack, grows=self._grew)
        return state

    def _slack_after(self, missed: Slots, now: float, *, is_lost: bool) -> float:
        """Return by how much later than usual the next slot may be used, after one that was missed.

        When timers are late again and again, slots would be missed for ever as soon as others reserve behind them; so
        would they when the store itself takes its time.
        """
        self._misses += 1
        late = now - missed.until
        return self._slack + SLACK_OF_LATENESS * late if late > 0 and (is_lost or self._misses > 1) else self._slack

    def _taken(self, now: float) -> float:
        """Let go of the slot that is used now, and return this moment."""
        self._held = self._held.rest() if self._held else None
        self._slack = SLACK_KEPT * self._slack if self._slack > LEAST_SLACK else 0.0
        self._misses = 0
        self._knee.sent()
        if not self.gap:
            self._free_until = now + LOOKED_AT
        return now

    def _note(self, change: Change) -> None:
        """Change the state as soon as no other process is at it; before the next slot at the latest."""
        self._pending.append(change)
        self._change(_as_it_is)

    def _change(self, last: Change) -> bool:
        """Change the state by all that is pending and by `last`; return False when another process is at it."""

        def change(state: KeyState) -> KeyState:
            return last(reduce(lambda before, each: each(before), self._pending, state))

        state = self._store.change(change)
        if state is None:
            return False
        self._pending.clear()
        self._state = state
        return True

    def _rate(self, state: KeyState) -> float:
        """Return the requests a second that go in such a state."""
        gap = self._gap(state)
        return 1 / gap if gap else math.inf

    def _gap(self, state: KeyState) -> float:
        return max(self._least_gap, 1 / rate_of(state, auto=self._is_auto))


def _as_it_is(state: KeyState) -> KeyState:
    return state
