"""The way to the platform: real certificates, real proxies, and servers that keep every byte that reaches them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import itertools
import ssl
import tracemalloc
import warnings
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError
from yarl import URL

from bulkredeem.application import Run, Terms, run_file
from bulkredeem.application.doctoring import CREDENTIALS, Finding, Level, diagnose
from bulkredeem.application.wiring import client_for
from bulkredeem.client import MAX_REPLY, UPDATE_PATH, Basic, Client, Way, basic_authorization, way_to
from bulkredeem.errors import ConfigurationError
from bulkredeem.model import Answer, Ceiling, Correction, Reply, Sign, Status, Trouble
from bulkredeem.pace import Pace
from bulkredeem.processor import Stop
from bulkredeem.settings import Settings, load_settings
from bulkredeem.settings.sources import load_settings_with_origins
from bulkredeem.verdict import judge, sign_of
from tests.alerts import ALERTS, OLD_SUITE, record_of_alert
from tests.conftest import Witness

if TYPE_CHECKING:
    from tests.conftest import Ended, Terminal

USER: Final = "asha.till"
PASSWORD: Final = "quiet-Otter-42"
PROXY_PASSWORD: Final = "silver@Heron 43"
BEHIND: Final = "https://platform.example.com"
"""The platform's address where only a proxy knows the way."""
IMPATIENT: Final = 0.3
"""Seconds that an attempt may take where an answer never ends."""
MEGABYTE: Final = 1_000_000
ASHA: Final = Correction(
    row_number=2,
    redemption_id="8878ru",
    entity_type="CUSTOMER",
    identifier_type="mobile",
    identifier_value="919900000001",
    bill_number="B-1",
)
HEADERS: Final = ["Host", "Content-Type", "Accept", "User-Agent", "Authorization", "Accept-Encoding", "Content-Length"]
"""The names in the head of every update."""
DIRECT: Final = Way()


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return an answer as it goes over the wire."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


OK: Final = http(b"{}")


def secrets() -> list[bytes]:
    """Return every form in which the credentials might arrive somewhere."""
    token = basic_authorization(USER, PASSWORD).removeprefix("Basic ")
    digest = hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest()
    forms = [USER, PASSWORD, digest, token, f"{USER}:{digest}", base64.b64encode(PASSWORD.encode()).decode()]
    return [form.encode() for form in [*forms, "Authorization", "authorization"]]


# A platform of the tests' own


