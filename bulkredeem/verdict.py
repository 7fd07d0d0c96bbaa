"""What an answer means: a pure rule from one attempt's answer to a verdict, by table.

The HTTP status that goes with the platform's codes is not documented, and its siblings answer 200 with an error body.
So a code counts whatever the status, and success is only a 2xx with a JSON object, without errors, whose echo does not
contradict what was sent. Anything that may have been applied and brought no trustworthy answer is in doubt.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any, Final

from bulkredeem.model import Answer, Correction, Reply, Sign, Status, Trouble

MAX_TEXT: Final = 500
"""Characters of a message of the platform that are kept."""
MAX_CODE: Final = 40
"""Characters of a code of the platform that are kept."""
MAX_WARNINGS: Final = 20
"""Warnings of the platform that are kept: all of them together must fit into a cell."""
UNSET_BILL_ID: Final = -1
"""How an echo says that there is no bill id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one attempt has settled, or what is to be done next."""

    status: Status
    """The row's status if this stays its last word."""
    code: str = ""
    message: str = ""
    warnings: tuple[str, ...] = ()
    repeat: bool = False
    """Whether another attempt may change the status."""
    throttled: bool = False
    """Whether the platform asked us to slow down: this attempt does not count against the most allowed."""
    access_refused: bool = False
    """Whether no row at all can succeed with these credentials."""


_ACCEPTED: Final = Verdict(status=Status.SUCCESS)
"""What nearly every attempt is worth; one for all of them."""
SENT_BEFORE: Final = Verdict(
    status=Status.IN_DOUBT,
    code="SENT_BEFORE",
    message="it may have been applied by an earlier try whose answer was never recorded",
)
"""What is known of a row that was under way when its run died, or stopped."""


class _Treatment(Enum):
    """What a class of answers means: status if it is the last word, repeat, throttled, access refused."""

    REFUSED = (Status.REFUSED, False, False, False)
    NOT_APPLIED = (Status.FAILED, True, False, False)
    THROTTLED = (Status.FAILED, True, True, False)
    DOUBTFUL = (Status.IN_DOUBT, True, False, False)
    THROTTLED_IN_DOUBT = (Status.IN_DOUBT, True, True, False)
    CONTRADICTED = (Status.IN_DOUBT, False, False, False)
    ACCESS_REFUSED = (Status.PENDING, False, False, True)

    def verdict(self, code: str, message: str) -> Verdict:
        status, repeat, throttled, access_refused = self.value
        return Verdict(
            status=status,
            code=code,
            message=message,
            repeat=repeat,
            throttled=throttled,
            access_refused=access_refused,
        )


_OF_HTTP_STATUS_FIRST: Final = {401: _Treatment.ACCESS_REFUSED, 429: _Treatment.THROTTLED}
"""Statuses that mean the same whatever the body says."""
_OF_CODE: Final = {
    "429": _Treatment.THROTTLED,
    "517": _Treatment.THROTTLED,
    "521": _Treatment.NOT_APPLIED,
    "4001": _Treatment.NOT_APPLIED,
    "4000": _Treatment.ACCESS_REFUSED,
    "401": _Treatment.ACCESS_REFUSED,
    "748": _Treatment.REFUSED,
    "749": _Treatment.REFUSED,
    "750": _Treatment.REFUSED,
    "1212": _Treatment.REFUSED,
    "1219": _Treatment.REFUSED,
    "8015": _Treatment.REFUSED,
}
"""The documented codes of this endpoint; they mean the same whatever the status."""
_OF_HTTP_STATUS: Final = (
    (range(200, 300), _Treatment.REFUSED),  # with errors in it; without, it is a success or unreadable
    (range(300, 400), _Treatment.REFUSED),
    (range(408, 409), _Treatment.DOUBTFUL),
    (range(400, 500), _Treatment.REFUSED),
    (range(500, 600), _Treatment.DOUBTFUL),
)
"""What is left, the first match counts."""
_REDIRECTS: Final = range(300, 400)
_SUCCESSES: Final = range(200, 300)
_SERVICE_UNAVAILABLE: Final = 503
_UNAUTHORIZED: Final = 401
NOBODY_TO_ASK: Final = "4001"
"""The platform cannot reach its own authentication: nobody is served."""
_NO_ANSWERS: Final = frozenset({408, *range(500, 600)})
"""Statuses by which a server, or a gateway before it, says that it could not answer."""
_SERVER_FAILURES: Final = frozenset(map(str, range(500, 600)))


