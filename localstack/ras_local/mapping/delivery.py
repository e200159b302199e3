"""What AWS Lambda's event source mapping does with Kafka records, as functions of plain values.

Nothing here knows a Kafka client, boto3 or a real clock: `poller` brings those. Each behaviour names the page of the
AWS Lambda developer guide that it comes from; where the guide is silent, the docstring says what was chosen.
"""

from __future__ import annotations

import base64
import json
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from ras_local.mapping.filters import FilterCriteria, PatternError

PAYLOAD_LIMIT = 6 * 1024 * 1024
"""Bytes of one event, base64 included ("Batching behavior": 6 MB, which cannot be changed)."""

DEFAULT_BATCH_SIZE = 100
DEFAULT_WINDOW_S = 0.5
"""Used where no MaximumBatchingWindowInSeconds was ever set ("Batching behavior")."""

RETRIES_WITH_DESTINATION = 10
"""Endless retries and an on-failure destination together mean ten ("Configuring retries": Kafka)."""

ON_DEMAND_CONCURRENCY = 1
CONCURRENCY_PER_POLLER = 5
"""Invocations at a time that one provisioned poller supports ("Kafka event poller scaling modes")."""

INFINITE = -1

KAFKA_SCHEME = "kafka://"
"""How an on-failure destination names a topic ("Using a Kafka topic as an on-failure destination")."""


# --- records and the event --------------------------------------------------------------------------------------


class Nulls(StrEnum):
    """How an event shows a null key or value. Users of AWS report both forms, so a function has to take both."""

    ABSENT = "absent"
    """Without the field, as in the guide's example of a record without a key."""
    NULL = "null"
    """With the field, as null."""
    ALTERNATE = "alternate"
    """Absent at even offsets, null at odd ones: both within one run."""

    def written_at(self, offset: int) -> bool:
        """Whether the record at this offset shows a null as null."""
        return self is Nulls.NULL or (self is Nulls.ALTERNATE and offset % 2 == 1)


@dataclass(frozen=True)
class KafkaRecord:
    """One Kafka record. `timestamp_type` is CREATE_TIME or LOG_APPEND_TIME; `timestamp` is in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: str = "CREATE_TIME"
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    nulls: Nulls = field(default=Nulls.ABSENT, compare=False)
    encoded: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Once per record: the size of a batch and its event are both made of these.
        object.__setattr__(self, "encoded", json.dumps(record_event(self), separators=(",", ":")))

    @property
    def lane(self) -> str:
        """The name of its partition in an event and in a partial batch response: `topic-0`."""
        return f"{self.topic}-{self.partition}"


def record_event(record: KafkaRecord) -> dict[str, Any]:
    """A record as the function sees it ("Using Lambda with Amazon MSK": example event).

    Keys and values are base64. A key or value that is null is left out or null, as `nulls` says. Each header is an
    object of its own, so order and repeated names survive, and its bytes are signed as Java's are. Chosen: a header
    whose value is null has no bytes, as an empty one, since a list of numbers is all that is documented.
    """
    event: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "timestampType": record.timestamp_type,
    }
    for name, content in (("key", record.key), ("value", record.value)):
        if content is not None:
            event[name] = base64.b64encode(content).decode()
        elif record.nulls.written_at(record.offset):
            event[name] = None
    event["headers"] = [{name: _signed(value or b"")} for name, value in record.headers]
    return event


def _signed(value: bytes) -> list[int]:
    return [byte - 256 if byte > 127 else byte for byte in value]


@dataclass(frozen=True)
class EventSource:
    """Where the records come from: the cluster's ARN, and its brokers as one comma-joined string."""

    event_source_arn: str
    bootstrap_servers: str


