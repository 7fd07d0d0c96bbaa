"""Plays the soak: starts the platform and the run, kills the run, goes on with it, and writes down how it looks."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Self

import orjson
import psutil

from benchmarks.inputs import write_input
from benchmarks.soaking import stand_in, watched
from benchmarks.soaking.judging import Booked, Line, Sample, imbalances
from bulkredeem.application import runs_in, settled_rows
from bulkredeem.errors import ExitCode
from bulkredeem.model import Rate, Status
from bulkredeem.report import RESULTS

KILLS_A_MINUTE: Final = 0.3
OUTAGES_A_MINUTE: Final = 0.4
OUTAGE_SECONDS: Final = (2.0, 8.0)
"""The shortest and the longest."""
FAIL_RATIO: Final = 0.01
"""Share of the updates that meet a fault."""
LATENCY: Final = 0.02
"""Seconds that an update takes."""
LEEWAY: Final = 1.01
"""By how much the platform's limit a minute lies above the rate: an answer may be late, and its request with it."""
_LOOKED_EVERY: Final = 2.0
"""Seconds between two samples."""
_TURN: Final = 0.1
"""Seconds between two looks whether something is due."""
_QUIET_AT_THE_ENDS: Final = 0.05
"""Share of the time, at its beginning and at its end, in which nothing is done to the run."""
_MOST_ENDINGS: Final = 5
"""How often the run is gone on with at the end, before that counts as never coming to one."""
_MOST_UNASKED: Final = 10
"""Ends that nobody asked for, after which there is nothing to measure any more."""
_SUMMARY: Final = "summary.json"


class SoakError(Exception):
    """A process did what nobody had asked for, so that the figures would be worth nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to happen."""

    seconds: float
    rate: Rate
    seed: int
    rows: int
    """More than can be sent in the time."""
    kills: tuple[float, ...]
    """Moments, in seconds since the beginning."""
    outages: tuple[tuple[float, float], ...]
    """Moments, and how many seconds each lasts."""

    @classmethod
    def drawn(cls, *, minutes: float, rate: Rate, seed: int) -> Self:
        """Return the plan of so many minutes; the same for the same seed."""
        chance, seconds = random.Random(seed), minutes * 60  # noqa: S311  a rehearsal, not a secret
        begin, end = seconds * _QUIET_AT_THE_ENDS, seconds * (1 - _QUIET_AT_THE_ENDS)
        kills = [chance.uniform(begin, end) for _ in range(max(1, round(minutes * KILLS_A_MINUTE)))]
        outages = [
            (chance.uniform(begin, end), chance.uniform(*OUTAGE_SECONDS))
            for _ in range(max(1, round(minutes * OUTAGES_A_MINUTE)))
        ]
        return cls(
            seconds=seconds,
            rate=rate,
            seed=seed,
            rows=round(seconds / rate.interval),
            kills=tuple(sorted(kills)),
            outages=tuple(sorted(outages)),
        )


@dataclass(slots=True, kw_only=True)
class Story:
    """What happened."""

    plan: Plan
    samples: list[Sample] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)
    """Of each process, in order; -9 for one that was killed."""
    unasked: list[int] = field(default_factory=list)
    """Exit codes of those that ended by themselves although the time was not over."""
    measured: Mapping[str, int] = field(default_factory=dict)
    """How the platform stood when the time was over."""
    ended: Mapping[str, int] = field(default_factory=dict)
    """How it stood when the last row was done."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Status → rows, as the summary of the run says."""
    imbalances: list[tuple[str, int]] = field(default_factory=list)
    applied_again: int = 0
    """Rows that the platform applied more than once: their first answer was lost."""
    sent_again: int = 0
    """Updates of rows that had a recorded outcome when a process was killed."""


