"""The command line, as real processes: what it prints where, how it ends, and what signals do to it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import typer

from bulkredeem import __version__
from bulkredeem.application.retrying import USUAL
from bulkredeem.cli.commands import app
from bulkredeem.errors import ExitCode
from bulkredeem.model import Rate, Status
from bulkredeem.sandbox import Fault, Sandbox
from bulkredeem.settings import CONFIG_FILE, ENV_PREFIX, Settings

if TYPE_CHECKING:
    from tests.conftest import Terminal, Turnstile

WriteCsv = Callable[..., Path]
HEADER = ["redemptionId", "billNumber", "identifierValue"]
README = Path(__file__).parent.parent / "README.md"
COMMANDS = ["run", "check", "resume", "retry", "runs", "report", "abandon", "selftest", "sandbox"]
"""Each command; `run` is first, for its table of options is the one that the others refer to."""
LIMITED = """
import atexit, resource, runpy, sys
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, unlimited[1]))
atexit.register(resource.setrlimit, resource.RLIMIT_FSIZE, unlimited)
runpy.run_module("bulkredeem", run_name="__main__")
"""
"""Runs the command on a "disk" that takes no file beyond 150,000 bytes."""
UNDER_NOHUP = """
import runpy, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
runpy.run_module("bulkredeem", run_name="__main__")
"""
"""Runs the command as `nohup` does."""


def good_rows(count: int, *, prefix: str = "AB") -> list[list[str]]:
    """Return a file of so many rows, each of a redemption and a customer of its own."""
    return [HEADER, *([f"{prefix}{number:04}", f"B-{number}", f"9199{number:08}"] for number in range(count))]


class TestExitCodes:
    """What a scheduler is told."""

    async def test_0_when_every_row_is_done(self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox) -> None:
        """A good file ends with 0 and a sentence that nobody is needed, and nothing stands on standard error."""
        run = await terminal.run("run", write_csv(good_rows(12)), "--rate", "none")
        assert (run.code, run.err) == (0, "")
        assert run.out.splitlines()[-1] == "All 12 rows were updated. Nothing is left to do."
        assert terminal.statuses() == ["success"] * 12
        assert len(sandbox.applied) == 12

    async def test_1_when_rows_need_somebody(self, terminal: Terminal, write_csv: WriteCsv) -> None:
        """A refused row ends with 1, and the last line is a command that goes on with the options of this one."""
        path = write_csv([HEADER, ["AB12CD", "B", "919900000001"], ["NOPE", "B", "919900000002"]])
        run = await terminal.run("run", path, "--rate", "none", "--max-workers", "3")
        assert run.code == 1
        *_, sentence, command = run.out.splitlines()
        assert sentence.startswith(
            "1 of 2 rows were updated. 1 needs someone: 1 refused by the platform. Open reports/"
        )
        assert command.startswith("bulkredeem run --rate none --max-workers 3 reports/")
        assert (terminal.folder / command.split()[-1]).read_text().count("\n") == 2

    async def test_a_header_cannot_command_the_terminal(self, terminal: Terminal, write_csv: WriteCsv) -> None:
        """An escape sequence in the file's own header is shown as what it is not: harmless."""
        run = await terminal.run(
            "check", write_csv([[*HEADER, "\x1b]0;owned\x07"], ["AB12CD", "B", "919900000001", ""]])
        )
        assert "Carried along: ?]0;owned?" in run.out
        assert "\x1b" not in run.out

    CANNOT_START: ClassVar = {
        "missing.csv": "missing.csv cannot be read: No such file or directory.",
        ".": ". cannot be read: Is a directory.",
        "fixes.csv --rate fast": "--rate: 'fast' is not a rate",
        "fixes.csv --config none.toml": "The configuration file none.toml cannot be read",
        "fixes.csv --base-url http://example.com": "--base-url: is http, which would send the password",
        "fixes.csv --reports fixes.csv": "No folder for reports can be made at fixes.csv/",
        "fixes.csv --reports fixes.csv/deeper": "No folder for reports can be made at fixes.csv/deeper/",
    }

    async def test_2_when_it_cannot_start(self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox) -> None:
        """A wrong file, option, configuration or folder is one sentence on standard error, and nothing is sent."""
        write_csv(good_rows(1))
        runs = await asyncio.gather(*(terminal.run("run", *words.split()) for words in self.CANNOT_START))
        for run, (words, said) in zip(runs, self.CANNOT_START.items(), strict=True):
            assert (run.code, run.out) == (2, ""), words
            assert run.err.startswith(said)
            assert len(run.err.splitlines()) == 1
        assert sandbox.requests == 0
        assert not terminal.latest.exists()

    @pytest.mark.parametrize("words", [["run"], ["run", "--nonsense", "f.csv"], ["sandbox", "--port", "70000"]])
    async def test_2_for_wrong_usage(self, unconfigured: Terminal, words: list[str]) -> None:
        """What cannot be understood is said together with the usage, without a traceback."""
        run = await unconfigured.run(*words)
        assert (run.code, run.out) == (2, "")
        assert "Usage: bulkredeem" in run.err
        assert "Traceback" not in run.err

    async def test_2_lists_all_that_is_missing(self, unconfigured: Terminal, write_csv: WriteCsv) -> None:
        """Who has configured nothing is told everything at once, and how to."""
        run = await unconfigured.run("run", write_csv(good_rows(1)))
        assert (run.code, run.out) == (2, "")
        (sentence,) = run.err.splitlines()
        for word in ("--base-url", "BULKREDEEM_BASE_URL", "BULKREDEEM_USERNAME", "BULKREDEEM_PASSWORD_FILE"):
            assert word in sentence

    async def test_4_when_access_is_refused(self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox) -> None:
        """Wrong credentials send one request, leave every row pending, and say what the platform said."""
        sandbox.password = "another"
        run = await terminal.run("run", write_csv(good_rows(50)))
        assert (run.code, sandbox.requests) == (4, 1)
        assert terminal.statuses() == ["pending"] * 50
        assert "Stopped early: the platform refused the credentials or the permission (401: Authentication" in run.out

    async def test_70_for_an_error_of_ours(self, unconfigured: Terminal) -> None:
        """What nobody foresaw is 70 and not Python's 1; it says where, and not what: that may quote a secret."""
        program = (
            "from bulkredeem.cli import commands\n"
            "def app(**_): raise RuntimeError('quiet-Otter-42')\n"
            "commands.app = app\n"
            "commands.main()\n"
        )
        run = await unconfigured.run(python=("-c", program))
        assert (run.code, run.out) == (70, "")
        assert "An error of ours (RuntimeError)" in run.err
        assert "in app" in run.err
        assert "Otter" not in run.err


