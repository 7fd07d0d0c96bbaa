"""The snapshot: every cell comes back exactly, through a real file."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkredeem.model import Problem
from bulkredeem.snapshot import (
    LEADING,
    Record,
    SnapshotWriter,
    copy_records,
    digest_of,
    has_byte_order_mark,
    read_headers,
    read_records,
)

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


@given(table=tables())
@example(table=(["a", "b"], [["x", "y"], ["x,", "y"], ["x", "\r"], ["\n", ""], ['"', ""], ["", ""]]))
@example(table=(["a"], [[""], [","]]))
def test_rows_are_written_as_the_standard_library_writes_them(table: tuple[list[str], list[list[str]]]) -> None:
    """To the last byte, whether or not there is something in them to quote."""
    headers, rows = table
    numbered = [[str(number), "", "", "", *cells] for number, cells in enumerate(rows, start=2)]
    plain = io.StringIO(newline="")
    csv.writer(plain, lineterminator="\r\n").writerows([[*LEADING, *headers], *numbered])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "snapshot.csv"
        write(path, headers, rows)
        assert path.read_bytes() == plain.getvalue().encode()


def test_a_plain_row_is_written_like_any_other(tmp_path: Path) -> None:
    """Its cells with commas between are the row, empty cells and blanks included."""
    path = tmp_path / "s.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        SnapshotWriter(file, ["a", "b", "c"]).add_plain(7, " x,,ä\u2028")
    assert list(read_records(path)) == [Record(row_number=7, cells=(" x", "", "ä\u2028"))]


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


@settings(max_examples=50)
@given(table=tables(), marked=st.booleans(), wanted=st.sets(st.integers(2, 6)))
@example(table=(["a"], [["\r"], ["\n"], ["\ufeff"], ['"'], [""]]), marked=True, wanted={2, 3, 4, 5, 6})
def test_a_copy_has_the_wanted_rows_as_they_were(
    table: tuple[list[str], list[list[str]]],
    marked: bool,  # noqa: FBT001  drawn
    wanted: set[int],
) -> None:
    """Numbers, cells, headers and byte order mark of the chosen rows are those of the source, and no other row is."""
    headers, rows = table
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.csv", Path(folder) / "target.csv"
        write(source, headers, rows, marked=marked)
        expected = [record for record in read_records(source) if record.row_number in wanted]
        assert copy_records(source, target, wanted.__contains__) == len(expected)
        assert has_byte_order_mark(target) is marked
        assert read_headers(target) == tuple(headers)
        assert list(read_records(target)) == expected


def test_a_copy_of_all_rows_is_the_same_file(tmp_path: Path) -> None:
    """Damaged lines keep their code, their words and their text; not a byte is another one."""
    source, target = tmp_path / "source.csv", tmp_path / "target.csv"
    with source.open("w", encoding="utf-8", newline="") as file:
        writer = SnapshotWriter(file, ["a", "b"], byte_order_mark=True)
        writer.add(2, ["x", "1\r\n2"])
        writer.add_damaged(5, Problem(code="RAGGED_ROW", column="", message="too many, cells", detail='8878ru,"half'))
        writer.add(9, ["\ufeff", ""])
    assert copy_records(source, target, lambda _: True) == 3
    assert target.read_bytes() == source.read_bytes()
    assert digest_of(target) == digest_of(source)


def test_a_copy_cannot_be_written_where_nothing_can(tmp_path: Path) -> None:
    """The operating system's own error says so, for whoever knows which run it is about."""
    write(tmp_path / "s.csv", ["a"], [["x"]])
    with pytest.raises(OSError, match="No such file"):
        copy_records(tmp_path / "s.csv", tmp_path / "nowhere" / "t.csv", lambda _: True)
    with pytest.raises(OSError, match="No such file"):
        copy_records(tmp_path / "none.csv", tmp_path / "t.csv", lambda _: True)
    assert not (tmp_path / "t.csv").exists()


def test_a_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    """One changed byte, one more or one less, and it is another; that of a file that is gone is an error."""
    path = tmp_path / "s.csv"
    path.write_bytes(b"abc")
    assert digest_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    found = {digest_of(path)}
    for content in (b"abd", b"abcd", b"ab", b""):
        path.write_bytes(content)
        found.add(digest_of(path))
    assert len(found) == 5
    with pytest.raises(OSError, match="No such file"):
        digest_of(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"row_number,a\r\n\r\n", b"row_number,a\r\n2," + b"x" * 200_000 + b"\r\n"]
)
def test_a_file_that_is_no_snapshot_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    """An empty one, one with a blank line, one of another encoding or with an endless cell: each is a ValueError."""
    path = tmp_path / "s.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"s\.csv|utf-8"):
        list(read_records(path))
