"""Functions: what each may do and nothing else, where it runs, and what it is told."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from result_aggregator.names import LIVE_ALIAS
from result_aggregator.topics import TOPICS

from infra.layers import FUNCTIONS, Target, build_code
from infra.mapping_plans import consumer_group
from tests.template.given import ACCOUNT, CLUSTER_ARN, REGION
from tests.template.policies import Statement, allows
from tests.template.synth import Assembly, assembly, stand_in_layer

INGEST = ("ingest-batches", "ingest-essays", "ingest-rankings")
TABLE_READS = (
    "BatchGetItem", "ConditionCheckItem", "DescribeTable", "GetItem", "GetRecords", "PartiQLSelect", "Query", "Scan",
)  # fmt: skip
TABLE_WRITES = ("BatchWriteItem", "DeleteItem", "PartiQLInsert", "PartiQLUpdate", "PutItem", "UpdateItem")
TABLE_ADMIN = ("CreateTable", "DeleteTable", "UpdateTable", "UpdateTimeToLive")


def functions(stage: Assembly) -> dict[str, dict[str, Any]]:
    found = [f for part in ("ingest", "api") for f in stage.properties(part, "AWS::Lambda::Function")]
    return {function["FunctionName"].removeprefix(stage.settings.name("")): function for function in found}


def statements(stage: Assembly, function: str) -> list[Statement]:
    """All that a function's role may do, found through the role that the function really has."""
    part = "api" if function == "query" else "ingest"
    (role,) = (
        resource["Properties"]["Role"]["Fn::GetAtt"][0]
        for resource in stage.resources(part, "AWS::Lambda::Function").values()
        if resource["Properties"]["FunctionName"] == stage.settings.name(function)
    )
    properties = stage.resources(part, "AWS::IAM::Role")[role]["Properties"]
    assert not properties.keys() & {"ManagedPolicyArns", "Policies"}, "policies that this test does not read"
    return [
        statement
        for policy in stage.properties(part, "AWS::IAM::Policy")
        if role in policy["Roles"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]


def arn(stage: Assembly, kind: str) -> str:
    (logical_id,) = stage.resources("data", kind)
    found: str = stage.resolve("data", {"Fn::GetAtt": [logical_id, "Arn"]})
    return found


def table(stage: Assembly) -> str:
    return arn(stage, "AWS::DynamoDB::Table")


def bucket(stage: Assembly) -> str:
    return arn(stage, "AWS::S3::Bucket")


@pytest.mark.parametrize("function", INGEST)
def test_ingest_writes_the_view_and_cannot_read_it(stage: Assembly, function: str) -> None:
    """Conditional writes are all that ingest needs; nobody reads results with its role."""
    may = statements(stage, function)

    assert {op for op in TABLE_WRITES if allows(may, f"dynamodb:{op}", table(stage))} == {
        "UpdateItem",
    }
    for operation in (*TABLE_READS, *TABLE_ADMIN):
        assert not allows(may, f"dynamodb:{operation}", table(stage))
        assert not allows(may, f"dynamodb:{operation}", f"{table(stage)}/index/user-batches")


def test_query_reads_the_view_and_cannot_write(stage: Assembly) -> None:
    """A status answer and a listing, and no scan."""
    may = statements(stage, "query")
    index = f"{table(stage)}/index/user-batches"

    readable = {op for op in TABLE_READS if allows(may, f"dynamodb:{op}", table(stage))}
    assert readable == {"BatchGetItem", "DescribeTable", "Query"}
    assert {op for op in TABLE_READS if allows(may, f"dynamodb:{op}", index)} == {"Query"}
    for operation in (*TABLE_WRITES, *TABLE_ADMIN):
        assert not allows(may, f"dynamodb:{operation}", table(stage))
    assert not allows(may, "dynamodb:Query", table(stage) + "-other")


def test_query_knows_neither_events_nor_dead_letters(stage: Assembly) -> None:
    """A foothold in the API reaches the view only, and reads metrics."""
    services = {
        action.split(":")[0]
        for statement in statements(stage, "query")
        for action in _list(statement["Action"])
    }

    assert services <= {"cloudwatch", "dynamodb", "logs", "xray"}


@pytest.mark.parametrize("function", INGEST)
def test_ingest_only_adds_dead_letters(stage: Assembly, function: str) -> None:
    """Its own rejects and what Lambda gives up; nothing is read back, overwritten by name, or deleted."""
    may = statements(stage, function)

    assert allows(may, "s3:PutObject", f"{bucket(stage)}/rejected/topic/0/1.json")
    assert allows(may, "s3:PutObject", f"{bucket(stage)}/aws/lambda/uuid/batch.json")
    assert allows(may, "s3:ListBucket", bucket(stage))
    assert not allows(may, "s3:PutObject", f"{bucket(stage)}/elsewhere.json")
    for operation in ("GetObject", "DeleteObject", "DeleteObjectVersion", "PutBucketPolicy"):
        assert not allows(may, f"s3:{operation}", f"{bucket(stage)}/rejected/topic/0/1.json")
        assert not allows(may, f"s3:{operation}", bucket(stage))


@pytest.mark.parametrize("function", INGEST)
def test_the_brokers_are_asked_for_by_a_statement_without_a_resource(prod: Assembly, function: str) -> None:
    """The service authorization data give GetBootstrapBrokers no resource type, so that a cluster's ARN may never match."""
    (found,) = (one for one in statements(prod, function) if "kafka:GetBootstrapBrokers" in one["Action"])

    assert (found["Action"], found["Resource"]) == ("kafka:GetBootstrapBrokers", "*")


@pytest.mark.parametrize("function", INGEST)
@pytest.mark.parametrize("own_cluster", [False, True])
def test_ingest_reads_its_own_topics(function: str, own_cluster: bool) -> None:  # noqa: FBT001 - a test parameter
    """The `kafka-cluster:` rights that IAM authentication needs, on the function's topics and groups only."""
    stage = assembly("prod") if own_cluster else assembly("prod", cluster_arn=CLUSTER_ARN)
    cluster = stage.properties("ingest", "AWS::Lambda::EventSourceMapping")[0]["EventSourceArn"]
    may = statements(stage, function)

    for action in (
        "kafka:DescribeClusterV2",
        "kafka:GetBootstrapBrokers",
        "kafka-cluster:Connect",
        "kafka-cluster:DescribeClusterDynamicConfiguration",
    ):
        assert allows(may, action, cluster)
    for topic in TOPICS.values():
        own = topic.function == function.replace("-", "_")
        topic_arn = f"{cluster.replace(':cluster/', ':topic/')}/{topic.name}"
        group_arn = f"{cluster.replace(':cluster/', ':group/')}/{consumer_group(stage.settings, topic.name)}"
        assert allows(may, "kafka-cluster:ReadData", topic_arn) is own
        assert allows(may, "kafka-cluster:DescribeTopic", topic_arn) is own
        assert allows(may, "kafka-cluster:AlterGroup", group_arn) is own
        assert allows(may, "kafka-cluster:DescribeGroup", group_arn) is own
        for action in ("WriteData", "CreateTopic", "DeleteTopic", "AlterTopic"):
            assert not allows(may, f"kafka-cluster:{action}", topic_arn)


@pytest.mark.parametrize("function", [*INGEST, "query"])
@pytest.mark.parametrize(
    "action",
    [
        "apigateway:GET", "cloudformation:DescribeStacks", "execute-api:Invoke", "iam:PassRole", "kms:Decrypt",
        "lambda:InvokeFunction", "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration",
        "lambda:UpdateEventSourceMapping", "logs:FilterLogEvents", "sns:Publish", "sts:AssumeRole",
    ],
)  # fmt: skip
def test_no_function_reaches_another_way_in(stage: Assembly, function: str, action: str) -> None:
    """A foothold in one function does not lead to the API, to another function or role, or to what was logged."""
    may = statements(stage, function)
    (api,) = stage.resources("api", "AWS::ApiGateway::RestApi")
    resources = [
        f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}/{stage.settings.stage}/GET/internal/v1/batches/b/status",
        f"arn:aws:apigateway:{REGION}::/restapis/{api}",
        *(found["Role"] for found in functions(stage).values()),
        *(
            f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}{qualifier}"
            for name in (found["FunctionName"] for found in functions(stage).values())
            for qualifier in ("", ":live", ":1")
        ),
        f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/{stage.settings.name(function)}:*",
        f"arn:aws:sns:{REGION}:{ACCOUNT}:{stage.settings.name('alarms')}",
        f"arn:aws:kms:{REGION}:{ACCOUNT}:key/any",
    ]

    assert not [resource for resource in resources if allows(may, action, resource)]


