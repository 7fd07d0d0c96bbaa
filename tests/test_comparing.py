"""Comparing a file with the platform: what is said of each row, and where it is written; nothing is sent."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.application import runs_in
from bulkredeem.application.comparing import Comparison, Result, compare_file
from bulkredeem.cli.reading_back import compare_files
from bulkredeem.errors import AccessRefusedError, ConfigurationError, ExitCode, InputFileError, SignalledError
from bulkredeem.processor import Stop
from bulkredeem.report import write_comparison
from bulkredeem.sandbox.replies import Reply as Served

if TYPE_CHECKING:
    from tests.conftest import Rehearsal

pytestmark = pytest.mark.usefixtures("nothing_configured")

HEADER = ["redemptionId", "billNumber", "purpose", "identifierValue", "result"]


def write(*rows: tuple[int, str, str], encoding: str = "utf-8") -> Path:
    """Write a file of rows: the number of the redemption and its customer, bill number and purpose."""
    path = Path("fixes.csv")
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows((f"AB{n:04}", bill, purpose, f"9199{n:08}", "theirs") for n, bill, purpose in rows)
    return path


def hold(rehearsal: Rehearsal, number: int, **fields: Any) -> None:
    """Let the platform hold this of a redemption."""
    customer = ("CUSTOMER", "mobile", f"9199{number:08}")
    rehearsal.sandbox.plant(customer=customer, redemption_id=f"AB{number:04}", **fields)


async def compared(rehearsal: Rehearsal, path: Path, **on: Any) -> Comparison:
    """Compare a file on such terms."""
    found = await compare_file(path, rehearsal.settings(), rehearsal.terms(**on))
    assert rehearsal.arrived == [], "something was sent"
    return found


def lines(found: Comparison) -> list[dict[str, str]]:
    """Read the report as a program does."""
    with found.report.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def said(found: Comparison) -> list[tuple[str, str]]:
    """Return result and changes of each row."""
    return [(line["result"], line["changes"]) for line in lines(found)]


async def test_each_row_is_told_what_is_different(rehearsal: Rehearsal) -> None:
    """Show the results that a row can have beside a redemption, and the values on both sides."""
    hold(rehearsal, 2, bill_number="B-2", purpose="Tea")
    hold(rehearsal, 3, bill_number="B-3")
    hold(rehearsal, 4, bill_number="OLD-4")
    hold(rehearsal, 6, bill_number="B-6")
    rows = [(2, "B-2", "Tea"), (3, "B-3", "Tea"), (4, "B-4", "Tea"), (5, "B-5", ""), (6, "B-6", "")]
    found = await compared(rehearsal, write(*rows))
    assert said(found) == [
        ("same", ""),
        ("empty", 'purpose: "" → "Tea"'),
        ("different", 'billNumber: "OLD-4" → "B-4"; purpose: "" → "Tea"'),
        ("not_found", "the platform knows no such customer"),
        ("same", ""),
    ]
    assert {result: count for result, count in found.counts.items() if count} == {
        Result.SAME: 2,
        Result.EMPTY: 1,
        Result.DIFFERENT: 1,
        Result.NOT_FOUND: 1,
    }
    assert (found.rows, found.requests, found.exit_code) == (5, 5, ExitCode.NOT_ALL_DONE)


async def test_a_file_that_the_platform_holds_is_the_same(rehearsal: Rehearsal) -> None:
    """Show that a file which was run is, and that this is what exit code 0 says."""
    path = rehearsal.file(10)
    await rehearsal.run(path)
    rehearsal.arrived.clear()
    found = await compared(rehearsal, path)
    assert found.counts[Result.SAME] == found.rows == 10
    assert found.groups == ()
    assert found.exit_code is ExitCode.DONE


async def test_rows_that_cannot_be_sent_are_told_their_problems(rehearsal: Rehearsal) -> None:
    """Show that nobody asks about them, and that they are not the same."""
    hold(rehearsal, 2, bill_number="B-2")
    found = await compared(rehearsal, write((2, "B-2", ""), (3, "", "")))
    assert said(found)[0] == ("same", "")
    result, changes = said(found)[1]
    assert result == "invalid"
    assert changes.startswith("748: ")
    assert rehearsal.sandbox.reads == 1
    assert found.exit_code is ExitCode.NOT_ALL_DONE


async def test_a_row_that_cannot_be_read_back_says_why(rehearsal: Rehearsal) -> None:
    """Show a platform that has no answer for one customer."""
    rehearsal.sandbox.read_faults = lambda query: (
        Served(status=404, body=b"") if query["mobile"].endswith("3") else None
    )
    hold(rehearsal, 2, bill_number="B-2")
    found = await compared(rehearsal, write((2, "B-2", ""), (3, "B-3", "")))
    result, changes = said(found)[1]
    assert result == "not_read"
    assert changes.startswith("the redemption could not be read back (HTTP_404: ")


async def test_like_rows_are_counted_together(rehearsal: Rehearsal) -> None:
    """Show that a group quotes no value, so that a thousand different ones are one group."""
    for number in (2, 3):
        hold(rehearsal, number, bill_number=f"OLD-{number}")
    found = await compared(rehearsal, write((2, "B-2", ""), (3, "B-3", "")))
    (group,) = found.groups
    assert (group.code, group.message, group.example_rows) == (
        "different",
        "the platform has another value of billNumber",
        (2, 3),
    )


# The report


def left_behind() -> list[str]:
    """Return the names of all that lies in the working directory."""
    return sorted(each.name for each in Path().iterdir())


async def test_the_report_lies_in_a_folder_of_its_own(rehearsal: Rehearsal) -> None:
    """Show its place, its first columns, and that it is no run."""
    hold(rehearsal, 2, bill_number="B-2")
    found = await compared(rehearsal, write((2, "B-2", "")), wall_clock=lambda: 1_764_000_000.0)
    assert found.report.name == "comparison.csv"
    assert found.report.parent.parent == Path("reports")
    assert found.report.parent.name.startswith("compare-20251124T160000Z-")
    assert runs_in(Path("reports")) == []


async def test_the_report_carries_the_files_own_columns(rehearsal: Rehearsal) -> None:
    """Show all cells of a row, and that a column which is called like one of ours is renamed."""
    hold(rehearsal, 2, bill_number="B-2")
    (line,) = lines(await compared(rehearsal, write((2, "B-2", 'a, "b"'))))
    assert list(line) == ["row_number", "result", "changes", *HEADER[:-1], "input.result"]
    assert (line["row_number"], line["purpose"], line["input.result"]) == ("2", 'a, "b"', "theirs")


async def test_no_cell_of_the_report_is_run_as_a_formula(rehearsal: Rehearsal) -> None:
    """Show a value of the file that a spreadsheet would run."""
    (line,) = lines(await compared(rehearsal, write((2, "=SUM(A1)", ""))))
    assert line["billNumber"] == "'=SUM(A1)"


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", b"r"), ("utf-8-sig", b"\xef\xbb\xbf")])
async def test_the_report_begins_as_the_file_does(rehearsal: Rehearsal, encoding: str, mark: bytes) -> None:
    """Show that whoever needs a byte order mark for Excel gets it again."""
    found = await compared(rehearsal, write((2, "B-2", ""), encoding=encoding))
    assert found.report.read_bytes().startswith(mark)


def test_a_cell_of_changes_is_no_formula_either(tmp_path: Path) -> None:
    """Show the writer on a snapshot: what is found may begin with whatever the platform holds."""
    (tmp_path / "input.csv").write_text("row_number,error_code,error_message,line,a\r\n2,,,,x\r\n", encoding="utf-8")
    path = write_comparison(tmp_path, tmp_path / "input.csv", lambda _: ("different", "=1+1"))
    assert path.read_text(encoding="utf-8").splitlines() == ["row_number,result,changes,a", "2,different,'=1+1,x"]


# What ends it early


async def test_a_stop_leaves_a_report_of_what_was_read(rehearsal: Rehearsal) -> None:
    """Show that every row is in it, and that those which nobody asked about say so."""
    for number in range(2, 42):
        hold(rehearsal, number, bill_number=f"B-{number}")
    stop = Stop()
    rehearsal.sandbox.read_faults = lambda _: stop.request(SignalledError("Ctrl-C"))
    found = await compared(rehearsal, write(*((n, f"B-{n}", "") for n in range(2, 42))), stop=stop)
    assert found.counts[Result.SAME] >= 1
    assert found.counts[Result.SAME] + found.counts[Result.NOT_READ] == found.rows == len(lines(found)) == 40
    assert said(found)[-1] == ("not_read", "it was not read back: Ctrl-C")
    assert found.exit_code is ExitCode.STOPPED_EARLY


async def test_refused_access_leaves_nothing_behind(rehearsal: Rehearsal) -> None:
    """Show that a wrong password is an error, and no report on rows that nobody has seen."""
    rehearsal.sandbox.permitted = False
    with pytest.raises(AccessRefusedError):
        await compared(rehearsal, write((2, "B-2", ""), (3, "B-3", "")))
    assert left_behind() == ["fixes.csv"]
    assert rehearsal.sandbox.reads == 0


async def test_a_file_that_cannot_be_read_is_an_error(rehearsal: Rehearsal) -> None:
    """Show a file that is not there."""
    with pytest.raises(InputFileError):
        await compared(rehearsal, Path("nowhere.csv"))


async def test_nobody_is_asked_without_credentials(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Show that what is missing is said before the file is read."""
    monkeypatch.delenv("BULKREDEEM_PASSWORD")
    with pytest.raises(ConfigurationError, match="Missing: the password"):
        await compared(rehearsal, Path("nowhere.csv"))


