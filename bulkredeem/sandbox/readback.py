"""The read-back: which of a customer's redemptions a query asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bulkredeem.sandbox.books import Books
from bulkredeem.sandbox.replies import Reply, no_customer, redemptions_found
from bulkredeem.sandbox.values import PROGRAM_ID, Redemption

_IDENTIFIER_TYPES: Final = {"mobile": "mobile", "email": "email", "external_id": "externalId", "id": "id"}
"""The query's name of an identifier → the update's."""
_USUAL_PAGE: Final = 10
_LARGEST_PAGE: Final = 500


def read_back(books: Books, query: Mapping[str, str]) -> Reply:
    """Return the page a query asks for, or the error of the older API."""
    identifier = {name: query[name] for name in _IDENTIFIER_TYPES if query.get(name)}
    if len(identifier) != 1:
        return no_customer(1015, "No identifier provided to get loyalty users", identifier=identifier)
    ((name, value),) = identifier.items()
    owned = books.owned_by(("CUSTOMER", _IDENTIFIER_TYPES[name], value.casefold()))
    if owned is None:
        message = "Cannot find customer with the provided mobile number/external ID/e-mail ID"
        return no_customer(1012, message, identifier=identifier)
    page = _page([each for each in owned if _is_wanted(each, query)], query)
    return redemptions_found(page, identifier=identifier)


def _is_wanted(redemption: Redemption, query: Mapping[str, str]) -> bool:
    # A date without a time is the whole day: the end is compared with as much of the time as it gives.
    end = query.get("end_date", "")
    return all(
        (
            query.get("external_reference_number") in (None, redemption.external_reference_number),
            query.get("program_id") in (None, str(PROGRAM_ID)),
            redemption.redeemed_time >= query.get("start_date", ""),
            redemption.redeemed_time[: len(end)] <= end,
        )
    )


def _page(redemptions: list[Redemption], query: Mapping[str, str]) -> list[Redemption]:
    start = _number(query.get("points_offset"), default=0)
    most = min(_number(query.get("points_limit"), default=_USUAL_PAGE), _LARGEST_PAGE)
    return redemptions[start : start + most]


def _number(text: str | None, *, default: int) -> int:
    return int(text) if text and text.isdecimal() else default
