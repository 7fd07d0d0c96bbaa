"""The pool and its lanes: what may go at once, in which order, and how all of it ends."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.errors import AccessRefusedError, OutageError, SignalledError, Stopping
from bulkredeem.model import Correction, Invalid, Job, Outcome, Problem, Skipped, Status
from bulkredeem.processor import Lanes, Pool, Stop
from bulkredeem.processor.pool import LINE

Make = Callable[..., Correction]

KEYS = st.tuples(st.integers(0, 3), st.integers(0, 3))
"""Which redemption and which customer: few, so that they meet often."""


def invalid(row_number: int) -> Invalid:
    """Return a row that must not be sent."""
    return Invalid(row_number=row_number, problems=(Problem(code="748", column="billNumber", message="sets nothing"),))


def job(row_number: int, keys: tuple[int, int] | None) -> Job:
    """Return a correction of that redemption and that customer, or an invalid row for None."""
    if keys is None:
        return invalid(row_number)
    redemption, customer = keys
    return Correction(
        row_number=row_number,
        redemption_id=f"R{redemption}",
        entity_type="CUSTOMER",
        identifier_type="mobile",
        identifier_value=f"91990000000{customer}",
        bill_number="B-1",
    )


def keys_of(correction: Correction) -> set[tuple[str, ...]]:
    """Return what no two corrections under way may share."""
    return {correction.redemption_key, correction.customer_key}


@given(plan=st.lists(KEYS | st.none(), max_size=40), look_ahead=st.integers(1, 5), choices=st.data())
def test_lanes_keep_apart_in_order_and_lose_nothing(
    plan: list[tuple[int, int] | None], look_ahead: int, choices: st.DataObject
) -> None:
    """Whatever comes and however it is released: no key twice under way, file order for each key, all exactly once."""
    jobs = [job(number, keys) for number, keys in enumerate(plan, start=2)]
    read = 0

    def reading() -> Iterator[Job]:
        nonlocal read
        for each in jobs:
            read += 1
            yield each

    lanes = Lanes(reading(), look_ahead=look_ahead)
    under_way: list[Correction] = []
    taken: list[Job] = []
    while not lanes.finished or under_way:
        wants_release = bool(under_way) and choices.draw(st.booleans(), label="release before taking")
        if not wants_release and (got := lanes.take()):
            taken.append(got)
            if isinstance(got, Correction):
                assert not keys_of(got) & set().union(*map(keys_of, under_way)), "two with one key under way"
                under_way.append(got)
        elif under_way:
            index = choices.draw(st.integers(0, len(under_way) - 1), label="which is released")
            lanes.release(under_way.pop(index))
        else:
            assert lanes.finished, "nothing can be taken although nothing is under way"
        assert read - len(taken) <= look_ahead, "more waits than may"

    assert sorted(each.row_number for each in taken) == [each.row_number for each in jobs]
    corrections = [each for each in taken if isinstance(each, Correction)]
    for key in set().union(*map(keys_of, corrections)):
        rows = [each.row_number for each in corrections if key in keys_of(each)]
        assert rows == sorted(rows)
    assert not lanes._lanes, "a lane nobody needs is left in the memory"


def test_others_overtake_a_customer_who_is_under_way(correction: Make) -> None:
    """A row that must wait does not hold back the rows behind it."""
    first, same, other = correction(2), correction(3, identifier_value="919900000002"), correction(4)
    lanes = Lanes(iter([first, same, other]), look_ahead=2)
    assert lanes.take() is first
    assert lanes.take() is other
    assert lanes.take() is None
    lanes.release(first)
    assert lanes.take() is same
    assert lanes.finished


def test_a_customer_is_one_whatever_the_case(correction: Make) -> None:
    """The platform knows `Asha@…` and `asha@…` as one customer, so they never go at once."""
    emails = {"identifier_type": "email"}
    first = correction(2, identifier_value="Asha@example.com", **emails)
    second = correction(3, identifier_value="asha@example.com", **emails)
    lanes = Lanes(iter([first, second]), look_ahead=5)
    assert lanes.take() is first
    assert lanes.take() is None


def test_reading_pauses_when_one_customer_fills_the_file(correction: Make) -> None:
    """Of a million rows of one customer only `look_ahead` and the one under way are ever read ahead."""
    numbers = itertools.count(2)
    lanes = Lanes((correction(number, identifier_value="919900000001") for number in numbers), look_ahead=10)
    previous = lanes.take()
    for _ in range(100):
        assert isinstance(previous, Correction)
        assert lanes.take() is None
        lanes.release(previous)
        previous = lanes.take()
    assert isinstance(previous, Correction)
    assert next(numbers) == previous.row_number + 10


@dataclass(kw_only=True)
class Platform:
    """Deliveries that last until they are let go, one by one or all."""

    gates: dict[int, asyncio.Event] = field(default_factory=dict)
    """Row number → its gate, from when the row is under way."""
    open: bool = False
    """Let everything through at once."""
    raises: dict[int, Exception] = field(default_factory=dict)
    """Row number → what its delivery raises once it is let go."""
    under_way: set[int] = field(default_factory=set)
    most: int = 0
    """Most that ever were under way at once."""
    ended: list[int] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)

    async def deliver(self, correction: Correction, sent: Callable[[], None]) -> Outcome:
        """Send at once, and take until let go."""
        sent()
        number = correction.row_number
        self.under_way.add(number)
        self.most = max(self.most, len(self.under_way))
        gate = self.gates.setdefault(number, asyncio.Event())
        try:
            await (asyncio.sleep(0) if self.open else gate.wait())
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        finally:
            self.under_way.discard(number)
        if number in self.raises:
            raise self.raises[number]
        self.ended.append(number)
        return Outcome(row_number=number, status=Status.SUCCESS)

    def let_go(self, *numbers: int) -> None:
        """Let these deliveries end."""
        for number in numbers:
            self.gates[number].set()

    def let_all_go(self) -> None:
        """Let everything end, also what has not begun."""
        self.open = True
        self.let_go(*self.gates)


@dataclass(kw_only=True)
class Books:
    """What was recorded."""

    rows: list[int] = field(default_factory=list)
    raises: dict[int, Exception] = field(default_factory=dict)

    async def record(self, result: Outcome | Invalid | Skipped) -> None:
        """Record, or raise what was ordered."""
        if result.row_number in self.raises:
            raise self.raises[result.row_number]
        self.rows.append(result.row_number)


async def until(condition: Callable[[], object]) -> None:
    """Let others work until something is so; fail when all of them have come to rest and it is not."""
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail("it never came about")


async def rest() -> None:
    """Let others work until nothing moves any more without us."""
    for _ in range(50):
        await asyncio.sleep(0)


def pool_of(platform: Platform, books: Books, stop: Stop, *, max_workers: int = 4, look_ahead: int = 1000) -> Pool:
    """Put a pool together."""
    return Pool(platform.deliver, books.record, stop=stop, max_workers=max_workers, look_ahead=look_ahead)


async def test_invalid_rows_wait_for_nobody(correction: Make) -> None:
    """A row that is not sent is recorded at once, though every delivery lasts: that of the first row, too."""
    platform, books = Platform(), Books()
    jobs: list[Job] = [invalid(2), invalid(3), correction(4), invalid(5), correction(6), invalid(7)]
    running = asyncio.create_task(pool_of(platform, books, Stop()).run(iter(jobs)))
    await until(lambda: platform.under_way == {4, 6})
    await rest()
    assert books.rows == [2, 3, 5, 7]
    platform.let_all_go()
    await running
    assert sorted(books.rows) == [2, 3, 4, 5, 6, 7]


async def test_at_most_max_workers_are_under_way(correction: Make) -> None:
    """As many as allowed go at once, and never one more."""
    platform, books = Platform(), Books()
    running = asyncio.create_task(
        pool_of(platform, books, Stop(), max_workers=3).run(correction(number) for number in range(2, 40))
    )
    await until(lambda: len(platform.under_way) == 3)
    platform.let_go(2)
    await until(lambda: 5 in platform.under_way)
    await rest()
    assert platform.under_way == {3, 4, 5}
    platform.let_all_go()
    await running
    assert platform.most == 3
    assert sorted(books.rows) == list(range(2, 40))


@pytest.mark.parametrize("max_workers", [1, 2, 32])
@pytest.mark.parametrize(
    "plan",
    [
        pytest.param([], id="nothing"),
        pytest.param([(0, 0)], id="one"),
        pytest.param([None], id="one invalid"),
        pytest.param([(0, 0), None], id="an invalid one last"),
        pytest.param([(0, 0), (0, 0)], id="two of one redemption"),
        pytest.param([(0, 0), (1, 0), (1, 1)], id="a chain"),
        pytest.param([None, (0, 0), (0, 1), None, (1, 1), (1, 0), None], id="a ring"),
    ],
)
async def test_a_pool_ends(plan: list[tuple[int, int] | None], max_workers: int) -> None:
    """However few jobs there are and however they hang together, all are recorded and the pool ends."""
    platform, books = Platform(open=True), Books()
    jobs = [job(number, keys) for number, keys in enumerate(plan, start=2)]
    async with asyncio.timeout(5):
        await pool_of(platform, books, Stop(), max_workers=max_workers).run(iter(jobs))
    assert sorted(books.rows) == list(range(2, 2 + len(plan)))


@given(
    plan=st.lists(KEYS | st.none(), max_size=25),
    max_workers=st.integers(1, 6),
    look_ahead=st.integers(1, 4),
    turns=st.lists(st.integers(0, 5), max_size=25),
)
def test_a_pool_records_every_row_once(
    plan: list[tuple[int, int] | None], max_workers: int, look_ahead: int, turns: list[int]
) -> None:
    """Whatever hangs together, however many work and however long each delivery takes: all end, none overlap."""
    lasting = deque(turns)
    turns_at_sending = deque(turn % 2 == 0 for turn in turns)
    under_way: Counter[tuple[str, ...]] = Counter()

    async def deliver(correction: Correction, sent: Callable[[], None]) -> Outcome:
        if turns_at_sending.popleft() if turns_at_sending else True:
            sent()
        under_way.update(keys_of(correction))
        assert max(under_way.values()) == 1
        for _ in range(lasting.popleft() if lasting else 0):
            await asyncio.sleep(0)
        under_way.subtract(keys_of(correction))
        return Outcome(row_number=correction.row_number, status=Status.SUCCESS)

    async def run() -> tuple[Books, Stop]:
        books, stop = Books(), Stop()
        pool = Pool(deliver, books.record, stop=stop, max_workers=max_workers, look_ahead=look_ahead)
        async with asyncio.timeout(5):
            await pool.run(job(number, keys) for number, keys in enumerate(plan, start=2))
        return books, stop

    books, stop = asyncio.run(run())
    assert stop.cause is None
    assert sorted(books.rows) == list(range(2, 2 + len(plan)))


async def test_a_file_full_of_one_customer_goes_in_order(correction: Make) -> None:
    """With many workers and a short look-ahead, a thousand rows of one customer go one by one, as they stand."""
    platform, books = Platform(open=True), Books()
    jobs = (correction(number, identifier_value="919900000001") for number in range(2, 1002))
    async with asyncio.timeout(20):
        await pool_of(platform, books, Stop(), max_workers=32, look_ahead=3).run(jobs)
    assert platform.most == 1
    assert books.rows == list(range(2, 1002))


async def test_an_error_in_one_worker_drains_the_others(correction: Make) -> None:
    """Requests under way end and are recorded, none is cancelled, none starts, and the error is the stop's cause."""
    error = AccessRefusedError("401: refused")
    platform, books, stop = Platform(raises={4: error}), Books(), Stop()
    running = asyncio.create_task(pool_of(platform, books, stop).run(correction(number) for number in range(2, 40)))
    await until(lambda: len(platform.under_way) == 4)
    platform.let_go(2)
    await until(lambda: platform.under_way == {3, 4, 5, 6})
    platform.let_go(4)
    await until(lambda: stop.requested)
    await rest()
    assert not running.done()
    assert platform.under_way == {3, 5, 6}
    platform.let_all_go()
    await running
    assert stop.cause is error
    assert platform.cancelled == []
    assert sorted(books.rows) == [2, 3, 5, 6]


