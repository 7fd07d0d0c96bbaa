"""The journal's file: made whole, appended to in commit groups, read back; see the package for what it promises."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import orjson

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
from bulkredeem.model import Outcome, Status
from bulkredeem.snapshot import sync_folder
from bulkredeem.summary import PlainOutcome, plain

_DOUBTED: Final = "CREATE TABLE doubted (row_number INTEGER PRIMARY KEY);"
_SCHEMA: Final = f"""
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
{_DOUBTED}
"""
_INSERT: Final = "INSERT INTO outcome VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NOTE: Final = "INSERT OR REPLACE INTO head VALUES (?, ?)"
_SELECT: Final = "SELECT * FROM outcome ORDER BY row_number"
_REACH: Final = "reach"
_AT_ONCE: Final = 500
"""Records that are read at once: one by one they cost a tenth more."""
_STATUSES: Final = frozenset(map(str, Status))


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

    @classmethod
    def create(cls, path: Path, head: Mapping[str, str], *, doubted: Iterable[int] = (), network: bool = False) -> Self:
        """Make a new journal with what the run is, whole and durable on return; an existing file is never touched.

        `doubted` are rows that may have been applied before this run. `network` says that the folder is on a server.
        """
        if path.exists():
            raise JournalError(f"The journal {path} exists already; nothing was written.")
        aside = path.with_name(f".{path.name}.part")
        # Whatever lies there must not get into this journal.
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        try:
            with closing(connect(aside)) as connection, translated(path):
                _lay_out(connection, head, doubted)
                _choose_mode(connection, network=network)
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
            _choose_mode(journal._connection, network=network)
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
            if group or reach is not None:
                with self._undone_on_error() as connection:
                    if not connection.in_transaction:
                        connection.execute("BEGIN IMMEDIATE")
                    connection.executemany(_INSERT, map(_as_record, group))
                    connection.executemany(_NOTE, [] if reach is None else [(_REACH, str(reach))])
                self._written += len(group)
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
            self._written = 0

    @contextmanager
    def _undone_on_error(self) -> Iterator[sqlite3.Connection]:
        """Take back all that is written and not durable, when something goes wrong inside."""
        try:
            with translated(self._path):
                yield self._connection
        except BaseException:
            self._written = 0
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
        """The last row that may have been sent; 0 for none."""
        return int(self.head().get(_REACH, "0"))

    def doubt(self, row_numbers: Iterable[int]) -> None:
        """Say that these rows, which have no outcome, may have been applied; durable on return."""
        with self._writing, self._transaction() as connection:
            if self._version() < SCHEMA_VERSION:
                connection.execute(_DOUBTED)
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.executemany("INSERT OR IGNORE INTO doubted VALUES (?)", ((number,) for number in row_numbers))

    def doubted(self) -> Iterator[int]:
        """Yield the rows that were said to be in doubt, in order; some may have an outcome since."""
        if self._version() < SCHEMA_VERSION:
            return iter(())
        return (number for (number,) in self._read("SELECT row_number FROM doubted ORDER BY row_number"))

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the durable outcomes by row number, reading as it goes."""
        return map(self._as_outcome, self._read(_SELECT))

    def plain_outcomes(self) -> Iterator[PlainOutcome]:
        """Yield what `outcomes` yields as plain tuples, for whoever only passes them on."""
        for record in self._read(_SELECT):
            status, warnings = record[1], record[5]
            yield plain(self._as_outcome(record)) if warnings or status not in _STATUSES else record

    def settled(self) -> Iterator[int]:
        """Yield the rows that have a durable outcome, in order."""
        return (number for (number,) in self._read("SELECT row_number FROM outcome ORDER BY row_number"))

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

    def _read(self, sql: str) -> Iterator[tuple[Any, ...]]:
        with translated(self._path):
            cursor = self._connection.execute(sql)
            # `yield from cursor` would close it for somebody who stops early, perhaps after the journal was closed.
            while records := cursor.fetchmany(_AT_ONCE):
                yield from records

    def _as_outcome(self, record: tuple[Any, ...]) -> Outcome:
        number, status, code, message, reason, warnings, http_status, attempts, request_id, finished_at = record
        try:
            return Outcome(
                row_number=number,
                status=Status(status),
                error_code=code,
                error_message=message,
                reason=reason,
                warnings=tuple(orjson.loads(warnings)) if warnings else (),
                http_status=http_status,
                attempts=attempts,
                request_id=request_id,
                finished_at=finished_at,
            )
        except (TypeError, ValueError) as exc:
            what = f"row {number} has a verdict that is none"
            raise JournalUnreadableError(DAMAGED.format(path=self._path, what=what)) from exc

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Keep together what is done inside: durable on leaving, or undone; what was written before is made durable."""
        self._sync()
        with translated(self._path), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """Leave no open file behind when nobody gets the journal."""
        try:
            yield
        except BaseException:
            self.close()
            raise


def _lay_out(connection: sqlite3.Connection, head: Mapping[str, str], doubted: Iterable[int]) -> None:
    with connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.executescript(_SCHEMA)
        connection.executemany("INSERT INTO head VALUES (?, ?)", head.items())
        connection.executemany("INSERT INTO doubted VALUES (?)", ((number,) for number in doubted))


def _choose_mode(connection: sqlite3.Connection, *, network: bool) -> None:
    """Ask for a real sync of every commit, in the form that is safe on such a folder."""
    connection.execute(f"PRAGMA journal_mode = {'DELETE' if network else 'WAL'}")
    # A rollback journal is over when its file is gone: EXTRA syncs the folder, too.
    connection.execute(f"PRAGMA synchronous = {'EXTRA' if network else 'FULL'}")
    # On macOS an fsync only reaches the disk's cache; this asks for more. Elsewhere it changes nothing.
    connection.execute("PRAGMA fullfsync = ON")


def _rename(aside: Path, path: Path) -> None:
    try:
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.rename(path)
        sync_folder(path.parent)
    except OSError as exc:
        raise JournalError(f"The journal {path} cannot be made: {exc.strerror or exc}.") from exc


def _as_record(outcome: Outcome) -> tuple[object, ...]:
    return (
        outcome.row_number,
        outcome.status,
        outcome.error_code,
        outcome.error_message,
        outcome.reason,
        orjson.dumps(outcome.warnings).decode() if outcome.warnings else "",
        outcome.http_status,
        outcome.attempts,
        outcome.request_id,
        outcome.finished_at,
    )
