"""`verify`, `compare` and `check` as real processes: what they settle, say and leave behind, and that they agree."""

from __future__ import annotations

import csv
import os
import pty
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.sandbox import Fault, Sandbox
from bulkredeem.sandbox.replies import Reply as Served
from bulkredeem.sandbox.replies import Then

if TYPE_CHECKING:
    from tests.conftest import Ended, Rehearsal, Started, Terminal, Turnstile

WriteCsv = Callable[..., Path]
HEADER = ["redemptionId", "billNumber", "identifierType", "identifierValue"]
AT_ONCE = ("--rate", "none")
IN_ORDER = (*AT_ONCE, "--max-workers", "1")
LOST = Fault(then=Then.RESET)
"""Not applied, and nobody can tell."""
DONE = Fault(apply=True, then=Then.RESET)
"""Applied, and nobody can tell."""
HANGING = Served(status=200, body=None, then=Then.HANG)
FIVE_MINUTES = 300.0


@pytest.fixture
def sandbox(rehearsal: Rehearsal) -> Sandbox:
    """Give the sandbox of the rehearsal: it hears of every update that arrives."""
    return rehearsal.sandbox


@pytest.fixture(autouse=True)
async def _secrets_stay_secret(terminal: Terminal, sandbox: Sandbox) -> AsyncIterator[None]:
    """See to it that no command of any test here prints or writes down the password."""
    yield
    assert terminal.leaks(sandbox.username, sandbox.password) == []


def mobile(number: int) -> str:
    """Return the mobile number of the customer of a row."""
    return f"9199{number:08}"


def row(number: int, bill: str | None = None, kind: str = "mobile") -> list[str]:
    """Return the line with this row number: of a redemption and a customer of its own."""
    return [f"AB{number:04}", f"B-{number}" if bill is None else bill, kind, mobile(number)]


def hold(sandbox: Sandbox, number: int, bill_number: str, **more: Any) -> None:
    """Let somebody else give the redemption of a row this bill number."""
    customer = ("CUSTOMER", "mobile", mobile(number))
    sandbox.plant(redemption_id=f"AB{number:04}", customer=customer, bill_number=bill_number, **more)


async def night(
    terminal: Terminal, rehearsal: Rehearsal, path: Path, faults: dict[int, Fault], *words: str
) -> tuple[Ended, Path]:
    """Run a file with these faults by row number and one attempt for each row; return its end and the run's folder."""
    rehearsal.faults = lambda update: faults.get(int(update.identifier.removeprefix("AB")))
    ended = await terminal.run("run", path, *IN_ORDER, "--max-attempts", "1", *words)
    rehearsal.faults = lambda _: None
    rehearsal.arrived.clear()
    return ended, Path("reports") / terminal.latest.resolve().name


async def doubtful_night(terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv) -> Path:
    """Return a run with three rows in doubt between good ones: 3 was applied, 5 was not, and 7 can never be read."""
    hold(rehearsal.sandbox, 5, "OLD-5")
    rows = [row(number, kind="cardnumber" if number == 7 else "mobile") for number in range(2, 9)]
    ended, folder = await night(terminal, rehearsal, write_csv([HEADER, *rows]), {3: DONE, 5: LOST, 7: LOST})
    assert ended.code == 1
    assert {
        number: each for number, each in rehearsal.verdicts(folder).items() if each[0] != "success"
    } == dict.fromkeys((3, 5, 7), ("in_doubt", "CONNECTION_LOST"))
    return folder


async def a_row_in_doubt(terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv, fault: Fault) -> Path:
    """Return a run of two rows, of which the second is in doubt."""
    hold(rehearsal.sandbox, 3, "OLD-3")
    _, folder = await night(terminal, rehearsal, write_csv([HEADER, row(2), row(3)]), {3: fault})
    assert rehearsal.verdicts(folder) == {2: ("success", ""), 3: ("in_doubt", "CONNECTION_LOST")}
    return folder


def moment_of(terminal: Terminal, number: int) -> float:
    """Return when a row of the newest run was tried last, as the reports say."""
    (text,) = [each["finished_at"] for each in terminal.results() if each["row_number"] == str(number)]
    return datetime.fromisoformat(text).timestamp()


async def listed(terminal: Terminal, folder: Path) -> dict[str, Any]:
    """Return what `runs` says of a run."""
    found: list[dict[str, Any]] = (await terminal.run("runs", "--json")).objects
    (of_it,) = [each for each in found if each["run_id"] == folder.name]
    return of_it


