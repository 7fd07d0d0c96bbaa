"""Whole runs on a clock that jumps, against a platform that is a function: every run ends, and no row pays for others.

Here the pool, the delivery, the gate, the pace and the stop work together as in a real run; only the client and the
journal are replaced.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkredeem.delivery import PROBE_MOST, Delivery, Gate, Hooks
from bulkredeem.errors import AccessRefusedError, OutageError, SignalledError
from bulkredeem.model import Answer, Ceiling, Correction, Invalid, Outcome, Reply, Sign, Skipped, Status, Trouble
from bulkredeem.outage import ROWS, SUSPICIOUS, Watch
from bulkredeem.pace import LATENESS_MADE_GOOD, Pace
from bulkredeem.processor import Pool, Stop
from bulkredeem.verdict import judge, sign_of

Virtually = Callable[[Coroutine[Any, Any, Any]], Any]
ROUNDING = 1e-6
"""Seconds that adding many floats may cost."""
A_DAY = 86_400.0
"""Seconds after which a run counts as one that never ends."""
ENDLESS = 5_000
"""Tries after which it does."""


def error(http_status: int, code: int, *, retry_after: float | None = None) -> Reply:
    """Return a reply with one error."""
    return Reply(http_status=http_status, body={"errors": [{"code": code, "message": "no"}]}, retry_after=retry_after)


OK = Reply(http_status=200, body={})
REFUSED = error(400, 750)
BUSY = error(400, 521)
NOBODY_TO_ASK = error(503, 4001)
BROKEN = Reply(http_status=502, body={})
THROTTLED = Reply(http_status=429, body={})
THROTTLED_SHORTLY = Reply(http_status=429, body={}, retry_after=0.0)
OVERLOADED = Reply(http_status=503, body={}, retry_after=5.0)
OTHER_BILL = Reply(http_status=200, body={"billNumber": "other"})
NO_JSON = Reply(http_status=200, unreadable="was a page of HTML")
LOST = Trouble(code="CONNECTION_LOST", message="the connection was lost", may_be_applied=True)
UNREACHED = Trouble(code="CONNECTION_FAILED", message="no connection could be made", may_be_applied=False)
UNAUTHORIZED = Reply(http_status=401)
RENEWED = Reply(http_status=401, credentials_renewed=True)

ANSWERS: list[Answer] = [
    *(OK, REFUSED, BUSY, NOBODY_TO_ASK, BROKEN, THROTTLED, THROTTLED_SHORTLY, OVERLOADED, OTHER_BILL, NO_JSON),
    *(LOST, UNREACHED, RENEWED),
]
SICK: list[Answer] = [BROKEN, LOST, UNREACHED, OVERLOADED, THROTTLED, BUSY, NOBODY_TO_ASK]
GONE: list[Answer] = [BROKEN, LOST, UNREACHED, NOBODY_TO_ASK]


@dataclass(frozen=True, kw_only=True)
class Try:
    """One try on the wire."""

    row: int
    number: int
    began: float
    ended: float
    answer: Answer
    correction: Correction

    @property
    def sign(self) -> Sign:
        """What it says of the platform."""
        return sign_of(self.answer, judge(self.answer, self.correction))

    @property
    def is_doubtful(self) -> bool:
        """Whether it may have been applied, and nobody knows."""
        return judge(self.answer, self.correction).status is Status.IN_DOUBT

    @property
    def is_throttled(self) -> bool:
        """Whether the platform wanted us to slow down."""
        return judge(self.answer, self.correction).throttled


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What the platform knows when it answers."""

    row: int
    number: int
    """Of this try of this row, from 1."""
    began: float
    now: float


