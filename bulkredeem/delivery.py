"""One correction → one outcome: attempts, slots of the pace, back-off.

The first attempt is made directly; tenacity is entered only when it has not settled the row, so that rows which
succeed at once do not pay for it. Waiting is `sleep`'s business, which may end it by raising `Stopping`: then the row
has no outcome and stays `pending`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, wait_random_exponential

from bulkredeem.errors import AccessRefusedError
from bulkredeem.masking import mask
from bulkredeem.model import Answer, Correction, Outcome, Reply, Status
from bulkredeem.pace import Pace
from bulkredeem.verdict import Verdict, judge

BACK_OFF_FIRST: Final = 1.0
"""Seconds: the second attempt follows after a random part of it, each further one after a part of twice as much."""
BACK_OFF_MOST: Final = 30.0
"""Seconds that a row waits at most between two attempts."""
THROTTLE_FIRST: Final = 1.0
"""Seconds that the key pauses when the platform throttles and does not say for how long; doubled each time."""
THROTTLE_LEAST: Final = 0.05
"""Seconds that the key pauses even when the platform says 0; doubled each time, so that nobody hammers it."""
THROTTLE_MOST: Final = 60.0
"""Seconds that the key pauses at most without being asked for more."""
PAUSE_WORTH_TELLING: Final = 1.0
"""Seconds by which a pause must grow before it is told again; each of many workers may be asked to wait."""
_MOST_DOUBLINGS: Final = 11
"""From `THROTTLE_LEAST` these lead past `THROTTLE_MOST`; a row throttled all weekend must not overflow."""


@dataclass(slots=True)
class _Tries:
    """What has happened to one correction so far."""

    correction: Correction
    total: int = 0
    """Every try on the wire."""
    throttled: int = 0
    """Those that the platform throttled."""
    doubt: Verdict | None = None
    """The last try that may have been applied without our knowing, or None."""
    last_reply: Reply | None = None

    @property
    def counted(self) -> int:
        """Tries that count against the most allowed."""
        return self.total - self.throttled


class Delivery:
    """Delivers corrections, each at most once at a time; shared by all workers of a run."""

    def __init__(
        self,
        attempt: Callable[[Correction], Awaitable[Answer]],
        pace: Pace,
        *,
        max_attempts: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        proceed: Callable[[], None] = lambda: None,
        wall_clock: Callable[[], float] = time.time,
        on_attempt: Callable[[Correction, int, Verdict], None] = lambda _correction, _number, _verdict: None,
        on_pause: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """Take what to do (`attempt`) and when (`pace`).

        `max_attempts` counts tries that were not throttled. `proceed` is asked before every attempt and raises
        `Stopping` when none may start any more. `on_attempt` hears of every attempt (1-based number) after it,
        and `on_pause` of the seconds for which the platform makes the whole key wait.
        """
        self.requests = 0
        self._attempt = attempt
        self._pace = pace
        self._max_attempts = max_attempts
        self._sleep = sleep
        self._proceed = proceed
        self._wall_clock = wall_clock
        self._on_attempt = on_attempt
        self._on_pause = on_pause
        self._back_off = wait_random_exponential(multiplier=BACK_OFF_FIRST, max=BACK_OFF_MOST)

    async def deliver(self, correction: Correction) -> Outcome:
        """Send the correction until its verdict is settled or its attempts are used up.

        Raises `Stopping` when the run drains before that, and `AccessRefusedError` when no row can succeed; both
        leave the row without an outcome.
        """
        tries = _Tries(correction)
        verdict = await self._try(tries)
        if verdict.repeat:
            verdict = await self._repeat(tries, verdict)
        return self._outcome(tries, verdict)

    async def _repeat(self, tries: _Tries, first: Verdict) -> Verdict:
        """Go on after a first attempt that settled nothing, and return the last verdict."""
        held = [first]

        async def next_verdict() -> Verdict:
            return held.pop() if held else await self._try(tries)

        retrying = AsyncRetrying(
            sleep=self._sleep,
            wait=self._wait,
            stop=lambda _: tries.counted >= self._max_attempts,
            retry=retry_if_result(lambda verdict: verdict.repeat),
            retry_error_callback=_last_verdict,
        )
        return await retrying(next_verdict)

    async def _try(self, tries: _Tries) -> Verdict:
        await self._pace.slot()
        self._proceed()
        self.requests += 1
        tries.total += 1
        answer = await self._attempt(tries.correction)
        verdict = self._judge(answer, tries.correction)
        self._on_attempt(tries.correction, tries.total, verdict)
        if verdict.access_refused:
            words = mask(verdict.message, tries.correction.identifiers)
            raise AccessRefusedError(f"the platform refused the user name, password or till ({verdict.code}: {words})")
        if isinstance(answer, Reply):
            self._heed(answer, verdict, tries)
        if verdict.status is Status.IN_DOUBT:
            tries.doubt = verdict
        return verdict

    def _judge(self, answer: Answer, correction: Correction) -> Verdict:
        """Return the verdict, its code masked once for all who hear of it: a platform may put anything there."""
        verdict = judge(answer, correction)
        return replace(verdict, code=mask(verdict.code, correction.identifiers)) if verdict.code else verdict

    def _heed(self, reply: Reply, verdict: Verdict, tries: _Tries) -> None:
        """Remember the reply, and pause the key when the platform asks for it: its limit is not the row's alone."""
        tries.last_reply = reply
        if verdict.throttled:
            tries.throttled += 1
            asked = THROTTLE_FIRST if reply.retry_after is None else THROTTLE_LEAST
            own = min(THROTTLE_MOST, asked * 2 ** min(tries.throttled - 1, _MOST_DOUBLINGS))
            self._pause(max(own, reply.retry_after or 0.0))
        elif reply.retry_after and verdict.repeat:
            self._pause(reply.retry_after)

    def _pause(self, seconds: float) -> None:
        """Pause the key, and tell whoever watches unless it hardly prolongs a pause that they know of."""
        longer_by = seconds - self._pace.paused_for
        self._pace.pause(seconds)
        if longer_by >= PAUSE_WORTH_TELLING:
            self._on_pause(seconds)

    def _wait(self, state: RetryCallState) -> float:
        """Return the seconds until the next attempt; none after throttling, since then the whole key pauses."""
        return 0.0 if _last_verdict(state).throttled else self._back_off(state)

    def _outcome(self, tries: _Tries, verdict: Verdict) -> Outcome:
        """Settle the row: once a try was in doubt, only success or refusal takes the doubt away."""
        decisive = tries.doubt if tries.doubt and verdict.status is Status.FAILED else verdict
        correction, reply = tries.correction, tries.last_reply
        return Outcome(
            row_number=correction.row_number,
            status=decisive.status,
            error_code=decisive.code,
            error_message=decisive.message,
            reason=mask(decisive.message, correction.identifiers),
            warnings=correction.warnings + decisive.warnings,
            http_status=reply.http_status if reply else None,
            attempts=tries.total,
            request_id=reply.request_id if reply else "",
            finished_at=self._wall_clock(),
        )


def _last_verdict(state: RetryCallState) -> Verdict:
    assert state.outcome is not None  # noqa: S101  tenacity asks only after an attempt
    verdict: Verdict = state.outcome.result()
    return verdict
