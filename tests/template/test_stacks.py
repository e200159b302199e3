"""What holds for every stack of a stage: names, tags, who needs whom, and what stays when a stack goes."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App

from infra.context import load_settings
from infra.stacks import add_stacks
from tests.template.given import ACCOUNT, REGION, STAGES, context
from tests.template.synth import Assembly, assembly, stand_ins
from tests.template.test_cluster import PROVISIONED

# What the emulator of the local stage refuses to deploy (measured), and what costs money by the hour.
NOT_LOCAL = (
    "AWS::CloudWatch::CompositeAlarm", "AWS::EC2::", "AWS::Logs::QueryDefinition", "AWS::MSK::", "AWS::ApiGateway::Account",
)  # fmt: skip


def test_local_stage_has_the_same_stacks_but_what_no_emulator_has(local: Assembly, prod: Assembly) -> None:
    """Parts are left out; nothing is built another way."""
    assert local.templates.keys() < prod.templates.keys()
    kinds = [
        resource["Type"]
        for template in local.templates.values()
        for resource in template["Resources"].values()
    ]
    assert not [kind for kind in kinds if kind.startswith(NOT_LOCAL)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {
            "new_cluster": "provisioned",
            "alarm_emails": '["on-call@example.com"]',
            "runbook_url": "https://wiki/x",
        },
    ],
)
def test_every_log_group_forgets_and_is_under_our_key(settings: dict[str, Any]) -> None:
    """In every stack; the key lets CloudWatch Logs use it for log groups of this stage only."""
    stage = assembly("prod", **settings)
    groups = [
        (part, group) for part in stage.templates for group in stage.properties(part, "AWS::Logs::LogGroup")
    ]
    (key,) = stage.resources("data", "AWS::KMS::Key")
    arn = stage.resolve("data", {"Fn::GetAtt": [key, "Arn"]})
    (allowed,) = (
        s for s in stage.only("data", "AWS::KMS::Key")["KeyPolicy"]["Statement"] if s.get("Sid") == "Logs"
    )
    pattern = allowed["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]

    assert len(groups) == (6 if not settings else 7)
    for _, group in groups:
        assert group["RetentionInDays"] == 90
        assert group["KmsKeyId"] == arn
        assert fnmatchcase(f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group['LogGroupName']}", pattern)
    assert not fnmatchcase(f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/ras-dev-query", pattern)


@pytest.mark.parametrize("name", STAGES)
def test_no_template_holds_an_account(name: str) -> None:
    """Twelve digits in a template are somebody's account; the emulators' zeros are the local stage's own."""
    text = json.dumps(assembly(name).templates)
    # Asset hashes are hexadecimal, so an account is digits with no letter or digit beside them.
    accounts = set(re.findall(r"(?<![0-9a-zA-Z])[0-9]{12}(?![0-9a-zA-Z])", text))

    assert accounts == ({"000000000000"} if name == "local" else set())


