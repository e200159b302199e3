"""The private network and its endpoints."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.context import load_settings
from infra.settings import SettingsError
from tests.template.given import ACCOUNT, CLUSTER_ARN, GIVEN_VPC, REGION
from tests.template.policies import Request, decide
from tests.template.synth import Assembly, assembly


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


def policy_of(stage: Assembly, service: str) -> list[dict[str, Any]]:
    """The statements of one endpoint's policy."""
    (endpoint,) = (
        endpoint
        for endpoint in stage.properties("network", "AWS::EC2::VPCEndpoint")
        if endpoint["ServiceName"].rpartition(".")[2] == service
    )
    statements: list[dict[str, Any]] = endpoint["PolicyDocument"]["Statement"]
    return statements


@pytest.mark.parametrize(
    ("service", "action"), [("s3", "s3:PutObject"), ("dynamodb", "dynamodb:PutItem")], ids=["s3", "dynamodb"]
)
def test_gateways_lead_to_this_account_only(prod: Assembly, service: str, action: str) -> None:
    """Another account's bucket or table is out of reach, with its own keys too; Lambda's delivery gets through."""

    def passes(principal_account: str, resource_account: str) -> str:
        request = Request(
            action,
            "arn:aws:s3:::bucket/aws/lambda/letter",
            f"arn:aws:iam::{principal_account}:role/ingest",
            {"aws:ResourceAccount": resource_account, "aws:PrincipalAccount": principal_account},
        )
        return decide(policy_of(prod, service), request)

    assert passes(ACCOUNT, ACCOUNT) == "allow"
    assert passes("444455556666", "444455556666") == "none"
    assert passes(ACCOUNT, "444455556666") == "none"


@pytest.mark.parametrize(
    "settings",
    [
        {"mapping_mode": "on_demand"},
        {"operator_endpoints": True},
        {"mapping_mode": "on_demand", "operator_endpoints": True, "cluster_arn": CLUSTER_ARN},
    ],
    ids=["pollers", "operators", "both beside a given cluster"],
)
def test_api_doors_are_for_this_account(settings: dict[str, Any]) -> None:
    """Its roles, and the poller service where pollers come by; keys of another account lead nowhere."""
    stage = assembly("dev", **settings)
    invoke = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:ras-dev-query"
    assume = f"arn:aws:iam::{ACCOUNT}:role/ingest"
    poller = "allow" if "mapping_mode" in settings else "none"
    doors = [("lambda", "lambda:InvokeFunction", invoke), ("sts", "sts:AssumeRole", assume)]
    if "operator_endpoints" in settings:
        doors.append(("cloudformation", "cloudformation:DescribeStacks", "*"))
    for service, action, resource in doors:

        def passes(principal: str, account: str | None, service: str, action: str, resource: str) -> str:
            context = {"aws:PrincipalAccount": account} if account else {}
            return decide(policy_of(stage, service), Request(action, resource, principal, context))

        own = passes(f"arn:aws:iam::{ACCOUNT}:role/operator", ACCOUNT, service, action, resource)
        foreign = passes("arn:aws:iam::444455556666:role/x", "444455556666", service, action, resource)
        assert (own, foreign) == ("allow", "none")
        if service != "cloudformation":
            assert passes("lambda.amazonaws.com", None, service, action, resource) == poller
            assert passes("lambda.amazonaws.com", None, service, action, "arn:aws:any:thing") == poller
            assert (
                passes("lambda.amazonaws.com", None, service, f"{service}:CreateAnything", resource) == "none"
            )
            assert passes("ec2.amazonaws.com", None, service, action, resource) == "none"


@pytest.mark.parametrize("cluster", [{"cluster_arn": CLUSTER_ARN}, {}], ids=["given cluster", "made there"])
def test_doors_of_a_given_vpc_are_as_open_as_it_was(cluster: dict[str, Any]) -> None:
    """They take over for others that live there, whose calls may be unsigned (web identities) or another account's."""
    stage = assembly("dev", mapping_mode="on_demand", operator_endpoints=True, vpc=GIVEN_VPC, **cluster)
    closed = {
        endpoint["ServiceName"].rpartition(".")[2]
        for endpoint in stage.properties("network", "AWS::EC2::VPCEndpoint")
        if "PolicyDocument" in endpoint
    }

    assert closed == {"execute-api"}


def test_zones_by_name() -> None:
    """Where the region's first zones are not those that MSK serves."""
    stage = assembly("dev", zone_names=json.dumps([f"{REGION}a", f"{REGION}c"]))
    subnets = stage.properties("network", "AWS::EC2::Subnet")

    assert sorted(subnet["AvailabilityZone"] for subnet in subnets) == [f"{REGION}a", f"{REGION}c"]
    assert len(stage.only("msk", "AWS::MSK::ServerlessCluster")["VpcConfigs"][0]["SubnetIds"]) == 2


@pytest.mark.parametrize("stage", ["staging", "prod"])
def test_where_data_is_kept_there_are_three_zones(stage: str) -> None:
    """But in us-west-1, where MSK takes two; a staging that was deployed with two says so."""
    there = {"stage": stage, "new_cluster": "serverless"}

    assert load_settings(there, {}).availability_zones == 3
    assert load_settings({**there, "region": "us-west-1"}, {}).availability_zones == 2
    assert load_settings({**there, "availability_zones": "2"}, {}).availability_zones == 2


@pytest.mark.parametrize(
    ("zones", "told"),
    [
        (["eu-west-1a", "eu-west-1b"], "not in the stacks' region"),
        ([f"{REGION}a"], "two or three"),
        ([f"{REGION}a", f"{REGION}a"], "each once"),
    ],
)
def test_wrong_zones_are_told(zones: list[str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load_settings({"stage": "dev", "region": REGION, "zone_names": json.dumps(zones)}, {})
