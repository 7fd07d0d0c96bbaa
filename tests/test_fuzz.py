"""What fuzzing began with and what it found is tried again, and fuzzing itself goes on for a moment."""

from __future__ import annotations

import importlib
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.fuzz.corpora import CORPUS, TARGETS, inputs_of
from tests.fuzz.mutating import mutated, mutated_reply, packed

MOST_BYTES = 200_000
"""All that is committed may have; more belongs to who fuzzes."""
SECONDS = 3
"""For which each target is fuzzed here; `make fuzz` takes longer."""


def check_of(target: str) -> Callable[[bytes], None]:
    """Return what a target promises about any bytes."""
    check: Callable[[bytes], None] = importlib.import_module(f"tests.fuzz.targets.{target}").check
    return check


@pytest.mark.parametrize("path", [path for target in TARGETS for path in inputs_of(target)], ids=lambda path: path.name)
def test_an_input_that_is_known_breaks_no_promise(path: Path) -> None:
    """Those with which fuzzing begins, and each that once broke one."""
    check_of(path.parent.name)(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_something_to_begin_with(target: str) -> None:
    """Without a corpus the tests above would say nothing."""
    assert len(list((CORPUS / target).iterdir())) > 20


def test_what_is_committed_is_small() -> None:
    """The long corpus of whoever fuzzes for hours stays with them."""
    assert sum(path.stat().st_size for target in TARGETS for path in inputs_of(target)) < MOST_BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="atheris is there for Linux alone")
@pytest.mark.parametrize("target", TARGETS)
def test_a_moment_of_fuzzing_finds_nothing(target: str, tmp_path: Path) -> None:
    """New inputs, made from the corpus, break no promise either; atheris runs in a process of its own."""
    pytest.importorskip("atheris", reason="this Python has no atheris")
    # Two who watch the same lines make it many times slower, and neither gets anything of the other.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    words = (f"-max_total_time={SECONDS}", f"-artifact_prefix={tmp_path}/")
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", target, str(tmp_path / "found"), *words],
        cwd=Path(__file__).parents[1],
        env=environment | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "Done " in ended.stderr


def test_an_unknown_target_is_named() -> None:
    """Whoever misspells one hears which there are."""
    pytest.importorskip("atheris", reason="atheris is there for Linux alone")
    ended = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "nothing"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "loader, replies, journal" in ended.stderr


def test_what_is_packed_stays_readable_when_it_is_changed() -> None:
    """A change is made inside an archive, and the archive is whole around it: nearly always, never for ever."""
    archive = packed([("november.csv", b"redemptionId\n")])

    def mutate(content: bytes, _most: int) -> bytes:
        return content.replace(b"redemption", b"REDEMPTION")

    changed = [mutated(archive, 4096, seed, mutate=mutate) for seed in range(50)]
    assert changed.count(packed([("november.csv", b"REDEMPTIONId\n")])) > 30
    assert archive in changed


def test_a_changed_reply_is_json_most_of_the_time() -> None:
    """Most changes say something else, and are read: the reader of JSON is not what is tested."""
    reply = b'200\nDate: now\n\n{"billId":1,"errors":[{"code":748}]}'
    bodies = [mutated_reply(reply, 4096, seed, mutate=lambda content, _most: content[:-1]) for seed in range(200)]
    readable = [read for body in bodies if (read := json_of(body)) is not None]
    assert len(readable) > 80
    assert sum(each != json_of(reply) for each in readable) > 60


def json_of(reply: bytes) -> Any:
    """Return what a reply says, or None for what is no JSON."""
    try:
        return orjson.loads(reply.partition(b"\n\n")[2])
    except orjson.JSONDecodeError:
        return None


def test_the_journal_model_knows_where_a_log_ends() -> None:
    """Random changes, as a disk would make them: a few hundred on top of the corpus, without atheris."""
    chance = random.Random(7)  # noqa: S311  nothing secret is drawn
    check = check_of("journal")
    for _ in range(60):
        check(chance.randbytes(4 * chance.randint(1, 3)))
