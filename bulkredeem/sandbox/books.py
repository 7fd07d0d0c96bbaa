"""What the sandbox knows: its redemptions as they now are, whose they are, and every update applied, in order."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Final

from bulkredeem.sandbox.values import Applied, Redemption, UpdateRequest

_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"


class Books:
    """Applies updates and remembers them."""

    def __init__(self) -> None:
        """Start with nothing on record."""
        self.applied: list[Applied] = []
        self.redemptions: dict[str, Redemption] = {}
        # An ordered set for each customer, so that reading back does not search all redemptions.
        self._owned: dict[tuple[str, ...], dict[str, None]] = {}

    def apply(self, update: UpdateRequest) -> Redemption:
        """Set the fields an update names, leave the others alone, and return the redemption as it now is."""
        before = self.redemptions.get(update.identifier) or _invented(update)
        self._owned.get(before.customer_key, {}).pop(update.identifier, None)
        after = _changed(before, update)
        self._owned.setdefault(after.customer_key, {})[update.identifier] = None
        self.redemptions[update.identifier] = after
        self.applied.append(Applied(order=len(self.applied), identifier=update.identifier, fields=update.fields))
        return after

    def owned_by(self, customer_key: tuple[str, ...]) -> list[Redemption] | None:
        """Return a customer's redemptions, latest first, or None for a customer without any on record."""
        owned = self._owned.get(customer_key)
        if not owned:
            return None
        found = [self.redemptions[identifier] for identifier in owned]
        return sorted(found, key=lambda each: each.redeemed_at, reverse=True)


def _changed(before: Redemption, update: UpdateRequest) -> Redemption:
    fields = update.fields
    return replace(
        before,
        customer_key=update.customer_key,
        bill_number=fields.get("billNumber", before.bill_number),
        bill_id=fields.get("billId", before.bill_id),
        purpose=fields.get("purpose", before.purpose),
        custom_fields={**before.custom_fields, **fields.get("customFields", {})},
    )


def _invented(update: UpdateRequest) -> Redemption:
    return Redemption(
        redemption_id=update.redemption_id or _invented_id(update.external_reference_number),
        external_reference_number=update.external_reference_number,
        customer_key=update.customer_key,
    )


def _invented_id(external_reference_number: str) -> str:
    """Six alphanumerics, like those of the platform."""
    number = zlib.crc32(external_reference_number.encode())
    return "".join(_LETTERS[number // len(_LETTERS) ** place % len(_LETTERS)] for place in range(6))
