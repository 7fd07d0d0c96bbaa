"""The loader, over real files: every cell exact to the last character, every trap a row or a sentence, nothing lost."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from bulkredeem.columns import RESULT_HEAD, RESULT_TAIL, map_columns
from bulkredeem.errors import InputFileError, JournalError, ReportsFolderError, Stopping
from bulkredeem.formulas import escape
from bulkredeem.loader import CHUNK_CELLS, MAX_LINE, QUOTED_OF_A_LINE, Intake, read_cells, read_rows, take_snapshot
from bulkredeem.model import Reading, Row
from bulkredeem.snapshot import LEADING, has_byte_order_mark, read_headers, read_records

HEADER = "redemptionId,identifierValue,billNumber"
MARK = b"\xef\xbb\xbf"
BROKEN_DISK = Path("/proc/self/mem")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A file after both passes."""

    intake: Intake
    rows: list[Row]
    snapshot: Path

    @property
    def cells(self) -> list[tuple[int, list[str]]]:
        """Return the number and the used cells of each row, none for a damaged one."""
        return [(row.row_number, list(row.values.values())) for row in self.rows]

    @property
    def damage(self) -> dict[int, str]:
        """Return row number → error code of the damaged rows."""
        return {row.row_number: row.damage.code for row in self.rows if row.damage}


def load(
    folder: Path, content: str | bytes, *, explicit: Mapping[str, str] | None = None, allow_unterminated: bool = False
) -> Loaded:
    """Write a file, and read it in both passes."""
    source, snapshot = folder / "corrections.csv", folder / "input.csv"
    source.write_bytes(content if isinstance(content, bytes) else content.encode())
    reading = Reading(explicit=explicit or {}, allow_unterminated=allow_unterminated)
    intake = take_snapshot(source, snapshot, reading=reading)
    return Loaded(intake=intake, rows=list(read_rows(snapshot, intake.columns)), snapshot=snapshot)


def refusal(folder: Path, content: str | bytes) -> str:
    """Write a file that cannot be read, and return the sentence about it, which names it."""
    with pytest.raises(InputFileError) as caught:
        load(folder, content)
    sentence = str(caught.value)
    named = str(folder / "corrections.csv")
    assert sentence.startswith(named)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence.removeprefix(named).lstrip(", ")


def written(table: Sequence[Sequence[str]]) -> str:
    """Return a table as the standard library writes it."""
    file = io.StringIO(newline="")
    csv.writer(file).writerows(table)
    return file.getvalue()


# Cells


@pytest.mark.parametrize(
    "cell",
    [
        *("000123", "0", "1.0", "1e5", "8878E2", "1234567890123456789", "9223372036854775808"),
        *("NA", "N/A", "NaN", "null", "None", "inf", "TRUE", "2026-11-05"),
        *(" padded\t", "\u00a0x", "'", "\\", "#", "12%", "日本"),
        *("\ufeffx", "x\ufeff", "a\u2028b\x85", "\x0b\x0c", "\x1a", "\x1c"),
    ],
)
def test_a_cell_stays_the_text_it_is(tmp_path: Path, cell: str) -> None:
    """Nothing becomes a number, a date, a truth or a missing value, beside a blank least of all."""
    loaded = load(tmp_path, f"{HEADER},billId\nA1,1,{cell},\nA2,2,,{cell}\nA3,3,,\n")
    values = [(row.values["billNumber"], row.values["billId"]) for row in loaded.rows]
    assert values == [(cell, ""), ("", cell), ("", "")]


