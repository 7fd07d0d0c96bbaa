"""Whose turn it is: one run at a time with a ledger and a key, and what the next one is told."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.application import turn_of
from bulkredeem.application.absorbing import LEDGER_FOLDER, ledger_folder
from bulkredeem.application.shelf import run_folders
from bulkredeem.application.turn import LOOKED_AT, lock_name, neighbour_in_words
from bulkredeem.errors import BusyError, DeadlineError, ExitCode, SignalledError, Stopping
from bulkredeem.journal import Journal, Owner, RunLock, owner_of
from bulkredeem.journal.lock import user_name
from bulkredeem.ledger import System
from bulkredeem.model import Status
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Sandbox
from bulkredeem.summary import RunState

if TYPE_CHECKING:
    from tests.conftest import Rehearsal, Terminal, Turnstile

pytestmark = pytest.mark.usefixtures("nothing_configured")

REPORTS = Path("reports")
NOW = 1_764_000_000.0
TOLD = "Another run sends with the same ledger and user name: process "


class Waiting(Stop):
    """A wish to stop, in whose sleep no time passes; what happens meanwhile is up to the test."""

    def __init__(self, meanwhile: Callable[[], object], after: int = 3) -> None:
        """Let it happen in the n-th sleep."""
        super().__init__()
        self.slept: list[float] = []
        self._meanwhile = meanwhile
        self._after = after

    async def sleep(self, seconds: float) -> None:
        """Let no time pass."""
        self.slept.append(seconds)
        if len(self.slept) == self._after:
            self._meanwhile()
        self.check()
        await asyncio.sleep(0)
        if len(self.slept) > self._after + 100:
            pytest.fail("it waits for ever")


def system(rehearsal: Rehearsal) -> System:
    """Return where the rehearsal sends, and as whom."""
    return System(rehearsal.sandbox.base_url, rehearsal.sandbox.username)


def taken(rehearsal: Rehearsal, now: float = NOW) -> RunLock:
    """Take the turn, as another process would."""
    return RunLock.acquire(ledger_folder(REPORTS), now=now, name=lock_name(system(rehearsal)))


async def test_a_turn_comes_with_the_ledger(rehearsal: Rehearsal) -> None:
    """Brought up to date; while it is had everybody can see who has it, and afterwards nobody has."""
    run = await rehearsal.run(rehearsal.file(1))
    name = lock_name(system(rehearsal))
    async with turn_of(REPORTS, rehearsal.settings(), rehearsal.terms()) as turn:
        assert set(turn.ledger.marks()) == {run.folder.name}
        assert (turn.system, turn.remarks) == (system(rehearsal), ())
        owner = owner_of(REPORTS / LEDGER_FOLDER, name)
        assert owner is not None
        assert (owner.pid, owner.host, owner.user) == (os.getpid(), socket.gethostname(), user_name())
        turn.tell("20260101T000000Z-abcd")
        assert owner_of(REPORTS / LEDGER_FOLDER, name) == replace(owner, run="20260101T000000Z-abcd")
    assert owner_of(REPORTS / LEDGER_FOLDER, name) is None


async def test_a_run_takes_the_turn_of_its_command(rehearsal: Rehearsal) -> None:
    """It would wait for itself otherwise; and it is told on which run the command works by now."""
    async with turn_of(REPORTS, rehearsal.settings(), rehearsal.terms()) as turn:
        run = await rehearsal.run(rehearsal.file(1), rehearsal.terms(turn=turn), when_busy="fail")
        owner = owner_of(REPORTS / LEDGER_FOLDER, lock_name(turn.system))
        assert owner is not None
        assert owner.run == run.folder.name


async def test_a_run_knows_what_an_earlier_one_of_its_command_has_done(rehearsal: Rehearsal) -> None:
    """They share the ledger, which is brought up to date between them."""
    path = rehearsal.file(2)
    async with turn_of(REPORTS, rehearsal.settings(), rehearsal.terms()) as turn:
        _, second = [await rehearsal.run(path, rehearsal.terms(turn=turn)) for _ in range(2)]
    assert set(rehearsal.verdicts(second.folder).values()) == {("skipped", "ALREADY_APPLIED")}


async def test_a_turn_for_another_reports_folder_is_another(rehearsal: Rehearsal) -> None:
    """Another ledger does not know what is applied through this one; the same folder written otherwise is the same."""
    async with turn_of(REPORTS, rehearsal.settings(), rehearsal.terms()) as turn:
        terms = rehearsal.terms(turn=turn)
        async with turn_of(Path("others/../reports"), rehearsal.settings(), terms) as same:
            assert (same.lock, same.ledger) == (turn.lock, turn.ledger)
        async with turn_of(Path("others"), rehearsal.settings(), terms) as other:
            assert other.ledger is not turn.ledger
            assert other.reports == Path("others")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(("https://a.example.com", "till"), ("https://b.example.com", "till"), id="another address"),
        pytest.param(("https://a.example.com", "till.one"), ("https://a.example.com", "till.two"), id="another till"),
        pytest.param(("https://a.example.com", "\udcfftill"), ("https://a.example.com", "till"), id="not UTF-8"),
    ],
)
def test_each_system_has_a_turn_of_its_own(tmp_path: Path, one: tuple[str, str], other: tuple[str, str]) -> None:
    """What is applied to one says nothing about another, so neither waits."""
    with RunLock.acquire(tmp_path, now=NOW, name=lock_name(System(*one))):
        RunLock.acquire(tmp_path, now=NOW, name=lock_name(System(*other))).__exit__(None, None, None)


# Who finds it taken


async def test_who_must_not_wait_is_told_who_has_it(rehearsal: Rehearsal) -> None:
    """Who, and what to do; nothing is taken in."""
    with taken(rehearsal):
        with pytest.raises(BusyError) as caught:
            await rehearsal.run(rehearsal.file(2), when_busy="fail")
        words = str(caught.value)
    assert words.startswith(f"{TOLD}{os.getpid()} of {user_name()} on {socket.gethostname()}, since ")
    assert words.endswith(". Run again later, or wait with --when-busy wait.")
    assert caught.value.exit_code is ExitCode.BUSY
    assert (run_folders(REPORTS), rehearsal.arrived) == ([], [])


@pytest.mark.parametrize(
    ("flags", "waits"),
    [
        pytest.param({}, True, id="somebody watches"),
        pytest.param({"unattended": True}, False, id="nobody watches"),
        pytest.param({"unattended": True, "when_busy": "wait"}, True, id="nobody watches, and it is to wait"),
        pytest.param({"when_busy": "fail"}, False, id="it is not to wait"),
    ],
)
async def test_whether_to_wait_is_a_setting(rehearsal: Rehearsal, flags: dict[str, Any], *, waits: bool) -> None:
    """By default a person waits, and a scheduler is told at once."""
    stop = Waiting(lambda: stop.request(SignalledError("Ctrl-C")), after=1)
    with taken(rehearsal), pytest.raises(Stopping if waits else BusyError):
        await rehearsal.run(rehearsal.file(2), rehearsal.terms(stop=stop), **flags)
    assert bool(stop.slept) == waits


async def test_who_waits_goes_on_when_the_first_ends(rehearsal: Rehearsal) -> None:
    """It looks every second, says once for whom it waits, and then runs as if nobody had been there."""
    lock = taken(rehearsal)
    stop = Waiting(lambda: lock.__exit__(None, None, None))
    witness = rehearsal.witness()
    run = await rehearsal.run(rehearsal.file(2), rehearsal.terms(witness, stop=stop))
    assert run.exit_code is ExitCode.DONE
    assert stop.slept[:3] == [LOOKED_AT] * 3
    (remark,) = witness.remarks
    assert remark.startswith(f"{TOLD}{os.getpid()} ")
    assert remark.endswith(". Waiting for its end.")


async def test_who_has_waited_knows_what_the_first_has_done(rehearsal: Rehearsal) -> None:
    """The ledger is brought up to date after the wait, not before it."""
    path = rehearsal.file(2)
    begun = asyncio.Event()
    stop = Waiting(begun.set, after=1)

    async with turn_of(REPORTS, rehearsal.settings(), rehearsal.terms()) as turn:
        second = asyncio.create_task(rehearsal.run(path, rehearsal.terms(stop=stop)))
        stop._after = 10_000  # it may look as often as it likes
        await rehearsal.run(path, rehearsal.terms(turn=turn))
    run = await second
    assert set(rehearsal.verdicts(run.folder).values()) == {("skipped", "ALREADY_APPLIED")}


async def test_a_stop_ends_the_wait_and_nothing_is_taken_in(rehearsal: Rehearsal) -> None:
    """Ctrl-C while it waits: it has not begun."""
    stop = Waiting(lambda: stop.request(SignalledError("Ctrl-C")))
    with taken(rehearsal), pytest.raises(Stopping):
        await rehearsal.run(rehearsal.file(2), rehearsal.terms(stop=stop))
    assert (run_folders(REPORTS), rehearsal.arrived) == ([], [])


async def test_a_deadline_while_it_waits_takes_the_file_in_and_sends_nothing(rehearsal: Rehearsal) -> None:
    """Whoever goes on tomorrow finds all of it; the other's turn stays the other's."""
    stop = Waiting(lambda: stop.request(DeadlineError("the deadline has come")))
    with taken(rehearsal):
        before = owner_of(REPORTS / LEDGER_FOLDER, lock_name(system(rehearsal)))
        run = await rehearsal.run(rehearsal.file(3), rehearsal.terms(stop=stop))
        assert owner_of(REPORTS / LEDGER_FOLDER, lock_name(system(rehearsal))) == before
    assert run.exit_code is ExitCode.DEADLINE
    assert run.summary.counts[Status.PENDING] == 3
    assert run.summary.ending is not None
    assert run.summary.ending.state is RunState.STOPPED
    assert rehearsal.arrived == []
    await rehearsal.resume(run.folder)
    assert rehearsal.rows_arrived == [2, 3, 4]


async def test_a_runs_own_deadline_ends_the_wait(rehearsal: Rehearsal) -> None:
    """A library's caller gives it as a setting, and nobody else looks at the clock."""
    began, stop = time.time(), Waiting(lambda: None)
    terms = rehearsal.terms(stop=stop, wall_clock=lambda: began + sum(stop.slept))
    with taken(rehearsal):
        run = await rehearsal.run(rehearsal.file(3), terms, deadline="10s")
    assert run.exit_code is ExitCode.DEADLINE
    assert rehearsal.arrived == []


