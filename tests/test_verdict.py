"""What an answer means: every row of the endpoint's table, and what must hold for whatever a platform may say."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkredeem.model import Correction, Reply, Sign, Status, Trouble
from bulkredeem.verdict import (
    MAX_CODE,
    MAX_TEXT,
    MAX_WARNINGS,
    SENT_BEFORE,
    Verdict,
    alias_in,
    echo_of,
    judge,
    says_unauthorized,
    sign_of,
)

CORRECTION = Correction(
    row_number=2,
    redemption_id="8878ru",
    entity_type="CUSTOMER",
    identifier_type="mobile",
    identifier_value="919900000001",
    bill_number="B-1",
    bill_id=1234567890123456789,
    purpose="Testing",
)
ECHO: dict[str, Any] = {
    "id": 396023,
    "billId": 1234567890123456789,
    "billNumber": "B-1",
    "redemptionId": "8878ru",
    "redemptionPurpose": "Testing",
    "warnings": [],
}
SAYS_LITTLE = {"pointsRedeemed": 100.0}

REFUSED = Verdict(status=Status.REFUSED)
NOT_APPLIED = Verdict(status=Status.FAILED, repeat=True)
THROTTLED = Verdict(status=Status.FAILED, repeat=True, throttled=True)
DOUBTFUL = Verdict(status=Status.IN_DOUBT, repeat=True)
THROTTLED_IN_DOUBT = Verdict(status=Status.IN_DOUBT, repeat=True, throttled=True)
CONTRADICTED = Verdict(status=Status.IN_DOUBT)
ACCESS_REFUSED = Verdict(status=Status.PENDING, access_refused=True)
SUCCESS = Verdict(status=Status.SUCCESS)


def errors(code: object, message: object = "no") -> dict[str, Any]:
    """Return an error body of the documented shape."""
    return {"errors": [{"status": False, "code": code, "message": message}], "warnings": []}


def heard(http_status: int, body: Mapping[str, Any] | None, *, retry_after: float | None = None) -> Verdict:
    """Return the verdict on a reply."""
    unreadable = "" if body is not None else "was a page of HTML"
    return judge(Reply(http_status=http_status, body=body, unreadable=unreadable, retry_after=retry_after), CORRECTION)


def kind_of(verdict: Verdict) -> Verdict:
    """Return the verdict without its words."""
    return replace(verdict, code="", message="", warnings=())


# Codes and statuses


CODES = {
    748: REFUSED,
    749: REFUSED,
    750: REFUSED,
    1212: REFUSED,
    1219: REFUSED,
    8015: REFUSED,
    521: NOT_APPLIED,
    4001: NOT_APPLIED,
    429: THROTTLED,
    517: THROTTLED,
    4000: ACCESS_REFUSED,
    401: ACCESS_REFUSED,
}


@pytest.mark.parametrize("http_status", [200, 201, 400, 403, 404, 500, 503])
@pytest.mark.parametrize(("code", "kind"), CODES.items())
@pytest.mark.parametrize("written", [int, str, float], ids=["number", "text", "decimal"])
def test_a_documented_code_counts_whatever_the_status(
    code: int, kind: Verdict, http_status: int, written: type[int | str | float]
) -> None:
    """The status that goes with a code is unknown, an error may come as 200, and a code in any JSON type."""
    verdict = heard(http_status, errors(written(code), "Redemption update failed : no"))
    assert (kind_of(verdict), verdict.code) == (kind, str(code))
    assert verdict.message == "Redemption update failed : no"


STATUSES = [
    *((status, REFUSED) for status in (300, 302, 304, 307, 400, 403, 404, 409, 413, 422, 499)),
    *((status, DOUBTFUL) for status in (100, 101, 408, 500, 502, 503, 504, 520, 599, 600, 999, 0)),
    (401, ACCESS_REFUSED),
    (429, THROTTLED),
]


@pytest.mark.parametrize(("http_status", "kind"), STATUSES)
@pytest.mark.parametrize("body", [None, {}, {"errors": None}, errors(12345)], ids=["none", "empty", "null", "unknown"])
def test_without_a_documented_code_the_status_counts(
    http_status: int, kind: Verdict, body: dict[str, Any] | None
) -> None:
    """A body that says nothing known changes nothing; the row's code is then the unknown one, or the status."""
    verdict = heard(http_status, body)
    redirected = "UNEXPECTED_REDIRECT" if 300 <= http_status < 400 else f"HTTP_{http_status}"
    assert kind_of(verdict) == kind
    assert verdict.code == ("12345" if body == errors(12345) else redirected)
    assert verdict.message


