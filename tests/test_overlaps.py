"""What rows of one file have to do with each other: who fights, who repeats, who comes too late; in flat memory."""

from __future__ import annotations

import re
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkredeem.errors import InputFileError
from bulkredeem.model import Correction, OnConflict, Status
from bulkredeem.overlaps import CONFLICTING_ROWS, DUPLICATE_ROW, NAMED, SUPERSEDED, Glance, Overlaps, Ruling

REFUSE, LAST = OnConflict.REFUSE, OnConflict.LAST
Verdicts = dict[int, tuple[Status, str]]
"""Row number → status and code of the rows with a ruling."""
CONFLICT, DUPLICATE, LATE = (
    (Status.INVALID, CONFLICTING_ROWS),
    (Status.SKIPPED, DUPLICATE_ROW),
    (Status.SKIPPED, SUPERSEDED),
)
CLAUSE = re.compile(r"(.+?) (?:is|are) set to something else in (rows? [^;:]+)(?:; |: .+)")


def rows_of(*changes: Mapping[str, Any]) -> list[Correction]:
    """Return rows 2, 3, … that set nothing but what is told, all of one redemption and customer unless told."""
    usual = {
        "redemption_id": "R1",
        "entity_type": "CUSTOMER",
        "identifier_type": "mobile",
        "identifier_value": "919900000001",
    }
    return [Correction(row_number=number, **{**usual, **told}) for number, told in enumerate(changes, 2)]


def test_a_glance_finds_every_row_that_shares_its_redemption() -> None:
    """In the file's order, whatever the rows set; one that is alone with its redemption is none of them."""
    rows = rows_of(*({"redemption_id": each, "bill_number": "B"} for each in "ABACDBA"))
    with Glance() as glance:
        for row in rows:
            glance.add(row)
        assert list(glance.candidates()) == [2, 3, 4, 7, 8]


def rulings_on(rows: Iterable[Correction], on_conflict: OnConflict = REFUSE) -> list[Ruling]:
    """Return what is ruled on a file of these rows."""
    with Overlaps(on_conflict) as overlaps:
        for row in rows:
            overlaps.add(row)
        return list(overlaps.rulings())


def verdicts_of(rulings: Iterable[Ruling]) -> Verdicts:
    """Return status and code by row."""
    return {ruling.row_number: (ruling.status, ruling.code) for ruling in rulings}


def messages_on(*changes: Mapping[str, Any], on_conflict: OnConflict = REFUSE) -> dict[int, str]:
    """Return the messages by row."""
    return {ruling.row_number: ruling.message for ruling in rulings_on(rows_of(*changes), on_conflict)}


A, B, P, Q = {"bill_number": "A"}, {"bill_number": "B"}, {"purpose": "P"}, {"purpose": "Q"}
X: dict[str, Any] = {"custom_fields": {"card": "X"}}
OTHER = {"identifier_value": "919900000002"}


# Who is ruled out


