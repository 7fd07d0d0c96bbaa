"""Files as people really have them, each of which was once read as something else than what it shows."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter  # type: ignore[import-untyped]  # it says nothing of its types
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.columns import OURS, RESULT_HEAD, RESULT_TAIL, is_ours
from bulkredeem.errors import ConfigurationError, InputFileError
from bulkredeem.loader import Intake, peek, read_rows, take_snapshot
from bulkredeem.loader.formats import Format
from bulkredeem.loader.surveying import Extent, TooLargeError
from bulkredeem.loader.xlsx import survey_xlsx
from bulkredeem.model import Pattern, Reading, Row
from bulkredeem.settings import load_settings
from bulkredeem.snapshot import read_headers, read_records

HEADER = "redemptionId,identifierValue,billNumber"
NAMES = [*HEADER.split(","), "customFields.note"]
PLAIN = f"{HEADER}\nA1,1,x\n"
TOTALS = Reading(ignored=(Pattern.parse("redemptionId~^Total"),))
NO_TEXTS = ["idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "UTF\0-8"]


def read(path: Path, reading: Reading | None = None) -> tuple[Intake, list[Row]]:
    """Read a file in both passes, with the snapshot beside it."""
    snapshot = path.with_name("input.csv")
    intake = take_snapshot(path, snapshot, reading=reading or Reading(), durable=False)
    return intake, list(read_rows(snapshot, intake.columns))


def load(folder: Path, content: str | bytes, reading: Reading | None = None) -> tuple[Intake, list[Row]]:
    """Write a file, and read it."""
    path = folder / "fixes"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(path, reading)


def refusal(folder: Path, content: str | bytes, reading: Reading | None = None) -> str:
    """Return the one sentence or two about a file that cannot be read, without its name."""
    with pytest.raises(InputFileError) as caught:
        load(folder, content, reading)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(folder / "fixes")).lstrip(", ")


def damage(rows: Sequence[Row]) -> dict[int, str]:
    """Return of the damaged rows the code."""
    return {row.row_number: row.damage.code for row in rows if row.damage}


def own_cells(folder: Path) -> list[list[str]]:
    """Return the cells of the snapshot's rows."""
    return [list(record.cells) for record in read_records(folder / "input.csv")]


def book(folder: Path, fill: Callable[[Any, Any], object]) -> Path:
    """Return an .xlsx that has a header and what `fill` writes below it."""
    path = folder / "fixes.xlsx"
    with xlsxwriter.Workbook(path) as made:
        sheet = made.add_worksheet()
        sheet.write_row(0, 0, NAMES)
        fill(made, sheet)
    return path


def with_cell(folder: Path, column: int, value: float | str, shown_as: str) -> tuple[Intake, list[Row]]:
    """Read an .xlsx with a single row, in which one cell has a number format."""

    def fill(made: Any, sheet: Any) -> None:
        sheet.write_row(1, 0, ["A1", "1", "x", ""])
        sheet.write(1, column, value, made.add_format({"num_format": shown_as}))

    return read(book(folder, fill))


# What a number format shows


@pytest.mark.parametrize(
    ("value", "shown_as"),
    [
        (9777000001, '"+91"0'),
        (1234, '"INV-"0000'),
        (1234, "\\I\\N\\V0000"),
        (123456, "000-0000"),
        (612345678, '0#" "##" "##" "##" "##'),
        (919777000001, "0.00"),
        (919777000001, "0.00E+00"),
        (0.5, "0%"),
        (46000, "e"),
        (5, '"00"0'),
        (12345678, '"0"0000000'),
        (12345678, "\\00000000"),
        (7, '0" items"'),
        (7, "[$₹-4009] 0"),
        (5551234, "[<=9999999]000-0000;(000) 000-0000"),
        (5, ";;;"),
        (-5, "0;0"),
        (-5, "0;(0)"),
        (0, '0;-0;"none"'),
        (1234567, "0,"),
        (12.4, "0"),
        (12.4, "00000"),
        (5, "0##"),
        (-5, "[<0]0;0"),
        (-5, "[>=0]0;0"),
        (0, '[=0]"";General'),
        (7, "[>9]0"),
        (7, "0;[<0]0;00"),
        (0, "#"),
        (0, "#,###"),
        (0, "#.##"),
        (0, "# ###"),
        (612345678, "##\\ ##\\ ##\\ ##\\ ##"),
        (7, "0\\,000"),
        (12345678901234, "0.00"),
    ],
)
def test_a_number_that_is_shown_as_something_else_is_not_sent(tmp_path: Path, value: float, shown_as: str) -> None:
    """Neither what the cell holds is what a person has seen, nor can what it shows be made of it with certainty."""
    _, rows = with_cell(tmp_path, 2, value, shown_as)
    assert damage(rows) == {2: "FORMATTED_NUMBER"}
    assert rows[0].damage
    assert rows[0].damage.message.startswith("billNumber: the cell shows something else than it holds (number format ")


