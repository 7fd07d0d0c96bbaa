"""What a run and a check begin with: the file's snapshot, and the judgement on each of its rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import starmap
from pathlib import Path
from typing import Final

from bulkredeem.application.rows import RowNumbers
from bulkredeem.columns import ColumnMap, listed, shown_header
from bulkredeem.errors import InputFileError
from bulkredeem.loader import Intake, read_cells, take_snapshot
from bulkredeem.model import Condition, Correction, Invalid, Rules
from bulkredeem.pace import gap_of
from bulkredeem.settings import Settings
from bulkredeem.validation import Judge

SNAPSHOT: Final = "input.csv"
NOT_SELECTED: Final = "NOT_SELECTED"
"""The code of a row that was left out because others were asked for."""


def take_in(
    path: Path,
    folder: Path,
    settings: Settings,
    proceed: Callable[[], None] = lambda: None,
    *,
    durable: bool = True,
) -> Intake:
    """Write the snapshot of a file into a folder, `durable` on return for a run, which must be able to go on from it.

    The path `-` is standard input, which can be taken in once. Raises InputFileError, ReportsFolderError, and what
    `proceed` raises.
    """
    return take_snapshot(
        path,
        folder / SNAPSHOT,
        reading=settings.reading,
        durable=durable,
        proceed=proceed,
    )


def judged_rows(
    folder: Path, columns: ColumnMap, rules: Rules, wanted: Callable[[int], bool] | None = None
) -> Iterator[Correction | Invalid]:
    """Yield what each row of the snapshot comes to, in the file's order, reading as it goes.

    `wanted` is asked by row number before anything is made of a row; None wants all.
    """
    rows = read_cells(folder / SNAPSHOT, columns)
    if wanted is not None:
        rows = (row for row in rows if wanted(row[0]))
    return starmap(Judge(tuple(columns.used), rules).judge, rows)


def rows_where(folder: Path, columns: ColumnMap, condition: Condition) -> RowNumbers:
    """Return the rows of the snapshot whose cell is as the condition says; its column is there."""
    index = _names(columns).index(condition.header.casefold())
    cells = read_cells(folder / SNAPSHOT, ColumnMap(headers=columns.headers, used={condition.header: index}))
    return RowNumbers(number for number, (cell,), damage in cells if damage is None and cell.strip() == condition.value)


def require_columns(conditions: Iterable[str], columns: ColumnMap, source: str) -> None:
    """Raise InputFileError for a condition on a column that is not there; an empty one is none.

    `source` is what a person calls the file.
    """
    for condition in filter(None, conditions):
        header = Condition.parse(condition).header
        count = _names(columns).count(header.casefold())
        if count != 1:
            how = "more than one column" if count else "no column"
            raise InputFileError(
                f"{source} has {how} {shown_header(header)!r} for --only or --first to look at; it has"
                f" {listed(columns.headers)}."
            )


def _names(columns: ColumnMap) -> list[str]:
    return [name.strip().casefold() for name in columns.headers]


def fit_before(deadline: float | None, now: float, settings: Settings) -> int | None:
    """Return how many requests may start from now to the deadline; None without a deadline or without a limit."""
    gap = gap_of(settings.ceiling)
    if deadline is None or not gap:
        return None
    return max(0, math.ceil((deadline - now) / gap))


def ending_at(now: float, requests: int, settings: Settings) -> float | None:
    """Return when so many requests would be through at the configured rate, begun now; None without a limit."""
    seconds = seconds_for(requests, settings)
    return None if seconds is None else now + seconds


def seconds_for(requests: int, settings: Settings) -> float | None:
    """Return how long so many requests take at the configured rate, or None when it is no limit."""
    gap = gap_of(settings.ceiling)
    return requests * gap if gap else None
