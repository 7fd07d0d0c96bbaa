"""Answers → the text of `bulkredeem.toml` and `.env.example`. Pure; the questions are asked elsewhere.

No secret is among the answers, so none can stand in either file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import tomlkit

from bulkredeem.columns import canonical_name, map_columns
from bulkredeem.model import CUSTOM_FIELD_PREFIX, Column
from bulkredeem.settings import CONFIG_FILE, ENV_PREFIX
from bulkredeem.settings.credentials import credential_name
from bulkredeem.settings.sources import problem_with

ENVIRONMENT_EXAMPLE: Final = ".env.example"
IDENTIFIERS: Final = (Column.REDEMPTION_ID, Column.EXTERNAL_REFERENCE_NUMBER)
"""Columns that name a redemption."""
FIELDS: Final = (Column.BILL_NUMBER, Column.BILL_ID, Column.PURPOSE)
"""Columns that set something, besides custom fields."""
_NEEDED: Final = {"base_url": "an address is needed", "username": "a user name is needed"}
"""Settings that may not stay empty here → what to say."""
_PLAINER: Final = {
    "default_country_code": "write one to four digits that do not begin with 0, like 91",
    "environment": "write at most 40 characters that can be shown",
}
"""What to say instead of a pattern that nobody reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a person has said; each is what the setting of that name takes."""

    base_url: str
    username: str
    environment: str = ""
    """Empty for no name, as the other texts."""
    rate: str
    default_country_code: str = ""
    map: Mapping[str, str] = field(default_factory=dict)
    """Header in the file → canonical column; only what the header does not say by itself."""


class Peeked(Protocol):
    """What a first look at a file has shown."""

    @property
    def headers(self) -> Sequence[str]:
        """The names of its columns, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the columns of a file do not say by themselves."""

    identifier: bool
    """No column names the redemption."""
    value: bool
    """No column sets anything."""
    customer: bool
    """No column holds the customer's mobile number or other id."""


def tidied(name: str, answer: str) -> str:
    """Return an answer as its setting takes it: a host without its scheme, and a code with `+`, are meant well."""
    text = answer.strip()
    if name == "base_url" and text and "://" not in text:
        return f"https://{text}"
    return text.removeprefix("+") if name == "default_country_code" else text


def problem_of(name: str, answer: str) -> str:
    """Say what is wrong with an answer for a setting, as words for a person; empty when it makes sense."""
    if not answer:
        return _NEEDED.get(name, "")
    if not answer.isprintable():
        return "it holds characters that cannot be shown"  # also such as are no text in any encoding
    problem = problem_with(name, answer)
    if problem and name == "base_url":
        return f"it {problem}"  # what is wrong with an address is never said with it
    return _PLAINER.get(name, problem) if problem else ""


def needs_of(names: Collection[str]) -> Needs:
    """Return what is still to be known when these canonical names are."""
    return Needs(
        identifier=not set(IDENTIFIERS).intersection(names),
        value=not any(name in FIELDS or name.startswith(CUSTOM_FIELD_PREFIX) for name in names),
        customer=Column.IDENTIFIER_VALUE not in names,
    )


def known_columns(headers: Sequence[str]) -> dict[str, str]:
    """Return header → canonical name of the columns that say by themselves what they are; the first counts."""
    found: dict[str, str] = {}
    for header in headers:
        name = canonical_name(header)
        if name and name not in found.values():
            found[header.strip()] = name
    return found


def column_of(headers: Sequence[str], answer: str) -> str | None:
    """Return the header that an answer means, by its name or by its number from 1; None when it means none.

    A column without a name cannot be meant: nothing could name it later.
    """
    trimmed = [header.strip() for header in headers]
    if answer.isascii() and answer.isdigit() and answer not in trimmed:
        return (trimmed[int(answer) - 1] or None) if 1 <= int(answer) <= len(trimmed) else None
    same = [header for header in trimmed if header.casefold() == answer.casefold()]
    wanted = answer if answer in trimmed else same[0] if len(same) == 1 else ""
    return wanted or None


def problem_of_columns(headers: Sequence[str], chosen: Mapping[str, str]) -> str:
    """Say why no file with these columns could be run with such a `map`; empty when it could."""
    try:
        map_columns(headers, chosen)
    except ValueError as exc:
        return str(exc)
    return ""


def configuration_text(answers: Answers) -> str:
    """Return the text of `bulkredeem.toml`: valid TOML, whatever was answered."""
    document = tomlkit.document()
    document.add(tomlkit.comment("The settings of bulkredeem. The README lists all there are; options and environment"))
    document.add(tomlkit.comment(f"beat what stands here. The password never does: {ENV_PREFIX}PASSWORD_FILE names"))
    document.add(tomlkit.comment("the file that holds it."))
    document.add(tomlkit.nl())
    for name in ("base_url", "username", "environment", "rate", "default_country_code"):
        if value := getattr(answers, name):
            document.add(name, value)
    if answers.map:
        table = tomlkit.table()
        table.comment("header in the file = what it is")
        for header, canonical in answers.map.items():
            table.add(header, canonical)
        document.add("map", table)
    return tomlkit.dumps(document)


def environment_example() -> str:
    """Return the text of `.env.example`: the variables that hold secrets, without any."""
    return f"""\
# What stands in no configuration file of bulkredeem, since it is secret. Copy this file to .env, fill it in there, let
# nobody else read it (chmod 600 .env), and keep it out of version control. bulkredeem does not read it by itself:
#   set -a; . ./.env; set +a      in a shell
#   EnvironmentFile=/path/.env    in a systemd unit
#   docker run --env-file .env    in a container
# All other settings may stand in {CONFIG_FILE}.

# The path of a file that holds the till's password and nothing else. Without it and the next, the password comes from
# systemd's credential {credential_name("password")}, from the keyring, or from whoever sits at the terminal:
{ENV_PREFIX}PASSWORD_FILE=
# Or the password itself; one of the two, not both:
#{ENV_PREFIX}PASSWORD=

# Where notices go, in the form that apprise reads, separated by blanks; may hold tokens and passwords. Itself, or the
# path of a file that holds it:
#{ENV_PREFIX}NOTIFY_URLS=
#{ENV_PREFIX}NOTIFY_URLS_FILE=
# An address that is asked for when a command begins, has succeeded or has failed. Itself, or the path of a file:
#{ENV_PREFIX}PING_URL=
#{ENV_PREFIX}PING_URL_FILE=
"""
