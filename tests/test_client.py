"""The client: the shape of a request beside a stand-in for aiohttp, and all that a network can do over real sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Self
from unittest.mock import Mock

import aiohttp
import pytest
import trustme
from aioresponses import aioresponses
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from bulkredeem.application.wiring import client_for
from bulkredeem.client import (
    MAX_REPLY,
    MAX_REQUEST_ID,
    MAX_RETRY_AFTER,
    READ_BACK_PATH,
    UPDATE_PATH,
    Basic,
    Client,
    basic_authorization,
    request_body,
    retry_after_seconds,
)
from bulkredeem.delivery import Delivery, Gate
from bulkredeem.errors import AccessRefusedError
from bulkredeem.model import Answer, Ceiling, Correction, Invalid, Outcome, Reply, Skipped, Status, Trouble
from bulkredeem.outage import Watch
from bulkredeem.pace import Pace
from bulkredeem.processor import Pool, Stop
from bulkredeem.sandbox import Fault, Sandbox, Then, errors_body, script
from bulkredeem.sandbox.replies import Reply as SandboxReply
from bulkredeem.sandbox.replies import no_customer
from bulkredeem.settings import load_settings

ASHA = Correction(
    row_number=2,
    redemption_id="8878ru",
    entity_type="CUSTOMER",
    identifier_type="mobile",
    identifier_value="919900000001",
    bill_number="B-1",
)
ENTITY = {"type": "CUSTOMER", "identifierType": "mobile", "identifierValue": "919900000001"}
AUTHORIZATION = basic_authorization("sandbox.till", "sandbox")
NOW = datetime(2026, 10, 21, 7, 28, tzinfo=UTC)
IMPATIENT = 0.2
"""Seconds after which a test of a silent server gives up."""
MEGABYTE = 1_000_000


def client_of(base_url: str, *, timeout: float = 20.0) -> Client:
    """Build a client with the sandbox's credentials, one connection, and a clock that stands still."""
    return Client(
        base_url, Basic("sandbox.till", "sandbox"), timeout=timeout, max_connections=1, wall_clock=NOW.timestamp
    )


async def ask(base_url: str, *, timeout: float = 20.0) -> Answer:  # noqa: ASYNC109  the client's own, in seconds
    """Send one update through a client of its own."""
    async with client_of(base_url, timeout=timeout) as client:
        return await client.update(ASHA)


# Authentication


def test_the_password_travels_as_its_md5() -> None:
    """Show the vendor's own example, to the last character."""
    token = "c3RvcmUuc2VydmVyOjhhMTZhNmI3MDUwNWViMWYxZmY3Y2RjMGNkNTU1OWE3"
    assert basic_authorization("store.server", "server123") == f"Basic {token}"


def test_a_password_may_have_any_characters() -> None:
    """Show UTF-8 before hashing, lower-case digits, and a colon that stays where it is."""
    scheme, token = basic_authorization("kasse.köln", "pä:ss wört").split(" ")
    username, digest = base64.b64decode(token).decode().split(":")
    assert (scheme, username) == ("Basic", "kasse.köln")
    assert digest == hashlib.md5("pä:ss wört".encode(), usedforsecurity=False).hexdigest() == digest.lower()


# The request


BODIES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("one field", {}, {"billNumber": "B-1"}),
    ("a bill id of 19 digits", {"bill_id": 1234567890123456789}, {"billNumber": "B-1", "billId": 1234567890123456789}),
    ("the largest bill id", {"bill_id": 2**63 - 1, "bill_number": ""}, {"billId": 2**63 - 1}),
    ("custom fields alone", {"bill_number": "", "custom_fields": {"no": "1"}}, {"customFields": {"no": "1"}}),
    ("text of all kinds", {"bill_number": '"\\\n日本\u2028'}, {"billNumber": '"\\\n日本\u2028'}),
    (
        "everything",
        {"bill_id": 7, "purpose": "Testing", "custom_fields": {"a": "1", "b": "2"}},
        {"billNumber": "B-1", "billId": 7, "purpose": "Testing", "customFields": {"a": "1", "b": "2"}},
    ),
]


@pytest.mark.parametrize(
    ("changes", "fields"), [pytest.param(changes, fields, id=name) for name, changes, fields in BODIES]
)
def test_a_request_holds_what_is_set_and_nothing_else(changes: dict[str, Any], fields: dict[str, Any]) -> None:
    """What is left alone is left out, never sent as empty, and a bill id is an integer exact to its last digit."""
    body = request_body(replace(ASHA, **changes))
    assert json.loads(body) == {"redemptionId": "8878ru", **fields, "entity": ENTITY}
    if "billId" in fields:
        assert f'"billId":{fields["billId"]},'.encode() in body


def test_a_request_names_the_redemption_as_the_row_does() -> None:
    """The external reference number takes the place of the redemption's id."""
    body = json.loads(request_body(replace(ASHA, redemption_id="", external_reference_number="ACR-1")))
    assert body == {"externalReferenceNumber": "ACR-1", "billNumber": "B-1", "entity": ENTITY}


class StandIn(aiohttp.ClientResponse):
    """A response that aioresponses 0.7.9 can make although aiohttp 3.14 asks for a writer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Add the writer."""
        super().__init__(*args, stream_writer=Mock(output_size=0), **kwargs)


