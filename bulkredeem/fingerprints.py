"""Fingerprints: SHA-256 hashes of a file's bytes, of records in their order, and of a value.

Two of them are equal when, and only when, what they were taken of is equal. So they find what was changed by accident:
a cell typed over, a file cut short, a disk that forgot a bit. Whoever can write a file can write its fingerprint, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import BinaryIO, Final

import orjson

_BLOCK: Final = 1 << 20
"""Bytes that are read at once: about a millisecond's."""
_AT_ONCE: Final = 500
"""Records that are written out at once: about a millisecond's."""


def of_file(file: BinaryIO, proceed: Callable[[], None] = lambda: None) -> str:
    """Return that of the bytes of an opened file; `proceed` is asked for each block, and raises what is to end it.

    Who opens it decides whether a link is followed. Raises OSError.
    """
    digest = hashlib.sha256()
    while block := file.read(_BLOCK):
        proceed()
        digest.update(block)
    return digest.hexdigest()


def of_records(records: Iterable[Sequence[object]], proceed: Callable[[], None] = lambda: None) -> str:
    """Return that of records in their order, as one JSON array of arrays without white space.

    Memory does not grow with their number. `proceed` is asked every few hundred, and raises what is to end it.
    """
    digest, coming, before = hashlib.sha256(b"["), iter(records), b""
    while block := list(islice(coming, _AT_ONCE)):
        proceed()
        # Somebody may have put bytes where text was: that makes another fingerprint, and no error.
        digest.update(before + orjson.dumps(block, default=repr)[1:-1])
        before = b","
    digest.update(b"]")
    return digest.hexdigest()


def of_value(value: object) -> str:
    """Return that of what JSON can hold; in which order its keys stand makes no difference."""
    return hashlib.sha256(orjson.dumps(value, option=orjson.OPT_SORT_KEYS)).hexdigest()
