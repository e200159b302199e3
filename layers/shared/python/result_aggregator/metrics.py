"""Every metric of the service: its name, labels, type and help text, in the implementation guide's names.

The functions count only what is listed here (`observability`), and `GET /metrics` shows only what is listed here
(`prometheus`), so that a metric cannot be in one of them alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from result_aggregator.domain.outcomes import (
    APPLIED,
    DUPLICATE,
    HANDED_BACK,
    IGNORED,
    REJECTED,
    STALE,
)

SERVICE = "result-aggregator"
SERVICE_DIMENSION = "service"
"""Every metric has it in CloudWatch, always SERVICE; in Prometheus the scraper's `job` says as much."""


def namespace(stage: str) -> str:
    """The CloudWatch namespace of a stage: stages may share an account, and must not count each other's events."""
    return f"ResultAggregator/{stage}"


class Kind(StrEnum):
    """A metric's type, in Prometheus' words."""

    COUNTER = "counter"
    """how often; in CloudWatch the unit Count"""
    SUMMARY = "summary"
    """how long, as `_sum` and `_count`; in CloudWatch the unit Seconds. The guide has histograms: CloudWatch keeps a
    sum and a count of every metric, but no buckets that could be added up."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `labels` are its labels in Prometheus, and its dimensions besides the service in CloudWatch."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


class Series(NamedTuple):
    """A metric with the values of its labels, in the order of `Metric.labels`."""

    metric: Metric
    values: tuple[str, ...]


class Total(NamedTuple):
    """What a series has come to: the sum of its values and how many there were."""

    sum: float
    samples: float = 0


_FUNCTION = ("function",)

MESSAGES_PROCESSED = Metric(
    "ras_messages_processed_total",
    Kind.COUNTER,
    _FUNCTION,
    "Records that are done with: all that were received but those handed back.",
)
MESSAGE_PROCESSING_DURATION = Metric(
    "ras_message_processing_duration_seconds",
    Kind.SUMMARY,
    _FUNCTION,
    "Seconds that an ingest function took for one invocation, which is a batch of records.",
)
CONSUMER_ERRORS = Metric(
    "ras_consumer_errors_total",
    Kind.COUNTER,
    _FUNCTION,
    "Records that failed for a passing reason and are delivered again.",
)
RECORDS = {
    outcome: Metric(f"ras_records_{outcome}_total", Kind.COUNTER, _FUNCTION, f"Records {text}")
    for outcome, text in {
        APPLIED: "that changed the view.",
        DUPLICATE: "whose very event the view had already.",
        STALE: "older than what the view has.",
        IGNORED: "of a kind that the view does not use.",
        REJECTED: "that can never be applied: kept as dead letters.",
        HANDED_BACK: "that failed for a passing reason and are delivered again.",
    }.items()
}
"""By outcome (`domain.outcomes`). Together they are the records received."""
INVALID_MESSAGES = Metric(
    "ras_invalid_messages_total",
    Kind.COUNTER,
    ("topic", "error_type"),
    "Rejected records by topic and reason.",
)
DLQ_MESSAGES_SENT = Metric(
    "ras_dlq_messages_sent_total",
    Kind.COUNTER,
    _FUNCTION,
    "Rejected records written to the dead-letter bucket.",
)
BATCHES_AGGREGATED = Metric(
    "ras_batches_aggregated_total",
    Kind.COUNTER,
    _FUNCTION,
    "Batches that an invocation changed, each counted once an invocation.",
)
ESSAYS_AGGREGATED = Metric(
    "ras_essays_aggregated_total",
    Kind.COUNTER,
    ("phase",),
    "Essay results applied, by phase; a ranking counts each of its essays.",
)
RESULTS_WAITING = Metric(
    "ras_results_waiting_total",
    Kind.COUNTER,
    _FUNCTION,
    "Results that name no batch and that no batch claimed when they came; a phase of an essay counts once.",
)
RESULTS_CLAIMED = Metric(
    "ras_results_claimed_total",
    Kind.COUNTER,
    _FUNCTION,
    "Results that waited until a batch claimed their essay. Those that still wait are the difference.",
)
API_REQUESTS = Metric(
    "ras_api_requests_total",
    Kind.COUNTER,
    ("endpoint", "method", "status_code"),
    "API requests that reached the service, by endpoint and answer.",
)
API_REQUEST_DURATION = Metric(
    "ras_api_request_duration_seconds",
    Kind.SUMMARY,
    ("endpoint", "method"),
    "Seconds that the query function took for an API request.",
)
API_ERRORS = Metric(
    "ras_api_errors_total",
    Kind.COUNTER,
    ("endpoint", "error_type"),
    "API requests answered with an error, by its code.",
)
CACHE_HITS = Metric(
    "ras_cache_hits_total",
    Kind.COUNTER,
    ("endpoint",),
    "Requests with If-None-Match whose caller still had the right answer: 304, nothing sent.",
)
CACHE_MISSES = Metric(
    "ras_cache_misses_total",
    Kind.COUNTER,
    ("endpoint",),
    "Requests with If-None-Match whose answer had changed: 200.",
)
DB_OPERATIONS = Metric(
    "ras_db_operations_total",
    Kind.COUNTER,
    ("operation", "status"),
    "DynamoDB calls; condition_failed is no error, it is how a duplicate or an older event is found.",
)
DB_OPERATION_DURATION = Metric(
    "ras_db_operation_duration_seconds",
    Kind.SUMMARY,
    ("operation",),
    "Seconds that a DynamoDB call took, the SDK's own retry included.",
)
ORPHAN_BATCHES = Metric(
    "ras_orphan_batches_total",
    Kind.COUNTER,
    _FUNCTION,
    "Questions after a batch whose owner no event has named yet: answered with 404.",
)

METRICS = {
    metric.name: metric
    for metric in (
        MESSAGES_PROCESSED,
        MESSAGE_PROCESSING_DURATION,
        CONSUMER_ERRORS,
        *RECORDS.values(),
        INVALID_MESSAGES,
        DLQ_MESSAGES_SENT,
        BATCHES_AGGREGATED,
        ESSAYS_AGGREGATED,
        RESULTS_WAITING,
        RESULTS_CLAIMED,
        API_REQUESTS,
        API_REQUEST_DURATION,
        API_ERRORS,
        CACHE_HITS,
        CACHE_MISSES,
        DB_OPERATIONS,
        DB_OPERATION_DURATION,
        ORPHAN_BATCHES,
    )
}
"""By name, in the order in which they are shown."""
