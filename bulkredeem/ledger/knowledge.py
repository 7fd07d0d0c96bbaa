"""What the events of a redemption come to, and what that means for a row: pure rules.

A field *stands* as its last success says, or as a row found it that had nothing to send. What may have been applied
after that makes it unknown. A value's *age* says how old the knowledge is that it came from: by its as-of, and where
that is the same, by when the run began that brought it; a run that retries another, or goes on, brings nothing newer
than that did. Who confirms a value later makes it newer, since an even older file must not replace what a newer one
says, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from bulkredeem.model import Status

Age = tuple[float, float]
"""As-of, and when the run began that brought the knowledge; both in seconds since the epoch. The larger is newer."""


class Knows(Enum):
    """What the ledger says of a row."""

    NOTHING = "nothing"
    """Nothing against sending it."""
    ALREADY_APPLIED = "already applied"
    """All that it sets stands already."""
    STALE = "stale"
    """A field that it sets has another value from newer knowledge, or may have one."""


class Told(Protocol):
    """What is needed of an event."""

    @property
    def status(self) -> Status:
        """What became of the row."""

    @property
    def value(self) -> str:
        """What the field was, or should have been, set to."""

    @property
    def age(self) -> Age:
        """How old the run's knowledge was."""

    @property
    def run_id(self) -> str:
        """The run."""

    @property
    def is_doubted(self) -> bool:
        """Whether an earlier try of a row that was refused in the end may have set the field all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """What a field has, or may have."""

    text: str
    age: Age
    """How old the newest knowledge is that says so."""
    run_id: str
    """The run that set it last, or may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of one field of one redemption."""

    known: Value | None = None
    """What was applied last, or None if nothing ever was."""
    possible: tuple[Value, ...] = ()
    """What may have been applied since; empty when the field is known."""

    def has(self, value: str) -> bool:
        """Say whether the field surely has this value, as far as the ledger knows."""
        return not self.possible and self.known is not None and self.known.text == value

    def newer(self, value: str, age: Age) -> Value | None:
        """Return another value that the field has, or may have, from newer knowledge than this; None for none."""
        return next((each for each in self.all if each.text != value and each.age > age), None)

    @property
    def all(self) -> tuple[Value, ...]:
        """Whatever the field has, or may have."""
        return self.possible if self.known is None else (self.known, *self.possible)


def standing_of(events: Iterable[Told]) -> Standing:
    """Return what the events of one field, in the order in which they came about, come to."""
    standing = Standing()
    for event in events:
        value = Value(text=event.value, age=event.age, run_id=event.run_id)
        if event.status is Status.IN_DOUBT or event.is_doubted:
            standing = replace(standing, possible=(*standing.possible, value))
        elif event.status is Status.SUCCESS:
            standing = Standing(known=_confirmed(standing, value))
        elif event.status is Status.SKIPPED:
            standing = replace(standing, known=_confirmed(standing, value))
    return standing


def _confirmed(standing: Standing, value: Value) -> Value:
    """Return a value that was set, or found, perhaps again: the newest knowledge that says so counts."""
    return replace(value, age=max(each.age for each in (*standing.all, value) if each.text == value.text))


def judge(values: Mapping[str, str], age: Age, standings: Mapping[str, Standing]) -> tuple[Knows, Sequence[str]]:
    """Return what is known of a row that sets these values, and which fields say so."""
    known = {field: standings.get(field, Standing()) for field in values}
    if all(known[field].has(value) for field, value in values.items()):
        return Knows.ALREADY_APPLIED, tuple(values)
    stale = tuple(field for field, value in values.items() if known[field].newer(value, age))
    return (Knows.STALE, stale) if stale else (Knows.NOTHING, ())
