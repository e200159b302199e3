"""A flood of poison: 5,000 records that are all bad, beside 5,000 good ones, through the deployed handler.

`python -m benchmarks.poison_flood` prints a table, writes `.build/benchmarks/flood.json`, and fails where poison takes over
LIMIT times as long as good records (issue 3). The table is dynoxide and the bucket the emulator's, both
behind HTTP on this machine. Good and bad take turns in one run, because other work on the machine comes and goes.

Here S3 answers about as fast as DynamoDB. In AWS it does not, so the same is measured with answers that come after
`AWS_SECONDS` more: that time is waited in the client, in place of a network.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import boto3
from ras.aws import ROOT_KEY, ROOT_SECRET
from ras.state_folder import REPOSITORY
from ras.terminal import console, expected_failures, table
from ras_local import stack
from ras_local.clients import dynamodb_at
from ras_local.servers import dynoxide, emulator, rust_servers
from ras_local.settings import StackDir, region
from result_aggregator import observability
from result_aggregator.names import ENV_DEAD_LETTER_BUCKET, ENV_PARTIAL_BATCH_RESPONSE, ENV_TABLE_NAME
from result_aggregator.store import dead_letters as s3_module
from result_aggregator.store import dynamodb_client

from infra.settings import BATCHING
from tests import samples
from tests.handlers.conftest import load
from tests.table import create_table_arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from logging import StreamHandler

RECORDS = 5000
REPETITIONS = 3
LIMIT = 3.0
ESSAYS_OF_A_BATCH = 30

# What an answer takes in AWS. DynamoDB: single-digit milliseconds (developer guide, "What is Amazon DynamoDB?");
# S3: "roughly 100-200 milliseconds" for small objects (user guide, "Best practices design patterns").
AWS_SECONDS = {"dynamodb": 0.005, "s3": 0.1}

TOPIC = "huleedu.essay.spellcheck.completed.v1"
FUNCTION = "ingest_essays"
TABLE = "view"
BUCKET = "dead-letters"
FILE = REPOSITORY / ".build" / "benchmarks" / "flood.json"


@dataclass(frozen=True)
class Run:
    """One flood: what it was of, and what it took. `cpu_seconds` are this process's, without the servers'."""

    kind: str
    seconds: float
    cpu_seconds: float


class Distant:
    """What a client sends with, the table's own or the SDK's, whose answers take longer."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.seconds = 0.0

    def send(self, *request: Any) -> Any:
        time.sleep(self.seconds)
        return self._real.send(*request)

    def close(self) -> None:
        self._real.close()


def good(batch_id: str, number: int) -> bytes:
    """A spellcheck result, as the platform sends it today."""
    return json.dumps(
        samples.envelope(
            {
                "entity_id": f"{batch_id}-{number}",
                "entity_type": "essay",
                "parent_id": batch_id,
                "status": "spellchecked_success",
                "corrections_made": number,
                "corrected_text_storage_id": str(uuid4()),
            }
        )
    ).encode()


def bad(batch_id: str, number: int) -> bytes:
    """The same, spoilt: a field that is wrong, a status that nobody knows, or no JSON, by turns."""
    event = good(batch_id, number)
    spoilt = (
        event.replace(b'"corrections_made": ', b'"corrections_made": -1'),
        event.replace(b"spellchecked_success", b"whatever"),
        event[:-20],
    )
    return spoilt[number % len(spoilt)]


_offsets = count()


def invocations(make: Callable[[str, int], bytes]) -> list[dict[str, Any]]:
    """The events that a mapping makes of RECORDS new records, when there are more than it takes at once."""
    name = uuid4().hex
    size = BATCHING[FUNCTION].batch_size
    records = [
        samples.record(TOPIC, make(f"{name}-{n // ESSAYS_OF_A_BATCH}", n), offset=next(_offsets))
        for n in range(RECORDS)
    ]
    return [samples.msk_event(records[start : start + size]) for start in range(0, RECORDS, size)]


def flood(kind: str, make: Callable[[str, int], bytes], handler: Callable[[dict[str, Any]], Any]) -> Run:
    """Bring RECORDS records through the handler, one invocation after the other, as one partition does."""
    events = invocations(make)
    begun, cpu = time.perf_counter(), time.process_time()
    answers = [handler(event) for event in events]
    run = Run(kind, time.perf_counter() - begun, time.process_time() - cpu)
    if any(answer["batchItemFailures"] for answer in answers):
        raise RuntimeError(f"{kind} records were handed back")
    return run


