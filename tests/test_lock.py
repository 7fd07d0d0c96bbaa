"""Who works on a run, with real locks and real processes: one at most, known by name, and gone with its process."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from bulkredeem.errors import BusyError, ExitCode, ReportsFolderError
from bulkredeem.journal import Owner, RunLock, owner_of, user_name
from bulkredeem.journal.lock import LOCK, TRIES

HOLDER = """
import sys
from pathlib import Path
from bulkredeem.journal import RunLock

with RunLock.acquire(Path(sys.argv[1]), now=1_764_000_000.0):
    print("held", flush=True)
    sys.stdin.read()
print("let go", flush=True)
sys.stdin.read()
"""
"""Holds the lock until its standard input ends."""
BYSTANDER = "import sys; print('there', flush=True); sys.stdin.read()"


@contextmanager
def process(code: str, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process and wait for its first line; it does not outlive the test."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        close_fds=False,
    ) as started:
        try:
            assert started.stdout is not None
            assert started.stdout.readline()
            yield started
        finally:
            started.kill()


def no_sleep(_: float) -> None:
    """Wait for nobody."""


def test_the_owner_is_known_by_name(tmp_path: Path) -> None:
    """While somebody works on a run everybody can see who: process, host, and since when."""
    with RunLock.acquire(tmp_path, now=12.5):
        assert owner_of(tmp_path) == Owner(pid=os.getpid(), host=socket.gethostname(), since=12.5, user=user_name())


def test_the_lock_ends_with_its_block(tmp_path: Path) -> None:
    """When the work ends, well or not, nobody is the owner, no name stays behind, and the next one can have it."""
    for _ in range(2):
        with RunLock.acquire(tmp_path, now=1.0), pytest.raises(ZeroDivisionError):
            raise ZeroDivisionError
        assert owner_of(tmp_path) is None
        assert (tmp_path / LOCK).read_bytes() == b""


def test_a_second_one_is_told_who_is_at_work(tmp_path: Path) -> None:
    """Asking again within one process is refused at once, without a wait, and the owner stays the owner."""
    waits: list[float] = []
    with RunLock.acquire(tmp_path, now=12.5):
        with pytest.raises(BusyError) as caught:
            RunLock.acquire(tmp_path, now=99.0, sleep=waits.append)
        assert owner_of(tmp_path) == Owner(pid=os.getpid(), host=socket.gethostname(), since=12.5, user=user_name())
    owner = f"process {os.getpid()} of {user_name()} on {socket.gethostname()}, since"
    assert f"{tmp_path} is being worked on by {owner}" in str(caught.value)
    assert caught.value.exit_code is ExitCode.BUSY
    assert waits == []


def test_a_live_process_holds_it_and_a_killed_one_does_not(tmp_path: Path) -> None:
    """A lock is recognised across processes, and SIGKILL frees it at once, although the name stays in the file."""
    with process(HOLDER, tmp_path) as holder:
        named = Owner(pid=holder.pid, host=socket.gethostname(), since=1_764_000_000.0, user=user_name())
        assert owner_of(tmp_path) == named
        with pytest.raises(BusyError, match=f"process {holder.pid} of {user_name()} on {socket.gethostname()}"):
            RunLock.acquire(tmp_path, now=1.0)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert str(holder.pid) in (tmp_path / LOCK).read_text(), "the name is gone: no rehearsal"
        assert owner_of(tmp_path) is None
        with RunLock.acquire(tmp_path, now=2.0):
            assert owner_of(tmp_path) == Owner(pid=os.getpid(), host=socket.gethostname(), since=2.0, user=user_name())


def test_a_live_process_can_let_go(tmp_path: Path) -> None:
    """The lock is free when its block ends, and not only when its process does."""
    with process(HOLDER, tmp_path) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert owner_of(tmp_path) is not None
        holder.stdin.close()
        assert holder.stdout.readline() == b"let go\n"
        assert owner_of(tmp_path) is None


def test_a_child_does_not_inherit_it(tmp_path: Path) -> None:
    """A process that was started while the lock was held, and lives on, holds nothing."""
    with ExitStack() as processes:
        with RunLock.acquire(tmp_path, now=1.0):
            child = processes.enter_context(process(BYSTANDER))
        assert owner_of(tmp_path) is None
        with RunLock.acquire(tmp_path, now=2.0, sleep=no_sleep):
            pass
        assert child.poll() is None


def test_one_who_looks_is_waited_for(tmp_path: Path) -> None:
    """To look who has the lock holds it for a moment; whoever wants to work then waits, and has it after that."""
    (tmp_path / LOCK).touch()
    looker = os.open(tmp_path / LOCK, os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_SH)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        assert owner_of(tmp_path) is None, "one who waits looks like an owner"
        if len(waits) == TRIES - 1:
            os.close(looker)
            with RunLock.acquire(
                tmp_path,
                now=2.0,
                sleep=no_sleep,
            ):
                assert owner_of(tmp_path) is not None, "one who waits is in the way of another"

    with RunLock.acquire(tmp_path, now=1.0, sleep=sleep):
        assert owner_of(tmp_path) is not None
    assert waits == [0.02] * (TRIES - 1)


def test_one_who_looks_for_ever_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """A looker that was stopped in the middle of looking does not make the next run hang."""
    (tmp_path / LOCK).touch()
    looker = os.open(tmp_path / LOCK, os.O_RDONLY)
    fcntl.flock(looker, fcntl.LOCK_SH)
    with pytest.raises(BusyError, match="a process that has only just begun"):
        RunLock.acquire(tmp_path, now=1.0, sleep=no_sleep)
    os.close(looker)


def test_lookers_never_make_it_fail(tmp_path: Path) -> None:
    """However often others look at a run, whoever wants to work on it gets it."""
    (tmp_path / LOCK).touch()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            owner_of(tmp_path)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(100):
            with RunLock.acquire(tmp_path, now=1.0):
                pass
    finally:
        done.set()
        for looker in lookers:
            looker.join()


def test_two_at_once_are_never_both_owners(tmp_path: Path) -> None:
    """Of many who ask at the same time at most one has the lock at any moment."""
    inside, most = 0, 0
    counting = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(100):
            try:
                with RunLock.acquire(tmp_path, now=1.0):
                    with counting:
                        inside += 1
                        most = max(most, inside)
                    owner_of(tmp_path)
                    with counting:
                        inside -= 1
            except BusyError:
                pass

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert (inside, most) == (0, 1)


def test_the_owner_says_which_run_it_works_on_and_until_when(tmp_path: Path) -> None:
    """Where a lock is for more than one run; when nobody knows how long it will take, none is told."""
    owner = Owner(pid=os.getpid(), host=socket.gethostname(), since=1.0, user=user_name())
    with RunLock.acquire(tmp_path, now=1.0) as lock:
        lock.tell("r-1", 99.5)
        assert owner_of(tmp_path) == replace(owner, run="r-1", until=99.5)
        lock.tell("r-2")
        assert owner_of(tmp_path) == replace(owner, run="r-2", until=0.0)


def test_that_nobody_can_be_told_is_no_reason_not_to_work(
    tmp_path: Path, no_file_beyond: Callable[[int], AbstractContextManager[None]]
) -> None:
    """On a full disk the lock is held all the same."""
    with RunLock.acquire(tmp_path, now=1.0) as lock:
        with no_file_beyond(0):
            lock.tell("r-1")
        assert owner_of(tmp_path) == Owner(pid=0, host="", since=0.0)


def test_an_owner_whose_name_nobody_knows_is_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older version of this did not say whose it was."""
    monkeypatch.setenv("TZ", "UTC")
    words = Owner(pid=7, host="till-7", since=1_764_000_000.0).in_words()
    assert words.startswith("process 7 on till-7, since ")


