"""The materialized view in DynamoDB: conditional writes of registers, one Query for a batch, the user index."""

from __future__ import annotations

from base64 import b64decode, b64encode
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from result_aggregator.domain import registers, table_layout, view
from result_aggregator.domain.claims import MAX_CLAIMS
from result_aggregator.domain.store_interface import (
    IndexEntry,
    Listed,
    OwnWritten,
    UnavailableError,
    Written,
)
from result_aggregator.names import USER_INDEX
from result_aggregator.store import dynamodb_client
from result_aggregator.store.dynamodb_client import ConditionFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from result_aggregator.domain.table_layout import Attribute, Change, Item, Times
    from result_aggregator.store.dynamodb_client import DynamoDB

# BatchGetItem takes at most 100 keys (API reference).
_GET_AT_MOST = 100
_GET_ROUNDS = 5

# Index entries read beyond a page, so that it takes one Query: those of the moment that the page begins at, and of the one
# that it ends in. Two kilobytes, half a read unit; where more batches share a moment, it takes another Query.
_SHARING = 20


class ViewStore:
    """The table of the view. Methods raise UnavailableError or UnacceptableError (`domain.store_interface`)."""

    def __init__(self, table_name: str, dynamodb: DynamoDB | None = None) -> None:
        self._table = table_name
        self._dynamodb = dynamodb or dynamodb_client.client()

    def write(self, change: Change) -> dict[str, Written]:
        """Merge a change into its item and say what became of each register.

        A batch's standing follows what its registers came to, with one more write where that changed.
        """
        # Times alone, which is what essays' results bring a batch, change no standing.
        has_standing = change.key.sk == table_layout.BATCH and bool(change.registers)
        written, item = self._merge(change, returns_item=has_standing)
        if has_standing:
            self._keep_standing(change.key, item)
        return written.registers

    def write_own(self, change: Change) -> OwnWritten:
        """Merge a change into an essay's own item, and return that: the writer learns what others have written."""
        written, item = self._merge(change, returns_item=True)
        return OwnWritten(written.registers, written.claims, item)

    def _merge(self, change: Change, *, returns_item: bool) -> tuple[_Written, Item]:
        """Merge a change into its item: what became of it, and the item after it or when the change had come to nothing.

        One conditional UpdateItem where everything is newer than what is stored, which is how events usually come.
        Where the condition fails, DynamoDB returns the stored item for nothing, and what is still newer is tried
        again without the rest. Every round drops something, so the rounds are at most as many as the cells.
        """
        written, pending, known = _Written({}, {}), _Pending(change), None
        while pending.has_any(known):
            claims = pending.claims[: MAX_CLAIMS - len(table_layout.claims_of(known or {}))]
            request = {
                "TableName": self._table,
                "Key": _key(change.key),
                "ReturnValues": "ALL_NEW" if returns_item else "NONE",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                **_Update(change, pending, claims, known).arguments(),
            }
            try:
                answer = self._dynamodb.call("UpdateItem", request)
            except ConditionFailedError as error:
                known = _item(error.item)
                pending.drop_stored(known, written)
            else:
                written.registers.update(dict.fromkeys(pending.registers, Written.APPLIED))
                written.claims.update(dict.fromkeys(claims, Written.APPLIED))
                change.applied |= pending.registers.keys()
                known = _item(answer.get("Attributes", {}))
                break
        if known is not None:
            # Claims beyond what the essay can have, but for those that it has.
            pending.drop_stored(known, written)
        return written, known or {}

    def _keep_standing(self, key: table_layout.Key, item: Item) -> None:
        """Write an item's standing where it is not what its registers say, on condition that they still say so.

        Whoever changes a register comes here after it with what the item came to, and so does its redelivery, as a
        duplicate: of two writers at once the later one sees both, and the earlier one's condition fails.
        """
        while (standing := _standing_of(item)) is not None and standing != item.get(table_layout.STANDING):
            names = {f"#{name}": name for name in (table_layout.STANDING, *table_layout.DECIDES_STANDING)}
            seen = {name: str(item[name]) for name in table_layout.DECIDES_STANDING if name in item}
            # An item that is gone meanwhile stays gone.
            conditions = ["attribute_exists(pk)"] + [
                f"#{name} = :{name}" if name in seen else f"attribute_not_exists(#{name})"
                for name in table_layout.DECIDES_STANDING
            ]
            request = {
                "TableName": self._table,
                "Key": _key(key),
                "UpdateExpression": f"SET #{table_layout.STANDING} = :{table_layout.STANDING}",
                "ConditionExpression": " AND ".join(conditions),
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": {
                    f":{name}": _typed(value)
                    for name, value in {table_layout.STANDING: standing, **seen}.items()
                },
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            }
            try:
                self._dynamodb.call("UpdateItem", request)
            except ConditionFailedError as error:
                item = _item(error.item)
            else:
                return

    def read_partition(self, batch_id: str) -> Iterator[Item]:
        """Everything of a batch: the batch item, the ranking, the essays, in the order of their sort keys.

        One Query per megabyte, strongly consistent, so that a poller's progress never goes backwards.
        """
        query = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk",
            "ExpressionAttributeValues": {":pk": {"S": table_layout.partition(batch_id)}},
            "ConsistentRead": True,
        }
        return (_item(raw) for raw in self._pages(query))

    def read_head(self, batch_id: str) -> list[Item]:
        """What comes before a batch's essays, strongly consistent, in one Query."""
        query: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :pk AND sk < :essays",
            "ExpressionAttributeValues": {
                ":pk": {"S": table_layout.partition(batch_id)},
                ":essays": {"S": table_layout.ESSAY_PREFIX},
            },
            "ConsistentRead": True,
        }
        return [_item(raw) for raw in self._pages(query)]

    def read_essays(self, batch_id: str, after: str, page_size: int | None) -> Iterator[Item]:
        """The batch's essays that come after an id, as `read_partition` reads them, `page_size` a Query."""
        query: dict[str, Any] = {
            "TableName": self._table,
            # Nothing else sorts behind an essay.
            "KeyConditionExpression": "pk = :pk AND sk > :after",
            "ExpressionAttributeValues": {
                ":pk": {"S": table_layout.partition(batch_id)},
                ":after": {"S": table_layout.ESSAY_PREFIX + after},
            },
            "ConsistentRead": True,
        }
        return (_item(raw) for raw in self._pages(query, page_size))

    def batches_of(
        self, user_id: str, after: Listed | None = None, page_size: int | None = None
    ) -> Iterator[IndexEntry]:
        """The user's batches, newest first, those of one moment by id backwards; those behind `after`, where it is given.

        Index entries are keys and a word: thousands to the megabyte, a page a Query. `page_size` entries are read at a
        time, and with them what decides the order of the last.
        """
        query: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": USER_INDEX,
            "KeyConditionExpression": "user_id = :user",
            "ExpressionAttributeValues": {":user": {"S": user_id}},
            "ScanIndexForward": False,
        }
        if after is not None:
            # From its moment on and not from behind it, because the index leaves the order within a moment open.
            query["KeyConditionExpression"] += " AND created_at <= :at"
            query["ExpressionAttributeValues"][":at"] = {"S": after.created_at}
        found = self._pages(query, None if page_size is None else page_size + _SHARING)
        for created_at, raws in groupby(found, key=lambda raw: str(raw["created_at"]["S"])):
            entries = (
                IndexEntry(
                    Listed(created_at, table_layout.batch_id_of(raw["pk"]["S"])),
                    _text(raw.get(table_layout.STANDING)),
                )
                for raw in raws
            )
            for entry in sorted(entries, key=lambda entry: entry.place, reverse=True):
                if after is None or entry.place < after:
                    yield entry

    def read_batches(self, batch_ids: Sequence[str]) -> dict[str, Item]:
        """The batch items of these batches, strongly consistent; a call per hundred."""
        found: dict[str, Item] = {}
        for start in range(0, len(batch_ids), _GET_AT_MOST):
            keys = [
                _key(table_layout.batch_key(batch_id)) for batch_id in batch_ids[start : start + _GET_AT_MOST]
            ]
            for raw in self._get_all(keys):
                item = _item(raw)
                found[table_layout.batch_id_of(str(item["pk"]))] = item
        return found

    def is_active(self) -> bool:
        """Whether the table takes reads and writes."""
        table = self._dynamodb.call("DescribeTable", {"TableName": self._table})["Table"]
        return table["TableStatus"] in ("ACTIVE", "UPDATING")

    def _pages(self, query: dict[str, Any], page_size: int | None = None) -> Iterator[dict[str, Any]]:
        if page_size is not None:
            query["Limit"] = page_size
        while True:
            page = self._dynamodb.call("Query", query)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            query = {**query, "ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _get_all(self, keys: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        request: dict[str, Any] = {self._table: {"Keys": keys, "ConsistentRead": True}}
        for _ in range(_GET_ROUNDS):
            answer = self._dynamodb.call("BatchGetItem", {"RequestItems": request})
            yield from answer["Responses"].get(self._table, ())
            request = answer.get("UnprocessedKeys") or {}
            if not request:
                return
        raise UnavailableError("BatchGetItem: keys left unprocessed")


class _Written(NamedTuple):
    """What became of the registers and the claims of a change."""

    registers: dict[str, Written]
    claims: dict[str, Written]


class _Pending:
    """What of a change is still to be written."""

    def __init__(self, change: Change) -> None:
        self._applied = change.applied
        self.registers = dict(change.registers)
        self.copies = dict(change.copies)
        self.firsts = dict(change.firsts)
        self.times = change.times
        self.claims = list(change.claims)

    def has_any(self, known: Item | None) -> bool:
        """Whether anything is left that can be written to an item; `known` is None before the first attempt."""
        claims = self.claims if known is None or len(table_layout.claims_of(known)) < MAX_CLAIMS else None
        return bool(self.registers or self.copies or self.firsts or self.times or claims)

    def drop_stored(self, stored: Item, written: _Written) -> None:
        """Leave out what the stored item has as new as that or newer, and note what became of it."""
        for name, value in list(self.registers.items()):
            there = str(stored.get(name, ""))
            if name not in written.registers and there >= value:
                same = registers.version_of(there) == registers.version_of(value)
                fate = Written.DUPLICATE if same else Written.STALE
                written.registers[name] = Written.APPLIED if name in self._applied else fate
                del self.registers[name]
        self.copies = {
            name: value for name, value in self.copies.items() if str(stored.get(name, "")) < value
        }
        better = table_layout.earlier(stored, self.firsts)
        self.firsts = {
            name: time for name, time in self.firsts.items() if table_layout.FIRST_PREFIX + name in better
        }
        if self.times and not table_layout.improvements(stored, self.times):
            self.times = None
        for batch_id in table_layout.claims_of(stored).intersection(self.claims):
            written.claims.setdefault(batch_id, Written.DUPLICATE)
            self.claims.remove(batch_id)


class _Update:
    """One attempt at a change as an update expression.

    `assumed` is the item as last seen, None when nothing is known yet. Unknown times are written on the guess that
    events come in order: the stored item began no later and ended earlier; `if_not_exists` fills in what is absent.
    """

    def __init__(self, change: Change, pending: _Pending, claims: list[str], assumed: Item | None) -> None:
        self._names: dict[str, str] = {}
        self._values: dict[str, dict[str, Any]] = {}
        self._sets: list[str] = []
        self._adds: list[str] = []
        self._conditions: list[str] = []
        if table_layout.OWNER in pending.registers:
            # With its owner a batch enters the user index: with a standing, and nearly always with the right one.
            self._set_once(table_layout.STANDING, _standing_of(table_layout.merged(None, change)) or "")
        for name, value in pending.registers.items():
            self._set(name, value)
            self._require(name, "<")
            for follower, attribute in change.followers.get(name, {}).items():
                self._set(follower, attribute)
        for name, value in pending.copies.items():
            self._set(name, value)
            self._require(name, "<=")
        if claims:
            self._claim(claims)
        if assumed is None:
            if pending.times is not None:
                self._guess(pending.times)
            for name, time in pending.firsts.items():
                self._guess_first(table_layout.FIRST_PREFIX + name, time)
            return
        if pending.times is not None:
            for name, value in table_layout.improvements(assumed, pending.times).items():
                self._set(name, value)
                self._require(name, ">" if name != table_layout.UPDATED_AT else "<")
        for name, time in table_layout.earlier(assumed, pending.firsts).items():
            self._set(name, time)
            self._require(name, ">")

    def arguments(self) -> dict[str, Any]:
        """The arguments of UpdateItem."""
        clauses = [("SET ", self._sets), ("ADD ", self._adds)]
        return {
            "UpdateExpression": " ".join(word + ", ".join(parts) for word, parts in clauses if parts),
            "ConditionExpression": " AND ".join(self._conditions),
            "ExpressionAttributeNames": self._names,
            "ExpressionAttributeValues": self._values,
        }

    def _guess(self, times: Times) -> None:
        self._set(table_layout.UPDATED_AT, times.updated_at)
        self._require(table_layout.UPDATED_AT, "<")
        self._guess_first(table_layout.CREATED_AT, times.created_at)
        if times.started_at is not None:
            self._guess_first(table_layout.STARTED_AT, times.started_at)

    def _guess_first(self, name: str, time: str) -> None:
        self._set_once(name, time)
        self._require(name, "<=")

    def _claim(self, claims: list[str]) -> None:
        self._names["#c"] = table_layout.CLAIMS
        self._values[":c"] = {"SS": claims}
        self._adds.append("#c :c")
        # What a claim must find: it is new, and there is room. A set that is not there has no size.
        self._values[":room"] = {"N": str(MAX_CLAIMS - len(claims))}
        conditions = ["size(#c) <= :room"]
        for number, batch_id in enumerate(claims):
            # Short names, because a hundred fit an expression's 4 KB so.
            self._values[f":c{number}"] = {"S": batch_id}
            conditions.append(f"NOT contains(#c, :c{number})")
        self._conditions.append(f"(attribute_not_exists(#c) OR ({' AND '.join(conditions)}))")

    def _set(self, name: str, value: Attribute) -> None:
        self._names[f"#{name}"] = name
        self._values[f":{name}"] = _typed(value)
        self._sets.append(f"#{name} = :{name}")

    def _set_once(self, name: str, value: str) -> None:
        self._names[f"#{name}"] = name
        self._values[f":{name}"] = _typed(value)
        self._sets.append(f"#{name} = if_not_exists(#{name}, :{name})")

    def _require(self, name: str, comparison: str) -> None:
        # The guard of a last-writer-wins register: absent, or older than what is written.
        self._conditions.append(f"(attribute_not_exists(#{name}) OR #{name} {comparison} :{name})")


def _key(key: table_layout.Key) -> dict[str, Any]:
    return {"pk": {"S": key.pk}, "sk": {"S": key.sk}}


def _standing_of(item: Item) -> str | None:
    """The standing of a batch item, with or without its times; None without an owner."""
    batch = view.decode_batch({table_layout.CREATED_AT: "", table_layout.UPDATED_AT: "", **item})
    return None if batch is None else view.standing(batch)


def _text(typed: Mapping[str, Any] | None) -> str | None:
    return None if typed is None else str(typed["S"])


def _typed(value: Attribute) -> dict[str, Any]:
    if isinstance(value, frozenset):
        return {"SS": sorted(value)}
    return {"B": b64encode(value).decode()} if isinstance(value, bytes) else {"S": value}


def _item(raw: Mapping[str, Any]) -> Item:
    """An item as plain values: every attribute of the view is a string, bytes or a set of strings.

    Others may be there, which it does not read: `expires_at`, say, is a number by DynamoDB's rules.
    """
    return {name: typed["S"] if "S" in typed else _other(typed) for name, typed in raw.items()}


def _other(typed: Mapping[str, Any]) -> Any:
    if "SS" in typed:
        return frozenset(typed["SS"])
    return b64decode(typed["B"]) if "B" in typed else next(iter(typed.values()))
