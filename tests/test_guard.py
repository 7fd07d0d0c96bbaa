"""When refusals say that the run itself is wrong: thresholds, exactly."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.guard import ENOUGH, FIRST_ROWS, Guard
from bulkredeem.model import Outcome, Status, parse_share


def answered(status: Status, code: str = "", reason: str = "", attempts: int = 1) -> Outcome:
    """Return an outcome of a row that was sent, unless `attempts` say otherwise."""
    return Outcome(row_number=2, status=status, error_code=code, reason=reason, attempts=attempts)


ACCEPTED = answered(Status.SUCCESS)
REFUSED = answered(Status.REFUSED, "750", "redemption not found")
CONTRADICTED = answered(Status.IN_DOUBT, "ECHO_MISMATCH", "another bill number")
SILENT = [
    pytest.param(answered(Status.IN_DOUBT, "TIMEOUT"), id="no answer"),
    pytest.param(answered(Status.FAILED, "521"), id="busy"),
    pytest.param(answered(Status.INVALID, "748", attempts=0), id="invalid"),
    pytest.param(answered(Status.SKIPPED, "ALREADY_APPLIED", attempts=0), id="skipped"),
    pytest.param(answered(Status.REFUSED, "750", attempts=0), id="refused without a try"),
    pytest.param(answered(Status.SUCCESS, attempts=0), id="accepted without a try"),
]


def guard(*outcomes: Outcome, most_refused: float = 0.5) -> Guard:
    """Return a guard that has heard of these outcomes."""
    made = Guard(most_refused=most_refused)
    note_all(made, outcomes)
    return made


def note_all(made: Guard, outcomes: Iterable[Outcome]) -> None:
    """Tell it of all of them."""
    for outcome in outcomes:
        made.note(outcome)


@pytest.mark.parametrize("refused", [REFUSED, CONTRADICTED])
@pytest.mark.parametrize(("rows", "expected"), [(FIRST_ROWS - 1, False), (FIRST_ROWS, True), (FIRST_ROWS + 1, True)])
def test_nothing_is_accepted_from_the_twenty_fifth_refusal_on(refused: Outcome, rows: int, *, expected: bool) -> None:
    """Another redemption in the reply than was meant counts as a refusal."""
    assert FIRST_ROWS == 25
    assert guard(*[refused] * rows).accepts_nothing is expected


@pytest.mark.parametrize("place", [0, FIRST_ROWS - 1, FIRST_ROWS])
def test_a_single_accepted_row_is_enough(place: int) -> None:
    """Before, among or after the refusals: what accepts one row is the right system and the right column."""
    outcomes = [REFUSED] * FIRST_ROWS
    outcomes.insert(place, ACCEPTED)
    assert not guard(*outcomes).accepts_nothing


@pytest.mark.parametrize("silent", SILENT)
def test_a_row_that_was_not_answered_says_nothing(silent: Outcome) -> None:
    """It counts neither as accepted nor as refused, and not as an answer."""
    assert not guard(*[silent] * ENOUGH).accepts_nothing
    assert not guard(*[silent] * ENOUGH).accepts_too_little
    assert guard(*[REFUSED] * FIRST_ROWS, silent).accepts_nothing
    assert not guard(*[REFUSED] * 101, *[ACCEPTED] * 98, silent).accepts_too_little


@pytest.mark.parametrize(
    ("refused", "accepted", "expected"),
    [
        pytest.param(199, 0, False, id="one answer too few"),
        pytest.param(100, 100, False, id="exactly the share"),
        pytest.param(101, 99, True, id="one more"),
        pytest.param(101, 100, True, id="one more, later"),
        pytest.param(101, 101, False, id="back at the share"),
        pytest.param(0, 500, False, id="none"),
    ],
)
def test_the_share_counts_from_two_hundred_answers_on(refused: int, accepted: int, *, expected: bool) -> None:
    """With a share of 50%: it is to be passed, not reached."""
    assert ENOUGH == 200
    assert guard(*[REFUSED] * refused, *[ACCEPTED] * accepted).accepts_too_little is expected


@pytest.mark.parametrize("percent", range(1, 101))
def test_exactly_the_share_is_never_more_than_may_be(percent: int) -> None:
    """Of 200 answered rows twice as many as the percentage may be refused, and not one more."""
    made = guard(*[REFUSED] * (2 * percent), *[ACCEPTED] * (200 - 2 * percent), most_refused=parse_share(f"{percent}%"))
    assert not made.accepts_too_little


@given(outcomes=st.lists(st.sampled_from([ACCEPTED, REFUSED, CONTRADICTED]), max_size=400))
def test_a_share_of_all_never_stops_a_run(outcomes: list[Outcome]) -> None:
    """100% is for never."""
    assert not guard(*outcomes, most_refused=1.0).accepts_too_little


def test_the_words_name_what_was_refused_most() -> None:
    """With all refused, the share needs no second number; the reason is the masked one."""
    words = guard(*[REFUSED] * 24, answered(Status.REFUSED, "8015", "invalid identifier")).in_words()
    assert words.startswith("all of the 25 rows that the platform has answered were refused, 24 of them with 750 ")
    assert "(redemption not found)" in words
    assert "--no-guard" in words


def test_the_words_give_the_share_once_something_was_accepted() -> None:
    """Both numbers, with their thousands."""
    assert guard(*[REFUSED] * 1200, *[ACCEPTED] * 900).in_words().startswith("1,200 of the 2,100 rows")
