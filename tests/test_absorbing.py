"""How journals come into the ledger: what is told of which run, when, and what is never forgotten."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulkredeem.application import abandon_run, retry_run
from bulkredeem.application.absorbing import LEDGER, LEDGER_FOLDER, ledger_folder, mark_of, opened_ledger
from bulkredeem.application.retrying import Choice
from bulkredeem.application.shelf import run_folders
from bulkredeem.errors import LedgerError, ReportsFolderError, SignalledError
from bulkredeem.journal import RunLock
from bulkredeem.ledger import Ledger, Standing, System
from bulkredeem.model import Correction, Status
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Fault, UpdateRequest
from bulkredeem.sandbox.replies import Reply, Then

if TYPE_CHECKING:
    from typing import Any

    from tests.conftest import Rehearsal

pytestmark = pytest.mark.usefixtures("nothing_configured")

REPORTS = Path("reports")
LOST = Fault(apply=True, then=Then.RESET)
"""Applied, and nobody hears of it."""
CONTRADICTED = Fault(apply=True, echo={"billNumber": "other"})
"""Applied, and yet nobody can trust it."""
Write = Callable[..., Path]


@contextmanager
def absorbed(reports: Path = REPORTS) -> Iterator[Ledger]:
    """Give the ledger brought up to date; nothing in it needs to be said."""
    with opened_ledger(reports) as (ledger, remarks):
        assert remarks == ()
        yield ledger


def marks(reports: Path = REPORTS) -> dict[str, str]:
    """Return how far each run was absorbed."""
    with absorbed(reports) as ledger:
        return ledger.marks()


def named(redemption_id: str = "", reference: str = "") -> Correction:
    """Return a correction of a redemption that is named so."""
    return Correction(
        row_number=2,
        redemption_id=redemption_id,
        external_reference_number=reference,
        entity_type="CUSTOMER",
        identifier_type="mobile",
        identifier_value="919900000002",
    )


def bill_of(
    rehearsal: Rehearsal, row: int, reports: Path = REPORTS, *, correction: Correction | None = None
) -> Standing | None:
    """Return what stands of the bill number of row 7's redemption, say; None when nothing ever happened to it."""
    system = System(rehearsal.sandbox.base_url, rehearsal.sandbox.username)
    with absorbed(reports) as ledger:
        lookup = ledger.lookup(system)
        return lookup.standings(correction or named(f"AB{row:04}")).get("billNumber") if lookup else None


def is_set(rehearsal: Rehearsal, row: int, reports: Path = REPORTS) -> bool:
    """Whether the ledger is sure that a row of `rehearsal.file` is applied."""
    standing = bill_of(rehearsal, row, reports)
    return standing is not None and standing.has(f"B-{row}")


def may_be_set(rehearsal: Rehearsal, row: int, reports: Path = REPORTS) -> bool:
    """Whether the ledger says that a row of `rehearsal.file` may be applied, and that nobody knows."""
    standing = bill_of(rehearsal, row, reports)
    return standing is not None and [each.text for each in standing.possible] == [f"B-{row}"]


def everything(reports: Path = REPORTS, rows: range = range(2, 10)) -> list[object]:
    """Return all that the ledger tells of the redemptions of a file."""
    with absorbed(reports) as ledger:
        return [ledger.story(f"AB{row:04}") for row in rows]


async def died_while_sending(rehearsal: Rehearsal, row: int, **flags: Any) -> Path:
    """Let a run die while an update is under way that was applied, and return what it left behind."""

    def copy(update: UpdateRequest) -> Fault | None:
        if update.identifier == f"AB{row:04}":
            (folder,) = (each for each in REPORTS.glob("2*") if each.is_dir())
            shutil.copytree(folder, Path("dead") / folder.name, ignore=shutil.ignore_patterns("*-shm"))
        return None

    rehearsal.faults = copy
    run = await rehearsal.run(rehearsal.file(12), max_workers=1, **flags)
    rehearsal.faults = lambda _: None
    return Path("dead") / run.folder.name