def render_event(source: EventSource, records: Sequence[KafkaRecord]) -> str:
    """The event of one invocation, as JSON: records grouped by `topic-partition`, in order."""
    lanes: dict[str, list[str]] = {}
    for record in records:
        lanes.setdefault(record.lane, []).append(record.encoded)
    grouped = ",".join(f"{json.dumps(lane)}:[{','.join(encoded)}]" for lane, encoded in lanes.items())
    return f"{_head(source)}{grouped}}}}}"


def _head(source: EventSource) -> str:
    envelope = {
        "eventSource": "aws:kafka",
        "eventSourceArn": source.event_source_arn,
        "bootstrapServers": source.bootstrap_servers,
    }
    return json.dumps(envelope, separators=(",", ":"))[:-1] + ',"records":{'


# --- settings of a mapping --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MappingSettings:
    """One mapping's settings, in the units of the Lambda API; -1 is endless."""

    uuid: str
    topic: str
    function_arn: str
    event_source_arn: str = ""
    consumer_group_id: str = ""
    enabled: bool = True
    batch_size: int = DEFAULT_BATCH_SIZE
    window_s: float = DEFAULT_WINDOW_S
    starting_position: str = "TRIM_HORIZON"
    starting_timestamp_ms: int | None = None
    provisioned: bool = False
    minimum_pollers: int = 1
    maximum_retry_attempts: int = INFINITE
    maximum_record_age_s: int = INFINITE
    bisect: bool = False
    report_batch_item_failures: bool = False
    on_failure_arn: str | None = None
    filters: tuple[str, ...] = ()

    @classmethod
    def from_api(cls, mapping: Mapping[str, Any]) -> MappingSettings:
        """Read what `GetEventSourceMapping` answers.

        The consumer group is the mapping's own id where none was given ("Customizable consumer group ID").
        Retries, record age, bisecting and partial responses exist in provisioned mode alone ("Configuring error
        handling controls for Kafka event sources"): without it they are not applied, whatever the mapping says.
        """
        provisioned = bool(mapping.get("ProvisionedPollerConfig"))
        group = (mapping.get("AmazonManagedKafkaEventSourceConfig") or {}).get("ConsumerGroupId")
        window = mapping.get("MaximumBatchingWindowInSeconds")
        timestamp = mapping.get("StartingPositionTimestamp")
        if isinstance(timestamp, datetime):
            timestamp = timestamp.timestamp()
        return cls(
            uuid=mapping["UUID"],
            topic=(mapping.get("Topics") or [""])[0],
            function_arn=mapping["FunctionArn"],
            event_source_arn=mapping.get("EventSourceArn", ""),
            consumer_group_id=group or mapping["UUID"],
            enabled=mapping.get("State", "Enabled") not in ("Disabled", "Disabling", "Deleting"),
            batch_size=mapping.get("BatchSize") or DEFAULT_BATCH_SIZE,
            window_s=DEFAULT_WINDOW_S if window is None else float(window),
            starting_position=mapping.get("StartingPosition") or "TRIM_HORIZON",
            starting_timestamp_ms=None if timestamp is None else int(float(timestamp) * 1000),
            provisioned=provisioned,
            minimum_pollers=int((mapping.get("ProvisionedPollerConfig") or {}).get("MinimumPollers") or 1),
            maximum_retry_attempts=_given(mapping, "MaximumRetryAttempts") if provisioned else INFINITE,
            maximum_record_age_s=_given(mapping, "MaximumRecordAgeInSeconds") if provisioned else INFINITE,
            bisect=provisioned and bool(mapping.get("BisectBatchOnFunctionError")),
            report_batch_item_failures=provisioned
            and "ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or []),
            on_failure_arn=((mapping.get("DestinationConfig") or {}).get("OnFailure") or {}).get(
                "Destination"
            ),
            filters=tuple(
                entry["Pattern"]
                for entry in (mapping.get("FilterCriteria") or {}).get("Filters") or []
                if entry.get("Pattern")
            ),
        )

    @property
    def refusal(self) -> str:
        """Why Lambda would never have made this mapping; empty where it would.

        An emulator takes anything, so a mapping that could not exist is not polled here, and its status says why.
        """
        if not self.topic:
            return "it names no topic"
        if self.destination_topic is not None and not self.provisioned:
            return "a Kafka topic as on-failure destination needs provisioned mode"
        if self.destination_topic in ("", self.topic):
            return "its on-failure destination must be another topic than its source"
        if self.starting_position == "AT_TIMESTAMP" and self.starting_timestamp_ms is None:
            return "AT_TIMESTAMP needs a StartingPositionTimestamp"
        try:
            FilterCriteria(self.filters)
        except PatternError as error:
            return str(error)
        return ""

    @property
    def mode(self) -> str:
        return "provisioned" if self.provisioned else "on-demand"

    @property
    def destination_topic(self) -> str | None:
        """The topic that discarded records go to, if the destination is one."""
        arn = self.on_failure_arn or ""
        return arn.removeprefix(KAFKA_SCHEME) if arn.startswith(KAFKA_SCHEME) else None

    @property
    def function_name(self) -> str:
        return self.function_arn.split(":function:")[-1].split(":")[0]

    @property
    def qualified_function_arn(self) -> str:
        qualified = ":" in self.function_arn.split(":function:")[-1]
        return self.function_arn if qualified else f"{self.function_arn}:$LATEST"

    @property
    def retry_limit(self) -> int:
        """Retries after the first attempt; -1 is endless.

        Chosen: the limit of ten that a destination brings is applied in on-demand mode as well, because nothing
        would ever reach the destination otherwise.
        """
        if self.maximum_retry_attempts == INFINITE and self.on_failure_arn:
            return RETRIES_WITH_DESTINATION
        return self.maximum_retry_attempts

    def concurrency(self, partitions: int) -> int:
        """Invocations at a time: no more than partitions, as a partition has one batch in flight at most."""
        pollers = min(self.minimum_pollers, max(partitions, 1))
        wanted = CONCURRENCY_PER_POLLER * pollers if self.provisioned else ON_DEMAND_CONCURRENCY
        return max(1, min(wanted, partitions))


