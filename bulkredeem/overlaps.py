"""What the rows of one file have to do with each other: which fight, which say the same twice, which come too late.

Rows are *of one redemption* when their `redemption_key` is equal. Whose redemption they say it is does not matter for
that; it only keeps rows from being identical. Two of them *fight* over a field when both set it, to different values;
the field is *fought over* then. What follows depends on what somebody wants of a conflict:

- `refuse`: a row that sets a fought-over field is invalid (`CONFLICTING_ROWS`). The others of its redemption are not
  affected.
- `last`: from the last row of the redemption to the first, a row is skipped (`SUPERSEDED`) when it sets a fought-over
  field, and each of its fields is set by a later row that stands. It is invalid (`CONFLICTING_ROWS`) when that is so of
  some of its fields only, and one of them is set to another value: it would be undone in part. Else it stands. A row
  that does not stand takes no part: it supersedes nobody.

In both, of rows that are identical (redemption, customer, fields, values) and set no fought-over field, the first is
sent, and the later ones are skipped (`DUPLICATE_ROW`). Rows that differ in nothing but the customer are all sent.

Everything is remembered in temporary databases, which have no name and go with their connections: memory stays flat,
however many rows a file has, or a redemption. Most rows share their redemption with no other: a `Glance` at all of them
says which may, and only those are remembered whole.

A redemption is known there by 128 bits of BLAKE2. Among ten million of them any two are taken for one with a chance of
1 in 10^24; a disk gives back a wrong byte far more often. Customers and values are kept, and compared, as they are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple, Self

import orjson

from bulkredeem.errors import InputFileError
from bulkredeem.model import Correction, OnConflict, Status

CONFLICTING_ROWS: Final = "CONFLICTING_ROWS"
DUPLICATE_ROW: Final = "DUPLICATE_ROW"
SUPERSEDED: Final = "SUPERSEDED"
NAMED: Final = 5
"""Rows, or fields, that a message names; of more it gives the number."""

_AT_ONCE: Final = 1000
"""Rows that are written at once: one by one they cost a third more."""
_TEMPORARY: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA temp_store = FILE;
PRAGMA cache_size = -4000;
BEGIN;
"""
_SCHEMA: Final = """
CREATE TABLE correction (row_number INTEGER PRIMARY KEY, redemption BLOB NOT NULL, content TEXT NOT NULL);
CREATE TABLE tally (field TEXT, value TEXT, rows INTEGER NOT NULL, PRIMARY KEY (field, value)) WITHOUT ROWID;
CREATE TABLE ruling (row_number INTEGER NOT NULL, status TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL);
"""
_GLANCE: Final = """
CREATE TABLE glance (hash INTEGER NOT NULL, row_number INTEGER PRIMARY KEY);
"""
_CANDIDATES: Final = """
SELECT row_number FROM glance WHERE hash IN (SELECT hash FROM glance GROUP BY hash HAVING count(*) > 1)
ORDER BY row_number
"""
_INSERT: Final = "INSERT INTO correction VALUES (?, ?, ?)"
# Sorted once at the end: an index that grows with the rows is written to all over the place.
_INDEX: Final = "CREATE INDEX IF NOT EXISTS of_redemption ON correction (redemption)"
_SHARED: Final = "SELECT redemption FROM correction GROUP BY redemption HAVING count(*) > 1"
_SHARING: Final = """
SELECT row_number FROM correction
WHERE redemption IN (SELECT redemption FROM correction GROUP BY redemption HAVING count(*) > 1) ORDER BY row_number
"""
_FORWARD: Final = "SELECT row_number, content, row_number FROM correction WHERE redemption = ? ORDER BY row_number"
_BACKWARD: Final = """
SELECT row_number, content, min(row_number) OVER (PARTITION BY content) FROM correction WHERE redemption = ?
ORDER BY row_number DESC
"""
_COUNT: Final = "INSERT INTO tally VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET rows = rows + 1"
_COUNTED: Final = "SELECT rows FROM tally WHERE field = ? AND value = ?"
_RULE: Final = "INSERT INTO ruling VALUES (?, ?, ?, ?)"
_RULINGS: Final = "SELECT * FROM ruling ORDER BY row_number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """Why a row is not sent, as far as other rows of its file are the reason."""

    row_number: int
    status: Status
    """`SKIPPED` or `INVALID`."""
    code: str
    """`DUPLICATE_ROW` or `SUPERSEDED` of a skipped row, `CONFLICTING_ROWS` of an invalid one."""
    message: str
    """One sentence for a person; it names fields and the numbers of the other rows, and quotes no cell."""


class _Row(NamedTuple):
    """A row as the database gives it back."""

    row_number: int
    values: dict[str, str]
    """Field → value, in the order of the fields' names."""
    first: int
    """The first row with the same content, or itself."""


