"""Checks and dry runs: they say what a run would do, send nothing, and leave behind what they say and no more."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.application import check_file, dry_run, newest_in, runs_in
from bulkredeem.application.checking import SAMPLES
from bulkredeem.application.shelf import run_folders
from bulkredeem.errors import ExitCode, InputFileError, ReportsFolderError, RunNotFoundError
from bulkredeem.journal import Journal
from bulkredeem.model import Status
from bulkredeem.report import SUMMARY
from bulkredeem.settings import load_settings
from bulkredeem.summary import RunState, Typed

if TYPE_CHECKING:
    from tests.conftest import Ended, Rehearsal, Terminal, Witness

WriteCsv = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("nothing_configured")

HEADER = ["redemptionId", "billNumber", "identifierValue", "purpose"]
GOOD = [f"AB{row:04}" for row in range(2, 12)]
MIXED = [
    HEADER,
    ["AB0002", "B-2", "919900000002", ""],
    ["", "B-3", "919900000003", ""],
    ["AB0004", "B-4", "919900000004", "for 919900000004"],
    ["AB0002", "B-2", "919900000002", ""],
    ["AB0006", "", "", ""],
]
"""A good row, one without a redemption, a good one, one like the first, and one with two problems."""


def everything(folder: Path) -> set[str]:
    """Return all that lies in a folder, however deep."""
    return {str(each.relative_to(folder)) for each in folder.rglob("*")}


def names(folder: Path) -> set[str]:
    """Return what lies in a folder itself."""
    return {each.name for each in folder.iterdir()}


def verdicts(folder: Path, name: str = "results.csv") -> dict[int, tuple[str, str, str]]:
    """Read row number → status, code and who mends it from a report, as a program does."""
    with (folder / name).open(encoding="utf-8-sig", newline="") as file:
        return {
            int(line["row_number"]): (line["status"], line["error_code"], line["mend_by"])
            for line in csv.DictReader(file)
        }


# Checks


def test_a_check_shows_what_would_be_sent(write_csv: WriteCsv) -> None:
    """Some of the bodies, as JSON: what is set is to be read, whom it is about only to be known again."""
    report = check_file(write_csv(MIXED), load_settings({}))
    assert [sample.row_number for sample in report.samples] == [2, 4]
    body = json.loads(report.samples[-1].body)
    assert body["billNumber"] == "B-4"
    assert body["purpose"] == "for <identifierValue>"
    assert json.dumps(body).count("919900000004") == 0
    assert "0004" in json.dumps(body), "who has the file can find the row"


def test_a_check_shows_a_few_rows_of_the_whole_file(write_csv: WriteCsv) -> None:
    """They are spread over it, whatever its length; each is shown once."""
    rows = [[f"AB{row:05}", f"B-{row}", f"9199{row:08}", ""] for row in range(2, 3_002)]
    report = check_file(write_csv([HEADER, *rows]), load_settings({}))
    numbers = [sample.row_number for sample in report.samples]
    assert len(numbers) == SAMPLES == 3
    assert numbers == sorted(set(numbers))
    assert numbers[0] < 20
    assert numbers[-1] > 1_500
    text = " ".join(sample.body for sample in report.samples)
    assert not any(row[2] in text or row[0] in text for row in rows)


@pytest.mark.parametrize(
    ("identifier", "shown"), [("7", ""), ("abcd", ""), ("abcdefghi", "hi"), ("9" * 39 + "1", "9991")]
)
def test_an_identifier_is_shown_by_its_end(write_csv: WriteCsv, identifier: str, shown: str) -> None:
    """Of a short one nothing or two characters are shown, of a long one its last four."""
    path = write_csv([["externalReferenceNumber", "billNumber", "identifierValue", "identifierType"]])
    with path.open("a") as file:
        file.write(f"{identifier},B-1,{identifier},externalId\n")
    (sample,) = check_file(path, load_settings({})).samples
    body = json.loads(sample.body)
    assert body["externalReferenceNumber"] == f"•••{shown}"
    assert identifier not in sample.body


def test_a_check_says_what_the_values_look_like(write_csv: WriteCsv) -> None:
    """Of the rows that are sound: how many set a field, how many distinct values there are, and their shape."""
    profile = check_file(write_csv(MIXED), load_settings({})).profile
    assert profile.rows == 3
    field = profile.fields["billNumber"]
    assert (field.filled, field.distinct, field.shapes[0]) == (3, 2, ("A-9", 3))


def test_a_check_says_what_is_unusual(write_csv: WriteCsv) -> None:
    """One bill number in every row is nobody's intention; a file as it should be gives no cause to speak."""
    same = [[f"AB{row:04}", "B-1", f"9199{row:08}", ""] for row in range(200)]
    report = check_file(write_csv([HEADER, *same]), load_settings({}))
    assert len(report.findings) >= 1
    assert all("billNumber" in finding for finding in report.findings)
    assert report.exit_code is ExitCode.DONE, "unusual is not wrong"
    own = [[f"AB{row:04}", f"B-{row}", f"9199{row:08}", ""] for row in range(200)]
    assert check_file(write_csv([HEADER, *own]), load_settings({})).findings == ()


