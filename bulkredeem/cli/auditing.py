"""The command `audit`: what of a run is as it was, what was changed since, and what to do about it."""

from __future__ import annotations

from typing import Any, Final

import orjson
from rich.console import Console
from rich.text import Text

from bulkredeem.application.auditing import NO_PROOF, Audit, Standing, Thing, audit_run, find_to_audit
from bulkredeem.cli.streams import as_text, harmless, write_json_line
from bulkredeem.cli.terminal import make_console, say, say_whole
from bulkredeem.errors import ExitCode
from bulkredeem.settings import Settings
from bulkredeem.summary import Typed, counted

_COLOURS: Final = {
    Standing.AS_IT_WAS: "green",
    Standing.CHANGED: "red",
    Standing.MISSING: "red",
    Standing.NOT_RECORDED: "yellow",
    Standing.GONE: "dim",
}


def audit(name: str, settings: Settings, typed: Typed) -> ExitCode:
    """Show what an audit of a run finds; quiet, only what differs."""
    console = make_console(on_stderr=settings.json_summary)
    found = audit_run(find_to_audit(settings.reports, name), typed)
    for thing in found.differing if settings.quiet else found.things:
        _show(console, thing)
    if found.remark:
        say(console, found.remark, style="yellow")
    say(console, _verdict(found), style="bold")
    say(console, NO_PROOF)
    if settings.json_summary:
        write_json_line(orjson.dumps(_as_json_object(found)))
    return found.exit_code


def _show(console: Console, thing: Thing) -> None:
    line = Text(f"{harmless(thing.name)}: ")
    line.append(thing.standing.in_words, style=_COLOURS[thing.standing])
    console.print(line, soft_wrap=True)
    if thing.words:
        say(console, thing.words, indent=3)
    if thing.remedy:
        say_whole(console, f"   {thing.remedy}")


def _verdict(found: Audit) -> str:
    if not found.differing:
        return f"{found.run_id}: whatever was recorded is as it was."
    return f"{found.run_id}: {counted(len(found.differing), 'thing')} not as recorded."


def _as_json_object(found: Audit) -> dict[str, Any]:
    return {
        "run_id": found.run_id,
        "folder": as_text(found.folder),
        "is_as_it_was": not found.differing,
        "things": [
            {
                "name": thing.name,
                "standing": thing.standing,
                "recorded": thing.recorded,
                "found": thing.found,
                "words": thing.words or None,
                "remedy": thing.remedy or None,
            }
            for thing in found.things
        ],
        "remark": found.remark or None,
        "exit_code": found.exit_code,
    }
