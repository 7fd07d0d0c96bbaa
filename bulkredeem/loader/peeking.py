"""A look at how a file begins, without taking it in: for whoever sets up how it is to be read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from bulkredeem.loader.first_pass import remarks_on_row, remarks_on_text
from bulkredeem.loader.heading import Heading, Held, find_in_sheet, find_in_text, widened
from bulkredeem.loader.opening import Form, Opened, opened, process_input
from bulkredeem.loader.records import Record, dialect_of, take_apart
from bulkredeem.loader.text import Lines, shown
from bulkredeem.loader.workbook import read_sheet
from bulkredeem.model import Reading

_ROWS: Final = 5
"""Rows below the header that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peek:
    """How a file begins."""

    headers: tuple[str, ...]
    """The file's own; a report's columns of ours are not among them."""
    is_known: bool
    """Whether rows could be sent by these headers as they are; if not, they are those that look most like headers."""
    delimiter: str
    """Empty for a workbook."""
    encoding: str
    """Empty for a workbook."""
    sheet: str
    """The name of the sheet that was read; empty for a text."""
    header_row: int
    """As a spreadsheet counts."""
    rows: tuple[tuple[str, ...], ...]
    """The first few below the header, as text."""
    remarks: tuple[str, ...]
    """What `take_snapshot` would say of how it was read."""


def peek(source: Path, reading: Reading, *, standard_input: Callable[[], IO[bytes] | None] = process_input) -> Peek:
    """Look at the header and the first rows of a file, which may be `-` for standard input.

    A header by which no row could be sent is no error here. A text is read to its end, since only then its encoding is
    certain. Raises InputFileError for a file that cannot be read at all.
    """
    with opened(source, None, standard_input=standard_input) as content:
        return _peek_text(content, reading) if content.form is Form.TEXT else _peek_sheet(content, reading)


def _peek_text(content: Opened, reading: Reading) -> Peek:
    lines = Lines(content.stream, content.name, reading.encoding)
    heading, coming = find_in_text(Held(lines), reading, content.name, may_be_unknown=True)
    records = (
        take_apart(content.name, row_number, line, coming, dialect_of(heading.layout.delimiter))
        for row_number, line in enumerate(coming, start=heading.record.row_number + 1)
    )
    rows = _first(records, heading)
    for _ in coming:
        pass
    return Peek(
        headers=tuple(map(shown, heading.layout.own(heading.record.cells))),
        is_known=heading.columns is not None,
        delimiter=heading.layout.delimiter,
        encoding=lines.encoding,
        sheet="",
        header_row=heading.record.row_number,
        rows=rows,
        remarks=(*content.remarks, *remarks_on_text(heading, lines, reading)),
    )


def _peek_sheet(content: Opened, reading: Reading) -> Peek:
    sheet = read_sheet(content, reading.sheet)
    heading = find_in_sheet(sheet.records, reading, content.name, may_be_unknown=True)
    above = heading.record.row_number
    heading = widened(heading, sheet.width_from(above - 1), reading)
    width = len(heading.layout.header)
    records = (Record(row_number=index + 1, cells=sheet.texts(index, width)) for index in range(above, len(sheet.rows)))
    return Peek(
        headers=tuple(heading.layout.own(heading.record.cells)),
        is_known=heading.columns is not None,
        delimiter="",
        encoding="",
        sheet=sheet.name,
        header_row=above,
        rows=_first(records, heading),
        remarks=(*content.remarks, *sheet.remarks, *remarks_on_row(heading)),
    )


def _first(records: Iterator[Record], heading: Heading) -> tuple[tuple[str, ...], ...]:
    """Return the first rows that have as many cells as the header."""
    width = len(heading.layout.header)
    whole = (record for record in records if not record.is_blank and len(record.cells) == width)
    own = (heading.layout.own(record.cells) for record in itertools.islice(whole, _ROWS))
    return tuple(tuple(map(shown, cells)) for cells in own)