class TestSeveralFiles:
    """One run per file."""

    async def test_they_run_in_the_order_given(self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox) -> None:
        """Neither a row that is not done nor an unusable file stops the rest; the highest code is the process's."""
        write_csv(good_rows(2, prefix="ZZ"), "z.csv")
        write_csv([HEADER, ["NOPE", "B", "919900000002"]], "n.csv")
        write_csv(good_rows(2, prefix="AA"), "a.csv")
        run = await terminal.run("run", "z.csv", "n.csv", "gone.csv", "a.csv", "--max-workers", "1", "--rate", "none")
        assert run.code == 2
        assert run.err == "gone.csv cannot be read: No such file or directory.\n"
        assert [each.identifier for each in sandbox.applied] == ["ZZ0000", "ZZ0001", "AA0000", "AA0001"]
        assert [line.split(":")[0] for line in run.out.splitlines() if "; uses" in line] == ["z.csv", "n.csv", "a.csv"]
        found = (terminal.folder / "reports").iterdir()
        assert len([each for each in found if each.is_dir() and not each.is_symlink() and each.name != "ledger"]) == 3

    async def test_refused_access_stops_the_rest(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox
    ) -> None:
        """After a 4 no further file is begun, and those left out are named."""
        sandbox.permitted = False
        for name in ("a.csv", "b.csv", "c.csv"):
            write_csv(good_rows(3), name)
        run = await terminal.run("run", "a.csv", "b.csv", "c.csv")
        assert (run.code, sandbox.requests) == (4, 1)
        assert run.out.splitlines()[-1] == "Not begun: b.csv, c.csv."

    async def test_a_signal_stops_the_rest(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, turnstile: Turnstile
    ) -> None:
        """After a 3 no further file is begun."""
        write_csv(good_rows(50), "a.csv")
        write_csv(good_rows(50), "b.csv")
        process = await terminal.start("run", "a.csv", "b.csv", "--max-workers", "2", "--rate", "none")
        await terminal.until(lambda: sandbox.requests == 12)
        process.send(signal.SIGTERM)
        await process.says("SIGTERM: finishing")
        turnstile.open()
        run = await process.ended()
        assert run.code == 3
        assert run.out.splitlines()[-1] == "Not begun: b.csv."


