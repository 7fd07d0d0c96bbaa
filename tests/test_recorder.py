"""How far a run has reached: no row is sent before the journal would know it after a crash."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.application.recorder import Recorder
from bulkredeem.errors import JournalError, ReportError
from bulkredeem.journal import Journal
from bulkredeem.model import Outcome
from bulkredeem.runlog import RunLog


class SpiedJournal(Journal):
    """A journal that remembers how its reach was raised, and may be slow at it, or fail."""

    raised: list[int]
    may_write: threading.Event
    failures: int = 0
    """So many times raising fails from now on."""

    def write(self, *, reach: int | None = None) -> bool:
        """Remember the reach."""
        if reach is not None:
            self.raised.append(reach)
        return super().write(reach=reach)

    def sync(self) -> None:
        """Make it durable when it may be."""
        assert self.may_write.wait(timeout=30)
        if self.failures:
            self.failures -= 1
            self._connection.rollback()
            raise JournalError("the disk is full")
        super().sync()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SpiedJournal]:
    """Give a new journal that is as quick as its disk."""
    journal = SpiedJournal.create(tmp_path / "journal.sqlite", {})
    journal.raised, journal.may_write = [], threading.Event()
    journal.may_write.set()
    yield journal
    journal.close()


@pytest.fixture
def recorder(tmp_path: Path, journal: SpiedJournal) -> Iterator[Recorder]:
    """Give a recorder that raises the reach by ten rows at a time."""
    with RunLog(tmp_path, run_id="r", level="info") as log:
        yield Recorder(journal, log, watch=lambda _: None, wall_clock=lambda: 12.5, stride=10)


def durable_reach(path: Path) -> int:
    """Read the reach as another process would find it after a crash."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT value FROM head WHERE key = 'reach'").fetchone()
    return int(found[0]) if found else 0


async def test_a_row_may_be_sent_when_its_reach_is_durable(
    tmp_path: Path, recorder: Recorder, journal: SpiedJournal
) -> None:
    """One commit covers the row and the ten behind it; those cost nothing more, in whatever order they come."""
    for row in (2, 7, 3, 12):
        await recorder.reach(row)
        assert durable_reach(tmp_path / "journal.sqlite") == 12
    await recorder.reach(13)
    assert durable_reach(tmp_path / "journal.sqlite") == 23
    assert journal.raised == [12, 23]


async def test_nobody_is_sent_while_the_reach_is_being_written(recorder: Recorder, journal: SpiedJournal) -> None:
    """Many who come at once wait for one and the same commit, and the event loop does not wait for the disk."""
    journal.may_write.clear()
    rows = [asyncio.create_task(recorder.reach(row)) for row in range(2, 12)]
    for _ in range(20):
        await asyncio.sleep(0)
    assert not any(row.done() for row in rows)
    journal.may_write.set()
    await asyncio.gather(*rows)
    assert journal.raised == [12]


async def test_a_disk_that_does_not_take_the_reach_lets_no_row_go(
    tmp_path: Path, recorder: Recorder, journal: SpiedJournal
) -> None:
    """The error reaches each who asks, and what failed once is not taken for written."""
    journal.failures = 2
    failed = await asyncio.gather(recorder.reach(2), recorder.reach(3), return_exceptions=True)
    assert [type(each) for each in failed] == [JournalError, JournalError]
    assert durable_reach(tmp_path / "journal.sqlite") == 0
    await recorder.reach(3)
    assert durable_reach(tmp_path / "journal.sqlite") == 13


async def test_a_second_ctrl_c_while_the_reach_is_being_written(recorder: Recorder, journal: SpiedJournal) -> None:
    """The row goes home unsent, and whoever comes after it is not taken in by a commit that nobody saw end."""
    journal.may_write.clear()
    row = asyncio.create_task(recorder.reach(2))
    await asyncio.sleep(0)
    row.cancel()
    with suppress(asyncio.CancelledError):
        await row
    assert row.cancelled()
    journal.may_write.set()
    await recorder.reach(2)
    assert journal.reach == 12


async def test_the_reach_goes_along_with_the_outcomes(
    tmp_path: Path, recorder: Recorder, journal: SpiedJournal, outcome: Callable[..., Outcome]
) -> None:
    """When rows have come half the way, the next commit group raises it: no row waits for a commit of its own then."""
    await recorder.reach(2)
    await recorder.record(outcome(2))
    await recorder.commit()
    assert journal.raised == [12], "far enough ahead"
    await recorder.reach(8)
    await recorder.commit()
    assert (journal.raised, durable_reach(tmp_path / "journal.sqlite")) == ([12, 18], 18)
    await recorder.reach(18)
    assert journal.raised == [12, 18]


async def test_a_commit_before_the_first_row_raises_nothing(recorder: Recorder, journal: SpiedJournal) -> None:
    """A run that only has invalid rows sends none, and says so."""
    await recorder.commit()
    assert (journal.raised, journal.reach) == ([], 0)


class Head:
    """What a journal has of the reach, without a disk."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.reach = 0
        self.writes = 0

    def write(self, *, reach: int | None = None) -> bool:
        """Remember it."""
        self.reach = reach or self.reach
        self.writes += 1
        return True

    def sync(self) -> None:
        """Do nothing more."""


@given(rows=st.lists(st.integers(2, 10**6), max_size=8), stride=st.integers(1, 1000))
def test_every_row_is_within_the_reach(rows: list[int], stride: int) -> None:
    """In whatever order rows come, none is let go beyond the reach, which never runs ahead by more than the stride."""

    async def reach() -> None:
        head = Head()
        nothing: Any = None
        journal: Any = head
        recorder = Recorder(journal, nothing, watch=lambda _: None, wall_clock=lambda: 0.0, stride=stride)
        highest = 0
        for row in rows:
            before, writes = head.reach, head.writes
            await recorder.reach(row)
            highest = max(highest, row)
            assert highest <= head.reach <= highest + stride
            assert head.writes - writes == (row > before)

    asyncio.run(reach())


async def test_an_outcome_that_only_the_log_did_not_take_is_not_lost(
    tmp_path: Path, outcome: Callable[..., Outcome], journal: SpiedJournal
) -> None:
    """A row that succeeded has its outcome in the journal before anybody else hears of it, and may fail at that."""

    def watch(_outcome: Outcome) -> None:
        raise ReportError("the disk is full")

    with RunLog(tmp_path, run_id="r", level="info") as log:
        recorder = Recorder(journal, log, watch=watch, wall_clock=lambda: 12.5)
        with pytest.raises(ReportError):
            await recorder.record(outcome(2))
        await recorder.commit()
    assert list(journal.outcomes()) == [outcome(2)]
    assert recorder.tally.recorded == 1
