"""The view's table: conditional writes decide, and however changes arrive the items are the fold's."""

from __future__ import annotations

import itertools
import json
import random
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import pytest
from result_aggregator.deadline import Deadline
from result_aggregator.domain import table_layout, view
from result_aggregator.domain.store_interface import Listed, UnacceptableError, UnavailableError, Written
from result_aggregator.domain.table_layout import Change, Key, Times
from result_aggregator.store import view_store as dynamodb_module
from result_aggregator.store.dynamodb_client import Response
from result_aggregator.store.view_store import ViewStore

from tests import fold, samples, writer
from tests.dynamodb import Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from mypy_boto3_dynamodb import DynamoDBClient
    from result_aggregator.store.dynamodb_client import DynamoDB

KEY = Key("batch#b", "e#1")
OLD = "20260302T080000000000 00000000000000000000000000000001"
NEW = "20260302T080001000000 00000000000000000000000000000000"


@pytest.fixture
def store(table: str, http_client: DynamoDB) -> ViewStore:
    return ViewStore(table, http_client)


@pytest.fixture
def calls(http_client: DynamoDB) -> list[str]:
    """The operations asked of DynamoDB, retries included."""
    seen: list[str] = []
    http_client.transport = Watched(http_client.transport, seen.append)
    return seen


@pytest.fixture
def stored(table: str, dynamodb: DynamoDBClient) -> Callable[[Key], table_layout.Item]:
    """An item as the table has it, without its keys."""

    def get(key: Key) -> table_layout.Item:
        raw = dynamodb.get_item(TableName=table, Key={"pk": {"S": key.pk}, "sk": {"S": key.sk}}).get(
            "Item", {}
        )
        plain: table_layout.Item = {name: next(iter(value.values())) for name, value in raw.items()}  # type: ignore[misc] # strings and bytes only
        return {name: value for name, value in plain.items() if name not in ("pk", "sk")}

    return get


class Throttled:
    """A transport to a table that leaves every key of a batch unprocessed."""

    def send(self, headers: dict[str, str], body: bytes) -> Response:  # noqa: ARG002 - a transport's
        answer = {"Responses": {}, "UnprocessedKeys": json.loads(body)["RequestItems"]}
        return Response(200, json.dumps(answer).encode())

    def close(self) -> None:
        """There is nothing to close."""


def change(**registers: str) -> Change:
    return Change(KEY, registers=registers)


def test_newer_wins(store: ViewStore, calls: list[str], stored: Callable[[Key], table_layout.Item]) -> None:
    """A register takes a newer version, and keeps it against the older and the same; each costs one call."""
    assert store.write(change(spellcheck=f"{OLD} 1")) == {"spellcheck": Written.APPLIED}
    assert store.write(change(spellcheck=f"{NEW} 2")) == {"spellcheck": Written.APPLIED}
    assert store.write(change(spellcheck=f"{NEW} 2")) == {"spellcheck": Written.DUPLICATE}
    assert store.write(change(spellcheck=f"{OLD} 1")) == {"spellcheck": Written.STALE}

    assert calls == ["UpdateItem"] * 4
    assert stored(KEY) == {"spellcheck": f"{NEW} 2"}


def test_registers_are_independent(
    store: ViewStore, calls: list[str], stored: Callable[[Key], table_layout.Item]
) -> None:
    """Of a change with a stale and a newer register the newer is written: two calls."""
    store.write(change(spellcheck=f"{NEW} 2"))
    written = store.write(change(spellcheck=f"{OLD} 1", identity=f"{OLD} i"))

    assert written == {"spellcheck": Written.STALE, "identity": Written.APPLIED}
    assert calls == ["UpdateItem"] * 3
    assert stored(KEY) == {"spellcheck": f"{NEW} 2", "identity": f"{OLD} i"}


def test_followers_go_with_their_register(
    store: ViewStore, stored: Callable[[Key], table_layout.Item]
) -> None:
    """An attribute beside a register changes exactly when the register does."""
    store.write(Change(KEY, {"job": f"{NEW} a"}, {"job": {"entries": b"new"}}))
    store.write(Change(KEY, {"job": f"{OLD} b"}, {"job": {"entries": b"old"}}))

    assert stored(KEY) == {"job": f"{NEW} a", "entries": b"new"}


