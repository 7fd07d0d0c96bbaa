"""The rows of a run that are not done, in a file for each group: whoever mends them gets their own rows and no others.

Made from journal and snapshot, as every report is, into a folder of its own below the run's: `split/by-reason`. The
next time into `split/by-reason-2`, since somebody may have begun to mend what the first one holds. Each file has the
form of `not_done.csv` and can be run where it lies.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from bulkredeem.application.opening import Opened, open_run
from bulkredeem.application.record import JOURNAL
from bulkredeem.application.rows import RowNumbers
from bulkredeem.codes import MendBy
from bulkredeem.columns import RESULT_HEAD, ColumnMap, canonical_name, listed, shown_header
from bulkredeem.errors import ConfigurationError, ReportError
from bulkredeem.formulas import unescape
from bulkredeem.model import Status
from bulkredeem.report import write_results
from bulkredeem.snapshot import has_byte_order_mark
from bulkredeem.summary import NOT_DONE, UNFINISHED, counted, mender_of_pending
from bulkredeem.wholefile import make_folder, opened_to_read, opened_to_write, require_folder, sync_folder

SPLIT: Final = "split"
"""The folder, in the run's, of all that was split."""
MOST_FILES: Final = 1_000
"""Groups of one split: more are no work for people, and a column of identifiers was not meant."""
MOST_OF_A_NAME: Final = 60
"""Characters of a group's name that its file's name repeats."""
_ASIDE: Final = ".part"
"""The folder, beside the splits, of what is being written."""
_HELD_BACK: Final = 2_000
"""Rows that are written at once, so that one file is open at a time, however many groups there are."""
_LISTED: Final = 40
"""Columns that a sentence names."""
_STATUS, _CODE, _MEND_BY, _REASON = map(RESULT_HEAD.index, ("status", "error_code", "mend_by", "reason"))
_NOT_IN_A_NAME: Final = re.compile("[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows that are not done and have something in common."""

    name: str
    """What they have in common, as the reports say it; empty when nothing stands there."""
    rows: int
    mend_by: tuple[MendBy, ...]
    """Who mends them, the most rows first."""
    codes: tuple[str, ...]
    """Their error codes, the most rows first."""
    path: Path
    """The file of these rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What a run's rows that are not done were split into."""

    run: Path
    """The run's folder."""
    by: str
    """What the groups have in common, as it was asked for."""
    groups: tuple[Group, ...]
    """The largest first; none when all rows are done."""
    columns: ColumnMap
    """How the run has used its columns."""
    left_out: int
    """Pending rows of a run that is unfinished: going on with it sends them."""


def split_run(folder: Path, by: str, now: float) -> Split:
    """Write a file for each group of a run's rows that are not done; for no rows, none.

    `by` is `reason` (with the error code), `mend_by` or another column of the reports; or a column of the run's file,
    by its header or by its canonical name. Raises BusyError when a process works on the run, JournalUnreadableError,
    ConfigurationError for a column that is not there and for more than 1,000 groups, and ReportError when the disk does
    not take the files.
    """
    opened = open_run(folder, now)
    with opened.resources, _scratch(folder) as scratch:
        rows = _Rows(opened, by, scratch)
        found = rows.grouped()
        names = _file_names(found)
        if found:
            _write_files(rows, names, scratch)
            target = _new_folder(folder / SPLIT, by)
            (scratch / SPLIT).rename(target)
            sync_folder(target.parent)
        groups = tuple(each.group(key, target / names[key]) for key, each in found.items())
        return Split(run=folder, by=by, groups=groups, columns=opened.columns, left_out=rows.left_out)


def run_folder_of(path: Path) -> Path | None:
    """Return the folder of the run whose report or split file this is, where it lies; None for any other file."""
    ancestors = path.resolve().parents
    folders = [path.parent]
    if len(ancestors) > 2 and ancestors[1].name == SPLIT:  # noqa: PLR2004  file, split by what, split, run
        folders.append(ancestors[2])
    return next((folder for folder in folders if (folder / JOURNAL).is_file()), None)


_Key = tuple[str, ...]
"""The cells that the rows of a group have in common."""


@dataclass(slots=True, kw_only=True)
class _Found:
    """What is known of a group before it has a file."""

    rows: int = 0
    menders: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)

    def add(self, row: Sequence[str]) -> None:
        """Count a row."""
        self.rows += 1
        self.menders[row[_MEND_BY]] += 1
        self.codes[row[_CODE]] += 1

    def group(self, key: _Key, path: Path) -> Group:
        """Return it as a group with a file."""
        return Group(
            name=_in_words(key),
            rows=self.rows,
            mend_by=tuple(MendBy(mender) for mender, _ in self.menders.most_common() if mender),
            codes=tuple(code for code, _ in self.codes.most_common()),
            path=path,
        )


