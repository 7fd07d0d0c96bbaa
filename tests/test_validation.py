"""Validation: which rows can be sent, as what, and all that is wrong with the others."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from bulkredeem.model import Column, Correction, IdentifierChoice, Invalid, Problem, Row, Rules
from bulkredeem.validation import KNOWN_ENTITY_TYPES, KNOWN_IDENTIFIER_TYPES, MAX_BILL_ID, Judge, validate

SENDABLE = {
    "redemptionId": "8878ru",
    "billNumber": "INV-1",
    "entityType": "CUSTOMER",
    "identifierType": "mobile",
    "identifierValue": "919777000001",
}
PLAIN = Rules()
TRUSTING = Rules(trust_ids=True)
INDIA = Rules(default_country_code="91")


def row(**cells: str) -> Row:
    """Build a row that can be sent, but for the cells given here."""
    return Row(row_number=2, values=SENDABLE | cells)


def without(column: str, whole: Row) -> Row:
    """Return the row of a file that has no such column."""
    return Row(row_number=2, values={name: value for name, value in whole.values.items() if name != column})


def correction_of(wanted: Row, rules: Rules = PLAIN) -> Correction:
    """Return what a row that can be sent wants."""
    result = validate(wanted, rules)
    assert isinstance(result, Correction), result
    return result


def problems_of(broken: Row, rules: Rules = PLAIN) -> list[tuple[str, str]]:
    """Return code and column of all problems of a row that cannot be sent."""
    result = validate(broken, rules)
    assert isinstance(result, Invalid), result
    return [(problem.code, problem.column) for problem in result.problems]


def test_a_good_row_is_sent_as_it_stands() -> None:
    """Every cell arrives in its place, exact to the last character, without a warning."""
    wanted = row(
        billId="1234567890123456789", purpose="Café, “late”", **{"customFields.a b": "000123", "customFields.x": ""}
    )
    assert correction_of(wanted) == Correction(
        row_number=2,
        redemption_id="8878ru",
        entity_type="CUSTOMER",
        identifier_type="mobile",
        identifier_value="919777000001",
        bill_number="INV-1",
        bill_id=1234567890123456789,
        purpose="Café, “late”",
        custom_fields={"a b": "000123"},
    )


@pytest.mark.parametrize(
    "value", ["8878ru", "NZVAt9", "000123", "NA", "null", "8878E2", "1E5", "ACR-5801353177", "12345.0"]
)
@pytest.mark.parametrize("column", ["redemptionId", "externalReferenceNumber", "billNumber"])
def test_an_id_may_look_like_anything(column: str, value: str) -> None:
    """No pattern is documented, so leading zeros, `NA` and `8878E2` are ids like all others."""
    wanted = row(redemptionId="", externalReferenceNumber="ACR-1") if column == "externalReferenceNumber" else row()
    sent = correction_of(Row(row_number=2, values={**wanted.values, column: value}))
    assert value in {sent.redemption_id, sent.external_reference_number, sent.bill_number}
    assert sent.warnings == ()


@pytest.mark.parametrize(
    ("cells", "column"),
    [
        ({"redemptionId": ""}, "redemptionId"),
        ({"redemptionId": "  "}, "redemptionId"),
        ({"externalReferenceNumber": "ACR-1"}, "redemptionId"),
    ],
)
def test_exactly_one_identifier_is_needed(cells: dict[str, str], column: str) -> None:
    """None and two are the platform's 749."""
    assert problems_of(row(**cells)) == [("749", column)]


@pytest.mark.parametrize(
    ("choice", "sent", "unsent"),
    [
        (IdentifierChoice.REDEMPTION_ID, "redemption_id", "external_reference_number"),
        (IdentifierChoice.EXTERNAL_REFERENCE_NUMBER, "external_reference_number", "redemption_id"),
    ],
)
def test_a_setting_decides_between_two_identifiers(choice: IdentifierChoice, sent: str, unsent: str) -> None:
    """The chosen column is sent, the other one is not, and cannot be a problem either."""
    rules = Rules(identifier=choice)
    other = {"redemptionId": "externalReferenceNumber", "externalReferenceNumber": "redemptionId"}[choice]
    correction = correction_of(row(**{choice: "one", other: "1.23E+18"}), rules)
    assert (getattr(correction, sent), getattr(correction, unsent)) == ("one", "")
    assert problems_of(row(**{choice: "", other: "two"}), rules) == [("749", choice)]


