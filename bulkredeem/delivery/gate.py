"""How many tries may be under way: one until the platform has accepted us, one during an outage, else all.

A till is locked after too many wrong passwords, so nothing goes beside the first request until a reply has shown that
the credentials are good. And while the platform is gone, one row after the other asks whether it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from bulkredeem.errors import OutageError
from bulkredeem.model import Sign
from bulkredeem.outage import Watch

PROBE_FIRST: Final = 1.0
"""Seconds from the declaration of an outage to the first probe; doubled for each further one."""
PROBE_MOST: Final = 30.0
"""Seconds between two probes at most: so long a run may go on sleeping when the platform is back."""

_T = TypeVar("_T")


class Gate:
    """Lets tries pass; shared by all workers of a run."""

    def __init__(
        self,
        watch: Watch,
        *,
        width: int,
        outage_timeout: float,
        remaining: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_outage: Callable[[bool], None] = lambda _begins: None,
    ) -> None:
        """Begin with room for one.

        `width` tries may be under way at most. An outage, or throttling without any answer, of more than
        `outage_timeout` seconds ends the run. `remaining` says how many rows have no outcome yet. `on_outage` hears
        True when an outage begins and False when it ends.
        """
        self._watch = watch
        self._outage_timeout = outage_timeout
        self._remaining = remaining
        self._sleep = sleep
        self._on_outage = on_outage
        self._places = asyncio.Semaphore(width)
        self._alone = asyncio.Lock()
        self._accepted = False
        self._wait_for_probe = PROBE_FIRST

    @property
    def is_outage(self) -> bool:
        """Whether the platform seems to be gone, and only probes are sent."""
        return self._watch.is_outage

    @property
    def outages(self) -> int:
        """How many outages there were."""
        return self._watch.outages

    @property
    def finished(self) -> int:
        """How many tries have finished so far."""
        return self._watch.finished

    async def passed(self, slot: Callable[[], Awaitable[None]], attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Make an attempt as soon as it may be made and has its slot, and return what it returns.

        Raises what `sleep` and `slot` raise when the run drains, and what the attempt raises.
        """
        async with self._places:
            while True:
                if not self._lets_one_pass():
                    await slot()
                    # Many wait long for their slots: the platform may have gone in the meantime.
                    if not self._lets_one_pass():
                        return await attempt()
                async with self._alone:
                    await self._until_the_next_probe()
                    # Whoever went before may have found the platform back: then all that waited here go at once.
                    if self._lets_one_pass():
                        await slot()
                        return await attempt()

    def note(self, row_number: int, sign: Sign, code: str = "") -> None:
        """Take note of a finished try and its error code. Raises OutageError when nothing was answered for too long."""
        was_outage = self._watch.is_outage
        self._watch.note(row_number, sign, remaining=self._remaining())
        self._accepted = self._accepted or sign is Sign.ANSWERED
        if self._watch.is_outage is not was_outage:
            self._wait_for_probe = PROBE_FIRST
            self._on_outage(self._watch.is_outage)
        if self._watch.unanswered_for >= self._outage_timeout and (self.is_outage or sign is Sign.THROTTLED):
            self._end(sign, code)

    def refuse_to_wait(self, seconds: float) -> None:
        """Raise OutageError when the platform asks for a longer wait than the run has patience for."""
        if seconds > self._outage_timeout:
            raise OutageError(
                f"the platform asks to wait {seconds:,.0f} s, which is longer than --outage-timeout"
                f" ({self._outage_timeout:,.0f} s)"
            )

    def prove_again(self) -> None:
        """Let one go alone again: the password has changed, and may be wrong."""
        self._accepted = False

    def may_give_up(self, row_number: int, *, since: int, under_way: int) -> bool | None:
        """Say whether a row whose attempts are used up is to blame for it, and not the platform; None: not known yet.

        `since` is how many tries had finished when its last one was sent, `under_way` how many rows are being
        delivered. Raises OutageError when nobody is to blame and nothing was answered for too long.
        """
        if self.is_outage:
            return False
        blamed = self._watch.may_give_up(row_number, since=since, under_way=under_way)
        if blamed is False and self._watch.unanswered_for >= self._outage_timeout:
            self._end(Sign.UNANSWERED, "")
        return blamed

    def _lets_one_pass(self) -> bool:
        return not self._accepted or self._watch.is_outage

    async def _until_the_next_probe(self) -> None:
        if self._watch.is_outage:
            left = self._outage_timeout - self._watch.unanswered_for
            await self._sleep(max(0.0, min(self._wait_for_probe, left)))
            self._wait_for_probe = min(2 * self._wait_for_probe, PROBE_MOST)

    def _end(self, sign: Sign, code: str) -> None:
        what = "throttled every request" if sign is Sign.THROTTLED else "not answered"
        last = f" ({code})" if code else ""
        raise OutageError(
            f"the platform has {what} for {self._watch.unanswered_for:,.0f} s{last},"
            f" and --outage-timeout is {self._outage_timeout:,.0f} s"
        )
