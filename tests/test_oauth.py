"""OAuth: a token for key and secret, kept fresh at the pace's price, on real sockets against the sandbox."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.application.doctoring import CREDENTIALS, Level, diagnose
from bulkredeem.application.wiring import client_for
from bulkredeem.client import Basic, Client, OAuth
from bulkredeem.client.authentication import Errand
from bulkredeem.client.oauth import REFRESHED_AT, ROUNDS, TOKEN_HEADER
from bulkredeem.client.tokens import LONGEST_LIFE, MAX_TOKEN, USUAL_LIFE
from bulkredeem.client.traces import KEPT
from bulkredeem.delivery import Delivery, Gate, Limit
from bulkredeem.errors import AccessRefusedError, ConfigurationError, ExitCode, OutageError, SignalledError, Stopping
from bulkredeem.model import Answer, Ceiling, Correction, Invalid, Outcome, Rate, Reply, Skipped, Status, Trouble
from bulkredeem.outage import Watch
from bulkredeem.pace import Pace
from bulkredeem.processor import Pool, Stop
from bulkredeem.sandbox import Fault, Sandbox, Then, errors_body
from bulkredeem.sandbox.replies import Reply as SandboxReply
from bulkredeem.settings import load_settings
from bulkredeem.settings.sources import load_settings_with_origins
from bulkredeem.verdict import judge

if TYPE_CHECKING:
    from tests.conftest import Terminal

SECRET = "quiet-Otter-42"
HEADER = ["redemptionId", "billNumber", "identifierValue"]
A_TOKEN = b'{"data":{"accessToken":"ey-5","ttlSeconds":300},"errors":null}'


def row_of(number: int) -> Correction:
    """Return a correction of a redemption and a customer of its own."""
    return Correction(
        row_number=number,
        redemption_id=f"R{number}",
        entity_type="CUSTOMER",
        identifier_type="mobile",
        identifier_value=f"9199{number:08}",
        bill_number=f"B-{number}",
    )


@dataclass(kw_only=True)
class Hours:
    """A clock that only sleeping moves, and sleeping takes no time."""

    now: float = 1_000.0

    def time(self) -> float:
        """Return what it shows."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Let the time pass, and others have their turn."""
        self.now += seconds
        await asyncio.sleep(0)


@dataclass(kw_only=True, eq=False)
class Stage:
    """A client with key and secret, what delivers through it, and all that they have done."""

    sandbox: Sandbox
    hours: Hours
    client: Client
    rate: str = "none"
    max_attempts: int = 3
    stop: Stop = field(default_factory=Stop)
    slots: int = 0
    """How many were taken."""
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Wire it up."""
        self.pace = Pace(Ceiling.parse(self.rate), clock=self.hours.time, sleep=self.hours.sleep)
        gate = Gate(
            Watch(clock=self.hours.time),
            width=32,
            outage_timeout=900.0,
            remaining=lambda: 1_000,
            sleep=self.hours.sleep,
        )
        limit = Limit(self.pace, gate)
        self.slot = self.client.authenticated(self._count_slot, proceed=self.stop.check, heed=limit.heed_aside)
        self.delivery = Delivery(
            self.client.update,
            self.pace,
            gate,
            max_attempts=self.max_attempts,
            sleep=self.hours.sleep,
            proceed=self.stop.check,
            slot=self.slot,
        )

    async def _count_slot(self) -> float:
        self.slots += 1
        return await self.pace.slot()

    async def ask(self, number: int = 2) -> Answer:
        """Send one update, once, as a try does."""
        await self.slot()
        return await self.client.update(row_of(number))

    async def run(self, count: int, *, workers: int = 32) -> None:
        """Deliver so many rows."""

        async def record(outcome: Outcome | Invalid | Skipped) -> None:
            assert isinstance(outcome, Outcome)
            self.outcomes[outcome.row_number] = outcome

        pool = Pool(self.delivery.deliver, record, stop=self.stop, max_workers=workers)
        await pool.run(map(row_of, range(2, count + 2)))

    @property
    def statuses(self) -> Counter[Status]:
        """How many rows have come to what."""
        return Counter(outcome.status for outcome in self.outcomes.values())


Setting = Callable[..., Any]
"""Makes a stage, which is awaited."""


@pytest.fixture
def hours() -> Hours:
    """Give a clock."""
    return Hours()


@pytest.fixture
async def sandbox(hours: Hours) -> AsyncIterator[Sandbox]:
    """Give a sandbox that goes by that clock."""
    async with Sandbox(password=SECRET, clock=hours.time) as sandbox:
        yield sandbox


@pytest.fixture
async def setting(sandbox: Sandbox, hours: Hours) -> AsyncIterator[Setting]:
    """Set a stage; `rate` and `max_attempts` are the stage's, `timeout` the client's, all else the key's."""
    open_clients: list[Client] = []

    async def give(*, timeout: float = 20.0, **changes: Any) -> Stage:  # noqa: ASYNC109  an attempt's
        own = {name: changes.pop(name) for name in ("rate", "max_attempts") if name in changes}
        oauth = OAuth(sandbox.username, SECRET, clock=hours.time, **changes)
        client = Client(sandbox.base_url, oauth, timeout=timeout, max_connections=32)
        open_clients.append(await client.__aenter__())
        return Stage(sandbox=sandbox, hours=hours, client=client, **own)

    yield give
    for client in open_clients:
        await client.__aexit__(None, None, None)


# One token for all


async def test_a_token_is_fetched_once_for_many_rows_at_once(setting: Setting, sandbox: Sandbox) -> None:
    """A hundred rows with 32 workers share one token, and each request has had one slot."""
    stage = await setting()
    await stage.run(100)
    assert stage.statuses == {Status.SUCCESS: 100}
    assert (sandbox.tokens, sandbox.requests, stage.slots) == (1, 101, 101)
    assert stage.client.asked_aside == 1


