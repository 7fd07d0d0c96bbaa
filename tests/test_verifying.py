"""Settling by reading back: which verdicts change, which stay, and what is said of those that nobody can tell."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.application import Choice, abandon_run, retry_run
from bulkredeem.application.verifying import AT_ONCE, WAIT, Verified, verify_run
from bulkredeem.cli import reading_back
from bulkredeem.errors import ExitCode, OtherSystemError, RunNotFoundError, SignalledError, Stopping
from bulkredeem.journal import Journal
from bulkredeem.model import Ceiling, Outcome, Status
from bulkredeem.pace import Pace
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Fault, Sandbox, UpdateRequest
from bulkredeem.sandbox.replies import Reply as Served
from bulkredeem.summary import Typed

if TYPE_CHECKING:
    from tests.conftest import Rehearsal

pytestmark = pytest.mark.usefixtures("nothing_configured")

LOST = Fault(body=b"{")
"""Not applied, and nobody can tell."""
DONE = Fault(apply=True, body=b"{")
"""Applied, and nobody can tell."""
BUSY = Fault.error(status=400, code=521)
"""Surely not applied."""


def write(*rows: tuple[int, str, str], name: str = "fixes.csv") -> Path:
    """Write a file of rows: the number of the redemption and its customer, bill number and purpose."""
    path = Path(name)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["redemptionId", "billNumber", "purpose", "identifierValue"])
        writer.writerows((f"AB{number:04}", bill, purpose, f"9199{number:08}") for number, bill, purpose in rows)
    return path


def hold(rehearsal: Rehearsal, number: int, **fields: Any) -> None:
    """Let the platform hold this of a redemption."""
    customer = ("CUSTOMER", "mobile", f"9199{number:08}")
    rehearsal.sandbox.plant(customer=customer, redemption_id=f"AB{number:04}", **fields)


async def sent(rehearsal: Rehearsal, path: Path, faults: dict[str, Fault], **flags: Any) -> Path:
    """Run a file with a fault for some redemptions and one attempt for each, and return the run's folder."""

    def fault_of(update: UpdateRequest) -> Fault | None:
        return faults.get(update.identifier)

    rehearsal.faults = fault_of
    run = await rehearsal.run(path, **{"max_attempts": 1, **flags})
    rehearsal.faults = lambda _: None
    rehearsal.arrived.clear()
    return run.folder


async def verified(
    rehearsal: Rehearsal,
    folder: Path,
    *,
    later: float = WAIT + 1,
    every: bool = False,
    at_once: bool = False,
    **on: Any,
) -> Verified:
    """Verify a run so many seconds from now, on such terms."""
    terms = rehearsal.terms(**{"wall_clock": lambda: time.time() + later, **on})
    found = await verify_run(folder, rehearsal.settings(), {}, terms, every=every, at_once=at_once)
    assert rehearsal.arrived == [], "something was sent"
    return found


def outcomes(folder: Path) -> dict[int, Outcome]:
    """Return what the run's journal says, as another process finds it."""
    with closing(Journal.open_to_read(folder / "journal.sqlite")) as journal:
        return {outcome.row_number: outcome for outcome in journal.outcomes()}


def reasons(groups: tuple[Any, ...]) -> list[tuple[str, str, tuple[int, ...]]]:
    """Return code, message and rows of groups."""
    return [(group.code, group.message, group.example_rows) for group in groups]


# What is settled


async def test_a_row_that_was_applied_becomes_a_success(rehearsal: Rehearsal) -> None:
    """Show it in the journal, in the reports and in what is told, with a warning that says how it is known."""
    folder = await sent(rehearsal, write((2, "B-2", "Tea")), {"AB0002": DONE})
    assert rehearsal.verdicts(folder) == {2: ("in_doubt", "UNREADABLE_REPLY")}
    found = await verified(rehearsal, folder)
    assert rehearsal.verdicts(folder) == {2: ("success", "")}
    assert rehearsal.verdicts(folder, "not_done.csv") == {}
    assert rehearsal.summary(folder)["counts"]["success"] == 1
    assert outcomes(folder)[2].warnings == ("verified by reading back",)
    assert reasons(found.applied) == [("UNREADABLE_REPLY", "the platform shows its values", (2,))]
    assert (found.folder, found.rows, found.requests, found.exit_code) == (folder, 1, 1, ExitCode.DONE)


