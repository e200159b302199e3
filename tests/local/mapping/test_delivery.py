"""What AWS's event source mapping does with Kafka records; each test holds one fact of AWS's documentation."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ras_local.mapping.delivery import (
    AGE_EXCEEDED,
    INFINITE,
    PAYLOAD_EXCEEDED,
    PAYLOAD_LIMIT,
    RETRIES_EXHAUSTED,
    Backlog,
    Delivery,
    Discarded,
    EventSource,
    Failed,
    InvocationResult,
    KafkaRecord,
    Ledger,
    MalformedResponseError,
    MappingSettings,
    NotReached,
    Nulls,
    Succeeded,
    failed_items,
    failure_message,
    failure_object_key,
    failure_record,
    record_event,
    render_event,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ras_local.mapping import delivery as esm

TOPIC = "essays"
CLUSTER = "arn:aws:kafka:eu-north-1:000000000000:cluster/ras/1"
SOURCE = EventSource(CLUSTER, "b-1:9098,b-2:9098")
NOW_MS = 1_795_000_000_000

ON_DEMAND = MappingSettings(
    "uuid-1", TOPIC, "arn:aws:lambda:eu-north-1:000000000000:function:f", CLUSTER, "group-1"
)
PROVISIONED = replace(ON_DEMAND, provisioned=True, maximum_retry_attempts=2)
REPORTING = replace(PROVISIONED, report_batch_item_failures=True)


def record(
    offset: int, partition: int = 0, *, value: bytes | None = b"{}", timestamp: int = NOW_MS, **more: Any
) -> KafkaRecord:
    return KafkaRecord(TOPIC, partition, offset, timestamp, value=value, **more)


def records(*offsets: int, partition: int = 0) -> list[KafkaRecord]:
    return [record(offset, partition) for offset in offsets]


def handed_back(*items: tuple[str, Any]) -> Succeeded:
    entries = [{"itemIdentifier": {"partition": lane, "offset": offset}} for lane, offset in items]
    return Succeeded(json.dumps({"batchItemFailures": entries}).encode())


class StoppedError(Exception):
    """What the poller's own wait raises when it is told to stop."""


@dataclass
class Function:
    """A function under test conditions: answers by rule, remembers what it was given, and the waits between."""

    rule: Callable[[list[tuple[str, int]], int], InvocationResult]
    settings: MappingSettings = ON_DEMAND
    calls: list[list[tuple[str, int]]] = field(default_factory=list)
    discarded: list[Discarded] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    now_ms: int = NOW_MS
    stop_after: int = 200

    def invoke(self, event: str) -> InvocationResult:
        given_records = [
            (lane, entry["offset"])
            for lane, entries in json.loads(event)["records"].items()
            for entry in entries
        ]
        self.calls.append(given_records)
        return self.rule(given_records, len(self.calls))

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        if len(self.waits) >= self.stop_after:
            raise StoppedError

    def deliver(self, batch: Sequence[KafkaRecord]) -> esm.Tally:
        return Delivery(
            settings=self.settings,
            source=SOURCE,
            invoke=self.invoke,
            on_failure=self.discarded.append,
            now_ms=lambda: self.now_ms,
            wait=self.wait,
        ).deliver(batch)

    @property
    def offsets(self) -> list[list[int]]:
        return [[offset for _, offset in call] for call in self.calls]


def always(outcome: InvocationResult) -> Callable[[list[tuple[str, int]], int], InvocationResult]:
    return lambda _given, _call: outcome


def poison(*bad: int) -> Callable[[list[tuple[str, int]], int], InvocationResult]:
    """A function that raises whenever one of these offsets is in its event."""

    def rule(given_records: list[tuple[str, int]], _call: int) -> InvocationResult:
        return Failed("boom", "r-1") if any(offset in bad for _, offset in given_records) else Succeeded()

    return rule


