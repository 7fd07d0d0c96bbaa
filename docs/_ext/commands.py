# ruff: noqa: INP001  Sphinx finds it by its path
"""The commands and their options, as the command line itself knows them.

typer brings its own copy of click, so nothing of click is imported here: a command is asked only for what every
version of it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import typer
from tables import head, row
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from bulkredeem.cli.commands import app

_DEFAULT: Final = re.compile(r"\s*\[default: (?P<default>[^];]*)[^]]*\]")
_REQUIRED: Final = re.compile(r"\s*\[required\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a command."""

    field: str
    """The name of its parameter, which is that of the setting if it is one."""
    names: tuple[str, ...]
    """As typed: `--rate`."""
    metavar: str
    """What follows it, or empty for a switch."""
    default: str
    """As a person reads it, or empty."""
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command."""

    name: str
    usage: str
    """What follows its name: `[OPTIONS] FILE...`."""
    meaning: str
    """Its docstring."""
    options: tuple[Option, ...]


def all_commands() -> tuple[Command, ...]:
    """Return the commands in the order in which the help lists them; those that are hidden are left out."""
    group = typer.main.get_command(app)
    if not isinstance(group, TyperGroup):
        raise TypeError("the command line has no commands")
    commands = group.commands.items()
    return tuple(_command(name, each) for name, each in commands if isinstance(each, TyperCommand) and not each.hidden)


def _command(name: str, command: TyperCommand) -> Command:
    arguments = [_argument(each) for each in command.params if isinstance(each, TyperArgument)]
    context = typer.Context(command)
    return Command(
        name=name,
        usage=" ".join(["[OPTIONS]", *arguments]),
        meaning=command.help or "",
        options=tuple(_option(each, context) for each in command.params if isinstance(each, TyperOption)),
    )


def _argument(argument: TyperArgument) -> str:
    word = argument.metavar or str(argument.name).upper()
    if word.startswith("["):
        return word
    several = f"{word}..." if argument.nargs < 0 else word
    return several if argument.required else f"[{several}]"


def _option(option: TyperOption, context: typer.Context) -> Option:
    # Of all that an option tells, only its line of the help stays the same from one typer to the next.
    typed, meaning = option.get_help_record(context) or ("", "")
    said = _DEFAULT.search(meaning)
    return Option(
        field=str(option.name),
        names=tuple(option.opts),
        metavar=typed.removeprefix(", ".join(option.opts)).strip(" <>"),
        default=said["default"] if said else _default(option),
        meaning=_REQUIRED.sub(" Required.", _DEFAULT.sub("", meaning)),
    )


def _default(option: TyperOption) -> str:
    is_said = option.is_flag or option.default is None or callable(option.default)
    return "" if is_said else str(option.default)


def as_sections() -> Iterator[str]:
    """Write a section for each command, with a table of its options."""
    for command in all_commands():
        yield f"(command-{command.name})=\n\n## bulkredeem {command.name}\n"
        yield f"```text\nbulkredeem {command.name} {command.usage}\n```\n"
        yield f"{command.meaning}\n"
        yield head("option", "default", "meaning")
        yield from (_as_row(option) for option in command.options)
        yield ""


def _as_row(option: Option) -> str:
    typed = " ".join(filter(None, (", ".join(option.names), option.metavar)))
    return row(f"`{typed}`", f"`{option.default}`" if option.default else "", option.meaning)


def for_the_man_page() -> Iterator[str]:
    """Write the commands as a manual page has them."""
    for command in all_commands():
        yield f"### bulkredeem {command.name} {command.usage}\n"
        yield f"{command.meaning}\n"
        for option in command.options:
            names = ", ".join(f"**{name}**".replace("--", r"\-\-") for name in option.names)
            yield f"{names} {f'*{option.metavar}*' if option.metavar else ''}".rstrip()
            yield f": {option.meaning}{f' Default: {option.default}.' if option.default else ''}\n"
