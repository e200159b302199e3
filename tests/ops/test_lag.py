"""How far groups are: asked with one client and one request a group, however many topics it reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from ras.kafka import lag
from ras.kafka.client import create_topics, quiet_client
from ras.kafka.lag import Progress
from ras.kafka.publish import Event, publish

from tests.real_servers import KAFKA, running_broker, server

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTITIONS = 2
TOPICS = [f"topic-{number}" for number in range(20)]


@pytest.fixture(scope="module", params=["embedded", server(KAFKA)])
def bootstrap_servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with running_broker(request.param, tmp_path_factory.mktemp("broker"), TOPICS, PARTITIONS) as servers:
        yield servers


def test_topics_of_one_group_and_of_several_are_told_apart(bootstrap_servers: str) -> None:
    """Each topic has its own group's commits, also where one group reads many of them."""
    publish(bootstrap_servers, [Event(topic, b"x", partition=n) for topic in TOPICS for n in (0, 0, 1)])
    commit(bootstrap_servers, "many", {topic: n % 3 for n, topic in enumerate(TOPICS[:-1])})
    commit(bootstrap_servers, "another", {TOPICS[0]: 2, TOPICS[-1]: 1})
    groups = {**dict.fromkeys(TOPICS[:-1], "many"), TOPICS[-1]: "another"}

    progress = lag.progress(bootstrap_servers, {**groups, "no-such-topic": "many"}, timeout_s=60)

    assert progress == {
        **{topic: Progress(n % 3, 3) for n, topic in enumerate(TOPICS[:-1])},
        TOPICS[-1]: Progress(1, 3),
    }


@pytest.mark.parametrize("bootstrap_servers", [server(KAFKA)], indirect=True)
def test_lag_counts_what_is_there(bootstrap_servers: str) -> None:
    """Retention took records that one group had read in part and another never: neither can catch up with those."""
    topic = f"retained-{uuid4()}"
    create_topics(bootstrap_servers, [topic], PARTITIONS)
    publish(bootstrap_servers, [Event(topic, b"x", partition=n) for n in (0,) * 10 + (1,) * 3])
    commit(bootstrap_servers, f"read-5-of-{topic}", {topic: 5})
    admin = AdminClient(quiet_client(bootstrap_servers))
    for future in admin.delete_records([TopicPartition(topic, 0, 10)]).values():
        future.result()

    def of(group: str) -> Progress:
        return lag.progress(bootstrap_servers, {topic: group}, timeout_s=60)[topic]

    assert of("no-reader") == Progress(10, 13)
    assert of("no-reader").lag == 3
    assert of(f"read-5-of-{topic}") == Progress(10, 13, dropped=5)


def commit(bootstrap_servers: str, group: str, offsets: dict[str, int]) -> None:
    consumer = Consumer(quiet_client(bootstrap_servers, group_id=group, enable_auto_commit=False))
    asked = [TopicPartition(topic, 0, offset) for topic, offset in offsets.items() if offset]
    consumer.commit(offsets=asked, asynchronous=False)
    consumer.close()


def test_a_group_is_asked_once(bootstrap_servers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all its topics: a thread and a request for each keep a busy machine from answering any in time."""
    asked: list[int] = []

    class Counted(Consumer):
        def committed(
            self, partitions: list[TopicPartition], *rest: Any, **more: Any
        ) -> list[TopicPartition]:
            asked.append(len(partitions))
            return super().committed(partitions, *rest, **more)

    monkeypatch.setattr(lag, "Consumer", Counted)
    lag.progress(bootstrap_servers, dict.fromkeys(TOPICS, "counted"), timeout_s=60)

    assert asked == [len(TOPICS) * PARTITIONS]


def test_only_the_groups_asked_about_last_have_clients(bootstrap_servers: str) -> None:
    """One of a broker that is gone would look for it for ever."""
    topic = TOPICS[0]
    before = threads()
    for number in range(10):
        lag.progress(bootstrap_servers, {topic: f"group-{number}"}, timeout_s=60)

    # Some three of the last one, where all of them would have thirty.
    assert threads() - before < 15


def threads() -> int:
    """Of this process, those of C libraries too."""
    return len(list(Path("/proc/self/task").iterdir()))
