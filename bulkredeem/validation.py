"""Whether a row can be sent: a pure rule from `Row` to `Correction` or `Invalid`.

All problems of a row are found at once. Rules the platform has too carry its number (748, 749, 1219, 8015); the
limits come from its reference page of the update endpoint, except the 50 characters of a bill number, which its
sibling transaction API documents and which therefore only warns.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Final

from bulkredeem.model import (
    CUSTOM_FIELD_PREFIX,
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

_SCIENTIFIC = re.compile(r"[+-]?\d([.,]\d+)?[Ee][+-]\d{2,}")
"""As spreadsheets write it, sign and two digits of exponent included; `8878E2` is an id like any other."""
_WHOLE_WITH_DECIMALS = re.compile(r"[+-]?\d+[.,]0+")
_WHOLE_NUMBER = re.compile(r"[0-9]+")
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
    if row.damage:
        return Invalid(row_number=row.row_number, problems=(row.damage,))
    draft = _Draft(row, rules)
    draft.examine()
    if draft.problems:
        return Invalid(row_number=row.row_number, problems=tuple(draft.problems))
    return draft.correction()


class _Draft:
    """One row under examination: its trimmed values, and the problems and warnings found so far."""

    def __init__(self, row: Row, rules: Rules) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        self._row_number = row.row_number
        self._rules = rules
        self._values = dict(self._trimmed(row.values))
        self._bill_id: int | None = None
        self._custom_fields: Mapping[str, str] = {}

    def examine(self) -> None:
        """Find all problems and warnings; characters first, so that no later rule judges a damaged value."""
        self._leave_out_the_other_identifier()
        self._values.setdefault(Column.ENTITY_TYPE, self._rules.default_entity_type)
        self._values.setdefault(Column.IDENTIFIER_TYPE, self._rules.default_identifier_type)
        self._refuse_unprintable()
        self._refuse_spreadsheet_damage()
        self._identify()
        self._complete_entity()
        self._bill_id = self._read_bill_id()
        self._custom_fields = self._collect_custom_fields()
        self._check_fields()

    def correction(self) -> Correction:
        """Return what is to be sent; only of a draft examined and without problems."""
        return Correction(
            row_number=self._row_number,
            redemption_id=self._get(Column.REDEMPTION_ID),
            external_reference_number=self._get(Column.EXTERNAL_REFERENCE_NUMBER),
            entity_type=self._get(Column.ENTITY_TYPE),
            identifier_type=self._get(Column.IDENTIFIER_TYPE),
            identifier_value=self._get(Column.IDENTIFIER_VALUE),
            bill_number=self._get(Column.BILL_NUMBER),
            bill_id=self._bill_id,
            purpose=self._get(Column.PURPOSE),
            custom_fields=self._custom_fields,
            warnings=tuple(self.warnings),
        )

    def _get(self, column: str) -> str:
        return self._values.get(column, "")

    def _problem(self, code: str, column: str, message: str) -> None:
        self.problems.append(Problem(code=code, column=column, message=message))

    def _is_sound(self, column: str) -> bool:
        """Whether there is a value, and nothing was found wrong with it yet."""
        return bool(self._get(column)) and all(problem.column != column for problem in self.problems)

    def _is_mobile(self) -> bool:
        return self._get(Column.IDENTIFIER_TYPE) == "mobile"

    def _trimmed(self, values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        for column, value in values.items():
            trimmed = value.strip(_BLANKS)
            if trimmed and trimmed != value:
                self.warnings.append(f"{column}: blanks around the value were left out")
            yield column, trimmed

    def _leave_out_the_other_identifier(self) -> None:
        """Forget the identifier that a setting says does not count: it is not sent, so it cannot be a problem."""
        if self._rules.identifier is IdentifierChoice.REDEMPTION_ID:
            self._values.pop(Column.EXTERNAL_REFERENCE_NUMBER, None)
        elif self._rules.identifier is IdentifierChoice.EXTERNAL_REFERENCE_NUMBER:
            self._values.pop(Column.REDEMPTION_ID, None)

    def _refuse_unprintable(self) -> None:
        for column, value in self._values.items():
            if not value.isprintable():
                self._judge_unprintable(column, value)

    def _judge_unprintable(self, column: str, value: str) -> None:
        categories = {unicodedata.category(character) for character in value if character not in _ALLOWED_CONTROLS}
        remedy = "type the value anew by hand"
        if "Cc" in categories:
            self._problem("CONTROL_CHARACTER", column, f"{column} holds a control character: {remedy}")
        elif "Cf" in categories and column in _EXACT:
            self._problem("INVISIBLE_CHARACTER", column, f"{column} holds an invisible character: {remedy}")
        elif column in _EXACT and not _LINE_ENDS.isdisjoint(value):
            # Nobody numbers bills in two lines: a stray quote has swallowed the rows in between.
            self._problem("LINE_BREAK", column, f"{column} holds a line break: look for a stray quote in the file")

    def _refuse_spreadsheet_damage(self) -> None:
        for column in _EXACT:
            numeric = column == Column.BILL_ID or (column == Column.IDENTIFIER_VALUE and self._is_mobile())
            damage = _spreadsheet_damage(self._get(column), numeric=numeric)
            if damage and (numeric or not self._rules.trust_ids):
                self._problem("SPREADSHEET_DAMAGE", column, f"{column}: {damage}")

    def _identify(self) -> None:
        first, second = Column.REDEMPTION_ID, Column.EXTERNAL_REFERENCE_NUMBER
        if self._get(first) and self._get(second):
            message = f"{first} and {second} are both filled: empty one, or say which counts with --identifier"
            self._problem("749", first, message)
        elif not self._get(first) and not self._get(second):
            choice = self._rules.identifier
            wanted = f"{first} and {second} are" if choice is IdentifierChoice.AUTO else f"{choice} is"
            column = second if choice is IdentifierChoice.EXTERNAL_REFERENCE_NUMBER else first
            self._problem("749", column, f"{wanted} empty: nothing says which redemption to update")

    def _complete_entity(self) -> None:
        for column in (Column.ENTITY_TYPE, Column.IDENTIFIER_TYPE, Column.IDENTIFIER_VALUE):
            if not self._get(column):
                self._problem("1219", column, f"{column} is empty: the platform must know the customer completely")
        self._warn_of_unknown(Column.ENTITY_TYPE, KNOWN_ENTITY_TYPES)
        self._warn_of_unknown(Column.IDENTIFIER_TYPE, KNOWN_IDENTIFIER_TYPES)
        if self._is_mobile() and self._is_sound(Column.IDENTIFIER_VALUE):
            self._read_mobile(self._get(Column.IDENTIFIER_VALUE))

    def _warn_of_unknown(self, column: Column, known: tuple[str, ...]) -> None:
        value = self._get(column)
        if value and value not in known:
            self.warnings.append(f"{column}: {value!r} is not one of {', '.join(known)}; sent as it is")

    def _read_mobile(self, written: str) -> None:
        """Bring a mobile number into the platform's form: country code and digits, no `+`."""
        column = Column.IDENTIFIER_VALUE
        digits = _MOBILE_DECORATION.sub("", written.removeprefix("+"))
        if not _WHOLE_NUMBER.fullmatch(digits) or _TRUNK_ZERO in written:
            self._problem("8015", column, f"{column} is not a mobile number: write country code and digits only")
            return
        if digits != written and len(digits) > _MOST_MOBILE_DIGITS:
            self._problem("8015", column, f"{column} has too many digits for one mobile number: write only one")
            return
        if digits != written:
            self.warnings.append(f"{column}: the mobile number is sent as digits only")
        if self._rules.default_country_code and written[0] != "+" and len(digits) == _LOCAL_MOBILE_DIGITS:
            digits = self._rules.default_country_code + digits
            self.warnings.append(f"{column}: the country code was put before the ten digits")
        self._values[column] = digits

    def _read_bill_id(self) -> int | None:
        column = Column.BILL_ID
        if not self._is_sound(column):
            return None
        text = self._get(column)
        digits = text.lstrip("0")
        if not _SIGNED_INTEGER.fullmatch(text):
            self._problem("BILL_ID_NOT_A_WHOLE_NUMBER", column, f"{column} is not a whole number: digits only")
        elif text[0] in "+-" or not digits:
            self._problem("BILL_ID_NOT_POSITIVE", column, f"{column} is not a positive number without a sign")
        elif len(digits) > len(str(MAX_BILL_ID)) or int(digits) > MAX_BILL_ID:
            self._problem("BILL_ID_TOO_LARGE", column, f"{column} is larger than {MAX_BILL_ID}, the largest there is")
        else:
            if digits != text:
                self.warnings.append(f"{column}: sent as a number, so without its leading zeros")
            return int(digits)
        return None

    def _collect_custom_fields(self) -> Mapping[str, str]:
        return {
            column.removeprefix(CUSTOM_FIELD_PREFIX): value
            for column, value in self._values.items()
            if value and column.startswith(CUSTOM_FIELD_PREFIX)
        }

    def _check_fields(self) -> None:
        bill, purpose = Column.BILL_NUMBER, Column.PURPOSE
        if not (self._custom_fields or any(map(self._get, (bill, Column.BILL_ID, purpose)))):
            self._problem("748", bill, "the row sets nothing: fill billNumber, billId, purpose or a custom field")
        if len(self._get(purpose)) > MAX_PURPOSE:
            self._problem("PURPOSE_TOO_LONG", purpose, f"{purpose} is longer than {MAX_PURPOSE} characters: shorten it")
        if len(self._get(bill)) > USUAL_BILL_NUMBER:
            self.warnings.append(f"{bill}: longer than {USUAL_BILL_NUMBER} characters; sent as it is")


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