def test_a_check_leaves_nothing_behind(write_csv: WriteCsv, nothing_configured: Path) -> None:
    """No reports folder is made, not even where host and user name are configured."""
    path = write_csv(MIXED)
    check_file(path, load_settings({"base_url": "https://eu.api.example.com", "username": "till.backoffice"}))
    assert everything(nothing_configured) == {path.name}


def test_a_check_refuses_a_file_with_too_few_rows(write_csv: WriteCsv) -> None:
    """As a run would."""
    path = write_csv(MIXED)
    with pytest.raises(InputFileError, match=r"has 5 rows, and --min-rows is 6: is it whole\?"):
        check_file(path, load_settings({"min_rows": 6}))
    assert check_file(path, load_settings({"min_rows": 5})).rows == 5


def test_a_check_counts_each_kind_and_says_who_mends_it(write_csv: WriteCsv) -> None:
    """Rows that need no sending are not among those that cannot be sent."""
    report = check_file(write_csv(MIXED), load_settings({}))
    assert (report.rows, report.sendable, report.unsendable) == (5, 2, 2)
    assert {group.mend_by for group in report.problems} == {"file_owner"}
    assert [(group.code, group.count) for group in report.skipped] == [("DUPLICATE_ROW", 1)]
    assert report.exit_code is ExitCode.NOT_ALL_DONE


def test_lines_that_are_no_rows_are_named_beside_the_rows(write_csv: WriteCsv) -> None:
    """A line of totals is neither a row nor a problem when the settings say so."""
    path = write_csv([HEADER, *MIXED[1:2], ["Total", "1", "", ""]])
    report = check_file(path, load_settings({"ignore_rows": ["redemptionId~^Total"]}))
    assert (report.rows, report.ignored, report.sendable, report.exit_code) == (1, 1, 1, ExitCode.DONE)


def test_how_a_file_was_read_is_said(write_csv: WriteCsv, tmp_path: Path) -> None:
    """Where that is not the plain case, for a person to object to."""
    assert check_file(write_csv(MIXED), load_settings({})).read_as == ()
    path = tmp_path / "semicolons.csv"
    path.write_text("redemptionId;billNumber;identifierValue\nAB0002;B-2;919900000002\n")
    assert any("semicolon" in sentence for sentence in check_file(path, load_settings({})).read_as)


async def test_a_check_knows_what_was_applied_before(rehearsal: Rehearsal) -> None:
    """After a first run the same rows need no sending, and only the new ones would be sent or shown."""
    await rehearsal.run(rehearsal.file(10))
    rehearsal.arrived.clear()
    path = rehearsal.file(12)
    before = everything(Path())
    report = check_file(path, rehearsal.settings())
    assert report.not_asked == ""
    assert (report.rows, report.sendable, report.exit_code) == (12, 2, ExitCode.DONE)
    assert [(group.code, group.count) for group in report.skipped] == [("ALREADY_APPLIED", 10)]
    assert {sample.row_number for sample in report.samples} <= {12, 13}
    assert rehearsal.arrived == []
    assert everything(Path()) == before


