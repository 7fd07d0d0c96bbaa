"""What can be configured: the settings of one run, each with its meaning, its default and its limits."""

from __future__ import annotations

import codecs
import re
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, PrivateAttr, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from bulkredeem.errors import ConfigurationError
from bulkredeem.model import Ceiling, Condition, IdentifierChoice, OnConflict, Pattern, Reading, Rules, parse_share
from bulkredeem.moments import deadline_moment, parse_duration, parse_moment
from bulkredeem.settings.credentials import Purse, credential_name, named, without_line_end
from bulkredeem.settings.keyrings import NOT_ASKED, Kept, ask_keyring, command_to_keep, is_installed

ENV_PREFIX: Final = "BULKREDEEM_"
CONFIG_FILE: Final = "bulkredeem.toml"
"""Read from the working directory when nothing names another."""
_NO_TEXTS: Final = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"})
"""What Python calls encodings of text, and no file is written in."""
_BRACKETED: Final = re.compile(r"\[[0-9A-Fa-f:.]+\](:[0-9]+)?")
"""An address of IPv6, perhaps with a port, as it stands where a host does."""
SECRETS: Final = frozenset(
    {"password", "password_file", "notify_urls", "notify_urls_file", "ping_url", "ping_url_file"}
)
"""From the environment only."""


def codec_named(encoding: str) -> str:
    """Return the one name of an encoding; raise LookupError for what is none in which a file can be written."""
    try:
        # To look a codec up is not enough: some make no text of bytes.
        "".encode(encoding)
        name = codecs.lookup(encoding).name
    except ValueError:  # of a NUL in its name, and of a codec that refuses everything
        raise LookupError(encoding) from None
    if name in _NO_TEXTS:
        raise LookupError(encoding)
    return name


