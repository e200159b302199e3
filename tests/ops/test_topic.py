"""A topic as a log: moments are found whether or not the broker can look them up, and stretches are read whole."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException
from ras.errors import OperatorError
from ras.kafka import topic as topic_log
from ras.kafka.msk_iam import Brokers
from ras.kafka.topic import Bounds, TopicLog
from ras_local.mapping.records import to_record

from tests.clock import Time
from tests.ops.brokers import fill

# Partition -> timestamps. They are the producers', so they need not rise.
STAMPS = {0: [1000, 2000, 3000, 4000], 1: [5000, 1500, 6000], 3: [100]}


@pytest.fixture
def log(brokers: Brokers, topic: str) -> TopicLog:
    fill(brokers, topic, STAMPS)
    return TopicLog(brokers, topic)


def test_bounds(log: TopicLog) -> None:
    """Of every partition, empty ones too."""
    assert log.bounds() == {0: Bounds(0, 4), 1: Bounds(0, 3), 2: Bounds(0, 0), 3: Bounds(0, 1)}


POSITIONS = [
    (0, {0: 0, 1: 0, 2: 0, 3: 0}),
    (1000, {0: 0, 1: 0, 2: 0, 3: 1}),
    (1001, {0: 1, 1: 0, 2: 0, 3: 1}),
    (4000, {0: 3, 1: 0, 2: 0, 3: 1}),
    (5001, {0: 4, 1: 2, 2: 0, 3: 1}),
    (9999, {0: 4, 1: 3, 2: 0, 3: 1}),
]


@pytest.mark.parametrize(("moment", "positions"), POSITIONS)
def test_moments_are_found_by_reading(log: TopicLog, moment: int, positions: dict[int, int]) -> None:
    """The embedded broker looks no times up: the first record at or after the moment, or the end."""
    assert log.positions_at(moment) == positions


def test_moments_are_looked_up_where_that_is_possible(log: TopicLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that knows is believed, and nothing is read."""

    class Knowing(Consumer):
        def offsets_for_times(self, partitions, timeout=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
            for one in partitions:
                stamps = STAMPS.get(one.partition, [])
                at = [n for n, stamp in enumerate(stamps) if stamp >= one.offset]
                one.offset = at[0] if at else -1
            return partitions

    def reading(*_: object) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr("ras.kafka.topic.Consumer", Knowing)
    monkeypatch.setattr(TopicLog, "read", reading)
    for moment, positions in POSITIONS:
        assert log.positions_at(moment) == positions


def test_a_stretch_is_read_whole_and_no_further(log: TopicLog) -> None:
    """Each partition in order, from its start up to its end."""
    found = [to_record(message) for message in log.read({0: 1, 1: 0, 2: 0, 3: 1}, {0: 3, 1: 3, 2: 0, 3: 1})]

    assert [(one.partition, one.offset) for one in sorted(found, key=lambda one: one.partition)] == [
        (0, 1),
        (0, 2),
        (1, 0),
        (1, 1),
        (1, 2),
    ]


def test_an_empty_topic_has_its_end_everywhere(brokers: Brokers, topic: str) -> None:
    """Nothing to look up, nothing to read."""
    log = TopicLog(brokers, topic)

    assert log.positions_at(0) == dict.fromkeys(range(4), 0)
    assert list(log.read({0: 0}, {0: 0})) == []


def test_an_end_beyond_the_log_is_no_wait(log: TopicLog) -> None:
    """Records that are not there, as after a topic was made anew: the end of the log ends the reading."""
    assert len(list(log.read({0: 0}, {0: 99}))) == 4


def test_a_stalled_broker_is_told(log: TopicLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for without end."""
    monkeypatch.setattr("ras.kafka.topic._STALL_S", 0.3)
    monkeypatch.setattr("ras.kafka.topic.Consumer", type("Silent", (Consumer,), {"consume": lambda *_: []}))
    with pytest.raises(OperatorError, match="sends no more"):
        list(log.read({0: 0}, {0: 4}))


def test_a_slow_caller_is_no_stalled_broker(log: TopicLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does with a record may take longer than a broker may be silent: an invocation, a pause after it."""
    time = Time()
    monkeypatch.setattr("ras.kafka.topic.time", SimpleNamespace(monotonic=time.clock))
    found = 0
    for _ in log.read({0: 0}, {0: 4}):
        found += 1
        time.sleep(2 * topic_log._STALL_S)

    assert found == 4


def test_a_partition_that_is_through_does_not_hide_one_that_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records go on being published there."""
    time = Time()
    monkeypatch.setattr("ras.kafka.topic.time", SimpleNamespace(monotonic=time.clock))

    class Record(SimpleNamespace):
        def error(self) -> None:
            return None

        def partition(self) -> int:
            return 0

        def offset(self) -> int:
            return int(time.now)

    class Lively:
        def __init__(self, _: object) -> None: ...

        def assign(self, _: object) -> None: ...

        def consume(self, *_: object) -> list[Record]:
            time.sleep(1)
            assert time.now < 1000, "it is waited for without end"
            return [Record()]

        def close(self) -> None: ...

    monkeypatch.setattr("ras.kafka.topic.Consumer", Lively)
    log = TopicLog(Brokers("unused"), "t")

    with pytest.raises(OperatorError, match="sends no more"):
        list(log.read({0: 0, 1: 0}, {0: 50, 1: 50}))


def test_a_partition_whose_times_nobody_can_tell_now_is_told(
    log: TopicLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its leader is away: that is no broker that looks no times up, whose topics are read from their beginning."""

    class Leaderless(Consumer):
        def offsets_for_times(self, partitions, timeout=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
            away = KafkaError(KafkaError.LEADER_NOT_AVAILABLE)
            return [SimpleNamespace(partition=one.partition, offset=-1, error=away) for one in partitions]

    monkeypatch.setattr("ras.kafka.topic.Consumer", Leaderless)

    with pytest.raises(KafkaException, match="LEADER_NOT_AVAILABLE"):
        log.positions_at(1000)
