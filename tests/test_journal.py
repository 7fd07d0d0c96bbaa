"""The journal, on real files: whole or not there, what was committed comes back exactly, and outlives the process."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import FrozenInstanceError, dataclass, fields
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkredeem.counters import LATENCIES, Counters
from bulkredeem.errors import ExitCode, JournalError, JournalUnreadableError, Stopping
from bulkredeem.journal import APPLICATION_ID, SCHEMA_VERSION, Journal, Planned, Totals
from bulkredeem.model import Outcome, Status
from bulkredeem.summary import plain

Make = Callable[..., Outcome]
Limit = Callable[[int], AbstractContextManager[None]]
Door = Callable[[Path], Journal]
DOORS = [
    pytest.param(Journal.open_existing, id="to go on"),
    pytest.param(Journal.open_to_read, id="to read"),
]
"""Both ways to open a journal that is there."""

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
OUTCOMES = st.lists(
    st.builds(
        Outcome,
        row_number=st.integers(2, 2**63 - 1),
        status=st.sampled_from(Status),
        error_code=TEXT,
        error_message=TEXT,
        reason=TEXT,
        warnings=st.lists(TEXT, max_size=3).map(tuple),
        http_status=st.none() | st.integers(100, 599),
        attempts=st.integers(0, 10**6),
        request_id=TEXT,
        finished_at=st.floats(0, 1e11),
    ),
    max_size=8,
    unique_by=lambda outcome: outcome.row_number,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Say where the journal will be."""
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    """Give a new journal."""
    journal = Journal.create(path, {"run_id": "r"})
    yield journal
    journal.close()


def durable(path: Path) -> list[Outcome]:
    """Read the outcomes as another process would find them."""
    with closing(Journal.open_existing(path)) as journal:
        return list(journal.outcomes())


def statement(path: Path, sql: str) -> Any:
    """Do something to the file behind the journal's back, and return what it says."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(sql).fetchone()


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder with their bytes."""
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def names(folder: Path) -> list[str]:
    """Return the names of all that is in a folder."""
    return sorted(each.name for each in folder.iterdir())


@given(outcomes=OUTCOMES, groups=st.lists(st.integers(0, 8), max_size=4))
@settings(max_examples=25, deadline=None)
def test_outcomes_come_back_exactly_and_by_row_number(outcomes: list[Outcome], groups: list[int]) -> None:
    """Whatever the order of appending and wherever the commit groups end, every field of every outcome survives."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j"
        journal = Journal.create(path, {})
        for index, outcome in enumerate(outcomes):
            if index in groups:
                journal.commit()
            journal.append(outcome)
        journal.commit()
        assert journal.waiting == 0
        assert list(journal.outcomes()) == sorted(outcomes, key=lambda outcome: outcome.row_number)
        journal.close()
        assert durable(path) == sorted(outcomes, key=lambda outcome: outcome.row_number)


def test_only_a_commit_makes_durable(journal: Journal, path: Path, outcome: Make) -> None:
    """A group becomes visible whole, and what was appended since then waits."""
    journal.append(outcome(3))
    journal.append(outcome(2))
    assert (journal.waiting, durable(path)) == (2, [])
    journal.commit()
    assert (journal.waiting, durable(path)) == (0, [outcome(2), outcome(3)])
    journal.append(outcome(4))
    assert (journal.waiting, len(durable(path))) == (1, 2)


def test_closing_commits_nothing(journal: Journal, path: Path, outcome: Make) -> None:
    """What waits when the journal is closed is pending: nobody promised otherwise."""
    journal.append(outcome())
    journal.close()
    assert durable(path) == []


def test_what_comes_during_a_commit_waits_for_the_next(journal: Journal, path: Path, outcome: Make) -> None:
    """An outcome that is appended while a thread commits the group before it is neither lost nor in that group."""

    def append(sql: str) -> None:
        if sql == "COMMIT" and not journal.waiting > 1:
            journal.append(outcome(3))

    journal.append(outcome(2))
    journal._connection.set_trace_callback(append)
    journal.commit()
    journal._connection.set_trace_callback(None)
    assert (journal.waiting, durable(path)) == (1, [outcome(2)])
    journal.commit()
    assert (journal.waiting, durable(path)) == (0, [outcome(2), outcome(3)])


def test_it_knows_which_rows_a_kill_would_leave_in_doubt(journal: Journal, outcome: Make) -> None:
    """Of what waits, the rows that were sent may have been applied; those that never were may not."""
    journal.append(outcome(2, attempts=1))
    journal.commit()
    journal.append(outcome(3, attempts=2))
    journal.append(outcome(4, attempts=0, status=Status.INVALID))
    assert journal.sent_and_waiting == {3}


def test_a_commit_of_nothing_is_nothing(journal: Journal, path: Path) -> None:
    """An empty group writes nothing, so that an idle run does not keep the disk busy."""
    before = path.with_name(path.name + "-wal").stat().st_size
    journal.commit()
    assert path.with_name(path.name + "-wal").stat().st_size == before


def test_it_is_as_durable_as_promised(journal: Journal, path: Path) -> None:
    """Write-ahead log, a sync for each group, and a file that says whose it is and of which version."""
    assert journal._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert statement(path, "PRAGMA journal_mode") == ("wal",)
    assert statement(path, "PRAGMA application_id") == (APPLICATION_ID,)
    assert statement(path, "PRAGMA user_version") == (SCHEMA_VERSION,)


def test_a_new_journal_says_what_the_run_is_and_nothing_else(path: Path) -> None:
    """A new journal holds its head, knows of no outcome, and says that no row may have been sent."""
    with closing(Journal.create(path, {"run_id": "r", "rows": "3"})) as journal:
        assert journal.head() == {"run_id": "r", "rows": "3"}
        assert journal.reach == journal.waiting == 0
        assert (list(journal.outcomes()), list(journal.settled()), list(journal.doubted())) == ([], [], [])
        assert list(journal.counters()) == []
        assert journal.totals() == Totals(counts=dict.fromkeys(Status, 0), attempts=0, last_finished_at=None)
    assert names(path.parent) == [path.name]


def test_the_head_can_be_added_to(journal: Journal, path: Path) -> None:
    """What the run is stands there from the start; how it ended is added, replaced, and durable at once."""
    journal.note({"state": "stopped", "run_id": "r2"})
    journal.note({"state": "finished"})
    with closing(Journal.open_to_read(path)) as again:
        assert again.head() == {"run_id": "r2", "state": "finished"}


def test_the_reach_is_durable_at_once(journal: Journal, path: Path) -> None:
    """Whoever opens the journal after a death learns of every row that may have been sent."""
    for row_number in (40, 80):
        journal.commit(reach=row_number)
        with closing(Journal.open_to_read(path)) as again:
            assert again.reach == row_number


def test_rows_in_doubt_are_listed_once_and_in_order(journal: Journal, path: Path, outcome: Make) -> None:
    """A row said to be in doubt stays on the list, also when it is said twice and when it has an outcome by now."""
    journal.doubt([9, 4])
    journal.doubt(iter([4, 7]))
    journal.append(outcome(9))
    journal.commit()
    with closing(Journal.open_to_read(path)) as again:
        assert list(again.doubted()) == [4, 7, 9]
        assert list(again.settled()) == [9]


def test_doubt_can_come_along_from_an_older_run(path: Path) -> None:
    """A new journal can begin with rows that an older run may have had applied, durable with the rest of it."""
    Journal.create(path, {}, doubted=iter([5, 3])).close()
    with closing(Journal.open_existing(path)) as journal:
        assert list(journal.doubted()) == [3, 5]


def test_the_totals_count_what_is_durable(journal: Journal, outcome: Make) -> None:
    """Outcomes are counted by status, tries are added up, and what only waits does not count."""
    journal.append(outcome(2, attempts=1, finished_at=30.5))
    journal.append(outcome(3, attempts=4, finished_at=20.0, status=Status.REFUSED))
    journal.append(outcome(4, attempts=0, finished_at=10.0, status=Status.INVALID))
    journal.commit()
    journal.append(outcome(5, attempts=7, finished_at=99.0))
    assert list(journal.settled()) == [2, 3, 4]
    assert journal.totals() == Totals(
        counts=dict.fromkeys(Status, 0) | {Status.SUCCESS: 1, Status.REFUSED: 1, Status.INVALID: 1},
        attempts=5,
        last_finished_at=30.5,
    )


def test_a_new_journal_is_synced_before_it_has_its_name(path: Path) -> None:
    """First the file is on the disk, then it is renamed, then its name is on the disk: in no other order."""
    heard = []

    def hear(_frame: FrameType, event: str, subject: object) -> None:
        if event == "c_call" and subject in (os.fsync, os.rename):
            heard.append(subject)

    before = sys.getprofile()
    sys.setprofile(hear)
    try:
        Journal.create(path, {}).close()
    finally:
        sys.setprofile(before)
    assert heard == [os.fsync, os.rename, os.fsync]


@pytest.mark.parametrize("content", [b"", b"something of somebody's"], ids=["empty", "full"])
def test_an_existing_file_is_never_overwritten(path: Path, content: bytes) -> None:
    """Whatever lies where the journal should be, it stays as it is."""
    path.write_bytes(content)
    with pytest.raises(JournalError, match="exists already; nothing was written"):
        Journal.create(path, {})
    assert contents(path.parent) == {path.name: content}


def text_of_somebody(aside: Path) -> None:
    """Lay down a file that is no database."""
    aside.write_text("something of somebody's")


def database_of_somebody(aside: Path) -> None:
    """Lay down a database with a table that no journal has."""
    statement(aside, "CREATE TABLE theirs (a)")


@pytest.mark.parametrize("lay_down", [text_of_somebody, database_of_somebody])
def test_what_lies_aside_does_not_get_into_a_journal(path: Path, lay_down: Callable[[Path], None]) -> None:
    """The journal is built under another name; whatever an earlier process left under that name is not built upon."""
    aside = path.with_name(".journal.sqlite.part")
    lay_down(aside)
    Journal.create(path, {"run_id": "r"}).close()
    assert names(path.parent) == [path.name]
    tables = statement(path, "SELECT group_concat(name) FROM sqlite_schema WHERE type = 'table'")
    assert tables == ("head,outcome,doubted,planned,previous,counters",)


def test_a_folder_in_the_way_is_said(path: Path) -> None:
    """Where the name aside is taken by a folder, no journal is made, and the folder stays."""
    aside = path.with_name(".journal.sqlite.part")
    aside.mkdir()
    with pytest.raises(JournalError, match="Is a directory"):
        Journal.create(path, {})
    assert names(path.parent) == [aside.name]


def test_a_creation_that_fails_leaves_nothing(path: Path) -> None:
    """Whatever goes wrong while a journal is built, nothing is there afterwards, and the error is passed on."""

    def rows() -> Iterator[int]:
        yield 2
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Journal.create(path, {"run_id": "r"}, doubted=rows())
    assert names(path.parent) == []


def test_a_name_that_is_taken_while_a_journal_is_built_is_said(path: Path) -> None:
    """What came there meanwhile stays, nothing lies beside it, and the sentence names the journal and why."""

    def rows() -> Iterator[int]:
        path.mkdir()
        yield 2

    with pytest.raises(JournalError) as refused:
        Journal.create(path, {"run_id": "r"}, doubted=rows())
    assert str(refused.value) == f"The journal {path} cannot be made: Is a directory."
    assert names(path.parent) == [path.name]


def test_a_row_that_is_planned_twice_makes_no_journal(path: Path) -> None:
    """What SQLite says of it is told in our words, with the name that the journal was to have."""
    row = Planned(2, "invalid", "DUPLICATE_ROW", "as row 3")
    with pytest.raises(JournalError) as refused:
        Journal.create(path, {"run_id": "r"}, planned=[row, row])
    assert str(refused.value) == (
        f"The journal {path} failed (UNIQUE constraint failed: planned.row_number); what it had recorded stays"
        " recorded."
    )
    assert names(path.parent) == []


KILLED_WHILE_BUILDING = """
import os, signal, sys
from pathlib import Path
from bulkredeem.journal import Journal

