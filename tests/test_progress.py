"""What a person sees of a run under way: at every size of a terminal, without colour, and in a mail of plain lines."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from bulkredeem.application import Live, Start
from bulkredeem.cli.progress import PLAIN_INTERVAL, LiveBlock, PlainLines, Silent, duration_in_words, observer_for
from bulkredeem.cli.progress.block import Block, lines_of
from bulkredeem.cli.progress.speed import Speed
from bulkredeem.cli.progress.standing import Glance, LastError, Standing
from bulkredeem.cli.progress.words import rate_in_words, roughly
from bulkredeem.columns import ColumnMap
from bulkredeem.model import Outcome, Status
from bulkredeem.moments import time_in_words
from bulkredeem.summary import RunInfo

MakeOutcome = Callable[..., Outcome]
Virtually = Callable[[Coroutine[Any, Any, Any]], Any]
NOON = 1_764_000_000.0


@dataclass(kw_only=True)
class Platform:
    """A platform as a run sees it, and the clocks: what is here is what `Live` says."""

    now: float = 1000.0
    requests: int = 0
    paused_for: float = 0.0
    is_outage: bool = False
    allowed: float | None = 100 / 60

    def start(self, rows: int = 10_000, **changes: Any) -> Start:
        """Return the start of a run against it."""
        start = Start(
            info=RunInfo(run_id="r", path="fixes.csv", sha256="", rows=rows, started_at=0.0),
            columns=ColumnMap(headers=("billNumber",), used={"billNumber": 0}),
            folder=Path("reports/r"),
            base_url="https://eu.api.example.com",
            username="till.backoffice",
            rate="100/min",
            is_pace_shared=True,
            recorded=0,
            seconds=None,
            fit=None,
            deadline=None,
            patience=900.0,
            remarks=(),
            live=Live(
                requests=lambda: self.requests,
                paused_for=lambda: self.paused_for,
                is_outage=lambda: self.is_outage,
                allowed=lambda: self.allowed,
            ),
        )
        return replace(start, **changes)

    def standing(self, rows: int = 10_000, **changes: Any) -> Standing:
        """Return the standing of a run that has just begun."""
        standing = Standing(clock=lambda: self.now, wall_clock=lambda: NOON + self.now)
        standing.begin(self.start(rows, **changes))
        return standing

    def deliver(self, standing: Standing, rows: int, seconds: float, **changes: Any) -> Glance:
        """Let so many rows end, evenly, one request each, and return what is to be seen then."""
        for number in range(rows):
            self.now += seconds / rows
            self.requests += 1
            standing.add(Outcome(row_number=number + 2, **{"status": Status.SUCCESS, **changes}))
            standing.glance()
        glance = standing.glance()
        assert glance is not None
        return glance


@pytest.fixture
def platform() -> Platform:
    """Give a platform that allows 100 requests a minute."""
    return Platform()


FULL = Glance(
    done=60_000,
    rows=100_000,
    counts=dict.fromkeys(Status, 12_345),
    rate="58/min of 60/min (rate 100/min)",
    left="about 11 h 29 min left, before the deadline, 06:00",
    notice="The platform does not answer; probing since 14:02:10, for 0:15:00 at most.",
    is_bad=True,
    errors=tuple(
        LastError(
            status=Status.REFUSED, code=code, reason=f"Redemption update failed : {code}", rows=12, row_number=532
        )
        for code in ("750", "8015", "521")
    ),
)


def shown(glance: Glance, width: int, height: int = 24, **options: Any) -> str:
    """Return what a terminal of that size shows, colours included."""
    # The surrounding's NO_COLOR is not to decide what a test sees.
    console = Console(
        file=StringIO(),
        width=width,
        height=height,
        force_terminal=True,
        color_system="standard",
        **options,
        _environ={},
    )
    with console.capture() as captured:
        console.print(Block(lambda: glance))
    return captured.get()


def plain(text: str) -> list[str]:
    """Return the lines of a text without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()


