"""The run's log: JSON lines in `run.log`, for an engineer and for programs.

One line per outcome, with identifiers masked, and one per event of the run. No bodies, no secrets, no identifier of a
redemption or a customer: a row is named by its number. Lines are written together, with the commit groups of the
journal: a run that dies leaves what its last rows came to in neither.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import orjson
import structlog

from bulkredeem.errors import ReportError
from bulkredeem.model import Correction, Outcome
from bulkredeem.summary import iso_utc
from bulkredeem.verdict import Verdict
from bulkredeem.wholefile import descriptor_of

LOG: Final = "run.log"


class RunLog:
    """Writes one run's log; a context manager that owns the file."""

    def __init__(self, folder: Path, *, run_id: str, level: str) -> None:
        """Open `run.log` in the run's folder; `level` is `debug`, `info`, `warning` or `error`.

        Raises ReportError when it cannot be opened.
        """
        self._path = folder / LOG
        try:
            descriptor = descriptor_of(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            self._file = os.fdopen(descriptor, "ab")
        except OSError as exc:
            raise ReportError(f"{self._path} could not be opened: {exc.strerror or exc}.") from exc
        self._lines = _Lines(self._path, self._file)
        self._run_id = run_id
        least = logging.getLevelNamesMapping()[level.upper()]
        self._tells_outcomes = least <= logging.INFO
        self._tells_attempts = least <= logging.DEBUG
        self._logger = structlog.wrap_logger(
            self._lines,
            wrapper_class=structlog.make_filtering_bound_logger(least),
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(serializer=orjson.dumps),
            ],
            cache_logger_on_first_use=True,
        ).bind(run_id=run_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Each line was flushed, or its error told; this tries once more to write what the disk did not take.
        with suppress(ReportError):
            self.flush()
        with suppress(OSError):
            self._file.close()

    def flush(self) -> None:
        """Write the lines that wait. Raises ReportError when the disk does not take them."""
        self._lines.flush()

    def event(self, name: str, **facts: str | float | None) -> None:
        """Log something about the run as a whole, at once."""
        self._logger.info(name, **facts)
        self.flush()

    def failure(self, name: str, error: BaseException) -> None:
        """Log an error of ours with its traceback, without the values of variables, at once."""
        self._logger.error(name, error=type(error).__name__, traceback=_frames(error))
        self.flush()

    def outcome(self, outcome: Outcome) -> None:
        """Log the verdict on a row.

        Written as the logger would write it, and not by it: there is one for each row, and the way through structlog
        costs more than all else that is done about its outcome.
        """
        if not self._tells_outcomes:
            return
        line = {
            "run_id": self._run_id,
            "row_number": outcome.row_number,
            "status": outcome.status,
            "error_code": outcome.error_code,
            "reason": outcome.reason,
            "http_status": outcome.http_status,
            "attempts": outcome.attempts,
            "request_id": outcome.request_id,
            "event": "outcome",
            "level": "info",
            "timestamp": iso_utc(outcome.finished_at),
        }
        self._lines.msg(orjson.dumps(line))

    def attempt(self, correction: Correction, number: int, verdict: Verdict) -> None:
        """Log one try of a row; only the code, since the message may hold identifiers."""
        if not self._tells_attempts:
            return
        self._logger.debug(
            "attempt",
            row_number=correction.row_number,
            attempt=number,
            verdict=verdict.status,
            error_code=verdict.code,
            repeat=verdict.repeat,
            throttled=verdict.throttled,
        )


class _Lines:
    """Holds finished lines until they are written together, whole ones only."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._waiting: list[bytes] = []

    def msg(self, line: bytes) -> None:
        """Take a line; as structlog wants it."""
        self._waiting.append(line)

    debug = info = warning = error = msg

    def flush(self) -> None:
        """Write all that wait; what the disk does not take goes on waiting."""
        if not self._waiting:
            return
        try:
            self._file.write(b"\n".join([*self._waiting, b""]))
            self._file.flush()
        except OSError as exc:
            raise ReportError(f"{self._path} could not be written: {exc.strerror or exc}.") from exc
        self._waiting.clear()


def _frames(error: BaseException) -> list[str]:
    """Return where an error came from, innermost last; neither its text nor any value, which may be a secret."""
    frames = []
    trace = error.__traceback__
    while trace:
        code = trace.tb_frame.f_code
        frames.append(f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return frames
