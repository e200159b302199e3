"""One running mapping: a thread that reads, and a few that wait for the function."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .consumer import GroupConsumer
from .errors import TopicRemadeError
from .events import EventSource
from .in_flight import InFlight
from .problems import Problems
from .records import Nulls
from .status import Counters, status_entry
from .topic_ids import TopicIds
from .worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .delivery import Discarded
    from .gate import Gate
    from .responses import Invoke
    from .settings import MappingSettings

logger = logging.getLogger(__name__)

_BUSY_POLL_S = 0.01
_IDLE_POLL_S = 0.1


@dataclass
class RunningMapping:
    """Starts with `start`; ends with `stop`, which returns at once, and `join`.

    `invoke` calls the function with an event, `destination` stores what is discarded or raises DestinationError,
    `kafka_options` are librdkafka's settings by their names. `topic_ids` may be shared by mappings of the same brokers.
    """

    settings: MappingSettings
    bootstrap_servers: str
    invoke: Invoke
    destination: Callable[[Discarded], None]
    gate: Gate
    nulls: Nulls = Nulls.ABSENT
    kafka_options: Mapping[str, str] = field(default_factory=dict)
    topic_ids: TopicIds | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    counters: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        self.problems = Problems(self.settings.topic)
        self._source = EventSource(self.settings.event_source_arn, self.bootstrap_servers)
        self._topic_ids = self.topic_ids or TopicIds(self.bootstrap_servers, self.kafka_options)
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.settings.topic, daemon=True)
        self._consumer: GroupConsumer | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self._leaving.set()

    def join(self, timeout_s: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    @property
    def ready(self) -> bool:
        """Whether it has joined its group, and reads."""
        consumer = self._consumer
        return consumer is not None and consumer.ready

    def status(self) -> dict[str, Any]:
        consumer = self._consumer
        return status_entry(
            self.settings,
            "polling" if self.ready else "starting",
            partitions=consumer.assigned if consumer else (),
            problem=self.problems.text,
            counters=self.counters,
        )

    def _run(self) -> None:
        while not self.stopping.is_set():
            try:
                self._consume()
            except Exception as error:
                # Whatever it was, a new consumer goes on from the last commit, and nothing is lost.
                self.problems.of_consumer(error)
                logger.exception("%s: the consumer is started again", self.settings.topic)
                self.stopping.wait(1.0)

    def _consume(self) -> None:
        # Of this consumer alone: batches that are tried again end with it.
        leaving = self._leaving = threading.Event()
        if self.stopping.is_set():
            leaving.set()
        consumer = self._consumer = GroupConsumer(
            self.settings,
            self._source,
            kafka_options=self.kafka_options,
            nulls=self.nulls,
            counters=self.counters,
            problems=self.problems,
            topic_ids=self._topic_ids,
        )
        worker = Worker(
            self.settings,
            self._source,
            invoke=self.invoke,
            destination=self.destination,
            gate=self.gate,
            stopping=leaving,
            counters=self.counters,
            problems=self.problems,
        )
        with InFlight(self.settings, worker.deliver) as in_flight:
            try:
                while not self.stopping.is_set():
                    # With work under way, its end is noticed soon; without any, there is only reading to do.
                    consumer.read(_BUSY_POLL_S if in_flight or consumer.backlog else _IDLE_POLL_S)
                    self._settle(consumer, in_flight)
                    self._send(consumer, in_flight)
            except TopicRemadeError as remade:
                leaving.set()
                self._settle(consumer, in_flight, wait=True)
                # Another consumer begins: this one's client knows the earlier topic.
                self.problems.of_remade_topic(str(remade), consumer.ledger.without_outcome)
            finally:
                consumer.ready = False
                # An invocation that runs is waited for and committed; one that would be tried again is not.
                self._settle(consumer, in_flight, wait=True)
                consumer.close()

    def _settle(self, consumer: GroupConsumer, in_flight: InFlight, *, wait: bool = False) -> None:
        """Commit what is done: only now is every record of the batch taken by the function or given up on."""
        ended = in_flight.ended(wait=wait)
        for batch in ended.values():
            consumer.ledger.settle(batch)
        if not (ended or wait or consumer.commit_is_due):
            return
        if not consumer.commit() and not self.stopping.is_set():
            return  # the broker is away: the partitions stay in flight and the commit is tried again
        for future in ended:
            in_flight.remove(future)
            self.counters.add(future.result())
            consumer.backlog.restart_window(time.monotonic())

    def _send(self, consumer: GroupConsumer, in_flight: InFlight) -> None:
        while len(in_flight) < self.settings.concurrency(len(consumer.assigned)):
            batch = consumer.backlog.take(now=time.monotonic(), in_flight=in_flight.lanes)
            if not batch:
                return
            in_flight.send(batch)
