"""`split`: the rows that are not done, in a file for each group, which can be run where it lies."""

from __future__ import annotations

import csv
import resource
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkredeem.application.splitting import MOST_FILES, Split, _file_names, _Found, run_folder_of, split_run
from bulkredeem.codes import MendBy
from bulkredeem.errors import BusyError, ConfigurationError, ReportError, RunNotFoundError
from bulkredeem.formulas import unescape
from bulkredeem.journal import RunLock
from bulkredeem.report import RESULTS

if TYPE_CHECKING:
    from tests.conftest import Ended, Rehearsal

Typed = Callable[..., "Ended"]
WriteCsv = Callable[..., Path]
HEADER = ["redemptionId", "billNumber", "identifierValue", "Store", "status"]
STORES = ["Pune", "pune ", "Köln", "北京", "", "../../etc/passwd", "=1+1", "CON", 'a "b",\r\nc']


def row(number: int, store: str = "", *, redemption: str = "") -> list[str]:
    """Return a row of a redemption and a customer of its own; by name it is known to the platform or not."""
    return [redemption or f"NOPE{number}", f"B-{number}", f"9199{number:08}", store, "theirs"]


def read(path: Path) -> list[list[str]]:
    """Read a report."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def split(folder: Path, by: str = "reason") -> Split:
    """Split a run now."""
    return split_run(folder, by, time.time())


@pytest.fixture
async def stores(rehearsal: Rehearsal, write_csv: WriteCsv) -> Path:
    """Give the folder of a run whose rows were all refused, of many stores, but one."""
    rows = [row(number, store) for number, store in enumerate([*STORES, "Pune"], start=2)]
    return (await rehearsal.run(write_csv([HEADER, *rows, row(90, "Pune", redemption="AB0090")]))).folder


@pytest.fixture
async def mixed(rehearsal: Rehearsal, write_csv: WriteCsv) -> Path:
    """Give the folder of a run with a row that is done, two that were refused, and one that is invalid."""
    rows = [row(2, redemption="AB0002"), row(3), row(4), ["AB0005", "B-5", "", "", ""]]
    return (await rehearsal.run(write_csv([HEADER, *rows]))).folder


@pytest.mark.parametrize(
    "by", ["Store", "store", "status", "input.status", "reason", "mend_by", "billNumber", "Bill No"]
)
def test_each_row_that_is_not_done_is_in_one_file(stores: Path, by: str) -> None:
    """The files together are `not_done.csv`, each with its header; within a file the order stays."""
    if by == "Bill No":
        by = "bill number"
    header, *not_done = read(stores / "not_done.csv")
    found = split(stores, by)
    files = [read(group.path) for group in found.groups]
    assert all(lines[0] == header for lines in files)
    assert sorted(line for lines in files for line in lines[1:]) == sorted(not_done)
    assert all(lines[1:] == [line for line in not_done if line in lines] for lines in files)
    assert [len(lines) - 1 for lines in files] == [group.rows for group in found.groups]


def test_a_group_has_its_value_in_common(stores: Path) -> None:
    """By a column of the file: blanks around it do not count, capitals do, and what is empty is a group as well."""
    found = split(stores, "Store")
    place = read(stores / "not_done.csv")[0].index("Store")
    for group in found.groups:
        assert {unescape(line[place]).strip() for line in read(group.path)[1:]} == {group.name}
    assert Counter({group.name: group.rows for group in found.groups}) == Counter(
        {
            "Pune": 2,
            "pune": 1,
            "Köln": 1,
            "北京": 1,
            "": 1,
            "../../etc/passwd": 1,
            "=1+1": 1,
            "CON": 1,
            'a "b",\r\nc': 1,
        }
    )


def test_a_file_name_says_group_and_count(stores: Path) -> None:
    """In plain letters, no two alike, and never a path of its own."""
    names = [group.path.name for group in split(stores, "Store").groups]
    assert names == [
        "pune-2-rows.csv",
        "pune-1-row.csv",
        "koln-1-row.csv",
        "group-1-row.csv",
        "none-1-row.csv",
        "etc-passwd-1-row.csv",
        "1-1-1-row.csv",
        "con-1-row.csv",
        "a-b-c-1-row.csv",
    ]
    assert {path.name for path in (stores / "split" / "by-store").iterdir()} == set(names)


@given(st.lists(st.text(max_size=200), unique=True, max_size=30))
@example(["a" * 500, "a" * 501, "a", "a 2", "A"])
def test_no_two_groups_share_a_file(values: Iterable[str]) -> None:
    """Whatever the values are: the names differ, are short, and stay in their folder on every system."""
    names = _file_names({(value,): _Found(rows=1) for value in values})
    assert len(set(names.values())) == len(names)
    for name in names.values():
        assert len(name) < 100
        assert name.isascii()
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.")
        assert not name.startswith(("-", "."))


def test_a_reason_comes_with_its_code(mixed: Path) -> None:
    """So that the file's name tells both; the largest group comes first."""
    found = split(mixed)
    assert [group.rows for group in found.groups] == [2, 1]
    refused, invalid = found.groups
    assert refused.path.name.startswith(f"{refused.codes[0].lower()}-")
    assert refused.path.name.endswith("-2-rows.csv")
    assert invalid.mend_by == (MendBy.FILE_OWNER,)


