"""Which row is the header, and what stands between the cells: the first row within twenty that can be mapped.

A header is recognised by what it is for: with its columns, rows could be sent. Whatever stands above it (a title, a
date, who made the file) is no row. Of several delimiters, that one counts with which most columns are known.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bulkredeem.columns import ColumnMap, canonical_name, map_columns, shown_header
from bulkredeem.errors import InputFileError
from bulkredeem.loader.records import (
    BLANKS,
    DAMAGE,
    MOST_COLUMNS,
    Layout,
    Record,
    dialect_of,
    has_blank_before_quotes,
    take_apart,
)
from bulkredeem.loader.text import undecodable_in
from bulkredeem.model import Reading

SEARCHED: Final = 20
"""Rows among which the header is looked for."""
DELIMITERS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
"""The delimiters that are tried, with what a person calls them; the earlier one counts when two do as well."""
_NOTHING: Final = "".join(DELIMITERS) + BLANKS
"""What a blank line consists of, whatever its delimiter."""
_FEWEST: Final = 2
"""Cells of what may be a header that somebody only misspelt, and known names in what is one: a title may hold one."""
_MOST_HELD: Final = 1 << 25
"""Characters that are held at most while the header is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A row as the header it may be."""

    record: Record
    layout: Layout
    columns: ColumnMap | None
    """What its columns are used as; None when no row could be sent by it."""
    complaint: str = ""
    """Why it is no header, without the name of the file."""
    above: int = 0
    """How many rows above it have something in them."""
    rival: int = 0
    """The row above it that looks like a header, too; 0 for none."""

    @property
    def known(self) -> int:
        """How many of its columns are used, or would be."""
        if self.columns:
            return len(self.columns.used)
        return sum(map(bool, map(canonical_name, self.record.cells)))


class Held:
    """Lines that can be gone through several times, until the header among them is found."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Take lines of which none was taken yet."""
        self.failure: InputFileError | None = None
        """Why no more lines could be read, or None; whoever reads the rest hears it when it is there."""
        self.is_full = False
        """Whether those that are held are all that is to be looked at."""
        self._held: list[str] = []
        self._coming = iter(lines)
        self._characters = 0

    def __iter__(self) -> Iterator[str]:
        """Yield the lines from the first one on, and read on where those that are held end."""
        for place in itertools.count():
            if place == len(self._held) and not self._hold_one_more():
                return
            yield self._held[place]

    def rest(self, passed: int) -> Iterator[str]:
        """Yield what comes after so many lines, to the end; nothing is held any more."""
        yield from self._held[passed:]
        self._held.clear()
        if self.failure:
            raise self.failure
        yield from self._coming

    def _hold_one_more(self) -> bool:
        if self.is_full or self.failure or self._characters > _MOST_HELD:
            return False
        try:
            line = next(self._coming, None)
        except InputFileError as exc:
            self.failure = exc
            return False
        if line is not None:
            self._characters += len(line)
            self._held.append(line)
        return line is not None


def find_in_text(
    held: Held, reading: Reading, name: str, *, may_be_unknown: bool = False
) -> tuple[Heading, Iterator[str]]:
    """Return the header of a text, and the lines below it.

    Where none can be mapped, it is the row that looks most like one, with its complaint: one with known columns, or
    the first row, or if `may_be_unknown` the first row that has several cells. Raises InputFileError for a
    text in which nothing stands, and for one whose quotes do not let its lines be told apart.
    """
    delimiters = [reading.delimiter] if reading.delimiter else list(DELIMITERS)
    found: list[Heading] = []
    swallowed: InputFileError | None = None
    for delimiter in delimiters:
        try:
            for heading in _headings(_records(held, delimiter, name), delimiter, reading, name):
                found.append(heading)  # noqa: PERF402  those before a line that cannot be told apart count
        except InputFileError as exc:
            # What another delimiter makes of the quotes says something of that delimiter alone.
            swallowed = swallowed or (exc if delimiter == delimiters[0] else None)
        held.is_full = held.is_full or bool(found and found[-1].columns)
    best = chosen(found, may_be_unknown=may_be_unknown)
    if best is None or not best.columns:
        if error := held.failure or swallowed:
            raise error
        if best is None:
            raise _nothing_in(name, reading, goes_on=any(line.strip(_NOTHING) for line in held.rest(0)))
    best, lines = _placed(best, _records(held, best.layout.delimiter, name))
    return best, held.rest(lines)


def find_in_sheet(
    records: Callable[[], Iterator[Record]], reading: Reading, name: str, *, may_be_unknown: bool = False
) -> Heading:
    """Return the header of a sheet as `find_in_text` does; `records` begins with its first row each time.

    Raises InputFileError for a sheet in which nothing stands.
    """
    heading = chosen(list(_headings(records(), ",", reading, name)), may_be_unknown=may_be_unknown)
    if heading is None:
        raise _nothing_in(name, reading, goes_on=not all(record.is_blank for record in records()))
    return _placed(heading, records())[0]


def widened(heading: Heading, width: int, reading: Reading) -> Heading:
    """Return the header of a sheet with as many columns as the rows below it have, those too many without a name."""
    missing = width - len(heading.record.cells)
    if missing <= 0:
        return heading
    record = replace(heading.record, cells=[*heading.record.cells, *[""] * missing])
    wide = _heading(record, heading.layout.delimiter, reading)
    return replace(wide, above=heading.above, rival=heading.rival)


