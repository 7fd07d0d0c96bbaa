"""What becomes of a row once its redemption was read back: on a real sandbox and a real journal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bulkredeem.application.looking import Looker
from bulkredeem.client import Basic, Client
from bulkredeem.delivery import Delivery, Gate, Reader
from bulkredeem.errors import JournalError
from bulkredeem.journal import Journal
from bulkredeem.model import Ceiling, Correction, Outcome, Status
from bulkredeem.pace import Pace
from bulkredeem.sandbox import Sandbox
from bulkredeem.sandbox.replies import Reply as Served

CUSTOMER = ("CUSTOMER", "mobile", "919900000001")
NOW = 1_764_000_000.0
ASHA = Correction(
    row_number=2,
    redemption_id="8878ru",
    entity_type="CUSTOMER",
    identifier_type="mobile",
    identifier_value="919900000001",
    bill_number="B-1",
    purpose="Coffee",
    custom_fields={"card_number": "7"},
    warnings=("seen before",),
)
FLEET = replace(ASHA, entity_type="FLEET")
KEPT_BILL = "billNumber: the platform has another value, which was kept"


@dataclass(kw_only=True)
class Stage:
    """A looker between a sandbox and a journal."""

    sandbox: Sandbox
    path: Path
    journal: Journal
    reader: Reader
    commits: list[int] = field(default_factory=list)
    """How many rows another process found remembered, after each commit."""

    def hold(self, **fields: Any) -> None:
        """Let the platform hold this of the redemption."""
        self.sandbox.plant(customer=CUSTOMER, redemption_id="8878ru", **fields)

    async def look(self, correction: Correction = ASHA, **options: bool) -> Correction | Outcome:
        """Look at a redemption as a run does that keeps what there is, unless options say otherwise."""
        wanted = {"existing_keep": True, "record_previous": False, **options}
        return await Looker(self.reader, self.journal, self._commit, wall_clock=lambda: NOW, **wanted).look(correction)

    def remembered(self) -> dict[int, dict[str, str]]:
        """Return what another process finds remembered."""
        with closing(Journal.open_to_read(self.path)) as journal:
            return dict(journal.previous())

    async def _commit(self) -> None:
        self.journal.commit()
        self.commits.append(len(self.remembered()))


@pytest.fixture
async def stage(sandbox: Sandbox, open_gate: Gate, tmp_path: Path) -> AsyncIterator[Stage]:
    """Give a stage whose platform knows nobody yet."""

    async def at_once(_seconds: float) -> None:
        """Let no time pass."""

    path = tmp_path / "journal.sqlite"
    pace = Pace(Ceiling.parse("none"), sleep=at_once)
    till = Basic(sandbox.username, sandbox.password)
    async with Client(sandbox.base_url, till, timeout=20.0, max_connections=1) as client:
        reader = Reader(
            client.read_back, lambda attempt: Delivery(attempt, pace, open_gate, max_attempts=2, sleep=at_once)
        )
        with closing(Journal.create(path, {})) as journal:
            yield Stage(sandbox=sandbox, path=path, journal=journal, reader=reader)


def skipped(code: str, message: str, **changes: Any) -> Outcome:
    """Return the outcome of a row of which nothing was sent."""
    usual: dict[str, Any] = {"status": Status.SKIPPED, "warnings": ASHA.warnings, "finished_at": NOW}
    return Outcome(row_number=2, error_code=code, error_message=message, reason=message, **{**usual, **changes})


# Keeping what there is


async def test_empty_fields_are_sent(stage: Stage) -> None:
    """Show a redemption that holds nothing: the row goes out as it came."""
    stage.hold()
    assert await stage.look() == ASHA


async def test_another_value_is_kept(stage: Stage) -> None:
    """Show that the field is left out and named, with a warning, while the empty ones are sent."""
    stage.hold(bill_number="OLD")
    left = await stage.look()
    assert isinstance(left, Correction)
    assert left.values == {"purpose": "Coffee", "customFields.card_number": "7"}
    assert (left.kept, left.warnings) == (("billNumber",), ("seen before", KEPT_BILL))


async def test_what_is_as_it_should_be_is_not_sent_again(stage: Stage) -> None:
    """Show that such a field is left out without being called kept: the row's value counts as the platform's."""
    stage.hold(purpose="Coffee")
    left = await stage.look()
    assert isinstance(left, Correction)
    assert left.values == {"billNumber": "B-1", "customFields.card_number": "7"}
    assert (left.kept, left.warnings) == ((), ASHA.warnings)


async def test_a_row_that_is_all_there_already_needs_no_sending(stage: Stage) -> None:
    """Show status, code and sentence."""
    stage.hold(bill_number="B-1", purpose="Coffee", custom_fields={"card_number": "7"})
    assert await stage.look() == skipped("ALREADY_APPLIED", "the platform has exactly these values already")


async def test_a_row_of_which_all_is_kept_needs_no_sending(stage: Stage) -> None:
    """Show status, code and sentence when one field is kept and the others are as they should be."""
    stage.hold(bill_number="OLD", purpose="Coffee", custom_fields={"card_number": "7"})
    assert await stage.look() == skipped(
        "KEPT_EXISTING",
        "the platform has other values, which were kept",
        warnings=("seen before", KEPT_BILL),
        kept=("billNumber",),
    )


async def test_a_bill_id_is_compared_to_its_last_digit(stage: Stage) -> None:
    """Show 2^63-1 and the number before it: the same would be lost in a float."""
    stage.hold(bill_id=2**63 - 2)
    only = replace(ASHA, bill_number="", purpose="", custom_fields={}, bill_id=2**63 - 1)
    outcome = await stage.look(only)
    assert isinstance(outcome, Outcome)
    assert outcome.kept == ("billId",)


# Remembering what there was


async def test_what_was_there_is_durable_before_the_row_is_sent(stage: Stage) -> None:
    """Show that another process finds every field of the row when `look` returns, and that nothing is left out."""
    stage.hold(bill_number="OLD")
    assert await stage.look(existing_keep=False, record_previous=True) == ASHA
    assert stage.commits == [1]
    assert stage.remembered() == {2: {"billNumber": "OLD", "purpose": "", "customFields.card_number": ""}}


async def test_what_is_remembered_first_stays_of_a_row_that_may_be_applied(stage: Stage) -> None:
    """Show a row that is looked at again after it was sent: its own value is not what there was before."""
    stage.hold(bill_number="OLD")
    await stage.look(existing_keep=False, record_previous=True)
    stage.hold(bill_number="B-1")
    await stage.look(replace(ASHA, may_be_applied=True), existing_keep=False, record_previous=True)
    assert stage.remembered()[2]["billNumber"] == "OLD"


async def test_a_row_that_was_not_sent_is_remembered_anew(stage: Stage) -> None:
    """Show a colleague's change between two stretches: that is what there was before."""
    stage.hold(bill_number="OLD")
    await stage.look(existing_keep=False, record_previous=True)
    stage.hold(bill_number="COLLEAGUE")
    await stage.look(existing_keep=False, record_previous=True)
    assert stage.remembered()[2]["billNumber"] == "COLLEAGUE"


