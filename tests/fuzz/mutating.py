"""Changes what is packed, not the packing, and what JSON says, not how it is written.

A byte flipped in an archive would only ever meet its checksum, and most bytes of a reply only the reader of JSON.
"""

from __future__ import annotations

import gzip
import io
import random
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

import orjson

Mutate = Callable[[bytes, int], bytes]
"""Changes bytes, to so many at most."""


class Mutator(Protocol):
    """Changes an input of a target."""

    def __call__(self, content: bytes, most: int, seed: int, *, mutate: Mutate) -> bytes:
        """Return the changed input, of so many bytes at most."""


_ROOM: Final = 512
"""Bytes that packing may add."""
_AS_IT_IS: Final = 0.15
"""Share of the packed inputs that are changed as they lie there."""
_IN_JSON: Final = 0.6
"""Share of the replies in which the JSON is changed."""
_DEEPER: Final = 0.85
"""Chance that a change is made further within."""
_MORE: Final = 0.5
"""Chance that an object gets one name more."""
_NAMES: Final = (
    *(
        "redemptionId",
        "externalReferenceNumber",
        "billNumber",
        "billId",
        "redemptionPurpose",
        "customFields",
        "programId",
        "errors",
        "warnings",
    ),
    *("data", "code", "message", "status", "response", "customer", "redemptions", "points", "point"),
    *(
        "item_status",
        "success",
        "bill_id",
        "custom_fields",
        "field",
        "name",
        "value",
        "redemption_id",
        "transaction_number",
    ),
)
_VALUES: Final[tuple[Any, ...]] = (
    *(
        None,
        True,
        False,
        "",
        [],
        {},
        0,
        -1,
        1.0,
        1e300,
        2**53 + 1.0,
        2**63 - 1,
        1234567890123456789,
        "-1",
        "1.0",
        "false",
    ),
    *(748, 4000, 4001, 521, "517", 429, 1012, "x" * 600, "8878ru", "INV-2026-1", " INV-2026-1 ", "\x1b[31m\n\u202e"),
)
_BROKEN: Final = (OSError, EOFError, zlib.error, zipfile.BadZipFile, ValueError, RuntimeError, KeyError)


def mutated(content: bytes, most: int, seed: int, *, mutate: Mutate) -> bytes:
    """Return an input changed by `mutate`, inside what it is packed in if it is."""
    chance = random.Random(seed)  # noqa: S311  a rehearsal, not a secret
    if chance.random() > _AS_IT_IS:
        try:
            if content.startswith(b"\x1f\x8b"):
                return _gzipped(gzip.decompress(content), most, mutate)
            if content.startswith(b"PK"):
                return _zipped(content, most, chance, mutate)
        except _BROKEN:
            return mutate(content, most)
    return mutate(content, most)


def mutated_reply(content: bytes, most: int, seed: int, *, mutate: Mutate) -> bytes:
    """Return a reply changed by `mutate`, or with something else at a place in its JSON."""
    chance = random.Random(seed)  # noqa: S311  a rehearsal, not a secret
    head, gap, body = content.partition(b"\n\n")
    if chance.random() < _IN_JSON:
        with suppress(orjson.JSONDecodeError, orjson.JSONEncodeError):
            changed = head + gap + orjson.dumps(_with_another(orjson.loads(body), chance))
            return changed if len(changed) <= most else content
    return mutate(content, most)


def _with_another(value: Any, chance: random.Random) -> Any:
    """Return a JSON value in which one place holds something else, is gone, or has moved a level down."""
    if isinstance(value, dict) and value and chance.random() < _DEEPER:
        name = chance.choice(list(value))
        return {**value, name: _with_another(value[name], chance)}
    if isinstance(value, list) and value and chance.random() < _DEEPER:
        place = chance.randrange(len(value))
        return [*value[:place], _with_another(value[place], chance), *value[place + 1 :]]
    if isinstance(value, dict) and chance.random() < _MORE:
        return {**value, chance.choice(_NAMES): chance.choice(_VALUES)}
    return chance.choice([*_VALUES, [value], [value, value], {chance.choice(_NAMES): value}, str(value)])


def _gzipped(content: bytes, most: int, mutate: Mutate) -> bytes:
    changed = gzip.compress(mutate(content, most), mtime=0)
    return changed if len(changed) <= most else mutate(content, most)


def _zipped(content: bytes, most: int, chance: random.Random, mutate: Mutate) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(each.filename, archive.read(each)) for each in archive.infolist()]
    place = chance.randrange(len(members))
    name, inner = members[place]
    members[place] = (name, mutate(inner, max(most, len(inner)) + _ROOM))
    changed = packed(members)
    return changed if len(changed) <= most else content


def packed(members: list[tuple[str, bytes]]) -> bytes:
    """Return an archive of these members, the same each time."""
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, inner in members:
            archive.writestr(zipfile.ZipInfo(name), inner, zipfile.ZIP_DEFLATED)
    return into.getvalue()
