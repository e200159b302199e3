"""Fuzzing for a given time: `python -m tests.fuzz for SECONDS`; a finding again: `… run FILE`."""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import sys
import tempfile
import time
from base64 import b64decode, b64encode
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz import inputs
from tests.fuzz.target import outcome

ROUND = 1000
EVERY_S = 15


def fuzz(seconds: float, seed: int) -> int:
    """New records until the time is over, then a summary. Stops at the first finding, which it writes to a file."""
    begun, told, outcomes = time.monotonic(), 0.0, Counter[str]()
    print(f"seed {seed}")
    while (passed := time.monotonic() - begun) < seconds:
        if passed >= told:
            print(f"{passed:6.0f} s  {outcomes.total()} records: no finding", flush=True)
            told = passed + EVERY_S
        # A seed for each round, so that any of them can be made again by itself.
        rng = Random(f"{seed}/{outcomes.total()}")  # noqa: S311 - reproducible, not secret
        for _ in range(ROUND):
            record = inputs.record(rng)
            try:
                outcomes[outcome(record)] += 1
            except Exception as error:  # noqa: BLE001 - any at all is what is looked for
                return _tell(record, error)
    print(f"{passed:6.0f} s  {outcomes.total()} records: no finding")
    for name, number in sorted(outcomes.items()):
        print(f"{number:10}  {name}")
    return 0


def run(file: Path) -> int:
    """A finding again; succeeds once it is none any more."""
    print(outcome(json.loads(file.read_text(encoding="utf-8"))))
    return 0


def _tell(record: dict[str, Any], error: Exception) -> int:
    small = _smaller(record, type(error))
    text = json.dumps(small)
    folder = Path(tempfile.gettempdir()) / "ras-fuzz"
    folder.mkdir(exist_ok=True)
    file = folder / f"finding-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    file.write_text(text, encoding="utf-8")
    print(f"FOUND {type(error).__name__}: {str(error)[:500]}\nagain: make fuzz FILE={file}", file=sys.stderr)
    return 1


def _smaller(record: dict[str, Any], kind: type[Exception]) -> dict[str, Any]:
    """The record without whatever the finding does not need."""

    def still(value: Any) -> dict[str, Any] | None:
        content = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
        tried = {**record, "value": b64encode(content).decode()}
        try:
            outcome(tried)
        except Exception as error:  # noqa: BLE001 - as above
            return tried if isinstance(error, kind) else None
        return None

    try:
        document = json.loads(b64decode(record["value"]))
    except (KeyError, TypeError, ValueError):
        return record
    small = still(document) or record
    for path in reversed(inputs.paths(document)):
        without = copy.deepcopy(document)
        del inputs.holder_of(without, path)[path[-1]]
        if found := still(without):
            document, small = without, found
    return small


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    timed = commands.add_parser("for", help="look for records that break the decoder")
    timed.add_argument("seconds", type=float)
    timed.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4)))
    again = commands.add_parser("run", help="read a record that was found")
    again.add_argument("file", type=Path)
    arguments = parser.parse_args()
    try:
        return fuzz(arguments.seconds, arguments.seed) if arguments.command == "for" else run(arguments.file)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
