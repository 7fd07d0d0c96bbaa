"""Whether a row can be sent: a pure rule from `Row` to `Correction` or `Invalid`.

All problems of a row are found at once. Rules the platform has too carry its number (748, 749, 1219, 8015); the
limits come from its reference page of the update endpoint, except the 50 characters of a bill number, which its
sibling transaction API documents and which therefore only warns.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Final

from bulkredeem.model import (
    CUSTOM_FIELD_PREFIX,
    EXPECTED_PREFIX,
    Column,
    Correction,
    IdentifierChoice,
    Invalid,
    Problem,
    Row,
    Rules,
)

MAX_BILL_ID: Final = 2**63 - 1
MAX_PURPOSE: Final = 255
USUAL_BILL_NUMBER: Final = 50
KNOWN_ENTITY_TYPES: Final = ("CUSTOMER", "USERGROUP2", "FLEET")
KNOWN_IDENTIFIER_TYPES: Final = ("mobile", "email", "externalId", "id", "cardnumber", "cardExternalId")

_EXACT = (
    Column.REDEMPTION_ID,
    Column.EXTERNAL_REFERENCE_NUMBER,
    Column.BILL_NUMBER,
    Column.BILL_ID,
    Column.IDENTIFIER_VALUE,
)
"""The columns in which one wrong character means another redemption, bill or customer. Their order is that of the
problems in a report, so it must not change from run to run."""

_IDENTIFIERS: Final = (Column.REDEMPTION_ID, Column.EXTERNAL_REFERENCE_NUMBER)
_ENTITY: Final = (Column.ENTITY_TYPE, Column.IDENTIFIER_TYPE, Column.IDENTIFIER_VALUE)
_FIELDS: Final = (Column.BILL_NUMBER, Column.BILL_ID, Column.PURPOSE)
_NOT_SENT: Final = {
    IdentifierChoice.REDEMPTION_ID: Column.EXTERNAL_REFERENCE_NUMBER,
    IdentifierChoice.EXTERNAL_REFERENCE_NUMBER: Column.REDEMPTION_ID,
}
"""The identifier that does not count, by the one that was chosen."""
_MOBILE: Final = "mobile"

_SCIENTIFIC = re.compile(r"[+-]?\d([.,]\d+)?[Ee][+-]\d{2,}")
"""As spreadsheets write it, sign and two digits of exponent included; `8878E2` is an id like any other."""
_WHOLE_WITH_DECIMALS = re.compile(r"[+-]?\d+[.,]0+")
_MOST_BILL_ID_DIGITS: Final = len(str(MAX_BILL_ID))
_SIGNED_INTEGER = re.compile(r"[+-]?[0-9]+")
_MOBILE_DECORATION = re.compile("[ \u00a0\u2009\u202f().-]+")
"""What people write between digits. Not a slash and not a line break: those stand between two numbers."""
_TRUNK_ZERO: Final = "(0)"
"""`+44 (0)7700 900123` has a zero too many for the platform; which one is meant is not ours to guess."""
_LOCAL_MOBILE_DIGITS: Final = 10
_MOST_MOBILE_DIGITS: Final = 15
"""E.164. More of them with something between are two numbers in one cell."""
_LINE_ENDS = frozenset("\r\n")
_ALLOWED_CONTROLS = _LINE_ENDS | {"\t"}
_BLANKS = " \t\r\n\u00a0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
"""What is trimmed: what Python calls a blank, less its control characters, which are refused wherever they stand."""


def validate(row: Row, rules: Rules) -> Correction | Invalid:
    """Return the correction a row wants, or all its problems. Raises nothing: a bad row is a value."""
    return Judge(tuple(row.values), rules).judge(row.row_number, tuple(row.values.values()), row.damage)


class _Findings:
    """The problems and warnings found so far in one row."""

    __slots__ = ("problems", "warnings")

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[str] = []

    def problem(self, code: str, column: str, message: str) -> None:
        self.problems.append(Problem(code=code, column=column, message=message))

    def warn(self, column: str, message: str) -> None:
        self.warnings.append(f"{column}: {message}")

    def are_about(self, column: str) -> bool:
        """Whether something is wrong with the value of this column."""
        return any(problem.column == column for problem in self.problems)


class Judge:
    """Judges the rows of one file: what is the same for all of them is settled once, and a good row costs little."""

    def __init__(self, columns: Sequence[str], rules: Rules) -> None:
        """Take note of the columns used, in the order in which each row brings its cells."""
        self._columns = tuple(columns)
        self._rules = rules
        self._added = ("", rules.default_entity_type, rules.default_identifier_type)
        self._places = self._places_of_values()
        self._identifiers = itemgetter(*map(self._place, _IDENTIFIERS))
        self._entity = itemgetter(*map(self._place, _ENTITY))
        self._fields = itemgetter(*map(self._place, _FIELDS))
        self._custom_fields = self._named_with(CUSTOM_FIELD_PREFIX)
        self._expected = self._named_with(EXPECTED_PREFIX)

    def _named_with(self, prefix: str) -> list[tuple[str, int]]:
        """Return name and place of each column with a prefix."""
        return [
            (column.removeprefix(prefix), place) for column, place in self._places.items() if column.startswith(prefix)
        ]

    def _places_of_values(self) -> Mapping[str, int]:
        """Say where the value of each column stands among a row's cells and what is added to them.

        The identifier that a setting says does not count has no place: it is not sent, so it cannot be a problem.
        """
        unsent = _NOT_SENT.get(self._rules.identifier)
        places = {column: place for place, column in enumerate(self._columns) if column != unsent}
        places.setdefault(Column.ENTITY_TYPE, len(self._columns) + 1)
        places.setdefault(Column.IDENTIFIER_TYPE, len(self._columns) + 2)
        return places

    def _place(self, column: str) -> int:
        """Return the place of a column's value; that of the empty one for a column that is not there."""
        return self._places.get(column, len(self._columns))

    def judge(self, row_number: int, cells: tuple[str, ...], damage: Problem | None = None) -> Correction | Invalid:
        """Return the correction that the cells of a row want, or all its problems; damage is its only one.

        Characters come first, so that no later rule judges a damaged value.
        """
        if damage:
            return Invalid(row_number=row_number, problems=(damage,))
        found = _Findings()
        values = self._examine(cells, found)
        redemption_id, external_reference_number = self._identify(values, found)
        entity_type, identifier_type, identifier_value = self._complete_entity(values, found)
        bill_number, bill_id, purpose, custom_fields = self._read_fields(values, found)
        if found.problems:
            return Invalid(row_number=row_number, problems=tuple(found.problems))
        return Correction(
            row_number=row_number,
            redemption_id=redemption_id,
            external_reference_number=external_reference_number,
            entity_type=entity_type,
            identifier_type=identifier_type,
            identifier_value=identifier_value,
            bill_number=bill_number,
            bill_id=bill_id,
            purpose=purpose,
            custom_fields=custom_fields,
            warnings=tuple(found.warnings),
            expected={name: cells[place] for name, place in self._expected if cells[place]} if self._expected else {},
        )

    def _examine(self, cells: tuple[str, ...], found: _Findings) -> tuple[str, ...]:
        """Return the trimmed values and what is added to them; note what their characters say.

        One look at all of them together spares most rows a look at each. A space is the only blank that is printable.
        What an undo sets back is exact, blanks and all.
        """
        values = cells + self._added
        text = "".join(values)
        is_printable = text.isprintable()
        if (not is_printable or " " in text) and not self._expected:
            values = self._trim(cells, found) + self._added
        if not is_printable:
            self._refuse_unprintable(values, found)
        if _may_be_rewritten(text):
            self._refuse_spreadsheet_damage(values, found)
        return values

    def _trim(self, cells: tuple[str, ...], found: _Findings) -> tuple[str, ...]:
        values = tuple([cell.strip(_BLANKS) for cell in cells])
        if values != cells:
            for column, cell, value in zip(self._columns, cells, values, strict=True):
                if value and value != cell:
                    found.warn(column, "blanks around the value were left out")
        return values

    def _refuse_unprintable(self, values: tuple[str, ...], found: _Findings) -> None:
        for column, place in self._places.items():
            if not values[place].isprintable():
                _judge_unprintable(column, values[place], found)

    def _refuse_spreadsheet_damage(self, values: tuple[str, ...], found: _Findings) -> None:
        is_mobile = values[self._place(Column.IDENTIFIER_TYPE)] == _MOBILE
        for column in _EXACT:
            numeric = column == Column.BILL_ID or (column == Column.IDENTIFIER_VALUE and is_mobile)
            damage = _spreadsheet_damage(values[self._place(column)], numeric=numeric)
            if damage and (numeric or not self._rules.trust_ids):
                found.problem("SPREADSHEET_DAMAGE", column, f"{column}: {damage}")

    def _identify(self, values: tuple[str, ...], found: _Findings) -> tuple[str, str]:
        redemption_id, external_reference_number = self._identifiers(values)
        if redemption_id and external_reference_number:
            first, second = _IDENTIFIERS
            message = f"{first} and {second} are both filled: empty one, or say which counts with --identifier"
            found.problem("749", first, message)
        elif not redemption_id and not external_reference_number:
            first, second = _IDENTIFIERS
            choice = self._rules.identifier
            wanted = f"{first} and {second} are" if choice is IdentifierChoice.AUTO else f"{choice} is"
            column = second if choice is IdentifierChoice.EXTERNAL_REFERENCE_NUMBER else first
            found.problem("749", column, f"{wanted} empty: nothing says which redemption to update")
        return redemption_id, external_reference_number

    def _complete_entity(self, values: tuple[str, ...], found: _Findings) -> tuple[str, str, str]:
        entity_type, identifier_type, identifier_value = entity = self._entity(values)
        if not (entity_type and identifier_type and identifier_value):
            for column, value in zip(_ENTITY, entity, strict=True):
                if not value:
                    found.problem("1219", column, f"{column} is empty: the platform must know the customer completely")
        if entity_type not in KNOWN_ENTITY_TYPES:
            _warn_of_unknown(Column.ENTITY_TYPE, entity_type, KNOWN_ENTITY_TYPES, found)
        if identifier_type not in KNOWN_IDENTIFIER_TYPES:
            _warn_of_unknown(Column.IDENTIFIER_TYPE, identifier_type, KNOWN_IDENTIFIER_TYPES, found)
        if identifier_type == _MOBILE and not (found.problems and found.are_about(Column.IDENTIFIER_VALUE)):
            identifier_value = self._read_mobile(identifier_value, found)
        return entity_type, identifier_type, identifier_value

    def _read_mobile(self, written: str, found: _Findings) -> str:
        """Bring a mobile number into the platform's form: country code and digits, no `+`."""
        digits = written if _is_digits(written) else _without_decoration(written, found)
        country_code = self._rules.default_country_code
        if country_code and written[0] != "+" and len(digits) == _LOCAL_MOBILE_DIGITS:
            found.warn(Column.IDENTIFIER_VALUE, "the country code was put before the ten digits")
            return country_code + digits
        return digits

    def _read_fields(self, values: tuple[str, ...], found: _Findings) -> tuple[str, int | None, str, Mapping[str, str]]:
        bill_number, bill_id, purpose = self._fields(values)
        number = _read_bill_id(bill_id, found) if bill_id else None
        custom_fields = {name: values[place] for name, place in self._custom_fields if values[place]}
        if not (bill_number or bill_id or purpose or custom_fields):
            words = "the row sets nothing: fill billNumber, billId, purpose or a custom field"
            found.problem("748", Column.BILL_NUMBER, words)
        if len(purpose) > MAX_PURPOSE:
            column = Column.PURPOSE
            found.problem("PURPOSE_TOO_LONG", column, f"{column} is longer than {MAX_PURPOSE} characters: shorten it")
        if len(bill_number) > USUAL_BILL_NUMBER:
            found.warn(Column.BILL_NUMBER, f"longer than {USUAL_BILL_NUMBER} characters; sent as it is")
        return bill_number, number, purpose, custom_fields