def test_the_format_that_shows_something_else_is_named(tmp_path: Path) -> None:
    """In the words of the spreadsheet, with what to do."""
    _, (row,) = with_cell(tmp_path, 1, 9777000001, '"+91"0')
    assert row.damage
    assert row.damage.message == (
        'identifierValue: the cell shows something else than it holds (number format "+91"0); format the column as text'
        " and fill it with what it shows, or show what it holds (format General)"
    )


@pytest.mark.parametrize(
    ("value", "shown_as", "text"),
    [
        (123, "00000", "00123"),
        (123, "[Red]00000_)", "00123"),
        (-123, "00000;[Red]-00000", "-00123"),
        (919777000001, "#,##0", "919777000001"),
        (919777000001, "0", "919777000001"),
        (919777000001, "#", "919777000001"),
        (919777000001, "@", "919777000001"),
        (919777000001, "[Blue]General", "919777000001"),
        (5, "????0", "5"),
        (5, "0;-0;;@", "5"),
        (12345678901234, "0.###############", "12345678901234"),
        (5, "0.###", "5"),
        (5, "#.##", "5"),
        (12.5, "0.###", "12.5"),
        (1998.9999999999998, "0", "1999"),
        (1998.9999999999998, "#,##0", "1999"),
        (1998.9999999999998, "00000", "01999"),
        (-1998.9999999999998, "00000", "-01999"),
        (919777000001, "[$-en-US]0", "919777000001"),
        (919777000001, "[$-409]0", "919777000001"),
        (919777000001, "# ##0", "919777000001"),
        (919777000001, "#\\ ###\\ ##0", "919777000001"),
        (1234567, "[>=10000000]##\\,##\\,##\\,##0;[>=100000]##\\,##\\,##0;##,##0", "1234567"),
        (7, '[=0]"";General', "7"),
        (7, "[Red][<0]-0;[Blue]0", "7"),
        (7, "[Red][<0]0;[Blue][>=0]00;General", "07"),
    ],
)
def test_a_format_that_shows_the_number_takes_nothing_away(
    tmp_path: Path, value: float, shown_as: str, text: str
) -> None:
    """Zeros in front count, colours and grouped thousands are no part of the number."""
    _, (row,) = with_cell(tmp_path, 2, value, shown_as)
    assert (row.damage, row.values.get("billNumber")) == (None, text)


@pytest.mark.parametrize(
    ("value", "shown_as", "text"),
    [
        (12.5, "0.00", "12.5"),
        (12, "#,##0.00", "12"),
        (0.1 + 0.2, "0.0", "0.3"),
        (0.5, "#.##", "0.5"),
        (12345678901234, "0.000000000000000", "12345678901234"),
        (12.345, "0.00", ""),
        (12.345, "0.##", ""),
        (0.5, "0%", ""),
    ],
)
def test_decimals_that_say_nothing_harm_no_custom_field(tmp_path: Path, value: float, shown_as: str, text: str) -> None:
    """12.50 is 12.5; but a number that is shown rounded, or as a share, is another one than a person sees."""
    _, rows = with_cell(tmp_path, 3, value, shown_as)
    assert damage(rows) == ({} if text else {2: "FORMATTED_NUMBER"})
    assert rows[0].values.get("customFields.note", "") == text


