"""The charts of a run: what happened on the wire, stretch by stretch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from bulkredeem.counters import LATENCIES, STRETCH, THROTTLED, UNANSWERED, Counters
from bulkredeem.page.charts import (
    Box,
    Chart,
    Line,
    Spot,
    Stretch,
    Tick,
    area,
    log_place,
    nice_top,
    stack,
    steps,
    time_ticks,
    upward_ticks,
)

POINTS: Final = 200
"""Stretches that are drawn; more are merged, a few of them at a time."""
_PAUSE: Final = 3 * STRETCH
"""Seconds without a stretch after which the run was not under way: nothing is merged across."""
_SLOW: Final = 10.0
"""Requests a second below which a minute is the better unit."""
_TROUBLES: Final = (
    (THROTTLED, "throttled", "429: too many requests"),
    ("5xx", "server", "5xx: error of the platform"),
    (UNANSWERED, "silent", "no answer"),
    ("4xx", "refusal", "4xx: said no"),
)
_SHARES: Final = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))


def merged(counters: Sequence[Counters], points: int = POINTS) -> tuple[Counters, ...]:
    """Return about so many stretches at most, by merging neighbours; none across a pause of the run."""
    size = -(-len(counters) // points) or 1
    return tuple(_sum(part) for part in _parts(counters, size))


def _parts(counters: Sequence[Counters], size: int) -> Iterator[list[Counters]]:
    part: list[Counters] = []
    for each in counters:
        if part and (len(part) == size or _began(each) - part[-1].ended_at > _PAUSE):
            yield part
            part = []
        part.append(each)
    if part:
        yield part


def _sum(part: Sequence[Counters]) -> Counters:
    replies: Counter[str] = Counter()
    for each in part:
        replies.update(each.replies)
    return Counters(
        ended_at=part[-1].ended_at,
        seconds=part[-1].ended_at - _began(part[0]),
        replies=dict(replies),
        latency=tuple(map(sum, zip(*(each.latency for each in part), strict=True))),
        allowed=None if any(each.allowed is None for each in part) else max(each.allowed or 0.0 for each in part),
        sent=sum(each.sent for each in part),
    )


def _began(counters: Counters) -> float:
    return counters.ended_at - counters.seconds


class _Axis:
    """The time axis that the charts of a run share."""

    def __init__(self, points: Sequence[Counters]) -> None:
        self.start, self.end = _began(points[0]), points[-1].ended_at
        self._span = max(self.end - self.start, 1e-9)
        self.points = points
        self.ticks = time_ticks(self.start, self.end)

    def spans(self) -> Iterator[tuple[float, float, Counters]]:
        """Yield from where to where, from 0 to 1, each point lasts."""
        for each in self.points:
            yield (_began(each) - self.start) / self._span, (each.ended_at - self.start) / self._span, each

    def line(self, values: Sequence[float | None]) -> list[Stretch]:
        """Return these values, from 0 to 1, where their points are."""
        return [
            Stretch(start=start, end=end, value=value)
            for (start, end, _), value in zip(self.spans(), values, strict=True)
        ]

    def spots(self, words: Sequence[str]) -> tuple[Spot, ...]:
        """Return where these words are to be read."""
        return tuple(
            Spot(x=round(1000 * start, 2), width=round(1000 * (end - start), 2), words=f"{_briefly(each)}  {said}")
            for (start, end, each), said in zip(self.spans(), words, strict=True)
        )


def _briefly(point: Counters) -> str:
    """Say when it began, as there is room for below a chart."""
    return f"{datetime.fromtimestamp(_began(point), UTC):%d %b %H:%M}"


def _at(point: Counters) -> str:
    return f"{datetime.fromtimestamp(_began(point), UTC):%Y-%m-%d %H:%M:%S}"


def wire_charts(counters: Sequence[Counters]) -> tuple[Chart, ...]:
    """Return the charts of a run: rate, latency, troubles; none when nothing was counted."""
    points = merged([each for each in counters if each.seconds > 0])
    if not points:
        return ()
    axis = _Axis(points)
    return _rate(axis), _latency(axis), _troubles(axis)


def _rate(axis: _Axis) -> Chart:
    rates = list(map(_sent_a_second, axis.points))
    allowed = [each.allowed for each in axis.points]
    highest = max([*rates, *(rate for rate in allowed if rate)])
    factor, unit = (60.0, "a minute") if highest < _SLOW else (1.0, "a second")
    top = nice_top(highest * factor)
    numbers = [rate * factor for rate in rates]
    limits = [None if limit is None else limit * factor for limit in allowed]
    lines = [Line(kind="sent", name="sent", path=area(axis.line([number / top for number in numbers])))]
    if any(limits):
        path = steps(axis.line([None if limit is None else limit / top for limit in limits]))
        lines.append(Line(kind="allowed", name="allowed by the pace", path=path))
    shown = [f"{number:,.4g}" for number in numbers]
    bounds = ["no limit" if limit is None else f"{limit:,.4g}" for limit in limits]
    mean = (
        factor
        * sum(rate * each.seconds for rate, each in zip(rates, axis.points, strict=True))
        / sum(each.seconds for each in axis.points)
    )
    return Chart(
        name="rate",
        title=f"Requests {unit}",
        says=f"{mean:,.4g} requests {unit} on average, {max(numbers):,.4g} at most.",
        lines=tuple(lines),
        legend=tuple((line.kind, line.name, line.note) for line in lines),
        across=axis.ticks,
        upwards=upward_ticks(top),
        spots=axis.spots([f"sent {a}, allowed {b} {unit}" for a, b in zip(shown, bounds, strict=True)]),
        head=("from (UTC)", f"sent {unit}", f"allowed {unit}"),
        table=tuple(zip(map(_at, axis.points), shown, bounds, strict=True)),
    )


def _sent_a_second(point: Counters) -> float:
    """Return how many requests a second were sent in a stretch.

    One slot more than its share may fall into a stretch, since n slots have n - 1 gaps: that passes no limit, and is
    not drawn as if it did.
    """
    rate = point.sent / point.seconds
    if point.allowed is None or rate <= point.allowed:
        return rate
    return max(point.allowed, (point.sent - 1) / point.seconds)


def _latency(axis: _Axis) -> Chart:
    values = [[each.percentile(share) for each in axis.points] for share, _ in _SHARES]
    seen = [value for of_share in values for value in of_share if value is not None] or [LATENCIES[0]]
    low, high = _decade(min(seen), down=True), _decade(max(seen), down=False)
    lines = [
        Line(
            kind=name,
            name=name,
            path=steps(axis.line([None if value is None else log_place(value, low, high) for value in of_share])),
            note=f"at most {_seconds(max(value for value in of_share if value is not None))}" if any(of_share) else "",
        )
        for (_, name), of_share in zip(_SHARES, values, strict=True)
    ]
    words = [tuple(map(_seconds, of_point)) for of_point in zip(*values, strict=True)]
    return Chart(
        name="latency",
        title="Time to the answer",
        says="Upper bounds: that share of the answers took no longer. Each power of ten has the same height.",
        lines=tuple(lines),
        legend=tuple((line.kind, line.name, line.note) for line in lines),
        across=axis.ticks,
        upwards=_decades(low, high),
        spots=axis.spots([f"p50 {a}, p95 {b}, p99 {c}" for a, b, c in words]),
        head=("from (UTC)", "p50", "p95", "p99"),
        table=tuple((_at(point), *of_point) for point, of_point in zip(axis.points, words, strict=True)),
    )


def _decade(value: float, *, down: bool) -> float:
    """Return the power of ten next to a value; above it, never the value's own."""
    powers = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
    return max(power for power in powers if power < value) if down else min(power for power in powers if power > value)


