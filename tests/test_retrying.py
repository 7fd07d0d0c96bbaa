"""A new run over what an older one left: which rows it takes, under which numbers, and what it never brings back."""

from __future__ import annotations

import asyncio
import csv
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.application import Choice, Run, abandon_run, retry_run, runs_in
from bulkredeem.application.retrying import NOT_DONE
from bulkredeem.errors import (
    BusyError,
    ExitCode,
    JournalUnreadableError,
    OtherSystemError,
    RunNotFoundError,
    SignalledError,
    Stopping,
)
from bulkredeem.journal import RunLock
from bulkredeem.model import Status
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Fault, UpdateRequest
from bulkredeem.summary import RunState

if TYPE_CHECKING:
    from tests.conftest import Rehearsal, Witness

pytestmark = pytest.mark.usefixtures("nothing_configured")

HEADER = ["redemptionId", "billNumber", "purpose", "identifierValue", "note"]
BUSY_CUSTOMER = Fault.error(status=400, code=521)
"""Surely not applied, and the platform is there: with one attempt, the row is `failed`."""
CONTRADICTED = Fault(apply=True, echo={"billNumber": "other"})
"""Applied, and yet nobody can trust it: the row is `in_doubt`."""
GOOD, REFUSED, NO_FIELD, NO_ID, FAILED, DOUBTED, DAMAGED, LAST = range(2, 10)
"""The rows of `mixed`."""


