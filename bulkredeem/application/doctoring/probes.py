"""What a diagnosis asks the machine for."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from bulkredeem.journal import network_type_of

_OTHERS_MAY_READ: Final = stat.S_IROTH | stat.S_IXOTH


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _may_write(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK)


def _is_installed(module: str) -> bool:
    return find_spec(module) is not None


def others_may_read(path: Path) -> bool:
    """Say whether other users of this machine may read a file or folder: also each folder above must let them in.

    Raises OSError.
    """
    whole = path.resolve()
    wanted = _OTHERS_MAY_READ if whole.is_dir() else stat.S_IROTH
    return bool(whole.stat().st_mode & wanted) and all(each.stat().st_mode & stat.S_IXOTH for each in whole.parents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """Each way to ask; tests answer in the machine's stead."""

    wall_clock: Callable[[], float] = time.time
    """Seconds since the epoch."""
    free: Callable[[Path], int] = _free
    """Bytes that are left on the disk of a folder."""
    may_write: Callable[[Path], bool] = _may_write
    """Whether files can be made in a folder."""
    others_may_read: Callable[[Path], bool] = others_may_read
    network_type: Callable[[Path], str] = network_type_of
    is_installed: Callable[[str], bool] = _is_installed
    """Whether there is such a module."""
