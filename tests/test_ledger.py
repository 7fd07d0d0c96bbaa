"""The ledger: what the events of a field come to, what that means for a row, and the file that keeps them."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.errors import LedgerError, LedgerLostError
from bulkredeem.ledger import (
    Age,
    Entry,
    Event,
    Knows,
    Ledger,
    Standing,
    System,
    judge,
    key_of,
    other_key,
    standing_of,
)
from bulkredeem.ledger.file import APPLICATION_ID, PROFILES_KEPT, SCHEMA_VERSION, _lay_out
from bulkredeem.model import Correction, Status
from bulkredeem.profile import Profiler

PRODUCTION = System("https://eu.api.example.com", "till.one")
REHEARSAL = System("http://127.0.0.1:8080", "sandbox.till")
NOTHING_KNOWN: tuple[Knows, Sequence[str]] = (Knows.NOTHING, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An event as far as the rules ask for it."""

    status: Status
    value: str
    age: Age
    run_id: str = "r1"
    is_doubted: bool = False


def happened(*events: tuple[Status, str, float]) -> Standing:
    """Return what such events come to: status, value and as-of, each of a run of its own that began at 0."""
    return standing_of(
        Happened(status=status, value=value, age=(as_of, 0.0), run_id=f"r{number}")
        for number, (status, value, as_of) in enumerate(events, start=1)
    )


SUCCESS, SKIPPED, DOUBT = Status.SUCCESS, Status.SKIPPED, Status.IN_DOUBT
AGES = st.tuples(st.sampled_from([1.0, 2.0]), st.sampled_from([1.0, 2.0]))
EVENTS = st.lists(
    st.builds(
        Happened,
        status=st.sampled_from([SUCCESS, SKIPPED, DOUBT, Status.REFUSED, Status.FAILED]),
        value=st.sampled_from("AB"),
        age=AGES,
        run_id=st.sampled_from(["r1", "r2"]),
    ),
    max_size=8,
)
ROWS = st.dictionaries(st.sampled_from(["billNumber", "purpose"]), st.sampled_from("AB"), min_size=1)

# What stands


def test_a_field_of_which_nothing_happened_is_unknown() -> None:
    """Without events there is neither a value nor one that may be there."""
    assert standing_of([]) == Standing()


def test_the_later_of_two_with_the_same_as_of_stands() -> None:
    """Two rows of equally old knowledge: what was applied last is what is there."""
    standing = happened((SUCCESS, "A", 5.0), (SUCCESS, "B", 5.0))
    assert (standing.has("B"), standing.has("A")) == (True, False)


def test_the_last_success_stands_even_if_its_knowledge_is_older() -> None:
    """Somebody sent an older file on purpose: the platform has its value, and the ledger says so."""
    standing = happened((SUCCESS, "A", 9.0), (SUCCESS, "B", 5.0))
    assert standing.has("B")
    assert standing.newer("A", (7.0, 0.0)) is None


@pytest.mark.parametrize("status", [SUCCESS, SKIPPED])
@pytest.mark.parametrize("as_ofs", [(5.0, 9.0), (9.0, 5.0)])
def test_who_confirms_a_value_makes_its_as_of_the_newest(status: Status, as_ofs: tuple[float, float]) -> None:
    """The newest knowledge that says so counts, in whichever order it came."""
    standing = happened((SUCCESS, "A", as_ofs[0]), (status, "A", as_ofs[1]))
    assert standing.known is not None
    assert (standing.known.age, standing.known.run_id) == ((9.0, 0.0), "r2")


def test_a_value_that_comes_back_has_the_as_of_of_its_return() -> None:
    """A, then B, then A again: only the last of them says how old that knowledge is."""
    standing = happened((SUCCESS, "A", 9.0), (SUCCESS, "B", 9.0), (SUCCESS, "A", 5.0))
    assert standing.known is not None
    assert standing.known.age == (5.0, 0.0)


def test_what_may_have_been_applied_makes_a_field_unknown() -> None:
    """After it neither the old value is sure nor the new one."""
    standing = happened((SUCCESS, "A", 1.0), (DOUBT, "B", 2.0))
    assert (standing.has("A"), standing.has("B")) == (False, False)


