"""A broker for the tests of this folder, with topics that nobody else uses."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, Producer, TopicPartition
from ras.kafka.client import quiet_client
from ras_local.mapping.records import to_record

if TYPE_CHECKING:
    import threading

    from ras.kafka.msk_iam import Brokers
    from ras_local.mapping.records import KafkaRecord


def fill(brokers: Brokers, topic: str, timestamps: dict[int, list[int]], value: bytes = b"x") -> None:
    """Publish a record per timestamp into each partition, in that order."""
    producer = Producer(quiet_client(brokers.bootstrap_servers))
    for partition, moments in timestamps.items():
        for moment in moments:
            producer.produce(topic, value, partition=partition, timestamp=moment)
    assert producer.flush(10) == 0


@dataclass
class Member:
    """A consumer in a group that reads and commits until it is stopped, as a mapping does."""

    brokers: Brokers
    group: str
    topic: str
    read: list[KafkaRecord] = field(default_factory=list)

    def run(self, stopping: threading.Event) -> None:
        consumer = Consumer(
            quiet_client(
                self.brokers.bootstrap_servers,
                group_id=self.group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                session_timeout_ms=6000,
                heartbeat_interval_ms=2000,
            )
        )
        consumer.subscribe([self.topic])
        try:
            while not stopping.is_set():
                for message in consumer.consume(100, 0.1):
                    assert message.error() is None
                    record = to_record(message)
                    position = TopicPartition(record.topic, record.partition, record.offset + 1)
                    consumer.commit(offsets=[position], asynchronous=False)
                    self.read.append(record)
        finally:
            consumer.close()

    def wait(self, number: int, timeout_s: float = 120) -> None:
        """Until so many records have been read."""
        deadline = time.monotonic() + timeout_s
        while len(self.read) < number:
            assert time.monotonic() < deadline, f"{len(self.read)} of {number} records were read"
            time.sleep(0.05)
