"""Runs pytest over three parts of the test files at once: `python tests/in_parts.py OPTIONS...`.

A real process for each test of a process takes its time, much of it waiting, and a second core has none to do
otherwise.
Each part measures its coverage into a file of its own; `coverage combine` puts them together. pytest-xdist would do the
same and more, and has had no release for over a year.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
PARTS: Final = 3
NO_TESTS: Final = 5
"""What pytest says of a part in which nothing was chosen."""


def parts() -> list[list[str]]:
    """Return the test files in parts of about one size: the larger a file, the longer it takes, mostly."""
    files = sorted(ROOT.glob("tests/test_*.py"), key=lambda path: (-path.stat().st_size, path.name))
    names = [str(path.relative_to(ROOT)) for path in files]
    # There and back again: who gets the largest of one round gets the smallest of the next.
    rounds = [names[start : start + PARTS] for start in range(0, len(names), PARTS)]
    dealt = [each if number % 2 == 0 else each[::-1] for number, each in enumerate(rounds)]
    return [[each[place] for each in dealt if place < len(each)] for place in range(PARTS)]


def main() -> int:
    """Run all, show what each has said, and return the worst of their exit codes."""
    first, *others = parts()
    with ExitStack() as resources:
        told = [resources.enter_context(tempfile.TemporaryFile()) for _ in others]
        # No shell: what it starts in the background never hears of Ctrl-C, and some tests are about that.
        beside = [
            subprocess.Popen(_command(files), cwd=ROOT, env=_environment(number), stdout=out, stderr=out)
            for number, (files, out) in enumerate(zip(others, told, strict=True), start=1)
        ]
        codes = [subprocess.run(_command(first), cwd=ROOT, env=_environment(0), check=False).returncode]
        for process, out in zip(beside, told, strict=True):
            codes.append(process.wait())
            out.seek(0)
            sys.stdout.buffer.write(out.read())
    return max((each for each in codes if each != NO_TESTS), default=NO_TESTS)


def _command(files: list[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", *sys.argv[1:], *files]


def _environment(part: int) -> dict[str, str]:
    return os.environ | {"COVERAGE_FILE": str(ROOT / f".coverage-{part}")}


if __name__ == "__main__":
    sys.exit(main())
