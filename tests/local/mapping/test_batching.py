"""When records become a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from ras_local.mapping.batching import Backlog
from ras_local.mapping.events import PAYLOAD_LIMIT, render_event

from tests.local.mapping.made import ON_DEMAND, SOURCE, TOPIC, record, records

if TYPE_CHECKING:
    from ras_local.mapping.records import KafkaRecord
    from ras_local.mapping.settings import MappingSettings


class TestBatching:
    """AWS Lambda developer guide, batching behavior: when records become a batch."""

    def backlog(self, mapping: MappingSettings = ON_DEMAND, **changes: Any) -> Backlog:
        return Backlog(replace(mapping, **changes), SOURCE, now=0.0)

    def test_nothing_is_sent_before_the_window_ends(self) -> None:
        """Batching behavior: a batch is sent when its window ends."""
        backlog = self.backlog(window_s=2.0)
        backlog.add(record(1))

        assert backlog.take(now=1.9) == []
        assert backlog.take(now=2.0) == records(1)

    def test_a_full_batch_does_not_wait_for_the_window(self) -> None:
        """Batching behavior: a batch is sent when it has BatchSize records."""
        backlog = self.backlog(window_s=300.0, batch_size=2)
        for each in records(1, 2, 3):
            backlog.add(each)

        assert backlog.take(now=0.1) == records(1, 2)
        assert backlog.take(now=0.2) == []

    def test_a_window_of_zero_sends_what_is_there(self) -> None:
        """Low latency Kafka: a window of 0 never waits for more records."""
        backlog = self.backlog(window_s=0.0)
        backlog.add(record(1))

        assert backlog.take(now=0.0) == records(1)

    def test_the_window_starts_when_the_previous_invocation_ended_not_with_the_first_record(self) -> None:
        """Batching behavior: for Kafka the window starts when the previous batch is completed."""
        backlog = self.backlog(window_s=2.0)
        backlog.restart_window(10.0)
        backlog.add(record(1))

        assert backlog.take(now=11.9) == []
        assert backlog.take(now=12.0) == records(1)

    def test_an_empty_window_is_followed_by_another(self) -> None:
        """Batching behavior: nothing is invoked without records."""
        backlog = self.backlog(window_s=2.0)

        assert backlog.take(now=3.0) == []
        backlog.add(record(1))
        assert backlog.take(now=4.0) == []
        assert backlog.take(now=5.0) == records(1)

    def test_a_batch_may_hold_several_partitions(self) -> None:
        """Processing messages (MSK): one invocation may hold records of several partitions."""
        backlog = self.backlog(window_s=0.0)
        for each in (record(1, 0), record(1, 1)):
            backlog.add(each)

        assert backlog.take(now=0.0) == [record(1, 0), record(1, 1)]

    def test_a_partition_in_flight_waits_and_the_others_do_not(self) -> None:
        """Processing messages (MSK): order per partition; so one batch of a partition at a time."""
        backlog = self.backlog(window_s=0.0)
        for each in (record(2, 0), record(1, 1), record(3, 0)):
            backlog.add(each)

        assert backlog.take(now=0.0, in_flight={"essays-0"}) == [record(1, 1)]
        assert backlog.take(now=0.0) == [record(2, 0), record(3, 0)]

    def test_a_batch_ends_before_the_payload_limit(self) -> None:
        """Batching behavior: a batch is sent before its payload exceeds 6 MB."""
        third = b"x" * (PAYLOAD_LIMIT // 4)  # base64 makes it a third of the limit
        backlog = self.backlog(window_s=300.0)
        for offset in range(4):
            backlog.add(record(offset, value=third))

        batch = backlog.take(now=0.0)

        assert [each.offset for each in batch] == [0, 1]
        assert len(render_event(SOURCE, batch)) <= PAYLOAD_LIMIT

    def test_a_record_over_the_payload_limit_is_a_batch_of_its_own(self) -> None:
        """Capturing discarded batches: such a record is discarded, so it must not take neighbours with it."""
        backlog = self.backlog(window_s=300.0)
        for each in (record(0, value=b"x" * PAYLOAD_LIMIT), record(1)):
            backlog.add(each)

        assert [each.offset for each in backlog.take(now=0.0)] == [0]

    def test_records_of_a_partition_that_was_taken_away_are_forgotten(self) -> None:
        """Kafka consumer groups: another poller reads them from the last commit."""
        backlog = self.backlog(window_s=0.0)
        for each in (record(1, 0), record(1, 1)):
            backlog.add(each)
        backlog.forget({"essays-0"})

        assert backlog.take(now=0.0) == [record(1, 1)]

    @settings(max_examples=60)
    @given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 7), st.sets(st.integers(0, 3)))
    def test_every_partition_keeps_its_order_and_nothing_is_lost(
        self, partitions: list[int], batch_size: int, busy: set[int]
    ) -> None:
        """Processing messages (MSK): reads are sequential per partition."""
        backlog = self.backlog(window_s=0.0, batch_size=batch_size)
        sent = [record(offset, partition) for offset, partition in enumerate(partitions)]
        for each in sent:
            backlog.add(each)

        taken: list[KafkaRecord] = []
        while batch := backlog.take(now=0.0, in_flight={f"{TOPIC}-{number}" for number in busy}):
            assert len(batch) <= batch_size
            taken += batch
        while batch := backlog.take(now=0.0):
            taken += batch

        for partition in range(4):
            assert [r for r in taken if r.partition == partition] == [
                r for r in sent if r.partition == partition
            ]
