"""The state of a key in a small file, so that all runs on this machine that use the key share its pace.

One process at a time changes it, under a lock that the system takes away from a process that dies. Nobody waits for the
lock: one that is stopped in the middle of a change lets all others wait for their slots, but holds up no event loop.
The file is one line of JSON, padded to `SIZE` bytes and overwritten in place: a process can die before or after that,
not in between. It is not synced. What a power failure takes is a slot, and at worst what was learnt; a file that holds
no state counts as one that knows nothing.

Moments are those of the monotonic clock, which all processes of a machine share until it starts anew. Then they are
translated by the wall clock, and a moment that makes no sense any more is brought back to one that does.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import orjson
import psutil

from bulkredeem.errors import PaceError
from bulkredeem.pace import KeyState

SIZE: Final = 512
"""Bytes of the file, always: its content never needs more, and never leaves something of an older one behind."""
LONGEST_WAIT: Final = 3_600.0
"""Seconds from now to the next slot that make sense: at one request an hour."""
LONGEST_PAUSE: Final = 86_400.0
"""Seconds that a pause makes sense: a day, as in `client.MAX_RETRY_AFTER`."""
MOST_SECONDS: Final = 1e15
"""A number beyond it is no moment: thirty million years."""
MOST_COUNTED: Final = 10**12
_COUNTS: Final = frozenset({"taken", "grown", "refusals"})
_RATES: Final = frozenset({"peak", "refused_rate"})
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


def path_of(folder: Path, base_url: str, username: str) -> Path:
    """Return where a key's state is kept: named by a hash, since a user name is nobody's business."""
    parts = urlsplit(base_url)
    port = parts.port or {"http": 80}.get(parts.scheme, 443)
    key = f"{parts.hostname}:{port}\n{username}".encode(errors="surrogateescape")
    return folder / f"pace-{hashlib.sha256(key).hexdigest()[:16]}.json"


def boot_id() -> str:
    """Return what tells this start of the machine from every other."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return f"{psutil.boot_time():.0f}"


class StateFile:
    """Keeps the state of one key in a file; a `pace.Store`, and a context manager that closes it."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        boot: str = "",
    ) -> None:
        """Open the file, or make it and its folder. Raises PaceError when it cannot be opened, locked or written.

        In a folder that others may write to, they may write to the file, too: one key may be used by several users.
        `boot` tells the start of the machine; empty for the present one.
        """
        self._path = path
        self._clock = clock
        self._wall_clock = wall_clock
        self._boot = boot or boot_id()
        self._last = KeyState()
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._open()
        try:
            self.change(lambda state: state)
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def change(self, change: Callable[[KeyState], KeyState]) -> KeyState | None:
        """Change the state and return what it is now; None when another process is at it. Raises PaceError."""
        with self._translated():
            if not self._locked(fcntl.LOCK_EX):
                return None
            try:
                self._last = change(self._read())
                self._write(self._last)
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return self._last

    def look(self) -> KeyState:
        """Return the state; as it was seen last when another process is at it. Raises PaceError."""
        with self._translated():
            if self._locked(fcntl.LOCK_SH):
                try:
                    self._last = self._read()
                finally:
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return self._last

    def _locked(self, kind: int) -> bool:
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _open(self) -> int:
        """Return a descriptor of the file; whoever makes it gives it the permissions of its folder."""
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        # Not made and opened in one: in a folder like /tmp, the system may refuse that for the file of another user.
        with suppress(FileNotFoundError):
            return os.open(self._path, flags)
        with suppress(FileExistsError):
            descriptor = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            others = stat.S_IMODE(self._path.parent.stat().st_mode) & 0o066
            os.fchmod(descriptor, 0o600 | others if others & 0o022 else 0o600)
            return descriptor
        return os.open(self._path, flags)

    def _read(self) -> KeyState:
        try:
            found = orjson.loads(os.pread(self._descriptor, SIZE, 0))
            state, later = _state_of(found["state"]), 0.0
            if found["boot"] != self._boot:
                later = self._wall_clock() - self._clock() - _number(found["wall"]) + _number(found["monotonic"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return KeyState()
        return self._sound(state, later)

    def _sound(self, state: KeyState, later: float) -> KeyState:
        """Return a state with moments of ours that make sense; `later` is how much later than its clock ours began."""
        now = self._clock()
        return replace(
            state,
            due=min(state.due - later, now + LONGEST_WAIT),
            paused_until=min(state.paused_until - later, now + LONGEST_PAUSE),
            refused_since=min(state.refused_since - later, now),
            refused_at=min(state.refused_at - later, now),
        )

    def _write(self, state: KeyState) -> None:
        content = orjson.dumps(
            {"boot": self._boot, "wall": self._wall_clock(), "monotonic": self._clock(), "state": state}
        )
        os.pwrite(self._descriptor, content.ljust(SIZE - 1) + b"\n", 0)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise PaceError(f"The pace cannot be kept in {self._path}: {exc.strerror or exc}.") from exc


def _state_of(found: Mapping[str, object]) -> KeyState:
    """Return the state as the file holds it. Raises KeyError, TypeError and ValueError for what is none."""
    numbers: dict[str, Any] = {each.name: found[each.name] for each in fields(KeyState)}
    for name, number in numbers.items():
        if name in _RATES and number is None:
            numbers[name] = math.inf  # which JSON cannot say
        elif name in _COUNTS and (not isinstance(number, int) or not 0 <= number <= MOST_COUNTED):
            raise ValueError(name)
        else:
            _number(number)
    if not numbers["peak"] * LONGEST_WAIT >= 1:
        raise ValueError(numbers["peak"])
    return KeyState(**numbers)


def _number(found: object) -> float:
    """Return a number of the file. Raises TypeError and ValueError for what is none, or none that makes sense."""
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise TypeError(found)
    if not abs(found) < MOST_SECONDS:
        raise ValueError(found)
    return found