@pytest.mark.parametrize(
    ("rows", "refuse", "last"),
    [
        pytest.param([], {}, {}, id="no rows"),
        pytest.param([A, B | {"redemption_id": "R2"}], {}, {}, id="two redemptions"),
        pytest.param([A, B | {"redemption_id": "", "external_reference_number": "R1"}], {}, {}, id="named otherwise"),
        pytest.param([A, P], {}, {}, id="different fields"),
        pytest.param([A, A | P], {}, {}, id="the same and more"),
        pytest.param([A, A], {3: DUPLICATE}, {3: DUPLICATE}, id="identical"),
        pytest.param([A, A, A], {3: DUPLICATE, 4: DUPLICATE}, {3: DUPLICATE, 4: DUPLICATE}, id="identical, three"),
        pytest.param([A, A | OTHER], {}, {}, id="identical but for the customer"),
        pytest.param([A, A | OTHER, A], {4: DUPLICATE}, {4: DUPLICATE}, id="another customer between"),
        pytest.param([A, B], {2: CONFLICT, 3: CONFLICT}, {2: LATE}, id="a fight"),
        pytest.param([A, B | OTHER], {2: CONFLICT, 3: CONFLICT}, {2: LATE}, id="a fight of two customers"),
        pytest.param([A, B, P], {2: CONFLICT, 3: CONFLICT}, {2: LATE}, id="a fight, and one who keeps out"),
        pytest.param([P, A, P, B], {3: CONFLICT, 4: DUPLICATE, 5: CONFLICT}, {3: LATE, 4: DUPLICATE}, id="and again"),
        pytest.param([A, A, B], {2: CONFLICT, 3: CONFLICT, 4: CONFLICT}, {2: LATE, 3: LATE}, id="identical, fought"),
        pytest.param([A, B, A], {2: CONFLICT, 3: CONFLICT, 4: CONFLICT}, {2: LATE, 3: LATE}, id="there and back"),
        pytest.param([A | P, B], {2: CONFLICT, 3: CONFLICT}, {2: CONFLICT}, id="undone in part"),
        pytest.param([A, B | P], {2: CONFLICT, 3: CONFLICT}, {2: LATE}, id="overtaken by more"),
        pytest.param([A | P, B, P], {2: CONFLICT, 3: CONFLICT}, {2: LATE}, id="overtaken by two together"),
        pytest.param(
            [A, A | P, B], {2: CONFLICT, 3: CONFLICT, 4: CONFLICT}, {2: LATE, 3: CONFLICT}, id="A, A and P, B"
        ),
        pytest.param(
            [Q, B | P, A], {2: CONFLICT, 3: CONFLICT, 4: CONFLICT}, {3: CONFLICT}, id="an invalid row supersedes nobody"
        ),
        pytest.param(
            [A | P, B, A], {2: CONFLICT, 3: CONFLICT, 4: CONFLICT}, {3: LATE}, id="what was between is overtaken"
        ),
        pytest.param([X, {"custom_fields": {"card": "Y"}}], {2: CONFLICT, 3: CONFLICT}, {2: LATE}, id="custom fields"),
        pytest.param([{"bill_id": 1}, {"bill_id": 2}], {2: CONFLICT, 3: CONFLICT}, {2: LATE}, id="bill ids"),
    ],
)
def test_rows_of_one_redemption_are_ruled_on(rows: list[dict[str, Any]], refuse: Verdicts, last: Verdicts) -> None:
    """The table of what follows from what, in both modes."""
    assert verdicts_of(rulings_on(rows_of(*rows), REFUSE)) == refuse
    assert verdicts_of(rulings_on(rows_of(*rows), LAST)) == last


def test_a_duplicate_takes_no_part_among_those_of_which_the_last_wins() -> None:
    """Row 4 is not sent, so that nobody is skipped for its sake."""
    assert verdicts_of(rulings_on(rows_of(P, A | P, P, B), LAST)) == {3: CONFLICT, 4: DUPLICATE}


def test_the_order_of_custom_fields_makes_no_difference() -> None:
    """Identical is what sets the same, however the columns stand."""
    one, other = {"a": "1", "b": "2"}, {"b": "2", "a": "1"}
    assert verdicts_of(rulings_on(rows_of({"custom_fields": one}, {"custom_fields": other}))) == {3: DUPLICATE}


def test_the_end_of_an_identifier_is_seen_whatever_stands_in_it() -> None:
    """Texts that are joined could be split elsewhere."""
    named: tuple[dict[str, Any], ...] = (
        A | {"redemption_id": "\0R"},
        B | {"redemption_id": "", "external_reference_number": "R\0"},
    )
    assert rulings_on(rows_of(*named)) == []


# What the messages say


def test_a_fight_between_two_names_field_and_row() -> None:
    """Each row is told of the other."""
    assert messages_on(A, B) == {
        2: "billNumber is set to something else in row 3: keep one of them",
        3: "billNumber is set to something else in row 2: keep one of them",
    }


def test_only_rows_with_another_value_are_named() -> None:
    """Row 4 says what row 2 says: it is none of its opponents."""
    assert messages_on(A, B, A, {"bill_number": "C"})[2] == (
        "billNumber is set to something else in rows 3 and 5: keep one of them"
    )


