"""The local event source mapping on a running stack: a function that fails, until it does not.

Each test has a function, a topic and a mapping of its own, so the deployed mappings are left alone; the function runs
in the emulator with the role of a deployed one, so its rights are those that the templates give.
"""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its stubs forget it
from ras.aws import ROOT_KEY, ROOT_SECRET
from ras.kafka import lag
from ras.kafka.client import quiet_client
from ras.kafka.publish import Event, publish
from ras_local.capabilities import Lack
from ras_local.mapping import AwsAccess, Gate, MappingSettings, RunningMapping
from ras_local.mapping.destinations import OnFailure
from ras_local.mapping.events import EventSource
from ras_local.mapping.invoke import invoke
from ras_local.mapping.roles import ExecutionRoles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ras.stack_file import Stack
    from ras_local.mapping import InvocationResult

pytestmark = pytest.mark.e2e

CLUSTER = "arn:aws:kafka:eu-north-1:000000000000:cluster/ras-local/1"
FAILS = "def handler(event, context):\n    raise ValueError('not today')\n"
COUNTS = "def handler(event, context):\n    return {'seen': sum(map(len, event['records'].values()))}\n"


@dataclass
class ThrowAway:
    """A function and a topic of a test's own, and mappings between them."""

    running: Stack
    name: str = field(default_factory=lambda: f"throw-away-{uuid.uuid4().hex[:8]}")
    given: list[list[int]] = field(default_factory=list)
    mappings: list[RunningMapping] = field(default_factory=list)

    def __post_init__(self) -> None:
        functions = self.running.cloud.functions
        deployed = functions.get_function_configuration(FunctionName="ras-local-ingest-essays")
        self.arn = functions.create_function(
            FunctionName=self.name,
            Role=deployed["Role"],
            Runtime=deployed["Runtime"],
            Handler="handler.handler",
            Timeout=30,
            Code={"ZipFile": _zipped(FAILS)},
        )["FunctionArn"]
        functions.get_waiter("function_active_v2").wait(FunctionName=self.name)
        admin = AdminClient(quiet_client(self.running.bootstrap_servers))
        try:
            admin.create_topics([NewTopic(self.name, 2, 1)])[self.name].result(20)
        except KafkaException:
            admin.list_topics(
                self.name, timeout=10
            )  # the embedded broker makes a topic when it is asked about it

    @cached_property
    def _aws(self) -> AwsAccess:
        return AwsAccess(self.running.endpoint_url, self.running.region, ROOT_KEY, ROOT_SECRET)

    def become(self, code: str) -> None:
        functions = self.running.cloud.functions
        functions.update_function_code(FunctionName=self.name, ZipFile=_zipped(code))
        functions.get_waiter("function_updated_v2").wait(FunctionName=self.name)

    def map(self, **settings: Any) -> RunningMapping:
        made = MappingSettings(
            self.name, self.name, self.arn, CLUSTER, f"group-{self.name}", window_s=0.1, **settings
        )
        source = EventSource(CLUSTER, self.running.bootstrap_servers)
        mapping = RunningMapping(
            made,
            self.running.bootstrap_servers,
            invoke=self._invoke,
            destination=OnFailure(ExecutionRoles(self._aws, grant_trust=True), made, source),
            gate=Gate(2),
        )
        self.mappings.append(mapping)
        mapping.start()
        return mapping

    def _invoke(self, event: str) -> InvocationResult:
        records = json.loads(event)["records"].values()
        self.given.append([entry["offset"] for lane in records for entry in lane])
        return invoke(self._aws.functions, self.arn, event)

    def publish(self, *values: bytes) -> None:
        events = [Event(self.name, value, b"one-key", partition=0) for value in values]
        publish(self.running.bootstrap_servers, events)

    @property
    def lag(self) -> int:
        return lag.progress(self.running.bootstrap_servers, {self.name: f"group-{self.name}"})[self.name].lag

    @property
    def letters(self) -> dict[str, dict[str, Any]]:
        """What the mapping put into the dead-letter bucket, by key."""
        s3, bucket = self.running.cloud.s3, self.running.dead_letter_bucket
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"aws/lambda/{self.name}/").get("Contents", [])
        return {
            one["Key"]: json.loads(s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read())
            for one in listed
        }

    def remove(self) -> None:
        for mapping in self.mappings:
            mapping.stop()
        for mapping in self.mappings:
            mapping.join(20)
        for key in self.letters:
            self.running.cloud.s3.delete_object(Bucket=self.running.dead_letter_bucket, Key=key)
        self.running.cloud.functions.delete_function(FunctionName=self.name)


