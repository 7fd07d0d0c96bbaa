"""Going on with a run: however it ended, what is settled stays, what is not is sent, and no verdict becomes false."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.application import Run, abandon_run, report_run, resume_run, retry_run, runs_in
from bulkredeem.application.retrying import Choice
from bulkredeem.errors import (
    BusyError,
    ConfigurationError,
    DeadlineError,
    ExitCode,
    JournalUnreadableError,
    OtherSystemError,
    RunNotFoundError,
    SignalledError,
    Stopping,
)
from bulkredeem.journal import Journal, RunLock, user_name
from bulkredeem.model import Status
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Fault, Then, UpdateRequest
from bulkredeem.summary import RunState

if TYPE_CHECKING:
    from tests.conftest import Rehearsal, Witness

pytestmark = pytest.mark.usefixtures("nothing_configured")

ROWS = 60
ALL_ROWS = set(range(2, ROWS + 2))
REPORTS = ("results.csv", "not_done.csv", "summary.json")
BUSY_CUSTOMER = Fault.error(status=400, code=521)
"""Surely not applied, and the platform is there: a row that meets only this is `failed`."""


def assert_all_done(rehearsal: Rehearsal, run: Run, settled: set[int]) -> None:
    """Check that the run is at its end with every row updated, and that of this stretch only what was open was sent."""
    assert run.exit_code is ExitCode.DONE
    assert Counter(rehearsal.rows_arrived) == Counter(ALL_ROWS - settled)
    assert rehearsal.verdicts(run.folder) == dict.fromkeys(ALL_ROWS, ("success", ""))
    assert rehearsal.verdicts(run.folder, "not_done.csv") == {}
    summary = rehearsal.summary(run.folder)
    assert (summary["state"], summary["exit_code"], summary["stop_reason"]) == ("finished", 0, None)
    assert summary["counts"] == {str(status): 0 for status in Status} | {"success": ROWS}
    assert summary["resumed_at"] is not None
    bills = {name: redemption.bill_number for name, redemption in rehearsal.sandbox.redemptions.items()}
    assert bills == {f"AB{row:04}": f"B-{row}" for row in ALL_ROWS}


def assert_counts_add_up(rehearsal: Rehearsal, folder: Path, rows: int = ROWS) -> None:
    """Check that every row has one verdict, and that summary and both reports tell the same."""
    verdicts = rehearsal.verdicts(folder)
    assert len(verdicts) == rows
    told = Counter(status for status, _ in verdicts.values())
    assert {name: count for name, count in rehearsal.summary(folder)["counts"].items() if count} == told
    still_open = {row: verdict for row, verdict in verdicts.items() if verdict[0] not in {"success", "skipped"}}
    assert rehearsal.verdicts(folder, "not_done.csv") == still_open


def tampered(folder: Path, *statements: str) -> None:
    """Change a journal behind its back."""
    with closing(sqlite3.connect(folder / "journal.sqlite")) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def reach_of(folder: Path) -> int:
    """Return the last row that a run may have sent."""
    with closing(Journal.open_existing(folder / "journal.sqlite")) as journal:
        return journal.reach


async def by_signal(rehearsal: Rehearsal) -> Run:
    """Stop a run as Ctrl-C does."""
    stop, watcher = Stop(), rehearsal.witness()
    watcher.when = lambda _: len(watcher.seen) == 10
    watcher.act = lambda _: stop.request(SignalledError("Ctrl-C"))
    return await rehearsal.run(rehearsal.file(ROWS), rehearsal.terms(watcher, stop=stop))


async def by_deadline(rehearsal: Rehearsal) -> Run:
    """Let the deadline come when ten rows are recorded."""
    watcher = rehearsal.witness()
    rehearsal.sandbox.latency = 0.02
    terms = rehearsal.terms(watcher, deadline=1000.05, wall_clock=lambda: 1000.0 if len(watcher.seen) < 10 else 1000.05)
    return await rehearsal.run(rehearsal.file(ROWS), terms)


async def by_outage(rehearsal: Rehearsal) -> Run:
    """Let the platform fail for everybody from the eleventh update on, for longer than the run has patience."""
    rehearsal.faults = lambda update: Fault.error(status=500, code=500, apply=True) if update.number > 10 else None
    return await rehearsal.run(rehearsal.file(ROWS), outage_timeout="0.1s", max_workers=16)


async def by_refused_access(rehearsal: Rehearsal) -> Run:
    """Take the till's permission away when ten rows are recorded."""
    watcher = rehearsal.witness()
    watcher.when = lambda _: len(watcher.seen) == 10
    watcher.act = lambda _: setattr(rehearsal.sandbox, "permitted", False)
    return await rehearsal.run(rehearsal.file(ROWS), rehearsal.terms(watcher))


