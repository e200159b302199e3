"""A consumer group's commits on one topic: read from outside, and changed as its only member."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from ras.errors import ConflictError, UnreachableError
from ras.kafka.client import quiet_client
from ras.kafka.errors import Door, lacking, needing
from ras.kafka.topic import AT_A_TIME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ras.kafka.msk_iam import Brokers

_TIMEOUT_S = 15.0
_FIRST_S = 2.0
"""As `errors`: a refusal is looked for after so long, and after twice as long each time."""
_CLOSE_S = 10.0
"""How long a client may take to leave its group; afterwards it is left to itself."""
LEAVE_WAIT_S = 180.0
"""How long members may take to leave their group: an invocation that runs is waited for first."""

# The shortest that Kafka accepts by default, as the local poller has it: librdkafka's mock broker never lets a member
# in whose timeout is shorter than that of the member before.
_SESSION = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 2000}

# Held while a client signs in. Afterwards it may wait for members to leave its group, beside any number of such.
_entry = threading.BoundedSemaphore(AT_A_TIME)

# The group is between two generations of members.
_UNSETTLED = (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION)


class Group:
    """A consumer group's commits on one topic. Methods raise OperatorError where a right is missing, KafkaException."""

    def __init__(self, brokers: Brokers, group: str, topic: str) -> None:
        self.name = group
        self._brokers = brokers
        self._topic = topic

    def committed(self, partitions: Sequence[int]) -> dict[int, int | None]:
        """The committed offset of each partition; None before its first commit."""
        rights = self._rights("DescribeTopic", "DescribeGroup")
        door = Door(self._brokers.bootstrap_servers)
        wait_s = _FIRST_S
        with _entry, self._consumer(door) as consumer, needing(**rights):
            deadline = time.monotonic() + _TIMEOUT_S
            while True:
                left_s = max(0.0, deadline - time.monotonic())
                try:
                    asked = [TopicPartition(self._topic, number) for number in partitions]
                    answered = consumer.committed(asked, timeout=min(wait_s, left_s))
                    break
                except KafkaException as error:
                    # Where it may not look for the group's coordinator, the call knows only that it had to wait.
                    told = consumer.poll(0)
                    refused = told.error() if told is not None else None
                    if refused is not None and (right := lacking(refused, **rights)):
                        raise right from error
                    if error.args[0].code() != KafkaError._TIMED_OUT or time.monotonic() >= deadline:
                        door.check()
                        raise
                    wait_s *= 2
            for partition in answered:
                if partition.error is not None:
                    raise KafkaException(partition.error)
        return {p.partition: p.offset if p.offset >= 0 else None for p in answered}

    def commit(self, offsets: Mapping[int, int], *, check: Callable[[], None] = lambda: None) -> None:
        """Commit offsets as the only member of the group. Raises OperatorError when another member stays.

        `check` is asked now and then, and raises to give up. Kafka would take commits from outside an empty group as
        well, but librdkafka's mock broker does not.
        """
        positions = [TopicPartition(self._topic, number, offset) for number, offset in offsets.items()]
        mine: set[int] = set()

        def assigned(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            mine.update(partition.partition for partition in partitions)
            consumer.assign([])  # nothing is to be read

        def revoked(_: Consumer, partitions: list[TopicPartition]) -> None:
            mine.difference_update(partition.partition for partition in partitions)

        answers: list[KafkaError | None] = []

        def answered(error: KafkaError | None, _: list[TopicPartition]) -> None:
            answers.append(error)

        asked = False
        rights = self._rights("ReadData", "AlterGroup")
        door = Door(self._brokers.bootstrap_servers)
        with contextlib.ExitStack() as open_, needing(**rights):
            with _entry:
                joining = self._consumer(door, answered, auto_offset_reset="earliest", **_SESSION)
                consumer = open_.enter_context(joining)
                found = door.metadata(consumer, self._topic, timeout_s=_TIMEOUT_S)
            every = set(found.topics[self._topic].partitions)
            consumer.subscribe([self._topic], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
            deadline = time.monotonic() + LEAVE_WAIT_S
            while True:
                check()
                told = consumer.poll(0.1)
                refused = told.error() if told is not None else None
                if refused is not None and (right := lacking(refused, **rights)):
                    raise right
                if answers:
                    asked, answer = False, answers.pop()
                    if answer is None:
                        return
                    if answer.code() not in _UNSETTLED:
                        raise KafkaException(answer)
                if mine == every and not asked:
                    # Not waited for in the call: for a broker that hangs that is without end.
                    consumer.commit(offsets=positions, asynchronous=True)
                    asked = True
                if time.monotonic() > deadline:
                    # Only now: a broker of several may refuse for a moment, while the others have let this client in.
                    door.check()
                    if asked:
                        raise UnreachableError(
                            f"no answer on the commits of group {self.name}", "Run the same command again."
                        )
                    raise ConflictError(
                        f"somebody else reads {self._topic} as group {self.name}",
                        "Stop it; a group can be rewound only while nobody is in it.",
                    )

    def _rights(self, on_topic: str, on_group: str) -> dict[str, str]:
        return {
            "topic": f"{on_topic} on topic {self._topic}",
            "group": f"{on_group} on group {self.name}",
        }

    @contextlib.contextmanager
    def _consumer(
        self, door: Door, on_commit: Callable[..., None] = lambda *_: None, **settings: Any
    ) -> Iterator[Consumer]:
        made = quiet_client(
            self._brokers.bootstrap_servers,
            on_error=door,
            group_id=self.name,
            enable_auto_commit=False,
            **settings,
        )
        consumer = Consumer({**made, "on_commit": on_commit, **self._brokers.settings})
        try:
            yield consumer
        finally:
            # With a commit on its way to a broker that hangs, this would go on for as long as that does.
            closing = threading.Thread(target=consumer.close, daemon=True)
            closing.start()
            closing.join(_CLOSE_S)
