"""What the answer to a request for a token says, without a network: the token and its life, or why there is none."""

from __future__ import annotations

from typing import Any

import pytest

from bulkredeem.client.tokens import MAX_TOKEN, USUAL_LIFE, explained, grant_in
from bulkredeem.model import Reply, Trouble


def given(token: object, seconds: object = 60) -> Reply:
    """Return an answer that holds this as a token."""
    return Reply(http_status=200, body={"data": {"accessToken": token, "ttlSeconds": seconds}, "errors": None})


@pytest.mark.parametrize("token", ["a", "!", "~", "a" * MAX_TOKEN], ids=["one letter", "the first", "the last", "long"])
def test_the_least_and_the_most_that_a_token_may_be(token: str) -> None:
    """Just what a header's value may hold, up to the length that servers take."""
    grant = grant_in(given(token))
    assert grant is not None
    assert (grant.token, grant.life, grant.is_sound) == (token, 60.0, True)


@pytest.mark.parametrize("seconds", [0, 0.0, -1, None, "60", True], ids=repr)
def test_a_life_that_is_none_is_the_documented_one(seconds: object) -> None:
    """A token that came is used, whatever is said of it."""
    grant = grant_in(given("ey-5", seconds))
    assert grant is not None
    assert grant.life == USUAL_LIFE


def test_a_token_is_in_no_traceback() -> None:
    """Neither is the grant that holds it."""
    assert "ey-5" not in repr(grant_in(given("ey-5")))


WHY: list[tuple[str, Reply, str]] = [
    ("a status", Reply(http_status=502, unreadable="was a page of HTML"), "the platform answered HTTP 502"),
    ("what came", Reply(http_status=200, unreadable="was not JSON"), "the reply was not JSON"),
    ("nothing", Reply(http_status=200, body={"data": None}), "the reply has none that could be used"),
]


@pytest.mark.parametrize(("reply", "words"), [pytest.param(*facts, id=name) for name, *facts in WHY])
def test_what_came_instead_is_said(reply: Reply, words: str) -> None:
    """In words of ours: a reply may hold anything."""
    told = Trouble(code="TOKEN_NOT_FETCHED", message=f"no token was given: {words}", may_be_applied=False)
    assert explained(reply) == told


RETOLD: list[tuple[str, Reply, int, str, str]] = [
    (
        "refused",
        Reply(http_status=403, body={"errors": [{"code": 4711, "message": "no"}]}, request_id="q-1"),
        401,
        "4711",
        "no token was given for this key and its secret: no",
    ),
    (
        "throttled",
        Reply(http_status=429, unreadable="was not JSON", request_id="q-1", retry_after=7.0),
        429,
        "HTTP_429",
        "no token was given: the platform throttles",
    ),
    (
        "nobody is served",
        Reply(http_status=503, unreadable="was empty", request_id="q-1", retry_after=7.0),
        503,
        "4001",
        "no token was given: the platform answered HTTP 503",
    ),
]


@pytest.mark.parametrize(
    ("reply", "http_status", "code", "words"), [pytest.param(*facts, id=name) for name, *facts in RETOLD]
)
def test_a_no_is_told_as_the_updates_endpoint_would(reply: Reply, http_status: int, code: str, words: str) -> None:
    """In its form, with the platform's name for the request and what it asks for."""
    body: dict[str, Any] = {"errors": [{"status": False, "code": code, "message": words}]}
    expected = Reply(http_status=http_status, body=body, request_id="q-1", retry_after=reply.retry_after)
    assert explained(reply) == expected
