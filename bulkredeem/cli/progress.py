"""What a person sees while a run is under way: a live line on a terminal, plain lines elsewhere, nothing if quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from types import MappingProxyType, TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID
from rich.progress import TimeRemainingColumn as TimeLeftColumn
from rich.text import Text

from bulkredeem.application import Live, Observer, Start
from bulkredeem.cli.terminal import say, say_whole
from bulkredeem.model import Outcome, Status
from bulkredeem.moments import time_in_words
from bulkredeem.summary import counted

PLAIN_INTERVAL: Final = 30.0
"""Seconds between two plain lines."""
WORTH_A_LINE: Final = 10.0
"""Seconds of a pause that are worth a plain line."""
WORTH_MENTIONING: Final = 1.0
"""Seconds of a pause that are worth a word."""
SECONDS_OF_A_MINUTE: Final = 60
_OUTAGE_BEGINS: Final = (
    "The platform does not answer. No row is given up for that: one after the other asks whether it is back, for"
    " {patience} at most."
)
_OUTAGE_ENDS: Final = "The platform answers again."
_COLOURS: Final = {
    Status.SUCCESS: "green",
    Status.SKIPPED: "dim",
    Status.INVALID: "yellow",
    Status.REFUSED: "red",
    Status.FAILED: "red",
    Status.IN_DOUBT: "magenta",
    Status.PENDING: "cyan",
}


class Display(Observer, Protocol):
    """An observer that shows something from `with` to its end."""

    def silenced(self) -> AbstractContextManager[None]:
        """Leave the terminal to whoever asks a question."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def observer_for(console: Console, *, quiet: bool) -> Display:
    """Return the display that fits: silent if so wanted, live on a terminal, plain lines elsewhere."""
    if quiet:
        return Silent()
    return LiveLine(console) if console.is_terminal else PlainLines(console)


def colour_of(status: Status) -> str:
    """Return the colour a status has on a terminal."""
    return _COLOURS[status]


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def started(self, start: Start) -> None:
        """Show nothing."""

    def recorded(self, outcome: Outcome) -> None:
        """Show nothing."""

    def remark(self, sentence: str) -> None:
        """Show nothing."""

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Leave the terminal to whoever asks a question."""
        yield

    def paused(self, seconds: float) -> None:
        """Show nothing."""

    def outage(self, begins: bool) -> None:  # noqa: FBT001  one event, with its beginning and its end
        """Show nothing."""

    def delivered(self) -> None:
        """Show nothing."""


class PlainLines(Silent):
    """Writes a line at the start and every half minute: for a pipe, a file or a scheduler's mail."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` counts seconds."""
        self._console = console
        self._clock = clock
        self._counts: dict[Status, int] = {}
        self._rows = 0
        self._patience = 0.0
        self._before = 0
        self._last_line = clock()

    def started(self, start: Start) -> None:
        """Say what is about to happen, and where it will be reported."""
        self._rows = start.info.rows
        self._patience = start.patience
        self._before = start.recorded
        _announce(self._console, start)

    def recorded(self, outcome: Outcome) -> None:
        """Count, and say how far it is if the last line is old enough."""
        self._counts[outcome.status] = self._counts.get(outcome.status, 0) + 1
        now = self._clock()
        if now - self._last_line >= PLAIN_INTERVAL:
            self._last_line = now
            done = self._before + sum(self._counts.values())
            say(self._console, f"{done:,} of {self._rows:,} rows: {in_words(self._counts)}")

    def remark(self, sentence: str) -> None:
        """Say it."""
        say(self._console, sentence, style="yellow")

    def paused(self, seconds: float) -> None:
        """Say why nothing moves."""
        if seconds >= WORTH_A_LINE:
            say(self._console, f"The platform asks to wait {duration_in_words(seconds)}.")

    def outage(self, begins: bool) -> None:  # noqa: FBT001  one event, with its beginning and its end
        """Say why nothing moves, and when it moves again."""
        say(self._console, _outage_in_words(begins, self._patience))


