"""Results that name no batch meet their batches, whatever the order of the single writes of those who write."""

from __future__ import annotations

import itertools
import random
from functools import partial
from typing import TYPE_CHECKING

import pytest
from result_aggregator import ingest as ingest_module
from result_aggregator.domain.claims import MAX_CLAIMS, Waiting
from result_aggregator.domain.outcomes import APPLIED, DUPLICATE, HANDED_BACK, REJECTED, STALE

from tests import fold
from tests.dynamodb import Watched
from tests.interleaving import Stage, explore
from tests.store.claims import Table, folded, result, slot, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from result_aggregator.store.dynamodb_client import DynamoDB, Response, Transport

    from tests.samples import Line

_numbers = itertools.count()


@pytest.fixture
def one(http_client: DynamoDB, table: str) -> Table:
    return Table(http_client, table)


@pytest.fixture
def stored(dynamodb: DynamoDBClient, table: str) -> Callable[[], fold.Table]:
    return lambda: fold.stored(dynamodb, table)


@pytest.fixture
def calls(http_client: DynamoDB) -> list[str]:
    """The operations asked of DynamoDB."""
    seen: list[str] = []
    http_client.transport = Watched(http_client.transport, seen.append)
    return seen


def in_this_run(lines: Sequence[Line]) -> list[Line]:
    """The same lines with ids of their own, so that runs share a table."""
    run = f"r{next(_numbers)}-"
    renamed = []
    for one in lines:
        data = dict(one.value["data"])
        for name in ("essay_id", "batch_id"):
            if name in data:
                data[name] = run + data[name]
        if "processing_summary" in data:
            lists = data["processing_summary"]
            data["processing_summary"] = {
                name: [run + essay for essay in found] for name, found in lists.items()
            }
        renamed.append(one._replace(value={**one.value, "data": data}))
    return renamed


MEETINGS = {
    "a result and a slot": [result("e", 2), slot("e", "b", 1)],
    "a result and the summary that it failed": [result("e", 1), summary("b", [], ["e"], 2)],
    "a result and an earlier failure": [result("e", 2), summary("b", [], ["e"], 1)],
    "a result and a summary that names it": [result("e", 2), summary("b", ["e"], [], 1)],
    "two results": [result("e", 3, 0.1), result("e", 1, 0.2)],
    "two late results": [result("e", 2, 0.1), result("e", 3, 0.2)],
    "two batches": [slot("e", "b", 1), slot("e", "c", 2)],
    "a slot and a summary": [slot("e", "b", 1), summary("b", ["e"], [], 2)],
    "two results and a slot": [result("e", 3, 0.1), result("e", 1, 0.2), slot("e", "b", 2)],
    "two batches and a result": [slot("e", "b", 1), slot("e", "c", 3), result("e", 2)],
}
BEFORE = {"two late results": [result("e", 9)]}
TWO = [(name, 1) for name in MEETINGS if len(MEETINGS[name]) == 2]
THREE = [pytest.param(name, 0, marks=pytest.mark.long) for name in MEETINGS if len(MEETINGS[name]) == 3]


