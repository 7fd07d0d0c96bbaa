"""What `init` asks and writes: on a real pseudo-terminal, and what is promised of any answer."""

from __future__ import annotations

import os
import re
import signal
import tomllib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkredeem.application.initialising import (
    Answers,
    column_of,
    configuration_text,
    environment_example,
    known_columns,
    needs_of,
    problem_of,
    problem_of_columns,
    tidied,
)
from bulkredeem.cli import initialising
from bulkredeem.columns import map_columns
from bulkredeem.errors import ConfigurationError, ExitCode
from bulkredeem.settings import load_settings
from bulkredeem.settings.fields import SECRETS
from tests.screens import Screen, screens

if TYPE_CHECKING:
    from tests.conftest import Terminal

WriteCsv = Callable[..., Path]
PLAIN = ("eu.api.example.com", "asha.till", "", "", "")
"""Answers to the five questions that are always asked: address, user name, environment, rate, country code."""


class Asked(Screen):
    """A person whom `init` asks."""

    async def answer(self, question: str, line: str) -> None:
        """Wait for the words of a question, once more than before, and type the answer."""
        await self.terminal.until(lambda: question in self.text())
        self.shown = ""
        os.write(self.descriptor, f"{line}\n".encode())

    async def answer_all(self, *lines: str) -> None:
        """Answer the questions that are always asked."""
        questions = (
            "Address of the platform",
            "User name",
            "What you call this system",
            "Most requests",
            "Country code",
        )
        for question, line in zip(questions, lines, strict=True):
            await self.answer(question, line)


@pytest.fixture
async def init(unconfigured: Terminal) -> AsyncIterator[Callable[..., Any]]:
    """Start `init` on a pseudo-terminal of 200 columns."""
    async with screens(unconfigured, Asked) as start:
        yield partial(start, "init")


def configured(folder: Path) -> dict[str, Any]:
    """Read the configuration file that was written."""
    return tomllib.loads((folder / "bulkredeem.toml").read_text(encoding="utf-8"))


def texts_in(folder: Path) -> dict[str, str]:
    """Return name → text of all that lies in a folder."""
    return {each.name: each.read_text(encoding="utf-8") for each in folder.iterdir()}


# At the terminal


async def test_the_shortest_way(init: Callable[..., Any], nothing_configured: Path) -> None:
    """Two answers and three times Enter make a configuration that loads, and a person is told what comes next."""
    screen = await init()
    await screen.answer_all(*PLAIN)
    assert await screen.ended() == 0
    assert configured(nothing_configured) == {
        "base_url": "https://eu.api.example.com",
        "username": "asha.till",
        "rate": "100/min",
    }
    assert load_settings({}).username == "asha.till"
    for words in ("export BULKREDEEM_PASSWORD_FILE=", "bulkredeem doctor", "bulkredeem check FILE"):
        assert words in screen.text()
    assert "BULKREDEEM_PASSWORD_FILE=\n" in (nothing_configured / ".env.example").read_text()


async def test_an_answer_that_makes_no_sense_is_asked_for_again(
    init: Callable[..., Any], nothing_configured: Path
) -> None:
    """Each is judged at once, by what judges the settings, and the sentence says what is wrong."""
    screen = await init()
    await screen.answer("Address of the platform", "http://eu.api.example.com")
    await screen.answer("Error: it is http, which would send the password readable", "https://eu.api.example.com/v/")
    await screen.answer("User name", "asha.till")
    await screen.answer("What you call this system", "test")
    await screen.answer("Most requests", "fast")
    await screen.answer("Error: 'fast' is not a rate", "20/s")
    await screen.answer("Country code", "091")
    await screen.answer("Error: write one to four digits", "+91")
    assert await screen.ended() == 0
    assert configured(nothing_configured) == {
        "base_url": "https://eu.api.example.com/v/",
        "username": "asha.till",
        "environment": "test",
        "rate": "20/s",
        "default_country_code": "91",
    }


async def test_columns_that_say_of_what_kind_a_row_is_are_asked_for(
    init: Callable[..., Any], nothing_configured: Path, write_csv: WriteCsv
) -> None:
    """Without them every row would be sent as a customer with a mobile number, whatever it is."""
    header = ["redemptionId", "billNumber", "identifierValue", "Id Kind", "Who"]
    file = write_csv([header, ["8878ru", "B-1", "9777000001", "externalId", "FLEET"]])
    screen = await init(file.name)
    await screen.answer_all(*PLAIN)
    await screen.answer("what kind of id that is?", "Id Kind")
    await screen.answer("what kind of customer it is?", "Who")
    assert await screen.ended() == 0
    assert configured(nothing_configured)["map"] == {"Id Kind": "identifierType", "Who": "entityType"}


