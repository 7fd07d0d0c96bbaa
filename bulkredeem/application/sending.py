"""In which order the rows of a stretch go out, and when a person, or a rule, is to look before the rest follows.

Canaries first, then what `--first` selects, then the others, each in the file's order. A row that goes out of the
file's order is marked in the journal before it is sent, as the reach covers all others: who goes on after a crash must
know which rows may have been applied.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import chain
from typing import Any, Final

from bulkredeem.application.planning import spread
from bulkredeem.application.preparing import Prepared
from bulkredeem.application.record import GUARDED
from bulkredeem.application.recorder import Recorder
from bulkredeem.application.rows import RowNumbers
from bulkredeem.application.terms import Terms
from bulkredeem.errors import GuardError
from bulkredeem.guard import ELSEWHERE, Guard
from bulkredeem.model import DONE, Correction, Job, Outcome
from bulkredeem.profile import remarks
from bulkredeem.summary import counted

_ECHOED: Final = ("billNumber", "billId", "redemptionPurpose", "customFields", "programId", "redemptionDate")
"""What a person wants to see of a canary's reply."""


class Sending:
    """Sends what is left of a prepared run."""

    def __init__(
        self, prepared: Prepared, recorder: Recorder, terms: Terms, run_pool: Callable[[Iterator[Job]], Awaitable[None]]
    ) -> None:
        """`run_pool` sends the jobs of an iterator, and returns when none of them is under way any more."""
        self._prepared = prepared
        self._settings = prepared.settings
        self._recorder = recorder
        self._stop = terms.stop
        self._ask = terms.ask
        self._say = terms.observer.remark
        self._run_pool = run_pool
        self._guard = Guard(most_refused=self._settings.most_refused)
        self._ahead = RowNumbers(())
        """The rows that go ahead of those before them just now."""
        self._gone_ahead: set[int] = set()
        self._yielded = RowNumbers(())
        self._alarm = False
        self._sent = 0
        self._has_tried_elsewhere = self._settings.no_guard
        self._canaries: dict[int, Outcome] | None = None
        self._echoes: dict[int, str] = {}

    async def run(self) -> None:
        """Send until nothing is left, or a stop was asked for."""
        await self._look_at_values()
        if self._settings.canary and not self._stop.requested:
            await self._send_canaries()
        if not self._stop.requested:
            await self._send_the_rest()

    async def cover(self, row_number: int) -> None:
        """Return when it is durable that this row may be sent."""
        if row_number in self._ahead:
            await self._recorder.mark(self._ahead, row_number)
        else:
            await self._recorder.reach(row_number)

    def note(self, outcome: Outcome) -> None:
        """Take note of what became of a row."""
        if self._canaries is not None:
            self._canaries[outcome.row_number] = outcome
        self._sent += bool(outcome.attempts)
        self._guard.note(outcome)
        if self._guard.accepts_too_little and not self._settings.no_guard:
            self.alarm(GuardError(self._guard.in_words()))

    @property
    def is_alarmed(self) -> bool:
        """Whether a guard has spoken, and no person has said that the run may go on, whatever ended it then."""
        return self._alarm

    def alarm(self, error: GuardError) -> None:
        """Stop, since the run as a whole looks wrong."""
        self._alarm = True
        self._stop.request(error)

    def echoed(self, correction: Correction, echo: Mapping[str, Any]) -> None:
        """Take note of what the platform says that a redemption is now."""
        if self._canaries is not None:
            shown = ", ".join(f"{name} {echo[name]}" for name in _ECHOED if echo.get(name) not in (None, "", []))
            self._echoes[correction.row_number] = shown

    async def _look_at_values(self) -> None:
        """Say what is unusual about the values; when that alarms, only a person's word lets the run go on."""
        findings = remarks(self._prepared.profile, self._prepared.earlier_profiles) if self._prepared.profile else ()
        for finding in findings:
            self._say(f"{finding.sentence}.")
        alarming = [finding.sentence for finding in findings if finding.is_alarming]
        if alarming and not self._settings.no_guard:
            await self._require(
                "The values are unusual, see above. Send them all the same?",
                GuardError(f"the values are unusual ({'; '.join(alarming)}); if they are right, go on with --no-guard"),
            )

    async def _require(self, question: str, error: GuardError, *, is_fine: bool = False) -> None:
        """Stop with this error unless a person agrees; where there is none, unless all is fine."""
        await self._hold()
        try:
            agreed = await self._ask(question) if self._ask else is_fine
        except Exception as exc:  # noqa: BLE001  whatever it is, without an answer nothing is sent
            self._stop.request(exc)
            return
        if agreed:
            await self._let_go()
        else:
            self.alarm(error)

    async def _hold(self) -> None:
        """Let nothing go on with the run by itself from now on, also if the process dies."""
        self._alarm = True
        await asyncio.to_thread(self._prepared.journal.note, {GUARDED: "yes"})

    async def _let_go(self) -> None:
        """Let it go on again."""
        self._alarm = False
        await asyncio.to_thread(self._prepared.journal.note, {GUARDED: ""})

    async def _send_canaries(self) -> None:
        """Send some rows before all others, show what became of them, and go on only if that is well."""
        chosen = [number for number in self._prepared.sample if number not in self._prepared.earlier.settled]
        # Who wants to look first must not find all the others sent because somebody stopped the run meanwhile.
        await self._hold()
        self._canaries = {}
        await self._send_some(chosen, self._settings.canary)
        canaries, self._canaries = self._canaries, None
        if self._stop.requested:
            return
        sent = {number: outcome for number, outcome in sorted(canaries.items()) if outcome.attempts}
        if not sent:
            await self._let_go()
            return
        for number, outcome in sent.items():
            reason = f" {outcome.error_code} ({outcome.reason})" if outcome.error_code else ""
            echo = self._echoes.get(number)
            self._say(f"Canary, row {number}: {outcome.status}{reason}{f': now {echo}' if echo else ''}.")
        bad = sum(outcome.status not in DONE for outcome in sent.values())
        left = self._prepared.info.rows - self._recorder.tally.recorded
        said_no = "somebody said no to the canaries"
        why = f"{bad} of {counted(len(sent), 'canary row')} were not accepted" if bad else said_no
        await self._require(f"Send the other {counted(left, 'row')}?", GuardError(why), is_fine=not bad)

    async def _send_some(self, numbers: list[int], most: int) -> None:
        """Send so many of these rows, spread over them; one that turns out to need no sending does not count."""
        left, before = list(numbers), self._sent
        while left and self._sent - before < most and not self._stop.requested:
            chosen = spread(left, most - (self._sent - before))
            await self._send_ahead(chosen)
            left = [number for number in left if number not in self._gone_ahead]

    async def _send_ahead(self, numbers: list[int]) -> None:
        self._ahead = RowNumbers(numbers)
        self._gone_ahead |= set(numbers)
        await self._run_pool(self._prepared.jobs(self._ahead.__contains__))
        self._ahead = RowNumbers(())

    async def _send_the_rest(self) -> None:
        """Send all others; hold on in between when nothing is accepted, and try some from elsewhere in the file."""
        first = self._ahead = self._prepared.first()
        in_order = self._prepared.jobs()
        if len(first):
            in_order = chain(
                self._prepared.jobs(first.__contains__), self._prepared.jobs(lambda number: number not in first)
            )
        jobs = (job for job in in_order if job.row_number not in self._gone_ahead)
        await self._run_pool(self._until_held(jobs))
        # What was under way may have been accepted since: then nothing has to be tried, and the rest is still to go.
        if self._is_held and not self._stop.requested:
            await self._try_elsewhere()
            self._ahead = first
        if not self._stop.requested:
            await self._run_pool(jobs)

    @property
    def _is_held(self) -> bool:
        return self._guard.accepts_nothing and not self._has_tried_elsewhere

    def _until_held(self, jobs: Iterator[Job]) -> Iterator[Job]:
        """Yield jobs as long as there is no doubt about the run as a whole; those not yielded are still in `jobs`."""
        while not self._is_held and (job := next(jobs, None)) is not None:
            self._yielded.add(job.row_number)
            yield job

    async def _try_elsewhere(self) -> None:
        """Try rows from elsewhere in the file, if there are any; stop when they are refused, too."""
        gone = (self._yielded, self._gone_ahead, self._prepared.earlier.settled)
        others = [number for number in self._prepared.sample if not any(number in each for each in gone)]
        before = self._sent
        await self._send_some(others, ELSEWHERE)
        self._has_tried_elsewhere = True
        if self._sent > before and self._guard.accepts_nothing:
            self.alarm(GuardError(self._guard.in_words()))