@pytest.mark.parametrize("cells", [{}, {"purpose": ""}, {"billId": " ", "purpose": "\t"}])
def test_a_row_that_sets_nothing_is_refused(cells: dict[str, str]) -> None:
    """An empty cell leaves a field alone, so nothing but empty cells is the platform's 748."""
    assert problems_of(without("billNumber", row(**cells))) == [("748", "billNumber")]


@pytest.mark.parametrize("column", ["billNumber", "billId", "purpose", "customFields.x"])
def test_one_field_to_set_is_enough(column: str) -> None:
    """Any of the four kinds of field makes a request worth sending."""
    correction_of(row(**{"billNumber": "", column: "1"}))


def test_a_bill_id_that_is_wrong_is_not_called_missing() -> None:
    """Who filled the wrong thing into the only field is told of that, and not that there is none."""
    assert problems_of(row(billNumber="", billId="ABC")) == [("BILL_ID_NOT_A_WHOLE_NUMBER", "billId")]


@pytest.mark.parametrize("column", ["entityType", "identifierType", "identifierValue"])
@pytest.mark.parametrize("empty", ["", " "])
def test_an_incomplete_entity_is_refused(column: str, empty: str) -> None:
    """An empty cell in a column that is there is the platform's 1219, whatever the default."""
    assert problems_of(row(**{column: empty})) == [("1219", column)]


def test_a_file_without_entity_columns_gets_the_defaults() -> None:
    """The settings speak for a whole file that does not say who its customers are."""
    rules = Rules(default_entity_type="FLEET", default_identifier_type="email")
    wanted = Row(row_number=2, values={"redemptionId": "8878ru", "billId": "1", "identifierValue": "asha@example.com"})
    correction = correction_of(wanted, rules)
    assert (correction.entity_type, correction.identifier_type) == ("FLEET", "email")
    assert correction_of(row(), rules).entity_type == "CUSTOMER"


def test_a_customer_cannot_come_from_a_default() -> None:
    """A row without an identifier value is incomplete."""
    assert problems_of(without("identifierValue", row())) == [("1219", "identifierValue")]


@pytest.mark.parametrize("column", ["entityType", "identifierType"])
def test_unknown_kinds_of_customers_warn_and_are_sent(column: str) -> None:
    """The vendor's pages disagree, so a value we do not know is the platform's to judge."""
    correction = correction_of(row(**{column: "USER GROUP"}))
    assert "USER GROUP" in {correction.entity_type, correction.identifier_type}
    assert [warning.split(":")[0] for warning in correction.warnings] == [column]


@pytest.mark.parametrize("kind", KNOWN_ENTITY_TYPES)
def test_known_entity_types_do_not_warn(kind: str) -> None:
    """What the vendor documents is no surprise."""
    assert correction_of(row(entityType=kind)).warnings == ()


@pytest.mark.parametrize("kind", KNOWN_IDENTIFIER_TYPES)
def test_known_identifier_types_do_not_warn(kind: str) -> None:
    """What the vendor documents is no surprise."""
    assert correction_of(row(identifierType=kind)).warnings == ()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("12345", 12345),
        ("9007199254740993", 2**53 + 1),
        ("1234567890123456789", 1234567890123456789),
        (str(2**63 - 1), MAX_BILL_ID),
    ],
)
def test_a_bill_id_is_exact_to_the_last_digit(text: str, number: int) -> None:
    """Also beyond what a float can hold, up to the largest the platform takes."""
    correction = correction_of(row(billId=text))
    assert correction.bill_id == number
    assert correction.warnings == ()


