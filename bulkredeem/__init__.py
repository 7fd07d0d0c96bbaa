"""Sends a file of loyalty-redemption corrections, one update per row, and tells the truth about each row.

From Python: `await bulkredeem.run(path, bulkredeem.load_settings({}))`, or `bulkredeem.run_blocking(…)`. The names
below are imported when they are first used, so that `import bulkredeem` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulkredeem.application.calling import run, run_blocking
    from bulkredeem.errors import BulkRedeemError, SignalledError
    from bulkredeem.model import Outcome, Status
    from bulkredeem.processor import Stop
    from bulkredeem.settings import Settings, load_settings
    from bulkredeem.summary import Summary

__version__ = "0.1.0"

__all__ = [
    "BulkRedeemError",
    "Outcome",
    "Settings",
    "SignalledError",
    "Status",
    "Stop",
    "Summary",
    "__version__",
    "load_settings",
    "run",
    "run_blocking",
]

_LIVES_IN = {
    "BulkRedeemError": "bulkredeem.errors",
    "Outcome": "bulkredeem.model",
    "Settings": "bulkredeem.settings",
    "SignalledError": "bulkredeem.errors",
    "Status": "bulkredeem.model",
    "Stop": "bulkredeem.processor",
    "Summary": "bulkredeem.summary",
    "load_settings": "bulkredeem.settings",
    "run": "bulkredeem.application.calling",
    "run_blocking": "bulkredeem.application.calling",
}


def __getattr__(name: str) -> object:
    if name not in _LIVES_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LIVES_IN[name]), name)
