"""Answers the private API."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from result_aggregator import settings, snapstart
from result_aggregator.api import Api
from result_aggregator.names import ENV_COMPRESS_ANSWERS, ENV_TABLE_NAME
from result_aggregator.observability import EMF_NAMESPACE, logger, report_store_calls, traced, write_metrics
from result_aggregator.prometheus import Exposition
from result_aggregator.store import aws
from result_aggregator.store.call_log import calls
from result_aggregator.store.view_store import ViewStore

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _api() -> Api:
    return Api(
        store=ViewStore(settings.text(ENV_TABLE_NAME)),
        allowed_callers=settings.callers(),
        default_pipeline=settings.pipeline(),
        metrics=_metrics,
        compress=settings.flag(ENV_COMPRESS_ANSWERS),
    )


@cache
def _metrics() -> Exposition:
    # Here, because every other route starts without CloudWatch's client.
    from result_aggregator.store.metric_store import MetricStore

    return Exposition(MetricStore(EMF_NAMESPACE))


def _start() -> None:
    _api()
    # A copy's credentials come from an endpoint that the SDK knows: its import belongs into the snapshot.
    aws.session()


if snapstart.is_taken():
    snapstart.prepare(_start)


@logger.inject_lambda_context(clear_state=True)
@traced
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001 - Lambda passes both
    answer = _api().answer(event)
    report_store_calls(calls.take())
    write_metrics()
    return answer
