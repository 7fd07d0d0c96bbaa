"""Wrong turns that a review has found: rows that were left behind, commands to paste, and what people are told."""

from __future__ import annotations

import asyncio
import csv
import html
import json
import os
import re
import shlex
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from email.utils import format_datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import web
from aioresponses import aioresponses
from hypothesis import given
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

import bulkredeem
from bulkredeem.application import prune_runs, undo_run
from bulkredeem.application.concluding import Conclusion
from bulkredeem.application.preparing import Prepared, prepare_file
from bulkredeem.application.running import carry_out
from bulkredeem.application.turn import turn_of
from bulkredeem.application.wiring import client_for
from bulkredeem.cli.noticing import Night
from bulkredeem.client import UPDATE_PATH, Basic, Client
from bulkredeem.codes import MendBy
from bulkredeem.errors import ExitCode
from bulkredeem.journal import RunLock
from bulkredeem.masking import veiled
from bulkredeem.model import Correction, Job, Outcome, Reply, Status
from bulkredeem.notices import Ended as EndedCommand
from bulkredeem.notices import EndedRun, notice_of
from bulkredeem.sandbox import Fault, Sandbox, UpdateRequest
from bulkredeem.summary import Ending, RunInfo, RunState, Summary, Tally, Typed, closing_sentence, next_steps

if TYPE_CHECKING:
    from bulkredeem.application import Run
    from tests.conftest import Ended, Rehearsal, Terminal, Turnstile, Witness

pytestmark = pytest.mark.usefixtures("nothing_configured")

REPORTS = Path("reports")
HEADER = ("redemptionId", "billNumber", "identifierValue")
WITH_STORE = (*HEADER, "store")
LOST = Fault(apply=True, status=502)
"""Applied, and nobody can tell."""
Row = tuple[str, ...]


@pytest.fixture
def sandbox(rehearsal: Rehearsal) -> Sandbox:
    """Give the sandbox of the rehearsal: runs that are carried out here and processes use the same."""
    return rehearsal.sandbox


@pytest.fixture
def quick(terminal: Terminal) -> Terminal:
    """Give a terminal whose commands keep to no rate, without an option that says so."""
    return terminal.with_variables(BULKREDEEM_RATE="none")


def good(rows: int, first: int = 2) -> list[Row]:
    """Return so many good rows, the first of which is `AB0002`, unless it is said otherwise."""
    return [(f"AB{row:04}", f"B-{row}", f"9199{row:08}") for row in range(first, first + rows)]


def unknown(rows: int) -> list[Row]:
    """Return so many rows of redemptions that nobody knows; the platform refuses them."""
    return [(f"NOPE{row:04}", f"B-{row}", f"9188{row:08}") for row in range(rows)]


MISTAKEN = ("AB9999", "8.88E+05", "919999999999")
"""A row that is invalid in the file."""


def write(name: str, rows: Sequence[Row], header: Row = HEADER, *, delimiter: str = ",") -> Path:
    """Write a file and return its path."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return path


def configure(name: str, text: str) -> None:
    """Write a configuration file."""
    Path(name).write_text(text, encoding="utf-8")


def lines(path: Path) -> list[dict[str, str]]:
    """Read a report of rows."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def page_of(folder: Path) -> str:
    """Read the page of a run, or that of all runs, as text."""
    name = "index.html" if (folder / "index.html").exists() else "report.html"
    return html.unescape((folder / name).read_text(encoding="utf-8"))


def commands_in(text: str) -> list[str]:
    """Return the commands to paste that stand in a page, or in a notice, each once."""
    found = re.findall(r"(?:<code>|^)(bulkredeem [^<\n]+)", text, re.MULTILINE)
    return list(dict.fromkeys(found))


async def paste(terminal: Terminal, command: str, **options: Any) -> Ended:
    """Type a command that was offered."""
    program, *words = shlex.split(command)
    assert program == "bulkredeem"
    return await terminal.run(*words, **options)


