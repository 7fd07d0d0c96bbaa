"""One correction → one outcome: attempts, slots of the pace, back-off.

The first attempt is made directly; tenacity is entered only when it has not settled the row, so that rows which
succeed at once do not pay for it. Waiting is `sleep`'s business, which may end it by raising `Stopping`: then the row
has no outcome and stays `pending`, and whoever keeps the record is told if it may have been applied.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, wait_random_exponential

from bulkredeem.delivery.budget import RetryBudget
from bulkredeem.delivery.gate import Gate
from bulkredeem.errors import AccessRefusedError, ProxyRefusedError, TlsError
from bulkredeem.masking import mask
from bulkredeem.model import Answer, Correction, Outcome, Reply, Sign, Status, Trouble
from bulkredeem.pace import Pace, Teaches
from bulkredeem.verdict import (
    SENT_BEFORE,
    Verdict,
    alias_in,
    claims_errors,
    echo_of,
    judge,
    judge_refusal,
    sign_of,
)

BACK_OFF_FIRST: Final = 1.0
"""Seconds: the second attempt follows after a random part of it, each further one after a part of twice as much."""
BACK_OFF_MOST: Final = 30.0
"""Seconds that a row waits at most between two attempts."""
NEWS_LOOKED_FOR: Final = 1.0
"""Seconds between two looks at what became of others, while a row whose attempts are used up waits for that."""
PAUSE_WORTH_TELLING: Final = 1.0
"""Seconds by which a pause must grow before it is told again; each of many workers may be asked to wait."""
_TLS_FAILED: Final = "TLS_FAILED"
_CERTIFICATE_REFUSED: Final = "CERTIFICATE_REFUSED"
_PROXY_REFUSED: Final = "PROXY_REFUSED"
_REFUSED: Final = "the platform refused the credentials or the permission"
_SERVICE_UNAVAILABLE: Final = 503


@dataclass(slots=True)
class _Tries:
    """What has happened to one correction so far."""

    correction: Correction
    sent: Callable[[], None]
    """Called before each."""
    doubt: Verdict | None
    """The last try that may have been applied without our knowing, or None."""
    outages: int
    """How many outages there had been when this row's tries were last excused."""
    total: int = 0
    """Every try on the wire."""
    throttled: int = 0
    """Those that the platform throttled."""
    excused: int = 0
    """Those that went unanswered during an outage, had a password or token that was replaced, or were not sent."""
    unanswered: int = 0
    """Those that went unanswered and are not excused."""
    since: int = 0
    """How many tries of all rows had finished when its last one was sent."""
    password: int = 0
    """Which of the run's passwords or tokens its last one had."""
    says_nothing: bool = False
    """Whether its last one was not sent, or what it had was replaced: nobody can tell from it who is to blame."""
    is_open: bool = False
    """Whether a request is out whose answer is not known yet, or has succeeded without anybody knowing yet."""
    last_reply: Reply | None = None

    @property
    def counted(self) -> int:
        """Tries that count against the most allowed."""
        return self.total - self.throttled - self.excused

    def excuse(self, outages: int) -> None:
        """Take away what an outage has done: its tries say nothing about the row."""
        self.excused += self.unanswered
        self.unanswered = 0
        self.outages = outages


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Who is told what during a delivery."""

    attempted: Callable[[Correction, int, Verdict], None] = lambda _correction, _number, _verdict: None
    """Hears of every attempt (1-based number) after it."""
    paused: Callable[[float], None] = lambda _seconds: None
    """Hears of the seconds for which the platform makes the whole key wait."""
    echoed: Callable[[Correction, Mapping[str, Any]], None] = lambda _correction, _echo: None
    """Hears of what the platform's reply says that a redemption is now, when it accepted an update."""
    left_in_doubt: Callable[[int], None] = lambda _row_number: None
    """Hears of each row that is left without an outcome although it may have been applied."""


class Limit:
    """Tells the pace what replies say about the platform's limit, which is the key's and no row's alone."""

    def __init__(self, pace: Pace, gate: Gate, paused: Callable[[float], None] = lambda _seconds: None) -> None:
        """Take whom to tell; `paused` hears of the seconds for which the whole key has to wait."""
        self._pace = pace
        self._gate = gate
        self._paused = paused
        self._throttled_aside = 0

    def heed(self, reply: Reply, verdict: Verdict, sent_at: float, teaches: Teaches) -> None:
        """Heed a reply to a request with that slot. Raises OutageError when it asks for too long a wait."""
        if not verdict.repeat:
            self._pace.answered(sent_at)
            return
        asked_for = reply.retry_after or 0.0
        self._gate.refuse_to_wait(asked_for)
        known = self._pace.paused_for
        if verdict.throttled:
            self._pace.throttled(sent_at, asked_for, teaches)
        elif asked_for:
            self._pace.pause(asked_for)
        elif reply.http_status == _SERVICE_UNAVAILABLE:
            self._pace.strained(sent_at)
        else:
            self._pace.answered(sent_at)
        # Each of many workers may be asked to wait: only a pause that hardly anybody knows of is told.
        if (paused_for := self._pace.paused_for) - known >= PAUSE_WORTH_TELLING:
            self._paused(paused_for)

    def heed_aside(self, reply: Reply, sent_at: float) -> None:
        """Heed, likewise, a reply to a request that went before a row's: with errors, or what was asked for."""
        if not claims_errors(reply):
            self._throttled_aside = 0
            self._pace.answered(sent_at)
            return
        verdict = judge_refusal(reply)
        self._throttled_aside += verdict.throttled
        self.heed(reply, verdict, sent_at, _teaches(reply, self._throttled_aside))


