"""Durations, deadlines and moments as a person writes them, on a clock of Berlin, which is changed twice a year."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bulkredeem.moments import MOST, deadline_moment, is_relative, parse_duration, parse_moment, time_in_words

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
YEAR_2026 = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


@pytest.fixture(scope="module", autouse=True)
def _berlin() -> Iterator[None]:
    """Set the clock of this process to Berlin's, and back afterwards."""
    yield from _clock_of("Europe/Berlin")


@pytest.fixture
def _clock_changed_at_midnight() -> Iterator[None]:
    """Set it to one that springs from 00:00 to 01:00 on the third Sunday of October, as Brazil's once did."""
    yield from _clock_of("<-03>3<-02>,M10.3.0/0,M2.3.0/0")


def _clock_of(zone: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        yield
    time.tzset()


def at(text: str) -> float:
    """Return the moment of an ISO time with its offset."""
    return datetime.fromisoformat(text).timestamp()


def shown(moment: float) -> str:
    """Return what the local clock shows then, with its offset."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(moment))


# Durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("900", 900),
        ("90s", 90),
        ("15m", 900),
        ("15min", 900),
        ("2h", 7200),
        ("1.5h", 5400),
        ("0.5", 0.5),
        (" 15 M ", 900),
        ("2 H", 7200),
        ("000090s", 90),
        ("720h", MOST),
        ("43200m", MOST),
        ("2592000", MOST),
        ("0.001s", 0.001),
        ("5d", 5 * DAY),
        ("1.5 D", 1.5 * DAY),
        ("30d", MOST),
    ],
)
def test_a_duration_has_a_unit_or_is_seconds(text: str, seconds: float) -> None:
    """Show each unit, in either case, with blanks and with a part; thirty days are the most."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "0", "0s", "0.0h", "-5m", "+5m", "721h", "2592000.1", "1e3", "inf", "nan", "9" * 400),
        *(
            "h",
            "m5",
            "30.1d",
            "d",
            "5 days",
            "5 hours",
            "1h30m",
            "1:30",
            "06:00",
            "1,5h",
            ".5h",
            "5.",
            "five",
            "5\n5",
            "5\u017f",
        ),
    ],
)
def test_anything_else_is_no_duration(text: str) -> None:
    """The sentence quotes what was written, and says how to write it."""
    with pytest.raises(ValueError, match="is not a duration; write it like 90s, 15m or 2h, up to 30 days") as caught:
        parse_duration(text)
    assert repr(text) in str(caught.value)


@given(
    number=st.integers(0, 3_000_000),
    part=st.none() | st.integers(0, 999),
    unit=st.sampled_from([("", 1), ("s", 1), ("m", 60), ("min", 60), ("h", 3600), ("d", 86_400)]),
)
def test_a_duration_is_exact_or_an_error(number: int, part: int | None, unit: tuple[str, int]) -> None:
    """Every number with every unit means what it says if that is more than nothing and at most thirty days."""
    text = f"{number}{unit[0]}" if part is None else f"{number}.{part:03}{unit[0]}"
    exact = (number + Fraction(part or 0, 1000)) * unit[1]
    if 0 < exact <= MOST:
        assert parse_duration(text) == pytest.approx(float(exact))
    else:
        with pytest.raises(ValueError, match="is not a duration"):
            parse_duration(text)


def test_what_is_kept_may_be_kept_longer() -> None:
    """With another longest duration as much is taken, to the second."""
    assert parse_duration("90d", most=3650 * DAY) == 90 * DAY
    assert parse_duration("3650d", most=3650 * DAY) == 3650 * DAY


@pytest.mark.parametrize(
    ("text", "most", "days"),
    [("3650.1d", 3650 * DAY, "3,650 days"), ("soon", 3650 * DAY, "3,650 days"), ("8d", 7 * DAY, "7 days")],
)
def test_the_sentence_names_the_longest_duration_that_is_taken(text: str, most: float, days: str) -> None:
    """Who is told how long it may be, is told what is true for this option."""
    with pytest.raises(ValueError, match=rf"is not a duration; write it like .*, up to {days}$") as caught:
        parse_duration(text, most=most)
    assert ("90d" in str(caught.value)) is (most > MOST)


# Durations and times of day