@pytest.mark.parametrize(
    ("written_as", "cell"),
    [
        ('"a\nb"', "a\nb"),
        ('"a\r\nb"', "a\r\nb"),
        ('"a\rb"', "a\rb"),
        ('"a\n\n\r\n b"', "a\n\n\r\n b"),
        ('"a,b"', "a,b"),
        ('"a ""b"" c"', 'a "b" c'),
        ('""""', '"'),
        ('a "b" c', 'a "b" c'),
        ('" ""b"""', ' "b"'),
    ],
)
def test_a_quoted_cell_is_exact_and_one_row(tmp_path: Path, written_as: str, cell: str) -> None:
    """Line ends, commas and quotes come back as they stood, and a record of several lines counts once."""
    loaded = load(tmp_path, f"{HEADER}\nA1,1,{written_as}\nA2,2,x\n")
    assert loaded.cells == [(2, ["A1", "1", cell]), (3, ["A2", "2", "x"])]
    assert not loaded.damage
    assert [record.cells[2] for record in read_records(loaded.snapshot)] == [cell, "x"]


CELL = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20) | st.text(
    alphabet="\r\n\",' ;\t\ufeff\u2028=", max_size=6
)
COLUMNS = ["redemptionId", "identifierValue", "billNumber", "customFields.note"]


@settings(deadline=None)
@given(
    rows=st.lists(st.lists(CELL, min_size=4, max_size=4), max_size=8),
    unknown=st.lists(CELL, max_size=2),
    marked=st.booleans(),
)
@example(rows=[["", "", "", "\ufeff"], ["\ufeff", "\r", "\n", '"']], unknown=[], marked=True)
def test_any_table_comes_back_exactly(rows: list[list[str]], unknown: list[str], marked: bool) -> None:  # noqa: FBT001  drawn
    """Whatever a CSV writer can write is read back to the last character, save that all-empty rows are none."""
    headers = COLUMNS + [f"?{name}" for name in unknown]
    table = [row + row[: len(unknown)] for row in rows]
    numbered = [(number, row) for number, row in enumerate(table, start=2) if any(map(str.strip, row))]
    with tempfile.TemporaryDirectory() as folder:
        loaded = load(Path(folder), (MARK if marked else b"") + written([headers, *table]).encode())
        assert loaded.cells == [(number, row[:4]) for number, row in numbered]
        assert [(each.row_number, list(each.cells)) for each in read_records(loaded.snapshot)] == numbered
        assert read_headers(loaded.snapshot) == tuple(headers)
        assert has_byte_order_mark(loaded.snapshot) is marked
        assert loaded.intake.rows == len(numbered)


LINE = st.text(alphabet='aé1 ,,"=\u00a0\u2028\t\x1c', max_size=12) | st.sampled_from(
    ["A1,1,x", "A2,2,", ",,z", '"A3","3","a,b"', 'A4,"4",a "b" c', "A5", "", ",,", " ,\u00a0,\x1c", '"","",""']
)


@settings(deadline=None)
@given(lines=st.lists(LINE, max_size=8), end=st.sampled_from(["\n", "\r\n", "\r\r\n"]))
def test_a_snapshot_is_what_a_csv_reader_reads_and_a_csv_writer_writes(lines: list[str], end: str) -> None:
    """A line that is copied as it stands is to the last byte what it would be had it been taken apart."""
    expected = [[*LEADING, *HEADER.split(",")]]
    for number, line in enumerate(lines, start=2):
        # Blanks before a quote are damage, too.
        assume(not re.search(r'(^|,)\s+"', line))
        try:
            (cells,) = csv.reader([line], strict=True) if line else ([],)
        except csv.Error:
            assume(False)  # noqa: FBT003  damage has tests of its own
        if any(map(str.strip, cells)):
            assume(len(cells) == 3)
            expected.append([str(number), "", "", "", *cells])
    with tempfile.TemporaryDirectory() as folder:
        loaded = load(Path(folder), "".join(f"{line}{end}" for line in [HEADER, *lines]))
        assert loaded.snapshot.read_bytes() == written(expected).encode()
        assert loaded.intake.rows == len(expected) - 1


