"""A disk that takes no more, on a real small one where one can be mounted, and where files may not grow everywhere.

At whatever moment it happens: what was recorded stays recorded, nothing is half there, it is said in words, and once
there is room one command goes on.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulkredeem.application import Run, resume_run, runs_in
from bulkredeem.errors import ExitCode, JournalError, LedgerError, ReportError, ReportsFolderError
from bulkredeem.journal import Journal
from bulkredeem.ledger import Ledger
from bulkredeem.model import Status
from bulkredeem.sandbox import UpdateRequest
from bulkredeem.summary import RunState

if TYPE_CHECKING:
    from tests.conftest import Ended, Rehearsal, Terminal

Limit = Callable[[int], AbstractContextManager[None]]
KIB = 1024
FULL = (ReportsFolderError, LedgerError, JournalError, ReportError)
"""What says of a run that never began that the disk took no more."""


def write_file(folder: Path, rows: int, *, note: int) -> Path:
    """Write a file of good rows, with a note of so many characters in each to carry along, and return its path."""
    path = folder / "fixes.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["redemptionId", "billNumber", "identifierValue", "note"])
        writer.writerows((f"AB{row:04}", f"B-{row}", f"9199{row:08}", "n" * note) for row in range(2, rows + 2))
    return path


def settled(folder: Path) -> set[int]:
    """Return the rows of a run that have a durable outcome."""
    with closing(Journal.open_to_read(folder / "journal.sqlite")) as journal:
        assert all(outcome.status is Status.SUCCESS for outcome in journal.outcomes())
        return set(journal.settled())


def run_folders(reports: Path) -> list[Path]:
    """Return the folders of all runs."""
    found = reports.iterdir() if reports.exists() else ()
    return [each for each in found if not each.is_symlink() and each.name != "ledger"]


def verdicts(folder: Path) -> dict[int, str]:
    """Read row number → status from a run's results."""
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return {int(line["row_number"]): line["status"] for line in csv.DictReader(file)}


def assert_nothing_half_written(folder: Path, rows: int) -> None:
    """Check that each report is whole or not there, and that nothing lies about beside them."""
    assert not [each.name for each in folder.iterdir() if each.name.startswith(".")]
    json.loads((folder / "summary.json").read_text())
    if (folder / "results.csv").exists():
        assert len(verdicts(folder)) == rows


