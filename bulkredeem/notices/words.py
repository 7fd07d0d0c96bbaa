"""What a notice says: plain words, for somebody who was asleep. No identifier of a customer gets in here."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bulkredeem.errors import ExitCode
from bulkredeem.model import Status
from bulkredeem.notices.values import Ended, EndedRun
from bulkredeem.summary import ErrorGroup, counted, iso_utc

_IN_WORDS: Final = {
    ExitCode.DONE: "every row is done",
    ExitCode.NOT_ALL_DONE: "some rows are not done",
    ExitCode.COULD_NOT_START: "something could not start",
    ExitCode.STOPPED_EARLY: "stopped early, rows are pending",
    ExitCode.ACCESS_REFUSED: "credentials or permission refused, rows are pending",
    ExitCode.BUSY: "busy, another run is at work",
    ExitCode.DEADLINE: "the deadline came as planned, rows are pending",
    ExitCode.INTERNAL_ERROR: "an error of the program, see run.log",
    ExitCode.INTERRUPTED_AT_ONCE: "stopped at once, rows are pending",
}
MOST_RUNS: Final = 5
"""Runs that a notice tells of in full; each is in its folder anyway."""
_MOST_ERRORS: Final = 5
_MOST_LEFT: Final = 20
_LONGEST_LINE: Final = 400
LONGEST: Final = 3_500
"""Characters: the strictest of the usual services for messages takes 4,096, and refuses what is longer."""
_CUT: Final = "\n… cut here; the rest is in the reports."


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What is sent to a person."""

    subject: str
    """One line."""
    text: str
    """At most `LONGEST` characters."""


def in_words(code: ExitCode) -> str:
    """Return what an exit code means, as a clause."""
    return f"exit {int(code)}: {_IN_WORDS[code]}"


def notice_of(ended: Ended, host: str | None = None) -> Notice:
    """Return what a person is told of a command; `host` is the machine's name, None for the name it gives itself."""
    where = f"Reports on {platform.node() if host is None else host}: {ended.reports.absolute()}"
    return Notice(subject=_subject(ended), text=_shortened("\n".join((*_lines(ended), "", where))))


def closing_of(ended: Ended) -> str:
    """Return what a command came to, in as few words as there are: its errors and the closing sentences."""
    return "\n".join((in_words(ended.exit_code), *ended.errors, *(run.sentence for run in ended.runs)))


def _subject(ended: Ended) -> str:
    system = f"bulkredeem, {ended.environment}" if ended.environment else "bulkredeem"
    rows = sum(ended.counts.values())
    updated = f" ({ended.counts[Status.SUCCESS]:,} of {counted(rows, 'row')} updated)" if rows else ""
    return f"{system}: {in_words(ended.exit_code)}{updated}"


def _lines(ended: Ended) -> Iterator[str]:
    yield f"The command ended with {in_words(ended.exit_code)}."
    if ended.environment:
        yield f"Environment: {ended.environment}"
    yield f"From {iso_utc(ended.began_at)} to {iso_utc(ended.finished_at)} ({_duration(ended.seconds)})"
    for error in ended.errors:
        yield from ("", _line(error))
    for run in ended.runs[:MOST_RUNS]:
        yield from ("", *_lines_of(run))
    if len(ended.runs) > MOST_RUNS:
        yield from ("", f"And {counted(len(ended.runs) - MOST_RUNS, 'run')} more; see: bulkredeem runs")
    if ended.left:
        more = f", and {len(ended.left) - _MOST_LEFT:,} more" if len(ended.left) > _MOST_LEFT else ""
        yield from ("", _line(f"Not begun: {', '.join(ended.left[:_MOST_LEFT])}{more}"))


def _lines_of(run: EndedRun) -> Iterator[str]:
    summary = run.summary
    yield f"Run {summary.info.run_id}, {_line(summary.info.path)}"
    yield run.sentence
    numbers = ", ".join(f"{summary.counts[status]:,} {status}" for status in Status if summary.counts[status])
    requests = counted(summary.ending.requests if summary.ending else 0, "request")
    yield f"{counted(summary.info.rows, 'row')}: {numbers or 'none'}; {requests}, {run.throttled:,} throttled"
    if summary.top_errors:
        yield "What went wrong most:"
        yield from map(_group, summary.top_errors[:_MOST_ERRORS])
    if run.steps:
        yield "What to do next:"
    for step in run.steps:
        yield f"{counted(step.count, 'row')}, {step.mend_by.in_words}. {step.words}"
        if step.command:
            yield step.command
    yield f"Folder: {run.folder.absolute()}"


def _group(group: ErrorGroup) -> str:
    rows = ", ".join(map(str, group.example_rows)) + (", …" if group.count > len(group.example_rows) else "")
    code = f"{group.code}, " if group.code else ""
    return _line(f"{group.count:,} times {code}{'row' if group.count == 1 else 'rows'} {rows}: {group.message}")


def _duration(seconds: float) -> str:
    minutes = int(seconds // 60)
    return f"{seconds:.0f} s" if minutes < 1 else f"{minutes // 60} h {minutes % 60} min"


def _line(text: str) -> str:
    """Return a text as one line that is not too long."""
    whole = " ".join(text.split())
    return whole if len(whole) <= _LONGEST_LINE else f"{whole[: _LONGEST_LINE - 1]}…"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - len(_CUT)] + _CUT
