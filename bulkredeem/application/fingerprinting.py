"""The hashes of a run that its summary tells: what it began with, what it recorded, and the files made of that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from bulkredeem import fingerprints
from bulkredeem.application.intake import SNAPSHOT
from bulkredeem.application.record import SNAPSHOT_SHA256, beginning_of
from bulkredeem.errors import ReportError
from bulkredeem.journal import Journal
from bulkredeem.page import PAGE
from bulkredeem.report import RESULTS
from bulkredeem.summary import NOT_DONE
from bulkredeem.wholefile import opened_bytes
from bulkredeem.workbook import NOT_DONE_XLSX, RESULTS_XLSX

SETTINGS: Final = "settings"
"""What its journal's head holds since the run began: settings without secrets, columns, plan, and what was run."""
RECORDS: Final = "journal"
"""What the journal holds of the rows, in order."""
RESULT_FILES: Final = (RESULTS, NOT_DONE)
"""The reports that a program reads; they are the same whenever they are written."""
SHOWN_FILES: Final = (PAGE, RESULTS_XLSX, NOT_DONE_XLSX)
"""The reports that people look at; they may be written otherwise the next time."""


def of_run(
    folder: Path,
    journal: Journal,
    *,
    doubted: Iterable[int] | None = None,
    proceed: Callable[[], None] = lambda: None,
) -> dict[str, str]:
    """Return the hashes of a run whose result files have just been written, without those of what people look at.

    That of the snapshot is what it was when the run began. `doubted` are the rows that will be said to be in doubt, in
    order, if there will be others than now. Raises JournalError, ReportError, and what `proceed` raises to end it.
    """
    return {
        **of_beginning(journal.head()),
        RECORDS: journal.fingerprint(doubted=doubted, proceed=proceed),
        **of_files(folder, RESULT_FILES, proceed),
    }


def of_beginning(head: Mapping[str, str]) -> dict[str, str]:
    """Return the hashes that a journal's head tells. Raises KeyError and ValueError for a head that is none."""
    known = {SNAPSHOT: head[SNAPSHOT_SHA256]} if SNAPSHOT_SHA256 in head else {}
    return {SETTINGS: fingerprints.of_value(beginning_of(head)), **known}


def of_files(folder: Path, names: Iterable[str], proceed: Callable[[], None] = lambda: None) -> dict[str, str]:
    """Return the hashes of those of the files that are there. Raises ReportError when one cannot be read."""
    found = {}
    for name in names:
        try:
            with opened_bytes(folder / name) as file:
                found[name] = fingerprints.of_file(file, proceed)
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise ReportError(f"{folder / name} cannot be read: {exc.strerror or exc}.") from exc
    return found


def of_shown_files(folder: Path, proceed: Callable[[], None] = lambda: None) -> dict[str, str]:
    """Return the hashes of what people look at, as far as it is there and can be read: nothing hangs on it."""
    found: dict[str, str] = {}
    for name in SHOWN_FILES:
        with suppress(ReportError):
            found |= of_files(folder, (name,), proceed)
    return found
