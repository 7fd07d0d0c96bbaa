"""The first pass over a run's rows, which rows are meant, and what is decided of a row before it is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.application.intake import judged_rows, require_columns, rows_where, take_in
from bulkredeem.application.planning import (
    SAMPLE,
    Plan,
    _Sampler,
    plan_of,
    remarks_on_selection,
    selected_by,
    spread,
    unselected,
)
from bulkredeem.application.rows import RowNumbers
from bulkredeem.application.rulings import Rulings
from bulkredeem.application.shelf import run_folders
from bulkredeem.columns import ColumnMap
from bulkredeem.errors import InputFileError
from bulkredeem.journal import Planned
from bulkredeem.ledger import Lookup, Standing
from bulkredeem.ledger.knowledge import Value
from bulkredeem.model import Condition, Correction, Invalid, Job, Problem, Skipped
from bulkredeem.settings import load_settings

if TYPE_CHECKING:
    from tests.conftest import Rehearsal

HEADER = ["redemptionId", "billNumber", "identifierValue", "Store"]
Write = Callable[..., Path]


@pytest.fixture
def taken(nothing_configured: Path, write_csv: Write) -> Callable[..., tuple[Path, ColumnMap]]:
    """Take a file in, and return the folder of its snapshot and its columns."""

    def take(rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> tuple[Path, ColumnMap]:
        folder = nothing_configured / "run"
        folder.mkdir()
        intake = take_in(write_csv([header, *rows]), folder, load_settings({}), durable=False)
        return folder, intake.columns

    return take


Taken = Callable[..., tuple[Path, ColumnMap]]


def rows(numbers: Sequence[int], store: str = "17") -> list[list[str]]:
    """Return good rows of these redemptions, each of a customer of its own."""
    return [[f"AB{number:04}", f"B-{number}", f"9199{number:08}", store] for number in numbers]


def planned(folder: Path, columns: ColumnMap, **flags: Any) -> tuple[Plan, list[Planned]]:
    """Return the plan for a snapshot, with what it says of the rows."""
    with plan_of(folder, columns, load_settings(flags), source="fixes.csv") as plan:
        return plan, list(plan.planned())


# The sample


@given(numbers=st.lists(st.integers(2, 10_000), unique=True, max_size=300).map(sorted), most=st.integers(1, 50))
def test_chosen_rows_are_spread_evenly(numbers: list[int], most: int) -> None:
    """All of few; of many exactly so many, in order, the first among them, with gaps that differ by one at most."""
    chosen = spread(numbers, most)
    assert len(chosen) == min(most, len(numbers))
    assert chosen[:1] == numbers[:1]
    places = [*(numbers.index(each) for each in chosen), len(numbers)]
    gaps = {after - before for before, after in pairwise(places)}
    assert not gaps or (min(gaps) >= 1 and max(gaps) - min(gaps) <= 1)


@given(st.integers(0, 5000))
def test_a_sample_is_spread_over_however_many_come(heard: int) -> None:
    """It is kept in flat memory, and reaches from the first to the end."""
    sampler = _Sampler()
    for number in range(heard):
        sampler.add(number)
        assert len(sampler._kept) <= 2 * SAMPLE
    chosen = sampler.chosen(SAMPLE)
    assert len(chosen) == min(heard, SAMPLE)
    if heard > SAMPLE:
        gaps = [after - before for before, after in zip(chosen, [*chosen[1:], heard], strict=True)]
        assert chosen[0] == 0
        assert max(gaps) <= 4 * heard / SAMPLE


def test_a_sample_holds_sendable_rows_that_have_their_redemption_to_themselves(taken: Taken) -> None:
    """Neither an invalid row is a canary, nor one of two that depend on each other, nor one that is not selected."""
    folder, columns = taken(
        [
            *rows([2]),
            ["AB0003", "", "919900000003", "17"],
            *rows([4]),
            ["AB0004", "B-4", "919900000099", "17"],
            *rows([6], store="18"),
            *rows([7]),
        ]
    )
    plan, found = planned(folder, columns, only="store=17")
    assert plan.sample == (2, 7)
    assert [(each.row_number, each.status) for each in found] == [(4, ""), (5, "")]


def test_the_first_pass_asks_whether_to_go_on(taken: Taken) -> None:
    """Who asks for a stop while a large file is looked at need not wait for its end."""

    def stop() -> None:
        raise ZeroDivisionError

    folder, columns = taken(rows([2]))
    with (
        pytest.raises(ZeroDivisionError),
        plan_of(folder, columns, load_settings({}), source="fixes.csv", proceed=stop),
    ):
        pass


def test_the_profile_is_of_the_rows_that_are_meant(taken: Taken) -> None:
    """Rows that are not selected say nothing about what is sent."""
    folder, columns = taken([*rows([2, 3]), *rows([4], store="18")])
    assert planned(folder, columns)[0].profile.rows == 3
    assert planned(folder, columns, only="store=17")[0].profile.rows == 2


def test_only_selected_rows_can_fight(taken: Taken) -> None:
    """Two rows set one field to different values; with one of them selected there is no conflict."""
    folder, columns = taken([["AB0002", "A", "919900000002", "17"], ["AB0002", "B", "919900000002", "18"]])
    assert [each.code for each in planned(folder, columns)[1]] == ["CONFLICTING_ROWS"] * 2
    assert planned(folder, columns, only="Store=18")[1] == []


# Which rows are meant


@pytest.mark.parametrize("header", ["Store", "store", " STORE "])
def test_a_column_is_found_however_it_is_written(taken: Taken, header: str) -> None:
    """Capitals and blanks around it make no difference; the file's own name counts, also of a column we do not use."""
    folder, columns = taken([*rows([2]), *rows([3], store=" 17 "), *rows([4], store="170"), *rows([5], store="")])
    assert list(rows_where(folder, columns, Condition.parse(f"{header}=17"))) == [2, 3]