@pytest.mark.parametrize("text", ["06:00", "6:00", "0:00", "00:00", "23:59", " 06:00 "])
def test_a_time_of_day_is_no_duration(text: str) -> None:
    """A deadline that is a time of day stays what it is when a run is gone on with."""
    assert not is_relative(text)
    moment = deadline_moment(text, at("2026-11-23T12:00:00+01:00"))
    assert time.strftime("%H:%M", time.localtime(moment)) == text.strip().rjust(5, "0")


@pytest.mark.parametrize(("text", "seconds"), [("2h", 7200), ("15m", 900), ("720h", MOST), ("2d", 2 * DAY)])
def test_a_duration_counts_from_now(text: str, seconds: float) -> None:
    """It starts anew each time it is read."""
    assert is_relative(text)
    now = at("2026-11-23T12:00:00.250+01:00")
    assert deadline_moment(text, now) == now + seconds


@pytest.mark.parametrize(
    "text", ["", "24:00", "12:60", "6:0", "006:00", "06:00:00", "6am", "-06:00", "06-00", "721h", "6", "06.00"]
)
def test_anything_else_is_no_deadline(text: str) -> None:
    """The sentence speaks of both forms."""
    with pytest.raises(ValueError, match="is no deadline; write a time of day like 06:00, or a duration like 2h") as c:
        deadline_moment(text, 0.0)
    assert repr(text) in str(c.value)
    assert c.value.__cause__ is None


# The next time the clock shows


@pytest.mark.parametrize(
    ("now", "text", "moment"),
    [
        pytest.param("2026-11-23T22:00:00+01:00", "06:00", "2026-11-24T06:00:00+01:00", id="tomorrow"),
        pytest.param("2026-11-23T05:59:59+01:00", "06:00", "2026-11-23T06:00:00+01:00", id="in a second"),
        pytest.param("2026-11-23T06:00:00+01:00", "06:00", "2026-11-24T06:00:00+01:00", id="now is too late"),
        pytest.param("2026-11-23T06:00:00.001+01:00", "06:00", "2026-11-24T06:00:00+01:00", id="just missed"),
        pytest.param("2026-11-23T23:59:59+01:00", "00:00", "2026-11-24T00:00:00+01:00", id="midnight, in a second"),
        pytest.param("2026-11-24T00:00:00+01:00", "00:00", "2026-11-25T00:00:00+01:00", id="midnight, at midnight"),
        pytest.param("2026-11-24T00:00:01+01:00", "23:59", "2026-11-24T23:59:00+01:00", id="the last minute of today"),
        pytest.param("2026-12-31T22:00:00+01:00", "06:00", "2027-01-01T06:00:00+01:00", id="next year"),
        pytest.param("2028-02-28T22:00:00+01:00", "06:00", "2028-02-29T06:00:00+01:00", id="a leap day"),
        # Clocks are set forward: 02:00 is followed by 03:00.
        pytest.param("2026-03-28T22:00:00+01:00", "06:00", "2026-03-29T06:00:00+02:00", id="a night of seven hours"),
        pytest.param("2026-03-29T01:30:00+01:00", "03:00", "2026-03-29T03:00:00+02:00", id="right after the gap"),
        pytest.param("2026-03-29T01:10:00+01:00", "02:30", "2026-03-29T03:30:00+02:00", id="never shown: later"),
        pytest.param("2026-03-29T03:10:00+02:00", "02:30", "2026-03-29T03:30:00+02:00", id="never shown, still to be"),
        pytest.param("2026-03-29T03:30:00+02:00", "02:30", "2026-03-30T02:30:00+02:00", id="never shown, and past"),
        # Clocks are set back: 03:00 in summer time is 02:00 in winter time.
        pytest.param("2026-10-24T22:00:00+02:00", "06:00", "2026-10-25T06:00:00+01:00", id="a night of nine hours"),
        pytest.param("2026-10-25T01:00:00+02:00", "02:30", "2026-10-25T02:30:00+02:00", id="shown twice: the first"),
        pytest.param("2026-10-25T02:50:00+02:00", "02:30", "2026-10-25T02:30:00+01:00", id="shown once more"),
        pytest.param("2026-10-25T02:10:00+01:00", "02:30", "2026-10-25T02:30:00+01:00", id="the second is to come"),
        pytest.param("2026-10-25T02:50:00+01:00", "02:30", "2026-10-26T02:30:00+01:00", id="both are past"),
        pytest.param("2026-10-25T02:50:00+01:00", "06:00", "2026-10-25T06:00:00+01:00", id="from the second hour"),
    ],
)
def test_a_time_of_day_is_the_next_one_the_clock_shows(now: str, text: str, moment: str) -> None:
    """Show it around midnight, at ends of months, and in both nights in which the clocks are changed."""
    assert shown(deadline_moment(text, at(now))) == shown(at(moment))
    assert deadline_moment(text, at(now)) == at(moment)