class TestOutput:
    """What is printed where."""

    async def test_json_has_standard_output_for_itself(self, terminal: Terminal, write_csv: WriteCsv) -> None:
        """Exactly one object per file, the same as its `summary.json`; all words are on standard error."""
        write_csv(good_rows(2), "a.csv")
        write_csv([HEADER, ["NOPE", "B", "919900000002"]], "b.csv")
        run = await terminal.run("run", "a.csv", "b.csv", "--json", "--rate", "none")
        assert run.code == 1
        first, second = run.objects
        assert [first["input"]["path"], second["input"]["path"]] == ["a.csv", "b.csv"]
        assert [first["exit_code"], second["exit_code"]] == [0, 1]
        assert second == terminal.summary()
        assert "All 2 rows were updated" in run.err
        assert "bulkredeem run --rate none reports/" in run.err

    async def test_json_and_quiet_go_together(self, terminal: Terminal, write_csv: WriteCsv) -> None:
        """A program that reads the summary can have the rest reduced to the closing sentence, from the environment."""
        run = await terminal.run(
            "run",
            write_csv(good_rows(2)),
            env={"BULKREDEEM_JSON": "1", "BULKREDEEM_QUIET": "1", "BULKREDEEM_RATE": "none"},
        )
        assert [each["state"] for each in run.objects] == ["finished"]
        assert run.err == "All 2 rows were updated. Nothing is left to do.\n"

    async def test_quiet_says_one_sentence(self, terminal: Terminal, write_csv: WriteCsv) -> None:
        """Nothing but the closing sentence, on standard output."""
        run = await terminal.run("run", write_csv(good_rows(2)), "--quiet", "--rate", "none")
        assert (run.out, run.err) == ("All 2 rows were updated. Nothing is left to do.\n", "")

    async def test_a_pipe_gets_plain_lines(self, terminal: Terminal, write_csv: WriteCsv) -> None:
        """Without a terminal there are no escape codes and no folded lines, and the path can be copied whole."""
        path = write_csv([HEADER, *good_rows(3)[1:], ["NOPE", "B", "919900000002"]], "f" * 100 + ".csv")
        run = await terminal.run("run", path, "--reports", "reports/:bug:", "--rate", "none")
        lines = run.out.splitlines()
        assert "\x1b" not in run.out
        assert lines[0] == f"{path}: 4 rows; uses redemptionId, billNumber, identifierValue."
        assert lines[1].startswith("To http://127.0.0.1:")
        assert lines[2].startswith("Reports: reports/:bug:/")
        assert lines[3].startswith("4 rows, 4 requests, ")
        assert [line.split() for line in lines[4:6]] == [["3", "success"], ["1", "refused"]]
        assert lines[6] == "What went wrong most:"
        assert lines[7].split() == ["1", "×", "750,", "row", "5"]  # noqa: RUF001  the sign that is printed
        assert lines[8].strip() == "Redemption update failed : redemption not found"

    @pytest.mark.parametrize("kind", ["ascii", "latin-1"])
    async def test_any_encoding_will_do(self, terminal: Terminal, write_csv: WriteCsv, kind: str) -> None:
        """A stream that lacks a character gets its escape; the run and its exit code do not suffer, nor does JSON."""
        path = write_csv([HEADER, ["NOPE", "B", "919900000002"]], "Müller ☂.csv")
        told = await terminal.run("run", path.name, "--json", "--rate", "none", env={"PYTHONIOENCODING": kind})
        assert told.code == 1
        assert "Traceback" not in told.err
        assert told.objects[0]["input"]["path"] == "Müller ☂.csv"

    async def test_a_reader_that_leaves_does_not_end_the_run(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox
    ) -> None:
        """`bulkredeem run … | head -1` still updates every row, and its exit code still tells of them."""
        reading, writing = os.pipe()
        path = write_csv([*good_rows(30), ["NOPE", "B", "919900000002"]])
        process = await terminal.start("run", path, "--rate", "none", stdout=writing)
        os.close(writing)
        os.close(reading)
        run = await process.ended()
        assert (run.code, run.err) == (1, "")
        assert len(sandbox.applied) == 30

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
    async def test_json_that_cannot_be_written_is_said(self, terminal: Terminal, write_csv: WriteCsv) -> None:
        """When the file behind standard output is on a full disk the run goes on, and the program's reader is told."""
        full = os.open("/dev/full", os.O_WRONLY)
        run = await terminal.run("run", write_csv(good_rows(3)), "--json", "--quiet", "--rate", "none", stdout=full)
        os.close(full)
        assert run.code == 0
        assert run.err.splitlines()[-1] == "The JSON could not be written to standard output: No space left on device."
        assert terminal.summary()["counts"]["success"] == 3

    async def test_a_disk_that_fills_up_is_3(self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox) -> None:
        """When log or journal cannot grow any more the run drains and says so; the reports fit, and no row is lost."""
        path = write_csv(good_rows(1100))
        # At a rate: whatever stands still for a while, hardly a row is under way when the first file is full.
        run = await terminal.run("run", path, "--rate", "500/s", python=("-c", LIMITED))
        assert run.code == 3
        assert "Traceback" not in run.err
        assert re.search(r"Stopped early: .*(journal\.sqlite failed|run\.log could not be written)", run.out)
        summary = terminal.summary()
        assert (summary["state"], summary["exit_code"]) == ("stopped", 3)
        assert sum(summary["counts"].values()) == len(terminal.statuses()) == 1100
        assert 0 < summary["counts"]["success"] == terminal.statuses().count("success") <= len(sandbox.applied)
        assert summary["counts"]["pending"] > 0

    async def test_a_terminal_gets_a_live_line(
        self, unconfigured: Terminal, sandbox: Sandbox, write_csv: WriteCsv
    ) -> None:
        """On 80 columns the bar, the rate, the time left and the counts stand in lines that never fold."""
        sandbox.latency = 0.3
        sandbox.faults = lambda update: Fault.error(status=400, code=750) if update.number % 9 == 0 else None
        path = write_csv(good_rows(1200))
        shown = await shown_on_terminal(unconfigured.configured(sandbox), 80, "run", path.name, "--rate", "none")
        assert "\x1b[?25h" in shown, "the cursor stays hidden"
        lines = [line for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)) if line.strip()]
        bars = [line for line in lines if "━" in line]
        assert len(bars) > 3
        assert all(len(line) <= 80 for line in bars)
        assert all(re.search(r"[━─] +\d+%  [\d,]+ of 1,200 rows$", line) for line in bars)
        assert any(re.match(r"\d[\d,]*/(s|min), about .* left", line) for line in lines), "neither rate nor time left"
        assert any(re.fullmatch(r"[\d,]+ success, [\d,]+ refused *", line) for line in lines)
        sentence = next(index for index, line in enumerate(lines) if "of 1,200 rows were updated" in line)
        assert len(lines[sentence]) <= 80
        assert lines[-1].startswith("bulkredeem run --rate none reports/")