def read_pairs(value: object) -> object:
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
    auth: Literal["basic", "oauth"] = "basic"
    """How we say who we are: with user name and password, or with a token that a key and its secret are exchanged for.

    For OAuth, `username` is the client's key and the password is its secret.
    """
    attribution_entity_type: str = Field(default="", max_length=100, pattern=r"^[\x20-\x7e]*$")
    """With OAuth: the type of whom the platform is to attribute updates to (`TILL`), or empty; both or none."""
    attribution_code: str = Field(default="", max_length=100, pattern=r"^[\x20-\x7e]*$")
    """With OAuth: the code of whom the platform is to attribute updates to, or empty; both or none."""
    ca_bundle: Path | None = None
    """The only certificates that may vouch for the platform's, as PEM, or None for those that this machine trusts."""
    client_certificate: Path | None = None
    """The certificate that is shown to the platform, as PEM, perhaps with its key; or None."""
    client_key: Path | None = None
    """The key of `client_certificate`, as PEM and not encrypted, or None when that file holds it, too."""
    reports: Path = Path("reports")
    """The folder that gets a folder for each run; relative to the configuration file when that names it."""
    state_dir: Path | None = None
    """The folder in which runs on this machine share what is known of a key, or None for the user's own.

    Relative to the configuration file when that names it.
    """
    rate: str = "100/min"
    """Ceiling of requests: `100/min`, `20/s,1000/min` (both are kept), `none`, or `auto`, which searches the limit.

    The default is the platform's documented limit.
    """
    max_workers: int = Field(default=200, ge=1, le=1000)
    """Most requests under way at once; so many are only when rate and latency make them necessary."""
    max_attempts: int = Field(default=5, ge=1, le=100)
    """Most tries per row, not counting those that the platform throttled."""
    timeout: float = Field(default=30.0, gt=0, le=3600)
    """Seconds an attempt may take."""
    outage_timeout: str = "15m"
    """How long the platform may answer nothing before the run ends."""
    deadline: str = ""
    """No row starts after it: a time of day, or a duration from the start of the command; empty for none."""
    resume_unfinished: bool = False
    """Whether `run` also finishes the runs that stopped early or died."""
    backlog: Literal["first", "last"] = "first"
    """Whether it does so before or after its own files."""
    environment: str = Field(default="", max_length=40, pattern=r"^[^\x00-\x1f\x7f]*$")
    """What people call the system (`production`); it is shown, and asked about when it is that. Empty for no name."""
    expect_program_id: int | None = None
    """The loyalty program that replies must name, or None for any; the run stops at the first that names another."""
    unattended: bool = False
    """Whether nobody watches: nothing is asked, and what a person would have to decide ends the run."""
    yes: bool = False
    """Whether what would be asked before the first request is answered with yes."""
    by: str = ""
    """On whose behalf the run is; kept in the ledger."""
    reason: str = ""
    """Why the run is; kept in the ledger."""
    when_busy: Literal["", "wait", "fail"] = ""
    """What to do while another run sends with the same ledger and key; empty is `fail` if unattended, else `wait`."""
    same_file: Literal["", "ok", "fail"] = ""
    """What to do with a file whose content was run before; empty is `fail` if unattended, else `ok`."""
    min_rows: int = Field(default=0, ge=0)
    """Rows that a file must have at least."""
    wait_for_file: str = ""
    """How long a file that is not there yet is waited for; empty for not at all."""
    settled_for: float = Field(default=2.0, ge=0, le=3600)
    """Seconds for which a file must not have changed before it is read."""
    move_done: Path | None = None
    """The folder into which an input is moved when its run has finished, or None to leave it where it is."""
    as_of: str = ""
    """How old the file's knowledge is; empty for when its content was changed last, as it was first seen."""
    allow_older: bool = False
    """Whether rows are sent although the ledger has another value from newer knowledge."""
    resend: bool = False
    """Whether rows are sent although the ledger knows them as applied."""
    on_conflict: OnConflict = OnConflict.REFUSE
    """What becomes of rows that set one field of one redemption to different values."""
    existing: Literal["overwrite", "keep"] = "overwrite"
    """What becomes of another value that the platform has already: `keep` reads it back first."""
    record_previous: bool = False
    """Whether each row's old values are read back and kept before it is sent, so that they can be restored."""
    only: str = ""
    """`store=17`: the rows with this value in this column of the file, and no others; empty for all."""
    first: str = ""
    """`store=17`: the rows with this value in this column of the file before all others; empty for the file's order."""
    canary: int = Field(default=0, ge=0, le=50)
    """Rows, spread over the file, that go before all others and are looked at first."""
    max_refused: str = "50%"
    """Share of refused rows above which the run stops, once it has many answers."""
    no_guard: bool = False
    """Whether a run goes on although its values, or the platform's refusals, look wrong."""
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
    encoding: str = ""
    """How the text of a file is encoded (`utf-8`, `utf-16`, `cp1252`), or empty to find out."""
    delimiter: str = ""
    """The one character between a file's cells (`tab` and `\\t` are a tab), or empty to find out."""
    sheet: str = ""
    """The sheet of a workbook, by name or by number from 1; empty for the only one that has rows."""
    header_row: int = Field(default=0, ge=0, le=1_000_000)
    """The row that holds the header, as a spreadsheet counts; 0 to find it within the first 20."""
    ignore_rows: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """`redemptionId~^Total`: rows whose cell in this column a regular expression finds are no rows at all."""
    allow_unterminated: bool = False
    """Take a last line that has no line end."""
    trust_ids: bool = False
    """Take identifiers in a spreadsheet's scientific form as they are."""
    xlsx: bool = False
    """Write `results.xlsx` and `not_done.xlsx` too."""
    show_pii: bool = False
    """Show identifiers in `report.html`, which otherwise masks them."""
    notify: Literal["failure", "change", "always"] = "failure"
    """When a notice goes to `notify_urls`: a command has failed, has ended otherwise than the last one, or always."""
    notify_urls: SecretStr = SecretStr("")
    """Where notices go, in the form that apprise reads, separated by blanks; they may hold tokens and passwords."""
    ping_url: SecretStr = SecretStr("")
    """An address that is asked for when a command begins (`/start`), has succeeded, or has failed (`/<exit code>`)."""
    notify_urls_file: Path | None = None
    """A file that holds `notify_urls`, or None."""
    ping_url_file: Path | None = None
    """A file that holds `ping_url`, or None."""
    metrics_file: Path | None = None
    """The file into which metrics are written for Prometheus when a command ends, or None."""
    json_summary: bool = Field(default=False, validation_alias=f"{ENV_PREFIX}JSON")
    """Write the summary to standard output, and everything else to standard error."""
    quiet: bool = False
    """Say nothing but errors and the closing sentence."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """What goes into `run.log`."""
    _purse: Purse = PrivateAttr(default_factory=Purse)
    """What was found of the secrets; not a setting, and in no text of them."""

    @field_validator("map", mode="before")
    @classmethod
    def _read_map(cls, value: object) -> object:
        return read_pairs(value)

    @field_validator("ignore_rows", mode="before")
    @classmethod
    def _read_ignore_rows(cls, value: object) -> object:
        written = [rule for rule in value.splitlines() if rule.strip()] if isinstance(value, str) else value
        for rule in written if isinstance(written, list | tuple) else ():
            Pattern.parse(str(rule))
        return written

    @field_validator("delimiter")
    @classmethod
    def _check_delimiter(cls, value: str) -> str:
        delimiter = {"tab": "\t", "\\t": "\t"}.get(value.lower(), value)
        if len(delimiter) > 1 or delimiter in ('"', "\r", "\n"):
            raise ValueError("write one character, like ';' or '|', or tab")
        return delimiter

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, value: str) -> str:
        try:
            return codec_named(value) if value else ""
        except LookupError:
            raise ValueError(f"{value!r} is no encoding; utf-8, utf-16 and cp1252 are") from None

    @field_validator("rate")
    @classmethod
    def _check_rate(cls, value: str) -> str:
        Ceiling.parse(value)
        return value

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str) -> str:
        problem = value and _base_url_problem(value)
        if problem:
            raise ValueError(problem)
        return value.rstrip("/")

    @field_validator("wait_for_file", mode="before")
    @classmethod
    def _check_wait_for_file(cls, value: object) -> str:
        text = str(value)
        if text:
            parse_duration(text)
        return text

    @field_validator("as_of", mode="before")
    @classmethod
    def _check_as_of(cls, value: object) -> str:
        # TOML has moments of its own, and they are written alike.
        text = str(value)
        if text:
            parse_moment(text, time.time())
        return text

    @field_validator("only", "first")
    @classmethod
    def _check_condition(cls, value: str) -> str:
        if value:
            Condition.parse(value)
        return value

    @field_validator("max_refused")
    @classmethod
    def _check_max_refused(cls, value: str) -> str:
        parse_share(value)
        return value

    @field_validator("outage_timeout", mode="before")
    @classmethod
    def _check_outage_timeout(cls, value: object) -> str:
        text = str(value)
        parse_duration(text)
        return text

    @field_validator("deadline")
    @classmethod
    def _check_deadline(cls, value: str) -> str:
        if value:
            deadline_moment(value, 0.0)
        return value

    @property
    def ceiling(self) -> Ceiling:
        """The rates that must never be passed."""
        return Ceiling.parse(self.rate)

    @property
    def outage_seconds(self) -> float:
        """Seconds that the platform may answer nothing."""
        return parse_duration(self.outage_timeout)

    @property
    def waits_when_busy(self) -> bool:
        """Whether another run on the same ledger and key is waited for."""
        return self.when_busy == "wait" or (not self.when_busy and not self.unattended)

    @property
    def refuses_same_file(self) -> bool:
        """Whether a file whose content was run before ends the run before it begins."""
        return self.same_file == "fail" or (not self.same_file and self.unattended)

    @property
    def patience_for_file(self) -> float | None:
        """Seconds that a missing file is waited for, or None for not at all."""
        return parse_duration(self.wait_for_file) if self.wait_for_file else None

    @property
    def most_refused(self) -> float:
        """The share of refused rows, 0.0 to 1.0, above which a run stops."""
        return parse_share(self.max_refused)

    @property
    def reads_first(self) -> bool:
        """Whether each row's redemption is read back before the row is sent."""
        return self.existing == "keep" or self.record_previous

    @property
    def is_loopback(self) -> bool:
        """Whether the platform is on this machine: a sandbox."""
        return bool(self.base_url) and _is_loopback(urlsplit(self.base_url))

    @property
    def reading(self) -> Reading:
        """How files are to be read."""
        return Reading(
            explicit=self.map,
            encoding=self.encoding,
            delimiter=self.delimiter,
            sheet=self.sheet,
            header_row=self.header_row,
            ignored=tuple(map(Pattern.parse, self.ignore_rows)),
            allow_unterminated=self.allow_unterminated,
        )

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
        """Return the password: as it is set, from its file, as it was typed, or from the keyring; empty for none.

        A file is read once, since it may be a pipe, and the keyring is asked once. Raises ConfigurationError for a file
        that cannot be read.
        """
        if self.password_file is not None:
            return self._purse.of_file("password", self.password_file)
        return without_line_end(self.password) or self.kept_password().password

    def kept_password(self) -> Kept:
        """Return what was typed for this system, else what the keyring says; that is asked once."""
        system = (self.base_url, self.username)
        if not all(system):
            return Kept()
        if system not in self._purse.of_systems:
            if self.unattended:
                return Kept(trouble=NOT_ASKED if is_installed() else "")
            self._purse.of_systems[system] = ask_keyring(*system)
        return self._purse.of_systems[system]

    def take_typed(self, password: SecretStr) -> None:
        """Take what a person has typed for this system; it is in these settings and their copies, and nowhere else."""
        self._purse.of_systems[self.base_url, self.username] = Kept(password=password, source="terminal")

    def resolve_notify_urls(self) -> SecretStr:
        """Return where notices go, from its file when one is named; empty for nowhere.

        Raises ConfigurationError for a file that cannot be read or is empty: it was meant to say something.
        """
        return self._as_set("notify_urls", self.notify_urls, self.notify_urls_file)

    def resolve_ping_url(self) -> SecretStr:
        """Return the address to ping, from its file when one is named; empty for none. Raises the same."""
        return self._as_set("ping_url", self.ping_url, self.ping_url_file)

    def _as_set(self, name: str, secret: SecretStr, path: Path | None) -> SecretStr:
        if path is None:
            return secret
        found = self._purse.of_file(name, path)
        if not found.get_secret_value().strip():
            raise ConfigurationError(f"{named(name, path)}, which is empty.")
        return found

    def require_for_sending(self) -> None:
        """Raise ConfigurationError with everything that is missing before a request can be sent."""
        missing = []
        if not self.base_url:
            missing.append(f"the platform's address (--base-url, {ENV_PREFIX}BASE_URL, or base_url in {CONFIG_FILE})")
        if not self.username:
            missing.append(f"the user name ({ENV_PREFIX}USERNAME, or username in {CONFIG_FILE})")
        if not self.resolve_password():
            missing.append(self._missing_password())
        if missing:
            raise ConfigurationError("Not configured yet. Missing: " + "; ".join(missing) + ".")

    def _missing_password(self) -> str:
        """Name the ways to give the password, and why the last of them led to nothing."""
        if self.password_file is not None:
            return f"the password ({named('password', self.password_file)}, which is empty)"
        ways = [f"{ENV_PREFIX}PASSWORD", f"{ENV_PREFIX}PASSWORD_FILE with the path of a file"]
        ways.append(f"systemd's credential {credential_name('password')}")
        if trouble := self.kept_password().trouble:
            ways.append(f"the keyring, which {trouble}")
        elif is_installed() and self.base_url and self.username:
            ways.append(f"the keyring: {command_to_keep(self.base_url, self.username)}")
        return f"the password ({', '.join(ways[:-1])}, or {ways[-1]})"

    def reread_password(self) -> SecretStr | None:
        """Read the password file once more; None when there is none, or it holds the same password as before."""
        return self._purse.renewed("password", self.password_file) if self.password_file is not None else None

    def public(self) -> dict[str, Any]:
        """Return the settings without the password, as JSON can hold them: for the journal."""
        return self.model_dump(mode="json", exclude=set(SECRETS))


def _base_url_problem(value: str) -> str:
    """Say what is wrong with a base URL, without quoting it: somebody may have put a password into it."""
    try:
        parts = urlsplit(value)
        _ = parts.port, (parts.hostname or "").encode("idna")
        # `urlsplit` passes over what is behind a bracket: to it, `[::1].example.com` is this machine.
        if "[" in parts.netloc and not _BRACKETED.fullmatch(parts.netloc.rpartition("@")[2]):
            raise ValueError(parts.netloc)  # noqa: TRY301  as the two above it do
    except ValueError:  # also of a host with an empty or overlong part
        return "is not an address; write it like https://eu.api.example.com"
    if parts.username or parts.password or "@" in parts.netloc:
        return "holds a user name or password; the user name is a setting of its own"
    # Also of what `urlsplit` and others pass over in silence: line ends and other control characters.
    readable = value.isprintable() and not any(c.isspace() for c in value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not readable:
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