def test_each_mender_gets_a_file(mixed: Path) -> None:
    """By who mends it."""
    assert {group.name: group.mend_by for group in split(mixed, "mend_by").groups} == {
        name: (MendBy(name),) for name in {line[4] for line in read(mixed / "not_done.csv")[1:]}
    }


def test_what_was_mended_is_never_written_over(mixed: Path) -> None:
    """Neither `not_done.csv`, which somebody may mend, nor the files of an earlier split: a new folder is made."""
    first = split(mixed)
    first.groups[0].path.write_text("mended")
    (mixed / "not_done.csv").write_text("mended, too")
    second = split(mixed)
    assert first.groups[0].path.read_text() == "mended"
    assert (mixed / "not_done.csv").read_text() == "mended, too"
    assert second.groups[0].path.parent == mixed / "split" / "by-reason-2"
    assert [group.rows for group in second.groups] == [2, 1]


def test_the_journal_is_split_and_not_a_report(mixed: Path) -> None:
    """A report that is missing is missed by nobody."""
    for name in ("not_done.csv", RESULTS):
        (mixed / name).unlink()
    assert sum(group.rows for group in split(mixed).groups) == 3
    assert not (mixed / "not_done.csv").exists()


async def test_a_run_that_left_nothing_is_not_split(rehearsal: Rehearsal, typed: Typed) -> None:
    """No folder is made, and that is said."""
    run = await rehearsal.run(rehearsal.file(2))
    assert split(run.folder).groups == ()
    assert not (run.folder / "split").exists()
    assert "nothing to split" in typed("split", run.folder, "--by", "reason").out


@pytest.mark.parametrize("by", ["Sotre", "", "Street"])
def test_a_column_that_is_not_there_is_named(mixed: Path, by: str) -> None:
    """With those that are; nothing is written."""
    with pytest.raises(ConfigurationError, match=f"has no column '{by}' to split by; it has 'row_number', 'status', "):
        split(mixed, by)
    assert not (mixed / "split").exists()


async def test_a_column_that_is_there_twice_is_no_group(rehearsal: Rehearsal, write_csv: WriteCsv) -> None:
    """Which of them is meant, nobody can tell."""
    header = ["redemptionId", "billNumber", "identifierValue", "Store", "Store"]
    folder = (await rehearsal.run(write_csv([header, row(2)]))).folder
    with pytest.raises(ConfigurationError, match="has more than one column 'Store' to split by"):
        split(folder, "Store")


async def test_more_groups_than_people_can_mend_are_refused(rehearsal: Rehearsal, write_csv: WriteCsv) -> None:
    """A column of identifiers was not meant; nothing is written."""
    rows = [["AB", "B", "", f"S{number}", ""] for number in range(MOST_FILES + 1)]
    folder = (await rehearsal.run(write_csv([HEADER, *rows]), no_guard=True)).folder
    with pytest.raises(
        ConfigurationError, match=r"--by Store would make more than 1,000 files of .*Nothing was written"
    ):
        split(folder, "Store")
    assert not (folder / "split").exists()


async def test_as_many_groups_as_are_allowed_have_a_file_each(rehearsal: Rehearsal, write_csv: WriteCsv) -> None:
    """Also where only a hundred files may be open at a time, for no two of them are."""
    rows = [["AB", "B", "", f"S{number % MOST_FILES}", ""] for number in range(MOST_FILES * 3)]
    folder = (await rehearsal.run(write_csv([HEADER, *rows]), no_guard=True)).folder
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    try:
        found = split(folder, "Store")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(found.groups) == MOST_FILES
    assert {len(read(group.path)) for group in found.groups} == {4}


async def test_what_going_on_would_send_is_left_out(rehearsal: Rehearsal, typed: Typed) -> None:
    """The pending rows of a run that is unfinished belong to `resume`; of an abandoned one they are split, too."""
    folder = await rehearsal.stopped(rehearsal.file(20), rows=6)
    pending = 20 - len(rehearsal.settled(folder))
    found = split(folder, "status")
    assert (found.groups, found.left_out) == ((), pending)
    assert f"{pending} pending rows left out" in typed("split", folder, "--by", "status").out
    typed("abandon", folder, "--reason", "the wrong shop")
    (group,) = split(folder, "status").groups
    assert (group.name, group.rows) == ("pending", pending)


