"""A running mapping on real brokers: what is committed, what is read again."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from typing import Any, cast

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its stubs forget it
from ras.kafka import lag
from ras.kafka.client import quiet_client
from ras.kafka.publish import Event, publish
from ras_local.mapping import Discarded, Failed, KafkaRecord, MappingSettings, NotReached, Nulls, Succeeded
from ras_local.mapping.delivery import RETRIES_EXHAUSTED
from ras_local.mapping.destinations import OnFailure
from ras_local.mapping.events import EventSource

from tests.local.mapping.bench import PARTITIONS, Bench, at, events, until
from tests.real_servers import KAFKA


def test_every_record_arrives_once_in_order_and_is_committed(bench: Bench, topic: str) -> None:
    publish(bench.bootstrap_servers, events(topic, 1000))
    bench.mapping.start()
    until(lambda: bench.lag == 0, "all consumed")

    items = bench.items
    assert len(items) == len(set(items)) == 1000
    for partition in range(PARTITIONS):
        offsets = [offset for lane, offset in items if lane == f"{topic}-{partition}"]
        assert offsets == list(range(len(offsets)))
    assert all(len(call) <= 20 for call in bench.given)
    assert bench.mapping.counters.delivered == 1000


def test_a_new_poller_goes_on_where_the_last_one_committed(bench: Bench, topic: str) -> None:
    publish(bench.bootstrap_servers, events(topic, 50))
    bench.mapping.start()
    until(lambda: bench.lag == 0, "the first records")
    publish(bench.bootstrap_servers, events(topic, 50, start=50))
    bench.restart()
    until(lambda: bench.lag == 0, "the rest")

    assert len(bench.items) == len(set(bench.items)) == 100


def test_a_batch_without_an_outcome_is_not_committed_and_is_read_again(bench: Bench, topic: str) -> None:
    bench.rule = lambda _: NotReached("away")
    publish(bench.bootstrap_servers, events(topic, 10))
    bench.mapping.start()
    until(lambda: len(bench.items) >= 20, "some attempts")
    bench.stop()

    assert bench.lag == 10

    bench.given.clear()
    bench.rule = lambda _: Succeeded()
    bench.restart()
    until(lambda: bench.lag == 0, "read again")

    assert sorted(set(bench.items)) == sorted(bench.items)
    assert len(bench.items) == 10


def test_a_partition_stands_still_while_the_others_go_on(bench: Bench, topic: str) -> None:
    """AWS Lambda developer guide, processing messages (MSK): a batch is tried for ever, its partition waits."""
    stuck = f"{topic}-0"
    bench.settings = replace(bench.settings, batch_size=1, window_s=0)
    bench.rule = lambda items: Failed("boom") if items[0][0] == stuck else Succeeded()
    publish(bench.bootstrap_servers, events(topic, 60))
    bench.restart()
    until(lambda: bench.mapping.counters.delivered >= 30, "the other partitions")
    groups = {topic: bench.settings.consumer_group_id}
    until(
        lambda: {lane for lane, _ in bench.items[-2:]} == {stuck},
        "only the stuck partition is still being tried",
    )

    assert {offset for lane, offset in bench.items if lane == stuck} == {0}
    assert lag.progress(bench.bootstrap_servers, groups)[topic].lag > 0


def test_what_is_given_up_on_is_committed_after_the_destination_has_it(bench: Bench, topic: str) -> None:
    bench.settings = replace(bench.settings, maximum_retry_attempts=1, bisect=True)
    bench.rule = lambda items: Failed("boom") if (f"{topic}-1", 3) in items else Succeeded()
    publish(bench.bootstrap_servers, events(topic, 60))
    bench.restart()
    until(lambda: bench.lag == 0, "all but one delivered")

    assert [(r.lane, r.offset) for d in bench.discarded for r in d.records] == [(f"{topic}-1", 3)]
    assert bench.mapping.counters.delivered == 59


def test_tombstones_keys_and_headers_arrive_as_they_were_sent(bench: Bench, topic: str) -> None:
    publish(
        bench.bootstrap_servers,
        [
            Event(topic, None, key=b"k"),
            Event(topic, b"v", headers=(("h", b"\xff"), ("h", b"a"), ("n", None))),
        ],
    )
    bench.mapping.start()
    until(lambda: len(bench.items) == 2, "both")
    tombstone, other = sorted(bench.records, key=lambda entry: "value" in entry)

    assert "value" not in tombstone
    assert tombstone["key"] == "aw=="
    assert tombstone["timestampType"] == "CREATE_TIME"
    assert "key" not in other
    assert other["headers"] == [{"h": [-1]}, {"h": [97]}, {"n": []}]


@pytest.mark.parametrize("nulls", list(Nulls))
def test_nulls_are_shown_as_the_poller_is_told(bench: Bench, topic: str, nulls: Nulls) -> None:
    """powertools-lambda-typescript #4988 and #5016: both an absent and a null value are seen on AWS."""
    bench.nulls = nulls
    publish(bench.bootstrap_servers, [Event(topic, None, partition=0) for _ in range(2)])
    bench.restart()
    until(lambda: len(bench.items) == 2, "both")
    shown = [("key" in entry, "value" in entry) for entry in bench.records]

    assert (
        shown
        == {
            Nulls.ABSENT: [(False, False)] * 2,
            Nulls.NULL: [(True, True)] * 2,
            Nulls.ALTERNATE: [(False, False), (True, True)],
        }[nulls]
    )
    assert all(entry.get("key") is None and entry.get("value") is None for entry in bench.records)