@dataclass(slots=True, kw_only=True)
class _Field:
    """What the rows of one redemption make of one field, in memory that does not grow with them."""

    rows: int = 0
    """How many set it."""
    seen: dict[str, list[int]] = field(default_factory=dict)
    """Value → the first `NAMED` rows that set it, of the first values, one more than `NAMED`: whichever of them is
    taken away, the first `NAMED` rows with another value are among the rest."""

    @property
    def is_fought_over(self) -> bool:
        return len(self.seen) > 1

    def note(self, row_number: int, value: str) -> None:
        self.rows += 1
        rows = self.seen.get(value)
        if rows is None and len(self.seen) <= NAMED:
            self.seen[value] = [row_number]
        elif rows is not None and len(rows) < NAMED:
            rows.append(row_number)

    def first_others(self, value: str) -> list[int]:
        """Return the first rows, at most `NAMED`, that set it to something else."""
        return sorted(row for other, rows in self.seen.items() if other != value for row in rows)[:NAMED]


class Glance:
    """A first look at all rows of a file: which of them may share their redemption with another, at little cost.

    It goes by Python's own hash. That two redemptions have the same one is rare, and makes both candidates, no more. A
    context manager, as `Overlaps` is one.
    """

    def __init__(self) -> None:
        """Begin without rows. Raises InputFileError."""
        self._waiting: list[tuple[int, int]] = []
        with _translated():
            self._connection = _temporary_database()
            self._connection.executescript(_TEMPORARY + _GLANCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def add(self, correction: Correction) -> None:
        """Take note of a row. Raises InputFileError."""
        self._waiting.append((hash(correction.redemption_key), correction.row_number))
        if len(self._waiting) >= _AT_ONCE:
            self._write()

    def candidates(self) -> Iterator[int]:
        """Yield, in order, the rows that may share their redemption with another. Raises InputFileError."""
        self._write()
        with _translated():
            for (row_number,) in self._connection.execute(_CANDIDATES):
                yield row_number

    def _write(self) -> None:
        with _translated():
            self._connection.executemany("INSERT INTO glance VALUES (?, ?)", self._waiting)
        self._waiting.clear()


class Overlaps:
    """Remembers the rows of one file, and says what they have to do with each other.

    A context manager, which forgets everything at its end. It belongs to one thread at a time. Whatever goes wrong with
    the temporary database, a full disk above all, becomes an InputFileError.
    """

    def __init__(
        self,
        on_conflict: OnConflict = OnConflict.REFUSE,
        *,
        connect: Callable[[], sqlite3.Connection] | None = None,
    ) -> None:
        """Begin without rows; `connect` opens another database than SQLite's temporary one. Raises InputFileError."""
        self._on_conflict = on_conflict
        self._waiting: list[tuple[int, bytes, str]] = []
        self._is_judged = False
        with _translated():
            self._connection = (connect or _temporary_database)()
            self._connection.executescript(_TEMPORARY + _SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget everything; once is enough, and more do no harm."""
        self._connection.close()

    def add(self, correction: Correction) -> None:
        """Remember a row; the rows come in the file's order. Raises InputFileError."""
        self._waiting.append((correction.row_number, _digest(correction), _content(correction)))
        if len(self._waiting) >= _AT_ONCE:
            self._write()

    def rulings(self) -> Iterator[Ruling]:
        """Yield a ruling for each row so far that is not to be sent, by row number. Raises InputFileError."""
        self._write()
        with _translated():
            if not self._is_judged:
                self._judge()
            for row_number, status, code, message in self._connection.execute(_RULINGS):
                yield Ruling(row_number=row_number, status=Status(status), code=code, message=message)

    def sharing(self) -> Iterator[int]:
        """Yield, in order, the rows so far whose redemption is another row's too, with a ruling or without.

        Raises InputFileError.
        """
        self._write()
        with _translated():
            self._connection.execute(_INDEX)
            for (row_number,) in self._connection.execute(_SHARING):
                yield row_number

    def _write(self) -> None:
        if self._waiting:
            with _translated():
                self._connection.executemany(_INSERT, self._waiting)
            self._waiting.clear()
            self._is_judged = False

    def _judge(self) -> None:
        self._connection.execute("DELETE FROM ruling")
        self._connection.execute(_INDEX)
        self._connection.executemany(
            _RULE,
            (
                (ruling.row_number, ruling.status, ruling.code, ruling.message)
                for (redemption,) in self._connection.execute(_SHARED)
                for ruling in self._judged(redemption)
            ),
        )
        self._is_judged = True

    def _judged(self, redemption: bytes) -> Iterator[Ruling]:
        fields: dict[str, _Field] = {}
        for row in self._rows(_FORWARD, redemption):
            for name, value in row.values.items():
                fields.setdefault(name, _Field()).note(row.row_number, value)
        fought = {name: field for name, field in fields.items() if field.is_fought_over}
        rows = self._rows(_BACKWARD, redemption)
        if self._on_conflict is OnConflict.LAST:
            return _last_wins(rows, fought.keys())
        self._count(redemption, {name for name, field in fought.items() if field.rows > NAMED})
        return self._refused(rows, fought)

    def _rows(self, query: str, redemption: bytes) -> Iterator[_Row]:
        for row_number, content, first in self._connection.execute(query, (redemption,)):
            yield _Row(row_number, orjson.loads(content)[-1], first)

    def _count(self, redemption: bytes, names: set[str]) -> None:
        """Count how many rows of the redemption set these fields to which value."""
        if names:
            self._connection.execute("DELETE FROM tally")
            rows = self._rows(_FORWARD, redemption)
            cells = ((name, row.values[name]) for row in rows for name in names & row.values.keys())
            self._connection.executemany(_COUNT, cells)

    def _refused(self, rows: Iterable[_Row], fought: Mapping[str, _Field]) -> Iterator[Ruling]:
        for row in rows:
            others = {
                name: self._others(name, value, fought[name]) for name, value in row.values.items() if name in fought
            }
            if others:
                yield _conflicting(row, others, "keep one of them")
            elif row.first != row.row_number:
                yield _duplicate(row)

    def _others(self, name: str, value: str, field: _Field) -> str:
        """Return, in words, the rows that set a field to something else."""
        first = field.first_others(value)
        if len(first) < NAMED:
            return _rows_in_words(first)
        ((same,),) = self._connection.execute(_COUNTED, (name, value))
        return _rows_in_words(first, more=field.rows - same - len(first))


def _last_wins(rows: Iterable[_Row], fought: Iterable[str]) -> Iterator[Ruling]:
    """Yield the rulings on the rows of one redemption, which come from the last to the first."""
    contested = frozenset(fought)
    standing: dict[str, tuple[int, str]] = {}
    for row in rows:
        ruling = _ruling_before(row, standing, contested)
        if ruling:
            yield ruling
        else:
            for name, value in row.values.items():
                standing.setdefault(name, (row.row_number, value))


def _ruling_before(row: _Row, standing: Mapping[str, tuple[int, str]], fought: frozenset[str]) -> Ruling | None:
    """Return the ruling on a row before those that stand, or None when it stands, too."""
    if fought.isdisjoint(row.values):
        return _duplicate(row) if row.first != row.row_number else None
    later = {name: standing[name] for name in row.values if name in standing}
    if len(later) == len(row.values):
        return _superseded(row, sorted({number for number, _ in later.values()}))
    undone = {name: _rows_in_words([number]) for name, (number, value) in later.items() if value != row.values[name]}
    return _conflicting(row, undone, "take out of this row what later rows set") if undone else None


def _duplicate(row: _Row) -> Ruling:
    return Ruling(
        row_number=row.row_number,
        status=Status.SKIPPED,
        code=DUPLICATE_ROW,
        message=f"the same as row {row.first}",
    )


def _superseded(row: _Row, by: list[int]) -> Ruling:
    rows = _rows_in_words(by[:NAMED], more=len(by[NAMED:]))
    return Ruling(
        row_number=row.row_number,
        status=Status.SKIPPED,
        code=SUPERSEDED,
        message=f"{rows} {'sets' if len(by) == 1 else 'set'} the same later",
    )


def _conflicting(row: _Row, others: Mapping[str, str], advice: str) -> Ruling:
    """Return the ruling on a row; `others` says of each fought-over field which rows set it to something else."""
    fields_of: dict[str, list[str]] = {}
    for name, rows in others.items():
        fields_of.setdefault(rows, []).append(name)
    clauses = (
        f"{_in_words(names[:NAMED], more=len(names[NAMED:]))} {'is' if len(names) == 1 else 'are'}"
        f" set to something else in {rows}"
        for rows, names in fields_of.items()
    )
    return Ruling(
        row_number=row.row_number,
        status=Status.INVALID,
        code=CONFLICTING_ROWS,
        message=f"{'; '.join(clauses)}: {advice}",
    )


def _rows_in_words(numbers: list[int], *, more: int = 0) -> str:
    return f"{'row' if len(numbers) + more == 1 else 'rows'} {_in_words(list(map(str, numbers)), more=more)}"


def _in_words(words: list[str], *, more: int) -> str:
    *head, tail = [*words, f"{more} more"] if more else words
    return f"{', '.join(head)} and {tail}" if head else tail


def _digest(correction: Correction) -> bytes:
    # The text of a tuple shows where one identifier ends, whatever stands in it.
    return blake2b(repr(correction.redemption_key).encode(), digest_size=16).digest()


def _content(correction: Correction) -> str:
    """Return what makes rows of one redemption identical: the customer and, by name, the fields."""
    customer = (correction.entity_type, correction.identifier_type, correction.identifier_value)
    # As text, because the bytes that orjson gives hold four kilobytes each, however few they are.
    return orjson.dumps((*customer, dict(correction.values)), option=orjson.OPT_SORT_KEYS).decode()


def _temporary_database() -> sqlite3.Connection:
    # No name: SQLite keeps it in a file that nobody else can open, and that is gone when the process is.
    return sqlite3.connect("", isolation_level=None, check_same_thread=False)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as exc:
        raise InputFileError(
            f"The rows of the file cannot be compared with each other: {exc}. What is needed for that lies in a"
            " temporary file; SQLITE_TMPDIR names another folder for it."
        ) from exc