class TestEvent:
    """AWS Lambda developer guide, using Lambda with Amazon MSK: the event."""

    def test_top_level_has_the_source_its_arn_and_the_brokers_as_one_string(self) -> None:
        """Using Lambda with Amazon MSK, example event: four fields at the top and nothing else."""
        event = json.loads(render_event(SOURCE, records(7)))

        assert {name: event[name] for name in event if name != "records"} == {
            "eventSource": "aws:kafka",
            "eventSourceArn": CLUSTER,
            "bootstrapServers": "b-1:9098,b-2:9098",
        }

    def test_records_are_grouped_by_topic_and_partition_in_order(self) -> None:
        """Using Lambda with Amazon MSK, example event: `records` is keyed by topic-partition."""
        batch = [record(1, 0), record(9, 3), record(2, 0)]

        event = json.loads(render_event(SOURCE, batch))

        assert {
            lane: [entry["offset"] for entry in entries] for lane, entries in event["records"].items()
        } == {
            "essays-0": [1, 2],
            "essays-3": [9],
        }

    def test_a_record_has_aws_names_and_types(self) -> None:
        """Using Lambda with Amazon MSK, example event: the fields of a record and their types."""
        told = record(5, 2, key=b"essay-1", headers=(("trace", b"abc"),), timestamp_type="LOG_APPEND_TIME")

        assert record_event(told) == {
            "topic": TOPIC,
            "partition": 2,
            "offset": 5,
            "timestamp": NOW_MS,
            "timestampType": "LOG_APPEND_TIME",
            "key": base64.b64encode(b"essay-1").decode(),
            "value": base64.b64encode(b"{}").decode(),
            "headers": [{"trace": [97, 98, 99]}],
        }

    def test_null_key_and_null_value_are_absent(self) -> None:
        """Filtering Kafka events: the record without a key has no such field. The default for values too."""
        event = record_event(record(1, value=None))

        assert "key" not in event
        assert "value" not in event

    @pytest.mark.parametrize(
        ("nulls", "offset", "shown"),
        [
            (Nulls.ABSENT, 1, False),
            (Nulls.NULL, 1, True),
            (Nulls.NULL, 2, True),
            (Nulls.ALTERNATE, 1, True),
            (Nulls.ALTERNATE, 2, False),
        ],
    )
    def test_null_key_and_null_value_may_be_shown(self, nulls: Nulls, offset: int, shown: bool) -> None:  # noqa: FBT001 (a parameter)
        """AWS's users report both forms of a tombstone, so a function can be tried with either."""
        event = json.loads(render_event(SOURCE, [record(offset, value=None, nulls=nulls)]))
        [entry] = event["records"]["essays-0"]

        assert ("key" in entry, "value" in entry) == (shown, shown)
        assert (entry.get("key"), entry.get("value")) == (None, None)

    def test_an_empty_key_or_value_is_not_a_null_one(self) -> None:
        """Kafka tells an empty value from a tombstone, and so does its base64."""
        event = record_event(record(1, value=b"", key=b""))

        assert (event["key"], event["value"]) == ("", "")

    def test_header_bytes_are_signed(self) -> None:
        """Powertools, decode_header_bytes: header bytes come as Java has them, from -128 to 127."""
        event = record_event(record(1, headers=(("h", b"\x00\x7f\x80\xff"),)))

        assert event["headers"] == [{"h": [0, 127, -128, -1]}]

    def test_headers_keep_order_and_repeated_names(self) -> None:
        """Using Lambda with Amazon MSK, example event: headers are a list of objects with one name each."""
        event = record_event(record(1, headers=(("a", b"1"), ("b", b"2"), ("a", b"3"))))

        assert event["headers"] == [{"a": [49]}, {"b": [50]}, {"a": [51]}]

    @given(st.binary(max_size=50), st.text(max_size=20))
    def test_any_bytes_and_any_name_survive(self, value: bytes, name: str) -> None:
        """Keys, values and headers are bytes: nothing is decoded on the way."""
        event = json.loads(render_event(SOURCE, [record(1, value=value, headers=((name, value),))]))
        entry = event["records"]["essays-0"][0]

        assert base64.b64decode(entry["value"]) == value
        assert entry["headers"] == [{name: [b - 256 if b > 127 else b for b in value]}]


