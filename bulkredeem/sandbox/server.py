"""The server itself: who may come in, what is under way, and how a reply leaves, whole or in pieces."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import math
import socket
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from bulkredeem.errors import ConfigurationError
from bulkredeem.model import Rate
from bulkredeem.sandbox.books import Books
from bulkredeem.sandbox.faults import NOTHING_DONE, Fault, FaultHook, draw
from bulkredeem.sandbox.readback import read_back
from bulkredeem.sandbox.replies import Reply, Then, refused, updated, wrapped
from bulkredeem.sandbox.rules import read_update
from bulkredeem.sandbox.tokens import Tokens, is_pair
from bulkredeem.sandbox.values import UNSET_BILL_ID, Applied, Redemption, UpdateRequest
from bulkredeem.sandbox.window import Window

HOST: Final = "127.0.0.1"
"""The only address it ever listens on: it is a rehearsal, with a password everybody can read."""
UPDATE_PATH: Final = "/v2/points/updateRedemption"
READ_BACK_PATH: Final = "/v1.1/customer/redemptions"
TOKEN_PATH: Final = "/v3/oauth/token/generate"  # noqa: S105 - a path
TOKEN_HEADER: Final = "X-CAP-API-OAUTH-TOKEN"  # noqa: S105 - a header's name
_JSON: Final = "application/json"
_DRIP: Final = 16
"""Bytes between two waits of a dripping reply."""
_LAST_WORDS: Final = 0.1
"""Seconds that requests under way get to end when the sandbox stops."""
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing then resets the connection instead of ending it politely."""


def _exists(identifier: str) -> bool:
    return not identifier.upper().startswith("NOPE")


