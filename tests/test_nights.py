"""Nights told as stories, on the real sandbox: nobody watches, and the wrong, half or same file is noticed."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.errors import InputFileError
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Fault, Sandbox

if TYPE_CHECKING:
    from tests.conftest import Rehearsal, Terminal

WriteCsv = Callable[..., Path]
HEADER = ["redemptionId", "billNumber", "identifierValue"]
HOUR = 3600.0
SENT_AT_ONCE = ("--rate", "none")
ALREADY = ("skipped", "ALREADY_APPLIED")
DONE = ("success", "")


def good_rows(count: int, *, prefix: str = "AB", bill: str = "B") -> list[list[str]]:
    """Return a file of so many rows, each of a redemption and a customer of its own."""
    return [HEADER, *([f"{prefix}{number:04}", f"{bill}-{number}", f"9199{number:08}"] for number in range(count))]


def hours_old(path: Path, hours: float) -> Path:
    """Make a file look as if it had been changed last so many hours ago."""
    moment = time.time() - hours * HOUR
    os.utime(path, (moment, moment))
    return path


def run_folders(terminal: Terminal) -> list[Path]:
    """Return the folders of all runs."""
    return [each for each in terminal.reports.glob("*-*") if not each.is_symlink()]


@pytest.fixture
def sandbox(rehearsal: Rehearsal) -> Sandbox:
    """Give the sandbox of the rehearsal: runs that are prepared here and processes use the same."""
    return rehearsal.sandbox


class Meanwhile(Stop):
    """Never sleeps: something happens instead, each time."""

    def __init__(self, *happens: Callable[[], object]) -> None:
        """Take what happens, one after the other; then nothing does any more."""
        super().__init__()
        self.happens = list(happens)
        self.slept = 0.0
        """Seconds that were to be slept."""

    async def sleep(self, seconds: float) -> None:
        """Let the next thing happen."""
        self.slept += seconds
        if self.happens:
            self.happens.pop(0)()
        await super().sleep(0.0)


class TestHowAFileArrives:
    """Late, half, short, empty, and then away with it."""

    async def test_an_upload_that_comes_late_and_in_halves(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox
    ) -> None:
        """It is waited for until it is there, and until it is whole; all of it is sent, and it is moved away."""
        whole = write_csv(good_rows(40), "whole.csv").read_bytes()
        impatient = terminal.with_variables(BULKREDEEM_SETTLED_FOR="1")
        words = ["--wait-for-file", "2h", "--min-rows", "40", "--move-done", "done", "--unattended", *SENT_AT_ONCE]
        process = await impatient.start("run", "upload.csv", *words)
        await process.says("Waiting for upload.csv to come, for up to 2:00:00.")
        half, upload = terminal.folder / "half.csv", terminal.folder / "upload.csv"
        half.write_bytes(whole[: len(whole) // 2])
        hours_old(half, -1)  # a clock that runs ahead: however slow this machine is, it has not settled yet
        half.rename(upload)
        await process.says("upload.csv was changed just now; waiting until it has stayed as it is for 1 s.")
        assert sandbox.requests == 0
        with upload.open("ab") as file:
            file.write(whole[len(whole) // 2 :])
        run = await process.ended()
        assert (run.code, len(sandbox.applied)) == (0, 40)
        assert not upload.exists()
        assert (terminal.folder / "done" / "upload.csv").read_bytes() == whole

    async def test_it_is_waited_for_as_long_as_it_grows(self, rehearsal: Rehearsal, write_csv: WriteCsv) -> None:
        """Each time it has grown it has to stay as it is for two seconds from then on."""
        header, *rows = good_rows(9)
        path = write_csv([header, *rows[:3]])

        def grow(first: int) -> Callable[[], object]:
            return lambda: write_csv([header, *rows[: first + 3]])

        stop = Meanwhile(grow(3), grow(6))
        run = await rehearsal.run(path, rehearsal.terms(stop=stop), settled_for=2.0)
        assert run.summary.info.rows == 9
        assert stop.slept >= 2 + 2, "two naps that ended in growth, and two seconds after the last one"

    async def test_one_that_does_not_come(self, terminal: Terminal, sandbox: Sandbox) -> None:
        """Exit 2 and one sentence, and no run is left behind."""
        run = await terminal.run("run", "upload.csv", "--wait-for-file", "0.1s")
        assert (run.code, run.err) == (2, "upload.csv has not come; it was waited for 0.1 s.\n")
        assert (run_folders(terminal), sandbox.requests) == ([], 0)

    async def test_one_that_is_too_short(self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox) -> None:
        """Fewer rows than --min-rows are no night's file: exit 2, nothing of it is sent, and no run is left behind."""
        path = write_csv(good_rows(3))
        run = await terminal.run("run", path, "--min-rows", "10", *SENT_AT_ONCE)
        sentence = f"{path} has 3 rows, and --min-rows is 10: is it whole? Nothing of it was sent.\n"
        assert (run.code, run.err, sandbox.requests) == (2, sentence, 0)
        assert run_folders(terminal) == []

    @pytest.mark.parametrize(("words", "code"), [([], 0), (["--unattended"], 1)])
    async def test_headers_only(self, terminal: Terminal, write_csv: WriteCsv, words: list[str], code: int) -> None:
        """By hand it is said that nothing was to be sent; at night that is no green night."""
        run = await terminal.run("run", write_csv([HEADER]), *words, *SENT_AT_ONCE)
        assert (run.code, run.err) == (code, "")
        assert "The file has a header and no rows: nothing was to be sent." in run.out

    async def test_one_with_rows_left_over_is_finished_too(
        self, terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal
    ) -> None:
        """A run that came to its end moves its file even if a row was refused; one that stopped leaves it there."""
        ended = write_csv([HEADER, ["NOPE01", "B-1", "919900000001"], *good_rows(2)[1:]], "ended.csv")
        await rehearsal.run(ended, move_done=Path("done"))
        assert ((terminal.folder / "done" / "ended.csv").exists(), ended.exists()) == (True, False)
        stopped = write_csv(good_rows(60, prefix="CD"), "stopped.csv")
        folder = await rehearsal.stopped(stopped, move_done=Path("done"))
        assert stopped.exists()
        await rehearsal.resume(folder)
        assert ((terminal.folder / "done" / "stopped.csv").exists(), stopped.exists()) == (True, False)


