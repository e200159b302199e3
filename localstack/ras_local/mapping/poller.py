"""The local event source mapping at work: reads Kafka, invokes the deployed functions, commits offsets.

`python -m ras_local.mapping.poller ENDPOINT_URL REGION BOOTSTRAP_SERVERS MAPPINGS_FILE` runs until it is terminated. It asks
Lambda every few seconds which mappings there are, so a new deployment, a disabled mapping or a changed batch size
takes effect while it runs. What a mapping does with records is decided in `event_source_mapping`; here are the
loops around it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from ras.aws import Cloud
from ras.environment import number
from ras.errors import SettingError
from ras.kafka.client import quiet_client
from ras.mappings import DeployedMappings
from ras.state import write_private

from ras_local.mapping.delivery import (
    Backlog,
    Delivery,
    Discarded,
    EventSource,
    Failed,
    InvocationResult,
    Invoke,
    KafkaRecord,
    Ledger,
    MappingSettings,
    NotReached,
    Nulls,
    Succeeded,
    Tally,
    span,
)
from ras_local.mapping.destinations import DestinationError, ExecutionRoles, OnFailure
from ras_local.mapping.filters import FilterCriteria

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from confluent_kafka import Message

logger = logging.getLogger("ras_local.mapping.poller")

REFRESH_S = 2.0
"""How often the deployed mappings are read again."""

_BUSY_POLL_S = 0.01
_IDLE_POLL_S = 0.1
_FETCH = 500  # records taken from librdkafka's queue at a time
_BATCHES_AHEAD = 4
_COMMIT_S = 1.0  # how often positions move where nothing is invoked, as every record is filtered out

_NOT_COMMITTABLE = {
    # The partition belongs to another member of the group now, which reads those records again.
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError._STATE,
    KafkaError._NO_OFFSET,
}


class StoppedError(Exception):
    """The poller was told to stop while a batch was being tried."""


@dataclass
class Counters:
    """What one mapping did since it started, in records unless the name says otherwise."""

    read: int = 0
    delivered: int = 0
    discarded: int = 0
    invocations: int = 0
    failures: int = 0
    not_reached: int = 0
    filtered_out: int = 0
    destination_failures: int = 0
    skipped: int = 0

    def add(self, tally: Tally) -> None:
        self.delivered += tally.delivered
        self.discarded += tally.discarded
        self.invocations += tally.invocations
        self.failures += tally.failures
        self.not_reached += tally.not_reached


class Gate:
    """How many invocations of one function run at a time, over all its mappings: one, and more when that is too slow.

    Every concurrent invocation costs a process and its cold start, and a laptop has few cores. So a batch waits
    `patience_s` for the one that runs; after that, and for a while, up to `limit` may run, as pollers scale with lag.
    """

    def __init__(self, limit: int, *, patience_s: float = 1.0, calm_s: float = 10.0) -> None:
        self._limit = limit
        self._patience_s = patience_s
        self._calm_s = calm_s
        self._running = 0
        self._busy_until = 0.0
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            begun = time.monotonic()
            while not self._may_run(begun):
                self._changed.wait(self._patience_s / 4)
            self._running += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._running -= 1
            self._changed.notify_all()

    def _may_run(self, waiting_since: float) -> bool:
        now = time.monotonic()
        if self._running == 0:
            return True
        if self._running >= self._limit:
            return False
        if now - waiting_since >= self._patience_s:
            self._busy_until = now + self._calm_s
        return now < self._busy_until


@dataclass
class Mapping:
    """One running mapping: a thread that reads, and a few that wait for the function."""

    settings: MappingSettings
    bootstrap_servers: str
    invoke: Invoke
    destination: Callable[[Discarded], None]
    gate: Gate
    nulls: Nulls = Nulls.ABSENT
    stopping: threading.Event = field(default_factory=threading.Event)
    counters: Counters = field(default_factory=Counters)
    assigned: set[int] = field(default_factory=set)
    ready: bool = False
    problem: str = ""

    def __post_init__(self) -> None:
        self._source = EventSource(self.settings.event_source_arn, self.bootstrap_servers)
        self._next: dict[str, int] = {}  # by lane, the offset that should come next
        self._thread = threading.Thread(target=self._run, name=self.settings.topic, daemon=True)
        self._holding = False
        self._filters = FilterCriteria(self.settings.filters)
        self._ledger = Ledger()
        self._committed_at = 0.0
        self._skipping: set[str] = set()  # lanes on their way to a time that the broker cannot look up
        self._told: set[int] = set()  # the kinds of problems that were logged since reading last went on
        self._undelivered: dict[int, str] = {}  # by thread, what a destination does not take

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()

    def join(self, timeout_s: float) -> None:
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def status(self) -> dict[str, Any]:
        return {
            "uuid": self.settings.uuid,
            "topic": self.settings.topic,
            "function": self.settings.function_name,
            "consumer_group_id": self.settings.consumer_group_id,
            "mode": self.settings.mode,
            "state": "polling" if self.ready else "starting",
            "partitions": sorted(self.assigned),
            "problem": next(iter(self._undelivered.values()), self.problem),
            **vars(self.counters),
        }

    # --- reading ---

    def _run(self) -> None:
        while not self.stopping.is_set():
            try:
                self._consume()
            except Exception as error:
                # Whatever it was, a new consumer goes on from the last commit, and nothing is lost.
                self.problem = str(error)
                logger.exception("%s: the consumer is started again", self.settings.topic)
                self.stopping.wait(1.0)

    def _consume(self) -> None:
        consumer = Consumer(
            quiet_client(
                self.bootstrap_servers,
                group_id=self.settings.consumer_group_id,
                enable_auto_commit=False,
                enable_auto_offset_store=False,
                auto_offset_reset="latest" if self.settings.starting_position == "LATEST" else "earliest",
                # The shortest that Apache Kafka accepts by default: how long a killed poller is waited for.
                session_timeout_ms=6000,
                heartbeat_interval_ms=2000,
                fetch_wait_max_ms=100,
                reconnect_backoff_max_ms=1000,
                topic_metadata_refresh_interval_ms=10_000,
                queued_max_messages_kbytes=16_384,
                on_error=self.tell,
            )
        )
        backlog = Backlog(self.settings, self._source, now=time.monotonic())
        in_flight: dict[Future[Tally], list[KafkaRecord]] = {}
        self._ledger = Ledger()
        self._next.clear()
        self._skipping.clear()

        def assigned(_: Consumer, partitions: list[TopicPartition]) -> None:
            self.assigned |= {partition.partition for partition in partitions}
            logger.info("%s: reads partitions %s", self.settings.topic, sorted(self.assigned))
            self._position(consumer, partitions)
            self._holding = False  # what is newly assigned is read
            self.ready = True
            self._go_on()

        def revoked(_: Consumer, partitions: list[TopicPartition]) -> None:
            self.assigned -= {partition.partition for partition in partitions}
            logger.info("%s: gave up %d partitions", self.settings.topic, len(partitions))
            backlog.forget(_lanes(partitions))
            self._ledger.forget(_lanes(partitions))
            self._skipping -= _lanes(partitions)
            for lane in _lanes(partitions):
                self._next.pop(lane, None)
            # The client remembers what is on hold, also over a new assignment, where nobody would let it go on.
            consumer.resume(partitions)

        consumer.subscribe([self.settings.topic], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
        with ThreadPoolExecutor(thread_name_prefix=self.settings.topic) as pool:
            try:
                while not self.stopping.is_set():
                    # With work under way, its end is noticed soon; without any, there is only reading to do.
                    self._read(consumer, backlog, _BUSY_POLL_S if in_flight or backlog else _IDLE_POLL_S)
                    self._settle(consumer, in_flight, backlog)
                    self._send(pool, in_flight, backlog)
            finally:
                self.ready = False
                # An invocation that runs is waited for and committed; one that would be tried again is not.
                self._settle(consumer, in_flight, backlog, wait=True)
                consumer.close()

    def _position(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """LATEST and AT_TIMESTAMP for partitions without a commit; where there is one, it alone counts.

        Chosen: the position that is found is committed at once, so that what arrives before the first batch is not
        passed over when the poller or the broker starts again.
        """
        if self.settings.starting_position == "TRIM_HORIZON":
            return
        new = [p for p in consumer.committed(partitions, timeout=10) if p.offset < 0]
        # The ends first: what is published from here on comes after them.
        ends = {p.partition: consumer.get_watermark_offsets(p, timeout=10) for p in new}
        if self.settings.starting_position == "LATEST":
            start = {partition: end for partition, (_, end) in ends.items()}
        else:
            start = self._offsets_at(consumer, ends, self.settings.starting_timestamp_ms or 0)
        found = [TopicPartition(self.settings.topic, partition, at) for partition, at in start.items()]
        self._skipping |= _lanes(new) - _lanes(found)
        begin = {p.partition: OFFSET_BEGINNING for p in new} | start
        consumer.assign(
            [TopicPartition(p.topic, p.partition, begin.get(p.partition, p.offset)) for p in partitions]
        )
        if found:
            self._commit(consumer, found)

    def _offsets_at(
        self, consumer: Consumer, ends: dict[int, tuple[int, int]], moment: int
    ) -> dict[int, int]:
        """By partition, the first offset at or after a time, or the end where there is none.

        A partition is left out where the broker keeps no index of times: reading starts at its beginning then, and
        what is older is skipped.
        """

        def look_up(at: int) -> dict[int, int]:
            asked = [TopicPartition(self.settings.topic, partition, at) for partition in ends]
            return {p.partition: p.offset for p in consumer.offsets_for_times(asked, timeout=10)}

        if not ends:
            return {}
        found, first = look_up(moment), look_up(0)
        start = {}
        for partition, (low, end) in ends.items():
            if found[partition] >= 0:
                start[partition] = found[partition]
            elif low == end or first[partition] >= 0:
                start[partition] = end
        return start

    def _read(self, consumer: Consumer, backlog: Backlog, timeout_s: float) -> None:
        self._hold(consumer, len(backlog))
        # Also while reading is on hold: rebalances are served in here, and a member that never asks is put out.
        for message in consumer.consume(_FETCH, timeout_s):
            error = message.error()
            if error is not None:
                self._complain(error)
                continue
            self.counters.read += 1
            self._go_on()
            record = to_record(message, self.nulls)
            self._note_gap(record)
            if self._is_too_early(record):
                self.counters.skipped += 1
                continue
            self._ledger.read(record)
            if self._filters.take(record.value):
                backlog.add(record)
            else:
                self.counters.filtered_out += 1
                self._ledger.settle([record])

    def _is_too_early(self, record: KafkaRecord) -> bool:
        """Only up to the first record at or after the time: those behind it come whatever their time is."""
        if record.lane not in self._skipping:
            return False
        if record.timestamp < (self.settings.starting_timestamp_ms or 0):
            return True
        self._skipping.discard(record.lane)
        return False

    def _note_gap(self, record: KafkaRecord) -> None:
        """Say which records the broker dropped before they were read: no retry brings those back."""
        expected = self._next.get(record.lane)
        if expected is not None and record.offset > expected:
            logger.warning("%s: offsets %d to %d are gone", record.lane, expected, record.offset - 1)
        self._next[record.lane] = record.offset + 1

    def _hold(self, consumer: Consumer, waiting: int) -> None:
        """Stop reading some batches ahead of the function, and go on once it has caught up."""
        ahead = _BATCHES_AHEAD * self.settings.batch_size
        if not self._holding and waiting >= ahead:
            consumer.pause(consumer.assignment())
            self._holding = True
        elif self._holding and waiting <= ahead // 2:
            consumer.resume(consumer.assignment())
            self._holding = False

    def _complain(self, error: KafkaError) -> None:
        if error.code() == KafkaError._PARTITION_EOF:
            return
        self.tell(error)
        if error.fatal():
            raise KafkaException(error)

    def tell(self, error: KafkaError) -> None:
        """Keep the problem for `ras status`, and log its kind once until reading goes on: the client tries by itself."""
        self.problem = error.str()
        # By kind: the texts tell how many milliseconds an attempt took, so that no two are the same.
        if error.code() not in self._told:
            self._told.add(error.code())
            logger.warning("%s: %s", self.settings.topic, error.str())

    def _go_on(self) -> None:
        self.problem = ""
        self._told.clear()

    # --- delivering ---

    def _send(
        self, pool: ThreadPoolExecutor, in_flight: dict[Future[Tally], list[KafkaRecord]], backlog: Backlog
    ) -> None:
        while len(in_flight) < self.settings.concurrency(len(self.assigned)):
            busy = {record.lane for records in in_flight.values() for record in records}
            batch = backlog.take(now=time.monotonic(), in_flight=busy)
            if not batch:
                return
            in_flight[pool.submit(self._deliver, batch)] = batch

    def _deliver(self, batch: list[KafkaRecord]) -> Tally:
        return Delivery(
            settings=self.settings,
            source=self._source,
            invoke=self._invoke,
            on_failure=self._on_failure,
            now_ms=lambda: int(time.time() * 1000),
            wait=self._wait,
            log=lambda text: logger.warning("%s", text),
        ).deliver(batch)

    def _settle(
        self,
        consumer: Consumer,
        in_flight: dict[Future[Tally], list[KafkaRecord]],
        backlog: Backlog,
        *,
        wait: bool = False,
    ) -> None:
        """Commit what is done: only now is every record of the batch taken by the function or given up on.

        Records that were filtered out are committed along with those around them, or once a second where a mapping
        takes none.
        """
        ended = []
        for future in [future for future in in_flight if wait or future.done()]:
            try:
                ended.append((future, future.result()))
            except StoppedError:
                del in_flight[future]
                continue
            self._ledger.settle(in_flight[future])
        if not (ended or wait or time.monotonic() - self._committed_at >= _COMMIT_S):
            return
        positions = self._ledger.to_commit()
        if positions and not self._commit(consumer, [TopicPartition(*where) for where in positions.values()]):
            return  # the broker is away: the partitions stay in flight and the commit is tried again
        self._ledger.committed(positions)
        self._committed_at = time.monotonic()
        for future, tally in ended:
            del in_flight[future]
            self.counters.add(tally)
            backlog.restart_window(time.monotonic())

    def _commit(self, consumer: Consumer, positions: list[TopicPartition]) -> bool:
        try:
            consumer.commit(offsets=positions, asynchronous=False)
        except KafkaException as error:
            kafka_error: KafkaError = error.args[0]
            if kafka_error.code() in _NOT_COMMITTABLE:
                logger.warning("%s: not committed, will be read again: %s", self.settings.topic, kafka_error)
                return True
            self._complain(kafka_error)
            return self.stopping.is_set()
        return True

    def _wait(self, seconds: float) -> None:
        if self.stopping.wait(seconds):
            raise StoppedError

    def _invoke(self, event: str) -> InvocationResult:
        with self.gate:
            if self.stopping.is_set():
                raise StoppedError
            return self.invoke(event)

    def _on_failure(self, discarded: Discarded) -> None:
        """Hand discarded records to the destination, trying until it has them.

        Chosen, as AWS says only that it counts such failures: nothing of the batch is committed meanwhile, so its
        partitions stand still, loudly, and a poller that starts again reads it again. Nothing is lost without a word;
        the destination may get a batch twice.
        """
        attempt = 0
        here = threading.get_ident()
        try:
            while True:
                try:
                    self.destination(discarded)
                except DestinationError as error:
                    attempt += 1
                    self.counters.destination_failures += 1
                    self._undelivered[here] = (
                        f"{self.settings.on_failure_arn} does not take {span(discarded.records)}: {error}"
                    )
                    logger.warning("%s: %s", self.settings.topic, self._undelivered[here])
                    self._wait(min(10.0, 0.5 * attempt))
                else:
                    return
        finally:
            self._undelivered.pop(here, None)


def _lanes(partitions: Iterable[TopicPartition]) -> set[str]:
    return {f"{partition.topic}-{partition.partition}" for partition in partitions}


def to_record(message: Message, nulls: Nulls = Nulls.ABSENT) -> KafkaRecord:
    kind, timestamp = message.timestamp()
    return KafkaRecord(
        topic=str(message.topic()),
        partition=int(message.partition() or 0),
        offset=int(message.offset() or 0),
        timestamp=timestamp,
        timestamp_type="LOG_APPEND_TIME" if kind == TIMESTAMP_LOG_APPEND_TIME else "CREATE_TIME",
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=tuple((name, _bytes(value)) for name, value in _headers(message)),
        nulls=nulls,
    )


def _headers(message: Message) -> list[tuple[str, Any]]:
    # The client's stubs say that headers may also come as a dictionary; they never do when reading.
    headers: Any = message.headers()
    return headers or []


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def invoke(cloud: Cloud, function_arn: str, event: str) -> InvocationResult:
    """Call the function and wait for its answer.

    Only what the function itself did wrong is a failure; everything on the way there means it was not reached.
    """
    try:
        answer = cloud.functions.invoke(
            FunctionName=function_arn, InvocationType="RequestResponse", Payload=event.encode()
        )
        payload = answer["Payload"].read()
    except (BotoCoreError, ClientError) as error:
        return NotReached(str(error))
    request_id = answer["ResponseMetadata"].get("RequestId", "")
    if "FunctionError" in answer:
        return Failed(
            payload.decode("utf-8", "replace")[:2000],
            request_id,
            answer["FunctionError"],
            answer.get("ExecutedVersion", "$LATEST"),
        )
    return Succeeded(payload, request_id)


def nulls_from_environment() -> Nulls:
    """How events show null keys and values: RAS_NULLS, by default absent. Raises OperatorError for anything else."""
    wished = os.environ.get("RAS_NULLS", "").lower() or Nulls.ABSENT
    if wished not in set(Nulls):
        raise SettingError(f"RAS_NULLS={wished!r} is unknown", f"It may be {', '.join(Nulls)}.")
    return Nulls(wished)


def limit_from_environment() -> int:
    """How many invocations of one function run at a time: RAS_FUNCTION_CONCURRENCY. Raises OperatorError as `number`."""
    return number("RAS_FUNCTION_CONCURRENCY", 2, least=1)


# --- the process ------------------------------------------------------------------------------------------------


class Poller:
    """Keeps one `Mapping` running for every enabled event source mapping that Lambda lists."""

    def __init__(
        self, cloud: Cloud, bootstrap_servers: str, *, report: Callable[[list[dict[str, Any]]], None]
    ) -> None:
        self._cloud = cloud
        self._bootstrap_servers = bootstrap_servers
        self._report = report
        limit = limit_from_environment()
        self._gates: defaultdict[str, Gate] = defaultdict(lambda: Gate(limit))
        self._deployed = DeployedMappings(cloud)
        self._roles = ExecutionRoles(cloud)
        self._nulls = nulls_from_environment()
        self._unreadable = False
        self._running: dict[str, Mapping] = {}
        self._refused: dict[str, MappingSettings] = {}
        self._disabled: list[MappingSettings] = []

    def run(self, stopping: threading.Event) -> None:
        next_refresh = 0.0
        while not stopping.is_set():
            if time.monotonic() >= next_refresh:
                self._refresh()
                next_refresh = time.monotonic() + REFRESH_S
            self._report(self._status())
            stopping.wait(0.25)
        # One that is still joining its group has nothing to commit, and would be held up by the broker.
        reading = [mapping for mapping in self._running.values() if mapping.ready]
        for mapping in self._running.values():
            mapping.stop()
        for mapping in reading:
            mapping.join(10)
        self._report(self._status())

    def _status(self) -> list[dict[str, Any]]:
        unread = [("refused", settings, settings.refusal) for settings in self._refused.values()]
        unread += [
            ("disabled", settings, f"group {settings.consumer_group_id} does not read")
            for settings in self._disabled
        ]
        # First: where another mapping reads the same topic, its row is the last word.
        return [
            {
                "uuid": settings.uuid,
                "topic": settings.topic,
                "function": settings.function_name,
                "consumer_group_id": settings.consumer_group_id,
                "mode": settings.mode,
                "state": state,
                "partitions": [],
                "problem": problem,
                **vars(Counters()),
            }
            for state, settings, problem in unread
        ] + [mapping.status() for mapping in self._running.values()]

    def _refresh(self) -> None:
        try:
            deployed = {one.uuid: MappingSettings.from_api(one.described) for one in self._deployed.read()}
        except (BotoCoreError, ClientError) as error:
            if not self._unreadable:
                logger.warning("the mappings cannot be read, those known go on: %s", error)
            self._unreadable = True
            return
        if self._unreadable:
            logger.info("the mappings can be read again")
        self._unreadable = False
        self._disabled = [settings for settings in deployed.values() if not settings.enabled]
        for uuid_, mapping in list(self._running.items()):
            wanted = deployed.get(uuid_)
            if wanted != mapping.settings or not wanted.enabled:
                logger.info("%s: stopped", mapping.settings.topic)
                mapping.stop()
                mapping.join(10)
                del self._running[uuid_]
        for uuid_, settings in deployed.items():
            if self._refused.get(uuid_) == settings or not settings.enabled or uuid_ in self._running:
                continue
            self._refused.pop(uuid_, None)
            if settings.refusal:
                self._refused[uuid_] = settings
                logger.error("%s: is not polled, as %s", settings.topic or uuid_, settings.refusal)
                continue
            logger.info(
                "%s: to %s as group %s, %s mode%s",
                settings.topic,
                settings.function_name,
                settings.consumer_group_id,
                settings.mode,
                f", filtered by {len(settings.filters)} patterns" if settings.filters else "",
            )
            self._running[uuid_] = self._mapping(settings)
            self._running[uuid_].start()
        for uuid_ in self._refused.keys() - {one.uuid for one in deployed.values() if one.enabled}:
            del self._refused[uuid_]

    def _mapping(self, settings: MappingSettings) -> Mapping:
        source = EventSource(settings.event_source_arn, self._bootstrap_servers)
        return Mapping(
            settings,
            self._bootstrap_servers,
            invoke=partial(invoke, self._cloud, settings.function_arn),
            destination=OnFailure(self._roles, settings, source),
            gate=self._gates[settings.function_name],
            nulls=self._nulls,
        )


def main(arguments: list[str]) -> None:
    endpoint_url, region, bootstrap_servers, mappings_file = arguments
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    stopping = threading.Event()
    for number_ in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number_, lambda *_: stopping.set())

    def report(status: list[dict[str, Any]]) -> None:
        with contextlib.suppress(OSError):  # the folder may be gone while the stack is being removed
            write_private(Path(mappings_file), json.dumps(status, indent=1))

    Poller(Cloud(endpoint_url, region, retries=1), bootstrap_servers, report=report).run(stopping)
    logging.shutdown()
    # The clients of groups that were never joined are left as they are: closing them would wait for the broker.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
