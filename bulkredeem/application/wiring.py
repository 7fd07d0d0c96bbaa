"""What settings come to: the client, the gate, deliveries and the pace of a run, or of whoever only asks."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from bulkredeem.application.pacing import pace_of
from bulkredeem.application.terms import Terms
from bulkredeem.client import Client, basic_authorization
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


def client_for(settings: Settings) -> Client:
    """Return the client these settings want; raise ConfigurationError with all that is missing for one."""
    settings.require_for_sending()
    return Client(
        settings.base_url,
        _authorization(settings.username, settings.resolve_password().get_secret_value()),
        timeout=settings.timeout,
        max_connections=settings.max_workers,
        renewed_authorization=partial(_renewed_authorization, settings),
    )


def _renewed_authorization(settings: Settings) -> str | None:
    """Read a password file once more; None when it holds no other password than before."""
    password = settings.reread_password()
    return _authorization(settings.username, password.get_secret_value()) if password else None


def _authorization(username: str, password: str) -> str:
    try:
        return basic_authorization(username, password)
    except UnicodeEncodeError:
        # From None: the error holds the password.
        raise ConfigurationError("The user name or the password is not UTF-8 text.") from None


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
) -> Delivery:
    """Return the delivery that these settings want, of updates or of questions."""
    return Delivery(
        attempt,
        pace,
        gate,
        max_attempts=settings.max_attempts,
        sleep=terms.stop.sleep,
        proceed=terms.stop.check,
        wall_clock=terms.wall_clock,
        hooks=hooks,
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
