"""Outcomes → the files people read: `results.csv`, `not_done.csv`, `summary.json`, and the link `latest`.

All are projections of journal and snapshot and can be written again at any time. Each appears whole or not at all: it
is written under another name, synced, and renamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice, repeat
from pathlib import Path
from typing import Final

import orjson

from bulkredeem.codes import MendBy, mend_by_of
from bulkredeem.columns import RESULT_HEAD, RESULT_TAIL, carried_name
from bulkredeem.errors import ReportError, ReportsFolderError
from bulkredeem.formulas import escape, may_run
from bulkredeem.model import DONE, Outcome, Status
from bulkredeem.snapshot import cells_of, has_byte_order_mark, read_headers, read_rows
from bulkredeem.summary import NOT_DONE, PlainOutcome, Summary, Tally, iso_utc, plain
from bulkredeem.verdict import SENT_BEFORE
from bulkredeem.wholefile import make_folder, whole_text

RESULTS: Final = "results.csv"
SUMMARY: Final = "summary.json"
COMPARISON: Final = "comparison.csv"
COMPARISON_HEAD: Final = ("row_number", "result", "changes")
"""The columns a comparison starts with; the file's own follow."""
LATEST: Final = "latest"
_BLOCK: Final = 200
"""Rows that are put together at once: about a millisecond's, so that the writing ends soon when it is asked to."""


def write_results(
    folder: Path,
    snapshot: Path,
    outcomes: Iterable[Outcome | PlainOutcome],
    *,
    is_doubted: Callable[[int], bool] = lambda _row_number: False,
    of_pending: MendBy = MendBy.NOBODY,
    proceed: Callable[[], None] = lambda: None,
) -> Tally:
    """Write `results.csv` and `not_done.csv` into the run's folder, and return the count of what they hold.

    `outcomes` come by row number, as the journal yields them, plain ones at a third of the cost; a row of the snapshot
    without one is `pending`, mended by `of_pending`, and says so if it `is_doubted`: sent perhaps. Each file begins
    with a byte order mark if the input did: whoever needs one for Excel needs it again. `proceed` is asked every few
    rows and before the files are synced, and raises what is to end the writing. Raises ReportError when the disk does
    not take them.
    """
    tally, encoding = Tally(), _encoding_of(snapshot)
    with whole_text(folder / RESULTS, encoding) as results, whole_text(folder / NOT_DONE, encoding) as not_done:
        header = _header(read_headers(snapshot))
        results.write(header)
        not_done.write(header)
        for rows, told in _joined(read_rows(snapshot), outcomes, is_doubted):
            proceed()
            lines = _lines(rows, told, of_pending)
            results.writelines(lines)
            not_done.writelines(line for line, outcome in zip(lines, told, strict=True) if outcome[1] not in DONE)
            tally.add_all(told)
        proceed()
    return tally


