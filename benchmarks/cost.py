"""Cost: dollars per million essay results and per million queries, from what the other benchmarks measured last.

Reads what `make bench-ingest`, `make bench-units` and `make bench-query` wrote, and runs nothing. Prices are us-east-1's.
A function of M MB has M/1769 of a processor ("Configure Lambda function memory": one at 1,769 MB), so the processor
time that was measured on a whole one takes so much longer; what it waited stays. The relational baseline's process is
put at what Lambda asks for a whole processor; its database and cache are paid by the hour beside that, whatever comes.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

from ras.errors import NotFoundError
from ras.terminal import expected_failures

from benchmarks import ingest, query, request_units, workload
from benchmarks.report import Report, Table, read
from infra.settings import Settings

# On demand, us-east-1, as of 2025 and 2026; per request unit, request, GB-second (arm64), GB.
WRITE_UNIT = 0.625e-6
READ_UNIT = 0.125e-6
INVOCATION = 0.20e-6
GB_SECOND = 1.33334e-5
API_REQUEST = 3.50e-6
MSK_GB_IN_AND_OUT = 0.10 + 0.05

PROCESSOR_MB = 1769
MILLION = 1_000_000


@dataclass(frozen=True)
class Measured:
    """Seconds by the clock and of the processor, on a whole one."""

    seconds: float
    cpu_seconds: float

    def in_function(self, memory_mb: int) -> float:
        """Seconds that Lambda bills."""
        share = min(memory_mb / PROCESSOR_MB, 1)
        return max(self.seconds - self.cpu_seconds, 0) + self.cpu_seconds / share

    def on_processor(self) -> float:
        """Dollars for its processor time alone, at Lambda's price."""
        return self.cpu_seconds * PROCESSOR_MB / 1024 * GB_SECOND


def function(took: Measured, times: float, memory_mb: int) -> float:
    """Dollars of an invocation that does something so many times."""
    return INVOCATION + memory_mb / 1024 * took.in_function(memory_mb) * times * GB_SECOND


def results(found: dict[str, Any], write_units: dict[str, float], memory_mb: int, size: int) -> Table:
    """A million fresh spellcheck results, `size` an invocation."""
    made = Table(
        "results",
        f"Dollars per million essay results (batches of {size:,}, {memory_mb} MB, fresh)",
        ["system", "DynamoDB", "Lambda or processor", "MSK data", "together"],
        note="Without what costs the same per hour whatever comes: pollers, cluster, endpoints; (b)'s database and cache.",
    )
    record = next(
        line for line in workload.life("essay-heavy", "cost") if line.topic == workload.SPELLCHECKED
    )
    msk = MILLION * len(record.encoded() + record.key.encode()) / 2**30 * MSK_GB_IN_AND_OUT
    for system in (ingest.SERVICE, ingest.IDEMPOTENCY, ingest.RELATIONAL):
        place = ingest.PLACES[0] if system == ingest.RELATIONAL else ingest.PLACES[1]
        took = _of_cell(found, system, place, size)
        if took is None:
            continue
        if system == ingest.RELATIONAL:
            table, worked = 0.0, MILLION * took.on_processor()
        else:
            table = MILLION * WRITE_UNIT * write_units[system]
            worked = MILLION / size * function(took, size, memory_mb)
        made.rows.append([system, table, worked, msk, table + worked + msk])
    return made


def _of_cell(found: dict[str, Any], system: str, place: str, size: int) -> Measured | None:
    for cell in found["data"]["cells"]:
        where = (cell["mix"], cell["state"], cell["place"], cell["size"])
        if where == ("essay-heavy", "fresh", place, size) and system in cell["rounds"]:
            rounds = sorted(cell["rounds"][system])
            return Measured(*rounds[len(rounds) // 2])
    return None


def queries(found: dict[str, Any], read_units: dict[str, float], memory_mb: int, essays: int) -> Table:
    """A million status answers."""
    made = Table(
        f"queries-{essays}",
        f"Dollars per million status answers of {essays:,} essays ({memory_mb} MB)",
        ["system", "DynamoDB", "Lambda or processor", "API Gateway", "together"],
        note="The web service has no gateway before it, and none of its own is priced; nor are its database and cache.",
    )
    for system, by_essays in found["data"]["took"].items():
        took = Measured(*by_essays[str(essays)])
        if system in (query.SERVICE, query.PER_ESSAY):
            table = MILLION * READ_UNIT * read_units[system]
            worked, gateway = MILLION * function(took, 1, memory_mb), MILLION * API_REQUEST
        else:
            table, worked, gateway = 0.0, MILLION * took.on_processor(), 0.0
        made.rows.append([system, table, worked, gateway, table + worked + gateway])
    return made


@expected_failures
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=100, help="records an invocation (default: %(default)s)")
    options = parser.parse_args()
    try:
        ingested, counted, asked = read("ingest"), read("units"), read("query")
    except FileNotFoundError as error:
        name = str(error.filename).rpartition("/")[2].removesuffix(".json")
        raise NotFoundError(f"{name} was not measured yet", f"Run `make bench-{name}` first.") from None
    written, answered = (
        {row[0]: row[column] for table in counted["tables"] if table["name"] == name for row in table["rows"]}
        for name, column in (("write", 2), ("read", 2))
    )
    memory = (
        Settings.model_fields["ingest_memory_mb"].default,
        Settings.model_fields["query_memory_mb"].default,
    )
    report = Report("cost", "make bench-cost", machine=ingested["machine"])
    systems = (ingest.SERVICE, ingest.IDEMPOTENCY)
    each = {system: written[f"essay result (of 30 of a batch at once), {system}"] for system in systems}
    report.tables.append(results(ingested, each, memory[0], options.size))
    for essays in request_units.RANKED[:2]:
        of = {
            system: answered[f"status of {essays:,} essays, {system}"]
            for system in (query.SERVICE, query.PER_ESSAY)
        }
        report.tables.append(queries(asked, of, memory[1], essays))
    report.plot(
        "Dollars per million",
        "dollars",
        {
            str(row[0]): {
                "essay results": row[-1] if table is report.tables[0] else None,  # type: ignore[dict-item] # a column of numbers
                "answers of 30 essays": row[-1] if table is report.tables[1] else None,  # type: ignore[dict-item] # as above
            }
            for table in report.tables[:2]
            for row in table.rows
        },
    )
    report.write()


if __name__ == "__main__":
    sys.exit(main())
