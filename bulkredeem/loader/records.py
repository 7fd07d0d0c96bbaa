"""Lines → records, taken apart by the standard library's strict reader; and what makes a record no row."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from bulkredeem.columns import OURS, is_ours
from bulkredeem.errors import InputFileError
from bulkredeem.formulas import unescape
from bulkredeem.loader.text import MAX_LINE, shown, undecodable_in
from bulkredeem.model import Problem

if TYPE_CHECKING:
    import _csv

_BYTE_ORDER_MARK: Final = "\ufeff"
QUOTED_OF_A_LINE: Final = 30_000
"""Characters of a damaged line that its report repeats."""
BLANKS: Final = "".join(filter(str.isspace, map(chr, range(0x3001))))
"""All that Python calls a blank, of which U+3000 is the last."""
LONGEST_CELL: Final = csv.field_size_limit()
"""Characters of one cell."""
MOST_COLUMNS: Final = 16_384
"""As many as a spreadsheet has; a million of them would fill the memory."""
_BLANKS_BEFORE_QUOTE: Final = re.compile(r',\s+"')
"""What stands in a row with commas between its cells, and before the first, if blanks stood before an opening quote."""

DAMAGE: Final = {
    "RAGGED_ROW": (
        "the line does not have as many cells as the header: a delimiter too many or too few, or a missing quote"
    ),
    "STRAY_CARRIAGE_RETURN": "a carriage return stands inside a cell without quotes: take it out",
    "CELL_TOO_LONG": f"a cell is longer than {LONGEST_CELL:,} characters: shorten it, or close its quote",
    "BAD_QUOTES": "the quotes of the line do not match: a quote inside a quoted cell is written twice",
    "REPEATED_HEADER": "the line is the header once more: delete it, or leave it out with --ignore-rows",
    "UNTERMINATED_ROW": (
        "the last line has no line end, so it may be half a row: send the file again whole, add the line end,"
        " or take the line as it is with --allow-unterminated"
    ),
    "UNDECODABLE_BYTES": (
        "the line holds bytes that are no text in the file's encoding: save the file as UTF-8, or name its encoding"
        " with --encoding"
    ),
}
"""Why a line is no row, and what to do, by error code."""
_COMPLAINTS: Final = {
    "new-line character seen in unquoted field": "STRAY_CARRIAGE_RETURN",
    "field larger than field limit": "CELL_TOO_LONG",
}
"""Words of the CSV reader's complaint → error code; every other complaint is about quotes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of the file as the CSV reader saw it, or one row of a sheet."""

    row_number: int
    """Blank lines count, and a record with line ends inside quotes counts once: as in a spreadsheet."""
    cells: Sequence[str] = ()
    """Empty for a blank line and for a record that could not be read."""
    lines: Sequence[str] = ()
    """The physical lines it takes in the file; none for a row of a sheet."""
    error: str = ""
    """A key of `DAMAGE`, or empty."""

    @property
    def text(self) -> str:
        """Its lines as they stand in the file."""
        return self.lines[0] if len(self.lines) == 1 else "".join(self.lines)

    @property
    def is_blank(self) -> bool:
        """Whether it is no row at all: nothing stands in it."""
        return not self.error and not any(map(str.strip, self.cells))


@cache
def dialect_of(delimiter: str) -> _csv.Dialect:
    """Return how a file with this delimiter is read; made once, since each record that is taken apart needs it."""
    return csv.reader((), delimiter=delimiter, strict=True).dialect


def take_apart(name: str, row_number: int, line: str, coming: Iterator[str], dialect: _csv.Dialect) -> Record:
    """Take apart the record that begins with this line, and with it the further lines that it goes over.

    Raises InputFileError, naming the file, for a quote that swallows further lines: each of them may be a row.
    """
    try:
        # Most records are a single line, and that is cheaper read alone.
        return Record(row_number=row_number, cells=next(csv.reader((line,), dialect)), lines=(line,))
    except csv.Error:
        return _take_apart_lines(name, row_number, line, coming, dialect)


def _take_apart_lines(name: str, row_number: int, line: str, coming: Iterator[str], dialect: _csv.Dialect) -> Record:
    lines: list[str] = []
    try:
        cells = next(csv.reader(_noted(line, coming, lines), dialect))
    except csv.Error as exc:
        if len(lines) > 1:
            raise swallowed(name, row_number) from None
        error = next((code for words, code in _COMPLAINTS.items() if words in str(exc)), "BAD_QUOTES")
        return Record(row_number=row_number, error=error, lines=lines)
    return Record(row_number=row_number, cells=cells, lines=lines)


def _noted(line: str, coming: Iterator[str], lines: list[str]) -> Iterator[str]:
    """Yield the line and those after it, and note in `lines` which were asked for.

    Raises csv.Error when they are longer together than a single line may be.
    """
    length = 0
    for each in itertools.chain((line,), coming):
        lines.append(each)
        length += len(each)
        if length > MAX_LINE:
            raise csv.Error
        yield each