def rows():
    yield from range(2, 100_000)
    os.kill(os.getpid(), signal.SIGKILL)

Journal.create(Path(sys.argv[1]), {"run_id": "r"}, doubted=rows())
"""


def test_a_kill_while_a_journal_is_built_leaves_none(path: Path) -> None:
    """A process that is killed before its journal is whole leaves none, and the next one is not built upon its rest."""
    process = subprocess.run([sys.executable, "-c", KILLED_WHILE_BUILDING, str(path)], check=False)
    assert process.returncode == -signal.SIGKILL
    assert names(path.parent)
    with pytest.raises(JournalUnreadableError, match="There is no journal"):
        Journal.open_existing(path)
    Journal.create(path, {"run_id": "r2"}).close()
    with closing(Journal.open_existing(path)) as journal:
        assert (journal.head(), list(journal.doubted())) == ({"run_id": "r2"}, [])


@pytest.mark.parametrize("size", [0, 1, 4096, 8192, 12288, 16384, 20480, 32767])
def test_on_a_full_disk_a_new_journal_is_whole_or_not_there(path: Path, no_file_beyond: Limit, size: int) -> None:
    """Wherever the disk fails, the error is ours, nothing lies aside, and a journal that is there is a whole one."""
    with no_file_beyond(size), pytest.raises(JournalError) as caught:
        Journal.create(path, {"run_id": "r"}, doubted=[3])
    assert caught.value.exit_code is ExitCode.STOPPED_EARLY
    assert [name for name in names(path.parent) if not name.startswith(path.name)] == []
    if path.exists():
        with closing(Journal.open_existing(path)) as journal:
            assert (journal.head(), list(journal.doubted())) == ({"run_id": "r"}, [3])


@pytest.mark.parametrize("door", DOORS)
def test_a_missing_journal_is_not_made(path: Path, door: Door) -> None:
    """Opening what is not there makes no empty journal."""
    with pytest.raises(JournalUnreadableError, match="There is no journal") as caught:
        door(path)
    assert caught.value.exit_code is ExitCode.COULD_NOT_START
    assert names(path.parent) == []


@pytest.mark.parametrize("door", DOORS)
def test_what_cannot_be_read_at_all_is_said(tmp_path: Path, door: Door) -> None:
    """A folder by the name of a journal is a sentence, not a traceback."""
    with pytest.raises(JournalUnreadableError, match="cannot be read: Is a directory"):
        door(tmp_path)


def foreign_text(path: Path) -> None:
    """Lay down a file that is no database."""
    path.write_bytes(b"redemptionId,billNumber\r\n" * 200)


def nothing_in_it(path: Path) -> None:
    """Lay down an empty file, which SQLite takes for an empty database."""
    path.touch()


def foreign_database(path: Path) -> None:
    """Lay down somebody else's database."""
    statement(path, "CREATE TABLE outcome (row_number)")


def foreign_database_with_a_log(path: Path) -> None:
    """Lay down somebody else's database that has a write-ahead log, as a journal of version 1 might."""
    statement(path, "PRAGMA journal_mode = WAL")
    statement(path, "CREATE TABLE outcome (row_number)")