class TestBlock:
    """The block at the foot of a terminal."""

    def test_on_80_columns(self) -> None:
        """Bar, speed, why nothing moves, counts and the last errors stand there, each in a line of its own."""
        assert plain(shown(FULL, 80)) == [
            "━━━━━━━━━━━━━━━━━━━━━━━━────────────────  60%  60,000 of 100,000 rows",
            "58/min of 60/min (rate 100/min)",
            "about 11 h 29 min left, before the deadline, 06:00",
            "The platform does not answer; probing since 14:02:10, for 0:15:00 at most.",
            "12,345 success, 12,345 skipped, 12,345 invalid, 12,345 refused, 12,345 failed",
            "12,345 in_doubt, 12,345 pending",
            "Last errors:",
            "  750, 12 rows, last row 532: Redemption update failed : 750",
            "  8015, 12 rows, last row 532: Redemption update failed : 8015",
            "  521, 12 rows, last row 532: Redemption update failed : 521",
        ]

    @pytest.mark.parametrize("width", [40, 80, 120, 200])
    def test_no_count_is_torn_in_two(self, width: int) -> None:
        """On a narrow terminal the counts take more lines, and every one is still whole."""
        lines = plain(shown(FULL, width, height=40))
        assert max(map(len, lines)) < width
        together = "\n".join(lines)
        for status in Status:
            assert f"12,345 {status}" in together

    def test_a_narrow_terminal_has_a_short_bar(self) -> None:
        """The numbers come first; the bar takes what is left, and nothing where that is next to nothing."""
        assert plain(shown(FULL, 40))[0] == "━━━━────  60%  60,000 of 100,000 rows"
        assert plain(shown(FULL, 30))[0] == "60%  60,000 of 100,000 rows"

    def test_a_low_terminal_loses_the_errors_first(self) -> None:
        """Ten lines hold all but some of them; on four, the bar and the notice are left."""
        ten = plain(shown(FULL, 80, height=10))
        assert len(ten) == 8
        assert ten[-2:] == ["Last errors:", "  750, 12 rows, last row 532: Redemption update failed : 750"]
        assert plain(shown(FULL, 80, height=9))[-1] == "12,345 in_doubt, 12,345 pending"
        bar, notice = plain(shown(FULL, 80, height=4))
        assert ("60,000 of" in bar, "does not answer" in notice) == (True, True)

    def test_colours_say_nothing_that_words_do_not(self) -> None:
        """With NO_COLOR the same words stand there."""
        coloured, without = shown(FULL, 80), shown(FULL, 80, no_color=True)
        assert "\x1b[32m" in coloured
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]", without)
        assert plain(coloured) == plain(without)

    def test_a_platform_cannot_command_the_terminal(self) -> None:
        """What a reason says is shown as it is: no markup is read from it, and no escape sequence passes."""
        error = replace(FULL.errors[0], code="[bold]7", reason="\x1b[2J[red]see\u202e[/] \n[link=x]")
        line = plain(shown(replace(FULL, errors=(error,)), 120))[-1]
        assert line == "  [bold]7, 12 rows, last row 532: ?[2J[red]see?[/] ?[link=x]"

    def test_a_terminal_without_such_characters_gets_others(self) -> None:
        """Nothing becomes an escape that is longer than the character it stands for."""
        error = replace(FULL.errors[0], reason="zu spät …" * 20)
        lines = lines_of(replace(FULL, errors=(error,)), width=80, height=24, encoding="ascii")
        assert all(line.plain.isascii() for line in lines)
        assert lines[0].plain.startswith("####")
        assert "zu sp?t ?zu sp?t" in lines[-1].plain

    def test_only_the_bar_stays_when_it_is_over(self) -> None:
        """The counts come once more below it, with the ending."""
        console = Console(file=StringIO(), width=80, height=24, force_terminal=True, _environ={})
        block = Block(lambda: FULL)
        block.is_over = True
        with console.capture() as captured:
            console.print(block)
        assert len(plain(captured.get())) == 1

    @given(
        width=st.integers(1, 250),
        height=st.integers(1, 60),
        reasons=st.lists(st.text(), max_size=3),
        counts=st.dictionaries(st.sampled_from(Status), st.integers(0, 10**9)),
        encoding=st.sampled_from(["utf-8", "latin-1", "ascii"]),
    )
    def test_it_never_scrolls_and_never_folds(
        self, width: int, height: int, reasons: list[str], counts: dict[Status, int], encoding: str
    ) -> None:
        """Whatever the platform says and however small the terminal is, each line is a line, and all of them fit."""
        errors = tuple(replace(FULL.errors[0], reason=reason) for reason in reasons)
        glance = replace(FULL, counts=counts, errors=errors)
        lines = lines_of(glance, width=width, height=height, encoding=encoding)
        assert len(lines) <= max(1, height - 2)
        for line in lines:
            assert cell_len(line.plain) <= max(1, width - 3)
            assert line.plain.isprintable()
            line.plain.encode(encoding)


