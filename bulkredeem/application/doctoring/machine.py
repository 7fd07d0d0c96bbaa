"""What can be seen without any network: the folders, the disk, the configuration, and what earlier runs have left."""

from __future__ import annotations

import platform
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from shlex import quote
from typing import Final

from pydantic import SecretStr

from bulkredeem import __version__
from bulkredeem.application.absorbing import LEDGER, LEDGER_FOLDER
from bulkredeem.application.doctoring.findings import Finding, ok, problem, unseen, warning
from bulkredeem.application.doctoring.probes import Probes
from bulkredeem.application.pacing import state_folder
from bulkredeem.application.shelf import Shelved, runs_in
from bulkredeem.application.turn import lock_name, neighbour_in_words
from bulkredeem.errors import BulkRedeemError
from bulkredeem.journal import owner_of
from bulkredeem.ledger import Ledger, System
from bulkredeem.settings import ENV_PREFIX, Settings
from bulkredeem.settings.keyrings import command_to_keep, is_installed
from bulkredeem.settings.sources import Origin, with_password
from bulkredeem.summary import RunState, counted

LITTLE_SPACE: Final = 10**9
"""Bytes below which a disk is nearly full."""
NO_SPACE: Final = 10**8
"""Bytes below which a run may not come to its end."""
MOST_NAMED: Final = 5
"""Runs that are named at once."""
_EXTRAS: Final = {"xlsx": ("python_calamine", "xlsxwriter"), "notify": ("apprise",), "keyring": ("keyring",)}
"""What can be installed besides → the modules of it."""


def on_this_machine(settings: Settings, origins: Mapping[str, Origin], probes: Probes) -> Iterator[Finding]:
    """Yield what is found on this machine; `origins` says where each setting came from."""
    checks: dict[str, Callable[[], Iterable[Finding]]] = {
        "versions": _versions,
        "extras": lambda: _extras(settings, probes),
        "platform": lambda: _system(settings, origins),
        "password": lambda: _password(settings, origins),
        "reports folder": lambda: _reports(settings.reports, probes),
        "state folder": lambda: _state(state_folder(settings), probes),
        "disk": lambda: _disk(settings.reports, probes),
        "ledger": lambda: _ledger(settings.reports, probes),
        "runs": lambda: _runs(settings.reports),
        "other runs": lambda: _neighbour(settings, probes),
    }
    for topic, check in checks.items():
        yield from _kept_going(topic, check)


