"""Where a batch goes that the mapping gave up on, by the kind of its destination, and in whose name."""

from __future__ import annotations

import io
import json
import time
import zipfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from botocore.exceptions import ClientError
from confluent_kafka import Consumer, TopicPartition
from ras.aws import Cloud
from ras.kafka.client import quiet_client
from ras_local.mapping.delivery import (
    AGE_EXCEEDED,
    PAYLOAD_EXCEEDED,
    RETRIES_EXHAUSTED,
    Discarded,
    EventSource,
    Failed,
    KafkaRecord,
    MappingSettings,
)
from ras_local.mapping.destinations import DestinationError, ExecutionRoles, OnFailure
from ras_local.servers import broker
from ras_local.settings import ACCOUNT, region

from tests.real_servers import folder_of_servers

if TYPE_CHECKING:
    from collections.abc import Iterator

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


# --- a Kafka topic ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bootstrap_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with folder_of_servers(tmp_path_factory.mktemp("broker")) as state:
        yield broker.KINDS["embedded"](state, ["essays", "letters", "too-old", "too-large"], 3)()


def read_all(
    bootstrap_servers: str, topic: str, count: int
) -> list[tuple[int, bytes | None, dict[str, Any]]]:
    """(partition, key, parsed value) of the topic's first records."""
    consumer = Consumer(quiet_client(bootstrap_servers, group_id="reader", auto_offset_reset="earliest"))
    consumer.assign([TopicPartition(topic, number, 0) for number in range(3)])
    found: list[tuple[int, bytes | None, dict[str, Any]]] = []
    deadline = time.monotonic() + 120
    while len(found) < count:
        assert time.monotonic() < deadline, f"{len(found)} of {count}"
        for message in consumer.consume(count, 0.2):
            assert message.error() is None
            key: Any = message.key()
            found.append((message.partition() or 0, key, json.loads(message.value() or b"")))
    consumer.close()
    return found


def kafka_destination(bootstrap_servers: str, topic: str) -> OnFailure:
    source = replace(SOURCE, bootstrap_servers=bootstrap_servers)
    return OnFailure(cast("Any", Roles()), replace(SETTINGS, on_failure_arn=f"kafka://{topic}"), source)


def test_a_kafka_topic_gets_each_record_with_its_key(bootstrap_servers: str) -> None:
    """AWS Lambda developer guide, using a Kafka topic as an on-failure destination: one message a record."""
    records = [
        KafkaRecord("essays", 0, 5, 1_795_000_000_000, key=b"k-1", value=b"one", headers=(("h", b"\xff"),)),
        KafkaRecord("essays", 2, 9, 1_795_000_001_000, value=None),
        KafkaRecord("essays", 0, 6, 1_795_000_002_000, key=b"k-1", value=b"two"),
    ]
    kafka_destination(bootstrap_servers, "letters")(
        Discarded(tuple(records), RETRIES_EXHAUSTED, 3, Failed("boom", "r-1"))
    )
    found = read_all(bootstrap_servers, "letters", 3)
    by_offset = {message["KafkaBatchInfo"]["recordInfo"]["offset"]: message for _, _, message in found}

    assert sorted(by_offset) == ["5", "6", "9"]
    assert {key for _, key, message in found if message["payload"]["records"].get("essays-0")} == {b"k-1"}
    assert len({partition for partition, key, _ in found if key == b"k-1"}) == 1
    assert [key for _, key, message in found if "essays-2" in message["payload"]["records"]] == [None]
    message = by_offset["5"]
    assert message["requestContext"] == {
        "requestId": "r-1",
        "functionArn": f"{FUNCTION}:$LATEST",
        "condition": "RetriesExhausted",
        "approximateInvokeCount": 3,
    }
    assert message["KafkaBatchInfo"]["batchSize"] == 1
    assert message["KafkaBatchInfo"]["recordInfo"]["timestamp"] == "2026-11-18T11:06:40.000Z"
    assert message["payload"]["eventSource"] == "aws:kafka"
    assert message["payload"]["records"]["essays-0"][0]["headers"] == [{"h": [-1]}]


@pytest.mark.parametrize(("condition", "topic"), [(AGE_EXCEEDED, "too-old"), (PAYLOAD_EXCEEDED, "too-large")])
def test_other_conditions_are_spelled_alike_everywhere(
    bootstrap_servers: str, condition: str, topic: str
) -> None:
    """The guide's samples differ in the word for exhausted retries alone."""
    discarded = Discarded((KafkaRecord("essays", 1, 1, 0, value=b"x"),), condition, 0)
    kafka_destination(bootstrap_servers, topic)(discarded)
    [(_, _, message)] = read_all(bootstrap_servers, topic, 1)

    assert message["requestContext"]["condition"] == condition
    assert message["responseContext"] is None


