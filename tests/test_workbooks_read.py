"""Workbooks as people have them: text exact, zeros that a format shows, and no date or error taken for an id."""

from __future__ import annotations

import datetime as dt
import io
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import xlsxwriter  # type: ignore[import-untyped]  # it says nothing of its types
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkredeem.columns import RESULT_HEAD, RESULT_TAIL
from bulkredeem.errors import InputFileError
from bulkredeem.formulas import escape
from bulkredeem.loader import Intake, peek, read_rows, take_snapshot
from bulkredeem.loader.formats import digits_of_format
from bulkredeem.model import Pattern, Reading, Row
from bulkredeem.snapshot import has_byte_order_mark, read_headers, read_records

HEADER = ["redemptionId", "identifierValue", "billNumber", "customFields.note", "when"]
Write = Callable[[Any, Any, int, int], object]
"""Writes a cell into a sheet of a workbook."""


def number(value: float, shown_as: str = "General") -> Write:
    """Return what writes a number in a number format."""
    return lambda book, sheet, row, column: sheet.write_number(
        row, column, value, book.add_format({"num_format": shown_as})
    )


def moment(value: dt.datetime | dt.date | dt.time, shown_as: str = "dd/mm/yyyy") -> Write:
    """Return what writes a moment."""
    return lambda book, sheet, row, column: sheet.write_datetime(
        row, column, value, book.add_format({"num_format": shown_as})
    )


def formula(value: str) -> Write:
    """Return what writes a formula with what it came to."""
    return lambda _, sheet, row, column: sheet.write_formula(row, column, "=Other!A1", None, value)


def truth(value: int) -> Write:
    """Return what writes a truth value."""
    return lambda _, sheet, row, column: sheet.write_boolean(row, column, bool(value))


Table = Sequence[Sequence[str | Write]]


def write_workbook(path: Path, sheets: Mapping[str, Table], hidden: Sequence[str] = ()) -> Path:
    """Write a workbook; text is written as text."""
    with xlsxwriter.Workbook(path) as book:
        for name, table in sheets.items():
            sheet = book.add_worksheet(name)
            if name in hidden:
                sheet.hide()
            for row, cells in enumerate(table):
                for column, cell in enumerate(cells):
                    if isinstance(cell, str):
                        sheet.write_string(row, column, cell)
                    else:
                        cell(book, sheet, row, column)
    return path


def load(path: Path, reading: Reading | None = None) -> tuple[Intake, list[Row]]:
    """Read a file in both passes, with the snapshot beside it."""
    snapshot = path.with_name("input.csv")
    intake = take_snapshot(path, snapshot, reading=reading or Reading())
    return intake, list(read_rows(snapshot, intake.columns))


def load_table(folder: Path, *rows: Sequence[str | Write], reading: Reading | None = None) -> tuple[Intake, list[Row]]:
    """Write a workbook with rows below the header, and read it."""
    return load(write_workbook(folder / "fixes.xlsx", {"Fixes": [HEADER, *rows]}), reading)


def snapshot_cells(folder: Path) -> list[tuple[int, list[str]]]:
    """Return number and cells of the rows of the snapshot."""
    return [(record.row_number, list(record.cells)) for record in read_records(folder / "input.csv")]


def refusal(path: Path, reading: Reading | None = None) -> str:
    """Return the one sentence about a workbook that cannot be read, without its name."""
    with pytest.raises(InputFileError) as caught:
        load(path, reading)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(path))
    return str(caught.value).removeprefix(str(path)).lstrip(", ")