def test_awkward_cells_survive_every_boundary_of_a_buffer(tmp_path: Path) -> None:
    """Rows of odd lengths, full of quotes and line ends, come back exactly across buffers and chunks of the readers."""
    awkward = ["\r\n", '"', "\r", "\n", '""', ",", "ä", "𐍈", "\ufeff"]
    wanted = [
        [f"R{number}", awkward[number % 9] * (number % 7), awkward[number // 9 % 9] * (number % 5)]
        for number in range(CHUNK_CELLS // 3)
    ]
    loaded = load(tmp_path, written([HEADER.split(","), *wanted]))
    assert [cells for _, cells in loaded.cells] == wanted


# Rows and their numbers


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"])
def test_blank_lines_are_no_rows_but_count(tmp_path: Path, end: str) -> None:
    """Blank lines, rows of empty or blank cells, and lines of commas keep the numbers of the rows after them."""
    lines = [HEADER, "A2,1,x", "", "A4,1,x", ",,", " ,\t,", ",,,,,,", '"","\n",', "A9,1,x", "", ""]
    loaded = load(tmp_path, end.join(lines))
    assert [row.row_number for row in loaded.rows] == [2, 4, 9]
    assert [row.values["redemptionId"] for row in loaded.rows] == ["A2", "A4", "A9"]
    assert loaded.intake.rows == 3


def test_every_blank_there_is_makes_a_blank_line(tmp_path: Path) -> None:
    """Whatever Python calls a blank, save the line ends, is nothing, and beside a letter it is not."""
    blanks = [
        character for character in map(chr, range(sys.maxunicode)) if character.isspace() and character not in "\r\n"
    ]
    lines = [line for blank in blanks for line in (f"{blank},{blank},", f"{blank},x{blank},")]
    loaded = load(tmp_path, "".join(f"{line}\n" for line in [HEADER, *lines]))
    assert [row.row_number for row in loaded.rows] == list(range(3, len(lines) + 2, 2))


def test_blank_lines_above_the_header_count(tmp_path: Path) -> None:
    """The header may stand lower than the first line."""
    assert load(tmp_path, f"\n,,\n{HEADER}\nA1,1,x\n").cells == [(4, ["A1", "1", "x"])]


def test_numbers_go_on_after_quoted_lines_and_damage(tmp_path: Path) -> None:
    """Row numbers are a spreadsheet's: a record counts once however many lines it takes, and a damaged one too."""
    loaded = load(tmp_path, f'{HEADER}\nA2,1,"x\ny\r\nz"\nA3,1\n\nA5,1,"x\n\n"\nA6,1,x\n')
    assert [row.row_number for row in loaded.rows] == [2, 3, 5, 6]
    assert loaded.damage == {3: "RAGGED_ROW"}


DAMAGES: list[tuple[str, str, str, str | None]] = [
    ("too many in the first record", "A1,1,x,y\n", "RAGGED_ROW", "4 cells where the header has 3: A1,1,x,y"),
    ("too few", "A1,1\n", "RAGGED_ROW", "2 cells where the header has 3: A1,1"),
    ("a trailing comma", "A1,1,x,\n", "RAGGED_ROW", "4 cells where the header has 3: A1,1,x,"),
    ("a stray carriage return", "A1,1,x\ry\n", "STRAY_CARRIAGE_RETURN", "A1,1,x\ry"),
    ("a stray one before CRLF", "A1,1\r,x\r\n", "STRAY_CARRIAGE_RETURN", "A1,1\r,x"),
    ("a leading one", "\rA1,1,x\n", "STRAY_CARRIAGE_RETURN", "\rA1,1,x"),
    ("two rows with one line end", "A1,1,x\rA2,2,y\n", "STRAY_CARRIAGE_RETURN", "A1,1,x\rA2,2,y"),
    ("a quote inside quotes", 'A1,"1"2,x\n', "BAD_QUOTES", 'A1,"1"2,x'),
    ("a cell beyond the limit", f"A1,1,{'x' * (csv.field_size_limit() + 1)}\n", "CELL_TOO_LONG", None),
]


@pytest.mark.parametrize(
    ("line", "code", "detail"), [pytest.param(line, code, detail, id=name) for name, line, code, detail in DAMAGES]
)
def test_a_damaged_line_is_one_invalid_row(tmp_path: Path, line: str, code: str, detail: str | None) -> None:
    """Of a line that is no row nothing is used, it says why and how it stood, and the rows around it are whole."""
    loaded = load(tmp_path, f"{HEADER}\n{line}B1,2,\n")
    first, second = loaded.rows
    assert first.damage is not None
    assert (first.row_number, first.values, first.damage.code) == (2, {}, code)
    assert first.damage.detail == (line[:QUOTED_OF_A_LINE] if detail is None else detail)
    assert "A1" not in first.damage.message
    assert (second.row_number, list(second.values.values())) == (3, ["B1", "2", ""])
    assert loaded.intake.rows == 2
    assert [record.cells for record in read_records(loaded.snapshot)] == [("", "", ""), ("B1", "2", "")]


def test_an_unclosed_quote_on_the_last_line_costs_that_row_only(tmp_path: Path) -> None:
    """It swallowed nothing, so nothing is unclear."""
    loaded = load(tmp_path, f'{HEADER}\nA1,1,x\nA2,"1,x\n')
    assert (loaded.damage, loaded.intake.rows) == ({3: "BAD_QUOTES"}, 2)


@pytest.mark.parametrize(
    "lines",
    [
        'A2,"1,x\nA3,1,x\nA4,1,x\n',
        '"A2","1","x\n"A3","1","x"\n',
        f'A2,"1,x\n{"A3,1,x" * 30_000}\n',
    ],
    ids=["to the end", "to the next quote", "beyond the longest cell"],
)
def test_a_quote_that_swallows_further_lines_ends_the_reading(tmp_path: Path, lines: str) -> None:
    """Nobody can tell which of the swallowed lines are rows, so the file is refused and the row named."""
    sentence = refusal(tmp_path, f"{HEADER}\nA1,1,x\n\n{lines}")
    assert sentence.startswith("row 4: a quote is opened there and not closed")


def test_a_row_of_several_lines_with_cells_too_many_ends_the_reading(tmp_path: Path) -> None:
    """A stray quote that closes further down looks like this; each of the lines may be a row."""
    sentence = refusal(tmp_path, f'{HEADER}\nA2,"1,x\nA3,1",x,y\n')
    assert sentence.startswith("row 2: it goes over 2 lines and has 4 cells where the header has 3")


@pytest.mark.parametrize("header", ["redemptionId,billNumber,identifierValue,purp", HEADER])
def test_half_a_header_is_half_an_upload(tmp_path: Path, header: str) -> None:
    """A file that ends within its header is no empty night, unless somebody says so."""
    path, snapshot = tmp_path / "half.csv", tmp_path / "snapshot.csv"
    path.write_text(header)
    with pytest.raises(InputFileError, match="ends within its header"):
        take_snapshot(path, snapshot, reading=Reading())
    assert take_snapshot(path, snapshot, reading=Reading(allow_unterminated=True)).rows == 0


@pytest.mark.parametrize("line", ["A2,1,B-77", "A2,1,B-77\r", "A2,1", 'A2,1,"B-77"'])
def test_half_an_upload_is_not_half_a_bill_number(tmp_path: Path, line: str) -> None:
    """A last line without its end is invalid, and the rows before it are not."""
    loaded = load(tmp_path, f"{HEADER}\nA1,1,x\n{line}")
    assert loaded.damage == {3: "UNTERMINATED_ROW"}
    assert loaded.intake.rows == 2


def test_an_unterminated_last_line_can_be_allowed(tmp_path: Path) -> None:
    """It is then taken as it is, if it has all its cells."""
    assert load(tmp_path, f"{HEADER}\nA1,1,B-77", allow_unterminated=True).cells == [(2, ["A1", "1", "B-77"])]
    assert load(tmp_path, f"{HEADER}\nA1,1", allow_unterminated=True).damage == {2: "RAGGED_ROW"}


# Columns


def test_columns_come_in_any_order_and_spelling(tmp_path: Path) -> None:
    """Each value is under its canonical name, wherever and however its column is called."""
    headers = ["Shop", "Bill Number", "entity.identifierValue", "customFields.Card No", "REDEMPTION_ID"]
    loaded = load(tmp_path, written([headers, ["Riga", "B-1", "919900000001", "7", "8878ru"]]))
    assert loaded.rows[0].values == {
        "billNumber": "B-1",
        "identifierValue": "919900000001",
        "customFields.Card No": "7",
        "redemptionId": "8878ru",
    }


def test_unknown_columns_are_carried_exactly(tmp_path: Path) -> None:
    """What we do not use, blanks, repeats and nameless columns too, stands in the snapshot and in no row."""
    headers = ["Shop", *HEADER.split(","), "Shop", "", " status ", "a\nb"]
    lines = [[" Riga ", "A1", "1", "x", "NA", "007", "ok", '"\r\n'], ["", "A2", "2", "y", "", "", "8878E2", "="]]
    loaded = load(tmp_path, written([headers, *lines]))
    assert read_headers(loaded.snapshot) == loaded.intake.columns.headers == tuple(headers)
    assert [list(record.cells) for record in read_records(loaded.snapshot)] == lines
    assert [list(row.values) for row in loaded.rows] == [HEADER.split(",")] * 2


def test_an_explicit_map_names_the_columns(tmp_path: Path) -> None:
    """The map beats the column that has the name by itself."""
    content = f"{HEADER},Bill No\nA1,1,old,new\n"
    loaded = load(tmp_path, content, explicit={"Bill No": "billNumber"})
    assert loaded.rows[0].values["billNumber"] == "new"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (f"{HEADER},bill_number", "row 1 (the header): 2 columns are all billNumber: 'billNumber', 'bill_number'"),
        (f"{HEADER},billNumber", "2 columns are all billNumber"),
        ("Shop,Town", "There is no column for redemptionId or externalReferenceNumber; nor for anything to set"),
        ("\n\nShop", "row 3 (the header): There is no column"),
        ('redemptionId,"bill"Number', "row 1, cannot be read as a header: the quotes of the line do not match"),
        ("redemptionId,bill\rNumber", "row 1, cannot be read as a header: a carriage return stands inside a cell"),
        ('redemptionId,"billNumber', "row 1: a quote is opened there and not closed"),
    ],
)
def test_a_header_without_use_is_a_sentence(tmp_path: Path, header: str, words: str) -> None:
    """The sentence names the row of the header and what is wrong with it."""
    assert words in refusal(tmp_path, f"{header}\nA1,1,x\n")


# Files of ours that come back


def returned(own: Sequence[str], *rows: Sequence[str]) -> str:
    """Return a report of ours: own headers and rows, escaped, between our columns."""
    tail = ["", "200", "1", "sandbox-1", "2026-11-05T12:00:00Z"]
    lines = [["7", "refused", "750", "no", "file_owner", "", *map(escape, row), *tail] for row in rows]
    return written([[*RESULT_HEAD, *map(escape, own), *RESULT_TAIL], *lines])


def test_a_report_of_ours_comes_back_as_the_file_it_was_made_from(tmp_path: Path) -> None:
    """Our columns are gone and the escapes undone, of headers and of cells."""
    own = [*HEADER.split(","), "=Shop", "input.status"]
    rows = [["8878ru", "+919900000001", "=1+1", "'=x", "mine"], ["@a", "''-5", "plain", "'plain", "\tx"]]
    loaded = load(tmp_path, returned(own, *rows))
    assert loaded.intake.columns.headers == tuple(own)
    assert [list(record.cells) for record in read_records(loaded.snapshot)] == rows
    assert loaded.cells == [(2, rows[0][:3]), (3, rows[1][:3])]


@settings(deadline=None)
@given(rows=st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=5))
def test_every_cell_survives_the_way_out_and_back(rows: list[list[str]]) -> None:
    """No row of a report is blank, since our columns are filled; each cell is what it was before the report."""
    with tempfile.TemporaryDirectory() as folder:
        loaded = load(Path(folder), returned(HEADER.split(","), *rows))
        assert loaded.cells == list(enumerate(rows, start=2))


