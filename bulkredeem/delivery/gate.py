"""How many tries may be under way: one until the platform has accepted us, one during an outage, else all.

A till, or a key, is locked after too many wrong tries, so nothing goes beside the first request until a reply has shown
that the credentials are good. And while the platform is gone, one row after the other asks whether it is back.
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
END_LOOKED_FOR: Final = 1.0
"""Seconds between two looks whether a try that was sent before the outage has ended it, while the next probe waits."""

FEW_ROWS: Final = 32
"""Rows left, up to which an outage may be theirs: so many may be sick, and a run leaves its sick rows to the end."""
_FEW: Final = "; with so few rows left it may be just these that it cannot answer: if so, abandon the run"

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
        self._next_in_line = asyncio.Lock()
        self._alone = asyncio.Lock()
        self._accepted = False
        self._passwords = 1
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
    def passwords(self) -> int:
        """How many credentials there were so far, passwords or tokens: what one has proved says nothing of the next."""
        return self._passwords

    async def passed(self, slot: Callable[[], Awaitable[float]], attempt: Callable[[float], Awaitable[_T]]) -> _T:
        """Make an attempt as soon as it may be made and has its slot, and return what it returns.

        `slot` returns the moment of the slot, which is passed to the attempt. Raises what `sleep` and `slot` raise when
        the run drains, and what the attempt raises.
        """
        async with self._places:
            while (sent_at := await self._slot_for_one_of_many(slot)) is None:
                async with self._alone:
                    await self._until_the_next_probe()
                    # Whoever went before may have found the platform back: then all that waited here go at once.
                    if self._lets_one_pass():
                        return await attempt(await slot())
            return await attempt(sent_at)

    def sent(self, row_number: int) -> int:
        """Take note that a row is sent, and return how many tries have finished by then."""
        return self._watch.sent(row_number)

    def note(
        self,
        row_number: int,
        sign: Sign,
        code: str = "",
        *,
        throttled: bool = False,
        password: int | None = None,
        since: int | None = None,
    ) -> None:
        """Take note of a finished try and its error code. Raises OutageError when nothing was answered for too long.

        `throttled` tries never use up a row's attempts, also when their sign is that nobody answered (a 503 that says
        how long to wait). `password` and `since` are what `passwords` and `sent` said when the try was sent; None for
        the last credentials, and for not known.
        """
        was_outage = self._watch.is_outage
        self._watch.note(row_number, sign, remaining=self._remaining(), since=since)
        self._accepted = self._accepted or (sign is Sign.ANSWERED and password in {None, self._passwords})
        if self._watch.is_outage is not was_outage:
            self._wait_for_probe = PROBE_FIRST
            self._on_outage(self._watch.is_outage)
        never_used_up = self.is_outage or throttled or sign is Sign.THROTTLED
        if never_used_up and self._watch.unanswered_for >= self._outage_timeout:
            self._end(sign, code)

    def forget(self, row_number: int) -> None:
        """Take note that a row is not under way any more."""
        self._watch.forget(row_number)

    def refuse_to_wait(self, seconds: float) -> None:
        """Raise OutageError when the platform asks for a longer wait than the run has patience for."""
        if seconds > self._outage_timeout:
            raise OutageError(
                f"the platform asks to wait {seconds:,.0f} s, which is longer than --outage-timeout"
                f" ({self._outage_timeout:,.0f} s)"
            )

    def prove_again(self, password: int) -> None:
        """Let one go alone again: the credentials with that number were replaced, and the new ones may be wrong."""
        if password == self._passwords:
            self._passwords += 1
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

    async def _slot_for_one_of_many(self, slot: Callable[[], Awaitable[float]]) -> float | None:
        """Take a slot and return its moment, or return None as soon as only one may go at a time."""
        # One after another: who has queued for a slot keeps its turn there, and an outage would find the first probe
        # behind all those who no longer need theirs.
        async with self._next_in_line:
            if self._lets_one_pass():
                return None
            sent_at = await slot()
            # That may have been long: the platform may have gone in the meantime.
            return None if self._lets_one_pass() else sent_at

    async def _until_the_next_probe(self) -> None:
        """Wait as long as the next probe has to; no longer than the outage lasts."""
        left = self._outage_timeout - self._watch.unanswered_for
        wait = min(self._wait_for_probe, left)
        while self._watch.is_outage and wait > 0:
            await self._sleep(min(wait, END_LOOKED_FOR))
            wait -= END_LOOKED_FOR
        if self._watch.is_outage:
            self._wait_for_probe = min(2 * self._wait_for_probe, PROBE_MOST)

    def _end(self, sign: Sign, code: str) -> None:
        what = "throttled every request" if sign is Sign.THROTTLED else "not answered"
        last = f" ({code})" if code else ""
        few = sign is not Sign.THROTTLED and self._remaining() <= FEW_ROWS
        raise OutageError(
            f"the platform has {what} for {self._watch.unanswered_for:,.0f} s{last},"
            f" and --outage-timeout is {self._outage_timeout:,.0f} s{_FEW if few else ''}",
            may_be_the_rows=few,
        )
