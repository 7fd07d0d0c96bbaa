"""How a file comes and goes: waiting until it is there and whole, and moving it away when its run is over.

Whoever sends a file seldom says when it is whole. A file that is still written grows, so it is taken when it has stayed
as it is for a while. That is no proof: a transfer may stand still for longer. So whoever reads it looks afterwards
whether it was changed meanwhile (`has_changed`), and it is moved away only while it holds what was read.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

from bulkredeem.errors import InputFileError
from bulkredeem.loader import is_standard_input
from bulkredeem.model import STANDARD_INPUT_IN_WORDS
from bulkredeem.snapshot import digest_of
from bulkredeem.wholefile import sync_folder

POLL: Final = 1.0
"""Seconds between two looks at a file that is waited for: nothing is lost by it, and a server is hardly asked."""
_MINUTE: Final = 60


class Stamp(NamedTuple):
    """What changes about a regular file when its content does."""

    size: int
    modified_ns: int
    """Nanoseconds since the epoch, on the clock of whoever keeps the file."""
    inode: int
    """Another one when another file took the name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Where a file is after it was to be moved away."""

    path: Path | None
    """Where it is now, or None when it was left where it was."""
    remark: str = ""
    """Why it was left, as a sentence; empty when it was moved."""


async def await_file(
    path: Path,
    *,
    wait_for: float | None,
    settled_for: float,
    say: Callable[[str], None],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    wall_clock: Callable[[], float] = time.time,
) -> None:
    """Return when the file is there and has stayed as it is for `settled_for` seconds.

    It is waited for `wait_for` seconds, 0 for a single look; None leaves a missing file to whoever reads it, as
    everything else that cannot be read is. There is no limit to how long it may grow, and what is no regular file (a
    pipe, standard input) is taken as it is. `say` hears one sentence when each of the two waits begins. Raises
    InputFileError when the file did not come, and what `sleep` raises to end the waiting.
    """
    if is_standard_input(path):
        return  # it is there, and its end says that it is whole
    if wait_for is not None:
        await _until_it_is_there(path, wait_for, say, sleep)
    await _until_it_has_settled(path, settled_for, say, sleep, wall_clock)


def stamp_of(path: Path) -> Stamp | None:
    """Return the stamp of a regular file; None for anything else, and for what cannot be looked at."""
    if is_standard_input(path):
        return None  # a file may have that name, and is not meant
    try:
        status = path.stat()
    except OSError:
        return None  # whoever reads it says why
    if not stat.S_ISREG(status.st_mode):
        return None
    return Stamp(size=status.st_size, modified_ns=status.st_mtime_ns, inode=status.st_ino)


def has_changed(path: Path, stamp: Stamp | None) -> bool:
    """Say whether a file was changed, replaced or removed since it had that stamp; of what has none, nobody knows."""
    return stamp is not None and stamp_of(path) != stamp


def move_away(
    path: Path,
    folder: Path,
    *,
    sha256: str,
    run_id: str,
    rename: Callable[[Path, Path], object] = os.replace,
) -> Moved:
    """Move a file into a folder if its content still has that SHA-256; nothing is ever overwritten.

    Where its name is taken, it gets the id of the run before its suffix. A folder on another file system is fine; one
    that does not exist is made. A symbolic link is left alone: it is somebody's arrangement, and a relative one would
    lead nowhere; so is standard input, which is no file at all. Raises nothing that a disk can do: a run is over by
    then, and its ending stays what it is.
    """
    if is_standard_input(path) or path == Path(STANDARD_INPUT_IN_WORDS):
        return Moved(path=None, remark=f"There is no file to move to {folder}: the rows came from standard input.")
    try:
        stamp, why = stamp_of(path), _why_it_stays(path, sha256)
        if why:
            return Moved(path=None, remark=f"{path} was left where it is: {why}.")
        folder.mkdir(parents=True, exist_ok=True)
        if path.parent.samefile(folder):
            return Moved(path=path)
        with _free_name(path, folder, run_id) as target:
            _move(path, target, stamp, sha256, rename)
    except OSError as exc:
        return Moved(path=None, remark=f"{path} could not be moved to {folder}: {exc.strerror or exc}.")
    return Moved(path=target)


async def _until_it_is_there(
    path: Path, wait_for: float, say: Callable[[str], None], sleep: Callable[[float], Awaitable[None]]
) -> None:
    # What was slept is counted, and not what a clock says: clocks are set.
    left = wait_for
    while _is_missing(path):
        if left <= 0:
            raise InputFileError(f"{path} has not come; it was waited for {_in_words(wait_for)}.")
        if left == wait_for:
            say(f"Waiting for {path} to come, for up to {_in_words(wait_for)}.")
        nap = min(POLL, left)
        await sleep(nap)
        left -= nap


async def _until_it_has_settled(
    path: Path,
    settled_for: float,
    say: Callable[[str], None],
    sleep: Callable[[float], Awaitable[None]],
    wall_clock: Callable[[], float],
) -> None:
    stamp = stamp_of(path)
    # A server's clock may run ahead, so that a file seems to come from the future: then it has stayed for no time yet.
    unchanged_for = max(0.0, wall_clock() - stamp.modified_ns / 1e9) if stamp else 0.0
    is_told = False
    while stamp and unchanged_for < settled_for:
        if not is_told:
            say(f"{path} was changed just now; waiting until it has stayed as it is for {_in_words(settled_for)}.")
            is_told = True
        nap = min(POLL, settled_for - unchanged_for)
        await sleep(nap)
        before, stamp = stamp, stamp_of(path)
        unchanged_for = unchanged_for + nap if stamp == before else 0.0


def _is_missing(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return True
    except OSError:
        return False  # it may not be looked at, and waiting changes nothing: whoever reads it says why
    return False


def _in_words(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < _MINUTE else str(timedelta(seconds=round(seconds)))


def _why_it_stays(path: Path, sha256: str) -> str:
    """Return why a file is not to be moved, or an empty text. Raises OSError."""
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return "it is a symbolic link"
    if not stat.S_ISREG(mode):
        return "it is no regular file"
    return "" if digest_of(path) == sha256 else "it was changed since it was read"


@contextmanager
def _free_name(path: Path, folder: Path, run_id: str) -> Iterator[Path]:
    """Hold a name in the folder with an empty file, so that nobody else takes it; give it back on OSError."""
    try:
        target = _take(folder / path.name)
    except FileExistsError:
        target = _take(folder / f"{path.stem}.{run_id}{path.suffix}")
    try:
        yield target
    except OSError:
        # While the file is where it was, this is our empty file, or a copy. A server may have renamed it and say that
        # it did not, when its first answer was lost: then this is all there is.
        if stamp_of(path):
            target.unlink()
        raise


def _take(name: Path) -> Path:
    # For its owner alone until it has the rights of the file: a copy of it holds customers.
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    return name


def _move(path: Path, target: Path, stamp: Stamp | None, sha256: str, rename: Callable[[Path, Path], object]) -> None:
    """Move a file to a name that we hold. Raises OSError, and then it is where it was."""
    _check_unchanged(path, stamp)
    try:
        rename(path, target)
    except OSError as exc:
        if exc.errno != errno.EXDEV:
            raise
        _copy(path, target, sha256)
        _check_unchanged(path, stamp)
        path.unlink()


def _check_unchanged(path: Path, stamp: Stamp | None) -> None:
    if has_changed(path, stamp):
        raise OSError(errno.EBUSY, "it was changed meanwhile")


def _copy(path: Path, target: Path, sha256: str) -> None:
    """Copy a file with its times and rights, durable on return, since the first one goes then. Raises OSError."""
    shutil.copyfile(path, target)
    shutil.copystat(path, target)
    with target.open("rb") as copy:
        os.fsync(copy.fileno())
    if digest_of(target) != sha256:
        raise OSError(errno.EIO, "the copy is not what was copied")
    sync_folder(target.parent)