def _is_digits(text: str) -> bool:
    """Whether it is a whole number, in the ten digits that the platform knows."""
    return text.isascii() and text.isdigit()


def _judge_unprintable(column: str, value: str, found: _Findings) -> None:
    categories = {unicodedata.category(character) for character in value if character not in _ALLOWED_CONTROLS}
    remedy = "type the value anew by hand"
    if "Cc" in categories:
        found.problem("CONTROL_CHARACTER", column, f"{column} holds a control character: {remedy}")
    elif "Cf" in categories and column in _EXACT:
        found.problem("INVISIBLE_CHARACTER", column, f"{column} holds an invisible character: {remedy}")
    elif column in _EXACT and not _LINE_ENDS.isdisjoint(value):
        # Nobody numbers bills in two lines: a stray quote has swallowed the rows in between.
        found.problem("LINE_BREAK", column, f"{column} holds a line break: look for a stray quote in the file")


def _warn_of_unknown(column: Column, value: str, known: tuple[str, ...], found: _Findings) -> None:
    if value:
        found.warn(column, f"{value!r} is not one of {', '.join(known)}; sent as it is")


def _without_decoration(written: str, found: _Findings) -> str:
    """Return the digits of a mobile number that is written with more than digits; empty when it is none."""
    column = Column.IDENTIFIER_VALUE
    digits = _MOBILE_DECORATION.sub("", written.removeprefix("+"))
    if not _is_digits(digits) or _TRUNK_ZERO in written:
        found.problem("8015", column, f"{column} is not a mobile number: write country code and digits only")
    elif len(digits) > _MOST_MOBILE_DIGITS:
        found.problem("8015", column, f"{column} has too many digits for one mobile number: write only one")
    else:
        found.warn(column, "the mobile number is sent as digits only")
        return digits
    return ""


