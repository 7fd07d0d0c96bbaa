"""The command `split`: the rows that are not done, in a file for each group, and who has to do what about each."""

from __future__ import annotations

import shlex
import time
from typing import Final

import orjson
from rich.console import Console

from bulkredeem.application import find_run
from bulkredeem.application.splitting import Group, Split
from bulkredeem.application.splitting import split_run as split_into_files
from bulkredeem.cli.streams import as_text, write_json_line
from bulkredeem.cli.terminal import make_console, say, say_whole
from bulkredeem.codes import MendBy, code_named
from bulkredeem.columns import canonical_name
from bulkredeem.errors import ExitCode
from bulkredeem.settings import Settings
from bulkredeem.summary import Typed, counted

_TO_DO: Final = {
    MendBy.FILE_OWNER: "mend each row as its error_message says",
    MendBy.DATA_TEAM: "find out about each redemption, and mend its row",
    MendBy.PLATFORM_OWNER: "find the requests by their request_id, and mend what refuses them",
    MendBy.CREDENTIALS: "have the user name, the password or the till's permission put right",
    MendBy.NOBODY: "nothing is to be mended",
}
"""What a mender has to do where the codes of a group say nothing, or not all the same."""


def split_run(name: str, by: str, settings: Settings, typed: Typed) -> ExitCode:
    """Write a file for each group of rows that are not done, and show them, the largest first."""
    console = make_console(on_stderr=settings.json_summary)
    split = split_into_files(find_run(settings.reports, name), by, time.time())
    command = _command(split, typed)
    for group in split.groups:
        if settings.json_summary:
            write_json_line(orjson.dumps(_as_json_object(split, group)))
        elif not settings.quiet:
            _show(console, group, command)
    if split.left_out:
        left_out = f"{counted(split.left_out, 'pending row')} left out: going on with the run sends them"
        say(console, f"{left_out} (bulkredeem resume).", style="yellow")
    say(console, _in_words(split), style="bold")
    return ExitCode.DONE


def _show(console: Console, group: Group, command: str) -> None:
    say(console, f"{counted(group.rows, 'row')}: {group.name or '(none)'}", style="bold")
    say(console, _to_do(group), indent=3)
    say_whole(console, f"   {command} {shlex.quote(str(group.path))}")


def _to_do(group: Group) -> str:
    """Say who has to do what: by the code if there is one, else by who mends it."""
    code = code_named(group.codes[0]) if len(group.codes) == 1 else None
    if code and len(group.mend_by) == 1:
        return f"{group.mend_by[0].in_words}: {code.remedy}"
    return "; ".join(f"{mender.in_words}: {_TO_DO[mender]}" for mender in group.mend_by) + "."


def _command(split: Split, typed: Typed) -> str:
    """Return how a file is run, without its name: with the run's map of columns where their names do not tell."""
    mapped = [f"{header}={name}" for header, name in split.columns.pairs() if canonical_name(header) != name]
    maps = " ".join(f"--map {shlex.quote(pair)}" for pair in mapped)
    return " ".join(filter(None, ("bulkredeem run", typed.all, maps)))


def _in_words(split: Split) -> str:
    if not split.groups:
        return f"{split.run} has no rows to be mended, so there is nothing to split."
    rows = sum(group.rows for group in split.groups)
    files = counted(len(split.groups), "file")
    return f"{counted(rows, 'row')} in {files} in {split.groups[0].path.parent}; mend each file, and run it."


def _as_json_object(split: Split, group: Group) -> dict[str, object]:
    return {
        "by": split.by,
        "group": group.name,
        "rows": group.rows,
        "error_codes": list(group.codes),
        "mend_by": list(group.mend_by),
        "path": as_text(group.path),
    }
