"""The command `sandbox`: the built-in server, alone or around another command."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import Final

from bulkredeem.errors import ConfigurationError
from bulkredeem.model import Rate
from bulkredeem.sandbox import Sandbox
from bulkredeem.settings.credentials import FOLDER

_SHELL_SAYS_KILLED: Final = 128
"""A shell adds the number of the signal that ended a command to this."""


async def serve(command: Sequence[str], *, port: int, limit: str, latency: float, fail_ratio: float, seed: int) -> int:
    """Serve until a signal, or until the command ends; return its exit code, or 0."""
    sandbox = Sandbox(port=port, limit=_limit(limit), latency=latency, fail_ratio=fail_ratio, seed=seed)
    async with sandbox:
        environment = {
            "BULKREDEEM_BASE_URL": sandbox.base_url,
            "BULKREDEEM_USERNAME": sandbox.username,
            "BULKREDEEM_PASSWORD": sandbox.password,
        }
        if command:
            # What is learnt of the sandbox is nothing to be remembered: its next port may be another's.
            with tempfile.TemporaryDirectory(prefix="bulkredeem-") as state_dir:
                environment["BULKREDEEM_STATE_DIR"] = state_dir
                return await _run_beside(command, _without_other_credentials() | environment)
        signalled = _signalled()
        for name, value in environment.items():
            print(f"export {name}={value}", flush=True)
        print(
            "The sandbox runs until Ctrl-C. Paste the lines above into another terminal.", file=sys.stderr, flush=True
        )
        await signalled.wait()
    return 0


def _without_other_credentials() -> dict[str, str]:
    """Return our environment without the credentials of the platform: two passwords would contradict each other.

    With the sandbox's password in it, no keyring is asked; and none would know the sandbox's address.
    """
    replaced = {"BULKREDEEM_BASE_URL", "BULKREDEEM_USERNAME", "BULKREDEEM_PASSWORD", "BULKREDEEM_PASSWORD_FILE", FOLDER}
    return {name: value for name, value in os.environ.items() if name.upper() not in replaced}


def _limit(text: str) -> Rate | None:
    try:
        rate = Rate.parse(text)
    except ValueError as exc:
        raise ConfigurationError(f"--limit: {exc}.") from exc
    return None if math.isinf(rate.requests) else rate


async def _run_beside(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the command and return its exit code, as a shell would; signals are the command's business, not ours."""
    loop = asyncio.get_running_loop()
    try:
        process = await asyncio.create_subprocess_exec(*command, env=environment)
    except OSError as exc:
        raise ConfigurationError(f"{command[0]} cannot be started: {exc.strerror}.") from exc
    # A terminal sends Ctrl-C to both of us; SIGTERM reaches only this process, so it is passed on.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    loop.add_signal_handler(signal.SIGTERM, process.terminate)
    code = await process.wait()
    return code if code >= 0 else _SHELL_SAYS_KILLED - code


def _signalled() -> asyncio.Event:
    """Return what Ctrl-C and SIGTERM set from now on."""
    loop, signalled = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signalled.set)
    return signalled