async def test_what_a_run_has_applied_is_known(rehearsal: Rehearsal) -> None:
    """With all that a person may ask of it later."""
    run = await rehearsal.run(rehearsal.file(2), environment="rehearsal", by="Asha", reason="ticket 7")
    with absorbed() as ledger:
        (told,) = ledger.story("AB0002")
        (entry,) = ledger.runs_of(run.summary.info.sha256, System(rehearsal.sandbox.base_url, "sandbox.till"))
    assert (told.field, told.value, told.status, told.row_number) == ("billNumber", "B-2", Status.SUCCESS, 2)
    assert (told.run_id, told.environment, told.by, told.reason) == (run.folder.name, "rehearsal", "Asha", "ticket 7")
    assert (told.path, told.kind, told.as_of) == ("fixes.csv", "run", run.summary.info.as_of)
    assert (entry.rows, entry.left_over, entry.state) == (2, 0, "finished")
    assert entry.profile


async def test_only_what_was_sent_is_told(rehearsal: Rehearsal, write_csv: Write) -> None:
    """A refused row is; an invalid one, one of two equal ones, and one that was not selected are not."""
    header = ["redemptionId", "billNumber", "identifierValue", "store"]
    rows = [
        ["NOPE02", "B-2", "919900000002", "17"],
        ["AB0003", "", "919900000003", "17"],
        ["AB0004", "B-4", "919900000004", "17"],
        ["AB0004", "B-4", "919900000004", "17"],
        ["AB0006", "B-6", "919900000006", "18"],
    ]
    await rehearsal.run(write_csv([header, *rows]), only="store=17")
    with absorbed() as ledger:
        assert [(told.status, told.code) for told in ledger.story("NOPE02")] == [(Status.REFUSED, "750")]
        assert [told.row_number for told in ledger.story("AB0004")] == [4]
        assert ledger.story("AB0003") == ledger.story("AB0006") == []


async def test_every_field_of_a_row_is_told(rehearsal: Rehearsal, write_csv: Write) -> None:
    """By the name of its column."""
    header = ["redemptionId", "billNumber", "billId", "purpose", "customFields.card", "identifierValue"]
    await rehearsal.run(write_csv([header, ["AB0002", "B-2", "007", "gift", "55", "919900000002"]]))
    with absorbed() as ledger:
        assert {(told.field, told.value) for told in ledger.story("AB0002")} == {
            ("billNumber", "B-2"),
            ("billId", "7"),
            ("purpose", "gift"),
            ("customFields.card", "55"),
        }


async def test_to_absorb_again_changes_nothing(rehearsal: Rehearsal) -> None:
    """Nothing is new, nothing is told twice, and the journal is as it was."""
    run = await rehearsal.run(rehearsal.file(3))
    before, mark = everything(), mark_of(run.folder)
    assert everything() == before
    assert marks() == {run.folder.name: mark}
    assert mark_of(run.folder) == mark


async def test_a_stopped_run_is_absorbed_and_again_when_it_was_gone_on_with(rehearsal: Rehearsal) -> None:
    """What it has done by then counts; later all that it has done, and nothing twice."""
    folder = await rehearsal.stopped(rehearsal.file(30), rows=3, max_workers=1)
    settled = rehearsal.settled(folder)
    stopped = marks()
    assert {row for row in range(2, 32) if is_set(rehearsal, row)} == settled
    await rehearsal.resume(folder)
    assert all(is_set(rehearsal, row) for row in range(2, 32))
    assert marks()[folder.name] != stopped[folder.name]
    with absorbed() as ledger:
        assert [len(ledger.story(f"AB{row:04}")) for row in range(2, 32)] == [1] * 30


async def test_a_run_that_somebody_works_on_is_left_for_later(rehearsal: Rehearsal) -> None:
    """Its journal is not at its end; it is absorbed when nobody works on it any more."""
    run = await rehearsal.run(rehearsal.file(2))
    with RunLock.acquire(run.folder, now=1.0):
        assert marks() == {}
    assert set(marks()) == {run.folder.name}


async def test_of_a_run_that_died_the_rows_within_its_reach_are_in_doubt(rehearsal: Rehearsal) -> None:
    """Whoever asks next must not take them for not sent; rows beyond were surely not."""
    folder = await rehearsal.dead(lambda terms: rehearsal.run(rehearsal.file(60), terms, rate="8/s"), recorded=2)
    settled = rehearsal.settled(folder)
    with closing(sqlite3.connect(folder / "journal.sqlite")) as connection:
        ((reach,),) = connection.execute("SELECT value FROM head WHERE key = 'reach'")
    doubted = {row for row in range(2, 62) if may_be_set(rehearsal, row, folder.parent)}
    assert doubted == set(range(2, int(reach) + 1)) - settled
    assert doubted
    assert {row for row in range(2, 62) if is_set(rehearsal, row, folder.parent)} == settled
    assert bill_of(rehearsal, 61, folder.parent) is None


