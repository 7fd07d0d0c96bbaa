"""What a person sees when a run has ended: counts, the errors seen most, and one sentence."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bulkredeem.application import Run
from bulkredeem.cli.progress import colour_of
from bulkredeem.model import Status
from bulkredeem.report import NOT_DONE, RESULTS
from bulkredeem.summary import ErrorGroup, closing_sentence


def show_ending(console: Console, run: Run, *, quiet: bool) -> None:
    """Show counts, top errors and the closing sentence; only the sentence when quiet."""
    summary = run.summary
    if not quiet:
        console.print(_counts(run))
        if summary.top_errors:
            console.print(groups_table("What went wrong most", summary.top_errors))
        console.print(f"Every row: {run.folder / RESULTS}", markup=False)
    console.print(closing_sentence(summary, str(run.folder / NOT_DONE)), markup=False, style="bold")


def groups_table(title: str, groups: tuple[ErrorGroup, ...]) -> Table:
    """Return groups of rows with the same problem as a table."""
    table = Table(
        "rows", "code", "what", "for example rows", title=title, title_justify="left", box=None, pad_edge=False
    )
    table.columns[0].justify = "right"
    for group in groups:
        rows = ", ".join(map(str, group.example_rows))
        table.add_row(f"{group.count:,}", Text(group.code), Text(group.message), rows)
    return table


def _counts(run: Run) -> Table:
    summary, ending = run.summary, run.summary.ending
    seconds = ending.finished_at - summary.info.started_at if ending else 0.0
    requests = ending.requests if ending else 0
    title = f"{summary.info.rows:,} rows, {requests:,} requests, {seconds:,.1f} s"
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    for status in Status:
        if summary.counts[status]:
            table.add_row(f"{summary.counts[status]:,}", Text(status, style=colour_of(status)))
    return table
