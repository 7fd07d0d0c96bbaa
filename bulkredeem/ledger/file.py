"""The ledger's file: runs are absorbed, redemptions and contents are looked up; see the package for its words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, islice, permutations
from operator import attrgetter
from pathlib import Path
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

import orjson

from bulkredeem.database import choose_mode, connect
from bulkredeem.errors import LedgerError, LedgerLostError
from bulkredeem.ledger.knowledge import Age, Standing, standing_of
from bulkredeem.model import Correction, Status
from bulkredeem.profile import Profile

APPLICATION_ID: Final = 0x626C6564
"""In `PRAGMA application_id`, so that a foreign database is recognised ("bled")."""
SCHEMA_VERSION: Final = 1
"""In `PRAGMA user_version`. Another one is refused: the ledger can be made anew from the runs."""
PROFILES_KEPT: Final = 20
"""Earlier runs whose values a new one is compared with."""
_SCHEMA: Final = """
CREATE TABLE system (
    id       INTEGER PRIMARY KEY,
    base_url TEXT NOT NULL,
    username TEXT NOT NULL,
    UNIQUE (base_url, username)
);
CREATE TABLE run (
    id          INTEGER PRIMARY KEY,
    run_id      TEXT NOT NULL UNIQUE,
    system      INTEGER NOT NULL,
    environment TEXT NOT NULL,
    path        TEXT NOT NULL,
    sha256      TEXT NOT NULL,
    as_of       REAL NOT NULL,
    started_at  REAL NOT NULL,
    knew_at     REAL NOT NULL,
    user        TEXT NOT NULL,
    by          TEXT NOT NULL,
    reason      TEXT NOT NULL,
    kind        TEXT NOT NULL,
    state       TEXT NOT NULL,
    rows        INTEGER NOT NULL,
    left_over   INTEGER NOT NULL,
    profile     TEXT NOT NULL,
    mark        TEXT NOT NULL
);
CREATE INDEX run_of_content ON run (sha256);
CREATE TABLE event (
    system     INTEGER NOT NULL,
    redemption TEXT NOT NULL,
    field      TEXT NOT NULL,
    run        INTEGER NOT NULL,
    row_number INTEGER NOT NULL,
    value      TEXT NOT NULL,
    status     TEXT NOT NULL,
    code       TEXT NOT NULL,
    at         REAL NOT NULL,
    is_doubted INTEGER NOT NULL,
    PRIMARY KEY (system, redemption, field, run, row_number)
) WITHOUT ROWID;
CREATE INDEX event_of_run ON event (run);
CREATE TABLE alias (
    system     INTEGER NOT NULL,
    redemption TEXT NOT NULL,
    other      TEXT NOT NULL,
    PRIMARY KEY (system, redemption, other)
) WITHOUT ROWID;
"""
_OF_REDEMPTION: Final = """
SELECT event.redemption, field, value, status, code, at, row_number, run.run_id, run.as_of, run.environment, run.path,
       run.sha256, run.user, run.by, run.reason, run.kind, system.base_url, system.username
FROM event JOIN run ON run.id = event.run JOIN system ON system.id = event.system
WHERE event.system = ?1
  AND redemption IN (SELECT ?2 UNION ALL SELECT other FROM alias WHERE system = ?1 AND redemption = ?2)
ORDER BY field, at, run.id
"""
_STANDING: Final = """
SELECT field, value, status, run.as_of, run.knew_at, run.run_id, is_doubted
FROM event JOIN run ON run.id = event.run
WHERE event.system = ?1
  AND redemption IN (SELECT ?2 UNION ALL SELECT other FROM alias WHERE system = ?1 AND redemption = ?2)
ORDER BY field, at, run.id
"""
_ENTRY: Final = """
SELECT run_id, base_url, username, environment, path, sha256, as_of, started_at, knew_at, user, by, reason, kind, state,
       rows, left_over, profile, mark
FROM run JOIN system ON system.id = run.system
"""
_USUAL: Final = """
SELECT profile FROM run JOIN system ON system.id = run.system
WHERE base_url = ? AND username = ? AND profile <> '' AND kind = 'run'
  AND EXISTS (SELECT 1 FROM event WHERE event.run = run.id AND event.status = 'success')
ORDER BY started_at DESC LIMIT ?
"""
_PLACE_OF_RUN: Final = ("run_id", "base_url", "username")
"""What comes before the columns of an entry that stand in the table as they are."""
_ADD_RUN: Final = """
INSERT INTO run (run_id, system, environment, path, sha256, as_of, started_at, knew_at, user, by, reason, kind, state,
                 rows, left_over, profile, mark)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run_id) DO UPDATE SET state = excluded.state, left_over = excluded.left_over, mark = excluded.mark
"""
_ADD_EVENT: Final = """
INSERT OR REPLACE INTO event (system, run, redemption, field, row_number, value, status, code, at, is_doubted)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ADD_ALIAS: Final = "INSERT OR IGNORE INTO alias VALUES (?, ?, ?)"
_SYSTEM: Final = "SELECT id FROM system WHERE base_url = ? AND username = ?"


