"""Reading back: pages, and patience like an update's, on a clock of the tests' own; all of it over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulkredeem.client import Basic, Client
from bulkredeem.delivery import BACK_OFF_MOST, PAGE_SIZE, Delivery, Gate, NotRead, Reader
from bulkredeem.errors import AccessRefusedError, Stopping, TlsError
from bulkredeem.model import Answer, Ceiling, Correction, Rate, Reply, Sign, Trouble
from bulkredeem.outage import Watch
from bulkredeem.pace import PAUSE_LEAST, PAUSE_MOST, Pace, Teaches
from bulkredeem.readback import Current
from bulkredeem.sandbox import Sandbox
from bulkredeem.sandbox.replies import Reply as Served
from bulkredeem.sandbox.replies import redemptions_found, refused

MOBILE = "919900000001"
CUSTOMER = ("CUSTOMER", "mobile", MOBILE)
ASHA = Correction(
    row_number=2,
    redemption_id="8878ru",
    entity_type="CUSTOMER",
    identifier_type="mobile",
    identifier_value=MOBILE,
    bill_number="B-1",
)
BY_REFERENCE = replace(ASHA, redemption_id="", external_reference_number="ACR-1")


def page_of(names: Iterable[str]) -> Reply:
    """Return the page that holds these redemptions."""
    redemptions = {"points": {"point": [{"redemption_id": name, "transaction_number": "OLD"} for name in names]}}
    customer = {"redemptions": redemptions}
    return Reply(http_status=200, body={"response": {"status": {"success": True}, "customer": customer}})


def failing(code: int, message: str = "no", *, http_status: int = 200) -> Reply:
    """Return a failure as the older API tells it."""
    status = {"success": False, "code": code, "message": message}
    outer = {"success": False, "code": 500, "message": "All requests have failed due to errors"}
    return Reply(http_status=http_status, body={"response": {"status": outer, "customer": {"item_status": status}}})


FOUND = page_of(["NZVAt9", "8878ru"])
THROTTLED = Reply(http_status=429, body={})
AT_ONCE = Reply(http_status=429, body={}, retry_after=0.0)
OVERLOADED = Reply(http_status=503, body={}, retry_after=0.0)
BROKEN = Reply(http_status=500, body={})
UNREADABLE = Reply(http_status=200, unreadable="was a page of HTML")
TIMEOUT = Trouble(code="TIMEOUT", message="no answer came in time", may_be_applied=True)
UNREACHED = Trouble(code="CONNECTION_FAILED", message="no connection could be made", may_be_applied=False)
CURRENT = Current(redemption_id="8878ru", bill_number="OLD")


Read = Callable[[Mapping[str, str]], Awaitable[Answer]]


def gate(*, remaining: int = 2, is_accepted: bool = True, **options: Any) -> Gate:
    """Return a gate; when it is accepted, the platform has just answered a neighbour."""
    new = Gate(Watch(), width=1000, outage_timeout=900.0, remaining=lambda: remaining, **options)
    if is_accepted:
        new.note(1, Sign.ANSWERED)
    return new


def reader_of(read: Read, pace: Pace | None = None, through: Gate | None = None, **options: Any) -> Reader:
    """Return a reader whose questions go out at a pace, through a gate."""
    options = {"max_attempts": 1, **options}
    pace = pace or Pace(Ceiling.parse("none"))
    return Reader(read, lambda attempt: Delivery(attempt, pace, through or gate(), **options))


async def go_home(_seconds: float) -> None:
    """Sleep as a draining run does: not at all."""
    raise Stopping


class Attentive(Pace):
    """A pace that remembers what throttled and overloaded tries were said to teach."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """Begin with nothing heard."""
        super().__init__(*args, **options)
        self.taught: list[Teaches] = []
        self.strains = 0

    def throttled(self, sent_at: float, asked: float, teaches: Teaches = Teaches.LIMIT) -> None:
        """Hear of a throttled try."""
        self.taught.append(teaches)
        super().throttled(sent_at, asked, teaches)

    def strained(self, sent_at: float, share: float = 1.0) -> None:
        """Hear of one that was too much."""
        self.strains += 1
        super().strained(sent_at, share)


@dataclass(kw_only=True)
class Stage:
    """A reader whose answers are written beforehand, on a clock that only sleeping moves."""

    script: list[Answer]
    """What the queries will be answered, in this order."""
    max_attempts: int = 3
    rate: str = "none"
    now: float = 0.0
    proceed: Callable[[], None] = lambda: None
    rest: Callable[[float], Awaitable[None]] | None = None
    """What backing off is instead of moving the clock."""
    queries: list[Mapping[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """When each was asked."""
    back_offs: list[float] = field(default_factory=list)
    pace: Attentive = field(init=False)
    reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        """Put the reader on its pace."""
        self.pace = Attentive(Ceiling.parse(self.rate), clock=lambda: self.now, sleep=self._pass)
        self.reader = reader_of(
            self._read, self.pace, max_attempts=self.max_attempts, sleep=self._rest, proceed=self.proceed
        )

    async def current(self, correction: Correction = ASHA) -> Current | NotRead:
        """Read a redemption back; all answers must have been used then."""
        current = await self.reader.current(correction)
        assert not self.script
        assert self.reader.requests == len(self.queries)
        return current

    async def _read(self, query: Mapping[str, str]) -> Answer:
        self.queries.append(query)
        self.times.append(self.now)
        return self.script.pop(0)

    async def _rest(self, seconds: float) -> None:
        self.back_offs.append(seconds)
        await (self.rest or self._pass)(seconds)

    async def _pass(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds
        await asyncio.sleep(0)


# What is asked


async def test_a_redemption_is_asked_for_by_its_customer() -> None:
    """Show the first query: the customer and the size of a page; there is no asking for a redemption's id."""
    stage = Stage(script=[FOUND])
    assert await stage.current() == CURRENT
    assert stage.queries == [{"mobile": MOBILE, "points_limit": str(PAGE_SIZE)}]