def test_times_in_order_cost_one_call(store: ViewStore, calls: list[str]) -> None:
    """A batch's times are widened with one call where events come in order, the first one included."""
    for minute in range(1, 6):
        time = f"20260302T08{minute:02}00000000"
        store.write(
            Change(table_layout.batch_key("b"), times=Times(time, time, time if minute > 2 else None))
        )

    assert calls == ["UpdateItem"] * 5


def test_times_only_widen(store: ViewStore, stored: Callable[[Key], table_layout.Item]) -> None:
    """Times move outwards in any order, and a repeated one changes nothing."""
    key = table_layout.batch_key("b")
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
        writer.write(store, event)

    assert fold.stored(dynamodb, table) == fold.fold(events)


def test_a_partition_is_read_whole(store: ViewStore, calls: list[str]) -> None:
    """A batch beyond a megabyte takes a Query per megabyte, and comes in the order of the sort keys."""
    for n in range(6):
        store.write(Change(Key("batch#b", f"e#{n}"), {"spellcheck": f"{NEW} {'x' * 300_000}"}))
    store.write(Change(table_layout.batch_key("b"), times=Times("1", "1")))
    calls.clear()
    found = store.read_partition("b")
    assert next(found)["sk"] == "batch"
    assert calls == ["Query"]

    assert [item["sk"] for item in found] == [f"e#{n}" for n in range(6)]
    assert calls == ["Query", "Query"]


def owned(store: ViewStore, batch_id: str, user_id: str, created_at: str, version: str = OLD) -> None:
    owner = Change(table_layout.batch_key(batch_id), {"owner": version}, {"owner": {"user_id": user_id}})
    owner.times = Times(created_at, created_at)
    store.write(owner)


def listed(store: ViewStore, user_id: str, after: Listed | None = None, page_size: int | None = None) -> str:
    return "".join(found.place.batch_id for found in store.batches_of(user_id, after, page_size))


def test_a_users_batches_come_newest_first(store: ViewStore) -> None:
    """By creation, then by id; another user's are not among them."""
    for batch_id, created in [("a", "2"), ("b", "3"), ("c", "2"), ("d", "1")]:
        owned(store, batch_id, "u", created)
    owned(store, "x", "v", "9")

    assert listed(store, "u") == "bcad"
    assert listed(store, "nobody") == ""


