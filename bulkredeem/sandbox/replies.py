"""What the sandbox says: the shapes of success, of errors and of the read-back, as the vendor's samples show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import orjson

from bulkredeem.sandbox.values import PROGRAM_ID, Redemption

_TILL_ID: Final = 75_000_001
_TILL: Final = {"code": "sandbox.till", "name": "sandbox.till"}
_STORE: Final = {"code": "sandbox", "name": "Sandbox"}
_NOTES: Final = "Redeemed in the sandbox"


class Then(StrEnum):
    """What happens to the connection."""

    REPLY = "reply"
    """The reply goes out whole, and the connection stays open."""
    RESET = "reset"
    """The connection is reset, after the body when there is one: it then promised one byte more."""
    HANG = "hang"
    """Nothing comes (after the body, when there is one) until the sandbox stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What goes over the wire."""

    status: int
    body: bytes | None
    """None sends nothing at all, not even a status line; only for a reset or a hang."""
    headers: Mapping[str, str] = field(default_factory=dict)
    then: Then = Then.REPLY
    chunk_delay: float = 0.0
    """Seconds after each few bytes; 0.0 sends the body at once."""


def errors_body(code: int, message: str) -> bytes:
    """Return the body of a reply with one error."""
    error = {"status": False, "code": code, "message": message}
    return orjson.dumps({"errors": [error], "warnings": []})


def wrapped(reply: Reply) -> Reply:
    """Return a reply as one hears it who came with a token: errors are wrapped, all else is as it was."""
    try:
        body = orjson.loads(reply.body or b"")
    except orjson.JSONDecodeError:
        return reply
    if not isinstance(body, dict) or set(body) != {"errors", "warnings"}:
        return reply
    return replace(reply, body=orjson.dumps({"data": None, "errors": body["errors"], "warnings": None}))


def token_given(token: str, seconds: float) -> Reply:
    """Return the reply to key and secret: the token, and how many seconds it lives."""
    return Reply(status=200, body=orjson.dumps({"data": {"accessToken": token, "ttlSeconds": seconds}, "errors": None}))


def refused(status: int, code: int, message: str, *, headers: Mapping[str, str] | None = None) -> Reply:
    """Return the reply with one error."""
    return Reply(status=status, body=errors_body(code, message), headers=headers or {})


def updated(redemption: Redemption) -> Reply:
    """Return the reply to an update that was applied: the redemption as it now is."""
    known: dict[str, Any] = {"externalReferenceNumber": redemption.external_reference_number}
    if redemption.custom_fields:
        known["customFields"] = _named(redemption.custom_fields)
    echo = {
        "id": redemption.number,
        "programId": PROGRAM_ID,
        "pointsRedeemed": float(redemption.points),
        "billId": redemption.bill_id,
        "billNumber": redemption.bill_number,
        "validationCode": "",
        "notes": _NOTES,
        "redemptionTime": redemption.redeemed_at_ms,
        "pointsRedemptionTime": redemption.redeemed_at_ms,
        "tillId": _TILL_ID,
        "tillName": "",
        "pointDeductionList": [],
        "redemptionId": redemption.redemption_id,
        "customerId": redemption.customer_number,
        "redemptionPurpose": redemption.purpose,
        "redemptionDate": redemption.redeemed_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "warnings": [],
    }
    return Reply(status=200, body=orjson.dumps(echo | {name: value for name, value in known.items() if value}))


def redemptions_found(redemptions: Sequence[Redemption], *, identifier: Mapping[str, str]) -> Reply:
    """Return one page of the read-back; `identifier` is how the request named the customer."""
    customer: dict[str, Any] = {
        "mobile": "",
        "email": "",
        "external_id": None,
        **identifier,
        "firstname": "Asha",
        "lastname": "Rehearsal",
        "user_groups2": [],
        "rows": len(redemptions),
        "coupons_count": 0,
        "points_count": len(redemptions),
        "redemptions": {
            "coupons": {"coupon": []},
            "points": {"point": [_point(place, each) for place, each in enumerate(redemptions, start=1)]},
        },
    }
    return _v1(success=True, code=200, message="Success", customer=customer)


def no_customer(code: int, message: str, *, identifier: Mapping[str, str]) -> Reply:
    """Return the read-back's error: HTTP 200 with the code inside, as the older API answers."""
    problem = {"success": False, "code": code, "message": message}
    customer = {**identifier, "item_status": problem}
    return _v1(success=False, code=500, message="All requests have failed due to errors", customer=customer)


def _v1(*, success: bool, code: int, message: str, customer: Mapping[str, Any]) -> Reply:
    status = {"success": success, "code": code, "message": message}
    return Reply(status=200, body=orjson.dumps({"response": {"status": status, "customer": customer}}))


def _point(place: int, redemption: Redemption) -> dict[str, Any]:
    return {
        "id": place,
        "program_id": PROGRAM_ID,
        "points_redeemed": redemption.points,
        "transaction_number": redemption.bill_number,
        "bill_id": str(redemption.bill_id),
        "validation_code": "",
        "redeemed_time": redemption.redeemed_time,
        "redeemed_at": _TILL["code"],
        "redemption_purpose": redemption.purpose,
        "notes": _NOTES,
        "external_reference_number": redemption.external_reference_number,
        "redemption_id": redemption.redemption_id,
        "redeemed_store": _STORE,
        "redeemed_till": _TILL,
        "custom_fields": {"field": _named(redemption.custom_fields)},
        "reversals": [],
        "redemption_breakup_by_program": [],
    }


def _named(custom_fields: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in custom_fields.items()]
