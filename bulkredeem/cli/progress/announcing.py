"""What is said before the first request: what will be sent, where to, and where it will be reported."""

from __future__ import annotations

import time

from rich.console import Console

from bulkredeem.application import Start
from bulkredeem.cli.progress.words import duration_in_words
from bulkredeem.cli.terminal import say, say_whole
from bulkredeem.moments import time_in_words
from bulkredeem.summary import counted


def announce(console: Console, start: Start) -> None:
    """Say what is about to happen."""
    lasting = f", about {duration_in_words(start.seconds)}" if start.seconds else ""
    done = f", {start.recorded:,} of them recorded before" if start.recorded else ""
    say(console, f"{start.info.path}: {counted(start.info.rows, 'row')}{done}{lasting}; {start.columns.in_words()}.")
    say(console, _system_in_words(start))
    if start.deadline is not None:
        say(console, _deadline_in_words(start, start.deadline))
    for remark in start.remarks:
        say(console, remark, style="yellow")
    say_whole(console, f"Reports: {start.folder}")


def _system_in_words(start: Start) -> str:
    """Say where the rows go, and with whom their rate is shared."""
    name = f"{start.info.environment}, " if start.info.environment else ""
    whose = "all runs of this user name on this machine" if start.is_pace_shared else "no other run"
    return f"To {name}{start.base_url} as {start.username}; the rate, {start.rate}, is shared with {whose}."


def _deadline_in_words(start: Start, deadline: float) -> str:
    left = start.info.rows - start.recorded
    until = f"No row starts after {time_in_words(deadline, time.time())}"
    if start.fit is None:
        return f"{until}."
    return f"{until}: about {start.fit:,} of {counted(left, 'row')} fit."