async def test_a_run_that_died_is_no_longer_in_doubt_when_it_was_gone_on_with(rehearsal: Rehearsal) -> None:
    """The answers it gets then count in place of its doubts."""
    folder = await died_while_sending(rehearsal, 7)
    assert any(may_be_set(rehearsal, row, folder.parent) for row in range(2, 14))
    await rehearsal.resume(folder)
    assert all(is_set(rehearsal, row, folder.parent) for row in range(2, 14))


async def test_a_row_that_ends_in_doubt_makes_its_field_unknown(rehearsal: Rehearsal) -> None:
    """It was sent, and no answer came."""
    rehearsal.faults = lambda update: LOST if update.identifier == "AB0003" else None
    await rehearsal.run(rehearsal.file(3), max_attempts=1)
    assert may_be_set(rehearsal, 3)
    assert is_set(rehearsal, 2)


async def test_a_doubt_outlives_a_read_back_that_fails(rehearsal: Rehearsal) -> None:
    """The row was sent by the process that died. That it could not be looked at later does not make it unsent."""
    folder = await died_while_sending(rehearsal, 3, record_previous=True)
    assert may_be_set(rehearsal, 3, folder.parent)
    rehearsal.sandbox.read_faults = lambda _: Reply(status=404, body=b"{}")
    run = await rehearsal.resume(folder)
    assert rehearsal.verdicts(run.folder)[3] == ("in_doubt", "SENT_BEFORE")
    assert may_be_set(rehearsal, 3, folder.parent)


async def test_a_doubt_of_a_later_stretch_comes_after_what_others_did_in_between(
    rehearsal: Rehearsal, write_csv: Write
) -> None:
    """A run stops, another one sets the field, the first goes on, sends its value and dies before any answer."""
    folder = await rehearsal.stopped(rehearsal.file(20), rows=2, max_workers=1)
    assert 21 not in rehearsal.settled(folder)
    header = ["redemptionId", "billNumber", "identifierValue"]
    await rehearsal.run(write_csv([header, ["AB0021", "other", "919900000021"]], "other.csv"), as_of="2020-01-01")
    settled = rehearsal.settled(folder)

    def copy(_: UpdateRequest) -> Fault | None:
        if not Path("dead").exists():
            shutil.copytree(REPORTS, "dead", ignore=shutil.ignore_patterns("*-shm", "latest", LEDGER_FOLDER))
        return None

    rehearsal.faults = copy
    await rehearsal.resume(folder)
    assert rehearsal.settled(Path("dead") / folder.name) == settled, "it recorded something before it died"
    standing = bill_of(rehearsal, 21, Path("dead"))
    assert standing is not None
    assert not standing.has("other")


async def test_a_run_that_stopped_in_doubt_later_than_its_last_answer_says_so(
    rehearsal: Rehearsal, write_csv: Write
) -> None:
    """The same without a death: it goes on with a single row, which stays without an answer until somebody stops."""
    folder = await rehearsal.stopped(rehearsal.file(3), rows=2, max_workers=1)
    (left,) = {2, 3, 4} - rehearsal.settled(folder)
    header = ["redemptionId", "billNumber", "identifierValue"]
    other = [f"AB{left:04}", "other", f"9199{left:08}"]
    await rehearsal.run(write_csv([header, other], "other.csv"), as_of="2020-01-01")
    stop = Stop()

    def lose(_: UpdateRequest) -> Fault | None:
        stop.request(SignalledError("Ctrl-C"))
        return LOST

    rehearsal.faults = lose
    await rehearsal.resume(folder, rehearsal.terms(stop=stop))
    assert rehearsal.settled(folder) == {2, 3, 4} - {left}
    standing = bill_of(rehearsal, left)
    assert standing is not None
    assert not standing.has("other")


async def test_a_row_that_found_its_value_there_confirms_it(rehearsal: Rehearsal) -> None:
    """Whether the platform was asked or the ledger: nothing was sent, and the value's as-of is the newest."""
    path = rehearsal.file(1)
    await rehearsal.run(path, as_of="2020-01-01")
    path.write_text(path.read_text() + "\n")
    run = await rehearsal.run(path, as_of="2024-01-01")
    assert rehearsal.verdicts(run.folder) == {2: ("skipped", "ALREADY_APPLIED")}
    standing = bill_of(rehearsal, 2)
    assert standing is not None
    assert standing.known is not None
    assert (standing.known.age[0], standing.known.run_id) == (run.summary.info.as_of, run.folder.name)
    with absorbed() as ledger:
        assert [told.status for told in ledger.story("AB0002")] == [Status.SUCCESS, Status.SKIPPED]


