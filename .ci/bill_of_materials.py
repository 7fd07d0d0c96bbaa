"""What an installation of bulkredeem with all its extras brings along, as a CycloneDX document and as a list to read.

`python .ci/bill_of_materials.py DOCUMENT LIST` writes both; `make sbom` calls it. cyclonedx-py describes the whole
environment; what only development needs is taken out again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import metadata, requires
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parent.parent
_HEAD: Final = """\
# Licences

What an installation with all extras brings along on Linux with Python 3.11, and under which licence each is, by its own
word. `make sbom` writes this list anew, and `dist/bulkredeem.cdx.json` with the versions (CycloneDX).

| package | licence |
| --- | --- |
"""


def sbom() -> dict[str, Any]:
    """Return the CycloneDX document: bulkredeem, and what it needs, directly or not."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(ROOT / "pyproject.toml")]
    command += ["--output-reproducible", "--no-validate", "--output-file", "-", sys.executable]
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  our own command
    document: dict[str, Any] = json.loads(done.stdout)
    wanted = set(_brought_along())
    document["components"] = [each for each in document["components"] if canonicalize_name(each["name"]) in wanted]
    kept = {document["metadata"]["component"]["bom-ref"], *(each["bom-ref"] for each in document["components"])}
    document["dependencies"] = [
        each | {"dependsOn": [need for need in each.get("dependsOn", ()) if need in kept]}
        for each in document["dependencies"]
        if each["ref"] in kept
    ]
    return document


def licences(document: Mapping[str, Any]) -> str:
    """Return the list to read of a CycloneDX document."""
    lines = [f"| {each['name']} | {_licence_of(each)} |\n" for each in document["components"]]
    return _HEAD + "".join(sorted(lines, key=str.casefold))


def _brought_along() -> Iterator[str]:
    """Yield the name of each package that bulkredeem needs here with all its extras, directly or not."""
    own = set(metadata("bulkredeem").get_all("Provides-Extra") or ())
    found, waiting = set[tuple[str, str]](), [("bulkredeem", extra) for extra in ("", *own)]
    while waiting:
        if (each := waiting.pop()) in found:
            continue
        found.add(each)
        name, extra = each
        for need in map(Requirement, requires(name) or ()):
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                yield canonicalize_name(need.name)
                waiting += [(need.name, more) for more in ("", *need.extras)]


def _licence_of(component: Mapping[str, Any]) -> str:
    named = [each.get("expression") or _name_of(each["license"]) for each in component.get("licenses", ())]
    return ", ".join(sorted(set(named))) or "not said"


def _name_of(licence: Mapping[str, str]) -> str:
    return licence.get("id") or licence["name"].removeprefix("License :: OSI Approved :: ")


def main() -> None:
    """Write both."""
    document = sbom()
    for path, text in zip(
        map(Path, sys.argv[1:]),
        (json.dumps(document, indent=1, sort_keys=True) + "\n", licences(document)),
        strict=True,
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)  # noqa: T201  what was asked for


if __name__ == "__main__":
    main()
