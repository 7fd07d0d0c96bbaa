"""What a journal's head says of a run: written when it begins and ends, read by whoever goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from bulkredeem.application.planning import Plan
from bulkredeem.columns import ColumnMap
from bulkredeem.profile import Profile
from bulkredeem.summary import Ending, RunInfo, RunState

JOURNAL: Final = "journal.sqlite"
"""Its name in the run's folder."""
SNAPSHOT_SHA256: Final = "snapshot_sha256"
"""A journal of version 1 has no such key, and knows neither the run's reach nor the rows left in doubt."""

GUARDED: Final = "guarded"
"""The key that says, with any word, that a guard has stopped the run, or that a person was asked and has not agreed."""
PROFILE: Final = "profile"
"""The key of what the run's values look like, as JSON."""
_SINCE_THE_BEGINNING: Final = (
    *("version", "run_id", "path", "sha256", SNAPSHOT_SHA256, "rows", "ignored", "started_at", "as_of", "knew_at"),
    *("retry_of", "undo_of", "environment", "host", "user", "columns", "sample", PROFILE),
)
"""The keys of a head, beside the settings, that are written once."""


def head_of(info: RunInfo, columns: ColumnMap, settings: Mapping[str, Any], snapshot_sha256: str) -> dict[str, str]:
    """Return what a journal must hold to tell, later and alone, what the run is."""
    return {
        "version": info.version,
        "run_id": info.run_id,
        "path": info.path,
        "sha256": info.sha256,
        SNAPSHOT_SHA256: snapshot_sha256,
        "rows": str(info.rows),
        "ignored": str(info.ignored),
        "started_at": repr(info.started_at),
        "as_of": "" if info.as_of is None else repr(info.as_of),
        "knew_at": "" if info.knew_at is None else repr(info.knew_at),
        "retry_of": info.retry_of,
        "undo_of": info.undo_of,
        "environment": info.environment,
        "host": info.host,
        "user": info.user,
        "by": info.by,
        "reason": info.reason,
        "columns": orjson.dumps(dict(columns.used)).decode(),
        "settings": orjson.dumps(dict(settings)).decode(),
        "state": RunState.RUNNING,
    }


def beginning_of(head: Mapping[str, str]) -> dict[str, str]:
    """Return what a head holds since the run began, and nothing changes: settings, columns, plan, and what was run.

    Raises KeyError for a head without settings.
    """
    return {key: head[key] for key in ("settings", *_SINCE_THE_BEGINNING) if key in head or key == "settings"}


def info_of(head: Mapping[str, str]) -> RunInfo:
    """Return what a head says of the run. Raises KeyError and ValueError for a head that is none."""
    return RunInfo(
        run_id=head["run_id"],
        path=head["path"],
        sha256=head["sha256"],
        rows=int(head["rows"]),
        ignored=int(head.get("ignored", "0")),
        started_at=float(head["started_at"]),
        as_of=_moment(head.get("as_of")),
        knew_at=_moment(head.get("knew_at")),
        retry_of=head.get("retry_of", ""),
        resumed_at=_moment(head.get("resumed_at")),
        environment=head.get("environment", ""),
        undo_of=head.get("undo_of", ""),
        version=head.get("version", ""),
        host=head.get("host", ""),
        user=head.get("user", ""),
        by=head.get("by", ""),
        reason=head.get("reason", ""),
    )


def plan_notes(plan: Plan) -> dict[str, str]:
    """Return what a head holds of the first pass over the rows."""
    return {
        "sample": orjson.dumps(plan.sample).decode(),
        PROFILE: orjson.dumps(plan.profile.as_json_object()).decode(),
    }


def sample_of(head: Mapping[str, str]) -> tuple[int, ...]:
    """Return some sendable rows, spread over the file; none where an older journal does not tell."""
    return tuple(orjson.loads(head.get("sample", "[]")))


def profile_of(head: Mapping[str, str]) -> Profile | None:
    """Return what the run's values look like, or None where an older journal does not tell. Raises ValueError."""
    return Profile.from_json_object(orjson.loads(head[PROFILE])) if head.get(PROFILE) else None


def settings_of(head: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings a run began with, as they were stored."""
    stored: dict[str, Any] = orjson.loads(head["settings"])
    return stored


def columns_of(head: Mapping[str, str], headers: tuple[str, ...]) -> ColumnMap:
    """Return which of the snapshot's columns the run uses for what."""
    return ColumnMap(headers=headers, used=orjson.loads(head["columns"]))


def ending_of(head: Mapping[str, str]) -> Ending | None:
    """Return how the last stretch ended, or None when it never said so: it is under way, or it died."""
    state = RunState(head.get("state", RunState.RUNNING))
    if state is RunState.RUNNING:
        return None
    return Ending(
        state=state,
        finished_at=float(head["finished_at"]),
        requests=int(head["requests"]),
        exit_code=int(head["exit_code"]) if head["exit_code"] else None,
        stop_reason=head["stop_reason"],
        allowed=head.get("allowed", ""),
        is_guarded=bool(head.get(GUARDED)),
    )


def notes_of(ending: Ending) -> dict[str, str]:
    """Return an ending as the head holds it."""
    return {
        "state": ending.state,
        "stop_reason": ending.stop_reason,
        "finished_at": repr(ending.finished_at),
        "requests": str(ending.requests),
        "exit_code": "" if ending.exit_code is None else str(ending.exit_code),
        "allowed": ending.allowed,
        GUARDED: "yes" if ending.is_guarded else "",
    }


def _moment(text: str | None) -> float | None:
    return float(text) if text else None
