"""The table and the dead-letter bucket: what a green deployment into an emulator would not prove."""

from __future__ import annotations

import json

import pytest

from tests import table as view_table
from tests.template.given import CLUSTER_ARN, REGION, STAGES
from tests.template.policies import Request, decide
from tests.template.synth import Assembly, assembly
from tests.template.table import deployed

TABLE, BUCKET = "AWS::DynamoDB::Table", "AWS::S3::Bucket"


def test_table_is_on_demand_recoverable_encrypted_and_forgets(stage: Assembly) -> None:
    """In every stage: on demand, point-in-time recovery, KMS, and TTL."""
    table = stage.only("data", TABLE)

    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}


def test_the_stage_tells_what_it_was_deployed_with() -> None:
    """So that a rebuild can say the whole deployment; a stage that was given nothing has its region only."""
    given = assembly("prod", cluster_arn=CLUSTER_ARN, retries=7, table_generation=2)

    assert json.loads(given.outputs("data")["Settings"]) == {
        "cluster_arn": CLUSTER_ARN,
        "region": REGION,
        "retries": "7",
    }
    assert json.loads(assembly("dev").outputs("data")["Settings"]) == {"region": REGION}


@pytest.mark.parametrize(
    ("stage_name", "kept"), [("local", False), ("dev", False), ("staging", True), ("prod", True)]
)  # fmt: skip
def test_data_outlives_its_stack_outside_dev(stage_name: str, kept: bool) -> None:  # noqa: FBT001 - a test parameter
    """Deletion protection and retention where the data is real."""
    stage = assembly(stage_name)
    (table,) = stage.resources("data", TABLE).values()
    (bucket,) = stage.resources("data", BUCKET).values()

    assert table["Properties"].get("DeletionProtectionEnabled", False) is kept
    # A table that is protected would not let itself be taken back where its stack fails while it is made.
    assert table["DeletionPolicy"] == ("Retain" if kept else "Delete")
    assert bucket["DeletionPolicy"] == ("RetainExceptOnCreate" if kept else "Delete")
    assert table["UpdateReplacePolicy"] == bucket["UpdateReplacePolicy"] == ("Retain" if kept else "Delete")


@pytest.mark.parametrize("stage_name", STAGES)
def test_the_tests_table_is_the_deployed_one(stage_name: str) -> None:
    """What works on the table of `tests/table.json` works on the deployed one.

    Where the table was changed on purpose, `python -m tests.template.table` writes the file again.
    """
    assert view_table.create_table_arguments("any") == {"TableName": "any", **deployed(stage_name)}


def test_bucket_is_private_encrypted_versioned_and_forgets(stage: Assembly) -> None:
    """Dead letters hold personal data: closed, encrypted, and gone after the time that the setting says."""
    bucket = stage.only("data", BUCKET)
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    (rule,) = (one for one in bucket["LifecycleConfiguration"]["Rules"] if "Prefix" not in one)

    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms"}
    assert encryption["BucketKeyEnabled"] is True
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert rule["Status"] == "Enabled"
    assert rule["ExpirationInDays"] == stage.settings.dead_letter_days
    assert rule["NoncurrentVersionExpiration"] == {"NoncurrentDays": stage.settings.dead_letter_days}


def test_notes_that_were_replaced_are_not_kept(stage: Assembly) -> None:
    """How far a rebuild is, of which each note counts until the next; the last one stays as long as a letter."""
    bucket = stage.only("data", BUCKET)
    (rule,) = (one for one in bucket["LifecycleConfiguration"]["Rules"] if "Prefix" in one)

    assert rule == {
        "Id": "notes",
        "Prefix": "rebuilds/",
        "Status": "Enabled",
        "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
    }


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"aws:SecureTransport": "false"}, "deny"),
        ({"aws:SecureTransport": "true", "s3:TlsVersion": "1.1"}, "deny"),
        ({"aws:SecureTransport": "true", "s3:TlsVersion": "1.3"}, "none"),
    ],
)
def test_bucket_refuses_plain_http(aws_stage: Assembly, context: dict[str, str], expected: str) -> None:
    """Whoever may write, writes over TLS 1.2 or newer."""
    policy = aws_stage.only("data", "AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]
    (name,) = aws_stage.resources("data", BUCKET)
    request = Request(
        "s3:PutObject",
        f"arn:aws:s3:::{name.lower()}/rejected/x",
        "arn:aws:iam::111122223333:role/somebody",
        context,
    )

    assert decide(policy, request) == expected


def test_local_bucket_is_reached_over_plain_http(local: Assembly) -> None:
    """An emulator has no TLS, so the local stage alone has no such policy."""
    assert local.resources("data", "AWS::S3::BucketPolicy") == {}
