"""A canary password, token and mobile number: no command leaves a byte of them where they do not belong.

Every command runs, those that fail and crash too, and then each byte is looked through that came of it: terminal, files
of whatever kind, files that were taken away again, and the list of processes.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import traceback
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import psutil
import pytest
from aiohttp import web

from bulkredeem.application import run_file
from bulkredeem.cli import commands
from bulkredeem.client import Client
from bulkredeem.delivery import Delivery
from bulkredeem.journal import Journal
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Fault, Sandbox, Then, script
from bulkredeem.sandbox.replies import Reply as TokenReply
from bulkredeem.settings import load_settings
from tests.conftest import Witness

if TYPE_CHECKING:
    from tests.conftest import Ended, Rehearsal, Terminal

PASSWORD = "Kanari-7vogel/Ö+9"
MOBILE = "919876501234"
EMAIL = "kanarienvogel@example.com"
USERNAME = "till.kanari"
MAY_NAME_CUSTOMERS = {
    *("input.csv", "journal.sqlite", "journal.sqlite-wal", "ledger.sqlite", "ledger.sqlite-wal"),
    *("results.csv", "not_done.csv", "results.xlsx", "not_done.xlsx", "comparison.csv"),
    "workbook",  # the parts of one, beside the reports
}
"""Of the files that we make; beside them only what `split` makes of `not_done.csv`."""
LEAST_BYTES = 100_000
"""So much is looked through at least: less would mean that it was not found."""


def forms_of(secret: str, username: str = USERNAME) -> list[bytes]:
    """Return every form in which a secret would be as good as itself."""
    digest = hashlib.md5(secret.encode(), usedforsecurity=False).hexdigest()
    plain = [secret, digest, digest.upper(), f"{username}:{digest}", f"{username}:{secret}"]
    escaped = [secret.encode("unicode_escape"), secret.encode("utf-16-le"), ascii(secret)[1:-1].encode()]
    return [*(each.encode() for each in plain), *escaped, *(base64.b64encode(each.encode()) for each in plain)]


def unpacked(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield bytes as they are, and what is packed in them when they are a workbook."""
    yield name, content
    if content.startswith(b"PK"):
        with zipfile.ZipFile(BytesIO(content)) as archive:
            for each in archive.namelist():
                yield f"{name}!{each}", archive.read(each)


@dataclass(kw_only=True)
class House:
    """Where all of it happens, and what came of it."""

    terminal: Terminal
    sandbox: Sandbox
    morgue: Path
    """Where copies lie of what was taken away."""
    said: dict[str, bytes] = field(default_factory=dict)
    """Which command → what it has said."""
    lines: set[str] = field(default_factory=set)
    """Command lines that somebody saw in the list of processes."""

    async def run(self, *words: str | Path, code: int, name: str = "", **options: object) -> Ended:
        """Run a command, and require its exit code."""
        ended = await self.terminal.run(self.morgue, *words, python=("-m", "tests.canary_house"), **options)
        self.said[f"{len(self.said)} {name or words[0]}"] = (ended.out + ended.err).encode(errors="surrogateescape")
        assert ended.code == code, (words, ended)
        return ended

    def places(self) -> Iterator[tuple[str, bytes]]:
        """Yield everything that came of it: its name, and its bytes."""
        yield from self.said.items()
        yield "list of processes", "\n".join(self.lines).encode()
        for path in self.terminal.folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield from unpacked(str(path), path.read_bytes())

    def found(self, forms: Iterable[bytes], *, but: Callable[[Path], bool] = lambda _path: False) -> list[str]:
        """Say where one of these forms is, but for the places that may hold it."""
        wanted, looked_at, found = list(forms), 0, []
        for name, content in self.places():
            looked_at += len(content)
            if not but(Path(name.partition("!")[0])) and any(form in content for form in wanted):
                found.append(name)
        assert looked_at > LEAST_BYTES
        return found

    def may_name_customers(self, path: Path) -> bool:
        """Say whether a file names customers by its purpose, or because a person has written them there.

        What `history` says are the values that somebody asks for.
        """
        own = path.name.split("-", 2)[2] if path.parent == self.morgue else path.name
        is_a_report = own.removeprefix(".").removesuffix(".part") in MAY_NAME_CUSTOMERS
        is_asked_for = str(path).endswith(" history")
        return is_a_report or is_asked_for or "split" in path.parts or path.parent == self.terminal.folder