async def test_a_reference_narrows_the_question() -> None:
    """Show the filter for a redemption that is named by its external reference number."""
    stage = Stage(script=[page_of([])])
    await stage.current(BY_REFERENCE)
    assert stage.queries == [{"mobile": MOBILE, "points_limit": str(PAGE_SIZE), "external_reference_number": "ACR-1"}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entity_type": "FLEET"}, "a customer of type FLEET cannot be read back"),
        ({"identifier_type": "cardnumber"}, "a customer named by cardnumber cannot be read back"),
    ],
)
async def test_a_customer_without_a_read_back_costs_no_request(changes: dict[str, Any], message: str) -> None:
    """Show code and sentence for a type of entity, and for a type of identifier."""
    stage = Stage(script=[])
    assert await stage.current(replace(ASHA, **changes)) == NotRead(code="CANNOT_READ_BACK", message=message)
    assert stage.reader.requests == 0


# What the answers say


NO_PAGE = "READ_BACK_FAILED"
FAILED = "the redemption could not be read back"
NO_CUSTOMER = "was no page of redemptions: no customer is in it"
STORIES: list[tuple[str, list[Answer], str, str]] = [
    ("an empty page", [page_of([])], "NOT_FOUND", "the platform shows no such redemption of this customer"),
    ("others", [page_of(["NZVAt9"])], "NOT_FOUND", "the platform shows no such redemption of this customer"),
    ("an unknown customer", [failing(1012)], "NOT_FOUND", "the platform knows no such customer"),
    ("never reached", [UNREACHED] * 3, NO_PAGE, f"{FAILED} (CONNECTION_FAILED: no connection could be made)"),
    ("never answered", [TIMEOUT] * 3, NO_PAGE, f"{FAILED} (TIMEOUT: no answer came in time)"),
    (
        "always broken",
        [BROKEN] * 3,
        NO_PAGE,
        f"{FAILED} (HTTP_500: the platform answered HTTP 500, and the reply {NO_CUSTOMER})",
    ),
    (
        "always unreadable",
        [UNREADABLE] * 3,
        NO_PAGE,
        f"{FAILED} (UNREADABLE_REPLY: the platform answered HTTP 200, but the reply was a page of HTML)",
    ),
    (
        "something else",
        [Reply(http_status=200, body={"id": 1})] * 3,
        NO_PAGE,
        f"{FAILED} (UNREADABLE_REPLY: the platform answered HTTP 200, but the reply {NO_CUSTOMER})",
    ),
    ("a failure inside 200", [failing(500)] * 3, NO_PAGE, f"{FAILED} (500: no)"),
    ("busy inside 200", [failing(521)] * 3, NO_PAGE, f"{FAILED} (521: no)"),
    ("a refusal of this API", [failing(1015)], NO_PAGE, f"{FAILED} (1015: no)"),
    (
        "a refusal of the newer API",
        [Reply(http_status=200, body={"errors": [{"code": 8015, "message": "no"}]})],
        NO_PAGE,
        f"{FAILED} (8015: no)",
    ),
    (
        "a page with HTTP 500",
        [replace(FOUND, http_status=500)] * 3,
        NO_PAGE,
        f"{FAILED} (HTTP_500: the platform answered HTTP 500 without saying why)",
    ),
    (
        "another address",
        [Reply(http_status=404, unreadable="was empty")],
        NO_PAGE,
        f"{FAILED} (HTTP_404: the platform answered HTTP 404, and the reply was empty)",
    ),
]