def _given(mapping: Mapping[str, Any], name: str) -> int:
    value = mapping.get(name)
    return INFINITE if value is None else int(value)


# --- batches ----------------------------------------------------------------------------------------------------


class Backlog:
    """Records that were read and not yet sent, and the rule for when they become a batch.

    A batch is sent when its window ends, when it has BatchSize records, or when one more record would take the event
    over the payload limit ("Batching behavior"). The window starts when the previous invocation ended, not with the
    first record; a window of 0 sends at once whatever is there. A batch may hold records of several partitions, but
    none of a partition that has a batch in flight, so each partition keeps its order.
    """

    def __init__(self, settings: MappingSettings, source: EventSource, *, now: float) -> None:
        self._settings = settings
        # Braces and quotes of a lane are counted per record, which errs on the safe side.
        self._room = PAYLOAD_LIMIT - len(_head(source)) - 2
        self._records: deque[KafkaRecord] = deque()
        self._window_start = now

    def __len__(self) -> int:
        return len(self._records)

    def add(self, record: KafkaRecord) -> None:
        self._records.append(record)

    def restart_window(self, now: float) -> None:
        """To be called when an invocation has ended."""
        self._window_start = now

    def forget(self, lanes: Iterable[str]) -> None:
        """Drop what belongs to partitions that another consumer reads from now on."""
        gone = set(lanes)
        self._records = deque(record for record in self._records if record.lane not in gone)

    def take(self, *, now: float, in_flight: Iterable[str] = ()) -> list[KafkaRecord]:
        """The next batch if one is due, else an empty list. Records of lanes in flight stay behind."""
        busy = set(in_flight)
        batch: list[KafkaRecord] = []
        size = 0
        full = False
        for record in self._records:
            if record.lane in busy:
                continue
            size += self._weight(record)
            if batch and size > self._room:
                full = True
                break
            batch.append(record)
            if len(batch) == self._settings.batch_size:
                full = True
                break
        window_over = now - self._window_start >= self._settings.window_s
        if not batch:
            if window_over:
                self._window_start = now  # an empty window ends without a batch, and the next one starts
            return []
        if not (full or window_over):
            return []
        taken = {id(record) for record in batch}
        self._records = deque(record for record in self._records if id(record) not in taken)
        self._window_start = now
        return batch

    @staticmethod
    def _weight(record: KafkaRecord) -> int:
        return len(record.encoded) + len(record.lane) + 6


