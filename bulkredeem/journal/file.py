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
from urllib.parse import quote

import orjson

from bulkredeem.errors import JournalError, JournalUnreadableError
from bulkredeem.model import Outcome, Status
from bulkredeem.snapshot import sync_folder

SCHEMA_VERSION: Final = 2
"""In `PRAGMA user_version`. A later one is refused; version 1, which has no table of doubted rows, is read."""
APPLICATION_ID: Final = 0x62756C6B
"""In `PRAGMA application_id`, so that a foreign database is recognised ("bulk")."""

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
_SELECT: Final = "SELECT * FROM outcome ORDER BY row_number"
_REACH: Final = "reach"
_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_LENGTH: Final = 100
_PAGE_SIZE_AT: Final = slice(16, 18)
_USES_WAL_AT: Final = slice(18, 20)
_USER_VERSION_AT: Final = slice(60, 64)
_APPLICATION_ID_AT: Final = slice(68, 72)
"""Places in the header that each SQLite file begins with (SQLite's own description, "The Database Header")."""
_WAL: Final = b"\x02\x02"
"""What stands there in a file that has a write-ahead log."""
_BUSY_FOR: Final = 30.0
"""Seconds to wait for whoever has locked the file."""
_NONE_OF_OURS: Final = "{path} is no journal of this version of bulkredeem; it was left as it is."
_DAMAGED: Final = (
    "The journal {path} is damaged ({what}); it was left as it is. Put back a copy of the whole folder, or run the file"
    " again."
)
_NOT_NOW: Final = "The journal {path} cannot be read now ({what}); it was left as it is."
_SAYS_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""What SQLite's errors come to when the file itself is broken, as opposed to the disk or the folder."""


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

    `append` belongs to one thread; everything else may be called from any. Whatever the disk or SQLite does becomes a
    JournalError.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Use `create`, `open_existing` or `open_to_read`."""
        self._connection = connection
        self._path = path
        self._waiting: list[Outcome] = []
        # A commit that its task was cancelled around still runs in its thread. A second one beside it would send the
        # same group into the same transaction, and its rollback would undo both.
        self._writing = threading.Lock()

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
            with closing(_connect(aside)) as connection, _translated(path):
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
        _require_ours(path)
        _require_sound(path)
        return cls._opened(path, network=network)

    @classmethod
    def open_to_read(cls, path: Path) -> Self:
        """Open a journal that is there for somebody who only looks: on a full disk, too, and on whatever folder.

        Raises what `open_existing` raises.
        """
        _require_ours(path)
        _require_sound(path)
        return cls(_connect_to_read(path), path)

    @classmethod
    def _opened(cls, path: Path, *, network: bool) -> Self:
        journal = cls(_connect(path), path)
        with journal._closed_on_error(), _translated(path):
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

    def commit(self) -> None:
        """Make everything that waits durable; on an error it goes on waiting, and JournalError is raised."""
        with self._writing:
            group = self._waiting[:]
            if not group:
                return
            with self._transaction() as connection:
                connection.executemany(_INSERT, map(_as_record, group))
            del self._waiting[: len(group)]

    def note(self, values: Mapping[str, str]) -> None:
        """Add to the head, or replace what is there, durable on return."""
        with self._writing, self._transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO head VALUES (?, ?)", values.items())

    def head(self) -> dict[str, str]:
        """Return what the run is, and how its last stretch ended if it did."""
        return dict(self._read("SELECT key, value FROM head"))

    @property
    def reach(self) -> int:
        """The last row that may have been sent; 0 for none."""
        return int(self.head().get(_REACH, "0"))

    def raise_reach(self, row_number: int) -> None:
        """Say that rows up to this one may be sent from now on, durable on return."""
        self.note({_REACH: str(row_number)})

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
            raise JournalUnreadableError(_DAMAGED.format(path=self._path, what=what))
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
        with _translated(self._path):
            # `yield from` would close the cursor of somebody who stops early, perhaps after the journal was closed.
            for record in self._connection.execute(sql):  # noqa: UP028
                yield record

    def _as_outcome(self, record: tuple[Any, ...]) -> Outcome:
        try:
            return _as_outcome(record)
        except (TypeError, ValueError) as exc:
            what = f"row {record[0]} has a verdict that is none"
            raise JournalUnreadableError(_DAMAGED.format(path=self._path, what=what)) from exc

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Keep together what is done inside: durable on leaving, or undone."""
        with _translated(self._path), self._connection as connection:
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


