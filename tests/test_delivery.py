"""The delivery: attempts, slots and back-off of one row, on a clock of the tests' own, so that nothing here sleeps."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.delivery import (
    BACK_OFF_MOST,
    THROTTLE_FIRST,
    THROTTLE_LEAST,
    THROTTLE_MOST,
    Delivery,
    Gate,
    Hooks,
)
from bulkredeem.errors import AccessRefusedError, Stopping
from bulkredeem.model import Answer, Correction, Outcome, Rate, Reply, Sign, Status, Trouble
from bulkredeem.outage import Watch
from bulkredeem.pace import LATENESS_MADE_GOOD, Pace
from bulkredeem.verdict import Verdict

ASHA = Correction(
    row_number=2,
    redemption_id="8878ru",
    entity_type="CUSTOMER",
    identifier_type="mobile",
    identifier_value="919900000001",
    bill_number="B-1",
    warnings=("blanks were left out",),
)
BELA = replace(ASHA, row_number=3, redemption_id="NZVAt9", identifier_value="919900000002")
NOW = 1_793_880_000.0


def refusing(http_status: int, code: int | str, message: str = "no", *, retry_after: float | None = None) -> Reply:
    """Return a reply with one error."""
    body = {"errors": [{"code": code, "message": message}]}
    return Reply(http_status=http_status, body=body, retry_after=retry_after)


OK = Reply(http_status=200, body={})
REFUSED = refusing(400, 750)
BUSY = refusing(400, 521)
BROKEN = Reply(http_status=500, body={})
OTHER_BILL = Reply(http_status=200, body={"billNumber": "B-2"})
THROTTLED = Reply(http_status=429, body={})
AT_ONCE = Reply(http_status=429, body={}, retry_after=0.0)
OVERLOADED = Reply(http_status=503, body={}, retry_after=0.0)
TIMEOUT = Trouble(code="TIMEOUT", message="no answer came in time", may_be_applied=True)
UNREACHED = Trouble(code="CONNECTION_FAILED", message="no connection could be made", may_be_applied=False)


async def go_home(_seconds: float) -> None:
    """Sleep as a draining run does: not at all."""
    raise Stopping


@dataclass(kw_only=True)
class Stage:
    """A delivery whose answers are written beforehand, on a clock that only sleeping moves."""

    script: list[Answer]
    """What the attempts will be answered, in this order."""
    max_attempts: int = 3
    rate: str = "none"
    now: float = 0.0
    times: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """Row number → when its attempts were made."""
    back_offs: list[float] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    """What `on_pause` was told."""
    heard: list[tuple[int, int, Verdict]] = field(default_factory=list)
    """Row number, number of the attempt and verdict, as `on_attempt` was told."""
    pace: Pace = field(init=False)
    delivery: Delivery = field(init=False)
    nap: Callable[[float], Awaitable[None]] | None = None
    """What waiting for a slot is instead of moving the clock."""
    rest: Callable[[float], Awaitable[None]] | None = None
    """What backing off is instead of moving the clock."""
    proceed: Callable[[], None] = lambda: None
    is_answered: bool = True
    """Whether the platform has just answered a neighbour, so that it is the row which is sick."""
    remaining: int = 2
    """Rows without an outcome."""
    outage_timeout: float = 900.0
    outages: list[bool] = field(default_factory=list)
    """What the gate told of outages."""
    left: list[int] = field(default_factory=list)
    """Rows left without an outcome that may have been applied."""
    gate: Gate = field(init=False)

    def __post_init__(self) -> None:
        """Put the delivery on its pace."""
        self.pace = Pace(Rate.parse(self.rate), clock=lambda: self.now, sleep=self._nap)
        self.gate = Gate(
            Watch(clock=lambda: self.now),
            width=32,
            outage_timeout=self.outage_timeout,
            remaining=lambda: self.remaining,
            sleep=self._pass,
            on_outage=self.outages.append,
        )
        if self.is_answered:
            self.gate.note(1, Sign.ANSWERED)
        self.delivery = Delivery(
            self._attempt,
            self.pace,
            self.gate,
            max_attempts=self.max_attempts,
            sleep=self._rest,
            proceed=self.proceed,
            wall_clock=lambda: NOW,
            hooks=Hooks(
                attempted=lambda correction, number, verdict: self.heard.append(
                    (correction.row_number, number, verdict)
                ),
                paused=self.pauses.append,
                left_in_doubt=self.left.append,
            ),
        )

    async def deliver(self, correction: Correction = ASHA) -> Outcome:
        """Deliver a row to its end; all answers must have been used then."""
        outcome = await self.delivery.deliver(correction)
        assert not self.script
        return outcome

    @property
    def gaps(self) -> list[float]:
        """Return the seconds between the first row's attempts."""
        return [later - earlier for earlier, later in itertools.pairwise(self.times[ASHA.row_number])]

    async def _attempt(self, correction: Correction) -> Answer:
        self.times[correction.row_number].append(self.now)
        return self.script.pop(0)

    async def _nap(self, seconds: float) -> None:
        await (self.nap or self._pass)(seconds)

    async def _rest(self, seconds: float) -> None:
        self.back_offs.append(seconds)
        await (self.rest or self._pass)(seconds)

    async def _pass(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds
        await asyncio.sleep(0)


STORIES: list[tuple[str, Sequence[Answer], Status, str]] = [
    ("at once", [OK], Status.SUCCESS, ""),
    ("refused at once", [REFUSED], Status.REFUSED, "750"),
    ("a redirect", [Reply(http_status=307)], Status.REFUSED, "UNEXPECTED_REDIRECT"),
    ("never reached", [UNREACHED] * 3, Status.FAILED, "CONNECTION_FAILED"),
    ("always busy", [BUSY] * 3, Status.FAILED, "521"),
    ("never answered", [TIMEOUT] * 3, Status.IN_DOUBT, "TIMEOUT"),
    ("always broken", [BROKEN] * 3, Status.IN_DOUBT, "HTTP_500"),
    ("reached in the end", [UNREACHED, BUSY, OK], Status.SUCCESS, ""),
    ("doubt, then success", [TIMEOUT, OK], Status.SUCCESS, ""),
    ("doubt, then refusal", [TIMEOUT, REFUSED], Status.REFUSED, "750"),
    ("doubt, then unreached", [TIMEOUT, UNREACHED, UNREACHED], Status.IN_DOUBT, "TIMEOUT"),
    ("doubt in the middle", [UNREACHED, BROKEN, BUSY], Status.IN_DOUBT, "HTTP_500"),
    ("two doubts", [BROKEN, TIMEOUT, UNREACHED], Status.IN_DOUBT, "TIMEOUT"),
    ("throttled", [THROTTLED] * 9 + [OK], Status.SUCCESS, ""),
    ("throttled, then unreached", [THROTTLED] * 9 + [UNREACHED] * 3, Status.FAILED, "CONNECTION_FAILED"),
    ("doubt, throttled, success", [TIMEOUT, *[THROTTLED] * 9, OK], Status.SUCCESS, ""),
    ("doubt, throttled, busy", [TIMEOUT, *[THROTTLED] * 9, BUSY, BUSY], Status.IN_DOUBT, "TIMEOUT"),
    ("throttled in doubt", [OVERLOADED] * 9 + [OK], Status.SUCCESS, ""),
    ("throttled in doubt, unreached", [OVERLOADED, *[UNREACHED] * 3], Status.IN_DOUBT, "HTTP_503"),
    ("contradicted", [OTHER_BILL], Status.IN_DOUBT, "ECHO_MISMATCH"),
    ("doubt, then contradicted", [TIMEOUT, OTHER_BILL], Status.IN_DOUBT, "ECHO_MISMATCH"),
]


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [pytest.param(script, status, code, id=name) for name, script, status, code in STORIES],
)
async def test_a_row_is_settled_by_its_attempts(script: Sequence[Answer], status: Status, code: str) -> None:
    """Show status and code for each story of three attempts that count, and that every try on the wire is told."""
    stage = Stage(script=list(script))
    outcome = await stage.deliver()
    assert (outcome.status, outcome.error_code, outcome.attempts) == (status, code, len(script))
    assert stage.delivery.requests == len(script)
    assert [(row_number, number) for row_number, number, _ in stage.heard] == [
        (ASHA.row_number, number) for number in range(1, len(script) + 1)
    ]


