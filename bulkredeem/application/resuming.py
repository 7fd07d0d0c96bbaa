"""Going on with a run that stopped early or died, closing one for good, and writing a run's reports anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bulkredeem.application.concluding import Run
from bulkredeem.application.intake import ending_at
from bulkredeem.application.opening import Opened, open_run, rewrite_reports
from bulkredeem.application.planning import selected_by
from bulkredeem.application.preparing import Earlier, Prepared, network_remarks
from bulkredeem.application.presenting import Presentation, forget_presentation
from bulkredeem.application.record import GUARDED, JOURNAL, notes_of, profile_of, sample_of, settings_of
from bulkredeem.application.rows import RowNumbers
from bulkredeem.application.running import carry_out
from bulkredeem.application.shelf import require_free
from bulkredeem.application.terms import Terms, Turn
from bulkredeem.application.turn import turn_of
from bulkredeem.application.wiring import client_for
from bulkredeem.client import Client
from bulkredeem.errors import ExitCode, HeldError, JournalUnreadableError, OtherSystemError, RunNotFoundError
from bulkredeem.journal import Journal
from bulkredeem.report import point_latest_to
from bulkredeem.runlog import RunLog
from bulkredeem.settings import Settings, changed, other_system, restored
from bulkredeem.summary import UNFINISHED, RunState, Tally
from bulkredeem.wholefile import close_to_others

_OTHER_SYSTEM: Final = (
    "{folder} was begun with {of_run}, and the settings now say {now}: the password of one is none for the other."
    " Put the settings back, or choose the right --profile."
)

_HELD: Final = (
    "{folder} was stopped by a guard: {why}. A person has to look first, and then go on with it with --no-guard, or"
    " abandon it."
)


async def resume_run(folder: Path, now: Settings, flags: Mapping[str, Any], terms: Terms) -> Run:
    """Go on with a run where it stopped, however it stopped, with its own snapshot and settings.

    `now` are the settings as they are today, of which the password and what concerns the command count; `flags` are
    the options that were given: they ask for another rate, say. Before anything is sent it raises BusyError,
    JournalUnreadableError, RunNotFoundError for a run at its end, HeldError for one that a guard has stopped, and
    OtherSystemError when the settings of today are for another one.
    """
    require_free(folder)
    async with turn_of(folder.parent, at_its_system(folder, now), terms) as turn:
        prepared, client = await asyncio.to_thread(_reopen, folder, now, flags, terms, turn)
        return await carry_out(prepared, client, terms)


def at_its_system(folder: Path, now: Settings) -> Settings:
    """Return today's settings, with what they leave open of the system filled in from those of a run.

    Whose turn it is, and what the ledger knows, goes by the system where the run's rows are sent. Raises
    JournalUnreadableError.
    """
    with closing(Journal.open_to_read(folder / JOURNAL)) as journal:
        head = journal.head()
    stored = _stored(folder, head)
    left_open = {name: stored[name] for name in ("base_url", "username") if not getattr(now, name)}
    environment = {} if now.environment else {"environment": head.get("environment", "")}
    return now.model_copy(update=left_open | environment)


def _stored(folder: Path, head: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        return settings_of(head)
    except (KeyError, ValueError) as exc:
        raise _senseless(folder, exc) from None


def _senseless(folder: Path, error: Exception) -> JournalUnreadableError:
    # What pydantic says of a value quotes it: only the kind of error is told.
    words = f"The settings in {folder / JOURNAL} make no sense ({type(error).__name__}); it was left as it is."
    return JournalUnreadableError(words)


def abandon_run(folder: Path, reason: str, now: float, wanted: Presentation = Presentation()) -> Run:
    """Close an unfinished run for good, so that nothing goes on with it, and write its reports anew."""
    opened = open_run(folder, now)
    with opened.resources:
        _require_unfinished(opened, "there is nothing to abandon")
        ending = replace(opened.ending, state=RunState.ABANDONED, stop_reason=reason)
        opened.journal.note(notes_of(ending))
        return _reported(replace(opened, ending=ending), wanted)


def report_run(
    folder: Path,
    now: float,
    proceed: Callable[[], None] = lambda: None,
    wanted: Presentation = Presentation(),
) -> Run:
    """Write every report of a run anew from its journal and snapshot."""
    opened = open_run(folder, now)
    with opened.resources:
        return _reported(opened, wanted, proceed)


def settings_for(opened: Opened, now: Settings, flags: Mapping[str, Any]) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings with which a run's rows are sent again, and what a person should know about them.

    Raises OtherSystemError when those of today are for another system: its password is not for the run's, and
    JournalUnreadableError when the stored ones make no sense.
    """
    stored = _stored(opened.folder, opened.head)
    try:
        own = restored(stored, now, flags)
    except (KeyError, ValueError) as exc:
        raise _senseless(opened.folder, exc) from None
    others = other_system(stored, now)
    if others:
        raise OtherSystemError(
            _OTHER_SYSTEM.format(
                folder=opened.folder,
                of_run=", ".join(f"{each.name} = {each.of_run}" for each in others),
                now=", ".join(f"{each.name} = {each.now}" for each in others),
            )
        )
    remarks = tuple(
        f"{each.name} is {each.now} in the settings now; the run goes on with its own, {each.of_run}."
        for each in changed(stored, now, flags)
    )
    return own, remarks


