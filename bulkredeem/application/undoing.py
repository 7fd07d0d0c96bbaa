"""Taking a run back: a new run that sets each field to what it was before, if it is still as the older run left it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from bulkredeem.application.concluding import Run
from bulkredeem.application.intake import SNAPSHOT, judged_rows
from bulkredeem.application.opening import Opened, open_run, require_ended
from bulkredeem.application.preparing import Content, Prepared, prepare_new
from bulkredeem.application.resuming import at_its_system, settings_for
from bulkredeem.application.rows import RowNumbers, in_step, outcomes_of
from bulkredeem.application.running import carry_out
from bulkredeem.application.shelf import require_free
from bulkredeem.application.terms import Terms, Turn
from bulkredeem.application.turn import turn_of
from bulkredeem.application.wiring import client_for
from bulkredeem.client import Client
from bulkredeem.columns import ColumnMap
from bulkredeem.errors import ReportsFolderError, RunNotFoundError
from bulkredeem.model import (
    CUSTOM_FIELD_PREFIX,
    EXPECTED_PREFIX,
    Column,
    Correction,
    IdentifierChoice,
    Problem,
    Status,
)
from bulkredeem.settings import Settings
from bulkredeem.snapshot import SnapshotWriter
from bulkredeem.wholefile import opened_to_write, sync_folder

NO_PREVIOUS_VALUE: Final = "NO_PREVIOUS_VALUE"
PREVIOUS_WAS_EMPTY: Final = "PREVIOUS_WAS_EMPTY"
_NAMED: Final = 10
"""Rows that a remark names."""
_NOT_RESTORED: Final = "not_restored"
"""The column of an undo's rows that names the fields which were empty before: nobody knows how to empty one."""
_WHY: Final = {
    NO_PREVIOUS_VALUE: "what the fields were before was not recorded: mend the redemption by hand",
    PREVIOUS_WAS_EMPTY: "the fields were empty before, and the platform knows no way to empty them: mend it by hand",
}
_ENTITY: Final = (Column.ENTITY_TYPE, Column.IDENTIFIER_TYPE, Column.IDENTIFIER_VALUE)
_FIELDS: Final = (Column.BILL_NUMBER, Column.BILL_ID, Column.PURPOSE)


async def undo_run(folder: Path, now: Settings, flags: Mapping[str, Any], terms: Terms) -> Run:
    """Take back what a run at its end has applied, or may have, in a new run.

    Raises what `retry_run` raises, and RunNotFoundError also for a run that has not recorded what it replaced.
    """
    require_free(folder)
    async with turn_of(now.reports, at_its_system(folder, now), terms) as turn:
        prepared, client = await asyncio.to_thread(_prepare, folder, now, flags, terms, turn)
        return await carry_out(prepared, client, terms)


def _prepare(
    folder: Path, now: Settings, flags: Mapping[str, Any], terms: Terms, turn: Turn
) -> tuple[Prepared, Client]:
    opened = open_run(folder, terms.wall_clock())
    with opened.resources:
        require_ended(opened)
        settings, remarks = settings_for(opened, now, flags)
        if next(opened.journal.previous(), None) is None:
            raise RunNotFoundError(_nothing_known(folder, has_looked=settings.record_previous))
        client = client_for(settings, wall_clock=terms.wall_clock)
        undoing = _Undoing(opened=opened, settings=settings)
        prepared = prepare_new(_as_undo(settings), turn, undoing.write_snapshot, terms.stop.check, terms.wall_clock())
        return replace(prepared, remarks=(*prepared.remarks, *remarks, *undoing.remarks())), client


def _nothing_known(folder: Path, *, has_looked: bool) -> str:
    """Say why a run without a single value from before it cannot be taken back."""
    if not has_looked:
        return f"{folder} has not recorded what it replaced (--record-previous), so nothing of it can be restored."
    return (
        f"{folder} looked at what it would replace, and the platform showed nothing: nothing was there before, or"
        " could be seen. A field cannot be emptied again, so nothing of it can be restored."
    )


