"""The gate: one try until the platform has accepted us, one at a time in an outage, else all; on a clock that jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from bulkredeem.delivery import PROBE_FIRST, PROBE_MOST, Gate
from bulkredeem.delivery.gate import END_LOOKED_FOR, FEW_ROWS
from bulkredeem.errors import OutageError, SignalledError, Stopping
from bulkredeem.model import Ceiling, Sign
from bulkredeem.outage import TRIES, Watch
from bulkredeem.pace import LATENESS_MADE_GOOD, Pace
from bulkredeem.processor import Stop

Virtually = Callable[[Coroutine[Any, Any, Any]], Any]
ROUNDING = 1e-6
"""Seconds that adding many floats may cost."""
ANSWERED, THROTTLED, UNANSWERED = Sign.ANSWERED, Sign.THROTTLED, Sign.UNANSWERED


def clock() -> float:
    """Return the time of the loop that runs."""
    return asyncio.get_running_loop().time()


@dataclass(frozen=True, kw_only=True)
class Try:
    """One that passed the gate."""

    row: int
    began: float
    ended: float


@dataclass(kw_only=True)
class Crowd:
    """Rows before a gate, and a platform behind it that does as it is told."""

    platform: Callable[[int], Sign] = lambda _row: ANSWERED
    """What it says to a row, when the row's try ends."""
    lasts: Callable[[int], float] = lambda _row: 0.1
    """Seconds of a row's try."""
    is_accepted: bool = True
    """Whether the platform has answered before."""
    width: int = 4
    outage_timeout: float = 900.0
    rate: str = "none"
    tries: list[Try] = field(default_factory=list)
    """In the order in which they ended."""
    slots: int = 0
    """How many were taken."""
    told: list[tuple[float, bool]] = field(default_factory=list)
    """When what was told of outages."""
    stop: Stop = field(default_factory=Stop)
    gate: Gate = field(init=False)
    pace: Pace = field(init=False)

    async def come(self, rows: Iterable[int], *, until_answered: bool = False) -> None:
        """Let all these rows through, each once, or each as often as it takes."""
        self.prepare()
        one = self._until_answered if until_answered else self.once
        await asyncio.gather(*map(one, rows))

    def prepare(self) -> None:
        """Put the gate up; needs a loop that runs."""
        self.pace = Pace(Ceiling.parse(self.rate), clock=clock, sleep=self.stop.sleep)
        self.gate = Gate(
            Watch(clock=clock),
            width=self.width,
            outage_timeout=self.outage_timeout,
            remaining=lambda: 1000,
            sleep=self.stop.sleep,
            on_outage=lambda begins: self.told.append((clock(), begins)),
        )
        if self.is_accepted:
            self.gate.note(1, ANSWERED)

    def lose_the_platform(self) -> None:
        """Let there be an outage."""
        for number in range(TRIES):
            self.gate.note(2 + number % 3, UNANSWERED)
        assert self.gate.is_outage

    async def once(self, row: int) -> Sign:
        """Let a row pass, and return what it was told."""
        return await self.gate.passed(self._slot, partial(self._try, row))

    async def _until_answered(self, row: int) -> None:
        while await self.once(row) is not ANSWERED:
            pass

    async def _slot(self) -> float:
        at = await self.pace.slot()
        self.slots += 1
        return at

    async def _try(self, row: int, _sent_at: float) -> Sign:
        self.stop.check()
        began = clock()
        await asyncio.sleep(self.lasts(row))
        sign = self.platform(row)
        self.tries.append(Try(row=row, began=began, ended=clock()))
        self.gate.note(row, sign, "HTTP_502")
        return sign

    @property
    def begins(self) -> list[float]:
        """When tries were sent, in order."""
        return sorted(each.began for each in self.tries)

    @property
    def probes(self) -> list[Try]:
        """The tries that began in the first outage."""
        declared, over = [*(when for when, _ in self.told), self.tries[-1].ended][:2]
        return [each for each in self.tries if declared <= each.began < over]


def gone_until(moment: float, then: Callable[[], Sign] = lambda: ANSWERED) -> Callable[[int], Sign]:
    """Return a platform that is gone, and back at that moment."""
    return lambda _row: UNANSWERED if clock() < moment else then()


