"""A journal in which bytes were changed and ends cut off: what was committed until there, or a sentence; nothing else.

An input is a list of changes of four bytes each: what to do (change a byte or cut the end off, of the log or of the
file itself), where (two bytes, from the beginning), and what to add to the byte that stands there. The first of them
says, too, whether what the run recorded is still in the log or has got into the file itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from bulkredeem.counters import LATENCIES, Counters
from bulkredeem.errors import JournalError
from bulkredeem.journal import Journal, Planned
from bulkredeem.model import Outcome, Status
from tests.fuzz.targets.folders import folder

CHANGE_LENGTH: Final = 4
"""Bytes of one change."""
MOST_CHANGES: Final = 64
_IN_FILE: Final = 1
_CUTS: Final = 2
_IS_CLOSED: Final = 4
"""Bits of what a change is to do."""
_LOG_HEADER: Final = 32
_FRAME: Final = 24 + 512
"""Lengths in bytes of what stands before the first page of a log, and of a page in it with what stands before that."""
_ADDED: Final = 900
"""A row that is not in the journal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a journal says."""

    reach: int
    outcomes: tuple[Outcome, ...]
    doubted: tuple[int, ...]
    previous: tuple[tuple[int, tuple[tuple[str, str], ...]], ...]
    counters: tuple[Counters, ...]
    planned: tuple[Planned, ...]

    @classmethod
    def to(cls, journal: Journal) -> Known:
        """Ask a journal all there is to ask."""
        outcomes = tuple(journal.outcomes())
        totals = journal.totals()
        assert sum(totals.counts.values()) == len(outcomes) == len(list(journal.plain_outcomes()))
        assert [outcome.row_number for outcome in outcomes] == list(journal.settled())
        journal.number_with("750")
        return cls(
            reach=journal.reach,
            outcomes=outcomes,
            doubted=tuple(journal.doubted()),
            previous=tuple((number, tuple(values.items())) for number, values in journal.previous()),
            counters=tuple(journal.counters()),
            planned=tuple(journal.planned()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A sound journal."""

    main: bytes
    log: bytes
    ends: dict[int, Known]
    """Length of the log after each commit → what the journal knew then."""

    def before(self, size: int) -> Known:
        """Return what the commits come to that end within the first bytes of the log."""
        return self.ends[max(end for end in self.ends if end <= size)]


@cache
def kept() -> Kept:
    """Return a journal with small pages, so that few bytes are all of it, and with some commits in its log."""
    path = folder() / "kept"
    planned = [Planned(9, Status.INVALID, "748", "nothing to change"), Planned(10, "", "", "")]
    Journal.create(path, {"run_id": "r", "snapshot": "s"}, planned=planned, doubted=[8]).close()
    for sql in ("PRAGMA journal_mode = DELETE", "PRAGMA page_size = 512; VACUUM"):
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(sql)
    with closing(Journal.open_existing(path)) as journal:
        ends = {0: Known.to(journal)}
        for commit in _commits(journal):
            commit()
            ends[path.with_name("kept-wal").stat().st_size] = Known.to(journal)
        return Kept(main=path.read_bytes(), log=path.with_name("kept-wal").read_bytes(), ends=ends)


@cache
def closed() -> Kept:
    """Return the same journal after its process came to an end: there is no log any more."""
    path = folder() / "closed"
    path.write_bytes(kept().main)
    path.with_name("closed-wal").write_bytes(kept().log)
    Journal.open_existing(path).close()
    assert not path.with_name("closed-wal").exists()
    return Kept(main=path.read_bytes(), log=b"", ends={0: kept().before(len(kept().log))})


def _commits(journal: Journal) -> Iterator[Callable[[], None]]:
    yield lambda: journal.commit(reach=40)
    for number, status in ((2, Status.SUCCESS), (3, Status.IN_DOUBT)):
        outcome = Outcome(row_number=number, status=status, warnings=("the platform warns: 1",), finished_at=1.5)
        journal.append(outcome)
        journal.remember(number, {"billNumber": "INV-1", "customFields.card": "123456"})
        yield journal.commit
    journal.append(Outcome(row_number=5, status=Status.REFUSED, error_code="750", error_message="x" * 600))
    journal.count(_counted())
    yield journal.commit
    yield lambda: journal.doubt([7, 6])


