"""Settings: where each value comes from, what is refused, and that no secret is ever told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from bulkredeem.errors import ConfigurationError, ExitCode
from bulkredeem.model import IdentifierChoice, OnConflict, Pattern, Reading, Rules
from bulkredeem.settings import CONFIG_FILE, Difference, Settings, changed, load_settings, other_system, restored

SECRET = "hush-hush-9"


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give each test an empty working directory and an environment without settings."""
    for name in os.environ:
        if name.upper().startswith("BULKREDEEM_") or name == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set variables: `environment(rate="20/s")` sets `BULKREDEEM_RATE`."""

    def set_variables(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"BULKREDEEM_{name.upper()}", value)

    return set_variables


def write_file(text: str, path: Path = Path(CONFIG_FILE)) -> Path:
    """Write a configuration file, by default the one that is found by itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def complaint(**flags: Any) -> str:
    """Return why no settings come of these flags and what is set around them."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings(flags)
    assert caught.value.exit_code is ExitCode.COULD_NOT_START
    return str(caught.value)


def test_the_defaults_are_those_that_are_promised() -> None:
    """What issue and documentation call the default is what an empty configuration gives."""
    settings = load_settings({})
    assert settings.model_dump(exclude={"password", "notify_urls", "ping_url"}) == {
        "base_url": "",
        "username": "",
        "password_file": None,
        "notify_urls_file": None,
        "ping_url_file": None,
        "auth": "basic",
        "attribution_entity_type": "",
        "attribution_code": "",
        "ca_bundle": None,
        "client_certificate": None,
        "client_key": None,
        "reports": Path("reports"),
        "state_dir": None,
        "rate": "100/min",
        "max_workers": 200,
        "max_attempts": 5,
        "timeout": 30.0,
        "outage_timeout": "15m",
        "deadline": "",
        "resume_unfinished": False,
        "backlog": "first",
        "environment": "",
        "expect_program_id": None,
        "unattended": False,
        "yes": False,
        "by": "",
        "reason": "",
        "when_busy": "",
        "same_file": "",
        "min_rows": 0,
        "wait_for_file": "",
        "settled_for": 2.0,
        "move_done": None,
        "as_of": "",
        "allow_older": False,
        "resend": False,
        "on_conflict": OnConflict.REFUSE,
        "existing": "overwrite",
        "record_previous": False,
        "only": "",
        "first": "",
        "canary": 0,
        "max_refused": "50%",
        "no_guard": False,
        "identifier": IdentifierChoice.AUTO,
        "map": {},
        "default_entity_type": "CUSTOMER",
        "default_identifier_type": "mobile",
        "default_country_code": "",
        "encoding": "",
        "delimiter": "",
        "sheet": "",
        "header_row": 0,
        "ignore_rows": [],
        "allow_unterminated": False,
        "trust_ids": False,
        "xlsx": False,
        "show_pii": False,
        "notify": "failure",
        "metrics_file": None,
        "json_summary": False,
        "quiet": False,
        "log_level": "info",
    }
    assert settings.rules == Rules()
    assert settings.reading == Reading()
    assert settings.notify_urls.get_secret_value() == settings.ping_url.get_secret_value() == ""


LAYERS = [
    ("rate", "1/s", "2/s", "3/s", "4/s"),
    ("max_workers", 1, 2, 3, 4),
    ("timeout", 1.0, 2.0, 3.0, 4.0),
    ("json", True, False, True, False),
    ("quiet", False, True, False, True),
    ("base_url", "https://one.example", "https://two.example", "https://three.example", "https://four.example"),
    ("log_level", "debug", "error", "warning", "info"),
]


@pytest.mark.parametrize(("option", "flag", "variable", "in_profile", "top"), LAYERS)
def test_flags_beat_the_environment_beats_the_profile_beats_the_file(
    environment: Any, option: str, flag: object, variable: object, in_profile: object, top: object
) -> None:
    """Each source counts exactly when those above it are silent."""
    field = {"json": "json_summary"}.get(option, option)

    def in_toml(value: object) -> str:
        return f"{option} = {str(value).lower() if isinstance(value, bool) else repr(value)}\n"

    write_file(in_toml(top))
    assert getattr(load_settings({}), field) == top
    write_file(f"profile = 'test'\n{in_toml(top)}[profiles.test]\n{in_toml(in_profile)}")
    assert getattr(load_settings({}), field) == in_profile
    environment(**{option: str(variable)})
    assert getattr(load_settings({}), field) == variable
    assert getattr(load_settings({option: flag}), field) == flag


def test_an_empty_variable_says_nothing(environment: Any) -> None:
    """`BULKREDEEM_RATE=` in a scheduler's form is as good as none."""
    environment(rate="", password="", profile="", reports="")
    assert load_settings({}).rate == "100/min"


@pytest.mark.parametrize("by", ["flag", "environment", "file"])
def test_a_profile_can_be_chosen_from_everywhere(environment: Any, by: str) -> None:
    """Flag, environment and the file itself can name the profile; the rest of the top level still counts."""
    profiles = "rate = '7/s'\n[profiles.eu]\nusername = 'store.eu'\n[profiles.us]\nusername = 'store.us'\n"
    write_file(("profile = 'eu'\n" if by == "file" else "profile = 'us'\n") + profiles)
    if by == "environment":
        environment(profile="eu")
    settings = load_settings({"profile": "eu"} if by == "flag" else {})
    assert (settings.username, settings.rate) == ("store.eu", "7/s")