# The first request, and the one after a change of the password


def test_the_first_goes_alone_until_one_is_answered(virtually: Virtually) -> None:
    """A reply shows that the credentials are good; no connection and throttling, which asks for nobody's name, do not.

    Then as many as may be under way go at once.
    """
    signs = iter([UNANSWERED, THROTTLED, UNANSWERED, ANSWERED])
    crowd = Crowd(platform=lambda _: next(signs, ANSWERED), is_accepted=False)
    virtually(crowd.come(range(2, 12)))
    assert crowd.begins == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.5, 0.5])
    in_order = sorted(crowd.tries, key=lambda each: (each.began, each.row))
    assert [each.row for each in in_order] == list(range(2, 12)), "whoever came first goes first"


def test_at_most_the_width_is_under_way(virtually: Virtually) -> None:
    """When the platform answers, so many go at once and never one more."""
    crowd = Crowd(width=3)
    virtually(crowd.come(range(2, 10)))
    assert crowd.begins == pytest.approx([0.0] * 3 + [0.1] * 3 + [0.2] * 2)


def test_one_goes_alone_when_the_password_was_replaced(virtually: Virtually) -> None:
    """The new one may be wrong, and a till is locked after too many wrong ones."""
    crowd = Crowd()

    async def story() -> None:
        crowd.prepare()
        crowd.gate.prove_again(crowd.gate.passwords)
        await asyncio.gather(*map(crowd.once, range(2, 7)))

    virtually(story())
    assert crowd.begins == pytest.approx([0.0, 0.1, 0.1, 0.1, 0.1])


def test_what_an_old_password_has_proved_says_nothing_about_the_new_one(virtually: Virtually) -> None:
    """A try sent before the password was replaced may be answered after that: still only one goes."""
    crowd = Crowd()

    async def story() -> None:
        crowd.prepare()
        old = crowd.gate.passwords
        crowd.gate.prove_again(old)
        crowd.gate.note(9, ANSWERED, password=old)
        await asyncio.gather(*map(crowd.once, range(2, 7)))

    virtually(story())
    assert crowd.begins == pytest.approx([0.0, 0.1, 0.1, 0.1, 0.1])


def test_a_late_complaint_about_the_old_password_holds_nobody_up(virtually: Virtually) -> None:
    """Of 32 under way each is told that the password is no longer good; the new one has to be proved once."""
    crowd = Crowd()

    async def story() -> None:
        crowd.prepare()
        old = crowd.gate.passwords
        crowd.gate.prove_again(old)
        await crowd.once(2)
        crowd.gate.prove_again(old)
        assert crowd.gate.passwords == old + 1
        await asyncio.gather(*map(crowd.once, range(3, 7)))

    virtually(story())
    assert crowd.begins == pytest.approx([0.0, 0.1, 0.1, 0.1, 0.1])


# Probes


def test_probes_go_one_at_a_time_and_ever_more_seldom(virtually: Virtually) -> None:
    """One, two, four seconds after the last one ended, at most thirty; the last when the patience is used up.

    That counts from the end of the first try that was not answered.
    """
    crowd = Crowd(platform=lambda _: UNANSWERED, lasts=lambda _: 0.5, outage_timeout=200.0)
    with pytest.raises(OutageError, match="the platform has not answered for 200 s"):
        virtually(crowd.come(range(2, 10), until_answered=True))
    last_before = max(each.ended for each in crowd.tries if each not in crowd.probes)
    pauses = [
        later.began - earlier for earlier, later in zip(ends(last_before, crowd.probes), crowd.probes, strict=False)
    ]
    assert pauses[:-1] == pytest.approx([PROBE_FIRST, 2, 4, 8, 16, *[PROBE_MOST] * 5])
    assert crowd.probes[-1].began == pytest.approx(crowd.tries[0].ended + 200.0)


def ends(first: float, tries: list[Try]) -> list[float]:
    """Return that moment, and those at which the tries ended."""
    return [first, *(each.ended for each in tries)]


