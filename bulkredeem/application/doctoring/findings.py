"""What was found, how much it matters, and how it can be mended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bulkredeem.errors import BulkRedeemError, ExitCode

CREDENTIALS: Final = "credentials"
"""The topic of what the platform says to the credentials; a problem there means that it refuses them."""


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    """A run would begin; somebody should know."""
    PROBLEM = "problem"
    """A run would not begin, or not come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found about one thing."""

    topic: str
    level: Level
    found: str
    """A sentence, without any secret."""
    remedy: str = ""
    """What to do about it, as a sentence; empty for what is as it should be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All that was found."""

    findings: tuple[Finding, ...]

    def count(self, level: Level) -> int:
        """Return how many findings matter so much."""
        return sum(finding.level is level for finding in self.findings)

    @property
    def exit_code(self) -> ExitCode:
        """What it means for the process."""
        problems = {finding.topic for finding in self.findings if finding.level is Level.PROBLEM}
        if CREDENTIALS in problems:
            return ExitCode.ACCESS_REFUSED
        return ExitCode.COULD_NOT_START if problems else ExitCode.DONE


def ok(topic: str, found: str) -> Finding:
    """Return the finding of what is as it should be."""
    return Finding(topic=topic, level=Level.OK, found=found)


def warning(topic: str, found: str, remedy: str) -> Finding:
    """Return the finding of what somebody should know, with its remedy."""
    return Finding(topic=topic, level=Level.WARNING, found=found, remedy=remedy)


def problem(topic: str, found: str, remedy: str) -> Finding:
    """Return the finding of what keeps a run from beginning or ending, with its remedy."""
    return Finding(topic=topic, level=Level.PROBLEM, found=found, remedy=remedy)


def unseen(topic: str, exc: BulkRedeemError | OSError | ValueError) -> Finding:
    """Return the finding of what kept somebody from looking."""
    if isinstance(exc, BulkRedeemError):
        return problem(topic, str(exc), "Mend that, and run doctor again.")
    if isinstance(exc, OSError):
        return problem(topic, f"It cannot be looked at: {exc.strerror or exc}.", "Check its permissions.")
    # Not in the error's words, which may quote what was given: a path with a character that no path can have, say.
    return problem(
        topic, "What the settings say of it makes no sense.", "Look where its settings come from, and mend them."
    )
