"""Whole runs in one process, against the sandbox: the counts are true, and every ending is told."""

from __future__ import annotations

import asyncio
import csv
import json
import random
import shutil
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from bulkredeem.application import Run, Start, Terms, check_file, run_file
from bulkredeem.application.recorder import COMMIT_ROWS, Recorder
from bulkredeem.errors import (
    ConfigurationError,
    ExitCode,
    InputFileError,
    JournalError,
    ReportsFolderError,
    SignalledError,
    Stopping,
)
from bulkredeem.journal import Journal
from bulkredeem.model import Ceiling, Invalid, Outcome, Problem, Rate, Status
from bulkredeem.pace import Pace
from bulkredeem.processor import Stop
from bulkredeem.runlog import RunLog
from bulkredeem.sandbox import Fault, Sandbox, script
from bulkredeem.settings import Settings, load_settings

WriteCsv = Callable[..., Path]
Fields = Mapping[str, Any]
"""What an update sets."""
HEADER = ["redemptionId", "billNumber", "identifierValue"]
PASSWORD = "quiet-Otter-42"


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
        monkeypatch.setenv("BULKREDEEM_BASE_URL", sandbox.base_url)
        monkeypatch.setenv("BULKREDEEM_USERNAME", sandbox.username)
        monkeypatch.setenv("BULKREDEEM_PASSWORD", PASSWORD)
        return load_settings({"rate": "none", **flags})

    return settings_for


@dataclass(kw_only=True)
class Watcher:
    """An observer that remembers, and does what it is told when so many rows are recorded."""

    at: int = -1
    """After how many recorded rows `act` is called; -1 is never, 0 when the run starts."""
    act: Callable[[Start], None] = lambda _: None
    start: Start | None = None
    pauses: list[float] = field(default_factory=list)
    outages: list[bool] = field(default_factory=list)
    """True for each that began, False for each that ended."""
    seen: list[Outcome] = field(default_factory=list)
    delivered_after: int | None = None
    """How many rows were recorded when the reports began; None if they never did."""

    def started(self, start: Start) -> None:
        """Remember the run."""
        self.start = start
        self._act_if_due()

    def recorded(self, outcome: Outcome) -> None:
        """Remember the row."""
        self.seen.append(outcome)
        self._act_if_due()

    def paused(self, seconds: float) -> None:
        """Remember for how long."""
        self.pauses.append(seconds)

    def remark(self, sentence: str) -> None:
        """Pass over a remark."""

    def outage(self, begins: bool) -> None:  # noqa: FBT001  the protocol's
        """Remember that it began, or ended."""
        self.outages.append(begins)

    def delivered(self) -> None:
        """Remember that nothing is sent any more."""
        self.delivered_after = len(self.seen)

    def _act_if_due(self) -> None:
        if len(self.seen) == self.at and self.start:
            self.act(self.start)


def good_rows(count: int) -> list[list[str]]:
    """Return a file of so many rows, each of a redemption and a customer of its own."""
    return [HEADER, *([f"AB{number:04}", f"B-{number}", f"9199{number:08}"] for number in range(count))]


