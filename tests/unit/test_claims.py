"""An essay's own item: what it brings to batches, what its times are, and how large it gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from result_aggregator.domain import claims, table_layout
from result_aggregator.domain.claims import MAX_CLAIMS, Waiting
from result_aggregator.domain.store_interface import OwnWritten, Written
from result_aggregator.domain.table_layout import Change, Times

from benchmarks import unit_meter, workload
from tests import fold, samples

if TYPE_CHECKING:
    from result_aggregator.domain.table_layout import Item

FIRST, NEWEST = "20260302T080001000000", "20260302T080009000000"
NLP, FEEDBACK = f"{NEWEST} {'1' * 32} n", f"20260302T080005000000 {'2' * 32} f"
ITEM: Item = {
    "nlp": NLP,
    "first_nlp": "20260302T080002000000",
    "ai_feedback": FEEDBACK,
    "first_ai_feedback": FIRST,
    "claims": frozenset({"a", "b"}),
}


def brought(change: Change, item: Item = ITEM) -> list[tuple[str, dict[str, str], dict[str, str]]]:
    return [
        (one.key.pk, one.registers, one.copies)
        for one in claims.brought(change, item)
        if one.key.sk != table_layout.BATCH
    ]


def test_a_claim_brings_every_result_to_its_batch_alone() -> None:
    """As copies, whose fate is nobody's; and the times of all results, the older ones that were replaced included."""
    claim = Change(table_layout.own_key("e"), claims={"b": None})

    assert brought(claim) == [("batch#b", {}, {"nlp": NLP, "ai_feedback": FEEDBACK})]
    assert [one.times for one in claims.brought(claim, ITEM)] == [None, Times(FIRST, NEWEST, FIRST)]


def test_a_result_is_brought_to_every_batch_that_claims_its_essay() -> None:
    """Its own phase; what is there is newer where the result was late."""
    late = Change(table_layout.own_key("e"), {"nlp": f"{FIRST} {'0' * 32} x"})

    assert brought(late) == [("batch#a", {"nlp": NLP}, {}), ("batch#b", {"nlp": NLP}, {})]


def test_without_a_result_or_a_claim_nothing_is_brought() -> None:
    claim = Change(table_layout.own_key("e"), claims={"b": None})
    result = Change(table_layout.own_key("e"), {"nlp": NLP})

    assert brought(claim, {"claims": frozenset({"b"})}) == []
    assert brought(result, {"nlp": NLP, "first_nlp": FIRST}) == []


@pytest.mark.parametrize(
    ("registers", "claimed", "item", "expected"),
    [
        ({"nlp": Written.APPLIED}, {}, {"nlp": NLP, "first_nlp": NEWEST}, Waiting(1, 0)),
        ({"nlp": Written.APPLIED}, {}, {"nlp": NLP, "first_nlp": FIRST}, Waiting(0, 0)),
        ({"nlp": Written.DUPLICATE}, {}, {"nlp": NLP, "first_nlp": NEWEST}, Waiting(0, 0)),
        ({}, {"a": Written.APPLIED, "b": Written.APPLIED}, ITEM, Waiting(0, 2)),
        ({}, {"b": Written.APPLIED}, ITEM, Waiting(0, 0)),
        ({}, {"a": Written.DUPLICATE, "b": Written.DUPLICATE}, ITEM, Waiting(0, 0)),
        ({}, {"b": Written.APPLIED}, {"claims": frozenset({"b"})}, Waiting(0, 0)),
    ],
)
def test_what_begins_to_wait_and_what_ends(
    registers: dict[str, Written], claimed: dict[str, Written], item: Item, expected: Waiting
) -> None:
    """A phase's first result begins, the first claims end; what is found to be done counts nothing."""
    assert claims.waiting(OwnWritten(registers, claimed, item)) == expected


@pytest.mark.parametrize(("batches", "kilobytes"), [(0, 1), (1, 1), (20, 1), (MAX_CLAIMS, 4)])
def test_how_large_an_essays_own_item_gets(batches: int, kilobytes: int) -> None:
    """With all that the platform sends in a result: a write unit up to twenty batches, four at the limit."""
    essay, *claiming = workload.ids(1 + batches)
    lines: list[samples.Line] = [workload.analysed(essay, 1)]
    lines += [workload.slot(essay, batch, 2) for batch in claiming]
    key = table_layout.own_key(essay)
    item = fold.fold(fold.read_all(lines))[key]
    raw = {
        name: {"SS": sorted(value)} if isinstance(value, frozenset) else {"S": value}
        for name, value in item.items()
    }

    assert unit_meter.write_units({**raw, "pk": {"S": key.pk}, "sk": {"S": key.sk}}) == kilobytes


def test_the_largest_own_item_fits() -> None:
    """A hundred ids of 255 characters of four bytes, and an essay's: far from an item's 400 KB."""
    assert MAX_CLAIMS * 255 * 4 + 2 * 255 * 4 < 200 * 1024
    assert len(table_layout.own_key("𝄞" * 255).pk.encode()) <= 2048
