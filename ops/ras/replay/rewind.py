"""Rewinding the consumer group of a mapping: its topic is read again from a moment on.

AWS ignores a mapping's StartingPosition once its group has commits, so the commits themselves are changed. A group
takes commits from its members only, and members go on from where they are: so the mapping is disabled meanwhile, and
the group joined instead. A group is only ever moved back, never forward, so no record is skipped.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ras import interrupts
from ras.deployment import Account
from ras.errors import ConflictError, DeclinedError, FailedError, NotFoundError
from ras.kafka.group import Group
from ras.kafka.topic import TopicLog
from ras.replay.paused import DISABLED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from ras.deployed_mappings import DeployedMapping
    from ras.deployment import Deployment
    from ras.kafka.msk_iam import Brokers

STATE_WAIT_S = 600.0
"""How long a mapping may take to change its state: AWS says up to a few minutes."""


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
    interrupted: Collection[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Disable the mappings, move their groups back as planned, and enable them again, whatever happens in between.

    What a group has read since the plan was made, it reads again as well. A mapping that was disabled before stays
    so, unless an interrupted replay has done it: its id is among `interrupted`. Before a mapping is disabled that is
    noted (`paused`), for the case that this process is killed.
    Raises the first mapping's OperatorError where a state is not reached, or somebody else is in a group; the others
    are finished nevertheless. An interrupted run enables what it has disabled, which may take some seconds, in which
    further signals are ignored.
    """
    brokers = deployment.brokers()
    stopping = threading.Event()
    # All at a time, but for signing in: each is a wait for Lambda and for members to leave.
    with ThreadPoolExecutor(max(1, len(plans)), thread_name_prefix="rewind") as pool:
        running = [
            pool.submit(
                _Rewind(
                    deployment,
                    brokers,
                    plan,
                    say,
                    stopping,
                    pauses=plan.mapping.enabled or plan.mapping.uuid in interrupted,
                ).run
            )
            for plan in plans
        ]
        try:
            for future in running:
                future.result()
        except BaseException as error:
            if not isinstance(error, Exception):
                with interrupts.uninterrupted():
                    stopping.set()
                    wait(running)
            raise


def enable(deployment: Deployment, uuid: str) -> None:
    """Enable a mapping that an interrupted replay has disabled. Raises OperatorError where it does not come to it."""
    _switch(deployment, uuid, "Enabled")
    deployment.paused_mappings.remove(uuid)


@dataclass(frozen=True)
class _Rewind:
    """One mapping's rewind."""

    deployment: Deployment
    brokers: Brokers
    plan: RewindPlan
    say: Callable[[str], None]
    stopping: threading.Event
    pauses: bool
    """Whether the mapping is disabled meanwhile; else it was so before."""

    def run(self) -> None:
        mapping = self.plan.mapping
        if not self.pauses:
            self._move()
            return
        # The first time is the one to report.
        if mapping.enabled:
            self.deployment.paused_mappings.note(mapping)
        try:
            _switch(self.deployment, mapping.uuid, "Disabled", self._check)
            self._move()
        finally:
            enable(self.deployment, mapping.uuid)

    def _move(self) -> None:
        mapping = self.plan.mapping
        group = Group(self.brokers, mapping.consumer_group_id, mapping.topic)
        targets = {
            move.partition: move.target for move in self.plan.moves if move.target is not None and move.again
        }
        group.commit(targets, check=self._check)
        kept = group.committed(list(targets))
        if kept != targets:
            raise FailedError(f"the brokers have kept {kept} instead of {targets} for group {group.name}")
        self.say(f"{mapping.topic}: group {group.name} is rewound by {self.plan.again}")

    def _check(self) -> None:
        if self.stopping.is_set():
            raise DeclinedError("interrupted")


def _switch(deployment: Deployment, uuid: str, wanted: str, check: Callable[[], None] = lambda: None) -> None:
    """Enable or disable a mapping and wait until it is so."""
    lambda_ = deployment.cloud.functions
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
                    deployment.paused_mappings.remove(uuid)
                    # As on an emulator that makes no mappings for MSK: they are told, and nothing can disable them.
                    raise NotFoundError(
                        f"Lambda has no mapping {uuid} that could be disabled",
                        "Hand the records to the function instead: --via function.",
                    ) from error
                asked = True
        state = lambda_.get_event_source_mapping(UUID=uuid).get("State")
        if asked and state == wanted:
            return
        if time.monotonic() > deadline:
            raise FailedError(
                f"mapping {uuid} is {state}, not {wanted}, after {STATE_WAIT_S:.0f} s",
                "See it in the Lambda console.",
            )
        check()
        time.sleep(1.0)


def check_read(deployment: Deployment, mapping: DeployedMapping) -> None:
    """Raises OperatorError where the mapping is disabled, so that its group does not read."""
    state = deployment.cloud.functions.get_event_source_mapping(UUID=mapping.uuid).get("State", "")
    if state in DISABLED:
        raise ConflictError(
            f"{mapping.topic} is not read by group {mapping.consumer_group_id}: its mapping is {state.lower()}",
            f"What is rewound stays so. Enable it with `{enabling(deployment, mapping.uuid)}`.",
        )


def enable_command(deployment: Deployment) -> str:
    """The command that enables what an interrupted replay of a stage has left disabled, for a person to paste."""
    stage = "" if deployment.is_local else f" --stage {deployment.stage}"
    profile = f" --profile {deployment.profile}" if deployment.profile else ""
    return f"ras replay --enable{stage}{profile}"


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
    """Records that a mapping's group has yet to read: all, or those below `ends` by partition.

    Offsets are counted, of which markers of transactions take some; but 0 where no record is left.
    """
    return sum(end - start for start, end in unread(brokers, mapping, ends).values())


def unread(
    brokers: Brokers, mapping: DeployedMapping, ends: Mapping[int, int] | None = None
) -> dict[int, tuple[int, int]]:
    """The stretch of each partition that a mapping's group has yet to read, as `behind`; none where no record is left."""
    log = TopicLog(brokers, mapping.topic)
    bounds = log.bounds()
    committed = Group(brokers, mapping.consumer_group_id, mapping.topic).committed(list(bounds))
    left = {
        number: (start, end)
        for number, held in bounds.items()
        if (start := max(committed[number] or 0, held.low))
        < (end := held.high if ends is None else ends.get(number, 0))
    }
    # A group may have committed what follows its last record, where a transaction's marker lies: it is never closer.
    starts, ends_left = ({n: span[side] for n, span in left.items()} for side in (0, 1))
    # With the rights of a rewind alone, which are the mapping's group's.
    record = next(log.read(starts, ends_left, as_nobody=True), None)
    return left if record is not None else {}