def results_of(run: Run, name: str = "results.csv") -> list[dict[str, str]]:
    """Read a report as a program does."""
    with (run.folder / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def pending(run: Run) -> list[dict[str, str]]:
    """Return the lines of the rows that have no outcome."""
    return [line for line in results_of(run) if line["status"] == "pending"]


def summary_of(folder: Path) -> dict[str, Any]:
    """Read `summary.json` as a program does."""
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return found


def folders() -> list[Path]:
    """Return the folders of all runs there were."""
    return [each for each in Path("reports").glob("*-*") if not each.is_symlink()]


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came about")


def assert_reports_agree(run: Run, rows: int, *, looks_dead: bool = False) -> None:
    """Check that counts, both reports, the summary and the journal tell the same, and that nothing else is left.

    A journal that did not take the last outcomes must not tell of an ending: then the run `looks_dead`.
    """
    told = Counter(line["status"] for line in results_of(run))
    assert sum(told.values()) == rows
    assert {str(status): told.get(status, 0) for status in Status} == summary_of(run.folder)["counts"]
    assert {str(status): count for status, count in run.summary.counts.items()} == summary_of(run.folder)["counts"]
    open_rows = [line["row_number"] for line in results_of(run) if line["status"] not in {"success", "skipped"}]
    assert [line["row_number"] for line in results_of(run, "not_done.csv")] == open_rows
    assert summary_of(run.folder)["exit_code"] == run.exit_code
    journal = Journal.open_existing(run.folder / "journal.sqlite")
    recorded = {str(outcome.row_number): str(outcome.status) for outcome in journal.outcomes()}
    head = journal.head()
    journal.close()
    assert recorded == {line["row_number"]: line["status"] for line in results_of(run) if line["status"] != "pending"}
    if looks_dead:
        assert (head["state"], head.get("exit_code")) == ("running", None)
    else:
        assert (head["state"], int(head["exit_code"])) == (summary_of(run.folder)["state"], run.exit_code)
    assert sorted(each.name for each in run.folder.iterdir()) == [
        "input.csv",
        "journal.sqlite",
        "not_done.csv",
        "report.html",
        "results.csv",
        "run.lock",
        "run.log",
        "summary.json",
    ]


def generated(rows: int, seed: int) -> list[list[str]]:
    """Return a file of invented rows: several per customer and per redemption, some unknown, some invalid."""
    chance = random.Random(seed)  # noqa: S311  a test, not a secret
    lines = [["redemptionId", "billNumber", "billId", "purpose", "customFields.card", "identifierValue", "store"]]
    for number in range(rows):
        redemption = f"R{chance.randrange(rows):05}"
        if chance.random() < 0.02:
            redemption = chance.choice(["NOPE", "GONE"]) + redemption
        bill_id = chance.choice(["", str(2**63 - 1 - number), "12345.0" if chance.random() < 0.1 else "7"])
        customer = "" if chance.random() < 0.02 else f"9199{chance.randrange(rows // 4):08}"
        purpose = f"mended {number}" if chance.random() < 0.5 else ""
        lines.append([redemption, f"B-{number:05}", bill_id, purpose, f"c{number}", customer, f"Kiosk {number % 7}"])
    return lines


async def test_the_counts_are_what_the_platform_applied(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """Of 2,000 rows, with a share going wrong on the way: each success is applied as it stands, in order, no other is.

    Rows of one customer and of one redemption never overlap, the counts add up to the rows, and every request counts.
    """
    rows = generated(2000, seed=7)
    sandbox.fail_ratio, sandbox.seed, sandbox.latency = 0.05, 3, 0.002
    watcher = Watcher()
    run = await run_file(write_csv(rows), configure(sandbox), Terms(stop=Stop(), observer=watcher))

    assert run.exit_code is ExitCode.NOT_ALL_DONE
    assert_reports_agree(run, 2000)
    counts = run.summary.counts
    assert sum(counts.values()) == run.summary.info.rows == 2000
    assert min(counts[Status.SUCCESS], counts[Status.INVALID], counts[Status.REFUSED]) > 0
    assert counts[Status.PENDING] == 0
    assert run.summary.ending is not None
    assert run.summary.ending.requests == sandbox.requests
    assert sandbox.requests > counts[Status.SUCCESS] + counts[Status.REFUSED], "nothing was repeated: no rehearsal"
    assert sandbox.overlaps == 0
    assert watcher.delivered_after == 2000

    lines = results_of(run)
    assert [[line[name] for name in rows[0]] for line in lines] == rows[1:]
    wanted: dict[str, list[Fields]] = defaultdict(list)
    possible: dict[str, list[Fields]] = defaultdict(list)
    for line in lines:
        if line["status"] == "success":
            wanted[line["redemptionId"]].append(fields_of(line))
        if line["status"] in {"success", "in_doubt"}:
            possible[line["redemptionId"]].append(fields_of(line))
    assert sandbox.redemptions.keys() == wanted.keys() | {each.identifier for each in sandbox.applied}
    applied: dict[str, list[Fields]] = defaultdict(list)
    for each in sandbox.applied:
        applied[each.identifier].append(each.fields)
    for redemption, updates in applied.items():
        once = [update for update, _ in groupby(updates)]
        assert [update for update in once if update in wanted[redemption]] == wanted[redemption]
        assert all(update in possible[redemption] for update in once)
    for redemption, updates in wanted.items():
        now = sandbox.redemptions[redemption]
        if len(possible[redemption]) == len(updates):
            assert (now.bill_number, now.custom_fields) == (updates[-1]["billNumber"], updates[-1]["customFields"])


def fields_of(line: dict[str, str]) -> Fields:
    """Return what a row of `generated` sets, as the request names it."""
    fields = {
        "billNumber": line["billNumber"],
        "billId": int(line["billId"]) if line["billId"] else None,
        "purpose": line["purpose"],
        "customFields": {"card": line["customFields.card"]},
    }
    return {name: value for name, value in fields.items() if value}


async def test_the_rate_keeps_within_the_limit(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """A rate as high as the platform's limit is never throttled, not even at its start.

    The sandbox's second is 20% shorter than ours, because on a busy machine a timer is late at times.
    """
    sandbox.limit = Rate.parse("40/s")
    sandbox.clock = lambda: time.monotonic() * 1.2
    run = await run_file(
        write_csv(good_rows(80)), configure(sandbox, rate="40/s"), Terms(stop=Stop(), observer=Watcher())
    )
    assert run.exit_code is ExitCode.DONE
    assert (sandbox.throttled, sandbox.requests) == (0, 80)


async def test_runs_of_one_key_share_its_pace(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """A second file does not begin with a slot of its own: the limit belongs to the key, not to the file."""
    now = 0.0

    async def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    pace = Pace(Ceiling.parse("1/hour"), clock=lambda: now, sleep=pass_time)
    for _ in range(2):
        terms = Terms(stop=Stop(), observer=Watcher(), pace=pace)
        await run_file(write_csv(good_rows(1)), configure(sandbox, resend=True), terms)
    assert now >= 3600


async def test_without_a_rate_the_limit_is_hit_and_the_rows_succeed(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """Throttled requests are counted as requests and cost no row its success: the run waits as it is told."""
    sandbox.limit = Rate.parse("40/s")
    run = await run_file(
        write_csv(good_rows(60)), configure(sandbox, max_attempts=1), Terms(stop=Stop(), observer=Watcher())
    )
    assert run.exit_code is ExitCode.DONE
    assert sandbox.throttled > 0
    assert summary_of(run.folder)["requests"] == sandbox.requests == 60 + sandbox.throttled
    assert sum(int(line["attempts"]) for line in results_of(run)) == sandbox.requests


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"password": "another"}, "401"), ({"permitted": False}, "4000")],
    ids=["401", "403 with code 4000"],
)
async def test_refused_access_is_tried_once(
    write_csv: WriteCsv,
    configure: Callable[..., Settings],
    sandbox: Sandbox,
    changes: dict[str, Any],
    reason: str,
) -> None:
    """With wrong credentials one request goes out, and not one per worker; all rows are pending, and the exit is 4."""
    for name, value in changes.items():
        setattr(sandbox, name, value)
    run = await run_file(write_csv(good_rows(50)), configure(sandbox), Terms(stop=Stop(), observer=Watcher()))
    assert run.exit_code is ExitCode.ACCESS_REFUSED
    assert sandbox.requests == 1
    assert_reports_agree(run, 50)
    assert run.summary.counts[Status.PENDING] == 50
    summary = summary_of(run.folder)
    assert (summary["state"], summary["requests"]) == ("stopped", 1)
    assert reason in summary["stop_reason"]


async def test_access_refused_in_the_middle_keeps_what_was_done(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """When a permission is taken away during a run, the rows before it stay done and those after it are pending."""

    def take_away(_: Start) -> None:
        sandbox.permitted = False

    watcher = Watcher(at=20, act=take_away)
    run = await run_file(write_csv(good_rows(100)), configure(sandbox), Terms(stop=Stop(), observer=watcher))
    assert run.exit_code is ExitCode.ACCESS_REFUSED
    assert_reports_agree(run, 100)
    assert run.summary.counts[Status.SUCCESS] == len(sandbox.applied) >= 20
    assert run.summary.counts[Status.PENDING] == 100 - len(sandbox.applied)


async def test_a_stop_in_the_middle_drains(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """What is under way ends and is recorded, the rest is pending, the reports are written, and the exit is 3."""
    stop = Stop()
    sandbox.latency = 0.01
    watcher = Watcher(at=10, act=lambda _: stop.request(SignalledError("SIGTERM")))
    run = await run_file(
        write_csv(good_rows(200)), configure(sandbox, max_workers=8), Terms(stop=stop, observer=watcher)
    )
    assert run.exit_code is ExitCode.STOPPED_EARLY
    assert_reports_agree(run, 200)
    assert 10 <= run.summary.counts[Status.SUCCESS] == len(sandbox.applied) <= 18
    assert summary_of(run.folder)["stop_reason"] == "SIGTERM"
    assert {line["status"] for line in results_of(run)} == {"success", "pending"}


async def test_a_stop_wakes_a_run_that_waits_for_the_platform(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """A run that was asked to wait for an hour stops at once: its row is pending, nothing was applied."""
    stop = Stop()
    sandbox.faults = script({"AB0000": [Fault(status=429, headers={"Retry-After": "3600"}, body=b"{}")] * 9})
    watcher = Watcher()
    running = asyncio.create_task(
        run_file(write_csv(good_rows(3)), configure(sandbox, outage_timeout="2h"), Terms(stop=stop, observer=watcher))
    )
    async with asyncio.timeout(10):
        await until(lambda: watcher.start and watcher.start.live.paused_for() > 3000)
        assert watcher.start is not None
        assert watcher.start.live.requests() == 1
        stop.request(SignalledError("Ctrl-C"))
        run = await running
    assert run.exit_code is ExitCode.STOPPED_EARLY
    assert_reports_agree(run, 3)
    assert run.summary.counts[Status.PENDING] == 3
    assert watcher.pauses == [pytest.approx(3600.0, abs=1.0)]
    assert '"event":"paused"' in (run.folder / "run.log").read_text()


async def test_a_stop_after_the_last_row_stopped_nothing(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """Who presses Ctrl-C while the last row is being recorded gets the run's own exit code."""
    stop = Stop()
    watcher = Watcher(at=5, act=lambda _: stop.request(SignalledError("Ctrl-C")))
    run = await run_file(write_csv(good_rows(5)), configure(sandbox), Terms(stop=stop, observer=watcher))
    assert run.exit_code is ExitCode.DONE
    assert_reports_agree(run, 5)
    assert (summary_of(run.folder)["state"], summary_of(run.folder)["stop_reason"]) == ("finished", None)


async def test_a_stop_before_the_first_row_leaves_nothing(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """A run that is stopped while it reads its file sends nothing and leaves no folder."""
    stop = Stop()
    stop.request(SignalledError("Ctrl-C"))
    with pytest.raises(Stopping):
        await run_file(write_csv(good_rows(5)), configure(sandbox), Terms(stop=stop, observer=Watcher()))
    assert sandbox.requests == 0
    assert folders() == []


@pytest.mark.parametrize("requested", [True, False], ids=["second Ctrl-C", "cancelled by who called us"])
async def test_a_cancelled_run_writes_its_summary(
    write_csv: WriteCsv,
    configure: Callable[..., Settings],
    sandbox: Sandbox,
    requested: bool,  # noqa: FBT001  parametrised
) -> None:
    """At once means: no reports, but a journal with what was recorded and a summary that says `stopped` and 130."""
    stop = Stop()
    sandbox.faults = lambda update: Fault(chunk_delay=9.0, apply=True) if update.number > 10 else None
    reached = asyncio.Event()
    watcher = Watcher(at=10, act=lambda _: reached.set())
    running = asyncio.create_task(
        run_file(write_csv(good_rows(50)), configure(sandbox), Terms(stop=stop, observer=watcher))
    )
    await reached.wait()
    if requested:
        stop.request(SignalledError("Ctrl-C"))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (folder,) = folders()
    summary = summary_of(folder)
    assert (summary["state"], summary["exit_code"]) == ("stopped", 130)
    assert summary["stop_reason"] == ("Ctrl-C" if requested else "cancelled")
    assert (summary["counts"]["success"], summary["counts"]["pending"]) == (10, 40)
    kept = ["input.csv", "journal.sqlite", "run.lock", "run.log", "summary.json"]
    assert sorted(each.name for each in folder.iterdir()) == kept
    journal = Journal.open_existing(folder / "journal.sqlite")
    assert len(list(journal.outcomes())) == 10
    assert journal.head()["exit_code"] == "130"
    journal.close()


async def test_a_run_cancelled_while_it_reports_leaves_no_half_report(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """A second Ctrl-C during the writing of reports ends it between two rows; the summary counts all the same."""

    class Impatient(Watcher):
        def delivered(self) -> None:
            asyncio.get_running_loop().call_soon(running.cancel)

    rows = write_csv(good_rows(300))
    running = asyncio.create_task(run_file(rows, configure(sandbox), Terms(stop=Stop(), observer=Impatient())))
    with pytest.raises(asyncio.CancelledError):
        await running
    await asyncio.get_running_loop().shutdown_default_executor()
    (folder,) = folders()
    summary = summary_of(folder)
    assert (summary["state"], summary["exit_code"], summary["counts"]["success"]) == ("stopped", 130, 300)
    assert not [each for each in folder.iterdir() if each.name.endswith(".part")]


class Clumsy(Watcher):
    """An observer that breaks."""

    def delivered(self) -> None:
        """Break when nothing is sent any more, if `at` says never."""
        if self.at < 0:
            self.act(self.start)  # type: ignore[arg-type]  # it breaks whatever it is given


@pytest.mark.parametrize(
    ("at", "pending"), [(0, {20}), (1, {19}), (8, set(range(13))), (-1, {0})], ids=["start", "first", "later", "end"]
)
async def test_an_error_of_ours_is_70(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox, at: int, pending: set[int]
) -> None:
    """Wherever something unforeseen breaks, the requests end, reports and summary are written, and run.log says where.

    Neither the log nor the summary repeats the error's own words, which may quote a row.
    """

    def breaks(_: Start) -> None:
        customer = "919900000001"
        raise RuntimeError(customer)

    run = await run_file(
        write_csv(good_rows(20)), configure(sandbox), Terms(stop=Stop(), observer=Clumsy(at=at, act=breaks))
    )
    assert run.exit_code is ExitCode.INTERNAL_ERROR
    assert_reports_agree(run, 20)
    assert run.summary.counts[Status.SUCCESS] == len(sandbox.applied)
    assert run.summary.counts[Status.PENDING] in pending
    assert summary_of(run.folder)["stop_reason"] == "an error of ours (RuntimeError); run.log says where"
    log = (run.folder / "run.log").read_text()
    (failure,) = (json.loads(line) for line in log.splitlines() if "internal_error" in line)
    assert failure["error"] == "RuntimeError"
    assert failure["traceback"][-1].endswith(" breaks")
    assert "919900000001" not in log


async def test_a_snapshot_that_breaks_off_is_told(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """A record that cannot be read back is an error of ours: the process ends with 70 and the summary says so."""

    def damage(start: Start) -> None:
        with (start.folder / "input.csv").open("ab") as file:
            file.write(b'no number,,,,"R","B","1"\r\n')

    run = await run_file(
        write_csv(good_rows(20)), configure(sandbox), Terms(stop=Stop(), observer=Watcher(at=0, act=damage))
    )
    assert run.exit_code is ExitCode.INTERNAL_ERROR
    summary = summary_of(run.folder)
    assert (summary["state"], summary["exit_code"]) == ("stopped", 70)
    assert "no number" not in (run.folder / "run.log").read_text()
    assert not (run.folder / "results.csv").exists()


def refuse_inserts(start: Start) -> None:
    """Let SQLite refuse every further outcome, as it does when the disk is full."""
    connection = sqlite3.connect(start.folder / "journal.sqlite", timeout=30)
    connection.execute(
        "CREATE TRIGGER full BEFORE INSERT ON outcome BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    connection.close()


async def test_a_journal_that_fails_in_the_middle_stops_the_run(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """When outcomes cannot be made durable the run drains and says so; what was not recorded is pending, exit 3.

    The journal does not say how the run ended: whoever goes on with it must look upon those rows as sent.
    """
    sandbox.latency = 0.005
    watcher = Watcher(at=40, act=refuse_inserts)
    run = await run_file(
        write_csv(good_rows(2000)), configure(sandbox, max_workers=4), Terms(stop=Stop(), observer=watcher)
    )
    assert run.exit_code is ExitCode.STOPPED_EARLY
    assert_reports_agree(run, 2000, looks_dead=True)
    assert sandbox.requests < 1000, "it went on sending"
    assert len(sandbox.applied) >= run.summary.counts[Status.SUCCESS]
    assert run.summary.counts[Status.PENDING] > 1000
    assert "database or disk is full" in summary_of(run.folder)["stop_reason"]
    assert summary_of(run.folder)["requests"] == sandbox.requests
    lost = {str(outcome.row_number) for outcome in watcher.seen} & {line["row_number"] for line in pending(run)}
    assert lost
    assert {line["row_number"] for line in pending(run) if line["error_code"] == "SENT_BEFORE"} == lost


async def test_when_neither_journal_nor_reports_can_be_written_only_what_is_durable_counts(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """The summary claims no outcome that is lost with the process, although it was seen on the screen."""

    def refuse_everything(start: Start) -> None:
        refuse_inserts(start)
        (start.folder / ".results.csv.part").mkdir()

    sandbox.latency = 0.005
    watcher = Watcher(at=40, act=refuse_everything)
    run = await run_file(
        write_csv(good_rows(500)), configure(sandbox, max_workers=4), Terms(stop=Stop(), observer=watcher)
    )
    assert run.exit_code is ExitCode.STOPPED_EARLY
    journal = Journal.open_existing(run.folder / "journal.sqlite")
    recorded = len(list(journal.outcomes()))
    journal.close()
    counts = summary_of(run.folder)["counts"]
    assert recorded < len(watcher.seen)
    assert (counts["success"], counts["pending"]) == (recorded, 500 - recorded)


async def test_a_journal_that_cannot_take_the_ending_is_told_by_the_summary(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """When only the ending does not go into the journal, the summary is written all the same and says why."""

    def refuse_notes(start: Start) -> None:
        connection = sqlite3.connect(start.folder / "journal.sqlite", timeout=30)
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON head WHEN NEW.key = 'state'"
            " BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
        connection.close()

    watcher = Watcher(at=0, act=refuse_notes)
    run = await run_file(write_csv(good_rows(3)), configure(sandbox), Terms(stop=Stop(), observer=watcher))
    assert run.exit_code is ExitCode.STOPPED_EARLY
    summary = summary_of(run.folder)
    assert (summary["state"], summary["exit_code"], summary["counts"]["success"]) == ("stopped", 3, 3)
    assert "disk is full" in summary["stop_reason"]
    assert len(results_of(run)) == 3


async def test_a_report_that_cannot_be_written_is_told(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """Rows are done, a report is not: exit 3, the counts as they are, and the summary names the file."""

    def block(start: Start) -> None:
        (start.folder / ".not_done.csv.part").mkdir()

    run = await run_file(
        write_csv(good_rows(3)), configure(sandbox), Terms(stop=Stop(), observer=Watcher(at=0, act=block))
    )
    assert run.exit_code is ExitCode.STOPPED_EARLY
    summary = summary_of(run.folder)
    assert summary["counts"]["success"] == 3
    assert "not_done.csv could not be written: Is a directory" in summary["stop_reason"]


async def test_a_run_folder_that_vanishes_is_told(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """Who deletes the folder under a run gets exit 3 and a sentence, not a traceback."""
    watcher = Watcher(at=10, act=lambda start: shutil.rmtree(start.folder))
    run = await run_file(write_csv(good_rows(50)), configure(sandbox), Terms(stop=Stop(), observer=watcher))
    assert run.exit_code is ExitCode.STOPPED_EARLY
    assert run.summary.ending is not None
    assert run.summary.ending.stop_reason
    assert not run.folder.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "cannot be read: No such file", id="no file"),
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"PK\x03\x04xx", "begins like a workbook or a zip archive", id="a workbook"),
        pytest.param(b"a,b\n1,2\n", "There is no column for", id="no usable column"),
    ],
)
async def test_a_file_that_cannot_be_used_leaves_nothing(
    tmp_path: Path, configure: Callable[..., Settings], sandbox: Sandbox, content: bytes | None, said: str
) -> None:
    """An unusable file is one sentence before anything is sent, and no folder is left behind."""
    path = tmp_path / "f.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputFileError, match=said):
        await run_file(path, configure(sandbox), Terms(stop=Stop(), observer=Watcher()))
    assert sandbox.requests == 0
    assert folders() == []


async def test_a_reports_folder_that_cannot_be_is_said(
    tmp_path: Path, write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """A file in the place of the reports folder ends the run before anything is sent."""
    (tmp_path / "reports").touch()
    with pytest.raises(ReportsFolderError, match="Not a directory"):
        await run_file(write_csv(good_rows(1)), configure(sandbox), Terms(stop=Stop(), observer=Watcher()))
    assert sandbox.requests == 0


async def test_a_password_that_is_no_text_is_said_without_it(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password in another encoding is one sentence that does not hold it, nor does any error behind it."""
    configure(sandbox)
    monkeypatch.setenv("BULKREDEEM_PASSWORD", "hush\udce9")
    with pytest.raises(ConfigurationError, match="The user name or the password is not UTF-8 text") as caught:
        await run_file(write_csv(good_rows(1)), load_settings({}), Terms(stop=Stop(), observer=Watcher()))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_a_file_name_may_be_any_bytes(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """A name that is no UTF-8 is replaced where it is written down, and does not end the run."""
    odd = Path("odd-\udcff.csv")
    try:
        write_csv(good_rows(1)).rename(odd)
    except OSError:
        pytest.skip("this file system takes no such name")
    run = await run_file(odd, configure(sandbox), Terms(stop=Stop(), observer=Watcher()))
    assert run.exit_code is ExitCode.DONE
    assert summary_of(run.folder)["input"]["path"] == "odd-\ufffd.csv"


@pytest.mark.parametrize(
    ("rows", "counted", "exit_code"),
    [
        ([], {}, ExitCode.DONE),
        ([["AB12CD", "B-1", "919900000001"]], {"success": 1}, ExitCode.DONE),
        ([["", "B-1", "919900000001"]], {"invalid": 1}, ExitCode.NOT_ALL_DONE),
        ([["NOPE01", "B-1", "919900000001"]], {"refused": 1}, ExitCode.NOT_ALL_DONE),
        ([["AB12CD", "B-1", "919900000001"], ["", "", ""], ["", "B", ""]], {"success": 1, "invalid": 1}, 1),
    ],
    ids=["headers only", "one good row", "one invalid row", "one refused row", "a good, a blank and an invalid row"],
)
async def test_the_smallest_files_end(
    write_csv: WriteCsv,
    configure: Callable[..., Settings],
    sandbox: Sandbox,
    rows: list[list[str]],
    counted: dict[str, int],
    exit_code: int,
) -> None:
    """A file with hardly anything in it comes to its end like any other, with all its reports."""
    async with asyncio.timeout(10):
        run = await run_file(write_csv([HEADER, *rows]), configure(sandbox), Terms(stop=Stop(), observer=Watcher()))
    assert run.exit_code == exit_code
    assert_reports_agree(run, sum(counted.values()))
    assert {str(status): count for status, count in run.summary.counts.items() if count} == counted


async def test_a_file_full_of_one_customer_goes_through(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """More rows of one customer than may wait, with invalid ones between, are sent one after another, in order."""
    rows = [[f"R{number}", "" if number % 10 == 5 else f"B-{number}", "919900000001"] for number in range(1200)]
    run = await run_file(write_csv([HEADER, *rows]), configure(sandbox), Terms(stop=Stop(), observer=Watcher()))
    assert_reports_agree(run, 1200)
    assert sandbox.overlaps == 0
    assert [each.identifier for each in sandbox.applied] == [row[0] for row in rows if row[1]]


async def test_what_is_not_done_can_be_fed_back(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """`not_done.csv`, mended, is a file like any other: our columns are ignored, the user's own are as they were."""
    header = [*HEADER, "status", "note"]
    rows = [["AB12CD", "B-1", "+919900000001", "open", "=1"], ["NOPE", "B-2", "+919900000002", "open", "'=2"]]
    first = await run_file(write_csv([header, *rows]), configure(sandbox), Terms(stop=Stop(), observer=Watcher()))
    assert [line["status"] for line in results_of(first)] == ["success", "refused"]

    not_done = first.folder / "not_done.csv"
    not_done.write_bytes(not_done.read_bytes().replace(b"NOPE", b"EF34GH"))
    second = await run_file(not_done, configure(sandbox), Terms(stop=Stop(), observer=Watcher()))
    assert second.exit_code is ExitCode.DONE
    (line,) = results_of(second)
    assert (line["status"], line["input.status"], line["note"]) == ("success", "open", "''=2")
    assert line["identifierValue"] == "'+919900000002"
    assert sandbox.redemptions["EF34GH"].bill_number == "B-2"


async def test_no_secret_and_no_identifier_travels(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """Journal, reports and log hold no password; log and summary hold no identifier, also where the platform does."""
    quoting = Fault.error(status=400, code=750, message="no redemption AB0001 of 919900000001")
    sandbox.faults = script({"AB0001": [quoting]})
    run = await run_file(
        write_csv(good_rows(3)), configure(sandbox, log_level="debug"), Terms(stop=Stop(), observer=Watcher())
    )
    assert results_of(run)[1]["error_message"] == "no redemption AB0001 of 919900000001"
    for path in run.folder.iterdir():
        assert PASSWORD.encode() not in path.read_bytes()
    for name in ("run.log", "summary.json"):
        content = (run.folder / name).read_text()
        assert "AB0001" not in content
        assert "91990000000" not in content
    assert summary_of(run.folder)["top_errors"][0]["message"] == "no redemption <redemptionId> of <identifierValue>"


def test_a_check_finds_what_a_run_would(write_csv: WriteCsv) -> None:
    """Problems come by kind with their rows, warnings apart; nothing is sent, asked for or left behind."""
    rows = [
        ["AB12CD", "B-1", "919900000001"],
        ["", "", "919900000002"],
        ["EF34GH", "B-3", ""],
        ["GH56IJ", " B-4 ", "+91 99000 00004"],
        ["8.88E+05", "B-5", "919900000005"],
    ]
    path = write_csv([HEADER, *rows])
    report = check_file(path, load_settings({"rate": "60/min"}))
    assert (report.rows, report.sendable, report.exit_code) == (5, 2, ExitCode.NOT_ALL_DONE)
    assert {group.code: (group.count, group.example_rows) for group in report.problems} == {
        "749": (1, (3,)),
        "748": (1, (3,)),
        "1219": (1, (4,)),
        "SPREADSHEET_DAMAGE": (1, (6,)),
    }
    assert {group.example_rows for group in report.warnings} == {(5,)}
    assert report.seconds == pytest.approx(2, rel=0.01)
    assert report.columns.pairs() == [(name, name) for name in HEADER]
    assert list(Path.cwd().iterdir()) == [path]


def test_a_check_of_a_good_file_is_0(write_csv: WriteCsv) -> None:
    """When every row could be sent the exit code says so; without a rate no duration is told."""
    report = check_file(write_csv(good_rows(3)), load_settings({"rate": "none"}))
    assert (report.sendable, report.exit_code, report.seconds) == (3, ExitCode.DONE, None)
    assert report.problems == report.warnings == ()


@pytest.mark.parametrize(
    ("options", "fit", "deadline"),
    [
        ({"rate": "1/s"}, None, None),
        ({"rate": "none", "deadline": "1m"}, None, 1060.0),
        ({"rate": "1/s", "deadline": "20s"}, 20, 1020.0),
        ({"rate": "1/s", "deadline": "2h"}, 30, 8200.0),
        ({"rate": "1/hour", "deadline": "20s"}, 1, 1020.0),
    ],
    ids=["no deadline", "no rate", "some fit", "all fit", "one fits"],
)
def test_a_check_says_how_many_rows_fit_before_the_deadline(
    write_csv: WriteCsv, options: dict[str, Any], fit: int | None, deadline: float | None
) -> None:
    """Of the rows that could be sent, at the configured rate; without a rate or a deadline there is nothing to say."""
    path = write_csv([*good_rows(30), ["", "B-1", "919900000001"]])
    report = check_file(path, load_settings(options), wall_clock=lambda: 1000.0)
    assert (report.fit, report.deadline, report.sendable, report.rows) == (fit, deadline, 30, 31)


def test_a_check_knows_a_deadline_by_the_clock_on_the_wall(
    write_csv: WriteCsv, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A time of day is the next one that the local clock shows: today's, or tomorrow's when that is over."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        settings = load_settings({"rate": "1/min", "deadline": "06:00"})
        at_five, at_seven = 1_764_000_000.0 - 16 * 3600 - 30 * 60, 1_764_000_000.0 - 14 * 3600 - 30 * 60
        reports = [
            check_file(write_csv(good_rows(100)), settings, wall_clock=partial(float, now))
            for now in (at_five, at_seven)
        ]
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [report.deadline for report in reports] == [at_five + 3600, at_seven + 23 * 3600]
    assert [report.fit for report in reports] == [60, 100]


async def test_a_check_and_a_run_agree(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """What a check calls sendable is what a run sends."""
    path = write_csv(generated(300, seed=11))
    settings = configure(sandbox)
    report = check_file(path, settings)
    run = await run_file(path, settings, Terms(stop=Stop(), observer=Watcher()))
    assert report.rows - report.sendable == run.summary.counts[Status.INVALID] > 0
    assert sandbox.requests == report.sendable


class FailingJournal(Journal):
    """A journal whose commits fail, with an error of ours or another, from the start."""

    error: Exception = JournalError("the disk is full")
    commits = 0

    def write(self, *, reach: int | None = None) -> bool:  # noqa: ARG002  the journal's own
        """Fail."""
        self.commits += 1
        raise self.error


@pytest.fixture
def failing(tmp_path: Path) -> FailingJournal:
    """Give a journal that fails."""
    return FailingJournal(sqlite3.connect(":memory:", check_same_thread=False), tmp_path)


def recorder_of(journal: Journal, log: RunLog, **options: Any) -> Recorder:
    """Put a recorder together."""
    return Recorder(journal, log, **{"watch": lambda _: None, "wall_clock": lambda: 12.5, **options})


@pytest.mark.parametrize("error", [JournalError("the disk is full"), UnicodeError("no text")])
async def test_the_committer_tells_of_the_first_failure_and_ends(
    tmp_path: Path, failing: FailingJournal, error: Exception
) -> None:
    """Whatever a commit fails of, the run hears of it once; a committer that dies in silence would lose a whole run."""
    failing.error = error
    heard: list[Exception] = []
    with RunLog(tmp_path, run_id="r", level="info") as log:
        async with asyncio.timeout(5):
            await recorder_of(failing, log).keep_committing(heard.append)
    assert heard == [error]
    assert failing.commits == 1
    failing.close()


async def test_recording_waits_for_a_disk_that_falls_behind(
    tmp_path: Path, outcome: Callable[..., Outcome], failing: FailingJournal
) -> None:
    """With too many outcomes waiting, a worker commits itself, so that memory stays bounded and errors reach it."""
    with RunLog(tmp_path, run_id="r", level="error") as log:
        recorder = recorder_of(failing, log)
        for number in range(2, COMMIT_ROWS + 1):
            await recorder.record(outcome(number))
        with pytest.raises(JournalError):
            await recorder.record(outcome(COMMIT_ROWS + 1))
    failing.close()


async def test_an_outcome_is_durable_soon(tmp_path: Path, outcome: Callable[..., Outcome]) -> None:
    """An outcome goes into the journal within one interval, without anybody asking for it."""
    journal = Journal.create(tmp_path / "j", {})
    intervals: list[float] = []

    async def sleep(seconds: float) -> None:
        intervals.append(seconds)
        recorder.close()

    with RunLog(tmp_path, run_id="r", level="info") as log:
        recorder = recorder_of(journal, log, sleep=sleep)
        await recorder.record(outcome(2))
        await recorder.keep_committing(lambda exc: pytest.fail(str(exc)))
    assert intervals == [0.04]
    assert journal.waiting == 0
    assert list(journal.outcomes()) == [outcome(2)]
    journal.close()


async def test_all_problems_of_an_invalid_row_are_one_outcome(tmp_path: Path) -> None:
    """Codes and messages stand side by side; a problem's detail goes to the results, and not where a log may travel."""
    problems = (
        Problem(code="749", column="redemptionId", message="empty"),
        Problem(code="RAGGED_ROW", column="", message="a comma too many", detail="AB12CD,,,919900000001"),
    )
    journal = Journal.create(tmp_path / "j", {})
    with RunLog(tmp_path, run_id="r", level="info") as log:
        recorder = recorder_of(journal, log)
        await recorder.record(Invalid(row_number=7, problems=problems))
        await recorder.commit()
    (recorded,) = journal.outcomes()
    journal.close()
    assert recorded == Outcome(
        row_number=7,
        status=Status.INVALID,
        error_code="749; RAGGED_ROW",
        error_message="empty; a comma too many (AB12CD,,,919900000001)",
        reason="empty; a comma too many",
        finished_at=12.5,
    )
    assert recorder.tally.counts[Status.INVALID] == 1
    assert "919900000001" not in (tmp_path / "run.log").read_text()
