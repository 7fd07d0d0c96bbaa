"""Runs pytest over two halves of the test files at once: `python tests/in_halves.py OPTIONS...`.

A real process for each test of a process takes its time, and a second core has none to do otherwise. Each half measures
its coverage into a file of its own; `coverage combine` puts them together. pytest-xdist would do the same and more, and
has had no release for over a year.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
NO_TESTS: Final = 5
"""What pytest says of a half in which nothing was chosen."""


def halves() -> tuple[list[str], list[str]]:
    """Return the test files in two halves of about one size: the larger a file, the longer it takes, mostly."""
    files = sorted(ROOT.glob("tests/test_*.py"), key=lambda path: (-path.stat().st_size, path.name))
    names = [str(path.relative_to(ROOT)) for path in files]
    return [*names[::4], *names[3::4]], [*names[1::4], *names[2::4]]


def main() -> int:
    """Run both, show what each has said, and return the worse of their exit codes."""
    with tempfile.TemporaryFile() as told:
        first, second = halves()
        # No shell: what it starts in the background never hears of Ctrl-C, and some tests are about that.
        beside = subprocess.Popen(_command(second), cwd=ROOT, env=_environment("b"), stdout=told, stderr=told)
        code = subprocess.run(_command(first), cwd=ROOT, env=_environment("a"), check=False).returncode
        codes = (code, beside.wait())
        told.seek(0)
        sys.stdout.buffer.write(told.read())
    return max((each for each in codes if each != NO_TESTS), default=NO_TESTS)


def _command(files: list[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", *sys.argv[1:], *files]


def _environment(half: str) -> dict[str, str]:
    return os.environ | {"COVERAGE_FILE": str(ROOT / f".coverage-{half}")}


if __name__ == "__main__":
    sys.exit(main())
