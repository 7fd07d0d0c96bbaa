"""Invented nights, written by real calls: for the tests of the pages, and to look at them.

`python -m tests.pages FOLDER [ROWS]` writes a night of three hours, and sixty nights of a reports folder.
"""

from __future__ import annotations

import math
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from bulkredeem.codes import MendBy
from bulkredeem.counters import LATENCIES, Counters
from bulkredeem.model import Status
from bulkredeem.page import IndexEntry, NotDoneRow, write_index, write_run_page
from bulkredeem.summary import (
    Ending,
    ErrorGroup,
    RunInfo,
    RunState,
    Summary,
    closing_sentence,
    next_steps,
    unmasking,
)

HEADERS = ("redemptionId", "Bill No", "billId", "purpose", "identifierType", "Mobile", "store", "remark")
USED = {"redemptionId": 0, "billNumber": 1, "billId": 2, "purpose": 3, "identifierType": 4, "identifierValue": 5}
RUN_ID = "20261124T213000Z-7c1e"
BEGAN = datetime(2026, 11, 24, 21, 30, tzinfo=UTC).timestamp()
KINDS = (
    (
        "refused",
        "750",
        "redemption update failed : redemption {} is reversed",
        "redemption update failed : redemption <redemptionId> is reversed",
        MendBy.DATA_TEAM,
        420,
    ),
    (
        "invalid",
        "BILL_ID_NOT_A_WHOLE_NUMBER",
        "billId is not a whole number.",
        "billId is not a whole number.",
        MendBy.FILE_OWNER,
        260,
    ),
    (
        "invalid",
        "748",
        "There is nothing to set: billNumber, billId, purpose and custom fields are all empty.",
        "There is nothing to set: billNumber, billId, purpose and custom fields are all empty.",
        MendBy.FILE_OWNER,
        120,
    ),
    (
        "failed",
        "429",
        "The platform throttled every try.",
        "The platform throttled every try.",
        MendBy.NOBODY,
        64,
    ),
    (
        "in_doubt",
        "TIMEOUT",
        "Sent, and no answer came within 30 s.",
        "Sent, and no answer came within 30 s.",
        MendBy.NOBODY,
        36,
    ),
)
"""Status, code, message, reason, who mends it, and how often in a thousand."""


def rows(many: int, seed: int = 7) -> Iterator[NotDoneRow]:
    """Yield so many rows that are not done."""
    chance = random.Random(seed)  # noqa: S311  nothing secret
    weights = [kind[-1] for kind in KINDS]
    number = 1
    for index in range(many):
        number += chance.randint(1, 12)
        status, code, message, reason, mender, _ = chance.choices(KINDS, weights)[0]
        redemption = f"{chance.choice('NZVATRKMB')}{chance.randrange(36**4):04x}"[:6].ljust(6, "q")
        mobile = f"9198{chance.randrange(10**8):08}"
        was_sent = status != "invalid"
        yield NotDoneRow(
            row_number=number,
            status=status,
            error_code=code,
            error_message=message.format(redemption),
            reason=reason,
            mend_by=mender,
            warnings=("The till has no name.",) if index % 17 == 0 else (),
            http_status={"750": 400, "429": 429}.get(code),
            attempts=chance.randint(1, 5) if was_sent else 0,
            request_id=f"{chance.getrandbits(64):016x}" if was_sent else "",
            finished_at=BEGAN + 10_800 * index / many,
            cells=(
                redemption,
                f"B-{chance.randrange(90_000) + 10_000}",
                "" if status == "invalid" else str(chance.randrange(10**9, 10**10)),
                "Bill number corrected after the till was replaced",
                "mobile",
                mobile,
                str(chance.randint(1, 40)),
                f"asked by phone, {mobile}" if index % 5 == 0 else "",
            ),
        )


@cache
def counters(stretches: int = 1080, seed: int = 3) -> tuple[Counters, ...]:
    """Return a night on the wire: it begins well, is throttled, loses the platform for minutes, and recovers."""
    chance = random.Random(seed)  # noqa: S311  nothing secret
    allowed, ended, kept = 16.0, BEGAN, []
    for index in range(stretches):
        ended += 10.0
        share = index / stretches
        is_throttled = 0.28 < share < 0.31 or 0.55 < share < 0.565
        is_out = 0.7 < share < 0.722
        allowed = max(5.0, allowed * 0.93) if is_throttled else min(16.0, allowed + 0.035)
        sent = round(allowed * 10 * chance.uniform(0.9, 0.99)) if not is_out else chance.randint(1, 3)
        replies: Counter[str] = Counter()
        latency = [0] * (len(LATENCIES) + 1)
        for _ in range(sent):
            kind = _reply(chance, is_throttled=is_throttled, is_out=is_out)
            replies[kind] += 1
            if kind != "none":
                took = chance.lognormvariate(math.log(0.16 if not is_throttled else 0.5), 0.6)
                latency[sum(took > bound for bound in LATENCIES)] += 1
        kept.append(
            Counters(
                ended_at=ended,
                seconds=10.0,
                replies=replies,
                latency=tuple(latency),
                allowed=allowed,
                sent=sum(replies.values()),
            )
        )
    return tuple(kept)