# What a person sees


async def test_a_person_is_told_what_is_different(rehearsal: Rehearsal, capfd: pytest.CaptureFixture[str]) -> None:
    """Show the group with its rows, the path of the report, and the sentence with all counts."""
    hold(rehearsal, 2, bill_number="B-2")
    hold(rehearsal, 3, bill_number="OLD")
    code = await compare_files([write((2, "B-2", ""), (3, "B-3", ""))], rehearsal.settings())
    shown = capfd.readouterr().out
    assert code is ExitCode.NOT_ALL_DONE
    assert "1 × different, row 3\n    the platform has another value of billNumber\n" in shown  # noqa: RUF001  as shown
    assert "Every row: reports/compare-" in shown
    assert shown.endswith("2 rows: 1 same, 1 different.\n")


async def test_a_program_is_told_in_one_line(rehearsal: Rehearsal, capfd: pytest.CaptureFixture[str]) -> None:
    """Show the counts as JSON on standard output, and words on the other."""
    hold(rehearsal, 2, bill_number="B-2")
    await compare_files([write((2, "B-2", ""))], rehearsal.settings(json_summary=True))
    shown = capfd.readouterr()
    found = json.loads(shown.out)
    assert (found["rows"], found["counts"]["same"], found["exit_code"]) == (1, 1, 0)
    assert shown.err.endswith("The one row is the same.\n")


async def test_a_file_that_cannot_be_read_does_not_keep_the_next_one(
    rehearsal: Rehearsal, capfd: pytest.CaptureFixture[str]
) -> None:
    """Show the highest exit code of two files, and that the second was compared."""
    hold(rehearsal, 2, bill_number="B-2")
    code = await compare_files([Path("nowhere.csv"), write((2, "B-2", ""))], rehearsal.settings())
    assert code is ExitCode.COULD_NOT_START
    assert capfd.readouterr().out.endswith("The one row is the same.\n")


async def test_nothing_more_is_compared_when_access_is_refused(
    rehearsal: Rehearsal, capfd: pytest.CaptureFixture[str]
) -> None:
    """Show that a wrong password is tried once, and that what is left is named."""
    rehearsal.sandbox.permitted = False
    path = write((2, "B-2", ""))
    assert await compare_files([path, path], rehearsal.settings()) is ExitCode.ACCESS_REFUSED
    assert rehearsal.sandbox.requests == 1
    assert "Not compared: fixes.csv." in capfd.readouterr().out
