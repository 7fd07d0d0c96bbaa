"""One correction → one outcome: attempts, slots of the pace, back-off, and patience while the platform is gone."""

from bulkredeem.delivery.delivering import (
    BACK_OFF_MOST,
    Delivery,
    Hooks,
)
from bulkredeem.delivery.gate import PROBE_FIRST, PROBE_MOST, Gate

__all__ = [
    "BACK_OFF_MOST",
    "PROBE_FIRST",
    "PROBE_MOST",
    "Delivery",
    "Gate",
    "Hooks",
]
