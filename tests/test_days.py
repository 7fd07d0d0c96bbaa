"""Days told as stories, on the real sandbox: people at a terminal who send the right change, once, and can undo it."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.cli import running
from bulkredeem.errors import DeclinedError
from bulkredeem.sandbox import Sandbox
from bulkredeem.settings import load_settings
from bulkredeem.summary import Typed
from tests.screens import screens

if TYPE_CHECKING:
    from tests.conftest import Rehearsal, Terminal, Turnstile

WriteCsv = Callable[..., Path]
HEADER = ["redemptionId", "billNumber", "identifierValue"]
HOUR = 3600.0
SENT_AT_ONCE = ("--rate", "none")


def good_rows(count: int, *, prefix: str = "AB", bill: str = "B") -> list[list[str]]:
    """Return a file of so many rows, each of a redemption and a customer of its own."""
    return [HEADER, *([f"{prefix}{number:04}", f"{bill}-{number}", mobile(number)] for number in range(count))]


def mobile(number: int) -> str:
    """Return the mobile number of a customer of `good_rows`."""
    return f"9199{number:08}"


def hours_old(path: Path, hours: float) -> Path:
    """Make a file look as if it had been changed last so many hours ago."""
    moment = time.time() - hours * HOUR
    os.utime(path, (moment, moment))
    return path


def bills(sandbox: Sandbox) -> dict[str, str]:
    """Return redemption → bill number, as the platform has it now."""
    return {identifier: each.bill_number for identifier, each in sandbox.redemptions.items()}


def plant(sandbox: Sandbox, number: int, bill_number: str, **more: Any) -> None:
    """Let somebody else give a redemption of `good_rows` this bill number."""
    sandbox.plant(
        redemption_id=f"AB{number:04}",
        customer=("CUSTOMER", "mobile", mobile(number)),
        bill_number=bill_number,
        **more,
    )


@pytest.fixture
def sandbox(rehearsal: Rehearsal) -> Sandbox:
    """Give the sandbox of the rehearsal: runs that are prepared here and processes use the same."""
    return rehearsal.sandbox


@pytest.fixture
async def on_screen(terminal: Terminal) -> AsyncIterator[Callable[..., Any]]:
    """Start a command on a pseudo-terminal of 200 columns."""
    async with screens(terminal) as start:
        yield start


class TestOlderAndNewer:
    """A file of 18:00, run at 19:00, and what is older."""

    FILE = (
        ["redemptionId", "Till No", "Bill No", "identifierValue"],
        *([f"AB{number:04}", "17", f"B-{number}", mobile(number)] for number in range(4)),
    )

    async def test_the_wrong_column_and_then_the_right_one(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal
    ) -> None:
        """The same file with its mapping put right wins over itself; the file of noon does not, unless told."""
        evening = hours_old(write_csv(self.FILE, "evening.csv"), 1)
        wrong = await terminal.run("run", evening, "--map", "Till No=billNumber", *SENT_AT_ONCE)
        assert (wrong.code, set(bills(sandbox).values())) == (0, {"17"})
        right = await terminal.run("run", evening, "--map", "Bill No=billNumber", *SENT_AT_ONCE)
        assert (right.code, right.err) == (0, "")
        assert f"The content of {evening} was run before, by " in right.out
        assert terminal.statuses() == ["success"] * 4
        after = {f"AB{number:04}": f"B-{number}" for number in range(4)}
        assert bills(sandbox) == after
        noon = hours_old(write_csv(good_rows(4, bill="OLD"), "noon.csv"), 7)
        stale = await terminal.run("run", noon, *SENT_AT_ONCE)
        assert (stale.code, bills(sandbox)) == (1, after)
        assert set(rehearsal.verdicts(terminal.latest).values()) == {("invalid", "STALE_CORRECTION")}
        assert "send it with --allow-older" in " ".join(stale.out.split())
        told = await terminal.run("run", noon, "--allow-older", *SENT_AT_ONCE)
        assert (told.code, bills(sandbox)) == (0, {f"AB{number:04}": f"OLD-{number}" for number in range(4)})

    async def test_two_files_of_one_command(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal
    ) -> None:
        """What the first file of a command has applied is known to the second, which is older here."""
        evening = hours_old(write_csv(good_rows(4), "evening.csv"), 1)
        noon = hours_old(write_csv(good_rows(4, bill="OLD"), "noon.csv"), 7)
        run = await terminal.run("run", evening, noon, *SENT_AT_ONCE)
        assert (run.code, bills(sandbox)["AB0003"]) == (1, "B-3")
        assert set(rehearsal.verdicts(terminal.latest).values()) == {("invalid", "STALE_CORRECTION")}

    async def test_a_copy_is_as_old_as_what_was_copied(
        self, write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal
    ) -> None:
        """A file that was saved again, with the content of a file that was run, knows no more than that one."""
        await rehearsal.run(hours_old(write_csv(good_rows(4, bill="OLD"), "noon.csv"), 7))
        await rehearsal.run(hours_old(write_csv(good_rows(4), "evening.csv"), 1))
        again = await rehearsal.run(write_csv(good_rows(4, bill="OLD"), "noon (1).csv"))
        assert set(rehearsal.verdicts(again.folder).values()) == {("invalid", "STALE_CORRECTION")}
        assert bills(sandbox)["AB0003"] == "B-3"

    async def test_who_knows_better_says_how_old_a_file_is(
        self, write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal
    ) -> None:
        """An export of long ago, downloaded just now, does not win when --as-of says so."""
        await rehearsal.run(hours_old(write_csv(good_rows(4), "evening.csv"), 1))
        export = write_csv(good_rows(4, bill="EXPORT"), "export.csv")
        run = await rehearsal.run(export, as_of="2026-01-02 18:00")
        assert set(rehearsal.verdicts(run.folder).values()) == {("invalid", "STALE_CORRECTION")}
        assert bills(sandbox)["AB0003"] == "B-3"


async def test_two_people_at_one_till(
    terminal: Terminal, write_csv: WriteCsv, turnstile: Turnstile, sandbox: Sandbox
) -> None:
    """The second is told who sends, since when and how far that is; unattended it ends with 5, by hand it waits."""
    mine, theirs = write_csv(good_rows(60), "mine.csv"), write_csv(good_rows(5, bill="LATER"), "theirs.csv")
    first = await terminal.start("run", mine, "--max-workers", "4", "--timeout", "600", *SENT_AT_ONCE)
    await terminal.until(lambda: sandbox.requests == 14)
    run_id = terminal.latest.resolve().name
    refused = await terminal.run("run", theirs, "--unattended", *SENT_AT_ONCE)
    assert (refused.code, refused.out) == (5, "")
    assert f"process {first.pid}" in refused.err
    assert f" on {socket.gethostname()}, since " in refused.err
    assert re.search(rf"run {run_id}, 10 of 60 rows done, until about \d\d:\d\d\.", refused.err)
    second = await terminal.start("run", theirs, *SENT_AT_ONCE)
    await second.says("Waiting for its end.")
    assert sandbox.requests == 14
    turnstile.open()
    assert ((await first.ended()).code, (await second.ended()).code) == (0, 0)
    assert [each.fields["billNumber"].startswith("LATER") for each in sandbox.applied] == [False] * 60 + [True] * 5


async def test_who_waits_takes_over_from_who_dies(
    terminal: Terminal, write_csv: WriteCsv, turnstile: Turnstile, sandbox: Sandbox, rehearsal: Rehearsal
) -> None:
    """When the first is killed, the second goes on at once, knows what was recorded, and sends what is not known."""
    path = write_csv(good_rows(60))
    first = await terminal.start("run", path, "--max-workers", "4", "--timeout", "600", *SENT_AT_ONCE)
    await terminal.until(lambda: sandbox.requests == 14 and len(rehearsal.settled(terminal.latest)) == 10)
    recorded = rehearsal.settled(terminal.latest)
    second = await terminal.start("run", path, *SENT_AT_ONCE)
    await second.says("Waiting for its end.")
    first.send(signal.SIGKILL)
    turnstile.open()
    run = await second.ended()
    assert (run.code, run.err) == (0, "")
    verdicts = rehearsal.verdicts(terminal.latest)
    assert {row for row, verdict in verdicts.items() if verdict == ("skipped", "ALREADY_APPLIED")} == recorded
    assert len(bills(sandbox)) == 60
    assert "(crashed): 50 of 60 rows are not done" in run.out


async def test_a_colleague_has_fixed_half(
    terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal
) -> None:
    """With `--existing keep` theirs stays, field by field, ours fills what is empty, and each row says which."""
    plant(sandbox, 0, "THEIRS-0")
    plant(sandbox, 1, "B-1")
    plant(sandbox, 2, "")
    plant(sandbox, 3, "THEIRS-3")
    header, *rows = good_rows(5)
    path = write_csv([[*header, "purpose"], *([*row, "refund" if row[0] == "AB0003" else ""] for row in rows)])
    run = await terminal.run("run", path, "--existing", "keep", *SENT_AT_ONCE)
    assert (run.code, run.err) == (1, "")
    verdicts = rehearsal.verdicts(terminal.latest)
    assert [verdicts[row] for row in range(2, 6)] == [
        ("skipped", "KEPT_EXISTING"),
        ("skipped", "ALREADY_APPLIED"),
        ("success", ""),
        ("success", ""),
    ]
    assert verdicts[6][0] == "failed", "what cannot be read back is not overwritten blindly"
    assert bills(sandbox) == {"AB0000": "THEIRS-0", "AB0001": "B-1", "AB0002": "B-2", "AB0003": "THEIRS-3"}
    assert [(each.identifier, dict(each.fields)) for each in sorted(sandbox.applied, key=lambda a: a.identifier)] == [
        ("AB0002", {"billNumber": "B-2"}),
        ("AB0003", {"purpose": "refund"}),
    ]
    assert "another value, which was kept" in terminal.results()[3]["warnings"]


async def test_a_rehearsal_and_then_production(
    terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal
) -> None:
    """What the rehearsal applied makes production skip nothing; what production applied makes it skip all."""
    path = write_csv(good_rows(4))
    assert (await terminal.run("run", path, *SENT_AT_ONCE)).code == 0
    async with Sandbox(password="loud-Heron-7") as other:
        production = terminal.configured(other).with_variables(BULKREDEEM_ENVIRONMENT="production")
        run = await production.run("run", path, "--json", *SENT_AT_ONCE)
        assert (run.code, run.objects[0]["counts"]["success"], len(other.applied)) == (0, 4, 4)
        assert run.objects[0]["environment"] == "production"
        assert f"To production, {other.base_url} as " in run.err
        assert "production: All 4 rows were updated." in run.err
        assert "was run before" not in run.err
        again = await production.run("run", path, *SENT_AT_ONCE)
        assert (again.code, len(other.applied)) == (0, 4)
        assert set(rehearsal.verdicts(terminal.latest).values()) == {("skipped", "ALREADY_APPLIED")}
    told = await terminal.run("history", "AB0002", "--json")
    assert [(each["base_url"], each["environment"], each["status"]) for each in told.objects] == [
        (sandbox.base_url, "", "success"),
        (other.base_url, "production", "success"),
        (other.base_url, "production", "skipped"),
    ]


class TestTakingBack:
    """`run --record-previous`, and `undo`."""

    async def test_undo_after_somebody_changed_a_value_again(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal
    ) -> None:
        """What still is ours becomes what it was; what was changed since stays; what was empty is listed."""
        plant(sandbox, 0, "WAS-0")
        plant(sandbox, 1, "WAS-1")
        plant(sandbox, 2, "")
        path = write_csv(good_rows(3))
        run = await terminal.run("run", path, "--record-previous", *SENT_AT_ONCE)
        assert (run.code, bills(sandbox)) == (0, {"AB0000": "B-0", "AB0001": "B-1", "AB0002": "B-2"})
        run_id = terminal.latest.resolve().name
        plant(sandbox, 1, "SINCE-1")
        undone = await terminal.run("undo", run_id)
        assert (undone.code, undone.err) == (1, "")
        assert bills(sandbox) == {"AB0000": "WAS-0", "AB0001": "SINCE-1", "AB0002": "B-2"}
        assert rehearsal.verdicts(terminal.latest) == {
            2: ("success", ""),
            3: ("skipped", "CHANGED_SINCE"),
            4: ("invalid", "PREVIOUS_WAS_EMPTY"),
        }
        assert "cannot be restored: mend those redemptions by hand." in undone.out
        (listed,) = terminal.results(name="not_done.csv")
        assert "AB0002" in listed["error_message"]
        assert terminal.summary()["undo_of"] == run_id

    async def test_what_was_undone_can_be_sent_again(
        self, write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal, terminal: Terminal
    ) -> None:
        """After an undo the ledger does not think that the file's values stand."""
        for number in range(3):
            plant(sandbox, number, f"WAS-{number}")
        path = write_csv(good_rows(3))
        run = await rehearsal.run(path, record_previous=True)
        assert (await terminal.run("undo", run.folder.name)).code == 0
        assert bills(sandbox)["AB0002"] == "WAS-2"
        again = await rehearsal.run(path)
        assert set(rehearsal.verdicts(again.folder).values()) == {("success", "")}
        assert bills(sandbox)["AB0002"] == "B-2"

    async def test_what_was_there_before_outlives_a_crash(
        self, write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal, terminal: Terminal
    ) -> None:
        """A row that was applied just before its run died is sent again, and undone to what it was at first."""
        for number in range(30):
            plant(sandbox, number, f"WAS-{number}")
        path = write_csv(good_rows(30))
        dead = await rehearsal.dead(lambda terms: rehearsal.run(path, terms, record_previous=True), recorded=5)
        assert (await rehearsal.resume(dead)).exit_code == 0
        assert set(bills(sandbox).values()) == {f"B-{number}" for number in range(30)}
        undone = await terminal.run("undo", dead.name, "--reports", "dead")
        assert (undone.code, undone.err) == (0, "")
        assert set(bills(sandbox).values()) == {f"WAS-{number}" for number in range(30)}

    async def test_an_undo_can_be_undone(
        self, write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal, terminal: Terminal
    ) -> None:
        """It is a run like any other: taken back, the file's values stand again; history tells of all three."""
        plant(sandbox, 0, "WAS-0")
        run = await rehearsal.run(write_csv(good_rows(1)), record_previous=True)
        assert (await terminal.run("undo", run.folder.name)).code == 0
        assert bills(sandbox) == {"AB0000": "WAS-0"}
        assert (await terminal.run("undo", terminal.latest.resolve().name)).code == 0
        assert bills(sandbox) == {"AB0000": "B-0"}
        told = await terminal.run("history", "AB0000", "--json")
        assert [(each["kind"], each["value"]) for each in told.objects] == [
            ("run", "B-0"),
            ("undo", "WAS-0"),
            ("undo", "B-0"),
        ]

    async def test_without_a_record_there_is_no_way_back(
        self, write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal, terminal: Terminal
    ) -> None:
        """A run that has recorded nothing cannot be undone: exit 2, one sentence, and nothing is sent."""
        run = await rehearsal.run(write_csv(good_rows(3)))
        undone = await terminal.run("undo", run.folder.name)
        assert (undone.code, undone.out, len(sandbox.applied)) == (2, "", 3)
        assert "has not recorded what it replaced (--record-previous)" in undone.err


