"""The command `selftest`: the promise, tried on this machine and on the disk of the reports folder."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

from rich.console import Console

from bulkredeem.cli.terminal import make_console, say, say_whole
from bulkredeem.errors import ExitCode, ReportsFolderError
from bulkredeem.selftest import Findings, sweep
from bulkredeem.settings import Settings
from bulkredeem.summary import counted


def try_the_promise(settings: Settings, *, kills: int, seed: int) -> ExitCode:
    """Kill and go on in a folder beside the reports, which is kept only when something was not as promised."""
    console = make_console(on_stderr=False)
    folder = _folder(settings.reports)
    say(console, f"Killing runs and going on with them in {folder}; only the built-in sandbox is contacted.")
    findings = asyncio.run(sweep(folder, kills=kills or None, seed=seed, on_progress=_Progress(console)))
    if not findings.complaints:
        shutil.rmtree(folder, ignore_errors=True)
    return _tell(console, findings, folder)


class _Progress:
    """Says now and then how far it is."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, done: int, of: int) -> None:
        """Say every tenth, and the last."""
        if done % 10 == 0 or done == of:
            say(self._console, f"{done} of {counted(of, 'moment')}")


def _folder(reports: Path) -> Path:
    try:
        reports.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="selftest-", dir=reports))
    except OSError as exc:
        raise ReportsFolderError(f"No folder for the self-test can be made in {reports}: {exc.strerror}.") from exc


def _tell(console: Console, findings: Findings, folder: Path) -> ExitCode:
    for complaint in findings.complaints:
        say(console, complaint, style="red")
    tried = f"{counted(findings.moments, 'moment')} tried, {counted(findings.kills, 'kill')}"
    if findings.complaints:
        say_whole(console, f"Everything of it is in {folder}.")
        say(
            console,
            f"The promise does not hold here: {tried}, {counted(len(findings.complaints), 'complaint')}.",
            style="bold red",
        )
        return ExitCode.NOT_ALL_DONE
    say(console, f"The promise holds here: {tried}; every row had one true verdict.", style="bold")
    return ExitCode.DONE