class TestSettings:
    """AWS Lambda developer guide: what a mapping's settings mean, and those that Lambda does not take."""

    API = {
        "UUID": "uuid-1",
        "FunctionArn": "arn:aws:lambda:eu-north-1:000000000000:function:ras-local-ingest-essays",
        "EventSourceArn": CLUSTER,
        "Topics": [TOPIC],
        "State": "Enabled",
    }
    CONTROLS = {
        "MaximumRetryAttempts": 3,
        "MaximumRecordAgeInSeconds": 60,
        "BisectBatchOnFunctionError": True,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    }

    def test_defaults_are_a_hundred_records_and_half_a_second(self) -> None:
        """Batching behavior: BatchSize is 100 and the window 500 ms where nothing is set."""
        mapping = MappingSettings.from_api(self.API)

        assert (mapping.batch_size, mapping.window_s) == (100, 0.5)

    def test_a_window_of_zero_is_not_an_unset_one(self) -> None:
        """Low latency Kafka: a window of 0 is a setting of its own."""
        assert MappingSettings.from_api({**self.API, "MaximumBatchingWindowInSeconds": 0}).window_s == 0

    def test_the_group_is_the_mapping_id_unless_given(self) -> None:
        """Customizable consumer group ID: unique unless given; by the CDK README the mapping's UUID."""
        named = {**self.API, "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "mine"}}

        assert MappingSettings.from_api(self.API).consumer_group_id == "uuid-1"
        assert MappingSettings.from_api(named).consumer_group_id == "mine"

    def test_error_controls_are_those_of_provisioned_mode_only(self) -> None:
        """Kafka retry configurations: retries, age, bisecting and partial responses need provisioned mode."""
        on_demand = MappingSettings.from_api({**self.API, **self.CONTROLS})
        provisioned = MappingSettings.from_api(
            {**self.API, **self.CONTROLS, "ProvisionedPollerConfig": {"MinimumPollers": 2}}
        )

        assert (on_demand.maximum_retry_attempts, on_demand.maximum_record_age_s) == (INFINITE, INFINITE)
        assert (on_demand.bisect, on_demand.report_batch_item_failures) == (False, False)
        assert (provisioned.maximum_retry_attempts, provisioned.maximum_record_age_s) == (3, 60)
        assert (provisioned.bisect, provisioned.report_batch_item_failures) == (True, True)

    def test_zero_retries_are_not_endless_ones(self) -> None:
        """Kafka retry configurations: MaximumRetryAttempts 0 means none, -1 means endless."""
        mapping = MappingSettings.from_api(
            {**self.API, "MaximumRetryAttempts": 0, "ProvisionedPollerConfig": {"MinimumPollers": 1}}
        )

        assert mapping.retry_limit == 0

    def test_endless_retries_with_a_destination_are_ten(self) -> None:
        """Kafka retry configurations: endless retries and a destination together are ten retries."""
        assert replace(PROVISIONED, maximum_retry_attempts=-1).retry_limit == INFINITE
        assert (
            replace(PROVISIONED, maximum_retry_attempts=-1, on_failure_arn="arn:aws:s3:::b").retry_limit == 10
        )
        assert (
            replace(PROVISIONED, maximum_retry_attempts=12, on_failure_arn="arn:aws:s3:::b").retry_limit == 12
        )

    @pytest.mark.parametrize("state", ["Disabled", "Disabling", "Deleting"])
    def test_a_disabled_mapping_is_not_polled(self, state: str) -> None:
        """API reference, EventSourceMappingConfiguration: states in which nothing is read."""
        assert not MappingSettings.from_api({**self.API, "State": state}).enabled

    def test_a_starting_time_is_read_in_both_forms(self) -> None:
        """API reference: StartingPositionTimestamp is a time; templates have seconds."""
        moment = datetime(2026, 11, 23, tzinfo=UTC)
        for given_moment in (moment, moment.timestamp()):
            mapping = MappingSettings.from_api({**self.API, "StartingPositionTimestamp": given_moment})

            assert mapping.starting_timestamp_ms == int(moment.timestamp() * 1000)

    @pytest.mark.parametrize(
        ("changes", "problem"),
        [
            ({"topic": ""}, "no topic"),
            ({"on_failure_arn": "kafka://letters", "provisioned": False}, "needs provisioned mode"),
            ({"on_failure_arn": f"kafka://{TOPIC}"}, "another topic"),
            ({"on_failure_arn": "kafka://"}, "another topic"),
            ({"starting_position": "AT_TIMESTAMP"}, "StartingPositionTimestamp"),
            ({"filters": ('{"key": ["a"]}',)}, "value alone"),
        ],
    )
    def test_what_lambda_would_refuse_is_refused(self, changes: dict[str, Any], problem: str) -> None:
        """Kafka on-failure destination, requirements; starting positions; filtering: what Lambda checks itself."""
        assert problem in replace(PROVISIONED, **changes).refusal

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"on_failure_arn": "kafka://letters"},
            {"on_failure_arn": "arn:aws:s3:::b", "provisioned": False},
            {"filters": ('{"value": {"a": [1]}}',)},
        ],
    )
    def test_what_lambda_takes_is_taken(self, changes: dict[str, Any]) -> None:
        """S3, SQS and SNS destinations and filters exist in both modes; a Kafka topic in provisioned mode."""
        assert replace(PROVISIONED, **changes).refusal == ""

    def test_concurrency_never_exceeds_the_partitions(self) -> None:
        """Kafka event poller scaling modes: five invocations a poller, pollers up to the partitions."""
        assert replace(PROVISIONED, minimum_pollers=3).concurrency(partitions=4) == 4
        assert PROVISIONED.concurrency(partitions=8) == 5
        assert ON_DEMAND.concurrency(partitions=8) == 1


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


