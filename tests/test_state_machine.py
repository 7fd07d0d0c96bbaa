"""Whatever befalls runs and whatever is done about them, verdicts stay true: a state machine tells stories at random.

A story is runs, resumes, retries, re-runs, reports and abandonments, in one process and on one event loop, against the
sandbox on a real socket. While they go on, the platform misbehaves, people press Ctrl-C, passwords change, the disk is
full, or the process dies.

How a process dies here: at a boundary that was drawn (just before or just behind the n-th call of a function that
makes something durable, sends or answers) the reports folder is copied aside as it stands, write-ahead logs included,
and `Died` is raised, which nothing of ours catches; it is raised again wherever the dead run comes by a boundary
later. When nothing of it is left the copy takes the folder's place. Requests that the sandbox has by then are applied,
as in life. What dies in the middle of a write is the business of the kill sweep, with real processes.

What the machine knows it knows from outside: which rows it wrote, what arrived at the sandbox and was applied, and
which of the journal's writes took effect.
"""

from __future__ import annotations

import asyncio
import csv
import json
import shutil
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from bulkredeem.application import (
    Choice,
    Run,
    Shelved,
    Start,
    Terms,
    abandon_run,
    concluding,
    opening,
    preparing,
    recorder,
    report_run,
    resume_run,
    retry_run,
    run_file,
    runs_in,
    unfinished_in,
)
from bulkredeem.client import Client
from bulkredeem.errors import (
    BulkRedeemError,
    ExitCode,
    JournalError,
    ReportError,
    RunNotFoundError,
    SignalledError,
    Stopping,
)
from bulkredeem.journal import Journal
from bulkredeem.model import DONE, Ceiling, Outcome, Status
from bulkredeem.pace import Pace
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Fault, Sandbox, Then, UpdateRequest, errors_body
from bulkredeem.settings import Settings, load_settings
from bulkredeem.snapshot import read_records
from bulkredeem.summary import UNFINISHED, RunState

CUSTOM_FIELDS: Final = [f"customFields.{row_number}" for row_number in range(2, 12)]
HEADER: Final = ["redemptionId", "billNumber", "identifierValue", *CUSTOM_FIELDS]
FIRST_MOMENT: Final = 1_764_000_000.0
"""When each story begins, in seconds since the epoch."""
LEFT_BEHIND: Final = 10.0
"""Seconds after which what a run has left behind counts as never ending; usually it takes none."""
MOST_RESUMES: Final = 40
"""How often a run is gone on with, without trouble, before that counts as never coming to an end."""

FAULTS: Final[Mapping[str, Fault]] = {
    "500": Fault.error(status=500, code=500),
    "500 applied": Fault.error(status=500, code=500, apply=True),
    "reset": Fault(then=Then.RESET),
    "reset applied": Fault(apply=True, then=Then.RESET),
    "cut short": Fault(apply=True, body=b'{"id":396023,"programId":1098,"pointsRe'),
    "contradicted": Fault(apply=True, echo={"redemptionId": "another"}),
    "429": Fault(status=429, headers={"Retry-After": "0"}, body=errors_body(429, "API rate limit exceeded")),
    "429 for an hour": Fault(status=429, headers={"Retry-After": "3600"}, body=errors_body(429, "come back later")),
    "503 throttled": Fault(status=503, headers={"Retry-After": "0"}, body=b"<html><h1>503</h1></html>", apply=True),
    "4001": Fault.error(status=503, code=4001),
    "521": Fault.error(status=400, code=521),
    "750": Fault.error(status=400, code=750),
}
"""What a row may meet; none of it says success of what was not applied."""
DOUBTFUL: Final = ("reset", "reset applied", "500", "500 applied")
"""What a platform that is gone does with every row."""
ROW_KINDS: Final = ("plain", "again", "neighbour", "moved", "unknown", "broken")
"""A redemption of its own; that of the row before; its customer only; its redemption only; one that is refused; a bill
number that only we call invalid."""
BOUNDARIES: Final = (
    ("create", 1),
    ("write", 3),
    ("write", 9),
    ("sync", 3),
    ("sync", 9),
    ("doubt", 2),
    ("note", 3),
    ("update", 3),
    ("update", 9),
    ("write_results", 1),
    ("write_summary", 2),
)
"""Functions, and the last of their calls at which something may happen: early mostly where there are many."""
SENDS: Final = "update"
CHOICES: Final = (
    *[Choice()] * 5,
    *(Choice(statuses=frozenset({status})) for status in Status if status not in DONE),
    *(Choice(codes=frozenset({code})) for code in ("521", "4001", "CONNECTION_LOST")),
)
_OFTEN: Final = frozenset({ExitCode.DONE, ExitCode.NOT_ALL_DONE, ExitCode.STOPPED_EARLY})
_MAY_END_WITH: Final = {
    "fair": _OFTEN,
    "stop": _OFTEN,
    "gone": _OFTEN,
    "renewed": _OFTEN,
    "forbidden": _OFTEN | {ExitCode.ACCESS_REFUSED},
    "locked": _OFTEN | {ExitCode.ACCESS_REFUSED},
    "late": _OFTEN | {ExitCode.DEADLINE},
}
"""Weather → exit codes; a fault in a script may end a run, too (429 for an hour)."""

