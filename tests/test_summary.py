"""The summary: counts that add up, the errors seen most, and one sentence a person can act upon."""

from __future__ import annotations

import json
import math
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkredeem.codes import MendBy, mend_by_of
from bulkredeem.errors import ExitCode
from bulkredeem.model import DONE, Outcome, Status
from bulkredeem.summary import (
    EXAMPLE_ROWS,
    FINGERPRINTED,
    OTHER_MESSAGES,
    TOP_ERRORS,
    Ending,
    ErrorGroup,
    RunInfo,
    RunState,
    Summary,
    Tally,
    Typed,
    closing_sentence,
    counted,
    counting,
    exit_code_of,
    iso_utc,
    mender_of_pending,
    next_steps,
    plain,
    unmasking,
)

RECORDED = [status for status in Status if status is not Status.PENDING]
FOLDER = "reports/20240726T105224Z-0a1b"
FILE = f"{FOLDER}/not_done.csv"
CTRL_C = "somebody pressed Ctrl-C"
FINISHED = Ending(state=RunState.FINISHED, finished_at=1721991149.5, requests=12, exit_code=1)
STOPPED = Ending(state=RunState.STOPPED, finished_at=1721991149.5, requests=12, exit_code=3, stop_reason=CTRL_C)


def info(rows: int) -> RunInfo:
    """Describe a run over a file of so many rows."""
    return RunInfo(run_id="r-1", path="in/a.csv", sha256="ab" * 32, rows=rows, started_at=1721991144.0)


def outcome(row_number: int, status: Status, code: str = "", reason: str = "") -> Outcome:
    """Build a verdict."""
    return Outcome(row_number=row_number, status=status, error_code=code, error_message=f"full {reason}", reason=reason)


def summary(ending: Ending | None = FINISHED, rows: int | None = None, /, **counts: int) -> Summary:
    """Summarise a run with so many outcomes of each status."""
    tally = Tally()
    for name, count in counts.items():
        for _ in range(count):
            tally.add(outcome(tally.recorded + 2, Status(name), "750", "no"))
    return tally.summary(info(tally.recorded if rows is None else rows), ending)


OUTCOMES = st.lists(
    st.builds(
        outcome,
        st.integers(2, 10**6),
        st.sampled_from(RECORDED),
        st.sampled_from(["750", "748", "TIMEOUT"]),
        st.sampled_from(["a", "b", "c", "d", "e", "f"]),
    ),
    max_size=80,
)


@given(OUTCOMES, st.integers(0, 50))
def test_the_counts_add_up_to_the_rows_of_the_file(outcomes: list[Outcome], unrecorded: int) -> None:
    """Every row is in exactly one of the seven counts, those without an outcome in `pending`."""
    tally = Tally()
    for verdict in outcomes:
        tally.add(verdict)
    counts = tally.summary(info(len(outcomes) + unrecorded)).counts
    assert set(counts) == set(Status)
    assert sum(counts.values()) == len(outcomes) + unrecorded
    assert counts[Status.PENDING] == unrecorded
    assert all(counts[status] == sum(verdict.status is status for verdict in outcomes) for status in RECORDED)


@given(OUTCOMES)
def test_groups_count_each_row_that_is_not_done_once(outcomes: list[Outcome]) -> None:
    """The largest groups come first and are as large as they say; their examples are rows of theirs, in order."""
    tally = Tally()
    for verdict in outcomes:
        tally.add(verdict)
    rows = [(verdict.error_code, verdict.reason) for verdict in outcomes if verdict.status not in DONE]
    groups = tally.top_errors()
    expected = Counter(rows)
    assert [group.count for group in groups] == sorted(expected.values(), reverse=True)[:TOP_ERRORS]
    for group in groups:
        of_group = [
            verdict.row_number
            for verdict in outcomes
            if verdict.status not in DONE and (verdict.error_code, verdict.reason) == (group.code, group.message)
        ]
        assert group.count == len(of_group)
        assert group.example_rows == tuple(sorted(of_group[:EXAMPLE_ROWS]))


def test_among_groups_of_one_size_the_first_met_comes_first() -> None:
    """Two reports of one run name them in the same order."""
    tally = Tally()
    for number, code in enumerate(["b", "a", "c", "a", "b", "c", "z"], start=2):
        tally.add(outcome(number, Status.REFUSED, code))
    assert [group.code for group in tally.top_errors()] == ["b", "a", "c", "z"]


def test_one_code_with_two_messages_is_two_groups() -> None:
    """750 says why in its message, and each reason is mended differently."""
    tally = Tally()
    tally.add(outcome(2, Status.REFUSED, "750", "reversed"))
    tally.add(outcome(3, Status.REFUSED, "750", "expired"))
    assert len(tally.top_errors()) == 2


