"""What a redemption holds now, read from the platform's older API: whom to ask for, and what a reply says.

That API answers for a customer, not for a redemption, and only a few of its replies are documented. Forms that differ
without meaning anything else are read alike: one redemption or a list of them, a number or its text, nothing in any of
its spellings. What cannot be read is never guessed: a value that is taken for empty would be reported as such.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bulkredeem.model import CUSTOM_FIELD_PREFIX, Column, Correction

NO_SUCH_CUSTOMER: Final = "1012"
"""The platform's code for a customer whom it does not know."""
UNREADABLE: Final = "UNREADABLE_REPLY"
"""Our code for a reply that is JSON, but no page of redemptions."""
_READABLE_ENTITY: Final = "customer"
_QUERY_NAMES: Final = {"mobile": "mobile", "email": "email", "externalid": "external_id", "id": "id"}
"""The update's type of identifier, without case → the query's name for it."""
_WHOLE_NUMBER: Final = re.compile(r"(-?[0-9]+)(?:\.0+)?")
_EXACT_BELOW: Final = 2**53
"""Floats from here on have lost digits."""
_NOTHING: Final[tuple[object, ...]] = (None, "", [], {})
"""The spellings of nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Current:
    """One redemption as the platform shows it now."""

    redemption_id: str = ""
    """The platform's id of it, or empty when the reply does not say."""
    external_reference_number: str = ""
    """The brand's own id of it, or empty."""
    bill_number: str = ""
    """Empty when there is none, as with every text below."""
    bill_id: int | None = None
    """A positive whole number, or None while unset: the reply then says `-1`."""
    purpose: str = ""
    custom_fields: Mapping[str, str] = field(default_factory=dict)
    """Name → value."""

    def value_of(self, field: str) -> str:
        """Return the text of a field by the name of its column (`billId`, `customFields.card_number`), or empty."""
        if field.startswith(CUSTOM_FIELD_PREFIX):
            return self.custom_fields.get(field.removeprefix(CUSTOM_FIELD_PREFIX), "")
        named: dict[str, str] = {
            Column.BILL_NUMBER: self.bill_number,
            Column.BILL_ID: "" if self.bill_id is None else str(self.bill_id),
            Column.PURPOSE: self.purpose,
        }
        return named.get(field, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some of a customer's redemptions."""

    currents: tuple[Current, ...]
    """In the order of the reply; all of them, also those that say nothing of who they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A reply that holds no page."""

    code: str
    """The platform's number (`NO_SUCH_CUSTOMER`), `UNREADABLE`, or empty when the platform gives none."""
    message: str
    """The platform's own words, which may hold identifiers; empty when it has none."""


def customer_query(correction: Correction) -> dict[str, str] | None:
    """Return the query that names a correction's customer; None when such a customer cannot be read back."""
    name = _QUERY_NAMES.get(correction.identifier_type.casefold())
    if name is None or correction.entity_type.casefold() != _READABLE_ENTITY:
        return None
    return {name: correction.identifier_value}


def find(correction: Correction, currents: Sequence[Current]) -> Current | None:
    """Return the redemption that a correction names, exact to the last character, or None when it is not there."""
    if correction.redemption_id:
        return next((each for each in currents if each.redemption_id == correction.redemption_id), None)
    wanted = correction.external_reference_number
    return next((each for each in currents if wanted and each.external_reference_number == wanted), None)


def read_page(body: Mapping[str, Any]) -> Page | Refusal:
    """Return the redemptions that a reply's JSON object holds, or why it holds none; never raises.

    A page with a single redemption that cannot be read is unreadable: it may be the one that is looked for.
    """
    try:
        customer = _part(body.get("response"), "customer")
        refusal = _refusal(_part(customer, "item_status")) or _refusal(_part(body.get("response"), "status"))
        if refusal or customer is not None:
            return refusal or Page(currents=tuple(map(_current, _points(customer))))
    except ValueError as exc:
        return Refusal(code=UNREADABLE, message=str(exc))
    return Refusal(code=UNREADABLE, message="no customer is in it")


def _refusal(status: object) -> Refusal | None:
    if _text(_part(status, "success"), "success").casefold() != "false":
        return None
    return Refusal(code=_text(_part(status, "code"), "code"), message=_text(_part(status, "message"), "message"))


def _points(customer: object) -> list[object]:
    points = _part(_part(customer, "redemptions"), "points")
    return _listed(_part(points, "point"))


def _current(point: object) -> Current:
    return Current(
        redemption_id=_text_in(point, "redemption_id"),
        external_reference_number=_text_in(point, "external_reference_number"),
        bill_number=_text_in(point, "transaction_number"),
        bill_id=_bill_id(_text_in(point, "bill_id")),
        purpose=_text_in(point, "redemption_purpose"),
        custom_fields=dict(_custom_fields(_part(point, "custom_fields"))),
    )


def _bill_id(text: str) -> int | None:
    if not text:
        return None
    match = _WHOLE_NUMBER.fullmatch(text.strip())
    if match is None:
        raise ValueError("bill_id is no whole number")
    number = int(match[1])
    return number if number > 0 else None


def _custom_fields(found: object) -> Iterator[tuple[str, str]]:
    """Read name and value of each, from a list of both (bare or under `field`), or from a map of one to the other."""
    inner = found.get("field") if isinstance(found, dict) else found
    if isinstance(inner, list | dict):
        for each in _listed(inner):
            yield _text_in(each, "name"), _text_in(each, "value")
    elif isinstance(found, dict):
        for name, value in found.items():
            yield name, _text(value, "custom_fields")
    elif found not in _NOTHING:
        raise ValueError("custom_fields is neither a list nor an object")


def _listed(found: object) -> list[object]:
    """Return what may be a list, or a single one without its list, as a list."""
    if found in _NOTHING:
        return []
    return found if isinstance(found, list) else [found]


def _part(found: object, name: str) -> object:
    """Return what an object holds under a name; None when there is no such name, or nothing for an object."""
    if found in _NOTHING:
        return None
    if not isinstance(found, dict):
        raise ValueError(f"an object with {name} was expected")  # noqa: TRY004  all that is unreadable ends alike
    return found.get(name)


def _text_in(found: object, name: str) -> str:
    return _text(_part(found, name), name)


def _text(found: object, name: str) -> str:
    """Return a text, or the text of a number that is exact. Raises ValueError for what has none."""
    if found in _NOTHING:
        return ""
    if isinstance(found, float) and found.is_integer():
        if abs(found) >= _EXACT_BELOW:
            raise ValueError(f"{name} has lost digits")
        return str(int(found))
    if isinstance(found, str | int | float):
        return str(found)
    raise ValueError(f"{name} is neither a text nor a number")