@dataclass
class _Lane:
    topic: str
    partition: int
    open: deque[int] = field(default_factory=deque)
    done: set[int] = field(default_factory=set)
    position: int | None = None
    committed: int | None = None


class Ledger:
    """Which records of each partition have an outcome, and so how far it may be committed.

    An offset is committed once it and all before it are known to be delivered, given up on or filtered out: Lambda
    commits "offsets for matched and unmatched messages" alike ("Properly filtering Kafka messages").
    """

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}

    def read(self, record: KafkaRecord) -> None:
        """A record was read and has no outcome yet. Those of a partition must come in order."""
        lane = self._lanes.setdefault(record.lane, _Lane(record.topic, record.partition))
        if lane.open and record.offset <= lane.open[-1]:
            # The partition was made anew, or reading was set back: what was read before has no say any more.
            lane.open.clear()
            lane.done.clear()
        lane.open.append(record.offset)

    def settle(self, records: Iterable[KafkaRecord]) -> None:
        """The outcome of these records is known. Those that were forgotten meanwhile change nothing."""
        for record in records:
            if (lane := self._lanes.get(record.lane)) is None or not lane.open:
                continue
            if record.offset >= lane.open[0]:
                lane.done.add(record.offset)
            while lane.open and lane.open[0] in lane.done:
                lane.position = lane.open.popleft() + 1
                lane.done.discard(lane.position - 1)

    def forget(self, lanes: Iterable[str]) -> None:
        """Another consumer reads these partitions from now on."""
        for lane in lanes:
            self._lanes.pop(lane, None)

    def to_commit(self) -> dict[str, tuple[str, int, int]]:
        """By lane: topic, partition and the offset to go on from, where that has moved since `committed`."""
        return {
            name: (lane.topic, lane.partition, lane.position)
            for name, lane in self._lanes.items()
            if lane.position is not None and lane.position != lane.committed
        }

    def committed(self, positions: Mapping[str, tuple[str, int, int]]) -> None:
        """These positions are committed."""
        for name, (_, _, offset) in positions.items():
            if name in self._lanes:
                self._lanes[name].committed = offset


def oversized(source: EventSource, records: Sequence[KafkaRecord]) -> bool:
    """True for a batch that no invocation can carry: one record whose event is over the payload limit."""
    return len(render_event(source, records)) > PAYLOAD_LIMIT


# --- invocations and their outcomes -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Succeeded:
    """The function returned; `payload` is its JSON answer."""

    payload: bytes = b"null"
    request_id: str = ""


@dataclass(frozen=True)
class Failed:
    """The function ran and failed: it raised, timed out or was killed."""

    reason: str
    request_id: str = ""
    function_error: str = "Unhandled"
    executed_version: str = "$LATEST"


@dataclass(frozen=True)
class NotReached:
    """Throttled, or the service or the network failed: the function never ran."""

    reason: str


InvocationResult = Succeeded | Failed | NotReached
Invoke = Callable[[str], InvocationResult]


class MalformedResponseError(ValueError):
    """The function's answer cannot be read as a partial batch response, or names a record it was not given."""


