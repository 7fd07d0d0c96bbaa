"""The tokens of OAuth: given for key and secret, good until their end or until all are revoked."""

from __future__ import annotations

import hmac
import secrets

import orjson

from bulkredeem.sandbox.replies import Reply, token_given


class Tokens:
    """Remembers which tokens are good, and until when."""

    def __init__(self) -> None:
        """Begin with none."""
        self.given = 0
        """How many there were so far."""
        self._requests = 0
        self._ends: dict[str, float] = {}

    def next_number(self) -> int:
        """Count a request, and return which one it is; the first is 1."""
        self._requests += 1
        return self._requests

    def give(self, seconds: float, now: float) -> Reply:
        """Return the reply with a new token, which is good for so many seconds from now."""
        token = secrets.token_urlsafe(24)
        self._ends = {other: ends_at for other, ends_at in self._ends.items() if now < ends_at}
        self._ends[token] = now + seconds
        self.given += 1
        return token_given(token, seconds)

    def is_good(self, token: str, now: float) -> bool:
        """Say whether a token was given, and neither has ended nor was revoked."""
        return now < self._ends.get(token, now)

    def revoke(self) -> None:
        """Let none of those count that were given so far."""
        self._ends.clear()


def is_pair(raw: bytes, key: str, secret: str) -> bool:
    """Say whether the body of a request holds this key and this secret."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    given = (body.get("key"), body.get("secret")) if isinstance(body, dict) else ()
    return len(given) == 2 and all(map(_is_same, given, (key, secret)))  # noqa: PLR2004  a pair


def _is_same(given: object, wanted: str) -> bool:
    return isinstance(given, str) and hmac.compare_digest(given.encode(errors="surrogatepass"), wanted.encode())
