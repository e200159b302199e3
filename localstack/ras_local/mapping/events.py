"""The event of one invocation: its JSON and its size."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .records import KafkaRecord

PAYLOAD_LIMIT = 6 * 1024 * 1024
"""Bytes of one event, base64 included ("Batching behavior": 6 MB, which cannot be changed)."""


@dataclass(frozen=True)
class EventSource:
    """Where the records come from: the cluster's ARN, and its brokers as one comma-joined string."""

    event_source_arn: str
    bootstrap_servers: str


def render_event(source: EventSource, records: Sequence[KafkaRecord]) -> str:
    """The event of one invocation, as JSON: records grouped by `topic-partition`, in order."""
    lanes: dict[str, list[str]] = {}
    for record in records:
        lanes.setdefault(record.lane, []).append(record.encoded)
    grouped = ",".join(f"{json.dumps(lane)}:[{','.join(encoded)}]" for lane, encoded in lanes.items())
    return f"{_head(source)}{grouped}}}}}"


def _head(source: EventSource) -> str:
    envelope = {
        "eventSource": "aws:kafka",
        "eventSourceArn": source.event_source_arn,
        "bootstrapServers": source.bootstrap_servers,
    }
    return json.dumps(envelope, separators=(",", ":"))[:-1] + ',"records":{'


def room(source: EventSource) -> int:
    """Bytes that an event has for its records, see `weight`."""
    return PAYLOAD_LIMIT - len(_head(source)) - 2


def weight(record: KafkaRecord) -> int:
    """Bytes that a record takes of an event, at most: as if it were the only one of its partition."""
    return len(record.encoded) + len(record.lane) + 6


def oversized(source: EventSource, records: Sequence[KafkaRecord]) -> bool:
    """True for a batch that no invocation can carry: one record whose event is over the payload limit."""
    return len(render_event(source, records)) > PAYLOAD_LIMIT