def failed_items(payload: bytes, records: Sequence[KafkaRecord]) -> set[tuple[str, int]]:
    """The (lane, offset) pairs that a function handed back ("Implementing partial batch responses": Kafka).

    An empty answer, null, or an empty or absent list means that all went well. Raises MalformedResponseError where
    an identifier is not in the event, which makes the whole batch a failure. Chosen: an answer that is not JSON or
    not an object is a failure too, as for other streams.
    """
    if not payload.strip():
        return set()
    try:
        answer = json.loads(payload)
    except ValueError:
        raise MalformedResponseError("the function's answer is not JSON") from None
    if answer is None:
        return set()
    if not isinstance(answer, dict):
        raise MalformedResponseError("the function's answer is not an object")
    listed = answer.get("batchItemFailures")
    if listed is None:
        return set()
    if not isinstance(listed, list):
        raise MalformedResponseError("batchItemFailures is not a list")
    given = {(record.lane, record.offset) for record in records}
    failed = set()
    for entry in listed:
        item = entry.get("itemIdentifier") if isinstance(entry, dict) else None
        partition = item.get("partition") if isinstance(item, dict) else None
        offset = item.get("offset") if isinstance(item, dict) else None
        if not isinstance(partition, str) or type(offset) is not int or (partition, offset) not in given:
            raise MalformedResponseError(f"{json.dumps(entry)} is not in the event")
        failed.add((partition, offset))
    return failed


@dataclass(frozen=True)
class Discarded:
    """Records that the mapping gave up on, and why: what an on-failure destination is told."""

    records: tuple[KafkaRecord, ...]
    condition: str
    invocations: int
    last_failure: Failed | None = None


RETRIES_EXHAUSTED = "RetryAttemptsExhausted"
PAYLOAD_EXCEEDED = "MaximumPayloadSizeExceeded"
AGE_EXCEEDED = "RecordAgeExceeded"
"""The word of the other stream sources; for Kafka the guide names none."""


@dataclass
class Tally:
    """What became of a batch: `delivered + discarded` is the number of its records."""

    delivered: int = 0
    discarded: int = 0
    invocations: int = 0
    failures: int = 0
    not_reached: int = 0


@dataclass
class _Part:
    """A piece of a batch that goes through invocations of its own."""

    records: list[KafkaRecord]
    retries: int = 0
    invocations: int = 0
    last_failure: Failed | None = None


def backoff(failures: int, spread: Callable[[], float] = random.random) -> float:
    """Seconds before the next attempt: doubling from 0.1 to 10, each shortened by up to half at random.

    Chosen: the guide says only that retries back off exponentially.
    """
    longest = min(10.0, 0.1 * 2.0 ** min(failures, 10))
    return longest * (1 - spread() / 2)


