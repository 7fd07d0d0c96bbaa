"""What must never be shown of our credentials, taken out of the platform's own words: it may repeat whatever it got."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from bulkredeem.model import Reply

KEPT: Final = 24
"""Texts that are looked for at most, the last ones: those of a password and of its successor, and a few tokens."""
LONGEST_CODE: Final = 4
"""Digits of the platform's own codes at most: these are never taken for a part of a password."""
_MASKED: Final = "…"
_KNOWN_NAMES: Final = frozenset({"code", "message", "status", "success"})
"""What the fields of an error are called: this is the platform's, too, whatever a password is."""


class Hidden(str):
    """Text that no traceback and no log shows, in whichever library's variables it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<hidden>"


class Traces:
    """The texts by which our credentials would be known, and what takes them out of a reply."""

    def __init__(self) -> None:
        """Begin with none."""
        self._texts: deque[str] = deque(maxlen=KEPT)
        self._pattern: re.Pattern[str] | None = None

    def __repr__(self) -> str:
        return f"<{len(self._texts)} traces>"

    def add(self, *texts: str) -> None:
        """Look for these, too, from now on, in capital letters and small ones; empty ones are passed over."""
        for text in map(Hidden, filter(None, texts)):
            if text in self._texts:
                self._texts.remove(text)
            self._texts.append(text)
        # The longest first: a part of it would be left otherwise.
        longest_first = sorted(self._texts, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if longest_first else None

    def masked(self, reply: Reply) -> Reply:
        """Return a reply whose errors and warnings, in either API's form, hold none of the texts."""
        body = reply.body
        # Nearly every reply ends here.
        if not body or not self._pattern or not (_speaks(body) or "response" in body or _speaks(body.get("data"))):
            return reply
        changed = {**self._told(body), **self._within(body, "data", self._told), **self._of_the_older_api(body)}
        return replace(reply, body={**body, **changed}) if changed else reply

    def _told(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Return the errors and the warnings of an object, masked."""
        return {name: self._mask(value) for name in ("errors", "warnings") if (value := found.get(name))}

    def _of_the_older_api(self, body: Mapping[str, Any]) -> dict[str, Any]:
        def of_the_customer(customer: Mapping[str, Any]) -> dict[str, Any]:
            return {"item_status": self._mask(status)} if (status := customer.get("item_status")) else {}

        def of_the_response(response: Mapping[str, Any]) -> dict[str, Any]:
            status = {"status": self._mask(response["status"])} if response.get("status") else {}
            return {**status, **self._within(response, "customer", of_the_customer)}

        return self._within(body, "response", of_the_response)

    @staticmethod
    def _within(
        found: Mapping[str, Any], name: str, change: Callable[[Mapping[str, Any]], dict[str, Any]]
    ) -> dict[str, Any]:
        """Return the inner object of that name with what is to be changed in it; empty for nothing."""
        inner = found.get(name)
        changed = change(inner) if isinstance(inner, dict) else {}
        return {name: {**inner, **changed}} if isinstance(inner, dict) and changed else {}

    def _mask(self, found: object) -> object:
        try:
            return self._masked(found)
        except RecursionError:  # nobody could show it, either
            return _MASKED

    def _masked(self, found: object) -> object:
        if isinstance(found, dict):
            return {self._masked_name(name): self._masked(value) for name, value in found.items()}
        if isinstance(found, list):
            return [self._masked(each) for each in found]
        if isinstance(found, str):
            return self._masked_text(found)
        if isinstance(found, bool) or not isinstance(found, int):
            return found
        # A password of digits may come back as a number.
        masked = self._masked_text(text := str(found))
        return found if masked == text else masked

    def _masked_name(self, name: str) -> str:
        return name if name in _KNOWN_NAMES else self._masked_text(name)

    def _masked_text(self, text: str) -> str:
        is_code = len(text) <= LONGEST_CODE and text.isdecimal()
        return text if is_code or self._pattern is None else self._pattern.sub(_MASKED, text)


def forms_of(secret: str) -> tuple[str, ...]:
    """Return what a secret text may be written as: itself, its MD5, with which one could sign in, and its base64."""
    raw = secret.encode()
    return secret, hashlib.md5(raw, usedforsecurity=False).hexdigest(), base64_of(raw)


def base64_of(raw: bytes) -> str:
    """Return the base64 of bytes without what fills it up, so that it is found with and without that."""
    return base64.b64encode(raw).decode("ascii").rstrip("=")


def _speaks(found: object) -> bool:
    """Say whether there are errors or warnings in it."""
    return isinstance(found, dict) and bool(found.get("errors") or found.get("warnings"))