@dataclass(kw_only=True)
class Listening:
    """A server on 127.0.0.1 that ends all that is under way when the test is over."""

    port: int = 0
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """End all that is under way."""
        self._server.close()
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await self._serve(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self._under_way.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


@dataclass(kw_only=True)
class Platform(Listening):
    """A server on 127.0.0.1, with TLS or without, that answers every request alike and keeps what it was sent."""

    tls: ssl.SSLContext | None = None
    reply: Callable[[], Iterable[bytes]] = lambda: [OK]
    """What is said to each request, piece by piece."""
    pause: float = 0.0
    """Seconds after each piece."""
    is_hasty: bool = False
    """Whether it answers whatever comes, be it a request or not."""
    breaks_off_at: int = 0
    """Which request, counted from 1, it takes and answers by an alert; 0 for none."""
    breaks_off_by: int = 0
    """The number of that alert."""
    raw: bytearray = field(default_factory=bytearray)
    """Every byte that arrived."""
    heard: bytearray = field(default_factory=bytearray)
    """Every byte of it that could be read: all of them without TLS."""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def base_url(self) -> str:
        """Where it is, by name."""
        return f"http{'s' if self.tls else ''}://localhost:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        cipher, text = Cipher(self.tls), bytearray()
        while came := await reader.read(65_536):
            self.raw += came
            text += (read := cipher.decrypted(came))
            self.heard += read
            writer.write(cipher.sent())
            while request := (came if self.is_hasty else whole_request(text)):
                self.requests.append(request)
                if len(self.requests) == self.breaks_off_at:
                    writer.write(cipher.alert(self.breaks_off_by))
                    return
                for piece in self.reply():
                    writer.write(cipher.encrypted(piece))
                    await writer.drain()
                    await asyncio.sleep(self.pause)
                if self.is_hasty:
                    break
            await writer.drain()


class Cipher:
    """The server's side of TLS over bytes, so that they can be kept; without a context it changes nothing."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        """Begin a connection."""
        self._context = tls
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._layer = tls.wrap_bio(self._incoming, self._outgoing, server_side=True) if tls else None
        self._is_broken = False
        self._first_sent, self._encrypted = b"", 0

    def decrypted(self, came: bytes) -> bytes:
        """Return what can be read now that these bytes came; after a failure nothing can any more."""
        if self._layer is None:
            return came
        self._incoming.write(came)
        text = b""
        # A server that refuses says so, and then still takes what the other side sends: nothing of it is lost.
        try:
            while not self._is_broken:
                self._layer.do_handshake()
                text += (read := self._layer.read())
                self._is_broken = not read  # the other side has said that it is done
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            self._is_broken = True
        return text

    def encrypted(self, text: bytes) -> bytes:
        """Return what is to be sent for this text."""
        if self._layer is None:
            return text
        self._layer.write(text)
        self._encrypted += 1
        return self.sent()

    def sent(self) -> bytes:
        """Return what TLS itself wants to be sent."""
        going = self._outgoing.read()
        self._first_sent = self._first_sent or going
        return going

    def alert(self, number: int) -> bytes:
        """Return an alert, which comes when the handshake has long been complete."""
        assert self._layer is not None
        assert self._context is not None
        before = self._context.num_tickets if self._layer.version() == "TLSv1.3" else 1
        return record_of_alert(
            number,
            key_log=Path(self._context.keylog_filename),
            first_sent=self._first_sent,
            records=before + self._encrypted,
        )


def whole_request(text: bytearray) -> bytes:
    """Take the first request off the text, when it is whole; empty when it is not."""
    head, end, rest = text.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")]
    length = int(lengths[0]) if lengths else 0
    if not end or len(rest) < length:
        return b""
    request = bytes(head + end + rest[:length])
    del text[: len(request)]
    return request


# Certificates


@dataclass(frozen=True, kw_only=True)
class Trust:
    """An authority, and the file that names it."""

    authority: trustme.CA
    bundle: Path

    def platform(self, *names: str, **options: Any) -> Platform:
        """Return a platform whose certificate it has issued for these names, `localhost` if none."""
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*names or ("localhost",), **options).configure_cert(tls)
        return Platform(tls=tls)


@pytest.fixture
def trust(nothing_configured: Path) -> Trust:
    """Give an authority that no machine knows."""
    authority, bundle = trustme.CA(), nothing_configured / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    return Trust(authority=authority, bundle=bundle)


def wrong_host(trust: Trust) -> Platform:
    """Return a platform with the certificate of another host."""
    return trust.platform("eu.api.example.com")


def expired(trust: Trust) -> Platform:
    """Return a platform whose certificate was good until yesterday."""
    return trust.platform(not_after=datetime.now(UTC) - timedelta(days=1))


def unknown_authority(trust: Trust) -> Platform:
    """Return a platform that another authority vouches for."""
    return Trust(authority=trustme.CA(), bundle=trust.bundle).platform()


def self_signed(_: Trust) -> Platform:
    """Return a platform that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    Path("own.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + pem_of(key))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain("own.pem")
    return Platform(tls=tls)


def tls_of_2006(trust: Trust) -> Platform:
    """Return a platform that speaks no TLS later than 1.1."""
    platform = trust.platform()
    assert platform.tls is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that it is outdated is what this is about
        platform.tls.minimum_version = ssl.TLSVersion.TLSv1
        platform.tls.maximum_version = ssl.TLSVersion.TLSv1_1
    platform.tls.set_ciphers("ALL:@SECLEVEL=0")
    return platform


def no_tls(_: Trust) -> Platform:
    """Return a platform that speaks plain HTTP where https is expected."""
    return Platform(reply=lambda: [http(b"speak plainly", status="400 Bad Request")], is_hasty=True)


def pem_of(key: ec.EllipticCurvePrivateKey, password: bytes = b"") -> bytes:
    """Return a private key in PEM form."""
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


REFUSED: Final = {
    wrong_host: "could not be verified: hostname mismatch, certificate is not valid for 'localhost'",
    expired: "could not be verified: certificate has expired",
    unknown_authority: "could not be verified: unable to get local issuer certificate",
    self_signed: "could not be verified: self-signed certificate",
    tls_of_2006: "no secure connection to the platform could be made",
    no_tls: "no secure connection to the platform could be made",
}
"""Whom nothing is sent to → what is said of it."""


def ready(terminal: Terminal, base_url: str, **variables: str) -> Terminal:
    """Return a terminal that knows who we are and where the platform is, and has a file of three rows."""
    rows = "".join(f"AB000{number},B-{number},91990000000{number}\n" for number in range(3))
    (terminal.folder / "fixes.csv").write_text(f"redemptionId,billNumber,identifierValue\n{rows}")
    return terminal.with_variables(
        BULKREDEEM_BASE_URL=base_url, BULKREDEEM_USERNAME=USER, BULKREDEEM_PASSWORD=PASSWORD, **variables
    )


async def run(terminal: Terminal, *flags: str | Path) -> Ended:
    """Run the file as a process of its own: where its exit code, its words or its event loop matter."""
    return await terminal.run("run", "fixes.csv", "--rate", "none", "--outage-timeout", "2s", *flags)


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Awaitable[Run]]:
    """Run the file in this process, with the terminal's variables and such flags."""

    async def run_it(terminal: Terminal, **flags: Any) -> Run:
        for name, value in terminal.environment.items():
            monkeypatch.setenv(name, value)
        stop = Stop()
        terms = Terms(stop=stop, observer=Witness(), pace=Pace(Ceiling.parse("none"), sleep=stop.sleep))
        return await run_file(Path("fixes.csv"), load_settings({"outage_timeout": "1s", **flags}), terms)

    return run_it


@pytest.mark.parametrize("kind", REFUSED)
async def test_no_byte_of_the_credentials_reaches_whoever_is_not_the_platform(
    kind: Callable[[Trust], Platform],
    trust: Trust,
    unconfigured: Terminal,
    run_here: Callable[..., Awaitable[Run]],
) -> None:
    """The run ends with 2 and one sentence, its rows are pending, and nothing but the beginning of TLS has arrived."""
    async with kind(trust) as platform:
        terminal = ready(unconfigured, f"https://localhost:{platform.port}")
        ended = await run_here(terminal, ca_bundle=trust.bundle)
    assert ended.exit_code == 2
    assert REFUSED[kind] in terminal.summary()["stop_reason"]
    assert terminal.summary()["counts"]["pending"] == 3
    assert platform.connections >= 1
    assert platform.raw, "nobody has tried"
    assert [secret for secret in secrets() if secret in platform.raw + platform.heard] == []
    assert platform.requests == [] or kind is no_tls
    if platform.tls:
        assert platform.heard == b""


async def test_a_bundle_is_all_that_is_trusted(
    trust: Trust, unconfigured: Terminal, run_here: Callable[..., Awaitable[Run]]
) -> None:
    """With the platform's authority in it a run succeeds; with another one it does not, whatever the machine trusts."""
    other = trust.bundle.with_name("other.pem")
    trustme.CA().cert_pem.write_to_path(str(other))
    async with trust.platform() as platform:
        terminal = ready(unconfigured, platform.base_url, SSL_CERT_FILE=str(trust.bundle))
        refused = await run_here(terminal, ca_bundle=other)
        assert (refused.exit_code, bytes(platform.heard)) == (2, b"")
        taken = await run_here(terminal, ca_bundle=trust.bundle, resend=True)
    assert taken.exit_code == 0
    assert (len(platform.requests), terminal.statuses()) == (3, ["success"] * 3)
    assert basic_authorization(USER, PASSWORD).encode() in platform.heard
    assert basic_authorization(USER, PASSWORD).encode() not in platform.raw


async def test_without_a_bundle_the_machine_decides(
    trust: Trust, unconfigured: Terminal, run_here: Callable[..., Awaitable[Run]]
) -> None:
    """What SSL_CERT_FILE names is what this machine trusts."""
    async with trust.platform() as platform:
        terminal = ready(unconfigured, platform.base_url, SSL_CERT_FILE=str(trust.bundle))
        assert (await run_here(terminal)).exit_code == 0


def test_host_names_are_checked_and_old_protocols_refused() -> None:
    """Whatever the files say, certificates are required, names are checked, and TLS is 1.2 at least."""
    tls = way_to(BEHIND, proxies={}).tls
    assert tls is not None
    assert (tls.check_hostname, tls.verify_mode) == (True, ssl.CERT_REQUIRED)
    assert tls.minimum_version is ssl.TLSVersion.TLSv1_2


# Our own certificate


@pytest.fixture
def shown(trust: Trust) -> dict[str, Path]:
    """Give the settings of a client certificate with its key, in two files."""
    ours = trust.authority.issue_cert("till.example.com")
    names = {"client_certificate": trust.bundle.with_name("ours.pem"), "client_key": trust.bundle.with_name("key.pem")}
    ours.cert_chain_pems[0].write_to_path(str(names["client_certificate"]))
    ours.private_key_pem.write_to_path(str(names["client_key"]))
    return names


def wanting(trust: Trust, version: ssl.TLSVersion) -> Platform:
    """Return a platform that lets only those in who show a certificate of the authority."""
    platform = trust.platform()
    assert platform.tls is not None
    platform.tls.minimum_version = platform.tls.maximum_version = version
    platform.tls.verify_mode = ssl.CERT_REQUIRED
    trust.authority.configure_trust(platform.tls)
    return platform


async def ask(base_url: str, way: Way = DIRECT, *, timeout: float = 20.0) -> Answer:  # noqa: ASYNC109  the client's own, in seconds
    """Send one update through a client of its own."""
    async with Client(base_url, Basic(USER, PASSWORD), timeout=timeout, max_connections=1, way=way) as client:
        return await client.update(ASHA)


VERSIONS: Final = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("files", ["two", "one"])
async def test_our_certificate_lets_us_in(
    version: ssl.TLSVersion, files: str, trust: Trust, shown: dict[str, Path]
) -> None:
    """It is shown to a platform that asks for one, with its key in a file of its own or beside it."""
    if files == "one":
        both = trust.bundle.with_name("both.pem")
        both.write_bytes(shown["client_certificate"].read_bytes() + shown.pop("client_key").read_bytes())
        shown["client_certificate"] = both
    async with wanting(trust, version) as platform:
        way = way_to(platform.base_url, ca_bundle=trust.bundle, proxies={}, **shown)
        assert await ask(platform.base_url, way) == Reply(http_status=200, body={})


OF_OUR_CERTIFICATE: Final = {
    ssl.TLSVersion.TLSv1_2: ("TLS_FAILED", False),
    ssl.TLSVersion.TLSv1_3: ("CERTIFICATE_REFUSED", True),
}
"""How it is told that ours is refused: the code, and whether the request may have been taken all the same."""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["none", "another authority's"])
async def test_a_platform_that_refuses_our_certificate_says_so(
    version: ssl.TLSVersion, kind: str, trust: Trust, shown: dict[str, Path]
) -> None:
    """With TLS 1.2 we never were connected; with TLS 1.3 we were, and the row is in doubt."""
    if kind == "none":
        shown.clear()
    else:
        stranger = trustme.CA().issue_cert("till.example.com")
        stranger.cert_chain_pems[0].write_to_path(str(shown["client_certificate"]))
        stranger.private_key_pem.write_to_path(str(shown["client_key"]))
    async with wanting(trust, version) as platform:
        trouble = await ask(platform.base_url, way_to(platform.base_url, ca_bundle=trust.bundle, proxies={}, **shown))
    assert isinstance(trouble, Trouble)
    assert (trouble.code, trouble.may_be_applied) == OF_OUR_CERTIFICATE[version]
    assert platform.heard == b""
    # What OpenSSL says with TLS 1.2 when none was shown, it says of other things, too.
    assert "client_certificate" in trouble.message or (version, kind) == (ssl.TLSVersion.TLSv1_2, "none")