async def test_all_who_find_no_token_wait_for_the_one_who_fetches_it(setting: Setting, sandbox: Sandbox) -> None:
    """Also when nobody keeps them in line: twenty at once need one token."""
    stage = await setting()
    answers = await asyncio.gather(*(stage.ask(number) for number in range(2, 22)))
    assert {answer.http_status for answer in answers} == {200}
    assert (sandbox.tokens, sandbox.requests, stage.slots) == (1, 21, 21)


async def test_a_question_takes_a_token_too(setting: Setting, sandbox: Sandbox) -> None:
    """Reading back is let in with it."""
    stage = await setting()
    await stage.slot()
    answer = await stage.client.read_back({"mobile": "919900000001"})
    assert (answer.http_status, sandbox.reads, sandbox.tokens) == (200, 1, 1)


async def test_a_user_name_and_a_password_need_nothing_before_a_row() -> None:
    """With Basic the slot is the pace's own, without a detour."""
    pace = Pace(Ceiling.parse("none"))
    slot = pace.slot
    assert Client("http://127.0.0.1:1", Basic("a", "b"), timeout=1.0, max_connections=1).authenticated(slot) is slot


async def test_nothing_is_sent_without_a_token(setting: Setting, sandbox: Sandbox) -> None:
    """Who asks for no token has none, and hears so."""
    stage = await setting()
    answer = await stage.client.update(row_of(2))
    assert (answer.code, answer.may_be_applied, sandbox.requests) == ("TOKEN_NOT_FETCHED", False, 0)


# Ahead of its end


async def test_a_token_is_refreshed_ahead_of_its_end(setting: Setting, sandbox: Sandbox, hours: Hours) -> None:
    """At 80% of its life the next row takes a new one, and no request ever bears a dead one."""
    stage = await setting()
    answers, tokens = [], []
    for now in (0.0, 239.0, 240.0, 479.0, 480.0):
        hours.now = 1_000.0 + now
        answers.append((await stage.ask()).http_status)
        tokens.append(sandbox.tokens)
    assert answers == [200] * 5
    assert tokens == [1, 1, 2, 2, 3]


async def test_a_refresh_that_fails_leaves_the_old_token_at_work(
    setting: Setting, sandbox: Sandbox, hours: Hours
) -> None:
    """It is tried again at half of what is left, not before every row, and near the end only at the end."""
    stage = await setting()
    sandbox.token_faults = lambda number: SandboxReply(status=500, body=b"") if 2 <= number < 7 else None
    requests = []
    for now in (0.0, 240.0, 241.0, 269.9, 270.0, 284.9, 285.0, 292.4, 292.6, 299.9, 300.0):
        hours.now = 1_000.0 + now
        before = sandbox.requests
        answer = await stage.ask()
        requests.append(sandbox.requests - before)
        assert isinstance(answer, Reply) is (now < 300.0)
    assert requests == [2, 2, 1, 1, 2, 1, 2, 1, 2, 1, 1]
    assert sandbox.tokens == 1
    assert (await stage.ask()).http_status == 200
    assert stage.slots == sandbox.requests


async def test_a_refresh_does_not_hold_the_rows_up_for_long(setting: Setting, sandbox: Sandbox, hours: Hours) -> None:
    """A token endpoint that hangs is given up soon while the old token lives: far before an attempt's time is over."""
    stage = await setting(timeout=60.0, refresh_patience=0.1)
    await stage.ask()
    hours.now += 240.0
    sandbox.token_faults = lambda _: SandboxReply(status=200, body=None, then=Then.HANG)
    async with asyncio.timeout(20):
        answer = await stage.ask()
    assert answer.http_status == 200


async def test_a_secret_that_is_refused_ahead_is_shown_once_more_at_the_end(
    setting: Setting, sandbox: Sandbox, hours: Hours
) -> None:
    """Until then rows go on; keys get locked, so it is not shown in between, and after the end never again."""
    stage = await setting()
    await stage.ask()
    sandbox.password = "another"
    requests = []
    for now in (240.0, 280.0, 299.0, 300.0, 301.0):
        hours.now = 1_000.0 + now
        before = sandbox.requests
        answer = await stage.ask()
        requests.append((answer.http_status, sandbox.requests - before))
    assert requests == [(200, 2), (200, 1), (200, 1), (401, 1), (401, 0)]


# The pace


async def test_tokens_are_charged_to_the_pace(setting: Setting, sandbox: Sandbox) -> None:
    """With a token that lives for 20 s, and a limit that is the rate, no stretch of time ever holds too many.

    One worker, since this clock would go on while the requests of others are on their way.
    """
    sandbox.limit = Rate.parse("100/min")
    sandbox.token_ttl = 20.0
    stage = await setting(rate="100/min")
    await stage.run(250, workers=1)
    assert stage.statuses == {Status.SUCCESS: 250}
    assert sandbox.throttled == 0
    assert sandbox.tokens > 8
    assert sandbox.requests == 250 + sandbox.tokens == stage.slots == 250 + stage.client.asked_aside


async def test_a_failed_request_for_a_token_has_its_slot_and_no_other(setting: Setting, sandbox: Sandbox) -> None:
    """One slot is taken, one request is sent, and the update is not."""
    stage = await setting()
    sandbox.token_faults = lambda _: SandboxReply(status=500, body=b"")
    await stage.ask()
    assert (stage.slots, sandbox.requests, sandbox.applied) == (1, 1, [])


async def test_who_got_no_token_does_not_send_with_his_neighbours(setting: Setting, sandbox: Sandbox) -> None:
    """He has used his slot up: a token that comes for another one meanwhile would let him send without one."""
    stage = await setting()
    sandbox.token_faults = lambda number: SandboxReply(status=500, body=b"") if number == 1 else None
    failed, came = asyncio.Event(), asyncio.Event()

    async def first() -> Answer:
        await stage.slot()
        failed.set()
        await came.wait()
        answer: Answer = await stage.client.update(row_of(2))
        return answer

    async def second() -> Answer:
        await failed.wait()
        await stage.slot()
        came.set()
        answer: Answer = await stage.client.update(row_of(3))
        return answer

    unsent, sent = await asyncio.gather(first(), second())
    assert isinstance(unsent, Trouble)
    assert isinstance(sent, Reply)
    assert [each.identifier for each in sandbox.applied] == ["R3"]
    assert (await stage.ask()).http_status == 200


