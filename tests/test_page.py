"""The pages, as files: what is in them, what is not, and where lines and bars stand."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import string
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from html import unescape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.counters import LATENCIES, Counters
from bulkredeem.errors import ReportError
from bulkredeem.masking import veiled
from bulkredeem.model import Status
from bulkredeem.page import MOST_ROWS, IndexEntry, NotDoneRow, write_index
from bulkredeem.page.charts import (
    Stretch,
    area,
    log_place,
    nice_top,
    proportional,
    short,
    stack,
    steps,
    time_ticks,
)
from bulkredeem.page.hiding import Hiding
from bulkredeem.page.nights import NIGHTS, night_charts, nights_of
from bulkredeem.page.wire import POINTS, merged, wire_charts
from bulkredeem.summary import RunState
from tests.pages import BEGAN, RUN_ID, USED, counters, entries, rows, summary, write_night

NASTY = "</script><img src=x onerror=alert(1)>\u2028\ud800\x00"


def held(page: str, name: str = "held") -> Any:
    """Return what a page keeps for its script."""
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def row(**changes: Any) -> NotDoneRow:
    """Return a row that is not done."""
    return replace(next(rows(1)), **changes)


def stretch(number: int, **changes: Any) -> Counters:
    """Return one stretch of ten seconds, with ten answers within 0.1 s."""
    latency = [0] * (len(LATENCIES) + 1)
    latency[3] = 10
    plain = Counters(
        ended_at=BEGAN + 10.0 * (number + 1),
        seconds=10.0,
        replies={"2xx": 10},
        latency=tuple(latency),
        allowed=2.0,
        sent=10,
    )
    return replace(plain, **changes)


def entry(name: str = RUN_ID, **changes: Any) -> IndexEntry:
    """Return a finished run of ten rows, all of them done."""
    counts = dict.fromkeys(Status, 0) | {Status.SUCCESS: 10}
    plain = IndexEntry(name=name, state="finished", counts=counts, started_at=BEGAN, finished_at=BEGAN + 60.0)
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("value", "shown"),
    [("", ""), ("   ", ""), ("8878", "•••"), ("8878r", "•••8r"), ("8878ru", "•••ru"), ("919777000012", "•••0012")],
)
def test_an_identifier_is_shown_by_its_end_and_a_short_one_not_at_all(value: str, shown: str) -> None:
    """Four characters of a long one, two of a short one, none below five."""
    assert veiled(value) == shown


@given(st.text(string.ascii_letters + string.digits, min_size=5), st.sampled_from(["", "(", "→ ", "№ 7: "]))
def test_no_other_cell_betrays_an_identifier(value: str, before: str) -> None:
    """Wherever else in the row the identifier stands as a word, its column's name stands instead."""
    hidden = Hiding({"redemptionId": 0}).cells((f" {value} ", f"{before}{value}", before))
    assert hidden == [veiled(value), f"{before}<redemptionId>", before]


def test_a_row_with_fewer_cells_than_headers_is_masked_all_the_same() -> None:
    """A damaged line has none."""
    assert Hiding(USED).cells(()) == []
    assert Hiding(USED).texts(["call 919777000012"], ()) == ["call <number>"]


def test_a_page_holds_no_identifier_in_full(tmp_path: Path) -> None:
    """Neither in its cell, nor in another one, nor in a message, nor in a warning."""
    told = row(
        error_message="redemption 8878ru is reversed",
        reason="redemption <redemptionId> is reversed",
        warnings=("8878ru has no till",),
        cells=("8878ru", "B-1", "", "for 8878ru", "mobile", "919777000012", "1", "call 919777000012"),
    )
    page = write_night(tmp_path, told=[told]).read_text()
    assert "8878ru" not in page
    assert "919777000012" not in page
    assert "--show-pii" in page


def test_a_page_that_is_to_show_them_shows_them_and_says_so(tmp_path: Path) -> None:
    """Cells and message as they are."""
    told = row(error_message="redemption 8878ru is reversed", cells=("8878ru", *row().cells[1:]))
    page = write_night(tmp_path, told=[told], show_pii=True).read_text()
    assert held(page)[0][7] == list(told.cells)
    assert "redemption 8878ru is reversed" in held(page, "about")["kinds"][0]
    assert "shows identifiers in full" in page
    assert "Identifiers are masked" not in page


