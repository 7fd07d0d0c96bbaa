"""A file that comes through a pipe: read once, kept for as long as it is read, and called by no path."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from bulkredeem.application.arrival import await_file, move_away, stamp_of
from bulkredeem.errors import InputFileError, ReportsFolderError, Stopping
from bulkredeem.loader import STANDARD_INPUT, Intake, name_of, peek, read_rows, take_snapshot
from bulkredeem.model import Reading

PLAIN = b"redemptionId,identifierValue,billNumber\nA1,1,x\n"


def piped(folder: Path, content: bytes) -> Intake:
    """Take in what comes through a real pipe."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as end:
        end.write(content)
    with os.fdopen(reader, "rb") as stream:
        return take_snapshot(STANDARD_INPUT, folder / "input.csv", reading=Reading(), standard_input=lambda: stream)


def given(content: bytes) -> Callable[[], IO[bytes]]:
    """Return a standard input with this content."""
    return lambda: io.BytesIO(content)


@pytest.mark.parametrize("content", [PLAIN, gzip.compress(PLAIN), PLAIN.decode().encode("utf-16")])
def test_a_file_may_come_through_a_pipe(tmp_path: Path, content: bytes) -> None:
    """In any form; its hash is that of what came, it is of now, and nothing of it is left beside the snapshot."""
    before = time.time()
    intake = piped(tmp_path, content)
    (row,) = read_rows(tmp_path / "input.csv", intake.columns)
    assert list(row.values.values()) == ["A1", "1", "x"]
    assert intake.sha256 == hashlib.sha256(content).hexdigest()
    assert before <= intake.modified_at <= time.time()
    assert [path.name for path in tmp_path.iterdir()] == ["input.csv"]


def test_standard_input_is_called_by_its_name(tmp_path: Path) -> None:
    """A dash says nothing in a report or in a sentence."""
    assert name_of(STANDARD_INPUT) == "standard input"
    with pytest.raises(InputFileError, match=r"^standard input is empty"):
        piped(tmp_path, b"\n")


def test_what_is_piped_is_found_although_it_is_no_utf8(tmp_path: Path) -> None:
    """That needs going back, which a pipe cannot."""
    intake = piped(tmp_path, PLAIN + b"A2,2,\xe9\n")
    assert [row.values["billNumber"] for row in read_rows(tmp_path / "input.csv", intake.columns)] == ["x", "é"]


def test_a_terminal_is_one_sentence(tmp_path: Path) -> None:
    """Nobody types corrections, and waiting for them would look like hanging."""
    controller, terminal = pty.openpty()
    words = "^Standard input is this terminal, and nothing is piped into it"
    with os.fdopen(controller, "rb", buffering=0), os.fdopen(terminal, "rb") as stream:  # noqa: SIM117  two concerns
        with pytest.raises(InputFileError, match=words):
            take_snapshot(STANDARD_INPUT, tmp_path / "input.csv", reading=Reading(), standard_input=lambda: stream)


def test_no_standard_input_at_all_is_one_sentence(tmp_path: Path) -> None:
    """As under some schedulers."""
    with pytest.raises(InputFileError, match=r"^There is no standard input to read"):
        take_snapshot(STANDARD_INPUT, tmp_path / "input.csv", reading=Reading(), standard_input=lambda: None)


def test_the_standard_input_of_the_process_is_read(tmp_path: Path) -> None:
    """What is meant by default, in a process of its own."""
    script = (
        "import sys; from pathlib import Path; from bulkredeem.loader import take_snapshot;"
        " from bulkredeem.model import Reading;"
        " print(take_snapshot(Path('-'), Path(sys.argv[1]), reading=Reading()).rows)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "input.csv"], input=PLAIN, capture_output=True, check=True
    )
    assert done.stdout.split() == [b"1"]


def test_a_stop_ends_the_keeping(tmp_path: Path) -> None:
    """A pipe may bring gigabytes."""

    def stop() -> None:
        raise Stopping

    with pytest.raises(Stopping):
        take_snapshot(
            STANDARD_INPUT, tmp_path / "input.csv", reading=Reading(), proceed=stop, standard_input=given(PLAIN)
        )


def test_a_folder_that_keeps_nothing_is_not_the_files_fault(tmp_path: Path) -> None:
    """What is piped is kept where the snapshot goes."""
    with pytest.raises(ReportsFolderError, match=r"^standard input cannot be kept in a temporary file .*No such file"):
        take_snapshot(STANDARD_INPUT, tmp_path / "no" / "input.csv", reading=Reading(), standard_input=given(PLAIN))


class Broken(io.BytesIO):
    """A pipe that breaks."""

    def read(self, _size: int | None = -1, /) -> bytes:
        """Fail as a disk does."""
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_pipe_that_breaks_is_one_sentence(tmp_path: Path) -> None:
    """It names the system's reason."""
    with pytest.raises(InputFileError, match=r"^standard input cannot be read: Input/output error\.$"):
        take_snapshot(STANDARD_INPUT, tmp_path / "input.csv", reading=Reading(), standard_input=Broken)


def test_a_first_look_at_a_pipe() -> None:
    """It takes what is piped, as any other reader would."""
    assert peek(STANDARD_INPUT, Reading(), standard_input=given(PLAIN)).rows == (("A1", "1", "x"),)


def test_a_pipe_with_a_name_is_kept_as_well(tmp_path: Path) -> None:
    """A shell hands over what a command writes as a path."""
    os.mkfifo(tmp_path / "pipe")
    with subprocess.Popen(["/bin/sh", "-c", 'printf "%s\\n" "$0" >"$1"', PLAIN.decode().strip(), tmp_path / "pipe"]):
        intake = take_snapshot(tmp_path / "pipe", tmp_path / "input.csv", reading=Reading())
    assert intake.rows == 1


async def test_standard_input_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its end says that it is whole; a file that is called like it is not meant."""
    monkeypatch.chdir(tmp_path)
    Path("-").write_bytes(PLAIN)  # noqa: ASYNC240  a test that waits for nothing

    async def sleep(_: float) -> None:
        raise AssertionError

    said: list[str] = []
    await await_file(STANDARD_INPUT, wait_for=60, settled_for=60, say=said.append, sleep=sleep)
    assert not said
    assert stamp_of(STANDARD_INPUT) is None


@pytest.mark.parametrize("path", [STANDARD_INPUT, Path(name_of(STANDARD_INPUT))])
def test_standard_input_cannot_be_moved(tmp_path: Path, path: Path) -> None:
    """Neither as it is given nor as a report calls it; no folder is made for nothing."""
    moved = move_away(path, tmp_path / "done", sha256="", run_id="r")
    assert moved.path is None
    assert moved.remark == f"There is no file to move to {tmp_path / 'done'}: the rows came from standard input."
    assert not (tmp_path / "done").exists()