class TestStanding:
    """What is to be seen of a run at a moment."""

    def test_the_rate_is_that_of_the_last_ten_seconds(self, platform: Platform) -> None:
        """What was long ago does not count; rows left over the rate make the time left."""
        standing = platform.standing(1000)
        platform.deliver(standing, 400, 60)
        glance = platform.deliver(standing, 16, 10)
        assert glance.rate == "96/min of 100/min"
        assert glance.how_far == "416 of 1,000 rows"
        assert glance.left == "about 6 min 5 s left"

    def test_before_anything_is_known_the_rate_makes_the_time_left(self, platform: Platform) -> None:
        """The first second shows what may go, and how long that takes."""
        glance = platform.standing(1000).glance()
        assert glance is not None
        assert (glance.rate, glance.left) == ("up to 100/min", "about 10 min left")

    def test_a_slow_rate_is_looked_at_for_longer(self, platform: Platform) -> None:
        """At ten an hour, ten seconds mostly hold no request, and that is no rate of 0."""
        platform.allowed = 10 / 3600
        standing = platform.standing(1000, rate="10/hour")
        assert platform.deliver(standing, 2, 720).rate == "10/hour of 10/hour"

    def test_a_platform_that_throttles_is_named(self, platform: Platform) -> None:
        """Both what it allows and what was configured stand there."""
        standing = platform.standing(1000)
        platform.allowed = 1.0
        assert platform.deliver(standing, 15, 15).rate == "60/min of 60/min (rate 100/min)"

    def test_a_pause_counts_down(self, platform: Platform) -> None:
        """It says who asks for it and how long it lasts; the time left holds it, and is what will be allowed after."""
        standing = platform.standing(1000)
        platform.deliver(standing, 20, 12)
        platform.paused_for, platform.allowed = 58.2, 50 / 60
        glance = standing.glance()
        assert glance is not None
        assert glance.notice == "The platform asks to wait: 59 s more."
        assert (glance.rate, glance.left) == ("up to 50/min (rate 100/min)", "about 20 min left")
        platform.paused_for = 0.4
        again = standing.glance()
        assert again is not None
        assert again.notice == ""

    def test_a_pause_is_no_speed(self, platform: Platform) -> None:
        """After it, the rate is not that of the seconds in which nothing was sent."""
        standing = platform.standing(1000)
        platform.deliver(standing, 20, 12)
        platform.paused_for = 30.0
        standing.glance()
        platform.now, platform.paused_for = platform.now + 30, 0.0
        standing.glance()
        assert platform.deliver(standing, 5, 3).rate == "100/min of 100/min"

    def test_an_outage_says_since_when(self, platform: Platform) -> None:
        """Nobody can tell how long it takes, and one who asks is no rate."""
        standing = platform.standing(1000)
        standing.outage(begins=True)
        platform.is_outage, platform.now = True, platform.now + 100
        glance = standing.glance()
        assert glance is not None
        assert re.fullmatch(
            r"The platform does not answer; probing since \d\d:\d\d:40, for 0:15:00 at most\.", glance.notice
        )
        assert (glance.is_bad, glance.left, glance.rate) == (True, "", "")

    @pytest.mark.parametrize(
        ("minutes", "words"),
        [
            (11, "about 10 min left, before the deadline, {}"),
            (5, "only about 500 of the 1,000 rows left fit before the deadline, {}"),
            (-1, "only about 0 of the 1,000 rows left fit before the deadline, {}"),
        ],
    )
    def test_with_a_deadline_it_says_whether_all_fits(self, platform: Platform, minutes: int, words: str) -> None:
        """Else how many do."""
        now = NOON + platform.now
        deadline = now + 60 * minutes
        glance = platform.standing(1000, deadline=deadline).glance()
        assert glance is not None
        assert glance.left == words.format(time_in_words(deadline, now))

    def test_the_last_three_reasons_are_told_apart(self, platform: Platform) -> None:
        """The newest first, each with its code, how many rows had it and the last of them; never the message itself."""
        standing = platform.standing(1000)
        for number, code in enumerate(["748", "750", "8015", "521", "750"], start=2):
            standing.add(
                Outcome(
                    row_number=number,
                    status=Status.REFUSED,
                    error_code=code,
                    error_message="of 919900000001",
                    reason="of {identifierValue}",
                )
            )
        standing.add(Outcome(row_number=9, status=Status.SKIPPED, error_code="DUPLICATE_ROW", reason="twice"))
        glance = standing.glance()
        assert glance is not None
        assert [error.in_words() for error in glance.errors] == [
            "750, 2 rows, last row 6: of {identifierValue}",
            "521, row 5: of {identifierValue}",
            "8015, row 4: of {identifierValue}",
        ]

    def test_a_million_reasons_take_no_memory(self, platform: Platform) -> None:
        """A platform that words every refusal differently is shown, and forgotten."""
        standing = platform.standing(1000)
        for number in range(1000):
            standing.add(Outcome(row_number=number, status=Status.FAILED, reason=f"request {number}"))
        assert len(standing._errors) == 100

    def test_rows_of_earlier_stretches_are_done(self, platform: Platform) -> None:
        """A run that is gone on with begins where it was, and its counts are of what is new."""
        standing = platform.standing(1000, recorded=400)
        glance = platform.deliver(standing, 4, 4)
        assert (glance.how_far, glance.counts) == ("404 of 1,000 rows", {Status.SUCCESS: 4})

    def test_at_its_end_the_reports_are_written(self, platform: Platform) -> None:
        """Then there is neither speed nor pause."""
        standing = platform.standing(1000)
        platform.paused_for = 60
        standing.is_writing = True
        glance = standing.glance()
        assert glance is not None
        assert (glance.notice, glance.rate, glance.left) == ("Writing the reports …", "", "")

    def test_a_file_without_rows_is_done(self, platform: Platform) -> None:
        """Nothing of nothing is all of it."""
        glance = platform.standing(0).glance()
        assert glance is not None
        assert (glance.share, glance.how_far, glance.left) == (1.0, "0 of 0 rows", "")


