"""Calling a function through Lambda's Invoke API."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from .responses import Failed, InvocationResult, NotReached, Succeeded

_REASON_LIMIT = 2000  # characters of a function's error in a log


def invoke(functions: Any, function_arn: str, event: str) -> InvocationResult:
    """Call the function with an event and wait for its answer; `functions` is boto3's client of Lambda.

    Only what the function itself did wrong is a failure; everything on the way there means it was not reached.
    """
    try:
        answer = functions.invoke(
            FunctionName=function_arn, InvocationType="RequestResponse", Payload=event.encode()
        )
        payload = answer["Payload"].read()
    except (BotoCoreError, ClientError) as error:
        return NotReached(str(error))
    request_id = answer["ResponseMetadata"].get("RequestId", "")
    if "FunctionError" in answer:
        return Failed(
            payload.decode("utf-8", "replace")[:_REASON_LIMIT],
            request_id,
            answer["FunctionError"],
            answer.get("ExecutedVersion", "$LATEST"),
        )
    return Succeeded(payload, request_id)
