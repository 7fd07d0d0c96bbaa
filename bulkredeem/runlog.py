"""The run's log: JSON lines in `run.log`, for an engineer and for programs.

One line per outcome, with identifiers masked, and one per event of the run. No bodies, no secrets, no identifier of a
redemption or a customer: a row is named by its number.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

import orjson
import structlog

from bulkredeem.errors import ReportError
from bulkredeem.model import Correction, Outcome
from bulkredeem.verdict import Verdict

LOG: Final = "run.log"


class RunLog:
    """Writes one run's log; a context manager that owns the file."""

    def __init__(self, folder: Path, *, run_id: str, level: str) -> None:
        """Open `run.log` in the run's folder; `level` is `debug`, `info`, `warning` or `error`.

        Raises ReportError when it cannot be opened.
        """
        self._path = folder / LOG
        try:
            self._file = self._path.open("ab")
        except OSError as exc:
            raise ReportError(f"{self._path} could not be opened: {exc.strerror or exc}.") from exc
        self._logger = structlog.wrap_logger(
            _Lines(self._path, self._file),
            wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
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
        # Each line was flushed, or its error told; closing tries once more to write what the disk did not take.
        with suppress(OSError):
            self._file.close()

    def event(self, name: str, **facts: str | float | None) -> None:
        """Log something about the run as a whole."""
        self._logger.info(name, **facts)

    def failure(self, name: str, error: BaseException) -> None:
        """Log an error of ours with its traceback, without the values of variables."""
        self._logger.error(name, error=type(error).__name__, traceback=_frames(error))

    def outcome(self, outcome: Outcome) -> None:
        """Log the verdict on a row."""
        self._logger.info(
            "outcome",
            row_number=outcome.row_number,
            status=outcome.status,
            error_code=outcome.error_code,
            reason=outcome.reason,
            http_status=outcome.http_status,
            attempts=outcome.attempts,
            request_id=outcome.request_id,
        )

    def attempt(self, correction: Correction, number: int, verdict: Verdict) -> None:
        """Log one try of a row; only the code, since the message may hold identifiers."""
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
    """Writes finished lines to the file; structlog's own loggers let a full disk's error through as it is."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file

    def msg(self, line: bytes) -> None:
        """Write one line, at once, so that a run that dies leaves it behind."""
        try:
            self._file.write(line + b"\n")
            self._file.flush()
        except OSError as exc:
            raise ReportError(f"{self._path} could not be written: {exc.strerror or exc}.") from exc

    debug = info = warning = error = msg


def _frames(error: BaseException) -> list[str]:
    """Return where an error came from, innermost last; neither its text nor any value, which may be a secret."""
    frames = []
    trace = error.__traceback__
    while trace:
        code = trace.tb_frame.f_code
        frames.append(f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return frames