ANSWERS = [OK, REFUSED, BUSY, BROKEN, OTHER_BILL, THROTTLED, AT_ONCE, OVERLOADED, TIMEOUT, UNREACHED]


@given(
    script=st.lists(st.sampled_from(ANSWERS), max_size=12).map(lambda answers: [*answers, OK]), most=st.integers(1, 5)
)
def test_what_holds_for_every_story(script: list[Answer], most: int) -> None:
    """No more attempts count than allowed, the last one was worth it, and `failed` says that nothing was in doubt."""
    stage = Stage(script=list(script), max_attempts=most)
    outcome = asyncio.run(stage.delivery.deliver(ASHA))
    verdicts = [verdict for _, _, verdict in stage.heard]
    counted = [verdict for verdict in verdicts if not verdict.throttled]
    doubts = [verdict for verdict in verdicts if verdict.status is Status.IN_DOUBT]

    assert len(verdicts) == outcome.attempts == len(script) - len(stage.script)
    assert len(counted) <= most
    assert all(verdict.repeat for verdict in verdicts[:-1])
    assert len(counted) == most or not verdicts[-1].repeat
    if outcome.status is Status.FAILED:
        assert not doubts
    elif outcome.status is Status.IN_DOUBT:
        assert (outcome.error_code, outcome.error_message) == (doubts[-1].code, doubts[-1].message)
    else:
        assert outcome.status is verdicts[-1].status


