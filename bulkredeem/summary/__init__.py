"""Outcomes → counts, the errors seen most, and one sentence that says how the run went and what to do next.

Pure: a `Tally` is fed outcomes, a `Summary` is a frozen value, and rendering counts nothing.
"""

from bulkredeem.summary.closing import NOT_DONE, Step, Typed, closing_sentence, next_steps, unmasking
from bulkredeem.summary.counting import (
    EXAMPLE_ROWS,
    MOST_GROUPS,
    OTHER_MESSAGES,
    TOP_ERRORS,
    Groups,
    PlainOutcome,
    Tally,
    exit_code_of,
    mender_of_pending,
    plain,
)
from bulkredeem.summary.values import FINGERPRINTED, UNFINISHED, Ending, ErrorGroup, RunInfo, RunState, Summary
from bulkredeem.summary.words import counted, iso_utc

__all__ = [
    "EXAMPLE_ROWS",
    "FINGERPRINTED",
    "MOST_GROUPS",
    "NOT_DONE",
    "OTHER_MESSAGES",
    "TOP_ERRORS",
    "UNFINISHED",
    "Ending",
    "ErrorGroup",
    "Groups",
    "PlainOutcome",
    "RunInfo",
    "RunState",
    "Step",
    "Summary",
    "Tally",
    "Typed",
    "closing_sentence",
    "counted",
    "exit_code_of",
    "iso_utc",
    "mender_of_pending",
    "next_steps",
    "plain",
    "unmasking",
]
