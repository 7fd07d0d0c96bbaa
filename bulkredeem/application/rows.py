"""Row numbers: a set of them that stays small, and finding what belongs to a row among what comes by row number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from bulkredeem.journal import Journal
from bulkredeem.model import Outcome

_T = TypeVar("_T")


class RowNumbers:
    """Row numbers, asked one by one whether they are among them: a million are a megabyte."""

    def __init__(self, numbers: Iterable[int]) -> None:
        """Take the numbers, in any order."""
        self._marks = bytearray()
        self._count = 0
        for number in numbers:
            self.add(number)

    def __contains__(self, number: object) -> bool:
        return isinstance(number, int) and number < len(self._marks) and bool(self._marks[number])

    def __iter__(self) -> Iterator[int]:
        return (number for number, mark in enumerate(self._marks) if mark)

    def __len__(self) -> int:
        return self._count

    def after(self, number: int, most: int) -> list[int]:
        """Return the first of them from this number on, at most so many, in order."""
        return list(islice((each for each in range(number, len(self._marks)) if self._marks[each]), most))

    def add(self, number: int) -> None:
        """Take a number."""
        if number >= len(self._marks):
            # Twice as long each time: growing row by row would copy everything for every row.
            self._marks.extend(bytes(max(number + 1, 2 * len(self._marks)) - len(self._marks)))
        self._count += not self._marks[number]
        self._marks[number] = 1


def in_step(pairs: Iterator[tuple[int, _T]]) -> Callable[[int], _T | None]:
    """Return what finds what belongs to a row, or None; asked by ever larger row numbers, as the pairs come."""
    waiting = list(islice(pairs, 1))

    def find(row_number: int) -> _T | None:
        while waiting and waiting[0][0] < row_number:
            waiting[:] = islice(pairs, 1)
        return waiting[0][1] if waiting and waiting[0][0] == row_number else None

    return find


def outcomes_of(journal: Journal) -> Callable[[int], Outcome | None]:
    """Return what finds the outcome of a row, or None; asked by ever larger row numbers."""
    return in_step((outcome.row_number, outcome) for outcome in journal.outcomes())
