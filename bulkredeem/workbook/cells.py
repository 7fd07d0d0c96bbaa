"""What a cell of a workbook can hold, and in which form XML holds it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape as xml_escape

MOST_CHARACTERS: Final = 32_767
"""Of one cell, as UTF-16 counts them: Excel's own limit."""
MOST_COLUMNS: Final = 16_384
_HALF: Final = MOST_CHARACTERS // 2
_IMPOSSIBLE: Final = re.compile("[\ud800-\udfff\ufffe\uffff]")
"""XML has no form for these, and readers do not agree on the escape of the last two."""
_TO_BE_ESCAPED: Final = re.compile("[\x00-\x08\x0b-\x1f]|_(?=x[0-9A-Fa-f]{4}_)")

_RUN, _RUN_END = '<r><t xml:space="preserve">', "</t></r>"


def flaw_of(cells: Sequence[str]) -> str:
    """Say why a sheet cannot hold these cells as one row, or nothing; as what follows `it `."""
    if len(cells) > MOST_COLUMNS:
        return f"has {len(cells):,} columns, and a sheet of a workbook has at most {MOST_COLUMNS:,}"
    together = "".join(cells)
    if len(together) > _HALF and any(map(_is_too_long, cells)):
        return f"has a cell of more than {MOST_CHARACTERS:,} characters, which no workbook can hold"
    if _IMPOSSIBLE.search(together):
        return "has a cell with a character that no workbook can hold"
    return ""


def escaped(text: str) -> str:
    """Return text in the form in which the library is to write it into a workbook.

    A character that XML lacks is written `_x000B_`. What looks like that in the text gets its underscore written so,
    and each of two that overlap does: the library's own form loses the second.
    """
    text = _TO_BE_ESCAPED.sub(_by_number, text)
    # The library takes such text for markup of its own and writes it as it is: so it gets markup, around the text.
    return f"{_RUN}{xml_escape(text)}{_RUN_END}" if text.startswith("<r>") and text.endswith("</r>") else text


def _by_number(found: re.Match[str]) -> str:
    return f"_x{ord(found[0]):04X}_"


def _is_too_long(cell: str) -> bool:
    return len(cell) + sum(character > "\uffff" for character in cell) > MOST_CHARACTERS
