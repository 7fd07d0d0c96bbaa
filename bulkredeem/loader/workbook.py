"""A workbook → the rows of one sheet, as values with notes. It is read whole: its form does not allow anything else.

The values come from pandas' calamine engine. Three of that engine's words are used directly, since pandas has none for
them: its errors, of which one says that a password is missing, and whether a sheet is hidden. It is an extra, so it is
loaded when the first workbook comes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Final
from xml.parsers.expat import ExpatError

from bulkredeem.columns import is_ours, shown_header
from bulkredeem.errors import InputFileError
from bulkredeem.loader.cells import Note, text_of
from bulkredeem.loader.ods import survey_ods
from bulkredeem.loader.opening import UNPACKING_ERRORS, Form, Opened
from bulkredeem.loader.records import Record
from bulkredeem.loader.surveying import CellTooLongError, DocumentTypeError, Survey, TooLargeError
from bulkredeem.loader.unfolding import require_modest
from bulkredeem.loader.xlsx import survey_xlsx

if TYPE_CHECKING:
    import pandas as pd

_NO_FORMATS: Final = (
    "In a workbook of this form, zeros and signs that only a number format shows, cells in error and hidden rows cannot"
    " be seen; as .xlsx they can."
)
_LISTED: Final = 20
"""Sheets that a sentence names."""
_PANIC: Final = "pyo3_runtime"
"""The module of what the engine raises when it has found a bug of its own; it has no other name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """One sheet of a workbook."""

    name: str
    rows: Sequence[Sequence[object]]
    """Its values from its first row and column on."""
    notes: Mapping[int, Mapping[int, Note]] = field(default_factory=dict)
    """What is to be known of cells beyond that: row → column → note, both from 0."""
    hidden_rows: frozenset[int] = frozenset()
    """Rows that a filter or a person hides, from 0."""
    hidden_columns: frozenset[int] = frozenset()
    remarks: tuple[str, ...] = ()
    """Sentences that a person should read."""

    def texts(self, index: int, width: int | None = None) -> list[str]:
        """Return the cells of a row as text, counted from 0; the first so many of them, or all."""
        values, notes = self.rows[index][:width], self.notes.get(index)
        if not notes:
            return [value if isinstance(value, str) else text_of(value) for value in values]
        return [text_of(value, notes.get(place, Note())) for place, value in enumerate(values)]

    def noted(self, index: int, places: Sequence[int]) -> tuple[list[object], dict[int, Note]]:
        """Return the values of a row at these places, and the notes on them by where they stand there."""
        values, notes = self.rows[index], self.notes.get(index, {})
        return (
            [values[place] for place in places],
            {new: notes[place] for new, place in enumerate(places) if place in notes},
        )

    def records(self) -> Iterator[Record]:
        """Yield the rows as records."""
        for index in range(len(self.rows)):
            yield Record(row_number=index + 1, cells=trimmed(self.texts(index)))

    def width_from(self, index: int) -> int:
        """Return how many columns have something in them from this row on."""
        width = 0
        for row, values in enumerate(self.rows[index:], start=index):
            notes = self.notes.get(row, {})
            end = len(values)
            while end > width and values[end - 1] == "" and end - 1 not in notes:
                end -= 1
            width = max(width, end)
        return width


def trimmed(cells: list[str]) -> list[str]:
    """Return cells without the empty ones at their end."""
    end = len(cells)
    while end and not cells[end - 1]:
        end -= 1
    return cells[:end]


def read_sheet(opened: Opened, wanted: str) -> Sheet:
    """Read the sheet that is wanted, by name or by number from 1, or the only one with rows when that is empty.

    Raises InputFileError for a workbook that cannot be read, and for one in which no sheet or none alone is meant.
    """
    import pandas as pd  # noqa: PLC0415  slow to load, and few inputs are workbooks

    engine = _engine(opened.name)
    with _in_one_sentence(opened.name, engine):
        require_modest(opened.stream, opened.name)
        opened.stream.seek(0)
        # Looked at first: the engine fills a rectangle with whatever a sheet spans.
        surveys = _Surveys(opened)
        with pd.ExcelFile(opened.stream, engine="calamine") as workbook:
            names = [str(name) for name in workbook.sheet_names]
            name = _named(names, wanted, opened.name) if wanted else _only(workbook, engine, surveys, opened.name)
            survey = surveys.of(name)
            rows = _values(workbook, name)
    _fill_up(rows, survey)
    remarks = [f"Sheet {shown_header(name)!r} of {len(names)}."] if len(names) > 1 else []
    remarks += [_NO_FORMATS] if opened.form is Form.OTHER_WORKBOOK else []
    return Sheet(
        name=name,
        rows=rows,
        notes=_by_row(survey),
        hidden_rows=survey.hidden_rows if survey else frozenset(),
        hidden_columns=survey.hidden_columns if survey else frozenset(),
        remarks=tuple(remarks),
    )


def _engine(name: str) -> ModuleType:
    """Return the engine; raise InputFileError where it is not installed."""
    try:
        return import_module("python_calamine")
    except ImportError as exc:
        raise _not_installed(name) from exc


