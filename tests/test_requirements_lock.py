"""The lock: pip must be able to install from it alone, today and after any later release of anything in it."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path(__file__).parent.parent / "requirements.lock"


def test_the_lock_names_the_extras_that_locked_packages_ask_for() -> None:
    """With a pin for `coverage` only, some pips look for `coverage[toml]` elsewhere, and refuse a newer release."""
    locked = {
        canonicalize_name(pinned.name): pinned.extras
        for pinned in map(Requirement, re.findall(r"^[\w.\[\],-]+==[^ ]+", LOCK.read_text(), flags=re.MULTILINE))
    }
    asked = [
        Requirement(text)
        for each in distributions()
        if canonicalize_name(each.metadata["Name"]) in locked
        for text in each.requires or []
        if "extra ==" not in text
    ]
    assert [
        str(each) for each in asked if each.extras and not each.extras <= locked[canonicalize_name(each.name)]
    ] == []
