"""What the XML of a sheet says that the reader of workbooks does not give away, and how that XML is read.

It is read in one go, without a tree of it. A document type is refused: no spreadsheet writes one, and with it a small
file could unfold into any amount of memory.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from xml.parsers import expat

from bulkredeem.loader.cells import Note
from bulkredeem.loader.records import LONGEST_CELL, MOST_COLUMNS

MOST_CELLS: Final = 50_000_000
"""Cells of the rectangle that a sheet spans: it is held whole, its empty cells too."""
FEW_CELLS: Final = 5_000_000
"""Cells of a rectangle that may be as empty as they like."""
EMPTIEST: Final = 10
"""Of so many rows of a larger rectangle, one has something in it at least; and one row in every tenth column."""

MOST_ROWS: Final = 1 << 20
"""Rows of an .xlsx: as many as its form has."""
MOST_CHARACTERS: Final = 1 << 28
"""Characters of all cells of a workbook: a text may be written once and stand in many."""
MOST_REPEATED: Final = 1 << 20
"""Cells of a workbook with something in them that are not written out: one column of all rows that a sheet has."""
_DEEPEST: Final = 256
"""Elements within each other; a sheet has about ten."""
_LONGEST_TAG: Final = 1 << 23
"""Bytes of one tag, with its attributes."""
_BLOCK: Final = 1 << 18
_LETTERS: Final = 26

Attributes = Mapping[str, str]
Notes = dict[tuple[int, int], Note]


class TooLargeError(Exception):
    """A sheet spans more cells than can be held; it says how many, as the end of a sentence about the sheet."""


class CellTooLongError(Exception):
    """A cell holds more than a cell can; it says where, and what to do."""

    def __init__(self, row: int, column: int) -> None:
        """Take its place, from 0."""
        super().__init__(
            f"row {row + 1}, column {letters_of(column)}: the cell has more than {LONGEST_CELL:,} characters; shorten"
            " it"
        )


class DocumentTypeError(Exception):
    """The XML brings a document type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the XML of a sheet says."""

    notes: Mapping[tuple[int, int], Note]
    """By row and column, both from 0."""
    rows: int
    """How many there are down to the last one with something in it; 0 for an empty sheet."""
    columns: int
    hidden_rows: frozenset[int] = frozenset()
    """Rows that a filter or a person hides, from 0."""
    hidden_columns: frozenset[int] = frozenset()


def read_xml(
    archive: zipfile.ZipFile,
    part: str,
    start: Callable[[str, Attributes], None],
    end: Callable[[str], None] | None = None,
    text: Callable[[str], None] | None = None,
) -> None:
    """Let others hear what stands in a part of a workbook.

    Raises DocumentTypeError, expat's error, and ValueError for elements within each other or attributes without end.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler, parser.EndElementHandler = _counted(start, end or _ignore)
    if text:
        parser.CharacterDataHandler = text
    fed = 0
    with archive.open(part) as stream:
        while block := stream.read(_BLOCK):
            parser.Parse(block)
            fed += len(block)
            # It holds a tag until its end has come.
            if fed - parser.CurrentByteIndex > _LONGEST_TAG:
                raise ValueError(part)
    parser.Parse(b"", True)  # noqa: FBT003  expat's own word for the end


def _counted(
    start: Callable[[str, Attributes], None], end: Callable[[str], None]
) -> tuple[Callable[[str, Attributes], None], Callable[[str], None]]:
    """Return what hears the same, and raises ValueError for elements within each other without end."""
    depth = 0

    def begin(name: str, attributes: Attributes) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(depth)
        start(name, attributes)

    def finish(name: str) -> None:
        nonlocal depth
        depth -= 1
        end(name)

    return begin, finish


def _ignore(_name: str) -> None:
    pass


def letters_of(column: int) -> str:
    """Return what a spreadsheet calls a column, counted from 0."""
    first, last = divmod(column, _LETTERS)
    return (letters_of(first - 1) if first else "") + chr(ord("A") + last)


def _refuse(*_: object) -> None:
    raise DocumentTypeError


class Extent:
    """How far a sheet goes, and what of it is hidden."""

    def __init__(self, before: Extent | None = None) -> None:
        """Begin with an empty sheet; `before` is the one that is held beside it, or None."""
        self._spans = before.spans if before else 0
        self._rows = self._columns = self._filled = 0
        self._last = -1
        self._filled_rows = self._in_row = self._widest = 0
        self._characters = before.characters if before else 0
        self._hidden_rows: list[range] = []
        self._hidden_columns: list[range] = []

    @property
    def spans(self) -> int:
        """How many cells it spans, with those sheets that are held beside it."""
        return self._spans + self._rows * self._columns

    @property
    def characters(self) -> int:
        """How many characters its cells hold, with those of the sheets that are held beside it."""
        return self._characters

    def reach(self, row: int, column: int, rows: int = 1, columns: int = 1) -> None:
        """Take note of so many cells with something in them, of which this is the last. Raises TooLargeError."""
        self._filled += rows * columns
        if row != self._last:
            self._last, self._in_row = row, 0
            self._filled_rows += rows
        self._in_row += columns
        if self._in_row > self._widest:  # noqa: PLR1730  max() would be called for every cell of a sheet
            self._widest = self._in_row
        if row >= self._rows or column >= self._columns:
            self._grow(max(self._rows, row + 1), max(self._columns, column + 1))

    def _grow(self, rows: int, columns: int) -> None:
        self._rows, self._columns = rows, columns
        if columns > MOST_COLUMNS:
            msg = f"has more than {MOST_COLUMNS:,} columns"
            raise TooLargeError(msg)
        if self.spans > MOST_CELLS:
            msg = f"spans more than {MOST_CELLS:,} cells"
            raise TooLargeError(msg)

    def hold(self, characters: int) -> None:
        """Take note of the text of cells. Raises TooLargeError."""
        self._characters += characters
        if self._characters > MOST_CHARACTERS:
            msg = f"holds more than {MOST_CHARACTERS:,} characters"
            raise TooLargeError(msg)

    def hide_rows(self, first: int, count: int = 1) -> None:
        """Take note of rows that are not shown."""
        self._hidden_rows.append(range(first, first + count))

    def hide_columns(self, first: int, count: int = 1) -> None:
        """Take note of columns that are not shown."""
        self._hidden_columns.append(range(first, first + count))

    def survey(self, notes: Notes) -> Survey:
        """Return what was found. Raises TooLargeError for a few cells that stand far apart."""
        span = self.spans
        is_sparse = self._rows > self._filled_rows * EMPTIEST or self._columns > self._widest * EMPTIEST
        if span > FEW_CELLS and is_sparse:
            msg = f"spans {span:,} cells, of which {self._filled:,} have something in them"
            raise TooLargeError(msg)
        return Survey(
            notes=notes,
            rows=self._rows,
            columns=self._columns,
            hidden_rows=_within(self._hidden_rows, self._rows),
            hidden_columns=_within(self._hidden_columns, self._columns),
        )


def _within(ranges: list[range], end: int) -> frozenset[int]:
    return frozenset(index for each in ranges for index in range(each.start, min(each.stop, end)))
