"""Status, headers and body of any reply: a verdict that can be written down, and never a success that is none."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson
from multidict import CIMultiDict

from bulkredeem.client import MAX_REQUEST_ID, MAX_RETRY_AFTER, retry_after_seconds
from bulkredeem.client.replies import moment_of, parse, request_id_of
from bulkredeem.delivery import reading
from bulkredeem.journal import Journal
from bulkredeem.journal.layout import SCHEMA
from bulkredeem.masking import mask
from bulkredeem.model import Correction, Outcome, Reply, Status
from bulkredeem.readback import Page, find, read_page
from bulkredeem.verdict import MAX_CODE, MAX_TEXT, MAX_WARNINGS, Verdict, alias_in, echo_of, judge, sign_of

NOW: Final = 1_795_000_000.0
"""What our clock shows: a second in November 2026."""
SENT: Final = (
    Correction(
        row_number=2,
        redemption_id="8878ru",
        bill_number="INV-2026-1",
        bill_id=1234567890123456789,
        purpose="Testing",
        entity_type="CUSTOMER",
        identifier_type="mobile",
        identifier_value="919000000001",
    ),
    Correction(
        row_number=3,
        external_reference_number="ACR-5801353177",
        custom_fields={"card_number": "123456"},
        entity_type="CUSTOMER",
        identifier_type="email",
        identifier_value="asha@example.com",
    ),
)
"""What was sent, of invented people."""
_MOST_MESSAGES: Final = 200
"""Times the longest text that a message may have: several errors of one reply are put together before they are cut."""


def check(content: bytes) -> None:
    """Read a reply: its status and headers as HTTP writes them, an empty line, and its body."""
    reply = read(content)
    assert (reply.body is None) == bool(reply.unreadable)
    assert reply.retry_after is None or 0.0 <= reply.retry_after <= MAX_RETRY_AFTER
    assert reply.served_at is None or math.isfinite(reply.served_at)
    assert len(reply.request_id) <= MAX_REQUEST_ID
    assert reply.request_id == "" or reply.request_id.isprintable()
    for sent in SENT:
        verdict = judge(reply, sent)
        sign_of(reply, verdict)
        _check_success(reply, verdict, sent)
        _check_record(_outcome(reply, verdict, sent))
        _check_page(reply, sent)


def read(content: bytes) -> Reply:
    """Return the reply as the client would."""
    head, _, body = content.partition(b"\n\n")
    first, *lines = head.decode("utf-8", "surrogateescape").split("\n")
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, _, value = line.partition(":")
        headers.add(name.strip(), value.strip())
    digits = "".join(filter(str.isdecimal, first.encode("ascii", "ignore").decode()))
    found, unreadable = parse(body)
    asked = headers.get("Retry-After")
    return Reply(
        http_status=int(digits[:3] or "200"),
        body=found,
        unreadable=unreadable,
        retry_after=None if asked is None else retry_after_seconds(asked, now=NOW),
        request_id=request_id_of(headers),
        served_at=moment_of(headers.get("Date", "")),
    )


def _check_success(reply: Reply, verdict: Verdict, sent: Correction) -> None:
    if verdict.status is not Status.SUCCESS:
        assert verdict.code, "whatever is no success says why"
        return
    assert reply.http_status in range(200, 300)
    assert reply.body is not None
    assert not reply.body.get("errors")
    wrapped = reply.body.get("data")
    echo: Mapping[str, Any] = wrapped if isinstance(wrapped, dict) else reply.body
    for name, value in (("billNumber", sent.bill_number), ("redemptionId", sent.redemption_id)):
        said = echo.get(name)
        assert not value or said is None or str(said).strip() == value
    assert not sent.bill_id or echo.get("billId") is None or float(echo["billId"]) == float(sent.bill_id)


def _outcome(reply: Reply, verdict: Verdict, sent: Correction) -> Outcome:
    """Return the outcome as a delivery would, were this the last try."""
    echo = echo_of(reply)
    status = Status.IN_DOUBT if verdict.status is Status.PENDING else verdict.status
    return Outcome(
        row_number=sent.row_number,
        status=status,
        error_code=mask(verdict.code, sent.identifiers),
        error_message=verdict.message,
        reason=mask(verdict.message, sent.identifiers),
        warnings=verdict.warnings,
        http_status=reply.http_status,
        attempts=1,
        request_id=reply.request_id,
        finished_at=NOW,
        alias=alias_in(echo, sent) if status is Status.SUCCESS else "",
    )


def _check_record(outcome: Outcome) -> None:
    """Insist that a journal takes the outcome and gives the same one back; its texts are bounded, and of one line."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.executescript(SCHEMA + "PRAGMA user_version = 4")
        journal = Journal(connection, Path("journal"))
        journal.append(outcome)
        journal.commit()
        assert list(journal.outcomes()) == [outcome]
    assert len(outcome.error_message) <= MAX_TEXT
    assert len(outcome.warnings) <= 2 * MAX_WARNINGS + 1
    for text in (outcome.error_code, outcome.error_message, outcome.reason, outcome.alias, *outcome.warnings):
        assert text == "" or text.isprintable(), text
        assert len(text) <= _MOST_MESSAGES + MAX_TEXT + MAX_CODE
        orjson.dumps(text)


def _check_page(reply: Reply, sent: Correction) -> None:
    """Read as a page of redemptions it is one, or says why not, in a form that the same table judges."""
    if reply.body is None:
        return
    found = read_page(reply.body)
    retold = reading._retold(reply, found)
    verdict = judge(retold, replace(sent, may_be_applied=False))
    if isinstance(found, Page):
        find(sent, found.currents)
        assert all(isinstance(each.bill_id, int | None) for each in found.currents)
    else:
        assert verdict.status is not Status.SUCCESS, found
    reading._settled(found, _outcome(retold, verdict, sent))
