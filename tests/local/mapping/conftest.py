"""A mapping on each kind of broker."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from ras_local.mapping import MappingSettings

from tests.local.mapping.bench import PARTITIONS, Bench
from tests.real_servers import KAFKA, running_broker, server

if TYPE_CHECKING:
    from collections.abc import Iterator

_topics = [f"topic-{number}" for number in range(30)]


@pytest.fixture(scope="module", params=["embedded", server(KAFKA)])
def bootstrap_servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with running_broker(request.param, tmp_path_factory.mktemp("broker"), _topics, PARTITIONS) as servers:
        yield servers


@pytest.fixture(scope="module")
def unused(bootstrap_servers: str) -> Iterator[str]:  # noqa: ARG001 - of each broker
    return iter(_topics)


@pytest.fixture
def topic(unused: Iterator[str]) -> str:
    """One per test."""
    return next(unused)


@pytest.fixture
def bench(bootstrap_servers: str, topic: str) -> Iterator[Bench]:
    mapping = MappingSettings(
        "uuid", topic, "arn:aws:lambda:eu-north-1:000000000000:function:f", consumer_group_id=f"group-{topic}"
    )
    made = Bench(bootstrap_servers, replace(mapping, window_s=0.05, provisioned=True, batch_size=20))
    yield made
    made.stop()