def test_a_run_that_is_worked_on_is_left_alone(mixed: Path) -> None:
    """Its rows are not settled yet."""
    with RunLock.acquire(mixed, now=time.time()), pytest.raises(BusyError):
        split(mixed)


def test_a_folder_that_takes_no_file_is_an_error(mixed: Path) -> None:
    """The sentence names it."""
    (mixed / "split").write_text("in the way")
    with pytest.raises(ReportError, match="split could not be written: "):
        split(mixed)


def test_what_a_killed_process_left_is_taken_away(mixed: Path) -> None:
    """The next split begins anew, and leaves only what it tells of."""
    (mixed / "split" / ".part" / "split").mkdir(parents=True)
    (mixed / "split" / ".part" / "split" / "half.csv").write_text("half")
    split(mixed)
    assert [path.name for path in (mixed / "split").iterdir()] == ["by-reason"]


async def test_a_byte_order_mark_comes_back(rehearsal: Rehearsal, write_csv: WriteCsv) -> None:
    """Whoever needs one for Excel needs it in each file: once, at its start."""
    path = write_csv([HEADER, *(row(number) for number in range(2, 4))])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (group,) = split((await rehearsal.run(path)).folder).groups
    assert group.path.read_bytes().count(b"\xef\xbb\xbf") == 1
    assert group.path.read_bytes().startswith(b"\xef\xbb\xbfrow_number,")


async def test_a_mended_file_is_run_where_it_lies(rehearsal: Rehearsal, mixed: Path) -> None:
    """It is as old as its run: what a later file has set since is not set back by it."""
    path = split(mixed).groups[0].path
    path.write_text(path.read_text().replace("NOPE3", "AB0003"))
    run = await rehearsal.run(path)
    with closing(sqlite3.connect(mixed / "journal.sqlite")) as connection:
        ((as_of,),) = connection.execute("SELECT value FROM head WHERE key = 'as_of'")
        ((began,),) = connection.execute("SELECT value FROM head WHERE key = 'started_at'")
    assert run.summary.info.as_of == float(as_of)
    assert run.summary.info.knew_at is not None
    assert run.summary.info.knew_at < float(began)
    assert "AB0003" in rehearsal.arrived


def test_a_split_file_knows_its_run(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it is named; a file that lies elsewhere has none."""
    path = split(mixed).groups[0].path
    assert run_folder_of(path) == mixed.resolve()
    assert run_folder_of(mixed / "not_done.csv") == mixed
    folder = mixed.resolve()
    monkeypatch.chdir(path.parent)
    assert run_folder_of(Path(path.name)) == folder
    assert run_folder_of(folder.parent / "fixes.csv") is None
    assert run_folder_of(Path("/fixes.csv")) is None


def test_a_person_sees_what_to_do_with_each_group(mixed: Path, typed: Typed) -> None:
    """Rows, group, who has to do what, and the command that runs the file."""
    shown = typed("split", mixed, "--by", "mend_by")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0].startswith("2 rows: ")
    assert "1 row: file_owner" in lines
    assert f"   bulkredeem run {mixed}/split/by-mend-by/file-owner-1-row.csv" in lines
    assert "   file owner: " in shown.out
    assert lines[-1].startswith("3 rows in 2 files in ")


async def test_the_command_names_the_columns_that_their_headers_do_not(
    rehearsal: Rehearsal, write_csv: WriteCsv, typed: Typed
) -> None:
    """A map that the run was given is given again, or its files could not be run."""
    path = write_csv([["redemptionId", "Beleg Nr", "identifierValue"], row(2)[:3]])
    folder = (await rehearsal.run(path, map={"Beleg Nr": "billNumber"})).folder
    assert "bulkredeem run --map 'Beleg Nr=billNumber' reports/" in typed("split", folder, "--by", "reason").out


def test_a_program_gets_a_line_for_each_group(mixed: Path, typed: Typed) -> None:
    """As JSON, and nothing else on standard output."""
    told = typed("split", mixed, "--by", "mend_by", "--json").objects
    assert [(each["by"], each["rows"]) for each in told] == [("mend_by", 2), ("mend_by", 1)]
    assert told[1]["group"] == "file_owner"
    assert told[1]["mend_by"] == ["file_owner"]
    assert all(Path(each["path"]).is_file() for each in told)


def test_a_quiet_command_says_one_sentence(mixed: Path, typed: Typed) -> None:
    """How many rows, in how many files, and where."""
    assert len(typed("split", mixed, "--by", "reason", "--quiet").out.splitlines()) == 1


@pytest.mark.usefixtures("nothing_configured")
def test_a_run_that_is_not_there_is_no_run(typed: Typed) -> None:
    """It is said, as every command says it."""
    assert typed("split", "20990101", "--by", "reason").code == RunNotFoundError.exit_code
