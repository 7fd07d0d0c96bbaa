"""A file → rows, in two passes, with memory that does not grow with the file.

The first pass (`take_snapshot`) reads the file once, line by line, with the standard library's strict CSV reader: it
counts cells, keeps the numbering of blank lines, notices what no later reader could see any more (ragged lines, stray
carriage returns, quotes that do not match, half a last line), and writes the run's snapshot, which is regular. A line
that stands in the snapshot as it stands in the file, and most do, is copied without being taken apart. The second pass
(`read_cells`) reads the snapshot with pandas, in chunks, as text: no cell becomes a number, a NaN or a date.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, TextIO

import pandas as pd

from bulkredeem.columns import OURS, ColumnMap, is_ours, map_columns
from bulkredeem.errors import InputFileError, JournalError, ReportsFolderError
from bulkredeem.formulas import unescape
from bulkredeem.model import Problem, Row
from bulkredeem.snapshot import LEADING, SnapshotWriter, sync_folder

MAX_LINE: Final = 1_048_576
"""Bytes of one physical line. A longer one is no row of corrections, and must not fill the memory."""
QUOTED_OF_A_LINE: Final = 30_000
"""Characters of a damaged line that its report repeats."""
CHUNK_CELLS: Final = 50_000
"""Cells that pandas reads at once, at least one row of them."""

_STRICT: Final = csv.reader((), strict=True).dialect
"""How the file is read; made once, since a reader is made for each record that is taken apart."""
_NOTHING: Final = "," + "".join(filter(str.isspace, map(chr, range(0x3001))))
"""What a blank line consists of: commas and all that Python calls a blank, of which U+3000 is the last."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_SAVE_AS_CSV: Final = "save it as 'CSV UTF-8 (comma delimited)'"
_HOLDS_NUL: Final = f"holds NUL bytes, so the file is not text; {_SAVE_AS_CSV}"
_NOT_CSV: Final = {
    b"PK\x03\x04": f"is an Excel workbook or a zip archive; {_SAVE_AS_CSV}",
    b"\xd0\xcf\x11\xe0": f"is an old Excel workbook; {_SAVE_AS_CSV}",
    b"\x1f\x8b": "is compressed; unpack it first",
    b"\xff\xfe": f"is UTF-16; {_SAVE_AS_CSV}",
    b"\xfe\xff": f"is UTF-16; {_SAVE_AS_CSV}",
}
"""How files start that people mistake for a CSV, and what to do about each."""

