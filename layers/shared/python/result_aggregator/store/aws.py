"""AWS clients, made once per process, and the one translation of their errors."""

from __future__ import annotations

from functools import cache

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from result_aggregator.domain.storage import StoreError, UnacceptableError, UnavailableError

# As many connections as a function has threads for one service (`ingest`), so that none is opened for one request.
MAX_CONNECTIONS = 64

CONNECT_TIMEOUT_S = 1
READ_TIMEOUT_S = 3
ATTEMPTS = 2
LONGEST_CALL_S = ATTEMPTS * (CONNECT_TIMEOUT_S + READ_TIMEOUT_S) + 1
"""What a call may take at most: every attempt until its timeouts, and the SDK's first pause of up to a second."""

CONFIG = Config(
    # Short, because a caller or a partition waits: what is not done in time is tried again or handed back.
    connect_timeout=CONNECT_TIMEOUT_S,
    read_timeout=READ_TIMEOUT_S,
    # Two quick attempts hide a dropped connection; longer trouble is for `retry.Deadline`, which knows the time left.
    retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    max_pool_connections=MAX_CONNECTIONS,
    tcp_keepalive=True,
)

# Refusals that no repetition mends: somebody has to deploy or permit something first.
_NOT_SOON = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredTokenException",
        "InvalidSignatureException",
        "NoSuchBucket",
        "ResourceNotFoundException",
        "UnrecognizedClientException",
        "ValidationException",
    }
)


@cache
def session() -> boto3.session.Session:
    """The process's session; region, credentials and endpoints come from the environment."""
    # Not boto3's default session: it is not safe to use from several threads at first use.
    return boto3.session.Session()


def translated(error: ClientError | BotoCoreError) -> StoreError:
    """The store's error for one of AWS's."""
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "")
        message = f"{error.operation_name}: {code}"
        if code == "ValidationException" and "size" in error.response["Error"].get("Message", ""):
            # The item is too large. Any other refusal to validate is our request's fault and not the record's: the
            # wrong table, say, for which every record would be thrown away.
            return UnacceptableError(f"{message}: {error.response['Error'].get('Message', '')}")
        return UnavailableError(message, soon=code not in _NOT_SOON)
    return UnavailableError(type(error).__name__)
