"""What all clients of AWS share: where, as whom, how long to wait, and the one translation of errors.

boto3 is imported on use. It takes longer than all other imports of a function together, and what a function usually
does needs none of it: `dynamodb_client` speaks with the table.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from result_aggregator.domain.store_interface import StoreError, UnacceptableError, UnavailableError

if TYPE_CHECKING:
    import boto3
    from botocore.config import Config
    from botocore.credentials import Credentials as SdkCredentials

# As many connections as a function has threads for one service (`ingest`), so that none is opened for one request.
MAX_CONNECTIONS = 64

# Short, because a caller or a partition waits: what is not done in time is tried again or handed back.
CONNECT_TIMEOUT_S = 1
READ_TIMEOUT_S = 3
# Two quick attempts hide a dropped connection; longer trouble is for `deadline.Deadline`, which knows the time left.
ATTEMPTS = 2
LONGEST_CALL_S = ATTEMPTS * (CONNECT_TIMEOUT_S + READ_TIMEOUT_S) + 1
"""What a call may take: every attempt until its timeouts, and a pause of up to a second (the SDK's first)."""

# Refusals that no repetition mends: somebody has to deploy or permit something first.
_NOT_SOON = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "NoSuchBucket",
        "ResourceNotFoundException",
        "UnrecognizedClientException",
        "ValidationException",
    }
)


class AccessKeys(NamedTuple):
    """Keys to sign with; a role's have a token."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None


@cache
def session() -> boto3.session.Session:
    """The process's session; region (the same for all services), credentials and endpoints come from the environment."""
    import boto3

    # Not boto3's default session: it is not safe to use from several threads at first use.
    return boto3.session.Session(region_name=region())


@cache
def config() -> Config:
    """The settings of the SDK's clients."""
    from botocore.config import Config

    return Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=MAX_CONNECTIONS,
        tcp_keepalive=True,
    )


def credentials() -> AccessKeys:
    """The keys of this moment. Raises UnavailableError where there are none."""
    key_id, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if key_id and secret:  # what Lambda gives its functions, all but those that are restored from a snapshot
        return AccessKeys(key_id, secret, os.environ.get("AWS_SESSION_TOKEN"))
    try:
        found = _sdk_credentials()
        if found is None:
            raise UnavailableError("no AWS credentials", soon=False)
        frozen = found.get_frozen_credentials()
    except sdk_errors() as error:
        raise translated(error) from error
    return AccessKeys(str(frozen.access_key), str(frozen.secret_key), frozen.token)


@cache
def _sdk_credentials() -> SdkCredentials | None:
    # It asks again before they expire, whatever they come from: a container's endpoint, a profile, a role.
    return session().get_credentials()


def region() -> str:
    """The region. Raises UnavailableError where the environment names none."""
    found = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not found:
        raise UnavailableError("no AWS region is set", soon=False)
    return found


def endpoint_url(service: str) -> str:
    """The address of a service: as the environment says (AWS_ENDPOINT_URL_<SERVICE>, AWS_ENDPOINT_URL), else its region's.

    Regions outside the partitions `aws`, `aws-us-gov` and `aws-cn` have to name it in the environment.
    """
    given = os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or os.environ.get("AWS_ENDPOINT_URL")
    suffix = "amazonaws.com.cn" if region().startswith("cn-") else "amazonaws.com"
    return (given or f"https://{service}.{region()}.{suffix}").rstrip("/")


def sdk_errors() -> tuple[type[Exception], ...]:
    """What the SDK's clients raise, for `except`; asked for only once something was raised."""
    from botocore.exceptions import BotoCoreError, ClientError

    return ClientError, BotoCoreError


def translated(error: Exception) -> StoreError:
    """The store's error for one of the SDK's."""
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        refusal = error.response.get("Error", {})
        return store_error(error.operation_name, refusal.get("Code", ""), refusal.get("Message", ""))
    return UnavailableError(type(error).__name__)


def store_error(operation: str, code: str, message: str) -> StoreError:
    """The store's error for a refusal of AWS's."""
    if code == "ValidationException" and "size" in message:
        # The item is too large. Any other refusal to validate is our request's fault and not the record's: the
        # wrong table, say, for which every record would be thrown away.
        return UnacceptableError(f"{operation}: {code}: {message}")
    return UnavailableError(f"{operation}: {code}", soon=code not in _NOT_SOON)
