"""Our requests before the contract: `docs/openapi.yaml`, and a witness who sees each request and judges it by that.

Thousands of requests go through the tests, and openapi-core takes milliseconds for each. So every request is judged by
validators that jsonschema-rs compiles from the same document (some microseconds), and by openapi-core the first one of
each shape (resource, names of headers, parameters and fields), then one in `ONE_IN`. A test's requests are judged when
it has ended, so that no reply comes later for it.

Nobody sees what goes to servers of another kind, or to a sandbox in a process of its own.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs
import yaml  # type: ignore[import-untyped]  # its types are a package of their own; one call is made
from aiohttp import web
from aioresponses import aioresponses
from multidict import CIMultiDict
from yarl import URL

from bulkredeem.model import Correction
from bulkredeem.sandbox import Sandbox

if TYPE_CHECKING:
    from openapi_core import OpenAPI

PATH: Final = Path(__file__).parent.parent / "docs" / "openapi.yaml"
OURS: Final = "bulkredeem"
"""How the User-Agent of our requests begins; tests that send bad ones on purpose have clients of their own."""
ONE_IN: Final = 100
"""Of so many requests of one shape, openapi-core judges one more."""
AT_ONCE: Final = 1000
"""So many requests are kept at most before they are judged: some tests send a hundred thousand."""
TILL: Final = "counter.seven"
SECRET: Final = "an-invented-secret"
"""Who the contract's own examples are; also its key and secret."""
ASHA: Final = Correction(
    row_number=2,
    redemption_id="7Kd2Qx",
    entity_type="CUSTOMER",
    identifier_type="mobile",
    identifier_value="919900000001",
    bill_number="B-2041",
)
"""The correction that they send."""
METHODS: Final = frozenset({"get", "put", "post", "delete", "patch", "head", "options", "trace"})
_EMPTY: Final[tuple[object, ...]] = (None, "", {}, [])


