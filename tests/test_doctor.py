"""What `doctor` finds: on the real sandbox, real folders and real certificates."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.application.doctoring import CREDENTIALS, Diagnosis, Finding, Level, Probes, diagnose, others_may_read
from bulkredeem.application.pacing import pace_of
from bulkredeem.application.turn import lock_name
from bulkredeem.cli.doctoring import examine
from bulkredeem.errors import ExitCode
from bulkredeem.journal import RunLock
from bulkredeem.ledger import System
from bulkredeem.sandbox import Sandbox
from bulkredeem.sandbox.replies import Reply
from bulkredeem.settings import Settings, load_settings
from bulkredeem.settings.sources import load_settings_with_origins, problem_with

if TYPE_CHECKING:
    from tests.conftest import Rehearsal, Terminal

HOUR = 3600.0
PAGE = orjson.dumps({"response": {"status": {"success": True}, "customer": {"redemptions": {}}}})


def found(diagnosis: Diagnosis, topic: str) -> list[tuple[Level, str]]:
    """Return what was found about a topic."""
    return [(finding.level, finding.found) for finding in diagnosis.findings if finding.topic == topic]


def worst(diagnosis: Diagnosis, topic: str) -> Finding:
    """Return the finding about a topic that matters most."""
    order = list(Level)
    return max((each for each in diagnosis.findings if each.topic == topic), key=lambda each: order.index(each.level))


async def look(probes: Probes | None = None, **flags: Any) -> Diagnosis:
    """Look at what is configured."""
    return await diagnose(*load_settings_with_origins(flags), probes=probes)


@pytest.fixture
def configured(nothing_configured: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:  # noqa: ARG001  the surrounding
    """Give a sandbox whose address and credentials are in the environment."""
    for name in ("base_url", "username", "password"):
        monkeypatch.setenv(f"BULKREDEEM_{name.upper()}", getattr(sandbox, name))
    return sandbox


# The platform


async def test_all_is_well(configured: Sandbox) -> None:
    """With the right password there is no problem, one question was asked, and nothing was changed."""
    diagnosis = await look()
    assert found(diagnosis, CREDENTIALS)[0][0] is Level.OK
    assert diagnosis.exit_code is ExitCode.DONE
    assert (configured.requests, configured.reads, configured.applied) == (1, 1, [])


async def test_a_wrong_password(configured: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused password is tried once, ends with exit code 4, and is never shown."""
    monkeypatch.setenv("BULKREDEEM_PASSWORD", "loud-Otter-43")
    diagnosis = await look()
    assert worst(diagnosis, CREDENTIALS).level is Level.PROBLEM
    assert "refuses the user name sandbox.till" in worst(diagnosis, CREDENTIALS).found
    assert diagnosis.exit_code is ExitCode.ACCESS_REFUSED
    assert configured.requests == 1
    assert "loud-Otter-43" not in repr(diagnosis)


async def test_a_till_without_permission(configured: Sandbox) -> None:
    """Code 4000 is told apart from wrong credentials, and exits 4, too."""
    configured.permitted = False
    diagnosis = await look()
    assert "does not permit it to ask (4000)" in worst(diagnosis, CREDENTIALS).found
    assert "access group" in worst(diagnosis, CREDENTIALS).remedy
    assert diagnosis.exit_code is ExitCode.ACCESS_REFUSED


