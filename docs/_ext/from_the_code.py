# ruff: noqa: INP001  Sphinx finds it by its path
"""Pages, or parts of them, that are written from the code when the documentation is built.

A line `<!-- from the code: runbook -->` of a page is replaced by what the function of that name in `PARTS` writes. So
nothing that the code knows stands in two places.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from attributes import attribute_docstrings
from commands import all_commands, as_sections, for_the_man_page
from pydantic import SecretStr
from tables import head, row

import bulkredeem
from bulkredeem.codes import CODES, FAMILIES, Code, MendBy
from bulkredeem.errors import ExitCode
from bulkredeem.model import DONE, Status
from bulkredeem.settings import ENV_PREFIX, Settings
from bulkredeem.settings.fields import SECRETS
from bulkredeem.summary import RunState

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from sphinx.application import Sphinx

_PART: Final = re.compile(r"^<!-- from the code: (?P<name>[a-z ]+) -->$", re.MULTILINE)
_CODE: Final = re.compile(r"`(?P<text>[^`]+)`")
_BENCHMARKS: Final = "../../benchmarks/README.md"
"""What a decision calls the page that `benchmarks.md` includes."""
_ALL_CODES: Final = {**CODES, **FAMILIES}
_LIBRARY: Final = ("run", "run_blocking")
"""The functions of the package for those who call it from Python."""


def _anchor(name: str) -> str:
    return f"code-{name.lower().replace('_', '-')}"


def _as_looked_up(named: tuple[str, Code]) -> tuple[int, str]:
    """Sort numbers by their value, and before all words."""
    name, _ = named
    return (int(name) if name.isdigit() else sys.maxsize, name)


def _whom(mend_by: MendBy | None) -> str:
    return mend_by.in_words if mend_by else "nobody: there is nothing to do"


def _code_index() -> Iterator[str]:
    yield head("code", "it means", "who mends it")
    for name, code in sorted(_ALL_CODES.items(), key=_as_looked_up):
        yield row(f"[`{name}`](#{_anchor(name)})", code.meaning, _whom(code.mend_by))


def _runbook() -> Iterator[str]:
    about = attribute_docstrings(MendBy)
    for mender in MendBy:
        yield f"## For the {mender.in_words}\n" if mender is not MendBy.NOBODY else "## For nobody: try again\n"
        yield f"`mend_by` is `{mender}`. {about[mender.name]}\n"
        yield from _chapter(mender)
    yield "## Nothing to do\n\nRows with these codes are `skipped`.\n"
    yield from _chapter(None)


def _chapter(mender: MendBy | None) -> Iterator[str]:
    for name, code in _ALL_CODES.items():
        if code.mend_by is mender:
            yield from _page_of(name, code)


def _page_of(name: str, code: Code) -> Iterator[str]:
    yield f"({_anchor(name)})=\n\n### `{name}`\n"
    yield f"{code.meaning[0].upper()}{code.meaning[1:]}.\n" if code.meaning[0] != "`" else f"{code.meaning}.\n"
    yield f"Where it comes from\n: {code.cause}\n"
    yield f"Who mends it\n: {_whom(code.mend_by)}\n"
    yield f"What to do\n: {code.remedy}\n"


def _statuses() -> Iterator[str]:
    about = attribute_docstrings(Status)
    yield head("status", "meaning", "in `not_done.csv`")
    yield from (row(f"`{each}`", about[each.name], "no" if each in DONE else "yes") for each in Status)


def _exit_codes() -> Iterator[str]:
    about = attribute_docstrings(ExitCode)
    yield head("exit code", "meaning")
    yield from (row(str(each.value), about[each.name]) for each in ExitCode)


def _exit_codes_for_man() -> Iterator[str]:
    about = attribute_docstrings(ExitCode)
    yield from (f"**{each.value}**\n: {about[each.name]}\n" for each in ExitCode)


def _menders() -> Iterator[str]:
    about = attribute_docstrings(MendBy)
    yield head("`mend_by`", "who that is")
    yield from (row(f"`{each}`", about[each.name]) for each in MendBy)


def _run_states() -> Iterator[str]:
    about = attribute_docstrings(RunState)
    yield head("state", "meaning")
    yield from (row(f"`{each}`", about.get(each.name, "A process works on it.")) for each in RunState)


def _settings() -> Iterator[str]:
    about = attribute_docstrings(Settings)
    flags = {option.field: option.names[0] for command in all_commands() for option in command.options}
    yield head("setting", "option", "default", "meaning")
    for field, info in Settings.model_fields.items():
        name = field.removesuffix("_summary")
        written = f"{ENV_PREFIX}{name.upper()}" if name in SECRETS else name
        yield row(f"`{written}`", f"`{flags[name]}`" if name in flags else "", _default_of(info), about[field])


def _default_of(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, bool):
        return "on" if value else "off"
    is_said = bool(value) or isinstance(value, int | float)
    return f"`{value}`" if is_said and not isinstance(value, SecretStr) else ""


def _library() -> Iterator[str]:
    """Write about the functions for Python programs; a version without them has no such chapter."""
    for name in filter(set(getattr(bulkredeem, "__all__", ())).__contains__, _LIBRARY):
        yield f"```{{eval-rst}}\n.. autofunction:: bulkredeem.{name}\n```\n"


PARTS: Final[Mapping[str, Callable[[], Iterator[str]]]] = {
    "code index": _code_index,
    "runbook": _runbook,
    "statuses": _statuses,
    "exit codes": _exit_codes,
    "exit codes for man": _exit_codes_for_man,
    "menders": _menders,
    "run states": _run_states,
    "settings": _settings,
    "commands": as_sections,
    "commands for man": for_the_man_page,
    "library": _library,
}


def _as_restructured_text(_: Sphinx, __: str, ___: str, ____: object, _____: object, lines: list[str]) -> None:
    """Write the code of a docstring as reStructuredText does, for that is what autodoc reads."""
    lines[:] = [_CODE.sub(lambda code: f"``{code['text'].strip()}``", line) for line in lines]


def _fill_in(_: Sphinx, __: str, source: list[str]) -> None:
    """Replace the marked lines of a page. An unknown name is an error: KeyError names it."""
    text = source[0].replace(_BENCHMARKS, "../benchmarks.md")
    source[0] = _PART.sub(lambda part: "\n".join(PARTS[part["name"]]()), text)


def setup(sphinx: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of it."""
    sphinx.connect("source-read", _fill_in)
    sphinx.connect("autodoc-process-docstring", _as_restructured_text)
    return {"parallel_read_safe": True}
