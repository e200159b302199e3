"""Histories outside of the test run: `python -m tests.convergence soak --seconds N`, `… run FILE`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from ras_local import stack
from ras_local.clients import dynamodb_at
from ras_local.servers import emulator
from ras_local.settings import StackDir

from tests.convergence import machine
from tests.convergence.backend import faulty, quiet
from tests.convergence.world import World
from tests.dynamodb import client
from tests.table import create_table_arguments

if TYPE_CHECKING:
    from result_aggregator.store.dynamodb_client import DynamoDB

TABLES = ("histories", "histories-new")
ROUND = 100


def soak(dynamodb: DynamoDB, seconds: int) -> None:
    """New histories until the time is over, a line a round; stops at the first that breaks a law."""
    session = faulty(dynamodb)
    begun, total, outcomes = time.monotonic(), 0, Counter[str]()
    while time.monotonic() - begun < seconds:
        machine_class = machine.on(dynamodb, session, TABLES)
        run_state_machine_as_test(
            machine_class,
            settings=settings(
                max_examples=ROUND,
                stateful_step_count=20,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        total += len(machine_class.finished)
        outcomes += sum((world.outcomes for world in machine_class.finished), machine.no_outcomes())
        passed = time.monotonic() - begun
        faults = sum(session.injected.values())
        print(
            f"{passed:6.0f} s  {total} histories, {outcomes.total()} records, {faults} faults: all converged"
        )


def run(dynamodb: DynamoDB, file: Path, times: int) -> None:
    """A written history again, several times, as threads may interleave otherwise. Raises DivergenceError."""
    session = faulty(dynamodb)
    steps = [json.loads(line) for line in file.read_text().splitlines()]
    for attempt in range(1, times + 1):
        world = World(dynamodb, session, TABLES, f"r{attempt}-{os.getpid()}")
        for step in [*steps, {"do": "check"}]:
            world.run(step)
    print(f"{file}: {len(steps)} steps converged {times} times")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.convergence", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    soaking = commands.add_parser("soak", help="generate histories for a given time")
    soaking.add_argument("--seconds", type=int, default=600)
    running = commands.add_parser("run", help="run a history that a failing test has written")
    running.add_argument("file", type=Path)
    running.add_argument("--times", type=int, default=20)
    arguments = parser.parse_args()
    with quiet(), tempfile.TemporaryDirectory() as folder:
        state = StackDir(Path(folder))
        state.create()
        try:
            endpoint_url, wait = emulator.start(state)
            wait()
            for table in TABLES:
                dynamodb_at(endpoint_url).create_table(**create_table_arguments(table))
            # Without attempts of its own: what fails shall be seen by the service.
            dynamodb = client(endpoint_url, attempts=1)
            if arguments.command == "soak":
                soak(dynamodb, arguments.seconds)
            else:
                run(dynamodb, arguments.file, arguments.times)
        except KeyboardInterrupt:
            return 130
        finally:
            stack.down(state)
    return 0


if __name__ == "__main__":
    sys.exit(main())