async def test_a_sample_file_with_names_of_its_own(
    init: Callable[..., Any], nothing_configured: Path, write_csv: WriteCsv
) -> None:
    """Only what the header does not say by itself is asked, by name or by number, and goes into the map."""
    file = write_csv([["Ref", "Mobile", "Bill", "Store"], ["8878ru", "919900000001", "B-1", "17"]], "a sample.csv")
    screen = await init(file.name)
    await screen.answer_all(*PLAIN)
    await screen.answer("Which column names the redemption?", "nothing like it")
    await screen.answer("Error: there is no such column", "ref")
    await screen.answer("Is 'Ref' redemptionId or externalReferenceNumber?", "external_reference_number")
    await screen.answer("mobile number or other id?", "1")
    await screen.answer("Error: that column is externalReferenceNumber already", "2")
    await screen.answer("Which column holds what is to be set?", "Bill")
    await screen.answer("What is 'Bill'", "")
    await screen.answer("Another one that is to be set", "store")
    await screen.answer("What is 'Store'", "customFields.store")
    await screen.answer("Another one that is to be set", "")
    assert await screen.ended() == 0
    assert "bulkredeem check 'a sample.csv'" in screen.text()
    assert configured(nothing_configured)["map"] == {
        "Ref": "externalReferenceNumber",
        "Mobile": "identifierValue",
        "Bill": "billNumber",
        "Store": "customFields.store",
    }
    assert load_settings({}).map["Bill"] == "billNumber"


async def test_a_sample_file_that_says_it_all(
    init: Callable[..., Any], nothing_configured: Path, write_csv: WriteCsv
) -> None:
    """Nothing is asked about columns that say by themselves what they are."""
    screen = await init(write_csv([["redemptionId", "Bill Number", "identifierValue"], ["8878ru", "B-1", "1"]]))
    await screen.answer_all(*PLAIN)
    assert await screen.ended() == 0
    assert "map" not in configured(nothing_configured)


async def test_a_sample_file_that_is_not_there(init: Callable[..., Any], nothing_configured: Path) -> None:
    """It is said before anything is asked."""
    screen = await init("nowhere.csv")
    assert await screen.ended() == 2
    assert "nowhere.csv" in screen.text()
    assert "Address" not in screen.text()
    assert texts_in(nothing_configured) == {}


def interrupt(screen: Screen) -> None:
    """Do what Ctrl-C does."""
    screen.process.send(signal.SIGINT)


def end_the_input(screen: Screen) -> None:
    """Do what Ctrl-D does."""
    os.write(screen.descriptor, b"\x04")


@pytest.mark.parametrize("stop", [interrupt, end_the_input])
async def test_who_stops_in_the_middle_has_changed_nothing(
    init: Callable[..., Any], nothing_configured: Path, stop: Callable[[Screen], None]
) -> None:
    """Ctrl-C and the end of the input both say so, and leave nothing."""
    screen = await init()
    await screen.answer("Address of the platform", "eu.api.example.com")
    await screen.terminal.until(lambda: "User name" in screen.text())
    # Asleep: Python hears of a signal between the question and the wait for an answer only when somebody answers.
    await screen.terminal.until(lambda: psutil.Process(screen.process.pid).status() == psutil.STATUS_SLEEPING)
    stop(screen)
    assert await screen.ended() == 130
    assert "Nothing was written." in screen.text()
    assert texts_in(nothing_configured) == {}


async def test_a_configuration_that_is_there_stays(init: Callable[..., Any], nothing_configured: Path) -> None:
    """Without a yes nothing is asked and nothing overwritten."""
    (nothing_configured / "bulkredeem.toml").write_text('rate = "1/s"\n')
    screen = await init()
    await screen.answer("bulkredeem.toml is here already.", "")
    assert await screen.ended() == 2
    assert "bulkredeem.toml stays as it is." in screen.text()
    assert texts_in(nothing_configured) == {"bulkredeem.toml": 'rate = "1/s"\n'}


async def test_what_was_there_is_kept(init: Callable[..., Any], nothing_configured: Path) -> None:
    """With a yes the old files lie beside the new ones, and no earlier one of those is lost."""
    old = {"bulkredeem.toml": 'rate = "2/s"\n', ".env.example": "OURS=1\n", "bulkredeem.toml.before": 'rate = "1/s"\n'}
    for name, text in old.items():
        (nothing_configured / name).write_text(text)
    screen = await init()
    await screen.answer("bulkredeem.toml and .env.example are here already.", "y")
    await screen.answer_all(*PLAIN)
    assert await screen.ended() == 0
    texts = texts_in(nothing_configured)
    assert texts["bulkredeem.toml.before"] == 'rate = "1/s"\n'
    assert texts["bulkredeem.toml.before1"] == 'rate = "2/s"\n'
    assert texts[".env.example.before"] == "OURS=1\n"
    assert configured(nothing_configured)["username"] == "asha.till"


async def test_nobody_is_at_a_terminal(unconfigured: Terminal, nothing_configured: Path) -> None:
    """In a pipe nothing is asked: one sentence, and exit code 2."""
    ended = await unconfigured.run("init")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert "write bulkredeem.toml by hand" in ended.err
    assert texts_in(nothing_configured) == {}