@pytest.mark.parametrize("http_status", [401, 429])
def test_two_statuses_count_whatever_the_code(http_status: int) -> None:
    """Refused credentials and throttling are no verdict on the row, even if the body speaks of one."""
    assert kind_of(heard(http_status, errors(750))) == dict(STATUSES)[http_status]


@pytest.mark.parametrize(
    ("http_status", "body", "kind"),
    [
        (503, None, THROTTLED_IN_DOUBT),
        (503, errors(4001), NOT_APPLIED),
        (503, errors(517), THROTTLED),
        (503, errors(750), REFUSED),
        (502, None, DOUBTFUL),
    ],
)
def test_an_unavailable_service_may_say_how_long(http_status: int, body: dict[str, Any] | None, kind: Verdict) -> None:
    """A bare 503 with `Retry-After`, also 0, is a wish to slow down that leaves the row in doubt; others are not."""
    assert kind_of(heard(http_status, body, retry_after=0.0)) == kind


@pytest.mark.parametrize(
    ("http_status", "body", "words"),
    [
        (307, None, "the platform sent us elsewhere; redirects are not followed: check the base URL"),
        (404, None, "the platform answered HTTP 404, and the reply was a page of HTML"),
        (500, {}, "the platform answered HTTP 500 without saying why"),
        (400, errors(750, ""), "the platform answered HTTP 400 without saying why"),
        (400, errors(750, None), "the platform answered HTTP 400 without saying why"),
    ],
)
def test_where_the_platform_says_nothing_we_do(http_status: int, body: dict[str, Any] | None, words: str) -> None:
    """Every refusal has a sentence."""
    assert heard(http_status, body).message == words


ERRORS = [
    ("wrapped as OAuth does", {"data": None, "errors": [{"code": 748, "message": "m"}], "warnings": None}, "748", "m"),
    ("one object", {"errors": {"code": 748, "message": "m"}}, "748", "m"),
    ("texts", {"errors": ["m", "n"]}, "HTTP_400", "m; n"),
    ("one text", {"errors": "m"}, "HTTP_400", "m"),
    ("a number", {"errors": 7}, "HTTP_400", "7"),
    ("true", {"errors": True}, "HTTP_400", "True"),
    ("no code", {"errors": [{"message": "m"}]}, "HTTP_400", "m"),
    ("several, the known one leads", {"errors": [{"code": 9, "message": "m"}, {"code": 748}]}, "748", "m"),
    ("several unknown", {"errors": [{"code": 9, "message": "m"}, {"code": 8, "message": "n"}]}, "9", "m; n"),
    ("padded code", {"errors": [{"code": " 748 ", "message": "m"}]}, "748", "m"),
    ("code as an object", {"errors": [{"code": {"a": 1}, "message": "m"}]}, "{'a': 1}", "m"),
    ("line ends and controls", {"errors": [{"code": 748, "message": "a\r\nb\x1b[31m\tc\u202e "}]}, "748", "a b [31m c"),
    ("message as a list", {"errors": [{"code": 748, "message": ["a", 1]}]}, "748", "['a', 1]"),
]


@pytest.mark.parametrize(
    ("body", "code", "message"), [pytest.param(body, code, message, id=name) for name, body, code, message in ERRORS]
)
def test_errors_are_read_in_whatever_form_they_come(body: dict[str, Any], code: str, message: str) -> None:
    """Code and message come out as one printable line each, and the row is refused."""
    verdict = heard(400, body)
    assert (verdict.status, verdict.code, verdict.message) == (Status.REFUSED, code, message)


