"""What is given out: just what belongs to it, the same bytes every time, and the licences of what comes along."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from bulkredeem import __version__

ROOT = Path(__file__).parent.parent
ABOUT_THE_LIST = ("linux", (3, 11))
"""The list of licences says that it is about these."""
WELCOME = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0"),
    *("Python-2.0", "Zlib", "BSD License", "Apache Software License", "Mozilla Public License 2.0 MPL 2.0"),
}
"""Licences under which others' code may come along with ours, as the packages write them."""
BELONGS = {"PKG-INFO", ".gitignore", "pyproject.toml", "CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md"}
"""Beside folders, what the source distribution holds."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return the bill of materials and the list of licences, as `make sbom` writes them."""
    paths = [tmp_path_factory.mktemp("made") / name for name in ("bulkredeem.cdx.json", "licences.md")]
    command = [sys.executable, str(ROOT / ".ci" / "bill_of_materials.py"), *map(str, paths)]
    subprocess.run(command, check=True, capture_output=True)
    return paths[0].read_text(encoding="utf-8"), paths[1].read_text(encoding="utf-8")


@pytest.fixture
def document(made: tuple[str, str]) -> Any:
    """Return the bill of materials, as JSON holds it."""
    return json.loads(made[0])


def test_the_bill_of_materials_is_valid(document: Any) -> None:
    """The schema of CycloneDX accepts it, also without what development needs."""
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document)) is None


def test_the_bill_of_materials_names_what_comes_along_and_nothing_else(document: Any) -> None:
    """What runs need is there, in the version of the lock; what tests need is not."""
    versions = {each["name"].lower(): each["version"] for each in document["components"]}
    lock = (ROOT / "requirements.lock").read_text()
    for name in ("aiohttp", "pandas", "tenacity", "structlog", "keyring", "apprise", "xlsxwriter"):
        assert f"\n{name}=={versions[name]} " in lock.replace("\\", " ").replace(";", " ").replace("  ", " ")
    assert versions.keys().isdisjoint({"pytest", "hypothesis", "mypy", "ruff", "sphinx", "schemathesis", "atheris"})


@pytest.mark.skipif(
    (sys.platform, sys.version_info[:2]) != ABOUT_THE_LIST, reason="the list is about Linux and Python 3.11"
)
def test_the_list_of_licences_is_that_of_what_is_installed(made: tuple[str, str]) -> None:
    """Whoever changes what comes along runs `make sbom`."""
    assert (ROOT / "docs" / "reference" / "licences.md").read_text(encoding="utf-8") == made[1]


def test_every_licence_is_one_that_may_come_along() -> None:
    """None of them asks for more than its own text beside ours."""
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", (ROOT / "docs/reference/licences.md").read_text(), re.MULTILINE)
    said = {
        name: set(re.split(r", | AND | OR ", re.sub(r"[()]", "", words)))
        for name, words in rows
        if name not in {"package", "---"}
    }
    assert {name: words - WELCOME for name, words in said.items() if words - WELCOME} == {}


def test_heavy_libraries_are_extras() -> None:
    """Who needs no workbooks, notices or keyring installs nothing for them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["optional-dependencies"]) == {"keyring", "notify", "xlsx"}
    always = {re.split(r"[><=;\[ ]", need)[0] for need in project["dependencies"]}
    assert always.isdisjoint({"keyring", "apprise", "xlsxwriter", "python-calamine"})


# The wheel and the source distribution


def git(*arguments: str, umask: int = -1) -> str:
    """Return what git says, in the repository."""
    program = shutil.which("git")
    assert program, "the tests of what is given out need git"
    done = subprocess.run([program, *arguments], cwd=ROOT, check=True, capture_output=True, text=True, umask=umask)
    return done.stdout


def build(folder: Path, *, umask: int, zone: str) -> dict[str, Path]:
    """Build both from a clone of the repository, in surroundings of its own."""
    clone, out = folder / "clone", folder / "out"
    git("clone", "--quiet", str(ROOT), str(clone), umask=umask)
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    subprocess.run(command, cwd=clone, env=os.environ | {"TZ": zone}, umask=umask, check=True, capture_output=True)
    return {path.suffix: path for path in out.iterdir()}


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Path]]:
    """Build wheel and source distribution twice: elsewhere, at another time of day, with other permissions."""
    return [
        build(tmp_path_factory.mktemp("one"), umask=0o022, zone="UTC"),
        build(tmp_path_factory.mktemp("another-and-longer"), umask=0o077, zone="Asia/Kolkata"),
    ]


@pytest.mark.external
@pytest.mark.parametrize("kind", [".whl", ".gz"])
def test_two_builds_have_the_same_bytes(builds: list[dict[str, Path]], kind: str) -> None:
    """Whoever doubts a release builds it, and compares."""
    one, another = (build[kind].read_bytes() for build in builds)
    assert one == another


@pytest.mark.external
def test_the_wheel_holds_the_package_and_its_papers(builds: list[dict[str, Path]]) -> None:
    """Nothing else: no test, no sample, no settings of ours."""
    with zipfile.ZipFile(builds[0][".whl"]) as wheel:
        names = wheel.namelist()
    papers = f"bulkredeem-{__version__}.dist-info/"
    assert {name.split("/")[0] + "/" for name in names} == {"bulkredeem/", papers}
    assert set(names) - set(files_of("bulkredeem")) == {
        papers + name for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE")
    }


@pytest.mark.external
def test_the_source_distribution_holds_what_is_committed(builds: list[dict[str, Path]]) -> None:
    """Package, tests and samples, whole, and a few papers; nothing that happened to lie there."""
    with tarfile.open(builds[0][".gz"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names == BELONGS | {name for folder in ("bulkredeem", "tests", "sample_inputs") for name in files_of(folder)}


def files_of(folder: str) -> Iterator[str]:
    """Yield the committed files below a folder."""
    return (name for name in git("ls-files", "-z", folder).split("\0") if name)


# The code itself


def test_every_exception_from_the_type_checker_gives_its_reason() -> None:
    """`# type: ignore[code]` is followed by why, on its line."""
    paths = [path for folder in ("bulkredeem", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    bare = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(r"# type: ignore\S*$", line)  # and not this line
    ]
    assert bare == []