@pytest.mark.parametrize(("shown_as", "is_sent"), [("@", True), ("00000", True), ('"INV-"@', False), (";;;", False)])
def test_a_text_to_which_a_format_adds_is_not_sent_either(tmp_path: Path, shown_as: str, is_sent: bool) -> None:  # noqa: FBT001  a parameter
    """A format has a part for text, too."""
    _, rows = with_cell(tmp_path, 2, "abc", shown_as)
    assert damage(rows) == ({} if is_sent else {2: "FORMATTED_NUMBER"})


@pytest.mark.parametrize("number", [5, 27, 36, 50, 71])
def test_a_format_that_only_a_number_names_is_no_plain_one(tmp_path: Path, number: int) -> None:
    """What it shows depends on the country: a date, or money."""

    def fill(made: Any, sheet: Any) -> None:
        sheet.write_row(1, 0, ["A1", "1"])
        sheet.write_number(1, 2, 46000, made.add_format({"num_format": number}))

    (code,) = damage(read(book(tmp_path, fill))[1]).values()
    assert code in {"FORMATTED_NUMBER", "DATE_IN_CELL"}


def test_a_column_that_is_carried_along_may_show_what_it_likes(tmp_path: Path) -> None:
    """It is sent nowhere."""

    def fill(made: Any, sheet: Any) -> None:
        sheet.write_row(0, 4, ["Share"])
        sheet.write_row(1, 0, ["A1", "1", "x", ""])
        sheet.write(1, 4, 0.5, made.add_format({"num_format": "0%"}))

    _, rows = read(book(tmp_path, fill))
    assert damage(rows) == {}
    assert own_cells(tmp_path)[0][-1] == "0.5"


@given(
    code=st.text(alphabet='0#?,.;"\\_*[]@-$%eE +/()hmyGneral<>=', max_size=16)
    | st.from_regex(r"(\[[<>=]=?-?[0-9]\])?[#?]{0,3}(,##)?0{0,20}(\.[0#?]{0,30})?", fullmatch=True),
    value=st.floats() | st.integers(-9, 99),
)
def test_any_format_says_something_of_any_number(code: str, value: float) -> None:
    """Whatever somebody has typed: never an error."""
    shown_by = Format(code)
    assert shown_by.of_number(value) is None or not shown_by.is_general


def test_a_number_too_long_for_its_decimals_harms_no_column_that_is_carried_along(tmp_path: Path) -> None:
    """Sheets of Google have this format in every cell, and a number may be as large as it likes."""

    def fill(made: Any, sheet: Any) -> None:
        sheet.write_row(0, 4, ["Card", "Mass"])
        sheet.write_row(1, 0, ["A1", "1", "x", ""])
        sheet.write(1, 4, 12345678901234, made.add_format({"num_format": "0.###############"}))
        sheet.write(1, 5, 1e27, made.add_format({"num_format": "#,##0.00"}))

    _, rows = read(book(tmp_path, fill))
    assert damage(rows) == {}
    assert own_cells(tmp_path)[0][-2:] == ["12345678901234", "1000000000000000013287555072"]


ERROR = '<x:c{place} t="e"><x:v>#N/A</x:v></x:c>'


@pytest.mark.parametrize(
    ("rows", "places"),
    [
        ([(' r="3"', ["B3", "AB3"]), (' r="15"', ["A15", "", "AB15"])], {(2, 1), (2, 27), (14, 0), (14, 1), (14, 27)}),
        ([("", ["", ""]), ("", ["", "C2", ""])], {(0, 0), (0, 1), (1, 0), (1, 2), (1, 3)}),
        ([("", ["A5", "B5", "A15"]), ("", ["a1", "$B$2", "7"])], {(4, 0), (4, 1), (14, 0), (15, 0), (15, 1), (15, 2)}),
    ],
)
def test_a_cell_is_where_it_says_or_else_beside_the_one_before(
    rows: list[tuple[str, list[str]]], places: set[tuple[int, int]]
) -> None:
    """Whatever the program that wrote it leaves out."""
    written = "".join(
        f"<x:row{row}>" + "".join(ERROR.format(place=f' r="{place}"' if place else "") for place in cells) + "</x:row>"
        for row, cells in rows
    )
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("xl/workbook.xml", '<w xmlns:r="r"><sheet name="S" r:id="1"/></w>')
        archive.writestr("xl/_rels/workbook.xml.rels", '<r><Relationship Id="1" Target="s.xml"/></r>')
        archive.writestr("xl/s.xml", f'<x:worksheet xmlns:x="x">{written}</x:worksheet>')
        assert set(survey_xlsx(archive, "S").notes) == places


