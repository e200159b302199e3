"""A Kafka message as the record of an event: the operators' commands and the local event source mapping make the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message
from ras.kafka.publish import Event, publish
from ras.kafka.records import event_record
from ras.kafka.topic import TopicLog
from ras_local.mapping import records

from tests.ops import brokers as kafka

if TYPE_CHECKING:
    from ras.kafka.msk_iam import Brokers

EVENTS: tuple[dict[str, Any], ...] = (
    {"value": b'{"a": 1}', "key": b"key"},
    {"value": b"\x00\xff not UTF-8", "key": b"\xfe"},
    {"value": b"", "key": b""},
    {"value": None, "key": b"tombstone"},
    {"value": b"no key"},
    {"value": None},
    {
        "value": b"headers",
        "headers": (
            ("h", b"\xff\x80\x7f"),
            ("h", b"again"),
            ("empty", b""),
            ("n", None),
            ("é", "ü".encode()),
        ),
    },
)


def messages(brokers: Brokers, topic: str) -> list[Message]:
    publish(brokers.bootstrap_servers, [Event(topic, partition=0, **one) for one in EVENTS])
    kafka.fill(brokers, topic, {1: [0, 1, 1_772_438_400_000]})
    log = TopicLog(brokers, topic)
    bounds = log.bounds()
    return list(
        log.read({p: one.low for p, one in bounds.items()}, {p: one.high for p, one in bounds.items()})
    )


def test_both_make_the_same_record_of_a_message(brokers: Brokers, topic: str) -> None:
    found = messages(brokers, topic)
    # The embedded broker's topics have the producer's time only.
    found.append(Message(topic, 1, 7, b"k", b"v", timestamp=(TIMESTAMP_LOG_APPEND_TIME, 1_772_438_400_001)))

    assert len(found) == len(EVENTS) + 4
    for message in found:
        assert event_record(message) == records.event_record(records.to_record(message))


def test_a_record_is_as_aws_sends_it(brokers: Brokers, topic: str) -> None:
    """Lambda developer guide, Using Lambda with Amazon MSK: base64, signed header bytes, nothing where a null is."""
    made = {(one["partition"], one["offset"]): one for one in map(event_record, messages(brokers, topic))}

    assert made[1, 2] == {
        "topic": topic,
        "partition": 1,
        "offset": 2,
        "timestamp": 1_772_438_400_000,
        "timestampType": "CREATE_TIME",
        "value": "eA==",
        "headers": [],
    }
    assert made[0, 1]["key"] == "/g=="
    assert (made[0, 2]["key"], made[0, 2]["value"]) == ("", "")
    assert made[0, 3].keys() & {"key", "value"} == {"key"}
    assert not made[0, 5].keys() & {"key", "value"}
    assert made[0, 6]["headers"] == [
        {"h": [-1, -128, 127]},
        {"h": [97, 103, 97, 105, 110]},
        {"empty": []},
        {"n": []},
        {"é": [-61, -68]},
    ]


def test_the_brokers_own_time_is_told_as_such() -> None:
    stamped = Message("t", 0, 0, timestamp=(TIMESTAMP_LOG_APPEND_TIME, 1_772_438_400_001))

    assert event_record(stamped)["timestampType"] == "LOG_APPEND_TIME"
    assert event_record(stamped)["timestamp"] == 1_772_438_400_001