class TestCanary:
    """A few rows go first, and somebody looks."""

    async def test_a_person_says_no(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, on_screen: Callable[..., Any]
    ) -> None:
        """The echoes are shown, nothing else is sent, and nobody goes on by mistake: only with --no-guard."""
        screen = await on_screen("run", write_csv(good_rows(12)).name, "--canary", "3", *SENT_AT_ONCE)
        await screen.says("Send the other 9 rows? [y/N]")
        assert {each.identifier for each in sandbox.applied} == {"AB0000", "AB0004", "AB0008"}
        assert "Canary, row 6: success: now billNumber B-4" in screen.text()
        screen.type("n")
        assert (await screen.ended(), sandbox.requests) == (3, 3)
        run_id = terminal.latest.resolve().name
        refused = await terminal.run("resume")
        assert (refused.code, sandbox.requests) == (2, 3)
        assert "was stopped by a guard: " in refused.err
        assert "--no-guard" in refused.err
        resumed = await terminal.run("resume", run_id, "--no-guard")
        assert (resumed.code, sandbox.requests, terminal.statuses()) == (0, 12, ["success"] * 12)

    async def test_a_no_is_the_reason(
        self, terminal: Terminal, write_csv: WriteCsv, on_screen: Callable[..., Any]
    ) -> None:
        """Who said no to canaries that all succeeded is not told later that some were not accepted."""
        screen = await on_screen("run", write_csv(good_rows(12)).name, "--canary", "3", *SENT_AT_ONCE)
        await screen.says("[y/N]")
        screen.type("n")
        assert await screen.ended() == 3
        assert "not accepted" not in terminal.summary()["stop_reason"]

    async def test_a_person_says_yes(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, on_screen: Callable[..., Any]
    ) -> None:
        """The others follow, each row once."""
        screen = await on_screen("run", write_csv(good_rows(12)).name, "--canary", "3", *SENT_AT_ONCE)
        await screen.says("Send the other 9 rows? [y/N]")
        screen.type("y")
        assert (await screen.ended(), sandbox.requests, terminal.statuses()) == (0, 12, ["success"] * 12)

    @pytest.mark.parametrize("bad", ["AB0004", ""])
    async def test_unattended_it_goes_on_only_if_all_succeeded(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, bad: str
    ) -> None:
        """One canary that is refused ends the run with 3 and the rest pending; without one all rows are sent."""
        sandbox.known = lambda identifier: identifier != bad
        run = await terminal.run("run", write_csv(good_rows(12)), "--canary", "3", "--unattended", *SENT_AT_ONCE)
        assert (run.code, sandbox.requests) == ((3, 3) if bad else (0, 12))
        if bad:
            assert terminal.summary()["stop_reason"] == "1 of 3 canary rows were not accepted"
            assert "Canary, row 6: refused 750 (" in run.out