def swallowed(name: str, row_number: int) -> InputFileError:
    """Return the error of a record that a stray quote has made of several lines, each of which may be a row."""
    return InputFileError(
        f"{name}, row {row_number}: a quote is opened there and not closed in its cell, so that nobody can"
        " tell which of the lines after it are rows. Close it, or take it out."
    )


def damage_of(record: Record, *, name: str, width: int, allow_unterminated: bool) -> Problem | None:
    """Say why a record with something in it cannot be taken as cells, or None for a good one.

    Raises InputFileError for a record of several lines that does not have as many cells as the header.
    """
    line = record.text
    if record.error:
        return problem(record.error, line)
    if not line.endswith("\n") and not allow_unterminated:
        return problem("UNTERMINATED_ROW", line)
    if len(record.cells) == width:
        return _undecodable(line)
    if len(record.lines) > 1:
        raise InputFileError(
            f"{name}, row {record.row_number}: it goes over {len(record.lines)} lines and has"
            f" {len(record.cells)} cells where the header has {width}, so that nobody can tell which of the lines"
            " are rows. Look for a stray quote or a delimiter too many or too few."
        )
    return problem("RAGGED_ROW", f"{len(record.cells)} cells where the header has {width}: {line}")


def _undecodable(line: str) -> Problem | None:
    found = b"" if line.isascii() else undecodable_in(line)
    return problem("UNDECODABLE_BYTES", f"bytes {found.hex(' ')}: {line}") if found else None


def problem(code: str, line: str, message: str = "") -> Problem:
    """Return what is wrong with a line, in the words of its code or in these."""
    detail = shown(line.rstrip("\r\n"))[:QUOTED_OF_A_LINE]
    return Problem(code=code, column="", message=message or DAMAGE[code], detail=detail)


def may_have_blank_before_quotes(row: str) -> bool:
    """Say whether it is worth asking that of each cell; `row` are all of them with commas between."""
    return _BLANKS_BEFORE_QUOTE.search(f",{row}") is not None


def has_blank_before_quotes(record: Record, place: int, delimiter: str) -> bool:
    """Say whether a cell began with blanks and then a quote, which then encloses nothing and became part of it.

    A quoted cell whose text begins so is another matter: its own quote stands before the blanks.
    """
    cell = record.cells[place]
    text = cell.lstrip()
    return text != cell and text.startswith('"') and not _is_quoted(record.text, place, delimiter)


def _is_quoted(line: str, place: int, delimiter: str) -> bool:
    """Say whether the cell at this place of a line that could be taken apart begins with a quote."""
    start = 0
    for _ in range(place):
        passed = _cell_of(delimiter).match(line, start)
        start = passed.end() if passed else len(line)
    return line.startswith('"', start)


@cache
def _cell_of(delimiter: str) -> re.Pattern[str]:
    """Return what a cell looks like in a line, with the delimiter after it."""
    after = re.escape(delimiter)
    return re.compile(f'(?:"[^"]*(?:""[^"]*)*"|[^{after}]*){after}')


def _stripped(row: str) -> str:
    return ",".join(map(str.strip, row.split(",")))


class Layout:
    """What header and delimiter say of every line below them."""

    def __init__(self, header: Sequence[str], delimiter: str = ",") -> None:
        """Take the header's cells as they stand, with our columns in a report that comes back."""
        self.header = header
        self.delimiter = delimiter
        self.is_returned = is_ours(header)
        """Whether the file is a report of ours that comes back: with columns of ours, and with cells escaped."""
        self._delimiters = len(header) - 1
        self._nothing = delimiter + BLANKS
        self._names = _stripped(",".join(self.own(header)))
        self._longest_name = max(self._names.split(","), key=len)
        self._longest = LONGEST_CELL

    def own(self, cells: Sequence[str]) -> Sequence[str]:
        """Return the cells of the file's own columns, exactly as they were before they went through a report."""
        if not self.is_returned:
            return cells
        return [unescape(cell) for name, cell in zip(self.header, cells, strict=True) if name not in OURS]

    def repeats(self, row: str) -> bool:
        """Say whether own cells with commas between are the header once more, perhaps as another file's beginning."""
        # Asked of every row: hardly any has the name of a column in it.
        return self._longest_name in row and self._is_header(row)

    def _is_header(self, row: str) -> bool:
        return _stripped(row.lstrip(_BYTE_ORDER_MARK)) == self._names

    def own_places(self) -> list[int]:
        """Return where the file's own columns stand."""
        return [place for place, name in enumerate(self.header) if not self.is_returned or name not in OURS]

    def plain_row(self, line: str) -> str:
        """Return the own cells of a plain line with commas between; empty for a line that must be taken apart.

        In a plain line is nothing at which a reader or a writer of CSV would do more than part it at its delimiters.
        """
        row = line.rstrip("\r\n")
        is_plain = (
            '"' not in row
            and "\r" not in row
            and row.count(self.delimiter) == self._delimiters
            and len(row) <= self._longest
            and row.strip(self._nothing)
            and line[-1] == "\n"
        )
        if not is_plain:
            return ""
        if self.delimiter != ",":
            if "," in row:
                return ""
            row = row.replace(self.delimiter, ",")
        return ",".join(self.own(row.split(","))) if self.is_returned else row