async def test_an_error_of_the_books_stops_the_run(correction: Make) -> None:
    """When an outcome cannot be recorded, nothing more starts: what is sent must be written down."""
    error = OSError("disk full")
    platform, books, stop = Platform(open=True), Books(raises={5: error}), Stop()
    await pool_of(platform, books, stop, max_workers=1).run(correction(number) for number in range(2, 40))
    assert stop.cause is error
    assert books.rows == [2, 3, 4]


@pytest.mark.parametrize("after", [0, 1, 6])
async def test_an_error_in_the_reading_stops_the_run(correction: Make, after: int) -> None:
    """A file that breaks off in the middle ends the run in good order, wherever it breaks."""
    error = RuntimeError("broken")

    def jobs() -> Iterator[Job]:
        yield from (correction(number) for number in range(2, 2 + after))
        raise error

    platform, books, stop = Platform(open=True), Books(), Stop()
    async with asyncio.timeout(5):
        await pool_of(platform, books, stop).run(jobs())
    assert stop.cause is error
    assert sorted(books.rows) == list(range(2, 2 + after))


async def test_after_a_stop_nothing_starts(correction: Make) -> None:
    """What is under way when the stop is asked for is recorded; the rest is never taken."""
    platform, books, stop = Platform(), Books(), Stop()
    running = asyncio.create_task(pool_of(platform, books, stop).run(correction(number) for number in range(2, 40)))
    await until(lambda: len(platform.under_way) == 4)
    platform.let_go(2)
    await until(lambda: platform.under_way == {3, 4, 5, 6})
    stop.request(SignalledError("Ctrl-C"))
    platform.let_all_go()
    await running
    assert sorted(books.rows) == [2, 3, 4, 5, 6]


