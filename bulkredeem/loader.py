"""A file → rows, in two passes, with memory that does not grow with the file.

The first pass (`take_snapshot`) reads the file once, byte by byte, with the standard library's strict CSV reader: it
counts cells, keeps the numbering of blank lines, notices what no later reader could see any more (ragged lines, stray
carriage returns, quotes that do not match, half a last line), and writes the run's snapshot, which is regular. The
second pass (`read_rows`) reads the snapshot with pandas, in chunks, as text: no cell becomes a number, a NaN or a date.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_SAVE_AS_CSV: Final = "save it as 'CSV UTF-8 (comma delimited)'"
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
    lines: tuple[str, ...]
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
    proceed: Callable[[], None] = lambda: None,
) -> Intake:
    """Read the file once, write its snapshot to `target`, and say what was found.

    `explicit` maps headers of the file to canonical names. `proceed` is asked before every row and raises what is to
    end the reading. Raises InputFileError with one sentence that names the file and, where there is one, the row, for
    everything that makes the file as a whole unreadable; ReportsFolderError when the snapshot cannot be written.
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
            os.fsync(copy.fileno())
        sync_folder(target.parent)
    except OSError as exc:
        msg = f"{target} cannot be written: {exc.strerror or exc}."
        raise ReportsFolderError(msg) from exc
    return intake


def read_rows(snapshot: Path, columns: ColumnMap) -> Iterator[Row]:
    """Yield the rows of a snapshot in the file's order, reading chunk by chunk.

    Raises JournalError when the snapshot is not what the first pass wrote: it is a part of the run's record.
    """
    try:
        yield from _read_chunks(snapshot, columns)
    except (ValueError, OSError, pd.errors.ParserWarning) as exc:
        msg = f"{snapshot} cannot be read any more, or somebody has changed it; start a new run."
        raise JournalError(msg) from exc


def _read_chunks(snapshot: Path, columns: ColumnMap) -> Iterator[Row]:
    names = list(columns.used)
    wanted = [*range(len(LEADING)), *(len(LEADING) + columns.used[name] for name in names)]
    width = len(LEADING) + len(columns.headers)
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
            cells = zip(*(chunk[index].tolist() for index in wanted), strict=True)
            for number, code, message, line, *values in cells:
                yield _row(int(number), Problem(code=code, column="", message=message, detail=line), names, values)


def _row(row_number: int, damage: Problem, names: Sequence[str], values: Sequence[str]) -> Row:
    if damage.code:
        return Row(row_number=row_number, values={}, damage=damage)
    return Row(row_number=row_number, values=dict(zip(names, values, strict=True)))


def _next_chunk(reader: Iterator[pd.DataFrame]) -> pd.DataFrame | None:
    """Read a chunk; pandas only warns when it drops cells of a first record, and a dropped cell must stop us."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return next(reader, None)


class _Lines:
    """The physical lines of a file as text: hashed as they pass, and remembered until asked for."""

    def __init__(self, stream: BinaryIO, source: Path) -> None:
        self.digest = hashlib.sha256()
        self.has_byte_order_mark = False
        self._stream = stream
        self._source = source
        self._number = 0
        self._since: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self._number += 1
        raw = self._read()
        if not raw:
            raise StopIteration
        self.digest.update(raw)
        text = self._decode(raw)
        self._since.append(text)
        return text

    def begin_record(self) -> None:
        """Forget the lines of the record before."""
        self._since.clear()

    @property
    def of_record(self) -> Sequence[str]:
        """The physical lines of the record read last."""
        return self._since

    def _read(self) -> bytes:
        try:
            return self._stream.readline(MAX_LINE)
        except OSError as exc:
            raise self._refusal(f"cannot be read: {exc.strerror or exc}") from exc

    def _decode(self, raw: bytes) -> str:
        is_cut = len(raw) == MAX_LINE and not raw.endswith(b"\n")
        if self._number == 1:
            raw = self._check_start(raw)
        if is_cut:
            raise self._refusal(f"is longer than {MAX_LINE:,} bytes: this is no CSV of corrections")
        if b"\0" in raw:
            raise self._refusal(f"holds NUL bytes, so the file is not text; {_SAVE_AS_CSV}")
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as exc:
            bad = raw[exc.start : exc.end].hex(" ")
            raise self._refusal(f"is not UTF-8 (bytes {bad}); {_SAVE_AS_CSV}") from None

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
        return InputFileError(f"{self._source}, line {self._number}, {what}.")


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
        records = self._records()
        header = self._header(records)
        returned = is_ours(header.cells)
        own = [index for index, name in enumerate(header.cells) if not (returned and name in OURS)]
        restore = unescape if returned else str
        columns = self._map(header, [restore(header.cells[index]) for index in own])
        writer = SnapshotWriter(copy, columns.headers, byte_order_mark=self._lines.has_byte_order_mark)
        rows = 0
        for record in records:
            proceed()
            damage = self._damage(record, width=len(header.cells))
            if damage:
                writer.add_damaged(record.row_number, damage)
            elif not record.is_blank:
                writer.add(record.row_number, [restore(record.cells[index]) for index in own])
            rows += not record.is_blank
        return Intake(
            sha256=self._lines.digest.hexdigest(),
            modified_at=self._modified_at,
            rows=rows,
            columns=columns,
        )

    def _records(self) -> Iterator[_Record]:
        """Yield every record, blank ones too, so that their number is the one a spreadsheet shows."""
        reader = csv.reader(self._lines, strict=True)
        for row_number in itertools.count(1):
            self._lines.begin_record()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as exc:
                yield self._broken(row_number, str(exc))
            else:
                yield _Record(row_number=row_number, cells=cells, lines=tuple(self._lines.of_record))

    def _broken(self, row_number: int, complaint: str) -> _Record:
        """Return the record of a line that is no CSV; raise when it swallowed further lines, which may be rows."""
        if len(self._lines.of_record) > 1:
            raise self._swallowed(row_number)
        error = next((code for words, code in _COMPLAINTS.items() if words in complaint), "BAD_QUOTES")
        return _Record(row_number=row_number, error=error, lines=tuple(self._lines.of_record))

    def _swallowed(self, row_number: int) -> InputFileError:
        """Return the error of a record that a stray quote has made of several lines, each of which may be a row."""
        return InputFileError(
            f"{self._source}, row {row_number}: a quote is opened there and not closed in its cell, so that nobody can"
            " tell which of the lines after it are rows. Close it, or take it out."
        )

    def _header(self, records: Iterator[_Record]) -> _Record:
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
        """Say why a record cannot be taken as cells, or None for a good one and for a blank line."""
        line = "".join(record.lines)
        if record.error:
            return _problem(record.error, line)
        if record.is_blank:
            return None
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
