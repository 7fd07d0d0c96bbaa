"""Runs on a folder that another machine serves: noticed, and kept in a journal that needs no shared memory."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from bulkredeem.application import runs_in
from bulkredeem.errors import ExitCode, JournalError, JournalUnreadableError
from bulkredeem.journal import Journal, network_type_of
from bulkredeem.journal.network import NETWORK_TYPES, _mounts
from bulkredeem.model import Outcome, Status
from bulkredeem.summary import RunState

if TYPE_CHECKING:
    from tests.conftest import Rehearsal

Make = Callable[..., Outcome]
Limit = Callable[[int], AbstractContextManager[None]]
EXTRA = 3
"""What `PRAGMA synchronous` calls a sync of the folder, too."""


@dataclass(frozen=True)
class Mount:
    """An invented mount."""

    mountpoint: str
    fstype: str


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Say where the journal will be."""
    return tmp_path / "journal.sqlite"


def mode_of(path: Path) -> str:
    """Return how a journal is kept, as its own header says."""
    return {b"\x01\x01": "rollback journal", b"\x02\x02": "write-ahead log"}[path.read_bytes()[18:20]]


def names(folder: Path) -> list[str]:
    """Return the names of all that is in a folder."""
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize(
    ("mounts", "kind"),
    [
        ([("/", "ext4")], ""),
        ([("/", "nfs4")], "nfs4"),
        ([("/", "ext4"), ("/srv/till", "cifs")], "cifs"),
        ([("/srv/till", "cifs"), ("/", "ext4")], "cifs"),
        ([("/", "ext4"), ("/srv/till/reports", "fuse.sshfs")], "fuse.sshfs"),
        ([("/", "ext4"), ("/srv/till", "nfs4"), ("/srv/till/reports", "ext4")], ""),
        ([("/srv/till/reports", "ext4"), ("/srv/till", "nfs4"), ("/", "ext4")], ""),
        ([("/", "ext4"), ("/srv/till", "ext4"), ("/srv/till", "nfs")], "nfs"),
        ([("/", "ext4"), ("/srv/till", "nfs"), ("/srv/till", "ext4")], ""),
        ([("/", "ext4"), ("/srv/till/rep", "nfs")], ""),
        ([("/", "ext4"), ("/srv/till/reports/older", "nfs")], ""),
        ([("/", "ext4"), ("/srv", "SMBFS")], "SMBFS"),
        ([("/", "overlay"), ("/srv", "newfs")], ""),
        ([("/home", "nfs")], ""),
        ([("", "nfs"), ("none", "nfs")], ""),
        ([], ""),
    ],
    ids=[
        "local",
        "all on a server",
        "inside a mount",
        "whatever the order",
        "the mount itself",
        "local inside network",
        "local inside network, whatever the order",
        "later hides earlier",
        "later local hides earlier network",
        "a name that begins alike",
        "a mount further inside",
        "whatever the case",
        "unknown type",
        "not on any mount",
        "mounts without a place",
        "no mounts",
    ],
)
def test_the_nearest_mount_says_where_a_folder_lies(mounts: list[tuple[str, str]], kind: str) -> None:
    """The longest path that holds the folder decides, of two on one path the later, and what is unknown is local."""
    found = network_type_of(Path("/srv/till/reports"), mounts=lambda: [Mount(*mount) for mount in mounts])
    assert found == kind


def test_what_has_no_disk_behind_it_is_among_the_mounts() -> None:
    """So are the folders of other machines, which are left out where only disks are listed."""
    assert {mount.fstype for mount in _mounts()} & {"proc", "devfs"}


def test_a_link_is_followed_to_where_the_folder_lies(tmp_path: Path) -> None:
    """What counts is where the files are, not the name by which the folder was called."""
    (tmp_path / "served").mkdir()
    (tmp_path / "reports").symlink_to("served")
    mounts = [Mount("/", "ext4"), Mount(str(tmp_path.resolve() / "served"), "nfs4")]
    assert network_type_of(tmp_path / "reports", mounts=lambda: mounts) == "nfs4"


def test_where_nobody_knows_the_mounts_a_folder_is_local(tmp_path: Path) -> None:
    """Without a list of mounts, as in a bare container, a run goes on as on a local disk."""

    def unknown() -> Iterable[Mount]:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    assert network_type_of(tmp_path, mounts=unknown) == ""


def test_this_machine_can_be_asked(tmp_path: Path) -> None:
    """The operating system's own list of mounts is understood, whatever it says of this folder."""
    assert network_type_of(tmp_path) in {"", *NETWORK_TYPES}


