"""One workbook, written row by row with memory that does not grow. XlsxWriter lives here alone."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import xlsxwriter  # type: ignore[import-untyped]  # it says nothing of its types
from xlsxwriter.exceptions import XlsxWriterException  # type: ignore[import-untyped]  # the same
from xlsxwriter.worksheet import Worksheet  # type: ignore[import-untyped]  # the same

from bulkredeem.columns import RESULT_HEAD
from bulkredeem.errors import ReportError
from bulkredeem.formulas import escape
from bulkredeem.model import Status
from bulkredeem.wholefile import make_folder, opened_to_read, whole_path
from bulkredeem.workbook import ROWS_SHEET, SUMMARY_SHEET
from bulkredeem.workbook.cells import escaped, flaw_of
from bulkredeem.workbook.telling import Fact

_ASIDE: Final = ".workbook.part"
"""The folder, beside the workbook, of what the library writes before it packs it."""
_ASKED_EVERY: Final = 200
"""Rows between two questions whether to go on: about ten milliseconds."""
_STATUS: Final = RESULT_HEAD.index("status")
_TEXT: Final = 49
"""Excel's number format `@`, text: what is typed into such a cell stays as it was typed."""
_COLOURS: Final = {
    Status.SUCCESS: ("#E2F0D9", "#1E4D12"),
    Status.SKIPPED: ("#EDEDED", "#404040"),
    Status.INVALID: ("#FCE4D6", "#7A2E00"),
    Status.REFUSED: ("#F8CBCB", "#7A0000"),
    Status.FAILED: ("#FFF2CC", "#5C4400"),
    Status.IN_DOUBT: ("#E4DFEC", "#3F2A5A"),
    Status.PENDING: ("#DDEBF7", "#1B3A57"),
}
"""Background and letters of the cell `status`; each pair has a contrast of at least 7 to 1."""
_WIDTHS: Final = {
    "row_number": 11,
    "status": 10,
    "error_code": 18,
    "error_message": 60,
    "mend_by": 15,
    "reason": 40,
    "warnings": 30,
    "http_status": 11,
    "attempts": 9,
    "request_id": 36,
    "finished_at": 25,
}
"""Of our columns, in characters."""
_NARROWEST, _WIDEST = 12, 40


class _NoRoom(Exception):  # noqa: N818  it is no error, the CSV has it all
    """A row that no workbook can hold."""


class _ExactSheet(Worksheet):  # type: ignore[misc]  # the library says nothing of its types
    """A sheet whose every cell comes back as it was."""

    @staticmethod
    def _escape_control_characters(data: str) -> str:
        return escaped(data)


