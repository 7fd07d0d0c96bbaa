"""Every code that a row can get has its page in the runbook, and every row that is not done has somebody to mend it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bulkredeem
from bulkredeem import verdict
from bulkredeem.codes import CODES, FAMILIES, Code, MendBy, code_named, mend_by_of
from bulkredeem.model import DONE, Correction, Reply, Status

_ROOT: Final = Path(bulkredeem.__file__).parent
_GIVE_NO_CODES: Final = frozenset(
    {"cli", "codes", "sandbox", "selftest", "settings", "victim.py", "page", "workbook", "notices"}
)
"""Rooms that give a row no code: they show, write about, invent or configure."""
_LIKE_A_CODE: Final = re.compile(r"[A-Z][A-Z0-9]*_[A-Z0-9_]+|[A-Z]{6,}|[0-9]{3,4}")
_NO_CODES: Final = {
    "COMMIT": "SQL",
    "DELETE": "SQL",
    "CUSTOMER": "a type of entity",
    "USERGROUP2": "a type of entity",
    "SQLITE_CANTOPEN_SYMLINK": "SQLite's own word",
    "1012": "a reply to a question; the row gets NOT_FOUND",
}
"""What looks like a code and is none, and why."""
_NOT_WRITTEN_OUT: Final = frozenset({"401", *(code for code in CODES if code.startswith("HTTP_"))})
"""Codes that the platform may say, or that are put together from a status."""
_CORRECTION: Final = Correction(
    row_number=2, redemption_id="8878ru", entity_type="CUSTOMER", identifier_type="mobile", identifier_value="1"
)


def _texts(source: str) -> Iterator[str]:
    """Every text of a module that looks like a code; the names in `__all__` are names, not texts."""
    tree = ast.parse(source)
    exported = {
        id(name)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for name in ast.walk(node)
    }
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in exported)
    yield from (node.value for node in constants if isinstance(node.value, str) and _LIKE_A_CODE.fullmatch(node.value))


def _given() -> set[str]:
    """Every code that is written in the code base where rows get theirs."""
    modules = [path for path in sorted(_ROOT.rglob("*.py")) if path.relative_to(_ROOT).parts[0] not in _GIVE_NO_CODES]
    return {text for path in modules for text in _texts(path.read_text("utf-8"))} - _NO_CODES.keys()


def test_every_code_that_a_row_can_get_is_written_about() -> None:
    """Fails when somebody adds a code and forgets the runbook."""
    assert _given() - CODES.keys() == set()


def test_nothing_is_written_about_codes_that_no_row_can_get() -> None:
    """A code that was renamed leaves no page of its old name behind."""
    assert CODES.keys() - _given() - _NOT_WRITTEN_OUT == set()


def test_a_code_that_nobody_has_written_about_would_be_found() -> None:
    """The search itself finds codes in calls, tables and constants, and leaves exported names alone."""
    source = "__all__ = ['MOST_ROWS']\nMOON_PHASE = 'MOON_PHASE'\nfound.problem('WRONG_DAY', x)\nTABLE = {'7777': 1}\n"
    assert set(_texts(source)) == {"MOON_PHASE", "WRONG_DAY", "7777"}


def test_a_reply_without_a_code_of_its_own_gets_one_that_is_written_about() -> None:
    """Whatever the status: what the verdict calls it has a page."""
    replies = (Reply(http_status=status, body={"errors": [{"message": "no"}]}) for status in range(200, 600))
    codes = {verdict.judge(reply, _CORRECTION).code for reply in replies}
    assert {code for code in codes if code_named(code) is None} == set()


@pytest.mark.parametrize(("name", "code"), [*CODES.items(), *FAMILIES.items()])
def test_every_page_says_what_it_is_where_it_comes_from_and_what_to_do(name: str, code: Code) -> None:
    """A clause without a full stop, and sentences with one."""
    assert code.meaning, name
    assert not code.meaning.endswith("."), name
    assert code.cause.endswith("."), name
    assert code.remedy.endswith("."), name


@pytest.mark.parametrize(
    ("error_code", "mender"),
    [
        ("748", MendBy.FILE_OWNER),
        ("750", MendBy.DATA_TEAM),
        ("1212", MendBy.PLATFORM_OWNER),
        ("4000", MendBy.CREDENTIALS),
        ("CERTIFICATE_REFUSED", MendBy.CREDENTIALS),
        ("401", MendBy.CREDENTIALS),
        ("521", MendBy.NOBODY),
        ("HTTP_403", MendBy.CREDENTIALS),
        ("HTTP_404", MendBy.PLATFORM_OWNER),
        ("HTTP_422", MendBy.PLATFORM_OWNER),
        ("HTTP_502", MendBy.NOBODY),
        ("UNEXPECTED_REDIRECT", MendBy.PLATFORM_OWNER),
    ],
)
def test_the_code_says_who_mends_the_row(error_code: str, mender: MendBy) -> None:
    """Whatever the status of a row that is not done."""
    assert {mend_by_of(status, error_code) for status in Status if status not in DONE} == {mender}


def test_a_refusal_with_a_code_that_nobody_knows_is_for_the_platforms_owner() -> None:
    """Nobody else can say what it means."""
    assert mend_by_of(Status.REFUSED, "31337") is MendBy.PLATFORM_OWNER


def test_without_a_code_the_status_says_who_mends_the_row() -> None:
    """A pending row needs only that somebody goes on."""
    assert mend_by_of(Status.PENDING, "") is MendBy.NOBODY
    assert mend_by_of(Status.INVALID, "") is MendBy.FILE_OWNER


def test_of_several_codes_the_first_that_is_known_counts() -> None:
    """A row's problems stand in one cell, joined."""
    assert mend_by_of(Status.INVALID, "31337; STALE_CORRECTION; 748") is MendBy.DATA_TEAM


@pytest.mark.parametrize("name", ["HTTP_5000", "HTTP_5xx", "HTTP_\u0665\u0660\u0660", "HTTP_999", "http_500", ""])
def test_what_only_looks_like_a_status_belongs_to_no_family(name: str) -> None:
    """A code may be whatever the platform says."""
    assert code_named(name) is None


_ANY_CODE: Final = st.one_of(
    st.text(max_size=20),
    st.sampled_from([*CODES]),
    st.integers(100, 999).map("HTTP_{}".format),
    st.lists(st.sampled_from([*CODES, "31337"]), min_size=2, max_size=4).map("; ".join),
)


@given(status=st.sampled_from(sorted(set(Status) - DONE)), error_code=_ANY_CODE)
def test_every_row_that_is_not_done_has_somebody_to_mend_it(status: Status, error_code: str) -> None:
    """Whatever its code, also one that only done rows have."""
    assert isinstance(mend_by_of(status, error_code), MendBy)


@given(status=st.sampled_from(sorted(DONE)), error_code=_ANY_CODE)
def test_about_a_row_that_is_done_nobody_has_to_do_anything(status: Status, error_code: str) -> None:
    """Whatever its code."""
    assert mend_by_of(status, error_code) is None