def write_summary(folder: Path, summary: Summary) -> None:
    """Write `summary.json` into the run's folder."""
    text = orjson.dumps(summary.as_json_object(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    with whole_text(folder / SUMMARY) as file:
        file.write(text.decode())


def write_comparison(folder: Path, snapshot: Path, finding: Callable[[int], tuple[str, str]]) -> Path:
    """Write `comparison.csv` into a folder, and return its path; `finding` tells result and changes by row number.

    Every row of the snapshot is in it, in that order. Raises ReportError when the disk does not take it.
    """
    path = folder / COMPARISON
    with whole_text(path, _encoding_of(snapshot)) as file:
        own = (f"input.{name}" if name in COMPARISON_HEAD else name for name in read_headers(snapshot))
        file.write(",".join(map(_cell, (*COMPARISON_HEAD, *own))) + "\r\n")
        for row_number, row in read_rows(snapshot):
            result, changes = finding(row_number)
            file.write(f"{row_number},{result},{_cell(changes)},{_own(row)}\r\n")
    return path


def point_latest_to(folder: Path) -> None:
    """Let `latest` in the reports folder name this run; on a file system without links there is none."""
    link = folder.parent / LATEST
    aside = folder.parent / f".{LATEST}.{folder.name}"
    with suppress(OSError):
        aside.symlink_to(folder.name)
        try:
            aside.replace(link)
        finally:
            aside.unlink(missing_ok=True)


def forget_latest(reports: Path) -> None:
    """Take `latest` away when the run that it named is gone."""
    link = reports / LATEST
    with suppress(OSError):
        if link.is_symlink() and not link.exists():
            link.unlink()


def make_run_folder(reports: Path, run_id: str) -> Path:
    """Make the folder of a new run, for its owner alone; raise ReportsFolderError with the reason when it cannot be."""
    folder = reports / run_id
    try:
        # One that is there already may be shared, and stays as it is.
        with suppress(FileExistsError):
            make_folder(reports)
        make_folder(folder)
    except OSError as exc:
        raise ReportsFolderError(f"No folder for reports can be made at {folder}: {exc.strerror}.") from exc
    return folder


def _encoding_of(snapshot: Path) -> str:
    """Return the encoding of a report on this snapshot: with a byte order mark if the input had one."""
    try:
        return "utf-8-sig" if has_byte_order_mark(snapshot) else "utf-8"
    except OSError as exc:
        raise ReportError(f"{snapshot} could not be read: {exc.strerror or exc}.") from exc


def _header(own: Sequence[str]) -> str:
    return ",".join(map(_cell, (*RESULT_HEAD, *map(carried_name, own), *RESULT_TAIL))) + "\r\n"


def _lines(rows: Sequence[str], outcomes: Sequence[PlainOutcome], of_pending: MendBy) -> list[str]:
    """Return what the reports say of these rows, in the form it has in the file.

    Column by column, and without the standard library's writer: it looks at every character and alone costs more.
    """
    numbers, statuses, codes, messages, reasons, warnings, http_statuses, attempts, request_ids, moments, *_ = zip(
        *outcomes, strict=True
    )
    columns = zip(
        numbers,
        map(_verdict, statuses, codes, messages, reasons, repeat(of_pending, len(rows))),
        map(_own, rows) if may_run(rows) else rows,
        map(_answer, warnings, http_statuses, attempts),
        _cells(request_ids),
        [iso_utc(moment) if moment else "" for moment in moments],
        strict=True,
    )
    return [
        f"{number},{verdict},{own},{answer},{request_id},{moment}\r\n"
        for number, verdict, own, answer, request_id, moment in columns
    ]


def _own(row: str) -> str:
    """Return the cells of a row as a report carries them."""
    return ",".join(map(_cell, cells_of(row))) if may_run((row,)) else row


@lru_cache(maxsize=100)
def _verdict(status: str, error_code: str, error_message: str, reason: str, of_pending: MendBy) -> str:
    """Return the columns before a row's own; kept, for most rows have the same."""
    mender = of_pending if status == Status.PENDING else mend_by_of(Status(status), error_code) or ""
    return f"{status},{_cell(error_code)},{_cell(error_message)},{mender},{_cell(reason)}"


@lru_cache(maxsize=100)
def _answer(warnings: Sequence[str], http_status: int | None, attempts: int) -> str:
    """Return the first columns after a row's own; kept as `_verdict` is."""
    return f"{_cell('; '.join(warnings))},{'' if http_status is None else http_status},{attempts}"


def _cells(texts: Sequence[str]) -> Iterable[str]:
    """Return each text as `_cell` does; one look at all of them is enough where none needs anything."""
    together = ",".join(texts)
    needs_none = together.count(",") < len(texts) and not _needs_quotes(together.replace(",", ""))
    return texts if needs_none and not may_run((together,)) else map(_cell, texts)


def _cell(text: str) -> str:
    """Return a cell in the form it has in the file: harmless, and quoted where CSV needs it."""
    text = escape(text)
    return '"' + text.replace('"', '""') + '"' if _needs_quotes(text) else text


def _needs_quotes(text: str) -> bool:
    return "," in text or '"' in text or "\r" in text or "\n" in text


def _pending(row_number: int, *, is_doubted: bool) -> PlainOutcome:
    """Return what is said of a row without an outcome."""
    code, words = (SENT_BEFORE.code, SENT_BEFORE.message) if is_doubted else ("", "")
    return plain(
        Outcome(row_number=row_number, status=Status.PENDING, error_code=code, error_message=words, reason=words)
    )


def _joined(
    rows: Iterator[tuple[int, str]],
    outcomes: Iterable[Outcome | PlainOutcome],
    is_doubted: Callable[[int], bool],
) -> Iterator[tuple[list[str], list[PlainOutcome]]]:
    """Yield the rows of the snapshot and what is said of each, a block at a time; both come by row number."""
    coming = iter(outcomes)
    waiting: dict[int, PlainOutcome] = {}
    reached = 0
    while block := list(islice(rows, _BLOCK)):
        last, _ = block[-1]
        while reached < last and (more := list(islice(coming, _BLOCK))):
            as_plain = [outcome if isinstance(outcome, tuple) else plain(outcome) for outcome in more]
            waiting |= {outcome[0]: outcome for outcome in as_plain}
            reached = as_plain[-1][0]
        told = [waiting.get(number) or _pending(number, is_doubted=is_doubted(number)) for number, _ in block]
        yield [row for _, row in block], told
        waiting = {number: outcome for number, outcome in waiting.items() if number > last}
