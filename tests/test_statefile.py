"""The state of a key in a file: whatever is in it, whoever may read it, and whatever the clocks do meanwhile."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import stat
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bulkredeem.application.pacing import pace_of, state_folder
from bulkredeem.errors import PaceError
from bulkredeem.model import Ceiling
from bulkredeem.pace import KeyState, Pace
from bulkredeem.settings import Settings, load_settings
from bulkredeem.statefile import LONGEST_PAUSE, LONGEST_WAIT, SIZE, StateFile, boot_id, path_of

NOW = 5_000.0
"""Seconds since this start of the machine."""
TODAY = 1_764_000_000.0
"""The same moment on the wall clock."""
BOOT = "this start"
KNOWN = KeyState(
    due=NOW + 1,
    paused_until=NOW + 20,
    peak=42.0,
    taken=7,
    refusals=2,
    refused_since=NOW - 9,
    refused_rate=44.0,
    refused_at=NOW - 3,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Say where the state is kept."""
    return tmp_path / "state" / "pace.json"


def opened(path: Path, now: float = NOW, wall: float = TODAY, boot: str = BOOT) -> StateFile:
    """Open a state at a moment of ours."""
    return StateFile(path, clock=lambda: now, wall_clock=lambda: wall, boot=boot)


def keep(path: Path, state: KeyState = KNOWN, **when: Any) -> None:
    """Put a state into the file."""
    with opened(path, **when) as file:
        file.change(lambda _: state)


def test_a_new_file_knows_nothing(path: Path) -> None:
    """The folder is made, and the file has the size that it keeps."""
    with opened(path) as file:
        assert file.look() == KeyState()
    assert path.stat().st_size == SIZE


def test_what_was_written_is_read(path: Path) -> None:
    """By the same one, by another one at the same time, and by one that comes later."""
    with opened(path) as file, opened(path) as other:
        assert file.change(lambda _: KNOWN) == KNOWN
        assert (file.look(), other.look()) == (KNOWN, KNOWN)
        assert other.change(lambda state: replace(state, taken=8)) == replace(KNOWN, taken=8)
    with opened(path) as file:
        assert file.look() == replace(KNOWN, taken=8)


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    state=st.builds(
        KeyState,
        due=st.floats(0, NOW + LONGEST_WAIT),
        paused_until=st.floats(0, NOW + LONGEST_PAUSE),
        peak=st.floats(1e-3, 1e6) | st.just(math.inf),
        taken=st.integers(0, 10**12),
        refusals=st.integers(0, 10**6),
        refused_since=st.floats(0, NOW),
        refused_rate=st.floats(1e-3, 1e6) | st.just(math.inf),
        refused_at=st.floats(0, NOW),
    )
)
def test_every_state_that_may_be_fits_and_comes_back(state: KeyState, path: Path) -> None:
    """Nothing is rounded, and no content needs more than the file has."""
    keep(path, state)
    with opened(path) as file:
        assert file.look() == state
    assert path.stat().st_size == SIZE


def test_only_one_at_a_time_changes_it_and_nobody_waits(path: Path) -> None:
    """In the middle of a change another one is told so, and sees what was there before."""
    with opened(path) as file, opened(path) as other:
        file.change(lambda _: KNOWN)
        other.look()

        def in_the_middle(state: KeyState) -> KeyState:
            assert other.change(lambda seen: replace(seen, taken=99)) is None
            assert other.look() == KNOWN
            return replace(state, taken=8)

        assert file.change(in_the_middle) == replace(KNOWN, taken=8)
        assert other.look() == replace(KNOWN, taken=8)


def test_a_change_that_fails_changes_nothing(path: Path) -> None:
    """And lets the next one in."""
    keep(path)
    with opened(path) as file:
        with pytest.raises(ZeroDivisionError):
            file.change(lambda _: 1 / 0)  # type: ignore[arg-type,return-value]  # it never returns
        with opened(path) as other:
            assert other.change(lambda state: state) == KNOWN


def test_moments_of_an_earlier_start_are_translated(path: Path) -> None:
    """The machine starts anew: what was ten seconds ahead and is two seconds ahead by now, is so on the new clock."""
    keep(path, replace(KNOWN, due=NOW + 10, paused_until=NOW + 60))
    with opened(path, now=3.0, wall=TODAY + 8, boot="next start") as file:
        state = file.look()
    assert state.due == pytest.approx(3.0 + 2)
    assert state.paused_until == pytest.approx(3.0 + 52)
    assert state.refused_at == pytest.approx(3.0 - 8 - 3)
    assert (state.peak, state.taken, state.refusals) == (KNOWN.peak, KNOWN.taken, KNOWN.refusals)


