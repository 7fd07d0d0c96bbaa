"""The options of the commands, each once; those left out come from the environment, the file or the defaults.

The defaults shown stand in `settings`, which is not loaded here, so that `--help` is quick; a test compares them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bulkredeem.model import IdentifierChoice

Files = Annotated[
    list[Path], typer.Argument(metavar="FILE", help="CSV files with corrections, done in the order given.")
]
BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", metavar="URL", help="The platform's address, with an optional path prefix."),
]
Reports = Annotated[
    Path | None,
    typer.Option("--reports", metavar="DIR", help="Folder that gets a folder for each run. [default: reports]"),
]
RateOption = Annotated[
    str | None,
    typer.Option("--rate", metavar="RATE", help="Most requests: 100/min, 20/s, or none. [default: 100/min]"),
]
MaxWorkers = Annotated[
    int | None, typer.Option("--max-workers", metavar="N", help="Most requests under way at once. [default: 32]")
]
MaxAttempts = Annotated[
    int | None,
    typer.Option("--max-attempts", metavar="N", help="Most tries per row, throttled ones apart. [default: 5]"),
]
Timeout = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", help="Longest wait for one answer. [default: 30]")
]
Identifier = Annotated[
    IdentifierChoice | None,
    typer.Option("--identifier", help="Which column identifies the redemption. [default: auto]"),
]
Map = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="'HEADER=COLUMN'", help="Use the column HEADER as COLUMN. May be repeated."),
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
