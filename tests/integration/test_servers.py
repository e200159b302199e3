"""The servers as this project starts them: who can reach them, and what of them survives what."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from ras.aws import Cloud
from ras.errors import OperatorError
from ras.kafka import lag
from ras.kafka.client import create_topics, quiet_client, wait_for_topics
from ras.kafka.publish import Event, publish
from ras_local.clients import dynamodb_at
from ras_local.servers import apache_kafka, dynoxide, processes
from ras_local.settings import StackDir, region

from tests.integration.conftest import PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

pytestmark = pytest.mark.integration

TOPIC = "events"
GROUP = "group"


def connections(state: StackDir, name: str) -> tuple[set[str], set[str]]:
    """The addresses on which a process listens, and those that it is connected to."""
    process = processes.running(state, name)
    assert process is not None
    found = process.net_connections(kind="all")
    listening = {one.laddr.ip for one in found if one.status == "LISTEN"}
    return listening, {one.raddr.ip for one in found if one.raddr and hasattr(one.raddr, "ip")}


def committed(bootstrap_servers: str) -> int:
    return lag.progress(bootstrap_servers, {TOPIC: GROUP})[TOPIC].committed


def consume(bootstrap_servers: str, count: int) -> list[tuple[int, int]]:
    """(partition, offset) of the next records of the group, committed."""
    consumer = Consumer(
        quiet_client(
            bootstrap_servers, group_id=GROUP, auto_offset_reset="earliest", enable_auto_commit=False
        )
    )
    consumer.subscribe([TOPIC])
    found: list[tuple[int, int]] = []
    deadline = time.monotonic() + 120
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count} records came"
        for message in consumer.consume(count - len(found), 0.2):
            assert message.error() is None, message.error()
            found.append((message.partition() or 0, message.offset() or 0))
    consumer.commit(offsets=_next(found), asynchronous=False)
    consumer.close()
    return found


def _next(consumed: list[tuple[int, int]]) -> list[TopicPartition]:
    last: dict[int, int] = {}
    for partition, offset in consumed:
        last[partition] = max(last.get(partition, 0), offset + 1)
    return [TopicPartition(TOPIC, partition, offset) for partition, offset in last.items()]


def test_kafka_is_on_loopback_alone(state: StackDir, kafka: str) -> None:
    """Broker and controller listen on 127.0.0.1, and nothing is connected to anywhere else."""
    assert kafka.startswith("127.0.0.1:")
    assert connections(state, processes.BROKER)[0] == {"127.0.0.1"}
    assert connections(state, processes.BROKER)[1] <= {"127.0.0.1"}


def test_kafka_makes_no_topics_by_itself(kafka: str) -> None:
    """A record for a topic that nobody made is refused, as on MSK."""
    problems: list[KafkaError | None] = []
    producer = Producer(quiet_client(kafka, topic_metadata_propagation_max_ms=0))
    producer.produce("unheard-of", b"x", on_delivery=lambda error, _: problems.append(error))
    producer.flush(10)

    assert [problem and problem.code() for problem in problems] == [KafkaError.UNKNOWN_TOPIC_OR_PART]


@pytest.mark.parametrize("end", [apache_kafka.stop, apache_kafka.kill], ids=["stopped", "killed"])
def test_what_kafka_took_outlives_its_process(
    state: StackDir, kafka: str, end: Callable[[StackDir], None]
) -> None:
    """Records and committed offsets are there again on the same port after a tidy stop and after SIGKILL."""
    before = lag.progress(kafka, {TOPIC: GROUP})[TOPIC]
    publish(kafka, [Event(TOPIC, b"%d" % number, b"%d" % number) for number in range(200)])
    first = consume(kafka, 120)
    end(state)
    assert processes.running(state, processes.BROKER) is None
    begun = time.monotonic()
    assert apache_kafka.restart(state)() == kafka
    took = time.monotonic() - begun
    assert committed(kafka) == before.committed + 120
    rest = consume(kafka, 80)

    assert len({partition for partition, _ in first + rest}) == PARTITIONS
    assert len(set(first + rest)) == 200
    assert lag.progress(kafka, {TOPIC: GROUP})[TOPIC].lag == 0
    assert took < 40  # on a busy machine; 3 s after a stop and 6 s after a kill on an idle one


def test_kafka_is_started_once(state: StackDir, kafka: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Restarting what runs, or what never was, is told, and topics that are there stay."""
    with pytest.raises(OperatorError, match="still runs"):
        apache_kafka.restart(state)
    with pytest.raises(OperatorError, match="there is no Apache Kafka"):
        apache_kafka.restart(StackDir(tmp_path_factory.mktemp("none")))
    create_topics(kafka, [TOPIC, "another"], PARTITIONS)

    wait_for_topics(kafka, [TOPIC, "another"])


def test_dynoxide_is_on_loopback_alone(state: StackDir, dynoxide_endpoint: str) -> None:
    """It listens on 127.0.0.1 only, and connects to no other host."""
    dynamodb_at(dynoxide_endpoint).list_tables()

    listening, connected = connections(state, dynoxide.PROCESS)
    assert dynoxide_endpoint.startswith("http://127.0.0.1:")
    assert listening == {"127.0.0.1"}
    assert connected <= {"127.0.0.1"}


@pytest.mark.parametrize("end", [dynoxide.stop, dynoxide.kill], ids=["stopped", "killed"])
def test_dynoxide_comes_back_empty(
    state: StackDir,
    dynoxide_endpoint: str,
    table_arguments: dict[str, Any],
    end: Callable[[StackDir], None],
) -> None:
    """On the same port, with nothing of what it held."""
    client = dynamodb_at(dynoxide_endpoint)
    client.create_table(**table_arguments)
    end(state)
    again, wait = dynoxide.restart(state)
    wait()

    assert again == dynoxide_endpoint
    assert client.list_tables()["TableNames"] == []


def test_a_deployed_table_is_copied_whole(
    emulator_url: str, dynoxide_endpoint: str, table_arguments: dict[str, Any]
) -> None:
    """The copy in dynoxide has the keys, the index and the projection of the table in the emulator."""
    name = table_arguments["TableName"]
    original, copy = dynamodb_at(emulator_url), dynamodb_at(dynoxide_endpoint)
    original.create_table(**table_arguments)
    try:
        dynoxide.copy_table(Cloud(emulator_url, region()), name, dynoxide_endpoint)

        assert definition(copy, name) == definition(original, name)
        [index] = table_arguments["GlobalSecondaryIndexes"]
        assert definition(copy, name)["index"]["Projection"] == index["Projection"]
    finally:
        original.delete_table(TableName=name)
    copy.delete_table(TableName=name)


def definition(dynamodb: DynamoDBClient, name: str) -> dict[str, Any]:
    table = dynamodb.describe_table(TableName=name)["Table"]
    [index] = table["GlobalSecondaryIndexes"]
    return {
        "keys": table["KeySchema"],
        "attributes": sorted(one["AttributeName"] for one in table["AttributeDefinitions"]),
        "index": {part: index[part] for part in ("IndexName", "KeySchema", "Projection")},
        "billing": table["BillingModeSummary"]["BillingMode"],
    }