async def test_to_go_on_needs_the_turn_too(rehearsal: Rehearsal) -> None:
    """That of the folder in which the run lies."""
    folder = await rehearsal.stopped(rehearsal.file(20), rows=2, max_workers=1)
    with taken(rehearsal), pytest.raises(BusyError, match="when-busy"):
        await rehearsal.resume(folder, when_busy="fail")
    assert rehearsal.arrived == []


# What is said of the neighbour


async def half_done(rehearsal: Rehearsal) -> Path:
    """Return a run of 20 rows of which some are recorded."""
    return await rehearsal.stopped(rehearsal.file(20), rows=5, max_workers=1)


async def test_the_neighbours_run_and_its_end_are_told(rehearsal: Rehearsal) -> None:
    """As long again as it has taken, when half of it is done."""
    folder = await half_done(rehearsal)
    started_at = (await rehearsal.resume(folder)).summary.info.started_at
    with taken(rehearsal, now=started_at) as lock:
        lock.tell(folder.name)
        words = neighbour_in_words(REPORTS, lock_name(system(rehearsal)), started_at + 60)
    assert f", run {folder.name}, 20 of 20 rows done." in words


async def test_how_long_it_will_take_is_told_of_a_run_in_one_stretch(rehearsal: Rehearsal) -> None:
    """After 60 s with a share of its rows done, the others take in proportion."""
    folder = await half_done(rehearsal)
    done = len(rehearsal.settled(folder))
    started_at = float(_head(folder, "started_at"))
    seconds = 60 / done * (20 - done)
    with taken(rehearsal, now=started_at) as lock:
        lock.tell(folder.name)
        words = neighbour_in_words(REPORTS, lock_name(system(rehearsal)), started_at + 60)
    until = time.strftime("%H:%M", time.localtime(started_at + 60 + seconds))
    assert f", run {folder.name}, {done} of 20 rows done, until about " in words
    assert until in words


