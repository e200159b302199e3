"""The private REST API: who gets in, what the gateway itself answers, and where every request is written down."""

import json
from collections.abc import Sequence

from aws_cdk import RemovalPolicy
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct
from result_aggregator.names import RETRY_AFTER_S

from infra.functions import retention
from infra.nag import acknowledge
from infra.settings import Settings

# What the gateway refuses by itself, in the service's own error body. The sentences are fixed where the
# gateway's own names ARNs or the signature it expected; elsewhere its message is about the caller's request.
# type -> (status, code, sentence or None for the gateway's)
GATEWAY_RESPONSES: dict[str, tuple[int, str, str | None]] = {
    "ACCESS_DENIED": (403, "forbidden", "The caller is not allowed to use this API."),
    "BAD_REQUEST_BODY": (400, "bad_request", None),
    "BAD_REQUEST_PARAMETERS": (400, "bad_request", None),
    "DEFAULT_4XX": (400, "refused", "The request was refused."),
    "DEFAULT_5XX": (500, "internal_error", "The service failed to answer."),
    "EXPIRED_TOKEN": (403, "forbidden", "The credentials that signed the request have expired."),
    "INTEGRATION_FAILURE": (503, "unavailable", "The service did not answer."),
    "INTEGRATION_TIMEOUT": (503, "unavailable", "The service did not answer in time."),
    "INVALID_SIGNATURE": (403, "forbidden", "The signature of the request is not valid."),
    # The gateway's answer to a request without a signature, and to a route it does not know.
    "MISSING_AUTHENTICATION_TOKEN": (
        403,
        "forbidden",
        "The request is not signed, or there is no such route.",
    ),
    "QUOTA_EXCEEDED": (429, "too_many_requests", "Too many requests."),
    "REQUEST_TOO_LARGE": (413, "request_too_large", "The request is too large."),
    "RESOURCE_NOT_FOUND": (404, "unknown_route", "There is no such route."),
    "THROTTLED": (429, "too_many_requests", "Too many requests."),
    "UNAUTHORIZED": (403, "forbidden", "The caller is not allowed to use this API."),
    "UNSUPPORTED_MEDIA_TYPE": (415, "unsupported_media_type", None),
    "WAF_FILTERED": (403, "forbidden", "The request was refused."),
}

# What passes by itself: too many requests for the stage, or for Lambda (a throttled function is an integration failure).
_PASSING = ("INTEGRATION_FAILURE", "INTEGRATION_TIMEOUT", "THROTTLED")

ACCESS_LOG_FIELDS = {
    "requestId": "$context.requestId",
    "extendedRequestId": "$context.extendedRequestId",
    "requestTimeEpoch": "$context.requestTimeEpoch",
    "httpMethod": "$context.httpMethod",
    "resourcePath": "$context.resourcePath",
    "status": "$context.status",
    "errorType": "$context.error.responseType",
    "userArn": "$context.identity.userArn",
    "sourceIp": "$context.identity.sourceIp",
    "vpceId": "$context.identity.vpceId",
    "responseLength": "$context.responseLength",
    "responseLatencyMs": "$context.responseLatency",
    "integrationLatencyMs": "$context.integrationLatency",
}


def error_template(code: str, sentence: str | None) -> str:
    """The error body with the gateway's variables in it; valid JSON once they are put in.

    A gateway response is no VTL template: variables are put in as they are, so what may hold a quote must come
    already quoted (messageString does, message does not) and nothing else may ever hold one.
    """
    message = "$context.error.messageString" if sentence is None else json.dumps(sentence)
    return (
        f'{{"error": {message}, "code": "{code}",'
        ' "details": {"type": "$context.error.responseType"}, "correlation_id": "$context.requestId"}'
    )


