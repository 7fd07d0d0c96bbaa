"""Kills real runs at awkward moments, goes on with them, and looks whether the promise holds.

The moments: every boundary that `victim` knows (before and after a commit, a sync, a renaming, a request), while a
request is under way (before and after the sandbox applied it), the same boundaries once more while the killed run is
gone on with, and calls of any function chosen at random.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Final

from bulkredeem.application import runs_in, settled_rows
from bulkredeem.errors import ExitCode
from bulkredeem.report import RESULTS
from bulkredeem.sandbox import Fault, Sandbox, Then
from bulkredeem.sandbox.values import UpdateRequest
from bulkredeem.selftest.story import Line, complaints, tell, write
from bulkredeem.summary import RunState

AT_RANDOM: Final = 50
"""Moments among all calls, whatever they do."""
_MOST_STRETCHES: Final = 10
"""How often a killed run is gone on with before that counts as never coming to an end."""
_ENDED: Final = frozenset({ExitCode.DONE, ExitCode.NOT_ALL_DONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """When a process dies by itself."""

    unit: str = "boundary"
    """`boundary` or `call`, as `victim` knows them."""
    at: int = 0
    """The how manieth of these; 0 for never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When the processes of one case die."""

    first: Death = Death()
    """The process that begins the run."""
    second: Death = Death()
    """The process that goes on with it."""
    request: int = 0
    """The request under way when the run dies; 0 for none."""
    is_applied: bool = False
    """Whether that request is applied before."""

    def __str__(self) -> str:
        """Say it in words."""
        if self.request:
            return f"request {self.request} under way, {'applied' if self.is_applied else 'not applied'}"
        again = f", then {self.second.unit} {self.second.at} while going on" if self.second.at else ""
        return f"{self.first.unit} {self.first.at}{again}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a sweep has found."""

    moments: int
    """How many moments were tried."""
    kills: int
    """How many processes were killed; some moments never came."""
    complaints: tuple[str, ...]
    """What was not as promised, with the moment; empty when the promise held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """What a process comes by that nobody kills."""

    boundaries: int
    calls: int


async def sweep(
    folder: Path, *, kills: int | None, seed: int, on_progress: Callable[[int, int], None] = lambda _done, _of: None
) -> Findings:
    """Try moments in an empty folder; `kills` of them chosen at random, or with None every one.

    `on_progress` hears how many moments of how many were tried.
    """
    lines, chance = tell(), random.Random(seed)  # noqa: S311  a rehearsal, not a secret
    every = list(_moments(*await _counted(folder / "counting", lines), chance))
    chosen = every if kills is None else chance.sample(every, min(kills, len(every)))
    found, killed = [], 0
    for number, moment in enumerate(chosen, start=1):
        case = _Case(folder / f"case-{number}", lines, moment)
        found += [f"{moment}: {complaint}" for complaint in await case.play()]
        killed += case.kills
        on_progress(number, len(chosen))
    return Findings(moments=len(chosen), kills=killed, complaints=tuple(found))


async def _counted(folder: Path, lines: Sequence[Line]) -> tuple[_Counts, _Counts]:
    """Return what a run comes by, and what one comes by that is gone on with after half of that."""
    whole = _Case(folder / "whole", lines, Moment())
    await whole.play()
    half = _Case(folder / "half", lines, Moment(first=Death(at=max(1, whole.counts[0].boundaries // 2))))
    await half.play()
    return whole.counts[0], half.counts[-1]


def _moments(of_run: _Counts, of_going_on: _Counts, chance: random.Random) -> Iterator[Moment]:
    half = Death(at=max(1, of_run.boundaries // 2))
    for boundary in range(1, of_run.boundaries + 1):
        yield Moment(first=Death(at=boundary))
    for boundary in range(1, of_going_on.boundaries + 1):
        yield Moment(first=half, second=Death(at=boundary))
    for request in range(1, len(tell()) + 1):
        yield Moment(request=request)
        yield Moment(request=request, is_applied=True)
    for _ in range(AT_RANDOM):
        yield Moment(first=Death(unit="call", at=chance.randint(1, of_run.calls)))


class _Case:
    """One run, killed at its moment and gone on with until it ends."""

    def __init__(self, folder: Path, lines: Sequence[Line], moment: Moment) -> None:
        self.kills = 0
        self.counts: list[_Counts] = []
        """Of each process that was not killed."""
        self._folder = folder
        self._lines = lines
        self._moment = moment
        self._arrived: list[tuple[str, object]] = []
        self._process: asyncio.subprocess.Process | None = None

    async def play(self) -> list[str]:
        """Return what was not as promised."""
        (self._folder / "reports").mkdir(parents=True)
        write(self._lines, self._folder / "file.csv")
        found: list[str] = []
        async with Sandbox(faults=self._strike) as sandbox:
            deaths = chain([self._moment.first, self._moment.second], repeat(Death()))
            for death in islice(deaths, _MOST_STRETCHES):
                recorded, before = self._recorded(), len(self._arrived)
                code = await self._start(sandbox, death, *self._command())
                found += self._sent_again(recorded, before)
                if code in _ENDED or self._has_finished():
                    return [*found, *complaints(self._lines, self._run_folder() / RESULTS, sandbox)]
                found += self._half_written()
        return [*found, f"the run did not come to an end in {_MOST_STRETCHES} stretches"]

    def _command(self) -> tuple[str, ...]:
        """Return what a person would type now; a run that died before it had a journal is begun anew."""
        if any(run.is_unfinished for run in runs_in(self._folder / "reports")):
            return ("resume",)
        options = ("--rate", "none", "--max-workers", "4", "--on-conflict", "last")
        return ("run", str(self._folder / "file.csv"), *options)

    async def _start(self, sandbox: Sandbox, death: Death, *arguments: str) -> int:
        """Run a process of the command line to its end, whichever, and return its exit code."""
        counts, reports = self._folder / "counts", str(self._folder / "reports")
        victim = (sys.executable, "-m", "bulkredeem.victim", death.unit, str(death.at), str(counts))
        with (self._folder / "output.txt").open("ab") as output:
            folders = ("--reports", reports, "--state-dir", str(self._folder / "state"))
            self._process = await asyncio.create_subprocess_exec(
                *victim, *arguments, *folders, env=_environment(sandbox), stdout=output, stderr=output
            )
            code = await self._process.wait()
        if code == -signal.SIGKILL:
            self.kills += 1
        else:
            boundaries, calls = map(int, counts.read_text().split())
            self.counts.append(_Counts(boundaries=boundaries, calls=calls))
        return code

    def _strike(self, update: UpdateRequest) -> Fault | None:
        """Note an arriving request, and kill its sender when its moment has come."""
        self._arrived.append((update.identifier, update.fields.get("billNumber")))
        if len(self._arrived) != self._moment.request or self._process is None:
            return None
        # Applying follows at once; the kill comes behind it, and the hanging reply never goes out.
        asyncio.get_running_loop().call_soon(self._process.kill)
        return Fault(apply=self._moment.is_applied, then=Then.HANG)

    def _recorded(self) -> set[tuple[str, object]]:
        """Return the rows that have an outcome by now."""
        numbers = {number for run in runs_in(self._folder / "reports") if run.info for number in settled_rows(run)}
        return {(line.redemption_id, line.bill_number) for line in self._lines if line.row_number in numbers}

    def _sent_again(self, recorded: set[tuple[str, object]], before: int) -> list[str]:
        return [f"{bill} was sent again although it had an outcome" for _, bill in recorded & {*self._arrived[before:]}]

    def _has_finished(self) -> bool:
        """Say whether the run is at its end although its process was killed: just after that became durable."""
        return any(run.state is RunState.FINISHED for run in runs_in(self._folder / "reports"))

    def _half_written(self) -> list[str]:
        """Say which results are there and not whole."""
        whole = len(self._lines) + 1
        return [
            f"{path} is not whole"
            for path in (self._folder / "reports").glob(f"*/{RESULTS}")
            if len(path.read_text(encoding="utf-8").splitlines()) != whole
        ]

    def _run_folder(self) -> Path:
        """Return the folder of the run that came to its end."""
        return next(run.folder for run in runs_in(self._folder / "reports") if run.info)


def _environment(sandbox: Sandbox) -> dict[str, str]:
    """Return our environment with nothing configured but the sandbox; also no watchdog hears of it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith("BULKREDEEM_") and name != "CREDENTIALS_DIRECTORY"
    }
    return kept | {
        "BULKREDEEM_BASE_URL": sandbox.base_url,
        "BULKREDEEM_USERNAME": sandbox.username,
        "BULKREDEEM_PASSWORD": sandbox.password,
        "BULKREDEEM_SETTLED_FOR": "0",  # the file was written just now, and by us
    }
