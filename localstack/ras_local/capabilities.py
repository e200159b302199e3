"""What an emulator lacks of AWS, found out by trying it, and what the local stage does about it."""

from __future__ import annotations

import base64
import io
import json
import platform
import secrets
import sys
import zipfile
from contextlib import ExitStack, suppress
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, WaiterError
from ras import signed_http
from ras.errors import FailedError
from result_aggregator.names import log_group_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import requests
    from ras.aws import Cloud
    from ras.signed_http import CallerKeys


class Lack(StrEnum):
    """One thing that is not there, by the name under which the stack file keeps it."""

    POLICIES = "policies"
    SIGNATURES = "signatures"
    MSK = "msk"
    LAYERS = "layers"
    BYTES = "bytes"
    IDENTITY = "identity"


SAID = {
    Lack.POLICIES: "policies: everybody may do everything, so who may ask what is neither kept nor tested",
    Lack.SIGNATURES: "checks of signatures: the id of a key is enough to pass for its owner, without the secret",
    Lack.MSK: "MSK and mappings for it: what they would be is told by the stack, and done here as ever",
    Lack.LAYERS: "layers: each function's code brings what its layers hold",
    Lack.BYTES: "bytes in an API's answers of any type: none is compressed",
    Lack.IDENTITY: "callers' identities: an API does not tell the function who asks, which answers them all",
}

SETTINGS = {
    Lack.MSK: {"mappings_as_output": "true"},
    Lack.LAYERS: {"layers_in_code": "true"},
    Lack.BYTES: {"compress_answers": "false"},
    Lack.IDENTITY: {"serve_unidentified": "true"},
}
"""What the local stage is deployed with for it, where that helps."""

RUNTIME_IMAGE_S = 300
"""For so long a first function may take to be ready: LocalStack fetches its runtime's image."""

_PROBE = "ras_probe"
_LAYER = "applied"
_CALLER = "X-Caller"
_HANDLER = f"""
import base64, importlib.util

def handler(event, context):
    layer = "{_LAYER}" if importlib.util.find_spec("{_PROBE}_layer") else "ignored"
    caller = event.get("requestContext", {{}}).get("identity", {{}}).get("userArn")
    return {{
        "statusCode": 200,
        "headers": {{"{_CALLER}": caller or ""}},
        "isBase64Encoded": True,
        "body": base64.b64encode(layer.encode()).decode(),
    }}
"""


def found(cloud: Cloud) -> Iterator[Lack]:
    """What is lacking, each once it is known: nothing in the embedded emulator, all of it in LocalStack's free edition.

    What is made for that is deleted again. Raises OperatorError where functions do not run, or no API gets through to one.
    """
    name = f"{_PROBE}-{secrets.token_hex(4)}"
    with ExitStack() as afterwards:
        user = _make_user(cloud, name, afterwards)
        if not _is_refused(user.iam.list_roles):
            yield Lack.POLICIES
        # No policy is asked for this (STS's reference), so that only the signature can be refused. LocalStack takes a key
        # of nobody's for its root's, and documents that it looks at no secret.
        if not _is_refused(replace(user, secret=secrets.token_hex(20)).sts.get_caller_identity):
            yield Lack.SIGNATURES
        if _is_refused(replace(cloud, retries=1).msk.list_clusters):
            yield Lack.MSK
        invoked, asked = _answers_of_a_function(cloud, user, name)
        said = base64.b64decode(invoked["body"])
        if said != _LAYER.encode():
            yield Lack.LAYERS
        if asked.content != said:
            yield Lack.BYTES
        if not asked.headers.get(_CALLER):
            yield Lack.IDENTITY


def settings(lacks: Iterable[str]) -> dict[str, str]:
    """The settings of the local stage that make up for it."""
    return {name: value for lack in lacks for name, value in SETTINGS.get(Lack(lack), {}).items()}


def _is_refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except ClientError:
        return True
    return False