_DAMAGE: Final = {
    "RAGGED_ROW": "the line does not have as many cells as the header: a comma too many or too few, or a missing quote",
    "STRAY_CARRIAGE_RETURN": "a carriage return stands inside a cell without quotes: take it out",
    "CELL_TOO_LONG": f"a cell is longer than {csv.field_size_limit():,} characters: shorten it, or close its quote",
    "BAD_QUOTES": "the quotes of the line do not match: a quote inside a quoted cell is written twice",
    "UNTERMINATED_ROW": (
        "the last line has no line end, so it may be half a row: send the file again whole, add the line end,"
        " or take the line as it is with --allow-unterminated"
    ),
}
"""Why a line is no row, and what to do, by error code."""
_COMPLAINTS: Final = {
    "new-line character seen in unquoted field": "STRAY_CARRIAGE_RETURN",
    "field larger than field limit": "CELL_TOO_LONG",
}
"""Words of the CSV reader's complaint → error code; every other complaint is about quotes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """What the first pass found."""

    sha256: str
    """Of the file's bytes as they were read."""
    modified_at: float
    """When the file was changed last, in seconds since the epoch."""
    rows: int
    """Lines with something in them, below the header."""
    columns: ColumnMap
    """The file's own columns and which of them are used; a report's columns of ours are not among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Record:
    """One record of the file as the CSV reader saw it."""

    row_number: int
    """Blank lines count, and a record with line ends inside quotes counts once: as in a spreadsheet."""
    cells: Sequence[str] = ()
    """Empty for a blank line and for a record that could not be read."""
    lines: Sequence[str]
    """The physical lines it takes in the file."""
    error: str = ""
    """A key of `_DAMAGE`, or empty."""

    @property
    def is_blank(self) -> bool:
        """Whether it is no row at all: nothing stands in it."""
        return not self.error and not any(map(str.strip, self.cells))


def take_snapshot(
    source: Path,
    target: Path,
    *,
    explicit: Mapping[str, str],
    allow_unterminated: bool = False,
    durable: bool = True,
    proceed: Callable[[], None] = lambda: None,
) -> Intake:
    """Read the file once, write its snapshot to `target`, and say what was found.

    `explicit` maps headers of the file to canonical names. Without `durable` the snapshot may be lost with the power:
    enough for a reader that has it no longer than the process lives. `proceed` is asked before every row and raises
    what is to end the reading. Raises InputFileError with one sentence that names the file and, where there is one, the
    row, for everything that makes the file as a whole unreadable; ReportsFolderError when the snapshot cannot be
    written.
    """
    try:
        stream = source.open("rb")
    except OSError as exc:
        msg = f"{source} cannot be read: {exc.strerror}."
        raise InputFileError(msg) from exc
    try:
        with stream, target.open("w", encoding="utf-8", newline="") as copy:
            first_pass = _FirstPass(source, stream, explicit, allow_unterminated=allow_unterminated)
            intake = first_pass.write_snapshot(copy, proceed)
            copy.flush()
            if durable:
                os.fsync(copy.fileno())
                sync_folder(target.parent)
    except OSError as exc:
        msg = f"{target} cannot be written: {exc.strerror or exc}."
        raise ReportsFolderError(msg) from exc
    return intake


def read_rows(snapshot: Path, columns: ColumnMap) -> Iterator[Row]:
    """Yield the rows of a snapshot in the file's order, each a value of its own. Raises what `read_cells` raises."""
    for row_number, cells, damage in read_cells(snapshot, columns):
        values = {} if damage else dict(zip(columns.used, cells, strict=True))
        yield Row(row_number=row_number, values=values, damage=damage)


def read_cells(snapshot: Path, columns: ColumnMap) -> Iterator[tuple[int, tuple[str, ...], Problem | None]]:
    """Yield of each row its number, the cells of the columns used, and its damage or None; chunk by chunk.

    The cells are in the order of `columns.used`, and say nothing where there is damage. A million rows pass through
    here while requests are under way, so no more is made of them than that. Raises JournalError when the snapshot is
    not what the first pass wrote: it is a part of the run's record.
    """
    wanted = [*range(len(LEADING)), *(len(LEADING) + index for index in columns.used.values())]
    try:
        for chunk in _chunks(snapshot, len(LEADING) + len(columns.headers)):
            numbers, codes, messages, lines, *cells = (chunk[index].tolist() for index in wanted)
            damage = map(_damage, codes, messages, lines)
            yield from zip(map(int, numbers), zip(*cells, strict=True), damage, strict=True)
    except (ValueError, OSError, pd.errors.ParserWarning) as exc:
        msg = f"{snapshot} cannot be read any more, or somebody has changed it; start a new run."
        raise JournalError(msg) from exc


def _damage(code: str, message: str, line: str) -> Problem | None:
    return Problem(code=code, column="", message=message, detail=line) if code else None