class TestVerify:
    """Rows whose answers were lost, and what the platform holds."""

    async def test_too_early_names_the_time_and_the_way_round_it(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """Nobody is asked, the exit is 2, and no verdict changes: an update without an answer may land late."""
        folder = await a_row_in_doubt(terminal, rehearsal, write_csv, DONE)
        before = (folder / "results.csv").read_bytes()
        early = await terminal.run("verify", folder.name)
        moment = time.strftime("%H:%M", time.localtime(moment_of(terminal, 3) + FIVE_MINUTES))
        assert (early.code, early.out) == (2, "")
        (sentence,) = early.err.splitlines()
        assert sentence.startswith(f"{folder} was sent so recently that")
        assert sentence.endswith(f"verify it from {moment} on, or verify now with --now.")
        assert rehearsal.sandbox.reads == 0
        assert (folder / "results.csv").read_bytes() == before

    async def test_what_the_platform_shows_settles_rows(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """One was applied, one was not, and one that cannot be read back stays in doubt and says why."""
        folder = await doubtful_night(terminal, rehearsal, write_csv)
        verified = await terminal.run("verify", folder.name, "--now")
        assert (verified.code, verified.err) == (1, "")
        assert rehearsal.verdicts(folder) == {
            **dict.fromkeys((2, 3, 4, 6, 8), ("success", "")),
            5: ("failed", "NOT_APPLIED"),
            7: ("in_doubt", "CONNECTION_LOST"),
        }
        for words in (
            "Applied after all, and success now:\n1 × CONNECTION_LOST, row 3\n",  # noqa: RUF001  as it is shown
            "Not applied, and failed now:\n1 × CONNECTION_LOST, row 5\n",  # noqa: RUF001  as it is shown
            (
                "As before, since nobody can tell:\n1 × CANNOT_READ_BACK, row 7\n"  # noqa: RUF001  as it is shown
                "    a customer named by cardnumber cannot be read back\n"
            ),
            "3 rows to read back, 2 requests: 1 applied after all, 1 not applied, 1 as before.\n",
            "5 of 7 rows were updated. 2 need someone",
        ):
            assert words in verified.out
        assert rehearsal.arrived == []

    async def test_all_that_tell_of_the_run_agree(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """The JSON of the command, both result files, the summary and `runs` come to the same counts."""
        folder = await doubtful_night(terminal, rehearsal, write_csv)
        verified = await terminal.run("verify", folder.name, "--now", "--json")
        (told,) = verified.objects
        statuses = terminal.statuses(folder)
        counts = {status: statuses.count(status) for status in told["counts"]}
        assert {status: count for status, count in counts.items() if count} == {
            "success": 5,
            "failed": 1,
            "in_doubt": 1,
        }
        assert told["counts"] == counts
        assert terminal.summary(folder)["counts"] == counts
        assert (await listed(terminal, folder))["counts"] == counts
        assert sorted(rehearsal.verdicts(folder, "not_done.csv")) == [5, 7]
        assert [(each["code"], each["example_rows"]) for each in terminal.summary(folder)["top_errors"]] == [
            ("NOT_APPLIED", [5]),
            ("CONNECTION_LOST", [7]),
        ]

    async def test_a_program_is_told_all_in_one_line(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """With --json standard output holds one object, and a person's words stand on standard error."""
        folder = await doubtful_night(terminal, rehearsal, write_csv)
        verified = await terminal.run("verify", folder.name, "--now", "--json", "--quiet")
        (told,) = verified.objects
        rows = {kind: [group["example_rows"] for group in told[kind]] for kind in ("applied", "not_applied", "unknown")}
        assert rows == {"applied": [[3]], "not_applied": [[5]], "unknown": [[7]]}
        assert (told["run_id"], told["rows"], told["requests"]) == (folder.name, 3, 2)
        assert (told["contradicted"], told["stop_reason"], told["exit_code"]) == ([], None, verified.code)
        assert verified.err.startswith("3 rows to read back, 2 requests: ")
        assert "Applied after all, and success now" not in verified.err

    async def test_0_when_nothing_is_left(self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv) -> None:
        """Once the last row in doubt was applied after all, nobody is needed, and without RUN the newest is meant."""
        folder = await a_row_in_doubt(terminal, rehearsal, write_csv, DONE)
        verified = await terminal.run("verify", "--now")
        assert (verified.code, verified.err) == (0, "")
        assert verified.out.splitlines()[-1] == "All 2 rows were updated. Nothing is left to do."
        assert terminal.statuses(folder) == ["success", "success"]
        assert terminal.results(folder, "not_done.csv") == []
        assert terminal.results(folder)[1]["warnings"].endswith("verified by reading back")

    async def test_a_report_afterwards_says_the_same(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """What was settled is in the journal: `report` writes the same results and the same summary again."""
        folder = await a_row_in_doubt(terminal, rehearsal, write_csv, DONE)
        await terminal.run("verify", folder.name, "--now")
        written = {name: (folder / name).read_bytes() for name in ("results.csv", "not_done.csv", "summary.json")}
        for name in written:
            (folder / name).unlink()
        again = await terminal.run("report", folder.name)
        assert {name: (folder / name).read_bytes() for name in written} == written
        assert again.out.splitlines()[-1] == "All 2 rows were updated. Nothing is left to do."

    async def test_a_second_time_asks_only_what_is_left(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """Of the settled rows nobody is asked again, and the one that cannot be read back costs no request."""
        folder = await doubtful_night(terminal, rehearsal, write_csv)
        await terminal.run("verify", folder.name, "--now")
        before, reads = rehearsal.verdicts(folder), rehearsal.sandbox.reads
        again = await terminal.run("verify", folder.name, "--now", "--json")
        assert (again.code, again.objects[0]["rows"], again.objects[0]["requests"]) == (1, 1, 0)
        assert rehearsal.verdicts(folder) == before
        assert rehearsal.sandbox.reads == reads

    async def test_nothing_in_doubt_is_said(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """A good night needs no reading back, not even five minutes of waiting."""
        _, folder = await night(terminal, rehearsal, write_csv([HEADER, row(2)]), {})
        verified = await terminal.run("verify", folder.name, "--quiet")
        assert (verified.code, verified.err, rehearsal.sandbox.reads) == (0, "", 0)
        assert verified.out.splitlines()[0] == f"Nothing in {folder} had to be read back."

    async def test_retry_takes_what_was_not_applied(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """The row that is failed now is sent again, and it alone: neither the settled one nor the one in doubt."""
        folder = await doubtful_night(terminal, rehearsal, write_csv)
        await terminal.run("verify", folder.name, "--now")
        retried = await terminal.run("retry", folder.name, "--code", "NOT_APPLIED", *AT_ONCE)
        assert (retried.code, rehearsal.arrived) == (0, ["AB0005"])
        assert rehearsal.verdicts(terminal.latest) == {5: ("success", "")}
        assert rehearsal.sandbox.redemptions["AB0005"].bill_number == "B-5"

    async def test_retry_without_a_choice_leaves_what_was_applied(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """It takes the row that was not applied and the one in doubt, and never the one that is a success now."""
        folder = await doubtful_night(terminal, rehearsal, write_csv)
        await terminal.run("verify", folder.name, "--now")
        retried = await terminal.run("retry", folder.name, *AT_ONCE)
        assert (retried.code, sorted(rehearsal.arrived)) == (0, ["AB0005", "AB0007"])

    async def test_the_story_tells_what_was_found(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """`history` knows the verdicts of today: set, and not applied."""
        folder = await doubtful_night(terminal, rehearsal, write_csv)
        await terminal.run("verify", folder.name, "--now")
        applied = await terminal.run("history", "AB0003")
        lost = await terminal.run("history", "AB0005")
        assert "   set, on " in applied.out
        assert "   not applied (NOT_APPLIED), on " in lost.out

    async def test_a_success_that_a_colleague_has_changed_is_told(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """With --all it is named, the exit is 1, and its verdict stays: it was set, and changed since."""
        path = write_csv([HEADER, row(2), row(3)])
        _, folder = await night(terminal, rehearsal, path, {})
        hold(rehearsal.sandbox, 3, "COLLEAGUE-3")
        before = rehearsal.verdicts(folder)
        usual = await terminal.run("verify", folder.name, "--now")
        every = await terminal.run("verify", folder.name, "--now", "--all", "--json")
        (told,) = every.objects
        assert (usual.code, every.code, told["rows"], told["exit_code"]) == (0, 1, 2, 1)
        assert [(each["message"], each["example_rows"]) for each in told["contradicted"]] == [
            ("the platform shows another value of billNumber", [3])
        ]
        assert "Success, and yet not as it was set:\n1 × row 3\n" in every.err  # noqa: RUF001  as it is shown
        assert "COLLEAGUE-3" not in every.out + every.err
        assert rehearsal.verdicts(folder) == before

    @pytest.mark.parametrize("words", [["verify", "20260101"], ["verify"]])
    async def test_2_when_there_is_no_such_run(self, terminal: Terminal, words: list[str]) -> None:
        """A name that is none, and no run at all, are one sentence."""
        ended = await terminal.run(*words, "--now")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("There is no run ")
        assert len(ended.err.splitlines()) == 1

    async def test_2_for_a_run_that_is_not_at_its_end(self, terminal: Terminal, rehearsal: Rehearsal) -> None:
        """Going on with it comes first."""
        folder = await rehearsal.stopped(rehearsal.file(20))
        ended = await terminal.run("verify", folder.name, "--now")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err == f"{folder} is stopped: go on with it first (resume), or abandon it.\n"

    async def test_4_when_access_is_refused(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """A till that may not ask changes no verdict, and the platform's own words are shown."""
        folder = await a_row_in_doubt(terminal, rehearsal, write_csv, DONE)
        rehearsal.sandbox.permitted = False
        ended = await terminal.run("verify", folder.name, "--now")
        assert ended.code == 4
        assert "Stopped early: " in ended.err
        assert "4000" in ended.err
        assert terminal.statuses(folder) == ["success", "in_doubt"]


class TestVerifyWhileOthersSend:
    """Whoever reads back takes part in the one pace of a key, and waits for the turn as a run does."""

    async def busy(self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv) -> tuple[Started, Path]:
        """Return a run under way that waits at the turnstile, and an older one with a row in doubt."""
        folder = await a_row_in_doubt(terminal, rehearsal, write_csv, DONE)
        path = write_csv([HEADER, *(row(number) for number in range(10, 30))], "other.csv")
        process = await terminal.start("run", path, *AT_ONCE, "--max-workers", "4", "--timeout", "600")
        await terminal.until(lambda: rehearsal.sandbox.requests == 14)
        return process, folder

    async def test_unattended_it_ends_with_5(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv, turnstile: Turnstile
    ) -> None:
        """The other run is named, nobody is asked, and the row stays in doubt."""
        process, folder = await self.busy(terminal, rehearsal, write_csv)
        refused = await terminal.run("verify", folder.name, "--now", "--unattended")
        turnstile.open()
        assert (refused.code, refused.out, rehearsal.sandbox.reads) == (5, "", 0)
        assert f"process {process.pid}" in refused.err
        assert terminal.statuses(folder) == ["success", "in_doubt"]
        assert (await process.ended()).code == 0

    async def test_it_waits_for_its_turn(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv, turnstile: Turnstile
    ) -> None:
        """The rows are read back when the other run has ended, and not before."""
        process, folder = await self.busy(terminal, rehearsal, write_csv)
        waiting = await terminal.start("verify", folder.name, "--now", *AT_ONCE)
        await waiting.says("Waiting for its end.")
        assert rehearsal.sandbox.reads == 0
        turnstile.open()
        assert ((await process.ended()).code, (await waiting.ended()).code) == (0, 0)
        assert terminal.statuses(folder) == ["success", "success"]

    async def test_who_stops_waiting_has_read_nothing(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv, turnstile: Turnstile
    ) -> None:
        """Ctrl-C while it waits is exit 3 and says so; the run that sends does not suffer."""
        process, folder = await self.busy(terminal, rehearsal, write_csv)
        waiting = await terminal.start("verify", folder.name, "--now", *AT_ONCE)
        await waiting.says("Waiting for its end.")
        waiting.send(signal.SIGINT)
        stopped = await waiting.ended()
        turnstile.open()
        assert (stopped.code, stopped.err, rehearsal.sandbox.reads) == (3, "", 0)
        assert stopped.out.splitlines()[-1] == f"Stopped before any row of {folder} was read back."
        assert terminal.statuses(folder) == ["success", "in_doubt"]
        assert (await process.ended()).code == 0


class TestVerifyStopped:
    """Ctrl-C while rows are read back."""

    async def under_way(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv, *words: str
    ) -> tuple[Started, Path]:
        """Return a verify of ten rows that were applied, and the run's folder, when it asks about the fourth."""
        # Two good ones before each in doubt: else the platform would look gone.
        path = write_csv([HEADER, *(row(number) for number in range(2, 32))])
        faults = dict.fromkeys(range(4, 32, 3), DONE)
        _, folder = await night(terminal, rehearsal, path, faults)
        assert terminal.statuses(folder).count("in_doubt") == 10
        process = await terminal.start("verify", folder.name, "--now", "--max-workers", "3", *words)
        await terminal.until(lambda: rehearsal.sandbox.reads >= 4)
        return process, folder

    async def test_the_first_keeps_what_was_found(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """Rows that were read by then are settled in the reports, the exit is 3, and another time the rest follows."""
        process, folder = await self.under_way(terminal, rehearsal, write_csv, "--rate", "4/s", "--json")
        process.send(signal.SIGINT)
        stopped = await process.ended()
        (told,) = stopped.objects
        assert (stopped.code, told["exit_code"], told["stop_reason"]) == (3, 3, "Ctrl-C")
        assert "Stopped early: Ctrl-C." in stopped.err
        doubtful = terminal.statuses(folder).count("in_doubt")
        assert 0 < doubtful <= 7
        assert told["counts"] == terminal.summary(folder)["counts"]
        assert told["counts"]["in_doubt"] == doubtful
        rest = await terminal.run("verify", folder.name, "--now", *AT_ONCE, "--json")
        assert (rest.code, rest.objects[0]["rows"]) == (0, doubtful)
        assert rehearsal.arrived == []

    async def test_the_second_ends_at_once_and_names_the_way_to_the_reports(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """What was found is in the journal; the command that is named brings the reports up to date."""
        hanging = mobile(10)
        rehearsal.sandbox.read_faults = lambda query: HANGING if query["mobile"] == hanging else None
        process, folder = await self.under_way(terminal, rehearsal, write_csv, *AT_ONCE, "--timeout", "600")
        await terminal.until(lambda: rehearsal.sandbox.reads == 10)
        process.send(signal.SIGINT)
        await process.says("Ctrl-C again stops at once.")
        process.send(signal.SIGINT)
        stopped = await process.ended()
        assert stopped.code == 130
        *_, command = stopped.out.splitlines()
        assert command == f"bulkredeem report {folder.name}"
        assert terminal.statuses(folder).count("in_doubt") == 10
        reported = await terminal.run(*command.split()[1:])
        assert (reported.code, reported.err) == (0, "")
        assert terminal.statuses(folder).count("in_doubt") == 1


COMPARED = (
    *(row(2), row(3), row(4), row(5), row(6, bill="")),
    *(row(7, kind="cardnumber"), row(8, bill="=1+2")),
)
RESULTS = ["same", "empty", "different", "not_found", "invalid", "not_read", "same"]


def a_file_of_every_kind(sandbox: Sandbox, write_csv: WriteCsv) -> Path:
    """Write a file whose rows have each result that there is, and return its path."""
    hold(sandbox, 2, "B-2")
    hold(sandbox, 3, "")
    hold(sandbox, 4, "OLD-4")
    hold(sandbox, 8, "=1+2")
    return write_csv([[*HEADER, "result", "=note"], *([*each, "theirs", "+44 x"] for each in COMPARED)])


def comparisons(terminal: Terminal) -> list[Path]:
    """Return all reports of comparisons, those of one second in any order."""
    return sorted(terminal.reports.glob("compare-*/comparison.csv"))


def read_as_a_spreadsheet_does(path: Path) -> list[list[str]]:
    """Return lines of cells: quotes are undone, apostrophes are not."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


class TestCompare:
    """A file beside the platform; nothing is sent."""

    async def test_each_row_has_its_result(self, terminal: Terminal, sandbox: Sandbox, write_csv: WriteCsv) -> None:
        """All six results, each with what is different or why nobody knows, and the rows counted by both."""
        ended = await terminal.run("compare", a_file_of_every_kind(sandbox, write_csv), *AT_ONCE)
        assert (ended.code, ended.err) == (1, "")
        (report,) = comparisons(terminal)
        results = terminal.results(report.parent, report.name)
        assert [each["result"] for each in results] == RESULTS
        assert [each["changes"] for each in results] == [
            "",
            'billNumber: "" → "B-3"',
            'billNumber: "OLD-4" → "B-4"',
            "the platform knows no such customer",
            results[4]["changes"],
            "a customer named by cardnumber cannot be read back",
            "",
        ]
        assert results[4]["changes"].startswith("748: ")
        assert "1 × different, row 4\n    the platform has another value of billNumber\n" in ended.out  # noqa: RUF001  as shown
        assert f"Every row: reports/{report.parent.name}/comparison.csv\n" in ended.out
        assert ended.out.splitlines()[-1] == (
            "7 rows: 2 same, 1 empty, 1 different, 1 not found, 1 not read, 1 invalid."
        )

    async def test_nothing_is_written_to_the_platform(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """No update arrives, every redemption is what it was, and no run comes of it."""
        sandbox = rehearsal.sandbox
        path = a_file_of_every_kind(sandbox, write_csv)
        before = dict(sandbox.redemptions)
        await terminal.run("compare", path, *AT_ONCE)
        assert (rehearsal.arrived, sandbox.applied, sandbox.requests) == ([], [], sandbox.reads)
        assert sandbox.redemptions == before
        assert not terminal.latest.exists()
        listing = await terminal.run("runs")
        assert (listing.code, listing.out) == (0, "There are no runs in reports.\n")

    async def test_a_spreadsheet_shows_the_report_and_runs_none_of_it(
        self, terminal: Terminal, sandbox: Sandbox, write_csv: WriteCsv
    ) -> None:
        """The file's own columns follow ours, one called as ours is renamed, and no cell is a formula."""
        await terminal.run("compare", a_file_of_every_kind(sandbox, write_csv), *AT_ONCE)
        (report,) = comparisons(terminal)
        header, *lines = read_as_a_spreadsheet_does(report)
        assert header == ["row_number", "result", "changes", *HEADER, "input.result", "'=note"]
        assert [line[0] for line in lines] == ["2", "3", "4", "5", "6", "7", "8"]
        assert lines[-1] == ["8", "same", "", "AB0008", "'=1+2", "mobile", mobile(8), "theirs", "'+44 x"]
        assert [cell for line in (header, *lines) for cell in line if cell.startswith(tuple("=+-@\t"))] == []

    async def test_0_when_all_are_the_same(self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv) -> None:
        """What was run is what the platform holds; only the closing sentence is shown when quiet."""
        path = write_csv([HEADER, row(2), row(3)])
        await night(terminal, rehearsal, path, {})
        ended = await terminal.run("compare", path, *AT_ONCE, "--quiet")
        assert (ended.code, ended.out, ended.err) == (0, "All 2 rows are the same.\n", "")

    async def test_a_run_stays_the_latest(self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv) -> None:
        """A comparison is no run: `latest` and a command without RUN mean the run before it."""
        path = write_csv([HEADER, row(2)])
        _, folder = await night(terminal, rehearsal, path, {})
        await terminal.run("compare", path, *AT_ONCE)
        assert terminal.latest.resolve().name == folder.name
        assert (await terminal.run("verify", "--json")).objects[0]["run_id"] == folder.name

    async def test_what_is_not_done_can_be_compared(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """The file of rows that a night left says which of them were applied after all."""
        folder = await doubtful_night(terminal, rehearsal, write_csv)
        ended = await terminal.run("compare", folder / "not_done.csv", *AT_ONCE)
        assert ended.code == 1
        (report,) = comparisons(terminal)
        found = [(each["redemptionId"], each["result"]) for each in terminal.results(report.parent, report.name)]
        assert found == [("AB0003", "same"), ("AB0005", "different"), ("AB0007", "not_read")]

    async def test_a_program_is_told_in_one_line(
        self, terminal: Terminal, sandbox: Sandbox, write_csv: WriteCsv
    ) -> None:
        """With --json standard output holds one object for the file, which agrees with the report."""
        path = a_file_of_every_kind(sandbox, write_csv)
        ended = await terminal.run("compare", path, *AT_ONCE, "--json")
        (told,) = ended.objects
        (report,) = comparisons(terminal)
        assert (told["path"], told["report"]) == (str(path), f"reports/{report.parent.name}/comparison.csv")
        assert (told["rows"], told["requests"], told["stop_reason"], told["exit_code"]) == (7, 5, None, ended.code)
        assert told["counts"] == {result: RESULTS.count(result) for result in told["counts"]}
        differences = {each["code"]: each["example_rows"] for each in told["differences"]}
        assert differences == {"empty": [3], "different": [4], "not_found": [5], "invalid": [6], "not_read": [7]}
        assert ended.err.endswith("7 rows: 2 same, 1 empty, 1 different, 1 not found, 1 not read, 1 invalid.\n")

    async def test_two_files_have_a_report_each(
        self, terminal: Terminal, sandbox: Sandbox, write_csv: WriteCsv
    ) -> None:
        """They are compared in the order given, and the exit code is the higher one."""
        hold(sandbox, 2, "B-2")
        hold(sandbox, 3, "OLD-3")
        paths = write_csv([HEADER, row(3)], "one.csv"), write_csv([HEADER, row(2)], "two.csv")
        ended = await terminal.run("compare", *paths, *AT_ONCE, "--json")
        assert ended.code == 1
        assert [(Path(each["path"]).name, each["exit_code"]) for each in ended.objects] == [
            ("one.csv", 1),
            ("two.csv", 0),
        ]
        assert sorted(each["report"] for each in ended.objects) == [
            str(each.relative_to(terminal.folder)) for each in comparisons(terminal)
        ]

    async def test_a_file_that_cannot_be_read_does_not_keep_the_next(
        self, terminal: Terminal, sandbox: Sandbox, write_csv: WriteCsv
    ) -> None:
        """It is one sentence on standard error and exit 2; the other file is compared all the same."""
        hold(sandbox, 2, "B-2")
        ended = await terminal.run("compare", "nowhere.csv", write_csv([HEADER, row(2)]), *AT_ONCE, "--quiet")
        assert ended.code == 2
        assert ended.err == "nowhere.csv cannot be read: No such file or directory.\n"
        assert ended.out == "The one row is the same.\n"
        assert len(comparisons(terminal)) == 1

    async def test_a_header_alone_is_nothing_to_compare(
        self, terminal: Terminal, sandbox: Sandbox, write_csv: WriteCsv
    ) -> None:
        """It says so, asks nobody, and is no failure."""
        ended = await terminal.run("compare", write_csv([HEADER]).name, "--quiet")
        assert (ended.code, ended.err, sandbox.requests) == (0, "", 0)
        assert ended.out == "fixes.csv has a header and no rows: there is nothing to compare.\n"

    async def test_a_stop_leaves_a_report_and_names_the_other_files(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """After Ctrl-C every row is in the report, those that nobody asked about say so, and the exit is 3."""
        for number in range(2, 22):
            hold(rehearsal.sandbox, number, f"B-{number}")
        path = write_csv([HEADER, *(row(number) for number in range(2, 22))])
        process = await terminal.start("compare", path, "two.csv", "--rate", "4/s")
        await terminal.until(lambda: rehearsal.sandbox.reads >= 3)
        process.send(signal.SIGINT)
        stopped = await process.ended()
        assert stopped.code == 3
        assert stopped.err == "Stopped early: Ctrl-C.\n"
        assert stopped.out.splitlines()[-1] == "Not compared: two.csv."
        (report,) = comparisons(terminal)
        found = [(each["result"], each["changes"]) for each in terminal.results(report.parent, report.name)]
        same = found.count(("same", ""))
        assert 3 <= same < 20
        assert found.count(("not_read", "it was not read back: Ctrl-C")) == 20 - same

    async def test_a_second_ctrl_c_leaves_nothing(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """While an answer hangs it ends at once with 130, and there is no report that could be taken for one."""
        rehearsal.sandbox.read_faults = lambda _: HANGING
        path = write_csv([HEADER, row(2)])
        process = await terminal.start("compare", path, "two.csv", *AT_ONCE, "--timeout", "600")
        await terminal.until(lambda: rehearsal.sandbox.reads == 1)
        process.send(signal.SIGINT)
        await process.says("Ctrl-C again stops at once.")
        process.send(signal.SIGINT)
        stopped = await process.ended()
        assert (stopped.code, stopped.err) == (130, "")
        assert stopped.out.splitlines() == [
            f"Stopped before {path} was compared; nothing was sent, and there is no report.",
            "Not compared: two.csv.",
        ]
        assert comparisons(terminal) == []


OVERLAPPING = (
    ["redemptionId", "billNumber", "purpose", "identifierValue", "Shop"],
    ["AB01", "B-1", "", "919900000001", "Pune"],
    ["AB01", "B-1", "", "919900000001", "Pune"],
    ["AB02", "B-2", "", "919900000002", "Pune"],
    ["AB02", "C-2", "", "919900000002", "Delhi"],
    ["AB03", "B-3", "tea", "919900000003", "Delhi"],
    ["AB03", "C-3", "", "919900000003", "Delhi"],
    ["AB04", "", "", "919900000004", "Pune"],
    ["AB05", "B-5", "", "919900000005", "Pune"],
    ["AB06", "", "", "919900000006", "Delhi"],
)
"""Twice the same, two fights of which one would be undone in part, one good row and two that are invalid."""


def skipped_of(report: dict[str, Any]) -> dict[str, int]:
    """Return code → rows that `check` would skip."""
    return {each["code"]: each["count"] for each in report["skipped"]}


class TestCheck:
    """Rows that have to do with each other, and rows that nobody asked for."""

    @pytest.mark.parametrize(
        ("words", "sendable", "skipped"),
        [
            ([], 2, {"DUPLICATE_ROW": 1}),
            (["--on-conflict", "last"], 4, {"DUPLICATE_ROW": 1, "SUPERSEDED": 1}),
            (["--only", "Shop=Pune"], 3, {"NOT_SELECTED": 4, "DUPLICATE_ROW": 1}),
            (["--only", "Shop=Delhi", "--on-conflict", "last"], 2, {"NOT_SELECTED": 5}),
            (["--only", "Shop=Agra"], 0, {"NOT_SELECTED": 9}),
        ],
    )
    async def test_it_agrees_with_what_a_run_then_does(
        self,
        terminal: Terminal,
        rehearsal: Rehearsal,
        write_csv: WriteCsv,
        words: list[str],
        sendable: int,
        skipped: dict[str, int],
    ) -> None:
        """Rows that could be sent, need no sending or are invalid are as many, by code, as in the run's results."""
        path = write_csv(OVERLAPPING)
        checked = await terminal.run("check", path, *words, "--json")
        (report,) = checked.objects
        assert (report["rows"], report["sendable"], skipped_of(report)) == (9, sendable, skipped)
        run = await terminal.run("run", path, *words, *AT_ONCE)
        verdicts = list(rehearsal.verdicts(terminal.latest).values())
        assert [status for status, _ in verdicts].count("success") == len(rehearsal.arrived) == sendable
        assert {
            code: verdicts.count(("skipped", code)) for _, code in verdicts if ("skipped", code) in verdicts
        } == skipped
        problems = {each["code"]: each["count"] for each in report["problems"]}
        assert {code: verdicts.count(("invalid", code)) for status, code in verdicts if status == "invalid"} == problems
        assert checked.code == report["exit_code"] == run.code

    async def test_a_person_reads_what_needs_no_sending(
        self, terminal: Terminal, sandbox: Sandbox, write_csv: WriteCsv
    ) -> None:
        """Like rows are told together, in words that hold for all of them."""
        ended = await terminal.run("check", write_csv(OVERLAPPING), "--on-conflict", "last", "--only", "Shop=Pune")
        assert (ended.code, ended.err, sandbox.requests) == (1, "", 0)
        assert (
            "Rows that need no sending:\n"
            "4 × NOT_SELECTED, rows 5, 6, 7, 10\n"  # noqa: RUF001  as it is shown
            "    other rows were selected (--only)\n"
            "1 × DUPLICATE_ROW, row 3\n"  # noqa: RUF001  as it is shown
            "    the same as an earlier row\n"
        ) in ended.out
        assert "3 of 9 rows could be sent: 3 requests, about " in ended.out

    async def test_0_when_the_others_need_no_sending(self, terminal: Terminal, write_csv: WriteCsv) -> None:
        """Nobody is asked to mend a row that was not selected, however wrong it is."""
        ended = await terminal.run("check", write_csv(OVERLAPPING), "--only", "redemptionId=AB05", "--json")
        (report,) = ended.objects
        assert (ended.code, report["exit_code"], report["problems"]) == (0, 0, [])
        assert (report["sendable"], skipped_of(report)) == (1, {"NOT_SELECTED": 8})
        assert "Mend" not in ended.err

    @pytest.mark.parametrize("command", ["check", "run"])
    async def test_2_for_a_column_that_is_not_there(
        self, terminal: Terminal, sandbox: Sandbox, write_csv: WriteCsv, command: str
    ) -> None:
        """Both say it alike, and nothing is sent."""
        path = write_csv(OVERLAPPING)
        ended = await terminal.run(command, path, "--only", "Town=Pune")
        assert (ended.code, ended.out, sandbox.requests) == (2, "", 0)
        assert ended.err.startswith(f"{path} has no column 'Town' for --only or --first to look at; it has ")


class Screen:
    """A command on a pseudo-terminal, and a person before it."""

    def __init__(self, terminal: Terminal, process: Started, descriptor: int) -> None:
        """Sit down before it."""
        self.process = process
        self._terminal = terminal
        self._descriptor = descriptor
        self._shown = ""

    def text(self) -> str:
        """Return what a person has read so far: no control sequences, and nothing folded."""
        with suppress(OSError):  # nothing more to read just now, or the other side is closed
            while chunk := os.read(self._descriptor, 65_536):
                self._shown += chunk.decode(errors="replace")
        return " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._shown).split())

    async def says(self, words: str) -> None:
        """Return when these words stand there."""
        await self._terminal.until(lambda: words in self.text())

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._descriptor, keys)

    async def ended(self) -> int:
        """Return the exit code when the command has ended."""
        await self._terminal.until(lambda: self.text() and self.process.process.returncode is not None)
        return (await self.process.ended()).code


@pytest.fixture
async def asked(terminal: Terminal, write_csv: WriteCsv) -> AsyncIterator[Screen]:
    """Give a run of twelve rows on a pseudo-terminal that has sent three canaries, and asks about the other nine."""
    path = write_csv([HEADER, *(row(number) for number in range(2, 14))])
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    streams: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    # As in a locale such as en_US.UTF-8, which not every machine has: what is typed has to be UTF-8.
    env = {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8:strict"}
    process = await terminal.start("run", path.name, "--canary", "3", *AT_ONCE, env=env, **streams)
    os.close(theirs)
    screen = Screen(terminal, process, ours)
    await screen.says("Send the other 9 rows? [y/N]")
    yield screen
    os.close(ours)


class TestAsked:
    """A question at the terminal, and what is typed."""

    @pytest.mark.parametrize(
        "keys",
        [
            pytest.param(b"\n", id="nothing"),
            pytest.param(b"\x04", id="the end of all input"),
            pytest.param(b"yesterday\n", id="a word that begins with yes"),
        ],
    )
    async def test_whatever_is_no_yes_is_a_no(
        self, asked: Screen, terminal: Terminal, rehearsal: Rehearsal, keys: bytes
    ) -> None:
        """Nothing else is sent, and the other rows are pending."""
        asked.type(keys)
        assert await asked.ended() == 3
        assert len(rehearsal.arrived) == 3
        assert terminal.statuses().count("pending") == 9
        assert "Traceback" not in asked.text()

    async def test_what_is_no_text_is_a_no(self, asked: Screen, rehearsal: Rehearsal) -> None:
        """A key of another encoding neither hides the answer nor keeps the run waiting for ever."""
        asked.type(b"y\xff\n")
        assert (await asked.process.ended(within=10)).code == 3
        assert len(rehearsal.arrived) == 3

    @pytest.mark.parametrize("keys", [b"YES\n", b"  y \n"])
    async def test_a_yes_may_be_written_in_many_ways(self, asked: Screen, rehearsal: Rehearsal, keys: bytes) -> None:
        """The other rows follow."""
        asked.type(keys)
        assert await asked.ended() == 0
        assert len(rehearsal.arrived) == 12

    @pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
    async def test_a_signal_is_an_answer_too(
        self, asked: Screen, terminal: Terminal, rehearsal: Rehearsal, number: int, name: str
    ) -> None:
        """Nobody has to type a line as well: the run stops in good order, for that reason and no other."""
        asked.process.send(number)
        assert await asked.ended() == 3
        assert len(rehearsal.arrived) == 3
        assert terminal.summary()["stop_reason"] == name

    async def test_a_terminal_that_goes_away_is_no_yes(
        self, terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
    ) -> None:
        """Where nobody can answer any more, the process does not wait for ever."""
        path = write_csv([HEADER, *(row(number) for number in range(2, 14))])
        ours, theirs = pty.openpty()
        streams: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        process = await terminal.start("run", path.name, "--canary", "3", *AT_ONCE, **streams)
        os.close(theirs)
        os.set_blocking(ours, False)
        screen = Screen(terminal, process, ours)
        await screen.says("Send the other 9 rows? [y/N]")
        os.close(ours)
        assert (await process.ended(within=20)).code == 3
        assert len(rehearsal.arrived) == 3


async def test_prune_says_which_run_it_keeps_and_why(
    terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv
) -> None:
    """A run of which the ledger does not know all stays, is named in the text and in no list of what is gone."""
    _, folder = await night(terminal, rehearsal, write_csv([HEADER, row(2)]), {})
    snapshot = folder / "input.csv"
    snapshot.write_text(snapshot.read_text().replace("B-2", "B-9"))
    pruned = await terminal.run("prune", "--keep", "0.01s", "--json")
    assert (pruned.code, pruned.objects) == (0, [{"removed": []}])
    assert f"{folder} is kept: the ledger does not know all that it did.\n" in pruned.err
    assert pruned.err.endswith("0 runs removed; the ledger goes on knowing what they did.\n")
    assert folder.is_dir()


async def test_prune_leaves_comparisons_alone(terminal: Terminal, rehearsal: Rehearsal, write_csv: WriteCsv) -> None:
    """They are no runs: only the run's folder goes."""
    path = write_csv([HEADER, row(2)])
    _, folder = await night(terminal, rehearsal, path, {})
    await terminal.run("compare", path, *AT_ONCE)
    pruned = await terminal.run("prune", "--keep", "0.01s", "--json")
    assert pruned.objects == [{"removed": [str(folder)]}]
    assert len(comparisons(terminal)) == 1