@pytest.mark.parametrize(("text", "number"), [("007", 7), ("0" * 30 + "1", 1), (f"0{2**63 - 1}", MAX_BILL_ID)])
def test_leading_zeros_of_a_bill_id_are_left_out_with_a_warning(text: str, number: int) -> None:
    """It is sent as a number; whoever meant the zeros should know."""
    correction = correction_of(row(billId=text))
    assert correction.bill_id == number
    assert correction.warnings == ("billId: sent as a number, so without its leading zeros",)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0", "BILL_ID_NOT_POSITIVE"),
        ("000", "BILL_ID_NOT_POSITIVE"),
        ("-12345", "BILL_ID_NOT_POSITIVE"),
        ("+12345", "BILL_ID_NOT_POSITIVE"),
        (str(2**63), "BILL_ID_TOO_LARGE"),
        ("9" * 19, "BILL_ID_TOO_LARGE"),
        ("1" * 20, "BILL_ID_TOO_LARGE"),
        ("1" * 5000, "BILL_ID_TOO_LARGE"),
        ("ABC123", "BILL_ID_NOT_A_WHOLE_NUMBER"),
        ("12345.67", "BILL_ID_NOT_A_WHOLE_NUMBER"),
        ("1,234", "BILL_ID_NOT_A_WHOLE_NUMBER"),
        ("12 345", "BILL_ID_NOT_A_WHOLE_NUMBER"),
        ("12345.", "BILL_ID_NOT_A_WHOLE_NUMBER"),
        ("1e5", "BILL_ID_NOT_A_WHOLE_NUMBER"),
        ("1_000", "BILL_ID_NOT_A_WHOLE_NUMBER"),
        ("0x1F", "BILL_ID_NOT_A_WHOLE_NUMBER"),
        ("-", "BILL_ID_NOT_A_WHOLE_NUMBER"),
        ("\uff11\uff12", "BILL_ID_NOT_A_WHOLE_NUMBER"),
        ("\u0661\u0662", "BILL_ID_NOT_A_WHOLE_NUMBER"),
        ("1\t2", "BILL_ID_NOT_A_WHOLE_NUMBER"),
        ("1\n2", "LINE_BREAK"),
        ("12345.0", "SPREADSHEET_DAMAGE"),
        ("12345,00", "SPREADSHEET_DAMAGE"),
        ("1.23E+18", "SPREADSHEET_DAMAGE"),
        ("8878E2", "BILL_ID_NOT_A_WHOLE_NUMBER"),
    ],
)
def test_what_is_no_bill_id_has_one_problem(text: str, code: str) -> None:
    """Each wrong number is wrong for one reason, and trusting ids does not make a number of it."""
    assert problems_of(row(billId=text)) == [(code, "billId")]
    assert problems_of(row(billId=text), TRUSTING) == [(code, "billId")]


@pytest.mark.parametrize("length", [1, 254, 255])
def test_a_purpose_may_have_255_characters(length: int) -> None:
    """Characters count, not bytes, and the outer blanks that are left out do not."""
    correction = correction_of(row(purpose=f" {'é' * length} "))
    assert correction.purpose == "é" * length


@pytest.mark.parametrize("length", [256, 5000])
def test_a_longer_purpose_is_refused(length: int) -> None:
    """It is not cut: what is cut off is not ours to choose."""
    assert problems_of(row(purpose="x" * length)) == [("PURPOSE_TOO_LONG", "purpose")]


@pytest.mark.parametrize(("length", "warned"), [(50, 0), (51, 1), (500, 1)])
def test_a_bill_number_over_50_characters_warns_and_is_sent(length: int, warned: int) -> None:
    """The limit is documented for a sibling only."""
    correction = correction_of(row(billNumber="B" * length))
    assert correction.bill_number == "B" * length
    assert len(correction.warnings) == warned


DAMAGED = ["8.88E+05", "9.19777E+11", "1.23E+18", "1E+05", "8,88E+05", "-1.5E-07", "1.5e+300"]


