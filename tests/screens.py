"""Commands on a real pseudo-terminal, as a person has them before their eyes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.conftest import Started, Terminal

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(kw_only=True)
class Screen:
    """A pseudo-terminal, and the command on it."""

    terminal: Terminal
    process: Started
    descriptor: int
    """At which the terminal's owner sits."""
    shown: str = field(default="", init=False)
    """All that was written there so far, control sequences too."""

    def read(self) -> str:
        """Return all that was written, without control sequences."""
        with suppress(OSError):  # nothing more to read just now, or the other side is closed
            while chunk := os.read(self.descriptor, 65_536):
                self.shown += chunk.decode(errors="replace")
        return CONTROL.sub("", self.shown)

    def text(self) -> str:
        """Return what a person has read so far, nothing folded."""
        return " ".join(self.read().split())

    async def says(self, words: str) -> None:
        """Return when these words stand there."""
        await self.terminal.until(lambda: words in self.text())

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self.descriptor, f"{line}\n".encode())

    async def ended(self) -> int:
        """Return the exit code when the command has ended and all that it wrote is read."""
        await self.terminal.until(lambda: self.read() and self.process.process.returncode is not None)
        self.read()
        return (await self.process.ended()).code


def set_size(descriptor: int, columns: int, lines: int) -> None:
    """Set the size of a pseudo-terminal."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@asynccontextmanager
async def screens(terminal: Terminal, kind: type[Screen] = Screen) -> AsyncIterator[Callable[..., Any]]:
    """Give what starts a command on a pseudo-terminal, of 200 columns unless it is said otherwise."""
    opened: list[int] = []

    async def start(
        *words: str | Path, columns: int = 200, lines: int = 24, python: Sequence[str] = (), **variables: str
    ) -> Screen:
        ours, theirs = pty.openpty()
        opened.append(ours)
        os.set_blocking(ours, False)
        set_size(theirs, columns, lines)
        streams: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        streams |= {"python": python} if python else {}
        process = await terminal.start(*words, env={"TERM": "xterm-256color", **variables}, **streams)
        os.close(theirs)
        return kind(terminal=terminal, process=process, descriptor=ours)

    try:
        yield start
    finally:
        for each in opened:
            os.close(each)