@pytest.mark.parametrize("base_url", ["https://eu.api.example.com", "https://gateway.example.com/loyalty/eu"])
async def test_an_update_is_one_put_below_the_base_url(base_url: str) -> None:
    """Show the address with a path prefix, the headers, the exact body, and that redirects are not followed."""
    with aioresponses() as platform:
        platform.put(base_url + UPDATE_PATH, payload={"id": 396023}, response_class=StandIn)
        reply = await ask(base_url)

    assert reply == Reply(http_status=200, body={"id": 396023})
    ((key, (call,)),) = platform.requests.items()
    assert key == ("PUT", URL(base_url + "/v2/points/updateRedemption"))
    assert call.kwargs["data"] == request_body(ASHA)
    assert call.kwargs["allow_redirects"] is False
    assert dict(call.kwargs["headers"]) == {
        "User-Agent": "bulkredeem",
        "Authorization": AUTHORIZATION,
        "Content-Type": "application/json",
        "Accept": "application/json",
    }


@pytest.mark.parametrize("http_status", [200, 201, 400, 403, 429, 503])
async def test_a_reply_is_told_as_it_is(http_status: int) -> None:
    """Status, body, `Retry-After` in both forms and the platform's name for the request, in both spellings."""
    later = format_datetime(NOW + timedelta(seconds=90), usegmt=True)
    named = [("X-CAP-REQUEST-ID", "7", 7.0), ("X-Cap-RequestID", later, 90.0), ("x-cap-request-id", "", None)]
    with aioresponses() as platform:
        for name, retry_after, _ in named:
            headers = {name: "r-1", "Retry-After": retry_after}
            url = "https://eu.api.example.com" + UPDATE_PATH
            platform.put(url, status=http_status, payload={"a": 1}, headers=headers, response_class=StandIn)
        replies = [await ask("https://eu.api.example.com") for _ in named]

    assert replies == [
        Reply(http_status=http_status, body={"a": 1}, retry_after=seconds, request_id="r-1") for _, _, seconds in named
    ]


# Reading back


async def ask_back(base_url: str, query: dict[str, str], *, timeout: float = 20.0) -> Answer:  # noqa: ASYNC109  the client's own
    """Send one query through a client of its own."""
    async with client_of(base_url, timeout=timeout) as client:
        return await client.read_back(query)


@pytest.mark.parametrize("base_url", ["https://eu.api.example.com", "https://gateway.example.com/loyalty/eu"])
async def test_a_read_back_is_one_get_below_the_base_url(base_url: str) -> None:
    """Show the address with a path prefix, the query, no body, and that redirects are not followed."""
    with aioresponses() as platform:
        platform.get(f"{base_url}{READ_BACK_PATH}?mobile=919900000001", payload={"a": 1}, response_class=StandIn)
        reply = await ask_back(base_url, {"mobile": "919900000001"})

    assert reply == Reply(http_status=200, body={"a": 1})
    ((key, (call,)),) = platform.requests.items()
    assert key == ("GET", URL(base_url + "/v1.1/customer/redemptions?mobile=919900000001"))
    assert call.kwargs.get("data") is None
    assert call.kwargs["allow_redirects"] is False
    assert call.kwargs["headers"]["Authorization"] == AUTHORIZATION


@pytest.mark.parametrize("value", ["asha+till@example.com", "a b", "a&id=1", "100%", "%2B", "a#b", "ä/日本", "="])
async def test_a_query_arrives_as_it_is(sandbox: Sandbox, value: str) -> None:
    """Show that no character of an identifier means anything on its way."""
    heard: list[dict[str, str]] = []
    sandbox.read_faults = lambda query: heard.append(dict(query))
    await ask_back(sandbox.base_url, {"external_id": value, "points_limit": "100"})
    assert heard == [{"external_id": value, "points_limit": "100"}]


async def test_a_redemption_comes_back_from_the_sandbox(sandbox: Sandbox) -> None:
    """Show that what was updated is what is read, over one client."""
    async with client_of(sandbox.base_url) as client:
        await client.update(ASHA)
        reply = await client.read_back({"mobile": "919900000001"})
    assert isinstance(reply, Reply)
    assert reply.body is not None
    (point,) = reply.body["response"]["customer"]["redemptions"]["points"]["point"]
    assert (point["redemption_id"], point["transaction_number"]) == ("8878ru", "B-1")


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        pytest.param(
            SandboxReply(status=307, body=b"", headers={"Location": "/elsewhere", "Retry-After": "7"}),
            Reply(http_status=307, unreadable="was empty", retry_after=7.0, request_id="sandbox-000001"),
            id="a redirect",
        ),
        pytest.param(
            SandboxReply(status=200, body=b"x" * (MAX_REPLY + 1)),
            Reply(http_status=200, unreadable=f"was over {MAX_REPLY:,} bytes", request_id="sandbox-000001"),
            id="a huge page",
        ),
        pytest.param(
            SandboxReply(status=200, body=None, then=Then.RESET),
            Trouble(code="CONNECTION_LOST", message="the connection was lost", may_be_applied=True),
            id="a reset",
        ),
        pytest.param(
            SandboxReply(status=200, body=b'{"response":', then=Then.HANG),
            Trouble(code="TIMEOUT", message="no answer came in time", may_be_applied=True),
            id="half a reply",
        ),
    ],
)
async def test_a_read_back_ends_as_an_update_does(sandbox: Sandbox, fault: SandboxReply, answer: Answer) -> None:
    """Show that trouble and odd replies are told in the same words, and that one query is one request."""
    sandbox.read_faults = lambda _: fault
    assert await ask_back(sandbox.base_url, {"id": "1"}, timeout=2 * IMPATIENT) == answer
    assert sandbox.requests == sandbox.reads == 1


