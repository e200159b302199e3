"""Servers that the tests of this folder may stop and kill: nobody else uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from ras_local.servers import apache_kafka, dynoxide

from tests.real_servers import DYNOXIDE, KAFKA, folder_of_servers, require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ras_local.settings import StackDir

PARTITIONS = 4
TOPICS = ("events", "read-when-stopped", "read-when-killed")


@pytest.fixture(scope="package")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StackDir]:
    """The folder of `kafka` and `dynoxide_endpoint`."""
    with folder_of_servers(tmp_path_factory.mktemp("victims")) as folder:
        yield folder


@pytest.fixture(scope="package")
def kafka(state: StackDir) -> str:
    """An Apache Kafka with a topic for every test that needs its own; its bootstrap servers."""
    require(KAFKA)
    return apache_kafka.start(state, TOPICS, PARTITIONS)()


@pytest.fixture(scope="package")
def dynoxide_endpoint(state: StackDir) -> str:
    """dynoxide; its address."""
    require(DYNOXIDE)
    endpoint_url, wait = dynoxide.start(state)
    wait()
    return endpoint_url
