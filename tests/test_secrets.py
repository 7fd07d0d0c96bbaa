"""Where secrets come from: variables, files, systemd's credentials, the keyring, and whoever sits at the terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import keyring
import pytest
import typer
from hypothesis import assume, example, given
from hypothesis import strategies as st
from keyring.backend import KeyringBackend
from keyring.errors import InitError, KeyringLocked, NoKeyringError
from pydantic import SecretStr

from bulkredeem.application.doctoring import Diagnosis, Level, diagnose
from bulkredeem.application.wiring import client_for
from bulkredeem.cli.asking import find_password
from bulkredeem.cli.commands import app
from bulkredeem.cli.rehearsing import _without_other_credentials
from bulkredeem.errors import ConfigurationError, ExitCode
from bulkredeem.notices import Notices, require
from bulkredeem.processor import Stop
from bulkredeem.sandbox import Sandbox
from bulkredeem.settings import Settings, load_settings, restored
from bulkredeem.settings.credentials import Purse
from bulkredeem.settings.keyrings import command_to_keep
from bulkredeem.settings.sources import load_settings_with_origins
from tests.screens import Screen, screens

if TYPE_CHECKING:
    from tests.conftest import Ended, Rehearsal, Terminal

PASSWORD: Final = "quiet-Otter-42"
"""The sandbox's; invented."""
HOST: Final = "https://eu.api.example.com"
TILL: Final = "till.backoffice"
AS_ITS_OWN_TERMINAL: Final = """
import fcntl, os, runpy, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.argv[0] = "bulkredeem"
runpy.run_module("bulkredeem", run_name="__main__")
"""
"""What a shell does for a command, so that Ctrl-C comes as a signal."""
A_KEYRING: Final = """
import os, time
from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked

class Keyring(KeyringBackend):
    priority = 1
    def get_password(self, service, username):
        open("asked", "a").write(f"{service} {username}\\n")
        if os.environ.get("OURS") == "locked":
            raise KeyringLocked("hush")
        while os.environ.get("OURS") == "hangs":
            time.sleep(0.05)
        return os.environ.get("OURS") or None
    def set_password(self, service, username, password):
        raise NotImplementedError
"""
"""A keyring for other processes: it says what `OURS` is, and writes down that it was asked."""


class OurKeyring(KeyringBackend):
    """A keyring that knows one password, or fails."""

    priority = 1.0

    def __init__(self, error: Exception | None = None) -> None:
        """Fail with `error`, if there is one."""
        super().__init__()  # type: ignore[no-untyped-call]  # the library says no types there
        self.kept: dict[tuple[str, str], str] = {}
        self.error = error
        self.asked: list[tuple[str, str]] = []

    def get_password(self, service: str, username: str) -> str | None:
        """Return what is kept."""
        self.asked.append((service, username))
        if self.error is not None:
            raise self.error
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep a password."""
        self.kept[service, username] = password


@pytest.fixture(autouse=True)
def _no_credentials(nothing_configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001  it comes first
    """Whatever starts the tests may be a unit of systemd."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


@pytest.fixture
def ring() -> Iterator[OurKeyring]:
    """Give a keyring that is asked instead of the machine's."""
    before, ours = keyring.get_keyring(), OurKeyring()
    keyring.set_keyring(ours)
    yield ours
    keyring.set_keyring(before)


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Say where and who, and no password."""
    monkeypatch.setenv("BULKREDEEM_BASE_URL", HOST)
    monkeypatch.setenv("BULKREDEEM_USERNAME", TILL)


@pytest.fixture
def unit(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make the folder in which systemd shows these credentials."""

    def make(**credentials: str) -> Path:
        folder = tmp_path_factory.mktemp("credentials")
        for name, content in credentials.items():
            (folder / f"bulkredeem_{name}").write_text(content)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
        return folder

    return make


def password_of(settings: Settings) -> str:
    """Return the password that would be sent."""
    return settings.resolve_password().get_secret_value()


def told(diagnosis: Diagnosis, topic: str = "password") -> tuple[Level, str, str]:
    """Return the first finding about a topic."""
    finding = next(finding for finding in diagnosis.findings if finding.topic == topic)
    return finding.level, finding.found, finding.remedy


async def look(**flags: Any) -> Diagnosis:
    """Look at what is configured, where the platform is never asked: nobody is there."""
    settings, origins = load_settings_with_origins({"rate": "none", **flags})
    return await diagnose(settings.model_copy(update={"base_url": "http://127.0.0.1:9"}), origins)