def resource_policy(
    *, stage_name: str, caller_role_arns: Sequence[str], vpc_endpoint_id: str | None
) -> iam.PolicyDocument:
    """Who gets in: the named roles, anybody's question after the health, and all of them by our endpoint only.

    Naming the roles matters: `Allow *` beside AWS_IAM lets in every signed principal of the account, as within
    an account the resource policy's word is enough. So is an identity policy's, which administrators have: against
    that only a deny helps.

    Without an endpoint, which is the local stage, the denials are left out: no emulator knows a request's endpoint,
    and ours takes a session's own ARN for `aws:PrincipalArn`, which in AWS is that of its role.
    """
    document = iam.PolicyDocument(
        statements=[
            iam.PolicyStatement(
                sid="NamedCallers",
                principals=[iam.ArnPrincipal(arn) for arn in caller_role_arns],
                actions=["execute-api:Invoke"],
                resources=[f"execute-api:/{stage_name}/*"],
            ),
            iam.PolicyStatement(
                sid="Health",
                principals=[iam.AnyPrincipal()],
                actions=["execute-api:Invoke"],
                resources=[f"execute-api:/{stage_name}/{method}/healthz" for method in ("GET", "HEAD")],
            ),
        ]
    )
    if vpc_endpoint_id is not None:
        document.add_statements(
            iam.PolicyStatement(
                sid="OnlyByOurEndpoint",
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=["execute-api:Invoke"],
                resources=["execute-api:/*"],
                conditions={"StringNotEquals": {"aws:SourceVpce": vpc_endpoint_id}},
            ),
            # By condition, not by NotPrincipal: that would deny the named roles too, as it wants every session by name.
            iam.PolicyStatement(
                sid="OnlyNamedCallers",
                effect=iam.Effect.DENY,
                principals=[iam.AnyPrincipal()],
                actions=["execute-api:Invoke"],
                resources=[
                    f"execute-api:/{stage_name}/*/internal/*",
                    f"execute-api:/{stage_name}/*/metrics",
                ],
                conditions={
                    "ArnNotEquals": {"aws:PrincipalArn": list(caller_role_arns)},
                    # Only whose signature was checked: the key's absence meets the condition above as well.
                    "Null": {"aws:PrincipalArn": "false"},
                },
            ),
        )
    return document


