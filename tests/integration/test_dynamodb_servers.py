"""How dynoxide, the emulator and moto answer where they differ: docs/dynamodb-servers.md has a row for each test.

A failing test here is a change in a server: correct the page with it.
"""

from __future__ import annotations

import re
import tomllib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws
from ras.state_folder import REPOSITORY
from ras_local.clients import dynamodb_at
from ras_local.servers import fetched
from ras_local.settings import region
from result_aggregator.names import USER_INDEX

from tests.real_servers import DYNOXIDE, EMULATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_dynamodb import DynamoDBClient

    Ask = Callable[[Callable[["Table"], Any]], tuple[Any, Any, Any]]

pytestmark = pytest.mark.integration

MOTO = "moto"
TABLE = "differences"
ACCEPTED = "accepted"
REFUSED = "ValidationException"


class Table:
    """The table on one server, and a partition of it that no other test uses."""

    def __init__(self, client: DynamoDBClient, pk: str) -> None:
        self.client: Any = client  # it is asked what the type checker would not let pass
        self.pk = pk
        self.query = partial(
            self.client.query,
            TableName=TABLE,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
        )
        self.query_index = partial(
            self.client.query,
            TableName=TABLE,
            IndexName=USER_INDEX,
            KeyConditionExpression="user_id = :pk",
            ExpressionAttributeValues={":pk": {"S": pk}},
        )

    def key(self, sk: object = "sk") -> dict[str, Any]:
        return {"pk": {"S": self.pk}, "sk": {"S": str(sk)}}

    def put(self, sk: object = "sk", **texts: str) -> Any:
        item = self.key(sk) | {name: {"S": text} for name, text in texts.items()}
        return self.client.put_item(TableName=TABLE, Item=item, ReturnConsumedCapacity="INDEXES")

    def listed(self, sk: object = "sk", **texts: str) -> Any:
        """An item with an entry in the user index."""
        return self.put(sk, **{"user_id": self.pk, "created_at": f"{sk:>5}", **texts})

    def fill(self, count: int, size: int, *, listed: bool = False) -> None:
        """So many items of so many bytes and some."""
        put = self.listed if listed else self.put
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda number: put(f"{number:05}", text="x" * size), range(count)))

    def update(self, expression: str, condition: str = "", **texts: str) -> Any:
        values = {f":{name}": {"S": text} for name, text in texts.items()}
        return self.client.update_item(
            TableName=TABLE,
            Key=self.key(),
            UpdateExpression=expression,
            ReturnConsumedCapacity="INDEXES",
            **({"ConditionExpression": condition} if condition else {}),
            **({"ExpressionAttributeValues": values} if values else {}),
        )

    def get(self) -> dict[str, Any] | None:
        item: dict[str, Any] | None = self.client.get_item(TableName=TABLE, Key=self.key()).get("Item")
        return item

    def get_all(self, count: int, **more: Any) -> Any:
        keys = [self.key(f"{number:05}") for number in range(count)]
        return self.client.batch_get_item(
            RequestItems={TABLE: {"Keys": keys, "ConsistentRead": True}}, **more
        )


@pytest.fixture(scope="module")
def clients(
    dynoxide_url: str, emulator_url: str, table_arguments: dict[str, Any]
) -> Iterator[dict[str, DynamoDBClient]]:
    """The deployed table's definition on each server."""
    with mock_aws(config={"core": {"mock_credentials": False}}):
        in_process = boto3.client(
            "dynamodb",
            region_name=region(),
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}),
        )
        made = {
            DYNOXIDE: dynamodb_at(dynoxide_url),
            EMULATOR: dynamodb_at(emulator_url),
            MOTO: in_process,
        }
        for client in made.values():
            client.create_table(**{**table_arguments, "TableName": TABLE})
        yield made
        for client in made.values():
            client.delete_table(TableName=TABLE)


