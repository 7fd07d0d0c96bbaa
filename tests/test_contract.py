"""The contract: it is sound and says what the code says, the sandbox keeps it, and so does every request of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from openapi_core import OpenAPI
from openapi_spec_validator import validate
from schemathesis.core.failures import FailureGroup

from bulkredeem.client import READ_BACK_PATH, UPDATE_PATH, Basic, Client, basic_authorization, request_body
from bulkredeem.client.oauth import ATTRIBUTION_HEADERS, TOKEN_HEADER, TOKEN_PATH
from bulkredeem.codes.of_the_platform import OF_THE_PLATFORM
from bulkredeem.model import Correction
from bulkredeem.sandbox import Fault, Sandbox
from tests.contract import (
    ASHA,
    SECRET,
    TILL,
    Judge,
    Request,
    document,
    kept_by_us,
    operations,
    problems_by,
    resolved,
    sandbox_beside,
    validator_of,
)

if TYPE_CHECKING:
    from schemathesis import Case

    from tests.contract import RequestWitness

UPDATE: Final = ("PUT", UPDATE_PATH)
BY_PASSWORD: Final = {"Authorization": basic_authorization(TILL, SECRET)}


# The document


def test_the_contract_is_valid() -> None:
    """Show that it is OpenAPI 3.1, as another's tool reads it."""
    assert document()["openapi"].startswith("3.1.")
    validate(document())


def test_the_contract_has_the_codes_that_we_know() -> None:
    """Show that no code of the platform is in the one and not in the other."""
    told = {str(each["const"]) for each in document()["components"]["schemas"]["Code"]["oneOf"]}
    assert told == {code for code in OF_THE_PLATFORM if code.isdecimal()}


def test_the_contract_has_the_addresses_that_we_use() -> None:
    """Show methods and paths."""
    assert set(operations()) == {("PUT", UPDATE_PATH), ("GET", READ_BACK_PATH), ("POST", TOKEN_PATH)}


def test_the_contract_has_the_headers_that_we_send() -> None:
    """Show the token's header, and those that say what a request is booked under."""
    assert document()["components"]["securitySchemes"]["token"]["name"] == TOKEN_HEADER
    assert tuple(each["name"] for each in document()["components"]["parameters"].values()) == ATTRIBUTION_HEADERS


def parts(part: object) -> Iterator[dict[str, Any]]:
    """Yield every mapping of the contract, at any depth; examples are none of its parts."""
    if isinstance(part, dict):
        yield part
    for name, inner in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        if name not in {"example", "examples"}:
            yield from parts(inner)


def test_every_source_is_one_of_three() -> None:
    """Show the marks: documented, seen, inferred."""
    assert {part["x-source"] for part in parts(document()) if isinstance(part.get("x-source"), str)} == {"D", "S", "I"}


def test_what_is_unknown_is_said_in_words_too() -> None:
    """Show that who reads the contract in a viewer without extensions misses nothing."""
    unknown = [part for part in parts(document()) if isinstance(part.get("x-unknown"), str)]
    assert len(unknown) > 20
    told = [(" ".join(part.get("description", "").split()), f"Unknown: {part['x-unknown']}") for part in unknown]
    assert [words for description, words in told if not description.endswith(words)] == []


