"""What the pages are made of. Frozen values; nothing here does anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bulkredeem.model import Status

PAGE: Final = "report.html"
"""The page of a run, in its folder."""
INDEX: Final = "index.html"
"""The page over all runs, in the reports folder."""
MOST_ROWS: Final = 50_000
"""Rows not done that the page of a run holds; a browser still searches and sorts so many without a pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDoneRow:
    """One row about which someone still has to do something."""

    row_number: int
    """What a spreadsheet shows."""
    status: str
    error_code: str
    """The platform's number or a word of ours; several joined by `; `; may be empty."""
    error_message: str
    """In full: identifiers may stand in it."""
    reason: str
    """The same with identifiers masked."""
    mend_by: str
    """Who mends it, as the reports name them; or empty."""
    warnings: tuple[str, ...]
    http_status: int | None
    attempts: int
    """How often it was sent; 0 for never."""
    request_id: str
    """By which the platform finds its last try, or empty."""
    finished_at: float
    """Seconds since the epoch; 0.0 for a row without an outcome."""
    cells: tuple[str, ...]
    """The file's own cells, one for each of its headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One run of a reports folder."""

    name: str
    """Of its folder, which is the run's id."""
    state: str
    """As `summary.RunState` names it."""
    environment: str = ""
    path: str = ""
    """The input file, as it was named; empty when that is not known."""
    retry_of: str = ""
    """The run whose rows these are, or empty."""
    problem: str = ""
    """Why it cannot be read, or why it stopped; else empty."""
    counts: Mapping[Status, int] | None = None
    """One for each status; None when the journal cannot be read."""
    started_at: float | None = None
    """Seconds since the epoch; None when that is not known."""
    finished_at: float | None = None
    """None while it is under way, and for one that died."""
    exit_code: int | None = None
    has_page: bool = False
    """Whether `report.html` lies in its folder."""
    has_not_done: bool = False
    """Whether `not_done.csv` lies in its folder."""
