"""Taking a run back: what is restored, what is left alone, and what is said of that which cannot be."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.application import Run, abandon_run, undo_run
from bulkredeem.application.absorbing import opened_ledger
from bulkredeem.application.shelf import run_folders
from bulkredeem.errors import OtherSystemError, RunNotFoundError, SignalledError
from bulkredeem.model import Status
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Fault, UpdateRequest
from bulkredeem.sandbox.values import Redemption

if TYPE_CHECKING:
    from bulkredeem.application import Terms
    from tests.conftest import Rehearsal, Witness

pytestmark = pytest.mark.usefixtures("nothing_configured")

HEADER = ["redemptionId", "billNumber", "purpose", "identifierValue"]
CONTRADICTED = Fault(apply=True, echo={"billNumber": "other"})
"""Applied, and yet nobody can trust it."""
Write = Callable[..., Path]


def customer(row: int) -> tuple[str, str, str]:
    """Return whose redemption it is that row 7 of `rehearsal.file` names, say."""
    return ("CUSTOMER", "mobile", f"9199{row:08}")


def plant(rehearsal: Rehearsal, row: int, **fields: Any) -> None:
    """Put the redemption of a row of `rehearsal.file` in place, as a colleague would have left it."""
    rehearsal.sandbox.plant(**{"redemption_id": f"AB{row:04}", "customer": customer(row), **fields})


def plant_all(rehearsal: Rehearsal, rows: Sequence[int]) -> None:
    """Put the redemptions of these rows in place, each with a bill number of its own."""
    for row in rows:
        plant(rehearsal, row, bill_number=f"OLD-{row}")


def now(rehearsal: Rehearsal, row: int) -> Redemption:
    """Return a row's redemption as the platform has it."""
    return rehearsal.sandbox.redemptions[f"AB{row:04}"]


def bills(rehearsal: Rehearsal, rows: Sequence[int]) -> list[str]:
    """Return the bill numbers that the platform has by now."""
    return [now(rehearsal, row).bill_number for row in rows]


async def undone(rehearsal: Rehearsal, folder: Path, terms: Terms | None = None, **flags: Any) -> Run:
    """Take a run back."""
    return await undo_run(folder, rehearsal.settings(**flags), flags, terms or rehearsal.terms())


async def recorded(rehearsal: Rehearsal, path: Path, **flags: Any) -> Path:
    """Run a file, recording what it replaces, and return the run's folder."""
    run = await rehearsal.run(path, record_previous=True, **flags)
    rehearsal.arrived.clear()
    return run.folder


def lines(folder: Path) -> dict[int, Mapping[str, str]]:
    """Read the results of a run: row number → columns."""
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return {int(line["row_number"]): line for line in csv.DictReader(file)}


async def test_every_field_is_set_back(rehearsal: Rehearsal, write_csv: Write) -> None:
    """Bill number, bill id, purpose and custom fields; what the run did not set is left alone."""
    plant(rehearsal, 2, bill_number="OLD", bill_id=77, purpose="gift", custom_fields={"card": "1", "shop": "9"})
    header = [*HEADER, "billId", "customFields.card"]
    path = write_csv([header, ["AB0002", "NEW", "refund", "919900000002", "88", "2"]])
    folder = await recorded(rehearsal, path)
    before = now(rehearsal, 2)
    assert (before.bill_number, before.bill_id, before.purpose) == ("NEW", 88, "refund")
    run = await undone(rehearsal, folder)
    after = now(rehearsal, 2)
    assert rehearsal.verdicts(run.folder) == {2: ("success", "")}
    assert (after.bill_number, after.bill_id, after.purpose) == ("OLD", 77, "gift")
    assert after.custom_fields == {"card": "1", "shop": "9"}