def test_a_group_is_named_by_the_masked_message() -> None:
    """What goes into a summary may travel, so it is the reason and not the platform's own words."""
    tally = Tally()
    tally.add(Outcome(row_number=2, status=Status.REFUSED, error_code="8015", error_message="919777000001", reason="x"))
    assert tally.top_errors() == (
        ErrorGroup(code="8015", message="x", mend_by=MendBy.FILE_OWNER, count=1, example_rows=(2,)),
    )


def test_memory_is_bounded_and_no_row_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound, further messages of a code are counted as one group."""
    monkeypatch.setattr(counting, "MOST_GROUPS", 3)
    tally = Tally()
    for number in range(2, 102):
        tally.add(outcome(number, Status.REFUSED, "750", f"reason {number}"))
    tally.add(outcome(102, Status.REFUSED, "750", "reason 2"))
    groups = tally.top_errors()
    assert [(group.message, group.count) for group in groups] == [
        (OTHER_MESSAGES, 97),
        ("reason 2", 2),
        ("reason 3", 1),
        ("reason 4", 1),
    ]
    assert groups[0].example_rows == (5, 6, 7, 8, 9)


def test_summary_json_has_the_promised_keys() -> None:
    """Machines read these names, so each change of one is a breach."""
    content = summary(success=1, refused=1).as_json_object()
    assert list(content) == [
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
    assert list(content["sha256"]) == [
        "input",
        "settings",
        "journal",
        "input.csv",
        "results.csv",
        "not_done.csv",
        "report.html",
        "results.xlsx",
        "not_done.xlsx",
    ]
    assert list(content["input"]) == ["path", "sha256", "rows", "ignored", "as_of"]
    assert list(content["counts"]) == ["success", "skipped", "invalid", "refused", "failed", "in_doubt", "pending"]
    assert list(content["mend_by"]) == ["file_owner", "data_team", "platform_owner", "credentials", "nobody"]
    assert list(content["top_errors"][0]) == ["code", "message", "mend_by", "count", "example_rows"]


def test_summary_json_of_a_run_that_ended() -> None:
    """Every value of it, as a machine reads it."""
    content = json.loads(json.dumps(summary(STOPPED, 4, success=2, refused=1).as_json_object()))
    assert content == {
        "run_id": "r-1",
        "state": "stopped",
        "stop_reason": "somebody pressed Ctrl-C",
        "environment": None,
        "retry_of": None,
        "undo_of": None,
        "tool_version": None,
        "host": None,
        "user": None,
        "by": None,
        "reason": None,
        "input": {"path": "in/a.csv", "sha256": "ab" * 32, "rows": 4, "ignored": 0, "as_of": None},
        "counts": {"success": 2, "skipped": 0, "invalid": 0, "refused": 1, "failed": 0, "in_doubt": 0, "pending": 1},
        "mend_by": {"file_owner": 0, "data_team": 1, "platform_owner": 0, "credentials": 0, "nobody": 1},
        "requests": 12,
        "allowed_rate": None,
        "started_at": "2024-07-26T10:52:24.000Z",
        "resumed_at": None,
        "finished_at": "2024-07-26T10:52:29.500Z",
        "duration_seconds": 5.5,
        "top_errors": [{"code": "750", "message": "no", "mend_by": "data_team", "count": 1, "example_rows": [4]}],
        "exit_code": 3,
        "sha256": {"input": "ab" * 32} | dict.fromkeys(FINGERPRINTED),
    }


def test_summary_json_tells_the_hashes_that_are_known() -> None:
    """The others are null, and two summaries that differ in hashes only tell of the same run."""
    plain = summary(success=1)
    hashed = replace(plain, sha256={"journal": "cd" * 32})
    assert hashed.as_json_object()["sha256"]["journal"] == "cd" * 32
    assert hashed.as_json_object()["sha256"]["results.csv"] is None
    assert hashed == plain


def test_summary_json_of_a_run_under_way() -> None:
    """What is not known yet is null, and all rows are pending."""
    content = json.loads(json.dumps(summary(None, 9).as_json_object()))
    assert content["state"] == "running"
    assert content["counts"]["pending"] == 9
    assert [content[key] for key in ("stop_reason", "finished_at", "duration_seconds", "exit_code")] == [None] * 4


def test_a_finished_run_has_no_reason_to_have_stopped() -> None:
    """The key is there and says null."""
    assert summary(success=1).as_json_object()["stop_reason"] is None


@pytest.mark.parametrize("status", Status)
def test_the_exit_code_is_0_when_every_row_is_done(status: Status) -> None:
    """One row of any other status makes it 1."""
    counts = dict.fromkeys(Status, 0) | {Status.SUCCESS: 5, status: 1}
    assert exit_code_of(counts) == (ExitCode.DONE if status in DONE else ExitCode.NOT_ALL_DONE)


def test_a_file_without_rows_is_done() -> None:
    """Nothing to do is not a failure."""
    assert exit_code_of(dict.fromkeys(Status, 0)) is ExitCode.DONE


MEND = f"Open {FILE}, mend what it names, and run it:\nbulkredeem run {FILE}"
AGAIN = f"Try them again:\nbulkredeem retry {FOLDER}"
RESUME = f"bulkredeem resume {FOLDER}"
GO_ON = f"Go on with the run:\n{RESUME}"
FAILED = "1 failed and surely not applied"
IN_DOUBT = "2 in doubt (sent, no trustworthy answer)"
UPDATED = "rows were updated."
TYPED = Typed(
    whole="--map 'Bill No=billNumber' --config my.toml",
    all="--map 'Bill No=billNumber' --config my.toml",
    where="--config my.toml",
    which="--config my.toml",
)
"""What somebody typed."""


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (summary(success=9000), "All 9,000 rows were updated. Nothing is left to do."),
        (summary(success=1), "The one row was updated. Nothing is left to do."),
        (summary(), "The file has a header and no rows: nothing was to be sent."),
        (summary(success=8, skipped=2), f"8 of 10 {UPDATED} 2 had nothing to send. Nothing is left to do."),
        (summary(success=1, skipped=3), f"1 of 4 {UPDATED} 3 had nothing to send. Nothing is left to do."),
        (summary(skipped=3), f"0 of 3 {UPDATED} 3 had nothing to send. Nothing is left to do."),
        (summary(refused=1), f"0 of 1 {UPDATED} 1 needs someone: 1 refused by the platform. {MEND}"),
        (
            summary(success=8550, refused=400, invalid=50),
            f"8,550 of 9,000 {UPDATED} 450 need someone: 400 refused by the platform, 50 invalid in the file. {MEND}",
        ),
        (
            summary(success=1, skipped=5, failed=1, in_doubt=2),
            f"1 of 9 {UPDATED} 5 had nothing to send. 3 need someone: {FAILED}, {IN_DOUBT}. {AGAIN}",
        ),
        (
            summary(STOPPED, 4, success=2),
            f"Stopped early: {CTRL_C}. 2 of 4 {UPDATED} 2 need someone: 2 pending (no outcome yet). {GO_ON}",
        ),
        (
            summary(STOPPED, 1),
            f"Stopped early: {CTRL_C}. 0 of 1 {UPDATED} 1 needs someone: 1 pending (no outcome yet). {GO_ON}",
        ),
        (summary(STOPPED, success=2), f"Stopped early: {CTRL_C}. All 2 {UPDATED} {GO_ON}"),
        (summary(None, success=2), f"All 2 {UPDATED} Nothing is left to do."),
    ],
)
def test_the_closing_sentence_is_verdict_and_next_step(result: Summary, sentence: str) -> None:
    """A person who reads nothing else knows how it went and what to do."""
    assert closing_sentence(result, FOLDER) == sentence


@given(st.fixed_dictionaries({str(status): st.integers(0, 3) for status in RECORDED}), st.integers(0, 3))
def test_the_closing_sentence_agrees_with_the_counts(counts: dict[str, int], pending: int) -> None:
    """Nothing is called done while a row needs someone, and nobody is sent to a file with nothing in it."""
    result = summary(FINISHED, sum(counts.values()) + pending, **counts)
    sentence = closing_sentence(result, FOLDER)
    if result.info.rows:
        assert ("Nothing is left to do" in sentence) is (result.not_done == 0)
    assert (FOLDER in sentence) is (result.not_done > 0)
    assert ("mend" in sentence) is (FILE in sentence) is (counts["refused"] + counts["invalid"] > 0)


def test_the_command_can_be_pasted_whatever_the_folder_is_called() -> None:
    """A blank in a path does not make two files of it, and the flags of this run go into the next one."""
    sentence = closing_sentence(summary(refused=1), "my reports/r-1", TYPED)
    command = sentence.splitlines()[-1]
    wanted = ["bulkredeem", "run", "--map", "Bill No=billNumber", "--config", "my.toml", "my reports/r-1/not_done.csv"]
    assert shlex.split(command) == wanted


@pytest.mark.parametrize(("ending", "name"), [(STOPPED, "resume"), (FINISHED, "retry")])
def test_who_goes_on_with_a_run_types_only_where_it_is(ending: Ending, name: str) -> None:
    """`resume` and `retry` have a run's own settings, and know no option that says how to read a file."""
    command = closing_sentence(summary(ending, 2, failed=1, in_doubt=1), "my reports/r-1", TYPED).splitlines()[-1]
    assert shlex.split(command) == ["bulkredeem", name, "--config", "my.toml", "my reports/r-1"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1721991144.0, "2024-07-26T10:52:24.000Z"),
        (1721991144.25, "2024-07-26T10:52:24.250Z"),
        (1721991144.001, "2024-07-26T10:52:24.001Z"),
        (1721991144.500999, "2024-07-26T10:52:24.500Z"),
        (1721991144.998999, "2024-07-26T10:52:24.998Z"),
        (1709210096.0, "2024-02-29T12:34:56.000Z"),
    ],
)
def test_moments_are_written_in_utc_whatever_the_clock_on_the_wall(
    monkeypatch: pytest.MonkeyPatch, seconds: float, text: str
) -> None:
    """ISO 8601 to the millisecond, with `Z`."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    assert iso_utc(seconds) == text


def test_a_reason_that_is_a_sentence_ends_once() -> None:
    """Some reasons to stop are whole sentences, with their full stop."""
    ended = replace(STOPPED, stop_reason="run.log could not be written: No space left on device.")
    assert "device. 1 of 2 rows" in closing_sentence(summary(ended, 2, success=1), FOLDER)


def test_refused_access_is_mended_before_anything_is_run_again() -> None:
    """Trying again with the same password locks the till."""
    ended = replace(STOPPED, exit_code=4, stop_reason="the platform refused the password")
    sentence = closing_sentence(summary(ended, 2), FOLDER)
    assert f"Have the password or the till's permission put right first, then go on with the run:\n{RESUME}" in sentence


CRASHED = Ending(state=RunState.CRASHED, finished_at=1721991149.5, requests=12, exit_code=None)
ABANDONED = replace(STOPPED, state=RunState.ABANDONED, stop_reason="it was the wrong file")
PENDING = "2 pending (no outcome yet)"
GIVEN_UP = "Abandoned: it was the wrong file."


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (summary(CRASHED, 3, success=1), f"The process died. 1 of 3 {UPDATED} 2 need someone: {PENDING}. {GO_ON}"),
        (summary(CRASHED, success=2), f"The process died. All 2 {UPDATED} {GO_ON}"),
        (
            summary(ABANDONED, 3, success=1),
            f"{GIVEN_UP} 1 of 3 {UPDATED} 2 need someone: {PENDING}. Nothing goes on with the run.",
        ),
        (summary(ABANDONED, success=2), f"{GIVEN_UP} All 2 {UPDATED} Nothing is left to do."),
    ],
)
def test_the_closing_sentence_of_a_run_without_an_end_of_its_own(result: Summary, sentence: str) -> None:
    """A dead run is gone on with even when all its rows are done, for its reports are not; an abandoned one is not."""
    assert closing_sentence(result, FOLDER) == sentence


@pytest.mark.parametrize("ending", [STOPPED, CRASHED])
def test_a_run_that_is_not_at_its_end_is_gone_on_with_first(ending: Ending) -> None:
    """Neither its refused nor its failed rows are mended or retried before: the rest would be run twice."""
    sentence = closing_sentence(summary(ending, 9, refused=1, invalid=1, failed=1), FOLDER)
    assert sentence.splitlines()[1:] == [RESUME]
    assert "mend" not in sentence


@pytest.mark.parametrize("status", [Status.FAILED, Status.IN_DOUBT])
def test_rows_that_may_succeed_now_are_retried(status: Status) -> None:
    """With nothing to mend in the file the next command is `retry`; with anything, it is to mend and run the file."""
    assert closing_sentence(summary(**{str(status): 2}), FOLDER).endswith(AGAIN)
    assert closing_sentence(summary(**{str(status): 2, "refused": 1}), FOLDER).endswith(MEND)


@given(OUTCOMES)
def test_counting_many_at_once_counts_the_same(outcomes: list[Outcome]) -> None:
    """Counts and groups are those of counting one by one; what is pending is no outcome."""
    one_by_one, at_once = Tally(), Tally()
    for each in outcomes:
        one_by_one.add(each)
    pending = Outcome(row_number=1, status=Status.PENDING, error_code="SENT_BEFORE")
    for some in (outcomes[:2], [pending], outcomes[2:], []):
        at_once.add_all([plain(each) for each in some])
    assert at_once.counts == one_by_one.counts
    assert at_once.top_errors() == one_by_one.top_errors()


@given(st.floats(0, 2.5e11) | st.integers(0, 10**9).map(lambda number: number / 2**10 + 1e9) | st.floats(-1e9, 0))
@example(1721991144.9999996)
@example(0.9999995)
@example(1721991144.0009995)
@example(1721991144.1239998)
@example(-0.0000001)
@example(5)
def test_moments_are_those_of_the_standard_library(seconds: float) -> None:
    """Rounded to the microsecond, then cut off, also where that carries into the next second."""
    theirs = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    assert iso_utc(seconds) == theirs.replace("+00:00", "Z")


@pytest.mark.parametrize(("seconds", "error"), [(math.nan, ValueError), (math.inf, OverflowError), (1e15, ValueError)])
def test_a_moment_without_a_date_is_an_error(seconds: float, error: type[Exception]) -> None:
    """Nobody is told a made-up date."""
    with pytest.raises(error):
        iso_utc(seconds)


@given(OUTCOMES, st.integers(0, 50))
def test_every_row_that_is_not_done_is_somebodys(outcomes: list[Outcome], unrecorded: int) -> None:
    """Those who mend are counted as the rows that are not done are, and nobody is named who has nothing to do."""
    tally = Tally()
    for verdict in outcomes:
        tally.add(verdict)
    result = tally.summary(info(len(outcomes) + unrecorded), FINISHED)
    assert sum(result.mend_by.values()) == result.not_done
    assert all(result.mend_by.values())
    expected = Counter(mend_by_of(verdict.status, verdict.error_code) for verdict in outcomes)
    expected[MendBy.NOBODY] += unrecorded
    assert result.mend_by == {who: count for who, count in expected.items() if who and count}


def test_one_code_that_two_people_mend_is_two_groups() -> None:
    """A code that nobody has written about is mended by whoever its status says."""
    tally = Tally()
    tally.add(outcome(2, Status.REFUSED, "X-1"))
    tally.add(outcome(3, Status.INVALID, "X-1"))
    assert {(group.mend_by, group.count) for group in tally.top_errors()} == {
        (MendBy.PLATFORM_OWNER, 1),
        (MendBy.FILE_OWNER, 1),
    }


REFUSED_ACCESS = replace(STOPPED, exit_code=4, stop_reason="the platform refused the password")
GUARDED = replace(STOPPED, stop_reason="more than half were refused", is_guarded=True)
DRY = Ending(state=RunState.DRY_RUN, finished_at=1721991149.5, requests=0, exit_code=1)


@pytest.mark.parametrize(
    ("ending", "who"),
    [
        (None, MendBy.NOBODY),
        (STOPPED, MendBy.NOBODY),
        (GUARDED, MendBy.NOBODY),
        (REFUSED_ACCESS, MendBy.CREDENTIALS),
        (FINISHED, MendBy.NOBODY),
    ],
)
def test_rows_that_nobody_has_looked_at_are_mended_by_going_on(ending: Ending | None, who: MendBy) -> None:
    """Unless the platform let nobody in: then whoever owns the password comes first."""
    assert mender_of_pending(ending) is who
    assert summary(ending, 3).mend_by == {who: 3}


OF_EACH = {
    MendBy.FILE_OWNER: (Status.INVALID, "RAGGED_ROW"),
    MendBy.DATA_TEAM: (Status.REFUSED, "750"),
    MendBy.PLATFORM_OWNER: (Status.REFUSED, "1212"),
    MendBy.CREDENTIALS: (Status.REFUSED, "4000"),
    MendBy.NOBODY: (Status.FAILED, "TIMEOUT"),
}
"""A verdict that each of them mends."""
LOCATED = "my reports/r-1"
PASTED = {
    "run": ["bulkredeem", "run", *shlex.split(TYPED.all), f"{LOCATED}/not_done.csv"],
    "split": ["bulkredeem", "split", "--config", "my.toml", "--by", "mend_by", LOCATED],
    "retry": ["bulkredeem", "retry", "--config", "my.toml", LOCATED],
    "resume": ["bulkredeem", "resume", "--config", "my.toml", LOCATED],
    "resume all the same": ["bulkredeem", "resume", "--config", "my.toml", "--no-guard", LOCATED],
    "run the file": ["bulkredeem", "run", *shlex.split(TYPED.all), "in/a.csv"],
}
"""What each of the commands is, as a shell takes it apart."""


def left_to(menders: Sequence[MendBy], ending: Ending | None = FINISHED, pending: int = 0) -> Summary:
    """Summarise a run in which the first of these has one row to mend, the second two, and so on."""
    tally = Tally()
    for count, who in enumerate(menders, start=1):
        for _ in range(count):
            tally.add(outcome(tally.recorded + 2, *OF_EACH[who]))
    return tally.summary(info(tally.recorded + pending), ending)


def commands(result: Summary) -> list[tuple[MendBy, int, list[str]]]:
    """Return who has how many rows to mend, and what each of them is to type, as a shell takes it apart."""
    steps = next_steps(result, LOCATED, TYPED)
    assert all(step.words.endswith(":") for step in steps), "the command follows a colon"
    return [(step.mend_by, step.count, shlex.split(step.command)) for step in steps]


@pytest.mark.parametrize("who", MendBy)
def test_one_who_mends_alone_has_the_file_to_themselves(who: MendBy) -> None:
    """The rows are mended where they lie and run; where nothing is to be mended, they are tried again."""
    assert commands(left_to([who])) == [(who, 1, PASTED["retry" if who is MendBy.NOBODY else "run"])]


def test_all_who_mend_are_named_and_who_has_most_comes_first() -> None:
    """Each gets only their own rows, by way of a file for each; what needs nobody is tried again."""
    assert commands(left_to(list(MendBy))) == [
        (MendBy.NOBODY, 5, PASTED["retry"]),
        (MendBy.CREDENTIALS, 4, PASTED["split"]),
        (MendBy.PLATFORM_OWNER, 3, PASTED["split"]),
        (MendBy.DATA_TEAM, 2, PASTED["split"]),
        (MendBy.FILE_OWNER, 1, PASTED["split"]),
    ]


@given(st.lists(st.sampled_from(list(MendBy)), unique=True), st.sampled_from([None, FINISHED, STOPPED, GUARDED]))
def test_the_steps_are_about_all_rows_that_are_not_done(menders: list[MendBy], ending: Ending | None) -> None:
    """Each who mends has one step, however the run ended, and the steps add up; nothing to do is no step."""
    result = left_to(menders, ending)
    steps = next_steps(result, LOCATED, TYPED)
    assert {step.mend_by for step in steps} == set(menders)
    assert sum(step.count for step in steps) == result.not_done


@pytest.mark.parametrize("ending", [STOPPED, CRASHED])
def test_going_on_with_an_unfinished_run_comes_before_all_else(ending: Ending) -> None:
    """However many rows somebody has to mend: run before that, the file would send the others twice."""
    result = left_to([MendBy.NOBODY, MendBy.DATA_TEAM, MendBy.FILE_OWNER], ending)
    assert [step.mend_by for step in next_steps(result, LOCATED)] == [
        MendBy.NOBODY,
        MendBy.FILE_OWNER,
        MendBy.DATA_TEAM,
    ]


def test_rows_that_were_refused_for_a_missing_permission_are_not_mended_by_going_on() -> None:
    """They have their outcome: where the run itself did not end for it, they are run again when all is put right."""
    result = left_to([MendBy.CREDENTIALS], STOPPED, pending=1)
    assert commands(result) == [(MendBy.NOBODY, 1, PASTED["resume"]), (MendBy.CREDENTIALS, 1, PASTED["split"])]


@pytest.mark.parametrize("ending", [STOPPED, CRASHED])
def test_an_unfinished_run_is_gone_on_with(ending: Ending) -> None:
    """Rows without an outcome and rows to be tried again wait for `resume`; whose rows are wrong are told so too."""
    result = left_to([MendBy.DATA_TEAM, MendBy.NOBODY], ending, pending=4)
    assert commands(result) == [(MendBy.NOBODY, 6, PASTED["resume"]), (MendBy.DATA_TEAM, 1, PASTED["split"])]


def test_refused_credentials_are_mended_before_the_run_is_gone_on_with() -> None:
    """The step says so, and it is about all rows that were not looked at."""
    (step,) = next_steps(summary(REFUSED_ACCESS, 7), LOCATED, TYPED)
    assert (step.mend_by, step.count) == (MendBy.CREDENTIALS, 7)
    assert step.words.startswith("Have the password or the till's permission put right first")
    assert shlex.split(step.command) == PASTED["resume"]


def test_a_guarded_run_is_gone_on_with_by_a_persons_word() -> None:
    """The step leaves the choice, and its command says what the guard wants to hear."""
    (step,) = next_steps(summary(GUARDED, 7), LOCATED, TYPED)
    assert "abandon it" in step.words
    assert shlex.split(step.command) == PASTED["resume all the same"]


def test_nothing_is_to_be_done_about_an_abandoned_run() -> None:
    """Somebody has closed it for good."""
    assert next_steps(left_to(list(MendBy), ABANDONED, pending=3), LOCATED, TYPED) == ()


def test_nothing_is_to_be_done_where_every_row_is_done() -> None:
    """No step for nobody."""
    assert next_steps(summary(success=3, skipped=1), LOCATED, TYPED) == ()


def test_after_a_dry_run_the_sound_rows_are_run_and_the_others_mended() -> None:
    """There is no run to go on with: what could be sent is sent by running the file itself."""
    result = left_to([MendBy.FILE_OWNER], DRY, pending=3)
    assert commands(result) == [(MendBy.NOBODY, 3, PASTED["run the file"]), (MendBy.FILE_OWNER, 1, PASTED["run"])]


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (
            summary(DRY, 5, invalid=1, skipped=1),
            f"A dry run: nothing was sent. 3 of 5 rows could be sent; 1 cannot: {FILE} says why.",
        ),
        (summary(DRY, 1), "A dry run: nothing was sent. 1 of 1 row could be sent."),
    ],
)
def test_the_closing_sentence_of_a_dry_run(result: Summary, sentence: str) -> None:
    """It says that nothing was sent, what could be, and how."""
    assert closing_sentence(result, FOLDER) == f"{sentence} To send what can be sent:\nbulkredeem run in/a.csv"


def test_lines_that_are_no_rows_are_in_no_count() -> None:
    """A report's total lines, say: they are named beside the rows and added to nothing."""
    result = Tally().summary(replace(info(4), ignored=2))
    assert result.as_json_object()["input"]["ignored"] == 2
    assert sum(result.counts.values()) == 4


