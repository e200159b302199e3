"""A stage in an emulator that checks signatures and policies, whose mappings read a cluster that wants IAM's tokens."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from click.testing import CliRunner
from ras.aws import Cloud
from ras.cli import main
from ras_local.servers import emulator
from ras_local.settings import ACCOUNT, region
from result_aggregator.names import function_name, resource_name, stack_name
from result_aggregator.store.aws import AccessKeys
from result_aggregator.topics import BATCHES

from tests.msk import cluster
from tests.real_servers import folder_of_servers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ras_local.settings import StackDir

    from tests.msk.cluster import Msk, Right

STAGE = "dev"
PARTITIONS = 2
REGISTERED = "huleedu.batch.essays.registered.v1"
SPELLCHECK = "huleedu.essay.spellcheck.completed.v1"
GROUP = resource_name(STAGE, "registered")
FUNCTION = function_name(STAGE, BATCHES)

LETTERS = "dev-letters"
ROLE = "on-call"

LISTED = (
    "cloudformation:DescribeStacks",
    "kafka:GetBootstrapBrokers",
    "lambda:GetEventSourceMapping",
    "lambda:ListEventSourceMappings",
    "lambda:UpdateEventSourceMapping",
    "s3:DeleteObject",
    "s3:GetObject",
    "s3:ListBucket",
    "s3:PutObject",
)
"""What --help of the commands lists of AWS's own actions."""

WANTED_BY_THE_EMULATOR = ("cloudformation:GetTemplate", "cloudformation:ListStackResources")
"""It forgets the topics of a mapping, which are read from the templates then; see `ras.deployed_mappings`."""


@dataclass(frozen=True)
class Stage:
    """What stands in the emulator, as its administrator sees it."""

    cloud: Cloud
    msk: Msk
    mapping: str

    def role(self, actions: Iterable[str]) -> AccessKeys:
        """Credentials of the operator's role, which may do these things in AWS, and no other."""
        allow = {"Effect": "Allow", "Action": [*actions], "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        self.cloud.iam.put_role_policy(RoleName=ROLE, PolicyName="of-the-test", PolicyDocument=policy)
        role = self.cloud.iam.get_role(RoleName=ROLE)["Role"]["Arn"]
        made = self.cloud.sts.assume_role(RoleArn=role, RoleSessionName="a-test")["Credentials"]
        return AccessKeys(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"])

    def enabled(self) -> bool:
        found = self.cloud.functions.get_event_source_mapping(UUID=self.mapping)
        return found["State"] == "Enabled"


@dataclass(frozen=True)
class Operator:
    """Somebody with the role's credentials in the environment, at a shell."""

    stage: Stage
    credentials: AccessKeys

    def may(self, rights: Iterable[Right], *, connect: bool = True) -> None:
        """Have these rights on the cluster, and no other, under a new name."""
        principal = f"arn:aws:sts::{ACCOUNT}:assumed-role/{ROLE}/{uuid4()}"
        self.stage.msk.allow(principal, rights)
        self.stage.msk.know(self.credentials, principal, connect=connect)

    def ras(self, *arguments: str, code: int = 0) -> str:
        """What a command tells a person, unwrapped."""
        result = CliRunner().invoke(main, [*arguments, "--stage", STAGE])
        assert result.exit_code == code, (result.output, result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return " ".join(result.stderr.split())


@pytest.fixture
def operator(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """With every right in AWS that --help lists for the commands of these tests, and none on the cluster."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_REGION", stage.cloud.region)
    monkeypatch.setenv("AWS_ENDPOINT_URL", stage.cloud.endpoint_url)
    monkeypatch.setenv("SSL_CERT_FILE", str(stage.msk.ca))
    credentials = stage.role([*LISTED, *WANTED_BY_THE_EMULATOR])
    sign_with(credentials, monkeypatch)
    return Operator(stage, credentials)


def sign_with(credentials: AccessKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the SDK find these credentials."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", credentials.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", credentials.secret_access_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", str(credentials.session_token))


@pytest.fixture(scope="package")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The cluster, and the emulator that names its brokers."""
    with folder_of_servers(tmp_path_factory.mktemp("msk")) as state:
        yield _stage(state)


def _stage(state: StackDir) -> Stage:
    bootstrap_servers, kafka_ready = cluster.start(state, [REGISTERED, SPELLCHECK], PARTITIONS)
    endpoint_url, emulator_ready = emulator.start(state, cluster.named(bootstrap_servers))
    emulator_ready()
    cloud = Cloud(endpoint_url, region())
    arn = cluster.create(cloud)
    trusted = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    role = cloud.iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    stack = stack_name(STAGE, "data")
    cloud.stacks.create_stack(StackName=stack, TemplateBody=json.dumps(_template(role, arn)))
    resources = cloud.stacks.describe_stack_resources(StackName=stack)["StackResources"]
    mapping = next(each["PhysicalResourceId"] for each in resources if each["LogicalResourceId"] == "Mapping")
    return Stage(cloud, kafka_ready(), mapping)


def _template(role: str, cluster_arn: str) -> dict[str, Any]:
    """What a command looks for of a stage: its bucket, and a mapping. The function is never called here."""
    function = {
        "FunctionName": FUNCTION,
        "Runtime": "python3.13",
        "Role": role,
        "Handler": "index.handler",
        "Code": {"ZipFile": "def handler(event, context): raise NotImplementedError"},
    }
    mapping = {
        "FunctionName": FUNCTION,
        "EventSourceArn": cluster_arn,
        "Topics": [REGISTERED],
        "StartingPosition": "TRIM_HORIZON",
        "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": GROUP},
    }
    return {
        "Resources": {
            "Letters": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": LETTERS}},
            "Function": {"Type": "AWS::Lambda::Function", "Properties": function},
            "Mapping": {
                "Type": "AWS::Lambda::EventSourceMapping",
                "Properties": mapping,
                "DependsOn": "Function",
            },
        },
        "Outputs": {"DeadLetterBucketName": {"Value": {"Ref": "Letters"}}},
    }
