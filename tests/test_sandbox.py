"""The sandbox, over real sockets: it answers as the documents say, misbehaves to order, and keeps true books."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from bulkredeem.errors import ConfigurationError
from bulkredeem.model import Rate
from bulkredeem.sandbox import Fault, Sandbox, Then, UpdateRequest, errors_body, script
from bulkredeem.sandbox.replies import Reply
from bulkredeem.sandbox.window import Window

AUTHORIZATION = "Basic c2FuZGJveC50aWxsOjkzYmM2M2UwYjRmNDhmYmJmZjU2OGQ5ZmMwZGMzZGVm"
"""`sandbox.till` with the MD5 of `sandbox`, worked out by hand (`printf sandbox | md5sum`)."""
ASHA = {"type": "CUSTOMER", "identifierType": "mobile", "identifierValue": "919900000001"}
BELA = {"type": "CUSTOMER", "identifierType": "mobile", "identifierValue": "919900000002"}
RESET = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a client got."""

    status: int
    raw: bytes
    headers: Mapping[str, str]

    @property
    def body(self) -> Any:
        """The JSON of the reply."""
        return json.loads(self.raw)

    @property
    def code(self) -> int:
        """The code of the first error."""
        return int(self.body["errors"][0]["code"])


@dataclass(kw_only=True)
class Till:
    """A client with the sandbox's credentials."""

    session: aiohttp.ClientSession

    async def put(self, sandbox: Sandbox, body: object = None, **changes: Any) -> Heard:
        """Send a good update with `changes` (None takes a field out), or exactly `body`."""
        wanted: dict[str, Any] = {"redemptionId": "8878ru", "billNumber": "B-1", "entity": ASHA, **changes}
        sent = {name: value for name, value in wanted.items() if value is not None} if body is None else body
        return await self.send("PUT", f"{sandbox.base_url}/v2/points/updateRedemption", json=sent)

    async def read_back(self, sandbox: Sandbox, **query: str) -> Any:
        """Ask for a customer's redemptions; return what is inside `response`."""
        heard = await self.send("GET", f"{sandbox.base_url}/v1.1/customer/redemptions", params=query)
        return heard.body["response"]

    async def points(self, sandbox: Sandbox, **query: str) -> list[dict[str, Any]]:
        """Ask for a customer's redemptions; return them alone."""
        found = await self.read_back(sandbox, **query)
        points: list[dict[str, Any]] = found["customer"]["redemptions"]["points"]["point"]
        return points

    async def send(self, method: str, url: str, **options: Any) -> Heard:
        """Send anything, with the credentials unless `headers` has others."""
        headers = {"Authorization": AUTHORIZATION, **options.pop("headers", {})}
        async with self.session.request(method, url, headers=headers, allow_redirects=False, **options) as response:
            return Heard(status=response.status, raw=await response.read(), headers=dict(response.headers))


@pytest.fixture
async def till() -> AsyncIterator[Till]:
    """Give a client that never sends twice what was sent once."""
    async with aiohttp.ClientSession() as session:
        session._retry_connection = False
        yield Till(session=session)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Give a sandbox with no faults and no limit."""
    async with Sandbox() as sandbox:
        yield sandbox


@dataclass(kw_only=True)
class Gate:
    """A sleep that lasts until it is let go, and remembers what it was asked."""

    asked: list[float] = field(default_factory=list)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def sleep(self, seconds: float) -> None:
        """Wait, however many seconds were asked for."""
        self.asked.append(seconds)
        self.entered.set()
        await self.open.wait()


async def test_an_update_is_applied_and_echoed_as_the_sample_shows(sandbox: Sandbox, till: Till) -> None:
    """Show the reply's keys and types, the largest bill id to the last digit, and the custom fields as a list."""
    heard = await till.put(sandbox, billId=2**63 - 1, purpose="Testing", customFields={"card_number": "123456"})

    assert heard.status == 200
    assert heard.headers["X-CAP-REQUEST-ID"] == "sandbox-000001"
    echo = heard.body
    expected = {
        "programId": 1098,
        "billId": 2**63 - 1,
        "billNumber": "B-1",
        "redemptionId": "8878ru",
        "redemptionPurpose": "Testing",
        "customFields": [{"name": "card_number", "value": "123456"}],
        "pointDeductionList": [],
        "warnings": [],
    }
    assert {name: echo[name] for name in expected} == expected
    assert "externalReferenceNumber" not in echo
    assert isinstance(echo["id"], int)
    assert isinstance(echo["pointsRedeemed"], float)
    assert echo["redemptionDate"].startswith("2026-")