def test_a_file_whose_name_looks_like_an_option_is_named_so_that_it_is_none() -> None:
    """What is offered can be pasted; standard input alone is a hyphen."""
    counts = dict.fromkeys(Status, 0) | {Status.PENDING: 1}
    ending = Ending(state=RunState.DRY_RUN, finished_at=1.0, requests=0, exit_code=0)
    for path, named in (("-fixes.csv", "./-fixes.csv"), ("standard input", "-")):
        info = RunInfo(run_id="dry", path=path, sha256="", rows=1, started_at=0.0)
        summary = Summary(info=info, counts=counts, top_errors=(), mend_by={MendBy.NOBODY: 1}, ending=ending)
        assert closing_sentence(summary, "reports/dry").endswith(f"bulkredeem run {named}")


def test_summary_json_of_a_run_of_which_all_is_known() -> None:
    """Every word that is known of a run stands under its key."""
    known = replace(
        info(2),
        as_of=1721900000.0,
        retry_of="r-0",
        resumed_at=1721991145.0,
        environment="production",
        undo_of="r-9",
        user="asha",
        by="Ravi",
        reason="wrong bills",
    )
    content = Tally().summary(known, replace(STOPPED, allowed="60/min")).as_json_object()
    expected = {
        "state": "stopped",
        "stop_reason": CTRL_C,
        "environment": "production",
        "retry_of": "r-0",
        "undo_of": "r-9",
        "user": "asha",
        "by": "Ravi",
        "reason": "wrong bills",
        "allowed_rate": "60/min",
        "resumed_at": "2024-07-26T10:52:25.000Z",
    }
    assert {name: content[name] for name in expected} == expected
    assert content["input"]["as_of"] == "2024-07-25T09:33:20.000Z"
    assert content["mend_by"] == dict.fromkeys(map(str, MendBy), 0) | {"nobody": 2}


