"""A real spreadsheet opens our reports: it runs no cell of them, and what it saves comes back as it was."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from bulkredeem.formulas import unescape
from bulkredeem.model import Outcome, Status
from bulkredeem.report import RESULTS, write_results
from bulkredeem.snapshot import SnapshotWriter
from bulkredeem.summary import RunInfo
from bulkredeem.workbook import RESULTS_XLSX, workbooks_from

MakeOutcome = Callable[..., Outcome]
FORMULAS = (
    "=1+1",
    "+919900000001",
    "-1",
    "@SUM(1;1)",
    '=HYPERLINK("http://127.0.0.1/";"here")',
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "'=1+1",
    "\uff1d1+1",
    "=cmd|' /C calc'!A0",
)
"""What a spreadsheet would run, each in a cell of its own."""
TEXTS = (
    *FORMULAS,
    "0001",
    "8878880000000000001",
    "1e5",
    "2026-01-02",
    "TRUE",
    "a\nb",
    "  x ",
    "<r>&</r>",
    "K\xf6ln\x0b",
)
"""And what it would take for something else than text."""
CSV_IN = "--infilter=CSV:44,34,76,1"
"""Commas, quotes, UTF-8, from the first line: what a person confirms in the window that opens."""
CSV_OUT = "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true"
"""The same, each cell as it is shown."""

pytestmark = [
    pytest.mark.external,
]


@pytest.fixture
def folder(tmp_path: Path, outcome: MakeOutcome) -> Path:
    """Give a run's folder with its reports: a row for each text."""
    with (tmp_path / "input.csv").open("w", encoding="utf-8", newline="") as file:
        writer = SnapshotWriter(file, ["note"])
        for number, text in enumerate(TEXTS, start=2):
            writer.add(number, [text])
    outcomes = [outcome(number, status=Status.FAILED) for number in range(2, len(TEXTS) + 2)]
    tally = write_results(tmp_path, tmp_path / "input.csv", outcomes)
    info = RunInfo(run_id="r", path="fixes.csv", sha256="", rows=len(TEXTS), started_at=0.0)
    assert workbooks_from(tmp_path / RESULTS, tmp_path, tally.summary(info), "None was updated.") == ()
    return tmp_path


def opened_and_saved(path: Path, saved_as: str, *options: str) -> Path:
    """Let LibreOffice, which knows nobody's settings, open a file and save what it has made of it."""
    target = path.parent / "saved"
    profile = f"-env:UserInstallation={(path.parent / 'profile').as_uri()}"
    command = ["soffice", profile, "--headless", *options, "--convert-to", saved_as, "--outdir", str(target), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return target / path.name


@pytest.mark.timeout(180)
def test_no_cell_of_results_csv_is_run(folder: Path) -> None:
    """Each is shown as the text that it is, and gives back what stood in the file; line ends are the program's own."""
    with opened_and_saved(folder / RESULTS, CSV_OUT, CSV_IN).open(encoding="utf-8", newline="") as file:
        shown = [line["note"] for line in csv.DictReader(file)]
    found = [unescape(cell) for cell in shown[: len(FORMULAS)]]
    assert found == [text.replace("\r", "\n") for text in FORMULAS]


@pytest.mark.timeout(180)
def test_a_workbook_that_was_opened_and_saved_comes_back(folder: Path) -> None:
    """No cell is run, none becomes a number or a date, and none loses a digit, a blank or a line end."""
    saved = opened_and_saved(folder / RESULTS_XLSX, "xlsx:Calc MS Excel 2007 XML")
    rows = pd.read_excel(saved, sheet_name="rows", engine="calamine", dtype=object, na_filter=False)
    with (folder / RESULTS).open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    assert rows.to_dict("records") == written
    assert [unescape(cell) for cell in rows["note"]] == list(TEXTS)