def newer_version(path: Path) -> None:
    """Lay down a journal of a later version."""
    Journal.create(path, {"run_id": "r"}).close()
    statement(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "lay_down", [foreign_text, nothing_in_it, foreign_database, foreign_database_with_a_log, newer_version]
)
def test_what_is_none_of_ours_is_refused_untouched(path: Path, lay_down: Callable[[Path], None], door: Door) -> None:
    """A foreign file and a journal of a later version are named, keep every byte, and get no company."""
    lay_down(path)
    before = contents(path.parent)
    with pytest.raises(JournalUnreadableError, match=r"journal\.sqlite is no journal of this version") as caught:
        door(path)
    assert caught.value.exit_code is ExitCode.COULD_NOT_START
    assert contents(path.parent) == before


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "sql", [f"PRAGMA user_version = {SCHEMA_VERSION + 1}", "PRAGMA application_id = 7"], ids=["newer", "foreign"]
)
def test_what_stands_only_in_the_log_counts(path: Path, sql: str, door: Door) -> None:
    """A later version that has upgraded a journal and died may have said so in the write-ahead log alone."""
    source = path.with_name("source")
    Journal.create(source, {"run_id": "r"}).close()
    with closing(sqlite3.connect(source, isolation_level=None)) as connection:
        connection.execute(sql)
        left_by_a_kill(source, path)
    before = contents(path.parent)
    with pytest.raises(JournalUnreadableError, match="is no journal of this version"):
        door(path)
    assert before.items() <= contents(path.parent).items()


def left_by_a_kill(source: Path, target: Path) -> None:
    """Copy what is on the disk while a process has it open; the index of the log is in that process's memory."""
    for suffix in ("", "-wal"):
        target.with_name(target.name + suffix).write_bytes(source.with_name(source.name + suffix).read_bytes())


@cache
def sound() -> bytes:
    """Return a closed journal of several pages with 60 outcomes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j"
        with closing(Journal.create(path, {"run_id": "r"}, doubted=[3])) as journal:
            for number in range(2, 62):
                journal.append(Outcome(row_number=number, status=Status.SUCCESS, error_message="x" * 200))
            journal.commit()
        return path.read_bytes()


PAGE = 4096


def cut_to(share: float) -> bytes:
    """Return the first part of a journal."""
    return sound()[: int(len(sound()) * share)]


def overwritten(at: int, junk: bytes) -> bytes:
    """Return a journal with other bytes at a place."""
    return sound()[:at] + junk + sound()[at + len(junk) :]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(lambda: cut_to(0.5), id="half of it"),
        pytest.param(lambda: sound()[:-1], id="all but a byte"),
        pytest.param(lambda: sound()[:PAGE], id="one page"),
        pytest.param(lambda: sound()[:200], id="not even a page"),
        pytest.param(lambda: sound()[:60], id="not even a header"),
        pytest.param(lambda: sound()[:-PAGE], id="all but a page"),
        pytest.param(lambda: overwritten(16, b"\xff\xff"), id="no page size"),
        pytest.param(lambda: overwritten(100, bytes(range(256))), id="no tables"),
        pytest.param(lambda: overwritten(PAGE, bytes(len(sound()) - PAGE)), id="zeros behind the first page"),
        pytest.param(lambda: overwritten(4 * PAGE, b"\xa5" * PAGE), id="a page of junk"),
        pytest.param(lambda: sound().replace(b"TABLE outcome (", b"TABLE outcome \x80"), id="words that are no text"),
    ],
)
def test_a_damaged_journal_is_named_and_never_written_to(path: Path, damaged: Callable[[], bytes], door: Door) -> None:
    """A journal that was cut or overwritten is called damaged, with a way out, keeps every byte and gets no company."""
    path.write_bytes(damaged())
    with pytest.raises(JournalUnreadableError, match=r"journal\.sqlite is damaged .*Put back a copy") as caught:
        door(path)
    assert caught.value.exit_code is ExitCode.COULD_NOT_START
    assert contents(path.parent) == {path.name: damaged()}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "damaged",
    [
        pytest.param(lambda: sound()[:15], id="a few bytes"),
        pytest.param(lambda: overwritten(0, os.urandom(100)), id="a header of junk"),
        pytest.param(lambda: overwritten(0, bytes(PAGE)), id="a first page of zeros"),
    ],
)
def test_without_its_header_a_journal_is_none(path: Path, damaged: Callable[[], bytes], door: Door) -> None:
    """When the very beginning is gone nobody can say whose file it was: named, and left as it is."""
    content = damaged()
    path.write_bytes(content)
    with pytest.raises(JournalUnreadableError, match="is no journal of this version"):
        door(path)
    assert contents(path.parent) == {path.name: content}


def test_damage_beside_a_log_is_named_too(path: Path) -> None:
    """A main file that was cut while outcomes still stand in the write-ahead log is not patched up from there."""
    source = path.with_name("source")
    source.write_bytes(sound())
    with closing(Journal.open_existing(source)) as journal:
        journal.append(Outcome(row_number=100, status=Status.SUCCESS))
        journal.commit()
        left_by_a_kill(source, path)
    path.write_bytes(path.read_bytes()[: 3 * PAGE])
    before = contents(path.parent)
    with pytest.raises(JournalUnreadableError, match="is damaged"):
        Journal.open_existing(path)
    assert before.items() <= contents(path.parent).items()


@given(at=st.integers(0, 2**20), junk=st.binary(min_size=1, max_size=200))
@settings(max_examples=100, deadline=None)
def test_whatever_is_overwritten_the_journal_opens_or_says_why_not(at: int, junk: bytes) -> None:
    """Junk anywhere: either the journal is refused, with every byte kept, or it opens; nothing else happens.

    That a changed byte inside a cell goes unnoticed is not promised otherwise.
    """
    content = overwritten(at % len(sound()), junk)[: len(sound())]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j"
        path.write_bytes(content)
        try:
            with closing(Journal.open_to_read(path)) as journal:
                assert len(list(journal.settled())) <= 60
        except JournalUnreadableError:
            assert contents(path.parent) == {"j": content}
            with pytest.raises(JournalUnreadableError):
                Journal.open_existing(path)
            assert contents(path.parent) == {"j": content}


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE outcome SET status = 'perhaps' WHERE row_number = 7",
        "UPDATE outcome SET warnings = '5' WHERE row_number = 7",
        "UPDATE outcome SET warnings = '[1' WHERE row_number = 7",
    ],
)
def test_a_verdict_that_is_none_is_named(path: Path, sql: str) -> None:
    """What SQLite finds sound can still be no verdict: the row is named, and the file kept as it is."""
    path.write_bytes(sound())
    statement(path, sql)
    before = path.read_bytes()
    with closing(Journal.open_existing(path)) as journal:
        with pytest.raises(JournalUnreadableError, match="row 7 has a verdict that is none") as caught:
            list(journal.outcomes())
        assert caught.value.exit_code is ExitCode.COULD_NOT_START
    assert path.read_bytes() == before


def test_a_status_that_is_none_is_not_left_out_of_the_totals(path: Path) -> None:
    """A row with an unknown status must not be counted as one without an outcome."""
    path.write_bytes(sound())
    statement(path, "UPDATE outcome SET status = 'perhaps' WHERE row_number = 7")
    with (
        closing(Journal.open_to_read(path)) as journal,
        pytest.raises(JournalUnreadableError, match="a verdict that is none"),
    ):
        journal.totals()


VERSION_1 = """
import os, signal, sqlite3, sys

