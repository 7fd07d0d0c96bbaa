"""The audit of a run: what is as it was audits clean, and what was changed by accident is named, with what to do."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkredeem import __version__, fingerprints
from bulkredeem.application import abandon_run, dry_run, report_run, retry_run, undo_run
from bulkredeem.application.auditing import NO_PROOF, Audit, Standing, Thing, audit_run, find_to_audit
from bulkredeem.application.fingerprinting import RECORDS, RESULT_FILES, SETTINGS, SHOWN_FILES
from bulkredeem.application.intake import SNAPSHOT
from bulkredeem.application.presenting import Presentation
from bulkredeem.application.retrying import Choice
from bulkredeem.application.verifying import verify_run
from bulkredeem.errors import (
    BusyError,
    ExitCode,
    JournalUnreadableError,
    ReportsFolderError,
    RunNotFoundError,
    SignalledError,
)
from bulkredeem.journal import Journal, Planned, RunLock
from bulkredeem.model import Outcome, Status
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Fault
from bulkredeem.summary import FINGERPRINTED, Typed

if TYPE_CHECKING:
    from tests.conftest import Rehearsal, Terminal

pytestmark = pytest.mark.usefixtures("nothing_configured")

ALL: Final = {"input", "settings", "journal", "input.csv", "results.csv", "not_done.csv", "report.html"} | {
    "summary.json",
    "counts",
}
BUSY: Final = Fault.error(status=400, code=521)
"""Surely not applied."""
LOST: Final = Fault(body=b"{")
"""Not applied, and nobody can tell."""
Write = Callable[..., Path]


def by_name(audit: Audit) -> dict[str, Thing]:
    """Return what was looked at, by name."""
    return {thing.name: thing for thing in audit.things}


def differing(audit: Audit) -> set[str]:
    """Return the names of what is not as it was."""
    return {thing.name for thing in audit.differing}


def assert_clean(folder: Path, *, but: Iterable[str] = ()) -> Audit:
    """Check that a run is as it was in everything, apart from names that are not recorded, and return its audit."""
    before = content_of(folder)
    audit = audit_run(folder)
    standings = {name: thing.standing for name, thing in by_name(audit).items()}
    assert standings == dict.fromkeys(ALL, Standing.AS_IT_WAS) | dict.fromkeys(but, Standing.NOT_RECORDED)
    assert audit.exit_code is ExitCode.DONE
    assert all(not thing.remedy for thing in audit.things)
    assert content_of(folder) == before, "an audit writes nothing"
    return audit


def content_of(folder: Path) -> dict[str, bytes]:
    """Return every file of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def tampered(folder: Path, statement: str) -> None:
    """Change a journal behind its back."""
    with closing(sqlite3.connect(folder / "journal.sqlite")) as connection, connection:
        connection.execute(statement)


def found_settings(folder: Path) -> str:
    """Return the hash that what the journal says since the beginning has now."""
    return by_name(audit_run(folder))["settings"].found or ""


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change `summary.json` as somebody with an editor does."""
    told = json.loads((folder / "summary.json").read_text())
    change(told)
    (folder / "summary.json").write_text(json.dumps(told, indent=2))


def plant(rehearsal: Rehearsal, row: int) -> None:
    """Let the platform hold another bill number of the redemption of a row of `rehearsal.file`."""
    customer = ("CUSTOMER", "mobile", f"9199{row:08}")
    rehearsal.sandbox.plant(customer=customer, redemption_id=f"AB{row:04}", bill_number="OLD")


async def some_not_done(rehearsal: Rehearsal, **flags: Any) -> Path:
    """Run a file of six rows of which one fails and one is in doubt, and return the run's folder."""
    faults = {"AB0003": BUSY, "AB0005": LOST}
    rehearsal.faults = lambda update: faults.get(update.identifier)
    run = await rehearsal.run(rehearsal.file(6), **{"max_attempts": 1, **flags})
    rehearsal.faults = lambda _: None
    return run.folder


