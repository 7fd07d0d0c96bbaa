"""The benchmarks count right: what is said to be measured is what was. Nothing is timed here."""

from __future__ import annotations

import csv
import math
from array import array
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.figures import Figure
from benchmarks.inputs import write_input
from benchmarks.scenarios.limited import seconds_to_recover
from benchmarks.traffic import NoTrafficError, Traffic, read_traffic

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