@pytest.mark.parametrize("answer", [UNREACHED, TIMEOUT, BROKEN, BUSY])
async def test_one_attempt_may_be_all(answer: Answer) -> None:
    """With one attempt allowed nothing is repeated and nobody waits."""
    stage = Stage(script=[answer], max_attempts=1)
    assert (await stage.deliver()).attempts == 1
    assert stage.back_offs == []


async def test_an_outcome_says_all_that_is_known() -> None:
    """Words go whole into the report and masked into what may travel; warnings of both kinds add up."""
    refused = replace(
        refusing(400, 750, "8878ru of 919900000001 is reversed, ask asha@example.com"), request_id="sandbox-1"
    )
    assert await Stage(script=[refused]).deliver() == Outcome(
        row_number=2,
        status=Status.REFUSED,
        error_code="750",
        error_message="8878ru of 919900000001 is reversed, ask asha@example.com",
        reason="<redemptionId> of <identifierValue> is reversed, ask <email>",
        warnings=("blanks were left out",),
        http_status=400,
        attempts=1,
        request_id="sandbox-1",
        finished_at=NOW,
    )
    warned = await Stage(script=[Reply(http_status=200, body={"warnings": ["slow"]})]).deliver()
    assert warned.warnings == ("blanks were left out", "the platform warns: slow")


async def test_the_last_reply_is_remembered_behind_troubles() -> None:
    """HTTP status and request id are those of the last reply, and of none when none came."""
    broken = replace(BROKEN, request_id="sandbox-1")
    some = await Stage(script=[broken, TIMEOUT, UNREACHED]).deliver()
    none = await Stage(script=[TIMEOUT, UNREACHED, UNREACHED]).deliver()
    assert (some.http_status, some.request_id, some.error_code) == (500, "sandbox-1", "TIMEOUT")
    assert (none.http_status, none.request_id) == (None, "")


