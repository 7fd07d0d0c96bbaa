"""`runs`, `report` and `abandon`: what the reports folder holds, told truly, and without sending anything."""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulkredeem.application import Choice, retry_run
from bulkredeem.journal import RunLock, user_name

if TYPE_CHECKING:
    from tests.conftest import Ended, Rehearsal

Typed = Callable[..., "Ended"]
WriteCsv = Callable[..., Path]
HEADER = ["redemptionId", "billNumber", "identifierValue"]
MANY = 200
"""More rows than are sent between two commits, so that a run is sure to die in the middle."""
REPORTS = ("results.csv", "not_done.csv", "summary.json")
UNREADABLE = Path("reports/20260101T000000Z-beef")
NOT_BEGUN = Path("reports/20260102T000000Z-dead")


def good_rows(count: int) -> list[list[str]]:
    """Return a file of so many rows, each of a redemption and a customer of its own."""
    return [HEADER, *([f"AB{number:04}", f"B-{number}", f"9199{number:08}"] for number in range(count))]


async def crash(rehearsal: Rehearsal, path: Path) -> Path:
    """Return the folder of a run that died when three of its rows, or some more, were recorded."""
    return await rehearsal.dead(
        lambda terms: rehearsal.run(path, terms, reports=Path("elsewhere"), rate="8/s"), 3, into="reports"
    )


def in_doubt(rehearsal: Rehearsal, folder: Path) -> set[int]:
    """Return the rows, of so many, within a journal's reach that have no outcome."""
    with closing(sqlite3.connect(folder / "journal.sqlite")) as connection:
        ((reach,),) = connection.execute("SELECT value FROM head WHERE key = 'reach'")
    return set(range(2, min(int(reach), MANY + 1) + 1)) - rehearsal.settled(folder)


class Shelf:
    """A reports folder with a run in every state; `running` is only the copy of one until somebody locks it."""

    finished: Path
    stopped: Path
    abandoned: Path
    crashed: Path
    running: Path

    async def fill(self, rehearsal: Rehearsal, write_csv: WriteCsv, typed: Typed) -> None:
        """Begin all runs, one after another."""
        path = write_csv([*good_rows(3), ["NOPE", "B-9", "919900000099"]])
        self.finished = (await rehearsal.run(path)).folder
        self.stopped = await rehearsal.stopped(write_csv(good_rows(12)), rows=5)
        self.abandoned = await rehearsal.stopped(write_csv(good_rows(12)), rows=5)
        typed("abandon", self.abandoned, "--reason", "the wrong shop")
        self.crashed = await crash(rehearsal, write_csv(good_rows(MANY)))
        self.running = await crash(rehearsal, write_csv(good_rows(MANY)))
        for folder in (UNREADABLE, NOT_BEGUN, Path("reports/my own notes")):
            folder.mkdir()
        (UNREADABLE / "journal.sqlite").write_text("Dear diary")


@pytest.fixture
async def shelf(rehearsal: Rehearsal, write_csv: WriteCsv, typed: Typed) -> Shelf:
    """Fill a shelf."""
    shelf = Shelf()
    await shelf.fill(rehearsal, write_csv, typed)
    return shelf


@pytest.fixture
def _worked_on(shelf: Shelf) -> Iterator[None]:
    """Work on one of its runs."""
    with RunLock.acquire(shelf.running, now=time.time()):
        yield


@pytest.fixture
async def stopped(rehearsal: Rehearsal, write_csv: WriteCsv) -> Path:
    """Give the folder of a run that was stopped in the middle of 20 rows."""
    return await rehearsal.stopped(write_csv(good_rows(20)), rows=6)


@pytest.fixture
async def crashed(rehearsal: Rehearsal, write_csv: WriteCsv) -> Path:
    """Give the folder of a run that died in the middle."""
    return await crash(rehearsal, write_csv(good_rows(MANY)))


def contents(folder: Path) -> dict[str, bytes]:
    """Read all reports of a run."""
    return {name: (folder / name).read_bytes() for name in REPORTS}


