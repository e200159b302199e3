"""Ingests rankings: one large event that sets the CJ result of every essay of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from result_aggregator.ingest_handler import handle
from result_aggregator.observability import logger, traced

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext


@logger.inject_lambda_context(clear_state=True)
@traced
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    return handle(event, context)