async def test_a_check_of_a_file_that_is_done_shows_nothing_to_send(rehearsal: Rehearsal) -> None:
    """No sample is of a row that would not be sent."""
    path = rehearsal.file(10)
    await rehearsal.run(path)
    report = check_file(path, rehearsal.settings())
    assert (report.sendable, report.samples, report.seconds) == (0, (), None)
    assert check_file(path, rehearsal.settings(resend=True)).sendable == 10


async def test_a_check_and_the_run_after_it_agree(rehearsal: Rehearsal, write_csv: WriteCsv) -> None:
    """What it calls sendable is sent, what it calls skipped is skipped, what it calls wrong is invalid."""
    await rehearsal.run(write_csv([HEADER, ["AB0002", "B-2", "919900000002", ""]]))
    rehearsal.arrived.clear()
    path = write_csv(MIXED, "mixed.csv")
    report = check_file(path, rehearsal.settings())
    run = await rehearsal.run(path)
    assert len(rehearsal.arrived) == report.sendable == 1
    assert run.summary.counts[Status.INVALID] == report.unsendable == 2
    assert run.summary.counts[Status.SKIPPED] == sum(group.count for group in report.skipped) == 2
    assert run.exit_code is report.exit_code


async def test_older_knowledge_is_found_before_it_is_sent(rehearsal: Rehearsal, write_csv: WriteCsv) -> None:
    """A file that is older than what was applied is called wrong by the check already."""
    new = write_csv([HEADER, ["AB0002", "B-new", "919900000002", ""]], "new.csv")
    old = write_csv([HEADER, ["AB0002", "B-old", "919900000002", ""]], "old.csv")
    await rehearsal.run(new, as_of="2026-11-24 18:00")
    report = check_file(old, rehearsal.settings(as_of="2026-11-23 18:00"))
    assert [(group.code, group.mend_by) for group in report.problems] == [("STALE_CORRECTION", "data_team")]
    assert check_file(old, rehearsal.settings(as_of="2026-11-25 18:00")).sendable == 1


async def test_without_host_and_user_name_nobody_knows_what_was_applied(rehearsal: Rehearsal) -> None:
    """A ledger tells of many systems: the check says that it did not ask, and takes no other's word."""
    path = rehearsal.file(5)
    await rehearsal.run(path)
    other = rehearsal.settings(base_url="https://eu.api.example.com")
    assert check_file(path, other).sendable == 5
    assert check_file(path, other).not_asked == ""
    nowhere = load_settings({}).model_copy(update={"base_url": ""})
    report = check_file(path, nowhere)
    assert (bool(report.not_asked), report.sendable) == (True, 5)


async def test_a_check_has_no_need_to_wait_for_a_run(rehearsal: Rehearsal) -> None:
    """While another run sends, what it has applied so far is not asked for, and nobody is in its way."""
    found: list[int] = []
    path = rehearsal.file(30)
    witness: Witness = rehearsal.witness(
        when=lambda _: len(witness.seen) >= 5,
        act=lambda _: found.append(check_file(path, rehearsal.settings()).rows),
    )
    run = await rehearsal.run(path, rehearsal.terms(witness))
    assert found == [30]
    assert run.exit_code is ExitCode.DONE


# Dry runs


def test_a_dry_run_leaves_a_folder_that_says_what_was_found(write_csv: WriteCsv) -> None:
    """The reports of a run, without a journal and without a log: nothing of it can be gone on with."""
    found = dry_run(write_csv(MIXED), load_settings({}))
    assert found.folder.parent == Path("reports")
    assert found.folder.name.startswith("dry-run-")
    assert found.remarks == ()
    assert names(found.folder) == {"input.csv", "results.csv", "not_done.csv", "summary.json", "report.html"}
    assert verdicts(found.folder) == {
        2: ("pending", "", "nobody"),
        3: ("invalid", "749", "file_owner"),
        4: ("pending", "", "nobody"),
        5: ("skipped", "DUPLICATE_ROW", ""),
        6: ("invalid", "1219; 748", "file_owner"),
    }
    assert set(verdicts(found.folder, "not_done.csv")) == {2, 3, 4, 6}


