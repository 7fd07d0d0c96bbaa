"""Whatever text they have: packed or not, in whichever encoding, with whichever delimiter, with a title above."""

from __future__ import annotations

import bz2
import csv
import gzip
import hashlib
import io
import tempfile
import tracemalloc
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bulkredeem.errors import InputFileError
from bulkredeem.loader import Intake, peek, read_rows, take_snapshot
from bulkredeem.model import Pattern, Reading, Row
from bulkredeem.snapshot import read_records

HEADER = "redemptionId,identifierValue,billNumber"
PLAIN = f"{HEADER}\nA1,1,x\n"


def load(folder: Path, content: str | bytes, reading: Reading | None = None) -> tuple[Intake, list[Row]]:
    """Write a file without a telling name, and read it in both passes."""
    source = folder / "corrections"
    source.write_bytes(content if isinstance(content, bytes) else content.encode())
    intake = take_snapshot(source, folder / "input.csv", reading=reading or Reading())
    return intake, list(read_rows(folder / "input.csv", intake.columns))


def cells(rows: Sequence[Row]) -> list[tuple[int, list[str]]]:
    """Return number and used cells of each row."""
    return [(row.row_number, list(row.values.values())) for row in rows]


def damage(rows: Sequence[Row]) -> dict[int, tuple[str, str]]:
    """Return of the damaged rows code and detail."""
    return {row.row_number: (row.damage.code, row.damage.detail) for row in rows if row.damage}


