"""The benchmarks count right: what is said to be measured is what was. Nothing is timed here."""

from __future__ import annotations

import csv
import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.figures import Figure
from benchmarks.inputs import write_input
from benchmarks.scenarios.limited import seconds_to_recover
from benchmarks.soaking.judging import Booked, Line, Sample, flatness, imbalances, longest_stretch, rate_of, warm
from benchmarks.soaking.playing import Plan, Story
from benchmarks.soaking.stand_in import StandIn
from benchmarks.soaking.telling import figures_of
from benchmarks.traffic import NoTrafficError, Traffic, read_traffic
from bulkredeem.model import Rate, Status
from bulkredeem.sandbox import UpdateRequest

DROP = 1000.0
"""When the limit was lowered, in seconds since the epoch."""


def traffic(good: dict[float, float], throttled: tuple[float, ...] = ()) -> Traffic:
    """Return traffic with so many good answers a second from each moment on; the last moment ends it."""
    moments = [
        begin + number / rate
        for (begin, rate), (end, _) in pairwise(sorted(good.items()))
        for number in range(int((end - begin) * rate))
    ]
    return Traffic(
        first=moments[0], last=moments[-1], good=array("d", moments), throttled=array("d", throttled), others=0
    )


def test_a_log_is_counted_from_the_first_byte_to_the_last_answer(tmp_path: Path) -> None:
    """An answer that took long began before those that ended earlier."""
    log = tmp_path / "access.log"
    log.write_text("100.500 0.400 200\n101.000 1.000 200\n102.000 0.010 429\n104.000 0.010 500\n", encoding="ascii")
    seen = read_traffic(log)
    assert (seen.first, seen.last, seen.requests, seen.others) == (100.0, 104.0, 4, 1)
    assert (list(seen.good), list(seen.throttled)) == ([100.5, 101.0], [102.0])
    assert seen.rows_per_second == 0.5
    assert seen.throttled_share(100.0, 103.0) == 500.0


def test_a_log_without_requests_is_no_figure(tmp_path: Path) -> None:
    """Nothing was measured, and nothing is divided by it."""
    (tmp_path / "access.log").touch()
    with pytest.raises(NoTrafficError):
        read_traffic(tmp_path / "access.log")


@pytest.mark.parametrize(
    ("seen", "seconds"),
    [
        pytest.param(traffic({DROP - 5: 200, DROP: 50, DROP + 60: 0}), 0.0, id="at once"),
        pytest.param(traffic({DROP - 5: 200, DROP: 10, DROP + 7: 50, DROP + 60: 0}), 7.0, id="after a while"),
        pytest.param(traffic({DROP - 5: 200, DROP: 50, DROP + 60: 0}, (DROP + 3.5, DROP + 3.6)), 4.0, id="throttled"),
        pytest.param(traffic({DROP - 5: 200, DROP: 30, DROP + 60: 0}), math.inf, id="never"),
        pytest.param(traffic({DROP - 5: 200, DROP: 50, DROP + 8: 0}), math.inf, id="too short to tell"),
    ],
)
def test_a_run_has_recovered_when_all_that_follows_is_calm(seen: Traffic, seconds: float) -> None:
    """The first whole second counts from which the limit is used, and is not overdrawn any more."""
    assert seconds_to_recover(seen, DROP) == pytest.approx(seconds, abs=1.0)


