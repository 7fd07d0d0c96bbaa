"""What is known of a run: as it began, as counts, as it ended. Frozen values; rendering counts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from bulkredeem.codes import MendBy
from bulkredeem.model import DONE, Status
from bulkredeem.summary.words import iso_utc


class RunState(StrEnum):
    """How far a run has come."""

    RUNNING = "running"
    FINISHED = "finished"
    """Every row was looked at."""
    STOPPED = "stopped"
    """It ended in good order before the last row; `stop_reason` says why."""
    CRASHED = "crashed"
    """It died without a word: the journal says `running`, and no process holds the run."""
    ABANDONED = "abandoned"
    """Somebody closed it for good; nothing goes on with it."""
    NOT_BEGUN = "not_begun"
    """It has no journal: it died while it read its file, and nothing was sent. No summary has this state."""
    DRY_RUN = "dry_run"
    """It was none: every row was looked at, and nothing was sent."""
    UNREADABLE = "unreadable"
    """Its journal is foreign, damaged or of a later version. No summary has this state."""


UNFINISHED: Final = frozenset({RunState.STOPPED, RunState.CRASHED})
"""The states in which `resume` goes on."""
FINGERPRINTED: Final = (
    "settings",
    "journal",
    "input.csv",
    "results.csv",
    "not_done.csv",
    "report.html",
    "results.xlsx",
    "not_done.xlsx",
)
"""What a summary has hashes of beside the input: what the run began with, what it recorded, and files of its folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """What is known of a run before its first request."""

    run_id: str
    path: str
    """The input file, as it was named."""
    sha256: str
    """Of the input file's bytes as they were read."""
    rows: int
    """Rows of the input with something in them; the seven counts always add up to it."""
    ignored: int = 0
    """Lines of the input that are no rows, since the settings say so; they are in no count."""
    started_at: float
    """Seconds since the epoch, UTC; so is every `…_at`."""
    as_of: float | None = None
    """How old the file's knowledge is. None where an older journal does not tell."""
    knew_at: float | None = None
    """When the run began that brought this knowledge, if it is one that this one retries; None for this one itself."""
    retry_of: str = ""
    """The run whose rows these are, or empty for a run over a file."""
    resumed_at: float | None = None
    """When the last stretch began, or None for a run that went in one."""
    environment: str = ""
    """What the settings call the system, or empty."""
    undo_of: str = ""
    """The run whose values this one takes back, or empty."""
    version: str = ""
    """The version of this package that began it, or empty where nobody knows."""
    host: str = ""
    """The machine that began it, or empty where nobody knows."""
    user: str = ""
    """The operating system's name of who started it."""
    by: str = ""
    """On whose behalf, as was said; or empty."""
    reason: str = ""
    """Why, as was said; or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended."""

    state: RunState
    finished_at: float
    requests: int
    """Every try on the wire, those of rows still pending too; after a crash, at least so many."""
    exit_code: int | None
    """None when the process died."""
    stop_reason: str = ""
    """Empty for a run that finished."""
    allowed: str = ""
    """The rate that the platform allowed (`60/min`) when it was less than the run's, or when that was searched for."""
    is_guarded: bool = False
    """Whether a guard ended it: then only a person's word lets it go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorGroup:
    """Rows with the same code and message."""

    code: str
    message: str
    """With identifiers masked."""
    count: int
    example_rows: tuple[int, ...]
    mend_by: MendBy | None = None
    """Who mends it, or None where nothing is to be mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What happened in a run, as counts."""

    info: RunInfo
    counts: Mapping[Status, int]
    """One for each status; they add up to `info.rows`."""
    top_errors: tuple[ErrorGroup, ...]
    """The largest groups first."""
    mend_by: Mapping[MendBy, int] = field(default_factory=dict)
    """Rows that are not done, by who mends them; those for whom there is nothing to do are not named."""
    ending: Ending | None = None
    """None while the run is under way."""
    sha256: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Hashes, by names of `FINGERPRINTED`; what is not known is left out. They tell of files, and not of what happened,
    so two summaries that differ in nothing else are equal."""

    @property
    def not_done(self) -> int:
        """Rows about which someone still has to do something."""
        return sum(count for status, count in self.counts.items() if status not in DONE)

    def as_json_object(self) -> dict[str, Any]:
        """Return the content of `summary.json`; its keys are a public promise."""
        info, ending = self.info, self.ending
        return {
            "run_id": info.run_id,
            "state": ending.state if ending else RunState.RUNNING,
            "stop_reason": (ending.stop_reason or None) if ending else None,
            "environment": info.environment or None,
            "retry_of": info.retry_of or None,
            "undo_of": info.undo_of or None,
            "tool_version": info.version or None,
            "host": info.host or None,
            "user": info.user or None,
            "by": info.by or None,
            "reason": info.reason or None,
            "input": {
                "path": info.path,
                "sha256": info.sha256,
                "rows": info.rows,
                "ignored": info.ignored,
                "as_of": None if info.as_of is None else iso_utc(info.as_of),
            },
            "counts": {str(status): self.counts[status] for status in Status},
            "mend_by": {str(mender): self.mend_by.get(mender, 0) for mender in MendBy},
            "requests": ending.requests if ending else 0,
            "allowed_rate": (ending.allowed or None) if ending else None,
            "started_at": iso_utc(info.started_at),
            "resumed_at": None if info.resumed_at is None else iso_utc(info.resumed_at),
            "finished_at": iso_utc(ending.finished_at) if ending else None,
            "duration_seconds": round(ending.finished_at - info.started_at, 3) if ending else None,
            "top_errors": [
                {
                    "code": group.code,
                    "message": group.message,
                    "mend_by": group.mend_by,
                    "count": group.count,
                    "example_rows": list(group.example_rows),
                }
                for group in self.top_errors
            ],
            "exit_code": ending.exit_code if ending else None,
            "sha256": {"input": info.sha256} | {name: self.sha256.get(name) for name in FINGERPRINTED},
        }
