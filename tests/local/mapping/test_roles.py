"""In whose name a destination is written."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from typing import Any, cast

import pytest
from ras.aws import ROOT_KEY, ROOT_SECRET, Cloud
from ras_local.mapping import AwsAccess
from ras_local.mapping.destinations import OnFailure
from ras_local.mapping.errors import DestinationError
from ras_local.mapping.roles import ExecutionRoles
from ras_local.settings import ACCOUNT, region

from tests.local.mapping.test_destinations import DISCARDED, SETTINGS, SOURCE

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


def code() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("handler.py", "def handler(event, context):\n    raise ValueError('boom')\n")
    return buffer.getvalue()


def make_function(cloud: Cloud, name: str, statements: list[dict[str, Any]]) -> str:
    """A function with a role that trusts Lambda alone; its ARN."""
    role = cloud.iam.create_role(RoleName=f"{name}-role", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
    cloud.iam.put_role_policy(
        RoleName=f"{name}-role",
        PolicyName="rights",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}),
    )
    made = cloud.functions.create_function(
        FunctionName=name,
        Role=role["Arn"],
        Runtime="python3.12",
        Handler="handler.handler",
        Code={"ZipFile": code()},
    )
    return made["FunctionArn"]


@pytest.fixture(scope="module")
def cloud(emulator_url: str) -> Cloud:
    made = Cloud(emulator_url, region())
    made.s3.create_bucket(
        Bucket="letters",
        CreateBucketConfiguration={"LocationConstraint": cast("Any", region())},
    )
    made.sqs.create_queue(QueueName="letters")
    return made


LIST = {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": "arn:aws:s3:::letters"}
PUT = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::letters/aws/lambda/*"}
SEND = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}


def deliver(cloud: Cloud, function_arn: str, arn: str) -> None:
    settings = replace(SETTINGS, function_arn=function_arn, on_failure_arn=arn)
    aws = AwsAccess(cloud.endpoint_url, cloud.region, ROOT_KEY, ROOT_SECRET)
    OnFailure(ExecutionRoles(aws, grant_trust=True), settings, SOURCE)(DISCARDED)


def test_the_functions_role_writes_to_the_bucket(cloud: Cloud) -> None:
    """AWS Lambda developer guide, capturing discarded batches: s3:PutObject and s3:ListBucket are what it takes."""
    deliver(cloud, make_function(cloud, "may-put", [LIST, PUT]), "arn:aws:s3:::letters")
    [stored] = cloud.s3.list_objects_v2(Bucket="letters", Prefix="aws/lambda/uuid-1/")["Contents"]

    assert stored["Key"].startswith("aws/lambda/uuid-1/essays-0/")


@pytest.mark.parametrize(
    ("name", "rights"), [("may-not-put", [LIST]), ("may-not-list", [PUT]), ("may-do-nothing", [SEND])]
)
def test_a_role_without_the_rights_is_refused(cloud: Cloud, name: str, rights: list[dict[str, Any]]) -> None:
    """A right that the template forgot is missing here as it would be on AWS."""
    function_arn = make_function(cloud, name, rights)

    with pytest.raises(DestinationError, match=r"AccessDenied|403|Forbidden"):
        deliver(cloud, function_arn, "arn:aws:s3:::letters")


def test_the_functions_role_writes_to_the_queue(cloud: Cloud) -> None:
    """AWS Lambda developer guide, capturing discarded batches: sqs:SendMessage is what it takes."""
    queue = f"arn:aws:sqs:{region()}:{ACCOUNT}:letters"
    with pytest.raises(DestinationError, match="AccessDenied"):
        deliver(cloud, make_function(cloud, "may-not-send", [LIST]), queue)
    deliver(cloud, make_function(cloud, "may-send", [SEND]), queue)
    url = cloud.sqs.get_queue_url(QueueName="letters")["QueueUrl"]
    [message] = cloud.sqs.receive_message(QueueUrl=url)["Messages"]

    assert json.loads(message["Body"])["requestContext"]["condition"] == "RetryAttemptsExhausted"


def test_the_role_trusts_nobody_else_afterwards(cloud: Cloud) -> None:
    """The role trusts Lambda alone, as deployed; it is the same again once its keys are there."""
    deliver(cloud, make_function(cloud, "trusting", [LIST, PUT]), "arn:aws:s3:::letters")
    document: Any = cloud.iam.get_role(RoleName="trusting-role")["Role"]["AssumeRolePolicyDocument"]

    assert document == TRUST