def test_summary_json_of_a_run_under_way_has_sent_nothing_yet() -> None:
    """Numbers are 0 and what is unknown is null."""
    content = summary(None, 9).as_json_object()
    assert (content["requests"], content["allowed_rate"], content["resumed_at"]) == (0, None, None)
    assert content["input"]["as_of"] is None


def test_a_duration_is_told_to_the_millisecond() -> None:
    """Finer than that it says nothing of a run."""
    ended = replace(FINISHED, finished_at=1721991144.0 + 1.23456)
    assert summary(ended, success=1).as_json_object()["duration_seconds"] == 1.235


HANDED_ON = ". To give each only their own rows, write a file for each:"


@pytest.mark.parametrize(
    ("who", "words"),
    [
        (MendBy.FILE_OWNER, f"Mend these rows in {FILE}, as their error_message says, and run it"),
        (
            MendBy.DATA_TEAM,
            f"Ask the store or the data team about these redemptions, mend the rows in {FILE}, and run it",
        ),
        (
            MendBy.PLATFORM_OWNER,
            f"Show reason and request_id to whoever runs the platform; when it is mended, run {FILE}",
        ),
        (MendBy.CREDENTIALS, f"Have the user name, the password or the till's permission put right, and run {FILE}"),
        (MendBy.NOBODY, "Nothing is to be mended: try these rows again"),
    ],
)
def test_each_who_mends_is_told_what_in_a_sentence(who: MendBy, words: str) -> None:
    """It names the file and what to do with it; among others it leads to a file of their own."""
    (alone,) = next_steps(left_to([who]), FOLDER)
    assert alone.words == f"{words}:"
    (among_others,) = [step for step in next_steps(left_to(list(MendBy)), FOLDER) if step.mend_by is who]
    assert among_others.words == words + (":" if who is MendBy.NOBODY else HANDED_ON)


