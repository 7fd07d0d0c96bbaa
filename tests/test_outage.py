"""The rule of an outage: when one is declared, when it is over, how long it has lasted, and which row is to blame."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkredeem.model import Sign
from bulkredeem.outage import ROWS, TRIES, Watch

ANSWERED, THROTTLED, UNANSWERED = Sign.ANSWERED, Sign.THROTTLED, Sign.UNANSWERED
Try = tuple[int, Sign]
"""A row number, and what its finished try says."""
MANY = 1000
"""Rows that remain when it does not matter how many."""

SIGNS = st.just(UNANSWERED) | st.just(UNANSWERED) | st.just(UNANSWERED) | st.sampled_from(Sign)
"""Mostly unanswered: else there would never be an outage."""
HISTORY = st.lists(st.tuples(st.integers(2, 6), SIGNS), max_size=40)


@dataclass(kw_only=True)
class Seen:
    """A watch on a clock of the test's own, and what it has noted."""

    now: float = 0.0
    tries: list[Try] = field(default_factory=list)
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing seen."""
        self.watch = Watch(clock=lambda: self.now)

    def note(self, tries: Iterable[Try], *, remaining: int = MANY) -> Watch:
        """Note these, one after another, and return the watch."""
        for row_number, sign in tries:
            self.tries.append((row_number, sign))
            self.watch.note(row_number, sign, remaining=remaining)
        return self.watch


def unanswered(*rows: int) -> list[Try]:
    """Return one unanswered try for each of these rows."""
    return [(row, UNANSWERED) for row in rows]


def in_turn(rows: int, tries: int = TRIES) -> list[Try]:
    """Return so many unanswered tries of so many rows, which take turns."""
    return unanswered(*(2 + number % rows for number in range(tries)))


# When there is an outage


@pytest.mark.parametrize(
    ("tries", "remaining", "is_outage"),
    [
        pytest.param([], MANY, False, id="nothing seen"),
        pytest.param(in_turn(3), MANY, True, id="ten of three rows"),
        pytest.param(in_turn(10), MANY, True, id="ten of ten rows"),
        pytest.param(in_turn(9, 9), MANY, False, id="nine"),
        pytest.param(in_turn(2), MANY, False, id="ten of two rows"),
        pytest.param(in_turn(2, 500), 3, False, id="five hundred of two rows, one more remains"),
        pytest.param(in_turn(2), 2, True, id="ten of two rows that alone remain"),
        pytest.param(in_turn(1), 2, False, id="ten of one row, two remain"),
        pytest.param(in_turn(1), 1, True, id="ten of the last row"),
        pytest.param(in_turn(1, 9), 1, False, id="nine of the last row"),
        pytest.param([(2, ANSWERED), *in_turn(3)], MANY, True, id="ten after an answer"),
        pytest.param([(2, ANSWERED), *in_turn(3, 9)], MANY, False, id="nine after an answer"),
        pytest.param([*in_turn(3, 5), (2, THROTTLED), *in_turn(3, 9)], MANY, False, id="a throttled one among them"),
        pytest.param([*in_turn(3), (2, ANSWERED)], MANY, False, id="answered in the end"),
        pytest.param([*in_turn(3), (2, THROTTLED)], MANY, False, id="throttled in the end"),
        pytest.param([*in_turn(2, 50), *unanswered(9)], MANY, True, id="a third row at last"),
        pytest.param([*unanswered(3, 4), *in_turn(1, 8)], MANY, True, id="three rows, one of them most of the time"),
    ],
)
def test_an_outage_is_ten_tries_of_three_rows_or_of_all_that_remain(
    tries: list[Try],
    remaining: int,
    is_outage: bool,  # noqa: FBT001  a table
) -> None:
    """Show each side of each bound of the rule."""
    assert Seen().note(tries, remaining=remaining).is_outage is is_outage


def test_who_went_unanswered_twice_beside_others_bears_no_witness() -> None:
    """Three sick rows are no outage, however often they are tried: each is to blame, and the rest is watched."""
    watch = Watch()
    for number in range(8):
        for row in (2, 3, 4):
            watch.note(row, UNANSWERED, remaining=MANY, since=watch.sent(row))
        if number < 2:
            watch.note(9, ANSWERED, remaining=MANY, since=watch.finished)
    assert not watch.is_outage
    assert [watch.may_give_up(row, since=watch.finished, under_way=3) for row in (2, 3, 4)] == [True] * 3
    for row, _ in in_turn(3):
        watch.note(row + 100, UNANSWERED, remaining=MANY, since=watch.finished)
    assert watch.is_outage


def test_an_outage_makes_nobody_a_suspect() -> None:
    """Who is under way when it begins, and again when it has ended, went unanswered with everybody else."""
    watch = Watch()
    watch.note(9, ANSWERED, remaining=MANY, since=0)
    for row, _ in in_turn(5, 2 * TRIES):
        watch.note(row, UNANSWERED, remaining=MANY, since=watch.sent(row))
    watch.note(9, ANSWERED, remaining=MANY, since=watch.finished)
    assert not any(watch.may_give_up(row, since=watch.finished, under_way=9) for row in range(2, 7))


def test_one_answer_to_others_counts_for_one_try_of_a_row() -> None:
    """Also when it came while the second was under way: the first had been looked at by then."""
    watch = Watch()
    watch.note(2, UNANSWERED, remaining=MANY, since=watch.sent(2))
    since = watch.sent(2)
    watch.note(9, ANSWERED, remaining=MANY, since=watch.finished)
    watch.note(2, UNANSWERED, remaining=MANY, since=since)
    since = watch.sent(2)
    watch.note(3, UNANSWERED, remaining=MANY, since=watch.finished)
    watch.note(2, UNANSWERED, remaining=MANY, since=since)
    assert watch.may_give_up(2, since=since, under_way=3) is False


def test_a_suspect_that_is_answered_is_none_any_more() -> None:
    """It was the platform after all; and what is no longer under way is forgotten."""
    watch = Watch()
    for sign in (UNANSWERED, ANSWERED, UNANSWERED, ANSWERED):
        for row in (2, 3) if sign is UNANSWERED else (9,):
            watch.note(row, sign, remaining=MANY, since=watch.sent(row))
    assert [watch.may_give_up(row, since=watch.finished, under_way=9) for row in (2, 3)] == [True, True]
    watch.note(2, ANSWERED, remaining=MANY, since=watch.finished)
    watch.forget(3)
    assert [watch.may_give_up(row, since=watch.finished, under_way=9) for row in (2, 3)] == [None, None]


@given(history=st.lists(st.tuples(st.integers(2, 6), SIGNS, st.integers(1, 5)), max_size=40))
@example(history=[(2, UNANSWERED, 1)] * 30)
def test_an_outage_is_declared_exactly_by_the_rule(history: list[tuple[int, Sign, int]]) -> None:
    """Whatever happens: it begins with the tenth such try, and not before; it lasts until a try is not unanswered."""
    seen, outages = Seen(), 0
    for row_number, sign, remaining in history:
        was_outage = seen.watch.is_outage
        seen.note([(row_number, sign)], remaining=remaining)
        last = seen.tries[-10:]
        gone = len(last) == 10 and {sign for _, sign in last} == {UNANSWERED}
        enough = len({row for row, _ in last}) >= min(3, remaining)
        outages += gone and enough and not was_outage
        assert seen.watch.is_outage is (sign is UNANSWERED and (was_outage or (gone and enough)))
    assert (seen.watch.outages, seen.watch.finished) == (outages, len(history))


@pytest.mark.parametrize("end", [ANSWERED, THROTTLED])
def test_the_next_outage_needs_ten_tries_again(end: Sign) -> None:
    """What was unanswered before an outage ended counts no more."""
    seen = Seen()
    seen.note([*in_turn(3), (2, end), *in_turn(3, 9)])
    assert (seen.watch.is_outage, seen.watch.outages) == (False, 1)
    seen.note(unanswered(5))
    assert (seen.watch.is_outage, seen.watch.outages) == (True, 2)


# How long nobody was answered


def test_time_counts_from_the_end_of_the_first_try_that_was_not_answered() -> None:
    """Not from the declaration, which comes ten tries later."""
    seen = Seen(now=1000.0)
    assert seen.watch.unanswered_for == 0.0
    seen.note([(2, ANSWERED)])
    seen.now += 500.0
    assert seen.watch.unanswered_for == 0.0
    for row in range(2, 12):
        seen.note(unanswered(row))
        seen.now += 30.0
    assert (seen.watch.is_outage, seen.watch.unanswered_for) == (True, 300.0)


@given(history=st.lists(st.tuples(st.sampled_from(Sign), st.integers(0, 100)), max_size=20))
def test_only_an_answer_sets_the_time_back(history: list[tuple[Sign, int]]) -> None:
    """A platform that throttles is there, but has not answered: that ends an outage, and not the wait for an answer."""
    seen, since = Seen(), None
    for sign, seconds in history:
        seen.note([(2, sign)])
        since = None if sign is ANSWERED else seen.now if since is None else since
        seen.now += seconds
        assert seen.watch.unanswered_for == (0.0 if since is None else seen.now - since)


# Which row is to blame

BEFORE: list[Try] = [(7, ANSWERED)] * TRIES
"""The platform was answering."""


@pytest.mark.parametrize(
    ("before", "since_sent", "under_way", "verdict"),
    [
        pytest.param(BEFORE, [(3, ANSWERED), (2, UNANSWERED)], 32, True, id="somebody was answered in the meantime"),
        pytest.param(BEFORE, [(2, UNANSWERED), (3, ANSWERED)], 32, True, id="somebody was answered since"),
        pytest.param(BEFORE, [(2, UNANSWERED), (3, THROTTLED)], 32, True, id="somebody was throttled since"),
        pytest.param(BEFORE, [(2, ANSWERED)], 32, True, id="it was answered itself, that it must come again"),
        pytest.param(BEFORE, [(2, UNANSWERED)], 32, None, id="nothing is known of the others"),
        pytest.param(BEFORE, [(2, UNANSWERED)], 2, None, id="nothing is known of the other one"),
        pytest.param(BEFORE, [(2, UNANSWERED), (3, UNANSWERED)], 32, False, id="another fares no better"),
        pytest.param(BEFORE, [(3, UNANSWERED), (2, UNANSWERED)], 32, False, id="another fared no better"),
        pytest.param(BEFORE, [(2, UNANSWERED)], 1, True, id="the last row, after answers"),
        pytest.param([], [(2, UNANSWERED)], 1, False, id="the only row there ever was"),
        pytest.param([(3, ANSWERED)], unanswered(*[2] * 9), 1, True, id="the last row, the answer just in"),
        pytest.param([(3, ANSWERED)], unanswered(*[2] * 10), 1, True, id="the last row, the answer too long ago"),
        pytest.param(in_turn(2, 20), unanswered(2), 2, True, id="two of many that cannot be tried: no way to tell"),
        pytest.param(in_turn(2, 20), unanswered(2, 3), 2, True, id="two of many, both tried: no way to tell"),
        pytest.param(in_turn(2, 20), unanswered(2, 3), 3, False, id="a third one has yet to be tried"),
        pytest.param(
            [(3, ANSWERED), *in_turn(2, 7)], unanswered(2, 3), 2, False, id="two sick rows, an answer just in"
        ),
    ],
)
def test_who_is_to_blame(before: list[Try], since_sent: list[Try], under_way: int, verdict: bool | None) -> None:  # noqa: FBT001
    """Show for row 2, whose attempts are used up, each case there is; None means that others have yet to tell."""
    watch = Seen().note(before)
    since = watch.finished
    for row_number, sign in since_sent:
        watch.note(row_number, sign, remaining=MANY)
    assert not watch.is_outage
    assert watch.may_give_up(2, since=since, under_way=under_way) is verdict


@given(before=HISTORY, since_sent=HISTORY, under_way=st.integers(1, 5))
def test_whose_neighbour_was_answered_is_to_blame(before: list[Try], since_sent: list[Try], under_way: int) -> None:
    """Any try that was answered or throttled since the row's last one was sent decides, among the last ten tries."""
    seen = Seen()
    since = seen.note(before).finished
    seen.note([*since_sent, (2, UNANSWERED)])
    verdict = seen.watch.may_give_up(2, since=since, under_way=under_way)
    if any(sign is not UNANSWERED for _, sign in [*since_sent, (2, UNANSWERED)][-TRIES:]):
        assert verdict is True
    elif under_way >= ROWS and any(row != 2 for row, _ in since_sent[-TRIES + 1 :]):
        assert verdict is False


@given(history=HISTORY, since=st.integers(0, 40))
def test_somebody_who_is_alone_is_never_kept_waiting(history: list[Try], since: int) -> None:
    """With nobody else under way no news can come, so there must be a verdict."""
    seen = Seen()
    seen.note([*history, (2, UNANSWERED)])
    since = min(since, len(history))
    assert seen.watch.may_give_up(2, since=since, under_way=1) is not None


@given(rows=st.lists(st.integers(2, 6), max_size=30), since=st.integers(0, 30), under_way=st.integers(ROWS, 32))
def test_nobody_is_to_blame_while_nobody_ever_was_answered(rows: list[int], since: int, under_way: int) -> None:
    """With three rows under way and a platform that never said a word, no row is given up, however often sent."""
    seen = Seen()
    seen.note(unanswered(*rows, 2))
    assert not seen.watch.may_give_up(2, since=min(since, len(rows)), under_way=under_way)
