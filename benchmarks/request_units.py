"""Calls and request units per event, per ranking and per query, of the service and of a baseline: exact counts.

A meter between each system and dynoxide asks for ConsumedCapacity and adds it up; `tests/handlers/test_request_units.py`
holds the same counts against the budgets.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ras.terminal import expected_failures
from ras_local.clients import dynamodb_at

from benchmarks import servers, service, workload
from benchmarks.baselines import idempotency, per_essay
from benchmarks.measured_process import Worker
from benchmarks.report import Cell, Report, Table
from benchmarks.unit_meter import Meter, Metered
from tests import samples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.samples import Line

SERVICE = "the service"
IDEMPOTENCY = "(a) idempotency per record"
RANKED = (30, 1000, 5000)
LISTED = 50


class Measuring:
    """One system behind the meter."""

    def __init__(self, meter: Meter, ingest: Worker, query: Worker) -> None:
        self._meter, self._ingest, self._query = meter, ingest, query

    def deliver(self, *lines: Line) -> Metered:
        """What it takes to bring these in."""
        self._meter.take()
        self._ingest.run(*workload.invocations([lines], 1000))
        return self._meter.take()

    def ask(self, request: dict[str, Any]) -> Metered:
        """What it takes to answer."""
        self._meter.take()
        self._query.run(request)
        return self._meter.take()


def results(batch_id: str, at: str | None = None) -> list[Line]:
    """A batch's spellcheck results; `at` another time they are other events."""
    found = [line for line in workload.life("essay-heavy", batch_id) if line.topic == workload.SPELLCHECKED]
    if at is None:
        return found
    return [line._replace(value=samples.envelope(line.value["data"], at=at)) for line in found]


def ingest(system: Measuring, name: str) -> list[list[Cell]]:
    """Rows of a table: what is brought in, and calls, write and read units per event."""
    rows: list[list[Cell]] = []

    def row(what: str, taken: Metered, events: int) -> None:
        units = [taken.write_units / events, taken.read_units / events]
        rows.append([f"{what}, {name}", taken.count / events, *units])

    new = results("units")
    count = len(new)
    row("essay result (of 30 of a batch at once)", system.deliver(*new), count)
    row("duplicate", system.deliver(*new), count)
    row("older result", system.deliver(*results("units", "2026-03-02T07:00:00Z")), count)
    one = results("units-alone")[:1]
    row("essay result alone", system.deliver(*one), 1)
    for essays in RANKED:
        ids = [f"units-essay-{number:04d}" for number in range(essays)]
        row(f"ranking of {essays:,}", system.deliver(workload.ranking(f"units-{essays}", ids, 0)), 1)
        row(f"newer ranking of {essays:,}", system.deliver(workload.ranking(f"units-{essays}", ids, 1)), 1)
    life = list(workload.life("essay-heavy", "units-life"))
    row("any event of a batch's life (33)", system.deliver(*life), len(life))
    return rows


def meetings(system: Measuring) -> list[list[Cell]]:
    """Rows of the same table: results that name no batch, what claims their essays, and the batch's times with each."""
    rows: list[list[Cell]] = []

    def row(what: str, *lines: Line, events: int = 1) -> None:
        taken = system.deliver(*lines)
        rows.append(
            [
                f"{what}, {SERVICE}",
                taken.count / events,
                taken.write_units / events,
                taken.read_units / events,
            ]
        )

    essay, waits, *others = workload.ids(32)
    row("slot assignment", slot := workload.slot(essay, "units-a", 1))
    row("slot assignment, again", slot)
    row("result that names no batch, unclaimed", workload.analysed(waits, 2))
    row("slot assignment where a result waits", workload.slot(waits, "units-a", 3))
    row("result that names no batch, claimed by one", result := workload.analysed(essay, 4))
    row("result that names no batch, again", result)
    row("result that names no batch, older", workload.analysed(essay, 3))
    system.deliver(workload.slot(essay, "units-b", 5))
    row("result that names no batch, claimed by two", workload.analysed(essay, 6))
    row("summary of 30", workload.summary("units-c", others[:25], others[25:], 7))
    row("30 results that name no batch, each", *(workload.analysed(one, 8) for one in others), events=30)
    return rows


def queries(system: Measuring, name: str, requests: Sequence[tuple[str, dict[str, Any]]]) -> list[list[Cell]]:
    """Rows of a table: what is asked, and calls and read units."""
    found = [(what, system.ask(request)) for what, request in requests]
    return [[f"{what}, {name}", taken.count, taken.read_units] for what, taken in found]


@expected_failures
def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    report = Report("units", "make bench-units")
    written = Table("write", "Per event", ["event", "calls", "write units", "read units"])
    asked = Table("read", "Per query", ["query", "calls", "read units"])
    with ExitStack() as running:
        url = running.enter_context(servers.dynamodb())
        meter = running.enter_context(Meter(url))
        for table in idempotency.TABLES:
            dynamodb_at(url).create_table(**table)
        settings = servers.functions_settings(meter.url)
        workers = {
            name: running.enter_context(Worker(make, settings))
            for name, make in (
                ("ingest", service.make_ingest),
                ("query", service.make_query),
                ("baseline", idempotency.make),
                ("per essay", per_essay.make),
            )
        }
        ours = Measuring(meter, workers["ingest"], workers["query"])
        theirs = Measuring(meter, workers["baseline"], workers["per essay"])
        for name, system in ((SERVICE, ours), (IDEMPOTENCY, theirs)):
            written.rows += ingest(system, name)
        compared = list(written.rows)
        written.rows += meetings(ours)
        statuses = []
        for essays in RANKED:
            batch_id = f"asked-{essays}"
            ours.deliver(*workload.life("essay-heavy", batch_id, essays))
            per_essay.fill(servers.functions_settings(url), batch_id, essays)
            statuses.append(
                (f"status of {essays:,} essays", service.request(service.STATUS, batch_id=batch_id))
            )
        listed = [next(workload.life("essay-heavy", f"listed-{number}")) for number in range(LISTED)]
        for line in listed:
            line.value["data"]["user_id"] = "units-teacher"
        ours.deliver(*listed)
        page = service.request(service.LISTING, {"limit": "20"}, user_id="units-teacher")
        asked.rows += queries(ours, SERVICE, [*statuses, ("page of 20 of 50 batches", page)])
        asked.rows += queries(theirs, "a model per essay", statuses)
    report.tables = [written, asked]
    report.plot(
        "Write units per event",
        "units",
        {
            what: {
                name: next((row[2] for row in compared if row[0] == f"{what}, {name}"), None)  # type: ignore[misc] # a column of numbers
                for name in (SERVICE, IDEMPOTENCY)
            }
            for what in dict.fromkeys(str(row[0]).rpartition(", ")[0] for row in compared)
        },
    )
    report.write()


if __name__ == "__main__":
    main()
