"""The way to the platform: which certificates are trusted, which one is shown, and through which proxy it goes.

Where it cannot be gone as the settings want it, that is said before anything is sent. Nothing here connects.
"""

from __future__ import annotations

import base64
import ipaddress
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies_environment

from bulkredeem.client.traces import Hidden
from bulkredeem.errors import ConfigurationError

_CERTIFICATE: Final = b"CERTIFICATE-----"
"""What the first line of each certificate in PEM form ends with."""
_KEY: Final = b"PRIVATE KEY-----"
"""What the first line of each kind of private key in PEM form ends with."""
_NO_PROXY_OF_OURS: Final = (
    "HTTPS_PROXY in the environment names no proxy that can be used. Write it like http://proxy.example.com:3128;"
    " proxies that are spoken to by https or socks are not supported."
)
"""Without what it names: there may be a password in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the platform is reached."""

    tls: ssl.SSLContext | None = None
    """Verifies the platform's certificate and shows ours; None trusts what this machine trusts."""
    proxy: str = ""
    """The proxy's address, `http://host:port` and no credentials, or empty for none."""
    proxy_authorization: str = field(default="", repr=False)
    """What the proxy, and nobody else, is told in `Proxy-Authorization`; empty for nothing."""
    shows_certificate: bool = False
    """Whether a certificate of ours is shown to whoever asks for one."""

    # Not aiohttp's `trust_env`: with it, aiohttp 3.14 also takes credentials out of ~/.netrc, for the platform, where
    # they contradict ours (ValueError), and for the proxy; and it goes around a proxy that it cannot use, in silence.
    @property
    def options(self) -> dict[str, Any]:
        """What aiohttp has to be given with each request, so that it goes this way."""
        if not self.proxy:
            return {}
        authorization = {"Proxy-Authorization": self.proxy_authorization} if self.proxy_authorization else {}
        return {"proxy": self.proxy, "proxy_headers": authorization}


DIRECT: Final = Way()
"""With what this machine trusts, and nothing between."""


def way_to(
    base_url: str,
    *,
    ca_bundle: Path | None = None,
    client_certificate: Path | None = None,
    client_key: Path | None = None,
    proxies: Mapping[str, str] | None = None,
) -> Way:
    """Return the way to an address; to one of http, which is within this machine, it is always direct.

    The files are in PEM form; None is as the settings of these names say. `proxies` is scheme → address, and `no` →
    hosts that are reached without; None for those that the environment names. Raises ConfigurationError, which names
    the setting and the file, and holds nothing of what is in the file.
    """
    parts = urlsplit(base_url)
    if parts.scheme != "https":
        return DIRECT
    tls = _trusting(ca_bundle)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    if client_certificate:
        _show(tls, client_certificate, client_key)
    elif client_key:
        raise ConfigurationError(
            f"client_key names {client_key}, but there is no client_certificate: name the file of the certificate that"
            " belongs to this key."
        )
    proxy, authorization = _proxy_to(parts, getproxies_environment() if proxies is None else proxies)
    shows = client_certificate is not None
    return Way(tls=tls, proxy=proxy, proxy_authorization=authorization, shows_certificate=shows)


def _trusting(bundle: Path | None) -> ssl.SSLContext:
    """Return what verifies certificates and host names, with these authorities or the machine's."""
    if bundle is None:
        return ssl.create_default_context()
    _require_file("ca_bundle", bundle)
    try:
        return ssl.create_default_context(cafile=str(bundle))
    except ssl.SSLError:
        what = "is damaged" if _holds(bundle, _CERTIFICATE) else "holds no certificate in PEM form"
        remedy = "name the file with the certificates of the authorities that vouch for the platform"
        raise ConfigurationError(f"ca_bundle names {bundle}, which {what}: {remedy}.") from None


