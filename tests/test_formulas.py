"""Formula escaping: harmless in a spreadsheet, and undone exactly."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkredeem.formulas import escape, may_run, unescape

TRIGGERS = "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"
CELLS = st.text() | st.text(alphabet="'" + TRIGGERS + "a1 ")


@given(CELLS)
@example("'=1+1")
@example("''+919777000001")
@example("'")
@example("")
def test_undoing_gives_back_every_text(cell: str) -> None:
    """Whatever stood in the cell, also apostrophes of its own, comes back exactly."""
    assert unescape(escape(cell)) == cell


@given(CELLS)
def test_no_escaped_cell_can_run(cell: str) -> None:
    """No cell of a report begins with a character that starts a formula."""
    assert not escape(cell).startswith(tuple(TRIGGERS))


@given(CELLS, CELLS)
def test_two_cells_never_become_one(first: str, second: str) -> None:
    """Different cells stay different."""
    assert (escape(first) == escape(second)) is (first == second)


@pytest.mark.parametrize(
    ("cell", "escaped"),
    [
        ("=1+1", "'=1+1"),
        ("+919777000001", "'+919777000001"),
        ("-5", "'-5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r\n=1", "'\r\n=1"),
        ("\uff1d1", "'\uff1d1"),
        ("'=1", "''=1"),
        ("'quoted'", "'quoted'"),
        ("'", "'"),
        ("8878ru", "8878ru"),
        ("a=b", "a=b"),
        ("", ""),
    ],
)
def test_only_what_would_run_is_touched(cell: str, escaped: str) -> None:
    """One apostrophe goes before a formula, and before what looks like an escaped one; nothing else changes."""
    assert escape(cell) == escaped


@pytest.mark.parametrize("cell", ["'quoted'", "'", "''", "O'Hara", "=1", "8878ru"])
def test_what_was_not_escaped_is_left_alone(cell: str) -> None:
    """A cell that a person typed into a report of ours is taken as it is."""
    assert unescape(cell) == cell


@given(st.lists(st.lists(CELLS, min_size=2, max_size=3), max_size=3))
@example([["a", "b"], ["=1", "b"]])
@example([["a", "''=1"]])
@example([["a,b", '"=1']])
@example([["a", "\r\n=1"]])
def test_rows_that_surely_do_not_run_hold_nothing_to_escape(rows: list[list[str]]) -> None:
    """Whoever is told that rows cannot run may pass them on as they stand."""
    lines = []
    for row in rows:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="").writerow(row)
        lines.append(text.getvalue())
    would_change = any(escape(cell) != cell for row in rows for cell in row)
    assert may_run(lines) or not would_change


@pytest.mark.parametrize(
    "row", ["R1,B-1,919777000001,,O'Hara's", '"Pune, Camp",a=b,"say ""=1"""', "", "2026-11-24,17:00,a-b,x@y.example"]
)
def test_usual_rows_are_not_suspected(row: str) -> None:
    """A sign within a cell, or a quote around one, is no reason to look at each cell."""
    assert not may_run([row, row])
