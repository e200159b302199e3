"""Rewinding a group: back and never forward, only while nobody is in it, and the mapping is enabled at the end."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from ras.errors import OperatorError
from ras.kafka import group as groups
from ras.kafka.group import Group
from ras.replay.paused import PausedMappings
from ras.replay.rewind import behind, plan, rewind

from tests.ops import brokers as kafka
from tests.ops.made import DEPLOYED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_s3 import S3Client
    from ras.deployed_mappings import DeployedMapping
    from ras.kafka.msk_iam import Brokers

STAMPS = {0: [1000, 2000, 3000], 1: [1500], 2: [5000, 6000]}


class Refused(Exception):  # noqa: N818 - as the client's exceptions are named
    """The mapping is changing just now."""


@dataclass
class Lambda:
    """Lambda with one mapping, which is a member of its group while it is enabled."""

    member: kafka.Member
    refusals: int = 0
    asked: list[bool] = field(default_factory=list)

    class exceptions:  # noqa: N801 - its name there
        ResourceConflictException = Refused
        ResourceInUseException = Refused
        ResourceNotFoundException = LookupError

    def __post_init__(self) -> None:
        self._thread: threading.Thread | None = None

    def update_event_source_mapping(self, *, UUID: str, Enabled: bool) -> None:  # noqa: N803 - their names there
        assert DEPLOYED.uuid == UUID
        if self.refusals:
            self.refusals -= 1
            raise Refused
        self.asked.append(Enabled)
        if Enabled:
            self._stopping = threading.Event()
            self._thread = threading.Thread(target=self.member.run, args=[self._stopping])
            self._thread.start()
        else:
            self.stop(join=False)  # its last batch takes a moment

    def get_event_source_mapping(self, *, UUID: str) -> dict[str, str]:  # noqa: N803 - its name there
        assert DEPLOYED.uuid == UUID
        return {"State": "Enabled" if self.asked and self.asked[-1] else "Disabled"}

    def stop(self, *, join: bool = True) -> None:
        if self._thread is not None:
            self._stopping.set()
            if join:
                self._thread.join()


@dataclass
class Deployment:
    """As much of a deployment as rewinding uses."""

    functions: Lambda
    kafka: Brokers
    s3: S3Client
    bucket: str

    @property
    def cloud(self) -> Deployment:
        return self

    @property
    def paused_mappings(self) -> PausedMappings:
        functions: Any = self.functions
        return PausedMappings(self.s3, self.bucket, functions)

    def brokers(self) -> Brokers:
        return self.kafka


@contextmanager
def polled(
    brokers: Brokers, mapping: DeployedMapping, s3: S3Client, bucket: str
) -> Iterator[tuple[Any, kafka.Member]]:
    """A deployment whose mapping has read everything."""
    member = kafka.Member(brokers, mapping.consumer_group_id, mapping.topic)
    functions = Lambda(member)
    functions.update_event_source_mapping(UUID=DEPLOYED.uuid, Enabled=True)
    functions.asked.clear()
    try:
        member.wait(6)
        yield Deployment(functions, brokers, s3, bucket), member
    finally:
        functions.stop()


@pytest.fixture
def read(
    brokers: Brokers, mapping: DeployedMapping, s3: S3Client, bucket: str
) -> Iterator[tuple[Any, kafka.Member]]:
    kafka.fill(brokers, mapping.topic, STAMPS)
    with polled(brokers, mapping, s3, bucket) as found:
        yield found


def test_a_rewound_mapping_reads_again(
    brokers: Brokers, mapping: DeployedMapping, read: tuple[Any, kafka.Member]
) -> None:
    """Disabled, moved back to the moment, enabled: exactly the records from then on come again."""
    deployment, member = read
    planned = plan(brokers, mapping, 2000)
    assert {move.partition: move.again for move in planned.moves} == {0: 2, 1: 0, 2: 2, 3: 0}

    member.read.clear()
    rewind(deployment, [planned])
    member.wait(4)

    assert deployment.functions.asked == [False, True]
    assert sorted((one.partition, one.offset) for one in member.read) == [(0, 1), (0, 2), (2, 0), (2, 1)]
    assert behind(brokers, mapping) == 0


def test_a_group_never_goes_forward(brokers: Brokers, mapping: DeployedMapping) -> None:
    """What it has not read yet it is not made to skip, whatever the moment."""
    kafka.fill(brokers, mapping.topic, STAMPS)
    Group(brokers, mapping.consumer_group_id, mapping.topic).commit({0: 1, 2: 0})
    planned = plan(brokers, mapping, 9999)

    assert planned.again == 0
    assert {move.partition: (move.committed, move.target) for move in planned.moves} == {
        0: (1, 1),
        1: (None, None),
        2: (0, 0),
        3: (None, None),
    }
    assert behind(brokers, mapping) == 2 + 1 + 2


def test_what_is_published_later_is_not_waited_for(brokers: Brokers, mapping: DeployedMapping) -> None:
    """Nor what the group need not read, as its mapping begins at the end: where it has committed nothing."""
    kafka.fill(brokers, mapping.topic, STAMPS)
    Group(brokers, mapping.consumer_group_id, mapping.topic).commit({0: 3, 2: 1})
    planned = plan(brokers, mapping, 0)
    kafka.fill(brokers, mapping.topic, {0: [7000], 3: [7000]})

    assert behind(brokers, mapping) == 4
    assert behind(brokers, mapping, planned.ends) == 1


def test_planning_changes_nothing(
    brokers: Brokers, mapping: DeployedMapping, read: tuple[Any, kafka.Member]
) -> None:
    """That is all that --dry-run does."""
    deployment, _ = read
    group = Group(brokers, mapping.consumer_group_id, mapping.topic)
    before = group.committed(range(4))
    plan(brokers, mapping, 0)

    assert group.committed(range(4)) == before
    assert deployment.functions.asked == []


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_disabled_mapping_stays_disabled(
    brokers: Brokers, mapping: DeployedMapping, s3: S3Client, bucket: str, *, interrupted: bool
) -> None:
    """An operator had a reason; unless an interrupted replay has done it."""
    kafka.fill(brokers, mapping.topic, STAMPS)
    group = Group(brokers, mapping.consumer_group_id, mapping.topic)
    group.commit({0: 3, 1: 1})
    functions = Lambda(kafka.Member(brokers, group.name, mapping.topic))
    deployment: Any = Deployment(functions, brokers, s3, bucket)
    rewind(
        deployment,
        [plan(brokers, replace(mapping, enabled=False), 0)],
        interrupted={mapping.uuid} if interrupted else (),
    )
    functions.stop()

    assert functions.asked == ([False, True] if interrupted else [])
    if not interrupted:
        assert group.committed([0, 1, 2]) == {0: 0, 1: 0, 2: None}


def test_a_mapping_that_is_just_changing_is_asked_again(
    brokers: Brokers, mapping: DeployedMapping, read: tuple[Any, kafka.Member]
) -> None:
    """Lambda refuses updates meanwhile."""
    deployment, _ = read
    deployment.functions.refusals = 1
    rewind(deployment, [plan(brokers, mapping, 0)])

    assert deployment.functions.asked == [False, True]


def test_somebody_else_in_the_group_is_told(
    brokers: Brokers,
    mapping: DeployedMapping,
    read: tuple[Any, kafka.Member],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its offsets are not moved, and the mapping is enabled again."""
    deployment, member = read
    monkeypatch.setattr(groups, "LEAVE_WAIT_S", 9.0)
    stopping = threading.Event()
    other = threading.Thread(
        target=kafka.Member(brokers, member.group, member.topic).run, args=[stopping], daemon=True
    )
    other.start()
    try:
        with pytest.raises(OperatorError, match="somebody else reads"):
            rewind(deployment, [plan(brokers, mapping, 0)])
    finally:
        stopping.set()
        other.join()

    assert deployment.functions.asked == [False, True]
    assert behind(brokers, mapping) == 0


