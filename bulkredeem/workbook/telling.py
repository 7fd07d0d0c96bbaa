"""What the summary sheet tells: how the run went, what the columns mean, how to send the rows again. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from bulkredeem.codes import MendBy
from bulkredeem.model import Status
from bulkredeem.summary import RunState, Step, Summary, counted, iso_utc

Fact = tuple[str, str]
"""A label and a text; a label alone is a heading."""

_STATUSES: Final = {
    Status.SUCCESS: "the platform accepted it",
    Status.SKIPPED: "there was nothing to send; error_code says why",
    Status.INVALID: "broken before sending; error_message lists all that is wrong",
    Status.REFUSED: "the platform said no; sending it unchanged would be refused again",
    Status.FAILED: "given up, and surely not applied",
    Status.IN_DOUBT: "sent, and no trustworthy answer came",
    Status.PENDING: "without an outcome: the run ended before it",
}
_COLUMNS: Final = (
    ("row_number", "the row of the file that was run, as a spreadsheet counts: the header is row 1"),
    ("status", "what became of the row, as listed above"),
    ("error_code", "the platform's number, or a word of ours in capitals; several are separated by '; '"),
    ("error_message", "the same in words"),
    ("mend_by", "who has to do something about the row; empty when nothing is to be done"),
    ("reason", "error_message with identifiers masked: this may be passed on"),
    ("warnings", "what may be worth knowing although the row was sent"),
    ("http_status", "the number of the platform's last answer"),
    ("attempts", "how often the row was sent"),
    ("request_id", "by which the platform's own people find the request"),
    ("finished_at", "when the row was settled, in UTC"),
    ("all others", "the columns of the file that was run, as they were; input.status was called status there"),
)
_APOSTROPHE: Final = (
    "A cell that a spreadsheet would take for a formula (it begins with = + - @, a tab or a line end) has an apostrophe"
    " in front, as in results.csv. It is taken off when the file comes back; a new value needs none."
)
_TEXT: Final = (
    "All cells are text, so that no spreadsheet shortens a long number or takes zeros off its front. Paste values only,"
    " or the cells become what they were elsewhere."
)
_FEEDING_BACK: Final = (
    ("1.", "Take not_done.xlsx: it holds the rows that are not done, and no others."),
    ("2.", "Mend the file's own columns in the sheet 'rows'; our columns are not read. Leave the header as it is."),
    ("3.", "Delete rows that are not to be sent."),
    ("4.", "Save it as a workbook where it lies, and run it: bulkredeem run not_done.xlsx"),
    ("5.", "A workbook that has a sheet 'rows 2' is run once for each of them: --sheet 'rows 2'."),
    ("apostrophe", _APOSTROPHE),
    ("text", _TEXT),
)


def told(summary: Summary, closing: str, steps: Sequence[Step]) -> tuple[Fact, ...]:
    """Return the facts of the summary sheet in their order; see `workbooks_from`."""
    return (
        ("How the run went", ""),
        ("verdict", closing),
        *_run(summary),
        ("Rows by status", ""),
        *((str(status), f"{summary.counts[status]:,}: {words}") for status, words in _STATUSES.items()),
        ("Who mends what", ""),
        *(_mending(summary, steps) or [("nobody", "nothing is to be mended")]),
        ("How to send the rows again", ""),
        *_FEEDING_BACK,
        ("The columns", ""),
        *_COLUMNS,
    )


def _run(summary: Summary) -> Iterator[Fact]:
    info, ending = summary.info, summary.ending
    yield "environment", info.environment or "(without a name)"
    yield "file", info.path
    yield "rows", f"{info.rows:,}"
    yield "run", info.run_id
    yield "state", ending.state if ending else RunState.RUNNING
    yield "exit code", "" if ending is None or ending.exit_code is None else str(int(ending.exit_code))
    yield "started", iso_utc(info.started_at)
    yield "ended", iso_utc(ending.finished_at) if ending else ""


def _mending(summary: Summary, steps: Sequence[Step]) -> list[Fact]:
    words_of = {step.mend_by: f"{step.words}\n{step.command}".rstrip() for step in steps}
    return [
        (mender, f"{counted(count, 'row')}, {MendBy(mender).in_words}. {words_of.get(mender, '')}".rstrip())
        for mender, count in summary.mend_by.items()
    ]
