"""What aiohttp's exceptions mean for a request: whether it surely never left, and in which words that is told."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from types import SimpleNamespace
from typing import Final

import aiohttp

from bulkredeem.client.wire import Way
from bulkredeem.model import Trouble

_CERTIFICATE_REFUSED: Final = "CERTIFICATE_REFUSED"
_PROXY_FAILED: Final = "PROXY_FAILED"
_PROXY_REFUSED: Final = "PROXY_REFUSED"
_TLS_FAILED: Final = "TLS_FAILED"

_NOT_CONNECTED: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (aiohttp.ClientProxyConnectionError, _PROXY_FAILED, "no connection to the proxy could be made"),
    (aiohttp.ClientConnectorDNSError, "NAME_NOT_RESOLVED", "the platform's host name could not be resolved"),
    (aiohttp.InvalidURL, "NAME_NOT_RESOLVED", "the platform's address is none"),
    (UnicodeError, "NAME_NOT_RESOLVED", "the platform's host name is none: a part of it is empty or too long"),
    (aiohttp.ClientConnectorCertificateError, _TLS_FAILED, "the platform's certificate could not be verified"),
    (aiohttp.ClientSSLError, _TLS_FAILED, "no secure connection to the platform could be made"),
    (aiohttp.ClientConnectorError, "CONNECTION_FAILED", "no connection to the platform could be made"),
    (aiohttp.ConnectionTimeoutError, "CONNECT_TIMEOUT", "no connection to the platform could be made in time"),
)
"""Exceptions after which the request surely was not applied, the more particular first."""
_LOST_ON_THE_WAY: Final[tuple[tuple[type[Exception], str, str], ...]] = (
    (TimeoutError, "TIMEOUT", "no answer came in time"),
    (aiohttp.ClientResponseError, "UNREADABLE_REPLY", "the answer was not HTTP"),
)
"""Exceptions after which it may have been applied; all others say that the connection was lost."""
_BY_OPENSSL: Final = "[SSL: "
_REQUIRED: Final = "certificate_required"
"""The one of these words that TLS 1.3 alone has, and that always means ours."""
_OF_OUR_CERTIFICATE: Final = ("certificate", "unknown_ca", "access_denied")
"""What OpenSSL's words for an alert hold, when the other side says by it what it thinks of the certificate we show."""


@dataclass(slots=True)
class Departure:
    """Whether a request has set out. Through a proxy, its connection may be lost before anybody could have got it."""

    has_left: bool = False


def traces_of(way: Way) -> list[aiohttp.TraceConfig]:
    """Return what takes note of a request's departure, the context of its trace; nothing where that is not needed."""
    if not way.proxy:
        return []

    async def left(_session: aiohttp.ClientSession, trace: SimpleNamespace, _params: object) -> None:
        trace.trace_request_ctx.has_left = True

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(left)
    return [trace]


def trouble_of(error: Exception, way: Way, departure: Departure) -> Trouble | None:
    """Return the trouble of a request that was surely not applied, or was broken off over a certificate; else None."""
    if words := _words_of_a_certificate(error, way):
        return _of_a_certificate(error, words)
    if way.proxy and not departure.has_left and (words := _words_of_the_proxy(error)):
        code = _PROXY_REFUSED if _wants_to_know_us(error) else _PROXY_FAILED
        return Trouble(code=code, message=words, may_be_applied=False)
    for kind, code, message in _NOT_CONNECTED:
        if isinstance(error, kind):
            return Trouble(code=code, message=message + _reason(error), may_be_applied=False)
    return None


def doubt_of(error: Exception) -> Trouble:
    """Return the trouble of a request that may have been applied."""
    for kind, code, message in _LOST_ON_THE_WAY:
        if isinstance(error, kind):
            return Trouble(code=code, message=message, may_be_applied=True)
    return Trouble(code="CONNECTION_LOST", message="the connection was lost", may_be_applied=True)


def _reason(error: Exception) -> str:
    """Say why a certificate was not verified, in OpenSSL's words; nothing for other errors."""
    if not isinstance(error, aiohttp.ClientConnectorCertificateError):
        return ""
    reason = getattr(error.certificate_error, "verify_message", "")
    return f": {reason[:1].lower()}{reason[1:].rstrip('.')}" if reason else ""


def _words_of_the_proxy(error: Exception) -> str:
    """Say what came between us and the platform at the proxy; nothing when it was something else."""
    if _wants_to_know_us(error):
        return "the proxy wants another user name or password than HTTPS_PROXY has (HTTP 407)"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy did not connect us to the platform (HTTP {error.status})"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "the proxy's host name could not be resolved"
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.InvalidURL | TimeoutError | UnicodeError):
        return ""
    return "the proxy closed the connection, or what it answered was not HTTP"


def _wants_to_know_us(error: Exception) -> bool:
    return isinstance(error, aiohttp.ClientHttpProxyError) and error.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED


def _words_of_a_certificate(error: Exception, way: Way) -> str:
    """Say what the platform has against the certificate we show, or do not show; nothing when it is something else."""
    alert = _alert_in(error).lower()
    if "alert" not in alert or not any(word in alert for word in _OF_OUR_CERTIFICATE):
        return ""
    if _REQUIRED in alert:
        return "the platform wants a client certificate, and none was shown (client_certificate)"
    if way.shows_certificate:
        return "the platform does not accept our client certificate (client_certificate)"
    return "the platform broke off over a certificate, and none was shown (client_certificate)"


# With TLS 1.3 we are connected before the platform has looked at our certificate, and the request may be on its way
# when it is refused. A server may as well carry a request out and then break off. Nothing tells us surely which it was.
# The alert's words may be lost, too: the end of the connection overtakes them, or aiohttp says only that it can write
# no more. That befell up to 60 of 100 first requests on one machine, and none with 1 ms between (asyncio and uvloop).
def _of_a_certificate(error: Exception, words: str) -> Trouble:
    if isinstance(error, aiohttp.ClientConnectorError):
        return Trouble(code=_TLS_FAILED, message=words, may_be_applied=False)
    return Trouble(code=_CERTIFICATE_REFUSED, message=words, may_be_applied=True)


def _alert_in(error: Exception) -> str:
    """Return OpenSSL's words, such as `[SSL: TLSV1_ALERT_UNKNOWN_CA] …`; empty when it has said nothing."""
    words = error.strerror if isinstance(error, OSError) else None
    return words if isinstance(words, str) and words.startswith(_BY_OPENSSL) else ""
