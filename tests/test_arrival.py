"""How a file comes and goes, with real files: it is waited for until it is whole, and moved away without a loss."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.application.arrival import POLL, Moved, await_file, has_changed, move_away, stamp_of
from bulkredeem.errors import ExitCode, InputFileError, Stopping

NOW = 1_764_000_000.0
RUN_ID = "20261124T060000Z-a1b2"
CONTENT = b"redemptionId,purpose\nAB0001,Diwali\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  the one other file system that most machines have


class Night:
    """A clock that only sleeping moves, and what others do to the file meanwhile."""

    def __init__(self, *, runs_ahead: float = 0.0) -> None:
        """`runs_ahead` is by how many seconds the clock of the file's server does."""
        self.slept = 0.0
        self.naps: list[float] = []
        self.said: list[str] = []
        self._runs_ahead = runs_ahead
        self._events: list[tuple[float, Callable[[], object]]] = []

    def clock(self) -> float:
        """Return what our own clock shows."""
        return NOW + self.slept

    def at(self, seconds: float, event: Callable[[], object]) -> None:
        """Let something happen once so many seconds were slept."""
        self._events.append((seconds, event))

    def write(self, path: Path, content: bytes = CONTENT, *, age: float = 0.0) -> None:
        """Add to a file; it was changed `age` seconds ago, on the clock of its server."""
        with path.open("ab") as file:
            file.write(content)
        modified_at = self.clock() + self._runs_ahead - age
        os.utime(path, (modified_at, modified_at))

    async def sleep(self, seconds: float) -> None:
        """Let the time pass, and what happens in it."""
        self.naps.append(seconds)
        self.slept += seconds
        due = [event for moment, event in self._events if moment <= self.slept]
        self._events = [(moment, event) for moment, event in self._events if moment > self.slept]
        for event in due:
            event()

    async def wait(self, path: Path, *, wait_for: float | None = None, settled_for: float = 2.0) -> None:
        """Wait for a file."""
        await await_file(
            path,
            wait_for=wait_for,
            settled_for=settled_for,
            say=self.said.append,
            sleep=self.sleep,
            wall_clock=self.clock,
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a file that is not there yet."""
    return tmp_path / "corrections.csv"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Name a folder for files that are done with; it is not there yet."""
    return tmp_path / "done"


# Waiting until it is there


async def test_a_late_file_is_waited_for(path: Path) -> None:
    """It is taken as soon as it is seen, and one sentence says what is waited for, and how long at most."""
    night = Night()
    night.at(600.5, lambda: night.write(path, age=60))
    await night.wait(path, wait_for=3600)
    assert night.slept == 601
    assert night.said == [f"Waiting for {path} to come, for up to 1:00:00."]


async def test_a_file_that_does_not_come_ends_the_wait(path: Path) -> None:
    """The error names the file and how long it was waited for, and not a second more was slept."""
    night = Night()
    with pytest.raises(InputFileError) as caught:
        await night.wait(path, wait_for=2.5)
    assert str(caught.value) == f"{path} has not come; it was waited for 2.5 s."
    assert caught.value.exit_code is ExitCode.COULD_NOT_START
    assert night.naps == [POLL, POLL, 0.5]


async def test_a_file_that_comes_in_the_last_moment_is_taken(path: Path) -> None:
    """There is a look after the last nap."""
    night = Night()
    night.at(2.5, lambda: night.write(path, age=60))
    await night.wait(path, wait_for=2.5)
    assert night.slept == 2.5


async def test_a_single_look_may_do(path: Path) -> None:
    """With no time to wait nothing is slept, and nothing said."""
    night = Night()
    with pytest.raises(InputFileError, match="it was waited for 0 s"):
        await night.wait(path, wait_for=0)
    assert (night.naps, night.said) == ([], [])


async def test_without_a_wait_a_missing_file_is_left_to_its_reader(path: Path) -> None:
    """Who reads it has the better words."""
    night = Night()
    await night.wait(path, wait_for=None)
    assert (night.naps, night.said) == ([], [])


async def test_what_can_never_come_is_left_to_its_reader(path: Path) -> None:
    """A file where a folder should be will not go away: waiting changes nothing."""
    night = Night()
    night.write(path)
    await night.wait(path / "corrections.csv", wait_for=3600)
    assert night.naps == []


async def test_a_link_is_waited_for_until_it_leads_somewhere(path: Path, tmp_path: Path) -> None:
    """What counts is the file behind it."""
    night, target = Night(), tmp_path / "of-today.csv"
    night.at(1, lambda: path.symlink_to(target))
    night.at(3, lambda: night.write(target, age=60))
    await night.wait(path, wait_for=60)
    assert night.slept == 3


async def test_a_stop_ends_the_wait(path: Path) -> None:
    """Whoever asks the run to stop does not wait for a file that may never come."""

    async def stop(_: float) -> NoReturn:
        raise Stopping

    said: list[str] = []
    with pytest.raises(Stopping):
        await await_file(path, wait_for=60, settled_for=2, say=said.append, sleep=stop)


# Waiting until it is whole


async def test_an_old_file_is_taken_at_once(path: Path) -> None:
    """Who was not touched for as long as is asked is whole."""
    night = Night()
    night.write(path, age=2)
    await night.wait(path, wait_for=60)
    assert (night.naps, night.said) == ([], [])


async def test_a_young_file_is_watched_for_the_rest_of_the_time(path: Path) -> None:
    """What it has stayed as it is before the first look counts."""
    night = Night()
    night.write(path, age=0.75)
    await night.wait(path)
    assert night.naps == pytest.approx([POLL, 0.25])


async def test_a_growing_file_is_taken_when_it_has_stayed_as_it_is(path: Path) -> None:
    """Each change begins the time anew, and one sentence is said for all of them."""
    night = Night()
    night.write(path)
    for moment in (1, 2.5, 3.5):
        night.at(moment, lambda: night.write(path))
    await night.wait(path)
    assert night.slept == 6
    assert getattr(stamp_of(path), "size", 0) == 4 * len(CONTENT)
    assert night.said == [f"{path} was changed just now; waiting until it has stayed as it is for 2 s."]


async def test_a_file_of_the_same_size_may_have_changed(path: Path) -> None:
    """A file that is written in place changes nothing but its time."""
    night = Night()
    night.write(path, age=1)
    night.at(1, lambda: night.write(path, b""))
    await night.wait(path)
    assert night.slept == 3


@pytest.mark.parametrize("runs_ahead", [0.5, 3600.0, 1e9])
async def test_the_future_of_a_clock_that_runs_ahead_does_not_count(path: Path, runs_ahead: float) -> None:
    """A file from the future is watched for as long as is asked, and no longer."""
    night = Night(runs_ahead=runs_ahead)
    night.write(path)
    await night.wait(path)
    assert night.naps == [POLL, POLL]


@pytest.mark.parametrize("runs_ahead", [0.5, 3600.0, 1e9])
async def test_a_clock_that_runs_ahead_makes_nobody_wait_for_ever(path: Path, runs_ahead: float) -> None:
    """A file from the future is taken when it was seen to stay as it is."""
    night = Night(runs_ahead=runs_ahead)
    night.write(path)
    night.at(1, lambda: night.write(path))
    await night.wait(path)
    assert night.slept == 3


async def test_a_late_file_may_still_grow(path: Path) -> None:
    """There are two waits then, and a sentence for each."""
    night = Night()
    for moment in (5, 6):
        night.at(moment, lambda: night.write(path))
    await night.wait(path, wait_for=60)
    assert night.slept == 8
    assert [sentence.split(str(path))[0] for sentence in night.said] == ["Waiting for ", ""]


async def test_a_file_that_vanishes_while_it_grows_is_left_to_its_reader(path: Path) -> None:
    """Nobody knows whether it comes again."""
    night = Night()
    night.write(path)
    night.at(1, path.unlink)
    await night.wait(path, settled_for=10)
    assert night.slept == 1


async def test_a_pipe_is_taken_as_it_is(path: Path) -> None:
    """It is neither opened nor waited for: who writes to it waits for us."""
    os.mkfifo(path)
    night = Night()
    await night.wait(path, wait_for=60)
    assert (night.naps, night.said) == ([], [])


@given(ages=st.lists(st.floats(0.05, 4.0), max_size=8), settled_for=st.floats(0.0, 3.0))
async def test_a_file_is_never_taken_sooner_after_a_change_that_was_seen(
    tmp_path_factory: pytest.TempPathFactory, ages: list[float], settled_for: float
) -> None:
    """However it grows, nobody has touched it for as long as is asked when it is taken."""
    path, night, moment = tmp_path_factory.mktemp("growing") / "corrections.csv", Night(), 0.0
    changes = [0.0]
    night.write(path)

    def change() -> None:
        night.write(path)
        changes.append(night.slept)

    for age in ages:
        moment += age
        night.at(moment, change)
    await night.wait(path, settled_for=settled_for)
    assert night.slept - changes[-1] >= settled_for - 1e-6


# Noticing a change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda path: path.write_bytes(CONTENT * 2), id="it grew"),
        pytest.param(lambda path: os.utime(path, ns=(0, 1)), id="it was written in place"),
        pytest.param(lambda path: path.unlink(), id="it was removed"),
        pytest.param(lambda path: path.with_suffix(".new").replace(path), id="another one took its name"),
    ],
)
def test_a_change_is_noticed(path: Path, change: Callable[[Path], object]) -> None:
    """Size, time or identity tell, each by itself."""
    for each in (path, path.with_suffix(".new")):
        each.write_bytes(CONTENT)
        os.utime(each, ns=(0, 0))
    stamp = stamp_of(path)
    assert not has_changed(path, stamp)
    change(path)
    assert has_changed(path, stamp)


