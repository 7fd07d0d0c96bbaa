"""Outcomes → counts, the errors seen most, and one sentence that says how the run went and what to do next.

Pure: a `Tally` is fed outcomes, a `Summary` is a frozen value, and rendering counts nothing.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final

from bulkredeem.errors import ExitCode
from bulkredeem.model import DONE, Outcome, Status

TOP_ERRORS: Final = 10
"""How many groups of errors a summary names."""
EXAMPLE_ROWS: Final = 5
"""How many rows of a group it names."""
MOST_GROUPS: Final = 10_000
"""Groups held in memory; later messages of the same code are counted as one, so that memory stays bounded."""
OTHER_MESSAGES: Final = "(other messages)"
NOT_DONE: Final = "not_done.csv"
"""The file of the rows about which someone still has to do something."""


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
    UNREADABLE = "unreadable"
    """Its journal is foreign, damaged or of a later version. No summary has this state."""


UNFINISHED: Final = frozenset({RunState.STOPPED, RunState.CRASHED})
"""The states in which `resume` goes on."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What happened in a run, as counts."""

    info: RunInfo
    counts: Mapping[Status, int]
    """One for each status; they add up to `info.rows`."""
    top_errors: tuple[ErrorGroup, ...]
    """The largest groups first."""
    ending: Ending | None = None
    """None while the run is under way."""

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
            "user": info.user or None,
            "by": info.by or None,
            "reason": info.reason or None,
            "input": {
                "path": info.path,
                "sha256": info.sha256,
                "rows": info.rows,
                "as_of": None if info.as_of is None else iso_utc(info.as_of),
            },
            "counts": {str(status): self.counts[status] for status in Status},
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
                    "count": group.count,
                    "example_rows": list(group.example_rows),
                }
                for group in self.top_errors
            ],
            "exit_code": ending.exit_code if ending else None,
        }


class Groups:
    """Counts things with a code and a message, and remembers the first rows of each; memory stays bounded."""

    def __init__(self) -> None:
        """Start with no group."""
        self._counts: dict[tuple[str, str], int] = {}
        self._rows: dict[tuple[str, str], list[int]] = {}

    def add(self, code: str, message: str, row_number: int) -> None:
        """Count one."""
        key = (code, message)
        if key not in self._counts and len(self._counts) >= MOST_GROUPS:
            key = (code, OTHER_MESSAGES)
        self._counts[key] = self._counts.get(key, 0) + 1
        rows = self._rows.setdefault(key, [])
        if len(rows) < EXAMPLE_ROWS:
            rows.append(row_number)

    def largest(self, most: int | None = None) -> tuple[ErrorGroup, ...]:
        """Return the largest groups first, at most so many; among equals the one met first."""
        ordered = sorted(self._counts.items(), key=lambda entry: -entry[1])[:most]
        return tuple(
            ErrorGroup(code=key[0], message=key[1], count=count, example_rows=tuple(sorted(self._rows[key])))
            for key, count in ordered
        )


PlainOutcome = tuple[int, str, str, str, str, Sequence[str], int | None, int, str, float, str, Sequence[str]]
"""What an `Outcome` says, in the order of its fields, for whoever passes on a million; no warnings may also be ''."""


def plain(outcome: Outcome) -> PlainOutcome:
    """Return an outcome as a plain tuple."""
    return _FIELDS_OF(outcome)


_FIELDS_OF: Final[Callable[[Outcome], PlainOutcome]] = attrgetter(*(field.name for field in fields(Outcome)))


