"""What an update must look like: a table of the documented rules, and the reading of a request's body.

The codes and limits stand here a second time on purpose: taken from `validation`, one wrong number would be wrong on
both sides of every test, and unseen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from bulkredeem.sandbox.replies import Reply, refused
from bulkredeem.sandbox.values import UpdateRequest

_MAX_BILL_ID: Final = 2**63 - 1
_MAX_PURPOSE: Final = 255
_ENTITY_TYPES: Final = frozenset({"CUSTOMER", "USERGROUP2", "FLEET"})
_IDENTIFIER_TYPES: Final = frozenset({"mobile", "email", "externalId", "id", "cardnumber", "cardExternalId"})
_IDENTIFIERS: Final = ("redemptionId", "externalReferenceNumber")
_FIELDS: Final = ("billNumber", "billId", "purpose", "customFields")
_EMPTY: Final[tuple[object, ...]] = (None, "", {})
"""What an update may hold for a field it leaves alone; whether the platform would clear the field is unknown."""
_DIGITS = re.compile(r"[0-9]+")

Body = Mapping[str, Any]
"""A request's body: a JSON object of anything."""


def read_update(raw: bytes) -> UpdateRequest | Reply:
    """Return the update a body asks for, or the refusal of the first rule it breaks."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        return refused(400, 400, "Input is invalid. Please check request parameters or input JSON")
    broken = next(((code, message) for code, message, is_kept in _RULES if not is_kept(body)), None)
    return refused(400, *broken) if broken else _update(body)


def _update(body: Body) -> UpdateRequest:
    entity = _entity(body)
    return UpdateRequest(
        redemption_id=body.get("redemptionId") or "",
        external_reference_number=body.get("externalReferenceNumber") or "",
        entity_type=entity["type"],
        identifier_type=entity["identifierType"],
        identifier_value=entity["identifierValue"],
        fields={name: body[name] for name in _FIELDS if _has(body, name)},
    )


def _has(body: Body, name: str) -> bool:
    return body.get(name) not in _EMPTY


def _entity(body: Body) -> Body:
    entity = body.get("entity")
    return entity if isinstance(entity, dict) else {}


def _names_one_redemption(body: Body) -> bool:
    return sum(_has(body, name) for name in _IDENTIFIERS) == 1


def _names_the_customer(body: Body) -> bool:
    parts = [_entity(body).get(name) for name in ("type", "identifierType", "identifierValue")]
    return all(isinstance(part, str) and part for part in parts) and parts[1] in _IDENTIFIER_TYPES


def _has_well_formed_identifiers(body: Body) -> bool:
    entity = _entity(body)
    is_sound = entity["identifierType"] != "mobile" or _DIGITS.fullmatch(entity["identifierValue"])
    return bool(is_sound) and _are_texts(*map(body.get, _IDENTIFIERS))


def _has_whole_bill_id(body: Body) -> bool:
    # `type`, because a JSON `true` is an int to isinstance; a JSON `5.0` is a float and refused.
    bill_id = body.get("billId")
    return bill_id is None or (type(bill_id) is int and 1 <= bill_id <= _MAX_BILL_ID)


def _has_texts(body: Body) -> bool:
    return _are_texts(body.get("billNumber"), body.get("purpose"))


def _has_textual_custom_fields(body: Body) -> bool:
    fields = body.get("customFields")
    return fields is None or (isinstance(fields, dict) and all(isinstance(value, str) for value in fields.values()))


def _are_texts(*values: object) -> bool:
    return all(value is None or isinstance(value, str) for value in values)


_RULES: Final[tuple[tuple[int, str, Callable[[Body], bool]], ...]] = (
    (749, "Exactly one redemption identifier needed to identify redemption", _names_one_redemption),
    (1219, "Entity details not set/invalid", _names_the_customer),
    (1212, "Entity type passed is not valid", lambda body: _entity(body)["type"] in _ENTITY_TYPES),
    (8015, "Invalid or malformed identifier provided in request body", _has_well_formed_identifiers),
    (748, "No metadata update requested", lambda body: any(_has(body, name) for name in _FIELDS)),
    (750, "Redemption update failed : billId is not a positive whole number", _has_whole_bill_id),
    (750, "Redemption update failed : billNumber and purpose must be texts", _has_texts),
    (
        750,
        f"Redemption update failed : purpose is longer than {_MAX_PURPOSE} characters",
        lambda body: len(body.get("purpose") or "") <= _MAX_PURPOSE,
    ),
    (750, "Redemption update failed : customFields must be an object of texts", _has_textual_custom_fields),
)
"""Code, message and what must hold. Order matters: later rules rely on what the earlier ones made sure of."""
