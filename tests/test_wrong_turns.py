"""Wrong turns that a review has found: whose turn it is, who is held, what a command waits for, what it is told."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.application import Choice, report_run, retry_run, turn_of, undo_run
from bulkredeem.application.absorbing import ledger_folder
from bulkredeem.application.turn import lock_name
from bulkredeem.application.verifying import verify_run
from bulkredeem.cli import running
from bulkredeem.errors import BusyError, DeadlineError, ExitCode, HeldError, SignalledError
from bulkredeem.journal import RunLock
from bulkredeem.ledger import System
from bulkredeem.model import Status
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Fault, Sandbox, UpdateRequest
from bulkredeem.settings import load_settings
from bulkredeem.summary import RunState, Typed

if TYPE_CHECKING:
    from bulkredeem.application import Run
    from tests.conftest import Rehearsal, Terminal, Witness

pytestmark = pytest.mark.usefixtures("nothing_configured")

REPORTS = Path("reports")
HEADER = ("redemptionId", "billNumber", "identifierValue")
WITH_STORE = (*HEADER, "store")
REFUSED = Fault.error(status=400, code=750)
CONTRADICTED = Fault(apply=True, echo={"billNumber": "other"})
"""Applied, and yet nobody can trust it."""
Row = tuple[str, ...]


def good(rows: int, bill: str = "B") -> list[Row]:
    """Return so many good rows, the first of which is row 2 with `AB0002`; bill numbers begin with `bill`."""
    return [(f"AB{row:04}", f"{bill}-{row}", f"9199{row:08}") for row in range(2, rows + 2)]


def alike(rows: int = 60, bill: str = "STORE17") -> list[Row]:
    """Return rows that all set one bill number: a shop's, say, since a column was shifted."""
    return [(redemption, bill, customer) for redemption, _, customer in good(rows)]


def write(name: str, rows: Sequence[Row], header: Row = HEADER, *, hours_old: float = 0.0) -> Path:
    """Write a file that was changed last so many hours ago, and return its path."""
    path = Path(name)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    moment = time.time() - hours_old * 3600
    os.utime(path, (moment, moment))
    return path


def bills(rehearsal: Rehearsal, rows: int) -> list[str]:
    """Return the bill numbers that the platform has by now."""
    return [rehearsal.sandbox.redemptions[redemption].bill_number for redemption, *_ in good(rows)]


def found(rehearsal: Rehearsal, run: Run) -> Counter[tuple[str, str]]:
    """Return how often the results of a run have which status and code."""
    return Counter(rehearsal.verdicts(run.folder).values())


def copied(folder: Path, into: str = "dead") -> Path:
    """Copy a run as the disk holds it now, as a process that dies would leave it, and return where it lies."""
    target = Path(into) / folder.name
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*-shm"))
    return target


def stopping_when(stop: Stop, fault: Fault | None) -> Callable[[UpdateRequest], Fault | None]:
    """Return what presses Ctrl-C when an update arrives, which then meets the fault."""

    def press(_: UpdateRequest) -> Fault | None:
        stop.request(SignalledError("Ctrl-C"))
        return fault

    return press


class Interrupted:
    """Nobody types an answer: instead of one there is a stop."""

    def __init__(self, stop: Stop, cause: SignalledError | DeadlineError) -> None:
        """Take what stops, and why."""
        self.asked: list[str] = []
        self._stop = stop
        self._cause = cause

    async def __call__(self, question: str) -> bool:
        """Hear the question, and stop."""
        self.asked.append(question)
        self._stop.request(self._cause)
        self._stop.check()
        return True


# Whose turn it is, when today's settings do not say where


