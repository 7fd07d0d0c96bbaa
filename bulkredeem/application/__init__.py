"""Wiring: settings and a file in, a run or a check out. The command line is its first user."""

from bulkredeem.application.calling import run, run_blocking
from bulkredeem.application.checking import CheckReport, check_file
from bulkredeem.application.concluding import Run
from bulkredeem.application.dry_running import DryRun, dry_run
from bulkredeem.application.pacing import pace_of
from bulkredeem.application.presenting import Presentation, require_libraries
from bulkredeem.application.resuming import abandon_run, at_its_system, report_run, resume_run
from bulkredeem.application.retrying import Choice, retry_run
from bulkredeem.application.running import run_file, until_arrived
from bulkredeem.application.shelf import (
    Shelved,
    find_run,
    left_alone,
    newest_in,
    require_free,
    runs_in,
    settled_rows,
    unfinished_in,
)
from bulkredeem.application.telling import Pruned, is_known, prune_runs, story_of
from bulkredeem.application.terms import Ask, Live, Observer, Start, Terms, Turn, stop_at
from bulkredeem.application.turn import turn_of
from bulkredeem.application.undoing import undo_run

__all__ = [
    "Ask",
    "CheckReport",
    "Choice",
    "DryRun",
    "Live",
    "Observer",
    "Presentation",
    "Pruned",
    "Run",
    "Shelved",
    "Start",
    "Terms",
    "Turn",
    "abandon_run",
    "at_its_system",
    "check_file",
    "dry_run",
    "find_run",
    "is_known",
    "left_alone",
    "newest_in",
    "pace_of",
    "prune_runs",
    "report_run",
    "require_free",
    "require_libraries",
    "resume_run",
    "retry_run",
    "run",
    "run_blocking",
    "run_file",
    "runs_in",
    "settled_rows",
    "stop_at",
    "story_of",
    "turn_of",
    "undo_run",
    "unfinished_in",
    "until_arrived",
]