async def test_a_read_back_of_nobody_was_never_sent() -> None:
    """Show that a connection that was never made is told as such."""
    trouble = await ask_back(f"http://127.0.0.1:{unused_port()}", {"id": "1"})
    assert isinstance(trouble, Trouble)
    assert (trouble.code, trouble.may_be_applied) == ("CONNECTION_FAILED", False)


async def test_a_read_back_hears_of_a_new_password(sandbox: Sandbox) -> None:
    """Show that a 401 asks for another password, which updates then use, too."""
    sandbox.password = "quiet-Otter-42"
    till = Basic(sandbox.username, "sandbox", renewed_password=lambda: sandbox.password)
    async with Client(sandbox.base_url, till, timeout=20.0, max_connections=1) as client:
        first = await client.read_back({"id": "1"})
        second = await client.update(ASHA)
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)
    assert (first.http_status, first.credentials_renewed, second.http_status) == (401, True, 200)


# Retry-After


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("  7 ", 7.0),
        ("007", 7.0),
        ("Wed, 21 Oct 2026 07:29:30 GMT", 90.0),
        ("Wednesday, 21-Oct-26 07:29:30 GMT", 90.0),
        ("Wed Oct 21 07:29:30 2026", 90.0),
        ("Wed, 21 Oct 2026 09:29:30 +0200", 90.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("86401", MAX_RETRY_AFTER),
        ("9" * 20, MAX_RETRY_AFTER),
        ("9" * 5_000, MAX_RETRY_AFTER),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("1e3", None),
        ("٣", None),
        ("²", None),
        ("120, 240", None),
        ("Wed, 99 Oct 2026 99:99:99 GMT", None),
        ("Wed, 21 Oct 2026 07:28:00 +9999999", None),
    ],
)
def test_retry_after_is_understood_or_left_alone(header: str, seconds: float | None) -> None:
    """Seconds and dates count, past ones as 0, absurd ones as a day; what cannot be understood says nothing."""
    assert retry_after_seconds(header, now=NOW.timestamp()) == seconds


DATE_PARTS = ["Wed", ",", "21", "Oct", "2026", "07:29:30", ":", "GMT", "+0200", "-", "99999", " ", "(", ".", "é"]


@given(header=st.text(max_size=30) | st.lists(st.sampled_from(DATE_PARTS), max_size=9).map(" ".join))
def test_no_retry_after_is_too_odd(header: str) -> None:
    """Whatever the header says, it is a time between now and a day, or nothing."""
    seconds = retry_after_seconds(header, now=NOW.timestamp())
    assert seconds is None or 0.0 <= seconds <= MAX_RETRY_AFTER


# A server of the tests' own, for what no honest one does


Speech = Callable[["Wire", asyncio.StreamWriter], Awaitable[None]]
"""Answers one request; the connection stays open unless it closes it."""


@dataclass(kw_only=True)
class Wire:
    """A server on 127.0.0.1 that counts requests and answers each with the same speech."""

    speech: Speech
    tls: ssl.SSLContext | None = None
    requests: list[bytes] = field(default_factory=list)
    """Each request as it came, headers and body."""
    connections: int = 0
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the test is over."""
    port: int = 0
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def base_url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all that is under way."""
        self.closing.set()
        self._server.close()
        await asyncio.gather(*self._under_way)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                self.requests.append(await self._request(reader))
                await self.speech(self, writer)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self._under_way.discard(task)

    @staticmethod
    async def _request(reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.startswith(b"Content-Length")]
        return head + await reader.readexactly(int(lengths[0]))


