"""The API: who gets in by which door, and what the gateway says by itself."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from infra.api import GATEWAY_RESPONSES
from tests.template.policies import ANONYMOUS, Decision, Request, Statement, decide
from tests.template.synth import ACCOUNT, REGION, Assembly, assembly

GATEWAY = f"arn:aws:iam::{ACCOUNT}:role/api-gateway-service"
DASHBOARD = f"arn:aws:iam::{ACCOUNT}:role/admin-dashboard-service"
STRANGER = f"arn:aws:iam::{ACCOUNT}:role/not-allowed"
STATUS = "GET/internal/v1/batches/b-1/status"
LISTING = "GET/internal/v1/batches/user/u-1"
HEALTH = "GET/healthz"
ROUTES = {
    ("ANY", "/internal/v1/batches/{batch_id}/status"): "AWS_IAM",
    ("ANY", "/internal/v1/batches/user/{user_id}"): "AWS_IAM",
    ("ANY", "/healthz"): "NONE",
    ("ANY", "/{proxy+}"): "AWS_IAM",
}


def routes(stage: Assembly) -> dict[tuple[str, str], dict[str, Any]]:
    """Method and path -> the method's properties."""
    resources = stage.resources("api", "AWS::ApiGateway::Resource")

    def path(logical_id: str) -> str:
        properties = resources[logical_id]["Properties"]
        parent = properties["ParentId"].get("Ref")
        return f"{path(parent) if parent else ''}/{properties['PathPart']}"

    return {
        (
            resource["Properties"]["HttpMethod"],
            path(resource["Properties"]["ResourceId"]["Ref"]),
        ): stage.resolve("api", resource["Properties"])
        for resource in stage.resources("api", "AWS::ApiGateway::Method").values()
    }


def policy(stage: Assembly) -> list[Statement]:
    """The resource policy, with the short ARNs spelt out as API Gateway does when it saves it."""
    document = stage.only("api", "AWS::ApiGateway::RestApi")["Policy"]
    text = json.dumps(document["Statement"])
    full = text.replace('"execute-api:/', f'"arn:aws:execute-api:{REGION}:{ACCOUNT}:api/')
    found: list[Statement] = json.loads(full)
    return found


def endpoint(stage: Assembly) -> dict[str, Any]:
    (found,) = (
        properties
        for properties in stage.properties("network", "AWS::EC2::VPCEndpoint")
        if properties["ServiceName"].endswith(".execute-api")
    )
    return found


def endpoint_id(stage: Assembly) -> str:
    (found,) = stage.only("api", "AWS::ApiGateway::RestApi")["EndpointConfiguration"]["VpcEndpointIds"]
    return str(found)


def ask(statements: list[Statement], stage: Assembly, what: str, who: str, **context: str) -> Decision:
    resource = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:api/{stage.settings.stage}/{what}"
    keys = {"aws:SourceVpce": context["vpce"]} if "vpce" in context else {}
    return decide(statements, Request("execute-api:Invoke", resource, who, keys))


def test_authorisation_of_every_method(stage: Assembly) -> None:
    """IAM on everything but the health check; a new method without it fails here."""
    found = {route: method["AuthorizationType"] for route, method in routes(stage).items()}

    assert found == ROUTES


def test_every_method_goes_to_the_query_function(stage: Assembly) -> None:
    """The function alone answers, with the whole request; API Gateway may invoke it and nobody else may."""
    for method in routes(stage).values():
        integration = method["Integration"]
        assert integration["Type"] == "AWS_PROXY"
        assert f"function:{stage.settings.name('query')}/invocations" in integration["Uri"]
    permission = stage.only("api", "AWS::Lambda::Permission")
    assert permission["Principal"] == "apigateway.amazonaws.com"
    assert permission["SourceArn"].startswith(f"arn:aws:execute-api:{REGION}:")
    assert "*" not in permission["SourceArn"].split("/")[0]


def test_endpoint_is_private(stage: Assembly) -> None:
    """Never reachable from outside, in no stage."""
    assert stage.only("api", "AWS::ApiGateway::RestApi")["EndpointConfiguration"]["Types"] == ["PRIVATE"]


