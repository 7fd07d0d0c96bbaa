"""Says what `mutmut run` has found, room by room: `python -m benchmarks.mutation`; it fails below the floor.

A mutant is one small change of the code. It is killed when a test fails with it, also when it never comes to an end.
mutmut keeps what became of each in `mutants/`, and counts all of them together; a room that is tested badly would hide
behind the others.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Final

FOUND: Final = Path(__file__).parent.parent / "mutants" / "bulkredeem"
FLOOR: Final = 0.9
"""Share of the mutants that must be killed, of all and of each room."""
SURVIVED: Final = 0
FAILED: Final = frozenset({1, 3})
"""What pytest ends with when a test failed, or the mutant broke pytest itself."""
ENDLESS: Final = frozenset({-24, 24, 36, 152})
"""What is left of a process that took twenty times its time and was ended."""
UNTESTED: Final = frozenset({5, 33})
"""No test reaches the mutant."""
_ROW: Final = "{:<12}{:>9}{:>9}{:>10}{:>10}{:>10}{:>9}"


def rooms(found: Path = FOUND) -> dict[str, Counter[int | None]]:
    """Return room → how often a mutant of it ended in which way; None for one that was not tried."""
    ends: dict[str, Counter[int | None]] = {}
    for path in sorted(found.rglob("*.meta")):
        room = path.relative_to(found).parts[0].split(".")[0]
        codes = json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"].values()
        if codes:
            ends.setdefault(room, Counter()).update(codes)
    return ends


def killed(ends: Counter[int | None]) -> int:
    """Return how many a test noticed."""
    return sum(ends[code] for code in FAILED | ENDLESS)


def told(room: str, ends: Counter[int | None]) -> str:
    """Return the line of a room."""
    failed, endless, untested = (sum(ends[code] for code in codes) for codes in (FAILED, ENDLESS, UNTESTED))
    share = f"{killed(ends) / ends.total():.1%}"
    return _ROW.format(room, ends.total(), failed, endless, ends[SURVIVED], untested, share)


def main(folder: Path = FOUND) -> int:
    """Show all rooms, and return 1 when one of them, or all together, is below the floor or not tried to its end."""
    found = rooms(folder)
    if not found:
        print("nothing was tried: run mutmut first")
        return 1
    print(_ROW.format("room", "mutants", "failed", "endless", "survived", "untested", "killed"))
    found["all"] = sum(found.values(), Counter())
    for room, ends in found.items():
        print(told(room, ends))
    known = {SURVIVED, *FAILED, *ENDLESS, *UNTESTED}
    odd = sum(count for code, count in found["all"].items() if code not in known)
    if odd:
        print(f"{odd} were not tried, or ended oddly")
    return int(odd > 0 or any(killed(ends) < FLOOR * ends.total() for ends in found.values()))


if __name__ == "__main__":
    sys.exit(main())
