"""Dead letters made for tests, of both kinds and as their writers make them."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ras.dead_letters.bucket import DeadLetterBucket, Filters, Stored
from ras.dead_letters.letter import Kind
from ras.deployed_mappings import DeployedMapping
from ras_local.mapping.delivery import RETRIES_EXHAUSTED, Discarded
from ras_local.mapping.events import EventSource
from ras_local.mapping.failure_documents import failure_message, failure_object_key
from ras_local.mapping.records import KafkaRecord, event_record
from ras_local.mapping.responses import Failed
from ras_local.mapping.settings import MappingSettings
from result_aggregator import dead_letter_key
from result_aggregator.contracts.rejection import Problem, RejectedError
from result_aggregator.msk_event import records_of
from result_aggregator.names import REJECTED_PREFIX, function_name
from result_aggregator.store.dead_letters import DeadLetterStore
from result_aggregator.topics import ESSAYS

from tests.samples import envelope, msk_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mypy_boto3_s3 import S3Client
    from ras.dead_letters.letter import DeadLetter

SPELLCHECK = "huleedu.essay.spellcheck.completed.v1"
SLOTS = "huleedu.els.essay.slot.assigned.v1"
REGISTERED = "huleedu.batch.essays.registered.v1"
RANKING = "huleedu.cj_assessment.completed.v1"
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
FUNCTION = function_name("local", ESSAYS)
DEPLOYED = DeployedMapping(
    uuid="633e2281-af1d-44c3-b867-c338a611e4f5",
    topic=SPELLCHECK,
    function_arn=f"arn:aws:lambda:eu-north-1:000000000000:function:{FUNCTION}",
)
SETTINGS = MappingSettings(DEPLOYED.uuid, DEPLOYED.topic, DEPLOYED.function_arn)
SOURCE = EventSource(msk_event([])["eventSourceArn"], "b-1:9098,b-2:9098")
EVERY = Filters(kinds=frozenset(Kind))


def result(essay: str, **data: Any) -> bytes:
    """A spellcheck's event."""
    fields = {"batch_id": "b", "essay_id": essay, "status": "COMPLETED", **data}
    return json.dumps(envelope(fields) | {"correlation_id": "corr-1"}).encode()


def registered() -> bytes:
    """The event that makes batch b known."""
    return json.dumps(envelope({"batch_id": "b", "user_id": "u", "expected_essay_count": 2})).encode()


def record(
    value: bytes | None, offset: int = 0, partition: int = 0, topic: str = SPELLCHECK, **more: Any
) -> KafkaRecord:
    return KafkaRecord(topic, partition, offset, 1_772_438_400_000, value=value, **more)


def received(one: KafkaRecord) -> dict[str, Any]:
    """The record as its event has it."""
    return event_record(one)


def object_key(one: KafkaRecord, prefix: str = REJECTED_PREFIX) -> str:
    """Where the letter of a record lies."""
    digest = dead_letter_key.record_digest(received(one))
    return dead_letter_key.object_key(prefix, one.topic, one.partition, one.offset, digest)


def reject(
    s3: S3Client,
    bucket: str,
    one: KafkaRecord,
    code: str = "unknown_status",
    *,
    at: datetime = NOON,
    problems: Iterable[Problem] = (Problem("data.status", "unknown status word"),),
) -> None:
    """Keep a record as a function does that rejects it."""
    [made] = records_of(msk_event([received(one)]))
    store = DeadLetterStore(bucket, s3, function=FUNCTION, clock=lambda: at)
    store.keep(made, RejectedError(code, list(problems)))


def reject_as_earlier(s3: S3Client, bucket: str, one: KafkaRecord) -> str:
    """Keep a record as versions did whose keys had no digest; the key."""
    letter = {"reason": {"code": "not_json", "problems": []}, "kept": {"replays": 1}, **received(one)}
    key = f"{REJECTED_PREFIX}{one.topic}/{one.partition}/{one.offset:020d}.json"
    s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(letter).encode())
    return key


def given_up(*records: KafkaRecord, at: datetime = NOON) -> tuple[str, bytes]:
    """Key and body of a batch that a mapping has given up on."""
    discarded = Discarded(records, RETRIES_EXHAUSTED, 4, Failed("out of memory", "request-1"))
    message = failure_message(discarded, SETTINGS, SOURCE, now=at, with_payload=True)
    return failure_object_key(discarded, SETTINGS, now=at, unique="unique"), message.encode()


def give_up(s3: S3Client, bucket: str, *records: KafkaRecord, at: datetime = NOON) -> str:
    """Keep a batch as a mapping does that gives it up; its key."""
    key, body = given_up(*records, at=at)
    s3.put_object(Bucket=bucket, Key=key, Body=body)
    return key


def in_kafka(one: KafkaRecord, **headers: bytes) -> KafkaRecord:
    """The record with more headers."""
    return KafkaRecord(
        one.topic,
        one.partition,
        one.offset,
        one.timestamp,
        key=one.key,
        value=one.value,
        headers=(*one.headers, *headers.items()),
    )


def b64(content: bytes) -> str:
    return b64encode(content).decode()


def stored(bucket: DeadLetterBucket, filters: Filters = EVERY) -> list[Stored]:
    """All objects of a bucket, none of which may be malformed."""
    found = list(bucket.objects(bucket.entries(filters)))
    assert all(isinstance(one, Stored) for one in found), found
    return [one for one in found if isinstance(one, Stored)]


def letters(bucket: DeadLetterBucket, filters: Filters = EVERY) -> Iterator[DeadLetter]:
    """All letters of a bucket that the filters admit."""
    for one in stored(bucket, filters):
        yield from filter(filters.admit, one.letters)


def contents(s3: S3Client, bucket: str) -> dict[str, bytes]:
    """Every object of a bucket, whatever it is."""
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]
    return {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
