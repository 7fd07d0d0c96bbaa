"""What a code is, and who may have to do something about a row."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class MendBy(StrEnum):
    """Who has to do something about a row: the column `mend_by` of every report."""

    FILE_OWNER = "file_owner"
    """Whoever made the file."""
    DATA_TEAM = "data_team"
    """The store, or the team that knows the redemption."""
    PLATFORM_OWNER = "platform_owner"
    """Whoever runs the platform, or its configuration."""
    CREDENTIALS = "credentials"
    """Whoever owns the till's user name, password and permission."""
    NOBODY = "nobody"
    """Nobody: trying again is all that is needed."""

    @property
    def in_words(self) -> str:
        """What a person calls them."""
        return _IN_WORDS[self]


_IN_WORDS: Final = {
    MendBy.FILE_OWNER: "file owner",
    MendBy.DATA_TEAM: "store or data team",
    MendBy.PLATFORM_OWNER: "platform owner",
    MendBy.CREDENTIALS: "owner of the credentials",
    MendBy.NOBODY: "nobody: retry",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What is known of an error code."""

    meaning: str
    """What it says, as a clause without a full stop."""
    cause: str
    """What usually brings it about, as a sentence."""
    mend_by: MendBy | None
    """Who mends a row with it; None for a code of rows about which there is nothing to do."""
    remedy: str
    """What to do, as a sentence or two."""
