"""What several test files share: an unconfigured surrounding, a terminal, a sandbox, and values of invented people."""

from __future__ import annotations

import asyncio
import base64
import csv
import hashlib
import json
import os
import resource
import selectors
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aioresponses import aioresponses
from hypothesis import HealthCheck, Phase, settings

from bulkredeem.application import Run, Start, Terms, resume_run, run_file
from bulkredeem.cli import main
from bulkredeem.delivery import Gate
from bulkredeem.errors import SignalledError
from bulkredeem.model import Ceiling, Correction, Outcome, Sign, Status
from bulkredeem.outage import Watch
from bulkredeem.pace import Pace
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Fault, FaultHook, Sandbox, UpdateRequest
from bulkredeem.settings import Settings, load_settings
from tests.contract import RequestWitness

# How fast inputs are made says something of the machine, which runs parts of the tests at once, and of no test.
# And whether a change lands is no matter of luck: the same inputs each time. `make torture` looks at others.
settings.register_profile("suite", suppress_health_check=[HealthCheck.too_slow], deadline=None, derandomize=True)
settings.register_profile("torture", settings.get_profile("suite"), derandomize=False, max_examples=1_000)
settings.register_profile(
    "mutation",
    settings.get_profile("suite"),
    max_examples=30,
    phases=[Phase.explicit, Phase.generate],  # that it failed is enough: nobody reads with which smallest input
)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def request_witness() -> Iterator[RequestWitness]:
    """Give who sees every request of ours that reaches a sandbox of this process, or a stand-in for aiohttp."""
    witness = RequestWitness()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sandbox, "_answer", witness.at_sandboxes(Sandbox._answer))
        patch.setattr(aioresponses, "match", witness.at_stand_ins(aioresponses.match))
        yield witness


@pytest.fixture(autouse=True)
def contract_kept(request_witness: RequestWitness) -> Iterator[None]:
    """Fail a test at its end when a request that the client sent is not as `docs/openapi.yaml` says."""
    yield
    if bad := request_witness.taken():
        pytest.fail("against the contract:\n" + "\n".join(bad))


MEASURED = frozenset(
    {
        *("test_audit", "test_calling", "test_checking", "test_cli", "test_cli_going_on", "test_init"),
        *("test_listing", "test_splitting"),
    }
)
"""Test files whose processes say which lines they went over.

To measure costs a process nearly half of its time, and the processes of all others go over the same ground."""


@pytest.fixture(autouse=True)
def quick_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes that a test starts go unmeasured, but for those that are there to be."""
    if request.path.stem not in MEASURED:
        for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
            monkeypatch.delenv(name, raising=False)


@pytest.fixture
def nothing_configured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Give an empty working directory, which is returned, and an environment without settings and without a past."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
    for name in os.environ:
        if name.upper().startswith("BULKREDEEM_"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.setenv("BULKREDEEM_SETTLED_FOR", "0")  # every file here was written just now
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def correction() -> Callable[..., Correction]:
    """Make a correction: of a redemption and a customer of its own, unless `changes` say otherwise."""

    def make(row_number: int = 2, **changes: Any) -> Correction:
        usual: dict[str, Any] = {
            "redemption_id": f"R{row_number}",
            "entity_type": "CUSTOMER",
            "identifier_type": "mobile",
            "identifier_value": f"9199{row_number:08}",
            "bill_number": f"B-{row_number}",
        }
        return Correction(row_number=row_number, **{**usual, **changes})

    return make


@pytest.fixture
def outcome() -> Callable[..., Outcome]:
    """Make an outcome: a success, unless `changes` say otherwise."""

    def make(row_number: int = 2, **changes: Any) -> Outcome:
        return Outcome(row_number=row_number, **{"status": Status.SUCCESS, "finished_at": 1_764_000_000.0, **changes})

    return make


@pytest.fixture
def open_gate() -> Gate:
    """Give a gate that lets all pass: the platform has just answered a neighbour, whom `remaining` counts."""
    gate = Gate(Watch(), width=1000, outage_timeout=900.0, remaining=lambda: 2)
    gate.note(1, Sign.ANSWERED)
    return gate


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    """Write a CSV file of lists of cells, the header first, and return its path."""

    def write(rows: Sequence[Sequence[object]], name: str = "fixes.csv") -> Path:
        path = tmp_path / name
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        return path

    return write


@dataclass(kw_only=True)
class Witness:
    """An observer that remembers, and does what it is told to when its moment has come."""

    when: Callable[[Path], bool] = lambda _folder: False
    """Asked with the run's folder when it starts and after each recorded row."""
    act: Callable[[Path], object] = lambda _folder: None
    """Called with the run's folder, once: when it is the moment, at the latest when nothing is sent any more."""
    start: Start | None = None
    seen: list[Outcome] = field(default_factory=list)
    """The outcomes recorded in this stretch."""
    remarks: list[str] = field(default_factory=list)
    """What a person was to read while it went on."""
    has_acted: bool = False

    def started(self, start: Start) -> None:
        """Remember the run."""
        self.start = start
        self._act_if(is_due=self.when(start.folder))

    def recorded(self, outcome: Outcome) -> None:
        """Remember the row."""
        self.seen.append(outcome)
        if self.start and not self.has_acted:
            self._act_if(is_due=self.when(self.start.folder))

    def paused(self, seconds: float) -> None:
        """Pass over a pause."""

    def remark(self, sentence: str) -> None:
        """Remember it."""
        self.remarks.append(sentence)

    def outage(self, begins: bool) -> None:  # noqa: FBT001  the protocol's
        """Pass over an outage."""

    def delivered(self) -> None:
        """Act at last."""
        self._act_if(is_due=True)

    def _act_if(self, *, is_due: bool) -> None:
        if is_due and not self.has_acted and self.start:
            self.has_acted = True
            self.act(self.start.folder)