@pytest.mark.parametrize("value", DAMAGED)
@pytest.mark.parametrize("column", ["redemptionId", "externalReferenceNumber", "billNumber", "identifierValue"])
def test_a_number_in_scientific_form_has_lost_its_digits(column: str, value: str) -> None:
    """What a spreadsheet rewrote is refused, and trusted only where any text could be right."""
    cells = {column: value, "identifierType": "externalId"}
    broken = row(**cells) if column != "externalReferenceNumber" else row(redemptionId="", **cells)
    assert problems_of(broken) == [("SPREADSHEET_DAMAGE", column)]
    correction = correction_of(broken, TRUSTING)
    assert value in {*correction.identifiers.values(), correction.bill_number}


@pytest.mark.parametrize("value", [*DAMAGED, "919777000001.0", "919777000001,00"])
def test_a_damaged_mobile_number_is_never_trusted(value: str) -> None:
    """It holds digits that are not the customer's, or a decimal point that would vanish among the dots people write."""
    assert problems_of(row(identifierValue=value), TRUSTING) == [("SPREADSHEET_DAMAGE", "identifierValue")]


@pytest.mark.parametrize("column", ["purpose", "customFields.note"])
def test_free_text_may_look_like_a_number_in_scientific_form(column: str) -> None:
    """A purpose of `8.88E+05` is nobody's id."""
    correction = correction_of(row(**{column: "8.88E+05"}))
    assert "8.88E+05" in {correction.purpose, *correction.custom_fields.values()}


@pytest.mark.parametrize("character", ["\0", "\x07", "\x0b", "\x0c", "\x1b", "\x1c", "\x1f", "\x7f", "\x85", "\x9f"])
@pytest.mark.parametrize("cell", ["{}ab", "a{}b", "ab{}", " {} "])
@pytest.mark.parametrize("column", ["redemptionId", "billNumber", "purpose", "identifierValue", "customFields.x"])
def test_a_control_character_is_refused_wherever_it_stands(column: str, cell: str, character: str) -> None:
    """Also at the ends, where Python would take some of them for blanks and trim them in silence."""
    broken = row(**{"identifierType": "externalId", column: cell.format(character)})
    assert problems_of(broken) == [("CONTROL_CHARACTER", column)]


@pytest.mark.parametrize("character", ["\t", "\n", "\r", "\r\n"])
@pytest.mark.parametrize("column", ["purpose", "customFields.x"])
def test_tabs_and_line_ends_are_allowed_in_free_text(column: str, character: str) -> None:
    """A quoted cell may have several lines, and they are sent as they are."""
    correction = correction_of(row(**{column: f"a{character}b"}))
    assert f"a{character}b" in {correction.purpose, *correction.custom_fields.values()}
    assert correction.warnings == ()


@pytest.mark.parametrize("column", ["redemptionId", "billNumber", "identifierValue"])
def test_a_line_break_in_an_identifier_or_bill_is_a_stray_quote(column: str) -> None:
    """What looks like one cell of two lines may be two rows, one of which nobody would hear of again."""
    assert problems_of(row(**{column: "A1\nB2"})) == [("LINE_BREAK", column)]


@pytest.mark.parametrize("character", ["\u200b", "\u200e", "\ufeff", "\u00ad", "\u2060"])
@pytest.mark.parametrize("column", ["redemptionId", "billNumber", "billId", "identifierValue"])
def test_an_invisible_character_in_an_id_is_refused(column: str, character: str) -> None:
    """Nobody sees it, and it makes another id; at the ends too."""
    for cell in (f"12{character}34", f"{character}1234", f"1234{character}"):
        assert problems_of(row(**{column: cell})) == [("INVISIBLE_CHARACTER", column)]


def test_an_invisible_character_in_free_text_is_kept() -> None:
    """Scripts and emoji need joiners."""
    family = "\U0001f468\u200d\U0001f469"
    assert correction_of(row(purpose=family)).purpose == family


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\r\n", "\u00a0", "\u2009", "\u3000"])
@pytest.mark.parametrize(
    ("column", "value"), [("redemptionId", "8878ru"), ("billId", "7"), ("purpose", "a  b"), ("customFields.x", "y")]
)
def test_outer_blanks_are_trimmed_with_a_warning(column: str, value: str, blank: str) -> None:
    """The value inside stays exact, its own blanks included."""
    plain, padded = correction_of(row(**{column: value})), correction_of(row(**{column: blank + value + blank}))
    assert padded.warnings == (f"{column}: blanks around the value were left out",)
    assert (padded.redemption_id, padded.bill_id) == (plain.redemption_id, plain.bill_id)
    assert (padded.purpose, padded.custom_fields) == (plain.purpose, plain.custom_fields)


