"""What of a reply can be read, whatever a platform or somebody between has sent: bounded, and never an exception."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final

import aiohttp
import orjson

MAX_REPLY: Final = 1_000_000
"""Bytes of a reply, unpacked, that are read. The documented replies to an update have less than 2,000, and so has each
redemption that is read back: `delivery.PAGE_SIZE` of them must fit."""
MAX_REQUEST_ID: Final = 100
"""Characters of the platform's name for a request that are kept. The documented ones have 36."""
MAX_RETRY_AFTER: Final = 86_400.0
"""Seconds that a `Retry-After` is believed at most: a day. Longer ones are a mistake of somebody's."""
_REQUEST_ID_HEADERS: Final = ("X-CAP-REQUEST-ID", "X-Cap-RequestID")
_READ_AT_ONCE: Final = 65_536


def retry_after_seconds(header: str, *, now: float) -> float | None:
    """Return the seconds a `Retry-After` header asks for, or None when it says nothing that can be understood.

    Both forms count: seconds, and an HTTP date (a past one is 0.0). `now` is seconds since the epoch.
    """
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER)
    when = moment_of(text)
    return None if when is None else min(max(0.0, when - now), MAX_RETRY_AFTER)


# Replies of one second say the same, and reading a date costs more than all else that is read of a reply's head.
@lru_cache(maxsize=8)
def moment_of(date: str) -> float | None:
    """Return an HTTP date in seconds since the epoch, or None when it is none."""
    try:
        moment = parsedate_to_datetime(date)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None


def request_id_of(headers: Mapping[str, str]) -> str:
    """Return the platform's name for the request as text that any journal can hold: a header may be any bytes."""
    named = next((value for name in _REQUEST_ID_HEADERS if (value := headers.get(name))), "")
    return "".join(filter(str.isprintable, named))[:MAX_REQUEST_ID]


async def read_body(response: aiohttp.ClientResponse) -> tuple[Mapping[str, Any] | None, str]:
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
    return parse(content)


def parse(content: bytes) -> tuple[Mapping[str, Any] | None, str]:
    """Return the JSON object that the bytes of a reply hold, or None and the words that say why there is none."""
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
