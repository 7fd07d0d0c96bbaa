"""The reports folder as a shelf: which runs there are, how far each has come, and which one a name means."""

from __future__ import annotations

import os
import pwd
import re
import socket
import sqlite3
from collections.abc import Callable, Collection, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulkredeem.application import find_run, newest_in, report_run, runs_in, unfinished_in
from bulkredeem.application.record import head_of, notes_of
from bulkredeem.application.shelf import Shelved, left_alone, look_at, settled_rows, stranger_of
from bulkredeem.columns import ColumnMap
from bulkredeem.errors import ExitCode, RunNotFoundError
from bulkredeem.journal import Journal, RunLock
from bulkredeem.model import Outcome, Status
from bulkredeem.report import point_latest_to
from bulkredeem.snapshot import SnapshotWriter, digest_of
from bulkredeem.summary import Ending, RunInfo, RunState

if TYPE_CHECKING:
    from tests.conftest import Rehearsal

pytestmark = pytest.mark.usefixtures("nothing_configured")

REPORTS = Path("reports")
HEADER = ("redemptionId", "billNumber", "identifierValue")
NONE = dict.fromkeys(Status, 0)
OLD, MIDDLE, NEW = "20261123T010000Z-aaaa", "20261123T020000Z-bbbb", "20261124T010000Z-cccc"


def ending_in(state: RunState) -> Ending:
    """Return an ending with this state."""
    return Ending(state=state, finished_at=2000.0, requests=7, exit_code=3, stop_reason="somebody's reason")


def shelve(
    run_id: str = OLD,
    *,
    started_at: float = 1000.0,
    recorded: Iterable[Outcome] = (),
    ending: Ending | None = None,
    reach: int = 0,
    doubted: Iterable[int] = (),
) -> Path:
    """Put a run of six rows on the shelf as its process would have left it, and return its folder."""
    folder = REPORTS / run_id
    folder.mkdir(parents=True)
    with (folder / "input.csv").open("w", encoding="utf-8", newline="") as file:
        writer = SnapshotWriter(file, HEADER)
        for number in range(2, 8):
            writer.add(number, (f"AB{number}", f"B-{number}", f"919900000{number}"))
    info = RunInfo(run_id=run_id, path="fixes.csv", sha256="5" * 64, rows=6, started_at=started_at)
    columns = ColumnMap(headers=HEADER, used={name: index for index, name in enumerate(HEADER)})
    head = head_of(info, columns, {}, digest_of(folder / "input.csv"))
    with closing(Journal.create(folder / "journal.sqlite", head)) as journal:
        if reach:
            journal.commit(reach=reach)
        for outcome in recorded:
            journal.append(outcome)
        journal.commit()
        journal.doubt(doubted)
        if ending:
            journal.note(notes_of(ending))
    return folder


def stranger(_reports: Path) -> Collection[int]:
    """Tell of another user than the one who runs this, and who owns all that is made here."""
    return {os.geteuid() + 1}


def test_whose_folder_it_is_is_told_of_others_alone() -> None:
    """By name, or by number where the system knows none."""
    folder = shelve()
    assert stranger_of(folder) == ""
    assert stranger_of(folder, stranger) == pwd.getpwuid(os.geteuid()).pw_name
    assert stranger_of(REPORTS / "nowhere", stranger) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody but an administrator may give a folder away")
def test_the_number_of_a_user_without_a_name_is_told() -> None:
    """A container knows few names."""
    folder = shelve()
    os.chown(folder, 4_000_111, -1)
    assert stranger_of(folder) == "user 4000111"
    (run,) = runs_in(REPORTS)
    assert run.stranger == "user 4000111"


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody but an administrator may give a folder away")
def test_who_owns_the_reports_folder_is_no_stranger() -> None:
    """That one could do anything there; and on some mounts all is somebody's."""
    folder = shelve(ending=ending_in(RunState.STOPPED))
    for each in (folder, REPORTS):
        os.chown(each, 4_000_111, -1)
    assert [run.folder for run in unfinished_in(REPORTS)] == [folder]


def test_what_others_have_put_there_is_shown_and_not_gone_on_with_unasked() -> None:
    """Whoever may write into the folder could put there what is to be sent; who names it means it."""
    folder = shelve(ending=ending_in(RunState.STOPPED))
    (run,) = runs_in(REPORTS, stranger)
    assert run.is_unfinished
    assert run.counts
    assert unfinished_in(REPORTS, stranger) == []
    assert [each.folder for each in unfinished_in(REPORTS)] == [folder]
    (remark,) = left_alone([run])
    assert f"{folder} (of {run.stranger})" in remark
    assert find_run(REPORTS, OLD, stranger) == find_run(REPORTS, OLD[:12], stranger) == folder
    assert left_alone(runs_in(REPORTS)) == ()