def test_a_dry_run_counts_what_a_check_counts(write_csv: WriteCsv) -> None:
    """Rows that could be sent are pending; the exit code says whether all others need nobody."""
    path = write_csv(MIXED)
    found, report = dry_run(path, load_settings({})), check_file(path, load_settings({}))
    assert found.report == report
    counts = found.summary.counts
    assert counts[Status.PENDING] == report.sendable == 2
    assert counts[Status.INVALID] == report.unsendable == 2
    assert counts[Status.SKIPPED] == 1
    assert found.summary.ending is not None
    assert found.summary.ending.exit_code == report.exit_code == ExitCode.NOT_ALL_DONE
    good = dry_run(write_csv(MIXED[:2]), load_settings({}))
    assert good.report.exit_code is ExitCode.DONE


def test_the_summary_of_a_dry_run_says_that_it_is_one(write_csv: WriteCsv) -> None:
    """A machine that reads it cannot take it for a run: nothing was requested."""
    found = dry_run(
        write_csv(MIXED), load_settings({"by": "Asha", "reason": "till 3 was offline"}), wall_clock=lambda: 1.7e9
    )
    told = json.loads((found.folder / SUMMARY).read_text())
    assert told == json.loads(json.dumps(found.summary.as_json_object()))
    assert (told["state"], told["requests"], told["exit_code"]) == (RunState.DRY_RUN, 0, 1)
    assert (told["run_id"], told["by"], told["reason"]) == (found.folder.name, "Asha", "till 3 was offline")
    assert told["mend_by"]["nobody"] == 2
    assert told["mend_by"]["file_owner"] == 2
    assert told["started_at"] == told["finished_at"] == "2023-11-14T22:13:20.000Z"


def test_the_page_of_a_dry_run_offers_the_run_itself(write_csv: WriteCsv) -> None:
    """With the options that were typed."""
    typed = Typed(whole="--config my.toml", all="--config my.toml")
    path = write_csv(MIXED)
    found = dry_run(path, load_settings({}), typed=typed)
    page = (found.folder / "report.html").read_text()
    assert f"bulkredeem run --config my.toml {path}" in page
    assert "bulkredeem resume" not in page
    assert "bulkredeem retry" not in page


def test_a_dry_run_writes_workbooks_when_asked_to(write_csv: WriteCsv) -> None:
    """As a run does."""
    found = dry_run(write_csv(MIXED), load_settings({"xlsx": True}))
    assert {"results.xlsx", "not_done.xlsx"} <= names(found.folder)


async def test_a_dry_run_is_none_of_the_runs(rehearsal: Rehearsal) -> None:
    """It is neither listed nor the newest, nothing goes on with it, and the next run is as if it had not been."""
    path = rehearsal.file(10)
    found = dry_run(path, rehearsal.settings())
    assert rehearsal.arrived == []
    reports = found.folder.parent
    assert (runs_in(reports), run_folders(reports)) == ([], [])
    with pytest.raises(RunNotFoundError):
        newest_in(reports)
    assert not (reports / "latest").exists()
    run = await rehearsal.run(path)
    assert run.summary.counts[Status.SUCCESS] == len(rehearsal.arrived) == 10
    assert [each.folder for each in runs_in(reports)] == [run.folder]
    assert newest_in(reports) == run.folder
    with closing(Journal.open_to_read(run.folder / "journal.sqlite")) as journal:
        assert len(list(journal.settled())) == 10


async def test_a_dry_run_after_a_run_knows_what_was_applied(rehearsal: Rehearsal) -> None:
    """Each such row is `skipped` in its reports, and the ledger is as it was."""
    await rehearsal.run(rehearsal.file(10))
    rehearsal.arrived.clear()
    found = dry_run(rehearsal.file(12), rehearsal.settings())
    told = verdicts(found.folder)
    assert all(told[row] == ("skipped", "ALREADY_APPLIED", "") for row in range(2, 12))
    assert [told[row][0] for row in (12, 13)] == ["pending", "pending"]
    assert set(verdicts(found.folder, "not_done.csv")) == {12, 13}
    run = await rehearsal.run(rehearsal.file(12))
    assert sorted(rehearsal.rows_arrived) == [12, 13]
    assert run.summary.counts[Status.SKIPPED] == 10


