"""Files that appear under their name whole or not at all: written under another, synced, and renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

from bulkredeem.errors import ReportError

_BUFFER: Final = 1 << 18
"""Bytes that go to the disk at once: a report may be hundreds of megabytes, and 8 KiB is usual."""


@contextmanager
def whole_text(path: Path, encoding: str = "utf-8") -> Iterator[TextIO]:
    """Open a text file that appears under its name when the block ends without an error. Raises ReportError."""
    with whole_path(path) as aside, aside.open("w", buffering=_BUFFER, encoding=encoding, newline="") as file:
        yield file


@contextmanager
def whole_path(path: Path) -> Iterator[Path]:
    """Give the path to write a file to, which gets its own name when the block ends without an error.

    Raises ReportError when the disk does not take it.
    """
    aside = path.with_name(f".{path.name}.part")
    try:
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as exc:
        raise ReportError(f"{path} could not be written: {exc.strerror or exc}.") from exc
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make it durable that a file of this name exists: a name belongs to its folder. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
