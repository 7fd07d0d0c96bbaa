"""Pings for a watchdog that speaks as Healthchecks does: `/start`, nothing for success, `/<exit code>` for failure."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import SplitResult, urlsplit

import aiohttp

from bulkredeem.errors import ConfigurationError, ExitCode
from bulkredeem.notices.values import AS_PLANNED

START: Final = "start"
LONGEST: Final = 10_000
"""Bytes of a ping's body: what a usual installation keeps."""
_PAUSES: Final = (0.5, 2.0, None)
"""Seconds after each try: one lost packet must not raise a false alarm. None for the last."""


_HOST: Final = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
"""Written plainly: what else may stand in an address's host is no name that a sentence could show."""

_BRACKETED: Final = re.compile(r"\[[^]]*\](:\d*)?")


def path_of(code: ExitCode) -> str:
    """Return what is put behind the address for an exit code, or empty for a night that went as planned."""
    return "" if code in AS_PLANNED else str(int(code))


def require_address(url: str) -> None:
    """Raise ConfigurationError when `url` is no address to ping; the sentence does not quote it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
        host = (parts.hostname or "").encode("idna").decode()
        # `urlsplit` passes over what is behind a bracket.
        if "[" in parts.netloc and not _BRACKETED.fullmatch(parts.netloc.rpartition("@")[2]):
            raise ValueError  # noqa: TRY301  as the two above it do
    except ValueError:  # also of a host with an empty or overlong part
        parts, host = SplitResult("", "", "", "", ""), ""
    readable = url.isprintable() and not any(c.isspace() for c in url)
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(host) or not readable:
        msg = "BULKREDEEM_PING_URL is not an address; write it like https://hc-ping.com/ and what your check is called."
        raise ConfigurationError(msg)


class Ping:
    """Asks for one address, and for those below it."""

    def __init__(self, url: str, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """`url` is that of success."""
        self._parts = urlsplit(url)
        self._sleep = sleep
        port = f":{self._parts.port}" if self._parts.port else ""
        host = self._parts.hostname or ""
        self.name = f"{self._parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"
        """What a person may be told of it: the rest of it is a secret."""

    async def send(self, below: str, body: str = "") -> str:
        """Ask for the address, or for one below it, and return what is wrong, or empty; redirects are not followed."""
        url = self._parts._replace(path="/".join(filter(None, (self._parts.path.rstrip("/"), below)))).geturl()
        wrong = ""
        async with aiohttp.ClientSession() as session:
            for pause in _PAUSES:
                wrong, may_pass = await _try(session, url, body.encode()[:LONGEST])
                if not may_pass or pause is None:
                    break
                await self._sleep(pause)
        return wrong


async def _try(session: aiohttp.ClientSession, url: str, body: bytes) -> tuple[str, bool]:
    """Return what is wrong with the answer, or empty, and whether another try may do better."""
    try:
        async with session.post(url, data=body, allow_redirects=False) as response:
            status = response.status
    except aiohttp.ClientError as exc:
        # Its text may quote the address; its type does not.
        return f"no answer came ({type(exc).__name__})", True
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return "", False
    return f"the answer was HTTP {status}", status >= HTTPStatus.INTERNAL_SERVER_ERROR
