"""What an answer of Lambda's Invoke API means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from ras_local.mapping import AwsAccess, Failed, NotReached, Succeeded
from ras_local.mapping.invoke import invoke

from tests.local.mapping.lambda_endpoint import LambdaEndpoint, Throttled, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ras_local.mapping import InvocationResult


def answers(_: dict[str, Any]) -> Any:
    return {"batchItemFailures": []}


def fails(_: dict[str, Any]) -> Any:
    raise ValueError("boom")


def is_throttled(_: dict[str, Any]) -> Any:
    raise Throttled


@pytest.fixture
def endpoint() -> Iterator[LambdaEndpoint]:
    with serving(LambdaEndpoint({"answers": answers, "fails": fails, "throttled": is_throttled})) as made:
        yield made


def call(url: str, name: str) -> InvocationResult:
    functions = AwsAccess(url, "eu-north-1", "test", "test").functions
    return invoke(functions, f"arn:aws:lambda:eu-north-1:000000000000:function:{name}", '{"é": 1}')


@pytest.fixture
def by_arn(endpoint: LambdaEndpoint) -> LambdaEndpoint:
    """The functions by what a mapping names them."""
    arn = "arn:aws:lambda:eu-north-1:000000000000:function:"
    endpoint.functions = {f"{arn}{name}": function for name, function in endpoint.functions.items()}
    return endpoint


def test_an_answer_is_a_success(by_arn: LambdaEndpoint) -> None:
    """API reference, Invoke: without FunctionError. The event arrives as it is."""
    assert call(by_arn.url, "answers") == Succeeded(b'{"batchItemFailures": []}', "r-1")
    assert by_arn.events == [{"é": 1}]


def test_a_function_error_is_a_failure(by_arn: LambdaEndpoint) -> None:
    """API reference, Invoke: FunctionError says that the function ran and failed, ExecutedVersion which one."""
    outcome = call(by_arn.url, "fails")

    assert isinstance(outcome, Failed)
    assert "boom" in outcome.reason
    assert (outcome.request_id, outcome.function_error, outcome.executed_version) == ("r-1", "Unhandled", "7")


def test_what_keeps_the_function_from_running_is_no_failure_of_it(by_arn: LambdaEndpoint) -> None:
    """How event source mappings retry: throttled, missing, or nothing there at all."""
    for url, name, reason in (
        (by_arn.url, "throttled", "TooManyRequestsException"),
        (by_arn.url, "missing", "ResourceNotFoundException"),
        ("http://127.0.0.1:1", "answers", "Could not connect"),
    ):
        outcome = call(url, name)

        assert isinstance(outcome, NotReached)
        assert reason in outcome.reason