class TestYesterdaysFile:
    """The same content once more."""

    async def test_it_is_told_by_hand_and_ends_an_unattended_night(
        self, terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal
    ) -> None:
        """Under whatever name: unattended it is exit 2 and no run; by hand a sentence, and nothing is sent again."""
        yesterday = await rehearsal.run(write_csv(good_rows(4), "yesterday.csv"))
        path = write_csv(good_rows(4), "tonight.csv")
        words = f"The content of {path} was run before, by {yesterday.folder.name} (finished): all of it is done"
        night = await terminal.run("run", path, "--unattended", *SENT_AT_ONCE)
        assert (night.code, night.out) == (2, "")
        assert night.err.startswith(f"{words}; send the file that was meant, or run it all the same")
        assert len(run_folders(terminal)) == 1
        day = await terminal.run("run", path, *SENT_AT_ONCE)
        assert (day.code, day.err) == (0, "")
        assert f"{words}." in day.out
        assert "0 of 4 rows were updated. 4 had nothing to send. Nothing is left to do." in day.out
        assert set(rehearsal.verdicts(terminal.latest).values()) == {ALREADY}
        assert all(yesterday.folder.name in row["error_message"] for row in terminal.results())
        assert len(rehearsal.arrived) == 4
        resent = await terminal.run("run", path, "--resend", "--unattended", "--same-file", "ok", *SENT_AT_ONCE)
        assert (resent.code, terminal.statuses(), len(rehearsal.arrived)) == (0, ["success"] * 4, 8)

    async def test_what_is_left_of_it_is_told(
        self, rehearsal: Rehearsal, write_csv: WriteCsv, sandbox: Sandbox
    ) -> None:
        """Once what was refused exists, the same file sends just that row."""
        path = write_csv([*good_rows(3), ["NOPE01", "B-9", "919900000009"]])
        first = await rehearsal.run(path)
        sandbox.known = lambda _: True
        witness = rehearsal.witness()
        second = await rehearsal.run(path, rehearsal.terms(witness))
        assert witness.start is not None
        assert any(
            f"was run before, by {first.folder.name} (finished): 1 of 4 rows are not done" in remark
            for remark in witness.start.remarks
        )
        assert rehearsal.verdicts(second.folder) == {2: ALREADY, 3: ALREADY, 4: ALREADY, 5: DONE}

    async def test_one_that_is_not_finished_is_to_be_resumed(self, rehearsal: Rehearsal, write_csv: WriteCsv) -> None:
        """At night it is refused with the command that goes on."""
        path = write_csv(good_rows(40))
        folder = await rehearsal.stopped(path)
        with pytest.raises(InputFileError, match=rf"\(bulkredeem resume {folder.name}\)"):
            await rehearsal.run(path, unattended=True)
        assert rehearsal.arrived == []


