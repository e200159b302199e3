"""The documents that an on-failure destination receives."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ras_local.mapping.delivery import PAYLOAD_EXCEEDED, RETRIES_EXHAUSTED, Discarded
from ras_local.mapping.events import render_event
from ras_local.mapping.failure_documents import failure_message, failure_object_key, failure_record
from ras_local.mapping.records import Nulls
from ras_local.mapping.responses import Failed

from tests.local.mapping.made import CLUSTER, NOW_MS, PROVISIONED, SOURCE, record


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