def test_the_newest_run_is_one_of_this_user() -> None:
    """`retry` and `verify` take it when no run is named; that of others is named, and why it is not taken."""
    shelve(ending=ending_in(RunState.FINISHED))
    with pytest.raises(
        RunNotFoundError, match=r"There is no run in reports\. Left alone, for others own the folders: "
    ):
        newest_in(REPORTS, stranger)
    assert newest_in(REPORTS) == REPORTS / OLD


def test_a_link_does_not_lead_to_what_others_have_put_there() -> None:
    """`latest` could be made to lead there; who named the link did not name that."""
    folder = shelve()
    (REPORTS / "latest").symlink_to(folder.name)
    assert find_run(REPORTS, "latest") == folder
    with pytest.raises(RunNotFoundError, match=f"reports/latest is a link to {folder}, a folder of "):
        find_run(REPORTS, "latest", stranger)


def test_not_all_folders_of_others_are_named() -> None:
    """There may be thousands."""
    runs = [Shelved(folder=REPORTS / str(at), state=RunState.STOPPED, stranger="mallory") for at in range(5)]
    (remark,) = left_alone(runs)
    assert "reports/0 (of mallory), reports/1 (of mallory), reports/2 (of mallory) and 2 more" in remark


def alone() -> Shelved:
    """Return the only run on the shelf."""
    (run,) = runs_in(REPORTS)
    return run


def test_an_empty_shelf_has_no_runs() -> None:
    """A reports folder that is not there, or is a file, or holds other things, is no error."""
    assert runs_in(REPORTS) == unfinished_in(REPORTS) == []
    REPORTS.mkdir()
    (REPORTS / "notes.txt").touch()
    (REPORTS / "archive" / OLD).mkdir(parents=True)
    assert runs_in(REPORTS) == []
    assert runs_in(REPORTS / "notes.txt") == []


@pytest.mark.parametrize("state", [RunState.FINISHED, RunState.STOPPED, RunState.ABANDONED])
def test_a_run_that_ended_says_how(outcome: Callable[..., Outcome], state: RunState) -> None:
    """State and reason are the journal's; the counts are its outcomes, and the rest of the rows is pending."""
    shelve(recorded=[outcome(2), outcome(5), outcome(3, status=Status.REFUSED)], ending=ending_in(state))
    run = alone()
    assert (run.state, run.ending, run.owner, run.problem) == (state, ending_in(state), None, "")
    assert run.counts == NONE | {Status.SUCCESS: 2, Status.REFUSED: 1, Status.PENDING: 3}
    assert run.info is not None
    assert (run.info.path, run.info.rows, run.info.started_at) == ("fixes.csv", 6, 1000.0)
    assert run.is_unfinished is (state is RunState.STOPPED)
    assert unfinished_in(REPORTS) == ([run] if state is RunState.STOPPED else [])
    assert settled_rows(run) == [2, 3, 5]


@pytest.mark.parametrize(
    ("reach", "settled", "doubtful"),
    [(0, [], 0), (4, [], 3), (4, [2, 4], 1), (7, [2], 5), (1000, [2, 3], 4), (4, [2, 3, 4], 0)],
)
def test_a_dead_run_says_how_many_rows_may_have_been_applied(
    outcome: Callable[..., Outcome], reach: int, settled: list[int], doubtful: int
) -> None:
    """Its journal says `running`, and nobody holds it: each open row within its reach may have been applied."""
    shelve(recorded=map(outcome, settled), reach=reach)
    run = alone()
    assert (run.state, run.is_unfinished, run.ending, run.owner) == (RunState.CRASHED, True, None, None)
    assert run.doubtful == doubtful
    assert run.counts == NONE | {Status.SUCCESS: len(settled), Status.PENDING: 6 - len(settled)}


@pytest.mark.parametrize("state", [RunState.STOPPED, RunState.CRASHED])
def test_rows_left_in_doubt_are_counted_until_they_are_settled(
    outcome: Callable[..., Outcome], state: RunState
) -> None:
    """Of a run that says how it ended only what it left in doubt counts, whatever its reach."""
    shelve(recorded=[outcome(2), outcome(4)], reach=7, doubted=[3, 4, 7], ending=ending_in(state))
    assert alone().doubtful == 2


def test_the_same_is_said_before_and_after_the_death_was_written_down(outcome: Callable[..., Outcome]) -> None:
    """Whoever writes the reports of a dead run anew writes down what is in doubt, and the list stays as it was."""
    folder = shelve(recorded=[outcome(2)], reach=5)
    before = alone()
    report_run(folder, 3000.0)
    after = alone()
    assert (after.state, after.doubtful, after.counts) == (before.state, before.doubtful, before.counts)
    assert after.doubtful == 3


