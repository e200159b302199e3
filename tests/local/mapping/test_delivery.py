"""What becomes of a batch; each test holds one fact of AWS's documentation."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ras_local.mapping.delivery import (
    AGE_EXCEEDED,
    PAYLOAD_EXCEEDED,
    RETRIES_EXHAUSTED,
    Delivery,
    Discarded,
)
from ras_local.mapping.events import PAYLOAD_LIMIT
from ras_local.mapping.responses import Failed, InvocationResult, NotReached, Succeeded
from ras_local.mapping.settings import INFINITE, MappingSettings

from tests.local.mapping.made import (
    NOW_MS,
    ON_DEMAND,
    PROVISIONED,
    REPORTING,
    SOURCE,
    TOPIC,
    handed_back,
    record,
    records,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ras_local.mapping.delivery import Tally
    from ras_local.mapping.records import KafkaRecord


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

    def deliver(self, batch: Sequence[KafkaRecord]) -> Tally:
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
    """AWS Lambda developer guide, capturing discarded batches."""

    def test_a_batch_counts_as_done_only_once_the_destination_has_it(self) -> None:
        """Chosen, as the guide is silent: until the destination has it there is no outcome."""
        function = Function(always(Failed("boom")), PROVISIONED)

        def refuse(_: Discarded) -> None:
            raise StoppedError

        delivery = Delivery(PROVISIONED, SOURCE, function.invoke, refuse, lambda: NOW_MS, function.wait)

        with pytest.raises(StoppedError):
            delivery.deliver(records(1))
