"""Rewinding the consumer group of a mapping: its topic is read again from a moment on.

AWS ignores a mapping's StartingPosition once its group has commits, so the commits themselves are changed. A group
takes commits from its members only, and members go on from where they are: so the mapping is disabled meanwhile, and
the group joined instead. A group is only ever moved back, never forward, so no record is skipped.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from ras_local.servers.broker import quiet_client

from ras.deployment import Account
from ras.errors import StackError
from ras.kafka.errors import Door, lacking, needing
from ras.kafka.topic import AT_A_TIME, TopicLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ras.deployment import Brokers, Deployment
    from ras.mappings import DeployedMapping

_TIMEOUT_S = 15.0
_FIRST_S = 2.0
"""As `refusals`: a refusal is looked for after so long, and after twice as long each time."""
_CLOSE_S = 10.0
"""How long a client may take to leave its group; afterwards it is left to itself."""
STATE_WAIT_S = 600.0
"""How long a mapping may take to change its state: AWS says up to a few minutes."""
LEAVE_WAIT_S = 180.0
"""How long members may take to leave their group: an invocation that runs is waited for first."""

# The shortest that Kafka accepts by default, as the local poller has it: librdkafka's mock broker never lets a member
# in whose timeout is shorter than that of the member before.
_SESSION = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 2000}

# Held while a client signs in. Afterwards it may wait for members to leave its group, beside any number of such.
_entry = threading.BoundedSemaphore(AT_A_TIME)

# The group is between two generations of members.
_UNSETTLED = (KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION)


@dataclass(frozen=True)
class Move:
    """One partition: the group is at `committed` (None before its first commit) and goes back to `target`."""

    partition: int
    committed: int | None
    target: int | None
    low: int
    high: int

    @property
    def again(self) -> int:
        """Records that are read again: as many as there are offsets, or fewer."""
        return 0 if self.committed is None or self.target is None else self.committed - self.target


@dataclass(frozen=True)
class RewindPlan:
    """What rewinding one mapping comes to."""

    mapping: DeployedMapping
    moves: tuple[Move, ...]

    @property
    def again(self) -> int:
        return sum(move.again for move in self.moves)

    @property
    def ends(self) -> dict[int, int]:
        """Where the partitions ended then that the group has read from; of others it may never read a record."""
        return {move.partition: move.high for move in self.moves if move.committed is not None}


class Group:
    """A consumer group's commits on one topic. Methods raise StackError where a right is missing, KafkaException."""

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
        """Commit offsets as the only member of the group. Raises StackError when another member stays.

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
                        raise StackError(
                            f"no answer on the commits of group {self.name}", "Run the same command again."
                        )
                    raise StackError(
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


def plan(brokers: Brokers, mapping: DeployedMapping, moment_ms: int) -> RewindPlan:
    """Where a mapping's group would go: to the first record at or after a moment, never past what it has read."""
    log = TopicLog(brokers, mapping.topic)
    found, bounds = log.positions_at(moment_ms), log.bounds()
    committed = Group(brokers, mapping.consumer_group_id, mapping.topic).committed(list(bounds))
    moves = []
    for number, held in bounds.items():
        done = committed[number]
        # Without a commit nothing was read yet, and the mapping begins where its StartingPosition says.
        target = None if done is None else min(done, max(found.get(number, held.high), held.low))
        moves.append(Move(number, done, target, held.low, held.high))
    return RewindPlan(mapping, tuple(moves))