def refusal(folder: Path, content: str | bytes, reading: Reading | None = None) -> str:
    """Return the one sentence or two about a file that cannot be read, without its name."""
    with pytest.raises(InputFileError) as caught:
        load(folder, content, reading)
    named = str(folder / "corrections")
    assert str(caught.value).startswith(named)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(named).lstrip(", ")


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    """Return a zip archive with these files."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


# Packed


@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(PLAIN.encode()),
        zipped({"fixes.csv": PLAIN}),
        zipped({"night/": "", "night/fixes.csv": PLAIN, "__MACOSX/night/._fixes.csv": "x", ".DS_Store": "x"}),
        zipped({"fixes.csv.gz": gzip.compress(PLAIN.encode())}),
        gzip.compress(zipped({"fixes.csv": PLAIN})),
    ],
    ids=["gzip", "zip", "zip of a Mac", "gzip in zip", "zip in gzip"],
)
def test_what_is_packed_is_read_as_it_is_unpacked(tmp_path: Path, packed: bytes) -> None:
    """Its name says nothing, and its hash is that of the bytes on the disk."""
    intake, rows = load(tmp_path, packed)
    assert cells(rows) == [(2, ["A1", "1", "x"])]
    assert intake.sha256 == hashlib.sha256(packed).hexdigest()


def test_the_file_of_an_archive_is_said(tmp_path: Path) -> None:
    """A person must see what was taken."""
    assert load(tmp_path, zipped({"fixes.csv": PLAIN}))[0].remarks == ("The archive holds 'fixes.csv'.",)


DEEP = zipped({"c": zipped({"b": zipped({"a": zipped({"fixes.csv": PLAIN})})})})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(
            zipped({"a.csv": PLAIN, "b.csv": PLAIN}), "is a zip archive with 2 files in it ('a.csv', 'b.csv')", id="two"
        ),
        pytest.param(zipped({"a/": ""}), "is a zip archive without a file in it", id="none"),
        pytest.param(zipped({}), "is a zip archive without a file in it", id="nothing"),
        pytest.param(
            zipped({"[Content_Types].xml": "", "word/document.xml": ""}),
            "is a document, and no workbook",
            id="a letter",
        ),
        pytest.param(DEEP, "is packed too many times over", id="deep"),
        pytest.param(gzip.compress(PLAIN.encode())[:-9], "line 1, cannot be unpacked, so it is damaged", id="half"),
        pytest.param(gzip.compress(PLAIN.encode() * 9_000)[:200], "line", id="half of a long one"),
        pytest.param(zipped({"a.csv": PLAIN})[:-9], "begins like a workbook or a zip archive, but is", id="half a zip"),
        pytest.param(bz2.compress(PLAIN.encode()), "is compressed with bzip2; unpack it first", id="bzip2"),
    ],
)
def test_what_cannot_be_unpacked_is_one_sentence(tmp_path: Path, content: bytes, words: str) -> None:
    """It says what is wrong and what to do."""
    assert refusal(tmp_path, content).startswith(words)


def test_a_damaged_member_of_an_archive_is_one_sentence(tmp_path: Path) -> None:
    """A checksum that does not fit is noticed, however late."""
    packed = bytearray(zipped({"a.csv": PLAIN + "B,1,x\n" * 50}))
    packed[60] ^= 0xFF
    assert "cannot be unpacked, so it is damaged" in refusal(tmp_path, bytes(packed))


def test_a_locked_archive_is_one_sentence(tmp_path: Path) -> None:
    """No password is asked for."""
    packed = bytearray(zipped({"a.csv": PLAIN}))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    assert refusal(tmp_path, bytes(packed)).startswith("is a zip archive with a password: unpack it first")


def test_an_archive_that_is_packed_in_an_unknown_way_is_one_sentence(tmp_path: Path) -> None:
    """There are more ways to pack than Python knows."""
    packed = bytearray(zipped({"a.csv": PLAIN}))
    packed[8] = packed[packed.index(b"PK\x01\x02") + 10] = 99
    assert refusal(tmp_path, bytes(packed)).startswith("is a zip archive that cannot be unpacked here; unpack it first")


# Encodings


@pytest.mark.parametrize(
    ("encoding", "mark", "said"),
    [
        ("utf-8", b"", ()),
        ("utf-8", b"\xef\xbb\xbf", ()),
        ("utf-16-le", b"\xff\xfe", ("The text is UTF-16-LE.",)),
        ("utf-16-be", b"\xfe\xff", ("The text is UTF-16-BE.",)),
        ("utf-16-le", b"", ("The text is UTF-16-LE.",)),
        ("utf-16-be", b"", ("The text is UTF-16-BE.",)),
        ("utf-32-le", b"\xff\xfe\0\0", ("The text is UTF-32-LE.",)),
        ("cp1252", b"", ("The text is Windows-1252 (cp1252).",)),
    ],
)
def test_the_encoding_is_found_and_said(tmp_path: Path, encoding: str, mark: bytes, said: tuple[str, ...]) -> None:
    """By its mark, by its NULs, or because it is no UTF-8; UTF-8 itself needs no words."""
    content = mark + f"{HEADER}\nA1,1,x\nA2,2,é€\n".encode(encoding)
    intake, rows = load(tmp_path, content)
    assert cells(rows) == [(2, ["A1", "1", "x"]), (3, ["A2", "2", "é€"])]
    assert intake.remarks == said
    assert intake.sha256 == hashlib.sha256(content).hexdigest()


def test_an_encoding_that_was_said_is_used(tmp_path: Path) -> None:
    """It overrules what would be found."""
    content = f"{HEADER}\nA1,1,é\n".encode()
    intake, rows = load(tmp_path, content, Reading(encoding="cp1252"))
    assert rows[0].values["billNumber"] == "Ã©"
    assert intake.remarks == ("The text is Windows-1252 (cp1252).",)
    shift_jis = f"{HEADER}\nA1,1,日本\n".encode("shift_jis")
    assert load(tmp_path, shift_jis, Reading(encoding="shift_jis"))[1][0].values["billNumber"] == "日本"


@pytest.mark.parametrize("encoding", ["hex", "no-such"])
def test_what_is_no_encoding_of_text_is_a_sentence(tmp_path: Path, encoding: str) -> None:
    """Python has codecs that make no text."""
    assert refusal(tmp_path, PLAIN, Reading(encoding=encoding)).startswith(f"cannot be read as '{encoding}'")


def test_damaged_utf8_costs_the_rows_with_the_damage(tmp_path: Path) -> None:
    """One valid sequence anywhere shows that the file was meant to be UTF-8: then nothing is guessed."""
    content = (
        f"{HEADER}\nA1,1,x\nA2,2,".encode() + b"caf\xe9\n" + "A3,3,é\n".encode() + b'A4,4,"\xff\n"\n' + b"A5,5,y\n"
    )
    intake, rows = load(tmp_path, content)
    assert damage(rows) == {
        3: ("UNDECODABLE_BYTES", "bytes e9: A2,2,caf\\xe9"),
        5: ("UNDECODABLE_BYTES", 'bytes ff: A4,4,"\\xff\n"'),
    }
    assert [values for number, values in cells(rows) if number not in {3, 5}] == [
        ["A1", "1", "x"],
        ["A3", "3", "é"],
        ["A5", "5", "y"],
    ]
    assert intake.remarks == ()


def test_damaged_utf16_costs_the_rows_with_the_damage_too(tmp_path: Path) -> None:
    """Half a letter names its bytes."""
    content = b"\xff\xfe" + f"{HEADER}\nA1,1,".encode("utf-16-le") + b"\x00\xd8" + "\nA2,2,y\n".encode("utf-16-le")
    _, rows = load(tmp_path, content)
    assert damage(rows) == {2: ("UNDECODABLE_BYTES", "bytes 00 d8: A1,1,\\x00\\xd8")}
    assert cells(rows)[1] == (3, ["A2", "2", "y"])


def test_a_byte_that_windows_does_not_have_costs_its_row(tmp_path: Path) -> None:
    """Five bytes are nothing in cp1252."""
    _, rows = load(tmp_path, f"{HEADER}\n".encode() + b"A1,1,\xe9\nA2,2,\x81\n")
    assert (rows[0].values["billNumber"], damage(rows)[3][0]) == ("é", "UNDECODABLE_BYTES")


def test_a_damaged_header_is_a_sentence(tmp_path: Path) -> None:
    """No column may be called by half a name."""
    content = b"redemptionId,identifierValue,billNumber,caf\xe9\nA1,1,x,\xc3\xa9\n"
    assert "holds bytes that are no text in the file's encoding" in refusal(tmp_path, content)


# Delimiters


@pytest.mark.parametrize(("delimiter", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_the_delimiter_is_found_and_said(tmp_path: Path, delimiter: str, name: str) -> None:
    """Cells with commas, quotes and line ends in them come back exactly."""
    lines = [HEADER.split(","), ["A1", "1", "x"], ["A2", "1,5", 'a"b'], ["", " ", ""], ["A4", "2\n3", "="]]
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows(lines)
    intake, rows = load(tmp_path, file.getvalue())
    assert cells(rows) == [(2, lines[1]), (3, lines[2]), (5, lines[4])]
    assert intake.remarks == (f"Cells are separated by {name}.",)


def test_the_delimiter_with_which_most_is_known_counts(tmp_path: Path) -> None:
    """A header may hold the other ones in its names."""
    header = "redemptionId;identifierValue;billNumber;Town, street, house"
    assert cells(load(tmp_path, f"{header}\nA1;1;x;a, b, c\n")[1]) == [(2, ["A1", "1", "x"])]


def test_a_delimiter_that_was_said_is_used(tmp_path: Path) -> None:
    """Also one that nobody would look for; and one that is wrong gets a hint."""
    intake, rows = load(tmp_path, PLAIN.replace(",", "^"), Reading(delimiter="^"))
    assert (cells(rows), intake.remarks) == ([(2, ["A1", "1", "x"])], ("Cells are separated by '^'.",))
    assert "seem to be separated by commas: --delimiter ','" in refusal(tmp_path, PLAIN, Reading(delimiter=";"))


CELL = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12) | st.text(
    alphabet="\r\n\",' ;|\t=é", max_size=6
)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.lists(CELL, min_size=3, max_size=3), max_size=6),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]),
    packed=st.booleans(),
)
def test_any_table_comes_back_through_any_form(
    rows: list[list[str]],
    delimiter: str,
    encoding: str,
    packed: bool,  # noqa: FBT001  drawn
) -> None:
    """Whatever the encoding can hold is read back to the last character, without a word of how it was written."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows([HEADER.split(","), *rows])
    try:
        content = file.getvalue().encode(encoding)
    except UnicodeEncodeError:
        assume(False)  # noqa: FBT003  the encoding cannot hold it
    # In UTF-16 without a mark, text that is mostly not Latin cannot be told from anything else; nor cp1252 from UTF-8
    # that it happens to be as well.
    is_bare = encoding in {"utf-16-le", "utf-16-be", "cp1252"}
    reading = Reading(encoding=encoding if is_bare else "")
    with tempfile.TemporaryDirectory() as folder:
        _, loaded = load(Path(folder), gzip.compress(content) if packed else content, reading)
        wanted = [(number, row) for number, row in enumerate(rows, start=2) if any(map(str.strip, row))]
        assert cells(loaded) == wanted


