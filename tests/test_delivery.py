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
    Delivery,
    Gate,
    Hooks,
    Limit,
)
from bulkredeem.errors import AccessRefusedError, OutageError, ProxyRefusedError, ReportError, Stopping, TlsError
from bulkredeem.model import Answer, Ceiling, Correction, Outcome, Reply, Sign, Status, Trouble
from bulkredeem.outage import Watch
from bulkredeem.pace import LATENESS_MADE_GOOD, PAUSE_LEAST, PAUSE_MOST, Pace
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
NO_TLS = Trouble(code="TLS_FAILED", message="no secure connection", may_be_applied=False)
NOT_WITH_THIS_CERTIFICATE = Trouble(
    code="CERTIFICATE_REFUSED", message="the platform wants another (client_certificate)", may_be_applied=True
)
NOT_BY_THIS_PROXY = Trouble(
    code="PROXY_REFUSED", message="the proxy wants another password than HTTPS_PROXY has", may_be_applied=False
)
TIMEOUT_OF_A_GATEWAY = Reply(http_status=504, body={})
RENEWED = Reply(http_status=401, credentials_renewed=True)


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
        self.pace = Pace(Ceiling.parse(self.rate), clock=lambda: self.now, sleep=self._nap)
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

    async def hear_of_a_neighbour(self, seconds: float) -> None:
        """Back off while another row is answered."""
        await self._pass(seconds)
        self.gate.note(1, Sign.ANSWERED)

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


@pytest.mark.parametrize("answer", [THROTTLED, AT_ONCE, OVERLOADED])
async def test_throttling_is_not_hammered(answer: Reply) -> None:
    """Without a time, and with 0 seconds, the key pauses twice as long each time, at most a minute."""
    stage = Stage(script=[*[answer] * 15, OK])
    await stage.deliver()
    assert stage.gaps == pytest.approx([min(PAUSE_MOST, PAUSE_LEAST * 2**k) for k in range(15)])
    assert set(stage.back_offs) == {0.0}


async def test_the_longer_of_both_pauses_counts() -> None:
    """A short `Retry-After` again and again does not undo the doubling, and a long one is believed."""
    asked = [0.1, 0.1, 0.1, 0.1, 90.0, 0.1]
    stage = Stage(script=[*(replace(AT_ONCE, retry_after=seconds) for seconds in asked), OK])
    await stage.deliver()
    assert stage.gaps == pytest.approx([0.1, 0.1, 0.2, 0.4, 90.0, 1.6])


async def test_a_weekend_of_throttling_ends_in_success() -> None:
    """However often a row is throttled while others are answered, it goes on at a try a minute; its turn comes."""
    stage = Stage(script=[*[AT_ONCE] * 2_000, OK])
    stage.rest = stage.hear_of_a_neighbour
    outcome = await stage.deliver()
    assert (outcome.status, outcome.attempts) == (Status.SUCCESS, 2_001)
    assert max(stage.gaps) == pytest.approx(PAUSE_MOST)


async def test_throttling_without_any_answer_ends_the_run() -> None:
    """When the platform throttles everybody for longer than the patience, the row is not failed: the run stops."""
    stage = Stage(script=[THROTTLED] * 100, max_attempts=1, outage_timeout=900.0)
    with pytest.raises(OutageError, match=r"the platform has throttled every request for 9\d\d s \(HTTP_429\)"):
        await stage.delivery.deliver(ASHA)
    assert 900.0 <= stage.now <= 900.0 + PAUSE_MOST
    assert stage.left == []


# Outages


async def test_tries_of_an_outage_count_for_nothing_but_are_told() -> None:
    """Twelve unanswered tries use up no attempt of three; those after the outage do."""
    stage = Stage(script=[*[UNREACHED] * 12, BUSY, BUSY, OK], is_answered=False, remaining=1)
    outcome = await stage.deliver()
    assert (outcome.status, outcome.attempts) == (Status.SUCCESS, 15)
    spent = Stage(script=[*[UNREACHED] * 12, BUSY, BUSY, BUSY], is_answered=False, remaining=1)
    assert (await spent.deliver()).status is Status.FAILED
    assert stage.outages == spent.outages == [True, False]


