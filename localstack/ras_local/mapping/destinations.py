"""Where a mapping's discarded records go: S3, SQS, SNS or a Kafka topic, with the rights of the function's role.

Lambda writes to an on-failure destination as the function's execution role (developer guide, "Capturing discarded
batches for Amazon MSK": the role needs s3:PutObject and s3:ListBucket, sqs:SendMessage, or sns:Publish). So the keys
here are that role's as well, and a right that the template forgot is missing on this machine too.
"""

from __future__ import annotations

import json
import threading
import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from confluent_kafka import KafkaError, KafkaException, Producer
from ras.kafka.client import quiet_client

from ras_local.mapping.delivery import (
    PAYLOAD_LIMIT,
    Discarded,
    EventSource,
    KafkaRecord,
    MappingSettings,
    failure_message,
    failure_object_key,
    failure_record,
    span,
)

if TYPE_CHECKING:
    from ras.aws import Cloud

_SESSION_NAME = "event-source-mapping"
_SESSION_S = 3600
_RENEWED_BEFORE = timedelta(minutes=5)
_TRUST_SID = "LocalEventSourceMapping"
_KAFKA_TIMEOUT_S = 10.0


class DestinationError(Exception):
    """The destination did not take what was discarded; it may later."""


@dataclass(frozen=True)
class _Session:
    access_key_id: str
    secret_access_key: str
    token: str
    expires: datetime


