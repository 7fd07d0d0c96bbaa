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

MOST_CELLS: Final = 50_000_000
"""Cells of the rectangle that a sheet spans: it is held whole, its empty cells too."""
FEW_CELLS: Final = 5_000_000
"""Cells of a rectangle that may be as empty as they like."""
EMPTIEST: Final = 10
"""Of so many rows of a larger rectangle, one has something in it at least; and one row in every tenth column."""

Attributes = Mapping[str, str]
Notes = dict[tuple[int, int], Note]


class TooLargeError(Exception):
    """A sheet spans more cells than can be held; it says how many, as the end of a sentence about the sheet."""


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
    """Let others hear what stands in a part of a workbook. Raises DocumentTypeError, and expat's error."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = start
    if end and text:
        parser.EndElementHandler, parser.CharacterDataHandler = end, text
    with archive.open(part) as stream:
        parser.ParseFile(stream)


def _refuse(*_: object) -> None:
    raise DocumentTypeError


class Extent:
    """How far a sheet goes, and what of it is hidden."""

    def __init__(self) -> None:
        """Begin with an empty sheet."""
        self._rows = self._columns = self._filled = 0
        self._last = -1
        self._filled_rows = self._in_row = self._widest = 0
        self._hidden_rows: list[range] = []
        self._hidden_columns: list[range] = []

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
        if self._rows * self._columns > MOST_CELLS:
            msg = f"spans more than {MOST_CELLS:,} cells"
            raise TooLargeError(msg)

    def hide_rows(self, first: int, count: int = 1) -> None:
        """Take note of rows that are not shown."""
        self._hidden_rows.append(range(first, first + count))

    def hide_columns(self, first: int, count: int = 1) -> None:
        """Take note of columns that are not shown."""
        self._hidden_columns.append(range(first, first + count))

    def survey(self, notes: Notes) -> Survey:
        """Return what was found. Raises TooLargeError for a few cells that stand far apart."""
        span = self._rows * self._columns
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
