"""What is known of a key, by all runs that use it: when its next slot is free, and what the platform allows it.

Everything here is a pure rule from one state to the next, so that whoever keeps the state (the memory of a process, a
file that processes share) needs to know nothing but how to change it for one at a time. Moments are seconds on one
monotonic clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from bulkredeem.model import Ceiling

LATENESS_MADE_GOOD: Final = 0.005
"""Seconds by which a slot may be used late without moving those after it: what timers and a busy loop cost."""
HEADROOM: Final = 0.002
"""By how much of a rate's period its slots are further apart than the rate says, all of them together, but at least by
`LATENESS_MADE_GOOD`. 100 requests at 100/min then take 60.12 s: the platform's minute holds no 101st, also when a
request arrives up to a tenth of a second early or late."""

RESERVED: Final = 0.002
"""Seconds whose slots are reserved at once: at 5,000/s asking for each would cost more than sending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """What is known of a key at a moment."""

    due: float = 0.0
    """When the next slot is free; a moment that has passed means now."""
    paused_until: float = 0.0
    """When the pause that the platform asked for ends; a moment that has passed means that there is none."""
    peak: float = math.inf
    """Requests a second at which the platform began to throttle; infinite when that was never seen."""
    taken: int = 0
    """Slots taken since then."""
    grown: int = 0
    """Those of them that nothing but the learnt rate held back: so far has it crept up again."""
    refusals: int = 0
    """Throttled tries since the last one that was not; 0 when requests flow."""
    refused_since: float = 0.0
    """When the first of them was throttled that was not just one row's."""
    refused_rate: float = math.inf
    """Requests a second that went then; infinite when there was no such one."""
    refused_at: float = 0.0
    """When the last of them was. What was sent before it says nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Moments that were reserved, one after another: a single one, but at high rates."""

    at: float
    """A request may start from here on."""
    gap: float
    """Seconds to the next."""
    left: int
    """How many there are, this one among them."""
    slack: float
    """Seconds that each may be used later than `LATENESS_MADE_GOOD` allows; those after them were moved by as much."""
    next_due: float
    """When the slot after the last of them is free."""

    @property
    def until(self) -> float:
        """The moment after which a request may not start in this slot."""
        return self.at + LATENESS_MADE_GOOD + self.slack

    def rest(self) -> Slots | None:
        """Return what is left when the first of them is used; None for nothing."""
        return replace(self, at=self.at + self.gap, left=self.left - 1) if self.left > 1 else None


def gap_of(ceiling: Ceiling) -> float:
    """Return the seconds from one slot to the next at the tightest of the rates; 0.0 without any.

    Evenly spaced requests that keep the tightest rate keep all others, too.
    """
    return max(
        (
            rate.interval + max(HEADROOM * rate.per_seconds, LATENESS_MADE_GOOD) / rate.requests
            for rate in ceiling.rates
        ),
        default=0.0,
    )


def reserve(
    state: KeyState, now: float, gap: float, *, slack: float = 0.0, grows: bool = False
) -> tuple[KeyState, Slots]:
    """Reserve the next free slots, `gap` seconds apart: as many as `RESERVED` seconds hold, and at least one.

    Time that nobody used is gone: a slot that lies more than `LATENESS_MADE_GOOD` in the past is now. `grows` says that
    nothing but what was learnt holds the requests back.
    """
    at = max(state.due if state.due >= now - LATENESS_MADE_GOOD else now, state.paused_until)
    left = max(1, int(RESERVED / gap)) if gap else 1
    slots = Slots(at=at, gap=gap, left=left, slack=slack, next_due=at + left * gap + slack)
    return replace(state, due=slots.next_due, taken=state.taken + left, grown=state.grown + left * grows), slots


def is_last(state: KeyState, slots: Slots) -> bool:
    """Say whether nobody has reserved behind these."""
    return state.due == slots.next_due


def give_back(state: KeyState, slots: Slots, *, grew: bool = False) -> KeyState:
    """Return slots that were not used; `grew` is what `grows` was. They are lost when others were reserved since."""
    if not is_last(state, slots):
        return state
    taken, grown = max(0, state.taken - slots.left), max(0, state.grown - slots.left * grew)
    return replace(state, due=slots.at, taken=taken, grown=grown)


def pause(state: KeyState, until: float) -> KeyState:
    """Let nobody start before a moment; a pause that lasts longer stays."""
    return replace(state, paused_until=max(state.paused_until, until))


def postpone(state: KeyState, until: float) -> KeyState:
    """Let the next free slot be no earlier than a moment: what queues inside the platform is worked off meanwhile."""
    return replace(state, due=max(state.due, until))