async def test_few_rows_wait_for_their_turn(correction: Make) -> None:
    """However many workers there are, only the line holds rows that were not sent; each that is lets one more in."""
    waiting: dict[int, Callable[[], None]] = {}
    books, stop = Books(), Stop()
    over = asyncio.Event()

    async def deliver(each: Correction, sent: Callable[[], None]) -> Outcome:
        waiting[each.row_number] = sent
        await over.wait()
        return Outcome(row_number=each.row_number, status=Status.SUCCESS)

    pool = Pool(deliver, books.record, stop=stop, max_workers=20)
    running = asyncio.create_task(pool.run(correction(number) for number in range(2, 40)))
    await rest()
    assert sorted(waiting) == list(range(2, 2 + LINE))
    waiting[2]()
    waiting[2]()
    await rest()
    assert sorted(waiting) == list(range(2, 3 + LINE)), "a second try of a row lets nobody in"
    over.set()
    await running
    assert sorted(books.rows) == list(range(2, 40))


async def test_a_worker_that_waits_for_a_customer_ends_with_the_stop(correction: Make) -> None:
    """A worker without a job goes home once what it waits for has ended."""
    platform, books, stop = Platform(), Books(), Stop()
    jobs = [correction(2), *(correction(number, identifier_value="919900000001") for number in range(3, 10))]
    running = asyncio.create_task(pool_of(platform, books, stop).run(iter(jobs)))
    await until(lambda: platform.under_way)
    platform.let_go(2)
    await until(lambda: platform.under_way == {3})
    await rest()
    stop.request(SignalledError("SIGTERM"))
    platform.let_go(3)
    async with asyncio.timeout(5):
        await running
    assert books.rows == [2, 3]


