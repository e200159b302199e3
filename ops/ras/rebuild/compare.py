"""Two tables of the view, item by item: what the one has that the other lacks, and bringing it over.

It scans, which the service never does: as an operator, once per rebuild. Both are read strongly consistent, the one that
may have more first. Where that is the older table, what events bring meanwhile is never taken for a difference, as it is
written last (`result_aggregator.ingest`); where it is the newer one, what is on its way to the other is looked up again.
"""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from result_aggregator.deadline import Deadline
from result_aggregator.domain import claims, registers, table_layout
from result_aggregator.domain.store_interface import StoreError, UnavailableError
from result_aggregator.store.aws import translated

from ras.errors import FailedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from result_aggregator.domain.store_interface import WritableView
    from result_aggregator.domain.table_layout import Change, Item

WRITERS = 8
"""Writes at a time. The service's own come first."""

PATIENCE_S = 60.0
"""For so long a request is tried again, after longer and longer pauses, where a table is throttled or out of reach."""

AGAIN_S = (1.0, 4.0, 15.0)
"""Pauses before what seemed to be lacking is looked up again: a write on its way to the other table has arrived by then,
unless that is throttled."""

_GET_AT_MOST = 100
_EXAMPLES = 20
_LOOKED_UP_AGAIN = 1000
"""So many items may be on their way at a time, by far; where more are lacking they are not."""

T = TypeVar("T")


class Difference(StrEnum):
    """What an item of the one table is to the same one of the other."""

    SAME = "the same"
    CHANGED = "read otherwise"
    """Of the same event, but with another content: what a rebuild with a mended reader is for."""
    NEWER = "newer"
    BEHIND = "missing or older"


@dataclass
class Comparison:
    """Items of the old table by verdict, and some of those that the new one lacks."""

    counts: Counter[Difference] = field(default_factory=Counter)
    kept: list[Item] = field(default_factory=list)
    copied: int = 0

    @property
    def lacking(self) -> int:
        """How many the new table lacks, in whole or in part; less those that were copied."""
        return self.counts[Difference.BEHIND] - self.copied

    @property
    def behind(self) -> list[str]:
        """Some of what the new one lacks, as `batch sort-key`, of an essay's own item `essay results`."""
        return [f"{str(item['pk']).partition('#')[2]} {item['sk']!s}" for item in self.kept[:_EXAMPLES]]

    def note(self, item: Item, verdict: Difference) -> None:
        self.counts[verdict] += 1
        if verdict is Difference.BEHIND and len(self.kept) <= _LOOKED_UP_AGAIN:
            self.kept.append(item)

    def forget(self) -> list[Item]:
        """Take back all that is lacking, to look it up again."""
        found, self.kept = self.kept, []
        del self.counts[Difference.BEHIND]
        return found


def lacking(old: Item, new: Item | None) -> Change | None:
    """What an item has that the new one lacks; None where that is nothing.

    A register of the same event is not lacking, however it reads: the new table was filled by the reader of today.
    """
    change = table_layout.change_to(old)
    there = new or {}
    registers_there = table_layout.change_to(new).registers if new else {}
    change.registers = {
        name: value
        for name, value in change.registers.items()
        if registers.version_of(registers_there.get(name, "")) < registers.version_of(value)
    }
    if change.times is not None and not table_layout.improvements(there, change.times):
        change.times = None
    earlier = table_layout.earlier(there, change.firsts)
    change.firsts = {
        name: time for name, time in change.firsts.items() if table_layout.FIRST_PREFIX + name in earlier
    }
    there_too = table_layout.claims_of(there)
    change.claims = {batch_id: None for batch_id in change.claims if batch_id not in there_too}
    return change if change.registers or change.times or change.firsts or change.claims else None


def verdict(old: Item, new: Item | None) -> Difference:
    """What the new item is to the old one, by its registers and times."""
    if new is None or lacking(old, new):
        return Difference.BEHIND
    registers_there = table_layout.change_to(new).registers
    differing = [
        (registers_there[name], value)
        for name, value in table_layout.change_to(old).registers.items()
        if registers_there[name] != value
    ]
    if any(registers.version_of(there) == registers.version_of(value) for there, value in differing):
        return Difference.CHANGED
    return Difference.NEWER if differing else Difference.SAME


