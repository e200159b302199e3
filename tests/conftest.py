"""What several kinds of tests need: a table like the one that is deployed, on an emulated DynamoDB."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from hypothesis import settings
from moto import mock_aws
from ras_local.clients import dynamodb_at

# Read when jsii starts, which importing the templates does; `make` sets it too.
os.environ.setdefault("JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION", "18,20")

from tests.dynamodb import REGION, client
from tests.table import create_table_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from result_aggregator.store.dynamodb_client import DynamoDB

# By default an example that takes over 200 ms fails, and a machine may stall for longer.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

pytest_plugins = ["tests.real_servers", "tests.tiers"]


@cache
def _session() -> boto3.session.Session:
    # One for all tests: it reads the descriptions of AWS's services, which takes longer than most tests.
    return boto3.session.Session()


@pytest.fixture(scope="session")
def table_arguments() -> dict[str, Any]:
    """The arguments of CreateTable for the table that is deployed."""
    return create_table_arguments()


@pytest.fixture
def dynamodb_url() -> str | None:
    """The address of DynamoDB; None is the emulated one in this process. Folders whose tests run on more say so."""
    return None


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, dynamodb_url: str | None) -> Iterator[None]:
    """An emulated AWS in this process, and made-up credentials for it. DynamoDB may be elsewhere."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_DYNAMODB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    # The keys that every stand-in takes.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    if dynamodb_url is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_url)
    with mock_aws(config={"core": {"mock_credentials": False}}):
        yield


@pytest.fixture
def dynamodb(aws: None, dynamodb_url: str | None) -> DynamoDBClient:  # noqa: ARG001 - the client must be made inside the emulation
    if dynamodb_url is not None:
        # With the keys that real servers take for anybody's.
        return dynamodb_at(dynamodb_url, max_pool_connections=32)
    return _session().client("dynamodb", config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture
def http_client(aws: None, dynamodb_url: str | None) -> Iterator[DynamoDB]:  # noqa: ARG001 - as above
    """The functions' own client of it."""
    made = client(dynamodb_url)
    yield made
    made.transport.close()


@pytest.fixture
def table(
    dynamodb: DynamoDBClient, dynamodb_url: str | None, table_arguments: dict[str, Any]
) -> Iterator[str]:
    """An empty table of the view; its name."""
    dynamodb.create_table(**table_arguments)
    name: str = table_arguments["TableName"]
    yield name
    if dynamodb_url is not None:
        # A client of its own, because tests make theirs fail. What is in this process is forgotten anyway.
        dynamodb_at(dynamodb_url).delete_table(TableName=name)


@pytest.fixture
def s3(aws: None) -> S3Client:  # noqa: ARG001 - the client must be made inside the emulation
    return _session().client("s3", config=Config(retries={"total_max_attempts": 1}))


@pytest.fixture
def bucket(s3: S3Client) -> str:
    """An empty bucket of dead letters; its name."""
    s3.create_bucket(Bucket="dead-letters", CreateBucketConfiguration={"LocationConstraint": REGION})
    return "dead-letters"
