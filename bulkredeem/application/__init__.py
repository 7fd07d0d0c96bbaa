"""Wiring: settings and a file in, a run or a check out. The command line is its first user."""

from bulkredeem.application.checking import CheckReport, check_file
from bulkredeem.application.pacing import pace_of
from bulkredeem.application.resuming import abandon_run, report_run, resume_run
from bulkredeem.application.retrying import Choice, retry_run
from bulkredeem.application.running import Run, run_file
from bulkredeem.application.shelf import Shelved, find_run, newest_in, runs_in, settled_rows, unfinished_in
from bulkredeem.application.terms import Live, Observer, Start, Terms

__all__ = [
    "CheckReport",
    "Choice",
    "Live",
    "Observer",
    "Run",
    "Shelved",
    "Start",
    "Terms",
    "abandon_run",
    "check_file",
    "find_run",
    "newest_in",
    "pace_of",
    "report_run",
    "resume_run",
    "retry_run",
    "run_file",
    "runs_in",
    "settled_rows",
    "unfinished_in",
]
