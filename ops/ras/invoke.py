"""Records handed to the deployed ingest functions directly, and what became of each.

A synthesised event stands in for the event source mapping's. It needs no way to the brokers and no rights on them,
only `lambda:InvokeFunction`, and the function answers with every record's outcome.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from result_aggregator import replay_headers
from result_aggregator.names import function_name
from result_aggregator.topics import TOPICS

from ras.dead_letters.letter import Place
from ras.errors import ConflictError, FailedError, OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mypy_boto3_lambda import LambdaClient

Invoke = Callable[[str, dict[str, Any]], dict[str, Any]]
"""(folder of the function, event) -> its answer. Raises FunctionFailedError, or OperatorError where it is out of reach."""

BATCH_RECORDS = 100
"""Records an invocation: what a mapping sends by default, so that the function's time suffices."""

BATCH_BYTES = 5 * 1024 * 1024
"""Of JSON an invocation: below Lambda's 6 MB for requests, with room for the envelope."""

FAILED = "failed"
"""The function broke on this record alone: it raised, ran out of time or memory."""


class FunctionFailedError(Exception):
    """The function ran and failed; the message is its error."""


@dataclass(frozen=True)
class Outcome:
    """What became of a record: one of `result_aggregator.domain.outcomes`, or FAILED; and why, where that is told."""

    name: str
    reason: str = ""


@dataclass(frozen=True)
class Redelivery:
    """A record to hand to its function, as an event has it."""

    received: Mapping[str, Any]
    event_source_arn: str = ""

    @property
    def place(self) -> Place:
        """Where it lies by its own fields."""
        return Place(self.received["topic"], self.received["partition"], self.received["offset"])


def of_lambda(client: LambdaClient, stage: str) -> Invoke:
    """Invoke the functions of a stage, named `ras-<stage>-<folder>`."""

    def invoke(folder: str, event: dict[str, Any]) -> dict[str, Any]:
        name = function_name(stage, folder)
        try:
            answer = client.invoke(FunctionName=name, Payload=json.dumps(event).encode())
            payload = answer["Payload"].read()
        except client.exceptions.RequestTooLargeException as error:
            raise FunctionFailedError(f"no invocation can carry it: {error}") from error
        except (BotoCoreError, ClientError) as error:
            raise FailedError(
                f"{name} cannot be invoked: {error}",
                "Nothing is lost: what was not replayed yet is where it was. Run the same command again.",
            ) from error
        if "FunctionError" in answer:
            raise FunctionFailedError(payload.decode("utf-8", "replace")[:500])
        document: dict[str, Any] = json.loads(payload)
        return document

    return invoke


def deliver(invoke: Invoke, records: Iterable[Redelivery]) -> Iterator[dict[Place, Outcome]]:
    """Hand records to the functions of their topics; yields the outcomes of each finished invocation.

    Records of topics that no function consumes have no outcome. An invocation that fails is halved until the record
    is found that the function breaks on. Raises OperatorError when the function is out of reach, or is of a version that
    tells no outcomes.
    """
    by_source: dict[tuple[str, str], list[Redelivery]] = {}
    for record in records:
        route = TOPICS.get(record.place.topic)
        if route is not None:
            by_source.setdefault((route.function, record.event_source_arn), []).append(record)
    for (folder, _), all_of_it in by_source.items():
        for batch in _batches(all_of_it):
            yield _outcomes(invoke, folder, batch)


def _batches(records: Sequence[Redelivery]) -> Iterator[list[Redelivery]]:
    batch: list[Redelivery] = []
    size = 0
    for record in records:
        weight = len(json.dumps(record.received))
        if batch and (len(batch) == BATCH_RECORDS or size + weight > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += weight
    if batch:
        yield batch


def _outcomes(invoke: Invoke, folder: str, batch: Sequence[Redelivery]) -> dict[Place, Outcome]:
    lanes: dict[str, list[Mapping[str, Any]]] = {}
    places: dict[tuple[str, int], Place] = {}
    for record in batch:
        place = record.place
        lane = f"{place.topic}-{place.partition}"
        lanes.setdefault(lane, []).append(record.received)
        places[lane, place.offset] = place
    event = {
        "eventSource": replay_headers.EVENT_SOURCE,
        "eventSourceArn": batch[0].event_source_arn,
        "bootstrapServers": "",
        "records": lanes,
    }
    try:
        answer = invoke(folder, event)
    except FunctionFailedError as error:
        if len(batch) == 1:
            return {batch[0].place: Outcome(FAILED, str(error))}
        middle = len(batch) // 2
        return _outcomes(invoke, folder, batch[:middle]) | _outcomes(invoke, folder, batch[middle:])
    told = answer.get("outcomes") if isinstance(answer, dict) else None
    try:
        found = {
            places[one["partition"], one["offset"]]: Outcome(one["outcome"], one["reason"])
            for one in told or []
        }
    except (KeyError, TypeError) as error:
        raise _unreadable(folder) from error
    if len(found) != len(places):
        raise _unreadable(folder)
    return found


def _unreadable(folder: str) -> OperatorError:
    return ConflictError(
        f"{folder} does not tell what became of each record",
        "Deploy this version of the functions first; nothing was removed.",
    )
