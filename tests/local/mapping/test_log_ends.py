"""A partition's offsets are no gapless count: transactions leave markers, and a log's start moves on."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from ras.kafka.client import quiet_client
from ras.kafka.publish import Event, publish
from ras_local.mapping import NotReached, Succeeded

from tests.local.mapping.bench import PARTITIONS, Bench, until
from tests.real_servers import KAFKA, server

if TYPE_CHECKING:
    from collections.abc import Iterable


@pytest.fixture
def transactions(bootstrap_servers: str, topic: str) -> Transactions:
    return Transactions(bootstrap_servers, topic)


class Transactions:
    """A producer that commits or aborts transactions of some records to one partition each."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._topic = topic
        self._producer = Producer(quiet_client(bootstrap_servers, transactional_id=f"by-{topic}"))
        self._producer.init_transactions(60)

    def commit(self, partitions: Iterable[int]) -> None:
        self._send(partitions)
        self._producer.commit_transaction(60)

    def abort(self, partitions: Iterable[int]) -> None:
        self._send(partitions)
        self._producer.abort_transaction(60)

    def _send(self, partitions: Iterable[int]) -> None:
        self._producer.begin_transaction()
        for partition in partitions:
            self._producer.produce(self._topic, b"{}", partition=partition)
        self._producer.flush(60)


def test_what_transactions_leave_behind_is_committed_and_is_no_loss(
    bench: Bench, transactions: Transactions, caplog: pytest.LogCaptureFixture
) -> None:
    """Each transaction ends with a marker that takes an offset and is given to no consumer."""
    caplog.set_level(logging.WARNING)
    for number in range(10):
        transactions.commit([number % PARTITIONS])
    bench.mapping.start()
    until(lambda: len(bench.items) == 10, "the records from before")
    for number in range(10):
        transactions.commit([number % PARTITIONS])
    until(lambda: len(bench.items) == 20, "the records since")
    until(lambda: bench.lag == 0, "committed past the markers", timeout_s=30)

    assert len(set(bench.items)) == 20
    assert bench.mapping.counters.lost == 0
    assert "gone" not in caplog.text
    assert bench.mapping.status()["problem"] == ""


@pytest.mark.parametrize("bootstrap_servers", [server(KAFKA)], indirect=True)
def test_a_partition_whose_only_transaction_was_aborted_is_committed(
    bench: Bench, transactions: Transactions
) -> None:
    """There is nothing to read in it, and nothing left to wait for. (The embedded broker takes abortion for commit.)"""
    transactions.abort([0, 0])
    bench.mapping.start()
    until(lambda: bench.lag == 0, "committed past what was aborted", timeout_s=30)
    transactions.abort([1])
    transactions.commit([1])
    until(lambda: len(bench.items) == 1 and bench.lag == 0, "and while it runs", timeout_s=30)

    assert bench.mapping.counters.lost == 0


@pytest.mark.parametrize("bootstrap_servers", [server(KAFKA)], indirect=True)
def test_nothing_is_committed_past_a_record_without_an_outcome_at_the_end(
    bench: Bench, transactions: Transactions
) -> None:
    """The end of a partition is a position like any other: what is before it has to have an outcome."""
    bench.rule = lambda _: NotReached("away")
    transactions.commit([0])
    bench.mapping.start()
    until(lambda: len(bench.items) >= 3, "some attempts")
    time.sleep(1.5)  # longer than a commit is put off

    assert bench.lag == 2

    bench.rule = lambda _: Succeeded()
    until(lambda: bench.lag == 0, "taken, and the marker behind it")


@pytest.mark.parametrize("bootstrap_servers", [server(KAFKA)], indirect=True)
def test_what_the_broker_dropped_unread_is_told(
    bench: Bench, topic: str, bootstrap_servers: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Retention took what a stopped mapping had not read: the status counts it, and the log says which."""
    caplog.set_level(logging.WARNING)
    publish(bootstrap_servers, [Event(topic, b"{}", partition=0)] * 3)
    bench.mapping.start()
    until(lambda: bench.lag == 0, "the first records")
    bench.stop()
    publish(bootstrap_servers, [Event(topic, b"{}", partition=0)] * 7)
    drop(bootstrap_servers, topic, 0, before=8)
    bench.restart()
    until(lambda: bench.lag == 0, "what is left")

    assert sorted(offset for _, offset in bench.items) == [0, 1, 2, 8, 9]
    assert bench.mapping.counters.lost == 5
    assert f"{topic}-0: offsets 3 to 7 are gone" in caplog.text
    until(lambda: "5 records" in str(bench.mapping.status()["problem"]), "told in the status")


@pytest.mark.parametrize("bootstrap_servers", [server(KAFKA)], indirect=True)
def test_what_was_dropped_before_a_group_began_is_no_loss_of_it(
    bench: Bench, topic: str, bootstrap_servers: str
) -> None:
    """TRIM_HORIZON is the oldest record that there is, and a partition without any is read to its end."""
    publish(bootstrap_servers, [Event(topic, b"{}", partition=number) for number in (0, 0, 1, 1)])
    drop(bootstrap_servers, topic, 0, before=1)
    drop(bootstrap_servers, topic, 1, before=2)

    assert bench.lag == 1

    bench.mapping.start()
    until(lambda: bench.lag == 0, "what is there")

    assert bench.items == [(f"{topic}-0", 1)]
    assert bench.mapping.counters.lost == 0


@pytest.mark.parametrize("bootstrap_servers", ["embedded"], indirect=True)
def test_what_a_bounded_log_dropped_while_the_function_was_away_is_told(
    bench: Bench, topic: str, bootstrap_servers: str
) -> None:
    """The embedded broker drops the oldest records at 5 MiB, whoever has yet to read them."""
    bench.settings = replace(bench.settings, batch_size=1, window_s=0)
    bench.rule = lambda _: NotReached("away")
    bench.restart()
    until(lambda: bench.mapping.ready, "reading")
    large = b"x" * 1_000_000
    for _ in range(30):  # beyond what the client fetches ahead
        publish(bootstrap_servers, [Event(topic, large, partition=0)])
    bench.rule = lambda _: Succeeded()
    until(lambda: bench.lag == 0, "what is left")
    counters = bench.mapping.counters

    assert len(set(bench.items)) < 30
    assert counters.lost == 30 - len(set(bench.items))
    assert f"dropped {counters.lost} records" in str(bench.mapping.status()["problem"])


def drop(bootstrap_servers: str, topic: str, partition: int, *, before: int) -> None:
    """As retention does."""
    admin = AdminClient(quiet_client(bootstrap_servers))
    for future in admin.delete_records([TopicPartition(topic, partition, before)]).values():
        future.result()