class SmallDisk:
    """A real file system of four megabytes."""

    def __init__(self, path: Path) -> None:
        """Take where it is mounted."""
        self.path = path
        self.reports = path / "reports"
        self._filler = path / "filler"

    def fill(self, *, leave: int = 0) -> None:
        """Fill it up to the last byte, or leave so many kilobytes."""
        with self._filler.open("ab", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4 * KIB))
        os.truncate(self._filler, max(0, self._filler.stat().st_size - leave * KIB))

    def free(self) -> None:
        """Make room again."""
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Give a small disk; skip where none can be mounted."""
    place = tmp_path / "disk"
    if not mount(place):
        pytest.skip("no file system can be mounted from here")
    yield SmallDisk(place)
    unmount(place)


def mount(place: Path) -> bool:
    """Mount a small file system, as root can, and say whether that was possible."""
    place.mkdir()
    command = [shutil.which("mount") or "false", "-t", "tmpfs", "-o", "size=4m", "none", str(place)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def unmount(place: Path) -> None:
    """Take a small file system away, whoever still holds one of its files."""
    subprocess.run([shutil.which("umount") or "false", "-l", str(place)], check=True)


def test_on_a_small_disk_without_being_root(tmp_path: Path) -> None:
    """Where only root can mount, what follows is done by a process that is root in a name space of its own."""
    if mount(tmp_path / "disk"):
        unmount(tmp_path / "disk")
        pytest.skip("not needed: a file system can be mounted from here")
    apart = [shutil.which("unshare") or "false", "-rm"]
    if subprocess.run([*apart, "true"], check=False, capture_output=True).returncode:
        pytest.skip("nor can one be mounted in a name space of its own (unshare -rm)")
    again = [sys.executable, "-m", "pytest", __file__, "-q", "-k", "disk_in_the_middle or little_room"]
    options = ["-p", "no:cacheprovider", "--basetemp", str(tmp_path / "apart"), "--rootdir", str(tmp_path)]
    configuration = ["-c", str(Path(__file__).parent.parent / "pyproject.toml")]
    done = subprocess.run([*apart, *again, *options, *configuration], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


class TestInWholeProcesses:
    """The real command in a real process."""

    async def test_a_full_disk_in_the_middle_of_a_run(self, terminal: Terminal, sandbox: Any, disk: SmallDisk) -> None:
        """No row starts after it, it is said, `runs` works on, and once there is room `resume` sends what is open."""
        arrived = hear(sandbox)
        sandbox.latency = 0.02
        sandbox.faults = at_update(80, disk.fill, then=sandbox.faults)
        path = write_file(terminal.folder, 300, note=200)
        reports = ("--reports", disk.reports)
        run = await terminal.run("run", path, *reports, "--rate", "none", "--max-workers", "4")
        assert_stopped_by_the_disk(run)
        assert 80 <= len(arrived) < 200

        (folder,) = run_folders(disk.reports)
        recorded = settled(folder)
        assert 0 < len(recorded) <= len(arrived)
        assert recorded <= applied(sandbox)
        assert_nothing_half_written(folder, 300)
        disk.fill()
        listed = await terminal.run("runs", *reports, "--json")
        assert listed.code == 0
        (line,) = listed.objects
        assert (line["state"], line["problem"]) == ("crashed", None)
        assert (line["counts"]["success"], line["counts"]["pending"]) == (len(recorded), 300 - len(recorded))

        disk.free()
        arrived.clear()
        sandbox.latency = 0.0
        gone_on = await terminal.run("resume", *reports)
        assert (gone_on.code, gone_on.err) == (0, "")
        assert sorted(arrived) == sorted({*range(2, 302)} - recorded)
        assert verdicts(folder) == dict.fromkeys(range(2, 302), "success")
        assert applied(sandbox) == {*range(2, 302)}

    async def test_reports_that_do_not_fit(self, terminal: Terminal, sandbox: Any) -> None:
        """When all is sent and the results do not fit, the journal holds everything, and `report` writes them later."""
        arrived = hear(sandbox)
        path = write_file(terminal.folder, 40, note=10_000)
        # The run's own copy of the rows has a few bytes more in each, the results have fifty.
        size = path.stat().st_size + 1000
        run = await terminal.run("run", path, "--rate", "none", python=("-c", LIMITED, str(size)))
        assert_stopped_by_the_disk(run, "csv could not be written: File too large")
        (folder,) = run_folders(terminal.reports)
        assert settled(folder) == applied(sandbox) == {*range(2, 42)}
        assert_nothing_half_written(folder, 40)
        assert not (folder / "results.csv").exists()
        assert "Every row" not in run.out, "it names a report that is not there"
        assert terminal.summary(folder)["counts"]["success"] == 40

        arrived.clear()
        rebuilt = await terminal.run("report", folder.name)
        assert (rebuilt.code, rebuilt.err, arrived) == (0, "", [])
        assert verdicts(folder) == dict.fromkeys(range(2, 42), "success")
        assert terminal.results(folder, "not_done.csv") == []

    async def test_a_run_that_cannot_begin(self, terminal: Terminal, sandbox: Any) -> None:
        """A disk without room for the ledger, the rows' copy or the journal is told; nothing is sent or left."""
        path = write_file(terminal.folder, 60, note=1000)
        without_ledger = await terminal.run("run", path, python=("-c", LIMITED, "2000"))
        make_ledger(terminal.reports)
        without_copy = await terminal.run("run", path, python=("-c", LIMITED, "50000"))
        # What the journal holds of rows that are the same as others is longer than the rows.
        path.write_text("redemptionId,billNumber,identifierValue\n" + "A,B,91\n" * 3000)
        without_journal = await terminal.run("run", path, python=("-c", LIMITED, "80000"))
        assert without_ledger.code == without_copy.code == 2
        words = r"The ledger \S+ cannot be used \(disk I/O error\); nothing was sent\.\n"
        assert re.fullmatch(words, without_ledger.err)
        assert re.fullmatch(r"\S+/input\.csv cannot be written: File too large\.\n", without_copy.err)
        assert without_journal.code == 3
        assert re.fullmatch(r"The journal \S+/journal\.sqlite failed \(disk I/O error\); .*\n", without_journal.err)
        assert (run_folders(terminal.reports), sandbox.requests) == ([], 0)

    @pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() not in {"x86_64", "aarch64"},
        reason="only there we know how to make a sync fail",
    )
    async def test_a_sync_that_fails(self, terminal: Terminal, sandbox: Any) -> None:
        """A disk that no longer syncs stops the run like a full one; what was recorded stays, and `resume` goes on."""
        arrived = hear(sandbox)
        sandbox.latency = 0.02
        sandbox.faults = at_update(60, lambda: terminal.started[0].send(signal.SIGUSR1), then=sandbox.faults)
        path = write_file(terminal.folder, 200, note=10)
        run = await terminal.run("run", path, "--rate", "none", "--max-workers", "4", python=("-c", UNSYNCED))
        if run.code == NO_FILTER:
            pytest.skip("this system lets no process refuse itself a sync (seccomp)")
        assert_stopped_by_the_disk(run, "Input/output error")
        (folder,) = run_folders(terminal.reports)
        recorded = settled(folder)
        assert 0 < len(recorded) <= len(arrived) < 150
        assert recorded <= applied(sandbox)
        assert_nothing_half_written(folder, 200)

        arrived.clear()
        sandbox.latency = 0.0
        gone_on = await terminal.run("resume")
        assert (gone_on.code, gone_on.err) == (0, "")
        assert sorted(arrived) == sorted({*range(2, 202)} - recorded)
        assert verdicts(folder) == dict.fromkeys(range(2, 202), "success")


