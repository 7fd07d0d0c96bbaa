"""The commands `verify` and `compare`: what the platform holds now of a run's rows, or of a file's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from bulkredeem.application import Terms, at_its_system, comparing, find_run, newest_in, verifying
from bulkredeem.application.comparing import Comparison, Result
from bulkredeem.application.verifying import Verified
from bulkredeem.cli.asking import find_password
from bulkredeem.cli.ending import show_ending, show_groups
from bulkredeem.cli.progress import observer_for
from bulkredeem.cli.running import signals
from bulkredeem.cli.streams import as_text, complain, write_json_line
from bulkredeem.cli.terminal import make_console, say, say_whole
from bulkredeem.errors import BulkRedeemError, ExitCode, Stopping
from bulkredeem.processor import Stop
from bulkredeem.settings import Settings
from bulkredeem.summary import ErrorGroup, Typed, counted


async def verify_run(
    name: str | None, settings: Settings, flags: Mapping[str, Any], typed: Typed, *, every: bool, at_once: bool
) -> ExitCode:
    """Settle by reading back the rows in doubt of the run of this name, or of the newest one, and show what was found.

    `every` looks at all rows that were sent, `at_once` also at those that were sent just now.
    """
    console = make_console(on_stderr=settings.json_summary)
    folder = newest_in(settings.reports) if name is None else find_run(settings.reports, name)
    try:
        async with _terms(at_its_system(folder, settings), console, typed) as terms:
            found = await verifying.verify_run(folder, settings, flags, terms, every=every, at_once=at_once)
    except Stopping:
        say(console, f"Stopped before any row of {folder} was read back.")
        return ExitCode.STOPPED_EARLY
    except asyncio.CancelledError:
        say(console, "Stopped at once. What was found is in the run's journal; bring its reports up to date:")
        say_whole(console, f"bulkredeem report {folder.name}")
        return ExitCode.INTERRUPTED_AT_ONCE
    _show_verified(console, found, settings, typed)
    return found.exit_code


async def compare_files(files: Sequence[Path], settings: Settings) -> ExitCode:
    """Compare the files one after another with what the platform holds, and return the highest exit code."""
    console, worst, left = make_console(on_stderr=settings.json_summary), ExitCode.DONE, list(files)
    try:
        async with _terms(settings, console) as terms:
            settings.require_for_sending()
            while left and not terms.stop.requested:
                worst = max(worst, await _compare(left.pop(0), settings, terms, console))
    except Stopping:
        worst = ExitCode.STOPPED_EARLY
    if left:
        say(console, f"Not compared: {', '.join(map(str, left))}.")
    return worst


@asynccontextmanager
async def _terms(settings: Settings, console: Console, typed: Typed = Typed()) -> AsyncIterator[Terms]:
    """Give the terms of a command that only asks, when it has its password; signals stop it meanwhile."""
    stop = Stop()
    with signals(stop, console):
        await find_password(settings, stop)
        with observer_for(console, quiet=settings.quiet) as display:
            yield Terms(stop=stop, observer=display, typed=typed)


async def _compare(path: Path, settings: Settings, terms: Terms, console: Console) -> ExitCode:
    """Compare one file, show what was found, and return its exit code."""
    try:
        found = await comparing.compare_file(path, settings, terms)
    except (Stopping, asyncio.CancelledError) as exc:
        say(console, f"Stopped before {path} was compared; nothing was sent, and there is no report.")
        return ExitCode.STOPPED_EARLY if isinstance(exc, Stopping) else ExitCode.INTERRUPTED_AT_ONCE
    except BulkRedeemError as exc:
        complain(exc)
        return exc.exit_code
    _show_comparison(console, found, settings)
    return found.exit_code


def _show_verified(console: Console, found: Verified, settings: Settings, typed: Typed) -> None:
    if not settings.quiet:
        show_groups(console, "Applied after all, and success now:", found.applied)
        show_groups(console, "Not applied, and failed now:", found.not_applied)
        show_groups(console, "As before, since nobody can tell:", found.unknown)
        show_groups(console, "Success, and yet not as it was set:", found.contradicted)
    if found.stopped_by is not None:
        complain(f"Stopped early: {str(found.stopped_by).rstrip('.')}.")
    say(console, _verified_in_words(found), style="bold")
    show_ending(console, found.run, quiet=settings.quiet, typed=typed)
    if settings.json_summary:
        write_json_line(orjson.dumps(_verified_as_json_object(found)))


def _verified_in_words(found: Verified) -> str:
    if not found.rows:
        return f"Nothing in {found.folder} had to be read back."
    kinds = {
        "applied after all": found.applied,
        "not applied": found.not_applied,
        "as before": found.unknown,
        "success with another value now": found.contradicted,
    }
    parts = [f"{_count(groups):,} {words}" for words, groups in kinds.items() if groups]
    what = f"{counted(found.rows, 'row')} to read back, {counted(found.requests, 'request')}"
    return f"{what}: {', '.join(parts) or 'all is as it was set'}."


def _verified_as_json_object(found: Verified) -> dict[str, object]:
    return {
        "run_id": found.run.summary.info.run_id,
        "rows": found.rows,
        "requests": found.requests,
        "applied": _as_json(found.applied),
        "not_applied": _as_json(found.not_applied),
        "unknown": _as_json(found.unknown),
        "contradicted": _as_json(found.contradicted),
        "counts": {str(status): count for status, count in found.run.summary.counts.items()},
        "stop_reason": str(found.stopped_by) if found.stopped_by else None,
        "exit_code": found.exit_code,
    }


def _show_comparison(console: Console, found: Comparison, settings: Settings) -> None:
    if not settings.quiet:
        say(console, f"{found.path}: {found.columns.in_words()}.")
        show_groups(console, "Rows that are not the same:", found.groups)
        say_whole(console, f"Every row: {found.report}")
    if found.stopped_by is not None:
        complain(f"Stopped early: {str(found.stopped_by).rstrip('.')}.")
    say(console, _comparison_in_words(found), style="bold")
    if settings.json_summary:
        write_json_line(orjson.dumps(_comparison_as_json_object(found)))


def _comparison_in_words(found: Comparison) -> str:
    if not found.rows:
        return f"{found.path} has a header and no rows: there is nothing to compare."
    if found.counts[Result.SAME] == found.rows:
        return "The one row is the same." if found.rows == 1 else f"All {found.rows:,} rows are the same."
    parts = [f"{count:,} {result.replace('_', ' ')}" for result, count in found.counts.items() if count]
    return f"{counted(found.rows, 'row')}: {', '.join(parts)}."


def _comparison_as_json_object(found: Comparison) -> dict[str, object]:
    return {
        "path": as_text(found.path),
        "report": as_text(found.report),
        "rows": found.rows,
        "requests": found.requests,
        "counts": {str(result): count for result, count in found.counts.items()},
        "differences": _as_json(found.groups),
        "stop_reason": str(found.stopped_by) if found.stopped_by else None,
        "exit_code": found.exit_code,
    }


def _count(groups: tuple[ErrorGroup, ...]) -> int:
    return sum(group.count for group in groups)


def _as_json(groups: tuple[ErrorGroup, ...]) -> list[dict[str, object]]:
    return [asdict(group) for group in groups]
