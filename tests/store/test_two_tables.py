"""Two tables kept in step: the same in both, in one order, and neither twice when one of them fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from result_aggregator import ingest_handler, settings
from result_aggregator.domain.outcomes import APPLIED, DUPLICATE, HANDED_BACK, REJECTED
from result_aggregator.domain.table_layout import BATCH, Change, Key, Times, change_to, merged

from tests import fold
from tests.store.claims import Table, folded, result, slot, summary

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient
    from result_aggregator.store.dynamodb_client import DynamoDB

KEY = Key("batch#b", BATCH)
VERSION = "20260302T080000000000 " + "0" * 32
LINES = [result("e", 2), slot("e", "b", 1), summary("c", ["e"], ["f"], 3)]


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


def test_both_hold_the_same(dynamodb: DynamoDBClient, http_client: DynamoDB, table: str, second: str) -> None:
    """And what is told is what became of it in the first."""
    Table(http_client, table).deliver(*LINES)
    assert Table(http_client, second, table).deliver(*LINES) == [APPLIED] * 3

    assert fold.stored(dynamodb, second) == fold.stored(dynamodb, table) == folded(*LINES)


def test_each_has_claims_of_its_own(
    dynamodb: DynamoDBClient, http_client: DynamoDB, table: str, second: str
) -> None:
    """What one table was told before the other was there is not brought to the other."""
    Table(http_client, table).deliver(slot("e", "b", 1), result("f", 1))
    Table(http_client, second, table).deliver(result("e", 2), slot("f", "b", 2))

    assert fold.stored(dynamodb, second) == folded(result("e", 2), slot("f", "b", 2))
    assert fold.stored(dynamodb, table) == folded(
        slot("e", "b", 1), result("f", 1), result("e", 2), slot("f", "b", 2)
    )


def test_what_the_second_lacks_comes_with_the_next_try(
    dynamodb: DynamoDBClient, http_client: DynamoDB, table: str, second: str
) -> None:
    """A failure of either is a failure; again, the first takes it for a duplicate."""
    assert Table(http_client, table, "missing").deliver(*LINES) == [HANDED_BACK] * 3
    assert Table(http_client, "missing", second).deliver(*LINES) == [HANDED_BACK] * 3
    assert fold.stored(dynamodb, second) == {}

    assert Table(http_client, table, second).deliver(*LINES) == [DUPLICATE] * 3
    assert fold.stored(dynamodb, second) == fold.stored(dynamodb, table) == folded(*LINES)


def test_too_many_claims_in_either_is_a_dead_letter(http_client: DynamoDB, table: str, second: str) -> None:
    """Kept once, with the rest written in both."""
    Table(http_client, table).deliver(*(slot("e", f"b{number}", 1) for number in range(100)))
    both = Table(http_client, second, table)

    assert both.deliver(slot("e", "c", 2), summary("c", ["e", "f"], [], 3)) == [REJECTED] * 2
    assert [letter.code for letter in both.letters.kept] == ["too_many_claims"] * 2
    for store in both.views:
        assert "e#f" in {item["sk"] for item in store.read_partition("c")}


def test_functions_write_the_tables_that_are_named(monkeypatch: pytest.MonkeyPatch, aws: None) -> None:  # noqa: ARG001 - credentials
    """One, or two; anything else is a mistake that is told."""
    monkeypatch.setenv("TABLE_NAME", "view")
    assert len(ingest_handler._views()) == 1
    monkeypatch.setenv("TABLE_NAME", "new, old")
    assert len(ingest_handler._views()) == 2
    for wrong in ("a,b,c", "a,,b", "a,"):
        monkeypatch.setenv("TABLE_NAME", wrong)
        with pytest.raises(settings.SettingsError, match="TABLE_NAME"):
            ingest_handler._views()


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
