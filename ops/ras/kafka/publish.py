"""Publishing events from JSON-lines files: one `{"topic", "key", "value"[, "headers"]}` a line."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from ras.errors import FailedError, SettingError
from ras.kafka.client import quiet_client, unreachable
from ras.kafka.errors import Door, lacking

if TYPE_CHECKING:
    from pathlib import Path

DELIVERY_TIMEOUT_S = 30
_BY_KEY = -1  # librdkafka's word for a partition that its partitioner picks


@dataclass(frozen=True)
class Event:
    """One record to publish. A value of None is a tombstone.

    Without a `partition`, or where the topic has fewer, the key decides.
    """

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int | None = None


@dataclass(frozen=True)
class Published:
    """What the broker has confirmed: records, their values' bytes, and the seconds that it took."""

    count: int
    size: int
    seconds: float


def read_events(path: Path) -> Iterator[Event]:
    """The events of one file; empty lines are skipped, `-` is standard input.

    Raises OperatorError that names the file and line of what cannot be read.
    """
    try:
        # Standard input as it is: /dev/stdin does not open a socket, which Node and Python give their children.
        given = contextlib.nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb")
        with given as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    try:
                        yield parse_event(line.decode())
                    except ValueError as error:
                        raise SettingError(
                            f"{path}:{number}: {error}",
                            'A line is {"topic": "…", "key": "…", "value": {…}}; "headers" may be added.',
                        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} cannot be read: {error}") from error


def parse_event(line: str) -> Event:
    """Read one line. A value that is text is published as it is, null as a tombstone, anything else as JSON.

    Raises ValueError with what is wrong.
    """
    try:
        fields = json.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")
    unknown = set(fields) - {"topic", "key", "value", "headers"}
    if unknown:
        raise ValueError(f"unknown field {', '.join(sorted(unknown))}")
    topic, key = fields.get("topic"), fields.get("key")
    if not isinstance(topic, str) or not topic:
        raise ValueError("topic is missing or not text")
    if key is not None and not isinstance(key, str):
        raise ValueError("key is not text")
    if "value" not in fields:
        raise ValueError("value is missing; a tombstone says null")
    return Event(
        topic, _value(fields["value"]), None if key is None else key.encode(), _headers(fields.get("headers"))
    )


def _value(value: Any) -> bytes | None:
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else json.dumps(value, ensure_ascii=False).encode()


def _headers(headers: Any) -> tuple[tuple[str, bytes | None], ...]:
    """An object, or a list of pairs where a name occurs twice or the order matters."""
    pairs = list(headers.items()) if isinstance(headers, Mapping) else headers or []
    try:
        return tuple((name, None if text is None else text.encode()) for name, text in pairs if name.encode())
    except (AttributeError, TypeError, ValueError):
        raise ValueError("headers are not an object of texts, nor a list of [name, text] pairs") from None


def publish(
    bootstrap_servers: str,
    events: Iterable[Event],
    *,
    on_delivery: Callable[[int], None] = lambda _: None,
    timeout_s: float = DELIVERY_TIMEOUT_S,
    settings: Mapping[str, Any] | None = None,
) -> Published:
    """Publish events in order and wait until the broker has confirmed every one.

    `on_delivery` is told the number confirmed so far; `settings` are more of the client, in librdkafka's own names.
    Raises OperatorError when no broker answers or lets nobody in, or one record was not taken. After one that was not
    confirmed within `timeout_s` no more are: each queue full of them would take as long.
    """
    begun = time.monotonic()
    # Without this, an address where nobody listens would be waited for until every record has timed out.
    door = Door(bootstrap_servers)
    try:
        admin = AdminClient({**quiet_client(bootstrap_servers, on_error=door), **(settings or {})})
        topics = door.metadata(admin, timeout_s=min(10, timeout_s)).topics
    except KafkaException as error:
        raise unreachable(bootstrap_servers, error) from error
    delivery = _Delivery(on_delivery, topics)
    producer = _producer(bootstrap_servers, timeout_s, settings or {})
    untried = False
    for event in events:
        if delivery.timed_out:
            untried = True
            break
        there = topics[event.topic].partitions if event.topic in topics else {}
        _produce(producer, event, there, delivery)
    try:
        left = producer.flush(timeout_s + 5)
    except SystemError as error:
        # Now and then the client forgets that it was a Ctrl-C that ended its call, and says that nobody knows.
        raise KeyboardInterrupt from error
    if delivery.failed or left:
        raise FailedError(
            f"{delivery.failed + left} of {delivery.count + delivery.failed + left} records were not delivered:"
            f" {delivery.problem or 'not confirmed in time'}{'; the rest was not tried' if untried else ''}",
            "Those that were stay published; publishing all of them again is harmless.",
        )
    return Published(delivery.count, delivery.size, time.monotonic() - begun)


def _producer(bootstrap_servers: str, timeout_s: float, settings: Mapping[str, Any]) -> Producer:
    # Idempotence also keeps the order of a key when a request is sent again.
    made = quiet_client(
        bootstrap_servers,
        enable_idempotence=True,
        linger_ms=5,
        message_timeout_ms=int(timeout_s * 1000),
        message_max_bytes=8 * 1024 * 1024,
    )
    return Producer({**made, **settings})


def _produce(producer: Producer, event: Event, there: Container[int | None], delivery: _Delivery) -> None:
    """Put one event into the producer's queue, once there is room; `there` are the partitions of its topic."""
    while True:
        try:
            producer.produce(
                event.topic,
                partition=_BY_KEY
                if event.partition is None or event.partition not in there
                else event.partition,
                key=event.key,
                value=event.value,
                headers=list(event.headers),
                on_delivery=delivery.confirm,
            )
            break
        except BufferError:
            producer.poll(0.1)  # the queue is full: serve confirmations until there is room
        except KafkaException as error:
            # What the client knows by now it says at once, and else when it has asked: it is the same to the record.
            delivery.fail(error.args[0], event.topic)
            break
    producer.poll(0)


class _Delivery:
    """Counts what the broker confirms, and keeps the first reason why it did not take a record."""

    def __init__(self, on_delivery: Callable[[int], None], topics: Container[str]) -> None:
        self.count = 0
        self.size = 0
        self.failed = 0
        self.problem = ""
        self.timed_out = False
        self._on_delivery = on_delivery
        self._topics = topics

    def confirm(self, error: Any, message: Any) -> None:
        if error is not None:
            self.fail(error, message.topic())
            return
        self.count += 1
        self.size += len(message.value() or b"")
        self._on_delivery(self.count)

    def fail(self, error: Any, topic: str) -> None:
        self.failed += 1
        self.timed_out = self.timed_out or error.code() == KafkaError._MSG_TIMED_OUT
        self.problem = self.problem or self._told(error, topic)

    def _told(self, error: Any, topic: str) -> str:
        # A topic that may not be described is not listed either.
        action = "WriteData" if topic in self._topics else "DescribeTopic"
        right = lacking(error, topic=f"{action} on topic {topic}", cluster="WriteDataIdempotently")
        return right.message if right else f"{topic}: {error}"