def test_a_journal_there_needs_no_shared_memory(path: Path, outcome: Make) -> None:
    """A rollback journal with a sync of the folder, and never a file beside it that machines would have to share."""
    with closing(Journal.create(path, {"run_id": "r"}, doubted=[9], network=True)) as journal:
        assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert journal._connection.execute("PRAGMA synchronous").fetchone() == (EXTRA,)
        journal.append(outcome(2))
        journal.commit()
        journal.commit(reach=40)
        assert names(path.parent) == [path.name]
        with closing(Journal.open_to_read(path)) as other:
            assert (list(other.outcomes()), list(other.doubted()), other.reach) == ([outcome(2)], [9], 40)
        assert names(path.parent) == [path.name]
    with closing(Journal.open_existing(path, network=True)) as journal:
        assert journal._connection.execute("PRAGMA synchronous").fetchone() == (EXTRA,)
        assert (list(journal.outcomes()), journal.head()["run_id"]) == ([outcome(2)], "r")


def test_a_journal_that_moves_to_a_server_is_converted(path: Path, outcome: Make) -> None:
    """A journal from a local disk is kept in the other way from then on, with all it holds; and back again."""
    with closing(Journal.create(path, {"run_id": "r"})) as journal:
        journal.append(outcome(2))
        journal.commit()
    assert mode_of(path) == "write-ahead log"
    for row_number, network, mode in ((3, True, "rollback journal"), (4, False, "write-ahead log")):
        with closing(Journal.open_existing(path, network=network)) as journal:
            assert mode_of(path) == mode
            journal.append(outcome(row_number))
            journal.commit()
    with closing(Journal.open_existing(path)) as journal:
        assert list(journal.settled()) == [2, 3, 4]


def test_a_journal_that_was_killed_elsewhere_is_converted_whole(path: Path, outcome: Make) -> None:
    """What stands only in the write-ahead log of a dead process comes along."""
    source = path.with_name("source")
    with closing(Journal.create(source, {"run_id": "r"})) as journal:
        journal.append(outcome(2))
        journal.commit()
        for suffix in ("", "-wal"):
            path.with_name(path.name + suffix).write_bytes(source.with_name(source.name + suffix).read_bytes())
    with closing(Journal.open_existing(path, network=True)) as journal:
        assert list(journal.outcomes()) == [outcome(2)]
        assert mode_of(path) == "rollback journal"
        assert not path.with_name("journal.sqlite-wal").exists()


@pytest.mark.parametrize("network", [True, False])
def test_to_look_converts_nothing(path: Path, network: bool) -> None:  # noqa: FBT001  a parameter
    """Whoever only looks at a run leaves its journal as it is kept, wherever the folder lies."""
    Journal.create(path, {"run_id": "r"}, network=network).close()
    before = path.read_bytes()
    with closing(Journal.open_to_read(path)) as journal:
        assert journal.head() == {"run_id": "r"}
    assert path.read_bytes() == before
    assert names(path.parent) == [path.name]


def test_a_group_a_server_does_not_take_goes_on_waiting(path: Path, no_file_beyond: Limit, outcome: Make) -> None:
    """When the server has no room the group is undone there as a whole, waits, and is committed once there is."""
    with closing(Journal.create(path, {}, network=True)) as journal:
        journal.append(outcome(2))
        journal.commit()
        group = [outcome(number, error_message="x" * 500) for number in range(3, 90)]
        for each in group:
            journal.append(each)
        with no_file_beyond(path.stat().st_size):
            for _ in range(2):
                with pytest.raises(JournalError, match="what it had recorded stays recorded"):
                    journal.commit()
                assert (journal.waiting, list(journal.settled())) == (len(group), [2])
        journal.commit()
        assert list(journal.outcomes()) == [outcome(2), *group]


COMMITTING = """
import sys
from pathlib import Path
from bulkredeem.journal import Journal
from bulkredeem.model import Outcome, Status

journal = Journal.create(Path(sys.argv[1]), {"run_id": "r"}, network=True)
for group in range(1, 10_000):
    for number in range(10):
        journal.append(Outcome(row_number=10 * group + number, status=Status.SUCCESS))
    journal.commit()
    print(group, flush=True)
"""