# Headers


TITLE = "Corrections of November\n\nmade by,Ilze Kalna\n"


def test_the_header_is_found_below_a_title_and_said(tmp_path: Path) -> None:
    """What stands above is no row, and rows keep the numbers that a spreadsheet shows."""
    intake, rows = load(tmp_path, f"{TITLE}{PLAIN}")
    assert cells(rows) == [(5, ["A1", "1", "x"])]
    assert intake.remarks == ("Header on line 4. 2 rows above it are left out.",)


def test_a_title_may_have_other_delimiters_and_line_breaks(tmp_path: Path) -> None:
    """Only the header's line decides, and a record of several lines counts once."""
    content = f'"a, b\nc"\nx; y, z\n{PLAIN.replace(",", ";")}'
    intake, rows = load(tmp_path, content)
    assert cells(rows) == [(4, ["A1", "1", "x"])]
    assert intake.remarks == ("Cells are separated by semicolons.", "Header on line 3. 2 rows above it are left out.")


@pytest.mark.parametrize("above", [19, 20])
def test_the_header_is_looked_for_in_twenty_rows(tmp_path: Path, above: int) -> None:
    """Not below: a file of something else is not searched to its end."""
    content = "note\n" * above + PLAIN
    if above < 20:
        assert load(tmp_path, content)[0].remarks == ("Header on line 20. 19 rows above it are left out.",)
    else:
        assert refusal(tmp_path, content).startswith("row 1 (the header): There is no column for redemptionId")
        assert load(tmp_path, content, Reading(header_row=21))[0].rows == 1