def test_fields_that_are_fought_over_with_the_same_rows_are_named_together() -> None:
    """A row that is wrong in three cells is not told so three times."""
    assert messages_on(A | P, B | Q, B)[2] == (
        "billNumber is set to something else in rows 3 and 4; purpose is set to something else in row 3:"
        " keep one of them"
    )
    assert messages_on(A | P | {"bill_id": 1}, B | Q | {"bill_id": 2})[2] == (
        "billId, billNumber and purpose are set to something else in row 3: keep one of them"
    )


def test_five_other_rows_are_named_and_the_rest_is_counted() -> None:
    """Row 6 fights with all but the second of its kind, and with the first rows of the file first."""
    rows = [{"bill_number": f"{number}"} for number in (0, 1, 2, 3, 4, 5, 6, 7, 4)]
    assert messages_on(*rows)[6] == (
        "billNumber is set to something else in rows 2, 3, 4, 5, 7 and 2 more: keep one of them"
    )
    assert messages_on(*rows[:6])[6] == "billNumber is set to something else in rows 2, 3, 4, 5 and 7: keep one of them"


def test_a_duplicate_names_the_row_that_is_sent() -> None:
    """The first one, not the one before."""
    assert messages_on(A, A, A) == {3: "the same as row 2", 4: "the same as row 2"}


def test_a_superseded_row_names_those_that_win() -> None:
    """One or several."""
    assert messages_on(A, B, on_conflict=LAST) == {2: "row 3 sets the same later"}
    assert messages_on(A | P, B, Q, on_conflict=LAST) == {2: "rows 3 and 4 set the same later"}


def test_a_superseded_row_names_the_last_row_of_those_that_agree() -> None:
    """Row 3 stands for its purpose's sake, but it is row 4 that settles the bill number."""
    assert messages_on(B, A | P, A, on_conflict=LAST) == {2: "row 4 sets the same later"}


def test_a_row_that_would_be_undone_in_part_names_the_part() -> None:
    """Its purpose is set by nobody else."""
    assert messages_on(A | P, B, on_conflict=LAST) == {
        2: "billNumber is set to something else in row 3: take out of this row what later rows set"
    }


# Which rows share a redemption


def test_rows_that_share_a_redemption_are_told_in_order_with_a_ruling_or_without(
    correction: Callable[..., Correction],
) -> None:
    """Rows 2 and 5 set different fields, 4 and 6 are identical, 3 is alone."""
    rows = (correction(2, redemption_id="Z"), correction(3), *rows_of({}, {}, A, P, A)[2:])
    with Overlaps() as overlaps:
        for row in (*rows[:3], correction(5, redemption_id="Z", bill_number="", purpose="P"), rows[4]):
            overlaps.add(row)
        assert list(overlaps.sharing()) == [2, 4, 5, 6]


def test_rows_may_be_added_after_a_question() -> None:
    """An answer is about the rows so far."""
    first, second, third, fourth = rows_of(A, P, B, P)
    with Overlaps() as overlaps:
        overlaps.add(first)
        assert list(overlaps.sharing()) == []
        overlaps.add(second)
        assert list(overlaps.rulings()) == []
        overlaps.add(third)
        assert list(overlaps.sharing()) == [2, 3, 4]
        assert [ruling.row_number for ruling in overlaps.rulings()] == [2, 4]
        overlaps.add(fourth)
        assert [ruling.row_number for ruling in overlaps.rulings()] == [2, 4, 5]


def test_the_same_question_has_the_same_answer() -> None:
    """Nothing is told twice, and nothing is used up."""
    with Overlaps() as overlaps:
        for row in rows_of(A, B):
            overlaps.add(row)
        assert list(overlaps.rulings()) == list(overlaps.rulings())


# For all files


def cells() -> st.SearchStrategy[dict[str, Any]]:
    """Give what a row sets: few values, so that rows fight."""
    wanted = st.fixed_dictionaries(
        {},
        optional={
            "bill_number": st.sampled_from("AAB"),
            "purpose": st.sampled_from("PQ"),
            "custom_fields": st.dictionaries(st.sampled_from(["card", "tier"]), st.sampled_from("XY"), min_size=1),
        },
    )
    return wanted.filter(bool)