# Files


@pytest.mark.parametrize(
    ("name", "resolve"),
    [("notify_urls", Settings.resolve_notify_urls), ("ping_url", Settings.resolve_ping_url)],
)
def test_an_address_can_stand_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, resolve: Callable[[Settings], SecretStr]
) -> None:
    """And is read once."""
    path = tmp_path / "address"
    path.write_text("https://hc.example/hush-uuid\n")
    monkeypatch.setenv(f"BULKREDEEM_{name.upper()}_FILE", str(path))
    settings = load_settings({})
    assert resolve(settings).get_secret_value() == "https://hc.example/hush-uuid"
    path.unlink()
    assert resolve(settings.model_copy()).get_secret_value() == "https://hc.example/hush-uuid"
    assert "hush" not in f"{settings!r} {settings.public()} {settings.model_dump()} {settings.model_dump_json()}"


def test_notices_go_where_a_file_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The addresses in it are looked at before the first request; one that is none is named by its number."""
    path = tmp_path / "addresses"
    path.write_text("json://127.0.0.1/hush-1\nnonsense-hush-2\n")
    monkeypatch.setenv("BULKREDEEM_NOTIFY_URLS_FILE", str(path))
    with pytest.raises(ConfigurationError, match="address 2 of 2") as caught:
        require(load_settings({}))
    assert "hush" not in str(caught.value)
    path.write_text("json://127.0.0.1/hush-1\n")
    Notices(load_settings({"notify": "always"}))


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), ("\n", "is empty"), ("hush me", "no.* address")]
)
def test_a_ping_that_a_file_does_not_say_is_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, reason: str
) -> None:
    """A night that is believed to report itself must not be silent."""
    path = tmp_path / "address"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("BULKREDEEM_PING_URL_FILE", str(path))
    with pytest.raises(ConfigurationError, match=reason) as caught:
        require(load_settings({}))
    assert "BULKREDEEM_PING_URL" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although two checks want to know what is in it."""
    monkeypatch.setenv("BULKREDEEM_NOTIFY_URLS_FILE", "absent")
    with pytest.raises(ConfigurationError) as caught:
        require(load_settings({"notify": "always"}))
    assert str(caught.value).count("absent") == 1


def test_a_file_without_end_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names the wrong file gets a sentence, and not a machine without memory."""
    monkeypatch.setenv("BULKREDEEM_PASSWORD_FILE", "/dev/zero")
    with pytest.raises(ConfigurationError, match="longer than 65,536 characters"):
        load_settings({}).resolve_password()


def test_an_error_about_a_file_holds_nothing_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not even in the error behind it, which would quote what is no text."""
    path = tmp_path / "password"
    path.write_bytes(b"hush-\xe9")
    monkeypatch.setenv("BULKREDEEM_PASSWORD_FILE", str(path))
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}).resolve_password()
    assert caught.value.__cause__ is caught.value.__context__ is None


@given(st.text(alphabet=st.characters(codec="utf-8")), st.sampled_from(["", "\n", "\r\n"]))
@example("\r", "\r\n")
def test_any_text_can_be_a_password(text: str, end: str) -> None:
    """It is taken to the last character, but for the one line end behind it."""
    assume(not (end == "\n" and text.endswith("\r")))  # the two are one line end
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "password"
        path.write_bytes(f"{text}{end}".encode())
        found = Purse().of_file("password", path).get_secret_value()
    assert found == (text if end else text.removesuffix("\n").removesuffix("\r"))


# systemd's credentials


@pytest.mark.usefixtures("system")
def test_credentials_of_systemd_are_found_by_their_names(unit: Callable[..., Path]) -> None:
    """A unit needs no other setting for them."""
    unit(password=f"{PASSWORD}\n", notify_urls="json://127.0.0.1/hush", ping_url="https://hc.example/hush\n")
    settings = load_settings({})
    settings.require_for_sending()
    assert password_of(settings) == PASSWORD
    assert settings.resolve_notify_urls().get_secret_value() == "json://127.0.0.1/hush"
    assert settings.resolve_ping_url().get_secret_value() == "https://hc.example/hush"


