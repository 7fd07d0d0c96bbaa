"""What the XML of an .xlsx says of the cells of a sheet: formats, errors, and what is hidden."""

from __future__ import annotations

import posixpath
import zipfile
from array import array
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from bulkredeem.loader.cells import NOT_CALCULATED, Note
from bulkredeem.loader.formats import BUILT_IN, Format
from bulkredeem.loader.records import LONGEST_CELL
from bulkredeem.loader.surveying import (
    MOST_ROWS,
    Attributes,
    CellTooLongError,
    Extent,
    Notes,
    Survey,
    TooLargeError,
    read_xml,
)

_DIGITS: Final = "0123456789"
_LETTERS: Final = 26
_MOST_STYLES: Final = 1 << 16
"""Formats of cells; a spreadsheet has no more."""
_TRUE: Final = frozenset({"1", "true"})
_OF_A_COUNTRY: Final = frozenset(map(str, (*range(5, 9), *range(14, 37), *range(45, 48), *range(50, 82))))
"""Further formats that a workbook names by their numbers alone: dates, and money, as they are in some country."""
_TEXT: Final = frozenset({"s", "str", "inlineStr"})
"""Types of cells that hold text."""
_WITHOUT_VALUE: Final = frozenset({"inlineStr", "e"})
"""Types of cells that may have something in them without a value."""


def survey_xlsx(archive: zipfile.ZipFile, sheet: str) -> Survey:
    """Return what the XML says of a sheet of an .xlsx.

    Raises TooLargeError, DocumentTypeError, and for a damaged workbook KeyError, ValueError, StopIteration, expat's
    error or what zipfile raises.
    """
    cells = _Cells(_formats_of_styles(archive), _lengths_of_texts(archive))
    read_xml(archive, _part_of(archive, sheet), cells.start, cells.end, cells.text)
    return cells.extent.survey(cells.notes)


@lru_cache(maxsize=64)
def _local(name: str) -> str:
    """Return a name without its prefix."""
    return name.rpartition(":")[2]


def _formats_of_styles(archive: zipfile.ZipFile) -> list[Format | None]:
    """Return for each style of cells its number format; None for one that shows everything as it is."""
    codes = {str(number): code for number, code in BUILT_IN.items()}
    known: dict[str, Format | None] = {}
    styles: list[Format | None] = []
    part = "xl/styles.xml"
    is_among_cells = False

    def format_of(number: str) -> Format | None:
        if number not in known:
            found = Format(codes.get(number) or (f"built-in {number}" if number in _OF_A_COUNTRY else "General"))
            known[number] = None if found.is_general else found
        return known[number]

    def start(name: str, attributes: Attributes) -> None:
        nonlocal is_among_cells
        local = _local(name)
        if local == "numFmt":
            codes[attributes.get("numFmtId", "")] = attributes.get("formatCode", "") or "General"
        elif local in {"cellXfs", "cellStyles", "dxfs"}:
            is_among_cells = local == "cellXfs"
        elif local == "xf" and is_among_cells:
            if len(styles) >= _MOST_STYLES:
                raise ValueError(part)
            styles.append(format_of(attributes.get("numFmtId", "")))

    if part in archive.namelist():
        read_xml(archive, part, start)
    return styles


def _lengths_of_texts(archive: zipfile.ZipFile) -> Sequence[int]:
    """Return how long each text is that cells name by its number: it is written once, and may be meant by many."""
    lengths = array("L")

    def start(name: str, _attributes: Attributes) -> None:
        if _local(name) == "si":
            lengths.append(0)

    def text(text: str) -> None:
        if lengths:
            lengths[-1] += len(text)

    # However it is written: so does the engine find it.
    for part in {part for part in archive.namelist() if part.lower() == "xl/sharedstrings.xml"}:
        read_xml(archive, part, start, text=text)
    return lengths


def _require_row(row: int) -> None:
    if row >= MOST_ROWS:
        msg = f"has more than {MOST_ROWS:,} rows"
        raise TooLargeError(msg)


def _part_of(archive: zipfile.ZipFile, sheet: str) -> str:
    """Return the name of the part that holds a sheet."""
    ids: dict[str, str] = {}
    targets: dict[str, str] = {}

    def note_sheet(name: str, attributes: Attributes) -> None:
        if _local(name) == "sheet":
            ids[attributes["name"]] = next(value for key, value in attributes.items() if _local(key) == "id")

    def note_target(name: str, attributes: Attributes) -> None:
        if _local(name) == "Relationship":
            targets[attributes["Id"]] = attributes["Target"]

    read_xml(archive, "xl/workbook.xml", note_sheet)
    read_xml(archive, "xl/_rels/workbook.xml.rels", note_target)
    return posixpath.normpath(posixpath.join("/xl", targets[ids[sheet]])).lstrip("/")


