"""An outage is no row's fault: the run waits, asks with one row at a time, and goes on; or ends with rows pending."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bulkredeem.application import Run, Start, resume_run, run_file
from bulkredeem.errors import ExitCode
from bulkredeem.model import Outcome, Status
from bulkredeem.sandbox import Fault, Sandbox, Then, UpdateRequest
from bulkredeem.settings import Settings, load_settings
from tests.hurry import hurried

WriteCsv = Callable[..., Path]
PASSWORD = "quiet-Otter-42"
HEADER = ["redemptionId", "billNumber", "identifierValue"]
MINUTE = 60.0
TRIES = 10
"""That make an outage when all of them go unanswered."""


@pytest.fixture(autouse=True)
def _surrounding(nothing_configured: Path) -> None:
    """Every run here is configured by its test, and leaves its reports in a folder of its own."""


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Give a sandbox with a password of its own, no faults and no limit."""
    async with Sandbox(password=PASSWORD) as sandbox:
        yield sandbox


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Configure a run against a sandbox, as a user does: the environment for who and where, flags for the rest."""

    def settings_for(sandbox: Sandbox, **flags: Any) -> Settings:
        for name, value in environment_for(sandbox).items():
            monkeypatch.setenv(name, value)
        return load_settings({"rate": "none", **flags})

    return settings_for


def environment_for(sandbox: Sandbox) -> Mapping[str, str]:
    """Return who and where, as a user sets it."""
    return {
        "BULKREDEEM_BASE_URL": sandbox.base_url,
        "BULKREDEEM_USERNAME": sandbox.username,
        "BULKREDEEM_PASSWORD": PASSWORD,
    }


@dataclass(kw_only=True)
class Watcher:
    """An observer that remembers, and does what it is told at a moment."""

    at: int = -1
    """After how many recorded rows `act` is called; -1 is never."""
    act: Callable[[], None] = lambda: None
    on_outage: Callable[[], None] = lambda: None
    """Called when an outage begins."""
    seen: list[Outcome] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    outages: list[bool] = field(default_factory=list)
    """True for each that began, False for each that ended."""

    def started(self, start: Start) -> None:
        """Not of interest."""

    def recorded(self, outcome: Outcome) -> None:
        """Remember the row."""
        self.seen.append(outcome)
        if len(self.seen) == self.at:
            self.act()

    def paused(self, seconds: float) -> None:
        """Remember for how long."""
        self.pauses.append(seconds)

    def remark(self, sentence: str) -> None:
        """Pass over a remark."""

    def outage(self, begins: bool) -> None:  # noqa: FBT001  the protocol's
        """Remember that it began, or ended."""
        self.outages.append(begins)
        if begins:
            self.on_outage()

    def delivered(self) -> None:
        """Not of interest."""


def rows_of(count: int, *, customers: int = 1000) -> list[list[str]]:
    """Return a file of so many rows, each of a redemption of its own, of so many customers who take turns."""
    return [HEADER, *([f"AB{number:04}", f"B-{number}", f"9199{number % customers:08}"] for number in range(count))]


def lines_of(run: Run) -> list[dict[str, str]]:
    """Read `results.csv` as a program does."""
    with (run.folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assert_all_done(run: Run, sandbox: Sandbox, rows: int) -> None:
    """Check that every row succeeded and was applied, none beside another of its customer, and every try counts."""
    assert {line["status"]: line["error_code"] for line in lines_of(run)} == {"success": ""}
    assert run.exit_code is ExitCode.DONE
    assert (len(lines_of(run)), run.summary.counts[Status.SUCCESS]) == (rows, rows)
    bills = {line["redemptionId"]: line["billNumber"] for line in lines_of(run)}
    assert {name: each.bill_number for name, each in sandbox.redemptions.items()} == bills
    assert sandbox.overlaps == 0


@dataclass(kw_only=True)
class Gone:
    """A platform that is gone for a stretch of the updates that reach it."""

    fault: Fault
    first: int
    """Which update is the first that it does not answer; the first of all is 1."""
    updates: int
    """How many it does not answer."""

    def __call__(self, update: UpdateRequest) -> Fault | None:
        """Say what goes wrong with an update."""
        return self.fault if self.first <= update.number < self.first + self.updates else None


# The minute


async def test_a_minute_without_the_platform(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """The sandbox is gone for a minute in the middle of 300 rows: no row fails, and the run ends by itself.

    Customers have two or three rows each; waiting passes a hundred times as fast, in the minute too.
    """
    sandbox.latency = 0.002
    tasks: list[asyncio.Task[None]] = []
    watcher = Watcher(at=100, act=lambda: tasks.append(asyncio.create_task(be_gone(terms.stop.sleep))))
    terms = hurried(watcher, haste=100)

    async def be_gone(sleep: Callable[[float], Any]) -> None:
        await sandbox.stop()
        await sleep(MINUTE)
        await sandbox.start()

    run = await run_file(write_csv(rows_of(300, customers=130)), configure(sandbox, max_workers=4), terms)
    await tasks.pop()
    assert_all_done(run, sandbox, 300)
    assert watcher.outages == [True, False]
    assert run.summary.ending is not None
    assert run.summary.ending.requests == sum(int(line["attempts"]) for line in lines_of(run)) > 300 + TRIES


@pytest.mark.torture
async def test_a_real_minute_without_the_platform(write_csv: WriteCsv, sandbox: Sandbox) -> None:
    """The same with the real command in a real process, 32 workers and every second of the minute."""
    sandbox.latency = 0.05
    in_the_middle = asyncio.Event()

    def look(update: UpdateRequest) -> None:
        if update.number == 200:
            in_the_middle.set()

    sandbox.faults = look
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bulkredeem", "run", str(write_csv(rows_of(600, customers=250))), "--rate", "40/s"),
        env={**os.environ, **environment_for(sandbox)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    reading = asyncio.create_task(process.communicate())
    await in_the_middle.wait()
    await sandbox.stop()
    applied = len(sandbox.applied)
    await asyncio.sleep(MINUTE)
    assert len(sandbox.applied) == applied
    await sandbox.start()
    _, said = await reading

    assert (process.returncode, sandbox.overlaps) == (0, 0), said.decode()
    folder = Path("reports/latest")
    told = [json.loads(line) for line in (folder / "run.log").read_text().splitlines()]
    assert [each["event"] for each in told if "outage" in each["event"]] == ["outage_began", "outage_ended"]
    assert Counter(each["status"] for each in told if each["event"] == "outcome") == {"success": 600}
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["counts"]["success"], summary["state"], summary["exit_code"]) == (600, "finished", 0)
    assert {each.identifier for each in sandbox.applied} == {f"AB{number:04}" for number in range(600)}


KINDS = {
    "reset before applying": Fault(then=Then.RESET),
    "reset after applying": Fault(apply=True, then=Then.RESET),
    "hang": Fault(apply=True, then=Then.HANG),
    "HTML 502": Fault(status=502, headers={"Content-Type": "text/html"}, body=b"<html>Bad Gateway</html>"),
    "500 with a code": Fault.error(status=500, code=500, apply=True),
    "200 with code 500": Fault.error(status=200, code=500),
    "503 with Retry-After": Fault(status=503, headers={"Retry-After": "2"}),
    "503 with code 4001": Fault.error(status=503, code=4001),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_an_outage_of_any_kind(
    kind: str, write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """However the platform is gone, its tries are excused: rows with more of them than allowed succeed in the end.

    Three rows at once share 16 tries in vain, so that one of them has six at least, and five are allowed.
    """
    sandbox.faults = Gone(fault=KINDS[kind], first=21, updates=16)
    watcher = Watcher()
    settings = configure(sandbox, max_workers=3, timeout=0.4 if kind == "hang" else 60.0)
    run = await run_file(write_csv(rows_of(60, customers=25)), settings, hurried(watcher))
    assert_all_done(run, sandbox, 60)
    assert sandbox.requests == 60 + 16 == sum(int(line["attempts"]) for line in lines_of(run))
    assert max(int(line["attempts"]) for line in lines_of(run)) > settings.max_attempts
    assert watcher.outages == [True, False]


async def test_a_blip_is_no_outage(write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox) -> None:
    """Nine tries in vain, one after another, are made good by the rows themselves, and nobody is told."""
    sandbox.faults = Gone(fault=Fault(then=Then.RESET), first=21, updates=TRIES - 1)
    watcher = Watcher()
    run = await run_file(write_csv(rows_of(60)), configure(sandbox, max_workers=3), hurried(watcher))
    assert_all_done(run, sandbox, 60)
    assert (sandbox.requests, watcher.outages) == (60 + TRIES - 1, [])


async def test_what_went_unanswered_is_forgotten(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """Rows that used up all their tries during an outage have as many as ever when the platform is back, and busy."""
    gone = Gone(fault=Fault(then=Then.RESET), first=21, updates=16)
    busy = Fault.error(status=400, code=521)
    met: Counter[str] = Counter()
    later: Counter[str] = Counter()

    def fault_of(update: UpdateRequest) -> Fault | None:
        fault = gone(update)
        counted = met if fault else later
        counted[update.identifier] += 1
        return fault or (busy if met[update.identifier] and later[update.identifier] < 5 else None)

    sandbox.faults = fault_of
    watcher = Watcher()
    settings = configure(sandbox, max_workers=3)
    run = await run_file(write_csv(rows_of(60)), settings, hurried(watcher))
    assert_all_done(run, sandbox, 60)
    assert watcher.outages == [True, False]
    assert max(met.values()) > settings.max_attempts
    attempts = {line["redemptionId"]: int(line["attempts"]) for line in lines_of(run)}
    assert attempts == {name: met[name] + 5 if met[name] else 1 for name in attempts}


async def test_two_outages_in_one_run(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """What comes back may go again: each outage is told, and excuses its own tries."""
    first = Gone(fault=Fault(then=Then.RESET), first=21, updates=16)
    second = Gone(fault=Fault(then=Then.RESET), first=60, updates=16)
    sandbox.faults = lambda update: first(update) or second(update)
    watcher = Watcher()
    run = await run_file(write_csv(rows_of(80)), configure(sandbox, max_workers=3), hurried(watcher))
    assert_all_done(run, sandbox, 80)
    assert (sandbox.requests, watcher.outages) == (80 + 32, [True, False, True, False])


@pytest.mark.parametrize(("left", "max_attempts"), [(2, 5), (1, 20)])
async def test_an_outage_with_few_rows_left(
    left: int, max_attempts: int, write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """When fewer than three rows remain, all that remain are enough to tell an outage, if they have ten tries."""
    sandbox.faults = Gone(fault=Fault(then=Then.RESET), first=21 - left, updates=16)
    watcher = Watcher()
    settings = configure(sandbox, max_workers=1, max_attempts=max_attempts)
    run = await run_file(write_csv(rows_of(20)), settings, hurried(watcher))
    assert_all_done(run, sandbox, 20)
    assert (sandbox.requests, watcher.outages) == (20 + 16, [True, False])


async def test_probes_go_one_at_a_time(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """During an outage nothing is under way beside the probe; when it is over, all eight workers are back.

    Ten tries declare it, and seven more may be under way then: what comes behind those is a probe, up to the one that
    finds the platform back. The updates after it are held until eight are under way.
    """
    gone = Gone(fault=Fault(then=Then.RESET), first=21, updates=28)
    probes = range(gone.first + 20, gone.first + gone.updates + 1)
    all_are_back = asyncio.Event()
    under_way: set[int] = set()
    beside: dict[int, int] = {}
    newest = 0

    def fault_of(update: UpdateRequest) -> Fault | None:
        nonlocal newest
        newest = update.number
        return gone(update)

    async def work(seconds: float) -> None:
        number = newest
        under_way.add(number)
        beside[number] = len(under_way)
        await asyncio.sleep(seconds)
        if number > probes[-1]:
            if len(under_way) == 8:
                all_are_back.set()
            await all_are_back.wait()
        under_way.discard(number)

    sandbox.faults, sandbox.sleep, sandbox.latency = fault_of, work, 0.01
    watcher = Watcher()
    run = await run_file(write_csv(rows_of(80)), configure(sandbox, max_workers=8), hurried(watcher))
    assert_all_done(run, sandbox, 80)
    assert watcher.outages == [True, False]
    assert [beside[number] for number in probes] == [1] * 9
    assert all_are_back.is_set()
    assert max(beside.values()) == 8


# One try only


async def test_one_try_is_enough_although_the_platform_is_not_there_at_first(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """With `--max-attempts 1` and nobody listening when the run starts, no row is given up: all of them wait."""
    tasks: list[asyncio.Task[None]] = []
    watcher = Watcher(on_outage=lambda: tasks.append(asyncio.create_task(sandbox.start())))
    settings = configure(sandbox, max_attempts=1)
    await sandbox.stop()
    run = await run_file(write_csv(rows_of(50)), settings, hurried(watcher))
    await tasks.pop()
    assert_all_done(run, sandbox, 50)
    assert watcher.outages == [True, False]


@pytest.mark.parametrize("kind", ["reset before applying", "HTML 502", "503 with code 4001"])
async def test_one_try_is_enough_in_the_middle(
    kind: str, write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """With `--max-attempts 1` a row whose only try met the outage is not given up before it is known to be one."""
    sandbox.faults = Gone(fault=KINDS[kind], first=21, updates=16)
    watcher = Watcher()
    settings = configure(sandbox, max_attempts=1, max_workers=1)
    run = await run_file(write_csv(rows_of(40)), settings, hurried(watcher))
    assert_all_done(run, sandbox, 40)
    assert (sandbox.requests, watcher.outages) == (40 + 16, [True, False])


# Longer than the run has patience for


async def test_an_outage_that_is_too_long(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """After `--outage-timeout` the run ends with 3, its other rows pending; `resume` does them, and only them."""
    tasks: list[asyncio.Task[None]] = []
    watcher = Watcher(at=30, act=lambda: tasks.append(asyncio.create_task(sandbox.stop())))
    settings = configure(sandbox, max_workers=4, outage_timeout="0.3s")
    stopped = await run_file(write_csv(rows_of(100)), settings, hurried(watcher))
    await tasks.pop()

    done = len(sandbox.applied)
    assert stopped.exit_code is ExitCode.STOPPED_EARLY
    assert watcher.outages == [True]
    counts = stopped.summary.counts
    assert (counts[Status.SUCCESS], counts[Status.PENDING]) == (len(watcher.seen), 100 - len(watcher.seen))
    assert 30 <= len(watcher.seen) <= done
    assert stopped.summary.ending is not None
    assert stopped.summary.ending.state == "stopped"
    assert "--outage-timeout" in stopped.summary.ending.stop_reason

    await sandbox.start()
    run = await resume_run(stopped.folder, settings, {}, hurried(Watcher()))
    assert_all_done(run, sandbox, 100)
    assert len(sandbox.applied) - done == 100 - len(watcher.seen)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        pytest.param(Fault(status=429, headers={"Retry-After": "3600"}), "", id="429"),
        pytest.param(Fault(status=503, headers={"Retry-After": "3600"}), "SENT_BEFORE", id="503"),
        pytest.param(Fault(status=500, headers={"Retry-After": "3600"}), "SENT_BEFORE", id="500"),
    ],
)
async def test_a_wait_that_is_too_long_ends_the_run_at_once(
    fault: Fault, code: str, write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """A `Retry-After` of an hour, with fifteen minutes of patience: exit 3 without another request, the rest pending.

    Of the row that was told so it is known whether it may be applied.
    """
    sandbox.faults = Gone(fault=fault, first=6, updates=1)
    watcher = Watcher()
    run = await run_file(write_csv(rows_of(40)), configure(sandbox, max_workers=1), hurried(watcher))
    assert run.exit_code is ExitCode.STOPPED_EARLY
    assert (sandbox.requests, len(sandbox.applied)) == (6, 5)
    told = [(line["status"], line["error_code"]) for line in lines_of(run)]
    assert told == [("success", "")] * 5 + [("pending", code)] + [("pending", "")] * 34
    assert run.summary.ending is not None
    assert "asks to wait 3,600 s" in run.summary.ending.stop_reason
    assert (watcher.outages, watcher.pauses) == ([], [])


async def test_a_wait_that_is_not_too_long_is_waited_for(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """A `Retry-After` of five minutes is told, waited for by all, and costs no row anything."""
    sandbox.faults = Gone(fault=Fault(status=429, headers={"Retry-After": "300"}), first=6, updates=1)
    watcher = Watcher()
    settings = configure(sandbox, max_workers=1, max_attempts=1)
    run = await run_file(write_csv(rows_of(40)), settings, hurried(watcher))
    assert_all_done(run, sandbox, 40)
    assert sandbox.requests == 41
    assert watcher.pauses == pytest.approx([300.0])


# Some rows, and not the platform


def for_some(fault: Fault, *, times: int, some: Sequence[str]) -> Callable[[UpdateRequest], Fault | None]:
    """Return a hook that gives some redemptions a fault so often, and lets all others pass."""
    return lambda update: fault if update.identifier in some and update.attempt <= times else None


@pytest.mark.parametrize("retry_after", [None, "0", "1"])
async def test_throttling_of_some_rows_fails_none(
    retry_after: str | None, write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """Ten rows are throttled five times each, while the others are answered: with one try allowed, all succeed."""
    some = [f"AB{number:04}" for number in range(5, 100, 10)]
    fault = Fault(status=429, headers={} if retry_after is None else {"Retry-After": retry_after})
    sandbox.faults = for_some(fault, times=5, some=some)
    watcher = Watcher()
    run = await run_file(write_csv(rows_of(100)), configure(sandbox, max_attempts=1), hurried(watcher))
    assert_all_done(run, sandbox, 100)
    attempts = {line["redemptionId"]: line["attempts"] for line in lines_of(run)}
    assert attempts == {name: "6" if name in some else "1" for name in attempts}
    assert watcher.outages == []


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        pytest.param(Fault(then=Then.RESET), Status.IN_DOUBT, "CONNECTION_LOST", id="reset"),
        pytest.param(Fault.error(status=500, code=500), Status.IN_DOUBT, "500", id="500"),
        pytest.param(Fault.error(status=503, code=4001), Status.FAILED, "4001", id="503 with code 4001"),
        pytest.param(Fault.error(status=400, code=521), Status.FAILED, "521", id="busy"),
    ],
)
@pytest.mark.parametrize("max_attempts", [1, 5])
async def test_a_sick_row_ends_after_its_tries(
    fault: Fault,
    status: Status,
    code: str,
    max_attempts: int,
    write_csv: WriteCsv,
    configure: Callable[..., Settings],
    sandbox: Sandbox,
) -> None:
    """A row that never succeeds does not hold the run up: exactly as many tries as allowed, and 99 successes."""
    sandbox.faults = for_some(fault, times=1000, some=["AB0040"])
    watcher = Watcher()
    settings = configure(sandbox, max_attempts=max_attempts, max_workers=8)
    run = await run_file(write_csv(rows_of(100)), settings, hurried(watcher))
    assert run.exit_code is ExitCode.NOT_ALL_DONE
    sick = lines_of(run)[40]
    assert (sick["redemptionId"], sick["status"], sick["error_code"]) == ("AB0040", status, code)
    assert sick["attempts"] == str(max_attempts)
    assert run.summary.counts[Status.SUCCESS] == len(sandbox.applied) == 99
    assert watcher.outages == []
