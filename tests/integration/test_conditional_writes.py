"""Many writers at once on one table: the conditional writes alone decide, without a lock and without a prior read.

Not on moto, whose conditional writes are not atomic between threads: there an update is lost now and then.
"""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import pytest
from result_aggregator.domain import statuses, table_layout, view
from result_aggregator.domain.registers import encode
from result_aggregator.domain.store_interface import Written
from result_aggregator.domain.table_layout import Change, Times
from result_aggregator.store.view_store import ViewStore

from tests import fold, samples, writer
from tests.real_servers import DYNOXIDE, EMULATOR, server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy_boto3_dynamodb import DynamoDBClient
    from result_aggregator.store.dynamodb_client import DynamoDB

WRITERS = 8

Part = TypeVar("Part")
Result = TypeVar("Result")


@pytest.fixture(params=[server(DYNOXIDE), server(EMULATOR)])
def dynamodb_url(request: pytest.FixtureRequest) -> str:
    """dynoxide and the emulator."""
    fixtures = {DYNOXIDE: "dynoxide_url", EMULATOR: "emulator_url"}
    url: str = request.getfixturevalue(fixtures[request.param])
    return url


@pytest.fixture
def store(table: str, http_client: DynamoDB) -> ViewStore:
    return ViewStore(table, http_client)


def at_once(work: Callable[[Part], Result], parts: Iterable[Part]) -> list[Result]:
    """Do all parts with WRITERS threads; the results in the order of the parts."""
    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(work, parts))


@pytest.mark.parametrize("seed", range(8))
def test_writers_together_come_to_the_fold(
    store: ViewStore, seed: int, table: str, dynamodb: DynamoDBClient
) -> None:
    """The platform's samples shuffled, a part of them twice, by eight writers: the table equals the pure fold."""
    events = fold.read_all(samples.events("platform_2025_06", "platform_2026_02"))
    source = random.Random(seed)  # noqa: S311 - a shuffle, not a secret
    history = events + source.sample(events, 30)
    source.shuffle(history)

    at_once(partial(writer.write, store), history)

    assert fold.stored(dynamodb, table) == fold.fold(events)


@pytest.mark.parametrize("seed", range(8))
def test_writers_of_one_item_apply_no_version_twice(
    store: ViewStore, seed: int, table: str, dynamodb: DynamoDBClient
) -> None:
    """One item, three registers and the times, every change twice: the newest stay, and each is applied once at most.

    How the batch stands is what its registers came to, whoever wrote last.
    """
    source = random.Random(seed)  # noqa: S311 - a shuffle, not a secret
    key = table_layout.batch_key("b")
    registers = ("spellcheck", "cj_assessment", "owner")
    changes = []
    for number in range(150):
        moment = f"20260302T08{number // 60:02}{number % 60:02}000000"
        named = source.sample(registers, source.randint(1, 3))
        status = source.choice([statuses.IN_PROGRESS, statuses.COMPLETED, statuses.FAILED])
        payload = {"owner": f"u{number}"}
        changes.append(
            Change(
                key,
                {
                    name: encode(f"{moment} {number:032x}", payload.get(name, [status, number, 0, None]))
                    for name in named
                },
                {"owner": {table_layout.USER_ID: f"u{number}"}} if "owner" in named else {},
                Times(moment, moment, moment if number % 2 else None),
            )
        )
    history = changes + deepcopy(changes)
    source.shuffle(history)

    outcomes = at_once(store.write, history)

    expected: table_layout.Item = {}
    for change in changes:
        expected = table_layout.merged(expected, change)
    batch = view.decode_batch(expected)
    assert batch is not None
    expected[table_layout.STANDING] = view.standing(batch)
    assert fold.stored(dynamodb, table) == {key: expected}
    applied = Counter(
        (name, change.registers[name])
        for change, written in zip(history, outcomes, strict=True)
        for name, what in written.items()
        if what is Written.APPLIED
    )
    assert set(applied.values()) == {1}
    assert {(name, value) for name, value in expected.items() if name in registers} <= set(applied)
    assert [set(written) for written in outcomes] == [set(change.registers) for change in history]
