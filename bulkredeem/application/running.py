"""A run's stages: prepare (folder, snapshot, journal; nothing is sent yet), deliver, report.

Whatever ends the delivery, the reports are written from what the journal holds.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import orjson

from bulkredeem import __version__
from bulkredeem.application.intake import SNAPSHOT, judged_rows, seconds_for, take_in
from bulkredeem.application.recorder import Recorder
from bulkredeem.client import Client, basic_authorization
from bulkredeem.columns import ColumnMap
from bulkredeem.delivery import Delivery
from bulkredeem.errors import BulkRedeemError, ConfigurationError, ExitCode, JournalError, SignalledError, Stopping
from bulkredeem.journal import Journal
from bulkredeem.loader import Intake
from bulkredeem.model import Outcome, Rate, Status
from bulkredeem.pace import Pace
from bulkredeem.processor import Pool, Stop
from bulkredeem.report import make_run_folder, point_latest_to, write_results, write_summary
from bulkredeem.runlog import RunLog
from bulkredeem.settings import Settings
from bulkredeem.summary import Ending, RunInfo, RunState, Summary, Tally, exit_code_of

JOURNAL: Final = "journal.sqlite"


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """What somebody who watches a run may ask at any time."""

    requests: Callable[[], int]
    """Tries on the wire so far."""
    paused_for: Callable[[], float]
    """Seconds that nothing will be sent because the platform asked for it; 0.0 usually."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A run whose file was read, before its first request."""

    info: RunInfo
    columns: ColumnMap
    folder: Path
    """Where its reports will lie."""
    seconds: float | None
    """How long it takes at the configured rate if every row is sent once; None without a limit."""
    live: Live


class Observer(Protocol):
    """Somebody who watches a run; called on the event loop, so it must be quick and must not raise."""

    def started(self, start: Start) -> None:
        """Take note that the file was read and delivery begins."""

    def recorded(self, outcome: Outcome) -> None:
        """Take note of a row's outcome."""

    def paused(self, seconds: float) -> None:
        """Take note that the platform makes everything wait for so long from now."""

    def delivered(self) -> None:
        """Take note that nothing is sent any more and the reports are being written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that has ended, and where it lies."""

    folder: Path
    summary: Summary
    exit_code: ExitCode


