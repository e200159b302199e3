"""Two tables of the view, item by item: what the one has that the other lacks, and bringing it over.

It scans, which the service never does: as an operator, once per rebuild. Both are read strongly consistent, the old
table first, so that what events bring meanwhile is never taken for a difference (`result_aggregator.store.pair`).
"""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ras_local.errors import StackError
from result_aggregator.domain import items, registers
from result_aggregator.domain.storage import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from result_aggregator.domain.items import Change, Item
    from result_aggregator.domain.storage import WritableView

WRITERS = 8
"""Writes at a time. The service's own come first."""

_GET_AT_MOST = 100
_EXAMPLES = 20


class Verdict(StrEnum):
    """What an item of the new table is to the same one of the old."""

    SAME = "the same"
    CHANGED = "read otherwise now"
    """Of the same event, but with another content: what a rebuild with a mended reader is for."""
    NEWER = "newer"
    BEHIND = "missing or older"


@dataclass
class Comparison:
    """Items of the old table by verdict, and some of those that the new one lacks, as `batch sort-key`."""

    counts: Counter[Verdict] = field(default_factory=Counter)
    behind: list[str] = field(default_factory=list)
    copied: int = 0

    def note(self, item: Item, verdict: Verdict) -> None:
        self.counts[verdict] += 1
        if verdict is Verdict.BEHIND and len(self.behind) < _EXAMPLES:
            self.behind.append(f"{items.batch_id_of(str(item['pk']))} {item['sk']!s}")


def lacking(old: Item, new: Item | None) -> Change | None:
    """What an item has that the new one lacks; None where that is nothing.

    A register of the same event is not lacking, however it reads: the new table was filled by the reader of today.
    """
    change = items.change_to(old)
    there = new or {}
    change.registers = {
        name: value
        for name, value in change.registers.items()
        if registers.version_of(str(there.get(name, ""))) < registers.version_of(value)
    }
    if change.times is not None and not items.improvements(there, change.times):
        change.times = None
    return change if change.registers or change.times else None


def verdict(old: Item, new: Item | None) -> Verdict:
    """What the new item is to the old one, by its registers and times."""
    if new is None or lacking(old, new):
        return Verdict.BEHIND
    differing = [
        (str(new[name]), value)
        for name, value in items.change_to(old).registers.items()
        if new[name] != value
    ]
    if any(registers.version_of(there) == registers.version_of(value) for there, value in differing):
        return Verdict.CHANGED
    return Verdict.NEWER if differing else Verdict.SAME


def compare(
    dynamodb: DynamoDBClient,
    old: str,
    new: str,
    *,
    copy_to: WritableView | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Comparison:
    """Hold every item of the old table against the new one's.

    What the new one lacks is brought over to `copy_to`, where that is given, register by register and only where it is newer: what the topics
    told of the rest stays. Raises botocore's errors, and StackError where a table does not take or give items.
    """
    result = Comparison()
    with ThreadPoolExecutor(WRITERS, thread_name_prefix="copy") as pool:
        for page in _pages(dynamodb, old):
            there = _get(dynamodb, new, page)
            changes = []
            for item in page:
                other = there.get((str(item["pk"]), str(item["sk"])))
                result.note(item, verdict(item, other))
                if change := lacking(item, other):
                    changes.append(change)
            if copy_to is not None:
                try:
                    result.copied += len(list(pool.map(copy_to.write, changes)))
                except StoreError as error:
                    raise StackError(
                        f"an item cannot be copied to {new}: {error}", "Run the same command again."
                    ) from error
            on_progress(len(page))
    return result


def _pages(dynamodb: DynamoDBClient, table: str) -> Iterator[list[Item]]:
    """All of a table, at most a hundred items at a time."""
    pages = dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    for page in pages:
        found = [_item(raw) for raw in page["Items"]]
        for start in range(0, len(found), _GET_AT_MOST):
            yield found[start : start + _GET_AT_MOST]


def _get(dynamodb: DynamoDBClient, table: str, wanted: Sequence[Item]) -> dict[tuple[str, str], Item]:
    request: dict[str, Any] = {
        table: {
            "Keys": [{name: {"S": item[name]} for name in ("pk", "sk")} for item in wanted],
            "ConsistentRead": True,
        }
    }
    found: list[Item] = []
    while request:
        before = len(found)
        answer = dynamodb.batch_get_item(RequestItems=request)
        found += [_item(raw) for raw in answer["Responses"].get(table, ())]
        request = answer.get("UnprocessedKeys") or {}
        if request and len(found) == before:
            raise StackError(f"{table} gives no more items: it is throttled", "Run the same command again.")
    return {(str(item["pk"]), str(item["sk"])): item for item in found}


def _item(raw: Any) -> Item:
    return {name: next(iter(typed.values())) for name, typed in raw.items()}