async def test_an_undo_is_a_run_of_its_own_that_says_whose_values_it_takes_back(rehearsal: Rehearsal) -> None:
    """With the old run's rows, file and age; the old run stays as it was."""
    plant_all(rehearsal, [2, 3])
    folder = await recorded(rehearsal, rehearsal.file(2))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    run = await undone(rehearsal, folder, by="Asha", reason="ticket 7")
    old, new = rehearsal.summary(folder), rehearsal.summary(run.folder)
    assert (new["undo_of"], new["retry_of"], old["undo_of"]) == (folder.name, None, None)
    assert new["input"] == old["input"]
    assert (run.summary.info.by, run.summary.info.reason) == ("Asha", "ticket 7")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before, "the old run was touched"
    with opened_ledger(Path("reports")) as (ledger, _):
        assert [(told.kind, told.value) for told in ledger.story("AB0002")] == [("run", "B-2"), ("undo", "OLD-2")]


async def test_what_a_colleague_has_changed_since_stays(rehearsal: Rehearsal) -> None:
    """Only where our value still stands is the old one restored."""
    plant_all(rehearsal, [2, 3, 4])
    folder = await recorded(rehearsal, rehearsal.file(3))
    plant(rehearsal, 3, bill_number="of Ravi")
    run = await undone(rehearsal, folder)
    assert bills(rehearsal, [2, 3, 4]) == ["OLD-2", "of Ravi", "OLD-4"]
    assert rehearsal.verdicts(run.folder)[3] == ("skipped", "CHANGED_SINCE")
    assert rehearsal.rows_arrived == [2, 4]


async def test_of_a_row_only_the_fields_that_still_stand_are_restored(rehearsal: Rehearsal, write_csv: Write) -> None:
    """The other one is kept, with a warning that names it."""
    plant(rehearsal, 2, bill_number="OLD", purpose="gift")
    folder = await recorded(rehearsal, write_csv([HEADER, ["AB0002", "NEW", "refund", "919900000002"]]))
    plant(rehearsal, 2, bill_number="of Ravi", purpose="refund")
    run = await undone(rehearsal, folder)
    assert (now(rehearsal, 2).bill_number, now(rehearsal, 2).purpose) == ("of Ravi", "gift")
    assert "billNumber was changed since, and stays as it is" in lines(run.folder)[2]["warnings"]


async def test_what_the_run_has_not_changed_is_not_sent(rehearsal: Rehearsal) -> None:
    """What the run found as it wanted it is nothing to take back."""
    plant(rehearsal, 2, bill_number="B-2")
    folder = await recorded(rehearsal, rehearsal.file(1))
    run = await undone(rehearsal, folder)
    assert rehearsal.verdicts(run.folder) == {}
    assert rehearsal.arrived == []


async def test_what_was_empty_before_is_said_and_left(rehearsal: Rehearsal) -> None:
    """Nobody knows how to empty a field; a person has to."""
    plant(rehearsal, 2, bill_number="OLD-2")
    plant(rehearsal, 3)
    folder = await recorded(rehearsal, rehearsal.file(2))
    run = await undone(rehearsal, folder)
    assert rehearsal.verdicts(run.folder) == {2: ("success", ""), 3: ("invalid", "PREVIOUS_WAS_EMPTY")}
    assert bills(rehearsal, [2, 3]) == ["OLD-2", "B-3"]
    assert "redemption AB0003" in lines(run.folder)[3]["error_message"]


async def test_of_a_row_the_fields_that_were_empty_before_are_named(rehearsal: Rehearsal, write_csv: Write) -> None:
    """The others are restored; the row's own report says which were not."""
    plant(rehearsal, 2, bill_number="OLD")
    folder = await recorded(rehearsal, write_csv([HEADER, ["AB0002", "NEW", "refund", "919900000002"]]))
    run = await undone(rehearsal, folder)
    assert (now(rehearsal, 2).bill_number, now(rehearsal, 2).purpose) == ("OLD", "refund")
    assert lines(run.folder)[2]["not_restored"] == "purpose"


