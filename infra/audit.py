"""The pinned dependencies against published advisories, offline.

`make audit` asks the advisory database, which needs a network, and keeps what it said of every pin in
`requirements/advisories.json`. `make lint` runs this without one: it fails for a pin with a known advisory, and says
loudly what it cannot tell, as no answer must not look like a good one.
"""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LOCKS = (
    *sorted(ROOT.glob("layers/*/requirements.txt")),
    *sorted(ROOT.glob("requirements/*.txt")),
)
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


def condensed(reports: Iterable[str], today: date) -> dict[str, object]:
    """What is kept of pip-audit's JSON reports: the day, and the advisories of every pin that was asked about."""
    asked: dict[str, list[str]] = {}
    for report in reports:
        for one in json.loads(report)["dependencies"]:
            # A dependency that was skipped has a reason instead of a version.
            if "version" in one:
                pin = f"{_normal(one['name'])}=={one['version']}"
                asked[pin] = sorted({advisory["id"] for advisory in one["vulns"]})
    return {"fetched": today.isoformat(), "advisories": dict(sorted(asked.items()))}


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
    """Judge the lock files; or, given pip-audit's reports, keep what they say first. 1 for a known advisory."""
    today = datetime.now(UTC).date()
    if arguments:
        kept = condensed((Path(name).read_text() for name in arguments), today)
        SNAPSHOT.write_text(json.dumps(kept, indent=1) + "\n")
    snapshot = SNAPSHOT.read_text() if SNAPSHOT.exists() else None
    pinned = pins(LOCKS)
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
