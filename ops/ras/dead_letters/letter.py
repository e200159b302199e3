"""Dead letters, read: one type for both kinds, whatever object of the bucket they come from.

    rejected/<record>.json    a record that a function rejected (`result_aggregator.store.dead_letters`)
    given-up/<record>.json    a record taken out of a batch that a mapping gave up on
    aws/lambda/…              such a batch, as Lambda writes it (developer guide, "Capturing discarded batches"):
                              metadata, and the event in `payload`
    replayed/<one of the first two>
                              published to Kafka again, its fate not known

`<record>` is what identifies a letter: topic, partition and offset of its record when it first came, and a digest of
the record (`result_aggregator.dead_letter_key`).
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeGuard

from result_aggregator import dead_letter_key, replay_headers
from result_aggregator.contracts.rejection import Problem
from result_aggregator.names import (
    DISCARDED_BATCH_PREFIX,
    GIVEN_UP_PREFIX,
    REJECTED_PREFIX,
    REPLAYED_PREFIX,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PLACE = re.compile(r"(?P<topic>.+)/(?P<partition>[0-9]{1,9})/(?P<offset>[0-9]{1,18})", re.ASCII)
_RECORD = re.compile(r"(?P<place>.+?)(?:-(?P<digest>[0-9a-f]{1,32}))?", re.ASCII)


class MalformedError(ValueError):
    """An object of the bucket is no dead letter that anybody wrote on purpose; the message says why."""


class Kind(StrEnum):
    """Why a letter is where it is."""

    REJECTED = "rejected"
    GIVEN_UP = "given-up"
    REPLAYED = "replayed"


@dataclass(frozen=True)
class Place:
    """Where a record lay when it first came. A topic that is created again has other records at the same places."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Place | None:
        """Read `topic/partition/offset`; None for any other text."""
        match = _PLACE.fullmatch(text)
        return cls(match["topic"], int(match["partition"]), int(match["offset"])) if match else None

    def key_prefix(self, prefix: str) -> str:
        """What the keys of all dead letters of this place begin with, under a prefix of the bucket."""
        return dead_letter_key.place_prefix(prefix, self.topic, self.partition, self.offset)


@dataclass(frozen=True)
class RecordId:
    """What identifies a letter: its record's place, and the record's digest.

    In a name that an operator writes, the digest may be cut short or left out.
    """

    place: Place
    digest: str

    def __str__(self) -> str:
        return f"{self.place}-{self.digest}"

    @property
    def short(self) -> str:
        """A name for people, where the place alone names several records."""
        return f"{self.place}-{self.digest[:8]}"

    @classmethod
    def parse(cls, text: str) -> RecordId | None:
        """Read `topic/partition/offset`, or that with `-digest`; None for any other text."""
        match = _RECORD.fullmatch(text)
        place = Place.parse(match["place"]) if match else None
        return cls(place, match["digest"] or "") if match and place else None

    def names(self, record: RecordId) -> bool:
        """True where this is the name of the record: the same place, and the same digest as far as it is given."""
        return self.place == record.place and record.digest.startswith(self.digest)

    def object_key(self, prefix: str) -> str:
        """The key of its letter under a prefix of the bucket, where the functions write it as well."""
        return dead_letter_key.object_key(
            prefix, self.place.topic, self.place.partition, self.place.offset, self.digest
        )


@dataclass(frozen=True)
class DeadLetter:
    """One record that could not be applied.

    `received` is the record as its event had it when it first came: base64 key and value, headers as lists of bytes.
    `replays` counts how often it has been replayed and is still here.
    """

    kind: Kind
    object_key: str
    id: RecordId
    code: str
    problems: tuple[Problem, ...]
    kept_at: datetime
    replays: int
    function: str
    event_source_arn: str
    received: Mapping[str, Any] = field(repr=False)

    @property
    def place(self) -> Place:
        """Where the record lay when it first came."""
        return self.id.place

    @property
    def timestamp(self) -> datetime | None:
        """The broker's timestamp, None where there is none to read."""
        milliseconds = self.received.get("timestamp")
        if not _is_count(milliseconds):
            return None
        try:
            return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)
        except (OverflowError, ValueError, OSError):
            return None

    def key(self) -> bytes | None:
        """The key's bytes. Raises ValueError where they are not base64."""
        return _decoded(self.received.get("key"))

    def value(self) -> bytes | None:
        """The value's bytes, None for a tombstone. Raises ValueError where they are not base64."""
        return _decoded(self.received.get("value"))

    def headers(self) -> list[tuple[str, bytes | None]]:
        """Names and bytes in their order, with repeated names; None for a null. Raises ValueError where they are not so."""
        found = []
        try:
            for header in self.received.get("headers") or []:
                [(name, value)] = header.items()
                # AWS writes Java's signed bytes; unsigned ones are read as well.
                found.append((name, None if value is None else bytes(byte & 0xFF for byte in value)))
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"the headers are not as AWS sends them: {error}") from error
        return found

    def document(self) -> Any:
        """The value as JSON, None where it is none."""
        try:
            value = self.value()
            return None if value is None else json.loads(value)
        except (ValueError, RecursionError):
            return None

    @property
    def correlation_id(self) -> str | None:
        """The event's correlation id where one can be read."""
        document = self.document()
        found = document.get("correlation_id") if isinstance(document, dict) else None
        return found if isinstance(found, str) else None

    def names_batch(self, batch_id: str) -> bool:
        """True where key or event name this batch, in any dialect: poison cannot be asked through its contract."""
        try:
            if self.key() == batch_id.encode():
                return True
        except ValueError:
            pass
        return any(name == batch_id for name in _named(self.document()))

    def stored(self, *, replays: int | None = None) -> dict[str, Any]:
        """The letter as an object of its own holds it, in the form that the functions use."""
        return {
            "reason": {
                "code": self.code,
                "problems": [{"path": p.path, "message": p.message} for p in self.problems],
            },
            "kept": {
                "at": self.kept_at.isoformat(),
                "function": self.function,
                "eventSourceArn": self.event_source_arn,
                "replays": self.replays if replays is None else replays,
            },
            **self.received,
        }