async def test_a_field_left_out_is_left_alone(sandbox: Sandbox, till: Till) -> None:
    """Show that null, empty and absent fields keep what was there, that an unset bill id is -1, and what is booked."""
    first = await till.put(sandbox, customFields={"a": "1"})
    second = await till.put(sandbox, billNumber="", billId=7, purpose=None, customFields={"b": "2"}, unknown=[1])

    assert first.body["billId"] == -1
    assert second.body["billNumber"] == "B-1"
    now = sandbox.redemptions["8878ru"]
    assert (now.bill_number, now.bill_id, now.purpose, now.custom_fields) == ("B-1", 7, "", {"a": "1", "b": "2"})
    assert [(each.order, each.identifier, each.fields) for each in sandbox.applied] == [
        (0, "8878ru", {"billNumber": "B-1", "customFields": {"a": "1"}}),
        (1, "8878ru", {"billId": 7, "customFields": {"b": "2"}}),
    ]


async def test_a_redemption_may_be_named_by_its_external_reference(sandbox: Sandbox, till: Till) -> None:
    """Show that the reply then names both, with an invented id that is the same every time."""
    first, second = [
        (await till.put(sandbox, redemptionId=None, externalReferenceNumber="ACR-1", billNumber=number)).body
        for number in ("B-1", "B-2")
    ]

    assert first["externalReferenceNumber"] == "ACR-1"
    assert len(first["redemptionId"]) == 6
    assert first["redemptionId"] == second["redemptionId"]
    assert sandbox.redemptions["ACR-1"].bill_number == "B-2"


REFUSALS: list[tuple[int, str, dict[str, Any]]] = [
    (748, "nothing to set", {"billNumber": None}),
    (748, "only empty fields", {"billNumber": "", "customFields": {}}),
    (749, "no redemption", {"redemptionId": None}),
    (749, "two redemptions", {"externalReferenceNumber": "ACR-1"}),
    (1219, "no entity", {"entity": None}),
    (1219, "an entity that is no object", {"entity": "CUSTOMER"}),
    (1219, "no identifier value", {"entity": {**ASHA, "identifierValue": ""}}),
    (1219, "an unknown identifier type", {"entity": {**ASHA, "identifierType": "passport"}}),
    (1212, "an unknown entity type", {"entity": {**ASHA, "type": "USER GROUP"}}),
    (8015, "a mobile with a plus", {"entity": {**ASHA, "identifierValue": "+919900000001"}}),
    (8015, "a redemption that is no text", {"redemptionId": 12}),
    (750, "a bill id of zero", {"billId": 0}),
    (750, "a negative bill id", {"billId": -1}),
    (750, "a bill id too large", {"billId": 2**63}),
    (750, "a bill id as text", {"billId": "12345"}),
    (750, "a bill id with decimals", {"billId": 12345.0}),
    (750, "a bill id that is true", {"billId": True}),
    (750, "a bill number that is a number", {"billNumber": 5}),
    (750, "a purpose of 256 characters", {"purpose": "x" * 256}),
    (750, "custom fields as a list", {"customFields": [{"name": "a", "value": "1"}]}),
    (750, "a custom field that is a number", {"customFields": {"a": 1}}),
    (750, "an unknown redemption", {"redemptionId": "NOPE01"}),
    (750, "a reversed redemption", {"redemptionId": "gone01"}),
]


@pytest.mark.parametrize(
    ("code", "changes"), [pytest.param(code, changes, id=f"{code} {why}") for code, why, changes in REFUSALS]
)
async def test_each_rule_has_its_code(sandbox: Sandbox, till: Till, code: int, changes: dict[str, Any]) -> None:
    """Show the documented code, in the documented shape, with HTTP 400; and that nothing was applied."""
    heard = await till.put(sandbox, **changes)

    assert (heard.status, heard.code) == (400, code)
    assert heard.body["errors"][0]["status"] is False
    assert heard.body["warnings"] == []
    assert sandbox.applied == []


async def test_unknown_and_reversed_have_different_reasons(sandbox: Sandbox, till: Till) -> None:
    """Show that the two redemptions refused with 750 can be told apart by the message."""
    unknown, reversed_ = [(await till.put(sandbox, redemptionId=each)).body for each in ("NOPE01", "GONE01")]

    assert unknown["errors"][0]["message"] == "Redemption update failed : redemption not found"
    assert reversed_["errors"][0]["message"] == "Redemption update failed : redemption is already reversed"


async def test_a_test_may_say_what_exists(till: Till) -> None:
    """Show that `known` replaces the rule about `NOPE`."""
    async with Sandbox(known={"NOPE01"}.__contains__) as sandbox:
        assert (await till.put(sandbox, redemptionId="NOPE01")).status == 200
        assert (await till.put(sandbox, redemptionId="8878ru")).code == 750


@pytest.mark.parametrize("body", [[], "text", 5])
async def test_a_body_that_is_no_object_is_refused(sandbox: Sandbox, till: Till, body: object) -> None:
    """Show HTTP 400 with an error body for JSON that is not an object."""
    heard = await till.put(sandbox, body)
    assert (heard.status, heard.code) == (400, 400)


async def test_a_body_that_is_no_json_is_refused(sandbox: Sandbox, till: Till) -> None:
    """Show 415 for another content type, and 400 for JSON cut short."""
    url = f"{sandbox.base_url}/v2/points/updateRedemption"
    form = await till.send("PUT", url, data=b"a=b", headers={"Content-Type": "application/x-www-form-urlencoded"})
    short = await till.send("PUT", url, data=b'{"a":', headers={"Content-Type": "application/json"})

    assert (form.status, form.code) == (415, 415)
    assert (short.status, short.code) == (400, 400)


