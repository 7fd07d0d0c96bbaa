"""The options of the commands, each once; those left out come from the environment, the file or the defaults.

The defaults shown stand in `settings`, which is not loaded here, so that `--help` is quick; a test compares them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bulkredeem.model import IdentifierChoice, OnConflict, Status

Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE", help="Files with corrections, done in the order given; - for standard input."),
]
BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", metavar="URL", help="The platform's address, with an optional path prefix."),
]
Auth = Annotated[
    str | None,
    typer.Option("--auth", metavar="HOW", help="basic, or oauth: a key and its secret for a token. [default: basic]"),
]
CaBundle = Annotated[
    Path | None,
    typer.Option("--ca-bundle", metavar="FILE", help="Trust these certificates (PEM), and not this machine's."),
]
Reports = Annotated[
    Path | None,
    typer.Option("--reports", metavar="DIR", help="Folder that gets a folder for each run. [default: reports]"),
]
RateOption = Annotated[
    str | None,
    typer.Option(
        "--rate",
        metavar="RATE",
        help="Most requests: 100/min, '20/s,1000/min', none, or auto to search for the limit. [default: 100/min]",
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option(
        "--state-dir",
        metavar="DIR",
        help="Folder by which runs on this machine share the rate; without one, a folder of the user's.",
    ),
]
MaxWorkers = Annotated[
    int | None, typer.Option("--max-workers", metavar="N", help="Most requests under way at once. [default: 200]")
]
MaxAttempts = Annotated[
    int | None,
    typer.Option("--max-attempts", metavar="N", help="Most tries per row, throttled ones apart. [default: 5]"),
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", help="Longest wait for one answer. [default: 30]")
]
Unattended = Annotated[
    bool | None,
    typer.Option("--unattended", help="Nobody watches: ask nothing, and end what a person would have to decide."),
]
Yes = Annotated[bool | None, typer.Option("--yes", help="Do not ask before sending to production or to a new host.")]
By = Annotated[str | None, typer.Option("--by", metavar="NAME", help="On whose behalf; it is kept with the run.")]
Why = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the run.")]
WhenBusy = Annotated[
    str | None,
    typer.Option(
        "--when-busy",
        metavar="WHAT",
        help="While another run sends with this ledger and user name: wait, or fail; without it, fail if --unattended.",
    ),
]
SameFile = Annotated[
    str | None,
    typer.Option(
        "--same-file",
        metavar="WHAT",
        help="If the file's content was run before: ok, or fail; without it, fail if --unattended.",
    ),
]
MinRows = Annotated[int | None, typer.Option("--min-rows", metavar="N", help="Refuse a file with fewer rows.")]
WaitForFile = Annotated[
    str | None, typer.Option("--wait-for-file", metavar="DURATION", help="Wait for a file that is not there yet: 2h.")
]
MoveDone = Annotated[
    Path | None, typer.Option("--move-done", metavar="DIR", help="Move a file away when its run has finished.")
]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="WHEN",
        help="How old the file's knowledge is, if not as old as the file: '2026-11-24 18:00', 18:00.",
    ),
]
AllowOlder = Annotated[
    bool | None, typer.Option("--allow-older", help="Send rows although newer knowledge says otherwise.")
]
Resend = Annotated[bool | None, typer.Option("--resend", help="Send rows although the ledger knows them as applied.")]
OnConflictOption = Annotated[
    OnConflict | None,
    typer.Option(
        "--on-conflict",
        help="Rows that set one field to different values: none is sent, or the last. [default: refuse]",
    ),
]
Existing = Annotated[
    str | None,
    typer.Option(
        "--existing",
        metavar="WHAT",
        help="Another value that the platform has already: overwrite, or keep. [default: overwrite]",
    ),
]
RecordPrevious = Annotated[
    bool | None,
    typer.Option("--record-previous", help="Read the old values back first, so that undo can restore them."),
]
Only = Annotated[
    str | None, typer.Option("--only", metavar="'COLUMN=VALUE'", help="Only the rows with this value in this column.")
]
First = Annotated[
    str | None, typer.Option("--first", metavar="'COLUMN=VALUE'", help="The rows with this value before all others.")
]
Canary = Annotated[
    int | None,
    typer.Option("--canary", metavar="N", help="Send N rows, spread over the file, and look, before the others."),
]
MaxRefused = Annotated[
    str | None,
    typer.Option(
        "--max-refused", metavar="SHARE", help="Stop when more of 200 rows or more are refused. [default: 50%]"
    ),
]
NoGuard = Annotated[bool | None, typer.Option("--no-guard", help="Go on although values or refusals look wrong.")]
RedemptionName = Annotated[str, typer.Argument(metavar="ID", help="A redemption, by either identifier, exactly.")]
Keep = Annotated[str, typer.Option("--keep", metavar="DURATION", help="Remove finished runs that are older: 90d.")]
Comparables = Annotated[
    list[Path], typer.Argument(metavar="FILE", help="Files with corrections, compared in the order given.")
]
Every = Annotated[bool, typer.Option("--all", help="Every row that was sent, and not only those in doubt.")]
AtOnce = Annotated[bool, typer.Option("--now", help="Do not wait for five minutes after the last try.")]
Identifier = Annotated[
    IdentifierChoice | None,
    typer.Option("--identifier", help="Which column identifies the redemption. [default: auto]"),
]
Map = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="'HEADER=COLUMN'", help="Use the column HEADER as COLUMN. May be repeated."),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        "--encoding", metavar="NAME", help="How the file's text is encoded: utf-8, utf-16, cp1252, if not as found."
    ),
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        "--delimiter", metavar="CHARACTER", help="What stands between cells: ';', '|' or tab, if not as found."
    ),
]
Sheet = Annotated[
    str | None, typer.Option("--sheet", metavar="NAME", help="The sheet of a workbook, by name or by number from 1.")
]
HeaderRow = Annotated[
    int | None,
    typer.Option("--header-row", metavar="N", help="The row that holds the header, if not as found in the first 20."),
]
IgnoreRows = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore-rows",
        metavar="'COLUMN~REGEX'",
        help="Lines that are no rows, such as totals: redemptionId~^Total. May be repeated.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Send nothing: check, and leave a folder that says what was found.")
]
Xlsx = Annotated[bool | None, typer.Option("--xlsx", help="Write results.xlsx and not_done.xlsx too, for Excel.")]
ShowPii = Annotated[
    bool | None, typer.Option("--show-pii", help="Show identifiers in report.html, which otherwise masks them.")
]
Notify = Annotated[
    str | None,
    typer.Option(
        "--notify", metavar="WHEN", help="When a notice is sent: failure, change or always. [default: failure]"
    ),
]
MetricsFile = Annotated[
    Path | None, typer.Option("--metrics-file", metavar="FILE", help="Write metrics for Prometheus there at the end.")
]
SampleFile = Annotated[
    Path | None, typer.Argument(metavar="[FILE]", help="A file as you have them, to say which column is which.")
]
GroupBy = Annotated[
    str, typer.Option("--by", metavar="WHAT", help="What a group has in common: reason, mend_by, or a column.")
]
AllowUnterminated = Annotated[
    bool | None, typer.Option("--allow-unterminated", help="Take a last line that has no line end.")
]
TrustIds = Annotated[
    bool | None, typer.Option("--trust-ids", help="Take identifiers that look damaged by a spreadsheet as they are.")
]
Json = Annotated[
    bool | None, typer.Option("--json", help="The summary on standard output, all else on standard error.")
]
Quiet = Annotated[bool | None, typer.Option("--quiet", help="Only errors and the closing sentence.")]
LogLevel = Annotated[
    str | None,
    typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error, for run.log. [default: info]"),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="The configuration file. [default: bulkredeem.toml, if there is one]"
    ),
]
Profile = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="The profile of the configuration file to use.")
]
OutageTimeout = Annotated[
    str | None,
    typer.Option(
        "--outage-timeout",
        metavar="DURATION",
        help="End the run when the platform answered nothing for so long: 90s, 15m, 2h. [default: 15m]",
    ),
]
Deadline = Annotated[
    str | None,
    typer.Option(
        "--deadline", metavar="WHEN", help="Start no row after it: a time of day (06:00) or a duration from now (2h)."
    ),
]
ResumeUnfinished = Annotated[
    bool | None, typer.Option("--resume-unfinished", help="Also finish the runs that stopped early or died.")
]
Backlog = Annotated[
    str | None,
    typer.Option("--backlog", metavar="WHEN", help="Do those first or last, before or after FILE. [default: first]"),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run: its folder, its name, or how that begins.")]
OptionalRun = Annotated[
    str | None, typer.Argument(metavar="RUN", help="A run: its folder, its name, or how that begins.")
]
IfAny = Annotated[bool, typer.Option("--if-any", help="Without an unfinished run, exit 0: for a boot unit.")]
ReasonOfEnd = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept with the run.")]
Statuses = Annotated[
    list[Status] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        help="Rows with this status; may be repeated. [default: failed, in_doubt, pending]",
    ),
]
Codes = Annotated[
    list[str] | None,
    typer.Option("--code", metavar="CODE", help="Rows that are not done with this error code; may be repeated."),
]