def _reply(chance: random.Random, *, is_throttled: bool, is_out: bool) -> str:
    if is_out:
        return chance.choices(("none", "5xx"), (4, 1))[0]
    if is_throttled:
        return chance.choices(("2xx", "429", "5xx"), (70, 29, 1))[0]
    return chance.choices(("2xx", "4xx", "5xx", "none"), (990, 7, 2, 1))[0]


def summary(not_done: int = 1240, *, total: int = 148_000, state: RunState = RunState.FINISHED) -> Summary:
    """Return how that night ended, with so many rows not done."""
    told = list(rows(min(not_done, 2_000))) if not_done else []
    share = not_done / len(told) if told else 0
    of_status = Counter(row.status for row in told)
    counts = {status: round(of_status[status] * share) for status in Status}
    counts[Status.REFUSED] += not_done - sum(counts.values())
    counts[Status.SKIPPED] = 2_310
    counts[Status.SUCCESS] = total - sum(counts.values())
    groups = Counter((row.error_code, row.reason, row.mend_by) for row in told)
    menders = Counter(MendBy(row.mend_by) for row in told)
    return Summary(
        info=RunInfo(
            run_id=RUN_ID,
            path="/srv/exports/2026-11-24/bill_numbers_store_till_swap.csv",
            sha256="9f2c6b1d4e7a8035b6cc1f90d2e4a7718833f0e2bb41c95d6a07e8c1f2d3b4a5",
            rows=total,
            started_at=BEGAN,
            environment="production",
            user="nightly",
            by="m.okafor",
            reason="Tills of the northern stores were replaced (CHG-2041)",
        ),
        counts=counts,
        top_errors=tuple(
            ErrorGroup(
                code=code,
                message=reason,
                count=round(count * share),
                example_rows=tuple(row.row_number for row in told if row.reason == reason)[:5],
                mend_by=MendBy(mender),
            )
            for (code, reason, mender), count in groups.most_common()
        ),
        mend_by={mender: round(count * share) for mender, count in menders.most_common()},
        ending=Ending(state=state, finished_at=BEGAN + 10_800, requests=152_907, exit_code=1 if not_done else 0),
    )


def write_night(
    folder: Path,
    many: int = 1240,
    *,
    show_pii: bool = False,
    told: Iterable[NotDoneRow] | None = None,
    wire: Sequence[Counters] | None = None,
    of: Summary | None = None,
) -> Path:
    """Write the page of that night with so many rows not done, or with those given, and return its path."""
    of = of or summary(many if told is None else len(list(told)))
    place = f"reports/{RUN_ID}"
    write_run_page(
        folder,
        of,
        headers=HEADERS,
        used=USED,
        rows=rows(many) if told is None else told,
        counters=counters() if wire is None else wire,
        steps=next_steps(of, place),
        closing=closing_sentence(of, place),
        unmask=unmasking(place),
        show_pii=show_pii,
    )
    return folder / "report.html"


def entries(nights: int = 60, seed: int = 11) -> list[IndexEntry]:
    """Return a run or two for each of so many nights, the last of them the one above."""
    chance = random.Random(seed)  # noqa: S311  nothing secret
    kept: list[IndexEntry] = []
    for night in range(nights):
        began = BEGAN - 86_400 * (nights - 1 - night) + chance.uniform(0, 600)
        if chance.random() < 0.06 and night < nights - 1:
            continue
        kept.append(_entry(chance, began))
        if chance.random() < 0.25:
            kept.append(_entry(chance, began + 14_400, again_from=kept[-1].name))
    return kept


def _entry(chance: random.Random, began: float, again_from: str = "") -> IndexEntry:
    total = chance.randint(90_000, 150_000) if not again_from else chance.randint(300, 3_000)
    left = round(total * chance.choice((0, 0.002, 0.004, 0.008, 0.03)))
    state, problem, pending = RunState.FINISHED, "", 0
    fate = chance.random()
    if fate < 0.05 and not again_from:
        state, problem, pending = RunState.STOPPED, "the deadline came (06:00)", round(total * 0.2)
    elif fate < 0.07:
        state, pending = RunState.CRASHED, round(total * 0.6)
    skipped = round(total * 0.015)
    counts = dict.fromkeys(Status, 0) | {
        Status.SKIPPED: skipped,
        Status.REFUSED: left // 2,
        Status.INVALID: left // 3,
        Status.IN_DOUBT: left - left // 2 - left // 3,
        Status.PENDING: pending,
    }
    counts[Status.SUCCESS] = total - sum(counts.values())
    exit_code = 6 if problem else 1 if left else 0
    return IndexEntry(
        name=f"{datetime.fromtimestamp(began, UTC):%Y%m%dT%H%M%SZ}-{chance.getrandbits(16):04x}",
        state=state,
        environment="production" if chance.random() < 0.9 else "staging",
        path=f"/srv/exports/{datetime.fromtimestamp(began, UTC):%Y-%m-%d}/bill_numbers.csv",
        retry_of=again_from,
        problem=problem,
        counts=counts,
        started_at=began,
        finished_at=None if state is RunState.CRASHED else began + (total - pending) / chance.uniform(12, 15.5),
        exit_code=None if state is RunState.CRASHED else exit_code,
        has_page=True,
        has_not_done=bool(left or pending),
    )


if __name__ == "__main__":
    target = Path(sys.argv[1])
    (target / RUN_ID).mkdir(parents=True, exist_ok=True)
    write_night(target / RUN_ID, *map(int, sys.argv[2:]))
    write_index(target, entries())
