"""What the values of a file look like, counted in flat memory, and what is unusual about them."""

from __future__ import annotations

import json
import random
import re
import tracemalloc
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkredeem.profile import (
    BATCH,
    COUNTED,
    ENOUGH_PROFILES,
    LOOKED_AT,
    SHAPED,
    SHAPES,
    SHAPES_HELD,
    FieldProfile,
    Finding,
    Profile,
    Profiler,
    remarks,
    shapes_of,
)

BILL, BILL_ID, PURPOSE, CARD = "billNumber", "billId", "purpose", "customFields.card_number"
SHORT = st.text(alphabet="aB1 -/\0\nक९", min_size=1, max_size=6)
ROWS = st.lists(st.dictionaries(st.sampled_from([BILL, PURPOSE, CARD]), SHORT), max_size=12)
VALUES = st.text(min_size=1, max_size=60) | SHORT


def profile_of(rows: Iterable[Mapping[str, str]]) -> Profile:
    """Return the profile of these rows."""
    profiler = Profiler()
    for values in rows:
        profiler.add(values)
    return profiler.profile()


def of_values(values: Iterable[str]) -> FieldProfile:
    """Return the profile of one field with these values."""
    return profile_of({BILL: value} for value in values).fields[BILL]


# Counting


def test_a_field_is_described() -> None:
    """Show every figure of a small file: who sets the field, how many values there are, and what they look like."""
    profile = profile_of(
        [
            {BILL: "INV-2024/77", PURPOSE: "Diwali"},
            {BILL: "INV-2024/78"},
            {BILL: "B2"},
            {BILL: "INV-2024/77", BILL_ID: "12345"},
            {},
        ]
    )
    assert profile.rows == 5
    assert list(profile.fields) == [BILL, PURPOSE, BILL_ID]
    assert profile.fields[BILL] == FieldProfile(
        filled=4,
        distinct=3,
        shortest=2,
        longest=11,
        shapes=(("A-9/9", 3), ("A9", 1)),
        example=("INV-2024/77", "INV-2024/78", "B2"),
    )
    assert profile.fields[BILL_ID] == FieldProfile(
        filled=1, distinct=1, shortest=5, longest=5, shapes=(("9", 1),), example=("12345",)
    )


def test_a_file_without_rows_has_a_profile() -> None:
    """It is an empty one."""
    assert profile_of([]) == Profile(rows=0, fields={})


@given(rows=ROWS, cuts=st.sets(st.integers(0, 12), max_size=4))
def test_every_figure_is_what_counting_by_hand_finds(rows: Sequence[Mapping[str, str]], cuts: set[int]) -> None:
    """Also when the profile is asked for on the way, which counts what waits in smaller parts."""
    profiler = Profiler()
    for number, row in enumerate(rows):
        profiler.add(row)
        if number in cuts:
            assert profiler.profile().rows == number + 1
    profile = profiler.profile()
    assert profile.rows == len(rows)
    assert set(profile.fields) == {name for values in rows for name in values}
    for name, field in profile.fields.items():
        values = [row[name] for row in rows if name in row]
        assert (field.filled, field.distinct) == (len(values), len(set(values)))
        assert (field.shortest, field.longest) == (min(map(len, values)), max(map(len, values)))
        assert field.example == tuple(dict.fromkeys(values))[:3]
        shapes = Counter(shape for value in values for shape in shapes_of([value]))
        assert sorted(count for _, count in field.shapes) == sorted(count for _, count in shapes.most_common(SHAPES))
        assert all(shapes[shape] == count for shape, count in field.shapes)


def test_batches_add_up() -> None:
    """Figures of more rows than are looked at together are those of all of them."""
    rows = 2 * BATCH + 17
    field = of_values(f"B-{number % 7}" if number else "first of all" for number in range(rows))
    assert (field.filled, field.distinct, field.shortest, field.longest) == (rows, 8, 3, 12)
    assert field.shapes == (("A-9", rows - 1), ("A A A", 1))
    assert field.example == ("first of all", "B-1", "B-2")


def test_distinct_values_are_exact_while_they_are_few() -> None:
    """One fewer than are counted one by one, each many times, is exactly so many."""
    values = [f"B-{number}" for number in range(COUNTED - 1)]
    assert of_values(10 * values).distinct == COUNTED - 1


@pytest.mark.parametrize("distinct", [COUNTED, 2_000, 20_000])
@pytest.mark.parametrize("form", ["B-{}", "{:019}", "INV-2026/{}-X"])
def test_many_distinct_values_are_estimated(distinct: int, form: str) -> None:
    """Numbers that count on are as good as random ones, and seeing each three times changes nothing."""
    values = [form.format(number) for number in range(distinct)]
    field = of_values(3 * values)
    assert field.distinct == pytest.approx(distinct, rel=0.12)
    assert field.distinct == of_values(random.Random(7).sample(values, distinct) * 3).distinct  # noqa: S311  an order, no secret


