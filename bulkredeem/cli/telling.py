"""The commands `history` and `prune`: what the ledger tells, and letting go of old runs."""

from __future__ import annotations

import time
from typing import Final

import orjson
from rich.console import Console

from bulkredeem.application import prune_runs as remove_runs
from bulkredeem.application import story_of
from bulkredeem.cli.streams import write_json_line
from bulkredeem.cli.terminal import make_console, say, say_whole
from bulkredeem.errors import ConfigurationError, ExitCode
from bulkredeem.ledger import Told
from bulkredeem.model import Status
from bulkredeem.moments import parse_duration
from bulkredeem.settings import Settings
from bulkredeem.summary import counted, iso_utc

LONGEST_KEPT: Final = 100 * 365 * 86_400.0
"""Seconds of the longest time for which runs can be kept: a hundred years."""
_WORDS: Final = {
    Status.SUCCESS: "set",
    Status.SKIPPED: "found set already",
    Status.REFUSED: "refused",
    Status.FAILED: "not applied",
    Status.IN_DOUBT: "sent, and nobody knows whether it was applied",
}


def tell_history(identifier: str, settings: Settings) -> ExitCode:
    """Show all that was done to a redemption, the first first."""
    console = make_console(on_stderr=settings.json_summary)
    story, remarks = story_of(identifier, settings.reports)
    for remark in remarks:
        say(console, remark, style="yellow")
    for event in story:
        if settings.json_summary:
            write_json_line(orjson.dumps(_as_json_object(event)))
        else:
            _show(console, event)
    if not story:
        say(console, f"Nothing is known of {identifier} in {settings.reports}.")
    return ExitCode.DONE


def prune_runs(keep: str, settings: Settings) -> ExitCode:
    """Remove old runs, and say which."""
    console = make_console(on_stderr=settings.json_summary)
    if keep.strip().isdecimal():
        raise ConfigurationError(f"--keep: {keep!r} says nothing of days or hours; write it like 90d or 12h.")
    try:
        seconds = parse_duration(keep, most=LONGEST_KEPT)
    except ValueError as exc:
        raise ConfigurationError(f"--keep: {exc}.") from exc
    pruned = remove_runs(settings.reports, time.time() - seconds)
    for remark in pruned.remarks:
        say(console, remark, style="yellow")
    for folder in (*pruned.removed, *pruned.dry_runs):
        say_whole(console, f"Removed: {folder}")
    say(console, f"{counted(len(pruned.removed), 'run')} removed; the ledger goes on knowing what they did.")
    if settings.json_summary:
        write_json_line(orjson.dumps({"removed": [str(each) for each in pruned.removed]}))
    return ExitCode.DONE


def _show(console: Console, event: Told) -> None:
    system = event.environment or event.base_url
    say_whole(console, f"{iso_utc(event.at)}  {event.field} = {event.value}", style="bold")
    code = f" ({event.code})" if event.code else ""
    say(console, f"{_WORDS[event.status]}{code}, on {system} as {event.username}", indent=3)
    of = ", undo" if event.kind == "undo" else ""
    say(
        console,
        f"run {event.run_id}{of}, row {event.row_number} of {event.path}, as of {iso_utc(event.as_of)}",
        indent=3,
    )
    whose = f" for {event.by}" if event.by else ""
    why = f": {event.reason}" if event.reason else ""
    if event.user or whose or why:
        say(console, f"by {event.user}{whose}{why}", indent=3)


def _as_json_object(event: Told) -> dict[str, object]:
    return {**event._asdict(), "at": iso_utc(event.at), "as_of": iso_utc(event.as_of)}
