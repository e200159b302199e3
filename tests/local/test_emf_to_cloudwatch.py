"""Making metrics of what functions print: each line once, whatever happens to who does it."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from ras_local.servers import emf_to_cloudwatch
from ras_local.servers.emf_to_cloudwatch import PUTS, Extractor, metric_data

if TYPE_CHECKING:
    from pathlib import Path

    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_logs import CloudWatchLogsClient

NAMESPACE = "ResultAggregator/test"
GROUPS = ("/aws/lambda/a", "/aws/lambda/b")
# Yesterday's, so that nothing is ahead of the clock: CloudWatch takes no log events that are older than two weeks.
NOON = (int(time.time()) // 86_400 * 86_400 - 43_200) * 1000


def document(
    value: float | list[float] = 1,
    *,
    at: int = NOON,
    name: str = "n",
    namespace: str = NAMESPACE,
    **labels: str,
) -> str:
    """A line in the embedded metric format."""
    directive = {
        "Namespace": namespace,
        "Dimensions": [[*labels]],
        "Metrics": [{"Name": name, "Unit": "Count"}],
    }
    return json.dumps({"_aws": {"Timestamp": at, "CloudWatchMetrics": [directive]}, **labels, name: value})


@dataclass
class Aws:
    """Logs and metrics, and an extractor that may be started again; `now` in milliseconds."""

    logs: CloudWatchLogsClient
    cloudwatch: CloudWatchClient
    position_file: Path
    now: int = NOON
    streams: int = 0

    def extractor(self) -> Extractor:
        return Extractor(
            self.logs, self.cloudwatch, GROUPS, NAMESPACE, self.position_file, NOON, lambda: self.now / 1000
        )

    def print(self, *lines: str, group: str = GROUPS[0]) -> None:
        """As an invocation does, now: in a stream of its own."""
        self.streams += 1
        stream = f"s{self.streams}"
        self.logs.create_log_stream(logGroupName=group, logStreamName=stream)
        self.logs.put_log_events(
            logGroupName=group,
            logStreamName=stream,
            logEvents=[{"timestamp": self.now, "message": line} for line in lines],
        )

    def steps(self, extractor: Extractor, number: int = 3) -> None:
        """Enough of them, a second apart, for what was printed before to be in."""
        for _ in range(number):
            self.now += 1001
            extractor.step()

    def sum(self, name: str = "n") -> float:
        found = self.cloudwatch.get_metric_statistics(
            Namespace=NAMESPACE,
            MetricName=name,
            Dimensions=[{"Name": "l", "Value": "x"}] if name != PUTS else [],
            StartTime=datetime.fromtimestamp(NOON / 1000 - 86_400, UTC),
            EndTime=datetime.fromtimestamp(NOON / 1000 + 86_400, UTC),
            Period=86_400 * 2,
            Statistics=["Sum"],
        )
        return sum(point["Sum"] for point in found["Datapoints"])


@pytest.fixture
def cloud(aws: None, tmp_path: Path) -> Aws:  # noqa: ARG001 - the clients must be made inside the emulation
    session = boto3.session.Session()
    made = Aws(session.client("logs"), session.client("cloudwatch"), tmp_path / "position.json")
    for group in GROUPS:
        made.logs.create_log_group(logGroupName=group)
    return made


def test_values_are_put_with_their_counts() -> None:
    """By metric, dimensions and minute; a list is as many values; the same values are one with a count."""
    documents = [
        document([1, 2, 2], l="x"),
        document(2, l="x", at=NOON + 59_999),
        document(7, l="y"),
        document(5, l="x", at=NOON + 60_000),
        document(9, l="x", namespace="other"),
    ]

    data: list[Any] = metric_data(documents, NAMESPACE)

    assert [
        (one["Timestamp"].timestamp() * 1000 - NOON, one["Dimensions"], one["Values"], one["Counts"])
        for one in data
    ] == [
        (0, [{"Name": "l", "Value": "x"}], [1, 2], [1, 3]),
        (0, [{"Name": "l", "Value": "y"}], [7], [1]),
        (60_000, [{"Name": "l", "Value": "x"}], [5], [1]),
    ]


def test_a_datum_takes_no_more_values_than_allowed() -> None:
    """150 different ones; the rest go into another."""
    data: list[Any] = metric_data(
        [document([*range(100)], l="x"), document([*range(50, 200)], l="x")], NAMESPACE
    )

    assert [len(one["Values"]) for one in data] == [150, 50]
    assert sum(sum(one["Counts"]) for one in data) == 250


@pytest.mark.parametrize(
    "line",
    [
        '"CloudWatchMetrics"',
        "CloudWatchMetrics {",
        "[]",
        '{"_aws": 1}',
        '{"_aws": {"CloudWatchMetrics": [{}]}}',
    ],
)
def test_other_lines_are_passed_over(line: str) -> None:
    """Whatever a function prints."""
    assert metric_data([line], NAMESPACE) == []


def test_each_line_counts_once(cloud: Aws) -> None:
    """Of both groups, over many steps and starts; what is not there yet comes later."""
    cloud.print("START", document(1, l="x"), '{"level": "INFO"}', document(2, l="x"))
    cloud.print(document(4, l="x"), group=GROUPS[1])
    cloud.steps(cloud.extractor())
    assert cloud.sum() == 7

    cloud.steps(cloud.extractor())
    assert cloud.sum() == 7

    extractor = cloud.extractor()
    cloud.print(document(8, l="x"))
    cloud.steps(extractor)
    cloud.print(document(16, l="x"))
    cloud.steps(extractor)
    assert cloud.sum() == 31


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("call", range(3))
def test_a_start_after_a_crash_goes_on_where_it_was(
    cloud: Aws, monkeypatch: pytest.MonkeyPatch, call: int, *, arrives: bool
) -> None:
    """Killed in any of three calls of PutMetricData, before it arrived or after: nothing is lost or doubled."""
    monkeypatch.setattr(emf_to_cloudwatch, "_DATA_AT_MOST", 2)
    cloud.print(*(document(1 + number, l="x", at=NOON + 60_000 * number) for number in range(6)))
    victim = cloud.extractor()
    real = cloud.cloudwatch.put_metric_data
    made: list[Any] = []

    def put(**arguments: Any) -> None:
        if len(made) == call:
            if arrives:
                real(**arguments)
            raise KeyboardInterrupt
        made.append(real(**arguments))

    with monkeypatch.context() as patched:
        patched.setattr(cloud.cloudwatch, "put_metric_data", put)
        with pytest.raises(KeyboardInterrupt):
            cloud.steps(victim)
    cloud.steps(cloud.extractor())

    assert cloud.sum() == 1 + 2 + 3 + 4 + 5 + 6
    assert cloud.sum(PUTS) == 3


def test_what_ran_before_the_stack_is_left_alone(cloud: Aws, tmp_path: Path) -> None:
    """An emulator may outlive a stack: the next one begins with what is printed after its start."""
    cloud.now = NOON - 60_000
    cloud.print(document(1, l="x"))
    cloud.now = NOON
    cloud.print(document(2, l="x"))
    cloud.steps(cloud.extractor())
    assert cloud.sum() == 2

    cloud.position_file = tmp_path / "another.json"
    later = Extractor(
        cloud.logs,
        cloud.cloudwatch,
        GROUPS,
        NAMESPACE,
        cloud.position_file,
        cloud.now,
        lambda: cloud.now / 1000,
    )
    cloud.print(document(4, l="x"))
    cloud.steps(later)
    assert cloud.sum() == 6


def test_a_call_that_failed_is_made_by_the_next_step(cloud: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same process goes on."""
    cloud.print(document(3, l="x"))
    extractor = cloud.extractor()

    def fail(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    with monkeypatch.context() as patched:
        patched.setattr(cloud.cloudwatch, "put_metric_data", fail)
        with pytest.raises(EndpointConnectionError):
            cloud.steps(extractor)
    cloud.steps(extractor)

    assert cloud.sum() == 3


def test_what_arrives_a_little_late_is_not_missed(cloud: Aws) -> None:
    """An invocation's lines carry a time from before they are stored: of before a pause of the emulator, at worst."""
    extractor = cloud.extractor()
    cloud.steps(extractor)
    before = cloud.now
    cloud.now += 60_000  # the emulator stood still, and the question of this step waited with it
    extractor.step()
    cloud.now, after = before + 1, cloud.now
    cloud.print(document(3, l="x", at=before + 1))
    cloud.now = after
    cloud.steps(extractor)

    assert cloud.sum() == 3


def test_more_lines_than_an_answer_holds(cloud: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer are asked for then, by halving the time."""
    monkeypatch.setattr(emf_to_cloudwatch, "_EVENTS_AT_MOST", 10)
    for _ in range(8):
        for group in GROUPS:
            cloud.print(*[document(1, l="x")] * 6, group=group)
        cloud.now += 10
    cloud.steps(cloud.extractor())

    assert cloud.sum() == 8 * 2 * 6
