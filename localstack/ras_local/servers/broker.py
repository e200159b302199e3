"""The broker of the stack on this machine, whichever kind it is, and what is asked of any broker."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # its stubs forget it
from ras.errors import StackError
from ras.state import REPOSITORY, number

from ras_local.servers import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from ras.state import StateDir

PROCESS = "broker"

PARTITIONS = 8
"""Per topic. The embedded broker keeps 5 MiB a partition, so this is room for some 50,000 essay results."""

_LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # as above

# librdkafka reports every refused connection on standard error; what matters reaches us as exceptions.
_quiet = logging.getLogger("ras_local.librdkafka")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False


def quiet_client(
    bootstrap_servers: str,
    *,
    on_error: Callable[[KafkaError], None] = lambda _: None,
    **settings: Any,
) -> dict[str, Any]:
    """Settings of any Kafka client here: underscores in names stand for librdkafka's dots.

    `on_error` is told, while the client is polled, of errors that it tries to get over by itself.
    """
    return {
        "bootstrap.servers": bootstrap_servers,
        "logger": _quiet,
        "error_cb": on_error,
        "socket.timeout.ms": 10_000,
        # Its own default is ten seconds: a broker that was restarted would be away for longer than it was.
        "reconnect.backoff.max.ms": 1000,
        **{name.replace("_", "."): value for name, value in settings.items()},
    }


def start_embedded(state: StateDir, topics: Sequence[str], partitions: int) -> Callable[[], str]:
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
    processes.start(state, PROCESS, [*command, *topics], environment=environment, folder=REPOSITORY)

    def wait() -> str:
        processes.wait_until(
            "the broker", state.bootstrap_file.exists, timeout_s=30, state=state, process=PROCESS
        )
        bootstrap_servers = state.bootstrap_file.read_text(encoding="utf-8")
        wait_for_topics(bootstrap_servers, topics)
        return bootstrap_servers

    return wait


def start_kafka(state: StateDir, topics: Sequence[str], partitions: int) -> Callable[[], str]:
    """Start Apache Kafka; see there."""
    from ras_local.servers import apache_kafka  # it asks things of any broker, so it imports this module

    return apache_kafka.start(state, topics, partitions)


def join(bootstrap_servers: str, topics: Sequence[str], partitions: int) -> Callable[[], str]:
    """Use a broker that runs already; the answer waits for it and makes the topics that it lacks."""
    from ras_local.servers import apache_kafka  # as above

    def wait() -> str:
        wait_for_topics(bootstrap_servers, [], timeout_s=60)
        apache_kafka.create_topics(bootstrap_servers, topics, partitions)
        return bootstrap_servers

    return wait


# One entry per kind of broker; each starts it with its topics and answers how to wait for it.
KINDS: Mapping[str, Callable[[StateDir, Sequence[str], int], Callable[[], str]]] = {
    "embedded": start_embedded,
    "kafka": start_kafka,
}


def named() -> str | None:
    """The address in RAS_BROKER, of one that is not ours to start; None where it says a kind, or nothing."""
    wished = os.environ.get("RAS_BROKER", "")
    return wished if ":" in wished else None


def start(state: StateDir, topics: Sequence[str]) -> Callable[[], str]:
    """Start the broker that RAS_BROKER names (default: embedded), or use the one at that address; create the topics."""
    kind = os.environ.get("RAS_BROKER", "") or "embedded"
    partitions = number("RAS_PARTITIONS", PARTITIONS, least=1)
    if address := named():
        return join(address, topics, partitions)
    if kind not in KINDS:
        raise StackError(
            f"RAS_BROKER={kind!r} is unknown",
            f"It may be {', '.join(KINDS)}, or the address of one that runs (host:port).",
        )
    return KINDS[kind](state, topics, partitions)


def wait_for_topics(bootstrap_servers: str, topics: Iterable[str], timeout_s: float = 10) -> None:
    """Raises StackError when the broker does not answer for `timeout_s`, or a topic is missing."""
    admin = AdminClient(quiet_client(bootstrap_servers))
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            known = admin.list_topics(timeout=timeout_s).topics
            break
        except KafkaException as error:
            # A connection that breaks fails at once, however long the client may take.
            if time.monotonic() > deadline:
                raise unreachable(bootstrap_servers, error) from error
        time.sleep(0.1)
    missing = sorted(set(topics) - set(known))
    if missing:
        raise StackError(f"the broker at {bootstrap_servers} has no topic {', '.join(missing)}")


def unreachable(bootstrap_servers: str, error: Exception) -> StackError:
    return StackError(
        f"no broker answers at {bootstrap_servers}: {error}",
        "On this machine see `.venv/bin/ras status`, or start one with `make up`; MSK's answer inside their VPC.",
    )


class _Clients:
    """Clients of the broker and the groups asked about last, kept for the next question: each has threads and connections.

    None of any other: a client of a broker that is gone looks for it for ever, and sixty took a quarter of a core.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._broker = ""
        self._admin: AdminClient | None = None
        self._members: dict[str, Consumer] = {}

    def of(
        self, bootstrap_servers: str, groups: Collection[str]
    ) -> tuple[AdminClient, Mapping[str, Consumer]]:
        """One for the broker, and per group one that reads its commits and never joins it.

        Not AdminClient.list_consumer_group_offsets: librdkafka 2.16 ends the whole process by an assertion where the
        coordinator of a broker that was just restarted has it ask twice (rd_kafka_admin_coord_response_parse).
        """
        with self._lock:
            if self._broker != bootstrap_servers or self._admin is None:
                self._broker, self._members = bootstrap_servers, {}
                self._admin = AdminClient(quiet_client(bootstrap_servers))
            self._members = {
                group: self._members.get(group)
                or Consumer(quiet_client(bootstrap_servers, group_id=group, enable_auto_commit=False))
                for group in groups
            }
            return self._admin, dict(self._members)

    def forget(self) -> None:
        with self._lock:
            self._admin, self._members = None, {}