def saying(raw: bytes, *, close: bool = True) -> Speech:
    """Return the speech that says exactly this."""

    async def speech(_wire: Wire, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        if close:
            writer.close()

    return speech


def http(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """Return an answer as it goes over the wire; `length` is what it claims, None for the truth."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def talking(head: bytes, block: bytes) -> Speech:
    """Return the speech whose body never ends, said as fast as it is taken."""

    async def speech(_wire: Wire, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(block)
            await writer.drain()

    return speech


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Give a sandbox with no faults."""
    async with Sandbox() as sandbox:
        yield sandbox


# Nothing was sent


def unused_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("base_url", "code"),
    [
        # 365 characters: no name server is ever asked for more than 255.
        pytest.param("http://" + ".".join(["a" * 60] * 6), "NAME_NOT_RESOLVED", id="a name that nobody can have"),
        pytest.param("http://eu..api.example.com", "NAME_NOT_RESOLVED", id="two dots"),
        pytest.param(f"http://{'a' * 64}.example.com", "NAME_NOT_RESOLVED", id="a long part"),
        pytest.param("http://exämple..com", "NAME_NOT_RESOLVED", id="two dots beside an umlaut"),
        pytest.param("eu.api.example.com", "NAME_NOT_RESOLVED", id="no address"),
        pytest.param("http://127.0.0.1:0", "CONNECTION_FAILED", id="port 0"),
    ],
)
async def test_an_address_that_leads_nowhere(base_url: str, code: str) -> None:
    """Whatever is wrong with the address is a trouble after which nothing can have been applied."""
    trouble = await ask(base_url)
    assert isinstance(trouble, Trouble)
    assert (trouble.code, trouble.may_be_applied) == (code, False)


async def test_a_refused_connection() -> None:
    """Nobody listens: surely not applied."""
    trouble = await ask(f"http://127.0.0.1:{unused_port()}")
    assert trouble == Trouble(
        code="CONNECTION_FAILED", message="no connection to the platform could be made", may_be_applied=False
    )


async def test_a_connection_that_is_never_completed() -> None:
    """A server that is silent before TLS stands got no request, and that is known before the attempt's time is up."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        trouble = await ask(f"https://127.0.0.1:{mute.getsockname()[1]}", timeout=3 * IMPATIENT)
    assert isinstance(trouble, Trouble)
    assert (trouble.code, trouble.may_be_applied) == ("CONNECT_TIMEOUT", False)


async def test_a_certificate_that_cannot_be_verified() -> None:
    """Credentials are not sent to whoever merely claims to be the platform."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    async with Wire(speech=saying(http(b"{}")), tls=tls) as wire:
        trouble = await ask(f"https://127.0.0.1:{wire.port}")

    reason = "the platform's certificate could not be verified: unable to get local issuer certificate"
    assert trouble == Trouble(code="TLS_FAILED", message=reason, may_be_applied=False)
    assert wire.requests == []


async def test_a_server_that_does_not_speak_tls() -> None:
    """An https address that leads to a plain server is no connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(http(b"speak plainly", status="400 Bad Request"))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        trouble = await ask(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert trouble == Trouble(
        code="TLS_FAILED", message="no secure connection to the platform could be made", may_be_applied=False
    )


# Sent, and no trustworthy answer


@pytest.mark.parametrize("apply", [False, True])
async def test_a_reset_leaves_everything_open(sandbox: Sandbox, *, apply: bool) -> None:
    """Before or after applying looks the same from here, so both may be applied; and it is one request."""
    sandbox.faults = script({"8878ru": [Fault(apply=apply, then=Then.RESET)]})
    trouble = await ask(sandbox.base_url)
    assert trouble == Trouble(code="CONNECTION_LOST", message="the connection was lost", may_be_applied=True)
    assert (sandbox.requests, len(sandbox.applied)) == (1, apply)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(apply=True, then=Then.HANG),
        Fault(apply=True, then=Then.HANG, body=b'{"id":'),
        Fault(apply=True, chunk_delay=IMPATIENT / 4),
    ],
    ids=["nothing", "half a reply", "a drip"],
)
async def test_an_answer_that_takes_too_long(sandbox: Sandbox, fault: Fault) -> None:
    """The attempt ends when its time is up, however much of a reply has come by then."""
    sandbox.faults = script({"8878ru": [fault]})
    trouble = await ask(sandbox.base_url, timeout=IMPATIENT)
    assert trouble == Trouble(code="TIMEOUT", message="no answer came in time", may_be_applied=True)
    assert len(sandbox.applied) == 1


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x00\xff garbage\r\n\r\n", id="garbage"),
        pytest.param(b"SSH-2.0-OpenSSH_9.9\r\n", id="another protocol"),
        pytest.param(b'{"id":396023}', id="a body alone"),
        pytest.param(b"HTTP/1.1 abc OK\r\n\r\n", id="no status"),
        pytest.param(http(b"{}", "X: " + "x" * 100_000), id="a huge header"),
        pytest.param(http(b"{}", "X: \0"), id="a NUL in a header"),
        pytest.param(http(b"{}", length=-2), id="a negative length"),
        pytest.param(http(b"{}", "Content-Length: 3"), id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", id="a bad chunk"),
        pytest.param(http(b"{}", "Content-Encoding: br"), id="a compression that was not asked for"),
    ],
)
async def test_an_answer_that_is_not_http(raw: bytes) -> None:
    """Somebody got the request, and nobody knows what came of it."""
    async with Wire(speech=saying(raw)) as wire:
        trouble = await ask(wire.base_url)
    assert trouble == Trouble(code="UNREADABLE_REPLY", message="the answer was not HTTP", may_be_applied=True)
    assert len(wire.requests) == 1


@pytest.mark.parametrize("raw", [b"", b"HTTP/1.1 200 OK\r\nConte"])
async def test_a_connection_closed_without_an_answer(raw: bytes) -> None:
    """A server that takes the request and leaves may have applied it."""
    async with Wire(speech=saying(raw)) as wire:
        trouble = await ask(wire.base_url)
    assert trouble == Trouble(code="CONNECTION_LOST", message="the connection was lost", may_be_applied=True)
    assert len(wire.requests) == 1


# Replies of all kinds


GZIP = "Content-Encoding: gzip"
UNREADABLE = [
    ("empty", http(b""), "was empty"),
    ("blank", http(b" \r\n"), "was empty"),
    ("no content", http(b"", status="204 No Content"), "was empty"),
    ("HTML", http(b"\n<html><h1>It works</h1></html>", "Content-Type: text/html"), "was a page of HTML"),
    ("text", http(b"OK"), "was not JSON"),
    ("no UTF-8", http(b'{"a":"\xff"}'), "was not JSON"),
    ("half a surrogate", http(b'{"a":"\\ud800"}'), "was not JSON"),
    ("not a number", http(b'{"a":NaN}'), "was not JSON"),
    ("too deep", http(b"[" * 500_000), "was not JSON"),
    ("a list", http(b'[{"id":1}]'), "was not a JSON object"),
    ("null", http(b"null"), "was not a JSON object"),
    ("cut short", http(b'{"id":396023,"pro', length=400), "was cut short or damaged"),
    (
        "a missing chunk",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        "was cut short or damaged",
    ),
    ("no gzip", http(b'{"id":1}', GZIP), "was cut short or damaged"),
    ("half a gzip", http(gzip.compress(json.dumps({"a": [*range(999)]}).encode())[:999], GZIP), "was not JSON"),
    ("one byte too many", http(b'{"a":"' + b"x" * (MAX_REPLY - 7) + b'"}'), "was over 1,000,000 bytes"),
]


@pytest.mark.parametrize(("raw", "why"), [pytest.param(raw, why, id=name) for name, raw, why in UNREADABLE])
async def test_a_body_that_cannot_be_read(raw: bytes, why: str) -> None:
    """The status is known all the same, and the reply says why there is no body."""
    async with Wire(speech=saying(raw)) as wire:
        reply = await ask(wire.base_url)
    assert isinstance(reply, Reply)
    assert reply == Reply(http_status=reply.http_status, body=None, unreadable=why)
    assert reply.http_status in {200, 204}


async def test_a_reset_in_the_middle_of_a_body(sandbox: Sandbox) -> None:
    """What was said before the connection broke still has its status."""
    sandbox.faults = script({"8878ru": [Fault(apply=True, then=Then.RESET, status=201, body=b'{"id":')]})
    reply = await ask(sandbox.base_url)
    assert isinstance(reply, Reply)
    assert (reply.http_status, reply.body, reply.unreadable) == (201, None, "was cut short or damaged")


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        pytest.param(http(gzip.compress(b'{"id":1}'), GZIP), {"id": 1}, id="compressed"),
        pytest.param(b'HTTP/1.1 200 OK\r\n\r\n{"id":1}', {"id": 1}, id="without a length"),
        pytest.param(b'HTTP/1.0 200 OK\r\n\r\n{"id":1}', {"id": 1}, id="an old server"),
        pytest.param(http(b'{"id":1}', "Content-Type: text/plain; charset=none"), {"id": 1}, id="called text"),
        pytest.param(http(b'{"billId":9223372036854775807}'), {"billId": 2**63 - 1}, id="the largest bill id"),
        pytest.param(http(b'{"a":"' + b"x" * (MAX_REPLY - 8) + b'"}'), {"a": "x" * (MAX_REPLY - 8)}, id="just in"),
    ],
)
async def test_a_body_that_can_be_read(raw: bytes, body: dict[str, Any]) -> None:
    """A JSON object is one, whatever it came as."""
    async with Wire(speech=saying(raw)) as wire:
        assert await ask(wire.base_url) == Reply(http_status=200, body=body)


@pytest.mark.parametrize(
    ("header", "request_id"),
    [
        ("X-CAP-REQUEST-ID: r-1", "r-1"),
        ("X-CAP-REQUEST-ID: a\xff\x80 b", "a b"),
        ("X-CAP-REQUEST-ID:", ""),
        ("X-CAP-REQUEST-ID: " + "x" * 5_000, "x" * MAX_REQUEST_ID),
    ],
    ids=["plain", "bytes that are no text", "empty", "endless"],
)
async def test_a_request_id_is_text_that_a_journal_takes(header: str, request_id: str) -> None:
    """A header may hold any bytes; what cannot be written down must not end the run when it is."""
    async with Wire(speech=saying(http(b"{}", header))) as wire:
        reply = await ask(wire.base_url)
    assert reply == Reply(http_status=200, body={}, request_id=request_id)


async def test_a_redirect_is_not_followed() -> None:
    """The credentials go to the configured address and nowhere else."""
    async with Wire(speech=saying(http(b"{}"))) as elsewhere:
        moved = http(b"", f"Location: {elsewhere.base_url}/x", status="307 Temporary Redirect")
        async with Wire(speech=saying(moved)) as wire:
            reply = await ask(wire.base_url)
    assert reply == Reply(http_status=307, unreadable="was empty")
    assert (len(wire.requests), elsewhere.connections) == (1, 0)


BLOCK = b"x" * 65_536
HUGE = {
    "40 MB": lambda: talking(http(b"", length=40 * MEGABYTE), BLOCK),
    "endless": lambda: talking(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + BLOCK + b"\r\n"
    ),
    "a gzip bomb of 100 MB": lambda: saying(http(gzip.compress(b" " * 100 * MEGABYTE, compresslevel=1), GZIP)),
}


@pytest.mark.parametrize("kind", HUGE)
async def test_a_huge_reply_is_bounded(kind: str) -> None:
    """Little more than a megabyte is read of it, be it endless, and the next update finds a connection."""
    async with Wire(speech=HUGE[kind]()) as wire, client_of(wire.base_url) as client:
        tracemalloc.start()
        try:
            reply = await client.update(ASHA)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        wire.speech = saying(http(b"{}"))
        assert await client.update(ASHA) == Reply(http_status=200, body={})

    assert reply == Reply(http_status=200, unreadable="was over 1,000,000 bytes")
    assert most < 10 * MEGABYTE


# The connection


async def test_connections_are_kept_and_cookies_are_not() -> None:
    """Ten updates, one after another, need one connection; nothing a server sets comes back to it."""
    speech = saying(http(b"{}", "Set-Cookie: a=1"), close=False)
    async with Wire(speech=speech) as wire, client_of(wire.base_url) as client:
        for _ in range(10):
            assert await client.update(ASHA) == Reply(http_status=200, body={})
    assert (len(wire.requests), wire.connections) == (10, 1)
    assert not any(b"cookie" in request.lower() for request in wire.requests)
    assert wire.requests[0].endswith(request_body(ASHA))


async def drop_the_second(wire: Wire, writer: asyncio.StreamWriter) -> None:
    """Answer every request but the second, which ends its kept-alive connection."""
    if len(wire.requests) == 2:
        writer.close()
    else:
        writer.write(http(b"{}"))


@pytest.mark.parametrize(("aiohttp_repeats", "requests"), [(False, 2), (True, 3)], ids=["ours", "aiohttp's default"])
async def test_no_update_is_silently_sent_twice(*, aiohttp_repeats: bool, requests: int) -> None:
    """A kept-alive connection that drops costs one request and is told; aiohttp by itself would send a second PUT."""
    async with Wire(speech=drop_the_second) as wire, client_of(wire.base_url) as client:
        assert client._session._retry_connection is False
        client._session._retry_connection = aiohttp_repeats
        first, second = await client.update(ASHA), await client.update(ASHA)

    assert first == Reply(http_status=200, body={})
    assert len(wire.requests) == requests
    lost = Trouble(code="CONNECTION_LOST", message="the connection was lost", may_be_applied=True)
    assert second == (first if aiohttp_repeats else lost)


async def test_a_cancelled_update_ends_at_once() -> None:
    """A second Ctrl-C is no answer of the network: it passes through."""
    arrived = asyncio.Event()

    async def hang(wire: Wire, _writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await wire.closing.wait()

    async with Wire(speech=hang) as wire:
        update = asyncio.create_task(ask(wire.base_url))
        await arrived.wait()
        update.cancel()
        with pytest.raises(asyncio.CancelledError):
            await update


# A password that is replaced meanwhile


class Safe:
    """Where a new password may lie, and how often somebody looked."""

    def __init__(self, password: str | None) -> None:
        """Put a password into it, or none."""
        self.password = password
        self.looks = 0

    def look(self) -> str | None:
        """Return what lies there."""
        self.looks += 1
        return self.password


def renewing(sandbox: Sandbox, safe: Safe, *, max_connections: int = 1) -> Client:
    """Build a client that looks for another password when its own, the sandbox's at first, is refused."""
    return Client(
        sandbox.base_url,
        Basic("sandbox.till", "sandbox", renewed_password=safe.look),
        timeout=20.0,
        max_connections=max_connections,
    )


def row_of(number: int) -> Correction:
    """Return a correction of a redemption and a customer of its own."""
    return replace(ASHA, row_number=number, redemption_id=f"R{number}", identifier_value=f"9199{number:08}")


def statuses(answers: list[Answer]) -> set[tuple[int, bool]]:
    """Return which statuses came, and whether the password had been replaced by then."""
    assert all(isinstance(answer, Reply) for answer in answers)
    return {(answer.http_status, answer.credentials_renewed) for answer in answers if isinstance(answer, Reply)}


async def test_a_new_password_is_looked_for_at_the_first_401(sandbox: Sandbox) -> None:
    """The refused update is not repeated here, but said to be worth it; the next has the new password."""
    safe = Safe("new")
    async with renewing(sandbox, safe) as client:
        before = await client.update(row_of(2))
        assert safe.looks == 0
        sandbox.password = "new"
        refused, after = await client.update(row_of(3)), await client.update(row_of(3))
    assert [statuses([each]) for each in (before, refused, after)] == [{(200, False)}, {(401, True)}, {(200, False)}]
    assert (safe.looks, sandbox.requests, len(sandbox.applied)) == (1, 3, 2)


@pytest.mark.parametrize("found", [None, "sandbox", "neither"], ids=["none", "the same", "another that is wrong"])
async def test_a_new_password_is_looked_for_only_once(sandbox: Sandbox, found: str | None) -> None:
    """A second 401 is the last word, whatever lies there by then: tills get locked."""
    safe = Safe(found)
    sandbox.password = "new"
    async with renewing(sandbox, safe) as client:
        first = await client.update(ASHA)
        safe.password = "new"
        others = [await client.update(ASHA) for _ in range(3)]
    assert statuses([first]) == {(401, found == "neither")}
    assert statuses(others) == {(401, False)}
    assert safe.looks == 1


async def test_nothing_but_a_401_asks_for_another_password(sandbox: Sandbox) -> None:
    """A till without the permission, or a failing server, is not helped by one."""
    safe = Safe("new")
    faults = [Fault(status=status) for status in (400, 402, 403, 407, 500)]
    sandbox.faults = script({"8878ru": faults})
    async with renewing(sandbox, safe) as client:
        answers = [await client.update(ASHA) for _ in faults]
        sandbox.permitted = False
        answers.append(await client.update(ASHA))
    assert statuses(answers) == {(400, False), (402, False), (403, False), (407, False), (500, False)}
    assert safe.looks == 0


@pytest.mark.parametrize("status", [200, 400, 403])
async def test_the_code_401_asks_for_another_password_whatever_its_status(sandbox: Sandbox, status: int) -> None:
    """It refuses as HTTP 401 does: the next update has the new one."""
    safe = Safe("new")
    sandbox.faults = script({"R2": [Fault(status=status, body=errors_body(401, "no"))]})
    async with renewing(sandbox, safe) as client:
        refused = await client.update(row_of(2))
        sandbox.password = "new"
        after = await client.update(row_of(3))
    assert [statuses([each]) for each in (refused, after)] == [{(status, True)}, {(200, False)}]
    assert safe.looks == 1


async def test_a_read_back_that_says_401_within_asks_for_another_password(sandbox: Sandbox) -> None:
    """The older API answers HTTP 200 with the code inside."""
    safe = Safe("new")
    sandbox.read_faults = lambda _: no_customer(401, "no", identifier={"id": "1"})
    async with renewing(sandbox, safe) as client:
        assert statuses([await client.read_back({"id": "1"})]) == {(200, True)}
        sandbox.password = "new"
        assert statuses([await client.read_back({"id": "1"})]) == {(200, False)}
    assert safe.looks == 1


# Credentials that the platform repeats


DIGEST = hashlib.md5(b"sandbox-7", usedforsecurity=False).hexdigest()
MASKED: list[tuple[str, Any, Any]] = [
    ("the whole header", basic_authorization("sandbox.till", "sandbox-7"), "Basic …"),
    ("base64 cut of what fills it up", basic_authorization("sandbox.till", "sandbox-7").rstrip("="), "Basic …"),
    ("md5", f"till:{DIGEST}:", "till:…:"),
    ("md5 in capital letters", DIGEST.upper(), "…"),
    ("the password", "not sandbox-7, is it?", "not …, is it?"),
    ("nothing of it", "not sandbox.till", "not sandbox.till"),
    ("a number", 401, 401),
]


@pytest.mark.parametrize(("said", "seen"), [pytest.param(*facts, id=name) for name, *facts in MASKED])
@pytest.mark.parametrize("name", ["code", "message"])
@pytest.mark.parametrize("kind", ["errors", "warnings"])
async def test_a_password_that_the_platform_repeats_is_masked(
    sandbox: Sandbox, kind: str, name: str, said: Any, seen: Any
) -> None:
    """In codes and messages, of errors and of warnings, in each form that it could be used in."""
    body = json.dumps({kind: [{name: said}], "billNumber": "B-1"}).encode()
    sandbox.password = "sandbox-7"
    sandbox.faults = script({"8878ru": [Fault(status=200, body=body)]})
    async with Client(sandbox.base_url, Basic("sandbox.till", "sandbox-7"), timeout=20.0, max_connections=1) as client:
        answer = await client.update(ASHA)
    assert isinstance(answer, Reply)
    assert answer.body == {kind: [{name: seen}], "billNumber": "B-1"}


async def test_a_password_is_masked_in_what_the_older_api_says(sandbox: Sandbox) -> None:
    """In the status of the response and of the customer."""
    sandbox.read_faults = lambda _: no_customer(1012, f"{AUTHORIZATION}", identifier={"id": "1"})
    answer = await ask_back(sandbox.base_url, {"id": "1"})
    assert isinstance(answer, Reply)
    assert AUTHORIZATION.split()[1] not in repr(answer)
    assert answer.body["response"]["customer"]["id"] == "1"  # type: ignore[index]  # it has one


@pytest.mark.parametrize("password", ["401", "4000", "code", "message", "errors", "1", "false"])
def test_no_password_keeps_the_platforms_codes_from_being_read(password: str) -> None:
    """The codes, and what the fields are called, stay what they are."""
    till = Basic("sandbox.till", password)
    refusal = {"errors": [{"status": False, "code": 4000, "message": "no"}, {"code": "401"}]}
    older = {"response": {"status": {"success": False, "code": 401}, "customer": {"item_status": {"success": "no"}}}}
    for body in (refusal, older):
        assert till.traces.masked(Reply(http_status=200, body=body)).body == body


JSON_ERRORS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["sandbox-7", f"x{DIGEST}", "401"])
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "sandbox-7", "code"]), inner),
    max_leaves=9,
)


