"""Files that are made to hurt: each is refused in one sentence, in little memory, before anything is sent.

They are read in a process of its own, a few in each, so that memory and time can be measured: for each its time, and
for all of a process the most memory that any took. That may be 400 MB: more than an honest file needs.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulkredeem.errors import InputFileError
from bulkredeem.loader import MAX_LINE, read_rows, take_snapshot
from bulkredeem.loader.records import LONGEST_CELL, MOST_COLUMNS
from bulkredeem.loader.surveying import MOST_REPEATED, MOST_ROWS, letters_of
from bulkredeem.loader.unfolding import ALWAYS_UNFOLDED
from bulkredeem.model import Outcome, Reading, Status
from bulkredeem.page import write_index
from bulkredeem.report import RESULTS, write_results
from bulkredeem.snapshot import read_records
from tests import pages

HEADER = "redemptionId,identifierValue,billNumber"
START = f"{HEADER}\nA1,1,x\n".encode()
MIB = 1 << 20
_READ = """
import json, resource, sys
from pathlib import Path
from bulkredeem.errors import BulkRedeemError
from bulkredeem.loader import read_rows, take_snapshot
from bulkredeem.model import Reading

def most_memory():
    # On Linux, what `getrusage` says of a process begins with what the one had that has started it.
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (line,) = [each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024

before = 0.0
for each in map(Path, sys.argv[1:]):
    found, snapshot = {"rows": 0, "damaged": 0}, each.with_name("input.csv")
    try:
        intake = take_snapshot(each, snapshot, reading=Reading(), durable=False)
        for row in read_rows(snapshot, intake.columns):
            found["rows"] += 1
            found["damaged"] += row.damage is not None
    except BulkRedeemError as exc:
        found["refusal"], found["exit_code"] = str(exc), exc.exit_code
    used = resource.getrusage(resource.RUSAGE_SELF)
    found["memory"] = most_memory()
    found["seconds"], before = used.ru_utime + used.ru_stime - before, used.ru_utime + used.ru_stime
    print(json.dumps(found), flush=True)
"""
MOST_MEMORY = 400 * MIB
MOST_SECONDS = 60.0
"""Of the processor, not of the clock."""


Found = dict[str, int | float | str]


def read(*paths: Path) -> list[Found]:
    """Read files in both passes, in one process of their own, and return what came of each it came to."""
    command = [sys.executable, "-c", _READ, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    found: list[Found] = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(paths), f"it died over {paths[len(found)]}: {done.stderr}"
    return found


def refusal(path: Path) -> str:
    """Return the sentence by which a file is refused, without its name."""
    (found,) = read(path)
    return refused(path, found)


def refused(path: Path, found: Found) -> str:
    """Check that a file was refused in a sentence, and return that without the file's name."""
    assert float(found["memory"]) < MOST_MEMORY
    assert float(found["seconds"]) < MOST_SECONDS
    sentence = str(found["refusal"])
    assert found["exit_code"] == 2
    assert sentence.startswith(str(path))
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert len(sentence) < 400 + len(str(path))
    return sentence.removeprefix(str(path)).lstrip(", ")


def gzipped(path: Path, blocks: Iterable[bytes]) -> Path:
    """Write a gzip file of these bytes."""
    with gzip.open(path, "wb", compresslevel=9) as file:
        for block in blocks:
            file.write(block)
    return path


def zipped(path: Path, members: dict[str, Iterable[bytes]]) -> Path:
    """Write an archive of these files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, blocks in members.items():
            with archive.open(name, "w", force_zip64=True) as member:
                for block in blocks:
                    member.write(block)
    return path


_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml"'
    ' ContentType="application/xml"/></Types>'
)
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_BOOK = (
    f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets><sheet name="S" sheetId="1" r:id="a"/></sheets></workbook>'
)
_BOOK_RELATIONS = (
    f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="a" Type="{_OFFICE}/worksheet"'
    f' Target="worksheets/sheet1.xml"/><Relationship Id="b" Type="{_OFFICE}/sharedStrings"'
    ' Target="sharedStrings.xml"/></Relationships>'
)
_OWN_RELATIONS = (
    f'<Relationships xmlns="{_RELATIONS}"><Relationship Id="a" Type="{_OFFICE}/officeDocument"'
    ' Target="xl/workbook.xml"/></Relationships>'
)


def cell(place: str, text: str) -> str:
    """Return a cell of an .xlsx with a text in it."""
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


def row(number: int, *texts: str) -> str:
    """Return a row of an .xlsx."""
    return (
        f'<row r="{number}">{"".join(cell(f"{letters_of(at)}{number}", text) for at, text in enumerate(texts))}</row>'
    )


ROWS = row(1, *HEADER.split(",")) + row(2, "A1", "1", "x")


def xlsx(
    path: Path,
    more: Iterable[bytes] = (),
    *,
    before: str = "",
    rows: str = ROWS,
    parts: dict[str, Iterable[bytes]] | None = None,
) -> Path:
    """Write an .xlsx with such rows and whatever comes after them, and with further parts."""
    begin = f'{before}<worksheet xmlns="{_MAIN}"><sheetData>{rows}'.encode()
    return zipped(
        path,
        {
            "[Content_Types].xml": [_TYPES.encode()],
            "_rels/.rels": [_OWN_RELATIONS.encode()],
            "xl/workbook.xml": [_BOOK.encode()],
            "xl/_rels/workbook.xml.rels": [_BOOK_RELATIONS.encode()],
            "xl/worksheets/sheet1.xml": [begin, *more, b"</sheetData></worksheet>"],
            **(parts or {}),
        },
    )


def shared(text: Iterable[bytes], before: str = "") -> dict[str, Iterable[bytes]]:
    """Return the part of an .xlsx in which a text stands once that many cells may name."""
    return {"xl/sharedStrings.xml": [f'{before}<sst xmlns="{_MAIN}"><si><t>'.encode(), *text, b"</t></si></sst>"]}


_OF_ODS = "urn:oasis:names:tc:opendocument:xmlns"


def ods(path: Path, more: Iterable[bytes]) -> Path:
    """Write an .ods with the header, one row, and whatever comes after it."""
    head = f"<table:table-row>{''.join(map(_ods_cell, HEADER.split(',')))}</table:table-row>"
    first = f"<table:table-row>{''.join(map(_ods_cell, ('A1', '1', 'x')))}</table:table-row>"
    begin = (
        f'<office:document-content xmlns:office="{_OF_ODS}:office:1.0" xmlns:table="{_OF_ODS}:table:1.0"'
        f' xmlns:text="{_OF_ODS}:text:1.0"><office:body><office:spreadsheet><table:table table:name="S">{head}{first}'
    )
    end = "</table:table></office:spreadsheet></office:body></office:document-content>"
    manifest = f'<manifest:manifest xmlns:manifest="{_OF_ODS}:manifest:1.0"/>'
    return zipped(
        path,
        {
            "mimetype": [b"application/vnd.oasis.opendocument.spreadsheet"],
            "META-INF/manifest.xml": [manifest.encode()],
            "content.xml": [begin.encode(), *more, end.encode()],
        },
    )


def _ods_cell(text: str, attributes: str = "") -> str:
    return f'<table:table-cell office:value-type="string" {attributes}><text:p>{text}</text:p></table:table-cell>'


_MANY = 1_000_000_000
_LAUGHS = "".join(f'<!ENTITY a{at} "{f"&a{at - 1};" * 10 if at else "ha"}">' for at in range(10))
_LAUGHING = f'<?xml version="1.0"?><!DOCTYPE l [{_LAUGHS}]>'
_LONG = [b"x" * 99_999 + b"\n"] * 700
"""70 MB of lines that are no rows, and that are quickly read: more than is allowed to any file."""

HOSTILE: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a .gz of zeros": (lambda path: gzipped(path, [bytes(MIB)] * 70), f"line 1, is longer than {MAX_LINE:,} bytes"),
    "a .gz of lines": (
        lambda path: gzipped(path, [START, *_LONG]),
        f"is packed so that little becomes more than {ALWAYS_UNFOLDED:,}",
    ),
    "a .gz in a .gz": (
        lambda path: gzipped(path, [gzipped(path, [START, *_LONG]).read_bytes()]),
        f"is packed so that little becomes more than {ALWAYS_UNFOLDED:,} bytes, which no rows of corrections are",
    ),
    "a .zip of lines": (
        lambda path: zipped(path, {"a.csv": [START, *_LONG]}),
        "if it is meant all the same, unpack it first",
    ),
    "a .zip in a .zip that would fill the disk": (
        lambda path: zipped(path, {"a.zip": [b"PK\x03\x04", *[bytes(MIB)] * 70]}),
        "is packed so that little becomes more than",
    ),
    "a .zip within itself, over and over": (
        lambda path: zipped(path, {"a.zip": [zipped(path, {"a.zip": [zipped(path, {"a.zip": [zipped(path, {
            "a.csv": [START]}).read_bytes()]}).read_bytes()]}).read_bytes()]}),
        "is packed too many times over; unpack it first",
    ),
    "a line without an end": (
        lambda path: gzipped(path, [START, *[b"x" * MIB] * 50]),
        f"line 3, is longer than {MAX_LINE:,} bytes, which no row of corrections is: shorten the cell",
    ),
    "a cell of 10 MB": (
        lambda path: plain(path, START + b"A2,1," + b"x" * 10_000_000 + b"\n"),
        "line 3, is longer than",
    ),
    "a quoted cell of 10 MB": (
        lambda path: plain(path, START + b'A2,1,"' + b"x" * 10_000_000 + b'"\n'),
        "line 3, is longer than",
    ),
    "a quoted cell of 10 MB in lines": (
        lambda path: plain(path, START + b'A2,1,"' + (b"x" * 999 + b"\n") * 10_000 + b'"\n'),
        "row 3: a quote is opened there and not closed",
    ),
    "a row of many quoted cells in lines": (
        lambda path: gzipped(path, [START, b"A2,1", *[b',"\n"' * 100_000] * 30]),
        "row 3: a quote is opened there and not closed",
    ),
    "half a million columns": (
        lambda path: plain(path, HEADER.encode() + b"," * 500_000 + b"\nA1,1,x\n"),
        f"row 1, has 500,003 cells, and a header has at most {MOST_COLUMNS:,}, as in a spreadsheet: leave out",
    ),
    "two million columns": (
        lambda path: plain(path, HEADER.encode() + b"," * 2_000_000 + b"\n"),
        f"line 1, is longer than {MAX_LINE:,} bytes",
    ),
    "NUL bytes": (
        lambda path: plain(path, START + b"A2,1,\0\n"),
        "line 3, holds NUL bytes, so the file is not text; save it as",
    ),
    "spaces in an .xlsx": (
        lambda path: xlsx(path, [b" " * MIB] * 70),
        "is packed so that little becomes more than",
    ),
    "a cell of 10 MB in an .xlsx": (
        lambda path: xlsx(path, rows=ROWS + row(3, "A2", "1", "x" * 10_000_000)),
        f"row 3, column C: the cell has more than {LONGEST_CELL:,} characters; shorten it",
    ),
    "a number of 10 MB in an .xlsx": (
        lambda path: xlsx(path, rows=f'{ROWS}<row r="3"><c r="A3"><v>{"1" * 10_000_000}</v></c></row>'),
        "row 3, column A: the cell has more than",
    ),
    "a text of an .xlsx that many cells mean": (
        lambda path: xlsx(
            path,
            rows=ROWS + "".join(f'<row r="{at}"><c r="B{at}" t="s"><v>0</v></c></row>' for at in range(3, 9000)),
            parts=shared([b"x" * 100_000]),
        ),
        "is a workbook whose sheet holds more than",
    ),
    "a long text of an .xlsx": (
        lambda path: xlsx(
            path, rows=f'{ROWS}<row r="3"><c r="B3" t="s"><v>0</v></c></row>', parts=shared([b"x" * MIB])
        ),
        "row 3, column B: the cell has more than",
    ),
    "entities of entities in a sheet": (
        lambda path: xlsx(path, before=_LAUGHING, rows=ROWS + row(3, "A2", "1", "&a9;")),
        "is a workbook with a document type in it, which no spreadsheet writes: open it in one, and save it again",
    ),
    "entities of entities in the texts": (
        lambda path: xlsx(path, parts=shared([b"&a9;"], _LAUGHING)),
        "is a workbook that cannot be read, so it is damaged",
    ),
    "a cell at the far end of an .xlsx": (
        lambda path: xlsx(path, rows=f'{ROWS}<row r="{MOST_ROWS}">{cell(f"XFD{MOST_ROWS}", "x")}</row>'),
        "is a workbook whose sheet spans more than",
    ),
    "a row that no .xlsx has": (
        lambda path: xlsx(path, rows=f'{ROWS}<row r="4000000000">{cell("A4000000000", "x")}</row>'),
        f"is a workbook whose sheet has more than {MOST_ROWS:,} rows: delete what stands far away",
    ),
    "rows of nothing without end": (
        lambda path: xlsx(path, [b"<row/>" * 100_000] * 11),
        f"is a workbook whose sheet has more than {MOST_ROWS:,} rows",
    ),
    "a column that no .xlsx has": (
        lambda path: xlsx(path, rows=ROWS + f'<row r="3">{cell("XFE3", "x")}</row>'),
        f"is a workbook whose sheet has more than {MOST_COLUMNS:,} columns",
    ),
    "elements within each other": (
        lambda path: xlsx(path, [b"<a>" * 100_000] * 20),
        "is a workbook that cannot be read, so it is damaged",
    ),
    "attributes without end": (
        lambda path: xlsx(path, [b"<row ", *[b"".join(b'a%d="" ' % (at + part) for at in range(50_000))
                                             for part in range(0, 1_000_000, 50_000)], b"/>"]),
        "is a workbook that cannot be read, so it is damaged",
    ),
    "formats without end": (
        lambda path: xlsx(path, parts={"xl/styles.xml": [
            b"<styleSheet><cellXfs>", *[b'<xf numFmtId="14"/>' * 100_000] * 20, b"</cellXfs></styleSheet>"]}),
        "is a workbook that cannot be read, so it is damaged",
    ),
    "rows that are repeated in an .ods": (
        lambda path: ods(path, [
            f'<table:table-row table:number-rows-repeated="{_MANY}">{_ods_cell("x")}</table:table-row>'.encode()]),
        "is a workbook whose sheet spans more than",
    ),
    "fewer rows that are repeated in an .ods": (
        lambda path: ods(path, [
            f'<table:table-row table:number-rows-repeated="{MOST_REPEATED + 2}">{_ods_cell("x")}</table:table-row>'
            .encode()]),
        f"is a workbook whose sheet repeats cells more than {MOST_REPEATED:,} times",
    ),
    "a long text that is repeated in an .ods": (
        lambda path: ods(path, [
            f'<table:table-row table:number-rows-repeated="9000">{_ods_cell("x" * 100_000)}</table:table-row>'
            .encode()]),
        "is a workbook whose sheet holds more than",
    ),
    "columns that are repeated in an .ods": (
        lambda path: ods(path, [
            f"<table:table-row>{_ods_cell('x', f'table:number-columns-repeated={chr(34)}{_MANY}{chr(34)}')}"
            "</table:table-row>".encode()]),
        "is a workbook whose sheet has more than",
    ),
    "blanks that are repeated in an .ods": (
        lambda path: ods(path, [f"<table:table-row>{_ods_cell(f'<text:s text:c={chr(34)}{_MANY}{chr(34)}/>')}"
                                "</table:table-row>".encode()]),
        "row 3, column A: the cell has more than",
    ),
    "sheets that are large together": (
        lambda path: ods(path, [
            f'</table:table><table:table table:name="T{at}"><table:table-row'
            f' table:number-rows-repeated="500000">{_ods_cell("x")}</table:table-row>'.encode() for at in range(5)]),
        "is a workbook whose sheet repeats cells",
    ),
}  # fmt: skip


def plain(path: Path, content: bytes) -> Path:
    """Write a file."""
    path.write_bytes(content)
    return path


TOGETHER = 8
"""Files that are read in one process: to start it costs more than to read most of them."""
Reader = Callable[[str], str]


@pytest.fixture(scope="module")
def refusal_of(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Return the sentence by which a file of the table is refused; it is read with its neighbours, once."""
    names = list(HOSTILE)

    @cache
    def group(number: int) -> dict[str, str]:
        chosen = names[number * TOGETHER : (number + 1) * TOGETHER]
        paths = [HOSTILE[name][0](tmp_path_factory.mktemp("hostile") / "fixes") for name in chosen]
        found = read(*paths)
        for path in paths:
            path.unlink()
        return {name: refused(path, each) for name, path, each in zip(chosen, paths, found, strict=True)}

    return lambda name: group(names.index(name) // TOGETHER)[name]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_made_to_hurt_is_refused_in_a_sentence(refusal_of: Reader, name: str) -> None:
    """It names the file, the row and the column where there are any, and what to do; memory and time are bounded."""
    assert HOSTILE[name][1] in refusal_of(name)


def test_what_a_part_says_of_its_size_is_not_believed(tmp_path: Path) -> None:
    """A part that says it is small unfolds all the same, and the engine goes by what it holds."""
    path = xlsx(tmp_path / "fixes", parts=shared([b"x" * MIB] * 70))
    packed = path.read_bytes()
    size = (70 * MIB + len(b"".join(shared([])["xl/sharedStrings.xml"]))).to_bytes(4, "little")
    entry = packed.rindex(b"PK\x01\x02", 0, packed.rindex(b"xl/sharedStrings.xml"))
    assert packed[entry + 24 : entry + 28] == size
    path.write_bytes(packed[: entry + 24] + (1000).to_bytes(4, "little") + packed[entry + 28 :])
    assert "is packed so that little becomes more than" in refusal(path)


BAD_ROWS = {
    "a million cells": b"A2,1,y" + b"," * 1_000_000,
    "a cell of 200,000 characters": b"A2,1," + b"y" * 200_000,
    "half a surrogate": b"A2,1,y\xed\xa0\x80",
    "a byte that is no text": b"A2,1,y\xff",
}


def test_a_row_that_is_made_to_hurt_costs_that_row_alone(tmp_path: Path) -> None:
    """The rows around it are sent."""
    paths = [
        plain(tmp_path / str(at), START + content + "\nA3,1,zoé\n".encode())
        for at, content in enumerate(BAD_ROWS.values())
    ]
    found = dict(zip(BAD_ROWS, read(*paths), strict=True))
    assert {name: (each["rows"], each["damaged"]) for name, each in found.items()} == dict.fromkeys(BAD_ROWS, (3, 1))
    assert all(float(each["memory"]) < MOST_MEMORY for each in found.values())


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_half_a_surrogate_of_another_encoding_costs_its_row_alone(tmp_path: Path, encoding: str) -> None:
    """What no text can hold does not get into the snapshot."""
    text = f"\ufeff{HEADER}\nA1,1,x\nA2,1,\ud800\nA3,1,z\n"
    path = plain(tmp_path / "fixes", text.encode(encoding, "surrogatepass"))
    intake = take_snapshot(path, tmp_path / "input.csv", reading=Reading())
    rows = list(read_rows(tmp_path / "input.csv", intake.columns))
    assert [row.damage.code if row.damage else "" for row in rows] == ["", "UNDECODABLE_BYTES", ""]


def test_an_honest_file_that_packs_well_is_read(tmp_path: Path) -> None:
    """More than is allowed to any file, and packed to a fiftieth or less: rows that differ in their ids alone."""
    blank = "," + "no purpose was given for this; " * 8
    lines = [f"A{at:08},9199{at:08},B-{at:08}{blank}\n".encode() for at in range(280_000)]
    path = gzipped(tmp_path / "fixes", [f"{HEADER},a note\n".encode(), *lines])
    assert sum(map(len, lines)) > ALWAYS_UNFOLDED
    assert path.stat().st_size * 30 < ALWAYS_UNFOLDED
    assert take_snapshot(path, tmp_path / "input.csv", reading=Reading(), durable=False).rows == 280_000


def test_what_is_packed_twice_over_is_read(tmp_path: Path) -> None:
    """A gzip file in a gzip file is no accident yet."""
    path = plain(tmp_path / "fixes", gzip.compress(gzip.compress(START)))
    assert take_snapshot(path, tmp_path / "input.csv", reading=Reading()).rows == 1


def test_as_many_columns_as_a_spreadsheet_has_are_read(tmp_path: Path) -> None:
    """The limit is the last that is allowed."""
    more = "," * (MOST_COLUMNS - 3)
    path = plain(tmp_path / "fixes", f"{HEADER}{more}\nA1,1,x{more}\n".encode())
    assert take_snapshot(path, tmp_path / "input.csv", reading=Reading()).rows == 1
    with pytest.raises(InputFileError, match=f"has {MOST_COLUMNS + 1:,} cells"):
        take_snapshot(
            plain(path, f"{HEADER}{more},\nA1,1,x{more},\n".encode()), tmp_path / "input.csv", reading=Reading()
        )


@pytest.mark.parametrize(
    ("at", "letters"), [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA"), (16383, "XFD")]
)
def test_a_column_is_called_as_a_spreadsheet_calls_it(at: int, letters: str) -> None:
    """By its letters."""
    assert letters_of(at) == letters


class _Tags(HTMLParser):
    """Notes which elements a page has, and which of their attributes could do anything."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element and the names of its attributes."""
        self.found.append(f"{tag} {' '.join(sorted(name for name, _ in attrs))}")

    def handle_comment(self, data: str) -> None:
        """Note a comment."""
        self.found.append(f"comment {data}")


NASTY = [
    "<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "<!--", "]]>", "\"' onload='x", "{{ 7 * 7 }}",
    "\x1b[2J\x07", "\u202e\u2028\u2029", "\ud800", "&lt;b&gt;", "javascript:alert(1)", "</title></style></textarea>",
]  # fmt: skip
ANY = st.text(st.characters(codec=None), max_size=30) | st.sampled_from(NASTY)


@settings(max_examples=30, deadline=None)
@given(one=ANY, two=ANY, three=ANY)
@example(one=NASTY[1], two=NASTY[0], three=NASTY[4])
def test_nothing_that_others_wrote_is_markup_on_a_page(one: str, two: str, three: str) -> None:
    """Neither of a run's file, row, user, reason or error, nor of its place: the page has the same elements as ever."""
    plain_page, plain_index = _pages_of("a", "b", "c")
    page, index = _pages_of(one, two, three)
    for found, wanted in ((page, plain_page), (index, plain_index)):
        # A sentence may have more lines than usual; no kind of element is new, and there is no further script.
        assert set(_Tags(found).found) <= set(_Tags(wanted).found)
        assert found.count("<script") == wanted.count("<script")


def _pages_of(one: str, two: str, three: str) -> tuple[str, str]:
    """Return the page of a run and that of all runs, in which these texts stand wherever others may write."""
    told = replace(next(pages.rows(1)), error_code=one, error_message=two, reason=three, request_id=one)
    told = replace(told, warnings=(two,), cells=tuple(three for _ in told.cells))
    of = pages.summary(1)
    # What breaks a path into parts, and whether there is a name at all, decides how many elements it has.
    info = replace(of.info, path="x" + _unbroken(one), by="x" + two, reason="x" + three, environment="x" + one)
    entry = replace(
        pages.entries(1)[0], path="x" + two, environment="x" + one, problem="x" + three, retry_of="x" + one, name="n"
    )
    with TemporaryDirectory() as name:
        folder = Path(name)
        page = pages.write_night(folder, told=[told], of=replace(of, info=info), show_pii=True, wire=())
        write_index(folder, (entry,))
        return page.read_text("utf-8"), (folder / "index.html").read_text("utf-8")


def _unbroken(text: str) -> str:
    return "".join(character for character in text if character not in "/\\_.-\r\n")


CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda text: "\0" not in text)


