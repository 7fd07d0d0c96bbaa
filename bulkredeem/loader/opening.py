"""A file, a pipe or standard input → bytes that can be read twice, and what they are: text, or which workbook.

What a file is, its first bytes say; its name says nothing. Compressed text is read as it is unpacked. What cannot be
read twice (a pipe) or cannot be jumped about in (a workbook inside an archive) is spooled to a temporary file first,
which has no name and goes with the process: it holds customers.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import IO, Final

from bulkredeem.errors import InputFileError, ReportsFolderError
from bulkredeem.loader.unfolding import limited
from bulkredeem.model import STANDARD_INPUT_IN_WORDS

STANDARD_INPUT: Final = Path("-")
"""How a person names standard input."""
UNPACKING_ERRORS: Final = (OSError, EOFError, zlib.error, zipfile.BadZipFile)
"""What reading compressed bytes can raise, and reading bytes at all."""

_BLOCK: Final = 1 << 20
"""Bytes that are copied at once."""
_MAGIC: Final = 8
"""Bytes by which a file is recognised."""
_DEEPEST: Final = 2
"""Packed things within each other that are unpacked: a workbook in an archive in a gzip file is no accident yet."""
_LISTED: Final = 10
"""Files of an archive that a sentence names."""
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_OLE: Final = b"\xd0\xcf\x11\xe0"
_GZIP: Final = b"\x1f\x8b"
_FOREIGN: Final = {
    b"7z\xbc\xaf\x27\x1c": "is a 7-Zip archive; unpack it first",
    b"Rar!\x1a\x07": "is a RAR archive; unpack it first",
    b"BZh91AY": "is compressed with bzip2; unpack it first",
    b"\xfd7zXZ\0": "is compressed with xz; unpack it first",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; unpack it first",
    b"%PDF-": "is a PDF, which has no cells; ask for the file it was made from",
}
"""How files start that cannot be read, and what to do about each."""
_PLAYS_NO_PART: Final = ("__MACOSX/", "._", ".DS_Store", "Thumbs.db", "desktop.ini")
"""How names of files begin that systems add to archives by themselves."""


class Form(Enum):
    """What a file is."""

    TEXT = "text"
    XLSX = "xlsx"
    ODS = "ods"
    OTHER_WORKBOOK = "xls"
    """A workbook whose cells can be read, and not how they are shown (.xls, .xlsb)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A file that is open, from its beginning."""

    name: str
    """What a person calls it."""
    stream: IO[bytes]
    """Its content, unpacked; one can go back in it."""
    form: Form
    modified_at: float
    """When the file was changed last, in seconds since the epoch."""
    sha256: str
    """Of the bytes as they lie on the disk; empty for plain text, which is hashed while it is read."""
    remarks: tuple[str, ...] = ()
    """Sentences about how it was opened."""


def is_standard_input(path: Path) -> bool:
    """Say whether a path is the name of standard input."""
    return path == STANDARD_INPUT


def name_of(path: Path) -> str:
    """Return what a person calls the file of this path."""
    return STANDARD_INPUT_IN_WORDS if is_standard_input(path) else str(path)


def process_input() -> IO[bytes] | None:
    """Return the standard input of this process, or None when it has none."""
    return None if sys.stdin is None else sys.stdin.buffer


@contextmanager
def opened(
    path: Path,
    folder: Path | None,
    *,
    proceed: Callable[[], None] = lambda: None,
    standard_input: Callable[[], IO[bytes] | None] = process_input,
    wall_clock: Callable[[], float] = time.time,
) -> Iterator[Opened]:
    """Open a file for reading from its beginning, and close it.

    What must be spooled is spooled into `folder`, or where the system keeps temporary files for None; `proceed` is
    asked meanwhile and raises what is to end it. Raises InputFileError for what cannot be read at all, and
    ReportsFolderError when the folder takes no more.
    """
    name = name_of(path)
    with ExitStack() as resources:
        unpacking = _Unpacking(name, partial(_spooled, name, folder, proceed, resources), resources)
        if is_standard_input(path):
            stream, modified_at = unpacking.spooled(_piped(standard_input())), wall_clock()
        else:
            stream = resources.enter_context(_open(path))
            status = os.fstat(stream.fileno())
            modified_at = status.st_mtime
            if not stat.S_ISREG(status.st_mode):
                stream = unpacking.spooled(stream)
        # Before it is unpacked: who unpacks it has its own idea of where in the stream it is.
        sha256 = "" if unpacking.is_plain(stream) else _digest(name, stream)
        content, form = unpacking.unpack(stream, 0)
        content.seek(0)
        yield Opened(
            name=name,
            stream=content,
            form=form,
            modified_at=modified_at,
            sha256=sha256,
            remarks=tuple(unpacking.remarks),
        )


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as exc:
        raise InputFileError(f"{path} cannot be read: {exc.strerror}.") from exc


def _piped(stream: IO[bytes] | None) -> IO[bytes]:
    """Return standard input if something is piped into it; raise InputFileError otherwise."""
    if stream is None or stream.closed:
        raise InputFileError("There is no standard input to read: name a file, or pipe one in (… | bulkredeem run -).")
    if stream.isatty():
        raise InputFileError(
            "Standard input is this terminal, and nothing is piped into it: name a file, or pipe one in"
            " (… | bulkredeem run -)."
        )
    return stream


def digest_of(opened: Opened) -> str:
    """Return the SHA-256 of plain text that was not hashed while it was read. Raises InputFileError."""
    return _digest(opened.name, opened.stream)


def _digest(name: str, stream: IO[bytes]) -> str:
    try:
        stream.seek(0)
        digest = hashlib.sha256()
        for block in iter(partial(stream.read, _BLOCK), b""):
            digest.update(block)
        stream.seek(0)
    except OSError as exc:
        raise InputFileError(f"{name} cannot be read: {exc.strerror or exc}.") from exc
    return digest.hexdigest()


def _spooled(
    name: str, folder: Path | None, proceed: Callable[[], None], resources: ExitStack, stream: IO[bytes]
) -> IO[bytes]:
    """Return a temporary file with all that a stream has to give, at its beginning."""
    try:
        copy = resources.enter_context(tempfile.TemporaryFile(dir=folder))  # noqa: SIM115  the stack closes it
    except OSError as exc:
        raise _not_kept(name, exc) from exc
    while True:
        proceed()
        try:
            block = stream.read(_BLOCK)
        except UNPACKING_ERRORS as exc:
            raise unreadable(name, exc) from exc
        if not block:
            break
        try:
            copy.write(block)
        except OSError as exc:
            raise _not_kept(name, exc) from exc
    copy.seek(0)
    return copy


def _not_kept(name: str, exc: OSError) -> ReportsFolderError:
    return ReportsFolderError(f"{name} cannot be kept in a temporary file while it is read: {exc.strerror or exc}.")


def unreadable(name: str, exc: BaseException, where: str = "") -> InputFileError:
    """Return the error of a file whose bytes could not be read or unpacked; `where` follows its name."""
    if isinstance(exc, OSError) and exc.errno is not None:
        return InputFileError(f"{name}{where} cannot be read: {exc.strerror or exc}.")
    return InputFileError(f"{name}{where} cannot be unpacked, so it is damaged or not whole: send it again.")


class _Unpacking:
    """Takes off whatever a file is packed in."""

    _packed: IO[bytes]
    """The file as it came."""

    def __init__(self, name: str, spooled: Callable[[IO[bytes]], IO[bytes]], resources: ExitStack) -> None:
        self.spooled = spooled
        self.remarks: list[str] = []
        self._name = name
        self._resources = resources

    def is_plain(self, stream: IO[bytes]) -> bool:
        """Say whether nothing has to be unpacked. Raises InputFileError for a stream that cannot be read."""
        return not self._magic(stream).startswith((_GZIP, *_ZIP, _OLE))

    def unpack(self, stream: IO[bytes], depth: int) -> tuple[IO[bytes], Form]:
        """Return the content of a stream and what it is. Raises InputFileError."""
        if depth == 0:
            self._packed = stream
        magic = self._magic(stream)
        if magic.startswith((_GZIP, *_ZIP)) and depth > _DEEPEST:
            raise self._refusal("is packed too many times over; unpack it first")
        if magic.startswith(_GZIP):
            # Said to be for reading: what is packed twice over has no mode that it could take.
            unpacked = self._resources.enter_context(gzip.GzipFile(fileobj=stream, mode="rb"))
            return self.unpack(limited(unpacked, self._name, self._packed), depth + 1)
        if magic.startswith(_ZIP):
            return self._unzip(stream if depth == 0 else self.spooled(stream), depth)
        if magic.startswith(_OLE):
            return self._old_workbook(stream if depth == 0 else self.spooled(stream))
        for start, what in _FOREIGN.items():
            if magic.startswith(start):
                raise self._refusal(what)
        return stream, Form.TEXT

    def _magic(self, stream: IO[bytes]) -> bytes:
        try:
            magic = stream.read(_MAGIC)
            stream.seek(0)
        except UNPACKING_ERRORS as exc:
            raise unreadable(self._name, exc, ", line 1,") from exc
        except RuntimeError as exc:  # what zipfile raises for a compression that it was built without
            raise self._refusal("is compressed in a way that cannot be read here; unpack it first") from exc
        return magic

    def _unzip(self, stream: IO[bytes], depth: int) -> tuple[IO[bytes], Form]:
        try:
            archive = self._resources.enter_context(zipfile.ZipFile(stream))
            form = _workbook_form(archive)
        except (*UNPACKING_ERRORS, KeyError, ValueError, RuntimeError) as exc:
            what = "begins like a workbook or a zip archive, but is damaged or not whole: send it again"
            raise self._refusal(what) from exc
        if form:
            return stream, form
        member = self._only_file(archive)
        self.remarks.append(f"The archive holds {member.filename!r}.")
        try:
            content = self._resources.enter_context(archive.open(member))
        except (*UNPACKING_ERRORS, RuntimeError) as exc:
            raise self._refusal("is a zip archive that cannot be unpacked here; unpack it first") from exc
        return self.unpack(limited(content, self._name, self._packed), depth + 1)

    def _only_file(self, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
        names = set(archive.namelist())
        if "[Content_Types].xml" in names or "mimetype" in names:
            raise self._refusal("is a document, and no workbook: save the table in it as CSV or .xlsx")
        members = [
            each
            for each in archive.infolist()
            if not each.filename.endswith("/")  # a name may be empty, which is_dir() does not take
            and not each.filename.startswith(_PLAYS_NO_PART)
            and not Path(each.filename).name.startswith(_PLAYS_NO_PART)
        ]
        if not members:
            raise self._refusal("is a zip archive without a file in it")
        if len(members) > 1:
            more = f" and {len(members) - _LISTED} more" if len(members) > _LISTED else ""
            listed = ", ".join(repr(each.filename) for each in members[:_LISTED])
            raise self._refusal(
                f"is a zip archive with {len(members)} files in it ({listed}{more}): unpack it, and name the one that"
                " is meant"
            )
        if members[0].flag_bits & 1:
            raise self._refusal("is a zip archive with a password: unpack it first")
        return members[0]

    def _old_workbook(self, stream: IO[bytes]) -> tuple[IO[bytes], Form]:
        """Tell an old workbook from a new one with a password, which Microsoft wraps in the old container."""
        wanted, rest = "EncryptedPackage".encode("utf-16-le"), b""
        for block in iter(partial(stream.read, _BLOCK), b""):
            if wanted in rest + block:
                raise self._refusal("is a workbook with a password: save it without one")
            rest = block[-len(wanted) :]
        stream.seek(0)
        return stream, Form.OTHER_WORKBOOK

    def _refusal(self, what: str) -> InputFileError:
        return InputFileError(f"{self._name} {what}.")


def _workbook_form(archive: zipfile.ZipFile) -> Form | None:
    names = set(archive.namelist())
    if "xl/workbook.bin" in names:
        return Form.OTHER_WORKBOOK
    if "[Content_Types].xml" in names and any(name.startswith("xl/") for name in names):
        return Form.XLSX
    if "mimetype" in names and b"opendocument.spreadsheet" in archive.read("mimetype"):
        return Form.ODS
    return None