@given(errors=JSON_ERRORS, warnings=JSON_ERRORS, echo=st.text(max_size=9))
def test_whatever_is_repeated_is_masked_and_nothing_else(errors: Any, warnings: Any, echo: str) -> None:
    """In any JSON: no trace is left, and what has none stays as it was."""
    before = Reply(http_status=200, body={"errors": errors, "warnings": warnings, "data": {"billNumber": echo}})
    after = Basic("sandbox.till", "sandbox-7").traces.masked(before)
    assert after.body is not None
    shown = repr((after.body["errors"], after.body["warnings"]))
    assert "sandbox-7" not in shown
    assert DIGEST not in shown
    assert after.body["data"] == {"billNumber": echo}
    said = repr((errors, warnings)).lower()
    if "sandbox-7" not in said and DIGEST not in said:
        assert after == before


def test_what_is_nested_too_deeply_to_be_masked_is_not_shown() -> None:
    """JSON may be nested a thousand deep; nobody could print it, either."""
    deep = json.loads("[" * 900 + "]" * 900)
    for _ in range(3):
        deep = [[[deep]]]
    for _ in range(400):
        deep = [deep]
    masked = Basic("sandbox.till", "sandbox-7").traces.masked(Reply(http_status=200, body={"errors": deep}))
    assert masked.body == {"errors": "…"}