async def shown_on_terminal(terminal: Terminal, columns: int, *words: str) -> str:
    """Run a command on a pseudo-terminal so many columns wide, and return all that it wrote there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    streams: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = await terminal.start(*words, env={"TERM": "xterm-256color"}, **streams)
    os.close(theirs)
    shown = b""
    async with asyncio.timeout(60):
        while chunk := await asyncio.to_thread(read_terminal, ours):
            shown += chunk
    os.close(ours)
    await process.ended()
    return shown.decode()


def read_terminal(descriptor: int) -> bytes:
    """Read what there is; nothing when the other side is closed, which Linux calls an error."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


class TestSignals:
    """Ctrl-C, SIGTERM, and a terminal that goes away."""

    @pytest.mark.parametrize(
        ("number", "name"),
        [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")],
    )
    async def test_the_first_drains(
        self,
        terminal: Terminal,
        write_csv: WriteCsv,
        sandbox: Sandbox,
        turnstile: Turnstile,
        number: signal.Signals,
        name: str,
    ) -> None:
        """Requests under way end and count, none starts, the rest is pending, all reports are written, exit 3."""
        process = await terminal.start("run", write_csv(good_rows(60)), "--max-workers", "4", "--rate", "none")
        await terminal.until(lambda: sandbox.requests == 14)
        process.send(number)
        await process.says(f"{name}: finishing what is under way, starting nothing new.")
        assert process.process.returncode is None
        turnstile.open()
        run = await process.ended()
        assert (run.code, run.err) == (3, "")
        assert sandbox.requests == len(sandbox.applied) == 14
        assert terminal.statuses() == ["success"] * 14 + ["pending"] * 46
        summary = terminal.summary()
        assert (summary["state"], summary["stop_reason"], summary["exit_code"]) == ("stopped", name, 3)
        assert f"Stopped early: {name}. 14 of 60 rows were updated." in run.out

    @pytest.mark.usefixtures("turnstile")
    async def test_a_second_ctrl_c_stops_at_once(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox
    ) -> None:
        """Without waiting for any answer it ends with 130; the summary is written, and what was recorded counts."""
        process = await terminal.start("run", write_csv(good_rows(60)), "--max-workers", "4", "--rate", "none")
        await terminal.until(lambda: sandbox.requests == 14)
        process.send(signal.SIGINT)
        await process.says("Ctrl-C again stops at once.")
        process.send(signal.SIGINT)
        run = await process.ended()
        assert (run.code, run.err) == (130, "")
        assert "Stopped at once." in run.out
        summary = terminal.summary()
        assert (summary["state"], summary["exit_code"]) == ("stopped", 130)
        assert (summary["counts"]["success"], summary["counts"]["pending"]) == (10, 50)
        assert not (terminal.latest / "results.csv").exists()

    async def test_one_while_the_file_is_read_leaves_nothing(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox
    ) -> None:
        """A run that is stopped before its first request says so, sends nothing and leaves no folder, exit 3."""
        os.mkfifo(terminal.folder / "slow.csv")
        process = await terminal.start("run", "slow.csv", write_csv(good_rows(3)))
        line = b"AB12CD,B-1,919900000001\n"
        slow = await asyncio.to_thread(os.open, terminal.folder / "slow.csv", os.O_WRONLY)
        os.write(slow, b"redemptionId,billNumber,identifierValue\n" + line)
        process.send(signal.SIGTERM)
        await process.says("SIGTERM: finishing")
        with suppress(BrokenPipeError):  # if it was told to stop before it had read the first row
            os.write(slow, line)
        os.close(slow)
        run = await process.ended()
        assert (run.code, run.err, sandbox.requests) == (3, "", 0)
        stopped, not_begun = run.out.splitlines()
        assert stopped == "Stopped before anything of slow.csv was sent."
        assert not_begun.endswith("fixes.csv.")
        assert [each.name for each in (terminal.folder / "reports").iterdir()] == ["ledger"]

    async def test_sigterm_twice_goes_on_draining(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, turnstile: Turnstile
    ) -> None:
        """A scheduler that repeats itself does not cut requests off."""
        process = await terminal.start("run", write_csv(good_rows(60)), "--max-workers", "4", "--rate", "none")
        await terminal.until(lambda: sandbox.requests == 14)
        process.send(signal.SIGTERM)
        await process.says("SIGTERM: finishing")
        process.send(signal.SIGTERM)
        turnstile.open()
        run = await process.ended()
        assert run.code == 3
        assert terminal.statuses().count("success") == 14

    async def test_one_ctrl_c_never_cuts_off(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, turnstile: Turnstile
    ) -> None:
        """Who presses it while the run is stopping for a reason of its own still gets whole answers and reports."""
        sandbox.faults = lambda update: Fault.error(status=403, code=4000) if update.number == 11 else None
        words = ["--max-workers", "4", "--rate", "none", "--log-level", "debug"]
        process = await terminal.start("run", write_csv(good_rows(60)), *words)
        await terminal.until(lambda: sandbox.requests == 14)
        turnstile.let_one_go()
        await terminal.until(lambda: '"4000"' in (terminal.latest / "run.log").read_text())
        process.send(signal.SIGINT)
        await process.says("Ctrl-C: finishing")
        turnstile.open()
        run = await process.ended()
        assert run.code == 4
        assert terminal.statuses().count("success") == len(sandbox.applied) == 13
        assert terminal.summary()["requests"] == sandbox.requests == 14

    async def test_an_ignored_hangup_stays_ignored(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox, turnstile: Turnstile
    ) -> None:
        """A run under `nohup` goes on when its terminal goes away."""
        path = write_csv(good_rows(20))
        process = await terminal.start("run", path, "--max-workers", "4", "--rate", "none", python=("-c", UNDER_NOHUP))
        await terminal.until(lambda: sandbox.requests == 14)
        process.send(signal.SIGHUP)
        turnstile.open()
        assert (await process.ended()).code == 0
        assert terminal.statuses() == ["success"] * 20


@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "refused"])
async def test_the_password_is_nowhere(
    terminal: Terminal,
    write_csv: WriteCsv,
    sandbox: Sandbox,
    accepted: bool,  # noqa: FBT001  parametrised
) -> None:
    """No byte of output, reports, log or journal holds it, in no form, whether the platform takes it or not."""
    password = sandbox.password
    sandbox.password = password if accepted else "another"
    path = write_csv([HEADER, ["AB12CD", "B", "919900000001"], ["NOPE", "B", "919900000002"]])
    run = await terminal.run("run", path, "--rate", "none", "--log-level", "debug", "--json")
    assert run.code == (1 if accepted else 4)
    assert len([each for each in terminal.reports.rglob("*") if each.is_file()]) >= 6
    assert terminal.leaks(sandbox.username, password) == []


