"""Secrets that stand in files, and what was found of all secrets so far. No sentence here repeats any of them.

A file is named by `NAME_FILE`, or it is one of those that systemd shows to a unit in `$CREDENTIALS_DIRECTORY`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from bulkredeem.errors import ConfigurationError
from bulkredeem.settings.keyrings import Kept

IN_FILES: Final = ("password", "notify_urls", "ping_url")
"""Secrets that can stand in a file; the setting that names it is called the same, with `_file` behind it."""
FOLDER: Final = "CREDENTIALS_DIRECTORY"
"""The variable in which systemd says where a unit's credentials are."""
_LONGEST: Final = 65_536
"""Characters of a secret; what holds more is another file."""


@dataclass(slots=True, kw_only=True)
class Purse:
    """What was read, asked for or typed. All copies of the settings share one, so that each is done once a command."""

    of_files: dict[Path, SecretStr] = field(default_factory=dict)
    of_systems: dict[tuple[str, str], Kept] = field(default_factory=dict)
    """Address and user name → the password: what was typed for one system is never sent to another."""

    def of_file(self, name: str, path: Path) -> SecretStr:
        """Return the secret `name` that stands in a file, which is read once: it may be a pipe.

        Raises ConfigurationError.
        """
        if path not in self.of_files:
            self.of_files[path] = _read(name, path)
        return self.of_files[path]

    def renewed(self, name: str, path: Path) -> SecretStr | None:
        """Read a file once more; None when it holds the same as before, cannot be read, or is a pipe."""
        before = self.of_file(name, path)
        try:
            now = _read(name, path) if path.is_file() else before
        except (ConfigurationError, OSError):  # whoever replaces it is perhaps not done: the old one may still be right
            return None
        self.of_files[path] = now
        return now if now != before else None


def credential_name(name: str) -> str:
    """Return the name under which systemd has to show a secret."""
    return f"bulkredeem_{name}"


def credentials_in(environment: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """Yield the secrets that systemd shows to this unit, each with its file; nothing when this is none."""
    folder = environment.get(FOLDER, "")
    for name in IN_FILES if folder else ():
        if _is_there(path := Path(folder) / credential_name(name)):
            yield name, path


def without_line_end(secret: SecretStr) -> SecretStr:
    """Take off the one line end that files and secret stores put behind a password."""
    return SecretStr(secret.get_secret_value().removesuffix("\n").removesuffix("\r"))


def named(name: str, path: Path) -> str:
    """Say of a secret's file who names it, as the beginning of a sentence."""
    folder = os.environ.get(FOLDER, "")
    if folder and path == Path(folder) / credential_name(name):
        return f"systemd's credentials hold {path}"
    return f"BULKREDEEM_{name.upper()}_FILE names {path}"


def _is_there(path: Path) -> bool:
    """Say whether a file is there. One that must not be looked at is, and whoever reads it will say why it cannot."""
    try:
        return path.exists()
    except OSError:
        return True


def _read(name: str, path: Path) -> SecretStr:
    """Return what a file holds. Raises ConfigurationError, which holds nothing of it."""
    try:
        with path.open(encoding="utf-8", newline="") as opened:
            secret = SecretStr(opened.read(_LONGEST + 1))
    except OSError as exc:
        reason = exc.strerror or type(exc).__name__
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    else:
        if len(secret) <= _LONGEST:
            return without_line_end(secret)
        reason = f"it is longer than {_LONGEST:,} characters"
    # Outside of the handlers: an error that is no text quotes it, and would hang on this one.
    raise ConfigurationError(f"{named(name, path)}, which cannot be read: {reason}.")
