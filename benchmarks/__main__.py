"""Runs the scenarios, says each figure when it is there, and ends with a table for the README.

`python -m benchmarks` runs all, `python -m benchmarks limit sharing` only these. Exits 0 when everything could be
measured, whatever the figures: a target that is missed is a figure, not an error. `python -m benchmarks soak` is
another matter: it needs no nginx, has options of its own, and exits 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.figures import Figure, machine, table
from benchmarks.lab import Lab, LabError
from benchmarks.scenarios import SCENARIOS
from benchmarks.soaking import telling
from benchmarks.target import NGINX, TargetError
from benchmarks.traffic import NoTrafficError

QUICK = 5
"""By how much `--quick` divides."""


def main() -> int:
    """Run what was named, and return the exit code."""
    if sys.argv[1:2] == ["soak"]:
        return telling.main(sys.argv[2:])
    wanted = _arguments()
    wanted.out.mkdir(parents=True, exist_ok=True)
    lab = Lab(wanted.out.resolve(), repeats=wanted.repeats, divisor=QUICK if wanted.quick else 1)
    try:
        figures = [figure for name in wanted.scenario or SCENARIOS for figure in _measure(lab, name)]
    except TargetError as exc:
        print(exc, file=sys.stderr)
        return 1
    finally:
        (lab.out / "runs.json").write_text(json.dumps(lab.runs, indent=1), encoding="utf-8")
    figures.append(_agreement(lab))
    print(figures[-1].line().strip())
    text = f"{table(figures)}\n\n{machine(_nginx_version())}"
    (lab.out / "figures.md").write_text(text + "\n", encoding="utf-8")
    print(f"\n{text}\n\nSingle runs: {lab.out / 'runs.json'}")
    return 1 if any(figure.failed for figure in figures) else 0


def _measure(lab: Lab, name: str) -> list[Figure]:
    """Measure one scenario; one that fails leaves the others their turn."""
    figures: list[Figure] = []
    print(f"{name}:", flush=True)
    try:
        for figure in SCENARIOS[name](lab):
            print(figure.line(), flush=True)
            figures.append(figure)
    except (LabError, NoTrafficError) as exc:
        figures.append(Figure(what=name, value=None, note=f"failed: {exc}", failed=True))
        print(figures[-1].line(), flush=True)
    return figures


def _agreement(lab: Lab) -> Figure:
    what = "runs whose summary.json says something else than nginx's log"
    return Figure(what=what, value=len(lab.disagreements), at_most=0, note="; ".join(lab.disagreements))


def _nginx_version() -> str:
    said = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr
    return said.rpartition(":")[2].strip()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenario", nargs="*", metavar="NAME", choices=[*SCENARIOS, []], help=", ".join(SCENARIOS))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "out", help="folder for files and results")
    parser.add_argument("--repeats", type=int, default=3, help="runs of which the median counts")
    parser.add_argument("--quick", action="store_true", help="a fifth of the rows: figures that do not count")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
