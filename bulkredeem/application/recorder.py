"""Where every outcome of a run passes: into the journal, the count, the log, and before the eyes of who watches.

The journal is the only record; the rest is told. Outcomes become durable in commit groups, synced in a thread, so that
no worker waits for the disk unless the disk falls behind. Before a row is sent for the first time, the journal's
reach covers it: should the process die, whoever goes on knows which rows may have been applied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from bulkredeem.application.rows import RowNumbers
from bulkredeem.journal import Journal
from bulkredeem.model import Invalid, Outcome, Skipped, Status
from bulkredeem.runlog import RunLog
from bulkredeem.summary import Tally

COMMIT_INTERVAL: Final = 0.04
"""Seconds between commit groups: with the fsync, an outcome waits 50 ms at most on a healthy disk."""
COMMIT_ROWS: Final = 1_000
"""Outcomes that may wait for a commit before recording waits too, so that memory stays bounded."""


class Recorder:
    """Records the outcomes of one run."""

    def __init__(
        self,
        journal: Journal,
        log: RunLog,
        *,
        watch: Callable[[Outcome], None],
        wall_clock: Callable[[], float],
        tally: Tally | None = None,
        stride: int = 1,
        doubted_at: float = 0.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Record on.

        `watch` hears of each outcome; `wall_clock` gives seconds since the epoch. `tally` holds what was recorded
        before; None for a new run. The reach is raised by `stride` rows at a time. `doubted_at`, in seconds since the
        epoch, is when rows that stay in doubt without being sent again may have been applied.
        """
        self.tally = tally or Tally()
        self.marked = RowNumbers(())
        """The rows that were said to go ahead of others."""
        self._journal = journal
        self._stride = stride
        self._doubted_at = doubted_at
        self._reach = 0
        self._asked = 0
        self._log = log
        self._watch = watch
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._writing = asyncio.Lock()
        self._open = True

    async def reach(self, row_number: int) -> None:
        """Return when it is durable that this row may be sent. Raises JournalError when the disk does not take it."""
        self._asked = max(self._asked, row_number)
        if row_number <= self._reach:
            return
        async with self._writing:
            if row_number > self._reach:
                await self._write(reach=row_number + self._stride)

    async def mark(self, ahead: RowNumbers, row_number: int) -> None:
        """Return when it is durable that this row may be sent, which goes ahead of others; so may those behind it.

        Raises JournalError when the disk does not take it.
        """
        if row_number in self.marked:
            return
        async with self._writing:
            if row_number not in self.marked:
                numbers = ahead.after(row_number, self._stride)
                await asyncio.to_thread(self._journal.doubt, numbers)
                for number in numbers:
                    self.marked.add(number)

    async def record(self, result: Outcome | Invalid | Skipped) -> None:
        """Record the result of a row. Raises JournalError when the disk does not take what waits."""
        outcome = (
            result
            if isinstance(result, Outcome)
            else outcome_of(result, now=self._wall_clock(), doubted_at=self._doubted_at)
        )
        self._journal.append(outcome)
        self.tally.add(outcome)
        self._log.outcome(outcome)
        self._watch(outcome)
        if self._journal.waiting >= COMMIT_ROWS:
            await self.commit()

    async def keep_committing(self, on_failure: Callable[[Exception], None]) -> None:
        """Commit again and again until `close`; tell of the first failure and end."""
        while self._open:
            await self._sleep(COMMIT_INTERVAL)
            try:
                await self.commit()
            except Exception as exc:  # noqa: BLE001  an error nobody hears of would let a run go on unrecorded
                on_failure(exc)
                return

    async def commit(self) -> None:
        """Make everything recorded so far durable, one commit at a time, and write the log's lines.

        The reach goes along when rows have come half the way to it: then hardly one ever waits for it.
        """
        async with self._writing:
            is_near = self._asked + self._stride / 2 > self._reach > 0
            await self._write(reach=self._asked + self._stride if is_near else None)
            self._log.flush()

    async def _write(self, *, reach: int | None) -> None:
        """Write here, which SQLite is quick at, and wait for the disk in a thread: it needs no Python meanwhile.

        Written in a thread, row after row would have the two wrestle for Python's lock, which costs more than the rows.
        """
        if self._journal.write(reach=reach):
            await asyncio.to_thread(self._journal.sync)
            self._reach = reach or self._reach

    def close(self) -> None:
        """Let `keep_committing` end after its next commit."""
        self._open = False


def outcome_of(result: Invalid | Skipped, *, now: float, doubted_at: float = 0.0) -> Outcome:
    """Return the outcome of a row that was never sent: why it need not be, or all its problems in one line.

    `doubted_at` is when a row that stays in doubt may have been applied; 0 for now. Both in seconds since the epoch.
    """
    if isinstance(result, Skipped):
        return Outcome(
            row_number=result.row_number,
            status=result.status,
            error_code=result.code,
            error_message=result.message,
            reason=result.message,
            # A doubt is as old as the try that left it: what others have set since comes after it.
            finished_at=(doubted_at if result.status is Status.IN_DOUBT else 0.0) or now,
        )
    problems = result.problems
    return Outcome(
        row_number=result.row_number,
        status=Status.INVALID,
        error_code="; ".join(problem.code for problem in problems),
        error_message="; ".join(f"{p.message} ({p.detail})" if p.detail else p.message for p in problems),
        reason="; ".join(problem.message for problem in problems),
        finished_at=now,
    )
