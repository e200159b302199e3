"""What the functions count, on its way from their output through CloudWatch to `/metrics`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from ras_local.servers.emf_to_cloudwatch import metric_data
from result_aggregator import metrics
from result_aggregator.domain.outcomes import OUTCOMES
from result_aggregator.metrics import METRICS
from result_aggregator.observability import EMF_NAMESPACE
from result_aggregator.store import metric_store as cloudwatch_module

from tests import prometheus, samples

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient

    from tests.handlers.conftest import Logs, Service

STATUS = "/internal/v1/batches/{batch_id}/status"
SPELLCHECK = "huleedu.essay.spellcheck.completed.v1"


@pytest.fixture
def cloudwatch(service: Service) -> CloudWatchClient:  # noqa: ARG001 - the client must be made inside the emulation
    return boto3.session.Session().client("cloudwatch")


def collect(logs: Logs, cloudwatch: CloudWatchClient) -> list[dict[str, Any]]:
    """Make metrics of what was printed, as CloudWatch does; the documents."""
    _, documents = logs.take()
    data = metric_data([json.dumps(document) for document in documents], EMF_NAMESPACE)
    for first in range(0, len(data), 500):
        cloudwatch.put_metric_data(Namespace=EMF_NAMESPACE, MetricData=data[first : first + 500])
    return documents


def scrape(service: Service) -> prometheus.Samples:
    # A fresh import each time: an instance keeps its answer for the minute.
    service.handlers.pop("query", None)
    answer = service.get("/metrics")
    assert answer["statusCode"] == 200
    return prometheus.samples(answer["body"])


@pytest.mark.slow
def test_counts_arrive(service: Service, logs: Logs, cloudwatch: CloudWatchClient) -> None:
    """Of all samples and a broken record: what became of each, of every call and request."""
    lines = samples.events()
    service.deliver(lines)
    broken = samples.record(SPELLCHECK, None, 1)
    broken["value"] = "bm8="
    service.invoke("ingest_essays", samples.msk_event([broken]))
    service.get(STATUS, batch_id="nobody")
    collect(logs, cloudwatch)

    found = scrape(service)

    assert prometheus.total(found, "ras_messages_processed_total") == len(lines) + 1
    outcomes = {one: prometheus.total(found, f"ras_records_{one}_total") for one in OUTCOMES}
    assert sum(outcomes.values()) == len(lines) + 1
    assert outcomes["rejected"] == prometheus.total(found, "ras_dlq_messages_sent_total") == 1
    assert prometheus.total(found, "ras_invalid_messages_total", topic=SPELLCHECK, error_type="not_json") == 1
    assert prometheus.total(found, "ras_api_requests_total", status_code="404") == 1
    assert prometheus.total(found, "ras_api_errors_total", error_type="batch_not_found") == 1
    assert prometheus.total(found, "ras_db_operations_total", operation="Query", status="success") == 1
    assert prometheus.total(found, "ras_db_operation_duration_seconds_count", operation="Query") == 1


def test_every_database_call_is_counted_and_timed(
    service: Service, logs: Logs, cloudwatch: CloudWatchClient, calls: list[str]
) -> None:
    """More than a line of values in one invocation, and failed conditions among them; no call more than without."""
    results = [
        {"batch_id": "b", "essay_id": f"e{number}", "status": "COMPLETED", "correction_count": 1}
        for number in range(150)
    ]
    lines = [samples.Line(SPELLCHECK, "k", samples.envelope(result)) for result in results]
    for _ in range(2):
        service.deliver(lines, size=150)
    collect(logs, cloudwatch)

    found = scrape(service)

    made = calls.count("UpdateItem")
    ended = {
        status: prometheus.total(found, "ras_db_operations_total", operation="UpdateItem", status=status)
        for status in ("success", "condition_failed", "error")
    }
    assert made >= 300
    assert ended["condition_failed"] >= 150
    assert (sum(ended.values()), ended["error"]) == (made, 0)
    assert prometheus.total(found, "ras_db_operation_duration_seconds_count", operation="UpdateItem") == made
    assert prometheus.total(found, "ras_db_operation_duration_seconds_sum", operation="UpdateItem") > 0


@pytest.mark.slow
def test_revalidations_are_the_caches_hits_and_misses(
    service: Service, logs: Logs, cloudwatch: CloudWatchClient
) -> None:
    """A 304 is a hit, another answer to who had one a miss, and a first question neither."""
    service.deliver(samples.events("guide"))
    batch_id = next(iter(samples.expected("guide")))
    etag = service.get(STATUS, batch_id=batch_id)["headers"]["ETag"]
    for given in (etag, etag, 'W/"other"'):
        service.get(STATUS, batch_id=batch_id, headers={"If-None-Match": given})
    collect(logs, cloudwatch)

    found = scrape(service)

    assert prometheus.total(found, "ras_cache_hits_total", endpoint="get_batch_status") == 2
    assert prometheus.total(found, "ras_cache_misses_total", endpoint="get_batch_status") == 1


def test_only_the_registrys_metrics_are_printed(
    service: Service, logs: Logs, cloudwatch: CloudWatchClient
) -> None:
    """With its labels and units, and in the namespace that is read back."""
    service.deliver(samples.events())
    service.get(STATUS, batch_id="nobody")
    for document in collect(logs, cloudwatch):
        for directive in document["_aws"]["CloudWatchMetrics"]:
            ((*dimensions,),) = directive["Dimensions"]
            assert directive["Namespace"] == EMF_NAMESPACE
            for printed in directive["Metrics"]:
                metric = METRICS[printed["Name"]]
                assert {*dimensions} == {*metric.labels, metrics.SERVICE_DIMENSION}
                assert printed["Unit"] == ("Count" if metric.kind is metrics.Kind.COUNTER else "Seconds")


def test_the_answer_may_be_kept_until_the_next(service: Service) -> None:
    """For a part of the minute, by the caller alone."""
    answer = service.get("/metrics", headers={"Accept": "*/*", "Accept-Encoding": "gzip"})

    kept, age = answer["headers"]["Cache-Control"].split("=")
    assert (kept, int(age) in range(1, 61)) == ("private, max-age", True)
    assert answer["headers"]["Content-Encoding"] == "gzip"
    assert "ETag" not in answer["headers"]


def test_cloudwatch_being_away_is_a_503(
    service: Service, logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Retry-After, and without a word of why; the other routes go on."""

    def fail(*_: Any, **__: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "secret"}}, "ListMetrics")

    monkeypatch.setattr(cloudwatch_module._client(), "get_paginator", fail)
    answer = service.get("/metrics")

    assert (answer["statusCode"], answer["body"]["code"]) == (503, "unavailable")
    assert int(answer["headers"]["Retry-After"]) > 0
    assert "AccessDenied" not in json.dumps(answer["body"])
    assert service.get("/healthz", caller=None)["statusCode"] == 200
    lines, _ = logs.take()
    assert any("AccessDenied" in str(line.get("reason")) for line in lines)


@pytest.mark.parametrize("caller", [None, "arn:aws:sts::123456789012:assumed-role/stranger/s"])
def test_strangers_get_no_metrics(service: Service, caller: str | None) -> None:
    """IAM, like the queries."""
    assert service.get("/metrics", caller=caller)["statusCode"] == 403


def test_metrics_take_no_parameters_and_only_get(service: Service) -> None:
    """Like every route."""
    assert service.get("/metrics", query={"name[]": ["ras_x"]})["statusCode"] == 400
    assert service.get("/metrics", method="POST")["statusCode"] == 405
