"""The least a sender can do: aiohttp, orjson and uvloop, and nothing that a night needs.

    python bare.py FILE URL IN_FLIGHT

No pace, no retry, no check, no log, no results: it ends with an exception at the first reply that is not JSON.
"""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import orjson
import uvloop

HEADERS = {"Authorization": "Basic dGlsbDpzZWNyZXQ=", "Content-Type": "application/json", "Accept": "application/json"}


def bodies(rows: list[list[str]]) -> Iterator[bytes]:
    """Make the body of each request when it is asked for, as any sender must."""
    for redemption_id, bill_number, bill_id, identifier, _store in rows:
        entity = {"type": "CUSTOMER", "identifierType": "mobile", "identifierValue": identifier}
        update = {"redemptionId": redemption_id, "billNumber": bill_number, "billId": int(bill_id), "entity": entity}
        yield orjson.dumps(update)


async def work(session: aiohttp.ClientSession, url: str, updates: Iterator[bytes]) -> None:
    """Send what nobody has taken yet, one after the other."""
    for update in updates:
        async with session.put(url, data=update) as response:
            orjson.loads(await response.read())


async def send(path: Path, url: str, in_flight: int) -> None:
    """Read the file, then send it over one session."""
    with path.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))[1:]
    updates = bodies(rows)
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector, headers=HEADERS) as session:
        await asyncio.gather(*(work(session, url, updates) for _ in range(in_flight)))


if __name__ == "__main__":
    uvloop.run(send(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
