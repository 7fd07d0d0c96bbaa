"""The package as a stranger installs it: into an environment of its own, with what it needs from the registry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bulkredeem import __version__

PROJECT = Path(__file__).parent.parent

pytestmark = [pytest.mark.external, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the programs of a new virtual environment into which `pip install .` put the package."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", str(PROJECT)], check=True, cwd=folder)
    return folder / "bin"


def output_of(*command: str | Path, cwd: Path) -> str:
    """Return what a command says, run away from the source tree and without this process's settings."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("BULKREDEEM_", "COVERAGE"))}
    done = subprocess.run(command, cwd=cwd, env=plain, capture_output=True, text=True, check=True)
    return done.stdout


def test_the_command_is_installed(environment: Path, tmp_path: Path) -> None:
    """`pip install .` gives the command, in the version of the source."""
    assert output_of(environment / "bulkredeem", "--version", cwd=tmp_path) == f"bulkredeem {__version__}\n"


def test_the_module_is_the_command(environment: Path, tmp_path: Path) -> None:
    """`python -m bulkredeem` says the same as the command."""
    by_module = output_of(environment / "python", "-m", "bulkredeem", "run", "--help", cwd=tmp_path)
    assert by_module == output_of(environment / "bulkredeem", "run", "--help", cwd=tmp_path)


def test_an_installed_package_does_the_main_job(environment: Path, tmp_path: Path) -> None:
    """What was installed, and nothing of the source tree, runs the sample file against its own sandbox."""
    command = environment / "bulkredeem"
    sample = PROJECT / "sample_inputs" / "corrections.csv"
    said = output_of(command, "sandbox", "--", command, "run", sample, "--rate", "none", cwd=tmp_path)
    assert "All 20 rows were updated." in said
    assert (tmp_path / "reports" / "latest" / "results.csv").exists()


def test_types_are_shipped(environment: Path, tmp_path: Path) -> None:
    """Whoever imports the package gets its types."""
    found = "import bulkredeem, pathlib; print((pathlib.Path(bulkredeem.__file__).parent / 'py.typed').exists())"
    assert output_of(environment / "python", "-c", found, cwd=tmp_path) == "True\n"