class TestFingerprints:
    """The hashes themselves."""

    def test_that_of_a_file_is_the_one_that_sha256sum_tells(self, tmp_path: Path) -> None:
        """Also of one that is longer than a block, and of an empty one."""
        for content in (b"", b"a", os.urandom((1 << 20) + 17)):
            (tmp_path / "f").write_bytes(content)
            with (tmp_path / "f").open("rb") as file:
                assert fingerprints.of_file(file) == hashlib.sha256(content).hexdigest()

    @given(st.lists(st.tuples(st.integers(0, 9), st.text(max_size=3)), max_size=1200))
    @settings(max_examples=30)
    def test_that_of_records_is_of_one_json_array(self, records: list[tuple[int, str]]) -> None:
        """However many are hashed at once: anybody can derive it with other means."""
        array = json.dumps(records, separators=(",", ":"), ensure_ascii=False).replace("\x7f", "\x7f")
        assert fingerprints.of_records(records) == hashlib.sha256(array.encode()).hexdigest()

    def test_that_of_a_value_does_not_hang_on_the_order_of_its_keys(self) -> None:
        """Settings are the same in whichever order they were stored."""
        assert fingerprints.of_value({"a": 1, "b": [2]}) == fingerprints.of_value({"b": [2], "a": 1})
        assert fingerprints.of_value({"a": 1}) != fingerprints.of_value({"a": 2})

    def test_hashing_ends_when_it_is_asked_to(self, tmp_path: Path) -> None:
        """A second Ctrl-C waits for no gigabyte."""

        def stop() -> None:
            raise SignalledError("Ctrl-C")

        (tmp_path / "f").write_bytes(b"a")
        with (tmp_path / "f").open("rb") as file, pytest.raises(SignalledError):
            fingerprints.of_file(file, stop)
        with pytest.raises(SignalledError):
            fingerprints.of_records([(1,)], stop)


class TestTheJournalsFingerprint:
    """What is in it, and what is not."""

    @staticmethod
    def journal(path: Path, outcomes: Iterable[Outcome] = (), **more: Any) -> Journal:
        """Make a journal."""
        journal = Journal.create(path, {"run_id": path.name}, **more)
        for outcome in outcomes:
            journal.append(outcome)
        journal.commit()
        return journal

    def test_it_goes_by_row_and_not_by_time(self, tmp_path: Path, outcome: Callable[..., Outcome]) -> None:
        """Outcomes come as they come; what is recorded in the end is the same."""
        with (
            closing(self.journal(tmp_path / "a", map(outcome, (2, 3, 4)))) as one,
            closing(self.journal(tmp_path / "b", map(outcome, (4, 2, 3)))) as other,
        ):
            assert one.fingerprint() == other.fingerprint()

    def test_every_table_of_rows_is_in_it(self, tmp_path: Path, outcome: Callable[..., Outcome]) -> None:
        """An outcome, a plan, a doubt and a previous value: each changes it, and the head and a later note do not."""
        planned = [Planned(2, "skipped", "DUPLICATE_ROW", "as row 1")]
        remembering = self.journal(tmp_path / "d")
        remembering.remember(2, {"purpose": "gift"})
        remembering.commit()
        journals = (
            self.journal(tmp_path / "a"),
            self.journal(tmp_path / "b", [outcome(2)]),
            self.journal(tmp_path / "c", planned=planned),
            remembering,
            self.journal(tmp_path / "e", doubted=[2]),
        )
        found = [journal.fingerprint() for journal in journals]
        assert len(set(found)) == len(found)
        journals[0].note({"state": "finished"})
        assert journals[0].fingerprint() == found[0]
        assert journals[0].fingerprint(doubted=[2]) == found[4]
        for journal in journals:
            journal.close()