class ExecutionRoles:
    """Keys of functions' execution roles, kept until shortly before they expire."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    def client(self, service: str, function_arn: str) -> Any:
        """A client that signs as the function's role. Raises botocore's errors."""
        role_arn = self._cloud.functions.get_function_configuration(FunctionName=function_arn)["Role"]
        with self._lock:
            session = self._sessions.get(role_arn)
            if session is None or session.expires - _RENEWED_BEFORE < datetime.now(UTC):
                session = self._sessions[role_arn] = self._assume(role_arn)
        # A session of its own, as boto3's default one is not safe between threads.
        make: Any = boto3.session.Session(
            session.access_key_id, session.secret_access_key, session.token, self._cloud.region
        ).client
        return make(
            service,
            endpoint_url=self._cloud.endpoint_url,
            config=Config(
                connect_timeout=5,
                retries={"mode": "standard", "total_max_attempts": 1},  # the mapping itself tries again
                s3={"addressing_style": "path"},
            ),
        )

    def forget(self) -> None:
        """Assume the roles anew: their keys may have been what a destination refused."""
        with self._lock:
            self._sessions.clear()

    def _assume(self, role_arn: str) -> _Session:
        try:
            return self._assume_as_it_is(role_arn)
        except ClientError as error:
            if error.response["Error"]["Code"] != "AccessDenied":
                raise
        return self._assume_with_trust(role_arn)

    def _assume_as_it_is(self, role_arn: str) -> _Session:
        keys = self._cloud.sts.assume_role(
            RoleArn=role_arn, RoleSessionName=_SESSION_NAME, DurationSeconds=_SESSION_S
        )["Credentials"]
        return _Session(
            keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], keys["Expiration"]
        )

    def _assume_with_trust(self, role_arn: str) -> _Session:
        """Assume a role that trusts the Lambda service alone, as on AWS only that service can.

        The emulator has no way to ask as a service, so the role trusts the account for the moment of the call.
        """
        role = role_arn.rsplit("/", 1)[-1]
        policy: Any = self._cloud.iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
        statements = [one for one in policy["Statement"] if one.get("Sid") != _TRUST_SID]
        account = {
            "Sid": _TRUST_SID,
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{role_arn.split(':')[4]}:root"},
            "Action": "sts:AssumeRole",
        }
        self._trust(role, policy, [*statements, account])
        try:
            return self._assume_as_it_is(role_arn)
        finally:
            self._trust(role, policy, statements)

    def _trust(self, role: str, policy: dict[str, Any], statements: list[Any]) -> None:
        self._cloud.iam.update_assume_role_policy(
            RoleName=role, PolicyDocument=json.dumps({**policy, "Statement": statements})
        )


class OnFailure:
    """The on-failure destination of one mapping; without one, what is discarded is gone, as on AWS."""

    def __init__(self, roles: ExecutionRoles, settings: MappingSettings, source: EventSource) -> None:
        self._roles = roles
        self._settings = settings
        self._source = source

    def __call__(self, discarded: Discarded) -> None:
        """Returns once the destination has it. Raises DestinationError."""
        if not self._settings.on_failure_arn:
            return
        try:
            self._send(discarded, self._settings.on_failure_arn)
        except (BotoCoreError, ClientError, KafkaException) as error:
            self._roles.forget()
            raise DestinationError(str(error)) from error

    def _send(self, discarded: Discarded, destination: str) -> None:
        if self._settings.destination_topic is not None:
            self._publish(discarded, self._settings.destination_topic)
            return
        service = destination.split(":")[2] if destination.startswith("arn:") else ""
        if service not in ("s3", "sqs", "sns"):
            raise DestinationError(f"{destination} is not a bucket, a queue, an SNS topic or a Kafka topic")
        now = datetime.now(UTC)
        text = failure_message(discarded, self._settings, self._source, now=now, with_payload=service == "s3")
        client = self._roles.client(service, self._settings.function_arn)
        if service == "s3":
            bucket = destination.split(":::")[-1].split("/")[0]
            client.head_bucket(Bucket=bucket)  # what Lambda wants s3:ListBucket for
            key = failure_object_key(discarded, self._settings, now=now, unique=str(uuid.uuid4()))
            client.put_object(Bucket=bucket, Key=key, Body=text.encode())
        elif service == "sqs":
            *_, account, queue = destination.split(":")
            # The address by its form, as asking for it would need a right that Lambda does not ask for.
            url = f"{client.meta.endpoint_url}/{account}/{queue}"
            client.send_message(QueueUrl=url, MessageBody=text)
        else:
            client.publish(TopicArn=destination, Message=text)

    def _publish(self, discarded: Discarded, topic: str) -> None:
        """Write each record to a topic of the same cluster, with the key that it had.

        Chosen: a record that is too large for the topic with its failure around it goes there without its payload;
        its place in the source topic is told all the same.
        """
        for with_payload in (True, False):
            too_large = self._publish_each(discarded, topic, with_payload=with_payload)
            if not too_large:
                return
            discarded = replace(discarded, records=too_large)
        raise DestinationError(
            f"{topic}: the broker takes not even the metadata of {span(discarded.records)}"
        )

    def _publish_each(
        self, discarded: Discarded, topic: str, *, with_payload: bool
    ) -> tuple[KafkaRecord, ...]:
        """Publish; gives the records whose messages are too large. Raises DestinationError, KafkaException."""
        outcomes: dict[int, KafkaError | None] = {}
        producer = Producer(
            quiet_client(
                self._source.bootstrap_servers,
                partitioner="murmur2_random",  # as Java's clients do, so a key keeps its partition
                batch_num_messages=1,  # a broker refuses a request as a whole, for one message that is too large
                message_max_bytes=4 * PAYLOAD_LIMIT,  # what is too large is for the broker to say
                topic_metadata_propagation_max_ms=0,  # a topic that is missing is told at once
                message_timeout_ms=int(_KAFKA_TIMEOUT_S * 1000),
                enable_idempotence=True,
            )
        )
        now = datetime.now(UTC)
        too_large = []
        for place, record in enumerate(discarded.records):
            text = failure_record(
                discarded, record, self._settings, self._source, now=now, with_payload=with_payload
            )

            def delivered(error: KafkaError | None, _: object, place: int = place) -> None:
                outcomes[place] = error

            try:
                producer.produce(topic, text.encode(), record.key, on_delivery=delivered)
            except KafkaException as refused:
                if refused.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                too_large.append(record)
                outcomes[place] = None
        producer.flush(2 * _KAFKA_TIMEOUT_S)
        for place, record in enumerate(discarded.records):
            if place not in outcomes:
                raise DestinationError(f"{topic}: the broker has not answered")
            error = outcomes[place]
            if error is None:
                continue
            if error.code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise DestinationError(f"{topic}: {error.str()}")
            too_large.append(record)
        return tuple(too_large)
