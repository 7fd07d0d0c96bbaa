"""The fault matrix: for all that a network and a server can do to a row, what is said of it and what was applied."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import csv
import hashlib
import json
import os
import re
import socket
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self

import pytest
import trustme

from bulkredeem.application import Run, Start, run_file
from bulkredeem.client import Basic, Client, basic_authorization
from bulkredeem.delivery import Delivery, Gate
from bulkredeem.errors import ExitCode
from bulkredeem.model import Answer, Ceiling, Correction, Outcome, Status
from bulkredeem.pace import PAUSE_MOST, Pace
from bulkredeem.sandbox import Fault, FaultHook, Sandbox, Then, UpdateRequest, errors_body, script
from bulkredeem.settings import Settings, load_settings
from tests.hurry import Hurried, hurried

WriteCsv = Callable[..., Path]
Tries = Sequence[str]
"""How the tries of a row ended, one after another: the code that each had, empty for a success."""
PASSWORD = "quiet-Otter-42"
HEADER = ["redemptionId", "billNumber", "identifierValue"]
SICK: Final = "SICK01"
"""The redemption of the row that everything happens to."""
MOST = 3
"""Tries that a row has."""
NOW: Final = 1_790_000_000.0
"""What the clock shows, in seconds since the epoch, where a moment is said: it stands still."""
IMPATIENT = 0.4
"""Seconds that a try may take where an answer never comes."""
PATIENT = 60.0
"""Seconds that a try may take where it always comes."""


@pytest.fixture(autouse=True)
def _surrounding(nothing_configured: Path) -> None:
    """Every run here is configured by its test, and leaves its reports in a folder of its own."""


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Give a sandbox with a password of its own, no faults and no limit."""
    async with Sandbox(password=PASSWORD) as sandbox:
        yield sandbox


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Configure a run against an address; every try is in its log."""

    def settings_for(base_url: str, **flags: Any) -> Settings:
        monkeypatch.setenv("BULKREDEEM_BASE_URL", base_url)
        monkeypatch.setenv("BULKREDEEM_USERNAME", "sandbox.till")
        monkeypatch.setenv("BULKREDEEM_PASSWORD", PASSWORD)
        usual = {"rate": "none", "max_workers": 4, "max_attempts": MOST, "timeout": PATIENT, "log_level": "debug"}
        return load_settings({**usual, **flags})

    return settings_for


@dataclass(kw_only=True)
class Watcher:
    """An observer that remembers what is told of the platform."""

    pauses: list[float] = field(default_factory=list)
    outages: list[bool] = field(default_factory=list)

    def started(self, start: Start) -> None:
        """Not of interest."""

    def recorded(self, outcome: Outcome) -> None:
        """Not of interest."""

    def paused(self, seconds: float) -> None:
        """Remember for how long."""
        self.pauses.append(seconds)

    def remark(self, sentence: str) -> None:
        """Pass over a remark."""

    def outage(self, begins: bool) -> None:  # noqa: FBT001  the protocol's
        """Remember that it began, or ended."""
        self.outages.append(begins)

    def delivered(self) -> None:
        """Not of interest."""


def among_healthy_ones() -> list[list[str]]:
    """Return a file of nine rows, of whom the fifth is the sick one."""
    healthy = [[f"WELL{number:02}", f"B-{number}", f"9199000000{number:02}"] for number in range(8)]
    return [HEADER, *healthy[:4], *alone()[1:], *healthy[4:]]


def alone() -> list[list[str]]:
    """Return a file of the sick row only."""
    return [HEADER, [SICK, "B-1", "919911111111"]]


def lines_of(run: Run) -> dict[str, dict[str, str]]:
    """Return redemption → line of `results.csv`."""
    with (run.folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return {line["redemptionId"]: line for line in csv.DictReader(file)}


def tries_of(run: Run) -> Tries:
    """Return how the tries of the sick row ended, as the log tells it."""
    row_number = int(lines_of(run)[SICK]["row_number"])
    told = map(json.loads, (run.folder / "run.log").read_text().splitlines())
    return [each["error_code"] for each in told if each["event"] == "attempt" and each["row_number"] == row_number]


def applied_to(sandbox: Sandbox, identifier: str = SICK) -> int:
    """Return how often the sandbox applied an update of a redemption."""
    return sum(1 for each in sandbox.applied if each.identifier == identifier)


def needs_patience(faults: Sequence[Fault | None]) -> bool:
    """Say whether every try is answered, however it is."""
    return all(fault is None or (fault.then is not Then.HANG and not fault.chunk_delay) for fault in faults)


# One sick row among healthy ones


HTML = {"Content-Type": "text/html"}
RESET = Fault(then=Then.RESET)
APPLIED_RESET = Fault(apply=True, then=Then.RESET)
HANG = Fault(then=Then.HANG)
APPLIED_HANG = Fault(apply=True, then=Then.HANG)
HALF_A_REPLY = Fault(apply=True, then=Then.HANG, body=b'{"id":')
SLOW_DRIP = Fault(apply=True, chunk_delay=IMPATIENT / 3)
DRIP = Fault(apply=True, chunk_delay=0.001)
THROTTLED = Fault(status=429, headers={"Retry-After": "0"})
BAD_GATEWAY = Fault(status=502, headers=HTML, body=b"<html><h1>502 Bad Gateway</h1></html>")
APPLIED_BAD_GATEWAY = Fault(apply=True, status=502, headers=HTML, body=b"<html><h1>502 Bad Gateway</h1></html>")
BROKEN = Fault.error(status=500, code=500)
TRUNCATED = Fault(apply=True, body=b'{"id":396023,"programId":1098,"pointsRe')
CUT_OFF = Fault(apply=True, then=Then.RESET, body=b'{"id":396023,"programId":1098,"pointsRe')
EMPTY = Fault(apply=True, body=b"")
EMPTY_UNAPPLIED = Fault(body=b"")
PAGE = Fault(headers=HTML, body=b"<html><h1>It works</h1></html>")
OK_BUT_REFUSED = Fault.error(status=200, code=750)
OK_BUT_UNHEARD_OF = Fault.error(status=200, code=9999)
OK_BUT_BUSY = Fault.error(status=200, code=521)
OK_BUT_BROKEN = Fault.error(status=200, code=500, apply=True)
CREATED = Fault(apply=True, status=201)
OTHER_BILL = Fault(apply=True, echo={"billNumber": "B-999"})
OTHER_REDEMPTION = Fault(apply=True, echo={"redemptionId": "OTHER1"})
HUGE = Fault(apply=True, body=b'{"notes":"' + b"x" * 40_000_000 + b'"}')
MOVED = Fault(status=307, headers={"Location": "http://127.0.0.1:9/"})
REFUSED = Fault.error(status=400, code=750)
BUSY = Fault.error(status=400, code=521)
NOBODY_TO_ASK = Fault.error(status=503, code=4001)
OVERLOADED = Fault(apply=True, status=503, headers={"Retry-After": "0"})

SUCCESS, FAILED, DOUBT, NO = Status.SUCCESS, Status.FAILED, Status.IN_DOUBT, Status.REFUSED
LOST, TIMEOUT, UNREADABLE = "CONNECTION_LOST", "TIMEOUT", "UNREADABLE_REPLY"

Story = tuple[str, Sequence[Fault | None], Tries, Status, str, int]
"""Name, what the tries meet, how each ended, status and code of the row, how often it was applied."""

SIMPLE: list[Story] = [
    ("reset before applying", [RESET] * 3, [LOST] * 3, DOUBT, LOST, 0),
    ("reset after applying", [APPLIED_RESET] * 3, [LOST] * 3, DOUBT, LOST, 3),
    ("reset before applying, once", [RESET], [LOST, ""], SUCCESS, "", 1),
    ("reset after applying, once", [APPLIED_RESET], [LOST, ""], SUCCESS, "", 2),
    ("hang before applying", [HANG] * 3, [TIMEOUT] * 3, DOUBT, TIMEOUT, 0),
    ("hang after applying", [APPLIED_HANG] * 3, [TIMEOUT] * 3, DOUBT, TIMEOUT, 3),
    ("hang after applying, once", [APPLIED_HANG], [TIMEOUT, ""], SUCCESS, "", 2),
    ("half a reply, then a hang", [HALF_A_REPLY], [TIMEOUT, ""], SUCCESS, "", 2),
    ("drip that takes too long", [SLOW_DRIP] * 2 + [BUSY], [TIMEOUT] * 2 + ["521"], DOUBT, TIMEOUT, 2),
    ("drip that ends in time", [DRIP], [""], SUCCESS, "", 1),
    ("502 in HTML before applying", [BAD_GATEWAY] * 3, ["HTTP_502"] * 3, DOUBT, "HTTP_502", 0),
    ("502 in HTML after applying", [APPLIED_BAD_GATEWAY] * 3, ["HTTP_502"] * 3, DOUBT, "HTTP_502", 3),
    ("502 in HTML, once", [BAD_GATEWAY], ["HTTP_502", ""], SUCCESS, "", 1),
    ("500 with a code", [BROKEN] * 3, ["500"] * 3, DOUBT, "500", 0),
    ("503 with code 4001", [NOBODY_TO_ASK] * 3, ["4001"] * 3, FAILED, "4001", 0),
    ("503 that asks to wait", [OVERLOADED] * 5, [*["HTTP_503"] * 5, ""], SUCCESS, "", 6),
    ("truncated JSON", [TRUNCATED] * 3, [UNREADABLE] * 3, DOUBT, UNREADABLE, 3),
    ("truncated JSON, once", [TRUNCATED], [UNREADABLE, ""], SUCCESS, "", 2),
    ("reset in the middle of the reply", [CUT_OFF] * 3, [UNREADABLE] * 3, DOUBT, UNREADABLE, 3),
    ("empty 200", [EMPTY] * 3, [UNREADABLE] * 3, DOUBT, UNREADABLE, 3),
    ("empty 200 without applying", [EMPTY_UNAPPLIED] * 3, [UNREADABLE] * 3, DOUBT, UNREADABLE, 0),
    ("200 with a page of HTML", [PAGE] * 3, [UNREADABLE] * 3, DOUBT, UNREADABLE, 0),
    ("200 with errors", [OK_BUT_REFUSED], ["750"], NO, "750", 0),
    ("200 with an unheard-of error", [OK_BUT_UNHEARD_OF], ["9999"], NO, "9999", 0),
    ("200 with errors that may pass", [OK_BUT_BUSY] * 3, ["521"] * 3, FAILED, "521", 0),
    ("200 with a server's own error", [OK_BUT_BROKEN] * 3, ["500"] * 3, DOUBT, "500", 3),
    ("201", [CREATED], [""], SUCCESS, "", 1),
    ("echo of another bill", [OTHER_BILL], ["ECHO_MISMATCH"], DOUBT, "ECHO_MISMATCH", 1),
    ("echo of another redemption", [OTHER_REDEMPTION], ["ECHO_MISMATCH"], DOUBT, "ECHO_MISMATCH", 1),
    ("40 MB", [HUGE] * 3, [UNREADABLE] * 3, DOUBT, UNREADABLE, 3),
    ("redirect", [MOVED], ["UNEXPECTED_REDIRECT"], NO, "UNEXPECTED_REDIRECT", 0),
    ("refusal", [REFUSED], ["750"], NO, "750", 0),
    ("busy customer", [BUSY] * 3, ["521"] * 3, FAILED, "521", 0),
]
"""Each fault for itself: for every try, and where it matters, for the first one only."""

FIVE = [THROTTLED] * 5
MIXED: list[Story] = [
    ("timeout, refusal", [HANG, REFUSED], [TIMEOUT, "750"], NO, "750", 0),
    ("timeout after applying, refusal", [APPLIED_HANG, REFUSED], [TIMEOUT, "750"], NO, "750", 1),
    ("timeout, 200 with errors", [HANG, OK_BUT_REFUSED], [TIMEOUT, "750"], NO, "750", 0),
    ("timeout, 429s, success", [HANG, *FIVE], [TIMEOUT, *["HTTP_429"] * 5, ""], SUCCESS, "", 1),
    ("timeout, 429s, refusal", [HANG, *FIVE, REFUSED], [TIMEOUT, *["HTTP_429"] * 5, "750"], NO, "750", 0),
    (
        "timeout, 429s, attempts used up",
        [APPLIED_HANG, *FIVE, BUSY, THROTTLED, BUSY],
        [TIMEOUT, *["HTTP_429"] * 5, "521", "HTTP_429", "521"],
        DOUBT,
        TIMEOUT,
        1,
    ),
    ("reset after applying, refusal", [APPLIED_RESET, REFUSED], [LOST, "750"], NO, "750", 1),
    ("reset after applying, busy", [APPLIED_RESET, BUSY, BUSY], [LOST, "521", "521"], DOUBT, LOST, 1),
    ("busy, reset, busy", [BUSY, RESET, BUSY], ["521", LOST, "521"], DOUBT, LOST, 0),
    ("reset, nobody to ask", [RESET, *[NOBODY_TO_ASK] * 2], [LOST, "4001", "4001"], DOUBT, LOST, 0),
    ("502, busy, success", [BAD_GATEWAY, BUSY], ["HTTP_502", "521", ""], SUCCESS, "", 1),
    ("timeout, reset, 502", [HANG, RESET, BAD_GATEWAY], [TIMEOUT, LOST, "HTTP_502"], DOUBT, "HTTP_502", 0),
    ("empty 200, redirect", [EMPTY, MOVED], [UNREADABLE, "UNEXPECTED_REDIRECT"], NO, "UNEXPECTED_REDIRECT", 1),
    ("reset, contradicting echo", [APPLIED_RESET, OTHER_BILL], [LOST, "ECHO_MISMATCH"], DOUBT, "ECHO_MISMATCH", 2),
    ("busy, busy, success", [BUSY, BUSY], ["521", "521", ""], SUCCESS, "", 1),
    ("reset, truncated, success", [RESET, TRUNCATED], [LOST, UNREADABLE, ""], SUCCESS, "", 2),
]
"""One fault after another."""


@pytest.mark.parametrize(
    ("faults", "tries", "status", "code", "applied"),
    [pytest.param(*story[1:], id=story[0]) for story in SIMPLE + MIXED],
)
async def test_a_row_among_healthy_ones(
    faults: Sequence[Fault | None],
    tries: Tries,
    status: Status,
    code: str,
    applied: int,
    write_csv: WriteCsv,
    configure: Callable[..., Settings],
    sandbox: Sandbox,
) -> None:
    """Show status, code, every try and what was applied for one sick row of nine; the others are none the worse."""
    sandbox.faults = script({SICK: faults})
    settings = configure(sandbox.base_url, timeout=PATIENT if needs_patience(faults) else IMPATIENT)
    watcher = Watcher()
    run = await run_file(write_csv(among_healthy_ones()), settings, hurried(watcher))

    sick = lines_of(run).pop(SICK)
    assert (sick["status"], sick["error_code"], sick["attempts"]) == (status, code, str(len(tries)))
    assert tries_of(run) == tries
    assert applied_to(sandbox) == applied
    expected = Counter({Status.SUCCESS: 8}) + Counter({status: 1})
    assert {each: count for each, count in run.summary.counts.items() if count} == expected
    assert run.exit_code is (ExitCode.DONE if status is SUCCESS else ExitCode.NOT_ALL_DONE)
    assert all(applied_to(sandbox, identifier) for identifier in lines_of(run) if identifier != SICK)
    assert sandbox.requests == 8 + len(tries)
    assert (sandbox.overlaps, watcher.outages) == (0, [])


def throttling(retry_after: str | None, times: int) -> FaultHook:
    """Return a hook that throttles the sick row so often, and says when to come back as it is told."""

    def fault_of(update: UpdateRequest) -> Fault | None:
        if update.identifier != SICK or update.attempt > times:
            return None
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        return Fault(status=429, headers=headers, body=errors_body(429, "no"))

    return fault_of


@pytest.mark.parametrize(
    ("retry_after", "pauses"),
    [
        pytest.param("5", [5, 5, 5, 5], id="seconds"),
        pytest.param(formatdate(NOW + 9, usegmt=True), [9, 9, 9, 9], id="date"),
    ],
)
async def test_a_throttled_row_waits_as_it_is_told(
    retry_after: str | None,
    pauses: list[float],
    write_csv: WriteCsv,
    configure: Callable[..., Settings],
    sandbox: Sandbox,
) -> None:
    """429 costs a row none of its tries; everybody waits as long as it says."""
    times = len(pauses)
    sandbox.faults = throttling(retry_after, times)
    watcher = Watcher()
    terms = hurried(watcher, wall_clock=lambda: NOW)
    run = await run_file(write_csv(among_healthy_ones()), configure(sandbox.base_url, max_attempts=1), terms)

    assert run.exit_code is ExitCode.DONE
    assert tries_of(run) == [*["429"] * times, ""]
    assert watcher.pauses == pytest.approx(pauses)
    assert (sandbox.requests, applied_to(sandbox)) == (9 + times, 1)


@pytest.mark.parametrize(
    "retry_after",
    [
        pytest.param(None, id="without"),
        pytest.param("0", id="zero seconds"),
        pytest.param(formatdate(NOW - 9, usegmt=True), id="past date"),
        pytest.param("soon", id="nonsense"),
    ],
)
async def test_a_throttled_row_that_is_told_nothing_waits_longer_each_time(
    retry_after: str | None,
    write_csv: WriteCsv,
    configure: Callable[..., Settings],
    sandbox: Sandbox,
) -> None:
    """As long as nobody else is answered, the pause doubles: nobody hammers the platform, and no try is lost by it."""
    sandbox.faults = throttling(retry_after, 12)
    watcher = Watcher()
    terms = hurried(watcher, wall_clock=lambda: NOW)
    run = await run_file(write_csv(among_healthy_ones()), configure(sandbox.base_url, max_attempts=1), terms)

    assert run.exit_code is ExitCode.DONE
    assert tries_of(run) == [*["429"] * 12, ""]
    # The healthy rows are answered in between, but only at the beginning; in the end a minute is the most.
    growing = [seconds for seconds in watcher.pauses if seconds < 0.9 * PAUSE_MOST]
    assert [later / earlier for earlier, later in pairwise(growing)][-3:] == pytest.approx([2, 2, 2])
    assert 10 < watcher.pauses[-1] <= PAUSE_MOST
    assert (sandbox.requests, applied_to(sandbox)) == (9 + 12, 1)


async def test_a_redirect_leads_nobody_elsewhere(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox
) -> None:
    """What the platform redirects is not sent to the other address, which would get the credentials with it."""
    async with Sandbox(password=PASSWORD) as elsewhere:
        moved = Fault(status=308, headers={"Location": f"{elsewhere.base_url}/v2/points/updateRedemption"})
        sandbox.faults = script({SICK: [moved]})
        run = await run_file(write_csv(among_healthy_ones()), configure(sandbox.base_url), hurried(Watcher()))
    line = lines_of(run)[SICK]
    assert (line["status"], line["error_code"], line["attempts"]) == ("refused", "UNEXPECTED_REDIRECT", "1")
    assert (elsewhere.requests, elsewhere.applied) == (0, [])


# The row alone: nobody else tells whether it is the platform


@pytest.mark.parametrize(
    ("faults", "tries", "status", "code", "applied"),
    [
        pytest.param([BUSY] * 3, ["521"] * 3, FAILED, "521", 0, id="busy"),
        pytest.param([EMPTY] * 3, [UNREADABLE] * 3, DOUBT, UNREADABLE, 3, id="empty 200"),
        pytest.param([RESET, BUSY, BUSY], [LOST, "521", "521"], DOUBT, LOST, 0, id="reset, busy"),
        pytest.param([APPLIED_RESET, REFUSED], [LOST, "750"], NO, "750", 1, id="reset after applying, refusal"),
        pytest.param([*FIVE, REFUSED], [*["HTTP_429"] * 5, "750"], NO, "750", 0, id="429s, refusal"),
        pytest.param([RESET] * 6, [*[LOST] * 6, ""], SUCCESS, "", 1, id="six resets"),
        pytest.param([RESET] * 6 + [REFUSED], [*[LOST] * 6, "750"], NO, "750", 0, id="six resets, refusal"),
    ],
)
async def test_a_row_alone(
    faults: Sequence[Fault | None],
    tries: Tries,
    status: Status,
    code: str,
    applied: int,
    write_csv: WriteCsv,
    configure: Callable[..., Settings],
    sandbox: Sandbox,
) -> None:
    """A row that the platform answers ends after its tries; one that nobody answers is not blamed, and goes on."""
    sandbox.faults = script({SICK: faults})
    run = await run_file(write_csv(alone()), configure(sandbox.base_url), hurried(Watcher()))
    line = lines_of(run)[SICK]
    assert (line["status"], line["error_code"], line["attempts"]) == (status, code, str(len(tries)))
    assert tries_of(run) == tries
    assert (applied_to(sandbox), sandbox.requests) == (applied, len(tries))


@pytest.mark.parametrize("applied", [False, True], ids=["before applying", "after applying"])
async def test_a_row_alone_survives_an_outage(
    write_csv: WriteCsv, configure: Callable[..., Settings], sandbox: Sandbox, *, applied: bool
) -> None:
    """Twelve tries in vain are an outage when no other row remains: told, excused and over with the thirteenth."""
    sandbox.faults = script({SICK: [APPLIED_RESET if applied else RESET] * 12})
    watcher = Watcher()
    run = await run_file(write_csv(alone()), configure(sandbox.base_url), hurried(watcher))
    assert run.exit_code is ExitCode.DONE
    assert tries_of(run) == [*[LOST] * 12, ""]
    assert watcher.outages == [True, False]
    assert applied_to(sandbox) == (13 if applied else 1)


@pytest.mark.parametrize(
    ("first", "ever_after", "code", "reason", "applied"),
    [
        pytest.param(THROTTLED, THROTTLED, "", "throttled every request", 0, id="429s"),
        pytest.param(APPLIED_HANG, THROTTLED, "SENT_BEFORE", "throttled every request", 1, id="timeout, 429s"),
        pytest.param(APPLIED_RESET, BAD_GATEWAY, "SENT_BEFORE", "not answered", 1, id="reset after applying, 502s"),
        pytest.param(NOBODY_TO_ASK, NOBODY_TO_ASK, "", "not answered", 0, id="nobody to ask"),
    ],
)
async def test_a_row_alone_until_patience_ends(
    first: Fault,
    ever_after: Fault,
    code: str,
    reason: str,
    applied: int,
    write_csv: WriteCsv,
    configure: Callable[..., Settings],
    sandbox: Sandbox,
) -> None:
    """Without one answer in `--outage-timeout` the run ends, the row pending; it says so if it may be applied."""
    sandbox.faults = lambda update: first if update.attempt == 1 else ever_after
    settings = configure(sandbox.base_url, timeout=IMPATIENT, outage_timeout="0.3s")
    run = await run_file(write_csv(alone()), settings, hurried(Watcher()))
    line = lines_of(run)[SICK]
    assert run.exit_code is ExitCode.STOPPED_EARLY
    assert (line["status"], line["error_code"]) == ("pending", code)
    assert run.summary.ending is not None
    assert reason in run.summary.ending.stop_reason
    assert applied_to(sandbox) == applied
    assert len(tries_of(run)) == sandbox.requests == run.summary.ending.requests > MOST


# No connection


NO_NAME = "https://" + ".".join(["a" * 60] * 6)
"""365 characters: no name server is ever asked for more than 255."""


def unused_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


SHUT: Final = "shut"
"""A try that finds nobody listening."""


@dataclass(kw_only=True)
class Door:
    """Sends one row to a sandbox that is open, or shut, as each try finds it."""

    sandbox: Sandbox
    plan: Sequence[Fault | str | None]
    gate: Gate
    codes: list[str] = field(default_factory=list)
    """Of the tries that ended without a reply."""

    async def deliver(self, correction: Correction) -> Outcome:
        """Send the row until it is settled."""
        faults = [each if isinstance(each, Fault) else None for each in self.plan if each != SHUT]
        self.sandbox.faults = script({correction.redemption_id: faults})
        await self.sandbox.stop()
        pace = Pace(Ceiling.parse("none"))
        delivery = Delivery(self._attempt, pace, self.gate, max_attempts=MOST, sleep=Hurried().sleep)
        try:
            return await delivery.deliver(correction)
        finally:
            await self.sandbox.stop()

    async def _attempt(self, correction: Correction) -> Answer:
        await self.sandbox.stop()
        if self.plan[len(self.codes)] != SHUT:
            await self.sandbox.start()
        till = Basic(self.sandbox.username, self.sandbox.password)
        timeout = 2 * IMPATIENT if self.plan[len(self.codes)] in (HANG, APPLIED_HANG) else PATIENT
        async with Client(self.sandbox.base_url, till, timeout=timeout, max_connections=1) as client:
            answer = await client.update(correction)
        self.codes.append(getattr(answer, "code", "answered"))
        return answer


NOT_MADE = "CONNECTION_FAILED"


@pytest.mark.parametrize(
    ("plan", "codes", "status", "code", "applied"),
    [
        pytest.param([SHUT] * 3, [NOT_MADE] * 3, FAILED, NOT_MADE, 0, id="refused"),
        pytest.param([SHUT, None], [NOT_MADE, "answered"], SUCCESS, "", 1, id="refused, success"),
        pytest.param([SHUT, SHUT, REFUSED], [NOT_MADE] * 2 + ["answered"], NO, "750", 0, id="refused, refusal"),
        pytest.param([SHUT, BUSY, SHUT], [NOT_MADE, "answered", NOT_MADE], FAILED, NOT_MADE, 0, id="refused, busy"),
        pytest.param(
            [APPLIED_HANG, SHUT, SHUT], [TIMEOUT, NOT_MADE, NOT_MADE], DOUBT, TIMEOUT, 1, id="timeout, refused"
        ),
        pytest.param([RESET, SHUT, SHUT], [LOST, NOT_MADE, NOT_MADE], DOUBT, LOST, 0, id="reset, refused"),
        pytest.param([SHUT, APPLIED_RESET, SHUT], [NOT_MADE, LOST, NOT_MADE], DOUBT, LOST, 1, id="reset in the middle"),
        pytest.param([APPLIED_RESET, SHUT, None], [LOST, NOT_MADE, "answered"], SUCCESS, "", 2, id="reset, success"),
    ],
)
async def test_a_door_that_is_shut(
    plan: Sequence[Fault | str | None],
    codes: Sequence[str],
    status: Status,
    code: str,
    applied: int,
    sandbox: Sandbox,
    correction: Callable[..., Correction],
    open_gate: Gate,
) -> None:
    """Where no connection was made nothing was applied; that takes no doubt away that another try has left."""
    door = Door(sandbox=sandbox, plan=plan, gate=open_gate)
    outcome = await door.deliver(correction(redemption_id=SICK))
    assert (outcome.status, outcome.error_code, outcome.attempts) == (status, code, len(plan))
    assert door.codes == codes
    assert (applied_to(sandbox), sandbox.requests) == (applied, sum(1 for each in plan if each != SHUT))


async def test_a_name_that_is_not_resolved(correction: Callable[..., Correction], open_gate: Gate) -> None:
    """A row whose host has no address surely was not sent."""
    async with Client(NO_NAME, Basic("nobody", "none"), timeout=PATIENT, max_connections=1) as client:
        pace = Pace(Ceiling.parse("none"))
        delivery = Delivery(client.update, pace, open_gate, max_attempts=MOST, sleep=Hurried().sleep)
        outcome = await delivery.deliver(correction())
    assert (outcome.status, outcome.error_code, outcome.attempts) == (FAILED, "NAME_NOT_RESOLVED", MOST)


@pytest.mark.parametrize(
    ("base_url", "code"),
    [
        pytest.param(lambda: NO_NAME, "NAME_NOT_RESOLVED", id="no name"),
        pytest.param(lambda: f"http://127.0.0.1:{unused_port()}", NOT_MADE, id="nobody listens"),
    ],
)
async def test_a_platform_that_is_nowhere(
    base_url: Callable[[], str], code: str, write_csv: WriteCsv, configure: Callable[..., Settings]
) -> None:
    """When nothing can be connected from the start, no row is blamed: all are pending, none of them in doubt."""
    watcher = Watcher()
    settings = configure(base_url(), outage_timeout="0.4s")
    run = await run_file(write_csv(among_healthy_ones()), settings, hurried(watcher))
    assert run.exit_code is ExitCode.STOPPED_EARLY
    assert {(line["status"], line["error_code"]) for line in lines_of(run).values()} == {("pending", "")}
    assert run.summary.ending is not None
    # Looking a name up may take its time.
    assert re.search(rf"has not answered for \d+ s \({code}\)", run.summary.ending.stop_reason)
    assert run.summary.ending.requests >= 10
    assert watcher.outages == [True]


# TLS


@dataclass(kw_only=True)
class Wire:
    """A server that keeps every byte it can read, behind TLS or without, and answers each request with success."""

    tls: ssl.SSLContext | None
    on_request: Callable[[], None] = lambda: None
    heard: bytearray = field(default_factory=bytearray)
    connections: int = 0
    """That could be read from: with TLS, those whose handshake was ended by both."""
    port: int = 0

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listen no longer."""
        self._server.close()
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while chunk := await reader.read(65_536):
                self.heard += chunk
                if b"redemptionId" in chunk:
                    self.on_request()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
                    break
                if self.tls is None:
                    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                    break
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