def media_types() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each body of the contract with a name."""
    for (method, path), operation in operations().items():
        bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
        for name, body in bodies.items():
            for kind, content in resolved(body).get("content", {}).items():
                yield f"{method} {path} {name} {kind}", content


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in media_types()])
def test_an_example_is_as_its_schema_says(content: dict[str, Any]) -> None:
    """Show each example of each request and reply."""
    examples = [each["value"] for each in content.get("examples", {}).values()] or [content["example"]]
    validator = validator_of(content["schema"])
    assert [error.message for example in examples for error in validator.iter_errors(example)] == []


# The sandbox

# Few more are tried than the contract has edges (schemathesis tries each of these once): the sandbox's rules are few.
SCHEMA = schemathesis.openapi.from_dict(
    document(),
    config=schemathesis.Config.from_dict(
        {
            "generation": {"deterministic": True, "max-examples": 60, "database": "none"},
            "operations": [
                {
                    # The older API answers 200 whatever it was asked, and what it makes of a bad filter is unknown.
                    "include-path": READ_BACK_PATH,
                    "checks": {"negative_data_rejection": {"enabled": False}},
                }
            ],
        }
    ),
)


@pytest.fixture(scope="module")
def platform() -> Iterator[Sandbox]:
    """Give a sandbox that answers while this thread waits, and in which every redemption exists."""
    # The contract's own till: schemathesis gets a token for it.
    with sandbox_beside(username=TILL, password=SECRET, known=lambda _: True) as sandbox:
        yield sandbox


@SCHEMA.hook
def map_body(_: schemathesis.HookContext, body: Any) -> Any:
    """Write a whole bill id without a decimal point: a schema takes 7.0 for an integer, and the platform does not."""
    bill_id = body.get("billId") if isinstance(body, dict) else None
    return {**body, "billId": int(bill_id)} if isinstance(bill_id, float) and bill_id.is_integer() else body


@SCHEMA.parametrize()
def test_the_sandbox_keeps_the_contract(case: Case[Any], platform: Sandbox) -> None:
    """Good requests and bad ones over HTTP: statuses, headers and bodies as documented, and no bad one let in."""
    case.call_and_validate(base_url=platform.base_url, headers=BY_PASSWORD)


def test_the_sandbox_keeps_the_contract_with_a_token(platform: Sandbox) -> None:
    """Show a token for the contract's own key and secret, and each example sent with it instead of the password."""
    pair: dict[str, Any] = {"key": TILL, "secret": SECRET}
    asked = SCHEMA[TOKEN_PATH]["POST"].Case(body=pair, media_type="application/json")
    token = asked.call_and_validate(base_url=platform.base_url).json()["data"]["accessToken"]
    headers = {TOKEN_HEADER: token, **dict.fromkeys(ATTRIBUTION_HEADERS, "counter.seven")}
    for each in document()["paths"][UPDATE_PATH]["put"]["requestBody"]["content"]["application/json"][
        "examples"
    ].values():
        case = SCHEMA[UPDATE_PATH]["PUT"].Case(body=each["value"], media_type="application/json")
        assert case.call_and_validate(base_url=platform.base_url, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=418, body=b"{}"),
        Fault(status=200, body=b"<html></html>", headers={"Content-Type": "text/html"}),
        Fault(apply=True, echo={"id": "396023"}),
        Fault.error(status=400, code=999),
        Fault(status=429, body=b'{"errors":null}', headers={"Retry-After": "soon"}),
    ],
    ids=["status", "content type", "type of a value", "code", "header"],
)
def test_a_reply_against_the_contract_is_found(platform: Sandbox, fault: Fault) -> None:
    """Show that what tests the sandbox can fail."""
    platform.faults = lambda _: fault
    case = SCHEMA[UPDATE_PATH]["PUT"].Case(body=json.loads(request_body(ASHA)), media_type="application/json")
    try:
        with pytest.raises(FailureGroup):
            case.call_and_validate(base_url=platform.base_url, headers=BY_PASSWORD)
    finally:
        platform.faults = None


# Our requests


def request(correction: Correction = ASHA, **changes: Any) -> Request:
    """Return the update of a correction as our client sends it."""
    headers = CIMultiDict({"Content-Type": "application/json", "Accept": "application/json", **BY_PASSWORD})
    usual: dict[str, Any] = {
        "method": "PUT",
        "path": f"/gateway{UPDATE_PATH}",
        "query": (),
        "headers": headers,
        "body": request_body(correction),
    }
    return Request(**{**usual, **changes})


def with_headers(**changes: str) -> dict[str, Any]:
    """Return what a request's headers are changed to; an underscore stands for a hyphen."""
    return {"headers": CIMultiDict({**request().headers, **{k.replace("_", "-"): v for k, v in changes.items()}})}


def question(*query: tuple[str, str]) -> dict[str, Any]:
    """Return what turns the update into a read-back."""
    return {"method": "GET", "path": READ_BACK_PATH, "query": query, "body": b""}


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("a bill id below 1", {"body": request_body(replace(ASHA, bill_id=-1))}, "minimum"),
    ("a bill id too large", {"body": request_body(replace(ASHA, bill_id=2**63))}, "maximum"),
    ("a purpose too long", {"body": request_body(replace(ASHA, purpose="x" * 256))}, "255"),
    ("two identifiers", {"body": request_body(replace(ASHA, external_reference_number="R"))}, "oneOf"),
    ("no identifier", {"body": request_body(replace(ASHA, redemption_id=""))}, "oneOf"),
    ("nothing to set", {"body": request_body(replace(ASHA, bill_number=""))}, "anyOf"),
    ("no customer", {"body": b'{"redemptionId":"a","billNumber":"b"}'}, "entity"),
    ("a plus sign", {"body": request_body(replace(ASHA, identifier_value="+919900000001"))}, "match"),
    ("no type of entity", {"body": request_body(replace(ASHA, entity_type=""))}, "shorter than 1"),
    ("a custom field that is no text", {"body": request_body(ASHA)[:-1] + b',"customFields":{"a":1}}'}, "string"),
    ("an unknown field", {"body": request_body(ASHA)[:-1] + b',"billnumber":"b"}'}, "billnumber"),
    ("no JSON", {"body": b"{"}, "not JSON"),
    ("a form", with_headers(Content_Type="application/x-www-form-urlencoded"), "Content-Type"),
    ("no password", with_headers(Authorization=""), "credentials"),
    ("a password as it is", with_headers(Authorization="Basic dGlsbDpzZWNyZXQ="), "credentials"),
    ("any reply", with_headers(Accept="*/*"), "JSON"),
    ("another address", {"path": "/v2/points"}, "no such resource"),
    ("another method", {"method": "POST"}, "no such resource"),
    ("nobody", question(("points_limit", "100")), "exactly one of"),
    ("two customers", question(("mobile", "91"), ("email", "a@example.com")), "exactly one of"),
    ("one twice", question(("mobile", "91"), ("mobile", "92")), "twice"),
    ("a page too large", question(("mobile", "91"), ("points_limit", "501")), "maximum"),
    ("an unknown parameter", question(("mobile", "91"), ("limit", "5")), "limit"),
]


