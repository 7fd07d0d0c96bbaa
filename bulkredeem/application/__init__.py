"""Wiring: settings and a file in, a run or a check out. The command line is its first user."""

from bulkredeem.application.checking import CheckReport, check_file
from bulkredeem.application.running import Live, Observer, Run, Start, run_file

__all__ = ["CheckReport", "Live", "Observer", "Run", "Start", "check_file", "run_file"]