@dataclass(kw_only=True)
class Night:
    """A run of rows 2, 3, 4 …, and all that happened in it."""

    platform: Callable[[Sent], Answer] = lambda _sent: OK
    lasts: Callable[[int, int], float] = lambda _row, _number: 0.2
    """Seconds of a try, by row and number."""
    rows: int = 40
    customers: int = 1_000
    """The rows are theirs in turn; only one of a customer's is under way at a time."""
    doubted: frozenset[int] = frozenset()
    """Rows that may have been applied in an earlier stretch."""
    workers: int = 8
    max_attempts: int = 5
    outage_timeout: float = 900.0
    rate: str = "none"
    cut: Callable[[asyncio.Task[None], Stop], None] = lambda _run, _stop: None
    """Told of the run when it begins."""

    stop: Stop = field(default_factory=Stop)
    tries: list[Try] = field(default_factory=list)
    """In the order in which they ended."""
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    """Rows whose delivery began."""
    open: set[int] = field(default_factory=set)
    """Rows with a try on the wire."""
    left: list[int] = field(default_factory=list)
    """Rows that were said to be left in doubt."""
    outages: list[tuple[float, bool]] = field(default_factory=list)
    """When which beginnings (True) and ends were told."""
    under_way: set[int] = field(default_factory=set)
    """Rows being delivered."""
    neighbours: dict[int, int] = field(default_factory=dict)
    """Row → how many were being delivered when it was settled, itself among them."""
    numbers: Counter[int] = field(default_factory=Counter)
    ended: float = 0.0

    async def pass_by(self) -> Night:
        """Run to the end."""
        run = asyncio.create_task(self._run())
        self.cut(run, self.stop)
        await asyncio.wait([run], timeout=A_DAY)
        assert run.done(), "it never ends"
        if not run.cancelled():
            run.result()
        self.ended = now()
        return self

    async def _run(self) -> None:
        self._delivery = self._make_delivery()
        pool = Pool(self._deliver, self._record, stop=self.stop, max_workers=max(ROWS, self.workers))
        await pool.run(map(self.correction, range(2, self.rows + 2)))

    def _make_delivery(self) -> Delivery:
        gate = Gate(
            Watch(clock=now),
            width=self.workers,
            outage_timeout=self.outage_timeout,
            remaining=lambda: self.rows - len(self.outcomes),
            sleep=self.stop.sleep,
            on_outage=lambda begins: self.outages.append((now(), begins)),
        )
        return Delivery(
            self._attempt,
            Pace(Ceiling.parse(self.rate), clock=now, sleep=self.stop.sleep),
            gate,
            max_attempts=self.max_attempts,
            sleep=self.stop.sleep,
            proceed=self.stop.check,
            wall_clock=now,
            hooks=Hooks(left_in_doubt=self.left.append),
        )

    def correction(self, row: int) -> Correction:
        """Return the correction of a row."""
        return Correction(
            row_number=row,
            redemption_id=f"R{row}",
            entity_type="CUSTOMER",
            identifier_type="mobile",
            identifier_value=f"9199{row % self.customers:08}",
            bill_number="B-1",
            may_be_applied=row in self.doubted,
        )

    async def _deliver(self, correction: Correction, sent: Callable[[], None]) -> Outcome:
        row = correction.row_number
        self.taken.add(row)
        self.under_way.add(row)
        try:
            return await self._delivery.deliver(correction, sent)
        finally:
            self.neighbours[row] = len(self.under_way)
            self.under_way.discard(row)

    async def _record(self, result: Outcome | Invalid | Skipped) -> None:
        assert isinstance(result, Outcome)
        assert result.row_number not in self.outcomes
        self.outcomes[result.row_number] = result

    async def _attempt(self, correction: Correction) -> Answer:
        assert len(self.tries) < ENDLESS, "it never ends"
        row, began = correction.row_number, now()
        self.numbers[row] += 1
        number = self.numbers[row]
        self.open.add(row)
        await asyncio.sleep(self.lasts(row, number))
        self.open.remove(row)
        answer = self.platform(Sent(row=row, number=number, began=began, now=now()))
        self.tries.append(Try(row=row, number=number, began=began, ended=now(), answer=answer, correction=correction))
        return answer

    # What it came to

    @property
    def cause(self) -> BaseException | None:
        """Why it stopped early, or None."""
        return self.stop.cause

    @property
    def counts(self) -> dict[str, int]:
        """How many rows have which status, `pending` among them."""
        counts = Counter(str(outcome.status) for outcome in self.outcomes.values())
        counts["pending"] = self.rows - len(self.outcomes)
        return {status: count for status, count in counts.items() if count}

    @property
    def begun(self) -> list[Try]:
        """The tries in the order in which they began."""
        return sorted(self.tries, key=lambda each: each.began)

    def tries_of(self, row: int) -> list[Try]:
        """Return what was sent for a row."""
        return [each for each in self.tries if each.row == row]

    @property
    def gone(self) -> list[tuple[float, float]]:
        """From when to when there were outages."""
        moments = [when for when, _ in self.outages]
        return list(zip(moments[::2], [*moments[1::2], self.ended], strict=False))