async def run_command(file: Path, base_url: str, trusted: trustme.CA, *flags: str) -> Mapping[str, Any]:
    """Run the real command in a process that trusts one authority, and return its summary and how it ended."""
    authority = file.with_name("authority.pem")
    trusted.cert_pem.write_to_path(str(authority))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bulkredeem", "run", str(file), "--json", "--rate", "none", *flags),
        env={
            **os.environ,
            "SSL_CERT_FILE": str(authority),
            "BULKREDEEM_BASE_URL": base_url,
            "BULKREDEEM_USERNAME": "sandbox.till",
            "BULKREDEEM_PASSWORD": PASSWORD,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert b"Traceback" not in err
    summary: dict[str, Any] = json.loads(out)
    return {**summary, "code": process.returncode, "said": err.decode()}


def expired(authority: trustme.CA) -> trustme.LeafCert:
    """Return a certificate that was good until yesterday."""
    return authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) - timedelta(days=1))


CERTIFICATES: dict[str, Callable[[trustme.CA], trustme.LeafCert | None]] = {
    "wrong host": lambda authority: authority.issue_cert("eu.api.example.com"),
    "unknown authority": lambda _: trustme.CA().issue_cert("127.0.0.1"),
    "expired": expired,
    "no TLS at all": lambda _: None,
}