def test_an_empty_value_means_empty_cells(taken: Taken) -> None:
    """A line that cannot be read as cells has none: it is never meant."""
    folder, columns = taken([*rows([2]), *rows([3], store=""), ["AB0004", "B-4"], *rows([5], store="  ")])
    assert list(rows_where(folder, columns, Condition.parse("Store="))) == [3, 5]


def test_a_value_is_compared_with_its_capitals(taken: Taken) -> None:
    """A cell is whatever it is."""
    folder, columns = taken([*rows([2], store="Pune"), *rows([3], store="PUNE")])
    assert list(rows_where(folder, columns, Condition.parse("Store=PUNE"))) == [3]


def test_an_escaped_cell_is_found_by_what_it_says(taken: Taken) -> None:
    """A report of ours puts an apostrophe before a formula; whoever asks for the value does not."""
    folder, columns = taken(rows([2], store="=A=B"))
    assert list(rows_where(folder, columns, Condition.parse("Store==A=B"))) == [2]


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        pytest.param(
            HEADER,
            "a.csv has no column 'shop' for --only or --first to look at; it has 'redemptionId', ",
            id="none",
        ),
        pytest.param([*HEADER[:3], "Shop", "shop "], "a.csv has more than one column 'shop' for --only", id="two"),
    ],
)
def test_a_column_that_is_not_there_once_is_named_with_those_that_are(
    taken: Taken, header: list[str], sentence: str
) -> None:
    """Nothing is guessed: a wrong word would select no row, and nobody would notice."""
    _, columns = taken([["AB0002", "B-2", "919900000002"] + [""] * (len(header) - 3)], header)
    with pytest.raises(InputFileError) as caught:
        require_columns(("", "shop=17"), columns, "a.csv")
    assert str(caught.value).startswith(sentence)


def test_without_a_condition_all_are_meant(taken: Taken) -> None:
    """None is not the empty set."""
    folder, columns = taken(rows([2]))
    assert selected_by("", folder, columns) is None
    none = selected_by("Store=99", folder, columns)
    assert none is not None
    assert len(none) == 0


async def test_an_unknown_column_for_only_ends_a_run_before_it_begins(rehearsal: Rehearsal) -> None:
    """No folder is left behind, and nothing is sent."""
    with pytest.raises(InputFileError, match="no column 'shop'"):
        await rehearsal.run(rehearsal.file(3), only="shop=17")
    assert rehearsal.arrived == []
    assert run_folders(Path("reports")) == []


async def test_an_unknown_column_for_first_ends_a_run_before_it_begins(rehearsal: Rehearsal) -> None:
    """It is as much a mistake as one for `--only`; not even a canary goes out."""
    with pytest.raises(InputFileError, match="no column 'shop'"):
        await rehearsal.run(rehearsal.file(3), first="shop=17", canary=1)
    assert rehearsal.arrived == []
    assert run_folders(Path("reports")) == []