class TestLedger:
    """Reads are sequential per partition, offsets are committed when the outcome is known (processing messages: MSK)."""

    def ledger(self, *read: KafkaRecord) -> Ledger:
        made = Ledger()
        for each in read:
            made.read(each)
        return made

    def positions(self, ledger: Ledger) -> dict[str, int]:
        return {lane: offset for lane, (_, _, offset) in ledger.to_commit().items()}

    def test_nothing_is_committed_past_a_record_without_an_outcome(self) -> None:
        ledger = self.ledger(*records(4, 5, 6, 7))
        ledger.settle(records(5, 6))
        assert self.positions(ledger) == {}
        ledger.settle(records(4))

        assert self.positions(ledger) == {"essays-0": 7}

    def test_partitions_go_on_by_themselves(self) -> None:
        ledger = self.ledger(*records(1, 2), *records(9, partition=3))
        ledger.settle(records(9, partition=3))

        assert self.positions(ledger) == {"essays-3": 10}

    def test_what_is_committed_is_not_committed_again(self) -> None:
        ledger = self.ledger(*records(1, 2))
        ledger.settle(records(1))
        ledger.committed(ledger.to_commit())
        assert self.positions(ledger) == {}
        ledger.settle(records(2))

        assert self.positions(ledger) == {"essays-0": 3}

    def test_gaps_in_the_offsets_do_not_matter(self) -> None:
        ledger = self.ledger(*records(1, 5, 9))
        ledger.settle(records(1, 5))

        assert self.positions(ledger) == {"essays-0": 6}

    def test_a_partition_that_was_taken_away_has_no_say(self) -> None:
        ledger = self.ledger(*records(1, 2))
        ledger.forget({"essays-0"})
        ledger.settle(records(1, 2))

        assert self.positions(ledger) == {}

    def test_reading_that_is_set_back_starts_anew(self) -> None:
        ledger = self.ledger(*records(8, 9))
        for each in records(0, 1):
            ledger.read(each)
        ledger.settle(records(8, 9))
        assert self.positions(ledger) == {}
        ledger.settle(records(0))

        assert self.positions(ledger) == {"essays-0": 1}

    @given(st.permutations(range(12)), st.integers(0, 12))
    def test_the_position_is_the_first_offset_without_an_outcome(self, order: list[int], ended: int) -> None:
        ledger = self.ledger(*records(*range(12)))
        for offset in order[:ended]:
            ledger.settle(records(offset))
        first_open = min(set(range(12)) - set(order[:ended]), default=12)

        assert self.positions(ledger) == ({"essays-0": first_open} if first_open else {})


class TestOnDemand:
    """AWS Lambda developer guide, processing messages (MSK): the default mode."""

    def test_a_failed_batch_is_sent_again_as_a_whole_until_it_succeeds(self) -> None:
        """Processing messages (MSK): the whole batch is retried until it succeeds."""
        function = Function(lambda _given, call: Failed("boom") if call < 30 else Succeeded())

        tally = function.deliver(records(1, 2, 3))

        assert function.offsets == [[1, 2, 3]] * 30
        assert (tally.delivered, tally.discarded, tally.invocations, tally.failures) == (3, 0, 30, 29)

    def test_what_the_function_returns_is_not_looked_at(self) -> None:
        """Kafka retry configurations: partial batch responses exist in provisioned mode alone."""
        function = Function(always(handed_back((f"{TOPIC}-0", 1))))

        tally = function.deliver(records(1, 2))

        assert function.offsets == [[1, 2]]
        assert tally.delivered == 2

    def test_the_pauses_between_attempts_grow(self) -> None:
        """How event source mappings retry: with exponential backoff; its bounds are chosen."""
        function = Function(lambda _given, call: Failed("boom") if call < 8 else Succeeded())

        function.deliver(records(1))

        assert function.waits[-1] > 4 * function.waits[0]
        assert max(function.waits) <= 10

    def test_stopping_gives_up_the_batch_without_an_outcome(self) -> None:
        """At least once: what has no outcome is not committed and is read again."""
        function = Function(always(Failed("boom")), stop_after=3)

        with pytest.raises(StoppedError):
            function.deliver(records(1))
        assert function.discarded == []