def test_known_account_needs_no_lookup(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An account in the environment does not make the synthesis ask AWS for its availability zones."""
    settings = load_settings(
        {"stage": "prod", "new_cluster": "serverless"},
        {"CDK_DEFAULT_ACCOUNT": "111122223333", "AWS_REGION": "eu-west-1"},
    )
    app = App(
        context=context(),
        outdir=str(tmp_path_factory.mktemp("out")),
        builtin_cloud_formation_validation=False,
    )
    add_stacks(app, settings, stand_ins(settings))
    manifest = json.loads((Path(app.synth().directory) / "manifest.json").read_text())

    assert "missing" not in manifest
    environments = {
        artifact["environment"] for artifact in manifest["artifacts"].values() if "environment" in artifact
    }
    assert environments == {"aws://111122223333/eu-west-1"}


# What CloudFormation, or CDK for it, does not tag.
UNTAGGED = {
    "AWS::ApiGateway::Account", "AWS::ApiGateway::Deployment", "AWS::ApiGateway::GatewayResponse",
    "AWS::ApiGateway::Method", "AWS::ApiGateway::Resource", "AWS::CDK::Metadata",
    "AWS::EC2::SecurityGroupEgress", "AWS::EC2::SecurityGroupIngress", "AWS::EC2::SubnetRouteTableAssociation",
    "AWS::IAM::Policy", "AWS::Lambda::Alias", "AWS::Lambda::LayerVersion", "AWS::Lambda::LayerVersionPermission",
    "AWS::Lambda::Permission", "AWS::Lambda::Version", "AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy",
}  # fmt: skip


def test_every_taggable_resource_is_tagged(stage: Assembly) -> None:
    """Service and stage on everything that takes tags."""
    wanted = {"service": "result-aggregator", "stage": stage.settings.stage}
    seen = set()
    for part, template in stage.templates.items():
        for kind in {resource["Type"] for resource in template["Resources"].values()} - UNTAGGED:
            seen.add(kind)
            for properties in stage.properties(part, kind):
                tags = properties["Tags"]
                found = tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}
                assert wanted.items() <= found.items(), kind

    assert {"AWS::DynamoDB::Table", "AWS::Lambda::Function", "AWS::S3::Bucket"} <= seen


def test_stacks_depend_one_way(prod: Assembly) -> None:
    """Data knows nobody and network only its key, so that everything else can be destroyed and made again beside them."""

    def imports(part: str) -> set[str]:
        named = re.findall(r'"Fn::ImportValue": "ras-prod-([a-z]+):', json.dumps(prod.templates[part]))
        return set(named)

    assert {part: imports(part) for part in prod.templates} == {
        "data": set(),
        "network": {"data"},
        "msk": {"network"},
        "operations": {"data", "msk"},
        "ingest": {"data", "msk"},
        "api": {"data", "network"},
        "client": set(),
    }


# The second, so that what a failed creation made is taken back.
KEPT = ("Retain", "RetainExceptOnCreate")


@pytest.mark.parametrize("settings", [{}, PROVISIONED], ids=["serverless", "provisioned"])
def test_what_stays_keeps_what_it_needs(settings: dict[str, Any]) -> None:
    """Whatever a retained cluster refers to is retained as well, in other stacks too; in dev all of it goes."""
    stage = assembly("prod", **settings)

    def retained(part: str, name: str) -> bool:
        return bool(stage.templates[part]["Resources"][name].get("DeletionPolicy") in KEPT)

    events = stage.templates["msk"]["Resources"]
    lost = [
        f"{part} {name} needs {where} {needed}"
        for part in ("data", "network", "msk")
        for name, resource in stage.templates[part]["Resources"].items()
        if retained(part, name)
        for where, needed in references(stage, part, resource)
        if not retained(where, needed)
    ]

    assert lost == []
    assert [name for name in events if not retained("msk", name)] == []
    assert "Retain" not in {resource.get("DeletionPolicy") for resource in events.values()}
    gone = assembly("dev", **settings)
    assert not any(
        resource.get("DeletionPolicy") in KEPT
        for part in ("network", "msk")
        for resource in gone.templates[part]["Resources"].values()
    )


def references(stage: Assembly, part: str, value: Any) -> list[tuple[str, str]]:
    """(stack, logical id) of every resource that a value names, by Ref, GetAtt, or an export of another stack."""
    if isinstance(value, list):
        return [found for item in value for found in references(stage, part, item)]
    if not isinstance(value, dict):
        return []
    if "Fn::ImportValue" in value:
        for where, template in stage.templates.items():
            for output in template.get("Outputs", {}).values():
                if output.get("Export", {}).get("Name") == value["Fn::ImportValue"]:
                    return references(stage, where, output["Value"])
    named = value.get("Ref") or (value.get("Fn::GetAtt") or [None])[0]
    own = [(part, named)] if named in stage.templates[part]["Resources"] else []
    return own + [found for item in value.values() for found in references(stage, part, item)]


def test_only_what_holds_data_is_protected_from_termination() -> None:
    """The other stacks are made anew without taking the table's protection back."""

    def protected(stage: Assembly) -> set[str]:
        return {part for part, on in stage.termination_protection.items() if on}

    assert protected(assembly("prod")) == {"data", "msk"}
    assert protected(assembly("staging")) == {"data", "msk"}
    assert protected(assembly("dev")) == set()


def test_outputs_name_where_a_client_goes(prod: Assembly) -> None:
    """What a host beside the brokers is started with."""
    network, msk = prod.outputs("network"), prod.outputs("msk")

    assert len(network["SubnetIds"].split(",")) == 3
    assert network["VpcId"]
    assert network["ApiEndpointId"].startswith("vpce-")
    assert msk["BrokerSecurityGroupId"]
