"""Texts that may travel: a row's identifiers and anything like one, replaced by the name of what stood there.

A masked text serves twice: it may go into a log or a summary, and 400 messages that differ only in an identifier
become one group.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_OF_EMAIL = r"[^\s@<>\"',;:()]"
# Both begin where a word begins: a megabyte without a blank must not be tried from each of its characters.
_EMAIL = re.compile(rf"(?<!{_OF_EMAIL}){_OF_EMAIL}+@{_OF_EMAIL}+")
_LONG_NUMBER = re.compile(r"(?<!\w)\w*?\d{6,}\w*")
"""Six digits and more are a bill, a card or a telephone; codes and HTTP statuses are shorter. The whole word goes, so
that what is left of it cannot be an identifier that stood inside it."""
_SPACED_NUMBER = re.compile(r"(?<!\w)\+?\d(?:[ ().-]{0,2}\d){6,}(?!\w)")
"""A telephone number as people write it, `+91 97770-00000`; that a date goes the same way does no harm."""

_TELLING: Final = 5
"""Characters that an identifier has at least, to show any of them."""
_LONG: Final = 10
"""Characters from which on four are shown, and not two."""


def mask(text: str, identifiers: Mapping[str, str]) -> str:
    """Return `text` with each of the identifiers (column → value), e-mail addresses and long numbers replaced.

    An identifier is found where it stands as a whole word, whatever its case. The longest goes first: it may hold
    another one.
    """
    for column, value in sorted(identifiers.items(), key=lambda named: -len(named[1])):
        if value and value.casefold() in text.casefold():
            text = _whole(value).sub(f"<{column}>", text)
    for pattern, word in ((_EMAIL, "<email>"), (_LONG_NUMBER, "<number>"), (_SPACED_NUMBER, "<number>")):
        text = pattern.sub(word, text)
    return text


def veiled(value: str) -> str:
    """Return what may be shown of an identifier, so that somebody who has it knows it again: its end.

    The last four characters of a long one, two of a short one, none below five.
    """
    value = value.strip()
    shown = 4 if len(value) >= _LONG else 2 if len(value) >= _TELLING else 0
    return "•••" + value[len(value) - shown :] if value else ""


def _whole(value: str) -> re.Pattern[str]:
    """Match a value that is not part of a longer word: an id `12` must not eat half of `512`."""
    return re.compile(rf"(?<![^\W_]){re.escape(value)}(?![^\W_])", re.IGNORECASE)
