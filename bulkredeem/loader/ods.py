"""What the XML of an .ods says of its cells: formats, errors, moments, and what is hidden.

Beside the value of each cell stands the text that a person sees, so that it need not be worked out from the format.
"""

from __future__ import annotations

import re
import zipfile
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from bulkredeem.loader.cells import PRECISION, Note, text_of
from bulkredeem.loader.records import LONGEST_CELL
from bulkredeem.loader.surveying import (
    MOST_REPEATED,
    Attributes,
    CellTooLongError,
    Extent,
    Notes,
    Survey,
    TooLargeError,
    read_xml,
)

_NUMBERS: Final = frozenset({"float", "percentage", "currency"})
"""Types of cells that hold a number."""
_DURATION: Final = re.compile(r"(-?)PT(\d+)H(\d+)M(\d+(?:\.\d+)?)S")
_DIGITS: Final = re.compile(r"-?([0-9]+)")
_LIKE_A_NUMBER: Final = re.compile(r"-?[0-9.,]+(?:E[+-]?[0-9]+)?")
"""What a number without a format looks like, whatever stands before its decimals."""
_SEPARATOR: Final = r"[,.'\u2019\u00a0\u202f ]"
_GROUPED: Final = re.compile(rf"-?[1-9][0-9]{{0,2}}(?:{_SEPARATOR}[0-9]{{2,3}})*{_SEPARATOR}[0-9]{{3}}")
"""Grouped as somewhere in the world: the last three digits together, and no zero in front."""
_DECIMALS: Final = re.compile(r"(-?[0-9][0-9,.'\u2019\u00a0\u202f ]*)[.,]([0-9]+)")
_NOT_A_DIGIT: Final = re.compile(r"[^0-9-]")


def survey_ods(archive: zipfile.ZipFile) -> dict[str, Survey]:
    """Return what the XML says of each sheet of an .ods; raise what `survey_xlsx` raises."""
    cells = _Cells()
    for part in ("styles.xml", "content.xml"):
        if part in archive.namelist():
            read_xml(archive, part, cells.start, cells.end, cells.text)
    return cells.surveys


class _Styles:
    """What the styles of cells make of numbers."""

    def __init__(self) -> None:
        self._being_read = ""
        self._digits: dict[str, int] = {}
        self._general: set[str] = {""}
        self._of_cells: dict[str, tuple[str, str]] = {}

    def start(self, name: str, attributes: Attributes) -> None:
        """Hear the beginning of an element outside a sheet."""
        if name == "number:number-style":
            self._being_read = attributes.get("style:name", "")
        elif name == "number:number" and self._being_read:
            self._note_number(attributes)
        elif name in {"number:text", "number:embedded-text", "style:map"}:
            # Something stands beside the digits: it does not only add zeros.
            self._digits.pop(self._being_read, None)
            self._general.discard(self._being_read or "-")
        elif name == "style:style" and attributes.get("style:family") == "table-cell":
            self._of_cells[attributes.get("style:name", "")] = (
                attributes.get("style:data-style-name", ""),
                attributes.get("style:parent-style-name", ""),
            )

    def end(self, name: str) -> None:
        """Hear the end of an element outside a sheet."""
        if name in {"number:number-style", "style:style"}:
            self._being_read = ""

    def _note_number(self, attributes: Attributes) -> None:
        digits = int(attributes.get("number:min-integer-digits", "0"))
        is_grouped = attributes.get("number:grouping") == "true"
        decimals = attributes.get("number:decimal-places")
        if not is_grouped and decimals is None and digits <= 1:
            self._general.add(self._being_read)
        elif not is_grouped and decimals in {None, "0"}:
            self._digits[self._being_read] = digits

    def of_number(self, value: float, shown: str | None, style: str) -> Note | None:
        """Return what is to be noted of a number that is shown so; None for what is shown when nobody wrote it."""
        data_style = self._data_style(style)
        value = float(f"{value:.{PRECISION}g}")
        if shown is None:
            digits = self._digits.get(data_style, 0)
            return Note(digits=digits) if digits > 1 else None
        if (found := _DIGITS.fullmatch(shown)) and float(shown) == value:
            return Note(digits=len(found[1])) if found[1] != str(abs(int(value))) else None
        if _GROUPED.fullmatch(shown) and _ungrouped(shown) == value:
            return None
        if data_style in self._general:
            if value in {0.0, 1.0} and shown.isalpha():
                return Note(text="TRUE" if value else "FALSE")
            return None if _LIKE_A_NUMBER.fullmatch(shown) else Note(is_formatted=True)
        return Note(is_formatted=True, is_same_number=_is_same(shown, value))

    def _data_style(self, style: str) -> str:
        for _ in range(len(self._of_cells)):
            if style not in self._of_cells:
                break
            data_style, parent = self._of_cells[style]
            if data_style:
                return data_style
            style = parent
        return ""


