"""The snapshot: every cell comes back exactly, through a real file."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkredeem.model import Problem
from bulkredeem.snapshot import LEADING, Record, SnapshotWriter, has_byte_order_mark, read_headers, read_records

CELL = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30) | st.text(
    alphabet="\r\n\",' ;\t\ufeff\u2028", max_size=8
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    """Draw headers, and rows as wide as they are."""
    width = draw(st.integers(1, 4))
    line = st.lists(CELL, min_size=width, max_size=width)
    return draw(line), draw(st.lists(line, max_size=5))


def write(path: Path, headers: Sequence[str], rows: Sequence[Sequence[str]], *, marked: bool = False) -> None:
    """Write a snapshot whose rows are numbered from 2."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = SnapshotWriter(file, headers, byte_order_mark=marked)
        for row_number, cells in enumerate(rows, start=2):
            writer.add(row_number, cells)


@given(table=tables(), marked=st.booleans())
@example(table=(["a"], [[""], ["\r"], ["\n"], ["\r\n"], ['"'], ["\ufeff"]]), marked=False)
@example(table=(["\ufeffa", "a\nb"], [["x", ""], ["", "y"]]), marked=True)
def test_every_cell_comes_back_exactly(table: tuple[list[str], list[list[str]]], marked: bool) -> None:  # noqa: FBT001  drawn
    """Line ends, quotes, commas, empty cells and the input's byte order mark survive the file."""
    headers, rows = table
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "snapshot.csv"
        write(path, headers, rows, marked=marked)
        assert has_byte_order_mark(path) is marked
        assert read_headers(path) == tuple(headers)
        assert list(read_records(path)) == [
            Record(row_number=number, cells=tuple(cells)) for number, cells in enumerate(rows, start=2)
        ]


def test_a_snapshot_without_rows_has_none(tmp_path: Path) -> None:
    """A header alone is a snapshot too."""
    write(tmp_path / "s.csv", ["billNumber"], [])
    assert list(read_records(tmp_path / "s.csv")) == []


def test_row_numbers_keep_their_gaps(tmp_path: Path) -> None:
    """Blank lines of the input leave holes in the numbering, and the snapshot keeps them."""
    path = tmp_path / "s.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = SnapshotWriter(file, ["a"])
        writer.add(2, ["x"])
        writer.add(1_048_577, ["y"])
    assert [record.row_number for record in read_records(path)] == [2, 1_048_577]


def test_a_damaged_line_stands_beside_the_cells_and_not_in_them(tmp_path: Path) -> None:
    """Of a line that is no row, only our own columns say something: its cells stay empty."""
    path = tmp_path / "s.csv"
    damage = Problem(code="RAGGED_ROW", column="", message="too many, cells", detail='8878ru,"half\r\n')
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = SnapshotWriter(file, ["a", "b"])
        writer.add_damaged(2, damage)
        writer.add(3, ["x", "y"])
    assert list(read_records(path)) == [Record(row_number=2, cells=("", "")), Record(row_number=3, cells=("x", "y"))]
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == [*LEADING, "a", "b"]
    assert lines[1] == ["2", "RAGGED_ROW", "too many, cells", '8878ru,"half\r\n', "", ""]


@pytest.mark.parametrize("cell", ["000123", "NA", "1234567890123456789", "8878E2", " padded ", "1.0", "TRUE"])
def test_a_cell_is_text_and_stays_text(tmp_path: Path, cell: str) -> None:
    """Nothing that looks like a number or a missing value is read as one."""
    write(tmp_path / "s.csv", ["a", "b"], [[cell, ""]])
    assert next(read_records(tmp_path / "s.csv")).cells == (cell, "")


def test_records_are_read_one_by_one(tmp_path: Path) -> None:
    """The first record is there before the last one is looked at, so memory does not grow with the file."""
    path = tmp_path / "s.csv"
    write(path, ["a"], [["x"]])
    with path.open("a", encoding="utf-8", newline="") as file:
        file.write("not a number,,,,y\r\n")
    records = read_records(path)
    assert next(records).row_number == 2
    with pytest.raises(ValueError, match="not a number"):
        next(records)
