"""A house in which nothing is lost: runs the command line, and keeps a copy of each file that it takes away.

`python -m tests.canary_house MORGUE ARGUMENTS...` does what `bulkredeem ARGUMENTS...` does. What is removed or replaced
meanwhile is copied into MORGUE first: also a temporary file must not hold what no file may hold.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final

from bulkredeem.cli import main

_TAKES_AWAY: Final = {"os.remove": 0, "os.rename": 1}
"""Events of Python that take a file away → which of their arguments names it."""


def keep_what_goes(morgue: Path) -> None:
    """Copy each file into a folder before it is removed or replaced."""
    numbers = count()

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        place = _TAKES_AWAY.get(event)
        if place is None or not isinstance(arguments[place], str | os.PathLike):
            return
        path = Path(os.fspath(arguments[place]))  # type: ignore[call-overload]  # looked at just above
        with suppress(OSError):
            if path.is_file() and not path.is_symlink():
                # What a folder beside a report holds is that report, in parts.
                name = path.parent.name if path.parent.name.startswith(".") else path.name
                shutil.copyfile(path, morgue / f"{next(numbers)}-{os.getpid()}-{name}")

    sys.addaudithook(hear)


if __name__ == "__main__":
    keep_what_goes(Path(sys.argv.pop(1)))
    main()