@pytest.mark.parametrize("width", [1, 3, 32])
def test_rows_take_turns_as_probes(virtually: Virtually, width: int) -> None:
    """A row that is sick by itself must not be the only one that asks whether the platform is back."""
    crowd = Crowd(platform=lambda _: UNANSWERED, width=width)
    with pytest.raises(OutageError):
        virtually(crowd.come(range(2, 8), until_answered=True))
    rows = [each.row for each in crowd.probes]
    assert len(rows) > 30
    assert all(len(set(rows[start : start + 6])) == 6 for start in range(len(rows) - 6))


@pytest.mark.parametrize("first_word", [ANSWERED, THROTTLED])
def test_the_first_word_of_the_platform_ends_an_outage(virtually: Virtually, first_word: Sign) -> None:
    """One probe hears it, then all go at once; both is told."""
    words = iter([first_word])
    crowd = Crowd(platform=gone_until(100.0, then=lambda: next(words, ANSWERED)))
    virtually(crowd.come(range(2, 8), until_answered=True))
    back = crowd.probes[-1].ended
    assert [begins for _, begins in crowd.told] == [True, False]
    assert crowd.told[1][0] == back > 100.0
    assert crowd.begins.count(back) == 4
    assert all(later.began >= earlier.ended for earlier, later in pairwise(crowd.probes)), "two probes at once"


def test_each_outage_begins_with_quick_probes(virtually: Virtually) -> None:
    """The second one does not inherit the intervals of the first."""
    crowd = Crowd()

    async def story() -> list[float]:
        crowd.prepare()
        waits = []
        for _ in range(2):
            crowd.lose_the_platform()
            began = clock()
            crowd.platform = gone_until(began + 20.0)
            await crowd._until_answered(2)
            waits.append(clock() - began)
        return waits

    first, second = virtually(story())
    assert first == pytest.approx(second) == pytest.approx(1 + 2 + 4 + 8 + 16 + 5 * 0.1)


def test_a_try_from_before_an_outage_may_end_it(virtually: Virtually) -> None:
    """Those who wait go on within a second: nobody sleeps until the next probe when the platform has spoken."""
    crowd = Crowd(
        platform=lambda row: ANSWERED if row == 99 else gone_until(20.0)(row),
        lasts=lambda row: 20.0 if row == 99 else 0.1,
        width=32,
    )
    virtually(crowd.come([99, *range(2, 14)], until_answered=True))
    assert crowd.told[1] == (20.0, False)
    after = [begin for begin in crowd.begins if begin > 20.0]
    assert len(after) == 12
    assert max(after) <= 20.0 + END_LOOKED_FOR


def test_what_waits_for_slots_does_not_delay_the_first_probe(virtually: Virtually) -> None:
    """At a slow pace nobody takes a slot that an outage has made useless, but for the one who was next in line."""
    crowd = Crowd(platform=gone_until(200.0), rate="6/min", width=32)
    virtually(crowd.come(range(2, 60), until_answered=True))
    interval = crowd.pace.gap
    assert crowd.probes[0].began - crowd.told[0][0] <= PROBE_FIRST + 2 * interval
    assert crowd.slots <= len(crowd.tries) + 1
    assert crowd.told[1][0] <= 200.0 + PROBE_MOST + 2 * interval


def test_who_waits_for_a_slot_when_the_platform_goes_does_not_use_it(virtually: Virtually) -> None:
    """A slot may be long in coming; whoever has it then becomes a probe, and waits like one."""
    crowd = Crowd()

    async def story() -> None:
        crowd.prepare()
        crowd.pace.pause(5.0)
        row = asyncio.create_task(crowd.once(2))
        await asyncio.sleep(4.5)
        crowd.lose_the_platform()
        await row

    virtually(story())
    assert crowd.begins == [5.0 + PROBE_FIRST]


def test_every_probe_has_a_slot_of_its_own(virtually: Virtually) -> None:
    """Asking whether the platform is back is no way around the pace."""
    crowd = Crowd(platform=gone_until(60.0), rate="20/min")
    virtually(crowd.come(range(2, 20), until_answered=True))
    assert len(crowd.probes) > 3
    assert crowd.slots >= len(crowd.tries)
    gaps = [later - earlier for earlier, later in pairwise(crowd.begins)]
    assert min(gaps) >= crowd.pace.gap - LATENESS_MADE_GOOD - ROUNDING


# When something goes wrong on the way


class LostError(Exception):
    """Something that nobody expects."""


