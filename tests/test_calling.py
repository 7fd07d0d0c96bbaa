"""Called from Python: the same runs, heard row by row, stopped in good order, and quick to import."""

from __future__ import annotations

import asyncio
import csv
import inspect
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import bulkredeem
from bulkredeem.application.shelf import run_folders
from bulkredeem.errors import ConfigurationError, ExitCode, InputFileError, SignalledError
from bulkredeem.model import Outcome, Status
from bulkredeem.sandbox import Fault
from bulkredeem.summary import RunState

if TYPE_CHECKING:
    from tests.conftest import Rehearsal, Terminal

pytestmark = pytest.mark.usefixtures("nothing_configured")

EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "back_fill.py"


def rows_of(folder: Path) -> dict[int, str]:
    """Read row number → status from a run's results."""
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return {int(line["row_number"]): line["status"] for line in csv.DictReader(file)}


async def test_a_run_returns_what_happened(rehearsal: Rehearsal) -> None:
    """The summary, with the exit code that a process would have had; the reports lie where it says."""
    rehearsal.faults = lambda update: Fault.error(status=400, code=750) if update.identifier == "AB0003" else None
    settings = rehearsal.settings()
    summary = await bulkredeem.run(rehearsal.file(20), settings)
    assert summary.counts[Status.SUCCESS] == 19
    assert summary.ending is not None
    assert (summary.ending.state, summary.ending.exit_code) == (RunState.FINISHED, ExitCode.NOT_ALL_DONE)
    folder = settings.reports / summary.info.run_id
    assert rehearsal.summary(folder) == rehearsal_json(summary)
    assert Counter(rows_of(folder).values()) == {"success": 19, "refused": 1}
    assert (folder / "report.html").is_file()


def rehearsal_json(summary: bulkredeem.Summary) -> Any:
    """Return a summary as `summary.json` holds it."""
    return {**summary.as_json_object(), "exit_code": int(ExitCode.NOT_ALL_DONE)}


async def test_a_path_may_be_a_string(rehearsal: Rehearsal) -> None:
    """As everywhere in Python."""
    summary = await bulkredeem.run(str(rehearsal.file(3)), rehearsal.settings())
    assert summary.counts[Status.SUCCESS] == 3


async def test_every_outcome_is_heard_once(rehearsal: Rehearsal, write_csv: Callable[..., Path]) -> None:
    """Those of rows that are never sent, too; each with the status that the reports give."""
    good = [[f"AB{row:04}", f"B-{row}", f"9199{row:08}"] for row in range(2, 22)]
    path = write_csv([["redemptionId", "billNumber", "identifierValue"], *good, good[0], ["", "B", "919900000099"]])
    heard: list[Outcome] = []
    settings = rehearsal.settings()
    summary = await bulkredeem.run(path, settings, on_outcome=heard.append)
    assert sorted(outcome.row_number for outcome in heard) == list(range(2, 24))
    told = {outcome.row_number: str(outcome.status) for outcome in heard}
    assert told == rows_of(settings.reports / summary.info.run_id)
    assert Counter(outcome.status for outcome in heard) == {
        Status.SUCCESS: 20,
        Status.SKIPPED: 1,
        Status.INVALID: 1,
    }


async def test_what_a_listener_raises_ends_the_run(rehearsal: Rehearsal) -> None:
    """Its other rows stay pending, those that are recorded keep their outcomes, and `resume` goes on with it."""
    heard: list[Outcome] = []

    def listen(outcome: Outcome) -> None:
        heard.append(outcome)
        if len(heard) == 5:
            raise ZeroDivisionError("ours")

    settings = rehearsal.settings()
    summary = await bulkredeem.run(rehearsal.file(200), settings, on_outcome=listen)
    assert summary.ending is not None
    assert summary.ending.state is RunState.STOPPED
    assert summary.ending.exit_code == ExitCode.INTERNAL_ERROR
    assert summary.counts[Status.PENDING] > 100
    assert summary.counts[Status.SUCCESS] >= 5
    folder = settings.reports / summary.info.run_id
    assert Counter(rows_of(folder).values())["success"] == summary.counts[Status.SUCCESS]
    assert all(rows_of(folder)[outcome.row_number] == "success" for outcome in heard)
    run = await rehearsal.resume(folder)
    assert run.exit_code is ExitCode.DONE
    assert len(set(rehearsal.arrived)) == 200