@pytest.fixture
def ask(clients: dict[str, DynamoDBClient], request: pytest.FixtureRequest) -> Ask:
    """Does the same on dynoxide, the emulator and moto; their answers in this order."""

    def on_each(question: Callable[[Table], Any]) -> tuple[Any, Any, Any]:
        first, second, third = (question(Table(client, request.node.name)) for client in clients.values())
        return first, second, third

    return on_each


def outcome(call: Callable[..., Any], *arguments: Any, **named: Any) -> str:
    """ACCEPTED, or the error's code; of an exception that is no answer of a server its name."""
    try:
        call(*arguments, **named)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    except Exception as error:  # noqa: BLE001 - moto fails with whatever its code runs into
        return type(error).__name__
    return ACCEPTED


def units(answer: Any) -> float:
    total: float = answer["ConsumedCapacity"]["CapacityUnits"]
    return total


def index_units(answer: Any) -> float:
    indexes = answer["ConsumedCapacity"].get("GlobalSecondaryIndexes", {})
    return sum(float(index["CapacityUnits"]) for index in indexes.values())


def test_the_page_names_the_pinned_releases() -> None:
    """Whoever raises one finds here that there is a page to read again."""
    page = (REPOSITORY / "docs" / "dynamodb-servers.md").read_text(encoding="utf-8")
    crate = tomllib.loads((fetched.PINS / DYNOXIDE / "crate.toml").read_text(encoding="utf-8"))

    assert f"(crate `{crate['name']}` {crate['version']}," in page
    assert f"(ministack {pinned('emulator', 'ministack')})" in page
    assert f"**moto** {pinned('dev', 'moto')}," in page


def pinned(requirements: str, package: str) -> str:
    text = (REPOSITORY / "requirements" / f"{requirements}.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{package}(?:\[.*\])?==([^ ;]+)", text, re.MULTILINE)
    assert found is not None
    return found[1]


def test_units_of_an_update(ask: Ask) -> None:
    """One per kilobyte begun of the larger of the item before and after."""

    def question(table: Table) -> list[float]:
        small, large = {"value": "x"}, {"value": "x" * 2500}
        steps = (small, small, large, small)
        return [units(table.update("SET a = :value", **step)) for step in steps]

    documented = [1, 1, 3, 3]
    assert ask(question) == (documented, documented, [0.5] * 4)


def test_units_at_the_edge_of_a_kilobyte(ask: Ask) -> None:
    """Names count, and 1,024 bytes are one unit."""

    def question(table: Table) -> list[float]:
        rest = len("pk") + len(table.pk) + len("sk") + len("sk") + len("a")
        return [units(table.put(a="x" * (size - rest))) for size in (1024, 1025)]

    assert ask(question) == ([1, 2], [1, 2], [1, 1])


def test_units_of_the_index(ask: Ask) -> None:
    """For an entry that is added, changed, or removed one, for one that moves two, and none for one that stays."""

    def question(table: Table) -> list[float]:
        return [
            index_units(table.listed(1, standing="x", text="x" * 5000)),
            *(
                index_units(answer)
                for answer in (
                    table.listed(standing="x"),
                    table.update("SET a = :value", value="x"),
                    table.update("SET standing = :value", value="x"),
                    table.update("SET standing = :value", value="y"),
                    table.update("SET created_at = :value", value="2"),
                    table.update("REMOVE user_id"),
                )
            ),
        ]

    documented = [1, 1, 0, 0, 1, 2, 1]
    assert ask(question) == (documented, documented, [0] * 7)


def test_units_of_reads(ask: Ask) -> None:
    """Half a unit per four kilobytes, one with ConsistentRead; a Query adds up its items before it rounds."""

    def question(table: Table) -> list[float]:
        table.fill(10, 1000)
        get = partial(table.client.get_item, TableName=TABLE, Key=table.key("large"))
        table.put("large", text="x" * 9000)
        taking: Any = {"ReturnConsumedCapacity": "TOTAL"}
        return [
            units(get(**taking)),
            units(get(ConsistentRead=True, **taking)),
            units(table.query(**taking)),
            units(table.query(ConsistentRead=True, **taking)),
            units(table.query(ConsistentRead=True, Select="COUNT", **taking)),
        ]

    assert ask(question) == ([1.5, 3, 2.5, 5, 5], [0.5, 1, 0.5, 1, 1], [0.5, 0.5, 1, 1, 1])


