"""Runs pytest over parts of the test files, some at once: `python tests/in_parts.py OPTIONS...`.

A real process for each test of a process takes its time, much of it waiting, and a second core has none to do
otherwise. There are more parts than go at once, so that who is done early takes the next.
Each part measures its coverage into a file of its own; `coverage combine` puts them together. pytest-xdist would do the
same and more, and has had no release for over a year.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Final

ROOT: Final = Path(__file__).parent.parent
PARTS: Final = 12
AT_ONCE: Final = 3
NO_TESTS: Final = 5
"""What pytest says of a part in which nothing was chosen."""
_SHOWING: Final = Lock()
"""Held by whoever shows something, so that it stays together."""


def parts() -> list[list[str]]:
    """Return the test files in parts of about one size: the larger a file, the longer it takes, mostly."""
    files = sorted(ROOT.glob("tests/test_*.py"), key=lambda path: (-path.stat().st_size, path.name))
    names = [str(path.relative_to(ROOT)) for path in files]
    # There and back again: who gets the largest of one round gets the smallest of the next.
    rounds = [names[start : start + PARTS] for start in range(0, len(names), PARTS)]
    dealt = [each if number % 2 == 0 else each[::-1] for number, each in enumerate(rounds)]
    return [[each[place] for each in dealt if place < len(each)] for place in range(PARTS)]


def main() -> int:
    """Run all, show what each has said when it has ended, and return the worst of their exit codes."""
    # Threads, and no shell: what that starts in the background never hears of Ctrl-C, and some tests are about that.
    with ThreadPoolExecutor(AT_ONCE) as pool:
        codes = list(pool.map(_run, range(PARTS), parts()))
    return max((each for each in codes if each != NO_TESTS), default=NO_TESTS)


def _run(number: int, files: list[str]) -> int:
    """Run one part, show what it has said when it has ended, and return its exit code."""
    _show(f"Part {number + 1} of {PARTS} begins: {len(files)} files.\n".encode())
    done = subprocess.run(
        _command(files),
        cwd=ROOT,
        env=_environment(number),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    _show(done.stdout)
    return done.returncode


def _show(what: bytes) -> None:
    with _SHOWING:
        sys.stdout.buffer.write(what)
        sys.stdout.buffer.flush()


def _command(files: list[str]) -> list[str]:
    return [sys.executable, "-m", "pytest", *sys.argv[1:], *files]


def _environment(part: int) -> dict[str, str]:
    return os.environ | {"COVERAGE_FILE": str(ROOT / f".coverage-{part}")}


if __name__ == "__main__":
    sys.exit(main())
