"""Durations, deadlines and moments as a person writes them: `15m`, `90d`, `06:00`, `2026-11-24 18:00`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

DAY: Final = 86_400.0
"""Seconds of a day, as durations count: a day of the calendar may have an hour more or less."""
MOST: Final = 30 * DAY
"""Seconds of the longest duration that makes sense for what a run waits for: 30 days."""
CLOCKS_DIFFER: Final = 60.0
"""Seconds by which a moment may lie ahead: clocks of two machines do, and minutes are rounded."""
_UNITS: Final = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)
_TIME_OF_DAY: Final = re.compile(r"\s*([01]?\d|2[0-3]):([0-5]\d)\s*")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)?)?", re.IGNORECASE)
"""A date, perhaps with a time and a zone: less than ISO 8601 allows, which takes `20261124` for one, too."""


def parse_duration(text: str, *, most: float = MOST) -> float:
    """Read `900` (seconds), `90s`, `15m`, `2h` or `90d` as seconds, up to `most` of them.

    Raises ValueError with a sentence for anything else.
    """
    match = _DURATION.fullmatch(text)
    unit = match and _UNITS.get(match[2].lower())
    seconds = float(match[1]) * unit if match and unit else math.nan
    if not 0 < seconds <= most:
        examples = "90s, 15m or 2h" if most <= MOST else "12h or 90d"
        raise ValueError(f"{text!r} is not a duration; write it like {examples}, up to {most / DAY:,.6g} days")
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
    days = _from_today(match, now, range(3))
    return next(moment for day in days for moment in _moments_of(day) if moment > now)


def parse_moment(text: str, now: float) -> float:
    """Return the moment that is meant, both in seconds since the epoch: a time of day is the last one that has been.

    A date alone is its first moment. What names no zone is local time; of two moments at which the clock shows the same
    date and time, the first. Raises ValueError with a sentence for anything else, and for what lies more than a minute
    ahead.
    """
    if match := _TIME_OF_DAY.fullmatch(text):
        days = _from_today(match, now, range(0, -3, -1))
        return next(moment for day in days for moment in reversed(_moments_of(day)) if moment <= now)
    moment = _moment_of_date(text)
    if moment > now + CLOCKS_DIFFER:
        raise ValueError(f"{text!r} lies in the future; write a moment that has been")
    return moment


def _moment_of_date(text: str) -> float:
    written = text.strip()
    try:
        return datetime.fromisoformat(written.upper() if _DATE.fullmatch(written) else "").timestamp()
    except ValueError:
        raise ValueError(
            f"{text!r} is no moment; write it like 18:00, 2026-11-24 or 2026-11-24 18:00, with +01:00 or Z for a zone"
        ) from None


def _from_today(time_of_day: re.Match[str], now: float, numbers: range) -> Iterator[datetime]:
    """Yield the time on each of those days, 0 for today, as the local clock shows it."""
    hour, minute = int(time_of_day[1]), int(time_of_day[2])
    # Naive on purpose: a day of the local calendar, however many hours the change of the clocks makes it last.
    today = datetime.fromtimestamp(now).replace(hour=hour, minute=minute, second=0, microsecond=0)  # noqa: DTZ006
    return (today + timedelta(days=number) for number in numbers)


def _moments_of(shown: datetime) -> tuple[float, float]:
    """Return when the local clock shows a time, for the first and for the last time; mostly these are the same."""
    # In the night in which clocks are set back, some times come twice; where they are set forward, one that is never
    # shown counts as that much later.
    first, second = (shown.replace(fold=fold).timestamp() for fold in (0, 1))
    return first, max(first, second)


def time_in_words(moment: float, now: float) -> str:
    """Write a moment as the local clock shows it; with its date when it is not within a day."""
    shown = datetime.fromtimestamp(moment)  # noqa: DTZ006  local time is what the person's clock shows
    return f"{shown:%H:%M}" if abs(moment - now) < DAY else f"{shown:%Y-%m-%d %H:%M}"