@pytest.mark.parametrize(
    ("script", "code", "message"),
    [pytest.param(script, code, message, id=name) for name, script, code, message in STORIES],
)
async def test_each_way_of_not_knowing_is_told(script: list[Answer], code: str, message: str) -> None:
    """Show code and sentence for each story of three attempts, and that only what may change is asked again."""
    assert await Stage(script=list(script)).current() == NotRead(code=code, message=message)


@pytest.mark.parametrize("trouble", [UNREACHED, TIMEOUT, BROKEN, UNREADABLE, failing(500), failing(521)])
async def test_trouble_that_passes_is_asked_again(trouble: Answer) -> None:
    """Show back-off before each further try, and that the last one may bring the answer."""
    stage = Stage(script=[trouble, trouble, FOUND])
    assert await stage.current() == CURRENT
    assert len(stage.back_offs) == 2
    assert all(0 <= seconds <= BACK_OFF_MOST for seconds in stage.back_offs)


async def test_each_page_has_attempts_of_its_own() -> None:
    """Show that trouble with one page takes nothing from the next."""
    stage = Stage(script=[BROKEN, BROKEN, page_of(numbered(0)), BROKEN, BROKEN, FOUND])
    assert await stage.current() == CURRENT


async def test_what_the_platform_says_is_masked() -> None:
    """Show that a report may hold the sentence although the platform quotes the row in it."""
    stage = Stage(script=[failing(1015, f"8878ru of {MOBILE} is odd")])
    not_read = await stage.current()
    assert isinstance(not_read, NotRead)
    assert not_read.message == f"{FAILED} (1015: <redemptionId> of <identifierValue> is odd)"


async def test_an_unknown_customer_is_told_from_others_whatever_their_number() -> None:
    """Show that the code is seen although it is also the customer's id, which is masked."""
    stage = Stage(script=[failing(1012)])
    not_read = await stage.current(replace(ASHA, identifier_type="id", identifier_value="1012"))
    assert isinstance(not_read, NotRead)
    assert not_read.code == "NOT_FOUND"


async def test_what_was_sent_before_says_nothing_about_a_question() -> None:
    """Show the question's own trouble for a row that may have been applied by an earlier stretch."""
    stage = Stage(script=[UNREACHED] * 3)
    not_read = await stage.current(replace(ASHA, may_be_applied=True))
    assert isinstance(not_read, NotRead)
    assert not_read.message == f"{FAILED} (CONNECTION_FAILED: no connection could be made)"


async def test_a_page_is_no_echo_of_an_update() -> None:
    """Show that names of ours beside the page contradict nothing."""
    body = {**(FOUND.body or {}), "redemptionId": "NZVAt9", "billNumber": "other"}
    assert await Stage(script=[replace(FOUND, body=body)]).current() == CURRENT


# Pages


def numbered(first: int, count: int = PAGE_SIZE) -> list[str]:
    """Return the names of so many redemptions, from a number on."""
    return [f"R{number:05d}" for number in range(first, first + count)]


def slices(names: list[str], *, offset_counts: int) -> Callable[[Mapping[str, str]], Awaitable[Answer]]:
    """Return a platform on which these are, and whose offset counts so many of them."""

    async def read(query: Mapping[str, str]) -> Answer:
        start = int(query.get("points_offset", "0")) * offset_counts
        return page_of(names[start : start + int(query["points_limit"])])

    return read