async def _watch_the_list_of_processes(lines: set[str]) -> None:
    """Look at the command lines of this process's children, again and again."""
    while True:
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                lines.add(" ".join(child.cmdline()))
        await asyncio.sleep(0.05)


@asynccontextmanager
async def watched(lines: set[str]) -> AsyncIterator[None]:
    """Watch the list of processes meanwhile."""
    watching = asyncio.create_task(_watch_the_list_of_processes(lines))
    try:
        yield
    finally:
        watching.cancel()


@pytest.fixture
async def house(unconfigured: Terminal) -> AsyncIterator[House]:
    """Give a house with nothing in it, whose sandbox knows the canaries."""
    folders = {name: unconfigured.folder / "system" / name for name in ("tmp", "state", "home", "morgue")}
    for each in folders.values():
        each.mkdir(parents=True)
    surroundings = unconfigured.with_variables(
        TMPDIR=str(folders["tmp"]),
        XDG_STATE_HOME=str(folders["state"]),
        HOME=str(folders["home"]),
        PYTHONPATH=str(Path(__file__).parent.parent),
        PYTHONDONTWRITEBYTECODE="1",
    )
    async with Sandbox(username=USERNAME, password=PASSWORD) as sandbox:
        house = House(terminal=surroundings.configured(sandbox), sandbox=sandbox, morgue=folders["morgue"])
        async with watched(house.lines):
            yield house


def write_files(folder: Path) -> None:
    """Write a file with every kind of row, and one in which all is well."""
    head = "redemptionId,billNumber,identifierType,identifierValue,purpose\r\n"
    rows = [
        f"AB12CD,B-1,mobile,{MOBILE},mended for {MOBILE}",
        f"NOPE01,B-2,mobile,{MOBILE},",
        f"GONE01,B-3,email,{EMAIL},",
        f"RESET1,B-4,email,{EMAIL},",
        f",B-5,mobile,{MOBILE},",
        f"AB12CE,B-6,mobile,{MOBILE}x,",
        f"AB12CF,B-7,mobile,{MOBILE},,{MOBILE}",
    ]
    (folder / "fixes.csv").write_text(head + "".join(f"{row}\r\n" for row in rows), encoding="utf-8")
    (folder / "good.csv").write_text(f"{head}XY99ZZ,B-9,mobile,{MOBILE},\r\n", encoding="utf-8")


@asynccontextmanager
async def listening(said: dict[str, bytes]) -> AsyncIterator[dict[str, str]]:
    """Listen to pings and notices, and give the variables that send them here."""

    async def hear(request: web.Request) -> web.Response:
        said[f"{len(said)} told to {request.path}"] = await request.read()
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", hear)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        where = f"127.0.0.1:{runner.addresses[0][1]}"
        yield {"BULKREDEEM_PING_URL": f"http://{where}/ping", "BULKREDEEM_NOTIFY_URLS": f"json://{where}/notice"}
    finally:
        await runner.cleanup()