@pytest.mark.parametrize("where", ["slot", "attempt"])
@pytest.mark.parametrize("state", ["first", "outage", "open"])
def test_who_fails_on_the_way_leaves_the_way_free(virtually: Virtually, where: str, state: str) -> None:
    """Whatever an attempt or a slot raises is passed on, and neither place nor turn is lost with it."""
    crowd = Crowd(width=1, is_accepted=state != "first")

    async def fail(*_sent_at: float) -> Any:
        raise LostError

    async def story() -> None:
        crowd.prepare()
        if state == "outage":
            crowd.lose_the_platform()
        for _ in range(3):
            with pytest.raises(LostError):
                await (crowd.gate.passed(fail, fail) if where == "slot" else crowd.gate.passed(crowd._slot, fail))
        await asyncio.gather(*map(crowd.once, range(2, 6)))

    virtually(story())
    assert [each.row for each in crowd.tries] == [2, 3, 4, 5]


@pytest.mark.parametrize("width", [1, 4])
def test_who_is_cancelled_leaves_the_way_free(virtually: Virtually, width: int) -> None:
    """A probe, one that waits to be the next, and one that waits for a place: the others go on."""
    crowd = Crowd(width=width)

    async def story() -> None:
        crowd.prepare()
        crowd.lose_the_platform()
        rows = [asyncio.create_task(crowd.once(row)) for row in range(2, 9)]
        await asyncio.sleep(PROBE_FIRST / 2)
        for index in (0, 1, 5):
            rows[index].cancel()
        await asyncio.wait(rows)

    virtually(story())
    assert sorted(each.row for each in crowd.tries) == [4, 5, 6, 8]


@pytest.mark.parametrize("state", ["first", "outage", "slow"])
def test_a_stop_sends_everybody_home_at_once(virtually: Virtually, state: str) -> None:
    """Whether they wait for the first reply, for a probe or for a slot; only what was sent comes to its end."""
    crowd = Crowd(is_accepted=state != "first", lasts=lambda _: 20.0, rate="1/min")

    async def story() -> list[Any]:
        crowd.prepare()
        if state == "outage":
            crowd.lose_the_platform()
        rows = asyncio.gather(*map(crowd.once, range(2, 12)), return_exceptions=True)
        await asyncio.sleep(5.0)
        crowd.stop.request(SignalledError("Ctrl-C"))
        ended = await rows
        assert clock() == pytest.approx(max([5.0, *(each.ended for each in crowd.tries)]))
        return ended

    ended = virtually(story())
    assert [each.row for each in crowd.tries] == [2]
    assert [type(each) for each in ended[1:]] == [Stopping] * 9


# Patience


@dataclass(kw_only=True)
class Patience:
    """A gate with a patience of 900 s, on a clock that only the test moves."""

    now: float = 0.0
    remaining: int = 1000
    gate: Gate = field(init=False)

    def __post_init__(self) -> None:
        """Put it up."""
        self.gate = Gate(Watch(clock=lambda: self.now), width=4, outage_timeout=900.0, remaining=lambda: self.remaining)

    def note(self, sign: Sign, tries: int = 1, *, throttled: bool = False) -> None:
        """Note so many tries, of three rows in turn."""
        for number in range(tries):
            self.gate.note(2 + number % 3, sign, "HTTP_503", throttled=throttled)


def test_an_outage_that_lasts_too_long_ends_the_run() -> None:
    """The sentence says for how long, what came last, and which option says so."""
    patience = Patience()
    patience.note(UNANSWERED, TRIES)
    patience.now = 899.9
    patience.note(UNANSWERED)
    patience.now = 900.0
    with pytest.raises(OutageError) as caught:
        patience.note(UNANSWERED)
    assert str(caught.value) == "the platform has not answered for 900 s (HTTP_503), and --outage-timeout is 900 s"


@pytest.mark.parametrize(("remaining", "may_be_the_rows"), [(1, True), (FEW_ROWS, True), (FEW_ROWS + 1, False)])
def test_with_few_rows_left_it_may_be_just_these(*, remaining: int, may_be_the_rows: bool) -> None:
    """A few rows that are never answered look like an outage: people and programs are told."""
    patience = Patience(remaining=remaining)
    patience.note(UNANSWERED, TRIES)
    patience.now = 900.0
    with pytest.raises(OutageError) as caught:
        patience.note(UNANSWERED)
    assert caught.value.may_be_the_rows is may_be_the_rows
    assert ("it may be just these that it cannot answer" in str(caught.value)) is may_be_the_rows