async def test_a_stop_drains(rehearsal: Rehearsal) -> None:
    """What is under way comes to its end, nothing new begins, and no row is in doubt."""
    stop = bulkredeem.Stop()
    heard: list[Outcome] = []

    def listen(outcome: Outcome) -> None:
        heard.append(outcome)
        if len(heard) == 5:
            stop.request(RuntimeError("told to stop"))

    settings = rehearsal.settings()
    summary = await bulkredeem.run(rehearsal.file(200), settings, on_outcome=listen, stop=stop)
    assert summary.ending is not None
    assert summary.ending.state is RunState.STOPPED
    assert summary.counts[Status.SUCCESS] == len(rehearsal.arrived) == len(heard)
    assert summary.counts[Status.SUCCESS] + summary.counts[Status.PENDING] == 200
    assert summary.counts[Status.PENDING] > 100
    assert summary.counts[Status.IN_DOUBT] == 0


async def test_a_stop_for_a_reason_of_ours_is_told_with_its_code(rehearsal: Rehearsal) -> None:
    """As Ctrl-C on the command line."""
    stop = bulkredeem.Stop()
    summary = await bulkredeem.run(
        rehearsal.file(200),
        rehearsal.settings(),
        on_outcome=lambda _: stop.request(SignalledError("the night is over")),
        stop=stop,
    )
    assert summary.ending is not None
    assert (summary.ending.stop_reason, summary.ending.exit_code) == ("the night is over", ExitCode.STOPPED_EARLY)


async def test_cancelling_ends_it_at_once_and_loses_nothing(rehearsal: Rehearsal) -> None:
    """The cancellation is passed on; what was recorded is in the summary on the disk, and `resume` does the rest."""
    heard: list[Outcome] = []

    def listen(outcome: Outcome) -> None:
        heard.append(outcome)
        if len(heard) == 20:
            task.cancel()

    settings = rehearsal.settings()
    task = asyncio.create_task(bulkredeem.run(rehearsal.file(200), settings, on_outcome=listen))
    with pytest.raises(asyncio.CancelledError):
        await task
    (folder,) = run_folders(settings.reports)
    told = rehearsal.summary(folder)
    assert told["state"] == "stopped"
    assert 20 <= told["counts"]["success"] < 200
    run = await rehearsal.resume(folder)
    assert run.exit_code is ExitCode.DONE