def test_a_talkative_platform_is_cut() -> None:
    """Neither code, message nor warnings grow beyond what a cell of a report can hold."""
    verdict = heard(400, {"errors": [{"code": "7" * 9999, "message": "m " * 9999}] * 99})
    assert (len(verdict.code), len(verdict.message)) == (MAX_CODE, MAX_TEXT - 1)
    assert verdict.message.endswith("m m …"), "who reads it sees that there was more"
    warned = heard(200, {"warnings": [{"code": "7" * 9999, "message": "m " * 9999}] * 999}).warnings
    assert len(warned) == MAX_WARNINGS
    assert len("; ".join(warned)) < csv.field_size_limit()


@pytest.mark.parametrize("before", range(MAX_TEXT - 20, MAX_TEXT + 5))
def test_a_message_is_cut_between_words(before: int) -> None:
    """Half an identifier at the cut would be found by nobody who masks them."""
    message = heard(400, {"errors": [{"code": 750, "message": f"{'m' * before} 919900000001 is unknown"}]}).message
    assert "9199" not in message.replace("919900000001", "")


@pytest.mark.parametrize("may_be_applied", [True, False])
def test_trouble_is_repeated_and_its_last_word_is_the_doubt(may_be_applied: bool) -> None:  # noqa: FBT001  a table
    """Only what surely never left is `failed`; anything sent is in doubt."""
    verdict = judge(Trouble(code="TIMEOUT", message="m", may_be_applied=may_be_applied), CORRECTION)
    assert kind_of(verdict) == (DOUBTFUL if may_be_applied else NOT_APPLIED)
    assert (verdict.code, verdict.message) == ("TIMEOUT", "m")


# Success


ACCEPTED = [
    ("the whole echo", ECHO),
    ("nothing contradicted", SAYS_LITTLE),
    ("an empty object", {}),
    ("wrapped", {"data": ECHO, "errors": None, "warnings": None}),
    ("wrapped in nothing", {"data": None, "errors": []}),
    ("data of its own", {**ECHO, "data": ["x"]}),
    ("errors null", {**ECHO, "errors": None}),
    ("errors an empty object", {**ECHO, "errors": {}}),
    ("errors an empty text", {**ECHO, "errors": ""}),
    ("warnings null", {**ECHO, "warnings": None}),
    ("warnings an empty object", {**ECHO, "warnings": {}}),
    ("warnings absent", {name: value for name, value in ECHO.items() if name != "warnings"}),
    ("bill id as text", {**ECHO, "billId": "1234567890123456789"}),
    ("bill id rounded by a script", {**ECHO, "billId": 1.2345678901234568e18}),
    ("padded", {**ECHO, "billNumber": " B-1 "}),
    ("nulls", dict.fromkeys(ECHO)),
]


@pytest.mark.parametrize("http_status", [200, 201, 202, 299])
@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in ACCEPTED])
def test_success_is_a_2xx_object_without_errors_or_contradiction(http_status: int, body: dict[str, Any]) -> None:
    """What the reply leaves out contradicts nothing, and a type of JSON's choosing neither."""
    assert heard(http_status, body) == SUCCESS


@pytest.mark.parametrize(("http_status", "kind"), [(200, DOUBTFUL), (204, DOUBTFUL), (404, REFUSED), (500, DOUBTFUL)])
def test_a_reply_that_cannot_be_read_is_no_success(http_status: int, kind: Verdict) -> None:
    """A 2xx without a JSON object says that something arrived, and no more."""
    verdict = heard(http_status, None)
    assert kind_of(verdict) == kind
    assert (verdict.code == "UNREADABLE_REPLY") == (http_status < 300)
    assert "was a page of HTML" in verdict.message


@pytest.mark.parametrize("code", [500, "502", 599.0])
def test_a_servers_own_failure_in_a_200_is_no_refusal(code: object) -> None:
    """Its siblings answer 200 with an error body: that the server failed says nothing about the row."""
    verdict = heard(200, {"errors": [{"code": code, "message": "internal error"}]})
    assert kind_of(verdict) == DOUBTFUL