def converted(path: Path, form: str) -> Path:
    """Return a workbook in another form, as LibreOffice writes it."""
    office = shutil.which("soffice")
    if not office:
        pytest.skip("needs LibreOffice")
    profile = f"-env:UserInstallation=file://{path.parent}/profile"
    command = [office, profile, "--headless", "--convert-to", form, "--outdir", str(path.parent), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path.with_suffix(f".{form}")


# Cells


CELL = st.text(
    alphabet=st.characters(exclude_characters="\ufffe\uffff", exclude_categories=["Cs"]), max_size=12
) | st.sampled_from(
    ["\r\n", "_x000D_", "_x005F_", " a ", "\t", "=1", "'", "000123", "1e5", "TRUE", "2026-01-02", "#N/A"]
)


@settings(deadline=None, max_examples=60)
@given(rows=st.lists(st.lists(CELL, min_size=5, max_size=5), max_size=6))
@example(rows=[["\r", "\x00", "\x1f", "\ufeff", "\u2028\x85"]])
def test_any_table_of_text_comes_back_exactly(rows: list[list[str]]) -> None:
    """Whatever a cell of text can hold; two code points that stand for no character are spelt out by its writer."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        load_table(folder, *rows)
        wanted = [(number, row) for number, row in enumerate(rows, start=2) if any(map(str.strip, row))]
        assert snapshot_cells(folder) == wanted


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (number(123, "000000"), "000123"),
        (number(1234567, "000000"), "1234567"),
        (number(-5, "000"), "-005"),
        (number(123, "[Red]0000;[Blue]-0000"), "0123"),
        (number(123, "0"), "123"),
        (number(123.0), "123"),
        (number(919900000001), "919900000001"),
        (number(0.1 + 0.2), "0.3"),
        (number(0.00001), "0.00001"),
        (number(999_999_999_999_999), "999999999999999"),
        (truth(1), "TRUE"),
        (truth(0), "FALSE"),
        (formula("B-7"), "B-7"),
    ],
)
def test_a_cell_is_what_a_person_sees_in_it(tmp_path: Path, write: Write, text: str) -> None:
    """Zeros of a format count, and no whole number gets decimals."""
    _, (row,) = load_table(tmp_path, ["A1", "1", write, "", ""])
    assert (row.damage, row.values["billNumber"]) == (None, text)


@pytest.mark.parametrize(
    ("code", "digits"),
    [
        ("000000", 6),
        ("000000;-000000", 6),
        ("[$-409]00000", 5),
        ("0", 0),
        ("General", 0),
        ("0.00", 0),
        ("00.0", 0),
        ("000-00", 0),
        ("@", 0),
        ("", 0),
    ],
)
def test_a_format_of_zeros_alone_adds_zeros(code: str, digits: int) -> None:
    """Any other one adds none."""
    assert digits_of_format(code) == digits


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (moment(dt.date(2026, 4, 3)), "2026-04-03"),
        (moment(dt.datetime(2026, 4, 3, 5, 6, 7), "dd/mm/yyyy hh:mm:ss"), "2026-04-03T05:06:07"),  # noqa: DTZ001  a cell has no zone
        (moment(dt.time(5, 6), "hh:mm"), "05:06:00"),
        (number(1.5, "[h]:mm"), "36:00:00"),
    ],
)
def test_a_moment_is_iso_text_where_it_may_stand(tmp_path: Path, write: Write, text: str) -> None:
    """In a custom field, and in a column that is only carried along."""
    _, (row,) = load_table(tmp_path, ["A1", "1", "x", write, write])
    assert row.values["customFields.note"] == text
    assert snapshot_cells(tmp_path)[0][1][-1] == text


DAMAGED = [
    pytest.param(moment(dt.date(2026, 4, 3)), "DATE_IN_CELL", id="date"),
    pytest.param(moment(dt.time(5, 6), "hh:mm"), "DATE_IN_CELL", id="time"),
    pytest.param(number(1.5, "[h]:mm"), "DATE_IN_CELL", id="duration"),
    pytest.param(number(1234567890123456), "NUMBER_TOO_LONG", id="16 digits"),
    pytest.param(number(1e20, "0"), "NUMBER_TOO_LONG", id="21 digits"),
    pytest.param(formula("#N/A"), "ERROR_IN_CELL", id="#N/A"),
    pytest.param(formula("#REF!"), "ERROR_IN_CELL", id="#REF!"),
    pytest.param(formula(""), "ERROR_IN_CELL", id="not calculated"),
]


@pytest.mark.parametrize(("write", "code"), DAMAGED)
@pytest.mark.parametrize("column", ["redemptionId", "identifierValue", "billNumber"])
def test_what_a_spreadsheet_has_damaged_makes_its_row_invalid(
    tmp_path: Path, write: Write, code: str, column: str
) -> None:
    """By name, also at the end of the sheet; the rows around are whole."""
    row: list[str | Write] = ["A2", "1", "x", "", ""]
    row[HEADER.index(column)] = write
    _, (first, second) = load_table(tmp_path, ["A1", "1", "x", "", ""], row)
    assert first.damage is None
    assert second.damage is not None
    assert (second.row_number, second.damage.code) == (3, code)
    assert second.damage.message.startswith(f"{column}: the cell holds")
    assert second.damage.detail.count(",") == 4


def test_all_that_is_wrong_with_a_row_is_named(tmp_path: Path) -> None:
    """Each column with its reason, in the file's order."""
    _, (row,) = load_table(tmp_path, [moment(dt.date(2026, 4, 3)), formula("#N/A"), "x", "", ""])
    assert row.damage is not None
    assert row.damage.code == "DATE_IN_CELL; ERROR_IN_CELL"
    assert "; identifierValue: the cell holds an error" in row.damage.message


def test_an_error_in_a_column_that_is_carried_along_is_its_text(tmp_path: Path) -> None:
    """It is sent nowhere; a long number stands there as it is, too."""
    _, rows = load_table(tmp_path, ["A1", "1", "x", "", formula("#N/A")], ["A2", "1", "x", "", number(1e16)])
    assert [row.damage for row in rows] == [None, None]
    assert [cells[-1] for _, cells in snapshot_cells(tmp_path)] == ["#N/A", "10000000000000000"]


# Rows, headers, sheets


def test_rows_have_the_numbers_that_a_spreadsheet_shows(tmp_path: Path) -> None:
    """Empty rows count, a title above the header is none, and columns without a name are carried along."""
    table = [["Fixes of November"], [], HEADER[:3], ["A1", "1", "x"], [" "], [], ["A2", "2", "y", "", "left over"]]
    intake, rows = load(write_workbook(tmp_path / "fixes.xlsx", {"Fixes": table}))
    assert [(row.row_number, row.values["redemptionId"]) for row in rows] == [(4, "A1"), (7, "A2")]
    assert intake.remarks == ("Header on line 3. 1 row above it is left out.",)
    assert read_headers(tmp_path / "input.csv") == (*HEADER[:3], "", "")
    assert has_byte_order_mark(tmp_path / "input.csv")


def test_a_table_that_begins_further_down_and_right(tmp_path: Path) -> None:
    """The empty column before it has no name."""
    table = [[], ["", *HEADER], ["", "A1", "1", "x", "", ""]]
    _, rows = load(write_workbook(tmp_path / "fixes.xlsx", {"Fixes": table}))
    assert [(row.row_number, row.values["billNumber"]) for row in rows] == [(3, "x")]


def test_lines_that_are_no_rows_are_left_out_of_a_sheet_too(tmp_path: Path) -> None:
    """Counted apart, as in a text."""
    reading = Reading(ignored=(Pattern.parse("redemptionId~^Total"),))
    intake, rows = load_table(
        tmp_path, ["A1", "1", "x", "", ""], ["Total", formula("#N/A"), "", "", ""], reading=reading
    )
    assert (len(rows), intake.rows, intake.ignored) == (1, 1, 1)
    assert intake.remarks == ("1 row was ignored: redemptionId~^Total.",)


TABLE: Table = [HEADER, ["A1", "1", "x", "", ""]]


def test_the_only_sheet_with_rows_is_read_and_said(tmp_path: Path) -> None:
    """Hidden sheets hold lists and lookups; they count only when nothing else does."""
    path = write_workbook(tmp_path / "fixes.xlsx", {"Notes": [], "Fixes": TABLE, "Lists": [["a"]]}, hidden=["Lists"])
    intake, rows = load(path)
    assert (len(rows), intake.remarks) == (1, ("Sheet 'Fixes' of 3.",))
    assert peek(path, Reading()).sheet == "Fixes"


@pytest.mark.parametrize(("wanted", "name"), [("Fixes", "A2"), ("fixes", "A2"), ("3", "A2"), ("1", "A1"), ("2", "A1")])
def test_a_sheet_is_chosen_by_name_or_number(tmp_path: Path, wanted: str, name: str) -> None:
    """A name that is a number comes first."""
    other: Table = [HEADER, ["A2", "1", "x", "", ""]]
    path = write_workbook(tmp_path / "fixes.xlsx", {"2": TABLE, "Old": [], "Fixes": other})
    assert load(path, Reading(sheet=wanted))[1][0].values["redemptionId"] == name


def test_which_sheet_is_meant_is_not_guessed(tmp_path: Path) -> None:
    """The sentence lists them."""
    path = write_workbook(tmp_path / "fixes.xlsx", {"May": TABLE, "June": TABLE, "Notes": []})
    assert refusal(path) == "has 2 sheets with rows: 'May', 'June'. Say which is meant with --sheet."
    assert refusal(path, Reading(sheet="July")) == "has no sheet 'July'; it has 'May', 'June', 'Notes'."
    assert refusal(path, Reading(sheet="Notes")) == "is empty: the first line must name the columns."
    empty = write_workbook(tmp_path / "empty.xlsx", {"May": [], "June": []})
    assert refusal(empty).startswith("is empty: no sheet has anything in it")


def test_a_report_of_ours_comes_back_from_a_workbook(tmp_path: Path) -> None:
    """Our columns are gone and the escapes undone, as from a CSV."""
    own = [*HEADER[:3], "=Shop"]
    cells = ["8878ru", "+919900000001", "'=x", "''-5"]
    ours = ["7", "refused", "750", "no", "file_owner", ""], ["", "200", "1", "sandbox-1", "2026-11-05T12:00:00Z"]
    header = [*RESULT_HEAD, *map(escape, own), *RESULT_TAIL]
    _, rows = load(write_workbook(tmp_path / "r.xlsx", {"R": [header, [*ours[0], *map(escape, cells), *ours[1]]]}))
    assert snapshot_cells(tmp_path) == [(2, cells)]
    assert read_headers(tmp_path / "input.csv") == tuple(own)
    assert [row.damage for row in rows] == [None]


# Other forms


def test_an_ods_says_as_much_as_an_xlsx(tmp_path: Path) -> None:
    """Zeros of a style, errors, dates and tabs in a text."""
    rows: Table = [
        ["A1", number(919900000001), number(123, "000000"), "a b", moment(dt.date(2026, 4, 3))],
        ["A2", "1", formula("#N/A"), "", ""],
        ["A3", "1", moment(dt.date(2026, 4, 3)), "", ""],
        ["A4", "1", number(1234567890123456), "", ""],
        ["A5", "1", number(1.5, "[h]:mm"), "", ""],
    ]
    path = converted(write_workbook(tmp_path / "fixes.xlsx", {"Fixes": [["Title"], HEADER, *rows], "B": []}), "ods")
    intake, (first, *others) = load(path)
    assert list(first.values.values()) == ["A1", "919900000001", "000123", "a b"]
    assert snapshot_cells(tmp_path)[0][1][-1] == "2026-04-03"
    codes = [row.damage.code for row in others if row.damage]
    assert codes == ["ERROR_IN_CELL", "DATE_IN_CELL", "NUMBER_TOO_LONG", "DATE_IN_CELL"]
    assert intake.remarks == ("Sheet 'Fixes' of 2.", "Header on line 2. 1 row above it is left out.")


ODS = """<?xml version="1.0" encoding="UTF-8"?>{doctype}
<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"
 xmlns:number="urn:oasis:names:tc:opendocument:xmlns:datastyle:1.0"
 xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0" office:version="1.2">
<office:automatic-styles>
<number:number-style style:name="N1"><number:number number:decimal-places="0" number:min-integer-digits="6"/>
</number:number-style>
<style:style style:name="zeros" style:family="table-cell" style:data-style-name="N1"/>
<style:style style:name="heir" style:family="table-cell" style:parent-style-name="zeros"/>
</office:automatic-styles>
<office:body><office:spreadsheet><table:table table:name="Fixes">
<table:table-column table:number-columns-repeated="2"/><table:table-column table:default-cell-style-name="heir"/>
<table:table-row>{header}</table:table-row>{rows}
</table:table></office:spreadsheet></office:body></office:document-content>"""


def write_ods(path: Path, rows: str, doctype: str = "") -> Path:
    """Write an .ods by hand, as no spreadsheet at hand writes it."""
    header = "".join(
        f'<table:table-cell office:value-type="string"><text:p>{name}</text:p></table:table-cell>' for name in HEADER
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr(
            "META-INF/manifest.xml",
            "<manifest:manifest xmlns:manifest='urn:oasis:names:tc:opendocument:xmlns:manifest:1.0'/>",
        )
        archive.writestr("content.xml", ODS.format(doctype=doctype, header=header, rows=rows))
    return path


def ods_text(inner: str) -> str:
    """Return a cell of text."""
    return f'<table:table-cell office:value-type="string"><text:p>{inner}</text:p></table:table-cell>'


def test_styles_of_columns_and_repeated_rows_of_an_ods_count(tmp_path: Path) -> None:
    """A tab in a text is one, a comment is none of it, and a truth value is its word."""
    seven = '<table:table-cell office:value-type="float" office:value="7"><text:p>000007</text:p></table:table-cell>'
    note = "<office:annotation><text:p>a note<text:tab/></text:p></office:annotation>"
    inner = '<text:p>a<text:tab/>b<text:s text:c="2"/><text:line-break/>c</text:p>'
    tabbed = f'<table:table-cell office:value-type="string">{note}{inner}</table:table-cell>'
    true = '<table:table-cell office:value-type="boolean" office:boolean-value="true"/>'
    row = f"{ods_text('A1')}{ods_text('1')}{seven}{tabbed}{true}"
    path = write_ods(tmp_path / "f.ods", f'<table:table-row table:number-rows-repeated="2">{row}</table:table-row>')
    load(path)
    assert snapshot_cells(tmp_path) == [(number, ["A1", "1", "000007", "a\tb  \nc", "TRUE"]) for number in (2, 3)]


def test_an_old_workbook_is_read_and_says_what_it_cannot_show(tmp_path: Path) -> None:
    """Its numbers and dates are there; its formats are not."""
    rows: Table = [["A1", number(919900000001), "007", "é", ""], ["A2", "1", moment(dt.date(2026, 4, 3)), "", ""]]
    path = converted(write_workbook(tmp_path / "fixes.xlsx", {"Fixes": [HEADER, *rows]}), "xls")
    intake, (first, second) = load(path)
    assert list(first.values.values()) == ["A1", "919900000001", "007", "é"]
    assert second.damage is not None
    assert second.damage.code == "DATE_IN_CELL"
    (remark,) = intake.remarks
    assert "zeros and signs that only a number format shows" in remark


# What cannot be read


def rewritten(path: Path, part: str, change: Callable[[bytes], bytes]) -> Path:
    """Change one part of a workbook."""
    packed = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, change(content) if name == part else content)
    return path


BOMB = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/styles.xml", "xl/workbook.xml"])
def test_a_document_type_is_refused(tmp_path: Path, part: str) -> None:
    """With one, a small file can unfold into any amount of memory."""
    path = write_workbook(tmp_path / "fixes.xlsx", {"Fixes": TABLE})
    rewritten(path, part, lambda xml: re.sub(rb"(<\?xml[^>]*>)", rb"\1" + BOMB, xml, count=1))
    assert refusal(path).startswith("is a workbook with a document type in it, which no spreadsheet writes: open it")


def test_a_document_type_in_an_ods_is_refused(tmp_path: Path) -> None:
    """There as well."""
    path = write_ods(tmp_path / "f.ods", "", BOMB.decode())
    assert refusal(path).startswith("is a workbook with a document type in it, which no spreadsheet writes: open it")


def test_a_sheet_that_spans_too_much_is_refused(tmp_path: Path) -> None:
    """One cell in the last corner would make a rectangle of billions."""
    path = tmp_path / "fixes.xlsx"
    with xlsxwriter.Workbook(path) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, HEADER)
        sheet.write_string(1_048_575, 16_383, "x")
        book.add_worksheet().write_string(0, 0, "x")
    assert refusal(path).startswith("is a workbook whose sheet spans more than 50,000,000 cells")


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda xml: xml[: len(xml) // 2],
        lambda xml: xml.replace(b'r="A', b'r="!').replace(b"<v>", b"<w>"),
    ],
    ids=["empty", "half", "nonsense"],
)
@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "xl/styles.xml"])
def test_a_damaged_workbook_is_one_sentence(tmp_path: Path, part: str, change: Callable[[bytes], bytes]) -> None:
    """Or is read, where what is damaged says nothing; never a traceback."""
    path = rewritten(write_workbook(tmp_path / "fixes.xlsx", {"Fixes": TABLE}), part, change)
    try:
        load(path)
    except InputFileError as exc:
        assert "\n" not in str(exc)  # noqa: PT017  both ways are fine


