"""The client against a platform that is not ours: a server that Prism makes from the contract.

Prism checks each request by the contract, marks what is wrong with it in a header, and answers with the contract's own
examples. So the rows here say what the examples say: a reply that names another bill would rightly be no success.
`Prefer` asks it for another reply than the first one.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from bulkredeem.client import Basic, Client
from bulkredeem.model import Answer, Correction, Reply, Status
from bulkredeem.readback import NO_SUCH_CUSTOMER, Page, Refusal, find, read_page
from bulkredeem.verdict import Verdict, judge
from tests.contract import ASHA, PATH, SECRET, TILL, document

if TYPE_CHECKING:
    from tests.conftest import Terminal

PRISM: Final = "@stoplight/prism-cli@5.16.0"
PATIENCE: Final = 240.0
"""Seconds for npm to fetch it and for node to start; ten are usual, and six when npm has it already."""

pytestmark = [pytest.mark.external, pytest.mark.timeout(300)]


@dataclass(frozen=True, kw_only=True)
class Prism:
    """A server made from the contract."""

    base_url: str
    log: Path
    """What it says of each request."""

    @property
    def violations(self) -> list[str]:
        """What it found wrong with requests so far."""
        return [line for line in self.log.read_text().splitlines() if "did not pass" in line or "Violation" in line]


def unused_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def wait_until_it_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until something listens there; a first time, npm fetches the server before."""
    give_up_at = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < give_up_at:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return
        time.sleep(0.2)
    pytest.fail(f"it does not answer: {log.read_text()}")


@pytest.fixture(scope="module")
def prism(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prism]:
    """Give the server on a free port of this machine; no process outlives it."""
    npx = shutil.which("npx")
    assert npx is not None, "tests/setup installs npm, where there is apt-get"
    folder, port = tmp_path_factory.mktemp("prism"), unused_port()
    log = folder / "prism.log"
    # It lays its packages into npm's own cache, and nothing into this folder. `--errors` lets what is wrong with a
    # request decide the reply; without `--dynamic` replies are the contract's examples.
    words = [npx, "--yes", PRISM, "mock", "--errors", "--host", "127.0.0.1", "--port", str(port), str(PATH)]
    environment = {**os.environ, "NO_UPDATE_NOTIFIER": "1", "npm_config_update_notifier": "false"}
    with log.open("wb") as out:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_until_it_answers(port, process, log)
        yield Prism(base_url=f"http://127.0.0.1:{port}", log=log)
    finally:
        # npx starts node as a child: all that it started is one group.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


class Preferring(Basic):
    """A till that prefers one of the contract's replies."""

    def __init__(self, prefer: str) -> None:
        """Say which, as Prism wants it: `code=400, example=749`."""
        super().__init__(TILL, SECRET)
        self._headers = type(self._headers)({**self._headers, "Prefer": prefer})


async def ask(prism: Prism, prefer: str = "", correction: Correction = ASHA) -> Answer:
    """Send one update."""
    async with Client(prism.base_url, Preferring(prefer), timeout=20.0, max_connections=1) as client:
        return await client.update(correction)


async def ask_back(prism: Prism, prefer: str = "", **query: str) -> Answer:
    """Send one question."""
    async with Client(prism.base_url, Preferring(prefer), timeout=20.0, max_connections=1) as client:
        return await client.read_back(query)


# Runs

HEADER: Final = [
    "redemptionId",
    "externalReferenceNumber",
    "billNumber",
    "billId",
    "purpose",
    "customFields.counter",
    "customFields.shift",
    "customFields.lane",
    "entityType",
    "identifierType",
    "identifierValue",
]
CUSTOMER: Final = ["CUSTOMER", "mobile", "919900000001"]
PURPOSE: Final = "Bill number typed again"
ROWS: Final = [
    ["7Kd2Qx", "", "B-2041", "", "", "", "", "", *CUSTOMER],
    ["7Kd2Qx", "", "", "204177", "", "", "", "", *CUSTOMER],
    ["7Kd2Qx", "", "", "", PURPOSE, "", "", "", *CUSTOMER],
    ["7Kd2Qx", "", "", "", "", "7", "", "", *CUSTOMER],
    ["", "REF-2041", "B-2041", "204177", PURPOSE, "7", "", "", "CUSTOMER", "email", "asha@example.com"],
    ["", "REF-2041", "", "", "", "", "early", "", "FLEET", "externalId", "FLEET-12"],
    ["", "REF-2041", "", "", "", "", "", "2", "USERGROUP2", "externalId", "GROUP-2"],
]
"""Each kind of correction, with the values of the contract's own example."""


