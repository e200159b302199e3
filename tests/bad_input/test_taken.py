"""What looks bad and is not: taken or ignored, and never kept as a dead letter."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from result_aggregator.domain import registers
from result_aggregator.topics import TOPICS

from tests.bad_input.good import GOOD, ONE_A_TOPIC
from tests.samples import record

if TYPE_CHECKING:
    from tests.bad_input.conftest import Deliveries
    from tests.bad_input.good import Good

pytestmark = pytest.mark.slow

every_topic = pytest.mark.parametrize("good", ONE_A_TOPIC, ids=lambda good: good.topic)
every_dialect = pytest.mark.parametrize("good", GOOD, ids=lambda good: good.name)


@every_topic
def test_a_tombstone_is_ignored(deliveries: Deliveries, good: Good) -> None:
    """Its value is null or absent, as its key may be; its neighbour is applied."""
    absent = record(good.topic, None, 1)
    null = record(good.topic, None, 2) | {"value": None, "key": None}
    counts = deliveries.invoke(good.topic, [absent, null, record(good.topic, good.of("good"), 3)])

    assert counts == {"applied": 1, "ignored": 2}
    assert deliveries.stored("good")
    assert deliveries.service.dead_letters() == {}


@every_topic
def test_an_unknown_topic_is_ignored(deliveries: Deliveries, good: Good) -> None:
    """Whatever it holds; in every function, as any may be given a mapping of it."""
    unknown = [record("huleedu.unknown.v1", value, n) for n, value in enumerate([b"x", None, good.of("bad")])]
    counts = deliveries.invoke(good.topic, [*unknown, record(good.topic, good.of("good"), 3)])

    assert counts == {"applied": 1, "ignored": 3}
    assert (deliveries.stored("bad"), bool(deliveries.stored("good"))) == ([], True)
    assert deliveries.service.dead_letters() == {}


def extended(value: Any) -> Any:
    """A value with fields that nobody knows, in all its objects; 100 levels deep, a megabyte long, oddly named."""
    deep = json.loads("[" * 100 + "]" * 100)
    unknown = {"unknown": {"x": [None, 1.5]}, "unknown_deep": deep, "": "", "é\n": "\x00", "event_type": 5}
    match value:
        case dict():
            return {
                **unknown,
                **{name: extended(inner) for name, inner in value.items() if name != "event_type"},
            }
        case list():
            return [extended(inner) for inner in value]
    return value


@every_dialect
def test_unknown_fields_change_nothing(deliveries: Deliveries, good: Good) -> None:
    """At any level, of any size: the view is as without them."""
    more = extended(good.of("more")) | {"unknown_text": "x" * 1_000_000}
    counts = deliveries.invoke(
        good.topic, [record(good.topic, good.of("plain"), 1), record(good.topic, more, 2)]
    )

    assert counts == {"applied": 2}
    assert deliveries.stored("more") == deliveries.stored("plain") != []


@every_topic
def test_a_time_without_a_zone_is_utc(deliveries: Deliveries, good: Good) -> None:
    """The batch is dated by it, as by the same time with a zone; 24 hours ahead of the broker is not too far."""
    for batch_id, at in (("bare", "2026-03-03T08:00:00"), ("zoned", "2026-03-03T13:30:00+05:30")):
        value = good.of(batch_id) | {"event_timestamp": at}
        counts = deliveries.invoke(good.topic, [record(good.topic, value)])
        [batch] = [item for item in deliveries.stored(batch_id) if item["sk"] == "batch"]

        assert counts == {"applied": 1}
        assert registers.api_time(batch["updated_at"]) == "2026-03-03T08:00:00.000000Z"


def test_every_topic_is_somebodys() -> None:
    """The topics of these tests are those of all three ingest functions."""
    assert {TOPICS[good.topic].function for good in ONE_A_TOPIC} == {
        "ingest_batches",
        "ingest_essays",
        "ingest_rankings",
    }
