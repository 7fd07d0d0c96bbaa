"""The values: rates as people write them, and the keys that keep two requests from being under way at once."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkredeem.model import DONE, Ceiling, Column, Correction, Rate, Status


def correction(**changes: str) -> Correction:
    """Build a sendable correction."""
    plain = Correction(
        row_number=2,
        redemption_id="8878ru",
        entity_type="CUSTOMER",
        identifier_type="mobile",
        identifier_value="919777000001",
        bill_number="INV-1",
    )
    return replace(plain, **changes)  # type: ignore[arg-type]  # the fields changed here are all text


@pytest.mark.parametrize(
    ("text", "requests", "per_seconds", "interval"),
    [
        ("100/min", 100, 60, 0.6),
        ("20/s", 20, 1, 0.05),
        ("5000/hour", 5000, 3600, 0.72),
        ("1/sec", 1, 1, 1.0),
        ("60/minute", 60, 60, 1.0),
        ("1/h", 1, 3600, 3600.0),
        ("0.5/s", 0.5, 1, 2.0),
        (" 100 / MIN ", 100, 60, 0.6),
        ("7/second", 7, 1, 1 / 7),
        ("3/m", 3, 60, 20.0),
    ],
)
def test_a_rate_is_read_as_people_write_it(text: str, requests: float, per_seconds: int, interval: float) -> None:
    """Number, unit and the time between two requests come out of what a person wrote."""
    rate = Rate.parse(text)
    assert (rate.requests, rate.per_seconds) == (requests, per_seconds)
    assert rate.interval == pytest.approx(interval)
    assert rate.text == text.strip()


@pytest.mark.parametrize("text", ["none", "None", " NONE "])
def test_no_limit_has_no_interval(text: str) -> None:
    """`none` means that requests need not wait for each other."""
    rate = Rate.parse(text)
    assert rate.requests == math.inf
    assert rate.interval == 0.0
    assert rate.text == "none"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "100",
        "/min",
        "100/",
        "0/s",
        "0.0/min",
        "-1/s",
        "100/day",
        "1e3/s",
        "nan/s",
        "inf/s",
        "100/min/s",
        "1,000/min",
    ],
)
def test_anything_else_is_refused_with_a_sentence(text: str) -> None:
    """What is no rate is named, and the message shows how to write one."""
    with pytest.raises(ValueError, match="is not a rate; write it like 100/min") as caught:
        Rate.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "rates", "is_auto"),
    [
        ("100/min", ["100/min"], False),
        ("20/s,1000/min", ["20/s", "1000/min"], False),
        (" 20 / s , 1000/min ,5000/hour", ["20 / s", "1000/min", "5000/hour"], False),
        ("none", [], False),
        (" None ", [], False),
        ("auto", [], True),
        ("AUTO", [], True),
    ],
)
def test_a_ceiling_is_rates_or_none_or_the_search(text: str, rates: list[str], is_auto: bool) -> None:  # noqa: FBT001
    """Several rates stand side by side; `none` and `auto` have none."""
    ceiling = Ceiling.parse(text)
    assert [rate.text for rate in ceiling.rates] == rates
    assert ceiling.is_auto is is_auto


@pytest.mark.parametrize(
    ("text", "named", "why"),
    [
        ("", "''", "write it like 100/min"),
        ("fast", "'fast'", "write it like 100/min"),
        ("20/s,", "''", "write it like 100/min"),
        ("20/s;1000/min", "'20/s;1000/min'", "write it like 100/min"),
        ("1,000/min", "'1'", "write it like 100/min"),
        ("20/s,0/min", "'0/min'", "write it like 100/min"),
        ("20/s,none", "'20/s,none'", "none stands alone"),
        ("none,none", "'none,none'", "none stands alone"),
        ("20/s,auto", "'auto'", "write it like 100/min"),
        ("auto,20/s", "'auto'", "write it like 100/min"),
    ],
)
def test_any_other_ceiling_is_refused_with_a_sentence(text: str, named: str, why: str) -> None:
    """The part that is no rate is named, and what to do."""
    with pytest.raises(ValueError, match=f"is not a rate.*{why}") as caught:
        Ceiling.parse(text)
    assert str(caught.value).startswith(named)


@pytest.mark.parametrize(
    ("requests_per_second", "text"),
    [
        (1.0, "60/min"),
        (0.982, "59/min"),
        (200.4, "200/s"),
        (48.6, "49/s"),
        (9.999, "600/min"),
        (10.0, "10/s"),
        (4_987.0, "5000/s"),
        (100 / 60, "100/min"),
        (5 / 60, "300/hour"),
        (1 / 3600, "1/hour"),
        (1e-9, "1/hour"),
    ],
)
def test_a_rate_is_said_as_people_say_it(requests_per_second: float, text: str) -> None:
    """Two digits are all that was learnt, in a unit that makes a number of them."""
    assert Rate.about(requests_per_second).text == text


@given(st.floats(1 / 3600, 5_000))
@example(1.5 / 3600)
def test_what_is_said_is_near_what_was_learnt(requests_per_second: float) -> None:
    """From one an hour to thousands a second: to the second digit, or to a whole request where there is but one."""
    said = Rate.about(requests_per_second)
    assert Rate.parse(said.text) == said
    per_unit = requests_per_second * said.per_seconds
    assert abs(said.requests - per_unit) <= max(0.0501 * per_unit, 0.5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"identifier_value": "Asha@Example.com"}, {"identifier_value": "asha@example.com"}),
        ({"identifier_type": "Mobile"}, {"identifier_type": "mobile"}),
        ({"entity_type": "customer"}, {"entity_type": "CUSTOMER"}),
        ({"redemption_id": "NZVAt9"}, {"redemption_id": "8878ru"}),
    ],
)
def test_one_customer_has_one_key(one: dict[str, str], other: dict[str, str]) -> None:
    """Neither case nor another redemption makes another customer."""
    assert correction(**one).customer_key == correction(**other).customer_key


@pytest.mark.parametrize(
    "change", [{"identifier_value": "919777000002"}, {"identifier_type": "id"}, {"entity_type": "FLEET"}]
)
def test_another_customer_has_another_key(change: dict[str, str]) -> None:
    """Entity type, identifier type and identifier value all tell customers apart."""
    assert correction(**change).customer_key != correction().customer_key


def test_redemption_ids_differ_by_case() -> None:
    """`NZVAt9` and `NZVAT9` are two redemptions: the platform's ids use both cases."""
    assert correction(redemption_id="NZVAt9").redemption_key != correction(redemption_id="NZVAT9").redemption_key


def test_the_two_identifiers_of_a_redemption_are_never_confused() -> None:
    """An external reference spelt like a redemption id is another redemption."""
    by_reference = correction(redemption_id="", external_reference_number="8878ru")
    assert by_reference.redemption_key != correction().redemption_key


def test_a_redemption_is_never_taken_for_a_customer() -> None:
    """Both kinds of key can live in one table of what is under way."""
    row = correction(redemption_id="x", entity_type="x", identifier_type="x", identifier_value="x")
    assert row.redemption_key != row.customer_key


def test_only_filled_identifiers_are_named_for_masking() -> None:
    """What must be masked is named by its column, and an empty identifier is not among it."""
    assert correction().identifiers == {
        Column.REDEMPTION_ID: "8878ru",
        Column.IDENTIFIER_VALUE: "919777000001",
    }


def test_nothing_but_success_and_skipped_is_done() -> None:
    """The statuses nobody must act upon are these two, whatever is added later."""
    assert {Status.SUCCESS, Status.SKIPPED} == DONE