def test_a_cell_of_blanks_is_an_empty_cell() -> None:
    """It leaves its field alone, and is nothing to warn of."""
    correction = correction_of(row(purpose=" \t", **{"customFields.x": "\u00a0"}))
    assert (correction.purpose, correction.custom_fields, correction.warnings) == ("", {}, ())


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("+91 97770-00001", "919777000001"),
        ("+919777000001", "919777000001"),
        ("91 97770 00001", "919777000001"),
        ("91.97770.00001", "919777000001"),
        ("+1 (416) 555-0100", "14165550100"),
        ("91\u00a097770\u202f00001", "919777000001"),
    ],
)
def test_a_mobile_number_is_sent_as_digits_with_a_warning(written: str, sent: str) -> None:
    """The platform wants country code and digits; people write more."""
    correction = correction_of(row(identifierValue=written))
    assert correction.identifier_value == sent
    assert correction.warnings == ("identifierValue: the mobile number is sent as digits only",)


@pytest.mark.parametrize("value", ["919777000001", "9777000001", "14165550100", "1234567890123456"])
def test_digits_are_sent_as_they_are(value: str) -> None:
    """Nothing is guessed about a number without a setting that says so; its length is the platform's to judge."""
    correction = correction_of(row(identifierValue=value))
    assert correction.identifier_value == value
    assert correction.warnings == ()


@pytest.mark.parametrize(
    "value",
    [
        "asha@example.com",
        "91-9777-O00001",
        "+",
        "-",
        ".",
        "+91+9777000001",
        "++919777000001",
        "91 9777000001 ext 2",
        "+44 (0)7700 900123",
        "tel:919777000001",
        "\uff19\uff11\uff19\uff17\uff17\uff17",
    ],
)
def test_what_is_no_mobile_number_is_refused(value: str) -> None:
    """Nothing is made a number that is none, and of a zero in brackets nobody knows whether it is meant."""
    assert problems_of(row(identifierValue=value)) == [("8015", "identifierValue")]


@pytest.mark.parametrize(
    "between", ["/", " / ", ",", ";", "\n", "\r\n", "\t", "|", "&", " ", "  ", " - ", "-", ".", " or ", " +"]
)
@pytest.mark.parametrize(
    "pair", [("919777000001", "919777000002"), ("9777000001", "9777000002"), ("97770001", "97770002")]
)
def test_two_numbers_in_one_cell_are_never_merged(pair: tuple[str, str], between: str) -> None:
    """The digits of two customers are no third customer's number."""
    code = "LINE_BREAK" if "\n" in between else "8015"
    assert problems_of(row(identifierValue=between.join(pair)), INDIA) == [(code, "identifierValue")]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("9777000001", "919777000001"),
        ("97770-00001", "919777000001"),
        ("97770 00001", "919777000001"),
        ("+9777000001", "9777000001"),
        ("919777000001", "919777000001"),
        ("777000001", "777000001"),
        ("09777000001", "09777000001"),
    ],
)
def test_the_country_code_goes_before_ten_digits_only(written: str, sent: str) -> None:
    """Ten digits become twelve; a plus says that the country code is there already."""
    correction = correction_of(row(identifierValue=written), INDIA)
    assert correction.identifier_value == sent
    put = "identifierValue: the country code was put before the ten digits"
    assert (put in correction.warnings) is (len(sent) > sum(map(str.isdigit, written)))


def test_one_customer_in_three_spellings_is_one_customer() -> None:
    """Country code and decoration are settled before anything compares customers."""
    spellings = ("9777000001", "+91 97770-00001", "919777000001")
    assert len({correction_of(row(identifierValue=text), INDIA).customer_key for text in spellings}) == 1


