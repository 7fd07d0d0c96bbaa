"""A run on a real pseudo-terminal against the real sandbox: nothing folds, whatever the size and when it changes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from tests.screens import CONTROL, Screen, screens, set_size

if TYPE_CHECKING:
    from tests.conftest import Terminal

WriteCsv = Callable[..., Path]
HEADER = ["redemptionId", "billNumber", "identifierValue"]
BAR = re.compile(r"[━─]* *\d+%  [\d,]+ of 240 rows")

AS_ITS_OWN_TERMINAL = """
import fcntl, os, runpy, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.argv[0] = "bulkredeem"
runpy.run_module("bulkredeem", run_name="__main__")
"""
"""What a shell does for a command: its keys and its size come as signals."""


class Drawn(Screen):
    """A terminal of which it counts what was drawn when."""

    def resize(self, columns: int, lines: int) -> None:
        """Change the size; the system then sends SIGWINCH to the command."""
        set_size(self.descriptor, columns, lines)

    def press(self, keys: bytes) -> None:
        """Type something; Ctrl-C is a byte, too."""
        os.write(self.descriptor, keys)

    async def draws(self, words: str, after: int = 0) -> None:
        """Return when these words stand there, behind so many characters."""
        await self.terminal.until(lambda: words in self.read()[after:])

    def lines(self, start: int = 0, end: int | None = None) -> list[str]:
        """Return the lines that were written between two places of the text, each as it was drawn."""
        return [line for line in re.split(r"[\r\n]+", self.read()[start:end]) if line.strip()]


def blocks_of(shown: str) -> list[list[str]]:
    """Return each drawing of the block, as lines: what is written from one taking back of the last to the next."""
    drawings = re.split(r"\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*", shown)
    found = []
    for drawing in drawings:
        lines = CONTROL.sub("", drawing).replace("\r", "").split("\n")
        bars = [number for number, line in enumerate(lines) if BAR.fullmatch(line.strip())]
        if bars:
            found.append(lines[bars[-1] :])
    return found


@pytest.fixture
async def rehearse(unconfigured: Terminal, write_csv: WriteCsv) -> AsyncIterator[Callable[..., Awaitable[Drawn]]]:
    """Rehearse a file of 240 rows with some refusals, at 60 a second, on a terminal of such a size."""
    rows = [[f"{'NOPE' if number % 20 == 7 else 'AB'}{number:04}", f"B-{number}", ""] for number in range(240)]
    path = write_csv([HEADER, *([*row[:2], f"9199{number:08}"] for number, row in enumerate(rows))])
    async with screens(unconfigured, Drawn) as start:

        async def started(columns: int, lines: int, *options: str, rate: str = "60/s", **variables: str) -> Drawn:
            screen = await start(
                *("sandbox", "--latency", "0.05", "--", sys.executable, "-m", "bulkredeem"),
                *("run", path.name, "--rate", rate, *options),
                columns=columns,
                lines=lines,
                python=("-c", AS_ITS_OWN_TERMINAL),
                **variables,
            )
            assert isinstance(screen, Drawn)
            return screen

        yield started


class TestScreen:
    """A run on a terminal."""

    @pytest.mark.parametrize(("columns", "lines"), [(80, 24), (200, 50), (40, 10)])
    async def test_nothing_is_wider_or_higher_than_the_screen(
        self, rehearse: Callable[..., Awaitable[Drawn]], columns: int, lines: int
    ) -> None:
        """Bar, speed, counts and last errors are drawn again and again, and the closing sentence stands at the end."""
        screen = await rehearse(columns, lines)
        assert await screen.ended() == 1
        blocks = blocks_of(screen.shown)
        assert len(blocks) > 5
        for block in blocks[:-1]:
            assert len(block) <= lines - 2
            assert max(map(cell_len, block)) < columns
        together = " ".join(" ".join(block) for block in blocks)
        assert re.search(r"\d+/s of 60/s, about \d+ s left", together)
        assert re.search(r"\d+ success, \d+ refused", together)
        assert re.search(r"750, \d+ rows, last row \d+", together)
        assert "240 of 240 rows" in " ".join(screen.lines())
        assert "228 of 240 rows were updated" in " ".join(screen.read().split())
        assert screen.shown.rindex("\x1b[?25h") > screen.shown.rindex("\x1b[?25l")

    async def test_it_follows_the_size_of_the_terminal(self, rehearse: Callable[..., Awaitable[Drawn]]) -> None:
        """Made narrower in the middle of a run, and wider again, it is drawn for what it is."""
        screen = await rehearse(200, 50)
        await screen.draws("Last errors:")
        screen.resize(40, 12)
        narrow = len(screen.read())
        # The first drawing may have been under way when the size changed.
        await screen.draws("Last errors:", after=narrow)
        narrow = len(screen.read())
        await screen.draws("Last errors:", after=narrow)
        wide = len(screen.read())
        assert max(map(cell_len, screen.lines(narrow, wide))) < 40
        screen.resize(120, 30)
        assert await screen.ended() == 1
        assert any(len(line) > 40 for line in screen.lines(wide) if BAR.fullmatch(line))
        assert max(map(cell_len, screen.lines(wide))) <= 120

    async def test_without_colour_all_is_readable(self, rehearse: Callable[..., Awaitable[Drawn]]) -> None:
        """NO_COLOR leaves no colour, neither in the block nor in the ending."""
        screen = await rehearse(80, 24, NO_COLOR="1")
        assert await screen.ended() == 1
        assert not re.search(r"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])[;m]", screen.shown)
        assert re.search(r"━─+ +\d+%", screen.read())

    async def test_a_dumb_terminal_gets_lines(self, rehearse: Callable[..., Awaitable[Drawn]]) -> None:
        """Nothing moves its cursor."""
        screen = await rehearse(80, 24, rate="none", TERM="dumb")
        assert await screen.ended() == 1
        assert "\x1b" not in screen.shown
        assert "228 of 240 rows were updated" in " ".join(screen.read().split())

    async def test_quiet_is_quiet(self, rehearse: Callable[..., Awaitable[Drawn]]) -> None:
        """Only the closing sentence is shown, and how to go on."""
        screen = await rehearse(80, 24, "--quiet", rate="none")
        assert await screen.ended() == 1
        assert "━" not in screen.shown
        assert "228 of 240 rows were updated" in " ".join(screen.read().split())

    async def test_the_first_ctrl_c_is_told_above_the_block(self, rehearse: Callable[..., Awaitable[Drawn]]) -> None:
        """It finishes what is under way, and the bar stays where it stood."""
        screen = await rehearse(80, 24)
        await screen.draws("Last errors:")
        screen.press(b"\x03")
        assert await screen.ended() == 3
        text = " ".join(screen.read().split())
        assert "Ctrl-C: finishing what is under way, starting nothing new." in text
        assert re.search(r"Stopped early: Ctrl-C\. \d+ of 240 rows were updated", text)