class TestRetries:
    """AWS Lambda developer guide, Kafka retry configurations: attempts, throttles, record age."""

    def test_retries_are_attempts_after_the_first(self) -> None:
        """Kafka retry configurations: the number doesn't count the initial attempt."""
        function = Function(always(Failed("boom", "r-9")), PROVISIONED)

        tally = function.deliver(records(1, 2))

        assert function.offsets == [[1, 2]] * 3
        assert (tally.delivered, tally.discarded) == (0, 2)
        assert function.discarded == [
            Discarded(tuple(records(1, 2)), RETRIES_EXHAUSTED, 3, Failed("boom", "r-9"))
        ]

    def test_no_retries_means_one_attempt(self) -> None:
        """Kafka retry configurations: with 0 retries there is the initial attempt alone."""
        function = Function(always(Failed("boom")), replace(PROVISIONED, maximum_retry_attempts=0))

        function.deliver(records(1))

        assert len(function.calls) == 1

    def test_a_later_success_discards_nothing(self) -> None:
        """Kafka retry configurations: a batch that succeeds within its retries goes nowhere else."""
        function = Function(lambda _given, call: Failed("boom") if call < 3 else Succeeded(), PROVISIONED)

        tally = function.deliver(records(1))

        assert (tally.delivered, tally.discarded, function.discarded) == (1, 0, [])

    def test_throttles_and_service_errors_use_up_no_retries(self) -> None:
        """How event source mappings retry: what never reached the function is no attempt."""
        function = Function(
            lambda _given, call: NotReached("throttled") if call < 50 else Failed("boom"), PROVISIONED
        )

        tally = function.deliver(records(1))

        assert (tally.not_reached, tally.invocations) == (49, 3)
        assert function.discarded[0].invocations == 3

    def test_a_record_over_the_age_limit_is_not_sent_at_all(self) -> None:
        """Kafka retry configurations: maximum record age is the age up to which a record is sent."""
        function = Function(always(Succeeded()), replace(PROVISIONED, maximum_record_age_s=60))
        old, young = record(1, timestamp=NOW_MS - 61_000), record(2, timestamp=NOW_MS - 59_000)

        tally = function.deliver([old, young])

        assert function.offsets == [[2]]
        assert (tally.delivered, tally.discarded) == (1, 1)
        assert function.discarded == [Discarded((old,), AGE_EXCEEDED, 0, None)]

    def test_a_record_grows_too_old_while_it_is_tried(self) -> None:
        """Kafka retry configurations: record age ends endless retries."""
        function = Function(always(Failed("boom")), replace(PROVISIONED, maximum_record_age_s=60))
        mapping = replace(PROVISIONED, maximum_record_age_s=60, maximum_retry_attempts=INFINITE)
        function.settings = mapping

        def slow_and_broken(_given: list[tuple[str, int]], call: int) -> InvocationResult:
            function.now_ms = NOW_MS + call * 25_000
            return Failed("boom")

        function.rule = slow_and_broken

        function.deliver(records(1))

        assert len(function.calls) == 3
        assert function.discarded[0].condition == AGE_EXCEEDED

    def test_a_record_over_the_payload_limit_is_given_up_without_an_invocation(self) -> None:
        """Capturing discarded batches: MaximumPayloadSizeExceeded, with a null responseContext."""
        function = Function(always(Succeeded()))
        large = record(1, value=b"x" * PAYLOAD_LIMIT)

        tally = function.deliver([large])

        assert function.calls == []
        assert tally.discarded == 1
        assert function.discarded == [Discarded((large,), PAYLOAD_EXCEEDED, 0, None)]


class TestBisect:
    """AWS Lambda developer guide, Kafka retry configurations: split batch on error."""

    BISECTING = replace(PROVISIONED, bisect=True, maximum_retry_attempts=1)

    def test_one_poisonous_record_is_isolated_and_its_neighbours_succeed(self) -> None:
        """Kafka retry configurations: splitting helps to isolate problematic records."""
        function = Function(poison(6), self.BISECTING)

        tally = function.deliver(records(*range(1, 9)))

        assert tally.delivered == 7
        assert [r.offset for d in function.discarded for r in d.records] == [6]

    def test_splitting_uses_up_no_retry(self) -> None:
        """Kinesis guide: splitting is no retry; chosen for Kafka, where the guide is silent."""
        function = Function(poison(4), self.BISECTING)

        function.deliver(records(1, 2, 3, 4))

        assert function.offsets == [[1, 2, 3, 4], [1, 2], [3, 4], [3], [4], [4]]

    def test_the_earlier_half_goes_first_and_alone(self) -> None:
        """Kafka retry configurations: the two halves are retried separately."""
        function = Function(poison(1), replace(self.BISECTING, maximum_retry_attempts=0))

        function.deliver(records(1, 2, 3))

        assert function.offsets == [[1, 2, 3], [1], [2, 3]]

    def test_without_it_a_batch_is_never_split(self) -> None:
        """API reference: BisectBatchOnFunctionError is false by default."""
        function = Function(poison(2), PROVISIONED)

        function.deliver(records(1, 2))

        assert function.offsets == [[1, 2]] * 3