def test_a_header_row_that_was_said_is_used(tmp_path: Path) -> None:
    """Even where another one stands above; and nothing there is a sentence."""
    content = f"{PLAIN}{HEADER}\nB1,2,y\n\n"
    assert cells(load(tmp_path, content, Reading(header_row=3))[1]) == [(4, ["B1", "2", "y"])]
    assert refusal(tmp_path, content, Reading(header_row=5)).startswith("has nothing in row 5, which --header-row says")
    assert refusal(tmp_path, content, Reading(header_row=2)).startswith("row 2 (the header): There is no column")


def test_the_row_that_looks_most_like_a_header_is_named(tmp_path: Path) -> None:
    """Whoever forgot one column hears of that one, and not of the title."""
    sentence = refusal(tmp_path, f"{TITLE}redemptionId;billNumber\nA1;x\n")
    assert sentence.startswith("row 4 (the header): There is no column for identifierValue")
    assert "--header-row" in sentence
    assert "--delimiter" in sentence


@pytest.mark.parametrize("bad", ["A2,2,\0\n", "A2,2," + "x" * 2_000_000 + "\n"])
def test_what_cannot_be_read_below_the_header_still_ends_the_reading(tmp_path: Path, bad: str) -> None:
    """Looking for a better header must not swallow it."""
    assert refusal(tmp_path, f"{PLAIN}{bad}A3,3,z\n").startswith("line 3, ")
    assert refusal(tmp_path, f"{PLAIN.replace(',', ';')}{bad}A3;3;z\n").startswith("line 3, ")


# Lines that are no rows


def patterns(*texts: str) -> Reading:
    """Return a reading that ignores what these find."""
    return Reading(ignored=tuple(map(Pattern.parse, texts)))