def _make_user(cloud: Cloud, name: str, afterwards: ExitStack) -> Cloud:
    """The cloud as a user sees it who may ask APIs, and nothing else."""
    iam = cloud.iam
    iam.create_user(UserName=name)
    afterwards.callback(iam.delete_user, UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    afterwards.callback(iam.delete_access_key, UserName=name, AccessKeyId=key["AccessKeyId"])
    iam.put_user_policy(UserName=name, PolicyName=name, PolicyDocument=_MAY_ASK)
    afterwards.callback(iam.delete_user_policy, UserName=name, PolicyName=name)
    return replace(cloud, retries=1, key=key["AccessKeyId"], secret=key["SecretAccessKey"])


def _answers_of_a_function(cloud: Cloud, user: Cloud, name: str) -> tuple[dict[str, Any], requests.Response]:
    """What a function with a layer answers when it is invoked, and what an API makes of it for the user.

    What is made for that is deleted again. Raises OperatorError where it does not run, or the API does not get to it.
    """
    try:
        with ExitStack() as afterwards:
            function_arn = _make_function(cloud, name, afterwards)
            invoked = json.loads(cloud.functions.invoke(FunctionName=name, Payload=b"{}")["Payload"].read())
            if "body" not in invoked:
                raise _unable(cloud, json.dumps(invoked)[:500])
            answer = _asked(_make_api(cloud, name, function_arn, afterwards), user)
            # Their output, by whoever kept it.
            with suppress(ClientError):
                cloud.logs.delete_log_group(logGroupName=log_group_name(name))
            return invoked, answer
    except WaiterError as error:
        described: Any = error.last_response
        raise _unable(cloud, described.get("Configuration", {}).get("StateReason", error)) from error
    except (BotoCoreError, ClientError) as error:
        raise _unable(cloud, error) from error


def _asked(url: str, user: Cloud) -> requests.Response:
    """The API's answer to the user. Raises OperatorError where it is an error, which would be taken for what did not get through."""
    keys: CallerKeys = {"access_key_id": user.key, "secret_access_key": user.secret, "session_token": ""}
    answer = signed_http.get(
        url, region=user.region, credentials=keys, headers={"Accept": "*/*"}, timeout_s=60
    )
    if not answer.ok:
        raise FailedError(
            f"an API of {user.endpoint_url} does not get through to its function:"
            f" {answer.status_code} {answer.text[:500]}",
            "Invoked directly it answers: the emulator's log may say what keeps the API from it.",
        )
    return answer


def _make_function(cloud: Cloud, name: str, afterwards: ExitStack) -> str:
    """A function that says whether its layer is there, once it can be invoked; its ARN."""
    # As the local stage's own functions are, so that it is their runtime's image that is fetched.
    runtime: Any = f"python{sys.version_info.major}.{sys.version_info.minor}"
    architecture: Any = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
    functions = cloud.functions
    layer = functions.publish_layer_version(
        LayerName=name, Content={"ZipFile": _zipped(f"python/{_PROBE}_layer.py", "")}
    )
    afterwards.callback(functions.delete_layer_version, LayerName=name, VersionNumber=layer["Version"])
    role = cloud.iam.create_role(RoleName=name, AssumeRolePolicyDocument=_TRUST)["Role"]
    afterwards.callback(cloud.iam.delete_role, RoleName=name)
    made = functions.create_function(
        FunctionName=name,
        Runtime=runtime,
        Architectures=[architecture],
        Role=role["Arn"],
        Handler="probe.handler",
        Code={"ZipFile": _zipped("probe.py", _HANDLER)},
        Layers=[layer["LayerVersionArn"]],
        Timeout=30,
    )
    afterwards.callback(functions.delete_function, FunctionName=name)
    functions.get_waiter("function_active_v2").wait(
        FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": RUNTIME_IMAGE_S}
    )
    return made["FunctionArn"]


def _make_api(cloud: Cloud, name: str, function_arn: str, afterwards: ExitStack) -> str:
    """An API that answers what the function answers, bytes too, as the service's own; its URL."""
    gateway = cloud.gateway
    api = gateway.create_rest_api(name=name, binaryMediaTypes=["*/*"])["id"]
    afterwards.callback(gateway.delete_rest_api, restApiId=api)
    (root,) = gateway.get_resources(restApiId=api)["items"]
    place = {"restApiId": api, "resourceId": root["id"], "httpMethod": "GET"}
    gateway.put_method(**place, authorizationType="AWS_IAM")
    gateway.put_integration(
        **place,
        type="AWS_PROXY",
        integrationHttpMethod="POST",
        uri=f"arn:aws:apigateway:{cloud.region}:lambda:path/2015-03-31/functions/{function_arn}/invocations",
    )
    # Where policies decide, LocalStack wants it as AWS does ("IAM Coverage": apigateway, lambda, API integration).
    cloud.functions.add_permission(
        FunctionName=name,
        StatementId=_PROBE,
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
    )
    gateway.create_deployment(restApiId=api, stageName=_PROBE)
    return f"{cloud.endpoint_url}/_aws/execute-api/{api}/{_PROBE}/"


def _unable(cloud: Cloud, reason: object) -> FailedError:
    return FailedError(
        f"{cloud.endpoint_url} runs no functions: {reason}",
        "LocalStack runs them in containers of its own: it has to reach Docker, and Docker the runtime's image.",
    )


_MAY_ASK = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}],
    }
)

_TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
)


def _zipped(name: str, text: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        # Readable by whoever runs the function: an archive carries rights, and none would be.
        member = zipfile.ZipInfo(name)
        member.external_attr = 0o644 << 16
        archive.writestr(member, text)
    return packed.getvalue()
