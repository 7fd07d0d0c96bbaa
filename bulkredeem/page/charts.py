"""Numbers → where the lines and bars of a chart stand. Pure; the templates make SVG of it.

A plot is 1000 wide and 100 high and is stretched to its place; labels stand outside it and are not stretched. So a
chart is as readable on a telephone as on a wall.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

WIDTH: Final = 1000
HEIGHT: Final = 100
_TICKS: Final = 4
"""Intervals of an axis, about."""
_MOMENTS: Final = (10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
"""Seconds from one label of the time axis to the next; longer ones are whole days."""
_DAY: Final = 86_400
_LABELS: Final = 6
"""Labels of the time axis, at most."""
_EDGE: Final = 3.0
"""Per cent of the width beside each edge where no label fits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A label on an axis."""

    at: float
    """Per cent of the axis, from the left or from the top."""
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line, or the area below it."""

    kind: str
    """Its class, which gives it colour and dashes."""
    name: str
    path: str
    """As the attribute `d` of an SVG path."""
    note: str = ""
    """What the legend says beside the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle of a stack of bars."""

    kind: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A stretch of the time axis, and what is to be read there."""

    x: float
    width: float
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart, ready to be drawn."""

    name: str
    """A word that is its own on the page."""
    title: str
    says: str
    """In a sentence what it shows, for whoever does not see it."""
    lines: tuple[Line, ...] = ()
    boxes: tuple[Box, ...] = ()
    legend: tuple[tuple[str, str, str], ...] = ()
    """Class, name and note of what is drawn."""
    across: tuple[Tick, ...] = ()
    upwards: tuple[Tick, ...] = ()
    spots: tuple[Spot, ...] = ()
    head: tuple[str, ...] = ()
    """The columns of the same as a table."""
    table: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Where on the time axis a number stands; None for no number."""

    start: float
    end: float
    value: float | None


def nice_top(most: float) -> float:
    """Return the round number, at or above the largest, at which an axis ends."""
    if most <= 0:
        return 1.0
    step = 10.0 ** math.floor(math.log10(most / _TICKS))
    return next(top for factor in (1, 2, 2.5, 5, 10, 20) if (top := factor * step * _TICKS) >= most)


def upward_ticks(top: float) -> tuple[Tick, ...]:
    """Return the labels of an axis from zero to `top`."""
    values = [top * number / _TICKS for number in range(_TICKS + 1)]
    return tuple(Tick(at=round(100 - 100 * value / top, 2), label=short(value)) for value in values)


def short(value: float) -> str:
    """Write a number as an axis has room for: `150k`, `2.5`."""
    for factor, letter in ((1e6, "M"), (1e3, "k")):
        if value >= factor:
            return f"{value / factor:.4g}{letter}"
    return f"{value:.4g}"


def time_ticks(start: float, end: float) -> tuple[Tick, ...]:
    """Return round moments, in UTC, between two; seconds since the epoch."""
    span = max(end - start, 1.0)
    step = next((step for step in _MOMENTS if span / step <= _LABELS), _DAY * math.ceil(span / _DAY / _LABELS))
    first = math.ceil(start / step) * step
    moments = (first + number * step for number in range(_LABELS + 1))
    places = ((moment, 100 * (moment - start) / span) for moment in moments)
    return tuple(
        Tick(at=round(at, 2), label=_moment(moment, step)) for moment, at in places if _EDGE <= at <= 100 - _EDGE
    )


def _moment(moment: float, step: float) -> str:
    shown = datetime.fromtimestamp(moment, UTC)
    if step >= _DAY:
        return f"{shown:%d %b}"
    return f"{shown:%H:%M:%S}" if step < 60 else f"{shown:%H:%M}"  # noqa: PLR2004  a minute


def log_place(value: float, low: float, high: float) -> float:
    """Return where a value stands from 0 to 1 on an axis on which each power of ten has the same length."""
    return (math.log10(value) - math.log10(low)) / (math.log10(high) - math.log10(low))


def steps(stretches: Iterable[Stretch]) -> str:
    """Return the path of a line that is level over each stretch and broken where there is no number.

    Places and values go from 0 to 1.
    """
    return " ".join(_step(run) for run in _unbroken(stretches))


def area(stretches: Iterable[Stretch]) -> str:
    """Return the path of what lies below such a line."""
    return " ".join(f"M{_x(run[0].start)} {HEIGHT}L{_step(run)[1:]}V{HEIGHT}Z" for run in _unbroken(stretches))


def _step(run: Sequence[Stretch]) -> str:
    return f"M{_x(run[0].start)} {_y(run[0])}" + "".join(f"V{_y(each)}H{_x(each.end)}" for each in run)


def _unbroken(stretches: Iterable[Stretch]) -> Iterator[list[Stretch]]:
    run: list[Stretch] = []
    for each in stretches:
        if run and (each.value is None or each.start - run[-1].end > 1e-3):  # noqa: PLR2004  less than is seen
            yield run
            run = []
        if each.value is not None:
            run.append(each)
    if run:
        yield run


def _x(share: float) -> str:
    return f"{WIDTH * share:.1f}"


def _y(stretch: Stretch) -> str:
    return f"{HEIGHT * (1 - (stretch.value or 0.0)):.2f}"


def stack(start: float, end: float, kinds: Sequence[tuple[str, float]]) -> Iterator[Box]:
    """Yield the bars of a stretch one upon another, from the first at the bottom; all from 0 to 1."""
    below = 0.0
    for kind, value in kinds:
        if value > 0:
            below += value
            yield Box(
                kind=kind,
                x=round(WIDTH * start, 2),
                y=round(HEIGHT * (1 - below), 2),
                width=round(WIDTH * (end - start), 2),
                height=round(HEIGHT * value, 2),
            )


def proportional(counts: Sequence[tuple[str, int]], *, least: float = 9.0) -> tuple[Box, ...]:
    """Return the parts of a bar over all its width, none of them too small to be seen; nothing for nothing."""
    parts = [(kind, count) for kind, count in counts if count]
    total = sum(count for _, count in parts)
    widths = [max(least, WIDTH * count / total) for _, count in parts]
    scale = WIDTH / sum(widths) if widths else 1.0
    boxes, x = [], 0.0
    for (kind, _), width in zip(parts, widths, strict=True):
        boxes.append(Box(kind=kind, x=round(x, 2), y=0, width=round(width * scale, 2), height=HEIGHT))
        x += width * scale
    return tuple(boxes)
