"""The first pass: any file → the run's snapshot, which is regular."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final, TextIO

from bulkredeem.columns import ColumnMap, shown_header
from bulkredeem.errors import ReportsFolderError
from bulkredeem.loader.cells import damage_in
from bulkredeem.loader.heading import DELIMITERS, Heading, Held, find_in_sheet, find_in_text, require_columns, widened
from bulkredeem.loader.opening import Form, Opened, digest_of, opened, process_input
from bulkredeem.loader.records import (
    Layout,
    Record,
    damage_of,
    dialect_of,
    has_blank_before_quotes,
    may_have_blank_before_quotes,
    problem,
    take_apart,
)
from bulkredeem.loader.sieve import Sieve
from bulkredeem.loader.text import Lines
from bulkredeem.loader.workbook import Sheet, read_sheet
from bulkredeem.model import Problem, Reading
from bulkredeem.snapshot import SnapshotWriter
from bulkredeem.summary import counted
from bulkredeem.wholefile import opened_to_write, sync_folder

_NOTHING: Final = frozenset({"\n", "\r\n"})
"""Lines that need not be taken apart to see that they are no rows; there may be millions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What the first pass found."""

    sha256: str
    """Of the file's bytes as they lie on the disk, packed if they are."""
    modified_at: float
    """When the file was changed last, in seconds since the epoch."""
    rows: int
    """Lines with something in them, below the header, less those that are ignored."""
    columns: ColumnMap
    """The file's own columns and which of them are used; a report's columns of ours are not among them."""
    ignored: int = 0
    """Lines that were left out since they are no rows."""
    remarks: tuple[str, ...] = ()
    """Sentences on how the file was read, for a person to object to; none for UTF-8 with commas and the header on top.
    """


def take_snapshot(
    source: Path,
    target: Path,
    *,
    reading: Reading,
    durable: bool = True,
    proceed: Callable[[], None] = lambda: None,
    standard_input: Callable[[], IO[bytes] | None] = process_input,
) -> Intake:
    """Read the file once, write its snapshot to `target`, and say what was found.

    `source` may be `-` for standard input. Without `durable` the snapshot may be lost with the power: enough for a
    reader that has it no longer than the process lives. `proceed` is asked before every row and raises what is to end
    the reading. Raises InputFileError with one sentence that names the file and, where there is one, the row, for
    everything that makes the file as a whole unreadable; ReportsFolderError when the snapshot cannot be written.
    """
    with opened(source, target.parent, proceed=proceed, standard_input=standard_input) as content:
        try:
            with opened_to_write(target) as copy:
                write = _write_text if content.form is Form.TEXT else _write_sheet
                intake = write(content, copy, reading, proceed)
                copy.flush()
                if durable:
                    os.fsync(copy.fileno())
                    sync_folder(target.parent)
        except OSError as exc:
            msg = f"{target} cannot be written: {exc.strerror or exc}."
            raise ReportsFolderError(msg) from exc
    return intake


def _write_text(content: Opened, copy: TextIO, reading: Reading, proceed: Callable[[], None]) -> Intake:
    lines = Lines(content.stream, content.name, reading.encoding)
    heading, coming = find_in_text(Held(lines), reading, content.name)
    columns = require_columns(heading, reading, content.name)
    sieve = Sieve(reading.ignored, columns, content.name)
    writer = SnapshotWriter(copy, columns.headers, byte_order_mark=lines.has_byte_order_mark)
    rows = _Rows(content.name, heading.layout, columns, sieve, writer, unterminated=reading.allow_unterminated)
    plain_row, leaves_out = heading.layout.plain_row, sieve.leaves_out if sieve else None
    repeats = heading.layout.repeats
    plain = 0
    for row_number, line in enumerate(coming, start=heading.record.row_number + 1):
        proceed()
        if not lines.has_undecodable and (row := plain_row(line)):
            if leaves_out is None or not leaves_out(row.split(",")):
                if repeats(row):
                    writer.add_damaged(row_number, problem("REPEATED_HEADER", line))
                else:
                    writer.add_plain(row_number, row)
                plain += 1
        elif line not in _NOTHING:
            rows.write(take_apart(content.name, row_number, line, coming, dialect_of(heading.layout.delimiter)))
    return Intake(
        sha256=content.sha256 or (digest_of(content) if lines.is_recoded else lines.digest.hexdigest()),
        modified_at=content.modified_at,
        rows=plain + rows.count,
        columns=columns,
        ignored=sieve.count,
        remarks=(*content.remarks, *remarks_on_text(heading, lines, reading), *sieve.remarks()),
    )