@pytest.mark.parametrize("found", ["x", 7, True])
def test_errors_that_are_mere_words_are_errors_all_the_same(found: object) -> None:
    """Errors that are not empty are no success, whatever form they have."""
    verdict = heard(200, {**ECHO, "errors": found})
    assert (kind_of(verdict), verdict.code) == (REFUSED, "HTTP_200")


@pytest.mark.parametrize("found", [[{}], [None], [""], [0], [[]], ["\0"], {"x": None}])
def test_errors_without_words_are_no_trustworthy_no(found: object) -> None:
    """A 2xx with an error that says nothing may have been applied."""
    verdict = heard(200, {**ECHO, "errors": found})
    assert (kind_of(verdict), verdict.code) == (DOUBTFUL, "HTTP_200")
    assert verdict.message


CONTRADICTIONS = [
    ({"billNumber": "B-2"}, "billNumber was sent, but the platform's reply has another value"),
    ({"billNumber": ""}, "billNumber was sent, but the platform's reply has another value"),
    ({"billNumber": "b-1"}, "billNumber was sent"),
    ({"billNumber": ["B-1"]}, "billNumber was sent"),
    ({"billId": 1234567890123456788}, "billId was sent, but the platform's reply has another value"),
    ({"billId": 0}, "billId was sent, but the platform's reply has another value"),
    ({"billId": -1}, "billId was sent, but the platform's reply says it is unset"),
    ({"billId": -1.0}, "billId was sent, but the platform's reply says it is unset"),
    ({"billId": True}, "billId was sent, but the platform's reply has another value"),
    ({"redemptionId": "NZVAt9"}, "redemptionId was sent, but the platform's reply has another value"),
    ({"billId": -1, "billNumber": "x"}, "billNumber was sent"),
]