def test_without_options_the_next_commands_have_none() -> None:
    """What nobody typed is not made up."""
    typed = [step.command for step in next_steps(left_to([MendBy.FILE_OWNER, MendBy.NOBODY]), FOLDER)]
    assert typed == [f"bulkredeem retry {FOLDER}", f"bulkredeem split --by mend_by {FOLDER}"]


def test_what_only_the_platform_can_mend_is_not_mended_in_the_file() -> None:
    """Who has nothing else left is told to show it to those who can."""
    assert closing_sentence(left_to([MendBy.PLATFORM_OWNER]), FOLDER) == (
        f"0 of 1 {UPDATED} 1 needs someone: 1 refused by the platform."
        " Show reason and request_id to whoever runs the platform; when it is mended,"
        f" run {FILE}:\nbulkredeem run {FILE}"
    )
    assert closing_sentence(left_to([MendBy.PLATFORM_OWNER, MendBy.DATA_TEAM]), FOLDER).endswith(MEND)
    assert closing_sentence(left_to([MendBy.PLATFORM_OWNER]), FOLDER, TYPED).endswith(f"run {TYPED.all} {FILE}")


def test_the_closing_sentence_begins_with_the_environment() -> None:
    """Who rehearses and who does it for good read different sentences."""
    named = replace(summary(success=1), info=replace(info(1), environment="rehearsal"))
    assert closing_sentence(named, FOLDER) == "rehearsal: The one row was updated. Nothing is left to do."