_clients = _Clients()


@dataclass(frozen=True)
class Progress:
    """How far a group is in a topic, in records over all partitions; `end` counts what was ever published."""

    committed: int
    end: int

    @property
    def lag(self) -> int:
        return self.end - self.committed


# Apache Kafka answers so while it is starting: the group's or the partition's place is not known yet.
_SETTLING = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.UNKNOWN_LEADER_EPOCH,
    KafkaError._NOENT,
    KafkaError._WAIT_COORD,
}

# A request to a broker that was killed meanwhile is never answered: it is asked again, by a client that has not
# waited for the old one.
_LOST = {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}
_REQUEST_S = 5.0


def progress(bootstrap_servers: str, groups: Mapping[str, str], timeout_s: float = 10) -> dict[str, Progress]:
    """The committed and the last offsets of each topic, given its consumer group: `groups` maps topic to group.

    Raises StackError when the broker does not answer, or goes on settling, for `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return _progress(bootstrap_servers, groups, min(timeout_s, _REQUEST_S))
        except KafkaException as error:
            code = error.args[0].code()
            if code not in _SETTLING | _LOST or time.monotonic() > deadline:
                raise unreachable(bootstrap_servers, error) from error
            if code in _LOST:
                _clients.forget()
        time.sleep(0.1)


def _progress(bootstrap_servers: str, groups: Mapping[str, str], timeout_s: float) -> dict[str, Progress]:
    admin, members = _clients.of(bootstrap_servers, set(groups.values()))
    topics = admin.list_topics(timeout=timeout_s).topics
    partitions = {
        topic: [TopicPartition(topic, number) for number in topics[topic].partitions]
        for topic in groups
        if topic in topics
    }
    if not partitions:
        return {}
    ends = admin.list_offsets(
        dict.fromkeys((p for parts in partitions.values() for p in parts), _LATEST),
        request_timeout=timeout_s,
    )

    def committed(group: str) -> list[TopicPartition]:
        own = [p for topic, parts in partitions.items() if groups[topic] == group for p in parts]
        return members[group].committed(own, timeout=timeout_s) if own else []

    done: dict[str, int] = dict.fromkeys(partitions, 0)
    # All at once: each asks a group's coordinator and waits for it.
    with ThreadPoolExecutor(len(members)) as pool:
        for known in pool.map(committed, members):
            for partition in known:
                done[partition.topic] += max(partition.offset, 0)
    end: dict[str, int] = dict.fromkeys(partitions, 0)
    for partition, future in ends.items():
        end[partition.topic] += future.result().offset
    return {topic: Progress(done[topic], end[topic]) for topic in partitions}