class TestCheck:
    """`bulkredeem check`."""

    async def test_it_needs_no_configuration(self, unconfigured: Terminal, write_csv: WriteCsv) -> None:
        """A good file is 0, without address or password, and leaves nothing behind."""
        path = write_csv(good_rows(200))
        run = await unconfigured.run("check", path.name)
        assert (run.code, run.err) == (0, "")
        lines = [" ".join(line.split()) for line in run.out.splitlines()]
        assert lines[:3] == [
            "fixes.csv: 200 rows.",
            "column is used as filled distinct looks like",
            "redemptionId redemptionId - -",
        ]
        assert lines[3].startswith("billNumber billNumber 200 200 ")
        assert len([line for line in lines if '"identifierValue":"•••' in line]) == 3
        assert lines[-2:] == [
            "What was applied before is not known without a host and a user name.",
            "All 200 rows could be sent: 200 requests, about 0:02:00 at 100/min.",
        ]
        assert [each.name for each in unconfigured.folder.iterdir()] == ["fixes.csv"]

    async def test_it_finds_problems_of_every_file(self, unconfigured: Terminal, write_csv: WriteCsv) -> None:
        """Rows that cannot be sent are 1, an unusable file 2, and the rest is checked all the same."""
        write_csv([HEADER, ["AB12CD", "B", "919900000001"], ["", "", "919900000001"]], "bad.csv")
        write_csv(good_rows(1), "good.csv")
        bad = await unconfigured.run("check", "bad.csv")
        assert bad.code == 1
        assert "Rows that cannot be sent:" in bad.out
        assert "1 of 2 rows could be sent" in bad.out
        run = await unconfigured.run("check", "gone.csv", "bad.csv", "good.csv", "--json", "--quiet")
        assert run.code == 2
        assert [(each["path"], each["exit_code"]) for each in run.objects] == [("bad.csv", 1), ("good.csv", 0)]
        assert run.objects[0]["problems"][0]["example_rows"] == [3]
        assert run.err.startswith("gone.csv cannot be read")