def _chunks(snapshot: Path, width: int) -> Iterator[pd.DataFrame]:
    # No `usecols`: with it pandas drops a cell too many without a word, and all cells after it have moved.
    with pd.read_csv(
        snapshot,
        header=0,
        names=list(range(width)),
        index_col=False,
        dtype=object,
        keep_default_na=False,
        na_filter=False,
        encoding="utf-8",
        chunksize=max(1, CHUNK_CELLS // width),
    ) as reader:
        while (chunk := _next_chunk(reader)) is not None:
            yield chunk


def _next_chunk(reader: Iterator[pd.DataFrame]) -> pd.DataFrame | None:
    """Read a chunk; pandas only warns when it drops cells of a first record, and a dropped cell must stop us."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return next(reader, None)


class _Lines:
    """The physical lines of a file as text, hashed as they pass."""

    def __init__(self, stream: BinaryIO, source: Path) -> None:
        self.digest = hashlib.sha256()
        self.has_byte_order_mark = False
        self._stream = stream
        self._source = source
        self._passed = 0
        self._coming = self._read()

    def __iter__(self) -> Iterator[str]:
        """Go on where the reading stopped: whoever takes a record apart takes its further lines from here, too."""
        return self._coming

    def _read(self) -> Iterator[str]:
        update = self.digest.update
        try:
            for raw in iter(partial(self._stream.readline, MAX_LINE), b""):
                update(raw)
                yield self._decode(raw)
                self._passed += 1
        except OSError as exc:
            raise self._refusal(f"cannot be read: {exc.strerror or exc}") from exc

    def _decode(self, raw: bytes) -> str:
        if not self._passed or len(raw) == MAX_LINE:
            raw = self._check_extent(raw)
        try:
            text = raw.decode()
        except UnicodeDecodeError as exc:
            bad = raw[exc.start : exc.end].hex(" ")
            what = _HOLDS_NUL if b"\0" in raw else f"is not UTF-8 (bytes {bad}); {_SAVE_AS_CSV}"
            raise self._refusal(what) from None
        if "\0" in text:
            raise self._refusal(_HOLDS_NUL)
        return text

    def _check_extent(self, raw: bytes) -> bytes:
        """Look at how the file begins and at how long a line may be; return the line without a byte order mark."""
        is_cut = len(raw) == MAX_LINE and not raw.endswith(b"\n")
        if not self._passed:
            raw = self._check_start(raw)
        if is_cut:
            raise self._refusal(f"is longer than {MAX_LINE:,} bytes: this is no CSV of corrections")
        return raw

    def _check_start(self, raw: bytes) -> bytes:
        for start, what in _NOT_CSV.items():
            if raw.startswith(start):
                msg = f"{self._source} {what}."
                raise InputFileError(msg)
        if b"\r" in raw and not raw.endswith(b"\n"):
            raise self._refusal(f"ends in a carriage return alone, as on old Macintoshes; {_SAVE_AS_CSV}")
        self.has_byte_order_mark = raw.startswith(_BYTE_ORDER_MARK)
        return raw.removeprefix(_BYTE_ORDER_MARK)

    def _refusal(self, what: str) -> InputFileError:
        return InputFileError(f"{self._source}, line {self._passed + 1}, {what}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """What the header says of every line below it."""

    header: Sequence[str]
    is_returned: bool
    """Whether the file is a report of ours that comes back: with columns of ours, and with cells escaped."""

    def own(self, cells: Sequence[str]) -> Sequence[str]:
        """Return the cells of the file's own columns, exactly as they were before they went through a report."""
        if not self.is_returned:
            return cells
        return [unescape(cell) for name, cell in zip(self.header, cells, strict=True) if name not in OURS]

    def plain_row(self, line: str) -> str:
        """Return the own cells of a plain line with commas between; empty for a line that must be taken apart.

        In a plain line is nothing at which a reader or a writer of CSV would do more than part it at its commas.
        """
        row = line.rstrip("\r\n")
        is_plain = (
            '"' not in row
            and "\r" not in row
            and row.count(",") == len(self.header) - 1
            and len(row) <= csv.field_size_limit()
            and row.strip(_NOTHING)
            and line[-1] == "\n"
        )
        if is_plain and self.is_returned:
            return ",".join(self.own(row.split(",")))
        return row if is_plain else ""


class _FirstPass:
    """The first pass over one file."""

    def __init__(
        self, source: Path, stream: BinaryIO, explicit: Mapping[str, str], *, allow_unterminated: bool
    ) -> None:
        self._source = source
        self._modified_at = os.fstat(stream.fileno()).st_mtime
        self._lines = _Lines(stream, source)
        self._explicit = explicit
        self._allow_unterminated = allow_unterminated

    def write_snapshot(self, copy: TextIO, proceed: Callable[[], None]) -> Intake:
        """Write the snapshot and return what was found."""
        header = self._header()
        layout = _Layout(header=header.cells, is_returned=is_ours(header.cells))
        columns = self._map(header, layout.own(header.cells))
        writer = SnapshotWriter(copy, columns.headers, byte_order_mark=self._lines.has_byte_order_mark)
        rows = 0
        for row_number, line in enumerate(self._lines, start=header.row_number + 1):
            proceed()
            if row := layout.plain_row(line):
                writer.add_plain(row_number, row)
                rows += 1
            else:
                rows += self._write(self._record(row_number, line), layout, writer)
        return Intake(
            sha256=self._lines.digest.hexdigest(),
            modified_at=self._modified_at,
            rows=rows,
            columns=columns,
        )

    def _write(self, record: _Record, layout: _Layout, writer: SnapshotWriter) -> bool:
        """Write a record as what it is; return whether it is a row at all."""
        if record.is_blank:
            return False
        damage = self._damage(record, width=len(layout.header))
        if damage:
            writer.add_damaged(record.row_number, damage)
        else:
            writer.add(record.row_number, layout.own(record.cells))
        return True

    def _record(self, row_number: int, line: str) -> _Record:
        """Take apart the record that begins with this line, and with it the further lines that it goes over."""
        lines: list[str] = []
        try:
            cells = next(csv.reader(self._noted(line, lines), _STRICT))
        except csv.Error as exc:
            return self._broken(row_number, lines, str(exc))
        return _Record(row_number=row_number, cells=cells, lines=lines)

    def _noted(self, line: str, lines: list[str]) -> Iterator[str]:
        """Yield the line and those after it, and note in `lines` which were asked for."""
        for each in itertools.chain((line,), self._lines):
            lines.append(each)
            yield each

    def _broken(self, row_number: int, lines: Sequence[str], complaint: str) -> _Record:
        """Return the record of a line that is no CSV; raise when it swallowed further lines, which may be rows."""
        if len(lines) > 1:
            raise self._swallowed(row_number)
        error = next((code for words, code in _COMPLAINTS.items() if words in complaint), "BAD_QUOTES")
        return _Record(row_number=row_number, error=error, lines=lines)

    def _swallowed(self, row_number: int) -> InputFileError:
        """Return the error of a record that a stray quote has made of several lines, each of which may be a row."""
        return InputFileError(
            f"{self._source}, row {row_number}: a quote is opened there and not closed in its cell, so that nobody can"
            " tell which of the lines after it are rows. Close it, or take it out."
        )

    def _header(self) -> _Record:
        records = itertools.starmap(self._record, enumerate(self._lines, start=1))
        header = next((record for record in records if not record.is_blank), None)
        if header is None:
            msg = f"{self._source} is empty: the first line must name the columns."
            raise InputFileError(msg)
        if not header.lines[-1].endswith("\n") and not self._allow_unterminated:
            raise InputFileError(
                f"{self._source} ends within its header: half an upload? Send it again whole, or take it with"
                " --allow-unterminated."
            )
        if header.error:
            msg = f"{self._source}, row {header.row_number}, cannot be read as a header: {_DAMAGE[header.error]}."
            raise InputFileError(msg)
        return header

    def _map(self, header: _Record, own: Sequence[str]) -> ColumnMap:
        try:
            return map_columns(own, self._explicit)
        except ValueError as exc:
            msg = f"{self._source}, row {header.row_number} (the header): {exc}"
            raise InputFileError(msg) from exc

    def _damage(self, record: _Record, *, width: int) -> Problem | None:
        """Say why a record with something in it cannot be taken as cells, or None for a good one."""
        line = "".join(record.lines)
        if record.error:
            return _problem(record.error, line)
        if not line.endswith("\n") and not self._allow_unterminated:
            return _problem("UNTERMINATED_ROW", line)
        if len(record.cells) == width:
            return None
        if len(record.lines) > 1:
            raise InputFileError(
                f"{self._source}, row {record.row_number}: it goes over {len(record.lines)} lines and has"
                f" {len(record.cells)} cells where the header has {width}, so that nobody can tell which of the lines"
                " are rows. Look for a stray quote or a comma too many or too few."
            )
        return _problem("RAGGED_ROW", f"{len(record.cells)} cells where the header has {width}: {line}")


def _problem(code: str, line: str) -> Problem:
    return Problem(code=code, column="", message=_DAMAGE[code], detail=line.rstrip("\r\n")[:QUOTED_OF_A_LINE])