def _ungrouped(shown: str) -> int | None:
    digits = _NOT_A_DIGIT.sub("", shown)
    return int(digits) if _DIGITS.fullmatch(digits) else None


def _is_same(shown: str, value: float) -> bool:
    """Say whether what is shown is this number, with decimals that say nothing."""
    parts = _DECIMALS.fullmatch(shown)
    try:
        wanted = Decimal(text_of(value))
        return bool(parts) and Decimal(f"{_NOT_A_DIGIT.sub('', parts[1])}.{parts[2]}") == wanted  # type: ignore[index]  # `bool(parts)` says so
    except InvalidOperation:
        return False


def _moment(kind: str, attributes: Attributes) -> Note:
    """Return what is to be noted of a moment: its text, to the second, as the other workbooks give it."""
    written = attributes.get(f"office:{kind}-value", "")
    found = _DURATION.fullmatch(written)
    if found:
        sign, hours, minutes, seconds = found.groups()
        length = timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds))
        return Note(is_moment=True, text=text_of(-length if sign else length))
    if "." in written:
        try:
            moment = datetime.fromisoformat(written)
        except ValueError:
            return Note(is_moment=True)
        return Note(is_moment=True, text=text_of((moment + timedelta(seconds=0.5)).replace(microsecond=0)))
    return Note(is_moment=True)


