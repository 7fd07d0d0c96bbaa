"""The event loop of the commands that send: uvloop's where it is installed, else Python's own."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

try:
    import uvloop
except ImportError:  # no wheel for this system: slower, and otherwise the same
    _new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
else:
    _new_loop = uvloop.new_event_loop

_T = TypeVar("_T")


def run_to_its_end(work: Coroutine[Any, Any, _T]) -> _T:
    """Run the work of a command on a loop of its own, and return what it returns."""
    # What was imported lives as long as the process: the collector need not look at it again and again.
    gc.freeze()
    with asyncio.Runner(loop_factory=_new_loop) as runner:
        return runner.run(work)