def _show(tls: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    """Let our certificate be shown to whoever asks for one."""
    _require_file("client_certificate", certificate)
    if key:
        _require_file("client_key", key)
    named = f"client_key names {key}" if key else f"client_certificate names {certificate}"

    # Without this, OpenSSL would ask for the password on the terminal, and wait.
    def password() -> NoReturn:
        remedy = "write it without a password, to be read by this user only (openssl pkey -in OLD -out NEW)"
        raise ConfigurationError(f"{named}, whose key is encrypted: {remedy}.")

    try:
        tls.load_cert_chain(str(certificate), str(key) if key else None, password)
    except ssl.SSLError as exc:
        raise ConfigurationError(_why_not_shown(certificate, key, exc.reason or "")) from None


def _why_not_shown(certificate: Path, key: Path | None, reason: str) -> str:
    """Say what is wrong with a pair that OpenSSL refuses; `reason` is its own word, or empty."""
    if not _holds(certificate, _CERTIFICATE):
        return f"client_certificate names {certificate}, which holds no certificate in PEM form: name another file."
    if not _holds(key or certificate, _KEY):
        if key:
            return f"client_key names {key}, which holds no private key in PEM form: name another file."
        return f"client_certificate names {certificate}, which holds no private key: name the key's file in client_key."
    if reason.lower() == "key_values_mismatch":
        where = f"client_key names {key}" if key else f"client_certificate names {certificate}"
        return f"{where}, whose key is not that of the certificate in {certificate}: name the two that belong together."
    files = f"{certificate} and {key}" if key else f"{certificate}"
    why = f"OpenSSL says {reason}" if reason else "a file is damaged"
    return f"The client certificate in {files} cannot be used ({why}): have it written anew by whoever issued it."


def _require_file(setting: str, path: Path) -> None:
    try:
        is_file = path.is_file()
        if is_file:
            path.open("rb").close()
            return
    except OSError as exc:
        reason = exc.strerror
    else:
        reason = "it is no file" if path.exists() else "there is no such file"
    raise ConfigurationError(f"{setting} names {path}, which cannot be read: {reason}.")


def _holds(path: Path, mark: bytes) -> bool:
    try:
        return mark in path.read_bytes()
    except OSError:  # it was there a moment ago; that it cannot be used is said anyway
        return False


def _proxy_to(parts: SplitResult, proxies: Mapping[str, str]) -> tuple[str, str]:
    """Return a proxy's address and what it is told in `Proxy-Authorization`; each may be empty."""
    named = proxies.get(parts.scheme, "")
    if not named or any(_means(entry.strip(), parts) for entry in proxies.get("no", "").split(",")):
        return "", ""
    try:
        return _read_proxy(named)
    except ValueError:
        # From None: the error may hold the password.
        raise ConfigurationError(_NO_PROXY_OF_OURS) from None


def _means(entry: str, parts: SplitResult) -> bool:
    """Say whether an entry of NO_PROXY means a host: `*`, a name, an address or a network, perhaps with a port."""
    if entry == "*":
        return True
    name, port = _without_port(entry)
    if not name or port not in {"", str(parts.port or 443)}:
        return False
    host = (parts.hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = name.removeprefix("*").strip(".").lower()
        return bool(name) and f".{host}".endswith(f".{name}")
    try:
        return address in ipaddress.ip_network(name, strict=False)
    except ValueError:  # a name, which no address is part of
        return False


def _without_port(entry: str) -> tuple[str, str]:
    """Take the port off, empty for none; the colons of an address that stands without brackets are its own."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":")
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, ""


def _read_proxy(named: str) -> tuple[str, str]:
    """Take a proxy's address and its credentials apart. Raises ValueError when it is none, or none of ours."""
    parts = urlsplit(named if "://" in named else f"http://{named}")
    host, port = parts.hostname or "", 80 if parts.port is None else parts.port
    host.encode("idna")
    is_more_than_a_host = parts.path not in {"", "/"} or parts.query or parts.fragment
    if parts.scheme != "http" or not host or not port or is_more_than_a_host or not named.isprintable() or " " in named:
        raise ValueError("no address of a proxy that is spoken to in plain HTTP")
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if parts.username is None and parts.password is None:
        return address, ""
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return address, Hidden("Basic " + base64.b64encode(credentials.encode()).decode("ascii"))