@pytest.mark.parametrize(
    ("who", "what", "expected"),
    [
        (GATEWAY, STATUS, "allow"),
        (GATEWAY, LISTING, "allow"),
        (DASHBOARD, LISTING, "allow"),
        (GATEWAY, "POST/internal/v1/batches/b-1/status", "allow"),  # the function answers 405
        (STRANGER, STATUS, "none"),
        (GATEWAY + "-2", STATUS, "none"),
        (f"arn:aws:iam::{ACCOUNT}:root", STATUS, "none"),
        (ANONYMOUS, STATUS, "none"),
        (ANONYMOUS, HEALTH, "allow"),
        (STRANGER, HEALTH, "allow"),
        (ANONYMOUS, "POST/healthz", "none"),
        (ANONYMOUS, "GET/healthz/../internal", "none"),
    ],
)
def test_who_gets_in_by_the_endpoint(aws_stage: Assembly, who: str, what: str, expected: Decision) -> None:
    """Named callers anywhere, anybody at the health check; a signed stranger of the account nowhere else."""
    assert ask(policy(aws_stage), aws_stage, what, who, vpce=endpoint_id(aws_stage)) == expected


@pytest.mark.parametrize("who", [GATEWAY, STRANGER, ANONYMOUS])
@pytest.mark.parametrize("what", [STATUS, HEALTH])
def test_nobody_gets_in_by_another_door(aws_stage: Assembly, who: str, what: str) -> None:
    """Another VPC's endpoint, or none, is refused even to a named caller: a deny that no identity policy undoes."""
    assert ask(policy(aws_stage), aws_stage, what, who, vpce="vpce-other") == "deny"
    assert ask(policy(aws_stage), aws_stage, what, who) == "deny"


def test_endpoint_in_the_policy_is_ours(aws_stage: Assembly) -> None:
    """The policy, the API's alias and the output name the endpoint that the network stack makes."""
    logical_ids = [
        name
        for name, resource in aws_stage.resources("network", "AWS::EC2::VPCEndpoint").items()
        if "ExecuteApi" in name and resource
    ]

    assert endpoint_id(aws_stage) == f"vpce-{logical_ids[0].lower()}"
    assert endpoint_id(aws_stage) in aws_stage.outputs("api")["ApiUrl"]


def test_local_policy_differs_by_the_door_only(local: Assembly) -> None:
    """No emulator satisfies a condition on the endpoint; who is allowed stays the same."""
    statements = policy(local)

    assert {statement["Sid"] for statement in statements} == {"NamedCallers", "Health"}
    callers = [
        f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("api-gateway-service", "admin-dashboard-service")
    ]
    assert [ask(statements, local, STATUS, caller) for caller in callers] == ["allow", "allow"]
    assert ask(statements, local, STATUS, STRANGER) == "none"
    assert ask(statements, local, HEALTH, ANONYMOUS) == "allow"


@pytest.mark.parametrize(
    ("who", "what", "expected"),
    [
        (GATEWAY, STATUS, "allow"),
        (STRANGER, STATUS, "none"),
        (ANONYMOUS, STATUS, "none"),
        (ANONYMOUS, HEALTH, "allow"),
    ],
)
def test_endpoint_has_a_policy_of_its_own(
    aws_stage: Assembly, who: str, what: str, expected: Decision
) -> None:
    """The third gate says the same as the second, instead of AWS's default of everything."""
    statements = endpoint(aws_stage)["PolicyDocument"]["Statement"]

    assert ask(statements, aws_stage, what, who) == expected


def test_other_callers_by_setting() -> None:
    """The settings' roles replace the default ones everywhere, and the API is deployed again for it."""
    other = f"arn:aws:iam::{ACCOUNT}:role/other"
    changed = assembly("prod", callers=json.dumps({"other": "other"}))
    allowed = {
        who: ask(policy(changed), changed, STATUS, who, vpce=endpoint_id(changed)) for who in (other, GATEWAY)
    }

    assert allowed == {other: "allow", GATEWAY: "none"}
    kind = "AWS::ApiGateway::Deployment"
    assert changed.resources("api", kind).keys() != assembly("prod").resources("api", kind).keys()


