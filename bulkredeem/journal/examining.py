"""Is a file a journal of ours, and sound? Found without writing to it: it may be foreign, or all that is left."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from bulkredeem import database
from bulkredeem.errors import JournalError, JournalUnreadableError
from bulkredeem.wholefile import descriptor_of

SCHEMA_VERSION: Final = 4
"""In `PRAGMA user_version`. A later one is refused; an earlier one is read, and becomes one of this
once it is written to.

Version 1 has no table of doubted rows; version 2 neither plans nor previous values, nor what an outcome kept; version 3
has no counters."""
APPLICATION_ID: Final = 0x62756C6B
"""In `PRAGMA application_id`, so that a foreign database is recognised ("bulk")."""
DAMAGED: Final = (
    "The journal {path} is damaged ({what}); it was left as it is. Put back a copy of the whole folder, or run the file"
    " again."
)

_TABLES: Final[tuple[tuple[int, str, tuple[str, ...]], ...]] = (
    (1, "head", ("key TEXT!", "value TEXT")),
    (1, "outcome", ("row_number INTEGER!", "status TEXT", "error_code TEXT", "error_message TEXT", "reason TEXT")),
    (1, "outcome", ("warnings TEXT", "http_status INTEGER", "attempts INTEGER", "request_id TEXT", "finished_at REAL")),
    (2, "doubted", ("row_number INTEGER!",)),
    (3, "outcome", ("alias TEXT", "kept TEXT")),
    (3, "planned", ("row_number INTEGER!", "status TEXT", "error_code TEXT", "message TEXT")),
    (3, "previous", ("row_number INTEGER!", "field TEXT!", "value TEXT")),
    (4, "counters", ("ended_at REAL", "counted TEXT")),
)
"""The version that brought them, the table, its columns in their order; `!` for what a record is known by."""
_MAGIC: Final = b"SQLite format 3\x00"
_HEADER_LENGTH: Final = 100
_PAGE_SIZE_AT: Final = slice(16, 18)
_USES_WAL_AT: Final = slice(18, 20)
_USER_VERSION_AT: Final = slice(60, 64)
_APPLICATION_ID_AT: Final = slice(68, 72)
"""Places in the header that each SQLite file begins with (SQLite's own description, "The Database Header")."""
_WAL: Final = b"\x02\x02"
"""What stands there in a file that has a write-ahead log."""
_NONE_OF_OURS: Final = "{path} is no journal of this version of bulkredeem; it was left as it is."
_LONGEST_COMPLAINT: Final = 200
"""Characters of what SQLite says that are told."""
_NOT_NOW: Final = "The journal {path} cannot be read now ({what}); it was left as it is."
_SAYS_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""What SQLite's errors come to when the file itself is broken, as opposed to the disk or the folder."""


def require_sound(path: Path) -> None:
    """Raise JournalUnreadableError when the file is missing, foreign, of a later version, damaged or not to be read."""
    _require_ours(path)
    _require_whole(path)


def _require_ours(path: Path) -> None:
    """Raise when the file cannot be a journal of ours, without letting SQLite near it."""
    header = _header_of(path)
    application_id, version = (int.from_bytes(header[place]) for place in (_APPLICATION_ID_AT, _USER_VERSION_AT))
    # Version 1 wrote its id into the write-ahead log first: after a kill it may stand there only.
    may_be_of_version_1 = application_id == 0 and header[_USES_WAL_AT] == _WAL
    is_ours = header.startswith(_MAGIC) and (application_id == APPLICATION_ID or may_be_of_version_1)
    if not is_ours or version > SCHEMA_VERSION:
        raise JournalUnreadableError(_NONE_OF_OURS.format(path=path))


def _require_whole(path: Path) -> None:
    """Raise when the file is damaged, or foreign or of a later version after all."""
    if _ends_within_a_page(path):
        raise JournalUnreadableError(DAMAGED.format(path=path, what="it was cut short"))
    try:
        application_id, version, finding = _examined(path)
    except sqlite3.DatabaseError as exc:
        words = DAMAGED if _number_of(exc) & 0xFF in _SAYS_DAMAGED else _NOT_NOW
        raise JournalUnreadableError(words.format(path=path, what=_said(exc))) from exc
    except UnicodeDecodeError as exc:
        # SQLite's complaint quotes what should be the description of a table.
        raise JournalUnreadableError(DAMAGED.format(path=path, what="words in it are no text")) from exc
    if application_id != APPLICATION_ID or version > SCHEMA_VERSION:
        raise JournalUnreadableError(_NONE_OF_OURS.format(path=path))
    if finding != "ok":
        raise JournalUnreadableError(DAMAGED.format(path=path, what=_said(finding.splitlines()[-1])))


def _examined(path: Path) -> tuple[int, int, str]:
    """Return application id, version and what SQLite finds wrong.

    Read-only, for to close a file that can be written to may write to it. Only a commit to a rollback journal that a
    death cut off is undone: until then nobody can read the file.
    """
    try:
        return _answers(connect_to_read(path))
    except sqlite3.OperationalError as exc:
        if _number_of(exc) != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        return _answers(connect(path, mode="rw"))


def _number_of(exc: sqlite3.Error) -> int:
    """Return SQLite's number of an error; what has none is Python's own complaint of text that is none: damage."""
    number: int = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    return number


def _answers(connection: sqlite3.Connection) -> tuple[int, int, str]:
    with closing(connection):
        ((application_id,), (version,), (finding,)) = (
            connection.execute(f"PRAGMA {question}").fetchone()
            for question in ("application_id", "user_version", "quick_check(1)")
        )
        if finding == "ok" and application_id == APPLICATION_ID:
            finding = _lacking(connection, version) or finding
    return application_id, version, finding


def _lacking(connection: sqlite3.Connection, version: int) -> str:
    """Say which table is not what it must be: its description is text, in which SQLite's check sees no damage.

    A column too many would move all that come after it, and without its key a row would have no number.
    """
    wanted: dict[str, list[str]] = {}
    for since, table, columns in _TABLES:
        if since <= version:
            wanted.setdefault(table, []).extend(columns)
    for table, in_order in wanted.items():
        described = connection.execute(f"PRAGMA table_info({table})")
        if in_order != [f"{name} {kind}{'!' if key else ''}" for _, name, kind, _, _, key in described]:
            return f"the table {table} is not what it was"
    return ""


def _header_of(path: Path) -> bytes:
    try:
        with os.fdopen(descriptor_of(path), "rb") as file:
            return file.read(_HEADER_LENGTH)
    except FileNotFoundError as exc:
        raise JournalUnreadableError(f"There is no journal {path}.") from exc
    except OSError as exc:
        raise JournalUnreadableError(f"The journal {path} cannot be read: {exc.strerror or exc}.") from exc


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Connect without writing to the file.

    To read a write-ahead log SQLite makes files beside it, which a full disk does not take. Without a log all stands
    in the file itself, and it need not.
    """
    is_all = _header_of(path)[_USES_WAL_AT] == _WAL and not _size_of(path, "-wal")
    return connect(path, mode="ro&immutable=1" if is_all else "ro")


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


def connect(path: Path, *, mode: str = "rwc") -> sqlite3.Connection:
    """Open the file in one of SQLite's modes. Raises JournalError."""
    # Nobody but its owner writes to a journal; who looks at the runs may lock it for a moment.
    with translated(path):
        return database.connect(path, mode=mode)


def _said(complaint: object) -> str:
    """Return a complaint of SQLite's for a sentence: it quotes the file, in which anything may stand."""
    return "".join(each if each.isprintable() else "?" for each in str(complaint))[:_LONGEST_COMPLAINT]


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, once."""
    try:
        yield
    except sqlite3.Error as exc:
        raise JournalError(f"The journal {path} failed ({_said(exc)}); what it had recorded stays recorded.") from exc
