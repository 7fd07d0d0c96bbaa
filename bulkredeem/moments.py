"""Durations and deadlines as a person writes them: `15m`, `2h`, `06:00`."""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from typing import Final

MOST: Final = 30 * 86_400.0
"""Seconds of the longest duration that makes sense: 30 days."""
_UNITS: Final = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}
_DURATION: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)
_TIME_OF_DAY: Final = re.compile(r"\s*([01]?\d|2[0-3]):([0-5]\d)\s*")


def parse_duration(text: str) -> float:
    """Read `900` (seconds), `90s`, `15m` or `2h` as seconds; raise ValueError with a sentence for anything else."""
    match = _DURATION.fullmatch(text)
    unit = match and _UNITS.get(match[2].lower())
    seconds = float(match[1]) * unit if match and unit else math.nan
    if not 0 < seconds <= MOST:
        raise ValueError(f"{text!r} is not a duration; write it like 90s, 15m or 2h, up to 30 days")
    return seconds


def is_relative(text: str) -> bool:
    """Say whether a deadline is a duration, and not a time of day."""
    return not _TIME_OF_DAY.fullmatch(text)


def deadline_moment(text: str, now: float) -> float:
    """Return the moment a deadline means, both in seconds since the epoch.

    A duration counts from now; a time of day is the next one that the local clock shows. Raises ValueError with a
    sentence for anything else.
    """
    match = _TIME_OF_DAY.fullmatch(text)
    if not match:
        try:
            # A number alone is refused: who writes 6 may mean six o'clock.
            return now + parse_duration(text if text.strip()[-1:].isalpha() else "")
        except ValueError:
            raise ValueError(
                f"{text!r} is no deadline; write a time of day like 06:00, or a duration like 2h"
            ) from None
    # Naive on purpose: a day of the local calendar, however many hours the change of the clocks makes it last.
    today = datetime.fromtimestamp(now).replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)  # noqa: DTZ006
    days = (today + timedelta(days=number) for number in range(3))
    # In the night in which clocks are set back, some times come twice; where they are set forward, one that is never
    # shown counts as that much later.
    moments = (day.replace(fold=fold).timestamp() for day in days for fold in (0, 1))
    return next(moment for moment in moments if moment > now)


def time_in_words(moment: float, now: float) -> str:
    """Write a moment as the local clock shows it; with its date when it is not within a day."""
    shown = datetime.fromtimestamp(moment)  # noqa: DTZ006  local time is what the person's clock shows
    return f"{shown:%H:%M}" if abs(moment - now) < 86_400 else f"{shown:%Y-%m-%d %H:%M}"  # noqa: PLR2004
