"""The view's table: conditional writes decide, and however changes arrive the items are the fold's."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ConnectTimeoutError
from result_aggregator.domain import items
from result_aggregator.domain.items import Change, Key, Times
from result_aggregator.domain.storage import UnacceptableError, UnavailableError, Written
from result_aggregator.store.dynamodb import ViewStore

from tests import fold, samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

KEY = Key("batch#b", "e#1")
OLD = "20260302T080000000000 00000000000000000000000000000001"
NEW = "20260302T080001000000 00000000000000000000000000000000"


@pytest.fixture
def store(table: str, dynamodb: DynamoDBClient) -> ViewStore:
    return ViewStore(table, dynamodb)


@pytest.fixture
def calls(dynamodb: DynamoDBClient) -> Iterator[list[str]]:
    """The operations asked of DynamoDB, retries included."""
    seen: list[str] = []

    def note(model: Any, **_: Any) -> None:
        seen.append(model.name)

    dynamodb.meta.events.register("before-call.dynamodb", note)
    yield seen
    dynamodb.meta.events.unregister("before-call.dynamodb", note)


@pytest.fixture
def stored(table: str, dynamodb: DynamoDBClient) -> Callable[[Key], items.Item]:
    """An item as the table has it, without its keys."""

    def get(key: Key) -> items.Item:
        raw = dynamodb.get_item(TableName=table, Key={"pk": {"S": key.pk}, "sk": {"S": key.sk}}).get(
            "Item", {}
        )
        plain: items.Item = {name: next(iter(value.values())) for name, value in raw.items()}  # type: ignore[misc] # strings and bytes only
        return {name: value for name, value in plain.items() if name not in ("pk", "sk")}

    return get


def change(**registers: str) -> Change:
    return Change(KEY, registers=registers)


def test_newer_wins(store: ViewStore, calls: list[str], stored: Callable[[Key], items.Item]) -> None:
    """A register takes a newer version, and keeps it against the older and the same; each costs one call."""
    assert store.write(change(spellcheck=f"{OLD} 1")) == {"spellcheck": Written.APPLIED}
    assert store.write(change(spellcheck=f"{NEW} 2")) == {"spellcheck": Written.APPLIED}
    assert store.write(change(spellcheck=f"{NEW} 2")) == {"spellcheck": Written.DUPLICATE}
    assert store.write(change(spellcheck=f"{OLD} 1")) == {"spellcheck": Written.STALE}

    assert calls == ["UpdateItem"] * 4
    assert stored(KEY) == {"spellcheck": f"{NEW} 2"}


def test_registers_are_independent(
    store: ViewStore, calls: list[str], stored: Callable[[Key], items.Item]
) -> None:
    """Of a change with a stale and a newer register the newer is written: two calls."""
    store.write(change(spellcheck=f"{NEW} 2"))
    written = store.write(change(spellcheck=f"{OLD} 1", identity=f"{OLD} i"))

    assert written == {"spellcheck": Written.STALE, "identity": Written.APPLIED}
    assert calls == ["UpdateItem"] * 3
    assert stored(KEY) == {"spellcheck": f"{NEW} 2", "identity": f"{OLD} i"}


def test_followers_go_with_their_register(store: ViewStore, stored: Callable[[Key], items.Item]) -> None:
    """An attribute beside a register changes exactly when the register does."""
    store.write(Change(KEY, {"job": f"{NEW} a"}, {"job": {"entries": b"new"}}))
    store.write(Change(KEY, {"job": f"{OLD} b"}, {"job": {"entries": b"old"}}))

    assert stored(KEY) == {"job": f"{NEW} a", "entries": b"new"}


def test_times_in_order_cost_one_call(store: ViewStore, calls: list[str]) -> None:
    """A batch's times are widened with one call where events come in order, the first one included."""
    for minute in range(1, 6):
        time = f"20260302T08{minute:02}00000000"
        store.write(Change(items.batch_key("b"), times=Times(time, time, time if minute > 2 else None)))

    assert calls == ["UpdateItem"] * 5


def test_times_only_widen(store: ViewStore, stored: Callable[[Key], items.Item]) -> None:
    """Times move outwards in any order, and a repeated one changes nothing."""
    key = items.batch_key("b")
    spans = [
        ("3", "4", None),
        ("2", "3", "3"),
        ("5", "9", "6"),
        ("2", "3", "3"),
        ("1", "1", "1"),
        ("4", "5", None),
    ]
    for created, updated, started in spans:
        store.write(Change(key, times=Times(created, updated, started)))

    assert stored(key) == {"created_at": "1", "updated_at": "9", "started_at": "1"}


