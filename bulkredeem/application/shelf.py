"""The runs of a reports folder: which there are, how far each has come, and which one a name means.

Whoever may write into the folder can put there what looks like a run. So only a folder of the user who runs this is
gone on with, or believed, unless a person has named it; the others are shown.
"""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bulkredeem.application.intake import SNAPSHOT
from bulkredeem.application.record import JOURNAL, SNAPSHOT_SHA256, ending_of, info_of
from bulkredeem.application.rows import RowNumbers
from bulkredeem.errors import BusyError, JournalError, JournalUnreadableError, RunNotFoundError
from bulkredeem.journal import Journal, Owner, owner_of
from bulkredeem.model import Status
from bulkredeem.snapshot import digest_of, read_records
from bulkredeem.summary import UNFINISHED, Ending, RunInfo, RunState

_NOT_BEGUN: Final = "{folder} died while it read its file, and sent nothing: run the file again, and delete the folder."
_LEADS_OUT: Final = "{folder} is a link that leads out of the reports folder: name the run by its own path."
_LEADS_ASTRAY: Final = "{folder} is a link to {found}, a folder of {stranger}: name the run by its own path."
_MOST_NAMED: Final = 3
"""Folders of others that are named in one sentence."""
_RUN_ID: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """One run of a reports folder, as it is now."""

    folder: Path
    state: RunState
    info: RunInfo | None = None
    """None when the journal cannot be read; then `problem` says why."""
    counts: dict[Status, int] | None = None
    """One for each status, adding up to the rows; None when the journal cannot be read."""
    doubtful: int = 0
    """Pending rows that may have been applied all the same."""
    ending: Ending | None = None
    """How its last stretch ended; None while it is under way, and for one that died."""
    owner: Owner | None = None
    """The process that works on it, or None."""
    problem: str = ""
    """Why it cannot be read, as a sentence; else empty."""
    stranger: str = ""
    """Whose folder it is, when that is not the user who runs this; else empty."""

    @property
    def is_unfinished(self) -> bool:
        """Whether `resume` would go on with it."""
        return self.state in UNFINISHED

    @property
    def is_held(self) -> bool:
        """Whether a guard has stopped it, so that only a person's word lets it go on."""
        return self.ending is not None and self.ending.is_guarded


def owners_of(reports: Path) -> Collection[int]:
    """Return the numbers of those whose folders are no stranger's: who runs this, and who owns the reports folder.

    The latter could do anything there anyway; and where a mount says that all is somebody's, that is, too.
    Raises OSError.
    """
    return {os.geteuid(), reports.stat().st_uid}


def runs_in(reports: Path, owners: Callable[[Path], Collection[int]] = owners_of) -> list[Shelved]:
    """Return all runs of a reports folder, the oldest first; none for a folder that is not there.

    `owners` tells whose folders are no stranger's.
    """
    return sorted((look_at(folder, owners) for folder in run_folders(reports)), key=_started_at)


def run_folders(reports: Path) -> list[Path]:
    """Return the folders of all runs of a reports folder, by name; none for a folder that is not there."""
    return [folder for folder in sorted(_folders(reports)) if _RUN_ID.fullmatch(folder.name)]


def unfinished_in(reports: Path, owners: Callable[[Path], Collection[int]] = owners_of) -> list[Shelved]:
    """Return the runs of this user that stopped early or died, the oldest first."""
    return [run for run in runs_in(reports, owners) if run.is_unfinished and not run.stranger]


def newest_in(reports: Path, owners: Callable[[Path], Collection[int]] = owners_of) -> Path:
    """Return the folder of this user's run that began last. Raises RunNotFoundError when there is none."""
    runs = [run for run in runs_in(reports, owners) if run.info]
    folders = [run.folder for run in runs if not run.stranger]
    if not folders:
        raise RunNotFoundError(" ".join((f"There is no run in {reports}.", *left_alone(runs))))
    return folders[-1]


def left_alone(runs: Sequence[Shelved]) -> tuple[str, ...]:
    """Say of which runs nothing is done unasked, since they are in folders of other users; nothing for none."""
    strange = [(run.folder, run.stranger) for run in runs if run.stranger]
    if not strange:
        return ()
    named = strangers_in_words(strange)
    return (f"Left alone, for others own the folders: {named}. Name a run to go on with it all the same.",)


def strangers_in_words(folders: Sequence[tuple[Path, str]]) -> str:
    """Name the folders, and the users whose they are."""
    words = ", ".join(f"{folder} (of {stranger})" for folder, stranger in folders[:_MOST_NAMED])
    return f"{words} and {len(folders) - _MOST_NAMED} more" if len(folders) > _MOST_NAMED else words


def stranger_of(folder: Path, owners: Callable[[Path], Collection[int]] = owners_of) -> str:
    """Return whose folder it is, by name or number, when that is none of the owners; else empty."""
    try:
        owner, ours = folder.lstat().st_uid, owners(folder.parent)
    except FileNotFoundError:
        return ""
    except OSError:
        return "somebody"
    if owner in ours:
        return ""
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"user {owner}"