async def test_a_slot_that_was_given_back_leaves_no_answer_behind(setting: Setting, sandbox: Sandbox) -> None:
    """The gate may let a slot go by: what became of its token says nothing of the next slot's."""
    stage = await setting()
    sandbox.token_faults = lambda number: SandboxReply(status=500, body=b"") if number == 1 else None
    await stage.slot()
    assert (await stage.ask()).http_status == 200


async def test_a_token_that_ends_before_there_is_a_slot_is_not_asked_for_for_ever(
    setting: Setting, sandbox: Sandbox
) -> None:
    """At a rate of one an hour no token lives long enough: the row fails, and says why."""
    stage = await setting(rate="1/hour")
    answer = await stage.ask()
    assert answer == Trouble(
        code="TOKEN_NOT_FETCHED",
        message="no token was given: each had ended before the next request might go",
        may_be_applied=False,
        unsent=True,
    )
    assert (sandbox.tokens, sandbox.applied) == (ROUNDS, [])


async def test_a_stop_lets_nobody_ask_for_a_token(setting: Setting, sandbox: Sandbox) -> None:
    """Nor does whoever stands in line after him who has: a silent platform would make each wait."""
    stage = await setting()
    stage.stop.request(SignalledError("Ctrl-C"))
    with pytest.raises(Stopping):
        await stage.slot()
    assert sandbox.requests == 0


# 401


async def test_a_token_that_is_refused_is_replaced_once_more(setting: Setting, sandbox: Sandbox) -> None:
    """The row's try is excused, and repeated with a new token; it is no failure of the row's."""
    stage = await setting(max_attempts=1)
    await stage.run(1)
    sandbox.revoke_tokens()
    outcome = await stage.delivery.deliver(row_of(9))
    assert (outcome.status, outcome.attempts, sandbox.tokens) == (Status.SUCCESS, 2, 2)


async def test_each_token_may_be_replaced_when_it_was_good_once(setting: Setting, sandbox: Sandbox) -> None:
    """It is no matter how often tokens are revoked as long as something is let in with each."""
    stage = await setting(max_attempts=1)
    for number in range(2, 7):
        outcome = await stage.delivery.deliver(row_of(number))
        assert outcome.status is Status.SUCCESS
        sandbox.revoke_tokens()
    assert sandbox.tokens == 5


async def test_a_second_401_is_the_last_word(setting: Setting, sandbox: Sandbox) -> None:
    """When the replacement is refused before anything was let in with it, no row can succeed: none has an outcome."""
    stage = await setting()
    sandbox.token_faults = lambda _: SandboxReply(status=200, body=A_TOKEN)
    await stage.run(50)
    assert isinstance(stage.stop.cause, AccessRefusedError)
    assert stage.stop.cause.exit_code is ExitCode.ACCESS_REFUSED
    assert stage.outcomes == {}
    assert sandbox.requests == 4


async def test_a_revoked_token_in_the_middle_of_a_run_loses_no_row(setting: Setting, sandbox: Sandbox) -> None:
    """With 32 under way there is one new token; each row is applied once, in one attempt or in two."""
    stage = await setting(max_attempts=1)
    arrived: list[str] = []

    def revoke_at_50(update: Any) -> None:
        arrived.append(update.identifier)
        if len(arrived) == 50:
            sandbox.revoke_tokens()

    sandbox.faults = revoke_at_50
    await stage.run(200)
    assert stage.statuses == {Status.SUCCESS: 200}
    assert sandbox.tokens == 2
    assert Counter(each.identifier for each in sandbox.applied) == {f"R{number}": 1 for number in range(2, 202)}
    attempts = sum(outcome.attempts for outcome in stage.outcomes.values())
    assert sandbox.requests == attempts + sandbox.tokens


async def test_a_token_that_is_given_again_is_another_one() -> None:
    """A late refusal of the first is none of the second, although they read alike: no run ends for that."""
    told = Told(data={"accessToken": "abc", "ttlSeconds": 300})
    await told.ready()
    first = told.oauth.headers
    assert told.oauth.is_outdated(first)
    await told.ready()
    second = told.oauth.headers
    assert (second, told.asked) == (first, 2)
    told.oauth.accept(first)
    assert told.oauth.is_outdated(first)
    assert told.oauth.headers is second
    assert not told.oauth.is_outdated(second)


def in_disguise(sandbox: Sandbox, status: int) -> None:
    """Let the sandbox say that it lets a token not in by a code alone, with this status."""
    honest = sandbox._turned_away

    def turned_away(http: Any, raw: bytes) -> SandboxReply | None:
        reply = honest(http, raw)
        return replace(reply, status=status) if reply and reply.status == 401 and http.method == "PUT" else reply

    sandbox._turned_away = turned_away  # type: ignore[method-assign]  # what the platform may be like


@pytest.mark.parametrize("status", [200, 400, 403, 500])
async def test_the_code_401_refuses_a_token_whatever_its_status(
    setting: Setting, sandbox: Sandbox, status: int
) -> None:
    """It is replaced, and the tries are excused; said twice, it is the last word."""
    in_disguise(sandbox, status)
    stage = await setting(max_attempts=1)
    await stage.run(1)
    sandbox.revoke_tokens()
    await stage.run(20)
    assert stage.statuses == {Status.SUCCESS: 20}
    assert sandbox.tokens == 2
    sandbox.token_faults = lambda _: SandboxReply(status=200, body=A_TOKEN)
    sandbox.revoke_tokens()
    await stage.run(20)
    assert isinstance(stage.stop.cause, AccessRefusedError)


