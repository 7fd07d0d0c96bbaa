"""Wrong turns of rows that a review has found: what is stale in a report, how old a doubt is, what an undo forgets."""

from __future__ import annotations

import csv
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import count
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.application import Choice, retry_run, undo_run
from bulkredeem.application.verifying import verify_run
from bulkredeem.errors import SignalledError
from bulkredeem.journal import Journal
from bulkredeem.model import Outcome, Status
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Fault, UpdateRequest
from bulkredeem.sandbox.replies import Reply

if TYPE_CHECKING:
    from bulkredeem.application import Run
    from tests.conftest import Rehearsal, Witness

pytestmark = pytest.mark.usefixtures("nothing_configured")

HEADER = ("redemptionId", "billNumber", "identifierValue")
WITH_STORE = (*HEADER, "store")
REFUSED = Fault.error(status=400, code=750)
LOST = Fault(apply=True, status=502)
"""Applied, and nobody can tell."""
Row = tuple[str, ...]


def good(rows: int, bill: str = "B") -> list[Row]:
    """Return so many good rows, the first of which is row 2 with `AB0002`; bill numbers begin with `bill`."""
    return [(f"AB{row:04}", f"{bill}-{row}", f"9199{row:08}") for row in range(2, rows + 2)]


def write(name: str, rows: Sequence[Row], header: Row = HEADER, *, hours_old: float = 0.0) -> Path:
    """Write a file that was changed last so many hours ago, and return its path."""
    path = Path(name)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    moment = time.time() - hours_old * 3600
    os.utime(path, (moment, moment))
    return path


def plant(rehearsal: Rehearsal, rows: int, **fields: Any) -> None:
    """Put the redemptions of so many good rows in place, as somebody would have left them."""
    for redemption, _, customer in good(rows):
        whose = ("CUSTOMER", "mobile", customer)
        rehearsal.sandbox.plant(redemption_id=redemption, customer=whose, **fields)


def bills(rehearsal: Rehearsal, rows: int) -> list[str]:
    """Return the bill numbers that the platform has by now."""
    return [rehearsal.sandbox.redemptions[redemption].bill_number for redemption, *_ in good(rows)]


def lines(folder: Path) -> dict[int, Mapping[str, str]]:
    """Read the results of a run: row number → columns."""
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return {int(line["row_number"]): line for line in csv.DictReader(file)}


def outcomes(folder: Path) -> dict[int, Outcome]:
    """Return what the run's journal says, as another process finds it."""
    with closing(Journal.open_to_read(folder / "journal.sqlite")) as journal:
        return {outcome.row_number: outcome for outcome in journal.outcomes()}


def copied(folder: Path, into: str = "dead") -> Path:
    """Copy a run as the disk holds it now, as a process that dies would leave it, and return where it lies."""
    target = Path(into) / folder.name
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*-shm"))
    return target


def dying(witness: Witness, into: str = "dead") -> None:
    """Leave the run that is watched as its process would that dies now."""
    assert witness.start is not None
    copied(witness.start.folder, into)


def stopping_when(stop: Stop, fault: Fault | None) -> Callable[[UpdateRequest], Fault | None]:
    """Return what presses Ctrl-C when an update arrives, which then meets the fault."""

    def press(_: UpdateRequest) -> Fault | None:
        stop.request(SignalledError("Ctrl-C"))
        return fault

    return press


# A report that is run where it lies


async def test_a_stale_row_stays_stale_in_its_report(rehearsal: Rehearsal) -> None:
    """Who runs not_done.csv as it is does not put the older value over the newer one."""
    await rehearsal.run(write("new.csv", good(5, "NEW"), hours_old=1))
    run = await rehearsal.run(write("old.csv", good(6, "OLD"), hours_old=2))
    assert set(rehearsal.verdicts(run.folder, "not_done.csv")) == {2, 3, 4, 5, 6}
    rehearsal.arrived.clear()
    again = await rehearsal.run(run.folder / "not_done.csv")
    assert {code for _, code in rehearsal.verdicts(again.folder).values()} == {"STALE_CORRECTION"}
    assert rehearsal.arrived == []


@pytest.mark.parametrize(
    ("bill", "fault", "status"),
    [
        pytest.param("wrong", REFUSED, "refused", id="refused"),
        pytest.param("wrong", Fault.error(status=400, code=521), "failed", id="failed"),
        pytest.param("8.88E+05", None, "invalid", id="invalid"),
    ],
)
async def test_a_row_that_was_mended_in_its_report_goes_through(
    rehearsal: Rehearsal, bill: str, fault: Fault | None, status: str
) -> None:
    """What the run has not applied, nothing that is known of it is in the way of."""
    rehearsal.faults = lambda update: fault if update.identifier == "AB0003" else None
    (first, second, third) = good(3)
    run = await rehearsal.run(write("fixes.csv", [first, (second[0], bill, second[2]), third]), max_attempts=1)
    assert {number: status for number, (status, _) in rehearsal.verdicts(run.folder, "not_done.csv").items()} == {
        3: status
    }
    rehearsal.faults = lambda _: None
    report = run.folder / "not_done.csv"
    report.write_text(report.read_text(encoding="utf-8-sig").replace(bill, "mended"), encoding="utf-8")
    again = await rehearsal.run(report)
    assert set(rehearsal.verdicts(again.folder).values()) == {("success", "")}
    assert bills(rehearsal, 3) == ["B-2", "mended", "B-4"]


