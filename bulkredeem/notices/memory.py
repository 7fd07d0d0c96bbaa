"""What is remembered between commands: how the last one ended, as people were told, and when all was well last.

A small file beside the runs; it is made anew when it is lost. A reports folder may serve several environments.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from bulkredeem.errors import BulkRedeemError
from bulkredeem.wholefile import bytes_of, make_folder, whole_text

MEMORY: Final = ".last-notice.json"
"""The file's name; with a dot in front, so that no one takes it for a report."""


class MemoryUnreadableError(BulkRedeemError):
    """The file is no longer what was written, so that nothing is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What is remembered of one environment."""

    exit_code: int | None = None
    """The last one that people know of, or None for none."""
    last_success_at: float | None = None
    """When a command last ended with exit 0, in seconds since the epoch; None for never."""


def recall(reports: Path, environment: str) -> Remembered:
    """Return what is remembered, nothing when there is no file. Raises MemoryUnreadableError."""
    kept = _read(reports).get(environment, {})
    return Remembered(exit_code=kept.get("exit_code"), last_success_at=kept.get("last_success_at"))


def remember(reports: Path, environment: str, remembered: Remembered) -> None:
    """Keep it until the next command; other environments stay as they are. Raises ReportError and OSError."""
    try:
        others = _read(reports)
    except MemoryUnreadableError:
        others = {}
    own = {"exit_code": remembered.exit_code, "last_success_at": remembered.last_success_at}
    with suppress(FileExistsError):
        make_folder(reports)
    with whole_text(reports / MEMORY) as file:
        file.write(orjson.dumps(others | {environment: own}).decode())


def _read(reports: Path) -> dict[str, dict[str, Any]]:
    path = reports / MEMORY
    try:
        kept = orjson.loads(bytes_of(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        raise _unreadable(path) from None
    if not isinstance(kept, dict) or not all(map(_makes_sense, kept.values())):
        raise _unreadable(path)
    return kept


def _makes_sense(own: object) -> bool:
    return (
        isinstance(own, dict)
        and isinstance(own.get("exit_code"), int | None)
        and isinstance(own.get("last_success_at"), int | float | None)
    )


def _unreadable(path: Path) -> MemoryUnreadableError:
    return MemoryUnreadableError(f"{path} cannot be read: how the last command ended is not known any more.")
