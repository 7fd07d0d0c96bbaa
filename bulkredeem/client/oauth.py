"""A key and a secret, exchanged for a token that ends: fetched before the first row, and again ahead of its end.

A token request is a request like others: it takes a slot of the pace of its own, and the row takes the next one. When
no token comes, nothing is sent for the row, and the answer to its try says why; so it is repeated, waited for and
counted as any other try, by those whose business that is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from bulkredeem.client.authentication import Credentials, Errand, Slot
from bulkredeem.client.tokens import Grant, explained, grant_in, not_fetched, refuses_secret
from bulkredeem.client.traces import Traces, forms_of
from bulkredeem.model import Answer, Reply

TOKEN_PATH: Final = "/v3/oauth/token/generate"  # noqa: S105  the vendor's path
TOKEN_HEADER: Final = "X-CAP-API-OAUTH-TOKEN"  # noqa: S105  a header's name
ATTRIBUTION_HEADERS: Final = ("X-CAP-API-ATTRIBUTION-ENTITY-TYPE", "X-CAP-API-ATTRIBUTION-CODE")
"""Entity type and code of whom the platform is to attribute an update to."""
REFRESHED_AT: Final = 0.8
"""Share of a token's life after which the next one is fetched: of the documented 300 s, a minute is left for failures,
which is twice an attempt's usual time."""
REFRESH_PATIENCE: Final = 5.0
"""Seconds that this may take while the old token lives: rows wait for it that could go without."""
REFRESH_LEAST: Final = 5.0
"""Seconds of a token's life that are left, below which a refresh that failed is not tried again before its end."""
ROUNDS: Final = 3
"""Tokens that one try asks for at most, when each has ended before the try has its slot."""
_INSTEAD: ContextVar[Answer | None] = ContextVar("_INSTEAD", default=None)
"""Why the try of this task cannot be sent. Its own, since another's token may come in the meantime: whoever sent with
that would have no slot left for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    """A token, as the headers that bear it."""

    headers: Credentials
    ends_at: float
    """In seconds of the clock."""
    due_at: float
    """When the next one is to be fetched, likewise."""


class OAuth:
    """A client's key and secret, which may be replaced once while a run goes on, and the token they are worth."""

    def __init__(
        self,
        key: str,
        secret: str,
        *,
        attribution: tuple[str, str] | None = None,
        renewed_secret: Callable[[], str | None] = lambda: None,
        refresh_patience: float = REFRESH_PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take both; `attribution` is entity type and code of whom to attribute updates to, None for nobody.

        `renewed_secret` is asked once, when the platform first refuses the secret: None when there is no other one.
        `refresh_patience` is seconds.
        Raises UnicodeEncodeError for what is not UTF-8 text.
        """
        for text in (key, secret):
            text.encode()
        self._asked = 0
        self._unsent = 0
        self._traces = Traces()
        self._traces.add(*forms_of(secret))
        self._pair = Credentials({"key": key, "secret": secret})
        self._attribution = dict(zip(ATTRIBUTION_HEADERS, attribution or (), strict=False))
        self._renewed_secret = renewed_secret
        self._refresh_patience = refresh_patience
        self._clock = clock
        self._turn = asyncio.Lock()
        self._token: _Token | None = None
        self._asked_for_renewal = False
        self._is_suspect = False
        """Whether the token is there, or is to come, in place of one that was refused, and nothing was let in yet."""
        self._refusal: Reply | None = None
        """Why nobody has to ask again: a key is locked when its secret is refused many times."""

    @property
    def asked_aside(self) -> int:
        """Requests for a token, less the tries that were not sent for want of one: each of these stands for one."""
        return self._asked - self._unsent

    @property
    def headers(self) -> Mapping[str, str]:
        """What a request that is sent now bears; empty without a token."""
        return self._token.headers if self._token else Credentials({})

    @property
    def traces(self) -> Traces:
        """The secret, also the one before, and the last tokens."""
        return self._traces

    def slot_with(self, errand: Errand) -> Slot:
        """Return what takes a row's slot, after the slot of a token when one is due."""
        return partial(self._slot, errand)

    def instead(self) -> Answer | None:
        """Return the answer that explains why the try of this task cannot be sent, once; None when it can."""
        found = _INSTEAD.get()
        _INSTEAD.set(None)
        if found is None and self._is_usable():
            return None
        self._unsent += 1
        return replace(found or not_fetched("nobody has asked for one"), unsent=True)

    def is_outdated(self, used: Mapping[str, str]) -> bool:
        """Hear that a token is dead; say whether another one makes sense, which is not so when it is a replacement.

        A replacement that is refused before anything was let in with it shows that it is not the token's fault.
        """
        # Not by value: a platform may give the same token again, and what drew the refusal was still the one before.
        if self._token is None or used is not self._token.headers:
            return True
        if self._is_suspect:
            return False
        self._is_suspect = True
        self._token = None
        return True

    def accept(self, used: Mapping[str, str]) -> None:
        """Take note that the token is good."""
        if self._token and used is self._token.headers:
            self._is_suspect = False

    def _is_usable(self) -> bool:
        return self._token is not None and self._clock() < self._token.ends_at

    def _is_due(self) -> bool:
        return self._token is None or self._clock() >= self._token.due_at

    async def _slot(self, errand: Errand) -> float:
        """Take a row's slot and return its moment; leave to the task why nothing can be sent in it, if so."""
        sent_at, instead = await self._made_ready(errand)
        _INSTEAD.set(instead)
        return sent_at

    async def _made_ready(self, errand: Errand) -> tuple[float, Answer | None]:
        """Return the moment of the last slot, and why nothing can be sent in it; None when it can."""
        for _ in range(ROUNDS):
            failed = await self._fetched(errand)
            if failed:
                return failed
            sent_at = await errand.slot()
            if self._is_usable():
                return sent_at, None
        return sent_at, not_fetched("each had ended before the next request might go")

    async def _fetched(self, errand: Errand) -> tuple[float, Answer] | None:
        """Fetch a token if one is due; return the moment of its slot and why there is none after it; None with one."""
        if not self._is_due():
            return None
        # Whoever waits here finds the token that the one before has fetched.
        async with self._turn:
            if not self._is_due():
                return None
            sent_at = await errand.slot()
            # Each in a line may come here, and a platform in trouble lets each wait long.
            errand.proceed()
            failure = self._refusal or await self._fetch(errand, sent_at)
            return None if failure is None or self._is_usable() else (sent_at, failure)

    async def _fetch(self, errand: Errand, sent_at: float) -> Answer | None:
        """Ask once for a token; return None when it came, else the answer that explains why it did not."""
        began_at = self._clock()
        is_ahead = self._is_usable()
        is_replacement = self._token is None and self._is_suspect
        self._asked += 1
        answer = await errand.exchange(self._pair, self._refresh_patience if is_ahead else None)
        grant = grant_in(answer)
        if grant:
            # Also of one that is not used: the words beside it may repeat it. The secret's are not to be pushed out.
            self._traces.add(*forms_of(self._pair["secret"]), grant.token)
        if grant and grant.is_sound:
            self._token = self._token_of(grant, began_at)
            # One that is refreshed in its turn takes nobody's place.
            self._is_suspect = is_replacement
            heard, failure = answer, None
        else:
            heard = failure = self._explained(answer)
            self._note_failure(failure, is_ahead=is_ahead)
        # At once, since the row that waits for the token may be sent home before it hears of it.
        if isinstance(heard, Reply):
            errand.heed(heard, sent_at)
        return failure

    def _token_of(self, grant: Grant, asked_at: float) -> _Token:
        # From before it was asked for: the platform counts from some moment after that.
        return _Token(
            headers=Credentials({TOKEN_HEADER: grant.token, **self._attribution}),
            ends_at=asked_at + grant.life,
            due_at=asked_at + REFRESHED_AT * grant.life,
        )

    def _note_failure(self, failure: Answer, *, is_ahead: bool) -> None:
        """Go on with the token there is; without one, remember a refusal when there is no other secret."""
        refusal = failure if refuses_secret(failure) and not failure.credentials_renewed else None
        if is_ahead and self._token:
            self._token = self._postponed(self._token, is_refused=refusal is not None)
        else:
            self._refusal = refusal

    def _postponed(self, token: _Token, *, is_refused: bool) -> _Token:
        """Return the token to go on with after a refresh that failed: the next one is at half of what is left.

        Key and secret that were refused are shown once more at its end only, since keys get locked.
        """
        now = self._clock()
        half = (token.ends_at - now) / 2
        return replace(token, due_at=token.ends_at if is_refused or half < REFRESH_LEAST else now + half)

    def _explained(self, answer: Answer) -> Answer:
        """Return the answer to the try that needed the token which this one did not give."""
        failure = explained(self._traces.masked(answer) if isinstance(answer, Reply) else answer)
        return replace(failure, credentials_renewed=self._has_renewed()) if refuses_secret(failure) else failure

    def _has_renewed(self) -> bool:
        """Look for another secret, once; say whether there is one now."""
        secret = None if self._asked_for_renewal else self._renewed_secret()
        self._asked_for_renewal = True
        if secret:
            self._traces.add(*forms_of(secret))
            self._pair = Credentials({"key": self._pair["key"], "secret": secret})
        return bool(secret)
