"""Settling by reading back which rows of a run were applied: those in doubt, or all that were sent.

What a redemption holds says whether a row was applied, unless somebody has set the same field since. A row that says
`success` keeps its verdict: what it set was applied, and may have been changed by others. One that says that it was not
applied keeps it, too, unless its values are there after all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from bulkredeem.application.asking import ask_all
from bulkredeem.application.concluding import Run
from bulkredeem.application.intake import judged_rows
from bulkredeem.application.opening import Opened, open_run, require_ended, rewrite_reports
from bulkredeem.application.presenting import Presentation
from bulkredeem.application.resuming import at_its_system, settings_for
from bulkredeem.application.rows import RowNumbers, outcomes_of
from bulkredeem.application.terms import Terms, Turn
from bulkredeem.application.turn import turn_of
from bulkredeem.application.wiring import client_for
from bulkredeem.delivery import NotRead
from bulkredeem.errors import BulkRedeemError, ExitCode, RunNotFoundError
from bulkredeem.model import Correction, Outcome, Status
from bulkredeem.moments import time_in_words
from bulkredeem.readback import Current
from bulkredeem.settings import Settings
from bulkredeem.summary import ErrorGroup, Groups, exit_code_of
from bulkredeem.verdict import SENT_BEFORE

WAIT: Final = 300.0
"""Seconds after a row's last try before which it is not judged: an update without an answer may land late."""
AT_ONCE: Final = 20
"""Verdicts that are made durable together: so many are lost at most when the process dies, and can be found again."""
NOT_APPLIED: Final = "NOT_APPLIED"
_NOT_APPLIED_IN_WORDS: Final = "reading back shows that it was not applied"
_VERIFIED: Final = "verified by reading back"
_APPLIED_IN_WORDS: Final = "the platform shows its values"
_MIXED: Final = "the platform shows some of its values and others not"
_TOUCHED: Final = "the platform shows other values, and a later run has set them, or may have"
_MAY_HAVE_SET: Final = frozenset({Status.SUCCESS, Status.IN_DOUBT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What reading back has shown of a run."""

    run: Run
    """The run as it is now; its reports were written anew."""
    rows: int
    """Rows that were to be read back."""
    requests: int
    """Tries on the wire."""
    applied: tuple[ErrorGroup, ...]
    """Rows that are `success` now, by the code that they had."""
    not_applied: tuple[ErrorGroup, ...]
    """Rows that are `failed` now, by the code that they had."""
    unknown: tuple[ErrorGroup, ...]
    """Rows whose verdict stays what it was, by the reason."""
    contradicted: tuple[ErrorGroup, ...]
    """Rows that say `success` while the platform shows another value, by the fields."""
    stopped_by: BulkRedeemError | None
    """What ended it before the last row, or None."""

    @property
    def folder(self) -> Path:
        """The run's."""
        return self.run.folder

    @property
    def exit_code(self) -> ExitCode:
        """What it means for the process: whether all rows are done, and none shows another value than it set."""
        if self.stopped_by is not None:
            return self.stopped_by.exit_code
        return ExitCode.NOT_ALL_DONE if self.contradicted else self.run.exit_code


async def verify_run(
    folder: Path, now: Settings, flags: Mapping[str, Any], terms: Terms, *, every: bool, at_once: bool
) -> Verified:
    """Read back the rows of a run at its end that are in doubt, and settle what became of them.

    `every` looks at all rows that were sent, `at_once` also at those that were tried less than `WAIT` seconds ago.
    Raises what `resume_run` raises, and RunNotFoundError for a run that is not at its end or was sent too recently.
    """
    async with turn_of(folder.parent, at_its_system(folder, now), terms) as turn:
        terms.stop.check()
        opened = await asyncio.to_thread(open_run, folder, terms.wall_clock())
        with opened.resources:
            require_ended(opened)
            settings, remarks = settings_for(opened, now, flags)
            for remark in (*turn.remarks, *remarks):
                terms.observer.remark(remark)
            turn.tell(opened.info.run_id)
            verifying = _Verifying(opened, settings, turn, terms, every=every)
            return await verifying.run(at_once=at_once)


class _Verifying:
    """Reads back the rows of one run, and settles them."""

    def __init__(self, opened: Opened, settings: Settings, turn: Turn, terms: Terms, *, every: bool) -> None:
        self._opened = opened
        self._settings = settings
        self._turn = turn
        self._terms = terms
        self._every = every
        self._client = client_for(settings, wall_clock=terms.wall_clock)
        self._doubted = RowNumbers(opened.journal.doubted())
        self._before: dict[int, Outcome] = {}
        """What is said so far of the rows that are asked about just now."""
        self._asked = 0
        self._waiting: list[Outcome] = []
        self._applied, self._not_applied, self._unknown, self._contradicted = Groups(), Groups(), Groups(), Groups()

    async def run(self, *, at_once: bool) -> Verified:
        """Read back and settle; what was found is durable, whatever ends it."""
        rows = await asyncio.to_thread(self._count, at_once=at_once)
        try:
            requests = await ask_all(self._corrections(), rows, self._note, self._client, self._settings, self._terms)
        finally:
            self._settle()
        stopped_by = self._terms.stop.cause if self._asked < rows else None
        if stopped_by is not None and not isinstance(stopped_by, BulkRedeemError):
            raise stopped_by
        wanted = Presentation.of(self._settings, self._terms.typed)
        summary, remarks = await asyncio.to_thread(rewrite_reports, self._opened, wanted)
        return Verified(
            run=Run(
                folder=self._opened.folder,
                summary=summary,
                exit_code=exit_code_of(summary.counts),
                remarks=remarks,
            ),
            rows=rows,
            requests=requests,
            applied=self._applied.largest(),
            not_applied=self._not_applied.largest(),
            unknown=self._unknown.largest(),
            contradicted=self._contradicted.largest(),
            stopped_by=stopped_by,
        )

    def _count(self, *, at_once: bool) -> int:
        """Return how many rows there are to be read back. Raises RunNotFoundError when it is too early for one."""
        rows, last, now = 0, 0.0, self._terms.wall_clock()
        for _, outcome in self._candidates():
            rows, last = rows + 1, max(last, outcome.finished_at)
        if now < last + WAIT and not at_once:
            moment = time_in_words(last + WAIT, now)
            raise RunNotFoundError(
                f"{self._opened.folder} was sent so recently that an update may still be on its way: verify it from"
                f" {moment} on, or verify now with --now."
            )
        return rows

    def _corrections(self) -> Iterator[Correction]:
        for correction, outcome in self._candidates():
            self._before[correction.row_number] = outcome
            yield correction

    def _candidates(self) -> Iterator[tuple[Correction, Outcome]]:
        """Yield the rows that are to be read back, with what was sent of each, and what is said of it so far."""
        opened = self._opened
        outcomes = outcomes_of(opened.journal)
        for job in judged_rows(opened.folder, opened.columns, self._settings.rules):
            told = outcomes(job.row_number)
            if told is None and job.row_number in self._doubted:
                told = self._left_in_doubt(job.row_number)
            if isinstance(job, Correction) and told is not None and self._is_wanted(told):
                yield job.without(told.kept), told

    def _left_in_doubt(self, row_number: int) -> Outcome:
        """Return what is known of a row that was perhaps sent, and has no outcome."""
        return Outcome(
            row_number=row_number,
            status=SENT_BEFORE.status,
            error_code=SENT_BEFORE.code,
            error_message=SENT_BEFORE.message,
            reason=SENT_BEFORE.message,
            finished_at=self._opened.ending.finished_at,
        )

    def _is_wanted(self, outcome: Outcome) -> bool:
        return outcome.status is Status.IN_DOUBT or (self._every and outcome.attempts > 0)

    def _note(self, correction: Correction, current: Current | NotRead) -> None:
        """Take note of what was read back of a row."""
        self._asked += 1
        before, number = self._before.pop(correction.row_number), correction.row_number
        if isinstance(current, NotRead):
            self._unknown.add(current.code, current.message, number)
            return
        others = [field for field, value in correction.values.items() if current.value_of(field) != value]
        if before.status is Status.SUCCESS:
            self._compare(correction, before, others)
        elif not others:
            self._applied.add(before.error_code, _APPLIED_IN_WORDS, number)
            self._keep(_as_applied(before, self._terms.wall_clock()))
        elif before.status is not Status.IN_DOUBT:
            pass  # it says that it was not applied, and why: both stay
        elif len(others) < len(correction.values):
            self._unknown.add(before.error_code, _MIXED, number)
        elif self._is_touched_since(correction, before):
            self._unknown.add(before.error_code, _TOUCHED, number)
        else:
            self._not_applied.add(before.error_code, _NOT_APPLIED_IN_WORDS, number)
            self._keep(_as_not_applied(before, self._terms.wall_clock()))

    def _compare(self, correction: Correction, before: Outcome, others: list[str]) -> None:
        """Tell of a row that says `success` while the platform shows another value; its verdict stays."""
        if others:
            since = ", and a later run has set it, or may have" if self._is_touched_since(correction, before) else ""
            words = f"the platform shows another value of {', '.join(others)}{since}"
            self._contradicted.add("", words, correction.row_number)

    def _is_touched_since(self, correction: Correction, before: Outcome) -> bool:
        """Say whether the ledger knows that a field of the row was set, or may have been, after the row's last try."""
        identifier = correction.redemption_id or correction.external_reference_number
        # By whichever till: all of a host's set the same redemptions.
        return any(
            told.at > before.finished_at
            and told.field in correction.values
            and told.status in _MAY_HAVE_SET
            and told.base_url == self._turn.system.base_url
            for told in self._turn.ledger.story(identifier)
        )

    def _keep(self, outcome: Outcome) -> None:
        """Put a verdict into the journal, sooner or later."""
        self._waiting.append(outcome)
        if len(self._waiting) >= AT_ONCE:
            self._settle()

    def _settle(self) -> None:
        """Make durable what waits, and only then say that it is in doubt no more."""
        if self._waiting:
            self._opened.journal.settle(self._waiting)
            self._opened.journal.clear_doubt(outcome.row_number for outcome in self._waiting)
            self._waiting.clear()


def _as_applied(before: Outcome, now: float) -> Outcome:
    return replace(
        before,
        status=Status.SUCCESS,
        error_code="",
        error_message="",
        reason="",
        warnings=(*before.warnings, _VERIFIED),
        # Whatever was never recorded, somebody sent it.
        attempts=max(1, before.attempts),
        finished_at=now,
    )


def _as_not_applied(before: Outcome, now: float) -> Outcome:
    was = f"before reading back: {before.status}, {before.error_code} ({before.reason})"
    return replace(
        before,
        status=Status.FAILED,
        error_code=NOT_APPLIED,
        error_message=_NOT_APPLIED_IN_WORDS,
        reason=_NOT_APPLIED_IN_WORDS,
        warnings=(*before.warnings, was),
        finished_at=now,
    )
