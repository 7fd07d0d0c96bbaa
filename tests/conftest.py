"""What several test files share: an unconfigured surrounding; corrections, outcomes and files of invented people."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bulkredeem.delivery import Gate
from bulkredeem.model import Correction, Outcome, Sign, Status
from bulkredeem.outage import Watch


@pytest.fixture
def nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Give an empty working directory, which is returned, and an environment without settings."""
    for name in os.environ:
        if name.upper().startswith("BULKREDEEM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def correction() -> Callable[..., Correction]:
    """Make a correction: of a redemption and a customer of its own, unless `changes` say otherwise."""

    def make(row_number: int = 2, **changes: Any) -> Correction:
        usual: dict[str, Any] = {
            "redemption_id": f"R{row_number}",
            "entity_type": "CUSTOMER",
            "identifier_type": "mobile",
            "identifier_value": f"9199{row_number:08}",
            "bill_number": f"B-{row_number}",
        }
        return Correction(row_number=row_number, **{**usual, **changes})

    return make


@pytest.fixture
def outcome() -> Callable[..., Outcome]:
    """Make an outcome: a success, unless `changes` say otherwise."""

    def make(row_number: int = 2, **changes: Any) -> Outcome:
        return Outcome(row_number=row_number, **{"status": Status.SUCCESS, "finished_at": 1_764_000_000.0, **changes})

    return make


@pytest.fixture
def open_gate() -> Gate:
    """Give a gate that lets all pass: the platform has just answered a neighbour, whom `remaining` counts."""
    gate = Gate(Watch(), width=1000, outage_timeout=900.0, remaining=lambda: 2)
    gate.note(1, Sign.ANSWERED)
    return gate


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    """Write a CSV file of lists of cells, the header first, and return its path."""

    def write(rows: Sequence[Sequence[object]], name: str = "fixes.csv") -> Path:
        path = tmp_path / name
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        return path

    return write