@cache
def document() -> dict[str, Any]:
    """Return the contract; nobody may change it."""
    read: dict[str, Any] = yaml.load(PATH.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return read


@cache
def kept_by_us() -> dict[str, Any]:
    """Return the contract as we keep it; nobody may change it.

    Types of entities and identifiers that it does not list are sent, with a warning; fields that it does not list are
    not, whatever the platform would make of them.
    """
    contract = deepcopy(document())
    schemas = contract["components"]["schemas"]
    for name in ("type", "identifierType"):
        kind = schemas["Entity"]["properties"][name]
        del kind["enum"]
        kind |= {"type": "string", "minLength": 1}
    for name in ("Correction", "Entity", "TokenRequest"):
        schemas[name]["additionalProperties"] = False
    return contract


def operations() -> dict[tuple[str, str], dict[str, Any]]:
    """Return method, in capitals, and path of each operation → what the contract says of it."""
    return {
        (method.upper(), path): operation
        for path, resource in document()["paths"].items()
        for method, operation in resource.items()
        if method in METHODS
    }


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """Return what a part of the contract refers to, or the part when it refers to nothing."""
    reference: str | None = part.get("$ref")
    if reference is None:
        return part
    found = document()
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found


def validator_of(schema: dict[str, Any], *, within: dict[str, Any] | None = None) -> jsonschema_rs.Validator:
    """Compile a schema of the contract (or of a changed one, `within`), whose references point into it."""
    # A reference may stand beside other words in OpenAPI 3.1, and so beside the components it points to.
    whole = {**schema, "components": (within or document())["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it was sent."""

    method: str
    path: str
    """With whatever path the base URL has before the platform's own."""
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    """By names in any case."""
    body: bytes

    def __str__(self) -> str:
        """Show all but the credentials."""
        query = "&".join(f"{name}={value}" for name, value in self.query)
        body = "(key and secret)" if self.method == "POST" else self.body.decode(errors="replace")
        return f"{self.method} {self.path}{'?' if query else ''}{query} {body}".rstrip()


class Operation:
    """One operation of the contract, prepared to judge requests."""

    def __init__(self, path: str, operation: dict[str, Any], contract: dict[str, Any]) -> None:
        """Compile what the contract says of it."""
        self.path = path
        parameters = [resolved(each) for each in operation.get("parameters", ())]
        self._parameters = {each["name"]: each["schema"] for each in parameters if each["in"] == "query"}
        self._one_of: list[str] = operation.get("x-exactly-one-of", [])
        self._query = validator_of(
            {"type": "object", "properties": self._parameters, "additionalProperties": False}, within=contract
        )
        content = operation.get("requestBody", {}).get("content", {})
        self._bodies = {name: validator_of(kind["schema"], within=contract) for name, kind in content.items()}
        self._secured_by: list[dict[str, Any]] = operation.get("security", contract["security"])
        self._schemes: dict[str, dict[str, Any]] = contract["components"]["securitySchemes"]

    def problems(self, request: Request) -> Iterator[str]:
        """Say what of a request is not as the contract says; nothing when all is."""
        if self._secured_by and not any(all(map(self._proves(request), each)) for each in self._secured_by):
            yield "its credentials are none that the contract knows"
        if "application/json" not in request.headers.get("Accept", ""):
            yield "it does not accept JSON"
        yield from self._problems_of_query(request.query)
        yield from self._problems_of_body(request)

    def _proves(self, request: Request) -> Callable[[str], bool]:
        def proves(name: str) -> bool:
            scheme = self._schemes[name]
            if scheme["type"] == "apiKey":
                return bool(request.headers.get(scheme["name"]))
            return _is_basic(request.headers.get("Authorization", ""), scheme["x-credentials-pattern"])

        return proves

    def _problems_of_query(self, query: tuple[tuple[str, str], ...]) -> Iterator[str]:
        values = {name: self._typed(name, text) for name, text in query}
        if len(values) != len(query):
            yield "a parameter is there twice"
        if self._one_of and len(values.keys() & set(self._one_of)) != 1:
            yield f"it has not exactly one of {', '.join(self._one_of)}"
        yield from (error.message for error in self._query.iter_errors(values))

    def _typed(self, name: str, text: str) -> object:
        is_number = self._parameters.get(name, {}).get("type") == "integer" and text.isdecimal()
        return int(text) if is_number else text

    def _problems_of_body(self, request: Request) -> Iterator[str]:
        if not self._bodies:
            if request.body:
                yield "it has a body"
            return
        body = self._bodies.get(request.headers.get("Content-Type", ""))
        if body is None:
            yield "its Content-Type is none that the contract knows"
            return
        try:
            sent = json.loads(request.body)
        except ValueError:
            yield "its body is not JSON"
            return
        yield from (error.message for error in body.iter_errors(sent))
        # Beyond the contract, which cannot say what an empty value does: we never send one.
        yield from (f"{name} is empty" for name, value in _fields_of(sent) if value in _EMPTY)


def _fields_of(body: object) -> Collection[tuple[str, object]]:
    return body.items() if isinstance(body, dict) else ()


def _is_basic(authorization: str, pattern: str) -> bool:
    scheme, _, token = authorization.partition(" ")
    try:
        credentials = base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return False
    return scheme == "Basic" and re.fullmatch(pattern, credentials, re.DOTALL) is not None


class Judge:
    """Says what of our requests is not as the contract says."""

    def __init__(self) -> None:
        """Have judged nothing yet."""
        self.judged = 0
        self.judged_by_openapi_core = 0
        self._shapes: dict[object, int] = {}

    def problems(self, request: Request) -> list[str]:
        """Return what is wrong with a request; an empty list when nothing is."""
        self.judged += 1
        operation = self._operation(request)
        if operation is None:
            return ["the contract has no such resource"]
        return [*operation.problems(request), *self._problems_by_openapi_core(operation, request)]

    def _operation(self, request: Request) -> Operation | None:
        # A base URL may have a path of its own, of which the contract knows nothing.
        return next((each for each in self._operations[request.method] if request.path.endswith(each.path)), None)

    @cached_property
    def _operations(self) -> Mapping[str, list[Operation]]:
        found: dict[str, list[Operation]] = {method.upper(): [] for method in METHODS}
        for (method, path), operation in operations().items():
            found[method].append(Operation(path, operation, kept_by_us()))
        return found

    @cached_property
    def _openapi_core(self) -> OpenAPI:
        from openapi_core import OpenAPI  # noqa: PLC0415  takes a second or two, and most runs of tests send nothing

        return OpenAPI.from_dict(kept_by_us())

    def _problems_by_openapi_core(self, operation: Operation, request: Request) -> list[str]:
        if self._is_familiar(operation, request):
            return []
        self.judged_by_openapi_core += 1
        return [f"openapi-core: {problem}" for problem in problems_by(self._openapi_core, operation.path, request)]

    def _is_familiar(self, operation: Operation, request: Request) -> bool:
        names = (frozenset(request.headers), tuple(name for name, _ in request.query))
        shape = (operation.path, names, _names_in(request.body))
        self._shapes[shape] = seen = self._shapes.get(shape, -1) + 1
        return seen % ONE_IN != 0


def _names_in(body: bytes) -> object:
    try:
        return tuple(json.loads(body)) if body else ()
    except (ValueError, TypeError):
        return None


def problems_by(api: OpenAPI, path: str, request: Request) -> list[str]:
    """Return what openapi-core says against a request for this path of the contract; an empty list for nothing."""
    from openapi_core.exceptions import OpenAPIError  # noqa: PLC0415  as above
    from openapi_core.testing import MockRequest  # noqa: PLC0415  as above

    retold = MockRequest(
        document()["servers"][0]["url"],
        request.method,
        path,
        args=dict(request.query),
        headers=dict(request.headers),
        data=request.body,
        content_type=request.headers.get("Content-Type", ""),
    )
    try:
        api.validate_request(retold)
    except OpenAPIError as exc:
        return [str(exc)]
    return []


@dataclass(kw_only=True)
class RequestWitness:
    """Sees each request of ours that reaches a sandbox of this process, or a stand-in for aiohttp."""

    judge: Judge = field(default_factory=Judge)
    _heard: list[Request] = field(default_factory=list)
    _bad: list[str] = field(default_factory=list)

    def hear(self, request: Request) -> None:
        """Keep a request, if it is ours."""
        if request.headers.get("User-Agent", "").startswith(OURS):
            self._heard.append(request)
            if len(self._heard) >= AT_ONCE:
                self._judge()

    def taken(self) -> list[str]:
        """Return each bad request since the last call, with what is wrong with it."""
        self._judge()
        taken, self._bad = self._bad, []
        return taken

    def _judge(self) -> None:
        heard, self._heard = self._heard, []
        for request in heard:
            if problems := self.judge.problems(request):
                self._bad.append("\n  ".join([str(request), *problems]))

    # Here, and only here, other people's methods are replaced: whatever a test does, it shall not do without a witness.
    # Neither class behaves otherwise for it.

    def at_sandboxes(self, answer: Callable[[Sandbox, web.BaseRequest], Any]) -> Callable[..., Any]:
        """Return what answers a request as a sandbox does, and has heard it before."""

        async def answer_heard(sandbox: Sandbox, http: web.BaseRequest) -> Any:
            # A request that breaks off is none; the sandbox reads it again, and finds the same.
            with suppress(ConnectionError):
                self.hear(_arrived(http, await http.read()))
            return await answer(sandbox, http)

        return answer_heard

    def at_stand_ins(self, match: Callable[..., Any]) -> Callable[..., Any]:
        """Return what finds the reply to a request as aioresponses does, and has heard it before."""

        async def match_heard(stand_in: aioresponses, method: str, url: URL, **options: Any) -> Any:
            self.hear(
                Request(
                    method=method,
                    path=url.path,
                    query=tuple(url.query.items()),
                    headers=CIMultiDict(options["headers"]),
                    body=options.get("data") or b"",
                )
            )
            return await match(stand_in, method, url, **options)

        return match_heard


def _arrived(http: web.BaseRequest, body: bytes) -> Request:
    return Request(
        method=http.method,
        path=http.path,
        query=tuple(http.query.items()),
        headers=http.headers,
        body=body,
    )


@contextmanager
def sandbox_beside(**options: Any) -> Iterator[Sandbox]:
    """Run a sandbox on a loop in a thread of its own: for those who wait for replies without a loop."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever)
    thread.start()
    sandbox = Sandbox(**options)
    try:
        asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result(timeout=10)
        yield sandbox
    finally:
        asyncio.run_coroutine_threadsafe(sandbox.stop(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