def _read_bill_id(text: str, found: _Findings) -> int | None:
    if found.problems and found.are_about(Column.BILL_ID):
        return None
    digits = text.lstrip("0")
    if not _is_digits(text) or not digits:
        _refuse_bill_id(text, found)
    elif len(digits) > _MOST_BILL_ID_DIGITS or (number := int(digits)) > MAX_BILL_ID:
        column = Column.BILL_ID
        found.problem("BILL_ID_TOO_LARGE", column, f"{column} is larger than {MAX_BILL_ID}, the largest there is")
    else:
        if digits != text:
            found.warn(Column.BILL_ID, "sent as a number, so without its leading zeros")
        return number
    return None


def _refuse_bill_id(text: str, found: _Findings) -> None:
    """Say of what is no row of digits, or of zeros only, what it is instead."""
    column = Column.BILL_ID
    if _SIGNED_INTEGER.fullmatch(text):
        found.problem("BILL_ID_NOT_POSITIVE", column, f"{column} is not a positive number without a sign")
    else:
        found.problem("BILL_ID_NOT_A_WHOLE_NUMBER", column, f"{column} is not a whole number: digits only")


def _may_be_rewritten(text: str) -> bool:
    """Whether a spreadsheet can have rewritten any of a row's values, which are here one behind the other.

    It answers for most rows what `_spreadsheet_damage` would say of each value, at a fifth of the cost.
    """
    has_exponent = ("+" in text or "-" in text) and ("E+" in text or "E-" in text or "e+" in text or "e-" in text)
    return has_exponent or (("." in text or "," in text) and (".0" in text or ",0" in text))


def _spreadsheet_damage(value: str, *, numeric: bool) -> str:
    """Say what a spreadsheet did to the value, or nothing when it looks whole."""
    if _SCIENTIFIC.fullmatch(value):
        return (
            "a spreadsheet rewrote the number in scientific form, and the digits it left out are lost;"
            " format the column as text and fill it anew from the source"
        )
    if numeric and _WHOLE_WITH_DECIMALS.fullmatch(value):
        return "a spreadsheet or script added decimals to a whole number; format the column as text and fill it anew"
    return ""