@dataclass
class Delivery:
    """Brings batches to the function until the outcome of every record is known.

    `wait` sleeps, and raises to give up when the poller stops: nothing of that batch is committed then, and it is
    read again. `on_failure` keeps or drops what is given up on and must not return before that is certain.
    """

    settings: MappingSettings
    source: EventSource
    invoke: Invoke
    on_failure: Callable[[Discarded], None]
    now_ms: Callable[[], int]
    wait: Callable[[float], None]
    log: Callable[[str], None] = lambda _: None
    pause: Callable[[int], float] = backoff

    def deliver(self, records: Sequence[KafkaRecord]) -> Tally:
        """Send a batch; returns once each record was taken by the function or given up on.

        On-demand mode: a failed batch is sent again as a whole until it succeeds, and whatever the function returns
        counts as success ("Processing messages": MSK). Provisioned mode: only the records that the function lists
        are sent again; a batch that failed as a whole is split in two where bisecting is on, which uses up no retry;
        records over the age limit and batches out of retries go to the on-failure destination. Throttles and service
        errors use up no retries ("How event source mappings retry").
        Chosen: pieces of a batch go one after the other, so that the order in a partition is kept.
        """
        tally = Tally()
        pending = deque([_Part(list(records))])
        while pending:
            part = self._without_expired(pending.popleft(), tally)
            if not part.records:
                continue
            if len(part.records) == 1 and oversized(self.source, part.records):
                self._discard(part, PAYLOAD_EXCEEDED, tally)
                continue
            outcome = self._attempt(part, tally)
            failed, whole, failure = self._judge(outcome, part.records)
            tally.delivered += len(part.records) - len(failed)
            if not failed:
                continue
            part.last_failure = failure
            tally.failures += 1
            self._say(failed, failure)
            if whole and self.settings.bisect and len(failed) > 1:
                middle = len(failed) // 2
                for half in (failed[middle:], failed[:middle]):
                    pending.appendleft(_Part(half, part.retries, part.invocations, failure))
                self.wait(self.pause(part.retries))
                continue
            part.records = failed
            if part.retries == self.settings.retry_limit:
                self._discard(part, RETRIES_EXHAUSTED, tally)
                continue
            self.wait(self.pause(part.retries))
            part.retries += 1
            pending.appendleft(part)
        return tally

    def _attempt(self, part: _Part, tally: Tally) -> Succeeded | Failed:
        event = render_event(self.source, part.records)
        unreached = 0
        while True:
            outcome = self.invoke(event)
            if not isinstance(outcome, NotReached):
                tally.invocations += 1
                part.invocations += 1
                return outcome
            tally.not_reached += 1
            self.log(
                f"{self.settings.function_name} was not reached and will be tried again: {outcome.reason}"
            )
            self.wait(self.pause(unreached))
            unreached += 1

    def _judge(
        self, outcome: Succeeded | Failed, records: list[KafkaRecord]
    ) -> tuple[list[KafkaRecord], bool, Failed | None]:
        """The records that failed, whether that is the batch as a whole, and the function's error if it had one."""
        if isinstance(outcome, Failed):
            return records, True, outcome
        if not self.settings.report_batch_item_failures:
            return [], False, None
        try:
            listed = failed_items(outcome.payload, records)
        except MalformedResponseError as error:
            return records, True, Failed(str(error), outcome.request_id)
        failed = [record for record in records if (record.lane, record.offset) in listed]
        return (
            failed,
            False,
            Failed("the function handed records back", outcome.request_id) if failed else None,
        )

    def _without_expired(self, part: _Part, tally: Tally) -> _Part:
        """Give up on records older than MaximumRecordAgeInSeconds, before the first attempt as before any other."""
        if self.settings.maximum_record_age_s == INFINITE:
            return part
        oldest = self.now_ms() - self.settings.maximum_record_age_s * 1000
        expired = [record for record in part.records if record.timestamp < oldest]
        if expired:
            self._discard(
                _Part(expired, part.retries, part.invocations, part.last_failure), AGE_EXCEEDED, tally
            )
            part.records = [record for record in part.records if record.timestamp >= oldest]
        return part

    def _discard(self, part: _Part, condition: str, tally: Tally) -> None:
        discarded = Discarded(tuple(part.records), condition, part.invocations, part.last_failure)
        self.log(f"gave up on {span(part.records)}: {condition} after {part.invocations} invocations")
        self.on_failure(discarded)
        tally.discarded += len(part.records)

    def _say(self, failed: Sequence[KafkaRecord], failure: Failed | None) -> None:
        reason = failure.reason if failure else ""
        self.log(f"{self.settings.function_name} failed {span(failed)}: {reason}")


def span(records: Sequence[KafkaRecord]) -> str:
    """Records in words: how many of which partitions and offsets."""
    lanes: dict[str, list[int]] = {}
    for record in records:
        lanes.setdefault(record.lane, []).append(record.offset)
    places = ", ".join(f"{lane}@{min(offsets)}..{max(offsets)}" for lane, offsets in lanes.items())
    return f"{len(records)} record{'' if len(records) == 1 else 's'} ({places})"


# --- on-failure destinations ------------------------------------------------------------------------------------


