"""How far packed bytes may unfold: a few kilobytes can be made to fill any memory and any disk; no honest file does.

The limit goes by what has been read so far of the file as it came, however many times over it is packed.
"""

from __future__ import annotations

import gzip
import io
import os
import sys
import zipfile
import zlib
from contextlib import suppress
from copy import copy
from typing import IO, TYPE_CHECKING, Final

from bulkredeem.errors import InputFileError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

ALWAYS_UNFOLDED: Final = 1 << 26
"""Bytes that a file may unfold into however small it is: a few hundred thousand rows."""
MOST_TIMES: Final = 200
"""How many times as large as it came it may become beyond that.

Deflate reaches 1,032 with nothing but zeros; rows that differ in their ids alone, and no rows differ less, about 100.
"""
_BLOCK: Final = 1 << 18
_PART_OF_A_BLOCK: Final = 1 << 16
"""Bytes of a part of an archive that are unpacked at once; more take longer."""
_Packed = IO[bytes] | gzip.GzipFile


def limited(unpacked: _Packed, name: str, packed: IO[bytes]) -> IO[bytes]:
    """Return a stream of the same bytes that raises InputFileError when they are far more than `packed` has given."""
    return io.BufferedReader(_Limited(unpacked, name, packed), _BLOCK)


def require_modest(workbook: IO[bytes], name: str) -> None:
    """Raise InputFileError when the parts of a workbook unfold too far; one that is no archive cannot.

    They are unpacked for it: what the archive says of their sizes may be wrong, and the engine goes by what they hold.
    """
    if not zipfile.is_zipfile(workbook):
        return
    unfolded = 0
    with zipfile.ZipFile(workbook) as archive:
        for part in sorted(archive.infolist(), key=lambda part: part.header_offset):
            whole = copy(part)
            whole.file_size = sys.maxsize
            # One that cannot be unpacked is told of when it is needed.
            with (
                suppress(OSError, EOFError, zipfile.BadZipFile, RuntimeError, zlib.error),
                archive.open(whole) as stream,
            ):
                while block := stream.read(_PART_OF_A_BLOCK):
                    unfolded += len(block)
                    _require(unfolded, name, workbook)


def _require(unfolded: int, name: str, packed: IO[bytes]) -> None:
    """Raise InputFileError when that is too much for as much as has been read of what is packed."""
    if unfolded > ALWAYS_UNFOLDED and unfolded > (most := max(ALWAYS_UNFOLDED, MOST_TIMES * packed.tell())):
        raise _unfolds(name, most)


def _unfolds(name: str, most: int) -> InputFileError:
    return InputFileError(
        f"{name} is packed so that little becomes more than {most:,} bytes, which no rows of corrections are: if it is"
        " meant all the same, unpack it first."
    )


class _Limited(io.RawIOBase):
    """What is being unpacked; one can go back in it."""

    def __init__(self, unpacked: _Packed, name: str, packed: IO[bytes]) -> None:
        super().__init__()
        self._unpacked = unpacked
        self._name = name
        self._packed = packed

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that one can go back in it."""
        return True

    def tell(self) -> int:
        """Return how many bytes have passed."""
        return self._unpacked.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go elsewhere, and return where that is."""
        return self._unpacked.seek(offset, whence)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer, and return how many bytes it got."""
        view = memoryview(buffer)
        block = self._unpacked.read(len(view))
        _require(self._unpacked.tell(), self._name, self._packed)
        view[: len(block)] = block
        return len(block)
