"""Back-fills bill numbers from Python: runs a file, tells of each row that is not done, and ends with the exit code.

`python back_fill.py corrections.csv`, with host, user name and password in the environment or in `bulkredeem.toml`, as
for the command line. `bulkredeem sandbox -- python back_fill.py corrections.csv` rehearses it.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import bulkredeem


async def back_fill(path: str) -> int:
    """Run the file and return the exit code; SIGTERM drains, as on the command line."""
    settings = bulkredeem.load_settings({"unattended": True})
    stop = bulkredeem.Stop()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.request, bulkredeem.SignalledError("SIGTERM"))
    summary = await bulkredeem.run(path, settings, on_outcome=tell, stop=stop)
    if summary.ending and summary.ending.stop_reason:
        print(f"Stopped early: {summary.ending.stop_reason}.")
    print(f"{summary.not_done} of {summary.info.rows} rows need someone.")
    print(f"Reports: {settings.reports / summary.info.run_id}")
    return summary.ending.exit_code or 0 if summary.ending else 0


def tell(outcome: bulkredeem.Outcome) -> None:
    """Print what a person should know of a row; `reason` is masked, `error_message` may hold identifiers."""
    if outcome.status is not bulkredeem.Status.SUCCESS:
        print(f"row {outcome.row_number}: {outcome.status} {outcome.error_code}: {outcome.reason}")


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004  the script and its file
        sys.exit("usage: python back_fill.py FILE")
    try:
        sys.exit(asyncio.run(back_fill(sys.argv[1])))
    except bulkredeem.BulkRedeemError as exc:
        print(exc, file=sys.stderr)
        sys.exit(exc.exit_code)
