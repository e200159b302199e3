"""Publishing more than the embedded broker keeps: nothing is dropped before it was read."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ras.errors import OperatorError
from ras.kafka import lag
from ras.kafka.publish import Event, publish
from ras_local.mapping import MappingSettings, NotReached, Succeeded
from ras_local.paced_publishing import publish_paced
from ras_local.servers.embedded_broker import KEPT_BYTES

from tests.local.mapping.bench import Bench, until
from tests.real_servers import running_broker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ras_local.mapping import InvocationResult

_topics = [f"topic-{number}" for number in range(4)]


@pytest.fixture(scope="module")
def bootstrap_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_broker("embedded", tmp_path_factory.mktemp("broker"), _topics, 2) as servers:
        yield servers


@pytest.fixture
def bench(bootstrap_servers: str, _unused: Iterator[str] = iter(_topics)) -> Iterator[Bench]:  # noqa: B008 - one per test
    topic = next(_unused)
    settings = MappingSettings(
        "uuid", topic, "arn:aws:lambda:eu-north-1:000000000000:function:f", consumer_group_id=f"group-{topic}"
    )
    made = Bench(bootstrap_servers, replace(settings, window_s=0, batch_size=2))
    made.mapping.start()
    until(lambda: made.mapping.ready, "reading")
    yield made
    made.stop()


def slowly(_: object) -> InvocationResult:
    time.sleep(0.05)
    return Succeeded()


def large(bench: Bench, count: int) -> list[Event]:
    return [
        Event(bench.settings.topic, b"x" * 400_000, b"%d" % number, partition=0) for number in range(count)
    ]


def groups(bench: Bench) -> dict[str, str]:
    return {bench.settings.topic: bench.settings.consumer_group_id}


def test_publishing_waits_for_the_consumers(bench: Bench) -> None:
    """Four times what the broker keeps arrives whole, though the function is slow."""
    bench.rule = slowly
    count = 4 * KEPT_BYTES // 400_000
    progress = list[int]()
    done = publish_paced(
        bench.bootstrap_servers,
        large(bench, count),
        groups=groups(bench),
        kept_bytes=KEPT_BYTES,
        timeout_s=60,
        on_delivery=progress.append,
    )
    until(lambda: bench.lag == 0, "consumed")

    assert done.count == count == len(set(bench.items))
    assert bench.mapping.counters.lost == 0
    assert progress == list(range(1, count + 1))


@pytest.mark.long
def test_what_was_there_before_counts(bench: Bench) -> None:
    """A backlog takes room too; and the wait has an end, which tells what is missing and where."""
    topic = bench.settings.topic
    bench.rule = lambda _: NotReached("away")
    publish(bench.bootstrap_servers, large(bench, 12))  # 4.8 MB of 5 MiB

    with pytest.raises(
        OperatorError, match=r"^1 of 2 records are published; .* partition 0 by 13 \(offsets 0 to 12\)"
    ):
        publish_paced(
            bench.bootstrap_servers, large(bench, 2), groups=groups(bench), kept_bytes=KEPT_BYTES, timeout_s=1
        )

    assert lag.progress(bench.bootstrap_servers, groups(bench))[topic].end == 13

    publish_paced(
        bench.bootstrap_servers,
        [Event(topic, b"x", partition=0)],
        groups=groups(bench),
        kept_bytes=KEPT_BYTES,
        timeout_s=1,
    )  # one that fits need not wait


def test_topics_that_nobody_reads_are_not_waited_for(bench: Bench) -> None:
    done = publish_paced(
        bench.bootstrap_servers, large(bench, 20), groups={}, kept_bytes=KEPT_BYTES, timeout_s=1
    )

    assert done.count == 20
