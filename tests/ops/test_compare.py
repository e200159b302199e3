"""Two tables held against each other: what counts as lacking, and what copying does and does not bring over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from ras.errors import OperatorError
from ras.rebuild.compare import AGAIN_S, PATIENCE_S, Difference, compare, lacking, verdict
from result_aggregator.deadline import Deadline
from result_aggregator.domain import registers
from result_aggregator.domain.events import EssayIdentified, EssayPhaseEnded
from result_aggregator.domain.store_interface import UnavailableError
from result_aggregator.store.view_store import ViewStore

from tests import writer
from tests.clock import Time

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from result_aggregator.domain.store_interface import OwnWritten, Written
    from result_aggregator.domain.table_layout import Change, Item
    from result_aggregator.store.dynamodb_client import DynamoDB

pytestmark = pytest.mark.slow

EARLY, LATE = (f"2026030{day}T080000000000 {'0' * 32}" for day in (1, 2))
KEYS: Item = {"pk": "batch#b", "sk": "batch"}
TIMES: Item = {"created_at": "20260301T080000000000", "updated_at": "20260302T080000000000"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"end": f"{EARLY} 1"}, {"end": f"{EARLY} 1"}, Difference.SAME),
        ({"end": f"{EARLY} 1"}, {"end": f"{EARLY} 1", "pipeline": f"{EARLY} 2"}, Difference.SAME),
        ({"end": f"{EARLY} 9"}, {"end": f"{EARLY} 1"}, Difference.CHANGED),
        ({"end": f"{EARLY} 9"}, {"end": f"{LATE} 1"}, Difference.NEWER),
        ({"end": f"{LATE} 1"}, {"end": f"{EARLY} 9"}, Difference.BEHIND),
        ({"end": f"{EARLY} 1", "pipeline": f"{EARLY} 2"}, {"end": f"{LATE} 1"}, Difference.BEHIND),
        ({"end": f"{EARLY} 1"}, None, Difference.BEHIND),
        (TIMES, TIMES, Difference.SAME),
        (TIMES, {**TIMES, "created_at": "20260301T090000000000"}, Difference.BEHIND),
        (TIMES, {**TIMES, "updated_at": "20260303T090000000000"}, Difference.SAME),
    ],
)
def test_verdicts(old: Item, new: Item | None, expected: Difference) -> None:
    """By versions: the same event may read otherwise, a newer one is as good, an older or none is not."""
    assert verdict({**KEYS, **old}, None if new is None else {**KEYS, **new}) is expected


OWN: Item = {"pk": "essay#e", "sk": "results"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"nlp": f"{EARLY} 1", "first_nlp": "1"}, {"nlp": f"{EARLY} 1", "first_nlp": "1"}, Difference.SAME),
        ({"nlp": f"{EARLY} 1", "first_nlp": "1"}, {"nlp": f"{LATE} 1", "first_nlp": "1"}, Difference.NEWER),
        ({"nlp": f"{EARLY} 1", "first_nlp": "1"}, {"nlp": f"{LATE} 1", "first_nlp": "2"}, Difference.BEHIND),
        ({"claims": frozenset({"b"})}, {"claims": frozenset({"b", "c"})}, Difference.SAME),
        ({"claims": frozenset({"b", "d"})}, {"claims": frozenset({"b", "c"})}, Difference.BEHIND),
        ({"claims": frozenset({"b"})}, {"nlp": f"{EARLY} 1"}, Difference.BEHIND),
        ({"claims": frozenset({"b"})}, None, Difference.BEHIND),
    ],
)
def test_verdicts_of_an_essays_own_item(old: Item, new: Item | None, expected: Difference) -> None:
    """By versions too, by the earliest times, and by who claims the essay."""
    assert verdict({**OWN, **old}, None if new is None else {**OWN, **new}) is expected


def test_only_what_is_lacking_would_be_copied() -> None:
    """A register of the same event stays as today's reader reads it."""
    old = {**KEYS, "end": f"{EARLY} 9", "owner": f"{EARLY} 2", "user_id": "u"}
    change = lacking(old, {**KEYS, "end": f"{EARLY} 1"})

    assert change is not None
    assert change.registers == {"owner": f"{EARLY} 2"}
    assert change.followers["owner"] == {"user_id": "u"}
    assert lacking(old, {**old, "end": f"{LATE} 1"}) is None


