"""Cold start: what a handler's imports take, by package, beside importing boto3, pydantic and all of Powertools' event handler.

Each import is a process of its own with `-X importtime`, round after round by turns; what is told is the median round.
Times are microseconds of the modules themselves, from where the interpreter is up. Byte code is compiled already, as in
a layer. Memory is what the process grew by at its highest.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from statistics import median

from ras.state import REPOSITORY
from ras.terminal import expected_failures
from result_aggregator.names import ENV_TRACE_DISABLED

from benchmarks.report import Report, Table
from benchmarks.service import FUNCTIONS

BASELINE = "boto3, pydantic, Powertools with its event handler"
BASELINE_STATEMENT = "import boto3, pydantic, aws_lambda_powertools, aws_lambda_powertools.event_handler"
BUDGET = 0.5

OTHER = "others"
_SHOWN = 10
"""Packages that the table names; those that take the most."""

STANDARD = "standard library"

_LINE = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)")
# Not what getrusage says, which begins with the process that this one was forked from.
_AFTER = "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"


@dataclass(frozen=True)
class Import:
    """One import: microseconds by package, and the process's memory at its highest."""

    by_package: dict[str, int]
    peak_kilobytes: int

    @property
    def milliseconds(self) -> float:
        return sum(self.by_package.values()) / 1000


# As Lambda sets it: X-Ray's SDK is loaded in Lambda alone, where the stage has tracing on.
_IN_LAMBDA = {"LAMBDA_TASK_ROOT": "/var/task"}
TRACED = ", tracing on"


def measure(statement: str, folder: str = "", *, tracing: bool = False) -> Import:
    """Import in a new process; `folder` is where it looks first."""
    path = [folder] if folder else []
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"{statement}\n{_AFTER}"],
        cwd=REPOSITORY,
        env={
            **os.environ,
            **_IN_LAMBDA,
            ENV_TRACE_DISABLED: "false" if tracing else "true",
            "PYTHONPATH": os.pathsep.join([*path, "layers/shared/python"]),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    lines = _LINE.findall(done.stderr)
    # What comes before `site` is in, is the interpreter's own start.
    started = next(place for place, (_, module) in enumerate(lines) if module == "site")
    found: Counter[str] = Counter()
    for microseconds, module in lines[started + 1 :]:
        found[_package(module)] += int(microseconds)
    return Import(dict(found), int(done.stdout.split()[-1]))


def _package(module: str) -> str:
    top = module.partition(".")[0]
    # Pydantic's other half, and the handlers, which are the service's.
    top = {"pydantic_core": "pydantic", "handler": "result_aggregator"}.get(top, top)
    return STANDARD if top in sys.stdlib_module_names else top


@expected_failures
def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=11, help="of each import (default: %(default)s)")
    options = parser.parse_args()
    wanted = {
        name + (TRACED if tracing else ""): ("import handler", f"functions/{name}", tracing)
        for name in (*FUNCTIONS, "query")
        for tracing in (False, True)
    }
    wanted[BASELINE] = (BASELINE_STATEMENT, "", False)
    for statement, folder, tracing in wanted.values():
        measure(statement, folder, tracing=tracing)
    empty = min(measure("pass").peak_kilobytes for _ in range(3))
    rounds: dict[str, list[Import]] = {name: [] for name in wanted}
    for number in range(options.rounds):
        names = list(wanted)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            statement, folder, tracing = wanted[name]
            rounds[name].append(measure(statement, folder, tracing=tracing))
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    took = {name: median(one.milliseconds for one in found) for name, found in rounds.items()}
    report = Report("cold_start", "make bench-cold-start")
    whole = Table(
        "whole",
        "Imports",
        ["what", "milliseconds", "of the baseline", "memory, MB"],
        note=f"The budget is {BUDGET:.0%} of the baseline.",
    )
    most: Counter[str] = Counter()
    for found in rounds.values():
        for package, microseconds in found[0].by_package.items():
            most[package] = max(most[package], microseconds)
    named = [package for package, _ in most.most_common(_SHOWN)]
    split = Table("split", "Milliseconds by package", ["what", *named, OTHER])
    for name, found in rounds.items():
        memory = median(one.peak_kilobytes for one in found) - empty
        whole.rows.append([name, took[name], f"{took[name] / took[BASELINE]:.0%}", memory / 1024])
        parts = [median(one.by_package.get(package, 0) for one in found) / 1000 for package in named]
        split.rows.append([name, *parts, max(took[name] - sum(parts), 0.0)])
    report.tables = [whole, split]
    report.plot("Imports", "milliseconds", {name: {"imports": ms} for name, ms in took.items()})
    report.write()
    return 0 if all(took[name] <= BUDGET * took[BASELINE] for name in took if name != BASELINE) else 1


if __name__ == "__main__":
    sys.exit(main())