# The same in an .ods


ODS = """<?xml version="1.0" encoding="UTF-8"?>
<office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"
 xmlns:number="urn:oasis:names:tc:opendocument:xmlns:datastyle:1.0"
 xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0" office:version="1.2">
<office:automatic-styles>
<number:number-style style:name="N1"><number:number number:decimal-places="0" number:min-integer-digits="1"/>
</number:number-style>
<number:number-style style:name="N3">
<number:number number:decimal-places="0" number:min-integer-digits="1" number:grouping="true"/></number:number-style>
<number:number-style style:name="N4"><number:text>A-</number:text>
<number:number number:decimal-places="0" number:min-integer-digits="4"/></number:number-style>
<style:style style:name="whole" style:family="table-cell" style:data-style-name="N1"/>
<style:style style:name="grouped" style:family="table-cell" style:data-style-name="N3"/>
<style:style style:name="with-text" style:family="table-cell" style:data-style-name="N4"/>
</office:automatic-styles>
<office:body><office:spreadsheet><table:table table:name="Fixes">
<table:table-column table:number-columns-repeated="2"/><table:table-column table:visibility="collapse"/>
{rows}</table:table></office:spreadsheet></office:body></office:document-content>"""


def ods_cell(content: str, **attributes: str) -> str:
    """Return a cell that shows this; without attributes, one of text."""
    written = "".join(f' {name.replace("__", ":").replace("_", "-")}="{value}"' for name, value in attributes.items())
    kind = written or ' office:value-type="string"'
    return f"<table:table-cell{kind}><text:p>{content}</text:p></table:table-cell>"


def number_cell(shown: str, value: float, style: str = "") -> str:
    """Return a cell with a number that is shown so."""
    return ods_cell(shown, table__style_name=style, office__value_type="float", office__value=str(value))


