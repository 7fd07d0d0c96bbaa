"""What it costs to start the command at all."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from benchmarks.figures import Figure, ratio
from benchmarks.lab import Lab
from benchmarks.programs import BULKREDEEM, Command

STARTS = 15
"""Starts for each repeat: one takes a few hundredths of a second, and scatters."""


def start(lab: Lab) -> Iterator[Figure]:
    """Start `bulkredeem --help` and an idle Python in turn."""
    ours: list[float] = []
    idle: list[float] = []
    for _ in range(STARTS * lab.repeats):
        idle.append(lab.run("python -c pass", Command(words=[sys.executable, "-c", "pass"])).seconds)
        ours.append(lab.run("--help", Command(words=[BULKREDEEM, "--help"])).seconds)
    yield Figure(what="--help ÷ python -c pass", value=ratio(ours, idle), at_most=15)