def test_lines_that_somebody_says_are_no_rows_are_left_out(tmp_path: Path) -> None:
    """By the file's header or the canonical name, without regard to case; counted apart, and the numbers stay."""
    content = "Redemption ID,identifierValue,billNumber\nA1,1,x\nTotal,2,y\nA3,3,z\nGrand Total,,\n"
    for name in ("redemption id", "REDEMPTIONID"):
        intake, rows = load(tmp_path, content, patterns(f"{name}~^(Grand )?Total"))
        assert cells(rows) == [(2, ["A1", "1", "x"]), (4, ["A3", "3", "z"])]
        assert (intake.rows, intake.ignored) == (2, 2)
        assert intake.remarks == (f"2 rows were ignored: {name}~^(Grand )?Total.",)


def test_several_patterns_leave_out_what_any_of_them_finds(tmp_path: Path) -> None:
    """Quoted cells too; and one that found nothing is said as well, since it may be mistyped."""
    reading = patterns("billNumber~^$", "redemptionId~sum")
    intake, rows = load(tmp_path, f'{HEADER}\nA1,1,""\n"A sum, all",1,x\nA4,1,x\n', reading)
    assert [number for number, _ in cells(rows)] == [4]
    assert intake.remarks == ("2 rows were ignored: billNumber~^$, redemptionId~sum.",)
    assert load(tmp_path, PLAIN, patterns("billNumber~q"))[0].remarks == ("0 rows were ignored: billNumber~q.",)


def test_a_line_that_cannot_be_taken_apart_is_never_ignored(tmp_path: Path) -> None:
    """Nobody knows which of its cells are which."""
    intake, rows = load(tmp_path, f'{HEADER}\nTotal,"1"x,y\nTotal,1,x\n', patterns("redemptionId~^Total"))
    assert (damage(rows)[2][0], intake.ignored, intake.rows) == ("BAD_QUOTES", 1, 1)


def test_a_pattern_on_a_column_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    """It names the columns that are."""
    words = refusal(tmp_path, PLAIN, patterns("Shop~x"))
    assert words.startswith(
        "has no column 'Shop' for --ignore-rows to look at; it has 'redemptionId', 'identifierValue'"
    )


def test_a_date_that_is_text_stays_text(tmp_path: Path) -> None:
    """Whether the day or the month comes first is not ours to guess."""
    load(tmp_path, f"{HEADER},purpose,when\nA1,1,x,y,03/04/2026\n")
    assert next(read_records(tmp_path / "input.csv")).cells[-1] == "03/04/2026"


# A first look


def test_a_first_look_shows_how_a_file_begins(tmp_path: Path) -> None:
    """Also by a header that cannot be used as it is; and the encoding that only the end of the file shows."""
    source = tmp_path / "fixes.txt"
    source.write_bytes(
        ("Fixes\nRef;Bill No;Phone\n" + "".join(f"R{n};B{n};{n}\n" for n in range(9))).encode() + b"\xe9;;\n"
    )
    found = peek(source, Reading())
    assert (found.headers, found.delimiter, found.encoding) == (("Ref", "Bill No", "Phone"), ";", "cp1252")
    assert (found.header_row, len(found.rows), found.rows[0]) == (2, 5, ("R0", "B0", "0"))
    assert not found.is_known


def test_a_first_look_at_what_is_no_file_is_one_sentence(tmp_path: Path) -> None:
    """As when it is taken in."""
    with pytest.raises(InputFileError, match=r"missing\.csv cannot be read: No such file or directory\."):
        peek(tmp_path / "missing.csv", Reading())


def peak(folder: Path, rows: int) -> int:
    """Return the most bytes that reading so many rows of a gzip file in UTF-16 held at once."""
    source = folder / f"{rows}.gz"
    with gzip.open(source, "wt", encoding="utf-16", compresslevel=1) as file:
        file.write(f"{HEADER}\n")
        file.writelines(f"R{number:06},919900{number:06},B-{number:06}\n" for number in range(rows))
    tracemalloc.start()
    try:
        assert take_snapshot(source, folder / "input.csv", reading=Reading(), durable=False).rows == rows
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_a_packed_file(tmp_path: Path) -> None:
    """It is read as it is unpacked."""
    assert peak(tmp_path, 20_000) < 1.25 * peak(tmp_path, 5_000)
