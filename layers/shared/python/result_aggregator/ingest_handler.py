"""The Lambda function of ingest: one invocation of an MSK event source mapping. The three ingest functions share it."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from result_aggregator import msk_event, replay_headers, settings
from result_aggregator.deadline import Deadline
from result_aggregator.domain.outcomes import REJECTED
from result_aggregator.ingest import ingest
from result_aggregator.names import ENV_DEAD_LETTER_BUCKET, ENV_PARTIAL_BATCH_RESPONSE, ENV_TABLE_NAME
from result_aggregator.observability import Stopwatch, report_ingest, report_store_calls, write_metrics
from result_aggregator.store.call_log import calls
from result_aggregator.store.dead_letters import DeadLetterStore
from result_aggregator.store.view_store import ViewStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from result_aggregator.domain.store_interface import WritableView
    from result_aggregator.ingest import Report

_TABLES_AT_MOST = 2


class HandedBackError(RuntimeError):
    """Records could not be handled now, and the mapping takes no partial batch response: the batch must come again."""


@cache
def _stores() -> tuple[Sequence[WritableView], DeadLetterStore]:
    function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")  # Lambda's own; absent elsewhere
    return _views(), DeadLetterStore(settings.text(ENV_DEAD_LETTER_BUCKET), function=function)


def _views() -> Sequence[WritableView]:
    """The view's table; while it is rebuilt TABLE_NAME names two, the one of the newer generation first."""
    names = settings.names(ENV_TABLE_NAME)
    if len(names) > _TABLES_AT_MOST:
        raise settings.SettingsError(
            f"environment variable {ENV_TABLE_NAME} names {len(names)} tables, at most {_TABLES_AT_MOST}"
        )
    return [ViewStore(name) for name in names]


def handle(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Ingest the records of an event.

    Returns a partial batch response where PARTIAL_BATCH_RESPONSE says that the mapping honours it. Elsewhere a
    returned list would be taken for success and its records lost, so there it raises HandedBackError.
    A replay (`replay_headers.EVENT_SOURCE`) has no mapping behind it: it is told what became of each record.
    """
    watch = Stopwatch()
    views, dead_letters = _stores()
    deadline = Deadline.of_function(context.get_remaining_time_in_millis())
    report = ingest(msk_event.records_of(event), views, dead_letters, deadline)
    report_ingest(report, context.function_name, watch.seconds())
    report_store_calls(calls.take())
    write_metrics()
    failed = report.handed_back()
    if event.get("eventSource") == replay_headers.EVENT_SOURCE:
        return {**msk_event.partial_batch_response(failed), "outcomes": _outcomes(report)}
    if failed and not settings.flag(ENV_PARTIAL_BATCH_RESPONSE):
        raise HandedBackError(f"{len(failed)} of {len(report.handled)} records could not be handled now")
    return msk_event.partial_batch_response(failed)


def _outcomes(report: Report) -> list[dict[str, Any]]:
    """Every record's place in the event, its outcome (`domain.outcomes`) and the reason of those that have one."""
    return [
        {
            "partition": one.record.source,
            "offset": one.record.offset,
            "outcome": one.outcome,
            "reason": str(one.rejection) if one.outcome == REJECTED else one.reason,
        }
        for one in report.handled
    ]