@pytest.mark.parametrize("groups", [1, 5, 20])
def test_a_kill_among_commits_costs_at_most_the_last_group(path: Path, groups: int) -> None:
    """After SIGKILL every group that was said to be durable is there, and of the one under way all or nothing."""
    with subprocess.Popen([sys.executable, "-c", COMMITTING, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(groups)]
        process.send_signal(signal.SIGKILL)
        told += map(int, process.stdout)
    assert process.returncode == -signal.SIGKILL
    with closing(Journal.open_existing(path, network=True)) as journal:
        settled = list(journal.settled())
    assert settled in (list(range(10, 10 * (told[-1] + 1))), list(range(10, 10 * (told[-1] + 2))))


DYING_IN_A_COMMIT = """
import json, os, signal, sys
from pathlib import Path
from bulkredeem.journal import Journal
from bulkredeem.model import Outcome, Status

journal = Journal.create(Path(sys.argv[1]), json.loads(sys.argv[2]), network=True)
for number in range(2, 102):
    journal.append(Outcome(row_number=number, status=Status.SUCCESS))
journal.commit()
# Without memory to keep them in, pages go into the file before the commit is over.
journal._connection.execute("PRAGMA cache_size = 1")
journal._connection.set_trace_callback(lambda sql: sql == "COMMIT" and os.kill(os.getpid(), signal.SIGKILL))
for number in range(102, 502):
    journal.append(Outcome(row_number=number, status=Status.REFUSED, error_message="x" * 200))
journal.commit()
"""


def die_in_a_commit(path: Path, head: Mapping[str, str]) -> None:
    """Let a process make a journal, commit a group, and be killed with half of the next one in the file."""
    arguments = [sys.executable, "-c", DYING_IN_A_COMMIT, str(path), json.dumps(dict(head))]
    assert subprocess.run(arguments, check=False).returncode == -signal.SIGKILL
    assert path.with_name("journal.sqlite-journal").stat().st_size > 0
    assert b"x" * 200 in path.read_bytes(), "nothing of the group is in the file: no rehearsal"


@pytest.fixture
def cut_off(path: Path) -> Path:
    """Give a journal whose process was killed in the middle of a commit, and return its path."""
    die_in_a_commit(path, {"run_id": "r"})
    return path


@pytest.mark.parametrize("network", [True, False])
def test_a_commit_cut_off_in_its_middle_is_undone(cut_off: Path, network: bool, outcome: Make) -> None:  # noqa: FBT001
    """A death that left half a group in the file is no damage: that group is gone, the others stay, and it goes on."""
    with closing(Journal.open_existing(cut_off, network=network)) as journal:
        assert list(journal.settled()) == list(range(2, 102))
        assert journal.totals().counts[Status.REFUSED] == 0
        journal.append(outcome(102))
        journal.commit()
    with closing(Journal.open_existing(cut_off, network=network)) as journal:
        assert list(journal.settled()) == list(range(2, 103))
    assert names(cut_off.parent) == [cut_off.name]


def test_a_commit_cut_off_in_its_middle_can_be_looked_at(cut_off: Path) -> None:
    """The same for somebody who only looks: such a run is not called unreadable, so that `resume` finds it."""
    with closing(Journal.open_to_read(cut_off)) as journal:
        assert list(journal.settled()) == list(range(2, 102))
    assert mode_of(cut_off) == "rollback journal"


def test_damage_beside_a_commit_cut_off_is_named(cut_off: Path) -> None:
    """When what is left after undoing is damaged, it is named, and not gone on with."""
    content = bytearray(cut_off.read_bytes())
    content[100:200] = b"\xa5" * 100
    cut_off.write_bytes(content)
    cut_off.with_name("journal.sqlite-journal").unlink()
    with pytest.raises(JournalUnreadableError, match="is damaged"):
        Journal.open_existing(cut_off, network=True)
    assert cut_off.read_bytes() == bytes(content)


@pytest.fixture
def served(nothing_configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the operating system say that everything here lies on a server."""
    mounts = [Mount("/", "ext4"), Mount(str(nothing_configured.resolve()), "nfs4")]

    def partitions(**_: Any) -> list[Mount]:
        return mounts

    monkeypatch.setattr(psutil, "disk_partitions", partitions)


@pytest.mark.usefixtures("served")
async def test_a_run_there_says_so_and_can_be_gone_on_with(rehearsal: Rehearsal) -> None:
    """On a network folder a run and its going on say what that means, and to list runs changes nothing of how it is."""
    witness = rehearsal.witness()
    folder = await rehearsal.stopped(rehearsal.file(60), rows=10)
    journal = folder / "journal.sqlite"
    settled = rehearsal.settled(folder)
    (listed,) = runs_in(folder.parent)
    assert (listed.state, mode_of(journal)) == (RunState.STOPPED, "rollback journal")
    run = await rehearsal.resume(folder, rehearsal.terms(witness))
    assert run.exit_code is ExitCode.DONE
    assert {*rehearsal.rows_arrived} == {*range(2, 62)} - settled
    assert mode_of(journal) == "rollback journal"
    assert not list(folder.glob("*-wal"))
    assert witness.start is not None
    (remark,) = witness.start.remarks
    assert "reports lies on a network folder (nfs4)" in remark
    assert "A local --reports folder is safer." in remark


@pytest.mark.usefixtures("served")
async def test_a_run_that_died_in_a_commit_there_is_gone_on_with(rehearsal: Rehearsal) -> None:
    """A run whose process was killed in the middle of a commit is listed as crashed, and ends with every row done."""
    folder = await rehearsal.stopped(rehearsal.file(150), rows=1)
    journal = folder / "journal.sqlite"
    with closing(Journal.open_to_read(journal)) as stopped:
        head = stopped.head()
    journal.unlink()
    die_in_a_commit(journal, {**head, "state": "running", "reach": "151"})
    (listed,) = runs_in(folder.parent)
    assert (listed.state, listed.doubtful) == (RunState.CRASHED, 50)
    assert listed.counts is not None
    assert (listed.counts[Status.SUCCESS], listed.counts[Status.PENDING]) == (100, 50)
    run = await rehearsal.resume(folder)
    assert run.exit_code is ExitCode.DONE
    assert sorted(rehearsal.rows_arrived) == list(range(102, 152))
    assert rehearsal.verdicts(folder) == dict.fromkeys(range(2, 152), ("success", ""))