@pytest.mark.parametrize(
    ("now", "allowed", "configured", "words"),
    [
        (1.6, 100 / 60, "100/min", "96/min of 100/min"),
        (58 / 60, 1.0, "100/min", "58/min of 60/min (rate 100/min)"),
        (0.0, 100 / 60, "100/min", "0/min of 100/min"),
        (1.75, 100 / 60, "100/min", "100/min of 100/min"),
        (19.6, 16.66, "20/s,1000/min", "1,176/min of 1,000/min"),
        (3012.4, None, "none", "3,012/s"),
        (3.0, None, "none", "180/min"),
        (0.0, None, "none", "0/min"),
        (None, None, "none", ""),
        (900.0, 1500.0, "none", "900/s of 1,500/s (rate none)"),
        (8.0, 8.3, "auto", "480/min of 498/min (rate auto)"),
        (0.05 / 60, 0.1 / 60, "100/hour", "3/hour of 6/hour (rate 100/hour)"),
    ],
)
def test_a_rate_in_words(now: float | None, allowed: float | None, configured: str, words: str) -> None:
    """Now and at most are in one unit: the configured one, else one in which they are numbers of some size."""
    assert rate_in_words(now, allowed, configured) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"),
        (59.0, "59 s"),
        (62.0, "1 min 2 s"),
        (725.0, "12 min"),
        (3600.0, "1 h"),
        (12_000.0, "3 h 20 min"),
    ],
)
def test_a_guessed_duration_is_rough(seconds: float, words: str) -> None:
    """The longer it is, the less of it is said."""
    assert roughly(seconds) == words


def test_a_duration_that_was_measured_is_not_rough() -> None:
    """Seconds while they are few."""
    assert [duration_in_words(4.25), duration_in_words(75.4)] == ["4.2 s", "0:01:15"]


