"""What the values of each field look like, and what is unusual about them: a whole column may be the wrong one.

A row can be sound by itself and the file still be wrong: the same bill number in every row, the store's number where
the bill's should stand. Nobody sees that in one row, and the platform takes it. So a run counts what its values look
like, and compares that with the runs before.

The *shape* of a value is its first characters with each run of letters as `A` and each run of digits as `9`:
`INV-2024/77` is `A-9/9`. Distinct values are counted one by one while they are few; then they are estimated from the
smallest of their hashes (k minimum values: if the 1,024th lies at a thousandth of all there could be, about 1,024,000
were drawn), within some per cent. So memory does not grow with the file.

Pure; and what is stored of a profile (`as_json_object`) holds no value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Any, Final, Self

from bulkredeem.model import Column

COUNTED: Final = 1_024
"""Distinct values that are counted one by one, and hashes that are kept of more: an estimate is then off by 3% mostly,
and hardly ever by 12%."""
SHAPES: Final = 10
"""Shapes that a profile names, the most common ones: files have one or two of a bill number."""
SHAPES_HELD: Final = 500
"""Shapes that are counted on from one batch to the next: free text has any number, and these hold all that matter."""
SHAPED: Final = 40
"""Characters of a value that its shape tells of: longer ones are free text, which is costly and tells nothing."""
EXAMPLES: Final = 3
"""Values that are kept to be shown."""
BATCH: Final = 1_000
"""Rows whose values are looked at together: one by one they would cost several times as much."""

ENOUGH_VALUES: Final = 50
"""Values of a field that are needed to call them unusual: of fewer, anything may be chance."""
ENOUGH_PROFILES: Final = 3
"""Earlier profiles with the field that are needed to say what is usual."""
LOOKED_AT: Final = 20
"""Earlier profiles that are looked at, the newest: what was usual a year ago is no measure."""
FAR_FEWER: Final = 10
"""How many times fewer distinct values are far fewer. Busy and quiet days differ by less."""
WORTH_A_SHAPE: Final = 0.01
"""Share of the values from which on a shape is one of the field's, and no slip of somebody's pen."""
EACH_ITS_OWN: Final = 0.95
"""Share of distinct values from which on every row can be said to have its own: a customer may have bought twice."""

_NAMES: Final = frozenset({str(Column.BILL_NUMBER), str(Column.BILL_ID)})
"""Fields that name something, so that they can be wrong as a whole. The others are free text: unusual is not wrong."""
_HASH_BYTES: Final = 8
_HASHES: Final = 256.0**_HASH_BYTES
"""How many hashes there are."""
_NO_LIMIT: Final = b"\xff" * (_HASH_BYTES + 1)
"""Greater than every hash."""
_BETWEEN: Final = "\0"
"""Stands between values that are shaped together; no file of rows holds it."""
_DIGITS: Final = re.compile(r"\d+")
_LETTERS: Final = re.compile(r"[A-Za-z\x80-\U0010ffff]+")
"""Beyond ASCII all count as letters: many scripts write one with several characters, not all of them letters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProfile:
    """What the values of one field look like."""

    filled: int
    """Rows that set it; at least 1."""
    distinct: int
    """Distinct values: exact below `COUNTED`, from there on an estimate."""
    shortest: int
    """Characters of the shortest value."""
    longest: int
    """Characters of the longest."""
    shapes: tuple[tuple[str, int], ...]
    """The most common shapes and how many values have each, the most common first; close, where there are very many."""
    example: tuple[str, ...] = ()
    """The first distinct values; empty in a profile that was stored."""

    @property
    def share(self) -> float:
        """Distinct values per row that sets the field: 1.0 where each has its own."""
        return self.distinct / self.filled

    def as_json_object(self) -> dict[str, Any]:
        """Return what may be stored: everything but the example."""
        return {
            "filled": self.filled,
            "distinct": self.distinct,
            "shortest": self.shortest,
            "longest": self.longest,
            "shapes": [list(shape) for shape in self.shapes],
        }

    @classmethod
    def from_json_object(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `as_json_object` has returned; raise KeyError, TypeError or ValueError for anything else."""
        if stored["filled"] < 1:
            raise ValueError("a field that no row sets has no profile")
        return cls(
            filled=int(stored["filled"]),
            distinct=int(stored["distinct"]),
            shortest=int(stored["shortest"]),
            longest=int(stored["longest"]),
            shapes=tuple((str(shape), int(count)) for shape, count in stored["shapes"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What the values of a file's sendable rows look like."""

    rows: int
    fields: Mapping[str, FieldProfile]
    """Field → its profile, for each field that a row sets."""

    def as_json_object(self) -> dict[str, Any]:
        """Return what may be stored and may travel: it holds no value."""
        return {"rows": self.rows, "fields": {name: field.as_json_object() for name, field in self.fields.items()}}

    @classmethod
    def from_json_object(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `as_json_object` has returned; raise ValueError for anything else."""
        try:
            fields = {name: FieldProfile.from_json_object(field) for name, field in stored["fields"].items()}
            return cls(rows=int(stored["rows"]), fields=fields)
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise ValueError("what is stored is no profile") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something unusual about the values of a field."""

    field: str
    sentence: str
    """For a person: what it is, and what it usually is where that is known. It holds no value."""
    is_alarming: bool
    """Whether the column may well be the wrong one."""


class Profiler:
    """Takes the values of sendable rows, and makes their profile; memory does not grow with the rows."""

    def __init__(self) -> None:
        """Start with no row."""
        self._rows = 0
        self._waiting: dict[str, list[str]] = {}
        self._counts: dict[str, _Counts] = {}

    def add(self, values: Mapping[str, str]) -> None:
        """Take a row's values, by the names of their fields."""
        self._rows += 1
        for name, value in values.items():
            if name in self._waiting:
                self._waiting[name].append(value)
            else:
                self._waiting[name] = [value]
        if self._rows % BATCH == 0:
            self._count()

    def profile(self) -> Profile:
        """Return the profile of the rows so far."""
        self._count()
        return Profile(rows=self._rows, fields={name: counts.profile() for name, counts in self._counts.items()})

    def _count(self) -> None:
        for name, values in self._waiting.items():
            if name not in self._counts:
                self._counts[name] = _Counts()
            self._counts[name].add(values)
        self._waiting.clear()


class _Counts:
    """What is known so far of one field."""

    def __init__(self) -> None:
        self._filled = 0
        self._lengths: tuple[int, ...] = ()
        self._shapes: Counter[str] = Counter()
        self._hashes: list[bytes] = []
        """The smallest, in order; bytes compare as the numbers that they are."""
        self._example: tuple[str, ...] = ()

    def add(self, values: Sequence[str]) -> None:
        """Take some values, at least one."""
        self._filled += len(values)
        lengths = (*self._lengths, *map(len, values))
        self._lengths = min(lengths), max(lengths)
        counted = Counter(values)
        self._add_distinct(counted)
        for shape, count in zip(shapes_of(tuple(counted)), counted.values(), strict=True):
            self._shapes[shape] += count
        if len(self._shapes) > SHAPES_HELD:
            self._shapes = Counter(dict(self._shapes.most_common(SHAPES_HELD)))

    def profile(self) -> FieldProfile:
        """Return what is known, of one value at least."""
        shortest, longest = self._lengths
        return FieldProfile(
            filled=self._filled,
            distinct=self._distinct(),
            shortest=shortest,
            longest=longest,
            shapes=tuple(self._shapes.most_common(SHAPES)),
            example=self._example,
        )

    def _add_distinct(self, values: Iterable[str]) -> None:
        if len(self._example) < EXAMPLES:
            self._example = tuple(dict.fromkeys(chain(self._example, values)))[:EXAMPLES]
        limit = self._hashes[-1] if len(self._hashes) == COUNTED else _NO_LIMIT
        # Soon nearly all lie beyond the limit, and then there is nothing to be sorted.
        if smaller := _hashes_below(limit, values):
            self._hashes = sorted(smaller.union(self._hashes))[:COUNTED]

    def _distinct(self) -> int:
        if len(self._hashes) < COUNTED:
            return len(self._hashes)
        # Of n hashes spread evenly the k-th lies at k / n; with k - 1 the estimate is right on average.
        estimate = round((COUNTED - 1) * _HASHES / (int.from_bytes(self._hashes[-1], "big") + 1))
        return min(self._filled, max(COUNTED, estimate))


def _hashes_below(limit: bytes, values: Iterable[str]) -> set[bytes]:
    # Python's own hash differs from process to process, and a check is to find what the run will find.
    encoded = (value.encode(errors="surrogatepass") for value in values)
    hashes = (blake2b(each, digest_size=_HASH_BYTES).digest() for each in encoded)
    return {each for each in hashes if each < limit}


def shapes_of(values: Sequence[str]) -> list[str]:
    """Return the shape of each value, in their order; at once, since that is many times cheaper."""
    begun = [value[:SHAPED] for value in values]
    shapes = _shape(_BETWEEN.join(begun)).split(_BETWEEN)
    return shapes if len(shapes) == len(begun) else list(map(_shape, begun))


def _shape(text: str) -> str:
    return _LETTERS.sub("A", _DIGITS.sub("9", text))


def remarks(profile: Profile, earlier: Sequence[Profile]) -> tuple[Finding, ...]:
    """Return what is unusual about a profile, field by field, compared with earlier ones, of which the last is newest.

    Without enough earlier ones only repeated bill numbers and bill ids are told, and nothing alarms.
    """
    return tuple(
        finding for name, field in profile.fields.items() for finding in _of_field(name, field, _known(name, earlier))
    )


def _known(name: str, earlier: Sequence[Profile]) -> Sequence[FieldProfile]:
    """Return what earlier profiles say of a field: the newest that have it."""
    return [profile.fields[name] for profile in earlier if name in profile.fields][-LOOKED_AT:]


def _of_field(name: str, field: FieldProfile, known: Sequence[FieldProfile]) -> Iterator[Finding]:
    names = name in _NAMES
    if field.filled < ENOUGH_VALUES:
        return
    if len(known) < ENOUGH_PROFILES:
        if names and field.distinct * FAR_FEWER < field.filled:
            yield Finding(field=name, sentence=f"{name}: {_repeated(field)}", is_alarming=False)
        return
    if field.share * FAR_FEWER < min(each.share for each in known):
        sentence = f"{name}: {_repeated(field)}; usually {_usual_share(known)}"
        yield Finding(field=name, sentence=sentence, is_alarming=names)
    shortest, longest = min(each.shortest for each in known), max(each.longest for each in known)
    if field.shortest > longest or field.longest < shortest:
        own, usual = _span(field.shortest, field.longest), _span(shortest, longest)
        # Numbers that count on become longer one day.
        yield Finding(field=name, sentence=f"{name}: {own} characters long; usually {usual}", is_alarming=False)
    if _is_of_new_shape(field, known):
        own, usual = field.shapes[0][0], _usual_shape(known)
        yield Finding(field=name, sentence=f"{name}: looks like {own}; usually like {usual}", is_alarming=names)


def _is_of_new_shape(field: FieldProfile, known: Sequence[FieldProfile]) -> bool:
    common = {shape for shape, count in field.shapes if count >= WORTH_A_SHAPE * field.filled}
    return bool(common) and common.isdisjoint(shape for each in known for shape, _ in each.shapes)


def _repeated(field: FieldProfile) -> str:
    about = "about " if field.distinct >= COUNTED else ""
    return f"{about}{field.distinct:,} distinct value{'s' * (field.distinct != 1)} in {field.filled:,} rows"


def _usual_share(known: Sequence[FieldProfile]) -> str:
    share = sorted(each.share for each in known)[len(known) // 2]
    rows_each = round(1 / share)
    if rows_each > 1:
        return f"one for every {rows_each:,} rows"
    return "one each" if share >= EACH_ITS_OWN else "nearly one each"


def _usual_shape(known: Sequence[FieldProfile]) -> str:
    counts: Counter[str] = Counter()
    for each in known:
        counts.update(dict(each.shapes))
    return counts.most_common(1)[0][0] if counts else "nothing"


def _span(shortest: int, longest: int) -> str:
    return f"{shortest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
