"""Results that name no batch, and events that claim essays: what is bad about them stays alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from result_aggregator.domain.claims import MAX_CLAIMS

from tests.samples import envelope, record

if TYPE_CHECKING:
    from tests.bad_input.conftest import Deliveries

pytestmark = pytest.mark.slow

NLP = "huleedu.essay.nlp.completed.v1"
SLOT = "huleedu.els.essay.slot.assigned.v1"
SUMMARY = "huleedu.batch.nlp.analysis.completed.v1"
REGISTERED = "huleedu.batch.essays.registered.v1"
STATUS = "/internal/v1/batches/{batch_id}/status"


def result(essay: str, score: float, at: str = "2026-03-02T08:00:02Z") -> dict[str, Any]:
    return envelope({"essay_id": essay, "nlp_metrics": {"mtld_score": score}, "grammar_analysis": {}}, at=at)


def slot(essay: str, batch: str) -> dict[str, Any]:
    return envelope({"essay_id": essay, "batch_id": batch, "original_file_name": f"{essay}.txt"})


def summary(batch: str, successful: list[str], failed: list[str]) -> dict[str, Any]:
    lists = {"successful_essay_ids": successful, "failed_essay_ids": failed}
    return envelope({"batch_id": batch, "processing_summary": lists}, at="2026-03-02T08:00:01Z")


def shown(deliveries: Deliveries, batch: str) -> dict[str, dict[str, Any]]:
    """The batch's essays by id, once it has an owner."""
    owner = envelope({"batch_id": batch, "user_id": "u", "expected_essay_count": 1})
    deliveries.invoke(REGISTERED, [record(REGISTERED, owner)])
    answer = deliveries.service.get(STATUS, batch_id=batch)
    return {essay["essay_id"]: essay for essay in answer["body"]["essays"]}


def test_a_time_in_the_far_future_does_not_wait(deliveries: Deliveries) -> None:
    """It would win over every result to come, in batches that are not there yet: it is rejected as for any other."""
    values = [result("e", 1.0), result("e", 9.0, at="2029-03-02T08:00:02Z"), result("f", 2.0)]
    counts = deliveries.invoke(NLP, [record(NLP, value, n) for n, value in enumerate(values)])
    [letter] = deliveries.service.dead_letters().values()
    deliveries.invoke(SLOT, [record(SLOT, slot(essay, "b"), n) for n, essay in enumerate("ef")])

    assert counts == {"applied": 2, "rejected": 1}
    assert letter["reason"]["code"] == "from_the_future"
    found = shown(deliveries, "b")
    assert [found[essay]["nlp_lexical_diversity_score"] for essay in "ef"] == [1.0, 2.0]


def test_a_claim_too_many_is_kept_alone(deliveries: Deliveries) -> None:
    """Its neighbours are applied, and the result of its essay comes to the hundred batches that were there first."""
    batches = [f"b{number:03}" for number in range(MAX_CLAIMS + 1)]
    values = [slot("e", batch) for batch in batches] + [slot("f", batches[-1])]
    counts = deliveries.invoke(SLOT, [record(SLOT, value, n) for n, value in enumerate(values)])
    deliveries.invoke(NLP, [record(NLP, result("e", 1.0)), record(NLP, result("f", 2.0), 1)])
    [(place, letter)] = deliveries.service.dead_letters().items()

    assert counts == {"applied": MAX_CLAIMS + 1, "rejected": 1}
    assert letter["reason"]["code"] == "too_many_claims"
    assert place.startswith(f"rejected/{SLOT}/0/{MAX_CLAIMS:020d}-")
    assert [*shown(deliveries, batches[0])] == [*shown(deliveries, batches[-2])] == ["e"]
    assert [*shown(deliveries, batches[-1])] == ["f"]


def test_a_summary_claims_essays_before_their_slots(deliveries: Deliveries) -> None:
    """Every essay that it names appears, with its id alone until more is known."""
    told = record(SUMMARY, summary("b", ["e", "g"], ["f"]))
    counts = deliveries.invoke(SUMMARY, [record(SUMMARY, b"poison", 1), told])
    before = shown(deliveries, "b")
    deliveries.invoke(NLP, [record(NLP, result("e", 1.0)), record(NLP, result("f", 2.0), 1)])
    deliveries.invoke(SLOT, [record(SLOT, slot("e", "b"))])
    after = shown(deliveries, "b")

    assert counts == {"applied": 1, "rejected": 1}
    assert {essay: found["nlp_status"] for essay, found in before.items()} == {
        "e": None,
        "f": "FAILED",
        "g": None,
    }
    known = {name for name, value in before["g"].items() if value is not None}
    assert known == {"essay_id", "last_updated"}
    assert {essay: found["nlp_status"] for essay, found in after.items()} == {
        "e": "COMPLETED",
        "f": "COMPLETED",
        "g": None,
    }
    assert after["e"]["filename"] == "e.txt"
