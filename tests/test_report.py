"""The reports: a line for each row, the user's own columns as they were, and whole files or none."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkredeem.codes import MendBy, mend_by_of
from bulkredeem.columns import OURS, carried_name
from bulkredeem.errors import ExitCode, JournalError, ReportError, ReportsFolderError, Stopping
from bulkredeem.formulas import escape
from bulkredeem.loader import take_snapshot
from bulkredeem.model import Outcome, Problem, Reading, Status
from bulkredeem.report import (
    forget_latest,
    make_run_folder,
    point_latest_to,
    write_comparison,
    write_results,
    write_summary,
)
from bulkredeem.snapshot import SnapshotWriter, cells_of, read_headers, read_records
from bulkredeem.summary import Ending, RunInfo, RunState, Tally, plain
from bulkredeem.verdict import SENT_BEFORE

Make = Callable[..., Outcome]

OUR_HEAD = ["row_number", "status", "error_code", "error_message", "mend_by", "reason"]
OUR_TAIL = ["warnings", "http_status", "attempts", "request_id", "finished_at"]
NEEDED = ["redemptionId", "billNumber", "identifierValue"]
"""The columns without which no file is taken in."""


def write_snapshot(
    folder: Path, headers: Sequence[str], rows: Sequence[Sequence[str]], *, marked: bool = False
) -> Path:
    """Write a snapshot whose rows are numbered from 2, and return its path."""
    path = folder / "input.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = SnapshotWriter(file, headers, byte_order_mark=marked)
        for row_number, cells in enumerate(rows, start=2):
            writer.add(row_number, cells)
    return path


def table(path: Path) -> list[list[str]]:
    """Read a report as a program does, without undoing anything."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def test_the_columns_are_those_that_are_promised(tmp_path: Path, outcome: Make) -> None:
    """Six columns of ours, the input's own as they were, five of ours: names and order are a promise."""
    snapshot = write_snapshot(tmp_path, [*NEEDED, "Store  Name"], [["AB12CD", "007", "919777000001", " Kiosk "]])
    done = outcome(2, warnings=("one", "two"), http_status=200, attempts=3, request_id="req-1")
    write_results(tmp_path, snapshot, [done])
    header, line = table(tmp_path / "results.csv")
    assert header == [*OUR_HEAD, *NEEDED, "Store  Name", *OUR_TAIL]
    assert line[:6] == ["2", "success", "", "", "", ""]
    assert line[6:10] == ["AB12CD", "007", "919777000001", " Kiosk "]
    assert line[10:] == ["one; two", "200", "3", "req-1", "2025-11-24T16:00:00.000Z"]
    assert (tmp_path / "results.csv").read_bytes().endswith(b"Z\r\n")


def test_every_row_is_in_input_order_and_only_open_ones_are_in_not_done(tmp_path: Path, outcome: Make) -> None:
    """Each status has its line; `success` and `skipped` need nobody; a row without outcome is `pending`."""
    statuses = [each for each in Status if each is not Status.PENDING]
    snapshot = write_snapshot(tmp_path, NEEDED, [[f"R{number}", "B", "1"] for number in range(8)])
    outcomes = [outcome(number, status=status) for number, status in enumerate(statuses, start=3)]
    tally = write_results(tmp_path, snapshot, outcomes)
    results, not_done = table(tmp_path / "results.csv"), table(tmp_path / "not_done.csv")
    told = [(number, status) for number, status, *_ in results[1:]]
    assert told == [
        ("2", "pending"),
        ("3", "success"),
        ("4", "skipped"),
        ("5", "invalid"),
        ("6", "refused"),
        ("7", "failed"),
        ("8", "in_doubt"),
        ("9", "pending"),
    ]
    assert not_done[0] == results[0]
    assert not_done[1:] == [line for line in results[1:] if line[1] not in {"success", "skipped"}]
    assert tally.recorded == len(statuses)
    pending = dict(zip(results[0], results[1], strict=True))
    assert (pending["redemptionId"], pending["attempts"], pending["http_status"]) == ("R0", "0", "")
    assert pending["finished_at"] == ""


