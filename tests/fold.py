"""The view as a pure fold of events over a dictionary: what the stores must come to, whatever happens on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from result_aggregator.contracts import Ignored, read
from result_aggregator.domain import table_layout, view
from result_aggregator.domain.events import EssayIdentified, EssayPhaseEnded, EssaysSummarized
from result_aggregator.domain.store_interface import IndexEntry, Listed

from tests.samples import DEFAULT_PIPELINE, Line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from result_aggregator.domain.events import AnyEvent

Table = dict[table_layout.Key, table_layout.Item]


def read_all(lines: Iterable[Line]) -> list[AnyEvent]:
    """The events of lines; ignored ones are left out."""
    found = (read(line.topic, line.encoded(), None) for line in lines)
    return [event for event in found if not isinstance(event, Ignored)]


def fold(events: Iterable[AnyEvent]) -> Table:
    """All items after these events."""
    table: Table = {}
    results: dict[str, list[EssayPhaseEnded]] = {}
    claims: dict[str, set[str]] = {}
    for event in events:
        _apply(table, event)
        match event:
            case EssayPhaseEnded(batch_id=None):
                results.setdefault(event.essay_id, []).append(event)
            case EssayIdentified():
                claims.setdefault(event.essay_id, set()).add(event.batch_id)
            case EssaysSummarized():
                for essay_id in event.essay_ids + event.failed_ids:
                    claims.setdefault(essay_id, set()).add(event.batch_id)
    # What a result says is what it would say in each batch that claims its essay.
    for essay_id, batch_ids in claims.items():
        for event in results.get(essay_id, ()):
            for batch_id in batch_ids:
                _apply(table, replace(event, batch_id=batch_id))
    for item in table.values():
        if batch := view.decode_batch(item):
            item[table_layout.STANDING] = view.standing(batch)
    return table


def _apply(table: Table, event: AnyEvent) -> None:
    changes = table_layout.changes_of(event)
    if event.batch_id is not None:
        key = table_layout.batch_key(event.batch_id)
        changes.append(table_layout.Change(key, times=table_layout.times_of(event)))
    for one in changes:
        table[one.key] = table_layout.merged(table.get(one.key), one)


def stored(dynamodb: DynamoDBClient, table_name: str) -> Table:
    """All items that a table holds, to be compared with a fold."""
    table: Table = {}
    for page in dynamodb.get_paginator("scan").paginate(TableName=table_name):
        for raw in page["Items"]:
            item: dict[str, Any] = {name: _plain(value) for name, value in raw.items()}
            table[table_layout.Key(item.pop("pk"), item.pop("sk"))] = item
    return table


def _plain(typed: Any) -> Any:
    return frozenset(typed["SS"]) if "SS" in typed else next(iter(typed.values()))


def answer(table: Table, batch_id: str) -> dict[str, Any] | None:
    """The status answer of a batch, whole, None where the API says 404."""
    pk = table_layout.partition(batch_id)
    batch = view.decode_batch(table.get(table_layout.Key(pk, table_layout.BATCH), {}))
    if batch is None:
        return None
    essays: list[table_layout.Item] = [
        {**item, "sk": key.sk}
        for key, item in sorted(table.items())
        if key.pk == pk and key.sk.startswith(table_layout.ESSAY_PREFIX)
    ]
    made = view.batch_answer(batch_id, batch, DEFAULT_PIPELINE)
    shown, counts = [], view.StatusCounts()
    before = [{**item, "sk": key.sk} for key, item in table.items() if key.pk == pk]
    for essay in view.essay_answers(essays, view.decode_ranking(before)):
        shown.append(essay)
        counts.add(essay)
    made["phases"] = view.phase_summaries(batch, DEFAULT_PIPELINE, counts.by_phase())
    made["essays"] = shown
    made["pagination"] = {"limit": None, "next_cursor": None}
    return made


def _standing_of(item: table_layout.Item) -> str | None:
    return str(item[table_layout.STANDING]) if table_layout.STANDING in item else None


class View:
    """A table of the fold to be queried, as `ReadableView` promises."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def read_partition(self, batch_id: str) -> Iterator[table_layout.Item]:
        """Everything of a batch in the order of the sort keys."""
        pk = table_layout.partition(batch_id)
        for key in sorted(key for key in self._table if key.pk == pk):
            yield {"pk": key.pk, "sk": key.sk, **self._table[key]}

    def read_head(self, batch_id: str) -> list[table_layout.Item]:
        """What comes before the batch's essays."""
        found = self.read_partition(batch_id)
        return [item for item in found if not str(item["sk"]).startswith(table_layout.ESSAY_PREFIX)]

    def read_essays(self, batch_id: str, after: str, page_size: int | None) -> Iterator[table_layout.Item]:  # noqa: ARG002 - nothing is read in pages here
        """The batch's essays behind one."""
        behind = table_layout.ESSAY_PREFIX + after
        return (item for item in self.read_partition(batch_id) if str(item["sk"]) > behind)

    def batches_of(
        self,
        user_id: str,
        after: Listed | None = None,
        page_size: int | None = None,  # noqa: ARG002 - as above
    ) -> Iterator[IndexEntry]:
        """The user's batches, greatest first."""
        found = (
            IndexEntry(
                Listed(str(item[table_layout.CREATED_AT]), table_layout.batch_id_of(key.pk)),
                _standing_of(item),
            )
            for key, item in self._table.items()
            if item.get(table_layout.USER_ID) == user_id
        )
        return (one for one in sorted(found, reverse=True) if after is None or one.place < after)

    def read_batches(self, batch_ids: Sequence[str]) -> dict[str, table_layout.Item]:
        """The batch items that exist."""
        keys = {batch_id: table_layout.batch_key(batch_id) for batch_id in batch_ids}
        return {batch_id: self._table[key] for batch_id, key in keys.items() if key in self._table}

    def is_active(self) -> bool:
        """Always."""
        return True