FILES = st.lists(
    st.builds(
        lambda named, whose, wanted: named | whose | wanted,
        st.sampled_from([{}, {}, {"redemption_id": "R2"}, {"redemption_id": "", "external_reference_number": "R1"}]),
        st.sampled_from([{}, {}, OTHER]),
        cells(),
    ),
    max_size=16,
).map(lambda changes: rows_of(*changes))
CROWDS = st.lists(st.tuples(st.sampled_from(["R1", "R2"]), st.sampled_from("ABCDEFGH")), max_size=40).map(
    lambda rows: rows_of(*({"redemption_id": named, "bill_number": value} for named, value in rows))
)
"""Files in which so many rows fight over one field that not all of them are named."""


def others_of(row: Correction, rows: Iterable[Correction]) -> dict[str, list[int]]:
    """Return the rows that fight with one, by field."""
    fights: dict[str, list[int]] = {}
    for other in rows:
        if other.redemption_key == row.redemption_key:
            for name in row.values.keys() & other.values.keys():
                if row.values[name] != other.values[name]:
                    fights.setdefault(name, []).append(other.row_number)
    return fights


def content_of(row: Correction) -> tuple[Any, ...]:
    """Return what makes rows identical."""
    customer = (row.entity_type, row.identifier_type, row.identifier_value)
    return (row.redemption_key, customer, sorted(row.values.items()))


def plainly_refused(rows: list[Correction]) -> Verdicts:
    """Return the verdicts, found by comparing each row with each."""
    verdicts: Verdicts = {}
    for index, row in enumerate(rows):
        if others_of(row, rows):
            verdicts[row.row_number] = CONFLICT
        elif any(content_of(row) == content_of(earlier) for earlier in rows[:index]):
            verdicts[row.row_number] = DUPLICATE
    return verdicts


def plainly_last(rows: list[Correction]) -> Verdicts:
    """Return the verdicts when the last one wins, found by comparing each row with all that stand behind it."""
    verdicts: Verdicts = {}
    for index, row in reversed(list(enumerate(rows))):
        standing = [
            later
            for later in rows[index + 1 :]
            if later.row_number not in verdicts and later.redemption_key == row.redemption_key
        ]
        if not others_of(row, rows):
            if any(content_of(row) == content_of(earlier) for earlier in rows[:index]):
                verdicts[row.row_number] = DUPLICATE
        elif all(any(name in later.values for later in standing) for name in row.values):
            verdicts[row.row_number] = LATE
        elif others_of(row, standing):
            verdicts[row.row_number] = CONFLICT
    return verdicts


def applied(rows: Iterable[Correction]) -> dict[tuple[Any, ...], str]:
    """Return what redemption and field come to when these rows are applied one after another."""
    return {(row.redemption_key, name): value for row in rows for name, value in row.values.items()}


@given(rows=FILES | CROWDS)
@example(rows=rows_of(*({"bill_number": value} for value in "AAAAAAAB")))
@example(rows=rows_of(*({"redemption_id": named, "bill_number": value} for named in "RS" for value in "AAAAAAAB")))
def test_refusing_rules_as_comparing_each_row_with_each_would(rows: list[Correction]) -> None:
    """Order, statuses, codes, and which rows the messages name for which field."""
    rulings = rulings_on(rows, REFUSE)
    assert verdicts_of(rulings) == plainly_refused(rows)
    assert [ruling.row_number for ruling in rulings] == sorted(ruling.row_number for ruling in rulings)
    for ruling in rulings:
        if ruling.code == CONFLICTING_ROWS:
            others = others_of(rows[ruling.row_number - 2], rows)
            assert told_in(ruling.message) == {name: in_words(numbers) for name, numbers in others.items()}


def told_in(message: str) -> dict[str, str]:
    """Return what a message says of each field."""
    return {name: rows for fields, rows in CLAUSE.findall(message) for name in re.split(", | and ", fields.strip("; "))}


def in_words(numbers: list[int]) -> str:
    """Return how rows are named."""
    named, more = [str(number) for number in numbers[:NAMED]], len(numbers[NAMED:])
    words = [*named, *([f"{more} more"] if more else [])]
    return f"rows {', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else f"row {words[0]}"


