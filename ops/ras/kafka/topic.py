"""A topic as a log: where a moment lies in it, and the records of a stretch, read without touching any group."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ras.errors import OperatorError, UnreachableError
from ras.kafka.client import quiet_client
from ras.kafka.errors import Door, lacking, needing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from confluent_kafka import Message
    from confluent_kafka.admin import ClusterMetadata  # type: ignore[attr-defined]  # its stubs forget it

    from ras.kafka.msk_iam import Brokers

_Of = TypeVar("_Of")
_Told = TypeVar("_Told")

_TIMEOUT_S = 15.0
_READERS = "ras-replay-"
AT_A_TIME = 4
"""Clients that sign in: MSK's smallest brokers take four new connections a second with IAM, and refuse more (developer
guide, quotas)."""
_STALL_S = 30.0
"""Without a record for so long, a read is given up: some record or the end of the partition always comes."""


@dataclass(frozen=True)
class Bounds:
    """What a partition holds: offsets from `low` up to, not including, `high`."""

    low: int
    high: int


class TopicLog:
    """One topic.

    Methods raise OperatorError when it does not exist or a right is missing, KafkaException when no broker answers.
    """

    def __init__(self, brokers: Brokers, topic: str) -> None:
        self.topic = topic
        self._brokers = brokers
        self._door = Door(brokers.bootstrap_servers)

    def bounds(self) -> dict[int, Bounds]:
        """What each partition holds now."""
        return self.cluster_and_bounds()[1]

    def cluster_and_bounds(self) -> tuple[str, dict[int, Bounds]]:
        """The cluster's own id, whatever addresses its brokers are reached by, and the `bounds`."""
        consumer = self._consumer()
        try:
            metadata = self._metadata(consumer)
            return str(metadata.cluster_id), self._bounds(consumer, metadata)
        finally:
            consumer.close()

    def positions_at(self, moment_ms: int) -> dict[int, int]:
        """In each partition the first offset whose record's timestamp is at or after a moment; its end if there is none.

        Brokers that cannot look times up (librdkafka's mock answers "no such record" to every question) are
        recognised by asking for the beginning of time as well; there the log is read and its timestamps compared.
        """
        consumer = self._consumer()
        try:
            bounds = self._bounds(consumer, self._metadata(consumer))
            if self._looks_up(consumer, bounds):
                found = self._look_up(consumer, bounds, moment_ms)
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

    def read(
        self, starts: Mapping[int, int], ends: Mapping[int, int], *, as_nobody: bool = False
    ) -> Iterator[Message]:
        """The records from `starts` up to, not including, `ends`, in order within a partition.

        `as_nobody`: without a right on any group. The client looks for its group's coordinator, which reading needs not.

        Raises OperatorError where the broker stops sending before the end.
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
                    number = int(message.partition() or 0)
                    error = message.error()
                    if (
                        as_nobody
                        and error is not None
                        and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
                    ):
                        continue
                    if error is not None and error.code() != KafkaError._PARTITION_EOF:
                        raise lacking(error, **self._rights("ReadData")) or KafkaException(error)
                    if number not in open_:
                        continue  # what is published meanwhile tells nothing of the partitions that are waited for
                    heard = time.monotonic()
                    if error is not None:
                        open_.discard(number)
                        continue
                    offset = int(message.offset() or 0)
                    if offset < ends[number]:
                        yield message
                        heard = time.monotonic()  # the caller's time is not the broker's silence
                    if offset + 1 >= ends[number]:
                        open_.discard(number)
                if time.monotonic() - heard > _STALL_S:
                    self._door.check()
                    raise UnreachableError(
                        f"the broker sends no more of {self.topic}", "Run the same command again."
                    )
        finally:
            consumer.close()

    def _looks_up(self, consumer: Consumer, bounds: Mapping[int, Bounds]) -> bool:
        held = [number for number, bound in bounds.items() if bound.low < bound.high]
        return not held or all(offset >= 0 for offset in self._look_up(consumer, held, 0).values())

    def _look_up(self, consumer: Consumer, numbers: Iterable[int], moment_ms: int) -> dict[int, int]:
        """What the brokers know of a moment, by partition: an offset, or -1 where they know none."""
        asked = [TopicPartition(self.topic, number, moment_ms) for number in numbers]
        answered = consumer.offsets_for_times(asked, timeout=_TIMEOUT_S)
        for partition in answered:
            if partition.error is not None:
                raise KafkaException(partition.error)
        return {partition.partition: partition.offset for partition in answered}

    def _metadata(self, consumer: Consumer) -> ClusterMetadata:
        return self._door.metadata(consumer, self.topic, timeout_s=_TIMEOUT_S)

    def _bounds(self, consumer: Consumer, metadata: ClusterMetadata) -> dict[int, Bounds]:
        found = metadata.topics[self.topic]
        if found.error is not None and (right := lacking(found.error, **self._rights("DescribeTopic"))):
            raise right
        if found.error is not None or not found.partitions:
            raise OperatorError(
                f"the brokers at {self._brokers.bootstrap_servers} have no topic {self.topic}"
            )
        bounds = {}
        for number in sorted(found.partitions):
            with needing(**self._rights("DescribeTopic")):
                answer = consumer.get_watermark_offsets(
                    TopicPartition(self.topic, number), timeout=_TIMEOUT_S, cached=False
                )
            if answer is None:
                raise UnreachableError(
                    f"no answer on {self.topic}, partition {number}", "Run the same command again."
                )
            bounds[number] = Bounds(*answer)
        return bounds

    def _rights(self, action: str) -> dict[str, str]:
        return {"topic": f"{action} on topic {self.topic}", "group": f"DescribeGroup on group {_READERS}*"}

    def _consumer(self, **settings: Any) -> Consumer:
        made = quiet_client(
            self._brokers.bootstrap_servers,
            on_error=self._door,
            # The client wants a group's name; nothing is committed to it.
            group_id=f"{_READERS}{uuid4()}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            **settings,
        )
        return Consumer({**made, **self._brokers.settings})


def each(ask: Callable[[_Of], _Told], of: Iterable[_Of]) -> list[_Told]:
    """What is asked of several topics, some at a time and in their order: every client waits a second for its token."""
    with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix="topic") as pool:
        return list(pool.map(ask, of))
