"""Lines of a file that are no rows at all, because somebody said so: totals, notes, the header once more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bulkredeem.columns import ColumnMap, listed, shown_header
from bulkredeem.errors import InputFileError
from bulkredeem.model import Pattern
from bulkredeem.summary import counted


class Sieve:
    """Leaves out the lines in whose column a pattern finds something, and counts them."""

    def __init__(self, patterns: Sequence[Pattern], columns: ColumnMap, name: str) -> None:
        """Find the columns of the patterns; raise InputFileError, naming the file, for one that is not there."""
        self._patterns = [(pattern, _place(pattern, columns, name)) for pattern in patterns]
        self._found: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self._patterns)

    def leaves_out(self, cells: Sequence[str]) -> bool:
        """Say whether a line is no row, and count it if so; `cells` are those of the file's own columns."""
        for pattern, place in self._patterns:
            if pattern.expression.search(cells[place]):
                self._found[f"{pattern.header}~{pattern.expression.pattern}"] += 1
                return True
        return False

    def leaves_out_damaged(self, cells: Sequence[str], *, is_whole: bool) -> bool:
        """Say whether a line with too few or too many cells, or without its end, is no row, and count it if so.

        A total is often no more than its first cell. A cell that is not there is empty, unless the line is not whole:
        then it may have stood in the half that is missing, and only what is there counts.
        """
        for pattern, place in self._patterns:
            cell = cells[place] if place < len(cells) else ""
            if (cell or is_whole) and pattern.expression.search(cell):
                self._found[f"{pattern.header}~{pattern.expression.pattern}"] += 1
                return True
        return False

    @property
    def count(self) -> int:
        """How many lines were left out."""
        return self._found.total()

    def remarks(self) -> tuple[str, ...]:
        """Say how many lines were left out and by what; nothing when nothing was looked for."""
        if not self._patterns:
            return ()
        were = "was" if self.count == 1 else "were"
        listed = ", ".join(f"{pattern.header}~{pattern.expression.pattern}" for pattern, _ in self._patterns)
        return (f"{counted(self.count, 'row')} {were} ignored: {listed}.",)


def _place(pattern: Pattern, columns: ColumnMap, name: str) -> int:
    wanted = pattern.header.strip().casefold()
    headers = [header.strip().casefold() for header in columns.headers]
    if headers.count(wanted) == 1:
        return headers.index(wanted)
    for canonical, place in columns.used.items():
        if canonical.casefold() == wanted:
            return place
    how = "more than one column" if wanted in headers else "no column"
    raise InputFileError(
        f"{name} has {how} {shown_header(pattern.header)!r} for --ignore-rows to look at; it has"
        f" {listed(columns.headers)}."
    )
