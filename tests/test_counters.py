"""Counters: which class an answer is in, how long most took, and that the journal gives back what it was given."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkredeem.counters import LATENCIES, STRETCH, Counters, Counting, class_of, percentile
from bulkredeem.model import Answer, Reply, Trouble

CLASSES = len(LATENCIES) + 1
LOST = Trouble(code="CONNECTION_LOST", message="the connection was lost", may_be_applied=True)
LATENCY = st.lists(st.integers(0, 10_000), min_size=CLASSES, max_size=CLASSES).map(tuple)
COUNTERS = st.builds(
    Counters,
    ended_at=st.floats(0, 1e11),
    seconds=st.floats(0, 1e6),
    replies=st.dictionaries(st.sampled_from(["2xx", "3xx", "4xx", "5xx", "429", "none"]), st.integers(0, 10**9)),
    latency=LATENCY,
    allowed=st.none() | st.floats(0, 1e6),
    sent=st.integers(0, 10**9),
)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (Reply(http_status=200), "2xx"),
        (Reply(http_status=302), "3xx"),
        (Reply(http_status=400), "4xx"),
        (Reply(http_status=428), "4xx"),
        (Reply(http_status=429), "429"),
        (Reply(http_status=430), "4xx"),
        (Reply(http_status=503, unreadable="was HTML, not JSON"), "5xx"),
        (LOST, "none"),
    ],
)
def test_an_answer_is_in_one_class(answer: Answer, name: str) -> None:
    """By its first digit, but for the one that asks for patience, and for none."""
    assert class_of(answer) == name


@pytest.mark.parametrize(
    ("seconds", "place"),
    [(0.0, 0), (0.01, 0), (0.0100001, 1), (0.02, 1), (1.0, 6), (1.5, 7), (30.0, CLASSES - 2), (30.1, CLASSES - 1)],
)
def test_how_long_an_answer_took_is_in_the_first_class_whose_bound_it_does_not_pass(seconds: float, place: int) -> None:
    """The last class is for all above."""
    counting = Counting(100.0, 2.5)
    counting.add(Reply(http_status=200), seconds)
    ended = counting.end(110.0, None)
    assert ended is not None
    assert ended.latency == tuple(int(each == place) for each in range(CLASSES))


def test_how_long_no_answer_took_says_nothing() -> None:
    """A try that ran into its timeout is counted, and is in no class of latency."""
    counting = Counting(100.0, 2.5)
    counting.add(LOST, 30.0)
    ended = counting.end(110.0, None)
    assert ended is not None
    assert (ended.replies, ended.requests, sum(ended.latency)) == ({"none": 1}, 1, 0)


def test_the_next_stretch_begins_where_the_last_ended() -> None:
    """Nothing is counted twice, and no second is in two stretches."""
    counting = Counting(100.0, 2.5)
    counting.send()
    counting.send()
    counting.add(Reply(http_status=200), 0.1)
    counting.add(Reply(http_status=429), 0.1)
    first = counting.end(110.0, 2.0)
    counting.add(Reply(http_status=200), 0.1)
    second = counting.end(113.5, None)
    assert (first, second) == (
        Counters(
            ended_at=110.0,
            seconds=STRETCH,
            replies={"2xx": 1, "429": 1},
            latency=(0, 0, 0, 2, *[0] * (CLASSES - 4)),
            allowed=2.5,
            sent=2,
        ),
        Counters(
            ended_at=113.5,
            seconds=3.5,
            replies={"2xx": 1},
            latency=(0, 0, 0, 1, *[0] * (CLASSES - 4)),
            allowed=None,
            sent=0,
        ),
    )


def test_a_stretch_without_an_answer_is_one() -> None:
    """In an outage the charts show that nothing came, not that nobody looked."""
    ended = Counting(100.0, 2.5).end(110.0, None)
    assert ended is not None
    assert (ended.replies, ended.requests, ended.percentile(0.5)) == ({}, 0, None)


def test_a_stretch_that_took_no_time_is_none() -> None:
    """A run that ends as a stretch ends has no further one."""
    assert Counting(100.0, 2.5).end(100.0, None) is None


def test_a_clock_that_was_set_back_makes_no_negative_stretch() -> None:
    """Such a stretch is none, and the next begins at what the clock shows now."""
    counting = Counting(100.0, 2.5)
    assert counting.end(40.0, None) is None
    ended = counting.end(50.0, None)
    assert ended is not None
    assert ended.seconds == 10.0


@pytest.mark.parametrize(
    ("share", "bound"), [(0.01, 0.01), (0.5, 0.01), (0.51, 0.02), (0.9, 0.02), (0.95, 30.0), (1.0, 30.0)]
)
def test_a_percentile_is_the_bound_of_a_class(share: float, bound: float) -> None:
    """Of the class above all bounds it is the last bound: it is not known how long those took."""
    latency = (50, 40, *[0] * (CLASSES - 3), 10)
    assert percentile(latency, share) == bound


def test_of_no_answers_there_is_no_percentile() -> None:
    """Not even zero."""
    assert percentile((0,) * CLASSES, 0.95) is None


@given(LATENCY, st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_so_many_answers_came_within_a_percentile(latency: tuple[int, ...], share: float) -> None:
    """At least the share of them, and fewer within the bound before: it is the smallest bound of which that is true."""
    bound = percentile(latency, share)
    if bound is None:
        assert sum(latency) == 0
        return
    place = LATENCIES.index(bound)
    within = list(accumulate(latency))
    wanted = share * sum(latency)
    assert within[place] >= wanted or bound == LATENCIES[-1]
    assert place == 0 or within[place - 1] < wanted


@given(COUNTERS)
def test_what_the_journal_kept_comes_back(counters: Counters) -> None:
    """Through JSON, to the last bit."""
    assert Counters.from_json_object(orjson.loads(orjson.dumps(counters.as_json_object()))) == counters
    assert Counters.from_json_object(json.loads(json.dumps(counters.as_json_object()))) == counters


SOUND: dict[str, Any] = Counters(
    ended_at=1.0, seconds=10.0, replies={"2xx": 1}, latency=(1, *[0] * (CLASSES - 1)), allowed=None, sent=1
).as_json_object()


@pytest.mark.parametrize(
    "change",
    [
        {"ended_at": "soon"},
        {"seconds": None},
        {"replies": {"2xx": "many"}},
        {"replies": {"2xx": None}},
        {"replies": [1]},
        {"replies": None},
        {"latency": 5},
        {"latency": ["x"]},
        {"latency": [1]},
        {"latency": [0] * (CLASSES + 1)},
        {"allowed": "much"},
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    """A journal that somebody wrote into is not believed, and the charts can rely on what is."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        Counters.from_json_object({**SOUND, **change})


@pytest.mark.parametrize("missing", sorted(SOUND))
def test_what_lacks_a_part_is_refused(missing: str) -> None:
    """Every part is always written."""
    with pytest.raises(KeyError):
        Counters.from_json_object({name: value for name, value in SOUND.items() if name != missing})


@pytest.mark.parametrize("garbage", [[], 5, None, "x"])
def test_what_is_no_object_is_refused(garbage: Any) -> None:
    """Whatever else JSON can say."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        Counters.from_json_object(garbage)
