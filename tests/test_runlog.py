"""The run's log: JSON lines that an engineer may keep, without anybody's number in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from bulkredeem.delivery import Delivery, Gate, Hooks
from bulkredeem.errors import ReportError
from bulkredeem.model import Answer, Ceiling, Correction, Outcome, Reply, Status
from bulkredeem.pace import Pace
from bulkredeem.runlog import RunLog

PEOPLE = [
    ("mobile", "919777000001"),
    ("email", "asha.rehearsal@example.com"),
    ("externalId", "Kunde Ä-7"),
    ("id", "4711"),
    ("cardnumber", "CARD-00-17"),
    ("cardExternalId", "x.y"),
    ("passport", "L0RE"),
]
"""An identifier of every type there is, and of one that is none."""


def lines(folder: Path) -> list[dict[str, Any]]:
    """Read the log as a program does."""
    return [json.loads(line) for line in (folder / "run.log").read_bytes().splitlines()]


async def delivered(correction: Correction, answer: Answer, log: RunLog, gate: Gate) -> Outcome:
    """Deliver a correction to a platform that gives this answer, with the log listening."""

    async def attempt(_: Correction) -> Answer:
        return answer

    delivery = Delivery(attempt, Pace(Ceiling.parse("none")), gate, max_attempts=1, hooks=Hooks(attempted=log.attempt))
    outcome = await delivery.deliver(correction)
    log.outcome(outcome)
    return outcome


@pytest.mark.parametrize(("identifier_type", "value"), PEOPLE)
@pytest.mark.parametrize("case", [str, str.upper, str.lower], ids=["as sent", "upper", "lower"])
async def test_no_identifier_stands_in_the_log(
    tmp_path: Path,
    correction: Callable[..., Correction],
    open_gate: Gate,
    identifier_type: str,
    value: str,
    case: Callable[[str], str],
) -> None:
    """What the platform says of a customer or a redemption is logged without them, whatever their type and case."""
    wanted = correction(
        redemption_id="8878ru",
        bill_number="BN-778899",
        bill_id=1234567890123456789,
        identifier_type=identifier_type,
        identifier_value=value,
    )
    message = case(f"Redemption update failed : no points of '{value}' ({value}) in 8878ru; see {value}, 8878ru.")
    error = {"code": 750, "message": message, "status": False}
    with RunLog(tmp_path, run_id="r", level="debug") as log:
        outcome = await delivered(wanted, Reply(http_status=400, body={"errors": [error]}), log, open_gate)

    assert value.casefold() in outcome.error_message.casefold(), "the results must say it as the platform did"
    logged = json.dumps(lines(tmp_path), ensure_ascii=False).casefold()
    assert "redemption update failed : no points of" in logged
    for secret in (value, "8878ru", "BN-778899", "1234567890123456789"):
        assert secret.casefold() not in logged


async def test_a_line_for_each_outcome(tmp_path: Path, correction: Callable[..., Correction], open_gate: Gate) -> None:
    """An outcome is one line of JSON with all that an engineer asks for first, and with the hour in UTC."""
    error = {"code": 750, "message": "no"}
    reply = Reply(http_status=400, body={"errors": [error]}, request_id="req-1")
    with RunLog(tmp_path, run_id="r", level="info") as log:
        await delivered(correction(7), reply, log, open_gate)
    (line,) = lines(tmp_path)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "outcome",
        "level": "info",
        "run_id": "r",
        "row_number": 7,
        "status": "refused",
        "error_code": "750",
        "reason": "no",
        "http_status": 400,
        "attempts": 1,
        "request_id": "req-1",
    }


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["started", "attempt", "outcome", "internal_error"]),
        ("info", ["started", "outcome", "internal_error"]),
        ("warning", ["internal_error"]),
        ("error", ["internal_error"]),
    ],
)
async def test_a_level_says_how_much(
    tmp_path: Path, correction: Callable[..., Correction], open_gate: Gate, level: str, events: list[str]
) -> None:
    """Attempts are for `debug`, rows and events for `info`; errors of ours are always there."""
    with RunLog(tmp_path, run_id="r", level=level) as log:
        log.event("started", rows=1)
        await delivered(correction(), Reply(http_status=200, body={}), log, open_gate)
        log.failure("internal_error", RuntimeError("hush"))
    assert [line["event"] for line in lines(tmp_path)] == events


async def test_an_attempt_is_logged_by_its_code(
    tmp_path: Path, correction: Callable[..., Correction], open_gate: Gate
) -> None:
    """With `debug`, each try says its number and how it was judged, and never quotes the platform."""
    reply = Reply(
        http_status=429, body={"errors": [{"code": 429, "message": "919777000001 is too fast"}]}, retry_after=0.0
    )
    with RunLog(tmp_path, run_id="r", level="debug") as log:

        async def attempt(_: Correction) -> Answer:
            return replies.pop()

        replies = [Reply(http_status=200, body={}), reply]
        delivery = Delivery(
            attempt,
            Pace(Ceiling.parse("none")),
            open_gate,
            max_attempts=1,
            sleep=_no_time,
            hooks=Hooks(attempted=log.attempt),
        )
        await delivery.deliver(correction())
    told = [(each["attempt"], each["verdict"], each["error_code"], each["throttled"]) for each in lines(tmp_path)]
    assert told == [(1, "failed", "429", True), (2, "success", "", False)]
    assert b"too fast" not in (tmp_path / "run.log").read_bytes()


async def _no_time(_: float) -> None:
    """Pass no time."""


def test_a_failure_says_where_and_not_what(tmp_path: Path) -> None:
    """An error of ours leaves file, line and function, innermost last; its text may quote a row and is left out."""

    def innermost() -> None:
        raise ValueError("919777000001")

    try:
        innermost()
    except ValueError as exc:
        with RunLog(tmp_path, run_id="r", level="info") as log:
            log.failure("internal_error", exc)
    (line,) = lines(tmp_path)
    assert (line["level"], line["error"]) == ("error", "ValueError")
    assert line["traceback"][-1].startswith("test_runlog.py:")
    assert line["traceback"][-1].endswith(" innermost")
    assert "919777000001" not in json.dumps(line)


def test_lines_are_there_when_flushed_and_are_kept(tmp_path: Path, outcome: Callable[..., Outcome]) -> None:
    """A line can be read before the log is closed, and a log that is opened again goes on below."""
    for status in (Status.SUCCESS, Status.PENDING):
        with RunLog(tmp_path, run_id="r", level="info") as log:
            log.outcome(outcome(status=status))
            log.flush()
            assert lines(tmp_path)[-1]["status"] == status
    assert len(lines(tmp_path)) == 2


def test_lines_come_in_their_order(tmp_path: Path, outcome: Callable[..., Outcome]) -> None:
    """An event is there at once, behind what waited before it; closing leaves nothing behind."""
    with RunLog(tmp_path, run_id="r", level="info") as log:
        log.outcome(outcome(2))
        log.event("paused", seconds=1.0)
        assert [line["event"] for line in lines(tmp_path)] == ["outcome", "paused"]
        log.outcome(outcome(3))
        assert len(lines(tmp_path)) == 2
    assert [line.get("row_number") for line in lines(tmp_path)] == [2, None, 3]


def test_an_outcome_looks_as_the_logger_would_write_it(tmp_path: Path, outcome: Callable[..., Outcome]) -> None:
    """It does not go through structlog, which nobody who reads the log should notice: same keys first and last."""
    with RunLog(tmp_path, run_id="r", level="info") as log:
        log.event("paused")
        log.outcome(outcome(2))
    event, row = (list(line) for line in lines(tmp_path))
    assert [row[0], *row[-3:]] == [event[0], *event[-3:]] == ["run_id", "event", "level", "timestamp"]


def test_a_log_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    """A folder that vanished, or one in the place of the file, is one sentence."""
    with pytest.raises(ReportError, match=r"run\.log could not be opened: No such file"):
        RunLog(tmp_path / "gone", run_id="r", level="info")
    (tmp_path / "run.log").mkdir()
    with pytest.raises(ReportError, match=r"run\.log could not be opened: Is a directory"):
        RunLog(tmp_path, run_id="r", level="info")


def test_a_full_disk_is_said(tmp_path: Path, no_file_beyond: Callable[[int], AbstractContextManager[None]]) -> None:
    """A line that cannot be written is an error with a sentence: a run without a log is to stop."""
    with no_file_beyond(10), RunLog(tmp_path, run_id="r", level="info") as log:
        for _ in range(2):
            with pytest.raises(ReportError, match=r"run\.log could not be written: File too large"):
                log.event("started")
