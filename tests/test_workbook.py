"""Workbooks: what stands in the CSV reports, cell by cell, in a form that a person may mend and send back."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkredeem.codes import MendBy
from bulkredeem.columns import OURS, RESULT_HEAD, RESULT_TAIL, is_ours
from bulkredeem.errors import BulkRedeemError, ConfigurationError, InputFileError, ReportError, Stopping
from bulkredeem.formulas import escape, unescape
from bulkredeem.loader import take_snapshot
from bulkredeem.model import DONE, Reading, Status
from bulkredeem.snapshot import read_records
from bulkredeem.summary import Ending, RunInfo, RunState, Step, Summary
from bulkredeem.workbook import NOT_DONE_XLSX, RESULTS_XLSX, require, workbooks_from
from bulkredeem.workbook.cells import MOST_CHARACTERS, flaw_of
from bulkredeem.workbook.telling import told

OWN = ("redemptionId", "note")
HEADER = (*RESULT_HEAD, *OWN, *RESULT_TAIL)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufffe\uffff")) | st.text(
    "_x005FfDd<r>/&;'\"=+-\t\r\n \x01\x0b😀"
)
SUMMARY = Summary(
    info=RunInfo(
        run_id="20260103T020000Z-4f1a",
        path="fixes.csv",
        sha256="",
        rows=3,
        started_at=1_767_405_600.0,
        environment="production",
    ),
    counts=dict.fromkeys(Status, 0) | {Status.SUCCESS: 1, Status.INVALID: 2},
    top_errors=(),
    mend_by={MendBy.FILE_OWNER: 2},
    ending=Ending(state=RunState.FINISHED, finished_at=1_767_405_610.0, requests=1, exit_code=1),
)


def line(row_number: int, status: str, *own: str) -> list[str]:
    """Return a line of a report, as cells."""
    return [str(row_number), status, "750", "", "", "", *map(escape, own), "", "200", "1", "", ""]


def write_results(folder: Path, lines: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> Path:
    """Write a `results.csv`."""
    path = folder / "results.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    return path


def write(results: Path, closing: str = "1 of 3 rows was updated.", **changes: Any) -> tuple[str, ...]:
    """Write the workbooks on it, beside it."""
    return workbooks_from(results, results.parent, SUMMARY, closing, **changes)


def read(path: Path, sheet: str = "rows") -> list[list[object]]:
    """Read a sheet as the loader's library does."""
    found = pd.read_excel(path, sheet_name=sheet, header=None, engine="calamine", dtype=object, na_filter=False)
    rows: list[list[object]] = found.to_numpy().tolist()
    return rows


def sheets(path: Path) -> list[str]:
    """Return the names of a workbook's sheets."""
    with pd.ExcelFile(path, engine="calamine") as book:
        return [str(name) for name in book.sheet_names]


