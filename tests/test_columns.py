"""Columns: which of a file's columns are used as what, and what is said when that cannot be known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.columns import (
    OURS,
    RESULT_HEAD,
    RESULT_MARK,
    RESULT_TAIL,
    ColumnMap,
    canonical_name,
    carried_name,
    is_ours,
    map_columns,
    shown_header,
)
from bulkredeem.model import Column

ENOUGH = ("redemptionId", "billNumber", "identifierValue")


def complaint(headers: list[str], explicit: dict[str, str] | None = None) -> str:
    """Return what is said about a header that cannot be used."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        map_columns(headers, explicit or {})
    return str(caught.value)


@pytest.mark.parametrize("column", Column)
def test_a_canonical_name_is_its_own_spelling(column: Column) -> None:
    """Each of the eight columns is found by the name the documentation gives it."""
    assert canonical_name(column) == column
    assert canonical_name(column.upper()) == column


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Bill Number", "billNumber"),
        ("bill_number", "billNumber"),
        ("BILL-NUMBER", "billNumber"),
        (" bill.number ", "billNumber"),
        ("Bill\nNumber", "billNumber"),
        ("bill id", "billId"),
        ("Redemption ID", "redemptionId"),
        ("external_reference_number", "externalReferenceNumber"),
        ("entity.type", "entityType"),
        ("entity.identifierType", "identifierType"),
        ("entity.identifierValue", "identifierValue"),
        ("Entity Identifier Value", "identifierValue"),
    ],
)
def test_case_and_separators_do_not_matter(header: str, name: str) -> None:
    """A header is found in the spellings that people and exports use."""
    assert canonical_name(header) == name


@pytest.mark.parametrize(
    "header",
    ["", " ", "Bill No", "bill", "numberbill", "customFields", "customFields.", "custom", "row_number", "entity"],
)
def test_other_columns_are_not_ours_to_use(header: str) -> None:
    """A column that only resembles one is carried along, never guessed."""
    assert canonical_name(header) is None


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("customFields.card_number", "card_number"),
        ("Custom Fields.Card Number", "Card Number"),
        ("custom_fields.a.b", "a.b"),
        ("CUSTOMFIELDS.cardNumber", "cardNumber"),
        ("customFields._private", "_private"),
        ("customFields.-x-", "-x-"),
        ("customFields._", "_"),
        ("customFields_card_number", "card_number"),
        (" customFields.card ", "card"),
        ("customFields. card", "card"),
    ],
)
def test_the_name_of_a_custom_field_is_kept_exactly(header: str, name: str) -> None:
    """What stands before the separator may be spelt freely; the field's own name is the platform's, and not touched."""
    assert canonical_name(header) == f"customFields.{name}"


def test_columns_are_found_in_any_order_and_others_are_carried() -> None:
    """Each used column knows its place, and the header stays as it stood."""
    headers = ["Store", "identifier value", "Bill Number", "redemption_id", "Store"]
    columns = map_columns(headers, {})
    assert columns.headers == tuple(headers)
    assert columns.used == {"identifierValue": 1, "billNumber": 2, "redemptionId": 3}


def test_a_person_is_told_which_column_is_used_as_what() -> None:
    """In the file's order, with the file's own headers, and with those that are only carried along."""
    columns = ColumnMap(headers=("b", " ", "purpose", " Store "), used={"purpose": 2, "billId": 0})
    assert columns.pairs() == [("b", "billId"), ("purpose", "purpose")]
    assert columns.in_words() == "uses b as billId, purpose; carries along (no name), Store"
    assert ColumnMap(headers=("billId",), used={"billId": 0}).in_words() == "uses billId"


@pytest.mark.parametrize(
    "headers",
    [
        ["externalReferenceNumber", "purpose", "identifierValue"],
        ["redemptionId", "billId", "identifierValue"],
        ["redemptionId", "customFields.x", "identifierValue"],
    ],
)
def test_the_least_that_a_file_needs(headers: list[str]) -> None:
    """One identifier, one field to set and the customer are enough."""
    assert set(map_columns(headers, {}).used) == set(headers)


def test_everything_missing_is_said_at_once() -> None:
    """Who has to rename three columns is told of three, with the columns that are there and the way out."""
    said = complaint(["Store", "Bill No"])
    for words in (
        "redemptionId or externalReferenceNumber",
        "billNumber, billId, purpose",
        "identifierValue",
        "'Bill No'",
        "--map",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("lacking", "words"),
    [
        ("redemptionId", "redemptionId or externalReferenceNumber"),
        ("billNumber", "anything to set"),
        ("identifierValue", "identifierValue (the customer's"),
    ],
)
def test_each_need_is_named_alone(lacking: str, words: str) -> None:
    """A file that lacks one thing hears of that one only."""
    said = complaint([name for name in ENOUGH if name != lacking])
    assert f"no column for {words}" in said
    assert "; nor for" not in said


