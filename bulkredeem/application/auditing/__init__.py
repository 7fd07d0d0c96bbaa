"""The audit of a run: every count and every hash derived once more, and what was changed since by accident.

Nothing is written into the run's folder: the journal is read from a copy, and the reports that it comes to are written
elsewhere. What the audit goes by is `summary.json`, which tells the hashes, and the journal, which tells the rest; what
one of them does not bear out is named. It finds accidents. A forger can write hashes, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bulkredeem.application.auditing.gathering import gathered, read_aside, told_by
from bulkredeem.application.auditing.judging import judged, judged_without_journal
from bulkredeem.application.auditing.values import NO_PROOF, Audit, Standing, Thing
from bulkredeem.application.record import JOURNAL
from bulkredeem.application.shelf import find_run, followed, require_free
from bulkredeem.errors import ReportError, ReportsFolderError, RunNotFoundError
from bulkredeem.report import SUMMARY
from bulkredeem.summary import Typed

__all__ = ["NO_PROOF", "Audit", "Standing", "Thing", "audit_run", "find_to_audit"]


def find_to_audit(reports: Path, name: str) -> Path:
    """Return the folder of the run that a person means, also of a dry run and of one whose journal is lost.

    Raises RunNotFoundError when there is none, or more than one, and for a link that leads out of the reports folder.
    """
    try:
        return find_run(reports, name)
    except RunNotFoundError:
        for folder in (Path(name), reports / name) if name.strip() else ():
            if (folder / SUMMARY).is_file():
                return followed(folder, reports)
        raise


def audit_run(folder: Path, typed: Typed = Typed()) -> Audit:
    """Derive every count and hash of a run once more, and say what is not as it was; its folder is left as it is.

    `typed` is what a command to paste needs. Raises BusyError when a process works on the run, JournalUnreadableError
    when its journal is damaged, and ReportsFolderError when something cannot be looked at.
    """
    require_free(folder)
    told = told_by(folder / SUMMARY)
    with _translated(folder):
        if not os.path.lexists(folder / JOURNAL):
            return judged_without_journal(folder, told)
        with TemporaryDirectory(prefix="bulkredeem-audit-") as aside, read_aside(folder, Path(aside)) as journal:
            evidence = gathered(folder, journal, told, Path(aside))
        # Somebody may have begun to work on it meanwhile: then what was read belongs together no more.
        require_free(folder)
        return judged(evidence, typed)


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ReportsFolderError(f"{folder} cannot be audited: {exc.strerror or exc}.") from exc
    except ReportError as exc:
        raise ReportsFolderError(f"{folder} cannot be audited: {exc}") from exc
