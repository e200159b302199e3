"""Answers the private API."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from result_aggregator import settings, snapshot
from result_aggregator.http import Api
from result_aggregator.observability import logger, tracer
from result_aggregator.store.dynamodb import ViewStore

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@cache
def _api() -> Api:
    return Api(
        store=ViewStore(settings.text("TABLE_NAME")),
        allowed_callers=settings.callers(),
        default_pipeline=settings.pipeline(),
    )


if snapshot.is_taken():
    snapshot.prepare(_api)


@logger.inject_lambda_context(clear_state=True)
@tracer.capture_lambda_handler(capture_response=False)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:  # noqa: ARG001 - Lambda passes both
    return _api().answer(event)