async def test_the_older_api_refuses_a_token_in_its_own_form(setting: Setting, sandbox: Sandbox) -> None:
    """HTTP 200, and the code within the response: the token is replaced, and the page is read."""
    stage = await setting()
    no = {"response": {"status": {"success": False, "code": 401, "message": "Unauthorized"}}}
    sandbox.read_faults = lambda _: says(200, json.dumps(no).encode()) if sandbox.reads == 1 else None
    answers = []
    for _ in range(2):
        await stage.slot()
        answers.append(await stage.client.read_back({"mobile": "919900000001"}))
    assert [answer.credentials_renewed for answer in answers] == [True, False]
    assert sandbox.tokens == 2


@pytest.mark.parametrize("status", [200, 201, 400, 403, 404, 429, 500, 503])
async def test_a_replacement_is_good_once_anything_else_is_answered(
    setting: Setting, sandbox: Sandbox, status: int
) -> None:
    """Whatever is said to it, if not that it is refused: when it is revoked later, it is replaced like any other."""
    stage = await setting()
    await stage.ask()
    sandbox.revoke_tokens()
    assert (await stage.ask()).credentials_renewed
    sandbox.faults = lambda _: Fault(status=status, body=b"{}")
    assert (await stage.ask()).http_status == status
    sandbox.revoke_tokens()
    assert (await stage.ask()).credentials_renewed


async def test_what_follows_a_replacement_in_its_turn_takes_nobodys_place(
    setting: Setting, sandbox: Sandbox, hours: Hours
) -> None:
    """A token that comes at the end of its forerunner's life may be replaced, whatever that one was."""
    stage = await setting()
    await stage.ask()
    sandbox.revoke_tokens()
    assert (await stage.ask()).credentials_renewed
    sandbox.faults = lambda _: Fault(then=Then.RESET)
    assert isinstance(await stage.ask(), Trouble)
    sandbox.faults = None
    hours.now += 250.0
    await stage.slot()
    sandbox.revoke_tokens()
    assert (await stage.client.update(row_of(2))).credentials_renewed


# A token endpoint in trouble


def says(status: int, body: bytes = b"", **more: Any) -> SandboxReply:
    """Return what the token endpoint says."""
    return SandboxReply(status=status, body=body, **more)


FAILED = {"status": Status.FAILED, "repeat": True, "throttled": False, "access_refused": False}
THROTTLED = {**FAILED, "throttled": True}
REFUSED = {"status": Status.PENDING, "repeat": False, "throttled": False, "access_refused": True}
NOT_FETCHED = "TOKEN_NOT_FETCHED"

FAILURES: list[tuple[str, SandboxReply, str, dict[str, Any]]] = [
    ("a failing server", says(500), NOT_FETCHED, FAILED),
    ("a gateway", says(502, b"<html>"), NOT_FETCHED, FAILED),
    ("a server that says no when", says(503), NOT_FETCHED, FAILED),
    ("a server that says when", says(503, headers={"Retry-After": "7"}), "4001", FAILED),
    ("no authentication", says(503, errors_body(4001, "unavailable")), "4001", FAILED),
    ("throttling", says(429, b"slow down", headers={"Retry-After": "7"}), "HTTP_429", THROTTLED),
    ("throttling inside a success", says(200, errors_body(517, "slow down")), "517", THROTTLED),
    ("a wrong pair", says(401, errors_body(401, "no")), "401", REFUSED),
    ("a wrong pair without words", says(401), "HTTP_401", REFUSED),
    ("a bad request", says(400, errors_body(4711, "no")), "4711", REFUSED),
    ("no permission", says(403, errors_body(4000, "no")), "4000", REFUSED),
    ("no inside a success", says(200, errors_body(401, "no")), "401", REFUSED),
    ("no as a word", says(200, b'{"errors":["no"]}'), "HTTP_200", REFUSED),
    ("a failure inside a success", says(200, errors_body(500, "oops")), NOT_FETCHED, FAILED),
    ("an empty success", says(200), NOT_FETCHED, FAILED),
    ("HTML", says(200, b"<html>"), NOT_FETCHED, FAILED),
    ("no data", says(200, b'{"data":null,"errors":null}'), NOT_FETCHED, FAILED),
    ("data of another kind", says(200, b'{"data":["a"]}'), NOT_FETCHED, FAILED),
    ("no token in it", says(200, b'{"data":{"ttlSeconds":300}}'), NOT_FETCHED, FAILED),
    ("nothing there", says(404), NOT_FETCHED, FAILED),
    ("elsewhere", says(302, headers={"Location": "/elsewhere"}), NOT_FETCHED, FAILED),
    ("cut short", says(200, A_TOKEN, then=Then.RESET), NOT_FETCHED, FAILED),
    ("reset", SandboxReply(status=200, body=None, then=Then.RESET), NOT_FETCHED, FAILED),
    ("a busy one", says(400, errors_body(521, "busy")), NOT_FETCHED, FAILED),
    ("a failure inside a bad request", says(400, errors_body(500, "oops")), NOT_FETCHED, FAILED),
    ("a failure inside a forbidden one", says(403, errors_body(503, "oops")), NOT_FETCHED, FAILED),
    ("throttling as a decimal", says(403, b'{"errors":[{"code":429.0}]}'), "429", THROTTLED),
    ("throttling as the second error", says(400, b'{"errors":[{"code":7},{"code":517}]}'), "517", THROTTLED),
    ("a gateway's bad request", says(400, b"<html>"), NOT_FETCHED, FAILED),
    ("a gateway's no", says(403, b"<html>"), NOT_FETCHED, FAILED),
    ("a gateway's no without words", says(403), NOT_FETCHED, FAILED),
    ("a gateway's no to everybody", says(401, b"<html>"), "HTTP_401", REFUSED),
    ("a failure that says when", says(500, headers={"Retry-After": "7"}), "4001", FAILED),
    (
        "a token beside errors",
        says(200, b'{"data":{"accessToken":"ey-5"},"errors":[{"code":500}]}'),
        NOT_FETCHED,
        FAILED,
    ),
]