def test_who_looks_for_credentials_does_not_show_them() -> None:
    """Not by itself, nor by what it holds."""
    traces = Basic("sandbox.till", "sandbox-7").traces
    assert "sandbox-7" not in f"{traces} {vars(traces)['_texts']!r}"
    assert DIGEST not in f"{traces} {vars(traces)['_texts']!r}"


async def test_all_under_way_hear_of_the_new_password(sandbox: Sandbox) -> None:
    """Of 32 refused at once one looks for it; all the others are told, too, that theirs was the old one."""
    safe = Safe("new")
    sandbox.password = "new"
    async with renewing(sandbox, safe, max_connections=32) as client:
        refused = await asyncio.gather(*(client.update(row_of(number)) for number in range(2, 34)))
        after = await asyncio.gather(*(client.update(row_of(number)) for number in range(2, 34)))
    assert statuses(refused) == {(401, True)}
    assert statuses(after) == {(200, False)}
    assert (safe.looks, len(sandbox.applied)) == (1, 32)


async def at_once(_seconds: float) -> None:
    """Sleep not at all."""
    await asyncio.sleep(0)


@pytest.mark.parametrize("lies_there", ["new", "neither"])
async def test_a_password_change_under_32_workers(sandbox: Sandbox, lies_there: str) -> None:
    """All 32 are tried again with the new password, the first of them alone, and none is refused wrongly.

    When what lies there is wrong, too, it is tried once, and not 32 times.
    """
    safe = Safe(lies_there)
    async with renewing(sandbox, safe, max_connections=32) as client:
        gate = Gate(Watch(), width=32, outage_timeout=900.0, remaining=lambda: 100, sleep=at_once)
        stop = Stop()
        delivery = Delivery(
            client.update, Pace(Ceiling.parse("none")), gate, max_attempts=1, sleep=at_once, proceed=stop.check
        )
        await delivery.deliver(row_of(2))
        sandbox.password = "new"
        outcomes: list[Outcome] = []

        async def record(outcome: Outcome | Invalid | Skipped) -> None:
            assert isinstance(outcome, Outcome)
            outcomes.append(outcome)

        await Pool(delivery.deliver, record, stop=stop, max_workers=32).run(map(row_of, range(3, 35)))
    if lies_there == "new":
        assert {(outcome.status, outcome.attempts) for outcome in outcomes} == {(Status.SUCCESS, 2)}
        assert (len(outcomes), stop.cause) == (32, None)
    else:
        assert isinstance(stop.cause, AccessRefusedError)
        assert outcomes == []
        assert sandbox.requests == 1 + 32 + 1
    assert safe.looks == 1


