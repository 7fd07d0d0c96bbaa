"""What only the platform can say: how it is reached, whether it lets us in, and what its clock shows."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

from bulkredeem.application.doctoring.findings import CREDENTIALS, Finding, Level, ok, problem, unseen, warning
from bulkredeem.application.doctoring.probes import Probes
from bulkredeem.application.pacing import pace_of
from bulkredeem.application.wiring import client_for, way_for
from bulkredeem.client import Way
from bulkredeem.errors import BulkRedeemError, ConfigurationError, Stopping
from bulkredeem.model import Answer, Correction, Reply, Trouble
from bulkredeem.pace import Pace
from bulkredeem.readback import UNREADABLE, Refusal, customer_query, read_page
from bulkredeem.settings import Settings
from bulkredeem.verdict import Verdict, judge

SHORT_LIFE: Final = 14.0
"""Days before a certificate's end from which on somebody should renew it."""
CLOCK_IS_OFF: Final = 30.0
"""Seconds by which clocks differ without anybody having to worry: a `Date` has whole seconds, and travels."""
CLOCK_IS_WRONG: Final = 300.0
"""Seconds beyond which deadlines, as-of and certificates are judged wrongly."""
_DAY: Final = 86_400.0
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_REDIRECTS: Final = range(300, 400)
_NOT_ALLOWED: Final = "4000"
"""The platform's code for a till without the permission."""
_NOBODY: Final = Correction(
    row_number=0,
    redemption_id="bulkredeem-doctor",
    entity_type="CUSTOMER",
    identifier_type="externalId",
    identifier_value="bulkredeem-doctor-asks-for-nobody",
)
"""Whom the question is about. An external id is any text: nobody has this one, as a mobile number of ours might be."""
_REMEDIES: Final = {
    "NAME_NOT_RESOLVED": "Check base_url, and whether this machine can resolve names.",
    "TLS_FAILED": "Check the host name in base_url, this machine's clock, and the certificates that it trusts; and"
    " when it is about a client certificate, which one client_certificate names, and whether it has expired.",
    "CERTIFICATE_REFUSED": "Check which certificate client_certificate names, whether it has expired, and whether the"
    " platform knows the authority that issued it.",
    "CONNECTION_FAILED": "Check base_url, and whether a firewall keeps this machine from reaching it.",
    "CONNECT_TIMEOUT": "Check base_url, and whether a firewall keeps this machine from reaching it.",
    "TOKEN_NOT_FETCHED": "Check base_url, and ask whoever runs the platform whether it gives tokens to this key.",
    "PROXY_REFUSED": "Correct the proxy's user name and password in HTTPS_PROXY; they may be locked after wrong tries.",
    "PROXY_FAILED": "Check HTTPS_PROXY and NO_PROXY, or ask whoever runs the proxy to let this machine through.",
}
_ASK_AGAIN: Final = "Ask again in a while; if it stays so, ask whoever runs the platform."


def may_ask(settings: Settings) -> bool:
    """Say whether address, user name and password are there."""
    try:
        settings.require_for_sending()
    except ConfigurationError:
        return False
    return True


async def of_the_platform(
    settings: Settings, sleep: Callable[[float], Awaitable[None]], probes: Probes
) -> list[Finding]:
    """Ask the platform; `sleep` waits for the slot of the question, and what that raises is raised here."""
    connection = await _connection(settings, probes)
    if any(finding.level is Level.PROBLEM for finding in connection):
        return connection
    try:
        with pace_of(settings, sleep=sleep) as (pace, remarks):
            return [*connection, _pace(settings, remarks), *await _asked(settings, pace, probes)]
    except Stopping:
        raise
    except (BulkRedeemError, OSError, ValueError) as exc:
        return [*connection, unseen("question", exc)]


async def _connection(settings: Settings, probes: Probes) -> list[Finding]:
    """Look at how the platform is reached; nothing is found when nobody is there, for the question will tell."""
    if not settings.base_url.startswith("https:"):
        return [ok("connection", "It is http within this machine: a sandbox.")]
    try:
        way = way_for(settings)
    except ConfigurationError as exc:
        return [unseen("connection", exc)]
    if way.proxy:
        # The question goes the whole way, and says when the certificate is not accepted.
        found = f"It goes through the proxy {way.proxy}; when the platform's certificate ends was not looked at."
        return [ok("connection", found)]
    return await _certificate(settings, way, probes)


async def _certificate(settings: Settings, way: Way, probes: Probes) -> list[Finding]:
    trust = _REMEDIES["TLS_FAILED"]
    try:
        ends_at = await _end_of_certificate(settings.base_url, min(settings.timeout, 30.0), way.tls)
    except ssl.SSLCertVerificationError as exc:
        return [problem("connection", f"The platform's certificate is not accepted: {exc.verify_message}.", trust)]
    except ssl.SSLError:
        return [problem("connection", "No secure connection can be made.", trust)]
    except (OSError, UnicodeError):
        return []
    days = (ends_at - probes.wall_clock()) / _DAY
    found = f"It is encrypted (TLS); the platform's certificate ends in {days:.0f} days."
    if days < SHORT_LIFE:
        return [warning("connection", found, "Tell whoever runs the platform.")]
    return [ok("connection", found)]


async def _end_of_certificate(base_url: str, timeout: float, tls: ssl.SSLContext | None) -> float:  # noqa: ASYNC109  an attempt's
    """Return when the platform's certificate ends, in seconds since the epoch. Raises OSError and UnicodeError."""
    parts = urlsplit(base_url)
    async with asyncio.timeout(timeout):
        _, writer = await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=tls or True)
    try:
        return float(ssl.cert_time_to_seconds(writer.get_extra_info("peercert")["notAfter"]))
    finally:
        writer.close()
        with suppress(OSError, TimeoutError):  # that it ends badly says nothing of how a run would fare
            async with asyncio.timeout(1.0):
                await writer.wait_closed()


