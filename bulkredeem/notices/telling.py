"""The door of the room: what is told when a command begins and when it has ended. Nothing here raises."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from bulkredeem.errors import BulkRedeemError, ConfigurationError, ExitCode
from bulkredeem.notices.aside import aside
from bulkredeem.notices.memory import MemoryUnreadableError, Remembered, recall, remember
from bulkredeem.notices.metrics import write_metrics
from bulkredeem.notices.ping import START, Ping, path_of, require_address
from bulkredeem.notices.sending import Address, addresses
from bulkredeem.notices.values import AS_PLANNED, Ended
from bulkredeem.notices.words import closing_of, notice_of
from bulkredeem.settings import Settings

LIMIT: Final = 10.0
"""Seconds that each ping, each notice and the metrics may take; at the end of a command all go at once."""

Remarks = tuple[str, ...]
"""Sentences for a person, without a secret."""


def require(settings: Settings) -> None:
    """Raise ConfigurationError when something that is to be told cannot be: an address is none, or apprise is missing.

    To be called before the first request: a night that is believed to report itself must not be silent.
    """
    problems = [problem for check in _CHECKS if (problem := _problem_of(check, settings))]
    if problems:
        # Two checks read the same addresses, and a file that cannot be read is said once.
        raise ConfigurationError(" ".join(dict.fromkeys(problems)))


def _require_somebody(settings: Settings) -> None:
    if settings.notify != "failure" and not _urls(settings):
        msg = f"--notify {settings.notify} says when, but BULKREDEEM_NOTIFY_URLS does not say to whom."
        raise ConfigurationError(msg)


def _require_ping(settings: Settings) -> None:
    if url := settings.resolve_ping_url():
        require_address(url.get_secret_value())


_CHECKS: Final[tuple[Callable[[Settings], object], ...]] = (
    _require_somebody,
    lambda settings: addresses(_urls(settings)),
    _require_ping,
)


def _problem_of(check: Callable[[Settings], object], settings: Settings) -> str:
    try:
        check(settings)
    except ConfigurationError as exc:
        return str(exc)
    return ""


def _urls(settings: Settings) -> tuple[str, ...]:
    return tuple(settings.resolve_notify_urls().get_secret_value().split())


class Notices:
    """Tells of one command."""

    def __init__(
        self,
        settings: Settings,
        *,
        limit: float = LIMIT,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`limit` is how many seconds each thing told may take; raises what `require` raises."""
        require(settings)
        self._when = settings.notify
        self._addresses = addresses(_urls(settings))
        url = settings.resolve_ping_url()
        self._ping = Ping(url.get_secret_value(), sleep=sleep) if url else None
        self._metrics_file = settings.metrics_file
        self._limit = limit

    async def began(self) -> Remarks:
        """Ping that the command has begun, and return what a person should know of that."""
        return await self._pinged(START)

    async def ended(self, ended: Ended) -> Remarks:
        """Tell all who want to know of it, at once, and return what went wrong with that.

        Of a command that had nothing to do, only whoever waits for the end of what began hears: a boot unit that finds
        no unfinished run must not look like a night that went well.
        """
        if ended.was_idle:
            return await self._pinged(path_of(ended.exit_code), closing_of(ended))
        before, remarks = _recalled(ended) if self._remembers else (Remembered(), ())
        is_wanted = bool(self._addresses) and self._wants(ended.exit_code, before)
        last_success_at = ended.finished_at if ended.exit_code == ExitCode.DONE else before.last_success_at
        pinged, noticed, measured = await asyncio.gather(
            self._pinged(path_of(ended.exit_code), closing_of(ended)),
            self._noticed(ended) if is_wanted else _nothing(),
            self._measured(ended, last_success_at),
        )
        remarks += (*pinged, *noticed, *measured)
        if self._remembers:
            # Whom no notice reached does not know: the next command tries again.
            is_known = not is_wanted or len(noticed) < len(self._addresses)
            code = int(ended.exit_code) if is_known else before.exit_code
            remarks += _kept(ended, Remembered(exit_code=code, last_success_at=last_success_at))
        return remarks

    @property
    def _remembers(self) -> bool:
        return bool(self._addresses) or self._metrics_file is not None

    def _wants(self, code: ExitCode, before: Remembered) -> bool:
        if self._when == "change":
            return code != before.exit_code
        return self._when == "always" or code not in AS_PLANNED

    async def _pinged(self, below: str, body: str = "") -> Remarks:
        if self._ping is None:
            return ()
        wrong = await self._wrong_with(partial(self._ping.send, below, body))
        return (f"The ping to {self._ping.name} failed: {wrong}.",) if wrong else ()

    async def _noticed(self, ended: Ended) -> Remarks:
        """Send to all addresses at once; each that did not take it is a remark."""
        wrongs = await asyncio.gather(
            *(self._wrong_with(partial(_send, address, ended)) for address in self._addresses)
        )
        return tuple(
            f"No notice could be sent to {address.name}: {wrong}."
            for address, wrong in zip(self._addresses, wrongs, strict=True)
            if wrong
        )

    async def _measured(self, ended: Ended, last_success_at: float | None) -> Remarks:
        path = self._metrics_file
        if path is None:
            return ()

        async def write() -> str:
            await aside(partial(write_metrics, path, ended, last_success_at))
            return ""

        wrong = await self._wrong_with(write)
        return (f"The metrics could not be written to {path}: {wrong}.",) if wrong else ()

    async def _wrong_with(self, tell: Callable[[], Awaitable[str]]) -> str:
        """Return what is wrong with telling, or empty, within the limit."""
        try:
            async with asyncio.timeout(self._limit):
                return await tell()
        except TimeoutError:
            return f"nothing came of it in {self._limit:g} s"
        except OSError as exc:
            return exc.strerror or type(exc).__name__
        except Exception as exc:  # noqa: BLE001  no library may fail a run; its text may hold an address, its type not
            return type(exc).__name__


async def _nothing() -> Remarks:
    return ()


async def _send(address: Address, ended: Ended) -> str:
    was_taken = await aside(partial(address.send, notice_of(ended), ended.exit_code))
    return "" if was_taken else "it was not taken"


def _recalled(ended: Ended) -> tuple[Remembered, Remarks]:
    try:
        return recall(ended.reports, ended.environment), ()
    except MemoryUnreadableError as exc:
        return Remembered(), (str(exc),)


def _kept(ended: Ended, remembered: Remembered) -> Remarks:
    try:
        remember(ended.reports, ended.environment, remembered)
    except (BulkRedeemError, OSError) as exc:
        return (f"How this command ended could not be kept for the next: {exc}",)
    return ()
