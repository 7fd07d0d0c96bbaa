"""The command `init`: asks what a first run needs, and writes it down."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from shlex import quote
from typing import Final

import typer
from rich.console import Console

from bulkredeem.application.initialising import (
    ENVIRONMENT_EXAMPLE,
    FIELDS,
    IDENTIFIERS,
    Answers,
    Peeked,
    column_of,
    configuration_text,
    environment_example,
    known_columns,
    needs_of,
    problem_of,
    problem_of_columns,
    tidied,
)
from bulkredeem.cli.terminal import make_console, say, say_whole
from bulkredeem.columns import canonical_name, shown_header
from bulkredeem.errors import ConfigurationError, DeclinedError, ExitCode, ReportError
from bulkredeem.loader import peek
from bulkredeem.model import CUSTOM_FIELD_PREFIX, Column, Reading
from bulkredeem.settings import CONFIG_FILE, ENV_PREFIX, Settings
from bulkredeem.wholefile import whole_text

Check = Callable[[str], str]
"""Returns what an answer means. Raises ValueError with what is wrong with it."""
_NOBODY_THERE: Final = (
    f"init asks questions, and nobody is at a terminal to answer them: write {CONFIG_FILE} by hand, as the README says."
)
_KINDS: Final = {
    str(Column.IDENTIFIER_TYPE): "Which column says what kind of id that is? (Enter for none: all are mobile numbers)",
    str(Column.ENTITY_TYPE): "Which column says what kind of customer it is? (Enter for none: all are CUSTOMER)",
}
"""Columns without which all rows are taken to be of one kind, and what to ask about them."""
_NOTHING_WRITTEN: Final = "Nothing was written."


def _peek(path: Path) -> Peeked:
    return peek(path, Reading())


def initialise(file: Path | None, *, look: Callable[[Path], Peeked] = _peek, folder: Path = Path()) -> ExitCode:
    """Ask what a first run needs, and write `bulkredeem.toml` and `.env.example` into a folder.

    `file` is a sample of the files to come, or None; `look` returns its header. What stood in either file before is
    kept beside it. Raises ConfigurationError when nobody can be asked or the disk takes no file, DeclinedError when the
    files are to stay as they are, and what `look` raises.
    """
    console = make_console(on_stderr=False)
    if not (sys.stdin.isatty() and console.is_terminal):
        raise ConfigurationError(_NOBODY_THERE)
    headers = [] if file is None else list(look(file).headers)
    try:
        before = _agreed(folder)
        answers = _asked(console, file, headers)
    except (typer.Abort, KeyboardInterrupt):
        say(console, "")
        say(console, _NOTHING_WRITTEN)
        return ExitCode.INTERRUPTED_AT_ONCE
    _write(folder, before, {ENVIRONMENT_EXAMPLE: environment_example(), CONFIG_FILE: configuration_text(answers)})
    _show_ending(console, folder, before, file)
    return ExitCode.DONE


def _agreed(folder: Path) -> list[Path]:
    """Return which of the files are there already, when they may be written anew. Raises DeclinedError."""
    there = [path for path in (folder / CONFIG_FILE, folder / ENVIRONMENT_EXAMPLE) if path.exists()]
    if there:
        names = " and ".join(path.name for path in there)
        question = (
            f"{names} {'is' if len(there) == 1 else 'are'} here already. Write anew, and keep the old as .before?"
        )
        if not typer.confirm(question):
            raise DeclinedError(f"{names} {'stays as it is' if len(there) == 1 else 'stay as they are'}.")
    return there


def _asked(console: Console, file: Path | None, headers: Sequence[str]) -> Answers:
    """Ask all questions. Raises Abort at Ctrl-C, and at the end of the input."""
    say(console, "Enter takes what is in brackets. The password is not asked for, and stands in neither file.")
    return Answers(
        base_url=_setting("base_url", "Address of the platform, as https://eu.api.example.com"),
        username=_setting("username", "User name of the till"),
        environment=_setting("environment", "What you call this system, as production or test (Enter for no name)", ""),
        rate=_setting("rate", "Most requests", str(Settings.model_fields["rate"].default)),
        default_country_code=_setting(
            "default_country_code", "Country code to put before mobile numbers of ten digits (Enter for none)", ""
        ),
        map=_mapped(console, file, headers) if file else {},
    )


def _setting(name: str, question: str, default: str | None = None) -> str:
    def check(answer: str) -> str:
        value = tidied(name, answer)
        if problem := problem_of(name, value):
            raise ValueError(problem)
        return value

    return _ask(question, check, default)


def _ask(question: str, check: Check, default: str | None = None) -> str:
    """Ask until an answer makes sense; a default of None makes Enter none."""

    def checked(answer: str) -> str:
        try:
            return check(answer)
        except ValueError as exc:
            raise typer.BadParameter(f"{exc}.") from exc

    found: str = typer.prompt(question, default=default, show_default=bool(default), value_proc=checked)
    return found


def _mapped(console: Console, file: Path, headers: Sequence[str]) -> dict[str, str]:
    """Ask which column is which, as far as the headers do not say so; header → canonical name of what was asked."""
    known = known_columns(headers)
    say(console, f"The columns of {file}:", style="bold")
    for number, header in enumerate(headers, start=1):
        name = known.get(header.strip())
        say(console, f"{number:>3}  {shown_header(header.strip()) or '(no name)'}{f', used as {name}' if name else ''}")
    chosen: dict[str, str] = {}
    needs = needs_of(known.values())
    if needs.identifier:
        header = _column("Which column names the redemption?", headers, chosen)
        chosen[header] = _kind(f"Is {shown_header(header)!r} redemptionId or externalReferenceNumber?", IDENTIFIERS)
    if needs.customer:
        header = _column("Which column holds the customer's mobile number or other id?", headers, chosen)
        chosen[header] = Column.IDENTIFIER_VALUE
    while needs.value and (header := _column(_value_question(chosen), headers, chosen, may_end=_sets(chosen))):
        chosen[header] = _kind(
            f"What is {shown_header(header)!r}: billNumber, billId, purpose or customFields.NAME?", FIELDS
        )
    for name, question in _KINDS.items():
        open_ones = [header for header in headers if header.strip() and header.strip() not in {*known, *chosen}]
        if name not in known.values() and open_ones and (header := _column(question, headers, chosen, may_end=True)):
            chosen[header] = name
    if problem := problem_of_columns(headers, chosen):
        say(console, f"Such a file could not be run yet. {problem}", style="yellow")
    return chosen


def _value_question(chosen: dict[str, str]) -> str:
    return (
        "Another one that is to be set (Enter for none)" if _sets(chosen) else "Which column holds what is to be set?"
    )


def _sets(chosen: dict[str, str]) -> bool:
    return not needs_of(chosen.values()).value


def _column(question: str, headers: Sequence[str], chosen: dict[str, str], *, may_end: bool = False) -> str:
    """Ask for a column, by its name or number; empty when there may be none, and there is none."""

    def check(answer: str) -> str:
        header = column_of(headers, answer.strip())
        if header is None and not (may_end and not answer.strip()):
            raise ValueError("there is no such column; write its name or its number")
        if header in chosen:
            raise ValueError(f"that column is {chosen[header]} already")
        return header or ""

    return _ask(question, check, "" if may_end else None)


def _kind(question: str, kinds: Sequence[str]) -> str:
    """Ask as what a column is used: the first kind unless another one is named, in any spelling."""

    def check(answer: str) -> str:
        name = canonical_name(answer)
        if name and (name in kinds or (kinds is FIELDS and name.startswith(CUSTOM_FIELD_PREFIX))):
            return name
        raise ValueError(f"write {', '.join(kinds)}{' or customFields.NAME' if kinds is FIELDS else ''}")

    return _ask(question, check, str(kinds[0]))


def _write(folder: Path, before: Sequence[Path], texts: dict[str, str]) -> None:
    """Write each file whole, the old ones being kept first. Raises ConfigurationError."""
    try:
        for path in before:
            _keep(path)
        for name, text in texts.items():
            with whole_text(folder / name) as opened:
                opened.write(text)
    except OSError as exc:
        raise ConfigurationError(f"{exc.filename} could not be kept: {exc.strerror}. {_NOTHING_WRITTEN}") from exc
    except ReportError as exc:
        raise ConfigurationError(str(exc)) from exc


def _keep(path: Path) -> Path:
    """Copy a file beside itself, under a name that nothing has yet, and return that."""
    names = (path.with_name(f"{path.name}.before{number or ''}") for number in count())
    kept = next(name for name in names if not name.exists())
    shutil.copy2(path, kept)
    return kept


def _show_ending(console: Console, folder: Path, before: Sequence[Path], file: Path | None) -> None:
    kept = ", the old ones with .before at the end" if before else ""
    say(console, f"Written: {folder / CONFIG_FILE} and {folder / ENVIRONMENT_EXAMPLE}{kept}.", style="bold")
    say(console, "Next, with a file that holds the password and that only you can read:")
    say_whole(console, f"  export {ENV_PREFIX}PASSWORD_FILE=/path/of/that/file")
    say_whole(console, "  bulkredeem doctor")
    say_whole(console, f"  bulkredeem check {quote(str(file)) if file else 'FILE'}")