@given(now=st.floats(0, 365 * DAY).map(YEAR_2026.__add__), hour=st.integers(0, 23), minute=st.integers(0, 59))
@example(now=at("2026-10-25T02:50:00+02:00"), hour=2, minute=30)
@example(now=at("2026-03-29T01:10:00+01:00"), hour=2, minute=30)
def test_no_earlier_minute_shows_the_time(now: float, hour: int, minute: int) -> None:
    """Looking at the clock every minute finds nothing sooner; only what is never shown comes an hour later."""
    moment = deadline_moment(f"{hour:02}:{minute:02}", now)
    minutes = (now // MINUTE * MINUTE + MINUTE * number for number in range(1, 25 * 60 + 1))
    found = next((each for each in minutes if time.localtime(each)[3:5] == (hour, minute)), None)
    if time.localtime(moment)[3:5] == (hour, minute):
        assert moment == found
    else:
        assert hour == 2
        assert shown(moment) == f"2026-03-29T03:{minute:02}:00+0200"


@pytest.mark.usefixtures("_clock_changed_at_midnight")
def test_a_midnight_that_is_never_shown_comes_with_its_day() -> None:
    """Where clocks are set forward at midnight, the day begins at one, and so does its deadline."""
    assert shown(deadline_moment("00:00", at("2026-10-17T22:00:00-03:00"))) == "2026-10-18T01:00:00-0200"


# Moments that have been


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-23", "2026-11-23T00:00:00+01:00"),
        ("2026-11-23 18:00", "2026-11-23T18:00:00+01:00"),
        (" 2026-11-23T18:00\n", "2026-11-23T18:00:00+01:00"),
        ("2026-11-23t18:00:59", "2026-11-23T18:00:59+01:00"),
        ("2026-11-23 18:00:59.25", "2026-11-23T18:00:59.250+01:00"),
        ("2026-11-23 18:00Z", "2026-11-23T18:00:00+00:00"),
        ("2026-11-23T18:00:00z", "2026-11-23T18:00:00+00:00"),
        ("2026-11-23T18:00+05:30", "2026-11-23T18:00:00+05:30"),
        ("2026-11-23T18:00-0300", "2026-11-23T18:00:00-03:00"),
        ("2026-07-01", "2026-07-01T00:00:00+02:00"),
        ("2024-02-29", "2024-02-29T00:00:00+01:00"),
        ("2026-10-25 02:30", "2026-10-25T02:30:00+02:00"),
        ("2026-03-29 02:30", "2026-03-29T03:30:00+02:00"),
    ],
)
def test_a_date_is_local_unless_it_names_its_zone(text: str, moment: str) -> None:
    """A date alone is its midnight; of a time shown twice the first is meant, and one never shown comes later."""
    assert parse_moment(text, at("2026-11-24T12:00:00+01:00")) == at(moment)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "yesterday", "18", "24:00", "18:00Z", "18:00:00", "-18:00", "20261123", "2026-W47-1", "26-11-23"),
        *("2026-11-31", "2026-13-01", "2026-02-29", "2026-11-23 18", "2026-11-23  18:00", "2026-11-23 24:01"),
        *("2026-11-23_18:00", "2026-11-23 18:60", "2026-11-23Z", "23.11.2026", "2026-11-23 18:00 CET", "1764000000"),
        *("2026-11-23 18:00+25:00", "0000-01-01", "0001-01-01", "2026-11-23 18:00\n5", "\u0662026-11-23"),
    ],
)
def test_anything_else_is_no_moment(text: str) -> None:
    """The sentence quotes what was written, and says how to write it."""
    with pytest.raises(ValueError, match="is no moment; write it like 18:00, 2026-11-24 or 2026-11-24 18:00") as caught:
        parse_moment(text, at("2026-11-24T12:00:00+01:00"))
    assert repr(text) in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", ["2026-11-24 12:01", "2026-11-24 12:00:30", "2026-11-24T11:01Z"])
def test_a_clock_may_be_a_minute_ahead(text: str) -> None:
    """Who names the moment of now is not refused because two clocks differ."""
    now = at("2026-11-24T12:00:00+01:00")
    assert now < parse_moment(text, now) <= now + MINUTE


