"""What an audit finds: how each thing is now, beside how it was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from bulkredeem.errors import ExitCode

NO_PROOF: Final = (
    "An audit finds accidents, not forgers: whoever can write into the folder can write new hashes, too. Who needs more"
    " signs summary.json, or keeps a copy of it elsewhere."
)
INPUT: Final = "input"
"""The file as it was given to the run."""
COUNTS: Final = "counts"
"""Whether they add up."""


class Standing(StrEnum):
    """How something is now, beside how it was."""

    AS_IT_WAS = "as_it_was"
    CHANGED = "changed"
    MISSING = "missing"
    NOT_RECORDED = "not_recorded"
    """Nobody wrote down how it was: the run has not ended, or it is of an older version."""
    GONE = "gone"
    """It is not there any more, and need not be: only the input may be."""

    @property
    def in_words(self) -> str:
        """Say it to a person."""
        return _IN_WORDS[self]


_IN_WORDS: Final = {
    Standing.AS_IT_WAS: "as it was",
    Standing.CHANGED: "changed since",
    Standing.MISSING: "missing",
    Standing.NOT_RECORDED: "not recorded",
    Standing.GONE: "not there any more",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something that was looked at."""

    name: str
    """A file of the folder, or `input`, `settings`, `journal` (its records) or `counts`."""
    standing: Standing
    words: str = ""
    """What that means, as a sentence; or empty."""
    remedy: str = ""
    """What to do about it, as a sentence; empty where nothing is to be done."""
    recorded: str | None = None
    """The hash it had, or None where there is none."""
    found: str | None = None
    """The hash it has, or None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was found of a run."""

    folder: Path
    run_id: str
    things: tuple[Thing, ...]
    remark: str = ""
    """Why much is not recorded, as a sentence; or empty."""

    @property
    def differing(self) -> tuple[Thing, ...]:
        """What is not as it was."""
        return tuple(each for each in self.things if each.standing in {Standing.CHANGED, Standing.MISSING})

    @property
    def exit_code(self) -> ExitCode:
        """What it means for the process: 0 when nothing differs, else 1."""
        return ExitCode.NOT_ALL_DONE if self.differing else ExitCode.DONE
