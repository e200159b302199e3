"""Which topic a name stands for: one that is deleted and made again under its name is another, with other records.

Kafka gives each topic an id of its own. It goes with each commit as its metadata, so a commit of the earlier topic is known
for one, whoever made it and however late; and it is queried now and then, as a consumer that goes on does not notice.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from .errors import TopicRemadeError
from .kafka_client import client_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Future

logger = logging.getLogger(__name__)

_TAG = "topic-id="
_REQUEST_S = 5.0
_EVERY_S = 2.0


class TopicIds:
    """The ids of topics, queried by one client; it may be used by many threads."""

    def __init__(self, bootstrap_servers: str, options: Mapping[str, str]) -> None:
        self._admin = AdminClient(client_settings(bootstrap_servers, options))
        self._known_to_brokers: bool | None = None

    def find_out(self) -> None:
        """Learn whether the brokers keep ids, where that is not known yet; it waits for a broker's answer.

        librdkafka's mock has no controller, and the client would look for it until each request times out.
        """
        if self._known_to_brokers is None:
            with contextlib.suppress(KafkaException):
                self._known_to_brokers = self._admin.list_topics(timeout=_REQUEST_S).controller_id >= 0

    def query(self, topic: str) -> Future[object] | None:
        """The broker's answer to come, for `read`; None where the brokers keep no ids, or `find_out` has found nothing."""
        if not self._known_to_brokers:
            return None
        asked = TopicCollection([topic])
        answers: dict[str, Future[object]] = self._admin.describe_topics(asked, request_timeout=_REQUEST_S)
        return answers[topic]


def read(answer: Future[object] | None) -> str | None:
    """The id in an answer, waiting for it. None where it is not known: no topic, no right to describe it, no broker."""
    if answer is None:
        return None
    try:
        return str(getattr(answer.result(), "topic_id", "")) or None
    except KafkaException as error:
        logger.debug("no topic id: %s", error)
        return None


class TopicIdentity:
    """The topic that one consumer reads, from when it begins to."""

    def __init__(self, ids: TopicIds, topic: str) -> None:
        self._ids = ids
        self._topic = topic
        self._id: str | None = None
        self._answer: Future[object] | None = None
        self._asked_at = 0.0

    def named(self, position: TopicPartition) -> TopicPartition:
        """A position to commit, with the topic's id, where that is known."""
        if self._id is None:
            return position
        return TopicPartition(position.topic, position.partition, position.offset, f"{_TAG}{self._id}")

    def learn(self) -> None:
        """Query the id where it is not known yet, and wait for it. Raises TopicRemadeError as `check`."""
        if self._id is None:
            self._ids.find_out()
            self._compare(read(self._ids.query(self._topic)))

    def check(self) -> None:
        """To be called often; it does not wait. Raises TopicRemadeError where the name stands for another topic now."""
        if self._answer is not None and self._answer.done():
            answer, self._answer = self._answer, None
            self._compare(read(answer))
        if self._answer is None and time.monotonic() - self._asked_at >= _EVERY_S:
            self._asked_at = time.monotonic()
            self._answer = self._ids.query(self._topic)

    def of_earlier_topic(self, committed: list[TopicPartition]) -> set[int]:
        """The partitions whose commit was made on another topic of the name. Commits that name none are taken."""
        return {
            partition.partition
            for partition in committed
            if self._id is not None
            and partition.offset >= 0
            and (partition.metadata or "").startswith(_TAG)
            and partition.metadata != f"{_TAG}{self._id}"
        }

    def _compare(self, found: str | None) -> None:
        if self._id is not None and found not in (None, self._id):
            raise TopicRemadeError(self._topic)
        self._id = found or self._id
