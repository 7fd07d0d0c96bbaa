"""What a run and a check begin with: the file's snapshot, and the judgement on each of its rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from bulkredeem.columns import ColumnMap
from bulkredeem.loader import Intake, read_rows, take_snapshot
from bulkredeem.model import Correction, Invalid, Rate
from bulkredeem.pace import HEADROOM
from bulkredeem.settings import Settings
from bulkredeem.validation import validate

SNAPSHOT: Final = "input.csv"


def take_in(path: Path, folder: Path, settings: Settings, proceed: Callable[[], None] = lambda: None) -> Intake:
    """Write the snapshot of a file into a folder. Raises InputFileError, and what `proceed` raises."""
    return take_snapshot(
        path,
        folder / SNAPSHOT,
        explicit=settings.map,
        allow_unterminated=settings.allow_unterminated,
        proceed=proceed,
    )


def judged_rows(folder: Path, columns: ColumnMap, settings: Settings) -> Iterator[Correction | Invalid]:
    """Yield what each row of the snapshot comes to, in the file's order, reading as it goes."""
    rules = settings.rules
    return (validate(row, rules) for row in read_rows(folder / SNAPSHOT, columns))


def fit_before(deadline: float | None, now: float, settings: Settings) -> int | None:
    """Return how many requests may start from now to the deadline; None without a deadline or without a limit."""
    interval = Rate.parse(settings.rate).interval * HEADROOM
    if deadline is None or not interval:
        return None
    return max(0, math.ceil((deadline - now) / interval))


def seconds_for(requests: int, settings: Settings) -> float | None:
    """Return how long so many requests take at the configured rate, or None when it is no limit."""
    rate = Rate.parse(settings.rate)
    return None if math.isinf(rate.requests) else requests * rate.interval * HEADROOM
