"""The private network, the cluster, and what holds for every stack of a stage."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from aws_cdk import App

from infra.settings import load_settings
from infra.stacks import add_stacks
from tests.template.synth import CLUSTER_ARN, STAGES, Assembly, assembly, context, stand_in_layer

# What the emulator of the local stage refuses to deploy (measured), and what costs money by the hour.
NOT_LOCAL = (
    "AWS::CloudWatch::CompositeAlarm", "AWS::EC2::", "AWS::Logs::QueryDefinition", "AWS::MSK::", "AWS::ApiGateway::Account",
)  # fmt: skip


def test_local_stage_has_the_same_stacks_but_network_cluster_and_client(
    local: Assembly, prod: Assembly
) -> None:
    """Parts are left out; nothing is built another way."""
    assert set(local.templates) == {"data", "ingest", "api"}
    assert set(prod.templates) == {"data", "ingest", "api", "network", "msk", "client"}
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


def test_every_taggable_resource_is_tagged(stage: Assembly) -> None:
    """Service and stage on everything that costs money or holds data."""
    wanted = {"service": "result-aggregator", "stage": stage.settings.stage}
    for part, kind in (
        ("data", "AWS::DynamoDB::Table"),
        ("data", "AWS::S3::Bucket"),
        ("ingest", "AWS::Lambda::Function"),
        ("ingest", "AWS::Lambda::EventSourceMapping"),
        ("api", "AWS::ApiGateway::RestApi"),
        ("api", "AWS::Lambda::Function"),
    ):
        for properties in stage.properties(part, kind):
            tags = {tag["Key"]: tag["Value"] for tag in properties["Tags"]}
            assert wanted.items() <= tags.items()


def test_stacks_depend_one_way(prod: Assembly) -> None:
    """Data and network know nobody, so that everything else can be destroyed and made again beside them."""

    def imports(part: str) -> set[str]:
        named = re.findall(r'"Fn::ImportValue": "ras-prod-([a-z]+):', json.dumps(prod.templates[part]))
        return set(named)

    assert {part: imports(part) for part in prod.templates} == {
        "data": set(),
        "network": set(),
        "msk": {"network"},
        "ingest": {"data", "msk"},
        "api": {"data", "network"},
        "client": set(),
    }