def test_a_guarded_run_leaves_the_choice() -> None:
    """The closing sentence names both ways, and the command of the one that sends."""
    assert closing_sentence(summary(GUARDED, 1), FOLDER, TYPED) == (
        f"Stopped early: more than half were refused. 0 of 1 {UPDATED} 1 needs someone: 1 pending (no outcome yet)."
        " If all is right, go on with the run; if not, abandon it:\n"
        f"bulkredeem resume --config my.toml --no-guard {FOLDER}"
    )


def test_a_run_that_stopped_for_no_reason_says_none() -> None:
    """There is no colon with nothing behind it."""
    assert closing_sentence(summary(replace(STOPPED, stop_reason=""), success=2), FOLDER) == f"All 2 {UPDATED} {GO_ON}"


UNDO = replace(info(3), undo_of="r-0")
CANNOT_BE_RESTORED = f"What {FILE} names cannot be restored: mend those redemptions by hand."


def test_what_an_undo_cannot_restore_is_mended_by_hand() -> None:
    """Its file of rows not done would only be refused once more."""
    tally = Tally()
    tally.add(outcome(2, Status.SUCCESS))
    tally.add(outcome(3, Status.INVALID, "RAGGED_ROW"))
    tally.add(outcome(4, Status.FAILED, "TIMEOUT"))
    ended, stopped = tally.summary(UNDO, FINISHED), tally.summary(UNDO, STOPPED)
    assert closing_sentence(ended, FOLDER) == (
        f"1 of 3 {UPDATED} 2 need someone: 1 invalid in the file, {FAILED}. {CANNOT_BE_RESTORED}"
    )
    assert closing_sentence(stopped, FOLDER).endswith(GO_ON)
    assert [(step.mend_by, step.words, step.command) for step in next_steps(ended, FOLDER)] == [
        (MendBy.FILE_OWNER, CANNOT_BE_RESTORED, ""),
        (MendBy.NOBODY, "Nothing is to be mended: try these rows again:", f"bulkredeem retry {FOLDER}"),
    ]