class TestOverlaps:
    """Rows of one file that have to do with each other."""

    FILE = (
        ["redemptionId", "billNumber", "purpose", "identifierValue"],
        ["AB01", "B-1", "", "919900000001"],
        ["AB01", "B-1", "", "919900000001"],
        ["AB02", "B-2", "", "919900000002"],
        ["AB02", "", "refund", "919900000002"],
        ["AB03", "OLD", "", "919900000003"],
        ["AB03", "NEW", "", "919900000003"],
        ["AB04", "OLD", "refund", "919900000004"],
        ["AB04", "NEW", "", "919900000004"],
    )

    @staticmethod
    def sent(sandbox: Sandbox, identifier: str) -> list[dict[str, Any]]:
        """Return what a redemption was set to, in that order."""
        return [dict(each.fields) for each in sandbox.applied if each.identifier == identifier]

    async def test_by_default_no_conflict_is_sent(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal
    ) -> None:
        """A row that is there twice goes once, different fields in order, and who fights is named on both sides."""
        run = await terminal.run("run", write_csv(self.FILE), *SENT_AT_ONCE)
        assert (run.code, run.err) == (1, "")
        verdicts = rehearsal.verdicts(terminal.latest)
        fight = ("invalid", "CONFLICTING_ROWS")
        assert verdicts == {
            2: DONE,
            3: ("skipped", "DUPLICATE_ROW"),
            4: DONE,
            5: DONE,
            **dict.fromkeys((6, 7, 8, 9), fight),
        }
        named = [row["error_message"] for row in terminal.results()]
        assert "row 2" in named[1]
        assert ("row 7" in named[4], "row 6" in named[5], "row 9" in named[6], "row 8" in named[7]) == (True,) * 4
        assert self.sent(sandbox, "AB01") == [{"billNumber": "B-1"}]
        assert self.sent(sandbox, "AB02") == [{"billNumber": "B-2"}, {"purpose": "refund"}]
        assert self.sent(sandbox, "AB03") == self.sent(sandbox, "AB04") == []

    async def test_the_last_one_wins_when_somebody_says_so(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal
    ) -> None:
        """An earlier row is superseded only where every field that it sets is set later."""
        run = await terminal.run("run", write_csv(self.FILE), "--on-conflict", "last", *SENT_AT_ONCE)
        assert (run.code, run.err) == (1, "")
        assert [rehearsal.verdicts(terminal.latest)[row] for row in (6, 7, 8, 9)] == [
            ("skipped", "SUPERSEDED"),
            DONE,
            ("invalid", "CONFLICTING_ROWS"),
            DONE,
        ]
        assert self.sent(sandbox, "AB03") == self.sent(sandbox, "AB04") == [{"billNumber": "NEW"}]


class TestSomeRows:
    """`--only` and `--first`."""

    FILE = (
        ["redemptionId", "billNumber", "purpose", "identifierValue", "store"],
        ["AB0000", "B-0", "", "919900000000", "4"],
        ["AB0001", "B-1", "", "919900000001", "17"],
        ["AB0002", "B-2", "", "919900000002", "4"],
        ["AB0002", "", "refund", "919900000002", "17"],
        ["AB0003", "B-3", "", "919900000003", "17"],
    )

    async def test_one_store_only(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal
    ) -> None:
        """The rows of the others are skipped and say so; a later run without it sends just these."""
        path = write_csv(self.FILE)
        run = await terminal.run("run", path, "--only", "store=17", *SENT_AT_ONCE)
        assert (run.code, sorted(each.identifier for each in sandbox.applied)) == (0, ["AB0001", "AB0002", "AB0003"])
        verdicts = rehearsal.verdicts(terminal.latest)
        assert [verdicts[row] for row in (2, 4)] == [("skipped", "NOT_SELECTED")] * 2
        assert [verdicts[row] for row in (3, 5, 6)] == [("success", "")] * 3
        later = await rehearsal.run(path)
        assert {row for row, verdict in rehearsal.verdicts(later.folder).items() if verdict[0] == "success"} == {2, 4}

    async def test_one_store_first(self, terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal) -> None:
        """Its rows go before all others, but those of one redemption never change their order."""
        words = ["--first", "store=17", "--max-workers", "1", *SENT_AT_ONCE]
        run = await terminal.run("run", write_csv(self.FILE), *words)
        assert (run.code, terminal.statuses()) == (0, ["success"] * 5)
        assert rehearsal.arrived[:2] == ["AB0001", "AB0003"]
        assert [dict(each.fields) for each in rehearsal.sandbox.applied if each.identifier == "AB0002"] == [
            {"billNumber": "B-2"},
            {"purpose": "refund"},
        ]