def test_a_column_that_is_called_as_ours_gets_a_prefix(tmp_path: Path) -> None:
    """A user's own `status` is carried as `input.status`, with its cells as they were."""
    own = [*NEEDED, "status", "warnings", "Status"]
    snapshot = write_snapshot(tmp_path, own, [["R", "B", "1", "open", "none", "x"]])
    write_results(tmp_path, snapshot, [])
    header, line = table(tmp_path / "results.csv")
    assert header == [*OUR_HEAD, *NEEDED, "input.status", "input.warnings", "Status", *OUR_TAIL]
    assert line[6:12] == ["R", "B", "1", "open", "none", "x"]


@pytest.mark.parametrize("marked", [True, False])
def test_a_byte_order_mark_is_mirrored(tmp_path: Path, marked: bool) -> None:  # noqa: FBT001  parametrised
    """Who needs the mark for a spreadsheet finds it again; who does not is not given one."""
    snapshot = write_snapshot(tmp_path, NEEDED, [["R", "B", "1"]], marked=marked)
    write_results(tmp_path, snapshot, [])
    for name in ("results.csv", "not_done.csv"):
        assert (tmp_path / name).read_bytes().startswith(b"\xef\xbb\xbf") is marked
    assert table(tmp_path / "results.csv")[0][0] == "row_number"


@pytest.mark.parametrize("cell", ["=1+1", "+919777000001", "-5", "@SUM(A1)", "'=already", "\ttab", "＝１"])  # noqa: RUF001
def test_no_cell_runs_as_a_formula(tmp_path: Path, outcome: Make, cell: str) -> None:
    """Neither the user's headers and cells nor the platform's words begin as a spreadsheet's formula does."""
    snapshot = write_snapshot(tmp_path, [*NEEDED, cell], [["R", "B", "1", cell]])
    words = {"error_code": cell, "error_message": cell, "reason": cell, "warnings": (cell,), "request_id": cell}
    refused = outcome(2, status=Status.REFUSED, **words)
    write_results(tmp_path, snapshot, [refused])
    header, line = table(tmp_path / "results.csv")
    assert header[9] == line[9] == f"'{cell}"
    assert line[2] == line[3] == line[5] == line[10] == line[13] == f"'{cell}"


TROUBLESOME = "=+-@'\t\r\n\",; ＝\ufeff"  # noqa: RUF001  the full-width form is one of them
CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12) | st.text(
    alphabet=TROUBLESOME, max_size=5
)
HEADER = CELL.map("x".__add__) | st.sampled_from(["status", "=a", "'+b", "finished_at"])
ROW = st.lists(CELL, min_size=6, max_size=6).filter(lambda cells: any(map(str.strip, cells)))