async def run_file(
    path: Path,
    settings: Settings,
    *,
    stop: Stop,
    observer: Observer,
    pace: Pace | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> Run:
    """Run one file to its end, or to a stop, and return what happened.

    Runs with the same key share a `pace`, which the settings' rate is meant for; None makes one for this run alone.
    Before anything was sent it raises ConfigurationError, InputFileError or ReportsFolderError, JournalError or
    ReportError for a disk that takes no more, and `Stopping` when a stop was asked for by then; no folder is left
    behind. Later, whatever happens ends in a `Run`; only being cancelled is passed on, after the summary was written.
    """
    client = _client(settings)
    pace = pace or Pace(Rate.parse(settings.rate), sleep=stop.sleep)
    prepared = await asyncio.to_thread(_prepare, path, settings, stop, wall_clock())
    with closing(prepared.journal), prepared.log:
        return await _Runner(prepared, client, pace, settings, stop, observer, wall_clock).run()


def _client(settings: Settings) -> Client:
    """Return the client these settings want; raise ConfigurationError with all that is missing for one."""
    settings.require_for_sending()
    password = settings.resolve_password().get_secret_value()
    try:
        authorization = basic_authorization(settings.username, password)
    except UnicodeEncodeError:
        # From None: the error holds the password.
        raise ConfigurationError("The user name or the password is not UTF-8 text.") from None
    return Client(
        settings.base_url,
        authorization,
        timeout=settings.timeout,
        max_connections=settings.max_workers,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A run before its first request."""

    folder: Path
    info: RunInfo
    columns: ColumnMap
    journal: Journal
    log: RunLog


def _prepare(path: Path, settings: Settings, stop: Stop, now: float) -> _Prepared:
    """Make the run's folder, snapshot, journal and log; leave no folder behind when that does not work out."""
    run_id = f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
    folder = make_run_folder(settings.reports, run_id)
    with ExitStack() as undoing:
        undoing.callback(shutil.rmtree, folder, ignore_errors=True)
        intake = take_in(path, folder, settings, stop.check)
        info = RunInfo(run_id=run_id, path=_as_text(path), sha256=intake.sha256, rows=intake.rows, started_at=now)
        journal = undoing.enter_context(closing(Journal.create(folder / JOURNAL, _head(info, intake, settings))))
        log = undoing.enter_context(RunLog(folder, run_id=run_id, level=settings.log_level))
        write_summary(folder, Tally().summary(info))
        stop.check()
        undoing.pop_all()
    point_latest_to(folder)
    return _Prepared(folder=folder, info=info, columns=intake.columns, journal=journal, log=log)


def _as_text(path: Path) -> str:
    """Write a path as text that every report can hold: a file name may be any bytes."""
    return os.fsencode(path).decode(errors="replace")


def _head(info: RunInfo, intake: Intake, settings: Settings) -> dict[str, str]:
    """Return what the journal must hold to tell, later and alone, what the run is."""
    return {
        "version": __version__,
        "run_id": info.run_id,
        "path": info.path,
        "sha256": info.sha256,
        "rows": str(info.rows),
        "started_at": repr(info.started_at),
        "columns": orjson.dumps(dict(intake.columns.used)).decode(),
        "settings": orjson.dumps(settings.public()).decode(),
    }


class _Runner:
    """Delivers one prepared run, and ends it."""

    def __init__(
        self,
        prepared: _Prepared,
        client: Client,
        pace: Pace,
        settings: Settings,
        stop: Stop,
        observer: Observer,
        wall_clock: Callable[[], float],
    ) -> None:
        self._prepared = prepared
        self._client = client
        self._pace = pace
        self._settings = settings
        self._stop = stop
        self._observer = observer
        self._log = prepared.log
        self._wall_clock = wall_clock
        self._recorder = Recorder(prepared.journal, prepared.log, watch=observer.recorded, wall_clock=wall_clock)
        self._delivery = Delivery(
            client.update,
            pace,
            max_attempts=settings.max_attempts,
            sleep=stop.sleep,
            proceed=stop.check,
            wall_clock=wall_clock,
            on_attempt=prepared.log.attempt,
            on_pause=self._paused,
        )
        self._at_once = False

    async def run(self) -> Run:
        """Deliver, then report; on being cancelled, write only the summary and pass the cancellation on."""
        try:
            await self._deliver()
            tally, failure = await asyncio.to_thread(self._write_results)
            return self._end(tally, failure or self._stop.cause)
        except asyncio.CancelledError:
            self._at_once = True
            self._end(self._recorded(), self._stop.cause or SignalledError("cancelled"))
            raise

    async def _deliver(self) -> None:
        """Send until the rows or the wish to go on are used up; what goes wrong becomes the stop's cause."""
        info = self._prepared.info
        committer = asyncio.create_task(self._recorder.keep_committing(self._stop.request))
        try:
            self._log.event("started", path=info.path, sha256=info.sha256, rows=info.rows, version=__version__)
            async with self._client:
                self._observer.started(self._start())
                workers = self._settings.max_workers
                pool = Pool(self._delivery.deliver, self._recorder.record, stop=self._stop, max_workers=workers)
                await pool.run(judged_rows(self._prepared.folder, self._prepared.columns, self._settings))
        except Exception as exc:  # noqa: BLE001  whatever it is, what was recorded is reported
            self._stop.request(exc)
        finally:
            self._recorder.close()
            await committer
            await self._last_commit()
            self._tell_delivered()

    def _start(self) -> Start:
        prepared = self._prepared
        return Start(
            info=prepared.info,
            columns=prepared.columns,
            folder=prepared.folder,
            seconds=seconds_for(prepared.info.rows, self._settings),
            live=Live(requests=lambda: self._delivery.requests, paused_for=lambda: self._pace.paused_for),
        )

    def _paused(self, seconds: float) -> None:
        self._log.event("paused", seconds=round(seconds, 1))
        self._observer.paused(seconds)

    async def _last_commit(self) -> None:
        try:
            await self._recorder.commit()
        except Exception as exc:  # noqa: BLE001  what is durable by now is reported all the same
            self._stop.request(exc)

    def _tell_delivered(self) -> None:
        try:
            self._observer.delivered()
        except Exception as exc:  # noqa: BLE001  whoever watches is a stranger
            self._stop.request(exc)

    def _write_results(self) -> tuple[Tally, Exception | None]:
        """Write the results from the journal; when that fails, return what is known to be recorded and the failure."""
        folder = self._prepared.folder
        try:
            outcomes = self._prepared.journal.outcomes()
            return write_results(folder, folder / SNAPSHOT, outcomes, proceed=self._check_at_once), None
        except Exception as exc:  # noqa: BLE001  a damaged snapshot must not keep the ending from being told
            return self._recorded(), exc

    def _recorded(self) -> Tally:
        """Return the count of what is durable; the recorder's own holds what still waits, too."""
        journal = self._prepared.journal
        if not journal.waiting:
            return self._recorder.tally
        tally = Tally()
        with suppress(JournalError):
            for outcome in journal.outcomes():
                tally.add(outcome)
        return tally

    def _check_at_once(self) -> None:
        if self._at_once:
            raise Stopping

    def _end(self, tally: Tally, cause: BaseException | None) -> Run:
        """Write the ending down, and return the run as it is known then."""
        run = self._run_as_it_is(tally, cause)
        for write_down in (self._log_ending, self._note_ending, self._write_summary):
            try:
                write_down(run, cause)
            except Exception as exc:  # noqa: BLE001  the others are still told, and the process at least says so
                cause = cause if self._is_stopped(run.summary, cause) else exc
                run = self._run_as_it_is(tally, cause)
        return run

    def _run_as_it_is(self, tally: Tally, cause: BaseException | None) -> Run:
        summary = tally.summary(self._prepared.info)
        ending = self._ending(summary, cause)
        return Run(
            folder=self._prepared.folder,
            summary=replace(summary, ending=ending),
            exit_code=ExitCode(ending.exit_code),
        )

    def _log_ending(self, run: Run, cause: BaseException | None) -> None:
        if isinstance(cause, Exception) and not isinstance(cause, BulkRedeemError):
            self._log.failure("internal_error", cause)
        ending = _ending_of(run)
        self._log.event("ended", state=ending.state, stop_reason=ending.stop_reason, exit_code=ending.exit_code)

    def _note_ending(self, run: Run, _cause: BaseException | None) -> None:
        ending = _ending_of(run)
        self._prepared.journal.note(
            {
                "state": ending.state,
                "stop_reason": ending.stop_reason,
                "finished_at": repr(ending.finished_at),
                "requests": str(ending.requests),
                "exit_code": str(ending.exit_code),
            }
        )

    def _write_summary(self, run: Run, _cause: BaseException | None) -> None:
        write_summary(run.folder, run.summary)

    def _is_stopped(self, summary: Summary, cause: BaseException | None) -> bool:
        """Whether something was left undone; a stop that was asked for after the last row stopped nothing."""
        asked_for = isinstance(cause, SignalledError) and not self._at_once
        return cause is not None and not (asked_for and not summary.counts[Status.PENDING])

    def _ending(self, summary: Summary, cause: BaseException | None) -> Ending:
        stopped = self._is_stopped(summary, cause)
        if self._at_once:
            exit_code = ExitCode.INTERRUPTED_AT_ONCE
        else:
            exit_code = _exit_code_for(cause) if stopped else exit_code_of(summary.counts)
        return Ending(
            state=RunState.STOPPED if stopped else RunState.FINISHED,
            stop_reason=_words_for(cause) if stopped else "",
            finished_at=self._wall_clock(),
            requests=self._delivery.requests,
            exit_code=exit_code,
        )


def _ending_of(run: Run) -> Ending:
    assert run.summary.ending is not None  # noqa: S101  `_run_as_it_is` put it there
    return run.summary.ending


def _words_for(cause: BaseException | None) -> str:
    if isinstance(cause, BulkRedeemError):
        return str(cause)
    return f"an error of ours ({type(cause).__name__}); run.log says where"


def _exit_code_for(cause: BaseException | None) -> ExitCode:
    return cause.exit_code if isinstance(cause, BulkRedeemError) else ExitCode.INTERNAL_ERROR
