"""Clients of AWS, or of an emulator of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

_LONGEST_INVOCATION_S = 900
_INVOCATIONS_AT_A_TIME = 64


@dataclass(frozen=True)
class AwsAccess:
    """Where AWS answers, and as whom it is called. What is None is looked up as boto3 does, in the environment."""

    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)

    def client(self, service: str, **options: Any) -> Any:
        """A client that tries once: the mapping itself tries again. `options` are botocore's. Raises its errors."""
        session: Any = self._session()
        config = Config(connect_timeout=5, retries={"mode": "standard", "total_max_attempts": 1}, **options)
        return session.client(service, endpoint_url=self.endpoint_url, config=config)

    def _session(self) -> boto3.session.Session:
        # Not boto3's default one, which is not safe between threads.
        return boto3.session.Session(
            self.access_key_id, self.secret_access_key, self.session_token, self.region
        )

    @property
    def has_credentials(self) -> bool:
        return self._session().get_credentials() is not None

    @cached_property
    def functions(self) -> Any:
        """Lambda, for invocations as long as any function may run; the pool has a connection for each at a time."""
        return self.client(
            "lambda", read_timeout=_LONGEST_INVOCATION_S, max_pool_connections=_INVOCATIONS_AT_A_TIME
        )

    @cached_property
    def sts(self) -> Any:
        return self.client("sts")

    @cached_property
    def iam(self) -> Any:
        return self.client("iam")