class TestGuard:
    """Whether it is the right file, the right column, the right system shows in what the platform refuses."""

    @staticmethod
    def refusing(rehearsal: Rehearsal, *numbers: int) -> None:
        """Let the platform not know the redemptions of these rows of `good_rows`."""
        unknown = {f"AB{number:04}" for number in numbers}
        rehearsal.sandbox.known = lambda identifier: identifier not in unknown

    async def test_a_bad_beginning_is_not_the_whole_file(
        self, terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal
    ) -> None:
        """When the first are refused, ten from elsewhere are tried; as they are accepted, every row has its turn."""
        self.refusing(rehearsal, *range(60))
        run = await terminal.run("run", write_csv(good_rows(120)), "--max-workers", "4", *SENT_AT_ONCE)
        assert (run.code, run.err) == (1, "")
        assert terminal.statuses() == ["refused"] * 60 + ["success"] * 60
        assert set(Counter(rehearsal.arrived).values()) == {1}
        before_any_good = next(place for place, each in enumerate(rehearsal.arrived) if each >= "AB0060")
        assert 25 <= before_any_good < 60, "those from elsewhere came before the rest of the bad beginning"

    async def test_a_wrong_file_stops_with_its_reason(
        self, terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal
    ) -> None:
        """When those are refused, too, it ends with 3 in plain words; only --no-guard goes on with it."""
        self.refusing(rehearsal, *range(120))
        run = await terminal.run("run", write_csv(good_rows(120)), "--unattended", "--max-workers", "4", *SENT_AT_ONCE)
        assert (run.code, run.err) == (3, "")
        statuses = Counter(terminal.statuses())
        assert set(statuses) == {"refused", "pending"}
        assert 35 <= statuses["refused"] < 60
        assert len(rehearsal.arrived) == statuses["refused"]
        reason = terminal.summary()["stop_reason"]
        assert reason.startswith(f"all of the {statuses['refused']} rows that the platform has answered were refused")
        assert "750 (Redemption update failed : redemption not found)" in reason
        assert "is it the right file, are the columns right, is it the right system?" in run.out
        assert run.out.splitlines()[-1].startswith("bulkredeem resume --no-guard reports/")
        held = await terminal.run("resume")
        assert (held.code, len(rehearsal.arrived)) == (2, statuses["refused"])
        going_on = await terminal.run("resume", "--no-guard")
        assert (going_on.code, terminal.statuses()) == (1, ["refused"] * 120)

    async def test_the_next_night_leaves_it_to_a_person(
        self, terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal
    ) -> None:
        """`--resume-unfinished` does not go on with what a guard has stopped, and still runs tonight's file."""
        self.refusing(rehearsal, *range(120))
        held = await rehearsal.run(write_csv(good_rows(120), "wrong.csv"))
        rehearsal.arrived.clear()
        tonight = write_csv(good_rows(5, prefix="ZZ"), "tonight.csv")
        run = await terminal.run("run", tonight, "--resume-unfinished", "--unattended", *SENT_AT_ONCE)
        assert (run.code, run.err) == (0, "")
        assert f"Left alone: reports/{held.folder.name} was stopped by a guard: " in run.out
        assert sorted(rehearsal.arrived) == [f"ZZ{number:04}" for number in range(5)]

    async def test_contradicting_echoes_count(self, write_csv: WriteCsv, rehearsal: Rehearsal) -> None:
        """A platform that answers with another bill than was sent refuses nothing, and is not the right one either."""
        rehearsal.faults = lambda _: Fault(apply=True, echo={"billNumber": "OTHER"})
        run = await rehearsal.run(write_csv(good_rows(120)))
        assert (run.exit_code, len(rehearsal.arrived) < 60) == (3, True)
        assert run.summary.ending is not None
        assert "with ECHO_MISMATCH (" in run.summary.ending.stop_reason

    async def test_without_a_guard_all_are_sent(self, write_csv: WriteCsv, rehearsal: Rehearsal) -> None:
        """Whoever knows better says --no-guard."""
        self.refusing(rehearsal, *range(300))
        run = await rehearsal.run(write_csv(good_rows(300)), no_guard=True)
        assert (run.exit_code, len(rehearsal.arrived)) == (1, 300)

    @pytest.mark.parametrize(("flags", "stops"), [({}, False), ({"max_refused": "10%"}, True)])
    async def test_too_many_refusals(
        self, write_csv: WriteCsv, rehearsal: Rehearsal, flags: dict[str, Any], *, stops: bool
    ) -> None:
        """A fifth refused is less than the usual half; where a tenth is too much it ends after 200 answers."""
        self.refusing(rehearsal, *range(0, 400, 5))
        run = await rehearsal.run(write_csv(good_rows(400)), **flags)
        assert run.exit_code == (3 if stops else 1)
        assert (200 <= len(rehearsal.arrived) < 250) if stops else (len(rehearsal.arrived) == 400)

    async def test_more_than_half_by_default(self, write_csv: WriteCsv, rehearsal: Rehearsal) -> None:
        """One accepted row is no excuse for two hundred refused ones."""
        self.refusing(rehearsal, *range(1, 400))
        run = await rehearsal.run(write_csv(good_rows(400)))
        assert (run.exit_code, 200 <= len(rehearsal.arrived) < 250) == (3, True)

    @pytest.mark.parametrize(("expected", "code", "requests"), [(1099, 3, 1), (1098, 0, 20)])
    async def test_the_wrong_program(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, expected: int, code: int, requests: int
    ) -> None:
        """A profile that names the program stops after the first row whose reply names another one."""
        (terminal.folder / "bulkredeem.toml").write_text(f"[profiles.night]\nexpect_program_id = {expected}\n")
        run = await terminal.run("run", write_csv(good_rows(20)), "--profile", "night", *SENT_AT_ONCE)
        assert (run.code, sandbox.requests) == (code, requests)
        assert terminal.statuses() == ["success"] * requests + ["pending"] * (20 - requests)
        if code:
            assert "row 2 is in the program 1098, and expect_program_id is 1099" in terminal.summary()["stop_reason"]


