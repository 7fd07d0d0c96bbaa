"""Who may read what is written, and that no link leads out of the reports folder: on real files, whatever the umask."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from bulkredeem.application import dry_run, find_run, report_run, runs_in
from bulkredeem.application.absorbing import ledger_folder, opened_ledger
from bulkredeem.application.comparing import compare_file
from bulkredeem.application.splitting import split_run
from bulkredeem.database import choose_mode, connect
from bulkredeem.errors import (
    BulkRedeemError,
    JournalUnreadableError,
    LedgerError,
    ReportError,
    ReportsFolderError,
    RunNotFoundError,
)
from bulkredeem.journal import Journal, RunLock, owner_of
from bulkredeem.loader import read_rows, take_snapshot
from bulkredeem.model import Reading
from bulkredeem.notices.memory import MemoryUnreadableError, Remembered, recall, remember
from bulkredeem.report import LATEST, make_run_folder, point_latest_to
from bulkredeem.runlog import RunLog
from bulkredeem.snapshot import copy_records, read_headers
from bulkredeem.wholefile import (
    bytes_of,
    close_to_others,
    descriptor_of,
    make_folder,
    opened_to_read,
    opened_to_write,
    require_folder,
    whole_path,
    whole_text,
)
from tests.conftest import Rehearsal, Witness

NOW = 1_790_000_000.0
SECRET = "Asha's own\n"


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=["umask 0", "umask 022", "umask 077"])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Set what the process takes from the permissions of whatever it makes."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode_of(path: Path) -> int:
    """Return the permissions of a file or a folder, not those of what a link leads to."""
    return stat.S_IMODE(path.lstat().st_mode)


def open_to_others(folder: Path) -> list[str]:
    """Return what in and below a folder has other permissions than its owner's alone; links have none."""
    found = [path for path in sorted((folder, *folder.rglob("*"))) if not path.is_symlink()]
    wanted = {path: 0o700 if path.is_dir() else 0o600 for path in found}
    modes = {path: mode_of(path) & 0o777 for path in found}
    return [f"{modes[path]:o} {path.relative_to(folder)}" for path in found if modes[path] != wanted[path]]


def made(folder: Path, mode: int = 0o755) -> Path:
    """Make a folder with these permissions, whatever the umask, and return it."""
    folder.mkdir()
    folder.chmod(mode)
    return folder


Use = tuple[str, Callable[[Path], object], type[Exception]]
USES: tuple[Use, ...] = (
    ("run.log", lambda folder: RunLog(folder, run_id="r", level="info"), ReportError),
    ("run.lock", lambda folder: RunLock.acquire(folder, now=NOW), ReportsFolderError),
    ("journal.sqlite", lambda folder: Journal.open_existing(folder / "journal.sqlite"), JournalUnreadableError),
    ("journal.sqlite", lambda folder: Journal.open_to_read(folder / "journal.sqlite"), JournalUnreadableError),
    (
        "input.csv",
        lambda folder: take_snapshot(folder / "f.csv", folder / "input.csv", reading=Reading()),
        ReportsFolderError,
    ),
    ("input.csv", lambda folder: read_headers(folder / "input.csv"), OSError),
    (".last-notice.json", lambda folder: recall(folder, "here"), MemoryUnreadableError),
    ("ledger/ledger.sqlite", lambda folder: opened_ledger(folder).__enter__(), LedgerError),
)
"""A name in a folder, who opens what is there, and the error when that is none of ours."""