class TestCleanRuns:
    """Whatever became of a run, and in however many stretches: it audits clean until somebody changes something."""

    async def test_a_finished_one(self, rehearsal: Rehearsal) -> None:
        """With rows that are not done, too."""
        audit = assert_clean(await some_not_done(rehearsal))
        assert audit.remark == ""
        assert by_name(audit)["counts"].words == "They add up to 6 rows."

    async def test_an_empty_one(self, rehearsal: Rehearsal) -> None:
        """A file with a header and no rows."""
        assert_clean((await rehearsal.run(rehearsal.file(0))).folder)

    async def test_one_with_workbooks(self, rehearsal: Rehearsal) -> None:
        """They are hashed as well."""
        audit = audit_run(await some_not_done(rehearsal, xlsx=True))
        assert by_name(audit).keys() == ALL | {"results.xlsx", "not_done.xlsx"}
        assert audit.differing == ()
        assert {thing.standing for thing in audit.things} == {Standing.AS_IT_WAS}

    async def test_a_stopped_one_that_is_resumed(self, rehearsal: Rehearsal) -> None:
        """Before and after, and after its reports were written anew."""
        folder = await rehearsal.stopped(rehearsal.file(20), rows=5)
        assert_clean(folder)
        await rehearsal.resume(folder)
        assert_clean(folder)
        report_run(folder, time.time())
        assert_clean(folder)

    async def test_one_that_was_refused_access(self, rehearsal: Rehearsal) -> None:
        """Its pending rows are mended by whoever has the credentials, which is in the result files."""
        rehearsal.faults = lambda _: Fault.error(status=401, code=401)
        run = await rehearsal.run(rehearsal.file(6))
        assert run.exit_code is ExitCode.ACCESS_REFUSED
        assert_clean(run.folder)

    async def test_one_left_in_doubt_and_abandoned(self, rehearsal: Rehearsal) -> None:
        """The summary tells the journal's hash with the doubts that are written down after it."""
        stop = Stop()

        def lose(_: object) -> Fault:
            stop.request(SignalledError("Ctrl-C"))
            return LOST

        rehearsal.faults = lose
        run = await rehearsal.run(rehearsal.file(9), rehearsal.terms(stop=stop))
        with closing(Journal.open_to_read(run.folder / "journal.sqlite")) as journal:
            assert list(journal.doubted()), "nothing was left in doubt"
        assert_clean(run.folder)
        abandon_run(run.folder, "enough", time.time())
        assert_clean(run.folder)

    async def test_one_that_died_and_is_resumed(self, rehearsal: Rehearsal) -> None:
        """Before, nothing can be compared but what it began with, and that is no difference."""
        folder = await rehearsal.dead(lambda terms: rehearsal.run(rehearsal.file(20), terms), 5)
        audit = audit_run(folder)
        assert audit.differing == ()
        assert "The run died" in audit.remark
        assert by_name(audit)["summary.json"].standing is Standing.NOT_RECORDED
        assert by_name(audit)["input.csv"].standing is Standing.AS_IT_WAS
        await rehearsal.resume(folder)
        assert_clean(folder)

    async def test_one_that_died_once_more_in_a_later_stretch(self, rehearsal: Rehearsal) -> None:
        """Its reports are of the first stretch, which is no accident; written anew they are of the second."""
        first = await rehearsal.stopped(rehearsal.file(20), rows=5)
        folder = await rehearsal.dead(lambda terms: rehearsal.resume(first, terms), 12)
        before = content_of(folder)
        audit = audit_run(folder)
        assert content_of(folder) == before
        assert audit.differing == ()
        assert by_name(audit)["results.csv"].standing is Standing.NOT_RECORDED
        report_run(folder, time.time())
        assert_clean(folder)

    async def test_one_that_is_retried_and_verified(self, rehearsal: Rehearsal) -> None:
        """Each run has its own hashes; those of the old one are renewed where its rows are settled."""
        folder = await some_not_done(rehearsal)
        retried = await retry_run(
            folder, rehearsal.settings(), {}, Choice(statuses=frozenset({Status.FAILED})), rehearsal.terms()
        )
        assert_clean(folder)
        assert retried is not None
        assert_clean(retried.folder)
        before = rehearsal.summary(folder)["sha256"]
        plant(rehearsal, 5)
        later = rehearsal.terms(wall_clock=lambda: time.time() + 1000)
        await verify_run(folder, rehearsal.settings(), {}, later, every=False, at_once=True)
        assert_clean(folder)
        assert rehearsal.summary(folder)["sha256"]["journal"] != before["journal"]

    async def test_one_that_is_undone(self, rehearsal: Rehearsal) -> None:
        """The run that takes back and the one that is taken back."""
        for row in range(2, 6):
            plant(rehearsal, row)
        folder = (await rehearsal.run(rehearsal.file(4), record_previous=True)).folder
        undone = await undo_run(folder, rehearsal.settings(), {}, rehearsal.terms())
        assert_clean(folder)
        assert undone is not None
        assert_clean(undone.folder)

    async def test_one_whose_input_came_through_a_pipe_or_is_gone(self, rehearsal: Rehearsal) -> None:
        """It need not be there any more: that is no difference."""
        folder = await some_not_done(rehearsal)
        rehearsal.file(6).unlink()
        audit = audit_run(folder)
        assert by_name(audit)["input"].standing is Standing.GONE
        assert audit.exit_code is ExitCode.DONE


