"""Any text that a cell can hold comes back identical: from a file, through the reports, into a run of what is left."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkredeem.loader import take_snapshot
from bulkredeem.model import Outcome, Reading, Status
from bulkredeem.report import RESULTS, write_results
from bulkredeem.snapshot import read_records
from bulkredeem.summary import NOT_DONE, Ending, RunInfo, RunState
from bulkredeem.workbook import NOT_DONE_XLSX, workbooks_from

HEADER = ("redemptionId", "billNumber", "identifierValue", "a note, of =mine")
CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufffe\uffff"), max_size=20)
"""What a text file in UTF-8 can hold, but for NUL, which is refused, and for what XML has no way to say."""
AWKWARD = st.sampled_from(
    [
        *("=1+1", "'=1", "''+91", "+919900000001", "-5", "@SUM(1)", "\ttab", "\rcr", "a\r\nb", 'q"q', "a,b", "00012"),
        *("8878E2", "NA", "1e5", " x ", "_x000D_", "_x005F_", "<r>&</r>", "=", "'", "\ufeff"),
    ]
)
ROWS = st.lists(
    st.lists(CELL | AWKWARD, min_size=4, max_size=4).filter(lambda row: any(map(str.strip, row))), max_size=4
)


def snapshot_of(path: Path, folder: Path) -> list[tuple[int, tuple[str, ...]]]:
    """Return number and cells of each row of a file, as a run takes them in."""
    folder.mkdir()
    intake = take_snapshot(path, folder / "input.csv", reading=Reading(), durable=False)
    assert intake.columns.headers == HEADER
    return [(record.row_number, record.cells) for record in read_records(folder / "input.csv")]


def left_of(folder: Path, snapshot: Path, numbers: Sequence[int]) -> None:
    """Write all reports of a run over a snapshot in which no row came through."""
    outcomes = [Outcome(row_number=number, status=Status.FAILED, error_code="TIMEOUT") for number in numbers]
    tally = write_results(folder, snapshot, outcomes)
    info = RunInfo(run_id="r", path="fixes.csv", sha256="", rows=len(numbers), started_at=0.0)
    ending = Ending(state=RunState.FINISHED, finished_at=1.0, requests=0, exit_code=1)
    assert workbooks_from(folder / RESULTS, folder, tally.summary(info, ending), "It ended.") == ()


@settings(max_examples=40)  # each makes a snapshot, two files and two workbooks, twice
@given(rows=ROWS)
def test_what_is_left_of_a_file_is_what_stood_in_it(rows: list[list[str]]) -> None:
    """As CSV and as workbook, and once more from what is left of that."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "fixes.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([HEADER, *rows])
        first = snapshot_of(folder / "fixes.csv", folder / "first")
        assert [cells for _, cells in first] == [tuple(row) for row in rows]
        left_of(folder / "first", folder / "first" / "input.csv", [number for number, _ in first])
        for left in (NOT_DONE, NOT_DONE_XLSX):
            again = snapshot_of(folder / "first" / left, folder / left.replace(".", "_"))
            assert [cells for _, cells in again] == [cells for _, cells in first]
        second = folder / NOT_DONE.replace(".", "_")
        left_of(second, second / "input.csv", [number for number, _ in first])
        third = snapshot_of(second / NOT_DONE_XLSX, folder / "third")
        assert [cells for _, cells in third] == [cells for _, cells in first]


@pytest.mark.parametrize("left", [NOT_DONE, NOT_DONE_XLSX])
def test_an_empty_rest_is_a_file_without_rows(tmp_path: Path, left: str) -> None:
    """A run that left nothing has a header to show, and running it sends nothing."""
    (tmp_path / "fixes.csv").write_text('redemptionId,billNumber,identifierValue,"a note, of =mine"\n')
    snapshot_of(tmp_path / "fixes.csv", tmp_path / "run")
    left_of(tmp_path / "run", tmp_path / "run" / "input.csv", [])
    assert snapshot_of(tmp_path / "run" / left, tmp_path / "again") == []