@pytest.mark.parametrize(
    ("begin", "exit_code"),
    [
        pytest.param(by_signal, ExitCode.STOPPED_EARLY, id="signal"),
        pytest.param(by_deadline, ExitCode.DEADLINE, id="deadline"),
        pytest.param(by_outage, ExitCode.STOPPED_EARLY, id="outage"),
        pytest.param(by_refused_access, ExitCode.ACCESS_REFUSED, id="access refused"),
    ],
)
async def test_a_run_that_stopped_is_gone_on_with(
    rehearsal: Rehearsal, begin: Callable[[Rehearsal], Any], exit_code: ExitCode
) -> None:
    """Whatever a run stopped for, its open rows are pending, and `resume` sends each of them once and no other."""
    stopped = await begin(rehearsal)
    assert stopped.exit_code is exit_code
    assert_counts_add_up(rehearsal, stopped.folder)
    settled = rehearsal.settled(stopped.folder)
    assert {row for row, (status, _) in rehearsal.verdicts(stopped.folder).items() if status == "pending"} == (
        ALL_ROWS - settled
    )
    assert 10 <= len(settled) < ROWS
    rehearsal.arrived.clear()
    rehearsal.faults, rehearsal.sandbox.permitted, rehearsal.sandbox.latency = (lambda _: None), True, 0.0
    assert_all_done(rehearsal, await rehearsal.resume(stopped.folder), settled)


async def test_no_row_starts_after_the_deadline(rehearsal: Rehearsal) -> None:
    """What is under way when the deadline comes ends and counts; what is not begun is pending and was never sent."""
    run = await by_deadline(rehearsal)
    counts = run.summary.counts
    assert counts[Status.SUCCESS] == len(rehearsal.arrived) == len(rehearsal.sandbox.applied)
    assert counts[Status.PENDING] == ROWS - len(rehearsal.arrived) > 0
    assert rehearsal.summary(run.folder)["stop_reason"] == "the deadline has come"
    assert set(rehearsal.verdicts(run.folder).values()) == {("success", ""), ("pending", "")}


async def test_a_deadline_that_comes_with_the_last_row_stopped_nothing(rehearsal: Rehearsal) -> None:
    """When all rows are done by then, the run is finished and its exit code its own."""
    stop, watcher = Stop(), rehearsal.witness()
    watcher.when = lambda _: len(watcher.seen) == 5
    watcher.act = lambda _: stop.request(DeadlineError("the deadline has come"))
    run = await rehearsal.run(rehearsal.file(5), rehearsal.terms(watcher, stop=stop))
    assert (run.exit_code, rehearsal.summary(run.folder)["state"]) == (ExitCode.DONE, "finished")


async def test_a_file_whose_turn_comes_after_the_deadline_is_taken_in(rehearsal: Rehearsal) -> None:
    """It has its run, with every row pending and not in doubt, so that `resume` sends it the next night."""
    stop = Stop()
    stop.request(DeadlineError("the deadline has come"))
    run = await rehearsal.run(rehearsal.file(ROWS), rehearsal.terms(stop=stop))
    assert (run.exit_code, rehearsal.sandbox.requests) == (ExitCode.DEADLINE, 0)
    assert rehearsal.verdicts(run.folder) == dict.fromkeys(ALL_ROWS, ("pending", ""))
    assert_counts_add_up(rehearsal, run.folder)
    assert_all_done(rehearsal, await rehearsal.resume(run.folder), set())


async def test_a_run_is_not_gone_on_with_after_the_deadline(rehearsal: Rehearsal) -> None:
    """An unfinished run whose turn comes too late stays as it was."""
    folder = await rehearsal.stopped(rehearsal.file(ROWS))
    before = contents(folder)
    stop = Stop()
    stop.request(DeadlineError("the deadline has come"))
    with pytest.raises(Stopping):
        await rehearsal.resume(folder, rehearsal.terms(stop=stop))
    assert rehearsal.arrived == []
    assert {name: contents(folder)[name] for name in REPORTS} == {name: before[name] for name in REPORTS}
    assert [run.state for run in runs_in(Path("reports"))] == [RunState.STOPPED]


@pytest.mark.parametrize(("seconds", "fit"), [(20.0, 20), (0.0, 0), (-5.0, 0), (9999.0, 50)])
async def test_a_start_says_how_many_rows_fit_before_the_deadline(
    rehearsal: Rehearsal, seconds: float, fit: int
) -> None:
    """At a row per second, and of those that are left: what has an outcome needs no time any more."""
    folder = await rehearsal.stopped(rehearsal.file(ROWS), rows=10, rate="1/s", max_workers=1)
    watcher = rehearsal.witness()
    terms = rehearsal.terms(watcher, deadline=1000.0 + seconds, wall_clock=lambda: 1000.0)
    await rehearsal.resume(folder, terms)
    assert watcher.start is not None
    assert (watcher.start.recorded, watcher.start.fit, watcher.start.deadline) == (10, fit, 1000.0 + seconds)
    assert watcher.start.seconds == pytest.approx(50, rel=0.01)