def test_an_undo_that_restored_all_it_could_is_tried_again_as_any_run() -> None:
    """Rows that failed on the way are no rows that cannot be restored."""
    tally = Tally()
    tally.add(outcome(2, Status.FAILED, "TIMEOUT"))
    assert closing_sentence(tally.summary(replace(UNDO, rows=1), FINISHED), FOLDER).endswith(AGAIN)


def test_a_dry_run_that_could_send_nothing_offers_nothing_to_send() -> None:
    """Where every row is invalid the file is named, and no command."""
    assert closing_sentence(summary(DRY, invalid=2), FOLDER) == (
        f"A dry run: nothing was sent. 0 of 2 rows could be sent; 2 cannot: {FILE} says why."
    )


def test_the_steps_after_a_dry_run_say_what_they_are() -> None:
    """The sound rows are sent as they are; the others are mended first, each kind as ever."""
    result = left_to([MendBy.FILE_OWNER, MendBy.DATA_TEAM], DRY, pending=3)
    assert [step.words for step in next_steps(result, FOLDER)] == [
        "These rows can be sent as they are:",
        f"Ask the store or the data team about these redemptions, mend the rows in {FILE}, and run it:",
        f"Mend these rows in {FILE}, as their error_message says, and run it:",
    ]


def test_a_dry_run_of_what_came_through_a_pipe_is_run_through_one() -> None:
    """With the options that were typed for that file."""
    piped = replace(summary(DRY, 1), info=replace(info(1), path="standard input"))
    assert closing_sentence(piped, FOLDER, replace(TYPED, whole="--dry")).endswith("\nbulkredeem run --dry -")