def test_who_has_no_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container the operating system may know no more."""

    def nobody(_uid: int) -> NoReturn:
        raise KeyError

    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert user_name() == str(os.getuid())


def leave_nothing(_: Path) -> None:
    """Leave no file."""


def leave_an_empty_file(folder: Path) -> None:
    """Leave the file of a run that has ended."""
    (folder / LOCK).touch()


def leave_a_name(folder: Path) -> None:
    """Leave the file of a process that died."""
    (folder / LOCK).write_text('{"pid": 1, "host": "till-7", "since": 1.0}')


def leave_a_folder(folder: Path) -> None:
    """Leave a folder by that name."""
    (folder / LOCK).mkdir()


@pytest.mark.parametrize("leave", [leave_nothing, leave_an_empty_file, leave_a_name, leave_a_folder])
def test_without_a_lock_there_is_no_owner(tmp_path: Path, leave: Callable[[Path], None]) -> None:
    """Whatever stands in the file: when it is not locked nobody works on the run, and looking changes nothing."""
    leave(tmp_path)
    before = sorted(each.name for each in tmp_path.iterdir())
    assert owner_of(tmp_path) is None
    assert sorted(each.name for each in tmp_path.iterdir()) == before


def test_a_folder_that_is_not_there_has_no_owner(tmp_path: Path) -> None:
    """A run that was deleted meanwhile is nobody's."""
    assert owner_of(tmp_path / "gone") is None


@pytest.mark.parametrize("words", [b"", b"half a na", b"[]", b'{"pid": 7}'])
def test_an_owner_without_a_readable_name_is_one(tmp_path: Path, words: bytes) -> None:
    """That the file is locked is what counts; a name that is not there yet, or no name, is said so."""
    (tmp_path / LOCK).write_bytes(words)
    held = os.open(tmp_path / LOCK, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    owner = owner_of(tmp_path)
    assert owner == Owner(pid=0, host="", since=0.0)
    assert owner.in_words() == "a process that has only just begun"
    with pytest.raises(BusyError, match="a process that has only just begun"):
        RunLock.acquire(tmp_path, now=1.0)
    os.close(held)


@pytest.mark.parametrize("leave", [leave_a_folder, lambda folder: folder.rmdir()], ids=["a folder", "no run"])
def test_where_no_lock_can_be_made_it_is_said(tmp_path: Path, leave: Callable[[Path], None]) -> None:
    """Something else by its name, or a run's folder that is gone, is a sentence and exit code 2."""
    folder = tmp_path / "run"
    folder.mkdir()
    leave(folder)
    with pytest.raises(ReportsFolderError, match=r"run\.lock cannot be locked: ") as caught:
        RunLock.acquire(folder, now=1.0)
    assert caught.value.exit_code is ExitCode.COULD_NOT_START


def test_on_a_full_disk_nobody_becomes_the_owner(
    tmp_path: Path, no_file_beyond: Callable[[int], AbstractContextManager[None]]
) -> None:
    """Where not even a name can be written nothing begins, and nothing stays locked."""
    with no_file_beyond(0), pytest.raises(ReportsFolderError, match=r"run\.lock cannot be locked: File too large"):
        RunLock.acquire(tmp_path, now=1.0)
    assert owner_of(tmp_path) is None
    with RunLock.acquire(tmp_path, now=1.0, sleep=no_sleep):
        pass


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system knows no locks no run begins; a run that was copied there can still be looked at."""

    def no_locks(_descriptor: int, _kind: int) -> NoReturn:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(ReportsFolderError, match="cannot be locked: No locks available"):
        RunLock.acquire(tmp_path, now=1.0)
    assert owner_of(tmp_path) is None
