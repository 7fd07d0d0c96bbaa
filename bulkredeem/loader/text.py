"""Bytes → the physical lines of a text, and how they are encoded.

UTF-8 is taken for granted until a byte says otherwise. All before the first such byte is plain ASCII or valid UTF-8;
if there is no valid sequence of several bytes in the whole file, it is Windows-1252, in which the lines before would
read the same. Otherwise it is UTF-8 that was damaged, and the lines with the bytes that are none are to be refused.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import re
from collections.abc import Iterator
from functools import partial
from typing import IO, TYPE_CHECKING, Final

from bulkredeem.errors import InputFileError
from bulkredeem.loader.opening import UNPACKING_ERRORS, unreadable
from bulkredeem.settings.fields import codec_named

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

MAX_LINE: Final = 1_048_576
"""Bytes of one physical line. A longer one is no row of corrections, and must not fill the memory."""

_SAVE_AS_CSV: Final = "save it as 'CSV UTF-8 (comma delimited)'"
_HOLDS_NUL: Final = f"holds NUL bytes, so the file is not text; {_SAVE_AS_CSV}"
_SHORTEN: Final = "shorten the cell that fills it, and look whether the file has line ends"
_BYTE_ORDER_MARK: Final = codecs.BOM_UTF8
_WIDE: Final = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte order mark → encoding; the mark of UTF-16 begins that of UTF-32, so it comes later."""
_BY_LINE: Final = re.compile(r"utf-8|ascii|cp125\d|iso8859-\d+")
"""Encodings in which a line feed is a byte that stands for nothing else."""
_SEVERAL_BYTES: Final = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
"""A valid sequence of UTF-8 that is more than ASCII."""
_LONGEST_SEQUENCE: Final = 4
_HEAD: Final = 4_096
"""Bytes by which UTF-16 without a mark is recognised."""
_UNDECODABLE: Final = re.compile("[\udc00-\udcff]")
_FIRST_UNDECODABLE: Final = 0xDC00
"""A byte that is no text stands in a line as this plus the byte: no text can hold that."""
_MARK_UNDECODABLE: Final = "bulkredeem.undecodable"


def _mark_undecodable(exc: UnicodeError) -> tuple[str, int]:
    if not isinstance(exc, UnicodeDecodeError):
        raise exc
    return "".join(chr(_FIRST_UNDECODABLE + byte) for byte in exc.object[exc.start : exc.end]), exc.end


codecs.register_error(_MARK_UNDECODABLE, _mark_undecodable)


def undecodable_in(text: str) -> bytes:
    """Return the bytes of a line that are no text."""
    return bytes(ord(character) - _FIRST_UNDECODABLE for character in _UNDECODABLE.findall(text))


def shown(text: str) -> str:
    r"""Return a line in which bytes that are no text are written as `\xe9`."""
    return _UNDECODABLE.sub(lambda found: f"\\x{ord(found[0]) - _FIRST_UNDECODABLE:02x}", text)


