"""What an invocation came to, and which records the function returned for retry."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import MalformedResponseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .records import KafkaRecord


@dataclass(frozen=True)
class Succeeded:
    """The function returned; `payload` is its JSON answer."""

    payload: bytes = b"null"
    request_id: str = ""


@dataclass(frozen=True)
class Failed:
    """The function ran and failed: it raised, timed out or was killed."""

    reason: str
    request_id: str = ""
    function_error: str = "Unhandled"
    executed_version: str = "$LATEST"


@dataclass(frozen=True)
class NotReached:
    """Throttled, or the service or the network failed: the function never ran."""

    reason: str


InvocationResult = Succeeded | Failed | NotReached
Invoke = Callable[[str], InvocationResult]


def failed_items(payload: bytes, records: Sequence[KafkaRecord]) -> set[tuple[str, int]]:
    """The (lane, offset) pairs that a function handed back ("Implementing partial batch responses": Kafka).

    An empty answer, null, or an empty or absent list means that all went well. Raises MalformedResponseError where
    an identifier is not in the event, which makes the whole batch a failure. Chosen: an answer that is not JSON or
    not an object is a failure too, as for other streams.
    """
    if not payload.strip():
        return set()
    try:
        answer = json.loads(payload)
    except ValueError:
        raise MalformedResponseError("the function's answer is not JSON") from None
    if answer is None:
        return set()
    if not isinstance(answer, dict):
        raise MalformedResponseError("the function's answer is not an object")
    listed = answer.get("batchItemFailures")
    if listed is None:
        return set()
    if not isinstance(listed, list):
        raise MalformedResponseError("batchItemFailures is not a list")
    given = {(record.lane, record.offset) for record in records}
    failed = set()
    for entry in listed:
        item = entry.get("itemIdentifier") if isinstance(entry, dict) else None
        partition = item.get("partition") if isinstance(item, dict) else None
        offset = item.get("offset") if isinstance(item, dict) else None
        if not isinstance(partition, str) or type(offset) is not int or (partition, offset) not in given:
            raise MalformedResponseError(f"{json.dumps(entry)} is not in the event")
        failed.add((partition, offset))
    return failed