class _Cells:
    """Listens to the XML of a workbook's styles, and then of its sheets."""

    def __init__(self) -> None:
        self.surveys: dict[str, Survey] = {}
        self._notes: Notes = {}
        self._extent = Extent()
        self._styles = _Styles()
        self._sheet = ""
        self._is_in_sheet = False
        self._column_styles: list[tuple[int, str]] = []
        self._row, self._rows = 0, 1
        self._row_style = ""
        self._column, self._columns = 0, 1
        self._cell: Attributes = {}
        self._paragraphs: list[str] = []
        self._is_in_paragraph = self._has_tab = False
        self._passed_over = 0
        self._length = self._repeated = 0

    def start(self, name: str, attributes: Attributes) -> None:
        """Hear the beginning of an element."""
        if name == "table:table":
            self._begin_sheet(attributes.get("table:name", ""))
        elif not self._is_in_sheet:
            self._styles.start(name, attributes)
        elif name == "office:annotation" or self._passed_over:
            self._passed_over += 1
        elif name in {"table:table-cell", "table:covered-table-cell"}:
            self._cell, self._paragraphs, self._has_tab, self._length = attributes, [], False, 0
            self._columns = int(attributes.get("table:number-columns-repeated", "1"))
        elif name == "table:table-row":
            self._begin_row(attributes)
        elif name == "table:table-column":
            self._note_columns(attributes)
        elif name.startswith("text:"):
            self._hear_text(name, attributes)

    def end(self, name: str) -> None:
        """Hear the end of an element."""
        if self._passed_over:
            self._passed_over -= 1
        elif name == "table:table":
            self._is_in_sheet = False
            self.surveys[self._sheet] = self._extent.survey(self._notes)
        elif not self._is_in_sheet:
            self._styles.end(name)
        elif name in {"table:table-cell", "table:covered-table-cell"}:
            self._end_cell()
        elif name == "table:table-row":
            self._row += self._rows
        elif name == "text:p":
            self._is_in_paragraph = False

    def text(self, text: str) -> None:
        """Hear text."""
        if self._is_in_paragraph and not self._passed_over:
            self._lengthen(len(text))
            self._paragraphs[-1] += text

    def _lengthen(self, characters: int) -> None:
        """Take note of what comes to the text of a cell, before it does. Raises CellTooLongError."""
        self._length += characters
        if self._length > LONGEST_CELL:
            raise CellTooLongError(self._row, self._column)

    def _begin_sheet(self, name: str) -> None:
        self._is_in_sheet, self._sheet = True, name
        # The engine holds all sheets at once.
        self._notes, self._extent, self._column_styles, self._row = {}, Extent(self._extent), [], 0

    def _begin_row(self, attributes: Attributes) -> None:
        self._column, self._rows = 0, int(attributes.get("table:number-rows-repeated", "1"))
        self._row_style = attributes.get("table:default-cell-style-name", "")
        if _is_hidden(attributes):
            self._extent.hide_rows(self._row, self._rows)

    def _note_columns(self, attributes: Attributes) -> None:
        repeated = int(attributes.get("table:number-columns-repeated", "1"))
        before = self._column_styles[-1][0] if self._column_styles else 0
        self._column_styles.append((before + repeated, attributes.get("table:default-cell-style-name", "")))
        if _is_hidden(attributes):
            self._extent.hide_columns(before, repeated)

    def _hear_text(self, name: str, attributes: Attributes) -> None:
        if name == "text:p":
            self._lengthen(1)
            self._paragraphs.append("")
            self._is_in_paragraph = True
        elif self._is_in_paragraph and name == "text:s":
            blanks = int(attributes.get("text:c", "1"))
            self._lengthen(blanks)
            self._paragraphs[-1] += " " * blanks
        elif self._is_in_paragraph and name == "text:line-break":
            self._paragraphs[-1] += "\n"
        elif self._is_in_paragraph and name == "text:tab":
            self._paragraphs[-1] += "\t"
            self._has_tab = True

    def _end_cell(self) -> None:
        if self._paragraphs or "office:value-type" in self._cell:
            last_row, last_column = self._row + self._rows, self._column + self._columns
            self._extent.reach(last_row - 1, last_column - 1, self._rows, self._columns)
            self._count_repeated()
            if note := self._note():
                for row in range(self._row, last_row):
                    self._notes.update(((row, column), note) for column in range(self._column, last_column))
        self._column += self._columns
        self._cell = {}

    def _count_repeated(self) -> None:
        cells = self._rows * self._columns
        self._repeated += cells - 1
        if self._repeated > MOST_REPEATED:
            msg = f"repeats cells more than {MOST_REPEATED:,} times"
            raise TooLargeError(msg)
        self._extent.hold(self._length * cells)

    def _note(self) -> Note | None:
        """Return what is to be noted of the cell, or None."""
        kind = self._cell.get("office:value-type", "")
        if self._cell.get("calcext:value-type") == "error":
            return Note(error="\n".join(self._paragraphs) or "#N/A")
        if kind in {"date", "time"}:
            return _moment(kind, self._cell)
        if kind == "string" and self._has_tab:
            return Note(text="\n".join(self._paragraphs))
        if kind in _NUMBERS and "office:value" in self._cell:
            shown = "\n".join(self._paragraphs).strip() if self._paragraphs else None
            return self._styles.of_number(float(self._cell["office:value"]), shown, self._style())
        return None

    def _style(self) -> str:
        """Return the name of the cell's style."""
        of_column = next((style for end, style in self._column_styles if self._column < end), "")
        return self._cell.get("table:style-name", "") or self._row_style or of_column


def _is_hidden(attributes: Attributes) -> bool:
    return attributes.get("table:visibility", "visible") != "visible"