@pytest.fixture
def with_prism(unconfigured: Terminal, prism: Prism) -> Terminal:
    """Give a terminal whose environment says where Prism is."""
    return unconfigured.with_variables(
        BULKREDEEM_BASE_URL=prism.base_url, BULKREDEEM_USERNAME=TILL, BULKREDEEM_PASSWORD=SECRET
    )


async def test_every_kind_of_correction_is_accepted(
    with_prism: Terminal, prism: Prism, write_csv: Callable[..., Path]
) -> None:
    """Show a whole run by the command line: each row is a success, and Prism finds nothing wrong with any request."""
    before = len(prism.violations)
    ended = await with_prism.run("run", write_csv([HEADER, *ROWS]), "--rate", "none")
    assert ended.code == 0, ended.out + ended.err
    assert with_prism.statuses() == ["success"] * len(ROWS)
    assert len(prism.violations) == before


async def test_a_reply_about_another_bill_is_no_success(with_prism: Terminal, write_csv: Callable[..., Path]) -> None:
    """Show that the rows above are no successes by themselves."""
    file = write_csv([HEADER, ["7Kd2Qx", "", "B-1", "", "", "", "", "", *CUSTOMER]])
    ended = await with_prism.run("run", file, "--rate", "none")
    assert ended.code == 1
    assert [(row["status"], row["error_code"]) for row in with_prism.results()] == [("in_doubt", "ECHO_MISMATCH")]


async def test_prism_finds_a_bad_request(prism: Prism) -> None:
    """Show that its silence means something."""
    before = len(prism.violations)
    reply = await ask(prism, correction=replace(ASHA, bill_id=-5))
    assert isinstance(reply, Reply)
    assert reply.http_status in {400, 422}
    assert len(prism.violations) > before


# Replies

REPLIES: list[tuple[str, Verdict]] = [
    ("code=200, example=corrected", Verdict(status=Status.SUCCESS)),
    (
        "code=200, example=withWarning",
        Verdict(status=Status.SUCCESS, warnings=("the platform warns: 400 The receipt was not sent",)),
    ),
    ("code=200, example=wrapped", Verdict(status=Status.SUCCESS)),
    ("code=200, example=errorBody", Verdict(status=Status.REFUSED, code="750")),
    ("code=201, example=corrected", Verdict(status=Status.SUCCESS)),
    ("code=201, example=errorBody", Verdict(status=Status.REFUSED, code="750")),
    ("code=400, example=748", Verdict(status=Status.REFUSED, code="748")),
    ("code=400, example=749", Verdict(status=Status.REFUSED, code="749")),
    ("code=400, example=750", Verdict(status=Status.REFUSED, code="750")),
    ("code=400, example=1212", Verdict(status=Status.REFUSED, code="1212")),
    ("code=400, example=1219", Verdict(status=Status.REFUSED, code="1219")),
    ("code=400, example=8015", Verdict(status=Status.REFUSED, code="8015")),
    ("code=400, example=521", Verdict(status=Status.FAILED, code="521", repeat=True)),
    ("code=400, example=517", Verdict(status=Status.FAILED, code="517", repeat=True, throttled=True)),
    ("code=400, example=unreadable", Verdict(status=Status.REFUSED, code="400")),
    ("code=400, example=wrapped", Verdict(status=Status.REFUSED, code="748")),
    ("code=400, example=withoutReason", Verdict(status=Status.REFUSED, code="HTTP_400")),
    ("code=401", Verdict(status=Status.PENDING, code="401", access_refused=True)),
    ("code=403", Verdict(status=Status.PENDING, code="4000", access_refused=True)),
    ("code=415", Verdict(status=Status.REFUSED, code="415")),
    ("code=429", Verdict(status=Status.FAILED, code="429", repeat=True, throttled=True)),
    ("code=503", Verdict(status=Status.FAILED, code="4001", repeat=True)),
    ("code=502", Verdict(status=Status.IN_DOUBT, code="500", repeat=True)),
]
"""What Prism is asked for → what it means; without the platform's words."""


