"""The private network, the cluster, and what holds for every stack of a stage."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App
from result_aggregator.topics import TOPICS

from infra.settings import load_settings
from infra.stacks import add_stacks
from tests.template.synth import (
    ACCOUNT,
    CLUSTER_ARN,
    GIVEN_VPC,
    REGION,
    STAGES,
    Assembly,
    assembly,
    context,
    stand_in_layer,
)

MAPPING = "AWS::Lambda::EventSourceMapping"

# What the emulator of the local stage refuses to deploy (measured), and what costs money by the hour.
NOT_LOCAL = (
    "AWS::CloudWatch::CompositeAlarm", "AWS::EC2::", "AWS::Logs::QueryDefinition", "AWS::MSK::", "AWS::ApiGateway::Account",
)  # fmt: skip


def test_local_stage_has_the_same_stacks_but_what_no_emulator_has(local: Assembly, prod: Assembly) -> None:
    """Parts are left out; nothing is built another way."""
    assert set(local.templates) == {"data", "ingest", "api"}
    assert set(prod.templates) == {"data", "ingest", "api", "network", "msk", "client", "operations"}
    kinds = [
        resource["Type"]
        for template in local.templates.values()
        for resource in template["Resources"].values()
    ]
    assert not [kind for kind in kinds if kind.startswith(NOT_LOCAL)]


def test_no_way_out_of_the_vpc(aws_stage: Assembly) -> None:
    """Neither NAT nor internet gateway: pollers in provisioned mode need none, and functions are outside."""
    kinds = {resource["Type"] for resource in aws_stage.templates["network"]["Resources"].values()}

    assert not kinds & {"AWS::EC2::NatGateway", "AWS::EC2::InternetGateway", "AWS::EC2::EIP"}
    assert not any(s["MapPublicIpOnLaunch"] for s in aws_stage.properties("network", "AWS::EC2::Subnet"))


def test_endpoints(aws_stage: Assembly) -> None:
    """The API's door without private DNS, which would hide public APIs; the two free gateways."""
    found = {
        endpoint["ServiceName"].rpartition(".")[2]: endpoint
        for endpoint in aws_stage.properties("network", "AWS::EC2::VPCEndpoint")
    }

    assert {name: endpoint["VpcEndpointType"] for name, endpoint in found.items()} == {
        "dynamodb": "Gateway",
        "execute-api": "Interface",
        "s3": "Gateway",
    }
    assert found["execute-api"]["PrivateDnsEnabled"] is False
    assert len(found["execute-api"]["SubnetIds"]) == aws_stage.settings.availability_zones


def test_on_demand_pollers_get_their_endpoints() -> None:
    """Without NAT, on-demand pollers reach Lambda and STS by endpoints, where the cluster is ours."""

    def services(stage: Assembly) -> set[str]:
        endpoints = stage.properties("network", "AWS::EC2::VPCEndpoint")
        return {endpoint["ServiceName"].rpartition(".")[2] for endpoint in endpoints}

    assert {"lambda", "sts"} <= services(assembly("dev", mapping_mode="on_demand"))
    assert not {"lambda", "sts"} & services(
        assembly("dev", mapping_mode="on_demand", cluster_arn=CLUSTER_ARN)
    )


def test_security_groups_name_their_reasons(prod: Assembly) -> None:
    """Every opened port says why, and none is opened to the world."""
    rules = [
        rule
        for part in ("network", "msk")
        for kind in (
            "AWS::EC2::SecurityGroup",
            "AWS::EC2::SecurityGroupIngress",
            "AWS::EC2::SecurityGroupEgress",
        )
        for properties in prod.properties(part, kind)
        for rule in (
            [{**rule, "in": True} for rule in properties.get("SecurityGroupIngress", [])]
            + [{**rule, "in": False} for rule in properties.get("SecurityGroupEgress", [])]
            + ([{**properties, "in": kind.endswith("Ingress")}] if kind != "AWS::EC2::SecurityGroup" else [])
        )
    ]

    assert len(rules) == 5
    assert all(rule["Description"] for rule in rules)
    assert not any(rule.get("CidrIp") == "0.0.0.0/0" for rule in rules if rule["in"])
    assert {rule["FromPort"] for rule in rules if rule["in"]} == {443, 9098}


def test_own_cluster_takes_iam_only(prod: Assembly) -> None:
    """An MSK Serverless cluster, in the isolated subnets."""
    cluster = prod.only("msk", "AWS::MSK::ServerlessCluster")

    assert cluster["ClientAuthentication"] == {"Sasl": {"Iam": {"Enabled": True}}}
    assert len(cluster["VpcConfigs"][0]["SubnetIds"]) == prod.settings.availability_zones
    assert "ClusterArn" in prod.outputs("msk")


