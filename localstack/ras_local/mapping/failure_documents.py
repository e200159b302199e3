"""What an on-failure destination receives: the guide's documents, and where in a bucket they are stored."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from .delivery import RETRIES_EXHAUSTED
from .events import render_event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .delivery import Discarded
    from .events import EventSource
    from .records import KafkaRecord
    from .settings import MappingSettings


def failure_message(
    discarded: Discarded, settings: MappingSettings, source: EventSource, *, now: datetime, with_payload: bool
) -> str:
    """The JSON that a queue, an SNS topic or a bucket receives ("Capturing discarded batches": MSK).

    SQS and SNS get the metadata, S3 the whole event besides, as a string within the JSON.
    """
    records = discarded.records
    event = render_event(source, records)
    lanes: dict[str, list[KafkaRecord]] = {}
    for record in records:
        lanes.setdefault(record.lane, []).append(record)
    spans = {
        lane: {
            "firstRecordOffset": str(members[0].offset),
            "lastRecordOffset": str(members[-1].offset),
            "firstRecordTimestamp": _iso_ms(members[0].timestamp),
            "lastRecordTimestamp": _iso_ms(members[-1].timestamp),
        }
        for lane, members in lanes.items()
    }
    message = _failure(
        discarded,
        source,
        now=now,
        function_arn=settings.function_arn,
        condition=discarded.condition,
        batch_info={"batchSize": len(records), "payloadSize": len(event), "recordsInfo": spans},
    )
    if with_payload:
        message["payload"] = event
    return json.dumps(message)


def failure_record(
    discarded: Discarded,
    record: KafkaRecord,
    settings: MappingSettings,
    source: EventSource,
    *,
    now: datetime,
    with_payload: bool = True,
) -> str:
    """The JSON that a Kafka topic receives for one record ("Using a Kafka topic as an on-failure destination").

    One message a record, as in the guide's sample: `recordInfo` instead of `recordsInfo`, the event as an object, the
    function's ARN with its version, and "RetriesExhausted" where the other destinations say "RetryAttemptsExhausted".
    """
    event = render_event(source, [record])
    condition = discarded.condition
    message = _failure(
        discarded,
        source,
        now=now,
        function_arn=settings.qualified_function_arn,
        condition="RetriesExhausted" if condition == RETRIES_EXHAUSTED else condition,
        batch_info={
            "batchSize": 1,
            "payloadSize": len(event),
            "recordInfo": {"offset": str(record.offset), "timestamp": _iso_ms(record.timestamp)},
        },
    )
    if with_payload:
        message["payload"] = json.loads(event)
    return json.dumps(message)


def _failure(
    discarded: Discarded,
    source: EventSource,
    *,
    now: datetime,
    function_arn: str,
    condition: str,
    batch_info: Mapping[str, Any],
) -> dict[str, Any]:
    failure = discarded.last_failure
    return {
        "requestContext": {
            "requestId": failure.request_id if failure else "",
            "functionArn": function_arn,
            "condition": condition,
            "approximateInvokeCount": discarded.invocations,
        },
        "responseContext": {
            "statusCode": 200,
            "executedVersion": failure.executed_version,
            "functionError": failure.function_error,
        }
        if failure
        else None,
        "version": "1.0",
        "timestamp": _iso(now),
        "KafkaBatchInfo": {
            "eventSourceArn": source.event_source_arn,
            "bootstrapServers": source.bootstrap_servers,
            **batch_info,
        },
    }


def failure_object_key(discarded: Discarded, settings: MappingSettings, *, now: datetime, unique: str) -> str:
    """Where in the bucket a discarded batch goes.

    The guide gives this naming for Kinesis and DynamoDB, `aws/lambda/<mapping>/<shard>/<date>/<time>-<random>`, and none
    for Kafka. Chosen: the same, with the first record's `topic-partition` as the shard.
    """
    lane = discarded.records[0].lane if discarded.records else settings.topic
    return f"aws/lambda/{settings.uuid}/{lane}/{now:%Y/%m/%d}/{now:%Y-%m-%dT%H.%M.%S}-{unique}"


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _iso_ms(milliseconds: int) -> str:
    return _iso(datetime.fromtimestamp(milliseconds / 1000, tz=UTC))
