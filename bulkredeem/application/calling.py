"""The door for those who call us from Python instead of from a command line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from bulkredeem.application.presenting import require_libraries
from bulkredeem.application.running import run_file
from bulkredeem.application.terms import Start, Terms
from bulkredeem.model import Outcome
from bulkredeem.processor import Stop
from bulkredeem.settings import Settings
from bulkredeem.summary import Summary

Hears = Callable[[Outcome], None]
"""Hears of a row's outcome when it is recorded; called on the event loop, so it must be quick."""


async def run(
    path: str | os.PathLike[str], settings: Settings, *, on_outcome: Hears | None = None, stop: Stop | None = None
) -> Summary:
    """Send every row of a file that can be sent, write the reports, and return what happened.

    `settings` come from `load_settings`. `on_outcome` hears of every row when its outcome is recorded, in the order in
    which rows end; what it raises ends the run, whose other rows stay pending. `stop.request(SignalledError(why))`,
    called on the event loop, drains the run as Ctrl-C does on a terminal; cancelling ends it at once, and what was
    recorded stays recorded.
    The reports lie in `settings.reports / summary.info.run_id`; `summary.ending.exit_code` says what the process would
    have said. Nothing is ever asked: a host or an environment is taken as meant.

    Raises a `BulkRedeemError` when it could not start: ConfigurationError, InputFileError, ReportsFolderError,
    BusyError, LedgerError; nothing was sent then. Later trouble is told by the summary.
    """
    require_libraries(settings)
    terms = Terms(stop=stop or Stop(), observer=_Listener(on_outcome))
    return (await run_file(Path(path), settings, terms)).summary


def run_blocking(path: str | os.PathLike[str], settings: Settings, *, on_outcome: Hears | None = None) -> Summary:
    """Do what `run` does where no event loop is running, and return when it is done. Ctrl-C ends it at once."""
    work = run(path, settings, on_outcome=on_outcome)
    try:
        return asyncio.run(work)
    finally:
        work.close()  # where a loop is running, nobody has awaited it


class _Listener:
    """Passes on the outcomes; everything else is in the reports and in `run.log`."""

    def __init__(self, on_outcome: Hears | None) -> None:
        self._on_outcome = on_outcome

    def started(self, start: Start) -> None:
        """Hear of the start."""

    def recorded(self, outcome: Outcome) -> None:
        """Pass the outcome on."""
        if self._on_outcome is not None:
            self._on_outcome(outcome)

    def remark(self, sentence: str) -> None:
        """Hear of what a person should read."""

    def paused(self, seconds: float) -> None:
        """Hear of a pause."""

    def outage(self, begins: bool) -> None:  # noqa: FBT001  as `Observer` has it
        """Hear of an outage."""

    def delivered(self) -> None:
        """Hear of the end of sending."""
