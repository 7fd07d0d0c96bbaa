"""What is said of a mutation run: counted room by room, and whether it was good enough."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import mutation

Write = Callable[..., None]


@pytest.fixture
def found(tmp_path: Path) -> Write:
    """Write what mutmut would have found in a module: so many mutants for each exit code, None for one not tried."""

    def write(module: str, *codes: int | None) -> None:
        path = tmp_path / f"{module}.py.meta"
        path.parent.mkdir(parents=True, exist_ok=True)
        ends = {f"mutant_{number}": code for number, code in enumerate(codes)}
        path.write_text(json.dumps({"exit_code_by_key": ends}), encoding="utf-8")

    return write


def test_a_package_is_one_room(found: Write, tmp_path: Path) -> None:
    """Whoever reads the table wants to know of the journal, and not of its four modules."""
    found("journal/file", 1, 0)
    found("journal/lock", 1)
    found("report", 1)
    found("errors")
    assert mutation.rooms(tmp_path) == {"journal": Counter({1: 2, 0: 1}), "report": Counter({1: 1})}


@pytest.mark.parametrize(("code", "is_killed"), [(1, 1), (3, 1), (-24, 1), (0, 0), (33, 0), (None, 0), (-11, 0)])
def test_a_mutant_is_killed_by_a_failing_test_or_by_never_ending(code: int | None, is_killed: int) -> None:
    """One that no test reaches is none, and what ended oddly is not counted as anything good."""
    assert mutation.killed(Counter({code: 1})) == is_killed


@pytest.mark.parametrize(
    ("journal", "report", "code"),
    [
        ([1] * 9 + [0], [1], 0),
        ([1] * 8 + [0] * 2, [1] * 90, 1),
        ([1] * 9 + [33], [1], 0),
        ([1] * 8 + [0, 33], [1] * 90, 1),
        ([1] * 9 + [None], [1], 1),
        ([1] * 99 + [-11], [1], 1),
    ],
    ids=["nine of ten", "one room below", "nine of ten, one untested", "two untested", "not to its end", "a crash"],
)
def test_it_fails_below_the_floor_and_when_not_all_was_tried(
    found: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    journal: list[int | None],
    report: list[int | None],
    code: int,
) -> None:
    """Of each room, so that none hides behind the others."""
    found("journal/file", *journal)
    found("report", *report)
    assert mutation.main(tmp_path) == code
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[:4]] == [
        "room",
        "journal",
        "report",
        "all",
    ]


def test_nothing_tried_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run that never began is no success."""
    assert mutation.main(tmp_path) == 1
    assert capsys.readouterr().out == "nothing was tried: run mutmut first\n"