connection = sqlite3.connect(sys.argv[1], check_same_thread=False)
with connection:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA application_id = 1651862635")
    connection.execute("PRAGMA user_version = 1")
    connection.executescript('''
CREATE TABLE head (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE outcome (
    row_number    INTEGER PRIMARY KEY,
    status        TEXT NOT NULL,
    error_code    TEXT NOT NULL,
    error_message TEXT NOT NULL,
    reason        TEXT NOT NULL,
    warnings      TEXT NOT NULL,
    http_status   INTEGER,
    attempts      INTEGER NOT NULL,
    request_id    TEXT NOT NULL,
    finished_at   REAL NOT NULL
);
''')
    connection.executemany("INSERT INTO head VALUES (?, ?)", [("run_id", "old"), ("state", "running")])
with connection:
    connection.execute(
        "INSERT INTO outcome VALUES (2, 'refused', '750', 'not there', 'not there', '[\\"odd\\"]', 400, 1, 'q', 5.5)"
    )
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
connection.close()
"""
"""What version 1 of the journal did, step by step."""
OF_VERSION_1 = Outcome(
    row_number=2,
    status=Status.REFUSED,
    error_code="750",
    error_message="not there",
    reason="not there",
    warnings=("odd",),
    http_status=400,
    attempts=1,
    request_id="q",
    finished_at=5.5,
)


@pytest.fixture(params=["closed", "killed"])
def old(request: pytest.FixtureRequest, path: Path) -> Path:
    """Give a journal of version 1, whose process has ended or was killed, and return its path."""
    process = subprocess.run([sys.executable, "-c", VERSION_1, str(path), request.param], check=False)
    assert process.returncode == (0 if request.param == "closed" else -signal.SIGKILL)
    if request.param == "killed":
        assert len(path.read_bytes()) == PAGE, "not all stands in the write-ahead log: no rehearsal"
        assert int.from_bytes(path.read_bytes()[68:72]) == 0
    return path


@pytest.mark.parametrize("door", DOORS)
def test_a_journal_of_version_1_is_read(old: Path, door: Door) -> None:
    """An older journal is read as it is, also when its process was killed and all stands in the write-ahead log."""
    with closing(door(old)) as journal:
        assert journal.head() == {"run_id": "old", "state": "running"}
        assert list(journal.outcomes()) == [OF_VERSION_1]
        assert list(journal.settled()) == [2]
        assert (list(journal.doubted()), list(journal.counters()), journal.reach) == ([], [], 0)
        assert journal.totals().counts[Status.REFUSED] == journal.totals().attempts == 1
    assert statement(old, "PRAGMA user_version") == (1,)


def test_a_journal_of_version_1_is_gone_on_with(old: Path, outcome: Make) -> None:
    """Outcomes, reach and doubt go into an older journal as into a new one; the first makes it one of this version."""
    with closing(Journal.open_existing(old)) as journal:
        assert statement(old, "PRAGMA user_version") == (1,)
        journal.commit(reach=40)
        assert statement(old, "PRAGMA user_version") == (SCHEMA_VERSION,)
        journal.append(outcome(3))
        journal.commit()
        for _ in range(2):
            journal.doubt([4])
            assert list(journal.doubted()) == [4]
    with closing(Journal.open_existing(old)) as journal:
        assert (list(journal.outcomes()), list(journal.doubted())) == ([OF_VERSION_1, outcome(3)], [4])
        assert journal.reach == 40
    assert statement(old, "PRAGMA user_version") == (SCHEMA_VERSION,)
    assert statement(old, "PRAGMA quick_check") == ("ok",)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a journal knows at some moment."""

    reach: int = 0
    settled: tuple[int, ...] = ()
    doubted: tuple[int, ...] = ()

    @classmethod
    def to(cls, journal: Journal) -> Known:
        """Ask a journal."""
        return cls(reach=journal.reach, settled=tuple(journal.settled()), doubted=tuple(journal.doubted()))


@dataclass(frozen=True, kw_only=True)
class Logged:
    """A journal whose write-ahead log holds some commit groups."""

    main: bytes
    log: bytes
    ends: dict[int, Known]
    """Length of the log after each commit → what the journal knew then."""

    def before(self, size: int) -> Known:
        """Return what the commits come to that end within the first bytes of the log."""
        return self.ends[max(end for end in self.ends if end <= size)]

    def lay_down(self, folder: Path) -> Path:
        """Write both files, and return the path of the journal."""
        (folder / "j").write_bytes(self.main)
        (folder / "j-wal").write_bytes(self.log)
        return folder / "j"


LOG_HEADER, FRAME = 32, 24 + 512
"""Lengths in bytes of what stands before the first page of a log, and of a page in it with what stands before that."""


@cache
def logged() -> Logged:
    """Return a journal with small pages, so that its log is short, and five commits in that."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "j"
        Journal.create(path, {"run_id": "r"}).close()
        for sql in ("PRAGMA journal_mode = DELETE", "PRAGMA page_size = 512; VACUUM"):
            with closing(sqlite3.connect(path)) as connection:
                connection.executescript(sql)
        with closing(Journal.open_existing(path)) as journal:
            ends = {0: Known.to(journal)}
            for commit in commits(journal):
                commit()
                ends[path.with_name("j-wal").stat().st_size] = Known.to(journal)
            return Logged(main=path.read_bytes(), log=path.with_name("j-wal").read_bytes(), ends=ends)


def commits(journal: Journal) -> Iterator[Callable[[], None]]:
    """Yield what a run does to its journal: a reach, groups of outcomes, and doubt at its end."""
    yield lambda: journal.commit(reach=40)
    for group in ((2, 4), (3,)):
        for number in group:
            journal.append(Outcome(row_number=number, status=Status.SUCCESS))
        yield journal.commit
    journal.append(Outcome(row_number=5, status=Status.REFUSED, error_message="x" * 600))
    yield journal.commit
    yield lambda: journal.doubt([7, 6])


def test_the_log_cut_at_any_byte_replays_to_the_commits_before(tmp_path: Path) -> None:
    """Wherever a write-ahead log ends, what is read is what was committed until there, never half a group."""
    rehearsed = logged()
    assert len(rehearsed.ends) == 6
    path = rehearsed.lay_down(tmp_path)
    for size in range(len(rehearsed.log), -1, -1):
        os.truncate(path.with_name("j-wal"), size)
        with closing(Journal.open_to_read(path)) as journal:
            assert Known.to(journal) == rehearsed.before(size), size
    assert path.read_bytes() == rehearsed.main


@pytest.mark.parametrize("off_by", [-1, 0, 1])
def test_a_journal_whose_log_was_cut_is_gone_on_with(tmp_path: Path, off_by: int, outcome: Make) -> None:
    """After a cut at, before or behind the end of each commit the journal takes outcomes again, and keeps them."""
    rehearsed = logged()
    for end in rehearsed.ends:
        path = rehearsed.lay_down(tmp_path)
        size = min(max(0, end + off_by), len(rehearsed.log))
        os.truncate(path.with_name("j-wal"), size)
        with closing(Journal.open_existing(path)) as journal:
            assert Known.to(journal) == rehearsed.before(size)
            journal.append(outcome(900))
            journal.commit()
        with closing(Journal.open_existing(path)) as journal:
            assert set(journal.settled()) == {900, *rehearsed.before(size).settled}


@given(at=st.integers(0, 2**20), flip=st.integers(1, 255))
@settings(max_examples=100, deadline=None)
def test_a_changed_byte_in_the_log_ends_it_there(at: int, flip: int) -> None:
    """A byte of the log that the disk got wrong takes its commit and those behind it away, and none before it."""
    rehearsed = logged()
    at %= len(rehearsed.log)
    page = LOG_HEADER + (at - LOG_HEADER) // FRAME * FRAME if at >= LOG_HEADER else 0
    with tempfile.TemporaryDirectory() as folder:
        path = rehearsed.lay_down(Path(folder))
        changed = bytearray(rehearsed.log)
        changed[at] ^= flip
        path.with_name("j-wal").write_bytes(changed)
        with closing(Journal.open_to_read(path)) as journal:
            assert Known.to(journal) == rehearsed.before(page)


def test_a_journal_can_be_looked_at_on_a_full_disk(path: Path, no_file_beyond: Limit) -> None:
    """To look at a journal that was closed takes no room, and leaves nothing beside it."""
    path.write_bytes(sound())
    with no_file_beyond(0), closing(Journal.open_to_read(path)) as journal:
        assert len(list(journal.outcomes())) == 60
        assert names(path.parent) == [path.name]


@pytest.mark.parametrize("door", DOORS)
def test_a_disk_that_is_full_is_not_called_damage(tmp_path: Path, no_file_beyond: Limit, door: Door) -> None:
    """A log cannot be read without room beside it; that says nothing against the journal, and nobody may say so."""
    path = logged().lay_down(tmp_path)
    with no_file_beyond(0), pytest.raises(JournalError, match=r"j cannot be read now .*disk I/O error") as caught:
        door(path)
    assert "damaged" not in str(caught.value)
    with closing(door(path)) as journal:
        assert Known.to(journal) == logged().before(len(logged().log))


def test_a_journal_at_work_can_be_looked_at(journal: Journal, path: Path, outcome: Make) -> None:
    """Whoever looks sees what is durable, and is in nobody's way: the owner commits while the other reads."""
    journal.append(outcome(2))
    journal.commit()
    with closing(Journal.open_to_read(path)) as other:
        reading = other.outcomes()
        assert next(reading) == outcome(2)
        journal.append(outcome(3))
        journal.commit()
        assert list(reading) == []
        assert list(other.outcomes()) == [outcome(2), outcome(3)]


