"""What becomes of a row once its redemption was read back, just before it is sent.

What the platform holds by now may be worth more than what the file says: then it is kept. And what is about to be
replaced is remembered, so that it can be restored.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from typing import Final

from bulkredeem.application.absorbing import ALREADY_APPLIED
from bulkredeem.delivery import NotRead, Reader
from bulkredeem.delivery.reading import READ_BACK_FAILED
from bulkredeem.journal import Journal
from bulkredeem.model import Correction, Outcome, Status
from bulkredeem.readback import Current
from bulkredeem.verdict import SENT_BEFORE

KEPT_EXISTING: Final = "KEPT_EXISTING"
CHANGED_SINCE: Final = "CHANGED_SINCE"
_WHY_SKIPPED: Final = {
    ALREADY_APPLIED: "the platform has exactly these values already",
    KEPT_EXISTING: "the platform has other values, which were kept",
    CHANGED_SINCE: "the values were changed since, and stay as they are",
}


class Looker:
    """Looks at redemptions before their rows are sent; shared by all workers of a run."""

    def __init__(
        self,
        reader: Reader,
        journal: Journal,
        commit: Callable[[], Awaitable[None]],
        *,
        existing_keep: bool,
        record_previous: bool,
        doubted_at: float = 0.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Take how to read back, where old values are remembered, and what makes that durable (`commit`).

        `existing_keep` leaves another value alone that the platform has already, `record_previous` remembers what there
        was. `doubted_at` is when rows that may have been applied before were, at the latest, and `wall_clock` gives the
        time; both in seconds since the epoch.
        """
        self._reader = reader
        self._journal = journal
        self._commit = commit
        self._existing_keep = existing_keep
        self._record_previous = record_previous
        self._doubted_at = doubted_at
        self._wall_clock = wall_clock

    async def look(self, correction: Correction) -> Correction | Outcome:
        """Return what is to be sent of a row, or its outcome when nothing is.

        What was there before is durable by then, if it is to be remembered. Raises what `Reader.current` raises, and
        JournalError.
        """
        current = await self._reader.current(correction)
        if isinstance(current, NotRead):
            return self._unseen(correction, current)
        if self._record_previous:
            await self._remember(correction, current)
        return self._decided(correction, current)

    async def _remember(self, correction: Correction, current: Current) -> None:
        before = {field: current.value_of(field) for field in correction.values}
        # Read before, and not sent then, a row may have been changed by somebody since.
        self._journal.remember(correction.row_number, before, anew=not correction.may_be_applied)
        await self._commit()

    def _decided(self, correction: Correction, current: Current) -> Correction | Outcome:
        """Leave out what is to stay as it is, and what is as it should be where anything could have been kept."""
        if not self._may_keep(correction):
            return correction
        ours = {field for field, value in correction.values.items() if current.value_of(field) == value}
        kept = [field for field in correction.values if field not in ours and self._is_kept(correction, current, field)]
        left = _without(correction, ours, kept)
        return left if left.values else self._nothing_left(left, kept)

    def _may_keep(self, correction: Correction) -> bool:
        return self._existing_keep or bool(correction.expected)

    def _is_kept(self, correction: Correction, current: Current, field: str) -> bool:
        """Say whether a field, whose value is another one than the row's, stays as it is."""
        found = current.value_of(field)
        if field in correction.expected:
            return found != correction.expected[field]
        return self._existing_keep and bool(found)

    def _nothing_left(self, correction: Correction, kept: Collection[str]) -> Outcome:
        since = not correction.expected.keys().isdisjoint(kept)
        code = CHANGED_SINCE if since else KEPT_EXISTING if kept else ALREADY_APPLIED
        return self._outcome(correction, Status.SKIPPED, code, _WHY_SKIPPED[code])

    def _unseen(self, correction: Correction, not_read: NotRead) -> Correction | Outcome:
        """Say what becomes of a row whose redemption could not be read back."""
        if not self._may_keep(correction) and not_read.code != READ_BACK_FAILED:
            # There is nothing to restore of what is not shown; the row says so, and is sent.
            return _warned(correction, [f"the values before are not known: {not_read.message}"])
        not_sent = f"not sent: {not_read.message}"
        if correction.may_be_applied:
            words = f"{SENT_BEFORE.message}; {not_sent}"
            still = self._outcome(correction, SENT_BEFORE.status, SENT_BEFORE.code, words)
            # A doubt is as old as the try that left it: what others have set since comes after it.
            return replace(still, finished_at=self._doubted_at or still.finished_at)
        return self._outcome(correction, Status.FAILED, not_read.code, not_sent)

    def _outcome(self, correction: Correction, status: Status, code: str, message: str) -> Outcome:
        return Outcome(
            row_number=correction.row_number,
            status=status,
            error_code=code,
            error_message=message,
            reason=message,
            warnings=correction.warnings,
            finished_at=self._wall_clock(),
            kept=correction.kept,
        )


def _without(correction: Correction, ours: Collection[str], kept: Collection[str]) -> Correction:
    """Leave out the fields that have the row's value already, and those that are kept, with a warning for each."""
    # Those that are as they should be are not kept from anything: the row's value counts as theirs.
    left = replace(correction.without(ours), kept=correction.kept).without(kept)
    return _warned(left, [_kept_in_words(field, correction) for field in kept])


def _kept_in_words(field: str, correction: Correction) -> str:
    if field in correction.expected:
        return f"{field} was changed since, and stays as it is"
    return f"{field}: the platform has another value, which was kept"


def _warned(correction: Correction, warnings: list[str]) -> Correction:
    return replace(correction, warnings=(*correction.warnings, *warnings))
