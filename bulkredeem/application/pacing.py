"""The pace of a key, shared with the other runs on this machine that use it, where that is possible."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from platformdirs import user_state_path

from bulkredeem.errors import PaceError
from bulkredeem.journal import network_type_of
from bulkredeem.pace import Pace
from bulkredeem.settings import Settings
from bulkredeem.statefile import StateFile, path_of

_APART: Final = (
    "{why} Other runs on this machine with the same user name do not share the rate: let one run send at a time, or"
    " name a folder that all can write to with --state-dir."
)


@contextmanager
def pace_of(
    settings: Settings, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> Iterator[tuple[Pace, tuple[str, ...]]]:
    """Give the pace of the key these settings name, and what a person should know about it: usually nothing."""
    ceiling, folder = settings.ceiling, state_folder(settings)
    try:
        store = _open(settings, folder)
    except PaceError as exc:
        yield Pace(ceiling, sleep=sleep), (_APART.format(why=exc),)
    else:
        with store:
            yield Pace(ceiling, store=store, sleep=sleep), ()


def state_folder(settings: Settings) -> Path:
    """Return the folder of what is known of keys: the one that was named, or the user's own for such things."""
    return settings.state_dir or user_state_path("bulkredeem", appauthor=False)


def _open(settings: Settings, folder: Path) -> StateFile:
    """Open the key's state. Raises PaceError, also for a network folder, whose machines have clocks of their own."""
    if kind := network_type_of(folder):
        raise PaceError(f"The pace cannot be kept in {folder}, which is on a network folder ({kind}).")
    return StateFile(path_of(folder, settings.base_url, settings.username))