def write(rows: Sequence[Sequence[str]], *, marked: bool = False) -> Path:
    """Write a file with our header, and return its path."""
    path = Path("fixes.csv")
    with path.open("w", encoding="utf-8-sig" if marked else "utf-8", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


def row(redemption: str, bill: str, purpose: str = "", note: str = "") -> list[str]:
    """Return a row of a customer of its own."""
    return [redemption, bill, purpose, f"9199{sum(map(ord, redemption + bill)):08}", note]


def go_wrong(update: UpdateRequest) -> Fault | None:
    """Let updates end as their bill numbers say."""
    bill = str(update.fields.get("billNumber", ""))
    return BUSY_CUSTOMER if bill.startswith("FAIL") else CONTRADICTED if bill.startswith("DOUBT") else None


async def mixed(rehearsal: Rehearsal, *, marked: bool = False) -> Path:
    """Run a file with a row of every verdict, and return the run's folder."""
    rows = [
        row("AB0002", "B-2"),
        row("NOPE03", "B-3"),
        row("AB0004", ""),
        ["", "", "", "919900000005", ""],
        row("AB0006", "FAIL-6", note="=SUM(A1)"),
        row("AB0007", "DOUBT-7"),
        ["AB0008", "B-8", "one cell too few"],
        row("AB0009", "B-9"),
    ]
    rehearsal.faults = go_wrong
    run = await rehearsal.run(write(rows, marked=marked), max_attempts=1)
    assert rehearsal.verdicts(run.folder) == {
        GOOD: ("success", ""),
        REFUSED: ("refused", "750"),
        NO_FIELD: ("invalid", "748"),
        NO_ID: ("invalid", "749; 748"),
        FAILED: ("failed", "521"),
        DOUBTED: ("in_doubt", "ECHO_MISMATCH"),
        DAMAGED: ("invalid", "RAGGED_ROW"),
        LAST: ("success", ""),
    }
    rehearsal.arrived.clear()
    rehearsal.faults = lambda _: None
    return run.folder


async def retried(
    rehearsal: Rehearsal, folder: Path, *statuses: Status, codes: Sequence[str] = (), **flags: Any
) -> tuple[Run | None, Witness]:
    """Retry a run, and return what came of it, with whoever watched."""
    watcher = rehearsal.witness()
    choice = Choice(statuses=frozenset(statuses), codes=frozenset(codes))
    return await retry_run(folder, rehearsal.settings(**flags), flags, choice, rehearsal.terms(watcher)), watcher


async def new_run(rehearsal: Rehearsal, folder: Path, *statuses: Status, **options: Any) -> Run:
    """Retry a run that has rows left for it."""
    run, _ = await retried(rehearsal, folder, *statuses, **options)
    assert run is not None
    return run


def latest() -> Path:
    """Return the run that `latest` points to."""
    link = Path("reports/latest")
    return link.parent / link.readlink()


async def test_what_may_succeed_now_is_tried_again(rehearsal: Rehearsal) -> None:
    """By default that is what failed or is in doubt; refused and invalid rows would only be refused again."""
    old = await mixed(rehearsal)
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    run = await new_run(rehearsal, old)
    assert run.exit_code is ExitCode.DONE
    assert sorted(rehearsal.arrived) == ["AB0006", "AB0007"]
    assert rehearsal.verdicts(run.folder) == {FAILED: ("success", ""), DOUBTED: ("success", "")}
    assert rehearsal.sandbox.redemptions["AB0006"].bill_number == "FAIL-6"
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before, "the old run was touched"


async def test_a_retry_is_a_run_of_its_own_that_is_linked_to_the_old_one(rehearsal: Rehearsal) -> None:
    """It has the file's name, hash and age, the rows' own numbers, and says whose rows it has."""
    old = await mixed(rehearsal)
    run = await new_run(rehearsal, old)
    before, after = rehearsal.summary(old), rehearsal.summary(run.folder)
    assert run.folder != old
    assert (after["retry_of"], before["retry_of"], after["state"]) == (old.name, None, "finished")
    assert after["input"] == {**before["input"], "rows": 2}
    assert after["input"]["as_of"] is not None
    assert latest() == run.folder
    (older, newer) = runs_in(Path("reports"))
    assert newer.info is not None
    assert (older.folder, newer.folder, newer.info.retry_of) == (old, run.folder, old.name)


@pytest.mark.parametrize(
    ("statuses", "codes", "rows"),
    [
        ((), (), {FAILED, DOUBTED}),
        ((Status.FAILED,), (), {FAILED}),
        ((Status.IN_DOUBT,), (), {DOUBTED}),
        ((Status.REFUSED, Status.FAILED), (), {REFUSED, FAILED}),
        ((Status.INVALID,), (), {NO_FIELD, NO_ID, DAMAGED}),
        ((), ("750",), {REFUSED}),
        ((), ("748",), {NO_FIELD, NO_ID}),
        ((), ("749", "521"), {NO_ID, FAILED}),
        ((Status.INVALID,), ("748", "521"), {NO_FIELD, NO_ID}),
        ((Status.PENDING,), (), set()),
        ((), ("74",), set()),
    ],
)
async def test_rows_are_chosen_by_status_and_code(
    rehearsal: Rehearsal, statuses: tuple[Status, ...], codes: tuple[str, ...], rows: set[int]
) -> None:
    """A code alone means whatever status, a status alone whatever code; any one of a row's codes counts."""
    old = await mixed(rehearsal)
    run, _ = await retried(rehearsal, old, *statuses, codes=codes)
    assert (run is None) is (not rows)
    assert set(rehearsal.verdicts(run.folder) if run else ()) == rows


async def test_when_nothing_is_left_there_is_no_new_run(rehearsal: Rehearsal) -> None:
    """A run whose rows are all done has nothing to be tried again, and no folder is made for it."""
    run = await rehearsal.run(rehearsal.file(3))
    rehearsal.arrived.clear()
    assert (await retried(rehearsal, run.folder))[0] is None
    assert rehearsal.arrived == []
    assert [each.folder for each in runs_in(Path("reports"))] == [run.folder]


async def test_what_another_retry_has_taken_over_stays_with_it(rehearsal: Rehearsal) -> None:
    """Whether it succeeded there or not: a row is in one run at a time, so that it is not sent by two."""
    old = await mixed(rehearsal)
    rehearsal.faults = go_wrong
    first = await new_run(rehearsal, old, Status.FAILED, max_attempts=1)
    assert rehearsal.verdicts(first.folder) == {FAILED: ("failed", "521")}
    second, watcher = await retried(rehearsal, old, max_attempts=1)
    assert second is not None
    assert rehearsal.verdicts(second.folder) == {DOUBTED: ("in_doubt", "ECHO_MISMATCH")}
    assert watcher.start is not None
    assert "1 row left out: a retry has taken them over already." in watcher.start.remarks
    assert (await retried(rehearsal, old))[0] is None
    rehearsal.faults = lambda _: None
    third = await new_run(rehearsal, first.folder)
    assert rehearsal.verdicts(third.folder) == {FAILED: ("success", "")}
    assert rehearsal.summary(third.folder)["retry_of"] == first.folder.name


async def test_a_retry_that_never_began_has_taken_nothing_over(rehearsal: Rehearsal) -> None:
    """One that died while it copied its rows has no journal and has sent nothing: the rows are still there."""
    old = await mixed(rehearsal)
    run = await new_run(rehearsal, old)
    (run.folder / "journal.sqlite").unlink()
    assert set(rehearsal.verdicts((await new_run(rehearsal, old)).folder)) == {FAILED, DOUBTED}


async def test_a_retry_whose_rows_nobody_can_read_is_named(rehearsal: Rehearsal) -> None:
    """Without its copy nobody can tell which rows it has: exit 2, and nothing is sent twice by guessing."""
    old = await mixed(rehearsal)
    run = await new_run(rehearsal, old, Status.FAILED)
    (run.folder / "input.csv").unlink()
    rehearsal.arrived.clear()
    with pytest.raises(JournalUnreadableError, match=f"{run.folder} cannot be read, so that nobody can tell"):
        await retried(rehearsal, old)
    assert rehearsal.arrived == []


async def test_two_retries_at_once_send_each_row_once(rehearsal: Rehearsal) -> None:
    """Whichever comes first has the rows; the other finds the run busy, or nothing left."""
    old = await mixed(rehearsal)
    both = await asyncio.gather(retried(rehearsal, old), retried(rehearsal, old), return_exceptions=True)
    new = [each for each in both if isinstance(each, tuple) and each[0] is not None]
    others = [each for each in both if each not in new]
    assert len(new) == len(others) == 1
    assert isinstance(others[0], BusyError) or (isinstance(others[0], tuple) and others[0][0] is None)
    assert sorted(rehearsal.arrived) == ["AB0006", "AB0007"]
    assert len(runs_in(Path("reports"))) == 2


async def test_a_retry_is_as_old_as_the_run_that_it_retries(rehearsal: Rehearsal) -> None:
    """Of two runs over the same content the later wins, also when the earlier one is retried after it."""
    path = write([row("AB0002", "WRONG", note="RIGHT")])
    rehearsal.faults = lambda _: BUSY_CUSTOMER
    old = await rehearsal.run(path, max_attempts=1)
    rehearsal.faults = lambda _: None
    await rehearsal.run(path, map=["note=billNumber"])
    run = await new_run(rehearsal, old.folder)
    assert rehearsal.verdicts(run.folder) == {2: ("invalid", "STALE_CORRECTION")}
    allowed, _ = await retried(rehearsal, run.folder, Status.INVALID, allow_older=True)
    assert allowed is not None
    assert rehearsal.sandbox.redemptions["AB0002"].bill_number == "WRONG"


async def test_rows_of_one_redemption_are_tried_again_in_order(rehearsal: Rehearsal) -> None:
    """When both failed, both are sent, the later one last, never beside each other."""
    rows = [row("AB0002", "FAIL-bill"), row("AB0002", "", "later")]
    rehearsal.faults = lambda _: BUSY_CUSTOMER
    old = await rehearsal.run(write(rows), max_attempts=1)
    rehearsal.faults = lambda _: None
    run = await new_run(rehearsal, old.folder)
    assert (run.exit_code, rehearsal.sandbox.overlaps) == (ExitCode.DONE, 0)
    assert [dict(each.fields) for each in rehearsal.sandbox.applied] == [
        {"billNumber": "FAIL-bill"},
        {"purpose": "later"},
    ]


async def test_doubt_goes_along_into_the_new_run(rehearsal: Rehearsal) -> None:
    """What may have been applied by the old run is never called failed by the new one, nor by one after that."""
    old = await mixed(rehearsal)
    folder = old
    rehearsal.faults = lambda _: BUSY_CUSTOMER
    for _ in range(2):
        folder = (await new_run(rehearsal, folder, max_attempts=1)).folder
        wanted = {FAILED: ("failed", "521"), DOUBTED: ("in_doubt", "SENT_BEFORE")}
        assert rehearsal.verdicts(folder) == wanted


async def test_an_abandoned_run_can_be_retried(rehearsal: Rehearsal) -> None:
    """Its pending rows are taken over; those that may have been sent when it died stay in doubt."""
    rehearsal.sandbox.latency = 0.03
    old = await rehearsal.dead(partial(rehearsal.run, rehearsal.file(60), rate="8/s"), 1)
    abandon_run(old, "it was the wrong file", 1000.0)
    settled, doubted = (
        rehearsal.settled(old),
        {number for number, (_, code) in rehearsal.verdicts(old).items() if code == "SENT_BEFORE"},
    )
    rehearsal.faults = lambda _: BUSY_CUSTOMER
    by_code, _ = await retried(rehearsal, old, codes=["SENT_BEFORE"], max_attempts=1, reports="dead")
    assert by_code is not None
    assert rehearsal.verdicts(by_code.folder) == dict.fromkeys(doubted, ("in_doubt", "SENT_BEFORE"))
    others, _ = await retried(rehearsal, old, max_attempts=1, reports="dead")
    assert others is not None
    never_sent = set(range(2, 62)) - settled - doubted
    assert rehearsal.verdicts(others.folder) == dict.fromkeys(never_sent, ("failed", "521"))


async def test_a_run_that_is_not_at_its_end_is_gone_on_with_first(rehearsal: Rehearsal) -> None:
    """Stopped and dead runs are refused with exit 2, one that is under way with exit 5; nothing is sent."""
    stopped = await rehearsal.stopped(rehearsal.file())
    dead = await rehearsal.dead(partial(rehearsal.run, rehearsal.file()), 1)
    for folder, state in ((stopped, "stopped"), (dead, "crashed")):
        with pytest.raises(RunNotFoundError, match=f"{folder} is {state}: go on with it first") as caught:
            await retried(rehearsal, folder)
        assert caught.value.exit_code is ExitCode.COULD_NOT_START
    with RunLock.acquire(stopped, now=1000.0), pytest.raises(BusyError):
        await retried(rehearsal, stopped)
    assert rehearsal.arrived == []


async def test_a_run_of_another_system_is_refused(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password of today is not for the host that the rows were meant for; no folder is made."""
    old = await mixed(rehearsal)
    monkeypatch.setenv("BULKREDEEM_BASE_URL", "https://crm.example.com")
    with pytest.raises(OtherSystemError, match=r"base_url = https://crm\.example\.com"):
        await retried(rehearsal, old)
    assert [each.folder for each in runs_in(Path("reports"))] == [old]


async def test_rows_are_read_as_the_old_run_read_them(rehearsal: Rehearsal) -> None:
    """Its map, and what it trusted, go along into the new run, and from there into the next."""
    path = rehearsal.file(3)
    path.write_text(path.read_text().replace("billNumber", "Bill No").replace("B-3", "8.88E+05"))
    rehearsal.faults = lambda _: BUSY_CUSTOMER
    flags: dict[str, Any] = {"map": ["Bill No=billNumber"], "trust_ids": True}
    folder = (await rehearsal.run(path, max_attempts=1, **flags)).folder
    folder = (await new_run(rehearsal, folder, max_attempts=1)).folder
    rehearsal.faults = lambda _: None
    run, watcher = await retried(rehearsal, folder, identifier="externalReferenceNumber")
    assert run is not None
    assert run.exit_code is ExitCode.DONE
    assert rehearsal.sandbox.redemptions["AB0003"].bill_number == "8.88E+05"
    assert watcher.start is not None
    assert watcher.start.remarks == (
        "identifier is externalReferenceNumber in the settings now; the run goes on with its own, auto.",
    )


async def test_a_byte_order_mark_and_damaged_lines_survive(rehearsal: Rehearsal) -> None:
    """A line that is no row is told in the same words, and who needs the mark for a spreadsheet has it again."""
    old = await mixed(rehearsal, marked=True)
    run = await new_run(rehearsal, old, Status.INVALID)
    assert (run.exit_code, rehearsal.arrived) == (ExitCode.NOT_ALL_DONE, [])
    told = [without_moment(folder / "not_done.csv") for folder in (old, run.folder)]
    assert told[1] == [line for line in told[0] if line[1] in {"status", "invalid"}]
    assert "one cell too few" in told[1][-1][3]
    for name in ("input.csv", "results.csv", "not_done.csv"):
        assert (run.folder / name).read_bytes().startswith(b"\xef\xbb\xbf")


def without_moment(path: Path) -> list[list[str]]:
    """Read a report without its last column, which says when a row was judged."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [line[:-1] for line in csv.reader(file)]


async def test_cells_are_the_same_in_the_new_run(rehearsal: Rehearsal) -> None:
    """Columns that we do not use come along as well, a formula among them."""
    old = await mixed(rehearsal)
    run = await new_run(rehearsal, old, Status.FAILED)
    lines = {folder: without_moment(folder / "results.csv") for folder in (old, run.folder)}
    (header, line), own = lines[run.folder], slice(6, 11)
    assert header == lines[old][0]
    assert line[own] == lines[old][FAILED - 1][own]
    assert line[10] == "'=SUM(A1)"


async def test_a_retry_that_stops_is_gone_on_with_like_any_other(rehearsal: Rehearsal) -> None:
    """What it took over and did not settle is pending there, and `resume` finishes it under the same numbers."""
    rehearsal.faults = lambda _: BUSY_CUSTOMER
    old = await rehearsal.run(rehearsal.file(60), max_attempts=1)
    rehearsal.faults = lambda _: None
    stop, watcher = Stop(), rehearsal.witness()
    watcher.when = lambda _: len(watcher.seen) == 10
    watcher.act = lambda _: stop.request(SignalledError("Ctrl-C"))
    terms = rehearsal.terms(watcher, stop=stop)
    run = await retry_run(old.folder, rehearsal.settings(), {}, Choice(), terms)
    assert run is not None
    assert run.exit_code is ExitCode.STOPPED_EARLY
    settled = rehearsal.settled(run.folder)
    rehearsal.arrived.clear()
    again = await rehearsal.resume(run.folder)
    assert Counter(rehearsal.rows_arrived) == Counter(set(range(2, 62)) - settled)
    assert rehearsal.verdicts(again.folder) == dict.fromkeys(range(2, 62), ("success", ""))
    assert [each.state for each in runs_in(Path("reports"))] == [RunState.FINISHED] * 2
    assert rehearsal.summary(again.folder)["retry_of"] == old.folder.name


async def test_a_retry_that_is_stopped_before_it_begins_leaves_nothing(rehearsal: Rehearsal) -> None:
    """No folder, and nothing sent: its rows are still there for the next one."""
    old = await mixed(rehearsal)
    stop = Stop()
    stop.request(SignalledError("Ctrl-C"))
    with pytest.raises(Stopping):
        await retry_run(old, rehearsal.settings(), {}, Choice(), rehearsal.terms(stop=stop))
    assert rehearsal.arrived == []
    assert [each.folder for each in runs_in(Path("reports"))] == [old]
    assert set(rehearsal.verdicts((await new_run(rehearsal, old)).folder)) == {FAILED, DOUBTED}


@pytest.mark.parametrize("status", Status)
def test_without_a_choice_only_what_may_succeed_is_wanted(status: Status) -> None:
    """With a code it is every row that is not done, and with a status just that."""
    usual = status in {Status.FAILED, Status.IN_DOUBT, Status.PENDING}
    open_ = status not in {Status.SUCCESS, Status.SKIPPED}
    assert Choice().wants(status, "750") is usual
    assert Choice(codes=frozenset({"750"})).wants(status, "750") is open_
    assert Choice(codes=frozenset({"750"})).wants(status, "749; 750") is open_
    assert Choice(codes=frozenset({"750"})).wants(status, "7501") is False
    assert Choice(statuses=NOT_DONE - {status}).wants(status, "750") is False
    if open_:
        assert Choice(statuses=frozenset({status})).wants(status, "")


async def test_what_is_done_is_not_sent_again_whoever_asks(rehearsal: Rehearsal) -> None:
    """Who uses the library and chooses rows that are done gets none of them."""
    old = await mixed(rehearsal)
    assert (await retried(rehearsal, old, Status.SUCCESS))[0] is None
    assert rehearsal.arrived == []