def _named(document: Any) -> Iterator[str]:
    """Every batch or parent entity that an event names, however deep."""
    pending = [document]
    while pending:
        inner = pending.pop()
        if isinstance(inner, dict):
            for name, value in inner.items():
                if name in ("batch_id", "parent_id", "entity_id") and isinstance(value, str):
                    yield value
                elif isinstance(value, dict | list):
                    pending.append(value)
        elif isinstance(inner, list):
            pending.extend(inner)


def parse(object_key: str, body: bytes, modified: datetime) -> tuple[DeadLetter, ...]:
    """The letters in an object: one, or all of a batch that was given up.

    `modified` is when S3 says that the object was written, for objects that do not say so themselves.
    Raises MalformedError.
    """
    inner = object_key.removeprefix(REPLAYED_PREFIX)
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise MalformedError("not a JSON object")
    if inner.startswith(DISCARDED_BATCH_PREFIX):
        letters = tuple(_given_up(object_key, document, modified))
    elif inner.startswith(REJECTED_PREFIX):
        letters = (_single(object_key, document, modified, Kind.REJECTED),)
    elif inner.startswith(GIVEN_UP_PREFIX):
        letters = (_single(object_key, document, modified, Kind.GIVEN_UP),)
    else:
        raise MalformedError("no dead letters are kept under such a key")
    return letters


def _kind(object_key: str, kind: Kind) -> Kind:
    return Kind.REPLAYED if object_key.startswith(REPLAYED_PREFIX) else kind


def _single(object_key: str, document: dict[str, Any], modified: datetime, kind: Kind) -> DeadLetter:
    received = {name: value for name, value in document.items() if name not in ("reason", "kept")}
    reason, kept = document.get("reason"), document.get("kept") or {}
    if not isinstance(reason, dict) or not isinstance(reason.get("code"), str):
        raise MalformedError("no reason.code")
    if not isinstance(kept, dict):
        raise MalformedError("kept is not an object")
    replays_ = kept.get("replays", 0)
    return DeadLetter(
        kind=_kind(object_key, kind),
        object_key=object_key,
        id=_id(received),
        code=reason["code"],
        problems=tuple(_problems(reason.get("problems"))),
        kept_at=_moment(kept.get("at")) or modified,
        replays=replays_ if _is_count(replays_) else 0,
        function=_text(kept.get("function")),
        event_source_arn=_text(kept.get("eventSourceArn")),
        received=received,
    )


def _given_up(object_key: str, document: dict[str, Any], modified: datetime) -> Iterator[DeadLetter]:
    request = _object(document, "requestContext")
    response = document.get("responseContext") or {}
    info = _object(document, "KafkaBatchInfo")
    event = document.get("payload")
    if isinstance(event, str):
        try:
            event = json.loads(event)
        except ValueError as error:
            raise MalformedError(f"payload is not JSON: {error}") from None
    records = event.get("records") if isinstance(event, dict) else None
    if not isinstance(records, dict) or not all(isinstance(batch, list) for batch in records.values()):
        raise MalformedError("no records in payload")
    failure = _text(response.get("functionError")) if isinstance(response, dict) else ""
    invocations = request.get("approximateInvokeCount")
    message = (
        f"{failure or 'not taken'} after {invocations} invocations of a batch of {info.get('batchSize')}"
    )
    arn = _text(request.get("functionArn"))
    for received in (record for batch in records.values() for record in batch):
        if not isinstance(received, dict):
            raise MalformedError("a record is not an object")
        # A batch may hold records that were replayed already: their letters are those of the first time.
        first, replay = replay_headers.first_received(received)
        yield DeadLetter(
            kind=_kind(object_key, Kind.GIVEN_UP),
            object_key=object_key,
            id=_id(first),
            code=_text(request.get("condition")) or "given_up",
            problems=(Problem("", message),),
            kept_at=_moment(document.get("timestamp")) or modified,
            replays=replay,
            function=arn.split(":function:")[-1].split(":")[0],
            event_source_arn=_text(info.get("eventSourceArn")),
            received=first,
        )


def _object(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name)
    if not isinstance(found, dict):
        raise MalformedError(f"no {name}")
    return found


def _id(received: Mapping[str, Any]) -> RecordId:
    topic, partition, offset = (received.get(name) for name in ("topic", "partition", "offset"))
    if not isinstance(topic, str) or not topic:
        raise MalformedError("no topic")
    if not _is_count(partition) or not _is_count(offset):
        raise MalformedError("no partition or no offset")
    return RecordId(Place(topic, partition, offset), dead_letter_key.record_digest(received))


def _problems(problems: Any) -> Iterator[Problem]:
    for one in problems if isinstance(problems, list) else ():
        if isinstance(one, dict):
            yield Problem(_text(one.get("path")), _text(one.get("message")))


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _decoded(encoded: Any) -> bytes | None:
    if encoded is None:
        return None
    try:
        return b64decode(encoded, validate=True)
    except (binascii.Error, TypeError, ValueError) as error:
        raise ValueError(f"not base64: {error}") from error
