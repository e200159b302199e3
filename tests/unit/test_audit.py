"""The offline audit: a known advisory fails, and what nobody knows is said."""

from __future__ import annotations

import json
from datetime import date
from typing import TYPE_CHECKING

from infra.audit import LOCKS, NPM_LOCK, condensed, judged, npm_pins, pins

if TYPE_CHECKING:
    from pathlib import Path

TODAY = date(2026, 11, 23)
# As pip-audit 2 writes it with `-f json`.
REPORT = json.dumps(
    {
        "dependencies": [
            {"name": "Good_Package", "version": "1.0", "vulns": []},
            {
                "name": "bad",
                "version": "2.0",
                "vulns": [
                    {"id": "PYSEC-1", "fix_versions": ["2.1"], "aliases": ["CVE-1"], "description": "bad"}
                ],
            },
            {"name": "unasked", "skip_reason": "not found"},
        ],
        "fixes": [],
    }
)


# As npm 10 writes it with `audit --json`: `b` has an advisory, `a` depends on it.
NPM = {"node_modules/a": "npm:a@1.0.0", "node_modules/a/node_modules/b": "npm:b@2.0.0"}
NPM_REPORT = json.dumps(
    {
        "auditReportVersion": 2,
        "vulnerabilities": {
            "a": {"name": "a", "via": ["b"], "nodes": ["node_modules/a"]},
            "b": {
                "name": "b",
                "via": [{"source": 1, "title": "bad", "url": "https://github.com/advisories/GHSA-1"}],
                "nodes": ["node_modules/a/node_modules/b"],
            },
        },
        "metadata": {},
    }
)


def snapshot(day: date = TODAY, *reports: str) -> str:
    return json.dumps(condensed(reports or [REPORT], NPM, day))


def test_known_advisory_fails() -> None:
    """The pin and the advisory's id are named; a pin without one passes in silence."""
    assert judged({"bad==2.0"}, snapshot(), TODAY) == (["bad==2.0 has a published advisory: PYSEC-1"], [])
    assert judged({"good-package==1.0"}, snapshot(), TODAY) == ([], [])


def test_npm_pins_are_judged_alike() -> None:
    """The package that has the advisory, by its own version; what depends on it is not blamed as well."""
    kept = snapshot(TODAY, REPORT, NPM_REPORT)

    assert judged({"npm:b@2.0.0"}, kept, TODAY) == (["npm:b@2.0.0 has a published advisory: GHSA-1"], [])
    assert judged({"npm:a@1.0.0", "good-package==1.0"}, kept, TODAY) == ([], [])


def test_a_registry_that_knows_no_advisories_has_said_nothing() -> None:
    """npm's error is no clean answer."""
    kept = snapshot(TODAY, REPORT, json.dumps({"message": "404 Not Found", "error": {"summary": ""}}))

    assert "NOT AUDITED" in judged({"npm:a@1.0.0"}, kept, TODAY)[1][0]


def test_npm_pins_are_read_from_the_lock_file(tmp_path: Path) -> None:
    """Nested and scoped ones too, and not the project itself."""
    lock = tmp_path / "package-lock.json"
    packages = {
        "": {"name": "project"},
        "node_modules/@s/c": {"version": "1.0.0"},
        "node_modules/@s/c/node_modules/d": {"version": "2.0.0"},
    }
    lock.write_text(json.dumps({"packages": packages}))

    assert set(npm_pins(lock).values()) == {"npm:@s/c@1.0.0", "npm:d@2.0.0"}
    assert any(pin.startswith("npm:aws-cdk@") for pin in npm_pins(NPM_LOCK).values())


def test_what_is_not_known_is_said() -> None:
    """A new pin, one that the database skipped, and no snapshot at all: never a silent pass."""
    for pin in ("bad==2.1", "unasked==1.0"):
        failures, (warning,) = judged({pin}, snapshot(), TODAY)
        assert not failures
        assert "NOT AUDITED" in warning
        assert pin in warning
    assert judged({"a==1"}, None, TODAY)[1] == ["NOT AUDITED: no advisories were ever fetched for 1 pins"]


def test_old_answers_are_said_to_be_old() -> None:
    """What was clean a month ago may not be now."""
    assert judged({"good-package==1.0"}, snapshot(date(2026, 10, 24)), TODAY) == ([], [])
    _, (warning,) = judged({"good-package==1.0"}, snapshot(date(2026, 10, 23)), TODAY)
    assert "31 days old" in warning


def test_pins_are_read_from_lock_files(tmp_path: Path) -> None:
    """With extras, markers and hashes; what this machine would not install does not count."""
    lock = tmp_path / "requirements.txt"
    lock.write_text(
        "a-b[extra]==1.0 \\\n    --hash=sha256:00\n"
        "C.d==2.0 ; python_version >= '3' \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n    # via a-b\n"
        "windows-only==3.0 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
    )

    assert pins([lock]) == {"a-b==1.0", "c-d==2.0"}


def test_every_lock_file_is_audited() -> None:
    """What is deployed and what the machine itself runs."""
    found = {f"{lock.parent.name}/{lock.name}" for lock in LOCKS}

    assert {"dependencies/requirements.txt", "client/requirements.txt", "requirements/dev.txt"} <= found
    assert any(pin.startswith("boto3==") for pin in pins(LOCKS))


def test_every_pin_has_a_hash() -> None:
    """A pin without one could be replaced by whoever holds the index."""
    for lock in LOCKS:
        pinned = [
            block for block in lock.read_text().split("\n") if "==" in block and not block.startswith(" ")
        ]
        assert pinned
        assert all(line.rstrip().endswith("\\") for line in pinned), lock
