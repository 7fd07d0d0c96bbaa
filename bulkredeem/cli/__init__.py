"""The command line: arguments, signals, exit codes, and what a person sees of a run."""

from bulkredeem.cli.commands import main

__all__ = ["main"]
