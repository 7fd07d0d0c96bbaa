"""The bytes of any file: rows, of which none is lost, or one sentence that says why not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from bulkredeem.errors import InputFileError
from bulkredeem.loader import Intake, read_cells, take_snapshot
from bulkredeem.loader.heading import DELIMITERS
from bulkredeem.model import Reading
from bulkredeem.snapshot import read_records
from tests.fuzz.targets.folders import folder

MOST_WORDS: Final = 4_000
"""Characters of a sentence for a person; more would hide what it says."""
_PACKED: Final = (b"\x1f\x8b", b"PK", b"\xd0\xcf\x11\xe0")
_HEADER: Final = re.compile(r"Header on line (\d+)\.")
_OF_WORDS: Final = {f"Cells are separated by {words}.": delimiter for delimiter, words in DELIMITERS.items()}


def check(content: bytes) -> None:
    """Read a file of these bytes; an odd number of them is taken with a last line that has no end."""
    source, target = folder() / "file", folder() / "snapshot.csv"
    source.write_bytes(content)
    reading = Reading(allow_unterminated=len(content) % 2 == 1)
    try:
        intake = take_snapshot(source, target, reading=reading, durable=False)
    except InputFileError as exc:
        _check_sentence(str(exc))
        return
    _check_rows(intake, target)
    if not content.startswith(_PACKED):
        _check_lines(content, intake, target)


def _check_sentence(sentence: str) -> None:
    assert sentence.endswith(".")
    assert sentence.isprintable(), sentence
    assert len(sentence) <= MOST_WORDS, len(sentence)
    assert "Traceback" not in sentence


def _check_rows(intake: Intake, snapshot: Path) -> None:
    """Both readers of the snapshot find just the rows that were counted, in their order."""
    numbers = [number for number, _, _ in read_cells(snapshot, intake.columns)]
    records = list(read_records(snapshot))
    assert len(numbers) == intake.rows
    assert [record.row_number for record in records] == numbers == sorted(set(numbers))
    assert all(len(record.cells) == len(intake.columns.headers) for record in records)
    assert intake.ignored == 0
    for remark in intake.remarks:
        _check_sentence(remark)


def _check_lines(content: bytes, intake: Intake, snapshot: Path) -> None:
    """Of a text so plain that anybody can tell its lines, each below the header with something in it is a row."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return
    if '"' in text or "\r" in text or "\0" in text:
        return
    header = max((int(found[1]) for remark in intake.remarks if (found := _HEADER.match(remark))), default=1)
    delimiter = next((_OF_WORDS[remark] for remark in intake.remarks if remark in _OF_WORDS), ",")
    lines = enumerate(text.split("\n"), start=1)
    filled = [number for number, line in lines if number > header and "".join(line.split(delimiter)).strip()]
    assert [record.row_number for record in read_records(snapshot)] == filled
