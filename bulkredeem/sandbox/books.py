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
        self._aliases: dict[str, str] = {}
        """External reference number → redemption id, of what was planted with both."""
        # An ordered set for each customer, so that reading back does not search all redemptions.
        self._owned: dict[tuple[str, ...], dict[str, None]] = {}

    def apply(self, update: UpdateRequest) -> Redemption:
        """Set the fields an update names, leave the others alone, and return the redemption as it now is."""
        identifier = self._aliases.get(update.identifier, update.identifier)
        after = _changed(self.redemptions.get(identifier) or _invented(update), update)
        self._keep(identifier, after)
        self.applied.append(Applied(order=len(self.applied), identifier=update.identifier, fields=update.fields))
        return after

    def plant(self, redemption: Redemption) -> None:
        """Put a redemption in place of what is there, as if somebody else had; nothing counts as applied.

        One without a redemption id gets an invented one, and is known by its external reference number.
        """
        redemption_id, reference = redemption.redemption_id, redemption.external_reference_number
        if redemption_id and reference:
            self._aliases[reference] = redemption_id
        named = redemption if redemption_id else replace(redemption, redemption_id=_invented_id(reference))
        self._keep(redemption_id or reference, named)

    def owned_by(self, customer_key: tuple[str, ...]) -> list[Redemption] | None:
        """Return a customer's redemptions, latest first, or None for a customer without any on record."""
        owned = self._owned.get(customer_key)
        if not owned:
            return None
        found = [self.redemptions[identifier] for identifier in owned]
        return sorted(found, key=lambda each: each.redeemed_at, reverse=True)

    def _keep(self, identifier: str, after: Redemption) -> None:
        if before := self.redemptions.get(identifier):
            self._owned[before.customer_key].pop(identifier)
        self._owned.setdefault(after.customer_key, {})[identifier] = None
        self.redemptions[identifier] = after


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