class Delivery:
    """Delivers corrections, each at most once at a time; shared by all workers of a run."""

    def __init__(  # noqa: PLR0913  what, when and how many at once; and effects, each with its default
        self,
        attempt: Callable[[Correction], Awaitable[Answer]],
        pace: Pace,
        gate: Gate,
        *,
        max_attempts: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        proceed: Callable[[], None] = lambda: None,
        wall_clock: Callable[[], float] = time.time,
        hooks: Hooks = Hooks(),
        slot: Callable[[], Awaitable[float]] | None = None,
    ) -> None:
        """Take what to do (`attempt`), when (`pace`), and how many at once (`gate`).

        `slot` takes a try's slot of the pace, and those of requests that must go before it; None for the try's alone.
        `max_attempts` counts tries that were neither throttled nor part of an outage. `proceed` is asked before every
        attempt and raises `Stopping` when none may start any more.
        """
        self.requests = 0
        """Every try of every row on the wire."""
        self._under_way = 0
        self._is_reached = False
        self._attempt = attempt
        self._pace = pace
        self._slot = slot or pace.slot
        self._gate = gate
        self._max_attempts = max_attempts
        self._sleep = sleep
        self._proceed = proceed
        self._wall_clock = wall_clock
        self._hooks = hooks
        self._limit = Limit(pace, gate, hooks.paused)
        self._budget = RetryBudget(lambda: pace.gap, sleep=sleep)
        self._back_off = wait_random_exponential(multiplier=BACK_OFF_FIRST, max=BACK_OFF_MOST)

    async def deliver(self, correction: Correction, sent: Callable[[], None] = lambda: None) -> Outcome:
        """Send the correction until its verdict is settled or its attempts are used up; call `sent` before each try.

        Raises `Stopping` when the run drains before that, `AccessRefusedError`, `TlsError` and `ProxyRefusedError` when
        no row can succeed,
        and `OutageError` when the platform was gone for too long; all of them leave the row without an outcome.
        """
        tries = _Tries(correction, sent, SENT_BEFORE if correction.may_be_applied else None, self._gate.outages)
        self._under_way += 1
        self._budget.first()
        try:
            verdict = await self._try(tries)
            if verdict.repeat:
                verdict = await self._repeat(tries, verdict)
        except BaseException:
            if tries.doubt or tries.is_open:
                self._hooks.left_in_doubt(correction.row_number)
            raise
        finally:
            self._under_way -= 1
            self._gate.forget(correction.row_number)
        return self._outcome(tries, verdict)

    async def _repeat(self, tries: _Tries, first: Verdict) -> Verdict:
        """Go on after a first attempt that settled nothing, and return the last verdict."""
        held = [first]

        async def next_verdict() -> Verdict:
            verdict = held.pop() if held else await self._retry(tries)
            while self._is_to_blame(tries, verdict) is None:
                await self._sleep(NEWS_LOOKED_FOR)
            return verdict

        retrying = AsyncRetrying(
            sleep=self._sleep,
            wait=self._wait,
            stop=lambda state: bool(self._is_to_blame(tries, _last_verdict(state))),
            retry=retry_if_result(lambda verdict: verdict.repeat),
            retry_error_callback=_last_verdict,
        )
        return await retrying(next_verdict)

    async def _retry(self, tries: _Tries) -> Verdict:
        # Probes have a schedule of their own, and are all there is in an outage.
        if not self._gate.is_outage:
            await self._budget.retry()
        return await self._try(tries)

    async def _try(self, tries: _Tries) -> Verdict:
        return await self._gate.passed(self._slot, partial(self._try_now, tries))

    async def _try_now(self, tries: _Tries, sent_at: float) -> Verdict:
        self._proceed()
        self.requests += 1
        tries.total += 1
        tries.since = self._gate.sent(tries.correction.row_number)
        tries.password = self._gate.passwords
        tries.is_open = True
        tries.sent()
        answer = await self._attempt(tries.correction)
        verdict = self._judge(answer, tries.correction)
        tries.is_open = verdict.status is Status.SUCCESS
        if verdict.status is Status.IN_DOUBT:
            tries.doubt = verdict
        self._hooks.attempted(tries.correction, tries.total, verdict)
        # First, since a refused certificate, which leaves its row in doubt, counts as reached from then on.
        self._refuse_to_go_on(answer, verdict, tries.correction)
        self._is_reached = self._is_reached or isinstance(answer, Reply) or answer.may_be_applied
        self._note(answer, verdict, tries)
        # What the token's request, which went instead, says about the limit was heeded when its answer came.
        if isinstance(answer, Reply) and not answer.unsent:
            tries.last_reply = answer
            self._limit.heed(answer, verdict, sent_at, _teaches(answer, tries.throttled))
        return verdict

    def _refuse_to_go_on(self, answer: Answer, verdict: Verdict, correction: Correction) -> None:
        """Raise when no row at all can succeed."""
        if verdict.access_refused:
            words = mask(verdict.message, correction.identifiers)
            raise AccessRefusedError(f"{_REFUSED} ({verdict.code}: {words})")
        if self._is_reached or not isinstance(answer, Trouble):
            return
        if answer.code == _TLS_FAILED:
            raise TlsError(f"{answer.message}; check the base URL, the certificates of this machine and its clock")
        if answer.code == _CERTIFICATE_REFUSED:
            raise TlsError(answer.message)
        if answer.code == _PROXY_REFUSED:
            raise ProxyRefusedError(f"{answer.message}; correct the proxy's user name and password in it")

    def _note(self, answer: Answer, verdict: Verdict, tries: _Tries) -> None:
        """Tell the gate what the try says about the platform, and count it where it belongs."""
        sign = sign_of(answer, verdict)
        is_renewed = isinstance(answer, Reply) and answer.credentials_renewed
        tries.says_nothing = is_renewed or answer.unsent
        if verdict.throttled:
            tries.throttled += 1
        elif tries.says_nothing:
            tries.excused += 1
        elif sign is Sign.UNANSWERED:
            tries.unanswered += 1
        if is_renewed:
            self._gate.prove_again(tries.password)
        else:
            row_number = tries.correction.row_number
            self._gate.note(
                row_number,
                sign,
                verdict.code,
                # Neither kind uses up a row's attempts, so that time has to end them.
                throttled=verdict.throttled or answer.unsent,
                password=tries.password,
                since=tries.since,
            )

    def _is_to_blame(self, tries: _Tries, verdict: Verdict) -> bool | None:
        """Say whether a row's attempts are used up, and not by an outage; None when others have to tell first."""
        if self._gate.is_outage or self._gate.outages > tries.outages:
            tries.excuse(self._gate.outages)
        if tries.counted < self._max_attempts or tries.says_nothing or verdict.throttled or not verdict.repeat:
            return False
        row_number = tries.correction.row_number
        return self._gate.may_give_up(row_number, since=tries.since, under_way=self._under_way)

    def _judge(self, answer: Answer, correction: Correction) -> Verdict:
        """Return the verdict, its code masked once for all who hear of it: a platform may put anything there."""
        verdict = judge(answer, correction)
        return replace(verdict, code=mask(verdict.code, correction.identifiers)) if verdict.code else verdict

    def _wait(self, state: RetryCallState) -> float:
        """Return the seconds until the next attempt; none after throttling and in an outage: all wait together then."""
        return 0.0 if _last_verdict(state).throttled or self._gate.is_outage else self._back_off(state)

    def _outcome(self, tries: _Tries, verdict: Verdict) -> Outcome:
        """Settle the row: once a try was in doubt, only success or refusal takes the doubt away."""
        decisive = tries.doubt if tries.doubt and verdict.status is Status.FAILED else verdict
        correction, reply = tries.correction, tries.last_reply
        echo = echo_of(reply) if reply else {}
        if echo:
            self._hooks.echoed(correction, echo)
        return Outcome(
            row_number=correction.row_number,
            status=decisive.status,
            error_code=decisive.code,
            error_message=decisive.message,
            reason=mask(decisive.message, correction.identifiers) if decisive.message else "",
            warnings=correction.warnings + decisive.warnings,
            http_status=reply.http_status if reply else None,
            attempts=tries.total,
            request_id=reply.request_id if reply else "",
            finished_at=self._wall_clock(),
            alias=alias_in(echo, correction) if decisive.status is Status.SUCCESS else "",
            kept=correction.kept,
        )


def _teaches(reply: Reply, throttled: int) -> Teaches:
    """Say what a throttled try teaches about the platform's limit; `throttled` counts those of its row, and it."""
    if throttled > 1:
        return Teaches.NOTHING
    return Teaches.OVERLOAD if reply.http_status == _SERVICE_UNAVAILABLE else Teaches.LIMIT


def _last_verdict(state: RetryCallState) -> Verdict:
    assert state.outcome is not None  # noqa: S101  tenacity asks only after an attempt
    verdict: Verdict = state.outcome.result()
    return verdict