def now() -> float:
    """Return the time of the loop that runs."""
    return asyncio.get_running_loop().time()


def gone_between(
    begin: float, end: float, answer: Answer = UNREACHED, otherwise: Callable[[Sent], Answer] = lambda _: OK
) -> Callable[[Sent], Answer]:
    """Return a platform that gives no other answer than this between these moments."""
    return lambda sent: answer if begin <= sent.now < end else otherwise(sent)


@pytest.fixture(autouse=True)
def _same_back_offs() -> Iterator[None]:
    """Let chance be the same every time: a back-off takes a random part of its time."""
    state = random.getstate()
    random.seed(20)
    yield
    random.setstate(state)


# A platform that is away for a while


@pytest.mark.parametrize("gone", GONE)
@pytest.mark.parametrize("rate", ["none", "100/min"])
def test_a_minutes_outage_fails_no_row(virtually: Virtually, gone: Answer, rate: str) -> None:
    """In the middle of a run, whatever it looks like: every row succeeds, and the run goes on by itself."""
    night = Night(platform=gone_between(10.0, 70.0, gone), rows=200, workers=32, rate=rate, lasts=lambda *_: 2.5)
    virtually(night.pass_by())
    assert (night.cause, night.counts) == (None, {"success": 200})
    assert [begins for _, begins in night.outages] == [True, False]
    assert night.outages[1][0] < 70.0 + PROBE_MOST + 10.0
    assert all(outcome.attempts == len(night.tries_of(row)) for row, outcome in night.outcomes.items())


def test_an_outage_costs_few_tries(virtually: Virtually) -> None:
    """Not 32 rows knock at a closed door, but one; tries beyond the most allowed are not counted, but told."""
    night = Night(platform=gone_between(0.3, 500.0), rows=100, workers=32, max_attempts=2)
    virtually(night.pass_by())
    assert night.counts == {"success": 100}
    assert len(night.tries) < 100 + 32 + 10 + 500 / PROBE_MOST + 5
    long = Night(platform=gone_between(5.0, 800.0), rows=4, lasts=lambda *_: 4.0, max_attempts=2)
    virtually(long.pass_by())
    assert long.counts == {"success": 4}
    assert max(outcome.attempts for outcome in long.outcomes.values()) > 2 * 2


def test_a_platform_that_was_never_there(virtually: Virtually) -> None:
    """Nobody is to blame: from the first request on they go one at a time, and the run ends with every row pending."""
    night = Night(platform=lambda _: UNREACHED, max_attempts=1, outage_timeout=300.0)
    virtually(night.pass_by())
    assert night.counts == {"pending": 40}
    assert str(night.cause) == (
        "the platform has not answered for 300 s (CONNECTION_FAILED), and --outage-timeout is 300 s"
    )
    assert night.left == []
    assert all(later.began >= earlier.ended for earlier, later in pairwise(night.begun))
    assert night.ended == pytest.approx(0.2 + 300.0 + 0.2)


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("max_attempts", [1, 5])
def test_a_small_file_and_a_platform_that_was_never_there(virtually: Virtually, rows: int, max_attempts: int) -> None:
    """Even the only row is not blamed when nobody was ever answered."""
    night = Night(platform=lambda _: LOST, rows=rows, max_attempts=max_attempts)
    virtually(night.pass_by())
    assert night.counts == {"pending": rows}
    assert isinstance(night.cause, OutageError)
    assert sorted(night.left) == list(range(2, rows + 2))


def quickly(_row: int, _number: int) -> float:
    """Take a moment for each try."""
    return 0.2


def variously(row: int, number: int) -> float:
    """Take anything from a moment to the longest that a try may take."""
    return (0.05, 0.5, 5.0, 30.0)[(row + number) % 4]