def test_speed_needs_two_seconds() -> None:
    """Before that, one request more or less would make another rate; until then as many rows go as requests may."""
    speed = Speed()
    speed.look(0.0, requests=0, rows=0, allowed=5.0)
    speed.look(1.9, requests=9, rows=9, allowed=5.0)
    assert (speed.requests, speed.rows(5.0)) == (None, 5.0)
    speed.look(2.0, requests=10, rows=4, allowed=5.0)
    assert (speed.requests, speed.rows(5.0)) == (5.0, 2.0)


def test_many_requests_tell_the_speed_at_once() -> None:
    """A run of a few seconds shows one, too."""
    speed = Speed()
    speed.look(0.0, requests=0, rows=0, allowed=None)
    speed.look(0.5, requests=500, rows=250, allowed=None)
    assert (speed.requests, speed.rows(None)) == (1000.0, 500.0)


class TestPlainLines:
    """What a pipe, a file or a scheduler's mail gets."""

    def told(self, virtually: Virtually, platform: Platform, act: Callable[[PlainLines], Any]) -> list[str]:
        """Return the lines that come after the announcement, while `act` is awaited."""
        written = StringIO()

        async def watch() -> None:
            clock = asyncio.get_running_loop().time
            with PlainLines(Console(file=written), clock=clock) as display:
                display.started(platform.start(2500))
                await act(display)
            await asyncio.sleep(10 * PLAIN_INTERVAL)

        virtually(watch())
        return written.getvalue().splitlines()[3:]

    def test_they_come_every_half_minute(self, virtually: Virtually, platform: Platform, outcome: MakeOutcome) -> None:
        """Each says how far it is, the counts by status, how fast it goes and how long it takes."""

        async def deliver(display: PlainLines) -> None:
            for number in range(120):
                await asyncio.sleep(0.6)
                platform.requests += 1
                display.recorded(outcome(number, status=Status.REFUSED if number % 4 == 0 else Status.SUCCESS))

        first, second = self.told(virtually, platform, deliver)
        words = (
            r"(49|5\d) of 2,500 rows \(\d%\): 3\d success, 1\d refused; (9\d|100)/min of 100/min, about 2\d min left\."
        )
        assert re.fullmatch(words, first)
        assert re.match(r"(99|10\d) of ", second)

    def test_they_come_when_nothing_moves(self, virtually: Virtually, platform: Platform) -> None:
        """In an outage there is a line every half minute, too, which says why nothing moves."""

        async def fall_silent(display: PlainLines) -> None:
            platform.is_outage = True
            display.outage(begins=True)
            await asyncio.sleep(95)
            platform.is_outage = False
            display.outage(begins=False)

        began, *lines, ended = self.told(virtually, platform, fall_silent)
        assert began.startswith("The platform does not answer. No row is given up for that")
        assert ended == "The platform answers again."
        assert len(lines) == 3
        for line in lines:
            assert "; probing since " in line

    def test_a_long_pause_is_a_line_of_its_own(self, virtually: Virtually, platform: Platform) -> None:
        """A short one is none."""

        async def pause(display: PlainLines) -> None:
            display.paused(3.0)
            display.paused(45.0)
            await asyncio.sleep(1)

        assert self.told(virtually, platform, pause) == ["The platform asks to wait 45.0 s."]

    def test_the_reports_take_long(self, virtually: Virtually, platform: Platform, outcome: MakeOutcome) -> None:
        """A million rows are written for longer than half a minute; that is said."""

        async def write(display: PlainLines) -> None:
            display.recorded(outcome())
            display.delivered()
            await asyncio.sleep(31)

        (line,) = self.told(virtually, platform, write)
        assert line == "1 of 2,500 rows (0%): 1 success. Writing the reports …"

    def test_nothing_is_told_after_the_end(self, virtually: Virtually, platform: Platform) -> None:
        """Also when it never started."""

        async def nothing(_: PlainLines) -> None:
            """End at once."""

        assert self.told(virtually, platform, nothing) == []
        with PlainLines(Console(file=StringIO())):
            pass


