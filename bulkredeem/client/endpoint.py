"""The platform's endpoint: a correction or a query goes out once, a reply or a trouble comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import orjson

from bulkredeem.client.authentication import Authentication, Errand, Heed, Proceed, Slot
from bulkredeem.client.oauth import TOKEN_PATH
from bulkredeem.client.replies import moment_of, read_body, request_id_of, retry_after_seconds
from bulkredeem.client.troubles import Departure, doubt_of, traces_of, trouble_of
from bulkredeem.client.wire import DIRECT, Way
from bulkredeem.model import Answer, Correction, Reply, Trouble
from bulkredeem.verdict import says_unauthorized

UPDATE_PATH: Final = "/v2/points/updateRedemption"
READ_BACK_PATH: Final = "/v1.1/customer/redemptions"
CONNECTING_SHARE: Final = 1 / 3
"""Share of an attempt's time that connecting may take. Ending that first tells "never left" from "no answer"."""


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
        authentication: Authentication,
        *,
        timeout: float,
        max_connections: int,
        way: Way = DIRECT,
        user_agent: str = "bulkredeem",
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare; nothing is connected yet.

        `timeout` is seconds for a whole attempt. `wall_clock` (seconds since the epoch) is what a `Retry-After` date
        is compared with. `user_agent` is how we call ourselves to whoever looks after the platform.
        """
        self._url = base_url + UPDATE_PATH
        self._read_back_url = base_url + READ_BACK_PATH
        self._token_url = base_url + TOKEN_PATH
        self._authentication = authentication
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=timeout * CONNECTING_SHARE)
        self._max_connections = max_connections
        self._way = way
        self._user_agent = user_agent
        self._wall_clock = wall_clock
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._max_connections, ssl=self._way.tls or True),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json",
                "User-Agent": self._user_agent,
            },
            timeout=self._timeout,
            trace_configs=traces_of(self._way),
        )
        # aiohttp sends a PUT once more by itself when a kept-alive connection turns out to be closed. That second
        # request would pass the pace and the count of attempts by; no public switch turns it off.
        self._session._retry_connection = False  # noqa: SLF001
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    @property
    def asked_aside(self) -> int:
        """How many more requests were sent than updates and questions were asked for: tokens', less what they kept."""
        return self._authentication.asked_aside

    def authenticated(
        self, slot: Slot, *, proceed: Proceed = lambda: None, heed: Heed = lambda _reply, _sent_at: None
    ) -> Slot:
        """Return what takes the slot of one update or question, and before that a token's when one is due.

        It returns the moment of the last slot. When no token came, that is the token's: what the same task sends next
        is not sent then, and the answer to it says why. `proceed` is asked before each request for a token, and raises
        when none may start any more; `heed` hears of each reply to one, and the moment of its slot.
        """
        exchange = self._ask_for_token
        return self._authentication.slot_with(Errand(slot=slot, exchange=exchange, proceed=proceed, heed=heed))

    async def update(self, correction: Correction) -> Answer:
        """Send one update, once. Never raises for what a network or a server can do."""
        return await self._sent("PUT", self._url, data=request_body(correction))

    async def read_back(self, query: Mapping[str, str]) -> Answer:
        """Ask once for the redemptions that a query names. Never raises for what a network or a server can do.

        A trouble's `may_be_applied` says here no more than that the question may have arrived: asking applies nothing.
        """
        return await self._sent("GET", self._read_back_url, params=query)

    async def _sent(self, method: str, url: str, **content: object) -> Answer:
        if (instead := self._authentication.instead()) is not None:
            return instead
        headers = self._authentication.headers
        return self._heard(await self._exchange(method, url, headers=headers, **content), headers)

    def _heard(self, answer: Answer, used: Mapping[str, str]) -> Answer:
        """Let the authentication hear what has come of its headers; return the answer, and whether others count now."""
        if isinstance(answer, Trouble):
            return answer
        if not says_unauthorized(answer):
            self._authentication.accept(used)
            return answer
        return replace(answer, credentials_renewed=True) if self._authentication.is_outdated(used) else answer

    async def _ask_for_token(self, pair: Mapping[str, str], seconds: float | None) -> Answer:
        # A payload, since bytes would be shown by whoever shows the values of variables.
        content = aiohttp.BytesPayload(orjson.dumps(pair))
        return await self._exchange("POST", self._token_url, data=content, timeout=self._timeout_within(seconds))

    def _timeout_within(self, seconds: float | None) -> aiohttp.ClientTimeout:
        """Return the time of an attempt, cut to so many seconds."""
        if seconds is None or seconds >= (self._timeout.total or 0.0):
            return self._timeout
        return aiohttp.ClientTimeout(total=seconds, connect=seconds * CONNECTING_SHARE)

    async def _exchange(self, method: str, url: str, **content: object) -> Answer:
        departure = Departure()
        options: dict[str, Any] = {**self._way.options, **content, "trace_request_ctx": departure}
        request = self._session.request(method, url, allow_redirects=False, **options)
        try:
            async with request as response:
                return await self._read(response)
        except (TimeoutError, aiohttp.ClientError, OSError, UnicodeError) as exc:
            return trouble_of(exc, self._way, departure) or doubt_of(exc)

    async def _read(self, response: aiohttp.ClientResponse) -> Reply:
        body, unreadable = await read_body(response)
        reply = Reply(
            http_status=response.status,
            body=body,
            unreadable=unreadable,
            retry_after=self._retry_after(response.headers),
            request_id=request_id_of(response.headers),
            served_at=moment_of(response.headers.get("Date", "")),
        )
        # Here, so that whoever comes after has never seen them.
        return self._authentication.traces.masked(reply)

    def _retry_after(self, headers: Mapping[str, str]) -> float | None:
        header = headers.get("Retry-After")
        return None if header is None else retry_after_seconds(header, now=self._wall_clock())