def breaking_off(trust: Trust, version: ssl.TLSVersion, alert: int, at: int) -> Platform:
    """Return a platform that takes its requests, and answers one of them (counted from 1) by this alert."""
    platform = trust.platform()
    assert platform.tls is not None
    platform.tls.minimum_version = platform.tls.maximum_version = version
    platform.tls.set_ciphers(OLD_SUITE)
    platform.tls.keylog_filename = str(trust.bundle.with_name("keys.log"))
    platform.breaks_off_by, platform.breaks_off_at = alert, at
    return platform


async def last_answer(platform: Platform, way: Way) -> Trouble:
    """Send updates over one connection until the platform breaks off, and return what the last one came to."""
    async with Client(platform.base_url, Basic(USER, PASSWORD), timeout=20.0, max_connections=1, way=way) as client:
        answers = [await client.update(ASHA) for _ in range(platform.breaks_off_at)]
    assert (len(platform.requests), platform.connections) == (platform.breaks_off_at, 1)
    assert isinstance(answers[-1], Trouble)
    return answers[-1]


@pytest.mark.parametrize("alert", ALERTS)
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("version", VERSIONS)
async def test_a_request_that_was_taken_is_in_doubt_whatever_alert_comes(
    version: ssl.TLSVersion, at: int, alert: str, trust: Trust
) -> None:
    """A platform may carry a request out and then break off; what it says of a certificate has a code of its own."""
    number, is_of_a_certificate = ALERTS[alert]
    async with breaking_off(trust, version, number, at) as platform:
        trouble = await last_answer(platform, way_to(platform.base_url, ca_bundle=trust.bundle, proxies={}))
    code = "CERTIFICATE_REFUSED" if is_of_a_certificate else "CONNECTION_LOST"
    assert (trouble.code, trouble.may_be_applied) == (code, True)
    assert ("client_certificate" in trouble.message) is is_of_a_certificate


@pytest.mark.parametrize(
    ("alert", "is_ours_shown", "words"),
    [
        ("certificate_required", False, "wants a client certificate, and none was shown"),
        ("unknown_ca", False, "broke off over a certificate, and none was shown"),
        ("unknown_ca", True, "does not accept our client certificate"),
    ],
)
async def test_the_sentence_says_whether_a_certificate_was_shown(
    alert: str,
    is_ours_shown: bool,  # noqa: FBT001  a parameter of the test
    words: str,
    trust: Trust,
    shown: dict[str, Path],
) -> None:
    """Who has shown one looks for another mistake than who has not."""
    async with breaking_off(trust, ssl.TLSVersion.TLSv1_3, ALERTS[alert][0], 1) as platform:
        ours = shown if is_ours_shown else {}
        trouble = await last_answer(platform, way_to(platform.base_url, ca_bundle=trust.bundle, proxies={}, **ours))
    assert trouble.message == f"the platform {words} (client_certificate)"


async def test_what_could_not_be_written_is_in_doubt(trust: Trust) -> None:
    """Of a connection that is at its end aiohttp only says that: what ended it, and when, is lost."""
    async with trust.platform() as platform:
        way = way_to(platform.base_url, ca_bundle=trust.bundle, proxies={})
        client = Client(platform.base_url, Basic(USER, PASSWORD), timeout=20.0, max_connections=1, way=way)
        async with client:
            connector: Any = client._session.connector
            connect = connector.connect

            async def connect_in_vain(*words: object, **named: object) -> object:
                connection = await connect(*words, **named)
                connection.transport.close()
                return connection

            connector.connect = connect_in_vain
            trouble = await client.update(ASHA)
    assert trouble == Trouble(code="CONNECTION_LOST", message="the connection was lost", may_be_applied=True)
    assert (platform.connections, platform.requests) == (1, [])


async def test_a_missing_client_certificate_is_one_sentence(
    trust: Trust, unconfigured: Terminal, run_here: Callable[..., Awaitable[Run]]
) -> None:
    """The run ends with 2, every row is pending, and what was sent counts as perhaps applied."""
    async with wanting(trust, ssl.TLSVersion.TLSv1_3) as platform:
        terminal = ready(unconfigured, platform.base_url)
        ended = await run_here(terminal, ca_bundle=trust.bundle)
    assert ended.exit_code == 2
    sentence = "the platform wants a client certificate, and none was shown (client_certificate)"
    assert terminal.summary()["stop_reason"] == sentence
    assert terminal.statuses() == ["pending"] * 3
    assert "SENT_BEFORE" in {row["error_code"] for row in terminal.results()} <= {"SENT_BEFORE", ""}


# Files that are of no use


