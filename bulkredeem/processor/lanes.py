"""Which correction may start now: never two of one redemption, never two of one customer.

Corrections that share a redemption or a customer stand in one lane and go in the file's order, one after another; all
others overtake them. The platform locks a customer during an update, and an older value must not land after a newer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from bulkredeem.model import Correction, Job


class Lanes:
    """Hands out jobs from one iterator; pure bookkeeping without waiting, O(1) for each job.

    A job is a correction, or a row that is not sent, which shares nothing with anybody. Corrections that must wait are
    parked; when `look_ahead` of them are, nothing more is read until one of them can go, so that a file that is full of
    one customer does not fill the memory.
    """

    def __init__(self, jobs: Iterator[Job], *, look_ahead: int) -> None:
        """Read nothing yet."""
        self._jobs = jobs
        self._look_ahead = look_ahead
        self._lanes: dict[tuple[str, ...], deque[Correction]] = {}
        self._keys: dict[int, tuple[tuple[str, ...], ...]] = {}
        """Row number → the lanes it stands in, of those that stand in any."""
        self._ready: deque[Correction] = deque()
        self._parked = 0
        self._exhausted = False

    @property
    def finished(self) -> bool:
        """Whether everything was handed out."""
        return self._exhausted and not self._parked and not self._ready

    def take(self) -> Job | None:
        """Return a job that may start now, or None when there is none before something is released."""
        if self._ready:
            return self._ready.popleft()
        while self._parked < self._look_ahead and not self._exhausted:
            job = next(self._jobs, None)
            if job is None:
                self._exhausted = True
            elif not isinstance(job, Correction) or self._enter(job):
                return job
        return None

    def release(self, correction: Correction) -> None:
        """Say that a correction is no longer under way; those behind it may become free."""
        for key in self._keys.pop(correction.row_number):
            lane = self._lanes[key]
            lane.popleft()
            if not lane:
                del self._lanes[key]
            elif self._leads_everywhere(lane[0]):
                self._parked -= 1
                self._ready.append(lane[0])

    def _enter(self, correction: Correction) -> bool:
        """Put a correction at the end of its lanes; say whether it may start at once."""
        keys = (correction.redemption_key, correction.customer_key)
        self._keys[correction.row_number] = keys
        leads = True
        for key in keys:
            lane = self._lanes.get(key)
            if lane is None:
                self._lanes[key] = deque((correction,))
            else:
                lane.append(correction)
                leads = False
        self._parked += not leads
        return leads

    def _leads_everywhere(self, correction: Correction) -> bool:
        return all(self._lanes[key][0] is correction for key in self._keys[correction.row_number])
