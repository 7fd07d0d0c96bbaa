"""Looking at everything, one thing after another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from bulkredeem.application.doctoring.findings import Diagnosis
from bulkredeem.application.doctoring.machine import on_this_machine
from bulkredeem.application.doctoring.probes import Probes
from bulkredeem.application.doctoring.question import may_ask, of_the_platform
from bulkredeem.settings import Settings
from bulkredeem.settings.sources import Origin


async def diagnose(
    settings: Settings,
    origins: Mapping[str, Origin],
    *,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    probes: Probes | None = None,
) -> Diagnosis:
    """Look at everything, and ask the platform when address, user name and password are there.

    `origins` says where each setting came from. `sleep` waits for the slot of the question; raises what that raises.
    """
    probes = probes or Probes()
    findings = [*on_this_machine(settings, origins, probes)]
    if may_ask(settings):
        findings += await of_the_platform(settings, sleep, probes)
    return Diagnosis(findings=tuple(findings))