def test_who_only_looks_cannot_write(journal: Journal, path: Path) -> None:
    """A journal that was opened to read takes nothing."""
    with (
        closing(Journal.open_to_read(path)) as other,
        pytest.raises(JournalError, match="attempt to write a readonly database"),
    ):
        other.note({"state": "finished"})
    assert journal.head() == {"run_id": "r"}


def test_reading_that_is_given_up_ends_in_silence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a reading thrown away after the journal was closed, as a full disk makes the reports do, prints nothing."""
    heard: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", heard.append)
    path.write_bytes(sound())
    journal = Journal.open_existing(path)
    readings = [journal.outcomes(), journal.settled()]
    for reading in readings:
        next(reading)
    journal.close()
    readings.clear()
    del reading
    gc.collect()
    assert heard == []


def test_a_second_outcome_for_a_row_is_an_error(journal: Journal, path: Path, outcome: Make) -> None:
    """A row has one verdict; another one is no quiet correction, and the first stays."""
    journal.append(outcome(2))
    journal.commit()
    journal.append(outcome(2, status=Status.REFUSED))
    with pytest.raises(JournalError) as caught:
        journal.commit()
    assert caught.value.exit_code is ExitCode.STOPPED_EARLY
    assert durable(path) == [outcome(2)]


def test_a_full_disk_loses_nothing_that_waits(journal: Journal, path: Path, outcome: Make) -> None:
    """A group that does not fit is not committed in part; it goes on waiting, and is committed once there is room."""
    journal.append(outcome(2))
    journal.commit()
    (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    group = [outcome(number, error_message="x" * 5000) for number in range(3, 30)]
    for each in group:
        journal.append(each)
    for _ in range(2):
        with pytest.raises(JournalError, match=r"full.*what it had recorded stays recorded"):
            journal.commit()
        assert journal.waiting == len(group)
        assert durable(path) == [outcome(2)]
    journal._connection.execute("PRAGMA max_page_count = 1000000")
    journal.commit()
    assert journal.waiting == 0
    assert durable(path) == [outcome(2), *group]


def test_a_group_the_disk_does_not_take_goes_on_waiting(
    journal: Journal, path: Path, no_file_beyond: Limit, outcome: Make
) -> None:
    """The same where files really cannot grow: nothing of the group is durable, and all of it once they can."""
    journal.append(outcome(2))
    journal.commit()
    group = [outcome(number) for number in range(3, 30)]
    for each in group:
        journal.append(each)
    with no_file_beyond(path.with_name(path.name + "-wal").stat().st_size):
        for _ in range(2):
            with pytest.raises(JournalError, match="what it had recorded stays recorded"):
                journal.commit()
            with pytest.raises(JournalError):
                journal.commit(reach=40)
            assert journal.waiting == len(group)
            assert (list(journal.settled()), journal.reach) == ([2], 0)
    journal.commit()
    assert durable(path) == [outcome(2), *group]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """Where no file can be made there is a sentence, not SQLite's traceback."""
    tmp_path.chmod(0o500)
    with pytest.raises(JournalError, match="unable to open database file"):
        Journal.create(tmp_path / "j", {})
    tmp_path.chmod(0o700)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    """The same for a folder that vanished, whoever runs this."""
    with pytest.raises(JournalError, match="unable to open database file"):
        Journal.create(tmp_path / "gone" / "j", {})


def test_commits_from_two_threads_do_not_undo_each_other(journal: Journal, path: Path, outcome: Make) -> None:
    """A commit whose task was cancelled still runs in its thread: one beside it waits, and each outcome stays one."""
    outcomes = [outcome(number) for number in range(2, 402)]
    failures: list[BaseException] = []

    def commit_often() -> None:
        try:
            while journal.waiting or not appended.is_set():
                journal.commit()
        except JournalError as exc:
            failures.append(exc)

    appended = threading.Event()
    threads = [threading.Thread(target=commit_often) for _ in range(3)]
    for thread in threads:
        thread.start()
    for each in outcomes:
        journal.append(each)
    appended.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert durable(path) == outcomes


KILLED = """
import sys, time
from pathlib import Path
from bulkredeem.journal import Journal
from bulkredeem.model import Outcome, Status

journal = Journal.create(Path(sys.argv[1]), {"run_id": "r"})
for number in range(2, 502):
    journal.append(Outcome(row_number=number, status=Status.SUCCESS, finished_at=1.0))
journal.commit()
for number in range(502, 602):
    journal.append(Outcome(row_number=number, status=Status.SUCCESS, finished_at=1.0))
print("committed", flush=True)
time.sleep(600)
"""


def test_a_committed_group_survives_a_kill(path: Path, outcome: Make) -> None:
    """After SIGKILL all that was committed is there, what waited is not, and the journal can be written again."""
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"committed\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    with closing(Journal.open_to_read(path)) as journal:
        assert list(journal.settled()) == list(range(2, 502))
    with closing(Journal.open_existing(path)) as journal:
        assert list(journal.settled()) == list(range(2, 502))
        assert journal.head() == {"run_id": "r"}
        journal.append(outcome(502))
        journal.commit()
    assert len(durable(path)) == 501
    assert statement(path, "PRAGMA quick_check") == ("ok",)


@given(outcomes=OUTCOMES)
@settings(max_examples=25, deadline=None)
def test_plain_outcomes_say_the_same(outcomes: list[Outcome]) -> None:
    """Field by field, in the order of the fields, whether or not there are warnings."""
    with tempfile.TemporaryDirectory() as folder, closing(Journal.create(Path(folder) / "j", {})) as journal:
        for outcome in outcomes:
            journal.append(outcome)
        journal.commit()
        found = [(*told[:5], tuple(told[5]), *told[6:-1], tuple(told[-1])) for told in journal.plain_outcomes()]
        assert found == [plain(outcome) for outcome in journal.outcomes()]
        assert len(found) == len(outcomes)


