"""A set of row numbers that stays small, and says the same as any other set would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.application.rows import RowNumbers

NUMBERS = st.lists(st.integers(0, 5000), max_size=60)


@given(NUMBERS, NUMBERS)
def test_it_holds_what_was_put_in_and_nothing_else(numbers: list[int], others: list[int]) -> None:
    """In whatever order they come and however often, each is in it once; it is read back in order."""
    rows = RowNumbers(numbers)
    assert list(rows) == sorted(set(numbers))
    assert len(rows) == len(set(numbers))
    assert [number in rows for number in others] == [number in set(numbers) for number in others]


def test_an_empty_one_holds_nothing() -> None:
    """Neither the first row nor any other is in it, and it is as good as no rows."""
    rows = RowNumbers(())
    assert (len(rows), list(rows), 0 in rows, 2 in rows) == (0, [], False, False)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 1_048_576])
def test_neighbours_are_not_in_it(number: int) -> None:
    """What lies before and behind the last number is answered, too."""
    rows = RowNumbers([number])
    assert number in rows
    assert number + 1 not in rows
    assert 2 * number + 2 not in rows
    assert number == 0 or number - 1 not in rows


def test_a_million_rows_stay_small() -> None:
    """Growing row by row takes at most two bytes for a row."""
    rows = RowNumbers(range(2, 1_000_002))
    assert len(rows) == 1_000_000
    assert len(rows._marks) <= 2_000_008
