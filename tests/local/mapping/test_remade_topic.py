"""A topic that is deleted and made again under the same name is another topic: it is read from its beginning."""

from __future__ import annotations

import logging
import time

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from ras.kafka import lag
from ras.kafka.client import create_topics, quiet_client
from ras.kafka.publish import Event, publish

from tests.local.mapping.bench import Bench, until
from tests.real_servers import KAFKA, server

# The embedded broker deletes no topics.
pytestmark = pytest.mark.parametrize("bootstrap_servers", [server(KAFKA)], indirect=True)


@pytest.fixture
def read_once(bench: Bench, topic: str, bootstrap_servers: str) -> Bench:
    """A mapping that has read and committed 20 records of each of its topic's partitions."""
    publish(bootstrap_servers, [Event(topic, b"old", partition=number % 3) for number in range(60)])
    bench.mapping.start()
    until(lambda: bench.lag == 0, "the first topic")
    bench.given.clear()
    bench.events.clear()
    return bench


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("records", [3, 30])
def test_a_topic_that_was_made_again_is_read_from_its_beginning(
    read_once: Bench,
    topic: str,
    bootstrap_servers: str,
    caplog: pytest.LogCaptureFixture,
    *,
    running: bool,
    records: int,
) -> None:
    """Whether it is shorter or longer than where reading was, and whether that was noticed while it ran."""
    caplog.set_level(logging.WARNING)
    bench = read_once
    if not running:
        bench.stop()
    make_again(bootstrap_servers, topic, partitions=4)
    publish(bootstrap_servers, [Event(topic, b"new", partition=n % 4) for n in range(records * 4)])

    if not running:
        assert (
            bench.lag == records * 4
        )  # the commits of the earlier topic, where Kafka keeps them, are none of this one

        bench.restart()
    expected = {(f"{topic}-{partition}", offset) for partition in range(4) for offset in range(records)}
    until(lambda: set(bench.items) >= expected, "every record of the new topic", timeout_s=60)
    until(lambda: bench.lag == 0, "committed", timeout_s=30)

    assert set(bench.items) == expected
    if running:
        told = f"{topic} was deleted and made again, and is read from its beginning"
        assert caplog.text.count("deleted and made again") == 1
        assert str(bench.mapping.status()["problem"]).split(";")[0] == told


def test_commits_carry_the_topic_that_they_are_of(
    read_once: Bench, topic: str, bootstrap_servers: str
) -> None:
    """Kafka forgets a deleted topic's commits; a poller that has not noticed yet makes some again."""
    bench = read_once
    group = bench.settings.consumer_group_id
    bench.stop()
    member = lag._Clients().of(bootstrap_servers, [group])[1][group]
    (kept,) = member.committed([TopicPartition(topic, 0)], timeout=30)
    make_again(bootstrap_servers, topic, partitions=3)
    publish(bootstrap_servers, [Event(topic, b"new", partition=0) for _ in range(30)])
    member.commit(offsets=[kept], asynchronous=False)

    assert kept.offset == 20
    assert bench.lag == 30

    bench.restart()
    until(lambda: len(set(bench.items)) == 30, "every record of the new topic", timeout_s=60)
    until(lambda: bench.lag == 0, "committed", timeout_s=30)


def make_again(bootstrap_servers: str, topic: str, *, partitions: int) -> None:
    admin = AdminClient(quiet_client(bootstrap_servers))
    for future in admin.delete_topics([topic]).values():
        future.result()
    deadline = time.monotonic() + 60
    while True:
        create_topics(bootstrap_servers, [topic], partitions)
        found = admin.list_topics(topic, timeout=10).topics[topic].partitions
        if len(found) == partitions:
            return
        assert time.monotonic() < deadline
        time.sleep(0.1)
