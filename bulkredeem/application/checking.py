"""A check: everything a run does before its first request, and nothing after."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bulkredeem.application.intake import NOT_SELECTED, fit_before, seconds_for, take_in
from bulkredeem.application.planning import plan_of
from bulkredeem.application.rulings import ruled_by_neighbours
from bulkredeem.columns import ColumnMap
from bulkredeem.errors import ExitCode
from bulkredeem.journal import Planned
from bulkredeem.model import Invalid, Job, Skipped
from bulkredeem.moments import deadline_moment
from bulkredeem.settings import Settings
from bulkredeem.summary import ErrorGroup, Groups

_WHY_SKIPPED: Final = {
    "DUPLICATE_ROW": "the same as an earlier row",
    "SUPERSEDED": "a later row sets the same",
    NOT_SELECTED: "other rows were selected (--only)",
}
"""What like rows have in common; each row's own words name other rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a file would do, found without any network."""

    columns: ColumnMap
    rows: int
    sendable: int
    """Rows that could be sent: each is one request, when nothing has to be repeated."""
    problems: tuple[ErrorGroup, ...]
    """Why the others could not, by kind; a row with two problems is in two groups."""
    skipped: tuple[ErrorGroup, ...]
    """Rows that need no sending, by kind."""
    warnings: tuple[ErrorGroup, ...]
    """What a person may want to know of rows that could be sent; without codes."""
    seconds: float | None
    """How long sending takes at the configured rate; None without a limit."""
    fit: int | None
    """How many of the sendable rows fit before the deadline; None without a deadline or without a limit."""
    deadline: float | None
    """The moment after which no row would start, in seconds since the epoch, or None."""

    @property
    def exit_code(self) -> ExitCode:
        """What it means for the process."""
        return ExitCode.NOT_ALL_DONE if self.unsendable else ExitCode.DONE

    @property
    def unsendable(self) -> int:
        """Rows that could not be sent, and about which someone has to do something."""
        return self.rows - self.sendable - sum(group.count for group in self.skipped)


def check_file(path: Path, settings: Settings, *, wall_clock: Callable[[], float] = time.time) -> CheckReport:
    """Read and validate a file; nothing is sent and nothing is left behind. Raises InputFileError."""
    now = wall_clock()
    deadline = deadline_moment(settings.deadline, now) if settings.deadline else None
    found = _Found()
    with tempfile.TemporaryDirectory(prefix="bulkredeem-") as folder:
        intake = take_in(path, Path(folder), settings, durable=False)
        with plan_of(Path(folder), intake.columns, settings, source=str(path), note=found.note) as plan:
            for planned in plan.planned():
                found.note_planned(planned)
    return CheckReport(
        columns=intake.columns,
        rows=intake.rows,
        sendable=found.sendable,
        problems=found.problems.largest(),
        skipped=found.skipped.largest(),
        warnings=found.warnings.largest(),
        seconds=seconds_for(found.sendable, settings),
        fit=None if (fit := fit_before(deadline, now, settings)) is None else min(fit, found.sendable),
        deadline=deadline,
    )


class _Found:
    """Counts what the rows of a file come to."""

    def __init__(self) -> None:
        self.problems, self.skipped, self.warnings = Groups(), Groups(), Groups()
        self.sendable = 0

    def note(self, job: Job) -> None:
        """Count a row as what it comes to by itself."""
        if isinstance(job, Invalid):
            for problem in job.problems:
                self.problems.add(problem.code, problem.message, job.row_number)
        elif isinstance(job, Skipped):
            self.skipped.add(job.code, _WHY_SKIPPED.get(job.code, job.message), job.row_number)
        else:
            self.sendable += 1
            for warning in job.warnings:
                self.warnings.add("", warning, job.row_number)

    def note_planned(self, planned: Planned) -> None:
        """Count a row anew that its neighbours in the file make something else of."""
        if planned.status:
            self.sendable -= 1
            self.note(ruled_by_neighbours(planned))
