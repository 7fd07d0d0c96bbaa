"""A set of row numbers that stays small: a million rows are a megabyte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice


class RowNumbers:
    """Row numbers, asked one by one whether they are among them."""

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
