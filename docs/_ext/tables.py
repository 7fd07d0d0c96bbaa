# ruff: noqa: INP001  Sphinx finds it by its path
"""Tables as Markdown writes them."""

from __future__ import annotations


def head(*names: str) -> str:
    """Return the first two lines of a table."""
    return f"{row(*names)}\n{row(*('---' for _ in names))}"


def row(*cells: str) -> str:
    """Return one line of a table; a cell may have several lines, and bars."""
    in_one_line = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(in_one_line)} |"
