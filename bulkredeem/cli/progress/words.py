"""Counts, durations, rates, and a run that is about to begin, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from bulkredeem.model import Ceiling, Status
from bulkredeem.pace import gap_of

_COLOURS: Final = {
    Status.SUCCESS: "green",
    Status.SKIPPED: "dim",
    Status.INVALID: "yellow",
    Status.REFUSED: "red",
    Status.FAILED: "red",
    Status.IN_DOUBT: "magenta",
    Status.PENDING: "cyan",
}
_SECONDS_OF_A_MINUTE: Final = 60
_SECONDS_OF_AN_HOUR: Final = 3600
_SECONDS_OF: Final = {"s": 1, "min": _SECONDS_OF_A_MINUTE, "hour": _SECONDS_OF_AN_HOUR}
_FEW: Final = 10
"""Below it a number is shown with one decimal, and minutes with their seconds."""
_AS_GOOD_AS_ALL: Final = 0.97
"""Share of the configured rate from which on nobody would call it throttled."""

_CHANCE: Final = 1.1
"""By how much a rate may seem to be passed: a request more or less in ten seconds is chance."""


def colour_of(status: Status) -> str:
    """Return the colour a status has on a terminal."""
    return _COLOURS[status]


def in_words(counts: Mapping[Status, int]) -> str:
    """Write down the counts that are not 0, in the order of the statuses."""
    return ", ".join(f"{counts[status]:,} {status}" for status in Status if counts.get(status))


def duration_in_words(seconds: float) -> str:
    """Write a duration: seconds while they are few, else hours, minutes and seconds."""
    return f"{seconds:.1f} s" if seconds < _SECONDS_OF_A_MINUTE else str(timedelta(seconds=round(seconds)))


def roughly(seconds: float) -> str:
    """Write a duration that is only guessed: nobody wants its seconds when it is hours."""
    if seconds < _SECONDS_OF_A_MINUTE:
        return f"{math.ceil(seconds)} s"
    minutes, rest = divmod(round(seconds), _SECONDS_OF_A_MINUTE)
    if minutes < _FEW and rest:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, _SECONDS_OF_A_MINUTE)
    if not hours:
        return f"{minutes} min"
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def rate_in_words(now: float | None, allowed: float | None, configured: str) -> str:
    """Write what goes now and what may go, both in requests a second: `96/min of 100/min`.

    `now` is None when it is not known yet, `allowed` without a limit. When the platform has throttled, the configured
    rate stands behind it: `58/min of 60/min (rate 100/min)`. Empty when there is nothing to say.
    """
    usual, unit = _usual(configured)
    if allowed is None:
        return "" if now is None else _per(now, _unit_for(now))
    is_throttled = allowed < _AS_GOOD_AS_ALL * usual
    unit = unit or _unit_for(allowed)
    most = allowed if is_throttled else usual
    behind = f" (rate {configured})" if is_throttled else ""
    if now is None:
        return f"up to {_per(most, unit)}{behind}"
    if most < now < _CHANCE * most:
        now = most
    return f"{_per(now, unit)} of {_per(most, unit)}{behind}"


def _usual(configured: str) -> tuple[float, str]:
    """Return the tightest of the configured rates, in requests a second, and its unit; infinite and none without."""
    ceiling = Ceiling.parse(configured)
    if not gap_of(ceiling):
        return math.inf, ""
    tightest = max(ceiling.rates, key=lambda rate: rate.interval)
    unit = next(unit for unit, seconds in _SECONDS_OF.items() if seconds == tightest.per_seconds)
    return 1 / tightest.interval, unit


def _unit_for(per_second: float) -> str:
    """Return the smallest unit in which a rate is a number of some size."""
    return next((unit for unit, seconds in _SECONDS_OF.items() if per_second * seconds >= _FEW), "min")


def _per(per_second: float, unit: str) -> str:
    number = per_second * _SECONDS_OF[unit]
    shown = f"{number:,.0f}" if number >= _FEW else f"{number:.1f}".removesuffix(".0")
    return f"{shown}/{unit}"
