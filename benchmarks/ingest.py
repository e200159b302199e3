"""Ingest: events a second and CPU per event of the service and of two baselines, side by side.

Every system is in a process of its own and takes its turn with the same events, round after round; what is told is the
median round. CPU is of the system's process alone, without table, broker and database. *Fresh* events are new,
*half duplicates* are half new, *replayed* ones were all in before.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from statistics import median
from typing import TYPE_CHECKING

from ras.terminal import expected_failures
from ras_local.clients import dynamodb_at

from benchmarks import servers, service, workload
from benchmarks.baselines import idempotency, relational
from benchmarks.measured_process import Took, Worker
from benchmarks.report import Report, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.samples import Line

SERVICE = "the service"
IDEMPOTENCY = "(a) idempotency per record"
RELATIONAL = "(b) PostgreSQL and Redis"

STATES = ("fresh", "half duplicates", "replayed")
PLACES = ("dynoxide", "3 ms away")
SIZES = (100, 1000, 10_000)


@dataclass
class Cell:
    """One combination, and what a round of each system took per event. Only the service is measured where `alone`."""

    mix: str
    size: int
    place: str
    state: str
    rounds: dict[str, list[Took]] = field(default_factory=dict)

    def took(self, system: str) -> Took | None:
        """The median round, per event; None where it was not measured."""
        rounds = self.rounds.get(system)
        if not rounds:
            return None
        return Took(median(one.seconds for one in rounds), median(one.cpu_seconds for one in rounds))


@dataclass(frozen=True)
class System:
    """A system under measurement: where its writes go, and how many events of a round it takes at most."""

    name: str
    worker: Worker
    at_most: int | None = None


def rounds_of(state: str, mix: str, name: str, events: int) -> list[list[Line]]:
    """The batches of a round. `name` is that of the fresh round, whose batches a replay brings again."""
    batches = workload.topic_of(mix, name, events)
    match state:
        case "fresh" | "replayed":
            return batches
    half = len(batches) // 2
    new = workload.topic_of(mix, f"{name}-new", events)[half:]
    return list(chain.from_iterable(zip(batches[:half], new, strict=False)))


def measure(cell: Cell, systems: list[System], events: int, rounds: int) -> None:
    """Let each system take its turn, the first of them changing."""
    for number in range(rounds):
        turn = systems[number % len(systems) :] + systems[: number % len(systems)]
        for system in turn:
            # A slow system takes fewer events, and each round's replay finds those that its fresh round brought in.
            part = min(events, system.at_most or events)
            name = f"{cell.mix}-{cell.size}-{number}-{part}"
            made = workload.invocations(rounds_of(cell.state, cell.mix, name, part), cell.size)
            took = system.worker.run(*made)
            count = sum(map(workload.records_in, made))
            per_event = Took(took.seconds / count, took.cpu_seconds / count)
            cell.rounds.setdefault(system.name, []).append(per_event)
        print(".", end="", file=sys.stderr, flush=True)


def cells(sizes: Sequence[int]) -> Iterator[Cell]:
    """All combinations; a replay comes after the fresh round that it replays."""
    for size in sizes:
        for mix in workload.MIXES:
            for place in PLACES:
                for state in STATES:
                    yield Cell(mix, size, place, state)


def run(sizes: Sequence[int], rounds: int, report: Report) -> list[Cell]:
    """Start everything, measure all cells."""
    done: list[Cell] = []
    with ExitStack() as stack:
        places = {
            PLACES[0]: stack.enter_context(servers.dynamodb()),
            PLACES[1]: stack.enter_context(servers.stand_in()),
        }
        for table in idempotency.TABLES:
            dynamodb_at(places[PLACES[0]]).create_table(**table)
        systems: dict[str, list[System]] = {}
        consumer: list[System] = []
        try:
            postgres = stack.enter_context(servers.postgres())
            redis = stack.enter_context(servers.redis())
            relational.prepare(postgres)
            kafka = stack.enter_context(servers.kafka())
            worker = Worker(relational.make_consumer, postgres, redis, kafka)
            consumer.append(System(RELATIONAL, stack.enter_context(worker), at_most=500))
        except servers.MissingServerError as error:
            report.left_out.append(f"{RELATIONAL}: {error.message}. {error.advice}")
        for place, url in places.items():
            settings = servers.functions_settings(url)
            systems[place] = [
                System(SERVICE, stack.enter_context(Worker(service.make_ingest, settings))),
                System(IDEMPOTENCY, stack.enter_context(Worker(idempotency.make, settings)), at_most=120),
            ]
        for place in PLACES:
            # Connections are opened and code is warm before anything is measured.
            for system in [*systems[place], *(consumer if place == PLACES[0] else [])]:
                system.worker.run(
                    *workload.invocations(workload.topic_of("essay-heavy", f"warm-{place}", 66), 100)
                )
        for cell in cells(sizes):
            beside = systems[cell.place] + (consumer if cell.place == PLACES[0] else [])
            if cell.size == 10_000:
                # What the baselines do for a record does not depend on how many come with it, and takes minutes here.
                beside = [system for system in beside if system.name == SERVICE]
            # So many that a topic of the mix fills an invocation.
            events = cell.size * 33 // 30 if cell.size > 100 else 330
            measure(cell, beside, events, 1 if cell.size == 10_000 else rounds)
            done.append(cell)
    print(file=sys.stderr)
    return done


def tables(done: Sequence[Cell]) -> list[Table]:
    """Events a second and CPU per event of every cell, and the ratios."""
    systems = (SERVICE, IDEMPOTENCY, RELATIONAL)
    rate = Table(
        "rate",
        "Events a second, one invocation after the other",
        ["events", *systems],
        note="(b) has its database on the same machine in both places; it is measured once, beside dynoxide.",
    )
    cpu = Table(
        "cpu",
        "CPU milliseconds per event, of the system's own process",
        ["events", *systems, "(a) ÷ service", "(b) ÷ service"],
    )
    for cell in done:
        label = f"{cell.mix}, {cell.size:,} a batch, {cell.state}, {cell.place}"
        took = [cell.took(system) for system in systems]
        rate.rows.append([label, *(1 / one.seconds if one else None for one in took)])
        ours = took[0]
        ratios = [one.cpu_seconds / ours.cpu_seconds if one and ours else None for one in took[1:]]
        cpu.rows.append([label, *(1000 * one.cpu_seconds if one else None for one in took), *ratios])
    return [rate, cpu]


@expected_failures
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", default=",".join(map(str, SIZES)), help="records a batch (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="of each cell but the largest (default: %(default)s)"
    )
    options = parser.parse_args()
    report = Report("ingest", "make bench-ingest")
    done = run([int(size) for size in options.sizes.split(",")], options.rounds, report)
    report.tables = tables(done)
    report.data["cells"] = [
        {"mix": cell.mix, "size": cell.size, "place": cell.place, "state": cell.state, "rounds": cell.rounds}
        for cell in done
    ]
    shown = [cell for cell in done if cell.size == 1000 and cell.place == PLACES[0]] or done
    report.plot(
        "CPU per ingested event, 1,000 a batch, dynoxide",
        "milliseconds",
        {
            f"{cell.mix}, {cell.state}": {
                system: 1000 * took.cpu_seconds
                for system in (SERVICE, IDEMPOTENCY, RELATIONAL)
                if (took := cell.took(system))
            }
            for cell in shown
        },
    )
    report.write()


if __name__ == "__main__":
    main()
