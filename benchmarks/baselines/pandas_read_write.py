"""What pandas needs to read a file as text and to write it: two numbers, seconds each, on standard output.

    python pandas_read_write.py FILE [COPY]

Starting Python and importing pandas are not counted. Without COPY nothing is written.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pandas as pd


def seconds(act: Callable[[], object]) -> float:
    """Return how long something takes."""
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def main(path: str, copy: str = "") -> None:
    """Read, write, and say how long each took."""
    frames: list[pd.DataFrame] = []
    print(seconds(lambda: frames.append(pd.read_csv(path, dtype=str, keep_default_na=False))))
    print(seconds(lambda: frames[0].to_csv(copy, index=False)) if copy else 0.0)


if __name__ == "__main__":
    main(*sys.argv[1:])