class TestAccidents:
    """Each is told, with the right remedy."""

    async def test_a_report_that_excel_has_saved(self, rehearsal: Rehearsal) -> None:
        """Another line end in every line, a zero lost: the journal is right, and the report is written anew from it."""
        folder = await some_not_done(rehearsal)
        path = folder / "results.csv"
        path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
        audit = audit_run(folder, Typed(which="--profile eu"))
        assert differing(audit) == {"results.csv"}
        assert by_name(audit)["results.csv"].standing is Standing.CHANGED
        assert by_name(audit)["results.csv"].remedy == (
            f"Write the reports anew: bulkredeem report --profile eu {folder}"
        )
        assert audit.exit_code is ExitCode.NOT_ALL_DONE
        report_run(folder, time.time())
        assert_clean(folder)

    async def test_a_report_that_was_cut_short(self, rehearsal: Rehearsal) -> None:
        """At the end of a line, so that it looks whole."""
        folder = await some_not_done(rehearsal)
        path = folder / "results.csv"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
        assert differing(audit_run(folder)) == {"results.csv"}

    async def test_rows_that_somebody_has_mended(self, rehearsal: Rehearsal) -> None:
        """`not_done.csv` is meant for it: to write it anew would lose that work, which is said."""
        folder = await some_not_done(rehearsal)
        path = folder / "not_done.csv"
        path.write_text(path.read_text().replace("B-3", "B-33"))
        thing = by_name(audit_run(folder))["not_done.csv"]
        assert thing.standing is Standing.CHANGED
        assert "Perhaps somebody has mended rows in it: copy it first" in thing.words

    @pytest.mark.parametrize("name", ["results.csv", "not_done.csv", "report.html", "summary.json"])
    async def test_a_report_that_is_missing(self, rehearsal: Rehearsal, name: str) -> None:
        """It is written anew."""
        folder = await some_not_done(rehearsal)
        (folder / name).unlink()
        audit = audit_run(folder)
        assert differing(audit) == {name}
        assert by_name(audit)[name].standing is Standing.MISSING
        assert by_name(audit)[name].remedy.startswith("Write the reports anew: ")
        report_run(folder, time.time())
        assert_clean(folder)

    async def test_a_byte_that_flipped_in_the_snapshot(self, rehearsal: Rehearsal) -> None:
        """Nothing can be written anew then: what was sent stands in the results, which are not to be lost."""
        folder = await some_not_done(rehearsal)
        path = folder / "input.csv"
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
        (folder / "report.html").unlink()
        audit = audit_run(folder)
        assert differing(audit) == {"input.csv", "report.html"}
        assert "Put back input.csv from a copy of the folder" in by_name(audit)["input.csv"].remedy
        assert by_name(audit)["report.html"].remedy == ("Do not write the reports anew before input.csv is put right.")
        path.unlink()
        assert by_name(audit_run(folder))["input.csv"].standing is Standing.MISSING

    async def test_a_count_that_was_edited(self, rehearsal: Rehearsal) -> None:
        """Both that it is not the journal's, and that the seven add up to the rows no more."""
        folder = await some_not_done(rehearsal)
        edit(folder, lambda told: told["counts"].update(success=5))
        audit = audit_run(folder)
        assert differing(audit) == {"summary.json", "counts"}
        assert by_name(audit)["summary.json"].words == "It does not say what the journal says of counts."
        assert by_name(audit)["counts"].words == "The counts in summary.json add up to 7, and the file has 6 rows."
        report_run(folder, time.time())
        assert_clean(folder)

    async def test_every_key_of_the_summary_is_derived(self, rehearsal: Rehearsal) -> None:
        """Whichever is changed, or lost, is named."""
        folder = await some_not_done(rehearsal)
        whole = (folder / "summary.json").read_text()
        for key in json.loads(whole):
            (folder / "summary.json").write_text(whole)
            edit(folder, methodcaller("update", {key: "other"}))
            audit = audit_run(folder)
            assert "summary.json" in differing(audit), key
            assert key in by_name(audit)["summary.json"].words
            (folder / "summary.json").write_text(whole)
            edit(folder, methodcaller("pop", key))
            assert "summary.json" in differing(audit_run(folder)), key

    async def test_every_hash_of_the_summary_counts(self, rehearsal: Rehearsal) -> None:
        """Whichever is changed, something is told."""
        folder = await some_not_done(rehearsal)
        whole = (folder / "summary.json").read_text()
        for name, digest in json.loads(whole)["sha256"].items():
            if digest:
                (folder / "summary.json").write_text(whole.replace(f'"{name}": "{digest}"', f'"{name}": "{"0" * 64}"'))
                assert audit_run(folder).exit_code is ExitCode.NOT_ALL_DONE, name
        (folder / "summary.json").write_text("no JSON")
        assert by_name(audit_run(folder))["summary.json"].words == "It is no JSON object."

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE outcome SET status = 'success', error_code = '' WHERE row_number = 3",
            "UPDATE outcome SET request_id = 'other' WHERE row_number = 4",
            "DELETE FROM outcome WHERE row_number = 2",
            "UPDATE outcome SET alias = 'other' WHERE row_number = 2",
            "INSERT INTO doubted VALUES (2)",
            "INSERT INTO previous VALUES (2, 'purpose', 'gift')",
            "INSERT INTO planned VALUES (2, 'skipped', 'X', 'x')",
            "UPDATE outcome SET request_id = x'00ff' WHERE row_number = 4",
        ],
    )
    async def test_a_cell_that_was_changed_in_the_journal(self, rehearsal: Rehearsal, statement: str) -> None:
        """SQLite finds nothing wrong with it; the reports are right, and must not be written over."""
        folder = await some_not_done(rehearsal)
        tampered(folder, statement)
        try:
            audit = audit_run(folder)
        except JournalUnreadableError:
            assert "x'00ff'" in statement, "only what is no text at all cannot be read"
            return
        assert differing(audit) == {"journal"}
        remedy = by_name(audit)["journal"].remedy
        assert remedy.startswith("Trust results.csv, which is as it was written, and put back journal.sqlite")
        (folder / "report.html").unlink()
        remedies = {thing.name: thing.remedy for thing in audit_run(folder).differing}
        assert remedies["report.html"] == "Do not write the reports anew before journal.sqlite is put right."

    async def test_when_journal_and_reports_were_changed_neither_is_trusted(self, rehearsal: Rehearsal) -> None:
        """A half-restored folder, say."""
        folder = await some_not_done(rehearsal)
        tampered(folder, "DELETE FROM outcome WHERE row_number = 2")
        for name in RESULT_FILES:
            (folder / name).write_text("row_number\r\n")
        audit = audit_run(folder)
        assert differing(audit) == {"journal", *RESULT_FILES}
        assert by_name(audit)["journal"].remedy.startswith("Trust neither it nor the reports")

    async def test_settings_that_were_changed(self, rehearsal: Rehearsal) -> None:
        """A run that is gone on with would go by them."""
        folder = await some_not_done(rehearsal)
        tampered(folder, "UPDATE head SET value = replace(value, '\"max_workers\":4', '\"max_workers\":9')")
        audit = audit_run(folder)
        assert differing(audit) == {"settings"}
        assert "resume and retry go by what the journal says" in by_name(audit)["settings"].remedy

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE head SET value = value || ' ' WHERE key = 'columns'",
            "UPDATE head SET value = value || ' ' WHERE key = 'sample'",
            "UPDATE head SET value = '1.5' WHERE key = 'knew_at'",
        ],
    )
    async def test_what_the_journal_says_since_the_beginning(self, rehearsal: Rehearsal, change: str) -> None:
        """Which column is what, say: resume and retry go by it."""
        folder = await some_not_done(rehearsal)
        tampered(folder, change)
        assert differing(audit_run(folder)) == {"settings"}

    async def test_an_input_that_holds_something_else_now(self, rehearsal: Rehearsal) -> None:
        """The next night's file under the same name: told, and no difference, since the run has its own copy."""
        folder = await some_not_done(rehearsal)
        rehearsal.file(7)
        audit = audit_run(folder)
        assert differing(audit) == set()
        found = by_name(audit)["input"]
        assert (found.standing, found.recorded == found.found) == (Standing.GONE, False)
        assert "holds something else now" in found.words

    async def test_a_row_too_many_in_the_journal(self, rehearsal: Rehearsal) -> None:
        """More outcomes than the file has rows: the counts cannot add up."""
        folder = (await rehearsal.run(rehearsal.file(3))).folder
        tampered(
            folder,
            "WITH RECURSIVE n(x) AS (VALUES (5) UNION ALL SELECT x + 1 FROM n WHERE x < 9)"
            " INSERT INTO outcome SELECT x, 'success', '', '', '', '', 200, 1, '', 1.0, '', '' FROM n",
        )
        (folder / "input.csv").unlink()
        assert {"journal", "counts", "input.csv"} <= differing(audit_run(folder))

    async def test_any_flipped_byte_is_found(self, rehearsal: Rehearsal, tmp_path: Path) -> None:
        """Of any file that is hashed, wherever it is."""
        folder = await some_not_done(rehearsal, xlsx=True)
        names = (SNAPSHOT, *RESULT_FILES, *SHOWN_FILES)

        @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
        @given(st.sampled_from(names), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
        def flip(name: str, place: float, bit: int) -> None:
            copy = tmp_path / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy)
            content = bytearray((copy / name).read_bytes())
            content[int(place * len(content))] ^= 1 << bit
            (copy / name).write_bytes(content)
            assert differing(audit_run(copy)) == {name}

        flip()


