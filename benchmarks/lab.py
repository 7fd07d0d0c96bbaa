"""Where a scenario finds its files and its target, and where every single run is written down."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.inputs import write_input
from benchmarks.programs import Command, Ended, Errand, Running, Sender
from benchmarks.target import Nginx, Target, running, traffic_of
from benchmarks.traffic import Traffic

USAGE: Final = 2
"""The exit code by which bulkredeem refuses a setting."""


class LabError(Exception):
    """A program did not do what it was measured for, so that its figure would be worth nothing."""


class RefusedError(LabError):
    """It does not know what it was asked for; the message is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One or several senders against one target, to their end."""

    ended: tuple[Ended, ...]
    """The processes, in the order in which they were given."""
    traffic: Traffic

    @property
    def writing_seconds(self) -> float:
        """Seconds from the last answer to the last end of a process."""
        return max(each.ended_at for each in self.ended) - self.traffic.last


During = Callable[[Nginx, Sequence[Running]], None]
"""What happens while senders are at work."""


def _let_run(_nginx: Nginx, _senders: Sequence[Running]) -> None:
    """Do nothing."""


class Lab:
    """Starts what is measured, and remembers it."""

    def __init__(self, out: Path, *, repeats: int, divisor: int) -> None:
        """Work below a folder that exists.

        Runs are repeated `repeats` times; files have a `divisor`-th of their rows, 1 for figures that count.
        """
        self.repeats: Final = repeats
        self.out: Final = out
        self._divisor = divisor
        self.runs: list[dict[str, Any]] = []
        """A line for every single run."""
        self.disagreements: list[str] = []
        """Runs of ours whose summary says something else than nginx saw."""

    def scaled(self, number: int) -> int:
        """Return a number of rows or seconds, fewer for a quick look."""
        return number // self._divisor

    def file(self, rows: int, *, seed: int = 1) -> Path:
        """Return a file of so many rows (fewer for a quick look), made when it is not there yet."""
        rows = self.scaled(rows)
        path = self.out / f"input-{rows}-{seed}.csv"
        if not path.exists():
            write_input(path, rows, seed=seed)
        return path

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Give a folder for a while. It is on the disk of the results, since a journal is synced to it."""
        path = Path(tempfile.mkdtemp(dir=self.out))
        try:
            yield path
        finally:
            shutil.rmtree(path)

    def send(self, what: str, target: Target, *work: tuple[Sender, Path], during: During = _let_run) -> Measured:
        """Let senders send a file each to one target, all at once, and return what came of it.

        Raises RefusedError when one does not know an option, and LabError when one failed, or a
        target without a limit answered anything but 200; and NoTrafficError.
        """
        with self.folder() as folder:
            with running(target, folder / "nginx") as nginx:
                senders = [Running(*_prepared(sender, file, nginx, folder)) for sender, file in work]
                during(nginx, senders)
                ended = tuple(each.wait() for each in senders)
            _insist(what, ended)
            measured = Measured(ended=ended, traffic=traffic_of(nginx))
            if target.limit is None and measured.traffic.requests != len(measured.traffic.good):
                msg = f"{what}: nginx did not answer every request with 200"
                raise LabError(msg)
            self._compare(what, measured.traffic, folder)
        self._note(what, measured)
        return measured

    def run(self, what: str, command: Command) -> Ended:
        """Run a program that sends nothing; raises LabError when it fails."""
        with self.folder() as folder:
            ended = Running(command, folder).wait()
        _insist(what, (ended,))
        self.runs.append({"what": what, **asdict(ended)})
        return ended

    def _compare(self, what: str, traffic: Traffic, folder: Path) -> None:
        """Look whether the summaries of ours, if there are any, agree with what nginx saw."""
        summaries = [json.loads(path.read_bytes()) for path in folder.glob("sender-*/latest/summary.json")]
        said = sum(each["counts"]["success"] for each in summaries), sum(each["requests"] for each in summaries)
        seen = len(traffic.good), traffic.requests
        if summaries and said != seen:
            self.disagreements.append(f"{what}: said {said}, nginx saw {seen} (rows updated, requests)")

    def _note(self, what: str, measured: Measured) -> None:
        traffic = measured.traffic
        seen = {
            "good": len(traffic.good),
            "throttled": len(traffic.throttled),
            "others": traffic.others,
            "rows_per_second": traffic.rows_per_second,
            "writing_seconds": measured.writing_seconds,
        }
        self.runs += [{"what": what, **seen, **asdict(each)} for each in measured.ended]


def _prepared(sender: Sender, file: Path, nginx: Nginx, folder: Path) -> tuple[Command, Path]:
    """Return a sender's command and its own folder."""
    own = Path(tempfile.mkdtemp(prefix="sender-", dir=folder))
    return sender(Errand(file=file, base_url=nginx.base_url, folder=own, state=folder / "state")), own


def _insist(what: str, ended: Sequence[Ended]) -> None:
    """Raise unless all came to a good end; a run that leaves rows undone has its figures, and counts."""
    for each in ended:
        if each.exit_code == USAGE:
            raise RefusedError(each.output.strip())
        if each.exit_code not in {0, 1} or "Traceback" in each.output:
            msg = f"{what} ended with {each.exit_code}: {each.output.strip()}"
            raise LabError(msg)
