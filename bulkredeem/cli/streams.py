"""Standard output and standard error, which may break while a run goes on: then the words are lost, never the run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final, TextIO


class Lasting:
    """A text stream that takes everything: what it cannot write any more is lost.

    A pipe whose reader left, a terminal that is gone or a full disk behind a file must not end a run. Reports and exit
    code tell it all the same.
    """

    def __init__(self, stream: TextIO) -> None:
        """Stand before the stream."""
        self._stream: Final = stream

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  it has whatever the stream has
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write; a character that the stream's encoding lacks becomes its escape."""
        encoding = self._stream.encoding
        try:
            self._stream.write(text.encode(encoding, errors="backslashreplace").decode(encoding))
        except OSError:
            _forsake(self._stream)
        return len(text)

    def flush(self) -> None:
        """Flush."""
        try:
            self._stream.flush()
        except OSError:
            _forsake(self._stream)


def harmless(text: str) -> str:
    """Return a text with a question mark for what a terminal would obey: a header or path may hold escape sequences."""
    return "".join(character if character.isprintable() else "?" for character in text)


def complain(sentence: object) -> None:
    """Write a sentence, or several lines, to standard error."""
    print("\n".join(map(harmless, str(sentence).splitlines())), file=Lasting(sys.stderr), flush=True)


def write_json_line(line: bytes) -> None:
    """Write a line of JSON to standard output, in UTF-8 whatever the locale; say so when it cannot be written."""
    try:
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    except OSError as exc:
        _forsake(sys.stdout)
        complain(f"The JSON could not be written to standard output: {exc.strerror or exc}.")


def as_text(path: Path) -> str:
    """Return a path as text that JSON can hold: a file name may be any bytes."""
    return str(path).encode(errors="replace").decode()


def _forsake(stream: TextIO) -> None:
    """Let the rest go nowhere, also what Python flushes when the process ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