# Waiting


async def test_the_back_off_doubles_with_full_jitter() -> None:
    """The k-th wait is anything from nothing to 2^k seconds, at most thirty."""
    waits = []
    for _ in range(100):
        stage = Stage(script=[UNREACHED] * 9, max_attempts=9)
        await stage.deliver()
        waits.append(stage.back_offs)
    for k, ways in enumerate(zip(*waits, strict=True)):
        bound = min(BACK_OFF_MOST, 2**k)
        assert 0 <= min(ways) < bound / 2 < max(ways) <= bound
    assert {len(ways) for ways in waits} == {8}


async def test_every_attempt_takes_a_slot() -> None:
    """Repeating is no way around the pace: retries and first tries of all rows lie an interval apart."""
    stage = Stage(script=[UNREACHED, BUSY, OK, TIMEOUT, OK], rate="6/min")
    await stage.delivery.deliver(ASHA)
    await stage.deliver(BELA)
    times = stage.times[2] + stage.times[3]
    assert len(times) == 5
    assert all(later - earlier >= 10.0 - LATENESS_MADE_GOOD for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize(
    "asking",
    [replace(answer, retry_after=70.0) for answer in (THROTTLED, OVERLOADED, BROKEN, BUSY, refusing(503, 4001))],
)
async def test_a_wish_to_wait_pauses_the_key(asking: Reply) -> None:
    """`Retry-After` holds for every row: a second one starts no attempt before the time is over."""
    stage = Stage(script=[asking, OK, OK])
    await asyncio.gather(stage.delivery.deliver(ASHA), stage.delivery.deliver(BELA))
    assert stage.times[2][0] == 0.0
    assert min(stage.times[2][1], stage.times[3][0]) >= 70.0


@pytest.mark.parametrize("settled", [replace(OK, retry_after=70.0), refusing(400, 750, retry_after=70.0)])
async def test_a_settled_row_pauses_nobody(settled: Reply) -> None:
    """A `Retry-After` beside a success or a refusal asks for nothing that we would repeat."""
    stage = Stage(script=[settled])
    await stage.deliver()
    assert stage.pace.paused_for == 0.0


@pytest.mark.parametrize(
    ("answer", "first"), [(THROTTLED, THROTTLE_FIRST), (AT_ONCE, THROTTLE_LEAST), (OVERLOADED, THROTTLE_LEAST)]
)
async def test_throttling_is_not_hammered(answer: Reply, first: float) -> None:
    """Without a time, and with 0 seconds, the key pauses twice as long each time, at most a minute."""
    stage = Stage(script=[*[answer] * 15, OK])
    await stage.deliver()
    assert stage.gaps == pytest.approx([min(THROTTLE_MOST, first * 2**k) for k in range(15)])
    assert set(stage.back_offs) == {0.0}


async def test_the_longer_of_both_pauses_counts() -> None:
    """A short `Retry-After` again and again does not undo the doubling, and a long one is believed."""
    asked = [0.1, 0.1, 0.1, 0.1, 90.0, 0.1]
    stage = Stage(script=[*(replace(AT_ONCE, retry_after=seconds) for seconds in asked), OK])
    await stage.deliver()
    assert stage.gaps == pytest.approx([0.1, 0.1, 0.2, 0.4, 90.0, 1.6])


async def test_a_weekend_of_throttling_ends_in_success() -> None:
    """However often a row was throttled, it goes on at a try a minute, and its turn comes."""
    stage = Stage(script=[*[AT_ONCE] * 2_000, OK])
    outcome = await stage.deliver()
    assert (outcome.status, outcome.attempts) == (Status.SUCCESS, 2_001)
    assert max(stage.gaps) == pytest.approx(THROTTLE_MOST)


# Stopping


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Reply(http_status=401), "(HTTP_401: the platform answered HTTP 401 without saying why)"),
        (refusing(403, 4000, "8878ru is not for 919900000001"), "(4000: <redemptionId> is not for <identifierValue>)"),
    ],
)
@pytest.mark.parametrize("before", [[], [TIMEOUT]], ids=["at once", "later"])
async def test_refused_access_ends_the_run(answer: Reply, words: str, before: list[Answer]) -> None:
    """It is raised after one try, its words name nobody, and the row has no outcome."""
    stage = Stage(script=[*before, answer])
    with pytest.raises(AccessRefusedError) as caught:
        await stage.deliver()
    assert str(caught.value) == f"the platform refused the user name, password or till {words}"
    assert stage.script == []
    assert stage.heard[-1][2].access_refused


