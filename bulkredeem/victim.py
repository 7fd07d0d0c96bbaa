"""The real command line in a process that dies by SIGKILL when it crosses a boundary for the n-th time.

`python -m bulkredeem.victim N FILE ARGUMENTS...` runs `bulkredeem ARGUMENTS...`. A boundary is the entry or
the exit of one of the functions below, in whichever thread: just before and just after something becomes durable, is
sent or is answered. With N = 0 nothing dies, and FILE then holds how many boundaries were crossed. The code under test
knows nothing of it: Python's profiling hook tells of every call.
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

from bulkredeem.cli import main
from bulkredeem.client import Client
from bulkredeem.journal import Journal, RunLock
from bulkredeem.report import point_latest_to, write_results, write_summary

_FUNCTIONS: Final[tuple[Callable[..., Any], ...]] = (
    Journal.create,
    Journal.commit,
    Journal.raise_reach,
    Journal.doubt,
    Journal.note,
    Client.update,
    RunLock.acquire,
    write_results,
    write_summary,
    point_latest_to,
)
_BUILT_IN: Final[frozenset[Callable[..., Any]]] = frozenset({os.fsync, os.replace})
_ENTRIES_AND_EXITS: Final = frozenset({"call", "return"})
_OF_BUILT_IN: Final = frozenset({"c_call", "c_return"})


class Reaper:
    """Counts boundaries, and ends the process at one of them."""

    def __init__(self, at: int) -> None:
        """Take the number of the boundary; 0 for none."""
        self.crossed = 0
        self._at = at
        self._codes = {getattr(function, "__func__", function).__code__ for function in _FUNCTIONS}

    def __call__(self, frame: FrameType, event: str, subject: object) -> None:
        """Hear of a call or a return, as `sys.setprofile` wants it."""
        if event in _ENTRIES_AND_EXITS:
            is_boundary = frame.f_code in self._codes
        else:
            is_boundary = event in _OF_BUILT_IN and subject in _BUILT_IN
        if is_boundary:
            self.crossed += 1
            if self.crossed == self._at:
                os.kill(os.getpid(), signal.SIGKILL)


def run(at: int, count: Path) -> None:
    """Run the command line until its end, or until the boundary."""
    reaper = Reaper(at)
    threading.setprofile(reaper)
    sys.setprofile(reaper)
    try:
        main()
    finally:
        sys.setprofile(None)
        count.write_text(str(reaper.crossed))


if __name__ == "__main__":
    number, path = int(sys.argv[1]), Path(sys.argv[2])
    del sys.argv[1:3]
    run(number, path)