@pytest.mark.parametrize("kind", ["email", "externalId", "id", "cardnumber", "Mobile"])
def test_only_mobile_numbers_are_rewritten(kind: str) -> None:
    """An external id of `+91 97770-00001` is what it is."""
    assert correction_of(row(identifierType=kind, identifierValue="+1 (0)2-3"), INDIA).identifier_value == "+1 (0)2-3"


def test_all_problems_of_a_row_are_told_at_once_and_in_one_order() -> None:
    """A person mends a row once, and two runs over one file say the same."""
    broken = Row(
        row_number=7,
        values={
            "redemptionId": "8.88E+05",
            "externalReferenceNumber": "1.23E+18",
            "billNumber": "9.19777E+11",
            "billId": "-1",
            "purpose": "x" * 256,
            "entityType": "",
            "identifierType": "mobile",
            "identifierValue": "who?",
            "customFields.x": "\x07",
        },
    )
    assert problems_of(broken) == [
        ("CONTROL_CHARACTER", "customFields.x"),
        ("SPREADSHEET_DAMAGE", "redemptionId"),
        ("SPREADSHEET_DAMAGE", "externalReferenceNumber"),
        ("SPREADSHEET_DAMAGE", "billNumber"),
        ("749", "redemptionId"),
        ("1219", "entityType"),
        ("8015", "identifierValue"),
        ("BILL_ID_NOT_POSITIVE", "billId"),
        ("PURPOSE_TOO_LONG", "purpose"),
    ]


def test_a_row_with_problems_keeps_its_number() -> None:
    """By it a person finds the row in the spreadsheet."""
    result = validate(Row(row_number=7, values={}), PLAIN)
    assert isinstance(result, Invalid)
    assert result.row_number == 7


def test_an_empty_row_lacks_everything() -> None:
    """A row without a single cell is told all it needs."""
    assert problems_of(Row(row_number=2, values={})) == [
        ("749", "redemptionId"),
        ("1219", "identifierValue"),
        ("748", "billNumber"),
    ]


REMEDY = "type the value anew by hand"
LOST = (
    "a spreadsheet rewrote the number in scientific form, and the digits it left out are lost;"
    " format the column as text and fill it anew from the source"
)
SENTENCES = [
    (
        {"externalReferenceNumber": "ACR-1"},
        "redemptionId and externalReferenceNumber are both filled: empty one, or say which counts with --identifier",
    ),
    (
        {"redemptionId": ""},
        "redemptionId and externalReferenceNumber are empty: nothing says which redemption to update",
    ),
    ({"entityType": ""}, "entityType is empty: the platform must know the customer completely"),
    ({"billNumber": ""}, "the row sets nothing: fill billNumber, billId, purpose or a custom field"),
    ({"purpose": "x" * 256}, "purpose is longer than 255 characters: shorten it"),
    ({"billId": "-1"}, "billId is not a positive number without a sign"),
    ({"billId": "1,234"}, "billId is not a whole number: digits only"),
    ({"billId": "9" * 19}, "billId is larger than 9223372036854775807, the largest there is"),
    (
        {"billId": "12345.0"},
        "billId: a spreadsheet or script added decimals to a whole number; format the column as text and fill it anew",
    ),
    ({"redemptionId": "8.88E+05"}, f"redemptionId: {LOST}"),
    (
        {"identifierValue": "+44 (0)7700 900123"},
        "identifierValue is not a mobile number: write country code and digits only",
    ),
    (
        {"identifierValue": "919777000001 919777000002"},
        "identifierValue has too many digits for one mobile number: write only one",
    ),
    ({"purpose": "a\x07b"}, f"purpose holds a control character: {REMEDY}"),
    ({"billNumber": "a\u200bb"}, f"billNumber holds an invisible character: {REMEDY}"),
    ({"billNumber": "a\nb"}, "billNumber holds a line break: look for a stray quote in the file"),
]


@pytest.mark.parametrize(("cells", "sentence"), SENTENCES, ids=[sentence for _, sentence in SENTENCES])
def test_each_problem_is_told_in_a_sentence(cells: dict[str, str], sentence: str) -> None:
    """Who mends the file reads nothing else: which column, what is wrong with it, and what to do."""
    result = validate(row(**cells), PLAIN)
    assert isinstance(result, Invalid)
    assert [problem.message for problem in result.problems] == [sentence]


