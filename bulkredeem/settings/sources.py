"""Where each value comes from: flags beat the environment, which beats the file.

The file is `bulkredeem.toml` (or what `--config` names). Its top level holds settings for everybody; a table
`[profiles.NAME]` holds those of one host and till, and beats the top level. A secret comes from the environment, as
itself or as the path of a file that holds it, or from systemd's credentials when the environment says nothing of it.
"""

from __future__ import annotations

import difflib
import itertools
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from bulkredeem.errors import ConfigurationError
from bulkredeem.settings.credentials import IN_FILES, credentials_in
from bulkredeem.settings.fields import CONFIG_FILE, ENV_PREFIX, SECRETS, Settings, read_pairs

_CHOICES: Final = frozenset({"config", "profile"})
"""These choose the file and the profile; they are no fields of `Settings`."""
FOLDERS: Final = frozenset(
    {"reports", "state_dir", "move_done", "metrics_file", "ca_bundle", "client_certificate", "client_key"}
)
"""In the configuration file, relative to that file."""
_WITHOUT_FLAG: Final = frozenset(
    {
        *("username", "environment", "expect_program_id", "settled_for"),
        *("attribution_entity_type", "attribution_code", "client_certificate", "client_key"),
    }
)
"""Settings that no flag sets, of those that a profile is likely to hold."""
_FIELD_OF_OPTION: Final = {"json": "json_summary"}
"""Options whose name cannot be a field's: pydantic has a method of that name."""
_OPTION_OF_FIELD: Final = {own: option for option, own in _FIELD_OF_OPTION.items()}


def load_settings(flags: Mapping[str, Any]) -> Settings:
    """Put the settings together from flags (only those given), the environment and the configuration file.

    Raises ConfigurationError, with everything that is wrong in one message.
    """
    return _sources(flags).settings()


def load_settings_with_origins(flags: Mapping[str, Any]) -> tuple[Settings, Mapping[str, Origin]]:
    """Return what `load_settings` returns, and for each of its fields where the value came from. Raises the same."""
    sources = _sources(flags)
    return sources.settings(), {
        name: sources.origin(_OPTION_OF_FIELD.get(name, name)) for name in Settings.model_fields
    }


def with_password(origins: Mapping[str, Origin], settings: Settings) -> Mapping[str, Origin]:
    """Return the origins, with that of a password which no setting says: the keyring, or a person."""
    if settings.password_file is not None or settings.password or not (kept := settings.kept_password()).password:
        return origins
    words = {"keyring": "the keyring", "terminal": "what was typed"}
    return {**origins, "password": Origin(kind=kept.source, name=words[kept.source])}


def problem_with(name: str, value: object) -> str:
    """Say what is wrong with a value for a field of `Settings`, whatever is configured; empty when it makes sense."""
    try:
        _Alone.model_validate({name: value})
    except ValidationError as exc:
        return "; ".join(error["msg"].removeprefix("Value error, ") for error in exc.errors())
    return ""


