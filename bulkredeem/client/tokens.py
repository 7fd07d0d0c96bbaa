"""What the answer to a request for a token says: the token and its life, or why there is none.

That is told as the answer to the try that needed the token, which surely was not applied: the tables of `verdict` judge
it once more, and alike.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, TypeGuard

from bulkredeem.client.traces import Hidden
from bulkredeem.model import Answer, Reply, Status, Trouble
from bulkredeem.verdict import (
    NOBODY_TO_ASK,
    Verdict,
    claims_errors,
    judge_refusal,
    says_it_failed,
    says_unauthorized,
)

USUAL_LIFE: Final = 300.0
"""Seconds that a token lives when the platform does not say, or nothing that makes sense: the documented ones."""
LONGEST_LIFE: Final = 86_400.0
"""Seconds that a token is believed to live at most: a day. Longer ones are a mistake of somebody's."""
MAX_TOKEN: Final = 8_192
"""Characters of a token: servers refuse longer headers."""
NOT_FETCHED: Final = "TOKEN_NOT_FETCHED"

_SUCCESSES: Final = range(200, 300)
_WHERE_NO_IS_SAID: Final = frozenset({*_SUCCESSES, 400, 403})
"""Statuses with which a body that is JSON refuses key and secret for a reason that is in no table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A token that an answer holds."""

    token: Hidden
    life: float
    """Seconds that it lives, from when it was given."""
    is_sound: bool
    """Whether it may be used: no errors stand beside it."""


def grant_in(answer: Answer) -> Grant | None:
    """Return the token that an answer holds, or None when it holds none that could be sent."""
    if not isinstance(answer, Reply) or answer.http_status not in _SUCCESSES or not answer.body:
        return None
    found = answer.body.get("data")
    if not isinstance(found, dict) or not _is_token(token := found.get("accessToken")):
        return None
    return Grant(token=Hidden(token), life=_life(found.get("ttlSeconds")), is_sound=not claims_errors(answer))


def explained(answer: Answer) -> Answer:
    """Return, of an answer without a usable token, the answer to the try that needed one."""
    if isinstance(answer, Trouble) and answer.code == "CERTIFICATE_REFUSED":
        return replace(answer, may_be_applied=False)
    if isinstance(answer, Trouble):
        return not_fetched(answer.message) if answer.may_be_applied else answer
    verdict = judge_refusal(answer)
    if verdict.access_refused or _is_no(answer, verdict):
        words = f"no token was given for this key and its secret: {verdict.message}"
        return _retold(answer, HTTPStatus.UNAUTHORIZED, verdict.code, words)
    if verdict.throttled and verdict.status is Status.FAILED:
        words = "no token was given: the platform throttles"
        return _retold(answer, HTTPStatus.TOO_MANY_REQUESTS, verdict.code, words)
    if verdict.code == NOBODY_TO_ASK or answer.retry_after is not None:
        words = f"no token was given: the platform answered HTTP {answer.http_status}"
        return _retold(answer, HTTPStatus.SERVICE_UNAVAILABLE, NOBODY_TO_ASK, words)
    return not_fetched(_without_token(answer))


def not_fetched(words: str) -> Trouble:
    """Return the answer to a try that was not sent for want of a token, in words that follow a colon."""
    return Trouble(code=NOT_FETCHED, message=f"no token was given: {words}", may_be_applied=False)


def refuses_secret(failure: Answer) -> TypeGuard[Reply]:
    """Whether what was explained refuses key and secret."""
    return isinstance(failure, Reply) and says_unauthorized(failure)


def _is_token(found: object) -> TypeGuard[str]:
    """Whether it can be a header's value, and nothing but that: no blank and no line break is in it."""
    return isinstance(found, str) and 0 < len(found) <= MAX_TOKEN and all("!" <= letter <= "~" for letter in found)


def _life(found: object) -> float:
    """Return how many seconds a token lives of which this is said."""
    # A bool is a number in Python, and in no reply.
    if isinstance(found, bool) or not isinstance(found, int | float) or found <= 0:
        return USUAL_LIFE
    return float(min(found, LONGEST_LIFE))


def _is_no(reply: Reply, verdict: Verdict) -> bool:
    """Whether a reply that no table knows refuses key and secret: a gateway's page does not, nor a server's failure."""
    if reply.body is None or reply.http_status not in _WHERE_NO_IS_SAID:
        return False
    return verdict.status is Status.REFUSED and not says_it_failed(reply.http_status, verdict.code)


def _without_token(reply: Reply) -> str:
    """Say what came instead of a token, in words that follow a colon; the platform's own may hold anything."""
    if reply.http_status not in _SUCCESSES:
        return f"the platform answered HTTP {reply.http_status}"
    return f"the reply {reply.unreadable}" if reply.unreadable else "the reply has none that could be used"


def _retold(reply: Reply, http_status: int, code: str, words: str) -> Reply:
    """Return a reply as the update's endpoint would have told it, so that one table judges both."""
    error = {"status": False, "code": code, "message": words}
    return replace(reply, http_status=http_status, body={"errors": [error]}, unreadable="")