class TestWhatCannotBeCompared:
    """Nothing that is not recorded is a difference; what cannot be looked at is said."""

    async def test_a_run_of_a_version_without_hashes(self, rehearsal: Rehearsal) -> None:
        """Its counts are compared, and for each thing it is said that it was not recorded."""
        folder = await some_not_done(rehearsal)
        tampered(folder, "DELETE FROM head WHERE key = 'host'")
        tampered(folder, "UPDATE head SET value = '0.0.1' WHERE key = 'version'")

        def age(told: dict[str, Any]) -> None:
            for key in ("sha256", "host", "tool_version"):
                del told[key]

        edit(folder, age)
        audit = assert_clean(folder, but=("settings", "journal", "results.csv", "not_done.csv", "report.html"))
        assert "recorded no hashes" in audit.remark
        assert by_name(audit)["results.csv"].words == "It says what the journal says."
        edit(folder, lambda told: told["counts"].update(success=5, failed=0))
        assert differing(audit_run(folder)) == {"summary.json"}

    async def test_a_file_that_this_version_would_write_otherwise(self, rehearsal: Rehearsal) -> None:
        """With its own hash it is as it was, if another version began the run."""
        folder = await some_not_done(rehearsal)
        path = folder / "results.csv"
        path.write_bytes(path.read_bytes().replace(b"reason", b"why", 1))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        edit(folder, lambda told: told["sha256"].update({"results.csv": digest}))
        assert by_name(audit_run(folder))["results.csv"].words.endswith("does not say what the journal says.")
        assert differing(audit_run(folder)) == {"results.csv", "summary.json"}
        tampered(folder, "UPDATE head SET value = '0.0.1' WHERE key = 'version'")
        edit(folder, lambda told: told.update(tool_version="0.0.1"))
        edit(folder, lambda told: told["sha256"].update(settings=found_settings(folder)))
        audit = assert_clean(folder)
        assert by_name(audit)["results.csv"].words == f"Version {__version__} would write it otherwise."

    async def test_a_run_that_was_cut_off_at_once(self, rehearsal: Rehearsal) -> None:
        """A second Ctrl-C leaves the hashes out; what is there is still compared."""
        folder = await some_not_done(rehearsal)
        edit(folder, lambda told: told["sha256"].update(dict.fromkeys(FINGERPRINTED)))
        audit = audit_run(folder)
        assert audit.differing == ()
        assert "second Ctrl-C" in audit.remark

    async def test_a_dry_run(self, rehearsal: Rehearsal) -> None:
        """It keeps no journal: its counts are looked at."""
        made = dry_run(rehearsal.file(4), rehearsal.settings())
        audit = audit_run(find_to_audit(made.folder.parent, made.folder.name))
        assert audit.differing == ()
        assert "A dry run keeps no journal" in audit.remark
        assert by_name(audit)["counts"].standing is Standing.AS_IT_WAS

    async def test_a_run_whose_journal_is_lost(self, rehearsal: Rehearsal) -> None:
        """The worst that can be lost; it is named, and what to trust."""
        folder = await some_not_done(rehearsal)
        (folder / "journal.sqlite").unlink()
        audit = audit_run(find_to_audit(folder.parent, str(folder)))
        assert by_name(audit)["journal"].standing is Standing.MISSING
        assert "trust results.csv" in by_name(audit)["journal"].remedy
        (folder / "summary.json").unlink()
        with pytest.raises(RunNotFoundError, match="neither a journal nor a summary"):
            audit_run(folder)

    async def test_a_journal_that_is_damaged(self, rehearsal: Rehearsal) -> None:
        """The original is named, and not the copy that was looked at."""
        folder = await some_not_done(rehearsal)
        content = (folder / "journal.sqlite").read_bytes()
        (folder / "journal.sqlite").write_bytes(content[:-100])
        with pytest.raises(JournalUnreadableError, match=str(folder / "journal.sqlite")) as caught:
            audit_run(folder)
        assert caught.value.exit_code is ExitCode.COULD_NOT_START

    async def test_a_run_that_somebody_works_on(self, rehearsal: Rehearsal) -> None:
        """Its files change meanwhile."""
        folder = await some_not_done(rehearsal)
        with RunLock.acquire(folder, now=time.time()), pytest.raises(BusyError):
            audit_run(folder)

    async def test_a_page_that_could_not_be_written(self, rehearsal: Rehearsal) -> None:
        """It changes neither how the run ends nor what an audit finds; it has no hash."""
        witness = rehearsal.witness(act=lambda folder: (folder / "report.html").mkdir())
        run = await rehearsal.run(rehearsal.file(3), rehearsal.terms(witness))
        assert run.exit_code is ExitCode.DONE
        assert run.remarks
        assert rehearsal.summary(run.folder)["sha256"]["report.html"] is None
        assert audit_run(run.folder).differing == ()

    async def test_a_run_whose_records_cannot_be_hashed(self, rehearsal: Rehearsal) -> None:
        """What cannot be read back is not well: the run says so at its end, as it does when a report is not written."""
        no_text = "INSERT INTO previous VALUES (2, 'purpose', CAST(x'ff' AS TEXT))"
        witness = rehearsal.witness(when=lambda _: True, act=lambda folder: tampered(folder, no_text))
        run = await rehearsal.run(rehearsal.file(3), rehearsal.terms(witness))
        assert run.exit_code is ExitCode.STOPPED_EARLY
        told = rehearsal.summary(run.folder)
        assert told["state"] == "stopped"
        assert "Could not decode to UTF-8" in told["stop_reason"]
        assert (told["counts"]["success"], told["sha256"]["journal"]) == (3, None)
        assert len(rehearsal.verdicts(run.folder)) == 3
        assert not (run.folder / "report.html").exists(), "it told of another end"

    async def test_a_report_that_cannot_be_read(self, rehearsal: Rehearsal) -> None:
        """Then nobody can tell, and the exit code says so."""
        folder = await some_not_done(rehearsal)
        (folder / "results.csv").unlink()
        (folder / "results.csv").mkdir()
        with pytest.raises(ReportsFolderError, match=r"results\.csv cannot be read") as caught:
            audit_run(folder)
        assert caught.value.exit_code is ExitCode.COULD_NOT_START

    def test_no_such_run(self, tmp_path: Path) -> None:
        """As every command says it."""
        for name in ("none", ""):
            with pytest.raises(RunNotFoundError):
                find_to_audit(tmp_path, name)