def test_filtered_records_are_not_sent_and_are_committed(bench: Bench, topic: str) -> None:
    """AWS Lambda developer guide, properly filtering Kafka messages: offsets of both kinds are committed."""
    bench.settings = replace(bench.settings, filters=('{"value": {"keep": [true]}}',))
    values = [b'{"keep": %s}' % (b"true" if number % 3 == 0 else b"false") for number in range(90)]
    publish(bench.bootstrap_servers, [Event(topic, value, b"%d" % n) for n, value in enumerate(values)])
    bench.restart()
    until(lambda: bench.lag == 0, "all have an outcome")

    assert len(bench.items) == 30
    assert (bench.mapping.counters.delivered, bench.mapping.counters.filtered_out) == (30, 60)

    publish(bench.bootstrap_servers, [Event(topic, b'{"keep": false}', b"%d" % n) for n in range(9)])
    until(lambda: bench.lag == 0, "committed although nothing is invoked")

    assert len(bench.items) == 30


def test_a_filtered_record_is_not_committed_past_a_failed_one(bench: Bench, topic: str) -> None:
    """AWS Lambda developer guide: a partition goes on from the first record without an outcome."""
    bench.settings = replace(bench.settings, filters=('{"value": {"keep": [true]}}',), window_s=0)
    bench.rule = lambda _: NotReached("away")
    publish(
        bench.bootstrap_servers,
        [Event(topic, b'{"keep": %s}' % keep, partition=0) for keep in (b"false", b"true", b"false")],
    )
    bench.restart()
    until(lambda: bench.mapping.counters.filtered_out == 2 and len(bench.items) > 1, "read and tried")
    until(lambda: bench.lag == 2, "the first one is committed")
    time.sleep(1.2)

    assert bench.lag == 2


def test_a_destination_that_refuses_is_asked_again_and_nothing_is_committed_meanwhile(
    bench: Bench, topic: str
) -> None:
    """AWS says only that such failures are counted; chosen: the batch waits for its destination, and says so."""
    bench.settings = replace(
        bench.settings, maximum_retry_attempts=0, on_failure_arn="arn:aws:s3:::b", window_s=0
    )
    bench.rule = lambda items: (
        Failed("boom") if (f"{topic}-0", 0) in items or (f"{topic}-0", 1) in items else Succeeded()
    )
    bench.refusals = 1_000_000
    publish(bench.bootstrap_servers, [Event(topic, b"x", partition=number) for number in (0, 0, 1, 1, 2, 2)])
    bench.restart()
    until(lambda: "not now" in str(bench.mapping.status()["problem"]), "the problem is told")
    until(lambda: bench.lag <= 2 or bench.mapping.counters.destination_failures > 2, "tried again")
    stuck = bench.lag

    assert stuck >= 2
    assert bench.discarded == []

    bench.refusals = 0
    until(lambda: bench.lag == 0, "delivered to the destination, then committed")

    assert {(r.lane, r.offset) for d in bench.discarded for r in d.records} >= {
        (f"{topic}-0", 0),
        (f"{topic}-0", 1),
    }
    assert bench.mapping.status()["problem"] == ""


