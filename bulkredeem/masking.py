"""Texts that may travel: a row's identifiers and anything like one, replaced by the name of what stood there.

A masked text serves twice: it may go into a log or a summary, and 400 messages that differ only in an identifier
become one group.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_EMAIL = re.compile(r"[^\s@<>\"',;:()]+@[^\s@<>\"',;:()]+")
_LONG_NUMBER = re.compile(r"\d{6,}")
"""Six digits and more are a bill, a card or a telephone; codes and HTTP statuses are shorter."""


def mask(text: str, identifiers: Mapping[str, str]) -> str:
    """Return `text` with each of the identifiers (column → value), e-mail addresses and long numbers replaced."""
    for column, value in identifiers.items():
        if value.casefold() in text.casefold():
            text = _whole(value).sub(f"<{column}>", text)
    return _LONG_NUMBER.sub("<number>", _EMAIL.sub("<email>", text))


def _whole(value: str) -> re.Pattern[str]:
    """Match a value that is not part of a longer word: an id `12` must not eat half of `512`."""
    return re.compile(rf"(?<!\w){re.escape(value)}(?!\w)", re.IGNORECASE)
