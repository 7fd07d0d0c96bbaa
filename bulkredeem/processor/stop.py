"""The wish to stop: once uttered, no attempt starts, whoever waits goes home, and tries under way end."""

from __future__ import annotations

import asyncio

from bulkredeem.errors import Stopping


class Stop:
    """One for the runs of a command. Belongs to the event loop; others use `loop.call_soon_threadsafe`."""

    def __init__(self) -> None:
        """Start without the wish."""
        self.cause: BaseException | None = None
        """What the run stops for, or None; the first cause stays."""
        self._later: BaseException | None = None
        self._sleepers: set[asyncio.Future[None]] = set()

    @property
    def requested(self) -> bool:
        """Whether nothing new may start."""
        return self.cause is not None

    def request(self, cause: BaseException) -> None:
        """Ask everybody to stop; those who sleep wake up at once."""
        if self.cause is not None:
            self._later = self._later or cause
            return
        self.cause = cause
        for sleeper in self._sleepers:
            if not sleeper.done():
                sleeper.set_result(None)

    def withdraw(self) -> None:
        """Take the first cause back when nothing is under way any more; a later one, if there was any, counts then."""
        self.cause, self._later = self._later, None

    def check(self) -> None:
        """Raise `Stopping` when nothing new may start."""
        if self.requested:
            raise Stopping

    async def sleep(self, seconds: float) -> None:
        """Sleep, or raise `Stopping` as soon as a stop is asked for."""
        self.check()
        loop = asyncio.get_running_loop()
        sleeper = loop.create_future()
        alarm = loop.call_later(seconds, _wake, sleeper)
        self._sleepers.add(sleeper)
        try:
            await sleeper
        finally:
            alarm.cancel()
            self._sleepers.discard(sleeper)
        self.check()


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