@pytest.mark.parametrize("page_size", [1, 2, 3, 5, None])
def test_a_users_batches_go_on_from_anywhere(
    store: ViewStore, page_size: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind any place, of a batch that is there or is not, whatever is read at a time, and however many share a moment."""
    monkeypatch.setattr(dynamodb_module, "_SHARING", 0)
    for batch_id, created in zip("abcdefghij", "1222222234", strict=True):
        owned(store, batch_id, "u", created)
    order = "jihgfedcba"

    for n, batch_id in enumerate(order):
        place = Listed(dict(zip("abcdefghij", "1222222234", strict=True))[batch_id], batch_id)
        assert listed(store, "u", place, page_size) == order[n + 1 :]
    assert listed(store, "u", Listed("2", "cc"), page_size) == "cba"
    assert listed(store, "u", Listed("0", "x"), page_size) == ""


def test_a_page_of_batches_is_one_query(store: ViewStore, calls: list[str]) -> None:
    """From any place on, a page and one more come with one Query, where moments differ."""
    for n in range(30):
        owned(store, f"b{n:02}", "u", f"{n:02}")
    calls.clear()
    found = list(islice(store.batches_of("u", Listed("20", "b20"), 6), 6))

    assert [one.place.batch_id for one in found] == ["b19", "b18", "b17", "b16", "b15", "b14"]
    assert calls == ["Query"]


def test_a_new_owner_takes_the_batch(store: ViewStore) -> None:
    """A newer event that names another owner moves the batch in the index; an older one does not."""
    owned(store, "b", "first", "1")
    owned(store, "b", "second", "1", version=NEW)
    owned(store, "b", "first", "1")

    assert (listed(store, "first"), listed(store, "second")) == ("", "b")


BATCH = table_layout.batch_key("b")
LATER = f"{NEW[:21]} {'f' * 32}"
SPELLCHECKED = f'{OLD} ["COMPLETED",2,0,null]'
RANKED = f'{NEW} ["COMPLETED",2,0,null]'


def in_two_phases(store: ViewStore) -> None:
    """A registered batch whose pipeline has two phases, the first of which has ended."""
    owned(store, "b", "u", "1")
    registers = {"pipeline": f'{OLD} "spellcheck,cj_assessment"', "spellcheck": SPELLCHECKED}
    store.write(Change(BATCH, registers, times=Times("1", "1", "1")))


def standings(store: ViewStore) -> list[str | None]:
    """What the index tells of the user's batches."""
    return [view.status_of(entry.standing, samples.DEFAULT_PIPELINE) for entry in store.batches_of("u")]


def test_the_index_says_how_a_batch_ended(store: ViewStore, calls: list[str]) -> None:
    """Nothing while it runs; its end takes a write of its own, and a rerun takes it back."""
    in_two_phases(store)
    assert standings(store) == [view.RUNS]
    calls.clear()
    store.write(Change(BATCH, {"cj_assessment": RANKED}, times=Times("1", "2", "1")))
    assert calls == ["UpdateItem", "UpdateItem"]
    assert standings(store) == ["COMPLETED"]
    calls.clear()
    store.write(Change(BATCH, {"cj_assessment": RANKED}, times=Times("1", "2", "1")))
    store.write(Change(BATCH, times=Times("1", "3", "1")))
    assert calls == ["UpdateItem"] * 2

    store.write(Change(BATCH, {"cj_assessment": f'{LATER} ["IN_PROGRESS",0,0,null]'}))
    assert standings(store) == [view.RUNS]


def test_what_comes_with_the_owner_takes_one_write(store: ViewStore, calls: list[str]) -> None:
    """A batch's whole life in one invocation is listed as it ended at once."""
    life = Change(BATCH, {"owner": OLD, "pipeline": f'{OLD} "spellcheck"', "spellcheck": SPELLCHECKED})
    life.followers = {"owner": {"user_id": "u"}}
    life.times = Times("1", "1", "1")
    store.write(life)

    assert calls == ["UpdateItem"]
    assert standings(store) == ["COMPLETED"]


def test_an_owner_found_out_late_lists_the_batch_as_it_stands(store: ViewStore) -> None:
    """The batch had ended by then."""
    pipeline = f'{OLD} "spellcheck"'
    store.write(Change(BATCH, {"pipeline": pipeline, "spellcheck": SPELLCHECKED}, times=Times("1", "1", "1")))
    owned(store, "b", "u", "1")

    assert standings(store) == ["COMPLETED"]


def before_requests(http_client: DynamoDB, numbers: Container[int], do: Callable[[], object]) -> None:
    """From now on something happens before some of the requests, which count from 1."""
    counted = itertools.count(1)
    http_client.transport = Watched(
        http_client.transport, lambda _: do() if next(counted) in numbers else None
    )


def die() -> None:
    raise TimeoutError


def test_a_standing_that_was_not_written_is_by_the_redelivery(
    store: ViewStore, http_client: DynamoDB
) -> None:
    """A function that dies between a batch's registers and its standing gets the same event again."""
    in_two_phases(store)
    ranked = Change(BATCH, {"cj_assessment": RANKED}, times=Times("1", "2", "1"))
    real = http_client.transport
    before_requests(http_client, range(2, 100), die)
    with pytest.raises(UnavailableError):
        store.write(ranked)
    http_client.transport = real
    assert standings(store) == [view.RUNS]
    again = Change(BATCH, dict(ranked.registers), times=ranked.times)
    assert store.write(again) == {"cj_assessment": Written.DUPLICATE}

    assert standings(store) == ["COMPLETED"]


def test_a_standing_that_is_tried_again_makes_no_duplicate(store: ViewStore, http_client: DynamoDB) -> None:
    """What an attempt applied before it failed is applied, and counted as such, by the attempt that succeeds."""
    in_two_phases(store)
    ranked = Change(BATCH, {"cj_assessment": RANKED}, times=Times("1", "2", "1"))
    before_requests(http_client, (2, 3), die)
    written = Deadline(5, sleep=lambda _: None).attempt(lambda: store.write(ranked))

    assert written == {"cj_assessment": Written.APPLIED}
    assert standings(store) == ["COMPLETED"]


def test_without_a_named_pipeline_the_default_decides(store: ViewStore, calls: list[str]) -> None:
    """The phases that ended are kept, as the live platform's batches need; those that are on their way take no write."""
    owned(store, "b", "u", "1")
    calls.clear()
    for version, status in ((OLD, "IN_PROGRESS"), (NEW, "COMPLETED")):
        store.write(Change(BATCH, {"spellcheck": f'{version} ["{status}",7,1,null]'}))
    assert calls == ["UpdateItem"] * 3
    [entry] = store.batches_of("u")

    assert view.status_of(entry.standing, ["spellcheck"]) == "PARTIALLY_COMPLETED"
    assert view.status_of(entry.standing, ["spellcheck", "nlp"]) == view.RUNS


def test_an_index_of_keys_alone_is_read(
    http_client: DynamoDB, dynamodb: DynamoDBClient, table_arguments: dict[str, Any]
) -> None:
    """Such as tables had before standings were kept: the listing works, and looks at the batches themselves."""
    [index] = table_arguments["GlobalSecondaryIndexes"]
    keys_alone = {**index, "Projection": {"ProjectionType": "KEYS_ONLY"}}
    arguments = {**table_arguments, "TableName": "keys-alone", "GlobalSecondaryIndexes": [keys_alone]}
    dynamodb.create_table(**arguments)
    try:
        store = ViewStore("keys-alone", http_client)
        owned(store, "b", "u", "1")

        assert standings(store) == [None]
    finally:
        dynamodb.delete_table(TableName="keys-alone")


def test_of_two_writers_the_later_ones_standing_stays(store: ViewStore, http_client: DynamoDB) -> None:
    """One finds the batch ended, and is overtaken by another that begins it anew before it can say so."""
    in_two_phases(store)
    begun_anew = Change(BATCH, {"spellcheck": f'{LATER} ["IN_PROGRESS",0,0,null]'})
    before_requests(http_client, (2,), lambda: store.write(begun_anew))
    store.write(Change(BATCH, {"cj_assessment": RANKED}, times=Times("1", "2", "1")))

    assert standings(store) == [view.RUNS]


def test_whoever_is_overtaken_says_how_the_batch_stands_then(store: ViewStore, http_client: DynamoDB) -> None:
    """Also for the other, which may have died right after its register."""
    in_two_phases(store)

    def overtake_and_die() -> None:
        with pytest.MonkeyPatch.context() as dies:
            dies.setattr(store, "_keep_standing", lambda *_: die())
            with pytest.raises(TimeoutError):
                store.write(Change(BATCH, {"spellcheck": f'{LATER} ["FAILED",0,2,"why"]'}))

    before_requests(http_client, (2,), overtake_and_die)
    store.write(Change(BATCH, {"cj_assessment": RANKED}, times=Times("1", "2", "1")))

    assert standings(store) == ["FAILED"]


def test_essays_go_on_from_anywhere(store: ViewStore, calls: list[str]) -> None:
    """Behind any id, in the order of their bytes, with a Query for a page; the batch's other items are not among them."""
    names = ["!", "a", "b", "é", "\uffee", "\U0001f600"]
    for name in names:
        store.write(Change(Key("batch#b", f"e#{name}"), {"spellcheck": f"{NEW} 1"}))
    store.write(Change(table_layout.batch_key("b"), times=Times("1", "1")))
    store.write(Change(table_layout.ranking_key("b"), {"job": f"{NEW} 1"}))

    for n, name in enumerate(names):
        found = [table_layout.essay_id_of(str(item["sk"])) for item in store.read_essays("b", name, None)]
        assert found == names[n + 1 :]
    calls.clear()
    assert len(list(islice(store.read_essays("b", "!", 3), 3))) == 3
    assert calls == ["Query"]
    assert len(list(store.read_essays("b", "!", 3))) == 5


def test_a_head_is_one_call(store: ViewStore, calls: list[str]) -> None:
    """What comes before the essays: the batch, its ranking, the jobs' lists, of which any may be missing."""
    assert store.read_head("b") == []
    for key in (table_layout.ranking_key("b"), table_layout.list_key("b", "j"), Key("batch#b", "e#a")):
        store.write(Change(key, {"job": f"{NEW} 1"}))
    assert [item["sk"] for item in store.read_head("b")] == ["cj", "cj#j"]
    owned(store, "b", "u", "1")
    calls.clear()
    batch, *_ = store.read_head("b")

    assert batch["user_id"] == "u"
    assert calls == ["Query"]


@pytest.mark.slow
def test_batches_are_read_by_the_hundred(store: ViewStore, calls: list[str]) -> None:
    """BatchGetItem takes a hundred keys a call; batches that do not exist are left out."""
    ids = [f"b{n}" for n in range(150)]
    for batch_id in ids:
        owned(store, batch_id, "u", "1")
    calls.clear()
    found = store.read_batches([*ids, "missing"])

    assert sorted(found) == sorted(ids)
    assert calls == ["BatchGetItem"] * 2


def test_batches_over_16_megabytes_are_read_in_several_calls(
    store: ViewStore, dynamodb: DynamoDBClient, table: str
) -> None:
    """BatchGetItem returns the keys of what does not fit, and they are read next."""
    ids = [f"b{n}" for n in range(46)]
    for key in map(table_layout.batch_key, ids):
        texts = {"pk": key.pk, "sk": key.sk, "spellcheck": "x" * 380_000}
        dynamodb.put_item(TableName=table, Item={name: {"S": text} for name, text in texts.items()})

    assert sorted(store.read_batches(ids)) == sorted(ids)


def test_keys_that_stay_unprocessed_are_unavailable(store: ViewStore, http_client: DynamoDB) -> None:
    """A table that is throttled for longer may answer later: what was read of it is no answer."""
    http_client.transport = Throttled()

    with pytest.raises(UnavailableError, match="BatchGetItem: keys left unprocessed"):
        store.read_batches(["b"])


def test_what_can_never_be_stored_is_unacceptable(store: ViewStore) -> None:
    """An item over 400 KB fails for good."""
    with pytest.raises(UnacceptableError):
        store.write(change(spellcheck=f"{NEW} {'x' * 410_000}"))


def test_what_cannot_be_stored_now_is_unavailable(store: ViewStore, http_client: DynamoDB) -> None:
    """A table that is not there, and a connection that times out, may work later."""
    with pytest.raises(UnavailableError, match="ResourceNotFoundException"):
        ViewStore("no-such-table", http_client).write(change(spellcheck=f"{NEW} 1"))

    def time_out(_: str) -> None:
        raise TimeoutError

    http_client.transport = Watched(http_client.transport, time_out)
    with pytest.raises(UnavailableError, match="Query: TimeoutError"):
        list(store.read_partition("b"))


def test_health_is_the_tables(store: ViewStore, http_client: DynamoDB) -> None:
    """The store is active when its table is, and says so when it cannot know."""
    assert store.is_active()
    with pytest.raises(UnavailableError):
        ViewStore("no-such-table", http_client).is_active()


@pytest.mark.parametrize(
    ("status", "is_active"), [("ACTIVE", True), ("UPDATING", True), ("CREATING", False), ("DELETING", False)]
)
def test_a_table_in_change_is_active(status: str, is_active: bool) -> None:  # noqa: FBT001 - a case
    """It takes reads and writes while an index or its capacity changes, and neither before it is there nor when it goes."""

    class Told:
        def call(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
            assert (operation, body) == ("DescribeTable", {"TableName": "view"})
            return {"Table": {"TableStatus": status}}

    assert ViewStore("view", cast("DynamoDB", Told())).is_active() is is_active


def test_what_others_wrote_beside_is_no_harm(store: ViewStore, dynamodb: DynamoDBClient, table: str) -> None:
    """A time to live, say, is a number: reads and writes go past it."""
    store.write(change(spellcheck=f"{NEW} 1"))
    dynamodb.update_item(
        TableName=table,
        Key={"pk": {"S": KEY.pk}, "sk": {"S": KEY.sk}},
        UpdateExpression="SET expires_at = :at",
        ExpressionAttributeValues={":at": {"N": "4102444800"}},
    )

    assert store.write(change(spellcheck=f"{OLD} 1")) == {"spellcheck": Written.STALE}
    [item] = store.read_partition("b")
    assert item["spellcheck"] == f"{NEW} 1"