def test_more_of_the_same_changes_no_estimate() -> None:
    """Only values that were not there before count."""
    values = [f"B-{number}" for number in range(5 * BATCH)]
    assert of_values(values + 2 * BATCH * ["B-1"]).distinct == of_values(values).distinct


@pytest.mark.parametrize("form", ["B-{}", "{:06}", "R{}", "{}/24", "INV {}"])
def test_there_are_never_more_distinct_values_than_rows(form: str) -> None:
    """An estimate may be too high or too low; it never passes the rows, and what was counted counts."""
    for count in (COUNTED, COUNTED + 1, COUNTED + 50, COUNTED + 200, 2 * COUNTED):
        field = of_values(form.format(number) for number in range(count))
        assert COUNTED <= field.distinct <= field.filled == count


def test_memory_does_not_grow_with_the_rows() -> None:
    """Distinct values of ever new shapes, and ever new words, leave no more behind than the first few thousand."""

    def rows(count: int) -> Iterable[Mapping[str, str]]:
        for number in range(count):
            pattern = f"{number:b}".replace("1", "x-").replace("0", "7/")
            yield {BILL: f"INV-{number}", PURPOSE: pattern}

    tracemalloc.start()
    try:
        profile_of(rows(20_000))
        _, few = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        profile_of(rows(60_000))
        _, many = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert many < 2_000_000
    assert many < 1.2 * few


# Shapes


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("INV-2024/77", "A-9/9"),
        ("12345", "9"),
        ("B2", "A9"),
        ("store 12, Pune", "A 9, A"),
        ("a--1__b", "A--9__A"),
        ("Åsa", "A"),
        ("दिवाली ९९", "A 9"),
        ("伝票12", "A9"),
        ("", ""),
        ("x" * SHAPED + "1", "A"),
    ],
)
def test_a_shape_tells_letters_from_digits(value: str, shape: str) -> None:
    """Runs become one sign, in every script; what stands between stays; the end of a long value does not matter."""
    assert shapes_of([value]) == [shape]


@given(values=st.lists(VALUES, max_size=20))
@example(values=["A\0B", "1"])
@example(values=[])
def test_a_value_has_its_shape_whatever_stands_beside_it(values: list[str]) -> None:
    """Shaping many at once is shaping each."""
    assert shapes_of(values) == [shape for value in values for shape in shapes_of([value])]


@given(value=VALUES)
def test_a_shape_holds_nothing_of_the_value_but_its_signs(value: str) -> None:
    """No letter and no digit of a customer travels in it."""
    (shape,) = shapes_of([value])
    assert re.fullmatch(r"[A9\x00-/:-@\[-`{-\x7f]*", shape)
    assert "AA" not in shape
    assert "99" not in shape


def test_a_shape_that_stays_is_found_among_any_number_that_do_not() -> None:
    """Counting on only the most common ones does not lose one that every tenth value has."""
    signs = ".,:;!?+*#%"
    field = of_values(
        "B-7" if number % 10 == 0 else "".join(signs[int(digit)] for digit in str(number)) + "x"
        for number in range(20 * SHAPES_HELD)
    )
    assert field.shapes[0] == ("A-9", 2 * SHAPES_HELD)
    assert len(field.shapes) == SHAPES


# Storing


@given(rows=ROWS)
def test_a_stored_profile_is_the_same_without_its_examples(rows: Sequence[Mapping[str, str]]) -> None:
    """It goes through JSON and back, and is stored again as it was."""
    profile = profile_of(rows)
    stored = json.loads(json.dumps(profile.as_json_object()))
    read = Profile.from_json_object(stored)
    assert read.rows == profile.rows
    assert list(read.fields) == list(profile.fields)
    assert read.as_json_object() == profile.as_json_object()
    assert all(field.example == () for field in read.fields.values())


def test_no_value_is_stored() -> None:
    """The text that is stored has no cell in it."""
    stored = json.dumps(profile_of([{BILL: "INV-77", CARD: "40123", PURPOSE: "Asha Rao"}]).as_json_object())
    assert not [value for value in ("INV", "77", "40123", "Asha", "Rao") if value in stored]


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"rows": 1},
        {"rows": 1, "fields": []},
        {"rows": "many", "fields": {}},
        {"rows": 1, "fields": {BILL: {}}},
        {"rows": 1, "fields": {BILL: None}},
        {"rows": 1, "fields": {BILL: {"filled": 0, "distinct": 0, "shortest": 0, "longest": 0, "shapes": []}}},
        {"rows": 1, "fields": {BILL: {"filled": 1, "distinct": 1, "shortest": 1, "longest": 1, "shapes": [["A"]]}}},
    ],
)
def test_what_is_no_profile_is_not_read_as_one(stored: Any) -> None:
    """What a later version or a slip has written is refused."""
    with pytest.raises(ValueError, match="what is stored is no profile"):
        Profile.from_json_object(stored)


