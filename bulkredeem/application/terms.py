"""On which terms a run is carried out, and what whoever watches it hears."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bulkredeem.columns import ColumnMap
from bulkredeem.model import Outcome
from bulkredeem.pace import Pace
from bulkredeem.processor import Stop
from bulkredeem.summary import RunInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What somebody who watches a run may ask at any time."""

    requests: Callable[[], int]
    """Tries on the wire so far, those of earlier stretches too."""
    paused_for: Callable[[], float]
    """Seconds that nothing will be sent because the platform asked for it; 0.0 usually."""
    is_outage: Callable[[], bool]
    """Whether the platform seems to be gone, and only probes are sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A run whose rows are known, before its first request."""

    info: RunInfo
    columns: ColumnMap
    folder: Path
    """Where its reports will lie."""
    recorded: int
    """Rows that have an outcome already: 0 for a new run."""
    seconds: float | None
    """How long it takes at the configured rate if every other row is sent once; None without a limit."""
    fit: int | None
    """How many of the other rows fit before the deadline; None without a deadline or without a limit."""
    deadline: float | None
    """The moment after which no row starts, in seconds since the epoch, or None."""
    patience: float
    """Seconds for which the platform may answer nothing before the run ends."""
    remarks: tuple[str, ...]
    """Sentences that a person should read before it begins."""
    live: Live


class Observer(Protocol):
    """Somebody who watches a run; called on the event loop, so it must be quick and must not raise."""

    def started(self, start: Start) -> None:
        """Take note that the rows are known and delivery begins."""

    def recorded(self, outcome: Outcome) -> None:
        """Take note of a row's outcome."""

    def paused(self, seconds: float) -> None:
        """Take note that the platform makes everything wait for so long from now."""

    def outage(self, begins: bool) -> None:  # noqa: FBT001  one event, with its beginning and its end
        """Take note that the platform seems to be gone, or that it is back."""

    def delivered(self) -> None:
        """Take note that nothing is sent any more and the reports are being written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a run shares with the command it belongs to."""

    stop: Stop
    """The wish to stop: one for all runs of a command."""
    observer: Observer
    pace: Pace | None = None
    """When requests may go: one for all runs of a command that have its rate. None makes one for this run alone."""
    remarks: tuple[str, ...] = ()
    """What a person should know of that pace."""
    deadline: float | None = None
    """The moment, in seconds since the epoch, after which no row starts: one for all runs of a command.

    None leaves it to the run's own setting.
    """
    wall_clock: Callable[[], float] = time.time
    """Seconds since the epoch."""