def test_stars_are_few_and_reasoned(stage: Assembly) -> None:
    """The only rights on everything are those that AWS has in no narrower form."""
    starred = {
        action
        for function in (*INGEST, "query")
        for statement in statements(stage, function)
        if "*" in _list(statement["Resource"])
        for action in _list(statement["Action"])
    }

    assert starred == {
        # The service authorization reference lists none of these with a resource type or a condition key.
        "cloudwatch:GetMetricData",
        "cloudwatch:ListMetrics",
        "kafka:GetBootstrapBrokers",
        # As Lambda's guide on MSK lists them: what a mapping does in the cluster's VPC.
        "ec2:CreateNetworkInterface",
        "ec2:DeleteNetworkInterface",
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeSecurityGroups",
        "ec2:DescribeSubnets",
        "ec2:DescribeVpcs",
        *(("xray:PutTelemetryRecords", "xray:PutTraceSegments") if stage.settings.tracing else ()),
    }
    assert not any(
        "*" in action
        for f in (*INGEST, "query")
        for s in statements(stage, f)
        for action in _list(s["Action"])
    )


def test_roles_are_one_per_function_and_for_lambda_only(stage: Assembly) -> None:
    """No function borrows another's rights, and nothing but Lambda wears a function's role."""
    roles = [function["Role"] for function in functions(stage).values()]

    assert len(set(roles)) == len(roles) == 4
    for role in stage.properties("ingest", "AWS::IAM::Role"):
        (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert trust["Principal"] == {"Service": "lambda.amazonaws.com"}


def test_every_variable_has_a_value(stage: Assembly) -> None:
    """The functions take an empty one for none."""
    for function in functions(stage).values():
        assert all(function["Environment"]["Variables"].values())


def test_allowed_callers_are_the_settings_roles(aws_stage: Assembly) -> None:
    """JSON of role ARN to service name, in the account that deploys."""
    told = functions(aws_stage)["query"]["Environment"]["Variables"]["ALLOWED_CALLERS"]

    assert json.loads(told) == {
        f"arn:aws:iam::{ACCOUNT}:role/api-gateway-service": "api-gateway-service",
        f"arn:aws:iam::{ACCOUNT}:role/admin-dashboard-service": "admin-dashboard-service",
    }


def test_callers_without_identity_are_served_by_setting() -> None:
    """Of the local stage alone (test_settings), for an emulator that tells no identities."""
    told = functions(assembly("local", serve_unidentified="true"))["query"]["Environment"]["Variables"]

    assert json.loads(told["ALLOWED_CALLERS"])[""] == "unidentified"


def test_code_holds_what_layers_would_by_setting(local: Assembly) -> None:
    """Each function has code of its own, with dependencies and the shared package beside its handler, and no layer."""
    whole = assembly("local", layers_in_code="true")
    for part in ("ingest", "api"):
        assert whole.resources(part, "AWS::Lambda::LayerVersion") == {}
        assert local.resources(part, "AWS::Lambda::LayerVersion") != {}
    assert not any("Layers" in function for function in functions(whole).values())
    assert all("Layers" in function for function in functions(local).values())
    keys = {name: function["Code"]["S3Key"] for name, function in functions(whole).items()}
    assert len(set(keys.values())) == len(keys)
    for name, key in keys.items():
        folder = name.replace("-", "_")
        code = build_code(folder, stand_in_layer(), Target("3.13", "arm64"))

        assert key == f"{hashlib.sha256(code.name.encode()).hexdigest()}.zip"
        assert (code / "handler.py").read_bytes() == (FUNCTIONS / folder / "handler.py").read_bytes()
        assert (code / "dependencies.py").exists()
        assert (code / "result_aggregator" / "api.py").exists()
        assert not list(code.rglob("*.pyc"))


def test_caller_of_another_account_keeps_its_arn() -> None:
    """A full ARN is taken as it is."""
    other = "arn:aws:iam::999999999999:role/team/gateway"
    query = functions(assembly("prod", callers=json.dumps({"gateway": other})))["query"]

    assert json.loads(query["Environment"]["Variables"]["ALLOWED_CALLERS"]) == {other: "gateway"}


def test_queries_start_from_a_snapshot(aws_stage: Assembly) -> None:
    """The query function alone, by an alias of a published version; API Gateway may invoke that and nothing else."""
    found = functions(aws_stage)
    (version,) = aws_stage.resources("api", "AWS::Lambda::Version")
    alias = aws_stage.only("api", "AWS::Lambda::Alias")
    permission = aws_stage.only("api", "AWS::Lambda::Permission")

    assert found["query"]["SnapStart"] == {"ApplyOn": "PublishedVersions"}
    assert not any("SnapStart" in found[name] for name in INGEST)
    assert (alias["Name"], alias["FunctionVersion"]) == ("live", f"{version}.Version")
    assert permission["FunctionName"].endswith(":function:" + aws_stage.settings.name("query") + ":live")


def test_concurrency_by_setting(prod: Assembly) -> None:
    """Nothing is reserved unless said; then it is per function."""
    reserved = functions(assembly("prod", ingest_concurrency=20, query_concurrency=5))

    assert not any("ReservedConcurrentExecutions" in function for function in functions(prod).values())
    assert {name: function["ReservedConcurrentExecutions"] for name, function in reserved.items()} == {
        **dict.fromkeys(INGEST, 20),
        "query": 5,
    }


def test_functions_run_on_what_their_layers_are_built_for(aws_stage: Assembly) -> None:
    """By setting, too."""
    other = assembly(
        aws_stage.settings.stage, architecture="x86_64", runtime="python3.12", cluster_arn=CLUSTER_ARN
    )
    for made, runtime, architecture in (
        (aws_stage, aws_stage.settings.runtime, aws_stage.settings.architecture),
        (other, "python3.12", "x86_64"),
    ):
        for function in functions(made).values():
            assert (function["Runtime"], function["Architectures"]) == (runtime, [architecture])
        for part in ("ingest", "api"):
            for layer in made.properties(part, "AWS::Lambda::LayerVersion"):
                assert layer["CompatibleRuntimes"] == [runtime]
                assert layer["CompatibleArchitectures"] == [architecture]


def test_functions_stay_inside_what_calls_them(stage: Assembly) -> None:
    """API Gateway gives up after 29 seconds; an MSK mapping allows 14 minutes; functions need no VPC."""
    found = functions(stage)

    assert found["query"]["Timeout"] <= 29
    assert all(found[name]["Timeout"] <= 840 for name in INGEST)
    assert not any("VpcConfig" in function for function in found.values())


@pytest.mark.parametrize(
    ("level", "filtered_at"), [("DEBUG", "DEBUG"), ("INFO", "INFO"), ("WARNING", "INFO"), ("ERROR", "INFO")]
)
def test_logs_are_json_and_lambda_drops_no_metrics(level: str, filtered_at: str) -> None:
    """A line of metrics has no level, so Lambda takes it for INFO: the service's own level hides the rest."""
    for function in functions(assembly("dev", log_level=level)).values():
        assert function["LoggingConfig"]["LogFormat"] == "JSON"
        assert function["LoggingConfig"]["ApplicationLogLevel"] == filtered_at
        assert function["LoggingConfig"]["SystemLogLevel"] == "INFO"
        assert function["Environment"]["Variables"]["LOG_LEVEL"] == level


def test_logs_are_kept_for_a_while_and_written_by_one(stage: Assembly) -> None:
    """Every function has its own log group with retention, and no right on another's."""
    for name, function in functions(stage).items():
        group = f"/aws/lambda/{stage.settings.name(name)}"
        part = "api" if name == "query" else "ingest"
        (kept,) = (g for g in stage.properties(part, "AWS::Logs::LogGroup") if g["LogGroupName"] == group)

        assert function["LoggingConfig"]["LogGroup"] == group
        assert kept["RetentionInDays"] == stage.settings.log_retention_days
        may = statements(stage, name)
        stream = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{}}:*"
        assert allows(may, "logs:PutLogEvents", stream.format(group))
        assert not allows(may, "logs:PutLogEvents", stream.format("/aws/lambda/another"))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_operators_look_at_the_alias_that_the_stacks_make(prod: Assembly) -> None:
    """Under the same name: tests/ops/test_deployment.py has what operators ask for."""
    assert prod.only("api", "AWS::Lambda::Alias")["Name"] == LIVE_ALIAS
