"""The metrics read back from CloudWatch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber
from result_aggregator import metrics
from result_aggregator.domain.store_interface import UnavailableError
from result_aggregator.metrics import Series, Total
from result_aggregator.store.metric_store import MetricStore

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

NAMESPACE = metrics.namespace("test")
APPLIED = metrics.RECORDS["applied"]
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
START, END = TODAY - timedelta(days=20), TODAY + timedelta(days=1)


LISTED = {
    "MetricName": metrics.ORPHAN_BATCHES.name,
    "Dimensions": [
        {"Name": "function", "Value": "f"},
        {"Name": metrics.SERVICE_DIMENSION, "Value": metrics.SERVICE},
    ],
}
"""A series as ListMetrics tells it."""


@pytest.fixture
def dynamodb_url() -> None:
    """No table is needed: once is enough."""


@pytest.fixture
def cloudwatch(aws: None) -> CloudWatchClient:  # noqa: ARG001 - the client must be made inside the emulation
    return boto3.session.Session().client("cloudwatch")


def put(
    cloudwatch: CloudWatchClient,
    name: str,
    value: float,
    *,
    when: datetime = TODAY,
    namespace: str = NAMESPACE,
    service: str = metrics.SERVICE,
    **labels: str,
) -> None:
    dimensions = {**labels, metrics.SERVICE_DIMENSION: service}
    datum: Any = {
        "MetricName": name,
        "Timestamp": when,
        "Value": value,
        "Dimensions": [{"Name": key, "Value": text} for key, text in dimensions.items()],
    }
    cloudwatch.put_metric_data(Namespace=namespace, MetricData=[datum])


def test_counts_of_all_days_and_instances_are_summed(cloudwatch: CloudWatchClient) -> None:
    """From the first moment asked for to the last, and no other."""
    for when, value in (
        (START - timedelta(seconds=61), 1000),
        (START, 1),
        (TODAY - timedelta(days=3), 2),
        (TODAY - timedelta(days=3), 4),
        (TODAY + timedelta(hours=1), 8),
        (END, 1000),
    ):
        put(cloudwatch, APPLIED.name, value, when=when, function="a")
    put(cloudwatch, APPLIED.name, 16, function="b")

    assert MetricStore(NAMESPACE, cloudwatch).totals(START, END) == {
        Series(APPLIED, ("a",)): Total(15),
        Series(APPLIED, ("b",)): Total(16),
    }


def test_durations_come_with_how_many_they_were(cloudwatch: CloudWatchClient) -> None:
    """Sum and number of values."""
    for value in (0.25, 0.5, 4):
        put(cloudwatch, metrics.DB_OPERATION_DURATION.name, value, operation="Query")

    (total,) = MetricStore(NAMESPACE, cloudwatch).totals(START, END).values()

    assert total == Total(4.75, 3)


def test_only_the_registrys_metrics_are_read(cloudwatch: CloudWatchClient) -> None:
    """Not another stage's, another service's, an unknown name or a metric with other labels than it has now."""
    put(cloudwatch, APPLIED.name, 1, namespace=metrics.namespace("other"), function="a")
    put(cloudwatch, APPLIED.name, 1, service="other", function="a")
    put(cloudwatch, "ras_unknown_total", 1, function="a")
    put(cloudwatch, APPLIED.name, 1, function="a", more="b")
    put(cloudwatch, APPLIED.name, 1)

    assert MetricStore(NAMESPACE, cloudwatch).totals(START, END) == {}


def test_more_series_than_one_call_takes(cloudwatch: CloudWatchClient) -> None:
    """500 queries a call: what is beyond is asked for in another, not left out."""
    asked: list[int] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        asked.append(len(params["MetricDataQueries"]))

    cloudwatch.meta.events.register("before-parameter-build.cloudwatch.GetMetricData", note)
    for number in range(251):
        put(cloudwatch, metrics.DB_OPERATION_DURATION.name, number, operation=f"o{number}")

    found = MetricStore(NAMESPACE, cloudwatch).totals(START, END)

    assert asked == [500, 2]
    assert {series.values[0]: total for series, total in found.items()} == {
        f"o{number}": Total(number, 1) for number in range(251)
    }


@pytest.mark.parametrize("code", ["InternalError", "Forbidden"])
def test_an_incomplete_answer_is_none(cloudwatch: CloudWatchClient, code: str) -> None:
    """A counter that is short of something would step down."""
    with Stubber(cloudwatch) as stub:
        stub.add_response("list_metrics", {"Metrics": [LISTED]})
        stub.add_response(
            "get_metric_data", {"MetricDataResults": [{"Id": "q0", "StatusCode": code, "Values": [1.0]}]}
        )
        with pytest.raises(UnavailableError, match=code):
            MetricStore(NAMESPACE, cloudwatch).totals(START, END)


def test_pages_are_put_together(cloudwatch: CloudWatchClient) -> None:
    """Partial data of a page go on on the next one."""
    with Stubber(cloudwatch) as stub:
        stub.add_response("list_metrics", {"Metrics": [], "NextToken": "a"})
        stub.add_response("list_metrics", {"Metrics": [LISTED]})
        pages: list[tuple[str, float, dict[str, str]]] = [
            ("PartialData", 1.0, {"NextToken": "b"}),
            ("Complete", 2.0, {}),
        ]
        for code, value, more in pages:
            result = {"Id": "q0", "StatusCode": code, "Values": [value]}
            stub.add_response("get_metric_data", {"MetricDataResults": [result], **more})

        found = MetricStore(NAMESPACE, cloudwatch).totals(START, END)

    assert found == {Series(metrics.ORPHAN_BATCHES, ("f",)): Total(3)}


def test_failures_are_the_stores(cloudwatch: CloudWatchClient) -> None:
    """Whatever CloudWatch says."""
    with Stubber(cloudwatch) as stub:
        stub.add_client_error("list_metrics", "Throttling")
        with pytest.raises(UnavailableError, match="Throttling"):
            MetricStore(NAMESPACE, cloudwatch).totals(START, END)
