"""The operators' commands on a stage whose brokers want IAM's token: with the rights that --help lists, and without each.

The brokers' address is asked of the emulator (GetBootstrapBrokers) with credentials of a role, whose policy it
enforces; the same credentials sign the tokens. See `tests.msk.cluster` for what is real and what stands in.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Consumer, TopicPartition
from ras.deployment import choose
from ras.errors import OperatorError
from ras.kafka.client import quiet_client
from ras.kafka.group import Group
from ras.kafka.msk_iam import Brokers
from ras.kafka.publish import Event, publish
from ras.kafka.topic import Bounds, TopicLog
from ras.replay.rewind import behind

from tests.msk.cluster import Right
from tests.msk.conftest import (
    GROUP,
    LETTERS,
    LISTED,
    PARTITIONS,
    REGISTERED,
    SPELLCHECK,
    WANTED_BY_THE_EMULATOR,
    sign_with,
)
from tests.ops import made

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.msk.conftest import Operator, Stage

pytestmark = pytest.mark.integration

REPLAY = ("replay", "--topic", REGISTERED, "--from", "beginning")
REWIND = (
    Right("DescribeTopic", REGISTERED),
    Right("ReadData", REGISTERED),
    Right("DescribeGroup", GROUP),
    Right("AlterGroup", GROUP),
)
READ = (
    Right("DescribeTopic", REGISTERED),
    Right("ReadData", REGISTERED),
    Right("DescribeGroup", "ras-replay-*"),
)
PUBLISH = (
    Right("DescribeTopic", SPELLCHECK),
    Right("WriteData", SPELLCHECK),
    Right("WriteDataIdempotently"),
)
RECORDS = {0: 3, 1: 2}


def without(rights: tuple[Right, ...], right: Right) -> list[Right]:
    return [each for each in rights if each != right]


@pytest.fixture(scope="module")
def records(stage: Stage) -> dict[int, int]:
    """Records of the topic, by partition."""
    assert len(RECORDS) == PARTITIONS
    events = [
        Event(REGISTERED, b"{}", partition=number) for number, many in RECORDS.items() for _ in range(many)
    ]
    publish(stage.msk.unguarded, events)
    return RECORDS


@pytest.fixture
def read_already(stage: Stage, records: dict[int, int]) -> dict[int, int]:
    """The mapping's group has read all of it."""
    ends = [TopicPartition(REGISTERED, number, end) for number, end in records.items()]
    member = Consumer(quiet_client(stage.msk.unguarded, group_id=GROUP, enable_auto_commit=False))
    try:
        member.commit(offsets=ends, asynchronous=False)
    finally:
        member.close()
    return records


@pytest.mark.usefixtures("read_already")
def test_a_group_is_rewound_with_the_rights_that_are_listed(operator: Operator) -> None:
    """Found, asked and moved, by exactly these; and how far it is behind is told by them too."""
    operator.may(REWIND)

    told = operator.ras(*REPLAY, "--yes")
    deployment = choose("dev")
    brokers = deployment.brokers()
    mapping = deployment.mappings()[0]

    assert brokers.bootstrap_servers == operator.stage.msk.bootstrap_servers
    assert f"group {GROUP} is rewound by 5" in told
    assert operator.stage.enabled()
    assert Group(Brokers(operator.stage.msk.unguarded), GROUP, REGISTERED).committed([0, 1]) == {0: 0, 1: 0}
    assert behind(brokers, mapping) == 5


@pytest.mark.parametrize("right", REWIND, ids=str)
@pytest.mark.usefixtures("read_already")
def test_a_right_that_a_rewind_lacks_is_named(operator: Operator, right: Right) -> None:
    """Each of them is needed; and the mapping goes on as before."""
    operator.may(without(REWIND, right))

    told = operator.ras(*REPLAY, "--yes", code=1)

    assert f"lack kafka-cluster:{right.action} on" in told
    assert right.name in told
    assert operator.stage.enabled()


