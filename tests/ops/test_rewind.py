"""Rewinding a group: back and never forward, only while nobody is in it, and the mapping is enabled at the end."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from ras.deployment import Brokers
from ras.errors import StackError
from ras.kafka.errors import Door
from ras.kafka.topic import AT_A_TIME
from ras.replay import rewind as rewinding
from ras.replay.rewind import Group, behind, plan, rewind

from tests.clock import Time
from tests.ops import brokers as kafka
from tests.ops.made import DEPLOYED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ras.mappings import DeployedMapping

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

    @property
    def cloud(self) -> Deployment:
        return self

    def brokers(self) -> Brokers:
        return self.kafka


@pytest.fixture
def mapping(topic: str) -> DeployedMapping:
    return replace(DEPLOYED, topic=topic, consumer_group_id=f"group-of-{topic}")


@contextmanager
def polled(brokers: Brokers, mapping: DeployedMapping) -> Iterator[tuple[Any, kafka.Member]]:
    """A deployment whose mapping has read everything."""
    member = kafka.Member(brokers, mapping.consumer_group_id, mapping.topic)
    functions = Lambda(member)
    functions.update_event_source_mapping(UUID=DEPLOYED.uuid, Enabled=True)
    functions.asked.clear()
    try:
        member.wait(6)
        yield Deployment(functions, brokers), member
    finally:
        functions.stop()


@pytest.fixture
def read(brokers: Brokers, mapping: DeployedMapping) -> Iterator[tuple[Any, kafka.Member]]:
    kafka.fill(brokers, mapping.topic, STAMPS)
    with polled(brokers, mapping) as found:
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


def test_a_disabled_mapping_stays_disabled(brokers: Brokers, mapping: DeployedMapping) -> None:
    """Somebody had a reason."""
    kafka.fill(brokers, mapping.topic, STAMPS)
    group = Group(brokers, mapping.consumer_group_id, mapping.topic)
    group.commit({0: 3, 1: 1})
    functions = Lambda(kafka.Member(brokers, group.name, mapping.topic))
    deployment: Any = Deployment(functions, brokers)
    rewind(deployment, [plan(brokers, replace(mapping, enabled=False), 0)])

    assert functions.asked == []
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
    monkeypatch.setattr(rewinding, "LEAVE_WAIT_S", 9.0)
    stopping = threading.Event()
    other = threading.Thread(
        target=kafka.Member(brokers, member.group, member.topic).run, args=[stopping], daemon=True
    )
    other.start()
    try:
        with pytest.raises(StackError, match="somebody else reads"):
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


def test_a_coordinator_that_does_not_answer_is_waited_for_as_long_as_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The waits between two looks for a refusal grow, up to what is left."""
    time = Time()
    monkeypatch.setattr(rewinding, "time", SimpleNamespace(monotonic=time.clock))

    class Silent(Consumer):
        def committed(self, partitions, timeout=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
            time.sleep(timeout)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    monkeypatch.setattr(rewinding, "Consumer", Silent)

    with pytest.raises(KafkaException):
        Group(Brokers("127.0.0.1:1"), "g", "t").committed([0])
    assert sum(time.pauses) == rewinding._TIMEOUT_S


REFUSED = KafkaError(KafkaError._SSL, "SSL handshake failed")


class Ajar(Door):
    """Brokers of which one refuses for a moment, after others have let the client in."""

    def metadata(self, client: Any, topic: str | None = None, *, timeout_s: float) -> Any:
        found = super().metadata(client, topic, timeout_s=timeout_s)
        self(REFUSED)
        return found


def test_who_is_in_is_not_sent_away_by_one_broker(
    brokers: Brokers, mapping: DeployedMapping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handshake that breaks while members leave their group is no reason to give up; they are waited for."""
    monkeypatch.setattr(rewinding, "Door", Ajar)
    kafka.fill(brokers, mapping.topic, STAMPS)
    group = Group(brokers, mapping.consumer_group_id, mapping.topic)
    group.commit({0: 2})

    assert group.committed([0]) == {0: 2}


def test_a_refusal_is_told_where_the_wait_is_over(
    brokers: Brokers, mapping: DeployedMapping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of a guess at who else reads."""
    monkeypatch.setattr(
        rewinding, "Consumer", type("Outside", (Consumer,), {"subscribe": lambda *_, **__: None})
    )
    monkeypatch.setattr(rewinding, "Door", Ajar)
    monkeypatch.setattr(rewinding, "LEAVE_WAIT_S", 0.0)

    with pytest.raises(StackError, match="SSL handshake failed"):
        Group(brokers, mapping.consumer_group_id, mapping.topic).commit({0: 0})


def test_one_broker_that_refuses_does_not_hide_what_another_one_knows(
    brokers: Brokers, mapping: DeployedMapping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits are asked for again, as the group's own broker may only be busy."""
    doors: list[Door] = []

    class Slow(Consumer):
        def committed(self, partitions, timeout=None):  # type: ignore[no-untyped-def]
            if doors:
                doors.pop()(REFUSED)
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            return super().committed(partitions, timeout)

    class Seen(Door):
        def __init__(self, bootstrap_servers: str) -> None:
            super().__init__(bootstrap_servers)
            doors.append(self)

    monkeypatch.setattr(rewinding, "Consumer", Slow)
    monkeypatch.setattr(rewinding, "Door", Seen)

    assert Group(brokers, mapping.consumer_group_id, mapping.topic).committed([0]) == {0: None}


def test_groups_are_joined_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many mappings are rewound, no more clients sign in together than for anything else."""
    all_that_may = threading.Barrier(AT_A_TIME)
    lock, together, met = threading.Lock(), 0, list[int]()

    class Crowded(Door):
        def metadata(self, client: Any, topic: str | None = None, *, timeout_s: float) -> Any:  # noqa: ARG002 - its signature
            nonlocal together
            with lock:
                together += 1
                met.append(together)
            # Nobody leaves before so many are in; then there is time for one too many to come.
            all_that_may.wait(120)
            time.sleep(0.3)
            with lock:
                together -= 1
            return SimpleNamespace(topics={topic: SimpleNamespace(partitions={0: None})})

    def enough() -> None:
        raise StackError("enough")

    def commit(number: int) -> None:
        with suppress(StackError):
            Group(Brokers("127.0.0.1:1"), f"g{number}", "t").commit({0: 0}, check=enough)

    monkeypatch.setattr(rewinding, "Door", Crowded)
    with ThreadPoolExecutor(3 * AT_A_TIME) as pool:
        list(pool.map(commit, range(3 * AT_A_TIME)))

    assert (len(met), max(met)) == (3 * AT_A_TIME, AT_A_TIME)


def test_a_broker_that_hangs_is_not_waited_for_without_end(
    brokers: Brokers, mapping: DeployedMapping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the group is joined its broker never answers the commit, and the client would ask it for ever."""

    over, waited = threading.Event(), list[bool]()

    class Hanging(Consumer):
        def commit(self, *_: Any, asynchronous: bool = True, **__: Any) -> None:  # type: ignore[override]
            assert asynchronous, "it is waited for in the call"
            monkeypatch.setattr(rewinding, "time", SimpleNamespace(monotonic=lambda: float("inf")))

        def close(self) -> None:
            waited.append(over.wait(30))
            super().close()

    monkeypatch.setattr(rewinding, "_CLOSE_S", 0.1)
    monkeypatch.setattr(rewinding, "Consumer", Hanging)

    with pytest.raises(StackError, match="no answer on the commits of group"):
        Group(brokers, mapping.consumer_group_id, mapping.topic).commit({0: 0})
    assert waited == []
    over.set()


def test_a_commit_between_two_generations_is_made_again(
    brokers: Brokers, mapping: DeployedMapping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a member comes and goes just then; any other answer is told."""
    answers = [
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.INVALID_COMMIT_OFFSET_SIZE,
    ]

    class Unsettled(Consumer):
        def __init__(self, settings: dict[str, Any]) -> None:
            super().__init__(settings)
            self._answer = settings["on_commit"]

        def commit(self, *_: Any, **__: Any) -> None:  # type: ignore[override]
            self._answer(KafkaError(answers.pop(0)), [])

    monkeypatch.setattr(rewinding, "Consumer", Unsettled)

    with pytest.raises(KafkaException, match="INVALID_COMMIT_OFFSET_SIZE"):
        Group(brokers, mapping.consumer_group_id, mapping.topic).commit({0: 0})
    assert answers == []