async def test_a_night_whose_values_are_unlike_the_others(
    terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal
) -> None:
    """After three usual nights, three bill numbers in sixty rows are not sent before somebody has looked."""
    for night in range(3):
        usual = good_rows(60, prefix=f"N{night}", bill=f"B{night}")
        assert (await rehearsal.run(write_csv(usual, f"{night}.csv"), unattended=True)).exit_code == 0
    rehearsal.arrived.clear()
    header, *rows = good_rows(60, prefix="N3")
    path = write_csv([header, *([row[0], f"B3-{place % 3}", row[2]] for place, row in enumerate(rows))], "3.csv")
    run = await terminal.run("run", path, "--unattended", *SENT_AT_ONCE)
    assert (run.code, run.err, rehearsal.arrived) == (3, "", [])
    assert "billNumber: 3 distinct values in 60 rows; usually one each." in run.out
    assert "the values are unusual" in terminal.summary()["stop_reason"]
    run_id = terminal.latest.resolve().name
    held = await terminal.run("resume", run_id, "--unattended")
    assert (held.code, rehearsal.arrived) == (2, [])
    going_on = await terminal.run("resume", run_id, "--unattended", "--no-guard")
    assert (going_on.code, terminal.statuses(), len(rehearsal.arrived)) == (0, ["success"] * 60, 60)


async def test_a_run_that_is_gone_on_with_knows_what_it_knew(
    write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal
) -> None:
    """The rest of the morning's file, sent in the evening, does not overwrite what was run in between."""
    morning = await rehearsal.stopped(hours_old(write_csv(good_rows(20, bill="OLD")), 9), max_workers=1)
    done = rehearsal.settled(morning)
    await rehearsal.run(hours_old(write_csv(good_rows(20), "noon.csv"), 7))
    resumed = await rehearsal.resume(morning)
    left = {row for row, verdict in rehearsal.verdicts(resumed.folder).items() if verdict[0] == "invalid"}
    assert left == set(range(2, 22)) - done
    assert {each.bill_number for each in sandbox.redemptions.values()} == {f"B-{number}" for number in range(20)}


async def test_a_backlog_of_newer_knowledge(
    terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal, sandbox: Sandbox
) -> None:
    """What `--resume-unfinished` has just sent of the evening's file is not overwritten by the file of noon."""
    await rehearsal.stopped(hours_old(write_csv(good_rows(20), "evening.csv"), 1), max_workers=1)
    noon = hours_old(write_csv(good_rows(20, bill="OLD"), "noon.csv"), 7)
    run = await terminal.run("run", noon, "--resume-unfinished", *SENT_AT_ONCE)
    assert run.code == 1
    assert {each.bill_number for each in sandbox.redemptions.values()} == {f"B-{number}" for number in range(20)}


