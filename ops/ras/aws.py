"""Clients of AWS at one address, for what operators and the stack itself do: deploying, reading mappings, invoking functions.

An emulator gets its root keys, which it lets pass without checking signatures or policies. Whatever should be
checked, the callers of the API above all, signs with keys of a role instead: see `signed_http`.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from result_aggregator.store.aws import AccessKeys
from result_aggregator.store.dynamodb_client import DynamoDB

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient

ROOT_KEY = "test"
ROOT_SECRET = "test"  # noqa: S105 (the emulators' well-known key)


@dataclass(frozen=True)
class Cloud:
    """The emulated AWS at one address, as its root user, unless another key is given."""

    endpoint_url: str
    region: str
    retries: int = field(default=3)
    key: str = ROOT_KEY
    secret: str = field(default=ROOT_SECRET, repr=False)
    read_timeout_s: float | None = None
    """How long calls wait for an answer where a person waits for them. An invocation may take its time all the same."""

    def _config(self, **options: Any) -> Config:
        if self.read_timeout_s is not None:
            options.setdefault("read_timeout", self.read_timeout_s)
        retries: Any = {"mode": "standard", "total_max_attempts": self.retries}
        return Config(connect_timeout=5, retries=retries, **options)

    def _client(self, service: str, **options: Any) -> Any:
        made: Any = local_session().client  # its stubs ask for a literal name
        with _making:
            return made(
                service,
                endpoint_url=self.endpoint_url,
                region_name=self.region,
                aws_access_key_id=self.key,
                aws_secret_access_key=self.secret,
                config=self._config(**options),
            )

    @cached_property
    def iam(self) -> IAMClient:
        client: IAMClient = self._client("iam")
        return client

    @cached_property
    def sts(self) -> STSClient:
        client: STSClient = self._client("sts")
        return client

    @cached_property
    def s3(self) -> S3Client:
        client: S3Client = self._client("s3", s3={"addressing_style": "path"})
        return client

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        client: DynamoDBClient = self._client("dynamodb", max_pool_connections=32)
        return client

    @cached_property
    def view_client(self) -> DynamoDB:
        """The service's own client, for what writes into a table as the functions do."""
        return DynamoDB(self.endpoint_url, self.region, lambda: AccessKeys(self.key, self.secret, None))

    @cached_property
    def sqs(self) -> SQSClient:
        client: SQSClient = self._client("sqs")
        return client

    @cached_property
    def sns(self) -> Any:
        return self._client("sns")

    @cached_property
    def gateway(self) -> Any:
        return self._client("apigateway")

    @cached_property
    def msk(self) -> Any:
        return self._client("kafka")

    @cached_property
    def logs(self) -> CloudWatchLogsClient:
        client: CloudWatchLogsClient = self._client("logs")
        return client

    @cached_property
    def metrics(self) -> CloudWatchClient:
        # It may wait as long as the emulator stands still: to give up on a PutMetricData is not to know of it. And the
        # emulator reads no compressed requests.
        client: CloudWatchClient = self._client(
            "cloudwatch", read_timeout=self.read_timeout_s or 86_400, disable_request_compression=True
        )
        return client

    @cached_property
    def stacks(self) -> CloudFormationClient:
        client: CloudFormationClient = self._client("cloudformation")
        return client

    @cached_property
    def functions(self) -> LambdaClient:
        # Longer than any function may run; the pool holds one connection per invocation at a time.
        client: LambdaClient = self._client("lambda", read_timeout=900, max_pool_connections=64)
        return client


@cache
def local_session() -> boto3.session.Session:
    """The session of every client of this machine's servers: without the user's profile and configuration files.

    One for all, because the descriptions of AWS's services are read once per session, which takes longer than most
    requests here.
    """
    # A variable's name in the configuration, in the environment, its default and its conversion: none of the user's.
    none_of_the_users = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    session: Any = botocore.session.Session(session_vars=none_of_the_users)
    return boto3.session.Session(botocore_session=session)


# A session makes one client at a time: it is not safe to be asked for two.
_making = threading.Lock()