class Lines:
    """The physical lines of a text, hashed as they pass.

    Once `has_undecodable` is true, a line may hold bytes that are no text. If `is_recoded`, the hash is not that of the
    stream's bytes.
    """

    def __init__(self, stream: IO[bytes], name: str, encoding: str = "") -> None:
        """Begin at the beginning of a stream; `encoding` is what somebody said. Raises InputFileError."""
        self.digest = hashlib.sha256()
        self.has_byte_order_mark = False
        self.has_undecodable = False
        self._name = name
        self._passed = 0
        self._is_certain = bool(encoding)
        self.encoding, self._stream = self._settle(stream, encoding)
        self.is_recoded = self._stream is not stream
        self._coming = self._read()

    def __iter__(self) -> Iterator[str]:
        """Go on where the reading stopped: whoever takes a record apart takes its further lines from here, too."""
        return self._coming

    def in_words(self) -> str:
        """Say how the text is encoded, as a sentence; empty for UTF-8."""
        if self.encoding == "utf-8":
            return ""
        name = {"cp1252": "Windows-1252 (cp1252)"}.get(self.encoding, self.encoding.upper())
        return f"The text is {name}."

    def _settle(self, stream: IO[bytes], encoding: str) -> tuple[str, IO[bytes]]:
        head = self._head(stream)
        mark = next((mark for mark in _WIDE if head.startswith(mark)), b"")
        found = _WIDE.get(mark) or _bare_wide(head)
        settled = self._named(encoding, found) if encoding else found or "utf-8"
        if _BY_LINE.fullmatch(settled):
            stream.seek(0)
            return settled, stream
        has_mark = bool(mark) and settled.startswith(_WIDE[mark])
        self.has_byte_order_mark = settled.startswith(("utf-16", "utf-32"))
        stream.seek(len(mark) if has_mark else 0)
        return settled, io.BufferedReader(_Recoded(stream, settled))

    def _head(self, stream: IO[bytes]) -> bytes:
        try:
            return stream.read(_HEAD)
        except UNPACKING_ERRORS as exc:
            raise unreadable(self._name, exc, ", line 1,") from exc

    def _named(self, encoding: str, found: str) -> str:
        """Return the codec of an encoding that somebody named, with the byte order that was found where it has one."""
        try:
            settled = codec_named(encoding)
        except LookupError:
            raise InputFileError(
                f"{self._name} cannot be read as {encoding!r}, which is no encoding of text; utf-8, utf-16 and cp1252"
                " are."
            ) from None
        if settled in {"utf-16", "utf-32"}:
            return found if found.startswith(settled) else f"{settled}-le"
        return "utf-8" if settled == "utf-8-sig" else settled

    def _read(self) -> Iterator[str]:
        update = self.digest.update
        try:
            for raw in iter(partial(self._stream.readline, MAX_LINE), b""):
                update(raw)
                yield self._decode(raw)
                self._passed += 1
        except UNPACKING_ERRORS as exc:
            raise unreadable(self._name, exc, f", line {self._passed + 1},") from exc
        except UnicodeError as exc:
            raise self._refusal(f"cannot be read as {self.encoding!r}: name another --encoding") from exc

    def _decode(self, raw: bytes) -> str:
        if not self._passed or len(raw) == MAX_LINE:
            raw = self._check_extent(raw)
        try:
            text = raw.decode("utf-8" if self.is_recoded else self.encoding)
        except UnicodeDecodeError:
            text = self._decode_damaged(raw)
        if "\0" in text:
            raise self._refusal(_HOLDS_NUL)
        return text

    def _decode_damaged(self, raw: bytes) -> str:
        """Decode a line with bytes that the encoding does not have, or find out that the encoding is another one."""
        if self.is_recoded:
            self.has_undecodable = True
            return raw.decode("utf-8", "surrogatepass")
        if b"\0" in raw:
            raise self._refusal(_HOLDS_NUL)
        if self.encoding == "utf-8" and not self._is_certain:
            self._is_certain = True
            if not self._holds_utf8():
                self.encoding = "cp1252"
        text = raw.decode(self.encoding, _MARK_UNDECODABLE)
        self.has_undecodable = self.has_undecodable or bool(_UNDECODABLE.search(text))
        return text

    def _holds_utf8(self) -> bool:
        """Look through the whole file for a valid sequence of several bytes, and come back."""
        position, rest = self._stream.tell(), b""
        self._stream.seek(0)
        try:
            for block in iter(partial(self._stream.read, MAX_LINE), b""):
                if _SEVERAL_BYTES.search(rest + block):
                    return True
                rest = block[1 - _LONGEST_SEQUENCE :]
        finally:
            self._stream.seek(position)
        return False

    def _check_extent(self, raw: bytes) -> bytes:
        """Look at how the file begins and at how long a line may be; return the line without a byte order mark."""
        is_cut = len(raw) == MAX_LINE and not raw.endswith(b"\n")
        if not self._passed:
            raw = self._check_start(raw)
        if is_cut:
            raise self._refusal(f"is longer than {MAX_LINE:,} bytes, which no row of corrections is: {_SHORTEN}")
        return raw

    def _check_start(self, raw: bytes) -> bytes:
        if b"\r" in raw and not raw.endswith(b"\n"):
            raise self._refusal(f"ends in a carriage return alone, as on old Macintoshes; {_SAVE_AS_CSV}")
        if not raw.startswith(_BYTE_ORDER_MARK) or self.encoding != "utf-8":
            return raw
        self.has_byte_order_mark = self._is_certain = True
        return raw.removeprefix(_BYTE_ORDER_MARK)

    def _refusal(self, what: str) -> InputFileError:
        return InputFileError(f"{self._name}, line {self._passed + 1}, {what}.")


def _bare_wide(head: bytes) -> str:
    """Return which UTF-16 a text without a mark is, or nothing; plain text has a NUL in nearly every other place."""
    first, second = head[::2], head[1::2]
    if second and second.count(0) * 2 > len(second) and not first.count(0):
        return "utf-16-le"
    if first and first.count(0) * 2 > len(first) and not second.count(0):
        return "utf-16-be"
    return ""


class _Recoded(io.RawIOBase):
    """The bytes of a text as they would be in UTF-8; those that are no text become what UTF-8 does not have."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        super().__init__()
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(_MARK_UNDECODABLE)
        self._ready = b""
        self._is_over = False

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer, and return how many bytes it got."""
        view = memoryview(buffer)
        while not self._ready and not self._is_over:
            block = self._stream.read(len(view))
            self._is_over = not block
            self._ready = self._decoder.decode(block, final=self._is_over).encode("utf-8", "surrogatepass")
        taken, self._ready = self._ready[: len(view)], self._ready[len(view) :]
        view[: len(taken)] = taken
        return len(taken)