@pytest.mark.parametrize("authorization", ["", "Basic", "Basic c2FuZGJveA==", "Bearer x", "Basic \xe4"])
async def test_wrong_credentials_are_refused(sandbox: Sandbox, till: Till, authorization: str) -> None:
    """Show 401 with an error body for both resources, however wrong the header is."""
    for method, path in (("PUT", "/v2/points/updateRedemption"), ("GET", "/v1.1/customer/redemptions")):
        heard = await till.send(method, sandbox.base_url + path, headers={"Authorization": authorization})
        assert (heard.status, heard.code) == (401, 401)
    assert sandbox.requests == 2


async def test_credentials_in_another_encoding_are_refused(sandbox: Sandbox) -> None:
    """Show that bytes which are no text get 401 too, and not an error of the sandbox."""
    reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
    request = b"PUT /v2/points/updateRedemption HTTP/1.1\r\nHost: x\r\nAuthorization: Basic \xe4\r\n\r\n"
    writer.write(request)
    assert (await reader.readline()).startswith(b"HTTP/1.1 401 ")
    writer.close()
    await writer.wait_closed()


async def test_credentials_can_be_chosen(till: Till) -> None:
    """Show the worked example of the documents: `store.server` with `server123`."""
    documented = "Basic c3RvcmUuc2VydmVyOjhhMTZhNmI3MDUwNWViMWYxZmY3Y2RjMGNkNTU1OWE3"
    async with Sandbox(username="store.server", password="server123") as sandbox:
        url = f"{sandbox.base_url}/v1.1/customer/redemptions"
        assert (await till.send("GET", url, headers={"Authorization": documented})).status == 200
        assert (await till.send("GET", url)).status == 401


async def test_a_till_without_permission_is_refused(till: Till) -> None:
    """Show 403 with code 4000, and that the permission can come back while the sandbox runs."""
    async with Sandbox(permitted=False) as sandbox:
        heard = await till.put(sandbox)
        assert (heard.status, heard.code) == (403, 4000)
        sandbox.permitted = True
        assert (await till.put(sandbox)).status == 200


async def test_other_addresses_answer_404(sandbox: Sandbox, till: Till) -> None:
    """Show that a wrong path is told by an error body."""
    heard = await till.send("PUT", f"{sandbox.base_url}/v2/points")
    assert (heard.status, heard.code) == (404, 404)


async def test_other_methods_answer_405(sandbox: Sandbox, till: Till) -> None:
    """Show that a wrong method is told by an error body, and the right one by a header."""
    heard = await till.send("POST", f"{sandbox.base_url}/v2/points/updateRedemption")
    assert (heard.status, heard.code, heard.headers["Allow"]) == (405, 405, "PUT")


@pytest.mark.parametrize("prefix", ["/gateway", "gateway/"])
async def test_a_prefix_goes_before_every_path(till: Till, prefix: str) -> None:
    """Show that the base URL carries the prefix, and that nothing answers without it."""
    async with Sandbox(prefix=prefix) as sandbox:
        assert sandbox.base_url == f"http://127.0.0.1:{sandbox.port}/gateway"
        assert (await till.put(sandbox)).status == 200
        bare = f"http://127.0.0.1:{sandbox.port}/v2/points/updateRedemption"
        assert (await till.send("PUT", bare)).status == 404


async def test_the_limit_holds_in_every_window(till: Till) -> None:
    """Show that a refused request says how long to wait, costs nothing, and that places come back one by one."""
    times = iter((0.0, 10.5, 59.9, 60.0, 60.1, 70.5))
    async with Sandbox(limit=Rate.parse("2/min"), clock=times.__next__) as sandbox:
        heard = [await till.put(sandbox) for _ in range(6)]
    statuses = [(each.status, each.headers.get("Retry-After")) for each in heard]

    assert statuses == [(200, None), (200, None), (429, "1"), (200, None), (429, "11"), (200, None)]
    assert (sandbox.requests, sandbox.throttled, len(sandbox.applied)) == (6, 2, 4)


async def test_reading_back_counts_against_the_limit(till: Till) -> None:
    """Show that both resources share the key's limit, and that wrong credentials use up nothing of it."""
    async with Sandbox(limit=Rate.parse("1/min")) as sandbox:
        url = f"{sandbox.base_url}/v1.1/customer/redemptions"
        assert (await till.send("GET", url, headers={"Authorization": "Basic x"})).status == 401
        assert (await till.send("GET", url)).status == 200
        heard = await till.put(sandbox)
    assert (heard.status, heard.code) == (429, 429)