@pytest.mark.parametrize("text", ["2026-11-24 12:01:01", "2026-11-25", "2062-11-24", "2026-11-24T11:02Z"])
def test_the_future_has_not_been(text: str) -> None:
    """A moment further ahead is a slip, and is said to be one."""
    with pytest.raises(ValueError, match="lies in the future; write a moment that has been") as caught:
        parse_moment(text, at("2026-11-24T12:00:00+01:00"))
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("now", "text", "moment"),
    [
        pytest.param("2026-11-23T22:00:00+01:00", "18:00", "2026-11-23T18:00:00+01:00", id="today"),
        pytest.param("2026-11-23T06:00:00+01:00", "18:00", "2026-11-22T18:00:00+01:00", id="yesterday"),
        pytest.param("2026-11-23T18:00:00+01:00", "18:00", "2026-11-23T18:00:00+01:00", id="now has been"),
        pytest.param("2026-11-23T17:59:59.9+01:00", "18:00", "2026-11-22T18:00:00+01:00", id="not yet"),
        pytest.param("2026-11-23T00:00:00+01:00", " 0:00 ", "2026-11-23T00:00:00+01:00", id="midnight"),
        pytest.param("2027-01-01T06:00:00+01:00", "23:59", "2026-12-31T23:59:00+01:00", id="last year"),
        # Clocks are set forward: 02:00 is followed by 03:00.
        pytest.param("2026-03-29T12:00:00+02:00", "02:30", "2026-03-29T03:30:00+02:00", id="never shown: later"),
        pytest.param("2026-03-29T03:10:00+02:00", "02:30", "2026-03-28T02:30:00+01:00", id="never shown, still to be"),
        pytest.param("2026-03-30T01:00:00+02:00", "02:30", "2026-03-29T03:30:00+02:00", id="the night after"),
        # Clocks are set back: 03:00 in summer time is 02:00 in winter time.
        pytest.param("2026-10-25T12:00:00+01:00", "02:30", "2026-10-25T02:30:00+01:00", id="shown twice: the last"),
        pytest.param("2026-10-25T02:10:00+01:00", "02:30", "2026-10-25T02:30:00+02:00", id="the second is to come"),
        pytest.param("2026-10-25T02:10:00+02:00", "02:30", "2026-10-24T02:30:00+02:00", id="both are to come"),
    ],
)
def test_a_time_of_day_is_the_last_one_the_clock_has_shown(now: str, text: str, moment: str) -> None:
    """Show it around midnight, and in both nights in which the clocks are changed."""
    assert shown(parse_moment(text, at(now))) == shown(at(moment))
    assert parse_moment(text, at(now)) == at(moment)


@given(now=st.floats(0, 365 * DAY).map(YEAR_2026.__add__), hour=st.integers(0, 23), minute=st.integers(0, 59))
@example(now=at("2026-10-25T02:10:00+01:00"), hour=2, minute=30)
@example(now=at("2026-03-29T03:10:00+02:00"), hour=2, minute=30)
def test_no_later_minute_has_shown_the_time(now: float, hour: int, minute: int) -> None:
    """Looking back every minute finds nothing later; only what is never shown comes an hour after its time."""
    moment = parse_moment(f"{hour:02}:{minute:02}", now)
    minutes = (now // MINUTE * MINUTE - MINUTE * number for number in range(25 * 60 + 1))
    found = next((each for each in minutes if time.localtime(each)[3:5] == (hour, minute)), None)
    if time.localtime(moment)[3:5] == (hour, minute):
        assert moment == found
    else:
        assert hour == 2
        assert shown(moment) == f"2026-03-29T03:{minute:02}:00+0200"


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        ("2026-11-24T06:00:00+01:00", "06:00"),
        ("2026-11-24T21:59:00+01:00", "21:59"),
        ("2026-11-24T22:00:00+01:00", "2026-11-24 22:00"),
        ("2026-12-23T22:00:00+01:00", "2026-12-23 22:00"),
        ("2026-11-23T21:00:00+01:00", "21:00"),
        ("2026-11-22T21:00:00+01:00", "2026-11-22 21:00"),
    ],
)
def test_a_moment_in_words(moment: str, words: str) -> None:
    """A time within a day needs no date."""
    assert time_in_words(at(moment), at("2026-11-23T22:00:00+01:00")) == words