def require_columns(heading: Heading, reading: Reading, name: str) -> ColumnMap:
    """Return what the columns are used as; raise InputFileError when no row could be sent by this header."""
    lines = heading.record.lines
    if lines and not lines[-1].endswith("\n") and not reading.allow_unterminated:
        raise InputFileError(
            f"{name} ends within its header: half an upload? Send it again whole, or take it with --allow-unterminated."
        )
    where = f"{name}, row {heading.record.row_number}"
    if heading.columns and heading.rival and not reading.header_row:
        raise InputFileError(
            f"{where}, is a header, and row {heading.rival} above it looks like one, too: are there two tables in the"
            " file? Give each a file of its own, or say which row is the header with --header-row."
        )
    if heading.columns:
        return heading.columns
    if heading.record.error:
        raise InputFileError(f"{where}, cannot be read as a header: {heading.complaint}.")
    hint = (
        ""
        if reading.header_row
        else f" No other of the first {SEARCHED} rows is a header either: --header-row says which one is, --delimiter"
        " what stands between its cells."
    )
    raise InputFileError(f"{where} (the header): {heading.complaint}{hint}")


def chosen(headings: Sequence[Heading], *, may_be_unknown: bool) -> Heading | None:
    """Return the header among rows that may be it, given delimiter by delimiter in the file's order; None for none."""
    mapped = [heading for heading in headings if heading.columns]
    if mapped:
        return max(mapped, key=lambda heading: heading.known)
    if not headings or headings[0].record.error:
        return headings[0] if headings else None
    known = max(headings, key=lambda heading: heading.known)
    if known.known:
        return known
    first = headings[0]
    if may_be_unknown:
        # A row of a single cell is a title.
        first = min(headings, key=lambda heading: (len(heading.record.cells) < _FEWEST, heading.record.row_number))
    alike = [heading for heading in headings if heading.record.row_number == first.record.row_number]
    return max(alike, key=lambda heading: len(heading.record.cells))


def _placed(heading: Heading, records: Iterator[Record]) -> tuple[Heading, int]:
    """Return the header with what is to be known of the rows above it, and how many lines go up to it and with it."""
    above = rival = lines = 0
    for record in itertools.islice(records, heading.record.row_number):
        lines += len(record.lines)
        if record.row_number < heading.record.row_number and not record.is_blank:
            above += 1
            names = set(filter(None, map(canonical_name, record.cells)))
            rival = rival or (record.row_number if len(names) >= _FEWEST else 0)
    return replace(heading, above=above, rival=rival), lines


def _nothing_in(name: str, reading: Reading, *, goes_on: bool) -> InputFileError:
    """Return the error of a file in which no header stands where one must."""
    if reading.header_row:
        return InputFileError(f"{name} has nothing in row {reading.header_row}, which --header-row says is the header.")
    if goes_on:
        return InputFileError(
            f"{name} has nothing in its first {SEARCHED} rows, among which the header is looked for: say where it is"
            " with --header-row."
        )
    return InputFileError(f"{name} is empty: the first line must name the columns.")


def _headings(records: Iterator[Record], delimiter: str, reading: Reading, name: str) -> Iterator[Heading]:
    """Yield the rows that may be the header, up to the first that can be mapped.

    Raises InputFileError for one with more cells than a file can have columns.
    """
    first, last = (reading.header_row - 1, reading.header_row) if reading.header_row else (0, SEARCHED)
    for record in itertools.islice(records, first, last):
        if record.error or "".join(record.cells).strip(_NOTHING):
            if len(record.cells) > MOST_COLUMNS:
                raise InputFileError(
                    f"{name}, row {record.row_number}, has {len(record.cells):,} cells, and a header has at most"
                    f" {MOST_COLUMNS:,}, as in a spreadsheet: leave out the columns that nobody needs."
                )
            heading = _heading(record, delimiter, reading)
            yield heading
            if heading.columns:
                return


def _heading(record: Record, delimiter: str, reading: Reading) -> Heading:
    layout = Layout(record.cells, delimiter)
    error = "UNDECODABLE_BYTES" if undecodable_in("".join(record.cells)) else record.error
    if error:
        record = Record(row_number=record.row_number, lines=record.lines, error=error)
        return Heading(record=record, layout=layout, columns=None, complaint=DAMAGE[error])
    if complaint := _quotes_in_names(record, delimiter):
        return Heading(record=record, layout=layout, columns=None, complaint=complaint)
    try:
        columns = map_columns(layout.own(record.cells), reading.explicit)
    except ValueError as exc:
        return Heading(record=record, layout=layout, columns=None, complaint=str(exc))
    return Heading(record=record, layout=layout, columns=columns)


def _quotes_in_names(record: Record, delimiter: str) -> str:
    """Say which name of a column that we use has quotes that are part of it; empty for none."""
    for place, cell in enumerate(record.cells if record.lines else ()):
        if has_blank_before_quotes(record, place, delimiter) and canonical_name(cell.strip().strip('"')):
            return (
                f"A blank stands before the opening quote of {shown_header(cell.strip())}, so that the quotes are part"
                " of the name: take the blanks after the delimiters out of the file."
            )
    return ""


def _records(held: Held, delimiter: str, name: str) -> Iterator[Record]:
    lines, dialect = iter(held), dialect_of(delimiter)
    for row_number, line in enumerate(lines, start=1):
        yield take_apart(name, row_number, line, lines, dialect)