async def test_nobody_is_there(configured: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed port is a problem with a remedy, and says nothing of the credentials or the clock."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("BULKREDEEM_BASE_URL", f"http://127.0.0.1:{closed.getsockname()[1]}")
        diagnosis = await look()
    assert "(CONNECTION_FAILED)" in worst(diagnosis, "question").found
    assert "firewall" in worst(diagnosis, "question").remedy
    assert found(diagnosis, CREDENTIALS) == found(diagnosis, "clock") == []
    assert diagnosis.exit_code is ExitCode.COULD_NOT_START
    assert configured.requests == 0


@pytest.mark.parametrize(
    ("reply", "topic", "level", "words"),
    [
        (Reply(status=200, body=PAGE), CREDENTIALS, Level.OK, "Accepted"),
        (Reply(status=404, body=b"{}"), "question", Level.PROBLEM, "nothing of the platform at"),
        (Reply(status=302, body=b""), "question", Level.PROBLEM, "nothing of the platform at"),
        (Reply(status=429, body=b"{}", headers={"Retry-After": "1"}), CREDENTIALS, Level.WARNING, "throttles"),
        (Reply(status=503, body=b""), CREDENTIALS, Level.WARNING, "Not known: the platform answered HTTP 503"),
        (Reply(status=200, body=b"<html>"), CREDENTIALS, Level.WARNING, "Not known: "),
        (Reply(status=200, body=b'{"hello": 1}'), CREDENTIALS, Level.WARNING, "not one of the platform's"),
        (Reply(status=403, body=b"forbidden"), CREDENTIALS, Level.PROBLEM, "does not permit"),
        (
            Reply(status=200, body=b'{"response": {"status": {"success": "false", "code": 401}}}'),
            CREDENTIALS,
            Level.PROBLEM,
            "refuses the user name",
        ),
    ],
)
async def test_other_answers(configured: Sandbox, reply: Reply, topic: str, level: Level, words: str) -> None:
    """What lets nobody know whether the credentials are right is no acceptance."""
    configured.read_faults = lambda _: reply
    finding = worst(await look(), topic)
    assert (finding.level, words in finding.found) == (level, True), finding


@given(
    status=st.integers(200, 599),
    body=st.dictionaries(
        st.sampled_from(["response", "errors", "status", "customer", "item_status", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.sampled_from(["status", "customer", "item_status", "code", "success"]), inner)
            ),
            max_leaves=6,
        ),
        max_size=3,
    ),
)
def test_any_answer_is_a_finding(status: int, body: dict[str, Any]) -> None:
    """Whatever a server says, it comes to a sentence, and what is no yes has a remedy."""
    from bulkredeem.application.doctoring import question  # noqa: PLC0415  its inside
    from bulkredeem.model import Reply as Answer  # noqa: PLC0415  the sandbox has one of that name, too
    from bulkredeem.verdict import judge  # noqa: PLC0415

    answer = Answer(http_status=status, body=body)
    finding = question._access(answer, judge(answer, question._NOBODY), Settings(username="asha"))
    assert finding.found
    assert bool(finding.remedy) is (finding.level is not Level.OK)


async def test_no_slot_in_time(configured: Sandbox) -> None:
    """While others use the pace, nothing is asked, and nobody waits for an hour."""
    flags = {"rate": "1/hour"}
    with pace_of(load_settings(flags)) as (pace, _):
        await pace.slot()
    settings, origins = load_settings_with_origins(flags)
    diagnosis = await diagnose(settings.model_copy(update={"timeout": 0.01}), origins)
    assert worst(diagnosis, CREDENTIALS).found.startswith("Not asked: there was no slot within 0.01 s")
    assert configured.requests == 0


# The clock


@pytest.mark.parametrize(
    ("seconds", "level", "words"),
    [
        (0.0, Level.OK, "agrees"),
        (100.0, Level.WARNING, "ahead of"),
        (HOUR, Level.PROBLEM, "ahead of"),
        (-HOUR, Level.PROBLEM, "behind"),
    ],
)
@pytest.mark.usefixtures("configured")
async def test_a_clock_that_is_off(seconds: float, level: Level, words: str) -> None:
    """The clock of this machine is compared with the date of the answer."""
    finding = worst(await look(Probes(wall_clock=lambda: time.time() + seconds)), "clock")
    assert (finding.level, words in finding.found) == (level, True), finding


async def test_an_answer_without_a_date(configured: Sandbox) -> None:
    """A clock that cannot be compared is not called right."""
    configured.read_faults = lambda _: Reply(status=200, body=PAGE, headers={"Date": "once"})
    assert worst(await look(), "clock").level is Level.WARNING


# Certificates


@dataclass(kw_only=True)
class Secure:
    """A server on 127.0.0.1 that speaks TLS and answers every request with a page."""

    authority: trustme.CA
    base_url: str
    requests: list[bytes]

    def trusted(self) -> Path:
        """Return a file with the certificate of its authority."""
        path = Path("authority.pem")
        self.authority.cert_pem.write_to_path(str(path))
        return path