class System(NamedTuple):
    """Where something was applied, and as whom."""

    base_url: str
    username: str

    @classmethod
    def of(cls, base_url: str, username: str) -> Self:
        """Return the system of an address, however its host is written, and a user name."""
        parts = urlsplit(base_url)
        return cls(parts._replace(netloc=parts.netloc.lower()).geturl(), username)


class Entry(NamedTuple):
    """What the ledger knows of a run as a whole; the columns of its table."""

    run_id: str
    base_url: str
    username: str
    environment: str
    """What the run's settings called the system, or empty."""
    path: str
    sha256: str
    as_of: float
    """How old the file's knowledge was; in seconds since the epoch, as each moment here. 0.0 where nobody knows."""
    started_at: float
    knew_at: float
    """When the run began that brought its knowledge: itself, or the one that it retries."""
    user: str
    """The operating system's name of who started it."""
    by: str
    """On whose behalf, as was said; or empty."""
    reason: str
    kind: str
    """`run`, `retry` or `undo`."""
    state: str
    rows: int
    left_over: int
    """Rows that are not done."""
    profile: str
    """What its values looked like, as JSON; empty where that is not known."""
    mark: str
    """How far its journal was absorbed."""

    @property
    def system(self) -> System:
        """Where it was applied, and as whom."""
        return System(self.base_url, self.username)


class Event(NamedTuple):
    """What a run did to one field of one redemption."""

    redemption: str
    """`id …` or `ref …`, after the identifier it was named by."""
    field: str
    row_number: int
    value: str
    status: Status
    code: str
    at: float
    """When, in seconds since the epoch."""
    is_doubted: bool = False
    """Whether an earlier try of a row that was refused in the end may have set the field all the same."""
    alias: str = ""
    """The redemption's other name, or empty."""


class Told(NamedTuple):
    """An event as it is told: with its run. Its fields are the columns of the query."""

    redemption: str
    field: str
    value: str
    status: Status
    code: str
    at: float
    row_number: int
    run_id: str
    as_of: float
    environment: str
    path: str
    sha256: str
    user: str
    by: str
    reason: str
    kind: str
    base_url: str
    username: str


@dataclass(frozen=True, slots=True)
class _Brief:
    """An event as far as its meaning for a row goes."""

    field: str
    value: str
    status: Status
    age: Age
    run_id: str
    is_doubted: bool


def key_of(correction: Correction) -> str:
    """Return the name of a correction's redemption in the ledger."""
    return (
        _by_id(correction.redemption_id) if correction.redemption_id else _by_ref(correction.external_reference_number)
    )


def other_key(correction: Correction, alias: str) -> str:
    """Return the other name of a correction's redemption, after the alias in the platform's reply."""
    return _by_ref(alias) if correction.redemption_id else _by_id(alias)


def _by_id(redemption_id: str) -> str:
    return f"id {redemption_id}"


def _by_ref(external_reference_number: str) -> str:
    return f"ref {external_reference_number}"