async def test_what_was_kept_is_not_told_as_set(rehearsal: Rehearsal, write_csv: Write) -> None:
    """The platform's own value stayed: the ledger must not say that the row's is there."""
    customer = ("CUSTOMER", "mobile", "919900000002")
    rehearsal.sandbox.plant(redemption_id="AB0002", customer=customer, bill_number="OLD", purpose="")
    header = ["redemptionId", "billNumber", "purpose", "identifierValue"]
    await rehearsal.run(write_csv([header, ["AB0002", "B-2", "gift", "919900000002"]]), existing="keep")
    with absorbed() as ledger:
        assert [(told.field, told.status) for told in ledger.story("AB0002")] == [("purpose", Status.SUCCESS)]


async def test_a_redemption_is_found_by_either_name_after_a_reply_that_named_both(
    rehearsal: Rehearsal, write_csv: Write
) -> None:
    """The second file names it by the reference, and is known to be done."""
    rehearsal.sandbox.plant(
        redemption_id="AB0002", external_reference_number="ACR-2", customer=("CUSTOMER", "mobile", "919900000002")
    )
    await rehearsal.run(rehearsal.file(1))
    standing = bill_of(rehearsal, 2, correction=named(reference="ACR-2"))
    assert standing is not None
    assert standing.has("B-2")
    header = ["externalReferenceNumber", "billNumber", "identifierValue"]
    run = await rehearsal.run(write_csv([header, ["ACR-2", "B-2", "919900000002"]], "by_reference.csv"))
    assert rehearsal.verdicts(run.folder) == {2: ("skipped", "ALREADY_APPLIED")}