LIMITED = """
import atexit, resource, runpy, sys
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), unlimited[1]))
atexit.register(resource.setrlimit, resource.RLIMIT_FSIZE, unlimited)
runpy.run_module("bulkredeem", run_name="__main__")
"""
"""Runs the command on a "disk" that takes no file beyond so many bytes."""
NO_FILTER = 99
UNSYNCED = """
import ctypes, os, platform, runpy, signal, struct

FSYNC, FDATASYNC, SECCOMP = {"x86_64": (74, 75, 317), "aarch64": (82, 83, 277)}[platform.machine()]
C = ctypes.CDLL(None, use_errno=True)


def refuse_to_sync(*_):
    load, jump, end, failing, passing = 0x20, 0x15, 0x06, 0x00050000 | 5, 0x7FFF0000
    steps = [(load, 0, 0, 0), (jump, 1, 0, FSYNC), (jump, 0, 1, FDATASYNC), (end, 0, 0, failing), (end, 0, 0, passing)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    if C.prctl(38, 1, 0, 0, 0) or C.syscall(SECCOMP, 1, 1, program):
        os._exit(99)


signal.signal(signal.SIGUSR1, refuse_to_sync)
runpy.run_module("bulkredeem", run_name="__main__")
"""
"""Runs the command; from SIGUSR1 on the system answers each sync, in whichever thread, with an input/output error."""


def hear(sandbox: Any) -> list[int]:
    """Let a sandbox note the row of each update that arrives, and return that list."""
    arrived: list[int] = []
    sandbox.faults = lambda update: arrived.append(row_of(update.identifier))
    return arrived


def at_update(number: int, act: Callable[[], object], *, then: Callable[[UpdateRequest], Any]) -> Any:
    """Return what does something when the n-th update arrives, and goes on as before."""

    def hook(update: UpdateRequest) -> Any:
        if update.number == number:
            act()
        return then(update)

    return hook


def row_of(identifier: str) -> int:
    """Return the row of a redemption in `write_file`."""
    return int(identifier.removeprefix("AB"))


def applied(sandbox: Any) -> set[int]:
    """Return the rows that the sandbox has applied as they stand."""
    return {
        row_of(each.identifier)
        for each in sandbox.applied
        if each.fields["billNumber"] == f"B-{row_of(each.identifier)}"
    }


def assert_stopped_by_the_disk(run: Ended, words: str = "No space left on device") -> None:
    """Check that a process ended with exit code 3 and a sentence, and nothing else."""
    assert run.code == 3
    assert run.err == ""
    assert "Traceback" not in run.out
    sentence = " ".join(run.out.split())
    assert "Stopped early: " in sentence
    assert words in sentence
    assert "bulkredeem resume" in sentence


ROWS = 60
ALL_ROWS = {*range(2, ROWS + 2)}


async def assert_promise_kept(
    rehearsal: Rehearsal, reports: Path, full: AbstractContextManager[object], fill_again: Callable[[], object]
) -> None:
    """Run a file while the disk is full, and go on once it is not: every row has one verdict, and none is false."""
    path = write_file(Path.cwd(), ROWS, note=500)
    make_ledger_if_there_is_room(reports)
    with full:
        try:
            run = await rehearsal.run(path, reports=reports)
        except FULL as exc:
            assert_speaks_of_the_disk(str(exc))
            assert (run_folders(reports), rehearsal.arrived) == ([], [])
            return
        fill_again()
        (listed,) = runs_in(reports)
    recorded = settled(run.folder)
    assert recorded <= applied(rehearsal.sandbox)
    assert_told_truly(run, recorded)
    assert listed.counts is not None
    assert (listed.counts[Status.SUCCESS], listed.counts[Status.PENDING]) == (len(recorded), ROWS - len(recorded))
    await assert_it_ends(rehearsal, run, recorded)