# What is unusual


def seen(
    field: str = BILL,
    shapes: Mapping[str, int] | None = None,
    *,
    filled: int = 2_000,
    distinct: int = 2_000,
    lengths: tuple[int, int] = (10, 12),
) -> Profile:
    """Return the profile of a file that sets one field; without shapes, all its values are like A-9."""
    of_field = FieldProfile(
        filled=filled,
        distinct=distinct,
        shortest=lengths[0],
        longest=lengths[1],
        shapes=tuple((shapes or {"A-9": filled}).items()),
    )
    return Profile(rows=filled, fields={field: of_field})


def found(profile: Profile, earlier: Sequence[Profile]) -> list[tuple[str, bool]]:
    """Return sentence and alarm of each finding."""
    return [(finding.sentence, finding.is_alarming) for finding in remarks(profile, earlier)]


USUAL = [seen()] * ENOUGH_PROFILES
"""Earlier nights: each row with a bill number of its own, 10 to 12 characters like A-9."""


def test_a_file_like_those_before_is_not_spoken_of() -> None:
    """Nothing is told where nothing is unusual."""
    assert remarks(seen(), USUAL) == ()


def test_one_bill_number_for_all_rows_is_alarming() -> None:
    """Somebody has filled a column with its first cell."""
    (finding,) = remarks(seen(distinct=3), USUAL)
    sentence = "billNumber: 3 distinct values in 2,000 rows; usually one each"
    assert finding == Finding(field=BILL, sentence=sentence, is_alarming=True)


def test_numbers_of_another_shape_are_alarming() -> None:
    """Somebody has sent the column of another number."""
    sentence = "billNumber: looks like 9; usually like A-9"
    assert found(seen(BILL, {"9": 2_000}), USUAL) == [(sentence, True)]


@pytest.mark.parametrize(
    ("lengths", "own"), [((4, 6), "4 to 6"), ((9, 9), "9"), ((13, 1_300), "13 to 1,300")], ids=["short", "one", "long"]
)
def test_numbers_of_another_length_are_told(lengths: tuple[int, int], own: str) -> None:
    """It is no alarm: the ten-thousandth bill has a digit more than those before."""
    sentence = f"billNumber: {own} characters long; usually 10 to 12"
    assert found(seen(lengths=lengths), USUAL) == [(sentence, False)]


@pytest.mark.parametrize("lengths", [(1, 10), (12, 50), (11, 11), (1, 50)])
def test_a_length_that_was_seen_before_is_nothing_unusual(lengths: tuple[int, int]) -> None:
    """All of them must be new, not some."""
    assert found(seen(lengths=lengths), USUAL) == []


def test_all_that_is_unusual_is_told() -> None:
    """A column may be wrong in three ways at once, and each field is looked at."""
    both = Profile(
        rows=2_000,
        fields={
            **seen(BILL, {"9": 2_000}, distinct=1, lengths=(4, 4)).fields,
            **seen(BILL_ID, {"9": 2_000}, distinct=1).fields,
        },
    )
    earlier = [Profile(rows=2_000, fields={**seen(BILL).fields, **seen(BILL_ID, {"9": 2_000}).fields})] * 3
    assert [(finding.field, finding.is_alarming) for finding in remarks(both, earlier)] == [
        (BILL, True),
        (BILL, False),
        (BILL, True),
        (BILL_ID, True),
    ]


@pytest.mark.parametrize("field", [PURPOSE, CARD])
def test_free_text_is_told_and_never_alarms(field: str) -> None:
    """A new campaign has a new purpose."""
    findings = remarks(seen(field, {"A": 2_000}, distinct=1, lengths=(3, 3)), [seen(field)] * 3)
    assert [finding.sentence for finding in findings] == [
        f"{field}: 1 distinct value in 2,000 rows; usually one each",
        f"{field}: 3 characters long; usually 10 to 12",
        f"{field}: looks like A; usually like A-9",
    ]
    assert not any(finding.is_alarming for finding in findings)


