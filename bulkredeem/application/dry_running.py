"""A dry run: what a run over a file would begin with, written down in a folder as a run's reports are."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bulkredeem.application.checking import CheckReport, examined
from bulkredeem.application.intake import SNAPSHOT
from bulkredeem.application.preparing import as_text, new_run_id
from bulkredeem.application.presenting import Presentation, present, require_libraries
from bulkredeem.application.recorder import outcome_of
from bulkredeem.journal import user_name
from bulkredeem.model import Invalid, Skipped
from bulkredeem.report import make_run_folder, write_results, write_summary
from bulkredeem.settings import Settings
from bulkredeem.summary import Ending, RunInfo, RunState, Summary, Typed

PREFIX: Final = "dry-run-"
"""How the names of such folders begin: none of them is a run's, and nothing goes on with one."""
_NAME: Final = re.compile(rf"{PREFIX}\d{{8}}T\d{{6}}Z-[0-9a-f]{{4}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What was found, and where it lies."""

    folder: Path
    summary: Summary
    """Rows that could be sent are `pending` in it."""
    report: CheckReport
    remarks: tuple[str, ...]
    """Why a report could not be written; usually nothing."""


def dry_runs_in(reports: Path) -> list[Path]:
    """Return the folders of all dry runs of a reports folder, by name; what else is called so is somebody's own."""
    named = sorted(reports.glob(f"{PREFIX}*"))
    return [path for path in named if _NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]


@contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    """Leave no folder behind that says nothing."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def dry_run(
    path: Path, settings: Settings, *, typed: Typed = Typed(), wall_clock: Callable[[], float] = time.time
) -> DryRun:
    """Look at every row of a file, and write down what would become of each; nothing is sent.

    Raises InputFileError, LedgerError, ReportsFolderError and ReportError, and leaves no folder behind then.
    """
    require_libraries(settings)
    now = wall_clock()
    run_id = PREFIX + new_run_id(now)
    folder = make_run_folder(settings.reports, run_id)
    with _removed_on_error(folder), examined(path, folder, settings, now) as found:
        unsent = (job for job in found.jobs() if isinstance(job, Invalid | Skipped))
        tally = write_results(folder, folder / SNAPSHOT, (outcome_of(job, now=now) for job in unsent))
        info = RunInfo(
            run_id=run_id,
            path=as_text(path),
            sha256=found.intake.sha256,
            rows=found.intake.rows,
            ignored=found.intake.ignored,
            started_at=now,
            environment=settings.environment,
            user=user_name(),
            by=settings.by,
            reason=settings.reason,
        )
    ending = Ending(state=RunState.DRY_RUN, finished_at=wall_clock(), requests=0, exit_code=found.report.exit_code)
    summary = tally.summary(info, ending)
    write_summary(folder, summary)
    remarks = present(folder, summary, found.intake.columns, Presentation.of(settings, typed))
    return DryRun(folder=folder, summary=summary, report=found.report, remarks=remarks)