@pytest.fixture
async def partly_superseded(rehearsal: Rehearsal) -> Run:
    """Give a run of two rows that fight over a bill number, of which the last has won."""
    rows = [("AB0002", "A", "gift", "919900000002"), ("AB0002", "B", "", "919900000002")]
    path = write("fight.csv", rows, ("redemptionId", "billNumber", "purpose", "identifierValue"))
    return await rehearsal.run(path, on_conflict="last")


async def test_a_row_that_was_partly_superseded_does_not_win_in_its_report(
    rehearsal: Rehearsal, partly_superseded: Run
) -> None:
    """Alone in not_done.csv, without the row that it lost to, it would."""
    assert bills(rehearsal, 1) == ["B"]
    await rehearsal.run(partly_superseded.folder / "not_done.csv")
    assert bills(rehearsal, 1) == ["B"]


async def test_a_row_that_was_partly_superseded_is_never_tried_again(
    rehearsal: Rehearsal, partly_superseded: Run
) -> None:
    """Not even by who asks for the invalid ones."""
    choice = Choice(statuses=frozenset({Status.INVALID}))
    again = await retry_run(partly_superseded.folder, rehearsal.settings(), {}, choice, rehearsal.terms())
    assert again is None
    assert bills(rehearsal, 1) == ["B"]


# What was there before


async def test_a_doubted_row_that_was_found_applied_is_taken_back(rehearsal: Rehearsal) -> None:
    """The run has set it before it died, though what went on with it only found it."""
    plant(rehearsal, 1, bill_number="OLD")
    run = await rehearsal.run(write("fixes.csv", good(1)), record_previous=True)
    witness = rehearsal.witness()
    rehearsal.faults = lambda _: dying(witness)
    undone = await undo_run(run.folder, rehearsal.settings(), {}, rehearsal.terms(witness))
    rehearsal.faults = lambda _: None
    dead = Path("dead") / undone.folder.name
    await rehearsal.resume(dead, reports="dead")
    assert (rehearsal.verdicts(dead), bills(rehearsal, 1)) == ({2: ("skipped", "ALREADY_APPLIED")}, ["OLD"])
    await undo_run(dead, rehearsal.settings(reports="dead"), {}, rehearsal.terms())
    assert bills(rehearsal, 1) == ["B-2"]


async def test_what_was_read_and_not_sent_is_read_anew(rehearsal: Rehearsal) -> None:
    """A colleague who changed it between the stop and `resume` gets that value back, and not the one before."""
    plant(rehearsal, 1, bill_number="OLD")
    stop = Stop()
    rehearsal.sandbox.read_faults = lambda _: stop.request(SignalledError("Ctrl-C"))
    run = await rehearsal.run(write("fixes.csv", good(1)), rehearsal.terms(stop=stop), record_previous=True)
    assert (rehearsal.arrived, run.summary.counts[Status.PENDING]) == ([], 1)
    rehearsal.sandbox.read_faults = lambda _: None
    plant(rehearsal, 1, bill_number="of Ravi")
    await rehearsal.resume(run.folder)
    assert bills(rehearsal, 1) == ["B-2"]
    await undo_run(run.folder, rehearsal.settings(), {}, rehearsal.terms())
    assert bills(rehearsal, 1) == ["of Ravi"]


async def test_what_may_have_been_applied_keeps_what_was_there_first(rehearsal: Rehearsal) -> None:
    """Read again, it would have our own value, and an undo would restore that."""
    plant(rehearsal, 1, bill_number="OLD")
    stop = Stop()
    rehearsal.faults = stopping_when(stop, LOST)
    run = await rehearsal.run(write("fixes.csv", good(1)), rehearsal.terms(stop=stop), record_previous=True)
    assert bills(rehearsal, 1) == ["B-2"]
    rehearsal.faults = lambda _: None
    await rehearsal.resume(run.folder)
    await undo_run(run.folder, rehearsal.settings(), {}, rehearsal.terms())
    assert bills(rehearsal, 1) == ["OLD"]


# How old a doubt is


