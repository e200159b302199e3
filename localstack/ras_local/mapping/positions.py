"""Where reading begins in partitions without a commit ("Kafka starting positions")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from confluent_kafka import Consumer

    from .records import KafkaRecord
    from .settings import MappingSettings

_TIMEOUT_S = 10


def lane_of(partition: TopicPartition) -> str:
    """The name of a partition, as `KafkaRecord.lane`."""
    return f"{partition.topic}-{partition.partition}"


def lanes(partitions: Iterable[TopicPartition]) -> set[str]:
    """The names of partitions, as `KafkaRecord.lane`."""
    return {lane_of(partition) for partition in partitions}


class StartingPosition:
    """TRIM_HORIZON, LATEST or AT_TIMESTAMP, for one consumer; where there is a commit, it alone counts."""

    def __init__(self, settings: MappingSettings) -> None:
        self._topic = settings.topic
        self._kind = settings.starting_position
        self._moment = settings.starting_timestamp_ms or 0
        self._skipping: set[str] = set()  # lanes on their way to a time that the broker cannot look up

    def seek(
        self,
        consumer: Consumer,
        partitions: list[TopicPartition],
        committed: list[TopicPartition],
        remade: Collection[int] = (),
    ) -> list[TopicPartition]:
        """Assign the partitions with LATEST and AT_TIMESTAMP applied; returns the positions that were found.

        `committed` are the group's commits; the offset is negative where there is none. The partitions in `remade` have
        commits of an earlier topic, so this one is read from its beginning.

        Chosen: those are to be committed at once, so that what arrives before the first batch is not skipped when the
        poller or the broker starts again.
        """
        if self._kind == "TRIM_HORIZON" and not remade:
            return []
        new = [p for p in committed if p.offset < 0 and self._kind != "TRIM_HORIZON"]
        # The ends first: what is published from here on comes after them.
        ends = {p.partition: consumer.get_watermark_offsets(p, timeout=_TIMEOUT_S) for p in new}
        if self._kind == "LATEST":
            start = {partition: end for partition, (_, end) in ends.items()}
        else:
            start = self._offsets_at_moment(consumer, ends)
        for partition in committed:
            if partition.partition in remade:
                start[partition.partition], _ = consumer.get_watermark_offsets(partition, timeout=_TIMEOUT_S)
        found = [TopicPartition(self._topic, partition, at) for partition, at in start.items()]
        self._skipping |= lanes(new) - lanes(found)
        begin = {p.partition: OFFSET_BEGINNING for p in new} | start
        consumer.assign(
            [TopicPartition(p.topic, p.partition, begin.get(p.partition, p.offset)) for p in partitions]
        )
        return found

    def is_too_early(self, record: KafkaRecord) -> bool:
        """Only up to the first record at or after the time: those behind it come whatever their time is."""
        if record.lane not in self._skipping:
            return False
        if record.timestamp < self._moment:
            return True
        self._skipping.discard(record.lane)
        return False

    def forget(self, gone: Iterable[str]) -> None:
        """Another consumer reads these lanes from now on."""
        self._skipping -= set(gone)

    def _offsets_at_moment(self, consumer: Consumer, ends: dict[int, tuple[int, int]]) -> dict[int, int]:
        """By partition, the first offset at or after the time, or the end where there is none.

        A partition is left out where the broker keeps no index of times: reading starts at its beginning then, and
        what is older is skipped.
        """

        def look_up(at: int) -> dict[int, int]:
            asked = [TopicPartition(self._topic, partition, at) for partition in ends]
            return {p.partition: p.offset for p in consumer.offsets_for_times(asked, timeout=_TIMEOUT_S)}

        if not ends:
            return {}
        found, first = look_up(self._moment), look_up(0)
        start = {}
        for partition, (low, end) in ends.items():
            if found[partition] >= 0:
                start[partition] = found[partition]
            elif low == end or first[partition] >= 0:
                start[partition] = end
        return start