async def test_a_rehearsal_says_nothing_about_another_till(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same file for another user name is sent whole."""
    await rehearsal.run(rehearsal.file(3))
    rehearsal.arrived.clear()
    rehearsal.sandbox.username = "other.till"
    monkeypatch.setenv("BULKREDEEM_USERNAME", "other.till")
    await rehearsal.run(rehearsal.file(3))
    assert rehearsal.rows_arrived == [2, 3, 4]


async def test_a_retry_and_what_became_of_its_run_are_told_one_after_the_other(rehearsal: Rehearsal) -> None:
    """The doubt of the first ends with the answer of the second."""
    rehearsal.faults = lambda update: CONTRADICTED if update.attempt == 1 else None
    run = await rehearsal.run(rehearsal.file(1))
    assert may_be_set(rehearsal, 2)
    await retry_run(run.folder, rehearsal.settings(), {}, Choice(), rehearsal.terms())
    with absorbed() as ledger:
        story = ledger.story("AB0002")
    assert [(told.kind, told.status) for told in story] == [("run", Status.IN_DOUBT), ("retry", Status.SUCCESS)]
    assert is_set(rehearsal, 2)


async def test_an_abandoned_run_keeps_its_doubts(rehearsal: Rehearsal) -> None:
    """Nobody goes on with it, and nobody knows."""
    folder = await died_while_sending(rehearsal, 7)
    before = [may_be_set(rehearsal, row, folder.parent) for row in range(2, 14)]
    assert any(before)
    abandon_run(folder, "not wanted any more", 1.0)
    assert [may_be_set(rehearsal, row, folder.parent) for row in range(2, 14)] == before


async def test_a_lost_ledger_is_made_anew_from_the_journals(rehearsal: Rehearsal) -> None:
    """All that it told it tells again, of finished, stopped and died runs alike."""
    await rehearsal.run(rehearsal.file(3))
    await rehearsal.stopped(rehearsal.file(8), rows=4, resend=True)
    died = await rehearsal.dead(lambda terms: rehearsal.run(rehearsal.file(6), terms, resend=True), recorded=2)
    shutil.rmtree(REPORTS / died.name)
    died.rename(REPORTS / died.name)
    before = everything()
    shutil.rmtree(REPORTS / LEDGER_FOLDER)
    assert everything() == before
    assert any(before)


async def test_a_journal_that_cannot_be_read_is_named_and_the_others_are_absorbed(rehearsal: Rehearsal) -> None:
    """A person is told whose deeds are not known; what was known of them before stays known."""
    first = await rehearsal.run(rehearsal.file(2))
    assert is_set(rehearsal, 2)
    (first.folder / "journal.sqlite").write_bytes(b"of no use")
    await rehearsal.run(rehearsal.file(4))
    with opened_ledger(REPORTS) as (ledger, remarks):
        (remark,) = remarks
        assert [told.run_id for told in ledger.story("AB0002")][:1] == [first.folder.name]
        assert len(ledger.marks()) == 2
    assert f"What {first.folder} has applied is not known to the ledger" in remark
    assert "journal.sqlite" in remark


@pytest.mark.parametrize("name", ["input.csv"])
async def test_a_snapshot_that_was_changed_is_not_believed(rehearsal: Rehearsal, name: str) -> None:
    """It would say of other values that they were applied."""
    run = await rehearsal.run(rehearsal.file(2))
    (run.folder / "journal.sqlite").touch()
    path = run.folder / name
    path.write_text(path.read_text().replace("B-2", "B-9"))
    with opened_ledger(REPORTS) as (ledger, remarks):
        assert len(remarks) == 1
        assert all(told.value != "B-9" for told in ledger.story("AB0002"))


async def test_a_content_whose_age_an_old_journal_does_not_tell_has_none(rehearsal: Rehearsal) -> None:
    """It is not of 1970: such a file would be stale for ever."""
    run = await rehearsal.run(rehearsal.file(2))
    with closing(sqlite3.connect(run.folder / "journal.sqlite")) as connection, connection:
        connection.execute("DELETE FROM head WHERE key = 'as_of'")
    with absorbed() as ledger:
        assert ledger.as_of(run.summary.info.sha256) is None


async def test_a_mark_changes_with_the_journal_alone(rehearsal: Rehearsal) -> None:
    """Reports may be written anew; a line in the journal, also one in its log, is news."""
    run = await rehearsal.run(rehearsal.file(1))
    mark = mark_of(run.folder)
    (run.folder / "results.csv").write_text("")
    assert mark_of(run.folder) == mark
    with closing(sqlite3.connect(run.folder / "journal.sqlite")) as connection:
        connection.execute("INSERT OR REPLACE INTO head VALUES ('x', 'y')")
        connection.commit()
        assert mark_of(run.folder) != mark


async def test_the_ledger_believes_no_run_of_others(rehearsal: Rehearsal) -> None:
    """Whoever may write into the folder could make it believe that rows are done; it says which it did not believe."""
    run = await rehearsal.run(rehearsal.file(2))
    (REPORTS / LEDGER_FOLDER / LEDGER).unlink()
    with opened_ledger(REPORTS, owners=lambda _reports: {os.geteuid() + 1}) as (ledger, remarks):
        assert ledger.marks() == {}
    (remark,) = remarks
    assert remark.startswith("What these have applied is not known to the ledger, for others own the folders: ")
    assert f"{run.folder} (of " in remark
    assert set(marks()) == {run.folder.name}
    with opened_ledger(REPORTS, owners=lambda _reports: {os.geteuid() + 1}) as (ledger, remarks):
        assert remarks == (), "what it knows already it need not believe anew"


def test_a_folder_without_a_journal_has_no_mark(tmp_path: Path) -> None:
    """A run that died while it read its file has sent nothing."""
    assert mark_of(tmp_path) == ""


def test_a_ledger_can_be_asked_for_where_there_is_no_run(tmp_path: Path) -> None:
    """It is made, empty, in its own folder."""
    with absorbed(tmp_path / "reports") as ledger:
        assert ledger.marks() == {}
    assert (tmp_path / "reports" / LEDGER_FOLDER / LEDGER).is_file()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A file is in its place."""
    (tmp_path / "reports").write_text("")
    with pytest.raises(ReportsFolderError, match=r"No folder for reports can be made at .*reports/ledger: Not a dir"):
        ledger_folder(tmp_path / "reports")


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("of no use " * 100),
        partial(shutil.copyfile, __file__),
    ],
)
async def test_a_run_does_not_begin_with_a_ledger_that_is_none(
    rehearsal: Rehearsal, make: Callable[[Path], object]
) -> None:
    """Nothing is sent, no folder is made, and the sentence says what to do."""
    ledger_folder(REPORTS)
    make(REPORTS / LEDGER_FOLDER / LEDGER)
    with pytest.raises(LedgerError, match="Move it away: it is made anew from the runs"):
        await rehearsal.run(rehearsal.file(2))
    assert rehearsal.arrived == []
    assert run_folders(REPORTS) == []
