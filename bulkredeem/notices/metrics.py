"""Metrics of the last command, in a text file that the node exporter of Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bulkredeem.errors import ReportError
from bulkredeem.notices.values import Ended
from bulkredeem.wholefile import whole_text

_FOR_ALL: Final = 0o644
"""The exporter is another user, and nothing in the file is private."""
Sample = tuple[str, str, dict[str, str], float]
"""Name without prefix, meaning, labels beside the environment, value."""


def write_metrics(path: Path, ended: Ended, last_success_at: float | None) -> None:
    """Write the file, whole or not at all and through no link; raises OSError.

    `last_success_at` is when a command last ended with exit 0, in seconds since the epoch; None for never.
    """
    from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415  few commands need it

    registry, gauges = CollectorRegistry(), dict[str, Gauge]()
    for name, meaning, labels, value in samples(ended, last_success_at):
        if name not in gauges:
            gauges[name] = Gauge(f"bulkredeem_{name}", meaning, ["environment", *labels], registry=registry)
        gauges[name].labels(environment=ended.environment, **labels).set(value)
    # The library's own way opens a name that others can foresee, in a folder that may be theirs, too.
    with _told_by_the_system(), whole_text(path, mode=_FOR_ALL) as file:
        file.write(generate_latest(registry).decode())


@contextmanager
def _told_by_the_system() -> Iterator[None]:
    """Raise what the system says alone: who tells of it has named the file."""
    try:
        yield
    except ReportError as exc:
        raise exc.__cause__ or exc from None


def samples(ended: Ended, last_success_at: float | None) -> Iterator[Sample]:
    """Give each number that is told; all are there always, so that an alert never misses one, but for a success."""
    if last_success_at is not None:
        meaning = "When a command last ended with exit 0, in seconds since the epoch."
        yield "last_success_timestamp_seconds", meaning, {}, last_success_at
    meaning = "When the last command ended, in seconds since the epoch."
    yield "last_run_timestamp_seconds", meaning, {}, ended.finished_at
    yield "exit_code", "Exit code of the last command.", {}, ended.exit_code
    yield "duration_seconds", "How long the last command took.", {}, ended.seconds
    yield "requests", "Tries on the wire of the runs of the last command.", {}, ended.requests
    yield "throttled_requests", "Those of them that the platform answered with 429.", {}, ended.throttled
    yield "runs", "Runs of the last command.", {}, len(ended.runs)
    for status, count in ended.counts.items():
        yield "rows", "Rows of the last command, by status.", {"status": status.value}, count
    for mender, count in ended.mend_by.items():
        yield "rows_to_mend", "Rows that are not done, by who mends them.", {"mend_by": mender.value}, count
