"""One HTTP attempt: a correction or a query goes out, a reply or a trouble comes back. Authentication lives here too.

Nothing here repeats, waits or judges: `delivery` does. aiohttp's exceptions end here, and what may have reached the
platform is told apart from what surely has not.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson

from bulkredeem.model import Answer, Correction, Reply, Trouble

UPDATE_PATH: Final = "/v2/points/updateRedemption"
READ_BACK_PATH: Final = "/v1.1/customer/redemptions"
MAX_REPLY: Final = 1_000_000
"""Bytes of a reply, unpacked, that are read. The documented replies to an update have less than 2,000, and so has each
redemption that is read back: `delivery.PAGE_SIZE` of them must fit."""
MAX_REQUEST_ID: Final = 100
"""Characters of the platform's name for a request that are kept. The documented ones have 36."""
MAX_RETRY_AFTER: Final = 86_400.0
"""Seconds that a `Retry-After` is believed at most: a day. Longer ones are a mistake of somebody's."""
CONNECTING_SHARE: Final = 1 / 3
"""Share of an attempt's time that connecting may take. Ending that first tells "never left" from "no answer"."""
_REQUEST_ID_HEADERS: Final = ("X-CAP-REQUEST-ID", "X-Cap-RequestID")
_READ_AT_ONCE: Final = 65_536
_UNAUTHORIZED: Final = 401

_NOT_CONNECTED: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (aiohttp.ClientConnectorDNSError, "NAME_NOT_RESOLVED", "the platform's host name could not be resolved"),
    (aiohttp.InvalidURL, "NAME_NOT_RESOLVED", "the platform's address is none"),
    (UnicodeError, "NAME_NOT_RESOLVED", "the platform's host name is none: a part of it is empty or too long"),
    (aiohttp.ClientConnectorCertificateError, "TLS_FAILED", "the platform's certificate could not be verified"),
    (aiohttp.ClientSSLError, "TLS_FAILED", "no secure connection to the platform could be made"),
    (aiohttp.ClientConnectorError, "CONNECTION_FAILED", "no connection to the platform could be made"),
    (aiohttp.ConnectionTimeoutError, "CONNECT_TIMEOUT", "no connection to the platform could be made in time"),
)
"""Exceptions after which the request surely was not applied, the more particular first."""


def basic_authorization(username: str, password: str) -> str:
    """Return the value of the `Authorization` header: the platform wants the password as lower-case MD5."""
    digest = hashlib.md5(password.encode(), usedforsecurity=False).hexdigest()
    return "Basic " + base64.b64encode(f"{username}:{digest}".encode()).decode("ascii")


def request_body(correction: Correction) -> bytes:
    """Return the JSON of a request: only what is set, `billId` as an integer exact to its last digit."""
    body = {
        "redemptionId": correction.redemption_id,
        "externalReferenceNumber": correction.external_reference_number,
        "billNumber": correction.bill_number,
        "billId": correction.bill_id,
        "purpose": correction.purpose,
        "customFields": correction.custom_fields,
        "entity": {
            "type": correction.entity_type,
            "identifierType": correction.identifier_type,
            "identifierValue": correction.identifier_value,
        },
    }
    return orjson.dumps({name: value for name, value in body.items() if value})


