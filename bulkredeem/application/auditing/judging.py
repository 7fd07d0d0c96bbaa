"""What the evidence comes to: one thing after another, what that means, and what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import orjson

from bulkredeem import __version__, fingerprints
from bulkredeem.application.auditing.gathering import Evidence
from bulkredeem.application.auditing.values import COUNTS, INPUT, Audit, Standing, Thing
from bulkredeem.application.fingerprinting import RECORDS, RESULT_FILES, SETTINGS, SHOWN_FILES
from bulkredeem.application.intake import SNAPSHOT
from bulkredeem.application.record import JOURNAL
from bulkredeem.errors import RunNotFoundError
from bulkredeem.model import STANDARD_INPUT_IN_WORDS
from bulkredeem.report import RESULTS, SUMMARY
from bulkredeem.summary import NOT_DONE, RunState, Typed, counted
from bulkredeem.workbook import NOT_DONE_XLSX

_BY_RULES: Final = frozenset({"mend_by", "top_errors"})
"""Keys of a summary that another version may derive otherwise from the same records."""
_BARE: Final = frozenset({"run_id", "state", "counts", "requests", "exit_code"})
"""Keys that every summary has, also one that was written in haste or by an older version."""
_MENDED: Final = frozenset({NOT_DONE, NOT_DONE_XLSX})
"""The files that people are to mend."""
_OLD_VERSION: Final = "The version that wrote summary.json recorded no hashes: only the counts can be compared."
_IN_HASTE: Final = (
    "The run ended without its reports (a second Ctrl-C, or a disk that did not take them), so nothing is recorded of"
    " them."
)
_NOT_ENDED: Final = (
    "The run died, and its reports are of an earlier moment: there is nothing to compare them with. Go on with it"
    " (bulkredeem resume), or write them anew (bulkredeem report)."
)
_DRY: Final = "A dry run keeps no journal and no hashes: only its file and its counts can be compared."
_NO_SUMMARY: Final = "Without summary.json nobody knows the hashes."
_RESTORE: Final = "Put back {name} from a copy of the folder"


def judged(evidence: Evidence, typed: Typed) -> Audit:
    """Judge a run; `typed` is what a command to paste needs. Raises OSError when the input cannot be read."""
    sources = (
        _input(evidence.info.path, evidence.info.sha256),
        _snapshot(evidence),
        _settings(evidence),
        _records(evidence),
    )
    is_sound = not any(each.standing in {Standing.CHANGED, Standing.MISSING} for each in sources[1:])
    remedy = _anew(evidence.folder, typed, sources[1:])
    return Audit(
        folder=evidence.folder,
        run_id=evidence.info.run_id,
        things=(
            *sources,
            *(_result_file(evidence, name, remedy) for name in RESULT_FILES),
            *(thing for name in SHOWN_FILES if (thing := _shown_file(evidence, name, remedy))),
            _summary(evidence, remedy, is_sound=is_sound),
            _counts(evidence, remedy),
        ),
        remark=_remark(evidence),
    )


def _anew(folder: Path, typed: Typed, sources: tuple[Thing, ...]) -> str:
    """Say how to come by reports that are right."""
    broken = [JOURNAL if each.name in {SETTINGS, RECORDS} else each.name for each in sources if each.remedy]
    if broken:
        return f"Do not write the reports anew before {' and '.join(dict.fromkeys(broken))} is put right."
    command = " ".join(filter(None, ("bulkredeem report", typed.which, shlex.quote(str(folder)))))
    return f"Write the reports anew: {command}"


def _input(path: str, sha256: str) -> Thing:
    file = Path(path)
    if path == STANDARD_INPUT_IN_WORDS or not file.is_file():
        words = "It came through a pipe." if path == STANDARD_INPUT_IN_WORDS else f"There is no {path} from here."
        return Thing(name=INPUT, standing=Standing.GONE, words=words, recorded=sha256)
    # A person's own file, wherever that lies.
    with file.open("rb") as given:
        found = fingerprints.of_file(given)
    if found == sha256:
        return Thing(name=INPUT, standing=Standing.AS_IT_WAS, recorded=sha256, found=found)
    # No difference: a nightly file has one name, and the run its own copy.
    words = f"{path} holds something else now. The run has its own copy, {SNAPSHOT}."
    return Thing(name=INPUT, standing=Standing.GONE, words=words, recorded=sha256, found=found)


def _snapshot(evidence: Evidence) -> Thing:
    recorded, found = evidence.snapshot_sha256, evidence.found.get(SNAPSHOT)
    if SNAPSHOT in evidence.links:
        return _link(SNAPSHOT, recorded, f"{_RESTORE.format(name=SNAPSHOT)}.")
    thing = _compared(SNAPSHOT, recorded, found)
    if thing.standing not in {Standing.CHANGED, Standing.MISSING}:
        return thing
    return replace(
        thing,
        words="It is the run's own copy of the rows: without it nothing goes on with the run, and no report of it can"
        " be written.",
        remedy=f"{_RESTORE.format(name=SNAPSHOT)}; what was sent is in {RESULTS}, if that is as it was.",
    )


def _settings(evidence: Evidence) -> Thing:
    thing = _compared(SETTINGS, evidence.recorded.get(SETTINGS), evidence.found.get(SETTINGS))
    if thing.standing is not Standing.CHANGED:
        return thing
    return replace(
        thing,
        words=f"The settings in {JOURNAL} are not those of which {SUMMARY} tells: one of the two was changed.",
        remedy=f"{_RESTORE.format(name=f'{JOURNAL} or {SUMMARY}')}: resume and retry go by what the journal says.",
    )


def _records(evidence: Evidence) -> Thing:
    thing = _compared(RECORDS, evidence.recorded.get(RECORDS), evidence.found[RECORDS])
    if thing.standing is not Standing.CHANGED:
        return thing
    is_borne_out = any(evidence.recorded.get(name) == evidence.found.get(name) for name in RESULT_FILES)
    trust = f"Trust {RESULTS}, which is as it was written" if is_borne_out else "Trust neither it nor the reports"
    return replace(
        thing,
        words=f"The records in {JOURNAL} are not those of which {SUMMARY} tells.",
        remedy=f"{trust}, and put back {JOURNAL} from a copy of the folder; if a verify was cut off, verify once more.",
    )


def _compared(name: str, recorded: str | None, found: str | None) -> Thing:
    if recorded is None:
        standing = Standing.NOT_RECORDED
    elif found is None:
        standing = Standing.MISSING
    else:
        standing = Standing.AS_IT_WAS if found == recorded else Standing.CHANGED
    return Thing(name=name, standing=standing, recorded=recorded, found=found)


def _link(name: str, recorded: str | None, remedy: str) -> Thing:
    """Judge a link in the place of a file: nobody knows what it will lead to."""
    words = "It is a link, which is not followed: the file itself is not there."
    return Thing(name=name, standing=Standing.CHANGED, words=words, remedy=remedy, recorded=recorded)


def _result_file(evidence: Evidence, name: str, remedy: str) -> Thing:
    if name in evidence.links:
        return _link(name, evidence.recorded.get(name), remedy)
    thing = _compared(name, evidence.recorded.get(name), evidence.found.get(name))
    says_the_same = thing.found is not None and thing.found == evidence.derived.get(name)
    match thing.standing:
        case Standing.NOT_RECORDED if says_the_same:
            return replace(thing, words="It says what the journal says.")
        case Standing.CHANGED if says_the_same:
            # It is the summary that was not renewed, or that was changed; of that the summary's own line tells.
            return replace(thing, standing=Standing.AS_IT_WAS, words="It says what the journal says.")
        case Standing.AS_IT_WAS if evidence.derived and not says_the_same:
            return _otherwise(evidence, thing, remedy)
        case Standing.CHANGED | Standing.MISSING:
            return _spoilt(thing, remedy)
    return thing


def _otherwise(evidence: Evidence, thing: Thing, remedy: str) -> Thing:
    """Judge a file that is as it was written, and not as it would be written now."""
    if evidence.found[RECORDS] != evidence.recorded.get(RECORDS):
        return replace(thing, words="It says no longer what the journal says.")
    if not evidence.is_of_this_version:
        return replace(thing, words=f"Version {__version__} would write it otherwise.")
    words = "It has the hash that was recorded, and does not say what the journal says."
    return replace(thing, standing=Standing.CHANGED, words=words, remedy=remedy)


def _shown_file(evidence: Evidence, name: str, remedy: str) -> Thing | None:
    """Judge a file that people look at; None for one that was never wanted."""
    if name in evidence.links:
        return _link(name, evidence.recorded.get(name), remedy)
    thing = _compared(name, evidence.recorded.get(name), evidence.found.get(name))
    if thing.recorded is None and thing.found is None:
        return None
    return _spoilt(thing, remedy) if thing.standing in {Standing.CHANGED, Standing.MISSING} else thing


def _spoilt(thing: Thing, remedy: str) -> Thing:
    if thing.standing is Standing.CHANGED and thing.name in _MENDED:
        words = "Perhaps somebody has mended rows in it: copy it first, for it will be written over."
        return replace(thing, words=words, remedy=remedy)
    return replace(thing, remedy=remedy)


def _summary(evidence: Evidence, remedy: str, *, is_sound: bool) -> Thing:
    if SUMMARY in evidence.links:
        return _link(SUMMARY, None, remedy)
    if evidence.told is None:
        is_there = (evidence.folder / SUMMARY).exists()
        words = "It is no JSON object." if is_there else _NO_SUMMARY
        standing = Standing.CHANGED if is_there else Standing.MISSING
        return Thing(name=SUMMARY, standing=standing, words=words, remedy=remedy)
    if not evidence.is_of_this_ending:
        return Thing(name=SUMMARY, standing=Standing.NOT_RECORDED, words="It is of an earlier moment of the run.")
    wrong = sorted(_wrong_keys(evidence, is_sound=is_sound))
    if not wrong:
        return Thing(name=SUMMARY, standing=Standing.AS_IT_WAS)
    words = f"It does not say what the journal says of {', '.join(wrong)}."
    return Thing(name=SUMMARY, standing=Standing.CHANGED, words=words, remedy=remedy)


def _wrong_keys(evidence: Evidence, *, is_sound: bool) -> Iterator[str]:
    """Yield the keys of `summary.json` that do not say what they should; of hashes, with their names."""
    told = evidence.told or {}
    right: dict[str, Any] = orjson.loads(orjson.dumps(evidence.summary.as_json_object()))
    hashes = right.pop("sha256")
    if not evidence.is_hashed:
        right = {key: value for key, value in right.items() if key in _BARE & told.keys()}
    elif not evidence.is_of_this_version:
        right = {key: value for key, value in right.items() if key not in _BY_RULES}
    # What hangs on records that were changed is no fault of the summary.
    skipped = frozenset() if is_sound else _BY_RULES | {"counts"}
    yield from (key for key in right if key not in skipped and (key not in told or told[key] != right[key]))
    if evidence.is_hashed:
        yield from _wrong_hashes(evidence, hashes, is_sound=is_sound)
        if evidence.is_of_this_version:
            yield from (key for key in told if key not in right and key != "sha256")
    elif evidence.is_of_this_version and not isinstance(told.get("sha256"), dict):
        yield "sha256"


def _wrong_hashes(evidence: Evidence, names: Mapping[str, str | None], *, is_sound: bool) -> Iterator[str]:
    """Yield the hashes in `summary.json` that are not right whatever else was changed."""
    told, recorded = (evidence.told or {})["sha256"], evidence.recorded
    right = {INPUT: evidence.info.sha256} | ({SNAPSHOT: evidence.snapshot_sha256} if evidence.snapshot_sha256 else {})
    yield from (f"sha256.{name}" for name, digest in right.items() if recorded.get(name) != digest)
    for name, digest in evidence.derived.items() if is_sound else ():
        # Of a file that another version wrote, its own hash is as good.
        own = digest if evidence.is_of_this_version else evidence.found.get(name, digest)
        if recorded.get(name) not in {digest, own}:
            yield f"sha256.{name}"
    if SETTINGS not in recorded:
        yield f"sha256.{SETTINGS}"
    if evidence.is_of_this_version:
        yield from (f"sha256.{name}" for name in told.keys() ^ names.keys())


def _counts(evidence: Evidence, remedy: str) -> Thing:
    rows, recorded = evidence.info.rows, evidence.summary.counts
    if min(recorded.values()) < 0:
        words = f"{JOURNAL} has more outcomes than the file has rows ({rows:,})."
        return Thing(name=COUNTS, standing=Standing.CHANGED, words=words, remedy=_RESTORE.format(name=JOURNAL) + ".")
    told = evidence.told if evidence.is_of_this_ending else None
    if told is not None and (words := _does_not_add_up(told)):
        return Thing(name=COUNTS, standing=Standing.CHANGED, words=words, remedy=remedy)
    return Thing(name=COUNTS, standing=Standing.AS_IT_WAS, words=f"They add up to {counted(rows, 'row')}.")


def _does_not_add_up(told: Mapping[str, Any]) -> str:
    """Say why the counts of a summary do not add up; empty when they do."""
    try:
        total, rows = sum(told["counts"].values()), told["input"]["rows"]
    except (AttributeError, KeyError, TypeError):
        return f"The counts in {SUMMARY} are none."
    says = f"The counts in {SUMMARY} add up to {total:,}, and the file has {counted(rows, 'row')}."
    return "" if total == rows else says


def _remark(evidence: Evidence) -> str:
    if evidence.told is None:
        return _NO_SUMMARY
    if not evidence.is_of_this_ending:
        return _NOT_ENDED
    if evidence.is_hashed:
        return ""
    return _IN_HASTE if "sha256" in evidence.told else _OLD_VERSION


def judged_without_journal(folder: Path, told: Mapping[str, Any] | None) -> Audit:
    """Judge a dry run, or a run whose journal is lost.

    Raises RunNotFoundError when there is no summary either, and OSError when the input cannot be read.
    """
    if told is None:
        raise RunNotFoundError(f"{folder} has neither a journal nor a {SUMMARY} that can be read: it is no run's.")
    is_dry = told.get("state") == RunState.DRY_RUN
    journal = Thing(name=RECORDS, standing=Standing.NOT_RECORDED) if is_dry else _lost()
    words = _does_not_add_up(told)
    return Audit(
        folder=folder,
        run_id=str(told.get("run_id", folder.name)),
        things=(
            *_told_input(told),
            journal,
            *(Thing(name=name, standing=Standing.NOT_RECORDED) for name in (SNAPSHOT, *RESULT_FILES)),
            Thing(name=COUNTS, standing=Standing.CHANGED if words else Standing.AS_IT_WAS, words=words),
        ),
        remark=_DRY if is_dry else "",
    )


def _lost() -> Thing:
    return Thing(
        name=RECORDS,
        standing=Standing.MISSING,
        words=f"{JOURNAL} is the record of the run: without it nothing can be derived.",
        remedy=f"{_RESTORE.format(name=JOURNAL)}; until then trust {RESULTS}, and do not run the file again.",
    )


def _told_input(told: Mapping[str, Any]) -> Iterator[Thing]:
    given = told.get("input")
    if isinstance(given, dict) and isinstance(given.get("path"), str) and isinstance(given.get("sha256"), str):
        yield _input(given["path"], given["sha256"])
