"""A DynamoDB for histories, and the seam at which its requests meet faults."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from unittest.mock import patch

from result_aggregator import api, observability

from tests.convergence.faults import FaultyTransport

if TYPE_CHECKING:
    from collections.abc import Iterator

    from result_aggregator.store.dynamodb_client import DynamoDB


@contextmanager
def quiet() -> Iterator[None]:
    """The functions log and count nothing: it would be a hundred thousand lines that nobody reads."""
    before = observability.logger.log_level
    observability.logger.setLevel("CRITICAL")
    try:
        with patch.object(api, "report_request"), patch.object(api, "count_orphan"):
            yield
    finally:
        observability.logger.setLevel(before)


def faulty(dynamodb: DynamoDB) -> FaultyTransport:
    """Put faults between a client and its connections."""
    transport = FaultyTransport(dynamodb.transport)
    dynamodb.transport = transport
    return transport