async def test_of_a_run_of_which_nothing_is_done_its_rate_tells_how_long_it_takes(rehearsal: Rehearsal) -> None:
    """Nor can anybody see how fast a run is that was gone on with: its own word counts, until that has passed."""
    folder = await half_done(rehearsal)
    with closing(Journal.open_existing(folder / "journal.sqlite")) as journal:
        journal.note({"resumed_at": repr(NOW)})
    with taken(rehearsal) as lock:
        lock.tell(folder.name, NOW + 600)
        words, late = (
            neighbour_in_words(REPORTS, lock_name(system(rehearsal)), moment) for moment in (NOW + 60, NOW + 900)
        )
    told, at_last = (time.strftime("%H:%M", time.localtime(moment)) for moment in (NOW + 600, NOW + 900))
    assert words.endswith(f"until about {told}.")
    assert late.endswith(f"until about {at_last}.")


async def test_a_neighbour_that_has_no_run_yet_is_told_without(rehearsal: Rehearsal) -> None:
    """It reads its file, say; neither is one told whose run cannot be read."""
    with taken(rehearsal) as lock:
        bare = neighbour_in_words(REPORTS, lock_name(system(rehearsal)), NOW)
        lock.tell("20200101T000000Z-0000")
        assert neighbour_in_words(REPORTS, lock_name(system(rehearsal)), NOW) == bare
    assert ", run " not in bare