class LiveLine(Silent):
    """Keeps a line up to date on a terminal, and below it one of counts: together they are wider than 80 columns."""

    def __init__(self, console: Console) -> None:
        """Show nothing yet."""
        self._console = console
        self._counts: dict[Status, int] = {}
        self._task: TaskID | None = None
        self._patience = 0.0
        self._pause = _PauseColumn()
        self._progress = _TwoLines(
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeLeftColumn(compact=True),
            self._pause,
            console=console,
            refresh_per_second=5,
        )
        self._progress.counts = self._counts

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def started(self, start: Start) -> None:
        """Say what is about to happen, and begin the line."""
        _announce(self._console, start)
        self._patience = start.patience
        self._pause.live = start.live
        self._task = self._progress.add_task("", total=start.info.rows, completed=start.recorded)

    def recorded(self, outcome: Outcome) -> None:
        """Move the line on."""
        self._counts[outcome.status] = self._counts.get(outcome.status, 0) + 1
        if self._task is not None:
            self._progress.update(self._task, advance=1)

    def remark(self, sentence: str) -> None:
        """Say it above the line."""
        say(self._console, sentence, style="yellow")

    @contextmanager
    def silenced(self) -> Iterator[None]:
        """Take the line away while somebody is asked a question."""
        self._progress.stop()
        try:
            yield
        finally:
            self._progress.start()

    def outage(self, begins: bool) -> None:  # noqa: FBT001  one event, with its beginning and its end
        """Say it above the line, which then shows that it lasts."""
        say(self._console, _outage_in_words(begins, self._patience))

    def delivered(self) -> None:
        """Speak of no pause any more: the reports are being written."""
        self._pause.live = None


class _TwoLines(Progress):
    """The usual line, and the counts by status below it."""

    counts: Mapping[Status, int] = MappingProxyType({})
    """Looked at whenever the line is drawn, not whenever a row ends."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.counts:
            counts = Text.from_markup(in_words(self.counts, coloured=True), overflow="ellipsis")
            counts.no_wrap = True
            yield counts


class _RateColumn(ProgressColumn):
    """Rows a second, or a minute when they are few."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        return Text(f"{speed:,.0f}/s" if speed >= 10 else f"{speed * 60:,.0f}/min")  # noqa: PLR2004  a matter of looks


class _PauseColumn(ProgressColumn):
    """Says why nothing moves."""

    live: Live | None = None

    def render(self, task: Task) -> Text:  # noqa: ARG002  the pause is the key's, not the task's
        if self.live and self.live.is_outage():
            return Text("the platform does not answer", style="red", no_wrap=True)
        seconds = self.live.paused_for() if self.live else 0.0
        if seconds < WORTH_MENTIONING:
            return Text("")
        return Text(f"the platform says: wait {seconds:.0f} s", style="yellow", no_wrap=True)


def duration_in_words(seconds: float) -> str:
    """Write a duration: seconds while they are few, else hours, minutes and seconds."""
    return f"{seconds:.1f} s" if seconds < SECONDS_OF_A_MINUTE else str(timedelta(seconds=round(seconds)))


def _announce(console: Console, start: Start) -> None:
    lasting = f", about {duration_in_words(start.seconds)}" if start.seconds else ""
    done = f", {start.recorded:,} of them recorded before" if start.recorded else ""
    say(console, f"{start.info.path}: {counted(start.info.rows, 'row')}{done}{lasting}; {start.columns.in_words()}.")
    say(console, _system_in_words(start))
    if start.deadline is not None:
        say(console, _deadline_in_words(start, start.deadline))
    for remark in start.remarks:
        say(console, remark, style="yellow")
    say_whole(console, f"Reports: {start.folder}")


def _system_in_words(start: Start) -> str:
    """Say where the rows go, and with whom their rate is shared."""
    name = f"{start.info.environment}, " if start.info.environment else ""
    whose = "all runs of this user name on this machine" if start.is_pace_shared else "no other run"
    return f"To {name}{start.base_url} as {start.username}; the rate, {start.rate}, is shared with {whose}."


def _outage_in_words(begins: bool, patience: float) -> str:  # noqa: FBT001  one event, with its beginning and its end
    return _OUTAGE_BEGINS.format(patience=duration_in_words(patience)) if begins else _OUTAGE_ENDS


def _deadline_in_words(start: Start, deadline: float) -> str:
    left = start.info.rows - start.recorded
    until = f"No row starts after {time_in_words(deadline, time.time())}"
    if start.fit is None:
        return f"{until}."
    return f"{until}: about {start.fit:,} of {counted(left, 'row')} fit."


def in_words(counts: Mapping[Status, int], *, coloured: bool = False) -> str:
    """Write down the counts that are not 0, in the order of the statuses."""
    words = [
        f"[{colour_of(status)}]{counts[status]:,} {status}[/]" if coloured else f"{counts[status]:,} {status}"
        for status in Status
        if counts.get(status)
    ]
    return ", ".join(words)