def test_what_is_about_to_happen_is_said_first(platform: Platform) -> None:
    """How many rows are left, how long that takes, until when they may start, and what a person should know."""
    written = StringIO()
    start = platform.start(1000, recorded=400, seconds=360.0, deadline=0.0, fit=250, remarks=("It is late.",))
    for each in (start, replace(start, fit=None)):
        with LiveBlock(Console(file=written, width=200)) as display:
            display.started(each)
    assert written.getvalue().startswith("fixes.csv: 1,000 rows, 400 of them recorded before, about 0:06:00; uses ")
    assert ": about 250 of 600 rows fit.\nIt is late.\nReports: " in written.getvalue()
    assert re.search(r"No row starts after [\d: -]+\.\n", written.getvalue())


class TestWhichDisplay:
    """The display that fits."""

    def test_quiet_shows_nothing(self, platform: Platform, outcome: MakeOutcome) -> None:
        """Whatever happens, also on a terminal."""
        console = Console(file=StringIO(), force_terminal=True)
        with observer_for(console, quiet=True) as display:
            display.started(platform.start())
            display.recorded(outcome())
            display.remark("Look.")
            display.paused(60.0)
            display.outage(begins=True)
            display.delivered()
        assert isinstance(display, Silent)
        assert console.file.getvalue() == ""  # type: ignore[attr-defined]  # it is a StringIO

    @pytest.mark.parametrize(
        ("environment", "is_terminal", "kind"),
        [
            ({"TERM": "xterm-256color"}, True, LiveBlock),
            ({"TERM": "xterm-256color", "NO_COLOR": "1"}, True, LiveBlock),
            ({"TERM": "dumb"}, True, PlainLines),
            ({"TERM": "xterm-256color"}, False, PlainLines),
        ],
    )
    def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(
        self,
        environment: dict[str, str],
        is_terminal: bool,  # noqa: FBT001  one of the cases
        kind: type,
    ) -> None:
        """So does a pipe."""
        console = Console(file=StringIO(), force_terminal=is_terminal, _environ=environment)
        assert type(observer_for(console, quiet=False)) is kind


class TestLiveBlock:
    """The block from its beginning to its end."""

    def drawn(self, platform: Platform, act: Callable[[LiveBlock, Console], None], **options: Any) -> str:
        """Return all that is written while `act` goes on."""
        written = StringIO()
        console = Console(file=written, force_terminal=True, **{"width": 80, "height": 24, **options}, _environ={})
        with LiveBlock(console) as display:
            display.started(platform.start())
            act(display, console)
        return written.getvalue()

    def test_the_cursor_comes_back(self, platform: Platform) -> None:
        """And what stays is a bar, and a line end behind it."""
        text = self.drawn(platform, lambda *_: None)
        assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
        assert re.search(r"0%  0 of 10,000 rows(\x1b\[0m)?\n(\x1b\[\?25h)?$", text)

    def test_without_a_run_nothing_is_drawn(self) -> None:
        """A command that waits for its file says so in lines."""
        written = StringIO()
        with LiveBlock(Console(file=written, force_terminal=True, _environ={})) as display:
            display.remark("Waiting for fixes.csv to come, for up to 2 h.")
            with display.silenced():
                pass
        assert re.sub(r"\x1b\[[0-9;]*m", "", written.getvalue()) == "Waiting for fixes.csv to come, for up to 2 h.\n"

    def test_a_question_has_the_terminal_for_itself(self, platform: Platform) -> None:
        """The block is taken back, and nothing is drawn meanwhile; then it comes back."""
        meanwhile = []

        def ask(display: LiveBlock, console: Console) -> None:
            with display.silenced():
                console.print("Go on? [y/N]", markup=False)
                meanwhile.append(display._drawn)
            meanwhile.append(display._drawn)

        text = self.drawn(platform, ask)
        assert meanwhile[0] is None
        assert meanwhile[1] is not None
        before, _, after = text.partition("Go on?")
        assert "\x1b[1A\x1b[2K" in before[before.rindex("of 10,000 rows") :]
        assert "of 10,000 rows" in after

    def test_a_terminal_that_became_narrower_is_cleaned(self, platform: Platform) -> None:
        """A line of 60 columns takes three lines of 25: all of them are taken back, not one."""
        heights = []

        def shrink(display: LiveBlock, console: Console) -> None:
            assert display._drawn is not None
            for width in (80, 25):
                console.width = width
                control = display._drawn._live_render.position_cursor()
                heights.append(str(control).count("\x1b[1A"))

        self.drawn(platform, shrink)
        assert heights == [1, 4]