async def test_not_done_of_a_dry_run_can_be_run(rehearsal: Rehearsal, write_csv: WriteCsv) -> None:
    """Once mended: it holds every row that would have been sent or is wrong, and nothing else."""
    found = dry_run(write_csv(MIXED), rehearsal.settings())
    run = await rehearsal.run(found.folder / "not_done.csv")
    assert run.summary.info.rows == 4
    assert len(rehearsal.arrived) == 2


def test_a_dry_run_of_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """As a run is."""
    with pytest.raises(InputFileError, match="No such file"):
        dry_run(tmp_path / "gone.csv", load_settings({}))


def test_a_reports_folder_that_cannot_be_made_is_said(write_csv: WriteCsv, nothing_configured: Path) -> None:
    """Before the file is read."""
    (nothing_configured / "reports").write_text("a file")
    with pytest.raises(ReportsFolderError):
        dry_run(write_csv(MIXED), load_settings({}))


def test_two_dry_runs_at_one_moment_have_folders_of_their_own(write_csv: WriteCsv) -> None:
    """As two runs have."""
    path = write_csv(MIXED)
    one, other = (dry_run(path, load_settings({}), wall_clock=lambda: 1.7e9) for _ in range(2))
    assert one.folder != other.folder


# Typed


async def test_the_command_sends_nothing_and_says_what_would_be_sent(
    terminal: Terminal, write_csv: WriteCsv, sandbox: Any
) -> None:
    """`run --dry-run`: the exit code is the check's, and the last line is the command that would send."""
    path = write_csv(MIXED)
    ended = await terminal.run("run", "--dry-run", path.name)
    assert (ended.code, ended.err) == (1, "")
    assert sandbox.requests == 0
    (folder,) = terminal.reports.glob("dry-run-*")
    assert "A dry run: nothing was sent. 2 of 5 rows could be sent; 2 cannot" in ended.out
    assert ended.out.rstrip().splitlines()[-1] == f"bulkredeem run {path.name}"
    assert f"The page: reports/{folder.name}/report.html" in ended.out
    runs = await terminal.run("runs")
    assert folder.name not in runs.out
    resumed = await terminal.run("resume", folder.name)
    assert resumed.code == 2
    assert f"There is no run {folder.name}" in resumed.err


async def test_the_command_tells_machines_everything(terminal: Terminal, write_csv: WriteCsv) -> None:
    """With --json: what a check tells, and where the reports lie; nothing else is on standard output."""
    write_csv(MIXED)
    write_csv(MIXED[:2], "good.csv")
    ended: Ended = await terminal.run("run", "--dry-run", "--json", "fixes.csv", "gone.csv", "good.csv")
    assert ended.code == 2
    bad, good = ended.objects
    assert (bad["path"], bad["sendable"], bad["exit_code"]) == ("fixes.csv", 2, 1)
    assert (good["path"], good["sendable"], good["exit_code"]) == ("good.csv", 1, 0)
    for told in (bad, good):
        assert told["summary"]["state"] == "dry_run"
        assert (terminal.folder / told["folder"] / "summary.json").is_file()
        assert told["summary"]["counts"]["pending"] == told["sendable"]
        assert [sample["row_number"] for sample in told["samples"]]
    assert bad["problems"][0]["mend_by"] == "file_owner"
    assert "919900000002" not in ended.out


def test_a_check_shows_no_number_of_a_customer(typed: Callable[..., Ended], write_csv: WriteCsv) -> None:
    """Neither as the name of a column nor as an example of what people write; bills are shown as they are."""
    header = [*HEADER, "919876501234", "919876505678"]
    row = ["AB0002", "B-1000002", "919900000002", "for 919900000002", "", ""]
    shown = typed("check", write_csv([header, row]), "--map", "919876505678=customFields.x").out
    assert "Carried along: •••234." in shown
    assert "•••678" in shown
    assert "(for <number>)" in shown
    assert "(B-1000002)" in shown
    assert not any(number in shown for number in ("919876501234", "919876505678", "919900000002"))