class QueryApi(Construct):
    """A PRIVATE REST API in front of the query function, AWS_IAM on everything but `/healthz`."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        function: lambda_.IFunction,
        key: kms.IKey | None,
        caller_role_arns: Sequence[str],
        vpc_endpoint: ec2.IInterfaceVpcEndpoint | None,
    ) -> None:
        super().__init__(scope, construct_id)
        stage_name = settings.stage
        restricted_to = vpc_endpoint if settings.restrict_to_vpc_endpoint else None
        self.api = apigateway.RestApi(
            self,
            "Api",
            rest_api_name=settings.name("query"),
            description="Reads the view of essay-processing results",
            endpoint_configuration=apigateway.EndpointConfiguration(
                types=[apigateway.EndpointType.PRIVATE],
                # Gives the API a name of its own for the endpoint, without private DNS.
                vpc_endpoints=[vpc_endpoint] if vpc_endpoint else None,
            ),
            policy=resource_policy(
                stage_name=stage_name,
                caller_role_arns=caller_role_arns,
                vpc_endpoint_id=restricted_to.vpc_endpoint_id if restricted_to else None,
            ),
            # The function compresses, so what it answers may be bytes. Everything, because the gateway goes by the caller's
            # `Accept`, whatever type the answer has; what the function does not call base64 stays text.
            binary_media_types=["*/*"],
            # Retained: other APIs of the account write their logs with it too.
            cloud_watch_role=settings.api_log_role,
            cloud_watch_role_removal_policy=RemovalPolicy.RETAIN if settings.api_log_role else None,
            default_method_options=apigateway.MethodOptions(
                authorization_type=apigateway.AuthorizationType.IAM
            ),
            deploy_options=self._stage_options(settings, key),
        )
        # The output that comes with a RestApi is a URL that resolves only with private DNS; ours is in the stack.
        self.api.node.try_remove_child("Endpoint")
        self._acknowledge(self._add_routes(function))
        self._add_gateway_responses()

    def _add_routes(self, function: lambda_.IFunction) -> apigateway.Method:
        """Every route to the function; returns the method of `/healthz`, the one without authorization."""
        to_function = apigateway.LambdaIntegration(function, scope_permission_to_method=False)
        batches = self.api.root.add_resource("internal").add_resource("v1").add_resource("batches")
        # ANY, and a catch-all: the function alone can tell 404 from 405. The gateway answers a method that a
        # resource does not have, and a route that it does not know, with 403.
        batches.add_resource("{batch_id}").add_resource("status").add_method("ANY", to_function)
        batches.add_resource("user").add_resource("{user_id}").add_method("ANY", to_function)
        health = self.api.root.add_resource("healthz").add_method(
            "ANY", to_function, authorization_type=apigateway.AuthorizationType.NONE
        )
        self.api.root.add_resource("metrics").add_method("ANY", to_function)
        self.api.root.add_resource("{proxy+}").add_method("ANY", to_function)
        return health

    def _add_gateway_responses(self) -> None:
        for response_type, (status, code, sentence) in GATEWAY_RESPONSES.items():
            is_default = response_type.startswith("DEFAULT_")
            self.api.add_gateway_response(
                "".join(word.capitalize() for word in response_type.split("_")),
                type=apigateway.ResponseType.of(response_type),
                # Without a status a default keeps the one that each of its types has.
                status_code=None if is_default else str(status),
                response_headers={
                    "X-Correlation-ID": "context.requestId",
                    # A quoted text is itself; without quotes it would name a value of the request.
                    **({"Retry-After": f"'{RETRY_AFTER_S}'"} if response_type in _PASSING else {}),
                },
                templates={"application/json": error_template(code, sentence)},
            )

    def _acknowledge(self, health: apigateway.Method) -> None:
        acknowledge(
            self.api.node.find_child("Resource"),
            "APIG2",
            "All that a request validator could check is that parameters are there, and every one is optional; the"
            " function checks their values, and answers in the service's own error body.",
        )
        for method in self.api.methods:
            acknowledge(
                method,
                "COG4",
                "Callers are services with IAM roles, not people with a user pool: AWS_IAM authorises them by their"
                " signature. After the health anybody inside the VPC may ask.",
            )
        acknowledge(
            health,
            "APIG4",
            "Probes cannot sign. The answer has no user data, and only what passes the VPC endpoint gets here.",
        )
        stage = self.api.deployment_stage
        acknowledge(
            stage,
            "APIG3",
            "A web ACL guards against the internet, from which a private API cannot be reached: the endpoint, its"
            " policy and the resource policy let in named roles only, and the stage is throttled.",
        )
        acknowledge(
            stage,
            "APIG6",
            "Every request is in the access log. Execution logs would repeat requests with their signatures, in a log"
            " group that API Gateway makes by itself, without retention or our key.",
        )
        role = self.api.node.try_find_child("CloudWatchRole")
        if role:
            policy = "arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"
            acknowledge(
                role,
                f"IAM4[Policy::{policy}]",
                "API Gateway writes all logs of an account and region with one role, for which AWS has this policy.",
            )

    def _stage_options(self, settings: Settings, key: kms.IKey | None) -> apigateway.StageOptions:
        destination = None
        if settings.api_access_logs:
            group = logs.LogGroup(
                self,
                "AccessLogs",
                log_group_name=f"/aws/apigateway/{settings.name('query')}",
                retention=retention(settings),
                encryption_key=key,
                removal_policy=RemovalPolicy.DESTROY,
            )
            destination = apigateway.LogGroupLogDestination(group)
        return apigateway.StageOptions(
            stage_name=settings.stage,
            throttling_rate_limit=settings.api_rate_limit,
            throttling_burst_limit=settings.api_burst_limit,
            tracing_enabled=settings.tracing,
            access_log_destination=destination,
            access_log_format=apigateway.AccessLogFormat.custom(json.dumps(ACCESS_LOG_FIELDS))
            if destination
            else None,
        )
