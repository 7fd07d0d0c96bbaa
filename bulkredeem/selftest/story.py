"""The file a self-test runs: a few rows of every kind, and what must be true of them whatever happens on the way."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from bulkredeem.model import DONE, Status
from bulkredeem.report import SUMMARY
from bulkredeem.sandbox import Sandbox
from bulkredeem.summary import NOT_DONE

HEADER: Final = ("redemptionId", "billNumber", "identifierValue")
_PLAIN: Final = 24
"""Rows with a redemption and a customer of their own."""
_PAIRS: Final = 6
"""Redemptions that are corrected twice, the older value first: the last row wins, and the first is never sent."""
_REFUSED: Final = 3
_INVALID: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the story."""

    row_number: int
    redemption_id: str
    bill_number: str
    """Different in every row, so that the sandbox's books tell which row was applied."""
    customer: str
    expected: frozenset[Status]
    """The verdicts it may end with."""


def tell() -> list[Line]:
    """Return the rows, kinds mixed, the same each time."""
    lines = list(_kinds())
    mixed = lines[::3] + lines[1::3] + lines[2::3]
    # The second correction of a redemption stays behind its first whatever the mixing did.
    ordered = sorted(mixed, key=lambda line: line[1].endswith("-newer"))
    return [
        Line(row_number=number, redemption_id=redemption, bill_number=bill, customer=customer, expected=expected)
        for number, (redemption, bill, customer, expected) in enumerate(ordered, start=2)
    ]


def write(lines: Sequence[Line], path: Path) -> None:
    """Write the story as a file of corrections."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        writer.writerows((line.redemption_id, line.bill_number, line.customer) for line in lines)


def complaints(lines: Sequence[Line], results: Path, sandbox: Sandbox) -> Iterator[str]:
    """Say what is not as promised, once everything was gone on with: nothing, if the promise holds."""
    rows = _verdicts(results)
    verdicts = dict(rows)
    applied = Counter((each.identifier, each.fields.get("billNumber")) for each in sandbox.applied)
    if sorted(number for number, _ in rows) != [line.row_number for line in lines]:
        yield f"{results.name} has {len(rows)} rows with {len(verdicts)} numbers, the file has {len(lines)} rows"
    for line in lines:
        status = verdicts.get(line.row_number)
        times = applied[line.redemption_id, line.bill_number]
        if status not in line.expected:
            yield f"row {line.row_number} is {status}, expected {' or '.join(sorted(line.expected))}"
        if status is Status.SUCCESS and not times:
            yield f"row {line.row_number} is success, and was never applied"
        if status in {Status.INVALID, Status.SKIPPED, Status.FAILED, Status.REFUSED} and times:
            yield f"row {line.row_number} is {status}, and was applied"
    yield from _older_values(lines, sandbox)
    yield from _contradictions(rows, results)


def _contradictions(rows: Sequence[tuple[int, Status]], results: Path) -> Iterator[str]:
    """Say which other report of the run tells something else than the results."""
    counts = orjson.loads(results.with_name(SUMMARY).read_bytes())["counts"]
    if counts != {str(status): sum(1 for _, each in rows if each is status) for status in Status}:
        yield f"the counts of {SUMMARY} are not those of {results.name}"
    if _verdicts(results.with_name(NOT_DONE)) != [row for row in rows if row[1] not in DONE]:
        yield f"{NOT_DONE} does not hold the rows of {results.name} that are not done"


def _older_values(lines: Sequence[Line], sandbox: Sandbox) -> Iterator[str]:
    """Say which redemptions do not have the value of their last row."""
    last = {line.redemption_id: line.bill_number for line in lines if Status.SUCCESS in line.expected}
    for redemption, bill_number in last.items():
        now = sandbox.redemptions.get(redemption)
        if now is None or now.bill_number != bill_number:
            yield f"redemption {redemption} ends with {now.bill_number if now else 'nothing'}, not with {bill_number}"


def _verdicts(report: Path) -> list[tuple[int, Status]]:
    with report.open(encoding="utf-8", newline="") as file:
        return [(int(row["row_number"]), Status(row["status"])) for row in csv.DictReader(file)]


def _kinds() -> Iterator[tuple[str, str, str, frozenset[Status]]]:
    updated = frozenset({Status.SUCCESS})
    for number in range(_PLAIN):
        yield f"PLAIN{number}", f"P-{number}", f"9198{number:08}", updated
    for number in range(_PAIRS):
        yield f"TWICE{number}", f"T-{number}-older", f"9197{number:08}", frozenset({Status.SKIPPED})
        yield f"TWICE{number}", f"T-{number}-newer", f"9197{number:08}", updated
    for number in range(_REFUSED):
        yield f"NOPE{number}", f"R-{number}", f"9196{number:08}", frozenset({Status.REFUSED})
    for number in range(_INVALID):
        # Only we call this invalid: the sandbox would apply it.
        yield f"DAMAGED{number}", f"8.8{number}E+05", f"9195{number:08}", frozenset({Status.INVALID})
