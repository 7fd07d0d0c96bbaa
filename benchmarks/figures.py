"""Figures beside their targets, as lines for a person and as a table for the README."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure that came out."""

    what: str
    value: float | None
    """None when it could not be measured (`note` says why); infinite for seconds that never came to an end."""
    at_least: float | None = None
    at_most: float | None = None
    """The target; both None for a figure that only explains others."""
    unit: str = ""
    note: str = ""
    failed: bool = False
    """Whether measuring it went wrong."""

    @property
    def target(self) -> str:
        """The target in words, or empty."""
        bound = self.at_least if self.at_most is None else self.at_most
        if bound is None:
            return ""
        return f"{'≥' if self.at_most is None else '≤'} {bound:,g}{self.unit}"

    @property
    def verdict(self) -> str:
        """Whether the target is met, in a word; empty when either is missing."""
        if not self.target or self.value is None:
            return ""
        low = self.at_least is not None and self.value < self.at_least
        high = self.at_most is not None and self.value > self.at_most
        return "missed" if low or high else "met"

    @property
    def shown(self) -> str:
        """The value as it is written."""
        if self.value is None:
            return "not measured"
        return "never" if math.isinf(self.value) else f"{_rounded(self.value)}{self.unit}"

    def line(self) -> str:
        """Return the figure as a line for a person."""
        against = f", target {self.target}" if self.target else ""
        verdict = f": {self.verdict}" if self.verdict else ""
        return f"  {self.what}: {self.shown}{against}{verdict}{self._in_brackets()}"

    def row(self) -> str:
        """Return the figure as a row of the table."""
        return f"| {self.what}{self._in_brackets()} | {self.shown} | {self.target} | {self.verdict} |"

    def _in_brackets(self) -> str:
        return f" ({' '.join(self.note.split())})" if self.note else ""


def _rounded(value: float) -> str:
    """Three digits after the point for a ratio, none for thousands."""
    if value == int(value) or abs(value) >= 1000:  # noqa: PLR2004  where digits after the point tell nothing
        return f"{value:,.0f}"
    return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"  # noqa: PLR2004  the same


def table(figures: Iterable[Figure]) -> str:
    """Return the figures as a table in Markdown."""
    head = ["| what | measured | target | |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *(figure.row() for figure in figures)])


def machine(nginx_version: str) -> str:
    """Return what the figures depend on."""
    return (
        f"{os.cpu_count()} CPUs, {platform.system()} {platform.machine()}, Python {platform.python_version()}, "
        f"aiohttp {importlib.metadata.version('aiohttp')}, {nginx_version}."
    )


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the ratio of the medians."""
    return statistics.median(ours) / statistics.median(theirs)
