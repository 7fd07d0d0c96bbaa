"""Nights that report themselves, to real receivers on this machine; and what happens when those do not behave."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from bulkredeem.codes import MendBy
from bulkredeem.errors import ConfigurationError, ExitCode
from bulkredeem.model import Status
from bulkredeem.notices import AS_PLANNED, MEMORY, Ended, EndedRun, Notices, notice_of, require
from bulkredeem.notices.metrics import write_metrics
from bulkredeem.notices.ping import Ping, require_address
from bulkredeem.notices.sending import Surroundings
from bulkredeem.notices.words import LONGEST
from bulkredeem.settings import Settings
from bulkredeem.summary import Ending, ErrorGroup, RunInfo, RunState, Summary, closing_sentence, next_steps

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it speaks of a way to pass passwords that is not used here
    from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

SECRET = "t0p-s3cret"
BEGAN = 1_800_000_000.0
ANSWERS_SOON = 20.0
"""Seconds; what answers at all answers long before that, on a busy machine too."""
NOT_LONG = 0.3
"""Seconds that are given to what never answers."""

SettingsMaker = Callable[..., Settings]


@pytest.fixture(name="configured")
def _configured(nothing_configured: Path) -> SettingsMaker:
    """Make settings whose reports folder is there."""
    (nothing_configured / "reports").mkdir()

    def make(**changes: Any) -> Settings:
        return Settings(**changes)

    return make


def ended_run(run_id: str = "20270115T080000Z-0a1b", **counts: int) -> EndedRun:
    """Return a run that came to its end with these counts."""
    by_status = {status: counts.get(status, 0) for status in Status}
    finished = Ending(
        state=RunState.FINISHED,
        finished_at=BEGAN + 60,
        requests=sum(by_status.values()),
        exit_code=ExitCode.NOT_ALL_DONE if by_status[Status.REFUSED] else ExitCode.DONE,
    )
    summary = Summary(
        info=RunInfo(
            run_id=run_id, path="in/fixes.csv", sha256="0" * 64, rows=sum(by_status.values()), started_at=BEGAN
        ),
        counts=by_status,
        top_errors=tuple(
            ErrorGroup(code="750", message="redemption <redemptionId> is reversed", count=count, example_rows=(7,))
            for count in [by_status[Status.REFUSED]]
            if count
        ),
        mend_by={MendBy.DATA_TEAM: by_status[Status.REFUSED]} if by_status[Status.REFUSED] else {},
        ending=finished,
    )
    folder = f"reports/{run_id}"
    return EndedRun(
        folder=Path(folder),
        summary=summary,
        sentence=closing_sentence(summary, folder),
        steps=next_steps(summary, folder),
        throttled=3,
    )


def ended(code: ExitCode = ExitCode.NOT_ALL_DONE, **changes: Any) -> Ended:
    """Return what became of a command over one file; of ten rows four were refused, if some are not done."""
    refused = 4 if code == ExitCode.NOT_ALL_DONE else 0
    usual = Ended(
        exit_code=code,
        reports=Path("reports"),
        began_at=BEGAN,
        finished_at=BEGAN + 61.5,
        environment="production",
        runs=(ended_run(success=10 - refused, refused=refused),),
    )
    return replace(usual, **changes)


@dataclass
class Listener:
    """An HTTP server that keeps what was asked of it."""

    port: int = 0
    answers: list[int] = field(default_factory=list)
    """The statuses that it answers with, one after another; 200 when there are none left."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path (with its query) and body."""
    location: str = ""
    """Where its answers say that it is elsewhere."""

    def url(self, path: str = f"/ping/{SECRET}", scheme: str = "http") -> str:
        """Return an address of it."""
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    async def answer(self, request: web.Request) -> web.Response:
        """Keep what is asked, and answer as ordered."""
        self.asked.append((request.path_qs, await request.text()))
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers={"Location": self.location} if self.location else {})


