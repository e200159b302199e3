"""The deployed handlers, loaded from their folders as Lambda loads them, over an emulated AWS."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
from base64 import b64decode
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ras_local.servers import rust_servers
from result_aggregator import ingest_handler, observability
from result_aggregator.names import (
    ENV_ALLOWED_CALLERS,
    ENV_COMPRESS_ANSWERS,
    ENV_DEAD_LETTER_BUCKET,
    ENV_DEFAULT_PIPELINE,
    ENV_PARTIAL_BATCH_RESPONSE,
    ENV_TABLE_NAME,
    GATEWAY_CALLER,
)
from result_aggregator.store import call_log as calls_module
from result_aggregator.store import dead_letters as s3_module
from result_aggregator.store import dynamodb_client
from result_aggregator.store import metric_store as cloudwatch_module
from result_aggregator.topics import TOPICS

from tests import openapi, samples
from tests.dynamodb import Watched
from tests.real_servers import DYNOXIDE, server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy_boto3_s3 import S3Client
    from result_aggregator.store.dynamodb_client import DynamoDB

ROOT = Path(__file__).parents[2]
ROLE = "arn:aws:iam::123456789012:role/platform/api-gateway-service"
CALLER = "arn:aws:sts::123456789012:assumed-role/api-gateway-service/session"


@dataclass
class Context:
    """As much of the Lambda context as the handlers use."""

    function_name: str = "test"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = "arn:aws:lambda:eu-north-1:123456789012:function:test"
    aws_request_id: str = "request"

    def get_remaining_time_in_millis(self) -> int:
        # More than any test takes, so that nothing is handed back because a machine was slow.
        return 600_000


def load(function: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A function's handler, freshly imported."""
    spec = importlib.util.spec_from_file_location(
        f"{function}_handler", ROOT / "functions" / function / "handler.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def invoke(event: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = module.lambda_handler(event, Context())
        return answer

    return invoke


@dataclass
class Service:
    """The four functions over one table and one bucket."""

    bucket: str
    s3: S3Client
    handlers: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = field(default_factory=dict)

    def invoke(self, function: str, event: dict[str, Any]) -> dict[str, Any]:
        if function not in self.handlers:
            self.handlers[function] = load(function)
        return self.handlers[function](event)

    def deliver(self, lines: Iterable[samples.Line], size: int = 50) -> None:
        """Deliver lines to the functions of their topics, in order, `size` records an invocation; nothing may fail."""
        by_function: dict[str, list[dict[str, Any]]] = {}
        for offset, line in enumerate(lines):
            made = samples.record(line.topic, line.value, offset)
            by_function.setdefault(TOPICS[line.topic].function, []).append(made)
        for function, records in by_function.items():
            for start in range(0, len(records), size):
                answer = self.invoke(function, samples.msk_event(records[start : start + size]))
                assert answer == {"batchItemFailures": []}

    def get(
        self,
        route: str,
        *,
        method: str = "GET",
        caller: str | None = CALLER,
        headers: dict[str, str] | None = None,
        query: dict[str, list[str]] | None = None,
        decoded: bool = False,
        **path: str,
    ) -> dict[str, Any]:
        """The proxy answer of the query function, its body read; it is held against the OpenAPI document.

        `path` parameters come as they stand in the path; `decoded` is how the emulator passes them on.
        """
        event = {
            "httpMethod": method,
            "resource": route,
            "path": route.format(**path) if path else route,
            "pathParameters": path or None,
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in (headers or {}).items()} or None,
            "multiValueQueryStringParameters": query,
            "requestContext": {"identity": {"userArn": caller}},
            **({"version": "1.0"} if decoded else {}),
        }
        answer = self.invoke("query", event)
        text = answer["body"]
        if answer.get("isBase64Encoded"):
            text = gzip.decompress(b64decode(text)).decode()
        is_json = answer["headers"].get("Content-Type") == "application/json"
        body = json.loads(text) if text and is_json else text or None
        known = route if route in openapi.document()["paths"] else None
        assert openapi.problems(known, answer["statusCode"], answer["headers"], body, method) == []
        return {**answer, "body": body}

    def dead_letters(self) -> dict[str, dict[str, Any]]:
        """What the bucket holds, by key."""
        keys = [one["Key"] for one in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])]
        return {
            key: json.loads(self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()) for key in keys
        }


# Where dynoxide cannot be had, `make test` runs on moto what it would not run at all.
_MOTO = pytest.param("moto", marks=() if rust_servers.missing(DYNOXIDE) else pytest.mark.long)


@pytest.fixture(params=[_MOTO, server(DYNOXIDE)])
def dynamodb_url(request: pytest.FixtureRequest) -> str | None:
    """The table is in moto (`make check`, `make test-long`) or in dynoxide (`make test`)."""
    if request.param == "moto":
        return None
    url: str = request.getfixturevalue("dynoxide_url")
    return url


class CurrentStdout:
    """Whatever standard output is when something is written: pytest gives each phase of a test another."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


class Logs:
    """What the functions printed since it was last asked: log lines and metrics, parsed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def take(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        printed = [json.loads(line) for line in self._capsys.readouterr().out.splitlines()]
        return [one for one in printed if "_aws" not in one], [one for one in printed if "_aws" in one]


@pytest.fixture
def calls(service: Service) -> list[str]:  # noqa: ARG001 - the client is the service's
    """The operations that the functions ask of DynamoDB, retries included."""
    seen: list[str] = []
    client = dynamodb_client.client()
    client.transport = Watched(client.transport, seen.append)
    return seen


@pytest.fixture
def logs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Logs:
    """What the functions print; the logger would keep the stream that it was made with."""
    monkeypatch.setattr(observability.logger.registered_handler, "stream", CurrentStdout())
    return Logs(capsys)


@pytest.fixture
def service(
    table: str, bucket: str, s3: S3Client, http_client: DynamoDB, monkeypatch: pytest.MonkeyPatch
) -> Service:
    """The service with the settings of a provisioned-mode mapping."""
    settings = {
        ENV_TABLE_NAME: table,
        ENV_DEAD_LETTER_BUCKET: bucket,
        ENV_PARTIAL_BATCH_RESPONSE: "true",
        ENV_DEFAULT_PIPELINE: "spellcheck,cj_assessment",
        ENV_COMPRESS_ANSWERS: "true",
        ENV_ALLOWED_CALLERS: json.dumps({ROLE: GATEWAY_CALLER}),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    # Made once per process, so within one emulated AWS: the next test has another.
    for cached in (cloudwatch_module._client, s3_module._client, ingest_handler._stores):
        cached.cache_clear()
    monkeypatch.setattr(dynamodb_client, "client", lambda: http_client)
    calls_module.calls.take()  # what an earlier test's functions did not get to count
    return Service(bucket, s3)