def _column(letters: str) -> int:
    """Return a column's place, from 0; -1 for what names none."""
    number = 0
    for letter in letters:
        if not "A" <= letter <= "Z":
            return -1
        number = number * _LETTERS + ord(letter) - ord("A") + 1
    return number - 1


class _Cells:
    """Listens to the XML of one sheet."""

    def __init__(self, formats: Sequence[Format | None], lengths: Sequence[int]) -> None:
        self.notes: Notes = {}
        self.extent = Extent()
        self._formats = formats
        self._lengths = lengths
        self._length = 0
        self._is_in_cell = False
        self._row = self._column = -1
        self._number = ""
        self._known: dict[str, int] = {}
        self._cell: Attributes = {}
        self._has_formula = self._is_value = False
        self._value = ""

    def start(self, name: str, attributes: Attributes) -> None:
        """Hear the beginning of an element."""
        local = _local(name)
        if local == "c":
            self._begin_cell(attributes)
        elif local == "v":
            self._is_value, self._value = True, ""
        elif local == "f":
            self._has_formula = True
        elif local == "row":
            self._row = int(attributes.get("r", self._row + 2)) - 1
            _require_row(self._row)
            self._number = str(self._row + 1)
            self._column = -1
            if attributes.get("hidden") in _TRUE:
                self.extent.hide_rows(self._row)
        elif local == "col" and attributes.get("hidden") in _TRUE:
            first, last = int(attributes["min"]), int(attributes["max"])
            self.extent.hide_columns(first - 1, last - first + 1)

    def end(self, name: str) -> None:
        """Hear the end of an element."""
        local = _local(name)
        if local == "c":
            self._end_cell()
        elif local == "v":
            self._is_value = False

    def text(self, text: str) -> None:
        """Hear text."""
        self._length += len(text)
        if self._length > LONGEST_CELL and self._is_in_cell:
            raise CellTooLongError(self._row, self._column)
        if self._is_value:
            self._value += text

    def _begin_cell(self, attributes: Attributes) -> None:
        reference = attributes.get("r", "")
        # Most cells stand in the row that was heard last, and in a column that was heard before.
        column = self._known.get(reference.removesuffix(self._number), -1)
        if column >= 0:
            self._column = column
        else:
            self._find_place(reference)
        self._cell, self._value, self._has_formula = attributes, "", False
        self._length, self._is_in_cell = 0, True

    def _find_place(self, reference: str) -> None:
        """Find where a cell is; one that does not say so stands beside the one before."""
        letters = reference.rstrip(_DIGITS)
        column = _column(letters)
        if column < 0 or letters == reference:
            self._column += 1
            return
        self._known[letters] = self._column = column
        self._number = reference[len(letters) :]
        self._row = int(self._number) - 1
        _require_row(self._row)

    def _end_cell(self) -> None:
        kind = self._cell.get("t", "n")
        self._is_in_cell = False
        self.extent.hold(self._shared_length() if kind == "s" else self._length)
        if self._value or self._has_formula or kind in _WITHOUT_VALUE:
            self.extent.reach(self._row, self._column)
            if note := self._note(kind):
                self.notes[self._row, self._column] = note

    def _shared_length(self) -> int:
        """Return how long the text is whose number the cell holds."""
        number = int(self._value or 0)
        length = self._lengths[number] if 0 <= number < len(self._lengths) else 0
        if length > LONGEST_CELL:
            raise CellTooLongError(self._row, self._column)
        return length

    def _note(self, kind: str) -> Note | None:
        """Return what is to be noted of the cell, or None."""
        if kind == "e":
            return Note(error=self._value or "#N/A")
        if kind == "n" and self._has_formula and not self._value:
            return Note(error=NOT_CALCULATED)
        style = int(self._cell.get("s", "0"))
        shown_by = self._formats[style] if style < len(self._formats) else None
        if not shown_by:
            return None
        if kind in _TEXT:
            return shown_by.of_text()
        return shown_by.of_number(float(self._value)) if kind == "n" and self._value else None