@pytest.mark.parametrize(("changes", "words"), [pytest.param(changes, words, id=name) for name, changes, words in BAD])
def test_a_bad_request_is_found(changes: dict[str, Any], words: str) -> None:
    """Show, for each thing that can be wrong, that the judge says so."""
    assert words in "; ".join(Judge().problems(request(**changes)))


def test_what_is_empty_is_never_sent() -> None:
    """Show that the judge is stricter with us than the contract, which cannot say what an empty value does."""
    body = json.dumps({**json.loads(request_body(ASHA)), "purpose": ""}).encode()
    assert Judge().problems(request(body=body)) == ["purpose is empty"]


@pytest.mark.parametrize(
    "body", [changes["body"] for _, changes, _ in BAD if "body" in changes and "method" not in changes]
)
def test_both_judges_are_of_one_mind(body: bytes) -> None:
    """Show that openapi-core finds bad what the compiled schema finds bad."""
    assert problems_by(OpenAPI.from_dict(kept_by_us()), UPDATE_PATH, request(body=body)) != []


def test_what_the_contract_does_not_list_may_be_sent() -> None:
    """Show that types of entities and identifiers that we only warn of are not held against us."""
    assert Judge().problems(request(replace(ASHA, entity_type="USER GROUP", identifier_type="loyaltyId"))) == []


JUDGE: Final = Judge()
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1)
CORRECTIONS = st.builds(
    Correction,
    row_number=st.just(2),
    redemption_id=TEXTS,
    entity_type=st.sampled_from(["CUSTOMER", "USERGROUP2", "FLEET"]),
    identifier_type=st.sampled_from(["email", "externalId", "id", "cardnumber", "cardExternalId"]),
    identifier_value=TEXTS,
    bill_number=TEXTS,
    bill_id=st.none() | st.integers(1, 2**63 - 1),
    purpose=TEXTS.map(lambda text: text[:255]) | st.just(""),
    custom_fields=st.dictionaries(TEXTS, st.text(st.characters(codec="utf-8"))),
)


@given(CORRECTIONS)
def test_whatever_a_correction_holds_its_request_keeps_the_contract(correction: Correction) -> None:
    """Show it for texts of all kinds and for every bill id; a request's shape is what openapi-core sees once."""
    assert JUDGE.problems(request(correction)) == []


# The witness


async def send(sandbox: Sandbox, correction: Correction, **options: Any) -> None:
    """Send one update through a client."""
    till = Basic(sandbox.username, sandbox.password)
    async with Client(sandbox.base_url, till, timeout=20.0, max_connections=1, **options) as client:
        await client.update(correction)


async def test_a_bad_request_of_a_test_is_reported(sandbox: Sandbox, request_witness: RequestWitness) -> None:
    """Show that what fails a test at its end is told with the request and the reason, and is told once."""
    await send(sandbox, replace(ASHA, bill_id=-5))
    (told,) = request_witness.taken()
    assert "PUT /v2/points/updateRedemption" in told
    assert '"billId":-5' in told
    assert "-5 is less than the minimum of 1" in told
    assert request_witness.taken() == []


async def test_a_report_of_a_bad_request_is_without_credentials(
    sandbox: Sandbox, request_witness: RequestWitness
) -> None:
    """Show that a failing test does not write them into a log."""
    await send(sandbox, replace(ASHA, bill_id=-5))
    (told,) = request_witness.taken()
    assert basic_authorization(sandbox.username, sandbox.password).removeprefix("Basic ") not in told


async def test_good_requests_are_heard(sandbox: Sandbox, request_witness: RequestWitness) -> None:
    """Show that silence does not come from nobody listening."""
    request_witness.taken()
    before = request_witness.judge.judged
    await send(sandbox, ASHA, user_agent="bulkredeem/1.2.3")
    assert request_witness.taken() == []
    assert request_witness.judge.judged == before + 1


async def test_others_may_send_what_they_like(sandbox: Sandbox, request_witness: RequestWitness) -> None:
    """Show that tests of the sandbox with bad requests need no leave."""
    await send(sandbox, replace(ASHA, bill_id=-5), user_agent="somebody")
    assert request_witness.taken() == []