@pytest.mark.parametrize(
    ("distinct", "usual", "words"),
    [
        (3, [2_000, 1_990, 1_500], "usually one each"),
        (3, [1_600, 1_600, 1_600], "usually nearly one each"),
        (3, [2_000, 400, 400], "usually one for every 5 rows"),
        (3, [100, 100, 2_000], "usually one for every 20 rows"),
    ],
)
def test_what_is_usual_is_the_middle_of_what_was(distinct: int, usual: list[int], words: str) -> None:
    """One strange night does not make a rule."""
    ((sentence, is_alarming),) = found(seen(distinct=distinct), [seen(distinct=each) for each in usual])
    assert sentence == f"billNumber: 3 distinct values in 2,000 rows; {words}"
    assert is_alarming


def test_an_estimate_is_called_one() -> None:
    """From where values are not counted one by one, the number is about right."""
    ((sentence, _),) = found(seen(filled=100_000, distinct=COUNTED), USUAL)
    assert sentence.startswith("billNumber: about 1,024 distinct values in 100,000 rows")


@pytest.mark.parametrize(("distinct", "alarms"), [(99, True), (100, False)])
def test_far_fewer_is_less_than_a_tenth_of_the_least_that_was_seen(distinct: int, alarms: bool) -> None:  # noqa: FBT001  what is expected
    """The least of the earlier nights was one value for every two rows."""
    earlier = [seen(), seen(distinct=1_000), seen()]
    assert [alarm for _, alarm in found(seen(distinct=distinct), earlier)] == [True] * alarms


@pytest.mark.parametrize(("count", "alarms"), [(19, True), (20, False)])
def test_one_usual_shape_among_new_ones_is_enough(count: int, alarms: bool) -> None:  # noqa: FBT001  what is expected
    """If one value in a hundred has it, the column is the right one; a slip or two prove nothing."""
    profile = seen(BILL, {"9": 2_000 - count, "A-9": count})
    assert [alarm for _, alarm in found(profile, USUAL)] == [True] * alarms


def test_values_of_all_shapes_are_not_called_new() -> None:
    """Where no shape is common there is none to speak of."""
    assert found(seen(BILL, {f"9-9{number * '-'}": 19 for number in range(SHAPES)}), USUAL) == []


# What is needed to say so


@pytest.mark.parametrize("field", [BILL, BILL_ID])
@pytest.mark.parametrize("nights", range(ENOUGH_PROFILES))
def test_without_earlier_nights_repeated_numbers_are_told(field: str, nights: int) -> None:
    """They are strange by themselves; whether they are wrong nobody knows yet."""
    profile = seen(field, {"A": 2_000}, distinct=199, lengths=(1, 1))
    assert found(profile, [seen(field)] * nights) == [(f"{field}: 199 distinct values in 2,000 rows", False)]


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(seen(distinct=200), id="a tenth is not few"),
        pytest.param(seen(filled=49, distinct=1), id="too few rows"),
        pytest.param(seen(PURPOSE, distinct=1), id="one purpose for all"),
        pytest.param(seen(CARD, distinct=1), id="one custom field for all"),
    ],
)
def test_without_earlier_nights_nothing_else_is_told(profile: Profile) -> None:
    """Nobody knows what is usual."""
    assert found(profile, []) == []


def test_a_file_of_a_few_rows_is_not_judged() -> None:
    """Of 49 values anything may be chance; of 50 it is none."""
    assert found(seen(BILL, {"A": 49}, filled=49, distinct=1, lengths=(1, 1)), USUAL) == []
    assert len(found(seen(BILL, {"A": 50}, filled=50, distinct=1, lengths=(1, 1)), USUAL)) == 3


def test_nights_that_did_not_set_the_field_do_not_count() -> None:
    """Three files with purposes say nothing of bill numbers."""
    earlier = [seen(), seen(), *[seen(PURPOSE)] * 30]
    assert found(seen(BILL, {"9": 2_000}), earlier) == []
    assert found(seen(BILL, {"9": 2_000}), [seen(), *earlier]) == [("billNumber: looks like 9; usually like A-9", True)]


def test_what_was_usual_long_ago_is_no_measure() -> None:
    """Only the newest nights are looked at, those at the end."""
    old = seen(BILL, {"9": 2_000})
    assert found(old, [old, *[seen()] * (LOOKED_AT - 1)]) == []
    assert found(old, [old, *[seen()] * LOOKED_AT]) == [("billNumber: looks like 9; usually like A-9", True)]
    assert found(old, [*[seen()] * LOOKED_AT, old]) == []


@given(rows=st.lists(ROWS, max_size=4))
def test_no_sentence_holds_a_value(rows: list[list[dict[str, str]]]) -> None:
    """Whatever the files hold: figures and shapes are all that is said, and it is said of fields that the file sets."""
    *earlier, profile = [profile_of(each * 50) for each in [[], *rows]]
    for finding in remarks(profile, earlier):
        assert finding.field in profile.fields
        assert re.fullmatch(r"[\x00-\x7f]*", finding.sentence)
