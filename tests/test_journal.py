"""The journal, on real files: what was committed comes back exactly, and outlives the process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkredeem.errors import ExitCode, JournalError
from bulkredeem.journal import APPLICATION_ID, SCHEMA_VERSION, Journal
from bulkredeem.model import Outcome, Status

Make = Callable[..., Outcome]

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
    journal = Journal.open_existing(path)
    try:
        return list(journal.outcomes())
    finally:
        journal.close()


def statement(path: Path, sql: str) -> Any:
    """Do something to the file behind the journal's back, and return what it says."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        return connection.execute(sql).fetchone()
    finally:
        connection.close()


@given(outcomes=OUTCOMES, groups=st.lists(st.integers(0, 8), max_size=4))
@settings(max_examples=40)
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


def test_the_head_can_be_added_to(journal: Journal, path: Path) -> None:
    """What the run is stands there from the start; how it ended is added, replaced, and durable at once."""
    journal.note({"state": "stopped", "run_id": "r2"})
    journal.note({"state": "finished"})
    again = Journal.open_existing(path)
    assert again.head() == {"run_id": "r2", "state": "finished"}
    again.close()


@pytest.mark.parametrize("content", [b"", b"something of somebody's"], ids=["empty", "full"])
def test_an_existing_file_is_never_overwritten(path: Path, content: bytes) -> None:
    """Whatever lies where the journal should be, it stays as it is."""
    path.write_bytes(content)
    with pytest.raises(JournalError, match="exists already; nothing was written"):
        Journal.create(path, {})
    assert path.read_bytes() == content


def test_a_missing_journal_is_not_made(path: Path) -> None:
    """Opening what is not there makes no empty journal."""
    with pytest.raises(JournalError, match="There is no journal"):
        Journal.open_existing(path)
    assert list(path.parent.iterdir()) == []


def foreign_text(path: Path) -> None:
    """Lay down a file that is no database."""
    path.write_bytes(b"redemptionId,billNumber\r\n" * 200)


def nothing_in_it(path: Path) -> None:
    """Lay down an empty file, which SQLite takes for an empty database."""
    path.touch()


def foreign_database(path: Path) -> None:
    """Lay down somebody else's database."""
    statement(path, "CREATE TABLE outcome (row_number)")


def newer_version(path: Path) -> None:
    """Lay down a journal of a later version."""
    Journal.create(path, {"run_id": "r"}).close()
    statement(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


@pytest.mark.parametrize("lay_down", [foreign_text, nothing_in_it, foreign_database, newer_version])
def test_what_is_none_of_ours_is_refused_untouched(path: Path, lay_down: Callable[[Path], None]) -> None:
    """A foreign file and a journal of a later version are refused, keep every byte, and get no company."""
    lay_down(path)
    before = path.read_bytes()
    with pytest.raises(JournalError, match=r"journal\.sqlite"):
        Journal.open_existing(path)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


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
    assert [each.row_number for each in durable(path)] == list(range(2, 502))
    assert statement(path, "PRAGMA quick_check") == ("ok",)
    journal = Journal.open_existing(path)
    assert journal.head() == {"run_id": "r"}
    journal.append(outcome(502))
    journal.commit()
    journal.close()
    assert len(durable(path)) == 501
