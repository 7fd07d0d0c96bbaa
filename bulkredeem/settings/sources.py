"""What can be configured, and where each value comes from: flags beat the environment, which beats the file.

The file is `bulkredeem.toml` (or what `--config` names). Its top level holds settings for everybody; a table
`[profiles.NAME]` holds those of one host and till, and beats the top level. The password comes from the environment
only: itself, or the path of a file that holds it.
"""

from __future__ import annotations

import difflib
import itertools
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, PrivateAttr, SecretStr, TypeAdapter, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from bulkredeem.errors import ConfigurationError
from bulkredeem.model import IdentifierChoice, Rate, Rules

ENV_PREFIX: Final = "BULKREDEEM_"
CONFIG_FILE: Final = "bulkredeem.toml"
"""Read from the working directory when nothing names another."""
SECRETS: Final = frozenset({"password", "password_file"})
"""From the environment only."""
_CHOICES: Final = frozenset({"config", "profile"})
"""These choose the file and the profile; they are no fields of `Settings`."""
_FIELD_OF_OPTION: Final = {"json": "json_summary"}
"""Options whose name cannot be a field's: pydantic has a method of that name."""


def _pairs(value: object) -> object:
    """Read `Bill No=billNumber;Store=purpose` (the environment) or a list of such pairs (flags) as a mapping."""
    written = [pair for pair in value.split(";") if pair.strip()] if isinstance(value, str) else value
    if not isinstance(written, list | tuple):
        return written
    pairs = [str(pair).rpartition("=") for pair in written]
    if not all(header.strip() and target.strip() for header, _, target in pairs):
        msg = "write it like 'Bill No=billNumber'; in the environment, several are separated by ';'"
        raise ValueError(msg)
    read = {header.strip(): target.strip() for header, _, target in pairs}
    if len(read) < len(pairs):
        msg = "a column is named twice; say once what it is"
        raise ValueError(msg)
    return read


class Settings(BaseSettings):
    """The settings of one run, frozen. A field is named as its option, with `_` for `-`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    base_url: str = ""
    """Where the platform is, with an optional path prefix: `https://…`, or `http://…` for loopback only."""
    username: str = ""
    """The till's user name."""
    password: SecretStr = SecretStr("")
    """The till's password, or empty when `password_file` names it."""
    password_file: Path | None = None
    """A file that holds the password and at most one line end, or None."""
    reports: Path = Path("reports")
    """The folder that gets a folder for each run; relative to the configuration file when that names it."""
    rate: str = "100/min"
    """Ceiling of requests: `100/min`, `20/s`, `5000/hour` or `none`. The default is the platform's documented limit."""
    max_workers: int = Field(default=32, ge=1, le=1000)
    """Most requests under way at once."""
    max_attempts: int = Field(default=5, ge=1, le=100)
    """Most tries per row, not counting those that the platform throttled."""
    timeout: float = Field(default=30.0, gt=0, le=3600)
    """Seconds an attempt may take."""
    identifier: IdentifierChoice = IdentifierChoice.AUTO
    """Which column identifies the redemption."""
    map: Annotated[dict[str, str], NoDecode] = Field(default_factory=dict)
    """Header in the file → canonical column."""
    default_entity_type: str = "CUSTOMER"
    """`entityType` for a file that has no such column."""
    default_identifier_type: str = "mobile"
    """`identifierType` for a file that has no such column."""
    default_country_code: str = Field(default="", pattern=r"^([1-9][0-9]{0,3})?$")
    """Put before mobile numbers of ten digits; empty for none."""
    allow_unterminated: bool = False
    """Take a last line that has no line end."""
    trust_ids: bool = False
    """Take identifiers in a spreadsheet's scientific form as they are."""
    json_summary: bool = Field(default=False, validation_alias=f"{ENV_PREFIX}JSON")
    """Write the summary to standard output, and everything else to standard error."""
    quiet: bool = False
    """Say nothing but errors and the closing sentence."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What goes into `run.log`."""
    _read_password: SecretStr | None = PrivateAttr(default=None)

    @field_validator("map", mode="before")
    @classmethod
    def _read_map(cls, value: object) -> object:
        return _pairs(value)

    @field_validator("rate")
    @classmethod
    def _check_rate(cls, value: str) -> str:
        Rate.parse(value)
        return value

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str) -> str:
        problem = value and _base_url_problem(value)
        if problem:
            raise ValueError(problem)
        return value.rstrip("/")

    @property
    def rules(self) -> Rules:
        """What validation must know."""
        return Rules(
            identifier=self.identifier,
            default_entity_type=self.default_entity_type,
            default_identifier_type=self.default_identifier_type,
            default_country_code=self.default_country_code,
            trust_ids=self.trust_ids,
        )

    def resolve_password(self) -> SecretStr:
        """Return the password, from its file when one is named; empty when there is none.

        The file is read once: it may be a pipe, which says its words only once.
        """
        if self._read_password is None:
            self._read_password = self._password_as_given()
        return self._read_password

    def _password_as_given(self) -> SecretStr:
        if self.password_file is None:
            return _without_line_end(self.password.get_secret_value())
        try:
            text = self.password_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
            msg = f"{ENV_PREFIX}PASSWORD_FILE names {self.password_file}, which cannot be read: {reason}."
            raise ConfigurationError(msg) from None
        return _without_line_end(text)

    def require_for_sending(self) -> None:
        """Raise ConfigurationError with everything that is missing before a request can be sent."""
        missing = []
        if not self.base_url:
            missing.append(f"the platform's address (--base-url, {ENV_PREFIX}BASE_URL, or base_url in {CONFIG_FILE})")
        if not self.username:
            missing.append(f"the user name ({ENV_PREFIX}USERNAME, or username in {CONFIG_FILE})")
        if not self.resolve_password().get_secret_value():
            missing.append(f"the password ({ENV_PREFIX}PASSWORD, or {ENV_PREFIX}PASSWORD_FILE with the path of a file)")
        if missing:
            raise ConfigurationError("Not configured yet. Missing: " + "; ".join(missing) + ".")

    def public(self) -> dict[str, str]:
        """Return the settings as text, without the password: for the journal."""
        return {name: str(getattr(self, name)) for name in type(self).model_fields if name not in SECRETS}


