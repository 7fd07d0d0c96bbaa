"""Masking: what may travel holds no identifier, and still says what happened."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from bulkredeem.masking import mask
from bulkredeem.model import Column

PLACEHOLDERS = {*map(str, Column), "email", "number"}
IDENTIFIERS = st.from_regex(r"\w[^<>]{4,18}\w|\w[A-Za-z0-9@.+_-]{4,18}\w|[0-9]{3}[:. -][a-z0-9]{3,12}", fullmatch=True)
SURROUNDINGS = st.text(max_size=20) | st.text(alphabet="aB1 _-@<.", max_size=20)


def stands_as_a_word_in(text: str, value: str) -> bool:
    """Say whether the value stands there, beside no further letter or digit."""
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None


@pytest.mark.parametrize(
    ("column", "value", "text", "masked"),
    [
        (Column.REDEMPTION_ID, "8878ru", "redemption 8878ru not found", "redemption <redemptionId> not found"),
        (Column.REDEMPTION_ID, "8878ru", "'8878ru',8878RU.", "'<redemptionId>',<redemptionId>."),
        (Column.EXTERNAL_REFERENCE_NUMBER, "ACR-5801", "ACR-5801 is gone", "<externalReferenceNumber> is gone"),
        (Column.IDENTIFIER_VALUE, "asha@example.com", "no asha@example.com", "no <identifierValue>"),
        (Column.IDENTIFIER_VALUE, "919777000001", "mobile:919777000001", "mobile:<identifierValue>"),
        (Column.IDENTIFIER_VALUE, "a.c*(x", "abc*(x a.c*(x", "abc*(x <identifierValue>"),
        (Column.IDENTIFIER_VALUE, "Asha Rao", "for Asha Rao only", "for <identifierValue> only"),
        (Column.IDENTIFIER_VALUE, r"\1", r"group \1", "group <identifierValue>"),
        (Column.IDENTIFIER_VALUE, "Åsa1", "är åsa1 där", "är <identifierValue> där"),
    ],
)
def test_identifiers_of_every_kind_give_way_to_their_column(column: str, value: str, text: str, masked: str) -> None:
    """A value disappears whatever its kind, case and characters, and the column's name says what stood there."""
    assert mask(text, {column: value}) == masked


@pytest.mark.parametrize(
    ("value", "text"), [("12", "error 512 of 3"), ("id", "invalid"), ("750", "code 7501"), ("ru", "8878ru")]
)
def test_only_whole_words_are_identifiers(value: str, text: str) -> None:
    """A short identifier does not eat a part of another word."""
    assert mask(text, {Column.REDEMPTION_ID: value}) == text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("customer 919777000002 is locked", "customer <number> is locked"),
        ("bill number7939623972", "bill <number>"),
        ("ask ravi.k@example.com, please", "ask <email>, please"),
        ("<mailto:ravi@example.com>", "<mailto:<email>>"),
        ("error 750, HTTP 400, code 99999", "error 750, HTTP 400, code 99999"),
        ("", ""),
    ],
)
def test_what_looks_like_an_identifier_goes_too(text: str, masked: str) -> None:
    """Another customer's number or address in the platform's words is masked; codes and statuses stay."""
    assert mask(text, {}) == masked


def test_messages_that_differ_in_an_identifier_become_one() -> None:
    """Four hundred rows refused for one reason are one group."""
    texts = [
        mask(f"redemption r{n}x of {n} not found", {"redemptionId": f"r{n}x", "identifierValue": str(n)})
        for n in range(400)
    ]
    assert set(texts) == {"redemption <redemptionId> of <identifierValue> not found"}


@pytest.mark.parametrize("order", [1, -1])
def test_an_identifier_inside_another_leaves_nothing_of_it(order: int) -> None:
    """The longer one goes first, so that no rest of it stays, whichever column comes first."""
    pairs = [(Column.IDENTIFIER_VALUE, "ACR-77"), (Column.EXTERNAL_REFERENCE_NUMBER, "ACR-77-Rao")]
    assert mask("see ACR-77-Rao", dict(pairs[::order])) == "see <externalReferenceNumber>"


def test_an_empty_identifier_masks_nothing() -> None:
    """A row without a value for a column does not make its name appear everywhere."""
    assert mask("a b", {Column.REDEMPTION_ID: ""}) == "a b"


@given(before=SURROUNDINGS, value=IDENTIFIERS, after=SURROUNDINGS)
@example(before="123456", value="abcdef", after=" abcdef")
@example(before="_", value="8878ru", after="")
def test_no_identifier_is_left_as_a_word(before: str, value: str, after: str) -> None:
    """In no text does an identifier of six and more characters remain as a word of its own.

    That is promised of one that begins and ends with a letter, a digit or `_`: of another, such as `12345:`, nobody can
    say where its word ends. What a placeholder itself says (`number`) is no leak, so such identifiers are left out.
    """
    assume(not any(stands_as_a_word_in(f"<{word}>", value) for word in PLACEHOLDERS))
    masked = mask(before + value + after, {Column.IDENTIFIER_VALUE: value})
    assert not stands_as_a_word_in(masked, value)


@pytest.mark.parametrize("text", ["a" * 1_000_000, "1a" * 500_000, "a@" * 500_000, "@" * 1_000_000])
def test_a_megabyte_without_a_blank_is_masked_in_its_time(text: str) -> None:
    """The time grows with the text, not with its square: pytest would not wait so long."""
    assert mask(text, {Column.REDEMPTION_ID: "8878ru"}).replace("<email>", "a@a") == text


@pytest.mark.parametrize("written", ["+91 97770-00000", "91-97770-00000", "(91) 9777 000 000", "97770 00000"])
def test_a_telephone_number_is_found_however_it_is_written(written: str) -> None:
    """The platform need not repeat a number in the form in which it was sent."""
    assert mask(f"no customer {written} here", {}).replace("(", "") == "no customer <number> here"
