"""The names of columns: which of a file's columns we use, which are carried along, which a report of ours adds.

Pure rules. A file's header is matched without regard to case, spaces, `_`, `-` and `.`: `Bill Number`, `bill_number`
and `bill.number` are all `billNumber`. An explicit map (`Bill No` → `billNumber`) beats that.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bulkredeem.model import CUSTOM_FIELD_PREFIX, Column

RESULT_MARK = ("row_number", "status", "error_code", "error_message")
"""The columns by which a file of ours is recognised when it comes back."""
RESULT_HEAD = (*RESULT_MARK, "mend_by", "reason")
"""The columns a report of ours starts with."""
RESULT_TAIL = ("warnings", "http_status", "attempts", "request_id", "finished_at")
"""The columns a report of ours ends with."""
OURS = frozenset(RESULT_HEAD + RESULT_TAIL)
_OURS_ALONE = frozenset(
    {"row_number", "error_code", "error_message", "mend_by", "http_status", "request_id", "finished_at"}
)
"""Columns of ours that other files rarely have, and never many of them."""
_ENOUGH_ALONE = 5
"""So many of those make a report of ours."""
_ENOUGH = 7
"""So many columns of ours make one, whichever they are."""
_ENOUGH_WITH_MEND_BY = 5
_ENOUGH_WITH_BOTH = 3
"""So many do if `mend_by` and `error_message` are among them: hardly anybody else has both."""

_SEPARATORS = re.compile(r"[\s_.\-]+")
_CUSTOM_FIELD = re.compile(r"custom[\s_.\-]*fields(?:[\s_\-]*\.|[\s_\-])\s*(?P<name>\S|\S.*\S)", re.IGNORECASE)
"""One separator, and then the name exactly: `customFields._x` is the custom field `_x`."""
_IDENTIFIERS = (Column.REDEMPTION_ID, Column.EXTERNAL_REFERENCE_NUMBER)
_FIELDS = (Column.BILL_NUMBER, Column.BILL_ID, Column.PURPOSE)
_LIKE_A_CELL = re.compile(r"\d{5}|\d(?:[ ().-]{1,2}\d|\d){8}|@")
"""Found in mobile numbers, as people write them too, ids and e-mail addresses; hardly ever in the name of a column."""
_NO_HEADER = "The file seems to have no header, but a row in its place: put the names of the columns above it."
_ENDS = 4
"""Characters of a cell that are shown at most."""
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_CANONICAL = f"{', '.join(Column)} and {CUSTOM_FIELD_PREFIX}<name>"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMap:
    """Which column of a file is used as what."""

    headers: tuple[str, ...]
    """The file's own headers, in its order, as they stand there; reports carry all of them."""
    used: Mapping[str, int]
    """Canonical name → index in `headers`."""

    def pairs(self) -> list[tuple[str, str]]:
        """Return pairs of (header in the file, canonical name), in the file's order."""
        return [(self.headers[index], name) for name, index in sorted(self.used.items(), key=lambda entry: entry[1])]

    def in_words(self) -> str:
        """Say which columns are used as what, and which are only carried along: a person must be able to object."""
        used = [
            shown_header(name) if header == name else f"{shown_header(header.strip())} as {shown_header(name)}"
            for header, name in self.pairs()
        ]
        carried = [
            shown_header(header.strip()) or "(no name)"
            for index, header in enumerate(self.headers)
            if index not in self.used.values()
        ]
        return f"uses {', '.join(used)}" + (f"; carries along {', '.join(carried)}" if carried else "")


def is_ours(header: Sequence[str]) -> bool:
    """Whether the file is a report of ours that comes back, mended or not.

    Also one of which somebody has deleted or moved columns, as long as enough of ours are left. A report never has one
    of them twice, and calls a person's own columns otherwise.
    """
    if tuple(header[: len(RESULT_MARK)]) == RESULT_MARK:
        return True
    found = Counter(name for name in header if name in OURS)
    if max(found.values(), default=0) > 1:
        return False
    if "mend_by" in found:
        return len(found) >= (_ENOUGH_WITH_BOTH if "error_message" in found else _ENOUGH_WITH_MEND_BY)
    return found.keys() >= {*RESULT_TAIL} or len(found) >= _ENOUGH or len(found.keys() & _OURS_ALONE) >= _ENOUGH_ALONE


def shown_header(header: str) -> str:
    """Return what may be shown of a header: of one that looks like a customer's mobile number or e-mail, its end.

    A file without a header has a row in its place, and sentences that name its columns travel.
    """
    return _end_of(header) if _LIKE_A_CELL.search(header) else header


def listed(headers: Iterable[str], most: int = 20) -> str:
    """Return headers in quotes, at most so many of them, as far as they may be shown."""
    names = list(headers)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(repr(shown_header(name)) for name in names[:most]) + more


def carried_name(header: str) -> str:
    """Return the name under which a report carries a file's own column: one called as ours gets a prefix."""
    return f"input.{header}" if header in OURS else header