def test_units_of_batch_get_item(ask: Ask) -> None:
    """Each item is rounded by itself, and one that is not there takes a unit too."""

    def question(table: Table) -> float | None:
        table.fill(2, 5000)
        answer = table.get_all(3, ReturnConsumedCapacity="TOTAL")
        return (
            units({"ConsumedCapacity": answer["ConsumedCapacity"][0]})
            if "ConsumedCapacity" in answer
            else None
        )

    assert ask(question) == (5, None, 3)


def test_batch_get_item_over_16_megabytes(ask: Ask) -> None:
    """What does not fit is left to UnprocessedKeys."""

    def question(table: Table) -> tuple[int, int]:
        table.fill(46, 380_000)
        answer = table.get_all(46)
        return len(answer["Responses"][TABLE]), len(answer["UnprocessedKeys"].get(TABLE, {}).get("Keys", ()))

    assert ask(question) == ((44, 2), (46, 0), (44, 2))


def test_batch_get_item_over_a_megabyte_of_a_partition(ask: Ask) -> None:
    """That too is documented to end in UnprocessedKeys, and does so nowhere here."""

    def question(table: Table) -> int:
        table.fill(4, 380_000)
        return len(table.get_all(4)["Responses"][TABLE])

    assert ask(question) == (4, 4, 4)


def test_pages_of_a_query(ask: Ask) -> None:
    """A page has at most a megabyte. Without a filter ScannedCount is documented to be Count."""

    def question(table: Table) -> list[tuple[int, int]]:
        table.fill(30, 50_000)
        first = table.query()
        second = table.query(ExclusiveStartKey=first["LastEvaluatedKey"])
        return [(page["Count"], page["ScannedCount"]) for page in (first, second)]

    assert ask(question) == ([(20, 21), (10, 10)], [(20, 20), (10, 10)], [(19, 19), (11, 11)])


def test_pages_of_the_index(ask: Ask) -> None:
    """They end by the size of index entries, not by that of the items behind them."""

    def question(table: Table) -> tuple[int, bool]:
        table.fill(30, 50_000, listed=True)
        page = table.query_index()
        return page["Count"], "LastEvaluatedKey" in page

    assert ask(question) == ((30, False), (30, False), (19, True))


def test_a_limit_that_is_reached_at_the_end(ask: Ask) -> None:
    """A LastEvaluatedKey does not mean that there is more."""

    def question(table: Table) -> bool:
        table.fill(3, 10)
        return "LastEvaluatedKey" in table.query(Limit=3)

    assert ask(question) == (True, True, False)


def test_the_index_right_after_a_write(ask: Ask) -> None:
    """It is eventually consistent in AWS; here what was written is there at once."""

    def question(table: Table) -> tuple[int, str]:
        table.listed()
        return table.query_index()["Count"], outcome(table.query_index, ConsistentRead=True)

    assert ask(question) == ((1, REFUSED),) * 3


def test_attributes_that_the_index_does_not_have(ask: Ask) -> None:
    """Only projected attributes may be requested of a global index, and nothing is fetched from the table."""

    def question(table: Table) -> tuple[str, str, int]:
        table.listed(text="x")
        filtered = partial(
            table.query_index,
            FilterExpression="#text = :x",
            ExpressionAttributeNames={"#text": "text"},
            ExpressionAttributeValues={":pk": {"S": table.pk}, ":x": {"S": "x"}},
        )
        return (
            outcome(table.query_index, Select="ALL_ATTRIBUTES"),
            outcome(table.query_index, ProjectionExpression="unlisted"),
            filtered()["Count"],
        )

    assert ask(question) == ((REFUSED, ACCEPTED, 0), (ACCEPTED, ACCEPTED, 1), (REFUSED, ACCEPTED, 0))