class TestOfOneFile:
    """What every file and folder of ours is made with."""

    def test_a_file_that_is_written_whole_is_its_owners_alone(self, tmp_path: Path, umask: int) -> None:
        """Also while it is written, and also where an older one was open to all."""
        path = tmp_path / "a.txt"
        path.touch(0o666)
        with whole_text(path) as file:
            file.write("x")
            assert mode_of(tmp_path / ".a.txt.part") == 0o600, umask
        assert mode_of(path) == 0o600

    def test_a_file_that_a_library_writes_is_its_owners_alone(self, tmp_path: Path, umask: int) -> None:
        """It has its permissions before the library opens it."""
        with whole_path(tmp_path / "a.txt") as aside:
            assert mode_of(aside) == 0o600, umask
            aside.write_text("x")
        assert mode_of(tmp_path / "a.txt") == 0o600

    def test_a_text_that_is_opened_is_its_owners_alone(self, tmp_path: Path, umask: int) -> None:
        """One that is there keeps what it has; line ends stay."""
        with opened_to_write(tmp_path / "a.txt") as file:
            file.write("a\r\n")
        with opened_to_write(tmp_path / "a.txt", append=True) as file:
            file.write("b\n")
        assert mode_of(tmp_path / "a.txt") == 0o600, umask
        assert bytes_of(tmp_path / "a.txt") == b"a\r\nb\n"
        with opened_to_read(tmp_path / "a.txt") as file:
            assert file.read() == "a\r\nb\n"

    def test_a_folder_is_its_owners_alone_and_one_that_is_there_stays(self, tmp_path: Path, umask: int) -> None:
        """Those above it that are missing are made as is usual: they may be anybody's."""
        make_folder(tmp_path / "above" / "ours")
        assert mode_of(tmp_path / "above" / "ours") == 0o700
        assert mode_of(tmp_path / "above") == 0o777 & ~umask
        shared = made(tmp_path / "shared", 0o2775)
        require_folder(shared)
        assert mode_of(shared) == 0o2775
        with pytest.raises(FileExistsError):
            make_folder(shared)

    def test_a_database_and_what_sqlite_puts_beside_it_are_their_owners_alone(self, tmp_path: Path, umask: int) -> None:
        """The log and the shared memory, and the rollback journal on a network folder."""
        for network in (False, True):
            folder = tmp_path / str(network)
            make_folder(folder)
            with closing(connect(folder / "a.sqlite")) as connection:
                choose_mode(connection, network=network)
                connection.execute("CREATE TABLE t (x)")
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO t VALUES (1)")
                beside = {path.name for path in folder.iterdir()}
                assert beside == {"a.sqlite", *(["a.sqlite-journal"] if network else ["a.sqlite-wal", "a.sqlite-shm"])}
                assert open_to_others(folder) == [], umask

    def test_a_database_that_cannot_be_made_is_sqlites_complaint(self, tmp_path: Path) -> None:
        """Nothing else is raised than before."""
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            connect(tmp_path / "nowhere" / "a.sqlite")
        with pytest.raises(sqlite3.OperationalError, match="unable to open"):
            connect(tmp_path / "a.sqlite", mode="rw")
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_of_an_older_version_is_closed(self, tmp_path: Path) -> None:
        """Not one behind a link, and one that is not there is nothing to complain about."""
        old, link = tmp_path / "old", tmp_path / "link"
        old.mkdir(0o755)
        link.symlink_to(old)
        for other in (link, tmp_path / "nowhere"):
            close_to_others(other)
            assert mode_of(old) == 0o755
        close_to_others(old)
        assert mode_of(old) == 0o700