def test_what_may_have_been_applied_is_never_sure_even_when_it_changes_nothing() -> None:
    """A doubtful try of the value that is there is still a try whose answer nobody has."""
    assert not happened((SUCCESS, "A", 1.0), (DOUBT, "A", 2.0)).has("A")


def test_a_success_ends_all_doubt() -> None:
    """What was applied last is what is there, whatever may have been applied before."""
    standing = happened((DOUBT, "A", 9.0), (DOUBT, "B", 9.0), (SUCCESS, "C", 1.0))
    assert standing.has("C")
    assert standing.newer("C", (0.0, 0.0)) is None
    assert standing.possible == ()


@pytest.mark.parametrize("status", [Status.REFUSED, Status.FAILED])
def test_what_was_surely_not_applied_changes_nothing(status: Status) -> None:
    """A refused row is told in the story, and leaves the field as it was."""
    assert happened((SUCCESS, "A", 1.0), (status, "B", 2.0)) == happened((SUCCESS, "A", 1.0))


@pytest.mark.parametrize(
    ("value", "as_of", "found"),
    [
        pytest.param("B", 4.9, "A", id="older, another value"),
        pytest.param("B", 5.0, None, id="as old, another value"),
        pytest.param("B", 5.1, None, id="newer"),
        pytest.param("A", 1.0, None, id="older, the same value"),
    ],
)
def test_only_another_value_from_newer_knowledge_is_in_the_way(value: str, as_of: float, found: str | None) -> None:
    """A stands as of 5."""
    newer = happened((SUCCESS, "A", 5.0)).newer(value, (as_of, 0.0))
    assert (newer and newer.text) == found


@pytest.mark.parametrize(("began", "is_newer"), [(9.9, True), (10.0, False), (10.1, False)])
def test_of_two_files_as_old_as_each_other_the_run_that_began_later_counts(began: float, *, is_newer: bool) -> None:
    """A run that goes on, or retries another, does not undo what a later run over equally old knowledge has set."""
    standing = standing_of([Happened(status=SUCCESS, value="A", age=(5.0, 10.0))])
    assert (standing.newer("B", (5.0, began)) is not None) == is_newer


def test_a_value_that_may_be_there_is_in_the_way_too() -> None:
    """Nobody knows whether it was applied; if it was, an older one must not replace it."""
    newer = happened((SUCCESS, "A", 1.0), (DOUBT, "B", 9.0)).newer("A", (5.0, 0.0))
    assert newer is not None
    assert (newer.text, newer.age, newer.run_id) == ("B", (9.0, 0.0), "r2")


@given(events=EVENTS)
def test_whatever_is_sure_was_the_last_success_or_found_there(events: list[Happened]) -> None:
    """The field has a value only if the last event that could change it says so, and nothing is in doubt since."""
    standing = standing_of(events)
    told = [each for each in events if each.status in {SUCCESS, SKIPPED}]
    for value in "AB":
        assert not standing.has(value) or told[-1].value == value
    since = events[max((place for place, each in enumerate(events) if each.status is SUCCESS), default=-1) + 1 :]
    if any(each.status is DOUBT for each in since):
        assert not standing.has("A")
        assert not standing.has("B")


@given(events=EVENTS, confirmation=st.sampled_from([SUCCESS, SKIPPED]), age=AGES)
def test_a_confirmation_never_makes_a_value_older(events: list[Happened], confirmation: Status, age: Age) -> None:
    """Whatever came before, saying again what stands never lets an older row pass that did not pass before."""
    before = standing_of(events)
    if before.known is not None:
        again = Happened(status=confirmation, value=before.known.text, age=age)
        after = standing_of([*events, again])
        assert after.known is not None
        assert after.known.text == before.known.text
        same = [each.age for each in before.all if each.text == before.known.text]
        assert after.known.age == max(*same, age)


# What that means for a row