async def test_a_row_that_was_not_applied_becomes_failed(rehearsal: Rehearsal) -> None:
    """Show another value and none at all, and that the verdict before is not lost."""
    hold(rehearsal, 2, bill_number="OLD")
    hold(rehearsal, 3)
    folder = await sent(rehearsal, write((2, "B-2", ""), (3, "B-3", "Tea")), {"AB0002": LOST, "AB0003": LOST})
    found = await verified(rehearsal, folder)
    assert rehearsal.verdicts(folder) == {2: ("failed", "NOT_APPLIED"), 3: ("failed", "NOT_APPLIED")}
    outcome = outcomes(folder)[2]
    assert outcome.error_message == outcome.reason == "reading back shows that it was not applied"
    assert outcome.warnings[-1].startswith("before reading back: in_doubt, UNREADABLE_REPLY (the platform answered")
    assert found.not_applied[0].count == 2
    assert found.exit_code is ExitCode.NOT_ALL_DONE


async def test_what_was_settled_as_applied_is_known_to_later_runs(rehearsal: Rehearsal) -> None:
    """Show that the same file, run again, has nothing to send."""
    path = write((2, "B-2", "Tea"))
    await verified(rehearsal, await sent(rehearsal, path, {"AB0002": DONE}))
    again = await rehearsal.run(path)
    assert rehearsal.verdicts(again.folder) == {2: ("skipped", "ALREADY_APPLIED")}


async def test_what_was_settled_as_not_applied_is_tried_again_without_doubt(rehearsal: Rehearsal) -> None:
    """Show that a retry which fails says failed, and not that the row may have been applied before."""
    hold(rehearsal, 2)
    folder = await sent(rehearsal, write((2, "B-2", "")), {"AB0002": LOST})
    await verified(rehearsal, folder)
    rehearsal.faults = lambda _: BUSY
    settings = rehearsal.settings(max_attempts=1)
    run = await retry_run(folder, settings, {"max_attempts": 1}, Choice(), rehearsal.terms())
    assert run is not None
    assert rehearsal.verdicts(run.folder) == {2: ("failed", "521")}


async def test_a_row_without_an_outcome_that_may_be_applied_is_settled_too(rehearsal: Rehearsal) -> None:
    """Show an abandoned run that stopped while a row was in doubt: the row gets an outcome, and others stay pending."""
    rehearsal.faults = lambda update: DONE if update.identifier == "AB0002" else None
    folder = await rehearsal.stopped(rehearsal.file(60))
    abandon_run(folder, "the tests want it", time.time())
    before = rehearsal.verdicts(folder)
    assert before[2] == ("pending", "SENT_BEFORE")
    found = await verified(rehearsal, folder)
    assert found.rows == 1
    assert rehearsal.verdicts(folder) == {**before, 2: ("success", "")}
    assert outcomes(folder)[2].attempts == 1
    with closing(Journal.open_to_read(folder / "journal.sqlite")) as journal:
        assert list(journal.doubted()) == []


# What stays


async def test_a_row_that_is_there_in_part_stays_in_doubt(rehearsal: Rehearsal) -> None:
    """Show that nobody can tell from one field of two."""
    hold(rehearsal, 2, bill_number="OLD", purpose="Tea")
    folder = await sent(rehearsal, write((2, "B-2", "Tea")), {"AB0002": LOST})
    before = outcomes(folder)
    found = await verified(rehearsal, folder)
    assert outcomes(folder) == before
    words = "the platform shows some of its values and others not"
    assert reasons(found.unknown) == [("UNREADABLE_REPLY", words, (2,))]


async def test_a_row_that_cannot_be_read_back_stays_with_the_reason(rehearsal: Rehearsal) -> None:
    """Show two reasons, each with its rows, beside a row that is settled."""
    hold(rehearsal, 3)
    rehearsal.sandbox.read_faults = lambda query: (
        Served(status=404, body=b"") if query["mobile"].endswith("4") else None
    )
    faults = {"AB0002": LOST, "AB0003": LOST, "AB0004": LOST}
    folder = await sent(rehearsal, write((2, "B-2", ""), (3, "B-3", ""), (4, "B-4", "")), faults)
    found = await verified(rehearsal, folder)
    assert {group.code: group.example_rows for group in found.unknown} == {"NOT_FOUND": (2,), "READ_BACK_FAILED": (4,)}
    assert [status for status, _ in rehearsal.verdicts(folder).values()] == ["in_doubt", "failed", "in_doubt"]


