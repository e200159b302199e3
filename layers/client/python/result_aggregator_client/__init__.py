"""Asks the Result Aggregator Service over its private API.

    with ResultAggregatorClient(Address.private_dns("a1b2c3d4e5", region="eu-north-1", stage="prod")) as results:
        status = results.get_batch_status(batch_id, user_id=user_id)  # None: no such batch of this user

`AsyncResultAggregatorClient` has the same methods, awaited.
"""

from result_aggregator_client._version import __version__
from result_aggregator_client.address import Address
from result_aggregator_client.client import AsyncResultAggregatorClient, ResultAggregatorClient
from result_aggregator_client.core import Attempt, CallOptions, Retries, Timeouts
from result_aggregator_client.errors import (
    BadRequestError,
    BatchNotFoundError,
    CertificateError,
    ConnectionPoolFullError,
    CredentialsError,
    CursorOutdatedError,
    DeadlineExceededError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    ResultAggregatorError,
    ServiceError,
    TemporaryError,
    TooManyRequestsError,
    UnavailableError,
    UnreachableError,
    UnreadableAnswerError,
)
from result_aggregator_client.models import (
    BatchPage,
    BatchPagination,
    BatchStatus,
    BatchSummary,
    EssayPagination,
    EssayResult,
    Health,
    OverallStatus,
    PhaseStatus,
    PhaseSummary,
)

__all__ = [
    "Address",
    "AsyncResultAggregatorClient",
    "Attempt",
    "BadRequestError",
    "BatchNotFoundError",
    "BatchPage",
    "BatchPagination",
    "BatchStatus",
    "BatchSummary",
    "CallOptions",
    "CertificateError",
    "ConnectionPoolFullError",
    "CredentialsError",
    "CursorOutdatedError",
    "DeadlineExceededError",
    "EssayPagination",
    "EssayResult",
    "ForbiddenError",
    "Health",
    "NotFoundError",
    "OverallStatus",
    "PhaseStatus",
    "PhaseSummary",
    "RefusedError",
    "ResultAggregatorClient",
    "ResultAggregatorError",
    "Retries",
    "ServiceError",
    "TemporaryError",
    "Timeouts",
    "TooManyRequestsError",
    "UnavailableError",
    "UnreachableError",
    "UnreadableAnswerError",
    "__version__",
]