@pytest.mark.parametrize("days", [-36_500, -1, 1, 36_500])
def test_a_wall_clock_that_was_set_holds_nobody_up_for_long(days: int, path: Path) -> None:
    """Set back between two starts of the machine, it makes moments lie far ahead: only so far as makes sense."""
    keep(path)
    with opened(path, now=3.0, wall=TODAY + days * 86_400, boot="next start") as file:
        state = file.look()
        assert state.due <= 3.0 + LONGEST_WAIT
        assert state.paused_until <= 3.0 + LONGEST_PAUSE
        assert state.refused_at <= 3.0


def test_a_wall_clock_that_is_set_meanwhile_changes_nothing(path: Path) -> None:
    """Within one start of the machine only its monotonic clock counts."""
    keep(path)
    with opened(path, wall=TODAY - 86_400) as file:
        assert file.look() == KNOWN


def test_the_next_request_after_a_new_start_is_no_earlier(path: Path) -> None:
    """At one request an hour a restart of a minute does not give away another one."""
    with opened(path) as file:
        pace = Pace(Ceiling.parse("1/hour"), store=file, clock=lambda: NOW)
        asyncio.run(pace.slot())
    with opened(path, now=1.0, wall=TODAY + 60, boot="next start") as file:
        assert 1.0 + 3_540 <= file.look().due <= 1.0 + 3_548


def content(**changes: Any) -> dict[str, Any]:
    """Return what a file says."""
    state = {**asdict(KNOWN), **changes}
    return {"boot": BOOT, "wall": TODAY, "monotonic": NOW, "state": state}


RUBBISH = {
    "empty": b"",
    "spaces": b" " * SIZE,
    "zeros": bytes(SIZE),
    "no JSON": b"\xff\xfeabc",
    "half": json.dumps(content()).encode()[:100],
    "a list": b"[1, 2]",
    "null": b"null",
    "a number": b"7",
    "deep": b"[" * SIZE,
    "long": json.dumps({**content(), "more": "x" * 10_000}).encode(),
    "no state": json.dumps({"boot": BOOT, "wall": TODAY, "monotonic": NOW}).encode(),
    "a state that is none": json.dumps({**content(), "state": 3}).encode(),
    "a key is missing": json.dumps({**content(), "state": {"due": 1.0}}).encode(),
    "words for numbers": json.dumps(content(due="soon")).encode(),
    "true for a number": json.dumps(content(taken=True)).encode(),
    "a list for a number": json.dumps(content(peak=[1])).encode(),
    "not a number": json.dumps(content(due=math.nan)).encode(),
    "infinite": json.dumps(content(due=math.inf)).encode(),
    "a word for a clock": json.dumps({**content(), "boot": "other", "wall": "noon"}).encode(),
}


@pytest.mark.parametrize("found", RUBBISH.values(), ids=RUBBISH.keys())
def test_a_file_without_a_state_knows_nothing(found: bytes, path: Path) -> None:
    """It is no reason not to send: it is overwritten."""
    path.parent.mkdir()
    path.write_bytes(found)
    with opened(path) as file:
        assert file.look() == KeyState()
        file.change(lambda _: KNOWN)
    with opened(path) as file:
        assert file.look() == KNOWN


def test_what_a_later_version_adds_is_passed_over(path: Path) -> None:
    """More keys than are known do not make a state unreadable."""
    path.parent.mkdir()
    path.write_text(json.dumps({**content(), "form": 2, "state": {**asdict(KNOWN), "mood": "good"}}))
    with opened(path) as file:
        assert file.look() == KNOWN


