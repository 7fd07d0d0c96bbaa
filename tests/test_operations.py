"""The pages about nights name only what there is, and the units to copy are such that systemd takes them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer

from bulkredeem.cli.commands import app
from bulkredeem.errors import ExitCode
from bulkredeem.notices import AS_PLANNED, LIMIT, Ended
from bulkredeem.notices.metrics import samples
from bulkredeem.settings import ENV_PREFIX, Settings
from bulkredeem.settings.credentials import credential_name

PAGES: Final = Path(__file__).parent.parent / "docs" / "operations"
UNITS: Final = sorted((PAGES / "systemd").iterdir())
SERVICES: Final = [unit for unit in UNITS if unit.suffix == ".service"]
_CODE: Final = re.compile(r"^```[^\n]*\n(.*?)^```$|`([^`\n]+)`", re.DOTALL | re.MULTILINE)
_COMMAND: Final = re.compile(r"(?<![\w.-])bulkredeem ([a-z]+)([^\n\"'`|&;]*)")
_CHOOSES: Final = {"CONFIG", "PROFILE"}
"""What may stand in the environment although it is no field of the settings."""


def code_in(page: Path) -> Iterator[str]:
    """Give what a page says in code, blocks and words; a list in YAML and continued lines become one line."""
    for match in _CODE.finditer(page.read_text(encoding="utf-8")):
        block, word = match.groups()
        yield re.sub(r"\\\n\s*|\n\s*- (?=--|[a-z]+\n|/)", " ", block or word)


def commands_told() -> Iterator[tuple[str, str, str]]:
    """Give each command that pages and units tell to type: where, its name, and the rest of its line."""
    for page in PAGES.glob("*.md"):
        for code in code_in(page):
            yield from ((page.name, match[1], match[2]) for match in _COMMAND.finditer(code))
    for unit in SERVICES:
        line = unit.read_text(encoding="utf-8").replace("\\\n", " ")
        starts = [text for text in line.splitlines() if text.startswith("ExecStart=")]
        yield from ((unit.name, match[1], match[2]) for match in map(_COMMAND.search, starts) if match)


def options_of(command: str) -> set[str]:
    """Return the options that a command has, as they are typed; raises KeyError for no command."""
    group: Any = typer.main.get_command(app)
    return {name for parameter in group.commands[command].params for name in parameter.opts}


def test_every_command_told_is_one_that_there_is() -> None:
    """With options that it has; a page that is found to tell none would not be looked at."""
    told = list(commands_told())
    assert {where for where, *_ in told} == {page.name for page in PAGES.glob("*.md")} | {s.name for s in SERVICES}
    for where, command, rest in told:
        options = set(re.findall(r"(?<!\S)--[a-z][a-z-]*", rest))
        assert options <= options_of(command), f"{where}: bulkredeem {command}{rest}"


def test_every_setting_told_is_one_that_there_is() -> None:
    """A misspelt one would end every night with 2."""
    known = {name.upper() for name in Settings.model_fields} | _CHOOSES
    for path in (*PAGES.glob("*.md"), *UNITS):
        told = set(re.findall(rf"{ENV_PREFIX}([A-Z_]+)", path.read_text(encoding="utf-8")))
        assert told <= known, path.name


def test_every_exit_code_is_in_the_table() -> None:
    """In their order, and nothing else."""
    text = (PAGES / "index.md").read_text(encoding="utf-8")
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)] == sorted(ExitCode)


def test_every_metric_is_in_the_table() -> None:
    """With its labels, but for the one that all have."""
    told = set(re.findall(r"`(bulkredeem_[a-z_]+(?:\{[a-z_]+\})?)`", (PAGES / "index.md").read_text(encoding="utf-8")))
    ended = Ended(exit_code=ExitCode.DONE, reports=Path(), began_at=0.0, finished_at=0.0)
    labelled = {(name, tuple(labels)) for name, _, labels, _ in samples(ended, 0.0)}
    assert told == {f"bulkredeem_{name}" + (f"{{{labels[0]}}}" if labels else "") for name, labels in labelled}


def section(unit: Path, name: str) -> list[tuple[str, str]]:
    """Return the lines of a unit's section as pairs; a key may come twice."""
    text = unit.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = text.split(f"[{name}]\n", 1)[1].split("\n[", 1)[0].splitlines()
    return [(key, value) for key, _, value in (line.partition("=") for line in lines if line and line[0] != "#")]


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_unit_that_is_stopped_has_time_to_drain(unit: Path) -> None:
    """A try under way, reports and notices take less than systemd waits, with two minutes to spare."""
    service = dict(section(unit, "Service"))
    minutes = re.fullmatch(r"(\d+)min", service["TimeoutStopSec"])
    assert minutes is not None
    assert int(minutes[1]) * 60 >= Settings.model_fields["timeout"].default + LIMIT + 120
    assert service["KillSignal"] == "SIGTERM"


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.name)
def test_a_unit_takes_for_success_what_notices_do(unit: Path) -> None:
    """And starts nothing again by itself."""
    service = dict(section(unit, "Service"))
    assert {int(code) for code in service["SuccessExitStatus"].split()} == AS_PLANNED - {ExitCode.DONE}
    assert service["Restart"] == "no"


