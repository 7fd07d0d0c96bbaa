"""Misbehaviour to order: one precise fault for one precise request, or a random share of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from bulkredeem.sandbox.replies import Reply, Then, errors_body
from bulkredeem.sandbox.values import UpdateRequest

NOTHING_DONE: Final = Reply(status=200, body=b"")
"""What a fault starts from when the update is not applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong with one update.

    `Fault(then=Then.RESET)` resets before anything was applied, `Fault(apply=True, then=Then.RESET)` afterwards;
    `Fault(apply=True, echo={"billNumber": "other"})` contradicts; `Fault(apply=True, chunk_delay=1.0)` drips;
    `Fault(status=307, headers={"Location": url})` redirects; a body may be huge, compressed (with its
    `Content-Encoding`), HTML or cut short.
    """

    apply: bool = False
    """Apply the update first, as if nothing were wrong; an unknown redemption stays unknown."""
    then: Then = Then.REPLY
    status: int | None = None
    """The HTTP status; None leaves it as it would have been, and is 200 for an update that is not applied."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Added to the reply; they replace those of the same name."""
    body: bytes | None = None
    """The exact bytes; None leaves the body as it would have been: empty for an update that is not applied."""
    echo: Mapping[str, Any] = field(default_factory=dict)
    """Keys to replace in the JSON body that would have been; only where `body` is None and the update is applied."""
    chunk_delay: float = 0.0
    """Seconds to wait after every 16 bytes of the body; 0.0 sends it at once."""

    @classmethod
    def error(cls, *, status: int, code: int, message: str = "Invented by the sandbox", apply: bool = False) -> Fault:
        """Return the fault that answers with one error."""
        return cls(apply=apply, status=status, body=errors_body(code, message))

    def disturb(self, honest: Reply) -> Reply:
        """Return what goes out instead of the honest reply."""
        return Reply(
            status=self.status or honest.status,
            body=self._body(honest),
            headers={**honest.headers, **self.headers},
            then=self.then,
            chunk_delay=self.chunk_delay,
        )

    def _body(self, honest: Reply) -> bytes | None:
        if self.body is not None or self.then is not Then.REPLY:
            return self.body
        return orjson.dumps({**orjson.loads(honest.body or b"{}"), **self.echo}) if self.echo else honest.body


FaultHook = Callable[[UpdateRequest], Fault | None]
"""Asked once for every well-formed update when it arrives; None lets it pass."""


def script(plan: Mapping[str, Sequence[Fault | None]]) -> FaultHook:
    """Return a hook that gives a redemption's n-th update the n-th fault of its list, and lets all others pass."""

    def fault_of(update: UpdateRequest) -> Fault | None:
        faults = plan.get(update.identifier, ())
        return faults[update.attempt - 1] if update.attempt <= len(faults) else None

    return fault_of


MISHAPS: Final = (
    Fault.error(status=500, code=500),
    Fault.error(status=500, code=500, apply=True),
    Fault(then=Then.RESET),
    Fault(apply=True, then=Then.RESET),
    Fault(status=502, headers={"Content-Type": "text/html"}, body=b"<html><h1>502 Bad Gateway</h1></html>"),
    Fault(apply=True, body=b'{"id":396023,"programId":1098,"pointsRe'),
    Fault(status=429, headers={"Retry-After": "0"}, body=errors_body(429, "API rate limit exceeded")),
    Fault.error(status=503, code=4001, message="Authentication status unavailable"),
    Fault.error(status=400, code=521, message="Several actions are running for the same customer"),
)
"""What a random share of the updates meets; all of it passes when repeated."""


def draw(update: UpdateRequest, *, ratio: float, seed: int) -> Fault | None:
    """Return a mishap for a share `ratio` of the updates, else None.

    It depends on the redemption and the attempt, not on the order of arrival, so that a run with many workers meets
    the same mishaps every time.
    """
    if not ratio:
        return None
    chance = random.Random(f"{seed}/{update.identifier}/{update.attempt}")  # noqa: S311 - a rehearsal, not a secret
    return chance.choice(MISHAPS) if chance.random() < ratio else None
