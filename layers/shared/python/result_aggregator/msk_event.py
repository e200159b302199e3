"""The event that an MSK event source mapping invokes a function with, and the answer it expects.

Shape: `{"eventSource": "aws:kafka", "eventSourceArn", "bootstrapServers", "records": {"<topic>-<partition>": [...]}}`,
each record `{topic, partition, offset, timestamp, timestampType, key, value, headers}` with base64 key and value
(AWS Lambda developer guide, "Using Lambda with Amazon MSK").
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class NotBase64Error(ValueError):
    """A record's value is not base64."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record, not yet decoded: `received` as the event held it under the key `source`, `<topic>-<partition>`."""

    source: str
    topic: str
    partition: int
    offset: int
    timestamp: int | None
    received: dict[str, Any]
    event_source_arn: str = ""

    def value(self) -> bytes | None:
        """The value's bytes; None for a tombstone, whose value AWS sends as null or leaves out.

        Raises NotBase64Error.
        """
        encoded = self.received.get("value")
        if encoded is None:
            return None
        try:
            return b64decode(encoded, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise NotBase64Error(str(error)) from error


def records_of(event: dict[str, Any]) -> list[Record]:
    """All records of an invocation, per partition in the order of their offsets."""
    event_source_arn = event.get("eventSourceArn") or ""
    return [
        Record(
            source=source,
            topic=received["topic"],
            partition=received["partition"],
            offset=received["offset"],
            timestamp=received.get("timestamp"),
            received=received,
            event_source_arn=event_source_arn,
        )
        for source, batch in event.get("records", {}).items()
        for received in batch
    ]


def partial_batch_response(failed: Iterable[Record]) -> dict[str, Any]:
    """The answer that has just these records delivered again.

    Only for a mapping with ReportBatchItemFailures: any other takes every answer as success, and would lose them.
    """
    return {
        "batchItemFailures": [
            {"itemIdentifier": {"partition": record.source, "offset": record.offset}} for record in failed
        ]
    }
