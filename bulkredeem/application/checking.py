"""A check: everything a run does before its first request, and nothing after."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bulkredeem.application.intake import fit_before, judged_rows, seconds_for, take_in
from bulkredeem.columns import ColumnMap
from bulkredeem.errors import ExitCode
from bulkredeem.model import Invalid
from bulkredeem.moments import deadline_moment
from bulkredeem.settings import Settings
from bulkredeem.summary import ErrorGroup, Groups


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a file would do, found without any network."""

    columns: ColumnMap
    rows: int
    sendable: int
    """Rows that could be sent: each is one request, when nothing has to be repeated."""
    problems: tuple[ErrorGroup, ...]
    """Why the others could not, by kind; a row with two problems is in two groups."""
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
        return ExitCode.DONE if self.sendable == self.rows else ExitCode.NOT_ALL_DONE


def check_file(path: Path, settings: Settings, *, wall_clock: Callable[[], float] = time.time) -> CheckReport:
    """Read and validate a file; nothing is sent and nothing is left behind. Raises InputFileError."""
    now = wall_clock()
    deadline = deadline_moment(settings.deadline, now) if settings.deadline else None
    problems, warnings, sendable = Groups(), Groups(), 0
    with tempfile.TemporaryDirectory(prefix="bulkredeem-") as folder:
        intake = take_in(path, Path(folder), settings, durable=False)
        for result in judged_rows(Path(folder), intake.columns, settings):
            if isinstance(result, Invalid):
                for problem in result.problems:
                    problems.add(problem.code, problem.message, result.row_number)
            else:
                sendable += 1
                for warning in result.warnings:
                    warnings.add("", warning, result.row_number)
    return CheckReport(
        columns=intake.columns,
        rows=intake.rows,
        sendable=sendable,
        problems=problems.largest(),
        warnings=warnings.largest(),
        seconds=seconds_for(sendable, settings),
        fit=None if (fit := fit_before(deadline, now, settings)) is None else min(fit, sendable),
        deadline=deadline,
    )