async def test_stopping_while_waiting_for_a_slot() -> None:
    """A draining run sends whoever waits for a slot home, and nothing went on the wire."""
    stage = Stage(script=[], rate="1/min", nap=go_home)
    await stage.pace.slot()
    with pytest.raises(Stopping):
        await stage.deliver()
    assert stage.delivery.requests == 0


async def test_stopping_while_the_key_pauses() -> None:
    """So it does with one that waits for the end of a throttling."""
    stage = Stage(script=[THROTTLED], nap=go_home)
    with pytest.raises(Stopping):
        await stage.deliver()
    assert stage.delivery.requests == 1


async def test_stopping_while_backing_off() -> None:
    """And with one between two attempts."""
    stage = Stage(script=[TIMEOUT], rest=go_home)
    with pytest.raises(Stopping):
        await stage.deliver()
    assert stage.delivery.requests == 1


@pytest.mark.parametrize("sent", [0, 1, 2])
async def test_stopping_before_an_attempt(sent: int) -> None:
    """The wish to stop is asked about after the slot and before every attempt, the first and the repeated."""
    permits = iter([True] * sent + [False])

    def proceed() -> None:
        if not next(permits):
            raise Stopping

    stage = Stage(script=[UNREACHED] * sent, proceed=proceed)
    with pytest.raises(Stopping):
        await stage.deliver()
    assert stage.delivery.requests == sent


async def test_cancelling_passes_through() -> None:
    """A second Ctrl-C ends a row in the middle of its attempt, first or repeated, without an outcome."""
    for script in ([], [TIMEOUT]):
        stage = Stage(script=list(script))
        with pytest.raises(asyncio.CancelledError):
            await _cancelled_at_the_end(stage)


async def _cancelled_at_the_end(stage: Stage) -> None:
    reached = asyncio.Event()

    async def attempt(_correction: Correction) -> Answer:
        if stage.script:
            return stage.script.pop(0)
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    delivery = Delivery(attempt, stage.pace, stage.gate, max_attempts=3, sleep=stage._rest)
    row = asyncio.create_task(delivery.deliver(ASHA))
    await reached.wait()
    row.cancel()
    await row


async def test_a_pause_is_told_once_by_whoever_learns_of_it_first() -> None:
    """Each of many workers may be asked to wait; a person wants to hear of it once, and not of blinks."""
    stage = Stage(script=[Reply(http_status=429, retry_after=30.0), OK])
    await stage.deliver()
    assert stage.pauses == [30.0]
    blink = Stage(script=[Reply(http_status=429, retry_after=0.0), OK])
    await blink.deliver()
    assert blink.pauses == []


async def test_a_code_that_holds_an_identifier_is_masked_wherever_it_is_told() -> None:
    """A platform may put anything into the code: neither the outcome nor whoever hears of attempts gets it whole."""
    stage = Stage(script=[refusing(400, "919900000001", "no")])
    outcome = await stage.deliver()
    assert (outcome.error_code, stage.heard[0][2].code) == ("<identifierValue>", "<identifierValue>")
    closed = Stage(script=[refusing(401, "919900000001", "no")])
    with pytest.raises(AccessRefusedError, match="<identifierValue>: no"):
        await closed.deliver()
