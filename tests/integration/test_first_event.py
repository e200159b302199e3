"""The programs of docs/deploy.md that make the topics and publish the first event, run as they stand there.

Only their sign-in with MSK is left out, as the Apache Kafka of the tests lets everybody in.
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
import ras.kafka.msk_iam
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from ras.kafka.client import quiet_client
from result_aggregator.contracts import read
from result_aggregator.domain.events import BatchDescribed
from result_aggregator.topics import TOPICS

pytestmark = pytest.mark.integration

DEPLOY = Path(__file__).parents[2] / "docs/deploy.md"
PROGRAMS = [
    textwrap.dedent(block)
    for block in re.findall(r"^ *```python\n(.*?)^ *```", DEPLOY.read_text(), flags=re.DOTALL | re.MULTILINE)
]


def test_first_event_of_the_document(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Topics are made once, however often it is run; the event is one that the service takes."""
    monkeypatch.setenv("BROKERS", kafka)
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    monkeypatch.setattr(ras.kafka.msk_iam, "msk_iam", lambda *_: {})
    make_topics, publish = PROGRAMS
    for program in (make_topics, make_topics, publish):
        exec(compile(program, str(DEPLOY), "exec"), {})  # noqa: S102 - the document's own program is what is tested

    there = AdminClient(quiet_client(kafka)).list_topics(timeout=10).topics
    assert TOPICS.keys() <= there.keys()
    topic = "huleedu.batch.essays.registered.v1"
    consumer = Consumer(quiet_client(kafka, group_id="first-event", auto_offset_reset="earliest"))
    consumer.assign([TopicPartition(topic, partition, 0) for partition in there[topic].partitions])
    (message,) = consumer.consume(1, 30)
    consumer.close()
    read_back = read(topic, message.value(), message.timestamp()[1])

    assert isinstance(read_back, BatchDescribed)
    assert (read_back.batch_id, read_back.user_id) == ("first-batch", "teacher-anna")
