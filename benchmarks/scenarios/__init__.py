"""What is measured, by the names that `python -m benchmarks NAME` takes; in this order by `make bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from benchmarks.figures import Figure
from benchmarks.lab import Lab
from benchmarks.scenarios.files import check, million
from benchmarks.scenarios.limited import auto, ceiling, drop, drop_auto, limit, pyrate_limiter, sharing
from benchmarks.scenarios.starting import start
from benchmarks.scenarios.unlimited import latency, throughput

SCENARIOS: Final[Mapping[str, Callable[[Lab], Iterator[Figure]]]] = {
    "throughput": throughput,
    "latency": latency,
    "limit": limit,
    "sharing": sharing,
    "pyrate-limiter": pyrate_limiter,
    "ceiling": ceiling,
    "auto": auto,
    "drop": drop,
    "drop-auto": drop_auto,
    "million": million,
    "check": check,
    "start": start,
}