@pytest.mark.parametrize("change", ["status = 'perhaps'", "status = 5", "warnings = '5'", "warnings = '[1'"])
def test_a_plain_outcome_that_is_none_is_named(path: Path, change: str) -> None:
    """No row gets a verdict that does not exist, however cheaply it is read."""
    path.write_bytes(sound())
    statement(path, f"UPDATE outcome SET {change} WHERE row_number = 7")  # noqa: S608  a test's own words
    with (
        closing(Journal.open_to_read(path)) as journal,
        pytest.raises(JournalUnreadableError, match=r"journal\.sqlite is damaged \(row 7 has a verdict that is none\)"),
    ):
        list(journal.plain_outcomes())


def test_the_table_has_the_fields_of_an_outcome(journal: Journal) -> None:
    """Records become outcomes by position: a field that moves would otherwise be read as another."""
    columns = [name for _, name, *_ in journal._connection.execute("PRAGMA table_info(outcome)")]
    assert columns == [field.name for field in fields(Outcome)]


def test_an_outcome_that_was_read_cannot_be_changed(journal: Journal, outcome: Make) -> None:
    """It is an outcome like any other: equal to the one that was recorded, as hashable, and as frozen."""
    journal.append(outcome(2, warnings=("odd",)))
    journal.commit()
    (found,) = journal.outcomes()
    assert (type(found), found, hash(found)) == (
        Outcome,
        outcome(2, warnings=("odd",)),
        hash(outcome(2, warnings=("odd",))),
    )
    assert found.status is Status.SUCCESS
    with pytest.raises(FrozenInstanceError):
        found.attempts = 5  # type: ignore[misc]  # that it cannot be set is the point


def test_a_long_journal_is_read_to_its_end(journal: Journal, outcome: Make) -> None:
    """Many more outcomes than are read at once come one after another, none twice and none left out."""
    for number in range(2, 3_003):
        journal.append(outcome(number))
    journal.commit()
    numbers = list(range(2, 3_003))
    assert [each.row_number for each in journal.outcomes()] == numbers
    assert [each[0] for each in journal.plain_outcomes()] == numbers
    assert list(journal.settled()) == numbers


def stretch(ended_at: float = 10.0, **changes: Any) -> Counters:
    """Return what ten seconds might have been."""
    usual = {
        "seconds": 10.0,
        "replies": {"2xx": 7, "none": 1},
        "latency": (7, *[0] * len(LATENCIES)),
        "allowed": 2.5,
        "sent": 8,
    }
    return Counters(ended_at=ended_at, **{**usual, **changes})


def durable_counters(path: Path) -> list[Counters]:
    """Read the counters as another process would find them."""
    with closing(Journal.open_to_read(path)) as journal:
        return list(journal.counters())


def test_counters_become_durable_with_a_commit_group(journal: Journal, path: Path, outcome: Make) -> None:
    """They wait as outcomes do, and are there exactly as they were counted, in the order of time."""
    stretches = [stretch(20.0, allowed=None), stretch(10.0), stretch(30.0, replies={}, latency=(0,) * 12)]
    for each in stretches:
        journal.count(each)
    journal.append(outcome(2))
    assert (durable_counters(path), durable(path)) == ([], [])
    journal.commit()
    assert durable_counters(path) == [stretches[1], stretches[0], stretches[2]]
    journal.commit()
    assert len(durable_counters(path)) == 3, "a group is committed once"


def test_counters_alone_are_a_group(journal: Journal, path: Path) -> None:
    """In ten seconds in which no row ends there is something to tell, too."""
    journal.count(stretch())
    journal.commit()
    assert durable_counters(path) == [stretch()]


def test_counters_hold_up_no_row(journal: Journal) -> None:
    """They are nobody's outcome: a journal that waits for them alone leaves no row in doubt."""
    journal.count(stretch())
    assert journal.waiting == 0
    assert not journal.sent_and_waiting


def test_counters_that_the_disk_does_not_take_go_on_waiting(
    journal: Journal, path: Path, no_file_beyond: Limit, outcome: Make
) -> None:
    """A group that fails loses none of them, writes none of them twice, and all are durable once there is room."""
    journal.append(outcome(2))
    journal.commit()
    with no_file_beyond(path.with_name(path.name + "-wal").stat().st_size):
        for number in range(2):
            journal.count(stretch(10.0 * number))
            with pytest.raises(JournalError, match="what it had recorded stays recorded"):
                journal.commit()
            assert list(journal.counters()) == []
    journal.commit()
    assert durable_counters(path) == [stretch(0.0), stretch(10.0)]


def test_counters_written_and_not_synced_are_undone_with_the_group(
    journal: Journal, path: Path, no_file_beyond: Limit, outcome: Make
) -> None:
    """What is written before a failing sync is written again by the next commit, once."""
    journal.append(outcome(2))
    journal.commit()
    with no_file_beyond(path.with_name(path.name + "-wal").stat().st_size):
        journal.count(stretch(10.0))
        journal.write()
        journal.count(stretch(20.0))
        with pytest.raises(JournalError):
            journal.sync()
    journal.commit()
    assert durable_counters(path) == [stretch(10.0), stretch(20.0)]


def test_what_is_counted_between_writing_and_syncing_waits_for_the_next(journal: Journal, path: Path) -> None:
    """It is neither lost nor taken for written."""
    journal.count(stretch(10.0))
    journal.write()
    journal.count(stretch(20.0))
    journal.sync()
    assert durable_counters(path) == [stretch(10.0)]
    journal.commit()
    assert durable_counters(path) == [stretch(10.0), stretch(20.0)]


@pytest.mark.parametrize(
    "garbage",
    [
        *("''", "'{}'", "'[]'", "'5'", "'null'", "'[1'"),
        repr(json.dumps({**stretch().as_json_object(), "latency": None})),
        repr(json.dumps({**stretch().as_json_object(), "replies": [1]})),
        repr(json.dumps({**stretch().as_json_object(), "ended_at": "soon"})),
    ],
)
def test_counters_that_are_none_are_named(journal: Journal, path: Path, garbage: str) -> None:
    """A journal that somebody wrote into is not believed; its outcomes are read all the same."""
    journal.count(stretch())
    journal.commit()
    statement(path, f"UPDATE counters SET counted = {garbage}")  # noqa: S608  a test's own words
    with pytest.raises(
        JournalUnreadableError, match=r"journal\.sqlite is damaged \(counters are none\); it was left as it is"
    ):
        durable_counters(path)
    assert durable(path) == []


@pytest.fixture
def of_version_3(path: Path, outcome: Make) -> Path:
    """Give a closed journal of version 3, which knew no counters, with an outcome and doubt."""
    with closing(Journal.create(path, {"run_id": "old"}, doubted=[4])) as journal:
        journal.append(outcome(2, kept=("billNumber",)))
        journal.commit(reach=40)
    statement(path, "DROP TABLE counters")
    statement(path, "PRAGMA user_version = 3")
    return path


@pytest.mark.parametrize("door", DOORS)
def test_a_journal_of_version_3_is_read(of_version_3: Path, door: Door, outcome: Make) -> None:
    """It is read as it is, has no counters, and stays of its version as long as nobody writes to it."""
    with closing(door(of_version_3)) as journal:
        assert list(journal.outcomes()) == [outcome(2, kept=("billNumber",))]
        assert (list(journal.doubted()), list(journal.counters()), journal.reach) == ([4], [], 40)
    assert statement(of_version_3, "PRAGMA user_version") == (3,)