def _zipped(code: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("handler.py", code)
    return buffer.getvalue()


@pytest.fixture
def throw_away(running: Stack) -> Iterator[ThrowAway]:
    made = ThrowAway(running)
    yield made
    made.remove()


def until(condition: Callable[[], bool], what: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.1)


def test_what_a_function_never_takes_is_kept_and_can_be_given_to_it_again(throw_away: ThrowAway) -> None:
    """AWS Lambda developer guide, capturing discarded batches: S3 gets the metadata and the whole event.

    The bucket is the deployed one, and the keys are those of a deployed function's role.
    """
    bucket = throw_away.running.dead_letter_bucket
    mapping = throw_away.map(
        provisioned=True, maximum_retry_attempts=1, on_failure_arn=f"arn:aws:s3:::{bucket}"
    )
    throw_away.publish(b'{"n": 1}', b'{"n": 2}')
    until(lambda: throw_away.lag == 0, "given up on, kept, and committed")
    letters = throw_away.letters
    seen = 0
    throw_away.become(COUNTS)
    for key, letter in letters.items():
        assert letter["requestContext"]["condition"] == "RetryAttemptsExhausted"
        assert letter["requestContext"]["functionArn"] == throw_away.arn
        assert letter["requestContext"]["approximateInvokeCount"] == 2
        assert letter["responseContext"]["functionError"] == "Unhandled"
        assert letter["KafkaBatchInfo"]["eventSourceArn"] == CLUSTER
        assert letter["KafkaBatchInfo"]["payloadSize"] == len(letter["payload"])
        assert list(letter["KafkaBatchInfo"]["recordsInfo"]) == [f"{throw_away.name}-0"]
        assert key.startswith(f"aws/lambda/{throw_away.name}/{throw_away.name}-0/")
        again = throw_away.running.cloud.functions.invoke(
            FunctionName=throw_away.name, Payload=letter["payload"].encode()
        )
        assert "FunctionError" not in again
        seen += json.loads(again["Payload"].read())["seen"]

    assert seen == mapping.counters.discarded == 2
    assert mapping.counters.destination_failures == 0


def test_on_demand_a_failing_function_holds_its_partition(throw_away: ThrowAway) -> None:
    """AWS Lambda developer guide, processing messages (MSK): on demand, the batch is sent until it succeeds."""
    mapping = throw_away.map(batch_size=2)
    throw_away.publish(b"1", b"2", b"3", b"4", b"5")
    until(lambda: len(throw_away.given) >= 4, "several attempts")

    assert all(offsets == throw_away.given[0] for offsets in throw_away.given)
    assert throw_away.given[0][0] == 0
    assert throw_away.lag == 5

    throw_away.become(COUNTS)
    until(lambda: throw_away.lag == 0, "the function takes them now")

    assert mapping.counters.delivered == 5
    assert sorted({offset for offsets in throw_away.given for offset in offsets}) == [0, 1, 2, 3, 4]


@pytest.mark.needs(Lack.POLICIES)
def test_a_destination_without_rights_holds_the_batch(throw_away: ThrowAway) -> None:
    """The role may write to the dead-letter bucket alone: elsewhere nothing is lost, and the status says why."""
    bucket = f"elsewhere-{throw_away.name}"
    location: Any = {"LocationConstraint": throw_away.running.region}
    throw_away.running.cloud.s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=location)
    mapping = throw_away.map(
        provisioned=True, maximum_retry_attempts=0, on_failure_arn=f"arn:aws:s3:::{bucket}"
    )
    throw_away.publish(b"1")
    until(lambda: mapping.counters.destination_failures >= 2, "tried and tried again")

    assert throw_away.lag == 1
    assert bucket in str(mapping.status()["problem"])

    throw_away.running.cloud.s3.delete_bucket(Bucket=bucket)