_P = ParamSpec("_P")
_T = TypeVar("_T")
Deed = Callable[[Settings, Mapping[str, Any], Terms], Awaitable[Run | None]]
"""What a command does in one stretch."""


class Died(BaseException):
    """The process is gone: nothing of ours may catch it."""


class Kind(StrEnum):
    """What an accident is."""

    DEATH = "death"
    FULL = "full"
    """The disk takes no more from then on."""
    PARTLY = "partly"
    """From then on this call fails, and others do not: there is room for a little, say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accident:
    """What happens at which boundary."""

    kind: Kind = Kind.DEATH
    at: str
    nth: int
    behind: bool = False
    """Whether a deadly one comes when the call has taken effect; a disk refuses before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What happens around a stretch, and from which request (or recorded row, for a stop) on."""

    kind: str = "fair"
    """Or `gone` (each meets the fault), `forbidden`, `locked` (the password has changed), `renewed` (the same, and the
    password file holds the new one), `stop` (Ctrl-C) or `late` (the deadline)."""
    nth: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What befalls one stretch."""

    accident: Accident | None = None
    weather: Weather = Weather()
    commits_after: float = 0.0
    """Seconds between two commits."""

    @property
    def is_of_the_disk(self) -> bool:
        """Whether the disk may refuse something."""
        return self.accident is not None and self.accident.kind is not Kind.DEATH


def _accidents_at(at: str, most: int) -> st.SearchStrategy[Accident]:
    kinds = st.just(Kind.DEATH) if at == SENDS else st.sampled_from((Kind.DEATH, *Kind))
    return st.builds(Accident, kind=kinds, at=st.just(at), nth=st.integers(1, most), behind=st.booleans())


