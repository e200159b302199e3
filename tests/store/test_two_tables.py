"""Two tables kept in step: the same in both, in one order, and neither twice when one of them fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from result_aggregator import ingest_handler, settings
from result_aggregator.domain.store_interface import UnavailableError, Written
from result_aggregator.domain.table_layout import BATCH, Change, Key, Times, change_to, merged
from result_aggregator.store.two_tables import ViewPair
from result_aggregator.store.view_store import ViewStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient
    from result_aggregator.store.dynamodb_client import DynamoDB

KEY = Key("batch#b", BATCH)
VERSION = "20260302T080000000000 " + "0" * 32


@pytest.fixture
def second(dynamodb: DynamoDBClient, table: str, table_arguments: dict[str, Any]) -> Iterator[str]:  # noqa: ARG001 - it comes after
    dynamodb.create_table(**{**table_arguments, "TableName": "second"})
    yield "second"
    dynamodb.delete_table(TableName="second")


def change() -> Change:
    made = Change(KEY)
    made.set("owner", f'{VERSION} "u"', {"user_id": "u"})
    made.widen(Times("20260302T080000000000", "20260302T080000000000"))
    return made


def stored(dynamodb: DynamoDBClient, table: str) -> dict[str, Any]:
    found = dynamodb.get_item(TableName=table, Key={"pk": {"S": KEY.pk}, "sk": {"S": KEY.sk}})
    return {name: next(iter(typed.values())) for name, typed in found.get("Item", {}).items()}


def test_both_hold_the_same(dynamodb: DynamoDBClient, http_client: DynamoDB, table: str, second: str) -> None:
    """And what is told is what became of it in the first."""
    ViewStore(table, http_client).write(change())
    pair = ViewPair(ViewStore(second, http_client), ViewStore(table, http_client))

    assert pair.write(change()) == {"owner": Written.APPLIED}
    assert stored(dynamodb, second) == stored(dynamodb, table) != {}


def test_what_the_second_lacks_comes_with_the_next_try(
    dynamodb: DynamoDBClient, http_client: DynamoDB, table: str, second: str
) -> None:
    """A failure of either is a failure; again, the first takes it for a duplicate."""
    first = ViewStore(table, http_client)
    with pytest.raises(UnavailableError):
        ViewPair(first, ViewStore("missing", http_client)).write(change())
    with pytest.raises(UnavailableError):
        ViewPair(ViewStore("missing", http_client), ViewStore(second, http_client)).write(change())
    assert stored(dynamodb, second) == {}

    assert ViewPair(first, ViewStore(second, http_client)).write(change()) == {"owner": Written.DUPLICATE}
    assert stored(dynamodb, second) == stored(dynamodb, table)


def test_functions_write_the_tables_that_are_named(monkeypatch: pytest.MonkeyPatch, aws: None) -> None:  # noqa: ARG001 - credentials
    """One, or two; anything else is a mistake that is told."""
    monkeypatch.setenv("TABLE_NAME", "view")
    assert isinstance(ingest_handler._view(), ViewStore)
    monkeypatch.setenv("TABLE_NAME", "new, old")
    assert isinstance(ingest_handler._view(), ViewPair)
    for wrong in ("a,b,c", "a,,b", "a,"):
        monkeypatch.setenv("TABLE_NAME", wrong)
        with pytest.raises(settings.SettingsError, match="TABLE_NAME"):
            ingest_handler._view()


def test_an_item_is_a_change_that_makes_it() -> None:
    """Registers, what follows them, and times: brought into nothing it is the item again."""
    item = merged(None, change())

    assert merged(None, change_to({"pk": KEY.pk, "sk": KEY.sk, **item})) == item


def test_a_copy_knows_when_its_batch_began() -> None:
    """Only a batch that is being processed has a beginning: it comes along, and widens what the other table has."""
    item = {"created_at": "20260302T080000000000", "updated_at": "20260302T080300000000"}
    change = change_to({"pk": KEY.pk, "sk": KEY.sk, **item, "started_at": "20260302T080100000000"})

    assert merged({**item, "started_at": "20260302T080200000000"}, change) == {
        **item,
        "started_at": "20260302T080100000000",
    }