def find_run(reports: Path, name: str, owners: Callable[[Path], Collection[int]] = owners_of) -> Path:
    """Return the folder of the run that a person means: its path, its name, or the beginning of its name.

    Raises RunNotFoundError when there is none, or more than one, and when a link leads to a folder of another user:
    whoever named the link did not name that.
    """
    if not name.strip():
        raise RunNotFoundError("An empty name is no run's; 'bulkredeem runs' lists those there are.")
    for folder in (Path(name), reports / name):
        if (folder / JOURNAL).is_file():
            return followed(folder, reports, owners)
    found = [folder for folder in _folders(reports) if folder.name.startswith(name) and (folder / JOURNAL).is_file()]
    if len(found) == 1:
        return found[0]
    what = f"{len(found)} runs in {reports} begin with {name}" if found else f"There is no run {name} in {reports}"
    raise RunNotFoundError(f"{what}; 'bulkredeem runs' lists those there are.")


def followed(folder: Path, reports: Path, owners: Callable[[Path], Collection[int]] = owners_of) -> Path:
    """Return the folder of a run without a link; a link in the reports folder is followed within it alone.

    Raises RunNotFoundError for one that leads out of it, and for one that leads to a folder of another user.
    """
    if not folder.is_symlink():
        return folder
    run, parent = folder.resolve(), folder.parent.resolve()
    if run.parent != parent:
        if parent == reports.resolve():
            raise RunNotFoundError(_LEADS_OUT.format(folder=folder))
        return run
    found = folder.parent / run.name
    if stranger := stranger_of(found, owners):
        raise RunNotFoundError(_LEADS_ASTRAY.format(folder=folder, found=found, stranger=stranger))
    return found


def look_at(folder: Path, owners: Callable[[Path], Collection[int]] = owners_of) -> Shelved:
    """Return how far a run has come; one whose journal cannot be read is `unreadable`, and says why."""
    return replace(_looked_at(folder), stranger=stranger_of(folder, owners))


def _looked_at(folder: Path) -> Shelved:
    owner = owner_of(folder)
    if not (folder / JOURNAL).exists():
        if owner:
            return Shelved(folder=folder, state=RunState.RUNNING, owner=owner, problem="It reads its file.")
        return Shelved(folder=folder, state=RunState.NOT_BEGUN, problem=_NOT_BEGUN.format(folder=folder))
    try:
        with closing(Journal.open_to_read(folder / JOURNAL)) as journal:
            return _look_into(journal, folder, owner)
    except JournalError as exc:
        return Shelved(folder=folder, state=RunState.UNREADABLE, owner=owner, problem=str(exc))
    except (KeyError, ValueError, OSError) as exc:
        words = f"{folder} cannot be read as a run ({type(exc).__name__}); it was left as it is."
        return Shelved(folder=folder, state=RunState.UNREADABLE, owner=owner, problem=words)


def require_free(folder: Path) -> None:
    """Raise BusyError when a process works on a run: to wait for its end would leave nothing to do."""
    owner = owner_of(folder)
    if owner:
        raise BusyError(f"{folder} is being worked on by {owner.in_words()}.")


def settled_rows(run: Shelved) -> list[int]:
    """Return the rows of a run that have an outcome. Raises JournalError."""
    with closing(Journal.open_to_read(run.folder / JOURNAL)) as journal:
        return list(journal.settled())


def doubtful_rows(journal: Journal, snapshot: Path, *, died: bool) -> Iterator[int]:
    """Yield the rows without an outcome that may have been applied, in the file's order.

    Of a run that died, that is every row within the journal's reach, else those that were left in doubt when it
    stopped; of one whose journal knows of neither (it is of an older version) it is every row.
    """
    settled, doubted = RowNumbers(journal.settled()), RowNumbers(journal.doubted())
    knows_its_reach, reach = SNAPSHOT_SHA256 in journal.head(), journal.reach
    for record in read_records(snapshot):
        within = not knows_its_reach or (died and record.row_number <= reach)
        if record.row_number not in settled and (within or record.row_number in doubted):
            yield record.row_number


def check_snapshot(snapshot: Path, head: Mapping[str, str]) -> None:
    """Raise JournalUnreadableError when it is not the one the run was made of, as far as the journal's head knows."""
    try:
        found = digest_of(snapshot)
    except OSError as exc:
        raise JournalUnreadableError(f"{snapshot} cannot be read: {exc.strerror or exc}.") from exc
    if found != head.get(SNAPSHOT_SHA256, found):
        raise JournalUnreadableError(
            f"{snapshot} was changed or cut short since: put the right one back, or run the file again and move this"
            " folder away."
        )


def _look_into(journal: Journal, folder: Path, owner: Owner | None) -> Shelved:
    head = journal.head()
    info, ending, counts = info_of(head), ending_of(head), dict(journal.totals().counts)
    counts[Status.PENDING] = info.rows - sum(counts.values())
    state = RunState.RUNNING if owner else ending.state if ending else RunState.CRASHED
    doubtful = 0
    if state in UNFINISHED:
        check_snapshot(folder / SNAPSHOT, head)
        doubtful = sum(1 for _ in doubtful_rows(journal, folder / SNAPSHOT, died=ending is None))
    return Shelved(folder=folder, state=state, info=info, counts=counts, doubtful=doubtful, ending=ending, owner=owner)


def _folders(reports: Path) -> Iterator[Path]:
    if reports.is_dir():
        yield from (entry for entry in reports.iterdir() if entry.is_dir() and not entry.is_symlink())


def _started_at(run: Shelved) -> tuple[float, str]:
    return (run.info.started_at if run.info else 0.0, run.folder.name)
