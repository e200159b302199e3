"""Signature Version 4, with whatever credentials botocore finds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, cast

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.credentials import Credentials, ReadOnlyCredentials

SERVICE = "execute-api"


class NoKeysError(Exception):
    """There are no credentials, or no region; `__cause__` is botocore's error, where it had one."""


class Signer:
    """Signs GET requests. Looks for credentials and region when first needed, as every AWS SDK does; thread-safe."""

    def __init__(self, credentials: Credentials | None, region: str | None) -> None:
        """None: what botocore finds in environment, profile, container, web identity or instance."""
        self._credentials = credentials
        self._region = region
        self._lock = threading.Lock()

    def keys(self) -> ReadOnlyCredentials:
        """The credentials of this moment, refreshed where they are near their end: may ask AWS, so it may block.

        Raises NoKeysError.
        """
        try:
            with self._lock:
                if self._credentials is None or self._region is None:
                    self._find()
                credentials = cast("Credentials", self._credentials)
            # Not under the lock: botocore has its own, and refreshes early enough that others need not wait.
            keys = credentials.get_frozen_credentials()
        except NoKeysError:
            raise
        except Exception as error:
            # botocore lets through whatever a provider raises: OSError of a missing token file, ValueError of a
            # process that prints no JSON, RuntimeError where a refresh brought what has expired already.
            raise NoKeysError(f"the AWS credentials cannot be loaded: {type(error).__name__}") from error
        if not keys.access_key or not keys.secret_key:
            raise NoKeysError("the AWS credentials are incomplete: a key is missing")
        return keys

    def _find(self) -> None:
        session = Session()
        self._credentials = self._credentials or session.get_credentials()
        self._region = self._region or session.get_config_variable("region")
        if self._credentials is None:
            raise NoKeysError("there are no AWS credentials")
        if self._region is None:
            raise NoKeysError("the AWS region of the API is not known: name it")

    def signed(
        self, url: str, headers: Mapping[str, str], keys: ReadOnlyCredentials
    ) -> list[tuple[str, str]]:
        """The headers to send, signature included, for a URL that is sent exactly as it is here; `keys` are of `keys()`."""
        request = AWSRequest("GET", url, headers=dict(headers))
        # Not the S3 variant: for execute-api the path is encoded once more for the signature, as the gateway does it.
        SigV4Auth(keys, SERVICE, cast("str", self._region)).add_auth(request)
        return list(request.headers.items())
