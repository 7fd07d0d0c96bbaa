"""On which terms a run is carried out, and what whoever watches it hears."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from bulkredeem.columns import ColumnMap
from bulkredeem.errors import DeadlineError, Stopping
from bulkredeem.journal import RunLock
from bulkredeem.ledger import Ledger, System
from bulkredeem.model import Outcome
from bulkredeem.moments import deadline_moment
from bulkredeem.pace import Pace
from bulkredeem.processor import Stop
from bulkredeem.settings import Settings
from bulkredeem.summary import RunInfo, Typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What somebody who watches a run may ask at any time."""

    requests: Callable[[], int]
    """Tries on the wire so far, those of earlier stretches too."""
    paused_for: Callable[[], float]
    """Seconds that nothing will be sent because the platform asked for it; 0.0 usually."""
    is_outage: Callable[[], bool]
    """Whether the platform seems to be gone, and only probes are sent."""
    allowed: Callable[[], float | None]
    """Requests a second that the pace allows now, less than the rate if the platform has throttled; None: no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A run whose rows are known, before its first request."""

    info: RunInfo
    columns: ColumnMap
    folder: Path
    """Where its reports will lie."""
    base_url: str
    username: str
    rate: str
    """Most requests, as the settings say it."""
    is_pace_shared: bool
    """Whether runs of the same key on this machine share the rate; with other machines nobody does."""
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


CLOCK_LOOKED_AT: Final = 60.0
"""Seconds between two looks at the clock while a deadline is waited for: it may be set in the meantime."""
Ask = Callable[[str], Awaitable[bool]]
"""Asks a question of yes or no, and returns the answer. Raises `Stopping` when a stop is asked for meanwhile."""


class Observer(Protocol):
    """Somebody who watches a run; called on the event loop, so it must be quick and must not raise."""

    def started(self, start: Start) -> None:
        """Take note that the rows are known and delivery begins."""

    def recorded(self, outcome: Outcome) -> None:
        """Take note of a row's outcome."""

    def remark(self, sentence: str) -> None:
        """Take note of something that a person should read now."""

    def paused(self, seconds: float) -> None:
        """Take note that the platform makes everything wait for so long from now."""

    def outage(self, begins: bool) -> None:  # noqa: FBT001  one event, with its beginning and its end
        """Take note that the platform seems to be gone, or that it is back."""

    def delivered(self) -> None:
        """Take note that nothing is sent any more and the reports are being written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The right to send with a ledger and a key, and that ledger."""

    reports: Path
    ledger: Ledger
    system: System
    remarks: tuple[str, ...]
    """What a person should know of the ledger: usually nothing."""
    lock: RunLock | None
    """None when the deadline came while it was waited for: then nothing is sent any more."""

    def is_of(self, reports: Path) -> bool:
        """Whether it is for this reports folder, however that is written."""
        return self.reports.resolve() == reports.resolve()

    def tell(self, run_id: str, until: float | None = None) -> None:
        """Say on which run we work, and until about when at its rate, to those who wait; None for not known."""
        if self.lock is not None:
            self.lock.tell(run_id, until)


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
    typed: Typed = Typed()
    """How the command was typed: commands that its reports offer for pasting need it, too."""
    turn: Turn | None = None
    """The right to send: one for all runs of a command. None takes one for this run alone."""
    ask: Ask | None = None
    """Asks a person, or None when nobody is there to be asked."""
    deadline: float | None = None
    """The moment, in seconds since the epoch, after which no row starts: one for all runs of a command.

    None leaves it to the run's own setting.
    """
    wall_clock: Callable[[], float] = time.time
    """Seconds since the epoch."""

    def check(self) -> None:
        """Raise Stopping when nothing is to go on; a file is taken in all the same when the deadline has come."""
        if not isinstance(self.stop.cause, DeadlineError):
            self.stop.check()

    def deadline_for(self, settings: Settings) -> float | None:
        """Return the moment after which no row starts: the command's, else what the run's own setting means now."""
        if self.deadline is not None or not settings.deadline:
            return self.deadline
        return deadline_moment(settings.deadline, self.wall_clock())


async def stop_at(moment: float | None, stop: Stop, *, wall_clock: Callable[[], float] = time.time) -> None:
    """Ask for a stop when the deadline has come, in seconds since the epoch; end earlier when all stops otherwise.

    None for no deadline.
    """
    if moment is None:
        return
    with suppress(Stopping):
        while (left := moment - wall_clock()) > 0:
            await stop.sleep(min(left, CLOCK_LOOKED_AT))
        stop.request(DeadlineError("the deadline has come"))