async def test_what_could_not_be_read_back_has_no_previous_value(rehearsal: Rehearsal, write_csv: Write) -> None:
    """A fleet has no read-back, and of a customer unknown before nobody saw anything: both were sent all the same."""
    plant(rehearsal, 2, bill_number="OLD-2")
    header = [*HEADER, "entityType"]
    rows = [
        ["AB0002", "B-2", "", "919900000002", "CUSTOMER"],
        ["AB0003", "B-3", "", "919900000003", "FLEET"],
        ["AB0004", "B-4", "", "919900000004", "CUSTOMER"],
    ]
    folder = await recorded(rehearsal, write_csv([header, *rows]))
    run = await undone(rehearsal, folder)
    assert rehearsal.verdicts(run.folder) == {
        2: ("success", ""),
        3: ("invalid", "NO_PREVIOUS_VALUE"),
        4: ("invalid", "NO_PREVIOUS_VALUE"),
    }
    assert bills(rehearsal, [2, 3, 4]) == ["OLD-2", "B-3", "B-4"]


async def test_only_rows_that_may_have_been_applied_are_taken_back(rehearsal: Rehearsal, write_csv: Write) -> None:
    """Neither a refused nor an invalid nor a skipped one is in the undo."""
    plant_all(rehearsal, [2, 4])
    rows = [
        ["AB0002", "B-2", "", "919900000002"],
        ["NOPE03", "B-3", "", "919900000003"],
        ["AB0004", "", "", "919900000004"],
        ["AB0002", "B-2", "", "919900000002"],
    ]
    folder = await recorded(rehearsal, write_csv([HEADER, *rows]))
    assert [status for status, _ in rehearsal.verdicts(folder).values()] == ["success", "refused", "invalid", "skipped"]
    run = await undone(rehearsal, folder)
    assert rehearsal.verdicts(run.folder) == {2: ("success", "")}


async def test_rows_in_doubt_are_taken_back_too(rehearsal: Rehearsal) -> None:
    """If it was applied, it is restored; if not, the platform has another value, and that stays."""
    plant_all(rehearsal, [2, 3, 4])
    answers = {"AB0003": CONTRADICTED, "AB0004": Fault(body=b"of no use")}
    rehearsal.faults = lambda update: answers.get(update.identifier)
    folder = await recorded(rehearsal, rehearsal.file(3), max_attempts=1)
    rehearsal.faults = lambda _: None
    assert [status for status, _ in rehearsal.verdicts(folder).values()] == ["success", "in_doubt", "in_doubt"]
    run = await undone(rehearsal, folder)
    assert bills(rehearsal, [2, 3, 4]) == ["OLD-2", "OLD-3", "OLD-4"]
    assert [status for status, _ in rehearsal.verdicts(run.folder).values()] == ["success", "success", "skipped"]


async def test_rows_that_an_abandoned_run_left_in_doubt_are_taken_back(rehearsal: Rehearsal) -> None:
    """It died while one was under way, which was applied."""
    plant_all(rehearsal, range(2, 5))

    def copy(update: UpdateRequest) -> Fault | None:
        if update.identifier == "AB0003":
            (folder,) = (each for each in Path("reports").glob("2*") if each.is_dir())
            shutil.copytree(folder, Path("dead") / folder.name, ignore=shutil.ignore_patterns("*-shm"))
        return None

    rehearsal.faults = copy
    run = await rehearsal.run(rehearsal.file(3), max_workers=1, record_previous=True)
    rehearsal.faults = lambda _: None
    folder = Path("dead") / run.folder.name
    abandon_run(folder, "not wanted any more", 1.0)
    await undone(rehearsal, folder, reports=Path("dead"))
    assert bills(rehearsal, [2, 3]) == ["OLD-2", "OLD-3"]


async def test_what_the_run_had_kept_is_not_its_to_take_back(rehearsal: Rehearsal, write_csv: Write) -> None:
    """It set the purpose alone, which was empty: nothing of the row can be restored, and a person is told."""
    plant(rehearsal, 2, bill_number="of Ravi")
    path = write_csv([HEADER, ["AB0002", "NEW", "refund", "919900000002"]])
    folder = await recorded(rehearsal, path, existing="keep")
    run = await undone(rehearsal, folder)
    assert rehearsal.verdicts(run.folder) == {2: ("invalid", "PREVIOUS_WAS_EMPTY")}
    assert bills(rehearsal, [2]) == ["of Ravi"]


