"""The block at the foot of a terminal: built anew whenever it is drawn, for the size that the terminal has then.

No line of it is wider than the terminal, and it never has as many lines as that: what scrolled away could not be taken
back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.control import Control
from rich.live import Live
from rich.live_render import LiveRender
from rich.text import Text

from bulkredeem.cli.progress.standing import Glance
from bulkredeem.cli.progress.words import colour_of
from bulkredeem.cli.streams import harmless
from bulkredeem.model import Status

REFRESHES: Final = 4
"""A second."""
BAR_MOST: Final = 40
"""Columns of the widest bar."""
BAR_LEAST: Final = 5
"""Columns below which a bar says nothing."""
LINES_LEFT: Final = 2
"""Lines of the terminal that are not the block's: one for the cursor, and one to see what was said last."""
COLUMNS_LEFT: Final = 3
"""Columns that are not the block's: the terminal may echo ^C behind the last line, which must not fold for that."""
_ELLIPSIS: Final = "…"


def lines_of(glance: Glance, *, width: int, height: int, encoding: str = "utf-8") -> list[Text]:
    """Return the block for a terminal of so many columns and lines, each line narrower than it.

    What matters less is left out first when the terminal is low.
    """
    room, left = max(1, width - COLUMNS_LEFT), max(1, height - LINES_LEFT)
    style = "red" if glance.is_bad else "yellow"
    notice = _packed([Text(f"{word}", style=style) for word in glance.notice.split()], " ", room)
    speed = _packed([Text(part) for part in (glance.rate, glance.left) if part], ", ", room)
    counts = _packed(_counted(glance), ", ", room)
    kept: list[list[Text]] = []
    for lines in ([_bar(glance, room, encoding)], notice, speed, counts, _errors(glance)):
        kept.append(lines[:left])
        left -= len(kept[-1])
    bar, notice, speed, counts, errors = kept
    # A title without anything below it tells nothing.
    shown = [*bar, *speed, *notice, *counts, *(errors if len(errors) > 1 else [])]
    return [_fitted(line, room, encoding) for line in shown]


def _bar(glance: Glance, room: int, encoding: str) -> Text:
    """Return the bar and how far it is; without a bar where there is no room for one."""
    words = f"{int(glance.share * 100):>3}%  {glance.how_far}"
    width = min(BAR_MOST, room - len(words) - 1)
    if width < BAR_LEAST:
        return Text(words.strip())
    full, empty = ("━", "─") if _has(encoding, "━─") else ("#", "-")
    done = int(glance.share * width)
    return Text.assemble((full * done, "green"), (empty * (width - done), "dim"), " ", words)


def _counted(glance: Glance) -> list[Text]:
    counts = glance.counts
    return [Text(f"{counts[each]:,} {each}", style=colour_of(each)) for each in Status if counts.get(each)]


def _errors(glance: Glance) -> list[Text]:
    if not glance.errors:
        return []
    lines = [Text(f"  {error.in_words()}", style=colour_of(error.status)) for error in glance.errors]
    return [Text("Last errors:"), *lines]


def _packed(parts: Iterable[Text], separator: str, room: int) -> list[Text]:
    """Put as many parts into a line as fit: they are never torn in two."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + len(separator) + part.cell_len <= room:
            lines[-1] = Text.assemble(lines[-1], separator, part)
        else:
            lines.append(part)
    return lines


def _fitted(line: Text, room: int, encoding: str) -> Text:
    """Return a line without anything that a terminal would obey or cannot show, cut to so many columns."""
    # Character for character, so that the colours stay where they are.
    safe = harmless(line.plain)
    line.plain = safe if _has(encoding, safe) else "".join(each if _has(encoding, each) else "?" for each in safe)
    if line.cell_len > room:
        line.truncate(room, overflow="ellipsis" if _has(encoding, _ELLIPSIS) else "crop")
    return line


def _has(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


class Block:
    """What is drawn: as much of a glance as the terminal has room for."""

    def __init__(self, glance: Callable[[], Glance | None]) -> None:
        """`glance` is called whenever it is drawn."""
        self._glance = glance
        self.is_over = False
        """Whether only the bar is to stay."""
        self.widths: list[int] = []
        """Columns of the lines that were drawn last."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        glance = self._glance()
        if glance is None:
            return
        height = 1 if self.is_over else console.height
        lines = lines_of(glance, width=options.max_width, height=height, encoding=options.encoding)
        self.widths = [line.cell_len for line in lines]
        yield Text("\n", no_wrap=True, overflow="crop").join(lines)


class Drawn(Live):
    """A block that is kept up to date. Started and stopped once: what was drawn before is not taken back."""

    def __init__(self, block: Block, console: Console) -> None:
        """Draw nothing yet."""
        super().__init__(block, console=console, refresh_per_second=REFRESHES, vertical_overflow="visible")
        self._live_render = _Refitted(block, console)


class _Refitted(LiveRender):
    """Finds the top of what was drawn, also when the terminal has become narrower since.

    Most terminals then fold the lines that stand there. Those are more lines to take back than were drawn.
    """

    def __init__(self, block: Block, console: Console) -> None:
        super().__init__(block, vertical_overflow="visible")
        self._block = block
        self._console = console

    def position_cursor(self) -> Control:
        if self._shape is not None:
            columns = max(1, self._console.width)
            self._shape = columns, sum(max(1, -(-width // columns)) for width in self._block.widths)
        return super().position_cursor()
