"""What a large file costs: memory, the reports after the last answer, and the look before anything is sent."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.figures import Figure, ratio
from benchmarks.lab import Lab, Measured
from benchmarks.programs import check as look
from benchmarks.programs import ours, pandas
from benchmarks.target import Target

LARGE: Final = 1_000_000
SMALL: Final = 50_000
"""Rows of the file whose memory a large file's is compared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pandas:
    """How many seconds pandas took for a file."""

    reading: float
    writing: float
    """0.0 when nothing was written."""
    process: float
    """Both, starting Python and importing pandas included."""


def million(lab: Lab) -> Iterator[Figure]:
    """Send a million rows, and 50,000; compare memory, and the end of the large run with pandas copying its file."""
    file = lab.file(LARGE)
    large: list[Measured] = []
    small: list[Measured] = []
    copying: list[float] = []
    for _ in range(lab.repeats):
        copy = _copy_with_pandas(lab, file)
        copying.append(copy.reading + copy.writing)
        small.append(_send(lab, lab.file(SMALL)))
        large.append(_send(lab, file))
    yield from _memory(large, small)
    writing = [run.writing_seconds for run in large]
    yield Figure(
        what=f"last answer to finished reports, {lab.scaled(LARGE):,} rows ÷ pandas reading and writing that file",
        value=ratio(writing, copying),
        at_most=1.5,
        note=f"{statistics.median(writing):.1f} s ÷ {statistics.median(copying):.1f} s",
    )
    rates = [run.traffic.rows_per_second for run in large]
    yield Figure(what=f"rows/s over {lab.scaled(LARGE):,} rows", value=statistics.median(rates))


def check(lab: Lab) -> Iterator[Figure]:
    """Look at a million rows, and let pandas read them as text."""
    file = lab.file(LARGE)
    ours_took: list[float] = []
    pandas_took: list[Pandas] = []
    for _ in range(lab.repeats):
        pandas_took.append(_copy_with_pandas(lab, file, write=False))
        ours_took.append(lab.run("check", look(file)).seconds)
    reading = [each.reading for each in pandas_took]
    medians = f"{statistics.median(ours_took):.1f} s ÷ {statistics.median(reading):.2f} s"
    processes = ratio(ours_took, [each.process for each in pandas_took])
    yield Figure(
        what=f"check of {lab.scaled(LARGE):,} rows ÷ pandas reading the file as text",
        value=ratio(ours_took, reading),
        at_most=12,
        note=f"{medians}; process ÷ process: {processes:.1f}",
    )


def _send(lab: Lab, file: Path) -> Measured:
    return lab.send(f"million, {file.name}", Target(), (ours("--rate", "none"), file))


def _memory(large: list[Measured], small: list[Measured]) -> Iterator[Figure]:
    peaks = [[run.ended[0].peak_bytes / 1e6 for run in runs] for runs in (large, small)]
    many, few = (f"{len(runs[0].traffic.good):,}" for runs in (large, small))
    yield Figure(what=f"peak memory at {many} rows ÷ at {few}", value=ratio(*peaks), at_most=1.15)
    yield Figure(what=f"peak memory at {many} rows", value=max(peaks[0]), at_most=200, unit=" MB")


def _copy_with_pandas(lab: Lab, file: Path, *, write: bool = True) -> Pandas:
    with lab.folder() as folder:
        ended = lab.run("pandas", pandas(file, *([folder / "copy.csv"] if write else [])))
    reading, writing = map(float, ended.output.split())
    return Pandas(reading=reading, writing=writing, process=ended.seconds)