async def test_what_keeps_a_run_from_starting_is_raised(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """As an error of ours, all of which have one root; nothing was sent."""
    with pytest.raises(InputFileError):
        await bulkredeem.run(tmp_path / "gone.csv", rehearsal.settings())
    with pytest.raises(ConfigurationError, match="username"):
        await bulkredeem.run(rehearsal.file(3), rehearsal.settings().model_copy(update={"username": ""}))
    assert issubclass(ConfigurationError, bulkredeem.BulkRedeemError)
    assert issubclass(InputFileError, bulkredeem.BulkRedeemError)
    assert rehearsal.arrived == []


async def test_it_can_be_called_where_no_loop_is_running(rehearsal: Rehearsal) -> None:
    """It returns when all is done, and hears the outcomes just so; the sandbox runs in another loop meanwhile."""
    heard: list[Outcome] = []
    summary = await asyncio.to_thread(
        bulkredeem.run_blocking, rehearsal.file(10), rehearsal.settings(), on_outcome=heard.append
    )
    assert summary.counts[Status.SUCCESS] == len(heard) == 10


async def test_it_says_so_where_a_loop_is_running(rehearsal: Rehearsal) -> None:
    """There `run` is to be awaited instead; nothing is sent and no folder is made."""
    path, settings = rehearsal.file(3), rehearsal.settings()
    with pytest.raises(RuntimeError, match="running event loop"):
        bulkredeem.run_blocking(path, settings)
    assert rehearsal.arrived == []
    assert not settings.reports.exists()


def python(code: str, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run some Python in a process of its own."""
    # What measures coverage of processes loads libraries of its own.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    options = {"env": plain, **options}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *words], text=True, capture_output=True, check=False, **options
    )


@pytest.mark.parametrize("library", ["pandas", "aiohttp", "pydantic", "jinja2", "xlsxwriter", "sqlite3", "asyncio"])
def test_to_import_it_loads_no_library(library: str) -> None:
    """Whoever imports it and does not call it does not wait for it."""
    done = python("import sys, bulkredeem; print(sys.argv[1] in sys.modules)", library)
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize("name", sorted({*bulkredeem.__all__} - {"__version__"}))
def test_every_promised_name_is_there(name: str) -> None:
    """It is imported when it is first used, by attribute as by `from`, and says what it is for."""
    done = python(f"from bulkredeem import {name}; import bulkredeem; print({name} is bulkredeem.{name})")
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert inspect.getdoc(getattr(bulkredeem, name))


def test_a_name_that_is_not_there_is_no_surprise() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="module 'bulkredeem' has no attribute 'runs'"):
        _ = bulkredeem.runs
    with pytest.raises(ImportError, match="cannot import name 'runs'"):
        exec("from bulkredeem import runs")  # noqa: S102  a type checker would not let it pass
    assert not hasattr(bulkredeem, "__path_of_nothing__")


def test_all_promised_names_can_be_taken_at_once() -> None:
    """A star takes them all."""
    done = python("from bulkredeem import *; print(run_blocking.__name__, Status.SUCCESS, __version__)")
    assert done.stdout == f"run_blocking success {bulkredeem.__version__}\n"


def test_its_types_are_for_others_to_use() -> None:
    """The mark that type checkers look for is part of the package."""
    assert files("bulkredeem").joinpath("py.typed").is_file()


def test_a_type_checker_accepts_the_example_and_a_script(tmp_path: Path) -> None:
    """In strict mode, and it knows the types: a mistake is one."""
    pytest.importorskip("mypy")
    script = tmp_path / "script.py"
    script.write_text(
        "import bulkredeem\n\n"
        "summary: bulkredeem.Summary = bulkredeem.run_blocking('a.csv', bulkredeem.load_settings({'rate': '5/s'}))\n"
        "done: int = summary.counts[bulkredeem.Status.SUCCESS]\n"
        "wrong: str = summary.not_done\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(script), str(EXAMPLE)],
        cwd=Path(__file__).parent.parent,
        text=True,
        capture_output=True,
        check=False,
    )
    complaints = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(complaints) == 1, done.stdout
    assert re.search(r"script\.py:5: error: Incompatible types in assignment", complaints[0])


async def test_the_example_of_the_documentation_works(unconfigured: Terminal, write_csv: Callable[..., Path]) -> None:
    """As it stands, as a process of its own, rehearsed with the built-in sandbox."""
    good = [[f"AB{row:04}", f"B-{row}", f"9199{row:08}"] for row in range(2, 12)]
    path = write_csv([["redemptionId", "billNumber", "identifierValue"], *good, ["", "B", "919900000099"]])
    ended = await unconfigured.run(
        *("sandbox", "--", sys.executable, EXAMPLE, path.name), env={"BULKREDEEM_RATE": "none"}
    )
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert lines[0].startswith("row 12: invalid 749: ")
    assert lines[1] == "1 of 11 rows need someone."
    assert lines[2].startswith("Reports: reports/")
    folder = unconfigured.folder / lines[2].removeprefix("Reports: ")
    assert Counter(rows_of(folder).values()) == {"success": 10, "invalid": 1}


async def test_the_example_says_in_one_sentence_why_it_could_not_start(unconfigured: Terminal) -> None:
    """Not in a traceback."""
    ended = await unconfigured.run("gone.csv", python=(str(EXAMPLE),))
    assert ended.code == ExitCode.COULD_NOT_START
    assert "Traceback" not in ended.err
    assert ended.err.strip()


async def test_the_example_drains_when_it_is_told_to(terminal: Terminal, sandbox: Any, rehearsal_file: Path) -> None:
    """SIGTERM, as a scheduler sends it: what was sent has its outcome, the rest is pending."""
    sandbox.latency = 0.05
    started = await terminal.start(
        rehearsal_file, python=(str(EXAMPLE),), env={"BULKREDEEM_RATE": "none", "BULKREDEEM_MAX_WORKERS": "4"}
    )
    await terminal.until(lambda: sandbox.requests >= 8)
    started.send(signal.SIGTERM)
    ended = await started.ended()
    assert ended.code == ExitCode.STOPPED_EARLY
    told = terminal.summary()
    assert told["state"] == "stopped"
    assert told["counts"]["success"] == sandbox.requests
    assert told["counts"]["in_doubt"] == 0
    assert told["counts"]["pending"] > 0


@pytest.fixture
def rehearsal_file(write_csv: Callable[..., Path]) -> Path:
    """Give a file of many good rows."""
    return write_csv(
        [
            ["redemptionId", "billNumber", "identifierValue"],
            *([f"AB{row:04}", f"B-{row}", f"9199{row:08}"] for row in range(2, 2_002)),
        ]
    )