@settings(deadline=None)
@given(
    night=st.builds(
        Night,
        platform=st.builds(
            lambda begin, length, gone: gone_between(begin, begin + length, gone),
            st.floats(0, 20),
            st.floats(0, 600),
            st.sampled_from(GONE),
        ),
        rows=st.integers(3, 30),
        workers=st.integers(1, 8),
        max_attempts=st.integers(2, 5),
        rate=st.sampled_from(["none", "100/min", "20/min"]),
        lasts=st.sampled_from([quickly, variously]),
    )
)
def test_no_row_is_failed_by_an_outage_that_ended(virtually: Virtually, night: Night) -> None:
    """Wherever it begins and however long it lasts: once it was declared, every row of the file succeeds."""
    virtually(night.pass_by())
    assert night.cause is None
    assert len(night.outcomes) == night.rows
    if night.outages:
        assert night.counts == {"success": night.rows}


# Sick rows


@pytest.mark.parametrize("sick", GONE)
@pytest.mark.parametrize("max_attempts", [1, 2, 5])
def test_a_sick_row_among_healthy_ones_ends(virtually: Virtually, sick: Answer, max_attempts: int) -> None:
    """It has its attempts and no more, and nobody takes it for an outage."""
    night = Night(platform=lambda sent: sick if sent.row == 9 else OK, max_attempts=max_attempts)
    virtually(night.pass_by())
    assert night.cause is None
    assert night.counts.pop("success") == 39
    assert len(night.tries_of(9)) == night.outcomes[9].attempts == max_attempts
    assert night.outages == []


@pytest.mark.parametrize("max_attempts", [1, 2, 5])
def test_many_sick_rows_among_healthy_ones_end(virtually: Virtually, max_attempts: int) -> None:
    """Every tenth row is sick: each is blamed by its neighbours' answers, as long as it has such neighbours."""
    night = Night(
        platform=lambda sent: BROKEN if sent.row % 10 == 5 and sent.row < 130 else OK,
        rows=350,
        workers=32,
        rate="100/min",
        max_attempts=max_attempts,
    )
    virtually(night.pass_by())
    assert night.counts == {"success": 337, "in_doubt": 13}
    assert night.outages == []


def test_sick_rows_that_are_the_last_to_be_left_end(virtually: Virtually) -> None:
    """Tried again and again, they are what is left of the run; yet that is no outage, and the run comes to its end."""
    sick = set(range(10, 250, 20))
    night = Night(rows=300, rate="100/min", workers=32, platform=lambda sent: LOST if sent.row in sick else OK)
    virtually(night.pass_by())
    assert night.cause is None
    assert {row for row, each in night.outcomes.items() if each.status is Status.IN_DOUBT} == sick
    assert night.counts == {"success": 300 - len(sick), "in_doubt": len(sick)}
    assert night.outages == []


def test_the_last_row_alone_ends(virtually: Virtually) -> None:
    """When nobody is left to ask, what the platform did before decides."""
    night = Night(platform=lambda sent: BROKEN if sent.row == 6 else OK, rows=5)
    virtually(night.pass_by())
    assert (night.cause, night.counts) == (None, {"success": 4, "in_doubt": 1})
    assert night.outcomes[6].attempts == 5


def test_two_sick_rows_that_are_left_look_like_an_outage(virtually: Virtually) -> None:
    """All that remain get no answer, ten times in a row: no row is called failed, and they are pending in the end."""
    night = Night(platform=lambda sent: BROKEN if sent.row in {5, 6} else OK, rows=5)
    virtually(night.pass_by())
    assert night.counts == {"success": 3, "pending": 2}
    assert isinstance(night.cause, OutageError)
    assert night.cause.may_be_the_rows
    assert sorted(night.left) == [5, 6]


def test_a_sick_row_of_a_customer_with_many_ends(virtually: Virtually) -> None:
    """One customer's rows go one after another, so that there is no neighbour: what was before decides."""
    night = Night(platform=lambda sent: UNREACHED if sent.row in {5, 9} else OK, rows=20, customers=1)
    virtually(night.pass_by())
    assert night.counts == {"success": 18, "failed": 2}
    assert [night.outcomes[row].attempts for row in (5, 9)] == [5, 5]


def test_a_row_that_is_always_busy_has_its_attempts(virtually: Virtually) -> None:
    """A platform that complains about a row is there: nobody's answer is waited for."""
    night = Night(platform=lambda sent: BUSY if sent.row == 2 else OK, rows=1)
    virtually(night.pass_by())
    assert night.counts == {"failed": 1}
    assert night.outcomes[2].attempts == 5


