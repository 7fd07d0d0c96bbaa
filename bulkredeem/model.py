"""The frozen values that a row is, one after another, on its way from the file to the reports.

`Row` (text as it stood in the file) becomes a `Correction`, an `Invalid` or a `Skipped`; a correction's attempts are
answered by a `Reply` or end in `Trouble`; all ways end in exactly one `Outcome`. Nothing here does anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import Any, Final, Self

STANDARD_INPUT_IN_WORDS: Final = "standard input"
"""What a run calls its file when it was none."""


class Status(StrEnum):
    """The verdict on a row: the column `status` of every report."""

    SUCCESS = "success"
    """The platform accepted it, and its echo does not contradict it."""
    SKIPPED = "skipped"
    """Nothing to send; the error code says why."""
    INVALID = "invalid"
    """Broken before sending; all its problems are listed."""
    REFUSED = "refused"
    """The platform said no, for a reason that repeating cannot change."""
    FAILED = "failed"
    """We gave up, and it surely was not applied."""
    IN_DOUBT = "in_doubt"
    """Sent, and no trustworthy answer came."""
    PENDING = "pending"
    """No recorded outcome: the run stopped before it, or died around it."""


DONE: frozenset[Status] = frozenset({Status.SUCCESS, Status.SKIPPED})
"""The statuses about which nobody has to do anything."""


class Column(StrEnum):
    """The canonical names of the columns a file may have, beside `customFields.<name>`."""

    REDEMPTION_ID = "redemptionId"
    EXTERNAL_REFERENCE_NUMBER = "externalReferenceNumber"
    BILL_NUMBER = "billNumber"
    BILL_ID = "billId"
    PURPOSE = "purpose"
    ENTITY_TYPE = "entityType"
    IDENTIFIER_TYPE = "identifierType"
    IDENTIFIER_VALUE = "identifierValue"


CUSTOM_FIELD_PREFIX = "customFields."
"""A column `customFields.card_number` sets the custom field `card_number`."""


EXPECTED_PREFIX = "expected."
"""A column `expected.billNumber` of an undo's snapshot holds what `billNumber` must be now, to be set back."""


class IdentifierChoice(StrEnum):
    """Which column identifies the redemption: the setting `identifier`."""

    AUTO = "auto"
    """Whichever of the two is filled; both filled is a problem (749)."""
    REDEMPTION_ID = "redemptionId"
    EXTERNAL_REFERENCE_NUMBER = "externalReferenceNumber"


