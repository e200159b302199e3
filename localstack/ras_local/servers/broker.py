"""The broker of the stack on this machine, whichever kind it is."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ras.environment import number
from ras.errors import SettingError
from ras.kafka.client import create_topics, wait_for_topics
from ras.state_folder import REPOSITORY

from ras_local.servers import apache_kafka, embedded_broker, processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ras_local.settings import StackDir

PARTITIONS = 8
"""Per topic. The embedded broker keeps 5 MiB a partition, so this is room for some 50,000 essay results."""


def start_embedded(state: StackDir, topics: Sequence[str], partitions: int) -> Callable[[], str]:
    """Start the embedded broker; the answer waits for it and gives its bootstrap servers."""
    state.bootstrap_file.unlink(missing_ok=True)
    environment = dict(os.environ)
    command = [
        sys.executable,
        "-m",
        "ras_local.servers.embedded_broker",
        str(state.bootstrap_file),
        str(partitions),
    ]
    processes.start(state, processes.BROKER, [*command, *topics], environment=environment, folder=REPOSITORY)

    def wait() -> str:
        processes.wait_until(
            "the broker", state.bootstrap_file.exists, timeout_s=30, state=state, process=processes.BROKER
        )
        bootstrap_servers = state.bootstrap_file.read_text(encoding="utf-8")
        wait_for_topics(bootstrap_servers, topics)
        return bootstrap_servers

    return wait


def start_kafka(state: StackDir, topics: Sequence[str], partitions: int) -> Callable[[], str]:
    """Start Apache Kafka; see there."""
    return apache_kafka.start(state, topics, partitions)


def join(bootstrap_servers: str, topics: Sequence[str], partitions: int) -> Callable[[], str]:
    """Use a broker that runs already; the answer waits for it and makes the topics that it lacks."""

    def wait() -> str:
        wait_for_topics(bootstrap_servers, [], timeout_s=60)
        create_topics(bootstrap_servers, topics, partitions)
        return bootstrap_servers

    return wait


# One entry per kind of broker; each starts it with its topics and answers how to wait for it.
KINDS: Mapping[str, Callable[[StackDir, Sequence[str], int], Callable[[], str]]] = {
    "embedded": start_embedded,
    "kafka": start_kafka,
}


def named() -> str | None:
    """The address in RAS_BROKER, of one that is not ours to start; None where it says a kind, or nothing."""
    wished = os.environ.get("RAS_BROKER", "")
    return wished if ":" in wished else None


def kept_bytes(state: StackDir, bootstrap_servers: str) -> int | None:
    """What the broker at an address keeps of a partition before it drops the oldest records; None where it keeps all."""
    try:
        embedded = state.bootstrap_file.read_text(encoding="utf-8")
    except OSError:
        return None
    return embedded_broker.KEPT_BYTES if embedded == bootstrap_servers else None


def start(state: StackDir, topics: Sequence[str]) -> Callable[[], str]:
    """Start the broker that RAS_BROKER names (default: embedded), or use the one at that address; create the topics."""
    kind = os.environ.get("RAS_BROKER", "") or "embedded"
    partitions = number("RAS_PARTITIONS", PARTITIONS, least=1)
    if address := named():
        return join(address, topics, partitions)
    if kind not in KINDS:
        raise SettingError(
            f"RAS_BROKER={kind!r} is unknown",
            f"It may be {', '.join(KINDS)}, or the address of one that runs (host:port).",
        )
    return KINDS[kind](state, topics, partitions)
