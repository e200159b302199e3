"""One consumer of a mapping's group, from joining to leaving."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from .batching import Backlog
from .commits import Ledger
from .filters import FilterCriteria
from .kafka_client import client_settings
from .positions import StartingPosition, lane_of, lanes
from .records import Nulls, to_record
from .topic_ids import TopicIdentity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from confluent_kafka import Message

    from .events import EventSource
    from .problems import Problems
    from .settings import MappingSettings
    from .status import Counters
    from .topic_ids import TopicIds

logger = logging.getLogger(__name__)

_FETCH = 500  # records taken from librdkafka's queue at a time
_BATCHES_AHEAD = 4
_TIMEOUT_S = 10
_COMMIT_S = 1.0  # how often positions move where nothing is invoked, as every record is filtered out

_NOT_COMMITTABLE = {
    # The partition belongs to another member of the group now, which reads those records again.
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError._STATE,
    KafkaError._NO_OFFSET,
}


class GroupConsumer:
    """Reads a mapping's topic into `backlog` and commits what `ledger` knows the outcome of.

    It is used by one thread; `assigned` (partitions) and `ready` may be read by others.
    """

    def __init__(
        self,
        settings: MappingSettings,
        source: EventSource,
        *,
        kafka_options: Mapping[str, str],
        nulls: Nulls,
        counters: Counters,
        problems: Problems,
        topic_ids: TopicIds,
    ) -> None:
        self.assigned: set[int] = set()
        self.ready = False
        self.backlog = Backlog(settings, source, now=time.monotonic())
        self.ledger = Ledger()
        self._settings = settings
        self._nulls = nulls
        self._counters = counters
        self._problems = problems
        self._filters = FilterCriteria(settings.filters)
        self._start = StartingPosition(settings)
        self._identity = TopicIdentity(topic_ids, settings.topic)
        self._next: dict[str, int] = {}  # by lane, the offset that should come next
        self._gaps: dict[
            str, list[tuple[TopicPartition, int]]
        ] = {}  # by lane: offsets passed over since the last look
        self._holding = False
        self._committed_at = 0.0
        self._consumer = Consumer(
            client_settings(
                source.bootstrap_servers,
                kafka_options,
                group_id=settings.consumer_group_id,
                enable_auto_commit=False,
                enable_auto_offset_store=False,
                enable_partition_eof=True,
                auto_offset_reset="latest" if settings.starting_position == "LATEST" else "earliest",
                # The shortest that Apache Kafka accepts by default: how long a killed poller is waited for.
                session_timeout_ms=6000,
                heartbeat_interval_ms=2000,
                fetch_wait_max_ms=100,
                topic_metadata_refresh_interval_ms=10_000,
                queued_max_messages_kbytes=16_384,
                on_error=problems.of_client,
            )
        )
        self._consumer.subscribe(
            [settings.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    # --- reading ---

    def read(self, timeout_s: float) -> None:
        """Take what has arrived, waiting up to `timeout_s` for it.

        Raises KafkaException when the client is finished, and TopicRemadeError when the topic is another one.
        """
        self._identity.check()
        self._hold()
        # Also while reading is on hold: rebalances are served in here, and a member that never asks is put out.
        for message in self._consumer.consume(_FETCH, timeout_s):
            error = message.error()
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                self._note_end(message)
                continue
            if error is not None:
                self._complain(error)
                continue
            self._counters.read += 1
            self._problems.reading_continues()
            record = to_record(message, self._nulls)
            self._note_position(
                TopicPartition(record.topic, record.partition, record.offset), record.offset + 1
            )
            if self._start.is_too_early(record):
                self._counters.skipped += 1
                continue
            self.ledger.read(record)
            if self._filters.take(record.value):
                self.backlog.add(record)
            else:
                self._counters.filtered_out += 1
                self.ledger.settle([record])
        self._judge_gaps()

    def _hold(self) -> None:
        """Stop reading some batches ahead of the function, and go on once it has caught up."""
        waiting, ahead = len(self.backlog), _BATCHES_AHEAD * self._settings.batch_size
        if not self._holding and waiting >= ahead:
            self._consumer.pause(self._consumer.assignment())
            self._holding = True
        elif self._holding and waiting <= ahead // 2:
            self._consumer.resume(self._consumer.assignment())
            self._holding = False

    def _note_end(self, message: Message) -> None:
        """The partition has no more to read: its end is where reading continues, past the markers of transactions."""
        end = TopicPartition(str(message.topic()), int(message.partition() or 0), int(message.offset() or 0))
        self._note_position(end, end.offset)
        self.ledger.reached_end(end.topic, end.partition, end.offset)

    def _note_position(self, at: TopicPartition, then: int) -> None:
        """Reading is at an offset, and continues at `then`. What it passed over is judged after the read."""
        lane = lane_of(at)
        expected = self._next.get(lane)
        if expected is not None and at.offset > expected:
            self._gaps.setdefault(lane, []).append((at, expected))
        self._next[lane] = then

    def _judge_gaps(self) -> None:
        """Report offsets that the broker dropped before they were read: no retry brings those back.

        Others are passed over as well: markers of transactions, aborted records, what compaction removed. Only where a log
        begins after the offset that was expected is something lost.
        """
        for lane, passed in list(self._gaps.items()):
            try:
                found = self._consumer.get_watermark_offsets(passed[0][0], timeout=_TIMEOUT_S)
            except KafkaException:
                found = None
            if found is None:
                continue  # the broker is away: after the next read, it is queried again
            del self._gaps[lane]
            low, _ = found
            for at, expected in passed:
                if (begins := min(low, at.offset)) > expected:
                    self._counters.lost += begins - expected
                    self._problems.of_lost(lane, expected, begins - 1, self._counters.lost)

    def _complain(self, error: KafkaError) -> None:
        self._problems.of_client(error)
        if error.fatal():
            raise KafkaException(error)

    # --- the group ---

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.assigned |= {partition.partition for partition in partitions}
        logger.info("%s: reads partitions %s", self._settings.topic, sorted(self.assigned))
        committed = self._consumer.committed(partitions, timeout=_TIMEOUT_S)
        self._identity.learn()
        if remade := self._identity.of_earlier_topic(committed):
            self._problems.of_remade_topic(self._settings.topic)
        self._next |= {
            lane_of(partition): partition.offset
            for partition in committed
            if partition.offset >= 0 and partition.partition not in remade
        }
        if found := self._start.seek(self._consumer, partitions, committed, remade):
            self._commit(found)
        self._holding = False  # what is newly assigned is read
        self.ready = True
        self._problems.reading_continues()

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        gone = lanes(partitions)
        self.assigned -= {partition.partition for partition in partitions}
        logger.info("%s: gave up %d partitions", self._settings.topic, len(partitions))
        self.backlog.forget(gone)
        self.ledger.forget(gone)
        self._start.forget(gone)
        for lane in gone:
            self._next.pop(lane, None)
            self._gaps.pop(lane, None)
        # The client remembers what is on hold, also over a new assignment, where nobody would let it go on.
        self._consumer.resume(partitions)

    # --- committing ---

    @property
    def commit_is_due(self) -> bool:
        """Records that were filtered out are committed once a second where a mapping takes none."""
        return time.monotonic() - self._committed_at >= _COMMIT_S

    def commit(self) -> bool:
        """Commit how far outcomes are known; False where the broker is away, so that it is to be tried again."""
        positions = self.ledger.to_commit()
        if positions and not self._commit([TopicPartition(*where) for where in positions.values()]):
            return False
        self.ledger.committed(positions)
        self._committed_at = time.monotonic()
        return True

    def _commit(self, positions: list[TopicPartition]) -> bool:
        named = [self._identity.named(position) for position in positions]
        try:
            self._consumer.commit(offsets=named, asynchronous=False)
        except KafkaException as error:
            kafka_error: KafkaError = error.args[0]
            if kafka_error.code() in _NOT_COMMITTABLE:
                logger.warning("%s: not committed, will be read again: %s", self._settings.topic, kafka_error)
                return True
            self._complain(kafka_error)
            return False
        return True
