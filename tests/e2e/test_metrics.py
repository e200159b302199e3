"""The metrics on the local stack: events in over Kafka, counts out over signed HTTP."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from ras_local import processes
from ras_local import stack as stacks
from ras_local.publish import Event, publish

from tests import prometheus, samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from ras_local.paths import StateDir
    from ras_local.stack import Stack

    from tests.prometheus import Samples

# Once: which broker or table it is makes no difference here, and every scrape waits for a minute to turn.
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("broker", ["embedded"], indirect=True, scope="session"),
]

SPELLCHECK = "huleedu.essay.spellcheck.completed.v1"
REGISTERED = "huleedu.batch.essays.registered.v1"

# There is an answer a minute, and a busy machine.
PATIENCE_S = 300


def scrape(running: Stack) -> Samples:
    answer = running.get("/metrics")
    assert answer.status_code == 200, answer.text
    return prometheus.samples(answer.text)


def until(running: Stack, reached: Callable[[Samples], bool]) -> Samples:
    """The first scrape that satisfies, or the last one."""
    deadline = time.monotonic() + PATIENCE_S
    while not reached(found := scrape(running)) and time.monotonic() < deadline:
        time.sleep(1)
    return found


def spellchecked(batch_id: str, number: int) -> Event:
    data = {"batch_id": batch_id, "essay_id": f"e-{number}", "status": "COMPLETED", "correction_count": 1}
    return Event(SPELLCHECK, json.dumps(samples.envelope(data)).encode(), f"e-{number}".encode())


def settled(running: Stack) -> Samples:
    """A scrape that has everything that came before: a request of now is in it."""
    mark = f"/internal/v1/batches/{uuid4()}/status"
    asked = {"endpoint": "get_batch_status", "status_code": "404"}
    before = prometheus.total(scrape(running), "ras_api_requests_total", **asked)
    assert running.get(mark).status_code == 404
    return until(running, lambda found: prometheus.total(found, "ras_api_requests_total", **asked) > before)


def test_counts_move_by_what_was_published(running: Stack, state: StateDir) -> None:
    """By exactly that many, of two functions, over a killed extractor; the same events again are duplicates."""
    stacks.wait_consumed(running)
    before = settled(running)
    batch_id = str(uuid4())
    registration = {"batch_id": batch_id, "user_id": "teacher-metrics", "expected_essay_count": 40}
    events = [spellchecked(batch_id, number) for number in range(40)]
    events.append(Event(REGISTERED, json.dumps(samples.envelope(registration)).encode()))
    broken = Event(SPELLCHECK, b"this is no event")

    publish(running.bootstrap_servers, [*events, broken])
    stacks.wait_consumed(running)
    (extractor,) = [one for one in processes.recorded(state) if one.name == stacks.METRICS]
    processes.kill(state, extractor)
    publish(running.bootstrap_servers, events)
    stacks.wait_consumed(running)
    stacks.start_metrics(state, running)

    def moved(found: Samples, name: str, **labels: str) -> float:
        return prometheus.total(found, name, **labels) - prometheus.total(before, name, **labels)

    until(running, lambda found: moved(found, "ras_messages_processed_total") >= 2 * 41 + 1)
    after = settled(running)

    assert moved(after, "ras_messages_processed_total", function="ras-local-ingest-essays") == 2 * 40 + 1
    assert moved(after, "ras_messages_processed_total", function="ras-local-ingest-batches") == 2
    assert moved(after, "ras_records_applied_total") == 41
    assert moved(after, "ras_records_duplicate_total") == 41
    assert moved(after, "ras_records_rejected_total") == moved(after, "ras_dlq_messages_sent_total") == 1
    assert moved(after, "ras_invalid_messages_total", topic=SPELLCHECK, error_type="not_json") == 1
    assert moved(after, "ras_essays_aggregated_total", phase="spellcheck") == 40
    assert moved(after, "ras_db_operation_duration_seconds_count", operation="UpdateItem") == moved(
        after, "ras_db_operations_total", operation="UpdateItem"
    )


def test_instances_of_one_function_are_counted_together(running: Stack) -> None:
    """Several requests at a time, which several processes of the function answer."""
    path = f"/internal/v1/batches/user/{uuid4()}"
    labels = {"endpoint": "get_user_batches", "method": "GET", "status_code": "200"}
    before = settled(running)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: running.get(path).status_code, range(15)))
    after = settled(running)

    def moved(name: str, **labels: str) -> float:
        return prometheus.total(after, name, **labels) - prometheus.total(before, name, **labels)

    assert moved("ras_api_requests_total", **labels) == answers.count(200) > 0
    assert _instances(running) >= 2


def _instances(running: Stack) -> int:
    """How many processes of the query function there have been: each says once that it starts cold."""
    events = running.cloud.logs.filter_log_events(logGroupName="/aws/lambda/ras-local-query")["events"]
    lines = [json.loads(event["message"]) for event in events if event["message"].startswith('{"level"')]
    return len({line["function_request_id"] for line in lines if line.get("cold_start")})


@pytest.mark.parametrize("caller", [None, "not-allowed"])
def test_nobody_else_reads_metrics(running: Stack, caller: str | None) -> None:
    """IAM like the queries."""
    assert running.get("/metrics", caller=caller).status_code == 403