# Hundreds of runs: too many for `make check`.
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("name", "kills"), [*TWO, *THREE])
def test_writers_come_to_the_fold_in_every_order(
    name: str,
    kills: int,
    http_client: DynamoDB,
    table: str,
    stored: Callable[[], fold.Table],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of their single writes, at most `kills` of them killed, anywhere; what was killed is delivered again."""
    # A thread an invocation, so that a run can be made again.
    monkeypatch.setattr(ingest_module, "WRITERS", 1)
    stage = Stage(http_client.transport)
    http_client.transport = stage
    one, expected, runs = Table(http_client, table), fold.Table(), 0
    for decide in explore():
        before = BEFORE.get(name, [])
        lines = in_this_run([*before, *MEETINGS[name]])
        one.deliver(*lines[: len(before)])
        expected |= folded(*lines)
        del lines[: len(before)]
        outcomes: list[str] = []

        def deliver(line: Line, outcomes: list[str] = outcomes) -> None:
            outcomes += one.deliver(line)

        for number in stage.run([partial(deliver, line) for line in lines], decide, kills=kills):
            deliver(lines[number])
        assert set(outcomes) <= {APPLIED, DUPLICATE, STALE}
        assert len(outcomes) == len(lines)
        assert before or APPLIED in outcomes
        runs += 1

    assert stored() == expected
    assert runs >= 5


def test_outcomes(one: Table) -> None:
    """By its version, as for other results; a claim that is new applies, one that is there adds nothing."""
    assert one.deliver(result("e", 2)) == [APPLIED]
    assert one.deliver(result("e", 2), result("e", 1)) == [DUPLICATE, STALE]
    assert one.deliver(slot("e", "b", 3), slot("e", "b", 3)) == [APPLIED, DUPLICATE]
    assert one.deliver(slot("e", "b", 3), slot("e", "b", 1)) == [DUPLICATE, STALE]
    assert one.deliver(result("e", 2), result("e", 1)) == [DUPLICATE, STALE]
    assert one.deliver(summary("b", ["e"], ["f"], 5)) == [APPLIED]
    assert one.deliver(summary("b", ["e"], ["f"], 5), summary("b", ["e"], ["f"], 4)) == [DUPLICATE, STALE]
    assert one.deliver(summary("b", [], [], 6)) == [DUPLICATE]


def test_what_one_invocation_has_meets(one: Table, stored: Callable[[], fold.Table]) -> None:
    """Claims and results of an essay are merged in memory, as other changes of an item are."""
    lines = [
        result("e", 2),
        slot("e", "b", 1),
        summary("c", ["e"], ["f"], 3),
        result("e", 4),
        result("f", 1),
        result("f", 5),
    ]
    assert one.deliver(*lines, lines[0]) == [STALE, APPLIED, APPLIED, APPLIED, STALE, APPLIED, STALE]
    assert stored() == folded(*lines)


class Unreachable:
    """A transport that reaches no batch item while it is told so."""

    def __init__(self, real: Transport) -> None:
        self._real = real
        self.is_away = True

    def send(self, headers: dict[str, str], body: bytes) -> Response:
        if self.is_away and b'"sk":{"S":"batch"}' in body:
            raise OSError
        return self._real.send(headers, body)

    def close(self) -> None:
        self._real.close()


def test_a_summary_that_is_kept_in_part_comes_again_for_its_batch(
    one: Table, http_client: DynamoDB, stored: Callable[[], fold.Table]
) -> None:
    """Its batch could not be written: it is no dead letter before its other essays and its time are in."""
    slots = [slot("e", f"b{number:03}", 1) for number in range(MAX_CLAIMS)]
    one.deliver(*slots)
    http_client.transport = transport = Unreachable(http_client.transport)
    assert one.deliver(summary("b", ["e", "f"], [], 2)) == [HANDED_BACK]
    assert one.letters.kept == []

    transport.is_away = False
    assert one.deliver(summary("b", ["e", "f"], [], 2)) == [REJECTED]
    assert stored() == folded(*slots, summary("b", ["f"], [], 2))


def test_what_waits_is_counted(one: Table) -> None:
    """Each essay's phase once, however many results it has, and whether they come before the claim or with it."""
    one.deliver(result("e", 2), result("f", 2), slot("g", "b", 1))
    assert one.waiting == Waiting(began=2, ended=0)
    one.deliver(result("e", 2), result("e", 3), result("f", 1), result("g", 2))
    assert one.waiting == Waiting(began=2, ended=0)
    one.deliver(slot("e", "b", 1), slot("e", "b", 1), result("e", 4), slot("h", "b", 1), result("h", 1))
    assert one.waiting == Waiting(began=2, ended=1)
    one.deliver(slot("e", "c", 1), summary("b", ["e", "f"], [], 4))
    assert one.waiting == Waiting(began=2, ended=2)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_comes_to_the_fold(one: Table, stored: Callable[[], fold.Table], seed: int) -> None:
    """Three essays, three batches, in invocations of one to four."""
    source = random.Random(seed)  # noqa: S311 - a shuffle, not a secret
    lines: list[Line] = []
    for number in range(40):
        essay, batch = source.choice("efg"), source.choice("bcd")
        at = source.randrange(60)
        lines.append(
            source.choice(
                [
                    result(essay, at, number),
                    slot(essay, batch, at),
                    summary(batch, [essay], [source.choice("xyz")], at),
                    summary(batch, [], [essay], at),
                ]
            )
        )
    history = lines + source.sample(lines, 10)
    source.shuffle(history)
    while history:
        size = source.randint(1, 4)
        one.deliver(*history[:size])
        del history[:size]

    assert stored() == folded(*lines)


def test_an_essay_is_claimed_by_a_hundred_batches(
    one: Table, stored: Callable[[], fold.Table], calls: list[str]
) -> None:
    """One more is a dead letter, whether it comes alone or with the others; a claim that is there is none more."""
    slots = [slot("e", f"b{number:03}", 1) for number in range(MAX_CLAIMS + 2)]
    outcomes = one.deliver(*slots[:-1])
    assert outcomes == [APPLIED] * MAX_CLAIMS + [REJECTED]
    assert one.deliver(slots[-1]) == [REJECTED]
    assert one.deliver(*slots[:3], result("e", 2)) == [DUPLICATE] * 3 + [APPLIED]

    assert stored() == folded(*slots[:MAX_CLAIMS], result("e", 2))
    assert [letter.code for letter in one.letters.kept] == ["too_many_claims"] * 2
    assert "essay e is claimed by 100 other batches" in str(one.letters.kept[0])
    calls.clear()
    one.deliver(result("e", 3))
    assert len(calls) == 1 + 2 * MAX_CLAIMS


def test_of_a_summary_the_rest_is_written(one: Table, stored: Callable[[], fold.Table]) -> None:
    """It is kept for the essay that has too many claims; its other essays appear, and its time counts."""
    slots = [slot("e", f"b{number:03}", 1) for number in range(MAX_CLAIMS)]
    one.deliver(*slots, result("f", 1))
    assert one.deliver(summary("b", ["e", "f"], ["g"], 2), slot("f", "c", 3)) == [REJECTED, APPLIED]

    assert stored() == folded(*slots, result("f", 1), summary("b", ["f"], ["g"], 2), slot("f", "c", 3))
