"""What people look at after a real run: it says what the other reports say, or it is not there and that is told."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.application import abandon_run, report_run
from bulkredeem.application.presenting import Presentation, forget_presentation, list_runs_on_a_page, present
from bulkredeem.columns import map_columns
from bulkredeem.errors import ExitCode, SignalledError, Stopping
from bulkredeem.loader import take_snapshot
from bulkredeem.model import Outcome, Reading, Status
from bulkredeem.processor import Stop
from bulkredeem.report import write_results, write_summary
from bulkredeem.sandbox import Fault, script
from bulkredeem.snapshot import read_records
from bulkredeem.summary import Ending, RunInfo, RunState, Summary, Tally, Typed

if TYPE_CHECKING:
    from tests.conftest import Rehearsal, Witness

pytestmark = pytest.mark.usefixtures("nothing_configured")

BOOKS = ("results.xlsx", "not_done.xlsx")
REFUSED = script({f"AB000{row}": [Fault.error(status=400, code=750)] for row in (3, 4)})
"""Two rows that the platform refuses."""


def held(page: Path) -> list[Any]:
    """Return what a page holds for its script: a list for each row or run; nothing where there is no table."""
    found = re.search(r'<script type="application/json" id="held">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    rows: list[Any] = json.loads(found[1]) if found else []
    return rows


def listed(reports: Path = Path("reports")) -> dict[str, tuple[str, list[int] | None]]:
    """Return what the page of all runs says of each: how far it has come, and its counts."""
    return {run[0]: (run[1], run[6]) for run in held(reports / "index.html")}


def events(folder: Path) -> list[dict[str, Any]]:
    """Read `run.log`."""
    return [json.loads(line) for line in (folder / "run.log").read_text().splitlines()]


async def test_after_a_run_there_are_its_page_and_the_page_of_all_runs(rehearsal: Rehearsal) -> None:
    """The one holds the rows that are not done, the other lists the run with its counts."""
    rehearsal.faults = REFUSED
    run = await rehearsal.run(rehearsal.file(5))
    assert (run.exit_code, run.remarks) == (ExitCode.NOT_ALL_DONE, ())
    assert [row[0] for row in held(run.folder / "report.html")] == [3, 4]
    assert listed() == {run.folder.name: ("finished", [3, 0, 0, 2, 0, 0, 0])}
    assert not any((run.folder / name).exists() for name in BOOKS)


async def test_the_page_shows_no_identifier_that_nobody_asked_for(rehearsal: Rehearsal) -> None:
    """Neither in the rows nor anywhere else; with --show-pii they are there."""
    rehearsal.faults = REFUSED
    masked = await rehearsal.run(rehearsal.file(5))
    text = (masked.folder / "report.html").read_text()
    assert "AB0003" not in text
    assert "919900000003" not in text
    rehearsal.faults = script({})
    shown = await rehearsal.run(rehearsal.file(5), show_pii=True, same_file="ok", resend=True)
    assert shown.summary.counts[Status.SUCCESS] == 5
    rehearsal.faults = lambda _: Fault.error(status=400, code=750)
    shown = await rehearsal.run(rehearsal.file(5), show_pii=True, same_file="ok", resend=True)
    assert "AB0003" in (shown.folder / "report.html").read_text()


async def test_the_page_offers_the_commands_as_they_were_typed(rehearsal: Rehearsal) -> None:
    """Whoever pastes one has the options that the command was given."""
    rehearsal.faults = REFUSED
    typed = Typed(all="--map 'Bill No=billNumber'", where="--config my.toml", which="--config my.toml")
    run = await rehearsal.run(rehearsal.file(5), rehearsal.terms(typed=typed))
    assert "--map &#39;Bill No=billNumber&#39;" in (run.folder / "report.html").read_text()


async def test_page_and_summary_say_the_same_of_the_end(rehearsal: Rehearsal) -> None:
    """The moment, too: it is settled before both are written."""
    run = await rehearsal.run(rehearsal.file(5))
    finished_at = rehearsal.summary(run.folder)["finished_at"]
    page = (run.folder / "report.html").read_text()
    assert finished_at[:19].replace("T", " ") in page
    assert finished_at == rehearsal.summary(run.folder)["finished_at"]


async def test_a_resume_takes_the_stale_page_away_first(rehearsal: Rehearsal) -> None:
    """While it goes on, nothing says what is not so any more; at its end there is a page again, and it is true."""
    folder = await rehearsal.stopped(rehearsal.file(60), rows=5, xlsx=True)
    there = ("report.html", *BOOKS)
    assert all((folder / name).exists() for name in there)
    assert len(held(folder / "report.html")) == len(rehearsal.verdicts(folder, "not_done.csv")) > 0
    seen: list[bool] = []
    witness = rehearsal.witness(
        when=lambda _: True, act=lambda folder: seen.extend((folder / name).exists() for name in there)
    )
    await rehearsal.resume(folder, rehearsal.terms(witness))
    assert seen == [False] * len(there)
    assert all((folder / name).exists() for name in there)
    assert held(folder / "report.html") == []
    assert listed()[folder.name] == ("finished", [60, 0, 0, 0, 0, 0, 0])


def in_the_way(*names: str) -> Callable[[Path], None]:
    """Return what makes folders of these names where a run wants to write its files."""

    def make(folder: Path) -> None:
        for name in names:
            (folder / name).mkdir()

    return make


@pytest.mark.parametrize("refused", [set(), {"AB0003", "AB0004"}], ids=["all done", "not all done"])
async def test_a_page_that_cannot_be_written_changes_nothing_else(rehearsal: Rehearsal, refused: set[str]) -> None:
    """The exit code and the other reports are as ever; it is told to people and to the log."""
    rehearsal.faults = lambda update: Fault.error(status=400, code=750) if update.identifier in refused else None
    usual = await rehearsal.run(rehearsal.file(5))
    witness = rehearsal.witness(when=lambda _: True, act=in_the_way("report.html"))
    run = await rehearsal.run(rehearsal.file(5), rehearsal.terms(witness), same_file="ok", resend=True)
    assert run.exit_code == usual.exit_code
    assert run.summary.counts == usual.summary.counts
    (remark,) = run.remarks
    assert re.fullmatch(r"Not written, report\.html: .*report\.html could not be written: Is a directory\.", remark)
    assert [event["what"] for event in events(run.folder) if event["event"] == "not_presented"] == [remark]
    assert rehearsal.verdicts(run.folder) == rehearsal.verdicts(usual.folder)
    assert rehearsal.summary(run.folder)["state"] == "finished"
    assert run.folder.name in listed()


async def test_an_index_that_cannot_be_written_changes_nothing_else(rehearsal: Rehearsal) -> None:
    """It is of all runs, and the run that just ended is none the worse."""
    in_the_way("reports", "reports/index.html")(Path())
    run = await rehearsal.run(rehearsal.file(5))
    assert run.exit_code is ExitCode.DONE
    (remark,) = run.remarks
    assert remark.startswith("Not written, index.html: ")
    assert (run.folder / "report.html").is_file()


async def test_workbooks_that_cannot_be_written_change_nothing_else(rehearsal: Rehearsal) -> None:
    """The page is written all the same."""
    witness = rehearsal.witness(when=lambda _: True, act=in_the_way("results.xlsx"))
    run = await rehearsal.run(rehearsal.file(5), rehearsal.terms(witness), xlsx=True)
    assert run.exit_code is ExitCode.DONE
    (remark,) = run.remarks
    assert remark.startswith("Not written, results.xlsx and not_done.xlsx: ")
    assert (run.folder / "report.html").is_file()


async def test_what_could_not_be_written_is_not_as_it_was_before(rehearsal: Rehearsal) -> None:
    """A page that cannot be made anew is taken away: it would say of the run what is not so any more."""
    run = await rehearsal.run(rehearsal.file(5), xlsx=True)
    (run.folder / "report.html").write_text("an older one")
    (run.folder / ".report.html.part").mkdir()
    again = report_run(run.folder, 0.0)
    (remark,) = again.remarks
    assert remark.startswith("Not written, report.html: ")
    assert not (run.folder / "report.html").exists()
    assert (again.exit_code, again.summary.counts) == (ExitCode.DONE, run.summary.counts)


async def test_workbooks_are_written_when_they_are_asked_for(rehearsal: Rehearsal) -> None:
    """Each can be run as the CSV file beside it, and holds the same cells."""
    rehearsal.faults = REFUSED
    run = await rehearsal.run(rehearsal.file(5), xlsx=True)
    assert run.remarks == ()
    for name, rows in (("results", 5), ("not_done", 2)):
        intakes = [
            take_snapshot(run.folder / f"{name}.{kind}", Path(f"{name}.{kind}.snapshot"), reading=Reading())
            for kind in ("csv", "xlsx")
        ]
        assert [intake.rows for intake in intakes] == [rows, rows]
        of_csv, of_xlsx = (list(read_records(Path(f"{name}.{kind}.snapshot"))) for kind in ("csv", "xlsx"))
        assert of_csv == of_xlsx


async def test_workbooks_that_are_there_are_written_anew(rehearsal: Rehearsal) -> None:
    """Whoever rewrites the reports need not ask for them again, and no workbook is staler than the other reports."""
    folder = await rehearsal.stopped(rehearsal.file(30), rows=3, xlsx=True)
    before = (folder / "not_done.xlsx").read_bytes()
    abandon_run(folder, "it was the wrong file", 1_764_000_000.0)
    assert (folder / "not_done.xlsx").read_bytes() != before
    (state, _) = listed()[folder.name]
    assert state == "abandoned"
    assert "Nothing goes on with the run" in (folder / "report.html").read_text()


async def test_a_report_asked_for_later_can_have_workbooks(rehearsal: Rehearsal) -> None:
    """A run without them gets them by `report --xlsx`."""
    run = await rehearsal.run(rehearsal.file(5))
    report_run(run.folder, 0.0, wanted=Presentation(xlsx=True))
    assert all((run.folder / name).is_file() for name in BOOKS)


async def test_a_run_that_was_killed_has_no_page_until_its_reports_are_written(rehearsal: Rehearsal) -> None:
    """`report` writes one, and says what is known."""
    path = rehearsal.file(30)
    folder = await rehearsal.dead(lambda terms: rehearsal.run(path, terms), recorded=3)
    assert not (folder / "report.html").exists()
    report_run(folder, 1_764_000_000.0)
    rows = held(folder / "report.html")
    assert len(rows) == 30 - len(rehearsal.settled(folder))
    assert listed(folder.parent)[folder.name][0] == "crashed"


INFO = RunInfo(run_id="20261123T120000Z-abcd", path="fixes.csv", sha256="5" * 64, rows=4, started_at=1_764_000_000.0)
ENDED = Ending(state=RunState.FINISHED, finished_at=1_764_000_060.0, requests=4, exit_code=1)
OWN = ("redemptionId", "billNumber", "identifierValue", "status", "=x")
OF_ROWS = (
    ("AB0002", "B-2", "919900000002", "open", "=1+1"),
    ("AB0003", "B-3", "919900000003", "'=1", "'x"),
    ("AB0004", "+B-4", "919900000004", "", "\ttab"),
    ("AB0005", "B-5", "919900000005", "", ""),
)


@pytest.fixture
def reported(tmp_path: Path) -> tuple[Path, Summary]:
    """Give a run's folder with its reports, in which three rows are not done, and its summary."""
    folder = tmp_path / "reports" / INFO.run_id
    folder.mkdir(parents=True)
    with (tmp_path / "fixes.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([OWN, *OF_ROWS])
    take_snapshot(tmp_path / "fixes.csv", folder / "input.csv", reading=Reading())
    refused = Outcome(
        row_number=3,
        status=Status.REFUSED,
        error_code="750",
        error_message="=AB0003 is reversed",
        reason="=<redemptionId> is reversed",
        warnings=("one of AB0003", "two"),
        http_status=400,
        attempts=2,
        request_id="+req-1",
        finished_at=1_764_000_030.25,
    )
    failed = replace(refused, row_number=4, status=Status.FAILED, error_code="TIMEOUT", warnings=(), http_status=None)
    tally = write_results(folder, folder / "input.csv", [Outcome(row_number=2, status=Status.SUCCESS), refused, failed])
    summary = tally.summary(INFO, ENDED)
    write_summary(folder, summary)
    return folder, summary


def test_the_rows_of_the_page_are_those_of_the_report(reported: tuple[Path, Summary]) -> None:
    """Every value comes back as it was before it went through a report, the file's own columns in their places."""
    folder, summary = reported
    wanted = Presentation(show_pii=True)
    assert present(folder, summary, map_columns(OWN, {}), wanted) == ()
    rows = held(folder / "report.html")
    assert [row[0] for row in rows] == [3, 4, 5]
    assert [tuple(row[-1]) for row in rows] == [*OF_ROWS[1:]]
    _, _, http_status, attempts, request_id, finished_at, warnings, _ = rows[0]
    assert (http_status, attempts, request_id, finished_at) == (400, 2, "+req-1", 1_764_000_030_250)
    assert warnings == ["one of AB0003; two"]
    assert [row[2:7] for row in rows[2:]] == [[None, 0, "", 0, 0]], "a row without an outcome has no values of ours"
    text = (folder / "report.html").read_text()
    assert "is reversed" in text
    assert '"=AB0003 is reversed"' in text


def test_writing_ends_when_asked_to(reported: tuple[Path, Summary]) -> None:
    """A second Ctrl-C ends a long page between two rows; what was raised is passed on, and nothing is half-done."""
    folder, summary = reported
    asked: list[int] = []

    def proceed() -> None:
        asked.append(1)
        if len(asked) == 2:
            raise Stopping

    before = sorted(each.name for each in folder.iterdir())
    with pytest.raises(Stopping):
        present(folder, summary, map_columns(OWN, {}), Presentation(), proceed=proceed)
    assert sorted(each.name for each in folder.iterdir()) == before


def test_an_error_of_ours_is_told_as_one(reported: tuple[Path, Summary]) -> None:
    """Whatever goes wrong with a page, the run is not called a failure for it."""
    folder, summary = reported
    (folder / "not_done.csv").write_text("something of somebody's\r\nand more\r\n")
    (remark,) = present(folder, summary, map_columns(OWN, {}), Presentation())
    assert remark == "Not written, report.html: an error of ours (KeyError)."
    assert not (folder / "report.html").exists()
    assert (folder.parent / "index.html").is_file()


def test_what_was_made_for_people_can_be_forgotten(reported: tuple[Path, Summary]) -> None:
    """All of it and nothing else; where there is nothing, nothing is wrong."""
    folder, summary = reported
    before = sorted(each.name for each in folder.iterdir())
    present(folder, summary, map_columns(OWN, {}), Presentation(xlsx=True))
    assert len(list(folder.iterdir())) == len(before) + 3
    for _ in range(2):
        forget_presentation(folder)
        assert sorted(each.name for each in folder.iterdir()) == before


def shelve(reports: Path, number: int) -> Path:
    """Write a run's folder that holds a summary and a journal that nobody can read."""
    folder = reports / f"20261123T120000Z-{number:04x}"
    folder.mkdir(parents=True)
    tally = Tally()
    tally.add(Outcome(row_number=2, status=Status.SUCCESS))
    summary = tally.summary(replace(INFO, run_id=folder.name, started_at=1.7e9 + number), ENDED)
    (folder / "summary.json").write_text(json.dumps(summary.as_json_object()))
    (folder / "journal.sqlite").write_bytes(b"no journal")
    return folder


def test_thousands_of_runs_are_listed_without_opening_their_journals(tmp_path: Path) -> None:
    """A summary says all that is shown of a run that is at its end."""
    for number in range(2_000):
        shelve(tmp_path / "reports", number)
    assert list_runs_on_a_page(tmp_path / "reports") == ()
    found = listed(tmp_path / "reports")
    assert len(found) == 2_000
    assert set(map(str, found.values())) == {str(("finished", [1, 0, 0, 0, 0, 0, 3]))}


def test_the_newest_run_is_listed_first(tmp_path: Path) -> None:
    """Whoever opens the page wants to know how the last night went."""
    folders = [shelve(tmp_path / "reports", number) for number in range(3)]
    list_runs_on_a_page(tmp_path / "reports")
    assert list(listed(tmp_path / "reports")) == [folder.name for folder in reversed(folders)]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"5", b'{"state": "finished"}', b'{"state": "perhaps"}', b'{"state": "running"}'],
)
def test_a_run_whose_summary_says_nothing_is_looked_at_itself(tmp_path: Path, content: bytes) -> None:
    """A run that died says `running` in its summary for ever; what the journal says counts then."""
    folder = shelve(tmp_path / "reports", 1)
    (folder / "summary.json").write_bytes(content)
    assert list_runs_on_a_page(tmp_path / "reports") == ()
    assert listed(tmp_path / "reports") == {folder.name: ("unreadable", None)}