class TestWhichSystem:
    """Production is shown, and asked about."""

    CONFIGURATION = '[profiles.live]\nenvironment = "production"\n'

    async def test_loopback_is_never_asked_about(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, on_screen: Callable[..., Any]
    ) -> None:
        """On a terminal, too, a sandbox that plays production is sent to at once; its name is shown all the same."""
        (terminal.folder / "bulkredeem.toml").write_text(self.CONFIGURATION)
        screen = await on_screen("run", write_csv(good_rows(3)).name, "--profile", "live", *SENT_AT_ONCE)
        assert (await screen.ended(), len(sandbox.applied)) == (0, 3)
        assert "[y/N]" not in screen.text()
        assert f"To production, {sandbox.base_url} as " in screen.text()
        assert "production: All 3 rows were updated." in screen.text()

    @pytest.mark.usefixtures("nothing_configured")
    @pytest.mark.parametrize(
        ("flags", "question"),
        [
            ({"environment": "production"}, "fixes.csv: to production (https://crm.api.example.com as till.one)?"),
            ({"environment": "Production"}, "fixes.csv: to Production (https://crm.api.example.com as till.one)?"),
            ({}, "fixes.csv: to a system that nothing was ever sent to from here (https://crm.api.example.com as"),
            ({"environment": "production", "yes": True}, ""),
            ({"environment": "production", "base_url": "https://127.0.0.1:9"}, ""),
            ({"environment": "production", "base_url": "http://localhost:9"}, ""),
        ],
    )
    @pytest.mark.parametrize("agrees", [True, False])
    async def test_others_are(self, flags: dict[str, Any], question: str, *, agrees: bool) -> None:
        """A person is asked once before production and before a host that nothing ever went to; a no ends it all."""
        asked: list[str] = []

        async def ask(words: str) -> bool:
            asked.append(words)
            return agrees

        given = {"base_url": "https://crm.api.example.com", "username": "till.one", **flags}
        command = running._Command(load_settings(given), Typed())
        command._ask = ask  # nothing but loopback may be contacted here, so that no process can be asked
        if question and not agrees:
            with pytest.raises(DeclinedError, match="Nothing was sent"):
                await command._confirm(["fixes.csv"])
        else:
            await command._confirm(["fixes.csv"])
        assert len(asked) == bool(question)
        assert all(each.startswith(question) for each in asked)


