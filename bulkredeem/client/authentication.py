"""Who we are, as the headers of a request say it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from bulkredeem.client.traces import Hidden, Traces, base64_of, forms_of
from bulkredeem.model import Answer, Reply

Slot = Callable[[], Awaitable[float]]
"""Returns when the next request may go, and that moment."""
Proceed = Callable[[], None]
"""Raises when nothing may start any more."""
Heed = Callable[[Reply, float], None]
"""Hears of a reply to a request that went before a try, and the moment of its slot: the limit is the key's."""
Exchange = Callable[[Mapping[str, str], float | None], Awaitable[Answer]]
"""Asks the platform once for a token with key and secret; the seconds that it may take, or None for an attempt's."""


class Credentials(dict[str, str]):
    """Headers, or what they are made of, that no traceback and no log shows."""

    def __init__(self, values: Mapping[str, str]) -> None:
        """Take them, and hide each."""
        super().__init__({name: Hidden(value) for name, value in values.items()})

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"

    __str__ = __repr__


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """How a request goes out that must go before a row's."""

    slot: Slot
    """Takes its slot, and the row's."""
    exchange: Exchange
    proceed: Proceed
    """Asked before each of these requests."""
    heed: Heed
    """Hears of each reply to one."""


class Authentication(Protocol):
    """What makes a request one of ours."""

    @property
    def asked_aside(self) -> int:
        """How many more requests were sent than there were tries: those for it, less the tries that were not sent."""

    @property
    def headers(self) -> Mapping[str, str]:
        """What a request that is sent now bears; the same object as long as it is the same."""

    @property
    def traces(self) -> Traces:
        """By what the credentials would be known, wherever they turn up."""

    def slot_with(self, errand: Errand) -> Slot:
        """Return what takes a row's slot, after those of the requests that must go before it can be sent."""

    def instead(self) -> Answer | None:
        """Return the answer that explains why the try under way cannot be sent, once; None when it can."""

    def is_outdated(self, used: Mapping[str, str]) -> bool:
        """Hear that a request with these headers was refused; say whether others have taken their place since."""

    def accept(self, used: Mapping[str, str]) -> None:
        """Hear that a request with these headers drew a reply that does not refuse who we are."""


class Basic:
    """A user name and a password, which may be replaced once while a run goes on."""

    def __init__(
        self, username: str, password: str, *, renewed_password: Callable[[], str | None] = lambda: None
    ) -> None:
        """Take both; `renewed_password` is asked once, at the first refusal: None when there is no other password.

        Raises UnicodeEncodeError for what is not UTF-8 text.
        """
        self._username = username
        self._renewed_password = renewed_password
        self._asked_for_renewal = False
        self._traces = Traces()
        self._headers = self._headers_with(password)

    @property
    def asked_aside(self) -> int:
        """None: nothing has to be asked for."""
        return 0

    @property
    def headers(self) -> Mapping[str, str]:
        """What a request that is sent now bears."""
        return self._headers

    @property
    def traces(self) -> Traces:
        """The password and what the platform gets of it, also of the one before."""
        return self._traces

    def slot_with(self, errand: Errand) -> Slot:
        """Return the slot as it is: a user name and a password need nothing before them."""
        return errand.slot

    def instead(self) -> Answer | None:
        """Return None: a request can always be sent."""
        return None

    def is_outdated(self, used: Mapping[str, str]) -> bool:
        """Say whether the headers a request had are not those to use now; look for a new password, once."""
        if used is self._headers and not self._asked_for_renewal:
            self._asked_for_renewal = True
            # The same password once more is no other one.
            if (password := self._renewed_password()) and (headers := self._headers_with(password)) != self._headers:
                self._headers = headers
        return used is not self._headers

    def accept(self, used: Mapping[str, str]) -> None:
        """Pass over it: a password that was let in may be replaced all the same."""

    def _headers_with(self, password: str) -> Credentials:
        digest = _md5(password)
        self._traces.add(*forms_of(password), base64_of(f"{self._username}:{digest}".encode()))
        return Credentials({"Authorization": basic_authorization(self._username, password)})


def basic_authorization(username: str, password: str) -> str:
    """Return the value of the `Authorization` header: the platform wants the password as lower-case MD5."""
    return "Basic " + base64.b64encode(f"{username}:{_md5(password)}".encode()).decode("ascii")


def _md5(password: str) -> str:
    return hashlib.md5(password.encode(), usedforsecurity=False).hexdigest()