async def test_an_undo_can_be_undone(rehearsal: Rehearsal) -> None:
    """It has recorded what it replaced, too."""
    plant_all(rehearsal, [2, 3])
    folder = await recorded(rehearsal, rehearsal.file(2))
    undo = await undone(rehearsal, folder)
    assert bills(rehearsal, [2, 3]) == ["OLD-2", "OLD-3"]
    again = await undone(rehearsal, undo.folder)
    assert bills(rehearsal, [2, 3]) == ["B-2", "B-3"]
    assert again.summary.info.undo_of == undo.folder.name


async def test_an_undo_a_second_time_finds_nothing_of_ours(rehearsal: Rehearsal) -> None:
    """All is as it was before: it is neither sent again nor called changed."""
    plant_all(rehearsal, [2])
    folder = await recorded(rehearsal, rehearsal.file(1))
    await undone(rehearsal, folder)
    rehearsal.arrived.clear()
    run = await undone(rehearsal, folder)
    assert rehearsal.verdicts(run.folder) == {2: ("skipped", "ALREADY_APPLIED")}
    assert rehearsal.arrived == []


async def test_the_file_can_be_run_again_after_its_undo(rehearsal: Rehearsal) -> None:
    """The ledger knows that its values do not stand any more."""
    plant_all(rehearsal, [2])
    folder = await recorded(rehearsal, rehearsal.file(1))
    await undone(rehearsal, folder)
    run = await rehearsal.run(rehearsal.file(1))
    assert rehearsal.verdicts(run.folder) == {2: ("success", "")}
    assert bills(rehearsal, [2]) == ["B-2"]


async def test_an_undo_that_stops_is_gone_on_with(rehearsal: Rehearsal) -> None:
    """With all that it needs in its own folder; a colleague's change meanwhile is respected."""
    rows = range(2, 12)
    plant_all(rehearsal, rows)
    folder = await recorded(rehearsal, rehearsal.file(10))
    stop = Stop()
    witness: Witness = rehearsal.witness(
        when=lambda _: len(witness.seen) >= 3, act=lambda _: stop.request(SignalledError("Ctrl-C"))
    )
    undo = await undone(rehearsal, folder, rehearsal.terms(witness, stop=stop), max_workers=1)
    assert undo.summary.counts[Status.PENDING] >= 1
    plant(rehearsal, 11, bill_number="of Ravi")
    run = await rehearsal.resume(undo.folder)
    assert bills(rehearsal, rows) == [*(f"OLD-{row}" for row in range(2, 11)), "of Ravi"]
    assert rehearsal.verdicts(run.folder)[11] == ("skipped", "CHANGED_SINCE")
    assert len(rehearsal.arrived) == len(set(rehearsal.arrived)) == 9


async def test_rows_that_agree_on_a_field_are_taken_back_both(rehearsal: Rehearsal, write_csv: Write) -> None:
    """The second had found the first one's value: that is no other old value to fight over."""
    plant(rehearsal, 2, bill_number="OLD", purpose="gift")
    rows = [["AB0002", "NEW", "", "919900000002"], ["AB0002", "NEW", "refund", "919900000002"]]
    folder = await recorded(rehearsal, write_csv([HEADER, *rows]))
    assert [status for status, _ in rehearsal.verdicts(folder).values()] == ["success", "success"]
    await undone(rehearsal, folder)
    assert (now(rehearsal, 2).bill_number, now(rehearsal, 2).purpose) == ("OLD", "gift")


@pytest.mark.parametrize(
    "old",
    [
        *("=SUM(A1)", "'quoted", "8.88E+05", "00123", 'with "quotes", and more', "two\nlines", "Übergröße नमस्ते"),
        "  blanks around  ",
    ],
)
async def test_an_old_value_comes_back_to_the_last_character(rehearsal: Rehearsal, write_csv: Write, old: str) -> None:
    """Whatever was there was right for the platform: no rule for files is applied to it."""
    plant(rehearsal, 2, bill_number="OLD", purpose=old)
    folder = await recorded(rehearsal, write_csv([HEADER, ["AB0002", "NEW", "refund", "919900000002"]]))
    await undone(rehearsal, folder)
    assert now(rehearsal, 2).purpose == old