def write_workbook(
    path: Path,
    results: Path,
    facts: Sequence[Fact],
    statuses: Collection[str],
    *,
    proceed: Callable[[], None],
    most_rows: int,
) -> str:
    """Write one workbook of those rows of a `results.csv` that have one of these statuses; see the package.

    Returns why it was not written, as a sentence, or nothing. Raises ReportError.
    """
    try:
        with whole_path(path) as aside, _opened(aside) as book:
            rows = _fitting_rows(results, path, statuses, proceed)
            pages = _Pages(book, next(rows), facts, most_rows)
            for row in rows:
                pages.add(row)
            pages.finish()
    except _NoRoom as exc:
        with suppress(FileNotFoundError):
            path.unlink()
        return str(exc)
    except XlsxWriterException as exc:
        raise ReportError(f"{path} could not be written: {exc}.") from exc
    return ""


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Give a workbook that is packed when the block ends without an error; nothing else is left behind."""
    scratch = path.with_name(_ASIDE)
    shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
    make_folder(scratch)
    book = xlsxwriter.Workbook(
        path, {"constant_memory": True, "tmpdir": str(scratch), "use_zip64": True, "strings_to_urls": False}
    )
    try:
        yield book
        book.close()
    finally:
        for sheet in book.worksheets():
            with suppress(OSError, ValueError):  # the disk may be full still; what it holds is thrown away
                sheet.row_data_fh.close()
        shutil.rmtree(scratch, ignore_errors=True)


def _fitting_rows(
    results: Path, path: Path, statuses: Collection[str], proceed: Callable[[], None]
) -> Iterator[list[str]]:
    """Yield the header and the rows with these statuses; raise _NoRoom for one that no workbook can hold."""
    with opened_to_read(results, "utf-8-sig") as file:
        rows = csv.reader(file)
        try:
            for number, row in enumerate(rows):
                if not number % _ASKED_EVERY:
                    proceed()
                if not number or row[_STATUS] in statuses:
                    if flaw := flaw_of(row):
                        raise _NoRoom(_no_room(path, f"row {row[0]}" if number else "the header", flaw))
                    yield row
        except csv.Error as exc:  # what is beyond the reader is beyond a workbook, too
            raise _NoRoom(_no_room(path, "a row", f"has a cell that is too long ({exc})")) from exc


def _no_room(path: Path, which: str, flaw: str) -> str:
    return f"{path.name} is not written: {which} {flaw}. {path.with_suffix('.csv').name} has all rows."


class _Pages:
    """The sheets of a workbook: rows first, the summary second, and more rows after it."""

    def __init__(self, book: Any, header: Sequence[str], facts: Sequence[Fact], most_rows: int) -> None:  # noqa: ANN401  the library says nothing of its types
        self._book = book
        self._header = header
        self._most_rows = most_rows
        self._text = book.add_format({"num_format": _TEXT})
        self._head = book.add_format({"num_format": _TEXT, "bold": True, "bottom": 1, "bg_color": "#F2F2F2"})
        self._of_status = {
            str(status): book.add_format({"num_format": _TEXT, "bg_color": background, "font_color": letters})
            for status, (background, letters) in _COLOURS.items()
        }
        self._count = 0
        """Sheets with rows so far."""
        self._begin_sheet()
        self._write_summary(facts)

    def add(self, row: Sequence[str]) -> None:
        """Write a row."""
        if self._next >= self._most_rows:
            self._end_sheet()
            self._begin_sheet()
        write, number = self._sheet.write_string, self._next
        for column, cell in enumerate(row):
            if cell:
                write(number, column, cell, self._of_status.get(cell) if column == _STATUS else None)
        self._next += 1

    def finish(self) -> None:
        """Take note that there are no more rows."""
        self._end_sheet()

    def _begin_sheet(self) -> None:
        self._count += 1
        name = ROWS_SHEET if self._count == 1 else f"{ROWS_SHEET} {self._count}"
        self._sheet = self._book.add_worksheet(name, _ExactSheet)
        for column, header in enumerate(self._header):
            # Before the first row: a row that was written asks no more of its columns.
            self._sheet.set_column(column, column, _width(header), self._text)
        self._sheet.freeze_panes(1, _STATUS + 1)
        for column, header in enumerate(self._header):
            self._sheet.write_string(0, column, header, self._head)
        self._next = 1

    def _end_sheet(self) -> None:
        last = (max(self._next - 1, 1), len(self._header) - 1)
        self._sheet.autofilter(0, 0, *last)
        self._sheet.ignore_errors({"number_stored_as_text": xlsxwriter.utility.xl_range(0, 0, *last)})

    def _write_summary(self, facts: Sequence[Fact]) -> None:
        sheet = self._book.add_worksheet(SUMMARY_SHEET, _ExactSheet)
        wrapped = self._book.add_format({"num_format": _TEXT, "text_wrap": True, "valign": "top"})
        heading = self._book.add_format({"num_format": _TEXT, "bold": True, "valign": "top"})
        sheet.set_column(0, 0, 28, wrapped)
        sheet.set_column(1, 1, 100, wrapped)
        for number, (label, text) in enumerate(facts):
            sheet.write_string(number, 0, escape(label), wrapped if text else heading)
            sheet.write_string(number, 1, _fitting(escape(text)), wrapped)


def _width(header: str) -> int:
    return _WIDTHS.get(header) or min(_WIDEST, max(_NARROWEST, len(header) + 4))


def _fitting(text: str) -> str:
    """Return what a cell can hold of a text that is only told."""
    return text if not flaw_of((text,)) else text.encode("ascii", "replace").decode()[:10_000]
