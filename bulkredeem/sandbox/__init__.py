"""A local server that behaves like the platform, for rehearsals, the demo and tests; it also misbehaves to order.

It answers the update of a redemption, the read-back of a customer's redemptions and the exchange of key and secret for
a token on 127.0.0.1, and remembers what was applied. It is our reading of the public documents, not the platform: where
those are silent (which HTTP status goes with a code, what a throttled client sees, how an offset counts) it gives the
likeliest answer. What works here may still fail there. It invents its redemptions: every identifier exists, save those
starting with `NOPE` (unknown) and `GONE` (reversed), in any case.
"""

from __future__ import annotations

from bulkredeem.sandbox.faults import Fault, FaultHook, script
from bulkredeem.sandbox.replies import Then, errors_body
from bulkredeem.sandbox.server import Sandbox
from bulkredeem.sandbox.values import Applied, Redemption, UpdateRequest

__all__ = ["Applied", "Fault", "FaultHook", "Redemption", "Sandbox", "Then", "UpdateRequest", "errors_body", "script"]
