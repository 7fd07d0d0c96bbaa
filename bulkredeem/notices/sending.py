"""Notices to people, by whatever apprise can reach. Its addresses hold tokens in any of their places: none is shown."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Final

from bulkredeem.errors import ConfigurationError, ExitCode
from bulkredeem.notices.values import AS_PLANNED
from bulkredeem.notices.words import Notice

if TYPE_CHECKING:
    from apprise import AppriseAsset
    from apprise.plugins import NotifyBase

_TALKATIVE: Final = ("apprise", "urllib3", "requests")
"""Loggers that write whole addresses; those below them take over their level."""
_SILENT: Final = logging.CRITICAL + 1
_LOOPBACK: Final = "localhost,127.0.0.1,::1"
_PAST_A_PROXY: Final = ("no_proxy", "NO_PROXY")
"""Which hosts are reached past a proxy; the one in small letters counts when there are both."""
MISSING: Final = "Notices need a library that is not installed: pip install 'bulkredeem[notify]'"


class Surroundings:
    """What the environment is while notices are sent: several at a time, each in a thread that may hang."""

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        """Take the environment that the library reads: None for this process's."""
        self._environment = os.environ if environment is None else environment
        self._lock = Lock()
        self._inside = 0
        self._before: dict[str, str | None] = {}

    @contextmanager
    def narrowed(self) -> Iterator[None]:
        """Let nobody find ~/.netrc, or ask a proxy for a host that is this machine, until the last has left.

        The library cannot be told so: what it sends with takes both out of the environment.
        """
        with self._lock:
            if not self._inside:
                self._narrow()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    self._put_back()

    def _narrow(self) -> None:
        past = next(filter(None, map(self._environment.get, _PAST_A_PROXY)), "")
        if past.strip() != "*":  # it stands for every host only where it stands alone
            past = ",".join(filter(None, (past, _LOOPBACK)))
        narrow = {"NETRC": os.devnull, **dict.fromkeys(_PAST_A_PROXY, past)}
        self._before = {name: self._environment.get(name) for name in narrow}
        self._environment.update(narrow)

    def _put_back(self) -> None:
        for name, value in self._before.items():
            if value is None:
                self._environment.pop(name, None)
            else:
                self._environment[name] = value


_OURS: Final = Surroundings()


class Address:
    """One address that notices go to."""

    def __init__(self, number: int, service: NotifyBase, *, surroundings: Surroundings = _OURS) -> None:
        """Take the address of this number: its place among the addresses, from 1."""
        self._surroundings = surroundings
        self.name = f"address {number} of BULKREDEEM_NOTIFY_URLS ({service.service_name})"
        """What a person may be told of it."""
        self._service = service

    def send(self, notice: Notice, code: ExitCode) -> bool:
        """Send a notice and return whether it was taken; blocks as long as that takes."""
        from apprise import Apprise, NotifyFormat, NotifyType  # noqa: PLC0415  an extra, and slow to load

        one = Apprise(asset=self._service.asset)
        one.add(self._service)
        usual = NotifyType.INFO if code in AS_PLANNED else NotifyType.FAILURE
        with self._surroundings.narrowed():
            return bool(
                one.notify(
                    notice.text,
                    title=notice.subject,
                    notify_type=NotifyType.SUCCESS if code == ExitCode.DONE else usual,
                    body_format=NotifyFormat.TEXT.value,
                )
            )


def addresses(urls: Sequence[str]) -> tuple[Address, ...]:
    """Return the addresses; raises ConfigurationError when apprise is missing, or does not know one of them."""
    if not urls:
        return ()
    try:
        from apprise import Apprise  # noqa: PLC0415  an extra, and slow to load
    except ImportError:
        raise ConfigurationError(f"{MISSING}.") from None
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(_SILENT)
    asset = _asset()
    with warnings.catch_warnings():
        # What apprise loads on Python 3.11 is deprecated in 3.13; that concerns apprise.
        warnings.simplefilter("ignore", DeprecationWarning)
        services = [Apprise.instantiate(url, asset=asset) for url in urls]
    unknown = [str(number) for number, service in enumerate(services, start=1) if service is None]
    if unknown:
        which = f"address {unknown[0]}" if len(unknown) == 1 else f"addresses {', '.join(unknown)}"
        raise ConfigurationError(f"BULKREDEEM_NOTIFY_URLS: {which} of {len(urls)} cannot be used by apprise; mend it.")
    for service in filter(None, services):
        service.redirects = False  # also when the address asks for it: whoever answers would send our words on
    return tuple(Address(number, service) for number, service in enumerate(filter(None, services), start=1))


def _asset() -> AppriseAsset:
    """Return how apprise is to behave: without pools of threads, files of its own, or following redirects."""
    from apprise import AppriseAsset  # noqa: PLC0415  an extra, and slow to load

    return AppriseAsset(
        app_id="bulkredeem",
        app_desc="bulkredeem",
        app_url="",
        async_mode=False,
        http_redirects=False,
        service_timeout=0,
        secure_logging=True,
    )
