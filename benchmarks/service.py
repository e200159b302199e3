"""The service itself as benchmarks run it: the deployed handlers, loaded from their folders."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from result_aggregator.topics import TOPICS

from tests.handlers.conftest import CALLER, load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.measured_process import Doer

FUNCTIONS = tuple(dict.fromkeys(topic.function for topic in TOPICS.values()))
STATUS = "/internal/v1/batches/{batch_id}/status"
LISTING = "/internal/v1/batches/user/{user_id}"


def make_ingest(settings: Mapping[str, str]) -> Doer:
    """A function that brings an invocation's event to the handler of its topic. Raises where records were handed back."""
    os.environ |= settings
    handlers = {function: load(function) for function in FUNCTIONS}

    def do(invocation: dict[str, Any]) -> dict[str, Any]:
        source = next(iter(invocation["records"]))
        answer = handlers[TOPICS[source.rpartition("-")[0]].function](invocation)
        if answer["batchItemFailures"]:
            raise RuntimeError(f"{len(answer['batchItemFailures'])} records were handed back")
        return answer

    return do


def make_query(settings: Mapping[str, str]) -> Doer:
    """A function that answers API Gateway's event. Raises where it is not answered with 200."""
    os.environ |= settings
    handler = load("query")

    def do(event: dict[str, Any]) -> dict[str, Any]:
        answer = handler(event)
        if answer["statusCode"] != 200:
            raise RuntimeError(f"answered {answer['statusCode']}: {answer['body']}")
        return answer

    return do


def request(route: str, query: Mapping[str, str] | None = None, **path: str) -> dict[str, Any]:
    """API Gateway's event of a GET by an allowed caller, who takes no compression."""
    return {
        "httpMethod": "GET",
        "resource": route,
        "path": route.format(**path),
        "pathParameters": path,
        "headers": {"Accept": "application/json"},
        "multiValueHeaders": {"Accept": ["application/json"]},
        "multiValueQueryStringParameters": {name: [value] for name, value in (query or {}).items()} or None,
        "requestContext": {"identity": {"userArn": CALLER}},
    }
