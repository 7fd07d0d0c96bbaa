"""The kill sweep: real processes killed at awkward moments; and that it would notice if the promise were broken."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import random
import re
import signal
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.cli import selftesting
from bulkredeem.cli.terminal import make_console
from bulkredeem.errors import ExitCode
from bulkredeem.journal import RunLock
from bulkredeem.model import DONE, Status
from bulkredeem.sandbox import Sandbox, UpdateRequest
from bulkredeem.selftest import Findings, sweep
from bulkredeem.selftest.story import Line, complaints, tell, write
from bulkredeem.selftest.sweep import AT_RANDOM, Death, Moment, _Case, _Counts, _moments
from bulkredeem.victim import Reaper

if TYPE_CHECKING:
    from tests.conftest import Ended, Terminal

LINES = tell()
LINE_OF = {line.bill_number: line for line in LINES}
"""The story, the same each time; every row has a bill number of its own."""


async def play(folder: Path, *moments: Moment) -> tuple[list[str], list[int]]:
    """Return what was not as promised at these moments, and how many processes were killed at each."""
    cases = [_Case(folder / f"case-{number}", LINES, moment) for number, moment in enumerate(moments)]
    found = [complaint for case in cases for complaint in await case.play()]
    return found, [case.kills for case in cases]


class TestSweep:
    """Real runs, killed and gone on with."""

    @pytest.mark.timeout(300)
    async def test_a_few_moments(self, tmp_path: Path) -> None:
        """Some by chance and some by design, between sending and answer too: each row has one true verdict."""
        by_chance, (found, kills) = await asyncio.gather(
            sweep(tmp_path / "by-chance", kills=3, seed=3),
            play(
                tmp_path / "by-design",
                Moment(request=9, is_applied=True),
                Moment(request=30),
                Moment(first=Death(at=80), second=Death(at=40)),
                Moment(first=Death(unit="call", at=30_000)),
            ),
        )
        assert by_chance.complaints == ()
        assert by_chance.moments == 3
        assert by_chance.kills >= 1
        assert (found, kills) == ([], [1, 1, 2, 1])

    @pytest.mark.torture
    @pytest.mark.timeout(7200)
    async def test_every_moment(self, tmp_path: Path) -> None:
        """Every boundary of a run and of going on with one, every request, and fifty calls at random."""
        told: list[tuple[int, int]] = []
        findings = await sweep(tmp_path, kills=None, seed=1, on_progress=lambda done, of: told.append((done, of)))
        assert findings.complaints == ()
        assert findings.moments == len(told) > 2 * len(LINES) + AT_RANDOM
        assert findings.kills > 0.8 * findings.moments

    async def test_a_process_that_dies_behind_its_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """When the journal holds the ending the run is over, however the process ended, and its reports are there."""
        start = _Case._start

        async def start_and_kill_too_late(case: _Case, *words: Any) -> int:
            await start(case, *words)
            return -signal.SIGKILL

        monkeypatch.setattr(_Case, "_start", start_and_kill_too_late)
        found, _ = await play(tmp_path, Moment())
        assert found == []

    async def test_a_run_that_sends_what_is_invalid(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process that really breaks the promise is found out: here it trusts identifiers that are damaged."""
        words = _Case._command
        monkeypatch.setattr(_Case, "_command", lambda case: (*words(case), "--trust-ids"))
        found, _ = await play(tmp_path, Moment())
        damaged = [LINE_OF[f"8.8{number}E+05"].row_number for number in range(3)]
        assert found == [f"row {number} is success, expected invalid" for number in damaged]

    async def test_a_run_that_never_ends(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who goes on again and again without an end is told so, and does not go on for ever."""

        async def stop_early(*_: Any) -> int:
            return ExitCode.STOPPED_EARLY

        monkeypatch.setattr(_Case, "_start", stop_early)
        assert await play(tmp_path, Moment()) == (["the run did not come to an end in 10 stretches"], [0])


class TestMoments:
    """Which moments there are."""

    COUNTS = (_Counts(boundaries=30, calls=9000), _Counts(boundaries=20, calls=5000))

    def test_it_is_every_one(self) -> None:
        """Each boundary of a run, and of going on from its half; each request, applied and not; and some calls."""
        moments = list(_moments(*self.COUNTS, random.Random(1)))  # noqa: S311
        boundaries = [each.first.at for each in moments if each.first.unit == "boundary" and not each.second.at]
        assert list(filter(None, boundaries)) == list(range(1, 31))
        going_on = [each for each in moments if each.second.at]
        assert [(each.first.at, each.second.at) for each in going_on] == [(15, number) for number in range(1, 21)]
        requests = Counter((each.request, each.is_applied) for each in moments if each.request)
        assert requests == Counter((number, is_applied) for number in range(1, 43) for is_applied in (False, True))
        calls = [each.first.at for each in moments if each.first.unit == "call"]
        assert len(calls) == AT_RANDOM
        assert all(1 <= at <= 9000 for at in calls)

    def test_a_seed_gives_the_same(self) -> None:
        """Whoever repeats a self-test with its seed and the same counts meets the same moments."""
        once, again = (list(_moments(*self.COUNTS, random.Random(7))) for _ in range(2))  # noqa: S311
        assert once == again

    @pytest.mark.parametrize(
        ("moment", "words"),
        [
            (Moment(first=Death(at=7)), "boundary 7"),
            (Moment(first=Death(unit="call", at=70)), "call 70"),
            (Moment(first=Death(at=7), second=Death(at=3)), "boundary 7, then boundary 3 while going on"),
            (Moment(request=5), "request 5 under way, not applied"),
            (Moment(request=5, is_applied=True), "request 5 under way, applied"),
        ],
    )
    def test_it_is_said_in_words(self, moment: Moment, words: str) -> None:
        """A complaint names the moment, so that it can be looked for again."""
        assert str(moment) == words


class Ending:
    """An invented end of the story: at first just as promised."""

    def __init__(self, folder: Path) -> None:
        """Take a folder for the reports."""
        self.folder = folder
        self.rows = [(line.row_number, min(line.expected)) for line in LINES]
        self.applied = [line for line in LINES if Status.SUCCESS in line.expected]

    def say(self, bill_number: str, status: Status) -> None:
        """Give a row another verdict."""
        row_number = LINE_OF[bill_number].row_number
        self.rows = [(number, status if number == row_number else each) for number, each in self.rows]

    def drop(self, bill_number: str) -> None:
        """Leave a row out of the results."""
        self.rows = [row for row in self.rows if row[0] != LINE_OF[bill_number].row_number]

    def complaints(self) -> list[str]:
        """Return what the sweep would say of it; reports that nobody has written before agree with the results."""
        self.write("results.csv", self.rows)
        if not (self.folder / "not_done.csv").exists():
            self.write("not_done.csv", [row for row in self.rows if row[1] not in DONE])
        if not (self.folder / "summary.json").exists():
            self.summarise(Counter(status for _, status in self.rows))
        return list(complaints(LINES, self.folder / "results.csv", sandbox_with(self.applied)))

    def write(self, name: str, rows: list[tuple[int, Status]]) -> None:
        """Write a report."""
        with (self.folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("row_number", "status"), *rows])

    def summarise(self, counts: Mapping[Status, int]) -> None:
        """Write the summary."""
        every = {str(status): counts.get(status, 0) for status in Status}
        (self.folder / "summary.json").write_text(json.dumps({"counts": every}))


def update_of(line: Line) -> UpdateRequest:
    """Return a row as it arrives."""
    return UpdateRequest(
        redemption_id=line.redemption_id,
        external_reference_number="",
        entity_type="CUSTOMER",
        identifier_type="mobile",
        identifier_value=line.customer,
        fields={"billNumber": line.bill_number},
    )


def sandbox_with(lines: list[Line]) -> Sandbox:
    """Return a sandbox that has applied these rows, in this order."""
    sandbox = Sandbox()
    for line in lines:
        sandbox._books.apply(update_of(line))
    return sandbox


class TestWhatItNotices:
    """Each way in which the promise can be broken, invented, and what the sweep says of it."""

    @pytest.fixture
    def ending(self, tmp_path: Path) -> Ending:
        """Give an end of the story."""
        return Ending(tmp_path)

    def test_nothing_when_all_is_as_promised(self, ending: Ending) -> None:
        """A row may have been sent and applied twice, as long as it had no outcome and the newer value stays."""
        assert ending.complaints() == []
        twice = [LINE_OF["P-0"], LINE_OF["T-0-newer"]]
        ending.applied = [*ending.applied, *twice]
        assert ending.complaints() == []

    def test_a_success_that_was_never_applied(self, ending: Ending) -> None:
        """A verdict that is false is worse than none."""
        ending.applied.remove(LINE_OF["P-0"])
        number = LINE_OF["P-0"].row_number
        assert ending.complaints() == [
            f"row {number} is success, and was never applied",
            "redemption PLAIN0 ends with nothing, not with P-0",
        ]

    @pytest.mark.parametrize(("bill_number", "status"), [("8.81E+05", Status.INVALID), ("R-1", Status.REFUSED)])
    def test_what_was_applied_and_should_not(self, ending: Ending, bill_number: str, status: Status) -> None:
        """An invalid row must never reach the platform, nor may an applied one be called refused."""
        ending.applied.append(LINE_OF[bill_number])
        assert ending.complaints() == [f"row {LINE_OF[bill_number].row_number} is {status}, and was applied"]

    @pytest.mark.parametrize("status", [Status.FAILED, Status.SKIPPED])
    def test_a_row_that_is_said_not_to_be_applied(self, ending: Ending, status: Status) -> None:
        """`failed` says that it surely was not applied, and `skipped` that nothing was sent."""
        ending.say("P-5", status)
        number = LINE_OF["P-5"].row_number
        assert ending.complaints() == [
            f"row {number} is {status}, expected success",
            f"row {number} is {status}, and was applied",
        ]

    def test_a_row_that_was_left_over(self, ending: Ending) -> None:
        """After everything was gone on with no row is pending."""
        ending.say("P-5", Status.PENDING)
        assert ending.complaints() == [f"row {LINE_OF['P-5'].row_number} is pending, expected success"]

    def test_an_older_value_at_the_end(self, ending: Ending) -> None:
        """A row sent once more behind a newer one of its redemption puts an old value back."""
        ending.applied.append(LINE_OF["T-3-older"])
        assert ending.complaints() == [
            f"row {LINE_OF['T-3-older'].row_number} is skipped, and was applied",
            "redemption TWICE3 ends with T-3-older, not with T-3-newer",
        ]

    def test_a_row_that_is_missing(self, ending: Ending) -> None:
        """Every row of the file stands in the results."""
        ending.drop("P-7")
        assert ending.complaints() == [
            "results.csv has 41 rows with 41 numbers, the file has 42 rows",
            f"row {LINE_OF['P-7'].row_number} is None, expected success",
        ]

    def test_a_row_that_stands_there_twice(self, ending: Ending) -> None:
        """Two verdicts are one too many, even when they are the same."""
        ending.rows.append(ending.rows[0])
        assert ending.complaints() == ["results.csv has 43 rows with 42 numbers, the file has 42 rows"]

    def test_reports_that_contradict_each_other(self, ending: Ending) -> None:
        """Counts and the list of what is not done must say what the results say."""
        ending.summarise({Status.SUCCESS: 42})
        ending.write("not_done.csv", [])
        assert ending.complaints() == [
            "the counts of summary.json are not those of results.csv",
            "not_done.csv does not hold the rows of results.csv that are not done",
        ]

    def test_a_row_that_was_sent_again(self, tmp_path: Path) -> None:
        """What had an outcome before a process began, and arrived after it did, is named."""
        case = _Case(tmp_path, LINES, Moment())
        first, second = (LINE_OF[bill_number] for bill_number in ("P-1", "P-2"))
        for line in (first, second, first):
            case._strike(update_of(line))
        recorded: set[tuple[str, object]] = {(first.redemption_id, first.bill_number), ("PLAIN9", "P-9")}
        assert case._sent_again(recorded, before=2) == ["P-1 was sent again although it had an outcome"]
        assert case._sent_again(recorded, before=3) == []

    def test_results_that_are_half_written(self, tmp_path: Path) -> None:
        """Where there are results at all they hold every row, at whatever moment the process died."""
        case = _Case(tmp_path, LINES, Moment())
        run = tmp_path / "reports" / "20260101T000000Z-aaaa"
        run.mkdir(parents=True)
        write(LINES, run / "results.csv")
        assert case._half_written() == []
        write(LINES[:20], run / "results.csv")
        assert case._half_written() == [f"{run / 'results.csv'} is not whole"]


class TestCommand:
    """`bulkredeem selftest`."""

    @pytest.mark.timeout(300)
    async def test_it_says_that_the_promise_holds(self, unconfigured: Terminal) -> None:
        """With nothing configured: exit 0, how many kills there were, and no trace of it afterwards."""
        process = await unconfigured.start("selftest", "--kills", "2", "--seed", "4", "--reports", "disk")
        run = await process.ended(within=240)
        assert (run.code, run.err) == (0, "")
        beginning, progress, ending = run.out.splitlines()
        assert re.fullmatch(
            r"Killing runs and going on with them in disk/selftest-\w+; only the built-in sandbox is contacted\.",
            beginning,
        )
        assert progress == "2 of 2 moments"
        assert re.fullmatch(
            r"The promise holds here: 2 moments tried, \d kills?; every row had one true verdict\.", ending
        )
        assert list((unconfigured.folder / "disk").iterdir()) == []

    def test_it_keeps_what_is_not_as_promised(
        self, nothing_configured: Path, typed: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What went wrong is said, with where to look: the folder stays. Exit 1."""
        asked: list[tuple[int | None, int]] = []

        async def broken(folder: Path, *, kills: int | None, seed: int, on_progress: Callable[..., None]) -> Findings:
            asked.append((kills, seed))
            (folder / "evidence").touch()
            on_progress(3, 3)
            return Findings(moments=3, kills=2, complaints=("boundary 7: row 2 is success, and was never applied",))

        monkeypatch.setattr(selftesting, "sweep", broken)
        told = typed("selftest", "--kills", "0", "--seed", "9")
        assert (told.code, told.err, asked) == (1, "", [(None, 9)])
        (evidence,) = nothing_configured.glob("reports/selftest-*/evidence")
        assert told.out.splitlines()[1:] == [
            "3 of 3 moments",
            "boundary 7: row 2 is success, and was never applied",
            f"Everything of it is in reports/{evidence.parent.name}.",
            "The promise does not hold here: 3 moments tried, 2 kills, 1 complaint.",
        ]

    def test_a_folder_that_cannot_be_is_said(self, nothing_configured: Path, typed: Callable[..., Ended]) -> None:
        """Where no folder can be made nothing is tried: exit 2 and one sentence."""
        (nothing_configured / "reports").touch()
        refused = typed("selftest", "--kills", "1")
        assert (refused.code, refused.out) == (2, "")
        assert refused.err == "No folder for the self-test can be made in reports: File exists.\n"

    def test_it_says_now_and_then_how_far_it_is(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Every tenth moment and the last, so that a log stays short."""
        progress = selftesting._Progress(make_console(on_stderr=False))
        for done in range(1, 26):
            progress(done, 25)
        assert capsys.readouterr().out == "10 of 25 moments\n20 of 25 moments\n25 of 25 moments\n"


class TestReaper:
    """What ends a process at its moment."""

    @staticmethod
    def watched(reaper: Reaper, act: Callable[[], object]) -> None:
        """Let a reaper hear of what is done."""
        sys.setprofile(reaper)
        try:
            act()
        finally:
            sys.setprofile(None)

    def test_it_counts_boundaries(self, tmp_path: Path) -> None:
        """Entry and exit of what makes something durable, ours or the system's; other functions are none."""
        reaper = Reaper(unit="boundary", at=0)
        (tmp_path / "a").touch()
        self.watched(reaper, (tmp_path / "a").exists)
        assert (reaper.boundaries, reaper.calls) == (0, 0)
        self.watched(reaper, lambda: os.replace(tmp_path / "a", tmp_path / "b"))  # noqa: PTH105  what is counted
        assert reaper.boundaries == 2
        self.watched(reaper, lambda: RunLock.acquire(tmp_path, now=0.0).__exit__(None, None, None))
        assert reaper.boundaries == 4

    def test_it_counts_calls_behind_the_first_boundary(self, tmp_path: Path) -> None:
        """What a process does before anything can be lost is no moment; from there on every call and return is."""

        def counted(before: int, after: int) -> int:
            reaper, descriptor = Reaper(unit="call", at=0), os.open(tmp_path / "a", os.O_CREAT | os.O_WRONLY)
            self.watched(reaper, lambda: sync(descriptor, before, after))
            os.close(descriptor)
            return reaper.calls

        assert counted(1, 1) == counted(50, 1) == counted(1, 6) - 2 * 5

    @pytest.mark.parametrize(("unit", "at", "before"), [("boundary", 3, 2), ("call", 4, 3), ("boundary", 0, None)])
    def test_it_strikes_once(self, monkeypatch: pytest.MonkeyPatch, unit: str, at: int, before: int | None) -> None:
        """SIGKILL to its own process, at the moment and not before; never for moment 0."""
        struck: list[tuple[int, int]] = []
        monkeypatch.setattr(os, "kill", lambda *what: struck.append(what))
        reaper, frame = Reaper(unit=unit, at=at), a_frame()
        heard = 0
        while not struck and heard < 10:
            reaper(frame, "c_call", os.fsync)
            heard += 1
        assert struck == ([] if before is None else [(os.getpid(), signal.SIGKILL)])
        assert heard == (10 if before is None else before + 1)


def sync(descriptor: int, before: int, after: int) -> None:
    """Come by one boundary, with so many calls before it and after it."""
    for _ in range(before):
        os.getpid()
    os.fsync(descriptor)
    for _ in range(after):
        os.getpid()


def a_frame() -> FrameType:
    """Return a frame of a function that is no boundary."""
    return sys._getframe()
