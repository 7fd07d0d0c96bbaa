"""What a row costs when the target sets no limit, and whether slow answers leave slots unused."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from benchmarks.figures import Figure, ratio
from benchmarks.lab import Lab, Measured
from benchmarks.programs import IN_FLIGHT, Sender, bare, naive, ours
from benchmarks.target import Target


def throughput(lab: Lab) -> Iterator[Figure]:
    """Compare ours with both baselines, in turn, so that a machine that slows down slows all three."""
    senders: dict[str, Sender] = {"bare": bare, "ours": ours("--rate", "none"), "naive": naive}
    file = lab.file(50_000)
    runs: dict[str, list[Measured]] = {name: [] for name in senders}
    for _ in range(lab.repeats):
        for name, sender in senders.items():
            runs[name].append(lab.send(f"throughput, {name}", Target(), (sender, file)))
    rates = {name: [run.traffic.rows_per_second for run in those] for name, those in runs.items()}
    yield Figure(what="rows/s ÷ bare", value=ratio(rates["ours"], rates["bare"]), at_least=0.80)
    yield Figure(what="rows/s ÷ naive", value=ratio(rates["ours"], rates["naive"]), at_least=2.2)
    costs = {name: [_cost(run) for run in those] for name, those in runs.items()}
    for name in ("bare", "naive"):
        what = f"CPU of a row, {name} ÷ ours"
        yield Figure(what=what, value=ratio(costs[name], costs["ours"]), note="whole processes")
    for name in senders:
        note = f"{statistics.median(costs[name]):.0f} µs of CPU a row"
        yield Figure(what=f"rows/s, {name}", value=statistics.median(rates[name]), note=note)


def _cost(run: Measured) -> float:
    """Return the microseconds of CPU that a row took, of the whole process from its start to its end."""
    return 1e6 * run.ended[0].cpu_seconds / len(run.traffic.good)


def latency(lab: Lab) -> Iterator[Figure]:
    """Send to a target that takes 100 ms, with as many under way as make 1,000 a second; bare shows what can be."""
    seconds = 0.1
    file, ideal = lab.file(10_000), IN_FLIGHT / seconds
    senders: dict[str, Sender] = {"ours": ours("--rate", "none"), "bare": bare}
    shares: dict[str, list[float]] = {name: [] for name in senders}
    for _ in range(lab.repeats):
        for name, sender in senders.items():
            traffic = lab.send(f"latency, {name}", Target(latency=seconds), (sender, file)).traffic
            shares[name].append(traffic.rows_per_second / ideal)
    yield Figure(what="100 ms answers, rows/s ÷ ideal", value=statistics.median(shares["ours"]), at_least=0.95)
    yield Figure(what="100 ms answers, rows/s ÷ ideal, bare", value=statistics.median(shares["bare"]))
