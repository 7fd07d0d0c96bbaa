"""How moments and numbers are written."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

_MILLISECONDS: Final = tuple(f".{number:03}Z" for number in range(1_000))
"""The ends of all moments: a report of a million rows has a million of them, and to look one up is cheapest."""


def iso_utc(seconds: float) -> str:
    """Write a moment (seconds since the epoch) as ISO 8601 in UTC: to the microsecond rounded, to the millisecond cut.

    Raises what datetime raises for a moment that no calendar has.
    """
    whole = int(seconds)
    microseconds = round((seconds - whole) * 1e6)
    if 0 <= microseconds < 1_000 * len(_MILLISECONDS):
        return _second_in_utc(whole) + _MILLISECONDS[microseconds // 1_000]
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@lru_cache(maxsize=1_000)
def _second_in_utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: `1 row`, `9,000 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
