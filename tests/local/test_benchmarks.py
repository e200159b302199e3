"""What the benchmarks measure with: the stand-in for DynamoDB, the meter's sizes, the verdict on a long run, the page."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import fake_dynamodb, render_docs, scale, workload
from benchmarks.fake_dynamodb_expressions import UnknownExpressionError, condition, update
from benchmarks.report import Report, Table
from benchmarks.unit_meter import size, write_units
from tests.samples import msk_event

STORED = {"pk": {"S": "batch"}, "sk": {"S": "e#1"}, "spellcheck": {"S": "2026 b"}, "count": {"N": "9"}}
NEWER = "(attribute_not_exists(#spellcheck) OR #spellcheck < :spellcheck)"


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        (NEWER, {"S": "2026 c"}, True),
        (NEWER, {"S": "2026 b"}, False),
        (NEWER, {"N": "3"}, False),
        ("attribute_exists(#spellcheck) AND NOT #spellcheck = :spellcheck", {"S": "2026 c"}, True),
        ("attribute_not_exists(nothing) AND (nothing = :spellcheck OR pk <> :spellcheck)", {"S": "x"}, True),
        ("count >= :spellcheck", {"N": "10"}, False),
    ],
)
def test_the_stand_in_decides_conditions_as_dynamodb_does(text: str, value: Any, *, holds: bool) -> None:
    """Absent attributes compare with nothing, other types are never equal, numbers compare as numbers."""
    assert condition(text)(STORED, {"#spellcheck": "spellcheck"}, {":spellcheck": value}) is holds


def test_the_stand_in_updates_from_the_item_as_it_was() -> None:
    """`if_not_exists` keeps what is there, and sets what is not."""
    apply = update("SET #a = if_not_exists(#a, :a), #b = if_not_exists(#b, :b), c = count")
    changed = apply(STORED, {"#a": "spellcheck", "#b": "nlp"}, {":a": {"S": "x"}, ":b": {"S": "y"}})

    assert changed == STORED | {"nlp": {"S": "y"}, "c": {"N": "9"}}


@pytest.mark.parametrize("text", ["begins_with(#a, :a)", "#a = :a AND", "#a ~ :a", "size(#a) > :a"])
def test_the_stand_in_refuses_what_it_does_not_know(text: str) -> None:
    """A benchmark must not run on a table that answers wrongly."""
    with pytest.raises(UnknownExpressionError):
        condition(text)


def test_the_stand_in_keeps_the_newer_and_tells_what_is_there() -> None:
    """A conditional write that fails changes nothing and comes back with the item."""
    tables = fake_dynamodb.Tables()
    write = tables.operation("UpdateItem")
    read = tables.operation("GetItem")
    assert write is not None
    assert read is not None
    key = {"pk": {"S": "batch"}, "sk": {"S": "e#1"}}
    request = {
        "TableName": "view",
        "Key": key,
        "UpdateExpression": "SET #spellcheck = :spellcheck",
        "ConditionExpression": NEWER,
        "ExpressionAttributeNames": {"#spellcheck": "spellcheck"},
        "ExpressionAttributeValues": {":spellcheck": {"S": "2026 b"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    write(request)
    with pytest.raises(fake_dynamodb.ConditionFailedError) as failure:
        write(request)

    assert failure.value.item == key | {"spellcheck": {"S": "2026 b"}}
    assert read({"TableName": "view", "Key": key}) == {"Item": failure.value.item}


def test_an_items_size_is_its_names_and_values() -> None:
    """Bytes without their base64, text as UTF-8; a unit for each kilobyte begun."""
    assert size({"a": {"S": "å"}, "b": {"B": "AAEC"}}) == 1 + 2 + 1 + 3
    assert write_units({"a": {"S": "x" * 1023}}) == 1
    assert write_units({"a": {"S": "x" * 1024}}) == 2
    assert write_units({}) == 1
    with pytest.raises(ValueError, match="not known"):
        size({"a": {"L": []}})


def test_a_workload_is_the_same_each_time() -> None:
    """So that a replay is a replay; its mixes have as many events as they say."""
    for mix, events in workload.EVENTS_OF_BATCH.items():
        once, again = (list(workload.life(mix, "batch")) for _ in range(2))

        assert once == again
        assert len(once) == events
        assert workload.invocations([once], 100) == workload.invocations([again], 100)


def test_an_invocation_has_one_topic() -> None:
    """As a mapping's has, and no more records than its batch size."""
    made = workload.invocations([list(workload.life("essay-heavy", "batch"))], 20)

    assert [len(one["records"]) for one in made] == [1] * 5
    assert [workload.records_in(one) for one in made] == [1, 20, 10, 1, 1]
    assert workload.records_in(msk_event([])) == 0


ROW = ["1", 500.0, 90.0, 400.0, 6]
SLOW = ["2", 300.0, 95.0, 410.0, 6]
LARGE = ["3", 500.0, 300.0, 900.0, 6]


@pytest.mark.parametrize(
    ("late", "problems"),
    [
        ([ROW, ROW, ROW], 0),
        ([ROW, ROW, SLOW], 0),
        ([SLOW, ROW, SLOW], 1),
        ([LARGE, ROW, ROW], 0),
        ([LARGE, LARGE, ROW], 2),
        ([LARGE, SLOW, LARGE], 2),
    ],
)
def test_growth_and_sagging_are_told(late: list[list[Any]], problems: int) -> None:
    """In the middle one of the last three tenths, so that one busy moment of the machine decides nothing."""
    # Of the early ones the first does not count, so one other is not the middle.
    rows = [*[["1", 900.0, 9.0, 40.0, 6]] * 2, *[ROW] * 5, *late]
    assert len(scale.verdict(rows, [])) == problems
    assert len(scale.verdict(rows, ["scale-1"])) == problems + 1


def test_a_short_run_says_that_it_tells_nothing() -> None:
    """Rather than a verdict from a handful of samples."""
    assert "too short" in scale.verdict([ROW] * 9, [])[0]


def test_the_page_shows_tables_with_the_machine_and_the_command() -> None:
    """Cells that were not measured show as such."""
    report = Report("nothing", "make bench-nothing", left_out=["(b): not installed"])
    report.tables = [
        Table("t", "A table", ["what", "number"], [["one", 1.234], ["none", None]], note="A note.")
    ]
    measured = {**vars(report), "tables": [vars(table) for table in report.tables]}
    text = render_docs.markdown(measured)

    assert "make bench-nothing" in text
    assert f"{report.machine['processors']} processors" in text
    assert "| one | 1.23 |\n| none | — |" in text
    assert "Left out: (b): not installed" in text