@pytest.mark.parametrize(("reply", "code", "expected"), [pytest.param(*facts, id=name) for name, *facts in FAILURES])
async def test_a_failure_of_the_token_endpoint(
    setting: Setting, sandbox: Sandbox, reply: SandboxReply, code: str, expected: Mapping[str, Any]
) -> None:
    """It is the answer to the try that needed the token: never in doubt, repeatable or an end of the run."""
    stage = await setting()
    sandbox.token_faults = lambda _: reply
    answer = await stage.ask()
    verdict = judge(answer, row_of(2))
    assert {name: getattr(verdict, name) for name in expected} == expected
    assert (verdict.code, sandbox.requests, sandbox.applied) == (code, 1, [])
    assert "no token was given" in verdict.message
    asked_for = reply.headers.get("Retry-After")
    assert asked_for is None or answer.retry_after == float(asked_for)


async def test_silence_of_the_token_endpoint(setting: Setting, sandbox: Sandbox) -> None:
    """Nothing was applied, whatever became of the request for the token."""
    stage = await setting(timeout=0.2)
    sandbox.token_faults = lambda _: SandboxReply(status=200, body=None, then=Then.HANG)
    answer = await stage.ask()
    assert (answer.code, answer.may_be_applied) == (NOT_FETCHED, False)
    assert "no answer came in time" in answer.message


async def test_nobody_is_there() -> None:
    """It is told as what it is."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        async with Client(url, OAuth("key", SECRET), timeout=5.0, max_connections=1) as client:
            await client.authenticated(Pace(Ceiling.parse("none")).slot)()
            answer = await client.update(row_of(2))
    assert isinstance(answer, Trouble)
    assert (answer.code, answer.may_be_applied) == ("CONNECTION_FAILED", False)


async def test_an_outage_of_the_token_endpoint_is_waited_out(setting: Setting, sandbox: Sandbox) -> None:
    """Rows do not fail for it: the pool pauses, probes, and all are sent when it is over."""
    stage = await setting(max_attempts=2)
    sandbox.token_faults = lambda number: says(500) if number < 12 else None
    await stage.run(40)
    assert stage.statuses == {Status.SUCCESS: 40}
    assert len(sandbox.applied) == 40


async def test_throttled_requests_for_a_token_pause_the_key(setting: Setting, sandbox: Sandbox, hours: Hours) -> None:
    """What the token endpoint asks to wait is waited, and it is not held against the row."""
    stage = await setting(max_attempts=1)
    sandbox.token_faults = lambda number: says(429, headers={"Retry-After": "30"}) if number < 3 else None
    before = hours.now
    await stage.run(3)
    assert stage.statuses == {Status.SUCCESS: 3}
    assert hours.now - before >= 60.0


async def test_a_failure_whose_slot_is_given_back_is_heeded_and_counted(setting: Setting, sandbox: Sandbox) -> None:
    """The gate may send the row home before it hears why: the pace has heard, and the request is one."""
    stage = await setting()
    sandbox.token_faults = lambda _: says(429, headers={"Retry-After": "30"})
    await stage.slot()
    assert stage.pace.paused_for == 30.0
    assert (stage.client.asked_aside, sandbox.requests) == (1, 1)


async def test_a_refresh_that_is_throttled_pauses_the_key(setting: Setting, sandbox: Sandbox, hours: Hours) -> None:
    """The limit is the key's: the row that can go with the old token waits for it, too."""
    stage = await setting()
    await stage.ask()
    sandbox.token_faults = lambda _: says(429, headers={"Retry-After": "20"})
    hours.now += 240.0
    before = hours.now
    assert (await stage.ask()).http_status == 200
    assert hours.now - before >= 20.0
    assert (sandbox.requests, stage.client.asked_aside) == (4, 2)


async def test_a_token_that_is_asked_to_wait_for_too_long_ends_the_run(
    setting: Setting, sandbox: Sandbox, hours: Hours
) -> None:
    """As an update that is: nobody sits through a pause beyond the patience for outages."""
    stage = await setting()
    await stage.ask()
    sandbox.token_faults = lambda _: says(429, headers={"Retry-After": "901"})
    hours.now += 240.0
    with pytest.raises(OutageError, match="asks to wait 901 s"):
        await stage.ask()


async def test_a_request_that_a_stop_overtakes_is_counted(setting: Setting, sandbox: Sandbox) -> None:
    """Nobody hears of its answer, and yet it was sent."""
    stage = await setting()

    def fail_and_stop(_: int) -> SandboxReply:
        stage.stop.request(SignalledError("Ctrl-C"))
        return says(500)

    sandbox.token_faults = fail_and_stop
    await stage.run(5)
    assert (stage.delivery.requests + stage.client.asked_aside, sandbox.requests) == (1, 1)


@pytest.mark.parametrize("failures", [1, 2, 5, 9])
async def test_a_try_that_was_not_sent_uses_nothing_up(setting: Setting, sandbox: Sandbox, failures: int) -> None:
    """With one attempt allowed and a token that is late, the row is sent all the same."""
    stage = await setting(max_attempts=1)
    sandbox.token_faults = lambda number: says(500) if number <= failures else None
    await stage.run(8)
    assert stage.statuses == {Status.SUCCESS: 8}
    assert sandbox.requests == stage.delivery.requests + stage.client.asked_aside


@pytest.mark.parametrize("rows", [1, 2, 40])
async def test_a_token_that_never_comes_ends_as_an_outage(setting: Setting, sandbox: Sandbox, rows: int) -> None:
    """However few rows there are; and none has an outcome."""
    stage = await setting(max_attempts=1)
    sandbox.token_faults = lambda _: says(500)
    await stage.run(rows)
    assert isinstance(stage.stop.cause, OutageError)
    assert stage.outcomes == {}