async def test_only_what_is_at_its_end_is_pruned(terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal) -> None:
    """Neither a run that can be gone on with, nor one that is young, is removed."""
    stopped = await rehearsal.stopped(write_csv(good_rows(60)))
    ended = await rehearsal.run(write_csv(good_rows(3, prefix="CD"), "other.csv"))
    assert (await terminal.run("prune", "--keep", "90d")).code == 0
    assert (stopped.exists(), ended.folder.exists()) == (True, True)
    assert (await terminal.run("prune", "--keep", "0.01s")).code == 0
    assert (stopped.exists(), ended.folder.exists()) == (True, False)


class TestWhatNobodyKnows:
    """What may have been applied is never taken for what is there."""

    async def test_a_row_in_doubt_is_never_skipped(
        self, terminal: Terminal, write_csv: WriteCsv, rehearsal: Rehearsal
    ) -> None:
        """The next run of the same file skips what is known and sends what is not; after that it is known, too."""
        path = write_csv(good_rows(4))
        doubtful = Fault.error(status=500, code=500)
        rehearsal.faults = lambda update: doubtful if update.identifier == "AB0002" else None
        first = await rehearsal.run(path, max_attempts=1)
        assert rehearsal.verdicts(first.folder)[4][0] == "in_doubt"
        rehearsal.faults = lambda _: None
        rehearsal.arrived.clear()
        again = await terminal.run("run", path, *SENT_AT_ONCE)
        assert (again.code, rehearsal.arrived) == (0, ["AB0002"])
        assert rehearsal.verdicts(terminal.latest) == {2: ALREADY, 3: ALREADY, 4: DONE, 5: ALREADY}
        third = await rehearsal.run(path)
        assert set(rehearsal.verdicts(third.folder).values()) == {ALREADY}

    async def test_a_value_that_may_have_been_replaced_is_not_known(
        self, write_csv: WriteCsv, rehearsal: Rehearsal
    ) -> None:
        """Applied once, and perhaps replaced since: the same value is stale while it is older, and sent when newer."""
        await rehearsal.run(hours_old(write_csv(good_rows(2), "noon.csv"), 7))
        rehearsal.faults = lambda _: Fault(apply=True, echo={"billNumber": "NEITHER"})
        await rehearsal.run(hours_old(write_csv(good_rows(2, bill="OTHER"), "evening.csv"), 1))
        rehearsal.faults = lambda _: None
        older = await rehearsal.run(write_csv(good_rows(2), "noon.csv"))
        assert set(rehearsal.verdicts(older.folder).values()) == {("invalid", "STALE_CORRECTION")}
        newer = await rehearsal.run(write_csv(good_rows(2), "noon.csv"), as_of=f"{datetime.now(UTC):%Y-%m-%d %H:%MZ}")
        assert set(rehearsal.verdicts(newer.folder).values()) == {DONE}
        assert {each.bill_number for each in rehearsal.sandbox.redemptions.values()} == {"B-0", "B-1"}

    async def test_a_run_that_died_makes_its_rows_unknown(self, rehearsal: Rehearsal) -> None:
        """What it recorded is known, what it never reached is as before, and what it may have sent is sent again."""
        path = rehearsal.file(rows=200)
        await rehearsal.run(path, reports=Path("dead"))
        resent: list[int] = []

        def note(row_number: int) -> None:
            resent.append(row_number)

        rehearsal.faults = lambda update: note(int(update.identifier.removeprefix("AB")))
        dead = await rehearsal.dead(lambda terms: rehearsal.run(path, terms, resend=True, rate="100/s"), recorded=20)
        settled = rehearsal.settled(dead)
        assert set(resent) - settled, "some were under way when it died"
        rehearsal.faults = lambda _: None
        after = await rehearsal.run(path, reports=Path("dead"))
        verdicts = rehearsal.verdicts(after.folder)
        sent = set(rehearsal.rows_arrived)
        assert {row for row, verdict in verdicts.items() if verdict == DONE} == sent
        assert {row for row, verdict in verdicts.items() if verdict == ALREADY} == set(range(2, 202)) - sent
        assert set(resent) - settled <= sent
        assert sent.isdisjoint(settled)
        assert max(sent) < 201, "what it never reached is known from the run before"