def test_on_demand_a_partition_stands_still_until_the_function_succeeds(bench: Bench, topic: str) -> None:
    """AWS Lambda developer guide, processing messages (MSK): on demand, a failed batch is sent until it succeeds."""
    bench.settings = replace(bench.settings, provisioned=False, batch_size=2, window_s=0)
    bench.rule = lambda _: Failed("boom")
    publish(bench.bootstrap_servers, [Event(topic, b"%d" % n, partition=1) for n in range(6)])
    bench.restart()
    until(lambda: len(bench.given) >= 4, "several attempts")

    first = bench.given[0]
    assert all(call == first for call in bench.given)
    assert bench.lag == 6

    bench.rule = lambda _: Succeeded()
    until(lambda: bench.lag == 0, "the rest")

    assert sorted(set(bench.items)) == [(f"{topic}-1", n) for n in range(6)]


def test_the_brokers_own_time_is_told_as_such(
    bench: Bench, topic: str, request: pytest.FixtureRequest
) -> None:
    """Event of MSK: timestampType is LOG_APPEND_TIME where the topic's records get the broker's time."""
    if KAFKA not in request.node.callspec.id:
        pytest.skip("the embedded broker's topics have no settings")
    name = f"{topic}-appended"
    admin = AdminClient(quiet_client(bench.bootstrap_servers))
    made = admin.create_topics([NewTopic(name, 1, 1, config={"message.timestamp.type": "LogAppendTime"})])
    made[name].result(20)
    bench.settings = replace(bench.settings, topic=name)
    at(bench.bootstrap_servers, name, [1_000_000])
    bench.restart()
    until(lambda: len(bench.items) == 1, "the record")
    [entry] = bench.records

    assert entry["timestampType"] == "LOG_APPEND_TIME"
    assert entry["timestamp"] > 1_600_000_000_000


def test_reading_holds_while_the_function_is_slow_and_loses_nothing(bench: Bench, topic: str) -> None:
    bench.settings = replace(bench.settings, batch_size=5, window_s=0)
    bench.rule = lambda _: time.sleep(0.01) or Succeeded()  # type: ignore[func-returns-value]  # a pause in passing
    publish(bench.bootstrap_servers, events(topic, 600))
    bench.restart()
    until(lambda: bench.lag == 0, "all consumed")

    assert len(bench.items) == len(set(bench.items)) == 600


def test_a_missing_broker_is_waited_for() -> None:
    settings = MappingSettings(
        "uuid", "t", "arn:aws:lambda:eu-north-1:000000000000:function:f", consumer_group_id="g"
    )
    waiting = Bench("127.0.0.1:1", settings)
    waiting.mapping.start()
    until(lambda: bool(waiting.mapping.problems.text), "the problem is told")
    waiting.stop()

    assert not waiting.mapping.ready


def test_a_failure_too_large_for_its_topic_goes_there_without_its_payload(
    bench: Bench, topic: str, request: pytest.FixtureRequest
) -> None:
    """Chosen: the guide says nothing of a dead-letter topic that takes less than the record and its failure."""
    if KAFKA not in request.node.callspec.id:
        pytest.skip("the embedded broker's topics have no settings")
    name = f"{topic}-letters"
    admin = AdminClient(quiet_client(bench.bootstrap_servers))
    made = admin.create_topics([NewTopic(name, 1, 1, config={"max.message.bytes": "4000"})])
    made[name].result(20)
    settings = replace(bench.settings, on_failure_arn=f"kafka://{name}")
    records = (KafkaRecord(topic, 0, 7, 0, value=b"small"), KafkaRecord(topic, 0, 8, 0, value=b"x" * 5000))
    OnFailure(cast("Any", None), settings, EventSource("arn", bench.bootstrap_servers))(
        Discarded(records, RETRIES_EXHAUSTED, 1, Failed("boom"))
    )
    bench.settings = replace(bench.settings, topic=name)
    bench.restart()
    until(lambda: len(bench.items) == 2, "both")
    letters = [json.loads(base64.b64decode(entry["value"])) for entry in bench.records]

    assert {letter["KafkaBatchInfo"]["recordInfo"]["offset"]: "payload" in letter for letter in letters} == {
        "7": True,
        "8": False,
    }
