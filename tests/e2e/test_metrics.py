"""The metrics on the local stack: events in over Kafka, counts out over signed HTTP.

`/metrics` has a new answer each minute, and begins anew each month. What moves is therefore read where the function
reads it, without its minute and over days that the test fixes; that the function tells the same is asked once.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from ras import stack_file
from ras.kafka.publish import Event, publish
from ras.state_folder import LOCAL
from ras_local import stack as stacks
from ras_local.capabilities import Lack
from ras_local.servers import processes
from result_aggregator import metrics
from result_aggregator.prometheus import render
from result_aggregator.store.metric_store import MetricStore

from tests import prometheus, samples
from tests.e2e.conftest import BROKERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ras.stack_file import Stack
    from ras_local.settings import StackDir

    from tests.prometheus import Samples

# Once: which broker or table it is makes no difference here.
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.parametrize("broker", BROKERS[:1], indirect=True, scope="session"),
]

SPELLCHECK = "huleedu.essay.spellcheck.completed.v1"
REGISTERED = "huleedu.batch.essays.registered.v1"
QUERY = "ras-local-query"

# Counts arrive some five seconds later, on a machine that is not busy.
PATIENCE_S = 200


class Counts:
    """All that was counted since a midnight before the test, and goes on being counted over the next ones."""

    def __init__(self, running: Stack) -> None:
        self._store = MetricStore(metrics.namespace(LOCAL), running.cloud.metrics)
        self._start = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    def read(self) -> Samples:
        return self.between(self._start, self._start + timedelta(days=7))

    def between(self, start: datetime, end: datetime) -> Samples:
        return prometheus.samples(render(self._store.totals(start, end), 0))

    def until(self, reached: Callable[[Samples], bool]) -> Samples:
        """The first counts that satisfy, or the last ones."""
        deadline = time.monotonic() + PATIENCE_S
        while not reached(found := self.read()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return found

    def settled(self, running: Stack) -> Samples:
        """Counts that have everything that came before: a request of now is in them."""
        mark = f"/internal/v1/batches/{uuid4()}/status"
        asked = {"endpoint": "get_batch_status", "status_code": "404"}
        before = prometheus.total(self.read(), "ras_api_requests_total", **asked)
        assert running.get(mark).status_code == 404
        return self.until(lambda found: prometheus.total(found, "ras_api_requests_total", **asked) > before)


def renew(running: Stack) -> None:
    """Have the query function answer from new instances, which have no answer of this minute yet."""
    functions = running.cloud.functions
    now = functions.get_function_configuration(FunctionName=QUERY)
    # As it is: whatever a configuration is set to, what ran with an earlier one is ended.
    functions.update_function_configuration(FunctionName=QUERY, Timeout=now["Timeout"])
    functions.get_waiter("function_updated_v2").wait(FunctionName=QUERY, WaiterConfig={"Delay": 1})


def spellchecked(batch_id: str, number: int) -> Event:
    data = {"batch_id": batch_id, "essay_id": f"e-{number}", "status": "COMPLETED", "correction_count": 1}
    return Event(SPELLCHECK, json.dumps(samples.envelope(data)).encode(), f"e-{number}".encode())


def test_counts_move_by_what_was_published(running: Stack, state: StackDir) -> None:
    """By exactly that many, of two functions, over a killed extractor; the same events again are duplicates."""
    stack_file.wait_consumed(running)
    counts = Counts(running)
    before = counts.settled(running)
    batch_id = str(uuid4())
    registration = {"batch_id": batch_id, "user_id": "teacher-metrics", "expected_essay_count": 40}
    events = [spellchecked(batch_id, number) for number in range(40)]
    events.append(Event(REGISTERED, json.dumps(samples.envelope(registration)).encode()))
    broken = Event(SPELLCHECK, b"this is no event")

    publish(running.bootstrap_servers, [*events, broken])
    stack_file.wait_consumed(running)
    (extractor,) = [one for one in processes.recorded(state) if one.name == stacks.METRICS]
    processes.kill(state, extractor)
    publish(running.bootstrap_servers, events)
    stack_file.wait_consumed(running)
    stacks.start_metrics(state, running)

    def moved(found: Samples, name: str, **labels: str) -> float:
        return prometheus.total(found, name, **labels) - prometheus.total(before, name, **labels)

    counts.until(lambda found: moved(found, "ras_messages_processed_total") >= 2 * 41 + 1)
    after = counts.settled(running)

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


def test_the_function_tells_what_was_counted_this_month(running: Stack) -> None:
    """Of the month that the answer's time is in; but its own request, which is counted when it is over."""
    counts = Counts(running)
    month = datetime.now(UTC).month
    text, at = _scraped(running, counts)
    if at.month != month:
        text, at = _scraped(running, counts)  # the month turned between the events and the answer
    today = at.replace(hour=0, minute=0, second=0)
    expected = counts.between(today.replace(day=1), today + timedelta(days=1))

    assert _but_requests(prometheus.samples(text)) == _but_requests(expected) != {}


def _scraped(running: Stack, counts: Counts) -> tuple[str, datetime]:
    """What the function tells once an event was counted, and the time that its samples carry."""
    publish(running.bootstrap_servers, [spellchecked(str(uuid4()), 0)])
    stack_file.wait_consumed(running)
    counts.settled(running)
    renew(running)
    answer = running.get("/metrics")
    assert answer.status_code == 200, answer.text
    (timestamp,) = {
        sample.timestamp for family in prometheus.parsed(answer.text) for sample in family.samples
    }
    assert timestamp is not None
    return answer.text, datetime.fromtimestamp(float(timestamp), UTC)


def _but_requests(found: Samples) -> Samples:
    return {
        (name, labels): value for (name, labels), value in found.items() if not name.startswith("ras_api_")
    }


def test_instances_of_one_function_are_counted_together(running: Stack) -> None:
    """Several requests at a time, which several processes of the function answer."""
    path = f"/internal/v1/batches/user/{uuid4()}"
    labels = {"endpoint": "get_user_batches", "method": "GET", "status_code": "200"}
    counts = Counts(running)
    before = counts.settled(running)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: running.get(path).status_code, range(15)))
    after = counts.settled(running)

    def moved(name: str, **labels: str) -> float:
        return prometheus.total(after, name, **labels) - prometheus.total(before, name, **labels)

    assert moved("ras_api_requests_total", **labels) == answers.count(200) > 0
    assert _instances(running) >= 2


def _instances(running: Stack) -> int:
    """How many processes of the query function there have been: each says once that it starts cold."""
    events = running.cloud.logs.filter_log_events(logGroupName=f"/aws/lambda/{QUERY}")["events"]
    lines = [json.loads(event["message"]) for event in events if event["message"].startswith('{"level"')]
    return len({line["function_request_id"] for line in lines if line.get("cold_start")})


@pytest.mark.needs(Lack.POLICIES)
@pytest.mark.parametrize("caller", [None, "not-allowed"])
def test_nobody_else_reads_metrics(running: Stack, caller: str | None) -> None:
    """IAM like the queries."""
    assert running.get("/metrics", caller=caller).status_code == 403
