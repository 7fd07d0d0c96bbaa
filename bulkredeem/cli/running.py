"""The commands that send: `run`, `resume` and `retry`; signals, and what a person sees of each run."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console

from bulkredeem.application import (
    Choice,
    Run,
    Shelved,
    Terms,
    at_its_system,
    find_run,
    is_known,
    left_alone,
    newest_in,
    pace_of,
    require_free,
    require_libraries,
    resume_run,
    retry_run,
    run_file,
    runs_in,
    stop_at,
    turn_of,
    undo_run,
    unfinished_in,
    until_arrived,
)
from bulkredeem.cli.asking import asker_for, find_password
from bulkredeem.cli.ending import show_ending
from bulkredeem.cli.noticing import Night, told_if_it_cannot_start
from bulkredeem.cli.progress import Display, Silent, observer_for
from bulkredeem.cli.streams import complain, write_json_line
from bulkredeem.cli.terminal import make_console, say
from bulkredeem.errors import (
    BulkRedeemError,
    BusyError,
    ConfigurationError,
    DeadlineError,
    DeclinedError,
    ExitCode,
    HeldError,
    InputFileError,
    OtherSystemError,
    OutageError,
    RunNotFoundError,
    SignalledError,
    Stopping,
)
from bulkredeem.model import DONE
from bulkredeem.moments import deadline_moment
from bulkredeem.processor import Stop
from bulkredeem.settings import Settings
from bulkredeem.summary import UNFINISHED, RunState, Typed, counted

_SIGNALS: Final = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
"""What drains a run, if whoever started it (nohup, say) does not have it ignored; and how a person calls it."""
_GOES_ON_AFTER: Final = frozenset({ExitCode.DONE, ExitCode.NOT_ALL_DONE, ExitCode.COULD_NOT_START, ExitCode.BUSY})

_MakeTerms = Callable[..., Terms]
"""Takes the `observer` of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One run of a command."""

    name: str
    """What a person calls it."""
    carry_out: Callable[[Terms], Awaitable[Run | None]]
    """Returns None when there was nothing to do."""
    path: Path | None = None
    """The file that it takes in, or None. That must be done even when it is too late to send any of it tonight."""


async def run_files(files: Sequence[Path], settings: Settings, flags: Mapping[str, Any], typed: Typed) -> ExitCode:
    """Run the files one after another, and return the highest exit code; some codes stop the rest.

    What earlier runs left is finished too, before or after, if the settings say so. `flags` are the options that were
    given, and `typed` how they looked.
    """
    command = _Command(settings, typed)
    steps = [_Step(name=str(path), carry_out=command.run_of(path), path=path) for path in files]
    backlog: list[_Step] = []
    if settings.resume_unfinished:
        # All runs of a command share the pace of the key, so that its rate counts for what is gone on with, too.
        asked = {**flags, "rate": settings.rate}
        backlog = [
            _Step(name=str(run.folder), carry_out=partial(resume_run, run.folder, settings, asked))
            for run in command.unfinished_runs()
        ]
    in_order = (backlog, steps) if settings.backlog == "first" else (steps, backlog)
    return await command.carry_out_all(*in_order)


async def go_on(
    name: str | None, settings: Settings, flags: Mapping[str, Any], typed: Typed, *, if_any: bool
) -> ExitCode:
    """Go on with the run of this name, or with the oldest unfinished one; without any, be content only `if_any`."""
    async with told_if_it_cannot_start(settings, typed):
        console = make_console(on_stderr=settings.json_summary)
        folder = _unfinished(settings.reports, console) if name is None else find_run(settings.reports, name)
        if folder is None and if_any:
            say(console, f"There is no unfinished run in {settings.reports}.")
            return ExitCode.DONE
        if folder is None:
            raise _nothing_to_go_on_with(settings.reports)
        command = _command_over(folder, settings, typed)
    step = _Step(name=str(folder), carry_out=partial(resume_run, folder, settings, flags))
    code = await command.carry_out_all([step])
    if name is None and code in _GOES_ON_AFTER:
        command.tell_of_more()
    return code


def _unfinished(reports: Path, console: Console) -> Path | None:
    """Return the oldest unfinished run, or None; one that a guard has stopped keeps no other waiting."""
    unfinished = _of_this_user([run for run in runs_in(reports) if run.is_unfinished], console)
    return next((run.folder for run in sorted(unfinished, key=lambda run: run.is_held)), None)


def _of_this_user(runs: Sequence[Shelved], console: Console) -> list[Shelved]:
    """Return the runs that may be gone on with unasked; tell of the others."""
    for remark in left_alone(runs):
        say(console, remark)
    return [run for run in runs if not run.stranger]


def _nothing_to_go_on_with(reports: Path) -> BulkRedeemError:
    """Return what says why there is no unfinished run: somebody works on it, or it is not there."""
    busy = next((run for run in runs_in(reports) if run.owner), None)
    if busy and busy.owner:
        return BusyError(f"{busy.folder} is being worked on by {busy.owner.in_words()}; no other run is unfinished.")
    return RunNotFoundError(f"There is no unfinished run in {reports}.")


async def try_again(
    name: str | None, settings: Settings, flags: Mapping[str, Any], choice: Choice, typed: Typed
) -> ExitCode:
    """Run the rows again that the run of this name, or the newest one, left."""
    done = sorted(choice.statuses & DONE)
    if done:
        raise ConfigurationError(f"--status {done[0]}: such rows are done, and nothing sends them again.")
    async with told_if_it_cannot_start(settings, typed):
        folder = newest_in(settings.reports) if name is None else find_run(settings.reports, name)
        command = _command_over(folder, settings, typed)

    async def retry(terms: Terms) -> Run | None:
        return await retry_run(folder, settings, flags, choice, terms)

    return await command.carry_out_all([_Step(name=str(folder), carry_out=retry)])


async def take_back(name: str, settings: Settings, flags: Mapping[str, Any], typed: Typed) -> ExitCode:
    """Set back what the run of this name has set."""
    async with told_if_it_cannot_start(settings, typed):
        folder = find_run(settings.reports, name)
        command = _command_over(folder, settings, typed)
    step = _Step(name=f"the undo of {folder}", carry_out=partial(undo_run, folder, settings, flags))
    return await command.carry_out_all([step])


def _command_over(folder: Path, settings: Settings, typed: Typed) -> _Command:
    """Return the command that works on a run which is there already, and which nobody else works on."""
    require_free(folder)
    return _Command(at_its_system(folder, settings), typed, shares_pace=False)


class _Command:
    """What the runs of one command share: the wish to stop, the pace, which belongs to the key, and the deadline."""

    def __init__(self, settings: Settings, typed: Typed, *, shares_pace: bool = True) -> None:
        self.console = make_console(on_stderr=settings.json_summary)
        self._stop = Stop()
        self._shares_pace = shares_pace
        self._deadline = deadline_moment(settings.deadline, time.time()) if shares_pace and settings.deadline else None
        self._settings = settings
        self._typed = typed
        self._night = Night(settings, typed)
        self._display: Display = Silent()
        self._ask = asker_for(settings, self.console, self._stop, lambda: self._display)
        self._not_come: dict[Path, InputFileError] = {}
        self._code = self._worst = ExitCode.DONE
        self._left: list[str] = []

    def unfinished_runs(self) -> list[Shelved]:
        """Return the runs that stopped early or died; tell of those that nobody can go on with."""
        is_open = UNFINISHED | {RunState.NOT_BEGUN, RunState.UNREADABLE}
        found = [run for run in runs_in(self._settings.reports) if run.state in is_open]
        runs = _of_this_user(found, self.console)
        for run in runs:
            if run.state is RunState.NOT_BEGUN:
                say(self.console, run.problem)
            if run.state is RunState.UNREADABLE:
                complain(run.problem)
                self._worst = max(self._worst, ExitCode.COULD_NOT_START)
        return [run for run in runs if run.is_unfinished]

    async def carry_out_all(self, *groups: Sequence[_Step]) -> ExitCode:
        """Carry out one run after another, and return the highest exit code.

        Files of a group are waited for before its turn is taken, so that nobody else waits for them, too.
        """
        with signals(self._stop, self.console):
            try:
                await self._carry_out_groups(groups)
            except BulkRedeemError as exc:
                self._night.failed(exc)
                await self._tell_others(exc.exit_code)
                raise
            except Exception as exc:
                self._night.failed(f"An error of ours ({type(exc).__name__}).")
                await self._tell_others(ExitCode.INTERNAL_ERROR)
                raise
            if self._left:
                say(self.console, f"Not begun: {', '.join(self._left)}.")
            await self._tell_others(self._worst)
        return self._worst

    async def _tell_others(self, code: ExitCode) -> None:
        """Tell those who do not watch how it ended; whoever presses Ctrl-C meanwhile does not want to wait for that."""
        with suppress(asyncio.CancelledError):
            await self._night.ended(code, self._left)

    async def _carry_out_groups(self, groups: Sequence[Sequence[_Step]]) -> None:
        """Carry out the runs of each group; the codes of those before decide whether the next may begin."""
        try:
            self._night.begin()
            require_libraries(self._settings)
            await find_password(self._settings, self._stop)
            self._settings.require_for_sending()
            await self._confirm([step.name for steps in groups for step in steps])
            async with self._deadline_kept():
                for steps in filter(None, groups):
                    coming = [step.path for step in steps if step.path and self._may_begin(step)]
                    await asyncio.gather(*map(self._await_file, coming))
                    async with self._shared_terms() as terms:
                        await self._carry_out_each(steps, terms)
        except Stopping:
            say(self.console, "Stopped before anything more was sent.")
            self._worst = max(self._worst, ExitCode.STOPPED_EARLY)
        except asyncio.CancelledError:
            say(self.console, "Stopped at once.")
            self._worst = max(self._worst, ExitCode.INTERRUPTED_AT_ONCE)

    @asynccontextmanager
    async def _deadline_kept(self) -> AsyncIterator[None]:
        """Ask for a stop when the command's deadline comes, whatever is waited for then."""
        timer = asyncio.create_task(stop_at(self._deadline, self._stop))
        try:
            yield
        finally:
            timer.cancel()

    async def _confirm(self, names: Sequence[str]) -> None:
        """Ask before anything goes to production, or to where nothing ever went; raise DeclinedError for a no."""
        settings = self._settings
        is_production = settings.environment.strip().casefold() == "production"
        if self._ask is None or settings.yes or settings.is_loopback or not names:
            return
        if is_production or not is_known(settings.reports, settings.base_url):
            system = settings.environment or "a system that nothing was ever sent to from here"
            question = f"{', '.join(names)}: to {system} ({settings.base_url} as {settings.username})?"
            if not await self._ask(question):
                raise DeclinedError("Nothing was sent.")

    def run_of(self, path: Path) -> Callable[[Terms], Awaitable[Run]]:
        """Return what runs a file, which has been waited for by then."""

        async def run(terms: Terms) -> Run:
            if error := self._not_come.get(path):
                raise error
            return await run_file(path, self._settings.model_copy(update={"wait_for_file": ""}), terms)

        return run

    async def _await_file(self, path: Path) -> None:
        """Wait for a file before the turn is taken: nobody else is to wait for it, too."""
        try:
            await until_arrived(path, self._settings, Terms(stop=self._stop, observer=self._new_display()))
        except InputFileError as exc:
            self._not_come[path] = exc
        except Stopping:
            pass  # whoever carries out the run says so

    def _new_display(self) -> Display:
        return observer_for(self.console, quiet=self._settings.quiet)

    async def _carry_out_each(self, steps: Sequence[_Step], terms: _MakeTerms) -> None:
        """Carry out the runs of a group, as long as the codes of those before allow it."""
        for step in steps:
            if self._may_begin(step):
                self._code = await self._carry_out(step, terms)
                self._worst = max(self._worst, self._code)
                if isinstance(cause := self._stop.cause, OutageError) and cause.may_be_the_rows:
                    # One or two rows that the platform never answers must not keep all later nights waiting.
                    self._stop.withdraw()
                    self._code = ExitCode.STOPPED_EARLY if self._stop.requested else ExitCode.NOT_ALL_DONE
            else:
                self._left.append(step.name)

    def _may_begin(self, step: _Step) -> bool:
        """Say whether the last run's code lets the next begin; to take a file in it is never too late."""
        return self._code in _GOES_ON_AFTER or (self._code is ExitCode.DEADLINE and step.path is not None)

    @asynccontextmanager
    async def _shared_terms(self) -> AsyncIterator[_MakeTerms]:
        """Give what makes the terms of each run: with one turn, and one pace for all of them, if they have one rate."""
        terms = partial(Terms, stop=self._stop, deadline=self._deadline, ask=self._ask, typed=self._typed)
        own = terms(observer=self._new_display())
        async with turn_of(self._settings.reports, self._settings, own) as turn:
            terms = partial(terms, turn=turn)
            if not self._shares_pace:
                yield terms
                return
            with pace_of(self._settings, sleep=self._stop.sleep) as (pace, remarks):
                yield partial(terms, pace=pace, remarks=remarks)

    def tell_of_more(self) -> None:
        """Say that there are more unfinished runs, if there are."""
        more = len(unfinished_in(self._settings.reports))
        if more:
            say(self.console, f"{counted(more, 'run')} more to go on with: bulkredeem resume")

    async def _carry_out(self, step: _Step, terms: _MakeTerms) -> ExitCode:
        """Carry out one run, show how it ended, and return its exit code."""
        settings, console = self._settings, self.console
        self._display = self._new_display()
        try:
            with self._display:
                run = await step.carry_out(terms(observer=self._display))
        except (HeldError, OtherSystemError) as exc:
            return self._leave_alone(exc)
        except BulkRedeemError as exc:
            if isinstance(exc, Stopping):
                return self._stopped_before(step)
            complain(exc)
            self._night.failed(exc)
            return exc.exit_code
        except asyncio.CancelledError:
            say(console, "Stopped at once. What was recorded is in the run's journal; the rest is pending.")
            return ExitCode.INTERRUPTED_AT_ONCE
        if run is None:
            say(console, f"{step.name} has no row left that this would try again.")
            return ExitCode.DONE
        show_run(console, run, settings, self._typed)
        self._night.ran(run)
        return run.exit_code

    def _stopped_before(self, step: _Step) -> ExitCode:
        """Tell of a run that was to be gone on with when the stop came; after a deadline the next file is taken in."""
        if isinstance(self._stop.cause, DeadlineError):
            say(self.console, f"The deadline came before anything more of {step.name} was sent.")
            return ExitCode.DEADLINE
        say(self.console, f"Stopped before anything of {step.name} was sent.")
        return ExitCode.STOPPED_EARLY

    def _leave_alone(self, error: HeldError | OtherSystemError) -> ExitCode:
        """Tell of an unfinished run that is not to be gone on with; only a command that was meant for it fails."""
        if self._settings.resume_unfinished:
            say(self.console, f"Left alone: {error}")
            return ExitCode.DONE
        complain(error)
        self._night.failed(error)
        return error.exit_code


def show_run(console: Console, run: Run, settings: Settings, typed: Typed) -> None:
    """Show how a run ended, to a person and, if so wanted, to a program."""
    show_ending(console, run, quiet=settings.quiet, typed=typed)
    if settings.json_summary:
        write_json_line(orjson.dumps(run.summary.as_json_object()))


@contextmanager
def signals(stop: Stop, console: Console) -> Iterator[None]:
    """Let the first signal drain the run, and a Ctrl-C after that end it at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    told = False

    def drain(name: str) -> None:
        nonlocal told
        if told and name == "Ctrl-C" and task is not None:
            task.cancel()
        elif not told:
            # Told even if the run drains already for a reason of its own: who presses once has not asked to cut it off.
            told = True
            stop.request(SignalledError(name))
            say(console, f"{name}: finishing what is under way, starting nothing new. Ctrl-C again stops at once.")

    handled = {number: name for number, name in _SIGNALS.items() if signal.getsignal(number) != signal.SIG_IGN}
    for number, name in handled.items():
        loop.add_signal_handler(number, drain, name)
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