@pytest.mark.parametrize(("header", "name"), [("a;b;c", "semicolons"), ("a\tb", "tabs"), ("a|b", "bars")])
def test_another_delimiter_is_noticed(header: str, name: str) -> None:
    """One wide column with delimiters in it is a file saved with those, and the message says so."""
    assert f"separated by {name}: --delimiter " in complaint([header])


@pytest.mark.parametrize("explicit", [{}, {"Bill No": "billNumber"}])
def test_a_row_where_the_header_must_stand_is_not_quoted(explicit: dict[str, str]) -> None:
    """Only the ends of its cells: enough to find the file, and nobody's name or number."""
    said = complaint(["9001", "B-1", "Asha Rao", "919876543210", "asha@example.com"], explicit)
    assert "seems to have no header" in said
    assert "'•••1', '•••', '•••ao', '•••210', '•••.com'" in said
    assert not any(cell in said for cell in ("9001", "Asha", "919876543210", "asha@"))


@pytest.mark.parametrize("cell", ["919876543210", "98765 01234", "+91 987 650 12 34", "asha@example.com"])
def test_of_names_that_look_like_cells_the_end_is_shown(cell: str) -> None:
    """Beside columns that are known, it is a header all the same."""
    said = complaint(["redemptionId", "Bill No 12", cell])
    assert "'redemptionId', 'Bill No 12', '•••" in said
    assert cell not in said
    assert "no header" not in said
    assert ColumnMap(headers=("billId", cell), used={"billId": 0}).in_words() == (
        f"uses billId; carries along {shown_header(cell)}"
    )


@given(st.text())
def test_at_most_a_quarter_of_a_cell_is_shown(text: str) -> None:
    """However short it is."""
    cell = f"{text}@"
    shown = shown_header(cell).removeprefix("•••")
    assert cell.strip().endswith(shown)
    assert 4 * len(shown) <= len(cell.strip())


def test_a_repeated_column_is_refused_in_whatever_spelling() -> None:
    """Two columns for one value would mean choosing for the person; both are named."""
    said = complaint([*ENOUGH, "Bill Number", "bill_number", "redemption id"])
    assert "3 columns are all billNumber: 'billNumber', 'Bill Number', 'bill_number'" in said
    assert "2 columns are all redemptionId" in said


def test_repeated_columns_that_are_not_used_are_no_trouble() -> None:
    """Nobody reads them, so nobody can mistake them."""
    assert map_columns([*ENOUGH, "Store", "Store", ""], {}).used == {name: index for index, name in enumerate(ENOUGH)}


def test_a_map_beats_a_column_that_has_the_name_by_itself() -> None:
    """Whoever says which column is the bill number is believed, and the other one is only carried."""
    columns = map_columns([*ENOUGH, "Bill No"], {"Bill No": "billNumber"})
    assert columns.used["billNumber"] == 3
    assert 1 not in columns.used.values()


@pytest.mark.parametrize("explicit", [{"No": "billNumber"}, {" No ": "bill_number"}, {"No": "Bill Number"}])
def test_a_map_finds_the_header_without_its_outer_blanks(explicit: dict[str, str]) -> None:
    """Blanks around a header do not hide it, and the target may be spelt as freely as a header."""
    assert map_columns(["redemptionId", " No", "identifierValue"], explicit).used["billNumber"] == 1


def test_a_map_can_name_a_custom_field() -> None:
    """A column of any name can be a custom field."""
    columns = map_columns(["redemptionId", "Card", "identifierValue"], {"Card": "customFields.card_number"})
    assert columns.used["customFields.card_number"] == 1


def test_a_map_takes_a_column_away_from_its_own_name() -> None:
    """A column that the map uses as something else is not used under its own name too."""
    assert map_columns(list(ENOUGH), {"billNumber": "purpose"}).used == {
        "redemptionId": 0,
        "purpose": 1,
        "identifierValue": 2,
    }


@pytest.mark.parametrize(
    ("explicit", "words"),
    [
        ({"Bill No": "billNumber"}, "names the column 'Bill No', which the file does not have"),
        ({"Store": "purpose"}, "names the column 'Store', which the file has 2 times"),
        ({"billNumber": "bilNumber"}, "says 'billNumber' is 'bilNumber', but the columns are redemptionId,"),
        ({"billNumber": "purpose", "redemptionId": "purpose"}, "2 columns are all purpose"),
    ],
)
def test_a_map_that_makes_no_sense_is_refused(explicit: dict[str, str], words: str) -> None:
    """A column that is not there, is there twice, or is called something unknown is never passed over."""
    assert words in complaint([*ENOUGH, "Store", "Store"], explicit)