def rewind(
    deployment: Deployment,
    plans: Sequence[RewindPlan],
    *,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Disable the mappings, move their groups back as planned, and enable them again, whatever happens in between.

    What a group has read since the plan was made, it reads again as well. A mapping that was disabled before stays
    so. Raises the first mapping's StackError where a state is not reached, or somebody else is in a group; the others
    are finished nevertheless. An interrupted run enables what it has disabled, which may take some seconds.
    """
    brokers = deployment.brokers()
    stopping = threading.Event()
    # All at a time, but for signing in: each is a wait for Lambda and for members to leave.
    with ThreadPoolExecutor(max(1, len(plans)), thread_name_prefix="rewind") as pool:
        running = [pool.submit(_Rewind(deployment, brokers, plan, say, stopping).run) for plan in plans]
        try:
            for future in running:
                future.result()
        except BaseException as error:
            if not isinstance(error, Exception):
                stopping.set()
            raise


@dataclass(frozen=True)
class _Rewind:
    """One mapping's rewind."""

    deployment: Deployment
    brokers: Brokers
    plan: RewindPlan
    say: Callable[[str], None]
    stopping: threading.Event

    def run(self) -> None:
        mapping = self.plan.mapping
        if not mapping.enabled:
            self._move()
            return
        try:
            self._switch("Disabled", self._check)
            self._move()
        finally:
            self._switch("Enabled", lambda: None)

    def _move(self) -> None:
        mapping = self.plan.mapping
        group = Group(self.brokers, mapping.consumer_group_id, mapping.topic)
        targets = {
            move.partition: move.target for move in self.plan.moves if move.target is not None and move.again
        }
        group.commit(targets, check=self._check)
        kept = group.committed(list(targets))
        if kept != targets:
            raise StackError(f"the brokers have kept {kept} instead of {targets} for group {group.name}")
        self.say(f"{mapping.topic}: group {group.name} is rewound by {self.plan.again}")

    def _switch(self, wanted: str, check: Callable[[], None]) -> None:
        """Enable or disable the mapping and wait until it is so."""
        lambda_, uuid = self.deployment.cloud.functions, self.plan.mapping.uuid
        deadline = time.monotonic() + STATE_WAIT_S
        asked = False
        while True:
            if not asked:
                # A mapping that is just changing takes no update: it is asked again once it has settled.
                with contextlib.suppress(
                    lambda_.exceptions.ResourceConflictException, lambda_.exceptions.ResourceInUseException
                ):
                    try:
                        lambda_.update_event_source_mapping(UUID=uuid, Enabled=wanted == "Enabled")
                    except lambda_.exceptions.ResourceNotFoundException as error:
                        # As on an emulator that makes no mappings for MSK: they are told, and nothing can disable them.
                        raise StackError(
                            f"Lambda has no mapping {uuid} that could be disabled",
                            "Hand the records to the function instead: --via function.",
                        ) from error
                    asked = True
            state = lambda_.get_event_source_mapping(UUID=uuid).get("State")
            if asked and state == wanted:
                return
            if time.monotonic() > deadline:
                raise StackError(
                    f"mapping {uuid} is {state}, not {wanted}, after {STATE_WAIT_S:.0f} s",
                    "See it in the Lambda console.",
                )
            check()
            time.sleep(1.0)

    def _check(self) -> None:
        if self.stopping.is_set():
            raise StackError("interrupted")


def check_read(deployment: Deployment, mapping: DeployedMapping) -> None:
    """Raises StackError where the mapping is disabled, so that its group does not read."""
    state = deployment.cloud.functions.get_event_source_mapping(UUID=mapping.uuid).get("State", "")
    if state in ("Disabled", "Disabling"):
        raise StackError(
            f"{mapping.topic} is not read by group {mapping.consumer_group_id}: its mapping is {state.lower()}",
            f"What is rewound stays so. Enable it with `{enabling(deployment, mapping.uuid)}`.",
        )


def enabling(deployment: Deployment, uuid: str) -> str:
    """The command that enables a mapping, for a person to paste."""
    cloud = deployment.cloud
    if isinstance(cloud, Account):
        there = f"aws --region {cloud.region}{f' --profile {cloud.profile}' if cloud.profile else ''}"
    else:
        keys = f"AWS_ACCESS_KEY_ID={cloud.key} AWS_SECRET_ACCESS_KEY={cloud.secret}"
        there = f"{keys} aws --region {cloud.region} --endpoint-url {cloud.endpoint_url}"
    return f"{there} lambda update-event-source-mapping --enabled --uuid {uuid}"


def behind(brokers: Brokers, mapping: DeployedMapping, ends: Mapping[int, int] | None = None) -> int:
    """Records that a mapping's group has yet to read: all, or those below `ends` by partition."""
    bounds = TopicLog(brokers, mapping.topic).bounds()
    committed = Group(brokers, mapping.consumer_group_id, mapping.topic).committed(list(bounds))
    return sum(
        max(0, (held.high if ends is None else ends.get(number, 0)) - max(committed[number] or 0, held.low))
        for number, held in bounds.items()
    )