@contextmanager
def at_each(functions: Sequence[Callable[..., Any]], act: Callable[[], object]) -> Iterator[None]:
    """Act before and after each call of these functions, in whichever thread, as Python's profiling hook tells."""
    codes = {function.__code__ for function in functions}

    def hear(frame: FrameType, event: str, _: object) -> None:
        if event in {"call", "return"} and frame.f_code in codes:
            act()

    threading.setprofile(hear)
    sys.setprofile(hear)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


async def test_a_row_that_went_ahead_stays_in_doubt_at_every_moment_of_the_ending(rehearsal: Rehearsal) -> None:
    """Whichever of the last writes the process dies behind, who goes on knows that it may have been applied."""
    stop, witness, moments = Stop(), rehearsal.witness(), count()

    def die() -> None:
        if rehearsal.arrived:
            dying(witness, f"dead{next(moments)}")

    rehearsal.faults = stopping_when(stop, LOST)
    rows = [(*row, "17" if number == 39 else "18") for number, row in enumerate(good(40))]
    path, terms = write("fixes.csv", rows, WITH_STORE), rehearsal.terms(witness, stop=stop)
    with at_each([Journal.doubt, Journal.clear_doubt, Journal.note], die):
        run = await rehearsal.run(path, terms, first="store=17", max_workers=1)
    assert rehearsal.rows_arrived == [41]
    assert rehearsal.verdicts(run.folder)[41][0] == "pending"
    dead = [Path(f"dead{number}") / run.folder.name for number in range(next(moments))]
    assert len(dead) >= 4
    for folder in dead:
        with closing(Journal.open_to_read(folder / "journal.sqlite")) as journal:
            assert 41 in journal.doubted()


async def in_doubt_and_gone_over(rehearsal: Rehearsal, **flags: Any) -> tuple[Path, Run]:
    """Leave a row in doubt, and let a newer file set its redemption; return the folder, and the newer run."""
    plant(rehearsal, 1)
    stop = Stop()
    rehearsal.faults = stopping_when(stop, LOST)
    run = await rehearsal.run(write("old.csv", good(1, "OLD"), hours_old=2), rehearsal.terms(stop=stop), **flags)
    rehearsal.faults = lambda _: None
    assert rehearsal.verdicts(run.folder) == {2: ("pending", "SENT_BEFORE")}
    newer = await rehearsal.run(write("new.csv", good(1, "NEW"), hours_old=1))
    rehearsal.arrived.clear()
    return run.folder, newer


async def require_doubt_from_before(rehearsal: Rehearsal, folder: Path, newer: Run) -> None:
    """Show that a row was not sent again, that its doubt is older than the newer run, and that `verify` sees so."""
    assert rehearsal.arrived == []
    assert rehearsal.verdicts(folder)[2][0] == "in_doubt"
    assert outcomes(folder)[2].finished_at < newer.summary.info.started_at
    seen = await verify_run(folder, rehearsal.settings(), {}, rehearsal.terms(), every=False, at_once=True)
    assert ["a later run has set" in group.message for group in seen.unknown] == [True]


async def test_a_stale_row_in_doubt_is_as_old_as_its_try(rehearsal: Rehearsal) -> None:
    """What a newer run has set came after it, though the verdict came later still."""
    folder, newer = await in_doubt_and_gone_over(rehearsal)
    await rehearsal.resume(folder)
    await require_doubt_from_before(rehearsal, folder, newer)


async def test_a_row_in_doubt_that_cannot_be_read_back_is_as_old_as_its_try(rehearsal: Rehearsal) -> None:
    """It is not sent again, as nobody sees what it would replace."""
    folder, newer = await in_doubt_and_gone_over(rehearsal, existing="keep", allow_older=True)
    rehearsal.sandbox.read_faults = lambda _: Reply(status=404, body=b"")
    await rehearsal.resume(folder)
    rehearsal.sandbox.read_faults = None
    await require_doubt_from_before(rehearsal, folder, newer)


# What an undo cannot restore


async def test_a_row_that_is_restored_in_part_is_told_of(rehearsal: Rehearsal) -> None:
    """Before the first request and in the report: a field that was empty before is a person's to mend."""
    plant(rehearsal, 2, bill_number="OLD", purpose="")
    rows = [(redemption, bill, customer, "refund") for redemption, bill, customer in good(2)]
    run = await rehearsal.run(write("fixes.csv", rows, (*HEADER, "purpose")), record_previous=True)
    witness = rehearsal.witness()
    undone = await undo_run(run.folder, rehearsal.settings(), {}, rehearsal.terms(witness))
    assert witness.start is not None
    assert any(remark.startswith("Not all can be restored of rows 2, 3:") for remark in witness.start.remarks)
    assert [line["not_restored"] for line in lines(undone.folder).values()] == ["purpose", "purpose"]
    assert bills(rehearsal, 2) == ["OLD", "OLD"]