def test_a_row_of_which_nothing_is_known_is_sent() -> None:
    """Nothing is known of its field, or of any."""
    known = {"purpose": happened((SUCCESS, "A", 9.0))}
    assert judge({"billNumber": "B"}, (1.0, 0.0), known) == NOTHING_KNOWN
    assert judge({"billNumber": "B"}, (1.0, 0.0), {}) == NOTHING_KNOWN


def test_a_row_all_of_which_stands_is_applied_already() -> None:
    """Even one of older knowledge; the fields that say so are its own, not all that are known."""
    known = {each: happened((SUCCESS, "A", 9.0)) for each in ("billNumber", "purpose", "billId")}
    assert judge({"billNumber": "A", "purpose": "A"}, (1.0, 0.0), known) == (
        Knows.ALREADY_APPLIED,
        ("billNumber", "purpose"),
    )


def test_a_row_part_of_which_stands_is_sent() -> None:
    """One field is missing: the whole row goes out, for setting a field again changes nothing."""
    known = {"billNumber": happened((SUCCESS, "A", 9.0))}
    assert judge({"billNumber": "A", "purpose": "A"}, (1.0, 0.0), known) == NOTHING_KNOWN


def test_a_row_is_stale_by_the_fields_that_are_newer() -> None:
    """One field of two is enough, and is named alone."""
    known = {"billNumber": happened((SUCCESS, "A", 1.0)), "purpose": happened((SUCCESS, "A", 9.0))}
    assert judge({"billNumber": "B", "purpose": "B"}, (5.0, 0.0), known) == (Knows.STALE, ("purpose",))


@given(row=ROWS, age=AGES, events=st.dictionaries(st.sampled_from(["billNumber"]), EVENTS))
def test_what_is_in_doubt_is_never_applied_already(
    row: dict[str, str], age: Age, events: dict[str, list[Happened]]
) -> None:
    """A row is skipped only when each of its fields surely has its value."""
    known = {field: standing_of(each) for field, each in events.items()}
    knows, fields = judge(row, age, known)
    is_sure = all(known.get(field, Standing()).has(value) for field, value in row.items())
    assert (knows is Knows.ALREADY_APPLIED) == is_sure
    assert set(fields) <= set(row)


@given(row=ROWS, age=AGES, events=st.tuples(EVENTS, EVENTS))
def test_a_field_that_has_the_value_is_never_called_stale(
    row: dict[str, str], age: Age, events: tuple[list[Happened], list[Happened]]
) -> None:
    """However old the row: who says what is there already contradicts nobody."""
    known = dict(zip(("billNumber", "purpose"), map(standing_of, events), strict=True))
    knows, fields = judge(row, age, known)
    if knows is Knows.STALE:
        assert fields
        assert not any(known[field].has(row[field]) for field in fields)


@given(row=ROWS, events=st.tuples(EVENTS, EVENTS))
def test_a_row_as_new_as_all_that_is_known_is_never_stale(
    row: dict[str, str], events: tuple[list[Happened], list[Happened]]
) -> None:
    """Equal age: the later wins."""
    known = dict(zip(("billNumber", "purpose"), map(standing_of, events), strict=True))
    assert judge(row, (2.0, 2.0), known)[0] is not Knows.STALE


# The file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name the ledger's file."""
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """Give an empty ledger."""
    with Ledger.open(path) as opened:
        yield opened


def entry(run_id: str = "r1", system: System = PRODUCTION, **changes: Any) -> Entry:
    """Return a finished run over one file."""
    usual: dict[str, Any] = {
        "run_id": run_id,
        "base_url": system.base_url,
        "username": system.username,
        "environment": "",
        "path": "fixes.csv",
        "sha256": "aa",
        "as_of": 5.0,
        "started_at": 10.0,
        "knew_at": 10.0,
        "user": "asha",
        "by": "",
        "reason": "",
        "kind": "run",
        "state": "finished",
        "rows": 1,
        "left_over": 0,
        "profile": "",
        "mark": "m1",
    }
    return Entry(**{**usual, **changes})


def event(redemption: str = "id AB0002", **changes: Any) -> Event:
    """Return a success in row 2."""
    usual: dict[str, Any] = {
        "redemption": redemption,
        "field": "billNumber",
        "row_number": 2,
        "value": "B-2",
        "status": Status.SUCCESS,
        "code": "",
        "at": 11.0,
    }
    return Event(**{**usual, **changes})


