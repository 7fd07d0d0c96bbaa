"""Going on, in real processes: what was killed, stopped or came too late is finished by one command, and told truly."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.cli import running
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Fault, Sandbox
from bulkredeem.settings import load_settings
from bulkredeem.summary import Typed

if TYPE_CHECKING:
    from tests.conftest import Ended, Rehearsal, Terminal, Turnstile

WriteCsv = Callable[..., Path]
HEADER = ["redemptionId", "billNumber", "identifierValue"]
NEW_PASSWORD = "loud-Heron-7"


def good_rows(count: int, *, prefix: str = "AB") -> list[list[str]]:
    """Return a file of so many rows, each of a redemption and a customer of its own."""
    return [HEADER, *([f"{prefix}{number:04}", f"B-{number}", f"9199{number:08}"] for number in range(count))]


def identifiers_of(row_numbers: set[int]) -> set[str]:
    """Return the redemptions of these rows of a good file."""
    return {f"AB{number - 2:04}" for number in row_numbers}


def run_folders(terminal: Terminal) -> list[Path]:
    """Return the folders of all runs, the oldest first if they did not begin within one second."""
    return sorted(each for each in terminal.reports.glob("*-*") if not each.is_symlink())


class AtOnce(Stop):
    """Sleeps no longer than it has to for others to come to their turn."""

    async def sleep(self, seconds: float) -> None:
        """Sleep a hundredth of the time."""
        await super().sleep(seconds / 100)


@pytest.fixture
def sandbox(rehearsal: Rehearsal) -> Sandbox:
    """Give the sandbox of the rehearsal: runs that are prepared here and processes use the same."""
    return rehearsal.sandbox


@pytest.fixture(autouse=True)
async def _secrets_stay_secret(terminal: Terminal, sandbox: Sandbox) -> AsyncIterator[None]:
    """See to it that no command of any test here prints or writes down a password."""
    first = sandbox.password
    yield
    assert terminal.leaks(sandbox.username, first, NEW_PASSWORD) == []


async def under_way(terminal: Terminal, sandbox: Sandbox, *words: str | Path) -> Any:
    """Start a run at a turnstile, and return it when ten rows are answered and four requests wait."""
    # They may wait longer than usual: on a busy machine whoever comes meanwhile takes half a minute to start.
    process = await terminal.start("run", *words, "--max-workers", "4", "--timeout", "600")
    await terminal.until(lambda: sandbox.requests == 14)
    return process


def assert_each_row_has_one_verdict(terminal: Terminal, rows: int) -> None:
    """Compare results and counts with what a file of good rows must come to."""
    results = terminal.results()
    assert [int(row["row_number"]) for row in results] == list(range(2, rows + 2))
    assert {row["status"] for row in results} == {"success"}
    summary = terminal.summary()
    assert summary["counts"]["success"] == sum(summary["counts"].values()) == rows
    assert (summary["state"], summary["exit_code"]) == ("finished", 0)


class TestAfterAKill:
    """`kill -9` in the middle of a run."""

    async def test_one_command_finishes_it(
        self, terminal: Terminal, write_csv: WriteCsv, turnstile: Turnstile, rehearsal: Rehearsal
    ) -> None:
        """It is listed as crashed with the rows that may be applied, and `resume` sends all rows but the recorded."""
        sandbox = rehearsal.sandbox
        process = await under_way(terminal, sandbox, write_csv(good_rows(60)), "--rate", "40/s")
        await terminal.until(lambda: len(rehearsal.settled(terminal.latest)) == 10)
        recorded = identifiers_of(rehearsal.settled(terminal.latest))
        process.send(signal.SIGKILL)
        assert (await process.ended()).code == -signal.SIGKILL
        turnstile.open()
        await terminal.until(lambda: len(sandbox.applied) == 14)
        await self.assert_it_is_listed(terminal)
        rehearsal.arrived.clear()
        resumed = await terminal.run("resume", "--rate", "none")
        assert (resumed.code, resumed.err) == (0, "")
        assert "60 rows, 10 of them recorded before" in resumed.out
        assert_each_row_has_one_verdict(terminal, 60)
        assert sorted(rehearsal.arrived) == sorted(identifiers_of(set(range(2, 62))) - recorded)
        applied = Counter(each.identifier for each in sandbox.applied)
        assert len(applied) == 60
        assert {applied[each] for each in recorded} == {1}
        await self.assert_nothing_is_left(terminal)

    @staticmethod
    async def assert_it_is_listed(terminal: Terminal) -> None:
        """Expect the reach of 40 rows beyond the first, less the ten that are recorded, to be in doubt."""
        shown = await terminal.run("runs")
        assert (shown.code, shown.err) == (0, "")
        assert "  crashed\n" in shown.out
        assert "60 rows: 10 success, 50 pending" in shown.out
        assert "up to 31 pending rows may have been applied" in shown.out

    @staticmethod
    async def assert_nothing_is_left(terminal: Terminal) -> None:
        """Expect `resume` to say that there is nothing, and a boot unit to be content with that."""
        asked, boot = await asyncio.gather(terminal.run("resume"), terminal.run("resume", "--if-any"))
        assert (asked.code, asked.out, asked.err) == (2, "", "There is no unfinished run in reports.\n")
        assert (boot.code, boot.out, boot.err) == (0, "There is no unfinished run in reports.\n", "")


class TestWhileItLives:
    """A run whose process works on it."""

    async def test_nobody_else_touches_it(
        self, terminal: Terminal, write_csv: WriteCsv, turnstile: Turnstile, sandbox: Sandbox
    ) -> None:
        """Each command that would is refused with 5, pid and host; a boot unit is content; the run does not suffer."""
        process = await under_way(terminal, sandbox, write_csv(good_rows(60)), "--rate", "none")
        name = terminal.latest.resolve().name
        commands = (["resume", name], ["resume"], ["report", name], ["abandon", name, "--reason", "wrong file"])
        refused = await asyncio.gather(*(terminal.run(*words) for words in commands))
        boot = await terminal.run("resume", "--if-any")
        turnstile.open()
        for command, words in zip(refused, commands, strict=True):
            assert (command.code, command.out) == (5, ""), words
            (sentence,) = command.err.splitlines()
            assert sentence.startswith(f"reports/{name} is being worked on by process {process.pid}"), words
            assert f" on {socket.gethostname()}, since " in sentence
        assert boot.code == 0
        assert (await process.ended()).code == 0
        assert_each_row_has_one_verdict(terminal, 60)
        assert sandbox.requests == len(sandbox.applied) == 60


class TestAfterASignal:
    """Ctrl-C, and a second one."""

    @pytest.mark.parametrize("presses", [1, 2])
    async def test_resume_sends_the_rest(
        self, terminal: Terminal, write_csv: WriteCsv, turnstile: Turnstile, rehearsal: Rehearsal, presses: int
    ) -> None:
        """Whether it drained or was cut off, only rows without an outcome are sent, and in the end each has one."""
        sandbox = rehearsal.sandbox
        process = await under_way(terminal, sandbox, write_csv(good_rows(60)), "--rate", "none")
        process.send(signal.SIGINT)
        await process.says("Ctrl-C again stops at once.")
        if presses == 1:
            turnstile.open()
        else:
            process.send(signal.SIGINT)
        assert (await process.ended()).code == {1: 3, 2: 130}[presses]
        turnstile.open()
        await terminal.until(lambda: len(sandbox.applied) == 14)
        done = terminal.summary()["counts"]["success"]
        assert done == {1: 14, 2: 10}[presses]
        rehearsal.arrived.clear()
        resumed = await terminal.run("resume", "--json", "--quiet")
        assert (resumed.code, resumed.err) == (0, "All 60 rows were updated. Nothing is left to do.\n")
        assert resumed.objects == [terminal.summary()]
        assert_each_row_has_one_verdict(terminal, 60)
        assert len(rehearsal.arrived) == len(set(rehearsal.arrived)) == 60 - done


class TestRetry:
    """A new run over what an older one left."""

    ROWS = (
        *(["AB01", "B-1", "919900000001"], ["NOPE02", "B-2", "919900000002"], ["FAIL03", "B-3", "919900000003"]),
        *(["DOUBT04", "B-4", "919900000004"], ["AB05", "8.88E+05", "919900000005"], ["AB06", "B-6", "919900000006"]),
    )

    async def of_every_kind(self, rehearsal: Rehearsal, write_csv: WriteCsv) -> Path:
        """Return a run with two successes, and a refused, failed, doubtful and invalid row; then all is mended."""
        trouble = {
            "FAIL03": Fault.error(status=503, code=4001),
            "DOUBT04": Fault.error(status=500, code=500, apply=True),
        }
        rehearsal.faults = lambda update: trouble.get(update.identifier)
        run = await rehearsal.run(write_csv([HEADER, *self.ROWS]), max_attempts=1)
        rehearsal.faults = lambda _: None
        rehearsal.sandbox.known = lambda _: True
        rehearsal.arrived.clear()
        return run.folder

    async def test_its_choices(self, terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal) -> None:
        """By default what may succeed now, else what is asked for by status or code; and no row twice."""
        old = await self.of_every_kind(rehearsal, write_csv)
        assert terminal.statuses(old) == ["success", "refused", "failed", "in_doubt", "invalid", "success"]
        usual = await terminal.run("retry", "--json")
        assert (usual.code, [each["rows"] for each in (usual.objects[0]["input"],)]) == (0, [2])
        assert [(row["row_number"], row["status"]) for row in terminal.results()] == [
            ("4", "success"),
            ("5", "success"),
        ]
        assert usual.objects == [terminal.summary()]
        assert usual.objects[0]["retry_of"] == old.name
        by_status = await terminal.run("retry", old, "--status", "refused", "--status", "failed", "--json")
        assert (by_status.code, len(by_status.objects)) == (0, 1)
        assert [(row["row_number"], row["status"]) for row in terminal.results()] == [("3", "success")]
        assert "1 row left out: a retry has taken them over already." in by_status.err
        by_code = await terminal.run("retry", old.name, "--code", "SPREADSHEET_DAMAGE")
        assert (by_code.code, by_code.err) == (1, "")
        assert [(row["row_number"], row["status"]) for row in terminal.results()] == [("6", "invalid")]
        assert rehearsal.arrived == ["FAIL03", "DOUBT04", "NOPE02"]
        nothing = await terminal.run("retry", old.name)
        assert (nothing.code, nothing.out) == (0, f"reports/{old.name} has no row left that this would try again.\n")
        assert len(run_folders(terminal)) == 4


class TestAbandon:
    """Closing a wrong run for good."""

    async def test_nothing_goes_on_with_it(self, terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal) -> None:
        """`resume` finds nothing any more; the rows can still be retried, and each was applied once in all."""
        folder = await rehearsal.stopped(write_csv(good_rows(30)), rows=7)
        done = terminal.statuses(folder).count("success")
        abandoned = await terminal.run("abandon", folder.name, "--reason", "it was last week's file", "--json")
        assert (abandoned.code, abandoned.objects) == (0, [terminal.summary(folder)])
        assert abandoned.objects[0]["state"] == "abandoned"
        assert "Abandoned: it was last week's file." in abandoned.err
        resumed = await terminal.run("resume")
        assert (resumed.code, resumed.err) == (2, "There is no unfinished run in reports.\n")
        retried = await terminal.run("retry", "--json")
        assert (retried.code, retried.objects[0]["counts"]["success"]) == (0, 30 - done)
        assert Counter(each.identifier for each in rehearsal.sandbox.applied) == Counter(
            identifiers_of(set(range(2, 32)))
        )


class TestEveryNight:
    """`run --resume-unfinished`, the scheduler's one command."""

    @pytest.mark.parametrize("backlog", ["first", "last"])
    async def test_what_is_left_comes_when_it_is_wanted(
        self, terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal, backlog: str
    ) -> None:
        """What earlier nights left is finished before or after tonight's file, each row once, and all is exit 0."""
        old = await rehearsal.stopped(write_csv(good_rows(12), "yesterday.csv"), rows=3)
        left = terminal.statuses(old).count("pending")
        tonight = write_csv(good_rows(5, prefix="ZZ"), "tonight.csv")
        words = ["--resume-unfinished", "--backlog", backlog, "--rate", "none", "--json", "--max-workers", "1"]
        run = await terminal.run("run", tonight, *words)
        assert run.code == 0
        assert len(run.objects) == 2
        assert {each["state"] for each in run.objects} == {"finished"}
        of_tonight = [each.startswith("ZZ") for each in rehearsal.arrived]
        assert of_tonight == ([False] * left + [True] * 5 if backlog == "first" else [True] * 5 + [False] * left)
        assert terminal.statuses(old) == ["success"] * 12

    async def test_what_nobody_can_go_on_with_is_told(
        self, terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal
    ) -> None:
        """A run of another system and one without a journal are told and cost nothing; an unreadable one is exit 2."""
        other = await rehearsal.stopped(write_csv(good_rows(12), "theirs.csv"), rows=3, username="other.till")
        before = (other / "journal.sqlite").read_bytes()
        (terminal.reports / "20260101T000000Z-dead").mkdir()
        tonight = write_csv(good_rows(5, prefix="ZZ"), "tonight.csv")
        words = ["run", str(tonight), "--resume-unfinished", "--rate", "none"]
        content = await terminal.run(*words)
        assert (content.code, content.err) == (0, "")
        assert f"Left alone: reports/{other.name} was begun with username = other.till" in content.out
        assert "reports/20260101T000000Z-dead died while it read its file, and sent nothing" in content.out
        assert (other / "journal.sqlite").read_bytes() == before
        unreadable = terminal.reports / "20260102T000000Z-beef"
        unreadable.mkdir()
        (unreadable / "journal.sqlite").write_bytes(b"no journal at all")
        complaining = await terminal.run(*words, "--resend")
        assert complaining.code == 2
        (sentence,) = complaining.err.splitlines()
        assert "reports/20260102T000000Z-beef/journal.sqlite" in sentence
        assert "it was left as it is" in sentence
        assert "All 5 rows were updated." in complaining.out
        assert len(rehearsal.arrived) == 10

    @pytest.mark.skipif(os.geteuid() != 0, reason="nobody but an administrator may give a folder away")
    async def test_a_run_that_others_have_put_there_is_not_sent_unless_it_is_named(
        self, terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal
    ) -> None:
        """Neither every night, nor by a `resume` or a `retry` that names none; who names it has looked at it."""
        planted = await rehearsal.stopped(write_csv(good_rows(12), "planted.csv"), rows=3)
        broken = terminal.reports / "20260102T000000Z-beef"
        broken.mkdir()
        (broken / "journal.sqlite").write_bytes(b"no journal at all")
        for folder in (planted, broken):
            os.chown(folder, 4_000_111, -1)
        left = terminal.statuses(planted).count("pending")
        rehearsal.arrived.clear()
        tonight = write_csv(good_rows(5, prefix="ZZ"), "tonight.csv")
        night = await terminal.run("run", tonight, "--resume-unfinished", "--rate", "none")
        assert (night.code, night.err) == (0, "")
        assert "Left alone, for others own the folders: " in night.out
        assert f"reports/{planted.name} (of user 4000111)" in night.out
        assert f"reports/{broken.name} (of user 4000111)" in night.out
        assert "What these have applied is not known to the ledger" in night.out
        unasked = await terminal.run("resume", "--if-any")
        assert unasked.code == 0
        assert f"reports/{planted.name} (of user 4000111)" in unasked.out
        assert "There is no unfinished run in reports" in unasked.out
        assert all(each.startswith("ZZ") for each in rehearsal.arrived)
        assert planted.name in (await terminal.run("runs")).out
        assert planted.name in (terminal.reports / "index.html").read_text()
        named = await terminal.run("resume", planted.name)
        assert named.code == 0
        assert sum(each.startswith("AB") for each in rehearsal.arrived) == left

    async def test_a_deadline_during_the_backlog(
        self, terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal
    ) -> None:
        """Tonight's file is taken in although it is too late to send any of it, exit 6; the next night finishes all."""
        await rehearsal.stopped(write_csv(good_rows(400), "yesterday.csv"), rows=3)
        tonight = write_csv(good_rows(5, prefix="ZZ"), "tonight.csv")
        words = ["--resume-unfinished", "--json", "--quiet", "--rate"]
        late = await terminal.run("run", tonight, "--deadline", "4s", *words, "10/s")
        assert late.code == 6
        assert [(Path(each["input"]["path"]).name, each["exit_code"]) for each in late.objects] == [
            ("yesterday.csv", 6),
            ("tonight.csv", 6),
        ]
        assert late.objects[1]["counts"]["pending"] == 5
        assert late.err.count("Stopped early: the deadline has come.") == 2
        assert not [each for each in rehearsal.arrived if each.startswith("ZZ")]
        following = await terminal.run("run", write_csv(good_rows(2, prefix="NEXT"), "next.csv"), *words, "none")
        assert following.code == 0
        assert [each["counts"]["success"] for each in following.objects] == [400, 5, 2]
        assert set(Counter(each.identifier for each in rehearsal.sandbox.applied).values()) == {1}

    async def test_a_deadline_before_the_backlog_is_gone_on_with(
        self, terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal
    ) -> None:
        """It is told as what it is, and tonight's file is taken in all the same."""
        yesterday = await rehearsal.stopped(write_csv(good_rows(40), "yesterday.csv"), rows=3)
        tonight = write_csv(good_rows(5, prefix="ZZ"), "tonight.csv")
        rehearsal.arrived.clear()
        late = await terminal.run("run", tonight, "--resume-unfinished", "--deadline", "0.001s")
        assert (late.code, late.err, rehearsal.arrived) == (6, "", [])
        assert f"The deadline came before anything more of reports/{yesterday.name} was sent." in late.out
        assert terminal.statuses(terminal.latest).count("pending") == 5

    async def test_rows_that_are_never_answered_do_not_cost_the_night(
        self,
        rehearsal: Rehearsal,
        write_csv: WriteCsv,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """A last row that the platform cannot answer looks like an outage; tonight's file is sent all the same."""
        old = await rehearsal.stopped(write_csv(good_rows(4), "yesterday.csv"), rows=3, max_workers=1)
        rehearsal.faults = lambda update: Fault.error(status=500, code=500) if update.identifier == "AB0003" else None
        monkeypatch.setattr(running, "Stop", AtOnce)
        tonight = write_csv(good_rows(5, prefix="ZZ"), "tonight.csv")
        flags = {"rate": "none", "outage_timeout": "0.2s", "resume_unfinished": True}
        code = await running.run_files([tonight], load_settings(flags), flags, Typed())
        assert code == 3
        assert Counter(rehearsal.verdicts(old).values()) == {("success", ""): 3, ("pending", "SENT_BEFORE"): 1}
        assert [each for each in rehearsal.arrived if each.startswith("ZZ")] == [
            f"ZZ{number:04}" for number in range(5)
        ]
        assert "it may be just these that it cannot answer: if so, abandon the run" in " ".join(
            capsys.readouterr().out.split()
        )


class TestDeadline:
    """`--deadline` of a single run."""

    async def test_a_time_of_day_that_is_past_is_tomorrow(self, terminal: Terminal, write_csv: WriteCsv) -> None:
        """Who names the minute that has just gone means the next day, and the run goes to its end."""
        gone = time.strftime("%H:%M", time.localtime(time.time() - 60))
        run = await terminal.run("run", write_csv(good_rows(3)), "--deadline", gone, "--rate", "none")
        assert (run.code, run.err) == (0, "")
        assert f"No row starts after {gone}." in run.out

    async def test_a_duration_ends_a_run_that_resume_finishes(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox
    ) -> None:
        """It says how many rows fit, ends with 6 and the command that goes on, and another day sends just the rest."""
        run = await terminal.run("run", write_csv(good_rows(30)), "--deadline", "2s", "--rate", "10/s")
        assert (run.code, run.err) == (6, "")
        assert re.search(r"No row starts after \d\d:\d\d: about (\d|1\d|20) of 30 rows fit\.", run.out)
        assert run.out.splitlines()[-1] == f"bulkredeem resume reports/{terminal.latest.resolve().name}"
        resumed = await terminal.run("resume", "--deadline", "1h", "--rate", "none")
        assert (resumed.code, resumed.err) == (0, "")
        assert_each_row_has_one_verdict(terminal, 30)
        assert sandbox.requests == len(sandbox.applied) == 30


class TestPassword:
    """A password that is wrong, and one that is changed."""

    @pytest.fixture
    def put(self, terminal: Terminal) -> Callable[[str], object]:
        """Write a password into the file that holds it."""
        return (terminal.folder / "till").write_text

    @pytest.fixture
    def terminal(self, terminal: Terminal) -> Terminal:
        """Give a terminal whose environment names the file of the password."""
        return terminal.with_variables(BULKREDEEM_PASSWORD="", BULKREDEEM_PASSWORD_FILE="till")

    async def test_a_wrong_one_is_tried_once(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, put: Callable[[str], object]
    ) -> None:
        """One request is refused, all rows are pending, exit 4; put right in its file, `resume` does the rest."""
        put(NEW_PASSWORD)
        run = await terminal.run("run", write_csv(good_rows(30)), "--rate", "none")
        assert (run.code, run.err, sandbox.requests) == (4, "", 1)
        assert terminal.statuses() == ["pending"] * 30
        assert "Have the password or the till's permission put right first, then go on with the run:" in run.out
        put(f"{sandbox.password}\n")
        resumed = await terminal.run("resume")
        assert (resumed.code, resumed.err) == (0, "")
        assert_each_row_has_one_verdict(terminal, 30)
        assert sandbox.requests == 31

    async def test_one_that_changes_during_a_run(
        self,
        terminal: Terminal,
        write_csv: WriteCsv,
        turnstile: Turnstile,
        sandbox: Sandbox,
        put: Callable[[str], object],
    ) -> None:
        """The file is read once more at the first refusal, and the run goes on without a refused row."""
        put(sandbox.password)
        process = await under_way(terminal, sandbox, write_csv(good_rows(60)), "--rate", "none")
        put(NEW_PASSWORD)
        sandbox.password = NEW_PASSWORD
        turnstile.open()
        run = await process.ended()
        assert (run.code, run.err) == (0, "")
        assert_each_row_has_one_verdict(terminal, 60)
        assert 61 <= sandbox.requests <= 64, "no more than were under way met the old password's end"


async def test_no_secure_connection_is_2(terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox) -> None:
    """When TLS fails at the start nothing is sent, all rows are pending, and the sentence says what to look at."""
    address = f"https://127.0.0.1:{sandbox.port}"
    run = await terminal.run("run", write_csv(good_rows(9)), "--base-url", address, "--rate", "none")
    assert (run.code, run.err, sandbox.requests) == (2, "", 0)
    assert terminal.statuses() == ["pending"] * 9
    assert "Stopped early: no secure connection to the platform could be made; check the base URL," in run.out


NO_SUCH_RUN = "There is no run no-such-run in reports; 'bulkredeem runs' lists those there are."
WRONG = {
    "resume no-such-run": NO_SUCH_RUN,
    "retry no-such-run": NO_SUCH_RUN,
    "report no-such-run": NO_SUCH_RUN,
    "abandon no-such-run --reason x": NO_SUCH_RUN,
    "resume 2026": "2 runs in reports begin with 2026; 'bulkredeem runs' lists those there are.",
    "report 20260101T": "2 runs in reports begin with 20260101T; 'bulkredeem runs' lists those there are.",
    "retry ''": "An empty name is no run's; 'bulkredeem runs' lists those there are.",
    "resume ''": "An empty name is no run's; 'bulkredeem runs' lists those there are.",
    "retry --status success": "--status success: such rows are done, and nothing sends them again.",
    "retry --reports elsewhere": "There is no run in elsewhere.",
    "resume --reports elsewhere": "There is no unfinished run in elsewhere.",
    "run f.csv --backlog sideways": "--backlog: Input should be 'first' or 'last'.",
    "run f.csv --deadline nonsense": "--deadline: 'nonsense' is no deadline; write a time of day like 06:00,",
    "run f.csv --deadline 25:00": "--deadline: '25:00' is no deadline; write a time of day like 06:00,",
    "resume --deadline -1h": "--deadline: '-1h' is no deadline; write a time of day like 06:00,",
    "check f.csv --deadline 0s": "--deadline: '0s' is no deadline; write a time of day like 06:00,",
    "run f.csv --outage-timeout 0": "--outage-timeout: '0' is not a duration; write it like 90s, 15m or 2h,",
    "resume --outage-timeout soon": "--outage-timeout: 'soon' is not a duration; write it like 90s, 15m or 2h,",
}
WRONG_USAGE = {
    "retry --status nonsense": "'nonsense' is not one of ",
    "abandon 2026": "Missing option '--reason'.",
    "report": "Missing argument 'RUN'.",
    "abandon --reason x": "Missing argument 'RUN'.",
    "selftest --kills -1": "Invalid value for '--kills': ",
    "resume one two": "Got unexpected extra argument",
    "runs --quiet": "No such option: --quiet",
}


@pytest.fixture
def _two_runs(nothing_configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure a platform that is not there, and lay out two runs whose names begin alike."""
    monkeypatch.setenv("BULKREDEEM_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BULKREDEEM_USERNAME", "sandbox.till")
    monkeypatch.setenv("BULKREDEEM_PASSWORD", NEW_PASSWORD)
    for name in ("20260101T000000Z-aaaa", "20260101T000000Z-bbbb"):
        (nothing_configured / "reports" / name).mkdir(parents=True)
        (nothing_configured / "reports" / name / "journal.sqlite").touch()


@pytest.mark.usefixtures("_two_runs")
@pytest.mark.parametrize("words", WRONG)
def test_what_makes_no_sense_is_one_sentence(typed: Callable[..., Ended], words: str) -> None:
    """A run that is none or not the only one, and a value that is none: exit 2, and a sentence that names it."""
    ended = typed(*shlex.split(words))
    assert (ended.code, ended.out) == (2, "")
    (sentence,) = ended.err.splitlines()
    assert sentence.startswith(WRONG[words])


@pytest.mark.usefixtures("_two_runs")
@pytest.mark.parametrize("words", WRONG_USAGE)
def test_wrong_usage_is_said(typed: Callable[..., Ended], words: str) -> None:
    """What is missing or unknown is said below the usage: exit 2, and no traceback."""
    ended = typed(*words.split())
    assert (ended.code, ended.out) == (2, "")
    usage, *_, sentence = ended.err.splitlines()
    assert usage.startswith("Usage: bulkredeem ")
    assert WRONG_USAGE[words] in sentence
    assert "Traceback" not in ended.err