def test_a_ragged_row_that_comes_back_blank_is_a_row(tmp_path: Path) -> None:
    """Its own cells are empty in our report, and it must not vanish from the counts for that."""
    loaded = load(tmp_path, returned(HEADER.split(","), ["", "", ""], ["A1", "1", "x"]))
    assert loaded.cells == [(2, ["", "", ""]), (3, ["A1", "1", "x"])]
    assert loaded.intake.rows == 2


def test_a_column_called_like_ours_elsewhere_is_the_users(tmp_path: Path) -> None:
    """Without our four columns in front nothing is ignored and nothing is unescaped."""
    headers = ["status", *HEADER.split(","), "warnings"]
    loaded = load(tmp_path, written([headers, ["open", "'=1", "1", "x", "none"]]))
    assert loaded.intake.columns.headers == tuple(headers)
    assert next(read_records(loaded.snapshot)).cells == ("open", "'=1", "1", "x", "none")


# Files


def test_a_byte_order_mark_is_no_part_of_the_first_header(tmp_path: Path) -> None:
    """Excel's mark is taken off, remembered, and nothing of the first cell with it."""
    for header in (HEADER, '"redemptionId",identifierValue,billNumber'):
        loaded = load(tmp_path, MARK + f"{header}\r\nA1,1,x\r\n".encode())
        assert loaded.cells == [(2, ["A1", "1", "x"])]
        assert has_byte_order_mark(loaded.snapshot)


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    """Mark, blank lines and line ends belong to it: it is what `sha256sum` says."""
    content = MARK + f"{HEADER}\r\n\r\nA1,1,x\nA2".encode()
    assert load(tmp_path, content).intake.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("content", [f"{HEADER}\n", f"\n{HEADER}\r\n\r\n,,\n"])