def _kept_going(topic: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Return what a check finds; what keeps it from looking is a finding, too."""
    try:
        return list(check())
    except (BulkRedeemError, OSError, ValueError) as exc:
        return [unseen(topic, exc)]


def _versions() -> Iterator[Finding]:
    python = f"Python {platform.python_version()} at {sys.executable}"
    yield ok("versions", f"bulkredeem {__version__}, {python}, {platform.system()} {platform.release()}.")


def _extras(settings: Settings, probes: Probes) -> Iterator[Finding]:
    is_told = bool(settings.notify_urls) or settings.notify_urls_file is not None
    wanted = {"xlsx": settings.xlsx, "notify": is_told, "keyring": False}
    for extra, modules in _EXTRAS.items():
        remedy = f"Install it: pip install 'bulkredeem[{extra}]'."
        if all(map(probes.is_installed, modules)):
            yield ok("extras", f"{extra} is installed.")
        elif wanted[extra]:
            yield problem("extras", f"{extra} is not installed, and the settings need it.", remedy)
        else:
            yield ok("extras", f"{extra} is not installed, and nothing in the settings needs it.")


def _system(settings: Settings, origins: Mapping[str, Origin]) -> Iterator[Finding]:
    if settings.base_url:
        named = f" ({settings.environment})" if settings.environment else ""
        yield ok("platform", f"{settings.base_url}{named}, from {origins['base_url'].in_words()}.")
    else:
        remedy = f"Let bulkredeem init write base_url, or set {ENV_PREFIX}BASE_URL."
        yield problem("platform", "There is no address of the platform.", remedy)
    if settings.username:
        yield ok("user name", f"{settings.username}, from {origins['username'].in_words()}.")
    else:
        remedy = f"Let bulkredeem init write username, or set {ENV_PREFIX}USERNAME."
        yield problem("user name", "There is no user name.", remedy)


def _password(settings: Settings, origins: Mapping[str, Origin]) -> Iterator[Finding]:
    password, file = settings.resolve_password(), settings.password_file
    if not password:
        yield _no_password(settings)
        return
    origin = with_password(origins, settings)["password" if file is None else "password_file"]
    which = {"environment": f", which names {file}", "credentials": f": {file}"}.get(origin.kind, "") if file else ""
    yield ok("password", f"It is there, from {origin.in_words()}{which}.")
    if _has_blanks_around(password):
        yield warning("password", "It begins or ends with a blank.", "If that is not meant, take it away.")
    if file is not None and file.is_file() and (mode := stat.S_IMODE(file.stat().st_mode)) & 0o077:
        found = f"{file} is open to others than its owner ({mode:04o})."
        yield warning("password", found, f"Close it: chmod 600 {quote(str(file))}")


def _no_password(settings: Settings) -> Finding:
    """Say why there is none, and how there can be one."""
    remedy = f"Write it into a file that only you can read, and name that in {ENV_PREFIX}PASSWORD_FILE."
    if settings.password_file is not None:
        return problem("password", f"{settings.password_file} is empty.", remedy)
    if trouble := settings.kept_password().trouble:
        return problem("password", f"There is no password, and the keyring {trouble}.", remedy)
    if is_installed() and settings.base_url and settings.username:
        remedy += f" Or keep it in the keyring: {command_to_keep(settings.base_url, settings.username)}"
    return problem("password", "There is no password.", remedy)


def _has_blanks_around(password: SecretStr) -> bool:
    return password.get_secret_value() != password.get_secret_value().strip()


def _reports(folder: Path, probes: Probes) -> Iterator[Finding]:
    yield _writable("reports folder", folder, "--reports", problem, probes)
    if kind := probes.network_type(_existing(folder)):
        found = f"{folder} is on a network folder ({kind}): it is slower there, and as safe as its server is."
        yield warning("reports folder", found, "Better name a folder of this machine with --reports.")
    if folder.is_dir() and probes.others_may_read(folder):
        found = f"Other users of this machine may read {folder}, and reports hold your customers' identifiers."
        yield warning("reports folder", found, f"Close it: chmod o-rwx {quote(str(folder))}")


def _state(folder: Path, probes: Probes) -> Iterator[Finding]:
    yield _writable("state folder", folder, "--state-dir", warning, probes)
    if kind := probes.network_type(_existing(folder)):
        found = f"{folder} is on a network folder ({kind}), so that runs do not share the rate there."
        yield warning("state folder", found, "Name a folder of this machine with --state-dir.")


def _writable(
    topic: str, folder: Path, option: str, otherwise: Callable[[str, str, str], Finding], probes: Probes
) -> Finding:
    there = _existing(folder)
    remedy = f"Give yourself that right, or name another folder with {option}."
    if not there.is_dir():
        return otherwise(topic, f"{there} is no folder.", f"Name another one with {option}.")
    if not probes.may_write(there):
        return otherwise(topic, f"Nothing can be written in {there}.", remedy)
    return ok(topic, f"{folder} can be written to." if there == folder else f"{folder} can be made.")


def _existing(path: Path) -> Path:
    """Return the path itself, or the nearest above it that is there."""
    return next((each for each in (path, *path.absolute().parents) if each.exists()), Path("/"))


def _disk(reports: Path, probes: Probes) -> Iterator[Finding]:
    free = probes.free(_existing(reports))
    found = f"{free / 10**9:,.1f} GB are free for {reports}."
    remedy = "Make room, let bulkredeem prune remove old runs, or name a folder on another disk with --reports."
    if free < LITTLE_SPACE:
        found = f"Only {free / 10**6:,.0f} MB are free for {reports}."
        yield (problem if free < NO_SPACE else warning)("disk", found, remedy)
    else:
        yield ok("disk", found)


def _ledger(reports: Path, probes: Probes) -> Iterator[Finding]:
    path = reports / LEDGER_FOLDER / LEDGER
    if not path.exists():
        yield ok("ledger", "There is none yet; the first run makes it.")
        return
    with Ledger.open(path, network=bool(probes.network_type(path.parent))) as ledger:
        yield ok("ledger", f"{path} can be read, and knows {counted(len(ledger.marks()), 'run')}.")


def _runs(reports: Path) -> Iterator[Finding]:
    found = runs_in(reports)
    runs, strange = [run for run in found if not run.stranger], [run for run in found if run.stranger]
    unfinished = [run for run in runs if run.is_unfinished]
    not_begun = [run for run in runs if run.state is RunState.NOT_BEGUN]
    unreadable = [run for run in runs if run.state is RunState.UNREADABLE]
    if unfinished:
        remedy = "Go on with bulkredeem resume, or close them with bulkredeem abandon."
        yield warning("runs", f"Unfinished: {_named(unfinished)}.", remedy)
    if not_begun:
        remedy = "Run their files again, and delete the folders."
        yield warning("runs", f"Died before anything was sent: {_named(not_begun)}.", remedy)
    if unreadable:
        yield warning("runs", f"Cannot be read: {_named(unreadable)}.", "bulkredeem runs says why.")
    if strange:
        remedy = "They are left alone, and the ledger does not believe them: look who puts runs there."
        yield warning("runs", f"In folders of other users: {_named(strange)}.", remedy)
    if not unfinished + not_begun + unreadable + strange:
        yield ok(
            "runs", f"{counted(len(runs), 'run')} in {reports}, none unfinished." if runs else "There is none yet."
        )


def _named(runs: list[Shelved]) -> str:
    names = ", ".join(run.folder.name for run in runs[:MOST_NAMED])
    return f"{names} and {len(runs) - MOST_NAMED} more" if len(runs) > MOST_NAMED else names


def _neighbour(settings: Settings, probes: Probes) -> Iterator[Finding]:
    name = lock_name(System.of(settings.base_url, settings.username))
    if owner_of(settings.reports / LEDGER_FOLDER, name):
        found = neighbour_in_words(settings.reports, name, probes.wall_clock())
        yield warning("other runs", found, "A run that is begun now waits for its end, or fails when it is unattended.")
    else:
        yield ok("other runs", "No other run sends with this ledger and user name.")