async def test_earlier_tries_are_excused_too() -> None:
    """What went unanswered before the outage was declared was the outage's; what the platform complained of was not."""
    stage = Stage(script=[BUSY, *[UNREACHED] * 10, *[BUSY] * 11], max_attempts=12, is_answered=False, remaining=1)
    outcome = await stage.deliver()
    assert (outcome.status, outcome.error_code, outcome.attempts) == (Status.FAILED, "521", 22)


async def test_an_outage_that_a_row_slept_through_excuses_it_too() -> None:
    """It began and ended while the row backed off: the tries before it are taken away all the same."""
    stage = Stage(script=[TIMEOUT, TIMEOUT, TIMEOUT, OK])

    async def rest(seconds: float) -> None:
        await stage._pass(seconds)
        if len(stage.script) == 2:
            for number in range(10):
                stage.gate.note(5 + number % 3, Sign.UNANSWERED)
            stage.gate.note(5, Sign.ANSWERED)

    stage.rest = rest
    outcome = await stage.deliver()
    assert (outcome.status, outcome.attempts, stage.outages) == (Status.SUCCESS, 4, [True, False])


async def test_nobody_backs_off_in_an_outage() -> None:
    """The probes' own intervals are all the waiting there is."""
    stage = Stage(script=[*[UNREACHED] * 14, OK], is_answered=False, remaining=1)
    await stage.deliver()
    assert stage.back_offs[-5:] == [0.0] * 5
    assert stage.gaps[-5:] == pytest.approx([1.0, 2.0, 4.0, 8.0, 16.0])


async def test_what_was_in_doubt_in_an_outage_stays_so() -> None:
    """Excusing a try takes away that it counts, not that it may have been applied."""
    stage = Stage(script=[TIMEOUT, *[UNREACHED] * 12, BUSY, BUSY, BUSY], is_answered=False, remaining=1)
    outcome = await stage.deliver()
    assert (outcome.status, outcome.error_code) == (Status.IN_DOUBT, "TIMEOUT")


@pytest.mark.parametrize(("gone", "left"), [(UNREACHED, []), (TIMEOUT, [2])])
async def test_an_outage_without_end_leaves_the_row_without_an_outcome(gone: Trouble, left: list[int]) -> None:
    """The run stops, and who keeps the record hears of the row if it may have been applied."""
    stage = Stage(script=[gone] * 100, is_answered=False, remaining=1)
    with pytest.raises(OutageError, match=f"the platform has not answered for 900 s \\({gone.code}\\)"):
        await stage.delivery.deliver(ASHA)
    assert (stage.left, stage.outages) == (left, [True])
    assert stage.times[2][-1] == pytest.approx(stage.times[2][0] + 900.0)


@pytest.mark.parametrize("asking", [THROTTLED, OVERLOADED, BROKEN, BUSY, TIMEOUT_OF_A_GATEWAY])
async def test_a_wish_to_wait_beyond_the_patience_ends_the_run(asking: Reply) -> None:
    """After one try, without waiting for anything; just within the patience it is heeded."""
    stage = Stage(script=[replace(asking, retry_after=900.1)])
    with pytest.raises(OutageError, match="the platform asks to wait 900 s, which is longer than --outage-timeout"):
        await stage.deliver()
    assert (stage.now, stage.pauses) == (0.0, [])
    patient = Stage(script=[replace(asking, retry_after=900.0), OK])
    assert (await patient.deliver()).status is Status.SUCCESS


@pytest.mark.parametrize("settled", [OK, REFUSED, OTHER_BILL])
async def test_a_settled_row_may_ask_for_any_wait(settled: Reply) -> None:
    """What will not be repeated waits for nothing, and ends no run."""
    stage = Stage(script=[replace(settled, retry_after=86_400.0)])
    await stage.deliver()
    assert stage.pauses == []