@pytest.mark.parametrize(
    ("rate", "times", "waits"),
    [
        ("none", (0.0, 0.0), [0.0, 0.0]),
        ("2.9/s", (0.0, 0.0, 0.25), [0.0, 0.0, 0.75]),
        ("0.5/s", (0.0, 1.5, 2.0), [0.0, 0.5, 0.0]),
    ],
)
def test_a_window_reads_a_rate_strictly(rate: str, times: tuple[float, ...], waits: list[float]) -> None:
    """Show no limit, a fraction rounded down, and a rate below one as a longer period."""
    window = Window()
    assert [window.wait(Rate.parse(rate), now) for now in times] == waits


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"redemptionId": "NZVAt9"}, 521),
        ({"entity": BELA}, 521),
        ({"redemptionId": "NZVAt9", "entity": BELA}, None),
    ],
    ids=["same customer", "same redemption", "neither"],
)
async def test_a_customer_and_a_redemption_are_locked(till: Till, changes: dict[str, Any], code: int | None) -> None:
    """Show code 521, and the count of overlaps, while an update of the same customer or redemption is under way."""
    gate = Gate()
    async with Sandbox(latency=5.0, sleep=gate.sleep) as sandbox:
        first = asyncio.create_task(till.put(sandbox))
        await gate.entered.wait()
        second = asyncio.create_task(till.put(sandbox, **changes))
        if code:
            assert (await second).code == code
        gate.open.set()
        assert (await first).status == 200
        assert code or (await second).status == 200
        assert (await till.put(sandbox, **changes)).status == 200

    assert sandbox.overlaps == (1 if code else 0)
    assert set(gate.asked) == {5.0}


async def test_an_update_goes_on_when_its_client_is_gone(till: Till) -> None:
    """Show that a client which loses patience does not stop the update, as it would not stop the platform's."""
    gate = Gate()
    async with Sandbox(latency=5.0, sleep=gate.sleep) as sandbox:
        first = asyncio.create_task(till.put(sandbox))
        await gate.entered.wait()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert (await till.put(sandbox)).code == 521
        gate.open.set()
        assert (await till.put(sandbox, billNumber="B-2")).status == 200

    assert [each.fields["billNumber"] for each in sandbox.applied] == ["B-1", "B-2"]


async def test_reading_back_shows_what_was_applied(sandbox: Sandbox, till: Till) -> None:
    """Show the documented keys, the bill id as text, and only the customer's own redemptions."""
    await till.put(sandbox, purpose="Testing", customFields={"a": "1"})
    await till.put(sandbox, redemptionId="NZVAt9", entity=BELA)
    found = await till.read_back(sandbox, mobile=ASHA["identifierValue"])

    assert found["status"] == {"success": True, "code": 200, "message": "Success"}
    assert found["customer"]["mobile"] == ASHA["identifierValue"]
    (point,) = found["customer"]["redemptions"]["points"]["point"]
    expected = {
        "redemption_id": "8878ru",
        "transaction_number": "B-1",
        "bill_id": "-1",
        "redemption_purpose": "Testing",
        "external_reference_number": "",
        "custom_fields": {"field": [{"name": "a", "value": "1"}]},
        "reversals": [],
    }
    assert {name: point[name] for name in expected} == expected


async def test_reading_back_by_other_identifiers(sandbox: Sandbox, till: Till) -> None:
    """Show the query's names of the identifier types, and that an address is found in any case."""
    customers = {"email": ("email", "bela@example.com"), "external_id": ("externalId", "E-7"), "id": ("id", "42")}
    for kind, value in customers.values():
        await till.put(
            sandbox, redemptionId=kind, entity={**ASHA, "identifierType": kind, "identifierValue": value.title()}
        )
    for name, (kind, value) in customers.items():
        assert [each["redemption_id"] for each in await till.points(sandbox, **{name: value})] == [kind]


async def test_a_redemption_is_read_back_from_its_last_customer(sandbox: Sandbox, till: Till) -> None:
    """Show that a redemption belongs to whom the last update named, and to nobody else."""
    await till.put(sandbox)
    await till.put(sandbox, entity=BELA)

    assert len(await till.points(sandbox, mobile=BELA["identifierValue"])) == 1
    assert (await till.read_back(sandbox, mobile=ASHA["identifierValue"]))["status"]["success"] is False


async def test_reading_back_pages(sandbox: Sandbox, till: Till) -> None:
    """Show ten by default, at most 500, an offset in redemptions, latest first, and no page twice."""
    for number in range(12):
        await till.put(sandbox, redemptionId=f"R{number}")
    mobile = ASHA["identifierValue"]
    first = await till.points(sandbox, mobile=mobile)
    rest = await till.points(sandbox, mobile=mobile, points_offset="10")
    whole = await till.points(sandbox, mobile=mobile, points_limit="9999")

    assert (len(first), len(rest)) == (10, 2)
    together = [each["redemption_id"] for each in first + rest]
    assert together == [each["redemption_id"] for each in whole]
    assert sorted((each["redeemed_time"] for each in whole), reverse=True) == [each["redeemed_time"] for each in whole]


