"""Is a folder on a server? SQLite's write-ahead log needs memory that all its users share, which no network gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Protocol

import psutil

NETWORK_TYPES: Final = frozenset(
    {
        "9p",
        "afpfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "davfs",
        "fuse.ceph",
        "fuse.davfs2",
        "fuse.glusterfs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "smb2",
        "smb3",
        "smbfs",
        "webdav",
    }
)
"""File systems behind which another machine stands, as Linux and macOS call them."""


class Mount(Protocol):
    """What is needed to know of a mounted file system."""

    @property
    def mountpoint(self) -> str:
        """The folder it is mounted on."""

    @property
    def fstype(self) -> str:
        """What the operating system calls its type."""


def _mounts() -> Iterable[Mount]:
    return psutil.disk_partitions(all=True)


def network_type_of(folder: Path, *, mounts: Callable[[], Iterable[Mount]] = _mounts) -> str:
    """Return the type of the network file system that a folder lies on; empty for a local one, or an unknown one."""
    try:
        inside = [mount for mount in mounts() if folder.resolve().is_relative_to(mount.mountpoint)]
    except OSError:
        return ""  # without /proc, say, nobody knows
    # The longest path is the nearest; of two on one folder the later hides the earlier, and sorting keeps their order.
    nearest = sorted(inside, key=lambda mount: len(mount.mountpoint))[-1:]
    return "".join(mount.fstype for mount in nearest if mount.fstype.lower() in NETWORK_TYPES)
