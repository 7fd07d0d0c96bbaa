"""Where words go: folded between words on a terminal, whole lines where a program, a file or a mail reads them."""

from __future__ import annotations

import sys
from typing import TextIO, cast

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from bulkredeem.cli.streams import Lasting, harmless


def make_console(*, on_stderr: bool) -> Console:
    """Return the console of a command; on standard error when standard output belongs to JSON."""
    stream = Lasting(sys.stderr if on_stderr else sys.stdout)
    return Console(file=cast("TextIO", stream), highlight=False, emoji=False)


def say(console: Console, text: str, *, style: str = "", indent: int = 0) -> None:
    """Print text as it is, without reading markup into it; folded lines keep the indent."""
    if console.is_terminal:
        console.print(Padding(Text(harmless(text), style=style), (0, 0, 0, indent), expand=False))
    else:
        say_whole(console, " " * indent + text)


def say_whole(console: Console, text: str, *, style: str = "") -> None:
    """Print a line without folding it, so that it can be copied from a terminal in one piece."""
    console.print(harmless(text), style=style, markup=False, soft_wrap=True)
