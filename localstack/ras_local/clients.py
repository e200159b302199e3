"""Clients of servers on this machine: any DynamoDB, and LocalStack by its own client library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import localstack_client.config
import localstack_client.session
from botocore.config import Config
from ras.aws import ROOT_KEY, ROOT_SECRET, Cloud, local_session

from ras_local.servers import emulator
from ras_local.settings import region

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class _Session(localstack_client.session.Session):  # type: ignore[misc]  # it has no types
    """localstack-client's session, held to one address.

    By itself it prefers the environment's AWS_ENDPOINT_URL to the address that it is given (localstack-client 2.12,
    config.get_service_endpoints), and a shell may hold another stack's.
    """

    def __init__(self, endpoint_url: str, *, region_name: str, key: str, secret: str) -> None:
        super().__init__(aws_access_key_id=key, aws_secret_access_key=secret, region_name=region_name)
        services = localstack_client.config.get_service_endpoints()
        self._service_endpoint_mapping = dict.fromkeys(services, endpoint_url)


@dataclass(frozen=True)
class LocalStackCloud(Cloud):
    """LocalStack at one address."""

    def _client(self, service: str, **options: Any) -> Any:
        session = _Session(self.endpoint_url, region_name=self.region, key=self.key, secret=self.secret)
        return session.client(service, config=self._config(**options))


def cloud_at(endpoint_url: str) -> Cloud:
    """The emulated AWS at an address, in the region of this stack: LocalStack, or the embedded emulator."""
    kind = LocalStackCloud if emulator.is_localstack(endpoint_url) else Cloud
    return kind(endpoint_url, region())


def dynamodb_at(endpoint_url: str, **config: Any) -> DynamoDBClient:
    """A client of any DynamoDB server on this machine; `config` is botocore's. By default nothing is tried twice."""
    settings = {"retries": {"total_max_attempts": 1}, "connect_timeout": 5, **config}
    return local_session().client(
        "dynamodb",
        endpoint_url=endpoint_url,
        region_name=region(),
        aws_access_key_id=ROOT_KEY,
        aws_secret_access_key=ROOT_SECRET,
        config=Config(**settings),
    )
