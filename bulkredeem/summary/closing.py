"""One sentence that says how a run went and what to do next."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final

from bulkredeem.codes import MendBy
from bulkredeem.errors import ExitCode
from bulkredeem.model import STANDARD_INPUT_IN_WORDS, Status
from bulkredeem.summary.counting import mender_of_pending
from bulkredeem.summary.values import UNFINISHED, RunState, Summary
from bulkredeem.summary.words import counted

NOT_DONE: Final = "not_done.csv"
"""The file of the rows about which someone still has to do something."""

_NEEDS: Final = {
    Status.REFUSED: "refused by the platform",
    Status.INVALID: "invalid in the file",
    Status.FAILED: "failed and surely not applied",
    Status.IN_DOUBT: "in doubt (sent, no trustworthy answer)",
    Status.PENDING: "pending (no outcome yet)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """The options a command was given, as typed: the next command needs them too."""

    whole: str = ""
    """All of them, but for how it looks: for running the same file with the same wishes."""
    all: str = ""
    """All that shape a run (a map of columns, say): for running another file."""
    where: str = ""
    """Those that say which configuration counts: for going on with a run, which has the others in its journal."""
    which: str = ""
    """Those of them that a command knows which sends nothing."""
    not_done: str = NOT_DONE
    """The file that people are to mend: with workbooks it is one, for a spreadsheet ruins ids in a CSV."""


def closing_sentence(summary: Summary, folder: str, typed: Typed = Typed()) -> str:
    """Return verdict and next step, for a person who reads nothing else; a command to paste is a line of its own.

    `folder` is the run's, as a person would name it.
    """
    if summary.ending is not None and summary.ending.state is RunState.DRY_RUN:
        return _after_a_dry_run(summary, folder, typed)
    system = f"{summary.info.environment}: " if summary.info.environment else ""
    return f"{system}{_beginning(summary)}{_verdict(summary)}{_next_step(summary, folder, typed)}"


def _after_a_dry_run(summary: Summary, folder: str, typed: Typed) -> str:
    rows, sendable, invalid = summary.info.rows, summary.counts[Status.PENDING], summary.counts[Status.INVALID]
    verdict = f"A dry run: nothing was sent. {sendable:,} of {counted(rows, 'row')} could be sent"
    if invalid:
        verdict += f"; {invalid:,} cannot: {folder}/{typed.not_done} says why"
    if not sendable:
        return f"{verdict}."
    return f"{verdict}. To send what can be sent:\n{_the_same(summary, typed)}"


def _the_same(summary: Summary, typed: Typed) -> str:
    """Return the command that runs the file of a dry run; what came through a pipe must come so once more."""
    path = summary.info.path
    return _command("run", typed.whole, "-" if path == STANDARD_INPUT_IN_WORDS else path)


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
        return f"{whose} What {folder}/{typed.not_done} names cannot be restored: mend those redemptions by hand."
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
        not_done = f"{folder}/{typed.not_done}"
        if set(summary.mend_by) == {MendBy.PLATFORM_OWNER}:
            return _STEPS[MendBy.PLATFORM_OWNER].format(not_done=not_done), _command("run", typed.all, not_done)
        return f"Open {not_done}, mend what it names, and run it", _command("run", typed.all, not_done)
    return "Try them again", _command("retry", typed.where, folder)


def _command(name: str, flags: str, subject: str) -> str:
    # A name that begins with a hyphen would be taken for an option; a hyphen alone is standard input.
    safe = f"./{subject}" if subject.startswith("-") and subject != "-" else subject
    return " ".join(["bulkredeem", name, *([flags] if flags else []), shlex.quote(safe)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What somebody has to do about the rows of a run that are not done."""

    mend_by: MendBy
    count: int
    """How many rows it is about."""
    words: str
    """What to do; the command, if there is one, follows its colon."""
    command: str
    """To be pasted into a terminal; empty where none would do it."""


_STEPS: Final = {
    MendBy.FILE_OWNER: "Mend these rows in {not_done}, as their error_message says, and run it",
    MendBy.DATA_TEAM: "Ask the store or the data team about these redemptions, mend the rows in {not_done}, and run it",
    MendBy.PLATFORM_OWNER: "Show reason and request_id to whoever runs the platform; when it is mended, run {not_done}",
    MendBy.CREDENTIALS: "Have the user name, the password or the till's permission put right, and run {not_done}",
    MendBy.NOBODY: "Nothing is to be mended: try these rows again",
}
_FOR_EACH: Final = ". To give each only their own rows, write a file for each"


def next_steps(summary: Summary, folder: str, typed: Typed = Typed()) -> tuple[Step, ...]:
    """Return what is to be done next, one step for each who has to do something, the most rows first.

    As long as a run is unfinished, going on with it comes before all else. `folder` is the run's, as a person would
    name it.
    """
    ending = summary.ending
    if ending is not None and ending.state is RunState.ABANDONED:
        return ()
    is_unfinished = ending is not None and ending.state in UNFINISHED
    goes_on = {MendBy.NOBODY, mender_of_pending(ending)} if is_unfinished else set()
    menders = sorted(summary.mend_by, key=lambda mender: (mender not in goes_on, -summary.mend_by[mender]))
    return tuple(_step(mender, summary, folder, typed, goes_on=mender in goes_on) for mender in menders)


def _step(mender: MendBy, summary: Summary, folder: str, typed: Typed, *, goes_on: bool) -> Step:
    not_done = f"{folder}/{typed.not_done}"
    words = _STEPS[mender].format(not_done=not_done)
    if summary.ending is not None and summary.ending.state is RunState.DRY_RUN:
        if mender is MendBy.NOBODY:
            words, command = "These rows can be sent as they are", _the_same(summary, typed)
        else:
            command = _command("run", typed.all, not_done)
    elif summary.info.undo_of and mender is not MendBy.NOBODY:
        words, command = f"What {not_done} names cannot be restored: mend those redemptions by hand", ""
    elif goes_on:
        words, command = _way_on(summary, folder, typed)
    elif mender is MendBy.NOBODY:
        command = _command("retry", typed.where, folder)
    elif len(summary.mend_by) == 1:
        command = _command("run", typed.all, not_done)
    else:
        words += _FOR_EACH
        command = _command("split", " ".join(filter(None, (typed.which, "--by mend_by"))), folder)
    return Step(
        mend_by=mender, count=summary.mend_by[mender], words=f"{words}:" if command else f"{words}.", command=command
    )


def unmasking(folder: str, typed: Typed = Typed()) -> str:
    """Return the command that writes the reports of a run anew with identifiers in full on its page."""
    return _command("report", " ".join(filter(None, (typed.which, "--show-pii"))), folder)
