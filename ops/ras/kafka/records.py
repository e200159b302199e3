"""A Kafka message as a record of the event that Lambda sends."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

if TYPE_CHECKING:
    from confluent_kafka import Message


def event_record(message: Message) -> dict[str, Any]:
    """The record of a message that was read, as AWS sends it (Lambda developer guide, "Using Lambda with Amazon MSK").

    Key and value are base64, and absent where they are null. Each header is an object of its own, so that order and
    repeated names survive; its bytes are signed, -128 to 127, as Java's are; a null header has none. The timestamp is
    in milliseconds.
    """
    kind, timestamp = message.timestamp()
    record: dict[str, Any] = {
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": timestamp,
        "timestampType": "LOG_APPEND_TIME" if kind == TIMESTAMP_LOG_APPEND_TIME else "CREATE_TIME",
    }
    for name, content in (("key", message.key()), ("value", message.value())):
        if content is not None:
            record[name] = base64.b64encode(_bytes(content)).decode()
    # The client's stubs allow a dictionary too; a message that was read never has one.
    headers: Any = message.headers() or []
    record["headers"] = [{name: _signed(_bytes(content or b""))} for name, content in headers]
    return record


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _signed(content: bytes) -> list[int]:
    return [byte - 256 if byte > 127 else byte for byte in content]