class TestSandbox:
    """`bulkredeem sandbox`."""

    ASKING = "import os; print(*(os.environ.get('BULKREDEEM_' + each) for each in {names!r}.split()))"

    async def test_a_command_gets_address_and_credentials(self, unconfigured: Terminal) -> None:
        """The environment of the command names the sandbox, in place of a platform that was configured before."""
        asking = self.ASKING.format(names="BASE_URL USERNAME PASSWORD PASSWORD_FILE")
        run = await unconfigured.run(
            *("sandbox", "--", sys.executable, "-c", asking),
            env={"BULKREDEEM_PASSWORD_FILE": "/somewhere", "BULKREDEEM_BASE_URL": "https://crm.example.com"},
        )
        assert (run.code, run.err) == (0, "")
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+ sandbox\.till sandbox None\n", run.out)

    @pytest.mark.parametrize(
        ("command", "code"),
        [
            (["sh", "-c", "exit 0"], 0),
            (["sh", "-c", "exit 42"], 42),
            (["sh", "-c", "kill -9 $$"], 128 + 9),
            (["no-such-command-here"], 2),
        ],
        ids=["0", "42", "killed", "not found"],
    )
    async def test_its_exit_code_is_that_of_the_command(
        self, unconfigured: Terminal, command: list[str], code: int
    ) -> None:
        """A rehearsal in a script fails when what it rehearses fails."""
        run = await unconfigured.run("sandbox", "--", *command)
        assert run.code == code
        assert run.err == ("no-such-command-here cannot be started: No such file or directory.\n" if code == 2 else "")

    async def test_a_run_can_be_rehearsed(self, unconfigured: Terminal, write_csv: WriteCsv) -> None:
        """The README's step 4 works as it stands there, for somebody who has configured a real platform already."""
        secret = unconfigured.folder / "till"
        secret.write_text("of another platform\n")
        config = unconfigured.folder / CONFIG_FILE
        config.write_text('profile = "test"\n[profiles.test]\nbase_url = "https://crm.example.com"\nusername = "t"\n')
        command = [sys.executable, "-m", "bulkredeem", "run", str(write_csv(good_rows(5))), "--rate", "none"]
        run = await unconfigured.run("sandbox", "--", *command, env={"BULKREDEEM_PASSWORD_FILE": str(secret)})
        assert (run.code, run.err) == (0, "")
        assert unconfigured.summary()["counts"]["success"] == 5

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_alone_it_runs_until_a_signal(
        self, unconfigured: Terminal, write_csv: WriteCsv, number: signal.Signals
    ) -> None:
        """It prints lines to paste into another terminal, with which a run there works, and ends with 0."""
        process = await unconfigured.start("sandbox")
        pasted = [await process.line() for _ in range(3)]
        assert all(line.startswith("export BULKREDEEM_") for line in pasted)
        variables = dict(line.removeprefix("export ").strip().split("=", 1) for line in pasted)
        if number is signal.SIGINT:
            assert (await unconfigured.run("run", write_csv(good_rows(2)), env=variables)).code == 0
        process.send(number)
        assert (await process.ended()).code == 0

    async def test_a_port_in_use_is_said(self, unconfigured: Terminal, sandbox: Sandbox) -> None:
        """Who asks for a port that is taken is told so in a sentence."""
        run = await unconfigured.run("sandbox", "--port", str(sandbox.port))
        assert (run.code, run.out) == (2, "")
        assert run.err.startswith(f"the sandbox cannot listen on 127.0.0.1:{sandbox.port}")
        assert len(run.err.splitlines()) == 1

    async def test_its_options_reach_it(self, unconfigured: Terminal, write_csv: WriteCsv) -> None:
        """What is asked for is what the run inside meets: with this seed one update of four is repeated."""
        options = ["--limit", "100/s", "--latency", "0.001", "--fail-ratio", "0.2", "--seed", "9"]
        command = [sys.executable, "-m", "bulkredeem", "run", str(write_csv(good_rows(4))), "--json", "--rate", "none"]
        run = await unconfigured.run("sandbox", *options, "--", *command)
        assert run.code == 0
        assert run.objects[0]["requests"] == 5

    async def test_a_wrong_limit_is_said(self, unconfigured: Terminal) -> None:
        """The option is named together with how to write it."""
        run = await unconfigured.run("sandbox", "--limit", "fast")
        assert (run.code, run.out) == (2, "")
        assert run.err.startswith("--limit: 'fast' is not a rate")


HEAVY = ["aiohttp", "pandas", "numpy", "pydantic_settings", "tenacity", "structlog"]
HELP = """
import sys
sys.argv[1:] = {words!r}
from bulkredeem.cli import main
try:
    main()
except SystemExit:
    pass
"""


