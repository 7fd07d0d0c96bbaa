"""The real command line in a process that dies by SIGKILL at a moment that was chosen before.

`python -m bulkredeem.victim boundary|call N FILE ARGUMENTS...` runs `bulkredeem ARGUMENTS...`. A boundary is the entry
or the exit of one of the functions below, in whichever thread: just before and just after something becomes durable, is
sent or is answered. A call is any call or return at all behind the first boundary. The process dies at the N-th; with
N = 0 it does not, and FILE then holds how many boundaries and calls there were. The code under test knows nothing of
it: Python's profiling hook tells of every call.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

# What commands import when they run is imported here already: the hook would hear of each call of that, and be slow.
from bulkredeem.cli import main, running, selftesting  # noqa: F401
from bulkredeem.client import Client
from bulkredeem.journal import Journal, RunLock
from bulkredeem.ledger import Ledger
from bulkredeem.report import point_latest_to, write_results, write_summary

_FUNCTIONS: Final[tuple[Callable[..., Any], ...]] = (
    Journal.create,
    Journal.write,
    Journal.sync,
    Journal.doubt,
    Journal.clear_doubt,
    Journal.settle,
    Journal.note,
    Client.update,
    Client.read_back,
    Ledger.absorb,
    RunLock.acquire,
    write_results,
    write_summary,
    point_latest_to,
)
_BUILT_IN: Final[frozenset[Callable[..., Any]]] = frozenset({os.fsync, os.replace, os.rename})
_ENTRIES_AND_EXITS: Final = frozenset({"call", "return"})
_OF_BUILT_IN: Final = frozenset({"c_call", "c_return"})


class Reaper:
    """Counts, and ends the process when its moment has come."""

    def __init__(self, *, unit: str, at: int) -> None:
        """Take the moment: the `at`-th `boundary` or `call`; 0 for none."""
        self.boundaries = 0
        self.calls = 0
        self._dies_at_boundary = at if unit == "boundary" else 0
        self._dies_at_call = at if unit == "call" else 0
        self._codes = {getattr(function, "__func__", function).__code__ for function in _FUNCTIONS}

    def __call__(self, frame: FrameType, event: str, subject: object) -> None:
        """Hear of a call or a return, as `sys.setprofile` wants it."""
        is_boundary = self._is_boundary(frame, event, subject)
        self.boundaries += is_boundary
        # Before the first there is nothing but the import of libraries, which is most of all calls.
        self.calls += self.boundaries > 0
        if (is_boundary and self.boundaries == self._dies_at_boundary) or self.calls == self._dies_at_call > 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_boundary(self, frame: FrameType, event: str, subject: object) -> bool:
        if event in _ENTRIES_AND_EXITS:
            return frame.f_code in self._codes
        return event in _OF_BUILT_IN and subject in _BUILT_IN


def run(unit: str, at: int, counts: Path) -> None:
    """Run the command line until its end, or until the moment."""
    reaper = Reaper(unit=unit, at=at)
    threading.setprofile(reaper)
    sys.setprofile(reaper)
    try:
        main()
    finally:
        sys.setprofile(None)
        counts.write_text(f"{reaper.boundaries} {reaper.calls}")


if __name__ == "__main__":
    arguments = sys.argv[1:4]
    del sys.argv[1:4]
    run(arguments[0], int(arguments[1]), Path(arguments[2]))