@dataclass(kw_only=True, eq=False, repr=False)
class Sandbox:
    """A server like the platform on 127.0.0.1: `async with Sandbox(limit=…) as sandbox`, then `sandbox.base_url`.

    Options may be changed while it runs, save `port` and `prefix`. What it remembers outlives `stop`; a later `start`
    takes the same port again, so that an outage can be rehearsed.
    """

    username: str = "sandbox.till"
    password: str = "sandbox"  # noqa: S105 - invented, and in the manual
    limit: Rate | None = None
    """How many requests it lets in; more get HTTP 429 with `Retry-After`. None is no limit."""
    latency: float = 0.0
    """Seconds an update takes, during which its customer and its redemption are locked."""
    fail_ratio: float = 0.0
    """The share of updates, 0.0 to 1.0, that meets one of `faults.MISHAPS`."""
    seed: int = 0
    """Which updates those are: the same for the same seed, redemption and attempt."""
    faults: FaultHook | None = None
    """Orders a fault for a precise update; asked before chance is."""
    read_faults: Callable[[Mapping[str, str]], Reply | None] | None = None
    """Answers a read-back's query in the platform's stead; None lets it pass. No other fault concerns read-backs."""
    token_ttl: float = 300.0
    """Seconds that a token lives; the documented ones."""
    token_faults: Callable[[int], Reply | None] | None = None
    """Answers the n-th good request for a token in the platform's stead; None lets it pass."""
    known: Callable[[str], bool] = _exists
    """Which identifiers exist; by default all but those starting with `NOPE`. `GONE…` is reversed when it exists."""
    permitted: bool = True
    """Whether the till may do anything; else HTTP 403 with code 4000."""
    port: int = 0
    """Where to listen; 0 takes any free port, and is then replaced by it."""
    prefix: str = ""
    """A path before those of the platform, like `/gateway`."""
    clock: Callable[[], float] = time.monotonic
    """Seconds from any start; the limit and the lives of tokens go by it."""
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    """Passes the latency and the waits of a dripping reply."""

    requests: int = field(init=False, default=0)
    """How many whole requests came, those refused and throttled too."""
    throttled: int = field(init=False, default=0)
    """How many of them were over the limit: 0 says that no stretch of time ever held too many."""
    overlaps: int = field(init=False, default=0)
    """How many updates came while one of the same customer or redemption was under way; each got code 521."""
    reads: int = field(init=False, default=0)
    """How many read-backs were let in."""
    attributed: list[tuple[str, str]] = field(init=False, default_factory=list)
    """Entity type and code of whom each update is to be attributed to; of those that came with a token and say so."""
    _tokens: Tokens = field(init=False, default_factory=Tokens)
    _books: Books = field(init=False, default_factory=Books)
    _window: Window = field(init=False, default_factory=Window)
    _attempts: Counter[str] = field(init=False, default_factory=Counter)
    _updates: int = field(init=False, default=0)
    _under_way: set[tuple[str, ...]] = field(init=False, default_factory=set)
    _runner: web.ServerRunner | None = field(init=False, default=None)
    _closing: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    @property
    def applied(self) -> list[Applied]:
        """Every update that took effect, in that order."""
        return self._books.applied

    @property
    def tokens(self) -> int:
        """How many tokens were given."""
        return self._tokens.given

    def revoke_tokens(self) -> None:
        """Let no token count any more that was given so far."""
        self._tokens.revoke()

    @property
    def redemptions(self) -> Mapping[str, Redemption]:
        """Identifier, as the requests named it → the redemption as it now is; only those ever updated or planted.

        One that was planted with both identifiers is here by its redemption id, whatever requests call it.
        """
        return self._books.redemptions

    @property
    def base_url(self) -> str:
        """Where it is, prefix included, without a slash at the end; of use once it was started."""
        return f"http://{HOST}:{self.port}{self._path('')}"

    def plant(
        self,
        *,
        customer: tuple[str, str, str],
        redemption_id: str = "",
        external_reference_number: str = "",
        bill_number: str = "",
        bill_id: int = UNSET_BILL_ID,
        purpose: str = "",
        custom_fields: Mapping[str, str] | None = None,
    ) -> None:
        """Put a redemption in place of what is there, as a colleague would have left it; at any time.

        `customer` is entity type, identifier type and identifier value; at least one of the redemption's identifiers is
        needed. It is no update: `applied` does not hear of it.
        """
        entity_type, identifier_type, identifier_value = customer
        self._books.plant(
            Redemption(
                redemption_id=redemption_id,
                external_reference_number=external_reference_number,
                customer_key=(entity_type, identifier_type, identifier_value.casefold()),
                bill_number=bill_number,
                bill_id=bill_id,
                purpose=purpose,
                custom_fields=custom_fields or {},
            )
        )

    async def start(self) -> None:
        """Listen; raise `ConfigurationError` when the port cannot be had."""
        self._closing = asyncio.Event()
        runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=_LAST_WORDS)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, self.port).start()
        except OSError as exc:
            await runner.cleanup()
            msg = f"the sandbox cannot listen on {HOST}:{self.port} ({exc.strerror}); choose another port"
            raise ConfigurationError(msg) from exc
        self._runner = runner
        self.port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and cut what is under way; without effect when it does not run."""
        runner, self._runner = self._runner, None
        self._closing.set()
        if runner:
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        await self.stop()

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        # Read to the end even what is turned away: an unread body would cost the client its connection.
        try:
            raw = await http.read()
        except ConnectionError:
            return web.Response()  # The client went away in the middle of its request: nobody gets this.
        self.requests += 1
        request_id = f"sandbox-{self.requests:06d}"
        reply = self._turned_away(http, raw) or await self._serve(http, raw)
        bears_token = TOKEN_HEADER in http.headers or http.path == self._path(TOKEN_PATH)
        return await self._send(http, wrapped(reply) if bears_token else reply, request_id)

    async def _serve(self, http: web.BaseRequest, raw: bytes) -> Reply:
        if http.method == "GET":
            return self._read_back(http.query)
        return await self._update(http, raw) if http.method == "PUT" else self._give_token()

    def _give_token(self) -> Reply:
        number = self._tokens.next_number()
        ordered = self.token_faults(number) if self.token_faults else None
        return ordered or self._tokens.give(self.token_ttl, self.clock())

    def _read_back(self, query: Mapping[str, str]) -> Reply:
        self.reads += 1
        ordered = self.read_faults(query) if self.read_faults else None
        return ordered or read_back(self._books, query)

    def _path(self, path: str) -> str:
        return f"/{self.prefix.strip('/')}".rstrip("/") + path

    def _turned_away(self, http: web.BaseRequest, raw: bytes) -> Reply | None:
        """Return the refusal of a request that does not get as far as its meaning, or None."""
        if (http.method, http.path) not in self._routes():
            return self._astray(http.path)
        if not self._knows(http, raw):
            return refused(401, 401, "Authentication failed")
        wait = self._window.wait(self.limit, self.clock()) if self.limit else 0.0
        if wait:
            self.throttled += 1
            return refused(429, 429, "API rate limit exceeded", headers={"Retry-After": str(math.ceil(wait))})
        return None if self.permitted else refused(403, 4000, "The till is not authorised for this resource")

    def _astray(self, path: str) -> Reply:
        allowed = ", ".join(method for method, known in self._routes() if known == path)
        if allowed:
            return refused(405, 405, "There is no such method at this address", headers={"Allow": allowed})
        return refused(404, 404, "There is nothing at this address")

    def _routes(self) -> set[tuple[str, str]]:
        return {
            ("PUT", self._path(UPDATE_PATH)),
            ("GET", self._path(READ_BACK_PATH)),
            ("POST", self._path(TOKEN_PATH)),
        }

    def _knows(self, http: web.BaseRequest, raw: bytes) -> bool:
        """Whether a request comes with key and secret, with a token, or with user name and password."""
        if http.method == "POST":
            return is_pair(raw, self.username, self.password)
        if (token := http.headers.get(TOKEN_HEADER)) is not None:
            return self._tokens.is_good(token, self.clock())
        return self._is_authentic(http.headers.get("Authorization", ""))

    def _is_authentic(self, authorization: str) -> bool:
        # MD5 because the platform wants it so; it protects nothing, TLS does.
        digest = hashlib.md5(self.password.encode(), usedforsecurity=False).hexdigest()
        token = base64.b64encode(f"{self.username}:{digest}".encode())
        return hmac.compare_digest(authorization.encode(errors="surrogateescape"), b"Basic " + token)

    async def _update(self, http: web.BaseRequest, raw: bytes) -> Reply:
        if http.content_type != _JSON:
            return refused(415, 415, f"Content-Type must be {_JSON}")
        update = read_update(raw)
        if isinstance(update, Reply):
            return update
        update = self._numbered(update)
        self._attribute(http.headers)
        if not self._under_way.isdisjoint(update.locks):
            self.overlaps += 1
            return refused(400, 521, "Several actions are running for the same customer")
        return await self._work(update)

    def _attribute(self, headers: Mapping[str, str]) -> None:
        whom = [headers.get(f"X-CAP-API-ATTRIBUTION-{name}", "") for name in ("ENTITY-TYPE", "CODE")]
        if TOKEN_HEADER in headers and any(whom):
            self.attributed.append((whom[0], whom[1]))

    def _numbered(self, update: UpdateRequest) -> UpdateRequest:
        self._updates += 1
        self._attempts[update.identifier] += 1
        return replace(update, number=self._updates, attempt=self._attempts[update.identifier])

    async def _work(self, update: UpdateRequest) -> Reply:
        """Take the time an update takes, then apply it, unless a fault forbids; locked until the reply is known."""
        fault = self._fault(update)
        self._under_way |= update.locks
        try:
            if self.latency:
                await self.sleep(self.latency)
            honest = self._apply(update) if fault is None or fault.apply else NOTHING_DONE
        finally:
            self._under_way -= update.locks
        return fault.disturb(honest) if fault else honest

    def _fault(self, update: UpdateRequest) -> Fault | None:
        ordered = self.faults(update) if self.faults else None
        return ordered or draw(update, ratio=self.fail_ratio, seed=self.seed)

    def _apply(self, update: UpdateRequest) -> Reply:
        if not self.known(update.identifier):
            return refused(400, 750, "Redemption update failed : redemption not found")
        if update.identifier.upper().startswith("GONE"):
            return refused(400, 750, "Redemption update failed : redemption is already reversed")
        return updated(self._books.apply(update))

    async def _send(self, http: web.BaseRequest, reply: Reply, request_id: str) -> web.StreamResponse:
        headers = {"Content-Type": _JSON, "X-CAP-REQUEST-ID": request_id}
        if reply.then is Then.REPLY and not reply.chunk_delay:
            response: web.StreamResponse = web.Response(status=reply.status, headers=headers, body=reply.body)
            response.headers.update(reply.headers)
            return response
        response = web.StreamResponse(status=reply.status, headers=headers)
        response.headers.update(reply.headers)
        if reply.body is not None:
            # A client that lost patience with a slow or huge reply is no error of ours.
            with contextlib.suppress(ConnectionError):
                await self._write(http, response, reply, reply.body)
        if reply.then is Then.HANG:
            await self._closing.wait()
        if reply.then is not Then.REPLY:
            _reset(http)
        return response

    async def _write(self, http: web.BaseRequest, response: web.StreamResponse, reply: Reply, body: bytes) -> None:
        response.content_length = len(body) + (reply.then is not Then.REPLY)
        await response.prepare(http)
        step = _DRIP if reply.chunk_delay else len(body) or 1
        for start in range(0, len(body), step):
            await response.write(body[start : start + step])
            if reply.chunk_delay:
                await self.sleep(reply.chunk_delay)


def _reset(http: web.BaseRequest) -> None:
    if http.transport is not None:
        connection: socket.socket = http.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        http.transport.abort()
