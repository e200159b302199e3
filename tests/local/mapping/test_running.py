"""The poller's loop against real brokers: what is committed, what is read again, and from where."""

from __future__ import annotations

import base64
import json
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its stubs forget it
from ras.errors import OperatorError
from ras.kafka import lag
from ras.kafka.client import quiet_client
from ras.kafka.publish import Event, publish
from ras.mappings import DeployedMapping
from ras_local.mapping.delivery import (
    RETRIES_EXHAUSTED,
    Discarded,
    EventSource,
    Failed,
    InvocationResult,
    KafkaRecord,
    MappingSettings,
    NotReached,
    Nulls,
    Succeeded,
)
from ras_local.mapping.destinations import DestinationError, OnFailure
from ras_local.mapping.poller import Gate, Mapping, Poller, nulls_from_environment

from tests.real_servers import KAFKA, running_broker, server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PARTITIONS = 3
_topics = [f"topic-{number}" for number in range(30)]


@pytest.fixture(scope="module", params=["embedded", server(KAFKA)])
def bootstrap_servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    with running_broker(request.param, tmp_path_factory.mktemp("broker"), _topics, PARTITIONS) as servers:
        yield servers


@pytest.fixture(scope="module")
def unused(bootstrap_servers: str) -> Iterator[str]:  # noqa: ARG001 - of each broker
    return iter(_topics)


@pytest.fixture
def topic(unused: Iterator[str]) -> str:
    """One per test."""
    return next(unused)


