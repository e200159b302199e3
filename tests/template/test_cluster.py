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

from infra.context import load_settings
from infra.settings import SettingsError
from infra.stacks import add_stacks
from tests.template.given import ACCOUNT, CLUSTER_ARN, GIVEN_VPC, REGION, STAGES, context
from tests.template.policies import Request, decide
from tests.template.synth import Assembly, assembly, stand_in_layer

MAPPING = "AWS::Lambda::EventSourceMapping"

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
    stage = assembly(
        "prod",
        new_cluster="provisioned",
        alarm_emails='["on-call@example.com"]',
        runbook_url="https://wiki/x",
    )
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
PROVISIONED = {
    "new_cluster": "provisioned",
    "alarm_emails": '["on-call@example.com"]',
    "runbook_url": "https://wiki/x",
}


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


def test_changed_broker_properties_reach_the_cluster() -> None:
    """The cluster takes the configuration's latest revision, whichever it is."""
    stage = assembly("prod", **PROVISIONED)
    (configuration,) = stage.resources("msk", "AWS::MSK::Configuration")
    (cluster,) = stage.resources("msk", "AWS::MSK::Cluster").values()

    assert cluster["Properties"]["ConfigurationInfo"]["Revision"] == {
        "Fn::GetAtt": [configuration, "LatestRevision.Revision"]
    }


def test_zones_by_name() -> None:
    """Where the region's first zones are not those that MSK serves."""
    stage = assembly("dev", zone_names=json.dumps([f"{REGION}a", f"{REGION}c"]))
    subnets = stage.properties("network", "AWS::EC2::Subnet")

    assert sorted(subnet["AvailabilityZone"] for subnet in subnets) == [f"{REGION}a", f"{REGION}c"]
    assert len(stage.only("msk", "AWS::MSK::ServerlessCluster")["VpcConfigs"][0]["SubnetIds"]) == 2
    assert (
        load_settings(
            {"stage": "prod", "region": "us-west-1", "new_cluster": "serverless"}, {}
        ).availability_zones
        == 2
    )


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


def test_outputs_name_where_a_client_goes(prod: Assembly) -> None:
    """What a host beside the brokers is started with."""
    network, msk = prod.outputs("network"), prod.outputs("msk")

    assert len(network["SubnetIds"].split(",")) == 3
    assert network["VpcId"]
    assert network["ApiEndpointId"].startswith("vpce-")
    assert msk["BrokerSecurityGroupId"]
