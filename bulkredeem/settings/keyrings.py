"""The keyring of whoever is logged in. It is an extra, and imported only when nothing else says the password."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from shlex import quote
from typing import Final, Literal

from pydantic import SecretStr

NOT_ASKED: Final = "is not asked when nobody watches (--unattended)"
"""A keyring that is locked opens a window and waits for somebody: a night would hang."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The password of one system, from the keyring or from a person."""

    password: SecretStr = field(default_factory=lambda: SecretStr(""))
    """Empty when there is none."""
    source: Literal["keyring", "terminal"] = "keyring"
    trouble: str = ""
    """Why the keyring says nothing, as words that follow "the keyring"; empty when it is not to blame."""


def is_installed() -> bool:
    """Say whether the extra is there."""
    return find_spec("keyring") is not None


def service_of(base_url: str) -> str:
    """Return the name under which the passwords of a platform are kept."""
    return f"bulkredeem {base_url}"


def command_to_keep(base_url: str, username: str) -> str:
    """Return what a person types to put a password there; it is asked for, and not typed with it."""
    return f"keyring set {quote(service_of(base_url))} {quote(username)}"


def ask_keyring(base_url: str, username: str) -> Kept:
    """Return what the keyring knows. May take as long as a person needs to unlock it."""
    if not is_installed():
        return Kept()
    try:
        return Kept(password=_asked(service_of(base_url), username))
    except Exception as exc:  # noqa: BLE001  each system's keyring has errors of its own, and none is worth a traceback
        return Kept(trouble=_in_words(exc))


def _asked(service: str, username: str) -> SecretStr:
    import keyring  # noqa: PLC0415  an extra, and slow to load

    return SecretStr(keyring.get_password(service, username) or "")


def _in_words(error: Exception) -> str:
    """Say what kind of error it is; its text may hold anything."""
    from keyring.errors import KeyringLocked, NoKeyringError  # noqa: PLC0415  an extra, and slow to load

    if isinstance(error, NoKeyringError):
        return "is none: no kind of keyring that it could use is on this machine"
    if isinstance(error, KeyringLocked):
        return "is locked"
    return f"cannot be asked ({type(error).__name__})"
