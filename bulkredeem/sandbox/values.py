"""The values the sandbox works with: an update as it arrived, a redemption as it now is, and what took effect."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

PROGRAM_ID: Final = 1098
"""The one loyalty program there is."""
UNSET_BILL_ID: Final = -1
_FIRST_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SECONDS_OF_HALF_A_YEAR: Final = 180 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRequest:
    """One well-formed update, as it arrived."""

    number: int = 0
    """Which of all well-formed updates it is; the first is 1."""
    attempt: int = 0
    """Which of this redemption's updates it is; the first is 1."""
    redemption_id: str
    """Or empty; exactly one of the two identifiers is filled."""
    external_reference_number: str
    """Or empty."""
    entity_type: str
    identifier_type: str
    identifier_value: str
    fields: Mapping[str, Any]
    """What to set, named as in the request (`billNumber`, `billId`, `purpose`, `customFields`); never empty."""

    @property
    def identifier(self) -> str:
        """How the request names the redemption."""
        return self.redemption_id or self.external_reference_number

    @property
    def customer_key(self) -> tuple[str, ...]:
        """Whom the platform locks while it works."""
        return (self.entity_type, self.identifier_type, self.identifier_value.casefold())

    @property
    def locks(self) -> frozenset[tuple[str, ...]]:
        """What no two updates under way may share."""
        return frozenset({self.customer_key, ("redemption", self.identifier)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Redemption:
    """One redemption as it now is; what no update set is invented from its identifier, the same every time."""

    redemption_id: str
    """As sent; invented for a redemption that was named by its external reference number."""
    external_reference_number: str
    """As sent, or empty."""
    customer_key: tuple[str, ...]
    """Whose it is: the entity of the last update."""
    bill_number: str = ""
    bill_id: int = UNSET_BILL_ID
    """-1 while unset."""
    purpose: str = ""
    custom_fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """The platform's inner number."""
        return zlib.crc32(self.redemption_id.encode())

    @property
    def customer_number(self) -> int:
        """The platform's inner number of the customer."""
        return zlib.crc32("/".join(self.customer_key).encode())

    @property
    def points(self) -> int:
        """How many points were redeemed: 1 to 500."""
        return 1 + self.number % 500

    @property
    def redeemed_at(self) -> datetime:
        """When: a second in the first half of 2026."""
        return _FIRST_DAY + timedelta(seconds=self.number % _SECONDS_OF_HALF_A_YEAR)

    @property
    def redeemed_at_ms(self) -> int:
        """`redeemed_at` in milliseconds since the epoch."""
        return int(self.redeemed_at.timestamp()) * 1000

    @property
    def redeemed_time(self) -> str:
        """`redeemed_at` as the read-back writes it."""
        return self.redeemed_at.strftime("%Y-%m-%d %H:%M:%S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One update that took effect."""

    order: int
    """Which of all applied updates it is; the first is 0."""
    identifier: str
    """How the request named the redemption."""
    fields: Mapping[str, Any]
    """What it set, named as in the request; nothing else changed."""