def named(redemption_id: str = "", external_reference_number: str = "") -> Correction:
    """Return a correction of a redemption that is named so."""
    return Correction(
        row_number=2,
        redemption_id=redemption_id,
        external_reference_number=external_reference_number,
        entity_type="CUSTOMER",
        identifier_type="mobile",
        identifier_value="919900000002",
        bill_number="B-2",
    )


def standings(ledger: Ledger, correction: Correction, system: System = PRODUCTION) -> dict[str, Standing]:
    """Return what stands of a redemption on a system."""
    lookup = ledger.lookup(system)
    return dict(lookup.standings(correction)) if lookup else {}


def test_an_empty_ledger_knows_nothing(ledger: Ledger) -> None:
    """Every question has an answer, and it is nothing."""
    assert (ledger.marks(), ledger.story("AB0002"), ledger.runs_of("aa", PRODUCTION)) == ({}, [], [])
    assert (ledger.as_of("aa"), ledger.lookup(PRODUCTION), ledger.profiles(PRODUCTION)) == (None, None, [])
    assert not ledger.knows(PRODUCTION.base_url)


def test_an_absorbed_run_is_on_disk(path: Path) -> None:
    """Another one who opens the file finds it, whether or not the first has closed it."""
    with Ledger.open(path) as first:
        first.absorb(entry(), [event()])
        with Ledger.open(path) as second:
            assert standings(second, named("AB0002"))["billNumber"].has("B-2")
            assert second.marks() == {"r1": "m1"}


def test_to_absorb_again_replaces_all_that_was_known_of_the_run(ledger: Ledger) -> None:
    """What the run says now counts, with its state, its mark and what is left, and nothing that it no longer says."""
    ledger.absorb(
        entry(state="stopped", left_over=1), [event(status=Status.IN_DOUBT), event("id AB0003", row_number=3)]
    )
    ledger.absorb(entry(state="finished", left_over=0, mark="m2"), [event()])
    assert standings(ledger, named("AB0002"))["billNumber"].has("B-2")
    assert standings(ledger, named("AB0003")) == {}
    (run,) = ledger.runs_of("aa", PRODUCTION)
    assert (run.state, run.left_over, run.mark) == ("finished", 0, "m2")
    assert ledger.marks() == {"r1": "m2"}


def test_to_absorb_the_same_twice_is_to_absorb_it_once(ledger: Ledger) -> None:
    """No event is told twice."""
    for _ in range(2):
        ledger.absorb(entry(), [event()])
    (told,) = ledger.story("AB0002")
    assert (told.run_id, told.row_number, told.value, told.status) == ("r1", 2, "B-2", Status.SUCCESS)
    assert len(ledger.runs_of("aa", PRODUCTION)) == 1


def test_a_run_whose_events_break_off_is_not_absorbed_in_part(ledger: Ledger) -> None:
    """All its events change in one commit, or none: what was known before stays known."""

    def breaking_off() -> Iterator[Event]:
        yield event(value="other")
        raise ZeroDivisionError

    ledger.absorb(entry(), [event()])
    with pytest.raises(ZeroDivisionError):
        ledger.absorb(entry(mark="m2"), breaking_off())
    assert standings(ledger, named("AB0002"))["billNumber"].has("B-2")
    assert ledger.marks() == {"r1": "m1"}


def test_other_runs_stay_when_one_is_absorbed_again(ledger: Ledger) -> None:
    """Only its own events are replaced."""
    ledger.absorb(entry("r1"), [event()])
    ledger.absorb(entry("r2"), [event(row_number=9, at=12.0)])
    ledger.absorb(entry("r2"), [])
    assert [told.run_id for told in ledger.story("AB0002")] == ["r1"]