def test_a_file_with_headers_only_has_no_rows(tmp_path: Path, content: str) -> None:
    """That is no error: there is just nothing to do."""
    loaded = load(tmp_path, content)
    assert (loaded.intake.rows, loaded.rows) == (0, [])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "is empty: the first line must name the columns", id="empty"),
        pytest.param(MARK, "is empty", id="a mark alone"),
        pytest.param(b"\n \r\n,,\n\n", "is empty", id="blank only"),
        pytest.param(b"PK\x03\x04\x14\0\x06\0", "begins like a workbook or a zip archive, but is damaged", id="zip"),
        pytest.param(b"\xd0\xcf\x11\xe0\xa1\xb1", "is a workbook that cannot be read, so it is damaged", id="xls"),
        pytest.param(b"%PDF-1.7\n", "is a PDF, which has no cells; ask for the file it was made from", id="PDF"),
        pytest.param(f"{HEADER}\n\nA1,1,\0\n", "line 3, holds NUL bytes", id="a NUL"),
        pytest.param(f"{HEADER}\nA1,é,\0\n".encode("latin-1"), "line 2, holds NUL bytes", id="a NUL in Latin-1"),
        pytest.param(f"{HEADER}\rA1,1,x\r", "line 1, ends in a carriage return alone", id="old Macintosh"),
        pytest.param(f"{HEADER}\r" + "A1,1,x\r" * 200_000, "line 1, ends in a carriage return alone", id="a long one"),
        pytest.param(f"{HEADER}\n" + "x," * MAX_LINE, f"line 2, is longer than {MAX_LINE:,} bytes", id="a long line"),
        pytest.param(b"x," * MAX_LINE, "line 1, is longer than", id="a long header"),
        pytest.param(MARK + b"x," * MAX_LINE, "line 1, is longer than", id="a long header with a mark"),
        pytest.param(
            HEADER + "x" * csv.field_size_limit() + "\n", "row 1, cannot be read as a header", id="a long name"
        ),
    ],
)
def test_a_file_that_is_no_csv_is_one_sentence(tmp_path: Path, content: str | bytes, words: str) -> None:
    """The sentence names the file, the line where there is one, and what to do."""
    assert refusal(tmp_path, content).startswith(words)