async def test_nothing_is_sent_when_it_cannot_be_remembered(stage: Stage) -> None:
    """Show that a disk that takes nothing ends it."""
    stage.hold(bill_number="OLD")
    stage.journal.close()
    with pytest.raises(JournalError):
        await stage.look(existing_keep=False, record_previous=True)


async def test_nothing_is_remembered_unless_it_is_wanted(stage: Stage) -> None:
    """Show that reading back alone writes nothing."""
    stage.hold(bill_number="OLD")
    await stage.look()
    assert (stage.commits, stage.remembered()) == ([], {})


# Taking back what we set

UNDO = replace(ASHA, bill_number="OLD", purpose="", custom_fields={}, expected={"billNumber": "B-1"})


async def test_what_still_has_our_value_is_set_back(stage: Stage) -> None:
    """Show a field that nobody has touched since."""
    stage.hold(bill_number="B-1")
    assert await stage.look(UNDO, existing_keep=False) == UNDO


async def test_what_was_changed_since_stays(stage: Stage) -> None:
    """Show a field that somebody else has set, beside one that nobody has."""
    stage.hold(bill_number="COLLEAGUE", purpose="Coffee")
    both = replace(UNDO, purpose="Tea", expected={"billNumber": "B-1", "purpose": "Coffee"})
    left = await stage.look(both, existing_keep=False)
    assert isinstance(left, Correction)
    assert left.values == {"purpose": "Tea"}
    assert left.kept == ("billNumber",)
    assert left.warnings[-1] == "billNumber was changed since, and stays as it is"


