"""Thousands of events while parts of the stack are killed: nothing is lost, nothing doubled, and the view is the fold."""

from __future__ import annotations

import json
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from ras import stack_file
from ras.kafka.publish import publish
from ras_local import stack
from ras_local.servers import apache_kafka, dynoxide, emulator, processes
from result_aggregator.domain.outcomes import OUTCOMES

from tests import fold
from tests.chaos import workload
from tests.tiers import long

if TYPE_CHECKING:
    import psutil
    from ras.stack_file import Stack
    from ras_local.settings import StackDir

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

BATCHES = [60, long(250)]
"""Some 5,000 and 20,900 events."""
POISON = 5
SEED = 20_260_302
PAUSE_S = 8.0
"""A connection is held longer than a function waits for an answer (`store.aws`: 5 seconds)."""


class Saboteur:
    """Kills parts of a stack, by process id, and starts again what does not start itself."""

    def __init__(self, running: Stack, state: StackDir, seed: int) -> None:
        self.running, self.state = running, state
        self.source = random.Random(seed)  # noqa: S311 - which worker dies, not a secret
        self.done: list[str] = []

    def kill_a_worker(self) -> None:
        """A function's process, wherever it is in its work. The emulator starts another."""
        leader = self._process(emulator.PROCESS)
        workers = [child for child in leader.children(recursive=True) if "python" in child.name()]
        if workers:
            victim = self.source.choice(workers)
            victim.kill()
            self.done.append("worker")

    def kill_the_poller(self) -> None:
        """The event source mapping, with batches in flight and offsets not committed."""
        self._kill(stack.POLLER)
        stack.start_poller(self.state, self.running)
        self.done.append("poller")

    def kill_the_broker(self) -> None:
        """Apache Kafka; it comes back with what it had on disk."""
        self._kill(processes.BROKER)
        apache_kafka.restart(self.state)()
        self.done.append("broker")

    def cut_the_table_off(self) -> None:
        """The database takes connections and answers nothing, until the callers have given up."""
        self._hold(dynoxide.PROCESS)
        self.done.append("table")

    def cut_the_emulator_off(self) -> None:
        """The same for everything else in AWS: invocations hang in the middle."""
        self._hold(emulator.PROCESS)
        self.done.append("emulator")

    def _hold(self, name: str) -> None:
        process = self._process(name)
        process.suspend()
        time.sleep(PAUSE_S)
        process.resume()

    def _kill(self, name: str) -> None:
        process = self._process(name)
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def _process(self, name: str) -> psutil.Process:
        process = processes.running(self.state, name)
        assert process is not None, f"{name} does not run"
        return process


def closings(running: Stack) -> list[dict[str, int]]:
    """The counts that closed every invocation which lived to close."""
    found = []
    logs = running.cloud.logs
    for function in ("ingest-batches", "ingest-essays", "ingest-rankings"):
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/ras-local-{function}", filterPattern='"ingested"'
        )
        for page in pages:
            for event in page["events"]:
                try:
                    line = json.loads(event["message"])
                except ValueError:
                    continue
                if line.get("message") == "ingested":
                    found.append({name: line[name] for name in ("received", *OUTCOMES)})
    return found


def dead_letters(running: Stack) -> list[str]:
    pages = running.cloud.s3.get_paginator("list_objects_v2").paginate(Bucket=running.dead_letter_bucket)
    return [one["Key"] for page in pages for one in page.get("Contents", [])]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("batches", BATCHES)
def test_nothing_is_lost_and_nothing_doubled(real_stack: Stack, real_state: StackDir, batches: int) -> None:
    """Workers, poller, broker and connections die in the middle of all the events; the end is as if they had not."""
    # Another seed for another number: the two may run on one stack, and a batch of both would be none of either.
    events = workload.lines(batches, SEED + batches)
    assert len(events) >= batches * 80
    before = set(dead_letters(real_stack))
    saboteur = Saboteur(real_stack, real_state, SEED)
    acts = [
        saboteur.kill_a_worker,
        saboteur.kill_the_poller,
        saboteur.kill_a_worker,
        saboteur.kill_the_broker,
        saboteur.cut_the_table_off,
        saboteur.kill_a_worker,
        saboteur.cut_the_emulator_off,
        saboteur.kill_the_poller,
        saboteur.kill_a_worker,
    ]
    records = workload.published(events)
    publish(real_stack.bootstrap_servers, workload.poison(POISON))
    in_flight = []
    for number, act in enumerate(acts):
        # A part just before each act, so that every one of them meets work.
        publish(real_stack.bootstrap_servers, records[number :: len(acts)], timeout_s=120)
        # A part of the time that the part takes to be consumed.
        time.sleep(saboteur.source.uniform(0.0008, 0.0032) * batches)
        in_flight.append(sum(topic.lag for topic in stack_file.progress(real_stack).values()))
        act()
    consumed = stack_file.wait_consumed(real_stack, timeout_s=600, interval_s=1)

    table = fold.fold(fold.read_all(events))
    batch_ids = sorted({line.value["data"]["batch_id"] for line in events})

    def wrong(batch_id: str) -> str | None:
        answer = real_stack.get(f"/internal/v1/batches/{batch_id}/status")
        shown: Any = answer.json()
        return None if shown == fold.answer(table, batch_id) else f"{batch_id}: {answer.text[:300]}"

    with ThreadPoolExecutor(4) as pool:
        differing = [found for found in pool.map(wrong, batch_ids) if found]
    letters = set(dead_letters(real_stack)) - before
    counts = closings(real_stack)

    assert not differing
    assert all(in_flight), in_flight
    assert len(batch_ids) == batches
    assert len(letters) == POISON
    assert all(name.startswith("rejected/") for name in letters), "records were given up"
    assert sum(one["received"] for one in counts) > len(records) // 2, (
        "the functions' closing lines were not found"
    )
    assert all(one["received"] == sum(one[outcome] for outcome in OUTCOMES) for one in counts)
    assert sum(topic.end for topic in consumed.values()) >= len(records) + POISON
    assert {"worker", "poller", "broker", "table", "emulator"} <= set(saboteur.done)