async def files_without_a_header(house: House) -> None:
    """Let files come whose first line is a row, to every command that says of a header what is wrong with it."""
    rows = f"AB12CD,B-1,{MOBILE},Kanarie Vogel\nAB12CE,B-2,{EMAIL},Kanarie Vogel\n"
    (house.terminal.folder / "headless.csv").write_text(rows, encoding="utf-8")
    (house.terminal.folder / "turned.csv").write_text("".join(reversed(rows.splitlines(keepends=True))))
    async with listening(house.said) as told:
        for name in ("headless.csv", "turned.csv"):
            await house.run("check", name, "--map", "Bill No=billNumber", code=2, env=told)
            await house.run("run", name, "--dry-run", code=2, env=told)
            await house.run("run", name, code=2, env=told)
        # Not on the command line, which everybody on the machine can read.
        for only, code in ((MOBILE, 2), (f"{MOBILE}=1", 2), (f"identifierValue=1{MOBILE}", 0)):
            again = ("--same-file", "ok", "--rate", "none")
            await house.run("run", "good.csv", *again, code=code, env={**told, "BULKREDEEM_ONLY": only})
    heard = [content for name, content in house.said.items() if "told to" in name]
    assert sum(b"seems to have no header" in content for content in heard) >= len(("ping", "notice")) * 2


async def every_command(house: House) -> None:
    """Run each command once at least, as people do: with what goes well, and with what does not."""
    folder, run = house.terminal.folder, house.run
    write_files(folder)
    for name, kind, value in (("AB12CD", "mobile", MOBILE), ("RESET1", "email", EMAIL), ("XY99ZZ", "mobile", MOBILE)):
        house.sandbox.plant(customer=("CUSTOMER", kind, value), redemption_id=name, bill_number="B-0")
    house.sandbox.faults = script({"RESET1": [Fault(then=Then.RESET)] * 9})
    fast = ("--rate", "none", "--log-level", "debug")
    await run("doctor", code=0)
    await run("init", code=2)
    await run("check", "fixes.csv", code=1)
    await run("run", "fixes.csv", "--dry-run", code=1)
    await run("run", "fixes.csv", *fast, "--xlsx", "--record-previous", "--max-attempts", "2", code=1)
    await run("run", "good.csv", *fast, "--record-previous", "--json", code=0)
    await run("resume", "--if-any", code=0)
    await run("runs", code=0)
    first = min(each.name for each in (folder / "reports").glob("20*"))
    for what in ("reason", "mend_by"):
        await run("split", first, "--by", what, code=0)
    await run("report", first, "--xlsx", code=0)
    await run("retry", first, *fast, "--status", "in_doubt", "--max-attempts", "1", code=1)
    await run("verify", first, "--all", "--now", "--rate", "none", code=1)
    await run("undo", first, *fast, code=0)
    await run("compare", "fixes.csv", "--rate", "none", code=1)
    await run("history", "AB12CD", code=0)
    await run("audit", first, code=0)
    await run("prune", "--keep", "90d", code=0)
    await run("selftest", "--kills", "1", code=0)
    await run("sandbox", "--", "true", code=0)


async def every_failure(house: House) -> None:
    """Let commands fail: on the platform, in the settings, in files, and within ourselves."""
    folder, run = house.terminal.folder, house.run
    house.sandbox.password = "another"
    await run("run", "good.csv", "--same-file", "ok", "--resend", "--rate", "none", code=4)
    stopped = max(each.name for each in (folder / "reports").glob("20*"))
    await run("resume", code=4)
    await run("doctor", code=4)
    await run("abandon", stopped, "--reason", "wrong password", code=0)
    house.sandbox.password = PASSWORD
    await run("run", "good.csv", "--no-such-option", code=2)
    await run("run", "there-is-none.csv", code=2)
    with_credentials = f"https://{USERNAME}:{PASSWORD}@platform.example.com"
    await run(
        "run", "good.csv", code=2, env={"BULKREDEEM_BASE_URL": with_credentials}, name="an address with a password"
    )
    (folder / "secrets.toml").write_text(f'password = "{PASSWORD}"\n', encoding="utf-8")
    await run("run", "good.csv", "--config", "secrets.toml", code=2)
    (folder / "secrets.toml").unlink()
    file = folder / "system" / "till"
    file.write_bytes(PASSWORD.encode("utf-16"))
    await run("doctor", code=2, env={"BULKREDEEM_PASSWORD": "", "BULKREDEEM_PASSWORD_FILE": str(file)}, name="utf-16")
    file.unlink()
    await files_without_a_header(house)
    (folder / "reports" / "latest" / "journal.sqlite").write_bytes(b"no journal")
    await run("report", "latest", code=2)