@pytest.fixture
def tables(dynamodb: DynamoDBClient, table: str, table_arguments: dict[str, Any]) -> tuple[str, str]:
    """An old table with 250 batches, of which the new one has all but 50, and one of them read otherwise."""
    dynamodb.create_table(**{**table_arguments, "TableName": "new"})
    for number in range(250):
        item = {"pk": f"batch#{number}", "sk": "batch", "e": registers.encode_short(EARLY, 9), **TIMES}
        put(dynamodb, table, item)
        if number >= 50:
            put(dynamodb, "new", {**item, "e": registers.encode_short(EARLY, 9 if number > 50 else 1)})
    return table, "new"


def put(dynamodb: DynamoDBClient, table: str, item: Item) -> None:
    dynamodb.put_item(TableName=table, Item={name: {"S": str(value)} for name, value in item.items()})


def everything(dynamodb: DynamoDBClient, table: str) -> dict[str, Any]:
    return {item["pk"]["S"]: item for item in dynamodb.scan(TableName=table)["Items"]}


def test_comparing_changes_nothing(dynamodb: DynamoDBClient, tables: tuple[str, str]) -> None:
    """Every item is counted once, over pages and hundreds, and some of what is lacking is named."""
    before, progress = everything(dynamodb, "new"), list[int]()
    waited = list[float]()
    found = compare(dynamodb, *tables, on_progress=progress.append, wait=waited.append)

    assert found.counts == {Difference.SAME: 199, Difference.CHANGED: 1, Difference.BEHIND: 50}
    assert sum(progress) == 250
    assert len(found.behind) == 20
    assert found.behind[0].endswith(" batch")
    assert (found.lacking, found.copied, tuple(waited)) == (50, 0, AGAIN_S)
    assert everything(dynamodb, "new") == before


def test_copying_brings_what_is_lacking(
    dynamodb: DynamoDBClient, http_client: DynamoDB, tables: tuple[str, str]
) -> None:
    """And nothing else; afterwards nothing is lacking."""
    found = compare(dynamodb, *tables, copy_to=ViewStore("new", http_client))
    assert (found.copied, found.lacking) == (50, 0)

    old, new = everything(dynamodb, tables[0]), everything(dynamodb, "new")
    assert new.pop("batch#50")["e"]["S"].endswith("1")
    old.pop("batch#50")
    assert new == old
    again = compare(dynamodb, *tables, copy_to=ViewStore("new", http_client))
    assert (again.counts[Difference.BEHIND], again.copied) == (0, 0)


def test_a_copied_result_meets_the_batches_of_the_new_table(
    dynamodb: DynamoDBClient, http_client: DynamoDB, table: str, table_arguments: dict[str, Any]
) -> None:
    """The old table has results, the new one a batch that claims their essay, or the other way round."""
    dynamodb.create_table(**{**table_arguments, "TableName": "new"})
    old, new = ViewStore(table, http_client), ViewStore("new", http_client)
    for essay_id, results, claim in (("e", old, new), ("f", new, old)):
        result = EssayPhaseEnded(version=EARLY, batch_id=None, essay_id=essay_id, phase="nlp", result={})
        slot = EssayIdentified(
            version=LATE, batch_id="b", essay_id=essay_id, filename=None, original_text_storage_id=None
        )
        writer.write(results, result)
        writer.write(claim, slot)
    found = compare(dynamodb, table, "new", copy_to=new)

    assert found.lacking == 0
    items = list(new.read_partition("b"))
    assert [item["sk"] for item in items] == ["batch", "e#e", "e#f"]
    assert ["nlp" in item for item in items] == [False, True, True]
    assert items[0]["started_at"] == items[0]["created_at"] == EARLY[:21]
    assert compare(dynamodb, table, "new", wait=lambda _: None).counts.keys() <= {
        Difference.SAME,
        Difference.NEWER,
    }