@given(
    headers=st.lists(HEADER, min_size=3, max_size=3),
    rows=st.lists(ROW, max_size=5),
    statuses=st.lists(st.sampled_from(Status), min_size=5, max_size=5),
    words=CELL,
    marked=st.booleans(),
)
@settings(max_examples=60)
def test_a_report_that_comes_back_holds_what_went_in(
    headers: list[str],
    rows: list[list[str]],
    statuses: list[Status],
    words: str,
    marked: bool,  # noqa: FBT001  drawn
) -> None:
    """Through both reports and the loader, every own cell and header survives, whatever it is and whatever we add."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = [*NEEDED, *headers]
        snapshot = write_snapshot(folder, own, rows, marked=marked)
        outcomes = [
            Outcome(row_number=number, status=status, error_message=words, reason=words, warnings=(words,))
            for number, status in enumerate(statuses[: len(rows)], start=2)
        ]
        write_results(folder, snapshot, outcomes)
        wanted = {
            "results.csv": rows,
            "not_done.csv": [
                cells
                for cells, status in zip(rows, statuses, strict=False)
                if status not in {Status.SUCCESS, Status.SKIPPED}
            ],
        }
        for report, expected in wanted.items():
            again = folder / f"again-{report}"
            intake = take_snapshot(folder / report, again, reading=Reading())
            assert intake.rows == len(expected)
            assert [list(record.cells) for record in read_records(again)] == expected
            assert list(read_headers(again)) == [f"input.{each}" if each in OURS else each for each in own]


def test_a_report_of_a_report_is_the_same(tmp_path: Path) -> None:
    """A file that comes back again and again grows neither columns nor apostrophes."""
    first = write_snapshot(tmp_path, [*NEEDED, "status", "note"], [["R", "B", "+91", "open", "'=x"]])
    write_results(tmp_path, first, [])
    generations = [table(tmp_path / "results.csv")]
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        take_snapshot(tmp_path / "results.csv", folder / "input.csv", reading=Reading())
        write_results(tmp_path, folder / "input.csv", [])
        generations.append(table(tmp_path / "results.csv"))
    assert generations[0] == generations[1] == generations[2]


def breaking(error: Exception) -> Callable[[], Iterator[Outcome]]:
    """Return outcomes that break off after the first."""

    def outcomes() -> Iterator[Outcome]:
        yield Outcome(row_number=2, status=Status.SUCCESS)
        raise error

    return outcomes


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (JournalError("broken"), JournalError),
        (OSError(28, "No space left on device"), ReportError),
        (RuntimeError("ours"), RuntimeError),
    ],
)
def test_a_failing_write_leaves_the_old_files(tmp_path: Path, error: Exception, raised: type[Exception]) -> None:
    """Whatever breaks in the middle, the reports that were there stay as they were, and nothing else is left."""
    snapshot = write_snapshot(tmp_path, NEEDED, [["R", "B", "1"], ["S", "B", "1"]])
    write_results(tmp_path, snapshot, [])
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    with pytest.raises(raised):
        write_results(tmp_path, snapshot, breaking(error)())
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_writing_ends_when_asked_to(tmp_path: Path) -> None:
    """A second Ctrl-C ends a long report between two rows, and leaves nothing half-done."""
    snapshot = write_snapshot(tmp_path, NEEDED, [["R", "B", "1"]] * 3)
    asked: list[int] = []

    def proceed() -> None:
        asked.append(1)
        if len(asked) == 2:
            raise Stopping

    with pytest.raises(Stopping):
        write_results(tmp_path, snapshot, [], proceed=proceed)
    assert [each.name for each in tmp_path.iterdir()] == ["input.csv"]


def test_a_full_disk_is_one_sentence(
    tmp_path: Path, no_file_beyond: Callable[[int], AbstractContextManager[None]]
) -> None:
    """A disk that takes no more is said with the file's name and the reason, and the old file stays."""
    snapshot = write_snapshot(tmp_path, NEEDED, [["R", "B", "1"]])
    write_results(tmp_path, snapshot, [])
    before = (tmp_path / "results.csv").read_bytes()
    with (
        no_file_beyond(10),
        pytest.raises(ReportError, match=r"results\.csv could not be written: File too large\.") as caught,
    ):
        write_results(tmp_path, snapshot, [])
    assert caught.value.exit_code is ExitCode.STOPPED_EARLY
    assert (tmp_path / "results.csv").read_bytes() == before
    assert not os.path.lexists(tmp_path / ".results.csv.part")


def test_a_snapshot_that_vanished_is_one_sentence(tmp_path: Path) -> None:
    """Who deletes a run's folder under it gets a reason, not a traceback."""
    with pytest.raises(ReportError, match=r"input\.csv could not be read: No such file"):
        write_results(tmp_path, tmp_path / "input.csv", [])
    assert list(tmp_path.iterdir()) == []


INFO = RunInfo(run_id="20261123T120000Z-abcd", path="fixes.csv", sha256="5" * 64, rows=5, started_at=1_764_000_000.0)


