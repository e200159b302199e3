"""A group's commits: read and changed as its only member, however brokers refuse, hang or keep others waiting."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from ras.errors import OperatorError
from ras.kafka import group as groups
from ras.kafka.errors import Door
from ras.kafka.group import Group
from ras.kafka.msk_iam import Brokers
from ras.kafka.topic import AT_A_TIME

from tests.clock import Time
from tests.ops import brokers as kafka

if TYPE_CHECKING:
    from ras.deployed_mappings import DeployedMapping


def test_a_coordinator_that_does_not_answer_is_waited_for_as_long_as_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The waits between two looks for a refusal grow, up to what is left."""
    time = Time()
    monkeypatch.setattr(groups, "time", SimpleNamespace(monotonic=time.clock))

    class Silent(Consumer):
        def committed(self, partitions, timeout=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
            time.sleep(timeout)
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    monkeypatch.setattr(groups, "Consumer", Silent)

    with pytest.raises(KafkaException):
        Group(Brokers("127.0.0.1:1"), "g", "t").committed([0])
    assert sum(time.pauses) == groups._TIMEOUT_S


STAMPS = {0: [1000, 2000, 3000]}
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
    monkeypatch.setattr(groups, "Door", Ajar)
    kafka.fill(brokers, mapping.topic, STAMPS)
    group = Group(brokers, mapping.consumer_group_id, mapping.topic)
    group.commit({0: 2})

    assert group.committed([0]) == {0: 2}


def test_a_refusal_is_told_where_the_wait_is_over(
    brokers: Brokers, mapping: DeployedMapping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of a guess at who else reads."""
    monkeypatch.setattr(
        groups, "Consumer", type("Outside", (Consumer,), {"subscribe": lambda *_, **__: None})
    )
    monkeypatch.setattr(groups, "Door", Ajar)
    monkeypatch.setattr(groups, "LEAVE_WAIT_S", 0.0)

    with pytest.raises(OperatorError, match="SSL handshake failed"):
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

    monkeypatch.setattr(groups, "Consumer", Slow)
    monkeypatch.setattr(groups, "Door", Seen)

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
        raise OperatorError("enough")

    def commit(number: int) -> None:
        with suppress(OperatorError):
            Group(Brokers("127.0.0.1:1"), f"g{number}", "t").commit({0: 0}, check=enough)

    monkeypatch.setattr(groups, "Door", Crowded)
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
            monkeypatch.setattr(groups, "time", SimpleNamespace(monotonic=lambda: float("inf")))

        def close(self) -> None:
            waited.append(over.wait(30))
            super().close()

    monkeypatch.setattr(groups, "_CLOSE_S", 0.1)
    monkeypatch.setattr(groups, "Consumer", Hanging)

    with pytest.raises(OperatorError, match="no answer on the commits of group"):
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

    monkeypatch.setattr(groups, "Consumer", Unsettled)

    with pytest.raises(KafkaException, match="INVALID_COMMIT_OFFSET_SIZE"):
        Group(brokers, mapping.consumer_group_id, mapping.topic).commit({0: 0})
    assert answers == []