def test_an_outage_may_be_declared_too_late() -> None:
    """With tries that are few and far between, nobody was answered for so long before there were ten."""
    patience = Patience()
    patience.note(UNANSWERED, TRIES - 1)
    patience.now = 5000.0
    with pytest.raises(OutageError, match="has not answered for 5,000 s"):
        patience.note(UNANSWERED)


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        pytest.param(THROTTLED, "has throttled every request for 900 s", id="throttled"),
        pytest.param(UNANSWERED, "has not answered for 900 s", id="a failure that says how long to wait"),
    ],
)
def test_throttling_that_lasts_too_long_ends_the_run(sign: Sign, words: str) -> None:
    """It uses up no row's attempts: one or two rows, which are no outage, would be tried for ever."""
    patience = Patience()
    patience.note(sign, throttled=True)
    patience.now = 899.9
    patience.note(sign, throttled=True)
    patience.now = 900.0
    with pytest.raises(OutageError, match=words):
        patience.note(sign, throttled=True)


@pytest.mark.parametrize("sign", [THROTTLED, UNANSWERED])
def test_an_answer_renews_the_patience(sign: Sign) -> None:
    """While the platform answers anybody, throttling ends no run."""
    patience = Patience()
    for _ in range(20):
        patience.note(sign, throttled=True)
        patience.now += 899.0
        patience.note(ANSWERED)


def test_a_row_in_trouble_ends_no_run() -> None:
    """Two tries an hour apart are no outage, however long nobody else was tried."""
    patience = Patience()
    patience.note(UNANSWERED)
    patience.now = 3600.0
    patience.note(UNANSWERED)


@pytest.mark.parametrize(("seconds", "is_too_long"), [(0.0, False), (900.0, False), (900.1, True), (86_400.0, True)])
def test_a_wish_to_wait_beyond_the_patience_ends_the_run(*, seconds: float, is_too_long: bool) -> None:
    """It does at once: waiting first would change nothing."""
    gate = Patience().gate
    if is_too_long:
        with pytest.raises(OutageError, match=rf"asks to wait {seconds:,.0f} s, which is longer than --outage-timeout"):
            gate.refuse_to_wait(seconds)
    else:
        gate.refuse_to_wait(seconds)


def test_nobody_is_given_up_in_an_outage() -> None:
    """Also a row whose neighbour was answered since its last try: that was before the platform went."""
    patience = Patience()
    patience.note(ANSWERED)
    patience.note(UNANSWERED, TRIES - 1)
    assert patience.gate.may_give_up(2, since=0, under_way=4) is True
    patience.note(UNANSWERED)
    assert patience.gate.may_give_up(2, since=0, under_way=4) is False


def test_patience_ends_also_while_nobody_is_to_blame() -> None:
    """Too few tries for an outage, and no answer for so long: the run ends when a row has used up its attempts."""
    patience = Patience()
    patience.note(UNANSWERED, 2)
    patience.now = 899.9
    assert patience.gate.may_give_up(2, since=0, under_way=4) is False
    patience.now = 900.0
    with pytest.raises(OutageError, match="the platform has not answered for 900 s, and --outage-timeout is 900 s"):
        patience.gate.may_give_up(2, since=0, under_way=4)


# The clock of these tests


def test_a_virtual_hour_takes_no_time(virtually: Virtually) -> None:
    """Sleeping moves the clock exactly, and those who sleep less wake up first."""
    woken: list[tuple[float, float]] = []

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((seconds, clock()))

    async def story() -> None:
        await asyncio.gather(*map(sleep, [3600.0, 0.5, 86_400.0]))

    virtually(story())
    assert woken == [(0.5, 0.5), (3600.0, 3600.0), (86_400.0, 86_400.0)]


def test_a_virtual_clock_notices_that_nobody_will_wake_up(virtually: Virtually) -> None:
    """What would hang for ever fails."""
    with pytest.raises(AssertionError, match="nobody will ever wake them"):
        virtually(asyncio.Event().wait())