def test_a_neighbour_that_has_just_gone_is_no_person(tmp_path: Path) -> None:
    """Between the question and the look at it the first may have ended."""
    words = neighbour_in_words(tmp_path, "turn.lock", NOW)
    assert words == "Another run sends with the same ledger and user name."


def _head(folder: Path, key: str) -> str:
    with closing(sqlite3.connect(folder / "journal.sqlite")) as connection:
        ((value,),) = connection.execute("SELECT value FROM head WHERE key = ?", (key,))
    return str(value)


# The lock


def test_an_owner_says_who_it_is_of() -> None:
    """With the user's name when it was said."""
    assert (
        Owner(pid=7, host="till-7", since=NOW, user="asha").in_words().startswith("process 7 of asha on till-7, since")
    )
    assert Owner(pid=7, host="till-7", since=NOW).in_words().startswith("process 7 on till-7, since")
    assert Owner(pid=0, host="", since=0.0).in_words() == "a process that has only just begun"


def test_an_owner_that_an_older_version_wrote_is_read(tmp_path: Path) -> None:
    """It says neither user nor run."""
    with RunLock.acquire(tmp_path, now=NOW):
        (tmp_path / "run.lock").write_text('{"pid": 7, "host": "till-7", "since": 1.0}')
        assert owner_of(tmp_path) == Owner(pid=7, host="till-7", since=1.0)


def test_locks_of_two_names_in_a_folder_do_not_meet(tmp_path: Path) -> None:
    """A run's own, and those of the ledger."""
    with RunLock.acquire(tmp_path, now=1.0, name="a.lock"), RunLock.acquire(tmp_path, now=2.0, name="b.lock"):
        owners = [owner_of(tmp_path, name) for name in ("a.lock", "b.lock", "c.lock")]
    assert [owner and owner.since for owner in owners] == [1.0, 2.0, None]


def test_a_lock_that_cannot_tell_holds_all_the_same(tmp_path: Path, no_file_beyond: Callable[[int], Any]) -> None:
    """A full disk is no reason not to work."""
    with RunLock.acquire(tmp_path, now=1.0) as lock, no_file_beyond(0):
        lock.tell("20200101T000000Z-0000")
        assert owner_of(tmp_path) is not None


