"""How far a run is: counted whenever a row ends, and worked out when somebody wants to see it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Final

from bulkredeem.application import Start
from bulkredeem.cli.progress.speed import Speed
from bulkredeem.cli.progress.words import duration_in_words, rate_in_words, roughly
from bulkredeem.model import DONE, Outcome, Status
from bulkredeem.moments import time_in_words
from bulkredeem.summary import counted

WORTH_MENTIONING: Final = 1.0
"""Seconds of a pause that are worth a word."""
ERRORS_SHOWN: Final = 3
_ERRORS_REMEMBERED: Final = 100
"""Distinct reasons of which the rows are counted: a platform may word each one differently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastError:
    """Rows that ended with one reason."""

    status: Status
    code: str
    reason: str
    """With identifiers masked; still somebody else's text."""
    rows: int
    row_number: int
    """The last of them."""

    def in_words(self) -> str:
        """Return it as a line: `748, 12 rows, last row 532: …`."""
        which = f"row {self.row_number}" if self.rows == 1 else f"{self.rows:,} rows, last row {self.row_number}"
        return f"{self.code or self.status}, {which}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """What is to be seen of a run at a moment."""

    done: int
    """Rows with an outcome, those of earlier stretches too."""
    rows: int
    counts: Mapping[Status, int] = field(default_factory=dict)
    """Of this stretch."""
    rate: str = ""
    """How fast it goes and may go, or empty."""
    left: str = ""
    """How long it will take, or empty when that cannot be told."""
    notice: str = ""
    """Why nothing moves, as a sentence; usually empty."""
    is_bad: bool = False
    """Whether the notice is of an outage."""
    errors: tuple[LastError, ...] = ()
    """The newest first."""

    @property
    def share(self) -> float:
        """What part is done, from 0.0 to 1.0."""
        return min(1.0, self.done / self.rows) if self.rows else 1.0

    @property
    def how_far(self) -> str:
        """Return it as a person says it."""
        return f"{self.done:,} of {counted(self.rows, 'row')}"


class Standing:
    """What was counted of a run, and what it says about itself.

    Rows are counted on the event loop; a glance may be taken in another thread.
    """

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, wall_clock: Callable[[], float] = time.time
    ) -> None:
        """Begin with nothing; `clock` counts seconds, `wall_clock` seconds since the epoch."""
        self.counts: dict[Status, int] = {}
        self.is_writing = False
        """Whether nothing is sent any more, and the reports are being written."""
        self._clock = clock
        self._wall_clock = wall_clock
        self._start: Start | None = None
        self._since: float | None = None
        self._errors: dict[tuple[str, str], tuple[Status, int, int]] = {}
        self._speed = Speed()
        self._lock = Lock()

    def begin(self, start: Start) -> None:
        """Take note of what the run is."""
        self._start = start
        self.glance()

    def add(self, outcome: Outcome) -> None:
        """Count a row; thousands come in a second."""
        status = outcome.status
        self.counts[status] = self.counts.get(status, 0) + 1
        if status not in DONE:
            self._note(outcome)

    def _note(self, outcome: Outcome) -> None:
        """Put the row's reason last, as the newest."""
        key = (outcome.error_code, outcome.reason)
        with self._lock:
            _, rows, _ = self._errors.pop(key, (outcome.status, 0, 0))
            self._errors[key] = (outcome.status, rows + 1, outcome.row_number)
            if len(self._errors) > _ERRORS_REMEMBERED:
                del self._errors[next(iter(self._errors))]

    def outage(self, begins: bool) -> None:  # noqa: FBT001  one event, with its beginning and its end
        """Take note of since when the platform does not answer, or that it does."""
        self._since = self._wall_clock() if begins else None

    def stand_still(self) -> None:
        """Take note that nothing moved for a reason that says nothing of the speed."""
        with self._lock:
            self._speed.stand_still()

    def glance(self) -> Glance | None:
        """Return what is to be seen now; None before anything is known of the run."""
        if (start := self._start) is None:
            return None
        counts = dict(self.counts)
        with self._lock:
            glance = Glance(
                done=start.recorded + sum(counts.values()),
                rows=start.info.rows,
                counts=counts,
                errors=self._last_errors(),
            )
            if self.is_writing:
                return replace(glance, notice="Writing the reports …")
            return self._moving(glance, start)

    def _last_errors(self) -> tuple[LastError, ...]:
        newest = list(self._errors.items())[: -ERRORS_SHOWN - 1 : -1]
        return tuple(
            LastError(status=status, code=code, reason=reason, rows=rows, row_number=number)
            for (code, reason), (status, rows, number) in newest
        )

    def _moving(self, glance: Glance, start: Start) -> Glance:
        """Return it with what is to be seen only while something is sent."""
        live, allowed = start.live, start.live.allowed()
        paused, is_outage = live.paused_for(), live.is_outage()
        notice = self._outage_in_words(start) if is_outage else _pause_in_words(paused)
        if notice:
            self._speed.stand_still()
        else:
            self._speed.look(self._clock(), requests=live.requests(), rows=glance.done, allowed=allowed)
        return replace(
            glance,
            notice=notice,
            is_bad=is_outage,
            left="" if is_outage else self._left_in_words(start, glance.rows - glance.done, paused, allowed),
            rate="" if is_outage else rate_in_words(self._speed.requests, allowed, start.rate),
        )

    def _outage_in_words(self, start: Start) -> str:
        since = self._wall_clock() if self._since is None else self._since
        shown = datetime.fromtimestamp(since)  # noqa: DTZ006  local time is what the person's clock shows
        return (
            f"The platform does not answer; probing since {shown:%H:%M:%S},"
            f" for {duration_in_words(start.patience)} at most."
        )

    def _left_in_words(self, start: Start, rows: int, paused: float, allowed: float | None) -> str:
        """Say how long it takes and, with a deadline, whether it will fit; empty when that cannot be told."""
        rate = self._speed.rows(allowed)
        if not rate or rows <= 0:
            return ""
        seconds = paused + rows / rate
        left = f"about {roughly(seconds)} left"
        if start.deadline is None:
            return left
        now = self._wall_clock()
        if now + seconds <= start.deadline:
            return f"{left}, before the deadline, {time_in_words(start.deadline, now)}"
        fit = min(rows, max(0, int((start.deadline - now - paused) * rate)))
        until = time_in_words(start.deadline, now)
        return f"only about {fit:,} of the {counted(rows, 'row')} left fit before the deadline, {until}"


def _pause_in_words(seconds: float) -> str:
    if seconds < WORTH_MENTIONING:
        return ""
    return f"The platform asks to wait: {roughly(seconds)} more."