@dataclass
class Bench:
    """One mapping under test, and everything that its function was given."""

    bootstrap_servers: str
    settings: MappingSettings
    rule: Callable[[list[tuple[str, int]]], InvocationResult] = lambda _: Succeeded()
    given: list[list[tuple[str, int]]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    discarded: list[Discarded] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    busy: set[str] = field(default_factory=set)
    nulls: Nulls = Nulls.ABSENT
    refusals: int = 0

    def __post_init__(self) -> None:
        self.mapping = self._new()

    def _new(self) -> Mapping:
        return Mapping(
            self.settings,
            self.bootstrap_servers,
            invoke=self.invoke,
            destination=self.keep,
            gate=Gate(4, patience_s=0),
            nulls=self.nulls,
        )

    def keep(self, discarded: Discarded) -> None:
        if self.refusals:
            self.refusals -= 1
            raise DestinationError("not now")
        self.discarded.append(discarded)

    def invoke(self, event: str) -> InvocationResult:
        parsed = json.loads(event)
        items = [(lane, entry["offset"]) for lane, entries in parsed["records"].items() for entry in entries]
        lanes = set(parsed["records"])
        with self.lock:
            assert not lanes & self.busy, "a partition has two batches in flight"
            self.busy |= lanes
            self.given.append(items)
            self.events.append(parsed)
        try:
            return self.rule(items)
        finally:
            with self.lock:
                self.busy -= lanes

    @property
    def items(self) -> list[tuple[str, int]]:
        with self.lock:
            return [item for call in self.given for item in call]

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records of every event, as the function saw them."""
        return [entry for event in self.events for lane in event["records"].values() for entry in lane]

    def restart(self) -> None:
        self.stop()
        self.mapping = self._new()
        self.mapping.start()

    def stop(self) -> None:
        self.mapping.stop()
        self.mapping.join(20)

    @property
    def lag(self) -> int:
        groups = {self.settings.topic: self.settings.consumer_group_id}
        return lag.progress(self.bootstrap_servers, groups)[self.settings.topic].lag


@pytest.fixture
def bench(bootstrap_servers: str, topic: str) -> Iterator[Bench]:
    mapping = MappingSettings(
        "uuid", topic, "arn:aws:lambda:eu-north-1:000000000000:function:f", consumer_group_id=f"group-{topic}"
    )
    made = Bench(bootstrap_servers, replace(mapping, window_s=0.05, provisioned=True, batch_size=20))
    yield made
    made.stop()


def until(condition: Callable[[], bool], what: str, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)


def events(topic: str, count: int, start: int = 0) -> list[Event]:
    return [Event(topic, b"%d" % number, key=b"%d" % number) for number in range(start, start + count)]


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


def test_the_setting_for_nulls_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """RAS_NULLS: absent unless somebody asks for the other form; a typing error is told."""
    assert nulls_from_environment() is Nulls.ABSENT
    monkeypatch.setenv("RAS_NULLS", "alternate")
    assert nulls_from_environment() is Nulls.ALTERNATE
    monkeypatch.setenv("RAS_NULLS", "nil")
    with pytest.raises(OperatorError, match="RAS_NULLS='nil' is unknown"):
        nulls_from_environment()


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


def at(bootstrap_servers: str, topic: str, times: list[int], partition: int = 0) -> None:
    """Publish one record per time, in this order."""
    producer = Producer(quiet_client(bootstrap_servers))
    for number, moment in enumerate(times):
        producer.produce(topic, b"%d" % number, partition=partition, timestamp=moment)
    assert producer.flush(10) == 0


class TestStartingPositions:
    """AWS Lambda developer guide, starting positions: they hold where the group has no commit, and there alone."""

    def test_reading_starts_at_a_time(self, bench: Bench, topic: str) -> None:
        """AT_TIMESTAMP. The embedded broker looks no times up, so there older records are skipped."""
        publish(bench.bootstrap_servers, events(topic, 5))
        time.sleep(0.05)
        moment = int(time.time() * 1000)
        time.sleep(0.05)
        publish(bench.bootstrap_servers, events(topic, 5, start=5))
        bench.settings = replace(
            bench.settings, starting_position="AT_TIMESTAMP", starting_timestamp_ms=moment
        )
        bench.restart()
        until(lambda: len(bench.items) == 5, "the later half")
        time.sleep(0.3)

        assert len(bench.items) == 5
        assert bench.mapping.counters.read - bench.mapping.counters.skipped == 5

    def test_behind_the_starting_time_every_record_comes(self, bench: Bench, topic: str) -> None:
        """Kafka's look-up gives an offset: behind it come records of any time, as producers set them."""
        now = int(time.time() * 1000)
        at(bench.bootstrap_servers, topic, [now - 5000, now - 100, now + 10, now - 3000, now + 20])
        bench.settings = replace(bench.settings, starting_position="AT_TIMESTAMP", starting_timestamp_ms=now)
        bench.restart()
        until(lambda: len(bench.items) == 3, "from the first one that is late enough")
        time.sleep(0.3)

        assert [offset for _, offset in bench.items] == [2, 3, 4]

    def test_a_time_after_the_last_record_means_the_end(self, bench: Bench, topic: str) -> None:
        """No record is late enough yet: the next one that is, is the first."""
        now = int(time.time() * 1000)
        at(bench.bootstrap_servers, topic, [now - 5000] * 3)
        bench.settings = replace(bench.settings, starting_position="AT_TIMESTAMP", starting_timestamp_ms=now)
        bench.restart()
        until(lambda: bench.mapping.ready, "assigned")
        at(bench.bootstrap_servers, topic, [now + 10])
        until(lambda: len(bench.items) == 1, "the first of its time")

        assert bench.items == [(f"{topic}-0", 3)]

    @pytest.mark.parametrize("position", ["LATEST", "AT_TIMESTAMP"])
    def test_a_group_with_commits_goes_on_from_them(self, bench: Bench, topic: str, position: str) -> None:
        """AWS Lambda developer guide, consumer group ID: with commits, the starting position is ignored."""
        publish(bench.bootstrap_servers, [Event(topic, b"x", partition=0) for _ in range(5)])
        bench.mapping.start()
        until(lambda: bench.lag == 0, "a commit in every partition that has records")
        bench.stop()
        publish(bench.bootstrap_servers, [Event(topic, b"x", partition=0) for _ in range(5)])
        bench.settings = replace(
            bench.settings,
            starting_position=position,
            starting_timestamp_ms=int(time.time() * 1000) + 60_000 if position == "AT_TIMESTAMP" else None,
        )
        bench.restart()
        until(lambda: len(bench.items) == 10, "what came while nobody read")

        assert bench.items == [(f"{topic}-0", offset) for offset in range(10)]

    def test_reading_starts_at_the_end_with_latest(self, bench: Bench, topic: str) -> None:
        """LATEST: only what is published after the mapping has started to read."""
        publish(bench.bootstrap_servers, events(topic, 5))
        bench.settings = replace(bench.settings, starting_position="LATEST")
        bench.restart()
        until(lambda: bench.mapping.ready, "assigned")
        publish(bench.bootstrap_servers, events(topic, 3, start=5))
        until(lambda: len(bench.items) == 3, "what came later")

        assert bench.mapping.counters.read == 3

    def test_latest_is_the_end_of_the_first_start_and_not_of_every_start(
        self, bench: Bench, topic: str
    ) -> None:
        """Chosen: the position is committed once it is found, so a restart before the first batch skips nothing."""
        publish(bench.bootstrap_servers, events(topic, 5))
        bench.settings = replace(bench.settings, starting_position="LATEST")
        bench.restart()
        until(lambda: bench.mapping.ready, "assigned")
        bench.stop()
        publish(bench.bootstrap_servers, events(topic, 3, start=5))
        bench.restart()
        until(lambda: len(bench.items) == 3, "what came while nobody read")


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
    until(lambda: bool(waiting.mapping.problem), "the problem is told")
    waiting.stop()

    assert not waiting.mapping.ready


def test_each_kind_of_problem_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The client tells every attempt at a broker that is away, each with other milliseconds."""
    mapping = Bench("127.0.0.1:1", MappingSettings("uuid", "t", "f", consumer_group_id="g")).mapping
    for milliseconds in range(3):
        mapping.tell(KafkaError(KafkaError._TRANSPORT, f"refused after {milliseconds} ms"))
        mapping.tell(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))

    assert [one.getMessage() for one in caplog.records] == [
        "t: refused after 0 ms",
        "t: 1/1 brokers are down",
    ]
    assert mapping.status()["problem"] == "1/1 brokers are down"


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


DESCRIBED = {
    "UUID": "uuid",
    "Topics": ["t"],
    "FunctionArn": "arn:aws:lambda:eu-north-1:000000000000:function:f",
}


def first_word_on(described: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a poller reports of the only mapping that there is, after it has looked once."""
    told: list[list[dict[str, Any]]] = []
    stopping = threading.Event()

    class Deployed:
        def __init__(self, _: object) -> None:
            pass

        def read(self) -> list[DeployedMapping]:
            return [DeployedMapping.from_api(described)]

    def report(status: list[dict[str, Any]]) -> None:
        told.append(status)
        stopping.set()

    monkeypatch.setattr("ras_local.mapping.poller.DeployedMappings", Deployed)
    Poller(cast("Any", None), "127.0.0.1:1", report=report).run(stopping)
    [status] = told[0]
    return status


def test_a_mapping_that_lambda_would_refuse_is_not_polled_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Filtering, Kafka destination: Lambda refuses these when a mapping is made; an emulator takes anything."""
    refused = {**DESCRIBED, "FilterCriteria": {"Filters": [{"Pattern": "{"}]}}
    status = first_word_on(refused, monkeypatch)

    assert (status["state"], status["mode"], status["read"]) == ("refused", "on-demand", 0)
    assert "not JSON" in status["problem"]


def test_a_disabled_mapping_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it looks as if there were no such topic, and nobody learns why its records wait."""
    disabled = {
        **DESCRIBED,
        "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "g"},
        "State": "Disabled",
    }
    status = first_word_on(disabled, monkeypatch)

    assert (status["topic"], status["state"], status["problem"]) == (
        "t",
        "disabled",
        "group g does not read",
    )


class TestGate:
    def running(self, gate: Gate, count: int, seconds: float) -> list[int]:
        """Hold the gate from several threads; how many held it at each entry."""
        lock = threading.Lock()
        now = 0
        seen: list[int] = []

        def hold() -> None:
            nonlocal now
            with gate:
                with lock:
                    now += 1
                    seen.append(now)
                time.sleep(seconds)
                with lock:
                    now -= 1

        threads = [threading.Thread(target=hold) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        return seen

    def test_short_invocations_go_one_at_a_time(self) -> None:
        assert self.running(Gate(3, patience_s=5), 4, 0.02) == [1, 1, 1, 1]

    def test_more_run_when_one_is_too_slow_and_never_more_than_the_limit(self) -> None:
        seen = self.running(Gate(2, patience_s=0.05), 5, 0.2)

        assert len(seen) == 5
        assert max(seen) == 2
