"""Logs, metrics and traces: one logger, the guide's metric names, tracing where the function has it switched on."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit

from result_aggregator.domain.events import EssayPhaseEnded, EssaysRanked
from result_aggregator.domain.outcomes import APPLIED, HANDED_BACK, REJECTED
from result_aggregator.domain.phases import CJ_ASSESSMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from result_aggregator.domain.events import AnyEvent
    from result_aggregator.ingest import Report

SERVICE = "result-aggregator"
NAMESPACE = "ResultAggregator"

logger = Logger(service=SERVICE)
metrics = Metrics(service=SERVICE, namespace=NAMESPACE)
tracer = Tracer(service=SERVICE, auto_patch=False)


class Stopwatch:
    """Seconds since it was made, by a clock that only runs forwards."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._start = clock()

    def seconds(self) -> float:
        return self._clock() - self._start


def report_ingest(report: Report, function: str, seconds: float) -> None:
    """Close an invocation: one log line and its metrics, whose counts add up to the records received."""
    counts = report.counts()
    received = len(report.handled)
    for one in report.handled:
        if one.outcome in (REJECTED, HANDED_BACK):
            record = one.record
            logger.warning(
                f"record {one.outcome.replace('_', ' ')}",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                reason=str(one.rejection) if one.outcome == REJECTED else one.reason,
            )
    invalid = Counter((one.record.topic, one.reason) for one in report.handled if one.outcome == REJECTED)
    for (topic, reason), number in invalid.items():
        _emit({"topic": topic, "error_type": reason}, {"ras_invalid_messages_total": number})
    applied = [one.event for one in report.handled if one.outcome == APPLIED]
    for phase, number in _essays_by_phase(applied).items():
        _emit({"phase": phase}, {"ras_essays_aggregated_total": number})
    _emit(
        {"function": function},
        {
            **{f"ras_records_{outcome}_total": number for outcome, number in counts.items()},
            "ras_messages_processed_total": received - counts[HANDED_BACK],
            "ras_consumer_errors_total": counts[HANDED_BACK],
            "ras_dlq_messages_sent_total": counts[REJECTED],
            "ras_batches_aggregated_total": len({event.batch_id for event in applied if event}),
        },
        {"ras_message_processing_duration_seconds": seconds},
    )
    closing = {"function": function, "received": received, **counts, "seconds": round(seconds, 4)}
    logger.info("ingested", extra=closing)


def _essays_by_phase(events: Iterable[AnyEvent | None]) -> Counter[str]:
    found: Counter[str] = Counter()
    for event in events:
        if isinstance(event, EssayPhaseEnded):
            found[event.phase] += 1
        elif isinstance(event, EssaysRanked):
            found[CJ_ASSESSMENT.name] += len(event.entries)
    return found


def report_request(
    endpoint: str, method: str, status_code: int, error_code: str | None, seconds: float
) -> None:
    """Count one API request, and its error if it is one."""
    _emit({"endpoint": endpoint, "method": method}, {}, {"ras_api_request_duration_seconds": seconds})
    _emit(
        {"endpoint": endpoint, "method": method, "status_code": str(status_code)},
        {"ras_api_requests_total": 1},
    )
    if error_code is not None:
        _emit({"endpoint": endpoint, "error_type": error_code}, {"ras_api_errors_total": 1})


def count_orphan() -> None:
    """A batch was asked for whose owner no event has named yet."""
    # The function's name tells stages apart that share an account.
    _emit({"function": os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "query")}, {"ras_orphan_batches_total": 1})


def _emit(
    dimensions: dict[str, str], counts: dict[str, int], durations: dict[str, float] | None = None
) -> None:
    """Write one EMF line. Dimensions hold for a line as a whole, so other dimensions mean another line."""
    for name, value in dimensions.items():
        metrics.add_dimension(name, value)
    for name, number in counts.items():
        metrics.add_metric(name, MetricUnit.Count, number)
    for name, seconds in (durations or {}).items():
        metrics.add_metric(name, MetricUnit.Seconds, seconds)
    metrics.flush_metrics()