def contents(folder: Path) -> Mapping[str, bytes]:
    """Return all files of a run with what is in them."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("recorded", [0, 1, 20, None], ids=["before a row", "one row", "some rows", "before reports"])
async def test_a_run_that_died_is_gone_on_with(rehearsal: Rehearsal, recorded: int | None) -> None:
    """Wherever a run dies, its durable outcomes stand, and `resume` sends every other row."""
    rehearsal.sandbox.latency = 0.02
    folder = await rehearsal.dead(partial(rehearsal.run, rehearsal.file(ROWS)), recorded)
    settled = rehearsal.settled(folder)
    assert len(settled) >= (ROWS if recorded is None else recorded)
    assert not (folder / "results.csv").exists()
    assert_all_done(rehearsal, await rehearsal.resume(folder), settled)


async def test_a_process_that_was_killed_is_gone_on_with(rehearsal: Rehearsal) -> None:
    """A real process dies by SIGKILL while updates are under way; going on settles what it left, with its settings."""
    command = (sys.executable, "-m", "bulkredeem", "run", str(rehearsal.file(ROWS)))
    options = ("--rate", "none", "--max-workers", "4", "--quiet")
    process = await asyncio.create_subprocess_exec(*command, *options, stdout=asyncio.subprocess.DEVNULL)

    def kill(update: UpdateRequest) -> Fault | None:
        if update.number == 30:
            process.kill()
        return Fault(apply=update.number % 2 == 0, then=Then.HANG) if update.number >= 30 else None

    rehearsal.faults = kill
    assert await process.wait() == -signal.SIGKILL
    (run,) = runs_in(Path("reports"))
    assert (run.state, run.owner) == (RunState.CRASHED, None)
    settled = rehearsal.settled(run.folder)
    assert set(rehearsal.rows_arrived) >= settled
    rehearsal.arrived.clear()
    rehearsal.faults = lambda _: None
    assert_all_done(rehearsal, await rehearsal.resume(run.folder), settled)


async def test_a_run_that_died_while_its_reports_were_written_is_gone_on_with(rehearsal: Rehearsal) -> None:
    """Nothing is sent, the reports appear whole, and the half-written one is gone."""
    rehearsal.faults = lambda update: Fault.error(status=400, code=750) if update.number > 50 else None
    folder = await rehearsal.dead(partial(rehearsal.run, rehearsal.file(ROWS)), None)
    (folder / ".results.csv.part").write_text("row_number,status,error_code\r\n2,succ")
    run = await rehearsal.resume(folder)
    assert (run.exit_code, rehearsal.arrived) == (ExitCode.NOT_ALL_DONE, [])
    assert_counts_add_up(rehearsal, folder)
    assert rehearsal.summary(folder)["counts"]["refused"] == 10
    assert rehearsal.summary(folder)["requests"] == ROWS
    assert not (folder / ".results.csv.part").exists()


async def test_a_run_that_died_before_its_ending_was_recorded_is_gone_on_with(rehearsal: Rehearsal) -> None:
    """The journal hears of the ending last: reports that say `finished` beside it are written anew, nothing is sent."""
    run = await rehearsal.run(rehearsal.file(ROWS))
    tampered(run.folder, "DELETE FROM head WHERE key IN ('state', 'exit_code', 'finished_at', 'stop_reason')")
    (run.folder / "results.csv").write_text("what an earlier stretch said")
    rehearsal.arrived.clear()
    assert_all_done(rehearsal, await rehearsal.resume(run.folder), ALL_ROWS)


async def test_a_run_may_die_twice_in_a_row(rehearsal: Rehearsal) -> None:
    """Going on may die as well: what either process made durable stands, what neither did is sent by the third."""
    rehearsal.sandbox.latency = 0.02
    first = await rehearsal.dead(partial(rehearsal.run, rehearsal.file(ROWS)), 5)
    after_one = rehearsal.settled(first)
    sent_again: list[int] = []
    rehearsal.faults = lambda update: sent_again.append(int(update.identifier[2:]))
    second = await rehearsal.dead(partial(rehearsal.resume, first), len(after_one) + 5, into="dead again")
    after_two = rehearsal.settled(second)
    assert after_one.isdisjoint(sent_again)
    assert after_one < after_two
    assert_all_done(rehearsal, await rehearsal.resume(second), after_two)
    assert rehearsal.summary(second)["requests"] >= ROWS


async def test_a_run_that_stopped_twice_counts_all_its_requests(rehearsal: Rehearsal) -> None:
    """Each stretch begins where the one before ended: in rows, in requests, and in the log."""
    folder = await rehearsal.stopped(rehearsal.file(ROWS), rows=10, max_workers=1)
    stop, watcher = Stop(), rehearsal.witness()
    watcher.when = lambda _: len(watcher.seen) == 20
    watcher.act = lambda _: stop.request(SignalledError("Ctrl-C"))
    again = await rehearsal.resume(folder, rehearsal.terms(watcher, stop=stop))
    assert again.exit_code is ExitCode.STOPPED_EARLY
    assert watcher.start is not None
    assert (watcher.start.recorded, watcher.start.live.requests()) == (10, rehearsal.sandbox.requests)
    assert_counts_add_up(rehearsal, folder)
    rehearsal.arrived.clear()
    settled = rehearsal.settled(folder)
    assert_all_done(rehearsal, await rehearsal.resume(folder), settled)
    assert rehearsal.summary(folder)["requests"] == rehearsal.sandbox.requests == ROWS
    events = re.findall(r'"event":"(started|resumed|ended)"', (folder / "run.log").read_text())
    assert events == ["started", "ended", "resumed", "ended", "resumed", "ended"]


async def beyond_reach(rehearsal: Rehearsal) -> tuple[Path, set[int], set[int]]:
    """Return a run that died early, its open rows within its reach, and those beyond it."""
    rehearsal.sandbox.latency = 0.03
    folder = await rehearsal.dead(partial(rehearsal.run, rehearsal.file(ROWS), rate="8/s"), 1)
    reach, unsettled = reach_of(folder), ALL_ROWS - rehearsal.settled(folder)
    within, beyond = {row for row in unsettled if row <= reach}, {row for row in unsettled if row > reach}
    assert within, "nothing was under way"
    assert beyond, "the whole file was within reach"
    return folder, within, beyond


async def test_rows_that_a_dead_run_may_have_sent_say_so(rehearsal: Rehearsal) -> None:
    """Within its reach the reports say SENT_BEFORE of an open row; beyond it nothing, for it was never sent."""
    folder, within, beyond = await beyond_reach(rehearsal)
    run = report_run(folder, 1000.0)
    assert_counts_add_up(rehearsal, folder)
    wanted = dict.fromkeys(within, ("pending", "SENT_BEFORE")) | dict.fromkeys(beyond, ("pending", ""))
    assert rehearsal.verdicts(folder, "not_done.csv") == wanted
    summary = rehearsal.summary(folder)
    assert (summary["state"], summary["exit_code"], run.exit_code) == ("crashed", None, ExitCode.DONE)


async def test_a_row_that_a_dead_run_may_have_sent_never_fails(rehearsal: Rehearsal) -> None:
    """When it cannot be settled either it is in doubt; a row beyond the reach was surely not applied, and is failed."""
    folder, within, beyond = await beyond_reach(rehearsal)
    settled = rehearsal.settled(folder)
    rehearsal.faults = lambda _: BUSY_CUSTOMER
    run = await rehearsal.resume(folder, max_attempts=1)
    assert run.exit_code is ExitCode.NOT_ALL_DONE
    assert Counter(rehearsal.rows_arrived) == Counter(ALL_ROWS - settled)
    wanted = dict.fromkeys(within, ("in_doubt", "SENT_BEFORE")) | dict.fromkeys(beyond, ("failed", "521"))
    assert rehearsal.verdicts(folder, "not_done.csv") == wanted


async def test_doubt_outlives_a_second_death(rehearsal: Rehearsal) -> None:
    """A process that dies before it has sent anything takes no doubt away, although its own reach is nothing."""
    folder, within, beyond = await beyond_reach(rehearsal)
    again = await rehearsal.dead(partial(rehearsal.resume, folder), 0, into="dead again")
    rehearsal.faults = lambda _: BUSY_CUSTOMER
    await rehearsal.resume(again, max_attempts=1)
    wanted = dict.fromkeys(within, ("in_doubt", "SENT_BEFORE")) | dict.fromkeys(beyond, ("failed", "521"))
    assert rehearsal.verdicts(again, "not_done.csv") == wanted


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        (None, ("success", "")),
        (Fault.error(status=400, code=750), ("refused", "750")),
        (BUSY_CUSTOMER, ("in_doubt", "SENT_BEFORE")),
        (Fault(apply=True, echo={"billNumber": "other"}), ("in_doubt", "ECHO_MISMATCH")),
    ],
    ids=["accepted", "refused", "surely not applied", "contradicted"],
)
async def test_only_a_trustworthy_answer_takes_the_doubt_away(
    rehearsal: Rehearsal, fault: Fault | None, verdict: tuple[str, str]
) -> None:
    """A row that was left in doubt by a stop says so, and is settled by a success or a refusal, and by nothing else."""
    rehearsal.faults = lambda update: Fault(apply=True, then=Then.RESET) if update.identifier == "AB0003" else None
    folder = await rehearsal.stopped(rehearsal.file(ROWS), rows=10, max_attempts=100)
    open_rows = rehearsal.verdicts(folder, "not_done.csv")
    assert {row for row, (_, code) in open_rows.items() if code} == {3}
    assert open_rows[3] == ("pending", "SENT_BEFORE")
    rehearsal.faults = lambda update: fault if update.identifier == "AB0003" else None
    await rehearsal.resume(folder, max_attempts=1)
    assert rehearsal.verdicts(folder)[3] == verdict
    assert rehearsal.arrived.count("AB0003") == 1


async def test_an_invalid_row_does_not_stay_in_doubt(rehearsal: Rehearsal) -> None:
    """A row within the reach that cannot be sent is judged again by `resume`, and was never applied."""
    path = rehearsal.file(ROWS)
    path.write_text(path.read_text().replace("AB0061,B-61", "AB0061,8.88E+05"))
    rehearsal.sandbox.latency = 0.02
    folder = await rehearsal.dead(partial(rehearsal.run, path), 5)
    assert 61 not in rehearsal.settled(folder)
    rehearsal.faults = lambda _: BUSY_CUSTOMER
    await rehearsal.resume(folder, max_attempts=1)
    assert rehearsal.verdicts(folder)[61] == ("invalid", "SPREADSHEET_DAMAGE")
    assert 61 not in rehearsal.rows_arrived


def cut_short(snapshot: Path) -> None:
    """Leave half of it, as a full disk or a careless copy does."""
    content = snapshot.read_bytes()
    snapshot.write_bytes(content[: len(content) // 2])


def changed(snapshot: Path) -> None:
    """Change one digit: the file is as long as before."""
    snapshot.write_bytes(snapshot.read_bytes().replace(b"B-50", b"B-59"))


def emptied(snapshot: Path) -> None:
    """Leave nothing in it."""
    snapshot.write_bytes(b"")


def with_a_blank_line(snapshot: Path) -> None:
    """Put one at its end, as an editor does."""
    snapshot.write_bytes(snapshot.read_bytes() + b"\r\n")


DAMAGES = [cut_short, changed, emptied, with_a_blank_line, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_snapshot_that_is_another_one_is_named_and_never_sent(
    rehearsal: Rehearsal, damage: Callable[[Path], None]
) -> None:
    """Whoever goes on would send other rows than those that are recorded: exit 2, and nothing is sent or written."""
    folder = await rehearsal.stopped(rehearsal.file(ROWS))
    damage(folder / "input.csv")
    before = contents(folder)
    retry = partial(retry_run, folder, rehearsal.settings(), {}, Choice(), rehearsal.terms())
    for going_on in (partial(rehearsal.resume, folder), retry):
        with pytest.raises(JournalUnreadableError, match=re.escape(str(folder / "input.csv"))) as caught:
            await going_on()
        assert caught.value.exit_code is ExitCode.COULD_NOT_START
    with pytest.raises(JournalUnreadableError, match=re.escape(str(folder / "input.csv"))):
        report_run(folder, 1000.0)
    assert rehearsal.arrived == []
    assert {name: contents(folder)[name] for name in REPORTS} == {name: before[name] for name in REPORTS}
    assert rehearsal.settled(folder)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_dead_run_whose_snapshot_is_another_one_hides_no_other_run(
    rehearsal: Rehearsal, damage: Callable[[Path], None]
) -> None:
    """Nobody goes on with it, and yet the others are listed: one that is damaged keeps nobody from them."""
    folder = await rehearsal.dead(partial(rehearsal.run, rehearsal.file(ROWS)), 1)
    damage(folder / "input.csv")
    (listed,) = runs_in(folder.parent)
    assert listed.folder == folder
    with pytest.raises(JournalUnreadableError, match=re.escape(str(folder / "input.csv"))):
        await rehearsal.resume(folder)
    assert rehearsal.arrived == []


def as_version_1(folder: Path, *, says_how_it_ended: bool) -> None:
    """Make a journal what the first version of the program would have left."""
    tampered(
        folder,
        "DELETE FROM head WHERE key IN ('snapshot_sha256', 'as_of', 'retry_of', 'reach')",
        *([] if says_how_it_ended else ["DELETE FROM head WHERE key = 'state'"]),
        "DROP TABLE doubted",
        "DROP TABLE planned",
        "DROP TABLE previous",
        "DROP TABLE counters",
        "ALTER TABLE outcome DROP COLUMN alias",
        "ALTER TABLE outcome DROP COLUMN kept",
        "PRAGMA user_version = 1",
    )


@pytest.mark.parametrize("says_how_it_ended", [True, False], ids=["stopped", "died"])
async def test_a_run_of_the_first_version_is_gone_on_with(
    rehearsal: Rehearsal,
    says_how_it_ended: bool,  # noqa: FBT001  parametrised
) -> None:
    """Its journal knows neither hash nor reach, so every open row may have been applied, and none is called failed."""
    folder = await rehearsal.stopped(rehearsal.file(ROWS), rows=10)
    as_version_1(folder, says_how_it_ended=says_how_it_ended)
    settled = rehearsal.settled(folder)
    (listed,) = runs_in(Path("reports"))
    assert listed.state is (RunState.STOPPED if says_how_it_ended else RunState.CRASHED)
    assert listed.doubtful == ROWS - len(settled)
    rehearsal.faults = lambda _: BUSY_CUSTOMER
    await rehearsal.resume(folder, max_attempts=1)
    assert Counter(rehearsal.rows_arrived) == Counter(ALL_ROWS - settled)
    assert rehearsal.verdicts(folder, "not_done.csv") == dict.fromkeys(ALL_ROWS - settled, ("in_doubt", "SENT_BEFORE"))
    assert rehearsal.summary(folder)["input"]["as_of"] is None


async def test_a_run_at_its_end_is_not_gone_on_with(rehearsal: Rehearsal) -> None:
    """A finished and an abandoned run are said to be so, exit 2; their reports stay, and nothing is sent."""
    finished = (await rehearsal.run(rehearsal.file(3))).folder
    abandoned = await rehearsal.stopped(rehearsal.file(ROWS))
    abandon_run(abandoned, "the wrong file", 1000.0)
    rehearsal.arrived.clear()
    for folder, state in ((finished, "finished"), (abandoned, "abandoned")):
        before = contents(folder)
        with pytest.raises(RunNotFoundError, match=f"{folder} is {state}: there is nothing to go on with") as caught:
            await rehearsal.resume(folder)
        assert caught.value.exit_code is ExitCode.COULD_NOT_START
        with pytest.raises(RunNotFoundError, match=f"{folder} is {state}: there is nothing to abandon"):
            abandon_run(folder, "once more", 1000.0)
        assert {name: contents(folder)[name] for name in REPORTS} == {name: before[name] for name in REPORTS}
    assert rehearsal.arrived == []


async def test_a_run_that_somebody_works_on_is_left_to_them(rehearsal: Rehearsal) -> None:
    """Nobody resumes, retries, abandons or reports it meanwhile: exit 5, with the owner's process and host."""
    folder = await rehearsal.stopped(rehearsal.file(ROWS))
    before = contents(folder)
    retry = partial(retry_run, folder, rehearsal.settings(), {}, Choice(), rehearsal.terms())
    process = f"process {os.getpid()} of {user_name()} on {re.escape(socket.gethostname())}"
    owner = f"is being worked on by {process}, since "
    with RunLock.acquire(folder, now=1000.0):
        for going_on in (partial(rehearsal.resume, folder), retry):
            with pytest.raises(BusyError, match=owner) as caught:
                await going_on()
            assert caught.value.exit_code is ExitCode.BUSY
        for work in (partial(abandon_run, folder, "why"), partial(report_run, folder)):
            with pytest.raises(BusyError):
                work(1000.0)
    assert rehearsal.arrived == []
    assert contents(folder) == before
    await rehearsal.resume(folder)


