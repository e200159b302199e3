"""Where a mapping's discarded records go: S3, SQS, SNS or a Kafka topic ("Capturing discarded batches")."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from confluent_kafka import KafkaException

from .errors import DestinationError
from .failure_documents import failure_message, failure_object_key
from .topic_destination import TopicDestination

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .delivery import Discarded
    from .events import EventSource
    from .roles import ExecutionRoles
    from .settings import MappingSettings


class OnFailure:
    """The on-failure destination of one mapping; without one, what is discarded is gone, as on AWS."""

    def __init__(
        self,
        roles: ExecutionRoles,
        settings: MappingSettings,
        source: EventSource,
        kafka_options: Mapping[str, str] | None = None,
    ) -> None:
        self._roles = roles
        self._settings = settings
        self._source = source
        self._kafka_options = kafka_options or {}

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
        topic = self._settings.destination_topic
        if topic is not None:
            TopicDestination(topic, self._settings, self._source, self._kafka_options).publish(discarded)
            return
        service = destination.split(":")[2] if destination.startswith("arn:") else ""
        if service not in ("s3", "sqs", "sns"):
            raise DestinationError(f"{destination} is not a bucket, a queue, an SNS topic or a Kafka topic")
        now = datetime.now(UTC)
        text = failure_message(discarded, self._settings, self._source, now=now, with_payload=service == "s3")
        client = self._roles.client(service, self._settings.function_arn)
        if service == "s3":
            key = failure_object_key(discarded, self._settings, now=now, unique=str(uuid.uuid4()))
            _put(client, destination, key, text)
        elif service == "sqs":
            _send_message(client, destination, text)
        else:
            client.publish(TopicArn=destination, Message=text)


def _put(client: Any, destination: str, key: str, text: str) -> None:
    bucket = destination.split(":::")[-1].split("/")[0]
    client.head_bucket(Bucket=bucket)  # what Lambda wants s3:ListBucket for
    client.put_object(Bucket=bucket, Key=key, Body=text.encode())


def _send_message(client: Any, destination: str, text: str) -> None:
    *_, account, queue = destination.split(":")
    # The address by its form, as asking for it would need a right that Lambda does not ask for.
    client.send_message(QueueUrl=f"{client.meta.endpoint_url}/{account}/{queue}", MessageBody=text)
