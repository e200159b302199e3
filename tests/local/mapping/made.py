"""Records, settings and answers for the tests of this folder."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from ras_local.mapping.events import EventSource
from ras_local.mapping.records import KafkaRecord
from ras_local.mapping.responses import Succeeded
from ras_local.mapping.settings import MappingSettings

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