def test_a_sick_row_waits_for_news_of_the_others(virtually: Virtually) -> None:
    """With one attempt it cannot be told at once whose fault it is; the next answer to anybody tells."""
    night = Night(
        platform=lambda sent: BROKEN if sent.row == 3 else OK,
        lasts=lambda row, _: 0.2 if row <= 3 else 10.0,
        rows=4,
        max_attempts=1,
    )
    virtually(night.pass_by())
    assert night.counts == {"success": 3, "in_doubt": 1}
    assert night.outcomes[3].attempts == 1
    assert 10.2 <= night.outcomes[3].finished_at <= 11.4


def test_a_row_that_backs_off_leaves_its_place(virtually: Virtually) -> None:
    """With one request at a time, healthy rows go on while a sick one waits for its next attempt."""
    night = Night(platform=lambda sent: BROKEN if sent.row == 3 else OK, workers=1, rows=30)
    virtually(night.pass_by())
    assert night.counts == {"success": 29, "in_doubt": 1}
    assert all(later.began >= earlier.ended for earlier, later in pairwise(night.begun)), "two at once"
    assert max(later.began - earlier.ended for earlier, later in pairwise(night.begun[:25])) == 0.0


# Throttling


@pytest.mark.parametrize("answer", [THROTTLED, THROTTLED_SHORTLY, error(200, 517), OVERLOADED])
@pytest.mark.parametrize("customers", [1, 2, 1000])
def test_a_platform_that_only_throttles_ends_the_run(virtually: Virtually, answer: Answer, customers: int) -> None:
    """After the patience, in seconds from the first one, and with no row failed."""
    night = Night(platform=lambda _: answer, customers=customers, outage_timeout=300.0, max_attempts=1)
    virtually(night.pass_by())
    assert isinstance(night.cause, OutageError)
    assert night.counts == {"pending": 40}
    assert 300.0 <= night.ended <= 300.2 + 60.0 + 0.4


def test_throttling_fails_no_row_while_others_are_answered(virtually: Virtually) -> None:
    """A row that is throttled fifty times goes on, and its turn comes."""
    night = Night(
        platform=lambda sent: THROTTLED_SHORTLY if sent.row == 2 and sent.number <= 50 else OK,
        rows=500,
        customers=50,
        rate="10/min",
        max_attempts=1,
    )
    virtually(night.pass_by())
    assert (night.cause, night.counts) == (None, {"success": 500})
    assert night.outcomes[2].attempts == 51


@pytest.mark.parametrize("answer", [THROTTLED, BROKEN, BUSY])
def test_a_wish_to_wait_too_long_ends_the_run_at_once(virtually: Virtually, answer: Reply) -> None:
    """Waiting until then is not what the user wants; rows under way come to their end."""
    asked = Reply(http_status=answer.http_status, body=answer.body, retry_after=901.0)
    night = Night(platform=lambda sent: asked if sent.row == 9 else OK)
    virtually(night.pass_by())
    assert str(night.cause) == "the platform asks to wait 901 s, which is longer than --outage-timeout (900 s)"
    assert night.ended < 1.0
    assert night.counts["success"] + night.counts["pending"] == 40


# Credentials


def test_the_first_request_goes_alone(virtually: Virtually) -> None:
    """Nobody goes beside it until it was answered; then as many as may."""
    night = Night(lasts=lambda row, _: 30.0 if row == 2 else 1.0)
    virtually(night.pass_by())
    assert [each.began for each in night.begun[:10]] == [0.0, *[30.0] * 8, 31.0]


@pytest.mark.parametrize("refusal", [UNAUTHORIZED, error(403, 4000), error(200, 4000)])
def test_wrong_credentials_are_tried_once(virtually: Virtually, refusal: Answer) -> None:
    """And not by 32 workers: tills get locked."""
    night = Night(platform=lambda _: refusal, workers=32)
    virtually(night.pass_by())
    assert isinstance(night.cause, AccessRefusedError)
    assert (len(night.tries), night.counts, night.left) == (1, {"pending": 40}, [])


