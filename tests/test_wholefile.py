"""Files that appear whole or not at all, on a real disk that is full, in the way, or gone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType

import pytest

from bulkredeem.errors import ExitCode, ReportError
from bulkredeem.wholefile import sync_folder, whole_path, whole_text

Door = Callable[[Path, str], None]


def by_text(path: Path, content: str) -> None:
    """Write a text."""
    with whole_text(path) as file:
        file.write(content)


def by_path(path: Path, content: str) -> None:
    """Write to the path that is given, as a library does that opens its files itself."""
    with whole_path(path) as aside:
        aside.write_bytes(content.encode())


DOORS = [by_text, by_path]


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder with their bytes."""
    return {each.name: each.read_bytes() for each in folder.iterdir()}


@pytest.mark.parametrize("write", DOORS)
def test_a_file_appears_under_its_name(tmp_path: Path, write: Door) -> None:
    """It holds what was written, replaces an older one, and nothing is left beside it."""
    for content in ("the first, ä\r\n", "the second"):
        write(tmp_path / "a.txt", content)
        assert contents(tmp_path) == {"a.txt": content.encode()}


@pytest.mark.parametrize("write", DOORS)
def test_it_is_on_the_disk_before_it_has_its_name(tmp_path: Path, write: Door) -> None:
    """First the file is synced, then it is renamed, then its name is on the disk: in no other order."""
    heard = []

    def hear(_frame: FrameType, event: str, subject: object) -> None:
        if event == "c_call" and subject in (os.fsync, os.replace):
            heard.append(subject)

    before = sys.getprofile()
    sys.setprofile(hear)
    try:
        write(tmp_path / "a.txt", "x")
    finally:
        sys.setprofile(before)
    assert heard == [os.fsync, os.replace, os.fsync]


def test_it_is_not_there_while_it_is_written(tmp_path: Path) -> None:
    """Who looks meanwhile sees the older one."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    with whole_text(path) as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def break_off(door: Callable[[Path], AbstractContextManager[object]], path: Path, error: BaseException) -> None:
    """Begin to write, and raise."""
    with door(path) as opened:
        if isinstance(opened, Path):
            opened.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ZeroDivisionError("ours"), KeyboardInterrupt()], ids=["an error", "Ctrl-C"])
@pytest.mark.parametrize("door", [whole_text, whole_path])
def test_an_error_leaves_the_older_one(
    tmp_path: Path, door: Callable[[Path], AbstractContextManager[object]], error: BaseException
) -> None:
    """What was raised is passed on as it is, and what was half-written is gone."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error)):
        break_off(door, path, error)
    assert contents(tmp_path) == {"a.txt": b"old"}


@pytest.mark.parametrize("write", DOORS)
def test_a_full_disk_is_one_sentence(
    tmp_path: Path, no_file_beyond: Callable[[int], AbstractContextManager[None]], write: Door
) -> None:
    """It names the file and the reason, and the older one stays."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    with (
        no_file_beyond(100),
        pytest.raises(ReportError, match=r"a\.txt could not be written: File too large") as caught,
    ):
        write(path, "x" * 1000)
    assert caught.value.exit_code is ExitCode.STOPPED_EARLY
    assert contents(tmp_path) == {"a.txt": b"old"}


@pytest.mark.parametrize("write", DOORS)
def test_a_folder_in_the_way_is_one_sentence(tmp_path: Path, write: Door) -> None:
    """It stays, and nothing lies beside it."""
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(ReportError, match=r"a\.txt could not be written: Is a directory"):
        write(tmp_path / "a.txt", "x")
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("write", DOORS)
def test_a_folder_that_is_gone_is_one_sentence(tmp_path: Path, write: Door) -> None:
    """Who deletes a folder under us gets a reason, not a traceback."""
    with pytest.raises(ReportError, match=r"a\.txt could not be written: No such file or directory"):
        write(tmp_path / "gone" / "a.txt", "x")


def test_who_writes_nothing_makes_no_file(tmp_path: Path) -> None:
    """A library that forgot to write is not taken for one that wrote an empty file."""
    with pytest.raises(ReportError, match="No such file"), whole_path(tmp_path / "a.txt"):
        pass
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("write", DOORS)
def test_what_a_dead_process_left_half_written_is_replaced(tmp_path: Path, write: Door) -> None:
    """Nothing of it gets into the file."""
    (tmp_path / ".a.txt.part").write_text("half" * 1000)
    write(tmp_path / "a.txt", "whole")
    assert contents(tmp_path) == {"a.txt": b"whole"}


def test_line_ends_and_encoding_are_as_asked_for(tmp_path: Path) -> None:
    """No line end is added or changed."""
    with whole_text(tmp_path / "a.txt", "utf-8-sig") as file:
        file.write("a\nb\r\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xef\xbb\xbfa\nb\r\n"


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Check that nothing stays open."""
    before = len(list(Path("/dev/fd").iterdir()))
    yield
    assert len(list(Path("/dev/fd").iterdir())) == before


@pytest.mark.usefixtures("descriptors")
def test_a_folder_is_closed_again(tmp_path: Path) -> None:
    """However many files are written; and a folder that is not there is an error of the system's."""
    for _ in range(50):
        sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "gone")