def test_all_that_is_wrong_with_a_map_is_said_at_once() -> None:
    """Two mistakes make two sentences."""
    said = complaint([*ENOUGH], {"No": "billNumber", "billNumber": "number"})
    assert "'No'" in said
    assert "'number'" in said


def test_a_report_of_ours_is_known_by_its_first_four_columns() -> None:
    """Only all four, in their order and spelling, make a file ours."""
    assert is_ours([*RESULT_HEAD, "billNumber"])
    assert is_ours([*RESULT_HEAD, *ENOUGH, *RESULT_TAIL])
    assert not is_ours(list(RESULT_MARK[:3]))
    assert not is_ours(list(RESULT_HEAD[:3]))
    assert not is_ours(["status", *RESULT_HEAD])
    assert not is_ours([name.upper() for name in RESULT_HEAD])
    assert not is_ours([])


@given(st.permutations(sorted(OURS)), st.integers(0, 4))
def test_a_report_is_known_whichever_four_of_our_columns_it_lost(ours: list[str], lost: int) -> None:
    """In whatever order the others stand: so its apostrophes never stay in the values."""
    assert is_ours([*ENOUGH, *ours[lost:]])
    assert not is_ours([*ENOUGH, *ours[lost:], "status", "status"])


@given(st.sets(st.sampled_from(["row_number", "status", "reason", "warnings", "attempts", "request_id"])))
def test_names_that_anybody_has_make_no_report(names: set[str]) -> None:
    """However many of them: nothing may be taken off the values of such a file."""
    assert not is_ours([*ENOUGH, *sorted(names)])


@given(st.sets(st.sampled_from(sorted(OURS))), st.sampled_from(sorted(OURS)))
def test_one_more_of_our_columns_never_makes_a_report_less_of_one(names: set[str], one_more: str) -> None:
    """What is known with few of them is known with more."""
    assert is_ours(sorted(names | {one_more})) or not is_ours(sorted(names))


@pytest.mark.parametrize(
    ("names", "is_known"),
    [
        (["error_message", "mend_by", "status"], True),
        (["error_message", "mend_by"], False),
        (["mend_by", "status", "reason", "attempts", "warnings"], True),
        (["mend_by", "status", "reason", "attempts"], False),
        (["error_code", "error_message", "http_status", "request_id", "finished_at"], True),
        (["error_code", "error_message", "http_status", "request_id", "status", "attempts"], False),
        (["row_number", "error_code", "http_status", "status", "attempts", "reason", "warnings"], True),
        ([*RESULT_TAIL], True),
        ([*RESULT_TAIL[1:]], False),
    ],
)
def test_how_many_of_our_columns_are_enough_depends_on_which(names: list[str], is_known: bool) -> None:  # noqa: FBT001  a parameter
    """The rarer a name is elsewhere, the fewer."""
    assert is_ours([*ENOUGH, *names]) is is_known


def test_a_report_of_the_older_form_is_known_too() -> None:
    """Reports of before had neither `mend_by` nor `reason`, and are mended and run like those of today."""
    older = ["row_number", "status", "error_code", "error_message", *ENOUGH, *RESULT_TAIL]
    assert is_ours(older)
    mapped = map_columns(tuple(name for name in older if name not in OURS), {})
    assert mapped.headers == ENOUGH


def test_the_first_columns_of_a_report_are_those_that_are_promised() -> None:
    """The mark by which it is known, then who mends the row and why, without identifiers."""
    assert RESULT_MARK == ("row_number", "status", "error_code", "error_message")
    assert (*RESULT_MARK, "mend_by", "reason") == RESULT_HEAD
    assert {*RESULT_HEAD} < OURS


@pytest.mark.parametrize("header", sorted(OURS))
def test_a_person_s_own_column_with_a_name_of_ours_is_carried_under_another(header: str) -> None:
    """No report has two columns of one name because of us, and the new name is no name of ours."""
    assert carried_name(header) == f"input.{header}"
    assert carried_name(carried_name(header)) == carried_name(header)


@pytest.mark.parametrize("header", ["billNumber", "Status", "", "input.status"])
def test_every_other_column_keeps_its_name(header: str) -> None:
    """A header of the file's own is carried as it stood."""
    assert carried_name(header) == header


def test_a_map_finds_a_column_under_the_name_it_came_back_with() -> None:
    """A column called like one of ours is carried as `input.status`; the map for the file stays right."""
    returned = ["redemptionId", "input.status", "identifierValue"]
    assert map_columns(returned, {"status": "billNumber"}).used["billNumber"] == 1