async def test_a_wrong_secret_is_shown_once(setting: Setting, sandbox: Sandbox) -> None:
    """With 32 workers it is one request; the run is to end, and no row has an outcome."""
    sandbox.password = "another"
    stage = await setting()
    await stage.run(50)
    assert isinstance(stage.stop.cause, AccessRefusedError)
    assert "401: no token was given for this key and its secret: Authentication failed" in str(stage.stop.cause)
    assert (sandbox.requests, stage.outcomes) == (1, {})


@pytest.mark.parametrize("found", ["new", "neither", None])
async def test_a_new_secret_is_looked_for_once(setting: Setting, sandbox: Sandbox, found: str | None) -> None:
    """It is shown when there is one; a second refusal is the last word."""
    sandbox.password = "new"
    looks: list[str | None] = []

    def look() -> str | None:
        looks.append(found)
        return found

    stage = await setting(renewed_secret=look, max_attempts=1)
    await stage.run(40)
    assert looks == [found]
    if found == "new":
        assert stage.statuses == {Status.SUCCESS: 40}
        assert sandbox.requests == 40 + 2
    else:
        assert isinstance(stage.stop.cause, AccessRefusedError)
        assert (sandbox.requests, stage.outcomes) == (2 if found else 1, {})


# What a token may be


BAD_TOKENS: dict[str, Any] = {
    "another header": "abc\r\nX-Evil: 1",
    "a line break": "abc\n",
    "a blank": "a b",
    "a tab": "\tabc",
    "nothing": "",
    "NUL": "abc\x00",
    "DEL": "abc\x7f",
    "accents": "tökén",
    "other letters": "日本",
    "too long": "a" * (MAX_TOKEN + 1),
    "a number": 7,
    "null": None,
    "true": True,
    "a list": ["abc"],
}


@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
async def test_what_is_no_header_is_no_token(setting: Setting, sandbox: Sandbox, token: Any) -> None:
    """Line breaks, blanks, other letters, too many of them: nothing of it is ever sent."""
    stage = await setting()
    body = json.dumps({"data": {"accessToken": token, "ttlSeconds": 300}, "errors": None}).encode()
    sandbox.token_faults = lambda _: says(200, body)
    answer = await stage.ask()
    assert (answer.code, sandbox.requests) == (NOT_FETCHED, 1)
    assert "none that could be used" in answer.message


@dataclass(kw_only=True)
class Told:
    """What a key and its secret are worth, without a network."""

    data: Any = None
    trouble: Trouble | None = None
    """What comes instead of a reply, or None."""
    hours: Hours = field(default_factory=Hours)
    asked: int = 0

    def __post_init__(self) -> None:
        """Begin without a token."""
        self.oauth = OAuth("key", SECRET, clock=self.hours.time)

    async def exchange(self, _pair: Mapping[str, str], _seconds: float | None) -> Answer:
        """Give the token."""
        self.asked += 1
        return self.trouble or Reply(http_status=200, body={"data": self.data, "errors": None})

    async def ready(self) -> Answer | None:
        """Take a slot, and return what there is in place of an answer."""

        async def slot() -> float:
            return self.hours.now

        errand = Errand(slot=slot, exchange=self.exchange, proceed=lambda: None, heed=lambda _reply, _sent_at: None)
        await self.oauth.slot_with(errand)()
        return self.oauth.instead()


async def test_a_certificate_that_is_refused_where_tokens_are_given_says_so() -> None:
    """The update surely was not sent, and the run ends over it as it does where updates are taken."""
    words = "the platform does not accept our client certificate (client_certificate)"
    told = Told(trouble=Trouble(code="CERTIFICATE_REFUSED", message=words, may_be_applied=True))
    assert await told.ready() == Trouble(code="CERTIFICATE_REFUSED", message=words, may_be_applied=False, unsent=True)


@given(token=st.text(max_size=40) | st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1))
def test_a_token_goes_out_as_it_came_or_not_at_all(token: str, virtually: Callable[..., Any]) -> None:
    """Whatever text the platform gives."""
    told = Told(data={"accessToken": token, "ttlSeconds": 300})
    missing = virtually(told.ready())
    if missing is None:
        assert told.oauth.headers == {TOKEN_HEADER: token}
        assert token.isascii()
        assert token.isprintable()
        assert " " not in token
    else:
        assert told.oauth.headers == {}


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from([1, 0.5, 300, 86_400, 10**12, -1, "300"]),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)


@given(seconds=JSON_VALUES)
def test_a_token_is_used_until_its_end_at_most(seconds: Any, virtually: Callable[..., Any]) -> None:
    """Whatever is said of its life: what makes no sense is the documented one, and none is believed beyond a day."""
    told = Told(data={"accessToken": "abc", "ttlSeconds": seconds})
    makes_sense = isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0
    life = min(float(min(seconds, LONGEST_LIFE)), LONGEST_LIFE) if makes_sense else USUAL_LIFE
    if life < 1e-3:
        return
    assert virtually(told.ready()) is None
    told.hours.now = 1_000.0 + life * (REFRESHED_AT - 0.01)
    virtually(told.ready())
    assert told.asked == 1
    told.hours.now = 1_000.0 + life * (REFRESHED_AT + 0.01)
    virtually(told.ready())
    assert told.asked == 2


# Attribution


