"""Cells that a spreadsheet would run as a formula: made harmless on the way out, restored exactly on the way back.

The rule: a cell that is any number of apostrophes (also none) followed by `=`, `+`, `-`, `@`, their full-width forms,
a tab or a line end gets one apostrophe in front. To undo it, take one apostrophe off a cell that is at least one
apostrophe followed by such a character. Every other cell stays as it is, so undoing is exact for every text there is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_TRIGGERS = "=+\\-@\t\r\n＝＋－＠"  # noqa: RUF001  the full-width forms are the point
_WOULD_RUN = re.compile(f"'*[{_TRIGGERS}]")
_ESCAPED = re.compile(f"'+[{_TRIGGERS}]")
_IN_A_ROW_WOULD_RUN = re.compile(f",\"?'*[{_TRIGGERS}]")


def escape(cell: str) -> str:
    """Return the cell as a report may hold it: no spreadsheet runs it."""
    return f"'{cell}" if _WOULD_RUN.match(cell) else cell


def may_run(rows: Iterable[str]) -> bool:
    """Say whether one of these rows, each in the form it has in a CSV file, may hold a cell that `escape` would change.

    False is certain, and a tenth of the cost of looking at each cell.
    """
    return _IN_A_ROW_WOULD_RUN.search(f",{','.join(rows)}") is not None


def unescape(cell: str) -> str:
    """Return what `escape` was given."""
    return cell[1:] if _ESCAPED.match(cell) else cell
