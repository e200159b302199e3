"""What is wrong with a mapping, as its status and the log tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from confluent_kafka import KafkaError
from ras_local.mapping import MappingSettings

from tests.local.mapping.bench import Bench

if TYPE_CHECKING:
    import pytest


def test_each_kind_of_problem_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The client tells every attempt at a broker that is away, each with other milliseconds."""
    mapping = Bench("127.0.0.1:1", MappingSettings("uuid", "t", "f", consumer_group_id="g")).mapping
    for milliseconds in range(3):
        mapping.problems.of_client(KafkaError(KafkaError._TRANSPORT, f"refused after {milliseconds} ms"))
        mapping.problems.of_client(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))

    assert [one.getMessage() for one in caplog.records] == [
        "t: refused after 0 ms",
        "t: 1/1 brokers are down",
    ]
    assert mapping.status()["problem"] == "1/1 brokers are down"