NUMBERS = (
    st.none()
    | st.sampled_from([0, -1, 1, 1e308, -1e308, 5e-324, 1e-320, 2**63, -(2**63), 10**30])
    | FLOATS
    | st.integers(-(2**63), 2**64)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    state=st.fixed_dictionaries({}, optional=dict.fromkeys(asdict(KNOWN), NUMBERS)),
    clocks=st.fixed_dictionaries({}, optional={"wall": NUMBERS, "monotonic": NUMBERS, "boot": st.just("other")}),
)
@example(state={"peak": 0}, clocks={})
@example(state={"peak": 1e-320}, clocks={})
@example(state={"due": None}, clocks={})
@example(state={"due": 1e300}, clocks={})
@example(state={"paused_until": None}, clocks={})
@example(state={"taken": 1e200}, clocks={})
@example(state={"taken": -(10**9)}, clocks={})
@example(state={"refusals": -5}, clocks={})
@example(state={"due": None}, clocks={"boot": "other", "wall": -1e308})
def test_no_number_in_the_file_makes_a_run_fail_or_wait_for_ever(
    state: dict[str, Any], clocks: dict[str, Any], path: Path
) -> None:
    """Whatever stands there, a slot comes, when it makes sense, and the rate is one."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**content(**state), **clocks}))
    moments = [NOW]

    async def sleep(seconds: float) -> None:
        moments[0] += seconds
        assert moments[0] <= NOW + LONGEST_PAUSE + 2 * LONGEST_WAIT

    with StateFile(path, clock=lambda: moments[0], wall_clock=lambda: TODAY, boot=BOOT) as file:
        pace = Pace(Ceiling.parse("20/s"), store=file, clock=lambda: moments[0], sleep=sleep)
        sent_at = asyncio.run(pace.slot())
        assert pace.gap <= LONGEST_WAIT
        pace.answered(sent_at)
        moments[0] += 0.1
        pace.throttled(sent_at, 0.0)
        assert 1 / 20 < pace.gap < math.inf
        assert pace.allowed > 0


@pytest.mark.parametrize(
    ("folder", "file"),
    [(0o700, 0o600), (0o755, 0o600), (0o750, 0o600), (0o770, 0o660), (0o775, 0o664), (0o777, 0o666), (0o1777, 0o666)],
)
def test_others_may_write_it_where_they_may_write(folder: int, file: int, path: Path) -> None:
    """In a folder of one's own the file is one's own; in a shared one it is shared, whatever the umask."""
    path.parent.mkdir()
    path.parent.chmod(folder)
    before = os.umask(0o077)
    try:
        keep(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == file


def test_permissions_that_somebody_gave_are_left(path: Path) -> None:
    """Only a new file is given some."""
    keep(path)
    path.chmod(0o640)
    keep(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def _folder(path: Path) -> None:
    path.mkdir()


def _link(path: Path) -> None:
    path.with_name("elsewhere").write_text("precious")
    path.symlink_to(path.with_name("elsewhere"))


def _pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("obstacle", [_folder, _link, _pipe], ids=["folder", "link", "pipe"])
def test_what_is_no_file_is_refused_with_a_sentence(obstacle: Callable[[Path], None], path: Path) -> None:
    """It is named, and left as it is."""
    path.parent.mkdir()
    obstacle(path)
    with pytest.raises(PaceError, match=rf"^The pace cannot be kept in {re.escape(str(path))}: [A-Z][^.\n]+\.$"):
        opened(path)
    assert not path.with_name("elsewhere").exists() or path.with_name("elsewhere").read_text() == "precious"


def test_a_file_instead_of_the_folder_is_refused_with_a_sentence(path: Path) -> None:
    """Also when it stands further up."""
    path.parent.write_text("")
    for each in (path, path.parent / "deeper" / "pace.json"):
        with pytest.raises(PaceError, match=r"^The pace cannot be kept in .+: [A-Z].+\.$"):
            opened(each)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
@pytest.mark.parametrize("mode", [0o000, 0o400, 0o200])
def test_a_file_of_somebody_else_is_refused_with_a_sentence(mode: int, path: Path) -> None:
    """Who may not read and write it is told so."""
    keep(path)
    path.chmod(mode)
    with pytest.raises(PaceError, match="Permission denied"):
        opened(path)


def test_no_descriptor_is_left_open(path: Path) -> None:
    """Neither after use nor after a refusal."""
    path.parent.mkdir()
    os.mkfifo(path)
    before = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(PaceError):
        opened(path)
    keep(path.with_name("other"))
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_the_name_tells_keys_apart_and_nobody_who_they_are(tmp_path: Path) -> None:
    """One host and one user name have one file, however the address is written; the name cannot be read from it."""
    name = path_of(tmp_path, "https://Api.Example.com/v2", "till.asha")
    assert name == path_of(tmp_path, "https://api.example.com/other/", "till.asha")
    assert name.parent == tmp_path
    assert not re.search("asha|till|example", name.name)
    others = {
        path_of(tmp_path, "https://api.example.com", "till.ravi"),
        path_of(tmp_path, "https://api.example.com", "Till.asha"),
        path_of(tmp_path, "https://api.example.com:8443", "till.asha"),
        path_of(tmp_path, "https://api.example.org", "till.asha"),
        path_of(tmp_path, "https://api.example.comtill", ".asha"),
    }
    assert len(others | {name}) == 6


def test_this_start_of_the_machine_has_one_name() -> None:
    """Otherwise nothing would be shared."""
    assert boot_id() == boot_id() != ""


# Where a run opens it.


@pytest.fixture
def told(nothing_configured: Path, tmp_path: Path) -> Callable[..., Settings]:  # noqa: ARG001
    """Make settings of one key, with a state folder of the test's own, unless `changes` say otherwise."""

    def make(**changes: Any) -> Settings:
        usual = {"base_url": "https://api.example.com", "username": "till.asha", "state_dir": tmp_path / "shared"}
        return load_settings({**usual, **changes})

    return make


