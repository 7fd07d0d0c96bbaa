"""What the ledger tells: the story of a redemption, which hosts are known; and letting go of old runs it knows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bulkredeem.application.absorbing import mark_of, opened_ledger
from bulkredeem.application.dry_running import dry_runs_in
from bulkredeem.application.presenting import list_runs_on_a_page
from bulkredeem.application.shelf import Shelved, runs_in
from bulkredeem.errors import BusyError, ReportsFolderError, RunNotFoundError
from bulkredeem.journal import RunLock
from bulkredeem.ledger import System, Told
from bulkredeem.report import forget_latest
from bulkredeem.summary import RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What became of old runs."""

    removed: tuple[Path, ...]
    """The folders of runs that are gone."""
    dry_runs: tuple[Path, ...]
    """The folders of dry runs that are gone."""
    remarks: tuple[str, ...]
    """Why others are not, and what else a person should know."""


def story_of(identifier: str, reports: Path) -> tuple[list[Told], tuple[str, ...]]:
    """Return what was done to a redemption, in order, and what a person should know of that. Raises LedgerError."""
    _require(reports)
    with opened_ledger(reports) as (ledger, remarks):
        return ledger.story(identifier), remarks


def is_known(reports: Path, base_url: str) -> bool:
    """Say whether any run of this reports folder ever went to an address. Raises LedgerError."""
    if not reports.is_dir():
        return False
    with opened_ledger(reports) as (ledger, _):
        return ledger.knows(System.of(base_url, "").base_url)


def prune_runs(reports: Path, older_than: float, *, wall_clock: Callable[[], float] = time.time) -> Pruned:
    """Remove what runs at their end, and dry runs, left before a moment, once the ledger knows what the runs did."""
    _require(reports)
    removed, left = [], []
    with opened_ledger(reports) as (ledger, remarks):
        known = ledger.marks()
        for run in runs_in(reports):
            if not _is_old(run, older_than):
                continue
            if known.get(run.folder.name) != mark_of(run.folder):
                left.append(f"{run.folder} is kept: the ledger does not know all that it did.")
            elif why := _remove(run.folder, wall_clock()):
                left.append(why)
            else:
                removed.append(run.folder)
    dry_runs = []
    # Nothing goes on with any, and the ledger knows of none.
    for folder in dry_runs_in(reports):
        if folder.stat().st_mtime >= older_than:
            continue
        if why := _remove_whole(folder):
            left.append(why)
        else:
            dry_runs.append(folder)
    remarks = (*remarks, *left, *list_runs_on_a_page(reports))
    forget_latest(reports)
    return Pruned(removed=tuple(removed), dry_runs=tuple(dry_runs), remarks=remarks)


def _require(reports: Path) -> None:
    """Raise RunNotFoundError for a reports folder that is not there: whoever only asks must not make one."""
    if not reports.is_dir():
        raise RunNotFoundError(f"There is no reports folder {reports}, so nothing is known of any run.")


def _is_old(run: Shelved, older_than: float) -> bool:
    """Whether a run is at its end, and began before that moment: what can be gone on with is never removed."""
    is_ended = run.state in {RunState.FINISHED, RunState.ABANDONED}
    return is_ended and run.info is not None and run.info.started_at < older_than


def _remove(folder: Path, now: float) -> str:
    """Remove a run's folder; return why that could not be done, or nothing."""
    try:
        with RunLock.acquire(folder, now=now):
            return _remove_whole(folder)
    except (BusyError, ReportsFolderError) as exc:
        return str(exc)


def _remove_whole(folder: Path) -> str:
    try:
        shutil.rmtree(folder)
    except OSError as exc:
        return f"{folder} could not be removed whole: {exc.strerror or exc}."
    return ""