@pytest.mark.parametrize("choice", [IdentifierChoice.REDEMPTION_ID, IdentifierChoice.EXTERNAL_REFERENCE_NUMBER])
def test_of_two_identifiers_only_the_chosen_one_is_called_empty(choice: IdentifierChoice) -> None:
    """A person who has chosen a column is not told about the other one."""
    result = validate(row(redemptionId=""), Rules(identifier=choice))
    assert isinstance(result, Invalid)
    assert [problem.message for problem in result.problems] == [
        f"{choice} is empty: nothing says which redemption to update"
    ]


@pytest.mark.parametrize(
    ("cells", "warning"),
    [
        ({"billNumber": "B" * 51}, "billNumber: longer than 50 characters; sent as it is"),
        ({"entityType": "TILL"}, "entityType: 'TILL' is not one of CUSTOMER, USERGROUP2, FLEET; sent as it is"),
        (
            {"identifierType": "phone"},
            f"identifierType: 'phone' is not one of {', '.join(KNOWN_IDENTIFIER_TYPES)}; sent as it is",
        ),
    ],
)
def test_each_doubt_about_what_is_sent_is_told_in_a_sentence(cells: dict[str, str], warning: str) -> None:
    """The row goes all the same, so the sentence has to say that."""
    assert correction_of(row(**cells)).warnings == (warning,)


def test_what_an_undo_sets_back_keeps_its_blanks() -> None:
    """What stood there before may have had blanks around it, and is what has to stand there again."""
    correction = correction_of(row(billNumber=" B-1 ", **{"expected.billNumber": "B-2 "}))
    assert (correction.bill_number, correction.warnings) == (" B-1 ", ())
    assert correction.expected == {"billNumber": "B-2 "}


def test_a_mobile_number_may_have_15_digits_and_decoration() -> None:
    """As many as E.164 has are one number, however they are grouped."""
    assert correction_of(row(identifierValue="+123 456 789 012 345")).identifier_value == "123456789012345"


def test_a_damaged_line_has_that_problem_alone() -> None:
    """What could not be read as cells is not judged by cells."""
    damage = Problem(code="RAGGED_ROW", column="", message="too many cells", detail="8878ru,x,y")
    assert validate(Row(row_number=3, values={}, damage=damage), PLAIN) == Invalid(row_number=3, problems=(damage,))


CELL = (
    st.text(max_size=30)
    | st.text(alphabet="0123456789.,+-Ee ()/\n\x07\u200b", max_size=24)
    | st.sampled_from(["", " ", "mobile", "email", "CUSTOMER", "8878ru", "1", "x" * 256])
)
CELLS = st.dictionaries(st.sampled_from([*map(str, Column), "customFields.x"]), CELL)
ROWS = st.builds(lambda values: Row(row_number=2, values=values), CELLS) | st.builds(
    lambda values: row(**dict(list(values.items())[:2])), CELLS
)
RULES = st.builds(
    Rules,
    identifier=st.sampled_from(IdentifierChoice),
    default_entity_type=st.sampled_from(["CUSTOMER", ""]),
    default_identifier_type=st.sampled_from(["mobile", "email", ""]),
    default_country_code=st.sampled_from(["", "91"]),
    trust_ids=st.booleans(),
)


@given(ROWS, RULES)
@example(row(billId="\u00b2"), PLAIN)
@example(row(identifierValue="\u00b2"), PLAIN)
def test_every_row_is_a_correction_or_invalid(given_row: Row, rules: Rules) -> None:
    """Nothing is raised for any cells, and what is sent keeps every promise of a correction."""
    result = validate(given_row, rules)
    if isinstance(result, Invalid):
        assert result.problems
        return
    assert bool(result.redemption_id) != bool(result.external_reference_number)
    assert result.bill_number or result.bill_id or result.purpose or result.custom_fields
    assert result.entity_type
    assert result.identifier_type
    assert result.identifier_value
    assert result.bill_id is None or 1 <= result.bill_id <= MAX_BILL_ID
    assert len(result.purpose) <= 255
    assert all(result.custom_fields.values())
    if result.identifier_type == "mobile":
        assert re.fullmatch("[0-9]+", result.identifier_value)