@pytest.fixture
def nowhere(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> Rehearsal:
    """Give a rehearsal whose settings do not say where the platform is; runs have to be told."""
    monkeypatch.delenv("BULKREDEEM_BASE_URL")
    return rehearsal


async def test_what_is_resumed_knows_its_own_system_s_ledger(nowhere: Rehearsal) -> None:
    """What a newer file has set meanwhile stays, though no address is configured."""
    here: dict[str, Any] = {"base_url": nowhere.sandbox.base_url}
    folder = await nowhere.stopped(write("old.csv", good(20, "OLD"), hours_old=2), rows=3, max_workers=1, **here)
    await nowhere.run(write("new.csv", good(20, "NEW"), hours_old=1), **here)
    run = await nowhere.resume(folder)
    assert found(nowhere, run)["invalid", "STALE_CORRECTION"] > 0
    assert bills(nowhere, 20) == [bill for _, bill, _ in good(20, "NEW")]


async def resumed(rehearsal: Rehearsal, folder: Path) -> object:
    """Go on with a run, and wait for nobody."""
    return await rehearsal.resume(folder, when_busy="fail")


async def retried(rehearsal: Rehearsal, folder: Path) -> object:
    """Try a run's rows again, and wait for nobody."""
    settings = rehearsal.settings(when_busy="fail")
    return await retry_run(folder, settings, {"when_busy": "fail"}, Choice(), rehearsal.terms())


async def taken_back(rehearsal: Rehearsal, folder: Path) -> object:
    """Take a run back, and wait for nobody."""
    settings = rehearsal.settings(when_busy="fail")
    return await undo_run(folder, settings, {"when_busy": "fail"}, rehearsal.terms())


async def verified(rehearsal: Rehearsal, folder: Path) -> object:
    """Verify a run at once, and wait for nobody."""
    settings, terms = rehearsal.settings(when_busy="fail"), rehearsal.terms()
    return await verify_run(folder, settings, {"when_busy": "fail"}, terms, every=False, at_once=True)


@pytest.mark.parametrize("go_on", [resumed, retried, taken_back, verified])
async def test_a_neighbour_on_the_run_s_system_has_the_turn(
    nowhere: Rehearsal, go_on: Callable[[Rehearsal, Path], Any]
) -> None:
    """Whatever is done with a run, it is done where its rows were sent: two at a time are one too many."""
    here: dict[str, Any] = {"base_url": nowhere.sandbox.base_url}
    path = write("fixes.csv", good(5))
    if go_on is resumed:
        folder = await nowhere.stopped(path, rows=1, max_workers=1, **here)
    else:
        nowhere.faults = lambda _: CONTRADICTED
        folder = (await nowhere.run(path, record_previous=True, **here)).folder
        nowhere.arrived.clear()
    async with turn_of(REPORTS, nowhere.settings(**here), nowhere.terms()):
        with pytest.raises(BusyError):
            await go_on(nowhere, folder)
    assert nowhere.arrived == []


async def test_what_is_verified_knows_its_own_system_s_ledger(nowhere: Rehearsal) -> None:
    """Values of a newer run are no proof that these were not applied, though no address is configured."""
    here: dict[str, Any] = {"base_url": nowhere.sandbox.base_url}
    nowhere.faults = lambda _: CONTRADICTED
    run = await nowhere.run(write("old.csv", good(3, "OLD")), **here)
    nowhere.faults = lambda _: None
    await nowhere.run(write("new.csv", good(3, "NEW")), **here)
    seen = await verify_run(run.folder, nowhere.settings(), {}, nowhere.terms(), every=False, at_once=True)
    assert [group.count for group in seen.unknown] == [3]
    assert "a later run has set" in seen.unknown[0].message
    assert set(nowhere.verdicts(run.folder).values()) == {("in_doubt", "ECHO_MISMATCH")}


# Who is held


@pytest.fixture
async def used_to_it(rehearsal: Rehearsal) -> Rehearsal:
    """Give a rehearsal with three usual nights behind it."""
    for night in range(3):
        await rehearsal.run(write(f"night{night}.csv", good(60, f"B{night}")))
    rehearsal.arrived.clear()
    return rehearsal


async def test_a_run_that_was_stopped_for_its_values_is_no_example(used_to_it: Rehearsal) -> None:
    """The same mistake is as unusual in the second night as it was in the first."""
    first = await used_to_it.run(write("first.csv", alike(bill="STORE17")), unattended=True)
    second = await used_to_it.run(write("second.csv", alike(bill="STORE18")), unattended=True)
    assert (first.exit_code, second.exit_code) == (ExitCode.STOPPED_EARLY, ExitCode.STOPPED_EARLY)
    assert used_to_it.arrived == []


async def require_held(rehearsal: Rehearsal, folder: Path, *, rows: int, reports: str = "reports") -> None:
    """Show that a run is gone on with by `--no-guard` alone, and then to its end."""
    rehearsal.arrived.clear()
    with pytest.raises(HeldError):
        await rehearsal.resume(folder, unattended=True, reports=reports)
    assert rehearsal.arrived == []
    run = await rehearsal.resume(folder, no_guard=True, reports=reports)
    assert run.summary.counts[Status.PENDING] == 0
    assert len(rehearsal.arrived) == rows


@pytest.mark.parametrize("cause", [SignalledError("Ctrl-C"), DeadlineError("the deadline has come")])
async def test_who_stops_at_the_question_of_values_has_not_agreed(
    used_to_it: Rehearsal, cause: SignalledError | DeadlineError
) -> None:
    """The run is held, as it would be after a no."""
    stop = Stop()
    ask = Interrupted(stop, cause)
    run = await used_to_it.run(write("wrong.csv", alike()), used_to_it.terms(stop=stop, ask=ask))
    assert len(ask.asked) == 1
    assert (run.exit_code, used_to_it.arrived) == (cause.exit_code, [])
    await require_held(used_to_it, run.folder, rows=60)


@pytest.mark.parametrize("fault", [None, CONTRADICTED])
async def test_who_stops_at_the_question_of_canaries_has_not_agreed(rehearsal: Rehearsal, fault: Fault | None) -> None:
    """However good or bad they looked, somebody was asked and did not say yes."""
    stop = Stop()
    ask = Interrupted(stop, SignalledError("SIGHUP"))
    rehearsal.faults = lambda _: fault
    run = await rehearsal.run(write("fixes.csv", good(60)), rehearsal.terms(stop=stop, ask=ask), canary=5)
    assert len(ask.asked) == 1
    assert (run.exit_code, len(rehearsal.arrived)) == (ExitCode.STOPPED_EARLY, 5)
    rehearsal.faults = lambda _: None
    await require_held(rehearsal, run.folder, rows=55)


@pytest.mark.parametrize("flags", [{}, {"canary": 5}])
async def test_who_is_killed_at_a_question_has_not_agreed(used_to_it: Rehearsal, flags: dict[str, Any]) -> None:
    """What lies on the disk while a person thinks is a run that is held."""
    rows = good(60) if flags else alike()

    witness = used_to_it.witness()

    async def die(_: str) -> bool:
        assert witness.start is not None
        copied(witness.start.folder)
        return False

    run = await used_to_it.run(write("wrong.csv", rows), used_to_it.terms(witness, ask=die), **flags)
    sent = len(used_to_it.arrived)
    await require_held(used_to_it, Path("dead") / run.folder.name, rows=60 - sent, reports="dead")


@pytest.mark.parametrize("flags", [{}, {"canary": 5}])
async def test_after_a_yes_a_run_is_not_held(used_to_it: Rehearsal, flags: dict[str, Any]) -> None:
    """Whatever stops it then, nobody needs to say it twice."""
    stop = Stop()

    async def agree(_: str) -> bool:
        used_to_it.faults = stopping_when(stop, None)
        return True

    run = await used_to_it.run(
        write("right.csv", good(60, "B3") if flags else alike()), used_to_it.terms(stop=stop, ask=agree), **flags
    )
    assert run.summary.ending is not None
    assert (run.summary.ending.state, run.summary.ending.stop_reason) == (RunState.STOPPED, "Ctrl-C")
    used_to_it.faults = lambda _: None
    run = await used_to_it.resume(run.folder, unattended=True)
    assert run.exit_code is ExitCode.DONE


async def test_unusual_values_are_seen_by_a_command_that_stops_already(used_to_it: Rehearsal) -> None:
    """Its file is taken in too late for tonight, and the next command must not send it unasked."""
    stop = Stop()
    stop.request(DeadlineError("the deadline has come"))
    run = await used_to_it.run(write("wrong.csv", alike()), used_to_it.terms(stop=stop), unattended=True)
    assert run.exit_code is ExitCode.DEADLINE
    await require_held(used_to_it, run.folder, rows=60)


async def test_bad_canaries_stay_bad_when_something_else_has_stopped_the_run(rehearsal: Rehearsal) -> None:
    """A stop while the last of them is under way does not make the others good."""
    stop = Stop()
    press = stopping_when(stop, CONTRADICTED)
    rehearsal.faults = lambda update: press(update) if len(rehearsal.arrived) == 5 else CONTRADICTED
    run = await rehearsal.run(write("fixes.csv", good(60)), rehearsal.terms(stop=stop), canary=5, max_workers=1)
    assert (run.exit_code, len(rehearsal.arrived)) == (ExitCode.STOPPED_EARLY, 5)
    rehearsal.faults = lambda _: None
    await require_held(rehearsal, run.folder, rows=55)


# A ledger that is lost


async def test_a_ledger_that_is_lost_in_the_middle_stops_the_run(rehearsal: Rehearsal) -> None:
    """What was sent is recorded, and what nobody can judge any more is pending."""
    await rehearsal.run(write("old.csv", good(300), hours_old=2))
    rehearsal.arrived.clear()

    def lose(_: Path) -> None:
        with closing(sqlite3.connect(REPORTS / "ledger" / "ledger.sqlite", isolation_level=None)) as connection:
            connection.execute("DROP TABLE event")

    witness: Witness = rehearsal.witness(when=lambda _: len(witness.seen) >= 3, act=lose)
    run = await rehearsal.run(write("new.csv", good(300, "C")), rehearsal.terms(witness), max_workers=1)
    assert run.summary.ending is not None
    assert run.exit_code is ExitCode.STOPPED_EARLY
    assert "cannot be read any more" in run.summary.ending.stop_reason
    counts = run.summary.counts
    assert counts[Status.SUCCESS] == len(rehearsal.arrived) > 0
    assert counts[Status.SUCCESS] + counts[Status.PENDING] == 300
    assert counts[Status.PENDING] > 0


# What a command waits for


def send(files: Sequence[str], **flags: Any) -> Coroutine[Any, Any, ExitCode]:
    """Run files and the backlog, as a command would that nobody watches."""
    flags = {"rate": "none", "resume_unfinished": True, "unattended": True, **flags}
    return running.run_files([Path(name) for name in files], load_settings(flags), flags, Typed())


async def test_the_backlog_goes_before_files_are_waited_for(rehearsal: Rehearsal) -> None:
    """Tonight's file, which comes when yesterday's last row has arrived, is there by then."""
    await rehearsal.stopped(write("yesterday.csv", good(4)), rows=1, max_workers=1)

    def come(update: UpdateRequest) -> None:
        if update.identifier == "AB0005":
            write("tonight.csv", [("ZZ1", "B-1", "919900000001")])

    rehearsal.faults = come
    assert await send(["tonight.csv"], wait_for_file="20s") is ExitCode.DONE
    assert rehearsal.arrived[-2:] == ["AB0005", "ZZ1"]


async def test_a_file_that_never_comes_does_not_keep_the_backlog(
    rehearsal: Rehearsal, capfd: pytest.CaptureFixture[str]
) -> None:
    """All of yesterday is sent; that tonight's is missing is said, and makes the exit code."""
    folder = await rehearsal.stopped(write("yesterday.csv", good(4)), rows=1, max_workers=1)
    assert await send(["tonight.csv"], wait_for_file="0.1s") is ExitCode.COULD_NOT_START
    assert set(rehearsal.verdicts(folder).values()) == {("success", "")}
    assert "tonight.csv has not come" in capfd.readouterr().err


async def test_the_deadline_ends_the_wait_for_a_file(rehearsal: Rehearsal) -> None:
    """Nobody waits for an hour for a file that would not be sent any more; the backlog was sent by then."""
    folder = await rehearsal.stopped(write("yesterday.csv", good(4)), rows=1, max_workers=1)
    code = await send(["tonight.csv"], wait_for_file="1h", deadline="4s")
    assert code is ExitCode.COULD_NOT_START
    assert set(rehearsal.verdicts(folder).values()) == {("success", "")}


async def test_ctrl_c_while_the_turn_is_waited_for_says_that_it_stopped(terminal: Terminal, sandbox: Sandbox) -> None:
    """In a word, and as any other stop."""
    write("fixes.csv", good(3))
    with RunLock.acquire(
        ledger_folder(terminal.reports), now=time.time(), name=lock_name(System(sandbox.base_url, sandbox.username))
    ):
        command = await terminal.start("run", "fixes.csv", "--when-busy", "wait")
        await command.says("Another run sends with the same ledger")
        command.send(signal.SIGINT)
        ended = await command.ended()
    assert ended.code == ExitCode.STOPPED_EARLY
    assert "Stopped before anything more was sent." in ended.out
    assert sandbox.applied == []


# What looks wrong


async def test_rows_from_before_are_tried_when_those_at_the_end_went_first(rehearsal: Rehearsal) -> None:
    """A shop whose rows are refused, and which goes first, is no reason to leave all the others out."""
    rehearsal.faults = lambda update: REFUSED if int(update.identifier[2:]) >= 122 else None
    rows = [(*row, "17" if number >= 120 else "18") for number, row in enumerate(good(150))]
    run = await rehearsal.run(write("fixes.csv", rows, WITH_STORE), first="store=17")
    counts = run.summary.counts
    assert (counts[Status.SUCCESS], counts[Status.REFUSED], counts[Status.PENDING]) == (120, 30, 0)


async def test_a_run_stops_when_rows_from_before_are_refused_too(rehearsal: Rehearsal) -> None:
    """Ten of them show it, though the rows behind those that went first are none."""
    rehearsal.faults = lambda _: REFUSED
    rows = [(*row, "17" if number >= 120 else "18") for number, row in enumerate(good(150))]
    run = await rehearsal.run(write("fixes.csv", rows, WITH_STORE), first="store=17")
    assert run.exit_code is ExitCode.STOPPED_EARLY
    assert len([row for row in rehearsal.rows_arrived if row < 122]) == 10


async def test_too_many_refusals_on_the_last_row_stop_nothing(rehearsal: Rehearsal) -> None:
    """Nothing is left to go on with: such a run is finished, and not held."""
    rehearsal.faults = lambda _: REFUSED if len(rehearsal.arrived) > 90 else None
    run = await rehearsal.run(write("fixes.csv", good(200)), max_workers=1)
    assert run.summary.ending is not None
    assert (run.summary.ending.state, run.exit_code) == (RunState.FINISHED, ExitCode.NOT_ALL_DONE)
    assert not run.summary.ending.is_guarded


# What is remembered of a run


async def test_rows_that_were_not_selected_are_left(rehearsal: Rehearsal) -> None:
    """Who runs the file again is told that not all of it is done."""
    rows = [(*row, "17" if number % 3 else "18") for number, row in enumerate(good(6))]
    path = write("fixes.csv", rows, WITH_STORE)
    await rehearsal.run(path, only="store=17")
    witness = rehearsal.witness()
    await rehearsal.run(path, rehearsal.terms(witness), only="store=18")
    assert witness.start is not None
    assert "2 of 6 rows are not done" in " ".join(witness.start.remarks)


async def test_who_goes_on_with_a_run_and_why_is_kept(rehearsal: Rehearsal) -> None:
    """In its summary, and for who reads its reports anew."""
    folder = await rehearsal.stopped(write("fixes.csv", good(20)), rows=3, by="Asha", reason="ticket 7")
    await rehearsal.resume(folder, by="Ravi", reason="second half")
    info = report_run(folder, time.time()).summary.info
    assert (info.by, info.reason) == ("Ravi", "second half")


async def test_who_began_a_run_stays_when_nobody_else_says_who_goes_on(rehearsal: Rehearsal) -> None:
    """`resume` by a timer has nothing to say of it."""
    folder = await rehearsal.stopped(write("fixes.csv", good(20)), rows=3, by="Asha", reason="ticket 7")
    run = await rehearsal.resume(folder)
    assert (run.summary.info.by, run.summary.info.reason) == ("Asha", "ticket 7")