class TestOfRuns:
    """What a command leaves on the disk."""

    async def test_all_that_a_run_makes_is_its_owners_alone(self, rehearsal: Rehearsal, umask: int) -> None:
        """Also while it goes on: journal and its log, lock, snapshot, ledger."""
        seen: list[list[str]] = []
        witness: Witness = rehearsal.witness(
            when=lambda _: len(witness.seen) > 2,
            act=lambda folder: seen.append(
                [*open_to_others(folder.parent), *map(str, folder.glob("journal.sqlite-*"))]
            ),
        )
        path = rehearsal.file(8)
        with path.open("a", encoding="utf-8") as file:
            file.write("AB9999,,\nAB9998,,\n")
        run = await rehearsal.run(path, rehearsal.terms(witness), xlsx=True)
        ((*others, wal, shm),) = [sorted(each, key=lambda text: "journal" in text) for each in seen]
        assert others == [], umask
        assert {wal.rpartition("-")[2], shm.rpartition("-")[2]} == {"wal", "shm"}
        split_run(run.folder, "reason", NOW)
        report_run(run.folder, NOW)
        dry_run(path, rehearsal.settings())
        await compare_file(path, rehearsal.settings(), rehearsal.terms())
        remember(run.folder.parent, "here", Remembered(exit_code=1))
        names = {each.name for each in run.folder.iterdir()}
        assert {"split", "results.xlsx", "report.html", "run.log", "input.csv", "run.lock", "summary.json"} <= names
        assert open_to_others(run.folder.parent) == []

    async def test_a_reports_folder_that_is_there_keeps_its_permissions(self, rehearsal: Rehearsal, umask: int) -> None:
        """Several people may use it; what a run makes in it is its owner's alone all the same."""
        reports = made(Path("reports"), 0o2775)
        run = await rehearsal.run(rehearsal.file(3))
        assert mode_of(reports) == 0o2775
        assert open_to_others(run.folder) == [], umask
        assert open_to_others(reports / "ledger") == []

    async def test_a_run_of_an_older_version_is_closed_when_it_is_gone_on_with(self, rehearsal: Rehearsal) -> None:
        """Its folder was open to all; what lay in it cannot be reached by others then."""
        folder = await rehearsal.stopped(rehearsal.file(9))
        folder.chmod(0o755)
        (folder / "run.log").chmod(0o644)
        await rehearsal.resume(folder)
        assert mode_of(folder) == 0o700

    def test_what_a_killed_process_left_aside_does_not_lend_its_permissions(self, tmp_path: Path) -> None:
        """A half-written file that was open to all is not written on."""
        (tmp_path / ".a.txt.part").touch()
        (tmp_path / ".a.txt.part").chmod(0o666)
        with whole_text(tmp_path / "a.txt") as file:
            file.write("x")
        assert mode_of(tmp_path / "a.txt") == 0o600


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Return a file outside of every folder of ours, which nobody is to read or change."""
    path = tmp_path / "elsewhere"
    path.write_text(SECRET)
    return path


def put(link: Path, target: Path) -> None:
    """Put a link in the place of a file, as somebody would who may write into its folder."""
    with suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(target)


class TestLinksInPlaceOfFiles:
    """Whoever may write into a folder of ours must not make us write or read elsewhere."""

    @pytest.mark.parametrize("name", ["a.txt", ".a.txt.part"])
    def test_a_link_under_the_name_of_a_report_is_replaced(self, tmp_path: Path, elsewhere: Path, name: str) -> None:
        """Under its own name, and under the one that it has while it is written."""
        put(tmp_path / name, elsewhere)
        with whole_text(tmp_path / "a.txt") as file:
            file.write("ours")
        assert elsewhere.read_text() == SECRET
        assert not (tmp_path / "a.txt").is_symlink()
        assert (tmp_path / "a.txt").read_text() == "ours"

    def test_a_link_that_comes_while_a_report_is_written_is_an_error(self, tmp_path: Path, elsewhere: Path) -> None:
        """The library has written elsewhere then, for it opens its file itself; the report is none all the same."""
        with (
            pytest.raises(ReportError, match=r"a\.txt could not be written: it is a link"),
            whole_path(tmp_path / "a.txt") as aside,
        ):
            put(aside, elsewhere)
        assert elsewhere.read_text() == SECRET
        assert not os.path.lexists(tmp_path / "a.txt")

    @pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_TRUNC])
    @pytest.mark.parametrize("is_there", [True, False])
    def test_no_file_of_ours_is_opened_through_a_link(
        self,
        tmp_path: Path,
        elsewhere: Path,
        flags: int,
        is_there: bool,  # noqa: FBT001  a column of the table
    ) -> None:
        """To whatever end, and whether or not it leads anywhere."""
        put(tmp_path / "a.txt", elsewhere if is_there else tmp_path / "nowhere")
        with pytest.raises(OSError, match="it is a link, which might lead anywhere"):
            descriptor_of(tmp_path / "a.txt", flags)
        assert elsewhere.read_text() == SECRET
        assert not (tmp_path / "nowhere").exists()

    @pytest.mark.parametrize(
        ("name", "use", "error"),
        [
            *USES,
            ("input.csv", lambda folder: copy_records(folder / "f.csv", folder / "input.csv", bool), OSError),
            ("ledger", ledger_folder, ReportsFolderError),
        ],
        ids=str,
    )
    def test_a_link_is_refused_in_a_sentence(
        self, tmp_path: Path, elsewhere: Path, name: str, use: Callable[[Path], object], error: type[Exception]
    ) -> None:
        """And what it leads to stays as it is, and unread."""
        reports = tmp_path / "reports"
        reports.mkdir()
        (reports / "f.csv").write_text("redemptionId,identifierValue,billNumber\nA1,1,x\n")
        (reports / name).parent.mkdir(exist_ok=True)
        put(reports / name, tmp_path if name == "ledger" else elsewhere)
        before = sorted(tmp_path.iterdir())
        with pytest.raises(error) as caught:
            use(reports)
        assert elsewhere.read_text() == SECRET
        assert sorted(tmp_path.iterdir()) == before
        if isinstance(caught.value, BulkRedeemError) and error is not MemoryUnreadableError:
            assert "it is a link" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_link_for_a_lock_says_nothing_of_who_has_it(self, tmp_path: Path, elsewhere: Path) -> None:
        """Whoever only looks is not led elsewhere either."""
        put(tmp_path / "run.lock", elsewhere)
        assert owner_of(tmp_path) is None

    @pytest.mark.parametrize("suffix", ["-wal", "-journal", "-shm"])
    def test_a_link_beside_a_database_is_not_followed(self, tmp_path: Path, elsewhere: Path, suffix: str) -> None:
        """SQLite refuses it, or does without the file."""
        with closing(connect(tmp_path / "a.sqlite")) as connection:
            choose_mode(connection, network=suffix == "-journal")
            connection.execute("CREATE TABLE t (x)")
        put(tmp_path / f"a.sqlite{suffix}", elsewhere)
        with suppress(sqlite3.Error), closing(connect(tmp_path / "a.sqlite")) as connection:
            connection.execute("INSERT INTO t VALUES (1)")
            connection.commit()
        assert elsewhere.read_text() == SECRET

    def test_a_snapshot_that_became_a_link_is_not_read(self, tmp_path: Path, elsewhere: Path) -> None:
        """The rows that are sent come from the run's own copy, and from nowhere else."""
        source = tmp_path / "f.csv"
        source.write_text("redemptionId,identifierValue,billNumber\nA1,1,x\n")
        intake = take_snapshot(source, tmp_path / "input.csv", reading=Reading())
        (tmp_path / "input.csv").rename(elsewhere)
        put(tmp_path / "input.csv", elsewhere)
        with pytest.raises(BulkRedeemError, match=r"input\.csv cannot be read any more"):
            list(read_rows(tmp_path / "input.csv", intake.columns))

    async def test_links_among_the_reports_of_a_run_are_replaced(self, rehearsal: Rehearsal, elsewhere: Path) -> None:
        """Every report is written anew, and none through a link."""
        run = await rehearsal.run(rehearsal.file(3), xlsx=True)
        names = ("results.csv", "not_done.csv", "summary.json", "report.html", "../index.html")
        for name in names:
            put(run.folder / name, elsewhere)
        report_run(run.folder, NOW)
        assert bytes_of(elsewhere).decode() == SECRET
        assert [name for name in names[:4] if (run.folder / name).is_symlink()] == []

    async def test_a_split_does_not_follow_its_folder(self, rehearsal: Rehearsal, tmp_path: Path) -> None:
        """Nothing is taken away there, and nothing is written there."""
        folder = await rehearsal.stopped(rehearsal.file(9))
        other = tmp_path / "other"
        (other / ".part").mkdir(parents=True)
        (other / ".part" / "mine").touch()
        put(folder / "split", other)
        with pytest.raises(ReportError, match="split could not be written: it is a link"):
            split_run(folder, "status", NOW)
        assert [path.name for path in other.rglob("*")] == [".part", "mine"]

    async def test_a_summary_that_is_a_link_tells_the_page_of_all_runs_nothing(
        self, rehearsal: Rehearsal, elsewhere: Path
    ) -> None:
        """The journal is asked instead."""
        run = await rehearsal.run(rehearsal.file(3))
        told = (run.folder / "summary.json").read_text().replace("fixes.csv", "somebody-elses.csv")
        with opened_to_write(elsewhere) as file:
            file.write(told)
        put(run.folder / "summary.json", elsewhere)
        other = await rehearsal.run(rehearsal.file(4), same_file="ok")
        page = (other.folder.parent / "index.html").read_text()
        assert run.folder.name in page
        assert "somebody-elses" not in page