def test_reading_changes_nothing(path: Path) -> None:
    """Who reads a file does not make it look changed."""
    path.write_bytes(CONTENT)
    stamp = stamp_of(path)
    assert path.read_bytes() == CONTENT
    assert not has_changed(path, stamp)


def test_a_pipe_never_changes(path: Path) -> None:
    """It has no stamp: that something was written to it is what it is for."""
    os.mkfifo(path)
    assert stamp_of(path) is None
    path.unlink()
    assert not has_changed(path, None)


# Moving it away


def move(path: Path, folder: Path, rename: Callable[[Path, Path], object] = os.replace) -> Moved:
    """Move it away after the run of these tests."""
    return move_away(path, folder, sha256=SHA256, run_id=RUN_ID, rename=rename)


def to_another_file_system(_: Path, target: Path) -> NoReturn:
    """Do what renaming does there."""
    raise OSError(errno.EXDEV, "Invalid cross-device link", target)


def contents(folder: Path) -> dict[str, bytes]:
    """Return name → content of the files in a folder; empty when there is none."""
    return {each.name: each.read_bytes() for each in folder.iterdir()} if folder.exists() else {}


RENAMES = pytest.mark.parametrize(
    "rename", [pytest.param(os.replace, id="one file system"), pytest.param(to_another_file_system, id="two")]
)


