"""Settings of every Kafka client: the user's own reach those that read and those that write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest
from confluent_kafka import KafkaError
from ras_local.mapping import DestinationError, Discarded, Gate, KafkaRecord, MappingSettings, RunningMapping
from ras_local.mapping.delivery import RETRIES_EXHAUSTED
from ras_local.mapping.destinations import OnFailure
from ras_local.mapping.events import EventSource
from ras_local.mapping.kafka_client import client_settings

from tests.local.mapping.bench import until
from tests.real_servers import running_broker

if TYPE_CHECKING:
    from collections.abc import Iterator

ENCRYPTED = {"security.protocol": "ssl"}


@pytest.fixture(scope="module")
def bootstrap_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_broker("embedded", tmp_path_factory.mktemp("broker"), ["essays", "letters"], 1) as servers:
        yield servers


def test_the_users_settings_win() -> None:
    found = client_settings("b:9092", {"session.timeout.ms": "7"}, session_timeout_ms=6, group_id="g")

    assert (found["bootstrap.servers"], found["session.timeout.ms"], found["group.id"]) == (
        "b:9092",
        "7",
        "g",
    )


def never(_: object) -> NoReturn:
    raise AssertionError("it was invoked")


def test_a_mapping_reads_with_them(bootstrap_servers: str) -> None:
    """A broker that speaks no TLS cannot be read with it, and the status says so."""
    mapping = RunningMapping(
        MappingSettings("one", "essays", "f", consumer_group_id="readers"),
        bootstrap_servers,
        invoke=never,
        destination=never,
        gate=Gate(1),
        kafka_options=ENCRYPTED,
    )
    mapping.start()
    try:
        until(lambda: "SSL handshake failed" in mapping.problems.text, "the problem is told")
        assert not mapping.ready
    finally:
        mapping.stop()
        mapping.join(20)


def test_a_destination_writes_with_them(bootstrap_servers: str) -> None:
    settings = MappingSettings("one", "essays", "f", provisioned=True, on_failure_arn="kafka://letters")
    discarded = Discarded((KafkaRecord("essays", 0, 0, 0, value=b"x"),), RETRIES_EXHAUSTED, 1)
    source = EventSource("arn", bootstrap_servers)
    with pytest.raises(DestinationError, match=KafkaError(KafkaError._MSG_TIMED_OUT).str()):
        OnFailure(cast("Any", None), settings, source, ENCRYPTED)(discarded)