@dataclass(kw_only=True)
class Rehearsal:
    """Runs against a sandbox that end, stop or die, one after another, and what arrived there."""

    sandbox: Sandbox
    arrived: list[str] = field(default_factory=list)
    """The redemption of every update that arrived since somebody cleared it."""
    faults: FaultHook = lambda _update: None
    """What goes wrong with which update."""

    @staticmethod
    def file(rows: int = 60) -> Path:
        """Write a file of good rows, each of a redemption and a customer of its own, and return its path.

        The redemption of row 7 is `AB0007`, and its new bill number `B-7`.
        """
        path = Path("fixes.csv")
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["redemptionId", "billNumber", "identifierValue"])
            writer.writerows((f"AB{row:04}", f"B-{row}", f"9199{row:08}") for row in range(2, rows + 2))
        return path

    @staticmethod
    def witness(**changes: Any) -> Witness:
        """Return an observer."""
        return Witness(**changes)

    @staticmethod
    def settled(folder: Path) -> set[int]:
        """Return the rows of a run that have a durable outcome, as another process would find them."""
        with closing(sqlite3.connect(folder / "journal.sqlite", timeout=30)) as connection:
            return {number for (number,) in connection.execute("SELECT row_number FROM outcome")}

    @staticmethod
    def verdicts(folder: Path, report: str = "results.csv") -> dict[int, tuple[str, str]]:
        """Read row number → status and error code from a report, as a program does."""
        with (folder / report).open(encoding="utf-8-sig", newline="") as file:
            return {int(line["row_number"]): (line["status"], line["error_code"]) for line in csv.DictReader(file)}

    @staticmethod
    def summary(folder: Path) -> dict[str, Any]:
        """Read `summary.json` as a program does."""
        found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
        return found

    @property
    def rows_arrived(self) -> list[int]:
        """The rows of `file` among what arrived, in that order."""
        return [int(identifier.removeprefix("AB")) for identifier in self.arrived]

    def hear(self, update: UpdateRequest) -> Fault | None:
        """Take note of an update, for the sandbox."""
        self.arrived.append(update.identifier)
        return self.faults(update)

    def settings(self, **flags: Any) -> Settings:
        """Return settings of today: the environment says where and who, flags say the rest."""
        return load_settings({"rate": "none", "max_workers": 4, **flags})

    def terms(self, witness: Witness | None = None, **changes: Any) -> Terms:
        """Return the terms of a command of its own, with a pace that makes nobody wait."""
        stop = changes.get("stop") or Stop()
        pace = Pace(Ceiling.parse("none"), sleep=stop.sleep)
        return Terms(**{"stop": stop, "observer": witness or Witness(), "pace": pace, **changes})

    async def run(self, path: Path, terms: Terms | None = None, **flags: Any) -> Run:
        """Run a file."""
        return await run_file(path, self.settings(**flags), terms or self.terms())

    async def resume(self, folder: Path, terms: Terms | None = None, **flags: Any) -> Run:
        """Go on with a run, with such flags."""
        return await resume_run(folder, self.settings(**flags), flags, terms or self.terms())

    async def stopped(self, path: Path, rows: int = 1, **flags: Any) -> Path:
        """Run a file, stop it when so many rows are recorded, and return the run's folder."""
        stop = Stop()
        witness = Witness(
            when=lambda _: len(witness.seen) >= rows, act=lambda _: stop.request(SignalledError("Ctrl-C"))
        )
        run = await self.run(path, self.terms(witness, stop=stop), **flags)
        self.arrived.clear()
        return run.folder

    async def dead(self, begin: Callable[[Terms], Awaitable[Run]], recorded: int | None, *, into: str = "dead") -> Path:
        """Let a run die when so many outcomes are durable, and return where what it left behind lies.

        None lets it die when all is sent and no report is written yet. What the disk holds at that moment is copied
        into the reports folder `into`; what the process did after it, it did not do.
        """

        def die(folder: Path) -> None:
            shutil.copytree(folder, Path(into) / folder.name, ignore=shutil.ignore_patterns("*-shm"))
            stop.request(SignalledError("died"))

        stop = Stop()
        witness = Witness(when=lambda folder: recorded is not None and len(self.settled(folder)) >= recorded, act=die)
        run = await begin(self.terms(witness, stop=stop))
        self.arrived.clear()
        return Path(into) / run.folder.name


