"""The libraries put together as their front pages show them: a limiter, a retry and a log line for every row.

    python naive.py FILE URL IN_FLIGHT FOLDER

FOLDER gets run.log and results.csv. The limiter's rate is out of reach, so that only what it costs is measured.
"""

from __future__ import annotations

import asyncio
import csv
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import structlog
from aiolimiter import AsyncLimiter
from tenacity import AsyncRetrying, stop_after_attempt, wait_exponential_jitter

HEADERS = {"Authorization": "Basic dGlsbDpzZWNyZXQ=", "Accept": "application/json"}


class Writer(Protocol):
    """What `csv.writer` returns."""

    def writerow(self, row: list[Any], /) -> object:
        """Write one row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """What every row needs."""

    session: aiohttp.ClientSession
    url: str
    limiter: AsyncLimiter
    in_flight: asyncio.Semaphore
    log: Any
    results: Writer

    async def send(self, row: dict[str, str]) -> None:
        """Send one row, and write down what came of it."""
        async with self.in_flight:
            async for attempt in AsyncRetrying(stop=stop_after_attempt(5), wait=wait_exponential_jitter()):
                with attempt:
                    status, reply = await self._put(row)
            self.log.info("row", redemption=row["redemptionId"], status=status)
            self.results.writerow([*row.values(), status, reply["id"]])

    async def _put(self, row: dict[str, str]) -> tuple[int, dict[str, Any]]:
        async with self.limiter, self.session.put(self.url, json=update_of(row)) as response:
            response.raise_for_status()
            reply: dict[str, Any] = await response.json()
            return response.status, reply


def update_of(row: dict[str, str]) -> dict[str, Any]:
    """Return what is sent for a row."""
    return {
        "redemptionId": row["redemptionId"],
        "billNumber": row["billNumber"],
        "billId": int(row["billId"]),
        "entity": {"type": "CUSTOMER", "identifierType": "mobile", "identifierValue": row["identifierValue"]},
    }


def logger_to(path: Path) -> structlog.typing.FilteringBoundLogger:
    """Return a logger that writes JSON lines; cached, which is the quicker way to use it."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(path.open("w", encoding="utf-8")),
        cache_logger_on_first_use=True,
    )
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


async def main(path: Path, url: str, in_flight: int, folder: Path) -> None:
    """Read the file, then send it with a task for each row."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    with (folder / "results.csv").open("w", encoding="utf-8", newline="") as results:
        async with aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=in_flight)) as session:
            sender = Sender(
                session=session,
                url=url,
                limiter=AsyncLimiter(1_000_000, 1),
                in_flight=asyncio.Semaphore(in_flight),
                log=logger_to(folder / "run.log"),
                results=csv.writer(results),
            )
            await asyncio.gather(*(sender.send(row) for row in rows))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
