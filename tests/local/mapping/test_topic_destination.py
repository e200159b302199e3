"""A Kafka topic as a destination."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from confluent_kafka import Consumer, TopicPartition
from ras.kafka.client import quiet_client
from ras_local.mapping.delivery import AGE_EXCEEDED, PAYLOAD_EXCEEDED, RETRIES_EXHAUSTED, Discarded
from ras_local.mapping.destinations import OnFailure
from ras_local.mapping.errors import DestinationError
from ras_local.mapping.records import KafkaRecord
from ras_local.mapping.responses import Failed
from ras_local.servers import broker

from tests.local.mapping.test_destinations import DISCARDED, FUNCTION, SETTINGS, SOURCE, Roles
from tests.real_servers import folder_of_servers

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def bootstrap_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with folder_of_servers(tmp_path_factory.mktemp("broker")) as state:
        yield broker.KINDS["embedded"](state, ["essays", "letters", "too-old", "too-large"], 3)()


def read_all(
    bootstrap_servers: str, topic: str, count: int
) -> list[tuple[int, bytes | None, dict[str, Any]]]:
    """(partition, key, parsed value) of the topic's first records."""
    consumer = Consumer(quiet_client(bootstrap_servers, group_id="reader", auto_offset_reset="earliest"))
    consumer.assign([TopicPartition(topic, number, 0) for number in range(3)])
    found: list[tuple[int, bytes | None, dict[str, Any]]] = []
    deadline = time.monotonic() + 120
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count}"
        for message in consumer.consume(count, 0.2):
            assert message.error() is None
            key: Any = message.key()
            found.append((message.partition() or 0, key, json.loads(message.value() or b"")))
    consumer.close()
    return found


def kafka_destination(bootstrap_servers: str, topic: str) -> OnFailure:
    source = replace(SOURCE, bootstrap_servers=bootstrap_servers)
    return OnFailure(cast("Any", Roles()), replace(SETTINGS, on_failure_arn=f"kafka://{topic}"), source)


def test_a_kafka_topic_gets_each_record_with_its_key(bootstrap_servers: str) -> None:
    """AWS Lambda developer guide, using a Kafka topic as an on-failure destination: one message a record."""
    records = [
        KafkaRecord("essays", 0, 5, 1_795_000_000_000, key=b"k-1", value=b"one", headers=(("h", b"\xff"),)),
        KafkaRecord("essays", 2, 9, 1_795_000_001_000, value=None),
        KafkaRecord("essays", 0, 6, 1_795_000_002_000, key=b"k-1", value=b"two"),
    ]
    kafka_destination(bootstrap_servers, "letters")(
        Discarded(tuple(records), RETRIES_EXHAUSTED, 3, Failed("boom", "r-1"))
    )
    found = read_all(bootstrap_servers, "letters", 3)
    by_offset = {message["KafkaBatchInfo"]["recordInfo"]["offset"]: message for _, _, message in found}

    assert sorted(by_offset) == ["5", "6", "9"]
    assert {key for _, key, message in found if message["payload"]["records"].get("essays-0")} == {b"k-1"}
    assert len({partition for partition, key, _ in found if key == b"k-1"}) == 1
    assert [key for _, key, message in found if "essays-2" in message["payload"]["records"]] == [None]
    message = by_offset["5"]
    assert message["requestContext"] == {
        "requestId": "r-1",
        "functionArn": f"{FUNCTION}:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert message["KafkaBatchInfo"]["batchSize"] == 1
    assert message["KafkaBatchInfo"]["recordInfo"]["timestamp"] == "2026-11-18T11:06:40.000Z"
    assert message["payload"]["eventSource"] == "aws:kafka"
    assert message["payload"]["records"]["essays-0"][0]["headers"] == [{"h": [-1]}]


@pytest.mark.parametrize(("condition", "topic"), [(AGE_EXCEEDED, "too-old"), (PAYLOAD_EXCEEDED, "too-large")])
def test_other_conditions_are_spelled_alike_everywhere(
    bootstrap_servers: str, condition: str, topic: str
) -> None:
    """The guide's samples differ in the word for exhausted retries alone."""
    discarded = Discarded((KafkaRecord("essays", 1, 1, 0, value=b"x"),), condition, 0)
    kafka_destination(bootstrap_servers, topic)(discarded)
    [(_, _, message)] = read_all(bootstrap_servers, topic, 1)

    assert message["requestContext"]["condition"] == condition
    assert message["responseContext"] is None


@pytest.mark.slow
def test_a_broker_that_is_away_is_told() -> None:
    """Until the broker has answered, nothing counts as delivered."""
    with pytest.raises(DestinationError, match="letters"):
        kafka_destination("127.0.0.1:1", "letters")(DISCARDED)