async def test_a_field_that_another_run_has_set_since_tells_nothing(rehearsal: Rehearsal) -> None:
    """Show that the other value may have replaced the row's own."""
    folder = await sent(rehearsal, write((2, "B-2", "")), {"AB0002": DONE})
    await sent(rehearsal, write((2, "C-2", ""), name="later.csv"), {})
    found = await verified(rehearsal, folder)
    assert rehearsal.verdicts(folder) == {2: ("in_doubt", "UNREADABLE_REPLY")}
    assert found.unknown[0].message == "the platform shows other values, and a later run has set them, or may have"


async def test_a_field_that_another_run_had_set_before_tells_all(rehearsal: Rehearsal) -> None:
    """Show that the older run's value is still there because the row was not applied."""
    await sent(rehearsal, write((2, "A-2", ""), name="earlier.csv"), {})
    folder = await sent(rehearsal, write((2, "B-2", "")), {"AB0002": LOST})
    await verified(rehearsal, folder)
    assert rehearsal.verdicts(folder) == {2: ("failed", "NOT_APPLIED")}


@pytest.mark.parametrize(("bill", "fault"), [("", None), ("C-2", BUSY)])
async def test_a_later_run_that_did_not_set_the_field_tells_all(
    rehearsal: Rehearsal, bill: str, fault: Fault | None
) -> None:
    """Show one that set another field, and one that surely failed to set this one."""
    hold(rehearsal, 2, bill_number="OLD")
    folder = await sent(rehearsal, write((2, "B-2", "")), {"AB0002": LOST})
    await sent(rehearsal, write((2, bill, "Tea"), name="later.csv"), {"AB0002": fault} if fault else {})
    await verified(rehearsal, folder)
    assert rehearsal.verdicts(folder) == {2: ("failed", "NOT_APPLIED")}