def xml(path: Path, sheet: int = 1) -> str:
    """Return a sheet as it stands in the file."""
    with zipfile.ZipFile(path) as book:
        return book.read(f"xl/worksheets/sheet{sheet}.xml").decode()


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Give the folder of a run with a row of each status, whose workbooks are written."""
    rows = [line(number, status, f"AB{number:04}", "=1+1") for number, status in enumerate(Status, start=2)]
    assert write(write_results(tmp_path, rows)) == ()
    return tmp_path


@settings(max_examples=40)  # each makes two workbooks of many cells
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=12))
@example([("_x000D_", "_x005F_x000D_"), ("a\r\nb\x01", "_x000D_x000A_"), ("  lead", "trail\n")])
@example([("<r>&</r>", "<r><t>x</t></r>"), ("<r>", "</r>"), ("0001", "8878880000000000001")])
@example([("x" * MOST_CHARACTERS, "\U0001f600" * (MOST_CHARACTERS // 2)), ("TRUE", "#N/A"), ("1e5", "2026-01-01")])
def test_every_text_that_a_cell_can_hold_comes_back(own: list[tuple[str, str]]) -> None:
    """Whatever stood in the file, a reader of the workbook finds it as it stands in `results.csv`, as text."""
    lines = [line(number, "failed", *cells) for number, cells in enumerate(own, start=2)]
    with TemporaryDirectory() as folder:
        assert write(write_results(Path(folder), lines)) == ()
        found = read(Path(folder) / NOT_DONE_XLSX)
    assert found == [list(HEADER), *lines]
    assert [tuple(unescape(str(cell)) for cell in row[6:8]) for row in found[1:]] == own


def test_a_workbook_can_be_run(tmp_path: Path) -> None:
    """The loader finds in it what it had found in the file: every cell exact, and our columns gone."""
    header = (*RESULT_HEAD, "redemptionId", "billNumber", "identifierValue", *RESULT_TAIL)
    own = [("=1+1", "0001", "+919900000001"), ("_x000D_", "8878880000000000001", "a\rb"), ("<r>&</r>", " x", "1e5")]
    write(
        write_results(tmp_path, [line(number, "failed", *cells) for number, cells in enumerate(own, start=2)], header)
    )
    intake = take_snapshot(tmp_path / NOT_DONE_XLSX, tmp_path / "input.csv", reading=Reading())
    assert intake.columns.headers == ("redemptionId", "billNumber", "identifierValue")
    assert [record.cells for record in read_records(tmp_path / "input.csv")] == own


def test_each_workbook_has_the_rows_of_its_csv(written: Path) -> None:
    """All in the one, those that are not done in the other, in the file's order; the header is a report's."""
    (header, *rows), (_, *not_done) = read(written / RESULTS_XLSX), read(written / NOT_DONE_XLSX)
    assert is_ours([str(cell) for cell in header])
    assert [row[1] for row in rows] == list(Status)
    assert not_done == [row for row in rows if row[1] not in DONE]


def test_no_cell_is_anything_but_text(written: Path) -> None:
    """No formula, no number and no link is in the sheet: nothing can run, and no digit is lost."""
    found = xml(written / RESULTS_XLSX)
    assert "<f>" not in found
    assert "<hyperlink" not in found
    assert {kind for kind in re.findall(r'<c [^>]*?(?: t="(\w+)")?/?>', found) if kind} == {"inlineStr"}
    assert "<t>&#39;=1+1</t>" in found or "<t>'=1+1</t>" in found


def test_what_is_typed_stays_text(written: Path) -> None:
    """The columns have the number format of text, below the last row too."""
    with zipfile.ZipFile(written / RESULTS_XLSX) as book:
        styles = book.read("xl/styles.xml").decode()
    formats = re.findall(r"<xf numFmtId=\"(\d+)\"", styles.split("<cellXfs")[1])
    columns = re.findall(r'<col min="(\d+)" max="\d+" [^>]*style="(\d+)"', xml(written / RESULTS_XLSX))
    assert [int(column) for column, _ in columns] == list(range(1, len(HEADER) + 1))
    assert {formats[int(style)] for _, style in columns} == {"49"}  # Excel's number for "@"


def test_the_header_stays_in_sight_and_filters(written: Path) -> None:
    """The header is frozen, and every column with its rows has a filter."""
    found = xml(written / RESULTS_XLSX)
    assert 'state="frozen"' in found
    assert '<pane xSplit="2" ySplit="1"' in found
    assert '<autoFilter ref="A1:M8"/>' in found


def test_a_status_has_a_colour_of_its_own(written: Path) -> None:
    """Each of the seven has another format, and its name stands in the cell all the same."""
    styles = re.findall(r'<c r="B[2-9]" s="(\d+)"', xml(written / RESULTS_XLSX))
    assert len(set(styles)) == len(Status)


def test_more_rows_than_a_sheet_holds_go_on_in_the_next(tmp_path: Path) -> None:
    """Each sheet has the header, and together they have every row once, in order."""
    lines = [line(number, "failed", f"AB{number}", "") for number in range(2, 9)]
    write(write_results(tmp_path, lines), most_rows=4)
    path = tmp_path / NOT_DONE_XLSX
    assert sheets(path) == ["rows", "summary", "rows 2", "rows 3"]
    each = [read(path, sheet) for sheet in ("rows", "rows 2", "rows 3")]
    assert [len(rows) for rows in each] == [4, 4, 2]
    assert all(rows[0] == list(HEADER) for rows in each)
    assert [row for rows in each for row in rows[1:]] == lines


def test_a_run_that_left_nothing_has_a_workbook_without_rows(tmp_path: Path) -> None:
    """As `not_done.csv` has: the header alone."""
    write(write_results(tmp_path, [line(2, "success", "AB1", "")]))
    assert read(tmp_path / NOT_DONE_XLSX) == [list(HEADER)]


def test_the_second_sheet_tells_how_the_run_went(written: Path) -> None:
    """Environment, file, counts, who mends what, exit code and the closing sentence, each beside its label."""
    assert sheets(written / RESULTS_XLSX) == ["rows", "summary"]
    facts = {row[0]: row[1] for row in read(written / RESULTS_XLSX, "summary")}
    assert facts["verdict"] == "1 of 3 rows was updated."
    assert (facts["environment"], facts["file"], facts["exit code"]) == ("production", "fixes.csv", "1")
    assert str(facts["invalid"]).startswith("2: ")
    assert facts["file_owner"] == "2 rows, file owner."
    assert "apostrophe" in facts


def test_the_summary_says_what_each_has_to_do() -> None:
    """The step of whoever mends comes with its command."""
    step = Step(mend_by=MendBy.FILE_OWNER, count=2, words="Mend them:", command="bulkredeem run it.csv")
    assert ("file_owner", "2 rows, file owner. Mend them:\nbulkredeem run it.csv") in told(SUMMARY, "", [step])


def test_the_summary_explains_every_column_of_ours() -> None:
    """None is left to be guessed."""
    assert set(dict(told(SUMMARY, "", ()))) >= OURS


def test_the_summary_cannot_run_either(tmp_path: Path) -> None:
    """A sentence that begins like a formula is escaped, as a cell is."""
    write(write_results(tmp_path, []), closing="=1+1")
    assert ["verdict", "'=1+1"] in read(tmp_path / RESULTS_XLSX, "summary")


def test_the_same_report_has_the_same_rows_when_it_is_written_again(written: Path) -> None:
    """A workbook is a projection: written again, its sheets are the same to the byte."""
    before = xml(written / RESULTS_XLSX), xml(written / RESULTS_XLSX, 2)
    write(written / "results.csv")
    assert (xml(written / RESULTS_XLSX), xml(written / RESULTS_XLSX, 2)) == before


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("x" * (MOST_CHARACTERS + 1), "has a cell of more than 32,767 characters, which no workbook can hold"),
        ("\U0001f600" * (MOST_CHARACTERS // 2 + 1), "has a cell of more than 32,767 characters"),
        ("a\uffffb", "has a cell with a character that no workbook can hold"),
    ],
)
def test_a_workbook_that_cannot_hold_a_row_is_not_written(tmp_path: Path, cell: str, why: str) -> None:
    """A sentence says why, an older one is taken away, and the other workbook, without that row, is written."""
    (tmp_path / RESULTS_XLSX).write_text("of an earlier stretch")
    remark, *more = write(write_results(tmp_path, [line(2, "failed", "AB1", ""), line(3, "success", "AB2", cell)]))
    assert remark.startswith("results.xlsx is not written: ")
    assert why in remark
    assert remark.endswith("results.csv has all rows.")
    assert not (tmp_path / RESULTS_XLSX).exists()
    assert (tmp_path / NOT_DONE_XLSX).exists()
    assert not more


def test_a_cell_that_is_beyond_the_reader_is_beyond_a_workbook(tmp_path: Path) -> None:
    """Then neither is written."""
    cell = "x" * (csv.field_size_limit() + 1)
    remarks = write(write_results(tmp_path, [line(2, "failed", "AB1", cell)]))
    assert [remark.split(":")[0] for remark in remarks] == [
        "results.xlsx is not written",
        "not_done.xlsx is not written",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["results.csv"]


def test_more_columns_than_a_sheet_has_are_no_workbook(tmp_path: Path) -> None:
    """The header says so already."""
    header = (*HEADER, *map(str, range(16_384)))
    remarks = write(write_results(tmp_path, [], header))
    assert [remark.split(":")[0] for remark in remarks] == [
        "results.xlsx is not written",
        "not_done.xlsx is not written",
    ]
    assert "the header has 16,397 columns, and a sheet of a workbook has at most 16,384" in remarks[0]


def test_a_lone_surrogate_is_no_character_of_a_workbook() -> None:
    """No file of ours can hold one, and a sheet is not asked to."""
    assert flaw_of(["\ud800"]) == "has a cell with a character that no workbook can hold"


def refusing(error: BulkRedeemError, after: int) -> Callable[[], None]:
    """Return what raises an error when it is asked for the nth time."""
    left = iter(range(after))

    def proceed() -> None:
        if next(left, None) is None:
            raise error

    return proceed


@pytest.mark.parametrize("after", [0, 1, 2])
def test_the_writing_ends_when_it_is_asked_to(tmp_path: Path, after: int) -> None:
    """Nothing half-written is left behind, neither the workbook nor what the library had laid aside."""
    lines = [line(number, "failed", "AB1", "") for number in range(2, 700)]
    results = write_results(tmp_path, lines)
    with pytest.raises(Stopping):
        write(results, proceed=refusing(Stopping(), after))
    assert list(tmp_path.iterdir()) == [results]


def test_what_a_killed_process_left_is_taken_away(tmp_path: Path) -> None:
    """The next writing begins with an empty folder of its own, and leaves none."""
    (tmp_path / ".workbook.part").mkdir()
    (tmp_path / ".workbook.part" / "tmp1").write_text("half a sheet")
    write(write_results(tmp_path, []))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["not_done.xlsx", "results.csv", "results.xlsx"]


def test_a_folder_that_takes_no_file_is_an_error(tmp_path: Path) -> None:
    """The sentence names the workbook."""
    results = write_results(tmp_path, [])
    (tmp_path / ".workbook.part").write_text("a file stands where the folder has to be")
    with pytest.raises(ReportError, match=r"results\.xlsx could not be written: "):
        write(results)


@pytest.fixture
def _not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no library be found that is not loaded yet, and let this one not be loaded."""
    monkeypatch.delitem(sys.modules, "xlsxwriter", raising=False)
    monkeypatch.setattr(sys, "path", [])