class Ledger:
    """One reports folder's ledger, open; a context manager that closes it. All errors of the disk are LedgerErrors."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Use `open`."""
        self._connection = connection
        self._path = path

    @classmethod
    def open(cls, path: Path, *, network: bool = False) -> Self:
        """Open the ledger, or make an empty one. Raises LedgerError for a file that is none, or damaged."""
        with _translated(path):
            connection = connect(path)
            try:
                choose_mode(connection, network=network)
                _lay_out(connection, path)
            except BaseException:
                connection.close()
                raise
        return cls(connection, path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def absorb(self, entry: Entry, events: Iterable[Event]) -> None:
        """Replace what is known of a run by this, durable on return."""
        with self._transaction() as connection:
            system = self._made_system(entry.system)
            connection.execute("DELETE FROM event WHERE run = (SELECT id FROM run WHERE run_id = ?)", (entry.run_id,))
            run = self._made_run(entry, system)
            for part in _in_parts(events):
                # In the order of the key: the table is kept in it, and pages are then written once.
                connection.executemany(_ADD_EVENT, ((system, run, *event[:-1]) for event in sorted(part)))
                connection.executemany(
                    _ADD_ALIAS,
                    (
                        (system, one, other)
                        for event in part
                        if event.alias
                        for one, other in permutations((event.redemption, event.alias))
                    ),
                )

    def marks(self) -> dict[str, str]:
        """Return run id → how far each run was absorbed."""
        with _translated(self._path):
            return dict(self._connection.execute("SELECT run_id, mark FROM run"))

    def runs_of(self, sha256: str, system: System) -> list[Entry]:
        """Return the runs over a file's content on a system, the first first."""
        sql = f"{_ENTRY} WHERE sha256 = ? AND base_url = ? AND username = ? AND kind <> 'undo' ORDER BY started_at"
        with _translated(self._path):
            return [Entry(*record) for record in self._connection.execute(sql, (sha256, *system))]

    def as_of(self, sha256: str) -> float | None:
        """Return the as-of with which a file's content was first seen, on whatever system; None if it never was."""
        sql = "SELECT as_of FROM run WHERE sha256 = ? AND as_of > 0 AND kind <> 'undo' ORDER BY started_at LIMIT 1"
        with _translated(self._path):
            found = self._connection.execute(sql, (sha256,)).fetchone()
        return found[0] if found else None

    def knows(self, base_url: str) -> bool:
        """Say whether any run ever went to this address."""
        with _translated(self._path):
            return bool(
                self._connection.execute(
                    "SELECT 1 FROM run JOIN system ON system.id = run.system WHERE base_url = ?", (base_url,)
                ).fetchone()
            )

    def profiles(self, system: System) -> list[Profile]:
        """Return what the values of the newest runs on a system looked like, the newest last.

        A run of which nothing was applied is no example of what is usual: a guard may have stopped it.
        """
        with _translated(self._path):
            found = self._connection.execute(_USUAL, (*system, PROFILES_KEPT)).fetchall()
        return [Profile.from_json_object(orjson.loads(profile)) for (profile,) in reversed(found)]

    def story(self, identifier: str) -> list[Told]:
        """Return all events of a redemption, named by either identifier, on whatever system, in their order."""
        with _translated(self._path):
            systems = [number for (number,) in self._connection.execute("SELECT id FROM system ORDER BY id")]
            found = {
                Told._make((*record[:3], Status(record[3]), *record[4:]))
                for system in systems
                for key in (_by_id(identifier), _by_ref(identifier))
                for record in self._connection.execute(_OF_REDEMPTION, (system, key))
            }
        return sorted(found, key=attrgetter("at", "run_id", "row_number", "field"))

    def lookup(self, system: System) -> Lookup | None:
        """Return what answers for the redemptions of a system; None when nothing is known of any."""
        with _translated(self._path):
            found = self._connection.execute(_SYSTEM, system).fetchone()
        return Lookup(self._connection, self._path, found[0]) if found else None

    def _made_system(self, system: System) -> int:
        self._connection.execute("INSERT OR IGNORE INTO system (base_url, username) VALUES (?, ?)", system)
        return int(self._connection.execute(_SYSTEM, system).fetchone()[0])

    def _made_run(self, entry: Entry, system: int) -> int:
        self._connection.execute(_ADD_RUN, (entry.run_id, system, *entry[len(_PLACE_OF_RUN) :]))
        return int(self._connection.execute("SELECT id FROM run WHERE run_id = ?", (entry.run_id,)).fetchone()[0])

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with _translated(self._path), self._connection as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection


class Lookup:
    """Answers what stands of one system's redemptions."""

    def __init__(self, connection: sqlite3.Connection, path: Path, system: int) -> None:
        """Use `Ledger.lookup`."""
        self._connection = connection
        self._path = path
        self._system = system

    def standings(self, correction: Correction) -> Mapping[str, Standing]:
        """Return field → what stands, of a correction's redemption; empty when nothing is known of it.

        Raises LedgerLostError.
        """
        try:
            found = self._connection.execute(_STANDING, (self._system, key_of(correction))).fetchall()
        except sqlite3.DatabaseError as exc:
            raise LedgerLostError(f"the ledger {self._path} cannot be read any more ({exc})") from exc
        if not found:
            return {}
        briefs = (
            _Brief(field, value, Status(status), (as_of, knew_at), run_id, bool(is_doubted))
            for field, value, status, as_of, knew_at, run_id, is_doubted in found
        )
        return {field: standing_of(events) for field, events in groupby(briefs, key=attrgetter("field"))}


_PART: Final = 10_000
"""Events that are put in order at once: some 6 MB, which a process keeps. With fewer, pages are written more often."""


def _in_parts(events: Iterable[Event]) -> Iterator[list[Event]]:
    coming = iter(events)
    while part := list(islice(coming, _PART)):
        yield part


def _lay_out(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file; raise LedgerError for one that is something else."""
    if _kind_of(connection) == (APPLICATION_ID, SCHEMA_VERSION):
        return
    with connection:
        # Another process may make them at the same moment: who comes second finds them.
        connection.execute("BEGIN IMMEDIATE")
        kind = _kind_of(connection)
        if kind == (APPLICATION_ID, SCHEMA_VERSION):
            return
        if kind != (0, 0) or connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise LedgerError(f"{path} is no ledger of this version of bulkredeem; it was left as it is. {_REMEDY}")
        for statement in filter(str.strip, _SCHEMA.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _kind_of(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return what tells a ledger of this version from other files."""
    ((application_id,), (version,)) = (
        connection.execute(f"PRAGMA {question}").fetchone() for question in ("application_id", "user_version")
    )
    return application_id, version


_SAYS_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""What SQLite's errors come to when the file itself is broken, as opposed to the disk or the folder."""
_REMEDY: Final = (
    "Move it away: it is made anew from the runs in the folder, of which those that were pruned are lacking."
)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, once."""
    try:
        yield
    except sqlite3.DatabaseError as exc:
        if getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _SAYS_DAMAGED:
            raise LedgerError(f"The ledger {path} is damaged ({exc}). {_REMEDY}") from exc
        raise LedgerError(f"The ledger {path} cannot be used ({exc}); nothing was sent.") from exc
