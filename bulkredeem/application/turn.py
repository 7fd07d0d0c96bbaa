"""Whose turn it is: one run at a time sends with a ledger and a key, for only then does the ledger know the last value.

The turn is a lock in the reports folder, which ends with its process. Who finds it taken is told by whom, and waits or
not, as the settings say. The turn comes with the ledger, brought up to date.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from bulkredeem.application.absorbing import LEDGER_FOLDER, absorb_new, ledger_folder, opened_ledger
from bulkredeem.application.shelf import look_at
from bulkredeem.application.terms import Terms, Turn
from bulkredeem.errors import BusyError, DeadlineError, Stopping
from bulkredeem.journal import Owner, RunLock, owner_of
from bulkredeem.ledger import System
from bulkredeem.model import Status
from bulkredeem.moments import time_in_words
from bulkredeem.settings import Settings
from bulkredeem.summary import counted

LOOKED_AT: Final = 1.0
"""Seconds between two looks whether the turn is free."""


@asynccontextmanager
async def turn_of(reports: Path, settings: Settings, terms: Terms) -> AsyncIterator[Turn]:
    """Give the turn for the key of these settings with the ledger of this folder; the command's, if it has that one.

    Raises BusyError when it is not to be waited for, Stopping when a stop is asked for meanwhile, LedgerError and
    ReportsFolderError.
    """
    if terms.turn is not None and terms.turn.is_of(reports):
        # An earlier run of the command may have ended since.
        remarks = await asyncio.to_thread(absorb_new, reports, terms.turn.ledger, terms.check)
        yield replace(terms.turn, remarks=remarks)
        return
    system = System.of(settings.base_url, settings.username)
    with ExitStack() as resources:
        lock = await _lock(reports, system, settings, terms)
        if lock is not None:
            resources.enter_context(lock)
        opened = opened_ledger(reports, terms.check)
        ledger, remarks = await asyncio.to_thread(resources.enter_context, opened)
        yield Turn(reports=reports, ledger=ledger, system=system, remarks=remarks, lock=lock)


async def _lock(reports: Path, system: System, settings: Settings, terms: Terms) -> RunLock | None:
    """Return the lock as soon as it can be had; None when the deadline comes first."""
    folder, name = ledger_folder(reports), lock_name(system)
    deadline = terms.deadline_for(settings)
    is_told = False
    while True:
        try:
            return RunLock.acquire(folder, now=terms.wall_clock(), name=name)
        except BusyError:
            neighbour = neighbour_in_words(reports, name, terms.wall_clock())
            if not settings.waits_when_busy:
                raise BusyError(f"{neighbour} Run again later, or wait with --when-busy wait.") from None
        if not is_told:
            terms.observer.remark(f"{neighbour} Waiting for its end.")
            is_told = True
        if deadline is not None and terms.wall_clock() >= deadline:
            terms.stop.request(DeadlineError("the deadline has come"))
        try:
            await terms.stop.sleep(LOOKED_AT)
        except Stopping:
            if isinstance(terms.stop.cause, DeadlineError):
                return None
            raise


def lock_name(system: System) -> str:
    """Return the name of a system's lock in the ledger's folder."""
    digest = hashlib.sha256("\n".join(system).encode(errors="surrogateescape")).hexdigest()
    return f"turn-{digest[:16]}.lock"


def neighbour_in_words(reports: Path, name: str, now: float) -> str:
    """Say who has the turn, since when, on which run, and for how long still, as far as that is known."""
    owner = owner_of(reports / LEDGER_FOLDER, name)
    if owner is None:
        return "Another run sends with the same ledger and user name."
    what = f"Another run sends with the same ledger and user name: {owner.in_words()}"
    return f"{what}{_progress(reports / owner.run, owner, now) if owner.run else ''}."


def _progress(folder: Path, owner: Owner, now: float) -> str:
    """Say how far a run has come, and when it will end: as fast as until now, or else at its rate."""
    run = look_at(folder)
    if run.info is None or run.counts is None:
        return ""
    left = run.counts[Status.PENDING]
    recorded = run.info.rows - left
    until = owner.until
    if recorded and run.info.resumed_at is None:
        until = now + (now - run.info.started_at) / recorded * left
    words = f", run {folder.name}, {recorded:,} of {counted(run.info.rows, 'row')} done"
    return f"{words}, until about {time_in_words(max(until, now), now)}" if until else words