@pytest.mark.parametrize("by", ["flag", "environment"])
def test_another_file_can_be_named(environment: Any, by: str) -> None:
    """The named file is read instead of the one in the working directory."""
    write_file("rate = '1/s'")
    other = write_file("rate = '2/s'", Path("conf/other.toml"))
    if by == "environment":
        environment(config=str(other))
    assert load_settings({"config": other} if by == "flag" else {}).rate == "2/s"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no profile 'eu'; profiles there: none"),
        ("[profiles.us]\n[profiles.asia]", "has no profile 'eu'; profiles there: asia, us"),
        ("profiles = 3", "holds a profile that is no table"),
        ("[profiles]\neu = 'x'", "holds a profile that is no table"),
    ],
)
def test_a_profile_that_is_not_there_is_refused(text: str, words: str) -> None:
    """A wrong profile name must not become a run with other settings."""
    write_file(text)
    assert words in complaint(profile="eu")


def test_a_profile_without_any_file_is_refused() -> None:
    """A profile asked for in the wrong working directory is said to be so."""
    assert "there is no bulkredeem.toml here" in complaint(profile="eu")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"rate = ", "is not valid TOML"),
        (b"rate = '\xff'", "is not valid TOML"),
    ],
)
def test_a_file_that_is_no_toml_is_refused(content: bytes, words: str) -> None:
    """Neither broken TOML nor another encoding is read halfway."""
    Path(CONFIG_FILE).write_bytes(content)
    assert words in complaint()


@pytest.mark.parametrize("name", ["absent.toml", "."])
def test_a_named_file_that_cannot_be_read_is_refused(name: str) -> None:
    """Whoever names a file wants that file."""
    assert f"The configuration file {name} cannot be read" in complaint(config=name)


@pytest.mark.parametrize(
    ("option", "value", "other"),
    [
        ("base_url", "'https://test.example'", "https://live.example"),
        ("username", "'store.test'", "store.live"),
        ("rate", "'5/s'", "500/s"),
        ("timeout", "30", "31"),
        ("quiet", "true", "0"),
        ("map", "{'Bill No' = 'billNumber'}", "Bill No=purpose"),
        ("map", "{'Bill No' = 'billNumber'}", "no map at all"),
    ],
)
def test_a_profile_asked_for_must_not_be_contradicted_by_a_forgotten_variable(
    environment: Any, option: str, value: str, other: str
) -> None:
    """`--profile test` never reaches the live system because of the environment, and the message names both."""
    write_file(f"[profiles.test]\n{option} = {value}\n")
    environment(**{option: other})
    said = complaint(profile="test")
    assert f"--profile test says {option} = " in said
    assert f"BULKREDEEM_{option.upper()}" in said


def test_a_flag_decides_between_profile_and_environment(environment: Any) -> None:
    """Whoever gives the flag has said what they want."""
    write_file("[profiles.test]\nbase_url = 'https://test.example'\n")
    environment(base_url="https://live.example")
    settings = load_settings({"profile": "test", "base_url": "https://third.example"})
    assert settings.base_url == "https://third.example"


@pytest.mark.parametrize(
    ("option", "value", "same"),
    [
        ("base_url", "'https://test.example'", "https://test.example/"),
        ("timeout", "30", "30.0"),
        ("timeout", "2.5", "2.50"),
        ("quiet", "true", "1"),
        ("trust_ids", "false", "FALSE"),
        ("map", "{'Bill No' = 'billNumber'}", " Bill No = billNumber ;"),
    ],
)
def test_the_same_said_twice_is_no_contradiction(environment: Any, option: str, value: str, same: str) -> None:
    """What counts is what a value means, not how the environment spells it."""
    write_file(f"[profiles.test]\n{option} = {value}\n")
    environment(**{option: same})
    load_settings({"profile": "test"})


def test_a_variable_about_something_else_is_no_contradiction(environment: Any) -> None:
    """What the profile leaves open may come from the environment."""
    write_file("[profiles.test]\nbase_url = 'https://test.example'\n")
    environment(username="store.test", rate="1/s")
    assert load_settings({"profile": "test"}).username == "store.test"


def test_only_a_profile_asked_for_by_flag_can_be_contradicted(environment: Any) -> None:
    """Without the flag the environment beats the profile, as it beats all of the file."""
    write_file("profile = 'test'\n[profiles.test]\nusername = 'store.test'\n")
    environment(username="store.other")
    assert load_settings({}).username == "store.other"


def test_two_profile_names_contradict_each_other(environment: Any) -> None:
    """A flag and a variable that name two profiles are refused; the same name twice is not."""
    write_file("[profiles.test]\n[profiles.live]\n")
    environment(profile="live")
    assert "BULKREDEEM_PROFILE in the environment says 'live'" in complaint(profile="test")
    load_settings({"profile": "live"})


def test_a_contradiction_in_the_user_name_offers_no_flag_that_does_not_exist(environment: Any) -> None:
    """The user name has no flag, so the only way out is to unset the variable."""
    write_file("[profiles.test]\nusername = 'store.test'\n")
    environment(username="store.live")
    assert "--username" not in complaint(profile="test")