def _decades(low: float, high: float) -> tuple[Tick, ...]:
    powers = [power for power in (0.001, 0.01, 0.1, 1.0, 10.0, 100.0) if low <= power <= high]
    return tuple(Tick(at=round(100 - 100 * log_place(power, low, high), 2), label=_seconds(power)) for power in powers)


def _seconds(value: float | None) -> str:
    if value is None:
        return "no answer"
    return f"{value:g} s" if value >= 1 else f"{value * 1000:g} ms"


def _troubles(axis: _Axis) -> Chart:
    counts = [[each.replies.get(name, 0) for name, _, _ in _TROUBLES] for each in axis.points]
    totals = [sum(of_kind) for of_kind in zip(*counts, strict=True)]
    top = nice_top(max(map(sum, counts)))
    boxes: list[Box] = []
    for (start, end, _), of_point in zip(axis.spans(), counts, strict=True):
        boxes += stack(
            start, end, [(kind, count / top) for (_, kind, _), count in zip(_TROUBLES, of_point, strict=True)]
        )
    words = [tuple(f"{count:,}" for count in of_point) for of_point in counts]
    requests = sum(each.requests for each in axis.points)
    return Chart(
        name="troubles",
        title="Answers that were no success",
        says=f"{sum(totals):,} of {requests:,} requests." if any(totals) else "Every answer was a success.",
        boxes=tuple(boxes),
        legend=tuple(
            (kind, name, f"{total:,}") for total, (_, kind, name) in zip(totals, _TROUBLES, strict=True) if total
        ),
        across=axis.ticks,
        upwards=upward_ticks(top),
        spots=axis.spots(["429: {}, 5xx: {}, no answer: {}, 4xx: {}".format(*of_point) for of_point in words]),
        head=("from (UTC)", "429", "5xx", "no answer", "4xx"),
        table=tuple((_at(point), *of_point) for point, of_point in zip(axis.points, words, strict=True)),
    )