@settings(deadline=None)
@given(count=st.integers(0, 12 * PAGE_SIZE), place=st.integers(0, 12 * PAGE_SIZE), of_pages=st.booleans())
def test_every_redemption_is_found_however_an_offset_counts(
    virtually: Callable[[Any], Any], *, count: int, place: int, of_pages: bool
) -> None:
    """Whatever the number of redemptions and the place of the wanted one, it is found if and only if it is there."""
    names = numbered(0, count)
    is_there = place < count
    if is_there:
        names[place] = "8878ru"
    read = slices(names, offset_counts=PAGE_SIZE if of_pages else 1)
    reader = reader_of(read)
    current = virtually(reader.current(ASHA))
    assert current == (CURRENT if is_there else NotRead(code="NOT_FOUND", message=STORIES[0][3]))
    assert reader.requests <= count // PAGE_SIZE + 3


@pytest.mark.parametrize("count", [PAGE_SIZE - 1, PAGE_SIZE + 1])
async def test_a_short_page_is_the_last(count: int) -> None:
    """Show that nothing is asked beyond it, once an offset was seen to count redemptions."""
    reader = reader_of(slices(numbered(0, count), offset_counts=1))
    assert isinstance(await reader.current(ASHA), NotRead)
    assert reader.requests == -(-count // PAGE_SIZE)


async def test_a_platform_that_always_shows_the_same_is_not_asked_for_ever() -> None:
    """Show that an offset without any effect costs three requests: as redemptions, and as pages."""
    stage = Stage(script=[page_of(numbered(0))] * 3)
    not_read = await stage.current()
    assert isinstance(not_read, NotRead)
    assert not_read.code == "NOT_FOUND"
    assert [query.get("points_offset") for query in stage.queries] == [None, str(PAGE_SIZE), "1"]


# The pace


async def test_every_query_takes_a_slot() -> None:
    """Show pages and retries at 60/min, none earlier than a second after the one before."""
    stage = Stage(script=[page_of(numbered(0)), page_of(numbered(100)), THROTTLED, FOUND], rate="60/min")
    assert await stage.current() == CURRENT
    gaps = [later - earlier for earlier, later in zip(stage.times, stage.times[1:], strict=False)]
    assert len(gaps) == 3
    assert min(gaps) >= 1.0


@pytest.mark.parametrize("throttled", [THROTTLED, AT_ONCE, OVERLOADED, failing(429), failing(517)])
async def test_throttling_pauses_the_key_and_uses_up_no_attempt(throttled: Reply) -> None:
    """Show nine throttled tries with one attempt allowed, and that the pause is the pace's and not a back-off."""
    stage = Stage(script=[*[throttled] * 9, FOUND], max_attempts=1)
    assert await stage.current() == CURRENT
    assert sum(stage.back_offs) == 0.0
    assert stage.times[1] >= PAUSE_LEAST
    assert max(later - earlier for earlier, later in zip(stage.times, stage.times[1:], strict=False)) <= PAUSE_MOST


@pytest.mark.parametrize("http_status", [429, 500, 503])
async def test_the_whole_key_waits_as_long_as_the_platform_asks(http_status: int) -> None:
    """Show that `Retry-After` is told to the pace that updates share, whatever the status it comes with."""
    stage = Stage(script=[Reply(http_status=http_status, body={}, retry_after=40.0), FOUND])
    assert await stage.current() == CURRENT
    assert stage.times[1] >= 40.0


async def test_a_page_tells_the_pace_that_requests_flow_again() -> None:
    """Show that the pause after a throttled try is short again, once a query was answered in between."""
    stage = Stage(script=[*[THROTTLED] * 5, page_of(numbered(0)), THROTTLED, FOUND])
    await stage.current()
    gaps = [later - earlier for earlier, later in zip(stage.times, stage.times[1:], strict=False)]
    assert gaps[-1] < gaps[4]


@pytest.mark.parametrize(("first", "teaches"), [(THROTTLED, Teaches.LIMIT), (OVERLOADED, Teaches.OVERLOAD)])
async def test_only_the_first_throttled_try_of_a_query_teaches(first: Reply, teaches: Teaches) -> None:
    """Show that the pace learns once from one query, and again from the next one."""
    stage = Stage(script=[first, THROTTLED, page_of(numbered(0)), THROTTLED, FOUND])
    await stage.current()
    assert stage.pace.taught == [teaches, Teaches.NOTHING, Teaches.LIMIT]


async def test_a_platform_that_is_overloaded_without_a_word_strains() -> None:
    """Show that a 503 is told to the pace although it names no pause, and a 500 is not."""
    stage = Stage(script=[BROKEN, Reply(http_status=503, body={}), FOUND])
    await stage.current()
    assert (stage.pace.strains, stage.pace.taught) == (1, [])


# The gate


async def test_the_first_question_goes_alone() -> None:
    """Show that a second row's question waits until the platform has accepted the first."""
    arrived: list[Mapping[str, str]] = []
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    async def read(query: Mapping[str, str]) -> Answer:
        arrived.append(query)
        return await answer

    reader = reader_of(read, through=gate(is_accepted=False))
    both = [asyncio.create_task(reader.current(replace(ASHA, row_number=number))) for number in (2, 3)]
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(arrived) == 1
    answer.set_result(FOUND)
    assert await asyncio.gather(*both) == [CURRENT, CURRENT]


def test_no_redemption_is_given_up_in_an_outage(virtually: Callable[[Any], Any]) -> None:
    """Show three rows with four attempts each, and a platform that is gone for their first fifteen tries."""
    tries = 0

    async def read(_query: Mapping[str, str]) -> Answer:
        nonlocal tries
        tries += 1
        await asyncio.sleep(0.1)
        return UNREACHED if tries <= 15 else FOUND

    async def all_three() -> list[Current | NotRead]:
        reader = reader_of(read, through=gate(remaining=3), max_attempts=4)
        return await asyncio.gather(*(reader.current(replace(ASHA, row_number=number)) for number in (2, 3, 4)))

    assert virtually(all_three()) == [CURRENT] * 3


# What ends it


async def test_a_certificate_that_nobody_trusts_ends_the_run() -> None:
    """Show that it is no row's fault when no connection ever was secure."""
    stage = Stage(script=[Trouble(code="TLS_FAILED", message="no trust", may_be_applied=False)])
    with pytest.raises(TlsError, match="no trust"):
        await stage.current()


@pytest.mark.parametrize(
    "answer",
    [
        Reply(http_status=401, body={"errors": [{"code": 401, "message": f"no {MOBILE}"}]}),
        Reply(http_status=403, body={"errors": [{"code": 4000, "message": f"no {MOBILE}"}]}),
        failing(4000, f"no {MOBILE}"),
    ],
)
async def test_refused_access_ends_the_run(answer: Reply) -> None:
    """Show that nobody asks again, and that the sentence quotes no identifier."""
    stage = Stage(script=[answer])
    with pytest.raises(
        AccessRefusedError, match=r"refused the credentials or the permission \(\d+: no <identifierValue>"
    ):
        await stage.current()
    assert stage.reader.requests == 1


async def test_a_password_that_was_replaced_is_asked_with_again() -> None:
    """Show that a 401 for the old one uses up no attempt."""
    renewed = Reply(http_status=401, credentials_renewed=True)
    assert await Stage(script=[renewed, FOUND], max_attempts=1).current() == CURRENT


async def test_nothing_is_asked_when_the_run_drains() -> None:
    """Show that leave is asked for after the slot has come, just before the request."""

    def no_more() -> None:
        raise Stopping

    stage = Stage(script=[], proceed=no_more)
    with pytest.raises(Stopping):
        await stage.current()
    assert stage.reader.requests == 0


async def test_leave_is_asked_for_before_every_query() -> None:
    """Show it for a retry and for a further page."""
    asked: list[int] = []
    stage = Stage(script=[BROKEN, page_of(numbered(0)), FOUND], proceed=lambda: asked.append(stage.reader.requests))
    await stage.current()
    assert asked == [0, 1, 2]


async def test_backing_off_ends_when_the_run_drains() -> None:
    """Show that a wait is not sat out."""
    stage = Stage(script=[BROKEN], rest=go_home)
    with pytest.raises(Stopping):
        await stage.current()
    assert stage.reader.requests == 1


# Over real sockets


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Give a sandbox with no faults and no limit."""
    async with Sandbox() as sandbox:
        yield sandbox


async def read(sandbox: Sandbox, correction: Correction = ASHA, **options: Any) -> Current | NotRead:
    """Read a redemption back from the sandbox through a client of its own."""
    till = Basic(sandbox.username, sandbox.password)
    async with Client(sandbox.base_url, till, timeout=20.0, max_connections=1) as client:
        reader = reader_of(client.read_back, Pace(Ceiling.parse("none"), **options), max_attempts=2, **options)
        return await reader.current(correction)


@pytest.mark.parametrize(
    ("identifier_type", "value"),
    [("mobile", MOBILE), ("email", "asha+till@example.com"), ("externalId", "E/7 & 8=9%20#ä"), ("id", "42")],
)
@pytest.mark.parametrize("names", [{"redemption_id": "8878ru"}, {"external_reference_number": "ACR-1/ä+1&2"}])
async def test_a_redemption_is_read_from_the_sandbox(
    sandbox: Sandbox, identifier_type: str, value: str, names: dict[str, Any]
) -> None:
    """Show each kind of customer, both names of a redemption, and characters that mean something in an address."""
    sandbox.plant(customer=("CUSTOMER", identifier_type, value), **names, bill_number="OLD", bill_id=2**63 - 1)
    naming = {"redemption_id": "", **names}
    current = await read(sandbox, replace(ASHA, **naming, identifier_type=identifier_type, identifier_value=value))
    assert isinstance(current, Current)
    assert (current.bill_number, current.bill_id) == ("OLD", 2**63 - 1)
    assert sandbox.reads == 1


async def test_an_unknown_customer_is_not_found_in_the_sandbox(sandbox: Sandbox) -> None:
    """Show the older API's 1012 over the wire."""
    assert await read(sandbox) == NotRead(code="NOT_FOUND", message="the platform knows no such customer")


LONGEST: dict[str, Any] = {
    "purpose": "€" * 255,
    "bill_number": "€" * 50,
    "custom_fields": {f"field_{n}": "€" * 50 for n in range(20)},
}


async def test_a_full_page_of_large_redemptions_can_be_read(sandbox: Sandbox) -> None:
    """Show that the size of a page leaves room for what redemptions may hold, each character escaped at that."""
    for name in [*numbered(0, PAGE_SIZE), "8878ru"]:
        sandbox.plant(redemption_id=name, customer=CUSTOMER, **LONGEST)
    sandbox.read_faults = lambda query: escaped(sandbox, query)
    current = await read(sandbox)
    assert isinstance(current, Current)
    assert current.purpose == LONGEST["purpose"]


def escaped(sandbox: Sandbox, query: Mapping[str, str]) -> Served:
    """Return a page as a server sends it that escapes all but ASCII."""
    start = int(query.get("points_offset", "0"))
    found = list(sandbox.redemptions.values())[start : start + int(query["points_limit"])]
    body = redemptions_found(found, identifier={"mobile": MOBILE}).body or b""
    return Served(status=200, body=json.dumps(json.loads(body)).encode())


async def test_a_limit_is_kept_while_paging(sandbox: Sandbox) -> None:
    """Show that a throttled query is asked again after the pause, and not counted as an attempt."""
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    for name in numbered(0, 3 * PAGE_SIZE):
        sandbox.plant(redemption_id=name, customer=CUSTOMER)
    sandbox.limit, sandbox.clock = Rate.parse("2/min"), lambda: now
    reading = Pace(Ceiling.parse("none"), clock=lambda: now, sleep=sleep)
    async with Client(
        sandbox.base_url, Basic(sandbox.username, sandbox.password), timeout=20.0, max_connections=1
    ) as client:
        not_read = await reader_of(client.read_back, reading, gate(sleep=sleep), sleep=sleep).current(ASHA)
    assert isinstance(not_read, NotRead)
    assert not_read.code == "NOT_FOUND"
    assert sandbox.reads == 4
    assert sandbox.throttled > 0


async def test_trouble_over_the_wire_passes(sandbox: Sandbox) -> None:
    """Show that HTML in the first answer's place costs a second query, and nothing else."""
    sandbox.plant(redemption_id="8878ru", customer=CUSTOMER)
    answers = [Served(status=502, body=b"<html>"), None]
    sandbox.read_faults = lambda _: answers.pop(0)

    async def sleep(_seconds: float) -> None:
        await asyncio.sleep(0)

    assert await read(sandbox, sleep=sleep) == Current(redemption_id="8878ru")
    assert sandbox.reads == 2


async def test_a_wrong_password_ends_it_over_the_wire(sandbox: Sandbox) -> None:
    """Show that the second page is refused as the first would have been."""
    for name in numbered(0):
        sandbox.plant(redemption_id=name, customer=CUSTOMER)

    def changing(query: Mapping[str, str]) -> Served | None:
        return refused(401, 401, "Authentication failed") if "points_offset" in query else None

    sandbox.read_faults = changing
    with pytest.raises(AccessRefusedError):
        await read(sandbox)
