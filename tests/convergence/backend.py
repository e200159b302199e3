"""A DynamoDB for histories, and the seam at which its requests meet faults."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import boto3
from botocore.config import Config
from result_aggregator import http, observability

from tests.convergence.faults import FaultySession

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient


@contextmanager
def quiet() -> Iterator[None]:
    """The functions log and count nothing: it would be a hundred thousand lines that nobody reads."""
    before = observability.logger.log_level
    observability.logger.setLevel("CRITICAL")
    try:
        with patch.object(http, "report_request"), patch.object(http, "count_orphan"):
            yield
    finally:
        observability.logger.setLevel(before)


def client(endpoint_url: str) -> DynamoDBClient:
    """A client without retries of its own: what fails shall be seen by the service."""
    return boto3.client(
        "dynamodb",
        endpoint_url=endpoint_url,
        region_name="eu-north-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=64),
    )


def faulty(dynamodb: DynamoDBClient) -> FaultySession:
    """Put faults between a client and its connections."""
    endpoint: Any = dynamodb._endpoint  # type: ignore[attr-defined]
    session = FaultySession(endpoint.http_session)
    endpoint.http_session = session
    return session
