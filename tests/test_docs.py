"""The documentation builds without a warning, and what it says of commands, settings and codes is so."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import typer
from typer.core import TyperGroup

import bulkredeem
from bulkredeem.cli.commands import app
from bulkredeem.codes import CODES, FAMILIES
from bulkredeem.settings import ENV_PREFIX, Settings
from bulkredeem.settings.fields import SECRETS

_ROOT: Final = Path(__file__).parent.parent
_DOCS: Final = _ROOT / "docs"
_PAGES: Final = sorted(
    path
    for path in (_ROOT / "README.md", *_DOCS.rglob("*.md"))
    if not {"_build", "decisions"}.intersection(path.relative_to(_ROOT).parts)
)
"""Decisions tell of their day, and may name what has changed since."""
_FENCE: Final = re.compile(r"^```(?P<language>\S*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE: Final = re.compile(r"(?<!`)`(?P<text>bulkredeem [^`\n]+)`(?!`)")
_LOADED_FROM_ELSEWHERE: Final = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["'](?:https?:)?//|<link\b[^>]*\bhref=["'](?:https?:)?//"""
)


def _sphinx(builder: str, out: Path) -> Path:
    """Build with warnings as errors into a folder of the test's own, and return that."""
    options = ["-W", "--keep-going", "-n", "-q", "-b", builder, "-d", str(out / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, str(_DOCS), str(out / builder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return out / builder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give both builds one folder, so that the pages are read once."""
    return tmp_path_factory.mktemp("docs")


@pytest.fixture(scope="module")
def site(built: Path) -> Path:
    """Build the pages."""
    return _sphinx("html", built)


@pytest.fixture(scope="module")
def manual(built: Path) -> Path:
    """Build the manual page."""
    return _sphinx("man", built) / "bulkredeem.1"


def test_the_runbook_has_a_place_for_every_error_code(site: Path) -> None:
    """A link to a code, from a report or a message, finds it."""
    page = (site / "runbook.html").read_text("utf-8")
    wanted = {f"code-{name.lower().replace('_', '-')}" for name in (*CODES, *FAMILIES)}
    assert {anchor for anchor in wanted if f'id="{anchor}"' not in page} == set()


def test_the_reference_has_every_command_and_every_option(site: Path) -> None:
    """It is written from the command line itself."""
    page = (site / "reference" / "commands.html").read_text("utf-8")
    wanted = {option for options in _options().values() for option in options} - _options()[""]
    assert {option for option in wanted if option not in page} == set()
    assert {name for name in _options() if f'id="command-{name}"' not in page} == {""}


def test_the_reference_has_every_setting(site: Path) -> None:
    """With what it means, which the code says."""
    page = (site / "reference" / "settings.html").read_text("utf-8")
    wanted = {f"{ENV_PREFIX}{name.upper()}" if name in SECRETS else name for name in Settings.model_fields}
    assert {name for name in wanted if f">{name.removesuffix('_summary')}<" not in page} == set()


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    """The site can be read where there is no network."""
    pages = sorted(site.rglob("*.html"))
    assert pages
    assert [page.name for page in pages if _LOADED_FROM_ELSEWHERE.search(page.read_text("utf-8"))] == []


def test_the_manual_page_has_every_command(manual: Path) -> None:
    """It is made from the same source as the reference."""
    text = manual.read_text("utf-8").replace("\\-", "-")
    assert {name for name in _options() if f"bulkredeem {name}" not in text} == set()
    assert ".SH EXIT STATUS" in text


@pytest.mark.external
def test_man_shows_the_manual_page_without_a_complaint(manual: Path) -> None:
    """What a person sees of it."""
    command = ["man", "--warnings", "--encoding=UTF-8", "--local-file", str(manual)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert shown.stderr == ""
    assert "bulkredeem resume" in shown.stdout


@cache
def _options() -> Mapping[str, frozenset[str]]:
    """Return command → its options; the command line's own are those of the command without a name."""
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    commands = {"": group, **group.commands}
    return {name: _names(command.params) | {"--help", "-h"} for name, command in commands.items()}


def _names(parameters: list[Any]) -> frozenset[str]:
    return frozenset(name for each in parameters for name in each.opts if name.startswith("-"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A command that a page shows."""

    where: str
    words: tuple[str, ...]

    def wrong(self) -> Iterator[str]:
        """Name what there is not."""
        first, *others = self.words[1:] or [""]
        known = _options()
        command = "" if first.startswith("-") else first
        if command not in known:
            yield f"{self.where}: no command {command}"
            return
        for word in [first, *others]:
            option = word.partition("=")[0]
            if option.startswith("-") and option not in known[command]:
                yield f"{self.where}: {command or 'bulkredeem'} has no option {option}"


def _shown() -> Iterator[_Shown]:
    for path in _PAGES:
        text = path.read_text("utf-8")
        where = str(path.relative_to(_ROOT))
        spans = [match["text"] for match in _INLINE.finditer(_FENCE.sub("", text))]
        lines = [line for fence in _FENCE.finditer(text) for line in fence["text"].replace("\\\n", " ").splitlines()]
        for line in (*spans, *lines):
            yield from _commands_in(line.strip().removeprefix("$ "), where)


def _commands_in(line: str, where: str) -> Iterator[_Shown]:
    """Take a line apart that begins with our name; a command around another one is two."""
    if not re.match(r"bulkredeem( [a-z-]|$)", line):
        return
    words = shlex.split(line, comments=True)
    while words:
        end = words.index("--") if "--" in words else len(words)
        if words[0] == "bulkredeem":
            yield _Shown(where=where, words=tuple(words[:end]))
        words = words[end + 1 :]


def test_every_command_and_option_that_is_shown_exists() -> None:
    """A page that tells people to type what there is not, is worse than none."""
    shown = list(_shown())
    assert len(shown) > 50
    assert [wrong for each in shown for wrong in each.wrong()] == []


def test_a_command_that_does_not_exist_would_be_found() -> None:
    """The search looks at the inner command of a rehearsal, too."""
    shown = list(_commands_in("bulkredeem sandbox --port 1 -- bulkredeem run f.csv --rat none", "here"))
    assert [wrong for each in shown for wrong in each.wrong()] == ["here: run has no option --rat"]
    assert list(next(_commands_in("bulkredeem rum f.csv", "here")).wrong()) == ["here: no command rum"]


def _fences(language: str) -> Iterator[tuple[str, str]]:
    for path in _PAGES:
        for fence in _FENCE.finditer(path.read_text("utf-8")):
            if fence["language"] == language:
                yield str(path.relative_to(_ROOT)), fence["text"]


def test_every_setting_that_is_shown_exists() -> None:
    """A file that is copied from a page can be used."""
    wrong: list[str] = []
    for where, text in _fences("toml"):
        whole = tomllib.loads(text)
        tables = [whole, *whole.get("profiles", {}).values()]
        named = {name for table in tables for name in table} - {"profile", "profiles"}
        wrong.extend(f"{where}: {name}" for name in named - Settings.model_fields.keys())
    assert wrong == []


def test_every_example_in_python_uses_names_that_exist() -> None:
    """Of our package, at least."""
    examples = list(_fences("python"))
    for where, text in examples:
        compile(text, where, "exec")
        for name in re.findall(r"\bbulkredeem\.(\w+)", text):
            assert hasattr(bulkredeem, name), f"{where}: {name}"
    assert examples