@settings(deadline=None, max_examples=60)
@given(cut=st.floats(0.01, 0.99), flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), max_size=4))
@pytest.mark.parametrize("form", ["xlsx", "ods"])
def test_no_damage_is_a_traceback(form: str, cut: float, flips: list[tuple[float, int]]) -> None:
    """Cut or flipped anywhere, a workbook is read or is one sentence."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"f.{form}"
        if form == "xlsx":
            write_workbook(path, {"Fixes": TABLE, "B": []})
        else:
            write_ods(path, f"<table:table-row>{ods_text('A1')}{ods_text('1')}{ods_text('x')}</table:table-row>")
        content = bytearray(path.read_bytes())
        for place, by in flips:
            content[int(place * len(content))] ^= by
        path.write_bytes(content if flips else content[: int(cut * len(content))])
        try:
            load(path)
        except InputFileError as exc:
            assert "\n" not in str(exc)  # noqa: PT017  both ways are fine


def test_without_the_extra_that_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the command to install it; a CSV needs nothing."""
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    path = write_workbook(tmp_path / "fixes.xlsx", {"Fixes": TABLE})
    assert refusal(path).startswith(
        "is a workbook, and reading one needs the extra: pip install 'bulkredeem[xlsx]'; or save it"
    )


def test_a_workbook_with_a_password_is_one_sentence(tmp_path: Path) -> None:
    """Microsoft wraps it in the container of old workbooks."""
    path = tmp_path / "fixes.xlsx"
    path.write_bytes(
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "EncryptedPackage".encode("utf-16-le") + bytes(99)
    )
    assert refusal(path) == "is a workbook with a password: save it without one."


def test_a_bug_of_the_engine_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It panics where it finds one, which is no error that Python programs expect; anything else passes through."""
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    path = write_workbook(tmp_path / "fixes.xlsx", {"Fixes": TABLE})
    tried = ((panic, InputFileError), (ImportError, InputFileError), (KeyboardInterrupt, KeyboardInterrupt))
    for error, expected in tried:

        def fail(*_: object, raised: type[BaseException] = error) -> None:
            raise raised

        engine = SimpleNamespace(
            load_workbook=fail, CalamineWorkbook=Path, CalamineError=OSError, PasswordError=EOFError
        )
        monkeypatch.setitem(sys.modules, "python_calamine", engine)
        with pytest.raises(expected):
            take_snapshot(path, tmp_path / "input.csv", reading=Reading())
