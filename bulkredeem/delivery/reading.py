"""What a redemption holds now: pages of its customer's redemptions, asked for until it is among them.

A question goes out as an update does, by a `Delivery` of its own: at the same pace, through the same gate, as patiently
in an outage. Whether an answer is one, throttles, or may be another one next time, is `verdict`'s to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from bulkredeem.delivery.delivering import Delivery
from bulkredeem.model import Answer, Correction, Outcome, Reply, Status
from bulkredeem.readback import NO_SUCH_CUSTOMER, UNREADABLE, Current, Page, Refusal, customer_query, find, read_page

PAGE_SIZE: Final = 100
"""Redemptions that are asked for at once. The platform gives 500, but the client reads a megabyte of a reply at most:
each may now take 10,000 bytes, where one without custom fields has 500, and the longest purpose 3,060 when escaped."""
CANNOT_READ_BACK: Final = "CANNOT_READ_BACK"
NOT_FOUND: Final = "NOT_FOUND"
READ_BACK_FAILED: Final = "READ_BACK_FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRead:
    """Why nobody knows what a redemption holds now."""

    code: str
    """`CANNOT_READ_BACK` for a kind of customer that has no read-back, `NOT_FOUND` when the platform shows no such
    redemption or knows no such customer, `READ_BACK_FAILED` when no page came."""
    message: str
    """One sentence for a report, without its capital; identifiers are masked."""


@dataclass(slots=True)
class _Question:
    """What is asked about a row just now."""

    query: Mapping[str, str]
    found: Page | Refusal | None = None
    """What the last reply holds; None when there is none, or none of the older API."""


class Reader:
    """Reads back what redemptions hold; shared by all workers of a run."""

    def __init__(
        self,
        read: Callable[[Mapping[str, str]], Awaitable[Answer]],
        make_delivery: Callable[[Callable[[Correction], Awaitable[Answer]]], Delivery],
    ) -> None:
        """Take what to do with a query (`read`), and what makes the delivery by which it goes out (`make_delivery`).

        A question leaves no row in doubt, so the delivery must not tell that it has.
        """
        self._read = read
        self._delivery = make_delivery(self._ask)
        self._questions: dict[int, _Question] = {}
        """Row number → what is asked about it just now."""

    @property
    def requests(self) -> int:
        """Every try of every page on the wire."""
        return self._delivery.requests

    async def current(self, correction: Correction) -> Current | NotRead:
        """Return the redemption that a correction names, as it is now, or why that is not known.

        One question at a time for a row number. Raises what `Delivery.deliver` raises: `Stopping` when the run drains
        before that, `AccessRefusedError`, `TlsError` and `ProxyRefusedError` when nobody may or can ask, `OutageError`.
        """
        customer = customer_query(correction)
        if customer is None:
            return _cannot_be_read_back(correction)
        seen: set[tuple[str, str]] = set()
        offset: int | None = 0
        while offset is not None:
            page = await self._page(correction, _query(customer, correction, offset))
            if isinstance(page, NotRead):
                return page
            if current := find(correction, page.currents):
                return current
            names = {(each.redemption_id, each.external_reference_number) for each in page.currents}
            offset = _offset_after(offset, is_full=len(page.currents) >= PAGE_SIZE, is_new=not names <= seen)
            seen |= names
        return NotRead(code=NOT_FOUND, message="the platform shows no such redemption of this customer")

    async def _page(self, correction: Correction, query: Mapping[str, str]) -> Page | NotRead:
        question = self._questions[correction.row_number] = _Question(query)
        try:
            # What an earlier stretch may have sent says nothing about the question.
            outcome = await self._delivery.deliver(replace(correction, may_be_applied=False))
        finally:
            del self._questions[correction.row_number]
        return _settled(question.found, outcome)

    async def _ask(self, correction: Correction) -> Answer:
        """Ask once what is asked about this row, and keep what the reply holds."""
        question = self._questions[correction.row_number]
        answer = await self._read(question.query)
        question.found = _found(answer)
        return _retold(answer, question.found) if isinstance(answer, Reply) and question.found else answer


def _query(customer: Mapping[str, str], correction: Correction, offset: int) -> dict[str, str]:
    """Return the query for the page at an offset; the first names none: nobody knows where counting begins."""
    more = {
        "external_reference_number": correction.external_reference_number,
        "points_offset": str(offset or ""),
    }
    return {**customer, "points_limit": str(PAGE_SIZE), **{name: value for name, value in more.items() if value}}


def _offset_after(offset: int, *, is_full: bool, is_new: bool) -> int | None:
    """Return the offset of the next page, or None when there is none.

    `is_full` says whether the page at `offset` had all that was asked for, `is_new` whether any of it was not seen
    before.
    """
    # It is not documented whether an offset counts redemptions or pages, so it is first taken to count redemptions:
    # 100, 200, 300. When 100 brings nothing new, it may be a page far beyond the last one: then the same is tried with
    # pages, 1, 2, 3. Should an offset count redemptions after all (there are exactly 100, say), 1 brings nothing new,
    # either. Such a page is the end in both ways of counting: nobody asks for ever what shows the same for ever.
    counts_pages = 0 < offset < PAGE_SIZE
    if is_full and is_new:
        return offset + (1 if counts_pages else PAGE_SIZE)
    return 1 if offset == PAGE_SIZE and not is_new else None


def _found(answer: Answer) -> Page | Refusal | None:
    """Return what a reply of the older API holds; None for any other answer."""
    if isinstance(answer, Reply) and answer.body is not None and not answer.body.get("errors"):
        return read_page(answer.body)
    return None


def _retold(reply: Reply, found: Page | Refusal) -> Reply:
    """Return the reply as the newer API would have told it, so that one table judges both."""
    if isinstance(found, Page):
        # Nothing in a page is the echo of an update.
        return replace(reply, body={})
    if found.code == UNREADABLE:
        return replace(reply, body=None, unreadable=f"was no page of redemptions: {found.message}")
    return replace(reply, body={"errors": [{"code": found.code, "message": found.message}]})


def _settled(found: Page | Refusal | None, outcome: Outcome) -> Page | NotRead:
    """Return the page that the last try brought, or what is to be said instead."""
    if isinstance(found, Page) and outcome.status is Status.SUCCESS:
        return found
    if isinstance(found, Refusal) and found.code == NO_SUCH_CUSTOMER:
        return NotRead(code=NOT_FOUND, message="the platform knows no such customer")
    message = f"the redemption could not be read back ({outcome.error_code}: {outcome.reason})"
    return NotRead(code=READ_BACK_FAILED, message=message)


def _cannot_be_read_back(correction: Correction) -> NotRead:
    by_type = customer_query(replace(correction, identifier_type="id")) is None
    kind = f"of type {correction.entity_type}" if by_type else f"named by {correction.identifier_type}"
    return NotRead(code=CANNOT_READ_BACK, message=f"a customer {kind} cannot be read back")