def test_a_new_password_is_proved_by_one(virtually: Virtually) -> None:
    """Eight under way are told that theirs is no longer good; one goes alone with the new one, then all; none fails."""
    night = Night(
        platform=lambda sent: RENEWED if 1.0 <= sent.began < 2.0 else OK, lasts=lambda *_: 1.0, max_attempts=1
    )
    virtually(night.pass_by())
    assert (night.cause, night.counts) == (None, {"success": 40})
    assert Counter(outcome.attempts for outcome in night.outcomes.values()) == {1: 32, 2: 8}
    proof, *others = [each for each in night.begun if each.began >= 2.0]
    assert {each.began for each in others[:7]} == {proof.ended}


def test_a_new_password_that_is_wrong_is_tried_once(virtually: Virtually) -> None:
    """Also when an answer to the old one, sent long before, comes in between."""
    night = Night(
        platform=lambda sent: (
            OK if sent.began < 1.0 or sent.row == 3 else RENEWED if sent.began < 2.0 else UNAUTHORIZED
        ),
        lasts=lambda row, number: 5.0 if row == 3 or number > 1 else 1.0,
    )
    virtually(night.pass_by())
    assert isinstance(night.cause, AccessRefusedError)
    assert [each.answer for each in night.tries].count(UNAUTHORIZED) == 1
    assert night.counts == {"success": 2, "pending": 38}
    assert night.left == []


def test_a_password_that_is_replaced_in_the_middle_of_trouble_keeps_nobody_waiting(virtually: Virtually) -> None:
    """Two rows whose attempts are used up wait for news of each other; a 401 to an old password is none."""
    script: dict[tuple[int, int], Answer] = {(3, 1): UNREACHED, (4, 1): UNREACHED, (3, 2): RENEWED}
    night = Night(platform=lambda sent: script.get((sent.row, sent.number), OK), rows=3, rate="100/min", max_attempts=1)
    virtually(night.pass_by())
    assert night.cause is None
    assert [night.outcomes[row].status for row in (2, 3, 4)] == [Status.SUCCESS, Status.SUCCESS, Status.FAILED]
    assert len(night.tries_of(3)) == 3, "the new password is what settles it"


# Every run


@st.composite
def nights(draw: st.DrawFn) -> Night:
    """Draw a run: what the platform says at first, and to which rows for ever; how long it takes; all settings."""
    rows = draw(st.integers(1, 8))
    numbers = st.integers(2, rows + 1)
    script = iter(draw(st.lists(st.sampled_from(ANSWERS), max_size=40)))
    sick = draw(st.dictionaries(numbers, st.sampled_from(SICK), max_size=3))
    lasting = draw(st.lists(st.sampled_from([0.05, 0.5, 5.0, 30.0]), min_size=1, max_size=5))
    return Night(
        platform=lambda sent: sick.get(sent.row) or next(script, OK),
        lasts=lambda row, number: lasting[(row + number) % len(lasting)],
        rows=rows,
        customers=draw(st.integers(1, 8)),
        doubted=frozenset(draw(st.sets(numbers, max_size=3))),
        workers=draw(st.integers(1, 5)),
        max_attempts=draw(st.integers(1, 4)),
        outage_timeout=draw(st.sampled_from([30.0, 300.0, 900.0])),
        rate=draw(st.sampled_from(["none", "100/min", "6/min"])),
    )


def one_answer_for_two_tries() -> Night:
    """Return a night in which others are answered once while row 5 goes unanswered, from its second try to its third.

    It was given up, for the answer counted for its first try, too.
    """
    first = {(3, 1): BUSY, (4, 1): THROTTLED, (4, 2): BUSY}
    always = {2: THROTTLED, 5: BROKEN}
    return Night(
        platform=lambda sent: always.get(sent.row) or first.get((sent.row, sent.number), OK),
        lasts=lambda row, number: (0.5, 0.5, 5.0, 0.05, 0.05)[(row + number) % 5],
        rows=5,
        customers=5,
        workers=3,
        max_attempts=3,
        outage_timeout=30.0,
    )


@settings(deadline=None)
@given(night=nights())
@example(night=one_answer_for_two_tries())
@example(night=Night(platform=lambda _: OVERLOADED, rows=3, customers=1))
@example(night=Night(platform=lambda sent: BROKEN if sent.row > 3 else OK, rows=7, customers=2))
def test_every_run_ends_and_every_verdict_is_true(virtually: Virtually, night: Night) -> None:
    """Whatever the platform says to whom: each row has one outcome, or the run says why not."""
    virtually(night.pass_by())
    assert night.cause is None or isinstance(night.cause, OutageError)
    assert night.cause or len(night.outcomes) == night.rows
    for row, outcome in night.outcomes.items():
        tries = night.tries_of(row)
        is_doubted = row in night.doubted or any(each.is_doubtful for each in tries)
        assert outcome.attempts == len(tries)
        assert not (outcome.status is Status.FAILED and is_doubted)
        assert not (outcome.status is Status.IN_DOUBT and not is_doubted)
        assert (outcome.status is Status.SUCCESS) == (tries[-1].answer is OK)
    assert_given_up_for_a_reason(night)
    assert_in_good_order(night)


