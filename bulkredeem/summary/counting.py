"""Outcomes → counts and the errors seen most; memory does not grow with their number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Final

from bulkredeem.codes import MendBy, mend_by_of
from bulkredeem.errors import ExitCode
from bulkredeem.model import DONE, Outcome, Status
from bulkredeem.summary.values import Ending, ErrorGroup, RunInfo, Summary

TOP_ERRORS: Final = 10
"""How many groups of errors a summary names."""
EXAMPLE_ROWS: Final = 5
"""How many rows of a group it names."""
MOST_GROUPS: Final = 10_000
"""Groups held in memory; later messages of the same code are counted as one, so that memory stays bounded."""
OTHER_MESSAGES: Final = "(other messages)"


class Groups:
    """Counts things with a code and a message, and remembers the first rows of each; memory stays bounded."""

    def __init__(self) -> None:
        """Start with no group."""
        self._counts: dict[tuple[str, str, MendBy | None], int] = {}
        self._rows: dict[tuple[str, str, MendBy | None], list[int]] = {}

    def add(self, code: str, message: str, row_number: int, mend_by: MendBy | None = None) -> None:
        """Count one."""
        key = (code, message, mend_by)
        if key not in self._counts and len(self._counts) >= MOST_GROUPS:
            key = (code, OTHER_MESSAGES, mend_by)
        self._counts[key] = self._counts.get(key, 0) + 1
        rows = self._rows.setdefault(key, [])
        if len(rows) < EXAMPLE_ROWS:
            rows.append(row_number)

    def largest(self, most: int | None = None) -> tuple[ErrorGroup, ...]:
        """Return the largest groups first, at most so many; among equals the one met first."""
        ordered = sorted(self._counts.items(), key=lambda entry: -entry[1])[:most]
        return tuple(
            ErrorGroup(
                code=key[0], message=key[1], mend_by=key[2], count=count, example_rows=tuple(sorted(self._rows[key]))
            )
            for key, count in ordered
        )


PlainOutcome = tuple[int, str, str, str, str, Sequence[str], int | None, int, str, float, str, Sequence[str]]
"""What an `Outcome` says, in the order of its fields, for whoever passes on a million; no warnings may also be ''."""


def plain(outcome: Outcome) -> PlainOutcome:
    """Return an outcome as a plain tuple."""
    return _FIELDS_OF(outcome)


_FIELDS_OF: Final[Callable[[Outcome], PlainOutcome]] = attrgetter(*(field.name for field in fields(Outcome)))


class Tally:
    """Counts outcomes as they come; memory does not grow with their number."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self.counts: dict[Status, int] = dict.fromkeys(Status, 0)
        self._groups = Groups()
        self._mend_by: Counter[MendBy] = Counter()

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.counts[outcome.status] += 1
        if outcome.status not in DONE:
            self._add_not_done(outcome.row_number, outcome.status, outcome.error_code, outcome.reason)

    def add_all(self, outcomes: Sequence[PlainOutcome]) -> None:
        """Count many outcomes, each as `add` does; what is `pending` is none and is left out."""
        counts = Counter([outcome[1] for outcome in outcomes])
        del counts[Status.PENDING]
        for status, count in counts.items():
            self.counts[Status(status)] += count
        if not counts.keys() <= DONE:
            for row_number, status, error_code, _, reason, *_ in outcomes:
                if status not in DONE and status in counts:
                    self._add_not_done(row_number, Status(status), error_code, reason)

    def _add_not_done(self, row_number: int, status: Status, error_code: str, reason: str) -> None:
        mender = mend_by_of(status, error_code)
        self._groups.add(error_code, reason, row_number, mender)
        if mender:
            self._mend_by[mender] += 1

    @property
    def recorded(self) -> int:
        """Rows counted so far."""
        return sum(self.counts.values())

    def top_errors(self) -> tuple[ErrorGroup, ...]:
        """Return the largest groups of rows that are not done."""
        return self._groups.largest(TOP_ERRORS)

    def summary(self, info: RunInfo, ending: Ending | None = None) -> Summary:
        """Return the summary of a run: rows without an outcome are `pending`."""
        pending = info.rows - self.recorded
        mend_by = Counter(self._mend_by)
        mend_by[mender_of_pending(ending)] += pending
        return Summary(
            info=info,
            counts=self.counts | {Status.PENDING: pending},
            top_errors=self.top_errors(),
            mend_by={mender: mend_by[mender] for mender in MendBy if mend_by[mender]},
            ending=ending,
        )


def mender_of_pending(ending: Ending | None) -> MendBy:
    """Return who mends the rows without an outcome: going on is enough, unless nobody was let in."""
    refused = ending is not None and ending.exit_code == ExitCode.ACCESS_REFUSED
    return MendBy.CREDENTIALS if refused else MendBy.NOBODY


def exit_code_of(counts: Mapping[Status, int]) -> ExitCode:
    """Return the exit code of a run that came to its end by itself."""
    return (
        ExitCode.DONE if all(not counts[status] for status in Status if status not in DONE) else ExitCode.NOT_ALL_DONE
    )
