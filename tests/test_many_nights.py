"""Whatever comes in whatever order, newer knowledge stays, and nothing is skipped that is not there: many nights.

A story is nights of two systems that share a reports folder: files over a few redemptions with a few values, old and
new ones; runs that meet faults, are stopped or die; `resume`, `retry`, `abandon`, `prune`, and a ledger that is lost.
Journals, ledger and reports are real files, and each system is a sandbox on a real socket.

How a process dies here: when a request arrives, or an outcome is recorded, the reports folder is copied aside as it
stands, and the run is stopped; when nothing of it is left, the copy takes the folder's place. Requests under way by
then are applied, as in life. Nobody else changes a redemption here: a ledger could not know.

What the machine knows it knows from outside: which files it wrote, with which as-of, and what each sandbox applied, in
which order. Of the runs it reads their beginning and their outcomes; that these are true is shown by the other state
machine, `test_state_machine`.
"""

from __future__ import annotations

import asyncio
import csv
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count, product
from pathlib import Path
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from bulkredeem.application import (
    Shelved,
    Start,
    Terms,
    abandon_run,
    prune_runs,
    recorder,
    resume_run,
    retry_run,
    run_file,
    runs_in,
    story_of,
    turn_of,
)
from bulkredeem.application.absorbing import absorb_new
from bulkredeem.application.retrying import NOT_DONE, Choice
from bulkredeem.errors import SignalledError
from bulkredeem.journal import Journal
from bulkredeem.ledger import Ledger, Lookup, Standing, System
from bulkredeem.model import Ceiling, Correction, OnConflict, Outcome, Status
from bulkredeem.pace import Pace
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Fault, Sandbox, Then, UpdateRequest
from bulkredeem.settings import Settings, load_settings
from bulkredeem.snapshot import read_records
from bulkredeem.summary import UNFINISHED, RunState

PASSWORD: Final = "quiet-Otter-42"
HEADER: Final = ["redemptionId", "identifierValue", "billNumber", "purpose"]
REDEMPTIONS: Final = ("R0", "R1", "R2")
VALUES: Final = {"billNumber": ("B-1", "B-2", "B-3"), "purpose": ("one", "two")}
"""Field → what it is set to."""
HOUR: Final = 3600.0
FIRST_MOMENT: Final = 1_764_000_000.0
"""When each story begins, in seconds since the epoch: a full hour."""
LEFT_BEHIND: Final = 10.0
"""Seconds after which what a run has left behind counts as never ending; usually it takes none."""
MOST_RESUMES: Final = 20
"""How often unfinished runs are gone on with, without trouble, before that counts as never coming to an end."""