def load_ods(folder: Path, *cells: str, visibility: str = "visible") -> tuple[Intake, list[Row]]:
    """Read an .ods with a single row, given from the third cell on."""
    header = "".join(map(ods_cell, NAMES))
    row = "".join([ods_cell("A1"), ods_cell("1"), *cells])
    rows = (
        f"<table:table-row>{header}</table:table-row>"
        f'<table:table-row table:visibility="{visibility}">{row}</table:table-row>'
    )
    path = folder / "fixes.ods"
    manifest = "<manifest:manifest xmlns:manifest='urn:oasis:names:tc:opendocument:xmlns:manifest:1.0'/>"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", manifest)
        archive.writestr("content.xml", ODS.format(rows=rows))
    return read(path)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (number_cell("123-45-6789", 123456789, "whole"), ""),
        (number_cell("A-0077", 77, "with-text"), ""),
        (number_cell("12", 12.4, "whole"), ""),
        (number_cell("50%", 0.5), ""),
        (number_cell("919,777,000,001", 919777000001), "919777000001"),
        (number_cell("919.777.000.001", 919777000001, "grouped"), "919777000001"),
        (number_cell("919,777,000,001", 919777000001, "with-text"), "919777000001"),
        (number_cell(" 1,234,567 ", 1234567, "with-text"), "1234567"),
        (number_cell("12,34,567", 1234567, "with-text"), "1234567"),
        (number_cell("-1,234", -1234, "with-text"), "-1234"),
        (number_cell("(1,234)", -1234, "with-text"), ""),
        (number_cell("061 234 567", 61234567, "with-text"), ""),
        (number_cell("12 34 56 78", 12345678, "with-text"), ""),
        (number_cell("1999", 1998.9999999999998, "whole"), "1999"),
        (number_cell("1,999", 1998.9999999999998, "grouped"), "1999"),
        (number_cell("01999", 1998.9999999999998, "whole"), "01999"),
        (number_cell("9197770,00001", 919777000001, "grouped"), ""),
        (number_cell("000077", 77, "whole"), "000077"),
        (number_cell("12,5", 12.5), "12.5"),
        (number_cell("77", 77, "with-text"), "77"),
    ],
)
def test_a_number_of_an_ods_is_what_stands_beside_it(tmp_path: Path, cell: str, text: str) -> None:
    """There a person's view is part of the file: what differs from the number by more than zeros is not sent."""
    _, rows = load_ods(tmp_path, cell)
    assert damage(rows) == ({} if text else {2: "FORMATTED_NUMBER"})
    assert rows[0].values.get("billNumber", "") == text


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (ods_cell("36:30", office__value_type="time", office__time_value="PT36H29M59.999S"), "36:30:00"),
        (ods_cell("-1:05", office__value_type="time", office__time_value="-PT01H05M00S"), "-01:05:00"),
        (
            ods_cell("1/11/26", office__value_type="date", office__date_value="2026-11-01T12:29:59.999999999"),
            "2026-11-01T12:30:00",
        ),
        (number_cell("TRUE", 1), "TRUE"),
        (number_cell("FALSCH", 0), "FALSE"),
        (number_cell("1", 1), "1"),
        (number_cell("12.50", 12.5, "whole"), "12.5"),
        (number_cell("1.234,50", 1234.5, "grouped"), "1234.5"),
    ],
)
def test_moments_and_truth_values_of_an_ods_are_those_of_an_xlsx(tmp_path: Path, cell: str, text: str) -> None:
    """To the second, and in words."""
    _, (row,) = load_ods(tmp_path, ods_cell("x"), cell)
    assert (row.damage, row.values.get("customFields.note")) == (None, text)


@pytest.mark.parametrize(
    "cell",
    [
        ods_cell("x", office__value_type="time", office__time_value=f"PT{'9' * 20}H00M00S"),
        number_cell("9" * 400, float("inf")),
    ],
)
def test_a_number_beyond_all_bounds_is_damage_and_no_crash(tmp_path: Path, cell: str) -> None:
    """No spreadsheet writes one; somebody may."""
    with pytest.raises(InputFileError, match="cannot be read, so it is damaged or not whole"):
        load_ods(tmp_path, ods_cell("x"), cell)


# What is hidden


def test_hidden_rows_and_columns_are_taken_and_said(tmp_path: Path) -> None:
    """A filter hides rows and deletes none; an empty one is no row at all."""

    def fill(_: Any, sheet: Any) -> None:
        for row in range(1, 5):
            sheet.write_row(row, 0, [f"A{row}", "1", "x", ""])
        for row in (1, 3, 7):
            sheet.set_row(row, None, None, {"hidden": True})
        sheet.set_column(2, 2, None, None, {"hidden": True})

    intake, rows = read(book(tmp_path, fill))
    assert len(rows) == 4
    assert intake.remarks == ("2 hidden rows are taken, too.", "Hidden columns are used, too: billNumber.")


@pytest.mark.parametrize("visibility", ["filter", "collapse"])
def test_what_is_hidden_in_an_ods_is_said_too(tmp_path: Path, visibility: str) -> None:
    """By a filter, or by hand."""
    intake, _ = load_ods(tmp_path, ods_cell("x"), visibility=visibility)
    assert intake.remarks == ("1 hidden row is taken, too.", "Hidden columns are used, too: billNumber.")