def test_a_redemption_is_found_by_either_name_once_a_reply_named_both(ledger: Ledger) -> None:
    """Also what was known by one name before the other was heard of."""
    ledger.absorb(entry("r1"), [event("id AB0002", field="purpose", value="gift", at=11.0)])
    ledger.absorb(entry("r2"), [event("ref ACR-2", alias="id AB0002", at=12.0)])
    for correction in (named("AB0002"), named(external_reference_number="ACR-2")):
        found = standings(ledger, correction)
        assert (found["purpose"].has("gift"), found["billNumber"].has("B-2")) == (True, True)
    assert ledger.story("AB0002") == ledger.story("ACR-2")
    assert [told.redemption for told in ledger.story("ACR-2")] == ["id AB0002", "ref ACR-2"]


def test_one_text_may_be_the_id_of_one_redemption_and_the_reference_of_another(ledger: Ledger) -> None:
    """A row asks for what it names; only a person, who may mean either, is told of both."""
    ledger.absorb(entry(), [event("id SAME", value="by id"), event("ref SAME", row_number=3, value="by reference")])
    assert standings(ledger, named("SAME"))["billNumber"].has("by id")
    assert standings(ledger, named(external_reference_number="SAME"))["billNumber"].has("by reference")
    assert {told.value for told in ledger.story("SAME")} == {"by id", "by reference"}


@pytest.mark.parametrize(
    "other",
    [REHEARSAL, System(PRODUCTION.base_url, "till.two"), System("https://us.api.example.com", PRODUCTION.username)],
)
def test_systems_never_mix(ledger: Ledger, other: System) -> None:
    """What was applied elsewhere, or by another till, says nothing here: values, names, contents and profiles."""
    told = entry(system=other, profile='{"rows":1,"fields":{}}')
    ledger.absorb(told, [event("id AB0002", alias="ref ACR-2")])
    ledger.absorb(entry("r2", PRODUCTION, sha256="bb"), [event("id AB0009")])
    assert standings(ledger, named("AB0002"), PRODUCTION) == {}
    assert standings(ledger, named(external_reference_number="ACR-2"), PRODUCTION) == {}
    assert standings(ledger, named("AB0002"), other)["billNumber"].has("B-2")
    assert ledger.runs_of("aa", PRODUCTION) == []
    assert ledger.profiles(PRODUCTION) == []


def test_a_story_is_told_of_all_systems_in_its_order(ledger: Ledger) -> None:
    """A person wants to know of every one, and sees which it was."""
    ledger.absorb(entry("r2", REHEARSAL), [event(at=11.0, value="tried")])
    ledger.absorb(entry("r1", PRODUCTION), [event(at=12.0)])
    story = ledger.story("AB0002")
    assert [(told.base_url, told.value) for told in story] == [
        (REHEARSAL.base_url, "tried"),
        (PRODUCTION.base_url, "B-2"),
    ]


def test_what_was_told_of_a_run_is_told_whole(ledger: Ledger) -> None:
    """Every word of it comes back in its place, in the list of runs and beside each event."""
    whole = entry(
        environment="production",
        path="night.csv",
        knew_at=9.0,
        by="Ravi",
        reason="wrong bills",
        kind="retry",
        state="stopped",
        rows=7,
        left_over=3,
        profile="{}",
    )
    ledger.absorb(whole, [event(code="750", status=Status.REFUSED)])
    assert ledger.runs_of("aa", PRODUCTION) == [whole]
    assert [told._asdict() for told in ledger.story("AB0002")] == [
        {
            "redemption": "id AB0002",
            "field": "billNumber",
            "value": "B-2",
            "status": Status.REFUSED,
            "code": "750",
            "at": 11.0,
            "row_number": 2,
            "run_id": "r1",
            "as_of": 5.0,
            "environment": "production",
            "path": "night.csv",
            "sha256": "aa",
            "user": "asha",
            "by": "Ravi",
            "reason": "wrong bills",
            "kind": "retry",
            "base_url": PRODUCTION.base_url,
            "username": PRODUCTION.username,
        }
    ]