async def test_no_tls_from_the_start_ends_the_run() -> None:
    """Nothing was sent: that is the fault of an address, a certificate or a clock, and no outage."""
    stage = Stage(script=[UNREACHED, NO_TLS])
    with pytest.raises(TlsError, match="no secure connection; check the base URL, the certificates of this machine"):
        await stage.deliver()
    assert stage.left == []


async def test_a_proxy_that_refuses_us_from_the_start_ends_the_run() -> None:
    """After one try: more wrong passwords would lock whoever they belong to."""
    stage = Stage(script=[NOT_BY_THIS_PROXY])
    with pytest.raises(ProxyRefusedError, match="HTTPS_PROXY has; correct the proxy's user name and password in it"):
        await stage.deliver()
    assert stage.left == []


async def test_a_client_certificate_that_is_refused_from_the_start_ends_the_run() -> None:
    """After one try; the row, which may have been taken before, is left as perhaps applied."""
    stage = Stage(script=[UNREACHED, NOT_WITH_THIS_CERTIFICATE])
    with pytest.raises(TlsError, match=r"^the platform wants another \(client_certificate\)$"):
        await stage.deliver()
    assert stage.left == [ASHA.row_number]


async def test_a_client_certificate_that_is_refused_to_the_end_leaves_the_row_in_doubt() -> None:
    """Once somebody was reached, no later refusal makes it `failed`, and neither does a try that surely never left."""
    stage = Stage(script=[BROKEN, NOT_WITH_THIS_CERTIFICATE, UNREACHED])
    outcome = await stage.deliver()
    assert (outcome.status, outcome.error_code) == (Status.IN_DOUBT, "CERTIFICATE_REFUSED")


@pytest.mark.parametrize("later", [NO_TLS, NOT_WITH_THIS_CERTIFICATE, NOT_BY_THIS_PROXY])
@pytest.mark.parametrize("first", [REFUSED, BROKEN, TIMEOUT])
async def test_no_tls_and_no_proxy_later_on_is_like_no_connection(first: Answer, later: Answer) -> None:
    """Once somebody was reached, the row is tried again."""
    stage = Stage(script=[first])
    await stage.delivery.deliver(BELA) if first is REFUSED else await _given_up(stage, first)
    stage.script += [later, OK]
    assert (await stage.deliver()).attempts == 2


async def _given_up(stage: Stage, answer: Answer) -> None:
    stage.script += [answer] * 2
    await stage.delivery.deliver(BELA)


# The password


async def test_a_replaced_password_costs_no_attempt() -> None:
    """With one attempt allowed, a try whose password was replaced meanwhile is repeated all the same, and told."""
    stage = Stage(script=[RENEWED, OK], max_attempts=1)
    outcome = await stage.deliver()
    assert (outcome.status, outcome.attempts, stage.delivery.requests) == (Status.SUCCESS, 2, 2)
    assert not any(verdict.access_refused for _, _, verdict in stage.heard)


@pytest.mark.parametrize("answer", [UNREACHED, replace(RENEWED, http_status=503), THROTTLED])
async def test_a_try_that_was_not_sent_costs_no_attempt(answer: Answer) -> None:
    """With one attempt allowed, it is repeated until it is sent, and each time told."""
    stage = Stage(script=[*[replace(answer, unsent=True)] * 7, REFUSED], max_attempts=1)
    outcome = await stage.deliver()
    assert (outcome.status, outcome.error_code, len(stage.heard)) == (Status.REFUSED, "750", 8)


async def test_a_try_that_is_never_sent_ends_the_run_as_an_outage_does() -> None:
    """Also when others are answered for a while, and nobody can declare an outage."""
    stage = Stage(script=[replace(UNREACHED, unsent=True)] * 200, max_attempts=1)
    with pytest.raises(OutageError, match="not answered for"):
        await stage.deliver()


