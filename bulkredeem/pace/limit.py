"""What the platform allows, learnt from what it throttles: rules from one state of a key to the next.

The rate falls when the platform throttles, and creeps back along a cubic: fast at first, slowly around the peak at
which it was throttled before, faster again beyond. That is CUBIC (RFC 9438), counted in requests instead of seconds, so
that idle time teaches nothing, and neither do requests that something else holds back. A platform that counts requests
in a window says more: so many were let in until the pause it asked for is over. `auto` begins slowly, and rises by the
same amount with each request until it is throttled for the first time.

The constants were chosen on the simulated platforms of `tests/scenarios`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from enum import Enum
from typing import Final

from bulkredeem.pace.state import KeyState, pause

DEPTH: Final = 0.12
"""Share by which the rate falls below the peak when it is throttled."""
ROWS_TO_PEAK: Final = 1_000
"""Requests after which it is back at the peak."""
SECONDS_TO_PEAK: Final = 600.0
"""Seconds that this takes at most: at slow rates fewer requests have to do."""
QUICK: Final = 20
"""Requests since the last throttling, below which the rate is still far too high, and falls by `QUICK_CUT` more."""
QUICK_CUT: Final = 0.8
MARGIN: Final = 1.03
"""By how much the peak lies above what the platform lets in: below it, there would be nothing to be learnt."""
MOST: Final = 20_000.0
"""Requests a second that one process cannot reach: where a run without a limit falls from."""
LEAST: Final = 1 / 3_600
"""Requests a second that are left at least: one an hour."""
LEAST_SHARE: Final = 0.05
"""Share of a rate that is left of it at least when it is throttled once, however long the pause."""
AUTO_FIRST: Final = 100 / 60
"""Requests a second with which `auto` begins: the platform's documented limit."""
AUTO_RISE: Final = 0.7
"""Requests a second that each request adds to it: they double about every second."""
PAUSE_LEAST: Final = 0.05
"""Seconds that the key pauses after a throttled try, doubled for each further one: nobody hammers."""
PAUSE_GAPS: Final = 2.0
"""The same in gaps between two requests: at slow rates a few hundredths of a second are nothing."""
PAUSE_MOST: Final = 60.0
"""Seconds that the key pauses at most without being asked for more."""
_MOST_DOUBLINGS: Final = 11
"""From `PAUSE_LEAST` these lead past `PAUSE_MOST`; a weekend of throttling must not overflow."""


class Teaches(Enum):
    """What a throttled try says about the platform's limit."""

    LIMIT = "limit"
    """The platform counts requests: what it let in until the pause is over is what it allows."""
    OVERLOAD = "overload"
    """It has too much to do, and may have with fewer requests, too (503)."""
    NOTHING = "nothing"
    """The same row was throttled before: if others were not since, it may be the row."""


def rate_of(state: KeyState, *, auto: bool) -> float:
    """Return the requests a second that were learnt to be allowed; infinite when nothing was learnt."""
    if math.isinf(state.peak):
        return AUTO_FIRST + AUTO_RISE * state.grown if auto else math.inf
    if state.refusals:
        return (1 - DEPTH) * state.peak
    rows = min(ROWS_TO_PEAK, max(QUICK, state.peak * SECONDS_TO_PEAK))
    return state.peak * (1 + DEPTH * ((state.grown - rows) / rows) ** 3)


def allowed(state: KeyState) -> float:
    """Return the requests a second that the platform lets in, as far as known; infinite when it never throttled.

    Beyond the peak it is what goes without being throttled.
    """
    return max(state.peak, rate_of(state, auto=False)) / MARGIN


def throttle(
    state: KeyState, *, now: float, sent_at: float, rate: float, asked: float, teaches: Teaches = Teaches.LIMIT
) -> KeyState:
    """Take note of a throttled try: pause, and slow down unless it was sent before that was known.

    `rate` is what requests go at, in requests a second, `asked` the seconds the platform asks to wait, 0.0 for none.
    """
    state = replace(pause(state, now + asked), taken=max(0, state.taken - 1))
    if sent_at < state.refused_at:
        return state
    if teaches is Teaches.NOTHING and not _is_too_fast(state):
        state = replace(state, refusals=state.refusals + 1, refused_at=now, refused_rate=math.inf)
    else:
        state = _slowed(state, now, rate)
    if teaches is Teaches.LIMIT:
        state = _as_counted(state, now + asked)
    own = max(PAUSE_LEAST, PAUSE_GAPS / state.peak) * 2 ** min(state.refusals - 1, _MOST_DOUBLINGS)
    return pause(state, now + min(PAUSE_MOST, own))


def strain(state: KeyState, *, now: float, sent_at: float, rate: float) -> KeyState:
    """Take note that the platform is overloaded at a rate, which it says in other words: slow down without a pause."""
    return state if sent_at < state.refused_at else _slowed(state, now, rate)


def accept(state: KeyState, *, sent_at: float) -> KeyState:
    """Take note of a try that was not throttled: if it was sent after the last throttled one, requests flow again."""
    if not state.refusals or sent_at < state.refused_at:
        return state
    return replace(state, refusals=0, taken=0, grown=0)


def _is_too_fast(state: KeyState) -> bool:
    """Whether requests, and not just one row's, were throttled since they last flowed."""
    return state.refusals > 0 and not math.isinf(state.refused_rate)


def _slowed(state: KeyState, now: float, rate: float) -> KeyState:
    """Count one more refusal; the first that is not just a row's says that the rate is too high, further ones no more.

    Those say only that it lasts.
    """
    refused = replace(state, refusals=state.refusals + 1, refused_at=now)
    if _is_too_fast(state):
        return refused
    rate = min(rate, MOST)
    peak = max(LEAST, rate * (1 if state.taken >= QUICK else QUICK_CUT))
    return replace(refused, refused_since=now, refused_rate=rate, peak=peak)


def _as_counted(state: KeyState, until: float) -> KeyState:
    """Let the peak be what was let in up to a moment, if that is less and enough was let in to tell.

    The moment is one up to which the platform lets nothing more in, as far as it is known.
    """
    if state.taken < QUICK:
        return state
    lasting = state.taken / state.refused_rate + until - state.refused_since
    counted = max(MARGIN * state.taken / lasting, LEAST_SHARE * state.refused_rate)
    return replace(state, peak=max(LEAST, min(state.peak, counted)))
