"""What is told of a run, and what is found of it: read from a copy of its journal, and derived elsewhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from bulkredeem import __version__
from bulkredeem.application.fingerprinting import (
    RECORDS,
    RESULT_FILES,
    SETTINGS,
    SHOWN_FILES,
    of_beginning,
    of_files,
    of_shown_files,
)
from bulkredeem.application.intake import SNAPSHOT
from bulkredeem.application.record import JOURNAL, SNAPSHOT_SHA256, ending_of, info_of
from bulkredeem.application.rows import RowNumbers
from bulkredeem.errors import JournalError, JournalUnreadableError
from bulkredeem.journal import Journal
from bulkredeem.report import SUMMARY, write_results
from bulkredeem.summary import Ending, RunInfo, RunState, Summary, Tally, mender_of_pending
from bulkredeem.wholefile import bytes_of, opened_bytes

_BLOCK: Final = 1 << 20
"""Bytes that are copied at once: about a millisecond's."""
_JOURNAL_FILES: Final = (JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}-journal")
_FILES: Final = (SNAPSHOT, *RESULT_FILES, *SHOWN_FILES, SUMMARY)
"""The files of a run that are looked at as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What is told of a run, and what is found."""

    folder: Path
    told: Mapping[str, Any] | None
    """What `summary.json` says, or None when it says nothing that can be read."""
    info: RunInfo
    ending: Ending | None
    """How it ended, as the journal knows it; None when it does not."""
    snapshot_sha256: str | None
    """What the journal's head says of the snapshot; None where an older one does not tell."""
    found: Mapping[str, str]
    """Hashes of what is there."""
    derived: Mapping[str, str]
    """Hashes that the result files would have if they were written now; empty when the snapshot is not what it was."""
    summary: Summary
    """What journal and snapshot come to."""
    links: frozenset[str] = frozenset()
    """Files in whose place a link stands, which is not followed."""

    @property
    def recorded(self) -> Mapping[str, str]:
        """Hashes that `summary.json` tells of this ending."""
        told = self.told.get("sha256") if self.told and self.is_of_this_ending else None
        return {name: each for name, each in told.items() if isinstance(each, str)} if isinstance(told, dict) else {}

    @property
    def is_of_this_ending(self) -> bool:
        """Whether the summary can be compared: not when the process died, and nobody wrote the reports since."""
        if self.ending is None or self.told is None:
            return False
        if self.ending.state is not RunState.CRASHED:
            return True
        now = self.summary.as_json_object()
        return all(self.told.get(key) == now[key] for key in ("state", "finished_at"))

    @property
    def is_hashed(self) -> bool:
        """Whether the run came to its end with everything recorded."""
        return RECORDS in self.recorded

    @property
    def is_of_this_version(self) -> bool:
        """Whether the version that began the run would write all as this one does."""
        return self.info.version == __version__


def told_by(path: Path) -> Mapping[str, Any] | None:
    """Return what a summary says, or None when it is missing, a link, or no JSON object."""
    try:
        told = orjson.loads(bytes_of(path))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


@contextmanager
def read_aside(folder: Path, aside: Path) -> Iterator[Journal]:
    """Open a copy of a run's journal: to read the original SQLite may have to write beside it.

    Raises JournalUnreadableError, also for what those meet who read it, and OSError.
    """
    for name in _JOURNAL_FILES:
        if os.path.lexists(folder / name):
            _copy(folder / name, aside / name)
    try:
        with closing(Journal.open_to_read(aside / JOURNAL)) as journal:
            yield journal
    except JournalError as exc:
        # The original is what is to be named.
        raise JournalUnreadableError(str(exc).replace(str(aside), str(folder))) from exc
    except (KeyError, TypeError, ValueError) as exc:
        words = f"{folder / JOURNAL} is no journal of a run ({type(exc).__name__}); it was left as it is."
        raise JournalUnreadableError(words) from exc


def _copy(path: Path, target: Path) -> None:
    try:
        with opened_bytes(path) as original, target.open("xb") as copy:
            shutil.copyfileobj(original, copy, _BLOCK)
    except OSError as exc:
        raise JournalUnreadableError(f"{path} cannot be read: {exc.strerror or exc}.") from exc


def gathered(folder: Path, journal: Journal, told: Mapping[str, Any] | None, aside: Path) -> Evidence:
    """Read all that is there of a run, and derive all that can be, into the folder `aside`.

    Raises JournalError, ReportError, and KeyError, TypeError or ValueError for a journal that makes no sense.
    """
    head = journal.head()
    info, ending = info_of(head), ending_of(head)
    links = frozenset(name for name in _FILES if (folder / name).is_symlink())
    found = {
        SETTINGS: of_beginning(head)[SETTINGS],
        RECORDS: journal.fingerprint(),
        **of_files(folder, (name for name in (SNAPSHOT, *RESULT_FILES) if name not in links)),
        **of_shown_files(folder),
    }
    snapshot_sha256 = head.get(SNAPSHOT_SHA256)
    derived: dict[str, str] = {}
    if SNAPSHOT in found and found[SNAPSHOT] == (snapshot_sha256 or found[SNAPSHOT]):
        tally = _written(folder / SNAPSHOT, journal, ending, aside)
        derived = of_files(aside, RESULT_FILES)
    else:
        tally = _tally_of(journal)
    return Evidence(
        folder=folder,
        told=told,
        info=info,
        ending=ending,
        snapshot_sha256=snapshot_sha256,
        found=found,
        derived=derived,
        summary=tally.summary(info, ending),
        links=links,
    )


def _tally_of(journal: Journal) -> Tally:
    tally = Tally()
    for outcome in journal.plain_outcomes():
        tally.add_all((outcome,))
    return tally


def _written(snapshot: Path, journal: Journal, ending: Ending | None, aside: Path) -> Tally:
    """Write the result files as they would be written now."""
    return write_results(
        aside,
        snapshot,
        journal.plain_outcomes(),
        is_doubted=RowNumbers(journal.doubted()).__contains__,
        of_pending=mender_of_pending(ending),
    )
