"""The journal's file: made whole, appended to in commit groups, read back; see the package for what it promises."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import orjson

from bulkredeem import fingerprints
from bulkredeem.counters import Counters
from bulkredeem.database import choose_mode
from bulkredeem.errors import JournalError, JournalUnreadableError
from bulkredeem.journal.examining import (
    APPLICATION_ID,
    DAMAGED,
    SCHEMA_VERSION,
    connect,
    connect_to_read,
    require_sound,
    translated,
)
from bulkredeem.journal.layout import (
    SCHEMA,
    SINCE_COUNTERS,
    SINCE_DOUBTED,
    SINCE_PLANNED,
    UPGRADES,
    as_counted,
    as_record,
    outcome_of,
)
from bulkredeem.model import Outcome, Status
from bulkredeem.summary import PlainOutcome, plain
from bulkredeem.wholefile import sync_folder

_VALUES: Final = "INTO outcome VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT: Final = f"INSERT {_VALUES}"
_REPLACE: Final = f"INSERT OR REPLACE {_VALUES}"
_NOTE: Final = "INSERT OR REPLACE INTO head VALUES (?, ?)"
_SELECT: Final = "SELECT * FROM outcome ORDER BY row_number"
_SELECT_EARLIER: Final = "SELECT *, '', '' FROM outcome ORDER BY row_number"
_AT_ONCE: Final = 500
"""Records that are read at once: one by one they cost a tenth more."""
_REMEMBER: Final = """
INSERT INTO previous VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = excluded.value WHERE ?4
"""
_COUNT: Final = "INSERT INTO counters VALUES (?, ?)"
_REACH: Final = "reach"
_PLANNED_AFTER: Final = """
SELECT row_number, status, error_code, message FROM planned WHERE row_number > ? ORDER BY row_number LIMIT ?
"""
_STATUSES: Final = frozenset(map(str, Status))


class Planned(NamedTuple):
    """What was found of a row before the first row of its file was sent."""

    row_number: int
    status: str
    """`invalid` or `skipped`; empty for a row that is sent all the same, and shares its redemption with another."""
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a journal's outcomes come to."""

    counts: Mapping[Status, int]
    """One for each status, of the rows that have an outcome."""
    attempts: int
    """Tries on the wire, of those rows."""
    last_finished_at: float | None
    """When the last of them ended, in seconds since the epoch, or None when there is none."""