async def test_what_was_not_selected_says_so(rehearsal: Rehearsal, write_csv: Write) -> None:
    """A good row and an invalid one are skipped; a line that cannot be read as cells stays invalid."""
    path = write_csv(
        [
            HEADER,
            *rows([2]),
            *rows([3], store="18"),
            ["AB0004", "", "919900000004", "18"],
            ["", "B-5", "919900000005", "18"],
            ["AB0006", "B-6"],
        ]
    )
    run = await rehearsal.run(path, only="Store=17")
    assert rehearsal.verdicts(run.folder) == {
        2: ("success", ""),
        3: ("skipped", "NOT_SELECTED"),
        4: ("skipped", "NOT_SELECTED"),
        5: ("skipped", "NOT_SELECTED"),
        6: ("invalid", "RAGGED_ROW"),
    }
    assert rehearsal.arrived == ["AB0002"]


@pytest.mark.parametrize("problem", [Problem(code="748", column="billNumber", message="nothing to set")])
def test_an_invalid_row_that_is_not_meant_is_skipped(problem: Problem) -> None:
    """What is wrong with it is of no interest today."""
    assert isinstance(unselected(Invalid(row_number=7, problems=(problem,))), Skipped)


# What is decided of a row


class Known:
    """A ledger's answers, by redemption id."""

    def __init__(self, known: Mapping[str, Mapping[str, Standing]]) -> None:
        """Take them."""
        self._known = known

    def standings(self, correction: Correction) -> Mapping[str, Standing]:
        """Answer."""
        return self._known.get(correction.redemption_id, {})


def stands(text: str, as_of: float, run_id: str = "r1") -> Standing:
    """Return what is known of a field that was set."""
    return Standing(known=Value(text=text, age=(as_of, 0.0), run_id=run_id))


def ruled(
    judged: Sequence[Correction | Invalid],
    *found: Planned,
    selected: Sequence[int] | None = None,
    known: Mapping[str, Mapping[str, Standing]] | None = None,
    **changes: Any,
) -> list[Job]:
    """Return what the rulings make of rows."""
    rulings = Rulings(
        planned=iter(found),
        selected=None if selected is None else RowNumbers(selected),
        lookup=None if known is None else cast("Lookup", Known(known)),
        **changes,
    )
    return list(rulings.over(judged))


def words_of(job: Job) -> tuple[str, ...]:
    """Say in short what a row came to: `sent`, or its codes."""
    if isinstance(job, Correction):
        return ("sent",)
    return (job.code,) if isinstance(job, Skipped) else tuple(problem.code for problem in job.problems)


def test_a_row_about_which_nothing_is_known_is_sent_as_it_is(correction: Callable[..., Correction]) -> None:
    """Not even a copy is made of it."""
    row = correction()
    assert ruled([row]) == [row]
    assert ruled([row], known={}) == [row]


def test_what_the_first_pass_found_counts_for_its_row_alone(correction: Callable[..., Correction]) -> None:
    """Also when rows between are not asked for: a run goes on in the middle of a file."""
    found = [
        Planned(2, "skipped", "DUPLICATE_ROW", "the same as row 1"),
        Planned(4, "", "", ""),
        Planned(5, "invalid", "CONFLICTING_ROWS", "row 9 says otherwise"),
        Planned(9, "skipped", "SUPERSEDED", "row 10 counts"),
    ]
    jobs = ruled([correction(3), correction(4), correction(5), correction(8), correction(9)], *found)
    assert list(map(words_of, jobs)) == [("sent",), ("sent",), ("CONFLICTING_ROWS",), ("sent",), ("SUPERSEDED",)]
    conflict = jobs[2]
    assert isinstance(conflict, Invalid)
    assert conflict.problems[0].detail == "row 9 says otherwise"


def test_a_row_that_is_not_selected_is_asked_nothing_else(correction: Callable[..., Correction]) -> None:
    """Neither its neighbours nor the ledger matter."""
    known = {"R3": {"billNumber": stands("B-3", 9.0)}}
    jobs = ruled([correction(2), correction(3)], Planned(2, "invalid", "X", ""), selected=[4], known=known)
    assert list(map(words_of, jobs)) == [("NOT_SELECTED",)] * 2


