"""What of a row may stand on a page that is sent around."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from bulkredeem.masking import mask, veiled
from bulkredeem.model import Column

IDENTIFIERS: Final = (Column.REDEMPTION_ID, Column.EXTERNAL_REFERENCE_NUMBER, Column.IDENTIFIER_VALUE)
"""The columns whose cells are shown by their ends only."""


class Hiding:
    """Masks the rows of one file."""

    def __init__(self, used: Mapping[str, int]) -> None:
        """Begin with which column is used as what (canonical name → index)."""
        self._names = {used[name]: str(name) for name in IDENTIFIERS if name in used}

    def cells(self, cells: Sequence[str]) -> list[str]:
        """Return the cells: identifiers by their ends, and no other one with an identifier in it."""
        identifiers = self._identifiers(cells)
        return [
            veiled(cell) if index in self._names else mask(cell, identifiers) if cell else ""
            for index, cell in enumerate(cells)
        ]

    def texts(self, texts: Sequence[str], cells: Sequence[str]) -> list[str]:
        """Return what was said of a row with these cells, without its identifiers."""
        identifiers = self._identifiers(cells)
        return [mask(text, identifiers) for text in texts]

    def _identifiers(self, cells: Sequence[str]) -> dict[str, str]:
        return {name: cells[index].strip() for index, name in self._names.items() if index < len(cells)}
