"""A Kafka record, and its form in the event that a function receives."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message


class Nulls(StrEnum):
    """How an event shows a null key or value. Users of AWS report both forms, so a function has to take both."""

    ABSENT = "absent"
    """Without the field, as in the guide's example of a record without a key."""
    NULL = "null"
    """With the field, as null."""
    ALTERNATE = "alternate"
    """Absent at even offsets, null at odd ones: both within one run."""

    def written_at(self, offset: int) -> bool:
        """Whether the record at this offset shows a null as null."""
        return self is Nulls.NULL or (self is Nulls.ALTERNATE and offset % 2 == 1)


@dataclass(frozen=True)
class KafkaRecord:
    """One Kafka record. `timestamp_type` is CREATE_TIME or LOG_APPEND_TIME; `timestamp` is in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: str = "CREATE_TIME"
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    nulls: Nulls = field(default=Nulls.ABSENT, compare=False)
    encoded: str = field(init=False, compare=False, repr=False)
    """Its JSON in an event."""

    def __post_init__(self) -> None:
        # Once per record: the size of a batch and its event are both computed from it.
        object.__setattr__(self, "encoded", json.dumps(event_record(self), separators=(",", ":")))

    @property
    def lane(self) -> str:
        """The name of its partition in an event and in a partial batch response: `topic-0`."""
        return f"{self.topic}-{self.partition}"


def event_record(record: KafkaRecord) -> dict[str, Any]:
    """A record as the function sees it ("Using Lambda with Amazon MSK": example event).

    Keys and values are base64. A key or value that is null is left out or null, as `nulls` says. Each header is an
    object of its own, so order and repeated names survive, and its bytes are signed as Java's are. Chosen: a header
    whose value is null has no bytes, as an empty one, since a list of numbers is all that is documented.
    """
    event: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "timestampType": record.timestamp_type,
    }
    for name, content in (("key", record.key), ("value", record.value)):
        if content is not None:
            event[name] = base64.b64encode(content).decode()
        elif record.nulls.written_at(record.offset):
            event[name] = None
    event["headers"] = [{name: _signed(value or b"")} for name, value in record.headers]
    return event


def _signed(value: bytes) -> list[int]:
    return [byte - 256 if byte > 127 else byte for byte in value]


def to_record(message: Message, nulls: Nulls = Nulls.ABSENT) -> KafkaRecord:
    """The record of a message that the client has read."""
    kind, timestamp = message.timestamp()
    return KafkaRecord(
        topic=str(message.topic()),
        partition=int(message.partition() or 0),
        offset=int(message.offset() or 0),
        timestamp=timestamp,
        timestamp_type="LOG_APPEND_TIME" if kind == TIMESTAMP_LOG_APPEND_TIME else "CREATE_TIME",
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=tuple((name, _bytes(value)) for name, value in _headers(message)),
        nulls=nulls,
    )


def _headers(message: Message) -> list[tuple[str, Any]]:
    # The client's stubs say that headers may also come as a dictionary; they never do when reading.
    headers: Any = message.headers()
    return headers or []


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def span(records: Sequence[KafkaRecord]) -> str:
    """Records in words, for logs: how many of which partitions and offsets."""
    lanes: dict[str, list[int]] = {}
    for record in records:
        lanes.setdefault(record.lane, []).append(record.offset)
    places = ", ".join(f"{lane}@{min(offsets)}..{max(offsets)}" for lane, offsets in lanes.items())
    return f"{len(records)} record{'' if len(records) == 1 else 's'} ({places})"
