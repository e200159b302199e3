"""Events as AWS documents them, with all that a function gets and does not read."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from result_aggregator.names import GATEWAY_CALLER

from tests.template.given import ACCOUNT

STATUS = "/internal/v1/batches/{batch_id}/status"
LISTING = "/internal/v1/batches/user/{user_id}"


def rest(
    resource: str,
    *,
    method: str = "GET",
    role: str | None = GATEWAY_CALLER,
    query: dict[str, list[str]] | None = None,
    headers: dict[str, str] | None = None,
    **path: str,
) -> dict[str, Any]:
    """ "Input format of a Lambda function for proxy integration", of a private REST API with AWS_IAM and an assumed role.

    What a request has none of is null, not left out.
    """
    asked = resource.format(**{name: quote(value, safe="") for name, value in path.items()})
    sent = {
        "Accept": "*/*",
        "Host": "abc123.execute-api.eu-north-1.amazonaws.com",
        "x-amz-content-sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "X-Amz-Date": "20261128T080000Z",
        "X-Amzn-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
        "X-Forwarded-For": "10.0.0.12",
        **(headers or {}),
    }
    user = f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/session" if role else None
    return {
        "resource": resource,
        "path": asked,
        "httpMethod": method,
        "headers": sent,
        "multiValueHeaders": {name: [value] for name, value in sent.items()},
        "queryStringParameters": {name: values[-1] for name, values in query.items()} if query else None,
        "multiValueQueryStringParameters": query,
        "pathParameters": {name: quote(value, safe="") for name, value in path.items()} or None,
        "stageVariables": None,
        "requestContext": {
            "resourceId": "qa1b2c",
            "resourcePath": resource,
            "operationName": "getStatus",
            "httpMethod": method,
            "extendedRequestId": "AbCdEfGhIjKlMnO=",
            "requestTime": "28/Nov/2026:08:00:00 +0000",
            "path": f"/v1{asked}",
            "accountId": ACCOUNT,
            "protocol": "HTTP/1.1",
            "stage": "v1",
            "domainPrefix": "abc123",
            "requestTimeEpoch": 1_795_852_800_000,
            "requestId": "5e66f0c2-5f1f-4b3c-9e0c-6f0f4f2d7a10",
            "identity": {
                "cognitoIdentityPoolId": None,
                "cognitoIdentityId": None,
                "vpceId": "vpce-0a1b2c3d4e5f67890",
                "apiKey": None,
                "principalOrgId": "o-abc123",
                "cognitoAuthenticationType": None,
                "userArn": user,
                "apiKeyId": None,
                "userAgent": "python-httpx/0.28",
                "accountId": ACCOUNT if role else None,
                "caller": f"AROAEXAMPLE:{role}" if role else None,
                "sourceIp": "10.0.0.12",
                "accessKey": "ASIAEXAMPLE" if role else None,
                "vpcId": "vpc-0a1b2c3d",
                "cognitoAuthenticationProvider": None,
                "user": f"AROAEXAMPLE:{role}" if role else None,
            },
            "domainName": "abc123.execute-api.eu-north-1.amazonaws.com",
            "deploymentId": "d1e2f3",
            "apiId": "abc123",
        },
        "body": None,
        "isBase64Encoded": False,
    }
