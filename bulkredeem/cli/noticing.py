"""What is told to others of a command that sends: when it begins, and how it has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from bulkredeem.application import Run
from bulkredeem.cli.streams import complain
from bulkredeem.errors import BulkRedeemError, ConfigurationError, ExitCode
from bulkredeem.notices import Ended, EndedRun, Notices
from bulkredeem.settings import Settings
from bulkredeem.summary import Typed, closing_sentence, next_steps


class Night:
    """One command, as those hear of it who do not watch it. Nothing here can fail a run."""

    def __init__(self, settings: Settings, typed: Typed, *, wall_clock: Callable[[], float] = time.time) -> None:
        """Raise ConfigurationError when something that is to be told cannot be."""
        self._notices = Notices(settings)
        self._settings = settings
        self._typed = typed
        self._wall_clock = wall_clock
        self._began_at = wall_clock()
        self._runs: list[EndedRun] = []
        self._errors: list[str] = []
        self._beginning: asyncio.Task[tuple[str, ...]] | None = None

    def ran(self, run: Run) -> None:
        """Take note of a run that has ended."""
        folder = str(run.folder)
        self._runs.append(
            EndedRun(
                folder=run.folder,
                summary=run.summary,
                sentence=closing_sentence(run.summary, folder, self._typed),
                steps=next_steps(run.summary, folder, self._typed),
                throttled=run.throttled,
            )
        )

    def failed(self, error: object) -> None:
        """Take note of something that could not start, as a sentence."""
        self._errors.append(str(error))

    def begin(self) -> None:
        """Tell that the command begins, while it goes on: a watchdog that is slow must keep no run waiting."""
        self._beginning = asyncio.create_task(self._notices.began())

    async def ended(self, code: ExitCode, left: Sequence[str] = ()) -> None:
        """Tell how the command has ended; `left` are those runs that were not begun."""
        ended = Ended(
            exit_code=code,
            reports=self._settings.reports,
            began_at=self._began_at,
            finished_at=self._wall_clock(),
            environment=self._settings.environment,
            runs=tuple(self._runs),
            errors=tuple(self._errors),
            left=tuple(left),
        )
        # In this order: a watchdog must not hear of the end before the beginning.
        remarks = await self._beginning if self._beginning else ()
        # What does not get through at the beginning mostly does not at the end either: once is enough.
        for remark in dict.fromkeys((*remarks, *await self._notices.ended(ended))):
            complain(remark)


@asynccontextmanager
async def told_if_it_cannot_start(settings: Settings, typed: Typed) -> AsyncIterator[None]:
    """Tell of a command that cannot even be put together; the error goes on."""
    try:
        yield
    except BulkRedeemError as exc:
        try:
            night = Night(settings, typed)
        except ConfigurationError as wrong:
            if str(wrong) != str(exc):
                complain(wrong)
            raise exc from None
        night.failed(exc)
        await night.ended(exc.exit_code)
        raise