def measure(handler: Callable[[dict[str, Any]], Any]) -> list[Run]:
    """Floods by turns, the first of the pair changing; one invocation of each before that is not counted."""
    kinds = [("good", good), ("bad", bad)]
    for _, make in kinds:
        handler(invocations(make)[0])
    runs = []
    for repetition in range(REPETITIONS):
        for kind, make in kinds if repetition % 2 else reversed(kinds):
            runs.append(flood(kind, make, handler))
            print(".", end="", file=sys.stderr, flush=True)
    return runs


def ratio(runs: list[Run], of: str = "seconds") -> float:
    """How many times as long as good records bad ones take: medians."""
    found = {
        kind: statistics.median(getattr(run, of) for run in runs if run.kind == kind)
        for kind in ("good", "bad")
    }
    bad_takes: float = found["bad"] / found["good"]
    return bad_takes


def count_kept(floods: int) -> None:
    """Nothing was measured that was not done: every bad record lies in the bucket, every good one in the table."""
    letters = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    pages = boto3.client("dynamodb").get_paginator("scan").paginate(TableName=TABLE, Select="COUNT")
    kept = sum(page["KeyCount"] for page in letters)
    items = sum(page["Count"] for page in pages)
    least = floods * RECORDS
    if kept < least or items < least:
        raise RuntimeError(
            f"{kept} letters and {items} items, where there should be {least} of each and more"
        )


@contextlib.contextmanager
def servers() -> Iterator[None]:
    """dynoxide with the view's table, the emulator with the bucket, and the functions' settings for both."""
    rust_servers.fetch(dynoxide.SERVER)
    with tempfile.TemporaryDirectory() as folder:
        state = StackDir(Path(folder))
        state.create()
        try:
            dynamodb_url, dynamodb_answers = dynoxide.start(state)
            s3_url, emulator_answers = emulator.start(state)
            dynamodb_answers()
            emulator_answers()
            os.environ |= {
                "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_url,
                "AWS_ENDPOINT_URL_S3": s3_url,
                "AWS_ACCESS_KEY_ID": ROOT_KEY,
                "AWS_SECRET_ACCESS_KEY": ROOT_SECRET,
                "AWS_DEFAULT_REGION": region(),
                ENV_TABLE_NAME: TABLE,
                ENV_DEAD_LETTER_BUCKET: BUCKET,
                ENV_PARTIAL_BATCH_RESPONSE: "true",
            }
            dynamodb_at(dynamodb_url).create_table(**create_table_arguments(TABLE))
            location: Any = region()
            boto3.client("s3").create_bucket(
                Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": location}
            )
            yield
        finally:
            stack.down(state)


def distances() -> dict[str, Distant]:
    """The seams at which the functions' clients are made to wait."""
    table, bucket = dynamodb_client.client(), s3_module._client()._endpoint  # type: ignore[attr-defined] # no other way in
    found = {"dynamodb": Distant(table.transport), "s3": Distant(bucket.http_session)}
    table.transport, bucket.http_session = found["dynamodb"], found["s3"]
    return found


@expected_failures
def main() -> int:
    results: dict[str, list[Run]] = {}
    with servers(), Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        # Lambda takes what is printed; here it goes nowhere, but it is printed.
        cast("StreamHandler[Any]", observability.logger.registered_handler).setStream(nowhere)
        handler = load(FUNCTION)
        sessions = distances()
        results["this machine"] = measure(handler)
        for name, session in sessions.items():
            session.seconds = AWS_SECONDS[name]
        results["as far as in AWS"] = measure(handler)
        count_kept(len(results) * REPETITIONS)
    print(file=sys.stderr)
    shown = table("servers", "records", "median s", "fastest s", "slowest s", "records/s", "CPU s")
    for where, runs in results.items():
        for kind in ("good", "bad"):
            seconds = [run.seconds for run in runs if run.kind == kind]
            cpu = statistics.median(run.cpu_seconds for run in runs if run.kind == kind)
            median = statistics.median(seconds)
            numbers = (
                f"{median:.2f}",
                f"{min(seconds):.2f}",
                f"{max(seconds):.2f}",
                f"{RECORDS / median:.0f}",
            )
            shown.add_row(where, f"{RECORDS} {kind}", *numbers, f"{cpu:.2f}")
    console().print(shown)
    ratios = {where: ratio(runs) for where, runs in results.items()}
    for where, found in ratios.items():
        cpu = ratio(results[where], "cpu_seconds")
        print(f"{where}: poison takes {found:.2f} times as long as good records ({cpu:.2f} times the CPU)")
    FILE.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "records": RECORDS,
        "repetitions": REPETITIONS,
        "limit": LIMIT,
        "ratios": ratios,
        "runs": {where: [asdict(run) for run in runs] for where, runs in results.items()},
    }
    FILE.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"written to {FILE.relative_to(REPOSITORY)}")
    return 0 if max(ratios.values()) <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