def test_a_topic_is_read_with_the_rights_that_are_listed(operator: Operator, records: dict[int, int]) -> None:
    """As by `ras replay --via function`, and by the fill of `ras rebuild`."""
    operator.may(READ)
    log = TopicLog(choose("dev").brokers(), REGISTERED)

    held = log.bounds()

    assert held == {number: Bounds(0, end) for number, end in records.items()}
    assert len(list(log.read(dict.fromkeys(records, 0), records))) == 5


@pytest.mark.parametrize("right", READ, ids=str)
def test_a_right_that_reading_lacks_is_named(
    operator: Operator, records: dict[int, int], right: Right
) -> None:
    """Each of them is needed."""
    operator.may(without(READ, right))
    log = TopicLog(choose("dev").brokers(), REGISTERED)

    def read() -> None:
        log.bounds()
        list(log.read(dict.fromkeys(records, 0), records))

    with pytest.raises(OperatorError) as refused:
        read()

    assert f"lack kafka-cluster:{right.action} on" in refused.value.message
    assert right.name in refused.value.message


def held(log: TopicLog) -> int:
    return sum(partition.high for partition in log.bounds().values())


@pytest.fixture
def letters(stage: Stage) -> None:
    """Two dead letters, and no other."""
    s3 = stage.cloud.s3
    for key in made.contents(s3, LETTERS):
        s3.delete_object(Bucket=LETTERS, Key=key)
    made.give_up(s3, LETTERS, made.record(b"{}", offset=1), made.record(b"{}", offset=2))


@pytest.mark.usefixtures("letters")
def test_dead_letters_are_published_with_the_rights_that_are_listed(operator: Operator) -> None:
    """And set aside."""
    operator.may(PUBLISH)
    log = TopicLog(Brokers(operator.stage.msk.unguarded), SPELLCHECK)
    before = held(log)

    operator.ras("dead-letters", "replay", "--via", "kafka", "--yes")

    assert held(log) == before + 2
    assert all(key.startswith("replayed") for key in made.contents(operator.stage.cloud.s3, LETTERS))


@pytest.mark.parametrize("right", PUBLISH[:2], ids=str)
@pytest.mark.usefixtures("letters")
def test_a_right_that_publishing_lacks_is_named(operator: Operator, right: Right) -> None:
    """Each of these; Kafka takes WriteData for leave to write idempotently as well, AWS lists that by itself."""
    operator.may(without(PUBLISH, right))

    told = operator.ras("dead-letters", "replay", "--via", "kafka", "--yes", code=1)

    assert f"lack kafka-cluster:{right.action} on topic {SPELLCHECK}" in told


@pytest.mark.usefixtures("records")
def test_a_right_is_named_also_once_the_client_knows_that_it_lacks(operator: Operator) -> None:
    """A client refuses by itself what its brokers have refused before, and says so where it is called."""
    operator.may(without(PUBLISH, PUBLISH[0]))
    brokers = choose("dev").brokers()

    def slowly() -> Iterator[Event]:
        for _ in range(3):
            yield Event(SPELLCHECK, b"{}")
            time.sleep(2)

    with pytest.raises(OperatorError) as refused:
        publish(brokers.bootstrap_servers, slowly(), settings=brokers.settings)

    assert "3 of 3 records were not delivered" in refused.value.message
    assert f"lack kafka-cluster:DescribeTopic on topic {SPELLCHECK}" in refused.value.message


@pytest.mark.parametrize(
    "action",
    ["cloudformation:DescribeStacks", "lambda:ListEventSourceMappings", "kafka:GetBootstrapBrokers"],
)
@pytest.mark.usefixtures("records")
def test_a_right_in_aws_that_is_lacking_is_named(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """By AWS's own answer."""
    left = {*LISTED, *WANTED_BY_THE_EMULATOR} - {action}
    sign_with(operator.stage.role(left), monkeypatch)

    told = operator.ras(*REPLAY, "--dry-run", code=1)

    assert action.partition(":")[2] in told
    assert "The credentials used lack that right." in told