def _require_ours(path: Path) -> None:
    """Raise when the file cannot be a journal of ours, without letting SQLite near it."""
    header = _header_of(path)
    application_id, version = (int.from_bytes(header[place]) for place in (_APPLICATION_ID_AT, _USER_VERSION_AT))
    # Version 1 wrote its id into the write-ahead log first: after a kill it may stand there only.
    may_be_of_version_1 = application_id == 0 and header[_USES_WAL_AT] == _WAL
    is_ours = header.startswith(_MAGIC) and (application_id == APPLICATION_ID or may_be_of_version_1)
    if not is_ours or version > SCHEMA_VERSION:
        raise JournalUnreadableError(_NONE_OF_OURS.format(path=path))


def _require_sound(path: Path) -> None:
    """Raise when the file is damaged, or foreign or of a later version after all."""
    if _ends_within_a_page(path):
        raise JournalUnreadableError(_DAMAGED.format(path=path, what="it was cut short"))
    try:
        application_id, version, finding = _examined(path)
    except sqlite3.DatabaseError as exc:
        words = _DAMAGED if exc.sqlite_errorcode & 0xFF in _SAYS_DAMAGED else _NOT_NOW
        raise JournalUnreadableError(words.format(path=path, what=exc)) from exc
    except UnicodeDecodeError as exc:
        # SQLite's complaint quotes what should be the description of a table.
        raise JournalUnreadableError(_DAMAGED.format(path=path, what="words in it are no text")) from exc
    if application_id != APPLICATION_ID or version > SCHEMA_VERSION:
        raise JournalUnreadableError(_NONE_OF_OURS.format(path=path))
    if finding != "ok":
        raise JournalUnreadableError(_DAMAGED.format(path=path, what=finding.splitlines()[-1]))


def _examined(path: Path) -> tuple[int, int, str]:
    """Return application id, version and what SQLite finds wrong.

    Read-only, for to close a file that can be written to may write to it. Only a commit to a rollback journal that a
    death cut off is undone: until then nobody can read the file.
    """
    try:
        return _answers(_connect_to_read(path))
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        return _answers(_connect(path, mode="rw"))


def _answers(connection: sqlite3.Connection) -> tuple[int, int, str]:
    with closing(connection):
        ((application_id,), (version,), (finding,)) = (
            connection.execute(f"PRAGMA {question}").fetchone()
            for question in ("application_id", "user_version", "quick_check(1)")
        )
    return application_id, version, finding


def _header_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEADER_LENGTH)
    except FileNotFoundError as exc:
        raise JournalUnreadableError(f"There is no journal {path}.") from exc
    except OSError as exc:
        raise JournalUnreadableError(f"The journal {path} cannot be read: {exc.strerror or exc}.") from exc


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """Connect without writing to the file.

    To read a write-ahead log SQLite makes files beside it, which a full disk does not take. Without a log all stands
    in the file itself, and it need not.
    """
    is_all = _header_of(path)[_USES_WAL_AT] == _WAL and not _size_of(path, "-wal")
    return _connect(path, mode="ro&immutable=1" if is_all else "ro")


def _ends_within_a_page(path: Path) -> bool:
    """Say whether the file was cut where SQLite does not see it: it takes what is missing of a page for zeros.

    With a commit under way, or cut off, it is not all there is, and may end anywhere.
    """
    is_all = not _size_of(path, "-wal") and not _size_of(path, "-journal")
    page_size = int.from_bytes(_header_of(path)[_PAGE_SIZE_AT])
    return is_all and page_size > 1 and _size_of(path) % page_size > 0


def _size_of(path: Path, suffix: str = "") -> int:
    """Return the length of the file, or of one beside it; 0 for none."""
    try:
        return path.with_name(path.name + suffix).stat().st_size
    except OSError:
        return 0


def _connect(path: Path, *, mode: str = "rwc") -> sqlite3.Connection:
    # Nobody but its owner writes to a journal; who looks at the runs may lock it for a moment.
    address = f"file:{quote(os.fsencode(path))}?mode={mode}"
    with _translated(path):
        return sqlite3.connect(address, uri=True, timeout=_BUSY_FOR, check_same_thread=False)


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


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, once."""
    try:
        yield
    except sqlite3.Error as exc:
        raise JournalError(f"The journal {path} failed ({exc}); what it had recorded stays recorded.") from exc


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