@pytest.mark.parametrize("seed", range(5))
def test_the_store_comes_to_the_fold(
    store: ViewStore, seed: int, table: str, dynamodb: DynamoDBClient
) -> None:
    """The samples shuffled, a part of them twice: the table equals the pure fold."""
    events = fold.read_all(samples.events("platform_2025_06", "platform_2026_02"))
    source = random.Random(seed)  # noqa: S311 - a shuffle, not a secret
    history = events + source.sample(events, 30)
    source.shuffle(history)

    for event in history:
        store.write(items.change_of(event))
        store.write(Change(items.batch_key(event.batch_id), times=items.times_of(event)))

    assert fold.stored(dynamodb, table) == fold.fold(events)


def test_a_partition_is_read_whole(store: ViewStore, calls: list[str]) -> None:
    """A batch beyond a megabyte takes a Query per megabyte, and comes in the order of the sort keys."""
    for n in range(6):
        store.write(Change(Key("batch#b", f"e#{n}"), {"spellcheck": f"{NEW} {'x' * 300_000}"}))
    store.write(Change(items.batch_key("b"), times=Times("1", "1")))
    calls.clear()
    found = store.read_partition("b")
    assert next(found)["sk"] == "batch"
    assert calls == ["Query"]

    assert [item["sk"] for item in found] == [f"e#{n}" for n in range(6)]
    assert calls == ["Query", "Query"]


def owned(store: ViewStore, batch_id: str, user_id: str, created_at: str, version: str = OLD) -> None:
    owner = Change(items.batch_key(batch_id), {"owner": version}, {"owner": {"user_id": user_id}})
    owner.times = Times(created_at, created_at)
    store.write(owner)


def test_a_users_batches_come_newest_first(store: ViewStore) -> None:
    """By creation, then by id; another user's are not among them."""
    for batch_id, created in [("a", "2"), ("b", "3"), ("c", "2"), ("d", "1")]:
        owned(store, batch_id, "u", created)
    owned(store, "x", "v", "9")

    assert store.batch_ids_of("u") == ["b", "c", "a", "d"]
    assert store.batch_ids_of("nobody") == []


def test_a_new_owner_takes_the_batch(store: ViewStore) -> None:
    """A newer event that names another owner moves the batch in the index; an older one does not."""
    owned(store, "b", "first", "1")
    owned(store, "b", "second", "1", version=NEW)
    owned(store, "b", "first", "1")

    assert (store.batch_ids_of("first"), store.batch_ids_of("second")) == ([], ["b"])


def test_batches_are_read_by_the_hundred(store: ViewStore, calls: list[str]) -> None:
    """BatchGetItem takes a hundred keys a call; batches that do not exist are left out."""
    ids = [f"b{n}" for n in range(150)]
    for batch_id in ids:
        owned(store, batch_id, "u", "1")
    calls.clear()
    found = store.read_batches([*ids, "missing"])

    assert sorted(found) == sorted(ids)
    assert calls == ["BatchGetItem"] * 2


def test_what_can_never_be_stored_is_unacceptable(store: ViewStore) -> None:
    """An item over 400 KB fails for good."""
    with pytest.raises(UnacceptableError):
        store.write(change(spellcheck=f"{NEW} {'x' * 410_000}"))


def test_what_cannot_be_stored_now_is_unavailable(store: ViewStore, dynamodb: DynamoDBClient) -> None:
    """A table that is not there, and a connection that times out, may work later."""
    with pytest.raises(UnavailableError, match="ResourceNotFoundException"):
        ViewStore("no-such-table", dynamodb).write(change(spellcheck=f"{NEW} 1"))

    def time_out(**_: Any) -> None:
        raise ConnectTimeoutError(endpoint_url="http://127.0.0.1")

    dynamodb.meta.events.register_first("before-send.dynamodb", time_out)
    with pytest.raises(UnavailableError, match="ConnectTimeoutError"):
        list(store.read_partition("b"))


def test_health_is_the_tables(store: ViewStore, dynamodb: DynamoDBClient) -> None:
    """The store is active when its table is, and says so when it cannot know."""
    assert store.is_active()
    with pytest.raises(UnavailableError):
        ViewStore("no-such-table", dynamodb).is_active()