class Journal:
    """One run's journal, open for appending.

    `append` and `write` belong to one thread; everything else may be called from any. Whatever the disk or SQLite does
    becomes a JournalError.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Use `create`, `open_existing` or `open_to_read`."""
        self._connection = connection
        self._path = path
        self._waiting: list[Outcome] = []
        # A commit that its task was cancelled around still runs in its thread. A second one beside it would send the
        # same group into the same transaction, and its rollback would undo both.
        self._writing = threading.Lock()
        self._written = 0
        """Outcomes of those that are written and not synced yet."""
        self._to_remember: list[tuple[int, str, str, bool]] = []
        self._remembered = 0
        """Those of them that are written and not synced yet."""
        self._to_count: list[Counters] = []
        self._counted = 0
        """Those of them that are written and not synced yet."""

    @classmethod
    def create(
        cls,
        path: Path,
        head: Mapping[str, str],
        *,
        doubted: Iterable[int] = (),
        planned: Iterable[Planned] = (),
        network: bool = False,
    ) -> Self:
        """Make a new journal with what the run is, whole and durable on return; an existing file is never touched.

        `doubted` are rows that may have been applied before this run, `planned` what was found of rows before the first
        is sent. `network` says that the folder is on a server.
        """
        if path.exists():
            raise JournalError(f"The journal {path} exists already; nothing was written.")
        aside = path.with_name(f".{path.name}.part")
        # Whatever lies there must not get into this journal.
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        try:
            with closing(connect(aside)) as connection, translated(path):
                _lay_out(connection, head, doubted, planned)
                choose_mode(connection, network=network)
            _rename(aside, path)
        except BaseException:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            raise
        return cls._opened(path, network=network)

    @classmethod
    def open_existing(cls, path: Path, *, network: bool = False) -> Self:
        """Open a journal that is there.

        Raises JournalUnreadableError for one that is missing, damaged, foreign or of a later version; it was not
        written to then.
        """
        require_sound(path)
        return cls._opened(path, network=network)

    @classmethod
    def open_to_read(cls, path: Path) -> Self:
        """Open a journal that is there for somebody who only looks: on a full disk, too, and on whatever folder.

        Raises what `open_existing` raises.
        """
        require_sound(path)
        return cls(connect_to_read(path), path)

    @classmethod
    def _opened(cls, path: Path, *, network: bool) -> Self:
        journal = cls(connect(path), path)
        with journal._closed_on_error(), translated(path):
            choose_mode(journal._connection, network=network)
        return journal

    def append(self, outcome: Outcome) -> None:
        """Take an outcome into the next commit group."""
        self._waiting.append(outcome)

    @property
    def waiting(self) -> int:
        """Outcomes that are not durable yet."""
        return len(self._waiting)

    @property
    def sent_and_waiting(self) -> frozenset[int]:
        """Rows that were sent, and whose outcomes are not durable yet."""
        return frozenset(outcome.row_number for outcome in self._waiting if outcome.attempts)

    def commit(self, *, reach: int | None = None) -> None:
        """Make everything that waits durable, and a new reach if there is one: rows up to it may be sent from now on.

        On an error it goes on waiting, and JournalError is raised.
        """
        if self.write(reach=reach):
            self.sync()

    def write(self, *, reach: int | None = None) -> bool:
        """Do the first half of a commit: hand what waits to SQLite; say whether there is anything to `sync`.

        Nothing is durable before that. The two are apart because this half is Python's work, and the other is the
        disk's, which may go on in another thread. On an error everything goes on waiting, and JournalError is raised.
        """
        with self._writing:
            group = self._waiting[self._written :]
            if group or self._to_remember or self._to_count or reach is not None:
                with self._undone_on_error() as connection:
                    if not connection.in_transaction:
                        self._begin(connection)
                    connection.executemany(_INSERT, map(as_record, group))
                    connection.executemany(_NOTE, [] if reach is None else [(_REACH, str(reach))])
                    connection.executemany(_REMEMBER, self._to_remember[self._remembered :])
                    connection.executemany(_COUNT, map(as_counted, self._to_count[self._counted :]))
                self._written += len(group)
                self._remembered = len(self._to_remember)
                self._counted = len(self._to_count)
            return self._connection.in_transaction

    def sync(self) -> None:
        """Do the second half: make durable what was written. On an error it goes on waiting; raises JournalError."""
        with self._writing:
            self._sync()

    def _sync(self) -> None:
        if self._connection.in_transaction:
            with self._undone_on_error() as connection:
                connection.execute("COMMIT")
            del self._waiting[: self._written]
            del self._to_remember[: self._remembered]
            del self._to_count[: self._counted]
            self._written = self._remembered = self._counted = 0

    @contextmanager
    def _undone_on_error(self) -> Iterator[sqlite3.Connection]:
        """Take back all that is written and not durable, when something goes wrong inside."""
        try:
            with translated(self._path):
                yield self._connection
        except BaseException:
            self._written = self._remembered = self._counted = 0
            with suppress(sqlite3.Error):
                self._connection.rollback()
            raise

    def note(self, values: Mapping[str, str]) -> None:
        """Add to the head, or replace what is there, durable on return."""
        with self._writing, self._transaction() as connection:
            connection.executemany(_NOTE, values.items())

    def head(self) -> dict[str, str]:
        """Return what the run is, and how its last stretch ended if it did."""
        return dict(self._read("SELECT key, value FROM head"))

    @property
    def reach(self) -> int:
        """The last row that may have been sent; 0 for none. Raises JournalUnreadableError for one that is no number."""
        try:
            return int(self.head().get(_REACH, "0"))
        except ValueError as exc:
            raise JournalUnreadableError(DAMAGED.format(path=self._path, what="its reach is no number")) from exc

    def doubt(self, row_numbers: Iterable[int]) -> None:
        """Say that these rows, which have no outcome, may have been applied; durable on return."""
        with self._writing, self._transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO doubted VALUES (?)", ((number,) for number in row_numbers))

    def clear_doubt(self, row_numbers: Iterable[int]) -> None:
        """Say that these rows, which were said to be in doubt, were surely not sent; durable on return."""
        with self._writing, self._transaction() as connection:
            connection.executemany("DELETE FROM doubted WHERE row_number = ?", ((number,) for number in row_numbers))

    def doubted(self) -> Iterator[int]:
        """Yield the rows that were said to be in doubt, in order; some may have an outcome since."""
        if self._version() < SINCE_DOUBTED:
            return iter(())
        return (number for (number,) in self._read("SELECT row_number FROM doubted ORDER BY row_number"))

    def remember(self, row_number: int, values: Mapping[str, str], *, anew: bool = True) -> None:
        """Take what a row's fields were before it is sent into the next commit group.

        Not `anew`, what is known stays: the row may have been applied since, and nobody wants its own value back.
        """
        self._to_remember += [(row_number, field, value, anew) for field, value in values.items()]

    def previous(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield row number and field → value before it was sent, of the rows of which that is known, in order."""
        for row_number, records in groupby(self._previous(), key=itemgetter(0)):
            yield row_number, {field: value for _, field, value in records}

    def _previous(self) -> Iterator[tuple[Any, ...]]:
        if self._version() < SINCE_PLANNED:
            return iter(())
        return self._read("SELECT row_number, field, value FROM previous ORDER BY row_number, field")

    def count(self, counters: Counters) -> None:
        """Take what happened on the wire in a stretch of seconds into the next commit group."""
        self._to_count.append(counters)

    def counters(self) -> Iterator[Counters]:
        """Yield what happened on the wire, in the order in which it was written down."""
        if self._version() < SINCE_COUNTERS:
            return
        for (counted,) in self._read("SELECT counted FROM counters ORDER BY ended_at"):
            try:
                yield Counters.from_json_object(orjson.loads(counted))
            except (KeyError, TypeError, ValueError, AttributeError) as exc:
                raise JournalUnreadableError(DAMAGED.format(path=self._path, what="counters are none")) from exc

    def planned(self) -> Iterator[Planned]:
        """Yield what was found of rows before the first was sent, in order.

        Some at a time: whoever reads them records outcomes meanwhile, and no cursor may stay open over that.
        """
        found: list[Planned] = []
        while self._version() >= SINCE_PLANNED:
            found = [
                Planned(*record)
                for record in self._read(_PLANNED_AFTER, (found[-1].row_number if found else 0, _AT_ONCE))
            ]
            if not found:
                return
            yield from found

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """Replace the verdicts on rows by what was found out since; durable on return."""
        with self._writing, self._transaction() as connection:
            connection.executemany(_REPLACE, map(as_record, outcomes))

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the durable outcomes by row number, reading as it goes."""
        return (outcome_of(record, self._path) for record in self._records())

    def plain_outcomes(self) -> Iterator[PlainOutcome]:
        """Yield what `outcomes` yields as plain tuples, for whoever only passes them on."""
        for record in self._records():
            status, warnings, kept = record[1], record[5], record[-1]
            yield plain(outcome_of(record, self._path)) if warnings or kept or status not in _STATUSES else record

    def _records(self) -> Iterator[tuple[Any, ...]]:
        return self._read(_SELECT if self._version() >= SINCE_PLANNED else _SELECT_EARLIER)

    def settled(self) -> Iterator[int]:
        """Yield the rows that have a durable outcome, in order."""
        return (number for (number,) in self._read("SELECT row_number FROM outcome ORDER BY row_number"))

    def fingerprint(self, *, doubted: Iterable[int] | None = None, proceed: Callable[[], None] = lambda: None) -> str:
        """Return the SHA-256 of what is durable of the rows: outcomes, plan, previous values, and doubts, in order.

        Neither head nor counters are in it: how a run ended is written down after this, and no verdict depends on the
        counters. A journal that becomes one of a later version keeps it. `doubted` are the rows that will be said to be
        in doubt, in order, if there will be others than now. `proceed` is asked every few hundred records, and raises
        what is to end it.
        """
        doubts = self.doubted() if doubted is None else doubted
        tables: dict[str, Iterable[Sequence[object]]] = {
            "outcome": self._records(),
            "planned": map(tuple, self.planned()),
            "previous": self._previous(),
            "doubted": ((number,) for number in doubts),
        }
        return fingerprints.of_records(chain.from_iterable(chain([(name,)], tables[name]) for name in tables), proceed)

    def number_with(self, error_code: str) -> int:
        """Return how many rows have a durable outcome with exactly this error code."""
        ((number,),) = self._read("SELECT count(*) FROM outcome WHERE error_code = ?", (error_code,))
        return int(number)

    def totals(self) -> Totals:
        """Return what the durable outcomes come to."""
        by_status = dict(self._read("SELECT status, count(*) FROM outcome GROUP BY status"))
        ((attempts, last_finished_at),) = self._read("SELECT total(attempts), max(finished_at) FROM outcome")
        counts = {status: by_status.pop(status, 0) for status in Status}
        if by_status:
            what = "a row has a verdict that is none"
            raise JournalUnreadableError(DAMAGED.format(path=self._path, what=what))
        return Totals(
            counts=counts,
            attempts=int(attempts),
            last_finished_at=last_finished_at,
        )

    def close(self) -> None:
        """Close the file; what waits is not committed by this."""
        self._connection.close()

    def _version(self) -> int:
        ((version,),) = self._read("PRAGMA user_version")
        return int(version)

    def _read(self, sql: str, values: Sequence[object] = ()) -> Iterator[tuple[Any, ...]]:
        with translated(self._path):
            cursor = self._connection.execute(sql, values)
            # `yield from cursor` would close it for somebody who stops early, perhaps after the journal was closed.
            while records := cursor.fetchmany(_AT_ONCE):
                yield from records

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Keep together what is done inside: durable on leaving, or undone; what was written before is made durable."""
        self._sync()
        with translated(self._path), self._connection as connection:
            self._begin(connection)
            yield connection

    def _begin(self, connection: sqlite3.Connection) -> None:
        """Begin to write; a journal of an earlier version becomes one of this."""
        connection.execute("BEGIN IMMEDIATE")
        for version in range(self._version(), SCHEMA_VERSION):
            for statement in filter(str.strip, UPGRADES[version].split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """Leave no open file behind when nobody gets the journal."""
        try:
            yield
        except BaseException:
            self.close()
            raise


def _lay_out(
    connection: sqlite3.Connection, head: Mapping[str, str], doubted: Iterable[int], planned: Iterable[Planned]
) -> None:
    with connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.executescript(SCHEMA)
        connection.executemany("INSERT INTO head VALUES (?, ?)", head.items())
        connection.executemany("INSERT INTO doubted VALUES (?)", ((number,) for number in doubted))
        connection.executemany("INSERT INTO planned VALUES (?, ?, ?, ?)", planned)


def _rename(aside: Path, path: Path) -> None:
    try:
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.rename(path)
        sync_folder(path.parent)
    except OSError as exc:
        raise JournalError(f"The journal {path} cannot be made: {exc.strerror or exc}.") from exc