def test_a_line_just_short_enough_is_read(tmp_path: Path) -> None:
    """The limit is one of bytes in a line with its end, and is not reached one byte early."""
    cell = "x" * (MAX_LINE // 8 - len(",")) + ","
    line = (cell * 8)[: -len(",")] + "\n"
    assert len(line) == MAX_LINE
    loaded = load(tmp_path, f"{HEADER},a,b,c,d,e\n{line}")
    assert not loaded.damage
    assert loaded.rows[0].values["redemptionId"] == "x" * (MAX_LINE // 8 - 1)


@pytest.mark.parametrize(("name", "words"), [("missing.csv", "No such file or directory"), ("", "Is a directory")])
def test_what_is_no_file_is_one_sentence(tmp_path: Path, name: str, words: str) -> None:
    """A missing file and a folder are named, with the system's reason."""
    with pytest.raises(InputFileError) as caught:
        take_snapshot(tmp_path / name, tmp_path / "input.csv", reading=Reading())
    assert str(caught.value) == f"{tmp_path / name} cannot be read: {words}."


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_file_is_one_sentence(tmp_path: Path) -> None:
    """So is a file that this user may not read."""
    (tmp_path / "corrections.csv").touch(mode=0)
    with pytest.raises(InputFileError, match=r"corrections\.csv cannot be read: Permission denied\."):
        take_snapshot(tmp_path / "corrections.csv", tmp_path / "input.csv", reading=Reading())


@pytest.mark.skipif(not BROKEN_DISK.exists(), reason="needs Linux's /proc")
def test_a_file_that_breaks_while_read_is_one_sentence(tmp_path: Path) -> None:
    """A read error names the file and the line it came at."""
    with pytest.raises(InputFileError, match=rf"{BROKEN_DISK}, line 1, cannot be read: Input/output error\."):
        take_snapshot(BROKEN_DISK, tmp_path / "input.csv", reading=Reading())


def test_a_snapshot_that_cannot_be_made_is_not_the_files_fault(tmp_path: Path) -> None:
    """The sentence names the snapshot and not the file, which is in order."""
    source, target = tmp_path / "corrections.csv", Path("/nowhere/at/all/input.csv")
    source.write_text(f"{HEADER}\nA1,1,x\n")
    with pytest.raises(ReportsFolderError) as caught:
        take_snapshot(source, target, reading=Reading())
    assert str(caught.value) == f"{target} cannot be written: No such file or directory."


def test_a_snapshot_on_a_full_disk_is_not_the_files_fault(
    tmp_path: Path, no_file_beyond: Callable[[int], AbstractContextManager[None]]
) -> None:
    """Nor when the disk takes only half of it."""
    source, target = tmp_path / "corrections.csv", tmp_path / "input.csv"
    source.write_text(f"{HEADER}\n" + "A1,1,x\n" * 1000)
    with no_file_beyond(4096), pytest.raises(ReportsFolderError) as caught:
        take_snapshot(source, target, reading=Reading())
    assert str(caught.value) == f"{target} cannot be written: File too large."


def syncs_of(action: Callable[[], object]) -> int:
    """Return how many times something was made durable."""
    heard = 0

    def listen(_frame: FrameType, event: str, subject: object) -> None:
        nonlocal heard
        heard += event == "c_call" and subject is os.fsync

    before = sys.getprofile()
    sys.setprofile(listen)
    try:
        action()
    finally:
        sys.setprofile(before)
    return heard


def test_a_snapshot_is_durable_unless_nobody_needs_that(tmp_path: Path) -> None:
    """A run's is, with its name in the folder; a check's is the same file and keeps no disk busy."""
    source, snapshots = tmp_path / "corrections.csv", [tmp_path / "run.csv", tmp_path / "check.csv"]
    source.write_text(f"{HEADER}\nA1,1,x\n")
    syncs = [
        syncs_of(partial(take_snapshot, source, snapshot, reading=Reading(), durable=durable))
        for snapshot, durable in zip(snapshots, (True, False), strict=True)
    ]
    assert syncs == [2, 0]
    assert snapshots[0].read_bytes() == snapshots[1].read_bytes()


def test_proceed_ends_the_reading(tmp_path: Path) -> None:
    """It is asked before every row, and what it raises comes through."""
    source = tmp_path / "corrections.csv"
    source.write_text(f"{HEADER}\nA1,1,x\n\nA3,1,x\n")
    asked: list[None] = []

    def proceed() -> None:
        asked.append(None)
        if len(asked) == 3:
            raise Stopping

    with pytest.raises(Stopping):
        take_snapshot(source, tmp_path / "input.csv", reading=Reading(), proceed=proceed)
    assert "A1" in (tmp_path / "input.csv").read_text()
    assert "A3" not in (tmp_path / "input.csv").read_text()


@pytest.mark.parametrize(
    "added",
    ["3,,,,A2,2,x,y\r\n4,,,,A3,3,x\r\n", '3,,,,A2,2,"x', "three,,,,A2,2,x\r\n", "3,,,,A2,2,\udcff\r\n"],
    ids=["a cell too many", "an open quote", "no row number", "no UTF-8"],
)
@pytest.mark.parametrize("before", [0, 1, CHUNK_CELLS])
def test_a_snapshot_that_was_changed_ends_the_run(tmp_path: Path, added: str, before: int) -> None:
    """No cell may stand under another's name: the sentence names the snapshot, and its rows are not sent."""
    snapshot = load(tmp_path, f"{HEADER}\n").snapshot
    with snapshot.open("a", errors="surrogateescape", newline="") as file:
        file.write("2,,,,A1,1,x\r\n" * before + added)
    with pytest.raises(JournalError, match=rf"^{snapshot} cannot be read any more"):
        list(read_rows(snapshot, map_columns(HEADER.split(","), {})))


def test_cells_come_with_their_row_and_its_damage(tmp_path: Path) -> None:
    """In the order of the columns used, which need not be that of the file; a row is the same as a value."""
    loaded = load(tmp_path, "Shop,billNumber,identifierValue,redemptionId\nRiga,x,1,A2\nRiga,x\n\n,,3,\n")
    cells = list(read_cells(loaded.snapshot, loaded.intake.columns))
    assert [(number, values, damage and damage.code) for number, values, damage in cells] == [
        (2, ("x", "1", "A2"), None),
        (3, ("", "", ""), "RAGGED_ROW"),
        (5, ("", "3", ""), None),
    ]
    assert [(row.row_number, row.damage) for row in loaded.rows] == [(number, damage) for number, _, damage in cells]


def peak(folder: Path, rows: int) -> int:
    """Return the most bytes that reading so many rows, in both passes, held at once."""
    source, snapshot = folder / f"{rows}.csv", folder / f"{rows}.snapshot.csv"
    with source.open("w") as file:
        file.write(f"{HEADER}\n")
        file.writelines(f"R{number:06},919900{number:06},B-{number:06}\n" for number in range(rows))
    tracemalloc.start()
    try:
        intake = take_snapshot(source, snapshot, reading=Reading())
        assert sum(1 for _ in read_rows(snapshot, intake.columns)) == rows
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Six chunks of rows take no more memory than two, save a quarter: both passes read as they go."""
    chunk = CHUNK_CELLS // (len(LEADING) + 3)
    few, many = peak(tmp_path, 2 * chunk), peak(tmp_path, 6 * chunk)
    assert many < 1.25 * few