class Client:
    """The platform's update endpoint and its read-back, over one session of kept-alive connections.

    An asynchronous context manager: connections live as long as it does.
    """

    def __init__(
        self,
        base_url: str,
        authorization: str,
        *,
        timeout: float,
        max_connections: int,
        renewed_authorization: Callable[[], str | None] = lambda: None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; nothing is connected yet.

        `timeout` is seconds for a whole attempt. `renewed_authorization` is asked once, at the first 401, and returns
        None when there is no other password. `wall_clock` (seconds since the epoch) is what a `Retry-After` date is
        compared with.
        """
        self._url = base_url + UPDATE_PATH
        self._read_back_url = base_url + READ_BACK_PATH
        self._authorization = authorization
        self._renewed_authorization = renewed_authorization
        self._asked_for_renewal = False
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=timeout * CONNECTING_SHARE)
        self._max_connections = max_connections
        self._wall_clock = wall_clock
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._max_connections),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Authorization": self._authorization,
                "Content-Type": "application/json",
                "Accept": "application/json",
            },
            timeout=self._timeout,
        )
        # aiohttp sends a PUT once more by itself when a kept-alive connection turns out to be closed. That second
        # request would pass the pace and the count of attempts by; no public switch turns it off.
        self._session._retry_connection = False  # noqa: SLF001
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def update(self, correction: Correction) -> Answer:
        """Send one update, once. Never raises for what a network or a server can do."""
        return await self._answer(self._session.put(self._url, data=request_body(correction), allow_redirects=False))

    async def read_back(self, query: Mapping[str, str]) -> Answer:
        """Ask once for the redemptions that a query names. Never raises for what a network or a server can do.

        A trouble's `may_be_applied` says here no more than that the question may have arrived: asking applies nothing.
        """
        return await self._answer(self._session.get(self._read_back_url, params=query, allow_redirects=False))

    async def _answer(self, request: AbstractAsyncContextManager[aiohttp.ClientResponse]) -> Answer:
        used = self._authorization
        try:
            async with request as response:
                return await self._read(response, used)
        except TimeoutError as exc:
            return _trouble(exc) or Trouble(code="TIMEOUT", message="no answer came in time", may_be_applied=True)
        except aiohttp.ClientResponseError:
            return Trouble(code="UNREADABLE_REPLY", message="the answer was not HTTP", may_be_applied=True)
        except (aiohttp.ClientError, OSError, UnicodeError) as exc:
            lost = Trouble(code="CONNECTION_LOST", message="the connection was lost", may_be_applied=True)
            return _trouble(exc) or lost

    async def _read(self, response: aiohttp.ClientResponse, used: str) -> Reply:
        body, unreadable = await _read_body(response)
        return Reply(
            http_status=response.status,
            body=body,
            unreadable=unreadable,
            retry_after=self._retry_after(response.headers),
            request_id=_request_id(response.headers),
            password_renewed=response.status == _UNAUTHORIZED and self._is_outdated(used),
            served_at=_moment_of(response.headers.get("Date", "")),
        )

    def _retry_after(self, headers: Mapping[str, str]) -> float | None:
        header = headers.get("Retry-After")
        return None if header is None else retry_after_seconds(header, now=self._wall_clock())

    def _is_outdated(self, used: str) -> bool:
        """Say whether the authorization a request had is not the one to use now; look for a new one, once."""
        if used == self._authorization and not self._asked_for_renewal:
            self._asked_for_renewal = True
            self._authorization = self._renewed_authorization() or used
            self._session.headers["Authorization"] = self._authorization
        return used != self._authorization


def retry_after_seconds(header: str, *, now: float) -> float | None:
    """Return the seconds a `Retry-After` header asks for, or None when it says nothing that can be understood.

    Both forms count: seconds, and an HTTP date (a past one is 0.0). `now` is seconds since the epoch.
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER)
    when = _moment_of(text)
    return None if when is None else min(max(0.0, when - now), MAX_RETRY_AFTER)


# Replies of one second say the same, and reading a date costs more than all else that is read of a reply's head.
@lru_cache(maxsize=8)
def _moment_of(date: str) -> float | None:
    """Return an HTTP date in seconds since the epoch, or None when it is none."""
    try:
        moment = parsedate_to_datetime(date)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def _request_id(headers: Mapping[str, str]) -> str:
    """Return the platform's name for the request as text that any journal can hold: a header may be any bytes."""
    named = next((value for name in _REQUEST_ID_HEADERS if (value := headers.get(name))), "")
    return "".join(filter(str.isprintable, named))[:MAX_REQUEST_ID]


def _trouble(error: Exception) -> Trouble | None:
    """Return the trouble of a connection that was never made, or None when one was."""
    for kind, code, message in _NOT_CONNECTED:
        if isinstance(error, kind):
            return Trouble(code=code, message=message, may_be_applied=False)
    return None


async def _read_body(response: aiohttp.ClientResponse) -> tuple[Mapping[str, Any] | None, str]:
    """Return the reply's JSON object, or None and the words that say why there is none.

    A timeout passes through: who waits for the rest of a reply knows its status, but not that it is one.
    """
    stream = response.content
    try:
        content = await stream.read(_READ_AT_ONCE)
        # Nearly every reply is whole by now: asking for more would cost another turn.
        while not stream.at_eof() and (chunk := await stream.read(_READ_AT_ONCE)):
            content += chunk
            if len(content) > MAX_REPLY:
                response.close()
                return None, f"was over {MAX_REPLY:,} bytes"
    except TimeoutError:
        raise
    except aiohttp.ClientError:
        return None, "was cut short or damaged"
    return _parse(content)


def _parse(content: bytes) -> tuple[Mapping[str, Any] | None, str]:
    if not content.strip():
        return None, "was empty"
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        looks_like_html = content.lstrip()[:1] == b"<"
        return None, "was a page of HTML" if looks_like_html else "was not JSON"
    if not isinstance(body, dict):
        return None, "was not a JSON object"
    return body, ""
