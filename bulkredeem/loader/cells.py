"""A cell of a sheet → the text that a person sees in it, or why its row cannot be trusted."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Final

from bulkredeem.columns import ColumnMap
from bulkredeem.loader.records import QUOTED_OF_A_LINE
from bulkredeem.model import Column, Problem

DATE_IN_CELL: Final = "DATE_IN_CELL"
NUMBER_TOO_LONG: Final = "NUMBER_TOO_LONG"
ERROR_IN_CELL: Final = "ERROR_IN_CELL"
FORMATTED_NUMBER: Final = "FORMATTED_NUMBER"
NOT_CALCULATED: Final = "#not calculated"
"""Stands for what a formula comes to in a workbook that no spreadsheet has ever calculated."""

_IDENTIFIERS: Final = frozenset(
    {
        Column.REDEMPTION_ID,
        Column.EXTERNAL_REFERENCE_NUMBER,
        Column.IDENTIFIER_VALUE,
        Column.BILL_NUMBER,
        Column.BILL_ID,
    }
)
"""Columns in which a date can only be what a spreadsheet has made of something else, and what is shown is meant."""
PRECISION: Final = 15
"""Digits of a number that a spreadsheet keeps; those after them have become zeros."""
_IN_WORDS: Final = {
    DATE_IN_CELL: "the cell holds a date, and what a spreadsheet made it from is lost; format the column as text and"
    " fill it anew",
    NUMBER_TOO_LONG: f"the cell holds a number of more than {PRECISION} digits, of which a spreadsheet keeps only the"
    f" first {PRECISION}; format the column as text and fill it anew",
    ERROR_IN_CELL: "the cell holds an error (#N/A, #REF! and the like) or a formula that was never calculated; mend the"
    " formula, or write the value",
    FORMATTED_NUMBER: "the cell shows something else than it holds{how}; format the column as text and fill it with"
    " what it shows, or show what it holds (format General)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What a workbook's values alone do not say of a cell."""

    digits: int = 0
    """How many digits its number format shows at least; 0 for no such format."""
    error: str = ""
    """The error that it shows (#N/A), or empty."""
    is_moment: bool = False
    """Whether it holds a date, a time or a duration that comes as text."""
    text: str | None = None
    """Its text where the value is not exact, or None."""
    is_formatted: bool = False
    """Whether it shows something else than what it holds, by its number format."""
    is_same_number: bool = False
    """Whether what it shows is the same number all the same: with thousands grouped, or decimals that say nothing."""
    number_format: str = ""
    """The number format that shows something else; empty where it is not known."""


_PLAIN: Final = Note()


def text_of(value: object, note: Note = _PLAIN) -> str:
    """Return a cell as text: as it stands, a whole number without decimals, a moment as ISO 8601."""
    if note.error or note.text is not None:
        return note.error or note.text or ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, int | float):
        return _number(value, note.digits)
    return _moment(value)


def damage_in(
    values: Sequence[object], notes: Mapping[int, Note], texts: Sequence[str], columns: ColumnMap
) -> Problem | None:
    """Say why a row of a sheet cannot be trusted, or None; `notes` are by place, as `values` are.

    Only cells that are used are looked at.
    """
    found = {
        name: (code, note)
        for name, place in columns.used.items()
        if (code := _damage(name, values[place], note := notes.get(place, _PLAIN)))
    }
    if not found:
        return None
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(texts)
    return Problem(
        code="; ".join(dict.fromkeys(code for code, _ in found.values())),
        column=next(iter(found)),
        message="; ".join(f"{name}: {_in_words(code, note)}" for name, (code, note) in found.items()),
        detail=line.getvalue()[:QUOTED_OF_A_LINE],
    )


def _in_words(code: str, note: Note) -> str:
    how = f" (number format {note.number_format})" if note.number_format else ""
    return _IN_WORDS[code].replace("{how}", how)


def _damage(name: str, value: object, note: Note) -> str:
    if note.error:
        return ERROR_IN_CELL
    if name in _IDENTIFIERS and (note.is_moment or isinstance(value, date | time | timedelta)):
        return DATE_IN_CELL
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and note.text is None
    if is_number and abs(value) >= 10**PRECISION:  # type: ignore[arg-type]  # `is_number` says so
        return NUMBER_TOO_LONG
    is_shown = not note.is_formatted or (note.is_same_number and name not in _IDENTIFIERS)
    return "" if is_shown or not (is_number or (isinstance(value, str) and value)) else FORMATTED_NUMBER


def _number(value: float, digits: int) -> str:
    if not isfinite(value):
        return str(value)
    sign, text = "-" if value < 0 else "", _without_sign(abs(value))
    return sign + (text if "." in text else text.zfill(digits))


def _without_sign(value: float) -> str:
    if float(value).is_integer():
        return str(int(value))
    # As many digits as a spreadsheet shows: 0.3, where the computer holds 0.30000000000000004.
    return format(Decimal(f"{value:.{PRECISION}g}"), "f")


def _moment(value: object) -> str:
    if isinstance(value, datetime) and value.time() == time():
        return value.date().isoformat()
    if isinstance(value, timedelta):
        return _duration(value)
    return value.isoformat() if isinstance(value, date | time) else str(value)


def _duration(value: timedelta) -> str:
    seconds = round(value.total_seconds())
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
