"""LocalStack's free edition, without Docker: what it can do of the stack is done, what it lacks is found out.

It runs no functions, so here they run in this process, on the table that the real `cdk deploy` made in it, with moto's
bucket.
The store's own tests run on it too (`tests/store`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ras.aws import Cloud
from ras.errors import OperatorError
from ras.state_folder import REPOSITORY
from ras_local import capabilities, deploy, stack
from ras_local.capabilities import Lack
from ras_local.clients import cloud_at
from ras_local.servers import processes
from ras_local.settings import StackDir, region

from tests import samples
from tests.handlers.conftest import service
from tests.table import create_table_arguments

if TYPE_CHECKING:
    from pathlib import Path

    from tests.handlers.conftest import Service

__all__ = ["service"]

pytestmark = pytest.mark.integration

FILES = ("guide", "platform_2025_06", "platform_2026_02")


@pytest.fixture(scope="module")
def cloud(localstack_url: str) -> Cloud:
    return cloud_at(localstack_url)


@pytest.fixture(scope="module")
def deployed(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The data stack, by the real command; its outputs."""
    state = StackDir(tmp_path_factory.mktemp("localstack"))
    state.create()
    deploy.create_asset_bucket(cloud)
    code = processes.run(
        state,
        "deploy",
        [
            *(str(deploy.CDK), "deploy", "ras-local-data", "--require-approval=never", "--method=direct"),
            *("--context=stage=local", f"--context=region={cloud.region}", "--no-notices"),
            f"--output={state.cloud_assembly}",
        ],
        environment=deploy.environment(cloud),
        folder=REPOSITORY,
        timeout_s=deploy.TIMEOUT_S,
    )
    assert code == 0, processes.tail(state.log("deploy"), 40)
    (made,) = cloud.stacks.describe_stacks(StackName="ras-local-data")["Stacks"]
    return {one["OutputKey"]: one["OutputValue"] for one in made["Outputs"]}


@pytest.fixture
def dynamodb_url(localstack_url: str) -> str:
    return localstack_url


@pytest.fixture
def table(deployed: dict[str, str]) -> str:
    """The table that was deployed."""
    return deployed["TableName"]


def test_the_data_stack_is_deployed(cloud: Cloud, deployed: dict[str, str]) -> None:
    """Keys, index and billing as the template says; the bucket is there."""
    wanted = create_table_arguments()
    made: Any = cloud.dynamodb.describe_table(TableName=deployed["TableName"])["Table"]

    assert made["KeySchema"] == wanted["KeySchema"]
    assert [index["KeySchema"] for index in made["GlobalSecondaryIndexes"]] == [
        index["KeySchema"] for index in wanted["GlobalSecondaryIndexes"]
    ]
    assert made["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    cloud.s3.head_bucket(Bucket=deployed["DeadLetterBucketName"])


def test_the_samples_are_answered_from_it(service: Service) -> None:
    """Every sample event in, by the functions' own code, and every answer as expected."""
    service.deliver(samples.events(*FILES))
    for batch_id, expectation in samples.expected(*FILES).items():
        answer = service.get("/internal/v1/batches/{batch_id}/status", batch_id=batch_id)

        assert answer["statusCode"] == 200
        assert samples.differences(answer["body"], expectation) == []


def test_the_api_document_is_taken(cloud: Cloud) -> None:
    """API Gateway makes the API of it: every path and method."""
    document = (REPOSITORY / "docs/openapi.yaml").read_bytes()
    gateway = cloud.gateway
    api = gateway.import_rest_api(body=document, failOnWarnings=True)
    found = {
        (resource["path"], method)
        for resource in gateway.get_resources(restApiId=api["id"], limit=500)["items"]
        for method in resource.get("resourceMethods", ())
    }

    assert found >= {
        ("/internal/v1/batches/{batch_id}/status", "GET"),
        ("/internal/v1/batches/user/{user_id}", "GET"),
        ("/healthz", "GET"),
        ("/metrics", "GET"),
    }


def test_what_it_lacks_is_found_out(cloud: Cloud, emulator_url: str) -> None:
    """By trying it, up to its functions, which it cannot run; the embedded emulator lacks nothing."""
    found = capabilities.found(cloud)

    assert [next(found), next(found), next(found)] == [Lack.POLICIES, Lack.SIGNATURES, Lack.MSK]
    with pytest.raises(OperatorError, match="runs no functions"):
        next(found)
    assert list(capabilities.found(Cloud(emulator_url, region()))) == []


def test_a_stack_on_it_says_what_it_lacks(
    localstack_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is deployed; that functions do not run without Docker is where it ends."""
    said: list[str] = []
    state = StackDir(tmp_path / "stack")
    monkeypatch.setenv("RAS_EMULATOR", localstack_url)

    with pytest.raises(OperatorError, match="runs no functions") as error:
        stack.up(state, say=said.append)

    assert "Docker" in error.value.advice
    assert [line.partition(" lacks ")[2] for line in said if " lacks " in line] == [
        capabilities.SAID[Lack.POLICIES],
        capabilities.SAID[Lack.SIGNATURES],
        capabilities.SAID[Lack.MSK],
    ]
