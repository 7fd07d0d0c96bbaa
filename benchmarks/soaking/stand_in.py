"""The sandbox in a process of its own, which does as it is told.

It remembers every update, so that its memory grows; that of the run is measured apart. Orders come on standard input,
one JSON object a line, and each is answered by one on standard output.
"""

from __future__ import annotations

import asyncio
import csv
import gc
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from bulkredeem.model import Rate
from bulkredeem.sandbox import Fault, Sandbox, UpdateRequest
from bulkredeem.sandbox.faults import draw

BOOKS: Final = ("redemptionId", "times", "billNumber", "billId")
"""The columns of what was applied: how often, and what the redemption has now."""
_THROTTLED: Final = 429


class StandIn:
    """The sandbox, and what is to be known of it at the end."""

    def __init__(self, *, limit: Rate, latency: float, fail_ratio: float, seed: int) -> None:
        """Take what the sandbox is like; `latency` is seconds, `fail_ratio` a share from 0.0 to 1.0."""
        self.sandbox = Sandbox(limit=limit, latency=latency, faults=self.strike)
        self._fail_ratio = fail_ratio
        self._seed = seed
        self.settled: set[str] = set()
        """Redemptions of rows that have an outcome: none of them may come again."""
        self._sent_again = 0
        self._faults = 0
        self._outages: set[asyncio.Task[None]] = set()
        self._orders: Mapping[str, Callable[[Mapping[str, Any]], None]] = {
            "counters": lambda _order: None,
            "outage": self._begin_outage,
            "settled": self._learn_settled,
            "calm": self._calm_down,
            "books": self._write_books,
        }

    def obey(self, order: Mapping[str, Any]) -> dict[str, int]:
        """Do what is ordered, and return how things stand."""
        self._orders[order["do"]](order)
        return {
            "requests": self.sandbox.requests,
            "throttled": self.sandbox.throttled,
            "overlaps": self.sandbox.overlaps,
            "applied": len(self.sandbox.applied),
            "faults": self._faults,
            "sent_again": self._sent_again,
        }

    def strike(self, update: UpdateRequest) -> Fault | None:
        """Note a row that came although it had an outcome, and draw a fault, or none."""
        self._sent_again += update.identifier in self.settled
        fault = draw(update, ratio=self._fail_ratio, seed=self._seed)
        # Throttling below its limit would teach the run a lower one, and it would be right to heed it.
        if fault is None or fault.status == _THROTTLED:
            return None
        self._faults += 1
        return fault

    def _begin_outage(self, order: Mapping[str, Any]) -> None:
        task = asyncio.create_task(self._outage(order["seconds"]))
        self._outages.add(task)
        task.add_done_callback(self._outages.discard)

    async def _outage(self, seconds: float) -> None:
        await self.sandbox.stop()
        await asyncio.sleep(seconds)
        await self.sandbox.start()

    def _learn_settled(self, order: Mapping[str, Any]) -> None:
        self.settled = set(Path(order["path"]).read_text(encoding="utf-8").split())

    def _calm_down(self, _order: Mapping[str, Any]) -> None:
        self._fail_ratio = self.sandbox.latency = 0.0
        self.sandbox.limit = None

    def _write_books(self, order: Mapping[str, Any]) -> None:
        times = Counter(each.identifier for each in self.sandbox.applied)
        with Path(order["path"]).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(BOOKS)
            for name, now in self.sandbox.redemptions.items():
                writer.writerow((name, times[name], now.bill_number, now.bill_id))


async def serve(stand_in: StandIn) -> None:
    """Say where it is, and obey until standard input ends."""
    async with stand_in.sandbox:
        _say({"base_url": stand_in.sandbox.base_url})
        while line := await asyncio.to_thread(sys.stdin.readline):
            _say(stand_in.obey(orjson.loads(line)))
            # What it remembers is never garbage. To look through all of it lets every request wait meanwhile, and the
            # run opens connections for those.
            gc.freeze()


def _say(answer: Mapping[str, Any]) -> None:
    sys.stdout.write(orjson.dumps(answer).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    given = orjson.loads(sys.argv[1])
    asyncio.run(serve(StandIn(**{**given, "limit": Rate(**given["limit"])})))