ACCIDENTS: Final = st.one_of(st.none(), *(_accidents_at(at, most) for at, most in BOUNDARIES))
DEATHS: Final = st.one_of(
    st.none(),
    st.builds(
        Accident,
        at=st.sampled_from(("doubt", "note", "write_results", "write_summary")),
        nth=st.integers(1, 2),
        behind=st.booleans(),
    ),
)
WEATHER: Final = st.builds(
    Weather,
    kind=st.sampled_from(("fair", "stop", "gone", "forbidden", "locked", "renewed", "late")),
    nth=st.integers(0, 8),
    fault=st.sampled_from(DOUBTFUL),
)
TROUBLES: Final = st.builds(Trouble, accident=ACCIDENTS, weather=WEATHER, commits_after=st.sampled_from((0.0, 0.01)))
ANY_FAULT: Final = st.sampled_from(sorted(FAULTS))
SCRIPTS: Final = st.one_of(
    st.just(()),
    ANY_FAULT.map(lambda fault: (fault,) * 3),
    st.tuples(
        st.sampled_from(("", "reset applied", "500 applied", "503 throttled")),
        st.sampled_from(("4001", "521", "750", "reset")),
    ).map(lambda two: (two[0], *[two[1]] * 3)),
    st.lists(ANY_FAULT, max_size=4).map(tuple),
)
"""Nothing; the same again and again; success or a doubt (the process may die behind it), then a fault; or anything."""
ROWS: Final = st.lists(st.tuples(st.sampled_from(ROW_KINDS), SCRIPTS), min_size=1, max_size=10)
WHICH: Final = st.integers(0, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of a file."""

    row_number: int
    redemption_id: str
    bill_number: str
    """Different in every row of every file, so that an arriving request says which row it is."""
    column: str
    """What it sets to that: the bill number, or for a further row of its redemption a field of its own."""
    customer: str
    script: tuple[str, ...]
    """What its requests meet, one after another; later ones meet nothing."""

    @property
    def is_broken(self) -> bool:
        """Whether it must never be sent."""
        return "E+" in self.bill_number

    @property
    def is_refused(self) -> bool:
        """Whether the platform does not know its redemption."""
        return self.redemption_id.startswith(("NOPE", "GONE"))

    @property
    def cells(self) -> list[str]:
        """What stands in its file."""
        values = {"redemptionId": self.redemption_id, "identifierValue": self.customer, self.column: self.bill_number}
        return [values.get(name, "") for name in HEADER]


def token_of(fields: Mapping[str, Any]) -> str:
    """Return the value by which an update, or what was applied of it, says which row it is."""
    return str(next(iter(fields.get("customFields", {}).values()), fields.get("billNumber")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One request at the sandbox."""

    place: int
    """Which of all it is."""
    line: Line
    fault: str
    """What it met, or empty."""
    is_applied: bool

    @property
    def is_refusal(self) -> bool:
        """Whether the answer is a no that counts."""
        return not self.is_applied and (self.line.is_refused or self.fault == "750")


@dataclass(kw_only=True, eq=False)
class Told:
    """One run as the story has it."""

    folder: Path
    lines: Mapping[int, Line]
    """Its rows by number."""
    of_file: int
    """Which file its rows come from."""
    parent: Told | None
    """The run that it retries."""
    state: RunState = RunState.RUNNING
    """What the journal was told last."""
    durable: set[int] = field(default_factory=set)
    """Rows whose outcomes were committed."""
    outcomes: Mapping[int, Outcome] = field(default_factory=dict)
    """What the journal held when it was looked at last."""
    arrivals: list[Arrival] = field(default_factory=list)
    reports_may_lack: bool = False
    """Whether the disk may have refused them."""
    reports_agree: bool = False
    """Whether its reports were written from what the journal holds."""

    @property
    def root(self) -> Told:
        """The run over the file that this one goes back to."""
        return self.parent.root if self.parent else self

    @property
    def is_unfinished(self) -> bool:
        """Whether `resume` is to go on with it; nobody works on it between two stretches."""
        return self.state is RunState.RUNNING or self.state in UNFINISHED

    def wanted(self, choice: Choice) -> set[int]:
        """Return the rows with a verdict that is chosen."""
        pending = Outcome(row_number=0, status=Status.PENDING)
        verdicts = {number: self.outcomes.get(number, pending) for number in self.lines}
        return {number for number, verdict in verdicts.items() if choice.wants(verdict.status, verdict.error_code)}

    def arrivals_of(self, row_number: int) -> list[Arrival]:
        """Return the requests that it sent for a row."""
        return [arrival for arrival in self.arrivals if arrival.line.row_number == row_number]

    def open_arrivals_of(self, row_number: int) -> list[Arrival]:
        """Return the requests for a row since the platform last refused it, those of the runs before included.

        A refusal that can be trusted takes away the doubt that earlier tries have left: `verdict` says so.
        """
        before = self.parent
        outcome = before.outcomes.get(row_number) if before else None
        if before is None or (outcome and outcome.status is Status.REFUSED):
            return self.arrivals_of(row_number)
        return [*before.open_arrivals_of(row_number), *self.arrivals_of(row_number)]


class Fate:
    """Goes along with one stretch, and ends it at the boundary that was drawn."""

    def __init__(self, accident: Accident | None, on_death: Callable[[], object]) -> None:
        """Take what is to happen; `on_death` is called at that very moment."""
        self.is_dead = False
        self._is_full = False
        self._accident = accident
        self._on_death = on_death
        self._passed: Counter[tuple[str, bool]] = Counter()
        self._turn = threading.Lock()

    def check(self) -> None:
        """Raise when the process is dead."""
        if self.is_dead:
            raise Died

    def enter(self, at: str) -> None:
        """Come to a boundary. Raises `Died`, and what a disk that refuses leads to."""
        if self._is_struck(at, behind=False):
            words = "the disk is full"
            raise ReportError(words) if at.startswith("write") else JournalError(words)

    def leave(self, at: str, took_effect: Callable[[], None] = lambda: None) -> None:
        """Leave a boundary behind; say that the call took effect unless the process was dead by then. Raises `Died`."""
        with self._turn:
            self.check()
            took_effect()
        self._is_struck(at, behind=True)

    def _is_struck(self, at: str, *, behind: bool) -> bool:
        """Raise when the process is dead, or dies now; else say whether the disk refuses."""
        with self._turn:
            self.check()
            self._passed[at, behind] += 1
            chosen = self._accident
            if chosen is None or (chosen.kind is Kind.DEATH and chosen.behind is not behind):
                return False
            is_due = at == chosen.at and self._passed[at, behind] >= chosen.nth
            if chosen.kind is Kind.DEATH and is_due:
                self.is_dead = True
                self._on_death()
                raise Died
            self._is_full = self._is_full or (is_due and chosen.kind is Kind.FULL)
            return not behind and at != SENDS and (is_due or self._is_full)


@contextmanager
def watched(fate: Fate, took_effect: Callable[[str, tuple[Any, ...], Sequence[Outcome]], None]) -> Iterator[None]:
    """Let everything inside come by its fate at each boundary.

    `took_effect` hears of each call behind it: name, arguments, and the outcomes that a commit made durable.
    """

    def passing(at: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def passes(*args: Any, **kwargs: Any) -> Any:
            fate.enter(at)
            group = args[0]._waiting[: args[0]._written] if at == "sync" else ()
            result = function(*args, **kwargs)
            try:
                fate.leave(at, partial(took_effect, at, args, group))
            except Died:
                if isinstance(result, Journal):
                    result.close()
                raise
            return result

        return passes

    update = Client.update

    async def passes_update(client: Client, correction: Any) -> Any:
        fate.enter(SENDS)
        answer = await update(client, correction)
        fate.leave(SENDS)
        return answer

    owners: Iterable[tuple[object, str]] = (
        *((Journal, name) for name in ("create", "write", "sync", "doubt", "note")),
        *((module, "write_results") for module in (concluding, opening)),
        *((module, "write_summary") for module in (concluding, opening, preparing)),
    )
    with ExitStack() as patches:
        for owner, name in owners:
            patches.enter_context(patch.object(owner, name, passing(name, getattr(owner, name))))
        patches.enter_context(patch.object(Client, SENDS, passes_update))
        yield


class HurriedStop(Stop):
    """A stop whose sleeps take no time: its own clock jumps ahead."""

    def __init__(self, fate: Fate) -> None:
        """Begin at 0."""
        super().__init__()
        self.now = 0.0
        self._fate = fate

    async def sleep(self, seconds: float) -> None:
        """Let the others have a turn."""
        self.check()
        self.now += seconds
        await asyncio.sleep(0)
        self._fate.check()
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
    """An observer that counts recorded rows, and asks for a stop at one of them."""

    stop: Stop
    stop_at: int = -1
    """After how many recorded rows; -1 for never."""
    seen: int = 0

    def started(self, start: Start) -> None:
        """Take no notice."""

    def recorded(self, outcome: Outcome) -> None:  # noqa: ARG002  the protocol's
        """Count."""
        self.seen += 1
        self.stop_if_due()

    def stop_if_due(self) -> None:
        """Ask for the stop when its time has come."""
        if self.seen == self.stop_at:
            self.stop.request(SignalledError("Ctrl-C"))

    def paused(self, seconds: float) -> None:
        """Take no notice."""

    def remark(self, sentence: str) -> None:
        """Pass over a remark."""

    def outage(self, begins: bool) -> None:  # noqa: FBT001  the protocol's
        """Take no notice."""

    def delivered(self) -> None:
        """Take no notice."""


def lines_of(rows: Sequence[tuple[str, tuple[str, ...]]], number: int) -> list[Line]:
    """Return the rows of a story's `number`-th file, of which the kinds and scripts were drawn."""
    lines: list[Line] = []
    for row_number, (kind, script) in enumerate(rows, start=2):
        own = f"{('NOPE', 'GONE')[row_number % 2] if kind == 'unknown' else 'R'}{number}x{row_number}"
        before = lines[-1] if lines and kind in {"again", "neighbour", "moved"} else None
        lines.append(
            Line(
                row_number=row_number,
                redemption_id=before.redemption_id if before and kind != "neighbour" else own,
                bill_number=f"8.{number}{row_number:02}E+05" if kind == "broken" else f"B-{number}-{row_number}",
                column=f"customFields.{row_number}" if before and kind != "neighbour" else "billNumber",
                customer=before.customer if before and kind != "moved" else f"91{number:02}{row_number:08}",
                script=script,
            )
        )
    return lines


async def a_few_turns(_seconds: float) -> None:
    """Let whoever else has something to do on this event loop do it, so that requests are under way together."""
    for _ in range(5):
        await asyncio.sleep(0)


async def nothing_is_left_behind() -> None:
    """Return when every other task has ended: those of a dead run, and the sandbox's for each of its connections."""
    async with asyncio.timeout(LEFT_BEHIND):
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.gather(*others, return_exceptions=True)


class Story(RuleBasedStateMachine):
    """Runs and what befalls them; see the module."""

    def __init__(self) -> None:
        """Begin with an empty reports folder and a sandbox of its own."""
        super().__init__()
        self.home = Path(tempfile.mkdtemp(dir=Path.cwd()))
        self.reports = self.home / "reports"
        self.reports.mkdir()
        self.runs: list[Told] = []
        self.files: list[Mapping[int, Line]] = []
        """The rows of each, by number."""
        self.moment = FIRST_MOMENT
        self.arrivals: list[Arrival] = []
        self.scripts: dict[str, Iterator[str]] = {}
        self.lines: dict[str, Line] = {}
        """By bill number."""
        self.coming: tuple[int, Told | None] = (0, None)
        """File and parent of the run that would be made now."""
        self.current: Told | None = None
        self.trouble = Trouble()
        self.arrived = 0
        """Requests of this stretch."""
        self.is_dead = False
        """Whether the last stretch ended by death."""
        self.is_looked_at = True
        """Whether nothing has happened since everything was found in order."""
        self.loop = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.sandbox = Sandbox(password="word-0", faults=self.meet, latency=1.0, sleep=a_few_turns)
        self.passwords = 0
        """How many times the password has changed."""
        Path("secret").write_text(self.sandbox.password, encoding="utf-8")
        self.loop.run(self.sandbox.start())

    @initialize(
        in_threads=st.booleans(),
        workers=st.sampled_from((1, 2, 4)),
        attempts=st.sampled_from((1, 2, 3)),
        rows=ROWS,
        trouble=TROUBLES,
    )
    def begin(
        self,
        in_threads: bool,  # noqa: FBT001  drawn
        workers: int,
        attempts: int,
        rows: Sequence[tuple[str, tuple[str, ...]]],
        trouble: Trouble,
    ) -> None:
        """Run a first file; what is slow is done in threads, as in life, or in none."""
        if not in_threads:
            self.loop.get_loop().set_default_executor(AtOnce())
        self.settings = load_settings(
            {
                "base_url": self.sandbox.base_url,
                "reports": str(self.reports),
                "rate": "none",
                "max_workers": workers,
                "max_attempts": attempts,
                "timeout": 5,
                "log_level": "error",
                # What the ledger knows is the story of another state machine.
                "resend": True,
                "same_file": "ok",
            }
        )
        self.run(rows, trouble)

    # -- what people do

    @rule(rows=ROWS, trouble=TROUBLES)
    def run(self, rows: Sequence[tuple[str, tuple[str, ...]]], trouble: Trouble) -> None:
        """Run a new file."""
        number = len(self.files)
        lines = lines_of(rows, number)
        self.files.append({line.row_number: line for line in lines})
        for line in lines:
            self.lines[line.bill_number] = line
            self.scripts[line.bill_number] = chain(line.script, repeat(""))
        with self.path_of(number).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([HEADER, *(line.cells for line in lines)])
        self.run_file(number, trouble)

    @rule(which=WHICH, trouble=TROUBLES)
    def run_again(self, which: int, trouble: Trouble) -> None:
        """Run a file once more, whatever became of it."""
        self.run_file(which % len(self.files), trouble)

    @rule(which=WHICH, trouble=TROUBLES)
    def resume(self, which: int, trouble: Trouble) -> None:
        """Go on with a run; one that is finished or abandoned stays as it is."""
        told = self.chosen(which, suits=lambda each: each.is_unfinished)
        if told:
            self.resume_run(told, trouble)

    @rule(which=WHICH, choice=st.sampled_from(CHOICES), trouble=TROUBLES, is_patient=st.booleans())
    def retry(self, which: int, choice: Choice, trouble: Trouble, is_patient: bool) -> None:  # noqa: FBT001  drawn
        """Retry a run, of which something is not done if there is one; the patient let all come to their end before."""
        if is_patient:
            self.end_well()
        told = self.chosen(which, suits=lambda each: not each.is_unfinished and bool(each.wanted(choice)))
        if told:
            self.retry_run(told, choice, trouble)

    @rule()
    def let_time_pass(self) -> None:
        """Let a night without trouble go by, in which every unfinished run comes to its end."""
        self.end_well()

    @rule(which=WHICH, accident=DEATHS)
    def abandon(self, which: int, accident: Accident | None) -> None:
        """Abandon a run; one that is not unfinished stays as it is."""
        told = self.chosen(which, suits=lambda each: each.is_unfinished)
        if told is None:
            return
        was_unfinished = told.is_unfinished
        ended = self.look_after(told, accident, lambda: abandon_run(told.folder, "the wrong file", self.moment))
        if was_unfinished:
            assert ended is None or isinstance(ended, Run)
            assert ended is None or told.state is RunState.ABANDONED
            told.reports_agree = ended is not None
        else:
            assert isinstance(ended, RunNotFoundError)

    @rule(which=WHICH, accident=DEATHS)
    def report(self, which: int, accident: Accident | None) -> None:
        """Write a run's reports anew; that changes nothing else."""
        told = self.chosen(which, suits=lambda each: each.is_unfinished)
        if told is None:
            return
        was_unfinished = told.is_unfinished
        ended = self.look_after(told, accident, lambda: report_run(told.folder, self.moment))
        assert ended is None or isinstance(ended, Run)
        assert told.is_unfinished is was_unfinished
        told.reports_agree = told.reports_agree or ended is not None

    # -- how it is done

    def chosen(self, which: int, suits: Callable[[Told], bool]) -> Told | None:
        """Return one of the runs: one that suits mostly, but any at times."""
        suitable = [told for told in self.runs if suits(told)] if which else []
        candidates = suitable or self.runs
        return candidates[which % len(candidates)] if candidates else None

    def path_of(self, number: int) -> Path:
        """Return where a file lies."""
        return self.home / f"file-{number}.csv"

    def run_file(self, number: int, trouble: Trouble) -> None:
        """Run a file, and look whether what came of it is possible."""
        before = len(self.runs)
        self.coming = (number, None)
        ended = self.stretch(None, lambda now, _flags, terms: run_file(self.path_of(number), now, terms), trouble)
        self.require_possible(ended, before)

    def resume_run(self, told: Told, trouble: Trouble) -> None:
        """Go on with a run, and look whether anything was sent again that had an outcome."""
        was_unfinished, settled, before = told.is_unfinished, told.outcomes.keys(), len(told.arrivals)
        told.reports_agree = told.reports_agree and not was_unfinished
        ended = self.stretch(told, lambda now, flags, terms: resume_run(told.folder, now, flags, terms), trouble)
        sent = {arrival.line.row_number for arrival in told.arrivals[before:]}
        assert sent.isdisjoint(settled)
        if was_unfinished:
            self.require_possible(ended, len(self.runs))
        else:
            assert isinstance(ended, RunNotFoundError)
            assert not sent

    def retry_run(self, told: Told, choice: Choice, trouble: Trouble) -> None:
        """Retry a run, and look whether the right rows were taken over."""
        was_unfinished, before = told.is_unfinished, len(self.runs)
        wanted = told.wanted(choice) - {number for run in self.runs if run.parent is told for number in run.lines}
        self.coming = (told.of_file, told)
        ended = self.stretch(None, lambda now, flags, terms: retry_run(told.folder, now, flags, choice, terms), trouble)
        if was_unfinished:
            assert isinstance(ended, RunNotFoundError) or trouble.accident
            assert len(self.runs) == before
            return
        self.require_possible(ended, before)
        if not self.is_dead and not isinstance(ended, BulkRedeemError):
            taken = {number for child in self.runs[before:] for number in child.lines}
            assert taken == wanted

    def look_after(
        self, told: Told, accident: Accident | None, deed: Callable[[], Run]
    ) -> Run | BulkRedeemError | None:
        """Do something with a run for which nothing is sent."""

        async def done(_now: Settings, _flags: Mapping[str, Any], _terms: Terms) -> Run:
            return deed()

        before = len(self.arrivals)
        ended = self.stretch(told, done, Trouble(accident=accident))
        assert len(self.arrivals) == before
        return ended

    def stretch(self, told: Told | None, deed: Deed, trouble: Trouble) -> Run | BulkRedeemError | None:
        """Do something under a trouble, and return how it ended; None for a death, and when there was nothing to do."""
        self.is_looked_at = False
        self.moment += 60.0
        self.trouble, self.current, self.arrived = trouble, told, 0
        grave = self.home / "grave"
        fate = Fate(trouble.accident, lambda: shutil.copytree(self.reports, grave, symlinks=True))
        with watched(fate, self.take_note), patch.object(recorder, "COMMIT_INTERVAL", trouble.commits_after):
            ended = self.loop.run(self.lived(deed, fate))
        self.is_dead = fate.is_dead
        if self.is_dead:
            shutil.rmtree(self.reports)
            grave.rename(self.reports)
        if self.current and (trouble.is_of_the_disk or isinstance(ended, Run)):
            self.current.reports_may_lack = trouble.is_of_the_disk
        self.sandbox.permitted = True
        Path("secret").write_text(self.sandbox.password, encoding="utf-8")
        return ended

    async def lived(self, deed: Deed, fate: Fate) -> Run | BulkRedeemError | None:
        """Do something, and wait for whatever it leaves behind."""
        weather, begins = self.trouble.weather, self.moment
        flags = {"outage_timeout": "0.01s" if weather.kind == "gone" else "15m"}
        stop = HurriedStop(fate)
        watcher = Watcher(stop=stop, stop_at=weather.nth if weather.kind == "stop" else -1)
        watcher.stop_if_due()
        terms = Terms(
            stop=stop,
            observer=watcher,
            pace=Pace(Ceiling.parse("none"), clock=lambda: stop.now, sleep=stop.sleep),
            deadline=begins + weather.nth if weather.kind == "late" else None,
            wall_clock=lambda: begins + self.arrived,
        )
        self.change()
        try:
            return await deed(self.settings.model_copy(update=flags), flags, terms)
        except BulkRedeemError as exc:
            return exc
        except Died:
            return None
        finally:
            await nothing_is_left_behind()

    # -- what is heard of it

    def take_note(self, at: str, args: tuple[Any, ...], group: Sequence[Outcome]) -> None:
        """Hear of a call that took effect."""
        if at == "create":
            self.current = self.new_run(args[0].parent)
            self.runs.append(self.current)
        elif at == "sync":
            self.told_of(args[0]).durable |= {outcome.row_number for outcome in group}
        elif at == "note" and "state" in args[1]:
            self.told_of(args[0]).state = RunState(args[1]["state"])

    def new_run(self, folder: Path) -> Told:
        """Return what is known of a run that has just been made."""
        number, parent = self.coming
        lines = parent.lines if parent else self.files[number]
        rows = [record.row_number for record in read_records(folder / "input.csv")]
        assert rows == sorted(rows)
        assert set(rows) <= lines.keys()
        assert parent or rows == list(lines)
        return Told(folder=folder, lines={row: lines[row] for row in rows}, of_file=number, parent=parent)

    def told_of(self, journal: Journal) -> Told:
        """Return the run that a journal is of."""
        (told,) = (each for each in self.runs if each.folder == journal._path.parent)
        return told

    def meet(self, update: UpdateRequest) -> Fault | None:
        """Take note of an arriving request, and say what it meets."""
        line = self.lines[token_of(update.fields)]
        assert self.current is not None
        assert (update.redemption_id, update.identifier_value) == (line.redemption_id, line.customer)
        self.arrived += 1
        fault = self.change() or next(self.scripts[line.bill_number])
        is_applied = not line.is_refused and (not fault or FAULTS[fault].apply)
        arrival = Arrival(place=len(self.arrivals), line=line, fault=fault, is_applied=is_applied)
        self.arrivals.append(arrival)
        self.current.arrivals.append(arrival)
        return FAULTS.get(fault)

    def change(self) -> str:
        """Let the weather change when its time has come, and return the fault that it has for everybody, or nothing."""
        weather = self.trouble.weather
        if self.arrived < weather.nth:
            return ""
        if weather.kind == "forbidden":
            self.sandbox.permitted = False
        if weather.kind in {"locked", "renewed"} and self.arrived == weather.nth:
            self.passwords += 1
            self.sandbox.password = f"word-{self.passwords}"
        if weather.kind == "renewed":
            Path("secret").write_text(self.sandbox.password, encoding="utf-8")
        return weather.fault if weather.kind == "gone" else ""

    # -- what must be so

    def require_possible(self, ended: Run | BulkRedeemError | None, before: int) -> None:
        """Check that a stretch, before which there were so many runs, ended as it may under its trouble."""
        if isinstance(ended, BulkRedeemError):
            weather = self.trouble.weather
            is_stopped = isinstance(ended, Stopping) and (weather.kind, weather.nth) == ("stop", 0)
            assert is_stopped or (self.trouble.is_of_the_disk and isinstance(ended, JournalError | ReportError))
            # A run that could not begin has left nothing.
            del self.runs[before:]
        elif isinstance(ended, Run) and not self.trouble.is_of_the_disk:
            (told,) = (each for each in self.runs if each.folder == ended.folder)
            assert ended.summary.ending is not None
            assert ended.summary.ending.state is told.state
            assert ended.exit_code in _MAY_END_WITH[self.trouble.weather.kind]
            assert ended.summary.ending.exit_code == ended.exit_code

    @invariant()
    def everything_is_in_order(self) -> None:
        """Check the runs of which something was heard since they were looked at, and the list of all."""
        self.look(self.runs if self.current is None else [run for run in self.runs if run.root is self.current.root])
        self.is_looked_at = True

    def look(self, runs: Iterable[Told]) -> None:
        """Check some runs, and the list of all."""
        assert self.sandbox.overlaps == 0
        # Of different redemptions the sandbox may apply a later request first.
        applied = sorted((each.identifier, each.order, token_of(each.fields)) for each in self.sandbox.applied)
        arrived = sorted((each.line.redemption_id, each.place, each.line) for each in self.arrivals if each.is_applied)
        assert [bill_number for _, _, bill_number in applied] == [line.bill_number for _, _, line in arrived]
        found = {run.folder: run for run in runs_in(self.reports)}
        begun = [folder for folder, run in found.items() if run.state is not RunState.NOT_BEGUN]
        assert begun == [told.folder for told in self.runs]
        unfinished = [told.folder for told in self.runs if told.is_unfinished]
        assert [run.folder for run in unfinished_in(self.reports)] == unfinished
        for told in runs:
            self.look_at_outcomes(told)
            self.look_at_counts(told, found[told.folder])
            self.look_at_reports(told)
        self.look_at_families(runs)

    def look_at_counts(self, told: Told, shelved: Shelved) -> None:
        """Check that the list tells a run's state, and counts that add up and agree with the journal."""
        assert shelved.state is (RunState.CRASHED if told.state is RunState.RUNNING else told.state)
        assert shelved.info is not None
        assert shelved.info.rows == len(told.lines)
        verdicts = Counter(outcome.status for outcome in told.outcomes.values())
        verdicts[Status.PENDING] = len(told.lines) - len(told.outcomes)
        assert shelved.counts == {status: verdicts[status] for status in Status}
        if told.is_unfinished:
            pending = told.lines.keys() - told.outcomes.keys()
            applied = {each.line.row_number for each in told.arrivals if each.is_applied}
            assert len(pending & applied) <= shelved.doubtful <= len(pending)

    def look_at_outcomes(self, told: Told) -> None:
        """Check that no verdict of a run is false, and that none was lost or changed."""
        with closing(Journal.open_existing(told.folder / "journal.sqlite")) as journal:
            outcomes = {outcome.row_number: outcome for outcome in journal.outcomes()}
        assert told.durable <= outcomes.keys() <= told.lines.keys()
        assert told.outcomes.items() <= outcomes.items()
        assert told.state is not RunState.FINISHED or outcomes.keys() == told.lines.keys()
        told.outcomes = outcomes
        for number, outcome in outcomes.items():
            look_at_outcome(told, told.lines[number], outcome)

    def look_at_reports(self, told: Told) -> None:
        """Check that the results are whole, and that they agree with the journal once the run has ended."""
        path = told.folder / "results.csv"
        has_ended = told.state in {RunState.FINISHED, RunState.STOPPED} and not told.reports_may_lack
        must_agree = told.reports_agree or has_ended
        if not path.exists():
            assert not must_agree
            return
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.DictReader(file, strict=True))
        assert [int(line["row_number"]) for line in lines] == list(told.lines)
        assert [line[told.lines[int(line["row_number"])].column] for line in lines] == [
            each.bill_number for each in told.lines.values()
        ]
        if must_agree:
            for line in lines:
                look_at_result(told, line)
            summary = json.loads((told.folder / "summary.json").read_text())
            assert summary["counts"] == {
                str(status): sum(line["status"] == status for line in lines) for status in Status
            }
            assert summary["state"] == (RunState.CRASHED if told.state is RunState.RUNNING else told.state)

    def look_at_families(self, runs: Iterable[Told]) -> None:
        """Check a run with its retries: no row is with two of them."""
        families: dict[Path, list[Told]] = defaultdict(list)
        for told in runs:
            families[told.root.folder].append(told)
        for family in families.values():
            taken = Counter((told.parent.folder, number) for told in family if told.parent for number in told.lines)
            assert all(times == 1 for times in taken.values())

    def teardown(self) -> None:
        """Go on with every unfinished run, without trouble, until each has come to its end."""
        try:
            if self.is_looked_at:
                self.end_well()
        finally:
            self.loop.run(self.sandbox.stop())
            self.loop.close()
            shutil.rmtree(self.home)

    def end_well(self) -> None:
        """Resume all there is, and look at everything."""
        for _ in range(MOST_RESUMES):
            unfinished = [told for told in self.runs if told.is_unfinished]
            if not unfinished:
                break
            self.resume_run(unfinished[0], Trouble())
            self.look(self.runs)
        assert not unfinished_in(self.reports)


def look_at_outcome(told: Told, line: Line, outcome: Outcome) -> None:
    """Check one verdict against what arrived at the sandbox."""
    arrivals = told.arrivals_of(line.row_number)
    assert line.is_broken is (outcome.status is Status.INVALID)
    if line.is_broken:
        assert not arrivals
        return
    # A try with a password that was replaced does not get as far as an arrival.
    assert 0 < outcome.attempts <= len(arrivals) + 1
    last = arrivals[-1]
    if outcome.status is Status.SUCCESS:
        assert last.is_applied
        assert not last.fault
    elif outcome.status is Status.REFUSED:
        # It may have been applied by an earlier try whose answer was lost: a later refusal that can be trusted is the
        # row's last word all the same. What was refused was not applied.
        assert last.is_refusal
    elif outcome.status is Status.FAILED:
        assert last.fault
        assert not any(arrival.is_applied for arrival in told.open_arrivals_of(line.row_number))
    else:
        assert outcome.status is Status.IN_DOUBT
        assert last.fault


def look_at_result(told: Told, line: Mapping[str, str]) -> None:
    """Check one line of the results against the journal."""
    number = int(line["row_number"])
    outcome = told.outcomes.get(number)
    if outcome:
        assert (line["status"], line["error_code"]) == (outcome.status, outcome.error_code)
        return
    assert line["status"] == Status.PENDING
    if any(arrival.is_applied for arrival in told.open_arrivals_of(number)):
        assert line["error_code"] == "SENT_BEFORE"


@pytest.fixture(autouse=True)
def _surrounding(nothing_configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each story is configured by itself; the password lies in a file, where a new one may be put during a run."""
    secret = nothing_configured / "secret"
    monkeypatch.setenv("BULKREDEEM_USERNAME", "sandbox.till")
    monkeypatch.setenv("BULKREDEEM_PASSWORD_FILE", str(secret))


def tell(examples: int, steps: int) -> None:
    """Tell so many stories of so many deeds each."""
    run_state_machine_as_test(
        Story,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        ),
    )


@pytest.mark.timeout(400)
def test_no_story_makes_a_verdict_false() -> None:
    """Whatever befalls runs and whatever is done about it, each row has one verdict, none is false, none is lost."""
    tell(20, 8)


@pytest.mark.torture
def test_no_story_of_very_many_makes_a_verdict_false() -> None:
    """The same, told for ten minutes."""
    tell(600, 12)