class TestRuns:
    """`bulkredeem runs`."""

    @pytest.mark.usefixtures("nothing_configured")
    def test_there_may_be_none(self, typed: Typed) -> None:
        """Without a reports folder that is said, to a program by silence, and nothing is made."""
        assert (typed("runs").out, typed("runs", "--reports", "there").out) == (
            "There are no runs in reports.\n",
            "There are no runs in there.\n",
        )
        told = typed("runs", "--json")
        assert (told.code, told.out, told.err) == (0, "", "There are no runs in reports.\n")
        assert not Path("reports").exists()

    @pytest.mark.usefixtures("_worked_on")
    def test_each_state_is_told(self, shelf: Shelf, rehearsal: Rehearsal, typed: Typed) -> None:
        """Unreadable ones come first, then by age; each with its counts, and what a person must know of its state."""
        shown = typed("runs")
        assert (shown.code, shown.err) == (0, "")
        runs = [each.splitlines() for each in f"\n{shown.out}".split("\n2")[1:]]
        names = (UNREADABLE, NOT_BEGUN, shelf.finished, shelf.stopped, shelf.abandoned, shelf.crashed, shelf.running)
        states = ("unreadable", "not_begun", "finished", "stopped", "abandoned", "crashed", "running")
        heads = [f"{name.name}  {state}"[1:] for name, state in zip(names, states, strict=True)]
        assert [head for head, *_ in runs] == heads
        remarks = [lines[-1].strip() for _, *lines in runs]
        assert remarks[0].startswith(f"{UNREADABLE}/journal.sqlite is no journal")
        assert remarks[1].startswith(f"{NOT_BEGUN} died while it read its file, and sent nothing: run the file again")
        assert remarks[2].endswith("fixes.csv: 4 rows: 3 success, 1 refused")
        assert remarks[3:5] == ["Ctrl-C", "the wrong shop"]
        doubtful = len(in_doubt(rehearsal, shelf.crashed))
        assert remarks[5] == f"up to {doubtful} pending rows may have been applied"
        assert remarks[6].startswith(f"by process {os.getpid()} of {user_name()} on {socket.gethostname()}, since ")

    @pytest.mark.usefixtures("_worked_on")
    def test_a_program_gets_a_line_for_each(self, shelf: Shelf, rehearsal: Rehearsal, typed: Typed) -> None:
        """The same as JSON: counts add up to the rows, and what does not apply is null."""
        told = typed("runs", "--json")
        assert (told.code, told.err) == (0, "")
        runs = {Path(each["folder"]): each for each in told.objects}
        assert len(runs) == len(told.objects) == 7
        for folder in (shelf.finished, shelf.stopped, shelf.abandoned, shelf.crashed, shelf.running):
            assert sum(runs[folder]["counts"].values()) == runs[folder]["rows"]
            assert runs[folder]["run_id"] == folder.name
        assert [runs[folder]["exit_code"] for folder in (shelf.finished, shelf.stopped)] == [1, 3]
        assert runs[shelf.crashed]["may_be_applied"] == len(in_doubt(rehearsal, shelf.crashed)) > 0
        assert (runs[shelf.running]["pid"], runs[shelf.running]["host"]) == (os.getpid(), socket.gethostname())
        assert (runs[UNREADABLE]["counts"], runs[UNREADABLE]["started_at"]) == (None, None)
        assert runs[UNREADABLE]["problem"]

    def test_looking_changes_nothing(self, shelf: Shelf, typed: Typed) -> None:
        """Whoever looks at the runs, again and again, leaves every journal as it is: a crashed one stays crashed."""
        before = {path: path.read_bytes() for path in Path("reports").rglob("journal.sqlite")}
        assert typed("runs").out == typed("runs").out
        assert {path: path.read_bytes() for path in Path("reports").rglob("journal.sqlite")} == before
        assert f"{shelf.crashed.name}  crashed\n" in typed("runs").out

    async def test_a_retry_names_the_run_it_is_of(self, rehearsal: Rehearsal, stopped: Path, typed: Typed) -> None:
        """A run over the rows of another one says so, to a person and to a program."""
        typed("abandon", stopped, "--reason", "to be retried")
        assert await retry_run(stopped, rehearsal.settings(), {}, Choice(), rehearsal.terms()) is not None
        assert f", again from {stopped.name}: " in typed("runs").out
        assert [each["retry_of"] for each in typed("runs", "--json").objects] == [None, stopped.name]