def not_in_time(*_: object) -> None:
    """Fail a test that waits."""
    raise AssertionError("it waited")


@pytest.fixture
def in_time() -> Iterator[None]:
    """See to it that what waits for ever fails: an error that is raised into a call that waits ends it."""
    before = signal.signal(signal.SIGALRM, not_in_time)
    signal.setitimer(signal.ITIMER_REAL, 20)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def put_pipe(path: Path) -> None:
    """Put a named pipe in the place of a file, at whose other end is nobody."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def put_socket(path: Path) -> None:
    """Put a socket there."""
    with socket.socket(socket.AF_UNIX) as made_here:
        made_here.bind(str(path))


def put_device(path: Path) -> None:
    """Put there what swallows all and never ends: only an administrator can."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("nobody but an administrator may make a device")


@pytest.mark.usefixtures("in_time")
class TestWhatIsNoFile:
    """A pipe keeps its reader waiting for ever; whoever may write into a folder of ours must not stop us by one."""

    @pytest.mark.parametrize(
        ("put_there", "words"),
        [
            (put_pipe, "it is no file, but a named pipe"),
            (put_socket, "it is no file, but a socket"),
            (put_device, "it is no file, but a device"),
            (Path.mkdir, "Is a directory"),
        ],
    )
    @pytest.mark.parametrize(
        "flags", [os.O_RDONLY, os.O_RDWR, os.O_WRONLY, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_RDWR | os.O_CREAT]
    )
    def test_nothing_else_is_opened_for_a_file(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        put_there: Callable[[Path], object],
        words: str,
        flags: int,
    ) -> None:
        """To whatever end, and at once."""
        monkeypatch.chdir(tmp_path)  # the name of a socket must be short
        put_there(Path("a"))
        before = len(list(Path("/dev/fd").iterdir()))
        with pytest.raises(OSError, match=words):
            descriptor_of(Path("a"), flags)
        assert len(list(Path("/dev/fd").iterdir())) == before

    def test_a_file_is_opened_as_ever(self, tmp_path: Path) -> None:
        """What is read and written through it does not hang on how it was opened."""
        descriptor = descriptor_of(tmp_path / "a", os.O_RDWR | os.O_CREAT)
        os.write(descriptor, b"x" * (1 << 20))
        os.close(descriptor)
        assert bytes_of(tmp_path / "a") == b"x" * (1 << 20)

    @pytest.mark.parametrize(
        ("name", "use", "error"),
        [
            *USES,
            ("ledger/ledger.sqlite-journal", lambda folder: opened_ledger(folder).__enter__(), LedgerError),
            ("ledger/ledger.sqlite-wal", lambda folder: opened_ledger(folder).__enter__(), LedgerError),
        ],
        ids=str,
    )
    def test_a_pipe_is_refused_in_a_sentence(
        self, tmp_path: Path, name: str, use: Callable[[Path], object], error: type[Exception]
    ) -> None:
        """It stays where it is."""
        (tmp_path / "f.csv").write_text("redemptionId,identifierValue,billNumber\nA1,1,x\n")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        if name.startswith("ledger/ledger.sqlite-"):
            with opened_ledger(tmp_path):
                pass
        put_pipe(tmp_path / name)
        with pytest.raises(error) as caught:
            use(tmp_path)
        assert stat.S_ISFIFO((tmp_path / name).lstat().st_mode)
        if error is not MemoryUnreadableError:
            assert "it is no file, but a named pipe" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_pipe_for_a_lock_says_nothing_of_who_has_it(self, tmp_path: Path) -> None:
        """Whoever only looks does not wait either."""
        put_pipe(tmp_path / "run.lock")
        assert owner_of(tmp_path) is None

    async def test_pipes_among_the_reports_of_a_run_are_replaced(self, rehearsal: Rehearsal) -> None:
        """Every report is written anew, and what was remembered between commands is written anew, too."""
        run = await rehearsal.run(rehearsal.file(3), xlsx=True)
        names = ("results.csv", "not_done.csv", "summary.json", "report.html", "results.xlsx", "../index.html")
        for name in names:
            put_pipe(run.folder / name)
        assert report_run(run.folder, NOW).remarks == ()
        put_pipe(run.folder.parent / ".last-notice.json")
        remember(run.folder.parent, "here", Remembered(exit_code=1))
        assert all((run.folder / name).is_file() for name in (*names, "../.last-notice.json"))

    async def test_a_folder_full_of_pipes_keeps_no_other_run_waiting(self, rehearsal: Rehearsal) -> None:
        """It is listed as one that cannot be read, on the page of all runs, too."""
        run = await rehearsal.run(rehearsal.file(3))
        strange = run.folder.with_name("20260101T000000Z-dead")
        strange.mkdir()
        for path in run.folder.iterdir():
            put_pipe(strange / path.name)
        other = await rehearsal.run(rehearsal.file(4), same_file="ok")
        assert other.folder.name in (other.folder.parent / "index.html").read_text()
        (found,) = (each for each in runs_in(run.folder.parent) if each.folder == strange)
        assert "it is no file, but a named pipe" in found.problem
        with pytest.raises(RunNotFoundError, match="There is no run"):
            find_run(run.folder.parent, strange.name)


