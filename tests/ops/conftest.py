"""The whole service over an emulated AWS, with its bucket of dead letters; and a broker."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ras.kafka.msk_iam import Brokers
from ras_local.servers import broker
from result_aggregator.topics import TOPICS

from tests.handlers.conftest import logs, service
from tests.ops.made import DEPLOYED
from tests.real_servers import folder_of_servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ras.deployed_mappings import DeployedMapping

__all__ = ["logs", "service"]

PARTITIONS = 4
_topics = [f"topic-{number}" for number in range(40)]


@pytest.fixture(scope="session")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brokers]:
    """The embedded broker, with the service's topics and some others, four partitions each."""
    with folder_of_servers(tmp_path_factory.mktemp("broker")) as state:
        yield Brokers(broker.start_embedded(state, [*TOPICS, *_topics], PARTITIONS)())


@pytest.fixture
def topic(brokers: Brokers, _unused: Iterator[str] = iter(_topics)) -> str:  # noqa: ARG001, B008 (one per test)
    """An empty topic."""
    return next(_unused)


@pytest.fixture
def mapping(topic: str) -> DeployedMapping:
    return replace(DEPLOYED, topic=topic, consumer_group_id=f"group-of-{topic}")