class _Rows:
    """The rows of a run that are to be split, read again each time."""

    def __init__(self, opened: Opened, by: str, scratch: Path) -> None:
        """Write them to a folder, as `not_done.csv` has them: the one beside the journal may have been mended."""
        marks = RowNumbers(opened.journal.doubted())
        write_results(
            scratch,
            opened.snapshot,
            opened.journal.plain_outcomes(),
            is_doubted=marks.__contains__,
            of_pending=mender_of_pending(opened.ending),
        )
        self._path = scratch / NOT_DONE
        self._by = by
        self._folder = opened.folder
        self._goes_on = opened.ending.state in UNFINISHED
        self.encoding = "utf-8-sig" if has_byte_order_mark(opened.snapshot) else "utf-8"
        self.left_out = 0
        """Rows that were passed over."""
        self.header = next(self._read())
        self._places = _places(by, self.header, opened)

    def __iter__(self) -> Iterator[tuple[_Key, list[str]]]:
        """Yield each row after the key of its group."""
        self.left_out = 0
        lines = self._read()
        next(lines)
        for row in lines:
            if self._goes_on and row[_STATUS] == Status.PENDING:
                self.left_out += 1
            else:
                yield tuple(unescape(row[place]).strip() for place in self._places), row

    def grouped(self) -> Mapping[_Key, _Found]:
        """Return the groups, the largest first; raise ConfigurationError when there are too many."""
        found: dict[_Key, _Found] = {}
        for key, row in self:
            if key not in found and len(found) == MOST_FILES:
                raise ConfigurationError(
                    f"--by {self._by} would make more than {MOST_FILES:,} files of {self._folder}: choose what fewer"
                    " rows differ in. Nothing was written."
                )
            found.setdefault(key, _Found()).add(row)
        return dict(sorted(found.items(), key=lambda entry: -entry[1].rows))

    def _read(self) -> Iterator[list[str]]:
        with opened_to_read(self._path, "utf-8-sig") as file:
            try:
                yield from csv.reader(file)
            except csv.Error as exc:
                raise ReportError(f"The rows of {self._folder} cannot be split: {exc}.") from exc


def _places(by: str, header: Sequence[str], opened: Opened) -> tuple[int, ...]:
    """Return where in a row stands what groups it; raise ConfigurationError for a column that is not there."""
    if by == "reason":
        return (_CODE, _REASON)
    wanted, canonical = by.strip().casefold(), canonical_name(by)
    for found in (
        [place for place, name in enumerate(header) if name == by],
        [place for place, name in enumerate(header) if name.strip().casefold() == wanted],
        [len(RESULT_HEAD) + place for name, place in opened.columns.used.items() if name == canonical],
    ):
        if len(found) == 1:
            return tuple(found)
    how = "more than one column" if sum(name.strip().casefold() == wanted for name in header) > 1 else "no column"
    raise ConfigurationError(
        f"{opened.folder} has {how} {shown_header(by)!r} to split by; it has {listed(header, _LISTED)}."
    )


def _write_files(rows: _Rows, names: Mapping[_Key, str], scratch: Path) -> None:
    """Write each row to the file of its group, and make the files durable."""
    folder = scratch / SPLIT
    make_folder(folder)
    held: dict[_Key, list[list[str]]] = {key: [list(rows.header)] for key in names}
    for number, (key, row) in enumerate(rows, start=1):
        held.setdefault(key, []).append(row)
        if not number % _HELD_BACK:
            _append(held, names, folder, rows.encoding)
    _append(held, names, folder, rows.encoding)
    for name in names.values():
        with opened_to_read(folder / name) as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def _append(held: dict[_Key, list[list[str]]], names: Mapping[_Key, str], folder: Path, encoding: str) -> None:
    for key, lines in held.items():
        with opened_to_write(folder / names[key], encoding, append=True) as file:
            csv.writer(file, lineterminator="\r\n").writerows(lines)
    held.clear()


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside the splits of a run, which goes when the block ends. Raises ReportError."""
    aside = folder / SPLIT / _ASIDE
    try:
        # Before anything is taken away in it.
        require_folder(folder / SPLIT)
    except OSError as exc:
        raise _not_written(folder, exc) from exc
    shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed
    try:
        make_folder(aside)
        yield aside
    except OSError as exc:
        raise _not_written(folder, exc) from exc
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        if (folder / SPLIT).is_dir() and not any((folder / SPLIT).iterdir()):
            (folder / SPLIT).rmdir()


def _not_written(folder: Path, exc: OSError) -> ReportError:
    return ReportError(f"{folder / SPLIT} could not be written: {exc.strerror or exc}.")


def _new_folder(parent: Path, by: str) -> Path:
    """Return a path that is not there yet, named after what groups the rows."""
    name = f"by-{_slug(by) or 'column'}"
    numbered = (parent / (name if number == 1 else f"{name}-{number}") for number in count(1))
    return next(path for path in numbered if not path.exists())


def _file_names(found: Mapping[_Key, _Found]) -> dict[_Key, str]:
    """Return a file name for each group: what it has in common, and how many rows; no two are the same."""
    names: dict[_Key, str] = {}
    for key, each in found.items():
        rows = counted(each.rows, "row").replace(",", "").replace(" ", "-")
        name = _slug(_in_words(key)) or ("group" if any(key) else "none")
        numbered = (f"{name}-{rows}.csv" if number == 1 else f"{name}-{number}-{rows}.csv" for number in count(1))
        names[key] = next(each for each in numbered if each not in names.values())
    return names


def _slug(text: str) -> str:
    """Return text as a part of a file name: lower-case ASCII letters, digits and hyphens, not too many; or nothing."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return _NOT_IN_A_NAME.sub("-", plain)[:MOST_OF_A_NAME].strip("-")


def _in_words(key: _Key) -> str:
    return " ".join(filter(None, key))