class Tally:
    """Counts outcomes as they come; memory does not grow with their number."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self.counts: dict[Status, int] = dict.fromkeys(Status, 0)
        self._groups = Groups()

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.counts[outcome.status] += 1
        if outcome.status not in DONE:
            self._groups.add(outcome.error_code, outcome.reason, outcome.row_number)

    def add_all(self, outcomes: Sequence[PlainOutcome]) -> None:
        """Count many outcomes, each as `add` does; what is `pending` is none and is left out."""
        counts = Counter([outcome[1] for outcome in outcomes])
        del counts[Status.PENDING]
        for status, count in counts.items():
            self.counts[Status(status)] += count
        if not counts.keys() <= DONE:
            for row_number, status, error_code, _, reason, *_ in outcomes:
                if status not in DONE and status in counts:
                    self._groups.add(error_code, reason, row_number)

    @property
    def recorded(self) -> int:
        """Rows counted so far."""
        return sum(self.counts.values())

    def top_errors(self) -> tuple[ErrorGroup, ...]:
        """Return the largest groups of rows that are not done."""
        return self._groups.largest(TOP_ERRORS)

    def summary(self, info: RunInfo, ending: Ending | None = None) -> Summary:
        """Return the summary of a run: rows without an outcome are `pending`."""
        counts = self.counts | {Status.PENDING: info.rows - self.recorded}
        return Summary(info=info, counts=counts, top_errors=self.top_errors(), ending=ending)


def exit_code_of(counts: Mapping[Status, int]) -> ExitCode:
    """Return the exit code of a run that came to its end by itself."""
    return (
        ExitCode.DONE if all(not counts[status] for status in Status if status not in DONE) else ExitCode.NOT_ALL_DONE
    )


_MILLISECONDS: Final = tuple(f".{number:03}Z" for number in range(1_000))
"""The ends of all moments: a report of a million rows has a million of them, and to look one up is cheapest."""


def iso_utc(seconds: float) -> str:
    """Write a moment (seconds since the epoch) as ISO 8601 in UTC: to the microsecond rounded, to the millisecond cut.

    Raises what datetime raises for a moment that no calendar has.
    """
    whole = int(seconds)
    microseconds = round((seconds - whole) * 1e6)
    if 0 <= microseconds < 1_000 * len(_MILLISECONDS):
        return _second_in_utc(whole) + _MILLISECONDS[microseconds // 1_000]
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@lru_cache(maxsize=1_000)
def _second_in_utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")


_NEEDS: Final = {
    Status.REFUSED: "refused by the platform",
    Status.INVALID: "invalid in the file",
    Status.FAILED: "failed and surely not applied",
    Status.IN_DOUBT: "in doubt (sent, no trustworthy answer)",
    Status.PENDING: "pending (no outcome yet)",
}


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: `1 row`, `9,000 rows`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """The options a command was given, as typed: the next command needs them too."""

    all: str = ""
    """All that shape a run (a map of columns, say): for running a file."""
    where: str = ""
    """Those that say which configuration counts: for going on with a run, which has the others in its journal."""


def closing_sentence(summary: Summary, folder: str, typed: Typed = Typed()) -> str:
    """Return verdict and next step, for a person who reads nothing else; a command to paste is a line of its own.

    `folder` is the run's, as a person would name it.
    """
    system = f"{summary.info.environment}: " if summary.info.environment else ""
    return f"{system}{_beginning(summary)}{_verdict(summary)}{_next_step(summary, folder, typed)}"


def _beginning(summary: Summary) -> str:
    ending = summary.ending
    if ending is None:
        return ""
    if ending.state is RunState.CRASHED:
        return "The process died. "
    reason = ending.stop_reason.rstrip(".")
    how = "Abandoned" if ending.state is RunState.ABANDONED else "Stopped early"
    return f"{how}: {reason}. " if reason else ""


def _verdict(summary: Summary) -> str:
    rows, updated, skipped = summary.info.rows, summary.counts[Status.SUCCESS], summary.counts[Status.SKIPPED]
    had_nothing = f" {skipped:,} had nothing to send." if skipped else ""
    if not rows:
        return "The file has a header and no rows: nothing was to be sent."
    if updated == rows:
        return "The one row was updated." if rows == 1 else f"All {rows:,} rows were updated."
    return f"{updated:,} of {rows:,} rows were updated.{had_nothing}"


def _next_step(summary: Summary, folder: str, typed: Typed) -> str:
    """Say who is needed for what and how to go on, or that nobody is needed."""
    is_unfinished = summary.ending is not None and summary.ending.state in UNFINISHED
    if not summary.not_done and not is_unfinished:
        return " Nothing is left to do." if summary.info.rows else ""
    needs = ", ".join(
        f"{summary.counts[status]:,} {words}" for status, words in _NEEDS.items() if summary.counts[status]
    )
    verb = "needs" if summary.not_done == 1 else "need"
    whose = f" {summary.not_done:,} {verb} someone: {needs}." if summary.not_done else ""
    if summary.ending is not None and summary.ending.state is RunState.ABANDONED:
        return f"{whose} Nothing goes on with the run."
    if summary.info.undo_of and not is_unfinished and summary.counts[Status.INVALID]:
        return f"{whose} What {folder}/{NOT_DONE} names cannot be restored: mend those redemptions by hand."
    advice, command = _way_on(summary, folder, typed) if is_unfinished else _way_back(summary, folder, typed)
    return f"{whose} {advice}:\n{command}"


def _way_on(summary: Summary, folder: str, typed: Typed) -> tuple[str, str]:
    """Return advice and command for a run that is not at its end."""
    ending = summary.ending
    refused = ending is not None and ending.exit_code == ExitCode.ACCESS_REFUSED
    if ending is not None and ending.is_guarded:
        flags = " ".join(filter(None, (typed.where, "--no-guard")))
        return "If all is right, go on with the run; if not, abandon it", _command("resume", flags, folder)
    first = "Have the password or the till's permission put right first, then go" if refused else "Go"
    return f"{first} on with the run", _command("resume", typed.where, folder)


def _way_back(summary: Summary, folder: str, typed: Typed) -> tuple[str, str]:
    """Return advice and command for the rows that a run at its end left."""
    if summary.counts[Status.REFUSED] + summary.counts[Status.INVALID]:
        not_done = f"{folder}/{NOT_DONE}"
        return f"Open {not_done}, mend what it names, and run it", _command("run", typed.all, not_done)
    return "Try them again", _command("retry", typed.where, folder)


def _command(name: str, flags: str, subject: str) -> str:
    return " ".join(["bulkredeem", name, *([flags] if flags else []), shlex.quote(subject)])
