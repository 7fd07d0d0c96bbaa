"""The programs that are measured: how each is called, and what the kernel says about a process that has ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

IN_FLIGHT: Final = 100
"""Requests under way at once, for everybody."""
BULKREDEEM: Final = Path(sys.executable).with_name("bulkredeem")
_BASELINES: Final = Path(__file__).parent / "baselines"
_BYTES_OF_MAXRSS: Final = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to start."""

    words: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict)
    """What is added to the environment, from which settings of bulkredeem were taken away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What a sender is given to do."""

    file: Path
    base_url: str
    folder: Path
    """An empty folder for what it writes."""
    state: Path
    """A folder that runs of the same key share."""


Sender = Callable[[Errand], Command]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What is known of a process that has ended."""

    exit_code: int
    """Negative for a signal, as `subprocess` has it."""
    seconds: float
    """From its start to its end, by the wall clock."""
    cpu_seconds: float
    """Of all its threads and of the processes it waited for, in the kernel and outside."""
    peak_bytes: int
    """Most memory that was resident at once."""
    ended_at: float
    """Seconds since the epoch."""
    output: str
    """What it said, on standard output and standard error."""


class Running:
    """A process under way."""

    def __init__(self, command: Command, folder: Path) -> None:
        """Start it in a folder, so that no configuration file of somebody's is found."""
        self._said = folder / "output.txt"
        self._begun = time.monotonic()
        with self._said.open("wb") as output:
            self._process = subprocess.Popen(
                command.words, env=_environment(command), cwd=folder, stdout=output, stderr=subprocess.STDOUT
            )

    def has_ended(self) -> bool:
        """Say whether it has, without taking its exit code away from `wait`."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self) -> Ended:
        """Wait for its end, once."""
        _, status, usage = os.wait4(self._process.pid, 0)
        ended_at, seconds = time.time(), time.monotonic() - self._begun
        self._process.returncode = os.waitstatus_to_exitcode(status)
        return Ended(
            exit_code=self._process.returncode,
            seconds=seconds,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_bytes=usage.ru_maxrss * _BYTES_OF_MAXRSS,
            ended_at=ended_at,
            output=self._said.read_text(encoding="utf-8", errors="replace"),
        )


def _environment(command: Command) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BULKREDEEM_")}
    return inherited | dict(command.environment)


def ours(*options: str) -> Sender:
    """Return bulkredeem's command line with these options, everything on."""

    def command(errand: Errand) -> Command:
        words: list[str | Path] = [
            sys.executable,
            "-m",
            "bulkredeem",
            "run",
            errand.file,
            "--max-workers",
            str(IN_FLIGHT),
        ]
        environment = {
            "BULKREDEEM_BASE_URL": errand.base_url,
            "BULKREDEEM_USERNAME": "till",
            "BULKREDEEM_PASSWORD": "secret",
            "BULKREDEEM_SETTLED_FOR": "0",  # the files were made just now, and no other program waits for them
        }
        if _has_option("--state-dir"):
            environment["BULKREDEEM_STATE_DIR"] = str(errand.state)
        return Command(words=[*words, "--reports", errand.folder, "--quiet", *options], environment=environment)

    return command


@cache
def _has_option(name: str) -> bool:
    """Say whether `run` knows an option: an unknown setting is an error of its own."""
    said = subprocess.run([BULKREDEEM, "run", "--help"], capture_output=True, text=True, check=True).stdout
    return name in said


def bare(errand: Errand) -> Command:
    """Return the baseline that does the least."""
    return _baseline("bare.py", errand)


def naive(errand: Errand) -> Command:
    """Return the baseline that puts the libraries together."""
    return _baseline("naive.py", errand, errand.folder)


def pyrate(kind: str) -> Sender:
    """Return the bare baseline behind a limiter of pyrate-limiter, `gcra` or `sqlite`, which all runs share."""
    return lambda errand: _baseline("pyrate.py", errand, errand.state, kind)


def _baseline(script: str, errand: Errand, *more: str | Path) -> Command:
    url = f"{errand.base_url}/v2/points/updateRedemption"
    return Command(words=[sys.executable, _BASELINES / script, errand.file, url, str(IN_FLIGHT), *more])


def pandas(file: Path, *copy: Path) -> Command:
    """Return pandas reading a file, and writing it if a copy is named; it says two numbers of seconds."""
    return Command(words=[sys.executable, _BASELINES / "pandas_read_write.py", file, *copy])


def check(file: Path) -> Command:
    """Return bulkredeem's look at a file."""
    return Command(words=[sys.executable, "-m", "bulkredeem", "check", file, "--quiet"])
