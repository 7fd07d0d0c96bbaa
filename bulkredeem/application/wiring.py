"""What settings come to: the client, the gate, deliveries and the pace of a run, or of whoever only asks."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from bulkredeem import __version__
from bulkredeem.application.pacing import pace_of
from bulkredeem.application.terms import Terms
from bulkredeem.client import Authentication, Basic, Client, OAuth, Slot, Way, way_to
from bulkredeem.delivery import Delivery, Gate, Hooks
from bulkredeem.errors import ConfigurationError
from bulkredeem.model import Answer, Correction
from bulkredeem.outage import Watch
from bulkredeem.pace import Pace, gap_of
from bulkredeem.processor import LINE
from bulkredeem.settings import Settings

LEAST_STRIDE: Final = 8
"""Rows by which the journal's reach is raised at least: a commit for each row would be one too many."""
MOST_STRIDE: Final = 1_000
"""Rows by which the journal's reach is raised at most: so many would have to be looked upon as sent after a crash."""
MOMENT: Final = 0.02
"""Seconds whose rows wait in line at high rates: as long as a busy event loop may take for a turn."""
GAP_OF_AUTO: Final = 0.001
"""Seconds between two requests that a search for the limit may come to; only the line must know it beforehand."""


def client_for(settings: Settings, *, wall_clock: Callable[[], float] = time.time) -> Client:
    """Return the client these settings want; `wall_clock` is as `Client` wants it.

    Raises ConfigurationError for what is missing or no use.
    """
    settings.require_for_sending()
    return Client(
        settings.base_url,
        _authentication(settings),
        timeout=settings.timeout,
        max_connections=settings.max_workers,
        way=way_for(settings),
        wall_clock=wall_clock,
        user_agent=f"bulkredeem/{__version__}",
    )


def way_for(settings: Settings) -> Way:
    """Return the way to the platform; raise ConfigurationError when it cannot be gone as these settings want it.

    A sandbox is on this machine: no proxy could lead there.
    """
    return way_to(
        settings.base_url,
        ca_bundle=settings.ca_bundle,
        client_certificate=settings.client_certificate,
        client_key=settings.client_key,
        proxies={} if settings.is_loopback else None,
    )


def _authentication(settings: Settings) -> Authentication:
    attribution = _attribution(settings)
    renewed = partial(_renewed_password, settings)
    password = settings.resolve_password()
    try:
        if settings.auth == "oauth":
            return OAuth(
                settings.username, password.get_secret_value(), attribution=attribution, renewed_secret=renewed
            )
        return Basic(settings.username, password.get_secret_value(), renewed_password=renewed)
    except UnicodeEncodeError:
        # From None: the error holds the password.
        raise ConfigurationError("The user name or the password is not UTF-8 text.") from None


def _attribution(settings: Settings) -> tuple[str, str] | None:
    """Return whom to attribute updates to; raise ConfigurationError when that is said by halves, or to no purpose."""
    attribution = (settings.attribution_entity_type.strip(), settings.attribution_code.strip())
    if not any(attribution):
        return None
    if settings.auth != "oauth":
        raise ConfigurationError("attribution_entity_type and attribution_code make sense with --auth oauth only.")
    if not all(attribution):
        raise ConfigurationError("attribution_entity_type and attribution_code go together: set both, or none.")
    return attribution


def _renewed_password(settings: Settings) -> str | None:
    """Read a password file once more; None when it holds no other password than before."""
    password = settings.reread_password()
    return password.get_secret_value() if password else None


def gate_for(
    settings: Settings, terms: Terms, *, remaining: Callable[[], int], on_outage: Callable[[bool], None]
) -> Gate:
    """Return the gate that these settings want; `remaining` and `on_outage` are as `Gate` wants them."""
    return Gate(
        Watch(),
        width=settings.max_workers,
        outage_timeout=settings.outage_seconds,
        remaining=remaining,
        sleep=terms.stop.sleep,
        on_outage=on_outage,
    )


def delivery_for(
    attempt: Callable[[Correction], Awaitable[Answer]],
    pace: Pace,
    gate: Gate,
    settings: Settings,
    terms: Terms,
    hooks: Hooks,
    *,
    slot: Slot,
) -> Delivery:
    """Return the delivery that these settings want, of updates or of questions; `slot` is as `Delivery` wants it."""
    return Delivery(
        attempt,
        pace,
        gate,
        max_attempts=settings.max_attempts,
        sleep=terms.stop.sleep,
        proceed=terms.stop.check,
        wall_clock=terms.wall_clock,
        hooks=hooks,
        slot=slot,
    )


@contextmanager
def pace_for(settings: Settings, terms: Terms) -> Iterator[tuple[Pace, tuple[str, ...]]]:
    """Give the command's pace, or one of its own, and what a person should know about it."""
    if terms.pace is not None:
        yield terms.pace, terms.remarks
    else:
        with pace_of(settings, sleep=terms.stop.sleep) as found:
            yield found


def stride_of(settings: Settings) -> int:
    """Return by how many rows the reach is raised: about a second's, so that it costs one commit a second."""
    a_second = 1 / gap if (gap := gap_of(settings.ceiling)) else math.inf
    return math.ceil(min(MOST_STRIDE, max(LEAST_STRIDE, a_second)))


def line_of(settings: Settings) -> int:
    """Return how many rows may wait to be sent: those of a moment, and all that have a worker when nothing limits."""
    gap = GAP_OF_AUTO if settings.ceiling.is_auto else gap_of(settings.ceiling)
    return max(LINE, math.ceil(MOMENT / gap)) if gap else settings.max_workers