class TestReport:
    """`bulkredeem report`."""

    def test_lost_reports_are_written_as_they_were(self, stopped: Path, typed: Typed) -> None:
        """After all were deleted they are the same to the byte; it is exit 0, and the way on is said."""
        before = contents(stopped)
        for name in REPORTS:
            (stopped / name).unlink()
        written = typed("report", stopped.name)
        assert (written.code, written.err) == (0, "")
        assert contents(stopped) == before
        assert "Stopped early: Ctrl-C." in written.out
        assert written.out.splitlines()[-1] == f"bulkredeem resume reports/{stopped.name}"

    def test_a_program_gets_the_summary(self, stopped: Path, rehearsal: Rehearsal, typed: Typed) -> None:
        """One line of JSON, the same as `summary.json`, has standard output for itself."""
        told = typed("report", stopped.name, "--json", "--quiet")
        assert told.objects == [rehearsal.summary(stopped)]
        assert told.err.splitlines()[-1] == f"bulkredeem resume reports/{stopped.name}"

    def test_a_run_that_died_gets_its_reports(self, crashed: Path, rehearsal: Rehearsal, typed: Typed) -> None:
        """Rows that may have been applied say so, all others without an outcome are just pending; it can be resumed."""
        doubtful = in_doubt(rehearsal, crashed)
        told = typed("report", crashed.name, "--json")
        assert told.code == 0
        assert (told.objects[0]["state"], told.objects[0]["exit_code"]) == ("crashed", None)
        assert "The process died. " in told.err
        verdicts = rehearsal.verdicts(crashed)
        assert set(verdicts) == set(range(2, MANY + 2))
        assert {number for number, verdict in verdicts.items() if verdict == ("pending", "SENT_BEFORE")} == doubtful
        assert {number for number, verdict in verdicts.items() if verdict[0] == "success"} == rehearsal.settled(crashed)
        assert [each["state"] for each in typed("runs", "--json").objects] == ["crashed"]

    def test_a_journal_that_cannot_be_read_is_named(self, typed: Typed, nothing_configured: Path) -> None:
        """It is exit 2 and one sentence, and the file stays as it is."""
        journal = nothing_configured / UNREADABLE / "journal.sqlite"
        journal.parent.mkdir(parents=True)
        journal.write_text("Dear diary")
        refused = typed("report", UNREADABLE.name)
        assert (refused.code, refused.out) == (2, "")
        (sentence,) = refused.err.splitlines()
        assert sentence.startswith(f"{UNREADABLE}/journal.sqlite is no journal of this version of bulkredeem")
        assert journal.read_text() == "Dear diary"

    def test_a_run_has_several_names(self, stopped: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its folder, from wherever one stands, its name, how that begins, and `latest`."""
        names = [stopped, f"{stopped}/", stopped.resolve(), stopped.name, stopped.name[:16], "latest", "reports/latest"]
        assert [typed("report", name, "--json").objects[0]["run_id"] for name in names] == [stopped.name] * len(names)
        monkeypatch.chdir(stopped)
        assert typed("report", ".", "--reports", "..", "--json").objects[0]["run_id"] == stopped.name


class TestAbandon:
    """`bulkredeem abandon`."""

    def test_the_reason_stays_with_the_run(self, stopped: Path, rehearsal: Rehearsal, typed: Typed) -> None:
        """It stands in the summary and in the list, and rows without an outcome stay pending, for somebody to do."""
        before = rehearsal.verdicts(stopped)
        closed = typed("abandon", stopped.name, "--reason", "Müller's file of last year")
        assert (closed.code, closed.err) == (0, "")
        assert "Abandoned: Müller's file of last year. " in closed.out
        assert "Nothing goes on with the run." in closed.out
        summary = rehearsal.summary(stopped)
        assert (summary["state"], summary["stop_reason"]) == ("abandoned", "Müller's file of last year")
        assert rehearsal.verdicts(stopped) == before
        assert "Müller's file of last year" in typed("runs").out

    def test_a_run_that_died_can_be_closed(self, crashed: Path, rehearsal: Rehearsal, typed: Typed) -> None:
        """Its rows that may have been applied are not forgotten by that."""
        doubtful = in_doubt(rehearsal, crashed)
        told = typed("abandon", crashed.name, "--reason", "wrong", "--json", "--quiet")
        assert (told.code, [each["state"] for each in told.objects]) == (0, ["abandoned"])
        left = {number for number, verdict in rehearsal.verdicts(crashed).items() if verdict[1] == "SENT_BEFORE"}
        assert left == doubtful

    def test_an_empty_word_means_nothing(self, stopped: Path, typed: Typed) -> None:
        """A script whose variable is empty must not close the only run there is, nor one without a reason."""
        before = contents(stopped)
        nameless, unreasoned = typed("abandon", "", "--reason", "x"), typed("abandon", stopped, "--reason", " ")
        assert (nameless.code, unreasoned.code) == (2, 2)
        assert nameless.err == "An empty name is no run's; 'bulkredeem runs' lists those there are.\n"
        assert unreasoned.err == "--reason is empty: say why, since it is kept with the run.\n"
        assert contents(stopped) == before
        assert [each["state"] for each in typed("runs", "--json").objects] == ["stopped"]

    def test_what_is_at_its_end_stays_so(self, shelf: Shelf, typed: Typed) -> None:
        """A finished run and an abandoned one can be neither closed nor gone on with: exit 2, and nothing changes."""
        for folder, state in ((shelf.finished, "finished"), (shelf.abandoned, "abandoned")):
            before = contents(folder)
            refused = typed("abandon", folder, "--reason", "again")
            assert (refused.code, refused.out) == (2, "")
            assert refused.err == f"{folder} is {state}: there is nothing to abandon.\n"
            refused = typed("resume", folder)
            assert (refused.code, refused.out) == (2, "")
            assert refused.err == f"{folder} is {state}: there is nothing to go on with.\n"
            assert contents(folder) == before
