"""One correction → one outcome: attempts, slots of the pace, back-off, and patience while the platform is gone.

Beside it, what a redemption holds now: read back with the same patience, at the same pace.
"""

from bulkredeem.delivery.delivering import (
    BACK_OFF_MOST,
    Delivery,
    Hooks,
    Limit,
)
from bulkredeem.delivery.gate import PROBE_FIRST, PROBE_MOST, Gate
from bulkredeem.delivery.reading import PAGE_SIZE, NotRead, Reader

__all__ = [
    "BACK_OFF_MOST",
    "PAGE_SIZE",
    "PROBE_FIRST",
    "PROBE_MOST",
    "Delivery",
    "Gate",
    "Hooks",
    "Limit",
    "NotRead",
    "Reader",
]
