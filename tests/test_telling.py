"""What the ledger tells a person, and letting go of old runs: `history` and `prune`."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulkredeem.application import abandon_run, is_known, prune_runs, story_of
from bulkredeem.application.absorbing import LEDGER, LEDGER_FOLDER
from bulkredeem.application.shelf import run_folders
from bulkredeem.errors import ExitCode, RunNotFoundError
from bulkredeem.journal import Owner, RunLock, owner_of
from bulkredeem.model import Status
from bulkredeem.sandbox import Fault

if TYPE_CHECKING:
    from tests.conftest import Ended, Rehearsal

pytestmark = pytest.mark.usefixtures("nothing_configured")

REPORTS = Path("reports")
LATER = 4e9
"""A moment after everything here."""
Type = Callable[..., "Ended"]


def make_old(folder: Path, days: float) -> float:
    """Let a run have begun so many days ago, and return that moment."""
    moment = time.time() - days * 86_400
    with closing(sqlite3.connect(folder / "journal.sqlite")) as connection, connection:
        connection.execute("UPDATE head SET value = ? WHERE key = 'started_at'", (repr(moment),))
    return moment


# A redemption's story


async def test_a_story_has_all_that_was_done_in_its_order(rehearsal: Rehearsal) -> None:
    """Set, and set to something else by a later file."""
    path = rehearsal.file(2)
    await rehearsal.run(path)
    path.write_text(path.read_text().replace("B-2", "B-20"))
    await rehearsal.run(path)
    story, remarks = story_of("AB0002", REPORTS)
    assert [told.value for told in story] == ["B-2", "B-20"]
    assert remarks == ()


def test_who_only_asks_makes_no_folder() -> None:
    """A wrong folder is named; an empty one there instead would hide the mistake."""
    with pytest.raises(RunNotFoundError, match="There is no reports folder elsewhere, so nothing is known"):
        story_of("AB0002", Path("elsewhere"))
    with pytest.raises(RunNotFoundError, match="There is no reports folder elsewhere"):
        prune_runs(Path("elsewhere"), LATER)
    assert not is_known(Path("elsewhere"), "https://eu.api.example.com")
    assert not Path("elsewhere").exists()


async def test_an_address_is_known_once_a_run_went_there(rehearsal: Rehearsal) -> None:
    """Also by a run that stopped."""
    await rehearsal.stopped(rehearsal.file(20), rows=1)
    assert is_known(REPORTS, rehearsal.sandbox.base_url)
    assert not is_known(REPORTS, "https://eu.api.example.com")


async def test_history_shows_what_a_person_asks(rehearsal: Rehearsal, typed: Type) -> None:
    """What, when, where, by whom, for whom and why, and where it stands."""
    run = await rehearsal.run(rehearsal.file(1), environment="rehearsal", by="Asha", reason="ticket 7")
    ended = typed("history", "AB0002")
    assert ended.code == ExitCode.DONE
    words = " ".join(ended.out.split())
    for expected in (
        "billNumber = B-2",
        "set, on rehearsal as sandbox.till",
        f"run {run.folder.name}, row 2 of fixes.csv, as of ",
        " for Asha: ticket 7",
    ):
        assert expected in words


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(Fault.error(status=400, code=750), "refused (750)", id="refused"),
        pytest.param(Fault.error(status=400, code=521), "not applied (521)", id="failed"),
        pytest.param(
            Fault(apply=True, echo={"billNumber": "other"}),
            "sent, and nobody knows whether it was applied (ECHO_MISMATCH)",
            id="in doubt",
        ),
    ],
)
async def test_history_says_what_became_of_it(rehearsal: Rehearsal, typed: Type, fault: Fault, words: str) -> None:
    """With its code; an address stands for a system without a name."""
    rehearsal.faults = lambda _: fault
    await rehearsal.run(rehearsal.file(1), max_attempts=1)
    said = " ".join(typed("history", "AB0002").out.split())
    assert f"{words}, on {rehearsal.sandbox.base_url} as sandbox.till" in said


async def test_history_of_what_was_found_set_already(rehearsal: Rehearsal, typed: Type) -> None:
    """The second file had nothing to send."""
    await rehearsal.run(rehearsal.file(1))
    await rehearsal.run(rehearsal.file(1))
    assert "found set already (ALREADY_APPLIED)" in " ".join(typed("history", "AB0002").out.split())


async def test_history_as_json_is_a_line_for_each_event(rehearsal: Rehearsal, typed: Type) -> None:
    """For a program: moments in UTC, and nothing else on standard output."""
    await rehearsal.run(rehearsal.file(1))
    (told,) = typed("history", "AB0002", "--json").objects
    assert (told["field"], told["value"], told["status"], told["row_number"]) == ("billNumber", "B-2", "success", 2)
    assert told["at"].endswith("Z")
    assert told["as_of"].endswith("Z")
    assert told["base_url"] == rehearsal.sandbox.base_url


async def test_history_of_nothing_says_so(rehearsal: Rehearsal, typed: Type) -> None:
    """It is no mistake: the ledger knows of no such redemption."""
    await rehearsal.run(rehearsal.file(1))
    ended = typed("history", "ZZ9999")
    assert (ended.code, ended.out) == (ExitCode.DONE, "Nothing is known of ZZ9999 in reports.\n")
    assert typed("history", "ZZ9999", "--json").out == ""


async def test_history_says_which_run_it_could_not_read(rehearsal: Rehearsal, typed: Type) -> None:
    """Nothing is known of what that one has done."""
    run = await rehearsal.run(rehearsal.file(1))
    (run.folder / "journal.sqlite").write_bytes(b"of no use")
    said = " ".join(typed("history", "AB0002").out.split())
    assert f"What {run.folder} has applied is not known to the ledger" in said


def test_history_without_a_reports_folder_says_so(typed: Type) -> None:
    """Nothing could be known."""
    ended = typed("history", "AB0002")
    assert ended.code == ExitCode.COULD_NOT_START
    assert "There is no reports folder reports" in " ".join(ended.err.split())


# Letting go


async def test_a_pruned_run_stays_in_the_story(rehearsal: Rehearsal) -> None:
    """Its folder is gone; what it did is not, and counts for the next file."""
    run = await rehearsal.run(rehearsal.file(2))
    pruned = prune_runs(REPORTS, LATER)
    assert (pruned.removed, pruned.remarks) == ((run.folder,), ())
    assert not run.folder.exists()
    story, remarks = story_of("AB0002", REPORTS)
    assert ([told.run_id for told in story], remarks) == ([run.folder.name], ())
    again = await rehearsal.run(rehearsal.file(2))
    assert set(rehearsal.verdicts(again.folder).values()) == {("skipped", "ALREADY_APPLIED")}


async def test_only_runs_that_began_before_a_moment_are_pruned(rehearsal: Rehearsal) -> None:
    """One that began exactly then is not older."""
    old, new = [(await rehearsal.run(rehearsal.file(1), resend=True)).folder for _ in range(2)]
    make_old(old, days=10)
    moment = make_old(new, days=5)
    assert prune_runs(REPORTS, moment).removed == (old,)
    assert run_folders(REPORTS) == [new]


async def test_what_can_be_gone_on_with_is_never_pruned(rehearsal: Rehearsal) -> None:
    """However old: a stopped one, one that died, and one that never began."""
    await rehearsal.stopped(rehearsal.file(20), rows=1, max_workers=1)
    died = await rehearsal.dead(lambda terms: rehearsal.run(rehearsal.file(20), terms, resend=True), recorded=2)
    shutil.rmtree(REPORTS / died.name)
    died.rename(REPORTS / died.name)
    (REPORTS / "20200101T000000Z-0000").mkdir()
    before = run_folders(REPORTS)
    assert prune_runs(REPORTS, LATER).removed == ()
    assert run_folders(REPORTS) == before
    assert len(before) == 3


async def test_an_abandoned_run_is_pruned(rehearsal: Rehearsal) -> None:
    """Nothing goes on with it; what it left in doubt the ledger keeps."""
    folder = await rehearsal.stopped(rehearsal.file(20), rows=1, max_workers=1)
    abandon_run(folder, "not wanted any more", 1.0)
    assert prune_runs(REPORTS, LATER).removed == (folder,)
    assert [told.status for told in story_of("AB0002", REPORTS)[0]] == [Status.SUCCESS]


async def test_a_run_that_the_ledger_could_not_absorb_is_kept(rehearsal: Rehearsal) -> None:
    """Nobody else knows what it did."""
    run = await rehearsal.run(rehearsal.file(2))
    snapshot = run.folder / "input.csv"
    snapshot.write_text(snapshot.read_text().replace("B-2", "B-9"))
    pruned = prune_runs(REPORTS, LATER)
    assert pruned.removed == ()
    assert run.folder.is_dir()
    assert f"{run.folder} is kept: the ledger does not know all that it did." in pruned.remarks


async def test_a_run_that_somebody_works_on_is_kept(rehearsal: Rehearsal) -> None:
    """Its reports are being written anew, say."""
    run = await rehearsal.run(rehearsal.file(2))
    with RunLock.acquire(run.folder, now=1.0):
        assert prune_runs(REPORTS, LATER).removed == ()
    assert run.folder.is_dir()


async def test_a_folder_that_cannot_be_removed_whole_is_named(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are removed all the same."""
    first, second = [(await rehearsal.run(rehearsal.file(1), resend=True)).folder for _ in range(2)]
    really = shutil.rmtree

    def refuse(folder: Path) -> None:
        if folder == first:
            raise PermissionError(13, "Permission denied")
        really(folder)

    monkeypatch.setattr("shutil.rmtree", refuse)  # whoever is root is refused nothing
    pruned = prune_runs(REPORTS, LATER)
    assert pruned.removed == (second,)
    assert pruned.remarks == (f"{first} could not be removed whole: Permission denied.",)