def test_every_documented_reply_is_asked_for() -> None:
    """Show that the list above leaves out no example of a reply to the update."""
    named = {
        f"code={code}, example={name}"
        for code, reply in document()["paths"]["/v2/points/updateRedemption"]["put"]["responses"].items()
        for name in reply.get("content", {}).get("application/json", {}).get("examples", {})
    }
    repeated = {"code=201, example=withWarning", "code=201, example=wrapped"}
    assert named - {prefer for prefer, _ in REPLIES} == repeated


@pytest.mark.parametrize(("prefer", "verdict"), REPLIES, ids=[prefer for prefer, _ in REPLIES])
async def test_a_reply_means_what_the_contract_says(prism: Prism, prefer: str, verdict: Verdict) -> None:
    """Show each reply of the contract, as another's server sends it, and what a row's status comes to."""
    reply = await ask(prism, prefer)
    assert isinstance(reply, Reply)
    assert f"code={reply.http_status}" == prefer.partition(",")[0]
    found = judge(reply, ASHA)
    assert replace(found, message="") == verdict
    assert reply.request_id == "invented-0001" or reply.http_status == 502


async def test_a_throttled_client_hears_how_long(prism: Prism) -> None:
    """Show `Retry-After` as the contract's example has it."""
    reply = await ask(prism, "code=429")
    assert isinstance(reply, Reply)
    assert reply.retry_after == 7.0


# Reading back


async def test_a_redemption_is_read_back(prism: Prism) -> None:
    """Show that the page in the contract's example is read, and the redemption found."""
    reply = await ask_back(prism, mobile="919900000001", points_limit="100")
    assert isinstance(reply, Reply)
    page = read_page(reply.body or {})
    assert isinstance(page, Page)
    current = find(ASHA, page.currents)
    assert current is not None
    assert (current.bill_number, current.bill_id, current.custom_fields) == ("B-2041", 204177, {"counter": "7"})


async def test_an_unknown_customer_is_told(prism: Prism) -> None:
    """Show the older API's no, with the status of a success."""
    reply = await ask_back(prism, "code=200, example=nobody", mobile="919900000002")
    assert isinstance(reply, Reply)
    refusal = read_page(reply.body or {})
    assert isinstance(refusal, Refusal)
    assert refusal.code == NO_SUCH_CUSTOMER


async def test_a_comparison_reads_every_redemption_back(
    with_prism: Terminal, prism: Prism, write_csv: Callable[..., Path]
) -> None:
    """Show a whole command that only asks: Prism finds nothing wrong with a question, and the values are equal."""
    before = len(prism.violations)
    ended = await with_prism.run("compare", write_csv([HEADER, ROWS[0]]), "--rate", "none")
    assert ended.code == 0, ended.out + ended.err
    assert len(prism.violations) == before


# Tokens


async def test_a_run_with_a_token(with_prism: Terminal, prism: Prism, write_csv: Callable[..., Path]) -> None:
    """Show a token fetched for key and secret, updates that bear it, and that Prism finds nothing wrong with either."""
    before, heard = len(prism.violations), prism.log.read_text().count("generate")
    ended = await with_prism.run("run", write_csv([HEADER, *ROWS]), "--rate", "none", "--auth", "oauth")
    assert ended.code == 0, ended.out + ended.err
    assert with_prism.statuses() == ["success"] * len(ROWS)
    assert prism.log.read_text().count("generate") > heard
    assert len(prism.violations) == before