WIDE = [*map(str, Column), "customFields.x"]


@given(st.permutations(WIDE), st.lists(st.lists(CELL, min_size=len(WIDE), max_size=len(WIDE)), max_size=4), RULES)
def test_a_row_is_judged_alone_whatever_came_before_it(columns: list[str], rows: list[list[str]], rules: Rules) -> None:
    """One judge for all rows of a file says of each what one of its own would say."""
    judge = Judge(columns, rules)
    assert [judge.judge(number, tuple(cells)) for number, cells in enumerate(rows, start=2)] == [
        validate(Row(row_number=number, values=dict(zip(columns, cells, strict=True))), rules)
        for number, cells in enumerate(rows, start=2)
    ]


@given(
    st.sampled_from(["redemptionId", "billNumber", "billId", "identifierValue"]),
    st.from_regex(r"[+-]?[0-9]([.,][0-9]{1,9})?[Ee][+-][0-9]{2,3}", fullmatch=True),
    st.sampled_from([{}, {"purpose": "a-b, c"}, {"purpose": "\n"}, {"entityType": "é"}]),
)
def test_no_number_in_scientific_form_slips_through(column: str, value: str, others: dict[str, str]) -> None:
    """In whatever spelling, in whichever column of ids, beside whatever other cells."""
    assert problems_of(row(**others, **{column: value})) == [("SPREADSHEET_DAMAGE", column)]


@given(
    st.sampled_from(["billId", "identifierValue"]),
    st.from_regex(r"[+-]?[0-9]{1,15}[.,]0{1,4}", fullmatch=True),
)
def test_no_whole_number_with_decimals_slips_through(column: str, value: str) -> None:
    """Where only a whole number can stand, what was added to it is seen."""
    assert problems_of(row(**{column: value})) == [("SPREADSHEET_DAMAGE", column)]


@given(ROWS, RULES)
def test_no_character_is_made_up(given_row: Row, rules: Rules) -> None:
    """What is sent stood in the file: a part of its cell, but for a mobile number's missing decoration."""
    result = validate(given_row, rules)
    if isinstance(result, Invalid):
        return
    assert result.redemption_id in given_row.values.get("redemptionId", "")
    assert result.external_reference_number in given_row.values.get("externalReferenceNumber", "")
    assert result.bill_number in given_row.values.get("billNumber", "")
    assert result.purpose in given_row.values.get("purpose", "")
    assert str(result.bill_id or "") in given_row.values.get("billId", "")
    if result.identifier_type != "mobile":
        assert result.identifier_value in given_row.values["identifierValue"]


@given(ROWS, RULES, st.text(max_size=5))
def test_no_message_quotes_a_cell(given_row: Row, rules: Rules, around: str) -> None:
    """With a mark in every cell, no message holds the mark: messages are the same for every row, so they may travel."""
    marked = {column: f"{value}{around}\u2603" for column, value in given_row.values.items()}
    result = validate(Row(row_number=2, values=marked), rules)
    if isinstance(result, Invalid):
        assert not any("\u2603" in problem.message for problem in result.problems)
        assert not any(problem.detail for problem in result.problems)


@given(
    st.sampled_from(["redemptionId", "externalReferenceNumber", "identifierValue"]),
    st.from_regex(
        r"[0-9]{4,24}|[+-]?[0-9][.,][0-9]{2,6}E[+-][0-9]{2}|[0-9]{4,12}[.,]00|\+[0-9]{4}/[0-9]{4}", fullmatch=True
    ),
    ROWS,
    RULES,
)
def test_no_message_holds_an_identifier(column: str, value: str, given_row: Row, rules: Rules) -> None:
    """Also in the forms that have messages of their own; only the largest bill id is a number that messages name."""
    assume(value not in str(MAX_BILL_ID))
    result = validate(Row(row_number=2, values={**given_row.values, column: value}), rules)
    if isinstance(result, Invalid):
        assert not any(value in problem.message for problem in result.problems)
