"""The real command line in a process that tells how many tasks its event loop has.

`python watched.py FILE ARGUMENTS...` runs `bulkredeem ARGUMENTS...`; once a second FILE gets the number. The code under
test knows nothing of it: who makes its loop is asked to show it, and a thread of its own looks.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from pathlib import Path
from typing import Final

import uvloop

_BETWEEN_LOOKS: Final = 1.0
"""Seconds."""
_WIDTH: Final = 10
"""Digits of the number, so that each replaces the one before whole."""
_made: Final[list[asyncio.AbstractEventLoop]] = []
_new_event_loop: Final = uvloop.new_event_loop


def new_event_loop() -> uvloop.Loop:
    """Make an event loop that can be looked at."""
    loop = _new_event_loop()
    _made.append(loop)
    return loop


def watch(path: Path) -> None:
    """Write the number of tasks into a file, for as long as the process lives."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    while True:
        time.sleep(_BETWEEN_LOOKS)
        for loop in (each for each in _made if each.is_running()):
            os.pwrite(descriptor, f"{len(asyncio.all_tasks(loop)):{_WIDTH}}".encode(), 0)


if __name__ == "__main__":
    uvloop.new_event_loop = new_event_loop
    threading.Thread(target=watch, args=(Path(sys.argv.pop(1)),), daemon=True).start()
    # It takes the function by its name when it is imported.
    from bulkredeem.cli import main

    main()
