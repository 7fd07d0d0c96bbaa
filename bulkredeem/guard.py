"""When the platform's refusals say that the run itself is wrong, and not a row: a pure rule.

The wrong file, the wrong column or the wrong system shows at once: whatever is sent is refused, or is answered with
another redemption than was meant. A stretch of bad rows at the beginning looks the same; so rows from elsewhere in the
file are tried before anything is concluded.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from bulkredeem.model import Outcome, Status

FIRST_ROWS: Final = 25
"""Answered rows at the beginning of which at least one must be accepted."""
ELSEWHERE: Final = 10
"""Rows from elsewhere in the file that are tried when none was."""
ENOUGH: Final = 200
"""Answered rows from which on their share of refusals counts."""
_CONTRADICTED: Final = "ECHO_MISMATCH"


class Guard:
    """Hears of the outcomes of one stretch of a run, as they come."""

    def __init__(self, *, most_refused: float) -> None:
        """`most_refused` is the share of refusals, 0.0 to 1.0, above which the run is wrong; 1.0 for never."""
        self._most_refused = most_refused
        self._accepted = 0
        self._refused = 0
        self._reasons: Counter[tuple[str, str]] = Counter()

    def note(self, outcome: Outcome) -> None:
        """Take note of a row; one that was not answered says nothing."""
        if not outcome.attempts:
            return
        if outcome.status is Status.SUCCESS:
            self._accepted += 1
        elif outcome.status is Status.REFUSED or outcome.error_code == _CONTRADICTED:
            self._refused += 1
            self._reasons[outcome.error_code, outcome.reason] += 1

    @property
    def accepts_nothing(self) -> bool:
        """Whether the first answered rows were all refused: others should be tried before the run goes on."""
        return not self._accepted and self._refused >= FIRST_ROWS

    @property
    def accepts_too_little(self) -> bool:
        """Whether more was refused than may be."""
        answered = self._accepted + self._refused
        # Rounded: 29% of 200 is 58, and not a little less.
        return answered >= ENOUGH and self._refused > round(self._most_refused * answered, 6)

    def in_words(self) -> str:
        """Say what was seen, and what may be wrong."""
        ((code, reason), count), *_ = self._reasons.most_common(1)
        answered = self._accepted + self._refused
        seen = f"all of the {answered:,}" if not self._accepted else f"{self._refused:,} of the {answered:,}"
        return (
            f"{seen} rows that the platform has answered were refused, {count:,} of them with {code} ({reason});"
            " is it the right file, are the columns right, is it the right system? If so, go on with --no-guard"
        )