def test_events_of_one_moment_are_told_by_run_then_row_then_field(ledger: Ledger) -> None:
    """Two people who ask for a story read the same one."""
    fields = ["billId", "billNumber", "customFields.a", "customFields.b", "purpose"]
    ledger.absorb(entry("r2"), [event(field=field) for field in reversed(fields)])
    ledger.absorb(entry("r1"), [event(field=fields[0], row_number=4), event(field=fields[4], row_number=3)])
    assert [(told.run_id, told.row_number, told.field) for told in ledger.story("AB0002")] == [
        ("r1", 3, "purpose"),
        ("r1", 4, "billId"),
        *(("r2", 2, field) for field in fields),
    ]


def test_what_an_earlier_try_may_have_set_makes_the_field_unknown(ledger: Ledger) -> None:
    """The row was refused in the end; the run that may have set its field all the same is named."""
    ledger.absorb(entry(), [event(status=Status.REFUSED, value="B-9", is_doubted=True)])
    standing = standings(ledger, named("AB0002"))["billNumber"]
    assert (standing.known, [(each.text, each.run_id) for each in standing.possible]) == (None, [("B-9", "r1")])


def test_what_a_success_leaves_is_no_doubt(ledger: Ledger) -> None:
    """The run that set a field is named with its value."""
    ledger.absorb(entry("r7"), [event()])
    standing = standings(ledger, named("AB0002"))["billNumber"]
    assert standing.known is not None
    assert (standing.known.text, standing.known.run_id, standing.possible) == ("B-2", "r7", ())


def test_an_address_is_known_once_a_run_went_there(ledger: Ledger) -> None:
    """Whoever it was that signed in."""
    ledger.absorb(entry(system=PRODUCTION), [])
    assert ledger.knows(PRODUCTION.base_url)
    assert not ledger.knows(REHEARSAL.base_url)


def test_a_content_has_the_as_of_with_which_it_was_first_seen(ledger: Ledger) -> None:
    """On whatever system; an undo, which has the hash of the run it takes back, does not count."""
    ledger.absorb(entry("r0", kind="undo", started_at=1.0, as_of=1.0), [])
    ledger.absorb(entry("r2", started_at=20.0, as_of=8.0), [])
    ledger.absorb(entry("r1", REHEARSAL, started_at=10.0, as_of=6.0), [])
    assert ledger.as_of("aa") == 6.0


def test_the_runs_over_a_content_come_the_first_first(ledger: Ledger) -> None:
    """Retries among them, undos not."""
    for run_id, started_at, kind in (("r3", 30.0, "retry"), ("r1", 10.0, "run"), ("r2", 20.0, "undo")):
        ledger.absorb(entry(run_id, started_at=started_at, kind=kind), [])
    assert [run.run_id for run in ledger.runs_of("aa", PRODUCTION)] == ["r1", "r3"]


def test_the_newest_profiles_come_with_the_newest_last(ledger: Ledger) -> None:
    """Not more than a comparison needs, and only those of runs over files that have one and had something applied."""
    for number in range(PROFILES_KEPT + 3):
        profiler = Profiler()
        for _ in range(number):
            profiler.add({"billNumber": "B"})
        text = json.dumps(profiler.profile().as_json_object())
        ledger.absorb(entry(f"r{number}", started_at=float(number), profile=text), [event()])
    ledger.absorb(entry("retry", started_at=99.0, kind="retry", profile=text), [event()])
    ledger.absorb(entry("old", started_at=98.0), [event()])
    ledger.absorb(entry("stopped by a guard", started_at=97.0, profile=text), [event(status=Status.REFUSED)])
    assert [profile.rows for profile in ledger.profiles(PRODUCTION)] == list(range(3, PROFILES_KEPT + 3))


@given(
    runs=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.lists(
                st.tuples(
                    st.sampled_from(["id A", "id B"]),
                    st.sampled_from([Status.SUCCESS, Status.IN_DOUBT, Status.REFUSED]),
                    st.sampled_from("XY"),
                ),
                max_size=4,
            ),
        ),
        max_size=5,
    )
)
def test_what_stands_does_not_depend_on_when_which_run_was_absorbed(
    runs: list[tuple[int, list[tuple[str, Status, str]]]],
) -> None:
    """The order of the events counts, not that in which the journals were read, nor how often."""

    def absorbed(order: Sequence[int]) -> list[dict[str, Standing]]:
        with closing(sqlite3.connect(":memory:", isolation_level="DEFERRED")) as connection:
            _lay_out(connection, Path("memory"))
            ledger = Ledger(connection, Path("memory"))
            for number in order:
                as_of, told = runs[number]
                events = [
                    event(redemption, row_number=place, status=status, value=value, at=number * 10.0 + place)
                    for place, (redemption, status, value) in enumerate(told)
                ]
                ledger.absorb(entry(f"r{number}", as_of=float(as_of)), events)
            return [standings(ledger, named(each)) for each in "AB"]

    numbers = list(range(len(runs)))
    assert absorbed(numbers) == absorbed([*reversed(numbers), *numbers])