@pytest.mark.parametrize("kind", CERTIFICATES)
async def test_tls_that_fails_at_the_start(kind: str, write_csv: WriteCsv) -> None:
    """The real command ends with 2 after one try, all rows pending, and no byte of the credentials has left."""
    authority = trustme.CA()
    certificate = CERTIFICATES[kind](authority)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
    if certificate and tls:
        certificate.configure_cert(tls)
    async with Wire(tls=tls) as wire:
        ended = await run_command(write_csv(among_healthy_ones()), f"https://127.0.0.1:{wire.port}", authority)

    assert (ended["code"], ended["exit_code"], ended["state"]) == (2, 2, "stopped")
    assert (ended["counts"]["pending"], ended["requests"]) == (9, 1)
    assert "check the base URL, the certificates of this machine and its clock" in ended["stop_reason"]
    assert wire.connections == (0 if tls else 1), "a handshake was ended that must not be"
    token = basic_authorization("sandbox.till", PASSWORD).removeprefix("Basic ")
    digest = hashlib.md5(PASSWORD.encode(), usedforsecurity=False).hexdigest()
    for secret in ("sandbox.till", PASSWORD, digest, token, base64.b64decode(token).decode(), SICK, "Authorization"):
        assert secret.encode() not in wire.heard


async def test_tls_that_fails_later_is_an_outage(write_csv: WriteCsv) -> None:
    """A certificate that was good for the first row and expires behind it ends no row: the run waits, and ends with 3.

    That the first row succeeds shows that it is the certificate that fails in the tests above, and nothing else.
    """
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    rows = [HEADER, *([f"WELL{number:02}", f"B-{number}", f"9199000000{number:02}"] for number in range(16))]
    async with Wire(tls=tls, on_request=lambda: expired(authority).configure_cert(tls)) as wire:
        url = f"https://127.0.0.1:{wire.port}"
        ended = await run_command(write_csv(rows), url, authority, "--outage-timeout", "1s")

    assert (ended["code"], ended["exit_code"], ended["state"]) == (3, 3, "stopped")
    assert (ended["counts"]["success"], ended["counts"]["pending"]) == (1, 15)
    assert "TLS_FAILED" in ended["stop_reason"]
    assert wire.connections == 1
