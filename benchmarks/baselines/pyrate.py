"""The bare sender behind pyrate-limiter: what its paces make of a limit of 200 requests a second.

    python pyrate.py FILE URL IN_FLIGHT FOLDER gcra|sqlite

`gcra` spaces requests evenly, but lives in the memory of one process and counts whole milliseconds. `sqlite` can be
shared by processes, by a file in FOLDER and a file lock, and lets the requests of a second go when the second begins.
"""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import uvloop
from bare import HEADERS, bodies
from pyrate_limiter import Duration, Limiter, Rate, SQLiteBucket, StateBucket


def limiter_of(kind: str, folder: Path) -> Limiter:
    """Return the limiter: 200 requests a second, as nearly as each can say it."""
    if kind == "gcra":
        return Limiter(StateBucket([Rate(1, 5)]), buffer_ms=0)
    database = str(folder / "pace.sqlite")
    bucket = SQLiteBucket.init_from_file([Rate(200, Duration.SECOND)], db_path=database, use_file_lock=True)
    return Limiter(bucket, buffer_ms=0)


async def work(session: aiohttp.ClientSession, url: str, updates: Iterator[bytes], limiter: Limiter) -> None:
    """Send what nobody has taken yet, one after the other, each as soon as it may go."""
    for update in updates:
        await limiter.try_acquire_async("key")
        async with session.put(url, data=update) as response:
            await response.read()


async def send(path: Path, url: str, in_flight: int, limiter: Limiter) -> None:
    """Read the file, then send it over one session; a 429 is not repeated."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))[1:]
    updates = bodies(rows)
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector, headers=HEADERS) as session:
        await asyncio.gather(*(work(session, url, updates, limiter) for _ in range(in_flight)))


if __name__ == "__main__":
    uvloop.run(send(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), limiter_of(sys.argv[5], Path(sys.argv[4]))))