def judge(answer: Answer, correction: Correction) -> Verdict:
    """Return what the answer to one attempt of this correction means."""
    if isinstance(answer, Trouble):
        treatment = _Treatment.DOUBTFUL if answer.may_be_applied else _Treatment.NOT_APPLIED
        return treatment.verdict(answer.code, answer.message)
    if answer.http_status in _SUCCESSES and not claims_errors(answer) and not says_unauthorized(answer):
        return _judge_acceptance(answer, correction)
    return judge_refusal(answer)


def claims_errors(reply: Reply) -> bool:
    """Say whether a reply holds errors in the form of this endpoint."""
    return bool(reply.body and reply.body.get("errors"))


def says_unauthorized(reply: Reply) -> bool:
    """Say whether a reply refuses who we claim to be: HTTP 401, or the code 401 in a body of either API's form."""
    if reply.http_status in _OF_HTTP_STATUS_FIRST:
        return reply.http_status == _UNAUTHORIZED
    if not reply.body or not (reply.body.get("errors") or "response" in reply.body):
        return False
    # Without their messages, which take the time: the client asks this of every reply.
    codes = (_code(entry.get("code")) for entry in _entries_of(reply.body) if isinstance(entry, dict))
    return next((code for code in codes if code in _OF_CODE), "") == str(_UNAUTHORIZED)


def sign_of(answer: Answer, verdict: Verdict) -> Sign:
    """Return what an answer, judged so, says about the platform as a whole.

    A 503 counts as unanswered also when it says how long to wait: behind it may be nobody at all.
    """
    if isinstance(answer, Trouble) or (verdict.repeat and says_it_failed(answer.http_status, verdict.code)):
        return Sign.UNANSWERED
    return Sign.THROTTLED if verdict.throttled else Sign.ANSWERED


def says_it_failed(http_status: int, code: str) -> bool:
    """Say whether the server could not answer. What `judge` takes for a documented word is one here, too."""
    if http_status in _OF_HTTP_STATUS_FIRST:
        return False
    if code in _OF_CODE:
        return code == NOBODY_TO_ASK
    return http_status in _NO_ANSWERS or code in _SERVER_FAILURES


@dataclass(frozen=True, slots=True, kw_only=True)
class _Error:
    """One of the errors of a reply, as far as it could be read."""

    code: str
    message: str


def judge_refusal(reply: Reply) -> Verdict:
    """Return what a reply means that does not give what it was asked for, whatever that was."""
    errors = list(_errors(reply.body))
    known = _known_among(errors)
    named = known or next(iter(errors), _Error(code="", message=""))
    treatment = (
        (_Treatment.NOT_APPLIED if reply.credentials_renewed else None)
        or _OF_HTTP_STATUS_FIRST.get(reply.http_status)
        or (_OF_CODE[known.code] if known else None)
        or (_Treatment.DOUBTFUL if _says_no_reason(reply, named) else None)
        or next((kind for statuses, kind in _OF_HTTP_STATUS if reply.http_status in statuses), _Treatment.DOUBTFUL)
    )
    if reply.http_status == _SERVICE_UNAVAILABLE and reply.retry_after is not None and treatment is _Treatment.DOUBTFUL:
        treatment = _Treatment.THROTTLED_IN_DOUBT
    code = named.code or ("UNEXPECTED_REDIRECT" if reply.http_status in _REDIRECTS else f"HTTP_{reply.http_status}")
    message = "; ".join(error.message for error in errors if error.message) or _without_words(reply)
    return treatment.verdict(code, _shortened(message))


def _known_among(errors: Iterable[_Error]) -> _Error | None:
    """Return the error that decides: the first with a documented code."""
    return next((error for error in errors if error.code in _OF_CODE), None)


def _says_no_reason(reply: Reply, error: _Error) -> bool:
    """Whether a 2xx holds an error that is no trustworthy no: an empty one, or a server's own failure (500 to 599)."""
    return reply.http_status in _SUCCESSES and (error.code in _SERVER_FAILURES or error == _Error(code="", message=""))


def _without_words(reply: Reply) -> str:
    if reply.http_status in _REDIRECTS:
        return "the platform sent us elsewhere; redirects are not followed: check the base URL"
    what = f", and the reply {reply.unreadable}" if reply.unreadable else " without saying why"
    return f"the platform answered HTTP {reply.http_status}{what}"


def _judge_acceptance(reply: Reply, correction: Correction) -> Verdict:
    if reply.body is None:
        message = f"the platform answered HTTP {reply.http_status}, but the reply {reply.unreadable}"
        return _Treatment.DOUBTFUL.verdict("UNREADABLE_REPLY", message)
    echo = _unwrapped(reply.body)
    contradictions = list(_contradictions(echo, correction))
    if contradictions:
        return _Treatment.CONTRADICTED.verdict("ECHO_MISMATCH", "; ".join(contradictions))
    inner = () if echo is reply.body else _platform_warnings(echo)
    warnings = (*_platform_warnings(reply.body), *inner, *_echo_warnings(echo, correction))
    return Verdict(status=Status.SUCCESS, warnings=warnings) if warnings else _ACCEPTED


