"""The target: a real nginx on a free port of loopback, in a folder of its own, that answers every update with success.

The limit is nginx's own `limit_req`. It can be lowered while requests are coming: both limits stand in the
configuration from the start, and a file in nginx's folder says which of the two has a key; to `limit_req` an empty key
means "do not count". So nothing is reloaded, no worker ends and no connection is closed: only the limit changes.
"""

from __future__ import annotations

import grp
import os
import pwd
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.traffic import LOG_FORMAT, Traffic, read_traffic

NGINX: Final = Path("/usr/sbin/nginx")
ECHO_MODULE: Final = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")
BURST: Final = 20
"""Requests that nginx lets through above its even rate before it says 429."""
_LONGEST_START: Final = 10.0
"""Seconds after which a start is given up."""
_REPLY: Final = '{"id":1,"warnings":[]}'


class TargetError(Exception):
    """nginx is missing, or does not start; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """How the target behaves."""

    latency: float = 0.0
    """Seconds that an answer takes."""
    limit: int | None = None
    """Requests a second that are let through, or None for all."""
    lowered: int | None = None
    """The limit after `Nginx.lower_limit`, or None when it stays."""


class Nginx:
    """A running nginx."""

    def __init__(self, folder: Path, port: int) -> None:
        """Know where it is; `running` starts it."""
        self.base_url: Final = f"http://127.0.0.1:{port}"
        self.log: Final = folder / "access.log"
        self._switch = folder / "lowered"

    def lower_limit(self) -> float:
        """Lower the limit from now on; return that moment (seconds since the epoch)."""
        self._switch.touch()
        return time.time()


@contextmanager
def running(target: Target, folder: Path) -> Iterator[Nginx]:
    """Start nginx in a folder, which is made; its log is whole only once it has ended.

    Raises TargetError when it is not installed or does not answer.
    """
    if not (NGINX.exists() and ECHO_MODULE.exists()):
        msg = f"{NGINX} or {ECHO_MODULE} is missing: install nginx-light and libnginx-mod-http-echo (benchmarks/setup)"
        raise TargetError(msg)
    folder.mkdir(parents=True)
    port = _free_port()
    configuration, errors = folder / "nginx.conf", folder / "error.log"
    configuration.write_text(_configuration(target, folder, port), encoding="utf-8")
    command: list[str | Path] = [NGINX, "-p", folder, "-e", errors, "-c", configuration]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port, process, errors)
            yield Nginx(folder, port)
        finally:
            process.send_signal(signal.SIGQUIT)


def traffic_of(nginx: Nginx) -> Traffic:
    """Return what an nginx that has ended saw."""
    return read_traffic(nginx.log)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes], errors: Path) -> None:
    give_up = time.monotonic() + _LONGEST_START
    while time.monotonic() < give_up and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    said = errors.read_text(encoding="utf-8") if errors.exists() else "it said nothing"
    msg = f"nginx does not answer: {said}"
    raise TargetError(msg)


def _configuration(target: Target, folder: Path, port: int) -> str:
    zones, limits = _limits(target, folder)
    sleep = f"echo_sleep {target.latency};" if target.latency else ""
    return f"""
daemon off;
{_user()}
worker_processes 1;
load_module {ECHO_MODULE};
pid {folder}/pid;
events {{ worker_connections 4096; }}
http {{
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  log_format rows '{LOG_FORMAT}';
  access_log {folder}/access.log rows buffer=256k flush=250ms;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  default_type application/json;
  {zones}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location = /v2/points/updateRedemption {{
      {limits}
      echo_read_request_body;
      {sleep}
      echo '{_REPLY}';
    }}
  }}
}}
"""


def _limits(target: Target, folder: Path) -> tuple[str, str]:
    """Return what `http` and what `location` need for the limits."""
    if target.limit is None:
        return "", ""
    zones = [_zone("usual", target.limit)]
    limits = ["limit_req_status 429;", "set $usual all;", "set $lowered '';", _limit("usual")]
    if target.lowered is not None:
        zones.append(_zone("lowered", target.lowered))
        limits += [_limit("lowered"), f"if (-f {folder}/lowered) {{ set $usual ''; set $lowered all; }}"]
    return "\n  ".join(zones), "\n      ".join(limits)


def _zone(name: str, rate: int) -> str:
    return f"limit_req_zone ${name} zone={name}:64k rate={rate}r/s;"


def _limit(name: str) -> str:
    return f"limit_req zone={name} burst={BURST} nodelay;"


def _user() -> str:
    """Let the worker of a root's nginx be root, too: it has to see into the folder, which is nobody else's."""
    if os.geteuid():
        return ""
    return f"user {pwd.getpwuid(os.geteuid()).pw_name} {grp.getgrgid(os.getegid()).gr_name};"
