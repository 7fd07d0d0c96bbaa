"""Notices to people, by whatever apprise can reach. Its addresses hold tokens in any of their places: none is shown."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
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
MISSING: Final = "Notices need a library that is not installed: pip install 'bulkredeem[notify]'"


class Address:
    """One address that notices go to."""

    def __init__(self, number: int, service: NotifyBase) -> None:
        """Take the address of this number: its place among the addresses, from 1."""
        self.name = f"address {number} of BULKREDEEM_NOTIFY_URLS ({service.service_name})"
        """What a person may be told of it."""
        self._service = service

    def send(self, notice: Notice, code: ExitCode) -> bool:
        """Send a notice and return whether it was taken; blocks as long as that takes."""
        from apprise import Apprise, NotifyFormat, NotifyType  # noqa: PLC0415  an extra, and slow to load

        one = Apprise(asset=self._service.asset)
        one.add(self._service)
        usual = NotifyType.INFO if code in AS_PLANNED else NotifyType.FAILURE
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
