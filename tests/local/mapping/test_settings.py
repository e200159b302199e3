"""What a mapping's settings mean."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from ras_local.mapping.settings import INFINITE, MappingSettings

from tests.local.mapping.made import CLUSTER, ON_DEMAND, PROVISIONED, TOPIC


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