def test_a_value_is_as_old_as_its_run_knows(ledger: Ledger) -> None:
    """By as-of, and by the beginning of the run that brought the knowledge, which a retry has from the one before."""
    ledger.absorb(entry(as_of=5.0, started_at=20.0, knew_at=10.0, kind="retry"), [event()])
    known = standings(ledger, named("AB0002"))["billNumber"].known
    assert known is not None
    assert known.age == (5.0, 10.0)


@pytest.mark.parametrize(
    ("correction", "key", "other"),
    [
        (named("AB0002"), "id AB0002", "ref X"),
        (named(external_reference_number="AB0002"), "ref AB0002", "id X"),
    ],
)
def test_a_redemption_is_named_by_the_kind_of_its_identifier(correction: Correction, key: str, other: str) -> None:
    """The other name that a reply gives is of the other kind."""
    assert (key_of(correction), other_key(correction, "X")) == (key, other)


@pytest.mark.parametrize(
    ("network", "kept"), [({}, b"\2\2"), ({"network": False}, b"\2\2"), ({"network": True}, b"\1\1")]
)
def test_only_on_a_server_there_is_no_write_ahead_log(path: Path, network: dict[str, bool], kept: bytes) -> None:
    """SQLite's log needs memory that all its users share; the file's own header says what it has."""
    with Ledger.open(path, **network) as ledger:
        ledger.absorb(entry(), [event()])
    assert path.read_bytes()[18:20] == kept


# A file that is none


def foreign_text(path: Path) -> None:
    """Write something that is no database."""
    path.write_bytes(b"What was applied, by Ravi\n" * 100)


def foreign_database(path: Path) -> None:
    """Make somebody else's database."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE of_ravi (x)")


def later_version(path: Path) -> None:
    """Make a ledger of a version that is not written yet."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def other_application(path: Path) -> None:
    """Make an empty database that says whose it is."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA application_id = 77")


@pytest.mark.parametrize("make", [foreign_text, foreign_database, later_version, other_application])
def test_a_file_that_is_no_ledger_is_named_with_the_remedy(path: Path, make: Callable[[Path], None]) -> None:
    """It is left as it is, for nobody knows what it is worth."""
    make(path)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=r"ledger\.sqlite.*Move it away: it is made anew from the runs"):
        Ledger.open(path)
    assert path.read_bytes()[100:] == before[100:]


def test_a_damaged_ledger_is_named_with_the_remedy(path: Path) -> None:
    """Whenever the damage is met."""
    with Ledger.open(path) as ledger:
        ledger.absorb(entry(), [event(f"id R{number}", row_number=number) for number in range(2000)])
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    with pytest.raises(LedgerError, match="Move it away"), Ledger.open(path) as ledger:
        ledger.story("R7")


QUESTIONS: list[Callable[[Ledger], object]] = [
    lambda ledger: ledger.marks(),
    lambda ledger: ledger.runs_of("aa", PRODUCTION),
    lambda ledger: ledger.as_of("aa"),
    lambda ledger: ledger.knows(PRODUCTION.base_url),
    lambda ledger: ledger.profiles(PRODUCTION),
    lambda ledger: ledger.story("AB0002"),
    lambda ledger: ledger.lookup(PRODUCTION),
    lambda ledger: ledger.absorb(entry(), [event()]),
]


def break_into(path: Path) -> None:
    """Take the tables away, as somebody with a tool of his own might."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("system", "run", "event", "alias"):
            connection.execute(f"DROP TABLE {table}")


