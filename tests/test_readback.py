"""The read-back: whom to ask for, and what a reply of the older API says, in all the forms it may come in."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.model import Correction
from bulkredeem.readback import UNREADABLE, Current, Page, Refusal, customer_query, find, read_page
from bulkredeem.sandbox.replies import no_customer, redemptions_found
from bulkredeem.sandbox.values import Redemption

ASHA = Correction(
    row_number=2,
    redemption_id="8878ru",
    entity_type="CUSTOMER",
    identifier_type="mobile",
    identifier_value="919900000001",
    bill_number="B-1",
)
BY_REFERENCE = replace(ASHA, redemption_id="", external_reference_number="ACR-1")


def body_of(point: object, **customer: Any) -> dict[str, Any]:
    """Return a reply's body with this in the place of its redemptions."""
    redemptions = {"points": {"point": point}}
    status = {"success": True, "code": 200, "message": "Success"}
    return {"response": {"status": status, "customer": {"redemptions": redemptions, **customer}}}


def one(**point: Any) -> Current:
    """Read a page of a single redemption."""
    page = read_page(body_of([point]))
    assert isinstance(page, Page)
    (current,) = page.currents
    return current


# Whom to ask for


@pytest.mark.parametrize(
    ("identifier_type", "name"),
    [
        ("mobile", "mobile"),
        ("email", "email"),
        ("externalId", "external_id"),
        ("id", "id"),
        ("EXTERNALID", "external_id"),
    ],
)
@pytest.mark.parametrize("entity_type", ["CUSTOMER", "Customer"])
def test_a_customer_is_named_as_the_older_api_names_it(entity_type: str, identifier_type: str, name: str) -> None:
    """Show the query's word for each kind of identifier, whatever the case of the row's words."""
    correction = replace(ASHA, entity_type=entity_type, identifier_type=identifier_type)
    assert customer_query(correction) == {name: "919900000001"}


@pytest.mark.parametrize(
    ("entity_type", "identifier_type"),
    [("FLEET", "mobile"), ("USERGROUP2", "id"), ("CUSTOMER", "cardnumber"), ("CUSTOMER", "cardExternalId")],
)
def test_some_customers_cannot_be_asked_for(entity_type: str, identifier_type: str) -> None:
    """Fleets, groups and cards have no read-back."""
    assert customer_query(replace(ASHA, entity_type=entity_type, identifier_type=identifier_type)) is None


# Which redemption it is


def test_a_redemption_is_found_by_its_id_or_by_its_reference() -> None:
    """Show that a row's own way of naming it decides, and nothing else that is alike."""
    other, wanted = Current(redemption_id="ACR-1"), Current(redemption_id="8878ru", external_reference_number="ACR-1")
    assert find(ASHA, [other, wanted]) is wanted
    assert find(BY_REFERENCE, [other, wanted]) is wanted


def test_a_redemption_is_found_exactly_or_not_at_all() -> None:
    """Another case, a blank, or no name at all is another redemption."""
    others = [Current(), Current(redemption_id="8878RU"), Current(redemption_id="8878ru ")]
    assert find(ASHA, others) is None
    assert find(BY_REFERENCE, others) is None


# What a reply says


def test_every_field_is_read_from_the_reply_of_the_sandbox() -> None:
    """Show where each of them stands, the bill id exact to its last digit."""
    redemption = Redemption(
        redemption_id="8878ru",
        external_reference_number="ACR-1",
        customer_key=("CUSTOMER", "mobile", "919900000001"),
        bill_number="B-1",
        bill_id=2**63 - 1,
        purpose="Testing",
        custom_fields={"card_number": "123456"},
    )
    page = read_page(json.loads(redemptions_found([redemption], identifier={}).body or b""))
    current = Current(
        redemption_id="8878ru",
        external_reference_number="ACR-1",
        bill_number="B-1",
        bill_id=2**63 - 1,
        purpose="Testing",
        custom_fields={"card_number": "123456"},
    )
    assert page == Page(currents=(current,))