class _Rows:
    """Writes the records of a text that had to be taken apart as what they are, and counts the rows among them."""

    def __init__(
        self,
        name: str,
        layout: Layout,
        columns: ColumnMap,
        sieve: Sieve,
        writer: SnapshotWriter,
        *,
        unterminated: bool,
    ) -> None:
        self.count = 0
        self._damage_of = partial(damage_of, name=name, width=len(layout.header), allow_unterminated=unterminated)
        self._takes_unterminated = unterminated
        self._layout = layout
        own = layout.own_places()
        self._used = {name: own[place] for name, place in columns.used.items()}
        self._sieve = sieve
        self._writer = writer

    def write(self, record: Record) -> None:
        """Write a record, unless it is no row at all."""
        if record.is_blank:
            return
        if self._is_no_row(record):
            return
        damage = self._damage_of(record)
        cells = () if damage else self._layout.own(record.cells)
        damage = damage or self._misread(record, cells)
        if damage:
            self._writer.add_damaged(record.row_number, damage)
        else:
            self._writer.add(record.row_number, cells)
        self.count += 1

    def _is_no_row(self, record: Record) -> bool:
        """Say whether somebody said that it is none, as far as its cells can be told apart."""
        if not self._sieve or record.error:
            return False
        width = len(self._layout.header)
        is_whole = self._takes_unterminated or record.lines[-1].endswith("\n")
        if len(record.cells) == width and is_whole:
            return self._sieve.leaves_out(self._layout.own(record.cells))
        if len(record.lines) > 1:
            return False
        cells = [*record.cells[:width], *[""] * (width - len(record.cells))]
        return self._sieve.leaves_out_damaged(self._layout.own(cells), is_whole=is_whole)

    def _misread(self, record: Record, cells: Sequence[str]) -> Problem | None:
        """Say why cells that could be told apart are not what they seem; `cells` are the own ones among them."""
        row = ",".join(cells)
        if self._layout.repeats(row):
            return problem("REPEATED_HEADER", record.text)
        if not may_have_blank_before_quotes(row):
            return None
        quoted = [
            name for name, place in self._used.items() if has_blank_before_quotes(record, place, self._layout.delimiter)
        ]
        if not quoted:
            return None
        why = "a blank stands before the opening quote, so that the quotes are part of the cell: take the blank out"
        return problem("BAD_QUOTES", record.text, "; ".join(f"{name}: {why}" for name in quoted))


def remarks_on_text(heading: Heading, lines: Lines, reading: Reading) -> tuple[str, ...]:
    """Say how a text is read where that is not the plain way."""
    delimiter = heading.layout.delimiter
    name = DELIMITERS.get(delimiter, repr(delimiter))
    said = "" if delimiter == "," else f"Cells are separated by {name}."
    sheet = "The file is no workbook, so --sheet says nothing." if reading.sheet else ""
    return tuple(filter(None, (lines.in_words(), said, sheet, *remarks_on_row(heading))))


def remarks_on_row(heading: Heading) -> tuple[str, ...]:
    """Say where the header stands where that is not on top."""
    row_number = heading.record.row_number
    if row_number == 1:
        return ()
    verb = "is" if heading.above == 1 else "are"
    left_out = f" {counted(heading.above, 'row')} above it {verb} left out." if heading.above else ""
    looks = f" Row {heading.rival} looks like a header, too." if heading.rival else ""
    return (f"Header on line {row_number}.{left_out}{looks}",)


def _remarks_on_hidden(sheet: Sheet, columns: ColumnMap, own: Sequence[int], hidden: int) -> tuple[str, ...]:
    """Say how many hidden rows, and which hidden columns, are taken all the same."""
    verb = "is" if hidden == 1 else "are"
    rows = f"{counted(hidden, 'hidden row')} {verb} taken, too." if hidden else ""
    names = [
        shown_header(header) for header, name in columns.pairs() if own[columns.used[name]] in sheet.hidden_columns
    ]
    used = f"Hidden columns are used, too: {', '.join(names)}." if names else ""
    return tuple(filter(None, (rows, used)))


def _write_sheet(content: Opened, copy: TextIO, reading: Reading, proceed: Callable[[], None]) -> Intake:
    sheet = read_sheet(content, reading.sheet)
    heading = find_in_sheet(sheet.records, reading, content.name)
    heading = widened(heading, sheet.width_from(heading.record.row_number - 1), reading)
    columns = require_columns(heading, reading, content.name)
    sieve = Sieve(reading.ignored, columns, content.name)
    # Whoever works with workbooks opens the reports in a spreadsheet, too, and that needs the mark.
    writer = SnapshotWriter(copy, columns.headers, byte_order_mark=True)
    own = heading.layout.own_places()
    rows = hidden = 0
    for index in range(heading.record.row_number, len(sheet.rows)):
        proceed()
        texts = sheet.texts(index, len(heading.layout.header))
        if not any(map(str.strip, texts)):
            continue
        cells = heading.layout.own(texts)
        if sieve.leaves_out(cells):
            continue
        rows += 1
        hidden += index in sheet.hidden_rows
        if heading.layout.repeats(",".join(cells)):
            writer.add_damaged(index + 1, problem("REPEATED_HEADER", ",".join(cells)))
        elif damage := damage_in(*sheet.noted(index, own), cells, columns):
            writer.add_damaged(index + 1, damage)
        else:
            writer.add(index + 1, cells)
    return Intake(
        sha256=content.sha256,
        modified_at=content.modified_at,
        rows=rows,
        columns=columns,
        ignored=sieve.count,
        remarks=(
            *content.remarks,
            *sheet.remarks,
            *remarks_on_row(heading),
            *_remarks_on_hidden(sheet, columns, own, hidden),
            *sieve.remarks(),
        ),
    )