@pytest.fixture
def configured(nothing_configured: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:  # noqa: ARG001  the surrounding
    """Give what sets variables beside those that name the sandbox, its key and its secret."""
    for name in ("base_url", "username", "password"):
        monkeypatch.setenv(f"BULKREDEEM_{name.upper()}", getattr(sandbox, name))
    return monkeypatch


async def test_updates_are_attributed_as_the_settings_say(configured: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """Each bears type and code of the entity beside the token."""
    configured.setenv("BULKREDEEM_ATTRIBUTION_ENTITY_TYPE", "TILL")
    configured.setenv("BULKREDEEM_ATTRIBUTION_CODE", "till.7")
    async with client_for(load_settings({"auth": "oauth"})) as client:
        slot = client.authenticated(Pace(Ceiling.parse("none")).slot)
        for number in (2, 3):
            await slot()
            await client.update(row_of(number))
    assert sandbox.attributed == [("TILL", "till.7")] * 2


async def test_without_the_settings_nothing_is_attributed(configured: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """Nobody is told of whom."""
    configured.setenv("BULKREDEEM_AUTH", "oauth")
    async with client_for(load_settings({})) as client:
        await client.authenticated(Pace(Ceiling.parse("none")).slot)()
        await client.update(row_of(2))
    assert (sandbox.attributed, len(sandbox.applied)) == ([], 1)


@pytest.mark.parametrize(
    ("auth", "variables", "words"),
    [
        ("basic", {"ENTITY_TYPE": "TILL", "CODE": "till.7"}, "with --auth oauth only"),
        ("basic", {"CODE": "till.7"}, "with --auth oauth only"),
        ("oauth", {"CODE": "till.7"}, "set both, or none"),
        ("oauth", {"ENTITY_TYPE": "TILL"}, "set both, or none"),
    ],
)
def test_attribution_by_halves_or_with_a_password_is_refused(
    configured: pytest.MonkeyPatch, auth: str, variables: Mapping[str, str], words: str
) -> None:
    """One sentence says so, before anything is sent."""
    for name, value in variables.items():
        configured.setenv(f"BULKREDEEM_ATTRIBUTION_{name}", value)
    with pytest.raises(ConfigurationError, match=words):
        client_for(load_settings({"auth": auth}))


# Secrets


async def test_neither_token_nor_secret_is_shown(setting: Setting, sandbox: Sandbox) -> None:
    """Not by what holds them, nor when the platform repeats the secret, nor in a traceback with its values."""
    stage = await setting()
    await stage.ask()
    oauth = stage.client._authentication
    token = oauth.headers[TOKEN_HEADER]
    shown = [repr(oauth), repr(vars(oauth)), str(oauth.headers), f"{oauth.headers}", repr(vars(stage.client))]
    sandbox.revoke_tokens()
    sandbox.token_faults = lambda _: says(401, errors_body(401, f"{SECRET} is not the secret"))
    await stage.run(3)
    shown.append("".join(traceback.TracebackException.from_exception(stage.stop.cause, capture_locals=True).format()))
    assert "… is not the secret" in str(stage.stop.cause)
    for secret in (token, SECRET):
        assert not [text for text in shown if secret in text]


REPEATED = [
    ("a message", {"errors": [{"code": 401, "message": "{} is not good"}]}),
    ("a code", {"errors": [{"code": "bad {}", "message": "no"}]}),
    ("the second error", {"errors": [{"code": 750, "message": "no"}, {"code": 7, "message": "not {}"}]}),
    ("a word", {"errors": ["not {}"]}),
    ("words within words", {"errors": [{"code": 750, "message": {"of {}": ["{}"]}}]}),
    ("a warning", {"warnings": [{"code": 7, "message": "{} ends soon"}]}),
    ("a warning within", {"data": {"warnings": [{"code": "{}", "message": "soon"}]}}),
]


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in REPEATED])
async def test_a_token_that_the_platform_repeats_is_masked(
    setting: Setting, sandbox: Sandbox, body: Any, status: int
) -> None:
    """Nobody behind the client has ever seen it, in whichever part of a reply that is shown."""
    stage = await setting()
    await stage.ask()
    token, secret = stage.client._authentication.headers[TOKEN_HEADER], SECRET
    for text in (token, secret, token.upper()):
        told = json.dumps(body).replace("{}", text).encode()
        sandbox.faults = lambda _, told=told: Fault(status=status, body=told)
        answer = await stage.ask()
        assert text not in repr(answer)
        assert "…" in repr(answer)


async def test_a_secret_is_masked_in_code_and_message(setting: Setting, sandbox: Sandbox) -> None:
    """Also in the sentence with which the run ends; and as MD5, with which one could sign in."""
    stage = await setting()
    digest = hashlib.md5(SECRET.encode(), usedforsecurity=False).hexdigest()
    found = {"errors": [{"code": f"bad {SECRET}", "message": "m"}, {"code": 1, "message": f"{SECRET} is {digest}"}]}
    sandbox.token_faults = lambda _: says(401, json.dumps(found).encode())
    await stage.run(2)
    assert str(stage.stop.cause).endswith("(bad …: no token was given for this key and its secret: m; … is …)")


async def test_a_token_is_masked_beside_which_there_are_errors(setting: Setting, sandbox: Sandbox) -> None:
    """It is not used, and may be good."""
    stage = await setting()
    body = b'{"data":{"accessToken":"ey-secret-5"},"errors":[{"code":7,"message":"ey-secret-5 is for others"}]}'
    sandbox.token_faults = lambda _: says(200, body)
    await stage.run(2)
    assert "… is for others" in str(stage.stop.cause)


async def test_the_secret_is_masked_after_any_number_of_tokens(
    setting: Setting, sandbox: Sandbox, hours: Hours
) -> None:
    """As many texts as are kept are those of the last tokens, and the secret's."""
    stage = await setting()
    for _ in range(KEPT + 1):
        await stage.ask()
        hours.now += 300.0
    sandbox.faults = lambda _: Fault(status=400, body=errors_body(750, f"not {SECRET}"))
    assert SECRET not in repr(await stage.ask())


def test_a_secret_that_is_no_text_is_told_at_once() -> None:
    """It could not be sent."""
    with pytest.raises(UnicodeEncodeError):
        OAuth("key", "\udc80")


# The doctor


async def doctor_says(**flags: Any) -> tuple[Level, str]:
    """Return what the doctor finds of the credentials, at worst."""
    diagnosis = await diagnose(*load_settings_with_origins({"auth": "oauth", **flags}), probes=None)
    order = list(Level)
    finding = max(
        (each for each in diagnosis.findings if each.topic in {CREDENTIALS, "question"}),
        key=lambda each: order.index(each.level),
    )
    return finding.level, finding.found


async def test_the_doctor_asks_with_a_token(configured: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """It says that key and secret are accepted, and has asked for one token and one page."""
    level, words = await doctor_says(rate="none")
    assert level is Level.OK
    assert "Key and secret are accepted" in words
    assert (sandbox.tokens, sandbox.reads, sandbox.requests) == (1, 1, 2)
    configured.setenv("BULKREDEEM_AUTH", "basic")
    assert "Accepted for a question" in (await doctor_says(auth="basic"))[1]


async def test_the_doctor_is_told_that_the_secret_is_wrong(configured: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """It speaks of key and secret, and has shown them once."""
    configured.setenv("BULKREDEEM_PASSWORD", "loud-Otter-43")
    assert await doctor_says() == (Level.PROBLEM, "The platform refuses the key sandbox.till or its secret.")
    assert sandbox.requests == 1


async def test_the_doctor_is_told_that_the_token_is_refused(configured: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """A platform may give tokens that are no good for redemptions."""
    configured.setenv("BULKREDEEM_RATE", "none")
    sandbox.token_faults = lambda _: says(200, A_TOKEN)
    level, words = await doctor_says()
    assert level is Level.PROBLEM
    assert "accepts the key sandbox.till and its secret, and refuses the token" in words


async def test_the_doctor_gets_no_token(configured: pytest.MonkeyPatch, sandbox: Sandbox) -> None:  # noqa: ARG001  the surrounding
    """It says what came instead."""
    sandbox.token_faults = lambda _: says(404)
    words = "No token was given: the platform answered HTTP 404 (TOKEN_NOT_FETCHED)."
    assert await doctor_says() == (Level.PROBLEM, words)


# The whole command


def good_rows(count: int) -> list[list[str]]:
    """Return a file of so many rows, each of a redemption and a customer of its own."""
    return [HEADER, *([f"AB{number:04}", f"B-{number}", f"9199{number:08}"] for number in range(count))]


@pytest.fixture
async def sandbox_of_today() -> AsyncIterator[Sandbox]:
    """Give a sandbox that goes by the real clock, for processes that do, too."""
    async with Sandbox(password=SECRET) as sandbox:
        yield sandbox


@pytest.fixture
def till(unconfigured: Terminal, sandbox_of_today: Sandbox) -> Terminal:
    """Give a terminal whose environment says where that sandbox is, and what key and secret are."""
    return unconfigured.configured(sandbox_of_today)


async def test_a_run_with_a_token(till: Terminal, sandbox_of_today: Sandbox, write_csv: Callable[..., Path]) -> None:
    """It ends well, counts every request, and leaves neither the secret nor a token anywhere."""
    run = await till.run("run", write_csv(good_rows(40)), "--auth", "oauth", "--rate", "none")
    assert run.code == ExitCode.DONE, run.err
    assert till.statuses() == ["success"] * 40
    assert (sandbox_of_today.tokens, sandbox_of_today.requests) == (1, 41)
    assert till.summary()["requests"] == 41
    tokens = list(sandbox_of_today._tokens._ends)
    assert till.leaks(sandbox_of_today.username, SECRET, *tokens) == []


async def test_a_wrong_secret_ends_a_run_that_resume_finishes(
    till: Terminal, sandbox_of_today: Sandbox, write_csv: Callable[..., Path]
) -> None:
    """Exit code 4 after one request, all rows pending; with the right secret again, every row is applied once."""
    sandbox_of_today.password = "another"
    run = await till.run("run", write_csv(good_rows(30)), "--auth", "oauth", "--rate", "none")
    assert (run.code, sandbox_of_today.requests) == (ExitCode.ACCESS_REFUSED, 1)
    assert till.statuses() == ["pending"] * 30
    assert "no token was given for this key and its secret" in run.out
    sandbox_of_today.password = SECRET
    resumed = await till.run("resume", "latest", "--auth", "oauth")
    assert resumed.code == ExitCode.DONE, resumed.err
    assert till.statuses() == ["success"] * 30
    assert len(sandbox_of_today.applied) == 30


async def test_a_token_that_dies_for_good_in_the_middle_leaves_every_row_accounted_for(
    till: Terminal, sandbox_of_today: Sandbox, write_csv: Callable[..., Path]
) -> None:
    """What was applied is a success, all else is pending, and resume sends just that."""
    arrived: list[str] = []

    def revoke_at_20(update: Any) -> None:
        arrived.append(update.identifier)
        if len(arrived) == 20:
            sandbox_of_today.revoke_tokens()
            sandbox_of_today.password = "another"

    sandbox_of_today.faults = revoke_at_20
    path = write_csv(good_rows(60))
    run = await till.run("run", path, "--auth", "oauth", "--rate", "none", "--max-workers", "4")
    assert run.code == ExitCode.ACCESS_REFUSED
    found = Counter(till.statuses())
    assert sum(found.values()) == 60
    assert found["success"] == len(sandbox_of_today.applied)
    assert found["pending"] == 60 - found["success"] > 0
    sandbox_of_today.password = SECRET
    resumed = await till.run("resume", "latest", "--auth", "oauth", "--rate", "none")
    assert resumed.code == ExitCode.DONE, resumed.err
    assert till.statuses() == ["success"] * 60
    assert Counter(each.identifier for each in sandbox_of_today.applied) == {
        f"AB{number:04}": 1 for number in range(60)
    }


async def test_attribution_with_a_password_stops_a_command_before_it_begins(
    till: Terminal, sandbox_of_today: Sandbox, write_csv: Callable[..., Path]
) -> None:
    """Exit code 2, one sentence, and nothing sent."""
    attributed = till.with_variables(BULKREDEEM_ATTRIBUTION_CODE="till.7")
    run = await attributed.run("run", write_csv(good_rows(1)))
    assert (run.code, len(run.err.splitlines()), sandbox_of_today.requests) == (ExitCode.COULD_NOT_START, 1, 0)
    assert "--auth oauth" in run.err