@asynccontextmanager
async def served(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[int]:
    """Serve on a free port of this machine, which is given."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    assert isinstance(site._server, asyncio.Server)
    yield site._server.sockets[0].getsockname()[1]
    await runner.cleanup()


@pytest.fixture(name="listener")
async def _listener() -> AsyncIterator[Listener]:
    """Give a server that answers."""
    listener = Listener()
    async with served(listener.answer) as listener.port:
        yield listener


@pytest.fixture(name="hanging_port")
async def _hanging_port() -> AsyncIterator[int]:
    """Give the port of a server that takes what it is sent and never answers."""
    let_go = asyncio.Event()

    async def never(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await let_go.wait()
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    let_go.set()
    server.close()
    await server.wait_closed()


@pytest.fixture(name="resetting_port")
async def _resetting_port() -> AsyncIterator[int]:
    """Give the port of a server that drops each connection."""

    async def drop(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(drop, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


class Mailbox:
    """A mail server that keeps what it was sent, by whoever knows the password."""

    def __init__(self) -> None:
        """Begin empty."""
        self.envelopes: list[Envelope] = []
        self.port = 0

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd calls it so
        """Take a mail."""
        self.envelopes.append(envelope)
        return "250 OK"

    def knows(self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: Any) -> AuthResult:
        """Say whether somebody knows the password."""
        is_right = isinstance(given, LoginPassword) and given.password == SECRET.encode()
        return AuthResult(success=is_right, handled=is_right)

    def url(self, password: str = SECRET) -> str:
        """Return the address by which mail goes to it."""
        return f"mailto://till:{password}@127.0.0.1:{self.port}?from=till@example.com&to=ops@example.com"


@pytest.fixture(name="mailbox")
async def _mailbox() -> AsyncIterator[Mailbox]:
    """Give a mail server on this machine, without TLS."""
    mailbox = Mailbox()

    def serve() -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of passwords without TLS, which are wanted here
            return SMTP(mailbox, authenticator=mailbox.knows, auth_require_tls=False, auth_required=True)

    server = await asyncio.get_running_loop().create_server(serve, "127.0.0.1", 0)
    mailbox.port = server.sockets[0].getsockname()[1]
    yield mailbox
    server.close()
    await server.wait_closed()


def write(path: Path, text: str) -> None:
    """Write a small file."""
    path.write_text(text, encoding="utf-8")


def remove_folder(path: Path) -> None:
    """Remove an empty folder."""
    path.rmdir()


def names_in(folder: Path) -> list[str]:
    """Return the names of what is in a folder."""
    return sorted(entry.name for entry in folder.iterdir())


async def no_sleep(_seconds: float) -> None:
    """Wait for nothing."""


def notices(settings: Settings, limit: float = ANSWERS_SOON) -> Notices:
    """Make the notices of a command that do not wait between tries."""
    return Notices(settings, limit=limit, sleep=no_sleep)


# Pings


async def test_a_beginning_is_pinged(configured: SettingsMaker, listener: Listener) -> None:
    """With nothing to say yet."""
    assert await notices(configured(ping_url=listener.url())).began() == ()
    assert listener.asked == [(f"/ping/{SECRET}/start", "")]


async def test_a_success_is_pinged_at_the_address_itself_with_the_closing_sentence(
    configured: SettingsMaker, listener: Listener
) -> None:
    """Nothing is put behind the address."""
    assert await notices(configured(ping_url=listener.url())).ended(ended(ExitCode.DONE)) == ()
    [(path, body)] = listener.asked
    assert path == f"/ping/{SECRET}"
    assert "All 10 rows were updated. Nothing is left to do." in body


@pytest.mark.parametrize("code", sorted(set(ExitCode) - AS_PLANNED))
async def test_a_failure_is_pinged_with_its_exit_code(
    configured: SettingsMaker, listener: Listener, code: ExitCode
) -> None:
    """So that the watchdog shows which failure it was."""
    await notices(configured(ping_url=listener.url())).ended(ended(code))
    assert [path for path, _ in listener.asked] == [f"/ping/{SECRET}/{int(code)}"]


async def test_a_deadline_that_was_planned_is_pinged_as_a_success_that_says_so(
    configured: SettingsMaker, listener: Listener
) -> None:
    """Nobody has to get up for a night that went as planned."""
    await notices(configured(ping_url=listener.url())).ended(ended(ExitCode.DEADLINE))
    [(path, body)] = listener.asked
    assert path == f"/ping/{SECRET}"
    assert body.startswith("exit 6: the deadline came as planned")


async def test_what_could_not_start_is_in_the_body_of_the_ping(configured: SettingsMaker, listener: Listener) -> None:
    """Also when there was no run at all."""
    told = ended(ExitCode.COULD_NOT_START, runs=(), errors=("fixes.csv is not there.",))
    await notices(configured(ping_url=listener.url())).ended(told)
    assert listener.asked == [(f"/ping/{SECRET}/2", "exit 2: something could not start\nfixes.csv is not there.")]


async def test_a_query_of_the_address_stays_behind_the_path(configured: SettingsMaker, listener: Listener) -> None:
    """Some watchdogs take the name of a new check there."""
    await notices(configured(ping_url=listener.url("/key/night/?create=1"))).began()
    assert [path for path, _ in listener.asked] == ["/key/night/start?create=1"]


async def test_a_ping_that_meets_a_server_in_trouble_is_tried_again(
    configured: SettingsMaker, listener: Listener
) -> None:
    """A lost ping would be a false alarm."""
    listener.answers = [503, 502]
    assert await notices(configured(ping_url=listener.url())).began() == ()
    assert len(listener.asked) == 3


async def test_a_server_that_only_fails_costs_a_remark(configured: SettingsMaker, listener: Listener) -> None:
    """It names the host, and nothing behind it."""
    listener.answers = [500] * 9
    remarks = await notices(configured(ping_url=listener.url())).began()
    assert remarks == (f"The ping to http://127.0.0.1:{listener.port} failed: the answer was HTTP 500.",)


async def test_an_address_that_nobody_knows_is_not_tried_again(configured: SettingsMaker, listener: Listener) -> None:
    """Asking again would not make it known."""
    listener.answers = [404]
    [remark] = await notices(configured(ping_url=listener.url())).began()
    assert "HTTP 404" in remark
    assert len(listener.asked) == 1


async def test_a_ping_follows_no_redirect(configured: SettingsMaker, listener: Listener) -> None:
    """Whoever answers does not say where else our words go."""
    listener.answers, listener.location = [307], listener.url("/elsewhere")
    [remark] = await notices(configured(ping_url=listener.url())).began()
    assert "HTTP 307" in remark
    assert [path for path, _ in listener.asked] == [f"/ping/{SECRET}/start"]


async def test_a_ping_that_nobody_answers_ends_after_the_limit(configured: SettingsMaker, hanging_port: int) -> None:
    """The connection stands, and nothing comes."""
    url = f"http://127.0.0.1:{hanging_port}/{SECRET}"
    [remark] = await notices(configured(ping_url=url), NOT_LONG).ended(ended())
    assert remark == f"The ping to http://127.0.0.1:{hanging_port} failed: nothing came of it in 0.3 s."


async def test_a_ping_whose_connection_is_dropped_is_a_remark(configured: SettingsMaker, resetting_port: int) -> None:
    """Every try is, and it says what kind of failure it was."""
    [remark] = await notices(configured(ping_url=f"http://127.0.0.1:{resetting_port}/{SECRET}")).began()
    assert remark.startswith(f"The ping to http://127.0.0.1:{resetting_port} failed: no answer came (")


# Notices


async def test_a_mail_arrives_with_verdict_counts_errors_and_what_to_do(
    configured: SettingsMaker, mailbox: Mailbox
) -> None:
    """As plain text, line by line, with commands to paste."""
    assert await notices(configured(notify_urls=mailbox.url())).ended(ended()) == ()
    [envelope] = mailbox.envelopes
    assert envelope.rcpt_tos == ["ops@example.com"]
    assert isinstance(envelope.content, bytes)
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert message["Subject"] == ("bulkredeem, production: exit 1: some rows are not done (6 of 10 rows updated)")
    body = message.get_body(("plain",))
    assert body is not None
    lines = body.get_content().splitlines()
    assert "10 rows: 6 success, 4 refused; 10 requests, 3 throttled" in lines
    assert "4 times 750, rows 7, …: redemption <redemptionId> is reversed" in lines
    assert "bulkredeem run reports/20270115T080000Z-0a1b/not_done.csv" in lines


async def test_a_mail_server_that_does_not_know_the_password_costs_a_remark(
    configured: SettingsMaker, mailbox: Mailbox
) -> None:
    """It names the place of the address, and no part of it."""
    remarks = await notices(configured(notify_urls=mailbox.url("wr0ng"))).ended(ended())
    assert remarks == ("No notice could be sent to address 1 of BULKREDEEM_NOTIFY_URLS (E-Mail): it was not taken.",)


async def test_a_notice_arrives_at_a_web_hook(configured: SettingsMaker, listener: Listener) -> None:
    """As a failure, for those who show such things in red."""
    await notices(configured(notify_urls=listener.url(f"/{SECRET}", "json"))).ended(ended())
    [(path, body)] = listener.asked
    assert path == f"/{SECRET}"
    sent = json.loads(body)
    assert sent["title"].startswith("bulkredeem, production: exit 1")
    assert sent["type"] == "failure"
    assert "6 of 10 rows were updated." in sent["message"]


async def test_a_notice_follows_no_redirect_even_if_its_address_asks_for_it(
    configured: SettingsMaker, listener: Listener
) -> None:
    """Notices do not, whatever is configured."""
    listener.answers, listener.location = [307], listener.url("/elsewhere")
    [remark] = await notices(configured(notify_urls=listener.url("/here?redirect=yes", "json"))).ended(ended())
    assert "was not taken" in remark
    assert [path for path, _ in listener.asked] == ["/here"]


async def test_one_address_that_fails_keeps_no_other_from_its_notice(
    configured: SettingsMaker, listener: Listener, hanging_port: int
) -> None:
    """Although it hangs until the limit, and comes first."""
    urls = f"json://127.0.0.1:{hanging_port}/{SECRET}\n{listener.url('/there', 'json')}"
    remarks = await notices(configured(notify_urls=urls), 2.0).ended(ended())
    assert [path for path, _ in listener.asked] == ["/there"]
    assert len(remarks) == 1
    assert "address 1 of BULKREDEEM_NOTIFY_URLS" in remarks[0]


HANGS = """
import asyncio, sys
from pathlib import Path
from bulkredeem.errors import ExitCode
from bulkredeem.notices import Ended, Notices
from bulkredeem.settings import Settings

ended = Ended(exit_code=ExitCode.NOT_ALL_DONE, reports=Path("reports"), began_at=0.0, finished_at=1.0)
print(*asyncio.run(Notices(Settings(notify_urls=sys.argv[1]), limit=0.3).ended(ended)))
"""


async def test_a_notice_that_hangs_does_not_keep_the_process_from_ending(
    configured: SettingsMaker, hanging_port: int
) -> None:
    """Although its address grants the server ten minutes, for which a thread of it waits."""
    configured()
    url = f"json://127.0.0.1:{hanging_port}/{SECRET}?rto=600"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HANGS, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        said, complained = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    assert "nothing came of it in 0.3 s" in said.decode()
    assert (process.returncode, complained.decode()) == (0, "")


async def test_ping_and_notices_are_sent_side_by_side(configured: SettingsMaker) -> None:
    """A server that answers none of three before it has heard of all gets all."""
    together = asyncio.Barrier(3)

    async def answer(_request: web.Request) -> web.Response:
        await together.wait()
        return web.Response()

    async with served(answer) as port:
        url = f"127.0.0.1:{port}/{SECRET}"
        settings = configured(ping_url=f"http://{url}", notify_urls=f"json://{url} json://{url}/b")
        assert await notices(settings).ended(ended()) == ()


async def test_no_secret_gets_into_remarks_or_logs(
    configured: SettingsMaker, listener: Listener, resetting_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Not from any part of an address, nor at any level of any logger, whatever fails."""
    caplog.set_level(logging.DEBUG)
    listener.answers = [500] * 9
    urls = [
        listener.url(f"/{SECRET}", "json"),
        f"json://me:{SECRET}@127.0.0.1:{resetting_port}",
        f"mailto://me:{SECRET}@127.0.0.1:{resetting_port}?to=ops@example.com&from=me@example.com",
    ]
    settings = configured(
        notify_urls=" ".join(urls), ping_url=f"http://me:{SECRET}@127.0.0.1:{resetting_port}/{SECRET}"
    )
    told = notices(settings)
    remarks = [*await told.began(), *await told.ended(ended())]
    assert len(remarks) == 5
    assert SECRET not in "".join(remarks)
    assert SECRET not in caplog.text


@pytest.fixture(name="proxy")
async def _proxy(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Listener]:
    """Give a server that all variables name as the proxy."""
    proxy = Listener()
    async with served(proxy.answer) as proxy.port:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        yield proxy


@pytest.mark.parametrize("past", ["", "intern.example.com", "*"])
async def test_what_goes_to_this_machine_goes_through_no_proxy(
    configured: SettingsMaker, listener: Listener, proxy: Listener, monkeypatch: pytest.MonkeyPatch, past: str
) -> None:
    """Whatever is to go past it besides; and the environment is afterwards as it was."""
    monkeypatch.setenv("no_proxy", past)
    monkeypatch.delenv("NO_PROXY", raising=False)
    before = dict(os.environ)
    urls = f"{listener.url('/a', 'json')} json://localhost:{listener.port}/b"
    await notices(configured(notify_urls=urls, ping_url=listener.url("/p"))).ended(ended())
    assert sorted(path for path, _ in listener.asked) == ["/a", "/b", "/p/1"]
    assert proxy.asked == []
    assert dict(os.environ) == before


async def test_a_notice_to_another_machine_goes_through_the_proxy(
    configured: SettingsMaker, proxy: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for most programs; a ping goes through none."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    settings = configured(notify_urls="json://hook.invalid/n", ping_url="http://watch.invalid/p")
    [remark] = await notices(settings).ended(ended())
    assert remark.startswith("The ping to http://watch.invalid failed: no answer came")
    assert [path for path, _ in proxy.asked] == ["/n"]


async def test_nothing_of_a_netrc_is_sent(
    configured: SettingsMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither with a notice nor with a ping."""
    credentials: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        credentials.append(request.headers.get("Authorization"))
        return web.Response()

    write(tmp_path / "netrc", f"default login till password {SECRET}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with served(answer) as port:
        url = f"127.0.0.1:{port}/x"
        assert await notices(configured(notify_urls=f"json://{url}", ping_url=f"http://{url}")).ended(ended()) == ()
    assert credentials == [None, None]
    assert os.environ["NETRC"] == str(tmp_path / "netrc")


def test_the_surroundings_stay_narrow_until_the_last_notice_is_out() -> None:
    """Several go at once, each in a thread of its own."""
    environment = {"NO_PROXY": "a.example"}
    surroundings = Surroundings(environment)
    with surroundings.narrowed():
        with surroundings.narrowed():
            pass
        assert environment == {
            "NETRC": os.devnull,
            "no_proxy": "a.example,localhost,127.0.0.1,::1",
            "NO_PROXY": "a.example,localhost,127.0.0.1,::1",
        }
    assert environment == {"NO_PROXY": "a.example"}


async def told_of(settings: Settings, listener: Listener, *codes: ExitCode) -> list[int]:
    """Return the exit codes of those commands, one after another, of which a notice arrived."""
    known = []
    for code in codes:
        await notices(settings).ended(ended(code))
        known += [int(code)] if listener.asked else []
        listener.asked.clear()
    return known


async def test_by_default_notices_go_out_for_failures_and_not_for_a_planned_deadline(
    configured: SettingsMaker, listener: Listener
) -> None:
    """Nor for what is done."""
    settings = configured(notify_urls=listener.url("/hook", "json"))
    assert await told_of(settings, listener, *ExitCode) == [1, 2, 3, 4, 5, 70, 130]


async def test_notices_always_go_out_when_that_is_wanted(configured: SettingsMaker, listener: Listener) -> None:
    """Also twice the same."""
    settings = configured(notify="always", notify_urls=listener.url("/hook", "json"))
    assert await told_of(settings, listener, ExitCode.DONE, ExitCode.DONE, ExitCode.DEADLINE) == [0, 0, 6]


async def test_of_nights_that_end_alike_only_the_first_is_told_when_changes_are_wanted(
    configured: SettingsMaker, listener: Listener
) -> None:
    """And the first of all, as a proof that notices arrive."""
    settings = configured(notify="change", notify_urls=listener.url("/hook", "json"))
    nights = [ExitCode.DONE, ExitCode.DONE, ExitCode.NOT_ALL_DONE, ExitCode.NOT_ALL_DONE, ExitCode.DONE]
    assert await told_of(settings, listener, *nights) == [0, 1, 0]


async def test_a_command_that_had_nothing_to_do_tells_nobody_but_the_watchdog(
    configured: SettingsMaker, listener: Listener, tmp_path: Path
) -> None:
    """A boot unit without an unfinished run must not look like a night that went well."""
    path = tmp_path / "bulkredeem.prom"
    hook, ping = listener.url("/hook", "json"), listener.url("/ping")
    told = notices(configured(notify="always", notify_urls=hook, ping_url=ping, metrics_file=path))
    assert await told.ended(ended(ExitCode.DONE, runs=())) == ()
    assert [path for path, _ in listener.asked] == ["/ping"]
    assert names_in(tmp_path) == ["reports"]
    assert names_in(Path("reports")) == []


async def test_a_change_that_reached_nobody_is_told_by_the_next_command(
    configured: SettingsMaker, listener: Listener
) -> None:
    """And by that one only."""
    settings = configured(notify="change", notify_urls=listener.url("/hook", "json"))
    await told_of(settings, listener, ExitCode.DONE)
    listener.answers = [500]
    await notices(settings).ended(ended(ExitCode.NOT_ALL_DONE))
    listener.asked.clear()
    assert await told_of(settings, listener, ExitCode.NOT_ALL_DONE, ExitCode.NOT_ALL_DONE) == [1]


async def test_each_environment_of_a_reports_folder_has_changes_of_its_own(
    configured: SettingsMaker, listener: Listener
) -> None:
    """A rehearsal that fails says nothing of production."""
    settings = configured(notify="change", notify_urls=listener.url("/hook", "json"))
    await told_of(settings, listener, ExitCode.DONE)
    await notices(settings).ended(ended(ExitCode.NOT_ALL_DONE, environment="test"))
    listener.asked.clear()
    assert await told_of(settings, listener, ExitCode.DONE) == []


async def test_a_lost_memory_is_a_remark_and_a_change(configured: SettingsMaker, listener: Listener) -> None:
    """Whatever stands in the file; rather a notice too many than one too few."""
    settings = configured(notify="change", notify_urls=listener.url("/hook", "json"))
    for nonsense in ("", "[]", '{"production": 1}', '{"production": {"exit_code": "0"}}'):
        write(Path("reports", MEMORY), nonsense)
        [remark] = await notices(settings).ended(ended(ExitCode.DONE))
        assert remark.startswith(f"reports/{MEMORY} cannot be read")
    assert len(listener.asked) == 4


async def test_a_reports_folder_that_cannot_be_written_is_a_remark(
    configured: SettingsMaker, listener: Listener
) -> None:
    """The notice goes out all the same."""
    remove_folder(Path("reports"))
    write(Path("reports"), "no folder")
    remarks = await notices(configured(notify_urls=listener.url("/hook", "json"))).ended(ended())
    assert len(listener.asked) == 1
    assert any("could not be kept" in remark for remark in remarks)


async def test_without_anybody_to_tell_nothing_is_told_and_nothing_is_left(configured: SettingsMaker) -> None:
    """Not even a file in the reports folder."""
    told = notices(configured())
    assert await told.began() == ()
    assert await told.ended(ended()) == ()
    assert names_in(Path("reports")) == []


# Words


def test_a_notice_says_what_was_not_begun_and_what_could_not_start() -> None:
    """And, at its end, on which machine the reports lie, and where."""
    told = ended(ExitCode.STOPPED_EARLY, errors=("a.csv is not there.",), left=("b.csv", "c.csv"))
    lines = notice_of(told, "till-host").text.splitlines()
    assert lines[0] == "The command ended with exit 3: stopped early, rows are pending."
    assert "a.csv is not there." in lines
    assert "Not begun: b.csv, c.csv" in lines
    assert lines[-1] == f"Reports on till-host: {Path('reports').absolute()}"


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_has_its_words(code: ExitCode) -> None:
    """Also one that is still to come."""
    assert notice_of(ended(code)).subject.startswith(f"bulkredeem, production: exit {int(code)}: ")


@given(runs=st.integers(0, 40), errors=st.lists(st.text(max_size=2_000), max_size=20), files=st.integers(0, 500))
def test_a_notice_is_never_longer_than_services_take(runs: int, errors: list[str], files: int) -> None:
    """However many runs, errors and files there were; and its subject is one line."""
    told = ended(
        runs=tuple(ended_run(f"run-{number}", success=number, refused=5) for number in range(runs)),
        errors=tuple(errors),
        left=tuple(f"file-{number}.csv" for number in range(files)),
    )
    notice = notice_of(told)
    assert len(notice.text) <= LONGEST
    assert len(notice.subject.splitlines()) == 1


# Metrics


def values_of(path: Path) -> dict[tuple[str, str], float]:
    """Return the numbers of a metrics file, by name and by their label beside the environment."""
    values = {}
    for family in text_string_to_metric_families(path.read_text(encoding="utf-8")):
        for sample in family.samples:
            assert sample.labels["environment"] == "production"
            other = "".join(value for label, value in sample.labels.items() if label != "environment")
            values[sample.name.removeprefix("bulkredeem_"), other] = sample.value
    return values


async def test_metrics_say_how_the_command_ended(configured: SettingsMaker, tmp_path: Path) -> None:
    """As Prometheus itself would read them; what did not happen is a zero."""
    path = tmp_path / "bulkredeem.prom"
    assert await notices(configured(metrics_file=path)).ended(ended()) == ()
    values = values_of(path)
    assert values["exit_code", ""] == 1
    assert values["last_run_timestamp_seconds", ""] == BEGAN + 61.5
    assert values["duration_seconds", ""] == 61.5
    assert values["requests", ""] == 10
    assert values["throttled_requests", ""] == 3
    assert {status: values["rows", status] for status in Status} == dict.fromkeys(Status, 0) | {
        Status.SUCCESS: 6,
        Status.REFUSED: 4,
    }
    assert {mender: values["rows_to_mend", mender] for mender in MendBy} == dict.fromkeys(MendBy, 0) | {
        MendBy.DATA_TEAM: 4
    }


async def test_metrics_add_up_the_runs_of_a_command(configured: SettingsMaker, tmp_path: Path) -> None:
    """One file, two runs."""
    path = tmp_path / "bulkredeem.prom"
    runs = (ended_run("a", success=2, refused=1), ended_run("b", success=5, refused=2))
    await notices(configured(metrics_file=path)).ended(ended(runs=runs))
    values = values_of(path)
    assert (values["rows", "success"], values["rows_to_mend", "data_team"], values["runs", ""]) == (7, 3, 2)


async def test_the_last_success_survives_failing_nights(configured: SettingsMaker, tmp_path: Path) -> None:
    """And a night that only the deadline ended, for its rows are not done."""
    path = tmp_path / "bulkredeem.prom"
    told = notices(configured(metrics_file=path))
    await told.ended(ended(ExitCode.DONE, finished_at=BEGAN + 5))
    await told.ended(ended(ExitCode.STOPPED_EARLY, finished_at=BEGAN + 90_000))
    await told.ended(ended(ExitCode.DEADLINE, finished_at=BEGAN + 180_000))
    values = values_of(path)
    assert values["last_success_timestamp_seconds", ""] == BEGAN + 5
    assert values["last_run_timestamp_seconds", ""] == BEGAN + 180_000


async def test_as_long_as_there_was_no_success_none_is_told(configured: SettingsMaker, tmp_path: Path) -> None:
    """A zero would look like one in 1970."""
    path = tmp_path / "bulkredeem.prom"
    await notices(configured(metrics_file=path)).ended(ended())
    assert ("last_success_timestamp_seconds", "") not in values_of(path)


async def test_the_exporter_may_read_the_metrics_and_finds_no_half_of_them(
    configured: SettingsMaker, tmp_path: Path
) -> None:
    """It is another user, and reads whenever it likes."""
    folder = tmp_path / "textfiles"
    folder.mkdir()
    usual = os.umask(0o077)
    await notices(configured(metrics_file=folder / "bulkredeem.prom")).ended(ended())
    os.umask(usual)
    assert names_in(folder) == ["bulkredeem.prom"]
    assert (folder / "bulkredeem.prom").stat().st_mode & 0o777 == 0o644


def test_metrics_are_written_through_no_link(tmp_path: Path) -> None:
    """The exporter's folder may be others', too: a link under any name that they can foresee leads us nowhere else."""
    path, elsewhere = tmp_path / "bulkredeem.prom", tmp_path / "elsewhere"
    elsewhere.write_text("somebody's own")
    elsewhere.chmod(0o600)
    for name in (path.name, f".{path.name}.part", f"{path.name}.{os.getpid()}.{threading.get_ident()}"):
        (tmp_path / name).symlink_to(elsewhere)
    write_metrics(path, ended(), None)
    assert elsewhere.read_text() == "somebody's own"
    assert elsewhere.stat().st_mode & 0o777 == 0o600
    assert not path.is_symlink()
    assert values_of(path)["exit_code", ""] == 1
    assert path.stat().st_mode & 0o777 == 0o644


async def test_metrics_that_cannot_be_written_are_a_remark(configured: SettingsMaker, tmp_path: Path) -> None:
    """It names the file."""
    path = tmp_path / "nowhere" / "bulkredeem.prom"
    remarks = await notices(configured(metrics_file=path)).ended(ended())
    assert remarks == (f"The metrics could not be written to {path}: No such file or directory.",)


async def test_a_library_that_fails_as_nobody_foresaw_is_a_remark(
    configured: SettingsMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was there when the command began; somebody has removed it since."""
    path = tmp_path / "bulkredeem.prom"
    told = notices(configured(metrics_file=path))
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert await told.ended(ended()) == (f"The metrics could not be written to {path}: ModuleNotFoundError.",)


# Before anything is sent


def test_without_apprise_it_is_said_how_to_get_it(configured: SettingsMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is sent."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'bulkredeem\[notify\]'"):
        require(configured(notify_urls=f"json://127.0.0.1/{SECRET}"))


def test_nobody_needs_apprise_who_wants_no_notices(configured: SettingsMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither pings nor metrics do."""
    monkeypatch.setitem(sys.modules, "apprise", None)
    require(configured(ping_url="https://hc-ping.com/night", metrics_file="bulkredeem.prom"))


def test_addresses_that_nobody_can_use_are_named_by_their_places_alone(
    configured: SettingsMaker, caplog: pytest.LogCaptureFixture
) -> None:
    """A misspelt address may be all token."""
    urls = f"json://127.0.0.1/a {SECRET} nosuch://{SECRET} mailto://"
    with pytest.raises(ConfigurationError, match=r"addresses 2, 3, 4 of 4 cannot be used") as raised:
        require(configured(notify_urls=urls))
    assert SECRET not in str(raised.value)
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        SECRET,
        f"ftp://example.com/{SECRET}",
        f"https:///{SECRET}",
        f"http://[{SECRET}",
        f"http://x.invalid%{SECRET}/",
        f"http://x.invalid|{SECRET}",
        f"http://[::1].{SECRET}/",
        f"http://x.invalid:{SECRET}/",
        f"http://x.invalid/{SECRET}\x1b",
        f"http://x..{SECRET}/",
    ],
)
def test_a_ping_address_that_is_none_is_refused_without_quoting_it(configured: SettingsMaker, url: str) -> None:
    """It may be all token, too."""
    with pytest.raises(ConfigurationError, match="BULKREDEEM_PING_URL is not an address") as raised:
        require(configured(ping_url=url))
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://hc-ping.com/night", "https://hc-ping.com"),
        ("http://health_checks:8000/ping/night", "http://health_checks:8000"),
        ("http://[::1]:8000/night", "http://[::1]:8000"),
        ("https://münchen.example/night", "https://münchen.example"),
    ],
)
def test_a_ping_is_named_by_its_host(url: str, name: str) -> None:
    """As it is written in the address."""
    require_address(url)
    assert Ping(url).name == name


def test_to_say_when_and_not_to_whom_is_refused(configured: SettingsMaker) -> None:
    """A night that is believed to report itself must not be silent."""
    with pytest.raises(ConfigurationError, match="does not say to whom"):
        require(configured(notify="always"))


def test_all_that_is_wrong_is_said_at_once(configured: SettingsMaker) -> None:
    """Nobody mends one mistake to be told of the next."""
    with pytest.raises(ConfigurationError, match=r"NOTIFY_URLS: address 1 of 1 .* BULKREDEEM_PING_URL"):
        require(configured(notify_urls="nosuch://x", ping_url="x"))