@pytest.mark.timeout(400)
async def test_no_command_leaves_a_secret_or_names_a_customer(house: House) -> None:
    """Secrets are nowhere, in no form; identifiers of customers only where they are the point of the file."""
    await every_command(house)
    await every_failure(house)
    assert house.found(forms_of(PASSWORD)) == []
    assert house.found([MOBILE.encode(), EMAIL.encode()], but=house.may_name_customers) == []
    assert any("bulkredeem" in line or "canary_house" in line for line in house.lines)
    ran = {name.partition(" ")[2] for name in house.said}
    assert {command.name or command.callback.__name__ for command in commands.app.registered_commands} <= ran  # type: ignore[union-attr]  # each has one


@pytest.mark.timeout(200)
async def test_no_command_leaves_a_token(house: House) -> None:
    """With OAuth neither the secret nor a token is left: accepted, revoked in between, refused, and not given."""
    write_files(house.terminal.folder)
    house.terminal = house.terminal.with_variables(BULKREDEEM_AUTH="oauth", BULKREDEEM_LOG_LEVEL="debug")
    again = ("--same-file", "ok", "--resend", "--rate", "none")
    await house.run("doctor", code=0)
    await house.run("run", "fixes.csv", "--rate", "none", "--max-attempts", "2", code=1)
    house.sandbox.token_ttl = 0.2
    await house.run("run", "good.csv", *again, code=0)
    told = f'{{"errors":[{{"message":"{PASSWORD}"}}]}}'.encode()
    house.sandbox.token_faults = lambda _number: TokenReply(status=200, body=told)
    await house.run("run", "good.csv", *again, code=4)
    tokens = list(house.sandbox._tokens._ends)
    assert tokens
    forms = [form for token in tokens for form in (token.encode(), base64.b64encode(token.encode()))]
    assert house.found([*forms, *forms_of(PASSWORD)]) == []


def _boom(*_: object, **__: object) -> None:
    raise RuntimeError("boom")


CRASHES = {
    "before it is sent": (aiohttp.TCPConnector, "connect"),
    "while the answer is read": (aiohttp.StreamReader, "read"),
    "while the answer is judged": (Delivery, "_judge"),
    "while it is written down": (Journal, "write"),
    "while the client is made": (Client, "__init__"),
}


@pytest.mark.parametrize("auth", ["basic", "oauth"])
@pytest.mark.parametrize("where", CRASHES)
async def test_no_variable_of_a_crash_shows_a_secret(
    rehearsal: Rehearsal, write_csv: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, where: str, auth: str
) -> None:
    """Whoever prints a traceback with the values of all variables finds no password and no token in it."""
    rehearsal.sandbox.password = PASSWORD
    monkeypatch.setenv("BULKREDEEM_PASSWORD", PASSWORD)
    monkeypatch.setenv("BULKREDEEM_AUTH", auth)
    monkeypatch.setattr(*CRASHES[where], _boom)
    path = write_csv([["redemptionId", "billNumber", "identifierValue"], ["AB12CD", "B", "919900000001"]])
    shown, stop = [], Stop()
    try:
        await run_file(path, load_settings({}), rehearsal.terms(Witness(), stop=stop))
    except RuntimeError as exc:
        shown.append(exc)
    shown += [stop.cause] if isinstance(stop.cause, RuntimeError) else []
    assert shown
    frames = [traceback.TracebackException.from_exception(error, capture_locals=True).format() for error in shown]
    text = "".join(line for lines in frames for line in lines).encode()
    tokens = [token.encode() for token in rehearsal.sandbox._tokens._ends]
    secret = [form for form in (*forms_of(PASSWORD, rehearsal.sandbox.username), *tokens) if form in text]
    assert b"boom" in text
    assert secret == []