async def test_two_that_go_on_at_once_are_one_too_many(rehearsal: Rehearsal) -> None:
    """One of them has the run, the other is told so; every row is sent once."""
    folder = await rehearsal.stopped(rehearsal.file(ROWS))
    settled, told = rehearsal.settled(folder), asyncio.Event()
    rehearsal.sandbox.latency, rehearsal.sandbox.sleep = 1.0, lambda _: told.wait()
    both = [asyncio.create_task(rehearsal.resume(folder, when_busy="fail")) for _ in range(2)]
    (first_to_end,), _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    told.set()
    assert isinstance(first_to_end.exception(), BusyError)
    (other,) = (task for task in both if task is not first_to_end)
    assert_all_done(rehearsal, await other, settled)


async def resumed(rehearsal: Rehearsal, folder: Path, **flags: Any) -> tuple[Run, Witness]:
    """Go on with a run, and return it with whoever watched."""
    watcher = rehearsal.witness()
    return await rehearsal.resume(folder, rehearsal.terms(watcher), **flags), watcher


async def test_a_setting_that_has_changed_is_named_and_does_not_count(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment of today says other things than when the run began: each is told, and the run keeps its own."""
    folder = await rehearsal.stopped(rehearsal.file(ROWS), max_attempts=1)
    monkeypatch.setenv("BULKREDEEM_MAX_ATTEMPTS", "7")
    monkeypatch.setenv("BULKREDEEM_DEFAULT_IDENTIFIER_TYPE", "email")
    monkeypatch.setenv("BULKREDEEM_TIMEOUT", "30")
    settings, watcher = rehearsal.settings(), rehearsal.witness()
    rehearsal.faults = lambda _: BUSY_CUSTOMER
    await resume_run(folder, settings, {}, rehearsal.terms(watcher))
    assert watcher.start is not None
    assert watcher.start.remarks == (
        "default_identifier_type is email in the settings now; the run goes on with its own, mobile.",
        "max_attempts is 7 in the settings now; the run goes on with its own, 1.",
    )
    assert max(Counter(rehearsal.arrived).values()) == 1


async def test_a_flag_asks_for_another_setting(rehearsal: Rehearsal) -> None:
    """What is given as an option counts, and needs no remark."""
    folder = await rehearsal.stopped(rehearsal.file(ROWS), rows=10, max_workers=1, rate="1/s")
    run, watcher = await resumed(rehearsal, folder, rate="10/s", max_attempts=9)
    assert run.exit_code is ExitCode.DONE
    assert watcher.start is not None
    assert not [remark for remark in watcher.start.remarks if "rate" in remark or "max_attempts" in remark]
    assert watcher.start.seconds == pytest.approx(5, rel=0.01)


async def test_no_flag_changes_how_the_rows_of_an_older_run_are_read(rehearsal: Rehearsal) -> None:
    """`run --resume-unfinished --trust-ids --map … --identifier …` means its own file: what was invalid stays so."""
    lines = ["redemptionId,externalReferenceNumber,billNumber,Bill,identifierValue"]
    lines += [f"AB{row:04},,B-{row},C-{row},9199{row:08}" for row in range(2, 42)]
    lines += ["AB0042,,8.88E+05,C-42,919900000042", "AB0043,ACR-43,B-43,C-43,919900000043", ",,B-44,C-44,1"]
    path = rehearsal.file()
    path.write_text("\r\n".join(lines) + "\r\n")
    folder = await rehearsal.stopped(path)
    assert rehearsal.settled(folder).isdisjoint({42, 43, 44})
    flags = {"trust_ids": True, "identifier": "redemptionId", "map": ["Bill=billNumber"], "allow_unterminated": True}
    run, watcher = await resumed(rehearsal, folder, **flags)
    assert run.exit_code is ExitCode.NOT_ALL_DONE
    assert rehearsal.verdicts(folder, "not_done.csv") == {
        42: ("invalid", "SPREADSHEET_DAMAGE"),
        43: ("invalid", "749"),
        44: ("invalid", "749"),
    }
    assert {name: each.bill_number for name, each in rehearsal.sandbox.redemptions.items()} == {
        f"AB{row:04}": f"B-{row}" for row in range(2, 42)
    }
    assert watcher.start is not None
    named = [remark.split()[0] for remark in watcher.start.remarks]
    assert named == ["allow_unterminated", "identifier", "map", "trust_ids"]


async def test_a_run_keeps_the_map_it_began_with(rehearsal: Rehearsal) -> None:
    """Nobody has to type its options again: a resumed run reads the columns as it did."""
    path = rehearsal.file(ROWS)
    path.write_text(path.read_text().replace("billNumber", "Bill No"))
    folder = await rehearsal.stopped(path, map=["Bill No=billNumber"])
    settled = rehearsal.settled(folder)
    assert_all_done(rehearsal, await rehearsal.resume(folder), settled)


@pytest.mark.parametrize(
    ("name", "other"), [("base_url", "https://crm.example.com"), ("username", "till.of.somebody.else")]
)
async def test_a_run_of_another_system_is_refused(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch, name: str, other: str
) -> None:
    """Today's password is not for that host or user: exit 2, both named, and the run can still be gone on with."""
    folder = await rehearsal.stopped(rehearsal.file(ROWS))
    settled, before = rehearsal.settled(folder), os.environ[f"BULKREDEEM_{name.upper()}"]
    monkeypatch.setenv(f"BULKREDEEM_{name.upper()}", other)
    with pytest.raises(OtherSystemError) as caught:
        await rehearsal.resume(folder)
    assert f"was begun with {name} = {before}, and the settings now say {name} = {other}" in str(caught.value)
    assert caught.value.exit_code is ExitCode.COULD_NOT_START
    assert rehearsal.arrived == []
    monkeypatch.setenv(f"BULKREDEEM_{name.upper()}", before)
    assert_all_done(rehearsal, await rehearsal.resume(folder), settled)


async def test_where_and_who_need_not_be_said_again(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without them in the settings of today the run's own count; a password alone is enough."""
    folder = await rehearsal.stopped(rehearsal.file(ROWS))
    settled = rehearsal.settled(folder)
    monkeypatch.delenv("BULKREDEEM_BASE_URL")
    monkeypatch.delenv("BULKREDEEM_USERNAME")
    assert_all_done(rehearsal, await rehearsal.resume(folder), settled)


async def test_the_password_of_today_counts(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong one ends with exit 4 and one request, the right one goes on; without any nothing begins."""
    folder = await rehearsal.stopped(rehearsal.file(ROWS))
    settled = rehearsal.settled(folder)
    rehearsal.sandbox.password = "new-Otter-43"
    refused = await rehearsal.resume(folder)
    assert (refused.exit_code, len(rehearsal.arrived)) == (ExitCode.ACCESS_REFUSED, 0)
    assert_counts_add_up(rehearsal, folder)
    monkeypatch.delenv("BULKREDEEM_PASSWORD")
    with pytest.raises(ConfigurationError, match="BULKREDEEM_PASSWORD"):
        await rehearsal.resume(folder)
    monkeypatch.setenv("BULKREDEEM_PASSWORD", "new-Otter-43")
    assert_all_done(rehearsal, await rehearsal.resume(folder), settled)


@pytest.mark.parametrize(
    ("of_command", "moment"), [(None, 100_000.0 + 7200), (150_000.0, 150_000.0)], ids=["its own", "the command's"]
)
async def test_a_deadline_that_is_a_duration_starts_anew(
    rehearsal: Rehearsal, of_command: float | None, moment: float
) -> None:
    """Two hours are two hours from now, also the next night; a deadline of the whole command beats it."""
    folder = await rehearsal.stopped(rehearsal.file(ROWS), deadline="2h")
    watcher = rehearsal.witness()
    terms = rehearsal.terms(watcher, deadline=of_command, wall_clock=lambda: 100_000.0)
    run = await resume_run(folder, rehearsal.settings(), {}, terms)
    assert run.exit_code is ExitCode.DONE
    assert watcher.start is not None
    assert watcher.start.deadline == moment


@pytest.mark.parametrize("died", [True, False], ids=["died", "stopped"])
async def test_an_abandoned_run_keeps_its_reason(
    rehearsal: Rehearsal,
    died: bool,  # noqa: FBT001  parametrised
) -> None:
    """The reports are written, the reason stands in summary and journal, and nothing goes on with the run."""
    path = rehearsal.file(ROWS)
    folder = (await rehearsal.dead(partial(rehearsal.run, path), 1)) if died else await rehearsal.stopped(path)
    run = abandon_run(folder, "it was the wrong file", 1000.0)
    assert run.exit_code is ExitCode.DONE
    assert_counts_add_up(rehearsal, folder)
    summary = rehearsal.summary(folder)
    assert (summary["state"], summary["stop_reason"]) == ("abandoned", "it was the wrong file")
    assert summary["exit_code"] == (None if died else ExitCode.STOPPED_EARLY)
    (listed,) = runs_in(folder.parent)
    assert (listed.state, listed.is_unfinished, listed.doubtful) == (RunState.ABANDONED, False, 0)
    assert listed.ending is not None
    assert listed.ending.stop_reason == "it was the wrong file"
    assert report_run(folder, 2000.0).summary == run.summary


async def ended(rehearsal: Rehearsal, ending: str) -> Path:
    """Return a run with rows of every kind, some in doubt, that ended in this way."""
    path = rehearsal.file(ROWS)
    text = path.read_text().replace("AB0002,", "NOPE02,").replace("B-4,", "8.88E+05,").replace("AB0006,", ",")
    path.write_text(text, encoding="utf-8-sig")
    rehearsal.faults = lambda update: Fault(apply=True, then=Then.RESET) if update.identifier == "AB0003" else None
    if ending == "finished":
        rehearsal.faults = lambda update: BUSY_CUSTOMER if update.identifier == "AB0003" else None
        return (await rehearsal.run(path, max_attempts=1)).folder
    folder = await rehearsal.stopped(path, rows=20, max_attempts=100)
    if ending == "resumed":
        rehearsal.faults = lambda update: BUSY_CUSTOMER if update.identifier == "AB0003" else None
        await rehearsal.resume(folder, max_attempts=1)
    if ending == "retried":
        abandon_run(folder, "to be retried", 1000.0)
        stop, watcher = Stop(), rehearsal.witness()
        watcher.when = lambda _: len(watcher.seen) == 10
        watcher.act = lambda _: stop.request(SignalledError("Ctrl-C"))
        terms = rehearsal.terms(watcher, stop=stop)
        retry = await retry_run(folder, rehearsal.settings(), {}, Choice(), terms)
        assert retry is not None
        return retry.folder
    return folder


@pytest.mark.parametrize("ending", ["finished", "stopped", "resumed", "retried"])
async def test_every_report_is_written_anew_as_it_was(rehearsal: Rehearsal, ending: str) -> None:
    """Journal and snapshot hold all that the reports say: lost or damaged ones come back to the last byte."""
    folder = await ended(rehearsal, ending)
    before = contents(folder)
    (folder / "results.csv").unlink()
    (folder / "not_done.csv").write_text("sorted by somebody")
    (folder / "summary.json").unlink()
    run = report_run(folder, 9999.0)
    assert run.exit_code is ExitCode.DONE
    assert {name: contents(folder)[name] for name in REPORTS} == {name: before[name] for name in REPORTS}
    assert contents(folder).keys() == before.keys()
    report_run(folder, 9999.0)
    assert contents(folder) == {**contents(folder), **{name: before[name] for name in REPORTS}}


async def test_the_reports_of_a_dead_run_are_the_same_every_time(rehearsal: Rehearsal) -> None:
    """The first look writes down what is in doubt, and takes nothing away from `resume`."""
    folder = await rehearsal.dead(partial(rehearsal.run, rehearsal.file(ROWS)), 1)
    report_run(folder, 1000.0)
    before = contents(folder)
    report_run(folder, 2000.0)
    assert {name: contents(folder)[name] for name in REPORTS} == {name: before[name] for name in REPORTS}
    settled = rehearsal.settled(folder)
    assert_all_done(rehearsal, await rehearsal.resume(folder), settled)


async def test_writing_reports_ends_when_asked_to(rehearsal: Rehearsal) -> None:
    """A stop between two rows leaves the reports that were there."""
    folder = await rehearsal.stopped(rehearsal.file(ROWS))
    before = contents(folder)

    def stop() -> None:
        raise Stopping

    with pytest.raises(Stopping):
        report_run(folder, 1000.0, stop)
    assert {name: contents(folder)[name] for name in REPORTS} == {name: before[name] for name in REPORTS}