class TestLinksInPlaceOfRuns:
    """A run is found in the reports folder, or by the path that a person gives, and nowhere else."""

    @pytest.fixture
    async def outside(self, rehearsal: Rehearsal, tmp_path: Path) -> Path:
        """Return the folder of a run that is unfinished and not in the reports folder."""
        folder = await rehearsal.stopped(rehearsal.file(9))
        moved: Path = folder.rename(made(tmp_path / "moved") / folder.name)
        return moved

    async def test_a_link_to_a_run_elsewhere_is_no_run(self, outside: Path) -> None:
        """It is neither listed nor found by its name, nor through `latest`; its folder's own path is followed."""
        reports = Path("reports")
        put(reports / outside.name, outside)
        assert runs_in(reports) == []
        for name in (outside.name, f"reports/{outside.name}"):
            with pytest.raises(RunNotFoundError, match="is a link that leads out of the reports folder"):
                find_run(reports, name)
        with pytest.raises(RunNotFoundError, match="There is no run"):
            find_run(reports, outside.name[:10])
        put(reports / LATEST, outside)
        with pytest.raises(RunNotFoundError, match="is a link that leads out"):
            find_run(reports, LATEST)
        assert find_run(reports, str(outside)) == outside
        put(Path("mine"), outside)
        assert find_run(reports, "mine") == outside

    async def test_latest_is_replaced_wherever_it_leads(self, rehearsal: Rehearsal, tmp_path: Path) -> None:
        """It is written as a link, and never written through."""
        reports, other = made(Path("reports")), made(tmp_path / "other")
        put(reports / LATEST, other)
        run = await rehearsal.run(rehearsal.file(3))
        assert (reports / LATEST).resolve() == run.folder.resolve()
        assert list(other.iterdir()) == []
        assert find_run(reports, LATEST) == run.folder

    def test_a_run_is_never_made_where_something_is(self, tmp_path: Path) -> None:
        """A link under its name is an error, also one that leads nowhere."""
        put(tmp_path / "r", tmp_path / "nowhere")
        with pytest.raises(ReportsFolderError, match="No folder for reports can be made"):
            make_run_folder(tmp_path, "r")
        point_latest_to(tmp_path / "r")
        assert not (tmp_path / "nowhere").exists()
