"""Files and folders of ours: their owner's alone, never reached through a link; files are whole or not there.

They hold customers. So each is made with the permissions it keeps, whatever the umask: 0600 a file, 0700 a folder. And
whoever may write into a folder must not make us read or write elsewhere, or wait for ever: where a file of ours is to
be, a link is an error, and so is a pipe or a device. A file that is written as a whole is written under another name,
synced, and renamed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from bulkredeem.errors import ReportError

_BUFFER: Final = 1 << 18
"""Bytes that go to the disk at once: a report may be hundreds of megabytes, and 8 KiB is usual."""
_OF_A_FILE: Final = 0o600
_OF_A_FOLDER: Final = 0o700
IS_A_LINK: Final = "it is a link, which might lead anywhere; put there what it leads to, or take it away"
"""Why nothing is read or written where a link stands for a file or a folder of ours."""
IS_NO_FILE: Final = "it is no file, but a {kind}: take it away"
"""Why nothing is read or written where something else stands for a file of ours."""
_KINDS: Final = (
    (stat.S_ISFIFO, "named pipe, which would keep its reader waiting"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


@contextmanager
def whole_text(path: Path, encoding: str = "utf-8", *, mode: int = _OF_A_FILE) -> Iterator[TextIO]:
    """Open a text file that appears under its name when the block ends without an error. Raises ReportError.

    `mode` are the permissions that it has then; until then it is its owner's alone.
    """
    with _aside_of(path, mode) as aside, opened_to_write(aside, encoding) as file:
        yield file


@contextmanager
def whole_path(path: Path) -> Iterator[Path]:
    """Give the path to write a file to, which gets its own name when the block ends without an error.

    An empty file is there already, with the permissions it is to keep. Raises ReportError when nothing was written to
    it, and when the disk does not take it.
    """
    with _aside_of(path) as aside:
        yield aside
        if not aside.stat().st_size:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


@contextmanager
def _aside_of(path: Path, mode: int = _OF_A_FILE) -> Iterator[Path]:
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.unlink(missing_ok=True)  # of a process that was killed, or a link that somebody has put there
        os.close(descriptor_of(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        yield aside
        _sync(aside, mode)
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as exc:
        raise ReportError(f"{path} could not be written: {exc.strerror or exc}.") from exc
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def descriptor_of(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file of ours, and return its descriptor; one that is made by it is its owner's alone.

    Raises OSError, also for a link, which is not followed, and for what is no file at all. It never waits: to open a
    named pipe would, until somebody opens its other end.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, _OF_A_FILE)
    except OSError as exc:
        if exc.errno in {errno.ELOOP, errno.ENXIO}:  # ENXIO: a socket, or a pipe that nobody reads
            refuse_other_than_file(path)
        raise
    try:
        _refuse_by(os.fstat(descriptor), path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def refuse_other_than_file(path: Path) -> None:
    """Raise OSError when a link, a folder, a pipe or the like has this name; for whom others open what is there."""
    try:
        found = path.lstat()
    except OSError:
        return  # nothing is there, or nobody can open it
    _refuse_by(found, path)


def _refuse_by(found: os.stat_result, path: Path) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISLNK(found.st_mode):
        raise _link(path)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    kind = next((word for is_one, word in _KINDS if is_one(found.st_mode)), "special file")
    raise OSError(errno.EINVAL, IS_NO_FILE.format(kind=kind), str(path))


def opened_to_write(path: Path, encoding: str = "utf-8", *, append: bool = False) -> TextIO:
    """Open a text file of ours, from its beginning or at its end; line ends stay as they are. Raises OSError."""
    where = os.O_APPEND if append else os.O_TRUNC
    descriptor = descriptor_of(path, os.O_WRONLY | os.O_CREAT | where)
    return os.fdopen(descriptor, "a" if append else "w", buffering=_BUFFER, encoding=encoding, newline="")


def opened_to_read(path: Path, encoding: str = "utf-8") -> TextIO:
    """Open a text file of ours that is there; line ends stay as they are. Raises OSError."""
    return os.fdopen(descriptor_of(path), encoding=encoding, newline="")


def opened_bytes(path: Path) -> BinaryIO:
    """Open a file of ours that is there, to read its bytes. Raises OSError."""
    return os.fdopen(descriptor_of(path), "rb")


def bytes_of(path: Path) -> bytes:
    """Return what a file of ours holds. Raises OSError."""
    with opened_bytes(path) as file:
        return file.read()


def make_folder(folder: Path) -> None:
    """Make a folder for its owner alone, and those above it that are missing as is usual.

    Raises OSError, FileExistsError among them for one that is there, whose permissions stay.
    """
    folder.mkdir(_OF_A_FOLDER, parents=True)


def require_folder(folder: Path) -> None:
    """Make a folder that is not there yet, as `make_folder` does. Raises OSError, also for a link to one."""
    with suppress(FileExistsError):
        make_folder(folder)
    if folder.is_symlink():
        raise _link(folder)


def close_to_others(folder: Path) -> None:
    """Take from a folder of ours what others may do in it, if it is ours to take: an older version allowed it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, _OF_A_FOLDER)
        finally:
            os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make it durable that a file of this name exists: a name belongs to its folder. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync(path: Path, mode: int) -> None:
    """Make a file durable, and give it its permissions before it can be found: through its descriptor, no link."""
    descriptor = descriptor_of(path)
    try:
        if mode != _OF_A_FILE:
            os.fchmod(descriptor, mode)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link(path: Path) -> OSError:
    return OSError(errno.ELOOP, IS_A_LINK, str(path))