def canonical_name(header: str) -> str | None:
    """Return the canonical name that a header spells, or None when it is a column we do not use."""
    custom = _CUSTOM_FIELD.fullmatch(header.strip())
    if custom:
        return CUSTOM_FIELD_PREFIX + custom["name"]
    return _SPELLINGS.get(_SEPARATORS.sub("", header).casefold())


def map_columns(headers: Sequence[str], explicit: Mapping[str, str]) -> ColumnMap:
    """Say which column is used as what.

    `explicit` maps a header of the file to a canonical name (in any spelling), and beats a column that has that name by
    itself. Raises ValueError with all that is wrong, one sentence each.
    """
    chosen, problems = _explicit_columns(headers, explicit)
    taken = set(chosen.values())
    named = {
        index: name
        for index, header in enumerate(headers)
        if index not in chosen and (name := canonical_name(header)) and name not in taken
    }
    columns = chosen | named
    problems += _repeated(headers, columns)
    problems += [] if problems else _missing(headers, set(columns.values()))
    if problems and _is_a_row(headers):
        problems.insert(0, _NO_HEADER)
    if problems:
        raise ValueError(" ".join(problems))
    return ColumnMap(headers=tuple(headers), used={name: index for index, name in columns.items()})


def _spellings() -> dict[str, str]:
    plain = {str(column).casefold(): str(column) for column in Column}
    nested = {f"entity{column.casefold()}": str(column) for column in (Column.IDENTIFIER_TYPE, Column.IDENTIFIER_VALUE)}
    return plain | nested


_SPELLINGS = _spellings()


def _explicit_columns(headers: Sequence[str], explicit: Mapping[str, str]) -> tuple[dict[int, str], list[str]]:
    chosen: dict[int, str] = {}
    problems = []
    trimmed = [header.strip() for header in headers]
    for header, target in explicit.items():
        name = canonical_name(target)
        # A report of ours that comes back has a column called like one of ours under its carried name.
        wanted = header.strip() if header.strip() in trimmed else carried_name(header.strip())
        count = trimmed.count(wanted)
        if name is None:
            problems.append(f"The map says {header!r} is {target!r}, but the columns are {_CANONICAL}.")
        elif count == 1:
            chosen[trimmed.index(wanted)] = name
        elif count == 0:
            problems.append(f"The map names the column {header!r}, which the file does not have: {_had(headers)}.")
        else:
            problems.append(f"The map names the column {header!r}, which the file has {count} times: rename one.")
    return chosen, problems


def _repeated(headers: Sequence[str], columns: Mapping[int, str]) -> list[str]:
    repeated = [name for name, count in Counter(columns.values()).items() if count > 1]
    return [
        f"{len(sources)} columns are all {shown_header(name)}: {listed(sources)}. Remove or rename all but one."
        for name in repeated
        if (sources := [headers[index] for index, used_as in sorted(columns.items()) if used_as == name])
    ]


def _missing(headers: Sequence[str], names: set[str]) -> list[str]:
    """Say what no row of this file could be sent without."""
    lacking = []
    if not names.intersection(_IDENTIFIERS):
        lacking.append(" or ".join(_IDENTIFIERS))
    if not names.intersection(_FIELDS) and not any(name.startswith(CUSTOM_FIELD_PREFIX) for name in names):
        lacking.append(f"anything to set ({', '.join(_FIELDS)}, {CUSTOM_FIELD_PREFIX}<name>)")
    if Column.IDENTIFIER_VALUE not in names:
        lacking.append(f"{Column.IDENTIFIER_VALUE} (the customer's mobile number or other id)")
    if not lacking:
        return []
    problem = (
        f"There is no column for {'; nor for '.join(lacking)}. The file has {_had(headers)}."
        f" Rename a column, or say which is which: --map 'Bill No=billNumber'.{_delimiter_hint(headers)}"
    )
    return [problem]


def _delimiter_hint(headers: Sequence[str]) -> str:
    if len(headers) == 1:
        for delimiter, name in _DELIMITERS.items():
            if delimiter in headers[0]:
                option = "tab" if delimiter == "\t" else f"'{delimiter}'"
                return f" Its cells seem to be separated by {name}: --delimiter {option}."
    return ""


def _had(headers: Sequence[str]) -> str:
    """List what the file has; of a row nothing is shown whole, since a customer's name looks like any header."""
    return listed(map(_end_of, headers) if _is_a_row(headers) else headers)


def _is_a_row(headers: Sequence[str]) -> bool:
    """Say whether what stands where the header must is a row: something looks like a cell, and no name is known."""
    return any(map(_LIKE_A_CELL.search, headers)) and not any(map(canonical_name, headers))


def _end_of(cell: str) -> str:
    """Return the end of a cell, so that somebody who has the file finds it there; a quarter of it at most."""
    cell = cell.strip()
    shown = min(_ENDS, len(cell) // 4)
    return f"•••{cell[len(cell) - shown :]}" if cell else ""
