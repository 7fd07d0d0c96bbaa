"""Who works on a run: a lock of the operating system, which ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import getpass
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import orjson

from bulkredeem.errors import BusyError, ReportsFolderError
from bulkredeem.moments import time_in_words
from bulkredeem.wholefile import descriptor_of

LOCK: Final = "run.lock"
"""Its name in the run's folder. It holds who has the lock, for people: that it is locked is what counts."""
TRIES: Final = 100
"""How often the lock is asked for while somebody only looks who has it, and holds it for a moment, too."""
BETWEEN_TRIES: Final = 0.02
"""Seconds between two of them."""
_MOST_WORDS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The process that works on a run."""

    pid: int
    """Its number on its host; 0 when it has not said so yet."""
    host: str
    """The host's own name; empty when it has not been said yet."""
    since: float
    """In seconds since the epoch; 0.0 when it has not been said yet."""
    user: str = ""
    """The operating system's name of who started it, or empty when it has not been said."""
    run: str = ""
    """The run it works on, where the lock is for more than one; else empty."""
    until: float = 0.0
    """When that run would end at its rate, in seconds since the epoch; 0.0 when nobody knows."""

    def in_words(self) -> str:
        """Name it for a person."""
        if not self.pid:
            return "a process that has only just begun"
        of = f" of {self.user}" if self.user else ""
        return f"process {self.pid}{of} on {self.host}, since {time_in_words(self.since, time.time())}"


class RunLock:
    """Held by the process that works on a run, or on whatever the lock is for; a context manager that lets go."""

    def __init__(self, descriptor: int, owner: Owner) -> None:
        """Use `acquire`."""
        self._descriptor = descriptor
        self._owner = owner

    @classmethod
    def acquire(
        cls, folder: Path, *, now: float, name: str = LOCK, sleep: Callable[[float], object] = time.sleep
    ) -> Self:
        """Take the lock of the run in this folder, or another one of that name; `now` is seconds since the epoch.

        Raises BusyError when another process has it, and ReportsFolderError when nobody can have it.
        """
        path = folder / name
        with _translated(path), ExitStack() as undoing:
            descriptor = descriptor_of(path, os.O_RDWR | os.O_CREAT)
            undoing.callback(os.close, descriptor)
            if not _taken(descriptor, sleep):
                raise BusyError(f"{folder} is being worked on by {_read_owner(descriptor).in_words()}.")
            owner = Owner(pid=os.getpid(), host=socket.gethostname(), since=now, user=user_name())
            _write_owner(descriptor, owner)
            undoing.pop_all()
        return cls(descriptor, owner)

    def tell(self, run: str, until: float | None = None) -> None:
        """Say on which run its owner works now, and until about when; None when that is not known.

        That nobody can be told is no reason not to work.
        """
        with suppress(OSError):
            _write_owner(self._descriptor, replace(self._owner, run=run, until=until or 0.0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Letting go is what counts; the name left behind is nobody's once the lock is free.
        with suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def user_name() -> str:
    """Return the operating system's name of who runs this process; its number where it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may know the number only; the exception differs between Pythons
        return str(os.getuid())


def owner_of(folder: Path, name: str = LOCK) -> Owner | None:
    """Return who works on the run in this folder, or holds another lock there, or None when nobody does."""
    try:
        descriptor = descriptor_of(folder / name)
    except OSError:
        return None
    try:
        return None if _locked(descriptor, fcntl.LOCK_SH) else _read_owner(descriptor)
    except OSError:
        return None  # where there are no locks nobody can have one
    finally:
        os.close(descriptor)


def _taken(descriptor: int, sleep: Callable[[float], object]) -> bool:
    """Take the lock and say whether that was possible; wait for those who only look."""
    for _ in range(TRIES):
        if _locked(descriptor, fcntl.LOCK_EX):
            return True
        if not _locked(descriptor, fcntl.LOCK_SH):
            return False
        # It can be shared, so nobody works on the run. To keep the share would be in the way of the next who asks.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        sleep(BETWEEN_TRIES)
    return False


def _locked(descriptor: int, kind: int) -> bool:
    """Try to take a lock, and say whether that was possible. Raises OSError where there are no locks."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_owner(descriptor: int, owner: Owner) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, orjson.dumps(asdict(owner)), 0)


def _read_owner(descriptor: int) -> Owner:
    try:
        return Owner(**orjson.loads(os.pread(descriptor, _MOST_WORDS, 0)))
    except (ValueError, TypeError):
        return Owner(pid=0, host="", since=0.0)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn the operating system's errors into ours, once."""
    try:
        yield
    except OSError as exc:
        raise ReportsFolderError(f"{path} cannot be locked: {exc.strerror or exc}.") from exc
