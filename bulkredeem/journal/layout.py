"""How a journal lies in its file: the tables of each version, and a value as a record of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import orjson

from bulkredeem.counters import Counters
from bulkredeem.errors import JournalUnreadableError
from bulkredeem.journal.examining import DAMAGED
from bulkredeem.model import Outcome, Status

_DOUBTED: Final = "CREATE TABLE doubted (row_number INTEGER PRIMARY KEY);"
_PLANNED: Final = """
CREATE TABLE planned (
    row_number INTEGER PRIMARY KEY,
    status     TEXT NOT NULL,
    error_code TEXT NOT NULL,
    message    TEXT NOT NULL
);
"""
_PREVIOUS: Final = """
CREATE TABLE previous (
    row_number INTEGER NOT NULL,
    field      TEXT NOT NULL,
    value      TEXT NOT NULL,
    PRIMARY KEY (row_number, field)
) WITHOUT ROWID;
"""
_COUNTERS: Final = """
CREATE TABLE counters (
    ended_at REAL NOT NULL,
    counted  TEXT NOT NULL
);
"""
SCHEMA: Final = f"""
CREATE TABLE head (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE outcome (
    row_number    INTEGER PRIMARY KEY,
    status        TEXT NOT NULL,
    error_code    TEXT NOT NULL,
    error_message TEXT NOT NULL,
    reason        TEXT NOT NULL,
    warnings      TEXT NOT NULL,
    http_status   INTEGER,
    attempts      INTEGER NOT NULL,
    request_id    TEXT NOT NULL,
    finished_at   REAL NOT NULL,
    alias         TEXT NOT NULL DEFAULT '',
    kept          TEXT NOT NULL DEFAULT ''
);
{_DOUBTED}
{_PLANNED}
{_PREVIOUS}
{_COUNTERS}
"""
UPGRADES: Final = {
    1: _DOUBTED,
    2: f"""
ALTER TABLE outcome ADD COLUMN alias TEXT NOT NULL DEFAULT '';
ALTER TABLE outcome ADD COLUMN kept TEXT NOT NULL DEFAULT '';
{_PLANNED}
{_PREVIOUS}
""",
    3: _COUNTERS,
}
"""What makes the next version of one."""
SINCE_DOUBTED: Final = 2
SINCE_PLANNED: Final = 3
SINCE_COUNTERS: Final = 4
"""The versions that brought the tables."""


def as_record(outcome: Outcome) -> tuple[object, ...]:
    """Return an outcome as the table holds it."""
    return (
        outcome.row_number,
        outcome.status,
        outcome.error_code,
        outcome.error_message,
        outcome.reason,
        orjson.dumps(outcome.warnings).decode() if outcome.warnings else "",
        outcome.http_status,
        outcome.attempts,
        outcome.request_id,
        outcome.finished_at,
        outcome.alias,
        orjson.dumps(outcome.kept).decode() if outcome.kept else "",
    )


def as_counted(counters: Counters) -> tuple[float, str]:
    """Return counters as the table holds them."""
    return counters.ended_at, orjson.dumps(counters.as_json_object()).decode()


def outcome_of(record: tuple[Any, ...], path: Path) -> Outcome:
    """Return what a record of the journal at this path says. Raises JournalUnreadableError when that is no outcome."""
    number, status, code, message, reason, warnings, http_status, attempts, request_id, finished_at, *later = record
    alias, kept = later
    try:
        return Outcome(
            row_number=number,
            status=Status(status),
            error_code=code,
            error_message=message,
            reason=reason,
            warnings=tuple(orjson.loads(warnings)) if warnings else (),
            http_status=http_status,
            attempts=attempts,
            request_id=request_id,
            finished_at=finished_at,
            alias=alias,
            kept=tuple(orjson.loads(kept)) if kept else (),
        )
    except (TypeError, ValueError) as exc:
        what = f"row {number} has a verdict that is none"
        raise JournalUnreadableError(DAMAGED.format(path=path, what=what)) from exc
