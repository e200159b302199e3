"""How far each partition may be committed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .records import KafkaRecord


@dataclass
class _Lane:
    topic: str
    partition: int
    open: deque[int] = field(default_factory=deque)
    done: set[int] = field(default_factory=set)
    end: int | None = None
    position: int | None = None
    committed: int | None = None


class Ledger:
    """Which records of each partition have an outcome, and so how far it may be committed.

    An offset is committed once it and all before it are known to be delivered, given up on or filtered out: Lambda
    commits "offsets for matched and unmatched messages" alike ("Properly filtering Kafka messages").
    """

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}

    def read(self, record: KafkaRecord) -> None:
        """A record was read and has no outcome yet. Those of a partition must come in order."""
        lane = self._lanes.setdefault(record.lane, _Lane(record.topic, record.partition))
        if lane.open and record.offset <= lane.open[-1]:
            # The partition was made anew, or reading was set back: what was read before has no say any more.
            lane.open.clear()
            lane.done.clear()
        lane.end = None
        lane.open.append(record.offset)

    def settle(self, records: Iterable[KafkaRecord]) -> None:
        """The outcome of these records is known. Those that were forgotten meanwhile change nothing."""
        for record in records:
            if (lane := self._lanes.get(record.lane)) is None or not lane.open:
                continue
            if record.offset >= lane.open[0]:
                lane.done.add(record.offset)
            while lane.open and lane.open[0] in lane.done:
                lane.position = lane.open.popleft() + 1
                lane.done.discard(lane.position - 1)
            self._to_end(lane)

    def reached_end(self, topic: str, partition: int, offset: int) -> None:
        """All records of a partition before this offset were read.

        The last of them may lie further back: the markers that end transactions take offsets, and so do aborted records.
        """
        lane = self._lanes.setdefault(f"{topic}-{partition}", _Lane(topic, partition))
        lane.end = offset
        self._to_end(lane)

    def _to_end(self, lane: _Lane) -> None:
        if (
            lane.end and not lane.open
        ):  # the end of a partition that never had a record is no position to keep
            lane.position = lane.end

    @property
    def without_outcome(self) -> int:
        """Records that were read and not settled."""
        return sum(len(lane.open) for lane in self._lanes.values())

    def forget(self, lanes: Iterable[str]) -> None:
        """Another consumer reads these partitions from now on."""
        for lane in lanes:
            self._lanes.pop(lane, None)

    def to_commit(self) -> dict[str, tuple[str, int, int]]:
        """By lane: topic, partition and the offset to go on from, where that has moved since `committed`."""
        return {
            name: (lane.topic, lane.partition, lane.position)
            for name, lane in self._lanes.items()
            if lane.position is not None and lane.position != lane.committed
        }

    def committed(self, positions: Mapping[str, tuple[str, int, int]]) -> None:
        """These positions are committed."""
        for name, (_, _, offset) in positions.items():
            if name in self._lanes:
                self._lanes[name].committed = offset