def assert_given_up_for_a_reason(night: Night) -> None:
    """Check each row that was given up: its attempts were used up, and somebody else fared better since, or twice."""
    for row, outcome in night.outcomes.items():
        *_, last = night.tries_of(row)
        if not judge(last.answer, last.correction).repeat:
            continue
        counted = [each for each in night.tries_of(row) if not each.is_throttled and each.answer is not RENEWED]
        assert len(counted) >= night.max_attempts
        assert not any(begin < outcome.finished_at < end for begin, end in night.gone)
        if night.neighbours[row] >= ROWS:
            assert somebody_was_answered(night, last.began, outcome.finished_at) or is_suspect(night, row)


def somebody_was_answered(night: Night, begin: float, end: float) -> bool:
    """Say whether the platform was there for anybody whose try ended in this time."""
    return any(each.sign is not Sign.UNANSWERED for each in night.tries if begin <= each.ended <= end)


def is_suspect(night: Night, row: int) -> bool:
    """Say whether a row went unanswered twice while others were answered: from one of its tries to its next."""
    moments = [each.began for each in night.tries_of(row)] + [night.outcomes[row].finished_at]
    return sum(somebody_was_answered(night, *each) for each in pairwise(moments)) >= SUSPICIOUS


def assert_in_good_order(night: Night) -> None:
    """Check that tries keep to the pace and the width, that probes go alone, and that the patience has an end."""
    interval = Pace(Ceiling.parse(night.rate)).gap
    gaps = [later.began - earlier.began for earlier, later in pairwise(night.begun)]
    assert min(gaps, default=interval) >= interval - LATENESS_MADE_GOOD - ROUNDING
    for each in night.tries:
        beside = [other for other in night.tries if other.began <= each.began < other.ended]
        assert len(beside) <= night.workers
    for begin, end in night.gone:
        probes = [each for each in night.begun if begin < each.began < end]
        assert all(later.began >= earlier.ended for earlier, later in pairwise(probes))
    proofs = [each.ended for each in night.tries if each.sign is Sign.ANSWERED and each.answer is not RENEWED]
    alone = [each for each in night.begun if each.began < min(proofs, default=night.ended)]
    assert all(later.began >= earlier.ended for earlier, later in pairwise(alone))


# Rows that are left


@st.composite
def cuts(draw: st.DrawFn) -> Callable[[asyncio.Task[None], Stop], None]:
    """Draw what ends a run early: a signal, a second one, or nothing."""
    moment = draw(st.floats(0, 40))
    kind = draw(st.sampled_from(["none", "stop", "cancel"]))

    def cut(run: asyncio.Task[None], stop: Stop) -> None:
        loop = asyncio.get_running_loop()
        if kind == "stop":
            loop.call_later(moment, stop.request, SignalledError("Ctrl-C"))
        elif kind == "cancel":
            loop.call_later(moment, run.cancel)

    return cut


@settings(deadline=None)
@given(night=nights(), cut=cuts(), refused=st.none() | st.integers(2, 9))
def test_exactly_what_may_have_been_applied_is_left_in_doubt(
    virtually: Virtually,
    night: Night,
    cut: Callable[[asyncio.Task[None], Stop], None],
    refused: int | None,
) -> None:
    """However a run is cut short: rows with a try that nobody answered for sure are told, once; no others are."""
    usual = night.platform
    night.platform = lambda sent: UNAUTHORIZED if sent.row == refused and sent.number > 1 else usual(sent)
    night.cut = cut
    virtually(night.pass_by())
    sent = {each.row for each in night.tries if each.is_doubtful}
    may_be_applied = (sent | night.open | night.doubted) & night.taken
    assert sorted(night.left) == sorted(may_be_applied - set(night.outcomes))
