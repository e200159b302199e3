"""One mapping on a broker, with a function of the test's own."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confluent_kafka import Producer
from ras.kafka import lag
from ras.kafka.client import quiet_client
from ras.kafka.publish import Event
from ras_local.mapping import (
    DestinationError,
    Discarded,
    Gate,
    InvocationResult,
    MappingSettings,
    Nulls,
    RunningMapping,
    Succeeded,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PARTITIONS = 3


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

    def _new(self) -> RunningMapping:
        return RunningMapping(
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


def until(condition: Callable[[], bool], what: str, timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)


def events(topic: str, count: int, start: int = 0) -> list[Event]:
    return [Event(topic, b"%d" % number, key=b"%d" % number) for number in range(start, start + count)]


def at(bootstrap_servers: str, topic: str, times: list[int], partition: int = 0) -> None:
    """Publish one record per time, in this order."""
    producer = Producer(quiet_client(bootstrap_servers))
    for number, moment in enumerate(times):
        producer.produce(topic, b"%d" % number, partition=partition, timestamp=moment)
    assert producer.flush(10) == 0