@RENAMES
def test_a_file_that_was_read_is_moved(path: Path, folder: Path, rename: Callable[[Path, Path], object]) -> None:
    """It keeps its name, its time and its rights, whether it is renamed or copied; the folder is made."""
    path.write_bytes(CONTENT)
    path.chmod(0o640)
    os.utime(path, (NOW, NOW))
    assert move(path, folder / "2026", rename) == Moved(path=folder / "2026" / path.name)
    assert not path.exists()
    assert contents(folder / "2026") == {path.name: CONTENT}
    status = (folder / "2026" / path.name).stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o640, NOW)


@RENAMES
def test_nothing_is_overwritten(path: Path, folder: Path, rename: Callable[[Path, Path], object]) -> None:
    """Where the name is taken the file gets the id of its run; where that is taken, too, it stays."""
    folder.mkdir()
    (folder / path.name).write_bytes(b"of yesterday")
    path.write_bytes(CONTENT)
    assert move(path, folder, rename).path == folder / f"corrections.{RUN_ID}.csv"
    path.write_bytes(CONTENT)
    assert move(path, folder, rename) == Moved(path=None, remark=f"{path} could not be moved to {folder}: File exists.")
    assert contents(folder) == {path.name: b"of yesterday", f"corrections.{RUN_ID}.csv": CONTENT}
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "other"), [("corrections", f"corrections.{RUN_ID}"), ("of.24.csv", f"of.24.{RUN_ID}.csv")]
)
def test_the_id_of_the_run_stands_before_the_suffix(tmp_path: Path, folder: Path, name: str, other: str) -> None:
    """What opens the file still knows it by its suffix."""
    for _ in range(2):
        (tmp_path / name).write_bytes(CONTENT)
        assert move(tmp_path / name, folder).path
    assert sorted(contents(folder)) == sorted([name, other])


def test_a_file_that_was_changed_since_is_left(path: Path, folder: Path) -> None:
    """What came after the run read it would be lost: it may be the file of the next night."""
    path.write_bytes(CONTENT + b"AB0002,Holi\n")
    assert move(path, folder) == Moved(
        path=None, remark=f"{path} was left where it is: it was changed since it was read."
    )
    assert path.exists()
    assert contents(folder) == {}