@pytest.mark.parametrize("found", ["COLLEAGUE", ""])
async def test_nothing_is_left_to_set_back_when_all_was_changed(stage: Stage, found: str) -> None:
    """Show another value, and none: neither is ours to replace."""
    stage.hold(bill_number=found)
    assert await stage.look(UNDO, existing_keep=False) == skipped(
        "CHANGED_SINCE",
        "the values were changed since, and stay as they are",
        warnings=("seen before", "billNumber was changed since, and stays as it is"),
        kept=("billNumber",),
    )


async def test_what_was_set_back_already_was_not_changed_by_others(stage: Stage) -> None:
    """Show an undo that is gone on with: its own value is there."""
    stage.hold(bill_number="OLD")
    assert await stage.look(UNDO, existing_keep=False) == skipped(
        "ALREADY_APPLIED", "the platform has exactly these values already"
    )


# When nobody knows

NOT_FOUND = "the platform shows no such redemption of this customer"
KEEPING = {"existing_keep": True, "record_previous": False}
RECORDING = {"existing_keep": False, "record_previous": True}
UNDOING = {"existing_keep": False, "record_previous": True}


def break_down(stage: Stage) -> None:
    """Let no question be answered."""
    stage.sandbox.read_faults = lambda _: Served(status=500, body=b"{}")


@pytest.mark.parametrize(("correction", "options"), [(ASHA, KEEPING), (UNDO, UNDOING)])
async def test_a_row_is_not_sent_blindly(stage: Stage, correction: Correction, options: dict[str, bool]) -> None:
    """Show that a redemption which is not found is left alone, in both modes that could replace what is to stay."""
    stage.sandbox.plant(customer=CUSTOMER, redemption_id="NZVAt9")
    assert await stage.look(correction, **options) == skipped(
        "NOT_FOUND", f"not sent: {NOT_FOUND}", status=Status.FAILED
    )


async def test_a_row_that_may_be_applied_stays_in_doubt(stage: Stage) -> None:
    """Show that not sending it again does not make it surely not applied, and that the sentence says both."""
    stage.sandbox.plant(customer=CUSTOMER, redemption_id="NZVAt9")
    outcome = await stage.look(replace(ASHA, may_be_applied=True))
    assert isinstance(outcome, Outcome)
    assert (outcome.status, outcome.error_code, outcome.attempts) == (Status.IN_DOUBT, "SENT_BEFORE", 0)
    assert outcome.reason.startswith("it may have been applied by an earlier try")
    assert outcome.reason.endswith(f"; not sent: {NOT_FOUND}")


@pytest.mark.parametrize("options", [KEEPING, RECORDING])
async def test_a_row_whose_read_back_fails_is_not_sent(stage: Stage, options: dict[str, bool]) -> None:
    """Show that it counts as failed, also when the values were only to be remembered: next time they may be known."""
    break_down(stage)
    outcome = await stage.look(ASHA, **options)
    assert isinstance(outcome, Outcome)
    assert (outcome.status, outcome.error_code) == (Status.FAILED, "READ_BACK_FAILED")


@pytest.mark.parametrize(
    ("correction", "why"),
    [(ASHA, "the platform knows no such customer"), (FLEET, "a customer of type FLEET cannot be read back")],
)
async def test_a_row_that_can_never_be_read_back_is_sent_unremembered(
    stage: Stage, correction: Correction, why: str
) -> None:
    """Show that a run which only remembers goes on, and says of the row that it does not know."""
    warnings = (*correction.warnings, f"the values before are not known: {why}")
    assert await stage.look(correction, **RECORDING) == replace(correction, warnings=warnings)
    assert stage.remembered() == {}
