"""The promise, tried on the user's own machine and disk: real runs, killed at awkward moments and gone on with."""

from bulkredeem.selftest.sweep import Findings, sweep

__all__ = ["Findings", "sweep"]