class _Platform:
    """The sandbox's process."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        limit = {"requests": int(plan.rate.requests * 60 / plan.rate.per_seconds * LEEWAY), "per_seconds": 60}
        how = {"limit": limit, "latency": LATENCY, "fail_ratio": FAIL_RATIO, "seed": plan.seed}
        with (folder / "platform.txt").open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", stand_in.__name__, orjson.dumps(how).decode()],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
            )
        self._folder = folder
        self.base_url: str = self._heard()["base_url"]

    def tell(self, do: str, **order: str | float) -> dict[str, Any]:
        """Give an order, and return how things stand."""
        _pipe(self._process.stdin).write(orjson.dumps({"do": do, **order}) + b"\n")
        _pipe(self._process.stdin).flush()
        return self._heard()

    def _heard(self) -> dict[str, Any]:
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise SoakError(f"the platform ended; what it said is in {self._folder / 'platform.txt'}")
        answer: dict[str, Any] = orjson.loads(line)
        return answer

    def close(self) -> None:
        """End it."""
        with suppress(BrokenPipeError):
            _pipe(self._process.stdin).close()
        self._process.wait()
        _pipe(self._process.stdout).close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise SoakError("the platform has no pipe")
    return pipe


class Soak:
    """One soak."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        """Take what is to happen, and an empty folder."""
        self.story = Story(plan=plan)
        self._plan = plan
        self._folder = folder
        self._file = folder / "input.csv"
        self._begun = self._started = self._looked = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def play(self) -> Story:
        """Play it to its end, and return what happened. Raises SoakError."""
        write_input(self._file, self._plan.rows, seed=self._plan.seed)
        lines = read_lines(self._file)
        platform_ = _Platform(self._plan, self._folder)
        try:
            self._play_time(platform_, lines)
            self.story.measured = platform_.tell("counters")
            self._finish(platform_, lines)
            self.story.ended = platform_.tell("books", path=str(self._folder / "books.csv"))
            self.story.sent_again = self.story.ended["sent_again"]
        finally:
            self._kill()
            platform_.close()
        self._balance(lines)
        return self.story

    def _play_time(self, platform_: _Platform, lines: Mapping[int, Line]) -> None:
        self._begun = time.monotonic()
        kills, outages = list(self._plan.kills), list(self._plan.outages)
        while (now := time.monotonic() - self._begun) < self._plan.seconds:
            if self._process is None:
                self._start(platform_, "--rate", self._plan.rate.text)
            if kills and kills[0] <= now:
                kills.pop(0)
                self._kill()
                self._learn_settled(platform_, lines)
            elif outages and outages[0][0] <= now:
                platform_.tell("outage", seconds=outages.pop(0)[1])
            else:
                self._insist_on_life()
                self._look(platform_, now)
                time.sleep(_TURN)

    def _finish(self, platform_: _Platform, lines: Mapping[int, Line]) -> None:
        """Let the run stop as a person would stop it, then send the rest without a limit; nothing is measured."""
        self._end(signal.SIGTERM)
        self._learn_settled(platform_, lines)
        platform_.tell("calm")
        for _ in range(_MOST_ENDINGS):
            self._start(platform_, "--rate", "none")
            if self._end() in {ExitCode.DONE, ExitCode.NOT_ALL_DONE}:
                return
        raise SoakError("the run did not come to an end")

    def _start(self, platform_: _Platform, *options: str) -> None:
        reports = self._folder / "reports"
        going_on = any(run.is_unfinished for run in runs_in(reports))
        what = ("resume",) if going_on else ("run", str(self._file))
        folders = ("--reports", str(reports), "--state-dir", str(self._folder / "state"))
        words = [sys.executable, watched.__file__, str(self._tasks_file), *what, *folders, "--quiet", *options]
        self._tasks_file.unlink(missing_ok=True)
        with (self._folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                words,
                cwd=self._folder,
                env=_environment(platform_.base_url),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._started = time.monotonic()

    @property
    def _tasks_file(self) -> Path:
        return self._folder / "tasks"

    def _end(self, number: int | None = None) -> int:
        """Wait for the end of the process, perhaps after a signal, and return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if number is not None:
            process.send_signal(number)
        code = process.wait()
        self.story.exit_codes.append(code)
        return code

    def _kill(self) -> None:
        self._end(signal.SIGKILL)

    def _insist_on_life(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            self.story.unasked.append(self._end())
            if len(self.story.unasked) > _MOST_UNASKED:
                raise SoakError(f"the run ends by itself; what it said is in {self._folder / 'output.txt'}")

    def _learn_settled(self, platform_: _Platform, lines: Mapping[int, Line]) -> None:
        """Tell the platform which rows have an outcome: none of them may come again."""
        runs = [run for run in runs_in(self._folder / "reports") if run.info]
        names = [lines[number].redemption_id for run in runs for number in settled_rows(run)]
        path = self._folder / "settled.txt"
        path.write_text("\n".join(names), encoding="utf-8")
        platform_.tell("settled", path=str(path))

    def _look(self, platform_: _Platform, now: float) -> None:
        if self._process is None or now - self._looked < _LOOKED_EVERY:
            return
        self._looked = now
        requests = platform_.tell("counters")["requests"]
        with suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            self.story.samples.append(
                Sample(
                    at=now,
                    stretch=len(self.story.exit_codes),
                    age=time.monotonic() - self._started,
                    memory=process.memory_info().rss,
                    open_files=process.num_fds(),
                    threads=process.num_threads(),
                    tasks=self._tasks(),
                    requests=requests,
                )
            )

    def _tasks(self) -> int | None:
        try:
            return int(self._tasks_file.read_bytes() or b"0") or None
        except OSError:
            return None

    def _balance(self, lines: Mapping[int, Line]) -> None:
        (run,) = (run for run in runs_in(self._folder / "reports") if run.info)
        self.story.counts = orjson.loads((run.folder / _SUMMARY).read_bytes())["counts"]
        verdicts = read_verdicts(run.folder / RESULTS)
        books = read_books(self._folder / "books.csv")
        self.story.applied_again = sum(each.times > 1 for each in books.values())
        self.story.imbalances = list(imbalances(lines, verdicts, self.story.counts, books))


def _environment(base_url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("BULKREDEEM_")}
    return kept | {
        "BULKREDEEM_BASE_URL": base_url,
        "BULKREDEEM_USERNAME": "sandbox.till",
        "BULKREDEEM_PASSWORD": "sandbox",
        "BULKREDEEM_SETTLED_FOR": "0",  # the file was made just now, and no other program waits for it
    }


def read_lines(path: Path) -> dict[int, Line]:
    """Return the rows of the file by their numbers."""
    with path.open(encoding="utf-8", newline="") as file:
        return {
            number: Line(redemption_id=row["redemptionId"], bill_number=row["billNumber"], bill_id=row["billId"])
            for number, row in enumerate(csv.DictReader(file), start=2)
        }


def read_verdicts(path: Path) -> Sequence[tuple[int, Status]]:
    """Return the rows of a run's results in their order."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [(int(row["row_number"]), Status(row["status"])) for row in csv.DictReader(file)]


def read_books(path: Path) -> dict[str, Booked]:
    """Return what the platform has, by redemption."""
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row["redemptionId"]: Booked(times=int(row["times"]), bill_number=row["billNumber"], bill_id=row["billId"])
            for row in csv.DictReader(file)
        }