def test_a_list_writes_to_no_run(outcome: Callable[..., Outcome]) -> None:
    """Looking is not working on it: a dead run stays as its process left it, to the last byte."""
    folder = shelve(recorded=[outcome(2)], reach=5)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    runs_in(REPORTS)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_run_under_way_names_its_process(outcome: Callable[..., Outcome]) -> None:
    """The operating system's lock counts, whatever the journal says; how far it has come can be seen meanwhile."""
    folder = shelve(recorded=[outcome(2)], reach=5, ending=ending_in(RunState.STOPPED))
    with RunLock.acquire(folder, now=1234.0):
        run = alone()
    assert (run.state, run.is_unfinished, run.doubtful) == (RunState.RUNNING, False, 0)
    assert run.owner is not None
    assert (run.owner.pid, run.owner.host, run.owner.since) == (os.getpid(), socket.gethostname(), 1234.0)
    assert run.counts == NONE | {Status.SUCCESS: 1, Status.PENDING: 5}
    assert alone().state is RunState.STOPPED


def test_a_run_that_died_while_it_read_its_file_has_not_begun() -> None:
    """Without a journal nothing was sent; while its process lives it reads its file, and is none to go on with."""
    folder = REPORTS / OLD
    folder.mkdir(parents=True)
    (folder / "input.csv").write_text("row_number,error_co")
    (folder / ".journal.sqlite.part").touch()
    run = alone()
    assert (run.state, run.info, run.counts, run.is_unfinished) == (RunState.NOT_BEGUN, None, None, False)
    assert run.problem.startswith(f"{folder} died while it read its file, and sent nothing: run the file again")
    with RunLock.acquire(folder, now=1234.0):
        run = alone()
    assert (run.state, run.problem, run.is_unfinished) == (RunState.RUNNING, "It reads its file.", False)
    assert run.owner is not None


def cut(folder: Path) -> None:
    """Leave half of the journal."""
    path = folder / "journal.sqlite"
    path.write_bytes(path.read_bytes()[:5000])


def of_tomorrow(folder: Path) -> None:
    """Let the journal be of a later version."""
    with closing(sqlite3.connect(folder / "journal.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")


def foreign(folder: Path) -> None:
    """Put something else in its place."""
    (folder / "journal.sqlite").write_bytes(b"something of somebody's")


def a_folder(folder: Path) -> None:
    """Put a folder in its place."""
    (folder / "journal.sqlite").unlink()
    (folder / "journal.sqlite").mkdir()


def beheaded(folder: Path) -> None:
    """Take out of the journal what the run is."""
    with closing(sqlite3.connect(folder / "journal.sqlite")) as connection, connection:
        connection.execute("DELETE FROM head WHERE key = 'run_id'")


def of_an_unknown_state(folder: Path) -> None:
    """Let the journal say a state that is none."""
    with closing(sqlite3.connect(folder / "journal.sqlite")) as connection, connection:
        connection.execute("UPDATE head SET value = 'asleep' WHERE key = 'state'")


def without_snapshot(folder: Path) -> None:
    """Delete the run's copy of the rows."""
    (folder / "input.csv").unlink()


def with_an_empty_snapshot(folder: Path) -> None:
    """Leave nothing in it."""
    (folder / "input.csv").write_bytes(b"")


def with_other_bytes(folder: Path) -> None:
    """Let the snapshot be no text."""
    (folder / "input.csv").write_bytes(b"row_number,\xff\r\n2,\xff\r\n")


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        of_tomorrow,
        foreign,
        a_folder,
        beheaded,
        of_an_unknown_state,
        without_snapshot,
        with_an_empty_snapshot,
        with_other_bytes,
    ],
)
def test_a_run_that_cannot_be_read_is_named_and_hides_no_other(
    outcome: Callable[..., Outcome], damage: Callable[[Path], None]
) -> None:
    """It says why, is none to go on with, is left as it is; and the others are listed beside it."""
    damaged, sound = shelve(OLD, recorded=[outcome(2)], reach=5), shelve(NEW)
    damage(damaged)
    before = {path: path.read_bytes() for path in damaged.iterdir() if path.is_file()}
    first, second = runs_in(REPORTS)
    assert (first.folder, first.state, first.info, first.is_unfinished) == (damaged, RunState.UNREADABLE, None, False)
    assert str(damaged) in first.problem
    assert first.problem.endswith(".")
    assert (second.folder, second.state) == (sound, RunState.CRASHED)
    assert unfinished_in(REPORTS) == [second]
    assert newest_in(REPORTS) == sound
    assert {path: path.read_bytes() for path in damaged.iterdir() if path.is_file()} == before