@pytest.mark.slow
def test_a_broker_that_is_away_is_told() -> None:
    """Until the broker has answered, nothing counts as delivered."""
    with pytest.raises(DestinationError, match="letters"):
        kafka_destination("127.0.0.1:1", "letters")(DISCARDED)


# --- the function's role ----------------------------------------------------------------------------------------

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


def code() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("handler.py", "def handler(event, context):\n    raise ValueError('boom')\n")
    return buffer.getvalue()


def make_function(cloud: Cloud, name: str, statements: list[dict[str, Any]]) -> str:
    """A function with a role that trusts Lambda alone; its ARN."""
    role = cloud.iam.create_role(RoleName=f"{name}-role", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
    cloud.iam.put_role_policy(
        RoleName=f"{name}-role",
        PolicyName="rights",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
    )
    made = cloud.functions.create_function(
        FunctionName=name,
        Role=role["Arn"],
        Runtime="python3.12",
        Handler="handler.handler",
        Code={"ZipFile": code()},
    )
    return made["FunctionArn"]


@pytest.fixture(scope="module")
def cloud(emulator_url: str) -> Cloud:
    made = Cloud(emulator_url, region())
    made.s3.create_bucket(
        Bucket="letters",
        CreateBucketConfiguration={"LocationConstraint": cast("Any", region())},
    )
    made.sqs.create_queue(QueueName="letters")
    return made


LIST = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::letters"}
PUT = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::letters/aws/lambda/*"}
SEND = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}


def deliver(cloud: Cloud, function_arn: str, arn: str) -> None:
    settings = replace(SETTINGS, function_arn=function_arn, on_failure_arn=arn)
    OnFailure(ExecutionRoles(cloud), settings, SOURCE)(DISCARDED)


def test_the_functions_role_writes_to_the_bucket(cloud: Cloud) -> None:
    """AWS Lambda developer guide, capturing discarded batches: s3:PutObject and s3:ListBucket are what it takes."""
    deliver(cloud, make_function(cloud, "may-put", [LIST, PUT]), "arn:aws:s3:::letters")
    [stored] = cloud.s3.list_objects_v2(Bucket="letters", Prefix="aws/lambda/uuid-1/")["Contents"]

    assert stored["Key"].startswith("aws/lambda/uuid-1/essays-0/")


@pytest.mark.parametrize(
    ("name", "rights"), [("may-not-put", [LIST]), ("may-not-list", [PUT]), ("may-do-nothing", [SEND])]
)
def test_a_role_without_the_rights_is_refused(cloud: Cloud, name: str, rights: list[dict[str, Any]]) -> None:
    """A right that the template forgot is missing here as it would be on AWS."""
    function_arn = make_function(cloud, name, rights)

    with pytest.raises(DestinationError, match=r"AccessDenied|403|Forbidden"):
        deliver(cloud, function_arn, "arn:aws:s3:::letters")


def test_the_functions_role_writes_to_the_queue(cloud: Cloud) -> None:
    """AWS Lambda developer guide, capturing discarded batches: sqs:SendMessage is what it takes."""
    queue = f"arn:aws:sqs:{region()}:{ACCOUNT}:letters"
    with pytest.raises(DestinationError, match="AccessDenied"):
        deliver(cloud, make_function(cloud, "may-not-send", [LIST]), queue)
    deliver(cloud, make_function(cloud, "may-send", [SEND]), queue)
    url = cloud.sqs.get_queue_url(QueueName="letters")["QueueUrl"]
    [message] = cloud.sqs.receive_message(QueueUrl=url)["Messages"]

    assert json.loads(message["Body"])["requestContext"]["condition"] == "RetryAttemptsExhausted"


def test_the_role_trusts_nobody_else_afterwards(cloud: Cloud) -> None:
    """The role trusts Lambda alone, as deployed; it is the same again once its keys are there."""
    deliver(cloud, make_function(cloud, "trusting", [LIST, PUT]), "arn:aws:s3:::letters")
    document: Any = cloud.iam.get_role(RoleName="trusting-role")["Role"]["AssumeRolePolicyDocument"]

    assert document == TRUST