def broken_files(folder: Path) -> dict[str, tuple[dict[str, Path], str]]:
    """Return what can be wrong → the settings that have it, and what is said of it."""
    authority = trustme.CA()
    ours, other = authority.issue_cert("till.example.com"), authority.issue_cert("till.example.com")
    encrypted = pem_of(ec.generate_private_key(ec.SECP256R1()), b"badger-Lamp-7")
    contents = {
        "cert.pem": ours.cert_chain_pems[0].bytes(),
        "key.pem": ours.private_key_pem.bytes(),
        "other.key": other.private_key_pem.bytes(),
        "both.pem": ours.cert_chain_pems[0].bytes() + other.private_key_pem.bytes(),
        "encrypted.key": encrypted,
        "encrypted.pem": ours.cert_chain_pems[0].bytes() + encrypted,
        "empty.pem": b"",
        "cert.der": ssl.PEM_cert_to_DER_cert(ours.cert_chain_pems[0].bytes().decode()),
        "damaged.pem": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "damaged.key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    (folder / "closed.pem").touch(mode=0)

    def pair(certificate: str, key: str = "") -> dict[str, Path]:
        named = {"client_certificate": folder / certificate}
        return named | ({"client_key": folder / key} if key else {})

    return {
        "no bundle": (
            {"ca_bundle": folder / "gone.pem"},
            "ca_bundle names {}/gone.pem, which cannot be read: there is",
        ),
        "a folder": ({"ca_bundle": folder}, "ca_bundle names {}, which cannot be read: it is no file"),
        "an empty bundle": ({"ca_bundle": folder / "empty.pem"}, "empty.pem, which holds no certificate in PEM form"),
        "a bundle of keys": ({"ca_bundle": folder / "key.pem"}, "key.pem, which holds no certificate in PEM form"),
        "a damaged bundle": ({"ca_bundle": folder / "damaged.pem"}, "damaged.pem, which is damaged"),
        "DER": ({"ca_bundle": folder / "cert.der"}, "cert.der, which holds no certificate in PEM form"),
        "a NUL": ({"ca_bundle": folder / "a\0b"}, "cannot be read"),
        "no certificate": (pair("gone.pem", "key.pem"), "client_certificate names {}/gone.pem, which cannot be read"),
        "no key": (pair("cert.pem", "gone.key"), "client_key names {}/gone.key, which cannot be read"),
        "no key beside it": (
            pair("cert.pem"),
            "cert.pem, which holds no private key: name the key's file in client_key",
        ),
        "a key alone": ({"client_key": folder / "key.pem"}, "but there is no client_certificate"),
        "another key": (pair("cert.pem", "other.key"), "whose key is not that of the certificate in {}/cert.pem"),
        "another key beside it": (pair("both.pem"), "both.pem, whose key is not that of the certificate in"),
        "an encrypted key": (pair("cert.pem", "encrypted.key"), "client_key names {}/encrypted.key, whose key is encr"),
        "encrypted beside it": (
            pair("encrypted.pem"),
            "client_certificate names {}/encrypted.pem, whose key is encrypt",
        ),
        "exchanged": (pair("key.pem", "cert.pem"), "client_certificate names {}/key.pem, which holds no certificate"),
        "an empty key": (pair("cert.pem", "empty.pem"), "client_key names {}/empty.pem, which holds no private key"),
        "a damaged certificate": (pair("damaged.pem", "key.pem"), "damaged.pem and {}/key.pem cannot be used"),
        "a damaged key": (pair("cert.pem", "damaged.key"), "cannot be used"),
    }


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, tuple[dict[str, Path], str]]]:
    """Give a folder of files that are of no use, and what is wrong with them."""
    folder = tmp_path_factory.mktemp("certificates")
    return folder, broken_files(folder)


@pytest.mark.parametrize(
    "kind",
    [
        *("no bundle", "a folder", "an empty bundle", "a bundle of keys", "a damaged bundle", "DER", "a NUL"),
        *("no certificate", "no key", "no key beside it", "a key alone", "another key", "another key beside it"),
        *("an encrypted key", "encrypted beside it", "exchanged", "an empty key"),
        *("a damaged certificate", "a damaged key"),
    ],
)
def test_a_file_that_is_of_no_use_is_named(
    kind: str, broken: tuple[Path, dict[str, tuple[dict[str, Path], str]]]
) -> None:
    """One sentence names setting, file and remedy, holds no line of the file, and nobody is asked for a password."""
    folder, kinds = broken
    files, words = kinds[kind]
    with pytest.raises(ConfigurationError) as caught:
        way_to(BEHIND, proxies={}, **files)
    said = str(caught.value)
    assert words.format(folder) in said
    assert (said.count(". ") + said.count("\n"), said[-1]) == (0, ".")
    inside = {line for path in folder.iterdir() if path.stat().st_mode & 0o400 for line in path.read_bytes().split()}
    assert [line for line in inside if len(line) > 20 and line in said.encode()] == []


async def test_a_useless_file_ends_a_run_before_anything_is_sent(
    trust: Trust, unconfigured: Terminal, looked_at: Callable[..., Any]
) -> None:
    """Exit code 2, no folder of a run, and no connection; `doctor` says the same."""
    (trust.bundle.with_name("empty.pem")).touch()
    async with trust.platform() as platform:
        terminal = ready(unconfigured, platform.base_url)
        ran = await run(terminal, "--ca-bundle", "empty.pem")
        looked = await looked_at(platform.base_url, {}, ca_bundle="empty.pem")
    words = "ca_bundle names empty.pem, which holds no certificate in PEM form"
    assert (ran.code, platform.connections) == (2, 0)
    assert words in " ".join(ran.err.split())
    assert words in worst(looked, "connection").found
    assert not terminal.reports.exists() or not list(terminal.reports.glob("2*"))


# The proxy


@dataclass(kw_only=True)
class Proxy(Listening):
    """A proxy on 127.0.0.1 that leads to one port of this machine, whatever host was asked for."""

    target: int = 0
    answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"
    """What is said to CONNECT; nobody is led anywhere unless it is this."""
    heads: list[bytes] = field(default_factory=list)
    """What each connection was opened with."""

    def address(self, credentials: str = "") -> str:
        """Return what a variable names it by."""
        return f"http://{credentials}127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            if b" 200 " in self.answer and self.target:
                await self._lead(reader, writer)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_there, to_there = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            await asyncio.gather(pumped(reader, to_there), pumped(from_there, writer))
        finally:
            to_there.close()


