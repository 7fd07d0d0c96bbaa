"""What came out of a soak, as figures beside their targets, and as the command `python -m benchmarks soak`."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Figure, machine, table
from benchmarks.soaking.judging import Sample, flatness, longest_stretch, rate_of, warm
from benchmarks.soaking.playing import FAIL_RATIO, Plan, Soak, SoakError, Story
from bulkredeem.model import Rate

FLAT: Final = 1.1
"""The last third's median by the first's, from which on something grows."""
_MEGABYTE: Final = 1_000_000
_QUANTITIES: Final[tuple[tuple[str, Callable[[Sample], float | None]], ...]] = (
    ("memory in MB", lambda sample: sample.memory / _MEGABYTE),
    ("open files", lambda sample: sample.open_files),
    ("threads", lambda sample: sample.threads),
    ("tasks", lambda sample: sample.tasks),
)


def figures_of(story: Story) -> Iterator[Figure]:
    """Yield the figures of a soak."""
    yield from _course(story)
    samples = warm(story.samples)
    yield from _flat(samples, "in all processes")
    yield from _flat(longest_stretch(samples), "in the process that lived longest")
    yield Figure(what="updates that came although their row had an outcome", value=story.sent_again, at_most=0)
    yield Figure(what="requests over the limit", value=story.measured["throttled"], at_most=0)
    yield Figure(what="updates while one of the same customer was under way", value=story.ended["overlaps"], at_most=0)
    for what, number in story.imbalances:
        yield Figure(what=what, value=number, at_most=0)


def _course(story: Story) -> Iterator[Figure]:
    plan, counts = story.plan, ", ".join(f"{number:,} {status}" for status, number in story.counts.items() if number)
    yield Figure(what="rows of the file", value=plan.rows, note=counts)
    yield Figure(what="minutes", value=plan.seconds / 60, note=f"at {plan.rate.text}")
    yield Figure(what="kills", value=story.exit_codes.count(-9), note=f"exit codes {_listed(story.exit_codes)}")
    yield Figure(what="ends that nobody asked for", value=len(story.unasked), at_most=0, note=_listed(story.unasked))
    yield Figure(what="outages", value=len(plan.outages), note=f"{sum(each for _, each in plan.outages):.0f} s in all")
    yield Figure(what="faults", value=story.measured["faults"], note=f"drawn for {FAIL_RATIO:.1%} of the updates")
    requests = story.measured["requests"]
    yield Figure(
        what="requests a second, of the whole time", value=requests / plan.seconds, note=f"{requests:,} in all"
    )
    yield Figure(what="rows that were applied more than once, since an answer was lost", value=story.applied_again)
    steady = rate_of(warm(story.samples))
    yield Figure(what="requests a second between two samples, median", value=steady, note=_load())
    peak = max((sample.memory for sample in story.samples), default=0) / _MEGABYTE
    yield Figure(what="most memory in a sample", value=peak, unit=" MB")


def _load() -> str:
    """Say how much else the machine had to do."""
    return f"load average {os.getloadavg()[2]:.1f} on {os.cpu_count()} CPUs"


def _listed(codes: Sequence[int]) -> str:
    return ", ".join(map(str, codes))


def _flat(samples: Sequence[Sample], where: str) -> Iterator[Figure]:
    for name, quantity in _QUANTITIES:
        found = flatness(samples, quantity)
        what = f"{name} {where}, last third ÷ first third"
        if found is None:
            yield Figure(what=what, value=None, at_most=FLAT, note="too few samples")
        else:
            note = f"{found.first:,.1f} → {found.last:,.1f}, {len(samples):,} samples"
            yield Figure(what=what, value=found.ratio, at_most=FLAT, note=note)


def main(words: Sequence[str]) -> int:
    """Play a soak, say what came out, and return the exit code: 1 when a target is missed."""
    wanted = _arguments(words)
    folder: Path = wanted.out.resolve() / "soak"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    plan = Plan.drawn(minutes=wanted.minutes, rate=Rate.parse(wanted.rate), seed=wanted.seed)
    soak = Soak(plan, folder)
    try:
        story = soak.play()
    except SoakError as exc:
        print(exc, file=sys.stderr)
        return 1
    finally:
        _write(wanted.out / "soak.json", asdict(soak.story))
    figures = list(figures_of(story))
    text = f"{table(figures)}\n\n{machine('no nginx')}"
    (wanted.out / "soak.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 1 if any(figure.verdict == "missed" for figure in figures) else 0


def _write(path: Path, told: dict[str, Any]) -> None:
    path.write_text(json.dumps(told, indent=1), encoding="utf-8")


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0, help="how long; sending the rest comes on top")
    parser.add_argument("--rate", default="500/s", help="at which rate")
    parser.add_argument("--seed", type=int, default=1, help="when what befalls the run, below 100")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parents[1] / "out", help="folder for files and results"
    )
    return parser.parse_args(words)