def _unwrapped(body: Mapping[str, Any]) -> Mapping[str, Any]:
    wrapped = body.get("data")
    return wrapped if isinstance(wrapped, dict) else body


def echo_of(reply: Reply) -> Mapping[str, Any]:
    """Return what a reply says that the redemption is now; empty for a reply that accepts nothing."""
    if reply.http_status not in _SUCCESSES or not reply.body or reply.body.get("errors"):
        return {}
    return _unwrapped(reply.body)


def alias_in(echo: Mapping[str, Any], correction: Correction) -> str:
    """Return the redemption's other identifier, as an echo names it; empty when it does not, or not as text."""
    other = echo.get("externalReferenceNumber" if correction.redemption_id else "redemptionId")
    return other.strip() if isinstance(other, str) and other.isprintable() and len(other) <= MAX_TEXT else ""


def _contradictions(echo: Mapping[str, Any], correction: Correction) -> Iterator[str]:
    """Say what the reply claims to be true that is not what was asked; what it does not mention is no contradiction."""
    wanted = (
        ("redemptionId", correction.redemption_id),
        ("externalReferenceNumber", correction.external_reference_number),
        ("billNumber", correction.bill_number),
        ("billId", correction.bill_id),
    )
    for name, value in wanted:
        echoed = echo.get(name)
        if not value or echoed is None or _means_the_same(value, echoed):
            continue
        if name == "billId" and echoed == UNSET_BILL_ID:
            yield "billId was sent, but the platform's reply says it is unset"
        else:
            yield f"{name} was sent, but the platform's reply has another value"


def _means_the_same(sent: str | int, echoed: object) -> bool:
    """Compare loosely where only the JSON type differs: 12345, "12345" and 12345.0 are one bill id."""
    if isinstance(sent, int) and isinstance(echoed, float):
        return float(sent) == echoed
    return _words(echoed).strip() == str(sent)


def _echo_warnings(echo: Mapping[str, Any], correction: Correction) -> Iterator[str]:
    purpose = echo.get("redemptionPurpose")
    if correction.purpose and purpose is not None and _words(purpose).strip() != correction.purpose:
        yield "the platform's reply has another purpose than was sent"


def _platform_warnings(body: Mapping[str, Any]) -> Iterator[str]:
    for error in islice(_listed(body.get("warnings")), MAX_WARNINGS):
        yield " ".join(filter(None, ("the platform warns:", error.code, error.message)))


def _errors(body: Mapping[str, Any] | None) -> Iterator[_Error]:
    return _listed(_entries_of(body) if body else None)


def _entries_of(body: Mapping[str, Any]) -> list[Any]:
    """Return the errors of a body as they came, of either API's form."""
    found = body.get("errors") or _refusal_of_the_older_api(body)
    return found if isinstance(found, list) else [found]


def _refusal_of_the_older_api(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what says in the older API's form that we are not let in; `readback` reads all else that it says."""
    response = _inner(body, "response")
    statuses = (_inner(_inner(response, "customer"), "item_status"), _inner(response, "status"))
    refused = next((status for status in statuses if _words(status.get("success")).casefold() == "false"), {})
    return refused if _code(refused.get("code")) == str(_UNAUTHORIZED) else None


def _inner(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    inner = found.get(name)
    return inner if isinstance(inner, dict) else {}


def _listed(found: object) -> Iterator[_Error]:
    """Read errors (or warnings, which are shaped alike) in whatever form they come."""
    for entry in found if isinstance(found, list) else [found]:
        if isinstance(entry, dict) and entry:
            yield _Error(code=_code(entry.get("code")), message=_text(entry.get("message")))
        elif entry and not isinstance(entry, dict):
            yield _Error(code="", message=_text(entry))


def _code(found: object) -> str:
    whole = int(found) if isinstance(found, float) and found.is_integer() else found
    return _printable(whole)[:MAX_CODE]


def _text(found: object) -> str:
    return _shortened(_printable(found))


def _shortened(text: str) -> str:
    """Cut between words: half an identifier would be found by nobody who masks them."""
    return textwrap.shorten(text, MAX_TEXT, placeholder=" …")


def _printable(found: object) -> str:
    """Bring what the platform said onto one printable line, not cut to measure yet but not endless either."""
    text = "" if found is None else _words(found)
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * MAX_TEXT]).split())


def _words(found: object) -> str:
    """Return any JSON value as text. Python refuses to write down what is nested a thousand deep; JSON does not."""
    try:
        return str(found)
    except RecursionError:
        return "(too deeply nested to be shown)"
