"""The view as a pure fold of events over a dictionary: what the stores must come to, whatever happens on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from result_aggregator.contracts import Ignored, read
from result_aggregator.domain import items, view

from tests.samples import DEFAULT_PIPELINE, Line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_dynamodb import DynamoDBClient
    from result_aggregator.domain.events import AnyEvent

Table = dict[items.Key, items.Item]


def read_all(lines: Iterable[Line]) -> list[AnyEvent]:
    """The events of lines; ignored ones are left out."""
    found = (read(line.topic, line.encoded(), None) for line in lines)
    return [event for event in found if not isinstance(event, Ignored)]


def fold(events: Iterable[AnyEvent]) -> Table:
    """All items after these events."""
    table: Table = {}
    for event in events:
        change = items.change_of(event)
        batch = items.Change(items.batch_key(event.batch_id), times=items.times_of(event))
        for one in (change, batch):
            table[one.key] = items.merged(table.get(one.key), one)
    return table


def stored(dynamodb: DynamoDBClient, table_name: str) -> Table:
    """All items that a table holds, to be compared with a fold."""
    table: Table = {}
    for page in dynamodb.get_paginator("scan").paginate(TableName=table_name):
        for raw in page["Items"]:
            item: dict[str, Any] = {name: next(iter(value.values())) for name, value in raw.items()}
            table[items.Key(item.pop("pk"), item.pop("sk"))] = item
    return table


def answer(table: Table, batch_id: str) -> dict[str, Any] | None:
    """The status answer of a batch, whole, None where the API says 404."""
    pk = items.partition(batch_id)
    batch = view.decode_batch(table.get(items.Key(pk, items.BATCH), {}))
    if batch is None:
        return None
    essays: list[items.Item] = [
        {**item, "sk": key.sk}
        for key, item in sorted(table.items())
        if key.pk == pk and key.sk.startswith(items.ESSAY_PREFIX)
    ]
    made = view.batch_answer(batch_id, batch, DEFAULT_PIPELINE)
    shown, counts = [], view.StatusCounts()
    for essay in view.essay_answers(essays, table.get(items.Key(pk, items.RANKING))):
        shown.append(essay)
        counts.add(essay)
    made["phases"] = view.phase_summaries(batch, DEFAULT_PIPELINE, counts.by_phase())
    made["essays"] = shown
    made["pagination"] = {"limit": None, "next_cursor": None}
    return made