@pytest.mark.parametrize("ask", QUESTIONS)
def test_whoever_asks_a_ledger_that_breaks_is_told_which(path: Path, ask: Callable[[Ledger], object]) -> None:
    """A person may have several, one for each reports folder."""
    with Ledger.open(path) as ledger:
        break_into(path)
        with pytest.raises(LedgerError, match=re.escape(f"The ledger {path} cannot be used (no such table")):
            ask(ledger)


def test_a_ledger_that_breaks_while_rows_are_sent_is_named(path: Path) -> None:
    """The run that asks for each row has to end, and says for want of what."""
    with Ledger.open(path) as ledger:
        ledger.absorb(entry(), [event()])
        lookup = ledger.lookup(PRODUCTION)
        assert lookup is not None
        break_into(path)
        words = f"the ledger {path} cannot be read any more (no such table: event)"
        with pytest.raises(LedgerLostError, match=re.escape(words)):
            lookup.standings(named("AB0002"))


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    """Nothing can be opened there."""
    with pytest.raises(LedgerError, match=r"cannot be used \(.*: Is a directory.*nothing was sent"):
        Ledger.open(tmp_path)


# Two at once

MAKER = """
import sys
from pathlib import Path
from bulkredeem.ledger import Ledger
sys.stdin.readline()
for number in range(30):
    Ledger.open(Path(sys.argv[1]) / f"ledger{number}.sqlite").__exit__()
"""


@pytest.mark.parametrize(
    "base_url",
    ["https://eu.api.example.com/gateway", "https://EU.Api.example.com/gateway", "HTTPS://eu.api.example.com/gateway"],
)
def test_a_host_is_the_same_however_it_is_written(base_url: str) -> None:
    """What was applied there is known whatever the case; the path and the user name are what they are."""
    assert System.of(base_url, "Till.1") == System("https://eu.api.example.com/gateway", "Till.1")


def test_several_processes_may_make_the_file_at_once(tmp_path: Path) -> None:
    """Two runs with two keys begin on the same morning: whoever comes second uses what the first has made."""
    makers = [
        subprocess.Popen([sys.executable, "-c", MAKER, str(tmp_path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    ended = []
    for maker in makers:
        assert maker.stdin is not None
        maker.stdin.write(b"\n")
        maker.stdin.flush()
    for maker in makers:
        _, said = maker.communicate(timeout=60)
        ended.append((maker.returncode, said.decode()))
    assert ended == [(0, "")] * 3


class Overtaken:
    """A connection before whose n-th statement somebody else makes the ledger."""

    def __init__(self, path: Path, statement: int) -> None:
        """Open the file."""
        self._path = path
        self._left = statement
        self.real = sqlite3.connect(path)

    def execute(self, sql: str) -> sqlite3.Cursor:
        """Let somebody else come first when it is the moment."""
        self._left -= 1
        if not self._left:
            Ledger.open(self._path).__exit__()
        return self.real.execute(sql)

    def __enter__(self) -> None:
        self.real.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.real.__exit__(kind, error, trace)


@pytest.mark.parametrize("statement", [1, 2, 3])
def test_who_is_overtaken_while_making_the_file_uses_the_others(path: Path, statement: int) -> None:
    """Until we have the file to ourselves somebody else may make the tables; that is no reason to call them foreign."""
    overtaken: Any = Overtaken(path, statement)
    with closing(overtaken.real):
        _lay_out(overtaken, path)
    with Ledger.open(path) as ledger:
        assert ledger.marks() == {}


def test_two_may_absorb_at_once(path: Path) -> None:
    """One waits for the other; nothing is lost."""
    with Ledger.open(path):
        pass

    def absorb(run_id: str) -> None:
        with Ledger.open(path) as ledger:
            for _ in range(5):
                ledger.absorb(entry(run_id), [event(f"id {run_id}")])

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(absorb, ["r1", "r2"]))
    with Ledger.open(path) as ledger:
        assert ledger.marks() == {"r1": "m1", "r2": "m1"}
        assert (len(ledger.story("r1")), len(ledger.story("r2"))) == (1, 1)
