"""When requests may go: evenly spaced slots of a key, no bursts, pauses, and what the platform was seen to allow.

The schedule is absolute: the n-th slot of an unbroken stretch is n intervals after its first, so a late wake-up does
not push all later requests back. Time that nobody used is gone; it never becomes a burst. A slot is reserved when it is
waited for, so that runs that share a key take turns.
"""

from bulkredeem.pace.limit import PAUSE_LEAST, PAUSE_MOST, Teaches
from bulkredeem.pace.pacing import Memory, Pace, Store
from bulkredeem.pace.state import HEADROOM, LATENESS_MADE_GOOD, KeyState, gap_of

__all__ = [
    "HEADROOM",
    "LATENESS_MADE_GOOD",
    "PAUSE_LEAST",
    "PAUSE_MOST",
    "KeyState",
    "Memory",
    "Pace",
    "Store",
    "Teaches",
    "gap_of",
]
