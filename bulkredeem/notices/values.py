"""What there is to tell when a command has ended. Frozen values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bulkredeem.codes import MendBy
from bulkredeem.errors import ExitCode
from bulkredeem.model import Status
from bulkredeem.summary import Step, Summary

AS_PLANNED: Final = frozenset({ExitCode.DONE, ExitCode.DEADLINE})
"""The codes of a night that went as planned: nobody has to get up for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRun:
    """One run of a command, at its end."""

    folder: Path
    """The run's own."""
    summary: Summary
    sentence: str
    """The closing sentence; a command to paste is a line of its own."""
    steps: tuple[Step, ...] = ()
    """What is to be done next, the most rows first."""
    throttled: int = 0
    """Tries that the platform answered with 429."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What became of a command: of all its runs, and of what could not start."""

    exit_code: ExitCode
    reports: Path
    """The folder of all runs."""
    began_at: float
    """When the command began, in seconds since the epoch."""
    finished_at: float
    environment: str = ""
    """What people call the system, or empty."""
    runs: tuple[EndedRun, ...] = ()
    """In the order in which they ended."""
    errors: tuple[str, ...] = ()
    """Why something could not start, a sentence each."""
    left: tuple[str, ...] = ()
    """What was not begun, by the names a person knows."""

    @property
    def was_idle(self) -> bool:
        """Whether there was nothing to do, and nothing went wrong."""
        return self.exit_code == ExitCode.DONE and not self.runs and not self.errors and not self.left

    @property
    def seconds(self) -> float:
        """How long the command took."""
        return max(0.0, self.finished_at - self.began_at)

    @property
    def counts(self) -> dict[Status, int]:
        """Rows of all runs, by status."""
        return {status: sum(run.summary.counts[status] for run in self.runs) for status in Status}

    @property
    def mend_by(self) -> dict[MendBy, int]:
        """Rows of all runs that are not done, by who mends them."""
        together: Counter[MendBy] = Counter()
        for run in self.runs:
            together.update(run.summary.mend_by)
        return {mender: together[mender] for mender in MendBy}

    @property
    def requests(self) -> int:
        """Tries on the wire of all runs, those of their earlier stretches too."""
        return sum(run.summary.ending.requests for run in self.runs if run.summary.ending)

    @property
    def throttled(self) -> int:
        """Those of them that the platform answered with 429."""
        return sum(run.throttled for run in self.runs)
