"""A Kafka cluster and how to get in: MSK's IAM authentication, whose tokens are signed with AWS credentials."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import botocore.session
from botocore import credentials as sdk
from botocore.exceptions import BotoCoreError, ClientError, CredentialRetrievalError, NoCredentialsError

_TOKEN_RETRY_S = 60
_MARGIN = 0.1
"""The share of its life by which a token is said to end early: clocks differ, and a client takes time to sign in."""


@dataclass(frozen=True)
class Brokers:
    """A Kafka cluster: its addresses, and how to get in, in librdkafka's own names."""

    bootstrap_servers: str
    settings: dict[str, Any] = field(default_factory=dict, repr=False)


def msk_iam(region: str, profile: str | None) -> dict[str, Any]:
    """Client settings for IAM authentication with MSK. The role needs `kafka-cluster:Connect` and what it then does.

    Raises botocore's errors where there are no credentials to sign a token with.

    The brokers' certificates are checked against the machine's CA store, or the file that SSL_CERT_FILE names: OpenSSL
    would look there by itself, but librdkafka brings its own and names a file of the machine's where it finds one.
    """
    found = _Found(profile)
    last = _token(region, found)

    def token(_: str) -> tuple[str, float]:
        # A client whose callback raises breaks (confluent-kafka 2.16: SystemError). With a token that is too old it
        # is refused by the brokers instead, which is told; and this is asked again before that.
        nonlocal last
        try:
            last = _token(region, found)
        except (BotoCoreError, ClientError):
            return last[0], max(last[1], time.time() + _TOKEN_RETRY_S)
        return last

    settings: dict[str, Any] = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "OAUTHBEARER",
        "oauth_cb": token,
    }
    if trusted := os.environ.get("SSL_CERT_FILE"):
        settings["ssl.ca.location"] = trusted
    return settings


class _Found:
    """What the SDK finds of credentials, by a profile or by itself: kept, and renewed before they expire.

    A search for each token would ask an instance's metadata service each time, which has one second for its answer.
    """

    def __init__(self, profile: str | None) -> None:
        self._session = botocore.session.Session(profile=profile)

    def load(self) -> tuple[sdk.Credentials, float | None]:
        """Those that are valid now, and when they expire in seconds since 1970; None where that is not known.

        Raises botocore's errors where there are none.
        """
        try:
            found = self._session.get_credentials()
            frozen = None if found is None else found.get_frozen_credentials()
            # The SDK has no public name for it. It renews before that, and what it held is good until then.
            expiry = getattr(found, "_expiry_time", None)
        except (OSError, RuntimeError, ValueError) as error:
            # Not botocore's: a profile's program that is not there, tells expired credentials, or no JSON.
            raise CredentialRetrievalError(provider="the SDK", error_msg=str(error)) from error
        if frozen is None or not (frozen.access_key and frozen.secret_key):
            raise NoCredentialsError
        credentials = sdk.Credentials(frozen.access_key, frozen.secret_key, frozen.token)
        return credentials, expiry.timestamp() if isinstance(expiry, datetime) else None


class _Given(sdk.CredentialProvider):
    """One pair of credentials, for the signer."""

    def __init__(self, credentials: sdk.Credentials) -> None:
        super().__init__()
        self._credentials = credentials

    def load(self) -> sdk.Credentials:
        return self._credentials


def _token(region: str, found: _Found) -> tuple[str, float]:
    """A token, and when it expires in seconds since 1970. Raises botocore's errors where there are no credentials.

    It says 900 s of itself, but ends with the credentials that it was signed with.
    """
    # Imported on use: the stack on this machine does without.
    from aws_msk_iam_sasl_signer import MSKAuthTokenProvider

    credentials, ends = found.load()
    given = _Given(credentials)
    made, expires_ms = MSKAuthTokenProvider.generate_auth_token_from_credentials_provider(region, given)
    expires, now = expires_ms / 1000, time.time()
    if ends is not None:
        expires = min(expires, ends)
    return made, expires - _MARGIN * max(0.0, expires - now)