def _pace(settings: Settings, remarks: tuple[str, ...]) -> Finding:
    if remarks:
        return warning("pace", " ".join(remarks), "Name a folder of this machine with --state-dir.")
    return ok("pace", f"{settings.rate}, shared by the runs of this user name on this machine, and with no other one.")


async def _asked(settings: Settings, pace: Pace, probes: Probes) -> list[Finding]:
    """Ask the one question, when there is a slot for it."""

    async def slot() -> float:
        async with asyncio.timeout(settings.timeout):
            return await pace.slot()

    async with client_for(settings) as client:
        try:
            sent_at = await client.authenticated(slot)()
        except TimeoutError:
            found = f"Not asked: there was no slot within {settings.timeout:g} s, since others use them or the platform"
            remedy = "Ask again in a while, or when the other run has ended."
            return [warning(CREDENTIALS, f"{found} pauses.", remedy)]
        answer = await client.read_back(customer_query(_NOBODY) or {})
        has_token = client.asked_aside > 0
    now = probes.wall_clock()
    verdict = judge(answer, _NOBODY)
    if verdict.throttled and isinstance(answer, Reply):
        pace.throttled(sent_at, answer.retry_after or 0.0)
    else:
        pace.answered(sent_at)
    return [_access(answer, verdict, settings, has_token=has_token), *_clock(answer, now)]


def _access(answer: Answer, verdict: Verdict, settings: Settings, *, has_token: bool = False) -> Finding:
    """Say what an answer means for whoever would send; `has_token` says whether a token was given for the question."""
    if isinstance(answer, Trouble):
        words = f"{answer.message[:1].upper()}{answer.message[1:]} ({answer.code})."
        return problem("question", words, _REMEDIES.get(answer.code, _ASK_AGAIN))
    code = verdict.code or _code_within(answer)
    if answer.http_status == _UNAUTHORIZED or code == str(_UNAUTHORIZED):
        return _refused(settings, has_token=has_token)
    if answer.http_status == _FORBIDDEN or code == _NOT_ALLOWED:
        found = f"The platform knows {settings.username}, and does not permit it to ask ({code})."
        return problem(CREDENTIALS, found, "Ask whoever owns the till's access group for the permission.")
    return _not_refused(answer, verdict, settings, has_token=has_token)


def _refused(settings: Settings, *, has_token: bool) -> Finding:
    """Say which of our words the platform does not believe."""
    if has_token:
        found = f"The platform accepts the key {settings.username} and its secret, and refuses the token that it gave."
        remedy = (
            "Ask whoever runs the platform whether this key's tokens are good for redemptions; or try --auth basic."
        )
        return problem(CREDENTIALS, found, remedy)
    whom, what, who = ("key", "secret", "key") if settings.auth == "oauth" else ("user name", "password", "till")
    found = f"The platform refuses the {whom} {settings.username} or its {what}."
    return problem(CREDENTIALS, found, f"Correct them; a {who} may be locked after several wrong tries.")


def _not_refused(reply: Reply, verdict: Verdict, settings: Settings, *, has_token: bool) -> Finding:
    """Say whether a reply that refuses nobody lets us in, or leaves that open."""
    if reply.http_status == _NOT_FOUND or reply.http_status in _REDIRECTS:
        found = f"There is nothing of the platform at {settings.base_url} (HTTP {reply.http_status})."
        return problem("question", found, "Check host and path in base_url.")
    if verdict.throttled:
        return warning(CREDENTIALS, "Not known: the platform throttles just now.", "Ask again in a while.")
    if _is_of_the_older_api(reply):
        for_what = "Key and secret are accepted, and their token is for" if has_token else "Accepted for"
        found = f"{for_what} a question. Whether updates are permitted, too, only the first update can tell."
        return ok(CREDENTIALS, found)
    words = verdict.message or "the answer is not one of the platform's"
    return warning(CREDENTIALS, f"Not known: {words}.", f"Check base_url. {_ASK_AGAIN}")


def _is_of_the_older_api(reply: Reply) -> bool:
    """Say whether a reply is the API's that was asked: with a page, or with a reason why there is none."""
    found = read_page(reply.body or {})
    return not (isinstance(found, Refusal) and found.code == UNREADABLE)


def _code_within(reply: Reply) -> str:
    """Return the code that a reply of the older API holds, whatever its HTTP status; empty for none."""
    found = read_page(reply.body or {})
    return found.code if isinstance(found, Refusal) else ""


def _clock(answer: Answer, now: float) -> Iterator[Finding]:
    """Compare the platform's clock with ours; nothing to say without an answer."""
    if isinstance(answer, Trouble):
        return
    if answer.served_at is None:
        yield warning("clock", "Not compared: the answer bears no date.", "Compare this machine's clock with another.")
        return
    late = answer.served_at - now
    found = f"This machine's clock is {abs(late):,.0f} s {'behind' if late > 0 else 'ahead of'} the platform's."
    remedy = "Set it, and let it be kept right: timedatectl set-ntp true."
    if abs(late) > CLOCK_IS_WRONG:
        yield problem("clock", found, remedy)
    elif abs(late) > CLOCK_IS_OFF:
        yield warning("clock", found, remedy)
    else:
        yield ok("clock", "This machine's clock agrees with the platform's.")
