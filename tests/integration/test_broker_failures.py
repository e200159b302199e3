"""Apache Kafka goes away in the middle of consumption, and comes back: what was published arrives, and counts once."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, TopicPartition
from ras import stack_file
from ras.kafka.client import quiet_client
from ras.kafka.publish import publish
from ras_local import stack
from ras_local.mapping import MappingSettings, Succeeded
from ras_local.servers import apache_kafka, processes

from tests import fold
from tests.chaos import workload
from tests.integration import conftest
from tests.local.mapping.bench import Bench, events
from tests.tiers import long

if TYPE_CHECKING:
    from collections.abc import Callable

    from ras.stack_file import Stack
    from ras_local.settings import StackDir

pytestmark = pytest.mark.integration

DOWN_S = 1.0


def wait_for(condition: Callable[[], bool], what: str | Callable[[], str], timeout_s: float = 90) -> None:
    """`what` is what did not happen in time, or how to find that out."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout_s} s: {what if isinstance(what, str) else what()}")
        time.sleep(0.1)


@pytest.mark.parametrize("end", [apache_kafka.stop, apache_kafka.kill], ids=["stopped", "killed"])
def test_reading_goes_on_from_the_last_commits(
    kafka: str, state: StackDir, request: pytest.FixtureRequest, end: Callable[[StackDir], None]
) -> None:
    """Nothing that was committed when the broker went is read again, everything else is, and all in order."""
    topic = f"read-when-{request.node.callspec.id}"
    settings = MappingSettings(
        "uuid", topic, "arn:aws:lambda:eu-north-1:000000000000:function:f", consumer_group_id=topic
    )
    bench = Bench(kafka, replace(settings, window_s=0.05, provisioned=True, batch_size=10))
    bench.rule = lambda _: pause(0.03)
    publish(kafka, events(topic, 1200))
    bench.mapping.start()
    try:
        wait_for(lambda: len(bench.items) >= 300, "some are read")
        member = Consumer(quiet_client(kafka, group_id=topic))
        lanes = [TopicPartition(topic, number) for number in range(conftest.PARTITIONS)]
        committed = {f"{topic}-{p.partition}": max(p.offset, 0) for p in member.committed(lanes, timeout=10)}
        given_before = len(bench.items)
        assert bench.lag > 0
        end(state)
        time.sleep(DOWN_S)
        apache_kafka.restart(state)()
        wait_for(lambda: bench.lag == 0, "all is read")
    finally:
        bench.stop()

    items = bench.items
    assert any(committed.values())
    assert all(offset >= committed[lane] for lane, offset in items[given_before:])
    assert len(set(items)) == 1200
    for lane in committed:
        firsts = list(dict.fromkeys(offset for given, offset in items if given == lane))
        assert firsts == list(range(len(firsts)))


@pytest.mark.e2e
@pytest.mark.timeout(900)
@pytest.mark.parametrize("batches", [15, long(60)])
def test_the_stack_goes_on_after_its_broker_was_killed_twice(
    real_stack: Stack, real_state: StackDir, batches: int
) -> None:
    """One and the same poller gets every partition of every topic back, and the view becomes the fold."""
    lines = workload.lines(batches, seed=20_260_303 + batches)
    records = workload.published(lines)
    poller = processes.running(real_state, stack.POLLER)
    waiting = []
    for half in (records[::2], records[1::2]):
        publish(real_stack.bootstrap_servers, half, timeout_s=120)
        waiting.append(sum(topic.lag for topic in stack_file.progress(real_stack).values()))
        apache_kafka.kill(real_state)
        time.sleep(DOWN_S)
        apache_kafka.restart(real_state)()
    stack_file.wait_consumed(real_stack, timeout_s=300, interval_s=0.5)

    assert all(waiting), waiting
    assert processes.running(real_state, stack.POLLER) == poller
    table = fold.fold(fold.read_all(lines))
    for batch_id in {line.value["data"]["batch_id"] for line in lines}:
        answer = real_stack.get(f"/internal/v1/batches/{batch_id}/status").json()
        assert answer == fold.answer(table, batch_id)


def pause(seconds: float) -> Succeeded:
    time.sleep(seconds)
    return Succeeded()