async def test_a_row_that_was_told_to_stop_is_not_recorded(correction: Make) -> None:
    """A delivery that ends with `Stopping` leaves its row without an outcome, and is no cause of its own."""
    platform, books, stop = Platform(open=True, raises={3: Stopping()}), Books(), Stop()
    asked = SignalledError("Ctrl-C")

    async def deliver(each: Correction, sent: Callable[[], None]) -> Outcome:
        if each.row_number == 3:
            stop.request(asked)
        return await platform.deliver(each, sent)

    await Pool(deliver, books.record, stop=stop, max_workers=1).run(correction(number) for number in range(2, 9))
    assert books.rows == [2]
    assert stop.cause is asked


async def test_cancelling_the_pool_cancels_what_is_under_way(correction: Make) -> None:
    """A second Ctrl-C cancels the run, and with it the requests; that is what "at once" means."""
    platform, books = Platform(), Books()
    running = asyncio.create_task(pool_of(platform, books, Stop()).run(correction(number) for number in range(2, 9)))
    await until(lambda: len(platform.under_way) == 4)
    platform.let_go(2)
    await until(lambda: platform.under_way == {3, 4, 5, 6})
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await rest()
    assert sorted(platform.cancelled) == [3, 4, 5, 6]


class TestStop:
    """The wish to stop."""

    async def test_it_wakes_who_sleeps(self) -> None:
        """A row in a back-off of an hour goes home at once, with its row pending."""
        stop = Stop()
        sleepers = [asyncio.create_task(stop.sleep(3600)) for _ in range(3)]
        await until(lambda: len(stop._sleepers) == 3)
        stop.request(SignalledError("Ctrl-C"))
        async with asyncio.timeout(5):
            ended = await asyncio.gather(*sleepers, return_exceptions=True)
        assert [type(each) for each in ended] == [Stopping] * 3
        assert not stop._sleepers

    async def test_nobody_falls_asleep_after_it(self) -> None:
        """Whoever comes late does not even begin to wait."""
        stop = Stop()
        stop.request(SignalledError("Ctrl-C"))
        with pytest.raises(Stopping):
            await stop.sleep(3600)
        with pytest.raises(Stopping):
            stop.check()

    async def test_without_it_a_sleep_ends_by_itself(self) -> None:
        """A sleep lasts about as long as it should, and leaves nothing behind."""
        stop, loop = Stop(), asyncio.get_running_loop()
        start = loop.time()
        await stop.sleep(0.02)
        assert loop.time() - start >= 0.019
        assert not stop._sleepers
        stop.check()

    async def test_a_cancelled_sleep_leaves_nothing_behind(self) -> None:
        """A sleeper that is cancelled is forgotten, and a later stop does not stumble over it."""
        stop = Stop()
        sleeper = asyncio.create_task(stop.sleep(3600))
        await until(lambda: stop._sleepers)
        sleeper.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeper
        assert not stop._sleepers
        stop.request(SignalledError("Ctrl-C"))

    async def test_the_first_cause_stays(self) -> None:
        """What the run stopped for is what was said first."""
        stop = Stop()
        first, second = SignalledError("Ctrl-C"), AccessRefusedError("401")
        stop.request(first)
        stop.request(second)
        assert stop.cause is first

    async def test_it_can_be_taken_back_between_two_runs(self) -> None:
        """What stopped one run need not stop the next; what was asked for after it is not forgotten."""
        stop = Stop()
        first, second = OutageError("gone"), SignalledError("Ctrl-C")
        stop.request(first)
        stop.withdraw()
        stop.check()
        stop.request(first)
        stop.request(second)
        stop.withdraw()
        assert stop.cause is second
