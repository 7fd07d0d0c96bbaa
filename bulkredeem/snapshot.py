"""The snapshot: a run's own copy of the rows, in one regular form, whatever form the file had.

A CSV in UTF-8 with CRLF line ends, and with a byte order mark if the input had one. Its first line is
`row_number,error_code,error_message,line` and the file's own headers; each further line is one row: no blank lines,
no ragged lines, every cell exact to the last character. The columns between are empty unless the line could not be
read as cells; then the row's own cells are empty, and `line` holds the line as it stood, so that nobody can take half
a line for a row.

The loader writes it in its first pass and reads it in its second; the reports carry the file's own columns over from
it; a run that goes on later needs nothing else of the input. The journal holds its hash, so that a snapshot that was
changed or cut short since is never taken for what was sent.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from bulkredeem.wholefile import descriptor_of, opened_to_read, opened_to_write, sync_folder

if TYPE_CHECKING:
    from bulkredeem.model import Problem

LEADING = ("row_number", "error_code", "error_message", "line")
"""The columns of ours before the file's own."""
_UNDAMAGED = "," * len(LEADING)
"""What stands between a row's number and its cells."""
BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One row of the snapshot."""

    row_number: int
    cells: tuple[str, ...]
    """The file's own cells, exactly as they stood, one for each of its headers."""


class SnapshotWriter:
    """Writes a snapshot to an open text file (`newline=""`, UTF-8)."""

    def __init__(self, file: TextIO, headers: Sequence[str], *, byte_order_mark: bool = False) -> None:
        """Write the header line."""
        if byte_order_mark:
            file.write(BYTE_ORDER_MARK)
        self._write = file.write
        self._writer = csv.writer(file, lineterminator="\r\n")
        self._blank = ("",) * len(headers)
        self._writer.writerow((*LEADING, *headers))

    def add(self, row_number: int, cells: Sequence[str]) -> None:
        """Write a row; `cells` has one cell for each header."""
        row = ",".join(cells)
        if '"' in row or "\r" in row or "\n" in row or row.count(",") != len(self._blank) - 1:
            self._writer.writerow((row_number, "", "", "", *cells))
        else:
            self.add_plain(row_number, row)

    def add_plain(self, row_number: int, row: str) -> None:
        """Write a row as `add` would, many times cheaper: `row` is its cells with commas between.

        In none of the cells may be a comma, a quote or a line end.
        """
        self._write(f"{row_number}{_UNDAMAGED}{row}\r\n")

    def add_damaged(self, row_number: int, problem: Problem) -> None:
        """Write a row whose line could not be read as cells."""
        self._writer.writerow((row_number, problem.code, problem.message, problem.detail, *self._blank))


def has_byte_order_mark(path: Path) -> bool:
    """Say whether the input began with a byte order mark, as files meant for Excel do."""
    with opened_to_read(path) as file:
        return file.read(1) == BYTE_ORDER_MARK


def read_headers(path: Path) -> tuple[str, ...]:
    """Return the file's own headers."""
    with opened_to_read(path, "utf-8-sig") as file:
        return tuple(next(csv.reader(file)))[len(LEADING) :]


def read_records(path: Path) -> Iterator[Record]:
    """Yield the rows in the file's order, reading as it goes.

    Raises OSError, and ValueError for a file that is no snapshot.
    """
    for row_number, row in read_rows(path):
        yield Record(row_number=row_number, cells=cells_of(row))


def read_rows(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each row's number, and its cells as they stand in the file: for whoever only passes them on.

    Raises what `read_records` raises.
    """
    with opened_to_read(path, "utf-8-sig") as file:
        try:
            if next(csv.reader(file), None) is None:
                raise ValueError(f"{path} is empty")
            for line in file:
                text = line
                # As long as a quote is open, the row goes on in the next line.
                while text.count('"') % 2 and (more := next(file, "")):
                    text += more
                number, undamaged, row = text.partition(_UNDAMAGED)
                is_sound = undamaged and number.isdecimal()
                yield (int(number), row.rstrip("\r\n")) if is_sound else _damaged(text)
        except (IndexError, csv.Error) as exc:
            raise ValueError(f"{path} holds a line that is no row") from exc


def cells_of(row: str) -> tuple[str, ...]:
    """Return the cells of a row that `read_rows` has yielded. Raises ValueError."""
    if '"' not in row:
        return tuple(row.split(","))
    try:
        return tuple(next(csv.reader((row,))))
    except csv.Error as exc:
        raise ValueError(f"{row[:50]!r}… is no row") from exc


def _damaged(text: str) -> tuple[int, str]:
    """Return number and cells of a row whose line could not be read as cells: they are empty."""
    record = next(csv.reader((text,)))
    return int(record[0]), ",".join(record[len(LEADING) :])


def copy_records(source: Path, target: Path, wanted: Callable[[int], bool]) -> int:
    """Write a snapshot of those rows whose numbers are wanted, durable on return; return how many they are.

    Numbers, damage and a byte order mark stay as they are. Raises OSError.
    """
    encoding = "utf-8-sig" if has_byte_order_mark(source) else "utf-8"
    with (
        opened_to_read(source, "utf-8-sig") as given,
        opened_to_write(target, encoding) as copy,
    ):
        reader, writer = csv.reader(given), csv.writer(copy, lineterminator="\r\n")
        writer.writerow(next(reader))
        chosen = 0
        for record in reader:
            if wanted(int(record[0])):
                writer.writerow(record)
                chosen += 1
        copy.flush()
        os.fsync(copy.fileno())
    sync_folder(target.parent)
    return chosen


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a snapshot's bytes. Raises OSError."""
    with os.fdopen(descriptor_of(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