@pytest.mark.parametrize(
    ("found", "bill_id"),
    [
        ("12345", 12345),
        (12345, 12345),
        (12345.0, 12345),
        ("12345.0", 12345),
        (" 7 ", 7),
        ("9223372036854775807", 2**63 - 1),
        (2**63 - 1, 2**63 - 1),
        ("-1", None),
        (-1, None),
        (-1.0, None),
        ("0", None),
        ("", None),
        (None, None),
        ([], None),
    ],
)
def test_a_bill_id_may_be_a_text_or_a_number(found: object, bill_id: int | None) -> None:
    """Show each form of a bill id and of none."""
    assert one(redemption_id="8878ru", bill_id=found).bill_id == bill_id


@pytest.mark.parametrize("found", ["ABC123", "1.5", 1.5, "1_000", "٣", True, 1e18, ["7"], {"id": 7}])
def test_a_bill_id_is_never_guessed(found: object) -> None:
    """What is no whole number, or has lost digits, is not taken for none."""
    page = read_page(body_of([{"redemption_id": "8878ru", "bill_id": found}]))
    assert isinstance(page, Refusal)
    assert page.code == UNREADABLE
    assert page.message.startswith("bill_id ")


@pytest.mark.parametrize(
    ("found", "custom_fields"),
    [
        ({"field": [{"name": "a", "value": "1"}, {"name": "b", "value": 2}]}, {"a": "1", "b": "2"}),
        ({"field": {"name": "a", "value": "1"}}, {"a": "1"}),
        ({"field": []}, {}),
        ([{"name": "a", "value": "1"}], {"a": "1"}),
        ([{"name": "a"}], {"a": ""}),
        ({"a": "1", "b": None}, {"a": "1", "b": ""}),
        ({"field": "green"}, {"field": "green"}),
        ({}, {}),
        ([], {}),
        ("", {}),
        (None, {}),
    ],
)
def test_custom_fields_may_be_a_list_or_a_map(found: object, custom_fields: dict[str, str]) -> None:
    """Show each form of custom fields and of none; a map may well have a field of the name `field`."""
    assert one(custom_fields=found).custom_fields == custom_fields


def test_what_a_redemption_does_not_say_is_empty() -> None:
    """Show that a redemption without any of its keys is one nevertheless."""
    assert one(notes="Redeemed") == Current()


def test_a_number_in_the_place_of_a_text_is_its_text() -> None:
    """Show that identifiers of digits are found although the platform sends them as numbers."""
    assert find(replace(ASHA, redemption_id="123456"), [one(redemption_id=123456.0)]) is not None
    assert one(transaction_number=5, redemption_purpose=1.5) == Current(bill_number="5", purpose="1.5")


def test_a_single_redemption_may_come_without_its_list() -> None:
    """Show an object in the place of a list of one."""
    assert read_page(body_of({"redemption_id": "8878ru"})) == Page(currents=(Current(redemption_id="8878ru"),))


@pytest.mark.parametrize(
    "customer",
    [
        {},
        {"redemptions": None},
        {"redemptions": ""},
        {"redemptions": {}},
        {"redemptions": {"points": []}},
        {"redemptions": {"points": {}}},
        {"redemptions": {"points": {"point": None}}},
        {"redemptions": {"points": {"point": []}}},
    ],
)
def test_a_customer_without_redemptions_is_an_empty_page(customer: dict[str, Any]) -> None:
    """Show every way to say that there are none."""
    assert read_page({"response": {"status": {"success": "true"}, "customer": customer}}) == Page(currents=())


def test_an_unknown_customer_is_a_refusal() -> None:
    """Show that the inner code counts, which says what is wrong, and not the outer one, which says that all is."""
    reply = no_customer(1012, "Cannot find customer", identifier={"mobile": "919900000009"})
    assert read_page(json.loads(reply.body or b"")) == Refusal(code="1012", message="Cannot find customer")