@pytest.mark.parametrize(
    "program",
    [
        "import bulkredeem",
        "import bulkredeem.cli",
        *(
            HELP.format(words=words)
            for words in (["--help"], ["run", "--help"], ["check", "-h"], ["sandbox", "--help"], ["--version"])
        ),
        "\n".join(HELP.format(words=[command, "--help"]) for command in COMMANDS),
    ],
    ids=["import", "import cli", "--help", "run --help", "check -h", "sandbox --help", "--version", "all"],
)
async def test_help_and_import_load_nothing_heavy(unconfigured: Terminal, program: str) -> None:
    """A person who asks for help does not wait for pandas, aiohttp or pydantic."""
    asking = f"{program}\nimport sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    run = await unconfigured.run(python=("-c", asking))
    assert (run.code, run.err) == (0, "")
    assert run.out.splitlines()[-1] == "[]"


async def test_it_says_its_version(unconfigured: Terminal) -> None:
    """`--version` names program and version, as a bug report needs it."""
    assert (await unconfigured.run("--version")).out == f"bulkredeem {__version__}\n"


def commands() -> Mapping[str, Any]:
    """Return the commands as typer builds them."""
    group: Any = typer.main.get_command(app)
    found: Mapping[str, Any] = group.commands
    return found


def options_of(command: str) -> list[Any]:
    """Return a command's options, its arguments apart."""
    return [each for each in commands()[command].params if each.param_type_name == "option"]


def default_of(name: str) -> object:
    """Return a setting's default by the name of its option."""
    return Settings.model_fields["json_summary" if name == "json" else name].get_default(call_default_factory=True)


def written(default: object) -> str:
    """Write a default as the documentation does."""
    return f"{default:g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_states_the_defaults_that_hold(command: str) -> None:
    """Help is not loaded from the settings, so what it calls the default is compared with them."""
    for option in options_of(command):
        stated = match[1] if (match := re.search(r"\[default: ([^\],]*).*\]", option.help)) else ""
        held = held_default_of(option)
        if option.default is None:
            assert stated == (shown(held).split(",")[0] if held else ""), option.name


def test_every_setting_has_an_option_or_is_known_not_to() -> None:
    """A setting that is added must be thought of here: `username` and defaults of a file have no flag, on purpose."""
    names = {"json" if name == "json_summary" else name for name in Settings.model_fields}
    assert names - {option.name for option in options_of("run")} == {
        "username",
        "password",
        "password_file",
        "default_entity_type",
        "default_identifier_type",
        "default_country_code",
        "environment",
        "expect_program_id",
        "settled_for",
        "notify_urls",
        "notify_urls_file",
        "ping_url",
        "ping_url_file",
        "attribution_entity_type",
        "attribution_code",
        "client_certificate",
        "client_key",
    }
    of_run = {option.opts[0]: option for option in options_of("run")}
    for command in set(COMMANDS) - {"sandbox", "selftest", "split"}:  # --by of split is called as its users call it
        shared = [each for each in options_of(command) if each.opts[0] in of_run]
        assert all(of_run[each.opts[0]].help == each.help for each in shared), "one option, two meanings"