def test_an_interrupted_rewind_enables_the_mapping(
    brokers: Brokers,
    mapping: DeployedMapping,
    read: tuple[Any, kafka.Member],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C while it waits for the group: nothing stays disabled."""
    deployment, _ = read

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Group, "commit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rewind(deployment, [plan(brokers, mapping, 0)])

    assert deployment.functions.asked == [False, True]


@pytest.mark.parametrize("succeeds", [True, False])
def test_a_mapping_is_noted_before_it_is_disabled(
    brokers: Brokers,
    mapping: DeployedMapping,
    read: tuple[Any, kafka.Member],
    monkeypatch: pytest.MonkeyPatch,
    *,
    succeeds: bool,
) -> None:
    """Where it cannot be noted it is not disabled. The note goes once the mapping is enabled."""
    deployment, _ = read
    notes = deployment.paused_mappings
    seen: list[list[str]] = []
    update = deployment.functions.update_event_source_mapping

    def updated(*, UUID: str, Enabled: bool) -> None:  # noqa: N803 - their names there
        seen.append(
            [
                one["Key"]
                for one in deployment.s3.list_objects_v2(Bucket=deployment.bucket).get("Contents", [])
            ]
        )
        update(UUID=UUID, Enabled=Enabled)

    monkeypatch.setattr(deployment.functions, "update_event_source_mapping", updated)
    if not succeeds:
        deployment.bucket = "no-such-bucket"
        with pytest.raises(ClientError, match="NoSuchBucket"):
            rewind(deployment, [plan(brokers, mapping, 0)])
        assert seen == []
        return
    rewind(deployment, [plan(brokers, mapping, 0)])

    assert seen == [[f"paused-mappings/{mapping.uuid}.json"]] * 2
    assert notes.interrupted() == []
    assert "Contents" not in deployment.s3.list_objects_v2(Bucket=deployment.bucket)