def test_runs_are_listed_from_the_oldest_on() -> None:
    """The moment at which a run began decides, not the name of its folder; `newest_in` is the last of them."""
    for run_id, started_at in ((NEW, 30.0), (OLD, 20.0), (MIDDLE, 10.0)):
        shelve(run_id, started_at=started_at, ending=ending_in(RunState.STOPPED))
    point_latest_to(REPORTS / MIDDLE)
    assert [run.folder.name for run in runs_in(REPORTS)] == [MIDDLE, OLD, NEW]
    assert [run.folder.name for run in unfinished_in(REPORTS)] == [MIDDLE, OLD, NEW]
    assert newest_in(REPORTS) == REPORTS / NEW


def test_the_newest_run_is_one_that_has_begun() -> None:
    """A folder without a journal is passed over; without any run that is one sentence, and exit 2."""
    (REPORTS / NEW).mkdir(parents=True)
    with pytest.raises(RunNotFoundError, match="There is no run in reports") as caught:
        newest_in(REPORTS)
    assert caught.value.exit_code is ExitCode.COULD_NOT_START
    shelve(OLD)
    assert newest_in(REPORTS) == REPORTS / OLD


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(OLD, id="its name"),
        pytest.param(f"reports/{OLD}", id="its path"),
        pytest.param(f"reports/{OLD}/", id="its path with a slash"),
        pytest.param("20261123T01", id="how its name begins"),
        pytest.param("latest", id="the link"),
        pytest.param("reports/latest", id="the link's path"),
    ],
)
def test_a_run_is_found_by_what_a_person_calls_it(name: str) -> None:
    """Whatever it was called, it is named by its own folder from then on."""
    for run_id in (OLD, MIDDLE, NEW):
        shelve(run_id)
    point_latest_to(REPORTS / OLD)
    assert find_run(REPORTS, name) == REPORTS / OLD


def test_a_run_is_found_wherever_it_lies() -> None:
    """A path outside the reports folder counts, also when the run's folder was given another name."""
    kept = Path("kept/of-november")
    kept.parent.mkdir()
    shelve(OLD).rename(kept)
    assert find_run(REPORTS, "kept/of-november") == kept
    assert find_run(REPORTS, str(kept.absolute())) == kept.absolute()
    assert look_at(kept).info is not None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("20261123", "2 runs in reports begin with 20261123; 'bulkredeem runs' lists those there are."),
        ("2026112", "3 runs in reports begin with 2026112; 'bulkredeem runs' lists those there are."),
        ("20270101", "There is no run 20270101 in reports; 'bulkredeem runs' lists those there are."),
        ("latest", "There is no run latest in reports; 'bulkredeem runs' lists those there are."),
        ("fixes.csv", "There is no run fixes.csv in reports; 'bulkredeem runs' lists those there are."),
        ("20261125T", "There is no run 20261125T in reports; 'bulkredeem runs' lists those there are."),
    ],
)
def test_a_name_that_means_none_or_several_is_said(name: str, said: str) -> None:
    """Nobody goes on with a run by guessing: exit 2."""
    for run_id in (OLD, MIDDLE, NEW):
        shelve(run_id)
    Path("fixes.csv").touch()
    (REPORTS / "20261125T010000Z-dddd").mkdir()
    with pytest.raises(RunNotFoundError, match=f"^{re.escape(said)}$") as caught:
        find_run(REPORTS, name)
    assert caught.value.exit_code is ExitCode.COULD_NOT_START


def test_no_reports_folder_holds_no_run() -> None:
    """A folder that is not there is said as a run that is not there."""
    with pytest.raises(RunNotFoundError, match="There is no run 2026 in nowhere"):
        find_run(Path("nowhere"), "2026")


async def test_real_runs_are_listed_as_they_are(rehearsal: Rehearsal) -> None:
    """One that finished, one that stopped and one that died, each as it was left by its process."""
    finished = await rehearsal.run(rehearsal.file(3), rehearsal.terms(wall_clock=lambda: 1000.0))
    stopped = await rehearsal.stopped(rehearsal.file(60), resend=True)
    rehearsal.sandbox.latency = 0.02
    dead = await rehearsal.dead(partial(rehearsal.run, rehearsal.file(60), rate="1/s", resend=True), 1)
    first, second = (run for run in runs_in(REPORTS) if run.folder.name != dead.name)
    assert (first.folder, first.state, first.ending) == (finished.folder, RunState.FINISHED, finished.summary.ending)
    assert (second.folder, second.state, second.counts) == (stopped, RunState.STOPPED, counted(rehearsal, stopped))
    (third,) = runs_in(dead.parent)
    settled = rehearsal.settled(dead)
    assert (third.state, third.counts) == (
        RunState.CRASHED,
        NONE | {Status.SUCCESS: len(settled), Status.PENDING: 60 - len(settled)},
    )
    assert 0 < third.doubtful <= 60 - len(settled)


def counted(rehearsal: Rehearsal, folder: Path) -> dict[Status, int]:
    """Return the counts of a run's summary."""
    return {Status(name): count for name, count in rehearsal.summary(folder)["counts"].items()}
