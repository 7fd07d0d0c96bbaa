"""Where the inputs lie: those with which fuzzing begins, and those that once broke a promise."""

from __future__ import annotations

from pathlib import Path
from typing import Final

TARGETS: Final = ("loader", "replies", "journal")
CORPUS: Final = Path(__file__).parent / "corpus"
"""Has a folder for each target."""
CRASHES: Final = Path(__file__).parent / "crashes"
"""The same, of what was found and mended: each is tried again for ever."""


def inputs_of(target: str) -> list[Path]:
    """Return the inputs of a target in their order, corpus and crashes."""
    folders = (CORPUS / target, CRASHES / target)
    return [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