def test_the_summary_has_the_promised_keys(tmp_path: Path, outcome: Make) -> None:
    """Every key is there from the start, in this order; the counts add up to the rows; times are ISO 8601 in UTC."""
    tally = Tally()
    write_summary(tmp_path, tally.summary(INFO))
    running = json.loads((tmp_path / "summary.json").read_text())
    assert list(running) == [
        "run_id",
        "state",
        "stop_reason",
        "environment",
        "retry_of",
        "undo_of",
        "tool_version",
        "host",
        "user",
        "by",
        "reason",
        "input",
        "counts",
        "mend_by",
        "requests",
        "allowed_rate",
        "started_at",
        "resumed_at",
        "finished_at",
        "duration_seconds",
        "top_errors",
        "exit_code",
        "sha256",
    ]
    assert running["state"] == "running"
    assert running["input"] == {"path": "fixes.csv", "sha256": "5" * 64, "rows": 5, "ignored": 0, "as_of": None}
    assert (running["retry_of"], running["resumed_at"]) == (None, None)
    assert list(running["counts"]) == ["success", "skipped", "invalid", "refused", "failed", "in_doubt", "pending"]
    assert running["counts"]["pending"] == 5
    assert running["mend_by"] == dict.fromkeys(map(str, MendBy), 0) | {"nobody": 5}
    assert (running["finished_at"], running["duration_seconds"], running["exit_code"]) == (None, None, None)

    for number in (2, 3):
        tally.add(outcome(number, status=Status.REFUSED, error_code="750", reason="no such redemption"))
    tally.add(outcome(4))
    ending = Ending(state=RunState.STOPPED, finished_at=1_764_000_012.5, requests=7, exit_code=3, stop_reason="Ctrl-C")
    write_summary(tmp_path, replace(tally.summary(INFO), ending=ending))
    ended = json.loads((tmp_path / "summary.json").read_text())
    assert list(ended) == list(running)
    assert (ended["state"], ended["stop_reason"], ended["requests"], ended["exit_code"]) == ("stopped", "Ctrl-C", 7, 3)
    assert sum(ended["counts"].values()) == 5
    assert (ended["started_at"], ended["finished_at"]) == ("2025-11-24T16:00:00.000Z", "2025-11-24T16:00:12.500Z")
    assert ended["duration_seconds"] == 12.5
    assert ended["mend_by"] == dict.fromkeys(map(str, MendBy), 0) | {"data_team": 2, "nobody": 2}
    (group,) = ended["top_errors"]
    assert group == {
        "code": "750",
        "message": "no such redemption",
        "mend_by": "data_team",
        "count": 2,
        "example_rows": [2, 3],
    }
    assert [each.name for each in tmp_path.iterdir()] == ["summary.json"]


def test_latest_points_to_the_newest_run(tmp_path: Path) -> None:
    """The link is made, re-pointed by the next run, relative (so that reports can be moved), and alone."""
    for run_id in ("a", "b"):
        point_latest_to(make_run_folder(tmp_path, run_id))
        assert (tmp_path / "latest").readlink() == Path(run_id)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b", "latest"]
    assert (tmp_path / "latest").resolve() == tmp_path / "b"


def test_a_folder_called_latest_is_left_alone(tmp_path: Path) -> None:
    """What a user has put there is not replaced, and no half-made link stays behind."""
    (tmp_path / "latest").mkdir()
    point_latest_to(make_run_folder(tmp_path, "a"))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "latest"]
    assert not (tmp_path / "latest").is_symlink()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    """A file in the place of the reports folder, or a run that is already there, is said before anything is sent."""
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(ReportsFolderError, match=r"No folder for reports can be made at .*: Not a directory\."):
        make_run_folder(tmp_path / "reports", "a")
    make_run_folder(tmp_path, "a")
    with pytest.raises(ReportsFolderError, match=r"File exists\.") as caught:
        make_run_folder(tmp_path, "a")
    assert caught.value.exit_code is ExitCode.COULD_NOT_START


def test_a_row_that_may_have_been_sent_says_so(tmp_path: Path, outcome: Make) -> None:
    """Of rows without an outcome those in doubt say SENT_BEFORE, and stay `pending`; an outcome says its own."""
    snapshot = write_snapshot(tmp_path, NEEDED, [["R", "B", "1"]] * 3)
    failed = outcome(2, status=Status.FAILED, error_code="521")
    tally = write_results(tmp_path, snapshot, [failed], is_doubted={2, 3}.__contains__)
    results, not_done = table(tmp_path / "results.csv"), table(tmp_path / "not_done.csv")
    assert [line[:3] for line in results[1:]] == [
        ["2", "failed", "521"],
        ["3", "pending", "SENT_BEFORE"],
        ["4", "pending", ""],
    ]
    assert results[2][3] == "it may have been applied by an earlier try whose answer was never recorded"
    assert results[2][5] == results[2][3]
    assert results[3][3] == results[3][5] == ""
    assert [line[4] for line in results[1:]] == ["nobody"] * 3
    assert not_done == results
    assert (tally.recorded, tally.counts[Status.PENDING]) == (1, 0), "a row without an outcome is not counted as one"


def test_what_an_earlier_death_left_half_written_is_replaced(tmp_path: Path, outcome: Make) -> None:
    """A half-written report of a process that died is no hindrance, and is gone when the reports are whole."""
    snapshot = write_snapshot(tmp_path, NEEDED, [["R", "B", "1"]])
    for name in ("results.csv", "not_done.csv", "summary.json"):
        (tmp_path / f".{name}.part").write_text("row_number,stat" * 1000)
    tally = write_results(tmp_path, snapshot, [outcome(2)])
    write_summary(tmp_path, tally.summary(INFO))
    assert len(table(tmp_path / "results.csv")) == 2
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "input.csv",
        "not_done.csv",
        "results.csv",
        "summary.json",
    ]