def test_files_of_two_seeds_share_nobody(tmp_path: Path) -> None:
    """Each row has a redemption and a customer of its own, also across two files; the same seed makes the same file."""
    people, redemptions = set(), set()
    for seed in (1, 2):
        write_input(tmp_path / f"{seed}.csv", 300, seed=seed)
        with (tmp_path / f"{seed}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                people.add(row["identifierValue"])
                redemptions.add(row["redemptionId"])
    assert (len(people), len(redemptions)) == (600, 600)
    before = (tmp_path / "1.csv").read_bytes()
    write_input(tmp_path / "1.csv", 300, seed=1)
    assert (tmp_path / "1.csv").read_bytes() == before


def test_a_figure_says_whether_its_target_is_met() -> None:
    """At least and at most, and nothing where nothing was measured."""
    assert Figure(what="a", value=0.8, at_least=0.8).verdict == "met"
    assert Figure(what="a", value=0.79, at_least=0.8).verdict == "missed"
    assert Figure(what="a", value=5.0, at_most=5).verdict == "met"
    assert Figure(what="a", value=math.inf, at_most=30).line() == "  a: never, target ≤ 30: missed"
    assert Figure(what="a", value=None, at_most=30, note="skipped").row() == "| a (skipped) | not measured | ≤ 30 |  |"


def sample(at: float, *, stretch: int = 0, age: float = 60.0, **seen: int) -> Sample:
    """Return what was seen of a process, of which nothing is remarkable but what is named."""
    quiet = {"memory": 100, "open_files": 40, "threads": 8, "tasks": 203, "requests": 0}
    return Sample(at=at, stretch=stretch, age=age, **{**quiet, **seen})


def test_growth_is_seen_in_the_last_third_and_a_single_peak_is_not() -> None:
    """Medians are compared, so that what one sample shows says nothing."""
    growing = [sample(at, memory=100 + at) for at in range(30)]
    found = flatness(growing, lambda each: each.memory)
    assert found is not None
    assert (found.first, found.last) == (104.5, 124.5)
    assert found.ratio == pytest.approx(1.191, abs=0.001)
    peaked = [sample(at, memory=900 if at == 25 else 100) for at in range(30)]
    found = flatness(peaked, lambda each: each.memory)
    assert found is not None
    assert found.ratio == 1.0


def test_too_few_samples_are_no_figure() -> None:
    """What was not looked at does not count, and two samples have no thirds."""
    assert flatness([sample(1), sample(2)], lambda each: each.memory) is None
    unknown = [replace(sample(at), tasks=None) for at in range(9)]
    assert flatness(unknown, lambda each: each.tasks) is None


def test_the_first_seconds_of_each_process_say_nothing() -> None:
    """A process that was started anew reads its file, and begins to connect."""
    samples = [sample(1, age=1), sample(30, age=30), sample(40, stretch=1, age=2), sample(80, stretch=1, age=42)]
    assert [each.at for each in warm(samples)] == [30, 80]


def test_the_process_that_lived_longest_is_looked_at_alone() -> None:
    """What grows in one process would be hidden by those that were started anew."""
    samples = [sample(1), *(sample(at, stretch=1) for at in (2, 3, 4)), sample(5, stretch=2)]
    assert [each.at for each in longest_stretch(samples)] == [2, 3, 4]
    assert longest_stretch([]) == []


def test_the_rate_is_that_within_a_process() -> None:
    """The seconds in which nobody is there to send are not counted against anybody."""
    samples = [sample(0, requests=0), sample(2, requests=1000), sample(90, stretch=1, requests=1000)]
    assert rate_of(samples) == 500.0
    assert rate_of(samples[:1]) is None


def test_a_plan_is_the_same_for_the_same_seed_and_within_its_time() -> None:
    """What befell a run can be done to it again."""
    plan = Plan.drawn(minutes=20, rate=Rate.parse("500/s"), seed=1)
    assert plan == Plan.drawn(minutes=20, rate=Rate.parse("500/s"), seed=1)
    assert plan != Plan.drawn(minutes=20, rate=Rate.parse("500/s"), seed=2)
    assert (plan.rows, len(plan.kills), len(plan.outages)) == (600_000, 6, 8)
    assert all(60 <= at <= 1140 for at in (*plan.kills, *(at for at, _ in plan.outages)))


FILE = {
    number: Line(redemption_id=f"R{number}", bill_number=f"INV-{number}", bill_id=str(number)) for number in range(2, 6)
}
"""Four rows, of which the last is refused below."""
TOLD = [(2, Status.SUCCESS), (3, Status.SUCCESS), (4, Status.SUCCESS), (5, Status.REFUSED)]
COUNTS = {str(status): 0 for status in Status} | {"success": 3, "refused": 1}
BOOKS = {f"R{number}": Booked(times=1, bill_number=f"INV-{number}", bill_id=str(number)) for number in (2, 3, 4)}


def found_wrong(
    told: Sequence[tuple[int, Status]] = TOLD,
    counts: Mapping[str, int] = COUNTS,
    books: Mapping[str, Booked] = BOOKS,
) -> dict[str, int]:
    """Return what is out of balance; nothing is where everything is right."""
    return {what: number for what, number in imbalances(FILE, told, counts, books) if number}


def test_balanced_books_have_nothing_wrong() -> None:
    """Every row told once, and at the platform what the results say."""
    assert found_wrong() == {}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        pytest.param(TOLD[1:], "rows without a line in the results", id="lost"),
        pytest.param([*TOLD, TOLD[0]], "lines too many in the results", id="told twice"),
        pytest.param([*TOLD, (77, Status.SUCCESS)], "lines too many in the results", id="invented"),
        pytest.param([*TOLD[:3], (5, Status.PENDING)], "rows that are pending at the end", id="pending"),
        pytest.param(
            [*TOLD[:3], (5, Status.SUCCESS)], "rows told as success that the platform does not have so", id="lie"
        ),
        pytest.param([*TOLD[1:], (2, Status.FAILED)], "rows told as not applied that the platform has", id="denied"),
    ],
)
def test_each_way_to_be_out_of_balance_is_named(told: list[tuple[int, Status]], words: str) -> None:
    """Nothing lost, nothing told twice, and no verdict that the platform contradicts."""
    assert found_wrong(told)[words] == 1