def _as_undo(settings: Settings) -> Settings:
    """Return the settings by which the rows of an undo are read: they are exact, and all are meant."""
    changes = {
        "identifier": IdentifierChoice.AUTO,
        "trust_ids": True,
        "default_country_code": "",
        "existing": "overwrite",
        "record_previous": True,
        "only": "",
        "first": "",
        "move_done": None,
    }
    return settings.model_copy(update=changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Undoing:
    """Writes the rows that take a run back."""

    opened: Opened
    settings: Settings
    in_part: list[int] = field(default_factory=list)
    """The rows of which some fields cannot be restored, at most `_NAMED` of them."""

    @property
    def _custom_fields(self) -> tuple[str, ...]:
        return tuple(name for name in self.opened.columns.used if name.startswith(CUSTOM_FIELD_PREFIX))

    @property
    def _names(self) -> tuple[str, ...]:
        """The fields that the run may have set."""
        return (*_FIELDS, *self._custom_fields)

    def write_snapshot(self, folder: Path) -> Content:
        """Write a row for each that was applied, or may have been: what it takes back, or why it cannot be."""
        identified = (Column.REDEMPTION_ID, Column.EXTERNAL_REFERENCE_NUMBER, *_ENTITY)
        used = (*identified, *self._names, *(EXPECTED_PREFIX + name for name in self._names))
        headers = (*map(str, used), _NOT_RESTORED)
        try:
            rows = self._write(folder / SNAPSHOT, headers)
            sync_folder(folder)
        except OSError as exc:
            raise ReportsFolderError(f"{folder / SNAPSHOT} cannot be written: {exc.strerror or exc}.") from exc
        info = self.opened.info
        return Content(
            path=info.path,
            sha256=info.sha256,
            as_of=info.as_of,
            rows=rows,
            columns=ColumnMap(headers=headers, used={str(name): index for index, name in enumerate(used)}),
            undo_of=info.run_id,
        )

    def _write(self, target: Path, headers: tuple[str, ...]) -> int:
        rows = 0
        with opened_to_write(target) as file:
            writer = SnapshotWriter(file, headers)
            for correction, kept, previous in self._applied():
                # What another row of the run had set to the same before is that row's to take back.
                changed = {
                    field: value
                    for field, value in correction.values.items()
                    if field not in kept and previous.get(field) != value
                }
                if changed:
                    self._write_row(writer, correction, changed, previous)
                    rows += 1
            file.flush()
            os.fsync(file.fileno())
        return rows

    def _write_row(
        self, writer: SnapshotWriter, correction: Correction, values: Mapping[str, str], previous: Mapping[str, str]
    ) -> None:
        """Write what sets these fields back, or why nothing does."""
        restored = {field: previous[field] for field in values if previous.get(field)}
        if not restored:
            code = PREVIOUS_WAS_EMPTY if previous else NO_PREVIOUS_VALUE
            whose = correction.redemption_id or correction.external_reference_number
            writer.add_damaged(
                correction.row_number, Problem(code=code, column="", message=_WHY[code], detail=f"redemption {whose}")
            )
            return
        named = (
            correction.redemption_id,
            correction.external_reference_number,
            correction.entity_type,
            correction.identifier_type,
            correction.identifier_value,
        )
        old = (restored.get(name, "") for name in self._names)
        ours = (values[name] if name in restored else "" for name in self._names)
        empty_before = ", ".join(name for name in values if name not in restored)
        if empty_before and len(self.in_part) < _NAMED:
            self.in_part.append(correction.row_number)
        writer.add(correction.row_number, (*named, *old, *ours, empty_before))

    def remarks(self) -> tuple[str, ...]:
        """Say of which rows not all can be restored, once they are written."""
        if not self.in_part:
            return ()
        rows = ", ".join(map(str, self.in_part)) + (", …" if len(self.in_part) == _NAMED else "")
        words = (
            f"Not all can be restored of rows {rows}: some of their fields were empty before. The column"
            f" {_NOT_RESTORED} of results.csv names them: mend those by hand."
        )
        return (words,)

    def _applied(self) -> Iterator[tuple[Correction, tuple[str, ...], Mapping[str, str]]]:
        """Yield each row that was applied, or may have been, with the fields it kept and those before it."""
        journal = self.opened.journal
        outcomes, previous = outcomes_of(journal), in_step(journal.previous())
        doubted = RowNumbers(journal.doubted())
        for job in judged_rows(self.opened.folder, self.opened.columns, self.settings.rules):
            outcome, before = outcomes(job.row_number), previous(job.row_number)
            was_applied = outcome is not None and outcome.status in {Status.SUCCESS, Status.IN_DOUBT}
            if (was_applied or job.row_number in doubted) and isinstance(job, Correction):
                yield job, outcome.kept if outcome else (), before or {}