@given(cells=st.lists(CELL, min_size=3, max_size=3))
@example(cells=["\x1b[31m", "\u2028\u2029\x85\x1c", "=cmd|' /C calc'!A0"])
@example(cells=['"', "\r", "\n"])
def test_whatever_a_cell_holds_comes_back_from_the_results(cells: list[str]) -> None:
    """Control characters, too: read as a report of ours, each cell is what it was."""
    written = io.StringIO(newline="")
    csv.writer(written, lineterminator="\r\n").writerows([[*HEADER.split(","), "note"], [*cells, "end"]])
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "fixes.csv").write_bytes(written.getvalue().encode())
        take_snapshot(folder / "fixes.csv", folder / "input.csv", reading=Reading())
        write_results(folder, folder / "input.csv", [Outcome(row_number=2, status=Status.SUCCESS, attempts=1)])
        take_snapshot(folder / RESULTS, folder / "again.csv", reading=Reading())
        (first,), (again,) = (list(read_records(folder / each)) for each in ("input.csv", "again.csv"))
    assert first.cells == (*cells, "end")
    assert again.cells == first.cells


def test_no_name_of_a_file_in_an_archive_is_a_path_that_is_used(tmp_path: Path) -> None:
    """A name that leads out of the folder is only shown."""
    inner = tmp_path / "inner"
    inner.mkdir()
    path = zipped(inner / "fixes", {"../../evil.csv": [START]})
    assert take_snapshot(path, inner / "input.csv", reading=Reading()).rows == 1
    assert [each.name for each in tmp_path.iterdir()] == ["inner"]
    assert sorted(each.name for each in inner.iterdir()) == ["fixes", "input.csv"]
