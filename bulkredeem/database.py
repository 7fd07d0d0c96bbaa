"""How an SQLite file of ours is opened, so that a commit is on the disk when it returns, on whatever kind of folder."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from bulkredeem.wholefile import descriptor_of, refuse_other_than_file

_BUSY_FOR: Final = 30.0
"""Seconds to wait for whoever has locked the file."""
_BETWEEN_TRIES: Final = 0.05
"""Seconds between two tries of what SQLite does not wait for by itself."""
_BESIDE: Final = ("", "-wal", "-shm", "-journal")
"""What the names of the files end with that SQLite opens."""


def connect(path: Path, *, mode: str = "rwc") -> sqlite3.Connection:
    """Open the file in one of SQLite's modes; one that is not there is made for `rwc`. Raises sqlite3.Error.

    One that is made is its owner's alone, and so are the files that SQLite puts beside it: they get its permissions. A
    link is not followed, and no pipe or device is opened, there or beside it.
    """
    if mode == "rwc":
        mode = "rw"
        # What it cannot make SQLite does not find, and says so. A file that is there is never opened here: when it is
        # closed, the process would lose the locks that SQLite has on it.
        with suppress(OSError):
            os.close(descriptor_of(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    _refuse_other_than_files(path)
    address = f"file:{quote(os.fsencode(path))}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=_BUSY_FOR, check_same_thread=False)


def _refuse_other_than_files(path: Path) -> None:
    """Raise before SQLite opens anything: it waits for ever for the other end of a pipe."""
    for each in (path.with_name(path.name + suffix) for suffix in _BESIDE):
        try:
            refuse_other_than_file(each)
        except OSError as exc:
            error = sqlite3.OperationalError(f"{each.name}: {exc.strerror or exc}")
            error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            raise error from exc


def choose_mode(
    connection: sqlite3.Connection, *, network: bool, sleep: Callable[[float], object] = time.sleep
) -> None:
    """Ask for a real sync of every commit, in the form that is safe on such a folder. Raises sqlite3.Error."""
    _set(connection, f"journal_mode = {'DELETE' if network else 'WAL'}", sleep)
    # A rollback journal is over when its file is gone: EXTRA syncs the folder, too.
    connection.execute(f"PRAGMA synchronous = {'EXTRA' if network else 'FULL'}")
    # On macOS an fsync only reaches the disk's cache; this asks for more. Elsewhere it changes nothing.
    connection.execute("PRAGMA fullfsync = ON")


def _set(connection: sqlite3.Connection, pragma: str, sleep: Callable[[float], object]) -> None:
    """Change the form of a file; when somebody else does the same just now SQLite does not wait, but we do."""
    tries = round(_BUSY_FOR / _BETWEEN_TRIES)
    for left in reversed(range(tries)):
        try:
            connection.execute(f"PRAGMA {pragma}")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or not left:
                raise
            sleep(_BETWEEN_TRIES)
        else:
            return
