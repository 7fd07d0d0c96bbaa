"""Questions to a person at the terminal: yes, or anything else, which is no; and a password, which is not shown."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

from pydantic import SecretStr
from rich.console import Console

from bulkredeem.application import Ask
from bulkredeem.cli.progress import Display
from bulkredeem.cli.streams import Lasting, harmless
from bulkredeem.cli.terminal import say
from bulkredeem.notices.aside import aside
from bulkredeem.processor import Stop
from bulkredeem.settings import Settings

_LONGEST_ANSWER: Final = 4096
"""Bytes of a line that are read: a terminal gives no more at once."""
_YES: Final = frozenset({"y", "yes"})
_LOCAL_MODES: Final = 3
"""Where they are among what a terminal says of itself."""
_T = TypeVar("_T")


def asker_for(settings: Settings, console: Console, stop: Stop, display: Callable[[], Display]) -> Ask | None:
    """Return what asks the person at the terminal; None when nobody is there, or nobody is to be asked."""
    if settings.unattended or not console.is_terminal or not sys.stdin.isatty():
        return None

    async def ask(question: str) -> bool:
        with display().silenced():
            say(console, f"{question} [y/N]", style="bold")
            # What is no text in the terminal's encoding is no yes, and nothing to fail by.
            return (await _typed_line(stop)).decode(errors="replace").strip().casefold() in _YES

    return ask


async def find_password(settings: Settings, stop: Stop) -> None:
    """Look for the password wherever it may be, and ask the person at the terminal when it is nowhere.

    Nobody is asked when somebody is expected to have said it, or when address or user name are missing, too. A file or
    keyring that lets us wait keeps nobody from stopping. Raises ConfigurationError for a file that cannot be read, and
    Stopping when a stop is asked for meanwhile.
    """
    if not settings.base_url or not settings.username:
        return
    password = await _unless_stopped(asyncio.ensure_future(aside(settings.resolve_password)), stop)
    if password or settings.password_file is not None or not _may_be_typed(settings):
        return
    what = "Secret" if settings.auth == "oauth" else "Password"
    settings.take_typed(await _unseen(f"{what} of {settings.username} at {settings.base_url}: ", stop))


def _may_be_typed(settings: Settings) -> bool:
    return not settings.unattended and sys.stdin.isatty() and sys.stderr.isatty()


async def _unseen(question: str, stop: Stop) -> SecretStr:
    """Return what is typed next, which the terminal does not show. On standard error: the other may be piped."""
    stream = Lasting(sys.stderr)
    with _without_echo(sys.stdin.fileno()):
        stream.write(harmless(question))
        stream.flush()
        try:
            # Bytes that are no text stay what they are, so that whoever uses them says so.
            return SecretStr((await _typed_line(stop)).rstrip(b"\r\n").decode(errors="surrogateescape"))
        finally:
            stream.write("\n")
            stream.flush()


@contextmanager
def _without_echo(descriptor: int) -> Iterator[None]:
    """Keep a terminal from showing what is typed; what was typed ahead, and is on the screen, is no password."""
    before = termios.tcgetattr(descriptor)
    quiet = [*before]
    quiet[_LOCAL_MODES] = before[_LOCAL_MODES] & ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSAFLUSH, quiet)
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal is gone, and shows nothing any more
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


async def _typed_line(stop: Stop) -> bytes:
    """Return the line that is typed next. Raises Stopping when a stop is asked for meanwhile."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[bytes] = loop.create_future()
    # No thread: one that waits for a line could not be ended, and would keep the process from ending.
    loop.add_reader(sys.stdin.fileno(), lambda: _answer(typed))
    try:
        return await _unless_stopped(typed, stop)
    finally:
        loop.remove_reader(sys.stdin.fileno())


async def _unless_stopped(awaited: asyncio.Future[_T], stop: Stop) -> _T:
    """Return what is awaited. Raises Stopping when a stop is asked for meanwhile."""
    waiting = asyncio.ensure_future(stop.sleep(_FOR_EVER))
    either: set[asyncio.Future[Any]] = {awaited, waiting}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not awaited.done():
            await waiting
        return awaited.result()
    finally:
        awaited.cancel()
        waiting.cancel()


def _answer(typed: asyncio.Future[bytes]) -> None:
    if not typed.done():
        typed.set_result(os.read(sys.stdin.fileno(), _LONGEST_ANSWER))


_FOR_EVER: Final = 365 * 86_400.0
"""Seconds: nobody thinks for a year."""
