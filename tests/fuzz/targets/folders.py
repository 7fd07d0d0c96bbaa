"""Where targets that need files keep them."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path


@cache
def folder() -> Path:
    """Return an empty folder that goes with the process."""
    made = Path(tempfile.mkdtemp(prefix="bulkredeem-fuzz-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made