def test_a_file_that_is_changed_while_it_is_copied_is_left(path: Path, folder: Path) -> None:
    """The copy goes, and not the file."""

    def rename(_: Path, target: Path) -> NoReturn:
        with path.open("ab") as file:
            file.write(b"AB0002,Holi\n")
        to_another_file_system(path, target)

    path.write_bytes(CONTENT)
    moved = move(path, folder, rename)
    assert moved.path is None
    assert moved.remark == f"{path} could not be moved to {folder}: the copy is not what was copied."
    assert path.read_bytes() == CONTENT + b"AB0002,Holi\n"
    assert contents(folder) == {}


def test_another_file_of_that_name_is_left(path: Path, folder: Path) -> None:
    """It has the same content, and nobody has read it: what took the name while it was copied is not ours to remove."""

    def rename(_: Path, target: Path) -> NoReturn:
        path.with_suffix(".new").write_bytes(CONTENT)
        path.with_suffix(".new").replace(path)
        to_another_file_system(path, target)

    path.write_bytes(CONTENT)
    assert move(path, folder, rename).remark == f"{path} could not be moved to {folder}: it was changed meanwhile."
    assert path.read_bytes() == CONTENT
    assert contents(folder) == {}


def test_a_folder_that_refuses_leaves_it_where_it_is(path: Path, folder: Path) -> None:
    """The name that was held is given back, and the sentence has the reason."""

    def rename(_: Path, __: Path) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    path.write_bytes(CONTENT)
    assert move(path, folder, rename).remark == f"{path} could not be moved to {folder}: Permission denied."
    assert path.read_bytes() == CONTENT
    assert contents(folder) == {}


def test_a_server_that_denies_what_it_did_loses_nothing(path: Path, folder: Path) -> None:
    """A lost answer makes a server say that there is no such file: it has been renamed, and there is no other copy."""

    def rename(source: Path, target: Path) -> NoReturn:
        source.replace(target)
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    path.write_bytes(CONTENT)
    assert move(path, folder, rename).path is None
    assert contents(folder) == {path.name: CONTENT}


def test_what_is_no_folder_leaves_it_where_it_is(path: Path, folder: Path) -> None:
    """The run is over: that a setting is wrong is told, and nothing is raised."""
    path.write_bytes(CONTENT)
    folder.write_bytes(b"")
    assert move(path, folder).remark == f"{path} could not be moved to {folder}: File exists."
    assert path.exists()


def test_a_file_that_is_gone_is_told(path: Path, folder: Path) -> None:
    """Somebody else was quicker."""
    assert move(path, folder).remark == f"{path} could not be moved to {folder}: No such file or directory."
    assert contents(folder) == {}


def test_a_link_is_left(path: Path, folder: Path, tmp_path: Path) -> None:
    """It is somebody's arrangement, and so is the file behind it."""
    (tmp_path / "of-today.csv").write_bytes(CONTENT)
    path.symlink_to("of-today.csv")
    assert move(path, folder).remark == f"{path} was left where it is: it is a symbolic link."
    assert path.read_bytes() == CONTENT
    assert contents(folder) == {}


def test_a_pipe_is_left(path: Path, folder: Path) -> None:
    """It is not even opened: that would wait for whoever writes."""
    os.mkfifo(path)
    assert move(path, folder).remark == f"{path} was left where it is: it is no regular file."
    assert path.exists()


def test_a_file_that_is_there_already_stays(path: Path) -> None:
    """Its own name is not taken by somebody else."""
    path.write_bytes(CONTENT)
    assert move(path, path.parent) == Moved(path=path)
    assert contents(path.parent) == {path.name: CONTENT}


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="there is no other file system")
def test_a_real_file_system_further_is_no_obstacle(path: Path, tmp_path: Path) -> None:
    """A file in memory comes whole to the disk, and is gone from where it was."""
    if SHARED_MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("it is the same file system")
    source = SHARED_MEMORY / f"bulkredeem-{os.getpid()}.csv"
    source.write_bytes(CONTENT)
    try:
        assert move(source, path.parent) == Moved(path=path.parent / source.name)
        assert not source.exists()
    finally:
        source.unlink(missing_ok=True)
    assert contents(path.parent) == {source.name: CONTENT}
