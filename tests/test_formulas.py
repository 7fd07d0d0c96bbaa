"""Formula escaping: harmless in a spreadsheet, and undone exactly."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkredeem.formulas import escape, unescape

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