async def pumped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, to its end."""
    while piece := await reader.read(65_536):
        writer.write(piece)
        await writer.drain()
    writer.close()


@pytest.fixture
async def behind(trust: Trust) -> AsyncIterator[tuple[Platform, Proxy]]:
    """Give a platform that only a proxy knows the way to."""
    async with trust.platform("platform.example.com") as platform, Proxy(target=platform.port) as proxy:
        yield platform, proxy


def through(trust: Trust, proxy: Proxy, credentials: str = "") -> Way:
    """Return the way to the platform through a proxy."""
    return way_to(BEHIND, ca_bundle=trust.bundle, proxies={"https": proxy.address(credentials)})


async def test_a_run_goes_through_the_proxy_of_the_environment(
    trust: Trust, behind: tuple[Platform, Proxy], unconfigured: Terminal
) -> None:
    """The proxy hears the platform's name and its own password; what else is said, only the platform can read."""
    platform, proxy = behind
    address = proxy.address("asha:silver%40Heron%2043@")
    terminal = ready(unconfigured, BEHIND, HTTPS_PROXY=address, https_proxy=address, NO_PROXY="", no_proxy="")
    ended = await run(terminal, "--ca-bundle", trust.bundle)
    assert ended.code == 0, ended
    assert len(platform.requests) == 3
    token = base64.b64encode(f"asha:{PROXY_PASSWORD}".encode()).decode()
    for head in proxy.heads:
        line, *headers = head.decode().split("\r\n")
        assert line == "CONNECT platform.example.com:443 HTTP/1.1"
        assert f"Proxy-Authorization: Basic {token}" in headers
        assert [header for header in headers if header.startswith(("Authorization", "Cookie"))] == []
    assert b"proxy-authorization" not in bytes(platform.heard).lower()
    assert token.encode() not in platform.heard
    assert [secret for secret in secrets()[:-2] if secret in platform.raw] == []
    assert terminal.leaks("asha", PROXY_PASSWORD) == []
    files = b"".join(path.read_bytes() for path in terminal.reports.rglob("*") if path.is_file())
    assert token.encode() not in files + ended.out.encode() + ended.err.encode()


async def test_the_platform_behind_a_proxy_must_prove_itself(trust: Trust, unconfigured: Terminal) -> None:
    """A proxy that leads to somebody else gets no byte of the credentials."""
    async with trust.platform("eu.api.example.com") as other, Proxy(target=other.port) as proxy:
        terminal = ready(unconfigured, BEHIND, https_proxy=proxy.address(), no_proxy="")
        ended = await run(terminal, "--ca-bundle", trust.bundle)
    assert ended.code == 2, ended
    assert "certificate is not valid for 'platform.example.com'" in terminal.summary()["stop_reason"]
    assert other.raw
    assert [secret for secret in secrets() if secret in other.raw + b"".join(proxy.heads)] == []


PROXY_TROUBLES: Final = {
    "407": (
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        "another user name or password",
    ),
    "403": (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "did not connect us to the platform (HTTP 403)"),
    "503": (b"HTTP/1.1 503 Unavailable\r\n\r\n", "did not connect us to the platform (HTTP 503)"),
    "302": (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n\r\n", "(HTTP 302)"),
    "201": (b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", "(HTTP 201)"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.9\r\n", "what it answered was not HTTP"),
    "nothing": (b"", "the proxy closed the connection"),
    "half": (b"HTTP/1.1 200 Con", "the proxy closed the connection"),
    "a huge header": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * MEGABYTE, "what it answered was not HTTP"),
}


@pytest.mark.parametrize("kind", PROXY_TROUBLES)
async def test_a_proxy_that_does_not_connect_us(kind: str, trust: Trust) -> None:
    """Whatever it answers, the request has not left, and the try says that nobody was reached: no row is given up."""
    answer, words = PROXY_TROUBLES[kind]
    async with Proxy(answer=answer) as proxy:
        trouble = await ask(BEHIND, through(trust, proxy, "asha:heron@"))
    assert isinstance(trouble, Trouble)
    assert (trouble.code, trouble.may_be_applied) == ("PROXY_REFUSED" if kind == "407" else "PROXY_FAILED", False)
    assert words in trouble.message
    assert "heron" not in trouble.message
    verdict = judge(trouble, ASHA)
    assert (verdict.status, verdict.repeat, sign_of(trouble, verdict)) == (Status.FAILED, True, Sign.UNANSWERED)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://127.0.0.1:{port}", "no connection to the proxy could be made"),
        (f"http://{'.'.join(['a' * 60] * 6)}:3128", "the proxy's host name could not be resolved"),
    ],
    ids=["nobody there", "no name"],
)
async def test_a_proxy_that_cannot_be_reached(address: str, words: str, trust: Trust) -> None:
    """It is the proxy that is told of, not the platform."""
    async with Proxy() as gone:
        pass
    way = way_to(BEHIND, ca_bundle=trust.bundle, proxies={"https": address.format(port=gone.port)})
    trouble = await ask(BEHIND, way)
    assert trouble == Trouble(code="PROXY_FAILED", message=words, may_be_applied=False)


async def test_a_proxy_that_is_silent(trust: Trust) -> None:
    """It costs the time for connecting, and that is told apart from an answer that never came."""
    async with Platform(reply=list) as silent:
        way = way_to(BEHIND, ca_bundle=trust.bundle, proxies={"https": f"http://127.0.0.1:{silent.port}"})
        trouble = await ask(BEHIND, way, timeout=IMPATIENT)
    assert isinstance(trouble, Trouble)
    assert (trouble.code, trouble.may_be_applied) == ("CONNECT_TIMEOUT", False)


async def test_what_is_lost_behind_a_proxy_may_be_applied(trust: Trust, behind: tuple[Platform, Proxy]) -> None:
    """Once the request has left, a connection that ends leaves everything open, as it does without a proxy."""
    platform, proxy = behind

    def leave() -> Iterator[bytes]:
        yield b""
        raise ConnectionError("the platform takes the request and leaves")

    platform.reply = leave
    trouble = await ask(BEHIND, through(trust, proxy))
    assert trouble == Trouble(code="CONNECTION_LOST", message="the connection was lost", may_be_applied=True)
    assert len(platform.requests) == 1


async def test_a_proxy_that_does_not_connect_us_is_an_outage(
    trust: Trust, unconfigured: Terminal, run_here: Callable[..., Awaitable[Run]]
) -> None:
    """It concerns every row, so none is given up: the run waits, ends with 3, and all rows are pending."""
    async with Proxy(answer=PROXY_TROUBLES["403"][0]) as proxy:
        terminal = ready(unconfigured, BEHIND, https_proxy=proxy.address(), no_proxy="")
        ended = await run_here(terminal, ca_bundle=trust.bundle)
    assert (ended.exit_code, terminal.statuses()) == (3, ["pending"] * 3)
    assert "has not answered for" in terminal.summary()["stop_reason"]
    assert len(proxy.heads) > 1


async def test_a_proxy_that_refuses_its_password_is_asked_once(
    trust: Trust, unconfigured: Terminal, run_here: Callable[..., Awaitable[Run]]
) -> None:
    """The run ends with 2 before a further try locks somebody, and says where the password stands, not which it is."""
    async with Proxy(answer=PROXY_TROUBLES["407"][0]) as proxy:
        terminal = ready(unconfigured, BEHIND, https_proxy=proxy.address("asha:heron@"), no_proxy="")
        ended = await run_here(terminal, ca_bundle=trust.bundle)
    assert (ended.exit_code, terminal.statuses(), len(proxy.heads)) == (2, ["pending"] * 3, 1)
    said = terminal.summary()["stop_reason"]
    assert "user name or password than HTTPS_PROXY has (HTTP 407)" in said
    assert ("asha" in said, "heron" in said) == (False, False)