def _without_line_end(text: str) -> SecretStr:
    """Take off the one line end that files and secret stores put behind a password."""
    return SecretStr(text.removesuffix("\n").removesuffix("\r"))


def load_settings(flags: Mapping[str, Any]) -> Settings:
    """Put the settings together from flags (only those given), the environment and the configuration file.

    Raises ConfigurationError, with everything that is wrong in one message.
    """
    # In capitals or not: pydantic-settings reads both, so a contradiction must be seen in both.
    env = {
        name[len(ENV_PREFIX) :].lower(): value
        for name, value in os.environ.items()
        if name.upper().startswith(ENV_PREFIX) and value
    }
    sources = _Sources(flags=flags, env=env, file=_read_file(flags, env))
    sources.refuse_unknown()
    sources.refuse_contradictions()
    return sources.settings()


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """The configuration file: its path (None when there is none) and its values, already chosen by profile."""

    path: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    """Top level, overlaid with the profile."""
    profile: str = ""
    in_profile: Mapping[str, Any] = field(default_factory=dict)
    """What the profile itself says."""
    secrets: frozenset[str] = frozenset()
    """Names of secrets that stand in it, in whichever profile: none belongs there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sources:
    """The three places a value can come from; keys are option names with `_` for `-`."""

    flags: Mapping[str, Any]
    env: Mapping[str, str]
    file: _File

    def refuse_unknown(self) -> None:
        """Raise for a name nobody knows: a misspelt setting must not be passed over in silence."""
        known = _options() | SECRETS | _CHOICES
        problems = [
            f"{_variable(name)} in the environment is no setting{_did_you_mean(name, known, _variable)}."
            for name in sorted(self.env.keys() - known)
        ]
        problems += [
            f"{self.file.path} holds {name!r}: the password comes from {ENV_PREFIX}PASSWORD"
            f" or {ENV_PREFIX}PASSWORD_FILE only; remove it there."
            for name in sorted(self.file.secrets)
        ]
        problems += [
            f"{self.file.path} holds {name!r}, which is no setting{_did_you_mean(name, _options(), str)}."
            for name in sorted(self.file.values.keys() - _options() - SECRETS)
        ]
        _raise_all(problems)

    def refuse_contradictions(self) -> None:
        """Raise when a profile was asked for by flag and the environment says otherwise.

        Whoever types `--profile test` must not reach production because of a variable they forgot.
        """
        problems = []
        if {"password", "password_file"} <= self.env.keys():
            problems.append(f"{ENV_PREFIX}PASSWORD and {ENV_PREFIX}PASSWORD_FILE are both set: unset one.")
        asked = self.flags.get("profile")
        if asked:
            problems += [
                f"--profile {asked} says {name} = {_shown(name, self.file.in_profile[name])}, but {_variable(name)}"
                f" in the environment says {_shown(name, self.env[name])}: unset it{_or_decide(name)}."
                for name in sorted(self.file.in_profile.keys() & self.env.keys() - self.flags.keys())
                if not _same(self.file.in_profile[name], self.env[name])
            ]
            if self.env.get("profile", asked) != asked:
                problems.append(
                    f"--profile {asked} was asked for, but {ENV_PREFIX}PROFILE in the environment says"
                    f" {self.env['profile']!r}: unset it."
                )
        _raise_all(problems)

    def settings(self) -> Settings:
        """Return the merged settings."""
        file_values = _as_fields(self.file.values)
        if self.file.path and "reports" in file_values and "reports" not in self.flags.keys() | self.env.keys():
            file_values["reports"] = self.file.path.parent / str(file_values["reports"])

        class FromSources(Settings):
            @classmethod
            def settings_customise_sources(
                cls,
                settings_cls: type[BaseSettings],
                init_settings: PydanticBaseSettingsSource,
                env_settings: PydanticBaseSettingsSource,
                dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic-settings passes all four
                file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=file_values)

        try:
            return FromSources(**_as_fields({k: v for k, v in self.flags.items() if k not in _CHOICES}))
        except ValidationError as exc:
            _raise_all([self._sentence(error["loc"], error["msg"]) for error in exc.errors()])
            raise

    def _sentence(self, loc: tuple[int | str, ...], message: str) -> str:
        """Say which value is wrong, where it came from, and why."""
        name = str(loc[0]).lower().removeprefix(ENV_PREFIX.lower())
        name = next((option for option, own in _FIELD_OF_OPTION.items() if own == name), name)
        if name in self.flags:
            where = f"--{name.replace('_', '-')}"
        elif name in self.env:
            where = f"{ENV_PREFIX}{name.upper()}"
        else:
            where = f"{name} in {self.file.path}"
        return f"{where}: {message.removeprefix('Value error, ')}."


def _read_file(flags: Mapping[str, Any], env: Mapping[str, str]) -> _File:
    named = flags.get("config") or env.get("config")
    path = Path(named or CONFIG_FILE)
    profile = str(flags.get("profile") or env.get("profile") or "")
    if not named and not path.exists():
        if profile:
            msg = f"The profile {profile!r} is asked for, but there is no {CONFIG_FILE} here; name one with --config."
            raise ConfigurationError(msg)
        return _File()
    values = _parse_toml(path)
    profiles = values.pop("profiles", {})
    profile = profile or str(values.get("profile", ""))
    values.pop("profile", None)
    if not isinstance(profiles, dict) or not all(isinstance(table, dict) for table in profiles.values()):
        msg = f"{path} holds a profile that is no table: write [profiles.NAME], and its settings below it."
        raise ConfigurationError(msg)
    if profile and profile not in profiles:
        msg = f"{path} has no profile {profile!r}; profiles there: {', '.join(sorted(profiles)) or 'none'}."
        raise ConfigurationError(msg)
    chosen = profiles[profile] if profile else {}
    secrets = SECRETS.intersection(itertools.chain(values, *profiles.values()))
    return _File(path=path, values=values | chosen, profile=profile, in_profile=chosen, secrets=secrets)


def _parse_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        msg = f"The configuration file {path} cannot be read: {exc.strerror}."
        raise ConfigurationError(msg) from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        msg = f"The configuration file {path} is not valid TOML: {exc}."
        raise ConfigurationError(msg) from exc


def _options() -> frozenset[str]:
    """Names that may stand in the configuration file."""
    back = {own: option for option, own in _FIELD_OF_OPTION.items()}
    return frozenset(back.get(name, name) for name in Settings.model_fields) - SECRETS


def _as_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_FIELD_OF_OPTION.get(name, name): value for name, value in values.items()}


def _same(in_profile: object, in_env: str) -> bool:
    """Whether a value of the file and one of the environment (always text) mean the same."""
    if isinstance(in_profile, str):
        return in_profile.rstrip("/") == in_env.rstrip("/")
    try:
        meant = (
            _pairs(in_env) if isinstance(in_profile, dict) else TypeAdapter(type(in_profile)).validate_python(in_env)
        )
    except ValueError:
        return False
    return bool(in_profile == meant)


def _shown(name: str, value: object) -> str:
    """Quote a value, unless it is an address that somebody put a password into."""
    return "an address with a user name or password in it" if name == "base_url" and "@" in str(value) else repr(value)


def _or_decide(name: str) -> str:
    """Name the flag that decides; the user name has none, and a switch can only be turned on by one."""
    return (
        ""
        if name in {"username", "trust_ids", "allow_unterminated", "quiet", "json"}
        else f", or give --{name.replace('_', '-')} to decide"
    )


def _variable(option: str) -> str:
    return ENV_PREFIX + option.upper()


def _did_you_mean(name: str, known: Iterable[str], spelt: Callable[[str], str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f" (did you mean {spelt(close[0])}?)" if close else ""


def _raise_all(problems: list[str]) -> None:
    if problems:
        raise ConfigurationError(" ".join(problems))


def _base_url_problem(value: str) -> str:
    """Say what is wrong with a base URL, without quoting it: somebody may have put a password into it."""
    try:
        parts = urlsplit(value)
        _ = parts.port, (parts.hostname or "").encode("idna")
    except ValueError:  # also of a host with an empty or overlong part
        return "is not an address; write it like https://eu.api.example.com"
    if parts.username or parts.password or "@" in parts.netloc:
        return "holds a user name or password; the user name is a setting of its own"
    if parts.scheme not in {"http", "https"} or not parts.hostname or any(c.isspace() for c in value):
        return "is not an address; write it like https://eu.api.example.com"
    if "?" in value or "#" in value:
        return "holds a '?' or '#'; only a host and a path prefix make sense"
    if parts.scheme == "http" and not _is_loopback(parts):
        return "is http, which would send the password readable for anybody; use https (http is for loopback only)"
    return ""


def _is_loopback(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