def test_the_summary_tells_of_a_run_that_was_gone_on_with_or_retries_another(tmp_path: Path) -> None:
    """Whose rows it has, how old the file is, and when the last stretch began; durations count from the beginning."""
    info = replace(INFO, as_of=1_763_990_000.0, retry_of="20261123T110000Z-aaaa", resumed_at=1_764_000_100.0)
    ending = Ending(state=RunState.CRASHED, finished_at=1_764_000_160.0, requests=7, exit_code=None)
    write_summary(tmp_path, Tally().summary(info, ending))
    told = json.loads((tmp_path / "summary.json").read_text())
    assert (told["retry_of"], told["state"], told["exit_code"]) == ("20261123T110000Z-aaaa", "crashed", None)
    assert told["input"]["as_of"] == "2025-11-24T13:13:20.000Z"
    assert told["resumed_at"] == "2025-11-24T16:01:40.000Z"
    assert told["duration_seconds"] == 160


def as_the_standard_library_writes(cells: Sequence[object]) -> bytes:
    """Return a line of a report, each text escaped, as `csv.writer` writes it."""
    line = io.StringIO(newline="")
    escaped = [escape(cell) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(line, lineterminator="\r\n").writerow(escaped)
    return line.getvalue().encode()


def expected_line(row_number: int, cells: Sequence[str], outcome: Outcome | None, *, is_doubted: bool) -> bytes:
    """Return what `results.csv` must say of a row, put together cell by cell."""
    code, words = (SENT_BEFORE.code, SENT_BEFORE.message) if is_doubted else ("", "")
    told = outcome or Outcome(
        row_number=row_number, status=Status.PENDING, error_code=code, error_message=words, reason=words
    )
    mender = mend_by_of(told.status, told.error_code) or ""
    finished_at = datetime.fromtimestamp(told.finished_at, UTC).isoformat(timespec="milliseconds")
    return as_the_standard_library_writes(
        [
            *(row_number, str(told.status), told.error_code, told.error_message, str(mender), told.reason),
            *cells,
            *("; ".join(told.warnings), told.http_status, told.attempts, told.request_id),
            finished_at.replace("+00:00", "Z") if told.finished_at else "",
        ]
    )


VERDICT = st.builds(
    Outcome,
    row_number=st.just(0),
    status=st.sampled_from(Status),
    error_code=CELL,
    error_message=CELL,
    reason=CELL,
    warnings=st.lists(CELL, max_size=2).map(tuple),
    http_status=st.none() | st.integers(100, 599),
    attempts=st.integers(0, 12),
    request_id=CELL | st.from_regex(r"[0-9a-f]{8}", fullmatch=True),
    finished_at=st.floats(0, 1e11),
)
SOUND = st.lists(CELL, min_size=2, max_size=2)
DAMAGED = st.builds(Problem, code=CELL, column=st.just(""), message=CELL, detail=CELL)


@given(
    rows=st.lists(st.tuples(SOUND | DAMAGED, st.none() | VERDICT, st.booleans()), max_size=6),
    headers=st.lists(HEADER, min_size=2, max_size=2),
    marked=st.booleans(),
    in_tuples=st.booleans(),
)
@settings(max_examples=200)
@example(
    rows=[(["=1", "+2"], None, False), (["a,=1", "b"], None, False)], headers=["a", "b"], marked=True, in_tuples=False
)
@example(
    rows=[(["", '"=1'], None, True), (["'", '\r\n"2,,,,=1'], None, True)],
    headers=["a", "b"],
    marked=False,
    in_tuples=True,
)
@example(
    rows=[(["x\r\n3,,,,y", ""], None, True), (["", ""], None, True)], headers=["a", "b"], marked=False, in_tuples=True
)
@example(
    rows=[(["x\r\n3,,,,,,y", ""], None, True), (["'", '\r\n"2,,,,,,=1'], None, True)],
    headers=["a", "b"],
    marked=True,
    in_tuples=True,
)
def test_a_report_is_what_the_standard_library_would_write(
    rows: list[tuple[list[str] | Problem, Outcome | None, bool]],
    headers: list[str],
    marked: bool,  # noqa: FBT001  drawn
    in_tuples: bool,  # noqa: FBT001  drawn
) -> None:
    """To the last byte, whatever stands in cells, words and damaged lines, and whether or not outcomes come plain."""
    with tempfile.TemporaryDirectory() as name:
        folder, outcomes, doubted = Path(name), [], set()
        expected = as_the_standard_library_writes([*OUR_HEAD, *map(carried_name, headers), *OUR_TAIL])
        with (folder / "input.csv").open("w", encoding="utf-8", newline="") as file:
            writer = SnapshotWriter(file, headers, byte_order_mark=marked)
            for number, (row, verdict, is_doubted) in enumerate(rows, start=2):
                outcome = verdict and replace(verdict, row_number=number)
                outcomes += [outcome] if outcome else []
                doubted |= {number} if is_doubted else set()
                if isinstance(row, Problem):
                    writer.add_damaged(number, row)
                else:
                    writer.add(number, row)
                cells = ["", ""] if isinstance(row, Problem) else row
                expected += expected_line(number, cells, outcome, is_doubted=is_doubted)
        told = map(plain, outcomes) if in_tuples else outcomes
        tally = write_results(folder, folder / "input.csv", told, is_doubted=doubted.__contains__)
        assert (folder / "results.csv").read_bytes() == codecs.BOM_UTF8 * marked + expected
        again = Tally()
        for outcome in outcomes:
            if outcome.status is not Status.PENDING:
                again.add(outcome)
        assert (tally.counts, tally.top_errors()) == (again.counts, again.top_errors())


@pytest.mark.parametrize(
    "is_recorded",
    [
        pytest.param(lambda _: True, id="all"),
        pytest.param(lambda number: number % 3 == 0, id="every third"),
        pytest.param(lambda number: number > 2_500, id="only the last"),
        pytest.param(lambda number: number < 500, id="only the first"),
        pytest.param(lambda number: number % 700 < 250, id="here and there"),
    ],
)
def test_each_of_many_rows_has_its_own_outcome(tmp_path: Path, is_recorded: Callable[[int], bool]) -> None:
    """However many rows in a row are without one, and wherever: none gets another's, and none goes without its own."""
    snapshot = write_snapshot(tmp_path, NEEDED, [[f"R{number}", "B", "1"] for number in range(2, 3_052)])
    outcomes = [
        Outcome(row_number=number, status=Status.REFUSED, error_message=f"no R{number}")
        for number in filter(is_recorded, range(2, 3_052))
    ]
    tally = write_results(tmp_path, snapshot, iter(outcomes))
    lines = table(tmp_path / "results.csv")[1:]
    told = [(line[0], line[1], line[3], line[6]) for line in lines]
    assert told == [
        (str(number), "refused", f"no R{number}", f"R{number}")
        if is_recorded(number)
        else (str(number), "pending", "", f"R{number}")
        for number in range(2, 3_052)
    ]
    assert tally.recorded == len(outcomes)
    assert table(tmp_path / "not_done.csv")[1:] == lines


def test_outcomes_of_no_row_are_in_nobodys_way(tmp_path: Path, outcome: Make) -> None:
    """Were a journal to hold outcomes of rows that the snapshot lacks, its own rows would have theirs all the same."""
    snapshot = write_snapshot(tmp_path, NEEDED, [["R", "B", "1"]] * 1_250)
    strangers = [outcome(0), outcome(1), *map(outcome, range(2_000, 4_000))]
    tally = write_results(tmp_path, snapshot, [*strangers[:2], *map(outcome, range(2, 1_002)), *strangers[2:]])
    assert [line[1] for line in table(tmp_path / "results.csv")[1:]] == ["success"] * 1_000 + ["pending"] * 250
    assert tally.recorded == 1_000


def test_a_long_report_ends_soon_when_asked_to(tmp_path: Path) -> None:
    """The wish to end it is asked for at least every thousand rows, and once more when all are written."""
    snapshot = write_snapshot(tmp_path, NEEDED, [["R", "B", "1"]] * 10_000)
    looks: list[int] = []
    taken = 0

    def outcomes() -> Iterator[Outcome]:
        nonlocal taken
        for taken in range(2, 10_002):
            yield Outcome(row_number=taken, status=Status.SUCCESS)

    write_results(tmp_path, snapshot, outcomes(), proceed=lambda: looks.append(taken))
    assert all(later - earlier <= 1_000 for earlier, later in pairwise([0, *looks]))
    assert looks[-2:] == [10_001, 10_001]


def test_a_row_that_no_reader_takes_is_an_error() -> None:
    """A cell longer than any reader takes is told of as everything that is no snapshot."""
    with pytest.raises(ValueError, match="is no row"):
        cells_of(f'"{"x" * 200_000}"')


def test_a_comparison_is_a_line_for_each_row(tmp_path: Path) -> None:
    """Three columns of ours, then the file's own: harmless, quoted where needed, and never called as ours are."""
    own = [*NEEDED, "result", "status"]
    snapshot = write_snapshot(tmp_path, own, [["R", "B", "1", "=x", "a,b"], ["S", "C", "2", "", ""]], marked=True)
    found = {2: ("different", 'billNumber: "A" → "B"'), 3: ("same", "")}
    path = write_comparison(tmp_path, snapshot, found.__getitem__)
    assert path == tmp_path / "comparison.csv"
    assert (
        path.read_bytes()
        == codecs.BOM_UTF8
        + (
            "row_number,result,changes,redemptionId,billNumber,identifierValue,input.result,status\r\n"
            '2,different,"billNumber: ""A"" → ""B""",R,B,1,\'=x,"a,b"\r\n'
            "3,same,,S,C,2,,\r\n"
        ).encode()
    )


def test_who_mends_a_row_without_an_outcome_is_said_to_the_reports(tmp_path: Path, outcome: Make) -> None:
    """Where nobody was let in it is whoever owns the password; a row with an outcome has its own."""
    snapshot = write_snapshot(tmp_path, NEEDED, [["R", "B", "1"]] * 2)
    refused = outcome(2, status=Status.REFUSED, error_code="750")
    write_results(tmp_path, snapshot, [refused], of_pending=MendBy.CREDENTIALS)
    assert [line[4] for line in table(tmp_path / "results.csv")[1:]] == ["data_team", "credentials"]


def test_a_row_that_may_not_have_been_sent_says_nothing_of_it(tmp_path: Path) -> None:
    """Nobody is in doubt unless somebody says so."""
    write_results(tmp_path, write_snapshot(tmp_path, NEEDED, [["R", "B", "1"]]), [])
    assert table(tmp_path / "results.csv")[1][:6] == ["2", "pending", "", "", "nobody", ""]


def test_latest_is_forgotten_with_its_run(tmp_path: Path) -> None:
    """A link to a run that is there stays, and so does what is no link."""
    folder = make_run_folder(tmp_path, "a")
    point_latest_to(folder)
    forget_latest(tmp_path)
    assert (tmp_path / "latest").is_symlink()
    folder.rmdir()
    forget_latest(tmp_path)
    assert list(tmp_path.iterdir()) == []
    forget_latest(tmp_path)
    (tmp_path / "latest").write_text("a user's own")
    forget_latest(tmp_path)
    assert (tmp_path / "latest").read_text() == "a user's own"


def test_where_nothing_can_be_looked_at_nothing_is_forgotten(tmp_path: Path) -> None:
    """A run is not ended by a link that it cannot take away."""
    forget_latest(tmp_path / ("x" * 5_000))


def test_a_folder_that_cannot_be_made_is_named_in_full(tmp_path: Path) -> None:
    """Whoever reads it may have several folders for reports."""
    make_run_folder(tmp_path, "a")
    with pytest.raises(ReportsFolderError) as caught:
        make_run_folder(tmp_path, "a")
    assert str(caught.value) == f"No folder for reports can be made at {tmp_path}/a: File exists."


def test_folders_above_the_reports_are_made_too(tmp_path: Path) -> None:
    """Who names a folder that is not there yet wants it."""
    assert make_run_folder(tmp_path / "new" / "reports", "a") == tmp_path / "new" / "reports" / "a"
    assert (tmp_path / "new" / "reports" / "a").is_dir()


def test_summary_json_is_read_by_people_too(tmp_path: Path) -> None:
    """Indented by two, with a line end at its end."""
    write_summary(tmp_path, Tally().summary(INFO))
    text = (tmp_path / "summary.json").read_text()
    assert text.startswith('{\n  "run_id": "20261123T120000Z-abcd",\n')
    assert text.endswith("\n}\n")