@pytest.mark.parametrize(
    ("named", "proxy", "told"),
    [
        ("http://proxy.example.com:3128", "http://proxy.example.com:3128", None),
        ("http://proxy.example.com:3128/", "http://proxy.example.com:3128", None),
        ("proxy.example.com:3128", "http://proxy.example.com:3128", None),
        ("proxy.example.com", "http://proxy.example.com:80", None),
        ("http://[2001:db8::1]:3128", "http://[2001:db8::1]:3128", None),
        ("http://asha:s%3Ae%40c@proxy.example.com:3128", "http://proxy.example.com:3128", "asha:s:e@c"),
        ("asha:heron@proxy.example.com:3128", "http://proxy.example.com:3128", "asha:heron"),
        ("http://asha@proxy.example.com", "http://proxy.example.com:80", "asha:"),
        ("http://asha:a%0D%0AX:%20b@proxy.example.com", "http://proxy.example.com:80", "asha:a\r\nX: b"),
        ("http://kasse:p%C3%A4@proxy.example.com", "http://proxy.example.com:80", "kasse:pä"),
    ],
)
def test_how_a_proxy_is_named(named: str, proxy: str, told: str | None) -> None:
    """Address and credentials are taken apart; whatever these hold, they are one line when they are sent."""
    way = way_to(BEHIND, proxies={"https": named})
    assert way.proxy == proxy
    assert way.proxy_authorization == (f"Basic {base64.b64encode(told.encode()).decode()}" if told else "")
    assert not told or way.proxy_authorization not in repr(way)


