"""The durable record of a run: an SQLite file beside the run's snapshot.

Words: an *outcome* is the one verdict on a row; a *commit group* is the outcomes that are made durable together; what
is *waiting* was appended and is not durable yet.

Order of writes: the snapshot is complete and synced before the journal is created; the journal's head (what the run
is) is durable before the first request; outcomes follow in the order in which they came about, in commit groups; the
ending comes last. A row without an outcome is `pending`, whatever happened to it on the wire.

Promised: a committed group survives the process and the machine (write-ahead log, `synchronous=FULL`: an fsync for
each group). A kill costs at most what is waiting. Not promised: anything on a network folder, where SQLite's
write-ahead log is unsafe, or on a disk that says "written" before it is.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import orjson

from bulkredeem.errors import JournalError
from bulkredeem.model import Outcome, Status

SCHEMA_VERSION: Final = 1
"""In `PRAGMA user_version`. A later one is refused, an older one is to be read."""
APPLICATION_ID: Final = 0x62756C6B
"""In `PRAGMA application_id`, so that a foreign database is recognised ("bulk")."""

_SCHEMA: Final = """
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
"""
_INSERT: Final = "INSERT INTO outcome VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_SELECT: Final = "SELECT * FROM outcome ORDER BY row_number"


class Journal:
    """One run's journal, open for appending. `append` belongs to one thread; `commit` may be called from another."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Use `create` or `open_existing`."""
        self._connection = connection
        self._path = path
        self._waiting: list[Outcome] = []
        # A commit that its task was cancelled around still runs in its thread. A second one beside it would send the
        # same group into the same transaction, and its rollback would undo both.
        self._writing = threading.Lock()

    @classmethod
    def create(cls, path: Path, head: Mapping[str, str]) -> Self:
        """Make a new journal with what the run is, durable on return; an existing file is never touched."""
        if path.exists():
            raise JournalError(f"The journal {path} exists already; nothing was written.")
        journal = cls(_connect(path), path)
        with journal._closed_on_error(), journal._translated(), journal._connection as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            # On macOS an fsync only reaches the disk's cache; this asks for more. Elsewhere it changes nothing.
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.executescript(_SCHEMA)
            connection.executemany("INSERT INTO head VALUES (?, ?)", head.items())
        return journal

    @classmethod
    def open_existing(cls, path: Path) -> Self:
        """Open a journal to read it; raise JournalError for a file that is none of ours or of a later version."""
        if not path.exists():
            raise JournalError(f"There is no journal {path}.")
        journal = cls(_connect(path), path)
        with journal._closed_on_error():
            with journal._translated():
                (application_id,) = journal._connection.execute("PRAGMA application_id").fetchone()
                (version,) = journal._connection.execute("PRAGMA user_version").fetchone()
            if application_id != APPLICATION_ID or version > SCHEMA_VERSION:
                raise JournalError(f"{path} is no journal of this version of bulkredeem; it was left as it is.")
        return journal

    def append(self, outcome: Outcome) -> None:
        """Take an outcome into the next commit group."""
        self._waiting.append(outcome)

    @property
    def waiting(self) -> int:
        """Outcomes that are not durable yet."""
        return len(self._waiting)

    def commit(self) -> None:
        """Make everything that waits durable; on an error it goes on waiting, and JournalError is raised."""
        with self._writing:
            group = self._waiting[:]
            if not group:
                return
            with self._translated(), self._connection as connection:
                connection.executemany(_INSERT, map(_as_record, group))
            del self._waiting[: len(group)]

    def note(self, values: Mapping[str, str]) -> None:
        """Add to the head, or replace what is there, durable on return."""
        with self._writing, self._translated(), self._connection as connection:
            connection.executemany("INSERT OR REPLACE INTO head VALUES (?, ?)", values.items())

    def head(self) -> dict[str, str]:
        """Return what the run is, and how it ended if it did."""
        with self._translated():
            return dict(self._connection.execute("SELECT key, value FROM head"))

    def outcomes(self) -> Iterator[Outcome]:
        """Yield the durable outcomes by row number, reading as it goes."""
        with self._translated():
            for record in self._connection.execute(_SELECT):
                yield _as_outcome(record)

    def close(self) -> None:
        """Close the file; what waits is not committed by this."""
        self._connection.close()

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        """Leave no open file behind when nobody gets the journal."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn SQLite's errors into ours, once."""
        try:
            yield
        except sqlite3.Error as exc:
            raise JournalError(
                f"The journal {self._path} failed ({exc}); what it had recorded stays recorded."
            ) from exc


def _connect(path: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(path, check_same_thread=False)
    except sqlite3.Error as exc:
        raise JournalError(f"The journal {path} cannot be opened: {exc}.") from exc


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


def _as_outcome(record: tuple[Any, ...]) -> Outcome:
    number, status, code, message, reason, warnings, http_status, attempts, request_id, finished_at = record
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