def test_provisioned_cluster_by_setting() -> None:
    """One broker a zone, TLS and IAM only, and every topic of the service as a resource on all brokers."""
    stage = assembly("prod", new_cluster="provisioned", alarm_emails='["on-call@example.com"]')
    cluster = stage.only("msk", "AWS::MSK::Cluster")
    topics = stage.properties("msk", "AWS::MSK::Topic")
    (arn,) = {topic["ClusterArn"] for topic in topics}

    assert cluster["NumberOfBrokerNodes"] == len(cluster["BrokerNodeGroupInfo"]["ClientSubnets"]) == 3
    assert cluster["ClientAuthentication"] == {
        "Sasl": {"Iam": {"Enabled": True}},
        "Unauthenticated": {"Enabled": False},
    }
    assert cluster["EncryptionInfo"]["EncryptionInTransit"] == {"ClientBroker": "TLS", "InCluster": True}
    assert sorted(topic["TopicName"] for topic in topics) == sorted(TOPICS)
    assert {(topic["PartitionCount"], topic["ReplicationFactor"]) for topic in topics} == {(6, 3)}
    mapped = {mapping["EventSourceArn"] for mapping in stage.properties("ingest", MAPPING)}
    assert mapped == {arn} == {stage.outputs("msk")["ClusterArn"]}
    assert not stage.resources("msk", "AWS::MSK::ServerlessCluster")


def test_given_network_is_used_as_it_is() -> None:
    """The endpoint goes into the given subnets and lets in the given range; nothing of the VPC is made."""
    settings = {"vpc": GIVEN_VPC, "cluster_arn": CLUSTER_ARN, "on_failure_topic": "ras.given-up"}
    stage = assembly("prod", **settings)
    kinds = {resource["Type"] for resource in stage.templates["network"]["Resources"].values()}
    endpoints = stage.properties("network", "AWS::EC2::VPCEndpoint")
    (door,) = (endpoint for endpoint in endpoints if endpoint["VpcEndpointType"] == "Interface")
    (rule,) = stage.only("network", "AWS::EC2::SecurityGroup")["SecurityGroupIngress"]

    assert kinds == {"AWS::EC2::SecurityGroup", "AWS::EC2::VPCEndpoint"}
    assert (door["VpcId"], door["SubnetIds"]) == ("vpc-0a1b2c3d", ["subnet-0a1b2c3d", "subnet-1a1b2c3d"])
    assert "PolicyDocument" in door
    assert rule["CidrIp"] == "10.20.0.0/16"
    assert {
        endpoint["ServiceName"]: endpoint["RouteTableIds"] for endpoint in endpoints if endpoint != door
    } == {
        f"com.amazonaws.{REGION}.dynamodb": ["rtb-0a1b2c3d"],
        f"com.amazonaws.{REGION}.s3": ["rtb-0a1b2c3d"],
    }


def test_refused_connections_are_logged(aws_stage: Assembly) -> None:
    """Who knocked where nobody is let in."""
    log = aws_stage.only("network", "AWS::EC2::FlowLog")

    assert (log["ResourceType"], log["TrafficType"]) == ("VPC", "REJECT")


@pytest.mark.parametrize(
    "settings", [{}, {"new_cluster": "provisioned", "alarm_emails": '["on-call@example.com"]'}]
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
        {"stage": "prod"}, {"CDK_DEFAULT_ACCOUNT": "111122223333", "AWS_REGION": "eu-west-1"}
    )
    app = App(
        context=context(),
        outdir=str(tmp_path_factory.mktemp("out")),
        builtin_cloud_formation_validation=False,
    )
    add_stacks(app, settings, stand_in_layer(), None)
    manifest = json.loads((Path(app.synth().directory) / "manifest.json").read_text())

    assert "missing" not in manifest
    environments = {
        artifact["environment"] for artifact in manifest["artifacts"].values() if "environment" in artifact
    }
    assert environments == {"aws://111122223333/eu-west-1"}


# What CloudFormation, or CDK for it, does not tag.
UNTAGGED = {
    "AWS::ApiGateway::Account", "AWS::ApiGateway::Deployment", "AWS::ApiGateway::GatewayResponse",
    "AWS::ApiGateway::Method", "AWS::ApiGateway::Resource", "AWS::CDK::Metadata", "AWS::CloudWatch::Dashboard",
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