def failure_message(
    discarded: Discarded, settings: MappingSettings, source: EventSource, *, now: datetime, with_payload: bool
) -> str:
    """The JSON that a queue, an SNS topic or a bucket receives ("Capturing discarded batches": MSK).

    SQS and SNS get the metadata, S3 the whole event besides, as a string within the JSON.
    """
    records = discarded.records
    event = render_event(source, records)
    lanes: dict[str, list[KafkaRecord]] = {}
    for record in records:
        lanes.setdefault(record.lane, []).append(record)
    spans = {
        lane: {
            "firstRecordOffset": str(members[0].offset),
            "lastRecordOffset": str(members[-1].offset),
            "firstRecordTimestamp": _iso_ms(members[0].timestamp),
            "lastRecordTimestamp": _iso_ms(members[-1].timestamp),
        }
        for lane, members in lanes.items()
    }
    message = _failure(
        discarded,
        source,
        now=now,
        function_arn=settings.function_arn,
        condition=discarded.condition,
        batch_info={"batchSize": len(records), "payloadSize": len(event), "recordsInfo": spans},
    )
    if with_payload:
        message["payload"] = event
    return json.dumps(message)


def failure_record(
    discarded: Discarded,
    record: KafkaRecord,
    settings: MappingSettings,
    source: EventSource,
    *,
    now: datetime,
    with_payload: bool = True,
) -> str:
    """The JSON that a Kafka topic receives for one record ("Using a Kafka topic as an on-failure destination").

    One message a record, as in the guide's sample: `recordInfo` instead of `recordsInfo`, the event as an object, the
    function's ARN with its version, and "RetriesExhausted" where the other destinations say "RetryAttemptsExhausted".
    """
    event = render_event(source, [record])
    condition = discarded.condition
    message = _failure(
        discarded,
        source,
        now=now,
        function_arn=settings.qualified_function_arn,
        condition="RetriesExhausted" if condition == RETRIES_EXHAUSTED else condition,
        batch_info={
            "batchSize": 1,
            "payloadSize": len(event),
            "recordInfo": {"offset": str(record.offset), "timestamp": _iso_ms(record.timestamp)},
        },
    )
    if with_payload:
        message["payload"] = json.loads(event)
    return json.dumps(message)


def _failure(
    discarded: Discarded,
    source: EventSource,
    *,
    now: datetime,
    function_arn: str,
    condition: str,
    batch_info: Mapping[str, Any],
) -> dict[str, Any]:
    failure = discarded.last_failure
    return {
        "requestContext": {
            "requestId": failure.request_id if failure else "",
            "functionArn": function_arn,
            "condition": condition,
            "approximateInvokeCount": discarded.invocations,
        },
        "responseContext": {
            "statusCode": 200,
            "executedVersion": failure.executed_version,
            "functionError": failure.function_error,
        }
        if failure
        else None,
        "version": "1.0",
        "timestamp": _iso(now),
        "KafkaBatchInfo": {
            "eventSourceArn": source.event_source_arn,
            "bootstrapServers": source.bootstrap_servers,
            **batch_info,
        },
    }


def failure_object_key(discarded: Discarded, settings: MappingSettings, *, now: datetime, unique: str) -> str:
    """Where in the bucket a discarded batch goes.

    The guide gives this naming for Kinesis and DynamoDB, `aws/lambda/<mapping>/<shard>/<date>/<time>-<random>`, and none
    for Kafka. Chosen: the same, with the first record's `topic-partition` as the shard.
    """
    lane = discarded.records[0].lane if discarded.records else settings.topic
    return f"aws/lambda/{settings.uuid}/{lane}/{now:%Y/%m/%d}/{now:%Y-%m-%dT%H.%M.%S}-{unique}"


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _iso_ms(milliseconds: int) -> str:
    return _iso(datetime.fromtimestamp(milliseconds / 1000, tz=UTC))
