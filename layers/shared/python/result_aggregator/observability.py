"""Logs, metrics and traces: one logger, the registry's metrics, tracing where the function has it switched on."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger

from result_aggregator import metrics
from result_aggregator.domain.events import EssayPhaseEnded, EssaysRanked, EssaysSummarized
from result_aggregator.domain.outcomes import APPLIED, HANDED_BACK, REJECTED
from result_aggregator.domain.phases import CJ_ASSESSMENT
from result_aggregator.emf import EmbeddedMetrics
from result_aggregator.names import ENV_METRICS_NAMESPACE, ENV_TRACE_DISABLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from result_aggregator.domain.events import AnyEvent
    from result_aggregator.domain.store_interface import StoreCall
    from result_aggregator.ingest import Report

    Handler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]

EMF_NAMESPACE = os.environ.get(ENV_METRICS_NAMESPACE) or metrics.namespace("undeployed")
"""Where this process's metrics go in CloudWatch; a deployed function's environment says (`metrics.namespace`)."""

logger = Logger(service=metrics.SERVICE)
_metrics = EmbeddedMetrics(EMF_NAMESPACE)


class Stopwatch:
    """Seconds since it was made, by a clock that only runs forwards."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._start = clock()

    def seconds(self) -> float:
        return self._clock() - self._start


def traced(handler: Handler) -> Handler:
    """The handler with a segment of its own in X-Ray's traces, where tracing is on (POWERTOOLS_TRACE_DISABLED).

    X-Ray's SDK is loaded there alone.
    """
    if os.environ.get(ENV_TRACE_DISABLED, "").lower() == "true" or "LAMBDA_TASK_ROOT" not in os.environ:
        return handler
    from aws_lambda_powertools import Tracer

    tracer = Tracer(service=metrics.SERVICE, auto_patch=False)
    capture: Callable[[Handler], Handler] = tracer.capture_lambda_handler(capture_response=False)
    return capture(handler)


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
        _metrics.add({"topic": topic, "error_type": reason}, {metrics.INVALID_MESSAGES: number})
    applied = [one for one in report.handled if one.outcome == APPLIED]
    for phase, number in _essays_by_phase(one.event for one in applied).items():
        _metrics.add({"phase": phase}, {metrics.ESSAYS_AGGREGATED: number})
    _metrics.add(
        {"function": function},
        {
            **{metrics.RECORDS[outcome]: number for outcome, number in counts.items()},
            metrics.MESSAGES_PROCESSED: received - counts[HANDED_BACK],
            metrics.CONSUMER_ERRORS: counts[HANDED_BACK],
            metrics.DLQ_MESSAGES_SENT: counts[REJECTED],
            metrics.BATCHES_AGGREGATED: len(set().union(*(one.batch_ids for one in applied))),
            metrics.MESSAGE_PROCESSING_DURATION: seconds,
        },
    )
    for metric, number in (
        (metrics.RESULTS_WAITING, report.waiting.began),
        (metrics.RESULTS_CLAIMED, report.waiting.ended),
    ):
        if number:
            _metrics.add({"function": function}, {metric: number})
    closing = {"function": function, "received": received, **counts, "seconds": round(seconds, 4)}
    logger.info("ingested", extra=closing)


def _essays_by_phase(events: Iterable[AnyEvent | None]) -> Counter[str]:
    found: Counter[str] = Counter()
    for event in events:
        if isinstance(event, EssayPhaseEnded):
            found[event.phase] += 1
        elif isinstance(event, EssaysRanked):
            found[CJ_ASSESSMENT.name] += len(event.entries)
        elif isinstance(event, EssaysSummarized):
            found[event.phase] += len(event.failed_ids)
    return found


def report_request(
    endpoint: str,
    method: str,
    status_code: int,
    error_code: str | None,
    seconds: float,
    *,
    revalidates: bool = False,
) -> None:
    """Count one API request, and its error if it is one. `revalidates`: its caller has an answer already."""
    _metrics.add({"endpoint": endpoint, "method": method}, {metrics.API_REQUEST_DURATION: seconds})
    _metrics.add(
        {"endpoint": endpoint, "method": method, "status_code": str(status_code)}, {metrics.API_REQUESTS: 1}
    )
    if error_code is not None:
        _metrics.add({"endpoint": endpoint, "error_type": error_code}, {metrics.API_ERRORS: 1})
    elif revalidates:
        _metrics.add(
            {"endpoint": endpoint}, {metrics.CACHE_HITS if status_code == 304 else metrics.CACHE_MISSES: 1}
        )


def report_store_calls(calls: Sequence[StoreCall]) -> None:
    """Count calls to the database and how long they took."""
    for (operation, status), number in Counter((call.operation, call.status) for call in calls).items():
        _metrics.add({"operation": operation, "status": status}, {metrics.DB_OPERATIONS: number})
    seconds: dict[str, list[float]] = {}
    for call in calls:
        seconds.setdefault(call.operation, []).append(round(call.seconds, 6))
    for operation, values in seconds.items():
        _metrics.add({"operation": operation}, {metrics.DB_OPERATION_DURATION: values})


def count_orphan() -> None:
    """A batch was asked for whose owner no event has named yet."""
    _metrics.add(
        {"function": os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "query")}, {metrics.ORPHAN_BATCHES: 1}
    )


def write_metrics() -> None:
    """Write what was counted, as the last thing of an invocation: together it takes fewer lines."""
    _metrics.write()