def _not_installed(name: str) -> InputFileError:
    return InputFileError(
        f"{name} is a workbook, and reading one needs the extra: pip install 'bulkredeem[xlsx]'; or save it as CSV."
    )


@contextmanager
def _in_one_sentence(name: str, engine: ModuleType) -> Iterator[None]:
    """Turn whatever goes wrong with a workbook into an InputFileError."""
    try:
        yield
    except ImportError as exc:  # pandas wants a later version of it
        raise _not_installed(name) from exc
    except engine.PasswordError as exc:
        raise InputFileError(f"{name} is a workbook with a password: save it without one.") from exc
    except TooLargeError as exc:
        raise InputFileError(
            f"{name} is a workbook whose sheet {exc}: delete what stands far away from the table, or save the sheet as"
            " CSV."
        ) from exc
    except CellTooLongError as exc:
        raise InputFileError(f"{name}, {exc}.") from exc
    except DocumentTypeError as exc:
        raise InputFileError(
            f"{name} is a workbook with a document type in it, which no spreadsheet writes: open it in one,"
            " and save it again."
        ) from exc
    except (
        engine.CalamineError,
        ExpatError,
        KeyError,
        ValueError,
        ArithmeticError,
        StopIteration,
        RuntimeError,
        *UNPACKING_ERRORS,
    ) as exc:
        raise _damaged(name) from exc
    except BaseException as exc:
        if type(exc).__module__ != _PANIC:
            raise
        raise _damaged(name) from exc


def _damaged(name: str) -> InputFileError:
    return InputFileError(
        f"{name} is a workbook that cannot be read, so it is damaged or not whole: open it in a spreadsheet, and save"
        " it again."
    )


def _named(names: Sequence[str], wanted: str, name: str) -> str:
    """Return the name of the sheet that somebody named; one that is a number may be a name all the same."""
    if wanted in names:
        return wanted
    alike = [each for each in names if each.strip().casefold() == wanted.strip().casefold()]
    if len(alike) == 1:
        return alike[0]
    if wanted.isdecimal() and 0 < int(wanted) <= len(names):
        return names[int(wanted) - 1]
    raise InputFileError(f"{name} has no sheet {wanted!r}; it has {_listed(names)}.")


def _only(workbook: pd.ExcelFile, engine: ModuleType, surveys: _Surveys, name: str) -> str:
    """Return the only sheet with rows; one that a person hid does not count beside those that can be seen.

    A workbook of ours has a summary beside its rows: where a single sheet is a report of ours, that one is meant.
    """
    names = [str(each) for each in workbook.sheet_names]
    if len(names) == 1:
        return names[0]
    filled = [
        each
        for each in names
        if (survey.rows if (survey := surveys.of(each)) else workbook.book.get_sheet_by_name(each).start)
    ]
    hidden = {each.name for each in workbook.book.sheets_metadata if each.visible != engine.SheetVisibleEnum.Visible}
    seen = [each for each in filled if each not in hidden] or filled
    if len(seen) == 1:
        return seen[0]
    if not seen:
        raise InputFileError(f"{name} is empty: no sheet has anything in it, and one must name the columns.")
    ours = [each for each in seen if is_ours(_first_row(workbook, each))]
    if len(ours) == 1:
        return ours[0]
    raise InputFileError(f"{name} has {len(seen)} sheets with rows: {_listed(seen)}. Say which is meant with --sheet.")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(repr(shown_header(each)) for each in names[:_LISTED]) + more


def _first_row(workbook: pd.ExcelFile, name: str) -> list[str]:
    rows = workbook.book.get_sheet_by_name(name).to_python(skip_empty_area=False, nrows=1)
    return list(map(str, rows[0])) if rows else []


def _values(workbook: pd.ExcelFile, name: str) -> list[list[object]]:
    # With what is empty before the first cell: a row keeps the number that a spreadsheet shows.
    rows: list[list[object]] = workbook.book.get_sheet_by_name(name).to_python(skip_empty_area=False)
    return rows


class _Surveys:
    """What the XML says of the sheets of a workbook, as far as it is asked for and can be known."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._known: dict[str, Survey] = {}
        if opened.form is Form.ODS:
            with zipfile.ZipFile(opened.stream) as archive:
                self._known = survey_ods(archive)
        opened.stream.seek(0)

    def of(self, name: str) -> Survey | None:
        """Return what is known of a sheet; None when nothing can be."""
        if self._opened.form is Form.XLSX and name not in self._known:
            with zipfile.ZipFile(self._opened.stream) as archive:
                self._known[name] = survey_xlsx(archive, name)
        return self._known.get(name)


def _fill_up(rows: list[list[object]], survey: Survey | None) -> None:
    """Add the cells at the end that come to nothing for the engine, and are noted all the same."""
    if survey:
        for row in rows:
            row.extend([""] * (survey.columns - len(row)))
        rows.extend([""] * survey.columns for _ in range(survey.rows - len(rows)))


def _by_row(survey: Survey | None) -> dict[int, dict[int, Note]]:
    notes: dict[int, dict[int, Note]] = {}
    for (row, column), note in survey.notes.items() if survey else ():
        notes.setdefault(row, {})[column] = note
    return notes
