"""From an error code to what is known of it, and to who mends its rows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from bulkredeem.codes.of_rows import OF_ROWS
from bulkredeem.codes.of_the_platform import HTTP_FAMILIES, OF_THE_PLATFORM
from bulkredeem.codes.of_the_way import OF_THE_WAY
from bulkredeem.codes.values import Code, MendBy
from bulkredeem.model import DONE, Status

CODES: Final[Mapping[str, Code]] = {**OF_THE_PLATFORM, **OF_ROWS, **OF_THE_WAY}
"""Every code that a row can get, but for those of a family, in the order of the runbook."""
FAMILIES: Final[Mapping[str, Code]] = HTTP_FAMILIES
"""Codes that are known by how they begin: `HTTP_5xx` is all from `HTTP_500` to `HTTP_599`."""

_OF_A_FAMILY: Final = re.compile(r"(HTTP_[0-9])[0-9]{2}", re.ASCII)
_BY_STATUS: Final = {
    Status.INVALID: MendBy.FILE_OWNER,
    Status.REFUSED: MendBy.PLATFORM_OWNER,
    Status.FAILED: MendBy.NOBODY,
    Status.IN_DOUBT: MendBy.NOBODY,
    Status.PENDING: MendBy.NOBODY,
}
"""Who mends a row whose code says nothing."""


def code_named(error_code: str) -> Code | None:
    """Return what is known of one code, by its name or by its family; None for one that nobody has written about."""
    family = _OF_A_FAMILY.fullmatch(error_code)
    return CODES.get(error_code) or (FAMILIES.get(f"{family[1]}xx") if family else None)


def mend_by_of(status: Status, error_code: str) -> MendBy | None:
    """Return who mends a row, or None for one about which there is nothing to do.

    Of several codes, joined by `; `, the first that names somebody counts.
    """
    if status in DONE:
        return None
    known = filter(None, map(code_named, error_code.split("; ")))
    return next(filter(None, (code.mend_by for code in known)), None) or _BY_STATUS[status]