def test_a_cell_far_away_from_the_table_is_refused(tmp_path: Path) -> None:
    """What is between would be held, too; a long sheet with many empty cells is not far away."""
    far = book(tmp_path, lambda _, sheet: sheet.write(1_048_575, 40, "x"))
    with pytest.raises(InputFileError, match=r"spans 42,991,616 cells, of which 5 have something in them: delete what"):
        read(far)
    assert read(book(tmp_path, lambda _, sheet: sheet.write(99_999, 9, "x")))[0].rows == 1


def test_a_cell_far_to_the_right_of_the_table_is_refused(tmp_path: Path) -> None:
    """There as well."""

    def fill(_: Any, sheet: Any) -> None:
        for row in range(1, 400):
            sheet.write(row, 0, "A1")
        sheet.write(399, 16_000, "x")

    with pytest.raises(InputFileError, match="spans 6,400,400 cells, of which 404 have something in them: delete what"):
        read(book(tmp_path, fill))


def test_a_wide_sheet_of_which_each_row_fills_a_few_columns_is_not_far_away() -> None:
    """What counts is how many rows have something in them, and that some row goes over the columns."""
    extent = Extent()
    extent.reach(0, 39, columns=40)
    for row in range(1, 130_000):
        extent.reach(row, 2, columns=3)
    assert extent.survey({}).rows == 130_000


@pytest.mark.parametrize("again", [(1, 1), (1_000_000, 1), (1, 3)])
def test_rows_and_columns_that_are_said_once_for_many_count_as_so_many(again: tuple[int, int]) -> None:
    """An .ods says how often a cell is repeated; too large a rectangle is refused at once."""
    rows, columns = again
    extent = Extent()
    extent.reach(0, 39, columns=40)
    extent.reach(999_999, 39, rows=rows, columns=columns)
    if rows > 1:
        assert extent.survey({}).rows == 1_000_000
    else:
        with pytest.raises(TooLargeError, match=rf"spans 40,000,000 cells, of which {40 + columns} have"):
            extent.survey({})
    with pytest.raises(TooLargeError, match="spans more than 50,000,000 cells"):
        extent.reach(2_000_000, 39)


# Totals


@pytest.mark.parametrize(
    "line", ["Total\n", "Total,2\n", "Total,1,2,3\n", "Total,,\n", "Total", "Total,,1", '"Total",']
)
def test_a_total_is_known_however_many_cells_it_has(tmp_path: Path, line: str) -> None:
    """Also as the last line, without an end."""
    intake, rows = load(tmp_path, f"{PLAIN}{line}", TOTALS)
    assert (len(rows), intake.rows, intake.ignored, damage(rows)) == (1, 1, 1, {})


def test_half_a_last_line_is_not_ignored_for_what_it_lacks(tmp_path: Path) -> None:
    """The bill number may have stood in the half that is missing; of a whole line, what is not there is empty."""
    reading = Reading(ignored=(Pattern.parse("billNumber~^$"),))
    for line in ("A2,2", "A2,2,"):
        intake, rows = load(tmp_path, f"{PLAIN}{line}", reading)
        assert (damage(rows), intake.ignored) == ({3: "UNTERMINATED_ROW"}, 0)
    assert load(tmp_path, f"{PLAIN}A2,2\n", reading)[0].ignored == 1
    assert load(tmp_path, f"{PLAIN}A2,2,", Reading(ignored=reading.ignored, allow_unterminated=True))[0].ignored == 1


# Quotes behind blanks, headers that repeat, tables that are stacked


def test_quotes_behind_a_blank_are_not_part_of_a_value(tmp_path: Path) -> None:
    """They enclose nothing there; a cell that is quoted itself may begin so."""
    _, rows = load(tmp_path, f'{HEADER},note\nA1, 1, "x", "y"\nA2,2," ""x""",y\nA3,3,x, "y"\nA4,4, x,y\n')
    assert damage(rows) == {2: "BAD_QUOTES"}
    assert rows[0].damage
    assert rows[0].damage.message.startswith("billNumber: a blank stands before the opening quote")
    assert rows[1].values["billNumber"] == ' "x"'


