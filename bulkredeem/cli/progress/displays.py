"""The displays: silent, plain lines, a live block; and which of them fits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console

from bulkredeem.application import Observer, Start
from bulkredeem.cli.progress.announcing import announce
from bulkredeem.cli.progress.block import Block, Drawn
from bulkredeem.cli.progress.standing import Glance, Standing
from bulkredeem.cli.progress.words import duration_in_words, in_words
from bulkredeem.cli.terminal import say
from bulkredeem.model import Outcome

PLAIN_INTERVAL: Final = 30.0
"""Seconds between two plain lines."""
TICK: Final = 1.0
"""Seconds between two looks at the speed, for plain lines."""
WORTH_A_LINE: Final = 10.0
"""Seconds of a pause that are worth a plain line."""
_OUTAGE_BEGINS: Final = (
    "The platform does not answer. No row is given up for that: one after the other asks whether it is back, for"
    " {patience} at most."
)
_OUTAGE_ENDS: Final = "The platform answers again."


class Display(Observer, Protocol):
    """An observer that shows something from `with` to its end."""

    def silenced(self) -> AbstractContextManager[None]:
        """Leave the terminal to whoever asks a question."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def observer_for(console: Console, *, quiet: bool) -> Display:
    """Return the display that fits: silent if so wanted, live on a terminal that can move its cursor, else plain."""
    if quiet:
        return Silent()
    return LiveBlock(console) if console.is_terminal and console.is_interactive else PlainLines(console)


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def started(self, start: Start) -> None:
        """Show nothing."""

    def recorded(self, outcome: Outcome) -> None:
        """Show nothing."""

    def remark(self, sentence: str) -> None:
        """Show nothing."""

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Leave the terminal to whoever asks a question."""
        yield

    def paused(self, seconds: float) -> None:
        """Show nothing."""

    def outage(self, begins: bool) -> None:  # noqa: FBT001  one event, with its beginning and its end
        """Show nothing."""

    def delivered(self) -> None:
        """Show nothing."""


class _Spoken(Silent):
    """Counts, and says what must be said once; how far it is, others show."""

    def __init__(
        self,
        console: Console,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` counts seconds, `wall_clock` seconds since the epoch."""
        self._console = console
        self._patience = 0.0
        self._standing = Standing(clock=clock, wall_clock=wall_clock)

    def started(self, start: Start) -> None:
        """Say what is about to happen, and where it will be reported."""
        self._patience = start.patience
        announce(self._console, start)
        self._standing.begin(start)

    def recorded(self, outcome: Outcome) -> None:
        """Count."""
        self._standing.add(outcome)

    def remark(self, sentence: str) -> None:
        """Say it."""
        say(self._console, sentence, style="yellow")

    def outage(self, begins: bool) -> None:  # noqa: FBT001  one event, with its beginning and its end
        """Say why nothing moves, and when it moves again."""
        self._standing.outage(begins)
        words = _OUTAGE_BEGINS.format(patience=duration_in_words(self._patience)) if begins else _OUTAGE_ENDS
        say(self._console, words)

    def delivered(self) -> None:
        """Speak of no speed and no pause any more: the reports are being written."""
        self._standing.is_writing = True


class PlainLines(_Spoken):
    """Writes a line at the start and every half minute: for a pipe, a file or a scheduler's mail."""

    def __init__(
        self,
        console: Console,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`clock` counts seconds, `wall_clock` seconds since the epoch."""
        super().__init__(console, clock=clock, wall_clock=wall_clock)
        self._clock = clock
        self._sleep = sleep
        self._telling: asyncio.Task[None] | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._telling is not None:
            self._telling.cancel()

    def started(self, start: Start) -> None:
        """Say what is about to happen, and tell from now on how far it is; on a running event loop only."""
        super().started(start)
        # A clock of its own, since nothing else may happen for a long time: in an outage, or when the platform is slow.
        self._telling = asyncio.get_running_loop().create_task(self._keep_telling())

    async def _keep_telling(self) -> None:
        told_at = self._clock()
        while True:
            await self._sleep(TICK)
            glance = self._standing.glance()
            if glance and self._clock() - told_at >= PLAIN_INTERVAL:
                told_at = self._clock()
                say(self._console, line_of(glance))

    def paused(self, seconds: float) -> None:
        """Say why nothing moves."""
        if seconds >= WORTH_A_LINE:
            say(self._console, f"The platform asks to wait {duration_in_words(seconds)}.")


def line_of(glance: Glance) -> str:
    """Return a glance as one line."""
    how_far = f"{glance.how_far} ({int(glance.share * 100)}%)"
    counts = f": {in_words(glance.counts)}" if glance.counts else ""
    more = [part for part in (glance.rate, glance.left) if part]
    speed = f"; {', '.join(more)}" if more else ""
    return f"{how_far}{counts}{speed}.{' ' if glance.notice else ''}{glance.notice}"


class LiveBlock(_Spoken):
    """Keeps a block up to date at the foot of a terminal."""

    def __init__(
        self,
        console: Console,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Show nothing yet; `clock` counts seconds, `wall_clock` seconds since the epoch."""
        super().__init__(console, clock=clock, wall_clock=wall_clock)
        self._block = Block(self._standing.glance)
        self._drawn: Drawn | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._block.is_over = True
        self._take_away(leaving_it=True)

    def started(self, start: Start) -> None:
        """Say what is about to happen, and begin the block."""
        super().started(start)
        self._draw()

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Take the block away while somebody is asked a question."""
        was_drawn = self._take_away(leaving_it=False)
        try:
            yield
        finally:
            self._standing.stand_still()
            if was_drawn:
                self._draw()

    def _draw(self) -> None:
        self._drawn = Drawn(self._block, self._console)
        self._drawn.start(refresh=True)

    def _take_away(self, *, leaving_it: bool) -> bool:
        """Draw the block no more, and say whether it was drawn; what stands there stays or goes."""
        drawn, self._drawn = self._drawn, None
        if drawn is None:
            return False
        drawn.transient = not leaving_it
        drawn.stop()
        return True