def section_of(command: str) -> str:
    """Return what the README says of a command, from its heading on."""
    pattern = rf"^### `(bulkredeem {command}\b[^`\n]*`\n.*?)(?=^##)"
    section = re.search(pattern, README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert section, f"there is no section about {command}"
    return section[1]


def table_of(command: str) -> dict[str, str]:
    """Return option → default as the table of a section says."""
    found = re.findall(r"^\| `(--[a-z-]+)[^|]*\| ([^|]*?) ?\|", section_of(command), flags=re.MULTILINE)
    return {name: default.replace("`", "") for name, default in found}


def documented(command: str) -> set[str]:
    """Return the options of a section: those of its table, and those that it says it takes as another one does."""
    found = set(table_of(command))
    prose = "\n".join(line for line in section_of(command).splitlines() if not line.startswith("|"))
    for taken in re.findall(r"[Tt]akes\s([^.]*)", prose):
        for other in re.findall(r"the\soptions\sof\s`([a-z]+)`", taken):
            found |= documented(other)
        found |= set(re.findall(r"`(--[a-z-]+)`", taken))
        found -= set(re.findall(r"`(--[a-z-]+)`\sapart", taken))
    return found


def held_default_of(option: Any) -> object:
    """Return the default that holds when an option is not given."""
    if option.name in {"config", "profile"}:
        return {"config": CONFIG_FILE, "profile": ""}[option.name]
    if option.name in {"status", "code"}:
        return ", ".join(each for each in Status if each in USUAL) if option.name == "status" else ""
    if option.required:
        return ""
    return default_of(option.name) if option.default is None else option.default


def shown(default: object) -> str:
    """Write a default as the README does: a switch is off, and what is empty is left out."""
    return "off" if default is False else "" if default in ("", {}, [], None) else written(default)


def is_there(path: str) -> bool:
    """Say whether a file or folder exists."""
    return Path(path).exists()


class TestTheRate:
    """What a person hears of the rate, and what is remembered of it."""

    async def test_a_run_says_what_the_platform_allowed(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox
    ) -> None:
        """A platform that allows less than the rate slows the run down; its end names the rate to set, once."""
        sandbox.limit = Rate.parse("20/s")
        write_csv(good_rows(60))
        run = await terminal.run("run", "fixes.csv", "--rate", "60/s")
        allowed = terminal.summary()["allowed_rate"]
        assert (run.code, sandbox.throttled > 0) == (0, True)
        assert f'The platform allowed about {allowed}; set rate = "{allowed}".' in run.out
        assert 10 <= Rate.parse(allowed).requests <= 30

    async def test_a_run_that_kept_within_the_limit_says_nothing(self, terminal: Terminal, write_csv: WriteCsv) -> None:
        """There is nothing to be set."""
        write_csv(good_rows(5))
        run = await terminal.run("run", "fixes.csv", "--rate", "50/s")
        assert terminal.summary()["allowed_rate"] is None
        assert "allowed" not in run.out

    async def test_what_was_learnt_holds_for_the_next_run(
        self, terminal: Terminal, write_csv: WriteCsv, sandbox: Sandbox
    ) -> None:
        """Also from another reports folder: the second run begins below the limit, and is hardly throttled."""
        sandbox.limit = Rate.parse("20/s")
        write_csv(good_rows(60))
        await terminal.run("run", "fixes.csv", "--rate", "100/s", "--state-dir", "state")
        before = sandbox.throttled
        await terminal.run("run", "fixes.csv", "--rate", "100/s", "--state-dir", "state", "--reports", "elsewhere")
        assert sandbox.throttled - before < before
        assert [each.name.startswith("pace-") for each in (terminal.folder / "state").iterdir()] == [True]

    async def test_a_pace_that_cannot_be_shared_is_said(self, terminal: Terminal, write_csv: WriteCsv) -> None:
        """The run goes on, and names the reason and the way out."""
        write_csv(good_rows(2))
        (terminal.folder / "state").touch()
        run = await terminal.run("run", "fixes.csv", "--rate", "50/s", "--state-dir", "state")
        assert run.code == 0
        words = " ".join(run.out.split())
        assert "Other runs on this machine with the same user name do not share the rate" in words
        assert "--state-dir" in words

    async def test_a_rehearsal_leaves_no_state_behind(self, terminal: Terminal) -> None:
        """The command beside the sandbox has a state folder of its own, which goes with it."""
        told = await terminal.run(
            "sandbox", "--", sys.executable, "-c", "import os; print(os.environ['BULKREDEEM_STATE_DIR'])"
        )
        assert told.code == 0
        assert not is_there(told.out.strip())


class TestReadme:
    """The README is complete; a test says so, since people forget."""

    def test_it_has_every_command(self) -> None:
        """Each command has its section, whose heading names its arguments, and no section is of anything else."""
        text = README.read_text(encoding="utf-8")
        assert sorted(re.findall(r"^### `bulkredeem ([a-z]+)", text, flags=re.MULTILINE)) == sorted(commands())
        for command, built in commands().items():
            named = [each.metavar.strip("[]") for each in built.params if each.param_type_name == "argument"]
            assert [each for each in named if each not in section_of(command).splitlines()[0]] == [], command

    @pytest.mark.parametrize("command", COMMANDS)
    def test_it_has_every_option_and_no_other(self, command: str) -> None:
        """Each option of each command stands there, in its table or in what it takes over, and none that is not."""
        assert documented(command) == {name for each in options_of(command) for name in each.opts}

    @pytest.mark.parametrize("command", COMMANDS)
    def test_its_defaults_are_those_that_hold(self, command: str) -> None:
        """The column of defaults says what settings and options say."""
        stated = table_of(command)
        options = {option.opts[0]: option for option in options_of(command) if option.opts[0] in stated}
        assert stated == {name: shown(held_default_of(option)) for name, option in options.items()}

    def test_what_is_taken_over_stands_above(self) -> None:
        """An option that a section only names has its default and its meaning in the table of `run`."""
        own = {name for command in COMMANDS for name in table_of(command)}
        named = {name for command in COMMANDS for name in documented(command)}
        assert named == own
        assert named - {name for command in COMMANDS[1:] for name in table_of(command)} == table_of("run").keys()

    def test_it_has_every_setting(self) -> None:
        """Each variable stands there, or its option does together with the rule that makes the variable of it."""
        text = README.read_text(encoding="utf-8")
        assert "`--max-workers` is `BULKREDEEM_MAX_WORKERS`" in text
        flags = {option.name for option in options_of("run")}
        for name in Settings.model_fields:
            if name not in flags and name != "json_summary":
                assert re.search(rf"`({name}|{ENV_PREFIX}{name.upper()})`", text), name

    def test_it_has_every_status_and_exit_code(self) -> None:
        """Each has its row in a table."""
        text = README.read_text(encoding="utf-8")
        assert [each for each in Status if f"\n| `{each}` |" not in text] == []
        assert [each for each in ExitCode if f"\n| {each.value} |" not in text] == []


def test_the_words_of_a_rate_are_understood_by_every_command() -> None:
    """The rates that help and README quote as examples are rates."""
    for text in ("100/min", "20/s", "5000/hour", "none"):
        assert Rate.parse(text).interval >= 0