def index_of(reports: Path) -> list[list[Any]]:
    """Return what the page of all runs holds, a list for each run."""
    text = (reports / "index.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="held">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    held: list[list[Any]] = json.loads(found[1])
    return held


# Rows that are left behind


def held_until_all_others_are_refused(rehearsal: Rehearsal) -> Witness:
    """Let good rows be under way, and none be answered, until 25 were refused; return the observer that sees it."""
    refused = asyncio.Event()

    async def wait(_seconds: float) -> None:
        if rehearsal.arrived[-1].startswith("AB"):
            await refused.wait()

    rehearsal.sandbox.latency, rehearsal.sandbox.sleep = 1.0, wait
    witness: Witness = rehearsal.witness(
        when=lambda _: sum(outcome.status is Status.REFUSED for outcome in witness.seen) == 25,
        act=lambda _: refused.set(),
    )
    return witness


def assert_all_good_rows_are_done(rehearsal: Rehearsal, run: Run, rows: int = 300) -> None:
    """Check that each good row was sent once and is a success, that the others were refused, and that it is told."""
    assert Counter(line["status"] for line in lines(run.folder / "results.csv")) == {"refused": 25, "success": rows}
    assert (run.exit_code, run.summary.ending and run.summary.ending.state) == (1, RunState.FINISHED)
    assert Counter(rehearsal.arrived) == Counter(redemption for redemption, *_ in (*unknown(25), *good(rows)))


@pytest.mark.parametrize("rate", ["none", "100000/s"])
async def test_rows_behind_a_bad_stretch_are_sent_when_those_under_way_were_accepted(
    rehearsal: Rehearsal, rate: str
) -> None:
    """What made the run hold on was no longer so when the last answer came: then nothing is tried, and all is sent."""
    witness = held_until_all_others_are_refused(rehearsal)
    path = write("fixes.csv", [*unknown(25), *good(300)])
    run = await rehearsal.run(path, rehearsal.terms(witness), max_workers=40, rate=rate)
    assert_all_good_rows_are_done(rehearsal, run)


async def test_rows_behind_what_goes_first_are_sent_too(rehearsal: Rehearsal) -> None:
    """`--first` changes the order, and nothing else."""
    witness = held_until_all_others_are_refused(rehearsal)
    rows = [(*row, "S1") for row in good(280)] + [(*row, "S2") for row in (*unknown(25), *good(20, 282))]
    path = write("fixes.csv", rows, WITH_STORE)
    run = await rehearsal.run(path, rehearsal.terms(witness), max_workers=40, first="store=S2")
    assert set(rehearsal.arrived[:45]) == {redemption for redemption, *_, store in rows if store == "S2"}
    assert_all_good_rows_are_done(rehearsal, run)


async def test_rows_behind_what_is_skipped_are_sent_too(rehearsal: Rehearsal) -> None:
    """A file that is run again begins with what was applied already, and goes on with what was mended wrongly."""
    await rehearsal.run(write("before.csv", good(60)))
    rehearsal.arrived.clear()
    witness = held_until_all_others_are_refused(rehearsal)
    path = write("fixes.csv", [*good(60), *unknown(25), *good(300, 62)])
    run = await rehearsal.run(path, rehearsal.terms(witness), max_workers=40)
    statuses = Counter(line["status"] for line in lines(run.folder / "results.csv"))
    assert statuses == {"skipped": 60, "refused": 25, "success": 300}


async def test_a_call_from_python_leaves_no_row_behind(rehearsal: Rehearsal) -> None:
    """It is told of every row, too."""
    witness = held_until_all_others_are_refused(rehearsal)
    seen = witness.seen

    def hear(outcome: Outcome) -> None:
        seen.append(outcome)
        if len(seen) == 25:
            witness.act(REPORTS)

    path = write("fixes.csv", [*unknown(25), *good(300)])
    summary = await bulkredeem.run(path, rehearsal.settings(max_workers=40), on_outcome=hear)
    assert (summary.counts[Status.REFUSED], summary.counts[Status.SUCCESS], len(seen)) == (25, 300, 325)
    assert summary.ending is not None
    assert (summary.ending.state, summary.ending.exit_code) == (RunState.FINISHED, 1)


def the_only_run(reports: Path) -> Path:
    """Return the folder of the one run that there is."""
    (folder,) = reports.glob("2*-*")
    return folder


async def test_a_command_leaves_no_row_behind(quick: Terminal, sandbox: Sandbox, rehearsal: Rehearsal) -> None:
    """The whole of it, with a process and a rate: good rows are answered when its journal holds all refusals."""

    async def wait(_seconds: float) -> None:
        if rehearsal.arrived[-1].startswith("AB"):
            await quick.until(lambda: len(rehearsal.settled(the_only_run(quick.reports))) >= 25)

    sandbox.latency, sandbox.sleep = 1.0, wait
    write("fixes.csv", [*unknown(25), *good(300)])
    ended = await quick.run("run", "fixes.csv", "--max-workers", "40", "--rate", "100000/s")
    assert (ended.code, ended.err) == (1, "")
    assert Counter(quick.statuses()) == {"refused": 25, "success": 300}
    assert "300 of 325 rows were updated." in ended.out


class Forgetful(Prepared):
    """A run that forgets all rows but its first ones."""

    def jobs(self, wanted: Callable[[int], bool] | None = None) -> Iterator[Job]:
        """Yield five of them."""
        return islice(Prepared.jobs(self, wanted), 5)


async def test_rows_without_a_verdict_and_without_a_stop_are_an_error_of_ours(rehearsal: Rehearsal) -> None:
    """Such a run must not count as finished, says so, and can be gone on with."""
    settings, terms = rehearsal.settings(), rehearsal.terms()
    async with turn_of(REPORTS, settings, terms) as turn:
        prepared = prepare_file(rehearsal.file(20), settings, turn, terms.check, terms.wall_clock())
        forgetful = Forgetful(**{each.name: getattr(prepared, each.name) for each in fields(Prepared)})
        run = await carry_out(forgetful, client_for(settings), terms)
    summary = rehearsal.summary(run.folder)
    assert (run.exit_code, summary["state"], summary["exit_code"]) == (70, "stopped", 70)
    assert summary["stop_reason"] == "an error of ours has left 15 rows without a verdict"
    resumed = await rehearsal.resume(run.folder)
    assert (resumed.exit_code, len(rehearsal.arrived)) == (0, 20)
    assert set(rehearsal.verdicts(run.folder).values()) == {("success", "")}


# Commands to paste


async def test_what_a_dry_run_offers_does_what_it_said(quick: Terminal, sandbox: Sandbox) -> None:
    """With every option that decides about rows, and none about how it looks; only the selected rows are sent."""
    rows = [(*row, f"S{number % 3 * 3 or 1}") for number, row in enumerate(good(30))]
    write("fixes.csv", rows, WITH_STORE, delimiter=";")
    options = ["--only", "store=S1", "--ignore-rows", "store~^S6$", "--delimiter", ";", "--min-rows", "5"]
    options += ["--reason", "ticket 7", "--on-conflict", "last", "--map", "store=customFields.shop"]
    found = await quick.run("run", "fixes.csv", *options, "--dry-run", "--json", "--quiet")
    assert (found.code, sandbox.requests) == (0, 0)
    *_, command = found.err.splitlines()
    said = found.objects[0]
    assert command.startswith("bulkredeem run --")
    assert command.endswith(" fixes.csv")
    decide = [word for word in options if word.startswith("--")]
    assert [word for word in shlex.split(command) if word in (*options, "--json", "--quiet", "--dry-run")] == options
    assert sorted(word for word in shlex.split(command) if word.startswith("--")) == sorted(decide)
    assert command in commands_in(page_of(Path(said["folder"])))
    ended = await paste(quick, command)
    assert (ended.code, ended.err) == (0, "")
    sent = quick.summary()["counts"]
    assert (sent["success"], sent["skipped"]) == (said["sendable"], said["rows"] - said["sendable"]) == (10, 10)


async def test_what_a_dry_run_of_standard_input_offers_reads_it_once_more(quick: Terminal) -> None:
    """Words are no file to run."""
    path = write("fixes.csv", good(3))
    with path.open("rb") as stream:
        found = await quick.run("run", "--dry-run", "-", stdin=stream)
    *_, command = found.out.splitlines()
    assert command == "bulkredeem run -"
    with path.open("rb") as stream:
        ended = await paste(quick, command, stdin=stream)
    assert (ended.code, quick.statuses()) == (0, ["success"] * 3)


async def test_a_dry_run_with_nothing_to_send_offers_nothing_to_run(quick: Terminal) -> None:
    """Neither on the terminal nor on its page."""
    write("fixes.csv", [MISTAKEN])
    found = await quick.run("run", "--dry-run", "fixes.csv")
    (folder,) = quick.reports.glob("dry-run-*")
    assert found.code == 1
    assert f"0 of 1 row could be sent; 1 cannot: {Path('reports') / folder.name}/not_done.csv says why." in found.out
    assert commands_in(found.out) == []
    assert "bulkredeem run fixes.csv" not in page_of(folder)


async def test_the_page_that_verify_writes_knows_the_configuration(terminal: Terminal, rehearsal: Rehearsal) -> None:
    """Its commands would reach another system, or none, without it."""
    configure("till.toml", f'[profiles.till]\nbase_url = "{rehearsal.sandbox.base_url}"\nrate = "none"\n')
    rehearsal.faults = lambda update: LOST if update.identifier == "AB0002" else None
    where = ["--config", "till.toml", "--profile", "till"]
    bare = terminal.with_variables(BULKREDEEM_BASE_URL="")
    write("fixes.csv", [*good(1), *unknown(1), MISTAKEN])
    await bare.run("run", "fixes.csv", *where, "--reports", "elsewhere", "--max-attempts", "1")
    run = (bare.folder / "elsewhere" / "latest").resolve()
    (run / "report.html").unlink()
    ended = await bare.run("verify", *where, "--reports", "elsewhere", "--now")
    assert (ended.code, ended.err) == (1, "")
    offered = commands_in(page_of(run))
    assert {shlex.split(command)[1] for command in offered} == {"split", "report"}
    for command in offered:
        assert "--config till.toml --profile till" in command
        pasted = await paste(bare, command)
        assert (pasted.code, pasted.err) in ((0, ""), (1, "")), command


async def test_split_is_offered_without_options_that_it_does_not_have(quick: Terminal, listener: Listener) -> None:
    """On the page, in a notice and on the terminal: what is offered can be typed."""
    told = quick.with_variables(BULKREDEEM_NOTIFY_URLS=listener.url("/notice", "json"))
    write("fixes.csv", [*unknown(1), MISTAKEN])
    ended = await told.run("run", "fixes.csv", "--state-dir", "state")
    assert (ended.code, ended.err) == (1, "")
    (notice,) = listener.said("/notice")
    run = quick.latest.resolve()
    for where in (page_of(run), json.loads(notice)["message"], ended.out):
        commands = commands_in(where)
        assert commands
        assert not [command for command in commands if "split" in command and "--state-dir" in command]
    split = f"bulkredeem split --by mend_by reports/{run.name}"
    assert split in commands_in(page_of(run))
    assert split in commands_in(json.loads(notice)["message"])
    pasted = await paste(quick, split)
    assert (pasted.code, pasted.err) == (0, "")
    for command in commands_in(ended.out) + [line.strip() for line in pasted.out.splitlines() if "run " in line]:
        if command.startswith("bulkredeem"):
            assert (await paste(quick, command)).code == 1, command


async def test_the_command_to_unmask_finds_its_run(quick: Terminal) -> None:
    """Also when reports are elsewhere today."""
    write("fixes.csv", [*good(1), *unknown(1)])
    await quick.run("run", "fixes.csv", "--reports", "today's reports")
    run = (quick.folder / "today's reports" / "latest").resolve()
    (command,) = [each for each in commands_in(page_of(run)) if "--show-pii" in each]
    assert "NOPE0000" not in page_of(run)
    pasted = await paste(quick, command)
    assert (pasted.code, pasted.err) == (0, "")
    assert "NOPE0000" in page_of(run)


# Who mends what


async def test_rows_that_a_wrong_password_left_are_for_whoever_owns_it(quick: Terminal) -> None:
    """In every report, and in every report that is written anew; the page asks for no help of anybody else."""
    write("fixes.csv", good(4))
    ended = await quick.with_variables(BULKREDEEM_PASSWORD="wrong").run("run", "fixes.csv", "--xlsx")
    assert ended.code == 4
    run = quick.latest.resolve()
    for _ in ("as written", "as written anew"):
        assert {mender: count for mender, count in quick.summary()["mend_by"].items() if count} == {"credentials": 4}
        for name in ("results.csv", "not_done.csv"):
            assert [line["mend_by"] for line in lines(run / name)] == ["credentials"] * 4
        assert "for: owner of the credentials" in page_of(run)
        assert "for: nobody" not in page_of(run)
        assert set(re.findall(r'"pending",\s*"\w*",\s*"(\w+)"', page_of(run))) == {"credentials"}
        assert (await quick.run("report", run.name)).err == ""


@pytest.fixture
async def undone(rehearsal: Rehearsal) -> Run:
    """Give an undo of two rows, one of which set what was empty before: that cannot be set back."""
    for row, bill in ((2, "OLD"), (3, "")):
        whose = ("CUSTOMER", "mobile", f"9199{row:08}")
        rehearsal.sandbox.plant(redemption_id=f"AB{row:04}", customer=whose, bill_number=bill)
    run = await rehearsal.run(rehearsal.file(2), record_previous=True)
    return await undo_run(run.folder, rehearsal.settings(xlsx=True), {"xlsx": True}, rehearsal.terms())


async def test_what_an_undo_cannot_restore_has_no_command(undone: Run) -> None:
    """To run its file would set nothing: somebody has to mend that by hand."""
    folder = str(undone.folder)
    (step,) = next_steps(undone.summary, folder)
    assert step.words == f"What {folder}/not_done.csv names cannot be restored: mend those redemptions by hand."
    assert (step.count, step.command) == (1, "")
    assert closing_sentence(undone.summary, folder).endswith("mend those redemptions by hand.")


async def test_a_step_without_a_command_shows_none(undone: Run) -> None:
    """On the page no empty box, in the notice and in the workbook no empty line."""
    folder = str(undone.folder)
    (step,) = steps = next_steps(undone.summary, folder)
    page = page_of(undone.folder)
    assert step.words in page
    assert '<div class="command">' not in page
    told = EndedRun(
        folder=undone.folder,
        summary=undone.summary,
        sentence=closing_sentence(undone.summary, folder),
        steps=steps,
        throttled=0,
    )
    ended = EndedCommand(exit_code=ExitCode.NOT_ALL_DONE, reports=REPORTS, began_at=1.0, finished_at=2.0, runs=(told,))
    assert f". {step.words}\nFolder: " in notice_of(ended).text
    book = CalamineWorkbook.from_path(undone.folder / "results.xlsx")
    rows = book.get_sheet_by_name("summary").to_python()
    assert f"1 row, store or data team. {step.words}" in [cell for row in rows for cell in row]


# The content that was run before


@pytest.fixture
async def ran_before(quick: Terminal) -> Path:
    """Give a file that was run, twice by name."""
    write("first.csv", good(3))
    assert (await quick.run("run", "first.csv")).code == 0
    return write("again.csv", good(3))


async def test_a_dry_run_of_a_night_knows_the_content_as_the_night_would(quick: Terminal, ran_before: Path) -> None:
    """With the same sentence and the same exit code, and without a folder."""
    night = await quick.run("run", ran_before, "--unattended")
    dry = await quick.run("run", ran_before, "--unattended", "--dry-run")
    check = await quick.with_variables(BULKREDEEM_UNATTENDED="true").run("check", ran_before)
    assert (night.code, dry.code, check.code) == (2, 2, 2)
    assert night.err.startswith("The content of again.csv was run before, by ")
    assert night.err == dry.err == check.err
    assert list(quick.reports.glob("dry-run-*")) == []


async def test_with_somebody_watching_it_is_said_and_no_error(quick: Terminal, ran_before: Path) -> None:
    """All of its rows would be skipped."""
    dry = await quick.run("run", ran_before, "--dry-run", "--json")
    assert (dry.code, dry.objects[0]["sendable"]) == (0, 0)
    run = await quick.run("run", ran_before)
    (said,) = [sentence for sentence in dry.objects[0]["read_as"] if "was run before" in sentence]
    assert said in " ".join(run.out.split())


async def test_a_dry_run_of_a_night_without_rows_is_as_bad_as_the_night(quick: Terminal) -> None:
    """Somebody has to look why there are none."""
    write("fixes.csv", [])
    check = await quick.with_variables(BULKREDEEM_UNATTENDED="true").run("check", "fixes.csv")
    codes = [
        (await quick.run("run", "fixes.csv", *words)).code
        for words in (["--dry-run"], ["--dry-run", "--unattended"], ["--unattended"])
    ]
    assert (check.code, *codes) == (1, 0, 1, 1)


@pytest.mark.parametrize("base_url", ["", "http://127.0.0.1:1"])
async def test_a_check_says_that_it_could_not_open_the_ledger(quick: Terminal, base_url: str) -> None:
    """It is about the file, and finds what it finds without a ledger."""
    write("fixes.csv", [*good(1), MISTAKEN])
    terminal = quick.with_variables(BULKREDEEM_BASE_URL=base_url)
    without = await terminal.run("check", "fixes.csv")
    await quick.run("run", write("first.csv", good(1)))
    (ledger,) = (quick.reports / "ledger").glob("*.sqlite")
    ledger.write_bytes(b"no database at all" * 100)
    damaged = await terminal.run("check", "fixes.csv")
    assert (without.code, damaged.code, damaged.err) == (1, 1, "")
    words = " ".join(damaged.out.split())
    assert ("What was applied before is not known: " in words) is bool(base_url)
    assert "Traceback" not in damaged.out


# What others are told


@dataclass
class Listener:
    """A watchdog, and whoever else takes what is posted to them."""

    port: int = 0
    heard: list[tuple[str, str]] = field(default_factory=list)
    """Path and body, in the order in which they came."""
    hangs: Callable[[str], bool] = lambda _path: False
    """Which paths are not answered before it is let go."""
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    status: int = 200

    def url(self, path: str = "/ping", scheme: str = "http") -> str:
        """Return an address of it."""
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def said(self, path: str) -> list[str]:
        """Return what was posted to a path."""
        return [body for there, body in self.heard if there == path]

    async def answer(self, request: web.Request) -> web.Response:
        """Take what is posted."""
        self.heard.append((request.path, await request.text()))
        if self.hangs(request.path):
            await self.let_go.wait()
        return web.Response(status=self.status)


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    """Give one that listens."""
    listener = Listener()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", listener.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    listener.port = runner.addresses[0][1]
    yield listener
    listener.let_go.set()
    await runner.cleanup()


@pytest.fixture
def heard(quick: Terminal, listener: Listener) -> Terminal:
    """Give a terminal whose commands are told to the listener."""
    return quick.with_variables(
        BULKREDEEM_PING_URL=listener.url(), BULKREDEEM_NOTIFY_URLS=listener.url("/notice", "json")
    )


@pytest.mark.parametrize("command", ["resume", "retry", "undo"])
async def test_a_run_that_is_not_there_is_told_to_those_who_do_not_watch(
    heard: Terminal, listener: Listener, command: str
) -> None:
    """Once each; the error is printed and ends the process as it always did."""
    heard.reports.mkdir()
    ended = await heard.run(command, "20260101")
    sentence = "There is no run 20260101 in reports; 'bulkredeem runs' lists those there are."
    assert (ended.code, ended.out, ended.err) == (2, "", f"{sentence}\n")
    (ping,), (notice,) = listener.said("/ping/2"), listener.said("/notice")
    assert len(listener.heard) == 2
    assert sentence in ping
    assert sentence in json.loads(notice)["message"]


@pytest.mark.parametrize("command", ["resume", "retry", "undo"])
async def test_a_run_that_somebody_works_on_is_told_to_those_who_do_not_watch(
    heard: Terminal, listener: Listener, rehearsal: Rehearsal, command: str
) -> None:
    """Once each, with the exit code of that."""
    folder = await rehearsal.stopped(rehearsal.file(20), max_workers=1)
    with RunLock.acquire(folder, now=1_800_000_000.0):
        ended = await heard.run(command, folder.name)
    assert (ended.code, ended.out) == (ExitCode.BUSY, "")
    assert "is being worked on by" in ended.err
    (ping,), (notice,) = listener.said(f"/ping/{int(ExitCode.BUSY)}"), listener.said("/notice")
    assert len(listener.heard) == 2
    for words in (ping, json.loads(notice)["message"]):
        assert ended.err.strip() in words


@pytest.mark.parametrize("command", ["resume", "retry", "undo"])
async def test_an_address_that_is_none_hides_no_error(quick: Terminal, rehearsal: Rehearsal, command: str) -> None:
    """Both are said, and the exit code is that of what the command was about."""
    folder = await rehearsal.stopped(rehearsal.file(20), max_workers=1)
    with RunLock.acquire(folder, now=1_800_000_000.0):
        ended = await quick.with_variables(BULKREDEEM_PING_URL="nowhere").run(command, folder.name)
    assert (ended.code, ended.out) == (ExitCode.BUSY, "")
    wrong, busy = ended.err.splitlines()
    assert wrong.startswith("BULKREDEEM_PING_URL is not an address")
    assert "is being worked on by" in busy


async def test_an_address_that_is_none_is_said_once(quick: Terminal, rehearsal: Rehearsal) -> None:
    """When nothing else is wrong."""
    folder = await rehearsal.stopped(rehearsal.file(20), max_workers=1)
    ended = await quick.with_variables(BULKREDEEM_PING_URL="nowhere").run("resume", folder.name)
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1


async def test_a_watchdog_that_hangs_keeps_no_row_waiting(
    quick: Terminal, listener: Listener, rehearsal: Rehearsal
) -> None:
    """Rows are sent before it answers, and it hears of the end after the beginning."""
    listener.hangs = lambda path: path.endswith("/start")
    write("fixes.csv", good(5))
    process = await quick.with_variables(BULKREDEEM_PING_URL=listener.url()).start("run", "fixes.csv")
    await quick.until(lambda: len(rehearsal.arrived) == 5 and listener.heard)
    await process.says("All 5 rows were updated.")
    assert [path for path, _ in listener.heard] == ["/ping/start"]
    listener.let_go.set()
    ended = await process.ended()
    assert (ended.code, ended.err) == (0, "")
    assert [path for path, _ in listener.heard] == ["/ping/start", "/ping"]


async def test_the_end_is_told_after_the_beginning(listener: Listener, rehearsal: Rehearsal) -> None:
    """A watchdog that heard them the other way round would wait for an end that has come already."""
    listener.hangs = lambda path: path.endswith("/start")
    night = Night(rehearsal.settings(ping_url=listener.url()), Typed())
    night.begin()
    ending = asyncio.create_task(night.ended(ExitCode.DONE))
    async with aiohttp.ClientSession() as session:
        for _ in range(50):
            # Whoever does not wait has told the end long before these are answered.
            async with session.get(listener.url("/other")):
                pass
    assert [path for path, _ in listener.heard if path != "/other"] == ["/ping/start"]
    listener.let_go.set()
    await ending
    assert [path for path, _ in listener.heard if path != "/other"] == ["/ping/start", "/ping"]


async def test_an_address_that_fails_is_told_once_and_at_the_end(quick: Terminal, listener: Listener) -> None:
    """Two pings fail of the same: that is one sentence, and the exit code stays."""
    listener.status = 404
    write("fixes.csv", good(2))
    ended = await quick.with_variables(BULKREDEEM_PING_URL=listener.url()).run("run", "fixes.csv")
    assert ended.code == 0
    (remark,) = ended.err.splitlines()
    assert remark == f"The ping to http://127.0.0.1:{listener.port} failed: the answer was HTTP 404."
    assert [path for path, _ in listener.heard] == ["/ping/start", "/ping"]


@pytest.mark.parametrize("name", ["notify_urls", "ping_url"])
@pytest.mark.parametrize("table", ["", "[profiles.till]\n"])
async def test_an_address_that_does_not_belong_into_the_file_is_called_by_its_name(
    quick: Terminal, name: str, table: str
) -> None:
    """Whoever reads of a password looks in the wrong place."""
    configure("bulkredeem.toml", f'{table}{name} = "https://example.com/t0p-s3cret"\n')
    ended = await quick.run("runs")
    assert ended.code == 2
    assert f"comes from BULKREDEEM_{name.upper()} or BULKREDEEM_{name.upper()}_FILE only" in ended.err
    assert "password" not in ended.err.casefold()
    assert "t0p" not in ended.err


# What lies in the folders


def aged(folder: Path, moment: float) -> Path:
    """Let a folder be of that moment, and return it."""
    os.utime(folder, (moment, moment))
    return folder


async def test_pruning_leaves_no_page_that_lists_what_is_gone(rehearsal: Rehearsal) -> None:
    """The page of all runs is written anew."""
    run = await rehearsal.run(rehearsal.file(2))
    assert run.folder.name in (REPORTS / "index.html").read_text()
    pruned = prune_runs(REPORTS, run.summary.info.started_at + 1)
    assert (pruned.removed, pruned.remarks) == ((run.folder,), ())
    assert run.folder.name not in (REPORTS / "index.html").read_text()


async def test_pruning_removes_old_dry_runs_and_no_others(quick: Terminal) -> None:
    """They are in nobody's way for so long; what is called otherwise is not looked at."""
    write("fixes.csv", good(2))
    for _ in range(2):
        assert (await quick.run("run", "--dry-run", "fixes.csv")).code == 0
    old, new = sorted(quick.reports.glob("dry-run-*"))
    aged(old, 1_000_000_000.0)
    (quick.reports / "my notes").mkdir()
    aged(quick.reports / "my notes", 1_000_000_000.0)
    ended = await quick.run("prune", "--keep", "30d")
    assert (ended.code, ended.err) == (0, "")
    assert f"Removed: reports/{old.name}" in ended.out
    assert (old.exists(), new.exists(), (quick.reports / "my notes").exists()) == (False, True, True)
    assert "0 runs" in page_of(quick.reports)


def clutter() -> None:
    """Put into the reports folder what is only called as a dry run: links, a file, a folder of somebody's own."""
    name = "dry-run-20200101T000000Z-0a1"
    Path("precious").mkdir()
    (REPORTS / f"{name}b").symlink_to(Path("precious").resolve())
    (REPORTS / f"{name}c").symlink_to(Path("nowhere").resolve())
    (REPORTS / f"{name}d").write_text("a file")
    (REPORTS / "dry-run-minutes").mkdir()
    for path in (Path("precious"), REPORTS / f"{name}d", REPORTS / "dry-run-minutes"):
        aged(path, 1_000_000_000.0)


def names_in(folder: Path) -> list[str]:
    """Return the names of what is in a folder."""
    return sorted(path.name for path in folder.iterdir())


async def test_pruning_leaves_alone_what_is_only_called_as_a_dry_run(rehearsal: Rehearsal) -> None:
    """Also a link whose end is not there is no error."""
    run = await rehearsal.run(rehearsal.file(2))
    clutter()
    there = names_in(REPORTS)
    pruned = prune_runs(REPORTS, run.summary.info.started_at)
    assert (pruned.dry_runs, pruned.remarks) == ((), ())
    assert names_in(REPORTS) == there


@pytest.mark.parametrize("words", [["missing.csv"], ["fixes.csv", "--min-rows", "10"]])
async def test_a_dry_run_that_fails_leaves_no_folder(quick: Terminal, words: list[str]) -> None:
    """There is nothing to be read in one."""
    write("fixes.csv", good(2))
    ended = await quick.run("run", "--dry-run", *words)
    assert ended.code == 2
    assert list(quick.reports.iterdir()) == []


async def test_the_page_of_all_runs_hears_of_a_second_ctrl_c(
    quick: Terminal, sandbox: Sandbox, turnstile: Turnstile
) -> None:
    """It says what the summary says."""
    write("fixes.csv", good(60))
    process = await quick.start("run", "fixes.csv", "--max-workers", "4")
    await quick.until(lambda: sandbox.requests == 14)
    process.send(signal.SIGINT)
    await process.says("Ctrl-C again stops at once.")
    process.send(signal.SIGINT)
    assert (await process.ended()).code == 130
    turnstile.open()
    summary = quick.summary()
    (entry,) = index_of(quick.reports)
    told = json.dumps(entry)
    assert summary["state"] in told
    assert "130" in told
    assert f"{summary['counts']['pending']}" in told


@pytest.fixture
def let_go(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Keep a run from going on when it has written what people look at, as a disk does that takes its time."""
    may_go_on, present = threading.Event(), Conclusion._present

    def slowly(conclusion: Conclusion, tally: Tally) -> tuple[str, ...]:
        remarks = present(conclusion, tally)
        may_go_on.wait()
        return remarks

    monkeypatch.setattr(Conclusion, "_present", slowly)
    yield may_go_on.set
    may_go_on.set()


def those_with(name: str) -> list[Path]:
    """Return the folders of the runs that have a file of this name."""
    return [path.parent for path in REPORTS.glob(f"2*/{name}")]


async def test_what_was_written_when_it_was_cut_off_says_nothing_else(
    rehearsal: Rehearsal, let_go: Callable[[], None], terminal: Terminal
) -> None:
    """Page and workbook were there, and said `finished`, when somebody pressed Ctrl-C twice."""
    task = asyncio.create_task(rehearsal.run(rehearsal.file(3), xlsx=True))
    await terminal.until(lambda: those_with("not_done.xlsx"))
    task.cancel()
    let_go()
    with pytest.raises(asyncio.CancelledError):
        await task
    (folder,) = those_with("journal.sqlite")
    summary = rehearsal.summary(folder)
    assert (summary["state"], summary["exit_code"]) == ("stopped", 130)
    assert not [path.name for path in folder.iterdir() if path.suffix in {".html", ".xlsx"}]
    (entry,) = [each for each in index_of(REPORTS) if folder.name in each]
    assert "stopped" in entry
    assert "finished" not in entry


def refuse_the_ending(folder: Path) -> None:
    """Let SQLite refuse to say how it ended, as it does when the disk is full."""
    with closing(sqlite3.connect(folder / "journal.sqlite", timeout=30)) as connection:
        connection.execute(
            "CREATE TRIGGER full BEFORE INSERT ON head WHEN NEW.key = 'state'"
            " BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )


def put_a_folder_in_its_place(folder: Path) -> None:
    """Let nobody write the summary."""
    (folder / "summary.json").unlink(missing_ok=True)
    (folder / "summary.json").mkdir()


@pytest.mark.parametrize("spoil", [refuse_the_ending, put_a_folder_in_its_place])
async def test_an_ending_that_the_disk_does_not_take_is_on_no_page(
    rehearsal: Rehearsal, spoil: Callable[[Path], None]
) -> None:
    """A page that says `finished` would contradict whoever lists the runs."""
    witness = rehearsal.witness(act=spoil)
    run = await rehearsal.run(rehearsal.file(3), rehearsal.terms(witness), xlsx=True)
    assert (run.exit_code, run.summary.ending and run.summary.ending.state) == (3, RunState.STOPPED)
    assert not [path.name for path in run.folder.iterdir() if path.suffix in {".html", ".xlsx"}]
    told = json.dumps(index_of(REPORTS))
    assert "stopped" in told
    assert "finished" not in told


async def test_a_page_that_could_not_be_written_is_not_offered(quick: Terminal, rehearsal: Rehearsal) -> None:
    """It is told as not written: there is a folder in its place."""

    def put_it_there(_: UpdateRequest) -> None:
        for folder in quick.reports.glob("2*"):
            (folder / "report.html" / "within").mkdir(parents=True, exist_ok=True)

    rehearsal.faults = put_it_there
    write("fixes.csv", good(2))
    ended = await quick.run("run", "fixes.csv")
    assert (ended.code, ended.err) == (0, "")
    assert "Not written, report.html: " in ended.out
    assert "Every row: " in ended.out
    assert "The page: " not in ended.out
    assert len(index_of(quick.reports)) == 1


# Small rules


@given(st.text())
def test_of_an_identifier_no_more_than_its_end_is_shown(value: str) -> None:
    """The last four characters at most, and nothing of what has less than five."""
    shown = veiled(value).removeprefix("•••")
    bare = value.strip()
    assert bare.endswith(shown)
    assert len(shown) <= 4
    assert len(shown) < len(bare) / 2 or not shown
    assert not shown or len(bare) >= 5


@given(st.text(max_size=4))
def test_of_a_short_identifier_nothing_is_shown(value: str) -> None:
    """Not even how long it is."""
    assert veiled(value) in ("", "•••")


NOW = datetime(2026, 10, 21, 7, 28, tzinfo=UTC)


class StandIn(aiohttp.ClientResponse):
    """A response that aioresponses 0.7.9 can make although aiohttp 3.14 asks for a writer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Add the writer."""
        super().__init__(*args, stream_writer=Mock(output_size=0), **kwargs)


@pytest.mark.parametrize(
    ("date", "moment"),
    [
        (format_datetime(NOW, usegmt=True), NOW.timestamp()),
        ("Wed, 21 Oct 2026 07:28:00", NOW.timestamp()),
        ("Wed, 21 Oct 2026 12:58:00 +0530", NOW.timestamp()),
        ("yesterday", None),
        ("", None),
        ("Wed, 99 Oct 99999 07:28:00 GMT", None),
        (None, None),
    ],
)
async def test_an_answer_says_when_it_was_given(date: str | None, moment: float | None) -> None:
    """By the platform's clock, in seconds since the epoch; what is no date is none, and no error."""
    correction = Correction(
        row_number=2,
        redemption_id="8878ru",
        entity_type="CUSTOMER",
        identifier_type="mobile",
        identifier_value="919900000001",
        bill_number="B-1",
    )
    base_url = "https://eu.api.example.com"
    with aioresponses() as platform:
        headers = {} if date is None else {"Date": date}
        platform.put(base_url + UPDATE_PATH, payload={"id": 1}, headers=headers, response_class=StandIn)
        async with Client(
            base_url, Basic("x", "x"), timeout=20.0, max_connections=1, wall_clock=NOW.timestamp
        ) as client:
            reply = await client.update(correction)
    assert isinstance(reply, Reply)
    assert reply.served_at == moment


def test_a_dry_run_s_steps_offer_what_it_offers() -> None:
    """The page and the terminal name one command."""
    summary = Summary(
        info=RunInfo(run_id="dry-run-x", path="in/fixes.csv", sha256="0" * 64, rows=3, started_at=1.0),
        counts={status: 3 if status is Status.PENDING else 0 for status in Status},
        top_errors=(),
        mend_by={MendBy.NOBODY: 3},
        ending=Ending(state=RunState.DRY_RUN, finished_at=2.0, requests=0, exit_code=ExitCode.DONE),
    )
    typed = Typed(whole="--only store=S1 --rate 5/s", all="--rate 5/s")
    (step,) = next_steps(summary, "reports/dry-run-x", typed)
    assert step.command == "bulkredeem run --only store=S1 --rate 5/s in/fixes.csv"
    assert closing_sentence(summary, "reports/dry-run-x", typed).endswith(f":\n{step.command}")