@pytest.fixture
async def secure(nothing_configured: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[int], Any]]:  # noqa: ARG001  the surrounding
    """Start such a server, with a certificate that ends in so many days, and configure its address."""
    servers: list[asyncio.Server] = []

    async def start(days: int) -> Secure:
        tls, authority, requests = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), trustme.CA(), list[bytes]()
        end = datetime.now(UTC) + timedelta(days=days, hours=1)
        authority.issue_cert("127.0.0.1", not_after=end).configure_cert(tls)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.IncompleteReadError, OSError):
                requests.append(await reader.readuntil(b"\r\n\r\n"))
                date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
                head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nDate: " + date
                writer.write(head + b"\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
        servers.append(server)
        base_url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for name, value in {"base_url": base_url, "username": "asha.till", "password": "quiet-Otter-42"}.items():
            monkeypatch.setenv(f"BULKREDEEM_{name.upper()}", value)
        return Secure(authority=authority, base_url=base_url, requests=requests)

    yield start
    for server in servers:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(("days", "level"), [(90, Level.OK), (3, Level.WARNING)])
async def test_how_long_a_certificate_lasts(secure: Callable[[int], Any], days: int, level: Level) -> None:
    """The days until a certificate ends are told, and a warning comes before that."""
    server = await secure(days)
    finding = worst(await look(ca_bundle=server.trusted()), "connection")
    assert (finding.level, f"ends in {days} days" in finding.found) == (level, True), finding


async def test_a_certificate_that_nobody_trusts(secure: Callable[[int], Any]) -> None:
    """The reason is told, and no credentials are sent."""
    server = await secure(90)
    diagnosis = await look()
    assert "certificate is not accepted: " in worst(diagnosis, "connection").found
    assert diagnosis.exit_code is ExitCode.COULD_NOT_START
    assert server.requests == []


async def test_a_clock_for_which_a_certificate_has_ended(secure: Callable[[int], Any]) -> None:
    """Days are counted by the clock that is asked, also when they are over."""
    server = await secure(90)
    probes = Probes(wall_clock=lambda: time.time() + 100 * 24 * HOUR)
    assert worst(await look(probes, ca_bundle=server.trusted()), "connection").level is Level.WARNING


async def test_nobody_speaks_tls(configured: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """An https address that leads to a plain server is a problem."""
    monkeypatch.setenv("BULKREDEEM_BASE_URL", configured.base_url.replace("http:", "https:"))
    assert worst(await look(), "connection").level is Level.PROBLEM


async def test_a_trusted_platform_by_the_command(
    secure: Callable[[int], Any], unconfigured: Terminal, tmp_path: Path
) -> None:
    """The whole command over TLS, with a certificate that the machine trusts: no problem."""
    server = await secure(90)
    server.authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    names = ("BASE_URL", "USERNAME", "PASSWORD")
    variables = {f"BULKREDEEM_{name}": os.environ[f"BULKREDEEM_{name}"] for name in names}
    terminal = unconfigured.with_variables(**variables, SSL_CERT_FILE=str(tmp_path / "ca.pem"))
    ended = await terminal.run("doctor")
    assert (ended.code, "ends in 90 days" in ended.out) == (0, True), ended


# The machine, without any network


async def test_nothing_is_configured(nothing_configured: Path, sandbox: Sandbox) -> None:  # noqa: ARG001  the surrounding
    """What is missing is named with its remedy, nobody is asked, and the rest is looked at all the same."""
    diagnosis = await look()
    for topic in ("platform", "user name", "password"):
        assert worst(diagnosis, topic).level is Level.PROBLEM
        assert worst(diagnosis, topic).remedy
    assert {finding.topic for finding in diagnosis.findings} > {"versions", "extras", "disk", "ledger", "runs"}
    assert diagnosis.exit_code is ExitCode.COULD_NOT_START
    assert sandbox.requests == 0


@pytest.mark.usefixtures("nothing_configured")
@pytest.mark.parametrize(
    ("free", "level"), [(2 * 10**9, Level.OK), (5 * 10**8, Level.WARNING), (5 * 10**7, Level.PROBLEM)]
)
async def test_the_disk(free: int, level: Level) -> None:
    """Little space is a warning, next to none a problem."""
    assert worst(await look(Probes(free=lambda _: free)), "disk").level is level


@pytest.mark.usefixtures("nothing_configured")
async def test_folders_that_cannot_be_written_to() -> None:
    """Without a reports folder nothing runs; without a state folder the rate is not shared."""
    diagnosis = await look(Probes(may_write=lambda _: False))
    assert worst(diagnosis, "reports folder").level is Level.PROBLEM
    assert "--reports" in worst(diagnosis, "reports folder").remedy
    assert worst(diagnosis, "state folder").level is Level.WARNING


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
async def test_a_reports_folder_that_is_read_only(nothing_configured: Path) -> None:
    """The same by the folder's own permissions."""
    folder = nothing_configured / "reports"
    folder.mkdir(mode=0o500)
    assert worst(await look(), "reports folder").level is Level.PROBLEM


async def test_a_reports_folder_that_is_a_file(nothing_configured: Path) -> None:
    """A file in the folder's place is a problem, also further up in its path."""
    (nothing_configured / "notes").write_text("not a folder")
    for reports in ("notes", "notes/reports"):
        assert "is no folder" in worst(await look(reports=Path(reports)), "reports folder").found


@pytest.mark.usefixtures("configured")
async def test_a_state_folder_that_is_a_file(nothing_configured: Path) -> None:
    """The rate is then not shared; the question is asked all the same."""
    state = nothing_configured / "notes"
    state.write_text("not a folder")
    diagnosis = await look(state_dir=state)
    assert "do not share the rate" in worst(diagnosis, "pace").found
    assert worst(diagnosis, CREDENTIALS).level is Level.OK


@pytest.mark.usefixtures("nothing_configured")
async def test_network_folders() -> None:
    """Both folders should be on this machine."""
    diagnosis = await look(Probes(network_type=lambda _: "nfs4"))
    for topic in ("reports folder", "state folder"):
        finding = worst(diagnosis, topic)
        assert (finding.level, "(nfs4)" in finding.found) == (Level.WARNING, True)


async def test_reports_that_others_may_read(nothing_configured: Path) -> None:
    """Reports hold identifiers: whoever else may read them is a warning."""
    (nothing_configured / "reports").mkdir()
    assert "chmod" in worst(await look(Probes(others_may_read=lambda _: True)), "reports folder").remedy


def test_a_closed_folder_above_keeps_others_out() -> None:
    """A file is open to others only when all folders above it are."""
    # Not in pytest's folder, which is closed to others itself.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        file = Path(name) / "inner" / "file"
        file.parent.mkdir(mode=0o755)
        file.write_text("x")
        file.chmod(0o644)
        Path(name).chmod(0o755)
        assert others_may_read(file)
        assert others_may_read(file.parent)
        Path(name).chmod(0o700)
        assert not others_may_read(file)
        Path(name).chmod(0o755)
        file.chmod(0o640)
        assert not others_may_read(file)


@pytest.mark.usefixtures("nothing_configured")
async def test_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not installed matters only when the settings need it."""
    bare = Probes(is_installed=lambda _: False)
    assert worst(await look(bare), "extras").level is Level.OK
    assert "bulkredeem[xlsx]" in worst(await look(bare, xlsx=True), "extras").remedy
    monkeypatch.setenv("BULKREDEEM_NOTIFY_URLS", "json://127.0.0.1/quiet-Otter-42")
    assert "bulkredeem[notify]" in worst(await look(bare), "extras").remedy


# The password


@pytest.mark.parametrize(("mode", "level"), [(0o600, Level.OK), (0o644, Level.WARNING), (0o640, Level.WARNING)])
async def test_a_password_file(
    nothing_configured: Path, monkeypatch: pytest.MonkeyPatch, mode: int, level: Level
) -> None:
    """A file that others than its owner may read is a warning; what is in it is not shown."""
    path = nothing_configured / "till password"
    path.write_text("quiet-Otter-42\n")
    path.chmod(mode)
    monkeypatch.setenv("BULKREDEEM_PASSWORD_FILE", str(path))
    diagnosis = await look()
    finding = worst(diagnosis, "password")
    assert finding.level is level
    assert "BULKREDEEM_PASSWORD_FILE" in found(diagnosis, "password")[0][1]
    assert finding.remedy in ("", f"Close it: chmod 600 '{path}'")
    assert "Otter" not in repr(diagnosis)


@pytest.mark.parametrize("content", [None, "", "\n"])
async def test_a_password_file_without_a_password(
    nothing_configured: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    """A file that is missing or empty is named."""
    path = nothing_configured / "password"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("BULKREDEEM_PASSWORD_FILE", str(path))
    finding = worst(await look(), "password")
    assert (finding.level, str(path) in finding.found) == (Level.PROBLEM, True)


@pytest.mark.usefixtures("nothing_configured")
async def test_a_password_with_a_blank_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was copied along may be why it is refused."""
    monkeypatch.setenv("BULKREDEEM_PASSWORD", "quiet-Otter-42 ")
    assert "ends with a blank" in worst(await look(), "password").found


# What earlier runs have left


async def test_an_unfinished_run(rehearsal: Rehearsal) -> None:
    """It is named, with what goes on with it."""
    folder = await rehearsal.stopped(rehearsal.file(20))
    finding = worst(await look(), "runs")
    assert (finding.level, folder.name in finding.found) == (Level.WARNING, True)
    assert "bulkredeem resume" in finding.remedy


async def test_finished_runs(rehearsal: Rehearsal) -> None:
    """They are counted, and so is what the ledger knows."""
    await rehearsal.run(rehearsal.file(3))
    diagnosis = await look()
    assert found(diagnosis, "runs") == [(Level.OK, "1 run in reports, none unfinished.")]
    assert worst(diagnosis, "ledger").level is Level.OK


async def test_folders_of_runs_that_are_none(nothing_configured: Path) -> None:
    """One that was never begun and one that cannot be read are told apart."""
    reports = nothing_configured / "reports"
    (reports / "20261126T000000Z-aaaa").mkdir(parents=True)
    (reports / "20261126T000000Z-bbbb").mkdir()
    (reports / "20261126T000000Z-bbbb" / "journal.sqlite").write_text("no journal")
    words = [words for _, words in found(await look(), "runs")]
    assert [each.partition(":")[0] for each in words] == ["Died before anything was sent", "Cannot be read"]


@pytest.mark.skipif(os.geteuid() != 0, reason="nobody but an administrator may give a folder away")
async def test_a_run_that_others_have_put_there(rehearsal: Rehearsal) -> None:
    """It is told apart: `resume` would not go on with it."""
    folder = await rehearsal.stopped(rehearsal.file(20))
    os.chown(folder, 4_000_111, -1)
    assert found(await look(), "runs") == [(Level.WARNING, f"In folders of other users: {folder.name}.")]


async def test_a_damaged_ledger(nothing_configured: Path) -> None:
    """It is a problem, and it is left as it is."""
    ledger = nothing_configured / "reports" / "ledger" / "ledger.sqlite"
    ledger.parent.mkdir(parents=True)
    ledger.write_text("no ledger at all, and long enough to be looked at" * 100)
    before = ledger.read_bytes()
    assert worst(await look(), "ledger").level is Level.PROBLEM
    assert ledger.read_bytes() == before


async def test_another_run_is_under_way(configured: Sandbox, nothing_configured: Path) -> None:
    """Who sends with the same ledger and key is named."""
    folder = nothing_configured / "reports" / "ledger"
    folder.mkdir(parents=True)
    name = lock_name(System.of(configured.base_url, configured.username))
    with RunLock.acquire(folder, now=time.time(), name=name):
        finding = worst(await look(), "other runs")
    assert (finding.level, str(os.getpid()) in finding.found) == (Level.WARNING, True)
    assert worst(await look(), "other runs").level is Level.OK


# Where settings come from


async def test_where_each_setting_comes_from(nothing_configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flag, environment, file, profile and default are told apart, and the strongest is named."""
    file = nothing_configured / "bulkredeem.toml"
    file.write_text(
        'username = "asha.till"\nrate = "1/s"\ntimeout = 3\njson = true\n'
        '[profiles.test]\nenvironment = "test"\ntimeout = 4\n'
    )
    monkeypatch.setenv("BULKREDEEM_RATE", "2/s")
    monkeypatch.setenv("bulkredeem_state_dir", "state")
    settings, origins = load_settings_with_origins({"rate": "3/s", "max_workers": 7, "profile": "test"})
    told = {name: (origin.kind, origin.in_words()) for name, origin in origins.items()}
    assert told["rate"] == ("flag", "--rate")
    assert told["max_workers"] == ("flag", "--max-workers")
    assert told["state_dir"] == ("environment", "BULKREDEEM_STATE_DIR")
    assert told["username"] == ("file", "bulkredeem.toml")
    assert told["environment"] == told["timeout"] == ("file", "bulkredeem.toml [profiles.test]")
    assert told["json_summary"] == ("file", "bulkredeem.toml")
    assert told["reports"] == ("default", "its default")
    assert told.keys() == Settings.model_fields.keys()
    assert (settings.rate, settings.timeout, settings.json_summary) == ("3/s", 4.0, True)


@pytest.mark.usefixtures("nothing_configured")
def test_a_value_is_judged_whatever_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at one value neither reads the environment nor stumbles over it."""
    monkeypatch.setenv("BULKREDEEM_TIMEOUT", "never")
    assert problem_with("rate", "20/s") == ""
    assert "is not a rate" in problem_with("rate", "fast")
    assert "is http" in problem_with("base_url", "http://eu.api.example.com")


# The command


async def test_one_json_object(configured: Sandbox, terminal: Terminal) -> None:
    """With --json, standard output holds one object, and no secret is anywhere."""
    secrets = {
        "BULKREDEEM_NOTIFY_URLS": "json://asha:deep-Heron-7@127.0.0.1/hook",
        "BULKREDEEM_PING_URL": "https://example.com/ping/tall-Crane-9",
    }
    ended = await terminal.with_variables(**secrets).run("doctor", "--json", "--rate", "20/s")
    assert ended.code == 0, ended
    (told,) = ended.objects
    assert told["settings"]["rate"] == {"value": "20/s", "from": "flag", "name": "--rate", "profile": None}
    assert told["settings"]["password"]["value"] is told["settings"]["notify_urls"]["value"] is None
    assert told["settings"]["notify_urls"]["from"] == "environment"
    assert {finding["level"] for finding in told["findings"]} <= {"ok", "warning", "problem"}
    assert (told["problems"], told["exit_code"]) == (0, 0)
    assert terminal.leaks(configured.username, configured.password, "deep-Heron-7", "tall-Crane-9") == []


async def test_for_people(configured: Sandbox, terminal: Terminal) -> None:
    """Each thing is a line, and the last one says what it comes to."""
    configured.permitted = False
    ended = await terminal.run("doctor")
    lines = ended.out.splitlines()
    assert ended.code == 4
    assert "  username = sandbox.till, from BULKREDEEM_USERNAME" in lines
    assert any(line.startswith("problem  credentials: ") for line in lines)
    assert lines[-1] == "1 problem: mend what is a problem before the first run."
    assert terminal.leaks(configured.username, configured.password) == []


async def test_settings_that_are_no_text(terminal: Terminal) -> None:
    """Bytes that are no text in a variable, and characters that no path has, are findings and no error of ours."""
    (terminal.folder / "bulkredeem.toml").write_text('state_dir = "a\\u0000b"\n')
    odd = {"BULKREDEEM_USERNAME": os.fsdecode(b"\xff"), "BULKREDEEM_REPORTS": os.fsdecode(b"r\xfe")}
    ended = await terminal.with_variables(**odd).run("doctor", "--json")
    assert (ended.code, ended.objects[0]["settings"]["reports"]["value"]) == (2, "r?"), ended
    topics = {finding["topic"] for finding in ended.objects[0]["findings"] if finding["level"] == "problem"}
    assert topics == {"question"}


async def test_quietly(terminal: Terminal) -> None:
    """With --quiet, only what matters is said."""
    ended = await terminal.run("doctor", "--quiet")
    assert (ended.code, ended.out) == (0, "No problem.\n")


@pytest.mark.usefixtures("configured")
async def test_ctrl_c_while_it_waits_for_a_slot(capfd: pytest.CaptureFixture[str]) -> None:
    """Nobody has to wait for the pace."""
    flags = {"rate": "1/hour"}
    with pace_of(load_settings(flags)) as (pace, _):
        await pace.slot()
    examining = asyncio.create_task(examine(*load_settings_with_origins(flags)))
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGINT)
    assert await examining is ExitCode.STOPPED_EARLY
    assert "Stopped before the platform was asked." in capfd.readouterr().out