async def test_a_later_run_on_another_system_tells_nothing_of_this_one(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Show that a rehearsal over the same redemption is no reason for doubt."""
    hold(rehearsal, 2, bill_number="OLD")
    folder = await sent(rehearsal, write((2, "B-2", "")), {"AB0002": LOST})
    async with Sandbox(password="quiet-Otter-42") as other:
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("BULKREDEEM_BASE_URL", other.base_url)
            await sent(rehearsal, write((2, "C-2", ""), name="later.csv"), {})
        assert other.applied
    await verified(rehearsal, folder)
    assert rehearsal.verdicts(folder) == {2: ("failed", "NOT_APPLIED")}


async def test_rows_that_are_settled_are_not_asked_about(rehearsal: Rehearsal) -> None:
    """Show a run with nothing in doubt: no question, and every verdict as it was."""
    folder = await sent(rehearsal, write((2, "B-2", ""), (3, "B-3", "")), {"AB0003": BUSY})
    before = outcomes(folder)
    found = await verified(rehearsal, folder, later=0.0)
    assert (found.rows, rehearsal.sandbox.reads) == (0, 0)
    assert outcomes(folder) == before


# Every row that was sent


async def test_a_success_that_shows_another_value_is_told_and_stays(rehearsal: Rehearsal) -> None:
    """Show that what a colleague changed since is no verdict on the row, and yet not all is well."""
    folder = await sent(rehearsal, write((2, "B-2", "Tea"), (3, "B-3", "")), {})
    hold(rehearsal, 2, bill_number="COLLEAGUE", purpose="Tea")
    before = outcomes(folder)
    found = await verified(rehearsal, folder, every=True)
    assert reasons(found.contradicted) == [("", "the platform shows another value of billNumber", (2,))]
    assert outcomes(folder) == before
    assert (found.rows, found.exit_code) == (2, ExitCode.NOT_ALL_DONE)


async def test_a_success_that_a_later_run_changed_says_so(rehearsal: Rehearsal) -> None:
    """Show that the reader is not left wondering who it was."""
    folder = await sent(rehearsal, write((2, "B-2", "")), {})
    await sent(rehearsal, write((2, "C-2", ""), name="later.csv"), {})
    found = await verified(rehearsal, folder, every=True)
    words = "the platform shows another value of billNumber, and a later run has set it, or may have"
    assert reasons(found.contradicted) == [("", words, (2,))]


async def test_every_row_that_was_sent_is_looked_at(rehearsal: Rehearsal) -> None:
    """Show a failed and a refused row that hold their values after all, and one that was never sent."""
    rows = write((2, "B-2", ""), (3, "B-3", ""), (4, "", ""))
    refused = Fault.error(status=400, code=750, apply=True)
    folder = await sent(rehearsal, rows, {"AB0002": Fault.error(status=400, code=521, apply=True), "AB0003": refused})
    assert [status for status, _ in rehearsal.verdicts(folder).values()] == ["failed", "refused", "invalid"]
    found = await verified(rehearsal, folder, every=True)
    assert [status for status, _ in rehearsal.verdicts(folder).values()] == ["success", "success", "invalid"]
    assert found.rows == 2


async def test_a_refusal_that_is_confirmed_stays_one(rehearsal: Rehearsal) -> None:
    """Show that a row which said that it was not applied keeps its own reason: to try it again would change nothing."""
    hold(rehearsal, 2, bill_number="OLD")
    folder = await sent(rehearsal, write((2, "B-2", "")), {"AB0002": Fault.error(status=400, code=750, message="no")})
    found = await verified(rehearsal, folder, every=True)
    assert rehearsal.verdicts(folder) == {2: ("refused", "750")}
    assert (found.applied, found.not_applied, found.unknown) == ((), (), ())


async def test_fields_that_were_kept_do_not_count(rehearsal: Rehearsal) -> None:
    """Show a row of which one field was left to the platform's own value."""
    hold(rehearsal, 2, bill_number="OLD")
    folder = await sent(rehearsal, write((2, "B-2", "Tea")), {"AB0002": DONE}, existing="keep")
    assert outcomes(folder)[2].kept == ("billNumber",)
    await verified(rehearsal, folder)
    assert rehearsal.verdicts(folder) == {2: ("success", "")}


# When it may be asked


async def test_nothing_is_judged_while_an_update_may_be_on_its_way(rehearsal: Rehearsal) -> None:
    """Show that the sentence names a time and the option, and that the option lets it be judged."""
    folder = await sent(rehearsal, write((2, "B-2", "")), {"AB0002": DONE})
    last = outcomes(folder)[2].finished_at
    moment = time.strftime("%H:%M", time.localtime(last + WAIT))
    with pytest.raises(RunNotFoundError, match=f"verify it from {moment} on, or verify now with --now"):
        await verified(rehearsal, folder, wall_clock=lambda: last + WAIT - 1)
    assert rehearsal.sandbox.reads == 0
    found = await verified(rehearsal, folder, wall_clock=lambda: last + 1, at_once=True)
    assert found.exit_code is ExitCode.DONE


async def test_an_unfinished_run_is_not_verified(rehearsal: Rehearsal) -> None:
    """Show that going on with it comes first."""
    folder = await rehearsal.stopped(rehearsal.file(20))
    with pytest.raises(RunNotFoundError, match="is stopped: go on with it first"):
        await verified(rehearsal, folder)


async def test_a_run_of_another_system_is_not_verified(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Show that nobody is asked what the wrong system holds."""
    folder = await sent(rehearsal, write((2, "B-2", "")), {"AB0002": DONE})
    monkeypatch.setenv("BULKREDEEM_USERNAME", "other.till")
    with pytest.raises(OtherSystemError):
        await verified(rehearsal, folder)


async def test_every_question_takes_a_slot(rehearsal: Rehearsal) -> None:
    """Show three rows at 60/min on a clock of the test's own."""
    folder = await sent(
        rehearsal, write(*((n, f"B-{n}", "") for n in (2, 3, 4))), {f"AB000{n}": DONE for n in (2, 3, 4)}
    )
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    await verified(rehearsal, folder, pace=Pace(Ceiling.parse("60/min"), clock=lambda: now, sleep=sleep))
    assert now >= 2.0


# What ends it early


def asked(times: int, act: Callable[[], object]) -> Callable[[object], None]:
    """Return what does something at the question of that number, and lets it pass."""
    left = [times]

    def count(_query: object) -> None:
        left[0] -= 1
        if not left[0]:
            act()

    return count


async def test_ctrl_c_loses_nothing_that_was_found(rehearsal: Rehearsal) -> None:
    """Show that what was read by then is settled and reported, and that another time the rest follows."""
    numbers = range(2, 2 + 2 * AT_ONCE)
    faults = {f"AB{n:04}": DONE for n in numbers}
    folder = await sent(rehearsal, write(*((n, f"B-{n}", "") for n in numbers)), faults)
    stop = Stop()
    rehearsal.sandbox.read_faults = asked(AT_ONCE + 5, lambda: stop.request(SignalledError("Ctrl-C")))
    found = await verified(rehearsal, folder, stop=stop)
    settled = [status for status, _ in rehearsal.verdicts(folder).values()].count("success")
    assert AT_ONCE + 5 <= settled < 2 * AT_ONCE
    assert isinstance(found.stopped_by, SignalledError)
    assert found.exit_code is ExitCode.STOPPED_EARLY
    rest = await verified(rehearsal, folder)
    assert rest.rows == 2 * AT_ONCE - settled
    assert rest.exit_code is ExitCode.DONE


async def test_refused_access_ends_it(rehearsal: Rehearsal) -> None:
    """Show that one question is enough to know, and that every verdict stays."""
    numbers = range(2, 12)
    faults = {f"AB{n:04}": DONE for n in numbers}
    folder = await sent(rehearsal, write(*((n, f"B-{n}", "") for n in numbers)), faults)
    rehearsal.sandbox.permitted = False
    before = outcomes(folder)
    found = await verified(rehearsal, folder)
    assert found.exit_code is ExitCode.ACCESS_REFUSED
    assert outcomes(folder) == before
    assert found.requests == 1


async def test_an_error_of_ours_is_passed_on_after_what_was_found_is_durable(rehearsal: Rehearsal) -> None:
    """Show a failure that is nobody's wish: the row that was read before it is settled."""
    faults = {"AB0002": DONE, "AB0003": DONE}
    folder = await sent(rehearsal, write((2, "B-2", ""), (3, "B-3", "")), faults)
    stop = Stop()
    rehearsal.sandbox.read_faults = asked(1, lambda: stop.request(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        await verified(rehearsal, folder, stop=stop)
    assert Status.SUCCESS in {outcome.status for outcome in outcomes(folder).values()}


async def test_nothing_is_asked_after_a_stop(rehearsal: Rehearsal) -> None:
    """Show that a stop which came before it ends it before it begins."""
    folder = await sent(rehearsal, write((2, "B-2", "")), {"AB0002": DONE})
    stop = Stop()
    stop.request(SignalledError("Ctrl-C"))
    with pytest.raises(Stopping):
        await verified(rehearsal, folder, stop=stop)
    assert rehearsal.sandbox.reads == 0


# What a person sees


async def test_a_person_is_told_what_was_found(rehearsal: Rehearsal, capfd: pytest.CaptureFixture[str]) -> None:
    """Show each kind with its rows, the sentence that counts them, and how the run stands now."""
    hold(rehearsal, 3, bill_number="OLD")
    faults = {"AB0002": DONE, "AB0003": LOST, "AB0004": LOST}
    await sent(rehearsal, write((2, "B-2", ""), (3, "B-3", ""), (4, "B-4", "")), faults)
    code = await reading_back.verify_run(None, rehearsal.settings(), {}, Typed(), every=False, at_once=True)
    shown = capfd.readouterr().out
    assert code is ExitCode.NOT_ALL_DONE
    assert "Not applied, and failed now:\n1 × UNREADABLE_REPLY, row 3\n" in shown  # noqa: RUF001  as it is shown
    assert "As before, since nobody can tell:\n1 × NOT_FOUND, row 4\n" in shown  # noqa: RUF001  as it is shown
    assert "3 rows to read back, 3 requests: 1 applied after all, 1 not applied, 1 as before.\n" in shown
    assert "1 of 3 rows were updated. 2 need someone" in shown


async def test_a_program_is_told_in_one_line(rehearsal: Rehearsal, capfd: pytest.CaptureFixture[str]) -> None:
    """Show the counts as JSON on standard output."""
    folder = await sent(rehearsal, write((2, "B-2", "")), {"AB0002": DONE})
    settings = rehearsal.settings(json_summary=True)
    await reading_back.verify_run(folder.name, settings, {}, Typed(), every=False, at_once=True)
    found = json.loads(capfd.readouterr().out)
    assert (found["run_id"], found["rows"], found["counts"]["success"]) == (folder.name, 1, 1)
    assert [group["example_rows"] for group in found["applied"]] == [[2]]
    assert found["exit_code"] == 0