def test_a_summary_of_its_own_mind_is_named() -> None:
    """Seven counts add up to the rows of the file, and are those of the results."""
    wrong = found_wrong(counts={**COUNTS, "success": 2})
    assert set(wrong) == {
        "counts of the summary that are not those of the results",
        "difference of the seven counts and the rows of the file",
    }


def test_another_value_at_the_platform_is_named() -> None:
    """A success is one only when the platform has just what the file says."""
    other = {**BOOKS, "R3": replace(BOOKS["R3"], bill_number="INV-2")}
    assert found_wrong(books=other) == {"rows told as success that the platform does not have so": 1}
    foreign = {**BOOKS, "R99": BOOKS["R3"]}
    assert found_wrong(books=foreign) == {"redemptions at the platform that are not in the file": 1}


async def test_the_stand_in_notes_a_row_that_comes_again_and_throttles_nobody() -> None:
    """A fault that throttles would teach the run a lower limit, so that none is drawn."""
    stand_in = StandIn(limit=Rate.parse("500/s"), latency=0.0, fail_ratio=1.0, seed=1)
    updates = [
        UpdateRequest(
            attempt=1,
            redemption_id=f"R{number}",
            external_reference_number="",
            entity_type="CUSTOMER",
            identifier_type="mobile",
            identifier_value="919000000001",
            fields={"billNumber": "INV-1"},
        )
        for number in range(200)
    ]
    stand_in.settled = {"R7"}
    struck = [fault for fault in map(stand_in.strike, updates) if fault]
    assert stand_in.obey({"do": "counters"})["sent_again"] == 1
    assert 100 < len(struck) < 200
    assert all(fault.status != 429 for fault in struck)


def story(**told: Any) -> Story:
    """Return a soak of which nothing is remarkable but what is named."""
    plan = Plan.drawn(minutes=20, rate=Rate.parse("500/s"), seed=1)
    stood = {"requests": 590_000, "throttled": 0, "overlaps": 0, "applied": 590_000, "faults": 5_000, "sent_again": 0}
    quiet: dict[str, Any] = {
        "samples": [sample(at) for at in range(60)],
        "exit_codes": [-9, 3, 0],
        "measured": stood,
        "ended": stood,
        "counts": {"success": 600_000},
        "imbalances": [("rows that are pending at the end", 0)],
    }
    return Story(plan=plan, **{**quiet, **told})


@pytest.mark.parametrize(
    ("told", "missed"),
    [
        pytest.param({}, set(), id="nothing"),
        pytest.param(
            {"samples": [sample(at, open_files=40 + at) for at in range(60)]},
            {
                "open files in all processes, last third ÷ first third",
                "open files in the process that lived longest, last third ÷ first third",
            },
            id="files left open",
        ),
        pytest.param({"unasked": [70]}, {"ends that nobody asked for"}, id="ended by itself"),
        pytest.param({"sent_again": 1}, {"updates that came although their row had an outcome"}, id="sent again"),
        pytest.param(
            {"imbalances": [("rows that are pending at the end", 3)]},
            {"rows that are pending at the end"},
            id="unbalanced",
        ),
    ],
)
def test_a_soak_misses_what_was_not_as_promised(told: dict[str, Any], missed: set[str]) -> None:
    """Each promise has its figure, and a figure that is missed is said, by `make soak` with its exit code, too."""
    assert {figure.what for figure in figures_of(story(**told)) if figure.verdict == "missed"} == missed