@pytest.mark.parametrize("is_old", [False, True])
def test_a_folder_that_takes_no_file(tmp_path: Path, is_old: bool) -> None:  # noqa: FBT001  a column of the table
    """A file that can be neither kept nor written ends the command as what could not start."""
    folder, old = (tmp_path, [tmp_path / "bulkredeem.toml"]) if is_old else (tmp_path / "nowhere", [])
    (tmp_path / "bulkredeem.toml").mkdir()
    with pytest.raises(ConfigurationError, match=r"could not be (kept|written)") as caught:
        initialising._write(folder, old, {"bulkredeem.toml": "rate = '1/s'\n"})
    assert caught.value.exit_code is ExitCode.COULD_NOT_START
    assert [each.name for each in tmp_path.iterdir()] == ["bulkredeem.toml"]


# Answers and texts


ANSWER = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(username=ANSWER, environment=ANSWER, columns=st.dictionaries(ANSWER, ANSWER))
@example(username='"\\\x7f', environment="'''\n", columns={"a.b": "c", "\r\n": "\x00", '"': "x"})
def test_any_answer_is_valid_toml(username: str, environment: str, columns: dict[str, str]) -> None:
    """What was answered is what is read back, whatever characters it has."""
    answers = Answers(
        base_url="https://a.example.com", username=username, environment=environment, rate="1/s", map=columns
    )
    read = tomllib.loads(configuration_text(answers))
    assert (read["username"], read["environment"], read.get("map", {})) == (username, environment, columns)


def test_a_header_between_blanks_and_dots(nothing_configured: Path) -> None:
    """A map of any headers is read by the settings as it was meant."""
    columns = {"Bill No.": "billNumber", 'Who\'s "it"': "identifierValue", "a=b;c": "purpose"}
    answers = Answers(base_url="https://a.example.com", username="asha", rate="1/s", map=columns)
    (nothing_configured / "bulkredeem.toml").write_text(configuration_text(answers), encoding="utf-8")
    assert load_settings({}).map == columns


def test_the_example_holds_no_secret() -> None:
    """Every variable of a secret is named, none has a value, and only one line would count."""
    lines = environment_example().splitlines()
    variables = [line.lstrip("#") for line in lines if re.match(r"#?BULKREDEEM_[A-Z_]+=", line)]
    assert {line.removeprefix("BULKREDEEM_").removesuffix("=").lower() for line in variables} == SECRETS
    assert [line for line in lines if line and not line.startswith("#")] == ["BULKREDEEM_PASSWORD_FILE="]


@pytest.mark.parametrize(
    ("name", "answer", "is_sound"),
    [
        ("base_url", "", False),
        ("base_url", "https://eu.api.example.com", True),
        ("base_url", "https://asha:quiet-Otter-42@eu.api.example.com", False),
        ("username", "", False),
        ("username", "asha\ud800", False),
        ("username", "asha\x1b[2J", False),
        ("environment", "", True),
        ("environment", "x" * 41, False),
        ("rate", "none", True),
        ("rate", "1/fortnight", False),
        ("default_country_code", "91", True),
        ("default_country_code", "12345", False),
    ],
)
def test_what_an_answer_may_be(name: str, answer: str, is_sound: bool) -> None:  # noqa: FBT001  a column of the table
    """What a setting would not take is no answer."""
    assert (problem_of(name, answer) == "") is is_sound
    assert "Otter" not in problem_of(name, answer)


@pytest.mark.parametrize(
    ("name", "answer", "meant"),
    [
        ("base_url", " eu.api.example.com ", "https://eu.api.example.com"),
        ("base_url", "http://127.0.0.1:80", "http://127.0.0.1:80"),
        ("base_url", "", ""),
        ("default_country_code", "+91", "91"),
        ("username", " +asha ", "+asha"),
    ],
)
def test_what_an_answer_means(name: str, answer: str, meant: str) -> None:
    """A host alone is taken for https, and a code may have its plus."""
    assert tidied(name, answer) == meant


def test_which_column_an_answer_means() -> None:
    """A name beats a number, and a name that fits two columns fits none."""
    headers = ["Ref", " 3 ", "bill", "BILL", ""]
    meant = [column_of(headers, answer) for answer in ("1", "3", "ref", "bill", "Bill", "5", "6", "0", "", "x")]
    assert meant == ["Ref", "3", "Ref", "bill", None, None, None, None, None, None]


@given(
    st.lists(st.sampled_from(["redemptionId", "Bill No", "billNumber", "identifierValue", "purpose", ""]), max_size=5)
)
def test_nothing_is_left_to_be_asked_of_a_file_that_could_be_run(headers: list[str]) -> None:
    """What is asked about is what the check of a file's columns would miss."""
    needs = needs_of(known_columns(headers).values())
    is_complete = not (needs.identifier or needs.value or needs.customer)
    if not problem_of_columns(headers, {}):
        assert is_complete
        assert set(map_columns(headers, {}).used) == set(known_columns(headers).values())
    elif len(set(headers)) == len(headers):
        assert not is_complete
