"""Rankings that contradict themselves, and those that no item can hold."""

from __future__ import annotations

import json
import random
import re
from typing import TYPE_CHECKING, Any

import pytest
from result_aggregator.domain.ranking import MAX_ENTRIES_BYTES, RankedEssay, unpack

from tests.bad_input.good import GOOD
from tests.bad_input.spoilt import Spoilt
from tests.real_servers import DYNOXIDE, server
from tests.samples import envelope, record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.bad_input.conftest import Deliveries

COMPLETED = "huleedu.cj_assessment.completed.v1"
PUBLISHED = "huleedu.assessment.result.published.v1"

# What a ranking's entries are called in each dialect: the list, the essay's id, its score.
DIALECTS = {
    "guide": (COMPLETED, "rankings", "essay_id", "score"),
    "platform_2025_06": (COMPLETED, "rankings", "els_essay_id", "score"),
    "platform_2026_02": (PUBLISHED, "essay_results", "essay_id", "bt_score"),
}
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def ranking(dialect: str, places: Iterable[tuple[str, int]], **data: Any) -> tuple[str, dict[str, Any]]:
    """The topic and the event of a ranking of essays, by id and rank."""
    topic, entries, name, score = DIALECTS[dialect]
    ranked = [{name: essay, "rank": rank, score: 1 / rank} for essay, rank in places]
    return topic, envelope({"batch_id": "b", "status": "COMPLETED", entries: ranked, **data})


def ranked(deliveries: Deliveries, batch_id: str = "b") -> dict[str, int | None]:
    """The stored ranking: rank by essay."""
    [item] = [item for item in deliveries.stored(batch_id) if item["sk"] == "cj"]
    return {essay: RankedEssay(*place).rank for essay, place in unpack(item["entries"]).items()}


@every_dialect
def test_an_essay_ranked_twice(deliveries: Deliveries, dialect: str) -> None:
    """The whole ranking is rejected, even where both places are the same."""
    [good] = [one for one in GOOD if one.name.endswith(dialect) and one.topic == DIALECTS[dialect][0]]
    _, different = ranking(dialect, [("a", 1), ("c", 2), ("a", 3)])
    _, same = ranking(dialect, [("a", 1), ("a", 1)])
    path = f"data.{DIALECTS[dialect][1]}"
    bad = {"different": different, "same": same}

    deliveries.reject(
        good,
        [Spoilt(name, json.dumps(value).encode(), "essay_ranked_twice", path) for name, value in bad.items()],
    )
    assert deliveries.stored("b") == []


def test_an_essay_ranked_twice_under_two_names(deliveries: Deliveries) -> None:
    """One dialect's name for it and another's."""
    entries = [{"essay_id": "a", "rank": 1, "score": 1}, {"els_essay_id": "a", "rank": 2, "score": 1}]
    value = envelope({"batch_id": "b", "status": "COMPLETED", "rankings": entries})

    assert deliveries.invoke(COMPLETED, [record(COMPLETED, value)]) == {"rejected": 1}


@every_dialect
def test_ties_are_kept(deliveries: Deliveries, dialect: str) -> None:
    """Essays may share a rank, and ranks may be left out."""
    topic, value = ranking(dialect, [("a", 1), ("c", 1), ("d", 7), ("e", 7)])

    assert deliveries.invoke(topic, [record(topic, value)]) == {"applied": 1}
    assert ranked(deliveries) == {"a": 1, "c": 1, "d": 7, "e": 7}


def test_an_anchor_may_be_named_twice(deliveries: Deliveries) -> None:
    """Anchors are not essays of the batch, so nothing contradicts itself."""
    topic, value = ranking("platform_2026_02", [("a", 1), ("anchor", 2), ("anchor", 3)])
    for entry in value["data"]["essay_results"][1:]:
        entry["is_anchor"] = True

    assert deliveries.invoke(topic, [record(topic, value)]) == {"applied": 1}
    assert ranked(deliveries) == {"a": 1}


def noise(number: int) -> list[tuple[str, int]]:
    """Essays whose ids cannot be compressed, each three bytes a character."""
    source = random.Random(1)  # noqa: S311 - noise, not secrets
    return [
        ("".join(chr(source.randrange(0x4E00, 0x9FFF)) for _ in range(255)), n + 1) for n in range(number)
    ]


@every_dialect
def test_a_ranking_over_the_item_limit(deliveries: Deliveries, dialect: str) -> None:
    """It is rejected whole: the batch keeps the ranking that it had, and a neighbour of another batch is applied."""
    topic, before = ranking(dialect, [("a", 1), ("c", 2)])
    deliveries.invoke(topic, [record(topic, before, 1)])
    stored = deliveries.stored("b")
    _, huge = ranking(dialect, noise(1000))
    huge["event_timestamp"] = "2026-03-02T09:00:00Z"
    _, neighbour = ranking(dialect, [("a", 1)], batch_id="other")
    counts = deliveries.invoke(topic, [record(topic, huge, 2), record(topic, neighbour, 3)])
    [letter] = deliveries.service.dead_letters().values()

    assert counts == {"applied": 1, "rejected": 1}
    assert letter["reason"]["code"] == "too_large"
    [problem] = letter["reason"]["problems"]
    assert problem["path"] == "data"
    assert re.fullmatch(rf"1000 entries take \d+ bytes of {MAX_ENTRIES_BYTES}", problem["message"])
    assert deliveries.stored("b") == stored
    assert ranked(deliveries, "other") == {"a": 1}


# Not on moto: it measures bytes otherwise.
@pytest.mark.parametrize("dynamodb_url", [server(DYNOXIDE)], indirect=True)
def test_what_is_just_under_the_limit_fits_the_item(deliveries: Deliveries) -> None:
    """The greatest ranking that is packed is stored, with the longest batch id and the longest job id beside it."""
    essays = noise(1000)
    fits, too_many, largest = 0, len(essays), b""
    while too_many - fits > 1:
        number = (fits + too_many) // 2
        batch_id = "\N{GRINNING FACE}" * 254 + chr(0x10000 + number)
        topic, value = ranking(
            "guide", essays[:number], batch_id=batch_id, cj_assessment_job_id="\N{GRINNING FACE}" * 255
        )
        if "rejected" in deliveries.invoke(topic, [record(topic, value)]):
            too_many = number
            continue
        fits = number
        [item] = [item for item in deliveries.stored(batch_id) if item["sk"] == "cj"]
        largest = item["entries"]
    codes = {letter["reason"]["code"] for letter in deliveries.service.dead_letters().values()}

    assert len(unpack(largest)) == fits
    assert len(largest) > MAX_ENTRIES_BYTES - 1024
    assert codes == {"too_large"}
