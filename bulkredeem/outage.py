"""Is the platform gone, or is one row sick? A pure rule over the tries that finished last.

An *outage* is declared when the last ten finished tries, of at least three rows (or of all that remain), went
unanswered: by connection, by timeout, or by a server's own failure. Such tries say nothing about their rows. It ends
with the first try that the platform answers or throttles.

Until there is an outage, the same tries say whether a row may be given up: only when the platform has answered
somebody in the meantime, so that the row is the sick one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Final

from bulkredeem.model import Sign

TRIES: Final = 10
"""Finished tries that are looked at."""
ROWS: Final = 3
"""Rows that those must be of, if so many remain: a sick row, or two, are no outage."""


class Watch:
    """Watches the finished tries of one run."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing seen; `clock` counts seconds."""
        self.outages = 0
        """How many were declared so far."""
        self.is_outage = False
        self.finished = 0
        """How many tries have finished so far."""
        self._clock = clock
        self._last: deque[tuple[int, Sign]] = deque(maxlen=TRIES)
        self._unanswered_since: float | None = None

    @property
    def unanswered_for(self) -> float:
        """Seconds since the first try after the platform's last answer ended without one; 0.0 when it answers."""
        return 0.0 if self._unanswered_since is None else self._clock() - self._unanswered_since

    def note(self, row_number: int, sign: Sign, *, remaining: int) -> None:
        """Take note of a finished try; `remaining` is how many rows have no outcome yet, this one among them."""
        self._last.append((row_number, sign))
        self.finished += 1
        if sign is Sign.ANSWERED:
            self._unanswered_since = None
        elif self._unanswered_since is None:
            self._unanswered_since = self._clock()
        if sign is not Sign.UNANSWERED:
            self.is_outage = False
        elif not self.is_outage and self._nobody_is_answered(remaining):
            self.is_outage = True
            self.outages += 1

    def may_give_up(self, row_number: int, *, since: int, under_way: int) -> bool | None:
        """Say whether a row whose attempts are used up is to blame for it; None when that cannot be told yet.

        What has finished since its last try was sent decides; `since` is how many tries had finished by then. While
        there is nothing, and `under_way` counts others beside this row, news of them will come. When there is nobody
        else, what the platform did before decides. When none of the last ten tries was answered, and yet there is no
        outage, too few rows can be tried to tell: then it is given up, so that a run comes to an end.
        """
        news = list(islice(reversed(self._last), self.finished - since))
        if any(sign is not Sign.UNANSWERED for _, sign in news):
            return True
        if under_way < ROWS and self._all_went_unanswered:
            return True
        if any(number != row_number for number, _ in news):
            return False
        return None if under_way > 1 else any(sign is not Sign.UNANSWERED for _, sign in self._last)

    @property
    def _all_went_unanswered(self) -> bool:
        return len(self._last) == TRIES and all(sign is Sign.UNANSWERED for _, sign in self._last)

    def _nobody_is_answered(self, remaining: int) -> bool:
        return self._all_went_unanswered and len({number for number, _ in self._last}) >= min(ROWS, remaining)
