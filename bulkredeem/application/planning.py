"""The first pass over a run's rows: what they have to do with each other, and what their values look like."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bulkredeem.application.intake import NOT_SELECTED, judged_rows, require_columns, rows_where
from bulkredeem.application.rows import RowNumbers, in_step
from bulkredeem.columns import ColumnMap, shown_header
from bulkredeem.journal import Planned
from bulkredeem.model import Condition, Correction, Invalid, Job, Skipped
from bulkredeem.overlaps import Glance, Overlaps
from bulkredeem.profile import Profile, Profiler
from bulkredeem.settings import Settings

SAMPLE: Final = 200
"""Rows, spread over the file, of which the canaries and the like are chosen."""
_ASKED_EVERY: Final = 1_000
"""Rows between two questions whether to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is known of a file's rows before the first is sent."""

    planned: Callable[[], Iterator[Planned]]
    """What was found of rows that share their redemption with others, by row number."""
    profile: Profile
    """What the values of its sendable rows look like."""
    sample: tuple[int, ...]
    """Some sendable rows, spread over the file, of which each has its redemption to itself."""
    selected: RowNumbers | None
    """The rows that `--only` selects; None for all."""


@contextmanager
def plan_of(
    folder: Path,
    columns: ColumnMap,
    settings: Settings,
    *,
    source: str,
    proceed: Callable[[], None] = lambda: None,
    note: Callable[[Job], None] | None = None,
) -> Iterator[Plan]:
    """Look at all rows of a snapshot; the plan is of use inside only.

    `source` is what a person calls the file. `note` hears of each row, as what it comes to without its neighbours.
    Raises InputFileError for a condition on a column that is not there, and what `proceed` raises.
    """
    require_columns((settings.only, settings.first), columns, source)
    selected = selected_by(settings.only, folder, columns)
    profiler, sampler = Profiler(), _Sampler()
    with Glance() as glance, Overlaps(settings.on_conflict) as overlaps:
        for number, job in enumerate(judged_rows(folder, columns, settings.rules)):
            if not number % _ASKED_EVERY:
                proceed()
            is_selected = selected is None or job.row_number in selected
            if is_selected and isinstance(job, Correction):
                glance.add(job)
                profiler.add(job.values)
                sampler.add(job.row_number)
            if note:
                note(job if is_selected else unselected(job))
        _add_all(overlaps, RowNumbers(glance.candidates()), folder, columns, settings)
        sharing = RowNumbers(overlaps.sharing())
        yield Plan(
            planned=lambda: _planned(overlaps, sharing),
            profile=profiler.profile(),
            sample=tuple(number for number in sampler.chosen(SAMPLE) if number not in sharing),
            selected=selected,
        )


def selected_by(condition: str, folder: Path, columns: ColumnMap) -> RowNumbers | None:
    """Return the rows that meet a condition; None for an empty condition, which all meet."""
    return rows_where(folder, columns, Condition.parse(condition)) if condition else None


def remarks_on_selection(only: str, selected: RowNumbers | None) -> tuple[str, ...]:
    """Return what a person should read when no row meets the condition: it may be mistyped, or none is there."""
    if selected is None or selected:
        return ()
    condition = Condition.parse(only)
    # The value is a cell that somebody looked for.
    shown = f"{condition.header}={shown_header(condition.value)}"
    return (f"No row has {shown!r} (--only): nothing is to be sent.",)


def unselected(job: Job) -> Job:
    """Return what becomes of a row that is not selected; a line that cannot be read as cells stays what it is."""
    is_damaged = isinstance(job, Invalid) and any(not problem.column for problem in job.problems)
    words = "other rows were selected (--only)"
    return job if is_damaged else Skipped(row_number=job.row_number, code=NOT_SELECTED, message=words)


def _add_all(overlaps: Overlaps, candidates: RowNumbers, folder: Path, columns: ColumnMap, settings: Settings) -> None:
    """Let the rows be looked at that may share their redemption with others: usually none, and nothing is read."""
    if len(candidates):
        for job in judged_rows(folder, columns, settings.rules, candidates.__contains__):
            if isinstance(job, Correction):
                overlaps.add(job)


def _planned(overlaps: Overlaps, sharing: RowNumbers) -> Iterator[Planned]:
    ruling_of = in_step((ruling.row_number, ruling) for ruling in overlaps.rulings())
    for number in sharing:
        ruling = ruling_of(number)
        yield Planned(number, ruling.status, ruling.code, ruling.message) if ruling else Planned(number, "", "", "")


class _Sampler:
    """Keeps some of the numbers it hears of, evenly spread, however many come."""

    def __init__(self) -> None:
        self._kept: list[int] = []
        self._step = 1
        self._heard = 0

    def add(self, number: int) -> None:
        """Take note of a number."""
        if self._heard % self._step == 0:
            self._kept.append(number)
            if len(self._kept) > 2 * SAMPLE:
                del self._kept[1::2]
                self._step *= 2
        self._heard += 1

    def chosen(self, most: int) -> list[int]:
        """Return so many of them at most, evenly spread."""
        return spread(self._kept, most)


def spread(numbers: list[int], most: int) -> list[int]:
    """Return so many of the numbers at most, evenly spread over all of them, the first among them."""
    if len(numbers) <= most:
        return list(numbers)
    return [numbers[place * len(numbers) // most] for place in range(most)]