def test_a_filter_on_a_key(ask: Ask) -> None:
    """It is documented to be refused: keys belong into the key condition."""

    def question(table: Table) -> str:
        return outcome(table.query, FilterExpression="sk = :pk")

    assert ask(question) == (REFUSED, ACCEPTED, ACCEPTED)


def test_reserved_words(ask: Ask) -> None:
    """In any expression they need a name with a hash sign."""

    def question(table: Table) -> tuple[str, str, str]:
        return (
            outcome(table.update, "SET status = :value", value="x"),
            outcome(table.query, FilterExpression="status = :pk"),
            outcome(table.query, ProjectionExpression="status"),
        )

    assert ask(question) == ((REFUSED,) * 3, (REFUSED, ACCEPTED, ACCEPTED), (REFUSED,) * 3)


@pytest.mark.parametrize("expression", ["SET a =", "SET a = :value, a = :value", "SET a = :value b = :value"])
def test_an_update_that_is_malformed(ask: Ask, expression: str) -> None:
    """Half an assignment, an attribute set twice, a comma forgotten."""

    def question(table: Table) -> tuple[str, bool]:
        values = {"value": "x"} if ":value" in expression else {}
        return outcome(table.update, expression, **values), table.get() is not None

    refused = (REFUSED, False)
    assert ask(question) == (refused, (ACCEPTED, True), refused)


def test_arithmetic_with_a_string(ask: Ask) -> None:
    """Refused, or accepted without an effect."""

    def question(table: Table) -> tuple[str, Any]:
        table.put(a="x")
        result = outcome(
            table.client.update_item,
            TableName=TABLE,
            Key=table.key(),
            UpdateExpression="SET a = a + :one",
            ExpressionAttributeValues={":one": {"N": "1"}},
        )
        return result, (table.get() or {})["a"]

    unchanged = {"S": "x"}
    assert ask(question) == ((REFUSED, unchanged), (ACCEPTED, unchanged), (REFUSED, unchanged))


def test_a_condition_that_compares_types(ask: Ask) -> None:
    """A string is neither less nor more than a number: the condition fails."""

    def question(table: Table) -> str:
        table.put(a="5")
        return outcome(
            table.client.update_item,
            TableName=TABLE,
            Key=table.key(),
            UpdateExpression="SET b = :nine",
            ConditionExpression="a < :nine",
            ExpressionAttributeValues={":nine": {"N": "9"}},
        )

    failed = "ConditionalCheckFailedException"
    assert ask(question) == (failed, failed, "TypeError")


def test_a_function_that_does_not_exist(ask: Ask) -> None:
    """A slip in a condition must not look like a condition that failed."""

    def question(table: Table) -> str:
        return outcome(table.update, "SET a = :value", "attribute_exist(pk)", value="x")

    assert ask(question) == (REFUSED, "ConditionalCheckFailedException", "ValueError")


def test_a_key_condition_with_or(ask: Ask) -> None:
    """One partition, and at most one condition on the sort key."""

    def question(table: Table) -> str:
        return outcome(table.query, KeyConditionExpression="pk = :pk OR sk = :pk")

    assert ask(question) == (REFUSED, ACCEPTED, "AssertionError")


def test_what_cannot_be_stored(ask: Ask) -> None:
    """Items over 400 KB, numbers over 38 digits, empty or repeated members of sets, other types in an index's key."""

    def question(table: Table) -> list[str]:
        put = partial(table.client.put_item, TableName=TABLE)
        attributes: list[dict[str, Any]] = [
            {"a": {"N": "1" * 39}},
            {"a": {"SS": []}},
            {"a": {"SS": ["x", "x"]}},
            {"user_id": {"N": "1"}, "created_at": {"S": "x"}},
            {"user_id": {"S": ""}, "created_at": {"S": "x"}},
            {"a": {"S": ""}},
        ]
        return [
            outcome(table.put, a="x" * 410_000),
            *(outcome(put, Item={**table.key(), **attribute}) for attribute in attributes),
        ]

    documented = [REFUSED] * 6 + [ACCEPTED]
    assert ask(question) == (
        documented,
        documented,
        [REFUSED, ACCEPTED, REFUSED, ACCEPTED, ACCEPTED, REFUSED, ACCEPTED],
    )


