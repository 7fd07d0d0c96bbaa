"""A question to a person at the terminal: yes, or anything else, which is no."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from rich.console import Console

from bulkredeem.application import Ask
from bulkredeem.cli.progress import Display
from bulkredeem.cli.terminal import say
from bulkredeem.processor import Stop
from bulkredeem.settings import Settings

_LONGEST_ANSWER: Final = 1024
"""Bytes of a line that are read."""
_YES: Final = frozenset({"y", "yes"})


def asker_for(settings: Settings, console: Console, stop: Stop, display: Callable[[], Display]) -> Ask | None:
    """Return what asks the person at the terminal; None when nobody is there, or nobody is to be asked."""
    if settings.unattended or not console.is_terminal or not sys.stdin.isatty():
        return None

    async def ask(question: str) -> bool:
        with display().silenced():
            say(console, f"{question} [y/N]", style="bold")
            return (await _typed_line(stop)).strip().casefold() in _YES

    return ask


async def _typed_line(stop: Stop) -> str:
    """Return the line that is typed next. Raises Stopping when a stop is asked for meanwhile."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[str] = loop.create_future()
    # No thread: one that waits for a line could not be ended, and would keep the process from ending.
    loop.add_reader(sys.stdin.fileno(), lambda: _answer(typed))
    waiting = asyncio.ensure_future(stop.sleep(_FOR_EVER))
    either: set[asyncio.Future[Any]] = {typed, waiting}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not typed.done():
            await waiting
        return typed.result()
    finally:
        loop.remove_reader(sys.stdin.fileno())
        waiting.cancel()


def _answer(typed: asyncio.Future[str]) -> None:
    if not typed.done():
        # Bytes: what is no text in the terminal's encoding is no yes, and nothing to fail by.
        typed.set_result(os.read(sys.stdin.fileno(), _LONGEST_ANSWER).decode(errors="replace"))


_FOR_EVER: Final = 365 * 86_400.0
"""Seconds: nobody thinks for a year."""