async def test_what_a_token_was_answered_is_not_heeded_twice() -> None:
    """Its request told the pace when it was answered; and nothing of it is the row's last reply."""
    stage = Stage(script=[replace(THROTTLED, retry_after=30.0, unsent=True, request_id="of-a-token"), OK])
    outcome = await stage.deliver()
    assert (stage.now, stage.pauses, outcome.request_id) == (0.0, [], OK.request_id)


def test_what_goes_before_a_row_is_heeded_like_a_row() -> None:
    """Throttling and a wish to wait pause the key, and are told; a wish beyond the patience ends the run."""
    stage = Stage(script=[])
    limit = Limit(stage.pace, stage.gate, stage.pauses.append)
    limit.heed_aside(OK, stage.now)
    assert stage.pace.paused_for == 0.0
    limit.heed_aside(refusing(429, 429, retry_after=7.0), stage.now)
    limit.heed_aside(refusing(503, 4001, retry_after=9.0), stage.now)
    assert (stage.pace.paused_for, stage.pauses) == (9.0, [7.0, 9.0])
    with pytest.raises(OutageError, match="asks to wait 901 s"):
        limit.heed_aside(refusing(503, 4001, retry_after=901.0), stage.now)


async def test_a_replaced_password_that_is_refused_ends_the_run() -> None:
    """A second 401 with the new one is the last word, and the row was never applied."""
    stage = Stage(script=[RENEWED, Reply(http_status=401)])
    with pytest.raises(AccessRefusedError, match="the platform refused the credentials or the permission"):
        await stage.deliver()
    assert stage.left == []


async def test_a_replaced_password_says_nothing_about_the_platform() -> None:
    """It neither ends an outage nor counts among the tries that show one."""
    stage = Stage(script=[*[UNREACHED] * 10, RENEWED, OK], is_answered=False, remaining=1)
    await stage.deliver()
    assert stage.outages == [True, False]
    assert stage.gate.sent(2) == 11


# What may have been applied before


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        ([UNREACHED] * 3, Status.IN_DOUBT, "SENT_BEFORE"),
        ([BUSY] * 3, Status.IN_DOUBT, "SENT_BEFORE"),
        ([THROTTLED, BUSY, BUSY, BUSY], Status.IN_DOUBT, "SENT_BEFORE"),
        ([TIMEOUT, UNREACHED, UNREACHED], Status.IN_DOUBT, "TIMEOUT"),
        ([OTHER_BILL], Status.IN_DOUBT, "ECHO_MISMATCH"),
        ([BUSY, OK], Status.SUCCESS, ""),
        ([REFUSED], Status.REFUSED, "750"),
    ],
)
async def test_what_an_earlier_try_may_have_applied_is_never_failed(
    script: list[Answer], status: Status, code: str
) -> None:
    """Only a success or a refusal of now takes away the doubt of an earlier stretch."""
    outcome = await Stage(script=list(script)).deliver(replace(ASHA, may_be_applied=True))
    assert (outcome.status, outcome.error_code) == (status, code)
    if code == "SENT_BEFORE":
        assert outcome.error_message == "it may have been applied by an earlier try whose answer was never recorded"
        assert outcome.attempts == len(script)


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
    assert str(caught.value) == f"the platform refused the credentials or the permission {words}"
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


async def _cancelled_at_the_end(stage: Stage) -> None:
    reached = asyncio.Event()

    async def attempt(_correction: Correction) -> Answer:
        if stage.script:
            return stage.script.pop(0)
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    hooks = Hooks(left_in_doubt=stage.left.append)
    delivery = Delivery(attempt, stage.pace, stage.gate, max_attempts=3, sleep=stage._rest, hooks=hooks)
    row = asyncio.create_task(delivery.deliver(ASHA))
    await reached.wait()
    row.cancel()
    await row


# Who hears of a row that is left in doubt