def test_a_journal_of_version_3_is_gone_on_with(of_version_3: Path, outcome: Make) -> None:
    """The first write makes it one of this version, which takes counters; nothing of it is lost."""
    with closing(Journal.open_existing(of_version_3)) as journal:
        journal.count(stretch())
        journal.append(outcome(3))
        journal.commit()
        assert list(journal.counters()) == [stretch()]
    assert durable_counters(of_version_3) == [stretch()]
    assert durable(of_version_3) == [outcome(2, kept=("billNumber",)), outcome(3)]
    assert statement(of_version_3, "PRAGMA user_version") == (SCHEMA_VERSION,) == (4,)
    assert statement(of_version_3, "PRAGMA quick_check") == ("ok",)


def planned(row_number: int, status: str = "skipped") -> Planned:
    """Return what might have been found of a row before anything was sent."""
    return Planned(row_number, status, "DUPLICATE_ROW", f"as row {row_number + 1}")


def test_what_was_found_of_rows_comes_along_from_the_start(path: Path) -> None:
    """All of it, in the order of the rows, durable with the journal itself."""
    found = [planned(9, "invalid"), planned(2), planned(4, "")]
    Journal.create(path, {}, planned=iter(found)).close()
    with closing(Journal.open_existing(path)) as journal:
        assert list(journal.planned()) == [found[1], found[2], found[0]]


def test_outcomes_are_recorded_while_a_long_plan_is_read(path: Path, outcome: Make) -> None:
    """No cursor stays open over a commit, and however many there are, each comes once."""
    numbers = list(range(2, 1_603))
    with closing(Journal.create(path, {}, planned=map(planned, numbers))) as journal:
        seen = []
        for each in journal.planned():
            seen.append(each.row_number)
            if each.row_number % 400 == 0:
                journal.append(outcome(each.row_number))
                journal.commit()
        assert seen == numbers
        assert list(journal.settled()) == [400, 800, 1_200, 1_600]


def test_what_fields_were_before_is_durable_with_the_next_group(journal: Journal, path: Path) -> None:
    """By row, whatever the order in which they were looked at; what only waits is nobody's to set back."""
    journal.remember(4, {"purpose": "gift", "billNumber": "B-0"})
    journal.remember(3, {"billNumber": ""})
    assert list(journal.previous()) == []
    journal.commit()
    with closing(Journal.open_to_read(path)) as again:
        assert list(again.previous()) == [(3, {"billNumber": ""}), (4, {"billNumber": "B-0", "purpose": "gift"})]


def test_what_was_there_before_the_first_try_stays(journal: Journal) -> None:
    """A row that is looked at anew may have been applied since: its own value is nothing to go back to."""
    journal.remember(2, {"billNumber": "B-0"})
    journal.commit()
    journal.remember(2, {"billNumber": "B-2", "purpose": "gift"}, anew=False)
    journal.commit()
    assert list(journal.previous()) == [(2, {"billNumber": "B-0", "purpose": "gift"})]
    journal.remember(2, {"billNumber": "B-1"})
    journal.commit()
    assert list(journal.previous()) == [(2, {"billNumber": "B-1", "purpose": "gift"})]


def test_what_is_remembered_between_writing_and_syncing_waits_for_the_next(journal: Journal, path: Path) -> None:
    """It is neither lost nor taken for written, and nothing is written twice."""
    journal.remember(2, {"billNumber": "B-0"})
    journal.write()
    journal.remember(3, {"billNumber": "B-9"})
    journal.sync()
    with closing(Journal.open_to_read(path)) as again:
        assert list(again.previous()) == [(2, {"billNumber": "B-0"})]
    journal.commit()
    with closing(Journal.open_to_read(path)) as again:
        assert list(again.previous()) == [(2, {"billNumber": "B-0"}), (3, {"billNumber": "B-9"})]


def test_what_is_remembered_goes_on_waiting_when_the_disk_does_not_take_it(
    journal: Journal, path: Path, no_file_beyond: Limit
) -> None:
    """A group that fails loses nothing of it."""
    with no_file_beyond(path.with_name(path.name + "-wal").stat().st_size):
        journal.remember(2, {"billNumber": "B-0"})
        journal.write()
        with pytest.raises(JournalError):
            journal.sync()
    assert list(journal.previous()) == []
    journal.commit()
    assert list(journal.previous()) == [(2, {"billNumber": "B-0"})]


def test_writing_says_whether_there_is_anything_to_sync(journal: Journal, outcome: Make) -> None:
    """Nobody waits for a disk that has nothing to do."""
    assert not journal.write()
    journal.append(outcome(2))
    assert journal.write()
    assert journal.write(), "what was written before is still not synced"
    journal.sync()
    assert not journal.write()
    assert journal.write(reach=9)
    journal.sync()
    journal.remember(2, {"purpose": ""})
    assert journal.write()


def test_groups_that_were_written_one_after_the_other_are_synced_together(
    journal: Journal, path: Path, outcome: Make
) -> None:
    """While the disk is slow the next group is written; none of it is left behind, or written twice."""
    for number in (2, 3, 4):
        journal.append(outcome(number))
        journal.write()
    journal.sync()
    assert (journal.waiting, durable(path)) == (0, [outcome(2), outcome(3), outcome(4)])
    journal.commit()


def test_nothing_to_warn_of_takes_no_room(journal: Journal, path: Path, outcome: Make) -> None:
    """Nearly every row has neither warnings nor anything that was kept; a million of them would hold a million `[]`."""
    journal.append(outcome(2))
    journal.commit()
    assert statement(path, "SELECT warnings, kept FROM outcome") == ("", "")


def test_what_was_written_is_durable_with_what_is_noted(journal: Journal, path: Path, outcome: Make) -> None:
    """A note ends the group before it, and begins one of its own."""
    journal.append(outcome(2))
    journal.write()
    journal.note({"state": "stopped"})
    assert (durable(path), journal.waiting) == ([outcome(2)], 0)
    journal.append(outcome(3))
    journal.commit()
    assert durable(path) == [outcome(2), outcome(3)]


def test_doubt_can_be_taken_back(journal: Journal, path: Path) -> None:
    """Rows that surely were not sent are not in doubt any more; the others are."""
    journal.doubt([2, 3, 4, 5])
    journal.clear_doubt(iter([3, 5, 9]))
    with closing(Journal.open_to_read(path)) as again:
        assert list(again.doubted()) == [2, 4]


def test_a_verdict_is_replaced_by_what_was_found_out_since(journal: Journal, path: Path, outcome: Make) -> None:
    """Durable at once; all other rows stay as they are."""
    for number in (2, 3):
        journal.append(outcome(number, status=Status.IN_DOUBT, error_code="TIMEOUT"))
    journal.commit()
    journal.settle(iter([outcome(3, alias="ACR-3")]))
    assert durable(path) == [outcome(2, status=Status.IN_DOUBT, error_code="TIMEOUT"), outcome(3, alias="ACR-3")]


def test_rows_with_a_code_are_counted(journal: Journal, outcome: Make) -> None:
    """Exactly that code, and only what is durable."""
    for number, code in ((2, "SUPERSEDED"), (3, "SUPERSEDED"), (4, "SUPERSEDED_TWICE"), (5, "")):
        journal.append(outcome(number, error_code=code))
    assert journal.number_with("SUPERSEDED") == 0
    journal.commit()
    assert (journal.number_with("SUPERSEDED"), journal.number_with("superseded")) == (2, 0)


def test_a_reach_that_is_no_number_is_named(journal: Journal, path: Path) -> None:
    """Nobody guesses which rows may have been sent."""
    journal.note({"reach": "far"})
    with (
        closing(Journal.open_to_read(path)) as again,
        pytest.raises(JournalUnreadableError) as caught,
    ):
        _ = again.reach
    assert str(caught.value) == (
        f"The journal {path} is damaged (its reach is no number); it was left as it is."
        " Put back a copy of the whole folder, or run the file again."
    )