@given(st.lists(st.text(st.characters(codec=None)), min_size=1, max_size=4), st.text(st.characters(codec=None)))
def test_any_text_of_a_cell_comes_through_and_none_becomes_a_tag(cells: list[str], code: str) -> None:
    """Whatever stands in a file is kept to the last character, and no text ends the element that holds it."""
    with TemporaryDirectory() as folder:
        told = row(cells=(*cells, NASTY), error_code=code)
        page = write_night(Path(folder), told=[told], show_pii=True, wire=()).read_bytes().decode()
    assert held(page)[0][7] == [*cells, NASTY]
    assert held(page, "about")["kinds"][0][1] == code
    assert page.count("</script>") == 3
    assert "<img" not in page


def test_a_text_that_no_html_may_hold_does_not_keep_the_page_from_being_written(tmp_path: Path) -> None:
    """A file name may be no text at all; it is shown as far as it is one."""
    of = summary(1)
    of = replace(of, info=replace(of.info, path=f"/srv/a{NASTY}b.csv", by=NASTY, run_id=NASTY))
    page = write_night(tmp_path, told=[row()], of=of).read_text()
    assert "<img" not in page
    assert "\x00" not in page
    assert "onerror=alert(1)&gt;" in page


def test_a_page_allows_its_own_script_and_style_and_no_others(tmp_path: Path) -> None:
    """The hashes in the policy are those of what stands in the page."""
    page = write_night(tmp_path, 1).read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    script = re.search(r"<script>(.*)</script>", page, re.DOTALL)
    style = re.search(r"<style>(.*)</style>", page, re.DOTALL)
    assert policy
    assert script
    assert style
    for name, text in (("script-src", script[1]), ("style-src", style[1])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in unescape(policy[1])
    assert "default-src 'none'" in unescape(policy[1])
    assert "unsafe" not in policy[1]


def test_a_page_names_no_other_place(tmp_path: Path) -> None:
    """Nothing is fetched: neither from the network nor from beside it, links aside."""
    write_index(tmp_path, entries(10))
    for page in (write_night(tmp_path, 3), tmp_path / "index.html"):
        text = page.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|\bsrc=|@import|url\(", text)


def test_what_is_to_be_done_stands_on_the_page_with_its_commands(tmp_path: Path) -> None:
    """The same steps as on the terminal."""
    page = write_night(tmp_path, 200).read_text()
    assert f"bulkredeem retry reports/{RUN_ID}" in page
    assert f"bulkredeem split --by mend_by reports/{RUN_ID}" in page
    assert "for: store or data team" in page


def test_a_run_that_left_nothing_says_so_and_has_no_table(tmp_path: Path) -> None:
    """There is nothing to search."""
    page = write_night(tmp_path, 0).read_text()
    assert "Nothing is left to do." in page
    assert 'id="table"' not in page
    assert 'id="held"' not in page


def test_a_run_under_way_and_one_that_died_have_pages_too(tmp_path: Path) -> None:
    """What is not known of them is left out."""
    of = summary(2)
    assert of.ending
    died = replace(of.ending, state=RunState.CRASHED, exit_code=None)
    assert "none: the process died" in write_night(tmp_path, 2, of=replace(of, ending=died)).read_text()
    under_way = replace(summary(0), ending=None)
    assert "The run is under way." in write_night(tmp_path, told=(), of=under_way).read_text()


def test_a_run_that_was_closed_for_good_asks_nobody_for_anything(tmp_path: Path) -> None:
    """There are no steps, although rows are not done."""
    page = write_night(tmp_path, 5, of=summary(5, state=RunState.ABANDONED)).read_text()
    assert "nothing goes on with it" in page


def test_all_that_is_known_of_a_run_stands_on_its_page(tmp_path: Path) -> None:
    """Who, on whose behalf, why, again from which, and how it stopped."""
    of = summary(2, state=RunState.STOPPED)
    assert of.ending
    of = replace(
        of,
        info=replace(of.info, resumed_at=BEGAN + 60.0, retry_of="an-earlier-one", undo_of="a-mistaken-one"),
        ending=replace(of.ending, stop_reason="the deadline came", allowed="60/min", exit_code=99),
    )
    page = write_night(tmp_path, 2, of=of).read_text()
    for words in ("m.okafor", "CHG-2041", "nightly", "an-earlier-one", "a-mistaken-one", "the deadline came", "60/min"):
        assert words in page
    assert "2026-11-24 21:31:00 UTC" in page


def test_a_run_of_seconds_and_one_of_minutes_are_told_by_their_units(tmp_path: Path) -> None:
    """And a status that all rows have is all of it, while a little is never nothing."""
    of = summary(0, total=2_310)
    assert of.ending
    short_run = replace(of, ending=replace(of.ending, finished_at=BEGAN + 42.4))
    page = write_night(tmp_path, told=(), of=short_run, wire=()).read_text()
    assert "<dd>42 s</dd>" in page
    assert "<small>100%</small>" in page
    longer = replace(summary(1), ending=replace(of.ending, finished_at=BEGAN + 125))
    page = write_night(tmp_path, 1, of=longer, wire=()).read_text()
    assert "<dd>2 min 05 s</dd>" in page
    assert "<small>&lt; 0.1%</small>" in page


@pytest.mark.parametrize(
    ("name", "is_marked"), [("production", True), (" Production ", True), ("test", False), ("", False)]
)
def test_production_is_marked_and_nothing_else_is(tmp_path: Path, name: str, is_marked: bool) -> None:  # noqa: FBT001  a column of the table
    """The whole head of the page says so."""
    of = summary(1)
    page = write_night(tmp_path, 1, of=replace(of, info=replace(of.info, environment=name))).read_text()
    assert ('class="top production"' in page) is is_marked


def test_rows_beyond_the_most_are_left_out_and_the_page_says_where_they_are(tmp_path: Path) -> None:
    """No more of them are even asked for."""
    taken = 0
    one = row()

    def endless() -> Iterator[NotDoneRow]:
        nonlocal taken
        while True:
            taken += 1
            yield one

    page = _night_of(tmp_path, endless(), MOST_ROWS + 1)
    assert taken == MOST_ROWS
    assert len(held(page)) == MOST_ROWS
    assert "The first 50,000 of 50,001 rows are here" in page
    assert '<a href="not_done.csv">' in page


def _night_of(folder: Path, told: Iterable[NotDoneRow], many: int) -> str:
    return write_night(folder, told=told, of=summary(many), wire=()).read_text()


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """A page of ten times as many rows takes no more of it."""

    def most(many: int) -> int:
        of = summary(many)
        tracemalloc.start()
        try:
            write_night(tmp_path, many, of=of, wire=())
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    most(10)
    assert most(5_000) < most(500) + 500_000


def test_a_page_that_cannot_be_finished_leaves_the_earlier_one(tmp_path: Path) -> None:
    """The file appears whole or not at all."""
    before = write_night(tmp_path, 3).read_text()

    def broken() -> Iterator[NotDoneRow]:
        yield row()
        raise ValueError("the snapshot was cut")

    with pytest.raises(ValueError, match="cut"):
        _night_of(tmp_path, broken(), 3)
    assert (tmp_path / "report.html").read_text() == before
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    """As every report does."""
    with pytest.raises(ReportError, match=r"report\.html"):
        write_night(tmp_path / "nowhere", 1)


def test_no_counters_no_charts_and_the_page_says_why(tmp_path: Path) -> None:
    """An older journal has none."""
    page = write_night(tmp_path, 1, wire=()).read_text()
    assert "There are no charts" in page
    assert "<figure" not in page


@given(st.integers(0, 1500))
def test_merging_loses_no_request_and_draws_few_points(many: int) -> None:
    """Whatever the length of the run."""
    points = merged([stretch(number) for number in range(many)])
    assert sum(point.requests for point in points) == 10 * many
    assert sum(sum(point.latency) for point in points) == 10 * many
    assert sum(point.seconds for point in points) == pytest.approx(10.0 * many)
    assert len(points) <= POINTS


def test_nothing_is_merged_across_a_pause() -> None:
    """A run that went on in the morning was not slow for hours."""
    night = [stretch(number) for number in range(300)]
    morning = [stretch(number + 4000) for number in range(300)]
    points = merged(night + morning)
    assert max(point.seconds for point in points) == 30.0
    assert len(points) == 200


def test_a_pause_breaks_the_lines() -> None:
    """No rate is drawn where there was none."""
    rate, *_ = wire_charts([stretch(0), stretch(100)])
    assert rate.lines[0].path.count("M") == 2


@given(st.integers(1, 500), st.floats(0.5, 200.0), st.floats(0.0, 1.0))
def test_a_paced_run_is_never_drawn_above_its_allowance(sent: int, allowed: float, spare: float) -> None:
    """However short it was: so many slots, evenly spaced, and a part of a gap behind the last."""
    seconds = max((sent - 1 + spare) / allowed, 0.001)
    rate, *_ = wire_charts([stretch(0, seconds=seconds, sent=sent, allowed=allowed)])
    drawn, bound = (float(text.replace(",", "")) for text in rate.table[0][1:])
    assert drawn <= bound * 1.001


def test_what_really_was_above_the_allowance_is_drawn_so() -> None:
    """Only the one slot is forgiven."""
    rate, *_ = wire_charts([stretch(0, sent=300, allowed=20.0)])
    assert rate.table[0][1:] == ("29.9", "20")


def test_a_slow_run_is_drawn_by_the_minute_and_a_fast_one_by_the_second() -> None:
    """Numbers a person has a feeling for."""
    slow, *_ = wire_charts([stretch(0)])
    fast, *_ = wire_charts([stretch(0, replies={"2xx": 900}, sent=900, allowed=100.0)])
    assert slow.title == "Requests a minute"
    assert slow.table[0][1:] == ("60", "120")
    assert fast.title == "Requests a second"
    assert fast.table[0][1:] == ("90", "100")


def test_a_run_without_a_limit_has_no_line_for_it() -> None:
    """And the table says so."""
    rate, *_ = wire_charts([stretch(0, allowed=None)])
    assert [line.kind for line in rate.lines] == ["sent"]
    assert rate.table[0][2] == "no limit"


def test_a_stretch_without_answers_has_no_latency() -> None:
    """The line is broken there, and the table says why."""
    silent = stretch(1, replies={"none": 4}, latency=(0,) * (len(LATENCIES) + 1))
    _, latency, _ = wire_charts([stretch(0), silent, stretch(2)])
    assert latency.lines[0].path.count("M") == 2
    assert latency.table[1][1:] == ("no answer",) * 3
    assert latency.table[0][1] == "100 ms"
    _, nothing, _ = wire_charts([silent])
    assert nothing.lines[0].path == ""


def test_troubles_are_told_apart_and_counted() -> None:
    """Throttling, errors of the platform, silence, and refusals of rows."""
    *_, troubles = wire_charts([stretch(0, replies={"2xx": 5, "429": 4, "5xx": 3, "none": 2, "4xx": 1})])
    assert [(kind, note) for kind, _, note in troubles.legend] == [
        ("throttled", "4"),
        ("server", "3"),
        ("silent", "2"),
        ("refusal", "1"),
    ]
    assert troubles.says == "10 of 15 requests."
    *_, none = wire_charts([stretch(0)])
    assert none.says == "Every answer was a success."


@given(st.floats(1e-6, 1e12))
def test_an_axis_ends_at_a_round_number_not_far_above(most: float) -> None:
    """Nothing is cut off, and nothing is squeezed into the lowest third."""
    assert most <= nice_top(most) * (1 + 1e-9)
    assert nice_top(most) <= 3 * most


def test_an_axis_of_nothing_still_has_a_length() -> None:
    """Nothing is divided by zero."""
    assert nice_top(0) == 1.0


@given(st.floats(0, 4e9), st.floats(0, 1e8))
def test_there_are_few_moments_on_the_time_axis_and_all_within(start: float, span: float) -> None:
    """For a run of a second as for one of years."""
    ticks = time_ticks(start, start + span)
    assert len(ticks) <= 7
    assert all(0 <= tick.at <= 100 for tick in ticks)


@given(st.lists(st.tuples(st.text(), st.integers(0, 10**7)), max_size=7))
def test_a_bar_is_full_and_shows_even_the_smallest_part(counts: list[tuple[str, int]]) -> None:
    """Three failed rows of a million are seen."""
    boxes = proportional(counts)
    assert len(boxes) == sum(count > 0 for _, count in counts)
    if boxes:
        assert sum(box.width for box in boxes) == pytest.approx(1000, abs=0.1)
        assert min(box.width for box in boxes) > 8


def test_lines_are_level_over_each_stretch() -> None:
    """A rate belongs to the whole of its stretch."""
    half, full = Stretch(start=0, end=0.5, value=0.5), Stretch(start=0.5, end=1, value=1)
    assert steps([half, full]) == "M0.0 50.00V50.00H500.0V0.00H1000.0"
    assert area([half]) == "M0.0 100L0.0 50.00V50.00H500.0V100Z"
    assert [(box.y, box.height) for box in stack(0, 1, [("a", 0.25), ("b", 0.0), ("c", 0.5)])] == [(75, 25), (25, 50)]
    assert log_place(1, 0.1, 10) == pytest.approx(0.5)
    assert [short(value) for value in (0, 2.5, 150_000, 2e6)] == ["0", "2.5", "150k", "2M"]


def test_a_night_lasts_from_noon_to_noon_and_nights_without_a_run_are_there() -> None:
    """A job that did not run at all is what one looks for."""
    late = datetime(2026, 11, 20, 23, 30).timestamp()  # noqa: DTZ001  the local clock is meant
    early = datetime(2026, 11, 21, 1, 30).timestamp()  # noqa: DTZ001
    later = datetime(2026, 11, 23, 22, 0).timestamp()  # noqa: DTZ001
    told = [entry(started_at=moment, finished_at=moment + 60) for moment in (late, early, later)]
    nights = nights_of([*told, entry(started_at=None)])
    assert [(str(night.day), night.runs, night.seconds) for night in nights] == [
        ("2026-11-20", 2, 120),
        ("2026-11-21", 0, 0),
        ("2026-11-22", 0, 0),
        ("2026-11-23", 1, 60),
    ]


def test_only_the_last_nights_are_drawn() -> None:
    """More could not be told apart."""
    told = [entry(started_at=BEGAN + 86_400 * number) for number in range(NIGHTS + 30)]
    assert len(nights_of(told)) == NIGHTS


def test_runs_that_are_minutes_are_drawn_in_minutes() -> None:
    """And nothing is drawn when no run's beginning is known."""
    *_, duration = night_charts([entry()])
    assert duration.title == "Duration in minutes"
    assert duration.table == (("2026-11-24", "1", "1.00"),)
    assert night_charts([entry(started_at=None)]) == ()


def test_the_index_holds_every_run_the_newest_first(tmp_path: Path) -> None:
    """Also those of which little is known."""
    told = [
        entry("20261101T213000Z-0001", started_at=BEGAN - 86_400),
        entry("20261102T213000Z-0002", started_at=BEGAN, has_page=True, has_not_done=True),
        entry("20261103T213000Z-0003", state="unreadable", counts=None, started_at=None, problem=f"damaged {NASTY}"),
    ]
    write_index(tmp_path, told)
    page = (tmp_path / "index.html").read_text()
    kept = held(page)
    assert [each[0][-4:] for each in kept] == ["0002", "0001", "0003"]
    assert kept[0][10] == ["report.html", "not_done.csv"]
    assert kept[1][10] == ["", ""]
    assert kept[2][5] == f"damaged {NASTY}"
    assert "<img" not in page


def test_an_index_of_nothing_says_so(tmp_path: Path) -> None:
    """A reports folder may be new."""
    write_index(tmp_path, [])
    assert "There are no runs yet." in (tmp_path / "index.html").read_text()


def test_the_index_of_three_thousand_runs_is_not_large(tmp_path: Path) -> None:
    """It is written anew after each run, and opened each morning."""
    told = [entry(f"run-{number}", started_at=BEGAN + 7_200 * number) for number in range(3_000)]
    write_index(tmp_path, told)
    assert (tmp_path / "index.html").stat().st_size < 1_500_000


def test_a_night_of_hours_is_drawn_with_its_throttling(tmp_path: Path) -> None:
    """The page of a real night has all three charts, and few points in each."""
    page = write_night(tmp_path, 20, wire=counters()).read_text()
    assert page.count("<figure") == 3
    assert page.count('class="spot"') <= 3 * POINTS
    assert len(page) < 400_000
