"""The charts over all runs: night by night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from bulkredeem.model import DONE, Status
from bulkredeem.page.charts import Box, Chart, Spot, Tick, nice_top, stack, upward_ticks
from bulkredeem.page.values import IndexEntry
from bulkredeem.summary import counted

NIGHTS: Final = 90
"""Nights that are drawn, the last ones."""
_HALF_A_DAY: Final = timedelta(hours=12)
_GAP: Final = 0.15
"""Share of a night's place that is left free between bars."""
_LABELS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """What was done from one noon to the next, as the local clock shows it."""

    day: date
    """On which it began."""
    counts: Mapping[Status, int]
    seconds: float
    """How long its runs lasted together."""
    runs: int


def nights_of(entries: Sequence[IndexEntry]) -> tuple[Night, ...]:
    """Return the last nights, those without a run in between too; none when no run's beginning is known."""
    dated = [(_night(entry.started_at), entry) for entry in entries if entry.started_at is not None]
    if not dated:
        return ()
    last = max(day for day, _ in dated)
    first = max(min(day for day, _ in dated), last - timedelta(days=NIGHTS - 1))
    by_day: dict[date, list[IndexEntry]] = {}
    for day, entry in dated:
        by_day.setdefault(day, []).append(entry)
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    return tuple(_sum(day, by_day.get(day, [])) for day in days)


def _night(started_at: float) -> date:
    # A night is what the people of the place call so, hence the local clock.
    return (datetime.fromtimestamp(started_at) - _HALF_A_DAY).date()  # noqa: DTZ006


def _sum(day: date, entries: Sequence[IndexEntry]) -> Night:
    counts = dict.fromkeys(Status, 0)
    for entry in entries:
        for status, count in (entry.counts or {}).items():
            counts[status] += count
    lasted = (
        entry.finished_at - entry.started_at
        for entry in entries
        if entry.finished_at is not None and entry.started_at is not None
    )
    return Night(day=day, counts=counts, seconds=sum(max(0.0, each) for each in lasted), runs=len(entries))


def night_charts(entries: Sequence[IndexEntry]) -> tuple[Chart, ...]:
    """Return the charts over all runs: rows, rows not done, and hours, night by night."""
    nights = nights_of(entries)
    if not nights:
        return ()
    done = [status for status in Status if status in DONE]
    left = [status for status in Status if status not in DONE]
    return _rows("rows", "Rows a night", nights, done + left), _rows("left", "Not done", nights, left), _hours(nights)


def _rows(name: str, title: str, nights: Sequence[Night], statuses: Sequence[Status]) -> Chart:
    totals = {status: sum(night.counts[status] for night in nights) for status in statuses}
    most = max(sum(night.counts[status] for status in statuses) for night in nights)
    top = nice_top(max(most, 4))
    boxes: list[Box] = []
    for index, night in enumerate(nights):
        parts = [(str(status), night.counts[status] / top) for status in statuses]
        boxes += stack(*_place(index, len(nights)), parts)
    runs = sum(night.runs for night in nights)
    words = [tuple(f"{night.counts[status]:,}" for status in statuses) for night in nights]
    return Chart(
        name=name,
        title=title,
        says=f"{counted(sum(totals.values()), 'row')} in {counted(runs, 'run')}, {most:,} a night at most.",
        boxes=tuple(boxes),
        legend=tuple((str(status), _word(status), f"{total:,}") for status, total in totals.items() if total),
        across=_days(nights),
        upwards=upward_ticks(top),
        spots=_spots(nights, [_said(night, statuses) for night in nights]),
        head=("night", *map(_word, statuses)),
        table=tuple((f"{night.day}", *of_night) for night, of_night in zip(nights, words, strict=True)),
    )


def _said(night: Night, statuses: Sequence[Status]) -> str:
    said = [f"{night.counts[status]:,} {_word(status)}" for status in statuses if night.counts[status]]
    return ", ".join(said) or ("none" if night.runs else "no run")


def _hours(nights: Sequence[Night]) -> Chart:
    longest = max(night.seconds for night in nights)
    factor, unit = (3600.0, "hours") if longest >= 3600 else (60.0, "minutes")  # noqa: PLR2004  an hour
    top = nice_top(longest / factor)
    boxes: list[Box] = []
    for index, night in enumerate(nights):
        boxes += stack(*_place(index, len(nights)), [("lasted", night.seconds / factor / top)])
    shown = [f"{night.seconds / factor:,.2f}" for night in nights]
    return Chart(
        name="hours",
        title=f"Duration in {unit}",
        says=f"The longest night took {longest / factor:,.2f} {unit}.",
        boxes=tuple(boxes),
        legend=(("lasted", "all runs of the night together", ""),),
        across=_days(nights),
        upwards=upward_ticks(top),
        spots=_spots(nights, [f"{each} {unit}" for each in shown]),
        head=("night", "runs", unit),
        table=tuple((f"{night.day}", str(night.runs), each) for night, each in zip(nights, shown, strict=True)),
    )


def _word(status: Status) -> str:
    return status.replace("_", " ")


def _place(index: int, many: int) -> tuple[float, float]:
    # A single night is not to fill the whole width.
    places = max(many, 14)
    return (index + _GAP) / places, (index + 1 - _GAP) / places


def _days(nights: Sequence[Night]) -> tuple[Tick, ...]:
    every = -(-len(nights) // _LABELS)
    places = [(sum(_place(index, len(nights))) / 2, night) for index, night in enumerate(nights)]
    return tuple(Tick(at=round(100 * at, 2), label=f"{night.day:%d %b}") for at, night in places[every // 2 :: every])


def _spots(nights: Sequence[Night], words: Sequence[str]) -> tuple[Spot, ...]:
    places = max(len(nights), 14)
    return tuple(
        Spot(x=round(1000 * index / places, 2), width=round(1000 / places, 2), words=f"{night.day}  {said}")
        for index, (night, said) in enumerate(zip(nights, words, strict=True))
    )
