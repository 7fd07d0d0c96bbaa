"""What the XML of an .xlsx says of the cells of a sheet: formats, errors, and what is hidden."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Sequence
from typing import Final

from bulkredeem.loader.cells import NOT_CALCULATED, Note
from bulkredeem.loader.formats import BUILT_IN, Format
from bulkredeem.loader.surveying import Attributes, Extent, Notes, Survey, read_xml

_REFERENCE: Final = re.compile(r"([A-Z]+)([0-9]+)")
_LETTERS: Final = 26
_TRUE: Final = frozenset({"1", "true"})
_OF_A_COUNTRY: Final = frozenset(map(str, (*range(5, 9), *range(14, 37), *range(45, 48), *range(50, 82))))
"""Further formats that a workbook names by their numbers alone: dates, and money, as they are in some country."""
_TEXT: Final = frozenset({"s", "str", "inlineStr"})
"""Types of cells that hold text."""


def survey_xlsx(archive: zipfile.ZipFile, sheet: str) -> Survey:
    """Return what the XML says of a sheet of an .xlsx.

    Raises TooLargeError, DocumentTypeError, and for a damaged workbook KeyError, ValueError, StopIteration, expat's
    error or what zipfile raises.
    """
    cells = _Cells(_formats_of_styles(archive))
    read_xml(archive, _part_of(archive, sheet), cells.start, cells.end, cells.text)
    return cells.extent.survey(cells.notes)


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
            styles.append(format_of(attributes.get("numFmtId", "")))

    if part in archive.namelist():
        read_xml(archive, part, start)
    return styles


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
    number = 0
    for letter in letters:
        number = number * _LETTERS + ord(letter) - ord("A") + 1
    return number - 1


class _Cells:
    """Listens to the XML of one sheet."""

    def __init__(self, formats: Sequence[Format | None]) -> None:
        self.notes: Notes = {}
        self.extent = Extent()
        self._formats = formats
        self._row = self._column = -1
        self._kind = ""
        self._style = 0
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
        if self._is_value:
            self._value += text

    def _begin_cell(self, attributes: Attributes) -> None:
        place = _REFERENCE.fullmatch(attributes.get("r", ""))
        self._column = _column(place[1]) if place else self._column + 1
        self._row = int(place[2]) - 1 if place else self._row
        self._kind = attributes.get("t", "n")
        self._style = int(attributes.get("s", "0"))
        self._has_formula, self._value = False, ""

    def _end_cell(self) -> None:
        if self._value or self._has_formula or self._kind in {"inlineStr", "e"}:
            self.extent.reach(self._row, self._column)
            if note := self._note():
                self.notes[self._row, self._column] = note

    def _note(self) -> Note | None:
        """Return what is to be noted of the cell, or None."""
        if self._kind == "e":
            return Note(error=self._value or "#N/A")
        if self._kind == "n" and self._has_formula and not self._value:
            return Note(error=NOT_CALCULATED)
        shown_by = self._formats[self._style] if self._style < len(self._formats) else None
        if not shown_by:
            return None
        if self._kind in _TEXT:
            return shown_by.of_text()
        return shown_by.of_number(float(self._value)) if self._kind == "n" and self._value else None