def make_ledger(reports: Path) -> None:
    """Make the ledger while there is room, as an earlier night has done."""
    (reports / "ledger").mkdir(parents=True, exist_ok=True)
    with Ledger.open(reports / "ledger" / "ledger.sqlite"):
        pass


def make_ledger_if_there_is_room(reports: Path) -> None:
    """Make the ledger, unless the folder is there, and with it the ledger, already."""
    if not reports.exists():
        make_ledger(reports)


def assert_told_truly(run: Run, recorded: set[int]) -> None:
    """Check that a run says what its journal holds, and that it is all or that the disk stopped it."""
    counts = run.summary.counts
    assert (counts[Status.SUCCESS], counts[Status.PENDING]) == (len(recorded), ROWS - len(recorded))
    assert_nothing_half_written(run.folder, ROWS)
    if run.exit_code is ExitCode.DONE:
        assert recorded == ALL_ROWS
    else:
        assert run.exit_code is ExitCode.STOPPED_EARLY
        assert run.summary.ending is not None
        assert_speaks_of_the_disk(run.summary.ending.stop_reason)


def assert_speaks_of_the_disk(sentence: str) -> None:
    """Check that it is the disk that is named."""
    words = ("No space left on device", "File too large", "database or disk is full", "disk I/O error")
    assert any(each in sentence for each in words), sentence


async def assert_it_ends(rehearsal: Rehearsal, run: Run, recorded: set[int]) -> None:
    """Go on with a run if it is unfinished, and check that only what was open is sent, and that all is done."""
    rehearsal.arrived.clear()
    (listed,) = runs_in(run.folder.parent)
    assert listed.is_unfinished == (run.exit_code is not ExitCode.DONE)
    if listed.is_unfinished:
        again = await resume_run(run.folder, rehearsal.settings(), {}, rehearsal.terms())
        assert again.exit_code is ExitCode.DONE
    assert Counter(rehearsal.rows_arrived) == Counter(ALL_ROWS - recorded)
    assert verdicts(run.folder) == dict.fromkeys(ALL_ROWS, "success")
    assert applied(rehearsal.sandbox) == ALL_ROWS


@pytest.mark.parametrize("size", [0, 60, 20_000, 32_500, 34_000, 35_000, 36_000, 40_000])
async def test_files_that_may_not_grow(rehearsal: Rehearsal, no_file_beyond: Limit, size: int) -> None:
    """Whichever file is the first that cannot be written, from the lock to the results, the promise is kept."""
    await assert_promise_kept(rehearsal, Path("reports"), no_file_beyond(size), lambda: None)


async def test_room_that_comes_back_too_late(rehearsal: Rehearsal, no_file_beyond: Limit) -> None:
    """When there is room again for the reports, they say of rows whose outcomes were lost that they may be applied."""
    full = ExitStack()
    rehearsal.faults = at_update(30, lambda: full.enter_context(no_file_beyond(0)), then=lambda _: None)
    path = write_file(Path.cwd(), ROWS, note=10)
    run = await rehearsal.run(path, rehearsal.terms(rehearsal.witness(act=lambda _: full.close())))
    recorded = settled(run.folder)
    lost = applied(rehearsal.sandbox) - recorded
    assert lost
    assert_told_truly(run, recorded)
    told = rehearsal.verdicts(run.folder)
    assert {row for row, verdict in told.items() if verdict == ("pending", "SENT_BEFORE")} == lost
    assert {row for row, verdict in told.items() if verdict == ("success", "")} == recorded
    (listed,) = runs_in(run.folder.parent)
    assert listed.state is RunState.CRASHED
    assert listed.doubtful >= len(lost)
    await assert_it_ends(rehearsal, run, recorded)


@pytest.mark.parametrize("left", [0, 4, 32, 64, 88, 96, 104, 108, 112, 116, 120, 128, 144, 160])
async def test_a_disk_with_little_room(rehearsal: Rehearsal, disk: SmallDisk, left: int) -> None:
    """However much room a disk has left, the promise is kept, and its runs can be listed without any."""
    make_ledger(disk.reports)
    disk.fill(leave=left)
    with ExitStack() as full:
        full.callback(disk.free)
        await assert_promise_kept(rehearsal, disk.reports, full, disk.fill)
