"""The command `doctor`: what stands in the way of a run here, and how it can be mended."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

import orjson
from rich.console import Console

from bulkredeem.application.doctoring import Diagnosis, Finding, Level, Probes, diagnose
from bulkredeem.cli.asking import find_password
from bulkredeem.cli.running import signals
from bulkredeem.cli.streams import write_json_line
from bulkredeem.cli.terminal import make_console, say
from bulkredeem.errors import ConfigurationError, ExitCode, Stopping
from bulkredeem.processor import Stop
from bulkredeem.settings import Settings
from bulkredeem.settings.fields import SECRETS
from bulkredeem.settings.sources import Origin, with_password
from bulkredeem.summary import counted

_COLOURS: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red"}
_WIDTH: Final = max(map(len, Level))


async def examine(settings: Settings, origins: Mapping[str, Origin], *, probes: Probes | None = None) -> ExitCode:
    """Look at everything a run needs, show what was found, and return what it means for the process.

    `origins` is what `load_settings_with_origins` says of these settings.
    """
    console, stop = make_console(on_stderr=settings.json_summary), Stop()
    try:
        with signals(stop, console):
            with suppress(ConfigurationError):  # what cannot be read is a finding
                await find_password(settings, stop)
            origins = with_password(origins, settings)
            diagnosis = await diagnose(settings, origins, sleep=stop.sleep, probes=probes)
    except Stopping:
        say(console, "Stopped before the platform was asked.")
        return ExitCode.STOPPED_EARLY
    except asyncio.CancelledError:
        say(console, "Stopped at once.")
        return ExitCode.INTERRUPTED_AT_ONCE
    _show(console, diagnosis, settings, origins)
    if settings.json_summary:
        write_json_line(orjson.dumps(_as_text(_as_json_object(diagnosis, settings, origins))))
    return diagnosis.exit_code


def _show(console: Console, diagnosis: Diagnosis, settings: Settings, origins: Mapping[str, Origin]) -> None:
    if not settings.quiet:
        _show_settings(console, settings, origins)
    for finding in diagnosis.findings:
        if not settings.quiet or finding.level is not Level.OK:
            _show_finding(console, finding)
    say(console, _verdict(diagnosis), style="bold")


def _show_settings(console: Console, settings: Settings, origins: Mapping[str, Origin]) -> None:
    """Show the settings that somebody has set; of a secret only that it is set."""
    values = settings.public()
    chosen = {name: origin for name, origin in origins.items() if origin.kind != "default"}
    if chosen:
        say(console, "Settings that are not their defaults:", style="bold")
    for name, origin in chosen.items():
        value = "(not shown)" if name in SECRETS else values[name]
        say(console, f"{name} = {value}, from {origin.in_words()}", indent=2)


def _show_finding(console: Console, finding: Finding) -> None:
    say(console, f"{finding.level:<{_WIDTH}}  {finding.topic}: {finding.found}", style=_COLOURS[finding.level])
    if finding.remedy:
        say(console, finding.remedy, indent=_WIDTH + 2)


def _verdict(diagnosis: Diagnosis) -> str:
    problems, warnings = diagnosis.count(Level.PROBLEM), diagnosis.count(Level.WARNING)
    also = f" and {counted(warnings, 'warning')}" if warnings else ""
    if problems:
        return f"{counted(problems, 'problem')}{also}: mend what is a problem before the first run."
    return f"No problem{also}."


def _as_json_object(diagnosis: Diagnosis, settings: Settings, origins: Mapping[str, Origin]) -> dict[str, Any]:
    return {
        "findings": [asdict(finding) for finding in diagnosis.findings],
        "problems": diagnosis.count(Level.PROBLEM),
        "warnings": diagnosis.count(Level.WARNING),
        "settings": {name: _setting(name, settings, origin) for name, origin in origins.items()},
        "exit_code": diagnosis.exit_code,
    }


def _setting(name: str, settings: Settings, origin: Origin) -> dict[str, Any]:
    """Return a setting's value, null for a secret, and where it came from."""
    value = settings.public().get(name)
    return {"value": value, "from": origin.kind, "name": origin.name or None, "profile": origin.profile or None}


def _as_text(value: Any) -> Any:  # noqa: ANN401  anything that JSON holds
    """Return a JSON value whose texts can be written in UTF-8: a path or a variable may be any bytes."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, dict):
        return {_as_text(name): _as_text(inner) for name, inner in value.items()}
    return [_as_text(inner) for inner in value] if isinstance(value, list) else value
