"""Is the platform gone, or is one row sick? A pure rule over the tries that finished last.

An *outage* is declared when the last ten finished tries, of at least three rows (or of all that remain), went
unanswered: by connection, by timeout, or by a server's own failure. Such tries say nothing about their rows. It ends
with the first try that the platform answers or throttles.

Until there is an outage, the same tries say whether a row may be given up: only when the platform has answered
somebody in the meantime, so that the row is the sick one.

A *suspect* is a row that went unanswered twice while others were answered. It bears no witness of an outage: sick rows
are tried again and again, and are therefore the last that are left of a run. While others were answered means: somebody
was after the row was sent and before it is sent again or looked at, and no outage was declared in between.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from bulkredeem.model import Sign

TRIES: Final = 10
"""Finished tries that are looked at."""
ROWS: Final = 3
"""Rows that those must be of, if so many remain: a sick row, or two, are no outage."""
SUSPICIOUS: Final = 2
"""Times that a row goes unanswered, while others are answered, before it is a suspect. Once may befall any row that is
under way when an outage begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unanswered:
    """A row's last try, which went unanswered."""

    since: int | None
    """How many tries had finished when it was sent; None once the row is sent again: then others tell no more of it."""
    outages: int
    """How many outages there had been when it ended."""
    alone: int
    """How many of the row's tries went unanswered while others were answered: of those before it, and of all of them
    once the row is sent again."""


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
        self._there_at = 0
        """How many tries had finished when the platform was last seen to be there."""
        self._unanswered: dict[int, _Unanswered] = {}
        """Of rows that are under way, and whose last try went unanswered."""
        self._unanswered_since: float | None = None

    @property
    def unanswered_for(self) -> float:
        """Seconds since the first try after the platform's last answer ended without one; 0.0 when it answers."""
        return 0.0 if self._unanswered_since is None else self._clock() - self._unanswered_since

    def sent(self, row_number: int) -> int:
        """Take note that a row is sent, and return how many tries have finished by then."""
        if last := self._unanswered.get(row_number):
            self._unanswered[row_number] = replace(last, since=None, alone=self._times_alone(row_number))
        return self.finished

    def note(self, row_number: int, sign: Sign, *, remaining: int, since: int | None = None) -> None:
        """Take note of a finished try.

        `remaining` is how many rows have no outcome yet, this one among them; `since` is what `sent` returned, or
        None when that is not known.
        """
        if sign is Sign.ANSWERED:
            self._unanswered_since = None
        elif self._unanswered_since is None:
            self._unanswered_since = self._clock()
        if sign is Sign.UNANSWERED and since is not None:
            alone = self._times_alone(row_number)
            self._unanswered[row_number] = _Unanswered(since=since, outages=self.outages, alone=alone)
            if alone >= SUSPICIOUS:
                return
        self._last.append((row_number, sign))
        self.finished += 1
        if sign is not Sign.UNANSWERED:
            self.is_outage = False
            self._there_at = self.finished
            self._unanswered.pop(row_number, None)
        elif not self.is_outage and self._nobody_is_answered(remaining):
            self.is_outage = True
            self.outages += 1

    def forget(self, row_number: int) -> None:
        """Take note that a row is not under way any more."""
        self._unanswered.pop(row_number, None)

    def may_give_up(self, row_number: int, *, since: int, under_way: int) -> bool | None:
        """Say whether a row whose attempts are used up is to blame for it; None when that cannot be told yet.

        What has finished since its last try was sent decides; `since` is how many tries had finished by then. While
        there is nothing, and `under_way` counts others beside this row, news of them will come. When there is nobody
        else, what the platform did before decides. When none of the last ten tries was answered, and yet there is no
        outage, too few rows can be tried to tell: then it is given up, so that a run comes to an end.
        """
        if self._is_suspect(row_number):
            return True
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
        suspects = sum(map(self._is_suspect, self._unanswered))
        witnesses = len({number for number, _ in self._last})
        return self._all_went_unanswered and witnesses >= min(ROWS, remaining - suspects)

    def _is_suspect(self, row_number: int) -> bool:
        return self._times_alone(row_number) >= SUSPICIOUS

    def _times_alone(self, row_number: int) -> int:
        """Return how often a row went unanswered while others were answered, its last try included."""
        last = self._unanswered.get(row_number)
        if last is None:
            return 0
        is_alone = last.since is not None and self._there_at > last.since and self.outages == last.outages
        return last.alone + is_alone
