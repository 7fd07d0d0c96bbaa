"""What is decided of a row before it is sent: by its neighbours in the file, by what was asked for, by the ledger."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from bulkredeem.application.absorbing import ALREADY_APPLIED
from bulkredeem.application.planning import unselected
from bulkredeem.application.rows import RowNumbers, in_step
from bulkredeem.journal import Planned
from bulkredeem.ledger import Age, Knows, Lookup, Standing, judge
from bulkredeem.model import Correction, Invalid, Job, Problem, Skipped, Status
from bulkredeem.verdict import SENT_BEFORE

STALE_CORRECTION: Final = "STALE_CORRECTION"
_FIGHT: Final = "rows of the file set one field of this redemption to different values: keep one of them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rulings:
    """What is known of the rows of one run."""

    planned: Iterator[Planned]
    """What was found in the first pass, by row number."""
    selected: RowNumbers | None
    """The rows that are wanted; None for all."""
    doubted: Container[int] = ()
    """Those that may have been applied before."""
    lookup: Lookup | None = None
    """What was applied to which redemption; None when nothing ever was, or nobody asks."""
    age: Age = (0.0, 0.0)
    """How old the run's knowledge is."""
    resend: bool = False
    """Whether a row is sent although all that it sets stands already."""
    allow_older: bool = False
    """Whether a row is sent although newer knowledge says otherwise."""

    def over(self, judged: Iterable[Correction | Invalid]) -> Iterator[Job]:
        """Yield each row as what it comes to; the rows come by row number."""
        planned_of = in_step((planned.row_number, planned) for planned in self.planned)
        for job in judged:
            planned = planned_of(job.row_number)
            if self.selected is not None and job.row_number not in self.selected:
                yield unselected(job)
            elif planned is not None and planned.status:
                yield ruled_by_neighbours(planned)
            elif isinstance(job, Correction):
                yield self._ruled(job)
            else:
                yield job

    def _ruled(self, correction: Correction) -> Job:
        if correction.row_number in self.doubted:
            correction = replace(correction, may_be_applied=True)
        standings = self.lookup.standings(correction) if self.lookup else {}
        if not standings or correction.expected:
            return correction
        knows, fields = judge(correction.values, self.age, standings)
        if knows is Knows.ALREADY_APPLIED and not self.resend and not correction.may_be_applied:
            return _already(correction, standings, fields)
        if knows is Knows.STALE and not self.allow_older:
            stale = self._stale(correction, standings, fields)
            return _still_in_doubt(stale) if correction.may_be_applied else stale
        return correction

    def _stale(self, correction: Correction, standings: Mapping[str, Standing], fields: Iterable[str]) -> Invalid:
        return Invalid(
            row_number=correction.row_number,
            problems=tuple(self._problem(field, correction, standings) for field in fields),
        )

    def _problem(self, field: str, correction: Correction, standings: Mapping[str, Standing]) -> Problem:
        newer = standings[field].newer(correction.values[field], self.age)
        assert newer is not None  # noqa: S101  the ledger's rule has just said so
        when = f"{datetime.fromtimestamp(newer.age[0], UTC):%Y-%m-%d %H:%M} UTC"
        return Problem(
            code=STALE_CORRECTION,
            column=field,
            message=f"{field} has another value from newer knowledge (run {newer.run_id}, as of {when}): if this one is"
            " right all the same, send it with --allow-older",
        )


def ruled_by_neighbours(planned: Planned) -> Job:
    """Return what other rows of its file make of a row."""
    if planned.status == Status.SKIPPED:
        return Skipped(row_number=planned.row_number, code=planned.code, message=planned.message)
    # The rows it names are the row's own: like rows are to be one group in a summary.
    problem = Problem(code=planned.code, column="", message=_FIGHT, detail=planned.message)
    return Invalid(row_number=planned.row_number, problems=(problem,))


def _still_in_doubt(stale: Invalid) -> Skipped:
    """Return what becomes of a row that may have been applied before: only the platform could settle that."""
    words = "; ".join(problem.message for problem in stale.problems)
    return Skipped(
        row_number=stale.row_number,
        code=STALE_CORRECTION,
        message=f"{SENT_BEFORE.message}; {words}",
        status=Status.IN_DOUBT,
    )


def _already(correction: Correction, standings: Mapping[str, Standing], fields: Iterable[str]) -> Skipped:
    runs = sorted({known.run_id for field in fields if (known := standings[field].known)})
    message = f"exactly this was applied before, by run {' and '.join(runs)}"
    return Skipped(row_number=correction.row_number, code=ALREADY_APPLIED, message=message)