def test_the_steps_of_an_unfinished_run_say_how_it_is_gone_on_with() -> None:
    """In the words of the closing sentence."""
    assert [step.words for step in next_steps(summary(STOPPED, 1), FOLDER)] == ["Go on with the run:"]
    assert [step.words for step in next_steps(summary(GUARDED, 1), FOLDER)] == [
        "If all is right, go on with the run; if not, abandon it:"
    ]
    assert [step.words for step in next_steps(summary(REFUSED_ACCESS, 1), FOLDER)] == [
        "Have the password or the till's permission put right first, then go on with the run:"
    ]


def test_identifiers_in_full_are_a_command_away() -> None:
    """Of the run that is looked at, by the configuration that was typed."""
    assert unmasking(FOLDER) == f"bulkredeem report --show-pii {FOLDER}"
    assert unmasking(LOCATED, TYPED) == "bulkredeem report --config my.toml --show-pii 'my reports/r-1'"


def test_the_file_to_mend_may_be_a_workbook() -> None:
    """Every sentence and command names the file that people are to mend."""
    typed = Typed(not_done="not_done.xlsx")
    assert closing_sentence(summary(refused=1), FOLDER, typed).endswith(f"bulkredeem run {FOLDER}/not_done.xlsx")
    (step,) = next_steps(left_to([MendBy.FILE_OWNER]), FOLDER, typed)
    assert f"{FOLDER}/not_done.xlsx" in step.words
    assert step.command == f"bulkredeem run {FOLDER}/not_done.xlsx"


@pytest.mark.parametrize(("number", "words"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (9000, "9,000 rows")])
def test_a_number_is_written_with_its_noun(number: int, words: str) -> None:
    """One of something is no plural."""
    assert counted(number, "row") == words