class TestPartialBatchResponse:
    """AWS Lambda developer guide, Kafka retry configurations: ReportBatchItemFailures."""

    def test_only_the_listed_records_are_sent_again(self) -> None:
        """Kafka retry configurations: only the failed records are retried, later ones are not."""
        function = Function(
            lambda _given, call: handed_back((f"{TOPIC}-0", 2)) if call == 1 else Succeeded(), REPORTING
        )

        tally = function.deliver(records(1, 2, 3))

        assert function.offsets == [[1, 2, 3], [2]]
        assert (tally.delivered, tally.invocations) == (3, 2)

    def test_a_record_that_is_always_handed_back_is_given_up_alone(self) -> None:
        """Kafka retry configurations: retries are counted for what is left of a batch."""

        def rule(given_records: list[tuple[str, int]], _call: int) -> InvocationResult:
            return handed_back(*[item for item in given_records if item[1] == 2])

        function = Function(rule, REPORTING)

        tally = function.deliver(records(1, 2, 3))

        assert function.offsets == [[1, 2, 3], [2], [2]]
        assert (tally.delivered, tally.discarded) == (2, 1)
        assert [r.offset for r in function.discarded[0].records] == [2]

    def test_the_same_offset_of_another_partition_is_another_record(self) -> None:
        """Kafka retry configurations: an identifier is the records key and the offset."""
        function = Function(
            lambda _given, call: handed_back((f"{TOPIC}-1", 5)) if call == 1 else Succeeded(), REPORTING
        )

        function.deliver([record(5, 0), record(5, 1)])

        assert function.calls[1] == [(f"{TOPIC}-1", 5)]

    def test_an_identifier_that_is_not_in_the_event_fails_the_whole_batch(self) -> None:
        """Kafka retry configurations: an unknown identifier fails the whole batch."""
        answers = [handed_back((f"{TOPIC}-0", 1), (f"{TOPIC}-0", 99)), handed_back()]
        function = Function(lambda _given, call: answers[call - 1], REPORTING)

        function.deliver(records(1, 2))

        assert function.offsets == [[1, 2], [1, 2]]

    def test_a_function_that_raises_fails_the_whole_batch(self) -> None:
        """Kafka retry configurations: an exception is a complete failure."""
        function = Function(lambda _given, call: Failed("boom") if call == 1 else Succeeded(), REPORTING)

        function.deliver(records(1, 2))

        assert function.offsets == [[1, 2], [1, 2]]

    def test_bisecting_does_not_split_what_the_function_has_named(self) -> None:
        """The guide is silent for Kafka; chosen: what is named needs no search."""
        function = Function(
            lambda _given, call: (
                handed_back((f"{TOPIC}-0", 1), (f"{TOPIC}-0", 2)) if call == 1 else Succeeded()
            ),
            replace(REPORTING, bisect=True),
        )

        function.deliver(records(1, 2, 3))

        assert function.offsets == [[1, 2, 3], [1, 2]]

    @pytest.mark.parametrize(
        "payload", [b"", b"null", b"{}", b'{"batchItemFailures":null}', b'{"batchItemFailures":[]}']
    )
    def test_an_empty_answer_is_a_success(self, payload: bytes) -> None:
        """Kafka retry configurations: empty JSON, null, and a null or empty list mean success."""
        assert failed_items(payload, records(1)) == set()

    @pytest.mark.parametrize(
        "payload",
        [
            b"nonsense",
            b'"text"',
            b"[]",
            b'{"batchItemFailures":{}}',
            b'{"batchItemFailures":[{}]}',
            b'{"batchItemFailures":[{"itemIdentifier":null}]}',
            b'{"batchItemFailures":[{"itemIdentifier":""}]}',
            b'{"batchItemFailures":[{"itemIdentifier":{"partition":0,"offset":1}}]}',
            b'{"batchItemFailures":[{"itemIdentifier":{"partition":"essays-0","offset":"1"}}]}',
            b'{"batchItemFailures":[{"itemIdentifier":{"partition":"essays-0"}}]}',
            b'{"batchItemFailures":[{"itemIdentifier":{"partition":"essays-0","offset":true}}]}',
            b'{"batchItemFailures":[{"itemIdentifier":{"partition":"essays-1","offset":1}}]}',
            b'{"batchItemFailures":[{"itemIdentifier":{"partition":"essays-0","offset":2}}]}',
        ],
    )
    def test_any_other_answer_is_a_failure_of_the_whole_batch(self, payload: bytes) -> None:
        """Kafka retry configurations: a bad identifier fails all; chosen for what is no JSON object."""
        with pytest.raises(MalformedResponseError):
            failed_items(payload, records(1))

    def test_the_same_record_named_twice_is_one_failure(self) -> None:
        """Kafka retry configurations: the list names records, so twice is once."""
        answer = handed_back((f"{TOPIC}-0", 1), (f"{TOPIC}-0", 1))

        assert failed_items(answer.payload, records(1)) == {(f"{TOPIC}-0", 1)}


