"""A topic as a log: where a moment lies in it, and the records of a stretch, read without touching any group."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from ras_local.broker import quiet_client
from ras_local.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from confluent_kafka import Message

    from ras_ops.deployment import Brokers

_TIMEOUT_S = 15.0
_STALL_S = 30.0
"""Without a record for so long, a read is given up: some record or the end of the partition always comes."""


@dataclass(frozen=True)
class Bounds:
    """What a partition holds: offsets from `low` up to, not including, `high`."""

    low: int
    high: int


class TopicLog:
    """One topic. Methods raise StackError when it does not exist, KafkaException when no broker answers."""

    def __init__(self, brokers: Brokers, topic: str) -> None:
        self.topic = topic
        self._brokers = brokers

    def bounds(self) -> dict[int, Bounds]:
        """What each partition holds now."""
        consumer = self._consumer()
        try:
            return self._bounds(consumer)
        finally:
            consumer.close()

    def positions_at(self, moment_ms: int) -> dict[int, int]:
        """In each partition the first offset whose record's timestamp is at or after a moment; its end if there is none.

        Brokers that cannot look times up (librdkafka's mock answers "no such record" to every question) are
        recognised by asking for the beginning of time as well; there the log is read and its timestamps compared.
        """
        consumer = self._consumer()
        try:
            bounds = self._bounds(consumer)
            if self._looks_up(consumer, bounds):
                asked = [TopicPartition(self.topic, number, moment_ms) for number in bounds]
                found = {p.partition: p.offset for p in consumer.offsets_for_times(asked, timeout=_TIMEOUT_S)}
                return {
                    number: found[number] if found[number] >= 0 else held.high
                    for number, held in bounds.items()
                }
        finally:
            consumer.close()
        positions = {number: held.high for number, held in bounds.items()}
        open_ = {number: held for number, held in bounds.items() if held.low < held.high}
        for message in self.read(
            {n: held.low for n, held in open_.items()}, {n: h.high for n, h in open_.items()}
        ):
            number, offset = int(message.partition() or 0), int(message.offset() or 0)
            if message.timestamp()[1] >= moment_ms:
                positions[number] = min(positions[number], offset)
        return positions

    def read(self, starts: Mapping[int, int], ends: Mapping[int, int]) -> Iterator[Message]:
        """The records from `starts` up to, not including, `ends`, in order within a partition.

        Raises StackError where the broker stops sending before the end.
        """
        open_ = {number for number, start in starts.items() if start < ends[number]}
        if not open_:
            return
        consumer = self._consumer(enable_partition_eof=True)
        try:
            consumer.assign([TopicPartition(self.topic, number, starts[number]) for number in sorted(open_)])
            heard = time.monotonic()
            while open_:
                for message in consumer.consume(500, 0.05):
                    heard = time.monotonic()
                    number = int(message.partition() or 0)
                    error = message.error()
                    if error is not None:
                        if error.code() != KafkaError._PARTITION_EOF:
                            raise KafkaException(error)
                        open_.discard(number)
                        continue
                    offset = int(message.offset() or 0)
                    if offset < ends[number]:
                        yield message
                    if offset + 1 >= ends[number]:
                        open_.discard(number)
                if time.monotonic() - heard > _STALL_S:
                    raise StackError(
                        f"the broker sends no more of {self.topic}", "Run the same command again."
                    )
        finally:
            consumer.close()

    def _looks_up(self, consumer: Consumer, bounds: Mapping[int, Bounds]) -> bool:
        held = [number for number, bound in bounds.items() if bound.low < bound.high]
        beginning = [TopicPartition(self.topic, number, 0) for number in held]
        return not held or all(
            p.offset >= 0 for p in consumer.offsets_for_times(beginning, timeout=_TIMEOUT_S)
        )

    def _bounds(self, consumer: Consumer) -> dict[int, Bounds]:
        found = consumer.list_topics(self.topic, timeout=_TIMEOUT_S).topics[self.topic]
        if found.error is not None or not found.partitions:
            raise StackError(f"the brokers at {self._brokers.bootstrap_servers} have no topic {self.topic}")
        bounds = {}
        for number in sorted(found.partitions):
            answer = consumer.get_watermark_offsets(
                TopicPartition(self.topic, number), timeout=_TIMEOUT_S, cached=False
            )
            if answer is None:
                raise StackError(
                    f"no answer on {self.topic}, partition {number}", "Run the same command again."
                )
            bounds[number] = Bounds(*answer)
        return bounds

    def _consumer(self, **settings: Any) -> Consumer:
        made = quiet_client(
            self._brokers.bootstrap_servers,
            # The client wants a group's name; nothing is committed to it.
            group_id=f"ras-replay-{uuid4()}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **settings,
        )
        return Consumer({**made, **self._brokers.settings})