@pytest.mark.parametrize(
    ("standing", "changes", "expected"),
    [
        pytest.param(stands("B-2", 9.0), {}, "ALREADY_APPLIED", id="stands already"),
        pytest.param(stands("B-2", 9.0), {"resend": True}, "sent", id="stands already, to be sent again"),
        pytest.param(stands("B-2", 9.0), {"doubted": {2}}, "sent", id="stands already, and this run may have sent it"),
        pytest.param(stands("other", 9.0), {}, "STALE_CORRECTION", id="newer knowledge says otherwise"),
        pytest.param(stands("other", 9.0), {"resend": True}, "STALE_CORRECTION", id="to be sent again, but stale"),
        pytest.param(stands("other", 9.0), {"allow_older": True}, "sent", id="stale, and wanted"),
        pytest.param(stands("other", 5.0), {}, "sent", id="as old"),
        pytest.param(stands("other", 5.0), {"age": (5.0, -1.0)}, "STALE_CORRECTION", id="as old, of an earlier run"),
        pytest.param(stands("other", 1.0), {}, "sent", id="older"),
    ],
)
def test_the_ledger_is_asked_of_each_row(
    correction: Callable[..., Correction], standing: Standing, changes: dict[str, Any], expected: str
) -> None:
    """The file's knowledge is as of 5."""
    (job,) = ruled([correction(2)], known={"R2": {"billNumber": standing}}, **{"age": (5.0, 0.0), **changes})
    assert words_of(job) == (expected,)


def test_a_stale_row_names_each_field_with_run_and_moment(correction: Callable[..., Correction]) -> None:
    """A person sees what is newer, and how to send the row all the same."""
    known = {"R2": {"billNumber": stands("other", 86_400.0, "r8"), "purpose": stands("gift", 0.0)}}
    (job,) = ruled([correction(2, purpose="refund")], known=known, age=(5.0, 0.0))
    assert isinstance(job, Invalid)
    (problem,) = job.problems
    assert problem.column == "billNumber"
    assert "(run r8, as of 1970-01-02 00:00 UTC)" in problem.message
    assert "--allow-older" in problem.message
    assert "other" not in problem.message.replace("another", "")


def test_a_row_applied_already_names_the_runs(correction: Callable[..., Correction]) -> None:
    """Each once, in order."""
    known = {"R2": {"billNumber": stands("B-2", 1.0, "r2"), "purpose": stands("gift", 1.0, "r1")}}
    (job,) = ruled([correction(2, purpose="gift")], known=known)
    assert isinstance(job, Skipped)
    assert job.message == "exactly this was applied before, by run r1 and r2"


def test_an_undo_is_not_asked_of_the_ledger(correction: Callable[..., Correction]) -> None:
    """It looks at what the platform has itself, which is worth more."""
    (job,) = ruled([correction(2, expected={"billNumber": "X"})], known={"R2": {"billNumber": stands("B-2", 9.0)}})
    assert words_of(job) == ("sent",)


def test_a_row_that_may_be_applied_says_so(correction: Callable[..., Correction]) -> None:
    """Only a trustworthy answer settles it then."""
    jobs = ruled([correction(2), correction(3)], doubted={3})
    assert [isinstance(job, Correction) and job.may_be_applied for job in jobs] == [False, True]


def test_a_row_that_may_be_applied_is_never_called_invalid(correction: Callable[..., Correction]) -> None:
    """Once a try was in doubt, only a later trustworthy answer settles the row: an invalid row was never sent."""
    (job,) = ruled([correction(2)], known={"R2": {"billNumber": stands("other", 9.0)}}, age=(5.0, 0.0), doubted={2})
    assert not isinstance(job, Invalid)


def test_rows_are_ruled_while_they_are_read(taken: Taken) -> None:
    """However large the file: the second row is not read before the first is taken."""
    folder, columns = taken(rows([2, 3]))
    read: list[int] = []

    def noted(judged: Iterator[Correction | Invalid]) -> Iterator[Correction | Invalid]:
        for job in judged:
            read.append(job.row_number)
            yield job

    jobs = Rulings(planned=iter(()), selected=None).over(noted(judged_rows(folder, columns, load_settings({}).rules)))
    next(jobs)
    assert read == [2]


def test_a_condition_that_no_row_meets_is_told(taken: Taken) -> None:
    """It may be mistyped, and must not look as if nothing were to be done; a night without such a row is no error."""
    folder, columns = taken(rows([1, 2]))
    for condition, told in (
        ("Store=18", ("No row has 'Store=18' (--only): nothing is to be sent.",)),
        ("Store=17", ()),
    ):
        assert remarks_on_selection(condition, selected_by(condition, folder, columns)) == told
    assert remarks_on_selection("", None) == ()