class TestConservation:
    """Whatever a function does, every record is delivered or discarded, and its partition keeps its order."""

    @settings(max_examples=100)
    @given(
        st.lists(st.integers(0, 2), min_size=1, max_size=12),
        st.lists(st.integers(0, 4), max_size=40),
        st.integers(0, 3),
        st.booleans(),
        st.booleans(),
    )
    def test_every_record_has_one_outcome(
        self,
        partitions: list[int],
        script: list[int],
        retries: int,
        bisect: bool,  # noqa: FBT001 (hypothesis passes all of them by position)
        report: bool,  # noqa: FBT001 (hypothesis passes all of them by position)
    ) -> None:
        mapping = replace(
            PROVISIONED, maximum_retry_attempts=retries, bisect=bisect, report_batch_item_failures=report
        )

        def rule(given_records: list[tuple[str, int]], call: int) -> InvocationResult:
            choice = script[call - 1] if call <= len(script) else 0
            return (
                Succeeded(),
                Failed("boom"),
                NotReached("throttled"),
                handed_back(*given_records[: len(given_records) // 2 + 1]),
                handed_back(("elsewhere-0", 1)),
            )[choice]

        function = Function(rule, mapping, stop_after=10_000)
        batch = [record(offset, partition) for offset, partition in enumerate(partitions)]

        tally = function.deliver(batch)

        assert tally.delivered + tally.discarded == len(batch)
        assert sum(len(each.records) for each in function.discarded) == tally.discarded
        assert {item for call in function.calls for item in call} == {(r.lane, r.offset) for r in batch}
        for call in function.calls:
            for lane in {lane for lane, _ in call}:
                offsets = [offset for each, offset in call if each == lane]
                assert offsets == sorted(offsets)


class TestOnFailureDestination:
    """AWS Lambda developer guide, capturing discarded batches: the documents that a destination receives."""

    NOW = datetime(2026, 11, 23, 12, 30, 15, 250_000, tzinfo=UTC)
    GIVEN_UP = Discarded(
        (record(100), record(102, timestamp=NOW_MS + 1000), record(7, 4)),
        RETRIES_EXHAUSTED,
        3,
        Failed("boom", "316aa6d0"),
    )

    def message(self, discarded: Discarded = GIVEN_UP, *, with_payload: bool) -> dict[str, Any]:
        text = failure_message(discarded, PROVISIONED, SOURCE, now=self.NOW, with_payload=with_payload)
        message: dict[str, Any] = json.loads(text)
        return message

    def test_a_queue_gets_the_metadata_alone(self) -> None:
        """Capturing discarded batches: the guide's sample for SQS and SNS, field by field."""
        assert self.message(with_payload=False) == {
            "requestContext": {
                "requestId": "316aa6d0",
                "functionArn": PROVISIONED.function_arn,
                "condition": "RetryAttemptsExhausted",
                "approximateInvokeCount": 3,
            },
            "responseContext": {
                "statusCode": 200,
                "executedVersion": "$LATEST",
                "functionError": "Unhandled",
            },
            "version": "1.0",
            "timestamp": "2026-11-23T12:30:15.250Z",
            "KafkaBatchInfo": {
                "batchSize": 3,
                "eventSourceArn": CLUSTER,
                "bootstrapServers": SOURCE.bootstrap_servers,
                "payloadSize": len(render_event(SOURCE, self.GIVEN_UP.records)),
                "recordsInfo": {
                    "essays-0": {
                        "firstRecordOffset": "100",
                        "lastRecordOffset": "102",
                        "firstRecordTimestamp": "2026-11-18T11:06:40.000Z",
                        "lastRecordTimestamp": "2026-11-18T11:06:41.000Z",
                    },
                    "essays-4": {
                        "firstRecordOffset": "7",
                        "lastRecordOffset": "7",
                        "firstRecordTimestamp": "2026-11-18T11:06:40.000Z",
                        "lastRecordTimestamp": "2026-11-18T11:06:40.000Z",
                    },
                },
            },
        }

    def test_a_bucket_gets_the_whole_event_as_text_besides(self) -> None:
        """Capturing discarded batches: for S3, `payload` is the event as an escaped JSON string."""
        message = self.message(with_payload=True)

        assert json.loads(message["payload"]) == json.loads(render_event(SOURCE, self.GIVEN_UP.records))
        assert {name: message[name] for name in message if name != "payload"} == self.message(
            with_payload=False
        )

    def test_a_kafka_topic_gets_one_record_with_the_event_as_an_object(self) -> None:
        """Using a Kafka topic as an on-failure destination, record format: the guide's sample, field by field."""
        first = self.GIVEN_UP.records[1]
        message = json.loads(failure_record(self.GIVEN_UP, first, PROVISIONED, SOURCE, now=self.NOW))
        alone = json.loads(render_event(SOURCE, [first]))

        assert message == {
            "requestContext": {
                "requestId": "316aa6d0",
                "functionArn": f"{PROVISIONED.function_arn}:$LATEST",
                "condition": "RetriesExhausted",
                "approximateInvokeCount": 3,
            },
            "responseContext": {
                "statusCode": 200,
                "executedVersion": "$LATEST",
                "functionError": "Unhandled",
            },
            "version": "1.0",
            "timestamp": "2026-11-23T12:30:15.250Z",
            "KafkaBatchInfo": {
                "batchSize": 1,
                "eventSourceArn": CLUSTER,
                "bootstrapServers": SOURCE.bootstrap_servers,
                "payloadSize": len(render_event(SOURCE, [first])),
                "recordInfo": {"offset": "102", "timestamp": "2026-11-18T11:06:41.000Z"},
            },
            "payload": alone,
        }

    def test_a_version_that_the_mapping_names_is_kept(self) -> None:
        alias = replace(PROVISIONED, function_arn=f"{PROVISIONED.function_arn}:live")

        assert alias.qualified_function_arn.endswith(":function:f:live")

    def test_the_version_that_failed_is_told(self) -> None:
        failed = Discarded((record(1),), RETRIES_EXHAUSTED, 1, Failed("boom", "r", executed_version="7"))

        assert self.message(failed, with_payload=False)["responseContext"]["executedVersion"] == "7"

    def test_what_a_bucket_keeps_can_be_given_to_the_function_again(self) -> None:
        """Capturing discarded batches: the payload is the original invocation record."""
        batch = [record(1, value=None, nulls=Nulls.NULL), record(2, 3, headers=(("h", b"\xff"),))]
        discarded = Discarded(tuple(batch), RETRIES_EXHAUSTED, 1, Failed("boom"))

        assert self.message(discarded, with_payload=True)["payload"] == render_event(SOURCE, batch)

    def test_without_an_invocation_there_is_no_response(self) -> None:
        """Capturing discarded batches: responseContext is null for MaximumPayloadSizeExceeded."""
        oversized = Discarded((record(1),), PAYLOAD_EXCEEDED, 0)

        message = self.message(oversized, with_payload=False)

        assert message["responseContext"] is None
        assert message["requestContext"]["condition"] == "MaximumPayloadSizeExceeded"

    def test_an_object_is_named_by_mapping_partition_and_time(self) -> None:
        """Kinesis on-failure destination: names of objects; chosen for Kafka, where none are given."""
        key = failure_object_key(self.GIVEN_UP, PROVISIONED, now=self.NOW, unique="u-1")

        assert key == "aws/lambda/uuid-1/essays-0/2026/11/23/2026-11-23T12.30.15-u-1"

    def test_a_batch_counts_as_done_only_once_the_destination_has_it(self) -> None:
        """Chosen, as the guide is silent: until the destination has it there is no outcome."""
        function = Function(always(Failed("boom")), PROVISIONED)

        def refuse(_: Discarded) -> None:
            raise StoppedError

        delivery = Delivery(PROVISIONED, SOURCE, function.invoke, refuse, lambda: NOW_MS, function.wait)

        with pytest.raises(StoppedError):
            delivery.deliver(records(1))