class TestLinks:
    """Whoever may write into a folder of ours must not make an audit say that all is as it was."""

    @pytest.mark.parametrize("name", [SNAPSHOT, *RESULT_FILES, *SHOWN_FILES, "summary.json"])
    async def test_a_link_is_no_file_whatever_it_leads_to(
        self, rehearsal: Rehearsal, tmp_path: Path, name: str
    ) -> None:
        """It leads to the very bytes now, and may lead elsewhere tomorrow."""
        folder = await some_not_done(rehearsal, xlsx=True)
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
        thing = by_name(audit_run(folder))[name]
        assert thing.standing is Standing.CHANGED
        assert thing.words == "It is a link, which is not followed: the file itself is not there."
        assert thing.remedy
        assert thing.found is None

    async def test_a_link_where_none_was_recorded_is_told(self, rehearsal: Rehearsal, tmp_path: Path) -> None:
        """No workbook was wanted."""
        folder = await some_not_done(rehearsal)
        (folder / "results.xlsx").symlink_to(tmp_path / "nowhere")
        assert differing(audit_run(folder)) == {"results.xlsx"}

    @pytest.mark.parametrize("name", ["journal.sqlite", "journal.sqlite-wal", "journal.sqlite-journal"])
    async def test_a_journal_behind_a_link_is_not_read(self, rehearsal: Rehearsal, tmp_path: Path, name: str) -> None:
        """Neither copied nor taken for lost."""
        folder = await some_not_done(rehearsal)
        shutil.copyfile(folder / "journal.sqlite", tmp_path / "elsewhere")
        for target in (tmp_path / "elsewhere", tmp_path / "nowhere"):
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(target)
            with pytest.raises(JournalUnreadableError, match=f"{name} cannot be read: it is a link"):
                audit_run(folder)

    async def test_the_input_may_be_a_link(self, rehearsal: Rehearsal) -> None:
        """It is a person's own file."""
        path = rehearsal.file(6)
        run = await rehearsal.run(path)
        path.rename(path.with_name("kept.csv"))
        path.symlink_to("kept.csv")
        assert audit_run(run.folder).differing == ()
        assert by_name(audit_run(run.folder))["input"].standing is Standing.AS_IT_WAS

    async def test_no_link_out_of_the_reports_folder_is_audited(self, rehearsal: Rehearsal, tmp_path: Path) -> None:
        """Refused as `report` refuses it: a run, and a dry run, which has no journal."""
        dry = dry_run(rehearsal.file(4), rehearsal.settings()).folder
        run = await some_not_done(rehearsal)
        (tmp_path / "moved").mkdir()
        for folder in (run, dry):
            moved = folder.rename(tmp_path / "moved" / folder.name)
            folder.symlink_to(moved)
            for name in (folder.name, str(folder)):
                with pytest.raises(RunNotFoundError, match="is a link that leads out of the reports folder"):
                    find_to_audit(folder.parent, name)
            assert find_to_audit(folder.parent, str(moved)) == moved