@pytest.mark.parametrize("form", ["BULKREDEEM_PASSWORD", "bulkredeem_password", "BULKREDEEM_PASSWORD_FILE"])
def test_what_the_environment_says_beats_a_credential(
    unit: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    """In whichever form it says it."""
    unit(password="another")
    (tmp_path / "password").write_text(PASSWORD)
    monkeypatch.setenv(form, str(tmp_path / "password") if form.endswith("FILE") else PASSWORD)
    assert password_of(load_settings({})) == PASSWORD


@pytest.mark.parametrize("folder", ["", "/absent"])
def test_a_unit_without_such_a_credential_has_none(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """Other services have credentials, too."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", folder)
    assert load_settings({}).password_file is None


@pytest.mark.usefixtures("system", "ring")
@pytest.mark.parametrize(("content", "words"), [("", "which is empty"), (None, "cannot be read: Is a directory")])
def test_a_credential_that_says_nothing_is_named(unit: Callable[..., Path], content: str | None, words: str) -> None:
    """As systemd's, since no variable names it; and nothing else is tried."""
    folder = unit(**({} if content is None else {"password": content}))
    if content is None:
        (folder / "bulkredeem_password").mkdir()
    with pytest.raises(ConfigurationError, match=words) as caught:
        load_settings({}).require_for_sending()
    assert f"systemd's credentials hold {folder / 'bulkredeem_password'}" in str(caught.value)


@pytest.mark.usefixtures("system")
def test_a_credential_that_is_replaced_is_read_again(unit: Callable[..., Path]) -> None:
    """As any password file, when the platform refuses the old one."""
    folder = unit(password="the old one")
    settings = load_settings({})
    assert (password_of(settings), settings.reread_password()) == ("the old one", None)
    (folder / "bulkredeem_password").write_text(PASSWORD)
    renewed = settings.reread_password()
    assert renewed is not None
    assert renewed.get_secret_value() == password_of(settings) == PASSWORD


@pytest.mark.usefixtures("system")
def test_a_file_that_is_gone_leaves_the_password_as_it_was(unit: Callable[..., Path]) -> None:
    """Whoever replaces it is perhaps not done."""
    folder = unit(password=PASSWORD)
    settings = load_settings({})
    assert password_of(settings) == PASSWORD
    (folder / "bulkredeem_password").unlink()
    assert settings.reread_password() is None
    assert password_of(settings) == PASSWORD


async def test_the_doctor_tells_of_a_credential(unit: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """By its file, and not by what is in it."""
    monkeypatch.setenv("BULKREDEEM_USERNAME", TILL)
    folder = unit(password=PASSWORD)
    (folder / "bulkredeem_password").chmod(0o600)
    level, found, _ = told(await look())
    assert (level, found) == (
        Level.OK,
        f"It is there, from systemd's credentials: {folder / 'bulkredeem_password'}.",
    )


async def test_a_run_with_a_credential(
    rehearsal: Rehearsal, unit: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way, as a unit has it."""
    monkeypatch.delenv("BULKREDEEM_PASSWORD")
    unit(password=f"{rehearsal.sandbox.password}\n")
    run = await rehearsal.run(rehearsal.file(2), unattended=True)
    assert (run.exit_code, rehearsal.sandbox.requests) == (ExitCode.DONE, 2)


# The keyring


@pytest.mark.usefixtures("system")
def test_the_keyring_says_the_password_of_this_system(ring: OurKeyring) -> None:
    """Under its address and user name, and is asked once, however many settings are made of these."""
    ring.kept[f"bulkredeem {HOST}", TILL] = PASSWORD
    settings = load_settings({})
    settings.require_for_sending()
    assert password_of(settings.model_copy(update={"rate": "1/s"})) == PASSWORD
    assert ring.asked == [(f"bulkredeem {HOST}", TILL)]
    assert settings.reread_password() is None


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("source", ["password", "password_file", "credential"])
def test_the_keyring_is_asked_last(
    ring: OurKeyring, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, unit: Callable[..., Path], source: str
) -> None:
    """It may have to be unlocked: nobody wants to be asked for that without need."""
    (tmp_path / "password").write_text(PASSWORD)
    if source == "credential":
        unit(password=PASSWORD)
    else:
        value = str(tmp_path / "password") if source == "password_file" else PASSWORD
        monkeypatch.setenv(f"BULKREDEEM_{source.upper()}", value)
    assert password_of(load_settings({})) == PASSWORD
    assert ring.asked == []


@pytest.mark.usefixtures("system")
def test_nobody_asks_the_keyring_when_nobody_watches(ring: OurKeyring) -> None:
    """One that is locked would wait for somebody all night."""
    ring.kept[f"bulkredeem {HOST}", TILL] = PASSWORD
    with pytest.raises(ConfigurationError, match="the keyring, which is not asked when nobody watches"):
        load_settings({"unattended": True}).require_for_sending()
    assert ring.asked == []


def test_without_a_system_there_is_nothing_to_ask_for(ring: OurKeyring) -> None:
    """A run that is gone on with says only later which it is, and is asked about then."""
    settings = load_settings({})
    assert password_of(settings) == ""
    own = restored(load_settings({"base_url": HOST}).public() | {"username": TILL}, settings, ())
    ring.kept[f"bulkredeem {HOST}", TILL] = PASSWORD
    assert password_of(own) == PASSWORD


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NoKeyringError("hush"), "is none"),
        (KeyringLocked("hush"), "is locked"),
        (InitError("hush"), r"cannot be asked \(InitError\)"),
        (ZeroDivisionError("hush"), r"cannot be asked \(ZeroDivisionError\)"),
    ],
)
async def test_a_keyring_that_fails_is_no_password(ring: OurKeyring, error: Exception, words: str) -> None:
    """The sentence and the doctor say why, without the words of the error."""
    ring.error = error
    settings = load_settings({})
    assert password_of(settings) == ""
    with pytest.raises(ConfigurationError, match=f"or the keyring, which {words}") as caught:
        settings.require_for_sending()
    level, found, remedy = told(await look())
    assert level is Level.PROBLEM
    assert "and the keyring" in found
    assert "BULKREDEEM_PASSWORD_FILE" in remedy
    assert "hush" not in f"{caught.value} {found}"


@pytest.mark.usefixtures("system", "ring")
async def test_what_puts_a_password_there_is_named() -> None:
    """The password is not typed with it."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}).require_for_sending()
    assert f"keyring set 'bulkredeem {HOST}' {TILL}" in str(caught.value)
    assert command_to_keep("http://127.0.0.1:9", TILL) in told(await look())[2]


@pytest.mark.usefixtures("system")
async def test_the_doctor_tells_of_the_keyring(ring: OurKeyring) -> None:
    """And that the extra is installed."""
    ring.kept["bulkredeem http://127.0.0.1:9", TILL] = PASSWORD
    diagnosis = await look()
    assert told(diagnosis)[:2] == (Level.OK, "It is there, from the keyring.")
    assert "keyring is installed." in [each.found for each in diagnosis.findings if each.topic == "extras"]
    assert PASSWORD not in repr(diagnosis)


@pytest.fixture
def with_keyring(unconfigured: Terminal, sandbox: Sandbox) -> Terminal:
    """Give a terminal that knows the sandbox and our keyring, and no password."""
    (unconfigured.folder / "ourkeyring.py").write_text(A_KEYRING)
    return unconfigured.with_variables(
        BULKREDEEM_BASE_URL=sandbox.base_url,
        BULKREDEEM_USERNAME=sandbox.username,
        PYTHON_KEYRING_BACKEND="ourkeyring.Keyring",
        PYTHONDONTWRITEBYTECODE="1",
    )


def a_file(write_csv: Callable[..., Path]) -> str:
    """Write a file of two rows, and return its name."""
    header = ["redemptionId", "billNumber", "identifierValue"]
    return write_csv([header, *([f"AB{number}", f"B-{number}", f"91999900000{number}"] for number in (1, 2))]).name


async def test_a_run_with_a_keyring(with_keyring: Terminal, sandbox: Sandbox, write_csv: Callable[..., Path]) -> None:
    """The whole way; the keyring is asked once, and the password stands nowhere."""
    here = with_keyring.with_variables(OURS=PASSWORD)
    ended = await here.run("run", a_file(write_csv))
    assert (ended.code, sandbox.requests) == (0, 2), ended
    assert (here.folder / "asked").read_text() == f"bulkredeem {sandbox.base_url} {sandbox.username}\n"
    assert here.leaks(sandbox.username, PASSWORD) == []


@pytest.mark.usefixtures("system")
def test_commands_that_send_nothing_ask_no_keyring(
    ring: OurKeyring, typed: Callable[..., Ended], write_csv: Callable[..., Path]
) -> None:
    """They need no password."""
    ring.error = KeyringLocked("hush")
    for words in (["check", a_file(write_csv)], ["runs"], ["run", "--dry-run", "fixes.csv"]):
        assert typed(*words).code == 0
    assert ring.asked == []


async def test_a_keyring_that_hangs_keeps_nobody_from_stopping(
    with_keyring: Terminal, sandbox: Sandbox, write_csv: Callable[..., Path]
) -> None:
    """Ctrl-C ends the command although whatever was asked never answers."""
    here = with_keyring.with_variables(OURS="hangs")
    started = await here.start("run", a_file(write_csv))
    await here.until((here.folder / "asked").exists)
    started.send(signal.SIGINT)
    ended = await started.ended(20)
    assert (ended.code, sandbox.requests) == (3, 0), ended


@pytest.mark.usefixtures("system")
def test_the_doctor_says_where_each_password_comes_from(
    ring: OurKeyring, typed: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a program reads it, too."""
    monkeypatch.setenv("BULKREDEEM_BASE_URL", "http://127.0.0.1:9")
    ring.kept["bulkredeem http://127.0.0.1:9", TILL] = PASSWORD
    ended = typed("doctor", "--json")
    assert ended.objects[0]["settings"]["password"]["from"] == "keyring"
    assert PASSWORD not in ended.out + ended.err


# The terminal


class Typing(Screen):
    """A terminal at which a password is typed."""

    def press(self, keys: bytes) -> None:
        """Press keys; Ctrl-C is a byte, too."""
        os.write(self.descriptor, keys)

    async def asked(self, sandbox: Sandbox) -> None:
        """Return when the password is asked for."""
        question = f"Password of {sandbox.username} at {sandbox.base_url}:"
        await self.terminal.until(lambda: question in self.text() or self.process.process.returncode is not None)
        assert question in self.text(), self.text()


@pytest.fixture
async def at_terminal(
    with_keyring: Terminal,
) -> AsyncIterator[Callable[..., Any]]:
    """Start a command on a pseudo-terminal of its own, where nothing says the password."""
    async with screens(with_keyring, Typing) as start:

        async def started(*words: str, **variables: str) -> Typing:
            screen = await start(*words, python=("-c", AS_ITS_OWN_TERMINAL), **variables)
            assert isinstance(screen, Typing)
            return screen

        yield started


class Here:
    """A pseudo-terminal at which this process sits while it looks for a password."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Open it; a person sits at the end that is ours."""
        self.ours, self.theirs = pty.openpty()
        os.set_blocking(self.ours, False)
        self._monkeypatch = monkeypatch
        self._shown = b""

    def shown(self) -> str:
        """Return all that was written there so far."""
        with suppress(BlockingIOError):
            self._shown += os.read(self.ours, 65_536)
        return self._shown.decode(errors="replace")

    @contextmanager
    def _seated(self) -> Iterator[None]:
        with (
            open(self.theirs, closefd=False) as keyboard,
            open(self.theirs, "w", closefd=False) as screen,
            self._monkeypatch.context() as sitting,
        ):
            sitting.setattr(sys, "stdin", keyboard)
            sitting.setattr(sys, "stderr", screen)
            yield

    async def find_password(self, settings: Settings, keys: bytes = b"") -> None:
        """Look for the password, and press keys when it is asked for."""
        with self._seated():
            asking = asyncio.ensure_future(find_password(settings, Stop()))
            async with asyncio.timeout(20):
                while " at " not in self.shown() and not asking.done():  # noqa: ASYNC110  a terminal sets no event
                    await asyncio.sleep(0.01)
                os.write(self.ours, keys)
                await asking


@pytest.fixture
def here(system: None, ring: OurKeyring, monkeypatch: pytest.MonkeyPatch) -> Iterator[Here]:  # noqa: ARG001  nothing says the password
    """Put this process at a terminal."""
    here = Here(monkeypatch)
    yield here
    os.close(here.ours)
    os.close(here.theirs)


async def test_the_password_is_typed_and_not_shown(
    at_terminal: Callable[..., Any], sandbox: Sandbox, write_csv: Callable[..., Path], with_keyring: Terminal
) -> None:
    """It is good for the whole command, and stands nowhere; the terminal shows again afterwards what is typed."""
    screen = await at_terminal("run", a_file(write_csv), "--yes")
    await screen.asked(sandbox)
    assert sandbox.requests == 0
    screen.type(PASSWORD)
    assert await screen.ended() == 0
    assert sandbox.requests == 2
    assert PASSWORD not in screen.shown
    assert screen.text().count("Password of") == 1
    assert with_keyring.leaks(sandbox.username, PASSWORD) == []


async def test_what_is_asked_afterwards_is_shown(
    at_terminal: Callable[..., Any], sandbox: Sandbox, write_csv: Callable[..., Path]
) -> None:
    """The terminal is left as it was."""
    sandbox.password = PASSWORD
    screen = await at_terminal("run", a_file(write_csv), "--canary", "1")
    await screen.asked(sandbox)
    screen.type(PASSWORD)
    await screen.says("[y/N]")
    screen.type("yes-it-is-seen")
    await screen.says("yes-it-is-seen")
    await screen.ended()


async def test_a_wrong_password_is_not_asked_for_again(
    at_terminal: Callable[..., Any], sandbox: Sandbox, write_csv: Callable[..., Path]
) -> None:
    """A till is locked after several wrong tries."""
    screen = await at_terminal("run", a_file(write_csv))
    await screen.asked(sandbox)
    screen.type("not-this-one")
    assert await screen.ended() == 4
    assert screen.text().count("Password of") == 1
    assert "not-this-one" not in screen.shown
    assert sandbox.requests == 1


@pytest.mark.parametrize("keys", [b"\n", b"\x04"])
async def test_no_answer_is_no_password(here: Here, keys: bytes) -> None:
    """The ways to give one are named then."""
    settings = load_settings({})
    await here.find_password(settings, keys)
    assert f"Password of {TILL} at {HOST}:" in here.shown()
    with pytest.raises(ConfigurationError, match=r"Missing: the password \(BULKREDEEM_PASSWORD"):
        settings.require_for_sending()


async def test_ctrl_c_at_the_question(
    at_terminal: Callable[..., Any], sandbox: Sandbox, write_csv: Callable[..., Path]
) -> None:
    """It ends the command as at every other question, and nothing was sent."""
    screen = await at_terminal("run", a_file(write_csv))
    await screen.asked(sandbox)
    screen.press(b"\x03")
    assert await screen.ended() == 3
    assert "Stopped before anything more was sent." in screen.text()
    assert sandbox.requests == 0


async def test_a_password_that_is_no_text_is_refused_with_a_sentence(here: Here) -> None:
    """What a terminal sends in another encoding than UTF-8 would be another password."""
    settings = load_settings({})
    await here.find_password(settings, b"qui\xe9t\n")
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        client_for(settings)


@pytest.mark.usefixtures("system", "ring")
@pytest.mark.parametrize("how", [("--unattended",), ()])
def test_nobody_is_asked_where_nobody_is(
    typed: Callable[..., Ended], write_csv: Callable[..., Path], how: tuple[str, ...]
) -> None:
    """Neither unattended, nor where standard input is no terminal."""
    ended = typed("run", a_file(write_csv), *how)
    assert ended.code == 2
    assert "Missing: the password" in ended.err


async def test_nobody_is_asked_unattended_even_at_a_terminal(here: Here) -> None:
    """Whoever says so means it."""
    settings = load_settings({"unattended": True})
    await here.find_password(settings)
    assert here.shown() == ""
    assert password_of(settings) == ""


async def test_with_oauth_it_is_called_a_secret(here: Here) -> None:
    """As the platform calls it."""
    settings = load_settings({"auth": "oauth"})
    await here.find_password(settings, f"{PASSWORD}\n".encode())
    assert f"Secret of {TILL} at {HOST}:" in here.shown()
    assert PASSWORD not in here.shown()
    assert password_of(settings) == PASSWORD


async def test_the_password_of_a_run_that_is_gone_on_with(rehearsal: Rehearsal, unconfigured: Terminal) -> None:
    """Each command that asks or sends takes what was typed, also where the run alone says of which system it is."""
    folder = await rehearsal.stopped(rehearsal.file(6))
    here = unconfigured.with_variables(PYTHON_KEYRING_BACKEND="keyring.backends.null.Keyring")
    async with screens(here, Typing) as start:
        for words in (
            ("resume", folder.name),
            ("verify", folder.name, "--all", "--now"),
            ("retry", folder.name, "--status", "refused"),
        ):
            screen = await start(*words, python=("-c", AS_ITS_OWN_TERMINAL))
            await screen.asked(rehearsal.sandbox)
            screen.type(PASSWORD)
            assert await screen.ended() == 0, screen.text()
            assert PASSWORD not in screen.shown
    assert here.leaks(rehearsal.sandbox.username, PASSWORD) == []


@pytest.mark.parametrize("words", [("compare", "fixes.csv"), ("doctor",)])
async def test_commands_that_only_ask_take_what_is_typed(
    at_terminal: Callable[..., Any], sandbox: Sandbox, write_csv: Callable[..., Path], words: tuple[str, ...]
) -> None:
    """And may be stopped at the question as well."""
    a_file(write_csv)
    screen = await at_terminal(*words)
    await screen.asked(sandbox)
    screen.type(PASSWORD)
    await screen.ended()
    assert sandbox.reads > 0
    assert PASSWORD not in screen.shown
    if words == ("doctor",):
        assert "password: It is there, from what was typed." in screen.text()
    screen = await at_terminal(*words)
    await screen.asked(sandbox)
    screen.press(b"\x03")
    assert await screen.ended() == 3


def test_what_was_typed_is_only_for_its_system() -> None:
    """Copies of the settings have it; those for another platform or till have not."""
    settings = load_settings({"base_url": HOST, "username": TILL, "unattended": True})
    settings.take_typed(SecretStr(PASSWORD))
    assert password_of(settings.model_copy(update={"rate": "1/s"})) == PASSWORD
    assert password_of(restored(settings.public(), settings, ())) == PASSWORD
    assert password_of(settings.model_copy(update={"base_url": "https://other.example.com"})) == ""
    assert password_of(settings.model_copy(update={"username": "till.7"})) == ""
    assert PASSWORD not in f"{settings!r} {settings.public()} {settings.model_dump()} {vars(settings)}"


# Never


@given(st.text(min_size=8))
def test_a_purse_shows_nothing(secret: str) -> None:
    """Whatever is in it, its text is the same: a traceback may show it."""
    purses = []
    for each in (secret, "another secret"):
        purse = Purse(of_files={Path("password"): SecretStr(each)})
        purses.append(repr(purse))
    assert purses[0] == purses[1]


def test_what_settings_are_put_together_from_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where an error of ours would be shown with all that was known there."""
    monkeypatch.setenv("BULKREDEEM_PASSWORD", PASSWORD)
    monkeypatch.setenv("BULKREDEEM_PING_URL", "https://hc.example/hush")
    monkeypatch.setenv("BULKREDEEM_RATE", "never")
    with pytest.raises(ConfigurationError) as caught:
        load_settings({})
    error: BaseException | None = caught.value
    while error is not None:
        frame = error.__traceback__
        while frame is not None:
            inside = frame.tb_frame.f_globals["__name__"].startswith("bulkredeem")
            shown = repr(frame.tb_frame.f_locals) if inside else ""
            assert PASSWORD not in shown
            assert "hush" not in shown
            frame = frame.tb_next
        error = error.__context__


def test_no_option_is_a_secret() -> None:
    """Every user of a machine can read the command lines of all its processes."""
    group: Any = typer.main.get_command(app)
    words = ("password", "secret", "token", "key", "notify-urls", "ping")
    for name, command in group.commands.items():
        for parameter in command.params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                assert not any(word in option.lstrip("-").split("-") or word == option[2:] for word in words), (
                    f"{name} {option}"
                )
            described = (getattr(parameter, "help", "") or "").lower()
            assert "password" not in described, f"{name} {parameter.opts}"


def test_a_rehearsal_takes_every_credential_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the platform are no business of what runs against the sandbox."""
    names = ("BULKREDEEM_PASSWORD", "bulkredeem_password", "BULKREDEEM_PASSWORD_FILE", "CREDENTIALS_DIRECTORY")
    for name in names:
        monkeypatch.setenv(name, "hush")
    monkeypatch.setenv("BULKREDEEM_RATE", "7/s")
    left = _without_other_credentials()
    assert left.keys().isdisjoint(names)
    assert left["BULKREDEEM_RATE"] == "7/s"


async def test_a_rehearsal_has_the_password_of_the_sandbox(
    with_keyring: Terminal, write_csv: Callable[..., Path], unit: Callable[..., Path]
) -> None:
    """Whatever credential or keyring there is."""
    here = with_keyring.with_variables(OURS="hush", CREDENTIALS_DIRECTORY=str(unit(password="hush", ping_url="hush")))
    words = ("sandbox", "--", sys.executable, "-m", "bulkredeem", "run", a_file(write_csv))
    assert (await here.run(*words)).code == ExitCode.DONE
    assert not (here.folder / "asked").exists()
