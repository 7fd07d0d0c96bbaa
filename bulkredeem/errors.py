"""The exception tree and the exit codes: what ends a run, as opposed to what ends a row.

A bad row is a value (`model.Invalid`, `model.Outcome`); a bad run is one of these exceptions. Each message is one
sentence for a person: what is wrong, where, and what to do. None ever holds a secret.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process says to the scheduler; the numbers are a public promise."""

    DONE = 0
    """Every row is `success` or `skipped`."""
    NOT_ALL_DONE = 1
    """The run ended, and some rows are not done."""
    COULD_NOT_START = 2
    """Usage, file, configuration or TLS; nothing was sent."""
    STOPPED_EARLY = 3
    """A signal, an outage, a guard or a failing disk; rows are `pending`."""
    ACCESS_REFUSED = 4
    """The platform refused the credentials or the permission; rows are `pending`."""
    BUSY = 5
    """Another process works on this run, or sends with this ledger and key."""
    DEADLINE = 6
    """The deadline came, as planned; rows are `pending` for the next `resume`."""
    INTERNAL_ERROR = 70
    """An error of ours."""
    INTERRUPTED_AT_ONCE = 130
    """A second Ctrl-C."""


class BulkRedeemError(Exception):
    """Root of everything this package raises on purpose; `str()` of it can be shown to a person as it is."""

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL_ERROR


class ConfigurationError(BulkRedeemError):
    """A setting is missing, contradicts another or makes no sense; nothing was sent."""

    exit_code = ExitCode.COULD_NOT_START


class OtherSystemError(ConfigurationError):
    """A run was begun with another host or user name than the settings name now; nothing was sent."""


class HeldError(ConfigurationError):
    """A guard has stopped the run, and nobody has said since that it may go on; nothing was sent."""


class InputFileError(BulkRedeemError):
    """The file cannot be read as rows; nothing was sent."""

    exit_code = ExitCode.COULD_NOT_START


class ReportsFolderError(BulkRedeemError):
    """The folder for reports cannot be used; nothing was sent."""

    exit_code = ExitCode.COULD_NOT_START


class JournalError(BulkRedeemError):
    """The journal cannot be written or read; what it had recorded stays recorded."""

    exit_code = ExitCode.STOPPED_EARLY


class JournalUnreadableError(JournalError):
    """The journal is missing, foreign, damaged or of a later version; it was left as it is."""

    exit_code = ExitCode.COULD_NOT_START


class LedgerError(BulkRedeemError):
    """The ledger cannot be read or written; nothing was sent, and every journal is as it was."""

    exit_code = ExitCode.COULD_NOT_START


class LedgerLostError(BulkRedeemError):
    """The ledger cannot be read any more while rows are sent; what was sent is recorded."""

    exit_code = ExitCode.STOPPED_EARLY


class PaceError(BulkRedeemError):
    """The state of the key's pace cannot be kept where it is to be shared; what was sent is recorded."""

    exit_code = ExitCode.STOPPED_EARLY


class BusyError(BulkRedeemError):
    """Another process works on this run, or sends with this ledger and key."""

    exit_code = ExitCode.BUSY


class ReportError(BulkRedeemError):
    """A report cannot be written; the journal holds what it would have said."""

    exit_code = ExitCode.STOPPED_EARLY


class RunNotFoundError(BulkRedeemError):
    """There is no such run, or it is in no state for what was asked; nothing was sent."""

    exit_code = ExitCode.COULD_NOT_START


class TlsError(BulkRedeemError):
    """No secure connection from the start (certificate, host name, clock), or the platform has refused our certificate.

    Nothing was sent in the first case; in the second, one row perhaps.
    """

    exit_code = ExitCode.COULD_NOT_START


class ProxyRefusedError(BulkRedeemError):
    """The proxy refuses its user name or password from the start; nothing was sent.

    More tries would only lock whoever they belong to.
    """

    exit_code = ExitCode.COULD_NOT_START


class GuardError(BulkRedeemError):
    """Something looks so wrong that a person must look first: the rows not sent are pending."""

    exit_code = ExitCode.STOPPED_EARLY


class WrongProgramError(GuardError):
    """A reply names another loyalty program than was meant: what was sent so far was applied there."""


class DeclinedError(BulkRedeemError):
    """A person was asked and said no; nothing was sent."""

    exit_code = ExitCode.COULD_NOT_START


class OutageError(BulkRedeemError):
    """The platform left every try unanswered, or throttled it, for longer than the run was told to wait."""

    exit_code = ExitCode.STOPPED_EARLY

    def __init__(self, message: str, *, may_be_the_rows: bool = False) -> None:
        """`may_be_the_rows`: so few were left that perhaps it is just these which the platform cannot answer."""
        super().__init__(message)
        self.may_be_the_rows = may_be_the_rows


class DeadlineError(BulkRedeemError):
    """The moment has come after which no row is to start."""

    exit_code = ExitCode.DEADLINE


class SignalledError(BulkRedeemError):
    """Somebody asked the run to stop: Ctrl-C or SIGTERM."""

    exit_code = ExitCode.STOPPED_EARLY


class Stopping(BulkRedeemError):  # noqa: N818  it is no error, it is how waiting ends
    """The run is draining: whoever was waiting for a slot or a back-off goes home, and its row stays `pending`."""

    exit_code = ExitCode.STOPPED_EARLY


class AccessRefusedError(BulkRedeemError):
    """The platform refuses these credentials (401), or what they may do (4000): no row can succeed."""

    exit_code = ExitCode.ACCESS_REFUSED