@pytest.mark.parametrize("name", ["bulkredeem_base_url", "BulkRedeem_Base_Url"])
def test_a_variable_in_small_letters_is_seen_too(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What is read as a setting in any case is also compared with the profile in any case."""
    monkeypatch.setenv(name, "https://live.example")
    assert load_settings({}).base_url == "https://live.example"
    write_file("[profiles.test]\nbase_url = 'https://test.example'\n")
    assert "https://live.example" in complaint(profile="test")


def test_unknown_names_are_refused_all_at_once_with_the_nearest_known(environment: Any) -> None:
    """A misspelt variable or key is never passed over in silence."""
    write_file("rates = '1/s'\n[profiles.eu]\nuser_name = 'x'\n")
    environment(max_worker="3", passwd=SECRET)
    said = complaint(profile="eu")
    assert "BULKREDEEM_MAX_WORKER in the environment is no setting (did you mean BULKREDEEM_MAX_WORKERS?)" in said
    assert "BULKREDEEM_PASSWD in the environment is no setting (did you mean BULKREDEEM_PASSWORD?)" in said
    assert "bulkredeem.toml holds 'rates', which is no setting (did you mean rate?)" in said
    assert "bulkredeem.toml holds 'user_name', which is no setting (did you mean username?)" in said
    assert SECRET not in said


def test_no_suggestion_where_nothing_is_near(environment: Any) -> None:
    """A far-fetched suggestion is worse than none."""
    environment(zzzzzz="1")
    assert complaint() == "BULKREDEEM_ZZZZZZ in the environment is no setting."


@pytest.mark.parametrize("name", ["json_summary", "config", "profile"])
def test_names_that_are_not_options_of_the_file_are_refused_there(name: str) -> None:
    """The file cannot name itself, a profile cannot name a profile, and inner names are not options."""
    write_file(f"[profiles.eu]\n{name} = 'x'\n")
    assert f"{name!r}, which is no setting" in complaint(profile="eu")


@pytest.mark.parametrize("content", [SECRET, f"{SECRET}\n", f"{SECRET}\r\n"])
def test_the_password_can_stand_in_a_file(environment: Any, content: str) -> None:
    """The line end that an editor leaves is no part of the password."""
    Path("password").write_bytes(content.encode())
    environment(password_file="password")
    assert load_settings({}).resolve_password().get_secret_value() == SECRET


def test_only_one_line_end_is_stripped(environment: Any) -> None:
    """Blanks and further line ends may be part of a password."""
    Path("password").write_bytes(b" x \n\n")
    environment(password_file="password")
    assert load_settings({}).resolve_password().get_secret_value() == " x \n"


def test_the_password_can_stand_in_the_environment(environment: Any) -> None:
    """The variable is taken as it is."""
    environment(password=f" {SECRET} ")
    assert load_settings({}).resolve_password().get_secret_value() == f" {SECRET} "


def test_two_passwords_are_one_too_many(environment: Any) -> None:
    """Nobody can say which of the two was meant."""
    environment(password=SECRET, password_file="password")
    said = complaint()
    assert "BULKREDEEM_PASSWORD and BULKREDEEM_PASSWORD_FILE are both set" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("name", "reason"), [("absent", "No such file"), (".", "Is a directory"), ("latin1", "not UTF-8")]
)
def test_a_password_file_that_cannot_be_read_is_named(environment: Any, name: str, reason: str) -> None:
    """The message says which file and why, and nothing of what is in it."""
    Path("latin1").write_bytes(SECRET.encode() + b"\xe9")
    environment(password_file=name)
    with pytest.raises(ConfigurationError, match=reason) as caught:
        load_settings({}).resolve_password()
    assert name in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["notify_urls", "ping_url"])
def test_an_address_that_is_said_twice_is_refused(environment: Any, name: str) -> None:
    """As with the password: nobody can say which of the two was meant."""
    environment(**{name: f"https://{SECRET}.example", f"{name}_file": "address"})
    said = complaint()
    assert f"BULKREDEEM_{name.upper()} and BULKREDEEM_{name.upper()}_FILE are both set" in said
    assert SECRET not in said


@pytest.mark.parametrize("key", ["notify_urls_file", "ping_url_file"])
def test_the_file_of_an_address_is_refused_in_the_configuration_file(key: str) -> None:
    """Whoever can write such files would decide what is read."""
    write_file(f"{key} = 'address'")
    assert f"holds {key!r}: it may hold a secret" in complaint()


@pytest.mark.parametrize("key", ["password", "password_file"])
@pytest.mark.parametrize("before", ["", "[profiles.test]", "[profiles.test]\n[profiles.other]"])
def test_a_password_in_the_configuration_file_is_refused_and_not_repeated(key: str, before: str) -> None:
    """Configuration files are committed and mailed around; a password in any profile of one is refused."""
    write_file(f"{before}\n{key} = '{SECRET}'\n{'' if before else '[profiles.test]'}")
    said = complaint(profile="test")
    assert f"holds {key!r}: the password comes from BULKREDEEM_PASSWORD" in said
    assert SECRET not in said


def test_the_password_is_in_no_text_of_the_settings(environment: Any) -> None:
    """Whatever is printed, logged or put into the journal holds no password."""
    environment(password=SECRET, username="store.server")
    settings = load_settings({})
    for text in (repr(settings), str(settings), str(settings.public()), settings.model_dump_json()):
        assert SECRET not in text
        assert "store.server" in text
    assert not {"password", "password_file"} & settings.public().keys()
    assert SECRET not in repr(settings.resolve_password())


def test_no_other_mistake_gives_the_password_away(environment: Any) -> None:
    """An error about something else does not repeat what stood beside it."""
    environment(password=SECRET, quiet="perhaps", max_workers="many")
    said = complaint()
    assert "BULKREDEEM_QUIET" in said
    assert "BULKREDEEM_MAX_WORKERS" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://eu.api.example.com", "https://eu.api.example.com"),
        ("https://eu.api.example.com/", "https://eu.api.example.com"),
        ("https://eu.api.example.com/gate/way/", "https://eu.api.example.com/gate/way"),
        ("https://eu.api.example.com:8443/p", "https://eu.api.example.com:8443/p"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.9.9.9", "http://127.9.9.9"),
        ("http://localhost:8080/p", "http://localhost:8080/p"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("https://[2001:db8::1]/p", "https://[2001:db8::1]/p"),
        ("https://eu.api.example.com/a@b", "https://eu.api.example.com/a@b"),
    ],
)
def test_an_address_keeps_its_path_prefix(given: str, kept: str) -> None:
    """Only a slash at the end is taken off."""
    assert load_settings({"base_url": given}).base_url == kept


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("http://eu.api.example.com", "http is for loopback only"),
        ("http://localhost.example.com", "http is for loopback only"),
        ("http://127.0.0.1.example.com", "http is for loopback only"),
        ("http://10.0.0.1", "http is for loopback only"),
        ("http://[::2]", "http is for loopback only"),
        ("http://0.0.0.0", "http is for loopback only"),
        ("eu.api.example.com", "is not an address"),
        ("//eu.api.example.com", "is not an address"),
        ("ftp://eu.api.example.com", "is not an address"),
        ("https://", "is not an address"),
        ("https:///path", "is not an address"),
        ("https://:443", "is not an address"),
        ("https://[::1", "is not an address"),
        ("https://eu.api.example.com:port", "is not an address"),
        ("https://eu.api.example.com:99999", "is not an address"),
        ("https://eu api.example.com", "is not an address"),
        ("https://eu.api.example.com\n", "is not an address"),
        ("https://eu..api.example.com", "is not an address"),
        (f"https://{'a' * 64}.example.com", "is not an address"),
        ("https://eu.api.example.com/?", "holds a '?' or '#'"),
        ("https://eu.api.example.com/p#", "holds a '?' or '#'"),
        ("https://eu.api.example.com/?key=1", "holds a '?' or '#'"),
    ],
)
def test_an_address_that_makes_no_sense_is_refused(given: str, words: str) -> None:
    """Nothing but https, or http to this very machine, and a path prefix."""
    said = complaint(base_url=given)
    assert said.startswith("--base-url: ")
    assert words in said


@pytest.mark.parametrize(
    "given",
    [
        f"https://store.server:{SECRET}@eu.api.example.com",
        f"https://{SECRET}@eu.api.example.com",
        f"https://:{SECRET}@eu.api.example.com",
        f"http://x:{SECRET}@127.0.0.1",
        f"https://x:{SECRET}@eu.api.example.com:port",
        f"https://eu.api.example.com\\:{SECRET}@127.0.0.1",
        f"store.server:{SECRET}@eu.api.example.com",
    ],
)
@pytest.mark.parametrize("source", ["flag", "environment", "file", "contradiction"])
def test_an_address_with_a_password_in_it_is_refused_and_not_repeated(
    environment: Any, given: str, source: str
) -> None:
    """Wherever it comes from, and also when it contradicts a profile, no message holds the password."""
    if source in {"environment", "contradiction"}:
        environment(base_url=given)
    if source == "file":
        write_file(f"base_url = '{given}'")
    if source == "contradiction":
        write_file("[profiles.test]\nbase_url = 'https://test.example'\n")
    flags = {"flag": {"base_url": given}, "contradiction": {"profile": "test"}}.get(source, {})
    assert SECRET not in complaint(**flags)


def test_everything_that_is_missing_is_said_in_one_message() -> None:
    """Who starts from nothing learns at once what to configure, and where."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}).require_for_sending()
    said = str(caught.value)
    for name in (
        "--base-url",
        "BULKREDEEM_BASE_URL",
        "BULKREDEEM_USERNAME",
        "BULKREDEEM_PASSWORD",
        "BULKREDEEM_PASSWORD_FILE",
    ):
        assert name in said


@pytest.mark.parametrize(
    ("missing", "words"),
    [("base_url", "the platform's address"), ("username", "the user name"), ("password", "the password (")],
)
def test_only_what_is_missing_is_named(environment: Any, missing: str, words: str) -> None:
    """What is there is not asked for again."""
    configured = {"base_url": "https://eu.api.example.com", "username": "store.server", "password": SECRET}
    environment(**{name: value for name, value in configured.items() if name != missing})
    with pytest.raises(ConfigurationError) as caught:
        load_settings({}).require_for_sending()
    assert str(caught.value).startswith(f"Not configured yet. Missing: {words}")
    assert ";" not in str(caught.value)


def test_an_empty_password_file_is_a_missing_password(environment: Any) -> None:
    """A secret that was mounted empty is noticed before the till is locked by it."""
    Path("password").write_text("\n", encoding="utf-8")
    environment(base_url="https://eu.api.example.com", username="store.server", password_file="password")
    with pytest.raises(ConfigurationError, match="Missing: the password"):
        load_settings({}).require_for_sending()


def test_a_complete_configuration_may_send(environment: Any) -> None:
    """Address, user name and password are all that is needed."""
    environment(base_url="https://eu.api.example.com", username="store.server", password=SECRET)
    load_settings({}).require_for_sending()


def test_reports_of_a_file_lie_beside_that_file(tmp_path: Path) -> None:
    """A scheduler's working directory does not decide where a configured folder lies."""
    write_file("reports = 'out'", Path("conf/b.toml"))
    assert load_settings({"config": "conf/b.toml"}).reports == Path("conf/out")
    write_file("[profiles.eu]\nreports = 'eu'", Path("conf/b.toml"))
    assert load_settings({"config": tmp_path / "conf/b.toml", "profile": "eu"}).reports == tmp_path / "conf/eu"


@pytest.mark.parametrize(
    ("flags", "variables", "expected"),
    [
        ({"reports": "by-flag"}, {}, Path("by-flag")),
        ({}, {"reports": "by-variable"}, Path("by-variable")),
        ({"reports": "by-flag"}, {"reports": "by-variable"}, Path("by-flag")),
    ],
)
def test_reports_of_flag_and_environment_are_relative_to_the_working_directory(
    environment: Any, flags: dict[str, str], variables: dict[str, str], expected: Path
) -> None:
    """What a person types means what it means in their shell."""
    write_file("reports = 'out'", Path("conf/b.toml"))
    environment(**variables)
    assert load_settings({"config": "conf/b.toml", **flags}).reports == expected


def test_the_state_folder_of_a_file_lies_beside_that_file() -> None:
    """As with the reports: whoever calls from elsewhere shares the same pace."""
    write_file("state_dir = 'shared'", Path("conf/b.toml"))
    assert load_settings({"config": "conf/b.toml"}).state_dir == Path("conf/shared")
    assert load_settings({"config": "conf/b.toml", "state_dir": Path("mine")}).state_dir == Path("mine")


def test_reports_that_the_file_does_not_name_stay_in_the_working_directory() -> None:
    """A file elsewhere moves nothing it does not speak of, and an absolute folder is taken as it is."""
    write_file("rate = '1/s'", Path("conf/b.toml"))
    assert load_settings({"config": "conf/b.toml"}).reports == Path("reports")
    write_file("reports = '/var/out'", Path("conf/b.toml"))
    assert load_settings({"config": "conf/b.toml"}).reports == Path("/var/out")


@pytest.mark.parametrize("by", ["flag", "environment", "file"])
def test_a_map_can_come_from_everywhere(environment: Any, by: str) -> None:
    """The same map in three spellings; a header may hold an equals sign."""
    text = "Bill No=billNumber; a=b = purpose ;"
    if by == "environment":
        environment(map=text)
    if by == "file":
        write_file("[map]\n'Bill No' = 'billNumber'\n'a=b' = 'purpose'\n")
    settings = load_settings({"map": text} if by == "flag" else {})
    assert settings.map == {"Bill No": "billNumber", "a=b": "purpose"}


@pytest.mark.parametrize("text", ["Bill No", "=billNumber", "Bill No=", "a=b;c", " = "])
def test_a_map_that_maps_nothing_is_refused(environment: Any, text: str) -> None:
    """Half a pair is no pair."""
    environment(map=text)
    assert "BULKREDEEM_MAP: write it like 'Bill No=billNumber'" in complaint()


@pytest.mark.parametrize(
    ("option", "lowest", "highest", "below", "above"),
    [
        ("max_workers", 1, 1000, 0, 1001),
        ("max_attempts", 1, 100, 0, 101),
        ("timeout", 0.001, 3600, 0, 3600.001),
    ],
)
def test_numbers_have_bounds(option: str, lowest: float, highest: float, below: float, above: float) -> None:
    """The bounds themselves are allowed, what lies outside is refused by the option's name."""
    for allowed in (lowest, highest):
        assert getattr(load_settings({option: allowed}), option) == allowed
    for refused in (below, above, -1, "many", float("nan"), float("inf")):
        assert f"--{option.replace('_', '-')}: " in complaint(**{option: refused})


@pytest.mark.parametrize("code", ["", "1", "91", "1684"])
def test_a_country_code_is_one_to_four_digits(code: str) -> None:
    """The digits as they are dialled, without plus and leading zero."""
    assert load_settings({"default_country_code": code}).rules.default_country_code == code


@pytest.mark.parametrize("code", ["+91", "091", "0", "12345", "IN", " 91", "91\n"])
def test_anything_else_is_no_country_code(code: str) -> None:
    """A code that would make wrong numbers is refused before it touches one."""
    assert "default-country-code" in complaint(default_country_code=code)


@pytest.mark.parametrize(
    ("option", "value"),
    [("rate", "fast"), ("rate", "0/s"), ("identifier", "billId"), ("log_level", "loud"), ("quiet", "perhaps")],
)
@pytest.mark.parametrize("source", ["flag", "environment", "file"])
def test_a_wrong_value_is_named_by_where_it_came_from(environment: Any, option: str, value: str, source: str) -> None:
    """A person is sent to the place that needs mending."""
    if source == "environment":
        environment(**{option: value})
    if source == "file":
        write_file(f"{option} = '{value}'")
    said = complaint(**({option: value} if source == "flag" else {}))
    place = {
        "flag": f"--{option.replace('_', '-')}: ",
        "environment": f"BULKREDEEM_{option.upper()}: ",
        "file": f"{option} in bulkredeem.toml: ",
    }
    assert said.startswith(place[source])


def test_a_wrong_json_switch_is_named_as_its_option(environment: Any) -> None:
    """The inner name of a field is no word for a person."""
    environment(json="perhaps")
    assert complaint().startswith("BULKREDEEM_JSON: ")


def test_all_wrong_values_are_said_at_once(environment: Any) -> None:
    """Three mistakes in three places make one message."""
    write_file("log_level = 'loud'")
    environment(rate="fast")
    said = complaint(max_workers=0)
    for place in ("log_level in bulkredeem.toml", "BULKREDEEM_RATE", "--max-workers"):
        assert place in said


def test_what_validation_must_know_is_passed_on() -> None:
    """No setting about rows is lost on the way to the rules."""
    settings = load_settings(
        {
            "identifier": "redemptionId",
            "default_entity_type": "FLEET",
            "default_identifier_type": "email",
            "default_country_code": "91",
            "trust_ids": True,
        }
    )
    assert settings.rules == Rules(
        identifier=IdentifierChoice.REDEMPTION_ID,
        default_entity_type="FLEET",
        default_identifier_type="email",
        default_country_code="91",
        trust_ids=True,
    )


def test_settings_do_not_change() -> None:
    """What a run was started with is what it ends with."""
    settings = load_settings({})
    with pytest.raises(ValidationError, match="frozen"):
        settings.rate = "none"  # type: ignore[misc]  # that it cannot be set is the point


def test_every_setting_is_public_but_the_secrets() -> None:
    """The journal keeps what a run was started with, a new setting included."""
    assert load_settings({}).public().keys() == Settings.model_fields.keys() - SECRETS


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_end_behind_the_password_is_none_of_it(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    """Secret stores put one there, in the environment as in files."""
    monkeypatch.setenv("BULKREDEEM_PASSWORD", SECRET + end)
    assert load_settings({}).resolve_password().get_secret_value() == SECRET


def test_a_password_file_is_read_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It may be a pipe, which says its words only once."""
    (tmp_path / "secret").write_text(SECRET)
    monkeypatch.setenv("BULKREDEEM_PASSWORD_FILE", str(tmp_path / "secret"))
    settings = load_settings({})
    settings.resolve_password()
    (tmp_path / "secret").unlink()
    assert settings.resolve_password().get_secret_value() == SECRET


def test_a_column_cannot_be_mapped_twice() -> None:
    """The first of two answers must not be dropped in silence."""
    with pytest.raises(ConfigurationError, match="named twice"):
        load_settings({"map": ["A=billNumber", "A=purpose"]})


@pytest.mark.parametrize(
    ("text", "seconds"), [("15m", 900.0), ("90s", 90.0), ("2h", 7200.0), ("900", 900.0), (900, 900.0)]
)
def test_patience_is_a_duration(text: object, seconds: float) -> None:
    """A number alone is seconds, also where the file holds it as a number."""
    assert load_settings({"outage_timeout": text}).outage_seconds == seconds


@pytest.mark.parametrize("text", ["soon", "0", "-5m", "06:00", "31d", ""])
def test_anything_else_is_no_patience(text: str) -> None:
    """What is no duration is refused before anything is sent."""
    assert "--outage-timeout: " in complaint(outage_timeout=text)


@pytest.mark.parametrize("text", ["06:00", "6:00", "23:59", "2h", "90s", ""])
def test_a_deadline_is_a_time_of_day_or_a_duration(text: str) -> None:
    """It is kept as it was written, so that a run that is gone on with can start it anew."""
    assert load_settings({"deadline": text}).deadline == text


@pytest.mark.parametrize("text", ["tomorrow", "24:00", "06:00:00", "0h", "6am", "-5m", "900"])
def test_anything_else_is_no_deadline(environment: Any, text: str) -> None:
    """A deadline that nobody can read must not be one that never comes."""
    environment(deadline=text)
    assert "BULKREDEEM_DEADLINE: " in complaint()


def test_a_backlog_is_done_first_or_last(environment: Any) -> None:
    """Both words are taken, and no other."""
    assert [load_settings({"backlog": word}).backlog for word in ("first", "last")] == ["first", "last"]
    environment(backlog="never")
    assert complaint().startswith("BULKREDEEM_BACKLOG: ")


OTHERS: dict[str, Any] = {
    "base_url": "https://eu.api.example.com",
    "username": "till.backoffice",
    "auth": "oauth",
    "attribution_entity_type": "TILL",
    "attribution_code": "till.7",
    "ca_bundle": "ours.pem",
    "client_certificate": "we.pem",
    "client_key": "we.key",
    "reports": "elsewhere",
    "state_dir": "state",
    "rate": "7/s",
    "max_workers": 3,
    "max_attempts": 4,
    "timeout": 2.5,
    "outage_timeout": "2m",
    "deadline": "06:00",
    "resume_unfinished": True,
    "backlog": "last",
    "environment": "production",
    "expect_program_id": 1098,
    "unattended": True,
    "yes": True,
    "by": "Asha",
    "reason": "till 3 was offline",
    "when_busy": "wait",
    "same_file": "ok",
    "min_rows": 7,
    "wait_for_file": "2h",
    "settled_for": 5.0,
    "move_done": "done",
    "as_of": "2026-11-24 18:00",
    "allow_older": True,
    "resend": True,
    "on_conflict": "last",
    "existing": "keep",
    "record_previous": True,
    "only": "store=17",
    "first": "store=3",
    "canary": 4,
    "max_refused": "20%",
    "no_guard": True,
    "identifier": "redemptionId",
    "map": ["Bill No=billNumber"],
    "default_entity_type": "FLEET",
    "default_identifier_type": "email",
    "default_country_code": "91",
    "encoding": "cp1252",
    "delimiter": ";",
    "sheet": "Corrections",
    "header_row": 3,
    "ignore_rows": ["redemptionId~^Total"],
    "allow_unterminated": True,
    "trust_ids": True,
    "xlsx": True,
    "show_pii": True,
    "notify": "always",
    "metrics_file": "bulkredeem.prom",
    "json": True,
    "quiet": True,
    "log_level": "debug",
}
"""Another value than the default for every option."""
OF_THE_COMMAND = {
    *("reports", "state_dir", "json_summary", "quiet", "log_level", "resume_unfinished", "backlog", "environment"),
    *("unattended", "yes", "when_busy", "same_file", "wait_for_file", "settled_for", "min_rows", "canary"),
    *("expect_program_id", "by", "reason", "show_pii", "notify", "metrics_file"),
    *("auth", "attribution_entity_type", "attribution_code", "ca_bundle", "client_certificate", "client_key"),
}
ASKED_FOR = {
    *("rate", "max_workers", "max_attempts", "timeout", "outage_timeout", "deadline"),
    *("resend", "allow_older", "max_refused", "no_guard", "xlsx"),
}
SECRETS = {"password", "password_file", "notify_urls", "notify_urls_file", "ping_url", "ping_url_file"}
OF_THE_ROWS = Settings.model_fields.keys() - OF_THE_COMMAND - ASKED_FOR - SECRETS - {"base_url", "username"}


def stored(**flags: Any) -> dict[str, Any]:
    """Return settings as a journal gives them back."""
    found: dict[str, Any] = orjson.loads(orjson.dumps(load_settings(flags).public()))
    return found


def test_a_run_gets_its_own_settings_back() -> None:
    """What a journal stored comes back with the same value and kind, but for what belongs to the command of today."""
    own = load_settings(OTHERS)
    back = restored(stored(**OTHERS), load_settings({}), ())
    for name in Settings.model_fields:
        of_today = name in OF_THE_COMMAND | SECRETS
        assert getattr(back, name) == getattr(load_settings({}) if of_today else own, name)
        assert type(getattr(back, name)) is type(getattr(load_settings({}) if of_today else own, name))
    assert back.rules == own.rules
    assert OTHERS.keys() | {"json_summary"} >= Settings.model_fields.keys() - SECRETS, "a setting is missing above"


def test_only_how_fast_and_how_patiently_can_be_asked_for() -> None:
    """Given as an option, those count today; where rows go to and what they mean is the run's, whatever is given."""
    now = load_settings(OTHERS)
    back = restored(stored(), now, OTHERS.keys())
    for name in Settings.model_fields.keys() - SECRETS:
        of_today = name in OF_THE_COMMAND | ASKED_FOR
        assert getattr(back, name) == getattr(now if of_today else load_settings({}), name)


def test_what_has_changed_and_does_not_count_is_named() -> None:
    """Every setting about rows and sending is, once, with both values; what the command decides is not."""
    found = changed(stored(), load_settings(OTHERS), ())
    assert {each.name for each in found} == OF_THE_ROWS | ASKED_FOR
    assert Difference(name="rate", of_run="100/min", now="7/s") in found
    assert Difference(name="map", of_run="{}", now="{'Bill No': 'billNumber'}") in found
    assert [each.name for each in found] == sorted(each.name for each in found)


def test_what_was_asked_for_is_not_named() -> None:
    """It counts, so there is nothing to say; but a flag about rows does not count, and is."""
    found = changed(stored(), load_settings(OTHERS), OTHERS.keys())
    assert {each.name for each in found} == OF_THE_ROWS


def test_what_nobody_has_set_today_has_not_changed() -> None:
    """A default is no wish: a run that was begun with flags is gone on with by `resume` alone, without a word."""
    assert changed(stored(**OTHERS), load_settings({}), ()) == ()
    assert changed(stored(**OTHERS), load_settings(OTHERS), ()) == ()
    assert other_system(stored(**OTHERS), load_settings({})) == ()


@pytest.mark.parametrize("source", ["flag", "environment", "file"])
def test_a_change_is_seen_wherever_it_comes_from(environment: Any, source: str) -> None:
    """The configuration file of today counts like its environment and its flags."""
    run = stored(rate="1/s")
    if source == "environment":
        environment(rate="2/s")
    if source == "file":
        write_file("rate = '2/s'")
    found = changed(run, load_settings({"rate": "2/s"} if source == "flag" else {}), ())
    assert found == (Difference(name="rate", of_run="1/s", now="2/s"),)


@pytest.mark.parametrize(
    ("option", "of_run", "now"),
    [
        ("base_url", "https://eu.api.example.com", "https://crm.api.example.com"),
        ("username", "till.backoffice", "till.of.somebody.else"),
    ],
)
def test_another_host_or_user_is_another_system(option: str, of_run: str, now: str) -> None:
    """Both are named with both values, and never as a mere change; the same said otherwise is no difference."""
    run = stored(**{option: of_run})
    assert other_system(run, load_settings({option: now})) == (Difference(name=option, of_run=of_run, now=now),)
    assert changed(run, load_settings({option: now}), ()) == ()
    assert other_system(run, load_settings({option: of_run})) == ()


def test_a_slash_at_the_end_makes_no_other_host() -> None:
    """An address is compared as it is used."""
    run = stored(base_url="https://eu.api.example.com")
    assert other_system(run, load_settings({"base_url": "https://eu.api.example.com/"})) == ()


def test_a_run_of_an_older_version_has_the_settings_of_today_where_it_knows_none() -> None:
    """What did not exist then is as it is set today, and is no change; what does not exist any more is passed over."""
    run = stored(rate="1/s")
    del run["outage_timeout"]
    run["colour"] = "green"
    now = load_settings({"outage_timeout": "2m"})
    assert (restored(run, now, ()).rate, restored(run, now, ()).outage_timeout) == ("1/s", "2m")
    assert changed(run, now, ()) == ()


@pytest.mark.parametrize("value", ["many", None, [3]])
def test_a_stored_value_that_makes_no_sense_is_refused(value: object) -> None:
    """A journal that somebody wrote into is not believed."""
    with pytest.raises(ValidationError):
        restored({**stored(), "max_workers": value}, load_settings({}), ())


def test_a_password_is_never_stored(environment: Any) -> None:
    """What a journal holds of the settings can be shown to anybody; the password of today is the one that counts."""
    environment(password=SECRET)
    run = stored(**OTHERS)
    assert SECRET not in str(run)
    assert restored(run, load_settings({}), ()).resolve_password().get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("given", "kept"), [(";", ";"), ("|", "|"), ("tab", "\t"), ("TAB", "\t"), ("\\t", "\t"), ("\t", "\t"), ("", "")]
)
def test_a_delimiter_is_one_character(given: str, kept: str) -> None:
    """A tab can be written by name, since few can type one."""
    assert load_settings({"delimiter": given}).reading.delimiter == kept


@pytest.mark.parametrize("given", [";;", "comma", '"', "\n", "\r"])
def test_anything_else_is_no_delimiter(given: str) -> None:
    """More than one character, the quote and the ends of lines are refused."""
    assert complaint(delimiter=given) == "--delimiter: write one character, like ';' or '|', or tab."


@pytest.mark.parametrize(
    ("given", "kept"), [("UTF8", "utf-8"), ("utf-16", "utf-16"), ("windows-1252", "cp1252"), ("", "")]
)
def test_an_encoding_has_one_name(given: str, kept: str) -> None:
    """However it is spelt, so that a run that is gone on with sees no difference where there is none."""
    assert load_settings({"encoding": given}).encoding == kept


def test_an_encoding_that_nobody_knows_is_refused(environment: Any) -> None:
    """With those that are usual, and with where it was said."""
    environment(encoding="klingon")
    assert complaint().startswith("BULKREDEEM_ENCODING: 'klingon' is no encoding; utf-8, utf-16 and cp1252 are")


@pytest.mark.parametrize("encoding", ["hex", "base64", "rot13", "zlib"])
def test_a_codec_that_makes_no_text_of_bytes_is_no_encoding(encoding: str) -> None:
    """Python calls more things a codec than a file can be written in."""
    assert "is no encoding" in complaint(encoding=encoding)


@pytest.mark.parametrize(("option", "below", "above"), [("header_row", -1, 1_000_001)])
def test_a_header_row_has_bounds(option: str, below: int, above: int) -> None:
    """Zero finds it; a spreadsheet has no row beyond."""
    assert all(option.replace("_", "-") in complaint(**{option: value}) for value in (below, above))
    assert load_settings({option: 12}).reading.header_row == 12


@pytest.mark.parametrize("by", ["flag", "environment", "file"])
def test_rows_to_ignore_can_be_named_from_everywhere(environment: Any, by: str) -> None:
    """Options and a list of the file each hold one rule; the environment holds one in each line, for a rule has all."""
    rules = ["redemptionId~^(Grand )?Total", "Bill No~^$"]
    if by == "environment":
        environment(ignore_rows="\n".join(rules) + "\n")
    if by == "file":
        write_file(f"ignore_rows = {rules}")
    settings = load_settings({"ignore_rows": rules} if by == "flag" else {})
    assert settings.ignore_rows == rules
    assert settings.reading.ignored == tuple(map(Pattern.parse, rules))
    assert [each.header for each in settings.reading.ignored] == ["redemptionId", "Bill No"]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("Total", "'Total' names no column and expression; write it like 'redemptionId~^Total'"),
        ("~Total", "names no column and expression"),
        ("redemptionId~", "names no column and expression"),
        ("redemptionId~(", "'(' is no regular expression (missing ), unterminated subpattern"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(environment: Any, rule: str, words: str) -> None:
    """Before any file is read: a rule that finds nothing would send a line of totals."""
    assert words in complaint(ignore_rows=[rule])
    environment(ignore_rows=rule)
    assert words in complaint()


@pytest.mark.parametrize("rules", ["redemptionId~^Total", 7])
def test_rules_of_the_file_that_are_no_list(rules: object) -> None:
    """A single rule may stand alone there; a number is none."""
    write_file(f"ignore_rows = {rules!r}")
    if isinstance(rules, str):
        assert load_settings({}).ignore_rows == [rules]
    else:
        assert "ignore_rows" in complaint()


def test_how_a_file_is_read_is_passed_on() -> None:
    """Every setting about it, under the loader's names."""
    assert load_settings(OTHERS).reading == Reading(
        explicit={"Bill No": "billNumber"},
        encoding="cp1252",
        delimiter=";",
        sheet="Corrections",
        header_row=3,
        ignored=(Pattern.parse("redemptionId~^Total"),),
        allow_unterminated=True,
    )


@pytest.mark.parametrize("word", ["failure", "change", "always"])
def test_a_notice_is_sent_when_it_was_asked_for(environment: Any, word: str) -> None:
    """Three words are taken, and no other."""
    assert load_settings({"notify": word}).notify == word
    environment(notify="never")
    assert complaint().startswith("BULKREDEEM_NOTIFY: ")


ADDRESSES = {"notify_urls": "slack://hush-token/hush/9", "ping_url": "https://hc.example/hush-uuid"}
"""Where messages go; whoever knows the words can send there too."""


@pytest.mark.parametrize("name", sorted(ADDRESSES))
def test_where_messages_go_is_a_secret(environment: Any, name: str) -> None:
    """It comes from the environment, and is in no text of the settings and in nothing that is stored."""
    environment(**ADDRESSES)
    settings = load_settings({})
    assert getattr(settings, name).get_secret_value() == ADDRESSES[name]
    assert name not in settings.public()
    told = (settings, settings.public(), settings.model_dump(), settings.model_dump_json(), stored(**OTHERS))
    assert not any("hush" in f"{each} {each!r}" for each in told)


@pytest.mark.parametrize("before", ["", "[profiles.eu]\n"])
@pytest.mark.parametrize("name", sorted(ADDRESSES))
def test_where_messages_go_is_refused_in_the_configuration_file(name: str, before: str) -> None:
    """Such files are checked in; the complaint does not repeat the words."""
    write_file(f"{before}{name} = '{ADDRESSES[name]}'")
    said = complaint(**({"profile": "eu"} if before else {}))
    assert name in said
    assert "hush" not in said


def test_where_messages_go_is_that_of_today(environment: Any) -> None:
    """A run that is gone on with knows no address of its own."""
    environment(**ADDRESSES)
    back = restored(stored(**OTHERS), load_settings({}), ())
    assert back.ping_url.get_secret_value() == ADDRESSES["ping_url"]
    assert back.notify_urls.get_secret_value() == ADDRESSES["notify_urls"]


def test_the_metrics_of_a_file_lie_beside_that_file() -> None:
    """As the reports do: a timer starts in another folder than a person."""
    write_file("metrics_file = 'metrics/b.prom'", Path("conf/b.toml"))
    assert load_settings({"config": "conf/b.toml"}).metrics_file == Path("conf/metrics/b.prom")
    assert load_settings({"config": "conf/b.toml", "metrics_file": "mine.prom"}).metrics_file == Path("mine.prom")