def test_a_table_that_takes_nothing_is_told(dynamodb: DynamoDBClient, tables: tuple[str, str]) -> None:
    """What was copied stays; the same command goes on."""

    class Throttled:
        def write(self, change: Change) -> dict[str, Written]:  # noqa: ARG002 - a store's
            raise UnavailableError("throttled")

        def write_own(self, change: Change) -> OwnWritten:  # noqa: ARG002 - a store's
            raise UnavailableError("throttled")

    time = Time()
    with pytest.raises(OperatorError, match="cannot be copied to new: throttled"):
        compare(
            dynamodb,
            *tables,
            copy_to=Throttled(),
            patience=lambda: Deadline(PATIENCE_S, clock=time.clock, sleep=time.sleep),
        )


def test_what_is_on_its_way_is_no_difference(dynamodb: DynamoDBClient, tables: tuple[str, str]) -> None:
    """Going back, an event may be in the asked table and not yet in the other: it is looked up again."""
    old = everything(dynamodb, tables[0])

    def arrives(_: float) -> None:
        for item in old.values():
            dynamodb.put_item(TableName="new", Item=item)

    found = compare(dynamodb, *tables, wait=arrives)

    assert (found.counts, found.lacking, found.behind) == (
        {Difference.SAME: 249, Difference.CHANGED: 1},
        0,
        [],
    )


class Busy:
    """DynamoDB that gives little at a time, and now and then nothing; `refusals` in a row at first."""

    def __init__(self, dynamodb: DynamoDBClient, refusals: int) -> None:
        self.dynamodb = dynamodb
        self.refusals = refusals
        self.left = refusals

    def _refuse(self, operation: str, code: str = "ProvisionedThroughputExceededException") -> None:
        self.left -= 1
        if self.left >= 0:
            raise ClientError({"Error": {"Code": code, "Message": "slower"}}, operation)
        self.left = self.refusals

    def scan(self, **request: Any) -> Any:
        self._refuse("Scan")
        return self.dynamodb.scan(**request)

    def batch_get_item(self, *, RequestItems: Any) -> Any:  # noqa: N803 - its name there
        self._refuse("BatchGetItem")
        ((table, asked),) = RequestItems.items()
        now, later = asked["Keys"][:40], asked["Keys"][40:]
        request: Any = {table: {**asked, "Keys": now}}
        answer: Any = self.dynamodb.batch_get_item(RequestItems=request)
        return {**answer, "UnprocessedKeys": {table: {**asked, "Keys": later}} if later else {}}


def test_a_busy_table_is_asked_slower(dynamodb: DynamoDBClient, tables: tuple[str, str]) -> None:
    """After pauses that become longer, and everything is found all the same."""
    time = Time()
    busy: Any = Busy(dynamodb, refusals=2)
    found = compare(
        busy,
        *tables,
        patience=lambda: Deadline(PATIENCE_S, clock=time.clock, sleep=time.sleep),
        wait=lambda _: None,
    )

    assert found.counts == {Difference.SAME: 199, Difference.CHANGED: 1, Difference.BEHIND: 50}
    assert len(time.pauses) > 10
    assert min(time.pauses) > 0


def test_a_table_that_stays_busy_is_told(dynamodb: DynamoDBClient, tables: tuple[str, str]) -> None:
    """After a minute, with its name; what no pause mends is told at once."""
    time = Time()
    busy: Any = Busy(dynamodb, refusals=10**9)
    with pytest.raises(OperatorError, match=f"{tables[0]} gives no more items: Scan: Provisioned"):
        compare(busy, *tables, patience=lambda: Deadline(PATIENCE_S, clock=time.clock, sleep=time.sleep))
    assert sum(time.pauses) == pytest.approx(PATIENCE_S, abs=1)

    with pytest.raises(ClientError, match="ResourceNotFound"):
        compare(dynamodb, "no-such-table", "new")