async def test_the_story_of_a_redemption_outlives_its_runs(
    terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, rehearsal: Rehearsal
) -> None:
    """After `prune` the folder is gone; `history` still tells all by either identifier, and nothing is sent twice."""
    sandbox.plant(redemption_id="8878ru", external_reference_number="ACR-7", customer=("CUSTOMER", "mobile", mobile(1)))
    path = write_csv([["externalReferenceNumber", "billNumber", "identifierValue"], ["ACR-7", "B-7", mobile(1)]])
    run = await terminal.run("run", path, "--by", "Asha Menon", "--reason", "ticket 4711", *SENT_AT_ONCE)
    assert run.code == 0
    folder = terminal.latest.resolve()
    pruned = await terminal.run("prune", "--keep", "0.01s")
    assert (pruned.code, folder.exists()) == (0, False)
    assert f"Removed: reports/{folder.name}" in pruned.out
    by_reference = await terminal.run("history", "ACR-7")
    by_id = await terminal.run("history", "8878ru")
    assert by_reference.out == by_id.out
    assert "billNumber = B-7" in by_id.out
    assert f"run {folder.name}, row 2 of {path}, as of " in by_id.out
    assert re.search(r"by \S+ for Asha Menon: ticket 4711", by_id.out)
    witness = rehearsal.witness()
    again = await rehearsal.run(path, rehearsal.terms(witness))
    assert witness.start is not None
    assert any(f"was run before, by {folder.name} (finished)" in remark for remark in witness.start.remarks)
    assert rehearsal.verdicts(again.folder) == {2: ("skipped", "ALREADY_APPLIED")}
    by_its_id = write_csv([HEADER, ["8878ru", "B-7", mobile(1)]], "by_id.csv")
    assert rehearsal.verdicts((await rehearsal.run(by_its_id)).folder) == {2: ("skipped", "ALREADY_APPLIED")}
    assert len(sandbox.applied) == 1