@pytest.mark.parametrize(
    "named",
    [
        *("https://asha:heron@proxy.example.com", "socks5://asha:heron@proxy.example.com:1080", "ftp://heron@x"),
        *("http://heron@", "http://:heron@", "http://heron:x@[::1", "http://x:heron@proxy.example.com:port"),
        *("http://x:heron@proxy..example.com", "http://x:heron@proxy.example.com\r\nX: y", "http://x:he ron@a heron"),
        *("http://x:heron@proxy.example.com:99999", "\x00heron", "http://heron\udcff@proxy.example.com"),
        *("http://x:heron@proxy.example.com:0", "http://x:heron@proxy.example.com/way", "http://x:1/heron@a.example"),
        *("http://x:heron@proxy.example.com?way", "http://x:heron@proxy.example.com/#way"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused(named: str) -> None:
    """It is never gone around in silence, and the sentence quotes nothing: there may be a password in it."""
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY in the environment names no proxy") as caught:
        way_to(BEHIND, proxies={"https": named})
    assert "heron" not in str(caught.value)
    assert caught.value.__suppress_context__


async def test_a_proxy_that_cannot_be_used_ends_a_run(
    unconfigured: Terminal, run_here: Callable[..., Awaitable[Run]]
) -> None:
    """Before anything is sent, as every setting does that makes no sense."""
    terminal = ready(unconfigured, BEHIND, https_proxy="socks5://asha:heron@127.0.0.1:1080", no_proxy="")
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY in the environment names no proxy that can be used"):
        await run_here(terminal)
    assert list(terminal.reports.glob("2*")) == []


@pytest.mark.parametrize(
    ("no_proxy", "is_direct"),
    [
        ("platform.example.com", True),
        ("example.com", True),
        (".example.com", True),
        ("other.example.net, PLATFORM.example.com", True),
        ("platform.example.com:443", True),
        ("*", True),
        ("", False),
        ("ample.com", False),
        ("platform.example.com:8443", False),
        ("platform.example.com.evil.example", False),
        ("*.example.com", True),
        ("*.other.example.net", False),
        ("*example.com:443", True),
        ("platform.example.com.", True),
        ("other.example.net, *", True),
        (" * ", True),
        ("10.0.0.0/8, 2001:db8::/32, ., *., :, [", False),
        ("platform.example.com:https", False),
    ],
)
def test_who_is_reached_without_the_proxy(no_proxy: str, is_direct: bool) -> None:  # noqa: FBT001  a parameter of the test
    """NO_PROXY names hosts and their subdomains, with a port or without."""
    way = way_to(BEHIND, proxies={"https": "http://proxy.example.com:3128", "no": no_proxy})
    assert (way.proxy == "") is is_direct


@pytest.mark.parametrize(
    ("host", "no_proxy", "is_direct"),
    [
        ("[2001:db8::1]:8443", "2001:db8::1", True),
        ("[2001:db8::1]:8443", "[2001:db8::1]", True),
        ("[2001:db8::1]:8443", "[2001:db8::1]:8443", True),
        ("[2001:db8::1]:8443", "[2001:db8::1]:443", False),
        ("[2001:db8::1]:8443", "2001:DB8:0::1", True),
        ("[2001:db8::1]:8443", "2001:db8::/32", True),
        ("[2001:db8::1]:8443", "2001:db9::/32", False),
        ("[2001:db8::1]:8443", "2001:db8:", False),
        ("[2001:db8::1]:8443", ":1, ::1, 1", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.99/24:443", True),
        ("10.1.2.3", "11.0.0.0/8, 10.0.0.0/99, 2001:db8::/32", False),
        ("10.1.2.3", "2.3, .3, 10., *.3", False),
        ("platform.example.com.", "example.com", True),
    ],
)
def test_addresses_and_networks_are_reached_without_the_proxy(host: str, no_proxy: str, is_direct: bool) -> None:  # noqa: FBT001  a parameter of the test
    """However an address is written; a part of one is none."""
    way = way_to(f"https://{host}", proxies={"https": "http://proxy.example.com:3128", "no": no_proxy})
    assert (way.proxy == "") is is_direct


@pytest.mark.parametrize(
    "base_url", ["https://127.0.0.1:8443", "https://localhost", "https://[::1]", "http://localhost"]
)
def test_no_proxy_leads_to_this_machine(base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sandbox is never asked for at a proxy, which would look for it on a machine of its own."""
    from bulkredeem.application.wiring import way_for  # noqa: PLC0415  its inside

    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    assert way_for(Settings(base_url=base_url)).proxy == ""
    assert way_for(Settings(base_url=BEHIND)).proxy == "http://proxy.example.com:3128"


async def test_nothing_else_of_the_environment_counts(
    trust: Trust,
    behind: tuple[Platform, Proxy],
    unconfigured: Terminal,
    run_here: Callable[..., Awaitable[Run]],
) -> None:
    """A ~/.netrc names another user for platform and proxy, and nobody hears of it."""
    platform, proxy = behind
    home = trust.bundle.with_name("home")
    home.mkdir()
    names = ("platform.example.com", "127.0.0.1", "default")
    netrc = "\n".join(
        f"{'' if name == 'default' else 'machine '}{name} login x password netrc-Vole-9" for name in names
    )
    (home / ".netrc").write_text(netrc)
    (home / ".netrc").chmod(0o600)
    terminal = ready(
        unconfigured, BEHIND, https_proxy=proxy.address(), no_proxy="", HOME=str(home), NETRC=str(home / ".netrc")
    )
    assert (await run_here(terminal, ca_bundle=trust.bundle)).exit_code == 0
    assert basic_authorization(USER, PASSWORD).encode() in platform.heard
    assert not any(b"Proxy-Authorization" in head for head in proxy.heads)


# The doctor


def worst(findings: Iterable[Finding], topic: str) -> Finding:
    """Return the finding about a topic that matters most."""
    order = list(Level)
    return max((each for each in findings if each.topic == topic), key=lambda each: order.index(each.level))


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Let the doctor look at an address, with variables and flags."""

    async def look(base_url: str, variables: dict[str, str], **flags: Any) -> tuple[Finding, ...]:
        named = {"BULKREDEEM_BASE_URL": base_url, "BULKREDEEM_USERNAME": USER, "BULKREDEEM_PASSWORD": PASSWORD}
        for name, value in {**named, "https_proxy": "", "no_proxy": "", **variables}.items():
            monkeypatch.setenv(name, value)
        return (await diagnose(*load_settings_with_origins(flags))).findings

    return look


PAGE: Final = http(b'{"response": {"status": {"success": true}, "customer": {"redemptions": {}}}}')


async def test_the_doctor_goes_through_the_proxy(
    trust: Trust, behind: tuple[Platform, Proxy], looked_at: Callable[..., Any]
) -> None:
    """It says that it did, that it did not look when the certificate ends, and whether the credentials are right."""
    platform, proxy = behind
    platform.reply = lambda: [PAGE]
    findings = await looked_at(BEHIND, {"https_proxy": proxy.address("asha:heron@")}, ca_bundle=trust.bundle)
    assert worst(findings, CREDENTIALS).level is Level.OK
    assert f"through the proxy http://127.0.0.1:{proxy.port}; " in worst(findings, "connection").found
    assert (len(proxy.heads), len(platform.requests)) == (1, 1)
    assert "heron" not in repr(findings)


async def test_the_doctor_names_the_proxy_that_refuses(trust: Trust, looked_at: Callable[..., Any]) -> None:
    """The remedy is not about the platform."""
    async with Proxy(answer=PROXY_TROUBLES["407"][0]) as proxy:
        findings = await looked_at(BEHIND, {"https_proxy": proxy.address()}, ca_bundle=trust.bundle)
    assert worst(findings, "question").level is Level.PROBLEM
    assert "(PROXY_REFUSED)" in worst(findings, "question").found
    assert "user name and password in HTTPS_PROXY" in worst(findings, "question").remedy


async def test_the_doctor_judges_as_a_run_does(trust: Trust, looked_at: Callable[..., Any]) -> None:
    """With the bundle the certificate is accepted; without it, nobody is asked."""
    async with trust.platform() as platform:
        platform.reply = lambda: [PAGE]
        without = await looked_at(platform.base_url, {})
        assert (worst(without, "connection").level, platform.requests) == (Level.PROBLEM, [])
        with_it = await looked_at(platform.base_url, {}, ca_bundle=trust.bundle)
    assert worst(with_it, "connection").level is Level.OK
    assert worst(with_it, CREDENTIALS).level is Level.OK


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_doctor_says_that_a_client_certificate_is_wanted(
    version: ssl.TLSVersion, trust: Trust, looked_at: Callable[..., Any], shown: dict[str, Path]
) -> None:
    """Without ours there is a problem; with it all is well."""
    async with wanting(trust, version) as platform:
        platform.reply = lambda: [PAGE]
        without = await looked_at(platform.base_url, {}, ca_bundle=trust.bundle)
        with_it = await looked_at(platform.base_url, {}, ca_bundle=trust.bundle, **shown)
    assert worst(without, "connection" if version is ssl.TLSVersion.TLSv1_2 else "question").level is Level.PROBLEM
    assert any("client_certificate" in each.remedy for each in without)
    assert worst(with_it, CREDENTIALS).level is Level.OK


# Redirects


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_no_redirect_is_followed(status: int) -> None:
    """Whoever the platform names instead hears nothing at all, not even a connection."""
    async with Platform() as elsewhere:
        moved = http(b"", f"Location: {elsewhere.base_url}/x", status=f"{status} Elsewhere")
        async with Platform(reply=lambda: [moved]) as platform:
            reply = await ask(platform.base_url)
    assert reply == Reply(http_status=status, unreadable="was empty")
    assert (len(platform.requests), elsewhere.connections) == (1, 0)


# Replies are bounded


HEAD: Final = b"HTTP/1.1 200 OK\r\n"
CHUNKED: Final = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
NO_HTTP: Final = Trouble(code="UNREADABLE_REPLY", message="the answer was not HTTP", may_be_applied=True)
TOO_LATE: Final = Trouble(code="TIMEOUT", message="no answer came in time", may_be_applied=True)
DAMAGED: Final = Reply(http_status=200, unreadable="was cut short or damaged")
TOO_LONG: Final = Reply(http_status=200, unreadable=f"was over {MAX_REPLY:,} bytes")


def spread(first: bytes, block: bytes) -> Callable[[], Iterable[bytes]]:
    """Return what begins so and then never ends."""
    return lambda: itertools.chain([first], itertools.repeat(block))


def deflated(*, with_header: bool) -> bytes:
    """Return 100 MB of blanks, small."""
    packer = zlib.compressobj(1, wbits=15 if with_header else -15)
    return b"".join(packer.compress(b" " * MEGABYTE) for _ in range(100)) + packer.flush()


PACKED: Final = gzip.compress(b" " * MEGABYTE, 1)
BOMBS: Final[dict[str, tuple[Callable[[], Iterable[bytes]], Answer]]] = {
    "endless header lines": (spread(HEAD, b"X-A: b\r\n" * 1000), NO_HTTP),
    "a header without an end": (spread(HEAD + b"X-A: ", b"x" * 65_536), NO_HTTP),
    "a header of a megabyte": (lambda: [http(b"{}", "X-A: " + "x" * MEGABYTE)], NO_HTTP),
    "a status line without an end": (spread(b"HTTP/1.1 200 ", b"x" * 65_536), NO_HTTP),
    "100 Continue for ever": (spread(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), TOO_LATE),
    "a chunk's extension without an end": (spread(CHUNKED + b"2;", b"x" * 65_536), TOO_LATE),
    "trailers without an end": (spread(CHUNKED + b"2\r\n{}\r\n0\r\n" + b"X-A: b\r\n" * 1000, b"X-A: b\r\n"), NO_HTTP),
    "chunks of a few bytes for ever": (spread(CHUNKED, b"5\r\nxxxxx\r\n" * 10_000), TOO_LONG),
    "deflate": (lambda: [http(deflated(with_header=True), "Content-Encoding: deflate")], TOO_LONG),
    "deflate without a header": (lambda: [http(deflated(with_header=False), "Content-Encoding: deflate")], TOO_LONG),
    "gzip in chunks": (
        spread(
            HEAD + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"%x\r\n%b\r\n" % (len(PACKED), PACKED),
        ),
        TOO_LONG,
    ),
}
"""What a server can say without an end, or unpack to → how the attempt ends."""


@pytest.mark.parametrize("kind", BOMBS)
async def test_a_bomb_is_bounded(kind: str) -> None:
    """Little is kept of it, and the attempt ends as what it is."""
    reply, answer = BOMBS[kind]
    async with Platform(reply=reply) as platform:
        tracemalloc.start()
        try:
            ended = await ask(platform.base_url, timeout=1.0 if answer is TOO_LATE else 20.0)
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert ended == answer
    assert most < 6 * MEGABYTE, f"{most:,} bytes"


@pytest.mark.parametrize(
    "whole", [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n", CHUNKED + b"2;aaaaaaaaaaaaaaaaaaa"]
)
async def test_a_drip_is_ended_by_the_timeout(whole: bytes) -> None:
    """A byte now and then keeps nobody waiting: the time is that of the whole attempt, not of a silence."""
    drops = [bytes([each]) for each in whole]
    async with Platform(reply=lambda: drops, pause=IMPATIENT / 10) as platform:
        assert await ask(platform.base_url, timeout=IMPATIENT) == TOO_LATE


# Nothing but what we mean is in a request's head


PRINTABLE_OR_NOT: Final = st.text(st.characters(codec="utf-8"), max_size=20)


@hypothesis_settings(max_examples=60)
@given(
    path=PRINTABLE_OR_NOT | st.sampled_from(["%0d%0aX:y", "a\rb", "%", "\\", "//", "..", "ä", "\u2028", "\x85"]),
    username=PRINTABLE_OR_NOT.filter(bool),
    password=PRINTABLE_OR_NOT.filter(lambda text: bool(text.strip("\r\n"))),
    values=st.lists(PRINTABLE_OR_NOT, min_size=5, max_size=5),
)
def test_no_value_gets_into_the_head(path: str, username: str, password: str, values: list[str]) -> None:
    """Whatever settings and cells hold, what arrives is one request with just the lines that we mean."""
    identifier, kind, customer, bill, purpose = values
    correction = Correction(
        row_number=2,
        redemption_id=identifier,
        entity_type=kind,
        identifier_type=kind,
        identifier_value=customer,
        bill_number=bill,
        purpose=purpose,
        custom_fields={purpose: bill},
    )

    async def arrived() -> tuple[int, bytes, list[bytes]] | None:
        async with Platform() as platform:
            try:
                settings = Settings(
                    base_url=f"http://127.0.0.1:{platform.port}/{path}", username=username, password=password
                )
            except ValidationError:
                return None
            async with client_for(settings) as client:
                await client.update(correction)
            return platform.port, bytes(platform.heard), platform.requests

    if (found := asyncio.run(arrived())) is None:
        return
    port, heard, requests = found
    assert requests == [heard]
    line, *headers = heard.partition(b"\r\n\r\n")[0].split(b"\r\n")
    method, target, version = line.decode("ascii").split(" ")
    assert (method, version) == ("PUT", "HTTP/1.1")
    assert target.endswith(UPDATE_PATH)
    assert target.isprintable()
    assert [header.partition(b":")[0].decode() for header in headers] == HEADERS
    assert headers[0] == b"Host: 127.0.0.1:%d" % port
    assert not any(set(header) & {0, 10, 13} for header in headers)


@pytest.mark.parametrize("character", [*map(chr, range(32)), "\x7f", "\x85", "\x9f", "\u2028", "\u200b", "\u202e", " "])
@pytest.mark.parametrize(
    "template", ["{}https://a.example", "https://a{}.example", "https://a.example/p{}q", "https://a.example/{}"]
)
def test_no_address_holds_what_cannot_be_seen(template: str, character: str) -> None:
    """Others drop some of these characters in silence; here each is refused, wherever it stands."""
    with pytest.raises(ValidationError, match="is not an address"):
        Settings(base_url=template.format(character))


@given(text=st.text(st.characters(codec="utf-8")) | st.text("\r\n\t\0aX: \x7f"))
def test_no_attribution_holds_what_cannot_be_seen(text: str) -> None:
    """What is not plain ASCII on one line is refused."""
    try:
        settings = Settings(attribution_entity_type=text, attribution_code=text)
    except ValidationError:
        return
    assert all(" " <= character <= "~" for character in settings.attribution_entity_type + settings.attribution_code)


# Where http is allowed


@pytest.mark.parametrize(
    "given_url",
    [
        *("http://localhost.evil.example", "http://127.0.0.1.evil.example", "http://127.0.0.1@evil.example"),
        *("http://localhost:x@evil.example", "http://evil.example#@127.0.0.1", "http://evil.example\\@127.0.0.1"),
        *("http://2130706433", "http://0x7f000001", "http://127.1", "http://0.0.0.0", "http://[::]", "http://0"),
        *(
            "http://localhost.",
            "http://\uff4cocalhost.evil.example",
            "http://[::ffff:10.0.0.1]",
            "http://169.254.169.254",
        ),
        *("http://127.0.0.1%2eevil.example", "http://localhost\\.evil.example", "http://127.0.0.1\t.evil.example"),
        *("http://[::1].evil.example", "http://[::1]evil.example:80", "http://x[::1]", "http://[::1]80"),
    ],
)
def test_http_is_refused_beyond_this_machine(given_url: str) -> None:
    """However like this machine's an address looks."""
    with pytest.raises(ValidationError):
        Settings(base_url=given_url)


@pytest.mark.parametrize(
    "given_url", ["http://[::1]", "http://[::1]:8080", "http://localhost", "http://127.0.0.1", "HTTP://LOCALHOST"]
)
def test_http_is_allowed_within_this_machine(given_url: str) -> None:
    """A sandbox needs no certificate."""
    assert Settings(base_url=given_url).is_loopback


PIECES: Final = [
    *("127.0.0.1", "localhost", "[::1]", ".evil.example", "@", "\\", "/", "#", "?", ":", "80", "%40", "%2f", "%5c"),
    *(".", "\t", "\n", "\uff4cocalhost", "//", "evil.example", "[", "]", ";", "&", "..", "\u3002", "x"),
]


@hypothesis_settings(max_examples=400)
@given(pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=6))
def test_aiohttp_goes_where_we_looked(pieces: list[str]) -> None:
    """Two readers of one address may differ: whatever is accepted as this machine is this machine to aiohttp, too."""
    try:
        settings = Settings(base_url="http://" + "".join(pieces))
    except ValidationError:
        return
    host = URL(settings.base_url + UPDATE_PATH).host or ""
    assert host in {"localhost", "::1"} or host.startswith("127.")
    assert host == urlsplit(settings.base_url).hostname
