"""Fuzzes a target with atheris: `python -m tests.fuzz TARGET [FOLDER] [options of libFuzzer]`.

What finds new ways through the code is kept in FOLDER, a temporary one if none is named; the corpus that is committed
is where it begins. An input that breaks a promise is written to the working directory, or where `-artifact_prefix=`
says.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Final

import atheris  # type: ignore[import-untyped]  # it says nothing of its types

from tests.fuzz.corpora import CORPUS, TARGETS
from tests.fuzz.mutating import Mutator, mutated, mutated_reply

MUTATORS: Final[dict[str, Mutator]] = {"loader": mutated, "replies": mutated_reply}
"""How inputs are changed where bytes alone would get nowhere."""
OPTIONS: Final = ("-timeout=25", "-rss_limit_mb=2048")
"""An input that takes 25 seconds hangs; one that takes 2 GB of memory is not bounded. Options given later count."""


def main() -> None:
    """Fuzz until the options say that it is enough."""
    target, *given = sys.argv[1:]
    if target not in TARGETS:
        sys.exit(f"The targets are {', '.join(TARGETS)}.")
    # What is not ours is imported before, and is not watched: there are ways enough through it.
    for name in ("aiohttp", "jinja2", "orjson", "pandas", "pydantic_settings", "python_calamine"):
        importlib.import_module(name)
    with atheris.instrument_imports(include=["bulkredeem"]):
        check = importlib.import_module(f"tests.fuzz.targets.{target}").check
    options = [each for each in given if each.startswith("-")]
    folders = [each for each in given if not each.startswith("-")] or [tempfile.mkdtemp(prefix="bulkredeem-found-")]
    Path(folders[0]).mkdir(parents=True, exist_ok=True)
    words = [sys.argv[0], *folders, str(CORPUS / target), *OPTIONS, f"-dict={CORPUS.parent / target}.dict", *options]
    changes = {"custom_mutator": partial(MUTATORS[target], mutate=_mutate)} if target in MUTATORS else {}
    atheris.Setup(words, check, **changes)
    atheris.Fuzz()


def _mutate(content: bytes, most: int) -> bytes:
    # It is another function from the moment on when fuzzing begins.
    changed: bytes = atheris.Mutate(content, most)
    return changed


if __name__ == "__main__":
    main()