@pytest.mark.parametrize(
    ("before", "after", "is_renewed"),
    [
        pytest.param("sandbox\n", "new\n", True, id="replaced"),
        pytest.param("sandbox", "sandbox\n", False, id="the same, with a line end"),
        pytest.param("sandbox", None, False, id="taken away"),
        pytest.param("sandbox", b"\xff", False, id="unreadable"),
    ],
)
async def test_the_password_file_is_read_again(
    nothing_configured: Path,
    monkeypatch: pytest.MonkeyPatch,
    sandbox: Sandbox,
    before: str,
    after: str | bytes | None,
    *,
    is_renewed: bool,
) -> None:
    """A run that began before the password was changed goes on with the file's new one; nothing else is an error."""
    file = nothing_configured / "password"
    file.write_text(before)
    monkeypatch.setenv("BULKREDEEM_BASE_URL", sandbox.base_url)
    monkeypatch.setenv("BULKREDEEM_USERNAME", sandbox.username)
    monkeypatch.setenv("BULKREDEEM_PASSWORD_FILE", str(file))
    async with client_for(load_settings({})) as client:
        sandbox.password = "new"
        if after is None:
            file.unlink()
        else:
            file.write_bytes(after if isinstance(after, bytes) else after.encode())
        answers = [await client.update(ASHA) for _ in range(2)]
    assert statuses(answers[:1]) == {(401, is_renewed)}
    assert statuses(answers[1:]) == {(200 if is_renewed else 401, False)}