def test_each_way_of_being_unreadable_is_a_sentence(path: Path) -> None:
    """It names the file, what is wrong with it, and that nothing was done to it."""
    assert said(path) == f"There is no journal {path}."
    path.write_bytes(b"redemptionId,billNumber\r\n" * 200)
    assert said(path) == f"{path} is no journal of this version of bulkredeem; it was left as it is."
    path.write_bytes(sound()[:-1])
    damaged = f"The journal {path} is damaged ({{}}); it was left as it is. Put back a copy of the whole folder, or run"
    assert said(path) == damaged.format("it was cut short") + " the file again."
    path.write_bytes(sound().replace(b"TABLE outcome (", b"TABLE outcome \x80"))
    assert said(path) == damaged.format("words in it are no text") + " the file again."
    path.write_bytes(sound())
    statement(path, "ALTER TABLE doubted RENAME COLUMN row_number TO number")
    assert said(path) == damaged.format("the table doubted is not what it was") + " the file again."
    path.write_bytes(sound())
    statement(path, "UPDATE outcome SET status = 'perhaps' WHERE row_number = 7")
    with closing(Journal.open_to_read(path)) as journal:
        with pytest.raises(JournalUnreadableError) as of_a_row:
            list(journal.outcomes())
        with pytest.raises(JournalUnreadableError) as of_all:
            journal.totals()
    assert str(of_a_row.value) == damaged.format("row 7 has a verdict that is none") + " the file again."
    assert str(of_all.value) == damaged.format("a row has a verdict that is none") + " the file again."


@pytest.mark.parametrize(("suffix", "is_cut"), [("-wal", False), ("-journal", False), ("-else", True)])
def test_a_journal_may_end_within_a_page_while_a_log_lies_beside_it(path: Path, suffix: str, is_cut: bool) -> None:  # noqa: FBT001  a table
    """With a commit under way the file is not all there is; otherwise a single byte too many tells that it was cut."""
    path.write_bytes(sound() + b"\0")
    path.with_name(path.name + suffix).write_bytes(b"\0")
    with pytest.raises(JournalUnreadableError, match="it was cut short") if is_cut else nullcontext():
        Journal.open_to_read(path).close()


def said(path: Path) -> str:
    """Return what is said of a journal that cannot be opened."""
    with pytest.raises(JournalUnreadableError) as caught:
        Journal.open_existing(path)
    return str(caught.value)


def test_a_journal_that_is_there_already_is_named(journal: Journal, path: Path) -> None:
    """And nothing of it is touched."""
    with pytest.raises(JournalError) as caught:
        Journal.create(path, {"run_id": "r2"})
    assert str(caught.value) == f"The journal {path} exists already; nothing was written."
    assert journal.head() == {"run_id": "r"}


def test_what_the_disk_says_is_told_with_the_journals_name(journal: Journal, path: Path, outcome: Make) -> None:
    """And that nothing of what was recorded is lost."""
    journal.append(outcome(2))
    journal.commit()
    journal.append(outcome(2))
    with pytest.raises(JournalError) as caught:
        journal.commit()
    assert str(caught.value) == (
        f"The journal {path} failed (UNIQUE constraint failed: outcome.row_number);"
        " what it had recorded stays recorded."
    )


def test_a_complaint_that_quotes_the_file_is_printable(path: Path) -> None:
    """In a damaged file anything may stand, also what a terminal would take for a command."""
    path.write_bytes(sound().replace(b"error_message TEXT", b"error_\x1bessage TEXT"))
    assert 'is damaged (malformed database schema (outcome) - unrecognized token: "?"); it was left' in said(path)


def test_a_complaint_of_text_that_is_none_is_damage(path: Path) -> None:
    """It is Python's, and has none of SQLite's numbers."""
    path.write_bytes(sound().replace(b"error_message TEXT", b"error_\xffessage TEXT"))
    assert "is damaged (Could not decode to UTF-8" in said(path)


def test_a_complaint_is_not_endless(path: Path) -> None:
    """A sentence of ours stays one, however long the name is that somebody has given a table."""
    path.write_bytes(sound())
    statement(path, f"CREATE TABLE {'x' * 900} (a TEXT)")
    path.write_bytes(path.read_bytes().replace(b"(a TEXT)", b"(a TEXT("))
    complaint = said(path).removeprefix(f"The journal {path} is damaged (").split("); it was left")[0]
    assert complaint == f"malformed database schema ({'x' * 900}"[:200]


def test_a_fingerprint_is_that_of_the_rows_written_out(path: Path, outcome: Make) -> None:
    """Table by table as JSON, so that it is the same for ever, and whoever has the rows can take it anew."""
    with closing(Journal.create(path, {"run_id": "r"}, doubted=[7])) as journal:
        journal.append(outcome(2, http_status=200, attempts=1, warnings=("odd",)))
        journal.remember(2, {"billNumber": "B-0"})
        journal.count(stretch())
        journal.commit()
        found = journal.fingerprint()
    written_out = (
        '[["outcome"],[2,"success","","","","[\\"odd\\"]",200,1,"",1764000000.0,"",""],'
        '["planned"],["previous"],[2,"billNumber","B-0"],["doubted"],[7]]'
    )
    assert found == hashlib.sha256(written_out.encode()).hexdigest()


def test_taking_a_fingerprint_ends_when_asked_to(journal: Journal) -> None:
    """A second Ctrl-C waits for no million rows."""

    def proceed() -> None:
        raise Stopping

    with pytest.raises(Stopping):
        journal.fingerprint(proceed=proceed)


def test_a_journal_of_version_3_has_plans_and_previous_values(path: Path) -> None:
    """It lacks nothing but counters."""
    with closing(Journal.create(path, {"run_id": "old"}, planned=[planned(2)])) as journal:
        journal.remember(2, {"purpose": "gift"})
        journal.commit()
    statement(path, "DROP TABLE counters")
    statement(path, "PRAGMA user_version = 3")
    with closing(Journal.open_to_read(path)) as journal:
        assert list(journal.planned()) == [planned(2)]
        assert list(journal.previous()) == [(2, {"purpose": "gift"})]


def test_what_was_kept_is_told_plainly_too(journal: Journal, outcome: Make) -> None:
    """Whether or not the reply named the redemption otherwise."""
    told = [outcome(2, kept=("billNumber",)), outcome(3, alias="ACR-3"), outcome(4, alias="ACR-4", kept=("purpose",))]
    for each in told:
        journal.append(each)
    journal.commit()
    assert [each for each in journal.plain_outcomes() if each[0] != 3] == [plain(told[0]), plain(told[2])]
    assert list(journal.outcomes()) == told


@pytest.mark.parametrize("version", [1, 2])
def test_a_journal_of_before_plans_has_none(path: Path, version: int) -> None:
    """Neither plans nor previous values, and that is no damage."""
    Journal.create(path, {"run_id": "old"}, doubted=[5]).close()
    for table in ("counters", "planned", "previous", *(["doubted"] if version < 2 else [])):
        statement(path, f"DROP TABLE {table}")
    for column in ("alias", "kept"):
        statement(path, f"ALTER TABLE outcome DROP COLUMN {column}")
    statement(path, f"PRAGMA user_version = {version}")
    with closing(Journal.open_to_read(path)) as journal:
        assert (list(journal.planned()), list(journal.previous())) == ([], [])
        assert list(journal.doubted()) == ([] if version == 1 else [5])
        assert (list(journal.plain_outcomes()), list(journal.counters())) == ([], [])