def test_both_services_are_bounded_alike() -> None:
    """What a mistake could do does not depend on which of them makes it."""
    of_their_own = {"Type", "ExecStart", "UnsetEnvironment"}
    night, boot = ([pair for pair in section(unit, "Service") if pair[0] not in of_their_own] for unit in SERVICES)
    assert night == boot


def test_no_unit_holds_a_secret() -> None:
    """The password comes as a credential, and the rest from a file that only root reads."""
    for unit in SERVICES:
        service = section(unit, "Service")
        assert ("LoadCredential", f"{credential_name('password')}:/etc/bulkredeem/till-password") in service
        assert not [value for key, value in service if key == "Environment" and re.search("PASSWORD=|URL", value)]


def test_the_timer_starts_the_night_that_its_deadline_ends() -> None:
    """The night begins before the deadline, on the same day."""
    begins = dict(section(PAGES / "systemd" / "bulkredeem.timer", "Timer"))["OnCalendar"].split()[1]
    ends = re.search(r"--deadline (\S+)", (PAGES / "systemd" / "bulkredeem.service").read_text(encoding="utf-8"))
    assert ends is not None
    assert begins < ends[1]


@pytest.fixture(name="copies")
def _copies(tmp_path: Path) -> list[str]:
    """Copy the units so that they start a program that there is, and return the paths of the copies."""
    there = shutil.which("true")
    assert there is not None
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("/opt/bulkredeem/bin/bulkredeem", there)
        (tmp_path / unit.name).write_text(text, encoding="utf-8")
    return [str(tmp_path / unit.name) for unit in UNITS]


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd-analyze, which `tests/setup` has installed."""
    program = shutil.which("systemd-analyze")
    assert program is not None
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.external
def test_systemd_takes_the_units(copies: list[str]) -> None:
    """Without a word: a setting that it does not know is a warning, and no error."""
    done = analyze("verify", "--man=no", *copies)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.external
def test_a_misspelt_setting_would_be_found(copies: list[str]) -> None:
    """Otherwise the test before this one would show nothing."""
    path = Path(copies[0])
    path.write_text(path.read_text(encoding="utf-8").replace("ProtectHome=", "ProtectHomes="), encoding="utf-8")
    assert "ProtectHomes" in analyze("verify", "--man=no", *copies).stderr


@pytest.mark.external
def test_systemd_finds_the_services_well_bounded(copies: list[str]) -> None:
    """On its scale, which ends at 10 for a service that may do everything, at most 2."""
    for path in copies:
        if path.endswith(".service"):
            done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", path)
            assert done.returncode == 0, done.stdout