def compare(
    dynamodb: DynamoDBClient,
    old: str,
    new: str,
    *,
    copy_to: WritableView | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
    patience: Callable[[], Deadline] = lambda: Deadline(PATIENCE_S),
    wait: Callable[[float], None] = time.sleep,
) -> Comparison:
    """Hold every item of the old table against the new one's.

    What the new one lacks is brought over to `copy_to`, where that is given, register by register and only where it is newer: what the topics
    told of the rest stays. Raises botocore's errors, and OperatorError where a table does not take or give items for longer
    than `patience`.
    """
    result = Comparison()
    with ThreadPoolExecutor(WRITERS, thread_name_prefix="copy") as pool:
        for page in _pages(dynamodb, old, patience):
            changes = _judge(result, page, _get(dynamodb, new, page, patience))
            if copy_to is not None:
                written = pool.map(
                    lambda change: patience().attempt(partial(_copy, copy_to, change)), changes
                )
                for outcome in written:
                    if isinstance(outcome, StoreError):
                        raise FailedError(
                            f"an item cannot be copied to {new}: {outcome}", "Run the same command again."
                        ) from outcome
                    result.copied += 1
            on_progress(len(page))
    for pause in AGAIN_S if copy_to is None else ():
        if not 0 < result.lacking <= _LOOKED_UP_AGAIN:
            break
        wait(pause)
        for page in _hundreds(result.forget()):
            _judge(result, page, _get(dynamodb, new, page, patience))
    return result


def _copy(store: WritableView, change: Change) -> None:
    """Bring a change into the other table. What an essay's own item learns there it brings to the batches there."""
    if table_layout.is_own(change.key):
        for brought in claims.brought(change, store.write_own(change).item):
            store.write(brought)
    else:
        store.write(change)


def _judge(result: Comparison, page: Sequence[Item], there: Mapping[tuple[str, str], Item]) -> list[Change]:
    """Note each item's verdict; what is lacking."""
    changes = []
    for item in page:
        other = there.get((str(item["pk"]), str(item["sk"])))
        result.note(item, verdict(item, other))
        if change := lacking(item, other):
            changes.append(change)
    return changes


def _pages(dynamodb: DynamoDBClient, table: str, patience: Callable[[], Deadline]) -> Iterator[list[Item]]:
    """All of a table, at most a hundred items at a time."""
    after: dict[str, Any] = {}
    while True:
        page = _patiently(
            table, partial(dynamodb.scan, TableName=table, ConsistentRead=True, **after), patience()
        )
        yield from _hundreds([_item(raw) for raw in page["Items"]])
        if not page.get("LastEvaluatedKey"):
            return
        after = {"ExclusiveStartKey": page["LastEvaluatedKey"]}


def _hundreds(found: Sequence[Item]) -> Iterator[list[Item]]:
    for start in range(0, len(found), _GET_AT_MOST):
        yield list(found[start : start + _GET_AT_MOST])


def _get(
    dynamodb: DynamoDBClient, table: str, wanted: Sequence[Item], patience: Callable[[], Deadline]
) -> dict[tuple[str, str], Item]:
    keys = [{name: {"S": item[name]} for name in ("pk", "sk")} for item in wanted]
    request: dict[str, Any] = {table: {"Keys": keys, "ConsistentRead": True}}
    found: list[Item] = []

    def ask() -> None:
        nonlocal request
        answer = dynamodb.batch_get_item(RequestItems=request)
        found.extend(_item(raw) for raw in answer["Responses"].get(table, ()))
        request = dict(answer.get("UnprocessedKeys") or {})
        if request:
            raise UnavailableError("throttled")

    _patiently(table, ask, patience())
    return {(str(item["pk"]), str(item["sk"])): item for item in found}


def _patiently(table: str, call: Callable[[], T], deadline: Deadline) -> T:
    """What a call to a table gives, tried again while it is throttled or out of reach."""

    def attempt() -> T:
        try:
            return call()
        except (ClientError, BotoCoreError) as error:
            passing = translated(error)
            if isinstance(passing, UnavailableError) and passing.soon:
                raise passing from error
            raise

    result = deadline.attempt(attempt)
    if isinstance(result, StoreError):
        raise UnreachableError(
            f"{table} gives no more items: {result}", "Run the same command again."
        ) from result
    return result


def _item(raw: Any) -> Item:
    return {
        name: frozenset(typed["SS"]) if "SS" in typed else next(iter(typed.values()))
        for name, typed in raw.items()
    }
