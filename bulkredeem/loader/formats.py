"""A number format of a spreadsheet → whether a cell shows the number that it holds, and with how many zeros in front.

A format with anything else in it (`"INV-"0000`, `000-0000`, `0%`) shows what nobody has typed, and what stands in the
cell is not what a person sees there. Grouped thousands are the number all the same: nobody takes them for a part of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from math import isfinite
from operator import eq, ge, gt, le, lt, ne
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
_COLOUR: Final = re.compile(
    r"black|blue|cyan|green|magenta|red|white|yellow|colou?r ?\d+|\$-[0-9a-z,-]*", re.IGNORECASE
)
"""What stands in brackets and shows nothing: a colour, or a language."""
_CONDITION: Final = re.compile(r"(?P<sign><=|>=|<>|<|>|=) *(?P<number>-?[0-9]+(?:\.[0-9]+)?)")
_COMPARED: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": le,
    ">=": ge,
    "<>": ne,
    "<": lt,
    ">": gt,
    "=": eq,
}
_OTHER: Final = "\0"
"""Stands for a character that a format shows as it is."""
_COMMA: Final = "\1"
"""Stands for a comma that a format shows as it is."""
_GROUPS: Final = rf"[#?][#?,]*,[#?]*[#?0]|[#?]+(?:[\s{_COMMA}][#?]{{2,3}})*[\s{_COMMA}][#?]{{2}}[#?0]"
_WHOLE: Final = re.compile(r"[#?]*(?P<zeros>0*)")
_GROUPED: Final = re.compile(_GROUPS)
_WITH_DECIMALS: Final = re.compile(rf"(?P<whole>[#?]*0?|{_GROUPS})\.(?P<decimals>[0#?]+)")
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
    """How many decimals it shows at most; None for as many as there are."""
    adds_decimals: bool = False
    """Whether it shows decimals that a number does not have."""


_GENERAL: Final = _Shape()
_STRANGE: Final = _Shape(is_plain=False)


class Format:
    """A number format as it shows cells."""

    def __init__(self, code: str) -> None:
        """Take a format apart as a workbook writes it, in the words of the United States."""
        sections = _sections(code)
        texts = [section.text for section in sections]
        self._conditional = [*_conditional(sections[: _SECTIONS - 1])]
        shapes = [_shape(text) for text in texts[: _SECTIONS - 1]]
        self._positive = self._negative = self._zero = shapes[0]
        if len(shapes) > 1:
            text = texts[1].strip()
            self._negative = _shape(text.removeprefix("-")) if text.startswith("-") else _STRANGE
            self._zero = shapes[-1] if len(shapes) > 2 else shapes[0]  # noqa: PLR2004  the third part is for zero
        of_text = texts[_SECTIONS - 1 :] or [each for each in texts if "@" in each]
        self._shows_text = all(each.strip().casefold() in {"@", "general"} for each in of_text)
        self._strange = Note(is_formatted=True, number_format=code)
        self._same = Note(is_formatted=True, is_same_number=True, number_format=code)

    @property
    def is_general(self) -> bool:
        """Whether it shows everything as it is."""
        shapes = (self._positive, self._negative, self._zero)
        return self._shows_text and not self._conditional and all(shape == _GENERAL for shape in shapes)

    def of_text(self) -> Note | None:
        """Return what is to be noted of a cell with text, or None."""
        return None if self._shows_text else self._strange

    def of_number(self, value: float) -> Note | None:
        """Return what is to be noted of a cell with this number, or None for one that shows it."""
        shape = self._shape_for(value)
        if not shape.is_plain:
            return self._strange
        if shape.decimals is None:
            return None
        if not _fits(value, shape.decimals) or not (shape.digits or value):
            return self._strange
        if shape.adds_decimals or not (shape.digits or abs(value) >= 1):
            return self._same
        return _zeros(shape.digits) if shape.digits > 1 else None

    def _shape_for(self, value: float) -> _Shape:
        if self._conditional:
            # Whether a part with a condition shows a minus differs from one to the next.
            return next((shape for holds, shape in self._conditional if value >= 0 and holds(value)), _STRANGE)
        return self._positive if value > 0 else self._negative if value < 0 else self._zero


def digits_of_format(code: str) -> int:
    """Return how many digits a format shows of a number at least, or 0 for one that does not only add zeros."""
    note = Format(code).of_number(1.0)
    return note.digits if note else 0


@lru_cache(maxsize=64)
def _zeros(digits: int) -> Note:
    return Note(digits=digits)


def _fits(value: float, decimals: int) -> bool:
    """Say whether a number has no more decimals than these, as far as a spreadsheet knows."""
    if not isfinite(value) or float(value).is_integer():
        return isfinite(value)
    exponent = Decimal(f"{value:.{PRECISION}g}").normalize().as_tuple().exponent
    return isinstance(exponent, int) and -exponent <= decimals


@dataclass(slots=True, kw_only=True)
class _Section:
    """One part of a format."""

    text: str = ""
    """What it consists of, with what it shows literally made one sign."""
    holds: Callable[[float], bool] | None = None
    """Its condition; None for a part without one."""


def _conditional(sections: Sequence[_Section]) -> Iterator[tuple[Callable[[float], bool], _Shape]]:
    """Yield the parts of a format in which conditions decide, in order, with theirs; none of any other format."""
    if not any(section.holds for section in sections):
        return
    for section in sections:
        if section.holds:
            yield section.holds, _shape(section.text)
        else:
            # Of parts without a condition that follow, nobody can say for which numbers each is.
            rest = {_shape(each.text) for each in sections[sections.index(section) :]}
            yield lambda _: True, rest.pop() if len(rest) == 1 else _STRANGE
            return


def _condition(bracket: str) -> Callable[[float], bool] | None:
    found = _CONDITION.fullmatch(bracket)
    if not found:
        return None
    compare, limit = _COMPARED[found["sign"]], float(found["number"])
    return lambda value: compare(value, limit)


def _sections(code: str) -> list[_Section]:
    """Return the parts of a format."""
    parts = [_Section()]
    for token in _TOKEN.finditer(code):
        bracket = token["bracket"]
        if bracket is not None:
            condition = _condition(bracket)
            parts[-1].holds = condition or parts[-1].holds
            parts[-1].text += "" if condition or _COLOUR.fullmatch(bracket) else _OTHER
        elif token[0] == ";":
            parts.append(_Section())
        else:
            parts[-1].text += _shown_by(token)
    return parts


def _shown_by(token: re.Match[str]) -> str:
    literal = token["quoted"] if token["quoted"] is not None else token["escaped"] or token["fill"]
    if literal is None:
        return " " if token[0].startswith("_") else token[0]
    return "".join(_COMMA if each == "," else each if each.isspace() or each == "-" else _OTHER for each in literal)


def _shape(section: str) -> _Shape:
    text = section.strip()
    if text.casefold() in {"general", "@"}:
        return _GENERAL
    if text and (whole := _WHOLE.fullmatch(text)):
        return _Shape(digits=len(whole["zeros"]), decimals=0)
    if _GROUPED.fullmatch(text):
        return _Shape(digits=_at_least(text), decimals=0)
    if found := _WITH_DECIMALS.fullmatch(text):
        decimals = found["decimals"]
        return _Shape(digits=_at_least(found["whole"]), decimals=len(decimals), adds_decimals=decimals.strip("#") != "")
    return _STRANGE


def _at_least(placeholders: str) -> int:
    return 1 if placeholders.endswith("0") else 0