@pytest.mark.parametrize(
    ("script", "is_in_doubt"),
    [
        pytest.param([], False, id="nothing was sent"),
        pytest.param([UNREACHED], False, id="never left"),
        pytest.param([BUSY], False, id="surely not applied"),
        pytest.param([THROTTLED], False, id="throttled"),
        pytest.param([RENEWED], False, id="with an old password"),
        pytest.param([TIMEOUT], True, id="no answer"),
        pytest.param([BROKEN], True, id="a failure"),
        pytest.param([OVERLOADED], True, id="a failure that says how long to wait"),
        pytest.param([TIMEOUT, UNREACHED, THROTTLED], True, id="no answer, long ago"),
    ],
)
@pytest.mark.parametrize("may_be_applied", [False, True])
async def test_a_stop_leaves_in_doubt_what_may_have_been_applied(
    script: list[Answer],
    is_in_doubt: bool,  # noqa: FBT001  a table
    may_be_applied: bool,  # noqa: FBT001  a table
) -> None:
    """Before its next attempt a row goes home; it is told if one before may have been applied, now or earlier."""

    def proceed() -> None:
        if not stage.script:
            raise Stopping

    stage = Stage(script=list(script), proceed=proceed, max_attempts=9)
    with pytest.raises(Stopping):
        await stage.deliver(replace(ASHA, may_be_applied=may_be_applied))
    assert stage.left == ([2] if is_in_doubt or may_be_applied else [])


@pytest.mark.parametrize("script", [[], [UNREACHED], [TIMEOUT]], ids=["the first", "a second", "one after a doubt"])
async def test_a_request_that_is_cut_off_leaves_its_row_in_doubt(script: list[Answer]) -> None:
    """A second Ctrl-C ends an attempt whose answer is not known: whatever was before, it may have been applied."""
    stage = Stage(script=list(script))
    with pytest.raises(asyncio.CancelledError):
        await _cancelled_at_the_end(stage)
    assert stage.left == [2]


@pytest.mark.parametrize(
    ("script", "left"),
    [([], []), ([UNREACHED], []), ([TIMEOUT], [2]), ([TIMEOUT, BUSY], [2])],
    ids=["at once", "after none", "after a doubt", "after a doubt and an answer"],
)
@pytest.mark.parametrize("refusal", [Reply(http_status=401), refusing(403, 4000)])
async def test_refused_access_leaves_in_doubt_what_was_so_before(
    script: list[Answer], left: list[int], refusal: Answer
) -> None:
    """The refused request itself was not applied."""
    stage = Stage(script=[*script, refusal])
    with pytest.raises(AccessRefusedError):
        await stage.deliver()
    assert stage.left == left


@pytest.mark.parametrize(("answer", "left"), [(OK, [2]), (REFUSED, []), (UNREACHED, []), (TIMEOUT, [2])])
async def test_a_success_that_could_not_be_told_is_in_doubt(answer: Answer, left: list[int]) -> None:
    """When the log fails right after the answer there is no outcome, though the platform may have applied the row."""

    def attempted(_correction: Correction, _number: int, _verdict: Verdict) -> None:
        raise ReportError("the disk is full")

    stage = Stage(script=[answer])
    hooks = Hooks(attempted=attempted, left_in_doubt=stage.left.append)
    delivery = Delivery(stage._attempt, stage.pace, stage.gate, max_attempts=3, hooks=hooks)
    with pytest.raises(ReportError):
        await delivery.deliver(ASHA)
    assert stage.left == left


async def test_an_outcome_leaves_nobody_in_doubt() -> None:
    """A row that has one is told to nobody, whatever it went through."""
    scripts: list[list[Answer]] = [[OK], [TIMEOUT, OK], [TIMEOUT] * 3, [UNREACHED] * 3, [OTHER_BILL]]
    for script in scripts:
        stage = Stage(script=script)
        await stage.deliver(replace(ASHA, may_be_applied=True))
        assert stage.left == []


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
