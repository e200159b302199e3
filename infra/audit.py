"""The pinned dependencies against published advisories, offline.

`make audit` asks the advisory database, which needs a network, and keeps what it said of every pin in
`requirements/advisories.json`. `make lint` runs this without one: it fails for a pin with a known advisory, and says
loudly what it cannot tell, as no answer must not look like a good one.
"""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LOCKS = (
    *sorted(ROOT.glob("layers/*/requirements.txt")),
    *sorted(ROOT.glob("requirements/*.txt")),
)
NPM_LOCK = ROOT / "package-lock.json"
SNAPSHOT = ROOT / "requirements/advisories.json"
FRESH_DAYS = 30

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]]*\])?==[^\\\n]+)", re.MULTILINE)


def pins(locks: Iterable[Path]) -> set[str]:
    """Every `name==version` of lock files that this machine would install."""
    found = set()
    for lock in locks:
        for text in _PIN.findall(lock.read_text()):
            pin = Requirement(text.split(" #")[0].strip())
            if pin.marker is None or pin.marker.evaluate():
                found.add(f"{_normal(pin.name)}{pin.specifier}")
    return found


def npm_pins(lock: Path) -> dict[str, str]:
    """Where each package of an npm lock file lies -> `npm:name@version`, which no Python package is called."""
    packages: dict[str, dict[str, str]] = json.loads(lock.read_text())["packages"]
    return {
        path: f"npm:{path.rpartition('node_modules/')[2]}@{package['version']}"
        for path, package in packages.items()
        if path  # the project itself has none
    }


def condensed(reports: Iterable[str], npm: Mapping[str, str], today: date) -> dict[str, object]:
    """What is kept of pip-audit's and npm's JSON reports: the day, and the advisories of every pin that was asked about.

    `npm` is what `npm_pins` says of the lock file that npm was asked about.
    """
    asked: dict[str, list[str]] = {}
    for text in reports:
        report = json.loads(text)
        if "dependencies" in report:
            asked |= _of_python(report)
        elif "auditReportVersion" in report:
            asked |= _of_npm(report, npm)
        # Anything else is an answer of a registry that knows no advisories: nothing was asked.
    return {"fetched": today.isoformat(), "advisories": dict(sorted(asked.items()))}


def _of_python(report: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        f"{_normal(one['name'])}=={one['version']}": sorted({advisory["id"] for advisory in one["vulns"]})
        for one in report["dependencies"]
        # A dependency that was skipped has a reason instead of a version.
        if "version" in one
    }


def _of_npm(report: Mapping[str, Any], npm: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {pin: set() for pin in npm.values()}
    for package in report["vulnerabilities"].values():
        # A name alone stands for a dependency that has the advisory, and is listed by itself.
        named = {via["url"].rpartition("/")[2] for via in package["via"] if isinstance(via, dict)}
        for path in package["nodes"]:
            found[npm[path]] |= named
    return {pin: sorted(advisories) for pin, advisories in found.items()}


def judged(pinned: set[str], snapshot: str | None, today: date) -> tuple[list[str], list[str]]:
    """Failures and warnings about `pinned`, by a snapshot's text."""
    if snapshot is None:
        return [], [f"NOT AUDITED: no advisories were ever fetched for {len(pinned)} pins"]
    kept = json.loads(snapshot)
    advisories: dict[str, list[str]] = kept["advisories"]
    failures = [
        f"{pin} has a published advisory: {', '.join(advisories[pin])}"
        for pin in sorted(pinned)
        if advisories.get(pin)
    ]
    warnings = []
    if unknown := sorted(pinned - advisories.keys()):
        warnings.append(
            f"NOT AUDITED: {len(unknown)} pins are newer than the advisories: {', '.join(unknown)}"
        )
    age = (today - date.fromisoformat(kept["fetched"])).days
    if age > FRESH_DAYS:
        warnings.append(f"advisories are {age} days old, of {kept['fetched']}")
    return failures, warnings


def main(arguments: Sequence[str]) -> int:
    """Judge the lock files; or, given the tools' reports, keep what they say first. 1 for a known advisory."""
    today = datetime.now(UTC).date()
    npm = npm_pins(NPM_LOCK)
    if arguments:
        kept = condensed((Path(name).read_text() for name in arguments), npm, today)
        SNAPSHOT.write_text(json.dumps(kept, indent=1) + "\n")
    snapshot = SNAPSHOT.read_text() if SNAPSHOT.exists() else None
    pinned = pins(LOCKS) | set(npm.values())
    failures, warnings = judged(pinned, snapshot, today)
    for line in failures:
        print(f"audit: {line}", file=sys.stderr)
    for line in warnings:
        print(f"audit: {line}; run `make audit` where there is a network", file=sys.stderr)
    if not failures and not warnings:
        print(f"audit: {len(pinned)} pins without a published advisory")
    return 1 if failures else 0


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
