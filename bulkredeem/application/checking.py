"""A check: everything a run does before its first request, and nothing after."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bulkredeem.application.absorbing import LEDGER_FOLDER, opened_ledger
from bulkredeem.application.intake import NOT_SELECTED, fit_before, judged_rows, seconds_for, take_in
from bulkredeem.application.planning import Plan, plan_of, remarks_on_selection
from bulkredeem.application.preparing import age_of, check_rows, same_content
from bulkredeem.application.rulings import Rulings, ruled_by_neighbours
from bulkredeem.client import request_body
from bulkredeem.codes import mend_by_of
from bulkredeem.columns import ColumnMap
from bulkredeem.errors import ExitCode, LedgerError, ReportsFolderError
from bulkredeem.journal import Planned
from bulkredeem.ledger import Ledger, System
from bulkredeem.loader import Intake
from bulkredeem.masking import mask, veiled
from bulkredeem.model import Correction, Invalid, Job, Skipped, Status
from bulkredeem.moments import deadline_moment
from bulkredeem.profile import Profile, remarks
from bulkredeem.settings import Settings
from bulkredeem.summary import ErrorGroup, Groups

SAMPLES: Final = 3
"""Requests that are shown, of rows spread over the file."""
_NO_SYSTEM: Final = "What was applied before is not known without a host and a user name."
_NO_LEDGER: Final = "Nothing was applied before from {reports}, as far as is known there."
_WHY_SKIPPED: Final = {
    "DUPLICATE_ROW": "the same as an earlier row",
    "SUPERSEDED": "a later row sets the same",
    NOT_SELECTED: "other rows were selected (--only)",
}
"""What like rows have in common; each row's own words name other rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """What would be sent for one row."""

    row_number: int
    body: str
    """JSON, with identifiers shortened to their last characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a file would do, found without any network."""

    read_as: tuple[str, ...]
    """How the file was read, where that is not the plain case, and whether its content was run before; sentences."""
    columns: ColumnMap
    rows: int
    ignored: int
    """Lines of the file that are no rows, since the settings say so."""
    sendable: int
    """Rows that could be sent: each is one request, when nothing has to be repeated."""
    samples: tuple[SampleRequest, ...]
    """Some of those requests."""
    profile: Profile
    """What the values of the rows look like that are sound by themselves."""
    findings: tuple[str, ...]
    """What is unusual about them; sentences."""
    not_asked: str
    """Why it is not known what was applied before, as a sentence; empty when it is."""
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
    is_empty_night: bool
    """Whether it has no rows, and nobody watches who would see that."""

    @property
    def exit_code(self) -> ExitCode:
        """What it means for the process."""
        return ExitCode.NOT_ALL_DONE if self.unsendable or self.is_empty_night else ExitCode.DONE

    @property
    def unsendable(self) -> int:
        """Rows that could not be sent, and about which someone has to do something."""
        return self.rows - self.sendable - sum(group.count for group in self.skipped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A file that was looked at, row by row."""

    intake: Intake
    report: CheckReport
    jobs: Callable[[], Iterator[Job]]
    """Yields what each row comes to, in the file's order."""


def check_file(path: Path, settings: Settings, *, wall_clock: Callable[[], float] = time.time) -> CheckReport:
    """Read and validate a file; nothing is sent and nothing is left behind. Raises InputFileError and LedgerError."""
    with (
        tempfile.TemporaryDirectory(prefix="bulkredeem-") as folder,
        examined(path, Path(folder), settings, wall_clock()) as found,
    ):
        return found.report


@contextmanager
def examined(path: Path, folder: Path, settings: Settings, now: float) -> Iterator[Examined]:
    """Look at all rows of a file, by way of a snapshot in this folder; raises what `check_file` raises.

    `now` is in seconds since the epoch.
    """
    intake = take_in(path, folder, settings, durable=False)
    check_rows(path, intake.rows, settings)
    found = _Found()
    with ExitStack() as resources:
        ledger, not_asked = resources.enter_context(_ledger_of(settings))
        again = same_content(path, intake.sha256, settings, ledger, _system_of(settings)) if ledger else ()
        rulings = _rulings(path, intake, settings, ledger, now)
        # What the ledger knows changes what rows come to; where it knows nothing, one look at them is enough.
        note = None if rulings.lookup else found.note
        plan = resources.enter_context(plan_of(folder, intake.columns, settings, source=str(path), note=note))

        def jobs() -> Iterator[Job]:
            known = replace(rulings, planned=plan.planned(), selected=plan.selected)
            return known.over(judged_rows(folder, intake.columns, settings.rules))

        if rulings.lookup:
            for job in jobs():
                found.note(job)
        else:
            for planned in plan.planned():
                found.note_planned(planned)
        report = _report(intake, found, plan, settings, ledger, now)
        yield Examined(
            intake=intake,
            report=replace(
                report,
                not_asked=not_asked,
                read_as=(*report.read_as, *again, *remarks_on_selection(settings.only, plan.selected)),
            ),
            jobs=jobs,
        )


@contextmanager
def _ledger_of(settings: Settings) -> Iterator[tuple[Ledger | None, str]]:
    """Give the ledger that a run of these settings would ask, or None and why there is none to be asked."""
    if not (settings.base_url and settings.username):
        yield None, _NO_SYSTEM
    elif not (settings.reports / LEDGER_FOLDER).is_dir():
        yield None, _NO_LEDGER.format(reports=settings.reports)
    else:
        with ExitStack() as resources:
            try:
                ledger, _ = resources.enter_context(opened_ledger(settings.reports))
            except (LedgerError, ReportsFolderError) as exc:
                yield None, f"What was applied before is not known: {exc}"
                return
            yield ledger, ""


def _system_of(settings: Settings) -> System:
    return System.of(settings.base_url, settings.username)


def _rulings(path: Path, intake: Intake, settings: Settings, ledger: Ledger | None, now: float) -> Rulings:
    """Return what a run would begin with, but for what the first pass finds."""
    if ledger is None:
        return Rulings(planned=iter(()), selected=None)
    as_of, knew_at = age_of(path, intake, settings, ledger, now)
    return Rulings(
        planned=iter(()),
        selected=None,
        lookup=ledger.lookup(_system_of(settings)),
        age=(as_of or 0.0, knew_at or now),
        resend=settings.resend or settings.existing == "keep",
        allow_older=settings.allow_older,
    )


def _report(
    intake: Intake, found: _Found, plan: Plan, settings: Settings, ledger: Ledger | None, now: float
) -> CheckReport:
    deadline = deadline_moment(settings.deadline, now) if settings.deadline else None
    fit = fit_before(deadline, now, settings)
    earlier = tuple(ledger.profiles(_system_of(settings))) if ledger else ()
    return CheckReport(
        read_as=intake.remarks,
        columns=intake.columns,
        rows=intake.rows,
        ignored=intake.ignored,
        sendable=found.sendable,
        samples=found.samples(),
        profile=plan.profile,
        findings=tuple(finding.sentence for finding in remarks(plan.profile, earlier)),
        not_asked="",
        problems=found.problems.largest(),
        skipped=found.skipped.largest(),
        warnings=found.warnings.largest(),
        seconds=seconds_for(found.sendable, settings),
        fit=None if fit is None else min(fit, found.sendable),
        deadline=deadline,
        is_empty_night=not intake.rows and settings.unattended,
    )


def _masked(correction: Correction) -> Correction:
    """Return a correction that may be shown: what it sets is to be read, whom it is about only to be known again."""
    return replace(
        correction,
        redemption_id=veiled(correction.redemption_id),
        external_reference_number=veiled(correction.external_reference_number),
        identifier_value=veiled(correction.identifier_value),
        purpose=mask(correction.purpose, correction.identifiers),
        custom_fields={name: mask(value, correction.identifiers) for name, value in correction.custom_fields.items()},
    )


class _Found:
    """Counts what the rows of a file come to."""

    def __init__(self) -> None:
        self.problems, self.skipped, self.warnings = Groups(), Groups(), Groups()
        self.sendable = 0
        self._kept: dict[int, Correction] = {}
        """Some of the rows that could be sent: the first, the second, the fourth and so on, and the last."""
        self._last: Correction | None = None

    def note(self, job: Job) -> None:
        """Count a row as what it comes to."""
        if isinstance(job, Invalid):
            for problem in job.problems:
                mender = mend_by_of(Status.INVALID, problem.code)
                self.problems.add(problem.code, problem.message, job.row_number, mender)
        elif isinstance(job, Skipped):
            self.skipped.add(job.code, _WHY_SKIPPED.get(job.code, job.message), job.row_number)
        else:
            self.sendable += 1
            self._last = job
            # At powers of two: few, and spread over a file whose length is known only at its end.
            if not self.sendable & (self.sendable - 1):
                self._kept[job.row_number] = job
            for warning in job.warnings:
                self.warnings.add("", warning, job.row_number)

    def note_planned(self, planned: Planned) -> None:
        """Count a row anew that its neighbours in the file make something else of."""
        if planned.status:
            self.sendable -= 1
            self._kept.pop(planned.row_number, None)
            if self._last and self._last.row_number == planned.row_number:
                self._last = None
            self.note(ruled_by_neighbours(planned))

    def samples(self) -> tuple[SampleRequest, ...]:
        """Return what would be sent for the first, one from the middle, and the last of the rows that could be."""
        last = [self._last] if self._last else []
        kept = [job for job in self._kept.values() if job is not self._last]
        chosen = [*kept[:1], *kept[1:][-(SAMPLES - 1 - len(last)) :], *last]
        return tuple(
            SampleRequest(row_number=job.row_number, body=request_body(_masked(job)).decode()) for job in chosen
        )