def test_what_an_error_is_called(ask: Ask) -> None:
    """With its namespace or without; the message that the service looks into is the same."""

    def question(table: Table) -> tuple[str, str]:
        bodies: list[bytes] = []
        table.client.meta.events.register(
            "before-parse.dynamodb.PutItem",
            lambda response_dict, **_: bodies.append(response_dict["body"]),
            unique_id="raw",
        )
        with pytest.raises(ClientError) as raised:
            table.put(a="x" * 410_000)
        table.client.meta.events.unregister("before-parse.dynamodb.PutItem", unique_id="raw")
        named = "namespace" if b"#ValidationException" in bodies[0] else "bare"
        return named, raised.value.response["Error"]["Message"]

    message = "Item size has exceeded the maximum allowed size"
    assert ask(question) == (("namespace", message), ("bare", message), ("namespace", message))


def test_the_order_of_attributes(ask: Ask) -> None:
    """Of a JSON object it means nothing, and on dynoxide it is another in every answer."""

    def question(table: Table) -> bool:
        table.put(**{f"a{number}": "x" for number in range(8)})
        return len({tuple(table.get() or ()) for _ in range(20)}) > 1

    assert ask(question) == (True, False, False)


def test_a_table_that_was_just_created(ask: Ask, table_arguments: dict[str, Any]) -> None:
    """It takes its time in AWS; here it serves at once."""

    def question(table: Table) -> tuple[str, str]:
        name = "just-created"
        created = table.client.create_table(**{**table_arguments, "TableName": name})
        described = table.client.describe_table(TableName=name)
        table.client.delete_table(TableName=name)
        return created["TableDescription"]["TableStatus"], described["Table"]["TableStatus"]

    assert ask(question) == (("CREATING", "ACTIVE"), ("ACTIVE", "ACTIVE"), ("ACTIVE", "ACTIVE"))


def test_the_count_of_a_table(ask: Ask, table_arguments: dict[str, Any]) -> None:
    """AWS brings it up to date every six hours."""

    def question(table: Table) -> int:
        name = "counted"
        table.client.create_table(**{**table_arguments, "TableName": name})
        table.client.put_item(TableName=name, Item=table.key())
        count: int = table.client.describe_table(TableName=name)["Table"]["ItemCount"]
        table.client.delete_table(TableName=name)
        return count

    assert ask(question) == (1, 1, 1)


def other_caller(client: Any, **arguments: Any) -> Any:
    """A client of the same server with other arguments."""
    given = {
        "region_name": region(),
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
        "endpoint_url": client.meta.endpoint_url,
        **arguments,
    }
    return boto3.client("dynamodb", config=Config(retries={"total_max_attempts": 1}), **given)


def test_another_region(ask: Ask) -> None:
    """Where the same table is another table, or none."""

    def question(table: Table) -> str:
        named = {} if "127.0.0.1" in table.client.meta.endpoint_url else {"endpoint_url": None}
        elsewhere = other_caller(table.client, region_name="us-west-2", **named)
        return outcome(elsewhere.describe_table, TableName=TABLE)

    assert ask(question) == (ACCEPTED, "ResourceNotFoundException", "ResourceNotFoundException")


def test_a_caller_that_nobody_knows(ask: Ask) -> None:
    """Only the emulator knows whose keys are whose."""

    def question(table: Table) -> str:
        stranger = other_caller(
            table.client, aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="x"
        )
        return outcome(stranger.describe_table, TableName=TABLE)

    assert ask(question) == (ACCEPTED, "UnrecognizedClientException", ACCEPTED)