async def test_reading_back_filters(sandbox: Sandbox, till: Till) -> None:
    """Show the filters by reference, program and dates, a date without a time being the whole day."""
    await till.put(sandbox, redemptionId=None, externalReferenceNumber="ACR-1")
    mobile = ASHA["identifierValue"]
    day = (await till.points(sandbox, mobile=mobile))[0]["redeemed_time"][:10]
    found = [
        len(await till.points(sandbox, mobile=mobile, **query))
        for query in (
            {"external_reference_number": "ACR-1", "program_id": "1098"},
            {"external_reference_number": "ACR-2"},
            {"program_id": "7"},
            {"start_date": day, "end_date": day},
            {"start_date": f"{day} 23:59:60"},
            {"end_date": "2025-12-31"},
        )
    ]
    assert found == [1, 0, 0, 1, 0, 0]


OF_ASHA = ("CUSTOMER", "mobile", ASHA["identifierValue"])


async def test_a_planted_redemption_is_read_back(sandbox: Sandbox, till: Till) -> None:
    """Show every field, and that it is no update."""
    sandbox.plant(
        redemption_id="AB0002",
        external_reference_number="ACR-2",
        customer=OF_ASHA,
        bill_number="OLD-2",
        bill_id=2**63 - 1,
        purpose="Testing",
        custom_fields={"card_number": "123456"},
    )
    (point,) = await till.points(sandbox, mobile=ASHA["identifierValue"])

    expected = {
        "redemption_id": "AB0002",
        "external_reference_number": "ACR-2",
        "transaction_number": "OLD-2",
        "bill_id": str(2**63 - 1),
        "redemption_purpose": "Testing",
        "custom_fields": {"field": [{"name": "card_number", "value": "123456"}]},
    }
    assert {name: point[name] for name in expected} == expected
    assert sandbox.applied == []


async def test_planting_replaces_what_was_there(sandbox: Sandbox, till: Till) -> None:
    """Show a colleague's change after an update: other values, no more of the old ones, another customer."""
    await till.put(sandbox, purpose="Testing")
    sandbox.plant(redemption_id="8878ru", customer=("CUSTOMER", "mobile", BELA["identifierValue"]), bill_number="B-2")

    (point,) = await till.points(sandbox, mobile=BELA["identifierValue"])
    assert (point["transaction_number"], point["redemption_purpose"]) == ("B-2", "")
    assert (await till.read_back(sandbox, mobile=ASHA["identifierValue"]))["status"]["success"] is False


@pytest.mark.parametrize("name", [{"redemptionId": "AB0002"}, {"externalReferenceNumber": "ACR-2"}])
async def test_an_update_changes_what_was_planted(sandbox: Sandbox, till: Till, name: dict[str, str]) -> None:
    """Show that both names lead to it, and that what the update leaves alone stays as planted."""
    sandbox.plant(redemption_id="AB0002", external_reference_number="ACR-2", customer=OF_ASHA, purpose="Testing")
    await till.put(sandbox, **{"redemptionId": None, **name})

    (point,) = await till.points(sandbox, mobile=ASHA["identifierValue"])
    assert (point["redemption_id"], point["transaction_number"]) == ("AB0002", "B-1")
    assert point["redemption_purpose"] == "Testing"


async def test_what_is_planted_by_its_reference_gets_an_id(sandbox: Sandbox, till: Till) -> None:
    """Show that the id is the one that an update would have been answered with."""
    sandbox.plant(external_reference_number="ACR-1", customer=OF_ASHA)
    heard = await till.put(sandbox, redemptionId=None, externalReferenceNumber="ACR-1")

    (point,) = await till.points(sandbox, mobile=ASHA["identifierValue"])
    assert point["redemption_id"] == heard.body["redemptionId"]
    assert len(point["redemption_id"]) == 6


async def test_read_backs_are_counted_and_disturbed_apart(till: Till) -> None:
    """Show that a fault of updates leaves them alone, that they have faults of their own, and what counts as one."""
    fault = Fault.error(status=500, code=500)
    async with Sandbox(
        faults=lambda _: fault,
        read_faults=lambda query: Reply(status=502, body=b"<html>") if query["mobile"] == "1" else None,
    ) as sandbox:
        url = f"{sandbox.base_url}/v1.1/customer/redemptions"
        heard = [await till.send("GET", url, params={"mobile": mobile}) for mobile in ("1", "2")]
        await till.put(sandbox)
        await till.send("GET", url, headers={"Authorization": "Basic x"})

    assert [each.status for each in heard] == [502, 200]
    assert (sandbox.requests, sandbox.reads) == (4, 2)


@pytest.mark.parametrize(("query", "code"), [({"mobile": "919900000009"}, 1012), ({}, 1015)])
async def test_reading_back_an_unknown_customer(sandbox: Sandbox, till: Till, query: dict[str, str], code: int) -> None:
    """Show the older API's way: HTTP 200, with the failure and its code inside."""
    found = await till.read_back(sandbox, **query)

    assert (found["status"]["success"], found["status"]["code"]) == (False, 500)
    assert found["customer"]["item_status"]["code"] == code