def _counted() -> Counters:
    latency = (1,) * (len(LATENCIES) + 1)
    return Counters(ended_at=2.5, seconds=10.0, replies={"2xx": 3}, latency=latency, allowed=None, sent=3)


@dataclass(slots=True)
class _Changed:
    """One file of the journal, as it is after the changes."""

    content: bytearray
    is_changed: bool = False
    """Whether a byte is another one; a file that is only shorter is not."""

    def change(self, at: int, by: int) -> None:
        if by and self.content:
            self.content[at % len(self.content)] = (self.content[at % len(self.content)] + by) % 256
            self.is_changed = True

    def cut(self, at: int) -> None:
        del self.content[at % (len(self.content) + 1) :]


def check(content: bytes) -> None:
    """Change a journal as the input says, open it in both ways, and compare what it says with what it may say."""
    base = closed() if content and content[0] & _IS_CLOSED else kept()
    log, main = _changes(content, base)
    path = folder() / "j"
    for name in ("j-wal", "j-shm", "j-journal"):
        path.with_name(name).unlink(missing_ok=True)
    path.write_bytes(main.content)
    if base.log:
        path.with_name("j-wal").write_bytes(log.content)
    try:
        with closing(Journal.open_to_read(path)) as journal:
            known = Known.to(journal)
    except JournalError as exc:
        _check_sentence(str(exc))
        assert main.content != base.main, "a log alone must not make a journal unreadable"
        return
    _check_known(known, base, log, main)
    if main.content == base.main:
        _check_going_on(path, known)


def _changes(content: bytes, base: Kept) -> tuple[_Changed, _Changed]:
    log, main = _Changed(bytearray(base.log)), _Changed(bytearray(base.main))
    most = min(len(content), CHANGE_LENGTH * MOST_CHANGES)
    for start in range(0, most - CHANGE_LENGTH + 1, CHANGE_LENGTH):
        what, high, low, by = content[start : start + CHANGE_LENGTH]
        file = main if what & _IN_FILE else log
        if what & _CUTS:
            file.cut(high << 8 | low)
        else:
            file.change(high << 8 | low, by)
    return log, main


def _check_sentence(sentence: str) -> None:
    assert sentence.endswith(".")
    assert sentence.isprintable(), sentence


def _check_known(known: Known, base: Kept, log: _Changed, main: _Changed) -> None:
    """Insist that a log ends at its first wrong byte, that a file which was only cut says nothing wrong.

    What can be read at all is whole. A byte that changed inside a cell of the file itself is not promised to be seen.
    """
    if main.content == base.main:
        assert known == base.before(_sound_length(bytes(log.content), base.log))
    elif not main.is_changed:
        assert known in base.ends.values()
    for outcome in known.outcomes:
        assert isinstance(outcome.row_number, int)
        assert isinstance(outcome.attempts, int)
        assert isinstance(outcome.http_status, int | None)
        assert isinstance(outcome.finished_at, float | int)
        texts = (outcome.error_code, outcome.error_message, outcome.reason, outcome.request_id, outcome.alias)
        assert all(isinstance(text, str) for text in (*texts, *outcome.warnings, *outcome.kept))


def _sound_length(log: bytes, sound: bytes) -> int:
    """Return how many bytes of the log are as they were, in whole pages."""
    same = next((at for at, (is_, was) in enumerate(zip(log, sound, strict=False)) if is_ != was), len(log))
    return _LOG_HEADER + (same - _LOG_HEADER) // _FRAME * _FRAME if same >= _LOG_HEADER else 0


def _check_going_on(path: Path, known: Known) -> None:
    """Whoever goes on with it adds to what is there, and takes nothing away."""
    with closing(Journal.open_existing(path)) as journal:
        journal.append(Outcome(row_number=_ADDED, status=Status.SUCCESS))
        journal.commit()
    with closing(Journal.open_existing(path)) as journal:
        assert list(journal.settled()) == [*(outcome.row_number for outcome in known.outcomes), _ADDED]
