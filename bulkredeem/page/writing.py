"""Values → pages. Jinja2 lives in this room alone."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bulkredeem.codes import MendBy
from bulkredeem.counters import Counters
from bulkredeem.errors import ExitCode
from bulkredeem.model import DONE, Status
from bulkredeem.page.charts import proportional
from bulkredeem.page.hiding import IDENTIFIERS, Hiding
from bulkredeem.page.nights import NIGHTS, night_charts
from bulkredeem.page.values import INDEX, MOST_ROWS, PAGE, IndexEntry, NotDoneRow
from bulkredeem.page.wire import wire_charts
from bulkredeem.summary import NOT_DONE, UNFINISHED, RunState, Step, Summary, iso_utc
from bulkredeem.wholefile import whole_text

_PRODUCTION: Final = "production"
_UNSHOWABLE: Final = re.compile("[\x00\ud800-\udfff]")
"""What no text in UTF-8 may hold, or no HTML: half a pair of surrogates, and NUL."""
_ENDS: Final[Mapping[int, str]] = {
    ExitCode.DONE: "every row is done",
    ExitCode.NOT_ALL_DONE: "some rows are not done",
    ExitCode.COULD_NOT_START: "it could not start",
    ExitCode.STOPPED_EARLY: "stopped early",
    ExitCode.ACCESS_REFUSED: "access refused",
    ExitCode.BUSY: "another run was under way",
    ExitCode.DEADLINE: "the deadline came",
    ExitCode.INTERNAL_ERROR: "an error of ours",
    ExitCode.INTERRUPTED_AT_ONCE: "interrupted at once",
}


def write_run_page(  # noqa: PLR0913  a page brings together what all others have found
    folder: Path,
    summary: Summary,
    *,
    headers: Sequence[str],
    used: Mapping[str, int],
    rows: Iterable[NotDoneRow],
    counters: Sequence[Counters],
    steps: Sequence[Step],
    closing: str,
    unmask: str,
    show_pii: bool,
) -> None:
    """Write `report.html` into the run's folder; memory does not grow with the rows, only with their reasons.

    `headers` are the file's own, `used` says which is used as what (canonical name → index). At most 50,000 of the
    rows are taken, and the page says so. Without `show_pii` identifiers are masked, and the message of a row is its
    reason; `unmask` is the command that shows them. Raises ReportError when the disk does not take it.
    """
    kinds: dict[tuple[str, ...], int] = {}
    page = _environment().get_template("run.html.j2")
    pieces = page.generate(
        **_common("run.js"),
        **_of_summary(summary),
        rows=_row_lines(rows, None if show_pii else Hiding(used), kinds),
        about=lambda: Markup(_as_json(_about(summary, headers, used, kinds, show_pii=show_pii))),  # noqa: S704  escaped
        charts=wire_charts(counters),
        steps=steps,
        closing=closing.splitlines(),
        show_pii=show_pii,
        unmask=unmask,
        most_rows=MOST_ROWS,
    )
    with whole_text(folder / PAGE) as file:
        file.writelines(pieces)


def write_index(reports: Path, entries: Sequence[IndexEntry]) -> None:
    """Write `index.html` into the reports folder: the runs, the newest first.

    Raises ReportError when the disk does not take it.
    """
    newest_first = sorted(entries, key=lambda entry: (entry.started_at or 0.0, entry.name), reverse=True)
    page = _environment().get_template("index.html.j2")
    pieces = page.generate(
        **_common("index.js"),
        runs=newest_first,
        lines=_lines(map(_entry, newest_first)),
        about=Markup(_as_json({"statuses": list(Status), "done": list(DONE)})),  # noqa: S704  escaped
        states=Counter(entry.state for entry in entries),
        unfinished=sum(entry.state in UNFINISHED for entry in entries),
        is_production=any(_is_production(entry.environment) for entry in entries),
        charts=night_charts(newest_first),
        nights=NIGHTS,
        not_done=_not_done,
    )
    with whole_text(reports / INDEX) as file:
        file.writelines(pieces)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bulkredeem.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_showable,
    )
    environment.filters |= {
        "breakable": _breakable,
        "lasting": _lasting,
        "moment": _moment,
        "name_of": _name_of,
        "share": _share,
        "words": _words,
    }
    return environment


def _showable(value: object) -> object:
    """Return a text without what would keep it from being written at all."""
    is_text = isinstance(value, str) and not isinstance(value, Markup)
    return _UNSHOWABLE.sub("\ufffd", str(value)) if is_text else value


@cache
def _common(script: str) -> dict[str, Any]:
    """Return what both pages have: style and script, and the hashes by which the page allows these and no others."""
    style = _read("page.css")
    code = f'"use strict";\n{_read("page.js")}\n{_read(script)}'
    return {
        "style": Markup(style),  # noqa: S704  a file of this package
        "script": Markup(code),  # noqa: S704  files of this package
        "style_hash": _hash(style),
        "script_hash": _hash(code),
    }


def _read(name: str) -> str:
    return files("bulkredeem.page").joinpath("templates", name).read_text("utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _of_summary(summary: Summary) -> dict[str, Any]:
    ending = summary.ending
    counts = [(str(status), summary.counts[status]) for status in Status]
    return {
        "summary": summary,
        "info": summary.info,
        "ending": ending,
        "state": ending.state if ending else RunState.RUNNING,
        "is_production": _is_production(summary.info.environment),
        "counts": counts,
        "bar": proportional(counts),
        "menders": {str(mender): mender.in_words for mender in MendBy},
        "exit_words": _ENDS.get(ending.exit_code, "") if ending and ending.exit_code is not None else "",
    }


def _is_production(environment: str) -> bool:
    return environment.strip().casefold() == _PRODUCTION


def _row_lines(
    rows: Iterable[NotDoneRow], hiding: Hiding | None, kinds: dict[tuple[str, ...], int]
) -> Iterator[Markup]:
    """Yield the rows as the page holds them; what many of them share goes into `kinds`, once."""
    return _lines(_row(row, hiding, kinds) for row in islice(rows, MOST_ROWS))


def _row(row: NotDoneRow, hiding: Hiding | None, kinds: dict[tuple[str, ...], int]) -> list[object]:
    # The reason is masked already; the message would not gain by it.
    message = row.error_message if hiding is None else ""
    kind = (row.status, row.error_code, row.mend_by, row.reason, "" if message == row.reason else message)
    warnings = list(row.warnings) if hiding is None else hiding.texts(row.warnings, row.cells)
    cells = list(row.cells) if hiding is None else hiding.cells(row.cells)
    return [
        row.row_number,
        kinds.setdefault(kind, len(kinds)),
        row.http_status,
        row.attempts,
        row.request_id,
        round(row.finished_at * 1000),
        warnings or 0,
        cells,
    ]


def _about(
    summary: Summary,
    headers: Sequence[str],
    used: Mapping[str, int],
    kinds: Mapping[tuple[str, ...], int],
    *,
    show_pii: bool,
) -> dict[str, object]:
    """Return what the script has to know beside the rows."""
    names = {index: name for name, index in used.items()}
    return {
        "headers": list(headers),
        "canonical": [names.get(index, "") for index in range(len(headers))],
        "identifiers": [used[name] for name in IDENTIFIERS if name in used],
        "menders": {str(mender): mender.in_words for mender in MendBy},
        "kinds": list(kinds),
        "total": summary.not_done,
        "masked": not show_pii,
    }


def _entry(entry: IndexEntry) -> list[object]:
    lasted = (
        round(entry.finished_at - entry.started_at, 1)
        if entry.finished_at is not None and entry.started_at is not None
        else None
    )
    return [
        entry.name,
        entry.state,
        entry.environment,
        entry.path,
        entry.retry_of,
        entry.problem,
        None if entry.counts is None else [entry.counts[status] for status in Status],
        None if entry.started_at is None else round(entry.started_at * 1000),
        lasted,
        entry.exit_code,
        [PAGE if entry.has_page else "", NOT_DONE if entry.has_not_done else ""],
    ]


def _not_done(entry: IndexEntry) -> int:
    return sum(count for status, count in (entry.counts or {}).items() if status not in DONE)


def _lines(objects: Iterable[object]) -> Iterator[Markup]:
    """Yield the elements of a JSON array, each a line."""
    for number, each in enumerate(objects):
        yield Markup(f"{',' if number else ''}{_as_json(each)}\n")  # noqa: S704  escaped


def _as_json(value: object) -> str:
    """Write a value so that no text in it ends or begins anything in HTML; what is not ASCII is escaped, too."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _moment(seconds: float) -> str:
    """Write a moment for a person, in UTC, to the second."""
    return f"{iso_utc(seconds)[:19].replace('T', ' ')} UTC"


def _lasting(seconds: float) -> str:
    """Write a duration for a person, by its two largest units."""
    whole = max(0, round(seconds))
    if whole < 60:  # noqa: PLR2004  a minute
        return f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {whole % 60:02} s"


def _words(name: str) -> str:
    return str(name).replace("_", " ")


def _share(count: int, total: int) -> str:
    """Write a part of a whole in per cent; a little is never nothing, and nearly all is never all."""
    percent = 100 * count / total
    if count == total:
        return "100%"
    return "< 0.1%" if percent < 0.1 else f"{min(percent, 99.9):.1f}%"  # noqa: PLR2004  the last digit that is shown


def _breakable(path: str) -> Markup:
    """Let a long path break after its slashes and underscores, and not in the midst of a word."""
    parts = re.split(r"(?<=[/\\_.-])", path)
    return Markup("<wbr>").join(str(_showable(part)) for part in parts)


def _name_of(path: str) -> str:
    """Return a file's own name, whichever way its path is written."""
    return PurePosixPath(path.replace("\\", "/")).name or path
