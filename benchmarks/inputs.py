"""The files that are sent: made from a seed, with a redemption, a customer and a bill of its own in each row."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Final

HEADER: Final = "redemptionId,billNumber,billId,identifierValue,store"
MOST_ROWS: Final = 10_000_000
"""Rows for which the numbers of customers are all different."""
_LETTERS: Final = string.ascii_uppercase + string.digits
_STORES: Final = ("17", "Köln 4", "Pune, Camp", "204")


def write_input(path: Path, rows: int, *, seed: int) -> None:
    """Write a file of so many rows; files of different seeds (below 100) share no redemption and no customer.

    It appears whole or not at all, so that a file which is there can be used again.
    """
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w", encoding="utf-8", newline="") as lines:
        lines.write(HEADER + "\n")
        lines.writelines(_rows(rows, seed))
    unfinished.replace(path)


def _rows(rows: int, seed: int) -> Iterator[str]:
    draw = random.Random(seed)  # noqa: S311  nothing secret is drawn
    for number in range(rows):
        redemption_id = f"{seed:02}{''.join(draw.choices(_LETTERS, k=4))}{number:07}"
        customer = 919_000_000_000 + seed * MOST_ROWS + number
        bill_id = draw.randrange(10**8, 10**9)
        store = draw.choice(_STORES)
        quoted = f'"{store}"' if "," in store else store
        yield f"{redemption_id},INV-2026-{number:07},{bill_id},{customer},{quoted}\n"
