"""The second pass: the run's snapshot → cells, with pandas, in chunks, as text: nothing becomes a number or a date."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bulkredeem.columns import ColumnMap
from bulkredeem.errors import JournalError
from bulkredeem.model import Problem, Row
from bulkredeem.snapshot import LEADING
from bulkredeem.wholefile import opened_to_read

if TYPE_CHECKING:
    import pandas as pd

CHUNK_CELLS: Final = 50_000
"""Cells that pandas reads at once, at least one row of them."""


def read_rows(snapshot: Path, columns: ColumnMap) -> Iterator[Row]:
    """Yield the rows of a snapshot in the file's order, each a value of its own. Raises what `read_cells` raises."""
    for row_number, cells, damage in read_cells(snapshot, columns):
        values = {} if damage else dict(zip(columns.used, cells, strict=True))
        yield Row(row_number=row_number, values=values, damage=damage)


def read_cells(snapshot: Path, columns: ColumnMap) -> Iterator[tuple[int, tuple[str, ...], Problem | None]]:
    """Yield of each row its number, the cells of the columns used, and its damage or None; chunk by chunk.

    The cells are in the order of `columns.used`, and say nothing where there is damage. A million rows pass through
    here while requests are under way, so no more is made of them than that. Raises JournalError when the snapshot is
    not what the first pass wrote: it is a part of the run's record.
    """
    wanted = [*range(len(LEADING)), *(len(LEADING) + index for index in columns.used.values())]
    try:
        for chunk in _chunks(snapshot, len(LEADING) + len(columns.headers)):
            numbers, codes, messages, lines, *cells = (chunk[index].tolist() for index in wanted)
            damage = map(_damage, codes, messages, lines)
            yield from zip(map(int, numbers), zip(*cells, strict=True), damage, strict=True)
    except (ValueError, OSError, Warning) as exc:
        msg = f"{snapshot} cannot be read any more, or somebody has changed it; start a new run."
        raise JournalError(msg) from exc


def _damage(code: str, message: str, line: str) -> Problem | None:
    return Problem(code=code, column="", message=message, detail=line) if code else None


def _chunks(snapshot: Path, width: int) -> Iterator[pd.DataFrame]:
    """Yield the snapshot's rows, so many at a time; raises ParserWarning for a record that pandas cuts short."""
    import pandas as pd  # noqa: PLC0415  slow to load, and most commands read no row

    # No `usecols`: with it pandas drops a cell too many without a word, and all cells after it have moved.
    with (
        opened_to_read(snapshot) as file,
        pd.read_csv(
            file,
            header=0,
            names=list(range(width)),
            index_col=False,
            dtype=object,
            keep_default_na=False,
            na_filter=False,
            chunksize=max(1, CHUNK_CELLS // width),
        ) as reader,
    ):
        while True:
            # It only warns when it drops cells of a first record, and a dropped cell must stop us.
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)
                chunk = next(reader, None)
            if chunk is None:
                return
            yield chunk