def is_shared(one: Settings, other: Settings) -> bool:
    """Whether a pause of the one is a pause of the other."""
    with pace_of(one) as (pace, remarks), pace_of(other) as (other_pace, other_remarks):
        assert (remarks, other_remarks) == ((), ())
        pace.pause(60.0)
        other_pace.pause(0.0)
        return other_pace.paused_for > 30


def test_runs_of_one_key_share_its_pace(told: Callable[..., Settings]) -> None:
    """Host and user name are the key; rate and reports folder are a run's own."""
    one = told()
    assert is_shared(one, told(rate="20/s", reports=Path("elsewhere")))
    assert not is_shared(told(username="till.b"), told(username="till.c"))
    assert not is_shared(told(username="till.d"), told(username="till.d", base_url="https://api.example.org"))
    assert not is_shared(told(username="till.e"), told(username="till.e", state_dir=Path("own").absolute()))


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="other systems have other folders")
def test_the_usual_folder_is_the_users_own(told: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is where the system keeps such things, which the user may have moved."""
    settings = told(state_dir=None)
    monkeypatch.setenv("XDG_STATE_HOME", "/invented/state")
    assert state_folder(settings) == Path("/invented/state/bulkredeem")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/invented/asha")
    assert state_folder(settings) == Path("/invented/asha/.local/state/bulkredeem")


def only_remark(settings: Settings) -> str:
    """Return the one remark about a pace that works nevertheless."""
    with pace_of(settings) as (pace, remarks):
        asyncio.run(pace.slot())
        (remark,) = remarks
        return remark


def is_complete(remark: str) -> bool:
    """Whether it says what this means and what to do."""
    return "do not share the rate" in remark and "--state-dir" in remark


@pytest.mark.parametrize(
    "place", ["file", "file/inside", "x" * 300], ids=["a file", "inside a file", "too long a name"]
)
def test_a_folder_that_cannot_be_made_is_remarked_upon(
    place: str, told: Callable[..., Settings], tmp_path: Path
) -> None:
    """The run goes on alone, and a person reads why, and what to do."""
    (tmp_path / "file").write_text("")
    remark = only_remark(told(state_dir=tmp_path / place))
    assert remark.startswith(f"The pace cannot be kept in {tmp_path / place}")
    assert is_complete(remark)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
@pytest.mark.parametrize("mode", [0o000, 0o500])
@pytest.mark.parametrize("place", ["closed", "closed/inside/it"])
def test_a_folder_that_is_closed_is_remarked_upon(
    mode: int, place: str, told: Callable[..., Settings], tmp_path: Path
) -> None:
    """Also when not even a look into it is allowed: the home folder of somebody else."""
    (tmp_path / "closed").mkdir(mode)
    assert is_complete(only_remark(told(state_dir=tmp_path / place)))


def test_a_folder_that_may_not_be_looked_into_is_remarked_upon(
    told: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for root, who may look everywhere: the system's refusal is invented."""
    really = os.stat

    def refused(path: Any, *arguments: Any, **more: Any) -> os.stat_result:
        if str(path).startswith(str(tmp_path / "closed" / "")):
            raise PermissionError(13, "Permission denied", str(path))
        return really(path, *arguments, **more)

    (tmp_path / "closed").write_text("")
    monkeypatch.setattr(os, "stat", refused)
    assert is_complete(only_remark(told(state_dir=tmp_path / "closed" / "state")))


def test_a_network_folder_is_remarked_upon(
    told: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Machines that share a folder do not share a clock: nothing is written there."""
    monkeypatch.setattr("bulkredeem.application.pacing.network_type_of", lambda _: "nfs4")
    remark = only_remark(told())
    assert remark.startswith(f"The pace cannot be kept in {tmp_path / 'shared'}, which is on a network folder (nfs4).")
    assert is_complete(remark)
    assert not (tmp_path / "shared").exists()
