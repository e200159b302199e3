"""Where a batch goes that the mapping gave up on, by the kind of its destination."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError
from ras_local.mapping.delivery import RETRIES_EXHAUSTED, Discarded
from ras_local.mapping.destinations import OnFailure
from ras_local.mapping.errors import DestinationError
from ras_local.mapping.events import EventSource
from ras_local.mapping.records import KafkaRecord
from ras_local.mapping.responses import Failed
from ras_local.mapping.settings import MappingSettings

FUNCTION = "arn:aws:lambda:eu-north-1:000000000000:function:f"
SETTINGS = MappingSettings("uuid-1", "essays", FUNCTION, provisioned=True)
SOURCE = EventSource("arn:aws:kafka:eu-north-1:000000000000:cluster/ras/1", "b-1:9098")
DISCARDED = Discarded(
    (KafkaRecord("essays", 0, 5, 1_795_000_000_000, value=b"{}"),),
    RETRIES_EXHAUSTED,
    3,
    Failed("boom", "r-1"),
)


@dataclass
class Roles:
    """Clients that remember their calls, as (service, operation, arguments), and for which function they were made."""

    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    forgotten: int = 0
    refusal: Exception | None = None

    def client(self, service: str, function_arn: str) -> Any:
        self.functions.add(function_arn)
        roles = self

        class Client:
            class meta:  # noqa: N801 (botocore's own spelling)
                endpoint_url = "http://aws"

            def __getattr__(self, operation: str) -> Any:
                def call(**arguments: Any) -> None:
                    if roles.refusal:
                        raise roles.refusal
                    roles.calls.append((service, operation, arguments))

                return call

        return Client()

    def forget(self) -> None:
        self.forgotten += 1


def send(arn: str | None, roles: Roles | None = None) -> list[tuple[str, str, dict[str, Any]]]:
    roles = roles or Roles()
    OnFailure(cast("Any", roles), replace(SETTINGS, on_failure_arn=arn), SOURCE)(DISCARDED)
    assert roles.functions <= {FUNCTION}
    return roles.calls


def test_a_bucket_gets_an_object_with_the_event() -> None:
    """AWS Lambda developer guide, capturing discarded batches: the bucket is looked for, then the record put."""
    [(_, looked, where), (service, put, arguments)] = send("arn:aws:s3:::letters")
    message = json.loads(arguments["Body"])

    assert (looked, where) == ("head_bucket", {"Bucket": "letters"})
    assert (service, put, arguments["Bucket"]) == ("s3", "put_object", "letters")
    assert arguments["Key"].startswith("aws/lambda/uuid-1/essays-0/")
    assert json.loads(message["payload"])["records"]["essays-0"][0]["offset"] == 5


@pytest.mark.parametrize(
    ("service", "operation", "body", "place"),
    [
        ("sqs", "send_message", "MessageBody", ("QueueUrl", "http://aws/000000000000/letters")),
        ("sns", "publish", "Message", ("TopicArn", "arn:aws:sns:eu-north-1:000000000000:letters")),
    ],
)
def test_a_queue_and_a_topic_get_the_metadata(
    service: str, operation: str, body: str, place: tuple[str, str]
) -> None:
    """AWS Lambda developer guide, capturing discarded batches: SQS and SNS get no payload."""
    [(called, done, arguments)] = send(f"arn:aws:{service}:eu-north-1:000000000000:letters")
    message = json.loads(arguments[body])

    assert (called, done) == (service, operation)
    assert arguments[place[0]] == place[1]
    assert "payload" not in message
    assert message["KafkaBatchInfo"]["batchSize"] == 1


def test_without_a_destination_the_batch_is_dropped() -> None:
    """AWS Lambda developer guide, capturing discarded batches: records are retained only with a destination."""
    assert send(None) == []


def test_a_refusal_is_told_and_the_keys_are_made_anew() -> None:
    """What the destination refuses may be the keys, so the next attempt assumes the role again."""
    roles = Roles(refusal=ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "HeadBucket"))

    with pytest.raises(DestinationError, match="AccessDenied"):
        send("arn:aws:s3:::letters", roles)
    assert roles.forgotten == 1


@pytest.mark.parametrize("arn", ["arn:aws:events:eu-north-1:000000000000:event-bus/x", "nonsense"])
def test_a_destination_of_another_kind_is_an_error(arn: str) -> None:
    """Nothing is dropped because nobody knows where to put it."""
    with pytest.raises(DestinationError, match="is not a bucket"):
        send(arn)