@pytest.mark.usefixtures("_not_installed")
def test_without_the_extra_that_is_said_before_anything_is_written(tmp_path: Path) -> None:
    """The sentence is the command to install it."""
    results = write_results(tmp_path, [])
    with pytest.raises(ConfigurationError, match=r"--xlsx needs the extra: pip install 'bulkredeem\[xlsx\]'"):
        require()
    with pytest.raises(ConfigurationError):
        write(results)
    assert list(tmp_path.iterdir()) == [results]


def test_the_library_is_loaded_by_whoever_writes_alone() -> None:
    """Those who ask for no workbook do not wait for it, and need not have it."""
    code = "import sys, bulkredeem.workbook as w; w.require(); sys.exit('xlsxwriter' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_workbook_whose_rows_go_on_in_a_second_sheet_says_so(tmp_path: Path) -> None:
    """Which of them is meant must be said: to take the first alone would lose the others without a word."""
    write(write_results(tmp_path, [line(number, "failed", f"AB{number}", "") for number in range(2, 9)]), most_rows=4)
    with pytest.raises(InputFileError, match="has 4 sheets with rows: 'rows', 'summary', 'rows 2', 'rows 3'"):
        take_snapshot(tmp_path / NOT_DONE_XLSX, tmp_path / "input.csv", reading=Reading())