@pytest.mark.parametrize("apply", [False, True])
@pytest.mark.parametrize("body", [None, b'{"id":'])
async def test_a_reset_before_or_after_applying(till: Till, *, apply: bool, body: bytes | None) -> None:
    """Show a real connection reset, with and without half a reply before it, and that the books tell the difference."""
    plan = script({"8878ru": [Fault(apply=apply, then=Then.RESET, body=body)]})
    async with Sandbox(faults=plan) as sandbox:
        with pytest.raises((*RESET, aiohttp.ClientPayloadError)):
            await till.put(sandbox)
        assert len(sandbox.applied) == apply
        assert sandbox.requests == 1
        assert (await till.put(sandbox)).status == 200


async def test_a_hanging_reply_ends_when_the_sandbox_stops(till: Till) -> None:
    """Show that a hang lasts until `stop`, and is over for the customer's other updates."""
    async with Sandbox(faults=script({"8878ru": [Fault(apply=True, then=Then.HANG)]})) as sandbox:
        hanging = asyncio.create_task(till.put(sandbox))
        while not sandbox.applied:
            assert (await till.send("GET", sandbox.base_url)).status == 404
        assert (await till.put(sandbox, redemptionId="NZVAt9")).status == 200
        assert not hanging.done()
    with pytest.raises(RESET):
        await hanging


async def test_a_dripping_reply_comes_in_small_pieces(till: Till) -> None:
    """Show that the honest reply arrives whole, with a wait after every sixteen bytes."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    drip = Fault(apply=True, chunk_delay=0.5)
    async with Sandbox(faults=lambda _: drip, sleep=sleep) as sandbox:
        heard = await till.put(sandbox)

    assert heard.body["billNumber"] == "B-1"
    assert waits == [0.5] * -(-len(heard.raw) // 16)


async def test_a_client_that_leaves_a_reply_half_read_is_no_error(till: Till, caplog: pytest.LogCaptureFixture) -> None:
    """Show that nothing is logged, and the sandbox goes on, when clients vanish while sending or receiving."""
    gate = Gate()
    drip = Fault(apply=True, body=b"x" * 64, chunk_delay=0.5)
    async with Sandbox(faults=script({"8878ru": [drip]}), sleep=gate.sleep) as sandbox:
        for half in (b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", b"PUT /"):
            _, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
            writer.write(half)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        receiving = asyncio.create_task(till.put(sandbox))
        await gate.entered.wait()
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        gate.open.set()
        assert (await till.put(sandbox)).status == 200

    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


async def test_a_fault_may_say_anything(till: Till) -> None:
    """Show a contradiction, a redirect, HTML, a compressed body, a huge one and an error inside HTTP 200."""
    packed = {"Content-Encoding": "gzip"}
    faults = [
        Fault(apply=True, echo={"billNumber": "other"}),
        Fault(status=307, headers={"Location": "http://127.0.0.1:9/elsewhere"}),
        Fault(status=502, headers={"content-type": "text/html"}, body=b"<html>"),
        Fault(apply=True, headers=packed, body=gzip.compress(b'{"id":1}')),
        Fault(body=b"x" * 40_000_000),
        Fault(status=200, body=errors_body(748, "No metadata update requested")),
    ]
    async with Sandbox(faults=script({"8878ru": faults})) as sandbox:
        echo, redirect, html, unpacked, huge, error = [await till.put(sandbox) for _ in faults]
        honest = await till.put(sandbox)

    assert (echo.status, echo.body) == (200, {**honest.body, "billNumber": "other"})
    assert (redirect.status, redirect.headers["Location"], redirect.raw) == (307, "http://127.0.0.1:9/elsewhere", b"")
    assert (html.status, html.headers["Content-Type"], html.raw) == (502, "text/html", b"<html>")
    assert unpacked.body == {"id": 1}
    assert len(huge.raw) == 40_000_000
    assert (error.status, error.code) == (200, 748)
    assert len(sandbox.applied) == 3


async def test_a_fault_can_be_ordered_for_the_nth_update(till: Till) -> None:
    """Show what a hook is told: which update it is, of all and of its redemption, and what it wants."""
    seen: list[tuple[int, int, str]] = []

    def note(update: UpdateRequest) -> Fault | None:
        seen.append((update.number, update.attempt, update.identifier))
        return Fault.error(status=503, code=4001) if update.number == 2 else None

    async with Sandbox(faults=note) as sandbox:
        heard = [await till.put(sandbox, redemptionId=each) for each in ("8878ru", "NZVAt9", "8878ru")]

    assert seen == [(1, 1, "8878ru"), (2, 1, "NZVAt9"), (3, 2, "8878ru")]
    assert [each.status for each in heard] == [200, 503, 200]
    assert heard[1].code == 4001


async def test_a_fault_does_not_make_an_unknown_redemption_known(till: Till) -> None:
    """Show that a fault after applying leaves the refusal, and the books, as they would have been."""
    async with Sandbox(faults=lambda _: Fault(apply=True, headers={"X-Odd": "1"})) as sandbox:
        heard = await till.put(sandbox, redemptionId="NOPE01")
    assert (heard.status, heard.code, heard.headers["X-Odd"]) == (400, 750, "1")
    assert sandbox.applied == []


async def _tell(till: Till, sandbox: Sandbox, redemption_id: str) -> str:
    try:
        heard = await till.put(sandbox, redemptionId=redemption_id)
    except RESET:
        return "reset"
    return f"{heard.status} {heard.raw[:12]!r}"


async def test_chance_is_the_same_for_the_same_seed(till: Till) -> None:
    """Show that the share is about right, of every kind, and falls on the same redemptions in any order."""

    async def fates(order: list[str], seed: int) -> dict[str, str]:
        async with Sandbox(fail_ratio=0.3, seed=seed) as sandbox:
            return {each: await _tell(till, sandbox, each) for each in order}

    names = [f"R{number:03d}" for number in range(200)]
    once = await fates(names, 1)

    assert once == await fates(names[::-1], 1)
    assert once != await fates(names, 2)
    failed = [fate for fate in once.values() if not fate.startswith('200 b\'{"id":') or "396023" in fate]
    assert 35 < len(failed) < 85
    assert {fate[:3] for fate in once.values()} == {"200", "400", "429", "500", "502", "503", "res"}


async def test_no_ratio_fails_nothing_and_a_whole_one_everything(till: Till) -> None:
    """Show both ends of the scale."""
    async with Sandbox(fail_ratio=0.0) as calm, Sandbox(fail_ratio=1.0) as storm:
        for number in range(20):
            assert (await _tell(till, calm, f"R{number}")).startswith("200")
            fate = await _tell(till, storm, f"R{number}")
            assert not fate.startswith("200") or "396023" in fate


async def test_an_outage_can_be_rehearsed(till: Till) -> None:
    """Show that a stopped sandbox refuses connections, and comes back on its port with its books."""
    sandbox = Sandbox()
    await sandbox.stop()
    await sandbox.start()
    url = sandbox.base_url
    await till.put(sandbox)
    await sandbox.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", sandbox.port)
    async with sandbox:
        assert sandbox.base_url == url
        assert (await till.put(sandbox)).status == 200
    assert len(sandbox.applied) == 2


async def test_a_taken_port_is_a_sentence(sandbox: Sandbox) -> None:
    """Show that the error names the port and the way out."""
    with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{sandbox.port} .*choose another port"):
        await Sandbox(port=sandbox.port).start()


async def test_stopping_does_not_wait_for_a_slow_update(till: Till) -> None:
    """Show that an update still in its latency is cut, and never applied."""
    gate = Gate()
    async with Sandbox(latency=5.0, sleep=gate.sleep) as sandbox:
        slow = asyncio.create_task(till.put(sandbox))
        await gate.entered.wait()
    with pytest.raises(RESET):
        await slow
    assert sandbox.applied == []


async def test_the_password_is_never_shown() -> None:
    """Show that neither `repr` nor `str` of a sandbox gives the password away."""
    assert "server123" not in repr(Sandbox(password="server123")) + str(Sandbox(password="server123"))


# Tokens


async def token_of(till: Till, sandbox: Sandbox, **pair: Any) -> Heard:
    """Ask for a token with the sandbox's key and secret, unless `pair` has others."""
    body = {"key": sandbox.username, "secret": sandbox.password, **pair}
    return await till.send("POST", f"{sandbox.base_url}/v3/oauth/token/generate", json=body)