@given(rows=FILES | CROWDS)
def test_the_last_one_wins_as_comparing_each_row_with_each_would(rows: list[Correction]) -> None:
    """Order, statuses and codes."""
    rulings = rulings_on(rows, LAST)
    assert verdicts_of(rulings) == plainly_last(rows)
    assert [ruling.row_number for ruling in rulings] == sorted(ruling.row_number for ruling in rulings)


@given(rows=FILES, on_conflict=st.sampled_from(OnConflict))
def test_rows_that_share_a_redemption_are_those_that_are_not_alone(
    rows: list[Correction], on_conflict: OnConflict
) -> None:
    """Whatever is wanted of a conflict."""
    keys = [row.redemption_key for row in rows]
    with Overlaps(on_conflict) as overlaps:
        for row in rows:
            overlaps.add(row)
        assert list(overlaps.sharing()) == [row.row_number for row in rows if keys.count(row.redemption_key) > 1]


@given(rows=FILES)
def test_refusing_sends_no_two_rows_that_fight(rows: list[Correction]) -> None:
    """In whichever order they land, the redemptions come out the same."""
    ruled = verdicts_of(rulings_on(rows, REFUSE))
    sent = [row for row in rows if row.row_number not in ruled]
    assert applied(sent) == applied(reversed(sent))


@given(rows=FILES)
def test_what_is_skipped_is_not_missed_when_the_last_one_wins(rows: list[Correction]) -> None:
    """The rows that are sent come to what all rows but the invalid ones come to.

    And so to what all rows come to, in each field whose last row is not invalid.
    """
    ruled = verdicts_of(rulings_on(rows, LAST))
    sent = applied(row for row in rows if row.row_number not in ruled)
    assert sent == applied(row for row in rows if ruled.get(row.row_number) != CONFLICT)
    last_row = {(row.redemption_key, name): row.row_number for row in rows for name in row.values}
    for place, value in applied(rows).items():
        if ruled.get(last_row[place]) != CONFLICT:
            assert sent[place] == value


# How much it holds


def many(rows: int, *, of_one_redemption: bool) -> Iterator[Correction]:
    """Yield rows that all set the bill number to something else."""
    for number in range(2, rows + 2):
        yield Correction(
            row_number=number,
            redemption_id="R1" if of_one_redemption else f"R{number}",
            entity_type="CUSTOMER",
            identifier_type="mobile",
            identifier_value=f"9199{number:08}",
            bill_number=f"B-{number}",
        )


@pytest.mark.parametrize(
    ("of_one_redemption", "on_conflict", "rulings"),
    [
        pytest.param(False, REFUSE, 0, id="distinct"),
        pytest.param(True, REFUSE, 30_000, id="of one redemption"),
        pytest.param(True, LAST, 29_999, id="of one redemption, the last wins"),
    ],
)
def test_memory_stays_flat(on_conflict: OnConflict, rulings: int, *, of_one_redemption: bool) -> None:
    """Thirty thousand rows fit into half a megabyte: a list of their numbers alone would take a whole one."""
    tracemalloc.start()
    try:
        with Overlaps(on_conflict) as overlaps:
            for row in many(30_000, of_one_redemption=of_one_redemption):
                overlaps.add(row)
            ruled = sum(1 for _ in overlaps.rulings())
            sharing = sum(1 for _ in overlaps.sharing())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert ruled == rulings
    assert sharing == (30_000 if of_one_redemption else 0)
    assert peak < 500_000


def test_a_full_disk_is_an_error_with_a_sentence(correction: Callable[..., Correction]) -> None:
    """A database that may not grow stands in for the disk."""

    def small() -> sqlite3.Connection:
        connection = sqlite3.connect("", isolation_level=None)
        connection.execute("PRAGMA max_page_count = 20")
        return connection

    def fill(overlaps: Overlaps) -> None:
        for number in count(2):
            overlaps.add(correction(number))

    with Overlaps(connect=small) as overlaps, pytest.raises(InputFileError, match=r"full.*SQLITE_TMPDIR"):
        fill(overlaps)
