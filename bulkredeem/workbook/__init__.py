"""`results.xlsx` and `not_done.xlsx`: the reports on rows once more, for whoever lives in a spreadsheet.

Every cell is text and holds exactly what the same cell of `results.csv` holds, its apostrophe too: so neither a
spreadsheet, nor the way from workbook to CSV or back by hand, changes a value or runs one. The columns are text too:
what a person types into them stays as it was typed. The first sheet is called `rows`; what one sheet cannot hold goes
on in `rows 2` and so on, each with the header; the second sheet, `summary`, tells how the run went and how to go on.

A workbook that cannot hold a cell exactly is not written at all: half a truth would be sent back as a whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bulkredeem.errors import ConfigurationError
from bulkredeem.model import DONE, Status
from bulkredeem.summary import Step, Summary
from bulkredeem.workbook.telling import told

RESULTS_XLSX: Final = "results.xlsx"
NOT_DONE_XLSX: Final = "not_done.xlsx"
ROWS_SHEET: Final = "rows"
"""The name of the first sheet with rows; the next are `rows 2`, `rows 3`."""
SUMMARY_SHEET: Final = "summary"
MOST_ROWS: Final = 1_048_576
"""Rows of a sheet, its header among them: Excel's own limit."""


def require() -> None:
    """Raise ConfigurationError when the library that writes workbooks is not installed; asked before all is sent."""
    if find_spec("xlsxwriter") is None:
        raise ConfigurationError("--xlsx needs the extra: pip install 'bulkredeem[xlsx]'")


def workbooks_from(
    results: Path,
    folder: Path,
    summary: Summary,
    closing: str,
    *,
    steps: Sequence[Step] = (),
    proceed: Callable[[], None] = lambda: None,
    most_rows: int = MOST_ROWS,
) -> tuple[str, ...]:
    """Write both workbooks into a folder, from what a `results.csv` holds; return a sentence for each not written.

    `closing` and `steps` are what a person is told at the end of the run. A workbook is left out, and an older one
    taken away, when a cell is longer or stranger than any workbook can hold. `proceed` is asked every few rows and
    raises what is to end the writing; `most_rows` is of one sheet. Raises ReportError when the disk does not take them,
    and ConfigurationError as `require` does.
    """
    require()
    from bulkredeem.workbook.writing import write_workbook  # noqa: PLC0415  the library is an extra, and slow to load

    facts = told(summary, closing, steps)
    remarks = [
        write_workbook(folder / name, results, facts, statuses, proceed=proceed, most_rows=most_rows)
        for name, statuses in ((RESULTS_XLSX, frozenset(Status)), (NOT_DONE_XLSX, frozenset(Status) - DONE))
    ]
    return tuple(filter(None, remarks))
