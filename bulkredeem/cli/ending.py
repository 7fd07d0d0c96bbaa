"""What a person sees when a run has ended: counts, the errors seen most, and one sentence."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bulkredeem.application import Run
from bulkredeem.cli.progress import colour_of, duration_in_words
from bulkredeem.cli.terminal import say, say_whole
from bulkredeem.codes import MendBy
from bulkredeem.model import Status
from bulkredeem.page import PAGE
from bulkredeem.report import RESULTS
from bulkredeem.summary import NOT_DONE, ErrorGroup, Summary, Typed, closing_sentence, counted


def show_ending(console: Console, run: Run, *, quiet: bool, typed: Typed) -> None:
    """Show counts, top errors and the closing sentence; only the sentence when quiet."""
    if not quiet:
        _show_counts(console, run)
        show_groups(console, "What went wrong most:", run.summary.top_errors)
        _show_others(console, run)
        _show_menders(console, run)
        _show_allowed(console, run)
        for remark in run.remarks:
            say(console, remark, style="yellow")
        for what, name in (("Every row", RESULTS), ("The page", PAGE)):
            if (run.folder / name).is_file():
                say_whole(console, f"{what}: {run.folder / name}")
    show_closing(console, run.summary, run.folder, typed)


def show_closing(console: Console, summary: Summary, folder: Path, typed: Typed) -> None:
    """Show verdict and next step; the command to paste is a line of its own."""
    sentence, *command = closing_sentence(summary, str(folder), typed).splitlines()
    say(console, sentence, style="bold")
    for line in command:
        say_whole(console, line, style="bold")


def _show_others(console: Console, run: Run) -> None:
    """Say how many rows have reasons that were not shown."""
    summary = run.summary
    others = summary.not_done - summary.counts[Status.PENDING] - sum(group.count for group in summary.top_errors)
    if others > 0:
        say(console, f"and {counted(others, 'row')} for other reasons: {NOT_DONE} has them all.")


def _show_menders(console: Console, run: Run) -> None:
    """Say who has to do something; those for nobody only need another try, as the closing sentence says."""
    people = {mender: count for mender, count in run.summary.mend_by.items() if mender is not MendBy.NOBODY}
    if people:
        each = ", ".join(f"{count:,} {mender.in_words}" for mender, count in sorted(people.items(), key=_most_first))
        rest = run.summary.mend_by.get(MendBy.NOBODY, 0)
        say(console, f"Who mends it: {each}{f'; {rest:,} only need another try' if rest else ''}.")


def _most_first(entry: tuple[MendBy, int]) -> int:
    return -entry[1]


def show_groups(console: Console, title: str, groups: tuple[ErrorGroup, ...]) -> None:
    """Show groups of rows with the same problem under a title, the largest first; nothing for no groups."""
    if not groups:
        return
    say(console, title, style="bold")
    width = len(f"{groups[0].count:,}")
    for group in groups:
        rows = ", ".join(map(str, group.example_rows)) + (", …" if group.count > len(group.example_rows) else "")
        head = f"{group.code}, " if group.code else ""
        say(console, f"{group.count:>{width},} × {head}{'row' if group.count == 1 else 'rows'} {rows}")  # noqa: RUF001
        say(console, group.message, indent=width + 3)


def _show_allowed(console: Console, run: Run) -> None:
    """Say which rate the platform allowed, if it was not the one that was set; or that an earlier run has learnt it."""
    allowed = run.summary.ending.allowed if run.summary.ending else ""
    if allowed and run.throttled:
        say(console, f'The platform allowed about {allowed}; set rate = "{allowed}".', style="yellow")
    elif allowed:
        say(console, f"It was kept to about {allowed} at first, since the platform throttled before.", style="yellow")


def _show_counts(console: Console, run: Run) -> None:
    summary, ending = run.summary, run.summary.ending
    began = summary.info.started_at if summary.info.resumed_at is None else summary.info.resumed_at
    seconds = max(0.0, ending.finished_at - began) if ending else 0.0
    requests = ending.requests if ending else 0
    facts = [counted(summary.info.rows, "row"), counted(requests, "request"), duration_in_words(seconds)]
    say(console, ", ".join(facts))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    for status in Status:
        if summary.counts[status]:
            table.add_row(f"{summary.counts[status]:,}", Text(status, style=colour_of(status)))
    console.print(table)