def test_gateways_own_answers_are_the_services_error_body(stage: Assembly) -> None:
    """Valid JSON with the four fields whatever the message holds, and a correlation id that the logs have."""
    responses = {
        response["ResponseType"]: response
        for response in stage.properties("api", "AWS::ApiGateway::GatewayResponse")
    }
    assert set(responses) == set(GATEWAY_RESPONSES)

    for kind, response in responses.items():
        body = json.loads(rendered(response["ResponseTemplates"]["application/json"], 'said "no"\n'))
        assert set(body) == {"error", "code", "details", "correlation_id"}
        assert body["correlation_id"] == "request-1"
        assert body["details"] == {"type": "SOME_TYPE"}
        assert response["ResponseParameters"] == {
            "gatewayresponse.header.X-Correlation-ID": "context.requestId"
        }
        assert response.get("StatusCode") == (
            None if kind.startswith("DEFAULT") else str(GATEWAY_RESPONSES[kind][0])
        )


def test_refusals_show_no_internals(prod: Assembly) -> None:
    """The gateway's own words name ARNs and expected signatures, so a refused caller gets a fixed sentence."""
    for response in prod.properties("api", "AWS::ApiGateway::GatewayResponse"):
        template = response["ResponseTemplates"]["application/json"]
        about_the_request = response["ResponseType"].startswith(("BAD_REQUEST", "UNSUPPORTED"))
        assert ("$context.error.messageString" in template) is about_the_request


@pytest.mark.parametrize(
    ("template", "is_json"),
    [
        ('{"error": $context.error.messageString}', True),
        ('{"error": "$context.error.messageString"}', False),
        ('{"error": "$context.error.message"}', False),
    ],
)
def test_rendering_shows_bad_templates(template: str, is_json: bool) -> None:  # noqa: FBT001 - a test parameter
    """The check above does see a template that quotes wrongly."""
    text = rendered(template, 'said "no"')
    if is_json:
        json.loads(text)
    else:
        with pytest.raises(ValueError, match="delimiter"):
            json.loads(text)


def rendered(template: str, message: str) -> str:
    """A gateway response's body as API Gateway fills it in: plain replacement, no escaping."""
    variables = {
        "context.error.messageString": json.dumps(message),
        "context.error.message": message,
        "context.error.responseType": "SOME_TYPE",
        "context.requestId": "request-1",
    }
    return re.sub(r"\$([a-zA-Z.]+)", lambda match: variables[match[1]], template)


def test_stage_is_throttled_traced_and_logged(aws_stage: Assembly) -> None:
    """Access logs without payloads, with who asked and how long it took."""
    deployed = aws_stage.only("api", "AWS::ApiGateway::Stage")
    (settings,) = deployed["MethodSettings"]
    logged = json.loads(deployed["AccessLogSetting"]["Format"])

    assert settings["ThrottlingRateLimit"] == aws_stage.settings.api_rate_limit
    assert settings["ThrottlingBurstLimit"] == aws_stage.settings.api_burst_limit
    assert settings["DataTraceEnabled"] is False
    assert deployed["TracingEnabled"] is True
    assert {"requestId", "status", "userArn", "responseLatencyMs"} <= logged.keys()
    group = f"/aws/apigateway/{aws_stage.settings.name('query')}"
    assert deployed["AccessLogSetting"]["DestinationArn"].endswith(f":log-group:{group}")
    assert group in [g["LogGroupName"] for g in aws_stage.properties("api", "AWS::Logs::LogGroup")]


def test_local_stage_is_throttled_too(local: Assembly) -> None:
    """The same limits, without the logs and traces that nobody reads there."""
    deployed = local.only("api", "AWS::ApiGateway::Stage")

    assert deployed["MethodSettings"][0]["ThrottlingRateLimit"] == local.settings.api_rate_limit
    assert "AccessLogSetting" not in deployed