def _reopen(folder: Path, now: Settings, flags: Mapping[str, Any], terms: Terms, turn: Turn) -> tuple[Prepared, Client]:
    moment = terms.wall_clock()
    opened = open_run(folder, moment)
    with ExitStack() as resources:
        resources.enter_context(opened.resources)
        _require_unfinished(opened, "there is nothing to go on with")
        settings, remarks = settings_for(opened, now, flags)
        _require_trust(opened, settings)
        client = client_for(settings, wall_clock=terms.wall_clock)
        earlier = _earlier(opened)
        log = resources.enter_context(RunLog(folder, run_id=opened.info.run_id, level=settings.log_level))
        terms.stop.check()
        info = replace(
            opened.info, resumed_at=moment, by=now.by or opened.info.by, reason=now.reason or opened.info.reason
        )
        # From here on the journal says that it runs: if this process dies, its rows are in doubt once more.
        opened.journal.note(
            {"state": RunState.RUNNING, "resumed_at": repr(moment), "by": info.by, "reason": info.reason, GUARDED: ""}
        )
        close_to_others(folder)
        forget_presentation(folder)
        point_latest_to(folder)
        prepared = Prepared(
            folder=folder,
            info=info,
            columns=opened.columns,
            settings=settings,
            journal=opened.journal,
            log=log,
            earlier=earlier,
            turn=turn,
            remarks=(*remarks, *network_remarks(folder.parent, opened.network)),
            resources=resources.pop_all(),
            sample=sample_of(opened.head),
            selected=selected_by(settings.only, folder, opened.columns),
            # Where nothing has been recorded yet, perhaps nobody has looked at the values either.
            profile=None if earlier.tally.recorded else profile_of(opened.head),
            earlier_profiles=() if info.undo_of else tuple(turn.ledger.profiles(turn.system)),
        )
    turn.tell(info.run_id, ending_at(moment, info.rows - earlier.tally.recorded, settings))
    return prepared, client


def _earlier(opened: Opened) -> Earlier:
    tally = Tally()
    for outcome in opened.journal.outcomes():
        tally.add(outcome)
    return Earlier(
        tally=tally,
        settled=RowNumbers(opened.journal.settled()),
        doubted=RowNumbers(opened.journal.doubted()),
        doubted_at=opened.ending.finished_at,
        requests=opened.ending.requests,
    )


def _require_unfinished(opened: Opened, consequence: str) -> None:
    if opened.ending.state not in UNFINISHED:
        raise RunNotFoundError(f"{opened.folder} is {opened.ending.state}: {consequence}.")


def _require_trust(opened: Opened, settings: Settings) -> None:
    if opened.ending.is_guarded and not settings.no_guard:
        raise HeldError(_HELD.format(folder=opened.folder, why=opened.ending.stop_reason))


def _reported(opened: Opened, wanted: Presentation, proceed: Callable[[], None] = lambda: None) -> Run:
    summary, remarks = rewrite_reports(opened, wanted, proceed=proceed)
    return Run(folder=opened.folder, summary=summary, exit_code=ExitCode.DONE, remarks=remarks)