async def test_an_undo_needs_no_ledger_to_agree(rehearsal: Rehearsal) -> None:
    """Newer knowledge stands in the ledger for another field of the run; where ours stands, ours is taken back."""
    plant_all(rehearsal, [2, 3])
    folder = await recorded(rehearsal, rehearsal.file(2), as_of="2020-01-01")
    await rehearsal.run(rehearsal.file(2), as_of="2024-01-01", resend=True)
    await undone(rehearsal, folder)
    assert bills(rehearsal, [2, 3]) == ["OLD-2", "OLD-3"]


async def test_a_run_of_selected_rows_is_taken_back_whole(rehearsal: Rehearsal, write_csv: Write) -> None:
    """Its condition on a column of its file is none on the undo's."""
    plant_all(rehearsal, [2, 3])
    header = [*HEADER, "store"]
    rows = [["AB0002", "B-2", "", "919900000002", "17"], ["AB0003", "B-3", "", "919900000003", "18"]]
    folder = await recorded(rehearsal, write_csv([header, *rows]), only="store=17", first="store=17")
    run = await undone(rehearsal, folder)
    assert rehearsal.verdicts(run.folder) == {2: ("success", "")}
    assert bills(rehearsal, [2, 3]) == ["OLD-2", "OLD-3"]


async def test_a_run_named_by_references_is_taken_back_by_them(rehearsal: Rehearsal, write_csv: Write) -> None:
    """Also where the settings of the run say which identifier counts, and what is put before a mobile number."""
    plant(rehearsal, 2, external_reference_number="ACR-2", bill_number="OLD-2")
    header = ["redemptionId", "externalReferenceNumber", "billNumber", "identifierValue"]
    path = write_csv([header, ["of no use", "ACR-2", "B-2", "9900000002"]])
    folder = await recorded(rehearsal, path, identifier="externalReferenceNumber", default_country_code="91")
    assert bills(rehearsal, [2]) == ["B-2"]
    await undone(rehearsal, folder)
    assert bills(rehearsal, [2]) == ["OLD-2"]


async def test_a_run_that_has_not_recorded_what_it_replaced_cannot_be_undone(rehearsal: Rehearsal) -> None:
    """The sentence says what would have been needed; no folder is made."""
    run = await rehearsal.run(rehearsal.file(2))
    with pytest.raises(RunNotFoundError, match=r"has not recorded what it replaced \(--record-previous\)"):
        await undone(rehearsal, run.folder)
    assert run_folders(Path("reports")) == [run.folder]


async def test_a_run_that_saw_nothing_to_record_is_not_told_to_record_it(rehearsal: Rehearsal) -> None:
    """It had done that already; the platform showed nothing of what it was about to set."""
    folder = await recorded(rehearsal, rehearsal.file(2))
    with pytest.raises(RunNotFoundError, match="nothing was there before, or could be seen") as caught:
        await undone(rehearsal, folder)
    assert "--record-previous" not in str(caught.value)
    assert run_folders(Path("reports")) == [folder]


async def test_an_unfinished_run_is_not_undone(rehearsal: Rehearsal) -> None:
    """Half of it could be set again later."""
    plant_all(rehearsal, range(2, 12))
    folder = await rehearsal.stopped(rehearsal.file(10), rows=2, max_workers=1, record_previous=True)
    with pytest.raises(RunNotFoundError, match=r"is stopped: go on with it first \(resume\), or abandon it"):
        await undone(rehearsal, folder)


async def test_a_run_is_not_undone_on_another_system(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The values there are others."""
    plant_all(rehearsal, [2])
    folder = await recorded(rehearsal, rehearsal.file(1))
    monkeypatch.setenv("BULKREDEEM_USERNAME", "other.till")
    with pytest.raises(OtherSystemError, match=r"other\.till"):
        await undone(rehearsal, folder)
    assert bills(rehearsal, [2]) == ["B-2"]