class TestTheSummary:
    """What it tells beside the counts."""

    async def test_it_tells_who_made_it_and_where(self, rehearsal: Rehearsal) -> None:
        """Version, host and user of who began the run, and each file's hash as `sha256sum` tells it."""
        folder = await some_not_done(rehearsal)
        told = rehearsal.summary(folder)
        assert told["tool_version"] == __version__
        assert told["host"] == os.uname().nodename
        names = (SNAPSHOT, *RESULT_FILES, "report.html")
        assert {name: told["sha256"][name] for name in names} == {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names
        }
        assert told["sha256"]["input"] == told["input"]["sha256"]
        assert told["sha256"]["results.xlsx"] is None

    def test_the_names_are_those_of_the_files(self) -> None:
        """What the summary calls them is what they are called."""
        assert {SETTINGS, RECORDS, SNAPSHOT, *RESULT_FILES, *SHOWN_FILES} == set(FINGERPRINTED)

    async def test_workbooks_made_later_are_in_it(self, rehearsal: Rehearsal) -> None:
        """`report --xlsx` renews all hashes."""
        folder = await some_not_done(rehearsal)
        report_run(folder, time.time(), wanted=Presentation(xlsx=True))
        assert rehearsal.summary(folder)["sha256"]["results.xlsx"]
        assert audit_run(folder).differing == ()


class TestTheCommand:
    """What a person and a program see."""

    async def test_it_says_what_was_changed_and_that_it_is_no_proof(self, terminal: Terminal, write_csv: Write) -> None:
        """One line for each thing, and the exit code."""
        path = write_csv([["redemptionId", "billNumber", "identifierValue"], ["AB0001", "7", "919900000001"]])
        assert (await terminal.run("run", path)).code == 0
        clean = await terminal.run("audit", "reports/latest")
        assert clean.code == 0
        assert "results.csv: as it was" in clean.out
        assert NO_PROOF in clean.out
        (terminal.latest / "results.csv").write_text("row_number\n")
        spoilt = await terminal.run("audit", "reports/latest", "--quiet")
        assert spoilt.code == 1
        assert "results.csv: changed since\n   Write the reports anew: bulkredeem report reports/" in spoilt.out
        assert "input.csv" not in spoilt.out
        told = await terminal.run("audit", "reports/latest", "--json")
        (audit,) = told.objects
        assert audit["is_as_it_was"] is False
        assert [each["standing"] for each in audit["things"] if each["name"] == "results.csv"] == ["changed"]
        assert (await terminal.run("audit", "none")).code == 2