class OnConflict(StrEnum):
    """What becomes of rows that set one field of one redemption to different values: the setting `on_conflict`."""

    REFUSE = "refuse"
    """None of them is sent."""
    LAST = "last"
    """The last one of the file is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Which rows of a file are meant: those with a value in a column, `store=17`."""

    header: str
    """The column, as the file's own header names it."""
    value: str
    """The text of the cell, blanks around it left out."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `store=17`; raise ValueError with a sentence for anything else."""
        header, equals, value = text.partition("=")
        if not equals or not header.strip():
            # Not quoted: it may be the number of a customer, and sentences travel.
            raise ValueError("it names no column and value; write it like 'store=17'")
        return cls(header=header.strip(), value=value.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """Which lines of a file are no rows at all: those in whose column a regular expression finds something."""

    header: str
    """The column, by its header in the file or by its canonical name."""
    expression: re.Pattern[str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `redemptionId~^(Grand )?Total`; raise ValueError with a sentence for anything else."""
        header, tilde, expression = text.partition("~")
        if not tilde or not header.strip() or not expression:
            raise ValueError(f"{text!r} names no column and expression; write it like 'redemptionId~^Total'")
        try:
            return cls(header=header.strip(), expression=re.compile(expression))
        except re.error as exc:
            raise ValueError(f"{expression!r} is no regular expression ({exc})") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a file is to be read; what is empty is found out."""

    explicit: Mapping[str, str] = field(default_factory=dict)
    """Header of the file → canonical name."""
    encoding: str = ""
    delimiter: str = ""
    sheet: str = ""
    """A sheet's name, or its number from 1."""
    header_row: int = 0
    """The header's row as a spreadsheet counts, or 0."""
    ignored: tuple[Pattern, ...] = ()
    """Lines that are no rows at all."""
    allow_unterminated: bool = False
    """Take a last line that has no line end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What validation must know of the settings and of the file's columns."""

    identifier: IdentifierChoice = IdentifierChoice.AUTO
    """Which column identifies the redemption; with a choice other than `auto` the other column is not sent."""
    default_entity_type: str = "CUSTOMER"
    """`entity.type` of every row when the file has no such column (an empty cell in one is a problem: 1219)."""
    default_identifier_type: str = "mobile"
    """`entity.identifierType` of every row when the file has no such column."""
    default_country_code: str = ""
    """Digits put before a ten-digit mobile number; empty leaves such a number as it is."""
    trust_ids: bool = False
    """Take identifiers and bill numbers that look damaged by a spreadsheet as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One reason why a row cannot be sent."""

    code: str
    """The platform's number where it has the same rule (`749`), else a word of ours in capitals."""
    column: str
    """The canonical name of the column to mend, or empty when the whole row is concerned."""
    message: str
    """One sentence for a person, the same for every row with this problem: it quotes no cell, so it may travel."""
    detail: str = ""
    """What belongs into the row's own report only (the line as it stood), or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the file with something in it, as text."""

    row_number: int
    """What a spreadsheet shows: the header is 1, the first record 2."""
    values: Mapping[str, str]
    """Canonical column → the cell's text, exact to the last character; columns we do not use are not here."""
    damage: Problem | None = None
    """Why the line could not be read as cells (then `values` is empty), or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """A row that must not be sent, with all its problems."""

    row_number: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A row that is not sent although nothing is wrong with it, and why."""

    row_number: int
    code: str
    """`DUPLICATE_ROW`, `SUPERSEDED`, `ALREADY_APPLIED` or `NOT_SELECTED`; of a row in doubt, why it stays so."""
    message: str
    """One sentence for a person; it quotes no cell."""
    status: Status = Status.SKIPPED
    """Or `IN_DOUBT`, for a row that may have been applied before and must not be sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """One wanted update of one redemption, proven sendable."""

    row_number: int
    """The row of the file it came from."""
    redemption_id: str = ""
    """The platform's id of the redemption, or empty; exactly one of the two identifiers is filled."""
    external_reference_number: str = ""
    """The brand's own id of the redemption, or empty."""
    entity_type: str
    """`CUSTOMER`, `USERGROUP2`, `FLEET`, or a value we do not know."""
    identifier_type: str
    """`mobile`, `email`, …, or a value we do not know."""
    identifier_value: str
    """Who the customer is; a mobile number is digits only."""
    bill_number: str = ""
    """The bill number to set; empty leaves it alone, as with every field below."""
    bill_id: int | None = None
    """1 to 2^63-1, or None to leave it alone."""
    purpose: str = ""
    """At most 255 characters, or empty."""
    custom_fields: Mapping[str, str] = field(default_factory=dict)
    """Name → value of the custom fields to set."""
    warnings: tuple[str, ...] = ()
    """What a person may want to know although the row is sent."""
    may_be_applied: bool = False
    """Whether an earlier stretch of the run, or the run it retries, may have sent it without recording an answer."""
    expected: Mapping[str, str] = field(default_factory=dict)
    """Field → the value it must have now to be set, as text; empty to set whatever is there. Only an undo expects."""
    kept: tuple[str, ...] = ()
    """The fields that the row sets and that are not sent, since the platform's value is to stay."""

    @property
    def redemption_key(self) -> tuple[str, ...]:
        """What no two requests under way may share: the redemption. Never equal to a `customer_key`."""
        return ("redemption", self.redemption_id, self.external_reference_number)

    @property
    def customer_key(self) -> tuple[str, ...]:
        """What no two requests under way may share: the customer, whom the platform locks (code 521)."""
        return (
            "customer",
            self.entity_type.casefold(),
            self.identifier_type.casefold(),
            self.identifier_value.casefold(),
        )

    @property
    def values(self) -> Mapping[str, str]:
        """The fields of the redemption that it sets, by the names of their columns → the text of their new value."""
        named = {}
        if self.bill_number:
            named["billNumber"] = self.bill_number
        if self.bill_id:
            named["billId"] = str(self.bill_id)
        if self.purpose:
            named["purpose"] = self.purpose
        for name, value in self.custom_fields.items():
            named[CUSTOM_FIELD_PREFIX + name] = value
        return named

    def without(self, fields: Collection[str]) -> Correction:
        """Return it without these fields, named as in `values`: they are kept as they are."""
        return replace(
            self,
            bill_number="" if Column.BILL_NUMBER in fields else self.bill_number,
            bill_id=None if Column.BILL_ID in fields else self.bill_id,
            purpose="" if Column.PURPOSE in fields else self.purpose,
            custom_fields={
                name: value for name, value in self.custom_fields.items() if CUSTOM_FIELD_PREFIX + name not in fields
            },
            kept=(*self.kept, *sorted(fields)),
        )

    @property
    def identifiers(self) -> Mapping[str, str]:
        """Column → value of everything that must be masked where a report or a log may travel."""
        named = {
            Column.REDEMPTION_ID: self.redemption_id,
            Column.EXTERNAL_REFERENCE_NUMBER: self.external_reference_number,
            Column.IDENTIFIER_VALUE: self.identifier_value,
        }
        return {column: value for column, value in named.items() if value}


Job = Correction | Invalid | Skipped
"""What a row comes to before anything is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the platform answered to one attempt."""

    http_status: int
    body: Mapping[str, Any] | None = None
    """The JSON object of the reply, or None when there was no readable one."""
    unreadable: str = ""
    """Why `body` is None, as words that follow "the reply": "was empty", "was HTML, not JSON"."""
    retry_after: float | None = None
    """Seconds the platform asks to wait before the next request, or None when it does not say."""
    request_id: str = ""
    """The platform's own name for the request, for its support, or empty."""
    credentials_renewed: bool = False
    """Whether a 401 was drawn by a password or a token that does not count any more: another try makes sense."""
    unsent: bool = False
    """Whether it is the answer to what had to go before the try: the try itself was not sent."""
    served_at: float | None = field(default=None, compare=False)
    """What the platform's clock showed, in seconds since the epoch, or None when it does not say.

    Two replies that say the same at different times are the same.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """An attempt that ended without a reply."""

    code: str
    """`CONNECTION_FAILED`, `CONNECT_TIMEOUT`, `TLS_FAILED`, `PROXY_FAILED`, `PROXY_REFUSED` or `NAME_NOT_RESOLVED`
    before anything was sent, and `TOKEN_NOT_FETCHED` when nothing was for want of a token; `CONNECTION_LOST`,
    `CERTIFICATE_REFUSED`, `TIMEOUT` or `UNREADABLE_REPLY` after."""
    message: str
    may_be_applied: bool
    """False only when the request surely never left: no connection was made, or no token was there to send it with."""
    unsent: bool = False
    """Whether it befell what had to go before the try: the try itself was not sent."""


Answer = Reply | Trouble
"""How one attempt ended."""


class Sign(Enum):
    """What a finished try says about the platform as a whole, whatever it says about its row."""

    ANSWERED = "answered"
    """The platform is there and works: it updated, refused or complained about this row."""
    THROTTLED = "throttled"
    """The platform is there, and wants fewer requests."""
    UNANSWERED = "unanswered"
    """No connection, no answer in time, or a server's own failure (5xx): the platform may be gone for everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The one recorded verdict on a row."""

    row_number: int
    status: Status
    error_code: str = ""
    """The platform's number or a word of ours; several, of one invalid row, joined by `; `."""
    error_message: str = ""
    """The platform's own words, or ours; may hold identifiers, so it goes to results and journal only."""
    reason: str = ""
    """`error_message` with identifiers masked: for logs, summaries and for putting like rows together."""
    warnings: tuple[str, ...] = ()
    http_status: int | None = None
    """Of the last reply, or None when none came."""
    attempts: int = 0
    """Every try on the wire, throttled ones too."""
    request_id: str = ""
    finished_at: float = 0.0
    """Seconds since the epoch, UTC."""
    alias: str = ""
    """The redemption's other identifier, as the platform's reply names it, or empty."""
    kept: tuple[str, ...] = ()
    """Fields of the row that were not sent: the platform's values stayed."""


_SHARE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")


def parse_share(text: str) -> float:
    """Read `50%` as a share from 0.0 to 1.0; raise ValueError with a sentence for anything else."""
    match = _SHARE.fullmatch(text)
    share = float(match[1]) / 100 if match else math.nan
    if not 0 < share <= 1:
        raise ValueError(f"{text!r} is not a share; write it like 50%, above 0% and up to 100%")
    return share


_UNITS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600}
_FEW = 10
"""Requests in a unit of time, below which the next larger unit says it better."""
_RATE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*/\s*([a-z]+)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How many requests may go in which time; `requests` is infinite for no limit at all."""

    requests: float
    per_seconds: int = 1
    text: str = "none"
    """As a person wrote it."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `100/min`, `20/s`, `5000/hour` or `none`; raise ValueError with a sentence for anything else."""
        if text.strip().lower() == "none":
            return cls(requests=math.inf)
        match = _RATE.fullmatch(text)
        unit = match and _UNITS.get(match[2].lower())
        if not match or not unit or float(match[1]) <= 0:
            msg = f"{text!r} is not a rate; write it like 100/min, 20/s or 5000/hour, or none for no limit"
            raise ValueError(msg)
        return cls(requests=float(match[1]), per_seconds=unit, text=text.strip())

    @classmethod
    def about(cls, requests_per_second: float) -> Self:
        """Return the rate as a person would say it: two digits, in the smallest unit that holds ten of them."""
        unit, seconds = next(
            ((unit, seconds) for unit, seconds in (("s", 1), ("min", 60)) if requests_per_second * seconds >= _FEW),
            ("hour", 3600),
        )
        return cls.parse(f"{max(1, float(f'{requests_per_second * seconds:.2g}')):.0f}/{unit}")

    @property
    def interval(self) -> float:
        """Seconds from one request to the next; 0.0 without a limit."""
        return self.per_seconds / self.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The rate a run must never pass: several rates at once, none, or the search for what the platform allows."""

    rates: tuple[Rate, ...]
    """Each must be kept; empty for no limit of ours."""
    is_auto: bool = False
    """Whether the limit is to be searched from below; then there are no rates."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `100/min`, `20/s,1000/min`, `none` or `auto`; raise ValueError with a sentence for anything else."""
        word = text.strip().lower()
        if word in {"none", "auto"}:
            return cls(rates=(), is_auto=word == "auto")
        rates = tuple(map(Rate.parse, text.split(",")))
        if any(math.isinf(rate.requests) for rate in rates):
            msg = f"{text!r} is not a rate: none stands alone"
            raise ValueError(msg)
        return cls(rates=rates)