async def test_who_meets_a_prune_is_told_when_it_began(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock of a run that is being removed says since when it is held, as every lock does."""
    run = await rehearsal.run(rehearsal.file(1))
    seen: list[Owner | None] = []
    monkeypatch.setattr("shutil.rmtree", lambda folder: seen.append(owner_of(folder)))  # to look, while it is held
    before = time.time()
    prune_runs(REPORTS, run.summary.info.started_at + 0.001)
    (owner,) = seen
    assert owner is not None
    assert before <= owner.since <= time.time()


async def test_prune_as_a_command_names_what_it_removed(rehearsal: Rehearsal, typed: Type) -> None:
    """Older than the time that runs are kept; the ledger is not among them."""
    old, new = [(await rehearsal.run(rehearsal.file(1), resend=True)).folder for _ in range(2)]
    make_old(old, days=91)
    make_old(new, days=89)
    refused = typed("prune", "--keep", "90")
    assert (refused.code, refused.err) == (2, "--keep: '90' says nothing of days or hours; write it like 90d or 12h.\n")
    ended = typed("prune", "--keep", "90d")
    assert ended.code == ExitCode.DONE
    assert f"Removed: {old}" in ended.out
    assert "1 run removed; the ledger goes on knowing what they did." in " ".join(ended.out.split())
    assert run_folders(REPORTS) == [new]
    assert (REPORTS / LEDGER_FOLDER / LEDGER).is_file()


async def test_prune_as_json_lists_the_folders(rehearsal: Rehearsal, typed: Type) -> None:
    """For a program, also when there is none."""
    run = await rehearsal.run(rehearsal.file(1))
    assert json.loads(typed("prune", "--keep", "1d", "--json").out) == {"removed": []}
    make_old(run.folder, days=2)
    assert json.loads(typed("prune", "--keep", "1d", "--json").out) == {"removed": [str(run.folder)]}


@pytest.mark.parametrize("keep", ["soon", "0d", "-1d", "40000d"])
def test_a_time_that_is_none_removes_nothing(typed: Type, keep: str) -> None:
    """It is named as the option's."""
    ended = typed("prune", f"--keep={keep}")
    assert ended.code == ExitCode.COULD_NOT_START
    assert ended.err.startswith("--keep: ")