def test_a_summary_of_an_older_version_is_enough(tmp_path: Path) -> None:
    """It has no `mend_by`, which the page of all runs does not show."""
    folder = shelve(tmp_path / "reports", 1)
    told = json.loads((folder / "summary.json").read_text())
    del told["mend_by"], told["input"]["ignored"]
    (folder / "summary.json").write_text(json.dumps(told))
    list_runs_on_a_page(tmp_path / "reports")
    assert listed(tmp_path / "reports")[folder.name][0] == "finished"


def test_a_run_that_died_reading_its_file_is_listed(tmp_path: Path) -> None:
    """It has neither summary nor journal."""
    (tmp_path / "reports" / "20261123T120000Z-0001").mkdir(parents=True)
    list_runs_on_a_page(tmp_path / "reports")
    assert listed(tmp_path / "reports") == {"20261123T120000Z-0001": ("not_begun", None)}


def test_a_reports_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    """Nothing is made in its place."""
    (remark,) = list_runs_on_a_page(tmp_path / "gone")
    assert remark.startswith("Not written, index.html: ")
    assert not (tmp_path / "gone").exists()


async def test_a_run_that_stops_early_has_a_page_that_says_so(rehearsal: Rehearsal) -> None:
    """Why, and how to go on."""
    stop = Stop()
    witness: Witness = rehearsal.witness(
        when=lambda _: len(witness.seen) >= 3, act=lambda _: stop.request(SignalledError("somebody pressed Ctrl-C"))
    )
    run = await rehearsal.run(rehearsal.file(60), rehearsal.terms(witness, stop=stop))
    page = (run.folder / "report.html").read_text()
    assert "somebody pressed Ctrl-C" in page
    assert f"bulkredeem resume {run.folder}" in page
    assert len(held(run.folder / "report.html")) == run.summary.not_done > 0
