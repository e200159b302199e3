"""The API: its routes, and what the gateway says by itself. Who gets in is in `test_authorisation`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from result_aggregator import api as http

from infra.api import ACCESS_LOG_FIELDS, GATEWAY_RESPONSES
from tests import openapi
from tests.template.given import REGION

if TYPE_CHECKING:
    from tests.template.synth import Assembly

ROUTES = {
    ("ANY", "/internal/v1/batches/{batch_id}/status"): "AWS_IAM",
    ("ANY", "/internal/v1/batches/user/{user_id}"): "AWS_IAM",
    ("ANY", "/healthz"): "NONE",
    ("ANY", "/metrics"): "AWS_IAM",
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


def test_authorisation_of_every_method(stage: Assembly) -> None:
    """IAM on everything but the health check; a new method without it fails here."""
    found = {route: method["AuthorizationType"] for route, method in routes(stage).items()}

    assert found == ROUTES


def test_every_method_goes_to_the_query_function(stage: Assembly) -> None:
    """The function alone answers, with the whole request; API Gateway may invoke it and nobody else may."""
    for method in routes(stage).values():
        integration = method["Integration"]
        assert integration["Type"] == "AWS_PROXY"
        # A snapshot is of a version, which only the alias leads to.
        live = ":live" if stage.settings.snap_start else ""
        assert f"function:{stage.settings.name('query')}{live}/invocations" in integration["Uri"]
    permission = stage.only("api", "AWS::Lambda::Permission")
    assert permission["Principal"] == "apigateway.amazonaws.com"
    assert permission["SourceArn"].startswith(f"arn:aws:execute-api:{REGION}:")
    assert "*" not in permission["SourceArn"].split("/")[0]


def test_compressed_answers_go_through(stage: Assembly) -> None:
    """The gateway turns base64 into bytes whatever type the caller accepts, and compresses nothing itself."""
    api = stage.only("api", "AWS::ApiGateway::RestApi")

    assert api["BinaryMediaTypes"] == ["*/*"]
    assert "MinimumCompressionSize" not in api


def test_endpoint_is_private(stage: Assembly) -> None:
    """Never reachable from outside, in no stage."""
    assert stage.only("api", "AWS::ApiGateway::RestApi")["EndpointConfiguration"]["Types"] == ["PRIVATE"]


def test_gateways_own_answers_are_the_services_error_body(stage: Assembly) -> None:
    """Valid JSON with the four fields whatever the message holds, a correlation id that the logs have, and when to ask again."""
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
        headers = response["ResponseParameters"]
        assert headers.pop("gatewayresponse.header.X-Correlation-ID") == "context.requestId"
        passes = body["code"] in ("too_many_requests", "unavailable") and kind != "QUOTA_EXCEEDED"
        assert headers == (
            {"gatewayresponse.header.Retry-After": f"'{http.UnavailableApiError.headers['Retry-After']}'"}
            if passes
            else {}
        )
        assert response.get("StatusCode") == (
            None if kind.startswith("DEFAULT") else str(GATEWAY_RESPONSES[kind][0])
        )


def test_refusals_show_no_internals(prod: Assembly) -> None:
    """The gateway's own words name ARNs and expected signatures, so a refused caller gets a fixed sentence."""
    for response in prod.properties("api", "AWS::ApiGateway::GatewayResponse"):
        template = response["ResponseTemplates"]["application/json"]
        about_the_request = response["ResponseType"].startswith(("BAD_REQUEST", "UNSUPPORTED"))
        assert ("$context.error.messageString" in template) is about_the_request


def test_the_page_on_403_knows_every_refusal() -> None:
    """Each of the gateway's types that is one, with its sentence, and only fields that the access log has."""
    page = (Path(__file__).parents[2] / "docs/debug-403.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`[A-Z0-9_]+`(?:, )?)+) \| (.*?) \|", page, re.MULTILINE)
    told = {kind: sentence for kinds, sentence in rows for kind in re.findall(r"`(\w+)`", kinds)}
    refusals = {
        kind: sentence
        for kind, (status, _, sentence) in GATEWAY_RESPONSES.items()
        if status == 403 or kind == "DEFAULT_4XX"
    }

    assert told == refusals
    fields = set(re.findall(r"`(status|[a-z]+[A-Z]\w*)`", page))
    assert fields <= ACCESS_LOG_FIELDS.keys()
    assert {"errorType", "userArn", "requestId", "vpceId"} <= fields


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


def test_routes_are_those_of_the_document(local: Assembly) -> None:
    """Path, path parameters in it, and whether it takes a signature; the catch-all is no route."""
    deployed = {
        path: method["AuthorizationType"]
        for (_, path), method in routes(local).items()
        if path != "/{proxy+}"
    }
    described = {
        path: "NONE" if item["get"].get("security") == [] else "AWS_IAM"
        for path, item in openapi.document()["paths"].items()
    }

    assert described == deployed


def test_every_gateway_response_is_described() -> None:
    """Its code is one of the errors', and its status one of every operation's."""
    document = openapi.document()
    codes = document["components"]["schemas"]["Error"]["properties"]["code"]["enum"]
    for status, code, _ in GATEWAY_RESPONSES.values():
        assert code in codes
        for item in document["paths"].values():
            assert str(status) in item["get"]["responses"] or (400 <= status < 500)
