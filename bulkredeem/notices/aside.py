"""Work that may hang, beside the event loop, in a thread that nobody has to wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

_T = TypeVar("_T")


async def aside(work: Callable[[], _T]) -> _T:
    """Return what `work` returns, or raise what it raises; whoever waits may stop waiting, and the work goes on.

    The thread is a daemon, and of no pool: at its end the interpreter waits for the threads of a pool, so that a mail
    server that hangs would keep the process from ending.
    """
    future: Future[_T] = Future()

    def carry_out() -> None:
        future.set_running_or_notify_cancel()
        try:
            future.set_result(work())
        except Exception as exc:  # noqa: BLE001  whoever waits gets it
            future.set_exception(exc)

    Thread(target=carry_out, name="notice", daemon=True).start()
    return await asyncio.wrap_future(future)