async def with_token(till: Till, sandbox: Sandbox, token: str, body: object = None) -> Heard:
    """Send an update with a token and without a password."""
    good = {"redemptionId": "8878ru", "billNumber": "B-1", "entity": ASHA}
    url = f"{sandbox.base_url}/v2/points/updateRedemption"
    headers = {"X-CAP-API-OAUTH-TOKEN": token}
    async with till.session.put(url, headers=headers, json=good if body is None else body) as response:
        return Heard(status=response.status, raw=await response.read(), headers=dict(response.headers))


def wrapped(code: int, message: str) -> dict[str, Any]:
    """Return the body of an error as OAuth has it."""
    return {"data": None, "errors": [{"status": False, "code": code, "message": message}], "warnings": None}


async def test_a_token_is_given_for_key_and_secret(sandbox: Sandbox, till: Till) -> None:
    """It looks as documented, and lets an update in whose success is bare."""
    heard = await token_of(till, sandbox)
    assert (heard.status, heard.body["data"]["ttlSeconds"], heard.body["errors"]) == (200, 300, None)
    updated = await with_token(till, sandbox, heard.body["data"]["accessToken"])
    assert (updated.status, updated.body["billNumber"]) == (200, "B-1")
    assert (sandbox.tokens, sandbox.requests, len(sandbox.applied)) == (1, 2, 1)