# Two processes


@pytest.fixture
async def first(terminal: Terminal, turnstile: Turnstile, sandbox: Sandbox) -> Path:
    """Start a process that runs a file and has the turn, 19 rows into it; return its run's folder."""
    _write(terminal, "first.csv", 30)
    await terminal.start("run", "first.csv", "--rate", "none", "--max-workers", "1")
    for _ in range(9):
        turnstile.let_one_go()
    await terminal.until(lambda: len(sandbox.applied) == 19)
    (folder,) = run_folders(terminal.reports)
    return folder


def _write(terminal: Terminal, name: str, rows: int) -> None:
    lines = [f"{name[0]}{row:04},B-{row},9199{row:08}" for row in range(rows)]
    (terminal.folder / name).write_text("\n".join(["redemptionId,billNumber,identifierValue", *lines, ""]))


async def test_a_second_process_is_told_and_exits_with_five(terminal: Terminal, first: Path) -> None:
    """On standard error, before anything of it is taken in."""
    _write(terminal, "second.csv", 2)
    ended = await terminal.run("run", "second.csv", "--when-busy", "fail")
    said = " ".join(ended.err.split())
    assert ended.code == ExitCode.BUSY
    assert f"{TOLD}{terminal.started[0].pid} of {user_name()} on {socket.gethostname()}, since " in said
    assert f", run {first.name}, " in said
    assert "--when-busy wait" in said
    assert run_folders(terminal.reports) == [first]


async def test_a_second_process_waits_for_the_first_and_goes_on(
    terminal: Terminal, first: Path, turnstile: Turnstile, sandbox: Sandbox
) -> None:
    """No row of the second is sent before the last of the first."""
    _write(terminal, "second.csv", 2)
    second = await terminal.start("run", "second.csv", "--when-busy", "wait", "--rate", "none")
    await second.says("Another run sends with the same ledger")
    turnstile.open()
    codes = [(await started.ended()).code for started in terminal.started]
    assert codes == [ExitCode.DONE, ExitCode.DONE]
    assert [each.identifier[0] for each in sandbox.applied] == ["f"] * 30 + ["s"] * 2
    assert first in run_folders(terminal.reports)


async def test_ctrl_c_ends_a_wait(terminal: Terminal, first: Path) -> None:
    """Nothing of it was taken in; the first goes on."""
    _write(terminal, "second.csv", 2)
    second = await terminal.start("run", "second.csv", "--when-busy", "wait")
    await second.says("Another run sends with the same ledger")
    second.send(signal.SIGINT)
    ended = await second.ended()
    assert ended.code == ExitCode.STOPPED_EARLY
    assert run_folders(terminal.reports) == [first]
    assert terminal.started[0].process.returncode is None


async def test_the_deadline_of_a_command_ends_its_wait(terminal: Terminal, first: Path, sandbox: Sandbox) -> None:
    """Its file is taken in for the next `resume`, and nothing of it is sent."""
    _write(terminal, "second.csv", 2)
    second = await terminal.start("run", "second.csv", "--when-busy", "wait", "--deadline", "1s", "--rate", "none")
    ended = await second.ended(within=10)
    assert ended.code == ExitCode.DEADLINE
    assert not any(each.identifier.startswith("s") for each in sandbox.applied)
    assert first in run_folders(terminal.reports)


async def test_the_turn_of_a_process_that_died_is_free(terminal: Terminal, first: Path, turnstile: Turnstile) -> None:
    """Killed in the middle of a run: the next one need not wait, and knows what may have been applied."""
    terminal.started[0].send(signal.SIGKILL)
    await terminal.started[0].ended()
    turnstile.open()
    _write(terminal, "second.csv", 2)
    ended = await terminal.run("run", "second.csv", "--when-busy", "fail", "--rate", "none")
    assert ended.code == ExitCode.DONE
    story = await terminal.run("history", "f0000", "--json")
    assert [told["run_id"] for told in story.objects] == [first.name]