def test_each_cell_is_looked_at_in_its_own_place(tmp_path: Path) -> None:
    """A line may hold the same text twice: once in quotes that enclose it, once behind a blank in a cell not used."""
    _, rows = load(tmp_path, f'{HEADER},note\nA1,1," ""x""", "x"\nA2,2, "x"," ""x"""\n"A\n3",3," ""x""", "x"\n')
    assert damage(rows) == {3: "BAD_QUOTES"}
    assert rows[0].values["billNumber"] == ' "x"'


def test_a_blank_before_the_quotes_of_the_first_cell_is_seen(tmp_path: Path) -> None:
    """No delimiter stands before it; and whatever the delimiter is."""
    content = ' "A1";1;x\n" ""A2""";2;x\nA3;3;\t"x"\n'
    _, rows = load(tmp_path, f"{HEADER.replace(',', ';')}\n{content}")
    assert damage(rows) == {2: "BAD_QUOTES", 4: "BAD_QUOTES"}


def test_a_header_with_quotes_behind_blanks_says_so(tmp_path: Path) -> None:
    """And not only that a column is missing."""
    words = refusal(tmp_path, '"redemptionId", "identifierValue", "billNumber"\n"A1", "1", "x"\n')
    assert words.startswith('row 1 (the header): A blank stands before the opening quote of "identifierValue", so')


AGAIN = [
    HEADER,
    f"\ufeff{HEADER}",
    '"redemptionId", identifierValue,"billNumber"',
    HEADER.replace(",", ", "),
    f" {HEADER}\t",
]


@pytest.mark.parametrize("again", AGAIN)
def test_a_header_among_the_rows_is_none_of_them(tmp_path: Path, again: str) -> None:
    """Files that were put together bring theirs along, one with a byte order mark."""
    _, rows = load(tmp_path, f"{PLAIN}{again}\nA2,2,y\n")
    assert damage(rows) == {3: "REPEATED_HEADER"}
    reading = Reading(ignored=(Pattern.parse("identifierValue~^ ?identifierValue"),))
    assert load(tmp_path, f"{PLAIN}{again}\nA2,2,y\n", reading)[0].ignored == 1


@pytest.mark.parametrize("again", AGAIN)
@pytest.mark.parametrize(
    "first", ["redemptionId, identifierValue ,billNumber", '"redemptionId","identifierValue","billNumber"']
)
def test_blanks_and_quotes_of_either_header_do_not_hide_the_other(tmp_path: Path, first: str, again: str) -> None:
    """They are the same names."""
    _, rows = load(tmp_path, f"{first}\nredemptionId,1,x\n{again}\nA2,2,billNumber\n")
    assert damage(rows) == {3: "REPEATED_HEADER"}


def test_a_header_among_the_rows_of_a_sheet_is_none_of_them(tmp_path: Path) -> None:
    """There as well."""
    _, rows = read(book(tmp_path, lambda _, sheet: sheet.write_row(1, 0, NAMES)))
    assert damage(rows) == {2: "REPEATED_HEADER"}


STACKED = f"redemptionId,billNumber\nA1,x\n\n{PLAIN}"


def test_two_tables_in_one_file_are_not_taken_for_one(tmp_path: Path) -> None:
    """The rows of the upper one would go without a word; whoever names the header has decided."""
    assert refusal(tmp_path, STACKED).startswith("row 4, is a header, and row 1 above it looks like one, too")
    intake, rows = load(tmp_path, STACKED, Reading(header_row=4))
    assert [row.row_number for row in rows] == [5]
    said = "Header on line 4. 2 rows above it are left out. Row 1 looks like a header, too."
    assert intake.remarks == (said,)
    assert peek(tmp_path / "fixes", Reading()).remarks == (said,)


def test_a_title_may_hold_the_name_of_a_column(tmp_path: Path) -> None:
    """One word makes no header."""
    intake, _ = load(tmp_path, f"Purpose,Corrections\n{PLAIN}")
    assert intake.remarks == ("Header on line 2. 1 row above it is left out.",)


