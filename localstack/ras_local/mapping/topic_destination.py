"""A Kafka topic as an on-failure destination: a message for each discarded record."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from confluent_kafka import KafkaError, KafkaException, Producer

from .errors import DestinationError
from .events import PAYLOAD_LIMIT
from .failure_documents import failure_record
from .kafka_client import client_settings
from .records import span

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .delivery import Discarded
    from .events import EventSource
    from .records import KafkaRecord
    from .settings import MappingSettings

_TIMEOUT_S = 10.0


class TopicDestination:
    """A topic of the cluster that the mapping reads."""

    def __init__(
        self, topic: str, settings: MappingSettings, source: EventSource, kafka_options: Mapping[str, str]
    ) -> None:
        self._topic = topic
        self._settings = settings
        self._source = source
        self._kafka_options = kafka_options

    def publish(self, discarded: Discarded) -> None:
        """Write each record with the key that it had. Raises DestinationError, KafkaException.

        Chosen: a record that is too large for the topic with its failure around it goes there without its payload;
        its place in the source topic is part of the failure all the same.
        """
        for with_payload in (True, False):
            too_large = self._publish_each(discarded, with_payload=with_payload)
            if not too_large:
                return
            discarded = replace(discarded, records=too_large)
        raise DestinationError(
            f"{self._topic}: the broker takes not even the metadata of {span(discarded.records)}"
        )

    def _publish_each(self, discarded: Discarded, *, with_payload: bool) -> tuple[KafkaRecord, ...]:
        """Publish; returns the records whose messages are too large. Raises DestinationError, KafkaException."""
        producer = self._producer()
        outcomes: dict[int, KafkaError | None] = {}
        now = datetime.now(UTC)
        too_large = []
        for place, record in enumerate(discarded.records):
            text = failure_record(
                discarded, record, self._settings, self._source, now=now, with_payload=with_payload
            )

            def delivered(error: KafkaError | None, _: object, place: int = place) -> None:
                outcomes[place] = error

            try:
                producer.produce(self._topic, text.encode(), record.key, on_delivery=delivered)
            except KafkaException as refused:
                if refused.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                too_large.append(record)
                outcomes[place] = None
        producer.flush(2 * _TIMEOUT_S)
        for place, record in enumerate(discarded.records):
            if place not in outcomes:
                raise DestinationError(f"{self._topic}: the broker has not answered")
            error = outcomes[place]
            if error is None:
                continue
            if error.code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise DestinationError(f"{self._topic}: {error.str()}")
            too_large.append(record)
        return tuple(too_large)

    def _producer(self) -> Producer:
        return Producer(
            client_settings(
                self._source.bootstrap_servers,
                self._kafka_options,
                partitioner="murmur2_random",  # as Java's clients do, so a key keeps its partition
                batch_num_messages=1,  # a broker refuses a request as a whole, for one message that is too large
                message_max_bytes=4 * PAYLOAD_LIMIT,  # what is too large is for the broker to say
                topic_metadata_propagation_max_ms=0,  # a topic that is missing is reported at once
                message_timeout_ms=int(_TIMEOUT_S * 1000),
                enable_idempotence=True,
            )
        )
