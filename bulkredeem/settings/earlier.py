"""The settings a run began with, when it is gone on with later: which of them count, and which are others today.

What decides what a row means stays as it was, so that one file is not read in two ways. How fast and how patiently its
rows are sent stays too, unless an option asks for something else. Where they are sent must be the same today.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, get_type_hints

from pydantic import TypeAdapter

from bulkredeem.model import IdentifierChoice, Rules
from bulkredeem.settings.fields import SECRETS, Settings

_OF_THE_SYSTEM: Final = ("base_url", "username")
_OF_THE_COMMAND: Final = SECRETS | {
    *("show_pii", "notify", "metrics_file"),
    *("auth", "attribution_entity_type", "attribution_code", "ca_bundle", "client_certificate", "client_key"),
    *("reports", "state_dir", "json_summary", "quiet", "log_level", "resume_unfinished", "backlog"),
    *(
        "environment",
        "unattended",
        "yes",
        "when_busy",
        "same_file",
        "wait_for_file",
        "settled_for",
        "min_rows",
        "canary",
        "expect_program_id",
        "by",
        "reason",
    ),
}
"""Today's always count: they say where reports lie and what is shown, and the way to the platform may be another."""
_MAY_BE_ASKED_FOR: Final = frozenset(
    {
        *("rate", "max_workers", "max_attempts", "timeout", "outage_timeout", "deadline"),
        *("resend", "allow_older", "max_refused", "no_guard", "xlsx"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A setting that is another one today."""

    name: str
    of_run: str
    """Its value when the run began, as text."""
    now: str
    """Its value today, as text."""


def other_system(stored: Mapping[str, Any], now: Settings) -> tuple[Difference, ...]:
    """Return what says that today's settings are for another system than the run's; empty when they are for its own.

    `stored` is `Settings.public()` of when the run began. What is not set today is no difference.
    """
    return tuple(each for each in _differences(stored, now) if each.name in _OF_THE_SYSTEM and each.now)


def changed(stored: Mapping[str, Any], now: Settings, flags: Collection[str]) -> tuple[Difference, ...]:
    """Return what is set to something else today and yet does not count, since no option (`flags`) asks for it."""
    asked_for = _MAY_BE_ASKED_FOR.intersection(flags)
    return tuple(each for each in _differences(stored, now) if each.name not in {*_OF_THE_SYSTEM, *asked_for})


def restored(stored: Mapping[str, Any], now: Settings, flags: Collection[str]) -> Settings:
    """Return the settings with which the run goes on: its own, but for what belongs to the command or is asked for.

    Raises ValueError when a stored value makes no sense.
    """
    todays = _OF_THE_COMMAND | _MAY_BE_ASKED_FOR.intersection(flags)
    own = {
        name: TypeAdapter[Any](kind).validate_python(stored[name])
        for name, kind in get_type_hints(Settings).items()
        if name in Settings.model_fields and name in stored and name not in todays
    }
    return now.model_copy(update=own)


def rules_of(stored: Mapping[str, Any]) -> Rules:
    """Return what validation knew when the run began. Raises KeyError and ValueError when the stored makes no sense."""
    chosen = {field.name: stored[field.name] for field in fields(Rules)}
    return Rules(**chosen | {"identifier": IdentifierChoice(chosen["identifier"])})


def _differences(stored: Mapping[str, Any], now: Settings) -> Iterator[Difference]:
    """Yield what is set today, by whatever source, and is not what it was."""
    todays = now.public()
    for name in sorted(now.model_fields_set - _OF_THE_COMMAND):
        if name in stored and stored[name] != todays[name]:
            yield Difference(name=name, of_run=str(stored[name]), now=str(todays[name]))