def _sources(flags: Mapping[str, Any]) -> _Sources:
    """Look into all sources. Raises ConfigurationError for what is unknown there, and for what contradicts itself."""
    # In capitals or not: pydantic-settings reads both, so a contradiction must be seen in both.
    env = {
        name[len(ENV_PREFIX) :].lower(): value
        for name, value in os.environ.items()
        if name.upper().startswith(ENV_PREFIX) and value
    }
    said = env.keys() | flags.keys()
    credentials = {
        f"{name}_file": path for name, path in credentials_in(os.environ) if not said & {name, f"{name}_file"}
    }
    # What an error may one day be shown with holds no secret: pydantic-settings reads them for itself.
    env |= dict.fromkeys(env.keys() & set(IN_FILES), "(not shown)")
    sources = _Sources(flags=flags, env=env, file=_read_file(flags, env), credentials=credentials)
    sources.refuse_unknown()
    sources.refuse_contradictions()
    return sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the value of a setting came from."""

    kind: Literal["flag", "environment", "file", "credentials", "keyring", "terminal", "default"]
    name: str = ""
    """The option, the variable or the file, as people write it; what else it is, in words; empty for a default."""
    profile: str = ""
    """The profile of the file that says it, or empty."""

    def in_words(self) -> str:
        """Name it for a person, as words that follow "from"."""
        return f"{self.name} [profiles.{self.profile}]" if self.profile else self.name or "its default"


class _Alone(Settings):
    """Settings that come from nowhere but what is given."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  pydantic-settings passes all five
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


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
    """The places a value can come from; keys are option names with `_` for `-`."""

    flags: Mapping[str, Any]
    env: Mapping[str, str]
    """Without the secrets themselves."""
    file: _File
    credentials: Mapping[str, Path]
    """Files of systemd's, where the environment says nothing of what they hold."""

    def refuse_unknown(self) -> None:
        """Raise for a name nobody knows: a misspelt setting must not be passed over in silence."""
        known = _options() | SECRETS | _CHOICES
        problems = [
            f"{_variable(name)} in the environment is no setting{_did_you_mean(name, known, _variable)}."
            for name in sorted(self.env.keys() - known)
        ]
        problems += [
            f"{self.file.path} holds {name!r}: {_origin_of_secret(name)} only; remove it there."
            for name in sorted(self.file.secrets)
        ]
        problems += [
            f"{self.file.path} holds {name!r}, which is no setting{_did_you_mean(name, _options(), str)}."
            for name in sorted(self.file.values.keys() - _options() - SECRETS)
        ]
        _raise_all(problems)

    def refuse_contradictions(self) -> None:
        """Raise when a secret is said twice, or a profile was asked for by flag and the environment says otherwise.

        Whoever types `--profile test` must not reach production because of a variable they forgot.
        """
        problems = [
            f"{_variable(name)} and {_variable(name)}_FILE are both set: unset one."
            for name in IN_FILES
            if {name, f"{name}_file"} <= self.env.keys()
        ]
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
        for name in FOLDERS & file_values.keys() - self.flags.keys() - self.env.keys():
            if self.file.path:
                file_values[name] = self.file.path.parent / str(file_values[name])

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
                others = file_values | dict(self.credentials)
                return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=others)

        try:
            return FromSources(**_as_fields({k: v for k, v in self.flags.items() if k not in _CHOICES}))
        except ValidationError as exc:
            _raise_all([self._sentence(error["loc"], error["msg"]) for error in exc.errors()])
            raise

    def origin(self, name: str) -> Origin:
        """Return where the value of an option or variable of this name came from."""
        if name in self.flags:
            return Origin(kind="flag", name=f"--{name.replace('_', '-')}")
        if name in self.env:
            return Origin(kind="environment", name=_variable(name))
        if name in self.credentials:
            return Origin(kind="credentials", name="systemd's credentials")
        if name in self.file.values:
            profile = self.file.profile if name in self.file.in_profile else ""
            return Origin(kind="file", name=str(self.file.path), profile=profile)
        return Origin(kind="default")

    def _sentence(self, loc: tuple[int | str, ...], message: str) -> str:
        """Say which value is wrong, where it came from, and why."""
        name = str(loc[0]).lower().removeprefix(ENV_PREFIX.lower())
        name = _OPTION_OF_FIELD.get(name, name)
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
    return frozenset(_OPTION_OF_FIELD.get(name, name) for name in Settings.model_fields) - SECRETS


def _as_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    return {_FIELD_OF_OPTION.get(name, name): value for name, value in values.items()}


def _same(in_profile: object, in_env: str) -> bool:
    """Whether a value of the file and one of the environment (always text) mean the same."""
    if isinstance(in_profile, str):
        return in_profile.rstrip("/") == in_env.rstrip("/")
    try:
        meant = (
            read_pairs(in_env)
            if isinstance(in_profile, dict)
            else TypeAdapter(type(in_profile)).validate_python(in_env)
        )
    except ValueError:
        return False
    return bool(in_profile == meant)


def _shown(name: str, value: object) -> str:
    """Quote a value, unless it is an address that somebody put a password into."""
    return "an address with a user name or password in it" if name == "base_url" and "@" in str(value) else repr(value)


def _or_decide(name: str) -> str:
    """Name the flag that decides; the user name has none, and a switch can only be turned on by one."""
    is_switch = Settings.model_fields[_FIELD_OF_OPTION.get(name, name)].annotation is bool
    return "" if is_switch or name in _WITHOUT_FLAG else f", or give --{name.replace('_', '-')} to decide"


def _origin_of_secret(name: str) -> str:
    if name.startswith("password"):
        return f"the password comes from {ENV_PREFIX}PASSWORD or {ENV_PREFIX}PASSWORD_FILE"
    variable = _variable(name.removesuffix("_file"))
    return f"it may hold a secret, and comes from {variable} or {variable}_FILE"


def _variable(option: str) -> str:
    return ENV_PREFIX + option.upper()


def _did_you_mean(name: str, known: Iterable[str], spelt: Callable[[str], str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f" (did you mean {spelt(close[0])}?)" if close else ""


def _raise_all(problems: list[str]) -> None:
    if problems:
        raise ConfigurationError(" ".join(problems))
