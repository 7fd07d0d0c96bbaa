"""What a run and a check begin with: the file's snapshot, and the judgement on each of its rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import starmap
from pathlib import Path
from typing import Final

from bulkredeem.columns import ColumnMap
from bulkredeem.loader import Intake, read_cells, take_snapshot
from bulkredeem.model import Correction, Invalid
from bulkredeem.pace import gap_of
from bulkredeem.settings import Settings
from bulkredeem.validation import Judge

SNAPSHOT: Final = "input.csv"


def take_in(
    path: Path,
    folder: Path,
    settings: Settings,
    proceed: Callable[[], None] = lambda: None,
    *,
    durable: bool = True,
) -> Intake:
    """Write the snapshot of a file into a folder, `durable` on return for a run, which must be able to go on from it.

    Raises InputFileError, ReportsFolderError, and what `proceed` raises.
    """
    return take_snapshot(
        path,
        folder / SNAPSHOT,
        explicit=settings.map,
        allow_unterminated=settings.allow_unterminated,
        durable=durable,
        proceed=proceed,
    )


def judged_rows(folder: Path, columns: ColumnMap, settings: Settings) -> Iterator[Correction | Invalid]:
    """Yield what each row of the snapshot comes to, in the file's order, reading as it goes."""
    judge = Judge(tuple(columns.used), settings.rules).judge
    return starmap(judge, read_cells(folder / SNAPSHOT, columns))


def fit_before(deadline: float | None, now: float, settings: Settings) -> int | None:
    """Return how many requests may start from now to the deadline; None without a deadline or without a limit."""
    gap = gap_of(settings.ceiling)
    if deadline is None or not gap:
        return None
    return max(0, math.ceil((deadline - now) / gap))


def seconds_for(requests: int, settings: Settings) -> float | None:
    """Return how long so many requests take at the configured rate, or None when it is no limit."""
    gap = gap_of(settings.ceiling)
    return requests * gap if gap else None
