"""Reading many redemptions back without sending anything: as fast, as gently and as patiently as rows are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bulkredeem.application.terms import Terms
from bulkredeem.application.wiring import delivery_for, gate_for, pace_for
from bulkredeem.client import Client
from bulkredeem.delivery import Hooks, Limit, NotRead, Reader
from bulkredeem.model import Correction, Invalid, Outcome, Skipped, Status
from bulkredeem.outage import ROWS
from bulkredeem.pace import Pace
from bulkredeem.processor import Pool
from bulkredeem.readback import Current
from bulkredeem.settings import Settings
from bulkredeem.summary import counted


async def ask_all(
    corrections: Iterator[Correction],
    rows: int,
    note: Callable[[Correction, Current | NotRead], None],
    client: Client,
    settings: Settings,
    terms: Terms,
) -> int:
    """Read back what each of so many corrections names, tell `note` of each, and return how many requests that took.

    `note` hears of them in any order, and only of those that were asked about before a stop. Raises nothing that
    happens meanwhile: it becomes the stop's cause.
    """
    with pace_for(settings, terms) as (pace, remarks):
        for remark in (*remarks, *([f"Reading back {counted(rows, 'row')}."] if rows else [])):
            terms.observer.remark(remark)
        asking = _Asking(rows, note, client, pace, settings, terms)
        async with client:
            await asking.run(corrections)
    return asking.requests


class _Asking:
    """Asks about the rows of one file or run."""

    def __init__(
        self,
        rows: int,
        note: Callable[[Correction, Current | NotRead], None],
        client: Client,
        pace: Pace,
        settings: Settings,
        terms: Terms,
    ) -> None:
        self._left = rows
        self._note = note
        self._stop = terms.stop
        # Three at least, as for rows that are sent: one in trouble must not be the only one that can ask.
        self._workers = max(ROWS, settings.max_workers)
        gate = gate_for(settings, terms, remaining=lambda: self._left, on_outage=terms.observer.outage)
        hooks = Hooks(paused=terms.observer.paused)
        heed = Limit(pace, gate, hooks.paused).heed_aside
        slot = client.authenticated(pace.slot, proceed=terms.stop.check, heed=heed)
        self._reader = Reader(
            client.read_back, lambda attempt: delivery_for(attempt, pace, gate, settings, terms, hooks, slot=slot)
        )
        self._client = client

    @property
    def requests(self) -> int:
        """Everything on the wire."""
        return self._reader.requests + self._client.asked_aside

    async def run(self, corrections: Iterator[Correction]) -> None:
        """Return when all were asked about, or when a stop was asked for and nothing is under way any more."""
        pool = Pool(self._ask, _record_nothing, stop=self._stop, max_workers=self._workers)
        await pool.run(corrections)

    async def _ask(self, correction: Correction, sent: Callable[[], None]) -> Outcome:
        # A question puts nothing in doubt: whoever waits for a slot need not keep the next one from coming.
        sent()
        self._note(correction, await self._reader.current(correction))
        self._left -= 1
        return Outcome(row_number=correction.row_number, status=Status.PENDING)


async def _record_nothing(_: Outcome | Invalid | Skipped) -> None:
    """Let the pool's word on a row go: what was found of it was noted already."""