@pytest.mark.parametrize("pair", [{"secret": "another"}, {"key": "another"}, {"secret": None}, {"key": ["a"]}])
async def test_a_wrong_pair_gets_no_token(sandbox: Sandbox, till: Till, pair: Mapping[str, Any]) -> None:
    """The refusal is wrapped, and a password in the header helps nobody."""
    heard = await token_of(till, sandbox, **pair)
    assert (heard.status, heard.body) == (401, wrapped(401, "Authentication failed"))
    assert sandbox.tokens == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"key"'])
async def test_a_request_for_a_token_may_be_nonsense(sandbox: Sandbox, till: Till, body: bytes) -> None:
    """It is a wrong pair, too."""
    heard = await till.send("POST", f"{sandbox.base_url}/v3/oauth/token/generate", data=body)
    assert (heard.status, sandbox.tokens) == (401, 0)


async def test_a_token_ends_by_the_clock(till: Till) -> None:
    """It is good until its last second, and then no more; so it is when it was never given."""
    now = 50.0
    async with Sandbox(token_ttl=20.0, clock=lambda: now) as sandbox:
        heard = await token_of(till, sandbox)
        assert heard.body["data"]["ttlSeconds"] == 20
        token = heard.body["data"]["accessToken"]
        now = 69.9
        assert (await with_token(till, sandbox, token)).status == 200
        now = 70.0
        late = await with_token(till, sandbox, token)
        assert (late.status, late.body) == (401, wrapped(401, "Authentication failed"))
        assert (await with_token(till, sandbox, "invented")).status == 401


async def test_tokens_can_be_revoked(sandbox: Sandbox, till: Till) -> None:
    """All that were given are bad; one that is given later is good."""
    tokens = [(await token_of(till, sandbox)).body["data"]["accessToken"] for _ in range(2)]
    sandbox.revoke_tokens()
    tokens.append((await token_of(till, sandbox)).body["data"]["accessToken"])
    assert [(await with_token(till, sandbox, token)).status for token in tokens] == [401, 401, 200]
    assert sandbox.tokens == len(set(tokens)) == 3


async def test_requests_for_tokens_count_against_the_limit(till: Till) -> None:
    """They take places of the same window, and one too many is throttled."""
    async with Sandbox(limit=Rate.parse("2/min"), clock=lambda: 0.0) as sandbox:
        token = (await token_of(till, sandbox)).body["data"]["accessToken"]
        assert (await with_token(till, sandbox, token)).status == 200
        heard = await token_of(till, sandbox)
        assert (heard.status, heard.headers["Retry-After"]) == (429, "60")
        assert heard.body == wrapped(429, "API rate limit exceeded")
        assert (sandbox.throttled, sandbox.tokens) == (1, 1)


async def test_errors_are_wrapped_for_whoever_bears_a_token(sandbox: Sandbox, till: Till) -> None:
    """The same mistake is told barely to who comes with a password."""
    token = (await token_of(till, sandbox)).body["data"]["accessToken"]
    mistake = {"redemptionId": "8878ru", "entity": ASHA}
    heard, bare = await with_token(till, sandbox, token, mistake), await till.put(sandbox, mistake)
    assert heard.status == bare.status == 400
    assert heard.body == {"data": None, "errors": bare.body["errors"], "warnings": None}
    assert heard.code == 748


async def test_the_token_endpoint_misbehaves_to_order(sandbox: Sandbox, till: Till) -> None:
    """The n-th request meets what was ordered for it; exact bytes stay exact."""
    sandbox.token_faults = lambda number: Reply(status=502, body=b"<html>") if number == 2 else None
    heard = [await token_of(till, sandbox) for _ in range(3)]
    assert [each.status for each in heard] == [200, 502, 200]
    assert heard[1].raw == b"<html>"
    assert sandbox.tokens == 2


async def test_updates_are_attributed(sandbox: Sandbox, till: Till) -> None:
    """To whom the headers name, and only of requests with a token."""
    whom = {"X-CAP-API-ATTRIBUTION-ENTITY-TYPE": "TILL", "X-CAP-API-ATTRIBUTION-CODE": "till.7"}
    till.session.headers.update(whom)
    await till.put(sandbox)
    assert sandbox.attributed == []
    await with_token(till, sandbox, (await token_of(till, sandbox)).body["data"]["accessToken"])
    assert sandbox.attributed == [("TILL", "till.7")]


async def test_every_good_request_for_a_token_has_its_number(sandbox: Sandbox, till: Till) -> None:
    """Also those that came before anything was ordered."""
    numbers: list[int] = []
    await token_of(till, sandbox)
    sandbox.token_faults = numbers.append
    await token_of(till, sandbox)
    assert numbers == [2]


async def test_tokens_that_have_ended_are_forgotten(till: Till) -> None:
    """However long it runs, it remembers no more of them than are alive."""
    now = 0.0
    async with Sandbox(token_ttl=20.0, clock=lambda: now) as sandbox:
        for _ in range(4):
            await token_of(till, sandbox)
            now += 15.0
        assert (sandbox.tokens, len(sandbox._tokens._ends)) == (4, 2)