@pytest.fixture
async def rehearsal(nothing_configured: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rehearsal]:  # noqa: ARG001
    """Give a sandbox whose address and credentials are configured, and what it takes to run, kill and resume."""
    async with Sandbox(password="quiet-Otter-42") as sandbox:
        for name in ("base_url", "username", "password"):
            monkeypatch.setenv(f"BULKREDEEM_{name.upper()}", getattr(sandbox, name))
        rehearsal = Rehearsal(sandbox=sandbox)
        sandbox.faults = rehearsal.hear
        yield rehearsal


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The JSON objects on standard output, one for each line."""
        return [json.loads(line) for line in self.out.splitlines()]


class Started:
    """A process under way."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Listen to it."""
        self.process = process
        self.heard: list[bytes] = []
        """All that was read from its pipes so far."""

    @property
    def pid(self) -> int:
        """Its number."""
        return self.process.pid

    def send(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def line(self) -> str:
        """Read the next line of its standard output; empty at the end."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        self.heard.append(line)
        return line.decode()

    async def says(self, words: str) -> None:
        """Read lines of its standard output until one holds these words."""
        async with asyncio.timeout(30):
            while line := await self.line():
                if words in line:
                    return
        pytest.fail(f"it never said {words!r}")

    async def ended(self, within: float = 60.0) -> Ended:
        """Wait for its end, but not for ever, and return what it left on its pipes."""
        async with asyncio.timeout(within):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        self.heard += [out or b"", err or b""]
        return Ended(code=self.process.returncode, out=_text(out), err=_text(err))


def _text(output: bytes | None) -> str:
    """Read what a pipe gave, in whatever encoding; nothing for no pipe."""
    return (output or b"").decode(errors="replace")


@dataclass(kw_only=True)
class Terminal:
    """Where commands are typed: a working directory and an environment."""

    folder: Path
    environment: dict[str, str]
    started: list[Started] = field(default_factory=list)
    """Every process that was started here."""

    async def start(
        self, *words: str | Path, python: tuple[str, ...] = ("-m", "bulkredeem"), **options: Any
    ) -> Started:
        """Start a command with its standard output and error in pipes, unless told otherwise."""
        pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
        environment = {**self.environment, **options.pop("env", {})}
        started = Started(
            await asyncio.create_subprocess_exec(
                sys.executable, *python, *map(str, words), cwd=self.folder, env=environment, **{**pipes, **options}
            )
        )
        self.started.append(started)
        return started

    async def run(self, *words: str | Path, **options: Any) -> Ended:
        """Run a command to its end."""
        return await (await self.start(*words, **options)).ended()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        for _ in range(3000):
            if condition():
                return
            await asyncio.sleep(0.01)
        pytest.fail("it never came about")

    def with_variables(self, **variables: str) -> Terminal:
        """Return this terminal with these variables in its environment; an empty one counts as none."""
        return replace(self, environment={**self.environment, **variables})

    def configured(self, sandbox: Sandbox) -> Terminal:
        """Return this terminal with a sandbox's address and credentials in its environment."""
        return self.with_variables(
            BULKREDEEM_BASE_URL=sandbox.base_url,
            BULKREDEEM_USERNAME=sandbox.username,
            BULKREDEEM_PASSWORD=sandbox.password,
        )

    @property
    def reports(self) -> Path:
        """The folder of all runs."""
        return self.folder / "reports"

    @property
    def latest(self) -> Path:
        """The folder of the newest run."""
        return self.reports / "latest"

    def summary(self, run: Path | None = None) -> dict[str, Any]:
        """Read the summary of a run, or of the newest."""
        found: dict[str, Any] = json.loads(((run or self.latest) / "summary.json").read_text())
        return found

    def results(self, run: Path | None = None, name: str = "results.csv") -> list[dict[str, str]]:
        """Read the results of a run, or of the newest."""
        with ((run or self.latest) / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def statuses(self, run: Path | None = None) -> list[str]:
        """Read the column `status` of the results of a run, or of the newest."""
        return [row["status"] for row in self.results(run)]

    def leaks(self, username: str, *passwords: str) -> list[str]:
        """Say where these passwords stand, in whatever form: in what was printed, or in a file of the reports."""
        files = [each for each in self.reports.rglob("*") if each.is_file()]
        contents = {str(each): each.read_bytes() for each in files}
        contents |= {f"process {each.pid}": b"".join(each.heard) for each in self.started}
        traces = [trace for password in passwords for trace in traces_of(password, username)]
        return [place for place, content in contents.items() if any(trace in content for trace in traces)]


def traces_of(password: str, username: str) -> list[bytes]:
    """Return every form in which a password might be found."""
    digest = hashlib.md5(password.encode(), usedforsecurity=False).hexdigest()
    forms = [password, digest, f"{username}:{digest}", f"{username}:{password}"]
    return [
        *(each.encode() for each in forms),
        *(base64.b64encode(each.encode()) for each in forms),
        digest.upper().encode(),
    ]


class Turnstile:
    """Lets ten requests through a sandbox and holds all others until it is opened."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Stand in the sandbox's way."""
        self._places = asyncio.Semaphore(10)
        sandbox.latency, sandbox.sleep = 1.0, self._pass

    def let_one_go(self) -> None:
        """Let the one through that has waited longest."""
        self._places.release()

    def open(self) -> None:
        """Let everything through."""
        for _ in range(1000):
            self._places.release()

    async def _pass(self, _: float) -> None:
        await self._places.acquire()


@pytest.fixture
async def unconfigured(nothing_configured: Path) -> AsyncIterator[Terminal]:
    """Give a terminal in an empty folder that knows nothing of us; no process outlives it."""
    ours = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    plain = {
        name: value
        for name, value in os.environ.items()
        if name not in ours and not name.upper().startswith("BULKREDEEM_")
    }
    settled = {"BULKREDEEM_SETTLED_FOR": "0"}  # every file here was written just now
    terminal = Terminal(folder=nothing_configured, environment=plain | settled)
    yield terminal
    for each in terminal.started:
        if each.process.returncode is None:
            each.process.kill()
            await each.process.communicate()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Give a sandbox with a password of its own, no faults and no limit."""
    async with Sandbox(password="quiet-Otter-42") as sandbox:
        yield sandbox


@pytest.fixture
def terminal(unconfigured: Terminal, sandbox: Sandbox) -> Terminal:
    """Give a terminal whose environment says where the sandbox is and who we are."""
    return unconfigured.configured(sandbox)


@pytest.fixture
def turnstile(sandbox: Sandbox) -> Turnstile:
    """Give what holds all requests but ten."""
    return Turnstile(sandbox)


@contextmanager
def _no_file_beyond(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def no_file_beyond() -> Callable[[int], AbstractContextManager[None]]:
    """Give what lets no file of this process grow beyond so many bytes meanwhile: a full disk, for whoever writes."""
    return _no_file_beyond


class _Skipping(selectors.SelectSelector):
    """Passes the time in which nobody has anything to do, instead of waiting for it to pass."""

    def __init__(self, skip: Callable[[float], None]) -> None:
        """Say how to pass it."""
        super().__init__()
        self._skip = skip

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return at once; fail when everybody waits for somebody else."""
        assert timeout is not None, "everybody waits, and nobody will ever wake them"
        self._skip(timeout)
        return super().select(0)


class _VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock begins at 0.0 and jumps to the next alarm when there is nothing else to do."""

    def __init__(self) -> None:
        self._now = 0.0
        self._standing_still = 0
        super().__init__(_Skipping(self._pass))

    def time(self) -> float:
        """Return what the clock shows."""
        return self._now

    def _pass(self, seconds: float) -> None:
        # A wait may be too short to make a difference when it is added to the time; a real clock would go on.
        self._standing_still = 0 if seconds > 0 else self._standing_still + 1
        self._now += seconds if self._standing_still < 1000 else 1e-6


@pytest.fixture(scope="session")
def virtually() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine to its end on an event loop whose time passes at once, and return what it returns.

    Only for what neither uses a socket nor a thread. It fails when everybody waits for somebody else.
    """

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
            return runner.run(work)

    return run


@pytest.fixture
def typed(
    nothing_configured: Path,  # noqa: ARG001
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., Ended]:
    """Type a command in this process: one that sends nothing; from a coroutine only one without a loop of its own."""

    def type_it(*words: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["bulkredeem", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        shown = capfd.readouterr()
        assert isinstance(end.value.code, int)
        return Ended(code=int(end.value.code), out=shown.out, err=shown.err)

    return type_it