@pytest.mark.parametrize(
    ("response", "refusal"),
    [
        ({"status": {"success": "false", "code": "500", "message": "m"}}, Refusal(code="500", message="m")),
        ({"status": {"success": False}, "customer": {"redemptions": {}}}, Refusal(code="", message="")),
        ({"customer": {"item_status": {"success": "False", "code": 1012.0}}}, Refusal(code="1012", message="")),
    ],
)
def test_a_failure_may_be_told_in_either_place(response: dict[str, Any], refusal: Refusal) -> None:
    """Show the outer status alone, the inner one alone, and texts for truth and numbers."""
    assert read_page({"response": response}) == refusal


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"response": None},
        {"response": "down for maintenance"},
        {"response": {"status": {"success": True}}},
        {"response": {"customer": "Asha"}},
        {"response": {"customer": {"redemptions": "none"}}},
        {"response": {"customer": {"redemptions": {"points": 7}}}},
        body_of("8878ru"),
        body_of([7]),
        body_of([{"redemption_id": ["8878ru"]}]),
        body_of([{"redemption_id": 1e300}]),
        body_of([{"custom_fields": 7}]),
        body_of([{"custom_fields": [7]}]),
    ],
)
def test_what_is_no_page_is_unreadable(body: dict[str, Any]) -> None:
    """Show that it is told apart from a customer without redemptions, and that the message quotes nothing."""
    page = read_page(body)
    assert isinstance(page, Refusal)
    assert page.code == UNREADABLE
    assert "8878ru" not in page.message


KEYS = ["response", "customer", "status", "item_status", "success", "code", "message", "redemptions", "points", "point"]
POINT_KEYS = ["redemption_id", "bill_id", "custom_fields", "field", "name", "value"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS + POINT_KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(found=JSON)
def test_no_reply_is_too_odd(found: object) -> None:
    """Whatever stands in the place of a body, a response, a customer or its redemptions, an answer comes back."""
    bodies = [found if isinstance(found, dict) else {}, {"response": found}, {"response": {"customer": found}}]
    for body in (*bodies, body_of(found), body_of([{"custom_fields": found, "bill_id": found}])):
        assert isinstance(read_page(body), Page | Refusal)


# What it holds


def test_a_value_is_asked_for_by_the_name_of_its_column() -> None:
    """Show the text of every field."""
    current = Current(bill_number="B-1", bill_id=2**63 - 1, purpose="Testing", custom_fields={"a.b": "1"})
    named = {"billNumber": "B-1", "billId": "9223372036854775807", "purpose": "Testing", "customFields.a.b": "1"}
    assert {name: current.value_of(name) for name in named} == named


@pytest.mark.parametrize("name", ["billNumber", "billId", "purpose", "customFields.a", "identifierValue"])
def test_a_value_that_is_not_there_is_empty(name: str) -> None:
    """Show it for a redemption of which nothing is known."""
    assert Current().value_of(name) == ""


@given(
    bill_number=st.text(max_size=9),
    bill_id=st.none() | st.integers(1, 2**63 - 1),
    purpose=st.text(max_size=9),
    custom_fields=st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=3),
)
def test_what_the_platform_keeps_comes_back_as_it_is(
    bill_number: str, bill_id: int | None, purpose: str, custom_fields: dict[str, str]
) -> None:
    """Show that no text and no number is changed on the way."""
    redemption = Redemption(
        redemption_id="8878ru",
        external_reference_number="",
        customer_key=("CUSTOMER", "mobile", "919900000001"),
        bill_number=bill_number,
        bill_id=-1 if bill_id is None else bill_id,
        purpose=purpose,
        custom_fields=custom_fields,
    )
    page = read_page(json.loads(redemptions_found([redemption], identifier={}).body or b""))
    assert isinstance(page, Page)
    current = Current(
        redemption_id="8878ru",
        bill_number=bill_number,
        bill_id=bill_id,
        purpose=purpose,
        custom_fields=custom_fields,
    )
    assert page.currents == (current,)
