"""A number format of a spreadsheet → whether a cell shows the number that it holds, and with how many zeros in front.

A format with anything else in it (`"INV-"0000`, `000-0000`, `0%`) shows what nobody has typed, and what stands in the
cell is not what a person sees there. Grouped thousands are the number all the same: nobody takes them for a part of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from typing import Final

from bulkredeem.loader.cells import PRECISION, Note

BUILT_IN: Final[Mapping[int, str]] = {
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    12: "# ?/?",
    13: "# ??/??",
    37: "#,##0_);(#,##0)",
    38: "#,##0_);[Red](#,##0)",
    39: "#,##0.00_);(#,##0.00)",
    40: "#,##0.00_);[Red](#,##0.00)",
    41: '_(* #,##0_);_(* (#,##0);_(* "-"_);_(@_)',
    42: '_($* #,##0_);_($* (#,##0);_($* "-"_);_(@_)',
    43: '_(* #,##0.00_);_(* (#,##0.00);_(* "-"??_);_(@_)',
    44: '_($* #,##0.00_);_($* (#,##0.00);_($* "-"??_);_(@_)',
    48: "##0.0E+0",
    49: "@",
}
"""Formats that a workbook names by their numbers alone (ECMA-376, 18.8.30), less those of dates."""

_TOKEN: Final = re.compile(
    r'"(?P<quoted>[^"]*)"|\\(?P<escaped>.)|_.|\*(?P<fill>.)|\[(?P<bracket>[^\]]*)\]|.', re.DOTALL
)
_COLOUR: Final = re.compile(r"black|blue|cyan|green|magenta|red|white|yellow|colou?r ?\d+|\$-[0-9a-f]*", re.IGNORECASE)
"""What stands in brackets and shows nothing: a colour, or a language."""
_CONDITION: Final = re.compile(r"[<>=].*")
_OTHER: Final = "\0"
"""Stands for a character that a format shows as it is."""
_WHOLE: Final = re.compile(r"[#?]*(?P<zeros>0*)")
_GROUPED: Final = re.compile(r"[#?][#?,]*,[#?]*[#?0]")
_WITH_DECIMALS: Final = re.compile(r"(?:[#?]*0?|[#?][#?,]*,[#?]*[#?0])\.(?P<decimals>[0#?]+)")
_SECTIONS: Final = 4
"""Parts of a format: for positive numbers, for negative ones, for zero, and for text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """How one part of a format shows a number."""

    is_plain: bool = True
    """Whether it shows the number, and nothing else but zeros."""
    digits: int = 0
    """How many digits it shows at least."""
    decimals: int | None = None
    """How many decimals it shows; None for as many as there are."""


_GENERAL: Final = _Shape()
_STRANGE: Final = _Shape(is_plain=False)


class Format:
    """A number format as it shows cells."""

    def __init__(self, code: str) -> None:
        """Take a format apart as a workbook writes it, in the words of the United States."""
        sections, is_conditional = _sections(code)
        shapes = [_shape(section) for section in sections[: _SECTIONS - 1]]
        self._positive = self._negative = self._zero = shapes[0]
        if is_conditional:
            alike = shapes[0] if all(shape == shapes[0] for shape in shapes) else _STRANGE
            self._positive = self._negative = self._zero = alike
        elif len(shapes) > 1:
            text = sections[1].strip()
            self._negative = _shape(text.removeprefix("-")) if text.startswith("-") else _STRANGE
            self._zero = shapes[-1] if len(shapes) > 2 else shapes[0]  # noqa: PLR2004  the third part is for zero
        of_text = sections[_SECTIONS - 1 :] or [each for each in sections if "@" in each]
        self._shows_text = all(each.strip().casefold() in {"@", "general"} for each in of_text)
        self._strange = Note(is_formatted=True, number_format=code)
        self._same = Note(is_formatted=True, is_same_number=True, number_format=code)

    @property
    def is_general(self) -> bool:
        """Whether it shows everything as it is."""
        shapes = (self._positive, self._negative, self._zero)
        return self._shows_text and all(shape == _GENERAL for shape in shapes)

    def of_text(self) -> Note | None:
        """Return what is to be noted of a cell with text, or None."""
        return None if self._shows_text else self._strange

    def of_number(self, value: float) -> Note | None:
        """Return what is to be noted of a cell with this number, or None for one that shows it."""
        shape = self._positive if value > 0 else self._negative if value < 0 else self._zero
        if not shape.is_plain:
            return self._strange
        if shape.decimals is None:
            return None
        if not _is_whole(value, shape.decimals):
            return self._strange
        if shape.decimals:
            return self._same
        return _zeros(shape.digits) if shape.digits > 1 else None


def digits_of_format(code: str) -> int:
    """Return how many digits a format shows of a number at least, or 0 for one that does not only add zeros."""
    note = Format(code).of_number(1.0)
    return note.digits if note else 0


@lru_cache(maxsize=64)
def _zeros(digits: int) -> Note:
    return Note(digits=digits)


def _is_whole(value: float, decimals: int) -> bool:
    """Say whether a number has no more decimals than these, as far as a spreadsheet knows."""
    if not decimals or not isfinite(value):
        return float(value).is_integer()
    number = Decimal(f"{value:.{PRECISION}g}")
    return number == round(number, decimals)


def _sections(code: str) -> tuple[Sequence[str], bool]:
    """Return the parts of a format, with what they show literally made one sign; and whether any has a condition."""
    parts = [""]
    is_conditional = False
    for token in _TOKEN.finditer(code):
        bracket = token["bracket"]
        if bracket is not None:
            is_condition = bool(_CONDITION.fullmatch(bracket))
            is_conditional = is_conditional or is_condition
            parts[-1] += "" if is_condition or _COLOUR.fullmatch(bracket) else _OTHER
        elif token[0] == ";":
            parts.append("")
        else:
            parts[-1] += _shown_by(token)
    return parts, is_conditional


def _shown_by(token: re.Match[str]) -> str:
    literal = token["quoted"] if token["quoted"] is not None else token["escaped"] or token["fill"]
    if literal is None:
        return " " if token[0].startswith("_") else token[0]
    return "".join(each if each.isspace() or each == "-" else _OTHER for each in literal)


def _shape(section: str) -> _Shape:
    text = section.strip()
    if text.casefold() in {"general", "@"}:
        return _GENERAL
    if text and (whole := _WHOLE.fullmatch(text)):
        return _Shape(digits=len(whole["zeros"]), decimals=0)
    if _GROUPED.fullmatch(text):
        return _Shape(digits=1, decimals=0)
    if found := _WITH_DECIMALS.fullmatch(text):
        return _Shape(digits=1, decimals=len(found["decimals"]))
    return _STRANGE