def test_two_tables_on_one_sheet_are_not_taken_for_one(tmp_path: Path) -> None:
    """There as well."""
    path = tmp_path / "fixes.xlsx"
    with xlsxwriter.Workbook(path) as made:
        sheet = made.add_worksheet()
        for row, line in enumerate(csv.reader(io.StringIO(STACKED))):
            sheet.write_row(row, 0, line)
    with pytest.raises(InputFileError, match="row 4, is a header, and row 1 above it looks like one, too"):
        read(path)


@pytest.mark.parametrize(("above", "words"), [("\n" * 20, "has nothing in its first 20 rows"), ("", "is empty: ")])
def test_a_header_below_twenty_blank_rows_is_not_an_empty_file(tmp_path: Path, above: str, words: str) -> None:
    """The sentence must be true."""
    assert refusal(tmp_path, f"{above}{PLAIN}" if above else "\n\n").startswith(words)
    if above:
        path = tmp_path / "fixes.xlsx"
        with xlsxwriter.Workbook(path) as made:
            made.add_worksheet().write_row(20, 0, NAMES)
        with pytest.raises(InputFileError, match=words):
            read(path)


# Reports of ours from which somebody has deleted columns


@pytest.mark.parametrize(
    "header",
    [
        [*RESULT_HEAD[1:], *NAMES, *RESULT_TAIL],
        [*NAMES, *RESULT_TAIL],
        [*RESULT_HEAD[1:], *NAMES],
        [*NAMES, *RESULT_HEAD],
        [*(name for name in RESULT_HEAD if name != "mend_by"), *NAMES, *RESULT_TAIL[:-1]],
        [*RESULT_HEAD[1:4], "reason", *NAMES, *RESULT_TAIL[:-1]],
        ["status", "error_message", "mend_by", *NAMES],
    ],
)
def test_a_report_is_known_without_its_first_columns(tmp_path: Path, header: list[str]) -> None:
    """So that its apostrophes do not stay in the values."""
    own = {"redemptionId": "A1", "identifierValue": "'+919777000001", "billNumber": "'-x"}
    _, (row,) = load(tmp_path, f"{','.join(header)}\n{','.join(own.get(name, '') for name in header)}\n")
    assert row.values["identifierValue"] == "+919777000001"
    assert row.values["billNumber"] == "-x"
    assert not OURS & set(read_headers(tmp_path / "input.csv"))


@pytest.mark.parametrize(
    "header",
    [
        [*NAMES, "status", "reason"],
        [*NAMES, "status", "error_code", "error_message", "http_status", "attempts", "request_id"],
        ["status", *RESULT_HEAD],
        [*NAMES, "mend_by", "status", "reason"],
        [*NAMES, "status", "reason", "warnings", "attempts"],
        ["row_number", "status", "reason", "warnings", "attempts", "request_id", *NAMES],
        [*NAMES, "status", "error_message"],
    ],
)
def test_a_file_with_columns_called_as_ours_is_no_report(header: list[str]) -> None:
    """Some names are anybody's, and a report has none of them twice."""
    assert not is_ours(header)


# Encodings, sheets, archives


@pytest.mark.parametrize("encoding", NO_TEXTS)
def test_what_no_file_is_written_in_is_no_encoding(tmp_path: Path, encoding: str) -> None:
    """As a setting, and where the file is read."""
    with pytest.raises(ConfigurationError, match="is no encoding; utf-8, utf-16 and cp1252 are"):
        load_settings({"encoding": encoding})
    assert refusal(tmp_path, PLAIN, Reading(encoding=encoding)).startswith("cannot be read as ")


def test_a_sheet_of_what_has_none_is_said(tmp_path: Path) -> None:
    """Somebody may have named the wrong file."""
    assert load(tmp_path, PLAIN, Reading(sheet="2"))[0].remarks == (
        "The file is no workbook, so --sheet says nothing.",
    )


def test_what_a_mac_adds_to_an_archive_plays_no_part(tmp_path: Path) -> None:
    """Also beside the file, and not in a folder of its own."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("night/fixes.csv", PLAIN)
        archive.writestr("night/._fixes.csv", b"\0\5\x16\7")
    assert load(tmp_path, packed.getvalue())[0].rows == 1