FAULTS: Final[Mapping[str, Fault]] = {
    "refused": Fault.error(status=400, code=750),
    "failed": Fault.error(status=400, code=521),
    "lost": Fault(then=Then.RESET),
    "lost applied": Fault(apply=True, then=Then.RESET),
    "contradicted": Fault(apply=True, echo={"billNumber": "another"}),
}
"""What a request may meet; `contradicted` only is one for a row that sets a bill number."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
Age = tuple[float, float]
"""As-of, and when the run began that brought the knowledge."""


class Row(NamedTuple):
    """One row of a file; an empty value is a field that is left alone."""

    redemption: int
    bill_number: str
    purpose: str

    @property
    def redemption_id(self) -> str:
        """How the platform names its redemption."""
        return f"R{self.redemption}"

    @property
    def values(self) -> dict[str, str]:
        """The fields that it sets."""
        return {name: text for name, text in zip(VALUES, self[1:], strict=True) if text}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A file, and how it is sent."""

    rows: tuple[Row, ...]
    modified: int = 4
    """How many hours before the story's beginning it was changed last."""
    as_of: int | None = None
    """The same for `--as-of`, or None for none."""
    resend: bool = False
    allow_older: bool = False
    on_conflict: OnConflict = OnConflict.REFUSE
    max_attempts: int = 2

    @property
    def flags(self) -> dict[str, Any]:
        """The options it is sent with."""
        as_of = "" if self.as_of is None else f"{datetime.fromtimestamp(hours_before(self.as_of), UTC):%Y-%m-%d %H:%MZ}"
        return {
            "as_of": as_of,
            "resend": self.resend,
            "allow_older": self.allow_older,
            "on_conflict": self.on_conflict,
            "max_attempts": self.max_attempts,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What befalls one command."""

    faults: tuple[str, ...] = ()
    """What its first requests meet, one after another: names of `FAULTS`, or empty; later ones meet nothing."""
    kind: str = ""
    """`stop` (Ctrl-C) or `death`; empty for neither."""
    at: str = "arrival"
    """Or `recorded`: when that comes."""
    nth: int = 1
    commits_after: float = 0.0
    """Seconds between two commits."""


FAIR: Final = Trouble()
ROW: Final = st.builds(
    Row,
    redemption=st.sampled_from((0, 0, 1, 2)),
    bill_number=st.sampled_from(("B-1", "B-2", "B-3", "")),
    purpose=st.sampled_from(("", "", "one", "two")),
).filter(lambda row: bool(row.values))
MAIN: Final = st.builds(Row, redemption=st.just(0), bill_number=st.sampled_from(("B-1", "B-2")), purpose=st.just(""))
ROWS: Final = st.one_of(
    st.tuples(MAIN),
    st.tuples(st.just(Row(1, "B-1", "")), MAIN),
    st.lists(ROW, min_size=1, max_size=3, unique_by=lambda row: row.redemption).map(tuple),
    st.lists(ROW, min_size=2, max_size=3).map(tuple),
)
"""The redemption that all files are about, alone or behind another one; different ones; or rows that may fight."""
SHEETS: Final = st.builds(
    Sheet,
    rows=ROWS,
    modified=st.integers(1, 4),
    as_of=st.sampled_from((None, None, 1, 2, 3, 4)),
    resend=st.sampled_from((False, False, False, True)),
    allow_older=st.sampled_from((False, False, False, False, False, True)),
    on_conflict=st.sampled_from(OnConflict),
    max_attempts=st.sampled_from((1, 2)),
)
FAULTY: Final = st.lists(st.sampled_from(("", *FAULTS, "lost applied")), max_size=3).map(tuple)
TROUBLES: Final = st.one_of(
    st.just(FAIR),
    st.builds(Trouble, faults=FAULTY),
    st.builds(
        Trouble,
        faults=FAULTY,
        kind=st.sampled_from(("stop", "death", "death")),
        at=st.sampled_from(("arrival", "recorded")),
        nth=st.sampled_from((1, 1, 2, 3)),
        commits_after=st.sampled_from((0.0, 0.01)),
    ),
)
SYSTEMS: Final = st.sampled_from((0, 0, 0, 1))
WHICH: Final = st.integers(0, 3)
ASKED: Final = st.sampled_from(({}, {}, {}, {"resend": True}, {"allow_older": True}))
USUAL: Final = Choice()
CHOICES: Final = st.sampled_from((USUAL, USUAL, Choice(statuses=NOT_DONE)))


def a_correction(redemption_id: str) -> Correction:
    """Return a row of a redemption."""
    return Correction(
        row_number=2,
        redemption_id=redemption_id,
        entity_type="CUSTOMER",
        identifier_type="mobile",
        identifier_value="919900000000",
        bill_number="B-1",
    )


def hours_before(hours: int) -> float:
    """Return the moment so many hours before the story's beginning."""
    return FIRST_MOMENT - hours * HOUR


@dataclass(kw_only=True, eq=False)
class Told:
    """One run as the story has it."""

    folder: Path
    system: int
    rows: Mapping[int, Row]
    """By number."""
    age: Age
    flags: Mapping[str, Any]
    """The options that it keeps."""
    outcomes: Mapping[int, Outcome] = field(default_factory=dict)
    """What its journal held when it was looked at last."""
    state: RunState = RunState.RUNNING
    is_there: bool = True
    """Whether it was not pruned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """An update that a sandbox has applied."""

    folder: Path
    """The run that sent it."""
    redemption_id: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """A row that was skipped since all of it was applied already."""

    folder: Path
    row_number: int
    found: Mapping[str, str]
    """What the platform had at that moment, of each of the row's fields."""


class HurriedStop(Stop):
    """A stop whose sleeps take no time: its own clock jumps ahead."""

    def __init__(self) -> None:
        """Begin at 0."""
        super().__init__()
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        """Let the others have a turn."""
        self.check()
        self.now += seconds
        await asyncio.sleep(0)
        self.check()


class AtOnce(ThreadPoolExecutor):
    """Does in the caller's thread what is given to a thread: a story that fails then fails every time."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Return when it is done."""
        done: Future[_T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as exc:  # noqa: BLE001  as the executor does it
            done.set_exception(exc)
        return done


@dataclass(kw_only=True)
class Watcher:
    """An observer that knows which run is under way, and tells of each outcome."""

    heard: Callable[[Path, Outcome], None]
    folder: Path = Path()
    """The run that is under way."""

    def started(self, start: Start) -> None:
        """Remember the run."""
        self.folder = start.folder

    def recorded(self, outcome: Outcome) -> None:
        """Tell."""
        self.heard(self.folder, outcome)

    def paused(self, seconds: float) -> None:
        """Take no notice."""

    def remark(self, sentence: str) -> None:
        """Pass over a remark."""

    def outage(self, begins: bool) -> None:  # noqa: FBT001  the protocol's
        """Take no notice."""

    def delivered(self) -> None:
        """Take no notice."""


async def nothing_is_left_behind() -> None:
    """Return when every other task has ended: those of a dead run, and the sandboxes' for each of their connections."""
    async with asyncio.timeout(LEFT_BEHIND):
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.gather(*others, return_exceptions=True)


class Platforms:
    """Two systems, the runs that were sent there from one reports folder, and what that came to; see the module."""

    def __init__(self) -> None:
        """Begin with an empty reports folder and two sandboxes of its own."""
        self.home = Path(tempfile.mkdtemp(dir=Path.cwd()))
        self.reports = self.home / "reports"
        self.reports.mkdir()
        self.grave = self.home / "grave"
        self.loop = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.loop.get_loop().set_default_executor(AtOnce())
        self.sandboxes = [Sandbox(username=f"till.{number}", password=PASSWORD) for number in range(2)]
        for number, sandbox in enumerate(self.sandboxes):
            sandbox.faults = partial(self._meet, number)
            self.loop.run(sandbox.start())
        self.settings = [self._loaded(sandbox) for sandbox in self.sandboxes]
        self.told: dict[Path, Told] = {}
        self.stands: dict[tuple[int, str, str], tuple[str, Age]] = {}
        """System, redemption and field → what the platform has, and how old the newest knowledge is that says so."""
        self.seen: dict[tuple[Row, ...], float] = {}
        """The as-of with which each content was first seen."""
        self.is_pruned = False
        """Whether the ledger knows what nothing else knows."""
        self._clock = count()
        self._moment = FIRST_MOMENT
        self._trouble = FAIR
        self._counts = {"arrival": 0, "recorded": 0}
        self._stop = HurriedStop()
        self._watcher = Watcher(heard=self._hear)
        self._system = 0
        self._happened: list[Applied | Passed] = []

    def close(self) -> None:
        """Let go of everything."""
        for sandbox in self.sandboxes:
            self.loop.run(sandbox.stop())
        self.loop.close()
        shutil.rmtree(self.home)

    # -- what people do

    def run(self, system: int, sheets: Sequence[Sheet], trouble: Trouble = FAIR) -> None:
        """Run files one after another, in one command."""

        async def work() -> None:
            first = self.settings[system]
            async with turn_of(self.reports, first, self._terms()) as turn:
                for sheet in sheets:
                    if not self._stop.requested:
                        now = self._settings(system, sheet.flags)
                        await run_file(self._file(sheet), now, self._terms(turn=turn))

        self._do(system, trouble, work, lambda folder, number: self._told_of_file(system, folder, sheets[number]))

    def resume(self, told: Told, trouble: Trouble = FAIR, asked: Mapping[str, Any] | None = None) -> None:
        """Go on with a run."""
        flags = asked or {}

        async def work() -> None:
            await resume_run(told.folder, self._settings(told.system, flags), flags, self._terms())

        self._do(told.system, trouble, work, None, {**told.flags, **flags})

    def retry(
        self, told: Told, trouble: Trouble = FAIR, asked: Mapping[str, Any] | None = None, choice: Choice = USUAL
    ) -> None:
        """Retry a run."""
        flags = asked or {}

        async def work() -> None:
            await retry_run(told.folder, self._settings(told.system, flags), flags, choice, self._terms())

        def told_of(folder: Path, _number: int) -> Told:
            numbers = [record.row_number for record in read_records(folder / "input.csv")]
            rows = {number: told.rows[number] for number in numbers}
            return Told(folder=folder, system=told.system, rows=rows, age=told.age, flags={**told.flags, **flags})

        self._do(told.system, trouble, work, told_of, {**told.flags, **flags})

    def abandon(self, told: Told) -> None:
        """Close a run for good."""
        abandon_run(told.folder, "the wrong file", self._now())
        self.look()

    def lose_the_ledger(self) -> None:
        """Delete the ledger, which is made anew from the runs when it is needed."""
        shutil.rmtree(self.reports / "ledger", ignore_errors=True)

    def prune(self) -> None:
        """Remove every run that is at its end."""
        for folder in prune_runs(self.reports, self._now()).removed:
            self.told[folder].is_there = False
            self.is_pruned = True

    # -- how it is done

    def _now(self) -> float:
        """Return a later moment each time."""
        return self._moment + next(self._clock) / 1000

    def _loaded(self, sandbox: Sandbox) -> Settings:
        usual = {
            "base_url": sandbox.base_url,
            "username": sandbox.username,
            "reports": str(self.reports),
            "rate": "none",
            "max_workers": 2,
            "timeout": 5,
            "log_level": "error",
            "no_guard": True,
        }
        return load_settings(usual)

    def _settings(self, system: int, flags: Mapping[str, Any]) -> Settings:
        return self.settings[system].model_copy(update=dict(flags))

    def _terms(self, **changes: Any) -> Terms:
        stop = self._stop
        return Terms(
            stop=stop,
            observer=self._watcher,
            pace=Pace(Ceiling.parse("none"), clock=lambda: stop.now, sleep=stop.sleep),
            wall_clock=self._now,
            **changes,
        )

    def _file(self, sheet: Sheet) -> Path:
        path = self.home / "file.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            cells = [[row.redemption_id, f"91990000000{row.redemption}", *row[1:]] for row in sheet.rows]
            csv.writer(file).writerows([HEADER, *cells])
        os.utime(path, (hours_before(sheet.modified), hours_before(sheet.modified)))
        return path

    def _do(
        self,
        system: int,
        trouble: Trouble,
        work: Callable[[], Awaitable[None]],
        told_of: Callable[[Path, int], Told] | None,
        flags: Mapping[str, Any] | None = None,
    ) -> None:
        """Do something under a trouble, and look at what came of it; `told_of` says what a new run is.

        `flags` are the options that count for all of it; None for those of each run.
        """
        self._moment += 60.0
        self._system, self._trouble, self._stop = system, trouble, HurriedStop()
        self._counts = {"arrival": 0, "recorded": 0}
        self._watcher = Watcher(heard=self._hear)
        self._happened = []
        with patch.object(recorder, "COMMIT_INTERVAL", trouble.commits_after):
            self.loop.run(self._done(work))
        if self.grave.exists():
            shutil.rmtree(self.reports)
            self.grave.rename(self.reports)
        new = [run.folder for run in runs_in(self.reports) if run.folder not in self.told]
        for number, folder in enumerate(new):
            assert told_of
            self.told[folder] = told_of(folder, number)
        self.look()
        self._follow(flags)
        self.ask_the_ledger()

    async def _done(self, work: Callable[[], Awaitable[None]]) -> None:
        await work()
        await nothing_is_left_behind()

    def _told_of_file(self, system: int, folder: Path, sheet: Sheet) -> Told:
        given = sheet.modified if sheet.as_of is None else sheet.as_of
        as_of = hours_before(given)
        if sheet.as_of is None:
            as_of = self.seen.get(sheet.rows, as_of)
        self.seen.setdefault(sheet.rows, as_of)
        (run,) = (each for each in runs_in(self.reports) if each.folder == folder)
        assert run.info
        return Told(
            folder=folder,
            system=system,
            rows=dict(enumerate(sheet.rows, start=2)),
            age=(as_of, run.info.started_at),
            flags=sheet.flags,
        )

    # -- what is heard of it

    def _meet(self, system: int, update: UpdateRequest) -> Fault | None:
        """Take note of an arriving request, and say what it meets."""
        assert system == self._system
        number = self._counts["arrival"]
        name = self._trouble.faults[number] if number < len(self._trouble.faults) else ""
        fault = FAULTS.get(name)
        self._count("arrival")
        if fault is None or fault.apply:
            self._happened.append(
                Applied(folder=self._watcher.folder, redemption_id=update.redemption_id, values=update.fields)
            )
        return fault

    def _hear(self, folder: Path, outcome: Outcome) -> None:
        """Take note of an outcome."""
        if outcome.error_code == "ALREADY_APPLIED":
            found = self._rows_under_way(folder)[outcome.row_number]
            self._happened.append(Passed(folder=folder, row_number=outcome.row_number, found=self._has(found)))
        self._count("recorded")

    def _rows_under_way(self, folder: Path) -> Mapping[int, Row]:
        if folder in self.told:
            return self.told[folder].rows
        records = read_records(folder / "input.csv")
        return {record.row_number: Row(int(record.cells[0][1:]), *record.cells[2:]) for record in records}

    def _has(self, row: Row) -> dict[str, str]:
        found = self.sandboxes[self._system].redemptions.get(row.redemption_id)
        known = {"billNumber": found.bill_number, "purpose": found.purpose} if found else {}
        return {name: known.get(name, "") for name in row.values}

    def _count(self, what: str) -> None:
        """Let what is due happen."""
        self._counts[what] += 1
        trouble = self._trouble
        if (what, self._counts[what]) == (trouble.at, trouble.nth) and trouble.kind:
            if trouble.kind == "death":
                shutil.copytree(self.reports, self.grave, symlinks=True, ignore=shutil.ignore_patterns("*-shm"))
            self._stop.request(SignalledError("Ctrl-C"))

    # -- what must be so

    def look(self) -> None:
        """Check that every run has the rows it was given, each with one verdict, and the age it inherits."""
        found = {run.folder: run for run in runs_in(self.reports)}
        assert found.keys() == {told.folder for told in self.told.values() if told.is_there}
        for folder, run in found.items():
            self._look_at(self.told[folder], run)

    def _look_at(self, told: Told, run: Shelved) -> None:
        assert run.info is not None, run.problem
        assert run.counts is not None
        assert run.counts.keys() == set(Status)
        assert min(run.counts.values()) >= 0
        assert sum(run.counts.values()) == run.info.rows == len(told.rows)
        assert (run.info.as_of, run.info.knew_at or run.info.started_at) == told.age
        with closing(Journal.open_to_read(told.folder / "journal.sqlite")) as journal:
            outcomes = {outcome.row_number: outcome for outcome in journal.outcomes()}
        assert outcomes.keys() <= told.rows.keys()
        assert told.outcomes.items() <= outcomes.items()
        told.outcomes, told.state = outcomes, run.state
        if run.state is RunState.FINISHED:
            with (told.folder / "results.csv").open(encoding="utf-8", newline="") as file:
                assert [int(line["row_number"]) for line in csv.DictReader(file)] == list(told.rows)

    def _follow(self, flags: Mapping[str, Any] | None) -> None:
        """Check all that happened, in its order, against what stood before it."""
        for happening in self._happened:
            told = self.told[happening.folder]
            if isinstance(happening, Applied):
                self._follow_update(told, happening, flags or told.flags)
            else:
                self._follow_skip(told, happening)
        for folder in {happening.folder for happening in self._happened} | {self._watcher.folder}:
            if folder in self.told:
                self._look_at_stale(self.told[folder])

    def _follow_update(self, told: Told, update: Applied, flags: Mapping[str, Any]) -> None:
        for name, text in update.values.items():
            place = (told.system, update.redemption_id, name)
            before, age = self.stands.get(place, ("", (0.0, 0.0)))
            is_older = before != text and told.age < age
            assert flags.get("allow_older") or not is_older, (
                f"{place}: {before} of {age} gave way to {text} of {told.age}"
            )
            self.stands[place] = (text, max(age, told.age) if before == text else told.age)

    def _follow_skip(self, told: Told, skip: Passed) -> None:
        row = told.rows[skip.row_number]
        assert skip.found == row.values, f"row {skip.row_number} of {told.folder.name} was skipped, and is not there"
        if skip.row_number in told.outcomes:
            for name, text in row.values.items():
                place = (told.system, row.redemption_id, name)
                self.stands[place] = (text, max(self.stands[place][1], told.age))

    def _look_at_stale(self, told: Told) -> None:
        """Check that somebody newer on the same system wanted something else, wherever a row is called stale."""
        for number, outcome in told.outcomes.items():
            if "STALE_CORRECTION" in outcome.error_code:
                assert any(self._wanted_otherwise(told, told.rows[number]))

    def _wanted_otherwise(self, told: Told, row: Row) -> Iterator[bool]:
        for other in self.told.values():
            if other.system == told.system and other.age > told.age:
                for each in other.rows.values():
                    if each.redemption == row.redemption:
                        yield any(each.values.get(name, text) != text for name, text in row.values.items())

    def ask_the_ledger(self, *, is_made_anew: bool = False) -> None:
        """Check what would be said of any next row, of whichever age, by a copy of the ledger or by one made anew.

        A value is called applied only if it is there, and another one is stale if it is older than that in the least.
        """
        aside, own = self.home / "aside", self.reports / "ledger" / "ledger.sqlite"
        aside.mkdir()
        if not is_made_anew and own.exists():
            shutil.copy(own, aside)
        with Ledger.open(aside / own.name) as ledger:
            assert absorb_new(self.reports, ledger) == ()
            for number, sandbox in enumerate(self.sandboxes):
                if lookup := ledger.lookup(System(sandbox.base_url, sandbox.username)):
                    self._ask_of(number, lookup)
        shutil.rmtree(aside)

    def _ask_of(self, system: int, lookup: Lookup) -> None:
        for redemption, (name, texts) in product(REDEMPTIONS, VALUES.items()):
            standing = lookup.standings(a_correction(redemption)).get(name, Standing())
            there, age = self.stands.get((system, redemption, name), ("", (0.0, 0.0)))
            a_bit_older = (age[0], age[1] - 0.0001)
            for text in texts:
                assert text == there or not standing.has(text), f"{text} counts as applied, and {there} is there"
                assert text == there or not there or standing.newer(text, a_bit_older), f"{text} may replace {there}"

    def hear_the_stories(self) -> None:
        """Check that history tells each success that was recorded, on whichever system, and no other."""
        expected = {
            (
                told.folder.name,
                self.sandboxes[told.system].base_url,
                f"id {told.rows[number].redemption_id}",
                name,
                text,
            )
            for told in self.told.values()
            for number, outcome in told.outcomes.items()
            if outcome.status is Status.SUCCESS
            for name, text in told.rows[number].values.items()
        }
        found = {
            (each.run_id, each.base_url, each.redemption, each.field, each.value)
            for redemption in REDEMPTIONS
            for each in story_of(redemption, self.reports)[0]
            if each.status is Status.SUCCESS
        }
        assert found == expected


class Nights(RuleBasedStateMachine):
    """Nights that hypothesis makes up; see the module."""

    def __init__(self) -> None:
        """Begin with nothing sent."""
        super().__init__()
        self.all = Platforms()
        self.sheets: list[Sheet] = []
        self.is_well = True
        """Whether nothing has failed yet."""

    @rule(system=SYSTEMS, sheet=SHEETS, trouble=TROUBLES)
    def run(self, system: int, sheet: Sheet, trouble: Trouble) -> None:
        """Run a file."""
        self.sheets.append(sheet)
        self._do(lambda: self.all.run(system, [sheet], trouble))

    @rule(system=SYSTEMS, sheets=st.tuples(SHEETS, SHEETS), trouble=TROUBLES)
    def run_two(self, system: int, sheets: Sequence[Sheet], trouble: Trouble) -> None:
        """Run two files in one command."""
        self.sheets += sheets
        self._do(lambda: self.all.run(system, sheets, trouble))

    @precondition(lambda self: self.sheets)
    @rule(system=SYSTEMS, which=WHICH, sheet=SHEETS, trouble=TROUBLES)
    def run_again(self, system: int, which: int, sheet: Sheet, trouble: Trouble) -> None:
        """Run the content of an earlier file once more, in its own way or in another."""
        earlier = self.sheets[-1 - which % len(self.sheets)]
        again = replace(sheet, rows=earlier.rows)
        self._do(lambda: self.all.run(system, [again], trouble))

    @precondition(lambda self: self._chosen(0, is_unfinished=True))
    @rule(which=WHICH, trouble=TROUBLES, asked=ASKED)
    def resume(self, which: int, trouble: Trouble, asked: Mapping[str, Any]) -> None:
        """Go on with an unfinished run."""
        if told := self._chosen(which, is_unfinished=True):
            self._do(lambda: self.all.resume(told, trouble, asked))

    @precondition(lambda self: self._chosen(0, is_unfinished=False))
    @rule(which=WHICH, trouble=TROUBLES, asked=ASKED, choice=CHOICES)
    def retry(self, which: int, trouble: Trouble, asked: Mapping[str, Any], choice: Choice) -> None:
        """Retry a run at its end, if there is something to be retried."""
        if told := self._chosen(which, is_unfinished=False):
            self._do(lambda: self.all.retry(told, trouble, asked, choice))

    @precondition(lambda self: self.sheets)
    @rule(what=st.sampled_from(("abandon", "lose", "lose", "prune", "prune nothing", "history")), which=WHICH)
    def keep_house(self, what: str, which: int) -> None:
        """Do something for which nothing is sent."""
        told = self._chosen(which, is_unfinished=True)
        if what == "abandon" and told:
            self._do(lambda: self.all.abandon(told))
        elif what == "lose" and not self.all.is_pruned:
            self.all.lose_the_ledger()
        elif what == "prune":
            self._do(self.all.prune)
        elif what == "prune nothing":
            assert prune_runs(self.all.reports, 0.0).removed == ()
        else:
            self._do(self.all.hear_the_stories)

    def _chosen(self, which: int, *, is_unfinished: bool) -> Told | None:
        candidates = [
            told for told in self.all.told.values() if told.is_there and (told.state in UNFINISHED) is is_unfinished
        ]
        return candidates[-1 - which % len(candidates)] if candidates else None

    def _do(self, deed: Callable[[], object]) -> None:
        self.is_well = False
        deed()
        self.is_well = True

    def teardown(self) -> None:
        """Let every unfinished run come to its end without trouble, and hear the stories."""
        try:
            if self.is_well:
                for _ in range(MOST_RESUMES):
                    if told := self._chosen(0, is_unfinished=True):
                        self.all.resume(told)
                assert self._chosen(0, is_unfinished=True) is None
                self.all.hear_the_stories()
                if not self.all.is_pruned:
                    self.all.ask_the_ledger(is_made_anew=True)
        finally:
            self.all.close()


@pytest.fixture(autouse=True)
def _surrounding(nothing_configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """Each story is configured by itself."""
    monkeypatch.setenv("BULKREDEEM_PASSWORD", PASSWORD)


def tell(examples: int, steps: int, *phases: Phase) -> None:
    """Tell so many stories of so many deeds each."""
    run_state_machine_as_test(
        Nights,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, *phases),
            report_multiple_bugs=False,
        ),
    )


@pytest.mark.timeout(400)
def test_no_nights_set_a_field_back_or_skip_what_is_not_there() -> None:
    """Whatever is sent in whatever order, newer knowledge stays, and what is skipped is there."""
    # To make a story that fails shorter takes longer than a test may; it is short anyhow.
    tell(25, 8)


@pytest.mark.torture
def test_no_nights_of_very_many_set_a_field_back_or_skip_what_is_not_there() -> None:
    """The same, told for a quarter of an hour."""
    tell(1200, 12, Phase.shrink)


@pytest.fixture
def platforms() -> Iterator[Platforms]:
    """Give two systems with nothing sent."""
    platforms = Platforms()
    yield platforms
    platforms.close()


def one(bill_number: str, as_of: int, **changes: Any) -> Sheet:
    """Return a file of one row, whose knowledge is so many hours old when the story begins."""
    return Sheet(rows=(Row(0, bill_number, ""),), as_of=as_of, **changes)


def newest(platforms: Platforms) -> Told:
    """Return the run that began last."""
    return list(platforms.told.values())[-1]


def test_a_doubt_of_a_later_stretch_comes_after_what_was_sent_between(platforms: Platforms) -> None:
    """A run that goes on, and dies around a row, makes unknown what another run set before it went on."""
    two = Sheet(rows=(Row(1, "B-3", ""), Row(0, "B-1", "")), as_of=1)
    platforms.run(0, [two], Trouble(kind="stop", at="recorded", nth=1))
    interrupted = newest(platforms)
    platforms.run(0, [one("B-2", 2)])
    platforms.resume(interrupted, Trouble(kind="death"))
    platforms.run(0, [one("B-2", 1)])


def test_a_refusal_does_not_take_back_what_an_earlier_try_may_have_set(platforms: Platforms) -> None:
    """A row whose first answer was lost and whose second was no leaves its fields unknown."""
    platforms.run(0, [one("B-1", 3)])
    platforms.run(0, [one("B-2", 2)], Trouble(faults=("lost applied", "refused")))
    platforms.run(0, [one("B-1", 1)])


def test_a_refusal_does_not_take_back_what_an_earlier_stretch_may_have_set(platforms: Platforms) -> None:
    """A row around which a run died and which was refused when it went on leaves its fields unknown."""
    platforms.run(0, [one("B-1", 3)])
    platforms.run(0, [one("B-2", 2)], Trouble(kind="death"))
    platforms.resume(newest(platforms), Trouble(faults=("refused",)))
    platforms.run(0, [one("B-1", 1)])


def test_an_older_confirmation_leaves_the_age_of_what_was_in_doubt(platforms: Platforms) -> None:
    """A value that newer knowledge may have set stays that new when older knowledge sets it once more."""
    platforms.run(0, [one("B-1", 1)], Trouble(kind="death"))
    platforms.run(0, [one("B-1", 3)])
    platforms.run(0, [one("B-2", 2)])


def test_the_second_file_of_a_command_knows_what_the_first_has_set(platforms: Platforms) -> None:
    """Of two files in one command, the older one does not overwrite what the newer one has set."""
    platforms.run(1, [one("B-3", 4)])
    platforms.run(0, [one("B-1", 1), one("B-2", 2)])


def test_a_doubt_of_a_later_stretch_is_no_earlier_when_its_run_is_abandoned(platforms: Platforms) -> None:
    """When a run that has died is closed for good, what it may have set comes as late as before."""
    two = Sheet(rows=(Row(1, "B-3", ""), Row(0, "B-1", "")), as_of=1)
    platforms.run(0, [two], Trouble(kind="stop", at="recorded", nth=1))
    interrupted = newest(platforms)
    platforms.run(0, [one("B-2", 2)])
    platforms.resume(interrupted, Trouble(kind="death"))
    platforms.abandon(interrupted)
    platforms.run(0, [one("B-2", 1)])


def test_a_stale_row_may_have_been_set_before_it_became_stale(platforms: Platforms) -> None:
    """A row around which a run died, and which is stale later, may still be what the platform has."""
    platforms.run(0, [one("B-1", 4)])
    platforms.run(0, [one("B-2", 2)], Trouble(kind="death"))
    interrupted = newest(platforms)
    platforms.run(0, [one("B-3", 1)], Trouble(kind="death", faults=("lost",)))
    platforms.resume(interrupted)
    platforms.run(0, [one("B-3", 3)])
