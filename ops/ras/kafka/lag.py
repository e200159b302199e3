"""How far consumer groups are behind the ends of their topics."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # its stubs forget it

from ras.kafka.client import quiet_client, unreachable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from confluent_kafka.admin import ClusterMetadata  # type: ignore[attr-defined]  # its stubs forget it

_LATEST: Any = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # as above
_TOPIC_ID = "topic-id="
"""As the local event source mapping writes it into its commits (`topic_ids.py` there), before the topic's id."""

_DESCRIBED = 10
"""Partitions that an error names at most."""

_EARLIEST: Any = OffsetSpec.earliest()  # type: ignore[no-untyped-call]  # as above


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
    """How far a group is in a partition, or in all of a topic, in offsets; `end` counts what was ever published.

    `committed` is where the group continues, so no less than where the log starts. `dropped` were deleted between a commit
    and the log's start: the group has not read them and never will. `remade` says that the group's commits are of an
    earlier topic of the same name, and count for nothing.
    """

    committed: int
    end: int
    dropped: int = 0
    remade: bool = False

    def __add__(self, other: Progress) -> Progress:
        return Progress(
            self.committed + other.committed,
            self.end + other.end,
            self.dropped + other.dropped,
            self.remade or other.remade,
        )

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
    """How far each topic's consumer group is, over all partitions; arguments and errors as `positions`."""
    found = positions(bootstrap_servers, groups, timeout_s)
    return {topic: of_topic(parts) for topic, parts in found.items()}


def of_topic(parts: Mapping[int, Progress]) -> Progress:
    """The progress over all partitions of a topic."""
    return sum(parts.values(), Progress(0, 0))


def described(found: Mapping[str, Mapping[int, Progress]]) -> str:
    """What is left to read and where, by partition, in words; empty where nothing is."""
    behind = [
        f"{topic} partition {number} by {at.lag} (offsets {at.committed} to {at.end - 1})"
        for topic, parts in found.items()
        for number, at in parts.items()
        if at.lag
    ]
    more = f" and {len(behind) - _DESCRIBED} more partitions" if len(behind) > _DESCRIBED else ""
    return ", ".join(behind[:_DESCRIBED]) + more


def positions(
    bootstrap_servers: str, groups: Mapping[str, str], timeout_s: float = 10
) -> dict[str, dict[int, Progress]]:
    """How far each topic's consumer group is, by partition: `groups` maps topic to group; missing topics are left out.

    Raises OperatorError when the broker does not answer, or goes on settling, for `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return _positions(bootstrap_servers, groups, min(timeout_s, _REQUEST_S))
        except KafkaException as error:
            code = error.args[0].code()
            if code not in _SETTLING | _LOST or time.monotonic() > deadline:
                raise unreachable(bootstrap_servers, error) from error
            if code in _LOST:
                _clients.forget()
        time.sleep(0.1)


def _positions(
    bootstrap_servers: str, groups: Mapping[str, str], timeout_s: float
) -> dict[str, dict[int, Progress]]:
    admin, members = _clients.of(bootstrap_servers, set(groups.values()))
    cluster = admin.list_topics(timeout=timeout_s)
    partitions = {
        topic: [TopicPartition(topic, number) for number in cluster.topics[topic].partitions]
        for topic in groups
        if topic in cluster.topics
    }
    if not partitions:
        return {}
    every = [partition for parts in partitions.values() for partition in parts]

    def ask(spec: Any) -> dict[TopicPartition, Any]:
        # As consumers read by default: what is behind an open transaction nobody can have consumed.
        return admin.list_offsets(
            dict.fromkeys(every, spec),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=timeout_s,
        )

    ends, starts = ask(_LATEST), ask(_EARLIEST)
    ids = _topic_ids(admin, cluster, list(partitions), timeout_s)

    def committed(group: str) -> list[TopicPartition]:
        own = [p for topic, parts in partitions.items() if groups[topic] == group for p in parts]
        return members[group].committed(own, timeout=timeout_s) if own else []

    high = {_place(partition): future.result().offset for partition, future in ends.items()}
    low = {_place(partition): future.result().offset for partition, future in starts.items()}
    found: dict[str, dict[int, Progress]] = {topic: {} for topic in partitions}
    # All at once: each asks a group's coordinator and waits for it.
    with ThreadPoolExecutor(len(members)) as pool:
        for known in pool.map(committed, members):
            for partition in known:
                place = _place(partition)
                remade = _is_of_another(partition, ids.get(partition.topic))
                found[partition.topic][partition.partition] = _of_partition(
                    partition.offset, low[place], high[place], remade=remade
                )
    return found


def _place(partition: TopicPartition) -> tuple[str, int]:
    return partition.topic, partition.partition


def _of_partition(committed: int, low: int, high: int, *, remade: bool) -> Progress:
    """`committed` is negative where the group has no commit: it has missed nothing, and its lag is what is there."""
    if remade or committed > high:  # of another log, which was longer
        return Progress(low, high, remade=True)
    return Progress(max(committed, low), high, max(0, low - committed) if committed >= 0 else 0)


def _topic_ids(
    admin: AdminClient, cluster: ClusterMetadata, topics: Sequence[str], timeout_s: float
) -> dict[str, str]:
    """The ids of topics, as far as they are known. librdkafka's mock has neither ids nor a controller to query."""
    if cluster.controller_id < 0:
        return {}
    ids = {}
    for topic, future in admin.describe_topics(
        TopicCollection(list(topics)), request_timeout=timeout_s
    ).items():
        with contextlib.suppress(KafkaException):  # deleted just now
            ids[topic] = str(future.result().topic_id)
    return ids


def _is_of_another(committed: TopicPartition, topic_id: str | None) -> bool:
    """Whether a commit names another topic than the one that has its name now, as the local pollers name it."""
    named = committed.metadata or ""
    return topic_id is not None and named.startswith(_TOPIC_ID) and named != f"{_TOPIC_ID}{topic_id}"