@pytest.mark.parametrize(("changes", "words"), CONTRADICTIONS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_echo_that_contradicts_is_in_doubt_and_not_repeated(
    changes: dict[str, Any],
    words: str,
    wrapped: bool,  # noqa: FBT001  a table
) -> None:
    """A reply about another bill or redemption is no success, and asking again would not explain it."""
    echo = {**ECHO, **changes}
    verdict = heard(200, {"data": echo, "errors": None} if wrapped else echo)
    assert (kind_of(verdict), verdict.code) == (CONTRADICTED, "ECHO_MISMATCH")
    assert words in verdict.message


def test_all_that_an_echo_contradicts_is_told() -> None:
    """A person compares all of it with the platform at once."""
    assert heard(200, {**ECHO, "billId": -1, "billNumber": "x"}).message == (
        "billNumber was sent, but the platform's reply has another value;"
        " billId was sent, but the platform's reply says it is unset"
    )


def test_only_what_was_sent_can_be_contradicted() -> None:
    """An unset bill id, or anybody's bill number, says nothing about a correction that left them alone."""
    correction = Correction(
        row_number=2,
        external_reference_number="ACR-1",
        entity_type="CUSTOMER",
        identifier_type="mobile",
        identifier_value="919900000001",
        purpose="Testing",
    )
    body = {**ECHO, "billId": -1, "billNumber": "other", "externalReferenceNumber": "ACR-1"}
    assert judge(Reply(http_status=200, body=body), correction) == SUCCESS
    other = judge(Reply(http_status=200, body={**body, "externalReferenceNumber": "ACR-2"}), correction)
    assert kind_of(other) == CONTRADICTED


@pytest.mark.parametrize(
    ("body", "warnings"),
    [
        ({**ECHO, "redemptionPurpose": "Other"}, ("the platform's reply has another purpose than was sent",)),
        ({**ECHO, "redemptionPurpose": ""}, ("the platform's reply has another purpose than was sent",)),
        ({**ECHO, "redemptionPurpose": "Testing "}, ()),
        ({**ECHO, "redemptionPurpose": None}, ()),
        (
            {**ECHO, "warnings": [{"code": 9, "message": "m"}, "n"]},
            ("the platform warns: 9 m", "the platform warns: n"),
        ),
        ({**ECHO, "warnings": {"code": 9, "message": "m"}}, ("the platform warns: 9 m",)),
        (
            {"data": {**ECHO, "warnings": ["in"]}, "warnings": ["out"]},
            ("the platform warns: out", "the platform warns: in"),
        ),
    ],
)
def test_a_success_may_have_warnings(body: dict[str, Any], warnings: tuple[str, ...]) -> None:
    """A differing purpose and the platform's own warnings, where they stand, are told and do no harm."""
    verdict = heard(200, body)
    assert kind_of(verdict) == SUCCESS
    assert verdict.warnings == warnings


def test_a_purpose_that_was_not_sent_is_no_warning() -> None:
    """The purpose of long ago may stay what it is."""
    assert judge(Reply(http_status=200, body=ECHO), replace(CORRECTION, purpose="")) == SUCCESS


@pytest.mark.parametrize(
    ("http_status", "body", "echo"),
    [
        (200, ECHO, ECHO),
        (299, {"data": ECHO, "errors": None}, ECHO),
        (200, {**ECHO, "errors": []}, {**ECHO, "errors": []}),
        (200, {**ECHO, "errors": [{"code": 750}]}, {}),
        (400, ECHO, {}),
        (200, {}, {}),
        (200, None, {}),
        (503, None, {}),
    ],
)
def test_only_a_reply_that_accepts_says_what_a_redemption_now_is(
    http_status: int, body: dict[str, Any] | None, echo: dict[str, Any]
) -> None:
    """What a refusal repeats is what was asked for, and not what there is."""
    assert echo_of(Reply(http_status=http_status, body=body)) == echo


@pytest.mark.parametrize(
    ("other", "alias"),
    [
        ("ACR-1", "ACR-1"),
        (" ACR-1 ", "ACR-1"),
        ("A" * MAX_TEXT, "A" * MAX_TEXT),
        ("A" * (MAX_TEXT + 1), ""),
        ("ACR\n1", ""),
        (7, ""),
        (None, ""),
    ],
)
def test_an_echo_names_the_other_identifier_if_it_is_a_text_that_can_be_one(other: object, alias: str) -> None:
    """By it the redemption is found when a later file calls it so; what is odd is no name."""
    by_reference = replace(CORRECTION, redemption_id="", external_reference_number="ACR-9")
    assert alias_in({"externalReferenceNumber": other, "redemptionId": "8878ru"}, CORRECTION) == alias
    assert alias_in({"redemptionId": other, "externalReferenceNumber": "ACR-9"}, by_reference) == alias


# A password that was replaced


@pytest.mark.parametrize("body", [None, {}, errors(12345), errors(750), errors(429), errors(4000)])
def test_a_401_whose_password_was_replaced_is_tried_again(body: dict[str, Any] | None) -> None:
    """It was surely not applied, and says nothing about the new password; what else it says does not count."""
    reply = Reply(
        http_status=401, body=body, unreadable="" if body is not None else "was empty", credentials_renewed=True
    )
    assert kind_of(judge(reply, CORRECTION)) == NOT_APPLIED
    assert kind_of(judge(replace(reply, credentials_renewed=False), CORRECTION)) == ACCESS_REFUSED


def older(code: object, *, success: object = False, of_the_customer: object = None) -> dict[str, Any]:
    """Return a body of the older API with this code, and with another one in its customer if that is given."""
    customer = {"customer": {"item_status": {"success": False, "code": of_the_customer}}} if of_the_customer else {}
    return {"response": {"status": {"success": success, "code": code, "message": "no"}, **customer}}


UNAUTHORIZED = [
    (401, None, True),
    (401, errors(750), True),
    (200, errors(401), True),
    (400, errors("401"), True),
    (403, errors(401.0), True),
    (500, errors(401), True),
    (400, {"errors": [{"code": 7}, {"code": 401}]}, True),
    (200, older(401), True),
    (400, older("401", success="false"), True),
    (200, older(500, of_the_customer=401), True),
    (429, errors(401), False),
    (400, {"errors": [{"code": 750}, {"code": 401}]}, False),
    (403, errors(4000), False),
    (403, None, False),
    (200, older(401, success=True), False),
    (200, older(401, of_the_customer=1012), False),
    (200, older(500), False),
    (200, {"response": None}, False),
    (200, {"response": {"status": ["401"], "customer": "401"}}, False),
    (200, ECHO, False),
    (200, {**ECHO, "code": 401}, False),
]


@pytest.mark.parametrize(("http_status", "body", "expected"), UNAUTHORIZED)
def test_who_is_refused_hears_401_in_one_form_or_another(
    http_status: int,
    body: dict[str, Any] | None,
    expected: bool,  # noqa: FBT001  a table
) -> None:
    """By the status, or by the code that counts in either API's body; the verdict says the same."""
    reply = Reply(http_status=http_status, body=body, unreadable="" if body is not None else "was empty")
    assert says_unauthorized(reply) is expected
    verdict = judge(reply, CORRECTION)
    assert (verdict.access_refused and verdict.code != "4000") is expected
    if expected:
        assert kind_of(judge(replace(reply, credentials_renewed=True), CORRECTION)) == NOT_APPLIED
        assert sign_of(reply, verdict) is Sign.ANSWERED


def test_what_a_dead_run_leaves_is_in_doubt() -> None:
    """Its code and sentence say why, and it is no answer that would be repeated by itself."""
    assert kind_of(SENT_BEFORE) == Verdict(status=Status.IN_DOUBT)
    assert (SENT_BEFORE.code, SENT_BEFORE.message) == (
        "SENT_BEFORE",
        "it may have been applied by an earlier try whose answer was never recorded",
    )


# What an answer says about the platform as a whole


def sign(http_status: int, body: Mapping[str, Any] | None = None, *, retry_after: float | None = None) -> Sign:
    """Return the sign of a reply."""
    unreadable = "" if body is not None else "was a page of HTML"
    reply = Reply(http_status=http_status, body=body, unreadable=unreadable, retry_after=retry_after)
    return sign_of(reply, judge(reply, CORRECTION))


@pytest.mark.parametrize("may_be_applied", [True, False])
def test_a_trouble_leaves_unanswered(may_be_applied: bool) -> None:  # noqa: FBT001  a table
    """No connection, or no answer on it: the platform may be gone for everybody."""
    trouble = Trouble(code="TIMEOUT", message="m", may_be_applied=may_be_applied)
    assert sign_of(trouble, judge(trouble, CORRECTION)) is Sign.UNANSWERED


@pytest.mark.parametrize("http_status", [408, 500, 501, 502, 503, 504, 520, 599])
@pytest.mark.parametrize("body", [None, {}, errors(12345), errors(500), errors(502, "")])
@pytest.mark.parametrize("retry_after", [None, 0.0, 60.0])
def test_a_servers_failure_leaves_unanswered(
    http_status: int, body: dict[str, Any] | None, retry_after: float | None
) -> None:
    """Also when it says how long to wait: behind a gateway may be nobody at all."""
    assert sign(http_status, body, retry_after=retry_after) is Sign.UNANSWERED


@pytest.mark.parametrize(
    ("http_status", "body"),
    [(200, errors(500)), (200, errors("502")), (201, errors(599.0)), (200, errors(4001)), (503, errors(4001))],
)
def test_a_failure_in_a_body_leaves_unanswered_too(http_status: int, body: dict[str, Any]) -> None:
    """Its siblings answer 200 with an error body; and nobody is served while the platform cannot ask who we are."""
    assert sign(http_status, body) is Sign.UNANSWERED


@pytest.mark.parametrize("http_status", [200, 400, 403, 429, 500, 503])
@pytest.mark.parametrize("code", [429, 517])
def test_throttling_is_a_sign_of_its_own(http_status: int, code: int) -> None:
    """It comes from somebody who is there, whatever status it has."""
    assert sign(http_status, errors(code)) is Sign.THROTTLED
    assert sign(429) is sign(429, errors(500)) is sign(429, errors(750), retry_after=9.0) is Sign.THROTTLED


@pytest.mark.parametrize(
    ("http_status", "body"),
    [
        pytest.param(200, ECHO, id="success"),
        pytest.param(200, {**ECHO, "billNumber": "B-2"}, id="contradiction"),
        pytest.param(200, None, id="unreadable"),
        pytest.param(200, {"errors": [{}]}, id="no reason"),
        pytest.param(307, None, id="redirect"),
        pytest.param(404, None, id="refusal by status"),
        *(pytest.param(status, errors(750), id=f"refusal as {status}") for status in (200, 400, 500, 503)),
        *(pytest.param(status, errors(521), id=f"busy as {status}") for status in (200, 400, 500, 503)),
        *(pytest.param(status, errors(4000), id=f"no permission as {status}") for status in (200, 403, 500, 503)),
        pytest.param(401, errors(500), id="wrong credentials"),
    ],
)
def test_whatever_else_is_an_answer(http_status: int, body: dict[str, Any] | None) -> None:
    """The platform is there and works, even if it complains about this row, or about us."""
    assert sign(http_status, body) is Sign.ANSWERED


# Whatever the platform may say


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SPOKEN = st.sampled_from([*ECHO, "errors", "data", "code", "message", "status"])
ERROR = st.fixed_dictionaries({}, optional={"code": JSON | st.sampled_from([*CODES]), "message": JSON, "status": JSON})
BODY = st.dictionaries(SPOKEN | st.text(max_size=5), JSON, max_size=6) | st.fixed_dictionaries(
    {},
    optional={"errors": st.lists(ERROR | JSON, max_size=3) | ERROR, "data": JSON, "warnings": st.lists(ERROR) | JSON},
)


@given(http_status=st.integers(0, 999) | st.sampled_from([200, 201, 400, 503]), body=BODY)
@example(http_status=200, body={"errors": [{}]})
@example(http_status=200, body={"errors": [float("nan")], "warnings": [float("inf")]})
def test_no_reply_is_too_odd_to_be_judged(http_status: int, body: dict[str, Any]) -> None:
    """Any JSON object has a verdict of printable words; with errors, or without a 2xx, it is no success."""
    verdict = heard(http_status, body)
    assert verdict.status in {Status.SUCCESS, Status.REFUSED, Status.FAILED, Status.IN_DOUBT, Status.PENDING}
    assert all(text.isprintable() for text in (verdict.code, verdict.message, *verdict.warnings))
    if verdict.status is Status.SUCCESS:
        assert 200 <= http_status < 300
        assert not body.get("errors")
    else:
        assert verdict.code
        assert verdict.message
    assert (verdict.status is Status.PENDING) == verdict.access_refused
    assert not verdict.throttled or verdict.repeat
    assert verdict.repeat or sign(http_status, body) is Sign.ANSWERED
    assert not says_unauthorized(Reply(http_status=http_status, body=body)) or verdict.access_refused
    assert (sign(http_status, body) is Sign.THROTTLED) <= verdict.throttled


@pytest.mark.parametrize("name", ["billNumber", "redemptionPurpose", "errors", "warnings"])
def test_nesting_deeper_than_python_writes_down_is_survived(name: str) -> None:
    """JSON may be nested a thousand deep, and `str` of it fails; the verdict does not."""
    deep = orjson.loads(b"[" * 1000 + b"]" * 1000)
    found = [{"code": deep, "message": deep}] if name in {"errors", "warnings"} else deep
    verdict = heard(200, {**ECHO, name: found})
    expected = {"billNumber": CONTRADICTED, "errors": REFUSED}
    assert kind_of(verdict) == expected.get(name, SUCCESS)


def test_what_is_nested_too_deeply_to_be_shown_is_said_to_be() -> None:
    """A person who reads it knows that there was something, and why it is not there."""
    deep = orjson.loads(b"[" * 1000 + b"]" * 1000)
    verdict = heard(400, {"errors": [{"code": 748, "message": deep}]})
    assert (verdict.code, verdict.message) == ("748", "(too deeply nested to be shown)")
